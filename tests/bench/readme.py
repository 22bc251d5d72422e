"""The figures in README.md, written from a result that is kept, so that no figure there was never measured.

    python -m bench.readme          from the newest whole result in tests/bench/results/
    python -m bench.readme FILE     from this one
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.brokers import ApacheKafka, Fiducial
from bench.chart import rows_of
from bench.report import three_digits
from bench.throughput import FLOOR

ROOT = Path(__file__).parents[2]
README, RESULTS = ROOT / "README.md", ROOT / "tests" / "bench" / "results"
BEGIN, END = "<!-- figures of {} -->", "<!-- end of the figures -->"
SECTION = re.compile(r"<!-- figures of (\S+) -->\n.*?<!-- end of the figures -->", re.DOTALL)
#: Of the table of loads, what is told: the rows that begin so.
TOLD = ("produce 1 record, 4 ", "produce 16 KB, 4 ", "produce 16 KB, 64 ", "produce 110 KB, 4 ", "fetch", "durable")

Found = Mapping[str, Any]


def of(cell: Any) -> str:
    """A figure, or the median of several rounds; empty if there is none."""
    if isinstance(cell, Mapping):
        cell = cell["median"]
    return "" if cell is None else three_digits(cell)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """In Markdown; a blank line follows. Nothing, if nothing of it was measured."""
    if not rows:
        return
    for row in (columns, ["---"] * len(columns), *rows):
        yield f"| {' | '.join(row)} |"
    yield ""


def loads(found: Found) -> Iterator[str]:
    """Records a second, and what they cost."""
    figures = ("M records/s", "Kafka's M records/s", "GB/s", "CPU-s per M records", "Kafka's CPU-s", "cheaper by", "kernel alone, by")
    rows = [[row["work"], *(of(row[name]) for name in figures)] for row in rows_of(found, "Produce and fetch") if row["work"].startswith(TOLD)]
    yield from table(("work", "M records/s", "Kafka's", "GB/s", "CPU-seconds per M records", "Kafka's", "cheaper by", "the kernel alone"), rows)
    clients = ("CPU-s per M records", "Kafka's CPU-s", "cheaper by")
    rows = [[row["client"], *(of(row[name]) for name in clients)] for row in rows_of(found, "Real clients")]
    yield from table(("real clients", "CPU-seconds per M records", "Kafka's", "cheaper by"), rows)


def waits(found: Found) -> Iterator[str]:
    """Acknowledgements, ours and Kafka's side by side; what Kafka has nothing beside stands alone."""
    rows = [{**row, "case": f"{row['case']}, the {FLOOR}"} if row["by"] == FLOOR else row for row in rows_of(found, "Acknowledgements")]
    cases = list(dict.fromkeys(row["case"] for row in rows))
    figures = ("p50 µs", "p99 µs", "p99.9 µs")
    by = {(row["case"], row["by"] == ApacheKafka.name): [of(row[name]) for name in figures] for row in rows}
    told = [[case, *by[case, False], *by.get((case, True), [""] * len(figures))] for case in cases]
    yield from table(("until it is acknowledged", "p50 µs", "p99", "p99.9", "Kafka's p50", "p99", "p99.9"), told)


def footprints(found: Found) -> Iterator[str]:
    """Starts, and memory."""
    rows = list(rows_of(found, "Start and memory"))
    by = {(row["partitions"], row["by"]): row for row in rows}
    told = []
    for partitions in dict.fromkeys(row["partitions"] for row in rows):
        both = [by.get((partitions, name), {}) for name in (Fiducial.name, ApacheKafka.name)]
        told.append([f"{partitions:,}", *(of(one.get(name)) for name in ("start to first ack, s", "resident MB") for one in both)])
    yield from table(("partitions, each with a batch", "`exec` to the first ack, s", "Kafka's", "resident MB", "Kafka's"), told)
    for row in rows_of(found, "Clients, and load"):
        more = next(text for name, text in row.items() if name.endswith("idle clients, MB"))
        yield f"10,000 idle clients add {of(more)} MB to {row['by']}, and with 64 connections that produce it has {of(row['at most under load, MB'])} MB at most."
    yield ""


def goals(found: Found) -> Iterator[str]:
    """How many are met; and which are not, with what was found."""
    rows = list(rows_of(found, "Goals"))
    missed = [f"- {row['figure']}: {of(row['found'])} ({row['goal'].partition(':')[0]})" for row in rows if row["goal"].endswith("missed")]
    yield f"Of {len(rows)} goals {len(rows) - len(missed)} are met" + (". Missed (the results have profiles that show why):" if missed else ".")
    yield from ["", *missed] if missed else []


def busy(found: Found) -> bool:
    """Did others want a processor when the run began?"""
    return float(found["load"].split()[0]) > 1


def section(name: str) -> str:
    """What README says, by the result of that name."""
    found = json.loads((RESULTS / name).read_text(encoding="utf-8"))
    lines = [
        BEGIN.format(name),
        f"Beside Apache Kafka {found['kafka']} in the same run, interleaved, both warm; records of 100 bytes in batches made beforehand, acks=-1; durable: with",
        "`flush.messages=1`, on both. CPU-seconds of the server, user and system. The kernel alone: what receives the same requests, writes them to the page cache",
        "and acknowledges, or sends what is fetched, and does nothing else; so much cheaper could a broker be at most.",
        "",
        *loads(found),
        *waits(found),
        *footprints(found),
        *goals(found),
        "",
        f"![records per CPU-second and acknowledgements, beside Apache Kafka](tests/bench/results/{Path(name).stem}.svg)",
        "",
        f"{found['machine']}; {found['date']}; load average {found['load']}; TCP on loopback by {found['tcp']}; `{found['command']}`, which is `make bench`;",
        f"[all figures](tests/bench/results/{name}).{' The machine had other work meanwhile: absolute figures are of little worth.' if busy(found) else ''}",
        END,
    ]
    return "\n".join(lines)


def newest() -> str:
    """The name of the newest result that has all subjects."""
    whole = [path for path in RESULTS.glob("*.json") if {"Goals", "Real", "Acknowledgements,", "Start"} <= titles(path)]
    return max(whole, key=lambda path: json.loads(path.read_text(encoding="utf-8"))["date"]).name


def titles(path: Path) -> set[str]:
    """The first words of its tables' titles."""
    return {one["title"].split()[0].rstrip(":") for one in json.loads(path.read_text(encoding="utf-8"))["tables"]}


def main(arguments: Sequence[str]) -> None:
    """Write the section anew."""
    name = Path(arguments[0]).name if arguments else newest()
    text = README.read_text(encoding="utf-8")
    README.write_text(SECTION.sub(lambda _: section(name), text), encoding="utf-8")
    print(f"README.md has the figures of {name}")


if __name__ == "__main__":
    main(sys.argv[1:])
