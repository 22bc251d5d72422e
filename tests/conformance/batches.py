"""Record batches (format v2, KIP-98) from a description, sound or faulty in any way that the LOG-BATCH rules know; and what is in the bytes of one.

A batch lies so:  0 base offset · 8 length · 12 leader epoch · 16 magic · 17 CRC-32C of all that follows it · 21 attributes · 23 last offset delta ·
27 base timestamp · 35 max timestamp · 43 producer id · 51 producer epoch · 53 base sequence · 57 count · 61 records
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import cramjam
from crc32c import crc32c

from fiducial.models.batches import (
    ATTRIBUTE_CODEC,
    ATTRIBUTE_LOG_APPEND_TIME,
    BATCH_OVERHEAD_BYTES,
    CODEC_GZIP,
    CODEC_LZ4,
    CODEC_NONE,
    CODEC_SNAPPY,
    CODEC_ZSTD,
    UNPACKED_BYTES_MAX,
    Payload,
    Record,
    SentBatch,
    SentRecords,
    Tail,
)
from fiducial.models.values import changed, value

LAYOUT = struct.Struct(">qiibIhiqqqhii")
#: Base offset and length, which the length does not count.
PREFIX_BYTES = 12
#: From here on the checksum counts.
CHECKED_FROM = 21
#: So much must be there before a length, or a magic byte, can be judged; and the smallest length that may stand there.
LENGTH_AT, MAGIC_AT, LENGTH_MIN = 8, 16, 14
CODECS = ("", "gzip", "snappy", "lz4", "zstd")
#: The level that each codec packs at, where nobody names one.
LEVELS = {CODEC_GZIP: 6, CODEC_LZ4: 9, CODEC_ZSTD: 3}


class Unreadable(ValueError):
    """The bytes are no records."""


class UnpacksTooFar(Unreadable):
    """They unpack to more than UNPACKED_BYTES_MAX."""


class Header(NamedTuple):
    """What stands before the records."""

    base_offset: int
    length: int
    leader_epoch: int
    magic: int
    checksum: int
    attributes: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    record_count: int

    @property
    def codec(self) -> int:
        """How the records are packed."""
        return self.attributes & ATTRIBUTE_CODEC


@value
class Item:
    """One record to send, its time in ms."""

    timestamp: int
    key: bytes | None = b"k"
    content: bytes | None = b"v"
    headers: tuple[tuple[bytes, bytes | None], ...] = ()


@value
class Held:
    """One record in a batch, its time and offset relative to the batch's."""

    time_delta: int
    offset_delta: int
    key: bytes | None
    content: bytes | None
    headers: tuple[tuple[bytes, bytes | None], ...] = ()


# Building


def build(
    items: Sequence[Item],
    *,
    codec: int = CODEC_NONE,
    producer: tuple[int, int, int] = (-1, -1, -1),
    deltas: Sequence[int] | None = None,
    packed: bytes | None = None,
    behind: bytes = b"",
    spoil_checksum: bool = False,
    **header: int,
) -> bytes:
    """One batch; what is not given is as it should be. `producer`: id, epoch, sequence. `packed` stands in place of the records, `behind` behind them."""
    base_timestamp = items[0].timestamp if items else -1
    numbers = range(len(items)) if deltas is None else deltas
    held = [Held(one.timestamp - base_timestamp, number, one.key, one.content, one.headers) for one, number in zip(items, numbers, strict=True)]
    body = (compressed(b"".join(map(record_bytes, held)), codec) if packed is None else packed) + behind
    sound = Header(
        0, BATCH_OVERHEAD_BYTES - PREFIX_BYTES + len(body), -1, 2, 0, codec, len(items) - 1, base_timestamp,
        max((one.timestamp for one in items), default=-1), *producer, len(items),
    )  # fmt: skip
    made = sound._replace(**header)
    data = batch_bytes(made._replace(attributes=made.attributes | codec), body)
    return with_number(data, ">I", 17, crc32c(data[CHECKED_FROM:]) ^ 1) if spoil_checksum else data


def batch_bytes(header: Header, body: bytes) -> bytes:
    """A header with the checksum that it should have, and what follows it."""
    data = LAYOUT.pack(*header) + body
    return with_number(data, ">I", 17, crc32c(data[CHECKED_FROM:]))


def with_number(data: bytes, layout: str, position: int, number: int) -> bytes:
    """The bytes with a number put in at a position."""
    return data[:position] + struct.pack(layout, number) + data[position + struct.calcsize(layout) :]


def record_bytes(record: Held) -> bytes:
    """A record behind its length."""
    content = b"\x00" + varint(record.time_delta) + varint(record.offset_delta) + sized(record.key) + sized(record.content)
    content += varint(len(record.headers)) + b"".join(sized(key) + sized(text) for key, text in record.headers)
    return sized(content)


def sized(part: bytes | None) -> bytes:
    """Bytes behind their length; -1 for none."""
    return varint(-1) if part is None else varint(len(part)) + part


def varint(number: int) -> bytes:
    """A zigzag varint."""
    rest = number << 1 if number >= 0 else (-number << 1) - 1
    out = bytearray()
    while rest >= 0x80:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


#: What can be wrong with a batch of n records, or odd about it: how it is built.
FAULTS: Mapping[str, Callable[[int], dict[str, Any]]] = {
    "base offset 1": lambda n: {"base_offset": 1},
    "wrong checksum": lambda n: {"spoil_checksum": True},
    "wrong checksum and count": lambda n: {"spoil_checksum": True, "record_count": n + 1},
    "count one more": lambda n: {"record_count": n + 1},
    "count and delta one more": lambda n: {"record_count": n + 1, "last_offset_delta": n},
    "count and delta one less": lambda n: {"record_count": n - 1, "last_offset_delta": n - 2},
    "delta one more": lambda n: {"last_offset_delta": n},
    "count 0": lambda n: {"record_count": 0, "last_offset_delta": -1},
    "count below 0": lambda n: {"record_count": -5, "last_offset_delta": -6},
    "control bit": lambda n: {"attributes": 0x20},
    "append time bit": lambda n: {"attributes": 0x08},
    "transactional bit": lambda n: {"attributes": 0x10},
    "delete horizon bit": lambda n: {"attributes": 0x40},
    "unused bits": lambda n: {"attributes": 0x80},
    "attributes of the second byte": lambda n: {"attributes": 0x0100},
    "odd deltas": lambda n: {"deltas": [2 * index for index in range(n)]},
    "deltas from 1": lambda n: {"deltas": [index + 1 for index in range(n)]},
    "deltas backward": lambda n: {"deltas": list(reversed(range(n)))},
    "small max timestamp": lambda n: {"max_timestamp": 1},
    "large max timestamp": lambda n: {"max_timestamp": 2**62},
    "no max timestamp": lambda n: {"max_timestamp": -1},
    "append time bit, late": lambda n: {"attributes": 0x08, "max_timestamp": 1_500_000_000_000},
    "append time bit, no max timestamp": lambda n: {"attributes": 0x08, "max_timestamp": -1},
    "codec 5": lambda n: {"attributes": 5, "packed": bytes(20)},
    "garbage": lambda n: {"packed": b"\xff" * 30},
    "no records at all": lambda n: {"packed": b""},
    "gzip of garbage": lambda n: {"codec": CODEC_GZIP, "packed": b"not gzip"},
    "snappy of garbage": lambda n: {"codec": CODEC_SNAPPY, "packed": b"not snappy"},
    "lz4 of garbage": lambda n: {"codec": CODEC_LZ4, "packed": b"not lz4"},
    "zstd of garbage": lambda n: {"codec": CODEC_ZSTD, "packed": b"not zstd"},
    "bytes behind the records": lambda n: {"behind": bytes(3)},
}
#: What becomes of a batch that was built.
DISGUISES: Mapping[str, Callable[[bytes], bytes]] = {
    "magic 0": lambda data: with_number(data, ">b", MAGIC_AT, 0),
    "magic 1": lambda data: with_number(data, ">b", MAGIC_AT, 1),
    "magic 9": lambda data: with_number(data, ">b", MAGIC_AT, 9),
    "magic -1": lambda data: with_number(data, ">b", MAGIC_AT, -1),
    "length 13": lambda data: with_number(data, ">i", LENGTH_AT, 13),
    "length below 0": lambda data: with_number(data, ">i", LENGTH_AT, -1),
    "length one more": lambda data: with_number(data, ">i", LENGTH_AT, len(data) - PREFIX_BYTES + 1),
    "header only": lambda data: with_number(data, ">i", LENGTH_AT, 40)[:52],
    "leader epoch 3": lambda data: with_number(data, ">i", 12, 3),
}


def faulty(items: Sequence[Item], fault: str, **how: Any) -> bytes:
    """One batch with the fault of this name, or with none: ''."""
    if fault in DISGUISES:
        return DISGUISES[fault](build(items, **how))
    return build(items, **how | (FAULTS[fault](len(items)) if fault else {}))


# Codecs

XERIAL = b"\x82SNAPPY\x00"
XERIAL_START = XERIAL + struct.pack(">ii", 1, 1)
XERIAL_BLOCK_BYTES = 32 * 1024
GZIP = b"\x1f\x8b\x08"
#: Magic, flags (version 1, independent blocks), blocks of 64 KiB, and the checksum of these two.
LZ4_START = b"\x04\x22\x4d\x18\x60\x40\x82"
LZ4_BLOCK_BYTES, LZ4_PLAIN = 64 * 1024, 1 << 31
LZ4_BLOCK_CHECKSUM, LZ4_CONTENT_SIZE, LZ4_CONTENT_CHECKSUM = 0x10, 0x08, 0x04
#: By the third and second highest bit of the byte behind the flags.
LZ4_BLOCK_BYTES_MAX = {4: 64 << 10, 5: 256 << 10, 6: 1 << 20, 7: 4 << 20}


def compressed(body: bytes, codec: int, level: int | None = None) -> bytes:
    """The records as Kafka's clients pack them."""
    wanted = LEVELS.get(codec, 0) if level is None else level
    match codec:
        case 1:
            packer = zlib.compressobj(wanted, zlib.DEFLATED, 31)
            return packer.compress(body) + packer.flush()
        case 2:
            packed = (bytes(cramjam.snappy.compress_raw(block)) for block in blocks(body, XERIAL_BLOCK_BYTES))
            return XERIAL_START + b"".join(struct.pack(">i", len(block)) + block for block in packed)
        case 3:
            return LZ4_START + b"".join(lz4_block(block, wanted) for block in blocks(body, LZ4_BLOCK_BYTES)) + bytes(4)
        case 4:
            return bytes(cramjam.zstd.compress(body, level=wanted))
        case _:
            return body


def blocks(body: bytes, size: int) -> Iterator[bytes]:
    """The bytes in pieces."""
    return (body[begin : begin + size] for begin in range(0, len(body), size))


def lz4_block(block: bytes, level: int) -> bytes:
    """A block behind its size; one that does not shrink stays plain."""
    packed = bytes(cramjam.lz4.compress_block(block, mode="high_compression", compression=level, store_size=False))
    if len(packed) < len(block):
        return struct.pack("<I", len(packed)) + packed
    return struct.pack("<I", len(block) | LZ4_PLAIN) + block


def decompressed(packed: bytes, codec: int) -> bytes:
    """The records that were packed. Unreadable if they were not, or not so."""
    try:
        match codec:
            case 0:
                return packed
            case 1:
                return gunzipped(packed)
            case 2:
                return unsnapped(packed)
            case 3:
                return un_lz4ed(packed)
            case 4:
                return unzstded(packed)
    except (cramjam.DecompressionError, zlib.error, struct.error) as error:
        raise Unreadable(str(error)) from None
    raise Unreadable(f"{codec} is no codec")


def checked(body: bytearray) -> bytearray:
    """What was unpacked so far, if it is not too much."""
    if len(body) > UNPACKED_BYTES_MAX:
        raise UnpacksTooFar(f"more than {UNPACKED_BYTES_MAX} bytes")
    return body


def gunzipped(packed: bytes) -> bytes:
    """One stream behind the other; what else follows is ignored."""
    body = bytearray()
    while True:
        stream = zlib.decompressobj(31)
        body += stream.decompress(packed, UNPACKED_BYTES_MAX + 1 - len(body))
        checked(body)
        if not stream.eof:
            raise Unreadable("a gzip stream that does not end")
        packed = stream.unused_data
        if not packed.startswith(GZIP):
            return bytes(body)


def unsnapped(packed: bytes) -> bytes:
    """The framing of snappy-java, or one block without any; fewer than four bytes at the end are ignored."""
    if not packed.startswith(XERIAL):
        return bytes(unsnapped_block(bytearray(), packed))
    body, position = bytearray(), 0
    while len(packed) - position >= 4:
        if packed.startswith(XERIAL, position):
            position += len(XERIAL_START)
            continue
        (size,) = struct.unpack_from(">i", packed, position)
        position += 4 + size
        if size < 0 or position > len(packed):
            raise Unreadable("a snappy block is cut short")
        body = unsnapped_block(body, packed[position - size : position])
    return bytes(body)


def unsnapped_block(body: bytearray, block: bytes) -> bytearray:
    """The bytes before it, and what is in the block."""
    if len(body) + cramjam.snappy.decompress_raw_len(block) > UNPACKED_BYTES_MAX:
        raise UnpacksTooFar(f"more than {UNPACKED_BYTES_MAX} bytes")
    return body + bytes(cramjam.snappy.decompress_raw(block))


def un_lz4ed(packed: bytes) -> bytes:
    """The first frame, of independent blocks, as Kafka's readers take it; what follows is ignored."""
    if not packed.startswith(LZ4_START[:4]) or len(packed) < len(LZ4_START):
        raise Unreadable("no LZ4 frame")
    flags, size_max = packed[4], LZ4_BLOCK_BYTES_MAX.get(packed[5] >> 4)
    if flags & ~(LZ4_BLOCK_CHECKSUM | LZ4_CONTENT_SIZE | LZ4_CONTENT_CHECKSUM) != LZ4_START[4] or size_max is None:
        raise Unreadable("an LZ4 frame that is not Kafka's")
    body, position, room = bytearray(), len(LZ4_START) + (8 if flags & LZ4_CONTENT_SIZE else 0), bytearray(size_max)
    while True:
        (size,) = struct.unpack_from("<I", packed, position)
        position += 4
        if size == 0:
            return bytes(body)
        block = packed[position : position + (size & ~LZ4_PLAIN)]
        if len(block) < size & ~LZ4_PLAIN:
            raise Unreadable("an LZ4 block is cut short")
        body += block if size & LZ4_PLAIN else room[: cramjam.lz4.decompress_block_into(block, room, output_len=size_max)]
        checked(body)
        position += len(block) + (4 if flags & LZ4_BLOCK_CHECKSUM else 0)


def unzstded(packed: bytes) -> bytes:
    """All frames. The room doubles until they fit: a frame need not say what it unpacks to, and must not be believed."""
    size = 1 << 20
    while True:
        room = bytearray(min(size, UNPACKED_BYTES_MAX + 1))
        try:
            return bytes(checked(room[: cramjam.zstd.decompress_into(packed, room)]))
        except cramjam.DecompressionError as error:
            if "whole buffer" not in str(error):  # cramjam's one exception has this text when the room is full
                raise
        if size > UNPACKED_BYTES_MAX:
            raise UnpacksTooFar(f"more than {UNPACKED_BYTES_MAX} bytes")
        size *= 8


# Reading records


class Cursor:
    """A position in bytes. Reading beyond their end is Unreadable."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def varint(self, bits: int) -> int:
        """A zigzag varint; bits beyond 32 or 64 fall away."""
        number = 0
        for shift in range(0, bits + 3, 7):
            if self.position >= len(self.data):
                raise Unreadable("the records end inside a number")
            byte = self.data[self.position]
            self.position += 1
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                number &= (1 << bits) - 1
                return number >> 1 ^ -(number & 1)
        raise Unreadable(f"a varint of more than {bits} bits")

    def part(self) -> bytes | None:
        """Bytes behind their length; any negative one is none."""
        size = self.varint(32)
        if size < 0:
            return None
        begin, self.position = self.position, self.position + size
        if self.position > len(self.data):
            raise Unreadable("a part is longer than what holds it")
        return self.data[begin : self.position]


def held_in(body: bytes) -> Iterator[Held]:
    """The records in unpacked bytes, one by one. Unreadable where they are none."""
    cursor = Cursor(body)
    while cursor.position < len(body):
        content = cursor.part()
        if content is None:
            raise Unreadable("a record of a negative length")
        yield held_record(Cursor(content))


def held_record(cursor: Cursor) -> Held:
    """One record: it fills its length exactly."""
    cursor.position = 1  # behind its attributes, of which there are none
    time_delta, offset_delta = cursor.varint(64), cursor.varint(32)
    key, content, count = cursor.part(), cursor.part(), cursor.varint(32)
    if count < 0:
        raise Unreadable(f"{count} headers")
    headers = []
    for _ in range(count):
        name = cursor.part()
        if name is None:
            raise Unreadable("a header without a key")
        headers.append((name, cursor.part()))
    if cursor.position != len(cursor.data):
        raise Unreadable("a record is not as long as it says")
    return Held(time_delta, offset_delta, key, content, tuple(headers))


# Batches as the model sees them


@value
class Sent:
    """The bytes of one batch, as the model's payload."""

    data: bytes

    def rebuilt(self, codec: int, level: int) -> tuple[Payload, int]:
        """The same records in another codec, numbered 0, 1, 2 …; append time becomes each record's own."""
        header = header_of(self.data)
        keeps_time = not header.attributes & ATTRIBUTE_LOG_APPEND_TIME
        held = held_in(decompressed(self.data[BATCH_OVERHEAD_BYTES:], header.codec))
        body = b"".join(
            record_bytes(changed(one, offset_delta=index, time_delta=one.time_delta if keeps_time else 0)) for index, one in enumerate(held)
        )
        packed = compressed(body, codec, level)
        base_timestamp = header.base_timestamp if keeps_time else header.max_timestamp
        length, attributes = BATCH_OVERHEAD_BYTES - PREFIX_BYTES + len(packed), header.attributes & 0x38 | codec
        made = batch_bytes(header._replace(length=length, attributes=attributes, base_timestamp=base_timestamp), packed)
        return Sent(made), len(made)

    def stamped(self, base_offset: int, leader_epoch: int, has_append_time: bool, max_timestamp: int) -> bytes:
        """As it is stored. The checksum is made anew only where what it counts has changed."""
        header = header_of(self.data)._replace(base_offset=base_offset, leader_epoch=leader_epoch)
        attributes = header.attributes & ~ATTRIBUTE_LOG_APPEND_TIME | (ATTRIBUTE_LOG_APPEND_TIME if has_append_time else 0)
        body = self.data[BATCH_OVERHEAD_BYTES:]
        if (attributes, max_timestamp) == (header.attributes, header.max_timestamp):
            return LAYOUT.pack(*header) + body
        return batch_bytes(header._replace(attributes=attributes & 0x7F, max_timestamp=max_timestamp), body)


def header_of(data: bytes) -> Header:
    """The header of a whole batch."""
    return Header(*LAYOUT.unpack_from(data))


def sent_records(data: bytes | None) -> SentRecords | None:
    """The records of one partition in a Produce request: whole batches, and what follows them."""
    if data is None:
        return None
    found: list[SentBatch] = []
    position, tail, magic = 0, Tail.NOTHING, None
    while position < len(data) and tail is Tail.NOTHING:
        end, tail, magic = next_batch(data, position)
        if tail is Tail.NOTHING:
            found.append(sent_batch(data[position:end]))
            position = end
    return SentRecords(tuple(found), tail, magic)


def next_batch(data: bytes, position: int) -> tuple[int, Tail, int | None]:
    """Where the batch that begins here ends; or what is here instead, and the magic byte that is at fault."""
    left = len(data) - position
    if left < PREFIX_BYTES:
        return position, Tail.PARTIAL, None
    (length,) = struct.unpack_from(">i", data, position + LENGTH_AT)
    if length < LENGTH_MIN:
        return position, Tail.CORRUPT, None
    if left <= MAGIC_AT:
        return position, Tail.PARTIAL, None
    (magic,) = struct.unpack_from(">b", data, position + MAGIC_AT)
    if not 0 <= magic <= 2:
        return position, Tail.CORRUPT, magic
    end = position + PREFIX_BYTES + length
    return (end, Tail.NOTHING, None) if end <= len(data) else (position, Tail.PARTIAL, None)


def sent_batch(data: bytes) -> SentBatch:
    """One whole batch; its header may be cut short, or of an old format."""
    (magic,) = struct.unpack_from(">b", data, MAGIC_AT)
    (base_offset,) = struct.unpack_from(">q", data)
    if magic < 2 or len(data) < BATCH_OVERHEAD_BYTES:
        (attributes,) = struct.unpack_from(">h", data, CHECKED_FROM) if magic == 2 else (0,)
        return SentBatch(len(data), base_offset, magic, False, attributes, 0, -1, -1, -1, -1, 1, None, Sent(data))
    header = header_of(data)
    is_good = crc32c(data[CHECKED_FROM:]) == header.checksum
    records, unpacks_too_far = None, False
    if is_good:
        try:
            held = tuple(held_in(decompressed(data[BATCH_OVERHEAD_BYTES:], header.codec)))
            records = tuple(Record(one.offset_delta, as_int64(header.base_timestamp + one.time_delta), one.key is not None) for one in held)
        except Unreadable as error:
            unpacks_too_far = isinstance(error, UnpacksTooFar)
    return SentBatch(
        len(data), base_offset, magic, is_good, header.attributes, header.last_offset_delta, header.max_timestamp, header.producer_id,
        header.producer_epoch, header.base_sequence, header.record_count, records, Sent(data), unpacks_too_far,
    )  # fmt: skip


def as_int64(number: int) -> int:
    """A sum as 64 bits have it."""
    return (number + 2**63) % 2**64 - 2**63


# Batches in an answer


@value
class Stored:
    """One batch that a broker gave out: its header, whether the checksum fits, its records unpacked, or why they cannot be."""

    header: Header
    is_sound: bool
    body: bytes | None
    problem: str = ""


def stored_batches(data: bytes) -> tuple[list[Stored], int]:
    """The whole batches in a Fetch answer, and how many bytes of another follow."""
    found: list[Stored] = []
    position = 0
    while len(data) - position >= BATCH_OVERHEAD_BYTES:
        (length,) = struct.unpack_from(">i", data, position + LENGTH_AT)
        end = position + PREFIX_BYTES + length
        if length < BATCH_OVERHEAD_BYTES - PREFIX_BYTES or end > len(data):
            break
        found.append(stored_batch(data[position:end]))
        position = end
    return found, len(data) - position


def stored_batch(data: bytes) -> Stored:
    """One whole batch."""
    header = header_of(data)
    is_sound = crc32c(data[CHECKED_FROM:]) == header.checksum
    try:
        return Stored(header, is_sound, decompressed(data[BATCH_OVERHEAD_BYTES:], header.codec))
    except Unreadable as error:
        return Stored(header, is_sound, None, str(error))
