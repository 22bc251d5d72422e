"""Worked traces: short stories that the model tells when it is run, for the opening pages of `spec/`.

A story is written as steps in words with the event beside each; what comes of a step is not written but computed. So a trace on a page is
never what somebody believed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fiducial.models import apis, group_requests
from fiducial.models import broker as broker_model
from fiducial.models import partition as partition_model
from fiducial.models.batches import Payload, Record, SentBatch, SentRecords
from fiducial.models.errors import Error
from fiducial.models.events import Effect, Reply, Request, SetTimer, Timer
from fiducial.models.group_requests import Groups
from fiducial.models.groups import Alarm, Asked, GroupConfig, SetAlarm
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
    HeartbeatRequest,
    HeartbeatResponse,
    JoinGroupRequest,
    JoinGroupRequestProtocol,
    JoinGroupResponse,
    MetadataRequest,
    MetadataRequestTopic,
    MetadataResponse,
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
    PartitionProduceData,
    ProduceRequest,
    ProduceResponse,
    SyncGroupRequest,
    SyncGroupRequestAssignment,
    SyncGroupResponse,
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
from fiducial.models.topics import Topic, Topics
from fiducial.models.values import EMPTY, ZERO_UUID, Uuid, value

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


# Stories of one group

ORDERS = Topics(EMPTY.set("orders", Topic(ZERO_UUID, "orders", 2)), EMPTY.set(ZERO_UUID, "orders"))
SECOND_MS = 1000


class GroupStory:
    """Requests of the members of group g, and what comes of each; a JoinGroup or SyncGroup may be answered by what another asks."""

    def __init__(self) -> None:
        self.groups, self.now = Groups(), NOON_MS
        self.names: dict[int, str] = {}  # ticket → who waits
        self.alarms: dict[Alarm, int] = {}
        self.lines: list[Told] = []

    def ask(self, words: str, who: str, body: JoinGroupRequest | SyncGroupRequest | HeartbeatRequest | OffsetCommitRequest, version: int) -> None:
        """A member sends a request. Its id is its name, and a tail that the story leaves out."""
        ticket = len(self.lines)
        self.names[ticket] = who
        generation = getattr(body, "generation_id", getattr(body, "generation_id_or_member_epoch", -1))
        asked = Asked(ticket, version, "g", body, body.member_id, None, generation, who, "", ticket.to_bytes(16))
        done = group_requests.handle(self.groups, asked, ORDERS, GroupConfig(), self.now)
        self.tell(words, done)

    def wait(self, words: str, seconds: int) -> None:
        """The clock goes on, and alarms ring."""
        until, replies = self.now + seconds * SECOND_MS, list[str]()
        while due := [(at_ms, alarm.kind.value, alarm.member_id, alarm) for alarm, at_ms in self.alarms.items() if at_ms <= until]:
            self.now, *_, alarm = min(due, key=lambda one: one[:3])
            del self.alarms[alarm]
            self.groups, effects = group_requests.ring(self.groups, alarm, GroupConfig(), self.now)
            replies += self.answers(effects)
        self.now = until
        self.lines.append(Told(words, "; ".join(replies), self.state()))

    def tell(self, words: str, done: tuple[Groups, tuple[group_requests.Effect, ...]]) -> None:
        """One line."""
        self.groups, effects = done
        self.lines.append(Told(words, "; ".join(self.answers(effects)) or "waits", self.state()))

    def answers(self, effects: Iterable[group_requests.Effect]) -> list[str]:
        """Who is answered what; alarms are set."""
        told = []
        for effect in effects:
            if isinstance(effect, Reply):
                told.append(f"{self.names[effect.ticket]}: {member_is_told(effect.body, effect.rules)}")
            elif isinstance(effect, SetAlarm):
                self.alarms[effect.alarm] = effect.at_ms
        return told

    def state(self) -> str:
        """The state, the generation and the members."""
        group = group_requests.group_of(self.groups, "g")
        members = ", ".join(short(member_id) for member_id in sorted(group.members)) or "nobody"
        return f"{group.state.value}, generation {group.generation}: {members}"

    def id_of(self, who: str) -> str:
        """The whole id of a member, or one that it was given."""
        group = group_requests.group_of(self.groups, "g")
        return next(one for one in [*group.pending, *group.members] if short(one) == who)


def short(member_id: str) -> str:
    """The client's part of a member id."""
    return member_id.partition("-")[0]


def member_is_told(body: object, rules: tuple[str, ...]) -> str:
    """An answer to a member, in words."""
    error = Error(getattr(body, "error_code", 0))
    match body:
        case JoinGroupResponse() if error is Error.NONE:
            return f"generation {body.generation_id}, leader {short(body.leader)}"
        case SyncGroupResponse() if error is Error.NONE:
            return body.assignment.decode() or "nothing"
        case OffsetCommitResponse():
            error = Error(body.topics[0].partitions[0].error_code)
        case JoinGroupResponse() | SyncGroupResponse() | HeartbeatResponse():
            pass
        case other:
            raise AssertionError(f"no story has {other}")
    return error.name + "".join(f" ({rule})" for rule in rules)


def join(member_id: str = "") -> JoinGroupRequest:
    """A consumer that knows one protocol."""
    return JoinGroupRequest("g", 10_000, 60_000, member_id, None, "consumer", (JoinGroupRequestProtocol("range", b""),))


def sync(member_id: str, generation: int, **assignments: str) -> SyncGroupRequest:
    """A leader's sync, or another's if it assigns nothing."""
    given = tuple(SyncGroupRequestAssignment(name.replace("_", "-"), one.encode()) for name, one in assignments.items())
    return SyncGroupRequest("g", generation, member_id, None, "consumer", "range", given)


def commit(member_id: str, generation: int, offset: int) -> OffsetCommitRequest:
    """An offset of the first partition of `orders`."""
    partition = OffsetCommitRequestPartition(0, offset)
    return OffsetCommitRequest("g", generation, member_id, topics=(OffsetCommitRequestTopic("orders", ZERO_UUID, (partition,)),))


def both_are_in(story: GroupStory) -> tuple[str, str]:
    """Members a and b in a stable group at generation 1; their ids."""
    story.ask("a joins", "a", join(), 9)
    a = story.id_of("a")
    story.ask("a joins, with the id that it was given", "a", join(a), 9)
    story.ask("b joins", "b", join(), 9)
    b = story.id_of("b")
    story.ask("b joins, with its id", "b", join(b), 9)
    story.wait("6 seconds pass: 3 from the beginning, and 3 more since somebody came", 6)
    story.ask("b syncs", "b", sync(b, 1), 5)
    story.ask("a syncs, and assigns a partition to each", "a", sync(a, 1, **{a: "orders 0", b: "orders 1"}), 5)
    return a, b


@trace("a-group-forms")
def a_group_forms() -> tuple[Told, ...]:
    """Two consumers form a group; the topic `orders` has two partitions."""
    story = GroupStory()
    a, _ = both_are_in(story)
    story.ask("a sends a heartbeat", "a", HeartbeatRequest("g", 1, a), 4)
    story.ask("a commits", "a", commit(a, 1, 7), 9)
    return tuple(story.lines)


@trace("a-member-falls-silent")
def a_member_falls_silent() -> tuple[Told, ...]:
    """It goes on where the last story ended. Nothing is heard of b for 10 seconds, its session timeout; then it comes back."""
    story = GroupStory()
    a, b = both_are_in(story)
    story.lines.clear()
    story.wait("9 seconds pass", 9)
    story.ask("a sends a heartbeat", "a", HeartbeatRequest("g", 1, a), 4)
    story.wait("2 seconds pass", 2)
    story.ask("a sends a heartbeat", "a", HeartbeatRequest("g", 1, a), 4)
    story.ask("a joins again", "a", join(a), 9)
    story.ask("a syncs, and assigns both partitions to itself", "a", sync(a, 2, **{a: "orders 0 and 1"}), 5)
    story.ask("b is back, and commits what it has read meanwhile", "b", commit(b, 1, 9), 9)
    story.ask("b sends a heartbeat", "b", HeartbeatRequest("g", 1, b), 4)
    return tuple(story.lines)
