"""The conformance suite's record batches: read, packed, stamped and rebuilt as the reference broker does it, in code of its own."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from odd_batches import Maker

from fiducial.conformance import batches
from fiducial.conformance.batches import (
    DISGUISES,
    FAULTS,
    Item,
    Sent,
    UnpacksTooFar,
    build,
    faulty,
    sent_records,
    stored_batches,
)
from fiducial.models.batches import SentRecords, Tail
from fiducial.models.values import changed
from fiducial.reference import records as reference

ITEMS = (Item(1_000), Item(1_300, None, b"v" * 200, ((b"h", None), (b"", b"text"))), Item(900, b"", None))
CODECS = range(5)


def without_bytes(sent: SentRecords | None) -> Any:
    """What the model is told of the records, but for the payload that stands for the bytes."""
    return sent and changed(sent, batches=tuple(changed(one, payload=Sent(b"")) for one in sent.batches))


def agree(data: bytes | None) -> None:
    """Do both readers see the same?"""
    assert without_bytes(sent_records(data)) == without_bytes(reference.parsed(data)), data


def every_fault() -> Iterator[bytes]:
    """Each fault in each codec."""
    for codec in CODECS:
        for fault in ("", *FAULTS, *DISGUISES):
            yield faulty(ITEMS, fault, **({"codec": codec} if "of garbage" not in fault else {}))


def test_every_fault_is_seen_as_the_reference_broker_sees_it() -> None:
    for data in every_fault():
        for cut in (0, 1, 40):
            agree(data[: len(data) - cut])
        agree(data + build(ITEMS)[:17])
    for size in range(80):
        agree(build(ITEMS)[:size])


def test_odd_bytes_are_seen_as_the_reference_broker_sees_them() -> None:
    maker = Maker(Random(5), rarity=25)
    for _ in range(600):
        agree(maker.records())
    agree(None)


def test_a_sound_batch_is_sound() -> None:
    sent = sent_records(build(ITEMS, producer=(7, 0, 3)))
    assert sent is not None and sent.tail is Tail.NOTHING
    (batch,) = sent.batches
    assert batch.records is not None and batch.crc_is_good
    assert (batch.producer_id, batch.base_sequence, batch.count, batch.last_offset_delta, batch.max_timestamp) == (7, 3, 3, 2, 1_300)
    assert [(one.offset_delta, one.timestamp, one.has_key) for one in batch.records] == [(0, 1_000, True), (1, 1_300, False), (2, 900, True)]


@pytest.mark.parametrize("fault", [*FAULTS, *DISGUISES])
def test_a_fault_makes_another_batch(fault: str) -> None:
    assert faulty(ITEMS, fault) != build(ITEMS)


@pytest.mark.parametrize("codec", CODECS)
def test_what_is_packed_is_unpacked(codec: int) -> None:
    for body in (b"", b"a", b"text" * 40_000, Random(1).randbytes(70_000)):
        packed = batches.compressed(body, codec)
        assert batches.decompressed(packed, codec) == reference.decompressed(packed, codec) == body
        assert batches.decompressed(reference.compressed(body, codec, batches.LEVELS.get(codec, 0)), codec) == body


@pytest.mark.parametrize("codec", [1, 2, 3, 4])
def test_nothing_is_unpacked_beyond_the_limit(codec: int, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = 3 << 20
    monkeypatch.setattr(batches, "UNPACKED_BYTES_MAX", limit)
    most = bytes(limit)
    assert len(batches.decompressed(batches.compressed(most, codec, 1), codec)) == limit
    with pytest.raises(UnpacksTooFar):
        batches.decompressed(batches.compressed(most + b"\x00", codec, 1), codec)


@pytest.mark.parametrize("codec", [1, 2, 3, 4])
def test_what_is_cut_short_is_as_unreadable_as_to_the_reference_broker(codec: int) -> None:
    packed = batches.compressed(Random(1).randbytes(100), codec)
    for size in range(len(packed)):
        assert unpacked(batches, packed[:size], codec) == unpacked(reference, packed[:size], codec), size


def unpacked(by: Any, packed: bytes, codec: int) -> bytes | None:
    """What one of the two makes of the bytes."""
    try:
        body: bytes = by.decompressed(packed, codec)
    except by.Unreadable:
        return None
    return body


@pytest.mark.parametrize("attributes", [0, 0x08, 0x40, 0x80])
def test_a_batch_is_stamped_and_rebuilt_as_in_the_reference_broker(attributes: int) -> None:
    for codec in CODECS:
        data = build(ITEMS, codec=codec, attributes=attributes, deltas=(0, 5, 2))
        ours, theirs = Sent(data), reference.EncodedBatch(data)
        for stamp in ((9, 1, True, 5_000), (9, 1, False, 1_300), (0, 0, False, 7)):
            assert ours.stamped(*stamp) == theirs.stamped(*stamp)
        for target in CODECS:
            level = batches.LEVELS.get(target, 0)
            (mine, size), (other, other_size) = ours.rebuilt(target, level), theirs.rebuilt(target, level)
            assert isinstance(mine, Sent) and isinstance(other, reference.EncodedBatch)
            assert (mine.data, size) == (other.data, other_size)


def test_an_answer_is_whole_batches_and_what_is_cut() -> None:
    first, second = build(ITEMS, codec=4), build(ITEMS[:1], base_offset=3, spoil_checksum=True)
    found, cut = stored_batches(first + second + first[:70])
    assert [(one.header.base_offset, one.is_sound, one.header.record_count) for one in found] == [(0, True, 3), (3, False, 1)]
    assert cut == 70 and found[0].body == reference.decompressed(first[61:], 4)
    (garbled,), _ = stored_batches(faulty(ITEMS, "zstd of garbage"))
    assert garbled.body is None and garbled.problem
    assert stored_batches(build(ITEMS)[:8] + struct.pack(">i", -1) + bytes(60)) == ([], 72)
