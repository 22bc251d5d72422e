"""Record batches for the wire, sound and faulty in every way that LOG-BATCH knows."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from fiducial.models.batches import BATCH_OVERHEAD_BYTES
from fiducial.models.values import value
from fiducial.reference.records import HEADER, compressed, packed_varint, with_checksum


@value
class Item:
    """One record."""

    timestamp: int
    key: bytes | None = b"k"
    content: bytes | None = b"v"


def encoded(
    items: Sequence[Item],
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
) -> bytes:
    """One batch; what is not given is as it should be. `garbage` stands in the place of the packed records."""
    base_time = items[0].timestamp if items else -1
    body = b"".join(record(item, base_time, (deltas or range(len(items)))[index]) for index, item in enumerate(items))
    packed = compressed(body, codec, {0: 0, 1: 6, 2: 0, 3: 9, 4: 3}.get(codec, 0)) if garbage is None else garbage
    header = HEADER.pack(
        base_offset,
        BATCH_OVERHEAD_BYTES - 12 + len(packed),
        -1,
        magic,
        0,
        attributes | codec,
        len(items) - 1 if last_offset_delta is None else last_offset_delta,
        base_time,
        max((item.timestamp for item in items), default=-1) if max_timestamp is None else max_timestamp,
        *producer,
        len(items) if count is None else count,
    )
    data = with_checksum(header + packed)
    if spoil_checksum:
        data = data[:17] + struct.pack(">I", struct.unpack_from(">I", data, 17)[0] ^ 1) + data[21:]
    return data


def record(item: Item, base_time: int, offset_delta: int) -> bytes:
    """One record of a batch."""
    content = b"\x00" + packed_varint(item.timestamp - base_time) + packed_varint(offset_delta)
    for part in (item.key, item.content):
        content += packed_varint(-1) if part is None else packed_varint(len(part)) + part
    content += packed_varint(0)
    return packed_varint(len(content)) + content
