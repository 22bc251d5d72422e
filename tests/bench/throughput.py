"""Produce and fetch under load: records a second, and what a million records cost the server, beside Apache Kafka in the same run.

Both run all the time, and take turns: in each round every kind of work is done by one and then by the other, and in the next round the other
way round. So whatever else the machine does slows both, and a ratio is of two measurements that lie side by side.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from bench import floor, load
from bench.brokers import ApacheKafka, Broker, Fiducial, create_topic, delete_topic
from bench.generator import Found, Lane, generate
from bench.goals import Goal, Judged
from bench.load import Target
from bench.report import Spread, Table, say

#: How long each kind of work is done by each broker in a round; and before the first, by Kafka, whose code is compiled only under load (s).
TURN_S, KAFKA_WARM_S, WARM_S = 2.0, 5.0, 0.5
#: Each partition of what is fetched holds so many batches of so many records; and there are so many partitions.
HELD, HELD_RECORDS, HELD_PARTITIONS = 1024, 150, 4
#: What the kernel alone takes is measured where there is a goal, for so long (s).
FLOOR, FLOOR_S = "kernel alone", 1.0
#: How long a broker is given to remove the files of a topic (s).
REMOVAL_S = 30.0


@dataclass(frozen=True)
class Produce:
    """One batch of so many records a request."""

    records: int


@dataclass(frozen=True)
class Fetch:
    """Whole batches, so many an answer."""

    batches: int


@dataclass(frozen=True)
class Work:
    """Something that a broker is kept busy with; `config` is of the topic. The goals: of Kafka's records per CPU-second, of M records/s, of GB/s.

    Each connection has a partition of its own, if they are not to share fewer.
    """

    name: str
    kind: Produce | Fetch
    connections: int
    config: dict[str, str] = field(default_factory=dict)
    shared: int | None = None
    cheaper_by: float | None = None
    speed: float | None = None
    gigabytes: float | None = None

    @property
    def partitions(self) -> int:
        """Of the topic."""
        return self.shared or self.connections

    @property
    def records(self) -> int:
        """In a request, or in an answer."""
        return self.kind.records if isinstance(self.kind, Produce) else self.kind.batches * HELD_RECORDS

    @property
    def record_bytes(self) -> float:
        """What a record takes on the wire and on the disk."""
        count = self.kind.records if isinstance(self.kind, Produce) else HELD_RECORDS
        return len(load.records_of(count)) / count


def produces(size: str, records: int, cheaper_by: float, speed: float | None) -> list[Work]:
    """From one connection, 4 and 64; the goals are of 4."""
    goals: dict[int, dict[str, Any]] = {4: {"cheaper_by": cheaper_by, "speed": speed}}
    names = {1: "1 connection", 4: "4 connections", 64: "64 connections"}
    return [Work(f"produce {size}, {name}", Produce(records), count, **goals.get(count, {})) for count, name in names.items()]


PRODUCES = [*produces("1 record", 1, 20, None), *produces("16 KB", 150, 9, 6), *produces("110 KB", 1000, 7, 12)]
FETCHES = [Work("fetch 64 KB, 4 connections", Fetch(4), 4), Work("fetch 1 MB, 4 connections", Fetch(64), 4, cheaper_by=3)]
DURABLE = {"flush_messages": "1"}
DURABLES = [
    Work("durable 16 KB, 16 connections", Produce(150), 16, DURABLE, gigabytes=0.35),
    Work("durable 16 KB, 16 to one partition", Produce(150), 16, DURABLE, shared=1, gigabytes=0.35),
    Work("durable 110 KB, 8 connections", Produce(1000), 8, DURABLE, gigabytes=0.35),
    Work("durable 110 KB, 8 to one partition", Produce(1000), 8, DURABLE, shared=1, gigabytes=0.35),
]
WORKS = [*PRODUCES, *FETCHES, *DURABLES]
#: What Kafka is warmed by: every size once.
WARMING = [work for work in WORKS if work.connections not in (1, 64) and work.shared is None]


class Bench:
    """The brokers, ready; and all that was measured of them."""

    def __init__(self, brokers: Sequence[Broker]) -> None:
        self.brokers = brokers
        self.names = itertools.count()
        self.filled = {broker.name: self.fill(broker) for broker in brokers}
        self.found: dict[tuple[str, str], list[Found]] = {(work.name, by): [] for work in WORKS for by in (*(one.name for one in brokers), FLOOR)}

    def fill(self, broker: Broker) -> Target:
        """A topic that holds what is fetched, and a look at it."""
        say(f"filling {broker.name}")
        target = Target(broker, "fetched", create_topic(broker, "fetched", HELD_PARTITIONS))
        load.fill(target, HELD_PARTITIONS, HELD_RECORDS, HELD)
        load.sample(target, [HELD * HELD_RECORDS] * HELD_PARTITIONS, HELD_RECORDS)
        return target

    def measure(self, broker: Broker, work: Work, seconds: float) -> Found:
        """One turn."""
        if isinstance(work.kind, Fetch):
            lanes = self.fetch_lanes(broker, work, work.kind)
            return generate(broker.port, broker.pid, lanes, seconds)
        with topic(broker, f"produced-{next(self.names)}", work.partitions, **work.config) as target:
            lanes = self.produce_lanes(target, work, work.kind)
            return load.produced(target, lanes, work.kind.records, seconds, partitions=work.partitions)

    def fetch_lanes(self, broker: Broker, work: Work, kind: Fetch) -> list[Lane]:
        """Of what is filled."""
        return [load.fetch_lane(self.filled[broker.name], index, HELD_RECORDS, kind.batches, HELD) for index in range(work.connections)]

    def produce_lanes(self, target: Target, work: Work, kind: Produce) -> list[Lane]:
        """Of a topic that is new."""
        return [load.produce_lane(target, index % work.partitions, kind.records) for index in range(work.connections)]

    def measure_floor(self, work: Work) -> Found:
        """The same requests, with answers of the same size."""
        if isinstance(work.kind, Fetch):
            return floor.measured(self.fetch_lanes(self.brokers[0], work, work.kind), FLOOR_S, HELD * len(load.records_of(HELD_RECORDS)))
        with topic(self.brokers[0], f"floor-{next(self.names)}", work.partitions) as target:
            return floor.measured(self.produce_lanes(target, work, work.kind), FLOOR_S)

    def warm(self) -> None:
        """Every kind of work once, for each broker."""
        for broker, work in itertools.product(self.brokers, WARMING):
            say(f"warming {broker.name}: {work.name}")
            self.measure(broker, work, KAFKA_WARM_S if broker.name == ApacheKafka.name else WARM_S)

    def round(self, number: int, rounds: int) -> None:
        """Every kind of work by each broker, in an order that changes from round to round."""
        for work in WORKS:
            for broker in self.brokers if number % 2 == 0 else self.brokers[::-1]:
                say(f"round {number + 1} of {rounds}: {work.name}, {broker.name}")
                self.found[work.name, broker.name].append(self.measure(broker, work, TURN_S))
            if work.cheaper_by is not None:
                self.found[work.name, FLOOR].append(self.measure_floor(work))


@contextmanager
def topic(broker: Broker, name: str, partitions: int, **config: str) -> Iterator[Target]:
    """A topic for a while; what is in it goes again, files and all."""
    target = Target(broker, name, create_topic(broker, name, partitions, **config))
    yield target
    delete_topic(broker, target.topic_id)
    give_up = time.monotonic() + REMOVAL_S
    while any(broker.data_path.glob(f"{name}-*")) and time.monotonic() < give_up:
        time.sleep(0.05)


def measured(brokers: Sequence[Broker], rounds: int) -> Bench:
    """One measurement of each work by each broker for each round. The brokers run; ours is the first."""
    bench = Bench(brokers)
    bench.warm()
    for number in range(rounds):
        bench.round(number, rounds)
    say("")
    return bench


# Tables

CHEAPER_BY = "cheaper by"
COLUMNS = (
    "work", "M records/s", "Kafka's M records/s", "faster by", "GB/s", "CPU-s per M records", "Kafka's CPU-s", "kernel's alone",
    CHEAPER_BY, f"{CHEAPER_BY}, goal", "kernel alone, by", "goals", "load's CPU",
)  # fmt: skip
NOTE = f"""M records/s and GB/s by the clock; CPU-s of the server, user and system, all its threads. Medians of the rounds; of the ratios, pair by pair, the least and the most too.
Each connection has a partition of its own, if not said otherwise, and {load.WINDOW} requests on their way; acks=-1; records of {load.VALUE_BYTES} bytes without keys, in batches made beforehand. Durable: flush.messages=1, on the disk before it is acknowledged.
After each turn the logs' ends are what was acknowledged, and batches are read and compared. Goals: of cheaper by, of M records/s, of GB/s.\nKernel alone: a program that receives the same requests, writes them to the page cache and acknowledges, or sends what is fetched, and does nothing else (floor.cpp). Load's CPU: of one core, what the generator takes while ours serves."""


def cost(work: Work, one: Found) -> float:
    """CPU-seconds of the server per million records."""
    return one.broker_cpu_s / (one.requests * work.records) * 1e6


def speed(work: Work, one: Found) -> float:
    """Millions of records a second."""
    return one.requests * work.records / one.wall_s / 1e6


class Compared:
    """One kind of work, by ours and by Kafka, if it is there."""

    def __init__(self, work: Work, ours: Sequence[Found], theirs: Sequence[Found], kernel: Sequence[Found]) -> None:
        self.work = work
        self.speeds, self.costs = [speed(work, one) for one in ours], [cost(work, one) for one in ours]
        self.their_speeds, self.their_costs = [speed(work, one) for one in theirs], [cost(work, one) for one in theirs]
        self.kernel_costs = [cost(work, one) for one in kernel]
        self.load_share = Spread.of([one.load_cpu_s / one.wall_s for one in ours])
        self.speed = Spread.of(self.speeds).median
        self.gigabytes = self.speed * work.record_bytes / 1000
        self.faster_by = ratios(self.speeds, self.their_speeds)
        self.cheaper_by = ratios(self.their_costs, self.costs)
        self.kernel_cheaper_by = ratios(self.their_costs, self.kernel_costs)

    def judged(self) -> list[Judged]:
        """Its goals."""
        work = self.work
        figures = (
            (work.cheaper_by, self.cheaper_by.median if self.cheaper_by else None, "records per CPU-second, Kafka's = 1"),
            (work.speed, self.speed, "M records/s"),
            (work.gigabytes, self.gigabytes, "GB/s"),
        )
        return [Judged(Goal(f"{work.name}: {what}", bound), found) for bound, found, what in figures if bound is not None and found is not None]

    def row(self) -> tuple[Any, ...]:
        """Of the table."""
        goals = "; ".join(map(str, self.judged()))
        costs = (median(self.costs), median(self.their_costs), median(self.kernel_costs))
        by = (self.cheaper_by, self.work.cheaper_by, self.kernel_cheaper_by)
        return (self.work.name, self.speed, median(self.their_speeds), self.faster_by, self.gigabytes, *costs, *by, goals, self.load_share)


def ratios(numbers: Sequence[float], others: Sequence[float]) -> Spread | None:
    """Pair by pair, if there are any."""
    pairs = list(zip(numbers, others, strict=False))
    return Spread.of([one / other for one, other in pairs]) if pairs else None


def median(numbers: Sequence[float]) -> float | None:
    """If there are any."""
    return Spread.of(numbers).median if numbers else None


def compared(bench: Bench) -> list[Compared]:
    """Every kind of work."""
    return [Compared(work, *(bench.found.get((work.name, by), []) for by in (Fiducial.name, ApacheKafka.name, FLOOR))) for work in WORKS]


def table(found: Sequence[Compared], rounds: int) -> Table:
    """Every kind of work."""
    return Table(f"Produce and fetch under load, {rounds} rounds", COLUMNS, [one.row() for one in found], NOTE)


def as_data(bench: Bench) -> list[dict[str, Any]]:
    """Every measurement."""
    return [{"work": work, "broker": broker, "rounds": [asdict(one) for one in of]} for (work, broker), of in bench.found.items()]
