"""Worked traces: short stories that the model tells when it is run, for the opening pages of `spec/`.

A story is written as steps in words with the event beside each; what comes of a step is not written but computed. So a trace on a page is
never what somebody believed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fiducial.models import apis
from fiducial.models import broker as broker_model
from fiducial.models import partition as partition_model
from fiducial.models.batches import Payload, Record, SentBatch, SentRecords
from fiducial.models.errors import Error
from fiducial.models.events import Effect, Reply, Request, SetTimer, Timer
from fiducial.models.log import Found, LogConfig
from fiducial.models.messages import (
    ApiVersionsRequest,
    ApiVersionsResponse,
    CreatableTopic,
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreatePartitionsTopic,
    CreateTopicsRequest,
    CreateTopicsResponse,
    DeleteTopicsRequest,
    DeleteTopicsResponse,
    DeleteTopicState,
    FetchPartition,
    FetchRequest,
    FetchResponse,
    FetchTopic,
    MetadataRequest,
    MetadataRequestTopic,
    MetadataResponse,
    PartitionProduceData,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
)
from fiducial.models.partition import (
    AdvanceHighWatermark,
    Appended,
    DeleteRecords,
    Done,
    Duplicate,
    EpochEnd,
    Event,
    Fetch,
    LookUp,
    Moved,
    Outcome,
    Partition,
    Produce,
    Read,
    Refused,
)
from fiducial.models.settings import Settings
from fiducial.models.state import Broker, Cluster
from fiducial.models.values import ZERO_UUID, Uuid, value

NOON_MS = 43_200_000
RECORD_BYTES = 20


@value
class NoBytes:
    """The payload of a story's batch: nobody reads it."""

    def rebuilt(self, codec: int, level: int) -> tuple[Payload, int]:
        """The same, and no size that matters."""
        return self, 0


def batch(count: int, *, producer: tuple[int, int, int] = (-1, -1, -1), crc_is_good: bool = True) -> SentBatch:
    """A batch of `count` records; `producer` is its id, epoch and base sequence."""
    records = tuple(Record(index, NOON_MS) for index in range(count))
    size_bytes = 61 + RECORD_BYTES * count
    return SentBatch(size_bytes, 0, 2, crc_is_good, 0, count - 1, NOON_MS, *producer, count, records, NoBytes())


# Stories of one partition


@value
class Told:
    """One line of a trace."""

    step: str
    outcome: str
    state: str


#: Name -> the lines of the trace, and what the columns are called.
TRACES: dict[str, Callable[[], tuple[Told, ...]]] = {}


def trace(name: str) -> Callable[[Callable[[], tuple[Told, ...]]], Callable[[], tuple[Told, ...]]]:
    """Register a story under the name that its page calls it by."""

    def register(story: Callable[[], tuple[Told, ...]]) -> Callable[[], tuple[Told, ...]]:
        TRACES[name] = story
        return story

    return register


def told(steps: Iterable[tuple[str, Event]], shown: Callable[[Partition], str]) -> tuple[Told, ...]:
    """The story of one partition, begun empty."""
    here = partition_model.new_partition(LogConfig(), NOON_MS)
    lines: list[Told] = []
    for words, event in steps:
        here, outcome = partition_model.step(here, event, NOON_MS)
        lines.append(Told(words, in_words(outcome), shown(here)))
    return tuple(lines)


def in_words(outcome: Outcome) -> str:
    """An outcome as a person would say it."""
    match outcome:
        case Appended(base_offset, plan):
            return f"offsets {base_offset} to {base_offset + plan.count - 1}" if plan.count > 1 else f"offset {base_offset}"
        case Duplicate(written):
            return f"duplicate of the batch at offset {written.base_offset}"
        case Refused(rung):
            return f"{rung.error.name} ({rung.rule})"
        case Read(base_offset, size_bytes):
            return f"{size_bytes} bytes from the batch at {base_offset}" if size_bytes else "nothing"
        case Found(offset):
            return f"offset {offset}"
        case Moved(offset):
            return f"low watermark {offset}"
        case EpochEnd(epoch, end_offset):
            return f"epoch {epoch} ended at {end_offset}"
        case Done():
            return ""


def marks(here: Partition) -> str:
    """Log start, high watermark, log end."""
    return f"{here.log.start} … {here.log.high_watermark} … {here.log.end}"


def window(here: Partition) -> str:
    """What the partition knows of producer 7."""
    if 7 not in here.producers:
        return "unknown"
    entry = here.producers[7]
    ranges = ", ".join(f"{one.first_sequence}–{one.last_sequence}" for one in entry.window)
    return f"epoch {entry.epoch}: {ranges}"


@trace("first-records")
def first_records() -> tuple[Told, ...]:
    """A batch is appended, becomes readable, is read from its middle, and is let go."""
    return told(
        (
            ("produce a batch of 3 records", Produce(batch(3))),
            ("fetch at 0, before the batch is replicated", Fetch(0, 1000)),
            ("every in-sync replica has all below 3", AdvanceHighWatermark(3)),
            ("produce 2 more", Produce(batch(2))),
            ("produce a batch with a wrong checksum", Produce(batch(1, crc_is_good=False))),
            ("fetch at 1: the whole batch that holds it", Fetch(1, 1000)),
            ("fetch at 4: beyond the high watermark is no error", Fetch(4, 1000)),
            ("fetch at 6: beyond the end is one", Fetch(6, 1000)),
            ("where would one begin?", LookUp(partition_model.EARLIEST_TIMESTAMP)),
            ("delete the records below 2", DeleteRecords(2)),
            ("fetch at 1", Fetch(1, 1000)),
            ("delete the records below 4", DeleteRecords(4)),
        ),
        marks,
    )


@trace("a-lost-answer")
def a_lost_answer() -> tuple[Told, ...]:
    """Producer 7 loses an answer and sends again what it is not sure of."""
    return told(
        (
            ("sequences 0–2", Produce(batch(3, producer=(7, 0, 0)))),
            ("sequences 3–4; the answer is lost on the way", Produce(batch(2, producer=(7, 0, 3)))),
            ("sequences 3–4 again", Produce(batch(2, producer=(7, 0, 3)))),
            ("sequence 5 is lost on the way; sequence 6", Produce(batch(1, producer=(7, 0, 6)))),
            ("sequence 5, again", Produce(batch(1, producer=(7, 0, 5)))),
            ("sequence 6, again", Produce(batch(1, producer=(7, 0, 6)))),
            ("sequences 3–5 as one batch: the same records, but no batch that was sent", Produce(batch(3, producer=(7, 0, 3)))),
        ),
        window,
    )


@trace("a-replaced-producer")
def a_replaced_producer() -> tuple[Told, ...]:
    """Producer 7 is replaced by a newer instance of itself, and comes back from a long pause."""
    return told(
        (
            ("epoch 0, sequences 0–2", Produce(batch(3, producer=(7, 0, 0)))),
            ("epoch 1 begins, but not at sequence 0", Produce(batch(1, producer=(7, 1, 3)))),
            ("epoch 1, sequence 0", Produce(batch(1, producer=(7, 1, 0)))),
            ("epoch 0 wakes up and goes on: sequence 3", Produce(batch(1, producer=(7, 0, 3)))),
            ("epoch 0 sends its sequences 0–2 again", Produce(batch(3, producer=(7, 0, 0)))),
            ("epoch 1, sequence 1", Produce(batch(1, producer=(7, 1, 1)))),
        ),
        window,
    )


# Stories of a whole broker


class Story:
    """A broker that is asked one thing after another, and what came of each."""

    def __init__(self, shown: Callable[[Broker], str]) -> None:
        cluster = Cluster("fiducialfiducialfiduci", 1, "127.0.0.1", 9092)
        self.broker = broker_model.new_broker(cluster, Settings(), seed=1)
        self.shown = shown
        self.now = NOON_MS
        self.tickets = 0
        self.lines: list[Told] = []

    def ask(self, words: str, body: object, api_version: int) -> None:
        """A request, and the answers that it brings: to whoever asked, and to whoever waited for it."""
        self.tickets += 1
        request = Request(self.tickets, self.tickets, "story", api_version, body)
        self.broker, effects = broker_model.step(self.broker, request, self.now)
        self.tell(words, effects)

    def wait(self, words: str, ticket: int, ms: int) -> None:
        """Time passes, and the deadline of a ticket comes."""
        self.now += ms
        self.broker, effects = broker_model.step(self.broker, Timer(ticket), self.now)
        self.tell(words, effects)

    def tell(self, words: str, effects: tuple[Effect, ...]) -> None:
        """Note what came of a step."""
        said: list[str] = []
        for effect in effects:
            match effect:
                case Reply(ticket, body):
                    whose = "" if ticket == self.tickets and not said else f"to request {ticket}: "
                    said.append(whose + answer_in_words(body))
                case SetTimer(ticket, at_ms):
                    said.append(f"waits, as request {ticket}, for {at_ms - self.now} ms")
                case _:
                    pass
        self.lines.append(Told(words, "; ".join(said), self.shown(self.broker)))


def answer_in_words(body: object) -> str:
    """What the answers of these stories say."""
    match body:
        case ApiVersionsResponse(error_code, api_keys):
            return f"{len(api_keys)} APIs" if error_code == 0 else Error(error_code).name
        case MetadataResponse(topics=topics):
            return ", ".join(
                f"{topic.name}, partitions: {len(topic.partitions)}" if topic.error_code == 0 else Error(topic.error_code).name
                for topic in topics
            )
        case CreateTopicsResponse(topics=topics):
            return ", ".join(f"id {topic.topic_id.hex()[:4]}…" if topic.error_code == 0 else Error(topic.error_code).name for topic in topics)
        case CreatePartitionsResponse(results=results) | DeleteTopicsResponse(responses=results):
            return ", ".join("done" if result.error_code == 0 else Error(result.error_code).name for result in results)
        case ProduceResponse(responses=responses):
            return f"offset {responses[0].partition_responses[0].base_offset}"
        case FetchResponse(responses=responses):
            records = responses[0].partitions[0].records
            return f"{records.size_bytes if records is not None else 0} bytes"
    raise AssertionError(f"no story has {body}")


def topics_of(broker: Broker) -> str:
    """The topics that there are, with their ids and partitions."""
    there = (f"{topic.name} {topic.topic_id.hex()[:4]}… ({topic.partitions})" for topic in broker.topics.by_name.values())
    return ", ".join(there) or "no topic"


def create(name: str, partitions: int) -> CreateTopicsRequest:
    """A request for one topic."""
    return CreateTopicsRequest((CreatableTopic(name, partitions, 1),), 1000, False)


def metadata_of(*, name: str | None = None, topic_id: Uuid = ZERO_UUID) -> MetadataRequest:
    """A request for what there is of one topic, which may be created."""
    return MetadataRequest((MetadataRequestTopic(topic_id, name),), True)


@trace("a-reader-waits")
def a_reader_waits() -> tuple[Told, ...]:
    """A fetch waits for a record, and another one for nothing."""

    def waiting(broker: Broker) -> str:
        return ", ".join(f"request {ticket} waits" for ticket in sorted(broker.parked.fetches)) or "nobody waits"

    def fetch(offset: int) -> FetchRequest:
        wanted = FetchTopic("greetings", partitions=(FetchPartition(0, fetch_offset=offset, partition_max_bytes=1000),))
        return FetchRequest(max_wait_ms=500, min_bytes=1, max_bytes=1000, session_epoch=-1, topics=(wanted,))

    story = Story(waiting)
    story.ask("create `greetings` with 1 partition", create("greetings", 1), 7)
    story.ask("fetch at 0: at least 1 byte, or 500 ms", fetch(0), 12)
    records = TopicProduceData("greetings", partition_data=(PartitionProduceData(0, SentRecords((batch(1),))),))
    story.ask("another client produces a batch of 1 record", ProduceRequest(None, -1, 1000, (records,)), 12)
    story.ask("fetch at 1", fetch(1), 12)
    story.wait("500 ms pass", story.tickets, 500)
    return tuple(story.lines)


@trace("a-new-client")
def a_new_client() -> tuple[Told, ...]:
    """A client from the future finds its way, and a topic that was not there."""
    story = Story(topics_of)
    told_first = apis.verdict(apis.API_VERSIONS, 99)
    story.lines.append(Told("ApiVersions in version 99", f"{told_first.value}: {answer_in_words(apis.unsupported())}", topics_of(story.broker)))
    story.ask("ApiVersions in version 4", ApiVersionsRequest("story", "1.0"), 4)
    story.ask("Metadata of `greetings`, to be created", metadata_of(name="greetings"), 12)
    story.ask("the same again", metadata_of(name="greetings"), 12)
    return tuple(story.lines)


@trace("a-topic-comes-and-goes")
def a_topic_comes_and_goes() -> tuple[Told, ...]:
    """A topic is created, grows, and is deleted; its name comes back under another id."""
    story = Story(topics_of)
    story.ask("create `orders` with 0 partitions", create("orders", 0), 7)
    story.ask("create `orders` with 2 partitions", create("orders", 2), 7)
    topic_id = story.broker.topics.by_name["orders"].topic_id
    story.ask("create it again", create("orders", 2), 7)
    story.ask("grow it to 3 partitions", CreatePartitionsRequest((CreatePartitionsTopic("orders", 3, None),), 1000, False), 3)
    story.ask("Metadata by its id", metadata_of(topic_id=topic_id), 12)
    story.ask("delete it", DeleteTopicsRequest((DeleteTopicState("orders"),), (), 1000), 6)
    story.ask("Metadata by its id", metadata_of(topic_id=topic_id), 12)
    story.ask("create it anew", create("orders", 1), 7)
    story.ask("Metadata by the old id", metadata_of(topic_id=topic_id), 12)
    return tuple(story.lines)
