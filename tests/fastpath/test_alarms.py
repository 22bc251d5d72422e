"""The alarms of groups: each rings once, when it was last set for, the earliest first."""

from __future__ import annotations

from random import Random

import pytest

from fiducial.fastpath.alarms import STALE_MAX, Alarms
from fiducial.models.groups import Alarm, Kind


def alarm(number: int) -> Alarm:
    """One of many."""
    return Alarm(Kind.SESSION, "g", str(number))


def rung(alarms: Alarms, now: int) -> list[Alarm]:
    """All that ring by now."""
    found = []
    while (one := alarms.due(now)) is not None:
        found.append(one)
    return found


def test_an_alarm_rings_in_its_time_and_once() -> None:
    alarms = Alarms()
    assert alarms.first_ms() == -1 and alarms.due(2**62) is None
    alarms.set(alarm(1), 10)
    assert alarms.first_ms() == 10 and rung(alarms, 9) == []
    assert rung(alarms, 10) == [alarm(1)] and rung(alarms, 11) == [] and alarms.first_ms() == -1


@pytest.mark.parametrize("later", [5, 10, 15])
def test_an_alarm_that_is_set_again_rings_then_and_not_before(later: int) -> None:
    alarms = Alarms()
    alarms.set(alarm(1), 10)
    alarms.set(alarm(1), later)
    assert alarms.first_ms() == later and rung(alarms, later - 1) == []
    assert rung(alarms, 20) == [alarm(1)]


def test_of_those_due_together_the_earliest_rings_first_and_then_that_which_was_set_first() -> None:
    alarms = Alarms()
    for number, at_ms in enumerate((10, 5, 10, 5)):
        alarms.set(alarm(number), at_ms)
    alarms.set(alarm(1), 5)
    assert rung(alarms, 10) == [alarm(3), alarm(1), alarm(0), alarm(2)]


def test_what_is_kept_of_settings_that_were_replaced_is_bounded() -> None:
    alarms = Alarms()
    for round_ in range(500):
        for number in range(20):
            alarms.set(alarm(number), 1_000 + round_)
            assert len(alarms.queue) <= 2 * len(alarms.set_for) + STALE_MAX
    assert rung(alarms, 10_000) == [alarm(number) for number in range(20)]
    assert not alarms.queue and not alarms.set_for


@pytest.mark.parametrize("seed", range(5))
def test_they_ring_as_in_a_list_that_is_searched_through(seed: int) -> None:
    random, alarms = Random(seed), Alarms()
    plain: dict[Alarm, tuple[int, int]] = {}
    now = 0
    for number in range(5_000):
        one = alarm(random.randrange(30 if seed else 3_000))
        at_ms = now + random.randrange(100)
        alarms.set(one, at_ms)
        plain[one] = at_ms, number
        if random.random() < 0.1:
            now += random.randrange(20)
            expected = [one for one in sorted(plain, key=lambda one: plain[one]) if plain[one][0] <= now]
            assert rung(alarms, now) == expected
            for one in expected:
                del plain[one]
            assert alarms.first_ms() == min((setting[0] for setting in plain.values()), default=-1)
