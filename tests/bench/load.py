"""The load: frames made beforehand, so that to send them costs less than to serve them. It runs in a process of its own.

Each connection has a partition of its own, and two blocks of requests on their way: while the broker answers one, the next one waits for it.
Of a produce answer the error code is looked at; a fetch answer is compared up to its error code, and its records stay in the kernel.
"""

from __future__ import annotations

import itertools
import os
import socket
import struct
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from bench.brokers import cpu_seconds
from fiducial.conformance.exploration.steps import answer_of, request_frame
from fiducial.fastpath import batch
from fiducial.models import messages as m
from fiducial.models.errors import Error

CONNECTIONS = 4
#: Requests of a connection in a block; two blocks are on their way.
BLOCK = 4
VALUE_BYTES = 100
PRODUCE, FETCH = 0, 1
PRODUCE_VERSION, FETCH_VERSION = 13, 17
#: How many bytes of an answer, its length included, there are up to the end of its partition's error code, in these versions.
PRODUCE_HEAD_BYTES, FETCH_HEAD_BYTES = 33, 43
PATIENCE_S = 30.0
#: What is answered of a partition until its making has been carried out.
NOT_YET = (Error.UNKNOWN_TOPIC_OR_PARTITION, Error.LEADER_NOT_AVAILABLE, Error.NOT_LEADER_OR_FOLLOWER, Error.UNKNOWN_TOPIC_ID)


@dataclass(frozen=True)
class Target:
    """Whom to load, and with the partitions of which topic."""

    host: str
    port: int
    pid: int
    topic_id: bytes


@dataclass(frozen=True)
class Produce:
    """One batch a request."""

    records: int
    acks: int


@dataclass(frozen=True)
class Fetch:
    """Whole batches, `batches` in an answer; each partition holds `held`."""

    batches: int
    records: int
    held: int


@dataclass(frozen=True)
class Load:
    """What was answered, and what that cost."""

    requests: int
    wall_s: float
    broker_cpu_s: float
    load_cpu_s: float


@dataclass(frozen=True)
class Measured(Load):
    """The same of records that were acknowledged or read."""

    records: int


class Connection:
    """One connection."""

    def __init__(self, target: Target) -> None:
        self.socket = socket.create_connection((target.host, target.port), timeout=PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(None)  # a call less for each that sends; the kernel keeps the time
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", int(PATIENCE_S), 0))

    def take(self, into: memoryview, flags: int = 0) -> None:
        """So many bytes."""
        taken = 0
        while taken < len(into):
            got = self.socket.recv_into(into[taken:], 0, socket.MSG_WAITALL | flags)
            assert got, "the broker ended the connection"
            taken += got

    def ask(self, frame: bytes) -> bytes:
        """The answer to one frame with its length, without its own."""
        self.socket.sendall(frame)
        return self.answer()

    def answer(self) -> bytes:
        """The next answer, without its length."""
        length = bytearray(4)
        self.take(memoryview(length))
        answer = bytearray(struct.unpack(">i", length)[0])
        self.take(memoryview(answer))
        return bytes(answer)

    def produce(self, frame: bytes) -> bytes:
        """The answer to a batch that is taken; a partition that was just made may need a moment."""
        give_up = time.monotonic() + PATIENCE_S
        while True:
            answer = self.ask(frame)
            ((produced,),) = (one.partition_responses for one in answer_of(answer, PRODUCE, PRODUCE_VERSION).responses)
            if produced.error_code not in NOT_YET or time.monotonic() > give_up:
                assert produced.error_code == Error.NONE, produced
                return answer
            time.sleep(0.02)


class Lane(Connection, ABC):
    """A connection that is kept busy with blocks of requests, again and again."""

    def __init__(self, target: Target, blocks: Sequence[bytes]) -> None:
        super().__init__(target)
        self.blocks = itertools.cycle(blocks)

    def send(self) -> None:
        """The next block."""
        self.socket.sendall(next(self.blocks))

    @abstractmethod
    def receive(self) -> None:
        """The answers to one block."""


class ProduceLane(Lane):
    """Sends the same batch again and again."""

    def __init__(self, target: Target, partition: int, work: Produce) -> None:
        frame = produce_frame(target.topic_id, {partition: records_of(work.records)}, work.acks)
        super().__init__(target, [frame * BLOCK])
        self.size_bytes = 4 + len(self.produce(frame))
        self.answers = bytearray(BLOCK * self.size_bytes)

    def receive(self) -> None:
        """All have the same size, since their numbers have."""
        self.take(memoryview(self.answers))
        for place in (PRODUCE_HEAD_BYTES - 2, PRODUCE_HEAD_BYTES - 1):
            assert not any(self.answers[place :: self.size_bytes]), "a batch was refused"


class FetchLane(Lane):
    """Reads a partition from its beginning to its end, again and again."""

    def __init__(self, target: Target, partition: int, work: Fetch) -> None:
        max_bytes = work.batches * len(records_of(work.records))
        offsets = range(0, work.held * work.records, work.batches * work.records)
        frames = [fetch_frame(target.topic_id, partition, offset, max_bytes) for offset in offsets]
        blocks = [b"".join(frames[at : at + BLOCK]) for at in range(0, len(frames) - BLOCK + 1, BLOCK)]
        super().__init__(target, blocks)
        answer = self.ask(frames[0])
        ((fetched,),) = (one.partitions for one in answer_of(answer, FETCH, FETCH_VERSION).responses)
        assert fetched.error_code == Error.NONE and len(fetched.records) == max_bytes, fetched
        self.expected = struct.pack(">i", len(answer)) + answer[: FETCH_HEAD_BYTES - 4]
        self.head = bytearray(FETCH_HEAD_BYTES)
        self.rest = memoryview(bytearray(4 + len(answer) - FETCH_HEAD_BYTES))

    def receive(self) -> None:
        """MSG_TRUNC: the kernel throws the bytes away."""
        for _ in range(BLOCK):
            self.take(memoryview(self.head))
            assert self.head == self.expected, "an answer is not like the first"
            self.take(self.rest, socket.MSG_TRUNC)


def records_of(count: int) -> bytes:
    """A batch of records without keys, made now."""
    now_ms = time.time_ns() // 1_000_000
    content = os.urandom(VALUE_BYTES // 2).hex().encode()
    return batch.encode([(now_ms, None, content) for _ in range(count)])


def with_length(frame: bytes) -> bytes:
    """As it goes over the wire."""
    return struct.pack(">i", len(frame)) + frame


def produce_frame(topic_id: bytes, batches: dict[int, bytes], acks: int) -> bytes:
    """A request for some partitions of a topic."""
    partitions = tuple(m.PartitionProduceData(index, data) for index, data in batches.items())  # type: ignore[arg-type]  # bytes go as they are
    return with_length(request_frame(PRODUCE, PRODUCE_VERSION, m.ProduceRequest(None, acks, 30_000, (m.TopicProduceData("", topic_id, partitions),))))


def fetch_frame(topic_id: bytes, partition: int, offset: int, max_bytes: int) -> bytes:
    """A request for one partition, outside of any session."""
    wanted = m.FetchPartition(partition, -1, offset, partition_max_bytes=max_bytes)
    return with_length(request_frame(FETCH, FETCH_VERSION, m.FetchRequest(session_epoch=-1, topics=(m.FetchTopic("", topic_id, (wanted,)),))))


def lane_of(target: Target, partition: int, work: Produce | Fetch) -> Lane:
    """A connection that does such work."""
    return ProduceLane(target, partition, work) if isinstance(work, Produce) else FetchLane(target, partition, work)


def fill(target: Target, work: Fetch) -> None:
    """What is to be fetched."""
    for partition in range(CONNECTIONS):
        frame = produce_frame(target.topic_id, {partition: records_of(work.records)}, acks=1)
        connection = Connection(target)
        with connection.socket:
            for _ in range(work.held):
                connection.produce(frame)


def run(target: Target, work: Produce | Fetch, seconds: float) -> Measured:
    """Keep the broker busy for so long."""
    load = busy(target, [lane_of(target, partition, work) for partition in range(CONNECTIONS)], BLOCK, seconds)
    return Measured(**vars(load), records=load.requests * (work.records if isinstance(work, Produce) else work.records * work.batches))


def busy(target: Target, lanes: Sequence[Lane], block: int, seconds: float) -> Load:
    """Two blocks of each lane on their way, for so long; a block has `block` requests. In the end the lanes are closed."""
    with ExitStack() as stack:
        for lane in lanes:
            stack.callback(lane.socket.close)
        blocks = len(lanes)
        broker_cpu_s, load_cpu_s, begun = cpu_seconds(target.pid), time.process_time(), time.monotonic()
        for lane in lanes:
            lane.send()
        for lane in itertools.cycle(lanes):
            lane.send()
            lane.receive()
            blocks += 1
            if time.monotonic() - begun > seconds:
                break
        for lane in lanes:
            lane.receive()
        wall_s = time.monotonic() - begun
        used = cpu_seconds(target.pid) - broker_cpu_s, time.process_time() - load_cpu_s
    return Load(blocks * block, wall_s, *used)
