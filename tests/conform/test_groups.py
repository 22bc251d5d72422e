"""Stories of groups: the judge founds what they find, leaves nothing of it, and knows members and generations by what they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from conform.brokers import Broker, Tamper, honest, serving, without_api
from fiducial.cli import main
from fiducial.conformance.abstraction import Abstraction, address, differences
from fiducial.conformance.cases import Case, Group, Verdict, awaited, still_waits
from fiducial.conformance.oracle import Oracle
from fiducial.conformance.others import without_others
from fiducial.conformance.running import Judge
from fiducial.conformance.script import Script, WaitsTooLong
from fiducial.conformance.suite.group_requests import AT_ONCE, NEW, STATIC, about, beat, describe, join
from fiducial.conformance.symbols import Generation, GroupId, Member, Session, Subscription, View, words
from fiducial.conformance.target import SetupFailed, SetupRefused, Target
from fiducial.models import messages as m
from fiducial.models import specification
from fiducial.models.errors import Error
from fiducial.models.settings import parse
from fiducial.models.state import Cluster
from fiducial.models.values import changed

LEVELS = {rule.id: rule.level for rule in specification.rules().values()}
FIND_COORDINATOR, JOIN_GROUP, LEAVE_GROUP, SYNC_GROUP, DESCRIBE_GROUPS, DESCRIBE_CONFIGS = 10, 11, 13, 14, 15, 32
AT_RANDOM = "fiducial-conform-01234567-89ab-cdef-0123-456789abcdef"
#: Nobody is waited for.
AT_ONCE_FOUNDED = {"group_initial_rebalance_delay_ms": "0"}
BEATS = about("GROUP-BEAT-1/beats", beat(0), beat(1), sweep=None)
REBALANCES = about("GROUP-JOIN-8/rebalances", join(0, waits=True), still_waits(1), join(1, waits=True), awaited(1), awaited(2), sweep=None)


@contextmanager
def judging(tamper: Tamper = honest) -> Iterator[tuple[Judge, Broker]]:
    """A judge, and the broker that it judges, which founds groups at once."""
    with serving(tamper, settings=AT_ONCE_FOUNDED) as broker, closing(Judge(Target(broker.host, broker.port), LEVELS, patience_s=0)) as judge:
        yield judge, broker


def verdict(case: Case, tamper: Tamper = honest) -> Verdict:
    """What comes of a case."""
    with judging(tamper) as (judge, _):
        return judge.judge(case).verdict


def on(api_key: int, **fields: Any) -> Tamper:
    """Answers of an API with other fields; never those that are an error."""

    def tamper(key: int, _version: int, message: Any) -> Any:
        return changed(message, **fields) if key == api_key and getattr(message, "error_code", 0) == Error.NONE else message

    return tamper


# The groups that a story finds


def test_a_story_finds_its_group_and_leaves_nothing_of_it() -> None:
    with judging() as (judge, broker):
        for case in (BEATS, REBALANCES, changed(BEATS, groups=STATIC)):
            assert judge.judge(case).verdict is Verdict.PASS
        assert {group.group_id for group in judge.founded} == set(broker.core.broker.groups.live)
        judge.close()
        assert not broker.core.broker.groups.live


def test_so_many_groups_are_founded_at_once_as_the_cases_that_are_begun_will_need() -> None:
    swept = changed(BEATS, id="GROUP-BEAT-1/swept", sweep=m.HeartbeatRequest)
    with judging() as (judge, _):
        judge.begin([swept, BEATS, changed(BEATS, id="GROUP-BEAT-1/none", groups=NEW, story=(describe(),))])
        assert {judge.judge(swept).verdict, judge.judge(BEATS).verdict} == {Verdict.PASS}
        assert (judge.wanted, judge.founded) == (0, [])


def test_a_broker_that_gives_no_ids_first_founds_groups_too() -> None:
    with judging() as (judge, _):
        judge.target.versions[JOIN_GROUP] = range(AT_ONCE + 1)
        assert judge.judge(BEATS).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("tamper", "note"),
    [
        (on(SYNC_GROUP, error_code=Error.REBALANCE_IN_PROGRESS), "SyncGroup answers REBALANCE_IN_PROGRESS"),
        (on(JOIN_GROUP, error_code=Error.UNKNOWN_MEMBER_ID), "nobody is let into a new group"),
        (on(FIND_COORDINATOR, coordinators=(m.Coordinator("x", 1, "", 1, Error.GROUP_AUTHORIZATION_FAILED),) * 9), "FindCoordinator answers GROUP_AUTHORIZATION_FAILED"),
    ],
)
def test_where_no_group_is_to_be_had_no_story_is_told(tamper: Tamper, note: str) -> None:
    def by_name(key: int, version: int, message: Any) -> Any:
        told = tamper(key, version, message)
        if key == FIND_COORDINATOR:
            pairs = zip(told.coordinators, message.coordinators, strict=False)
            return changed(told, coordinators=tuple(changed(one, key=asked.key) for one, asked in pairs))
        return told

    with judging(by_name) as (judge, _):
        found = judge.judge(BEATS)
    assert (found.verdict, found.worst.finding.note) == (Verdict.UNSUPPORTED_SETUP, note)


def test_a_broker_that_lets_another_member_lead_is_not_told_stories_of_leaders() -> None:
    with judging(on(JOIN_GROUP, leader="another")) as (judge, _):
        assert judge.judge(BEATS).worst.finding.note == "the member that was there first does not lead its group"


def test_the_groups_of_several_nodes_are_those_of_the_node_that_is_judged() -> None:
    def every_other(key: int, _version: int, message: Any) -> Any:
        if key != FIND_COORDINATOR:
            return message
        return changed(message, coordinators=tuple(changed(one, node_id=1 + int(one.key[-1]) % 2) for one in message.coordinators))

    with judging(every_other) as (judge, _):
        assert judge.target.coordinated((f"g{number}" for number in range(9)), 3) == ["g0", "g2", "g4"]


def test_who_is_about_to_coordinate_is_waited_for() -> None:
    answers: list[int] = []

    def hesitates(key: int, _version: int, message: Any) -> Any:
        if key == FIND_COORDINATOR and len(answers) < 2:
            answers.append(key)
            return changed(message, coordinators=tuple(changed(one, error_code=Error.COORDINATOR_NOT_AVAILABLE) for one in message.coordinators))
        if key == DESCRIBE_GROUPS and len(answers) < 4:
            answers.append(key)
            return changed(message, groups=tuple(changed(one, error_code=Error.NOT_COORDINATOR) for one in message.groups))
        return message

    assert verdict(BEATS, hesitates) is Verdict.PASS
    assert answers == [FIND_COORDINATOR] * 2 + [DESCRIBE_GROUPS] * 2


def test_coordinators_are_asked_for_one_by_one_and_members_put_out_one_by_one_where_there_is_no_other_way() -> None:
    with judging() as (judge, broker):
        judge.target.versions |= {FIND_COORDINATOR: range(4), LEAVE_GROUP: range(3)}
        assert judge.judge(BEATS).verdict is Verdict.PASS
        judge.close()
        assert not broker.core.broker.groups.live


def test_a_broker_without_the_requests_that_found_groups_is_told_no_story() -> None:
    with judging() as (judge, _):
        del judge.target.versions[SYNC_GROUP]
        with pytest.raises(SetupRefused, match="SyncGroup is not served"):
            judge.group(Group())
        del judge.target.versions[FIND_COORDINATOR]
        with pytest.raises(SetupRefused, match="FindCoordinator is not served"):
            judge.group(Group(is_absent=True))


def test_a_broker_that_hangs_up_while_a_group_is_founded_has_failed() -> None:
    with judging() as (judge, broker):
        broker.tamper = lambda key, _version, message: "hang up" if key == JOIN_GROUP else message
        with pytest.raises(SetupFailed, match="while a group is founded"):
            judge.group(Group())


# What waits


def test_an_answer_that_comes_too_early_is_noticed() -> None:
    founds = about("GROUP-JOIN-10/founds", join(version=AT_ONCE, waits=True), still_waits(9), awaited(9), groups=NEW, sweep=None)
    with judging() as (judge, _):
        assert judge.judge(founds).worst.finding.step == 0
        judge.settings = parse({})  # the oracle waits for others to come
        found = judge.judge(founds)
    assert (found.verdict, found.worst.finding.step) == (Verdict.FAIL, 2)
    assert [(one.expected, one.got) for one in found.worst.finding.differences] == [("nothing", "an answer")]


def test_a_story_that_waits_for_what_never_comes_is_a_fault_of_the_suite() -> None:
    with judging() as (judge, _):
        found = judge.judge(about("GROUP-JOIN-8/never", join(0, waits=True), awaited(1), sweep=None))
    assert found.verdict is Verdict.SUITE_ERROR and WaitsTooLong.__name__ in found.worst.finding.note


def test_the_alarms_of_the_oracle_ring_as_time_passes() -> None:
    now = 1_700_000_000_000
    oracle = Oracle(Cluster("fiducialfiducialfiduci", 1, "127.0.0.1", 9092), parse({}), seed=1)
    oracle.ask(m.FindCoordinatorRequest("g", 0), 3, now=now)
    protocols = (m.JoinGroupRequestProtocol("range"),)
    oracle.begin(m.JoinGroupRequest("g", 10_000, 10_000, "", None, "consumer", protocols), AT_ONCE, now=now)
    assert not oracle.is_answered(1, now=now + 2_999) and not oracle.is_answered(1, now=now, until_ms=now + 2_999)
    assert oracle.is_answered(1, now=now, until_ms=now + 3_000)
    joined = oracle.awaited(1, now=now + 3_000).message
    assert (joined.error_code, joined.generation_id) == (Error.NONE, 1)
    beats = m.HeartbeatRequest("g", 1, joined.member_id)
    assert oracle.ask(beats, 4, now=now + 12_999).message.error_code == Error.NONE
    assert oracle.ask(beats, 4, now=now + 22_999).message.error_code == Error.UNKNOWN_MEMBER_ID


def test_what_waits_is_taken_in_before_the_story_goes_on_however_slow_the_broker_is() -> None:
    """The describing of groups tells: it is asked until it tells of the group what the oracle tells."""
    told: list[str] = []

    def is_behind(key: int, _version: int, message: Any) -> Any:
        if key == DESCRIBE_GROUPS and message.groups[0].group_state == "PreparingRebalance" and len(told) < 3:
            told.append("Stable")
            return changed(message, groups=(changed(message.groups[0], group_state="Stable"),))
        return message

    assert verdict(REBALANCES, is_behind) is Verdict.PASS
    assert len(told) == 3


# Settings and versions


def test_a_story_may_need_a_setting_to_be_large_enough() -> None:
    needs = changed(BEATS, at_least=(("group.initial.rebalance.delay.ms", 1),))
    with judging() as (judge, _):
        found = judge.judge(needs)
        assert judge.judge(changed(needs, at_least=(("group.initial.rebalance.delay.ms", 0),))).verdict is Verdict.PASS
    assert (found.verdict, found.worst.finding.note) == (Verdict.UNSUPPORTED_SETUP, "group.initial.rebalance.delay.ms is 0, and 1 at least is needed")


def test_settings_that_a_broker_does_not_tell_are_assumed_and_the_report_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(without_api(DESCRIBE_CONFIGS), settings=AT_ONCE_FOUNDED) as broker:
        assert main(["conform", f"{broker.host}:{broker.port}", "--rule", "GROUP-BEAT-1"]) == 0
    assert "does not tell these settings, which are assumed: group.initial.rebalance.delay.ms=3000, " in capsys.readouterr().err
    with serving(settings=AT_ONCE_FOUNDED) as broker:
        assert main(["conform", f"{broker.host}:{broker.port}", "--rule", "GROUP-BEAT-1"]) == 0
    assert "assumed" not in capsys.readouterr().err


def test_a_story_may_begin_at_a_version() -> None:
    swept = changed(BEATS, sweep=m.HeartbeatRequest, sweep_from=3)
    with judging() as (judge, _):
        assert [one.version for one in judge.judge(swept).tellings] == [3, 4]
        judge.target.versions[12] = range(3)
        found = judge.judge(swept)
    assert (found.verdict, found.worst.finding.note) == (Verdict.NOT_APPLICABLE, "not advertised from v3 on")


# Symbols and what is compared


def view() -> View:
    """Of a broker that has given out two members, in generation 7, of which the story found generation 6."""
    made = View(0, {"a": "real-a"}, groups={"g": "real-g"}, shortest_session_ms=500)
    made.has_founded((AT_RANDOM, "y"), 6)
    made.has_given(m.JoinGroupResponse(Error.NONE, 7, member_id="y"))
    return made


def test_symbols_of_groups_are_spoken_to_each_broker_in_its_own_terms() -> None:
    here = view()
    assert [Member(number).spoken(here) for number in range(3)] == [AT_RANDOM, "y", "nobody"]
    assert (Generation().spoken(here), Generation(-1).spoken(here), GroupId().spoken(here), GroupId("h").spoken(here)) == (7, 6, "real-g", "h")
    assert (Session().spoken(here), Session(20).spoken(here)) == (500, 520)
    assert Subscription(("a", "b")).spoken(here) == b"\0\0\0\0\0\2\0\6real-a\0\1b\xff\xff\xff\xff"
    assert words((Member(1), Generation(), Generation(-1), GroupId(), Session(), Session(7), Subscription(("a",)), Subscription((), b""))) == (
        "[member 1, the last, the last-1, g, the shortest, the shortest+7, reads a, reads nothing, and what is odd behind it]"
    )


def test_ids_and_generations_are_compared_by_what_they_are() -> None:
    here = Abstraction(view())
    told = here.of(m.JoinGroupResponse(Error.NONE, 7, "consumer", "range", "y", False, AT_RANDOM, (m.JoinGroupResponseMember("new"), m.JoinGroupResponseMember("nobody"))))
    assert (told["generation_id"], told["leader"], told["member_id"]) == ("the first+1", "member 1", "member 0")
    assert [one["member_id"] for one in told["members"]] == ["nobody", "some member"]
    assert told["made of"] == "fiducial-conform and a UUID"
    assert here.of(m.JoinGroupResponse(Error.UNKNOWN_MEMBER_ID))["generation_id"] == -1
    assert here.of(m.DescribedGroup(group_id="real-g"))["group_id"] == "g"


def test_what_an_id_is_made_of_concerns_one_rule() -> None:
    one, other = ({"": "JoinGroupResponse", "error_code": "NONE", "made of": text} for text in ("a UUID", "a number"))
    assert not list(differences(one, other, rule="GROUP-JOIN-16")) and len(list(differences(one, other, rule="GROUP-MEMBER-8"))) == 1


@pytest.mark.parametrize(
    ("host", "told"), [("/127.0.0.1", "/ and an address"), ("/0:0:0:0:0:0:0:1", "/ and an address"), ("10.0.0.1", "an address"), ("/somewhere", "/somewhere"), ("", "")]
)
def test_which_address_a_client_has_is_not_compared(host: str, told: str) -> None:
    assert address(host) == told


def test_groups_of_others_are_not_looked_at() -> None:
    kind = {"": "ListGroupsResponse"}
    ours, theirs = kind | {"groups": [{"group_id": "g"}]}, kind | {"groups": [{"group_id": "g"}, {"group_id": "somebody's"}]}
    assert without_others(ours, theirs, {"g"}) == (ours, ours)
    assert without_others(ours, theirs, {"g", "somebody's"}) == (ours, theirs)


def test_the_oracle_finds_the_same_group() -> None:
    case = about("GROUP-LIST-1/found", describe(), sweep=None)
    cluster = Cluster("fiducialfiducialfiduci", 1, "127.0.0.1", 9092)
    script = Script(case, cluster, parse({}), m.IncrementalAlterConfigsRequest(), {}, {"g": "x"}, lambda: 1_700_000_000_000)
    (group,) = script.groups().groups
    assert (group.group_state, {one.member_assignment for one in group.members}) == ("Stable", {b"0", b"1"})
    assert (script.view.generation, len(script.view.members)) == (2, 2)

