"""How a run shows itself: tables of plain text, one line of progress while it goes on, colour only where there is someone to see it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TextIO


class Screen:
    """Where a run is shown. Progress is for terminals only; NO_COLOR is heeded."""

    def __init__(self, out: TextIO | None = None, progress: TextIO | None = None) -> None:
        self.out = out or sys.stdout
        self.progress_out = progress or sys.stderr
        self.is_live = self.progress_out.isatty() and os.environ.get("TERM") != "dumb"
        self.has_colour = self.out.isatty() and "NO_COLOR" not in os.environ

    def say(self, line: str = "") -> None:
        """One line that stays."""
        self.clear()
        print(line, file=self.out, flush=True)

    def progress(self, line: str) -> None:
        """One line that the next one replaces."""
        if self.is_live:
            print(f"\r\x1b[2K{line[:110]}", end="", file=self.progress_out, flush=True)

    def clear(self) -> None:
        """No progress line any more."""
        if self.is_live:
            print("\r\x1b[2K", end="", file=self.progress_out, flush=True)

    def bad(self, text: str) -> str:
        """In red."""
        return f"\x1b[31m{text}\x1b[0m" if self.has_colour else text

    def good(self, text: str) -> str:
        """In green."""
        return f"\x1b[32m{text}\x1b[0m" if self.has_colour else text

    def table(self, title: str, heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """A table; numbers stand to the right."""
        texts = [[shown(cell) for cell in row] for row in rows]
        widths = [max(len(head), *(len(row[i]) for row in texts), 0) for i, head in enumerate(heads)]
        numeric = [bool(rows) and all(isinstance(row[i], int | float | None) for row in rows) for i in range(len(heads))]
        self.say()
        self.say(title)
        for cells in (list(heads), ["-" * width for width in widths], *texts):
            placed = [
                cell.rjust(width) if right else cell.ljust(width)
                for cell, width, right in zip(cells, widths, numeric, strict=True)
            ]
            self.say("  " + " | ".join(placed).rstrip())


def shown(cell: object) -> str:
    """A number with its thousands, a time with what matters of it, or the text as it is."""
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, int):
        return f"{cell:,}"
    if isinstance(cell, float):
        return f"{cell:,.2f}" if cell < 100 else f"{cell:,.0f}"
    return "" if cell is None else str(cell)
