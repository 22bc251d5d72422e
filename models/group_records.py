"""Records of groups in bytes: the keys and values that Apache Kafka keeps in `__consumer_offsets`, so that each broker reads what the other wrote.

    key      kind, and what it is of        0 and 1: an offset, of group, topic and partition · 2: a group · any other kind is not ours
    value    version, and what there is     null: nothing, and it is forgotten

Laws of this file
    One version is written, that which Apache Kafka 4.3.1 writes; every version is read.
    What cannot be read is no record, and nobody guesses: ValueError. What stands behind the last field is let be.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Any

from fiducial.models.group_offsets import NO_EXPIRY, SINCE_UNKNOWN, CommittedOffset, OffsetCommitted, OffsetForgotten
from fiducial.models.groups import STRING_BYTES_MAX, GroupForgotten, GroupMetadata, SavedMember
from fiducial.models.rules import rule
from fiducial.models.values import ZERO_UUID, Uuid

#: Kinds of keys. Offsets had the first, before they were told from groups.
LEGACY_OFFSET, OFFSET, GROUP = 0, 1, 2
#: The newest versions of values, by the kind of their keys; from 4 on they are flexible (KIP-915).
NEWEST = {LEGACY_OFFSET: 0, OFFSET: 4, GROUP: 4}
FLEXIBLE_FROM = 4
#: Which versions are written: that of an offset with a time to live of its own is the only one that has it.
OFFSET_VERSION, EXPIRING_OFFSET_VERSION, GROUP_VERSION = 4, 1, 3
TOPIC_ID_TAG = 0
TOPIC_ID_HEAD = bytes((TOPIC_ID_TAG, len(ZERO_UUID)))
#: A commit is of many partitions: of what they have in common so many are held.
HELD_MAX = 1_024
#: What versions say that do not have the field.
NO_EPOCH = NO_TIMEOUT = -1

INT16, INT32, INT64 = (struct.Struct(code) for code in (">h", ">i", ">q"))
OFFSET_HEAD, OFFSET_TAIL = struct.Struct(">hqi"), struct.Struct(">qb")
EXPIRING_OFFSET_HEAD, EXPIRING_OFFSET_TAIL = struct.Struct(">hq"), struct.Struct(">qq")
TIMEOUTS = struct.Struct(">ii")

# Writing


@rule("GROUP-RECORD-7")
def encoded(record: Any) -> tuple[bytes, bytes | None]:
    """Key and value of a record; no value, where it says that something is forgotten."""
    match record:
        case OffsetCommitted(group_id, topic, partition, committed):
            return offset_key(group_id, topic, partition), offset_value(committed)
        case OffsetForgotten(group_id, topic, partition):
            return offset_key(group_id, topic, partition), None
        case GroupMetadata(group_id):
            return group_key(group_id), group_value(record)
        case GroupForgotten(group_id):
            return group_key(group_id), None
    raise AssertionError(f"{record} is no record of a group")


def offset_key(group_id: str, topic: str, partition: int) -> bytes:
    """Of what a group has committed for a partition."""
    return offset_key_head(group_id, topic) + INT32.pack(partition)


@lru_cache(HELD_MAX)
def offset_key_head(group_id: str, topic: str) -> bytes:
    """What the keys of a topic's partitions have in common: a group commits many of them at once, and again and again."""
    return INT16.pack(OFFSET) + text(group_id) + text(topic)


def group_key(group_id: str) -> bytes:
    """Of a group."""
    return INT16.pack(GROUP) + text(group_id)


@rule("GROUP-RECORD-8")
def offset_value(one: CommittedOffset) -> bytes:
    """In the newest version; or in the only one that has a time to live, and neither leader epoch nor topic id."""
    if one.expire_ms != NO_EXPIRY:
        head = EXPIRING_OFFSET_HEAD.pack(EXPIRING_OFFSET_VERSION, one.offset)
        return head + text(one.metadata) + EXPIRING_OFFSET_TAIL.pack(one.commit_ms, one.expire_ms)
    return OFFSET_HEAD.pack(OFFSET_VERSION, one.offset, one.leader_epoch) + offset_value_rest(one.metadata, one.commit_ms, one.topic_id)


@lru_cache(HELD_MAX)
def offset_value_rest(metadata: str, commit_ms: int, topic_id: Uuid) -> bytes:
    """What is behind the offset: mostly the same in all partitions of a topic that are committed together."""
    data, has_id = metadata.encode(), topic_id != ZERO_UUID
    tags = TOPIC_ID_HEAD + topic_id if has_id else b""
    return varint(len(data) + 1) + data + OFFSET_TAIL.pack(commit_ms, has_id) + tags


@rule("GROUP-RECORD-9")
def group_value(group: GroupMetadata) -> bytes:
    """A group that nobody ever joined has no protocol type, which is written as an empty one."""
    fields = (
        INT16.pack(GROUP_VERSION),
        text(group.protocol_type or ""),
        INT32.pack(group.generation),
        text(group.protocol),
        text(group.leader),
        INT64.pack(group.since_ms),
        INT32.pack(len(group.members)),
        *(member_value(one) for one in group.members),
    )
    return b"".join(fields)


def member_value(one: SavedMember) -> bytes:
    """A member, inside the value of its group."""
    names = text(one.member_id) + text(one.instance_id) + text(one.client_id) + text(one.client_host)
    return names + TIMEOUTS.pack(one.rebalance_timeout_ms, one.session_timeout_ms) + sized(one.subscription) + sized(one.assignment)


def text(string: str | None) -> bytes:
    """A string behind its length. One that is too long is cut, as it is in answers: it can only be the name, or the id, of a client that calls
    itself so, and nobody else is to suffer for it."""
    if string is None:
        return INT16.pack(-1)
    encoded_string = string.encode()
    if len(encoded_string) > STRING_BYTES_MAX:
        encoded_string = encoded_string[:STRING_BYTES_MAX].decode("utf-8", "ignore").encode()
    return INT16.pack(len(encoded_string)) + encoded_string


def sized(data: bytes) -> bytes:
    """Bytes behind their length."""
    return INT32.pack(len(data)) + data


def varint(number: int) -> bytes:
    """An unsigned varint."""
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


# Reading


class Fields:
    """The fields of a key or value, read one after the other. Beyond the end: ValueError."""

    __slots__ = ("data", "is_flexible", "position", "version")

    def __init__(self, data: bytes) -> None:
        self.data, self.position, self.is_flexible = data, 0, False
        self.version = self.number(INT16)

    def passed(self, size: int) -> int:
        """Where the next bytes begin, so many, which are passed."""
        begin = self.position
        if begin + size > len(self.data):
            raise ValueError(f"{size} bytes wanted at {begin}, {len(self.data) - begin} are left")
        self.position = begin + size
        return begin

    def take(self, size: int) -> bytes:
        """So many bytes."""
        begin = self.passed(size)
        return self.data[begin : self.position]

    def number(self, layout: struct.Struct) -> int:
        """One number of fixed size."""
        number: int = layout.unpack_from(self.data, self.passed(layout.size))[0]
        return number

    def varint(self) -> int:
        """An unsigned varint of at most 5 bytes."""
        number = 0
        for shift in range(0, 35, 7):
            byte = self.take(1)[0]
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
        raise ValueError("a varint of more than 5 bytes")

    def size(self, layout: struct.Struct) -> int:
        """The length of what follows; negative for null."""
        return self.varint() - 1 if self.is_flexible else self.number(layout)

    def nullable_string(self) -> str | None:
        """A string, or null."""
        size = self.size(INT16)
        if size > STRING_BYTES_MAX:
            raise ValueError(f"a string of {size} bytes")
        return None if size < 0 else self.take(size).decode("utf-8", "replace")

    def string(self) -> str:
        """A string."""
        found = self.nullable_string()
        if found is None:
            raise ValueError("null where a string must be")
        return found

    def blob(self) -> bytes:
        """Bytes."""
        size = self.size(INT32)
        if size < 0:
            raise ValueError("null where bytes must be")
        return self.take(size)

    def count(self) -> int:
        """How many there are of something."""
        size = self.size(INT32)
        if not 0 <= size <= len(self.data) - self.position:  # none of them is read in vain
            raise ValueError(f"{size} members, where {len(self.data) - self.position} bytes are left")
        return size

    def tags(self) -> dict[int, bytes]:
        """Tagged fields, of a version that has some."""
        count = self.varint() if self.is_flexible else 0
        return {self.varint(): self.take(self.varint()) for _ in range(count)}


@rule("GROUP-RECORD-10")
def decoded(key: bytes | None, value: bytes | None) -> Any:
    """The record; None if it is not of a classic group or its offsets. ValueError: it cannot be read."""
    if key is None:
        raise ValueError("a record without key")
    fields = Fields(key)
    kind = fields.version
    if kind not in NEWEST:
        return None
    group_id = fields.string()
    if kind == GROUP:
        return GroupForgotten(group_id) if value is None else read_group(group_id, value_fields(kind, value))
    topic, partition = fields.string(), fields.number(INT32)
    if value is None:
        return OffsetForgotten(group_id, topic, partition)
    return OffsetCommitted(group_id, topic, partition, read_offset(value_fields(kind, value)))


def value_fields(kind: int, value: bytes) -> Fields:
    """The fields of a value. ValueError: of a version that is not known."""
    fields = Fields(value)
    if not 0 <= fields.version <= NEWEST[kind]:
        raise ValueError(f"a value of version {fields.version}, where {NEWEST[kind]} is the newest")
    fields.is_flexible = fields.version >= FLEXIBLE_FROM
    return fields


@rule("GROUP-RECORD-11")
def read_offset(fields: Fields) -> CommittedOffset:
    """The leader epoch came with version 3, the topic id with 4; a time to live is in 1 alone."""
    offset = fields.number(INT64)
    leader_epoch = fields.number(INT32) if fields.version >= 3 else NO_EPOCH
    metadata, commit_ms = fields.string(), fields.number(INT64)
    expire_ms = fields.number(INT64) if fields.version == 1 else NO_EXPIRY
    topic_id = fields.tags().get(TOPIC_ID_TAG, ZERO_UUID)
    if len(topic_id) != len(ZERO_UUID):
        raise ValueError(f"a topic id of {len(topic_id)} bytes")
    return CommittedOffset(offset, leader_epoch, metadata, commit_ms, expire_ms, topic_id)


@rule("GROUP-RECORD-11")
def read_group(group_id: str, fields: Fields) -> GroupMetadata:
    """Since when it is in its state came with version 2."""
    protocol_type, generation = fields.string(), fields.number(INT32)
    protocol, leader = fields.nullable_string(), fields.nullable_string()
    since_ms = fields.number(INT64) if fields.version >= 2 else SINCE_UNKNOWN
    members = tuple([read_member(fields) for _ in range(fields.count())])
    fields.tags()
    return GroupMetadata(group_id, protocol_type or None, generation, protocol, leader, since_ms, members)


@rule("GROUP-RECORD-11")
def read_member(fields: Fields) -> SavedMember:
    """The instance id came with version 3, the rebalance timeout with 1; before, it was the session's."""
    member_id = fields.string()
    instance_id = fields.nullable_string() if fields.version >= 3 else None
    client_id, client_host = fields.string(), fields.string()
    rebalance_ms = fields.number(INT32) if fields.version >= 1 else NO_TIMEOUT
    session_ms = fields.number(INT32)
    subscription, assignment = fields.blob(), fields.blob()
    fields.tags()
    if rebalance_ms == NO_TIMEOUT:
        rebalance_ms = session_ms
    return SavedMember(member_id, instance_id, client_id, client_host, rebalance_ms, session_ms, subscription, assignment)
