"""Seeded random walks: as deep as one likes, at the price of chance.

An action-uniform walk chooses the action's name first and then one of its instances, so that an action with few instances is not drowned;
a successor-uniform walk chooses among all instances. Each finds flaws that the other misses, so both are run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from enum import Enum
from random import Random
from time import process_time
from typing import Any

from fiducial.models.checkers.explore import Violation
from fiducial.models.checkers.judge import Judge, Relation
from fiducial.models.checkers.universe import Menu, Universe
from fiducial.models.properties import Property
from fiducial.models.values import value

#: Tells how many steps are done.
Progress = Callable[[int], None]


class Choice(Enum):
    """How the next step is chosen."""

    ACTION = "action-uniform"
    SUCCESSOR = "successor-uniform"


@value
class Walked:
    """What the walks from one seed saw."""

    universe: str
    choice: Choice
    seed: int
    walks: int
    steps: int
    seconds: float  # of the processor
    violation: Violation | None
    witnessed: frozenset[str]
    actions: Counter[str]
    outcomes: Counter[tuple[str, str]]  # (rule, error) of a refusal, or (kind of outcome, "NONE")


def walk(
    universe: Universe,
    properties: Sequence[Property],
    *,
    seed: int,
    steps_max: int,
    choice: Choice = Choice.ACTION,
    length: int = 60,
    relation: Relation | None = None,
    progress: Progress | None = None,
) -> Walked:
    """Walks of `length` steps, or to where nothing may happen, each from the beginning, until `steps_max` steps are done or a property is broken."""
    began, random = process_time(), Random(seed).random
    judge = Judge(properties, relation)
    actions: Counter[str] = Counter()
    outcomes: Counter[tuple[str, str]] = Counter()
    choose = by_action if choice is Choice.ACTION else by_successor
    steps, walks, found = 0, 0, None
    while steps < steps_max and found is None:
        state, events = universe.initial(), list[Any]()
        walks += 1
        for _ in range(min(length, steps_max - steps)):
            menu = universe.actions(state)
            if not menu:
                assert events, f"nothing may happen in {universe.name}"
                break
            name, event = choose(menu, random)
            events.append(event)
            taken = universe.step(state, event)
            steps += 1
            actions[name] += 1
            outcomes[universe.label(taken)] += 1
            if taken.step is not None:
                broken = judge.broken_by(taken.step)
                if broken is not None:
                    found = Violation(broken, retold(universe, events))
                    break
            state = taken.after
        if progress is not None:
            progress(steps)
    return Walked(
        universe.name,
        choice,
        seed,
        walks,
        steps,
        process_time() - began,
        found,
        frozenset(judge.witnessed),
        actions,
        outcomes,
    )


def by_action(menu: Menu, random: Callable[[], float]) -> tuple[str, Any]:
    """A name, then an instance."""
    names = list(menu)
    name = names[int(random() * len(names))]
    events = menu[name]
    return name, events[int(random() * len(events))]


def by_successor(menu: Menu, random: Callable[[], float]) -> tuple[str, Any]:
    """An instance of any name."""
    left = int(random() * sum(map(len, menu.values())))
    for name, events in menu.items():
        if left < len(events):
            return name, events[left]
        left -= len(events)
    raise AssertionError("a state without actions")


def retold(universe: Universe, events: Sequence[Any]) -> tuple[str, ...]:
    """The story of these events from the beginning."""
    state, lines = universe.initial(), []
    for event in events:
        taken = universe.step(state, event)
        lines.append(universe.told(event, taken))
        state = taken.after
    return tuple(lines)
