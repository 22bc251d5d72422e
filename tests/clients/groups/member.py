"""A member of a group, in a process of its own: it reads and commits, and writes into its journal what happens to it, until its standard input ends.

    python member.py '{"client": "aiokafka", "bootstrap": …, "group": …, "topic": …, "strategy": "range", "instance": null, "session_ms": 3000,
    "heartbeat_ms": 300, "journal": FILE}'

Three clients, each behind the same few calls. `Member.java` and `kafkajs/member.js` do the same and write the same journal, which `journal.py`
reads.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import struct
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

#: So long a member waits for records at most, and so often it commits.
POLL_S, COMMIT_S = 0.1, 0.2
#: Reconnecting takes no longer than this: the broker may have been killed.
RECONNECT_MS = 200
#: So long it may be away when a member starts.
BOOTSTRAP_MS = 90_000


class Journal:
    """A file of JSON lines. Each is one write, so that a process killed in between leaves whole lines."""

    def __init__(self, path: str) -> None:
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, event: str, **what: Any) -> None:
        """One line; the clock is the machine's, the same for every process."""
        line = {"at": time.monotonic_ns(), "event": event, **what}
        os.write(self.file, json.dumps(line).encode() + b"\n")


class Member:
    """What is the same with every client: what it owns, what it has read and not committed, and the journal."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.topic: str = settings["topic"]
        self.journal = Journal(settings["journal"])
        self.owned: set[int] = set()
        self.pending: dict[int, int] = {}
        self.told_generation = -1

    # Of the client

    def poll(self) -> Iterable[tuple[int, int]]:
        """The records that came, as (partition, offset)."""
        raise NotImplementedError

    def commit(self, offsets: dict[int, int]) -> None:
        """Commit the next offset of each partition; an exception if it is not taken."""
        raise NotImplementedError

    def generation(self) -> int:
        """The generation that the client believes itself in, -1 if in none."""
        raise NotImplementedError

    def close(self) -> None:
        """Leave."""
        raise NotImplementedError

    # Called by the client

    def assigned(self, partitions: Iterable[int]) -> None:
        """Partitions are ours: what was read of them before counts no more."""
        added = sorted(partitions)
        self.forget(added)
        self.owned |= set(added)
        self.told_generation = self.generation()
        self.journal.write("assigned", generation=self.told_generation, partitions=added)

    def revoked(self, partitions: Iterable[int]) -> None:
        """Partitions are to be given up."""
        self.give_up("revoked", partitions)

    def lost(self, partitions: Iterable[int]) -> None:
        """Partitions may be another's by now."""
        self.give_up("lost", partitions)

    def give_up(self, how: str, partitions: Iterable[int]) -> None:
        """They are ours no more."""
        removed = sorted(partitions)
        self.journal.write(how, generation=self.generation(), partitions=removed)
        self.forget(removed)
        self.owned -= set(removed)

    def forget(self, partitions: Iterable[int]) -> None:
        """Do not commit what was read of these."""
        for partition in partitions:
            self.pending.pop(partition, None)

    # The loop

    def live(self, ending: threading.Event) -> None:
        """Read and commit until the end, and leave."""
        commit_at = 0.0
        while not ending.is_set():
            for partition, offset in self.poll():
                self.journal.write("read", generation=self.generation(), partition=partition, offset=offset)
                if partition in self.owned:
                    self.pending[partition] = offset + 1
            self.tell_generation()
            if time.monotonic() >= commit_at:
                self.commit_pending()
                commit_at = time.monotonic() + COMMIT_S
        self.commit_pending()
        self.close()
        self.journal.write("closed")

    def tell_generation(self) -> None:
        """Say so when the generation is another: a member that keeps all it has may not be called."""
        generation = self.generation()
        if generation not in (-1, self.told_generation):
            self.told_generation = generation
            self.journal.write("generation", generation=generation)

    def commit_pending(self) -> None:
        """Commit what was read; what is refused is tried again, unless its partition goes."""
        if not self.pending:
            return
        offsets, generation = dict(self.pending), self.generation()
        self.journal.write("committing", generation=generation, offsets=offsets)
        try:
            self.commit(offsets)
        except Exception as why:
            self.journal.write("refused", generation=generation, offsets=offsets, why=repr(why))
            return
        self.journal.write("committed", generation=generation, offsets=offsets)
        self.pending = {partition: offset for partition, offset in self.pending.items() if offsets.get(partition) != offset}


class Confluent(Member):
    """confluent-kafka. One record at a time: a longer list may hold records of partitions that were revoked while it was gathered."""

    def __init__(self, settings: dict[str, Any]) -> None:
        import confluent_kafka

        super().__init__(settings)
        self.kafka = confluent_kafka
        config = {
            "bootstrap.servers": settings["bootstrap"],
            "group.id": settings["group"],
            "partition.assignment.strategy": settings["strategy"],
            "session.timeout.ms": settings["session_ms"],
            "heartbeat.interval.ms": settings["heartbeat_ms"],
            "reconnect.backoff.max.ms": RECONNECT_MS,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
        if settings["instance"]:
            config["group.instance.id"] = settings["instance"]
        self.consumer = confluent_kafka.Consumer(config)
        called = {
            f"on_{name}": lambda _, partitions, call=call: call(one.partition for one in partitions)
            for name, call in (("assign", self.assigned), ("revoke", self.revoked), ("lost", self.lost))
        }
        self.consumer.subscribe([self.topic], **called)

    def poll(self) -> Iterable[tuple[int, int]]:
        message = self.consumer.poll(POLL_S)
        if message is None:
            return
        error, partition, offset = message.error(), message.partition(), message.offset()
        if error is None and partition is not None and offset is not None:
            yield partition, offset
        elif error is not None and error.fatal():
            raise self.kafka.KafkaException(error)

    def commit(self, offsets: dict[int, int]) -> None:
        wanted = [self.kafka.TopicPartition(self.topic, *one) for one in offsets.items()]
        for done in self.consumer.commit(offsets=wanted, asynchronous=False):
            if done.error:
                raise self.kafka.KafkaException(done.error)

    def generation(self) -> int:
        """It stands behind the magic of the metadata that is handed to a transactional producer; the API has no better way."""
        try:
            metadata = self.consumer.consumer_group_metadata()
        except (RuntimeError, self.kafka.KafkaException):  # it has none to tell while it closes, though partitions are revoked then
            return -1
        (generation,) = struct.unpack_from("=i", metadata, len(b"CGMDv2:"))
        return int(generation)

    def close(self) -> None:
        self.consumer.close()


class KafkaPython(Member):
    """kafka-python. It waits long: if `poll` runs out between the answer to its JoinGroup and that to its SyncGroup, 3.0.12 never looks at the latter,
    and is without partitions or heartbeats from then on.
    """

    POLL_MS = 2000

    def __init__(self, settings: dict[str, Any]) -> None:
        import kafka.errors
        from kafka.coordinator.assignors import cooperative_sticky, range, roundrobin
        from kafka.coordinator.assignors.sticky import sticky_assignor

        super().__init__(settings)
        self.kafka = kafka
        strategies = {
            "range": range.RangePartitionAssignor,
            "roundrobin": roundrobin.RoundRobinPartitionAssignor,
            "sticky": sticky_assignor.StickyPartitionAssignor,
            "cooperative-sticky": cooperative_sticky.CooperativeStickyAssignor,
        }
        self.consumer = kafka.KafkaConsumer(
            bootstrap_servers=settings["bootstrap"],
            group_id=settings["group"],
            group_instance_id=settings["instance"],
            partition_assignment_strategy=[strategies[settings["strategy"]]],
            session_timeout_ms=settings["session_ms"],
            heartbeat_interval_ms=settings["heartbeat_ms"],
            reconnect_backoff_max_ms=RECONNECT_MS,
            bootstrap_timeout_ms=BOOTSTRAP_MS,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        member = self

        class Listener(kafka.ConsumerRebalanceListener):  # type: ignore[misc]
            """Calls us."""

            def on_partitions_assigned(self, assigned: Any) -> None:
                member.assigned(one.partition for one in assigned)

            def on_partitions_revoked(self, revoked: Any) -> None:
                member.revoked(one.partition for one in revoked)

            def on_partitions_lost(self, lost: Any) -> None:
                member.lost(one.partition for one in lost)

        self.consumer.subscribe([self.topic], listener=Listener())

    def poll(self) -> Iterable[tuple[int, int]]:
        try:
            found = self.consumer.poll(self.POLL_MS)
        except self.kafka.errors.KafkaConnectionError:  # what it looks after beside this may find the broker away
            time.sleep(RECONNECT_MS / 1000)
            return
        for records in found.values():
            yield from ((one.partition, one.offset) for one in records)

    def commit(self, offsets: dict[int, int]) -> None:
        wanted = {
            self.kafka.TopicPartition(self.topic, partition): self.kafka.OffsetAndMetadata(offset, "", -1)
            for partition, offset in offsets.items()
        }
        self.consumer.commit(wanted, timeout_ms=5000)

    def generation(self) -> int:
        return int(self.consumer.group_metadata().generation_id)

    def close(self) -> None:
        self.consumer.close()


class Aiokafka(Member):
    """aiokafka, its loop run for as long as each call takes. It tells of what is lost as of what is revoked."""

    def __init__(self, settings: dict[str, Any]) -> None:
        import aiokafka
        from aiokafka.coordinator.assignors import range, roundrobin
        from aiokafka.coordinator.assignors.sticky import sticky_assignor

        super().__init__(settings)
        self.kafka = aiokafka
        strategies = {
            "range": range.RangePartitionAssignor,
            "roundrobin": roundrobin.RoundRobinPartitionAssignor,
            "sticky": sticky_assignor.StickyPartitionAssignor,
        }
        member = self

        class Listener(aiokafka.ConsumerRebalanceListener):  # type: ignore[misc]
            """Calls us."""

            async def on_partitions_assigned(self, assigned: Any) -> None:
                member.assigned(one.partition for one in assigned)

            async def on_partitions_revoked(self, revoked: Any) -> None:
                member.revoked(one.partition for one in revoked)

        async def start() -> None:
            consumer = aiokafka.AIOKafkaConsumer(
                bootstrap_servers=settings["bootstrap"],
                group_id=settings["group"],
                group_instance_id=settings["instance"],
                partition_assignment_strategy=(strategies[settings["strategy"]],),
                session_timeout_ms=settings["session_ms"],
                heartbeat_interval_ms=settings["heartbeat_ms"],
                auto_offset_reset="earliest",
                enable_auto_commit=False,
            )
            self.consumer = consumer  # the listener asks it for the generation
            consumer.subscribe([self.topic], listener=Listener())
            try:
                await consumer.start()
            except aiokafka.errors.KafkaConnectionError:  # it gives up at once if the broker is away when it starts
                await consumer.stop()
                await asyncio.sleep(RECONNECT_MS / 1000)
                await start()

        self.loop = asyncio.new_event_loop()
        self.loop.run_until_complete(start())

    def poll(self) -> Iterable[tuple[int, int]]:
        for records in self.loop.run_until_complete(self.consumer.getmany(timeout_ms=int(POLL_S * 1000))).values():
            yield from ((one.partition, one.offset) for one in records)

    def commit(self, offsets: dict[int, int]) -> None:
        wanted = {self.kafka.TopicPartition(self.topic, partition): offset for partition, offset in offsets.items()}
        self.loop.run_until_complete(asyncio.wait_for(self.consumer.commit(wanted), 5))

    def generation(self) -> int:
        """The API does not tell it."""
        return int(self.consumer._coordinator.generation)

    def close(self) -> None:
        with suppress(asyncio.CancelledError):  # of a fetcher that slept after a failed fetch; the group is left before
            self.loop.run_until_complete(self.consumer.stop())


CLIENTS = {"confluent-kafka": Confluent, "kafka-python": KafkaPython, "aiokafka": Aiokafka}


def main() -> None:
    """One member, for as long as somebody holds the other end of its standard input."""
    settings = json.loads(sys.argv[1])
    logging.basicConfig(level=os.environ.get("MEMBER_LOG", "WARNING"), format="%(asctime)s %(name)s %(message)s")
    ending = threading.Event()

    def wait_for_the_end() -> None:
        while os.read(sys.stdin.fileno(), 1):
            pass
        ending.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    CLIENTS[settings["client"]](settings).live(ending)


if __name__ == "__main__":
    main()
