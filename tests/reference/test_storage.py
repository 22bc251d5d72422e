"""The bytes of all logs: what was written is read, from a batch on and as far as asked; what was dropped is gone, and nothing else."""

from __future__ import annotations

import struct

import pytest

from fiducial.models.batches import Slice
from fiducial.models.events import Drop, Forget, Write
from fiducial.reference.records import HEADER, EncodedBatch, parsed, with_checksum
from fiducial.reference.storage import Storage

ONE, TWO = b"1" * 16, b"2" * 16
SENT = with_checksum(HEADER.pack(0, 52, -1, 2, 0, 0, 0, 500, 500, -1, -1, -1, 1) + b"abc")
SIZE = len(SENT)


def stored(topic_id: bytes, partition: int, *base_offsets: int) -> Storage:
    """A storage with a batch at each of these offsets."""
    storage = Storage()
    for base_offset in base_offsets:
        storage.write(Write(topic_id, partition, base_offset, 4, False, 500, EncodedBatch(SENT)))
    return storage


def offsets(storage: Storage, topic_id: bytes, partition: int, base_offset: int, size_bytes: int) -> list[int]:
    """The base offsets of the whole batches in a slice."""
    found = parsed(storage.read(Slice(topic_id, partition, base_offset, size_bytes)))
    assert found is not None
    return [batch.base_offset for batch in found.batches]


def test_a_batch_is_stored_with_its_offset_and_epoch_and_is_otherwise_as_it_was_sent() -> None:
    data = stored(ONE, 0, 7).read(Slice(ONE, 0, 7, SIZE))
    assert data == struct.pack(">q", 7) + SENT[8:12] + struct.pack(">i", 4) + SENT[16:]


def test_a_batch_with_another_time_gets_another_checksum() -> None:
    storage = Storage()
    storage.write(Write(ONE, 0, 7, 4, True, 9000, EncodedBatch(SENT)))
    sent = parsed(storage.read(Slice(ONE, 0, 7, SIZE)))
    assert sent is not None
    (batch,) = sent.batches
    assert (batch.crc_is_good, batch.attributes, batch.max_timestamp) == (True, 0x08, 9000)


@pytest.mark.parametrize(("base_offset", "size_bytes", "whole"), [(0, 3 * SIZE, [0, 5, 9]), (5, 2 * SIZE, [5, 9]), (5, 2 * SIZE - 1, [5]), (9, 20, [])])
def test_a_slice_begins_at_a_batch_and_may_end_inside_one(base_offset: int, size_bytes: int, whole: list[int]) -> None:
    storage = stored(ONE, 0, 0, 5, 9)
    data = storage.read(Slice(ONE, 0, base_offset, size_bytes))
    assert data is not None and len(data) == size_bytes
    assert offsets(storage, ONE, 0, base_offset, size_bytes) == whole


def test_nothing_is_read_as_nothing() -> None:
    assert Storage().read(None) is None
    assert Storage().read(Slice(ONE, 0, 3, 0)) == b""


def test_what_ends_below_an_offset_is_dropped() -> None:
    storage = stored(ONE, 0, 0, 5, 9)
    storage.drop(Drop(ONE, 0, 5))
    assert offsets(storage, ONE, 0, 5, 2 * SIZE) == [5, 9]
    with pytest.raises(AssertionError):
        storage.read(Slice(ONE, 0, 0, SIZE))
    storage.drop(Drop(ONE, 0, 10))
    storage.write(Write(ONE, 0, 10, 4, False, 500, EncodedBatch(SENT)))
    assert offsets(storage, ONE, 0, 10, SIZE) == [10]


def test_a_topic_is_forgotten_with_all_its_partitions() -> None:
    storage = stored(ONE, 0, 0)
    for topic_id, partition in ((ONE, 1), (TWO, 0)):
        storage.write(Write(topic_id, partition, 0, 4, False, 500, EncodedBatch(SENT)))
    storage.forget(Forget(ONE))
    assert list(storage.logs) == [(TWO, 0)]
    storage.drop(Drop(ONE, 0, 5))
