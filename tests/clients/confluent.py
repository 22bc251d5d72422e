"""confluent-kafka: librdkafka from Python."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from clients.client import PATIENCE_S, Client, ClientError, Delivery, Fetched, Record

#: So many messages may wait in the producer; beyond that it is given time to send.
QUEUED_MAX = 100_000


class Confluent(Client):
    """Every call makes the client that it needs, and holds it until it has its answer."""

    name = "confluent-kafka"

    def __init__(self, bootstrap: str, security: Mapping[str, Any] | None = None) -> None:
        super().__init__(bootstrap, security)
        self.config: dict[str, Any] = {"bootstrap.servers": bootstrap, **self.security}

    def create_topic(self, topic: str, partitions: int, configs: Mapping[str, str]) -> None:
        admin = AdminClient(self.config)
        (created,) = admin.create_topics([NewTopic(topic, partitions, config=dict(configs))]).values()
        created.result(PATIENCE_S)

    def produce(
        self, topic: str, partition: int, records: Sequence[Record], compression: str, delivery: Delivery
    ) -> list[int]:
        told: list[Any] = []

        def delivered(error: Any, message: Message) -> None:
            if error is not None:
                raise KafkaException(error)
            told.append(message.offset())

        settings = {
            "acks": delivery.acks,
            "enable.idempotence": delivery.is_idempotent,
            "compression.type": compression,
            "linger.ms": 50,
        }
        producer = Producer(self.config | settings)
        for record in records:
            headers: list[Any] = list(record.headers)
            producer.produce(topic, record.value, record.key, partition, on_delivery=delivered, headers=headers)
        flush(producer)
        return told

    def fetch(self, topic: str, partition: int, offset: int, count: int) -> list[Fetched]:
        return [
            Fetched(
                message.offset(),
                message.timestamp()[1],
                Record(message.value(), message.key(), tuple(message.headers() or ())),
            )
            for message in self.messages(topic, partition, offset, count)
        ]

    def messages(self, topic: str, partition: int, offset: int, count: int) -> Iterator[Any]:
        """`count` messages from `offset` on."""
        give_up, missing = time.monotonic() + PATIENCE_S, count
        with closing(self.consumer()) as consumer:
            consumer.assign([TopicPartition(topic, partition, offset)])
            while missing:
                if time.monotonic() > give_up:
                    raise ClientError(f"{missing} of {count} records did not come")
                for message in consumer.consume(min(missing, 10_000), timeout=0.1):
                    if message.error():
                        raise KafkaException(message.error())
                    missing -= 1
                    yield message

    def consumer(self) -> Consumer:
        """librdkafka wants a group's name, though no group is joined."""
        return Consumer(self.config | {"group.id": "none", "enable.auto.commit": False, "auto.offset.reset": "error"})

    def offset_at(self, topic: str, partition: int, timestamp_ms: int) -> int | None:
        with closing(self.consumer()) as consumer:
            (found,) = consumer.offsets_for_times([TopicPartition(topic, partition, timestamp_ms)], PATIENCE_S)
        return found.offset if found.offset >= 0 else None

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        with closing(self.consumer()) as consumer:
            first, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), PATIENCE_S, cached=False)
        return first, end

    def delete_records(self, topic: str, partition: int, below: int) -> int:
        admin = AdminClient(self.config)
        (deleted,) = admin.delete_records([TopicPartition(topic, partition, below)]).values()
        return int(deleted.result(PATIENCE_S).low_watermark)

    def describe(self, topic: str) -> Mapping[str, str | None]:
        admin = AdminClient(self.config)
        (described,) = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]).values()
        return {name: entry.value for name, entry in described.result(PATIENCE_S).items()}

    def alter(self, topic: str, name: str, value: str) -> None:
        entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        admin = AdminClient(self.config)
        (altered,) = admin.incremental_alter_configs([resource]).values()
        altered.result(PATIENCE_S)

    def produce_lines(self, topic: str, file: Path, compression: str, *, is_idempotent: bool = False) -> None:
        settings = {
            "compression.type": compression,
            "enable.idempotence": is_idempotent,
            "linger.ms": 50,
            "queue.buffering.max.messages": 2 * QUEUED_MAX,
        }
        producer = Producer(self.config | settings)
        with file.open("rb") as lines:
            for line in lines:
                if len(producer) > QUEUED_MAX:
                    producer.poll(0.1)
                producer.produce(topic, line.removesuffix(b"\n"), partition=0)
        flush(producer)

    def fetch_lines(self, topic: str, count: int, file: Path) -> None:
        with file.open("wb") as lines:
            for message in self.messages(topic, 0, OFFSET_BEGINNING, count):
                lines.write(message.value() + b"\n")


def flush(producer: Producer) -> None:
    """Send everything."""
    if producer.flush(PATIENCE_S):
        raise ClientError(f"{len(producer)} records were not sent")
