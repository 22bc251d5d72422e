"""The load: frames made beforehand, for the generator to send; and whether what was acknowledged is there.

Each connection has a partition of its own. After every load the end of each log is asked for, which must be what was acknowledged, and some batches
are read and parsed.
"""

from __future__ import annotations

import os
import random
import socket
import struct
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache

from bench.brokers import Broker, ask
from bench.generator import Found, Lane, Tail, generate
from fiducial.conformance.exploration.steps import answer_of, request_frame
from fiducial.fastpath import batch
from fiducial.models import messages as m
from fiducial.models.errors import Error

#: Requests of a connection on their way, as a client's producer has them by default.
WINDOW = 5
VALUE_BYTES = 100
PRODUCE, FETCH, LIST_OFFSETS = 0, 1, 2
PRODUCE_VERSION, FETCH_VERSION = 13, 17
#: Where in an answer, from its length on, the error code of its partition stands, in these versions.
PRODUCE_ERROR_AT, FETCH_ERROR_AT = 31, 41
PATIENCE_S = 30.0
#: How many batches of a partition are read and parsed after a load.
SAMPLES = 3
#: Offset, length and leader epoch of a batch: what a broker writes, and what stands between.
STAMPED_BYTES = 16
#: A fetch that waits.
TAIL_WAIT_MS, TAIL_BYTES = 500, 1 << 20
#: What is answered of a partition until its making has been carried out.
NOT_YET = (Error.UNKNOWN_TOPIC_OR_PARTITION, Error.LEADER_NOT_AVAILABLE, Error.NOT_LEADER_OR_FOLLOWER, Error.UNKNOWN_TOPIC_ID)


@dataclass(frozen=True)
class Target:
    """Whom to load, and which topic."""

    broker: Broker
    topic: str
    topic_id: bytes


class Connection:
    """One connection, for what is asked once."""

    def __init__(self, broker: Broker) -> None:
        self.socket = socket.create_connection((broker.host, broker.port), timeout=PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def take(self, into: memoryview) -> None:
        """So many bytes."""
        taken = 0
        while taken < len(into):
            got = self.socket.recv_into(into[taken:])
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


# Frames


@cache
def records_of(count: int) -> bytes:
    """A batch of records without keys, made now."""
    now_ms = time.time_ns() // 1_000_000
    content = os.urandom(VALUE_BYTES // 2).hex().encode()
    return batch.encode([(now_ms, None, content) for _ in range(count)])


def with_length(frame: bytes) -> bytes:
    """As it goes over the wire."""
    return struct.pack(">i", len(frame)) + frame


def produce_frame(topic_id: bytes, batches: dict[int, bytes], acks: int = -1) -> bytes:
    """A request for some partitions of a topic."""
    partitions = tuple(m.PartitionProduceData(index, data) for index, data in batches.items())  # type: ignore[arg-type]  # bytes go as they are
    return with_length(request_frame(PRODUCE, PRODUCE_VERSION, m.ProduceRequest(None, acks, 30_000, (m.TopicProduceData("", topic_id, partitions),))))


def fetch_frame(topic_id: bytes, partition: int, offset: int, max_bytes: int, max_wait_ms: int = 0) -> bytes:
    """A request for one partition, outside of any session; if it may wait, then for the first byte."""
    wanted = m.FetchPartition(partition, -1, offset, partition_max_bytes=max_bytes)
    request = m.FetchRequest(max_wait_ms=max_wait_ms, min_bytes=1, session_epoch=-1, topics=(m.FetchTopic("", topic_id, (wanted,)),))
    return with_length(request_frame(FETCH, FETCH_VERSION, request))


def fetched(answer: bytes) -> bytes:
    """What was read of one partition."""
    ((found,),) = (one.partitions for one in answer_of(answer, FETCH, FETCH_VERSION).responses)
    assert found.error_code == Error.NONE and found.records, found
    return bytes(found.records)


# Lanes


def produce_lane(target: Target, partition: int, records: int, window: int = WINDOW) -> Lane:
    """The same batch again and again; one is in the log when this returns, so that the partition is ready."""
    frame = produce_frame(target.topic_id, {partition: records_of(records)})
    connection = Connection(target.broker)
    with connection.socket:
        answer = connection.produce(frame)
    return Lane((frame,), window, PRODUCE_ERROR_AT, 4 + len(answer))


def fetch_lane(target: Target, partition: int, records: int, batches: int, held: int) -> Lane:
    """So many batches an answer, of a partition that holds `held`, from its beginning to its end again and again."""
    max_bytes = batches * len(records_of(records))
    frames = [fetch_frame(target.topic_id, partition, offset, max_bytes) for offset in range(0, (held // batches) * batches * records, batches * records)]
    connection = Connection(target.broker)
    with connection.socket:
        sizes = {len(connection.ask(frame)) for frame in frames[-2:]}
        (size,) = sizes
        assert len(fetched(connection.ask(frames[0]))) == max_bytes, "an answer has not what was asked for"
    return Lane(frames, WINDOW, FETCH_ERROR_AT, 4 + size, is_bulky=True)


def tail_lane(target: Target, partition: int, records: int, lane: int) -> Lane:
    """Reads what `lane` appends to a partition that has one batch; it asks from behind that."""
    begin = 0x7EAD_0FF5_E700_0000  # no other bytes of the request are these
    place = fetch_frame(target.topic_id, partition, begin, TAIL_BYTES, TAIL_WAIT_MS).index(struct.pack(">q", begin))
    connection = Connection(target.broker)
    with connection.socket:
        answer = with_length(connection.ask(fetch_frame(target.topic_id, partition, 0, TAIL_BYTES)))
    data = fetched(answer[4:])
    assert len(data) == len(records_of(records)), "the partition has not just one batch"
    records_at = answer.index(data) - len(unsigned_varint(len(data) + 1))
    tail = Tail(lane, records, place, records_at, len(records_of(records)), records)
    return Lane((fetch_frame(target.topic_id, partition, records, TAIL_BYTES, TAIL_WAIT_MS),), 1, FETCH_ERROR_AT, 0, is_bulky=True, is_counted=False, tail=tail)


def unsigned_varint(number: int) -> bytes:
    """As the protocol writes a length."""
    return bytes([number & 0x7F | 0x80]) + unsigned_varint(number >> 7) if number > 0x7F else bytes([number])


# Work, and whether it was done


def produced(
    target: Target, lanes: Sequence[Lane], records: int, seconds: float, *, partitions: int | None = None, beside: Sequence[Lane] = (), rate: float = 0, warm_s: float = 0.2
) -> Found:
    """Lane i appends to partition i, or they share fewer, which have a batch of each lane; then the logs have what was acknowledged, and it is readable."""
    found = generate(target.broker.port, target.broker.pid, [*lanes, *beside], seconds, rate=rate, warm_s=warm_s)
    partitions = partitions or len(lanes)
    ends = end_offsets(target, partitions)
    batches = [1 + count for count in found.answered[: len(lanes)]]
    acknowledged = [records * sum(batches[index::partitions]) for index in range(partitions)]
    assert ends == acknowledged, f"the logs end at {ends}, and {acknowledged} was acknowledged"
    sample(target, ends, records)
    return found


def end_offsets(target: Target, partitions: int) -> list[int]:
    """Of each partition."""
    wanted = tuple(m.ListOffsetsPartition(index, -1, -1) for index in range(partitions))
    answer = ask(target.broker, LIST_OFFSETS, m.ListOffsetsRequest(-1, topics=(m.ListOffsetsTopic(target.topic, wanted),)))
    return [one.offset for one in sorted(answer.topics[0].partitions, key=lambda one: one.partition_index)]


def sample(target: Target, ends: Sequence[int], records: int) -> None:
    """The last batch of the first partitions, and some others, are as they were sent, checksum and all."""
    sent = records_of(records)
    with ExitStack() as stack:
        connection = Connection(target.broker)
        stack.enter_context(connection.socket)
        for partition, end in enumerate(ends[:SAMPLES]):
            last = end // records - 1
            for number in (last, *(random.randint(0, last) for _ in range(SAMPLES))):
                frame = fetch_frame(target.topic_id, partition, number * records, len(records_of(records)))
                read = batch.EncodedBatch(fetched(connection.ask(frame)))
                assert read.crc_is_good and (read.base_offset, read.count) == (number * records, records), read
                assert read.data[STAMPED_BYTES:] == sent[STAMPED_BYTES:], "what is read is not what was sent"


def fill(target: Target, partitions: int, records: int, held: int) -> None:
    """What is to be fetched."""
    for partition in range(partitions):
        frame = produce_frame(target.topic_id, {partition: records_of(records)})
        connection = Connection(target.broker)
        with connection.socket:
            for _ in range(held):
                connection.produce(frame)
