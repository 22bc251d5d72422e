"""One line of progress on a terminal, written over and over; nothing, where nobody looks."""

from __future__ import annotations

import sys
import time

COLUMNS_MAX = 100
#: Between two lines.
PAUSE_S = 0.1


class ProgressLine:
    """The line. `is_report_there`: what is reported goes to the same terminal as it comes, and a line would stand in its way."""

    def __init__(self, *, is_report_there: bool) -> None:
        self.is_seen = sys.stderr.isatty() and not (is_report_there and sys.stdout.isatty())
        self.shown_at = -PAUSE_S

    def show(self, text: str) -> None:
        """What is going on, now and then."""
        now = time.monotonic()
        if self.is_seen and now >= self.shown_at + PAUSE_S:
            self.shown_at = now
            print(f"\r\x1b[K{text[:COLUMNS_MAX]}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Make room for the report."""
        if self.is_seen:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
