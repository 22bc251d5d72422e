"""The search of groups: it exhausts its small universes without complaint, every property has its occasion, and every flaw of groups is refuted by name."""

from __future__ import annotations

from collections import Counter
from functools import reduce
from random import Random
from typing import Any

import pytest
import z3

from fiducial.models import group_properties, group_requests
from fiducial.models.checkers import group_proofs, group_relation, main, prove
from fiducial.models.checkers.explore import explore
from fiducial.models.checkers.group_relation import Relation
from fiducial.models.checkers.group_universe import (
    DYNAMIC_V3,
    GroupUniverse,
    dynamic_universe,
    ending_universe,
    leave,
    static_universe,
    walked_group_universes,
)
from fiducial.models.checkers.judge import RELATION, Judge
from fiducial.models.checkers.prove import Symbolic
from fiducial.models.checkers.walk import Choice, walk
from fiducial.models.flaws import FLAWS, switched_on
from fiducial.models.group_events import TABLE
from fiducial.models.group_properties import (
    ANY,
    GROUP_PROPERTIES,
    Restart,
    Ring,
    World,
    comes_to_rest,
    join,
    key_of,
    sync,
    take,
)
from fiducial.models.group_requests import Groups
from fiducial.models.groups import State
from fiducial.models.values import EMPTY, changed

EVERY = tuple(GROUP_PROPERTIES.values())
GROUP_FLAWS = [one.id for one in FLAWS.values() if one.violates in GROUP_PROPERTIES]


@pytest.mark.parametrize("universe", [dynamic_universe(2, 1, 30), static_universe(2, 1, 10), ending_universe(2, 1, 10)], ids=lambda one: one.name)
def test_small_universes_are_exhausted_without_complaint(universe: GroupUniverse) -> None:
    seen = explore(universe, EVERY)
    assert seen.violation is None, seen.violation
    assert seen.is_exhausted and seen.states > 100


@pytest.mark.parametrize("choice", list(Choice))
def test_every_property_has_a_witness_in_some_walk(choice: Choice) -> None:
    walked = walk(walked_group_universes()[0], EVERY, seed=5, steps_max=6_000, choice=choice)
    assert walked.violation is None, walked.violation
    ended = walk(walked_group_universes()[1], EVERY, seed=5, steps_max=6_000, choice=choice)
    assert ended.violation is None, ended.violation
    assert walked.witnessed | ended.witnessed == set(GROUP_PROPERTIES)


@pytest.mark.parametrize("flaw", GROUP_FLAWS)
def test_every_flaw_of_groups_is_refuted_by_the_property_it_names(flaw: str) -> None:
    small = changed(main.everyday(), flaw_states_max=4_000, flaw_walk_steps=10)
    found = main.refute(flaw, small.searched_for_flaws, small)
    assert any(row.depth is not None for row in found), found


def test_a_flaw_of_groups_is_told_as_a_story() -> None:
    found = main.refute("X14", [ending_universe(2, 1, 30)], changed(main.everyday(), flaw_walk_steps=10))
    assert found[0].story == (
        "somebody sends JoinGroup → JoinGroup: MEMBER_ID_REQUIRED (Empty, generation 0)",
        "c-0 sends JoinGroup → no answer (PreparingRebalance, generation 0)",
        "the next alarm rings → c-0 JoinGroup: NONE (CompletingRebalance, generation 1)",
        "c-0 sends SyncGroup of generation 1 → c-0 SyncGroup: NONE (Stable, generation 1)",
        "the coordinator begins anew → no answer (Empty, generation 0)",
    )


def test_the_table_is_whole_again_when_a_flaw_in_it_is_switched_off() -> None:
    before = {event: dict(cells) for event, cells in TABLE.items()}
    with switched_on(FLAWS["X12"]):
        assert {event: dict(cells) for event, cells in TABLE.items()} != before
    assert {event: dict(cells) for event, cells in TABLE.items()} == before


def test_a_group_goes_where_its_cell_says() -> None:
    """Every step of a walk: the state after an event is one that some cell of its state names, over at most two events of one request."""
    after = {state: {one for cells in TABLE.values() for one in cells[state].next} for state in State}
    moves: Counter[tuple[State, State]] = Counter()

    def allows(step: Any) -> bool:
        moves[step.before.group.state, step.after.group.state] += 1
        return isinstance(step.event, Restart) or step.after.group.state in after[step.before.group.state]

    assert walk(walked_group_universes()[1], (), seed=3, steps_max=10_000, relation=allows).violation is None
    assert len(moves) > 12


def story(*events: Any) -> World:
    """These events from the beginning."""
    world = World()
    for event in events:
        world = take(world, event).after
    return world


def test_a_group_that_nobody_rings_for_does_not_come_to_rest() -> None:
    """The property can fail: without its alarm a join phase would last for ever."""
    comes_to_rest.cache_clear()
    waits = story(DYNAMIC_V3)
    assert comes_to_rest(waits.groups, waits.alarms, waits.now)
    assert not comes_to_rest(waits.groups, EMPTY, waits.now)


def test_the_observer_remembers_who_was_told_what() -> None:
    world = story(DYNAMIC_V3, DYNAMIC_V3, Ring(), Ring())
    (a, _), (b, _) = world.given
    assert world.group.state is State.COMPLETING and world.seen.told == EMPTY.update({a: 1, b: 1})
    world = take(world, sync(world.group, b, None, 1, 0)).after
    assert len(world.waiting) == 1
    world = take(world, sync(world.group, a, None, 1, 0)).after
    assert world.seen.owners == EMPTY.update({(1, 0): a, (1, 1): b}) and world.seen.synced == 1 and not world.waiting
    world = take(take(world, leave(b, None)).after, join(a, None, version=9)).after
    assert world.seen.rounds[2] == (a, "range")


def test_what_no_engine_asks_would_have_held() -> None:
    """Which properties speak of a step is told by its kind; the others must hold of it too."""
    judge, unasked = Judge(EVERY, None), Counter[str]()

    def holds(step: Any) -> bool:
        judge.broken_by(step)
        asked = {name for name, _ in judge.asked[step.event.__class__, step.outcome.__class__, step.after is step.before]}
        unasked.update(name for name, one in GROUP_PROPERTIES.items() if name not in asked and one.check(step))
        return all(name in asked or one.check(step) for name, one in GROUP_PROPERTIES.items())

    assert walk(walked_group_universes()[1], (), seed=11, steps_max=1_500, relation=holds).violation is None
    assert set(unasked) == {name for name, one in GROUP_PROPERTIES.items() if one.events != ANY}


def test_properties_use_nothing_that_a_flaw_replaces() -> None:
    """The coordinator as a whole they use; of its parts only those that nothing replaces."""
    replaced = {one.target.rpartition(":")[2] for one in FLAWS.values() if one.replacement is not None}
    assert replaced.isdisjoint(vars(group_properties))


@pytest.mark.rule("GROUP-RECORD-2", "GROUP-RECORD-4")
def test_a_log_from_which_anything_superseded_is_gone_says_the_same_at_every_step() -> None:
    """The log of each walk as it is, and with some or all of the superseded records left out: replayed, it is what is live, and a restart finds it."""
    random, log, removed = Random(1), list[Any](), 0

    def replayed(records: list[Any]) -> Groups:
        return reduce(group_requests.evolve, records, Groups())

    def agrees(step: Any) -> bool:
        nonlocal removed
        if step.before == World():
            log.clear()
        log.extend(step.outcome.records)
        superseded = {at for at, record in enumerate(log) if any(key_of(later) == key_of(record) for later in log[at + 1 :])}
        some = {at for at in superseded if random.random() < 0.5}
        removed += len(some)
        logs = [[record for at, record in enumerate(log) if at not in left_out] for left_out in (set[int](), some, superseded)]
        durable = [replayed(records) for records in logs]
        live = step.after.groups
        found = [group_requests.restarted(one, step.now)[0].live for one in durable]
        return all((one.saved, one.offsets) == (live.saved, live.offsets) for one in durable) and found[0] == found[1] == found[2]

    assert walk(walked_group_universes()[1], (), seed=6, steps_max=3_000, relation=agrees).violation is None
    assert removed > 100
    with switched_on(FLAWS["X17"]):
        assert walk(walked_group_universes()[1], (), seed=6, steps_max=3_000, relation=agrees).violation is not None


# The relation, and what is proved of it


@pytest.mark.parametrize("universe", walked_group_universes(), ids=lambda one: one.name)
def test_the_relation_allows_every_step_of_a_walk(universe: GroupUniverse) -> None:
    walked = walk(universe, (), seed=2, steps_max=4_000, relation=group_relation.holds_on)
    assert walked.violation is None, walked.violation


@pytest.mark.parametrize("flaw", ["X11", "X12", "X14"])
def test_the_relation_refuses_what_a_flaw_does(flaw: str) -> None:
    """It is no copy of the properties: it sees these with no property at all."""
    with switched_on(FLAWS[flaw]):
        violations = [walk(universe, (), seed=1, steps_max=20_000, relation=group_relation.holds_on).violation for universe in walked_group_universes()]
    assert {one.property for one in violations if one is not None} == {RELATION}


def test_z3_reads_the_relation_as_python_does() -> None:
    """Its own evaluation of each step's formula, on facts of steps that the model took."""
    symbolic = Relation(Symbolic())
    seen: Counter[tuple[str, bool]] = Counter()

    def agrees(step: Any) -> bool:
        if step.after is step.before or sum(seen.values()) > 600:
            return True
        a, b = [*dict.fromkeys(instance or member for member, instance in step.after.given), "", "nobody"][:2]
        before, after = (group_relation.facts_of(world, a, b, 0) for world in (step.before, step.after))
        for name, says in group_relation.RELATION.steps.items():
            allowed = bool(says(before, after))
            seen[name, allowed] += 1
            if allowed != z3.is_true(z3.simplify(symbolic.steps[name](group_proofs.constant(before), group_proofs.constant(after)))):
                return False
        return True

    assert walk(walked_group_universes()[1], (), seed=4, steps_max=2_000, relation=agrees).violation is None
    assert {(name, is_allowed) for name in symbolic.steps for is_allowed in (True, False)} - set(seen) <= {("assign", True), ("tell", True)}


def test_every_obligation_of_groups_is_proved() -> None:
    assert [one for one in group_proofs.obligations() if not one.is_proved] == []


def test_every_part_of_the_relation_is_needed_and_no_proof_is_vacuous() -> None:
    assert [one for one in (*group_proofs.mutants(), *group_proofs.witnesses()) if one.answer != prove.REFUTED] == []
    proved = {one.name for one in group_proofs.obligations()}
    assert proved >= group_proofs.PROVED_OF_GROUPS and GROUP_PROPERTIES.keys() >= group_proofs.PROVED_OF_GROUPS
