"""What was aimed at, and whether it was reached: each goal is printed beside the figure that it is of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.report import Table


@dataclass(frozen=True)
class Goal:
    """A figure that is to be at least, or at most, so large."""

    figure: str
    bound: float
    is_least: bool = True

    def met_by(self, found: float) -> bool:
        """Is the figure good enough?"""
        return found >= self.bound if self.is_least else found <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.is_least else '≤'} {self.bound:g}"


@dataclass(frozen=True)
class Judged:
    """A goal, and what was found."""

    goal: Goal
    found: float

    @property
    def is_met(self) -> bool:
        """Was it reached?"""
        return self.goal.met_by(self.found)

    def __str__(self) -> str:
        return f"{self.goal}: {'met' if self.is_met else 'missed'}"


COLUMNS = ("figure", "found", "goal")


def table(judged: Sequence[Judged]) -> Table:
    """All of them."""
    met = sum(one.is_met for one in judged)
    return Table(f"Goals: {met} of {len(judged)} met", COLUMNS, [(one.goal.figure, one.found, str(one)) for one in judged])
