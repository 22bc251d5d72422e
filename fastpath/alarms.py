"""Which alarms are set, and which of them rings first."""

from __future__ import annotations

import heapq
import itertools

from fiducial.models.groups import Alarm

#: So many entries that say nothing any more are kept at least, before all are sorted anew.
STALE_MAX = 1_000


class Alarms:
    """Each alarm rings once, at the time that it was last set for; of several due together, that which was set first."""

    def __init__(self) -> None:
        self.set_for: dict[Alarm, tuple[int, int]] = {}  # (ms, number of the setting)
        self.queue: list[tuple[int, int, Alarm]] = []  # and entries of settings that were replaced
        self.numbers = itertools.count()

    def set(self, alarm: Alarm, at_ms: int) -> None:
        """Let it ring then, and not when it was to ring before."""
        number = next(self.numbers)
        self.set_for[alarm] = at_ms, number
        heapq.heappush(self.queue, (at_ms, number, alarm))
        if len(self.queue) > 2 * len(self.set_for) + STALE_MAX:
            self.queue = [(at_ms, number, alarm) for alarm, (at_ms, number) in self.set_for.items()]
            heapq.heapify(self.queue)

    def first_ms(self) -> int:
        """When the first one rings (ms); -1: none is set."""
        while self.queue:
            at_ms, number, alarm = self.queue[0]
            if self.set_for.get(alarm) == (at_ms, number):
                return at_ms
            heapq.heappop(self.queue)
        return -1

    def due(self, now: int) -> Alarm | None:
        """The first one, if its time has come; it is not set any more."""
        if not 0 <= self.first_ms() <= now:
            return None
        _, _, alarm = heapq.heappop(self.queue)
        del self.set_for[alarm]
        return alarm
