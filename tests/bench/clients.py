"""Real clients: what a million of their records costs each broker. They are slower than either, so that what they do in a second says little.

librdkafka (confluent-kafka, driven from Python) and Java's own, by the classes ProducerPerformance and ConsumerPerformance of kafka-tools; the same
settings for both brokers: batches of up to 16 KB, which wait for 5 ms, acks=all.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from peers.kafka import java_tool

from bench import load
from bench.brokers import ApacheKafka, Broker, Fiducial, cpu_seconds
from bench.load import Target
from bench.report import Spread, Table, say
from bench.throughput import median, ratios, topic

RECORDS, PARTITIONS = 1_000_000, 4
BATCHING = {"acks": "all", "batch.size": "16384", "linger.ms": "5"}
#: So many messages are taken at once, and waited for at most so long (s).
AT_ONCE, PATIENCE_S = 10_000, 30.0
TOOLS = "org.apache.kafka.tools"


@dataclass(frozen=True)
class Taken:
    """What a client took for its records."""

    wall_s: float
    broker_cpu_s: float


def librdkafka_produces(target: Target) -> None:
    """Round robin, as fast as it can be called."""
    refused: list[Any] = []
    producer = Producer({"bootstrap.servers": address(target), "queue.buffering.max.messages": 200_000, **BATCHING})
    content = bytes(load.VALUE_BYTES)
    for number in range(RECORDS):
        while True:
            try:
                producer.produce(target.topic, content, partition=number % PARTITIONS, on_delivery=lambda error, _: refused.append(error) if error else None)
                break
            except BufferError:
                producer.poll(0.01)
    producer.flush(PATIENCE_S)
    if refused:
        raise KafkaException(refused[0])


def librdkafka_consumes(target: Target) -> None:
    """Every partition from its beginning."""
    consumer = Consumer({"bootstrap.servers": address(target), "group.id": "bench", "enable.auto.commit": "false", "auto.offset.reset": "earliest"})
    consumer.assign([TopicPartition(target.topic, index, 0) for index in range(PARTITIONS)])
    left = RECORDS
    while left > 0:
        messages = consumer.consume(AT_ONCE, PATIENCE_S)
        assert messages and not any(one.error() for one in messages), "nothing more comes"
        left -= len(messages)
    consumer.close()


def java_produces(target: Target) -> None:
    """ProducerPerformance."""
    sizes = ["--num-records", str(RECORDS), "--record-size", str(load.VALUE_BYTES), "--throughput", "-1"]
    tool("ProducerPerformance", target, *sizes, "--command-property", *(f"{name}={text}" for name, text in BATCHING.items()))


def java_consumes(target: Target) -> None:
    """ConsumerPerformance, which joins a group."""
    tool("ConsumerPerformance", target, "--num-records", str(RECORDS), "--timeout", str(int(PATIENCE_S * 1000)))


def tool(name: str, target: Target, *options: str) -> None:
    """Run one of Kafka's."""
    done = java_tool(f"{TOOLS}.{name}", "--bootstrap-server", address(target), "--topic", target.topic, *options, timeout_s=300)
    assert done.returncode == 0 and "WARNING: Exiting before consuming" not in done.stdout, done.stdout + done.stderr


def address(target: Target) -> str:
    """HOST:PORT."""
    return f"{target.broker.host}:{target.broker.port}"


#: Who produces, and who then consumes that.
CLIENTS: dict[str, tuple[Callable[[Target], None], Callable[[Target], None]]] = {
    "librdkafka": (librdkafka_produces, librdkafka_consumes),
    "Java": (java_produces, java_consumes),
}


def timed(target: Target, work: Callable[[Target], None]) -> Taken:
    """What it takes."""
    cpu_s, begun = cpu_seconds(target.broker.pid), time.monotonic()
    work(target)
    return Taken(time.monotonic() - begun, cpu_seconds(target.broker.pid) - cpu_s)


def measured(brokers: Sequence[Broker], rounds: int) -> dict[tuple[str, str], list[Taken]]:
    """(work, broker) -> what it took in each round, after one that does not count. The brokers run."""
    found: dict[tuple[str, str], list[Taken]] = {}
    for number, client in itertools.product(range(rounds + 1), CLIENTS):
        for broker in brokers if number % 2 == 0 else brokers[::-1]:
            say(f"{f'round {number} of {rounds}' if number else 'warming'}: {client}, {broker.name}")
            with topic(broker, f"{client}-{number}", PARTITIONS) as target:
                for what, work in zip(("produces", "consumes"), CLIENTS[client], strict=True):
                    taken = timed(target, work)
                    if number:
                        found.setdefault((f"{client} {what}", broker.name), []).append(taken)
                assert sum(load.end_offsets(target, PARTITIONS)) == RECORDS, "what was acknowledged is not there"
    say("")
    return found


COLUMNS = ("client", "CPU-s per M records", "Kafka's CPU-s", "cheaper by", "M records/s", "Kafka's M records/s")
NOTE = f"""{RECORDS:,} records of {load.VALUE_BYTES} bytes, {PARTITIONS} partitions; CPU-s of the server. By the clock the client's own start counts too, and it is the client who is slow.
Settings of the producers: {", ".join(f"{name}={text}" for name, text in BATCHING.items())}."""


def table(found: dict[tuple[str, str], list[Taken]], rounds: int) -> Table:
    """A row for each client and what it does."""
    rows = []
    for work in dict.fromkeys(work for work, _ in found):
        ours, theirs = (found.get((work, name), []) for name in (Fiducial.name, ApacheKafka.name))
        costs, their_costs = [[one.broker_cpu_s / RECORDS * 1e6 for one in of] for of in (ours, theirs)]
        speeds, their_speeds = [[RECORDS / one.wall_s / 1e6 for one in of] for of in (ours, theirs)]
        rows.append((work, Spread.of(costs), median(their_costs), ratios(their_costs, costs), median(speeds), median(their_speeds)))
    return Table(f"Real clients, {rounds} rounds", COLUMNS, list(rows), NOTE)


def as_data(found: dict[tuple[str, str], list[Taken]]) -> list[dict[str, Any]]:
    """Every measurement."""
    return [{"work": work, "broker": broker, "rounds": [asdict(one) for one in of]} for (work, broker), of in found.items()]
