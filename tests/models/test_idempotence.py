"""The idempotent producer on one partition: the decision table of `spec/idempotence.md`, row by row, and what surrounds it."""

from __future__ import annotations

import pytest
from samples import NOW, after, batch, empty, idempotent, outcome_of, produced

from fiducial.models import idempotence
from fiducial.models.batches import SentBatch
from fiducial.models.errors import Error
from fiducial.models.idempotence import ProducerIds, ProducerIdsReserved
from fiducial.models.kernels import sequence_after
from fiducial.models.partition import Appended, DeleteRecords, Duplicate, Expire, Partition, Refused

MAX = 2**31 - 1
OUT_OF_ORDER, OLD_EPOCH = Error.OUT_OF_ORDER_SEQUENCE_NUMBER, Error.INVALID_PRODUCER_EPOCH


def seven_batches() -> Partition:
    """Producer 7 at epoch 1: seven batches of three, sequences and offsets 0 … 20, log end 21."""
    return produced(empty(), *(idempotent(first, 3, epoch=1, timestamps=(NOW + first,)) for first in range(0, 21, 3)))


def answer(here: Partition, sent: SentBatch) -> int | Error:
    """The base offset that is answered, or the error."""
    match outcome_of(here, sent):
        case Appended(base_offset, _):
            return base_offset
        case Duplicate(written):
            return written.base_offset
        case Refused(rung, _):
            return rung.error
        case other:
            raise AssertionError(other)


TABLE = [
    # what is sent: first sequence, count, epoch → base offset or error
    ("duplicate of the last batch", 18, 3, 1, 18),
    ("duplicate 2 back", 15, 3, 1, 15),
    ("duplicate 5 back", 6, 3, 1, 6),
    ("duplicate 6 back", 3, 3, 1, OUT_OF_ORDER),
    ("duplicate 7 back", 0, 3, 1, OUT_OF_ORDER),
    ("a prefix of the last batch", 18, 2, 1, OUT_OF_ORDER),
    ("a suffix of the last batch", 19, 2, 1, OUT_OF_ORDER),
    ("longer than the last batch", 18, 4, 1, OUT_OF_ORDER),
    ("two batches merged", 15, 6, 1, OUT_OF_ORDER),
    ("half old, half new", 20, 3, 1, OUT_OF_ORDER),
    ("next", 21, 2, 1, 21),
    ("gap", 22, 1, 1, OUT_OF_ORDER),
    ("far gap", MAX, 1, 1, OUT_OF_ORDER),
    ("0 again", 0, 2, 1, OUT_OF_ORDER),
    ("no sequence", -1, 1, 1, Error.INVALID_RECORD),
    ("older epoch, next", 21, 1, 0, OLD_EPOCH),
    ("older epoch, duplicate", 18, 3, 0, OLD_EPOCH),
    ("older epoch -1", 21, 1, -1, OLD_EPOCH),
    ("newer epoch, 0", 0, 1, 2, 21),
    ("newest epoch, 0", 0, 1, 32767, 21),
    ("newer epoch, duplicate's sequence", 18, 3, 2, OUT_OF_ORDER),
    ("newer epoch, next", 21, 1, 2, OUT_OF_ORDER),
    ("newer epoch, 1", 1, 1, 2, OUT_OF_ORDER),
]


@pytest.mark.rule("IDEM-DUP-1", "IDEM-DUP-3", "IDEM-DUP-4", "IDEM-SEQ-2", "IDEM-EPOCH-1", "IDEM-EPOCH-2")
@pytest.mark.parametrize("cut", [0, 10, 19, 21])
@pytest.mark.parametrize(("what", "first", "count", "epoch", "expected"), TABLE, ids=[row[0] for row in TABLE])
def test_the_decision_table(what: str, first: int, count: int, epoch: int, expected: int | Error, cut: int) -> None:
    """The answers are the same wherever the log starts."""
    here = after(seven_batches(), DeleteRecords(cut))
    assert answer(here, idempotent(first, count, epoch=epoch)) == expected


@pytest.mark.rule("IDEM-SEQ-1")
@pytest.mark.parametrize("epoch", [0, 5, 32767])
@pytest.mark.parametrize("first", [0, 5, MAX])
def test_an_unknown_producer_begins_anywhere(first: int, epoch: int) -> None:
    here = produced(empty(), batch(4))
    assert answer(here, idempotent(first, 2, epoch=epoch)) == 4
    here = produced(here, idempotent(first, 2, epoch=epoch))
    assert answer(here, idempotent(first, 2, epoch=epoch)) == 4
    assert answer(here, idempotent(sequence_after(first, 3), 1, epoch=epoch)) == OUT_OF_ORDER


@pytest.mark.rule("IDEM-EPOCH-4")
def test_epoch_minus_one_never_makes_a_producer_known() -> None:
    here = produced(empty(), idempotent(3, epoch=-1), idempotent(9, epoch=-1))
    assert answer(here, idempotent(9, epoch=-1)) == 1
    assert answer(here, idempotent(50, epoch=-1)) == 2
    assert answer(here, idempotent(8, epoch=0)) == 2
    assert answer(empty(), idempotent(0, epoch=-2)) == OLD_EPOCH


@pytest.mark.rule("IDEM-SEQ-5")
@pytest.mark.parametrize("producer", [-1, -2, -(2**40)])
def test_a_negative_producer_id_is_no_producer(producer: int) -> None:
    here = produced(empty(), *[idempotent(5, producer=producer)] * 3)
    assert here.log.end == 3 and not here.producers


@pytest.mark.rule("IDEM-SEQ-3")
def test_sequences_wrap_to_zero() -> None:
    here = produced(empty(), idempotent(MAX))
    assert answer(here, idempotent(0)) == 1
    assert answer(here, idempotent(1)) == OUT_OF_ORDER
    assert answer(here, idempotent(MAX, 2)) == OUT_OF_ORDER
    assert answer(produced(here, idempotent(0)), idempotent(MAX)) == 0
    early = produced(empty(), idempotent(MAX - 1))
    assert answer(early, idempotent(0)) == OUT_OF_ORDER


@pytest.mark.rule("IDEM-SEQ-4")
def test_a_batch_may_straddle_the_wrap() -> None:
    here = produced(empty(), idempotent(MAX - 1), idempotent(MAX, 4))
    assert here.producers[7].last_sequence == 2
    assert answer(here, idempotent(3)) == 5
    assert answer(here, idempotent(MAX, 4)) == 1
    assert answer(here, idempotent(0, 3)) == OUT_OF_ORDER


@pytest.mark.rule("IDEM-DUP-2")
def test_a_faulty_duplicate_gets_the_fault_and_a_sound_one_comes_before_epoch_and_sequence() -> None:
    here = seven_batches()
    assert answer(here, idempotent(18, 3, epoch=1, crc_is_good=False)) == Error.CORRUPT_MESSAGE
    assert answer(here, idempotent(18, 3, epoch=1, attributes=0x08)) == 18
    assert answer(here, idempotent(18, 3, epoch=1, size_bytes=2_000_000)) == Error.MESSAGE_TOO_LARGE


@pytest.mark.rule("IDEM-DUP-5")
def test_a_duplicate_is_answered_with_its_original_time() -> None:
    here = produced(empty(), idempotent(0, timestamps=(NOW - 5,)), idempotent(1, timestamps=(-1,)))
    first, second = outcome_of(here, idempotent(0, timestamps=(NOW,))), outcome_of(here, idempotent(1))
    assert isinstance(first, Duplicate) and first.written.timestamp == NOW - 5
    assert isinstance(second, Duplicate) and second.written.timestamp == -1


@pytest.mark.rule("IDEM-DUP-6", "IDEM-SEQ-6")
@pytest.mark.parametrize("sent", [idempotent(18, 3, epoch=1), idempotent(30, epoch=1), idempotent(0), idempotent(21, epoch=1, crc_is_good=False)])
def test_a_refused_or_repeated_batch_changes_nothing(sent: SentBatch) -> None:
    here = seven_batches()
    assert after(here, sent, now=NOW + 99) == here


@pytest.mark.rule("IDEM-EPOCH-3")
def test_a_new_epoch_clears_the_window() -> None:
    here = produced(empty(), idempotent(0, 2), idempotent(0, 2, epoch=1))
    assert answer(here, idempotent(0, 2, epoch=1)) == 2
    assert len(here.producers[7].window) == 1
    assert answer(here, idempotent(0, 2, epoch=0)) == OLD_EPOCH


@pytest.mark.rule("IDEM-SEQ-7")
def test_partitions_know_nothing_of_one_another() -> None:
    newer = produced(empty(), idempotent(0, epoch=9))
    other = produced(empty(), idempotent(0, epoch=0))
    assert answer(other, idempotent(1, epoch=0)) == 1
    assert answer(newer, idempotent(1, epoch=0)) == OLD_EPOCH
    assert answer(empty(), idempotent(77)) == 0  # a topic made anew


@pytest.mark.rule("IDEM-EXPIRE-1")
def test_a_silent_producer_expires_by_the_brokers_clock() -> None:
    here = produced(empty(), idempotent(0, timestamps=(1,)), now=NOW)
    assert after(here, Expire(1000), now=NOW + 999).producers
    assert not after(here, Expire(1000), now=NOW + 1000).producers


@pytest.mark.rule("IDEM-ID-2")
def test_ids_are_reserved_in_blocks_before_they_are_given() -> None:
    ids = ProducerIds()
    record = idempotence.reserve(ids)
    assert record == ProducerIdsReserved(1000)
    ids = idempotence.evolve(ids, record)
    assert (ids.next_id, ids.reserved) == (0, 1000)
    assert idempotence.reserve(ids) is None
    assert idempotence.reserve(ProducerIds(1000, 1000)) == ProducerIdsReserved(2000)
