"""Our codec against kio's own: the same bytes for every message of every version, both ways, and the same verdict on what is none.

Where they differ it is on purpose (WIRE-FRAME-8, -9): those cases were tried on Apache Kafka, and stand here one by one.
"""

from __future__ import annotations

import random
import struct
from typing import Any

import pytest
from kio.serial import entity_reader
from kio.serial.errors import BufferUnderflow, NegativeByteLength, SerialError, UnexpectedNull
from random_messages import Layout, Messages, entity_of, every_layout, read_by_kio, written_by_kio

from fiducial.models import messages as m
from fiducial.models.values import ZERO_UUID
from fiducial.reference import codec
from fiducial.reference.codec import Malformed, Reader

LAYOUTS = [pytest.param(one, id=f"{one.api.name}-{one.kind}-v{one.version}") for one in every_layout()]
#: Those without a struct that may be null: kio knows one sign for that, Kafka any negative byte.
LAYOUTS_AS_KIO_SEES_THEM = [one for one in LAYOUTS if "DescribeTopicPartitions" not in str(one.id)]


def some(layout: Layout, count: int) -> list[Any]:
    """Some messages of a layout."""
    messages = Messages(seed=100 * layout.api.key + layout.version, for_kio=True)
    return [messages.message(layout) for _ in range(count)]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_written_is_what_kio_writes_and_reads_back(layout: Layout) -> None:
    for message in some(layout, 15):
        data = bytes(codec.encode(message, *layout.where))
        entity = entity_of(layout.schema, message)
        assert data == written_by_kio(layout.schema, entity)
        assert codec.decode(data, *layout.where) == message
        assert read_by_kio(layout.schema, data) == entity


def ours_of(layout: Layout, data: bytes) -> Any:
    """What we read, or why we do not."""
    try:
        return codec.decode(data, *layout.where)
    except Malformed as error:
        return error


def theirs_of(layout: Layout, data: bytes) -> Any:
    """What kio reads, or why it does not."""
    try:
        return entity_reader(layout.schema)(data, 0)[0]
    except (SerialError, ValueError, KeyError, OverflowError) as error:
        return error


@pytest.mark.rule("WIRE-FRAME-8")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_message_cut_short_is_none(layout: Layout) -> None:
    for message in some(layout, 3):
        data = bytes(codec.encode(message, *layout.where))
        for size in range(min(len(data), 100)):
            assert isinstance(ours_of(layout, data[:size]), Malformed)
            assert isinstance(theirs_of(layout, data[:size]), SerialError)


#: What kio finds wrong and we must too, beside varints that are too long. It also refuses what a broker forgives (bad UTF-8, unknown tags,
#: booleans above 1), and values that are no business of a codec's: unknown error codes, times that Python does not know.
BAD = (BufferUnderflow, NegativeByteLength, UnexpectedNull)


@pytest.mark.rule("WIRE-FRAME-8")
@pytest.mark.parametrize("layout", LAYOUTS_AS_KIO_SEES_THEM)
def test_one_wrong_byte_gets_the_verdict_of_kio(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not asked: lengths that no bytes stand behind, for which kio takes memory until it dies; null arrays, which kio takes anywhere."""
    sizes: list[int] = []
    read_size = codec.read_size

    def noted(reader: Reader, flexible: bool, is_short: bool) -> int:
        sizes.append(read_size(reader, flexible, is_short))
        return sizes[-1]

    monkeypatch.setattr(codec, "read_size", noted)
    chance = random.Random(str(layout.where))
    for message in some(layout, 3):
        data = bytes(codec.encode(message, *layout.where))
        for _ in range(25 if data else 0):
            spoilt = bytearray(data)
            spoilt[chance.randrange(len(data))] = chance.choice((0, 1, 2, 127, 128, 129, 255, chance.randrange(256)))
            sizes.clear()
            ours = ours_of(layout, bytes(spoilt))
            if any(not -1 <= size <= len(data) for size in sizes) or "null where an array" in str(ours):
                continue
            theirs = theirs_of(layout, bytes(spoilt))
            if isinstance(ours, Malformed):
                assert isinstance(theirs, Exception), spoilt
            elif isinstance(theirs, Exception):
                assert not isinstance(theirs, BAD) and "Varint" not in str(theirs), spoilt
            else:
                assert bytes(codec.encode(ours, *layout.where)) == written_by_kio(layout.schema, theirs)


# By hand: what is forgiven, and what is not


def varint(number: int) -> bytes:
    """An unsigned varint."""
    out = bytearray()
    codec.write_varint(out, number)
    return bytes(out)


def metadata(name: bytes, *, length: bytes | None = None, flags: bytes = b"\x00\x00", tags: bytes = b"\x00") -> bytes:
    """The body of a Metadata request of version 12 about one topic."""
    return b"\x02" + ZERO_UUID + (varint(len(name) + 1) if length is None else length) + name + b"\x00" + flags + tags


ALL_BITS, SIGN_BIT, BEYOND = b"\xff\xff\xff\xff\x0f", b"\x80\x80\x80\x80\x08", b"\x81\x80\x80\x80\x70"


@pytest.mark.rule("WIRE-FRAME-8")
@pytest.mark.parametrize(
    ("version", "body", "topics"),
    [
        pytest.param(8, struct.pack(">i", -5) + b"\x01\x00\x00", None, id="a negative array length is null"),
        pytest.param(12, ALL_BITS + b"\x01\x00\x00", None, id="and so is a compact one with the sign bit"),
        pytest.param(12, BEYOND + b"\x01\x00\x00", (), id="bits above 32 fall away"),
        pytest.param(12, b"\x81\x80\x00" + b"\x01\x00\x00", (), id="a varint may be longer than it need be"),
        pytest.param(12, metadata(b"t", flags=b"\xff\x02"), ("t",), id="any byte but zero is true"),
        pytest.param(12, metadata(b"", length=ALL_BITS), (None,), id="a negative string length is null"),
        pytest.param(12, metadata(b"a\xffb\xc3"), ("a\ufffdb\ufffd",), id="what is not UTF-8 is replaced"),
        pytest.param(12, metadata(b"x" * 32767), ("x" * 32767,), id="the longest string"),
    ],
)
def test_what_is_forgiven(version: int, body: bytes, topics: tuple[str | None, ...] | None) -> None:
    read = codec.decode(body, 3, version, "request")
    assert (read.topics if read.topics is None else tuple(topic.name for topic in read.topics)) == topics
    assert read.allow_auto_topic_creation == (b"\x01\x00\x00" in body or b"\xff\x02" in body)


@pytest.mark.rule("WIRE-FRAME-8")
@pytest.mark.parametrize(
    ("api_key", "version", "body"),
    [
        pytest.param(3, 0, struct.pack(">i", -1), id="null where an array must be"),
        pytest.param(10, 4, b"\x00" + ALL_BITS + b"\x00", id="the same, compact"),
        pytest.param(3, 12, SIGN_BIT + b"\x01\x00\x00", id="an array length that wraps around"),
        pytest.param(3, 8, struct.pack(">i", 4) + b"\x00\x00\x00", id="an array of more elements than there are bytes"),
        pytest.param(3, 8, struct.pack(">i", 2**31 - 1) + b"\x00" * 100, id="an array of very many"),
        pytest.param(3, 12, b"\x80\x80\x80\x80\x80\x00" + b"\x01\x00\x00", id="a varint of six bytes"),
        pytest.param(10, 0, struct.pack(">h", -1), id="null where a string must be"),
        pytest.param(10, 0, struct.pack(">h", 5) + b"four", id="a string that is not there"),
        pytest.param(3, 12, metadata(b"x" * 32768), id="a string of more than 32767 bytes"),
        pytest.param(3, 12, metadata(b"\xff" * 20000), id="one that cannot be said again: its replacement is too long"),
        pytest.param(3, 12, metadata(b"t", tags=b"\x01"), id="tags that are not there"),
    ],
)
def test_what_is_not_forgiven(api_key: int, version: int, body: bytes) -> None:
    with pytest.raises(Malformed):
        codec.decode(body, api_key, version, "request")


@pytest.mark.rule("WIRE-FRAME-8")
def test_an_array_longer_than_the_bytes_is_refused_before_it_is_read() -> None:
    with pytest.raises(Malformed, match="an array of 101 where 100 bytes are left"):
        codec.decode(struct.pack(">i", 101) + bytes(100), 3, 1, "request")


@pytest.mark.rule("WIRE-FRAME-8")
@pytest.mark.parametrize(("marker", "cursor"), [(b"\xff", None), (b"\x80", None), *((bytes([one]), ("t", 7)) for one in (0, 1, 2, 127))])
def test_a_negative_byte_says_that_there_is_no_struct(marker: bytes, cursor: tuple[str, int] | None) -> None:
    body = b"\x01" + struct.pack(">i", 5) + marker + (b"" if cursor is None else b"\x02t" + struct.pack(">i", 7) + b"\x00") + b"\x00"
    read = codec.decode(body, 75, 0, "request").cursor
    assert read == (None if cursor is None else m.DescribeTopicPartitionsRequestCursor(*cursor))


def fetch(*tags: bytes, count: bytes | None = None) -> bytes:
    """The body of a Fetch request of version 15 about nothing, with these tagged fields; tag 0 is the cluster id, 1 the replica."""
    fixed = struct.pack(">iiibii", 0, 1, 1000, 0, 0, -1) + b"\x01\x01\x01"
    return fixed + (varint(len(tags)) if count is None else count) + b"".join(tags)


def tagged(tag: int, data: bytes, size: int | None = None) -> bytes:
    """One tagged field, with the size that it claims."""
    return varint(tag) + varint(len(data) if size is None else size) + data


REPLICA = struct.pack(">iq", 3, 9) + b"\x00"


@pytest.mark.rule("WIRE-FRAME-9")
@pytest.mark.parametrize(
    ("body", "cluster_id", "replica_id"),
    [
        pytest.param(fetch(), None, -1, id="no tags"),
        pytest.param(fetch(tagged(0, b"\x02x"), tagged(1, REPLICA)), "x", 3, id="known ones"),
        pytest.param(fetch(tagged(1, REPLICA), tagged(0, b"\x02x")), "x", 3, id="in any order"),
        pytest.param(fetch(tagged(0, b"\x02x"), tagged(0, b"\x02y")), "y", -1, id="the last one wins"),
        pytest.param(fetch(tagged(7, b"abc"), tagged(0, b"\x02x"), tagged(2**31, b"")), "x", -1, id="unknown ones are skipped"),
        pytest.param(fetch(tagged(7, b"a"), tagged(7, b"b")), None, -1, id="also twice"),
        pytest.param(fetch(tagged(0, b"\x02x", size=200), tagged(1, REPLICA, size=0)), "x", 3, id="a known one has the size of its type"),
        pytest.param(fetch(varint(7) + BEYOND + b"a", tagged(0, b"\x02x")), "x", -1, id="bits of a size above 32 fall away"),
        pytest.param(fetch(count=ALL_BITS), None, -1, id="fewer than none are none"),
    ],
)
def test_tags_of_the_body(body: bytes, cluster_id: str | None, replica_id: int) -> None:
    read = codec.decode(body, 1, 15, "request")
    assert (read.cluster_id, read.replica_state.replica_id) == (cluster_id, replica_id)


@pytest.mark.rule("WIRE-FRAME-9")
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(fetch(tagged(7, b"abc", size=4)), id="an unknown one that runs past the end"),
        pytest.param(fetch(varint(7) + ALL_BITS + b"abc"), id="an unknown one of a negative size"),
        pytest.param(fetch(tagged(0, b"\x05x")), id="a known one that runs past the end"),
        pytest.param(fetch(count=b"\x01"), id="one that is not there"),
    ],
)
def test_tags_that_are_none(body: bytes) -> None:
    with pytest.raises(Malformed):
        codec.decode(body, 1, 15, "request")


def test_a_message_for_people_is_cut_to_what_a_string_holds() -> None:
    answer = m.CreateTopicsResponse(topics=(m.CreatableTopicResult("t", error_message="é" * 20_000),))
    for version in (4, 7):
        written = bytes(codec.encode(answer, 19, version, "response"))
        assert codec.decode(written, 19, version, "response").topics[0].error_message == "é" * 16_383
