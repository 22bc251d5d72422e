"""The broker's time: that of its machine, but that it never goes back.

A deadline is a time of day, and so is the time of a record. Who sets the machine's clock back would keep every deadline from coming; a time that
goes on slowly instead lets them come a little late, and meets the machine's again.
"""

from __future__ import annotations

from collections.abc import Callable

from fiducial.models.rules import rule

NS_IN_A_MS = 1_000_000


@rule("GROUP-STATE-5")
def gone_on(last_ns: int, passed_ns: int, machine_ns: int) -> int:
    """What it is now: `passed_ns` after it was `last_ns`, by a clock that nobody sets, where the machine's says `machine_ns`."""
    return max(machine_ns, last_ns + passed_ns // 2)


class Clock:
    """Tells the time. `machine_ns` is the machine's clock, `steady_ns` one that nobody sets: whoever has the clocks hands them in."""

    def __init__(self, machine_ns: Callable[[], int], steady_ns: Callable[[], int]) -> None:
        self.machine_ns, self.steady_ns = machine_ns, steady_ns
        self.told_ns, self.steady_then_ns = machine_ns(), steady_ns()

    def now_ms(self) -> int:
        """The time, in ms since 1970."""
        steady_ns = self.steady_ns()
        self.told_ns = gone_on(self.told_ns, steady_ns - self.steady_then_ns, self.machine_ns())
        self.steady_then_ns = steady_ns
        return self.told_ns // NS_IN_A_MS
