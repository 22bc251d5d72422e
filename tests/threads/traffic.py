"""What clients send to a broker with threads, made in advance from a seed; and how what they got is held against what the broker says it did.

A script is what one connection sends, in order: chunks of one frame or several. Every batch is unique but for its resends, so that each answer
can be held against the transition that it tells of.
"""

from __future__ import annotations

import struct
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple

from fiducial.conformance.batches import Item, build
from fiducial.conformance.codec import answer_body, request_frame
from fiducial.fastpath import codec_objects
from fiducial.fastpath.batch import batches
from fiducial.models import messages as m
from fiducial.models.errors import Error
from threads.replay import Replay, Transition

NOON = 1_700_000_000_000
PRODUCE, FETCH, LIST_OFFSETS = 0, 1, 2
#: The first versions that go by topic ids: what is said of a topic stays true when another one gets its name.
VERSIONS = {PRODUCE: 13, FETCH: 13, LIST_OFFSETS: 7}
LENGTH, OFFSET = struct.Struct(">i"), struct.Struct(">q")
EVERYTHING = 1 << 20
#: So long a fetch waits: longer than any test.
PATIENCE_MS = 600_000
Key = tuple[bytes, int]


@dataclass(frozen=True)
class Topic:
    """A topic that there is; the names of its partitions' configuration are those of models.log.LogConfig."""

    name: str
    topic_id: bytes
    partitions: int
    config: Mapping[str, Any] = field(default_factory=dict)


class Request(NamedTuple):
    """One request, and the batches that it brings."""

    kind: int
    correlation_id: int
    sent: Mapping[Key, bytes]


@dataclass
class Script:
    """What one connection sends, in order: chunks of frames behind their lengths, and what is in them."""

    chunks: list[bytes] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)


@dataclass
class Tail:
    """One who always asks for what comes next of one partition. The request for offset 0, where the offset stands in it, and where in an answer
    the high watermark stands, from which on it asks next."""

    correlation_id: int
    frame: bytes
    offset_at: int
    mark_at: int


class Sequences:
    """The sequences of one producer, by partition, and the batches that it sent last."""

    def __init__(self, producer_id: int) -> None:
        self.producer_id = producer_id
        self.next: dict[Key, int] = {}
        self.sent: dict[Key, deque[bytes]] = {}


class Traffic:
    """Scripts for many connections, from a seed."""

    def __init__(self, seed: int, topics: list[Topic], now: int = NOON) -> None:
        self.random = Random(seed)
        self.now = now  # about when it is that records are made
        self.topics = topics
        self.correlation = 0
        self.records = 0  # made so far
        self.shared = Sequences(7)  # one producer on many connections, as a client with a bug would be

    def script(self, requests: int, producer_id: int) -> Script:
        """What a producer sends that also looks at what is there; it never waits."""
        script, own = Script(), Sequences(producer_id)
        while len(script.requests) < requests:
            chunk = b""
            for _ in range(self.random.choice((1, 1, 2, 5))):
                kind = self.random.choices((PRODUCE, FETCH, LIST_OFFSETS), (6, 3, 1))[0]
                body = {PRODUCE: self.produced, FETCH: self.fetched, LIST_OFFSETS: self.looked_up}[kind](own)
                chunk += self.frame(script, kind, body)
            script.chunks.append(chunk)
        return script

    def frame(self, script: Script, kind: int, body: Any) -> bytes:
        """One request, behind its length."""
        self.correlation += 1
        sent = {(topic.topic_id, one.index): one.records for topic in body.topic_data for one in topic.partition_data} if kind == PRODUCE else {}
        script.requests.append(Request(kind, self.correlation, sent))
        return framed(kind, self.correlation, body)

    def tail(self, topic: Topic, index: int) -> Tail:
        """One who waits for what comes next. Its answers are found by their place, since nothing in them has another size."""
        self.correlation += 1
        mark = 0x0123456789ABCDEF
        wanted = m.FetchPartition(index, fetch_offset=mark, partition_max_bytes=EVERYTHING)
        body = m.FetchRequest(max_wait_ms=PATIENCE_MS, min_bytes=1, topics=(m.FetchTopic(topic_id=topic.topic_id, partitions=(wanted,)),))
        answer = m.FetchResponse(responses=(m.FetchableTopicResponse(partitions=(m.PartitionData(high_watermark=mark),)),))
        frame = framed(FETCH, self.correlation, body)
        offset_at = frame.index(OFFSET.pack(mark))
        mark_at = LENGTH.size + 5 + codec_objects.encode(answer, FETCH, VERSIONS[FETCH], "response").index(OFFSET.pack(mark))
        return Tail(self.correlation, frame.replace(OFFSET.pack(mark), OFFSET.pack(0)), offset_at, mark_at)

    # Requests

    def all_partitions(self) -> list[tuple[Topic, int]]:
        """Every partition that there is at some time."""
        return [(topic, index) for topic in self.topics for index in range(topic.partitions)]

    def partitions(self) -> list[tuple[Topic, int]]:
        """One partition, or a few."""
        return self.random.sample(self.all_partitions(), self.random.choice((1, 1, 1, 3)))

    def produced(self, own: Sequences) -> m.ProduceRequest:
        """A batch for each of some partitions."""
        data = []
        for topic, index in self.partitions():
            records: Any = self.batch((topic.topic_id, index), own)
            data.append(m.TopicProduceData(topic_id=topic.topic_id, partition_data=(m.PartitionProduceData(index, records),)))
        return m.ProduceRequest(None, self.random.choice((-1, 1)), 10_000, tuple(data))

    def batch(self, key: Key, own: Sequences) -> bytes:
        """A batch of nobody; or of a producer: the next one, one that was sent before, or one too far."""
        chance = self.random.random()
        if chance < 0.4:
            return self.sound((-1, -1, -1))
        if chance < 0.43:
            return self.faulty()
        producer = self.shared if chance < 0.6 else own
        sent = producer.sent.setdefault(key, deque(maxlen=7))
        if sent and chance > 0.93:
            return self.random.choice(sent)
        sequence = producer.next.get(key, 0)
        if chance > 0.9:
            return self.sound((producer.producer_id, 0, sequence + self.random.choice((1, 3))))
        data = self.sound((producer.producer_id, 0, sequence))
        producer.next[key] = sequence + batches(data)[0].count
        sent.append(data)
        return data

    def sound(self, producer: tuple[int, int, int]) -> bytes:
        """A batch of a few records that are like no others."""
        return build(list(self.items()), codec=self.random.choices((0, 1, 3), (30, 1, 1))[0], producer=producer)

    def faulty(self) -> bytes:
        """One that is refused: for its checksum, for its offset, for its size, or for its time."""
        items = list(self.items())
        return self.random.choice(
            (
                build(items, spoil_checksum=True),
                build(items, base_offset=3),
                build([Item(self.now, content=bytes(3000))]),
                build([Item(self.now + 10**9), *items]),
            )
        )

    def items(self) -> Iterator[Item]:
        """One record to four."""
        for _ in range(self.random.choice((1, 1, 2, 4))):
            self.records += 1
            yield Item(self.now + self.random.randrange(-50_000, 1000), b"%d" % self.records, b"." * self.random.randrange(60))

    def fetched(self, _own: Sequences) -> m.FetchRequest:
        """What there is at any offset."""
        return m.FetchRequest(
            replica_id=self.random.choices((-1, -3), (9, 1))[0],
            replica_state=m.ReplicaState(),
            max_bytes=self.random.choice((EVERYTHING, EVERYTHING, 300, 1)),
            isolation_level=self.random.randrange(2),
            topics=tuple(self.wanted(topic, index) for topic, index in self.partitions()),
        )

    def wanted(self, topic: Topic, index: int) -> m.FetchTopic:
        """An offset of a partition, most often near its end; sometimes with what the asker knows of epochs."""
        offset = int(self.records / len(self.all_partitions()) * self.random.random() ** 0.1)
        current, last = (self.random.randrange(-1, 2), self.random.randrange(-1, 2)) if self.random.random() < 0.1 else (-1, -1)
        limit = self.random.choice((EVERYTHING, EVERYTHING, 500, 1, 0))
        wanted = m.FetchPartition(index, current, offset, last, partition_max_bytes=limit)
        return m.FetchTopic(topic_id=topic.topic_id, partitions=(wanted,))

    def looked_up(self, _own: Sequences) -> m.ListOffsetsRequest:
        """Where a mark stands, or what was written when."""
        ((topic, index), *_) = self.partitions()
        timestamp = self.random.choice((-1, -1, -2, -3, self.now - 30_000, self.now))
        wanted = m.ListOffsetsTopic(topic.name, (m.ListOffsetsPartition(index, timestamp=timestamp),))
        return m.ListOffsetsRequest(self.random.choice((-1, -3)), self.random.randrange(2), (wanted,))


def framed(kind: int, correlation_id: int, body: Any) -> bytes:
    """A request behind its length."""
    frame = request_frame(kind, VERSIONS[kind], correlation_id, "threads", codec_objects.encode(body, kind, VERSIONS[kind], "request"))
    return LENGTH.pack(len(frame)) + frame


# What came back


def frames_in(data: bytes) -> Iterator[bytes]:
    """The frames of a connection, without their lengths."""
    at = 0
    while at < len(data):
        (size,) = LENGTH.unpack_from(data, at)
        assert at + LENGTH.size + size <= len(data), "the connection ends inside an answer"
        yield data[at + LENGTH.size : at + LENGTH.size + size]
        at += LENGTH.size + size


class Judge:
    """Holds what clients were answered against what the partitions did."""

    def __init__(self) -> None:
        self.happened: dict[Key, Counter[tuple[int, ...]]] = {}  # what came of batches, by partition
        self.told: dict[Key, Counter[tuple[int, ...]]] = {}
        self.read: list[tuple[Key, bytes]] = []

    def take(self, key: Key, transitions: list[Transition]) -> None:
        """What happened to a partition."""
        seen = self.happened.setdefault(key, Counter())
        for one in transitions:
            if one.kind == "PRODUCE":
                error, _, base_offset, append_time, *_ = one.came
                seen[hash(one.data), error, base_offset, append_time] += 1

    def hear(self, request: Request, answer: bytes) -> None:
        """The answer to a request."""
        kind = request.kind
        assert LENGTH.unpack_from(answer)[0] == request.correlation_id, "answers do not come in the order of the requests"
        body = codec_objects.decode(answer, kind, VERSIONS[kind], "response", position=answer_body(answer, kind, VERSIONS[kind]))
        if kind == PRODUCE:
            for topic in body.responses:
                for one in topic.partition_responses:
                    self.hear_produced(request, (topic.topic_id, one.index), one)
        if kind == FETCH:
            self.read += [((topic.topic_id, one.partition_index), one.records) for topic in body.responses for one in topic.partitions if one.records]

    def hear_produced(self, request: Request, key: Key, one: m.PartitionProduceResponse) -> None:
        """What became of a batch; where there is no such partition, or not any more, nothing did."""
        if one.error_code not in (Error.UNKNOWN_TOPIC_ID, Error.UNKNOWN_TOPIC_OR_PARTITION):
            told = hash(request.sent[key]), one.error_code, one.base_offset, one.log_append_time_ms
            self.told.setdefault(key, Counter())[told] += 1

    def check(self, replays: Mapping[Key, Replay]) -> None:
        """Each batch was answered as often as it came, with what came of it; what was read is what was written."""
        for key in self.happened.keys() | self.told.keys():
            told, happened = self.told.get(key, Counter()), self.happened.get(key, Counter())
            assert told == happened, f"{key}: told, but it did not happen: {told - happened}; happened, but not told: {happened - told}"
        for key, data in self.read:
            offset = begun = OFFSET.unpack_from(data)[0]
            written = b""
            while len(written) < len(data):
                assert offset in replays[key].batches, f"{key}: offset {offset} was read, and never written"
                written += replays[key].batches[offset]
                offset = batches(replays[key].batches[offset])[0].last_offset + 1
            assert written[: len(data)] == data, f"{key}: what was read at {begun} is not what was written"
