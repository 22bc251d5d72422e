"""Produce and fetch under load: records a second, and what a million records cost the server, beside Apache Kafka in the same run.

Both run all the time, and take turns: in each round every kind of work is done by one and then by the other, and in the next round the other
way round. So whatever else the machine does slows both, and a ratio is of two measurements that lie side by side.
"""

from __future__ import annotations

import itertools
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from bench import load
from bench.brokers import Broker, create_topic, delete_topic
from bench.load import CONNECTIONS, Fetch, Measured, Produce, Target
from bench.report import Spread, Table, say

#: How long each kind of work is done by each broker in a round; and before the first, by Kafka, whose code is compiled only under load (s).
TURN_S, KAFKA_WARM_S, WARM_S = 2.0, 5.0, 0.5
#: Each partition holds so much of what is fetched.
HELD = 1024
#: How long a broker is given to remove the files of a topic (s).
REMOVAL_S = 30.0


@dataclass(frozen=True)
class Work:
    """Something that a broker is kept busy with; `config` is of the topic."""

    name: str
    kind: Produce | Fetch
    config: dict[str, str] = field(default_factory=dict)
    only_ours: bool = False

    @property
    def record_bytes(self) -> float:
        """What a record takes on the wire and on the disk."""
        return len(load.records_of(self.kind.records)) / self.kind.records


SIZES = {"1 record": 1, "16 KB": 150, "110 KB": 1000}
PRODUCES = [Work(f"produce {size}, acks={acks}", Produce(records, acks)) for size, records in SIZES.items() for acks in (1, -1)]
FETCHED = Fetch(4, 150, HELD)
FETCHES = [Work("fetch 64 KB", FETCHED), Work("fetch 1 MB", Fetch(64, 150, HELD))]
COMMITS = [Work(f"produce {size}, commit", Produce(records, -1), {"flush_messages": "1"}, only_ours=True) for size, records in SIZES.items()]
WORKS = [*PRODUCES, *FETCHES, *COMMITS]


class Bench:
    """The brokers, ready; and all that was measured of them."""

    def __init__(self, brokers: Sequence[Broker], executor: ProcessPoolExecutor) -> None:
        self.brokers, self.executor = brokers, executor
        self.names = itertools.count()
        self.filled = {broker.name: self.fill(broker) for broker in brokers}
        self.found: dict[tuple[str, str], list[Measured]] = {(work.name, broker.name): [] for work in WORKS for broker in brokers}

    def fill(self, broker: Broker) -> bytes:
        """The id of a topic that holds what is fetched."""
        topic_id = create_topic(broker, "fetched", CONNECTIONS)
        self.executor.submit(load.fill, self.target(broker, topic_id), FETCHED).result()
        return topic_id

    def target(self, broker: Broker, topic_id: bytes) -> Target:
        """Where the load goes."""
        return Target(broker.host, broker.port, broker.pid, topic_id)

    @contextmanager
    def topic(self, broker: Broker, work: Work) -> Iterator[bytes]:
        """The id of a topic for this work; what is produced goes again, files and all."""
        if isinstance(work.kind, Fetch):
            yield self.filled[broker.name]
            return
        name = f"produced-{next(self.names)}"
        topic_id = create_topic(broker, name, CONNECTIONS, **work.config)
        yield topic_id
        delete_topic(broker, topic_id)
        give_up = time.monotonic() + REMOVAL_S
        while any(broker.data_path.glob(f"{name}-*")) and time.monotonic() < give_up:
            time.sleep(0.05)

    def measure(self, broker: Broker, work: Work, seconds: float) -> Measured:
        """One turn."""
        with self.topic(broker, work) as topic_id:
            return self.executor.submit(load.run, self.target(broker, topic_id), work.kind, seconds).result()

    def warm(self) -> None:
        """Every kind of work once, for each broker."""
        for broker, work in itertools.product(self.brokers, WORKS):
            if not work.only_ours:
                say(f"warming {broker.name}: {work.name}")
                self.measure(broker, work, KAFKA_WARM_S if broker.name == "Apache Kafka" else WARM_S)
            elif broker is self.brokers[0]:
                self.measure(broker, work, WARM_S)

    def round(self, number: int, rounds: int) -> None:
        """Every kind of work by each broker, in an order that changes from round to round."""
        for work in WORKS:
            say(f"round {number + 1} of {rounds}: {work.name}")
            brokers = self.brokers[:1] if work.only_ours else self.brokers if number % 2 == 0 else self.brokers[::-1]
            for broker in brokers:
                self.found[work.name, broker.name].append(self.measure(broker, work, TURN_S))


def measured(brokers: Sequence[Broker], rounds: int) -> dict[tuple[str, str], list[Measured]]:
    """(work, broker) -> one measurement for each round. The brokers run; ours is the first."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        bench = Bench(brokers, executor)
        bench.warm()
        for number in range(rounds):
            bench.round(number, rounds)
        say("")
        return bench.found


# Tables


CHEAPER_BY = "cheaper by"
COLUMNS = (
    "work", "M records/s", "Kafka's M records/s", "faster by", "CPU-s per M records", "Kafka's CPU-s", CHEAPER_BY, "GB per CPU-s", "Kafka's GB", "load's CPU",
)  # fmt: skip
NOTE = f"""M records/s by the clock; CPU-s of the server, user and system, from /proc/PID/stat. Medians of the rounds; of the ratios, pair by pair, the least and the most too.
{CONNECTIONS} connections, each with a partition of its own and {2 * load.BLOCK} requests on their way; records of {load.VALUE_BYTES} bytes without keys; commit: on the disk before it is acknowledged.
Load's CPU: what the generator, a process of its own, takes for each CPU-second of our server."""


def medians(of: Sequence[Measured]) -> dict[str, float]:
    """What a broker comes to."""
    return {
        "speed": Spread.of([one.records / one.wall_s / 1e6 for one in of]).median,
        "cost": Spread.of([cost(one) for one in of]).median,
    }


def cost(one: Measured) -> float:
    """CPU-seconds of the server per million records."""
    return one.broker_cpu_s / one.records * 1e6


def row(work: Work, ours: Sequence[Measured], theirs: Sequence[Measured]) -> tuple[Any, ...]:
    """One kind of work."""
    mine, other = medians(ours), medians(theirs) if theirs else {"speed": None, "cost": None}
    pairs = list(zip(ours, theirs, strict=False))
    gigabytes = work.record_bytes / 1000  # of a million records
    return (
        work.name,
        mine["speed"],
        other["speed"],
        Spread.of([(a.records / a.wall_s) / (b.records / b.wall_s) for a, b in pairs]) if pairs else None,
        mine["cost"],
        other["cost"],
        Spread.of([cost(b) / cost(a) for a, b in pairs]) if pairs else None,
        gigabytes / mine["cost"],
        other["cost"] and gigabytes / other["cost"],
        Spread.of([one.load_cpu_s / one.broker_cpu_s for one in ours]),
    )


def table(found: dict[tuple[str, str], list[Measured]], rounds: int) -> Table:
    """Every kind of work."""
    rows = [row(work, found[work.name, "Fiducial"], found.get((work.name, "Apache Kafka"), [])) for work in WORKS]
    return Table(f"Produce and fetch under load, {rounds} rounds", COLUMNS, rows, NOTE)


def as_data(found: dict[tuple[str, str], list[Measured]]) -> list[dict[str, Any]]:
    """Every measurement."""
    return [{"work": work, "broker": broker, "rounds": [asdict(one) for one in of]} for (work, broker), of in found.items()]
