"""Exhaustive search, breadth first: every state within the bounds, and the shortest story to whatever breaks a property.

What it costs, in pure Python on one core of the machine this was written on: 3.6 µs a step where most are reads (270,000 steps/s in the universe
`epochs`), 6 µs in `log`, 15 to 20 µs where most are batches of idempotent producers, each of which the relation judges as well. A state has 4 to
70 steps, so this is 3,500 to 17,000 states/s: 20,000 would leave 1.4 µs a step in `log`, which is what the model alone takes for a read. What
made it twice to three times as fast as it was: a step is asked only what speaks of it (`judge`); a step that changes nothing leaves the very
state, so that it is neither hashed nor compared; the relation's facts are kept while their partition stays. Tried without gain: hashes kept in
the values (persistent maps keep theirs), reads asked once for each partition (the clock alone tells few states apart). Compiled: `compiled`.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import process_time
from typing import Any

from fiducial.models.checkers.judge import Judge, Relation
from fiducial.models.checkers.universe import Universe
from fiducial.models.properties import Property
from fiducial.models.values import value

#: Tells how far the search is: distinct states, depth.
Progress = Callable[[int, int], None]


@value
class Violation:
    """What broke, and how it came to that, told from the beginning."""

    property: str
    story: tuple[str, ...]


@value
class Explored:
    """What a search saw."""

    universe: str
    bounds: str
    states: int  # distinct
    steps: int  # taken, self-loops included
    depth: int
    is_exhausted: bool  # no state within the universe's bounds is left
    seconds: float  # of the processor
    violation: Violation | None
    witnessed: frozenset[str]  # the properties whose premise was true at some step

    @property
    def claim(self) -> str:
        """What may be said of it."""
        if self.violation is not None:
            return f"refuted at depth {len(self.violation.story)}"
        return f"exhausted to {self.bounds}" if self.is_exhausted else f"exhausted to depth {self.depth} of {self.bounds}"


@contextmanager
def uncollected() -> Iterator[None]:
    """Values are in no cycle, so the collector finds nothing among the states of a search; but it would look through all of them, again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@uncollected()
def explore(
    universe: Universe,
    properties: Sequence[Property],
    *,
    depth_max: int = 1_000,
    states_max: int = 10_000_000,
    relation: Relation | None = None,
    progress: Progress | None = None,
) -> Explored:
    """Search until the universe, the bounds or a property gives out. When `states_max` is met, the depth begun last is not counted."""
    began = process_time()
    first = universe.initial()
    came_from: dict[Any, tuple[Any, Any]] = {first: (None, None)}
    judge = Judge(properties, relation)
    level, depth, steps, cut = [first], 0, 0, False
    found: Violation | None = None
    while level and depth < depth_max and not cut and found is None:
        following: list[Any] = []
        for state in level:
            for events in universe.actions(state).values():
                for event in events:
                    taken = universe.step(state, event)
                    steps += 1
                    if taken.step is not None:
                        broken = judge.broken_by(taken.step)
                        if broken is not None:
                            found = Violation(broken, story_to(universe, came_from, state, event))
                            break
                    if taken.after is not state and taken.after not in came_from:
                        came_from[taken.after] = (state, event)
                        following.append(taken.after)
                if found is not None:
                    break
            if found is not None:
                break
            if len(came_from) >= states_max:
                cut = True
                break
            if progress is not None:
                progress(len(came_from), depth)
        level = following
        depth += 0 if cut else 1
    return Explored(
        universe.name,
        universe.bounds,
        len(came_from),
        steps,
        depth,
        not level and not cut and found is None,
        process_time() - began,
        found,
        frozenset(judge.witnessed),
    )


def story_to(universe: Universe, came_from: dict[Any, tuple[Any, Any]], state: Any, event: Any) -> tuple[str, ...]:
    """The shortest way to `state`, and `event` there: one line each."""
    events = [(state, event)]
    while True:
        earlier, by = came_from[events[-1][0]]
        if earlier is None:
            break
        events.append((earlier, by))
    return tuple(universe.told(by, universe.step(at, by)) for at, by in reversed(events))
