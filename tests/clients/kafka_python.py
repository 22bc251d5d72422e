"""kafka-python: pure Python, with threads."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic

from clients.client import BATCH_BYTES, PATIENCE_S, Client, ClientError, Delivery, Fetched, Record


class KafkaPython(Client):
    """Every call makes the client that it needs."""

    name = "kafka-python"

    def admin(self) -> Any:
        """A client for administration."""
        return closing(KafkaAdminClient(bootstrap_servers=self.bootstrap, **self.security))

    def create_topic(self, topic: str, partitions: int, configs: Mapping[str, str]) -> None:
        with self.admin() as admin:
            admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=dict(configs))])

    def produce(
        self, topic: str, partition: int, records: Sequence[Record], compression: str, delivery: Delivery
    ) -> list[int]:
        producer = KafkaProducer(
            bootstrap_servers=self.bootstrap,
            **self.security,
            acks=delivery.acks if delivery.acks == "all" else int(delivery.acks),
            enable_idempotence=delivery.is_idempotent,
            compression_type=named(compression),
            linger_ms=50,
        )
        with closing(producer):
            sent = [
                producer.send(topic, one.value, one.key, headers=list(one.headers), partition=partition)
                for one in records
            ]
            return [future.get(PATIENCE_S).offset for future in sent]

    def consumer(self) -> Any:
        """A consumer in no group."""
        return closing(KafkaConsumer(bootstrap_servers=self.bootstrap, **self.security, auto_offset_reset="none"))

    def messages(self, topic: str, partition: int, offset: int | None, count: int) -> Iterator[Any]:
        """`count` messages from `offset`, or the beginning, on."""
        here, give_up = TopicPartition(topic, partition), time.monotonic() + PATIENCE_S
        with self.consumer() as consumer:
            consumer.assign([here])
            if offset is None:
                consumer.seek_to_beginning(here)
            else:
                consumer.seek(here, offset)
            while count:
                if time.monotonic() > give_up:
                    raise ClientError(f"{count} records more did not come")
                for message in consumer.poll(100, max_records=count).get(here, ()):
                    count -= 1
                    yield message

    def fetch(self, topic: str, partition: int, offset: int, count: int) -> list[Fetched]:
        return [
            Fetched(one.offset, one.timestamp, Record(one.value, one.key, tuple(one.headers)))
            for one in self.messages(topic, partition, offset, count)
        ]

    def offset_at(self, topic: str, partition: int, timestamp_ms: int) -> int | None:
        here = TopicPartition(topic, partition)
        with self.consumer() as consumer:
            found = consumer.offsets_for_times({here: timestamp_ms})[here]
        return None if found is None else found.offset

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        here = TopicPartition(topic, partition)
        with self.consumer() as consumer:
            return consumer.beginning_offsets([here])[here], consumer.end_offsets([here])[here]

    def delete_records(self, topic: str, partition: int, below: int) -> int:
        here = TopicPartition(topic, partition)
        with self.admin() as admin:
            return int(admin.delete_records({here: below})[here]["low_watermark"])

    def describe(self, topic: str) -> Mapping[str, str | None]:
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        with self.admin() as admin:
            described = admin.describe_configs([resource], config_filter="all")["topic"][topic]
        return {name: config["value"] for name, config in described.items()}

    def alter(self, topic: str, name: str, value: str) -> None:
        with self.admin() as admin:
            admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {name: value})])

    def produce_lines(self, topic: str, file: Path, compression: str, *, is_idempotent: bool = False) -> None:
        producer = KafkaProducer(
            bootstrap_servers=self.bootstrap,
            **self.security,
            enable_idempotence=is_idempotent,
            compression_type=named(compression),
            linger_ms=50,
            batch_size=BATCH_BYTES,
        )
        with closing(producer), file.open("rb") as lines:
            for line in lines:
                producer.send(topic, line.removesuffix(b"\n"), partition=0)
            producer.flush(PATIENCE_S)

    def fetch_lines(self, topic: str, count: int, file: Path) -> None:
        with file.open("wb") as lines:
            for message in self.messages(topic, 0, None, count):
                lines.write(message.value + b"\n")


def named(compression: str) -> str | None:
    """The compression as this client calls it."""
    return None if compression == "none" else compression
