"""What was measured, as a person reads it and as data: tables, and what they were measured on."""

from __future__ import annotations

import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Spread:
    """The median of several rounds, the least and the most."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one round."""
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{three_digits(self.median)} ({three_digits(self.least)}–{three_digits(self.most)})"


@dataclass(frozen=True)
class Table:
    """One subject. A cell is a text, a number, a spread, or nothing."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    note: str = ""

    def __str__(self) -> str:
        cells = [self.columns, *(tuple(map(shown, row)) for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        is_text = [all(isinstance(row[at], str) for row in self.rows) for at in range(len(widths))]
        lines = ["  ".join(f"{cell:{'<' if left else '>'}{width}}" for cell, width, left in zip(row, widths, is_text, strict=True)) for row in cells]
        rule = "  ".join("─" * width for width in widths)
        return "\n".join(["", self.title, lines[0].rstrip(), rule, *(line.rstrip() for line in lines[1:]), *([self.note] if self.note else [])])

    def as_data(self) -> dict[str, Any]:
        """For a program."""
        return {"title": self.title, "note": self.note, "rows": [dict(zip(self.columns, map(plain, row), strict=True)) for row in self.rows]}


def three_digits(number: float) -> str:
    """Three significant digits, and never an exponent."""
    for above, digits in ((100, 0), (10, 1), (1, 2), (0.1, 3), (0.01, 4)):
        if abs(number) >= above:
            return f"{number:,.{digits}f}"
    return f"{number:.5f}" if number else "0"


def shown(cell: Any) -> str:
    """A cell as text."""
    if cell is None:
        return ""
    return three_digits(cell) if isinstance(cell, float) else f"{cell:,}" if isinstance(cell, int) else str(cell)


def plain(cell: Any) -> Any:
    """A cell as JSON has it."""
    return vars(cell) if isinstance(cell, Spread) else cell


def say(text: str) -> None:
    """What is going on, for who watches: on a line that is written over, if that can be; an empty text clears it."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
    elif text:
        print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


# What it was measured on


def first_line(*command: str) -> str:
    """What a program says of itself; empty if it is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    except FileNotFoundError:
        return ""
    return (done.stdout + done.stderr).partition("\n")[0].strip()


def cpu_model() -> str:
    """The processor's name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def load_average() -> str:
    """How many processes wanted a processor in the last minute, five, fifteen."""
    return " ".join(f"{one:.1f}" for one in os.getloadavg())


def circumstances(kafka_version: str) -> dict[str, str]:
    """Machine, versions, date, command; `kafka_version` is empty if it is not there."""
    commit = first_line("git", "describe", "--always", "--dirty")
    return {
        "date": time.strftime("%Y-%m-%d %H:%M %Z"),
        "machine": f"{cpu_model()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        "load": load_average(),
        "fiducial": f"{version('fiducial')} {commit}".strip(),
        "python": platform.python_version(),
        "kafka": kafka_version or "NOT RUN",
        "java": first_line("java", "-version"),
        "command": shlex.join(["python", "-m", "bench", *sys.argv[1:]]),
    }


def save(path: Path, found: dict[str, Any]) -> None:
    """As data."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
