"""Membership of a group: the table of `spec/groups.md` as it was seen on Apache Kafka 4.3.1, cell by cell, and then rule by rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from group_bench import REBALANCE_MS, SESSION_MS, Coordinator, subscription
from samples import NOW

from fiducial.models import group_events, group_phases, group_requests
from fiducial.models.errors import Error
from fiducial.models.group_events import TABLE, Event
from fiducial.models.groups import (
    HEARTBEAT_CHECK,
    MEMBER_CHECK,
    SYNC_CHECK,
    Alarm,
    Asked,
    Group,
    GroupForgotten,
    GroupMetadata,
    Kind,
    SavedMember,
    State,
    Turn,
)
from fiducial.models.messages import (
    DescribeGroupsRequest,
    HeartbeatRequest,
    JoinGroupRequest,
    LeaveGroupRequest,
    OffsetDeleteRequest,
    OffsetDeleteRequestPartition,
    OffsetDeleteRequestTopic,
    SyncGroupRequest,
)
from fiducial.models.rules import LADDERS
from fiducial.models.values import EMPTY, changed

ILLEGAL, INCONSISTENT, UNKNOWN, REBALANCING = 22, 23, 25, 27
ID_REQUIRED, FULL, FENCED = 79, 81, 82
OTHER = {"roundrobin": subscription("t")}
CHANGED = {"range": subscription("t", "u")}
STATES = ("unknown", "Empty", "Preparing", "Completing", "Stable")

# The table that was seen


class Pair:
    """A dynamic leader A and a static follower B, instance ib; A first came alone, so that their generation is 2."""

    def __init__(self, state: str) -> None:
        self.c = Coordinator()
        self.a, self.b, self.generation = "A", "B", 2
        if state == "unknown":
            return
        self.a = self.c.joined()
        self.c.settles()
        self.c.sync(self.a, 1, {self.a: b"all"})
        self.b = self.c.joined(instance="ib")
        self.c.join(self.a)
        assert self.c.group().state is State.COMPLETING and self.c.group().leader == self.a
        if state == "Completing":
            return
        self.c.sync(self.b, 2)
        self.c.sync(self.a, 2, {self.a: b"a", self.b: b"b"})
        assert self.c.group().state is State.STABLE
        if state == "Preparing":
            self.c.join(version=3)
        elif state == "Empty":
            assert self.c.leave(self.a, self.b) == [0, 0]
            self.generation = 3
            assert self.c.group().state is State.EMPTY

    def told(self, ticket: int) -> str:
        """What was answered: the error, with the generation of a join; "park" if nothing was."""
        self.c.settles()
        if ticket not in self.c.replies:
            return "park"
        body = self.c.replies[ticket].body
        return f"0 g{body.generation_id}" if getattr(body, "generation_id", -1) >= 0 else str(int(body.error_code))


Ask = Callable[[Pair], int | str]


def join(who: str = "", *, version: int = 9, **fields: Any) -> Ask:
    """A JoinGroup: of A, of B, without an id or with one of its own."""
    return lambda pair: pair.told(pair.c.join({"A": pair.a, "B": pair.b}.get(who, who), version=version, **fields))


def sync(who: str, ahead: int = 0, **fields: Any) -> Ask:
    """A SyncGroup, `ahead` generations ahead of the group's."""
    return lambda pair: pair.told(pair.c.sync({"A": pair.a, "B": pair.b}.get(who, who), pair.generation + ahead, **fields))


def beat(who: str, ahead: int = 0, **fields: Any) -> Ask:
    """A Heartbeat."""
    return lambda pair: pair.c.beat({"A": pair.a, "B": pair.b}.get(who, who), pair.generation + ahead, **fields)


def leave(who: str, instance: str | None = None) -> Ask:
    """A LeaveGroup."""
    return lambda pair: pair.c.leave(({"A": pair.a, "B": pair.b}.get(who, who), instance))[0]


def commit(who: str, ahead: int | None = 0, **fields: Any) -> Ask:
    """An OffsetCommit; without a generation for None."""
    return lambda pair: pair.c.commit(1, {"A": pair.a}.get(who, who), -1 if ahead is None else pair.generation + ahead, **fields)


def delete_offset(topic: str) -> Ask:
    """An OffsetDelete: the error of the answer, or of its partition."""

    def ask(pair: Pair) -> int:
        answer = pair.c.ask(OffsetDeleteRequest("g", (deleted(topic),)), 0)
        return int(answer.error_code or answer.topics[0].partitions[0].error_code)

    return ask


def deleted(topic: str) -> Any:
    """Partition 0 of a topic."""
    return OffsetDeleteRequestTopic(topic, (OffsetDeleteRequestPartition(0),))


def described(pair: Pair) -> str:
    """A DescribeGroups v6."""
    (group,) = pair.c.ask(DescribeGroupsRequest(("g",)), 6).groups
    return f"{group.error_code:d} {group.group_state}"


#: The request, and what was answered in each of STATES.
SEEN: list[tuple[str, Ask, str]] = [
    ("Join v3 new dynamic", join(version=3), "0 g1 | 0 g4 | park | park | park"),
    ("Join v9 new dynamic", join(), "79 | 79 | 79 | 79 | 79"),
    ("Join new static", join(instance="new"), "0 g1 | 0 g4 | park | park | park"),
    ("Join unknown id", join("X"), "25 | 25 | 25 | 25 | 25"),
    ("Join unknown id, new instance", join("X", instance="new"), "25 | 25 | 25 | 25 | 25"),
    ("Join leader, same protocols", join("A"), "25 | 25 | park | 0 g2 | park"),
    ("Join leader, changed", join("A", protocols=CHANGED), "25 | 25 | park | park | park"),
    ("Join follower, same protocols", join("B"), "25 | 25 | park | 0 g2 | 0 g2"),
    ("Join follower, changed", join("B", protocols=CHANGED), "25 | 25 | park | park | park"),
    ('Join known instance, "" id', join(instance="ib"), "0 g1 | 0 g4 | park | park | 0 g2"),
    ('Join known instance, "" id, changed', join(instance="ib", protocols=CHANGED), "0 g1 | 0 g4 | park | park | 0 g2"),
    ("Join known instance, other id", join("A", instance="ib"), "25 | 25 | 82 | 82 | 82"),
    ("Join leader, no common protocol", join("A", protocols=OTHER), "25 | 25 | 23 | 23 | 23"),
    ("Sync leader, same generation", sync("A"), "25 | 25 | 27 | 0 | 0"),
    ("Sync leader, older generation", sync("A", -1), "25 | 25 | 22 | 22 | 22"),
    ("Sync leader, newer generation", sync("A", 1), "25 | 25 | 22 | 22 | 22"),
    ("Sync follower, same generation", sync("B"), "25 | 25 | 27 | park | 0"),
    ("Sync follower, older generation", sync("B", -1), "25 | 25 | 22 | 22 | 22"),
    ("Sync follower, newer generation", sync("B", 1), "25 | 25 | 22 | 22 | 22"),
    ("Sync unknown id, same generation", sync("X"), "25 | 25 | 25 | 25 | 25"),
    ("Sync unknown id, older generation", sync("X", -1), "25 | 25 | 25 | 25 | 25"),
    ("Sync known instance, other id", sync("A", instance="ib"), "25 | 25 | 82 | 82 | 82"),
    ("Sync leader, other protocol name", sync("A", protocol="roundrobin"), "25 | 25 | 23 | 23 | 23"),
    ("Sync leader v5, null protocol name", sync("A", protocol=None), "23 | 23 | 23 | 23 | 23"),
    ("Heartbeat known, same generation", beat("A"), "25 | 25 | 27 | 0 | 0"),
    ("Heartbeat known, older generation", beat("A", -1), "25 | 25 | 22 | 22 | 22"),
    ("Heartbeat known, newer generation", beat("A", 1), "25 | 25 | 22 | 22 | 22"),
    ("Heartbeat unknown id, same generation", beat("X"), "25 | 25 | 25 | 25 | 25"),
    ("Heartbeat unknown id, older generation", beat("X", -1), "25 | 25 | 25 | 25 | 25"),
    ("Heartbeat known instance, other id", beat("A", instance="ib"), "25 | 25 | 82 | 82 | 82"),
    ("Leave known", leave("A"), "25 | 25 | 0 | 0 | 0"),
    ("Leave unknown id", leave("X"), "25 | 25 | 25 | 25 | 25"),
    ('Leave known instance, "" id', leave("", "ib"), "25 | 25 | 0 | 0 | 0"),
    ("Leave known instance, other id", leave("A", "ib"), "25 | 25 | 82 | 82 | 82"),
    ("Leave unknown instance", leave("", "new"), "25 | 25 | 25 | 25 | 25"),
    ("OffsetCommit known, same generation", commit("A"), "69 | 25 | 0 | 27 | 0"),
    ("OffsetCommit known, older generation", commit("A", -1), "69 | 25 | 22 | 22 | 22"),
    ("OffsetCommit known, newer generation", commit("A", 1), "69 | 25 | 22 | 22 | 22"),
    ("OffsetCommit known, -1 generation", commit("A", None), "0 | 0 | 22 | 22 | 22"),
    ("OffsetCommit unknown id, same generation", commit("X"), "69 | 25 | 25 | 25 | 25"),
    ("OffsetCommit unknown id, older generation", commit("X", -1), "69 | 25 | 25 | 25 | 25"),
    ("OffsetCommit unknown id, newer generation", commit("X", 1), "69 | 25 | 25 | 25 | 25"),
    ("OffsetCommit unknown id, -1 generation", commit("X", None), "0 | 0 | 25 | 25 | 25"),
    ('OffsetCommit "" id, same generation', commit(""), "69 | 25 | 25 | 25 | 25"),
    ('OffsetCommit "" id, older generation', commit("", -1), "69 | 25 | 25 | 25 | 25"),
    ('OffsetCommit "" id, newer generation', commit("", 1), "69 | 25 | 25 | 25 | 25"),
    ('OffsetCommit "" id, -1 generation', commit("", None), "0 | 0 | 25 | 25 | 25"),
    ("OffsetCommit known instance, other id, same", commit("A", instance="ib"), "69 | 25 | 82 | 82 | 82"),
    ("OffsetCommit known instance, other id, -1", commit("A", None, instance="ib"), "0 | 0 | 82 | 82 | 82"),
    ("OffsetCommit v8 known, newer generation", commit("A", 1, version=8), "22 | 25 | 22 | 22 | 22"),
    ("DescribeGroups v6", described, "69 Dead | 0 Empty | 0 PreparingRebalance | 0 CompletingRebalance | 0 Stable"),
    ("DeleteGroups", lambda pair: pair.c.delete("g")[0], "69 | 0 | 68 | 68 | 68"),
    ("OffsetDelete subscribed topic", delete_offset("t"), "69 | 0 | 86 | 86 | 86"),
    ("OffsetDelete other topic", delete_offset("u"), "69 | 0 | 0 | 0 | 0"),
]


@pytest.mark.rule(
    "GROUP-STATE-1", "GROUP-MEMBER-2", "GROUP-MEMBER-3", "GROUP-MEMBER-4", "GROUP-MEMBER-5", "GROUP-MEMBER-6", "GROUP-MEMBER-7", "GROUP-JOIN-2", "GROUP-JOIN-4",
    "GROUP-JOIN-5", "GROUP-JOIN-7", "GROUP-JOIN-8", "GROUP-JOIN-13", "GROUP-STATIC-1", "GROUP-STATIC-2", "GROUP-STATIC-3", "GROUP-SYNC-1", "GROUP-SYNC-2",
    "GROUP-SYNC-4", "GROUP-BEAT-1", "GROUP-COMMIT-1", "GROUP-COMMIT-2", "GROUP-COMMIT-3", "GROUP-COMMIT-5", "GROUP-DELETE-1", "GROUP-DELETE-2",
    "GROUP-DELETE-5", "GROUP-LIST-2",
)  # fmt: skip
@pytest.mark.parametrize("at", range(len(STATES)), ids=STATES)
@pytest.mark.parametrize(("what", "ask", "seen"), SEEN, ids=[row[0] for row in SEEN])
def test_each_request_in_each_state_is_answered_as_it_was_seen(what: str, ask: Ask, seen: str, at: int) -> None:
    assert str(ask(Pair(STATES[at]))) == seen.split(" | ")[at]


# The table that decides


def test_every_cell_is_filled_and_one_that_is_refused_cites_the_rung_that_refuses() -> None:
    rungs = {rung.rule: rung.error.name for ladder in LADDERS.values() for rung in ladder.rungs}
    for cells in TABLE.values():
        assert cells.keys() == set(State)
        for state, cell in cells.items():
            if cell.act is None:
                assert cell.next == (state,) and rungs[cell.rule] == cell.reply
    assert len(TABLE) == len(Event)


@pytest.mark.rule("GROUP-STATE-1")
def test_what_a_ladder_refuses_never_comes_to_the_table() -> None:
    turn = Turn(Group("g", State.PREPARING), Coordinator().config, NOW)
    with pytest.raises(AssertionError, match="refused by GROUP-MEMBER-7"):
        group_events.taken(turn, Event.BEATS, None, "")


@pytest.mark.rule("GROUP-STATE-2", "GROUP-RECORD-3")
def test_a_group_is_there_before_its_first_member() -> None:
    c = Coordinator()
    c.join()
    assert (c.group().state, c.group().generation, c.group().since_ms) == (State.EMPTY, 0, NOW)
    assert c.records == [GroupMetadata("g", None, 0, None, None, NOW, ())]
    c.join()
    assert len(c.records) == 1
    assert c.replies[c.join(group="h", protocols={})].body.error_code == INCONSISTENT
    assert c.group("h").state is State.EMPTY and len(c.records) == 2


@pytest.mark.rule("GROUP-STATE-3")
def test_a_deadline_that_moved_is_looked_at_again_and_one_that_is_gone_is_not() -> None:
    c = Coordinator()
    (a,) = c.stable()
    c.passes(SESSION_MS - 1)
    assert c.beat(a, 1) == 0
    session = Alarm(Kind.SESSION, "g", a)
    due = c.alarms.pop(session)
    c.now = due
    c.take(group_requests.ring(c.groups, session, c.config, c.now))
    assert c.group().state is State.STABLE and c.alarms[session] == due + SESSION_MS - 1
    before = c.groups
    for alarm in (Alarm(Kind.JOIN, "g"), Alarm(Kind.SYNC, "g"), Alarm(Kind.SESSION, "g", "X"), Alarm(Kind.SESSION, "nobody", a)):
        c.take(group_requests.ring(c.groups, alarm, c.config, c.now + 10**9))
    assert c.groups == before


@pytest.mark.rule("GROUP-STATE-4", "GROUP-JOIN-8", "GROUP-SYNC-4")
def test_a_request_that_is_repeated_ends_the_wait_of_the_earlier_one() -> None:
    c = Coordinator()
    a, b = c.stable(others=1)
    c.join(a)
    first, second = c.join(a), c.join(a, version=6)
    assert (c.replies[first].body.error_code, c.replies[first].body.protocol_name) == (REBALANCING, None)
    assert second not in c.replies
    third = c.join(a)
    assert (c.replies[second].body.error_code, c.replies[second].body.protocol_name) == (REBALANCING, "")
    c.join(b)
    assert c.replies[third].body.generation_id == 2
    waiting, again = c.sync(b, 2), c.sync(b, 2)
    assert c.replies[waiting].body.error_code == REBALANCING and again not in c.replies
    assert c.replies[waiting].rules == ("GROUP-STATE-4",)


# Who asks


@pytest.mark.rule("GROUP-MEMBER-1", "GROUP-SYNC-1", "GROUP-LEAVE-1")
def test_members_need_a_group_with_a_name() -> None:
    c = Coordinator()
    invalid = Error.INVALID_GROUP_ID
    assert c.replies[c.join(group="", session=1)].body.error_code == invalid
    assert c.replies[c.sync("X", 1, group="")].body.error_code == invalid
    assert c.replies[c.sync("X", 1, group="", protocol=None)].body.error_code == INCONSISTENT
    assert c.beat("X", 1, group="") == invalid
    assert c.ask(LeaveGroupRequest(""), 5).error_code == invalid
    assert c.ask(OffsetDeleteRequest(""), 0).error_code == invalid
    assert c.commit(1, group="") == 0 and c.delete("") == [0]


@pytest.mark.rule("GROUP-MEMBER-2", "GROUP-MEMBER-3", "GROUP-MEMBER-4", "GROUP-MEMBER-5", "GROUP-MEMBER-6")
def test_the_ladders_of_a_member_name_the_rule_that_refuses() -> None:
    c = Coordinator()
    assert c.beat("X", 1) == UNKNOWN and c.replies[c.tickets].rules == ("GROUP-MEMBER-2",)
    (a,) = c.stable()
    for who, expected in (
        ((a, 1, "new"), (UNKNOWN, "GROUP-MEMBER-3")),
        (("X", 1, None), (UNKNOWN, "GROUP-MEMBER-5")),
        ((a, 0, None), (ILLEGAL, "GROUP-MEMBER-6")),
        ((a, 2, None), (ILLEGAL, "GROUP-MEMBER-6")),
    ):
        assert (c.beat(who[0], who[1], instance=who[2]), *c.replies[c.tickets].rules) == expected
    c.joined(instance="ib")
    assert (c.beat(a, 0, instance="ib"), *c.replies[c.tickets].rules) == (FENCED, "GROUP-MEMBER-4")
    assert [len(ladder.rungs) for ladder in (MEMBER_CHECK, HEARTBEAT_CHECK, SYNC_CHECK)] == [4, 2, 3]


@pytest.mark.rule("GROUP-MEMBER-3", "GROUP-MEMBER-4", "GROUP-MEMBER-5")
def test_a_pending_id_is_no_member_and_a_static_member_need_not_name_its_instance() -> None:
    c = Coordinator()
    _, b = c.stable(instance="ib")
    pending = c.replies[c.join()].body.member_id
    assert c.beat(pending, 1) == UNKNOWN and c.commit(1, pending, 1) == UNKNOWN
    assert c.beat(b, 1) == c.beat(b, 1, instance="ib") == 0
    for instance, error in (("new", UNKNOWN), ("ib", FENCED)):
        assert c.replies[c.join(pending, instance=instance)].body.error_code == error


@pytest.mark.rule("GROUP-MEMBER-8")
def test_ids_tell_the_client_or_the_instance() -> None:
    c = Coordinator()
    dynamic = c.replies[c.join(client_id="app", chance=bytes(15) + b"\7")].body.member_id
    assert dynamic == "app-00000000-0000-0000-0000-000000000007"
    assert c.joined(instance="ib", client_id="app", chance=bytes(15) + b"\x08") == "ib-00000000-0000-0000-0000-000000000008"


@pytest.mark.rule("GROUP-MEMBER-10")
@pytest.mark.parametrize(("whose", "version"), [("client_id", 3), ("client_id", 9), ("instance", 9)])
@pytest.mark.parametrize(("letter", "fit"), [("c", 32_730), ("\u00e9", 16_365)])
def test_an_id_is_not_longer_than_a_string(whose: str, version: int, letter: str, fit: int) -> None:
    c = Coordinator()
    refused = c.replies[c.join(version=version, **{whose: (fit + 1) * letter})]
    assert (refused.body.error_code, refused.body.member_id, refused.rules) == (-1, "", ("GROUP-MEMBER-10",))
    assert c.group().state is State.EMPTY and not c.group().members and not c.group().pending
    c.join(version=version, **{whose: fit * letter})
    (member_id,) = (*c.group().members, *c.group().pending)
    assert member_id.startswith(f"{fit * letter}-")


# Joining


@pytest.mark.rule("GROUP-JOIN-1")
@pytest.mark.parametrize(("session", "error"), [(5_999, 26), (6_000, ID_REQUIRED), (1_800_000, ID_REQUIRED), (1_800_001, 26)])
def test_a_session_timeout_has_bounds(session: int, error: int) -> None:
    c = Coordinator()
    assert c.replies[c.join(session=session)].body.error_code == error
    assert bool(c.groups.live) == (error == ID_REQUIRED)


@pytest.mark.rule("GROUP-JOIN-1", "GROUP-JOIN-2", "GROUP-JOIN-4")
def test_the_session_timeout_is_judged_before_the_member_and_the_group_before_the_protocols() -> None:
    c = Coordinator()
    assert c.replies[c.join("X", session=1, protocols={})].rules == ("GROUP-JOIN-1",)
    assert c.replies[c.join("X", protocols={})].rules == ("GROUP-JOIN-2",)
    c.stable()
    assert c.replies[c.join("X", protocols=OTHER)].rules == ("GROUP-JOIN-4",)


@pytest.mark.rule("GROUP-JOIN-3")
def test_a_full_group_takes_nobody_new() -> None:
    c = Coordinator(max_size=2)
    a, b = c.stable(others=1)
    assert c.replies[c.join()].body.error_code == FULL
    assert c.replies[c.join(b)].body.generation_id == 1
    late = c.join(a)
    assert late not in c.replies
    c.now += 1
    spare = Coordinator(max_size=1)
    spare.joined()
    spare.settles()
    assert spare.group().state is State.COMPLETING and spare.replies[spare.join()].body.error_code == FULL


@pytest.mark.rule("GROUP-JOIN-3", "GROUP-JOIN-17")
def test_the_last_to_come_back_to_a_group_that_became_too_large_is_dropped_and_not_waited_for() -> None:
    c = Coordinator()
    a, b, d = c.stable(others=2)
    c.config = changed(c.config, max_size=2)
    waits = [c.join(a), c.join(b)]
    refused = c.replies[c.join(d)]
    assert (refused.body.error_code, refused.body.member_id, refused.rules) == (FULL, "", ("GROUP-JOIN-3",))
    assert set(c.group().members) == {a, b} and c.group().state is State.PREPARING
    assert not any(ticket in c.replies for ticket in waits)
    again = c.join(a)
    assert c.replies[again].body.generation_id == 2


@pytest.mark.rule("GROUP-JOIN-4")
def test_members_need_a_type_and_a_protocol_in_common() -> None:
    c = Coordinator()
    nothing: list[dict[str, Any]] = [{"kind": ""}, {"protocols": {}}]
    for fields in nothing:
        assert c.replies[c.join(**fields)].body.error_code == INCONSISTENT
    (a,) = c.stable(protocols={"range": b"1", "sticky": b"2"})
    for fields in [*nothing, {"kind": "connect"}, {"protocols": OTHER}]:
        assert c.replies[c.join(**fields)].body.error_code == INCONSISTENT
    assert c.replies[c.join(a, protocols={**OTHER, "cooperative": b""})].body.error_code == INCONSISTENT
    assert c.replies[c.join(a, protocols={"sticky": b"", **OTHER})].body.protocol_name == "sticky"
    c.leave(a)
    assert c.replies[c.join(kind="connect", protocols=OTHER)].body.error_code == ID_REQUIRED


@pytest.mark.rule("GROUP-JOIN-5", "GROUP-JOIN-17")
@pytest.mark.parametrize("version", [3, 4])
def test_from_v4_on_a_dynamic_member_is_given_an_id_first(version: int) -> None:
    c = Coordinator()
    ticket = c.join(version=version)
    if version == 3:
        assert ticket not in c.replies and len(c.group().members) == 1
        return
    body = c.replies[ticket].body
    assert (body.error_code, body.member_id, body.generation_id) == (ID_REQUIRED, next(iter(c.group().pending)), -1)
    assert not c.group().members and c.replies[ticket].rules == ("GROUP-JOIN-5",)
    assert c.join(instance="ib", version=5) not in c.replies
    assert c.replies[c.join()].body.member_id != body.member_id and len(c.group().pending) == 2


@pytest.mark.rule("GROUP-JOIN-6", "GROUP-JOIN-5")
def test_a_pending_id_lapses_with_its_session_and_frees_a_join_phase() -> None:
    c = Coordinator()
    (a,) = c.stable()
    pending = c.replies[c.join(session=7_000)].body.member_id
    c.beat(a, 1)
    waits = c.join(a)
    assert waits not in c.replies and c.group().state is State.PREPARING
    c.passes(6_999)
    assert pending in c.group().pending
    c.passes(1)
    assert pending not in c.group().pending and c.replies[waits].body.generation_id == 2
    assert c.replies[c.join(pending)].body.error_code == UNKNOWN


@pytest.mark.rule("GROUP-JOIN-6")
def test_a_pending_id_that_joined_in_time_does_not_lapse() -> None:
    c = Coordinator()
    a = c.joined(session=7_000)
    c.settles()
    c.passes(6_999)
    assert a in c.group().members and not c.group().pending


@pytest.mark.rule("GROUP-JOIN-7")
def test_the_first_member_leads_and_gives_the_group_its_type() -> None:
    c = Coordinator()
    a, b = c.joined(kind="connect"), c.joined(kind="connect")
    group = c.group()
    assert (group.leader, group.protocol_type, set(group.members)) == (a, "connect", {a, b})
    member = group.members[b]
    assert (member.client_id, member.client_host, member.session_timeout_ms, member.rebalance_timeout_ms) == ("c", "/127.0.0.1", SESSION_MS, REBALANCE_MS)
    assert member.protocols == (("range", subscription("t")),) and member.deadline_ms == NOW + 300_000
    c.leave(a, b)
    c.settles()
    assert c.group().state is State.EMPTY
    other = c.joined()
    assert (c.group().leader, c.group().protocol_type) == (other, "consumer")
    c.settles()
    static = c.joined(instance="ib")
    assert c.group().statics == EMPTY.set("ib", static) and c.group().leader == other


@pytest.mark.rule("GROUP-JOIN-8", "GROUP-JOIN-16")
def test_only_a_leader_or_a_change_makes_a_stable_group_rebalance() -> None:
    c = Coordinator()
    a, b = c.stable(others=1)
    answer = c.replies[c.join(b)].body
    assert (answer.generation_id, answer.leader, answer.member_id, answer.members, answer.protocol_name) == (1, a, b, (), "range")
    assert c.group().state is State.STABLE
    anew = c.join(b, protocols=CHANGED, session=8_000, rebalance=9_000, version=1)
    assert anew not in c.replies and c.group().state is State.PREPARING
    member = c.group().members[b]
    assert (member.protocols, member.session_timeout_ms, member.rebalance_timeout_ms) == (tuple(CHANGED.items()), 8_000, 9_000)
    c.join(a)
    assert c.replies[anew].body.generation_id == 2
    order = {"range": b"1", "sticky": b"2"}
    c = Coordinator()
    (a,) = c.stable(protocols=order)
    _, b = a, c.joined(protocols=order)
    c.join(a, protocols=order)
    leader = c.replies[c.join(a, protocols=order)].body
    assert (leader.generation_id, leader.leader, {one.member_id for one in leader.members}) == (2, a, {a, b})
    assert c.join(b, protocols=dict(reversed(order.items()))) not in c.replies


@pytest.mark.rule("GROUP-JOIN-9", "GROUP-LEAVE-3")
def test_a_leader_that_goes_is_replaced() -> None:
    c = Coordinator()
    a, b, d = c.stable(others=2)
    c.leave(d)
    assert c.group().leader == a
    c.leave(a)
    assert c.group().leader == b and set(c.group().members) == {b}
    c.leave(b)
    assert c.group().leader is None


@pytest.mark.rule("GROUP-JOIN-9", "GROUP-JOIN-12", "GROUP-JOIN-13")
def test_a_leader_that_does_not_come_back_is_replaced_by_one_that_does_though_it_stays() -> None:
    c = Coordinator()
    leader = c.joined(instance="ia")
    b = c.joined()
    c.settles()
    c.sync(b, 1)
    c.sync(leader, 1, {})
    waits = c.join(b, protocols=CHANGED)
    while waits not in c.replies:
        c.beat(leader, 1)
        c.passes(5_000)
    assert c.now == NOW + REBALANCE_MS
    assert c.replies[waits].body.leader == b and leader in c.group().members


@pytest.mark.rule("GROUP-JOIN-10")
def test_the_first_join_phase_waits_for_newcomers_up_to_the_rebalance_timeout() -> None:
    c = Coordinator(initial_rebalance_delay_ms=3_000)
    a = c.joined(rebalance=10_000)
    c.passes(2_999)
    c.joined()
    assert c.group().state is State.PREPARING
    c.passes(1)
    assert c.group().state is State.PREPARING and c.group().join_ends_ms == NOW + 6_000
    c.passes(2_999)
    c.joined()
    c.passes(2_000)
    c.joined()
    c.passes(1_001)
    assert c.group().state is State.PREPARING and c.group().join_ends_ms == NOW + 10_000
    c.joined()
    c.passes(999)
    assert c.group().state is State.PREPARING
    c.passes(1)
    assert c.group().state is State.COMPLETING and len(c.group().members) == 5 and c.group().leader == a


@pytest.mark.rule("GROUP-JOIN-10")
@pytest.mark.parametrize("rebalance", [1, 60_000])
def test_the_first_delay_is_never_cut_short_and_ends_with_it_if_nobody_comes(rebalance: int) -> None:
    c = Coordinator(initial_rebalance_delay_ms=3_000)
    c.joined(rebalance=rebalance)
    c.passes(2_999)
    assert c.group().state is State.PREPARING
    c.passes(1)
    assert c.group().state is State.COMPLETING and c.group().initial_until_ms is None


@pytest.mark.rule("GROUP-JOIN-10")
def test_pending_ids_do_not_hold_back_the_first_join_phase() -> None:
    c = Coordinator()
    c.joined()
    c.join()
    c.settles()
    assert c.group().state is State.COMPLETING and c.group().pending


@pytest.mark.rule("GROUP-JOIN-11", "GROUP-JOIN-12")
def test_a_later_join_phase_ends_when_all_are_there_and_no_id_is_out() -> None:
    c = Coordinator()
    a, b = c.stable(others=1)
    pending = c.replies[c.join()].body.member_id
    c.join(a)
    c.join(b)
    assert c.group().state is State.PREPARING
    c.join(pending)
    assert c.group().state is State.COMPLETING and c.group().generation == 2 and not c.group().joins


@pytest.mark.rule("GROUP-JOIN-12", "GROUP-JOIN-13")
def test_who_does_not_come_back_in_time_is_out_but_for_static_members() -> None:
    c = Coordinator()
    a, b, d = c.stable(others=1, instance="ib", rebalance=20_000)
    waits = c.join(a, rebalance=15_000)
    while c.now < NOW + 20_000:
        assert c.group().state is State.PREPARING
        assert c.beat(b, 1) == c.beat(d, 1) == REBALANCING
        c.passes(5_000)
    assert c.replies[waits].body.generation_id == 2
    assert set(c.group().members) == {a, d} and c.group().state is State.COMPLETING
    assert c.beat(b, 1) == UNKNOWN


@pytest.mark.rule("GROUP-JOIN-12")
def test_a_phase_that_only_static_members_could_end_goes_on() -> None:
    c = Coordinator()
    a, b = c.stable(instance="ib", rebalance=20_000, session=600_000)
    c.leave(a)
    c.passes(20_000)
    assert c.group().state is State.PREPARING and c.group().join_ends_ms == NOW + 40_000 and set(c.group().members) == {b}
    assert c.replies[c.join(b)].body.generation_id == 2


@pytest.mark.rule("GROUP-JOIN-13", "GROUP-RECORD-3")
def test_the_generation_rises_also_when_nobody_is_left() -> None:
    c = Coordinator()
    (a,) = c.stable()
    c.leave(a)
    group = c.group()
    assert (group.state, group.generation, group.protocol, group.leader, group.protocol_type) == (State.EMPTY, 2, None, None, "consumer")
    assert c.records[-1] == GroupMetadata("g", "consumer", 2, None, None, c.now, ())
    c.joined()
    c.settles()
    assert (c.group().generation, c.group().protocol) == (3, "range")


@pytest.mark.rule("GROUP-JOIN-14")
@pytest.mark.parametrize(("version", "timeout"), [(0, SESSION_MS), (1, REBALANCE_MS)])
def test_v0_has_one_timeout(version: int, timeout: int) -> None:
    c = Coordinator()
    c.join(version=version)
    (member,) = c.group().members.values()
    assert member.rebalance_timeout_ms == timeout


@pytest.mark.rule("GROUP-JOIN-15")
def test_the_protocol_with_most_votes_of_those_that_all_have_is_chosen() -> None:
    c = Coordinator()
    for names in (["x", "range", "sticky"], ["sticky", "range"], ["y", "sticky", "range"]):
        c.joined(protocols=dict.fromkeys(names, b""))
    assert group_phases.protocol_choices(c.group()) == ("sticky",)
    c.settles()
    assert c.group().protocol == "sticky"
    c = Coordinator()
    for names in (["range", "sticky"], ["sticky", "range"]):
        c.joined(protocols=dict.fromkeys(names, b""))
    assert group_phases.protocol_choices(c.group()) == ("range", "sticky")
    c.settles()
    assert c.group().protocol == "range"


@pytest.mark.rule("GROUP-JOIN-16")
def test_the_leader_alone_is_told_of_the_others() -> None:
    c = Coordinator()
    tickets = [c.join(version=3, protocols={"range": b"1", "sticky": b"2"}), c.join(instance="ib", protocols={"x": b"0", "range": b"3"})]
    c.settles()
    leader, other = (c.replies[ticket].body for ticket in tickets)
    assert (leader.protocol_type, leader.protocol_name, leader.generation_id, leader.skip_assignment) == ("consumer", "range", 1, False)
    assert {(one.member_id, one.group_instance_id, one.metadata) for one in leader.members} == {(leader.member_id, None, b"1"), (other.member_id, "ib", b"3")}
    assert leader.leader == other.leader == leader.member_id and other.members == ()


@pytest.mark.rule("GROUP-JOIN-17")
@pytest.mark.parametrize(("version", "protocol"), [(6, ""), (7, None)])
def test_a_refused_join_names_no_generation(version: int, protocol: str | None) -> None:
    body = Coordinator().ask(JoinGroupRequest("g", SESSION_MS, REBALANCE_MS, "X"), version, member_id="X")
    assert (body.error_code, body.generation_id, body.protocol_name, body.protocol_type, body.leader, body.member_id) == (UNKNOWN, -1, protocol, None, "", "X")


# Static members


@pytest.mark.rule("GROUP-STATIC-1")
def test_a_static_member_that_comes_anew_fences_what_waits_under_its_old_id() -> None:
    c = Coordinator()
    first = c.join(instance="ia")
    old = c.group().statics["ia"]
    second = c.join(instance="ia")
    new = c.group().statics["ia"]
    assert (c.replies[first].body.error_code, c.replies[first].body.member_id) == (FENCED, old)
    assert (set(c.group().members), c.group().leader) == ({new}, new) and old != new
    other = c.joined()
    c.settles()
    assert c.replies[second].body.leader == new
    parked = c.sync(other, 1)
    waits = c.sync(new, 1, {new: b"1"})
    assert {c.replies[parked].body.error_code, c.replies[waits].body.error_code} == {0}


@pytest.mark.rule("GROUP-STATIC-1")
def test_between_join_and_sync_a_static_member_that_comes_anew_makes_the_group_rebalance() -> None:
    c = Coordinator()
    a, b = c.joined(), c.joined(instance="ib")
    c.settles()
    parked = c.sync(b, 1)
    c.join(instance="ib")
    assert c.replies[parked].body.error_code == FENCED and c.replies[parked].rules == ("GROUP-STATIC-1",)
    assert c.group().state is State.PREPARING and b not in c.group().members
    assert c.beat(b, 1, instance="ib") == FENCED
    c.join(a)
    assert c.group().generation == 2


@pytest.mark.rule("GROUP-STATIC-2", "GROUP-RECORD-3")
@pytest.mark.parametrize("version", [5, 8, 9])
def test_a_static_leader_takes_over_without_a_rebalance(version: int) -> None:
    c = Coordinator()
    old, other = c.joined(instance="ia"), c.joined(instance="ib")
    c.settles()
    c.sync(other, 1)
    c.sync(old, 1, {old: b"mine", other: b"yours"})
    count = len(c.records)
    body = c.replies[c.join(instance="ia", version=version, session=7_000)].body
    new = body.member_id
    assert (c.group().state, c.group().generation, c.group().leader, body.generation_id, body.protocol_name) == (State.STABLE, 1, new, 1, "range")
    skips = (new, True, 2) if version == 9 else (old, False, 0)
    assert (body.leader, body.skip_assignment, len(body.members)) == skips
    assert c.group().members[new].assignment == b"mine" and c.group().members[new].session_timeout_ms == 7_000
    assert len(c.records) == count + 1 and {one.member_id for one in c.records[-1].members} == {new, other}
    follower = c.replies[c.join(instance="ib", version=version)].body
    assert (follower.leader, follower.skip_assignment, follower.members) == (new, False, ())
    assert c.beat(old, 1, instance="ia") == FENCED and c.beat(new, 1, instance="ia") == 0


@pytest.mark.rule("GROUP-STATIC-2", "GROUP-STATIC-1")
def test_a_static_member_that_would_change_the_protocol_makes_the_group_rebalance() -> None:
    c = Coordinator()
    both = {"range": b"", "sticky": b""}
    a, _ = c.joined(protocols=both), c.joined(instance="ib", protocols=both)
    c.settles()
    c.sync(a, 1, {})
    assert c.join(instance="ib", protocols={"sticky": b""}) not in c.replies
    assert c.group().state is State.PREPARING
    c.join(a, protocols=both)
    assert (c.group().generation, c.group().protocol) == (2, "sticky")


@pytest.mark.rule("GROUP-STATIC-3", "GROUP-LEAVE-4")
def test_a_static_member_is_put_out_by_its_name() -> None:
    c = Coordinator()
    a, b = c.stable(instance="ib")
    assert c.leave(("", "new"), ("", None), (a, "ib")) == [UNKNOWN, UNKNOWN, FENCED]
    assert c.leave(("", "ib")) == [0] and set(c.group().members) == {a} and not c.group().statics
    assert c.replies[c.join(b)].body.error_code == UNKNOWN


@pytest.mark.rule("GROUP-JOIN-8", "GROUP-STATIC-2")
def test_a_member_that_joins_again_brings_its_timeouts() -> None:
    c = Coordinator()
    a, _ = c.stable(instance="ib")
    c.join(instance="ib", session=7_000, rebalance=8_000)
    c.join(a, session=9_000, rebalance=11_000)
    told = {one.instance_id: (one.session_timeout_ms, one.rebalance_timeout_ms) for one in c.group().members.values()}
    assert told == {"ib": (7_000, 8_000), None: (9_000, 11_000)}


@pytest.mark.rule("GROUP-BEAT-2", "GROUP-STATIC-2")
def test_a_session_that_has_become_shorter_ends_in_time() -> None:
    c = Coordinator()
    c.stable(instance="ib", session=100_000)
    c.join(instance="ib", session=7_000)
    again = c.group().statics["ib"]
    assert c.beat(again, 1) == 0
    c.passes(6_999)
    assert again in c.group().members
    c.passes(1)
    assert again not in c.group().members


# Syncing


@pytest.mark.rule("GROUP-SYNC-1", "GROUP-SYNC-2")
def test_v5_names_the_protocol_and_older_versions_do_not() -> None:
    c = Coordinator()
    (a,) = c.stable()
    unnamed: list[dict[str, Any]] = [{"kind": None}, {"protocol": None}]
    for fields in unnamed:
        assert c.replies[c.sync("X", 9, **fields)].rules == ("GROUP-SYNC-1",)
        assert c.replies[c.sync(a, 1, version=4, **fields)].body.error_code == 0
    others: list[dict[str, Any]] = [{"kind": "connect"}, {"protocol": "sticky"}]
    for fields in others:
        assert c.replies[c.sync(a, 1, **fields)].rules == ("GROUP-SYNC-2",)
        assert c.replies[c.sync(a, 2, **fields)].rules == ("GROUP-MEMBER-6",)


@pytest.mark.rule("GROUP-SYNC-3", "GROUP-SYNC-7", "GROUP-RECORD-1")
def test_the_leader_assigns_once_and_all_are_told() -> None:
    c = Coordinator()
    a, b, d = c.joined(), c.joined(instance="ib"), c.joined()
    c.settles()
    waits = c.sync(b, 1)
    assert waits not in c.replies
    c.now += 5
    leads = c.sync(a, 1, {a: b"1", b: b"2", "stranger": b"3"})
    assert [c.replies[ticket].body.assignment for ticket in (waits, leads)] == [b"2", b"1"]
    assert (c.replies[waits].body.protocol_type, c.replies[waits].body.protocol_name) == ("consumer", "range")
    assert (c.group().state, c.group().since_ms) == (State.STABLE, NOW + 5)
    assert c.replies[c.sync(d, 1)].body.assignment == b""
    assert c.replies[c.sync(a, 1, {a: b"9"})].body.assignment == b"1"
    saved = c.records[-1]
    assert (saved.protocol_type, saved.generation, saved.protocol, saved.leader, saved.since_ms) == ("consumer", 1, "range", a, NOW + 5)
    assert SavedMember(b, "ib", "c", "/127.0.0.1", REBALANCE_MS, SESSION_MS, subscription("t"), b"2") in saved.members
    assert [one.member_id for one in saved.members] == sorted([a, b, d])


@pytest.mark.rule("GROUP-SYNC-5")
def test_who_waits_for_an_assignment_is_told_of_a_rebalance_and_has_a_session_again() -> None:
    c = Coordinator()
    _, b = c.joined(), c.joined()
    c.settles()
    waits = c.sync(b, 1)
    c.now += 4_000
    c.joined()
    assert c.replies[waits].body.error_code == REBALANCING and not c.group().syncs
    assert c.group().members[b].deadline_ms == c.now + SESSION_MS and c.group().sync_ends_ms is None


@pytest.mark.rule("GROUP-SYNC-6")
@pytest.mark.parametrize("is_stable", [True, False])
def test_who_does_not_sync_in_time_is_out(is_stable: bool) -> None:
    c = Coordinator()
    a, b, d = c.joined(rebalance=8_000, session=60_000), c.joined(session=60_000, instance="ib", rebalance=9_000), c.joined(session=60_000, rebalance=8_000)
    c.settles()
    waits = c.sync(d, 1)
    if is_stable:
        c.sync(a, 1, {})
        assert c.group().state is State.STABLE
    c.passes(8_999)
    assert b in c.group().members
    c.passes(1)
    assert set(c.group().members) == ({a, d} if is_stable else {d}) and c.group().state is State.PREPARING
    assert c.replies[waits].body.error_code == (0 if is_stable else REBALANCING)


@pytest.mark.rule("GROUP-SYNC-6", "GROUP-SYNC-7")
def test_once_all_have_synced_nobody_is_waited_for() -> None:
    c = Coordinator()
    a, b = c.joined(session=60_000), c.joined(session=60_000)
    c.settles()
    c.sync(a, 1, {})
    assert set(c.group().unsynced) == {b} and c.group().sync_ends_ms == NOW + REBALANCE_MS
    c.sync(b, 1)
    assert not c.group().unsynced and c.group().sync_ends_ms is None
    c.passes(REBALANCE_MS)
    assert c.group().state is State.STABLE


@pytest.mark.rule("GROUP-SYNC-8", "GROUP-RECORD-6")
def test_an_assignment_that_cannot_be_written_is_none() -> None:
    c = Coordinator()
    a, b = c.joined(), c.joined()
    c.settles()
    waits, before = c.sync(b, 1), c.groups
    body = SyncGroupRequest("g", 1, a, None, "consumer", "range")
    asked = Asked(99, 5, "g", body, a, None, 1)
    c.take(group_requests.not_written(before, asked, Error.MESSAGE_TOO_LARGE, c.config, c.now))
    assert {c.replies[ticket].body.error_code for ticket in (waits, 99)} == {Error.UNKNOWN_SERVER_ERROR}
    assert c.group().state is State.PREPARING and set(c.group().members) == {a, b}
    assert all(member.assignment == b"" for member in c.group().members.values())


# Being alive


@pytest.mark.rule("GROUP-BEAT-1", "GROUP-BEAT-2", "GROUP-BEAT-3")
@pytest.mark.parametrize("state", ["Completing", "Stable"])
def test_a_heartbeat_keeps_a_member_in(state: str) -> None:
    pair = Pair(state)
    pair.c.passes(SESSION_MS - 1)
    assert pair.c.beat(pair.a, 2) == 0
    pair.c.passes(SESSION_MS - 1)
    assert set(pair.c.group().members) == {pair.a}
    pair.c.passes(1)
    assert not pair.c.group().members


@pytest.mark.rule("GROUP-BEAT-2")
def test_a_heartbeat_that_is_told_to_rejoin_renews_the_session_and_one_that_is_refused_does_not() -> None:
    c = Coordinator()
    a, b, d = c.stable(others=2)
    c.join(a)
    c.passes(SESSION_MS - 1)
    assert (c.beat(b, 1), c.beat(d, 0)) == (REBALANCING, ILLEGAL)
    c.passes(1)
    assert set(c.group().members) == {a, b}


@pytest.mark.rule("GROUP-BEAT-2")
def test_an_answer_that_was_waited_for_begins_the_session_anew() -> None:
    c = Coordinator()
    a, b = c.joined(), c.joined()
    c.settles()
    assert {member.deadline_ms for member in c.group().members.values()} == {NOW + SESSION_MS}
    c.sync(b, 1)
    c.now += 4_000
    c.sync(a, 1, {})
    assert {member.deadline_ms for member in c.group().members.values()} == {NOW + 4_000 + SESSION_MS}
    c.now += 1_000
    c.sync(a, 1)
    assert c.group().members[a].deadline_ms == c.now + SESSION_MS


@pytest.mark.rule("GROUP-BEAT-3", "GROUP-BEAT-4")
def test_the_end_of_a_session_may_end_a_join_phase() -> None:
    c = Coordinator()
    a, b = c.stable(others=1)
    waits = c.join(a)
    c.passes(SESSION_MS)
    assert c.replies[waits].body.generation_id == 2 and set(c.group().members) == {a}
    assert c.beat(b, 2) == UNKNOWN


@pytest.mark.rule("GROUP-BEAT-4", "GROUP-BEAT-3")
def test_a_member_that_waits_is_not_silent_but_a_new_one_has_five_minutes() -> None:
    c = Coordinator()
    a, b = c.stable(others=1, rebalance=400_000)
    new = c.join(version=3, rebalance=400_000)
    waits = c.join(a, rebalance=400_000)
    for _ in range(299):
        c.passes(1_000)
        assert c.beat(b, 1) == REBALANCING
    assert new not in c.replies and waits not in c.replies
    c.passes(1_000)
    assert c.replies[new].body.error_code == UNKNOWN and waits not in c.replies and set(c.group().members) == {a, b}


@pytest.mark.rule("GROUP-BEAT-4")
def test_a_member_that_waits_for_its_assignment_is_not_silent() -> None:
    c = Coordinator()
    a, b = c.joined(session=20_000), c.joined()
    c.settles()
    c.sync(b, 1)
    c.passes(SESSION_MS + 1)
    assert set(c.group().members) == {a, b}


# Leaving


@pytest.mark.rule("GROUP-LEAVE-1", "GROUP-LEAVE-2")
def test_up_to_v2_one_leaves_and_from_v3_on_many_each_with_its_error() -> None:
    c = Coordinator()
    a, b, d = c.stable(others=2)
    assert c.ask(LeaveGroupRequest("g", "X"), 2).error_code == UNKNOWN
    old = c.ask(LeaveGroupRequest("g", a), 2)
    assert (old.error_code, old.members) == (0, ()) and set(c.group().members) == {b, d}
    waits = c.join(b)
    assert c.leave("X", d, d) == [UNKNOWN, 0, UNKNOWN]
    assert c.replies[waits].body.generation_id == 2
    assert c.ask(LeaveGroupRequest("g"), 3).members == ()
    assert c.leave("X", group="nobody") == [UNKNOWN] and "nobody" not in c.groups.live
    assert c.ask(LeaveGroupRequest("nobody", "X"), 2).error_code == UNKNOWN


@pytest.mark.rule("GROUP-LEAVE-1")
@pytest.mark.parametrize("state", ["Completing", "Stable"])
def test_who_leaves_makes_the_others_rebalance(state: str) -> None:
    pair = Pair(state)
    assert pair.c.leave(pair.b) == [0]
    assert pair.c.group().state is State.PREPARING and pair.c.group().generation == 2
    answer = pair.c.replies[pair.c.join(pair.a)].body
    assert answer.generation_id == 3


@pytest.mark.rule("GROUP-LEAVE-3", "GROUP-JOIN-17")
def test_what_waits_of_a_member_that_leaves_is_answered() -> None:
    c = Coordinator()
    a, b = c.joined(), c.joined(instance="ib")
    c.settles()
    waits = c.sync(b, 1)
    c.leave(b)
    assert c.replies[waits].body.error_code == UNKNOWN and not c.group().syncs and not c.group().statics and b not in c.group().unsynced
    d = c.joined()
    ticket = c.group().joins[d].ticket
    c.leave(d)
    assert (c.replies[ticket].body.error_code, c.replies[ticket].body.member_id) == (UNKNOWN, "")
    assert set(c.group().members) == {a} and not c.group().joins and c.replies[ticket].rules == ("GROUP-LEAVE-3",)


@pytest.mark.rule("GROUP-LEAVE-4", "GROUP-LEAVE-2")
def test_a_pending_id_is_given_back_and_not_waited_for() -> None:
    c = Coordinator()
    (a,) = c.stable()
    pending = c.replies[c.join()].body.member_id
    assert c.group().state is State.STABLE
    waits = c.join(a)
    assert waits not in c.replies
    assert c.ask(LeaveGroupRequest("g", pending), 2).error_code == 0
    assert c.replies[waits].body.generation_id == 2 and not c.group().pending
    other = c.replies[c.join()].body.member_id
    assert c.leave(other) == [0] and c.group().state is State.PREPARING and c.leave(other) == [UNKNOWN]
    empty = Coordinator()
    alone = empty.replies[empty.join()].body.member_id
    assert empty.leave(alone) == [0] and empty.group().state is State.EMPTY


# Records


@pytest.mark.rule("GROUP-RECORD-2", "GROUP-RECORD-4")
def test_after_a_restart_a_stable_group_is_there_with_sessions_begun_anew() -> None:
    c = Coordinator()
    a, b = c.stable(instance="ib", protocols={"range": subscription("t"), "sticky": b""})
    before = c.group()
    c.join()
    c.passes(3_000)
    c.restarts()
    group = c.group()
    assert (group.state, group.generation, group.leader, group.protocol, group.protocol_type) == (State.STABLE, 1, a, "range", "consumer")
    assert (group.since_ms, group.statics, group.subscribed, group.pending) == (before.since_ms, before.statics, frozenset({"t"}), EMPTY)
    for member_id in (a, b):
        member, was = group.members[member_id], before.members[member_id]
        assert (member.assignment, member.session_timeout_ms, member.rebalance_timeout_ms) == (was.assignment, was.session_timeout_ms, was.rebalance_timeout_ms)
        assert (member.client_id, member.client_host, member.instance_id) == (was.client_id, was.client_host, was.instance_id)
        assert (member.protocols, member.is_new, member.deadline_ms) == ((("range", subscription("t")),), False, c.now + SESSION_MS)
    c.passes(SESSION_MS - 1)
    assert c.beat(a, 1) == 0
    c.passes(1)
    assert set(c.group().members) == {a}


@pytest.mark.rule("GROUP-RECORD-2")
def test_after_a_restart_an_empty_group_goes_on_counting() -> None:
    c = Coordinator()
    (a,) = c.stable()
    c.leave(a)
    c.commit(7, group="simple")
    c.restarts()
    assert (c.group().state, c.group().generation, c.group().protocol_type) == (State.EMPTY, 2, "consumer")
    simple = c.group("simple")
    assert (simple.state, simple.protocol_type, simple.since_ms) == (State.EMPTY, None, c.now)
    c.joined()
    c.settles()
    assert c.group().generation == 3


@pytest.mark.rule("GROUP-RECORD-3")
def test_a_join_phase_writes_nothing() -> None:
    c = Coordinator()
    a, b = c.stable(others=1)
    count = len(c.records)
    c.join(a)
    c.join(b)
    assert c.group().generation == 2 and len(c.records) == count
    c.restarts()
    assert c.group().generation == 1


@pytest.mark.rule("GROUP-RECORD-6", "GROUP-RECORD-5")
def test_what_cannot_be_written_did_not_happen() -> None:
    c = Coordinator()
    ask = Asked(77, 9, "g", JoinGroupRequest("g", SESSION_MS, REBALANCE_MS))
    groups, (reply,) = group_requests.not_written(c.groups, ask, Error.NOT_ENOUGH_REPLICAS, c.config, c.now)
    assert groups is c.groups
    assert (reply.ticket, reply.body.error_code) == (77, Error.COORDINATOR_NOT_AVAILABLE)  # type: ignore[union-attr]


@pytest.mark.rule("GROUP-RECORD-4")
def test_the_last_record_of_a_key_counts() -> None:
    durable = group_requests.Groups()
    one, other = (GroupMetadata("g", None, generation, None, None, NOW, ()) for generation in (1, 2))
    for record in (one, other):
        durable = group_requests.evolve(durable, record)
    assert durable == group_requests.evolve(group_requests.Groups(), other)
    gone = group_requests.evolve(durable, GroupForgotten("g"))
    assert gone == group_requests.Groups() and group_requests.evolve(gone, GroupForgotten("g")) == gone


def test_a_heartbeat_of_a_large_group_touches_one_member() -> None:
    """Its cost is that of one entry of a persistent map: all other members are the very same values."""
    c = Coordinator()
    members = c.stable(others=300)
    before = c.group().members
    c.now += 1
    assert c.ask(HeartbeatRequest("g", 1, members[7]), 4, member_id=members[7], generation=1).error_code == 0
    after = c.group().members
    assert [one for one in members if after[one] is not before[one]] == [members[7]]


def test_answers_leave_in_the_order_in_which_the_requests_came() -> None:
    """The same events give the same answers in the same order, whatever the order of a map."""
    c = Coordinator()
    joins = [c.join(version=3) for _ in range(20)]
    c.settles()
    assert list(c.replies) == joins
    members = [c.replies[ticket].body.member_id for ticket in joins]
    c.replies.clear()
    syncs = [c.sync(member_id, 1) for member_id in [*members[1:], members[0]]]
    assert list(c.replies) == syncs
