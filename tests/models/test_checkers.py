"""The checkers themselves: each finds what is there to be found, and says no more than it has seen."""

from __future__ import annotations

import ast
import gc
import inspect
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from fiducial.models import kernels, properties, thread_properties, threads
from fiducial.models.checkers import contracts, kernel_contracts, main, prove
from fiducial.models.checkers.explore import explore
from fiducial.models.checkers.histories import tell
from fiducial.models.checkers.judge import RELATION, Judge
from fiducial.models.checkers.kernel_contracts import BROKEN, KEPT
from fiducial.models.checkers.relation import PARTS, holds_on
from fiducial.models.checkers.report import Screen, shown
from fiducial.models.checkers.universe import (
    Menu,
    PartitionUniverse,
    Taken,
    epochs_universe,
    idempotence_universe,
    idempotent,
    log_universe,
    walked_universes,
)
from fiducial.models.checkers.walk import Choice, walk
from fiducial.models.flaws import FLAWS, switched_on
from fiducial.models.idempotence import UNKNOWN
from fiducial.models.partition import AdvanceHighWatermark, Appended, DeleteRecords, Partition
from fiducial.models.properties import PROPERTIES, Property, Step
from fiducial.models.values import changed, value

# A universe that everyone can hold in the head: a number, from 0 to 20


@value
class Counted:
    """A step from one number to another."""

    before: int
    event: int
    after: int
    outcome: None = None


class Numbers:
    """Add 1 or 5, or double; never beyond 20."""

    name = "numbers"
    bounds = "0 to 20"

    def initial(self) -> int:
        return 0

    def actions(self, state: int) -> Menu:
        adds = tuple(state + more for more in (1, 5) if state + more <= 20)
        menu = {"add": adds, "double": (state * 2,) if state * 2 <= 20 else (), "rest": (state,)}
        return {name: events for name, events in menu.items() if events}

    def step(self, state: int, event: int) -> Taken:
        return Taken(event, Counted(state, event, event))

    def label(self, taken: Taken) -> tuple[str, str]:
        return "Number", "NONE"

    def told(self, event: int, taken: Taken) -> str:
        return f"to {event}"


def never(number: int) -> Property:
    """The property that a number is not reached; its witness is the number 1."""

    def is_another(step: Any) -> bool:
        return bool(step.after != number)

    def is_one(step: Any) -> bool:
        return bool(step.after == 1)

    return Property(f"Never{number}", "", (), is_another, is_one)


def test_a_search_exhausts_the_universe_and_counts_what_it_saw() -> None:
    seen = explore(Numbers(), [never(21)])
    assert (seen.states, seen.is_exhausted, seen.violation) == (21, True, None)
    assert seen.witnessed == {"Never21"}
    assert seen.claim == "exhausted to 0 to 20"


def test_a_search_finds_the_shortest_story() -> None:
    seen = explore(Numbers(), [never(12)])
    assert seen.violation is not None and not seen.is_exhausted
    assert seen.violation.property == "Never12"
    assert seen.violation.story == ("to 1", "to 6", "to 12")
    assert seen.claim == "refuted at depth 3"


def test_a_search_that_is_cut_short_says_so() -> None:
    by_depth = explore(Numbers(), [], depth_max=2)
    assert (by_depth.depth, by_depth.is_exhausted) == (2, False) and "exhausted to depth 2" in by_depth.claim
    by_states = explore(Numbers(), [], states_max=5)
    assert not by_states.is_exhausted and by_states.states >= 5


def test_a_search_asks_the_relation_about_every_step() -> None:
    asked: Counter[Any] = Counter()

    def allows(step: Any) -> bool:
        asked[step] += 1
        return True

    seen = explore(Numbers(), [], relation=allows)
    assert asked.total() == seen.steps
    broken = explore(Numbers(), [], relation=lambda step: step != Counted(1, 6, 6))
    assert broken.violation is not None and broken.violation.property == RELATION


def test_a_search_pauses_the_collector_and_lets_it_go_on() -> None:
    paused = Counter[bool]()

    def allows(_step: Any) -> bool:
        paused[gc.isenabled()] += 1
        return True

    assert explore(Numbers(), [], relation=allows).steps == paused[False] == paused.total()
    assert gc.isenabled()


def test_a_property_without_occasion_is_not_witnessed() -> None:
    assert explore(Numbers(), [changed(never(21), witness=lambda step: False)]).witnessed == frozenset()


@pytest.mark.parametrize("choice", list(Choice))
def test_a_walk_depends_on_its_seed_alone_and_finds_what_is_there(choice: Choice) -> None:
    one, other = (walk(Numbers(), [never(20)], seed=3, steps_max=5_000, length=30, choice=choice) for _ in range(2))
    assert one.violation is not None and one.violation == other.violation and one.actions == other.actions
    assert one.violation.story[-1] == "to 20" and len(one.violation.story) <= 30


class Climbing(Numbers):
    """The same without rest: at 20 it is over."""

    def actions(self, state: int) -> Menu:
        return {name: events for name, events in super().actions(state).items() if name == "add"}


@pytest.mark.parametrize("choice", list(Choice))
def test_a_walk_ends_where_nothing_may_happen(choice: Choice) -> None:
    seen = walk(Climbing(), [], seed=1, steps_max=1_000, choice=choice)
    assert seen.steps == 1_000 and seen.walks > 1_000 // 20


def test_a_history_goes_no_further_than_where_nothing_may_happen() -> None:
    told = tell(Climbing(), [], histories=20, length=40)
    assert 0 < told.steps <= 20 * told.histories and told.violation is None


def test_a_walk_counts_every_step_by_action_and_outcome() -> None:
    seen = walk(Numbers(), [], seed=1, steps_max=1_000)
    assert seen.steps == 1_000 == seen.actions.total() == seen.outcomes.total()
    assert set(seen.actions) == {"add", "double", "rest"}


def test_action_uniform_does_not_drown_an_action_with_few_instances() -> None:
    counts = {choice: walk(Numbers(), [], seed=1, steps_max=2_000, length=1, choice=choice).actions for choice in Choice}
    assert counts[Choice.ACTION]["rest"] > counts[Choice.SUCCESSOR]["rest"]


def test_histories_shrink_to_what_matters() -> None:
    told = tell(Numbers(), [never(12)], histories=300)
    assert told.violation is not None and told.violation.story[-1] == "to 12"
    assert len(set(told.violation.story)) == len(told.violation.story), "a rest is left in the story"
    assert tell(Numbers(), [never(21)], histories=20).violation is None


# The universes of a partition


@pytest.mark.parametrize("universe", [log_universe(2, 1), idempotence_universe(2, 0), epochs_universe(2, 1)], ids=lambda one: one.name)
def test_small_universes_are_exhausted_without_complaint(universe: PartitionUniverse) -> None:
    seen = explore(universe, tuple(PROPERTIES.values()), relation=holds_on)
    assert seen.violation is None, seen.violation
    assert seen.is_exhausted


@pytest.mark.parametrize("universe", walked_universes(), ids=lambda one: one.name)
def test_what_no_engine_asks_would_have_held(universe: PartitionUniverse) -> None:
    """Also of the first state, which no step leads to."""
    judge, unasked = Judge(tuple(PROPERTIES.values()), None), Counter[str]()

    def holds(step: Any) -> bool:
        judge.broken_by(step)
        asked = {name for name, _ in judge.asked[step.event.__class__, step.outcome.__class__, step.after is step.before]}
        unasked.update(name for name, one in PROPERTIES.items() if name not in asked and one.check(step))
        return all(name in asked or one.check(step) for name, one in PROPERTIES.items())

    assert walk(universe, (), seed=11, steps_max=5_000, relation=holds).violation is None
    assert set(unasked) == set(PROPERTIES)


def test_every_property_has_a_witness_in_some_walk() -> None:
    walked = walk(walked_universes()[0], tuple(PROPERTIES.values()), seed=5, steps_max=20_000)
    assert walked.violation is None
    assert walked.witnessed == set(PROPERTIES)


@pytest.mark.parametrize("flaw", ["A19", "D1", "D2", "D5", "D7", "D9", "D11", "X1", "X3", "X5", "X7", "X9"])
def test_the_relation_refuses_what_a_flaw_does(flaw: str) -> None:
    """It is no copy of the properties: it sees these with no property at all."""
    with switched_on(FLAWS[flaw]):
        seen = walk(walked_universes()[0], (), seed=1, steps_max=20_000, relation=holds_on)
    assert seen.violation is not None and seen.violation.property == RELATION


def steps_of(universe: PartitionUniverse, *events: Any) -> list[Step]:
    """These events from the beginning."""
    state, steps = universe.initial(), []
    for event in events:
        taken = universe.step(state, event)
        steps.append(taken.step)
        state = taken.after
    return steps


STORY = (
    idempotent(1, 0, 0, 2),
    idempotent(2, 0, 5),
    idempotent(1, 0, 2),
    idempotent(1, 0, 0, 2),
    idempotent(1, 0, 9),
    AdvanceHighWatermark(3),
    DeleteRecords(2),
    idempotent(1, 1, 0),
)


def test_z3_and_python_allow_the_same_steps() -> None:
    for step in steps_of(idempotence_universe(4, 0), *STORY):
        assert holds_on(step) and prove.z3_agrees_on(step)


def forgetful(here: Partition) -> Partition:
    """The partition that does not know producer 1 any more."""
    return changed(here, producers=here.producers.set(1, UNKNOWN))


LIES: dict[str, Callable[[Step], Step]] = {
    "end": lambda step: with_log(step, end=step.after.partition.log.end + 1),
    "high watermark": lambda step: with_log(step, high_watermark=step.after.partition.log.high_watermark + 1),
    "start": lambda step: with_log(step, start=step.after.partition.log.start + 1),
    "producers": lambda step: changed(step, after=changed(step.after, partition=forgetful(step.after.partition))),
}


def with_log(step: Step, **fields: int) -> Step:
    """The step, with a lie about the log after it."""
    here = step.after.partition
    return changed(step, after=changed(step.after, partition=changed(here, log=changed(here.log, **fields))))


@pytest.mark.parametrize("lie", LIES)
def test_z3_and_python_refuse_the_same_lies(lie: str) -> None:
    for step in steps_of(idempotence_universe(4, 0), *STORY):
        false = LIES[lie](step)
        assert not holds_on(false), step.event
        if lie != "producers":
            assert not prove.z3_agrees_on(false), step.event


def test_a_lie_about_the_answer_is_refused() -> None:
    first, *_ = steps_of(idempotence_universe(4, 0), *STORY)
    assert isinstance(first.outcome, Appended)
    false = changed(first, outcome=changed(first.outcome, base_offset=7))
    assert not holds_on(false) and not prove.z3_agrees_on(false)


# Proofs and contracts


def test_every_obligation_is_proved() -> None:
    unproved = [one for one in prove.obligations() if not one.is_proved]
    assert not unproved


def test_every_mutant_is_refuted_and_every_part_has_one() -> None:
    assert [one for one in prove.mutants() if one.answer != prove.REFUTED] == []
    taken_out = [one.mutants for one in prove.INVARIANTS] + [one.mutants for one in prove.STEP_CLAIMS]
    assert {part for parts in taken_out for part in parts} | {"sequences wrap"} == PARTS
    assert all(taken_out)


def test_no_proof_is_vacuous() -> None:
    assert [one for one in prove.witnesses() if one.answer != prove.REFUTED] == []


def test_unknown_is_not_proved() -> None:
    assert not prove.Obligation("x", "y", prove.UNKNOWN_ANSWER, 0).is_proved
    assert not prove.Obligation("x", "y", prove.REFUTED, 0).is_proved


def test_crosshair_confirms_the_golden_list_and_refutes_its_twins() -> None:
    assert contracts.check().complaints == ()


def test_a_line_that_is_missing_is_noticed() -> None:
    source = inspect.getsource(kernel_contracts)
    line = next(node.lineno for node in ast.parse(source).body if getattr(node, "name", "") == "too_late_is_strict")
    reports = contracts.read(f"kernel_contracts.py:{line + 2}: info: Not confirmed.\n", source)
    assert [report.function for report in reports] == ["too_late_is_strict"]
    complaints = contracts.Contracts(reports, 0).complaints
    assert "not confirmed: too_late_is_strict" in complaints
    assert len(complaints) == len(KEPT) + len(BROKEN)


def test_every_kernel_has_a_contract() -> None:
    text = inspect.getsource(kernel_contracts)
    names = [name for name, one in inspect.getmembers(kernels, inspect.isfunction) if one.__module__ == kernels.__name__]
    assert names and [name for name in names if f"kernels.{name}(" not in text] == []


def test_every_contract_is_in_one_of_the_lists() -> None:
    names = {node.name for node in ast.parse(inspect.getsource(kernel_contracts)).body if isinstance(node, ast.FunctionDef)}
    assert names == KEPT | BROKEN and not KEPT & BROKEN


# The run


@pytest.mark.parametrize("are_of_threads", [False, True], ids=["of the protocol", "of threads"])
def test_properties_use_nothing_that_a_flaw_replaces(are_of_threads: bool) -> None:
    """A property that calls the function under test is wrong whenever that is: the flaw would survive."""
    targets = [one.target.partition(":") for one in FLAWS.values() if one.replacement is not None]
    replaced = {name for module, _, name in targets if (module == threads.__name__) == are_of_threads}
    nodes = list(ast.walk(ast.parse(inspect.getsource(thread_properties if are_of_threads else properties))))
    named = {node.id for node in nodes if isinstance(node, ast.Name)}
    named |= {node.attr for node in nodes if isinstance(node, ast.Attribute) and ast.unparse(node.value).endswith("_model")}
    assert replaced and replaced & named == set()


def test_every_flaw_of_a_partition_is_refuted() -> None:
    small = changed(main.everyday(), flaw_states_max=3_000, flaw_walk_steps=10)
    for one in FLAWS.values():
        if one.replacement is not None and one.violates in PROPERTIES:
            found = main.refute(one.id, small.searched_for_flaws, small)
            assert any(row.depth is not None for row in found), one.id


def test_a_refuted_flaw_is_told_as_a_story() -> None:
    found = main.refute("X1", [idempotence_universe(3, 0)], changed(main.everyday(), flaw_walk_steps=10))
    assert found[0].story == (
        "producer 1, epoch 1: produce 1 record from sequence 0 → appended at 0 (start 0, high watermark 0, end 1)",
        "producer 1, epoch 0: produce 1 record from sequence 0 → appended at 1 (start 0, high watermark 0, end 2)",
    )


def test_a_table_is_plain_text_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    screen.progress("not shown")
    screen.table("Title", ("name", "ms"), [("a", 1.5), ("b", 1234.0)])
    assert capsys.readouterr().out.splitlines() == [
        "",
        "Title",
        "  name |    ms",
        "  ---- | -----",
        "  a    |  1.50",
        "  b    | 1,234",
    ]
    assert (shown(12345), shown(True), shown(None)) == ("12,345", "yes", "")
