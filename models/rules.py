"""Where a rule of `spec/` meets the code that decides it.

`@rule("LOG-BATCH-7")` stands on the model function that implements the rule; it leaves the function as it is. A refusal is a `Rung`: a guard
that carries a rule and answers an error. A `Ladder` is a tuple of rungs, tried from the top: the first guard that holds wins, so the order of
the ladder *is* the precedence of the errors, the spec prints it, and every rung can be taken out or swapped to see which check notices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from fiducial.models.errors import Error
from fiducial.models.values import value

F = TypeVar("F", bound=Callable[..., Any])

#: Rule id -> the functions that implement it, as "module:function".
IMPLEMENTED_BY: dict[str, list[str]] = {}

#: Every ladder by name, in order of definition.
LADDERS: dict[str, Ladder] = {}


def rule(*ids: str) -> Callable[[F], F]:
    """Say that the decorated function implements the rules `ids`; costs nothing when it is called."""

    def mark(function: F) -> F:
        for rule_id in ids:
            IMPLEMENTED_BY.setdefault(rule_id, []).append(f"{function.__module__}:{function.__qualname__}")
        function.__rules__ = ids  # type: ignore[attr-defined]
        return function

    return mark


@value
class Rung:
    """One refusal: when the guard holds, `error` is the answer, by rule `rule`."""

    rule: str
    error: Error
    guard: Callable[..., bool]
    #: What Apache Kafka 4.3.1 answers instead where it is plainly broken; allowed of a peer, never given by us.
    also: tuple[Error, ...] = ()


class Ladder:
    """Refusals in order of precedence. All guards take the same arguments."""

    def __init__(self, name: str, rungs: Iterable[Rung]) -> None:
        self.name = name
        self.rungs = tuple(rungs)
        assert name not in LADDERS, f"two ladders called {name}"
        LADDERS[name] = self

    def refusal(self, *facts: Any) -> Rung | None:
        """The first rung whose guard holds for `facts`, or None when nothing is wrong."""
        for rung in self.rungs:
            if rung.guard(*facts):
                return rung
        return None


def rung(guard: Callable[..., bool], error: Error, also: tuple[Error, ...] = ()) -> Rung:
    """A rung for a guard that cites exactly one rule."""
    (rule_id,) = guard.__rules__  # type: ignore[attr-defined]
    return Rung(rule_id, error, guard, also)
