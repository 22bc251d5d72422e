"""Where a limit is, exactly: what stands on it passes, what is one beyond does not. Found by the machine's mutants, which the other tests let live."""

from __future__ import annotations

from typing import Any

import pytest
from samples import NOW, after, batch, empty, outcome_of, produced, sent

from fiducial.models import log, partition
from fiducial.models.batches import Record
from fiducial.models.errors import Error
from fiducial.models.log import BATCH_CHECK, REQUEST_CHECK, Found, LogConfig
from fiducial.models.partition import (
    AdvanceHighWatermark,
    BecomeLeader,
    DeleteRecords,
    Fetch,
    LookUp,
    Moved,
    Partition,
    Read,
    Refused,
    Retain,
)
from fiducial.models.sessions import EVICTION_MS, Session, Sessions, made_room


def request_is_refused(*batches: Any, api_version: int = 11) -> bool:
    return REQUEST_CHECK.refusal(sent(*batches), api_version) is not None


def batch_is_refused(of: Any, **config: Any) -> bool:
    return BATCH_CHECK.refusal(of, LogConfig(**config), NOW) is not None


@pytest.mark.rule("LOG-BATCH-4", "LOG-BATCH-5", "LOG-BATCH-6")
def test_one_batch_of_format_2_is_taken_and_only_zstd_needs_v7() -> None:
    assert not request_is_refused(batch(magic=2), api_version=6)
    assert request_is_refused(batch(magic=1)) and request_is_refused(batch(), batch())


@pytest.mark.rule("LOG-BATCH-8")
def test_a_batch_of_exactly_the_largest_size_is_taken() -> None:
    assert not batch_is_refused(batch(size_bytes=500), max_message_bytes=500)
    assert batch_is_refused(batch(size_bytes=501), max_message_bytes=500)


@pytest.mark.rule("LOG-BATCH-13", "LOG-BATCH-14", "LOG-BATCH-15", "LOG-BATCH-18")
def test_a_sound_batch_is_refused_for_nothing_and_keys_matter_to_compaction_only() -> None:
    keyless = batch(records=(Record(0, NOW, has_key=False),))
    assert not batch_is_refused(batch(3)) and not batch_is_refused(keyless)
    refusal = BATCH_CHECK.refusal(keyless, LogConfig(compacts=True), NOW)
    assert refusal is not None and refusal.rule == "LOG-BATCH-15"


@pytest.mark.rule("LOG-ROLL-1")
def test_a_segment_is_filled_to_the_last_byte() -> None:
    here = produced(empty(segment_bytes=200), batch(size_bytes=100), batch(size_bytes=100))
    assert here.log.active_segment == 0
    assert produced(here, batch(size_bytes=1)).log.active_segment == 1


@pytest.mark.rule("LOG-ROLL-2", "LOG-ROLL-5")
def test_a_first_timestamp_of_0_is_a_time() -> None:
    first = produced(empty(segment_ms=50), batch(timestamps=(0,)))
    assert produced(first, batch(timestamps=(50,))).log.active_segment == 0
    assert produced(first, batch(timestamps=(51,))).log.active_segment == 1


def five(high_watermark: int) -> Partition:
    """Five records, each in a batch of its own of 100 bytes."""
    return after(produced(empty(), *[batch() for _ in range(5)], committed=False), AdvanceHighWatermark(high_watermark))


def error_of(here: Partition, event: Any) -> Error:
    outcome = outcome_of(here, event)
    return outcome.rung.error if isinstance(outcome, Refused) else Error.NONE


@pytest.mark.rule("LOG-DELETE-2", "LOG-DELETE-4")
def test_everything_committed_can_be_deleted_and_no_more() -> None:
    assert outcome_of(five(3), DeleteRecords(3)) == Moved(3)
    assert error_of(five(3), DeleteRecords(4)) == Error.OFFSET_OUT_OF_RANGE


@pytest.mark.rule("LOG-DELETE-3")
def test_deleting_up_to_the_log_start_changes_nothing() -> None:
    here = after(five(3), DeleteRecords(2))
    assert after(here, DeleteRecords(2)).log is here.log


@pytest.mark.rule("LOG-READ-1")
def test_the_log_end_is_in_range() -> None:
    assert error_of(five(3), Fetch(5, 1000)) == Error.NONE
    assert error_of(five(3), Fetch(6, 1000)) == Error.OFFSET_OUT_OF_RANGE


@pytest.mark.rule("LOG-READ-1", "LOG-FETCH-6")
def test_epoch_0_is_an_epoch() -> None:
    """Beyond the log end it shows a divergence, where none is named that is out of range."""
    outcome = outcome_of(five(3), Fetch(6, 1000, last_fetched_epoch=0))
    assert isinstance(outcome, Read) and outcome.diverging_epoch == (0, 5)


def read(here: Partition, asked: Fetch) -> tuple[int, int]:
    outcome = outcome_of(here, asked)
    assert isinstance(outcome, Read)
    return outcome.base_offset, outcome.size_bytes


@pytest.mark.rule("LOG-READ-2", "LOG-READ-4", "LOG-READ-5", "LOG-READ-6")
def test_a_read_ends_at_its_bound_and_fills_its_limit_exactly() -> None:
    assert read(five(3), Fetch(3, 1000)) == (3, 0)
    assert read(five(3), Fetch(2, 1000)) == (2, 100)
    assert read(five(3), Fetch(0, 100, whole_first=False)) == (0, 100)
    assert read(five(3), Fetch(0, 99, whole_first=False)) == (0, 0)
    assert read(five(3), Fetch(0, 99)) == (0, 100)


@pytest.mark.rule("LOG-FETCH-7", "LOG-READ-2")
def test_only_a_future_replica_reads_to_the_end() -> None:
    assert read(five(3), Fetch(0, 1000, replica_id=partition.FUTURE_LOCAL_REPLICA)) == (0, 500)
    assert read(five(3), Fetch(0, 1000, replica_id=partition.DEBUGGING_CONSUMER)) == (0, 300)


@pytest.mark.rule("LOG-FETCH-10")
def test_broker_0_is_a_broker() -> None:
    assert error_of(five(3), Fetch(0, 1000, replica_id=0)) == Error.NOT_LEADER_OR_FOLLOWER
    assert error_of(five(3), Fetch(0, 1000, replica_id=-1)) == Error.NONE


@pytest.mark.rule("LOG-TIME-1", "LOG-TIME-5")
def test_a_record_at_the_bound_is_not_found() -> None:
    here = produced(empty(), batch(timestamps=(10,)), batch(timestamps=(20,)), committed=False)
    found = [outcome_of(after(here, AdvanceHighWatermark(mark)), LookUp(20)) for mark in (1, 2)]
    assert found == [log.NOTHING_FOUND, Found(1, 20, 0)]


@pytest.mark.rule("LOG-TIME-3")
def test_the_greatest_timestamp_of_many_segments_is_found_wherever_it_is() -> None:
    here = empty(segment_bytes=100)
    for times, offset in (((10, 30, 20), 1), ((30, 10, 20), 0), ((10, 20, 30), 2)):
        filled = produced(here, *[batch(timestamps=(time,)) for time in times])
        assert log.first_with_max_timestamp(filled.log).offset == offset


@pytest.mark.rule("LOG-EPOCH-2")
def test_a_leader_epoch_is_entered_once() -> None:
    here = after(after(five(3), BecomeLeader(4)), BecomeLeader(4))
    assert [entry.epoch for entry in here.log.epochs] == [0, 4]


@pytest.mark.rule("LOG-RETAIN-2", "LOG-RETAIN-3")
def test_the_active_segment_may_go_when_it_holds_something() -> None:
    here = produced(empty(segment_bytes=100, retention_bytes=0), batch(), batch())
    committed = after(here, AdvanceHighWatermark(2))
    assert list(log.deletable(committed.log)) == [0, 1]
    gone = after(committed, Retain())
    assert (gone.log.start, gone.log.end, gone.log.size_bytes) == (2, 2, 0)
    assert list(log.deletable(gone.log)) == [] and after(gone, Retain()) is gone


@pytest.mark.rule("LOG-SESSION-8")
def test_a_session_is_evicted_only_after_more_than_two_minutes() -> None:
    full = Sessions(by_id=Sessions().by_id.set(1, Session(1, True, (), 0)))
    assert made_room(full, 1, EVICTION_MS) is None
    room = made_room(full, 1, EVICTION_MS + 1)
    assert room is not None and not room.by_id
