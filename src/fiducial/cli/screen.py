"""What is seen of a cluster, shown: as text or as JSON, once or again and again."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from fiducial.cli import INTERRUPTED, USAGE
from fiducial.cli.arguments import Refused
from fiducial.cli.cluster import Cluster, Unanswered
from fiducial.conformance.client import Unreachable

#: The exit status if the cluster cannot be reached, or does not tell.
NOT_TOLD = 1
#: Nobody looks again after a day.
SECONDS_MAX = 86_400
#: Where there is nothing to say.
NOTHING = "-"
#: On a terminal: to its upper left corner, to the end of a line, all that is below.
HOME, LINE_END, BELOW = "\x1b[H", "\x1b[K\n", "\x1b[J"
#: Units of time in ms, each with the next smaller one.
UNITS = (("d", 86_400_000, "h", 3_600_000), ("h", 3_600_000, "m", 60_000), ("m", 60_000, "s", 1_000))

Seen = TypeVar("Seen")


def show(
    options: argparse.Namespace, look: Callable[[Cluster], Seen], as_data: Callable[[Seen], dict[str, Any]], lines: Callable[[Seen], Iterable[str]]
) -> int:
    """Look at the cluster and show what is seen, with --watch until Ctrl-C; the exit status."""
    try:
        if options.watch is not None and not 0 < options.watch < SECONDS_MAX:
            raise Refused(f"--watch takes a number of seconds, not {options.watch:g}")
        while True:
            status = show_once(options, look, as_data, lines)
            if options.watch is None:
                return status
            time.sleep(options.watch)
    except Refused as reason:
        print(f"fiducial {options.command}: {reason}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        return INTERRUPTED


def show_once(
    options: argparse.Namespace, look: Callable[[Cluster], Seen], as_data: Callable[[Seen], dict[str, Any]], lines: Callable[[Seen], Iterable[str]]
) -> int:
    """One look; the exit status."""
    is_redrawn = options.watch is not None and options.output == "text" and sys.stdout.isatty()
    try:
        with Cluster(options.bootstrap) as cluster:
            seen = look(cluster)
    except (Unreachable, Unanswered) as reason:
        print(f"fiducial {options.command}: {reason}", file=sys.stderr)
        return NOT_TOLD
    shown = [json.dumps(as_data(seen))] if options.output == "json" else list(lines(seen))
    print(f"{HOME}{LINE_END.join([*shown, ''])}{BELOW}" if is_redrawn else "\n".join(shown), flush=True)
    return 0


def columns(heads: Sequence[str], rows: Iterable[Sequence[Any]], indent: str = "") -> list[str]:
    """A table: what is under a head that begins with a blank stands to the right; None is a dash."""
    cells = [[head.strip() for head in heads], *([NOTHING if cell is None else printable(str(cell)) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    is_right = [head.startswith(" ") for head in heads]
    lines = []
    for row in cells:
        parts = [cell.rjust(width) if right else cell.ljust(width) for cell, width, right in zip(row, widths, is_right, strict=True)]
        lines.append((indent + "  ".join(parts)).rstrip())
    return lines


def printable(names: str) -> str:
    """Names as they may be shown to people. Clients choose them: what would move the cursor, or do worse to a terminal, is escaped."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in names)


def duration(time_ms: int | None) -> str | None:
    """A length of time, in the two largest units that it has."""
    if time_ms is None:
        return None
    for large, large_ms, small, small_ms in UNITS:
        if time_ms >= large_ms:
            return f"{time_ms // large_ms}{large} {time_ms % large_ms // small_ms}{small}"
    return f"{time_ms / 1_000:.1f}s" if time_ms else "0s"


def counted(count: int, name: str) -> str:
    """So many of something."""
    return f"{count} {name}{'' if count == 1 else 's'}"
