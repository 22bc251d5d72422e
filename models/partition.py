"""One replica of one partition: its log and its producers, and the events that change them.

Laws of this file
    A protocol knows another only by a value passed in: the log is told what to store, the producers are told what was stored.
    An event either changes the partition as a whole or leaves it as it was; an append that the storage could not make is undone by keeping
    the value held before.
"""

from __future__ import annotations

from fiducial.models import idempotence, log
from fiducial.models.batches import SentBatch
from fiducial.models.errors import Error
from fiducial.models.idempotence import NO_PRODUCERS, SEQUENCE_CHECK, Producers, Written
from fiducial.models.log import (
    BATCH_CHECK,
    PER_RECORD,
    SIZE_CHECK,
    EpochStart,
    Found,
    Log,
    LogConfig,
    Plan,
    RecordError,
)
from fiducial.models.rules import Ladder, Rung, rule, rung
from fiducial.models.values import changed, value

READ_UNCOMMITTED, READ_COMMITTED = 0, 1

EARLIEST_TIMESTAMP, LATEST_TIMESTAMP, MAX_TIMESTAMP = -2, -1, -3
EARLIEST_LOCAL_TIMESTAMP, LATEST_TIERED_TIMESTAMP, EARLIEST_PENDING_UPLOAD_TIMESTAMP = -4, -5, -6

CONSUMER, DEBUGGING_CONSUMER, FUTURE_LOCAL_REPLICA = -1, -2, -3


@value
class Partition:
    """The state of one replica that leads."""

    log: Log
    config: LogConfig
    producers: Producers = NO_PRODUCERS
    leader_epoch: int = 0


# Events


@value
class Produce:
    """A client's batch that passed the request check."""

    batch: SentBatch


@value
class AdvanceHighWatermark:
    """Every in-sync replica holds all records below `to`."""

    to: int


@value
class DeleteRecords:
    """Records below `offset` may go; -1 means the high watermark."""

    offset: int


@value
class BecomeLeader:
    """A new leader epoch begins at the log end."""

    epoch: int


@value
class Retain:
    """Time to look for segments out of retention."""


@value
class Expire:
    """Time to look for producers silent for `expiration_ms`."""

    expiration_ms: int


@value
class Fetch:
    """A read of this partition alone."""

    offset: int
    max_bytes: int
    isolation: int = READ_UNCOMMITTED
    whole_first: bool = True
    replica_id: int = CONSUMER
    current_leader_epoch: int = -1
    last_fetched_epoch: int = -1


@value
class LookUp:
    """A ListOffsets request of this partition alone."""

    timestamp: int
    api_version: int = 11
    isolation: int = READ_UNCOMMITTED
    replica_id: int = CONSUMER
    current_leader_epoch: int = -1


@value
class LookUpEpoch:
    """An OffsetForLeaderEpoch request of this partition alone."""

    epoch: int
    current_leader_epoch: int = -1


Event = Produce | AdvanceHighWatermark | DeleteRecords | BecomeLeader | Retain | Expire | Fetch | LookUp | LookUpEpoch

# Outcomes


@value
class Refused:
    """Nothing changed, but perhaps a roll."""

    rung: Rung
    record_errors: tuple[RecordError, ...] = ()


@value
class Appended:
    """The batch is in the log, at `base_offset`."""

    base_offset: int
    plan: Plan


@value
class Duplicate:
    """The batch was written before; nothing is written now."""

    written: Written


@value
class Read:
    """What a fetch returns: `size_bytes` from the batch at `base_offset`, and the marks."""

    base_offset: int
    size_bytes: int
    high_watermark: int
    last_stable_offset: int
    log_start: int
    diverging_epoch: tuple[int, int] | None = None
    has_left_out: bool = False  # the first batch, since it does not fit


@value
class Moved:
    """Where a mark now stands: the low watermark after DeleteRecords."""

    offset: int


@value
class EpochEnd:
    """The largest known epoch not above the one asked for, and where it ended; -1, -1 for unknown."""

    epoch: int
    end_offset: int


@value
class Done:
    """The event is taken in; it has no answer."""


Outcome = Refused | Appended | Duplicate | Read | Found | Moved | EpochEnd | Done

DONE = Done()


def new_partition(config: LogConfig, now: int, leader_epoch: int = 0) -> Partition:
    """An empty partition that this broker leads."""
    return Partition(log.new_log(leader_epoch, now), config, NO_PRODUCERS, leader_epoch)


def with_config(partition: Partition, config: LogConfig) -> Partition:
    """The partition under a changed topic configuration; it applies from the next event on."""
    return changed(partition, config=config)


def with_log(partition: Partition, changed_log: Log) -> Partition:
    """The partition with its log changed; the very partition if it was not."""
    return partition if changed_log is partition.log else changed(partition, log=changed_log)


def with_producers(partition: Partition, producers: Producers) -> Partition:
    """The partition with its producers changed; the very partition if they were not."""
    return partition if producers is partition.producers else changed(partition, producers=producers)


def step(partition: Partition, event: Event, now: int) -> tuple[Partition, Outcome]:
    """The one transition of a partition. `now` in ms."""
    match event:
        case Produce(batch):
            return produce(partition, batch, now)
        case AdvanceHighWatermark(to):
            return with_log(partition, log.with_high_watermark(partition.log, to)), DONE
        case DeleteRecords(offset):
            return delete_records(partition, offset)
        case BecomeLeader(epoch):
            return become_leader(partition, epoch), DONE
        case Retain():
            return with_log(partition, log.retained(partition.log, partition.config, now)), DONE
        case Expire(expiration_ms):
            return with_producers(partition, idempotence.unexpired(partition.producers, expiration_ms, now)), DONE
        case Fetch():
            return partition, fetch(partition, event)
        case LookUp():
            return partition, look_up(partition, event)
        case LookUpEpoch():
            return partition, look_up_epoch(partition, event)


# Seams: where replication and transactions will come in


def replicated_end(partition: Partition) -> int:
    """The offset below which every in-sync replica has everything: on one replica, the log end."""
    return partition.log.end


def first_unstable_offset(_partition: Partition) -> int | None:
    """Where the first open transaction began; None while there are no transactions."""
    return None


# Produce


@rule("LOG-BATCH-24", "IDEM-DUP-2", "IDEM-DUP-6", "IDEM-SEQ-6")
def produce(partition: Partition, batch: SentBatch, now: int) -> tuple[Partition, Outcome]:
    """Append one batch, or say why not: batch check, size check, roll, duplicate, sequence check, append, in this order."""
    config = partition.config
    refusal = BATCH_CHECK.refusal(batch, config, now)
    if refusal is not None:
        errors = log.record_errors(batch, config, now) if refusal.rule in PER_RECORD else ()
        return partition, Refused(refusal, errors)
    plan = log.planned(batch, config, now)
    refusal = SIZE_CHECK.refusal(plan, config)
    if refusal is not None:
        return partition, Refused(refusal)
    rolled = log.rolled_for(partition.log, plan, config, now)
    if rolled is not partition.log:
        partition = Partition(rolled, config, partition.producers, partition.leader_epoch)
    if not idempotence.is_idempotent(plan):
        return append(partition, plan, partition.producers, now)
    entry = idempotence.entry_of(partition.producers, plan)
    written = idempotence.duplicate_of(entry, plan)
    if written is not None:
        return partition, Duplicate(written)
    refusal = SEQUENCE_CHECK.refusal(entry, plan)
    if refusal is not None:
        return partition, Refused(refusal)
    producers = idempotence.remembered(partition.producers, plan, partition.log.end, now)
    return append(partition, plan, producers, now)


def append(partition: Partition, plan: Plan, producers: Producers, now: int) -> tuple[Partition, Outcome]:
    """The partition with the batch in its log and its producer remembered."""
    after = log.appended(partition.log, plan, partition.config, partition.leader_epoch, now)
    return Partition(after, partition.config, producers, partition.leader_epoch), Appended(partition.log.end, plan)


# DeleteRecords


@rule("LOG-DELETE-1")
def keeps_every_key(partition: Partition, _offset: int) -> bool:
    """A compacted topic that does not delete."""
    return partition.config.compacts and not partition.config.deletes


@rule("LOG-DELETE-2")
def is_beyond_high_watermark(partition: Partition, offset: int) -> bool:
    """Only what is committed can be deleted; a negative offset other than -1 is none."""
    return offset < -1 or offset > partition.log.high_watermark


DELETE_CHECK = Ladder(
    "delete records",
    [rung(keeps_every_key, Error.POLICY_VIOLATION), rung(is_beyond_high_watermark, Error.OFFSET_OUT_OF_RANGE)],
)


@rule("LOG-DELETE-4", "IDEM-EXPIRE-2")
def delete_records(partition: Partition, offset: int) -> tuple[Partition, Outcome]:
    """Move the log start up to `offset`; the answer is the low watermark: the log start of the replica that has the lowest."""
    refusal = DELETE_CHECK.refusal(partition, offset)
    if refusal is not None:
        return partition, Refused(refusal)
    start = partition.log.high_watermark if offset == -1 else offset
    moved = with_log(partition, log.with_start(partition.log, start))
    return moved, Moved(moved.log.start)


# Leader epochs


@rule("LOG-EPOCH-2")
def become_leader(partition: Partition, epoch: int) -> Partition:
    """Begin a leader epoch at the log end, before anything is written in it; entries that it contradicts go."""
    end = partition.log.end
    kept = tuple(entry for entry in partition.log.epochs if entry.epoch < epoch and entry.start_offset < end)
    epochs = (*kept, EpochStart(epoch, end))
    return changed(partition, log=changed(partition.log, epochs=epochs), leader_epoch=epoch)


@rule("LOG-FETCH-5")
def epoch_is_fenced(partition: Partition, asked: Fetch | LookUp | LookUpEpoch) -> bool:
    """The asker's metadata is older than the leader (KIP-320). -1 asks for no check; in ListOffsets anything else below is old."""
    return asked.current_leader_epoch != -1 and asked.current_leader_epoch < partition.leader_epoch


@rule("LOG-FETCH-8")
def epoch_is_unknown(partition: Partition, asked: Fetch | LookUp | LookUpEpoch) -> bool:
    """The asker's metadata is newer than the leader's own."""
    return asked.current_leader_epoch > partition.leader_epoch


EPOCH_CHECK = Ladder(
    "leader epoch check",
    [rung(epoch_is_fenced, Error.FENCED_LEADER_EPOCH), rung(epoch_is_unknown, Error.UNKNOWN_LEADER_EPOCH)],
)


@rule("LOG-EPOCH-3")
def look_up_epoch(partition: Partition, asked: LookUpEpoch) -> Outcome:
    """OffsetForLeaderEpoch for one partition."""
    refusal = EPOCH_CHECK.refusal(partition, asked)
    if refusal is not None:
        return Refused(refusal)
    return EpochEnd(*log.end_offset_for_epoch(partition.log, asked.epoch))


# Fetch


def stable_offset(partition: Partition) -> int:
    """The last stable offset."""
    return log.last_stable_offset(partition.log, first_unstable_offset(partition))


@rule("LOG-READ-12")
def limit_is_negative(partition: Partition, asked: Fetch) -> bool:
    """partition_max_bytes below 0, or, for the first partition that is read, max_bytes; where there is something to be read."""
    return asked.max_bytes < 0 and asked.offset < read_bound(partition, asked) and divergence(partition, asked) is None


@rule("LOG-FETCH-6")
def divergence(partition: Partition, asked: Fetch) -> tuple[int, int] | None:
    """(epoch, end offset) where the asker's log parts from this one, by the epoch of the last record it has (KIP-595); None if it does not."""
    if asked.last_fetched_epoch < 0:
        return None
    epoch, end_offset = log.end_offset_for_epoch(partition.log, asked.last_fetched_epoch)
    if epoch < asked.last_fetched_epoch or end_offset < asked.offset:
        return epoch, end_offset
    return None


@rule("LOG-READ-1")
def fetch_is_out_of_range(partition: Partition, asked: Fetch) -> bool:
    """Below the log start whatever the epoch; beyond the log end unless the epoch shows a divergence; or an epoch nobody knows."""
    if asked.offset < partition.log.start:
        return True
    if asked.last_fetched_epoch >= 0:
        return log.end_offset_for_epoch(partition.log, asked.last_fetched_epoch) == (-1, -1)
    return log.offset_is_out_of_range(partition.log, asked.offset)


@rule("LOG-FETCH-10")
def replica_is_not_assigned(_partition: Partition, asked: Fetch) -> bool:
    """A fetch in the name of a broker that has no replica to feed."""
    return asked.replica_id >= 0


FETCH_CHECK = Ladder(
    "fetch",
    [
        *EPOCH_CHECK.rungs,
        rung(replica_is_not_assigned, Error.NOT_LEADER_OR_FOLLOWER, also=(Error.UNKNOWN_LEADER_EPOCH,)),
        rung(fetch_is_out_of_range, Error.OFFSET_OUT_OF_RANGE),
        rung(limit_is_negative, Error.INVALID_REQUEST, also=(Error.UNKNOWN_SERVER_ERROR,)),
    ],
)


@rule("LOG-FETCH-7")
def reads_to_log_end(asked: Fetch | LookUp) -> bool:
    """Replica id -3 reads beyond the high watermark; every other one that is no broker reads as a consumer."""
    return asked.replica_id == FUTURE_LOCAL_REPLICA


@rule("LOG-READ-2")
def read_bound(partition: Partition, asked: Fetch) -> int:
    """The offset that a read stays below."""
    if reads_to_log_end(asked):
        return partition.log.end
    return stable_offset(partition) if asked.isolation == READ_COMMITTED else partition.log.high_watermark


def fetch(partition: Partition, asked: Fetch) -> Outcome:
    """Read one partition: a refusal, a divergence, or bytes (perhaps none), with the marks as they stand."""
    refusal = FETCH_CHECK.refusal(partition, asked)
    if refusal is not None:
        return Refused(refusal)
    diverging = divergence(partition, asked)
    base_offset, size_bytes, has_left_out = asked.offset, 0, False
    if diverging is None:
        bound = read_bound(partition, asked)
        base_offset, size_bytes = log.readable_bytes(
            partition.log, asked.offset, below=bound, max_bytes=asked.max_bytes, whole_first=asked.whole_first
        )
        has_left_out = size_bytes == 0 < asked.max_bytes and asked.offset < bound
    marks = partition.log
    return Read(
        base_offset, size_bytes, marks.high_watermark, stable_offset(partition), marks.start, diverging, has_left_out
    )


# ListOffsets


@rule("LOG-TIME-1")
def look_up(partition: Partition, asked: LookUp) -> Outcome:
    """Find an offset by time, or by the name of a mark. Beyond what the asker may read there is nothing to be found."""
    refusal = EPOCH_CHECK.refusal(partition, asked)
    if refusal is not None:
        return Refused(refusal)
    marks = partition.log
    match asked.timestamp:
        case -1:
            return Found(latest_offset(partition, asked), -1, partition.leader_epoch)
        case -2 | -4:
            return Found(marks.start, -1, log.epoch_at(marks, marks.start))
        case -5 | -6:
            return log.NOTHING_FOUND  # nothing is tiered
        case -3:
            found = log.first_with_max_timestamp(marks)
        case timestamp:
            found = log.first_at_or_after(marks, timestamp)
    return found if found.offset < latest_offset(partition, asked) else log.NOTHING_FOUND


@rule("LOG-TIME-5")
def latest_offset(partition: Partition, asked: LookUp) -> int:
    """The end of the log as the asker may see it: any replica id but -1 sees it all."""
    if asked.replica_id != CONSUMER:
        return partition.log.end
    return stable_offset(partition) if asked.isolation == READ_COMMITTED else partition.log.high_watermark
