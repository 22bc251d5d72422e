"""Exhaustive search, breadth first: every state within the bounds, and the shortest story to whatever breaks a property."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
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
    seconds: float
    violation: Violation | None
    witnessed: frozenset[str]  # the properties whose premise was true at some step

    @property
    def claim(self) -> str:
        """What may be said of it."""
        if self.violation is not None:
            return f"refuted at depth {len(self.violation.story)}"
        return f"exhausted to {self.bounds}" if self.is_exhausted else f"exhausted to depth {self.depth} of {self.bounds}"


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
    began = perf_counter()
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
        perf_counter() - began,
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
