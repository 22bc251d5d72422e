"""A counterexample as JSON that can be replayed: the world, the steps as data, and in words what was expected and what came.

    {"fiducial": "trace", "target", "seed", "rules", "told": [line], "expected_and_got": [[place, expected, got]], "world": {...}, "steps": [...]}

A message or a symbol is {"": its class, field: value}, without the fields that have their default; bytes are {"hex": ...}; a list is a tuple.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import attrs

from fiducial.conformance import symbols
from fiducial.conformance.exploration import steps
from fiducial.conformance.exploration.pairs import Story, World
from fiducial.conformance.exploration.steps import Step
from fiducial.models import messages

#: Whatever may stand in a step, by name.
CLASSES: dict[str, type] = {
    kind.__name__: kind
    for module in (messages, symbols, steps)
    for kind in vars(module).values()
    if isinstance(kind, type) and attrs.has(kind) and kind.__module__ == module.__name__
}


class NoTrace(ValueError):
    """The text is no trace; it says why."""


def as_json(held: Any) -> Any:
    """A part of a step as JSON has it."""
    if isinstance(held, bytes):
        return {"hex": held.hex()}
    if isinstance(held, tuple | list | frozenset):
        return [as_json(one) for one in (sorted(held) if isinstance(held, frozenset) else held)]
    if attrs.has(type(held)):
        told = {one.name: as_json(getattr(held, one.name)) for one in attrs.fields(type(held)) if getattr(held, one.name) != one.default}
        return {"": type(held).__name__, **told}
    return held


def from_json(held: Any) -> Any:
    """What `as_json` made this of. NoTrace if it made no such thing."""
    if isinstance(held, list):
        return tuple(map(from_json, held))
    if not isinstance(held, dict):
        return held
    if held.keys() == {"hex"}:
        return bytes.fromhex(held["hex"])
    kind = CLASSES.get(held.get("", ""))
    if kind is None:
        raise NoTrace(f"{held.get('')!r} is nothing that a step can hold")
    return kind(**{name: from_json(part) for name, part in held.items() if name})


def written(story: Story, seed: int, rules: Sequence[str], target: str) -> str:
    """The trace of a story; `rules`: those by which the models refused something in its last step."""
    world = {one.name: as_json(getattr(story.world, one.name)) for one in fields(World) if one.name not in ("prefix", "topics")}
    trace = {
        "fiducial": "trace",
        "target": target,
        "seed": seed,
        "rules": list(rules),
        "told": str(story).splitlines(),
        "expected_and_got": [[one.place, str(one.expected), str(one.got)] for one in story.found],
        "world": world | {"topics": story.world.of(story.steps).topics},
        "steps": [as_json(step) for step in story.steps],
    }
    return json.dumps(trace, indent=1, ensure_ascii=False) + "\n"


def read(text: str) -> tuple[World, list[Step]]:
    """The world and the steps of a trace. NoTrace if it is none."""
    try:
        trace = json.loads(text)
        if not isinstance(trace, dict) or trace.get("fiducial") != "trace":
            raise NoTrace("it is no trace of fiducial")
        held: dict[str, Any] = {name: from_json(part) for name, part in trace["world"].items() if name != "topics"}
        held |= {name: frozenset(held[name]) for name in ("resized", "unsized")}
        return World(topics=trace["world"]["topics"], **held), [from_json(step) for step in trace["steps"]]
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise NoTrace(f"it cannot be read: {type(error).__name__}: {error}") from None
