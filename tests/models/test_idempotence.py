"""The idempotent producer on one partition: the decision table of `spec/idempotence.md`, row by row, and what surrounds it."""

from __future__ import annotations

from typing import Any

import pytest
from samples import NOW, Bench, Token, after, batch, empty, idempotent, outcome_of, produce_request, produced, sent

from fiducial.models import idempotence
from fiducial.models.batches import SentBatch
from fiducial.models.errors import Error
from fiducial.models.events import Housekeeping
from fiducial.models.idempotence import ProducerIds, ProducerIdsReserved
from fiducial.models.kernels import sequence_after
from fiducial.models.messages import DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic
from fiducial.models.partition import Appended, DeleteRecords, Duplicate, Expire, Partition, Refused, Retain
from fiducial.models.values import value

MAX, MAX_EPOCH = 2**31 - 1, 32_767
OUT_OF_ORDER, OLD_EPOCH = Error.OUT_OF_ORDER_SEQUENCE_NUMBER, Error.INVALID_PRODUCER_EPOCH


def seven_batches() -> Partition:
    """Producer 7 at epoch 1: seven batches of three, sequences and offsets 0 … 20, log end 21."""
    return produced(empty(), *(idempotent(first, 3, epoch=1, timestamps=(NOW + first,)) for first in range(0, 21, 3)))


def answer(here: Partition, one: SentBatch) -> int | Error:
    """The base offset that is answered, or the error."""
    match outcome_of(here, one):
        case Appended(base_offset, _):
            return base_offset
        case Duplicate(written):
            return written.base_offset
        case Refused(rung, _):
            return rung.error
        case other:
            raise AssertionError(other)


# The decision table: what the answer holds, what is written, what is remembered


@value
class Verdict:
    """What becomes of one batch."""

    error: Error
    base_offset: int
    log_append_time: int
    written: int  # records


def taken(base_offset: int, count: int, log_append_time: int = -1) -> Verdict:
    """Appended, on a CreateTime topic unless a time is told."""
    return Verdict(Error.NONE, base_offset, log_append_time, count)


def again(base_offset: int, first: int) -> Verdict:
    """Recognised: the offset and the time that the batch of this first sequence got."""
    return Verdict(Error.NONE, base_offset, NOW + first, 0)


def no(error: Error) -> Verdict:
    """Refused."""
    return Verdict(error, -1, -1, 0)


def timed(first: int, count: int, **who: int) -> SentBatch:
    """A batch whose time tells its first sequence."""
    return idempotent(first, count, timestamps=(NOW + first,), **who)


def verdict(bench: Bench, one: SentBatch) -> Verdict:
    """What a Produce request with this batch is answered, and how many records it wrote."""
    end = bench.partition("a").log.end
    reply = bench.ask(produce_request({("a", 0): sent(one)}), 12)
    (part,) = reply.responses[0].partition_responses
    assert part.log_start_offset == bench.partition("a").log.start
    return Verdict(Error(part.error_code), part.base_offset, part.log_append_time_ms, bench.partition("a").log.end - end)


def any_time(**config: Any) -> Bench:
    """A topic that takes batches of every time, so that the time may tell the sequence."""
    return Bench("a", message_timestamp_after_max_ms=str(2**62), **config)


def known_producer(cut: int, **config: Any) -> Bench:
    """K: producer 7 at epoch 1, seven batches of three, sequences and offsets 0 … 20, log end 21; then records deleted below `cut`."""
    bench = any_time(**config)
    bench.produce("a", *(timed(first, 3, epoch=1) for first in range(0, 21, 3)))
    partitions = (DeleteRecordsPartition(0, cut),)
    deleted = bench.ask(DeleteRecordsRequest((DeleteRecordsTopic("a", partitions),), 1000), 2)
    assert deleted.topics[0].partitions[0].low_watermark == cut
    return bench


#: What is appended by K's producer: in words, the batches (first sequence, count, epoch), and the verdict on each.
DECISIONS: list[tuple[str, list[tuple[int, int, int]], list[Verdict]]] = [
    ("same epoch, duplicate of the last batch", [(18, 3, 1)], [again(18, 18)]),
    ("same epoch, duplicate 2 to 5 back", [(first, 3, 1) for first in (15, 12, 9, 6)], [again(first, first) for first in (15, 12, 9, 6)]),
    ("same epoch, duplicate 6 or 7 back", [(3, 3, 1), (0, 3, 1)], [no(OUT_OF_ORDER)] * 2),
    (
        "same epoch, overlap: prefix, suffix, longer, merged, half old and half new",
        [(18, 2, 1), (19, 2, 1), (18, 4, 1), (15, 6, 1), (20, 3, 1)],
        [no(OUT_OF_ORDER)] * 5,
    ),
    ("same epoch, next", [(21, 2, 1)], [taken(21, 2)]),
    ("same epoch, gap", [(22, 1, 1), (1000, 1, 1), (MAX, 1, 1)], [no(OUT_OF_ORDER)] * 3),
    ("same epoch, 0", [(0, 1, 1), (0, 2, 1), (0, 4, 1)], [no(OUT_OF_ORDER)] * 3),
    ("any epoch, no sequence", [(-1, 1, epoch) for epoch in (-1, 0, 1, 2, MAX_EPOCH)], [no(Error.INVALID_RECORD)] * 5),
    ("older epoch", [(first, 3, epoch) for epoch in (0, -1) for first in (0, 1, 18, 21, 22, MAX)], [no(OLD_EPOCH)] * 12),
    ("newer epoch, 0", [(0, 1, 2)], [taken(21, 1)]),
    ("newest epoch, 0", [(0, 3, MAX_EPOCH)], [taken(21, 3)]),
    (
        "newer epoch, not 0: the duplicate's, next, gap, 1",
        [(first, 3, epoch) for epoch in (2, MAX_EPOCH) for first in (18, 21, 22, 1)],
        [no(OUT_OF_ORDER)] * 8,
    ),
]


@pytest.mark.rule(
    "IDEM-DUP-1", "IDEM-DUP-3", "IDEM-DUP-4", "IDEM-DUP-5", "IDEM-DUP-6", "IDEM-SEQ-2", "IDEM-SEQ-6", "IDEM-EPOCH-1", "IDEM-EPOCH-2", "IDEM-EPOCH-3",
    "IDEM-EXPIRE-2", "LOG-BATCH-12",
)  # fmt: skip
@pytest.mark.parametrize("cut", [0, 10, 19, 21])
@pytest.mark.parametrize(("what", "batches", "verdicts"), DECISIONS, ids=[row[0] for row in DECISIONS])
def test_the_decision_table(what: str, batches: list[tuple[int, int, int]], verdicts: list[Verdict], cut: int) -> None:
    """The answers are the same wherever the log starts; a refusal or a duplicate leaves the producer as it was, an append slides or clears its window."""
    bench = known_producer(cut)
    before = bench.partition("a").producers
    for (first, count, epoch), expected in zip(batches, verdicts, strict=True):
        assert verdict(bench, timed(first, count, epoch=epoch)) == expected
        entry = bench.partition("a").producers[7]
        if expected.written:
            assert (entry.epoch, entry.last_sequence) == (epoch, first + count - 1)
            assert len(entry.window) == (5 if epoch == 1 else 1)
        else:
            assert bench.partition("a").producers == before


@pytest.mark.rule("IDEM-DUP-5", "LOG-APPEND-5")
def test_the_decision_table_with_append_time() -> None:
    """A fresh append answers its append time, a duplicate the original's."""
    bench = known_producer(0, message_timestamp_type="LogAppendTime")
    bench.now += 5
    assert verdict(bench, timed(18, 3, epoch=1)) == Verdict(Error.NONE, 18, NOW, 0)
    assert verdict(bench, timed(21, 1, epoch=1)) == taken(21, 1, NOW + 5)


#: Other histories, each on a new topic: batches (producer, first sequence, count, epoch), and the verdict on each.
HISTORIES: list[tuple[str, list[tuple[int, int, int, int]], list[Verdict]]] = [
    *(
        (
            f"unknown producer, epoch {epoch}, sequence {first}: taken; then duplicate, next, gap",
            [(7, first, 2, epoch), (7, first, 2, epoch), (7, after_first, 1, epoch), (7, beyond, 1, epoch)],
            [taken(0, 2), again(0, first), taken(2, 1), no(OUT_OF_ORDER)],
        )
        for epoch in (0, 5, MAX_EPOCH)
        for first, after_first, beyond in ((0, 2, 4), (5, 7, 9), (MAX, 1, 3))
    ),
    (
        "unknown producer, epoch -1: taken, and still unknown; an exact duplicate is found",
        [(7, 3, 1, -1), (7, 50, 1, -1), (7, 50, 1, -1), (7, 3, 1, -1), (7, 8, 1, 0), (7, 9, 1, 0)],
        [taken(0, 1), taken(1, 1), again(1, 50), again(0, 3), taken(2, 1), taken(3, 1)],
    ),
    ("unknown producer, epoch -2", [(7, 0, 1, -2), (7, 5, 1, -2)], [no(OLD_EPOCH)] * 2),
    ("a negative id is no producer", [(producer, 5, 1, 3) for producer in (-1, -1, -2, -2)], [taken(offset, 1) for offset in range(4)]),
    (
        "last sequence 2^31 - 1",
        [(7, MAX, 1, 0), (7, 1, 1, 0), (7, MAX, 2, 0), (7, MAX, 1, 0), (7, 0, 1, 0), (7, MAX, 1, 0)],
        [taken(0, 1), no(OUT_OF_ORDER), no(OUT_OF_ORDER), again(0, MAX), taken(1, 1), again(0, MAX)],
    ),
    (
        "last sequence 2^31 - 2: a batch may straddle the wrap",
        [(7, MAX - 1, 1, 0), (7, 0, 1, 0), (7, MAX, 4, 0), (7, MAX, 4, 0), (7, 0, 3, 0), (7, 3, 1, 0)],
        [taken(0, 1), no(OUT_OF_ORDER), taken(1, 4), again(1, MAX), no(OUT_OF_ORDER), taken(5, 1)],
    ),
]


@pytest.mark.rule("IDEM-SEQ-1", "IDEM-SEQ-2", "IDEM-SEQ-3", "IDEM-SEQ-4", "IDEM-SEQ-5", "IDEM-EPOCH-1", "IDEM-EPOCH-4", "IDEM-ID-6")
@pytest.mark.parametrize(("what", "batches", "verdicts"), HISTORIES, ids=[row[0] for row in HISTORIES])
def test_other_histories_of_the_decision_table(what: str, batches: list[tuple[int, int, int, int]], verdicts: list[Verdict]) -> None:
    bench = any_time()
    for (producer, first, count, epoch), expected in zip(batches, verdicts, strict=True):
        assert verdict(bench, timed(first, count, producer=producer, epoch=epoch)) == expected


@pytest.mark.rule("IDEM-EXPIRE-1", "IDEM-SEQ-1")
def test_an_expired_producer_is_unknown_in_the_decision_table() -> None:
    """Where we deviate: Kafka counts from the last batch's greatest timestamp, which a client chose; we, from when we appended it."""
    bench = known_producer(0)
    bench.now += 86_400_000 - 1
    bench.happens(Housekeeping())
    assert verdict(bench, timed(18, 3, epoch=1)) == again(18, 18)
    bench.now += 1
    bench.happens(Housekeeping())
    assert verdict(bench, timed(18, 3, epoch=0)) == taken(21, 3)


# Rule by rule


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


@pytest.mark.rule("IDEM-DUP-4")
@pytest.mark.parametrize(
    "fields",
    [{"payload": Token("other")}, {"size_bytes": 77}, {"attributes": 0x01}, {"attributes": 0x10}, {"timestamps": (NOW - 9,)}, {"max_timestamp": 5}],
)
def test_what_is_in_a_batch_plays_no_part_in_recognising_it(fields: dict[str, Any]) -> None:
    assert answer(seven_batches(), idempotent(15, 3, epoch=1, **fields)) == 15


@pytest.mark.rule("IDEM-DUP-5")
def test_a_duplicate_is_answered_with_its_original_time() -> None:
    here = produced(empty(), idempotent(0, timestamps=(NOW - 5,)), idempotent(1, timestamps=(-1,)))
    first, second = outcome_of(here, idempotent(0, timestamps=(NOW,))), outcome_of(here, idempotent(1))
    assert isinstance(first, Duplicate) and first.written.timestamp == NOW - 5
    assert isinstance(second, Duplicate) and second.written.timestamp == -1


@pytest.mark.rule("IDEM-DUP-6", "IDEM-SEQ-6")
@pytest.mark.parametrize("one", [idempotent(18, 3, epoch=1), idempotent(30, epoch=1), idempotent(0), idempotent(21, epoch=1, crc_is_good=False)])
def test_a_refused_or_repeated_batch_changes_nothing(one: SentBatch) -> None:
    here = seven_batches()
    assert after(here, one, now=NOW + 99) == here


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


@pytest.mark.rule("IDEM-EXPIRE-2")
def test_letting_records_go_forgets_no_producer() -> None:
    here = produced(empty(segment_bytes=100, retention_ms=10), *(idempotent(first, timestamps=(1,)) for first in range(3)))
    kept = after(here, Retain())
    assert (kept.log.start, kept.log.end) == (3, 3)
    assert [answer(kept, idempotent(first)) for first in range(5)] == [0, 1, 2, 3, OUT_OF_ORDER]
    assert answer(after(here, DeleteRecords(-1)), idempotent(1)) == 1


@pytest.mark.rule("IDEM-ID-2")
def test_ids_are_reserved_in_blocks_before_they_are_given() -> None:
    ids = ProducerIds()
    record = idempotence.reserve(ids)
    assert record == ProducerIdsReserved(1000)
    ids = idempotence.evolve(ids, record)
    assert (ids.next_id, ids.reserved) == (0, 1000)
    assert idempotence.reserve(ids) is None
    assert idempotence.reserve(ProducerIds(1000, 1000)) == ProducerIdsReserved(2000)
