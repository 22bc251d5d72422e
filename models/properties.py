"""What must hold at every step of a partition, as sentences; each with a witness, so that none is true for want of an occasion.

A property looks at one step: the world before, the event, the world after, the outcome. The world is the partition and a history: what was
promised to producers so far, kept by an observer who sees only requests and answers, never the partition's own memory.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from fiducial.models import log as log_model
from fiducial.models import partition as partition_model
from fiducial.models.batches import SentBatch, StoredBatch
from fiducial.models.errors import Error
from fiducial.models.idempotence import SEQUENCE_CHECK, WINDOW_BATCHES
from fiducial.models.log import Found
from fiducial.models.partition import (
    CONSUMER,
    FUTURE_LOCAL_REPLICA,
    READ_COMMITTED,
    Appended,
    BecomeLeader,
    DeleteRecords,
    Duplicate,
    EpochEnd,
    Event,
    Expire,
    Fetch,
    LookUp,
    LookUpEpoch,
    Moved,
    Outcome,
    Partition,
    Produce,
    Read,
    Refused,
    Retain,
)
from fiducial.models.values import value

# The observer


@value
class Acknowledged:
    """A batch that was answered with success, as the producer knows it."""

    first_sequence: int
    last_sequence: int
    base_offset: int
    timestamp: int


@value
class History:
    """One producer's last promises, within its current epoch."""

    producer_id: int
    epoch: int
    recent: tuple[Acknowledged, ...]
    last_ms: int


@value
class World:
    """A partition and its observer."""

    partition: Partition
    histories: tuple[History, ...] = ()
    unused: int = 0  # the first offset that was never given out


@value
class Step:
    """One event, and what came of it."""

    before: World
    event: Event
    now: int
    after: World
    outcome: Outcome


def take(world: World, event: Event, now: int) -> Step:
    """Let the partition step, and the observer watch."""
    after, outcome = partition_model.step(world.partition, event, now)
    histories, unused = world.histories, world.unused
    if isinstance(outcome, Appended) and isinstance(event, Produce):
        unused = outcome.base_offset + event.batch.count
        if event.batch.producer_id >= 0 and event.batch.producer_epoch >= 0:
            histories = promised(histories, event, outcome, now)
    elif isinstance(event, Expire):
        left = tuple(known for known in histories if now - known.last_ms < event.expiration_ms)
        histories = histories if len(left) == len(histories) else left
    if after is world.partition and histories is world.histories:
        return Step(world, event, now, world, outcome)
    return Step(world, event, now, World(after, histories, unused), outcome)


def history_of(world: World, producer_id: int) -> History | None:
    """What was promised to a producer, None if nothing (or long ago)."""
    for known in world.histories:
        if known.producer_id == producer_id:
            return known
    return None


def next_of(sequence: int) -> int:
    """The sequence that comes after, as the observer counts: not with the model's own arithmetic, which it is to judge."""
    return (sequence + 1) % 2**31


def last_sequence_of(batch: SentBatch) -> int:
    """The sequence of the batch's last record, as the observer counts; -1 where there is none."""
    return (batch.base_sequence + batch.last_offset_delta) % 2**31 if batch.base_sequence >= 0 else -1


def promised(histories: tuple[History, ...], event: Produce, outcome: Appended, now: int) -> tuple[History, ...]:
    """The histories with one more promise."""
    batch = event.batch
    made = Acknowledged(batch.base_sequence, last_sequence_of(batch), outcome.base_offset, outcome.plan.max_timestamp)
    others = tuple(known for known in histories if known.producer_id != batch.producer_id)
    for known in histories:
        if known.producer_id == batch.producer_id and known.epoch == batch.producer_epoch:
            recent = (*known.recent[-(WINDOW_BATCHES - 1) :], made)
            return (*others, History(batch.producer_id, known.epoch, recent, now))
    return (*others, History(batch.producer_id, batch.producer_epoch, (made,), now))


def resent(step: Step) -> Acknowledged | None:
    """The promise that this batch is a resend of, among the last five of its producer and epoch."""
    if not isinstance(step.event, Produce):
        return None
    batch = step.event.batch
    known = history_of(step.before, batch.producer_id) if batch.producer_id >= 0 else None
    if known is None or known.epoch != batch.producer_epoch:
        return None
    sequences = batch.base_sequence, last_sequence_of(batch)
    for promise in known.recent:
        if (promise.first_sequence, promise.last_sequence) == sequences:
            return promise
    return None


def is_refused_by_sequence(outcome: Outcome) -> bool:
    """Was the batch itself in order, but its sequence not?"""
    return isinstance(outcome, Refused) and outcome.rung in SEQUENCE_CHECK.rungs


# The registry


@value
class Property:
    """A sentence that every step must make true."""

    name: str  # as the field calls it
    sentence: str
    rules: tuple[str, ...]
    check: Callable[[Step], bool]
    witness: Callable[[Step], bool]  # the sentence says something about this step
    events: tuple[type, ...] = ()  # the classes of events and of outcomes that the sentence is about; none named: any
    outcomes: tuple[type, ...] = ()

    def speaks_of(self, event: type, outcome: type, is_same: bool) -> bool:
        """Can a step with such an event and outcome, after which the world is the very same or not, make the sentence false?

        A sentence that names neither is about the world, or about how it changed: it holds of a step that changes nothing, if it held before.
        """
        if not self.events and not self.outcomes:
            return not is_same
        return (not self.events or event in self.events) and (not self.outcomes or outcome in self.outcomes)


PROPERTIES: dict[str, Property] = {}


def states(
    name: str,
    *rules: str,
    witness: Callable[[Step], bool],
    events: tuple[type, ...] = (),
    outcomes: tuple[type, ...] = (),
) -> Callable[[Callable[[Step], bool]], Callable[[Step], bool]]:
    """Register the decorated check under its name; its docstring is the sentence."""

    def register(check: Callable[[Step], bool]) -> Callable[[Step], bool]:
        assert check.__doc__ is not None
        assert name not in PROPERTIES, f"two properties called {name}"
        PROPERTIES[name] = Property(name, check.__doc__, rules, check, witness, events, outcomes)
        return check

    return register


def appends(step: Step) -> bool:
    """A batch was written."""
    return isinstance(step.outcome, Appended)


def appends_for_known_producer(step: Step) -> bool:
    """A batch was written, by a producer that had written before."""
    return appends(step) and isinstance(step.event, Produce) and history_of(step.before, step.event.batch.producer_id) is not None


def changes_nothing(step: Step) -> bool:
    """A batch was refused or recognised."""
    return isinstance(step.event, Produce) and isinstance(step.outcome, Refused | Duplicate)


def reads_something(step: Step) -> bool:
    """A fetch returned bytes."""
    return isinstance(step.outcome, Read) and step.outcome.size_bytes > 0


# The log


@states("OffsetsUnique", "LOG-APPEND-1", outcomes=(Appended,), witness=lambda step: appends(step) and step.before.unused > 0)
def no_offset_is_given_out_twice(step: Step) -> bool:
    """A batch never gets an offset that any batch had before."""
    return not isinstance(step.outcome, Appended) or step.outcome.base_offset >= step.before.unused


@states("OffsetsDense", "LOG-APPEND-1", "LOG-APPEND-9", outcomes=(Appended,), witness=appends)
def every_append_takes_the_next_offsets(step: Step) -> bool:
    """A batch of n records takes exactly the n offsets from the log end on, and the log end moves by n."""
    if not isinstance(step.outcome, Appended) or not isinstance(step.event, Produce):
        return True
    before, after = step.before.partition.log, step.after.partition.log
    return step.outcome.base_offset == before.end and after.end == before.end + step.event.batch.count


@states("BatchAtomicAppend", "LOG-APPEND-9", outcomes=(Appended,), witness=appends)
def an_append_adds_one_whole_batch(step: Step) -> bool:
    """What was in the log stays as it was, and the new batch stands behind it, whole."""
    if not isinstance(step.outcome, Appended) or not isinstance(step.event, Produce):
        return True
    before, after = step.before.partition.log, step.after.partition.log
    if after.end_batch != before.end_batch + 1:
        return False
    added = after.batches[before.end_batch]
    return (added.base_offset, added.last_offset) == (before.end, before.end + step.event.batch.count - 1) and (
        before.end_batch == before.first_batch
        or after.batches[before.end_batch - 1] is before.batches[before.end_batch - 1]
    )


@states("FailedAppendLeavesState", "IDEM-SEQ-6", "IDEM-DUP-6", "LOG-APPEND-8", events=(Produce,), outcomes=(Refused, Duplicate), witness=changes_nothing)
def failed_append_changes_nothing(step: Step) -> bool:
    """A batch that is refused or recognised leaves records, marks and producers as they were; a roll may stand."""
    if not changes_nothing(step):
        return True
    before, after = step.before.partition, step.after.partition
    return (
        after.producers == before.producers
        and after.log.batches == before.log.batches
        and (after.log.start, after.log.high_watermark, after.log.end)
        == (before.log.start, before.log.high_watermark, before.log.end)
    )


@states("MarksInOrder", "LOG-HW-1", "LOG-DELETE-3", witness=lambda step: step.after.partition.log.start > 0)
def start_high_watermark_and_end_are_in_order(step: Step) -> bool:
    """0 <= log start <= last stable offset <= high watermark <= log end."""
    after = step.after.partition
    stable = partition_model.stable_offset(after)
    return 0 <= after.log.start <= stable <= after.log.high_watermark <= after.log.end


@states("MarksMonotone", "LOG-HW-2", "LOG-DELETE-3", witness=lambda step: step.after.partition.log.high_watermark > step.before.partition.log.high_watermark)
def marks_never_go_back(step: Step) -> bool:
    """Log start, high watermark and log end only rise, while the leader stays."""
    before, after = step.before.partition.log, step.after.partition.log
    return after.start >= before.start and after.high_watermark >= before.high_watermark and after.end >= before.end


@states("CommittedStays", "LOG-RETAIN-2", "LOG-DELETE-2", witness=lambda step: step.after.partition.log.first_batch > step.before.partition.log.first_batch)
def only_a_committed_prefix_is_let_go(step: Step) -> bool:
    """Batches go from the front only, and only below the high watermark and the log start."""
    before, after = step.before.partition.log, step.after.partition.log
    return all(
        before.batches[ordinal].last_offset < min(after.start, before.high_watermark)
        for ordinal in range(before.first_batch, min(after.first_batch, before.end_batch))
    )


@states("SegmentsMatchBatches", "LOG-ROLL-1", "LOG-ROLL-6", outcomes=(Appended,), witness=lambda step: appends(step) and step.after.partition.log.active_segment > 0)
def a_batch_lies_within_one_segment(step: Step) -> bool:
    """The batch appended last ends where its segment ends, and no segment with more than one batch is larger than segment.bytes."""
    if not appends(step):
        return True
    log = step.after.partition.log
    last = log.batches[log.end_batch - 1]
    return (
        last.segment == log.active_segment
        and last.position + last.size_bytes == log.active.size_bytes
        and log.active.size_bytes <= step.after.partition.config.segment_bytes
    )


@states("SegmentsSpanTime", "LOG-ROLL-2", "LOG-ROLL-5", outcomes=(Appended,), witness=lambda step: appends(step) and step.after.partition.log.active.first_batch < step.after.partition.log.end_batch - 1)
def a_segment_spans_no_more_than_segment_ms(step: Step) -> bool:
    """A batch joins a segment only if it is not more than segment.ms younger than the segment's first."""
    if not appends(step):
        return True
    log, config = step.after.partition.log, step.after.partition.config
    first, last = log.batches[log.active.first_batch], log.batches[log.end_batch - 1]
    return first.max_timestamp < 0 or first is last or last.max_timestamp - first.max_timestamp <= config.segment_ms


# Reads


def batches_in(step: Step, read: Read) -> list[StoredBatch]:
    """The batches that a read returned at least the beginning of, found by scanning the log."""
    log = step.after.partition.log
    stored = [log.batches[ordinal] for ordinal in range(log.first_batch, log.end_batch)]
    first = next(batch for batch in stored if batch.base_offset == read.base_offset)
    return [
        batch
        for batch in stored
        if batch.segment == first.segment and first.position <= batch.position < first.position + read.size_bytes
    ]


def bound_of(step: Step, asked: Fetch) -> int:
    """The offset that a read stays below: the high watermark, the last stable offset if that was asked for, or the end for a future replica."""
    here = step.after.partition
    if asked.replica_id == FUTURE_LOCAL_REPLICA:
        return here.log.end
    return partition_model.stable_offset(here) if asked.isolation == READ_COMMITTED else here.log.high_watermark


@states("ReadsBelowHighWatermark", "LOG-READ-2", "LOG-READ-4", outcomes=(Read,), witness=lambda step: reads_something(step) and step.after.partition.log.high_watermark < step.after.partition.log.end)
def nothing_uncommitted_is_read(step: Step) -> bool:
    """A consumer never gets a batch that begins at or beyond the high watermark, or the last stable offset if it asked for that."""
    if not isinstance(step.outcome, Read) or not isinstance(step.event, Fetch) or step.outcome.size_bytes == 0:
        return True
    bound = bound_of(step, step.event)
    return all(batch.base_offset < bound for batch in batches_in(step, step.outcome))


@states("ConsistentRead", "LOG-READ-3", "LOG-READ-6", outcomes=(Read,), witness=lambda step: reads_something(step) and isinstance(step.event, Fetch) and step.event.offset > 0)
def a_read_begins_with_the_batch_that_holds_the_offset(step: Step) -> bool:
    """The first batch returned holds the offset asked for, or is the first behind it; it is returned whole."""
    if not isinstance(step.outcome, Read) or not isinstance(step.event, Fetch) or step.outcome.size_bytes == 0:
        return True
    first = batches_in(step, step.outcome)[0]
    return first.last_offset >= step.event.offset >= first.base_offset and step.outcome.size_bytes >= first.size_bytes


@states("ReadersProgress", "LOG-READ-5", outcomes=(Read,), witness=reads_something)
def a_reader_below_the_bound_gets_something(step: Step) -> bool:
    """Where a whole batch behind the offset asked for lies below the bound, and a whole first batch is promised, a read is never empty."""
    if not isinstance(step.outcome, Read) or not isinstance(step.event, Fetch):
        return True
    if not step.event.whole_first or step.outcome.diverging_epoch is not None or step.outcome.size_bytes > 0:
        return True
    log = step.after.partition.log
    bound = bound_of(step, step.event)
    stored = (log.batches[ordinal] for ordinal in range(log.first_batch, log.end_batch))
    first = next((batch for batch in stored if batch.last_offset >= step.event.offset), None)
    return first is None or first.last_offset >= bound


@states("BelowStartIsOutOfRange", "LOG-READ-1", events=(Fetch,), witness=lambda step: isinstance(step.event, Fetch) and step.event.offset < step.before.partition.log.start)
def a_fetch_below_the_log_start_is_out_of_range(step: Step) -> bool:
    """Whatever epoch it carries, a fetch below the log start is told so."""
    if not isinstance(step.event, Fetch) or step.event.offset >= step.before.partition.log.start:
        return True
    return isinstance(step.outcome, Refused)


@states("StaleAskersAreFenced", "LOG-FETCH-5", "LOG-FETCH-8", events=(Fetch,), witness=lambda step: isinstance(step.event, Fetch) and -1 < step.event.current_leader_epoch < step.before.partition.leader_epoch)
def an_asker_with_other_metadata_gets_no_data(step: Step) -> bool:
    """A fetch that names a leader epoch other than the leader's own is refused."""
    if not isinstance(step.event, Fetch) or step.event.current_leader_epoch in (-1, step.before.partition.leader_epoch):
        return True
    return isinstance(step.outcome, Refused)


@states("LookUpByTime", "LOG-TIME-2", events=(LookUp,), outcomes=(Found,), witness=lambda step: isinstance(step.event, LookUp) and isinstance(step.outcome, Found) and step.event.timestamp >= 0 and step.outcome.offset >= 0)
def a_lookup_finds_the_first_record_as_late(step: Step) -> bool:
    """What a lookup finds is readable, as late as asked, and nothing before it in its segment is."""
    if not isinstance(step.event, LookUp) or not isinstance(step.outcome, Found) or step.event.timestamp < 0:
        return True
    if step.outcome.offset < 0:
        return True
    here = step.after.partition
    earlier = [
        offset
        for ordinal in range(here.log.first_batch, here.log.end_batch)
        for offset, timestamp in log_model.timestamps(here.log.batches[ordinal])
        if here.log.start <= offset < step.outcome.offset and timestamp >= step.event.timestamp
    ]
    below = here.log.end if step.event.replica_id != CONSUMER else here.log.high_watermark
    return not earlier and step.outcome.timestamp >= step.event.timestamp and step.outcome.offset < below


# Leader epochs


@states("EpochCacheMonotone", "LOG-EPOCH-2", witness=lambda step: len(step.after.partition.log.epochs) > 1)
def epochs_and_their_starts_only_rise(step: Step) -> bool:
    """In the epoch cache each entry has a higher epoch and a higher start than the one before."""
    epochs = step.after.partition.log.epochs
    return all(a.epoch < b.epoch and a.start_offset < b.start_offset for a, b in pairwise(epochs))


@states("EpochCacheMatchesLog", "LOG-EPOCH-2", witness=lambda step: isinstance(step.event, BecomeLeader))
def the_leader_knows_where_its_epoch_began(step: Step) -> bool:
    """The cache ends with the leader's own epoch, also before it has written anything, and agrees with every batch."""
    here = step.after.partition
    if not here.log.epochs or here.log.epochs[-1].epoch != here.leader_epoch:
        return False
    if not isinstance(step.event, Produce | BecomeLeader) or here.log.end_batch == here.log.first_batch:
        return True
    last = here.log.batches[here.log.end_batch - 1]
    return last.base_offset < here.log.start or log_model.epoch_at(here.log, last.base_offset) == last.leader_epoch


@states("EpochEndIsTrue", "LOG-EPOCH-1", outcomes=(EpochEnd,), witness=lambda step: isinstance(step.outcome, EpochEnd) and step.outcome.epoch >= 0)
def an_epoch_end_lets_logs_agree(step: Step) -> bool:
    """The answer names the largest epoch known that is not above the one asked for, and the offset where a later one began."""
    if not isinstance(step.event, LookUpEpoch) or not isinstance(step.outcome, EpochEnd):
        return True
    log, asked, answer = step.after.partition.log, step.event.epoch, step.outcome
    known = [entry.epoch for entry in log.epochs]
    if asked < 0 or asked > known[-1]:
        return (answer.epoch, answer.end_offset) == (-1, -1)
    if any(answer.epoch < epoch <= asked for epoch in known):
        return False
    later = [entry.start_offset for entry in log.epochs if entry.epoch > answer.epoch]
    at_or_below = [epoch for epoch in known if epoch <= asked]
    return answer.end_offset == (later[0] if later else log.end) and answer.epoch == (max(at_or_below, default=asked))


# The idempotent producer


@states("NoDuplicateInWindow", "IDEM-DUP-1", "IDEM-DUP-2", events=(Produce,), witness=lambda step: resent(step) is not None)
def a_resent_batch_is_written_once(step: Step) -> bool:
    """A resend of one of the last five batches of a producer's epoch is never written again."""
    return resent(step) is None or not appends(step)


@states("ResendIsAnswered", "IDEM-DUP-1", "IDEM-DUP-5", events=(Produce,), witness=lambda step: resent(step) is not None)
def a_resent_batch_gets_its_first_answer(step: Step) -> bool:
    """A resend of one of the last five batches, if the batch is sound, is answered with the offset it got first."""
    promise = resent(step)
    if promise is None or (isinstance(step.outcome, Refused) and not is_refused_by_sequence(step.outcome)):
        return True
    return isinstance(step.outcome, Duplicate) and step.outcome.written.base_offset == promise.base_offset


@states("DuplicateWasPromised", "IDEM-DUP-1", "IDEM-DUP-3", "IDEM-EPOCH-3", outcomes=(Duplicate,), witness=lambda step: isinstance(step.outcome, Duplicate))
def only_a_resend_is_a_duplicate(step: Step) -> bool:
    """A batch is called a duplicate only if its producer was promised exactly these sequences, in this epoch, among its last five."""
    if not isinstance(step.outcome, Duplicate) or not isinstance(step.event, Produce):
        return True
    return resent(step) is not None or step.event.batch.producer_epoch < 0


@states("NoGapInEpoch", "IDEM-SEQ-2", "IDEM-SEQ-3", "IDEM-EPOCH-2", outcomes=(Appended,), witness=appends_for_known_producer)
def an_epoch_is_written_without_gap(step: Step) -> bool:
    """Within an epoch each batch begins one after the last; a new epoch begins at 0."""
    if not isinstance(step.event, Produce) or not appends_for_known_producer(step):
        return True
    known = history_of(step.before, step.event.batch.producer_id)
    assert known is not None
    first = step.event.batch.base_sequence
    if known.epoch != step.event.batch.producer_epoch:
        return first == 0
    return first == next_of(known.recent[-1].last_sequence)


@states("ProducerEpochMonotone", "IDEM-EPOCH-1", outcomes=(Appended,), witness=appends_for_known_producer)
def an_older_epoch_writes_no_more(step: Step) -> bool:
    """Once a producer epoch has written, no older one does."""
    if not isinstance(step.event, Produce) or not appends_for_known_producer(step):
        return True
    known = history_of(step.before, step.event.batch.producer_id)
    assert known is not None
    return step.event.batch.producer_epoch >= known.epoch


@states("NextIsAccepted", "IDEM-SEQ-1", "IDEM-SEQ-2", "IDEM-SEQ-3", events=(Produce,), witness=lambda step: appends(step) and isinstance(step.event, Produce) and step.event.batch.producer_id >= 0)
def the_next_batch_is_never_out_of_order(step: Step) -> bool:
    """The batch that comes next in its epoch, the first of a new epoch, and any first batch of an unknown producer are not refused for their sequence."""
    if not isinstance(step.event, Produce) or step.event.batch.producer_id < 0:
        return True
    batch = step.event.batch
    if batch.producer_epoch < 0:
        return True
    known = history_of(step.before, batch.producer_id)
    if known is None:
        is_next = True
    elif batch.producer_epoch == known.epoch:
        is_next = batch.base_sequence == next_of(known.recent[-1].last_sequence)
    else:
        is_next = batch.producer_epoch > known.epoch and batch.base_sequence == 0
    return not is_next or not is_refused_by_sequence(step.outcome)


@states("RetentionKeepsProducers", "IDEM-EXPIRE-2", events=(Retain, DeleteRecords), witness=lambda step: isinstance(step.event, Retain | DeleteRecords) and bool(step.before.partition.producers))
def letting_records_go_forgets_no_producer(step: Step) -> bool:
    """Retention and DeleteRecords leave every producer known."""
    if not isinstance(step.event, Retain | DeleteRecords):
        return True
    return step.after.partition.producers == step.before.partition.producers


@states("LowWatermark", "LOG-DELETE-4", outcomes=(Moved,), witness=lambda step: isinstance(step.outcome, Moved))
def deleted_records_are_below_the_low_watermark(step: Step) -> bool:
    """After DeleteRecords the log start is at least what was asked, and is what was answered."""
    if not isinstance(step.event, DeleteRecords) or not isinstance(step.outcome, Moved):
        return True
    asked = step.before.partition.log.high_watermark if step.event.offset == -1 else step.event.offset
    return step.outcome.offset == step.after.partition.log.start >= asked


@states("OutOfRangeIsTrue", "LOG-READ-1", events=(Fetch,), witness=lambda step: isinstance(step.outcome, Refused) and step.outcome.rung.error == Error.OFFSET_OUT_OF_RANGE)
def out_of_range_means_out_of_range(step: Step) -> bool:
    """A plain fetch within [log start, log end] is never out of range."""
    if not isinstance(step.event, Fetch) or step.event.last_fetched_epoch >= 0:
        return True
    log = step.before.partition.log
    inside = log.start <= step.event.offset <= log.end
    is_oor = isinstance(step.outcome, Refused) and step.outcome.rung.error == Error.OFFSET_OUT_OF_RANGE
    return inside != is_oor or (not inside and isinstance(step.outcome, Refused))
