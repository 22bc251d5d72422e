"""Members in company: what a good client does, what is lost and repeated on the way, and that the searches of it find what is there to be found."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from fiducial.models import group_company, group_members
from fiducial.models.checkers import main
from fiducial.models.checkers.company_universe import (
    COORDINATOR,
    MESSAGES,
    PROCESSES,
    CompanyUniverse,
    company_universe,
    process_of,
    walked_company_universes,
)
from fiducial.models.checkers.explore import explore
from fiducial.models.checkers.walk import Choice, walk
from fiducial.models.errors import Error
from fiducial.models.flaws import FLAWS, switched_on
from fiducial.models.group_company import (
    COMPANY_PROPERTIES,
    RESTING,
    Arrives,
    Company,
    Deed,
    Does,
    Lost,
    Passes,
    Rings,
    Step,
    comes_to_rest,
    is_at_rest,
    next_alarms,
    take,
)
from fiducial.models.group_members import Answer, Ask, Phase, Process, Request, assignments
from fiducial.models.group_properties import GROUP_PROPERTIES, Restart
from fiducial.models.groups import State
from fiducial.models.messages import OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic
from fiducial.models.values import EMPTY, changed

EVERY: tuple[Any, ...] = tuple(COMPANY_PROPERTIES.values())
#: Small enough for a test; the gate's are larger.
SMALL = (
    company_universe("oo", 0, 1),
    company_universe("d", 1, 1),
    company_universe("o", 1, 1, failing=(PROCESSES,), leaves=True, waits=True),
    company_universe("ss", 0, 2),
)


#: Which property finds which flaw, and where.
BELIEVED: dict[str, tuple[str, CompanyUniverse]] = {
    "G5": ("StaticIdHasOneMember", company_universe("ss", 0, 1)),
    "G7": ("OldAnswersChangeNothing", company_universe("oo", 0, 2)),
    "X11": ("StaleCommitFenced", company_universe("os", 0, 2)),
    "X13": ("NoDoubleOwnership", company_universe("oo", 0, 2)),
    "X14": ("NoDoubleOwnership", company_universe("oo", 1, 1, failing=(COORDINATOR,))),
    "X17": ("CommittedOffsetNeverRegressesWithoutCommit", company_universe("oo", 0, 2)),
    "X19": ("EventuallyStable", company_universe("o", 1, 1, failing=(PROCESSES,))),
    "X20": ("EventuallyStable", company_universe("oo", 1, 1, failing=(PROCESSES,))),
}


class Story:
    """Processes of these kinds, told one event after another; every step keeps every property."""

    def __init__(self, kinds: str, faults: int = 0) -> None:
        self.company = Company(tuple(process_of(kind, name) for kind, name in zip(kinds, "abc", strict=False)), faults)

    def take(self, event: Any) -> Step:
        """One event."""
        step = take(self.company, event)
        assert [one.name for one in EVERY if not one.check(step)] == []
        self.company = step.after
        return step

    def does(self, name: str, deed: Deed) -> Step:
        """A process does something; what is a fault is counted."""
        return self.take(Does(name, deed, deed in (Deed.CRASHES, Deed.HANGS)))

    def message(self, name: str, ask: Ask, kind: type) -> Any:
        """The message of a process that is under way."""
        found = [one for one in self.company.under_way if isinstance(one, kind)]
        return next(one for one in found if (one.request if isinstance(one, Answer) else one).process == name and (one.request if isinstance(one, Answer) else one).ask is ask)

    def arrives(self, name: str, ask: Ask, *, repeated: bool = False) -> Step:
        """A request arrives at the coordinator."""
        return self.take(Arrives(self.message(name, ask, Request), repeated))

    def hears(self, name: str, ask: Ask) -> Error:
        """An answer arrives at its process."""
        answer = self.message(name, ask, Answer)
        self.take(Arrives(answer))
        return Error(answer.error)

    def rings(self) -> Step:
        """The next alarm."""
        return self.take(Rings(next_alarms(self.company)[0]))

    def asks(self, name: str, ask: Ask) -> Error:
        """A request arrives, and its answer."""
        self.arrives(name, ask)
        return self.hears(name, ask)

    def settle(self, *names: str) -> None:
        """These join, one after the other, wait for the first generation, and are told what they own."""
        for name in names:
            self.does(name, Deed.JOINS)
            self.arrives(name, Ask.JOIN)
        while self.company.group.state is State.PREPARING:
            self.rings()
        for name in names:
            self.hears(name, Ask.JOIN)
            self.arrives(name, Ask.SYNC)
        for name in names:
            self.hears(name, Ask.SYNC)

    def process(self, name: str) -> Process:
        """A process as it is now."""
        return self.company.process(name)


# What a good client does


def test_two_members_settle_and_share_the_partitions() -> None:
    story = Story("oo")
    story.settle("a", "b")
    a, b = story.process("a"), story.process("b")
    assert (a.phase, b.phase) == (Phase.SETTLED, Phase.SETTLED) and (a.owned_in, b.owned_in) == (1, 1)
    assert a.owned | b.owned == {0, 1} and not a.owned & b.owned
    assert is_at_rest(story.company)


def test_a_dynamic_member_comes_again_with_the_id_it_is_given() -> None:
    story = Story("d")
    story.does("a", Deed.JOINS)
    assert story.asks("a", Ask.JOIN) is Error.MEMBER_ID_REQUIRED
    assert story.message("a", Ask.JOIN, Request).member_id == story.process("a").member_id != ""


def test_a_member_that_is_told_to_rejoin_gives_up_what_it_owns() -> None:
    story = Story("oo")
    story.settle("a")
    story.does("b", Deed.JOINS)
    story.arrives("b", Ask.JOIN)
    story.does("a", Deed.BEATS)
    assert story.asks("a", Ask.BEAT) is Error.REBALANCE_IN_PROGRESS
    assert story.process("a").phase is Phase.JOINING and not story.process("a").owned
    assert story.process("a").owned_in == 1


def test_a_member_that_is_unknown_begins_anew() -> None:
    story = Story("o")
    story.settle("a")
    story.rings()
    story.rings()
    assert story.company.group.state is State.EMPTY
    story.does("a", Deed.COMMITS)
    assert story.asks("a", Ask.COMMIT) is Error.UNKNOWN_MEMBER_ID
    assert story.message("a", Ask.JOIN, Request).member_id == ""


def test_a_process_whose_instance_is_taken_ends() -> None:
    story = Story("ss")
    story.settle("a")
    story.does("b", Deed.JOINS)
    story.asks("b", Ask.JOIN)
    story.does("a", Deed.BEATS)
    assert story.asks("a", Ask.BEAT) is Error.FENCED_INSTANCE_ID
    assert story.process("a") == Process("a", "i", phase=Phase.GONE, owned_in=1)


def test_an_application_that_hangs_shows_signs_of_life_and_does_nothing_else() -> None:
    story = Story("oo", faults=1)
    story.settle("a")
    story.does("a", Deed.HANGS)
    story.does("b", Deed.JOINS)
    story.arrives("b", Ask.JOIN)
    story.does("a", Deed.BEATS)
    assert story.asks("a", Ask.BEAT) is Error.REBALANCE_IN_PROGRESS
    assert story.process("a").phase is Phase.SETTLED and story.process("a").sign is None
    while story.company.group.state is State.PREPARING:
        story.rings()
    story.does("a", Deed.BEATS)
    assert story.asks("a", Ask.BEAT) is Error.UNKNOWN_MEMBER_ID
    assert story.process("a").phase is Phase.GONE


def test_who_leaves_is_gone_at_once_and_out_when_the_request_arrives() -> None:
    story = Story("o")
    story.settle("a")
    story.does("a", Deed.LEAVES)
    assert story.process("a").phase is Phase.GONE and story.company.group.members
    step = story.arrives("a", Ask.LEAVE)
    assert [one.error for one in step.outcome] == [Error.NONE]
    assert not story.company.group.members and not story.company.under_way


def test_two_leaders_would_not_assign_alike() -> None:
    assert dict(assignments("a", ("a", "b", "c"))) == {"a": b"\0", "b": b"\1", "c": b""}
    assert dict(assignments("b", ("a", "b", "c"))) == {"b": b"\0", "c": b"\1", "a": b""}
    assert assignments("a", ("a",)) == (("a", b"\0\1"),) and assignments("a", ()) == ()


# What the network does


def test_a_lost_request_is_asked_again_under_another_number_or_the_same_if_it_is_free() -> None:
    story = Story("o", faults=1)
    story.does("a", Deed.JOINS)
    story.take(Lost(story.message("a", Ask.JOIN, Request)))
    assert story.company.faults == 0
    story.does("a", Deed.GIVES_UP)
    assert story.message("a", Ask.JOIN, Request).number == story.process("a").round_trip


def test_an_answer_that_nobody_awaits_any_more_is_not_under_way() -> None:
    story = Story("o", faults=1)
    story.settle("a")
    story.does("a", Deed.BEATS)
    story.take(Does("a", Deed.GIVES_UP_SIGN, is_fault=True))
    step = story.arrives("a", Ask.BEAT)
    assert [one.error for one in step.outcome] == [Error.NONE] and not story.company.under_way


def test_a_repeated_request_is_answered_twice_and_heard_once() -> None:
    story = Story("o", faults=1)
    story.does("a", Deed.JOINS)
    story.arrives("a", Ask.JOIN, repeated=True)
    story.rings()
    assert story.hears("a", Ask.JOIN) is Error.NONE
    assert story.company.group.state is State.COMPLETING
    story.arrives("a", Ask.JOIN)  # once more, of a client that has got an answer: a member that nobody is
    assert len(story.company.group.members) == 2


def test_a_coordinator_that_begins_anew_has_lost_who_waited() -> None:
    story = Story("oo", faults=1)
    story.settle("a")
    story.does("b", Deed.JOINS)
    story.arrives("b", Ask.JOIN)
    assert len(story.company.waiting) == 1
    story.take(Restart())
    assert not story.company.waiting and story.company.group.state is State.STABLE
    story.does("b", Deed.GIVES_UP)
    assert story.arrives("b", Ask.JOIN).after.group.state is State.PREPARING


def test_the_same_state_at_another_hour_is_the_same() -> None:
    """A member that shows life while time passes comes back to where it was."""
    story = Story("o")
    story.settle("a")

    seen = Counter[Company]()
    for _ in range(8):
        story.take(Passes() if group_company.may_pass(story.company) else Rings(next_alarms(story.company)[0]))
        story.does("a", Deed.BEATS)
        assert story.asks("a", Ask.BEAT) is Error.NONE
        seen[story.company] += 1
    assert len(seen) < 5


# The properties


def broken(step: Step) -> set[str]:
    """The names of the properties that a step breaks."""
    return {one.name for one in EVERY if not one.check(step)}


def settled(change: Callable[[Company], Company]) -> Step:
    """A step after which two settled members are changed by hand."""
    story = Story("oo")
    story.settle("a", "b")
    return Step(story.company, Restart(), change(story.company), ())


def owning(name: str, owned: set[int]) -> Callable[[Company], Company]:
    """A process owns what it was not given."""
    return lambda company: changed(company, processes=tuple(changed(one, owned=frozenset(owned)) if one.name == name else one for one in company.processes))


def test_each_property_sees_what_breaks_it() -> None:
    assert broken(settled(lambda company: company)) == set()
    assert broken(settled(owning("a", {0, 1}))) == {"NoDoubleOwnership", "EventuallyStable"}
    back = settled(lambda company: changed(company, processes=tuple(changed(one, owned_in=0) for one in company.processes)))
    assert "GenerationMonotone" in broken(back)
    same = settled(lambda company: changed(company, processes=tuple(changed(one, member_id="a-01") for one in company.processes)))
    assert "StaticIdHasOneMember" in broken(same)
    topic = OffsetCommitResponseTopic("t", partitions=(OffsetCommitResponsePartition(0, Error.NONE),))
    commit = Answer(Request("a", 0, Ask.COMMIT, "a", 0), OffsetCommitResponse((topic,)))
    stale = changed(settled(lambda company: company), outcome=(commit,))
    assert broken(stale) == {"StaleCommitFenced", "CommittedOffsetNeverRegressesWithoutCommit"}


def test_rest_is_not_where_a_member_waits_or_believes_something_else() -> None:
    story = Story("oo")
    story.settle("a", "b")
    assert comes_to_rest(story.company)
    assert not is_at_rest(owning("a", {0, 1})(story.company))
    assert not is_at_rest(changed(story.company, under_way=frozenset({Request("a", 0, Ask.BEAT, "a", 1)})))


def test_a_group_that_nobody_rings_for_goes_round_and_round() -> None:
    """The search of ways can fail: without its alarms a join phase lasts for ever."""
    RESTING.clear()
    story = Story("o")
    story.does("a", Deed.JOINS)
    story.arrives("a", Ask.JOIN)
    assert comes_to_rest(story.company)
    assert not comes_to_rest(changed(story.company, alarms=EMPTY))


@pytest.mark.parametrize(("flaw", "end"), [("X19", Deed.CRASHES), ("X20", Deed.HANGS)])
def test_answers_that_arrive_at_once_hide_no_way(flaw: str, end: Deed, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that its process awaits alone is not weighed against other messages; where it is, the same comes to rest, and the same does not."""
    story = Story("oo", faults=1)
    story.settle("a")
    seen = [story.company]
    if end is Deed.HANGS:
        seen.append(story.does("b", Deed.JOINS).after)
    seen.append(story.does("a", end).after)
    with switched_on(FLAWS[flaw]):
        RESTING.clear()
        assert [comes_to_rest(one) for one in seen] == [True] * (len(seen) - 1) + [False]
        RESTING.clear()
        monkeypatch.setattr(group_company, "is_alone", lambda *_: False)
        assert [comes_to_rest(one) for one in seen] == [True] * (len(seen) - 1) + [False]
    RESTING.clear()


# The searches


@pytest.mark.parametrize("universe", SMALL, ids=lambda one: f"{one.name}: {one.bounds}")
def test_small_companies_are_exhausted_without_complaint(universe: CompanyUniverse) -> None:
    seen = explore(universe, EVERY)
    assert seen.violation is None, seen.violation
    assert seen.is_exhausted and seen.states > 100


def test_every_property_of_members_has_a_witness_in_a_search_of_every_day() -> None:
    """Whether all ways lead to rest is a matter of the other tests: here it would take most of the time."""
    quick = tuple(one for one in EVERY if one.name != "EventuallyStable")
    seen = [explore(universe, quick) for universe in (company_universe("oo", 0, 2), company_universe("ss", 0, 2))]
    assert [one.violation for one in seen] == [None, None]
    assert seen[0].witnessed | seen[1].witnessed == {one.name for one in quick}


@pytest.mark.parametrize("choice", list(Choice))
def test_walks_of_a_company_do_everything(choice: Choice) -> None:
    (universe,) = walked_company_universes()
    walked = walk(universe, tuple(universe.properties.values()), seed=1, steps_max=6_000, choice=choice)
    assert walked.violation is None, walked.violation
    assert set(walked.actions) == {"begin", "arrive", "beat", "commit", "give up", "ring", "wait", "leave", "lose", "repeat", "crash", "hang", "restart"}
    assert set(COMPANY_PROPERTIES) - set(universe.properties) == {"EventuallyStable"}


def test_what_may_fail_is_what_a_universe_says() -> None:
    reached = {}
    for failing in (MESSAGES, PROCESSES, COORDINATOR):
        universe, names = company_universe("o", 1, 1, failing=(failing,)), Counter[str]()
        walked = walk(universe, (), seed=2, steps_max=1_000)
        names.update(walked.actions)
        reached[failing] = set(names) & {"lose", "repeat", "crash", "hang", "restart"}
    assert reached == {MESSAGES: {"lose", "repeat"}, PROCESSES: {"crash", "hang"}, COORDINATOR: {"restart"}}


def test_universes_of_companies_travel_to_other_processes() -> None:
    effort = main.everyday()
    for universe in (*effort.searched, *effort.searched_for_flaws, *main.every_walked()):
        assert main.properties_of(pickle.loads(pickle.dumps(universe))).keys() == main.properties_of(universe).keys()


@pytest.mark.parametrize("flaw", BELIEVED)
def test_a_flaw_is_refuted_by_what_members_believe(flaw: str) -> None:
    """Those of the coordinator too, whatever its answers are taken for elsewhere."""
    name, universe = BELIEVED[flaw]
    with switched_on(FLAWS[flaw]):
        seen = explore(universe, (COMPANY_PROPERTIES[name],), states_max=10_000)
    assert seen.violation is not None and seen.violation.property == name


def test_what_is_promised_of_members_is_promised_of_the_coordinator_too() -> None:
    own = set(COMPANY_PROPERTIES) - set(GROUP_PROPERTIES)
    assert own == {"OldAnswersChangeNothing"}
    assert set(main.NAMES) >= set(COMPANY_PROPERTIES)


def test_properties_of_members_use_nothing_that_a_flaw_replaces() -> None:
    replaced = {one.target.rpartition(":")[2] for one in FLAWS.values() if one.replacement is not None}
    assert replaced.isdisjoint(vars(group_company)) and "is_about" in vars(group_members)


def test_the_story_of_an_old_answer() -> None:
    with switched_on(FLAWS["G7"]):
        seen = explore(company_universe("oo", 0, 2), (COMPANY_PROPERTIES["OldAnswersChangeNothing"],))
    assert seen.violation is not None and seen.violation.story[-3:] == (
        "a's Heartbeat arrives → a's Heartbeat: ILLEGAL_GENERATION (CompletingRebalance, generation 2)",
        "the answer to a's JoinGroup arrives → no answer (CompletingRebalance, generation 2)",
        "the answer to a's Heartbeat arrives → no answer (CompletingRebalance, generation 2)",
    )
