"""aiokafka: an asyncio client; a loop for each thing asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code

from clients.client import BATCH_BYTES, PATIENCE_S, Client, Delivery, Fetched, Record

Result = TypeVar("Result")


class Aiokafka(Client):
    """Every call makes the client that it needs."""

    name = "aiokafka"

    def create_topic(self, topic: str, partitions: int, configs: Mapping[str, str]) -> None:
        async def create() -> None:
            async with self.admin() as admin:
                response = await admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=dict(configs))])
            check(code for _, code, _ in response.topic_errors)

        finished(create())

    def produce(
        self, topic: str, partition: int, records: Sequence[Record], compression: str, delivery: Delivery
    ) -> list[int]:
        async def produce() -> list[int]:
            async with AIOKafkaProducer(
                bootstrap_servers=self.bootstrap,
                **self.security,
                acks=delivery.acks if delivery.acks == "all" else int(delivery.acks),
                enable_idempotence=delivery.is_idempotent,
                compression_type=named(compression),
                linger_ms=50,
            ) as producer:
                sent = [
                    await producer.send(topic, one.value, one.key, partition, headers=list(one.headers))
                    for one in records
                ]
                return [one.offset for one in await asyncio.gather(*sent) if one is not None]

        return finished(produce())

    def consumer(self) -> Any:
        """A consumer in no group."""
        return AIOKafkaConsumer(bootstrap_servers=self.bootstrap, **self.security, auto_offset_reset="none")

    async def messages(self, topic: str, partition: int, offset: int | None, count: int) -> AsyncIterator[Any]:
        """`count` messages from `offset`, or the beginning, on."""
        here = TopicPartition(topic, partition)
        async with self.consumer() as consumer:
            consumer.assign([here])
            if offset is None:
                await consumer.seek_to_beginning(here)
            else:
                consumer.seek(here, offset)
            while count:
                for message in (await consumer.getmany(timeout_ms=100, max_records=count)).get(here, ()):
                    count -= 1
                    yield message

    def fetch(self, topic: str, partition: int, offset: int, count: int) -> list[Fetched]:
        async def fetch() -> list[Fetched]:
            return [
                Fetched(one.offset, one.timestamp, Record(one.value, one.key, tuple(one.headers)))
                async for one in self.messages(topic, partition, offset, count)
            ]

        return finished(fetch())

    def offset_at(self, topic: str, partition: int, timestamp_ms: int) -> int | None:
        here = TopicPartition(topic, partition)

        async def look_up() -> int | None:
            async with self.consumer() as consumer:
                found = (await consumer.offsets_for_times({here: timestamp_ms}))[here]
            return None if found is None else found.offset

        return finished(look_up())

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        here = TopicPartition(topic, partition)

        async def look_up() -> tuple[int, int]:
            async with self.consumer() as consumer:
                first, end = await consumer.beginning_offsets([here]), await consumer.end_offsets([here])
            return first[here], end[here]

        return finished(look_up())

    def admin(self) -> Any:
        """A client for administration."""
        return Admin(bootstrap_servers=self.bootstrap, **self.security)

    def delete_records(self, topic: str, partition: int, below: int) -> int:
        here = TopicPartition(topic, partition)

        async def delete() -> int:
            async with self.admin() as admin:
                return int((await admin.delete_records({here: RecordsToDelete(below)}))[here])

        return finished(delete())

    def describe(self, topic: str) -> Mapping[str, str | None]:
        async def describe() -> Mapping[str, str | None]:
            async with self.admin() as admin:
                (response,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
            ((code, _, _, _, entries),) = response.resources
            check([code])
            return {name: text for name, text, *_ in entries}

        return finished(describe())

    def alter(self, topic: str, name: str, value: str) -> None:
        async def alter() -> None:
            async with self.admin() as admin:
                (response,) = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {name: value})])
            check(code for code, *_ in response.resources)

        finished(alter())

    def produce_lines(self, topic: str, file: Path, compression: str, *, is_idempotent: bool = False) -> None:
        async def produce() -> None:
            async with AIOKafkaProducer(
                bootstrap_servers=self.bootstrap,
                **self.security,
                enable_idempotence=is_idempotent,
                compression_type=named(compression),
                linger_ms=50,
                max_batch_size=BATCH_BYTES,
            ) as producer:
                with file.open("rb") as lines:
                    for line in lines:
                        await producer.send(topic, line.removesuffix(b"\n"), partition=0)
                await producer.flush()

        finished(produce())

    def fetch_lines(self, topic: str, count: int, file: Path) -> None:
        async def fetch() -> None:
            with file.open("wb") as lines:
                async for message in self.messages(topic, 0, None, count):
                    lines.write(message.value + b"\n")

        finished(fetch())


class Admin(AIOKafkaAdminClient):  # type: ignore[misc]
    """aiokafka's, which is no context manager of its own."""

    async def __aenter__(self) -> Admin:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def finished(asked: Coroutine[Any, Any, Result]) -> Result:
    """Run to the end, within the time that there is."""
    return asyncio.run(asyncio.wait_for(asked, PATIENCE_S))


def check(codes: Iterable[int]) -> None:
    """The admin client answers with codes and does not raise them."""
    for code in codes:
        if code:
            raise for_code(code)


def named(compression: str) -> str | None:
    """The compression as this client calls it."""
    return None if compression == "none" else compression
