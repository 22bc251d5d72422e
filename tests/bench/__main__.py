"""How fast it is, beside others, in one run: `make bench`. Everything is printed beside its goal, nothing is asserted.

    python -m bench                        all of it: some twenty minutes on two cores that have nothing else to do
    python -m bench --only load latency    some subjects
    python -m bench --save                 the figures, and a drawing, kept in tests/bench/results/, else in build/bench/
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from peers import kafka
from peers.kafka import PeerUnavailable

from bench import batches, clients, footprint, goals, groups, latency, messages, throughput
from bench.brokers import ApacheKafka, Broker, CompiledFiducial, Fiducial, HoggedFiducial
from bench.chart import chart
from bench.goals import Judged
from bench.profile import imports, profile
from bench.report import Table, circumstances, load_average, save, say

ROOT = Path(__file__).parents[2]
KEPT, PASSING = Path("tests/bench/results"), Path("build/bench")
#: Under load; and with clients and groups, which take longer.
ROUNDS, LONG_ROUNDS = 3, 2


class Run:
    """What was found so far."""

    def __init__(self, rounds: int, long_rounds: int) -> None:
        self.rounds, self.long_rounds = rounds, long_rounds
        self.kinds: list[Callable[..., Broker]] = [Fiducial]
        try:
            kafka.jars()
            self.kinds.append(ApacheKafka)
        except PeerUnavailable as reason:
            print(f"Apache Kafka NOT RUN: {reason}")
        self.found: dict[str, Any] = {**circumstances(kafka.VERSION if ApacheKafka in self.kinds else ""), "tables": []}
        self.judged: list[Judged] = []

    def codecs(self) -> None:
        """Batches and messages."""
        for table in [*batches.tables(), *messages.tables()]:
            self.tell(table)

    def load(self) -> None:
        """Both brokers under load."""
        with self.begun(self.kinds) as brokers:
            bench = throughput.measured(brokers, self.rounds)
            found = throughput.compared(bench)
            self.tell(throughput.table(found, self.rounds))
            for one in found:
                self.judge(one.judged())
                if not all(goal.is_met for goal in one.judged()):
                    self.tell(profile(one.work.name, brokers[0], lambda work=one.work: bench.measure(brokers[0], work, throughput.TURN_S)))  # type: ignore[misc]
        self.found["load measured"] = throughput.as_data(bench)

    def latency(self) -> None:
        """How long both take to acknowledge."""
        with self.begun([*self.kinds, HoggedFiducial]) as brokers:
            bench = latency.measured(brokers, self.rounds)
            for table in latency.tables(bench, self.rounds):
                self.tell(table)
            for case, one in latency.judged(bench).items():
                self.judge([one])
                if not one.is_met:
                    broker = brokers[-1] if case == latency.HOGGED else brokers[0]
                    self.tell(profile(f"acknowledgements, {case}", broker, lambda case=case, broker=broker: bench.measures[case](broker)))  # type: ignore[misc]
        self.found["latency measured"] = latency.as_data(bench)

    def clients(self) -> None:
        """Both brokers with real clients."""
        with self.begun(self.kinds, **groups.SETTINGS) as brokers:
            found = clients.measured(brokers, self.long_rounds)
        self.tell(clients.table(found, self.long_rounds))
        self.found["clients measured"] = clients.as_data(found)

    def footprint(self) -> None:
        """Starts, and memory."""
        found = [footprint.measured(kind(), *case) for case in footprint.CASES for kind in self.kinds]
        for table in footprint.tables(found):
            self.tell(table)
        for one in found:
            judged = footprint.judged(one)
            self.judge(list(judged.values()))
            if judged and not judged["start"].is_met:
                self.tell(imports())
            if judged and not judged["idle"].is_met:
                self.tell(one.mapped)
        self.found["footprint measured"] = footprint.as_data(found)

    def groups(self) -> None:
        """Members of groups."""
        say("compiling the models")
        with self.begun([*self.kinds, CompiledFiducial], **groups.SETTINGS) as brokers:
            found = groups.measured(brokers, self.long_rounds)
        for table in groups.tables(found, self.long_rounds):
            self.tell(table)
        self.found["groups"] = groups.as_data(found)

    @contextmanager
    def begun(self, kinds: Sequence[Callable[..., Broker]], **settings: str) -> Iterator[list[Broker]]:
        """A broker of each kind, running meanwhile."""
        brokers: list[Broker] = []
        try:
            for kind in kinds:
                brokers.append(kind(**settings))
                brokers[-1].begin()
            yield brokers
        finally:
            for broker in brokers:
                broker.remove()

    def tell(self, table: Table) -> None:
        """Print a table, and keep it."""
        print(table, flush=True)
        self.found["tables"].append(table.as_data())

    def judge(self, judged: Sequence[Judged]) -> None:
        """Keep what became of goals."""
        self.judged.extend(judged)

    def keep(self, folder: Path, subjects: Sequence[str]) -> None:
        """The figures as data, and a drawing of them if there is something to draw; those of some subjects do not replace others of the day."""
        file = folder / f"{'-'.join([time.strftime('%Y-%m-%d'), *subjects])}.json"
        save(ROOT / file, self.found)
        drawing = chart(self.found)
        if drawing:
            (ROOT / file).with_suffix(".svg").write_text(drawing)
        print(f"kept in {file}")


SUBJECTS = {
    "codecs": Run.codecs,
    "load": Run.load,
    "latency": Run.latency,
    "clients": Run.clients,
    "footprint": Run.footprint,
    "groups": Run.groups,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="make bench", description="How fast it is, beside aiokafka and Apache Kafka in the same run.")
    parser.add_argument("--only", choices=SUBJECTS, nargs="+", default=[], help="some subjects")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="under load, of each kind of work (default: %(default)s)")
    parser.add_argument("--long-rounds", type=int, default=LONG_ROUNDS, help="with clients and groups (default: %(default)s)")
    parser.add_argument("--save", action="store_true", help=f"keep the figures in {KEPT}, not in {PASSING}")
    options = parser.parse_args(argv)
    begun = time.monotonic()
    run = Run(options.rounds, options.long_rounds)
    for name, text in run.found.items():
        if isinstance(text, str):
            print(f"{name:10}{text}")
    for name, subject in SUBJECTS.items():
        if not options.only or name in options.only:
            subject(run)
    if run.judged:
        run.tell(goals.table(run.judged))
    run.found["load at the end"] = load_average()
    print(f"\n{time.monotonic() - begun:.0f} s; load average {run.found['load']} at the beginning, {run.found['load at the end']} at the end")
    run.keep(KEPT if options.save else PASSING, options.only)
    return 0


if __name__ == "__main__":
    sys.exit(main())
