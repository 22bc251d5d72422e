"""Where a broker's time goes while it does some work, by `perf`, which samples its threads; where its start goes, and its memory: for goals that are missed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.brokers import Broker
from bench.report import Table

SAMPLES_PER_S = 997
#: Of so many functions is told.
LINES = 15
#: How long is sampled, of work that takes two seconds and has to be prepared and cleared away (s).
SAMPLED_S = 1.5
COLUMNS = ("% of the samples", "thread", "in", "function")
LINE = re.compile(r"\s*([\d.]+)%\s*\t(.*?)\s*\t(.*?)\s*\t(?:\[.\] )?(.*?)\s*$")


def profile(title: str, broker: Broker, work: Callable[[], Any]) -> Table:
    """Of the broker's process, while it does the first of the work."""
    title = f"Where the time goes: {title}"
    perf = shutil.which("perf")
    if perf is None:
        return Table(title, COLUMNS, [], "NOT RUN: perf is not installed")
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder, "perf.data"))
        command = [perf, "record", "-q", "-e", "cpu-clock", "-F", str(SAMPLES_PER_S), "-p", str(broker.pid), "-o", file, "sleep", str(SAMPLED_S)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
            work()
        told = subprocess.run(
            [perf, "report", "--stdio", "-i", file, "-F", "overhead,comm,dso,sym", "--field-separator", "\t", "--no-children"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    return Table(title, COLUMNS, lines(told.stdout)[:LINES], f"perf record -e cpu-clock -F {SAMPLES_PER_S}, user and system, all threads; the most frequent first.")


def lines(report: str) -> list[tuple[Any, ...]]:
    """The rows of perf's report, largest first."""
    found = (LINE.match(line) for line in report.splitlines() if not line.startswith("#"))
    return [(float(one[1]), one[2], one[3], one[4]) for one in found if one]


# A start, and memory

IMPORT_COLUMNS = ("ms", "with what it imports, ms", "module")
IMPORT = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \| (\s*\S+)")
MAPPED_COLUMNS = ("resident MB", "of")
#: A line of /proc/PID/smaps that begins a mapping; the path is the last of six fields, if there is one.
MAPPING = re.compile(r"[0-9a-f]+-[0-9a-f]+ ")


def imports() -> Table:
    """What `fiducial serve` imports until it knows that it cannot listen where it is told, by how long each module takes itself."""
    command = [sys.executable, "-X", "importtime", "-m", "fiducial", "serve", "--listen", "256.0.0.0:1", "--data", os.devnull]
    told = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    rows = [(int(one[1]) / 1000, int(one[2]) / 1000, one[3].strip()) for one in IMPORT.finditer(told)]
    total = sum(row[0] for row in rows)
    return Table(f"Where a start goes: imports, {total:.0f} ms with what it takes to measure them", IMPORT_COLUMNS, list(sorted(rows, reverse=True)[:LINES]))


def memory(pid: int) -> Table:
    """What is resident, by what is mapped; what has no name is the heap of some thread, or of Python."""
    of: Counter[str] = Counter()
    name = ""
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if MAPPING.match(line):
            name = Path([*line.split(maxsplit=5), "no file"][5]).name
        elif line.startswith("Rss:"):
            of[name] += int(line.split()[1]) * 1024
    return Table("Where the memory goes", MAPPED_COLUMNS, [(size / 1e6, name) for name, size in of.most_common(LINES)])
