"""Record batches for the wire, sound and faulty in every way that LOG-BATCH knows."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from fiducial.models.batches import BATCH_OVERHEAD_BYTES
from fiducial.models.values import value
from fiducial.reference.records import HEADER, compressed, packed_varint, with_checksum

#: The level that each codec packs at.
LEVELS = {1: 6, 3: 9, 4: 3}


@value
class Item:
    """One record."""

    timestamp: int
    key: bytes | None = b"k"
    content: bytes | None = b"v"
    headers: tuple[tuple[bytes, bytes | None], ...] = ()


def encoded(
    records: Sequence[Item],
    *,
    base_offset: int = 0,
    magic: int = 2,
    attributes: int = 0,
    codec: int = 0,
    last_offset_delta: int | None = None,
    max_timestamp: int | None = None,
    producer: tuple[int, int, int] = (-1, -1, -1),
    count: int | None = None,
    deltas: Sequence[int] | None = None,
    spoil_checksum: bool = False,
    garbage: bytes | None = None,
    extra: bytes = b"",
) -> bytes:
    """One batch; what is not given is as it should be. `garbage` stands in the place of the packed records, `extra` behind them."""
    base_time = records[0].timestamp if records else -1
    body = b"".join(packed(one, base_time, (deltas or range(len(records)))[index]) for index, one in enumerate(records))
    content = compressed(body, codec, LEVELS.get(codec, 0)) + extra if garbage is None else garbage
    header = HEADER.pack(
        base_offset,
        BATCH_OVERHEAD_BYTES - 12 + len(content),
        -1,
        magic,
        0,
        attributes | codec,
        len(records) - 1 if last_offset_delta is None else last_offset_delta,
        base_time,
        max((one.timestamp for one in records), default=-1) if max_timestamp is None else max_timestamp,
        *producer,
        len(records) if count is None else count,
    )
    data = with_checksum(header + content)
    if spoil_checksum:
        data = data[:17] + struct.pack(">I", struct.unpack_from(">I", data, 17)[0] ^ 1) + data[21:]
    return data


def packed(record: Item, base_time: int, offset_delta: int) -> bytes:
    """One record of a batch."""
    content = b"\x00" + packed_varint(record.timestamp - base_time) + packed_varint(offset_delta)
    content += sized(record.key) + sized(record.content) + packed_varint(len(record.headers))
    for key, text in record.headers:
        content += sized(key) + sized(text)
    return packed_varint(len(content)) + content


def sized(part: bytes | None) -> bytes:
    """Bytes behind their length."""
    return packed_varint(-1) if part is None else packed_varint(len(part)) + part


def with_magic(data: bytes, magic: int) -> bytes:
    """A batch of another format, as far as the magic byte goes."""
    return data[:16] + struct.pack(">b", magic) + data[17:]
