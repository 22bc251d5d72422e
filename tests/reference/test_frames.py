"""Frames over TCP: what ends a connection, what is forgiven, in which order answers come. Asked of both our brokers and of Apache Kafka."""

from __future__ import annotations

import itertools
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import pytest
from raw_client import RawClient

from fiducial.conformance.exploration.steps import answer_of
from fiducial.conformance.exploration.targets import Remote, talk
from fiducial.models import messages as m
from fiducial.models.errors import Error
from fiducial.reference import codec
from fiducial.reference.records import HEADER, with_checksum

METADATA, PRODUCE, FETCH, VERSIONS, CREATE_TOPICS = 3, 0, 1, 18, 19
REQUEST_BYTES_MAX = 104_857_600

Connect = Callable[[], RawClient]


class Broker(Protocol):
    """Where a broker listens."""

    host: str
    port: int


@pytest.fixture(params=["reference_broker", "fast_broker", "kafka"])
def broker(request: pytest.FixtureRequest) -> Broker:
    """Our brokers, then their referee."""
    found: Broker = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def connect(broker: Broker) -> Iterator[Connect]:
    """Makes connections; in the end, one that was there all the time must still be served."""
    made: list[RawClient] = []

    def another() -> RawClient:
        made.append(RawClient(broker.host, broker.port))
        return made[-1]

    bystander = another()
    yield another
    assert bystander.ask(VERSIONS_0) is not None
    for client in made:
        client.close()


def head(api_key: int, api_version: int, correlation_id: int = 7) -> bytes:
    """A header without a client id or tags."""
    return struct.pack(">hhih", api_key, api_version, correlation_id, -1)


#: No topics, in a classic and in a flexible version; and the smallest request there is.
METADATA_8, METADATA_12 = head(METADATA, 8) + bytes(7), head(METADATA, 12) + b"\x00\x01\x00\x00\x00"
VERSIONS_0 = head(VERSIONS, 0)


def correlation_of(answer: bytes | None) -> int | None:
    """The correlation id that an answer begins with; None if there is no answer."""
    return None if answer is None else int(struct.unpack_from(">i", answer)[0])


# What ends a connection, and what does not


@pytest.mark.rule("WIRE-FRAME-1")
@pytest.mark.parametrize("size", [0, -1, -(2**31), REQUEST_BYTES_MAX + 1, 2**31 - 1, int.from_bytes(b"GET ", "big")])
def test_a_length_out_of_range_ends_the_connection_at_once(connect: Connect, size: int) -> None:
    client = connect()
    client.socket.sendall(struct.pack(">i", size))
    assert client.answer() is None


@pytest.mark.rule("WIRE-FRAME-1", "WIRE-FRAME-7")
def test_the_largest_frame_is_taken_in_small_pieces(connect: Connect) -> None:
    client = connect()
    frame = VERSIONS_0.ljust(REQUEST_BYTES_MAX, b"\x00")
    client.socket.sendall(struct.pack(">i", len(frame)))
    for begin in range(0, len(frame), 65_536):
        client.socket.sendall(frame[begin : begin + 65_536])
    assert correlation_of(client.answer()) == 7


FLEXIBLE_HEADER = struct.pack(">hhih", METADATA, 12, 7, 3) + b"abc" + b"\x02\x07\x02xy\x03\x00"


@pytest.mark.rule("WIRE-FRAME-2")
@pytest.mark.parametrize("size", range(1, len(FLEXIBLE_HEADER)))
def test_a_frame_that_ends_inside_its_header_ends_the_connection(connect: Connect, size: int) -> None:
    assert connect().ask(FLEXIBLE_HEADER[:size]) is None


@pytest.mark.rule("WIRE-FRAME-3")
@pytest.mark.parametrize(
    ("api_key", "api_version"),
    [(-1, 0), (93, 0), (32767, 0), (4, 0), (7, 0), (METADATA, -1), (METADATA, 14), (PRODUCE, 2), (PRODUCE, 14), (FETCH, 3), (FETCH, 19)],
)
def test_what_is_not_served_ends_the_connection(connect: Connect, api_key: int, api_version: int) -> None:
    assert connect().ask(head(api_key, api_version) + bytes(40)) is None


@pytest.mark.rule("WIRE-FRAME-4", "WIRE-VERSIONS-1")
@pytest.mark.parametrize("version", [5, 99, 32767, -1, -32768])
def test_an_unknown_version_of_api_versions_is_answered(connect: Connect, version: int) -> None:
    client = connect()
    told = struct.pack(">ihihhh", 7, Error.UNSUPPORTED_VERSION, 1, VERSIONS, 0, 4)
    assert client.ask(head(VERSIONS, version) + (b"\x00garbage" if version > 0 else b"")) == told
    assert correlation_of(client.ask(VERSIONS_0)) == 7


@pytest.mark.rule("WIRE-FRAME-4")
def test_an_unknown_flexible_version_needs_its_tags_all_the_same(connect: Connect) -> None:
    assert connect().ask(head(VERSIONS, 99)) is None


@pytest.mark.rule("WIRE-FRAME-5")
@pytest.mark.parametrize(
    "client_id",
    [
        pytest.param(struct.pack(">h", -1), id="null"),
        pytest.param(struct.pack(">h", -5), id="any negative length"),
        pytest.param(struct.pack(">h", -32768), id="the lowest length"),
        pytest.param(struct.pack(">h", 0), id="empty"),
        pytest.param(struct.pack(">h", 30_000) + b"a" * 30_000, id="long"),
        pytest.param(struct.pack(">h", 32_767) + b"\xff" * 32_767, id="not UTF-8"),
    ],
)
def test_any_client_id_is_taken(connect: Connect, client_id: bytes) -> None:
    client = connect()
    for version, rest in ((8, bytes(7)), (12, b"\x00\x01\x00\x00\x00")):
        assert correlation_of(client.ask(struct.pack(">hhi", METADATA, version, 9) + client_id + rest)) == 9


@pytest.mark.rule("WIRE-FRAME-6")
@pytest.mark.parametrize(
    ("tags", "is_taken"),
    [
        (b"\x01\x07\x03abc", True),
        (b"\x03\x07\x00\x03\x00\x07\x01a", True),
        (b"\xff\xff\xff\xff\x0f", True),
        (b"\x01\x07\x20", False),
        (b"\x20\x07\x00", False),
        (b"\x01\x07\xff\xff\xff\xff\x0f", False),
        (b"\x80\x80\x80\x80\x80\x00", False),
    ],
    ids=["unknown", "twice and unordered", "fewer than none", "a size too large", "too many", "a negative size", "a varint too long"],
)
def test_unknown_tags_of_the_header_are_skipped(connect: Connect, tags: bytes, is_taken: bool) -> None:
    answer = connect().ask(head(METADATA, 12) + tags + b"\x01\x00\x00\x00")
    assert (answer is not None) == is_taken


@pytest.mark.rule("WIRE-FRAME-7")
@pytest.mark.parametrize("frame", [METADATA_8, METADATA_12, VERSIONS_0], ids=["classic", "flexible", "empty"])
def test_bytes_behind_a_request_are_ignored(connect: Connect, frame: bytes) -> None:
    client = connect()
    plain = client.ask(frame)
    assert plain is not None
    for rest in (b"\x00", b"\xff" * 40, METADATA_12):
        assert client.ask(frame + rest) == plain


@pytest.mark.rule("WIRE-FRAME-8", "WIRE-FRAME-9")
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x01\x00\x00", id="no tags"),
        pytest.param(b"\x7f\x00\x00\x00", id="an array of more than there is"),
        pytest.param(b"\x80\x80\x80\x80\x80\x00" + bytes(4), id="a varint of six bytes"),
        pytest.param(b"\x80\x80\x80\x80\x08" + bytes(3), id="a length that wraps around"),
        pytest.param(b"\x01\x00\x00\x01\x63\x05abc", id="a tag that runs past the end"),
        pytest.param(b"\x02" + bytes(16) + b"\x81\x80\x02" + b"x" * 32_768 + bytes(4), id="a string of 32768 bytes"),
    ],
)
def test_a_malformed_body_ends_the_connection(connect: Connect, body: bytes) -> None:
    assert connect().ask(head(METADATA, 12) + b"\x00" + body) is None


@pytest.mark.rule("WIRE-FRAME-8", "WIRE-FRAME-9")
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"\x01\x02\xff\x00", id="any byte but zero is true"),
        pytest.param(b"\xff\xff\xff\xff\x0f\x00\x00\x00", id="a negative length is null"),
        pytest.param(b"\x81\x80\x00\x00\x00\x00", id="a varint longer than it need be"),
        pytest.param(b"\x81\x80\x80\x80\x70\x00\x00\x00", id="bits above 32"),
        pytest.param(b"\x02" + bytes(16) + b"\x04a\xff\xc3" + bytes(4), id="a name that is not UTF-8"),
        pytest.param(b"\x02" + bytes(16) + b"\x80\x80\x02" + b"x" * 32_767 + bytes(4), id="a string of 32767 bytes"),
        pytest.param(b"\x01\x00\x00\x02\x63\x01a\x05\x00", id="unknown tags in any order"),
    ],
)
def test_a_body_that_is_odd_is_read_all_the_same(connect: Connect, body: bytes) -> None:
    assert correlation_of(connect().ask(head(METADATA, 12) + b"\x00" + body)) == 7


# Order


@pytest.mark.rule("WIRE-FRAME-10", "WIRE-FRAME-11")
def test_answers_come_in_the_order_of_requests_under_their_own_ids(connect: Connect) -> None:
    client = connect()
    ids = [0, -1, 5, 5, 2**31 - 1, -(2**31), *range(500)]
    kinds = itertools.cycle([head(VERSIONS, 0)[:4], head(METADATA, 8)[:4]])
    client.send(*(kind + struct.pack(">ih", one, -1) + bytes(7) for one, kind in zip(ids, kinds, strict=False)))
    assert [correlation_of(client.answer()) for _ in ids] == ids


@pytest.mark.rule("WIRE-FRAME-10", "WIRE-FRAME-12")
@pytest.mark.parametrize("bad", [struct.pack(">i", -1), struct.pack(">i", 9) + head(METADATA, 8)[:9]], ids=["a bad length", "a bad header"])
def test_what_comes_before_a_bad_frame_is_answered(connect: Connect, bad: bytes) -> None:
    client = connect()
    good = [head(METADATA, 8, number) + bytes(7) for number in range(20)]
    client.socket.sendall(b"".join(struct.pack(">i", len(frame)) + frame for frame in good) + bad)
    assert [correlation_of(client.answer()) for _ in good] == list(range(20))
    assert client.answer() is None


numbers = itertools.count()


@pytest.fixture
def topic(broker: Broker) -> str:
    """A new topic that can be written to."""
    name = f"frames-{next(numbers)}"
    remote = Remote(name, broker.host, broker.port)
    created = talk(remote, CREATE_TOPICS, m.CreateTopicsRequest((m.CreatableTopic(name, 1, 1),)))
    assert created.topics[0].error_code == Error.NONE
    while True:
        answer = remote.ask(produce(name, 0), expects_answer=True)
        assert answer is not None
        if answered(answer, PRODUCE, 12).responses[0].partition_responses[0].error_code == Error.NONE:
            break
        time.sleep(0.01)  # Kafka says that a topic is there a moment before its partitions can be written to
    remote.close()
    return name


def batch() -> bytes:
    """One record, now."""
    now = time.time_ns() // 1_000_000
    body = b"\x10\x00\x00\x00\x02k\x02v\x00"
    return with_checksum(HEADER.pack(0, 49 + len(body), -1, 2, 0, 0, 0, now, now, -1, -1, -1, 1) + body)


def message(api_key: int, version: int, correlation_id: int, body: Any) -> bytes:
    """A frame in a flexible version."""
    return head(api_key, version, correlation_id) + b"\x00" + bytes(codec.encode(body, api_key, version, "request"))


def produce(topic: str, correlation_id: int, *, acks: int = -1, index: int = 0) -> bytes:
    """One record for a topic."""
    records: Any = batch()
    data = m.TopicProduceData(topic, partition_data=(m.PartitionProduceData(index, records),))
    return message(PRODUCE, 12, correlation_id, m.ProduceRequest(None, acks, 5000, (data,)))


def fetch(topic: str, correlation_id: int, offset: int, max_wait_ms: int) -> bytes:
    """What a topic has from an offset on, at least a byte of it."""
    wanted = m.FetchTopic(topic, partitions=(m.FetchPartition(0, fetch_offset=offset, partition_max_bytes=1 << 20),))
    return message(FETCH, 12, correlation_id, m.FetchRequest(max_wait_ms=max_wait_ms, min_bytes=1, topics=(wanted,)))


def answered(answer: bytes | None, api_key: int, version: int) -> Any:
    """The message in an answer, whatever its correlation id."""
    assert answer is not None
    return answer_of(struct.pack(">i", 7) + answer[4:], api_key, version)


def fetched(answer: bytes | None) -> bytes:
    """The records in the answer to a Fetch."""
    (partition,) = answered(answer, FETCH, 12).responses[0].partitions
    assert partition.error_code == Error.NONE
    return bytes(partition.records or b"")


@pytest.mark.rule("WIRE-FRAME-10")
def test_a_fetch_that_waits_holds_up_what_is_behind_it(connect: Connect, topic: str) -> None:
    client = connect()
    client.send(fetch(topic, 1, 1, 700))
    assert connect().ask(VERSIONS_0) is not None, "the fetch is with the broker by now"
    client.send(produce(topic, 2), fetch(topic, 3, 1, 0))
    first, second, third = client.answer(), client.answer(), client.answer()
    assert [correlation_of(one) for one in (first, second, third)] == [1, 2, 3]
    assert fetched(first) == b"", "the Produce behind it must not wake it"
    assert fetched(third) != b""


@pytest.mark.rule("WIRE-FRAME-10")
def test_a_fetch_that_waits_is_woken_from_another_connection(connect: Connect, topic: str) -> None:
    client = connect()
    client.send(fetch(topic, 1, 1, 600_000))
    assert connect().ask(produce(topic, 2)) is not None
    assert fetched(client.answer()) != b""


@pytest.mark.rule("WIRE-FRAME-12")
def test_a_client_that_says_no_more_hears_the_rest(connect: Connect, topic: str) -> None:
    client = connect()
    client.send(fetch(topic, 1, 1, 300), head(VERSIONS, 0, 2), head(VERSIONS, 0, 3))
    client.say_no_more()
    assert [correlation_of(client.answer()) for _ in range(4)] == [1, 2, 3, None]


@pytest.mark.rule("WIRE-FRAME-12")
def test_half_a_frame_is_no_request(connect: Connect) -> None:
    client = connect()
    client.socket.sendall(struct.pack(">i", 100) + VERSIONS_0)
    client.say_no_more()
    assert client.answer() is None


@pytest.mark.rule("LOG-PRODUCE-9")
def test_without_acks_nothing_is_said_until_something_fails(connect: Connect, topic: str) -> None:
    client = connect()
    client.send(produce(topic, 1, acks=0), head(VERSIONS, 0, 2), produce(topic, 3, acks=0), head(VERSIONS, 0, 4))
    assert [correlation_of(client.answer()) for _ in range(2)] == [2, 4]
    client.send(produce(topic, 5, acks=0), head(VERSIONS, 0, 6), produce(topic, 7, acks=0, index=1), head(VERSIONS, 0, 8))
    assert [correlation_of(client.answer()) for _ in range(2)] == [6, None]
    assert fetched(connect().ask(fetch(topic, 9, 3, 0))) != b""
