"""Bytes of record batches (format v2, KIP-98) <-> what the model sees of them.

Offsets in a batch header:  0 base offset · 8 length · 12 leader epoch · 16 magic · 17 CRC-32C of all that follows it · 21 attributes ·
23 last offset delta · 27 base timestamp · 35 max timestamp · 43 producer id · 51 producer epoch · 53 base sequence · 57 count · 61 records
"""

from __future__ import annotations

import mmap
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence

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
    NO_EPOCH,
    NO_PRODUCER,
    NO_SEQUENCE,
    UNPACKED_BYTES_MAX,
    Payload,
    Record,
    SentBatch,
    SentRecords,
    Tail,
)
from fiducial.models.rules import rule
from fiducial.models.values import value

HEADER = struct.Struct(">qiibIhiqqqhii")
#: Of a varint, by the bytes it may have.
UNSIGNED_MAX = {5: 2**32 - 1, 10: 2**64 - 1}
#: Base offset and length, which the length does not count; and with them the rest of the smallest header there can be.
PREFIX_BYTES, LENGTH_MIN, SMALLEST_HEADER_BYTES = 12, 14, 17
ATTRIBUTES_KEPT = 0xFF & ~0xC7  # without the codec and the two highest bits
ATTRIBUTES_STAMPED = 0x7F  # those that a header keeps whose time is set anew
GZIP = b"\x1f\x8b\x08"
XERIAL = b"\x82SNAPPY\x00" + struct.pack(">ii", 1, 1)
XERIAL_BLOCK_BYTES = 32 * 1024
#: Magic, flags (version 1, independent blocks), blocks of 64 KiB, and the checksum of these two.
LZ4_FRAME = b"\x04\x22\x4d\x18\x60\x40\x82"
LZ4_BLOCK_BYTES, LZ4_STORED = 64 * 1024, 1 << 31
LZ4_BLOCK_CHECKSUM, LZ4_CONTENT_SIZE, LZ4_CONTENT_CHECKSUM = 0x10, 0x08, 0x04


class Unreadable(ValueError):
    """The bytes behind a header are not records."""


class UnpacksTooFar(Unreadable):
    """They unpack to more than is taken."""


@value
class EncodedBatch:
    """A batch as it came, or as it was rebuilt."""

    data: bytes

    def rebuilt(self, codec: int, level: int) -> tuple[Payload, int]:
        """The same records in another codec, numbered 0, 1, 2 …; unused attribute bits are dropped, append time becomes each record's own."""
        header = list(HEADER.unpack_from(self.data))
        attributes = header[5]
        keeps_time = not attributes & ATTRIBUTE_LOG_APPEND_TIME
        if not keeps_time:
            header[7] = header[8]
        body = rewritten(decompressed(self.data[BATCH_OVERHEAD_BYTES:], attributes & ATTRIBUTE_CODEC), keeps_time=keeps_time)
        packed = compressed(body, codec, level)
        header[1] = BATCH_OVERHEAD_BYTES - PREFIX_BYTES + len(packed)
        header[5] = attributes & ATTRIBUTES_KEPT | codec
        data = with_checksum(HEADER.pack(*header) + packed)
        return EncodedBatch(data), len(data)

    def stamped(self, base_offset: int, leader_epoch: int, has_append_time: bool, max_timestamp: int) -> bytes:
        """The bytes to store. Offset and epoch lie outside the checksum; it is made anew only if the timestamps changed."""
        stamped = bytearray(self.data)
        struct.pack_into(">q", stamped, 0, base_offset)
        struct.pack_into(">i", stamped, 12, leader_epoch)
        attributes, claimed = struct.unpack_from(">h", stamped, 21)[0], struct.unpack_from(">q", stamped, 35)[0]
        wanted = attributes & ~ATTRIBUTE_LOG_APPEND_TIME | (ATTRIBUTE_LOG_APPEND_TIME if has_append_time else 0)
        if (attributes, claimed) == (wanted, max_timestamp):
            return bytes(stamped)
        struct.pack_into(">h", stamped, 21, wanted & ATTRIBUTES_STAMPED)
        struct.pack_into(">q", stamped, 35, max_timestamp)
        return with_checksum(bytes(stamped))


def with_checksum(data: bytes) -> bytes:
    """The batch with the checksum that its bytes have."""
    return data[:17] + struct.pack(">I", crc32c(data[21:])) + data[21:]


# Compression


def compressed(body: bytes, codec: int, level: int) -> bytes:
    """The records as `codec` packs them at `level` (its own scale; snappy has none)."""
    if codec == CODEC_GZIP:
        packer = zlib.compressobj(level, zlib.DEFLATED, 31)
        return packer.compress(body) + packer.flush()
    if codec == CODEC_SNAPPY:
        blocks = (body[begin : begin + XERIAL_BLOCK_BYTES] for begin in range(0, len(body), XERIAL_BLOCK_BYTES))
        packed = (bytes(cramjam.snappy.compress_raw(block)) for block in blocks)
        return XERIAL + b"".join(struct.pack(">i", len(block)) + block for block in packed)
    if codec == CODEC_LZ4:
        return lz4_frame(body, level)
    if codec == CODEC_ZSTD:
        return bytes(cramjam.zstd.compress(body, level=level))
    return body


def lz4_frame(body: bytes, level: int) -> bytes:
    """An LZ4 frame of independent blocks; one that does not shrink is stored as it is."""
    out = bytearray(LZ4_FRAME)
    for begin in range(0, len(body), LZ4_BLOCK_BYTES):
        block = body[begin : begin + LZ4_BLOCK_BYTES]
        packed = bytes(cramjam.lz4.compress_block(block, mode="high_compression", compression=level, store_size=False))
        is_smaller = len(packed) < len(block)
        out += struct.pack("<I", len(packed) if is_smaller else len(block) | LZ4_STORED)
        out += packed if is_smaller else block
    return bytes(out + struct.pack("<I", 0))


def decompressed(packed: bytes, codec: int) -> bytes:
    """The records that `codec` packed. Unreadable if it did not."""
    try:
        if codec == CODEC_NONE:
            return packed
        if codec == CODEC_GZIP:
            return gunzipped(packed)
        if codec == CODEC_SNAPPY:
            return unsnapped(packed)
        if codec == CODEC_LZ4:
            return unpacked(cramjam.lz4.decompress_into, first_lz4_frame(packed))
        if codec == CODEC_ZSTD:
            return unpacked(cramjam.zstd.decompress_into, packed)
    except (cramjam.DecompressionError, zlib.error) as error:
        raise Unreadable(str(error)) from None
    raise Unreadable(f"{codec} is no codec")


@rule("LOG-BATCH-25")
def check_unpacked(size_bytes: int) -> None:
    """What a batch unpacks to is never more than anybody could send plain: no batch takes the memory of a thousand."""
    if size_bytes > UNPACKED_BYTES_MAX:
        raise UnpacksTooFar(f"more than {UNPACKED_BYTES_MAX} bytes")


def unpacked(unpack: Callable[[bytes, mmap.mmap], int], packed: bytes) -> bytes:
    """What `unpack` makes of the bytes, in room that takes memory only as it is filled."""
    with mmap.mmap(-1, UNPACKED_BYTES_MAX + 1) as room:
        try:
            size_bytes = unpack(packed, room)
        except cramjam.DecompressionError as error:
            if "whole buffer" not in str(error):  # cramjam's one exception has this text when the room is full
                raise
            size_bytes = len(room)
        check_unpacked(size_bytes)
        return room[:size_bytes]


def gunzipped(packed: bytes) -> bytes:
    """One gzip stream after another; what is behind them is ignored."""
    body, rest = bytearray(), packed
    while True:
        unpacker = zlib.decompressobj(31)
        body += unpacker.decompress(rest, UNPACKED_BYTES_MAX + 1 - len(body))
        check_unpacked(len(body))
        if not unpacker.eof:
            raise Unreadable("the gzip stream does not end")
        rest = unpacker.unused_data
        if not rest.startswith(GZIP):
            return bytes(body)


def unsnapped(packed: bytes) -> bytes:
    """Snappy in the blocks of snappy-java, as Kafka's clients send it, or in one; fewer than four bytes at the end are ignored."""
    if not packed.startswith(XERIAL[:8]):
        return unsnapped_block(packed, 0)
    body, position = bytearray(), 0
    while len(packed) - position >= 4:
        if packed.startswith(XERIAL[:8], position):
            position += len(XERIAL)
            continue
        (size,) = struct.unpack_from(">i", packed, position)
        block = packed[position + 4 : position + 4 + size]
        if size < 0 or len(block) < size:
            raise Unreadable("a snappy block is cut short")
        body += unsnapped_block(block, len(body))
        position += 4 + size
    return bytes(body)


def unsnapped_block(block: bytes, before_bytes: int) -> bytes:
    """One block, which says how much it unpacks to."""
    check_unpacked(before_bytes + cramjam.snappy.decompress_raw_len(block))
    return bytes(cramjam.snappy.decompress_raw(block))


def first_lz4_frame(packed: bytes) -> bytes:
    """The LZ4 frame at the front, if Kafka's readers take it: no linked blocks, no dictionary. What is behind it is ignored."""
    if not packed.startswith(LZ4_FRAME[:4]) or len(packed) < len(LZ4_FRAME):
        raise Unreadable("not an LZ4 frame")
    flags = packed[4]
    if flags & ~(LZ4_BLOCK_CHECKSUM | LZ4_CONTENT_SIZE | LZ4_CONTENT_CHECKSUM) != LZ4_FRAME[4]:
        raise Unreadable(f"an LZ4 frame with flags {flags:#x}")
    position = len(LZ4_FRAME) + (8 if flags & LZ4_CONTENT_SIZE else 0)
    while size := int.from_bytes(packed[position : position + 4], "little") & ~LZ4_STORED:
        position += 4 + size + (4 if flags & LZ4_BLOCK_CHECKSUM else 0)
    return packed[: position + 4 + (4 if flags & LZ4_CONTENT_CHECKSUM else 0)]


# Records


def signed_varint(body: bytes, position: int, bytes_max: int) -> tuple[int, int]:
    """(number, position behind it) of a zigzag varint of 32 bits (5 bytes) or 64 (10); bits beyond these are ignored."""
    number = 0
    for shift in range(0, 7 * bytes_max, 7):
        if position >= len(body):
            raise Unreadable("the records end inside a number")
        byte = body[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            number &= UNSIGNED_MAX[bytes_max]
            return (number >> 1) ^ -(number & 1), position
    raise Unreadable(f"a varint of more than {bytes_max} bytes")


def packed_varint(number: int) -> bytes:
    """A zigzag varint."""
    number, out = (number << 1) ^ (number >> 63), bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def spans(body: bytes) -> Iterator[tuple[int, int, int, int, bool]]:
    """Of each record: (begin of its content, end, timestamp delta, offset delta, has a key)."""
    position = 0
    while position < len(body):
        size, begin = signed_varint(body, position, 5)
        end = begin + size
        if size < 0 or end > len(body):
            raise Unreadable(f"a record of {size} bytes where {len(body) - begin} are left")
        time_delta, at = signed_varint(body, begin + 1, 10)
        offset_delta, at = signed_varint(body, at, 5)
        key_size, at = signed_varint(body, at, 5)
        check_content(body, at + max(key_size, 0), end)
        yield begin, end, time_delta, offset_delta, key_size >= 0
        position = end


def check_content(body: bytes, position: int, end: int) -> None:
    """Value and headers fill the record exactly."""
    size, position = signed_varint(body, position, 5)
    position += max(size, 0)
    headers, position = signed_varint(body, position, 5)
    if headers < 0:
        raise Unreadable(f"{headers} headers")
    for _ in range(headers):
        size, position = signed_varint(body, position, 5)
        if size < 0 or position + size > end:
            raise Unreadable("a header without a key")
        size, position = signed_varint(body, position + size, 5)
        position += max(size, 0)
    if position != end:
        raise Unreadable("a record is not as long as it says")


def rewritten(body: bytes, *, keeps_time: bool) -> bytes:
    """The records with offset deltas 0, 1, 2 … and, unless they keep their time, timestamp deltas 0."""
    found = list(spans(body))
    if keeps_time and all(offset_delta == index for index, (_, _, _, offset_delta, _) in enumerate(found)):
        return body
    out = bytearray()
    for index, (begin, end, time_delta, _, _) in enumerate(found):
        _, after_time = signed_varint(body, begin + 1, 10)
        _, after_offset = signed_varint(body, after_time, 5)
        deltas = packed_varint(time_delta if keeps_time else 0) + packed_varint(index)
        content = body[begin : begin + 1] + deltas + body[after_offset:end]
        out += packed_varint(len(content)) + content
    return bytes(out)


def wrapped(number: int) -> int:
    """A sum as 64 bits have it: a timestamp beyond the last one begins again at the first, as in Kafka."""
    return (number + 2**63) % 2**64 - 2**63


def records_of(data: bytes, attributes: int, base_timestamp: int) -> tuple[Record, ...]:
    """What the model sees of the records."""
    body = decompressed(data[BATCH_OVERHEAD_BYTES:], attributes & ATTRIBUTE_CODEC)
    return tuple(
        [
            Record(offset_delta, wrapped(base_timestamp + delta), has_key)
            for _, _, delta, offset_delta, has_key in spans(body)
        ]
    )


# Batches


def encoded(records: Sequence[tuple[bytes, bytes | None]], timestamp: int) -> bytes:
    """One batch of records without headers, all of this time."""
    body = bytearray()
    for offset_delta, (key, content) in enumerate(records):
        sized = packed_varint(len(key)) + key + (packed_varint(-1) if content is None else packed_varint(len(content)) + content)
        record = b"\0" + packed_varint(0) + packed_varint(offset_delta) + sized + packed_varint(0)
        body += packed_varint(len(record)) + record
    size_bytes, last = BATCH_OVERHEAD_BYTES - PREFIX_BYTES + len(body), len(records) - 1
    header = HEADER.pack(0, size_bytes, NO_EPOCH, 2, 0, 0, last, timestamp, timestamp, NO_PRODUCER, NO_EPOCH, NO_SEQUENCE, len(records))
    return with_checksum(header + bytes(body))


def parsed_batch(data: bytes) -> SentBatch:
    """What the model sees of one whole batch; its header may be cut short, or of an old format."""
    magic = struct.unpack_from(">b", data, 16)[0]
    base_offset = struct.unpack_from(">q", data)[0]
    if magic < 2 or len(data) < BATCH_OVERHEAD_BYTES:
        attributes = struct.unpack_from(">h", data, 21)[0] if magic == 2 else 0
        return SentBatch(len(data), base_offset, magic, False, attributes, 0, -1, -1, -1, -1, 1, None, EncodedBatch(data))
    _, _, _, _, checksum, attributes, last_delta, base_time, max_time, producer, epoch, sequence, count = (
        HEADER.unpack_from(data)
    )
    is_good = crc32c(memoryview(data)[21:]) == checksum
    records, unpacks_too_far = None, False
    if is_good:
        try:
            records = records_of(data, attributes, base_time)
        except Unreadable as error:
            unpacks_too_far = isinstance(error, UnpacksTooFar)
    return SentBatch(
        len(data),
        base_offset,
        magic,
        is_good,
        attributes,
        last_delta,
        max_time,
        producer,
        epoch,
        sequence,
        count,
        records,
        EncodedBatch(data),
        unpacks_too_far,
    )


def parsed(data: bytes | None) -> SentRecords | None:
    """The records field of a Produce request: whole batches, and what follows them."""
    if data is None:
        return None
    batches: list[SentBatch] = []
    position = 0
    while len(data) - position >= PREFIX_BYTES:
        (length,) = struct.unpack_from(">i", data, position + 8)
        if length < LENGTH_MIN:
            return SentRecords(tuple(batches), Tail.CORRUPT)
        if len(data) - position < SMALLEST_HEADER_BYTES:
            break
        (magic,) = struct.unpack_from(">b", data, position + 16)
        if not 0 <= magic <= 2:
            return SentRecords(tuple(batches), Tail.CORRUPT, magic)
        end = position + PREFIX_BYTES + length
        if end > len(data):
            break
        batches.append(parsed_batch(data[position:end]))
        position = end
    return SentRecords(tuple(batches), Tail.NOTHING if position == len(data) else Tail.PARTIAL)
