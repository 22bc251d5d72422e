"""What a case is: a story about some rules, told in requests; and what can come of it.

A story says only what is asked. What should be answered is the oracle's to say, so that a case cannot disagree with the models, and holds in every
version of its requests.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from fiducial.conformance import codec
from fiducial.conformance.codec import ClientId
from fiducial.conformance.oracle import KEYS
from fiducial.conformance.symbols import Batch, IdOf, Name, Records, Session, SessionId, counted, words
from fiducial.models import messages as m
from fiducial.models.apis import APIS
from fiducial.models.partition import EARLIEST_TIMESTAMP
from fiducial.models.values import changed, value

CLIENT_ID = "fiducial-conform"
DEADLINE_S = 10.0
FETCH_BYTES = 1 << 20


class Verdict(Enum):
    """What came of a case; the worse, the further down."""

    NOT_APPLICABLE = "not-applicable"  # the broker does not say that it serves what is asked
    PASS = "pass"
    INFO = "info"  # it does otherwise, and nothing says that it may not
    NONSTRICT = "nonstrict"  # it does otherwise, as a rule allows a peer
    UNSUPPORTED_SETUP = "unsupported-setup"  # the topics of the story are not to be had, or the broker is set up otherwise
    INCONCLUSIVE = "inconclusive"  # the broker, or the way to it, failed: nobody knows
    FAIL = "fail"
    SUITE_ERROR = "suite-error"  # the judge failed


SEVERITY = list(Verdict)


class Direction:
    """In the place of a request: what else happens in a story."""

    #: What it asks of the broker.
    requests: tuple[type, ...] = ()


@value
class TimePasses(Direction):
    """Nobody asks anything for so long."""

    ms: int | Session

    def __str__(self) -> str:
        return f"{self.ms} ms pass"


@value
class Awaited(Direction):
    """The request that was left waiting on the step's connection gets its answer."""

    def __str__(self) -> str:
        return "the answer to what waits"


@value
class StillWaits(Direction):
    """The request that was left waiting on the step's connection has no answer yet."""

    def __str__(self) -> str:
        return "what waits is not answered yet"


@value
class SideEnds(Direction):
    """Our side of the step's connection ends; what was asked before is awaited still, and behind it the end."""

    def __str__(self) -> str:
        return "our side of the connection ends"


@value
class Removed(Direction):
    """A topic is deleted."""

    topic: str

    requests = (m.DeleteTopicsRequest,)

    def __str__(self) -> str:
        return f"topic {self.topic} is deleted"


@value
class MadeAnew(Direction):
    """A topic is deleted, and created again as it was."""

    topic: str

    requests = (m.DeleteTopicsRequest, m.CreateTopicsRequest)

    def __str__(self) -> str:
        return f"topic {self.topic} is deleted and created again"


@value
class Bytes:
    """In place of a request: its key, and the bytes of its body, whatever its layout is."""

    api_key: int
    data: bytes = b""


@value
class Odd:
    """What is odd about the frame of a request; what is not given is as it should be."""

    correlation_id: int | None = None
    tags: bytes | None = None  # in place of the tagged fields of its header
    keep: int | None = None  # so many of its bytes; if negative, all but so many
    behind: bytes = b""
    size: int | None = None  # the length that it announces
    piece: int = 0  # so many bytes of it are sent at a time


NOTHING_ODD = Odd()


@value
class Step:
    """One request of a story, or a direction. `version`: None is the one that is being judged, or the newest that both know. `connection`: which of several."""

    body: Any
    version: int | None = None
    client_id: ClientId = CLIENT_ID
    connection: int = 1
    odd: Odd = NOTHING_ODD
    is_pipelined: bool = False  # it is sent together with what comes next on its connection; `Awaited` brings its answer
    waits: bool = False  # the story goes on while it waits for its answer, which `Awaited` brings
    in_any_order: bool = False  # and it is no matter if it is taken in after what comes next
    until: bool = False  # the broker has looked after its logs, or taken note of a change, and is asked until it answers as it should, or the time is over

    @property
    def api_key(self) -> int | None:
        """The request's key."""
        if isinstance(self.body, Direction):
            return None
        return self.body.api_key if isinstance(self.body, Bytes) else KEYS[type(self.body)]

    @property
    def api_keys(self) -> frozenset[int]:
        """All that it asks of a broker, of what there is."""
        if isinstance(self.body, Direction):
            return frozenset(KEYS[one] for one in self.body.requests)
        return frozenset({self.api_key} & APIS.keys()) if self.api_key is not None else frozenset()

    @property
    def expects_answer(self) -> bool:
        """A produce without acks gets none."""
        return not (isinstance(self.body, m.ProduceRequest) and self.body.acks == 0)

    def told(self, version: int | None = None) -> str:
        """The step in words."""
        if self.api_key is None:
            return str(self.body)
        name = APIS[self.api_key].name if self.api_key in APIS else f"API {self.api_key}"
        how = f", its frame: {words(self.odd)}" if self.odd != NOTHING_ODD else ""
        how += ", together with what comes next" if self.is_pipelined else ", which waits" if self.waits else ", again and again" if self.until else ""
        return f"{name if version is None else f'{name} v{version}'} {words(self.body)}{how}"

    def numbered(self, correlation_id: int) -> int:
        """The correlation id that it has, where another would have this one."""
        return correlation_id if self.odd.correlation_id is None else self.odd.correlation_id

    def frame(self, body: Any, version: int, correlation_id: int) -> bytes:
        """What is sent, without its length. `body`: the step's, as it is spoken to whom it is sent."""
        assert self.api_key is not None
        data = body.data if isinstance(body, Bytes) else codec.encode(body, self.api_key, version, "request")
        frame = codec.request_frame(self.api_key, version, self.numbered(correlation_id), self.client_id, data, self.odd.tags)
        return frame[: self.odd.keep] + self.odd.behind


@value
class Topic:
    """A topic that a story needs; without partitions: only a name, which no topic has until the story makes one. `characters`: how many a name has at least."""

    config: tuple[tuple[str, str], ...] = ()
    partitions: int = 1
    characters: int = 0


@value
class Group:
    """A group that a story needs: stable, of consumers that read nothing. A dynamic member leads it; the others have these instance ids, or None. If it
    `is_absent`, it is only a name, which no group has until the story makes one."""

    others: tuple[str | None, ...] = ()
    is_absent: bool = False


PLAIN = (("a", Topic()),)


@value
class Case:
    """A story, and the rules that it shows; the first of them, which its id begins with, says how binding it is."""

    id: str  # RULE/slug; never changed, so that results can be compared
    story: tuple[Step, ...]
    rules: tuple[str, ...]
    topics: tuple[tuple[str, Topic], ...] = PLAIN
    producers: int = 0  # that are given ids before the story begins
    groups: tuple[tuple[str, Group], ...] = ()
    sweep: type | None = m.ProduceRequest  # the request that is told in every version
    sweep_from: int = 0  # or in every version from this one on
    settings: tuple[tuple[str, int], ...] = ()  # of the broker, each with the greatest value under which the story can be told
    at_least: tuple[tuple[str, int], ...] = ()  # the same, each with the least
    is_info: bool = False  # whatever comes of it: Kafka itself does not keep the rule here, or it shows only by what is each broker's own
    is_destructive: bool = False  # others may see what it does: told only where that is allowed
    needs_one_node: bool = False  # it would be another story in a cluster of several
    afterwards: tuple[Any, ...] = ()  # requests that undo what it did, whatever came of it
    deadline_s: float = DEADLINE_S

    @property
    def rule(self) -> str:
        """The rule that it is about."""
        return self.rules[0]

    @property
    def is_about_versions(self) -> bool:
        """Does it matter what ApiVersions names, and not only that it is answered?"""
        return "WIRE-VERSIONS-4" in self.rules

    @property
    def api_keys(self) -> frozenset[int]:
        """All that it asks."""
        return frozenset(key for step in self.story for key in step.api_keys)

    @property
    def api_names(self) -> frozenset[str]:
        """The same, by name."""
        return frozenset(APIS[key].name for key in self.api_keys)


def case(id: str, *story: Step, also: tuple[str, ...] = (), **more: Any) -> Case:
    """A case; `also`: rules that it shows beside the one of its id."""
    return Case(id, story, (id.partition("/")[0], *also), **more)


# Requests, with a default for everything that a story is not about


def produce(*batches: Batch, topic: str = "a", index: int = 0, acks: int = -1, **step: Any) -> Step:
    """Batches for one partition."""
    return produce_records(Records(batches), topic=topic, index=index, acks=acks, **step)


def produce_records(records: Any, *, topic: str = "a", index: int = 0, acks: int = -1, transactional_id: str | None = None, **step: Any) -> Step:
    """Records, or what stands in their place, for one partition."""
    return produce_to(data(records, topic, index), acks=acks, transactional_id=transactional_id, **step)


def produce_to(*topics: m.TopicProduceData, acks: int = -1, timeout_ms: int = 10_000, transactional_id: str | None = None, **step: Any) -> Step:
    """A whole Produce request."""
    return Step(m.ProduceRequest(transactional_id, acks, timeout_ms, topics), **step)


def data(records: Any, topic: str = "a", index: int = 0) -> m.TopicProduceData:
    """A topic with one partition in a Produce request."""
    name: Any = Name(topic)
    topic_id: Any = IdOf(topic)
    return m.TopicProduceData(name, topic_id, (m.PartitionProduceData(index, records),))


def fetch(offset: int = 0, *, topic: str = "a", index: int = 0, **step: Any) -> Step:
    """All that one partition has from an offset on, without waiting."""
    return fetch_from(wanted(offset, topic=topic, index=index), **step)


def fetch_from(
    *topics: m.FetchTopic,
    max_wait_ms: int = 0,
    min_bytes: int = 0,
    max_bytes: int = FETCH_BYTES,
    isolation_level: int = 0,
    replica_id: int = -1,
    session: tuple[int | SessionId, int] = (0, -1),
    forgotten: tuple[m.ForgottenTopic, ...] = (),
    **step: Any,
) -> Step:
    """A whole Fetch request. `session`: its id, and the epoch of the request in it."""
    session_id: Any = session[0]
    state = m.ReplicaState(replica_id)
    request = m.FetchRequest(
        None, replica_id, state, max_wait_ms, min_bytes, max_bytes, isolation_level, session_id, session[1], topics, forgotten
    )
    return Step(request, **step)


def wanted(offset: int = 0, *, topic: str = "a", index: int = 0, limit: int = FETCH_BYTES, leader_epoch: int = -1, last_epoch: int = -1) -> m.FetchTopic:
    """A topic with one partition in a Fetch request."""
    name: Any = Name(topic)
    topic_id: Any = IdOf(topic)
    partition = m.FetchPartition(index, counted(leader_epoch), offset, counted(last_epoch), partition_max_bytes=limit)
    return m.FetchTopic(name, topic_id, (partition,))


def awaited(connection: int) -> Step:
    """The answer to what was left waiting on a connection."""
    return Step(Awaited(), connection=connection)


def still_waits(connection: int) -> Step:
    """What was left waiting on a connection is waiting still."""
    return Step(StillWaits(), connection=connection)


def pipelined(*steps: Step, answers: int | None = None) -> tuple[Step, ...]:
    """Requests on one connection, sent together, and the answers; so many, if it ends before the last."""
    expected = sum(step.expects_answer for step in steps) if answers is None else answers
    return *(changed(step, is_pipelined=True) for step in steps), *[awaited(steps[0].connection)] * expected


def list_offsets(timestamp: Any = EARLIEST_TIMESTAMP, *, topic: str = "a", index: int = 0, **step: Any) -> Step:
    """One offset of one partition."""
    name: Any = Name(topic)
    return Step(m.ListOffsetsRequest(-1, 0, (m.ListOffsetsTopic(name, (m.ListOffsetsPartition(index, timestamp=timestamp),)),)), **step)


def delete_records(offset: int, *, topic: str = "a", index: int = 0, **step: Any) -> Step:
    """Let go of what lies below an offset."""
    name: Any = Name(topic)
    return Step(m.DeleteRecordsRequest((m.DeleteRecordsTopic(name, (m.DeleteRecordsPartition(index, offset),)),), 10_000), **step)


def describe_producers(*, topic: str = "a", index: int = 0, **step: Any) -> Step:
    """Who wrote to one partition."""
    name: Any = Name(topic)
    return Step(m.DescribeProducersRequest((m.DescribeProducersRequestTopicRequest(name, (index,)),)), **step)


def init_producer_id(transactional_id: str | None = None, *, producer_id: int = -1, epoch: int = -1, **step: Any) -> Step:
    """An id for a producer."""
    return Step(m.InitProducerIdRequest(transactional_id, 60_000, producer_id, epoch), **step)
