"""The conformance suite's codec: byte for byte what kio writes and reads; strict with answers, and able to say what nobody should."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from random_messages import Layout, Messages, entity_of, every_layout, written_by_kio

from fiducial import reference
from fiducial.conformance import codec
from fiducial.conformance.codec import Malformed, Raw, Tagged
from fiducial.conformance.layouts import STRUCTS
from fiducial.models import messages as m
from fiducial.models.apis import APIS
from fiducial.models.values import ZERO_UUID
from fiducial.reference.codec import Reader
from fiducial.reference.core import Header, read_body

LAYOUTS = [pytest.param(one, id=f"{one.api.name}-{one.kind}-v{one.version}") for one in every_layout()]


def some(layout: Layout, count: int) -> list[Any]:
    """Some messages of a layout."""
    messages = Messages(seed=100 * layout.api.key + layout.version, for_kio=True)
    return [messages.message(layout) for _ in range(count)]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_written_is_what_kio_writes_and_is_read_back(layout: Layout) -> None:
    for message in some(layout, 5):
        data = codec.encode(message, *layout.where)
        assert data == written_by_kio(layout.schema, entity_of(layout.schema, message))
        assert codec.decode(data, *layout.where) == message


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_message_cut_short_or_with_bytes_behind_it_is_none(layout: Layout) -> None:
    (message,) = some(layout, 1)
    data = codec.encode(message, *layout.where)
    for size in range(min(len(data), 60)):
        with pytest.raises(Malformed):
            codec.decode(data[:size], *layout.where)
    with pytest.raises(Malformed, match=f"byte {len(data)}: 2 bytes left over"):
        codec.decode(data + b"\x00\x00", *layout.where)


def test_there_is_a_table_for_every_struct_that_is_served() -> None:
    named = {field.kind.removeprefix("[]") for fields in STRUCTS.values() for field in fields}
    top = {kind.__name__ for api in APIS.values() for kind in (api.request, api.response)}
    assert set(STRUCTS) == top | {name for name in named if hasattr(m, name)}


PRODUCED = m.ProduceResponse((m.TopicProduceResponse("t", ZERO_UUID, (m.PartitionProduceResponse(1, base_offset=7),)),))


def produced(version: int) -> bytes:
    """An answer to spoil."""
    return codec.encode(PRODUCED, 0, version, "response")


@pytest.mark.parametrize(
    ("version", "where", "instead", "problem"),
    [
        pytest.param(8, b"\x00\x01t", b"\xff\xff", "responses[0].name, byte 6: null where none may be", id="a null string"),
        pytest.param(8, b"\x00\x01t", b"\x00\x01\xff", "responses[0].name, byte 7: not UTF-8: invalid start byte", id="a string that is not UTF-8"),
        pytest.param(8, b"\x00\x01t", b"\xff\xfe", "responses[0].name, byte 6: a length of -2", id="a length below null"),
        pytest.param(9, b"\x02\x02t", b"\x00", "responses, byte 1: null where none may be", id="a null array"),
        pytest.param(9, b"\x02\x02t", b"\x7f\x02t", "responses, byte 1: an array of 126 in 42 bytes", id="an array without its elements"),
        pytest.param(9, b"\x02\x02t", b"\x82\x80\x80\x80\x80\x00", "responses, byte 5: a varint of more than 5 bytes", id="a varint that does not end"),
        pytest.param(9, b"\x02\x02t", b"\xff\xff\xff\xff\x7f", "responses, byte 5: a varint of more than 32 bits", id="a varint that is too large"),
    ],
)
def test_what_is_wrong_with_an_answer_is_told_with_its_place(version: int, where: bytes, instead: bytes, problem: str) -> None:
    data = produced(version)
    assert data.count(where) == 1
    with pytest.raises(Malformed) as caught:
        codec.decode(data.replace(where, instead), 0, version, "response")
    assert str(caught.value) == problem


@pytest.mark.parametrize(
    ("version", "instead", "problem"),
    [
        (3, "ffffffff", "null where none may be"),
        (3, "fffffffb", "a length of -5"),
        (3, "00000003 6162", "3 bytes wanted, 2 are left"),
        (5, "00", "null where none may be"),
        (5, "04 6162", "3 bytes wanted, 2 are left"),
    ],
)
def test_bytes_that_are_none_are_told_with_their_place(version: int, instead: str, problem: str) -> None:
    data = codec.encode(m.SyncGroupResponse(assignment=b"ab"), 14, version, "response")
    before, found, _ = data.partition(b"\x03ab" if version == 5 else b"\x00\x00\x00\x02ab")
    assert found
    with pytest.raises(Malformed) as caught:
        codec.decode(before + bytes.fromhex(instead), 14, version, "response")
    assert (caught.value.place, caught.value.problem) == ("assignment", problem)


LEADER = b"\x00\x00\x00\x01\x00\x00\x00\x02\x00"


def with_tags(*tags: tuple[int, bytes]) -> bytes:
    """An answer with tags in its one partition."""
    part = Tagged(m.PartitionProduceResponse(1), tags)
    answer = m.ProduceResponse((m.TopicProduceResponse("t", ZERO_UUID, (part,)),))  # type: ignore[arg-type]
    return codec.encode(answer, 0, 10, "response")


def test_tags_are_read_and_those_that_nobody_knows_are_passed_over() -> None:
    read = codec.decode(with_tags((0, LEADER), (5, b"news")), 0, 10, "response")
    assert read.responses[0].partition_responses[0].current_leader == m.ProduceResponseLeaderIdAndEpoch(1, 2)


@pytest.mark.parametrize(
    ("tags", "problem"),
    [
        ([(5, b""), (0, LEADER)], "tag 0 behind tag 5"),
        ([(0, LEADER), (0, LEADER)], "tag 0 behind tag 0"),
        ([(0, LEADER + b"\x00")], "tag 0 (current_leader) says it ends at byte"),
        ([(0, LEADER[:-1])], "tag 0 (current_leader) says it ends at byte"),
    ],
)
def test_tags_out_of_order_or_of_the_wrong_size_are_refused(tags: list[tuple[int, bytes]], problem: str) -> None:
    with pytest.raises(Malformed) as caught:
        codec.decode(with_tags(*tags), 0, 10, "response")
    assert problem in str(caught.value) and caught.value.place == "responses[0].partition_responses[0]"


def test_booleans_and_signs_of_structs_are_one_of_two() -> None:
    created = codec.encode(m.CreateTopicsRequest(), 19, 4, "request")
    with pytest.raises(Malformed, match="validate_only, byte 9: 2 is neither false nor true"):
        codec.decode(created[:-1] + b"\x02", 19, 4, "request")
    described = codec.encode(m.DescribeTopicPartitionsRequest(), 75, 0, "request")
    with pytest.raises(Malformed, match="cursor, byte 6: -2 where 1 says"):
        codec.decode(described[:-2] + b"\xfe\x00", 75, 0, "request")


def test_a_request_can_say_what_no_layout_allows() -> None:
    spoilt = m.ProduceRequest(None, Raw(b"\x7f"), 0, Raw(b"\xff\xff\xff\xf0"))  # type: ignore[arg-type]
    assert codec.encode(spoilt, 0, 3, "request") == b"\xff\xff" + b"\x7f" + bytes(4) + b"\xff\xff\xff\xf0"
    unsubscribed = m.JoinGroupRequest(protocols=(m.JoinGroupRequestProtocol("range", None),))  # type: ignore[arg-type]
    assert codec.encode(unsubscribed, 11, 5, "request").endswith(b"\x00\x05range" + b"\xff\xff\xff\xff")
    nameless = m.ProduceRequest(topic_data=(m.TopicProduceData(None),))  # type: ignore[arg-type]
    assert codec.encode(nameless, 0, 3, "request").endswith(b"\x00\x00\x00\x01" + b"\xff\xff" + bytes(4))


def test_a_message_is_seen_as_its_version_has_it() -> None:
    told = m.ProduceResponse((m.TopicProduceResponse("t", b"\x01" * 16, (m.PartitionProduceResponse(1, 87, error_message="why"),)),))
    seen = codec.as_seen(told, 0, 7, "response")
    assert seen == m.ProduceResponse((m.TopicProduceResponse("t", ZERO_UUID, (m.PartitionProduceResponse(1, 87),)),))
    with pytest.raises(ValueError, match="no layout of API 0 in version 14"):
        codec.as_seen(told, 0, 14, "response")


@pytest.mark.parametrize(("key", "version", "begins"), [(18, 3, 4), (18, 0, 4), (0, 8, 4), (0, 9, 5), (99, 0, 4)])
def test_an_answer_has_tags_in_its_header_where_its_request_has_but_never_that_of_api_versions(key: int, version: int, begins: int) -> None:
    assert codec.answer_body(bytes(12), key, version) == begins


def test_a_request_frame_has_a_name_and_perhaps_tags() -> None:
    assert codec.request_frame(0, 9, 7, "me", b"body") == bytes.fromhex("0000 0009 00000007 0002") + b"me\x00body"
    assert codec.request_frame(0, 8, 7, None, b"") == bytes.fromhex("0000 0008 00000007 ffff")


@pytest.mark.parametrize(
    ("key", "version", "body"),
    [
        pytest.param(3, 8, "ffffffff 02 00 00", id="any byte but 0 is true"),
        pytest.param(3, 8, "fffffff0 01 00 00", id="any negative length of an array is null"),
        pytest.param(3, 8, "00000001 0002 fffe 01 00 00", id="what is not UTF-8 is replaced"),
        pytest.param(3, 8, "00000000 01 00 00 abcd", id="bytes behind it"),
        pytest.param(3, 9, "8180808000 01 00 00 00", id="a varint longer than it need be"),
        pytest.param(3, 9, "81808080f0 00", id="a varint that does not end"),
        pytest.param(3, 9, "81808080 70 01 00 00 00", id="bits above the 32nd"),
        pytest.param(3, 9, "01 01 00 00 02 0701aa 0300", id="tags out of order"),
        pytest.param(3, 9, "01 01 00 00 ffffffff0f", id="a negative count of tags"),
        pytest.param(3, 9, "01 01 00 00 01 0702aa", id="a tag beyond the frame"),
        pytest.param(3, 0, "ffffffff", id="null where none may be"),
        pytest.param(3, 8, "7fffffff", id="an array without its elements"),
        pytest.param(1, 12, "ffffffff 00000000 00000000 00000000 00 00000000 ffffffff 01 01 01 02 0003 0261 0002 0262", id="a known tag of a wrong size, twice"),
        pytest.param(75, 0, "01 000007d0 05 026100000000 00 00", id="a struct that is there, said oddly"),
        pytest.param(11, 0, "0001 67 00002710 0000 0000 00000001 0001 72 00000000", id="no bytes"),
        pytest.param(11, 0, "0001 67 00002710 0000 0000 00000001 0001 72 ffffffff", id="null where bytes must be"),
        pytest.param(11, 0, "0001 67 00002710 0000 0000 00000001 0001 72 00000003 6162", id="bytes beyond the frame"),
        pytest.param(11, 6, "0267 00002710 00002710 01 00 01 02 0272 02ff 00 00", id="bytes that are no text"),
        pytest.param(11, 6, "0267 00002710 00002710 01 00 01 02 0272 ffffffff07 61 00 00", id="more bytes than can be"),
        pytest.param(18, 3, "ffff03" + "61" * 65534 + "0261 00", id="a string that is too long"),
    ],
)
def test_a_broker_forgives_what_it_must(key: int, version: int, body: str) -> None:
    """As the reference broker's codec does, which is another."""
    frame = codec.request_frame(key, version, 7, b"\xff", bytes.fromhex(body))
    assert outcome(lambda: codec.read_request(frame).message) == outcome(lambda: read_body(header(key, version), Reader(frame[len(frame) - len(bytes.fromhex(body)) :])))


def header(key: int, version: int) -> Header:
    """A header with nothing else of interest."""
    return Header(key, version, 7, None)


def outcome(read: Callable[[], Any]) -> Any:
    """What was read; None if it is malformed."""
    try:
        return read()
    except (Malformed, reference.codec.Malformed):
        return None


@pytest.mark.parametrize(
    ("tail", "client_id"),
    [("fff0", None), ("8000", None), ("0000", ""), ("0002 fffe", "\ufffd\ufffd"), ("0002 ff", Malformed), ("ff", Malformed)],
)
def test_any_client_id_is_taken(tail: str, client_id: Any) -> None:
    frame = bytes.fromhex("0012 0000 00000007" + tail)
    if client_id is Malformed:
        with pytest.raises(Malformed, match="header, byte"):
            codec.read_request(frame)
    else:
        assert codec.read_request(frame).client_id == client_id
