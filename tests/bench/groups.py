"""Consumer groups under load: heartbeats and commits per CPU-second of the server, and how long 1,000 members take to join, beside Apache Kafka.

As with produce and fetch both run all the time and take turns. Each has a group of 1, 10, 100 and 1,000 members, which share 10,000 partitions;
that a group is larger should make neither a heartbeat nor a commit dearer.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench import group_load
from bench.brokers import ApacheKafka, Broker, CompiledFiducial, Fiducial, create_topic, memory_bytes
from bench.generator import Load
from bench.group_load import CONNECTIONS, PARTITIONS, TOPICS, WINDOW, Commit, Heartbeat, Members, Phase
from bench.report import Spread, Table, say

#: How long each kind of work is done by each broker in a round; and before the first, by Kafka, whose code is compiled only under load (s).
TURN_S, KAFKA_WARM_S, WARM_S = 2.0, 8.0, 0.5
SIZES = (1, 10, 100, 1_000)
#: How many join together, and how often they rebalance in a round.
CROWD, REBALANCES = 1_000, 3
#: The first join phase goes on for so long after somebody came; the same on both.
SETTINGS = {"group.initial.rebalance.delay.ms": "500"}


@dataclass(frozen=True)
class Work:
    """What the members of one group do."""

    kind: Heartbeat | Commit
    members: int

    @property
    def name(self) -> str:
        """As it is told."""
        what = "heartbeat" if isinstance(self.kind, Heartbeat) else f"commit of {self.kind.partitions}"
        return f"{what}, {self.members:,} member{'s' if self.members > 1 else ''}"


WORKS = [Work(kind, members) for kind in (Heartbeat(), Commit(1), Commit(100)) for members in SIZES]


@dataclass(frozen=True)
class Found:
    """All that was measured of one broker; memory with the topics alone, and in the end (bytes)."""

    loads: dict[str, list[Load]]
    joins: list[Phase]
    rebalances: list[Phase]
    resident: list[int]


class Bench:
    """The brokers, with their groups."""

    def __init__(self, brokers: Sequence[Broker]) -> None:
        self.brokers = brokers
        self.names = itertools.count()
        self.found: dict[str, Found] = {broker.name: Found({work.name: [] for work in WORKS}, [], [], []) for broker in brokers}
        self.members: dict[tuple[str, int], Members] = {}
        for broker in brokers:
            say(f"{broker.name}: making {len(TOPICS) * PARTITIONS:,} partitions, and the groups")
            for topic in TOPICS:
                create_topic(broker, topic, PARTITIONS)
            self.found[broker.name].resident.append(memory_bytes(broker.pid, "VmRSS"))
            for size in SIZES:
                self.members[broker.name, size] = group_load.joined(broker, f"of-{size}", size)

    def measure(self, broker: Broker, work: Work, seconds: float) -> Load:
        """One turn."""
        return group_load.run(broker, self.members[broker.name, work.members], work.kind, seconds)

    def gather(self, broker: Broker) -> tuple[Phase, list[Phase]]:
        """A crowd joins, rebalances, and leaves."""
        return group_load.gathered(broker, f"crowd-{next(self.names)}", CROWD, REBALANCES)

    def warm(self) -> None:
        """Every kind of work once, for each broker."""
        for broker, work in itertools.product(self.brokers, WORKS):
            if work.members == max(SIZES):
                say(f"warming {broker.name}: {work.name}")
                self.measure(broker, work, KAFKA_WARM_S if broker.name == ApacheKafka.name else WARM_S)
        for broker in self.brokers:
            self.gather(broker)

    def round(self, number: int, rounds: int) -> None:
        """Every kind of work by each broker, in an order that changes from round to round."""
        brokers = self.brokers if number % 2 == 0 else self.brokers[::-1]
        for work, broker in itertools.product(WORKS, brokers):
            say(f"round {number + 1} of {rounds}: {work.name}")
            self.found[broker.name].loads[work.name].append(self.measure(broker, work, TURN_S))
        for broker in brokers:
            say(f"round {number + 1} of {rounds}: {CROWD:,} members join {broker.name}")
            join, rebalances = self.gather(broker)
            self.found[broker.name].joins.append(join)
            self.found[broker.name].rebalances.extend(rebalances)


def measured(brokers: Sequence[Broker], rounds: int) -> dict[str, Found]:
    """Broker -> what was found. The brokers run."""
    bench = Bench(brokers)
    bench.warm()
    for number in range(rounds):
        bench.round(number, rounds)
    for broker in brokers:
        bench.found[broker.name].resident.append(memory_bytes(broker.pid, "VmRSS"))
    say("")
    return bench.found


# Tables

LOAD_COLUMNS = (
    "work", "per CPU-s", "compiled", "Kafka's", "of Kafka's", "compiled, of Kafka's", "requests/s", "compiled, a second", "Kafka's, a second", "load's CPU",
)  # fmt: skip
LOAD_NOTE = f"""Requests per CPU-second of the server, user and system, from /proc/PID/stat; and by the clock. Medians of the rounds; of the ratios, pair by pair, the least and the most too.
{CONNECTIONS} connections with {WINDOW} requests on their way; a commit goes through all of {len(TOPICS) * PARTITIONS:,} partitions, each member in its turn. Compiled: the same models, by Cython.
Load's CPU: what the generator, a process of its own, takes for each CPU-second of our server."""
CROWD_COLUMNS = ("by", f"{CROWD:,} join, s", "CPU-s to join", f"{CROWD:,} rebalance, s", "CPU-s to rebalance", "resident MB", "in the end")
CROWD_NOTE = f"""From the first JoinGroup to the last assignment, each member on a connection of its own. They join in one phase, which lasts until nobody came for {SETTINGS["group.initial.rebalance.delay.ms"]} ms;
a rebalance begins when the leader joins again. Resident: with {len(TOPICS) * PARTITIONS:,} partitions and no group, and in the end."""


def per_second(load: Load) -> float:
    """By the clock."""
    return load.requests / load.wall_s


def per_cpu_second(load: Load) -> float:
    """Of the server."""
    return load.requests / load.broker_cpu_s


def median(loads: Sequence[Load], of: Callable[[Load], float]) -> float | None:
    """Of the rounds, if there were any."""
    return Spread.of([of(one) for one in loads]).median if loads else None


def ratio(loads: Sequence[Load], others: Sequence[Load]) -> Spread | None:
    """How many times as many requests a CPU-second serves, round by round."""
    pairs = [per_cpu_second(a) / per_cpu_second(b) for a, b in zip(loads, others, strict=False)]
    return Spread.of(pairs) if pairs else None


def load_row(work: Work, found: Mapping[str, Found]) -> tuple[Any, ...]:
    """One kind of work."""
    every = [found[kind.name].loads[work.name] if kind.name in found else [] for kind in (Fiducial, CompiledFiducial, ApacheKafka)]
    ours, compiled, kafka = every
    return (
        work.name,
        *(median(loads, per_cpu_second) for loads in every),
        ratio(ours, kafka),
        ratio(compiled, kafka),
        *(median(loads, per_second) for loads in every),
        Spread.of([one.load_cpu_s / one.broker_cpu_s for one in ours]),
    )


def crowd_row(name: str, found: Found) -> tuple[Any, ...]:
    """One broker."""
    times = [Spread.of([getattr(one, what) for one in phases]) for phases in (found.joins, found.rebalances) for what in ("wall_s", "broker_cpu_s")]
    return (name, *times, *(one / 1e6 for one in found.resident))


def tables(found: dict[str, Found], rounds: int) -> list[Table]:
    """The load, and those who join."""
    rows = [load_row(work, found) for work in WORKS]
    return [
        Table(f"Consumer groups under load, {rounds} rounds", LOAD_COLUMNS, rows, LOAD_NOTE),
        Table(f"{CROWD:,} members", CROWD_COLUMNS, [crowd_row(name, one) for name, one in found.items()], CROWD_NOTE),
    ]


def as_data(found: dict[str, Found]) -> dict[str, Any]:
    """Every measurement."""
    return {name: asdict(one) for name, one in found.items()}
