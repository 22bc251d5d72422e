"""The broker's time."""

from __future__ import annotations

import pytest

from fiducial.models.clock import Clock, gone_on

SECOND_NS, NOON_NS = 1_000_000_000, 1_700_000_000_000_000_000


class Machine:
    """A machine whose clock can be set."""

    def __init__(self) -> None:
        self.wall_ns, self.steady_ns = NOON_NS, 5 * SECOND_NS
        self.clock = Clock(lambda: self.wall_ns, lambda: self.steady_ns)

    def after(self, seconds: float, *, is_set_by: float = 0) -> float:
        """What time it is, in seconds from the beginning, when so much has passed, and the clock was set meanwhile."""
        self.steady_ns += int(seconds * SECOND_NS)
        self.wall_ns += int((seconds + is_set_by) * SECOND_NS)
        return (self.clock.now_ms() - NOON_NS // 1_000_000) / 1000


@pytest.mark.rule("GROUP-STATE-5")
def test_time_is_the_machines_and_follows_when_that_is_set_forward() -> None:
    machine = Machine()
    assert [machine.after(0), machine.after(2.5), machine.after(1, is_set_by=3600), machine.after(1)] == [0, 2.5, 3603.5, 3604.5]


@pytest.mark.rule("GROUP-STATE-5")
def test_time_goes_on_at_half_its_speed_where_the_machines_clock_is_set_back_until_they_meet() -> None:
    machine = Machine()
    assert [machine.after(10), machine.after(2, is_set_by=-6), machine.after(6), machine.after(1), machine.after(2)] == [10, 11, 14, 14.5, 15.5]
    assert [machine.after(1), machine.after(1)] == [16, 17]


@pytest.mark.rule("GROUP-STATE-5")
def test_it_does_not_stand_still_however_often_it_is_asked() -> None:
    machine = Machine()
    machine.after(0, is_set_by=-3600)
    for _ in range(1_000):
        told = machine.after(0.001)
    assert told == pytest.approx(0.5)
    assert gone_on(10, 4, 0) == 12 and gone_on(10, 4, 12) == 12 and gone_on(10, 4, 13) == 13
