"""What a broker needs when nothing happens: how long it takes to its first acknowledgement, and its memory, by how many partitions it has.

Each partition holds one batch. A start is timed from `exec` to the acknowledgement of a batch that a client tries to hand over all the while,
on a data folder that was left in good order.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from bench import load
from bench.brokers import Broker, cpu_seconds, create_topic, resident_bytes
from bench.load import Connection, Target
from bench.report import Spread, Table, say

#: How many partitions, and how often each is started.
CASES = ((1, 7), (1_000, 3), (10_000, 3))
PARTITIONS_OF_A_TOPIC = 1_000
#: How long nothing happens before the memory is looked at; and how often is tried to connect (s).
IDLE_S, RETRY_S = 3.0, 0.001
COLUMNS = ("partitions", "by", "start to first ack, s", "CPU-s of that", "resident MB", "bytes a partition")
NOTE = f"""Medians of the starts, the least and the most; memory {IDLE_S:g} s after the last one. Bytes a partition: what there is more of it than with one partition."""


def filled(broker: Broker, partitions: int) -> bytes:
    """A request that appends to one of so many partitions, which all have a batch now."""
    data = load.records_of(1)
    first = b""
    for begin in range(0, partitions, PARTITIONS_OF_A_TOPIC):
        count = min(PARTITIONS_OF_A_TOPIC, partitions - begin)
        topic_id = create_topic(broker, f"topic-{begin}", count)
        connection = Connection(Target(broker.host, broker.port, broker.pid, topic_id))
        with connection.socket:
            for index in range(count):
                connection.produce(load.produce_frame(topic_id, {index: data}, acks=1))
        first = first or load.produce_frame(topic_id, {0: data}, acks=1)
    return first


def started(broker: Broker, frame: bytes) -> tuple[float, float]:
    """Seconds from `exec` to the first acknowledgement, and CPU-seconds."""
    begun = time.monotonic()
    broker.spawn()
    while True:
        try:
            connection = Connection(Target(broker.host, broker.port, broker.pid, b""))
        except ConnectionRefusedError:
            time.sleep(RETRY_S)
            continue
        with connection.socket:
            connection.produce(frame)
            return time.monotonic() - begun, cpu_seconds(broker.pid)


def measured(broker: Broker, partitions: int, starts: int) -> dict[str, Any]:
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
        resident = resident_bytes(broker.pid)
    finally:
        broker.remove()
        say("")
    return {"by": broker.name, "partitions": partitions, "starts": rounds, "resident_bytes": resident}


def table(found: Sequence[dict[str, Any]]) -> Table:
    """A row for each case."""
    alone = {one["by"]: one["resident_bytes"] for one in found if one["partitions"] == 1}
    rows = [
        (
            one["partitions"],
            one["by"],
            Spread.of([wall_s for wall_s, _ in one["starts"]]),
            Spread.of([cpu_s for _, cpu_s in one["starts"]]),
            one["resident_bytes"] / 1e6,
            round((one["resident_bytes"] - alone[one["by"]]) / (one["partitions"] - 1)) if one["partitions"] > 1 else None,
        )
        for one in found
    ]
    return Table("Start and memory", COLUMNS, rows, NOTE)
