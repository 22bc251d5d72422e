# distutils: language = c++
# cython: language_level=3
"""Compressed records, packed and unpacked by libraries that need the GIL: `batch.pyx` imports this when the first batch is compressed.

So an I/O thread waits for the GIL where a batch is compressed, and only there, without any lock (THREAD-LOCK-4). Beside a thread that hogs the GIL, a
batch of 100 records is acknowledged after 0.9 ms whatever its codec (p99 2 to 3 ms), a plain one after 0.1 (0.2); with the interval that Python has by
itself the first were 5.4 (11 to 16). Without a hog there is no difference.

Why not without the GIL: cramjam shows no functions of C. The wheels of lz4 and zstandard do, which nobody promises; snappy has none such, and zlib is
not everywhere a library of its own. So it would be four dependencies in place of one, or decoders to keep here.
"""

import struct
import zlib

import cramjam

from fiducial.fastpath.batch cimport CODEC_GZIP, CODEC_LZ4, CODEC_SNAPPY, CODEC_ZSTD, UNPACKED_BYTES_MAX

from fiducial.fastpath.batch import Unreadable, UnpacksTooFar

GZIP = b"\x1f\x8b\x08"
XERIAL = b"\x82SNAPPY\x00" + struct.pack(">ii", 1, 1)
XERIAL_BLOCK_BYTES = 32 * 1024
#: Magic, flags (version 1, independent blocks), blocks of 64 KiB, and the checksum of these two.
LZ4_FRAME = b"\x04\x22\x4d\x18\x60\x40\x82"
LZ4_BLOCK_BYTES, LZ4_STORED = 64 * 1024, 1 << 31
LZ4_BLOCK_CHECKSUM, LZ4_CONTENT_SIZE, LZ4_CONTENT_CHECKSUM = 0x10, 0x08, 0x04
FIRST_ROOM_BYTES = 64 * 1024


def compressed(body, codec, level):
    """The records as `codec` packs them at `level` (its own scale; snappy has none)."""
    if codec == CODEC_GZIP:
        packer = zlib.compressobj(level, zlib.DEFLATED, 31)
        return packer.compress(body) + packer.flush()
    if codec == CODEC_SNAPPY:
        return snapped(body)
    if codec == CODEC_LZ4:
        return lz4_frame(body, level)
    if codec == CODEC_ZSTD:
        return bytes(cramjam.zstd.compress(body, level=level))
    raise ValueError(f"{codec} is no codec")


def snapped(body):
    """Snappy in the blocks of snappy-java."""
    out = bytearray(XERIAL)
    for begin in range(0, len(body), XERIAL_BLOCK_BYTES):
        block = bytes(cramjam.snappy.compress_raw(body[begin : begin + XERIAL_BLOCK_BYTES]))
        out += struct.pack(">i", len(block)) + block
    return bytes(out)


def lz4_frame(body, level):
    """An LZ4 frame of independent blocks; one that does not shrink is stored as it is."""
    out = bytearray(LZ4_FRAME)
    for begin in range(0, len(body), LZ4_BLOCK_BYTES):
        block = body[begin : begin + LZ4_BLOCK_BYTES]
        packed = bytes(cramjam.lz4.compress_block(block, mode="high_compression", compression=level, store_size=False))
        is_smaller = len(packed) < len(block)
        out += struct.pack("<I", len(packed) if is_smaller else len(block) | LZ4_STORED)
        out += packed if is_smaller else block
    return bytes(out + struct.pack("<I", 0))


def decompressed(packed, codec):
    """The records that `codec` packed. Unreadable if it did not."""
    try:
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


def check_unpacked(size_bytes):
    """What a batch unpacks to is never more than anybody could send plain."""
    if size_bytes > UNPACKED_BYTES_MAX:
        raise UnpacksTooFar(f"more than {UNPACKED_BYTES_MAX} bytes")


def unpacked(unpack, packed):
    """What `unpack` makes of the bytes, in room that grows until it is enough."""
    room_bytes = max(FIRST_ROOM_BYTES, 4 * len(packed))
    while True:
        room = bytearray(min(room_bytes, UNPACKED_BYTES_MAX + 1))
        try:
            size_bytes = unpack(packed, room)
            check_unpacked(size_bytes)
            return memoryview(room)[:size_bytes]
        except cramjam.DecompressionError as error:
            if "whole buffer" not in str(error):  # cramjam's one exception has this text when the room is full
                raise
            check_unpacked(len(room))
        room_bytes *= 4


def gunzipped(packed):
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
            return body


def unsnapped(packed):
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
    return body


def unsnapped_block(block, before_bytes):
    """One block, which says how much it unpacks to."""
    check_unpacked(before_bytes + cramjam.snappy.decompress_raw_len(block))
    return cramjam.snappy.decompress_raw(block)


def first_lz4_frame(packed):
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
