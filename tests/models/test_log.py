"""The log of one partition, rule by rule: what is refused and with which error, what is stored and where, what is read, what is let go."""

from __future__ import annotations

from typing import Any

import pytest
from samples import NOW, Token, after, batch, empty, idempotent, outcome_of, produced, sent

from fiducial.models import log
from fiducial.models.batches import SentBatch, SentRecords, Tail
from fiducial.models.errors import Error
from fiducial.models.log import REQUEST_CHECK, EpochStart, Found, LogConfig
from fiducial.models.partition import (
    AdvanceHighWatermark,
    Appended,
    BecomeLeader,
    DeleteRecords,
    EpochEnd,
    Fetch,
    LookUp,
    LookUpEpoch,
    Moved,
    Partition,
    Read,
    Refused,
    Retain,
    step,
)
from fiducial.models.values import changed

GZIP, ZSTD, CODEC_5, APPEND_TIME, TRANSACTIONAL = 1, 4, 5, 0x08, 0x10
APPEND_TIME, TRANSACTIONAL, CONTROL, DELETE_HORIZON, BIT_7 = 0x08, 0x10, 0x20, 0x40, 0x80
DAY = 86_400_000


def refusal(here: Partition, event: Any, now: int = NOW) -> tuple[str, Error]:
    outcome = outcome_of(here, event, now)
    assert isinstance(outcome, Refused), outcome
    return outcome.rung.rule, outcome.rung.error


def request_refusal(records: SentRecords | None, api_version: int = 11) -> tuple[str, Error]:
    rung = REQUEST_CHECK.refusal(records, api_version)
    assert rung is not None
    return rung.rule, rung.error


# The request check


@pytest.mark.rule("LOG-BATCH-3")
@pytest.mark.parametrize("records", [None, SentRecords(()), SentRecords((), Tail.PARTIAL)])
def test_no_whole_batch_is_refused(records: SentRecords | None) -> None:
    assert request_refusal(records) == ("LOG-BATCH-3", Error.INVALID_RECORD)


@pytest.mark.rule("LOG-BATCH-5")
@pytest.mark.parametrize("magic", [0, 1])
def test_old_formats_are_refused(magic: int) -> None:
    assert request_refusal(sent(batch(magic=magic))) == ("LOG-BATCH-5", Error.INVALID_RECORD)


@pytest.mark.rule("LOG-BATCH-6")
def test_zstd_needs_produce_v7() -> None:
    assert request_refusal(sent(batch(attributes=ZSTD)), 6) == ("LOG-BATCH-6", Error.UNSUPPORTED_COMPRESSION_TYPE)
    assert REQUEST_CHECK.refusal(sent(batch(attributes=ZSTD)), 7) is None


@pytest.mark.rule("LOG-BATCH-4")
def test_two_batches_are_refused() -> None:
    assert request_refusal(sent(batch(), batch())) == ("LOG-BATCH-4", Error.INVALID_RECORD)


@pytest.mark.rule("LOG-BATCH-2")
def test_a_corrupt_tail_is_refused_and_a_partial_one_trimmed() -> None:
    corrupt = SentRecords((batch(),), Tail.CORRUPT)
    assert request_refusal(corrupt) == ("LOG-BATCH-2", Error.CORRUPT_MESSAGE)
    assert REQUEST_CHECK.refusal(SentRecords((batch(),), Tail.PARTIAL), 11) is None


# The batch check: each fault alone, then in company


def odd(count: int = 2, **fields: Any) -> SentBatch:
    """A batch whose records are numbered 0, 2, 4 …"""
    one = batch(count, **fields)
    assert one.records is not None
    records = tuple(changed(record, offset_delta=2 * record.offset_delta) for record in one.records)
    return changed(one, records=records)


def keyless(**fields: Any) -> SentBatch:
    """Two records, the second without a key."""
    one = batch(2, **fields)
    assert one.records is not None
    return changed(one, records=(one.records[0], changed(one.records[1], has_key=False)))


FAULTS: list[tuple[str, Error, dict[str, Any]]] = [
    ("LOG-BATCH-7", Error.INVALID_RECORD, {"base_offset": 1}),
    ("LOG-BATCH-8", Error.MESSAGE_TOO_LARGE, {"size_bytes": 1001}),
    ("LOG-BATCH-9", Error.CORRUPT_MESSAGE, {"crc_is_good": False}),
    ("LOG-BATCH-10", Error.INVALID_RECORD, {"last_offset_delta": 5}),
    ("LOG-BATCH-11", Error.INVALID_RECORD, {"attributes": CONTROL}),
    ("LOG-BATCH-12", Error.INVALID_RECORD, {"producer_id": 7}),
    ("LOG-BATCH-25", Error.MESSAGE_TOO_LARGE, {"records": None, "unpacks_too_far": True}),
    ("LOG-BATCH-13", Error.INVALID_RECORD, {"records": None}),
]


@pytest.mark.rule(
    "LOG-BATCH-7", "LOG-BATCH-8", "LOG-BATCH-9", "LOG-BATCH-10", "LOG-BATCH-11", "LOG-BATCH-12", "LOG-BATCH-13", "LOG-BATCH-25"
)
@pytest.mark.parametrize(("rule", "error", "fields"), FAULTS)
def test_a_faulty_batch_is_refused(rule: str, error: Error, fields: dict[str, Any]) -> None:
    assert refusal(empty(max_message_bytes=1000), batch(**fields)) == (rule, error)


@pytest.mark.rule("LOG-BATCH-24")
@pytest.mark.parametrize("first", range(len(FAULTS)))
def test_the_earlier_fault_wins(first: int) -> None:
    """With this fault and every later one together, this one is answered."""
    together: dict[str, Any] = {}
    for _, _, fields in reversed(FAULTS[first:]):
        together |= fields
    rule, error, _ = FAULTS[first]
    assert refusal(empty(max_message_bytes=1000), batch(**together)) == (rule, error)


@pytest.mark.rule("LOG-BATCH-10")
@pytest.mark.parametrize(("count", "delta"), [(0, -1), (-1, -2), (2, 0), (1, 1)])
def test_header_count_and_delta_must_agree(count: int, delta: int) -> None:
    assert refusal(empty(), batch(count=count, last_offset_delta=delta))[0] == "LOG-BATCH-10"


@pytest.mark.rule("LOG-BATCH-14")
def test_the_header_counts_the_records() -> None:
    assert refusal(empty(), changed(batch(2), count=3, last_offset_delta=2)) == ("LOG-BATCH-14", Error.INVALID_RECORD)


@pytest.mark.rule("LOG-BATCH-13")
def test_kafka_answers_minus_one_for_unreadable_records_and_we_do_not() -> None:
    outcome = outcome_of(empty(), batch(records=None, attributes=CODEC_5))
    assert isinstance(outcome, Refused)
    assert outcome.rung.error == Error.INVALID_RECORD
    assert outcome.rung.also == (Error.UNKNOWN_SERVER_ERROR,)


@pytest.mark.rule("LOG-BATCH-15")
@pytest.mark.parametrize("deletes", [True, False])
def test_a_compacted_topic_needs_keys(deletes: bool) -> None:
    outcome = outcome_of(empty(compacts=True, deletes=deletes), keyless())
    assert isinstance(outcome, Refused)
    assert outcome.rung.error == Error.INVALID_RECORD
    assert [error.index for error in outcome.record_errors] == [1]
    assert isinstance(outcome_of(empty(), keyless()), Appended)


@pytest.mark.rule("LOG-BATCH-16")
@pytest.mark.parametrize(
    ("timestamp", "is_refused"),
    [(NOW - 100, False), (NOW - 101, True), (NOW + 50, False), (NOW + 51, True), (-1, False)],
)
def test_timestamps_have_strict_limits(timestamp: int, is_refused: bool) -> None:
    here = empty(timestamp_before_max_ms=100, timestamp_after_max_ms=50)
    outcome = outcome_of(here, batch(timestamps=(timestamp,)))
    assert isinstance(outcome, Refused) == is_refused
    by_broker = empty(timestamp_before_max_ms=100, timestamp_after_max_ms=50, append_time=True)
    assert isinstance(outcome_of(by_broker, batch(timestamps=(timestamp,))), Appended)


@pytest.mark.rule("LOG-BATCH-17")
@pytest.mark.parametrize(
    ("append_time", "timestamp", "is_refused"), [(True, NOW, True), (False, NOW, False), (False, -1, True)]
)
def test_only_the_broker_sets_append_time(append_time: bool, timestamp: int, is_refused: bool) -> None:
    outcome = outcome_of(empty(append_time=append_time), batch(timestamps=(timestamp,), attributes=APPEND_TIME))
    assert isinstance(outcome, Refused) == is_refused
    if is_refused:
        assert isinstance(outcome, Refused) and outcome.rung.error == Error.INVALID_TIMESTAMP


@pytest.mark.rule("LOG-BATCH-18")
def test_a_bad_timestamp_wins_over_a_missing_key_and_all_are_listed() -> None:
    one = batch(3, timestamps=(NOW, NOW + DAY, NOW))
    assert one.records is not None
    records = (changed(one.records[0], has_key=False), one.records[1], one.records[2])
    here = empty(compacts=True)
    outcome = outcome_of(here, changed(one, records=records))
    assert isinstance(outcome, Refused)
    assert (outcome.rung.rule, outcome.rung.error) == ("LOG-BATCH-18", Error.INVALID_TIMESTAMP)
    assert [(error.index, error.rung.rule) for error in outcome.record_errors] == [
        (0, "LOG-BATCH-15"),
        (1, "LOG-BATCH-16"),
    ]
    assert after(here, changed(one, records=records)).log.end == 0


@pytest.mark.rule("LOG-BATCH-19", "LOG-APPEND-4")
def test_odd_offset_deltas() -> None:
    """Compressed and kept: refused. Uncompressed and kept: stored as sent. Codec changed: numbered anew."""
    assert refusal(empty(), odd(attributes=GZIP)) == ("LOG-BATCH-19", Error.INVALID_RECORD)
    kept = produced(empty(), odd())
    assert [record.offset_delta for record in kept.log.batches[0].records] == [0, 2]
    assert kept.log.end == 2
    rebuilt = produced(empty(compression=GZIP), odd())
    assert [record.offset_delta for record in rebuilt.log.batches[0].records] == [0, 1]


@pytest.mark.rule("LOG-BATCH-26")
@pytest.mark.parametrize(
    "odd_one",
    [
        batch(timestamps=(-2,)),
        batch(producer_id=7, producer_epoch=-1, base_sequence=0),
        batch(producer_id=-7, producer_epoch=-1, base_sequence=0),
        batch(producer_id=-7, producer_epoch=0, base_sequence=-1),
        batch(attributes=TRANSACTIONAL),
    ],
)
def test_what_no_client_could_have_made_is_not_made_anew(odd_one: SentBatch) -> None:
    assert refusal(empty(compression=GZIP), odd_one) == ("LOG-BATCH-26", Error.INVALID_RECORD)
    assert isinstance(outcome_of(empty(), odd_one), Appended)
    stamped = batch(timestamps=(-2,), attributes=APPEND_TIME, max_timestamp=NOW)
    for sound in (batch(timestamps=(-1,)), stamped, batch(producer_id=-7, producer_epoch=0, base_sequence=0)):
        assert isinstance(outcome_of(empty(compression=GZIP), sound), Appended)


@pytest.mark.rule("LOG-BATCH-20")
def test_size_is_measured_again_after_a_rebuild() -> None:
    here = empty(compression=GZIP, max_message_bytes=150)
    grows = batch(payload=Token(rebuilt_bytes=151))
    assert refusal(here, grows) == ("LOG-BATCH-20", Error.MESSAGE_TOO_LARGE)
    assert isinstance(outcome_of(here, batch(payload=Token(rebuilt_bytes=150))), Appended)


@pytest.mark.rule("LOG-BATCH-21")
def test_a_batch_fits_into_a_segment() -> None:
    here = empty(segment_bytes=99)
    assert refusal(here, batch()) == ("LOG-BATCH-21", Error.RECORD_LIST_TOO_LARGE)
    assert isinstance(outcome_of(empty(segment_bytes=100), batch()), Appended)


@pytest.mark.rule("LOG-BATCH-23")
def test_unused_attribute_bits_are_taken_as_sent() -> None:
    outcome = outcome_of(empty(), batch(attributes=DELETE_HORIZON | BIT_7))
    assert isinstance(outcome, Appended)
    assert outcome.plan.payload == Token()


# What is stored


@pytest.mark.rule("LOG-APPEND-1", "LOG-APPEND-9")
def test_offsets_follow_one_another() -> None:
    here = after(produced(empty(), batch(3)), BecomeLeader(4))
    outcome = outcome_of(here, batch(2))
    assert isinstance(outcome, Appended) and outcome.base_offset == 3
    here = produced(here, batch(2))
    stored = here.log.batches[1]
    assert (stored.base_offset, stored.last_offset, stored.leader_epoch, here.log.end) == (3, 4, 4, 5)


@pytest.mark.rule("LOG-APPEND-2", "LOG-APPEND-3")
@pytest.mark.parametrize(
    ("compression", "attributes", "is_rebuilt"), [(None, GZIP, False), (GZIP, GZIP, False), (GZIP, 0, True), (0, ZSTD, True)]
)
def test_a_batch_is_rebuilt_only_if_its_codec_changes(compression: int | None, attributes: int, is_rebuilt: bool) -> None:
    here = produced(empty(compression=compression), batch(attributes=attributes))
    assert here.log.batches[0].size_bytes == (80 if is_rebuilt else 100)


@pytest.mark.rule("LOG-APPEND-5")
def test_append_time_is_the_brokers() -> None:
    here = produced(empty(append_time=True), batch(2, timestamps=(5, 9)), now=NOW + 1)
    stored = here.log.batches[0]
    assert (stored.max_timestamp, stored.has_append_time) == (NOW + 1, True)
    assert log.timestamps(stored) == ((0, NOW + 1), (1, NOW + 1))


@pytest.mark.rule("LOG-APPEND-6")
def test_create_time_is_computed_from_the_records() -> None:
    here = produced(empty(), batch(2, timestamps=(9, 5), max_timestamp=1234))
    assert (here.log.batches[0].max_timestamp, here.log.batches[0].has_append_time) == (9, False)


@pytest.mark.rule("LOG-APPEND-6", "LOG-BATCH-17", "LOG-TIME-3")
def test_append_time_of_a_client_is_the_time_of_the_header_alone_or_of_all_records_encoded_anew() -> None:
    claimed = batch(2, timestamps=(NOW - 9, NOW - 5), attributes=APPEND_TIME, max_timestamp=NOW - 1)
    kept, rebuilt = produced(empty(), claimed), produced(empty(compression=GZIP), claimed)
    for here, times in ((kept, [NOW - 9, NOW - 5]), (rebuilt, [NOW - 1, NOW - 1])):
        stored = here.log.batches[0]
        assert (stored.max_timestamp, stored.has_append_time) == (NOW - 1, False)
        assert [record.timestamp for record in stored.records] == times
    assert outcome_of(kept, LookUp(-3)) == Found(-1, -1, -1)
    assert outcome_of(rebuilt, LookUp(-3)) == Found(0, NOW - 1, 0)


# Rolling


@pytest.mark.rule("LOG-ROLL-1", "LOG-ROLL-6")
def test_a_segment_ends_before_it_is_too_large() -> None:
    here = produced(empty(segment_bytes=250), batch(), batch())
    assert here.log.active_segment == 0
    here = produced(here, batch())
    assert (here.log.active_segment, here.log.active.base_offset, here.log.active.size_bytes) == (1, 2, 100)


@pytest.mark.rule("LOG-ROLL-6")
def test_an_empty_segment_that_rolls_is_begun_anew() -> None:
    """An index without room for one entry is always full."""
    here = produced(empty(segment_index_bytes=4), batch(), now=NOW + 5)
    assert (here.log.active_segment, here.log.active.created_ms) == (0, NOW + 5)
    assert produced(here, batch()).log.active_segment == 1


@pytest.mark.rule("LOG-ROLL-2", "LOG-ROLL-5")
def test_a_segment_ends_by_record_time() -> None:
    here = produced(empty(segment_ms=10), batch(timestamps=(100,)))
    assert after(here, batch(timestamps=(110,))).log.active_segment == 0
    assert after(here, batch(timestamps=(111,))).log.active_segment == 1
    assert after(here, batch(timestamps=(5,)), now=NOW + DAY).log.active_segment == 0
    timeless = produced(empty(segment_ms=10), batch(timestamps=(-1,)))
    assert after(timeless, batch(timestamps=(-1,)), now=NOW + 11).log.active_segment == 1


@pytest.mark.rule("LOG-ROLL-3")
def test_a_segment_ends_when_its_index_is_full() -> None:
    here = empty(index_interval_bytes=0, segment_index_bytes=24)  # 3 offset entries; 2 time entries, full at 1
    here = produced(here, batch(timestamps=(1,)), batch(timestamps=(2,)))
    assert (here.log.active.index_entries, here.log.active.time_index_entries) == (1, 1)
    assert after(here, batch()).log.active_segment == 1
    same_time = produced(empty(index_interval_bytes=0, segment_index_bytes=48), *[batch(timestamps=(1,))] * 7)
    assert (same_time.log.active.index_entries, same_time.log.active.time_index_entries) == (6, 1)
    assert after(same_time, batch(timestamps=(1,))).log.active_segment == 1


@pytest.mark.rule("LOG-ROLL-7")
def test_an_index_entry_is_due_once_enough_bytes_are_behind_the_last() -> None:
    here = empty(index_interval_bytes=150)
    entries = []
    for timestamp in (1, 2, 5, 4, 3, 6, 7):
        here = produced(here, batch(timestamps=(timestamp,)))
        entries.append((here.log.active.index_entries, here.log.active.time_index_entries))
    assert entries == [(0, 0), (0, 0), (1, 1), (1, 1), (2, 1), (2, 1), (3, 2)]
    exactly = produced(empty(index_interval_bytes=100), batch(), batch())
    assert exactly.log.active.index_entries == 0


@pytest.mark.rule("LOG-ROLL-4")
def test_a_segment_spans_no_more_than_its_index_can_say() -> None:
    here = produced(empty(), batch())
    far = changed(here, log=changed(here.log, end=2**31 - 1))
    assert after(far, batch()).log.active_segment == 0
    assert after(far, batch(2)).log.active_segment == 1


@pytest.mark.rule("LOG-APPEND-8")
def test_a_roll_stands_though_the_batch_is_refused() -> None:
    here = produced(empty(segment_bytes=150), idempotent(0))
    refused = after(here, idempotent(9))
    assert (refused.log.active_segment, refused.log.end) == (1, 1)
    assert after(here, idempotent(0)).log.active_segment == 1


# Reading


@pytest.mark.rule("LOG-READ-1")
def test_reading_outside_the_log() -> None:
    here = after(produced(empty(), batch(4)), DeleteRecords(2))
    assert refusal(here, Fetch(1, 1000)) == ("LOG-READ-1", Error.OFFSET_OUT_OF_RANGE)
    assert refusal(here, Fetch(5, 1000)) == ("LOG-READ-1", Error.OFFSET_OUT_OF_RANGE)
    assert refusal(here, Fetch(1, 1000, last_fetched_epoch=0)) == ("LOG-READ-1", Error.OFFSET_OUT_OF_RANGE)
    assert isinstance(outcome_of(here, Fetch(2, 1000)), Read)


@pytest.mark.rule("LOG-READ-2", "LOG-READ-4")
def test_reading_between_high_watermark_and_end_gives_nothing() -> None:
    here = after(produced(empty(), batch(2), batch(2), committed=False), AdvanceHighWatermark(2))
    assert outcome_of(here, Fetch(0, 1000)) == Read(0, 100, 2, 2, 0)
    assert outcome_of(here, Fetch(2, 1000)) == Read(2, 0, 2, 2, 0)
    assert outcome_of(here, Fetch(4, 1000)) == Read(4, 0, 2, 2, 0)


@pytest.mark.rule("LOG-READ-3")
def test_a_read_begins_with_the_batch_around_the_offset() -> None:
    here = produced(empty(), batch(3), batch(3))
    assert outcome_of(here, Fetch(4, 1000)) == Read(3, 100, 6, 6, 0)


@pytest.mark.rule("LOG-READ-5")
def test_the_first_batch_is_whole_or_absent() -> None:
    here = produced(empty(), batch(), batch())
    assert outcome_of(here, Fetch(0, 1)) == Read(0, 100, 2, 2, 0)
    assert outcome_of(here, Fetch(0, 1, whole_first=False)) == Read(0, 0, 2, 2, 0, has_left_out=True)
    assert outcome_of(here, Fetch(0, 0, whole_first=False)) == Read(0, 0, 2, 2, 0)
    assert outcome_of(here, Fetch(0, 150)) == Read(0, 150, 2, 2, 0)  # the last batch may be cut


@pytest.mark.rule("LOG-READ-6", "LOG-READ-7")
def test_a_read_ends_with_its_segment() -> None:
    here = produced(empty(segment_bytes=200), batch(), batch(), batch())
    assert outcome_of(here, Fetch(0, 1000)) == Read(0, 200, 3, 3, 0)
    assert outcome_of(here, Fetch(2, 1000)) == Read(2, 100, 3, 3, 0)


@pytest.mark.rule("LOG-READ-12")
def test_nonsense_limits_are_refused() -> None:
    here = produced(empty(), batch())
    assert refusal(here, Fetch(0, -1)) == ("LOG-READ-12", Error.INVALID_REQUEST)
    assert refusal(here, Fetch(9, -1)) == ("LOG-READ-1", Error.OFFSET_OUT_OF_RANGE)


@pytest.mark.rule("LOG-FETCH-5", "LOG-FETCH-8")
@pytest.mark.parametrize("ask", [lambda e: Fetch(0, 9, current_leader_epoch=e), lambda e: LookUp(-1, current_leader_epoch=e), lambda e: LookUpEpoch(0, e)])
def test_other_leader_epochs_are_fenced(ask: Any) -> None:
    here = after(empty(), BecomeLeader(3))
    assert refusal(here, ask(2)) == ("LOG-FETCH-5", Error.FENCED_LEADER_EPOCH)
    assert refusal(here, ask(4)) == ("LOG-FETCH-8", Error.UNKNOWN_LEADER_EPOCH)
    assert not isinstance(outcome_of(here, ask(3)), Refused)
    assert not isinstance(outcome_of(here, ask(-1)), Refused)


@pytest.mark.rule("LOG-FETCH-6")
def test_a_diverging_asker_is_told_where() -> None:
    here = after(produced(empty(), batch(3)), BecomeLeader(2))
    here = produced(here, batch(2))
    assert outcome_of(here, Fetch(5, 1000, last_fetched_epoch=0)) == Read(5, 0, 5, 5, 0, (0, 3))
    assert outcome_of(here, Fetch(9, 1000, last_fetched_epoch=2)) == Read(9, 0, 5, 5, 0, (2, 5))
    assert outcome_of(here, Fetch(3, 1000, last_fetched_epoch=0)) == Read(3, 100, 5, 5, 0)
    assert refusal(here, Fetch(3, 1000, last_fetched_epoch=3)) == ("LOG-READ-1", Error.OFFSET_OUT_OF_RANGE)


@pytest.mark.rule("LOG-FETCH-7")
def test_replica_minus_three_reads_to_the_end() -> None:
    here = produced(empty(), batch(), committed=False)
    assert outcome_of(here, Fetch(0, 1000, replica_id=-3)) == Read(0, 100, 0, 0, 0)
    assert outcome_of(here, Fetch(0, 1000, replica_id=-2)) == Read(0, 0, 0, 0, 0)


@pytest.mark.rule("LOG-FETCH-10")
def test_nobody_fetches_as_a_broker() -> None:
    assert refusal(empty(), Fetch(0, 1000, replica_id=5)) == ("LOG-FETCH-10", Error.NOT_LEADER_OR_FOLLOWER)


# Looking up


@pytest.mark.rule("LOG-TIME-1")
def test_marks_by_name() -> None:
    here = after(produced(empty(), batch(3), batch(2), committed=False), AdvanceHighWatermark(3), DeleteRecords(1))
    assert outcome_of(here, LookUp(-1)) == Found(3, -1, 0)
    assert outcome_of(here, LookUp(-2)) == Found(1, -1, 0)
    assert outcome_of(here, LookUp(-4)) == Found(1, -1, 0)
    assert outcome_of(here, LookUp(-5)) == Found(-1, -1, -1)


@pytest.mark.rule("LOG-TIME-2")
def test_the_first_record_as_late_as_asked() -> None:
    here = produced(empty(), batch(3, timestamps=(10, 30, 20)), batch(timestamps=(25,)))
    assert outcome_of(here, LookUp(11)) == Found(1, 30, 0)
    assert outcome_of(here, LookUp(10)) == Found(0, 10, 0)
    assert outcome_of(here, LookUp(31)) == Found(-1, -1, -1)
    assert outcome_of(after(here, DeleteRecords(2)), LookUp(25)) == Found(3, 25, 0)
    uncommitted = produced(empty(), batch(timestamps=(10,)), committed=False)
    assert outcome_of(uncommitted, LookUp(10)) == Found(-1, -1, -1)


@pytest.mark.rule("LOG-TIME-3")
def test_the_first_record_with_the_greatest_time() -> None:
    here = produced(empty(segment_bytes=200), batch(2, timestamps=(10, 30)), batch(timestamps=(30,)), batch(timestamps=(30,)))
    assert outcome_of(here, LookUp(-3)) == Found(1, 30, 0)
    assert outcome_of(produced(empty(), batch(2, timestamps=(-1,))), LookUp(-3)) == Found(0, -1, 0)
    assert outcome_of(empty(), LookUp(-3)) == Found(-1, -1, -1)


@pytest.mark.rule("LOG-TIME-5")
def test_only_consumers_stop_at_the_high_watermark() -> None:
    here = produced(empty(), batch(2), committed=False)
    assert outcome_of(here, LookUp(-1)) == Found(0, -1, 0)
    assert outcome_of(here, LookUp(-1, isolation=1)) == Found(0, -1, 0)
    assert outcome_of(here, LookUp(-1, replica_id=-2)) == Found(2, -1, 0)


# Marks and epochs


@pytest.mark.rule("LOG-HW-1", "LOG-HW-2", "LOG-HW-3")
def test_the_high_watermark_rises_within_the_log() -> None:
    here = produced(empty(), batch(5), committed=False)
    here = after(here, AdvanceHighWatermark(3))
    assert after(here, AdvanceHighWatermark(2)).log.high_watermark == 3
    assert after(here, AdvanceHighWatermark(9)).log.high_watermark == 5
    assert log.last_stable_offset(here.log, None) == 3
    assert log.last_stable_offset(here.log, 1) == 1
    assert log.last_stable_offset(here.log, 4) == 3


@pytest.mark.rule("LOG-DELETE-1")
@pytest.mark.parametrize(("deletes", "compacts", "is_refused"), [(False, True, True), (True, True, False), (False, False, False)])
def test_only_compaction_alone_forbids_deleting(deletes: bool, compacts: bool, is_refused: bool) -> None:
    here = produced(empty(deletes=deletes, compacts=compacts), batch())
    outcome = outcome_of(here, DeleteRecords(1))
    assert outcome == Moved(1) if not is_refused else refusal(here, DeleteRecords(1)) == ("LOG-DELETE-1", Error.POLICY_VIOLATION)


@pytest.mark.rule("LOG-DELETE-2", "LOG-DELETE-3", "LOG-DELETE-4")
def test_deleting_records_moves_the_log_start_up() -> None:
    here = after(produced(empty(), batch(5), committed=False), AdvanceHighWatermark(4))
    assert refusal(here, DeleteRecords(5)) == ("LOG-DELETE-2", Error.OFFSET_OUT_OF_RANGE)
    assert refusal(here, DeleteRecords(-2)) == ("LOG-DELETE-2", Error.OFFSET_OUT_OF_RANGE)
    assert outcome_of(here, DeleteRecords(-1)) == Moved(4)
    here = after(here, DeleteRecords(3))
    assert outcome_of(here, DeleteRecords(2)) == Moved(3)
    assert here.log.start == 3


@pytest.mark.rule("LOG-EPOCH-1", "LOG-EPOCH-3")
def test_where_epochs_end() -> None:
    here = produced(after(produced(empty(), batch(3)), BecomeLeader(2)), batch(2))
    here = after(here, BecomeLeader(5))
    ends = {epoch: outcome_of(here, LookUpEpoch(epoch)) for epoch in range(-2, 7)}
    assert ends == {
        -2: EpochEnd(-2, 0),
        -1: EpochEnd(-1, -1),
        0: EpochEnd(0, 3),
        1: EpochEnd(0, 3),
        2: EpochEnd(2, 5),
        3: EpochEnd(2, 5),
        4: EpochEnd(2, 5),
        5: EpochEnd(5, 5),
        6: EpochEnd(-1, -1),
    }
    cut = changed(here, log=changed(here.log, epochs=here.log.epochs[1:]))
    assert outcome_of(cut, LookUpEpoch(1)) == EpochEnd(1, 3)


@pytest.mark.rule("LOG-EPOCH-2")
def test_a_leader_enters_its_epoch_at_once() -> None:
    here = after(produced(empty(), batch(3)), BecomeLeader(2), BecomeLeader(4))
    assert here.log.epochs == (EpochStart(0, 0), EpochStart(4, 3))


@pytest.mark.rule("LOG-DELETE-3")
def test_epochs_below_the_log_start_go() -> None:
    here = produced(after(produced(empty(), batch(3)), BecomeLeader(2)), batch(2))
    assert after(here, DeleteRecords(1)).log.epochs == (EpochStart(0, 1), EpochStart(2, 3))
    assert after(here, DeleteRecords(4)).log.epochs == (EpochStart(2, 4),)


# Retention


def three_segments(**config: Any) -> Partition:
    """Offsets 0, 1, 2, each in a segment of its own, 100 bytes each, written at 100, 200, 300."""
    settings = {"segment_bytes": 100, "retention_ms": -1} | config
    return produced(empty(**settings), *(batch(timestamps=(time,)) for time in (100, 200, 300)))


def starts(here: Partition, now: int = NOW) -> int:
    """The log start after retention has looked."""
    return after(here, Retain(), now=now).log.start


@pytest.mark.rule("LOG-RETAIN-1")
def test_only_a_prefix_goes() -> None:
    later_first = produced(
        empty(segment_bytes=100, retention_ms=1000), *(batch(timestamps=(time,)) for time in (9000, 100, 200)), now=9000
    )
    assert starts(later_first, 9500) == 0


@pytest.mark.rule("LOG-RETAIN-2")
def test_what_is_not_committed_stays() -> None:
    here = produced(
        empty(segment_bytes=100, retention_ms=1000), *(batch(timestamps=(time,)) for time in (1, 2, 3)), committed=False
    )
    assert starts(here) == 0
    assert starts(after(here, AdvanceHighWatermark(2))) == 2


@pytest.mark.rule("LOG-RETAIN-3")
def test_the_active_segment_goes_too_but_for_an_empty_one() -> None:
    here = after(three_segments(retention_ms=1000), Retain())
    assert (here.log.start, here.log.end, here.log.active.size_bytes, here.log.active.base_offset) == (3, 3, 0, 3)
    assert after(here, Retain(), now=NOW + DAY).log == here.log


@pytest.mark.rule("LOG-RETAIN-4")
def test_time_is_strict_and_the_future_blocks() -> None:
    here = three_segments(retention_ms=1000)
    assert starts(here, 1100) == 0
    assert starts(here, 1101) == 1
    assert starts(here, 1301) == 3
    ahead = produced(empty(segment_bytes=100, retention_ms=10), batch(timestamps=(NOW + 1000,)), batch(timestamps=(1,)))
    assert starts(ahead, NOW + 5) == 0


@pytest.mark.rule("LOG-RETAIN-5")
def test_records_without_time_count_from_when_they_were_written() -> None:
    here = produced(empty(retention_ms=1000), batch(timestamps=(-1,)), now=NOW)
    assert starts(here, NOW + 1000) == 0
    assert starts(here, NOW + 1001) == 1


@pytest.mark.rule("LOG-RETAIN-6")
@pytest.mark.parametrize(("retention_bytes", "start"), [(-1, 0), (300, 0), (201, 0), (200, 1), (100, 2), (1, 2), (0, 3)])
def test_size_never_falls_below_what_is_to_be_kept(retention_bytes: int, start: int) -> None:
    assert starts(three_segments(retention_bytes=retention_bytes)) == start


@pytest.mark.rule("LOG-RETAIN-7")
def test_the_log_start_moves_and_producers_stay() -> None:
    here = produced(empty(segment_bytes=100, retention_ms=10), idempotent(0, timestamps=(1,)), idempotent(1, timestamps=(2,)))
    kept = after(here, Retain())
    assert kept.log.start == 2 and kept.producers == here.producers
    assert kept.log.first_batch == 2 and kept.log.size_bytes == 0


@pytest.mark.rule("LOG-RETAIN-8")
@pytest.mark.parametrize("compacts", [True, False])
def test_without_delete_only_what_is_below_the_start_goes(compacts: bool) -> None:
    here = three_segments(retention_ms=0, retention_bytes=0, deletes=False, compacts=compacts)
    assert after(here, Retain()).log.first_segment == 0
    begun = changed(here, log=log.with_start(here.log, 2))
    assert after(begun, Retain()).log.first_segment == 2
    assert after(begun, Retain()).log.start == 2


def test_the_configuration_is_a_value() -> None:
    assert LogConfig() == LogConfig() and hash(LogConfig()) == hash(LogConfig())
    here, _ = step(empty(), Retain(), NOW)
    assert here == empty()
