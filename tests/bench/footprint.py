"""What a broker needs when nothing happens: how long it takes to its first acknowledgement, and its memory, by how many partitions and clients it has.

Each partition holds one batch. A start is timed from `exec` to the acknowledgement of a batch that a client tries to hand over all the while,
on a data folder that was left in good order.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

from peers.kafka import API_VERSIONS

from bench import load
from bench.brokers import Broker, Fiducial, cpu_seconds, create_topic, memory_bytes
from bench.goals import Goal, Judged
from bench.load import Connection
from bench.profile import memory
from bench.report import Spread, Table, say
from bench.throughput import topic

#: How many partitions, and how often each is started.
CASES = ((1, 11), (1_000, 3), (10_000, 3))
PARTITIONS_OF_A_TOPIC = 1_000
#: How long nothing happens before the memory is looked at; and how often is tried to connect (s).
IDLE_S, RETRY_S = 3.0, 0.001
#: Clients that say who they are, and nothing else; and connections that then load the broker, with batches of 16 KB, for so long (s).
CLIENTS, LOADED_CONNECTIONS, LOADED_RECORDS, LOADED_S = 10_000, 64, 150, 2.0
START_S, IDLE_MB, CLIENTS_MB = 0.15, 30, 20
COLUMNS = ("partitions", "by", "start to first ack, s", "goal", "CPU-s of that", "resident MB", "goal of that", "of its own MB", "bytes a partition")
NOTE = f"""Medians of the starts, the least and the most; memory {IDLE_S:g} s after the last one: RSS, and PSS (of its own). Bytes a partition: what there is more of it than with one partition."""
CLIENTS_COLUMNS = ("by", f"{CLIENTS:,} idle clients, MB", "goal", "bytes a client", "at most under load, MB")
CLIENTS_NOTE = f"""What is resident more with {CLIENTS:,} connections that have asked for ApiVersions. At most: since the start, with {LOADED_CONNECTIONS} connections that produce batches of 16 KB."""


@dataclass(frozen=True)
class Footprint:
    """Of each start the seconds and the CPU-seconds; then the memory, idle, what many clients add, and at most under load (bytes)."""

    by: str
    partitions: int
    starts: list[tuple[float, float]]
    resident_bytes: int
    own_bytes: int
    mapped: Table
    clients_bytes: int | None = None
    most_bytes: int | None = None


def filled(broker: Broker, partitions: int) -> bytes:
    """A request that appends to one of so many partitions, which all have a batch now."""
    data = load.records_of(1)
    first = b""
    for begin in range(0, partitions, PARTITIONS_OF_A_TOPIC):
        count = min(PARTITIONS_OF_A_TOPIC, partitions - begin)
        topic_id = create_topic(broker, f"topic-{begin}", count)
        connection = Connection(broker)
        with connection.socket:
            for index in range(count):
                connection.produce(load.produce_frame(topic_id, {index: data}))
        first = first or load.produce_frame(topic_id, {0: data})
    return first


def started(broker: Broker, frame: bytes) -> tuple[float, float]:
    """Seconds from `exec` to the first acknowledgement, and CPU-seconds."""
    begun = time.monotonic()
    broker.spawn()
    while True:
        try:
            connection = Connection(broker)
        except ConnectionRefusedError:
            time.sleep(RETRY_S)
            continue
        with connection.socket:
            connection.produce(frame)
            return time.monotonic() - begun, cpu_seconds(broker.pid)


def measured(broker: Broker, partitions: int, starts: int) -> Footprint:
    """One case; the broker is new, and is gone in the end."""
    try:
        say(f"{broker.name}: making {partitions:,} partitions")
        broker.begin()
        frame = filled(broker, partitions)
        rounds = []
        for number in range(starts):
            broker.shut_down()
            say(f"{broker.name}: start {number + 1} of {starts} with {partitions:,} partitions")
            rounds.append(started(broker, frame))
        time.sleep(IDLE_S)
        idle = memory_bytes(broker.pid, "VmRSS"), memory_bytes(broker.pid, "Pss"), memory(broker.pid)
        if partitions > 1:
            return Footprint(broker.name, partitions, rounds, *idle)
        most = loaded(broker)
        broker.shut_down()
        started(broker, frame)
        return Footprint(broker.name, partitions, rounds, *idle, clients_bytes(broker), most)
    finally:
        broker.remove()
        say("")


def clients_bytes(broker: Broker) -> int:
    """How much more memory it has with many clients, each of which has asked something once."""
    say(f"{broker.name}: {CLIENTS:,} clients")
    time.sleep(IDLE_S)
    before = memory_bytes(broker.pid, "VmRSS")
    with ExitStack() as stack:
        for _ in range(CLIENTS):
            connection = Connection(broker)
            stack.enter_context(connection.socket)
            connection.ask(API_VERSIONS)
        time.sleep(IDLE_S)
        return memory_bytes(broker.pid, "VmRSS") - before


def loaded(broker: Broker) -> int:
    """The memory at most, once it was under load."""
    say(f"{broker.name}: its memory under load")
    with topic(broker, "loaded", LOADED_CONNECTIONS) as target:
        lanes = [load.produce_lane(target, index, LOADED_RECORDS) for index in range(LOADED_CONNECTIONS)]
        load.produced(target, lanes, LOADED_RECORDS, LOADED_S)
        return memory_bytes(broker.pid, "VmHWM")


def judged(one: Footprint) -> dict[str, Judged]:
    """Its goals: what we need with one partition."""
    if one.by != Fiducial.name or one.partitions > 1 or one.clients_bytes is None:
        return {}
    start_s = Spread.of([wall_s for wall_s, _ in one.starts]).median
    return {
        "start": Judged(Goal("start to first ack, s", START_S, is_least=False), start_s),
        "idle": Judged(Goal("idle memory, MB", IDLE_MB, is_least=False), one.resident_bytes / 1e6),
        "clients": Judged(Goal(f"{CLIENTS:,} idle clients, MB", CLIENTS_MB, is_least=False), one.clients_bytes / 1e6),
    }


def said(one: Footprint, goal: str) -> str:
    """A goal of this case, if it has it."""
    return str(judged(one).get(goal, ""))


def tables(found: Sequence[Footprint]) -> list[Table]:
    """A row for each case."""
    alone = {one.by: one.resident_bytes for one in found if one.partitions == 1}
    rows = [
        (
            one.partitions,
            one.by,
            Spread.of([wall_s for wall_s, _ in one.starts]),
            said(one, "start"),
            Spread.of([cpu_s for _, cpu_s in one.starts]),
            one.resident_bytes / 1e6,
            said(one, "idle"),
            one.own_bytes / 1e6,
            round((one.resident_bytes - alone[one.by]) / (one.partitions - 1)) if one.partitions > 1 else None,
        )
        for one in found
    ]
    clients = [
        (one.by, one.clients_bytes / 1e6, said(one, "clients"), round(one.clients_bytes / CLIENTS), one.most_bytes / 1e6)
        for one in found
        if one.clients_bytes is not None and one.most_bytes is not None
    ]
    return [Table("Start and memory", COLUMNS, rows, NOTE), Table("Clients, and load", CLIENTS_COLUMNS, list(clients), CLIENTS_NOTE)]


def as_data(found: Sequence[Footprint]) -> list[dict[str, Any]]:
    """Every measurement."""
    return [{**asdict(one), "mapped": one.mapped.as_data()["rows"]} for one in found]
