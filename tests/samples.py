"""Batches and partitions for tests, with a default for everything that the test is not about."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from fiducial.models import partition
from fiducial.models.batches import Payload, Record, SentBatch, SentRecords
from fiducial.models.broker import new_broker, step
from fiducial.models.errors import Error
from fiducial.models.events import Close, Effect, Event, Reply, Request
from fiducial.models.flaws import rung_removed
from fiducial.models.log import LogConfig
from fiducial.models.messages import (
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
    FetchPartition,
    FetchRequest,
    FetchTopic,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsRequestAlterableConfig,
    IncrementalAlterConfigsRequestAlterConfigsResource,
    PartitionProduceData,
    ProduceRequest,
    TopicProduceData,
)
from fiducial.models.partition import Appended, Outcome, Partition, Produce
from fiducial.models.rules import LADDERS
from fiducial.models.settings import parse
from fiducial.models.state import Cluster
from fiducial.models.values import value

NOW = 1_000_000


@value
class Token:
    """A payload without bytes; rebuilt it has `rebuilt_bytes`."""

    name: str = "batch"
    rebuilt_bytes: int = 80

    def rebuilt(self, codec: int, level: int) -> tuple[Payload, int]:
        return Token(f"{self.name} in codec {codec} at {level}", self.rebuilt_bytes), self.rebuilt_bytes


def batch(count: int = 1, *, timestamps: Sequence[int] = (NOW,), **fields: Any) -> SentBatch:
    """A sound batch of `count` records; `fields` override what the test is about."""
    records = tuple(Record(index, timestamps[index % len(timestamps)]) for index in range(count))
    sound: dict[str, Any] = {
        "size_bytes": 100,
        "base_offset": 0,
        "magic": 2,
        "crc_is_good": True,
        "attributes": 0,
        "last_offset_delta": count - 1,
        "max_timestamp": max((record.timestamp for record in records), default=-1),
        "producer_id": -1,
        "producer_epoch": -1,
        "base_sequence": -1,
        "count": count,
        "records": records,
        "payload": Token(),
    }
    return SentBatch(**(sound | fields))


def idempotent(sequence: int, count: int = 1, *, producer: int = 7, epoch: int = 0, **fields: Any) -> SentBatch:
    """A sound batch of an idempotent producer."""
    return batch(count, producer_id=producer, producer_epoch=epoch, base_sequence=sequence, **fields)


def sent(*batches: SentBatch) -> SentRecords:
    """The records field of a Produce request."""
    return SentRecords(batches)


def empty(**config: Any) -> Partition:
    """An empty partition."""
    return partition.new_partition(LogConfig(**config), NOW)


def produced(here: Partition, *batches: SentBatch, now: int = NOW, committed: bool = True) -> Partition:
    """The partition after these appends, all of which must succeed; the high watermark follows if they are committed."""
    for one in batches:
        here, outcome = partition.step(here, Produce(one), now)
        assert isinstance(outcome, Appended), outcome
    if committed:
        here, _ = partition.step(here, partition.AdvanceHighWatermark(here.log.end), now)
    return here


def outcome_of(here: Partition, event: partition.Event | SentBatch, now: int = NOW) -> Outcome:
    """What comes of one event; a batch stands for its Produce."""
    return partition.step(here, Produce(event) if isinstance(event, SentBatch) else event, now)[1]


def after(here: Partition, *events: partition.Event | SentBatch, now: int = NOW) -> Partition:
    """The partition after these events, whatever comes of them."""
    for event in events:
        here, _ = partition.step(here, Produce(event) if isinstance(event, SentBatch) else event, now)
    return here


# Brokers


class Bench:
    """A broker in the hand: requests go in one after another, replies come out; time stands still unless moved."""

    def __init__(self, *topics: str, partitions: int = 1, settings: dict[str, str] | None = None, **config: str) -> None:
        cluster = Cluster("fiducialfiducialfiduci", 1, "127.0.0.1", 9092)
        self.broker = new_broker(cluster, parse(settings or {}), seed=1)
        self.now = NOW
        self.tickets = 0
        self.effects: tuple[Effect, ...] = ()
        for name in topics:
            self.create(name, partitions, **config)

    def send(self, body: Any, version: int, *, client_id: str | None = "test", connection: int = 1) -> Reply | Close | None:
        """The reply to one request, None while it waits. Its other effects are in `effects`."""
        self.tickets += 1
        request = Request(self.tickets, connection, client_id, version, body)
        self.broker, self.effects = step(self.broker, request, self.now)
        return self.reply_to(self.tickets)

    def ask(self, body: Any, version: int, *, client_id: str | None = "test") -> Any:
        """The body of the reply to a request that is answered at once."""
        reply = self.send(body, version, client_id=client_id)
        assert isinstance(reply, Reply), reply
        return reply.body

    def refused(self, body: Any, version: int) -> tuple[str, ...]:
        """The rules that refuse something in a request that is answered at once."""
        reply = self.send(body, version)
        assert isinstance(reply, Reply), reply
        return reply.rules

    def happens(self, event: Event) -> None:
        """Some other event."""
        self.broker, self.effects = step(self.broker, event, self.now)

    def reply_to(self, ticket: int) -> Reply | Close | None:
        """The answer to `ticket` among the effects of the last event."""
        for effect in self.effects:
            if isinstance(effect, Reply | Close) and effect.ticket == ticket:
                return effect
        return None

    def create(self, name: str, partitions: int = 1, **config: str) -> None:
        """Create a topic; configuration names with _ for dots."""
        configs = tuple(CreatableTopicConfig(key.replace("_", "."), text) for key, text in config.items())
        topic = CreatableTopic(name, partitions, 1, configs=configs)
        (result,) = self.ask(CreateTopicsRequest((topic,), 60_000, False), 7).topics
        assert result.error_code == 0, result

    def id_of(self, name: str) -> bytes:
        """The id of a topic."""
        return self.broker.topics.by_name[name].topic_id

    def partition(self, name: str, index: int = 0) -> Partition:
        """The state of one partition."""
        return self.broker.partitions[self.id_of(name), index]

    def produce(self, name: str, *batches: SentBatch, index: int = 0) -> None:
        """Append batches, each of which must succeed."""
        for one in batches:
            reply = self.ask(produce_request({(name, index): sent(one)}), 12)
            assert reply.responses[0].partition_responses[0].error_code == 0, reply


def falls_through(refusal: Callable[[], tuple[tuple[str, ...], int]], *expected: tuple[str, Error]) -> None:
    """Each rule of `expected` refuses, with its error, what `refusal` asks: once its rung is taken out, the next one does."""
    with ExitStack() as taken_out:
        for rule, error in expected:
            assert refusal() == ((rule,), error)
            for ladder in LADDERS.values():
                for rung in ladder.rungs:
                    if rung.rule == rule:
                        taken_out.enter_context(rung_removed(ladder, rung))


def produce_request(
    records: Mapping[tuple[str, int], SentRecords | None], *, acks: int = -1, transactional_id: str | None = None
) -> ProduceRequest:
    """A Produce request (by topic name) with an entry for each partition."""
    topics = tuple(
        TopicProduceData(name, partition_data=(PartitionProduceData(index, one),)) for (name, index), one in records.items()
    )
    return ProduceRequest(transactional_id, acks, 1000, topics)


def alter_request(kind: int, name: str, *operations: tuple[str, int, str | None]) -> IncrementalAlterConfigsRequest:
    """An IncrementalAlterConfigs request for one resource, with (configuration, operation, value) entries."""
    changes = tuple(IncrementalAlterConfigsRequestAlterableConfig(*operation) for operation in operations)
    return IncrementalAlterConfigsRequest((IncrementalAlterConfigsRequestAlterConfigsResource(kind, name, changes),), False)


def fetch_request(
    wanted: Sequence[tuple[str, int, int]], *, session: tuple[int, int] = (0, -1), partition_max_bytes: int = 10_000, **fields: Any
) -> FetchRequest:
    """A Fetch request (by topic name) for (topic, partition, offset) entries; without a session unless one is given."""
    topics = tuple(
        FetchTopic(name, partitions=(FetchPartition(index, fetch_offset=offset, partition_max_bytes=partition_max_bytes),))
        for name, index, offset in wanted
    )
    sound: dict[str, Any] = {
        "max_wait_ms": 0,
        "min_bytes": 1,
        "max_bytes": 1_000_000,
        "session_id": session[0],
        "session_epoch": session[1],
        "topics": topics,
    }
    return FetchRequest(**(sound | fields))
