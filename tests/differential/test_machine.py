"""The history machine itself: it says the same each time, it can fail, and what it finds it tells in few steps. No other broker is needed."""

from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial

import pytest

from differential.targets import Model
from fiducial.conformance.exploration.group_histories import GroupHistories
from fiducial.conformance.exploration.histories import Histories
from fiducial.conformance.exploration.pairs import Pair, Story, World, prepare, run
from fiducial.conformance.exploration.shrinking import shrunk
from fiducial.conformance.exploration.steps import TimePasses
from fiducial.conformance.exploration.targets import Closed, Models
from fiducial.models.flaws import FLAWS, rung_removed, switched_on
from fiducial.models.rules import LADDERS
from fiducial.models.settings import parse

#: Flaws of the registry that show in what one broker answers.
FLAWS_SEEN = ("A2", "A3", "A9", "A13", "A21", "D1", "D2", "D5", "D7", "D9", "D11", "X1", "X2", "X5", "X6", "X7", "X8", "X9")
#: Refusals whose absence shows; one of each ladder that speaks of logs, producers or topics.
RUNGS_SEEN = (
    "LOG-BATCH-9", "LOG-BATCH-18", "LOG-BATCH-20", "LOG-BATCH-21", "LOG-PRODUCE-8", "LOG-READ-1", "LOG-SESSION-3", "LOG-DELETE-1", "LOG-TIME-6",
    "IDEM-EPOCH-1", "IDEM-SEQ-2", "WIRE-TOPIC-6", "WIRE-CONFIG-27",
)  # fmt: skip
#: The same of groups, whose histories must come upon these refusals.
OF_GROUPS_SEEN = ("GROUP-COMMIT-7", "GROUP-DELETE-1", "GROUP-JOIN-5", "GROUP-MEMBER-2", "GROUP-MEMBER-7", "GROUP-STATE-4")
#: A group does not wait for members before its first rebalance.
AT_ONCE = {"group.initial.rebalance.delay.ms": "0"}
#: A flaw must be found within so many histories of so many steps, and be told in so many.
HISTORIES, STEPS, TOLD = 40, 250, 8
TRANSCRIPT_STEPS = 400
#: So often a shorter story of groups is tried: each waits for what a broker does by itself.
GROUP_TRIES = 300
NO_SETTINGS: Mapping[str, str] = {}


def transcript(seed: int) -> Iterator[bytes]:
    """Every byte that the model answers to a history, by a clock that ticks with each look at it."""
    ticks = itertools.count(1_800_000_000_000, 7)
    model = Models(clock=lambda: next(ticks))
    histories = Histories(seed, keeps_house=True)
    prepare(model, histories.world, begun_ms=model.clock())
    for step in histories.steps(TRANSCRIPT_STEPS):
        if isinstance(step.body, TimePasses):
            model.pass_time()
            continue
        if step.waiting is not None:
            model.begin(step.waiting.frame(model.view), is_answered=False)
        try:
            yield model.ask(step.frame(model.view), step.expects_answer) or b"nothing"
        except Closed:
            yield b"closed"
        if step.waiting is not None:
            yield model.end(patience_s=0) or b"waits"


def digest(seed: int) -> str:
    """The transcript in short."""
    return hashlib.sha256(b"\n".join(transcript(seed))).hexdigest()


def test_the_same_seed_makes_the_same_steps() -> None:
    assert [*Histories(3).steps(200)] == [*Histories(3).steps(200)]
    assert [*Histories(3).steps(200)] != [*Histories(4).steps(200)]


def test_the_same_history_is_answered_the_same_byte_for_byte() -> None:
    assert [*transcript(5)] == [*transcript(5)]


def test_answers_do_not_depend_on_how_strings_are_hashed() -> None:
    """Maps are walked in an order that differs from process to process; no answer may show it."""
    command = [sys.executable, "-c", "from differential.test_machine import digest; print(digest(6))"]
    path = os.pathsep.join(sys.path)
    digests = {
        subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": number, "PYTHONPATH": path}, check=True, capture_output=True, text=True
        ).stdout
        for number in ("1", "2", "3")
    }
    assert len(digests) == 1


def test_two_models_with_other_ids_differ_in_nothing_else() -> None:
    for seed in range(4):
        histories = Histories(seed, keeps_house=True)
        assert run(Pair(Models(seed=1), Models(seed=2), histories.world, is_strict=True), histories.steps(STEPS)) is None


def test_the_models_and_the_reference_broker_differ_in_nothing() -> None:
    for seed in range(4):
        histories = Histories(seed, keeps_house=True)
        assert run(Pair(Models(), Model(seed=2), histories.world, is_strict=True), histories.steps(STEPS)) is None


def test_histories_of_groups_differ_in_nothing_either() -> None:
    """Members wait on connections of their own; both are asked by the clock on the wall."""
    reached = Counter[str]()
    for seed in range(4):
        for theirs in (Models(settings=parse(AT_ONCE), seed=2), Model(AT_ONCE, seed=2)):
            histories = GroupHistories(seed)
            pair = Pair(Models(settings=parse(AT_ONCE)), theirs, histories.world, is_strict=True)
            assert run(pair, histories.steps(STEPS)) is None
            reached += pair.reached
    assert reached["answered later"] > 50 and {f"rule {rule}" for rule in OF_GROUPS_SEEN} <= set(reached)


# Planted faults

Plant = Callable[[], AbstractContextManager[None]]


class Flawed(Models):
    """A model that has a fault whenever it is asked; what it cannot cope with costs the connection, as it does the broker."""

    def __init__(self, plant: Plant, settings: Mapping[str, str] = NO_SETTINGS) -> None:
        super().__init__(settings=parse(settings), seed=2)
        self.plant = plant
        self.is_planted = False

    def ask(self, frame: bytes, expects_answer: bool) -> bytes | None:
        with self.plant():
            try:
                return super().ask(frame, expects_answer)
            except (AssertionError, LookupError):
                raise Closed from None

    def begin(self, frame: bytes, *, is_answered: bool) -> bool:
        with self.plant():
            return super().begin(frame, is_answered=is_answered)

    def start(self, frame: bytes) -> int:
        with self.plant():
            return super().start(frame)

    def pass_time(self) -> None:
        with self.plant():
            super().pass_time()


def found(plant: Plant) -> tuple[Story, int]:
    """The first difference between a model and one with the fault, and how many steps it took to come upon it."""
    asked = 0
    for seed in range(HISTORIES):
        histories = Histories(seed)
        pair = Pair(Models(), Flawed(plant), histories.world, is_strict=True)
        story = run(pair, histories.steps(STEPS))
        asked += pair.asked
        if story is not None:
            return story, asked
    raise AssertionError(f"not found in {asked:,} steps")


def plants() -> dict[str, Plant]:
    """The faults by name."""
    rungs = {rung.rule: (ladder, rung) for ladder in LADDERS.values() for rung in ladder.rungs}
    return {
        **{name: lambda name=name: switched_on(FLAWS[name]) for name in FLAWS_SEEN},  # type: ignore[misc]
        **{f"no {rule}": lambda rule=rule: rung_removed(*rungs[rule]) for rule in RUNGS_SEEN},  # type: ignore[misc]
    }


def test_planted_faults_are_found_and_told_in_few_steps(tell: Callable[[str], None]) -> None:
    rows = []
    for name, plant in plants().items():
        story, asked = found(plant)

        def fresh(world: World, plant: Plant = plant) -> Pair:
            return Pair(Models(), Flawed(plant), world, is_strict=True)

        short = shrunk(story, fresh)
        assert short.is_steady and len(short.steps) <= TOLD, f"{name}\n{short}"
        assert_minimal(short, fresh)
        rows.append(f"{name:<16} {asked:>6} {len(short.steps):>6}")
    tell("\n".join(["fault             steps  story", *rows]))


@pytest.mark.parametrize("rule", ["GROUP-COMMIT-7", "GROUP-COMMIT-9"])
def test_a_planted_fault_of_groups_is_found_and_told_in_few_steps(rule: str) -> None:
    (plant,) = (partial(rung_removed, ladder, rung) for ladder in LADDERS.values() for rung in ladder.rungs if rung.rule == rule)

    def fresh(world: World) -> Pair:
        return Pair(Models(settings=parse(AT_ONCE)), Flawed(plant, AT_ONCE), world, is_strict=True)

    histories = (GroupHistories(seed) for seed in range(HISTORIES))
    story = next(filter(None, (run(fresh(one.world), one.steps(STEPS)) for one in histories)))
    short = shrunk(story, fresh, GROUP_TRIES)
    assert short.is_steady and len(short.steps) <= TOLD, short


def assert_minimal(story: Story, fresh: Callable[[World], Pair]) -> None:
    """Without any one of its steps the story does not end so."""
    for index in range(len(story.steps) - 1):
        again = run(fresh(story.world), story.steps[:index] + story.steps[index + 1 :])
        assert again is None or not again.places() & story.places(), index
