"""How a value of the model is made: one decorator, so that its cost is chosen in one place.

Frozen for the type checker; at run time slotted and hashable but, for speed, not guarded against assignment: a frozen attrs class takes
three times as long to build, and how fast a value is made decides the speed of every engine. With FIDUCIAL_FROZEN=1 every value is really
frozen; one test run of `make verify` has it on.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar, dataclass_transform

import attrs
from immutables import Map

T = TypeVar("T")

FROZEN = os.environ.get("FIDUCIAL_FROZEN") == "1"

#: A topic id or other UUID: its 16 bytes.
Uuid = bytes
ZERO_UUID: Uuid = bytes(16)

#: A persistent map; `set` and `delete` cost O(log n) and leave the old map as it was.
EMPTY: Map[Any, Any] = Map()


@dataclass_transform(frozen_default=True, field_specifiers=(attrs.field,))
def value(cls: type[T]) -> type[T]:
    """Make `cls` a value: compared and hashed by its fields, never changed after it is made."""
    made: Any = cls
    made.__repr__ = shown
    return attrs.define(unsafe_hash=True, frozen=FROZEN, repr=False)(cls)


def shown(one: Any) -> str:
    """A value as text: one function for all, since each that attrs writes and compiles costs every start its time and memory."""
    cls: Any = type(one)
    told = [f"{name}={getattr(one, name)!r}" for name in told_of(cls)]
    return f"{cls.__name__}({', '.join(told)})"


@cache
def told_of(cls: Any) -> tuple[str, ...]:
    """The fields that `repr` tells of a value of this class."""
    return tuple(field.name for field in attrs.fields(cls) if field.repr)


def changed(one: T, **changes: Any) -> T:
    """The value with some fields changed: attrs.evolve at half its price, since the fields of a class are looked up once."""
    cls: Any = type(one)
    read, places = layout(cls)
    fields = list(read(one))
    for name, field in changes.items():
        fields[places[name]] = field
    made: T = cls(*fields)
    return made


@cache
def layout(cls: Any) -> tuple[Callable[[Any], tuple[Any, ...]], dict[str, int]]:
    """What reads all fields of a value of this class, in the order in which it is made of them, and the place of each."""
    names: tuple[str, ...] = cls.__match_args__
    read = attrgetter(*names)
    return (read if len(names) > 1 else lambda one: (read(one),)), {name: place for place, name in enumerate(names)}
