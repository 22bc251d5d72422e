"""What the reference broker makes of the bytes of a Produce request: where a batch ends, what follows it, what is in it, what is written anew.

What can be read, and what cannot, stands in tables that Apache Kafka is asked about row by row.
"""

from __future__ import annotations

import gzip
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import cramjam
import pytest
from crc32c import crc32c
from peers.kafka import Kafka

from fiducial.conformance.exploration.targets import Remote, talk
from fiducial.models import messages as m
from fiducial.models.batches import CODEC_GZIP, CODEC_LZ4, CODEC_NONE, CODEC_SNAPPY, CODEC_ZSTD, Record, SentBatch, Tail
from fiducial.models.errors import Error
from fiducial.reference import records
from fiducial.reference.records import (
    HEADER,
    EncodedBatch,
    UnpacksTooFar,
    Unreadable,
    compressed,
    decompressed,
    packed_varint,
    parsed,
    with_checksum,
)

WHOLE = with_checksum(HEADER.pack(0, 49, -1, 2, 0, 0, -1, -1, -1, -1, -1, -1, 0))
APPEND_TIME = 0x08


def beginning(length: int, magic: int) -> bytes:
    """The 17 bytes that tell whether a batch may begin here."""
    return bytes(8) + struct.pack(">iib", length, -1, magic)


@pytest.mark.rule("LOG-BATCH-1", "LOG-BATCH-2", "LOG-BATCH-3")
@pytest.mark.parametrize("before", [b"", WHOLE], ids=["first", "behind a batch"])
@pytest.mark.parametrize(
    ("length", "magic", "size_bytes", "expected"),
    [
        (13, 2, 11, Tail.PARTIAL),
        (13, 2, 12, Tail.CORRUPT),
        (-1, 2, 12, Tail.CORRUPT),
        (14, 3, 16, Tail.PARTIAL),
        (14, 3, 17, Tail.CORRUPT),
        (14, -1, 17, Tail.CORRUPT),
        (14, 2, 17, Tail.PARTIAL),
        (49, 2, 0, Tail.NOTHING),
    ],
)
def test_a_length_is_judged_after_12_bytes_and_a_magic_byte_after_17(
    before: bytes, length: int, magic: int, size_bytes: int, expected: Tail
) -> None:
    sent = parsed(before + beginning(length, magic)[:size_bytes])
    assert sent is not None
    assert (len(sent.batches), sent.tail) == (1 if before else 0, expected)


def record(timestamp_delta: int, offset_delta: int) -> bytes:
    """A record with a key of one byte, no value and no headers."""
    content = b"\x00" + packed_varint(timestamp_delta) + packed_varint(offset_delta) + packed_varint(1) + b"k"
    content += packed_varint(-1) + packed_varint(0)
    return packed_varint(len(content)) + content


@pytest.mark.rule("LOG-APPEND-4", "LOG-APPEND-6")
@pytest.mark.parametrize(("attributes", "times"), [(0, (1000, 1300)), (APPEND_TIME, (5000, 5000))])
def test_a_batch_encoded_anew_is_numbered_anew_and_turns_append_time_into_record_time(attributes: int, times: tuple[int, int]) -> None:
    body = record(0, 0) + record(300, 7)
    header = HEADER.pack(0, 49 + len(body), -1, 2, 0, attributes | CODEC_NONE, 1, 1000, 5000, -1, -1, -1, 2)
    rebuilt, size_bytes = EncodedBatch(with_checksum(header + body)).rebuilt(CODEC_GZIP, 6)
    assert isinstance(rebuilt, EncodedBatch) and len(rebuilt.data) == size_bytes
    stamped = parsed(rebuilt.stamped(40, 2, False, max(times)))
    assert stamped is not None
    (batch,) = stamped.batches
    assert (batch.base_offset, batch.crc_is_good, batch.attributes) == (40, True, CODEC_GZIP)
    assert batch.records == (Record(0, times[0]), Record(1, times[1]))


def batch_of(body: bytes, codec: int, count: int, base_time: int = 1000) -> bytes:
    """A batch around a body that is packed already."""
    return with_checksum(
        HEADER.pack(0, 49 + len(body), -1, 2, 0, codec, count - 1, base_time, base_time, -1, -1, -1, count) + body
    )


def seen(data: bytes) -> SentBatch:
    """What the model sees of one batch."""
    sent = parsed(data)
    assert sent is not None
    (batch,) = sent.batches
    return batch


# Checksums


def crc_32c_bit_by_bit(data: bytes) -> int:
    """The definition: polynomial 0x1EDC6F41, bits reflected, all ones before and after."""
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


def test_the_checksum_is_crc_32c() -> None:
    assert crc_32c_bit_by_bit(b"123456789") == 0xE3069283
    for data in (b"", b"\x00", b"123456789", bytes(range(256))):
        assert crc32c(data) == crc_32c_bit_by_bit(data)


@pytest.mark.rule("LOG-BATCH-9")
def test_the_checksum_covers_all_from_the_attributes_on() -> None:
    data = batch_of(record(0, 0), CODEC_NONE, 1)
    assert seen(data).crc_is_good
    for place in range(len(data)):
        spoilt = bytearray(data)
        spoilt[place] ^= 0x10
        sent = parsed(bytes(spoilt))
        if 8 <= place < 12 or place == 16:
            continue  # another length, another format: not this batch any more
        assert sent is not None and sent.batches[0].crc_is_good == (place < 17), place


@pytest.mark.rule("LOG-BATCH-5", "LOG-BATCH-9")
@pytest.mark.parametrize(("magic", "length"), [(2, 14), (2, 22), (2, 48), (0, 14), (0, 60), (1, 22), (1, 60)])
def test_a_header_that_is_cut_short_or_old_is_seen_as_far_as_it_goes(magic: int, length: int) -> None:
    data = bytearray(batch_of(record(0, 0) * 2, CODEC_NONE, 1)[: 12 + length])
    struct.pack_into(">qi", data, 0, 5, length)
    data[16] = magic
    data[21:23] = b"\x7f\x7f"  # attributes, in format v2
    batch = seen(bytes(data))
    assert (batch.base_offset, batch.magic, batch.size_bytes) == (5, magic, 12 + length)
    assert batch.attributes == (0x7F7F if magic == 2 else 0)
    assert not batch.crc_is_good and batch.records is None


@pytest.mark.rule("LOG-BATCH-4")
def test_batches_stand_one_behind_the_other() -> None:
    one, two = batch_of(record(0, 0), CODEC_NONE, 1), batch_of(record(0, 0) + record(0, 1), CODEC_NONE, 2)
    sent = parsed(one + two)
    assert sent is not None and sent.tail is Tail.NOTHING
    assert [batch.count for batch in sent.batches] == [1, 2]


# Codecs

CODECS = [CODEC_GZIP, CODEC_SNAPPY, CODEC_LZ4, CODEC_ZSTD]
LEVELS = {CODEC_GZIP: (-1, 1, 9), CODEC_SNAPPY: (0,), CODEC_LZ4: (1, 9, 17), CODEC_ZSTD: (-5, 3, 19)}
NOISE = b"".join(zlib.crc32(bytes([one % 256, one // 256])).to_bytes(4, "big") for one in range(20_000))


@pytest.mark.rule("LOG-APPEND-3")
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("body", [b"", b"k", b"ab" * 100_000, NOISE, NOISE[:65_536], bytes(65_537)], ids=len)
def test_what_is_packed_is_unpacked(codec: int, body: bytes) -> None:
    for level in LEVELS[codec]:
        assert decompressed(compressed(body, codec, level), codec) == body


TWO = record(0, 0) + record(7, 1)
HALF = len(TWO) // 2


def xerial(*blocks: bytes, versions: tuple[int, int] = (1, 1)) -> bytes:
    """Snappy as snappy-java frames it."""
    packed = (bytes(cramjam.snappy.compress_raw(block)) for block in blocks)
    header = b"\x82SNAPPY\x00" + struct.pack(">ii", *versions)
    return header + b"".join(struct.pack(">i", len(block)) + block for block in packed)


def xxh32(data: bytes) -> int:
    """xxHash of fewer than 16 bytes, seed 0: what the header of an LZ4 frame is checked by."""
    primes = (2654435761, 2246822519, 3266489917, 668265263, 374761393)
    state, whole = primes[4] + len(data), len(data) - len(data) % 4
    for begin in range(0, whole, 4):
        state = state + int.from_bytes(data[begin : begin + 4], "little") * primes[2] & 0xFFFFFFFF
        state = (state << 17 | state >> 15) * primes[3] & 0xFFFFFFFF
    for byte in data[whole:]:
        state = state + byte * primes[4] & 0xFFFFFFFF
        state = (state << 11 | state >> 21) * primes[0] & 0xFFFFFFFF
    state = (state ^ state >> 15) * primes[1] & 0xFFFFFFFF
    state = (state ^ state >> 13) * primes[2] & 0xFFFFFFFF
    return state ^ state >> 16


def lz4(*blocks: bytes, flags: int = 0x60, sizes: int = 0x40, extra: bytes = b"", end: bytes = bytes(4)) -> bytes:
    """An LZ4 frame of blocks that stand in it as they are."""
    descriptor = bytes([flags, sizes]) + extra
    stored = b"".join(struct.pack("<I", len(block) | 1 << 31) + block for block in blocks)
    return b"\x04\x22\x4d\x18" + descriptor + bytes([xxh32(descriptor) >> 8 & 0xFF]) + stored + end


GZ, ZS = gzip.compress(TWO), bytes(cramjam.zstd.compress(TWO))
SKIPPABLE = b"\x50\x2a\x4d\x18\x02\x00\x00\x00ab"


def with_bit(data: bytes, place: int) -> bytes:
    """The bytes with one of them spoilt."""
    spoilt = bytearray(data)
    spoilt[place] ^= 1
    return bytes(spoilt)


#: (codec, what it is, packed bytes, is it read): what stands for the records in `TWO`.
PACKED: list[tuple[int, str, bytes, bool]] = [
    (CODEC_GZIP, "a stream", GZ, True),
    (CODEC_GZIP, "two streams", gzip.compress(TWO[:HALF]) + gzip.compress(TWO[HALF:]), True),
    (CODEC_GZIP, "a second stream that is no record", GZ + gzip.compress(b"x"), False),
    (CODEC_GZIP, "bytes behind it", GZ + bytes(50), True),
    (CODEC_GZIP, "no trailer", GZ[:-8], False),
    (CODEC_GZIP, "cut by a byte", GZ[:-1], False),
    (CODEC_GZIP, "a wrong checksum", with_bit(GZ, -5), False),
    (CODEC_GZIP, "a wrong size", with_bit(GZ, -1), False),
    (CODEC_GZIP, "zlib's own format", zlib.compress(TWO), False),
    (CODEC_GZIP, "nothing", b"", False),
    (CODEC_GZIP, "a stream of nothing", gzip.compress(b""), False),
    (CODEC_GZIP, "a stream of garbage", gzip.compress(b"\xff" * 40), False),
    (CODEC_GZIP, "a byte behind the records", gzip.compress(TWO + b"\x00"), False),
    (CODEC_SNAPPY, "one block without a frame", bytes(cramjam.snappy.compress_raw(TWO)), True),
    (CODEC_SNAPPY, "the same with bytes behind it", bytes(cramjam.snappy.compress_raw(TWO)) + b"\x00\x00", False),
    (CODEC_SNAPPY, "snappy's own frame", bytes(cramjam.snappy.compress(TWO)), False),
    (CODEC_SNAPPY, "a block", xerial(TWO), True),
    (CODEC_SNAPPY, "two blocks", xerial(TWO[:HALF], TWO[HALF:]), True),
    (CODEC_SNAPPY, "an empty block before", xerial(b"", TWO), True),
    (CODEC_SNAPPY, "any version", xerial(TWO, versions=(-1, 7)), True),
    (CODEC_SNAPPY, "two frames", xerial(TWO[:HALF]) + xerial(TWO[HALF:]), True),
    (CODEC_SNAPPY, "three bytes behind it", xerial(TWO) + b"\xff" * 3, True),
    (CODEC_SNAPPY, "four bytes behind it", xerial(TWO) + bytes(4), False),
    (CODEC_SNAPPY, "cut by a byte", xerial(TWO)[:-1], False),
    (CODEC_SNAPPY, "no blocks", xerial(), False),
    (CODEC_SNAPPY, "half a header", xerial()[:8], False),
    (CODEC_SNAPPY, "nothing", b"", False),
    (CODEC_SNAPPY, "a block of a negative size", xerial() + struct.pack(">i", -5) + bytes(5), False),
    (CODEC_SNAPPY, "a size that points back behind itself", xerial() + struct.pack(">i", -21) + xerial(TWO)[20:] + b"\x00", False),
    (CODEC_SNAPPY, "a block of a huge size", xerial() + struct.pack(">i", 2**31 - 1) + bytes(5), False),
    (CODEC_SNAPPY, "a block of garbage", xerial() + struct.pack(">i", 8) + b"\xff" * 8, False),
    (CODEC_LZ4, "a frame", compressed(TWO, CODEC_LZ4, 9), True),
    (CODEC_LZ4, "two blocks", lz4(TWO[:HALF], TWO[HALF:]), True),
    (CODEC_LZ4, "the size of its content", lz4(TWO, flags=0x68, extra=struct.pack("<Q", len(TWO))), True),
    (CODEC_LZ4, "bytes behind it", lz4(TWO) + b"abc", True),
    (CODEC_LZ4, "a second frame, which is not read", lz4(TWO[:HALF]) + lz4(TWO[HALF:]), False),
    (CODEC_LZ4, "a skippable frame before it", SKIPPABLE + lz4(TWO), False),
    (CODEC_LZ4, "no end mark", lz4(TWO, end=b""), False),
    (CODEC_LZ4, "half an end mark", lz4(TWO, end=bytes(2)), False),
    (CODEC_LZ4, "an empty block, which ends it", lz4(b"", TWO), False),
    (CODEC_LZ4, "linked blocks", lz4(TWO, flags=0x40), False),
    (CODEC_LZ4, "a dictionary", lz4(TWO, flags=0x61, extra=bytes(4)), False),
    (CODEC_LZ4, "a reserved flag", lz4(TWO, flags=0x62), False),
    (CODEC_LZ4, "another version", lz4(TWO, flags=0xA0), False),
    (CODEC_LZ4, "blocks of no size", lz4(TWO, sizes=0x30), False),
    (CODEC_LZ4, "a block that is too large", lz4(TWO, bytes(65_537)), False),
    (CODEC_LZ4, "a wrong header checksum", with_bit(lz4(TWO), 6), False),
    (CODEC_LZ4, "no content checksum where one is announced", lz4(TWO, flags=0x64), False),
    (CODEC_LZ4, "nothing", b"", False),
    (CODEC_LZ4, "its magic alone", lz4()[:4], False),
    (CODEC_ZSTD, "a frame", ZS, True),
    (CODEC_ZSTD, "two frames", bytes(cramjam.zstd.compress(TWO[:HALF])) + bytes(cramjam.zstd.compress(TWO[HALF:])), True),
    (CODEC_ZSTD, "an empty frame behind it", ZS + bytes(cramjam.zstd.compress(b"")), True),
    (CODEC_ZSTD, "skippable frames around it", SKIPPABLE + ZS + SKIPPABLE, True),
    (CODEC_ZSTD, "bytes behind it", ZS + b"abc", False),
    (CODEC_ZSTD, "cut by a byte", ZS[:-1], False),
    (CODEC_ZSTD, "garbage", b"\xff" * 30, False),
    (CODEC_ZSTD, "nothing", b"", False),
    (CODEC_ZSTD, "a byte behind the records", bytes(cramjam.zstd.compress(TWO + b"\x00")), False),
    *((codec, "no codec", TWO, False) for codec in (5, 6, 7)),
]


def is_read(data: bytes) -> bool:
    """Are there as many records as the header says?"""
    batch = seen(data)
    return batch.records is not None and len(batch.records) == batch.count


@pytest.mark.rule("LOG-BATCH-13", "LOG-BATCH-14")
@pytest.mark.parametrize(("codec", "what", "packed", "expected"), PACKED, ids=[f"{codec}: {what}" for codec, what, _, _ in PACKED])
def test_what_each_codec_may_hold(codec: int, what: str, packed: bytes, expected: bool) -> None:
    assert is_read(batch_of(packed, codec, 2)) == expected


def test_a_wrong_checksum_of_lz4_content_is_noticed() -> None:
    """Kafka does not look at it."""
    with pytest.raises(Unreadable):
        decompressed(lz4(TWO, flags=0x64) + b"\x01\x02\x03\x04", CODEC_LZ4)
    with pytest.raises(Unreadable):
        decompressed(lz4(TWO, flags=0x68, extra=struct.pack("<Q", 1)), CODEC_LZ4)


# Bombs

MEGABYTE = 1 << 20
#: A gibibyte is all that this may have.
UNPACK = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
from fiducial.reference.records import UnpacksTooFar, decompressed
try:
    decompressed(sys.stdin.buffer.read(), int(sys.argv[1]))
except UnpacksTooFar:
    print("too far")
"""


def zeros_in_lz4(count: int) -> bytes:
    """An LZ4 frame of so many blocks of 64 KiB."""
    block = bytes(cramjam.lz4.compress_block(bytes(65_536), store_size=False))
    return lz4()[:-4] + (struct.pack("<I", len(block)) + block) * count + bytes(4)


def zeros_in_gzip(count: int) -> bytes:
    """The beginning of a gzip stream of so many pieces of 16 MiB, each made without looking back."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = packer.compress(bytes(16 * MEGABYTE)) + packer.flush(zlib.Z_FULL_FLUSH)
    return gzip.compress(b"")[:10] + piece * count


BOMBS: dict[int, bytes] = {
    CODEC_GZIP: zeros_in_gzip(1000),
    CODEC_SNAPPY: xerial() + xerial(bytes(MEGABYTE))[16:] * 2000,
    CODEC_LZ4: zeros_in_lz4(40_000),
    CODEC_ZSTD: bytes(cramjam.zstd.compress(bytes(MEGABYTE))) * 20_000,
}


@pytest.mark.rule("LOG-BATCH-25")
@pytest.mark.parametrize("codec", CODECS)
def test_a_batch_that_unpacks_to_gigabytes_takes_no_such_memory(codec: int) -> None:
    done = subprocess.run([sys.executable, "-c", UNPACK, str(codec)], input=BOMBS[codec], capture_output=True, check=False, timeout=60)
    assert (done.stdout, done.stderr) == (b"too far\n", b"")


@pytest.mark.rule("LOG-BATCH-25")
@pytest.mark.parametrize("codec", CODECS)
def test_the_limit_itself_is_unpacked(codec: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "UNPACKED_BYTES_MAX", 200_000)
    assert len(decompressed(compressed(bytes(200_000), codec, 1), codec)) == 200_000
    with pytest.raises(UnpacksTooFar):
        decompressed(compressed(bytes(200_001), codec, 1), codec)
    batch = seen(batch_of(compressed(bytes(200_001), codec, 1), codec, 1))
    assert batch.unpacks_too_far and batch.records is None


@pytest.mark.rule("LOG-BATCH-25")
def test_a_block_that_only_claims_to_be_huge_takes_no_memory() -> None:
    with pytest.raises(UnpacksTooFar):
        decompressed(b"\xff\xff\xff\xff\x0f" + bytes(10), CODEC_SNAPPY)


# Records


def wide(number: int, beyond: int = 0) -> bytes:
    """A varint of 5 bytes, with bits beyond the 32 that count."""
    zigzag = (number << 1 ^ number >> 63) & 0xFFFFFFFF
    return bytes([zigzag >> shift & 0x7F | 0x80 for shift in (0, 7, 14, 21)]) + bytes([zigzag >> 28 | beyond])


def wide_time(number: int, beyond: int = 0) -> bytes:
    """The same of 10 bytes and 64 bits."""
    zigzag = (number << 1 ^ number >> 63) & (1 << 64) - 1
    return bytes([zigzag >> shift & 0x7F | 0x80 for shift in range(0, 63, 7)]) + bytes([zigzag >> 63 | beyond])


def made(
    *,
    size: Callable[[int], bytes] = packed_varint,
    time: bytes = b"\x00",
    offset: bytes = b"\x00",
    key: bytes = b"\x02k",
    content: bytes = b"\x02v",
    headers: bytes = b"\x00",
) -> bytes:
    """A record of these parts."""
    parts = b"\x00" + time + offset + key + content + headers
    return size(len(parts)) + parts


VARINT_OF_1, MAX, NONE = packed_varint(1), packed_varint(2**31 - 1), packed_varint(-1)

#: (what, body of a batch that should hold one record, is it read): uncompressed.
BODIES: list[tuple[str, bytes, bool]] = [
    ("a record", made(), True),
    ("a size of 5 bytes", made(size=wide), True),
    ("bits above the 32 of a size", made(size=lambda size: wide(size, 0x70)), True),
    ("a size of 6 bytes", made(size=lambda size: wide(size, 0x80) + b"\x00"), False),
    ("bits above the 32 of an offset", made(offset=wide(0, 0x70)), True),
    ("a time of 10 bytes", made(time=wide_time(0)), True),
    ("bits above the 64 of a time", made(time=wide_time(0, 0x7E)), True),
    ("a time of 11 bytes", made(time=wide_time(0, 0x80) + b"\x00"), False),
    ("a null key", made(key=NONE), True),
    ("any negative key size is null", made(key=packed_varint(-2)), True),
    ("any negative value size is null", made(content=packed_varint(-2)), True),
    ("a key that is too long", made(key=packed_varint(100) + b"k"), False),
    ("a key of the largest size", made(key=MAX + b"k"), False),
    ("a negative number of headers", made(headers=NONE), False),
    ("a header that is not there", made(headers=VARINT_OF_1), False),
    ("very many headers", made(headers=MAX), False),
    ("a header", made(headers=VARINT_OF_1 + b"\x02h\x02v"), True),
    ("a header without a key", made(headers=VARINT_OF_1 + NONE + NONE), False),
    ("a null header key and no more", made(headers=VARINT_OF_1 + NONE), False),
    ("a header without a value", made(headers=VARINT_OF_1 + b"\x02h" + NONE), True),
    ("a header whose key is not UTF-8", made(headers=VARINT_OF_1 + b"\x02\xff" + NONE), True),
    ("a record of size 0", b"\x00", False),
    ("a record of a negative size", b"\x01", False),
    ("a size that is one short", made(size=lambda size: packed_varint(size - 1)), False),
    ("a size that is one long", made(size=lambda size: packed_varint(size + 1)), False),
    ("the same with a byte to fill it", made(size=lambda size: packed_varint(size + 1)) + b"\x00", False),
    ("a record of the largest size", made(size=lambda _size: MAX), False),
    ("a record too many", made() + made(offset=VARINT_OF_1), False),
    ("a record cut short", made()[:-1], False),
    ("a negative offset delta", made(offset=NONE), True),
    ("nothing", b"", False),
]


@pytest.mark.rule("LOG-BATCH-13", "LOG-BATCH-14")
@pytest.mark.parametrize(("what", "body", "expected"), BODIES, ids=[what for what, _, _ in BODIES])
def test_what_may_be_a_record(what: str, body: bytes, expected: bool) -> None:
    assert is_read(batch_of(body, CODEC_NONE, 1)) == expected
    assert is_read(batch_of(gzip.compress(body), CODEC_GZIP, 1)) == expected


@pytest.mark.rule("LOG-BATCH-13")
def test_records_do_not_overlap() -> None:
    inner = made(content=NONE)
    outer = made(content=packed_varint(len(inner) - 1) + inner[:-1])  # its number of headers is the inner one's
    body = packed_varint(len(outer) - 1 - len(inner)) + outer[1:]
    assert len(list(records.spans(inner))) == 1 and len(list(records.spans(outer))) == 1
    assert not is_read(batch_of(body, CODEC_NONE, 2))


@pytest.mark.rule("LOG-BATCH-15")
@pytest.mark.parametrize(("key", "has_key"), [(NONE, False), (b"\x00", True), (b"\x02k", True)])
def test_an_empty_key_is_a_key(key: bytes, has_key: bool) -> None:
    assert seen(batch_of(made(key=key), CODEC_NONE, 1)).records == (Record(0, 1000, has_key),)


@pytest.mark.parametrize(
    ("base", "delta", "timestamp"),
    [(2**63 - 1, 1, -(2**63)), (-(2**63), -1, 2**63 - 1), (1000, -2000, -1000), (0, 2**63 - 1, 2**63 - 1)],
)
def test_a_timestamp_wraps_around_in_64_bits(base: int, delta: int, timestamp: int) -> None:
    batch = seen(batch_of(made(time=packed_varint(delta)), CODEC_NONE, 1, base))
    assert batch.records == (Record(0, timestamp),)
    stored = EncodedBatch(batch_of(made(), CODEC_NONE, 1)).stamped(0, 0, False, timestamp)
    assert seen(stored).max_timestamp == timestamp


# Apache Kafka, row by row

#: Kafka skips keys and values of a compressed batch that it stores as it came, and overlooks a record's wrong size, which its readers then meet.
OVERLOOKED_WHEN_COMPRESSED = {"a size that is one short", "a size that is one long", "a record of the largest size"}


@pytest.fixture(scope="module")
def takes(kafka: Kafka) -> Iterator[Callable[[bytes], bool]]:
    """Does Apache Kafka append this batch?"""
    remote = Remote("kafka", kafka.host, kafka.port)
    created = talk(remote, 19, m.CreateTopicsRequest((m.CreatableTopic("records", 1, 1),)))
    topic_id = created.topics[0].topic_id

    def produce(data: Any) -> bool:
        while True:
            request = m.ProduceRequest(None, -1, 5000, (m.TopicProduceData("", topic_id, (m.PartitionProduceData(0, data),)),))
            ((answer,),) = (topic.partition_responses for topic in talk(remote, 0, request).responses)
            if answer.error_code not in (Error.NOT_LEADER_OR_FOLLOWER, Error.UNKNOWN_TOPIC_ID):  # for a moment after the creation
                return bool(answer.error_code == Error.NONE)

    yield produce
    remote.close()


@pytest.mark.rule("LOG-BATCH-13", "LOG-BATCH-14")
def test_kafka_reads_what_we_read_of_each_codec(takes: Callable[[bytes], bool]) -> None:
    assert [(codec, what) for codec, what, packed, expected in PACKED if takes(batch_of(packed, codec, 2)) != expected] == []


@pytest.mark.rule("LOG-BATCH-13", "LOG-BATCH-14")
def test_kafka_reads_the_records_that_we_read(takes: Callable[[bytes], bool]) -> None:
    for what, body, expected in BODIES:
        if what == "a negative offset delta":  # goes on the wire as it is, which is another rule's business
            continue
        assert takes(batch_of(body, CODEC_NONE, 1)) == expected, what
        assert takes(batch_of(gzip.compress(body), CODEC_GZIP, 1)) == (expected or what in OVERLOOKED_WHEN_COMPRESSED), what
