"""Where a broker's time goes while it does some work, by `perf`, which samples its threads: for goals that are missed."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
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
