"""Restarts, rule by rule: what a clean stop, a kill and a power cut leave of a partition and of the broker."""

from __future__ import annotations

import pytest
from samples import NOW, Bench, after, batch, empty, fetch_request, idempotent, outcome_of, produced

from fiducial.models import restarts
from fiducial.models.events import Reply
from fiducial.models.idempotence import BLOCK_IDS
from fiducial.models.log import EpochStart, LogConfig
from fiducial.models.messages import InitProducerIdRequest
from fiducial.models.partition import Appended, DeleteRecords, Duplicate, Partition, Refused, Retain
from fiducial.models.restarts import (
    MADE_UP_ID,
    BrokerStarted,
    Kept,
    Stop,
    allowed_after_crash,
    leader_epochs,
    must_be_kept,
    reopened,
)
from fiducial.models.topics import ConfigChanged, PartitionsAdded, TopicCreated, TopicDeleted

PRODUCER = 7
CLEAN, KILLED, POWER_CUT = Stop
#: Two batches of 100 bytes fit into a segment.
SMALL = {"segment_bytes": 250}


def history(*, batches: int = 4, **config: int) -> list[Partition]:
    """An empty partition, and what it was after each of `batches` batches of one record of one producer, all committed."""
    moments = [empty(**config)]
    for sequence in range(batches):
        moments.append(produced(moments[-1], idempotent(sequence, producer=PRODUCER)))
    return moments


def marks(here: Partition) -> tuple[int, int, int]:
    """Log start, high watermark, log end."""
    return here.log.start, here.log.high_watermark, here.log.end


def offsets(here: Partition) -> list[int]:
    """The base offsets of the batches that are left."""
    return [here.log.batches[ordinal].base_offset for ordinal in range(here.log.first_batch, here.log.end_batch)]


# A clean stop


@pytest.mark.rule("LOG-RESTART-1")
def test_a_clean_stop_loses_nothing() -> None:
    here = after(history(batches=7, **SMALL)[-1], DeleteRecords(3))
    again = reopened(here, leader_epoch=1)
    assert again.producers == here.producers
    assert again.log.batches == here.log.batches
    assert again.log.sealed == here.log.sealed and again.log.active == here.log.active
    assert marks(again) == marks(here) == (3, 7, 7)


@pytest.mark.rule("LOG-RESTART-1", "LOG-RESTART-3", "LOG-RESTART-4")
def test_what_a_clean_stop_keeps_is_all_there_may_be() -> None:
    moments = history()
    nothing = Kept(0, 0)
    kept = must_be_kept(CLEAN, moments[-1], nothing, nothing)
    assert allowed_after_crash(moments, kept, 1, NOW) == (reopened(moments[-1], 1),)


@pytest.mark.rule("LOG-RESTART-2")
def test_a_restart_begins_a_leader_epoch_at_the_log_end() -> None:
    again = reopened(history(batches=3)[-1], leader_epoch=1)
    assert again.leader_epoch == 1
    assert again.log.epochs == (EpochStart(0, 0), EpochStart(1, 3))
    assert reopened(reopened(empty(), 1), 2).log.epochs == (EpochStart(2, 0),)


@pytest.mark.rule("LOG-RESTART-2")
def test_an_epoch_is_not_begun_twice() -> None:
    with pytest.raises(AssertionError):
        reopened(empty(), leader_epoch=0)


@pytest.mark.rule("LOG-RESTART-2")
def test_each_start_begins_a_leader_epoch_of_what_was_there_before_it() -> None:
    a, b, gone = (bytes([number]) * 16 for number in range(3))
    records = [
        BrokerStarted(),
        TopicCreated(a, "a", 2),
        TopicCreated(gone, "gone", 1),
        BrokerStarted(),
        TopicCreated(b, "b", 1),
        PartitionsAdded(a, 3),
        TopicDeleted(gone),
        ConfigChanged(True, "a", "retention.ms", "1"),
        BrokerStarted(),
    ]
    assert leader_epochs(records[:3]) == {a: (0, 0), gone: (0,)}
    assert leader_epochs(records) == {a: (2, 2, 1), b: (1,)}


@pytest.mark.rule("LOG-RESTART-2")
def test_what_is_there_after_a_restart_is_committed() -> None:
    pending = produced(empty(), batch(2), committed=False)
    assert marks(pending) == (0, 0, 2)
    assert marks(reopened(pending, 1)) == (0, 2, 2)


# Kills and power cuts


@pytest.mark.rule("LOG-RESTART-3")
def test_a_killed_process_has_what_it_answered_and_perhaps_what_was_under_way() -> None:
    moments = history(batches=4)
    answered = Kept(0, 3)
    kept = must_be_kept(KILLED, moments[-1], answered, forced=Kept(0, 0))
    assert kept == answered
    assert allowed_after_crash(moments, kept, 1, NOW) == (reopened(moments[3], 1), reopened(moments[4], 1))


@pytest.mark.rule("LOG-RESTART-4")
def test_a_power_cut_takes_back_whole_batches_from_the_end() -> None:
    moments = [empty()]
    for count in (3, 2, 4):
        moments.append(produced(moments[-1], batch(count)))
    kept = must_be_kept(POWER_CUT, moments[-1], answered=Kept(0, 9), forced=Kept(0, 3))
    allowed = allowed_after_crash(moments, kept, 1, NOW)
    assert [marks(one) for one in allowed] == [(0, 3, 3), (0, 5, 5), (0, 9, 9)]
    assert [offsets(one) for one in allowed] == [[0], [0, 3], [0, 3, 5]]


@pytest.mark.rule("LOG-RESTART-4")
def test_producers_are_what_they_were_when_the_log_ended_there() -> None:
    moments = history(batches=4)
    allowed = allowed_after_crash(moments, Kept(0, 2), 1, NOW)
    assert [one.producers for one in allowed] == [moments[2].producers, moments[3].producers, moments[4].producers]


@pytest.mark.rule("LOG-RESTART-4")
def test_segments_that_retention_let_go_of_may_be_there_again() -> None:
    moments = history(batches=5, retention_bytes=250, **SMALL)
    moments.append(after(moments[-1], Retain()))
    assert marks(moments[-1]) == (2, 5, 5)
    allowed = allowed_after_crash(moments, Kept(0, 5), 1, NOW)
    assert [(marks(one), offsets(one)) for one in allowed] == [((0, 5, 5), [0, 1, 2, 3, 4]), ((2, 5, 5), [0, 1, 2, 3, 4])]
    assert [one.log.size_bytes for one in allowed] == [500, 500]
    assert {len(one.log.sealed) for one in allowed} == {2}


@pytest.mark.rule("LOG-RESTART-3", "LOG-RESTART-4")
def test_a_log_that_ends_too_early_or_where_no_batch_does_is_not_allowed() -> None:
    moments = [empty(), produced(empty(), batch(3))]
    ends = {one.log.end for one in allowed_after_crash(moments, Kept(0, 1), 1, NOW)}
    assert ends == {3}


@pytest.mark.rule("LOG-RESTART-8")
def test_a_log_start_is_not_below_what_was_answered() -> None:
    moments = history(batches=4)
    moments.append(after(moments[-1], DeleteRecords(2)))
    moments.append(after(moments[-1], DeleteRecords(3)))
    allowed = allowed_after_crash(moments, Kept(2, 4), 1, NOW)
    assert [marks(one) for one in allowed] == [(2, 4, 4), (3, 4, 4)]


@pytest.mark.rule("LOG-RESTART-4", "LOG-RESTART-8")
def test_no_log_start_is_beyond_the_log_end() -> None:
    moments = history(batches=4)
    moments.append(after(moments[-1], DeleteRecords(3)))
    allowed = allowed_after_crash(moments, Kept(0, 2), 1, NOW)
    assert [marks(one) for one in allowed] == [(0, 2, 2), (0, 3, 3), (3, 3, 3), (0, 4, 4), (3, 4, 4)]


@pytest.mark.rule("LOG-RESTART-8")
def test_the_log_start_that_was_written_down_is_the_log_start() -> None:
    pending = produced(empty(), *(batch() for _ in range(4)), committed=False)
    here = restarts.under_start(reopened(pending, 1), 3, NOW)
    assert marks(here) == (3, 4, 4)
    assert here.log.epochs == (EpochStart(0, 3), EpochStart(1, 4))


@pytest.mark.rule("LOG-RESTART-9")
def test_a_log_that_ends_below_its_start_goes_on_there() -> None:
    here = restarts.under_start(history(batches=4)[-1], 6, NOW + 5)
    assert marks(here) == (6, 6, 6)
    assert offsets(here) == [] and here.log.size_bytes == 0 and not here.log.sealed
    assert here.log.epochs == (EpochStart(0, 6),)
    assert here.log.active.created_ms == here.log.active.modified_ms == NOW + 5
    outcome = outcome_of(here, idempotent(4, producer=PRODUCER))
    assert isinstance(outcome, Appended) and outcome.base_offset == 6


@pytest.mark.rule("LOG-RESTART-9")
def test_a_log_that_ends_at_its_start_is_kept() -> None:
    here = restarts.under_start(history(batches=4)[-1], 4, NOW)
    assert marks(here) == (4, 4, 4) and offsets(here) == [0, 1, 2, 3]


# How far


@pytest.mark.rule("LOG-RESTART-5")
@pytest.mark.parametrize(("flush_messages", "unforced", "forces"), [(1, 1, True), (3, 2, False), (3, 3, True), (3, 4, True), (2**63 - 1, 10**9, False)])
def test_so_many_records_are_forced_before_the_answer(flush_messages: int, unforced: int, forces: bool) -> None:
    assert restarts.forces_before_answer(LogConfig(flush_messages=flush_messages), unforced) is forces


@pytest.mark.rule("LOG-RESTART-6")
@pytest.mark.parametrize(("flush_ms", "waited", "forces"), [(0, 0, True), (500, 499, False), (500, 500, True), (500, 501, True)])
def test_records_are_forced_when_they_have_waited_so_long(flush_ms: int, waited: int, forces: bool) -> None:
    assert restarts.forces_by_now(LogConfig(flush_ms=flush_ms), waited) is forces


# Producers


@pytest.mark.rule("LOG-RESTART-7")
def test_a_resend_of_any_of_the_last_five_is_a_duplicate_after_a_restart() -> None:
    again = reopened(after(history(batches=7)[-1], DeleteRecords(-1)), 1)
    for sequence in range(2, 7):
        outcome = outcome_of(again, idempotent(sequence, producer=PRODUCER))
        assert isinstance(outcome, Duplicate) and outcome.written.base_offset == sequence
    assert isinstance(outcome_of(again, idempotent(1, producer=PRODUCER)), Refused)
    assert isinstance(outcome_of(again, idempotent(7, producer=PRODUCER)), Appended)


# The broker


@pytest.mark.rule("LOG-RESTART-10")
def test_nobody_waits_after_a_restart_and_no_session_is_known() -> None:
    bench = Bench("a")
    assert isinstance(bench.send(fetch_request([("a", 0, 0)], session=(0, 0)), 12), Reply)
    assert bench.send(fetch_request([("a", 0, 0)], max_wait_ms=500), 12) is None
    assert bench.broker.parked.fetches and bench.broker.sessions.by_id
    again, _ = restarts.restarted(bench.broker, NOW)
    assert not again.parked.fetches and not again.parked.by_partition
    assert not again.sessions.by_id


@pytest.mark.rule("LOG-RESTART-11")
def test_topics_configurations_and_partitions_are_there_after_a_restart() -> None:
    bench = Bench("a", partitions=2, segment_bytes="2000000")
    partitions = {key: reopened(here, 1) for key, here in bench.broker.partitions.items()}
    again, _ = restarts.restarted(bench.broker, NOW, type(bench.broker.partitions)(partitions))
    assert again.topics == bench.broker.topics
    assert again.cluster == bench.broker.cluster and again.settings == bench.broker.settings
    assert len(again.partitions) == 2
    assert {one.config.segment_bytes for one in again.partitions.values()} == {2_000_000}


@pytest.mark.rule("LOG-RESTART-11")
def test_no_producer_id_is_given_out_again() -> None:
    bench = Bench()
    given = [bench.ask(InitProducerIdRequest(None, 1000), 4).producer_id for _ in range(3)]
    bench.broker, _ = restarts.restarted(bench.broker, NOW)
    assert bench.ask(InitProducerIdRequest(None, 1000), 4).producer_id == BLOCK_IDS > max(given)


@pytest.mark.rule("LOG-RESTART-11")
def test_no_producer_id_is_given_out_that_a_log_knows_of() -> None:
    bench = Bench()
    for known, given in (([5, 17, MADE_UP_ID], 18), ([3], 18 + BLOCK_IDS), ([MADE_UP_ID - 1], MADE_UP_ID)):
        bench.broker, _ = restarts.restarted(bench.broker, NOW, known=known)
        assert bench.ask(InitProducerIdRequest(None, 1000), 4).producer_id == given
