"""Our codec against kio's own: the same bytes for every message of every version, both ways, and the same verdict on what is none.

Where they differ it is on purpose (WIRE-FRAME-8, -9): those cases were tried on Apache Kafka, and stand here one by one.
"""

from __future__ import annotations

import dataclasses
import datetime
import importlib
import io
import random
import struct
import typing
import uuid
from typing import Any

import attrs
import pytest
from kio.schema.errors import ErrorCode
from kio.schema.index import api_key_map
from kio.serial import entity_reader, entity_writer
from kio.serial.errors import BufferUnderflow, NegativeByteLength, SerialError, UnexpectedNull

from fiducial.models import messages as m
from fiducial.models.apis import APIS, Api
from fiducial.models.values import ZERO_UUID
from fiducial.reference import codec
from fiducial.reference.codec import Malformed, Reader

EPOCH = datetime.datetime.fromisoformat("1970-01-01T00:00:00+00:00")
MILLISECOND = datetime.timedelta(milliseconds=1)

#: (api, version, kind) of every layout that is served.
LAYOUTS = [
    pytest.param(api, version, kind, id=f"{api.name}-{kind}-v{version}")
    for api in APIS.values()
    for kind in ("request", "response")
    for version in range(api.min_version, api.max_version + 1)
]
every_layout = pytest.mark.parametrize(("api", "version", "kind"), LAYOUTS)
#: Those without a struct that may be null: kio knows one sign for that, Kafka any negative byte.
LAYOUTS_AS_KIO_SEES_THEM = [one for one in LAYOUTS if "DescribeTopicPartitions" not in str(one.id)]


# kio's side


def schema_of(api: Api, version: int, kind: str) -> Any:
    """kio's class of a message."""
    model = api.request if kind == "request" else api.response
    return getattr(importlib.import_module(f"kio.schema.{api_key_map[api.key]}.v{version}.{kind}"), model.__name__)


def written_by_kio(schema: Any, entity: Any) -> bytes:
    """What kio writes."""
    out = io.BytesIO()
    entity_writer(schema)(out, entity)
    return out.getvalue()


def read_by_kio(schema: Any, data: bytes) -> Any:
    """What kio reads, or the error that it raises."""
    try:
        return entity_reader(schema)(data, 0)[0]
    except (SerialError, ValueError, KeyError, OverflowError) as error:
        return error


# Messages at random, on both sides

NUMBERS = {"int8": 8, "int16": 16, "int32": 32, "int64": 64}
TEXTS = ("", "a", "topic-1", "Ω ≠ 💡", "x" * 127, "y" * 128, "z" * 300)


class Maker:
    """Makes the same message for both sides: (ours, kio's)."""

    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed)

    def message(self, schema: Any, model: Any) -> tuple[Any, Any]:
        """A struct."""
        hints = typing.get_type_hints(model)
        ours, theirs = {}, {}
        for field in dataclasses.fields(schema):
            name = codec.model_name(field)
            if "tag" in field.metadata and self.random.random() < 0.5:
                continue
            ours[name], theirs[field.name] = self.field(field, hints[name])
        return model(**ours), schema(**theirs)

    def field(self, field: Any, hint: Any) -> tuple[Any, Any]:
        """A field: none, many or one."""
        if codec.is_nullable(field.type) and field.metadata.get("kafka_type") not in ("uuid", "datetime_i64") and self.random.random() < 0.2:
            return None, None
        if not codec.is_array(field.type):
            return self.one(field, hint)
        many = [self.one(field, hint) for _ in range(self.random.choice((0, 1, 1, 2, 3, 130 if self.random.random() < 0.02 else 2)))]
        return tuple(ours for ours, _ in many), tuple(theirs for _, theirs in many)

    def one(self, field: Any, hint: Any) -> tuple[Any, Any]:
        """A struct or a primitive."""
        schema = codec.inner(field.type, dataclasses.is_dataclass)
        if schema is not None:
            return self.message(schema, codec.inner(hint, attrs.has))
        return self.primitive(field.metadata["kafka_type"])

    def primitive(self, kind: str) -> tuple[Any, Any]:
        """One value."""
        choose = self.random.choice
        if kind in NUMBERS:
            limit = 1 << NUMBERS[kind] - 1
            number = choose((0, 1, -1, limit - 1, -limit, self.random.randrange(-limit, limit)))
            return number, number
        match kind:
            case "uint16":
                number = choose((0, 1, 65535, 9092))
                return number, number
            case "string":
                text = choose(TEXTS)
                return text, text
            case "bytes" | "records":
                data = choose((b"", b"\x00", self.random.randbytes(200)))
                return data, data
            case "bool":
                flag = choose((False, True))
                return flag, flag
            case "uuid":
                some = choose((ZERO_UUID, self.random.randbytes(16)))
                return some, None if some == ZERO_UUID else uuid.UUID(bytes=some)
            case "error_code":
                error = choose(list(ErrorCode))
                return int(error), error
            case "timedelta_i32" | "timedelta_i64":
                ms = choose((0, 1, -1, 2**31 - 1, -(2**31)))
                return ms, ms * MILLISECOND
            case "datetime_i64":
                ms = choose((-1, 0, 1, 1_700_000_000_123))
                return ms, None if ms == -1 else EPOCH + ms * MILLISECOND
        raise AssertionError(f"{kind} is no type of the protocol's")


def pairs(api: Api, version: int, kind: str, count: int) -> list[tuple[Any, Any]]:
    """Some messages of a layout: (ours, kio's)."""
    maker = Maker(f"{api.name} {kind} {version}")
    model = api.request if kind == "request" else api.response
    return [maker.message(schema_of(api, version, kind), model) for _ in range(count)]


@every_layout
def test_what_is_written_is_what_kio_writes_and_reads_back(api: Api, version: int, kind: str) -> None:
    schema = schema_of(api, version, kind)
    for ours, theirs in pairs(api, version, kind, 30):
        data = bytes(codec.encode(ours, api.key, version, kind))
        assert data == written_by_kio(schema, theirs)
        assert codec.decode(data, api.key, version, kind) == ours
        assert read_by_kio(schema, data) == theirs


def read_by_us(api: Api, version: int, kind: str, data: bytes) -> Any:
    """What we read, or why we do not."""
    try:
        return codec.decode(data, api.key, version, kind)
    except Malformed as error:
        return error


@pytest.mark.rule("WIRE-FRAME-8")
@every_layout
def test_a_message_cut_short_is_none(api: Api, version: int, kind: str) -> None:
    for ours, _ in pairs(api, version, kind, 3):
        data = bytes(codec.encode(ours, api.key, version, kind))
        for size in range(min(len(data), 200)):
            assert isinstance(read_by_us(api, version, kind, data[:size]), Malformed)
            assert isinstance(read_by_kio(schema_of(api, version, kind), data[:size]), SerialError)


#: What kio finds wrong and we must too, beside varints that are too long. It also refuses what a broker forgives (bad UTF-8, unknown tags,
#: booleans above 1), and values that are no business of a codec's: unknown error codes, times that Python does not know.
BAD = (BufferUnderflow, NegativeByteLength, UnexpectedNull)


@pytest.mark.rule("WIRE-FRAME-8")
@pytest.mark.parametrize(("api", "version", "kind"), LAYOUTS_AS_KIO_SEES_THEM)
def test_one_wrong_byte_gets_the_verdict_of_kio(api: Api, version: int, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not asked: lengths that no bytes stand behind, for which kio takes memory until it dies; null arrays, which kio takes anywhere."""
    sizes: list[int] = []
    read_size = codec.read_size

    def noted(reader: Reader, flexible: bool, is_short: bool) -> int:
        sizes.append(read_size(reader, flexible, is_short))
        return sizes[-1]

    monkeypatch.setattr(codec, "read_size", noted)
    chance = random.Random(f"{api.name} {kind} {version}")
    for made, _ in pairs(api, version, kind, 3):
        data = bytes(codec.encode(made, api.key, version, kind))
        for _ in range(40 if data else 0):
            spoilt = bytearray(data)
            spoilt[chance.randrange(len(data))] = chance.choice((0, 1, 2, 127, 128, 129, 255, chance.randrange(256)))
            sizes.clear()
            ours = read_by_us(api, version, kind, bytes(spoilt))
            if any(not -1 <= size <= len(data) for size in sizes) or "null where an array" in str(ours):
                continue
            theirs = read_by_kio(schema_of(api, version, kind), bytes(spoilt))
            if isinstance(ours, Malformed):
                assert isinstance(theirs, Exception), spoilt
            elif isinstance(theirs, Exception):
                assert not isinstance(theirs, BAD) and "Varint" not in str(theirs), spoilt
            else:
                assert bytes(codec.encode(ours, api.key, version, kind)) == written_by_kio(schema_of(api, version, kind), theirs)


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
