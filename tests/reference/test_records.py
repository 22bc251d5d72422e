"""What the reference broker makes of the bytes of a Produce request: where a batch ends, what follows it, what is written anew."""

from __future__ import annotations

import struct

import pytest

from fiducial.models.batches import CODEC_GZIP, CODEC_NONE, Record, Tail
from fiducial.reference.records import HEADER, EncodedBatch, packed_varint, parsed, with_checksum

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
