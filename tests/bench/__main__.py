"""How fast it is, beside others, in one run: `make bench`. Everything is printed, nothing is asserted.

    python -m bench                    all of it: a quarter of an hour on two cores that have nothing else to do
    python -m bench --only load        one subject
    python -m bench --save             the figures, and a drawing, kept in tests/bench/results/, else in build/bench/
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from peers import kafka
from peers.kafka import PeerUnavailable

from bench import batches, footprint, groups, messages, throughput
from bench.brokers import ApacheKafka, Broker, CompiledFiducial, Fiducial
from bench.chart import chart
from bench.report import Spread, Table, circumstances, load_average, save

ROOT = Path(__file__).parents[2]
KEPT, PASSING = Path("tests/bench/results"), Path("build/bench")
ROUNDS = 5


class Run:
    """What was found so far."""

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds
        self.kinds: list[Callable[..., Broker]] = [Fiducial]
        try:
            kafka.jars()
            self.kinds.append(ApacheKafka)
        except PeerUnavailable as reason:
            print(f"Apache Kafka NOT RUN: {reason}")
        self.found: dict[str, Any] = {**circumstances(kafka.VERSION if ApacheKafka in self.kinds else ""), "tables": []}
        self.cheaper_by: list[tuple[str, Spread]] = []

    def codecs(self) -> None:
        """Batches and messages."""
        for table in [*batches.tables(), *messages.tables()]:
            self.tell(table)

    def load(self) -> None:
        """Both brokers under load."""
        with ExitStack() as stack:
            found = throughput.measured(self.begun(stack, self.kinds), self.rounds)
        table = throughput.table(found, self.rounds)
        self.tell(table)
        self.found["measurements"] = throughput.as_data(found)
        at = throughput.COLUMNS.index(throughput.CHEAPER_BY)
        self.cheaper_by = [(row[0], row[at]) for row in table.rows if row[at] is not None]

    def groups(self) -> None:
        """Members of groups."""
        with ExitStack() as stack:
            print("compiling the models", flush=True)
            brokers = self.begun(stack, [*self.kinds, CompiledFiducial], **groups.SETTINGS)
            found = groups.measured(brokers, self.rounds)
        for table in groups.tables(found, self.rounds):
            self.tell(table)
        self.found["groups"] = groups.as_data(found)

    def begun(self, stack: ExitStack, kinds: Sequence[Callable[..., Broker]], **settings: str) -> list[Broker]:
        """A broker of each kind, running until the stack unwinds."""
        brokers = [kind(**settings) for kind in kinds]
        for broker in brokers:
            stack.callback(broker.remove)
            broker.begin()
        return brokers

    def footprint(self) -> None:
        """Starts, and memory."""
        self.tell(footprint.table([footprint.measured(kind(), *case) for case in footprint.CASES for kind in self.kinds]))

    def tell(self, table: Table) -> None:
        """Print a table, and keep it."""
        print(table, flush=True)
        self.found["tables"].append(table.as_data())

    def keep(self, folder: Path, subject: str | None) -> None:
        """The figures as data, and a drawing of them if there is something to draw; those of one subject do not replace others of the day."""
        file = folder / f"{'-'.join([time.strftime('%Y-%m-%d'), *([subject] if subject else [])])}.json"
        save(ROOT / file, self.found)
        if self.cheaper_by:
            (ROOT / file).with_suffix(".svg").write_text(chart(self.cheaper_by, self.found))
        print(f"kept in {file}")


SUBJECTS = {"codecs": Run.codecs, "load": Run.load, "groups": Run.groups, "footprint": Run.footprint}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="make bench", description="How fast it is, beside aiokafka and Apache Kafka in the same run.")
    parser.add_argument("--only", choices=SUBJECTS, help="one subject")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="under load, of each kind of work (default: %(default)s)")
    parser.add_argument("--save", action="store_true", help=f"keep the figures in {KEPT}, not in {PASSING}")
    options = parser.parse_args(argv)
    begun = time.monotonic()
    run = Run(options.rounds)
    for name, text in run.found.items():
        if isinstance(text, str):
            print(f"{name:10}{text}")
    for name, subject in SUBJECTS.items():
        if options.only in (None, name):
            subject(run)
    run.found["load at the end"] = load_average()
    print(f"\n{time.monotonic() - begun:.0f} s; load average {run.found['load']} at the beginning, {run.found['load at the end']} at the end")
    run.keep(KEPT if options.save else PASSING, options.only)
    return 0


if __name__ == "__main__":
    sys.exit(main())
