"""The generated codec: byte for byte what kio writes and reads, the verdicts of the reference codec on what is broken, and C structs like objects.

FIDUCIAL_LONG=1 tries twenty times as many messages. FIDUCIAL_LAYOUTS names the folder with Kafka's message layouts, if it is not in the
place where this looks for it.
"""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
import sys
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import pytest
from random_messages import KINDS, Kind, Layout, Messages, entity_of, every_layout, layouts, read_by_kio, written_by_kio

from fiducial.fastpath import codec_objects, codec_structs, generate
from fiducial.fastpath.codec_generator.layouts import Disagreement, Message, message
from fiducial.models.apis import APIS, Api
from fiducial.models.messages import (
    CreateTopicsRequest,
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribedGroup,
    DescribedGroupMember,
    DescribeGroupsResponse,
    FetchableTopicResponse,
    FetchRequest,
    FetchResponse,
    FetchTopic,
    JoinGroupRequest,
    JoinGroupRequestProtocol,
    JoinGroupResponse,
    JoinGroupResponseMember,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopic,
    ListOffsetsTopicResponse,
    MetadataRequest,
    MetadataRequestTopic,
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    PartitionData,
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    SyncGroupRequest,
    SyncGroupRequestAssignment,
    SyncGroupResponse,
    TopicProduceResponse,
)
from fiducial.reference import codec as reference
from fiducial.reference.codec import inner

ROOT = Path(__file__).parents[2]
IS_LONG = os.environ.get("FIDUCIAL_LONG") == "1"
MESSAGES = 120 if IS_LONG else 6  # of each layout
MUTATIONS = 1000 if IS_LONG else 50  # of one message of each layout
SMALL_BYTES = 250  # so that cutting a message at every byte is quick

REFUSED = "refused"
PRODUCE, FETCH, LIST_OFFSETS, METADATA, OFFSET_FETCH, JOIN_GROUP, SYNC_GROUP, DESCRIBE_GROUPS = 0, 1, 2, 3, 9, 11, 14, 15
CREATE_TOPICS, DESCRIBE_CONFIGS = 19, 32
HOT = (PRODUCE, FETCH, LIST_OFFSETS)

each_message = pytest.mark.parametrize(
    ("api", "kind"), [pytest.param(api, kind, id=f"{api.name}-{kind}") for api in APIS.values() for kind in KINDS]
)
each_hot_api = pytest.mark.parametrize("api", [pytest.param(APIS[key], id=APIS[key].name) for key in HOT])


def seed(layout: Layout) -> int:
    """Of the random messages of a layout: the same in every run."""
    return layout.api.key * 1000 + layout.version * 10 + KINDS.index(layout.kind)


@each_message
def test_random_messages_hold_every_field_with_several_values(api: Api, kind: Kind) -> None:
    held: dict[tuple[type, str], set[Any]] = {}

    def look(value: Any) -> None:
        for field in attrs.fields(type(value)) if attrs.has(type(value)) else ():
            held.setdefault((type(value), field.name), set()).add(getattr(value, field.name))
            look(getattr(value, field.name))
        for one in value if isinstance(value, tuple) else ():
            look(one)

    for layout in layouts(api, kind):
        source = Messages(seed(layout), for_kio=True)
        for _ in range(MESSAGES):
            look(source.message(layout))
    assert [where for where, values in held.items() if len(values) < 2] == []
    assert {model for model, _ in held} >= set(structs_in(api.request if kind == "request" else api.response))


def structs_in(model: type) -> Iterator[type]:
    """The model's class and those inside."""
    yield model
    for hint in typing.get_type_hints(model).values():
        within = inner(hint, attrs.has)
        if within is not None and within.__module__ == model.__module__:
            yield from structs_in(within)


# Against kio


def difference_from_kio(codec: ModuleType, layout: Layout, count: int = MESSAGES) -> str:
    """The first way in which a codec and kio differ on `count` random messages; empty if they do not."""
    source, schema = Messages(seed(layout), for_kio=True), layout.schema
    for _ in range(count):
        sent = source.message(layout)
        entity = entity_of(schema, sent)
        wire = written_by_kio(schema, entity)
        if codec.encode(sent, *layout.where) != wire:
            return f"{layout} is written differently: {sent}"
        if verdict(codec, wire, layout) != sent:
            return f"{layout} is read differently: {sent}"
        if read_by_kio(schema, codec.encode(sent, *layout.where)) != entity:
            return f"{layout} is read differently by kio: {sent}"
    return ""


@each_message
def test_what_is_written_and_read_is_what_kio_writes_and_reads(api: Api, kind: Kind) -> None:
    for layout in layouts(api, kind):
        assert difference_from_kio(codec_objects, layout) == ""


# Against the reference


def verdict(codec: ModuleType, data: bytes, layout: Layout) -> Any:
    """The message that is read, or REFUSED."""
    try:
        found = codec.decode(data, *layout.where)
    except codec.Malformed:
        return REFUSED
    # The reference leaves this to its core, since kio's layout has it otherwise.
    return REFUSED if layout.where == (METADATA, 0, "request") and found.topics is None else found


def refuted(layout: Layout, data: bytes) -> str:
    """How the two codecs differ on these bytes, empty if they do not. What is read must also be written alike."""
    fast, slow = verdict(codec_objects, data, layout), verdict(reference, data, layout)
    if fast != slow:
        return f"{layout} from {data.hex()}: {fast}, but {slow} by the reference"
    if fast is not REFUSED and codec_objects.encode(fast, *layout.where) != reference.encode(fast, *layout.where):
        return f"{layout} is written differently: {fast}"
    return ""


def small(layout: Layout) -> bytes:
    """A message that is not too long, but as long as can be had in a few trials."""
    source = Messages(seed(layout), for_kio=False)
    trials = [codec_objects.encode(source.message(layout), *layout.where) for _ in range(20)]
    return max((one for one in trials if len(one) <= SMALL_BYTES), key=len, default=min(trials, key=len))


def mutations(data: bytes, count: int, source: random.Random) -> Iterator[bytes]:
    """The message with one to three faults."""
    for _ in range(count):
        mutated = bytearray(data)
        for _ in range(source.choice((1, 1, 2, 3))):
            at = source.randrange(len(mutated) + 1)
            byte = source.choice((0, 1, 2, 0x7F, 0x80, 0xFF, source.randrange(256)))
            match source.randrange(4):
                case 0:
                    mutated[at:at] = bytes([byte])
                case 1:
                    del mutated[at : at + 1]
                case 2:
                    mutated[at : at + 4] = struct.pack(">i", source.choice((-1, -2, 0, 1, 0x7FFFFFFF, byte)))
                case _:
                    mutated[at : at + 1] = bytes([byte])
        yield bytes(mutated)


@each_message
def test_every_number_and_text_is_written_and_read_as_by_the_reference(api: Api, kind: Kind) -> None:
    for layout in layouts(api, kind):
        source = Messages(seed(layout), for_kio=False)
        for _ in range(MESSAGES):
            sent = source.message(layout)
            assert codec_objects.decode(codec_objects.encode(sent, *layout.where), *layout.where) == sent
            assert refuted(layout, bytes(reference.encode(sent, *layout.where))) == ""


@pytest.mark.rule("WIRE-FRAME-8")
@each_message
def test_a_message_cut_short_at_any_byte_gets_the_verdict_of_the_reference(api: Api, kind: Kind) -> None:
    for layout in layouts(api, kind):
        data = small(layout)
        assert verdict(codec_objects, data, layout) is not REFUSED
        for size in range(len(data)):
            assert verdict(codec_objects, data[:size], layout) is REFUSED
            assert refuted(layout, data[:size]) == ""


@pytest.mark.rule("WIRE-FRAME-8")
@each_message
def test_a_mutated_message_gets_the_verdict_of_the_reference(api: Api, kind: Kind) -> None:
    for layout in layouts(api, kind):
        for data in mutations(small(layout), MUTATIONS, random.Random(seed(layout))):
            assert refuted(layout, data) == ""


#: Tagged fields that no layout has (tag 200 in three bytes, tag 16383 in none); and such as other versions, or other structs, may have.
UNKNOWN_TAGS = b"\x02\xc8\x01\x03abc\xff\x7f\x00"
TAGS = [UNKNOWN_TAGS, *(bytes([1, tag, 2, 0, 0]) for tag in range(4))]


def with_tags(data: bytes, tags: bytes) -> list[bytes]:
    """The message with tagged fields in each place where there may be none yet: it may just as well be another zero."""
    return [data[:at] + tags + data[at + 1 :] for at, byte in enumerate(data) if byte == 0]


@pytest.mark.rule("WIRE-FRAME-9")
@each_message
def test_tagged_fields_that_are_unknown_change_nothing_wherever_they_are(api: Api, kind: Kind) -> None:
    for layout in layouts(api, kind):
        data = small(layout)
        assert [found for tags in TAGS for one in with_tags(data, tags) if (found := refuted(layout, one))] == []
        if layout.version >= api.flexible_from and data.endswith(b"\x00"):
            assert verdict(codec_objects, with_tags(data, UNKNOWN_TAGS)[-1], layout) == verdict(codec_objects, data, layout)


@pytest.mark.rule("WIRE-FRAME-9")
def test_a_known_tag_is_read_by_its_type_and_the_last_one_counts() -> None:
    layout = Layout(APIS[FETCH], 12, "request")
    body = codec_objects.encode(FetchRequest(), *layout.where)
    assert body.endswith(b"\x00")
    twice = body[:-1] + b"\x03" + b"\x00\x02\x02a" + b"\x05\x01x" + b"\x00\x63\x02b"  # the size that the last one claims is wrong
    assert verdict(codec_objects, twice, layout) == FetchRequest(cluster_id="b")
    assert refuted(layout, twice) == ""
    assert codec_structs.decode_request(twice, FETCH, 12) == FetchRequest(cluster_id="b")


@pytest.mark.rule("WIRE-FRAME-8")
@pytest.mark.parametrize("version", [3, 4])
def test_an_array_that_may_be_null_has_no_nulls_in_it(version: int) -> None:
    layout = Layout(APIS[DESCRIBE_CONFIGS], version, "request")
    sent = DescribeConfigsRequest((DescribeConfigsResource(2, "topic", ("?",)),))
    null, given = (b"\xff\xff", b"\x00\x01?") if version == 3 else (b"\x00", b"\x02?")
    data = codec_objects.encode(sent, *layout.where)
    assert verdict(codec_objects, data.replace(given, null), layout) is REFUSED
    assert refuted(layout, data.replace(given, null)) == ""
    nothing = DescribeConfigsRequest((DescribeConfigsResource(2, "topic", None),))
    assert verdict(codec_objects, codec_objects.encode(nothing, *layout.where), layout) == nothing


#: A length of -1, of 0, of 2, of more than there is, of as much as can be said, and of -5: as 32 bits, and compact.
LENGTHS = ["ffffffff", "00000000", "00000002", "00000063", "7fffffff", "fffffffb"]
COMPACT_LENGTHS = ["00", "01", "03", "64", "ffffffff07", "fcffffff0f"]


@pytest.mark.rule("WIRE-FRAME-8")
@pytest.mark.parametrize(
    ("sent", "api_key", "flexible_from", "kind"),
    [
        (JoinGroupRequest(protocols=(JoinGroupRequestProtocol("range", b"??"),)), JOIN_GROUP, 6, "request"),
        (JoinGroupResponse(members=(JoinGroupResponseMember("me", metadata=b"??"),)), JOIN_GROUP, 6, "response"),
        (SyncGroupRequest(assignments=(SyncGroupRequestAssignment("me", b"??"),)), SYNC_GROUP, 4, "request"),
        (SyncGroupResponse(assignment=b"??"), SYNC_GROUP, 4, "response"),
        (DescribeGroupsResponse((DescribedGroup(members=(DescribedGroupMember(member_metadata=b"??"),)),)), DESCRIBE_GROUPS, 5, "response"),
        (DescribeGroupsResponse((DescribedGroup(members=(DescribedGroupMember(member_assignment=b"??"),)),)), DESCRIBE_GROUPS, 5, "response"),
    ],
)
def test_bytes_may_be_none_but_not_null_nor_more_than_there_are(sent: Any, api_key: int, flexible_from: int, kind: Kind) -> None:
    for layout in layouts(APIS[api_key], kind):
        data = codec_objects.encode(sent, *layout.where)
        lengths = [bytes.fromhex(one) for one in (COMPACT_LENGTHS if layout.version >= flexible_from else LENGTHS)]
        (before, behind) = data.split(lengths[2] + b"??")
        spoilt = [before + length + (b"??" if index > 1 else b"") + behind for index, length in enumerate(lengths)]
        assert spoilt[2] == data and [refuted(layout, one) for one in spoilt] == [""] * len(spoilt)
        assert [verdict(codec_objects, one, layout) is REFUSED for one in spoilt] == [True, False, False, True, True, True]
        assert verdict(codec_objects, spoilt[1], layout) == with_empty_bytes(sent)


def with_empty_bytes(message: Any) -> Any:
    """The message with nothing where ?? stands."""
    if isinstance(message, tuple):
        return tuple(with_empty_bytes(one) for one in message)
    if attrs.has(type(message)):
        return type(message)(*(with_empty_bytes(getattr(message, field.name)) for field in attrs.fields(type(message))))
    return b"" if message == b"??" else message


@pytest.mark.rule("WIRE-FRAME-8")
def test_no_topics_and_null_are_two_requests_where_null_may_be() -> None:
    for layout in layouts(APIS[OFFSET_FETCH], "request"):
        empty, null = (
            OffsetFetchRequest("g", topics) if layout.version < 8 else OffsetFetchRequest(groups=(OffsetFetchRequestGroup("g", topics=topics),))
            for topics in ((), None)
        )
        assert verdict(codec_objects, codec_objects.encode(empty, *layout.where), layout) == empty
        data = codec_objects.encode(null, *layout.where)
        assert verdict(codec_objects, data, layout) == (REFUSED if layout.version < 2 else null)
        assert refuted(layout, data) == ""


def test_bytes_behind_a_message_and_before_its_position_are_not_looked_at() -> None:
    sent = MetadataRequest((MetadataRequestTopic(name="a"),))
    data = codec_objects.encode(sent, METADATA, 9, "request")
    assert codec_objects.decode(b"\xff\xff" + data + b"\xff", METADATA, 9, "request", position=2) == sent
    with pytest.raises(codec_objects.Malformed):
        codec_objects.decode(b"\xff\xff" + data[:-1], METADATA, 9, "request", position=2)
    with pytest.raises(ValueError, match="position 3 in 2 bytes"):
        codec_objects.decode(b"\xff\xff", METADATA, 9, "request", position=3)


# "é" has two bytes, and half of it is one U+FFFD of three.
LONG_NAMES = [b"x" * 32767, b"x" * 32768, b"x" * 32766 + "é".encode(), b"x" * 32764 + b"\xc3", b"x" * 32765 + b"\xc3", b"\xff" * 10922, b"\xff" * 10923]


@pytest.mark.rule("WIRE-FRAME-8")
@pytest.mark.parametrize("name", LONG_NAMES, ids=range(len(LONG_NAMES)))
def test_a_string_is_refused_where_it_could_not_be_said_again(name: bytes) -> None:
    layout = Layout(APIS[LIST_OFFSETS], 6, "request")
    body = codec_objects.encode(ListOffsetsRequest(topics=(ListOffsetsTopic("?"),)), *layout.where)
    compact = bytearray()
    reference.write_varint(compact, len(name) + 1)
    data = body.replace(b"\x02?", compact + name)
    is_refused = len(name.decode("utf-8", "replace").encode()) > 32767
    assert (verdict(codec_objects, data, layout) is REFUSED) == is_refused
    assert refuted(layout, data) == refuted_structs(layout, data) == ""


@pytest.mark.parametrize("text", ["x" * 32767, "x" * 32768, "x" * 32766 + "é", "x" * 32765 + "→", "x" * 32766 + "𝄞x"])
def test_a_string_that_is_too_long_is_cut_behind_a_whole_character(text: str) -> None:
    for version in (5, 6):
        layout = Layout(APIS[LIST_OFFSETS], version, "response")
        answer = ListOffsetsResponse(topics=(ListOffsetsTopicResponse(text),))
        data = codec_objects.encode(answer, *layout.where)
        assert verdict(codec_objects, data, layout).topics[0].name == text[:32767] if text.isascii() else text[:-1].rstrip("𝄞")
        assert data == reference.encode(answer, *layout.where)
        frame, gaps = codec_structs.encode_response(answer, LIST_OFFSETS, version)
        assert spliced(frame, gaps, []) == data


@pytest.mark.parametrize("name", ["\ud800", 7, b"a"])
def test_what_is_no_text_is_not_written(name: Any) -> None:
    with pytest.raises((UnicodeEncodeError, TypeError)):
        codec_objects.encode(MetadataRequest((MetadataRequestTopic(name=name),)), METADATA, 8, "request")


@pytest.mark.parametrize("assignment", ["a", 7, bytearray(b"a")])
def test_what_is_no_bytes_is_not_written(assignment: Any) -> None:
    with pytest.raises(TypeError):
        codec_objects.encode(SyncGroupResponse(assignment=assignment), SYNC_GROUP, 5, "response")


def test_what_is_no_number_or_id_for_the_wire_is_refused() -> None:
    with pytest.raises(OverflowError):
        codec_objects.encode(CreateTopicsRequest(timeout_ms=1 << 31), CREATE_TOPICS, 7, "request")
    with pytest.raises(ValueError, match="16 bytes"):
        codec_objects.encode(MetadataRequest((MetadataRequestTopic(topic_id=b"short"),)), METADATA, 12, "request")


@pytest.mark.parametrize("where", [(PRODUCE, 2), (PRODUCE, 14), (METADATA, -1), (999, 0)])
def test_versions_that_are_not_served_have_no_layout(where: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="not served"):
        codec_objects.decode(b"", *where, "request")
    with pytest.raises(ValueError, match="not served"):
        codec_objects.encode(MetadataRequest(), *where, "request")


def test_records_are_what_a_function_makes_of_them() -> None:
    layout = Layout(APIS[FETCH], 4, "response")
    sent = fetched(b"abc", None)
    data = codec_objects.encode(sent, *layout.where, lambda records: records and records.upper())
    assert data == reference.encode(sent, *layout.where, lambda records: records and records.upper())
    taken: list[bytes | None] = []
    codec_objects.decode(data, *layout.where, taken.append)
    assert taken == [b"ABC", None]
    taken.clear()
    with pytest.raises(codec_objects.Malformed):
        codec_objects.decode(data[:-4] + b"\x00\x00\x00\x01", *layout.where, taken.append)
    assert taken == [b"ABC"], "what is malformed is not handed on"


# C structs


def refuted_structs(layout: Layout, data: bytes, codec: ModuleType = codec_structs) -> str:
    """How a request as C structs differs from the same as objects, empty if it does not."""
    fast = codec.decode_request(data, layout.api.key, layout.version)
    found = verdict(codec_objects, data, layout)
    return "" if fast == (None if found is REFUSED else found) else f"{layout} from {data.hex()}: {fast}, but {found} as objects"


def difference_from_objects(codec: ModuleType, layout: Layout) -> str:
    """The first way in which structs and objects differ on random messages, with tags they do not have too; empty if they do not."""
    source = Messages(seed(layout), for_kio=False)
    sent = [source.message(layout) for _ in range(10 * MESSAGES)]
    if layout.kind == "request":
        data = [codec_objects.encode(one, *layout.where) for one in sent]
        data += [spoiled for tags in TAGS for spoiled in with_tags(small(layout), tags)]
        return next((found for one in data if (found := refuted_structs(layout, one, codec))), "")
    for one in sent:
        frame, gaps = codec.encode_response(one, layout.api.key, layout.version)
        if spliced(frame, gaps, []) != codec_objects.encode(one, *layout.where):
            return f"{layout} is written differently: {one}"
    return ""


@each_hot_api
@pytest.mark.parametrize("kind", KINDS)
def test_structs_are_read_and_written_as_objects_are(api: Api, kind: Kind) -> None:
    for layout in layouts(api, kind):
        assert difference_from_objects(codec_structs, layout) == ""


@pytest.mark.rule("WIRE-FRAME-8")
@each_hot_api
def test_a_broken_request_gets_the_same_verdict_from_structs(api: Api) -> None:
    for layout in layouts(api, "request"):
        data = small(layout)
        cut = [data[:size] for size in range(len(data))]
        for one in (*cut, *mutations(data, 10 * MUTATIONS, random.Random(seed(layout)))):
            assert refuted_structs(layout, one) == ""


def spliced(frame: bytes, gaps: list[tuple[int, int, int]], slices: list[bytes]) -> bytes:
    """The frame with its gaps filled and without its length, which must be right."""
    out, position = b"", 0
    for at, index, size in gaps:
        assert size == len(slices[index])
        out += frame[position:at] + slices[index]
        position = at
    out += frame[position:]
    assert struct.unpack_from(">i", out)[0] == len(out) - 4
    return out[4:]


def fetched(*records: Any) -> FetchResponse:
    """A response with a partition for each of the records: bytes, or what stands for a slice."""
    return FetchResponse(responses=(FetchableTopicResponse("a", partitions=tuple(PartitionData(records=one) for one in records)),))


def test_slices_of_a_fetch_response_leave_gaps() -> None:
    slices = [bytes([index]) * (index * 100) for index in range(40)]
    places = [(index, len(one)) for index, one in enumerate(slices)]
    for layout in layouts(APIS[FETCH], "response"):
        frame, gaps = codec_structs.encode_response(fetched(b"before", *places, b"behind"), FETCH, layout.version)
        assert [index for _, index, _ in gaps] == list(range(1, 40)), "an empty slice needs none"
        assert spliced(frame, gaps, slices) == codec_objects.encode(fetched(b"before", *slices, b"behind"), *layout.where)


def test_responses_begin_with_the_defaults_of_the_layouts() -> None:
    missing: Any = None
    pairs: dict[int, list[tuple[Any, Any]]] = {
        PRODUCE: [
            (missing, ProduceResponse()),
            (ProduceResponse((missing,)), ProduceResponse((TopicProduceResponse(),))),
            (
                ProduceResponse((TopicProduceResponse(partition_responses=(missing,)),)),
                ProduceResponse((TopicProduceResponse(partition_responses=(PartitionProduceResponse(),)),)),
            ),
        ],
        FETCH: [
            (missing, FetchResponse()),
            (FetchResponse(responses=(missing,)), FetchResponse(responses=(FetchableTopicResponse(),))),
            (
                FetchResponse(responses=(FetchableTopicResponse(partitions=(missing,)),)),
                FetchResponse(responses=(FetchableTopicResponse(partitions=(PartitionData(),)),)),
            ),
        ],
        LIST_OFFSETS: [
            (missing, ListOffsetsResponse()),
            (ListOffsetsResponse(topics=(missing,)), ListOffsetsResponse(topics=(ListOffsetsTopicResponse(),))),
        ],
    }
    for key, cases in pairs.items():
        for layout in layouts(APIS[key], "response"):
            for unsaid, said in cases:
                frame, gaps = codec_structs.encode_response(unsaid, key, layout.version)
                assert spliced(frame, gaps, []) == codec_objects.encode(said, *layout.where)


@pytest.mark.rule("WIRE-FRAME-8")
def test_text_that_is_not_utf8_is_replaced_in_structs_as_python_does() -> None:
    source = random.Random(8)
    bytes_of_note = (0x20, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xED, 0xEF, 0xF0, 0xF1, 0xF4, 0xF5, 0xFF)
    # What stands behind the name could be the rest of a character.
    before, after = codec_objects.encode(ProduceRequest("?", -0x7F80), PRODUCE, 3, "request").split(b"\x00\x01?")
    assert after.startswith(b"\x80\x80")
    for _ in range(200_000 if IS_LONG else 5_000):
        name = bytes(source.choices(bytes_of_note, k=source.randrange(8)))
        found = codec_structs.decode_request(before + struct.pack(">h", len(name)) + name + after, PRODUCE, 3)
        assert found.transactional_id == name.decode("utf-8", "replace"), name


def test_structs_hold_what_is_large_and_the_next_message_is_none_the_worse() -> None:
    many = FetchRequest(topics=tuple(FetchTopic(f"topic-{index}") for index in range(20_000)))
    few = FetchRequest(topics=(FetchTopic("a"),))
    for sent in (few, many, few, many, few):
        assert codec_structs.decode_request(codec_objects.encode(sent, FETCH, 4, "request"), FETCH, 4) == sent
    for answer in (fetched(), fetched(bytes(3 << 20)), fetched(), fetched(bytes(3 << 20)), fetched()):
        frame, gaps = codec_structs.encode_response(answer, FETCH, 4)
        assert spliced(frame, gaps, []) == codec_objects.encode(answer, FETCH, 4, "response")


def test_an_array_for_which_there_are_too_few_bytes_takes_no_memory() -> None:
    program = """
import resource
from fiducial.fastpath import codec_structs
from fiducial.models.messages import FetchRequest
data = bytes(17) + (8 << 20).to_bytes(4, "big") + bytes(8 << 20)  # as many topics as bytes, but a topic has six
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert codec_structs.decode_request(data, 1, 4) is None
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    grown_kib = int(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=60).stdout)
    assert grown_kib < 8 << 10


def test_a_frame_larger_than_its_length_can_say_is_refused() -> None:
    whole = codec_structs.encode_response(fetched((0, 0)), FETCH, 4)[0]
    largest = 0x7FFFFFFF - (len(whole) - 4)
    assert codec_structs.encode_response(fetched((0, largest)), FETCH, 4)[0][:4] == b"\x7f\xff\xff\xff"
    with pytest.raises(ValueError, match="larger than a frame"):
        codec_structs.encode_response(fetched((0, largest + 1)), FETCH, 4)


# The generator


def test_the_generated_files_are_what_the_layouts_give() -> None:
    folder = Path(os.environ.get("FIDUCIAL_LAYOUTS") or ROOT.parent / "shared/kafka-messages")
    if not folder.is_dir():
        pytest.skip(f"NOT RUN: no message layouts in {folder}; set FIDUCIAL_LAYOUTS to Kafka's clients/src/main/resources/common/message")
    stale = [name for name, text in generate.generated(folder).items() if (ROOT / "fastpath" / name).read_text() != text]
    assert stale == [], f"python fastpath/generate.py {folder}"


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ([{"name": "Key", "type": "float64"}], "nothing reads or writes float64"),
        ([{"name": "Key", "type": "string", "flexibleVersions": "none"}], "flexibleVersions.* is not understood"),
        ([{"name": "Key", "type": "string", "default": "null"}], "'' in the model, None in the layout"),
        ([{"name": "Kee", "type": "string"}], "the model and the layout differ"),
        ([{"name": "Key", "type": "string", "taggedVersions": "4+", "tag": 0}], "tagged in range.4, 7. only"),
        ([{"name": "Key", "type": "records", "taggedVersions": "0+", "tag": 0}], "records may not be tagged"),
    ],
)
def test_a_layout_that_does_not_fit_gives_no_code(fields: list[dict[str, Any]], complaint: str) -> None:
    def found(layouts: list[dict[str, Any]]) -> Message:
        others = [{"name": "KeyType", "type": "int8"}, {"name": "CoordinatorKeys", "type": "[]string"}]
        every = [{"versions": "0+", **one} for one in (*layouts, *others)]
        return message(APIS[10], True, {"name": "FindCoordinatorRequest", "validVersions": "0-6", "flexibleVersions": "3+", "fields": every})

    assert found([{"name": "Key", "type": "string"}]).struct.name == "FindCoordinatorRequest"
    with pytest.raises(Disagreement, match=complaint):
        found(fields)


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"validVersions": "0-5"}, "has not all versions"),
        ({"flexibleVersions": "4+"}, "is flexible in range.4"),
        ({"commonStructs": []}, "commonStructs.* is not understood"),
    ],
)
def test_a_message_that_does_not_fit_gives_no_code(said: dict[str, Any], complaint: str) -> None:
    with pytest.raises(Disagreement, match=complaint):
        message(APIS[10], True, {"name": "FindCoordinatorRequest", "validVersions": "0-6", "flexibleVersions": "3+", "fields": [], **said})


# Mutants


@dataclass(frozen=True)
class Mutant:
    """A fault in one function of the codec, and the message that shows it. No two of a build are in the same message."""

    fault: str
    file: str
    function: str
    old: str
    new: str
    api_key: int
    kind: Kind

    def planted(self, source: str) -> str:
        """The source with the fault."""
        before, name, rest = source.partition(f" {self.function}(")
        body, behind, after = rest.partition("\n\n\n")
        assert name and body.count(self.old) == 1, f"{self}: there is no such place"
        return before + name + body.replace(self.old, self.new) + behind + after


OBJECTS, STRUCTS, WIRE = "codec_objects.pyx", "codec_structs.pyx", "wire.pxd"
#: For each build, the module in which the faults show, and the faults.
MUTANTS: dict[str, tuple[str, list[Mutant]]] = {
    "objects": (
        "codec_objects",
        [
            Mutant("read from a later version on", OBJECTS, "read_metadata_response_topic", "version >= 10", "version >= 11", 3, "response"),
            Mutant("written in one version too many", OBJECTS, "write_find_coordinator_request", "version <= 3", "version <= 4", 10, "request"),
            Mutant("another default", OBJECTS, "read_describe_cluster_request", "version >= 1 else 1", "version >= 1 else 2", 60, "request"),
            Mutant("fields swapped", OBJECTS, "read_producer_state", "producer_id, producer_epoch", "producer_epoch, producer_id", 61, "response"),
            Mutant("a tag ignored", OBJECTS, "read_api_versions_response", "tag == 2", "tag == 20", 18, "response"),
            Mutant("a tag for another", OBJECTS, "write_creatable_topic_result", "begin_tag(writer, 0)", "begin_tag(writer, 1)", 19, "response"),
            Mutant("no null", OBJECTS, "read_describe_log_dirs_request", "flexible, True", "flexible, False", 35, "request"),
            Mutant("a tag written unasked", OBJECTS, "write_fetch_request", "value.cluster_id is not None", "True", 1, "request"),
            Mutant("items thought larger", OBJECTS, "read_delete_records_topic", "False, 12", "False, 120", 21, "request"),
            Mutant("no tags in a struct", OBJECTS, "write_create_partitions_assignment", "write_varint(writer, 0)", "pass", 37, "request"),
            Mutant("an id in the version before", OBJECTS, "write_offset_commit_request_topic", "version == 10", "version >= 9", 8, "request"),
            Mutant("no null in a struct", OBJECTS, "read_offset_fetch_request_group", "flexible, True, 3", "flexible, False, 3", 9, "request"),
            Mutant("bytes before their name", OBJECTS, "read_join_group_request_protocol", "name, metadata)", "metadata, name)", 11, "request"),
            Mutant("written one version late", OBJECTS, "write_join_group_response", "version >= 7", "version >= 8", 11, "response"),
            Mutant("read one version late", OBJECTS, "read_heartbeat_request", "version >= 3", "version >= 4", 12, "request"),
            Mutant("members thought larger", OBJECTS, "read_leave_group_response", "False, 5", "False, 50", 13, "response"),
            Mutant("bytes of two kinds swapped", OBJECTS, "write_described_group_member", "member_metadata", "member_assignment", 15, "response"),
            Mutant("written in two versions only", OBJECTS, "write_listed_group", "version == 5", "version >= 4", 16, "response"),
            Mutant("two fields swapped", OBJECTS, "read_offset_delete_response_partition", "(partition_index, error_code)", "(error_code, partition_index)", 47, "response"),
        ],
    ),
    "structs": (
        "codec_structs",
        [
            Mutant("no transactional id", STRUCTS, "read_produce_request", "flexible, True", "flexible, False", 0, "request"),
            Mutant("a tag that never differs", STRUCTS, "write_partition_produce_response", "version >= 10 and", "version >= 11 and", 0, "response"),
            Mutant("a tag from an earlier version on", STRUCTS, "read_fetch_request", "version >= 15", "version >= 14", 1, "request"),
            Mutant("fields swapped", STRUCTS, "write_aborted_transaction", "value.first_offset", "value.producer_id", 1, "response"),
            Mutant("another default", STRUCTS, "default_list_offsets_partition", "= -1", "= 0", 2, "request"),
            Mutant("from a later version on", STRUCTS, "write_list_offsets_partition_response", "version >= 4", "version >= 5", 2, "response"),
        ],
    ),
    "lengths written": ("codec_objects", [Mutant("one too many", WIRE, "write_size", "(size + 1)", "(size + 2)", 74, "response")]),
    "lengths read": ("codec_objects", [Mutant("one too many", WIRE, "read_size", "(reader) - 1", "(reader)", 74, "response")]),
}


def built(module: str, faults: list[Mutant], folder: Path) -> ModuleType:
    """The module with these faults in its sources, compiled in `folder`. The rest of the package is as it is."""
    package = folder / "fiducial/fastpath"
    shutil.copytree(ROOT / "fastpath", package, ignore=lambda _, names: [name for name in names if not name.endswith((".pxd", ".pyx"))])
    for part in (package, package.parent):
        (part / "__init__.py").touch()
    for mutant in faults:
        path = package / mutant.file
        path.write_text(mutant.planted(path.read_text()))
    program = f"""
from Cython.Build import cythonize
from setuptools import Extension, setup
extension = Extension("fiducial.fastpath.{module}", ["fiducial/fastpath/{module}.pyx"], extra_compile_args=["-O0", "-std=c++17"])
setup(name="mutants", packages=[], script_args=["-q", "build_ext", "--inplace"], ext_modules=cythonize([extension], quiet=True))
"""
    subprocess.run([sys.executable, "-c", program], cwd=folder, check=True, timeout=300)
    (library,) = package.glob("*.so")
    loader = ExtensionFileLoader(f"fiducial.fastpath.{module}", str(library))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    found = module_from_spec(spec)
    loader.exec_module(found)
    return found


@pytest.mark.parametrize("build", MUTANTS)
def test_faults_planted_in_the_codec_are_found(build: str, tmp_path: Path) -> None:
    module, faults = MUTANTS[build]
    difference = difference_from_objects if module == "codec_structs" else difference_from_kio
    mutated = built(module, faults, tmp_path)
    for mutant in faults:
        assert any(difference(mutated, layout) for layout in layouts(APIS[mutant.api_key], mutant.kind)), f"{mutant} survives"
    if len(faults) > 1:
        spoiled = {(mutant.api_key, mutant.kind) for mutant in faults}
        keys = HOT if module == "codec_structs" else APIS
        sound = [layout for layout in every_layout() if layout.api.key in keys and (layout.api.key, layout.kind) not in spoiled]
        assert not any(difference(mutated, layout) for layout in sound), "a fault shows where it is not"
