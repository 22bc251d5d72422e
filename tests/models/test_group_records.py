"""Records of groups in bytes: what Apache Kafka 4.3.1's own classes write, in every version that they read; and what nobody can read.

That its broker writes these versions, and answers what is decoded here, `differential/test_group_records.py` asks of it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiducial.models.group_offsets import CommittedOffset, OffsetCommitted, OffsetForgotten
from fiducial.models.group_records import decoded, encoded
from fiducial.models.groups import GroupForgotten, GroupMetadata, SavedMember
from fiducial.models.values import ZERO_UUID, changed

OFFSET_KEY, LEGACY_KEY, GROUP_KEY = (bytes.fromhex(one) for one in ("000100016700017400000001", "000000016700017400000001", "0002000167"))
ID = bytes([1]) * 16
A = SavedMember("a", None, "c", "/h", 30, 20, b"\1", b"\2\3")
B = SavedMember("b", "i", "", "/h", 30, 20, b"", b"")
GROUP = GroupMetadata("g", "consumer", 4, "range", "a", 1000, (A, B))
UNTIMED = tuple(changed(one, rebalance_timeout_ms=20) for one in (A, B))
DYNAMIC = (A, changed(B, instance_id=None))
NOBODY = GroupMetadata("g", None, 0, None, None, 1000, ())


def committed(*fields: Any) -> OffsetCommitted:
    """For partition 1 of t."""
    return OffsetCommitted("g", "t", 1, CommittedOffset(*fields))


#: (key, value, record): as Apache Kafka writes it.
WRITTEN = [
    (OFFSET_KEY, "0004000000000000000500000003026d00000000000003e801001001010101010101010101010101010101", committed(5, 3, "m", 1000, -1, ID)),
    (OFFSET_KEY, "00040000000000000005ffffffff0100000000000003e800", committed(5, -1, "", 1000)),
    (OFFSET_KEY, "0001000000000000000500016d00000000000003e800000000000007d0", committed(5, -1, "m", 1000, 2000)),
    (OFFSET_KEY, None, OffsetForgotten("g", "t", 1)),
    (
        GROUP_KEY,
        (
            "00030008636f6e73756d657200000004000572616e676500016100000000000003e800000002000161ffff00016300022f680000001e000000140000000101000000020203"
            "000162000169000000022f680000001e000000140000000000000000"
        ),
        GROUP,
    ),
    (GROUP_KEY, "0003000000000000ffffffff00000000000003e800000000", NOBODY),
    (GROUP_KEY, None, GroupForgotten("g")),
]
#: The same: as it wrote once, and as it may write.
OTHERS = [
    (LEGACY_KEY, "0000000000000000000500016d00000000000003e8", committed(5, -1, "m", 1000)),
    (LEGACY_KEY, None, OffsetForgotten("g", "t", 1)),
    (OFFSET_KEY, "0000000000000000000500016d00000000000003e8", committed(5, -1, "m", 1000)),
    (OFFSET_KEY, "0002000000000000000500016d00000000000003e8", committed(5, -1, "m", 1000)),
    (OFFSET_KEY, "000300000000000000050000000300016d00000000000003e8", committed(5, 3, "m", 1000)),
    (OFFSET_KEY, "00040000000000000005ffffffff0100000000000003e80107020102", committed(5, -1, "", 1000)),  # with a tag that nobody knows
    (
        GROUP_KEY,
        (
            "00000008636f6e73756d657200000004000572616e67650001610000000200016100016300022f68000000140000000101000000020203"
            "000162000000022f68000000140000000000000000"
        ),
        changed(GROUP, since_ms=-1, members=(UNTIMED[0], changed(UNTIMED[1], instance_id=None))),
    ),
    (
        GROUP_KEY,
        (
            "00010008636f6e73756d657200000004000572616e67650001610000000200016100016300022f680000001e000000140000000101000000020203"
            "000162000000022f680000001e000000140000000000000000"
        ),
        changed(GROUP, since_ms=-1, members=DYNAMIC),
    ),
    (
        GROUP_KEY,
        (
            "00020008636f6e73756d657200000004000572616e676500016100000000000003e80000000200016100016300022f680000001e000000140000000101000000020203"
            "000162000000022f680000001e000000140000000000000000"
        ),
        changed(GROUP, members=DYNAMIC),
    ),
    (
        GROUP_KEY,
        (
            "000409636f6e73756d6572000000040672616e6765026100000000000003e8030261000263032f680000001e000000140201030203000262026901032f68"
            "0000001e0000001401010000"
        ),
        GROUP,
    ),
    (GROUP_KEY, "0000000000000000ffffffff00000000", changed(NOBODY, since_ms=-1)),
    (GROUP_KEY, "00040100000000000000000000000003e80100", NOBODY),
]


def data(text: str | None) -> bytes | None:
    """A value."""
    return None if text is None else bytes.fromhex(text)


@pytest.mark.rule("GROUP-RECORD-7", "GROUP-RECORD-8", "GROUP-RECORD-9")
@pytest.mark.parametrize("key, value, record", WRITTEN)
def test_a_record_is_written_as_apache_kafka_writes_it(key: bytes, value: str | None, record: Any) -> None:
    assert encoded(record) == (key, data(value))


@pytest.mark.rule("GROUP-RECORD-10", "GROUP-RECORD-11")
@pytest.mark.parametrize("key, value, record", WRITTEN + OTHERS)
def test_every_version_is_read(key: bytes, value: str | None, record: Any) -> None:
    assert decoded(key, data(value)) == record


@pytest.mark.rule("GROUP-RECORD-8")
def test_with_a_time_to_live_of_its_own_an_offset_loses_leader_epoch_and_topic_id() -> None:
    given_all = committed(5, 3, "m", 1000, 2000, ID)
    assert decoded(*encoded(given_all)) == committed(5, -1, "m", 1000, 2000)


# Any record, in any version

Layout = tuple[tuple[str, str, range], ...]
ALL = range(5)
#: Field, type, and the versions that have it: Apache Kafka's OffsetCommitValue, GroupMetadataValue and MemberMetadata.
OFFSET_LAYOUT: Layout = (
    ("offset", "int64", ALL),
    ("leader_epoch", "int32", range(3, 5)),
    ("metadata", "string", ALL),
    ("commit_ms", "int64", ALL),
    ("expire_ms", "int64", range(1, 2)),
    ("topic_id", "tag", range(4, 5)),
)
GROUP_LAYOUT: Layout = (
    ("protocol_type", "string", ALL),
    ("generation", "int32", ALL),
    ("protocol", "string", ALL),
    ("leader", "string", ALL),
    ("since_ms", "int64", range(2, 5)),
    ("members", "array", ALL),
)
MEMBER_LAYOUT: Layout = (
    ("member_id", "string", ALL),
    ("instance_id", "string", range(3, 5)),
    ("client_id", "string", ALL),
    ("client_host", "string", ALL),
    ("rebalance_timeout_ms", "int32", range(1, 5)),
    ("session_timeout_ms", "int32", ALL),
    ("subscription", "bytes", ALL),
    ("assignment", "bytes", ALL),
)


def size(length: int, code: str, version: int) -> bytes:
    """A length, or how many there are; -1 for null."""
    if version < 4:
        return struct.pack(code, length)
    low, high = (length + 1) % 128, (length + 1) // 128
    return bytes([low | 128, high]) if high else bytes([low])


def laid_out(layout: Layout, one: Any, version: int) -> bytes:
    """A struct in a version."""
    written, tags = b"", b"\0"
    for name, kind, versions in layout:
        content = getattr(one, name)
        if version not in versions:
            continue
        if kind == "string":
            string = None if content is None else content.encode()
            written += size(-1 if string is None else len(string), ">h", version) + (string or b"")
        elif kind == "bytes":
            written += size(len(content), ">i", version) + content
        elif kind == "array":
            written += size(len(content), ">i", version) + b"".join(laid_out(MEMBER_LAYOUT, member, version) for member in content)
        elif kind == "tag":
            tags = b"\0" if content == ZERO_UUID else b"\1\0\x10" + content
        else:
            written += struct.pack(">q" if kind == "int64" else ">i", content)
    return written + (tags if version >= 4 else b"")


def kept(layout: Layout, one: Any, version: int, **absent: Any) -> Any:
    """What a version keeps of a value: all that it has, and of the rest what is said of it where nothing is."""
    return changed(one, **{name: absent[name] for name, _, versions in layout if version not in versions})


INT32, INT64 = st.integers(-(2**31), 2**31 - 1), st.integers(-(2**63), 2**63 - 1)
TEXT, BYTES = st.text(max_size=200), st.binary(max_size=200)
OFFSETS = st.builds(CommittedOffset, INT64, INT32, TEXT, INT64, INT64, st.sampled_from([ZERO_UUID, ID]) | st.binary(min_size=16, max_size=16))
MEMBERS = st.builds(SavedMember, TEXT, st.none() | TEXT, TEXT, TEXT, st.integers(0, 2**31 - 1), INT32, BYTES, BYTES)
GROUPS = st.builds(
    GroupMetadata, TEXT, st.none() | st.text(min_size=1), INT32, st.none() | TEXT, st.none() | TEXT, INT64, st.lists(MEMBERS, max_size=3).map(tuple)
)
RECORDS = GROUPS | st.builds(OffsetCommitted, TEXT, TEXT, INT32, OFFSETS) | st.builds(OffsetForgotten, TEXT, TEXT, INT32) | st.builds(GroupForgotten, TEXT)
SAME_EACH_TIME = settings(derandomize=True, database=None, deadline=None)


@pytest.mark.rule("GROUP-RECORD-7", "GROUP-RECORD-8", "GROUP-RECORD-9", "GROUP-RECORD-10", "GROUP-RECORD-11")
@SAME_EACH_TIME
@given(RECORDS)
def test_what_is_written_is_read(record: Any) -> None:
    found = decoded(*encoded(record))
    if isinstance(record, OffsetCommitted) and record.committed.expire_ms != -1:
        record = changed(record, committed=changed(record.committed, leader_epoch=-1, topic_id=ZERO_UUID))
    assert found == record


@pytest.mark.rule("GROUP-RECORD-11")
@SAME_EACH_TIME
@given(OFFSETS, st.sampled_from(ALL))
def test_an_offset_of_any_version_is_read(one: CommittedOffset, version: int) -> None:
    value = struct.pack(">h", version) + laid_out(OFFSET_LAYOUT, one, version)
    read = kept(OFFSET_LAYOUT, one, version, leader_epoch=-1, expire_ms=-1, topic_id=ZERO_UUID)
    assert decoded(OFFSET_KEY, value) == OffsetCommitted("g", "t", 1, read)


@pytest.mark.rule("GROUP-RECORD-11")
@SAME_EACH_TIME
@given(GROUPS, st.sampled_from(ALL))
def test_a_group_of_any_version_is_read(group: GroupMetadata, version: int) -> None:
    written = changed(group, protocol_type=group.protocol_type or "")
    value = struct.pack(">h", version) + laid_out(GROUP_LAYOUT, written, version)
    members = tuple(kept(MEMBER_LAYOUT, one, version, instance_id=None, rebalance_timeout_ms=one.session_timeout_ms) for one in group.members)
    assert decoded(GROUP_KEY, value) == changed(kept(GROUP_LAYOUT, group, version, since_ms=-1), group_id="g", members=members)


@pytest.mark.rule("GROUP-RECORD-11")
def test_a_member_that_has_no_rebalance_timeout_has_that_of_its_session() -> None:
    """Apache Kafka takes -1 for none in every version."""
    (key, value) = encoded(changed(GROUP, members=(changed(A, rebalance_timeout_ms=-1),)))
    assert decoded(key, value).members == (changed(A, rebalance_timeout_ms=20),)


# What is not ours, and what cannot be read


@pytest.mark.rule("GROUP-RECORD-10")
@pytest.mark.parametrize("kind", [*range(3, 24), 99, -1])
def test_a_key_of_another_kind_is_skipped_whatever_follows(kind: int) -> None:
    assert decoded(struct.pack(">h", kind), b"whatever") is None
    assert decoded(struct.pack(">h", kind) + b"\0\1g", None) is None


@pytest.mark.rule("GROUP-RECORD-10")
def test_a_record_without_key_cannot_be_read() -> None:
    with pytest.raises(ValueError, match="without key"):
        decoded(None, b"\0\1")


def cut(whole: Iterable[bytes]) -> list[bytes]:
    """Everything that is shorter than one of these."""
    return [one[:length] for one in whole for length in range(len(one))]


@pytest.mark.rule("GROUP-RECORD-10")
@pytest.mark.parametrize("key", cut([OFFSET_KEY, LEGACY_KEY, GROUP_KEY]))
def test_a_key_that_is_too_short_cannot_be_read(key: bytes) -> None:
    with pytest.raises(ValueError, match=r"bytes wanted at \d+"):
        decoded(key, None)


@pytest.mark.rule("GROUP-RECORD-11")
def test_a_value_that_is_too_short_cannot_be_read() -> None:
    for key, value, _ in WRITTEN + OTHERS:
        for short in cut([bytes.fromhex(value or "")]):
            with pytest.raises(ValueError, match=r"bytes wanted at \d+|bytes are left"):
                decoded(key, short)


@pytest.mark.rule("GROUP-RECORD-11")
@pytest.mark.parametrize("key, value, record", WRITTEN + OTHERS)
def test_what_stands_behind_the_last_field_is_let_be(key: bytes, value: str | None, record: Any) -> None:
    assert decoded(key + b"more", None if value is None else bytes.fromhex(value) + b"more") == record


@pytest.mark.rule("GROUP-RECORD-11")
@pytest.mark.parametrize("key, version", [(LEGACY_KEY, 1), (OFFSET_KEY, 5), (GROUP_KEY, 5), (LEGACY_KEY, -1), (OFFSET_KEY, -1), (GROUP_KEY, -1)])
def test_a_value_of_an_unknown_version_cannot_be_read(key: bytes, version: int) -> None:
    with pytest.raises(ValueError, match=f"a value of version {version}"):
        decoded(key, struct.pack(">h", version) + bytes(100))


@pytest.mark.rule("GROUP-RECORD-11")
@pytest.mark.parametrize(
    "key, value, complaint",
    [
        (b"\0\2\xff\xff", None, "null where a string"),
        (OFFSET_KEY, "0003" + "00" * 12 + "ffff" + "00" * 8, "null where a string"),
        (OFFSET_KEY, "0004" + "00" * 12 + "818002" + "61" * 33000, "a string of 32768 bytes"),
        (OFFSET_KEY, "0004" + "00" * 12 + "808080808000", "a varint of more than 5 bytes"),
        (OFFSET_KEY, "0004" + "00" * 12 + "01" + "00" * 8 + "01000f" + "00" * 15, "a topic id of 15 bytes"),
        (GROUP_KEY, "0003" + "0000" + "00" * 4 + "ffffffff" + "00" * 8 + "ffffffff", "-1 members"),
        (GROUP_KEY, "0003" + "0000" + "00" * 4 + "ffffffff" + "00" * 8 + "7fffffff", "2147483647 members, where 0 bytes are left"),
        (GROUP_KEY, "0000" + "0000" + "00" * 4 + "ffffffff" + "00000001" + "0000" * 3 + "00" * 4 + "ffffffff" * 2, "null where bytes"),
    ],
)
def test_what_is_no_value_cannot_be_read(key: bytes, value: str | None, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        decoded(key, data(value))


@pytest.mark.rule("GROUP-RECORD-11")
def test_the_longest_string_is_read_and_what_is_not_utf_8_is_replaced() -> None:
    long, odd = "a" * 32767, b"\0\2\0\1\xff"
    assert decoded(*encoded(committed(5, -1, long))).committed.metadata == long
    assert decoded(odd, None) == GroupForgotten("\ufffd")


def test_a_client_whose_name_is_too_long_is_written_with_less_of_it() -> None:
    name = "\N{REPLACEMENT CHARACTER}" * 20_000
    group = changed(GROUP, members=(changed(A, client_id=name, member_id=f"x{name}"),))
    (read,) = decoded(*encoded(group)).members
    assert read == changed(A, client_id=name[:10_922], member_id=f"x{name[:10_922]}")
