"""The log of one partition: which batches it takes, where it puts them, what it gives back, and when it lets go of them.

What it promises
    A batch gets the next offsets, whole, or nothing changes. Offsets are never used twice and never skipped. Readers see a batch only once
    it is below the high watermark. The log start only moves forward, and never beyond the high watermark.

Laws of this file
    Every decision about one log is made here, from headers and record timestamps; bytes, files, sockets and clocks are elsewhere.
    This file knows nothing of producers: whether a batch is a duplicate is decided in `idempotence`, between `validated` and `appended`.

How it reads
    State: Log, made of Segments, made of StoredBatches. Then, in the order in which a batch meets them: the ladders that refuse it
    (REQUEST_CHECK, BATCH_CHECK, SIZE_CHECK), the plan of what will be stored, the roll, the append. Then reads, lookup by time, the marks
    (log start, high watermark, epochs), and retention.
"""

from __future__ import annotations

from immutables import Map

from fiducial.models.batches import (
    ATTRIBUTE_CODEC,
    ATTRIBUTE_CONTROL,
    ATTRIBUTE_LOG_APPEND_TIME,
    ATTRIBUTE_TRANSACTIONAL,
    CODEC_NONE,
    CODEC_ZSTD,
    NO_EPOCH,
    NO_PRODUCER,
    NO_SEQUENCE,
    NO_TIMESTAMP,
    Payload,
    Record,
    SentBatch,
    SentRecords,
    StoredBatch,
    Tail,
)
from fiducial.models.errors import Error
from fiducial.models.kernels import (
    SEGMENT_SPAN_MAX,
    clamped_high_watermark,
    count_fits_header,
    is_size_breached,
    is_time_breached,
    raised_high_watermark,
    sequence_after,
    timestamp_is_too_early,
    timestamp_is_too_late,
)
from fiducial.models.rules import Ladder, Rung, rule, rung
from fiducial.models.values import EMPTY, changed, value

# State


@value
class LogConfig:
    """What a topic's configuration says about its logs; times in ms, sizes in bytes."""

    max_message_bytes: int = 1_048_588
    segment_bytes: int = 1 << 30
    segment_ms: int = 604_800_000
    segment_jitter_ms: int = 0
    segment_index_bytes: int = 10_485_760
    index_interval_bytes: int = 4096
    retention_ms: int = 604_800_000  # -1: for ever
    retention_bytes: int = -1  # -1: without limit
    deletes: bool = True
    compacts: bool = False
    append_time: bool = False  # message.timestamp.type=LogAppendTime
    timestamp_before_max_ms: int = 2**63 - 1
    timestamp_after_max_ms: int = 3_600_000
    compression: int | None = None  # None: as the producer sent it
    compression_level: int = 0  # of `compression`; meaningless without one
    flush_messages: int = 2**63 - 1  # so many records are forced to the disk before the last of them is acknowledged
    flush_ms: int = 2**63 - 1  # and all records after this time


@value
class Segment:
    """A run of batches in one file, and what decides when the next one begins."""

    base_offset: int
    first_batch: int  # its ordinal
    created_ms: int
    size_bytes: int = 0
    first_timestamp: int = NO_TIMESTAMP  # the max timestamp of its first batch
    max_timestamp: int = NO_TIMESTAMP
    modified_ms: int = 0
    index_entries: int = 0
    time_index_entries: int = 0
    indexed_timestamp: int = NO_TIMESTAMP
    bytes_since_index_entry: int = 0


@value
class EpochStart:
    """The first offset of a leader epoch."""

    epoch: int
    start_offset: int


@value
class Log:
    """start <= high_watermark <= end. Batches and sealed segments are numbered by ordinals that are never reused."""

    start: int
    high_watermark: int
    end: int  # the offset that the next record gets
    active: Segment
    batches: Map[int, StoredBatch] = EMPTY
    first_batch: int = 0
    end_batch: int = 0
    sealed: Map[int, Segment] = EMPTY
    first_segment: int = 0
    active_segment: int = 0  # ordinal of the active segment
    size_bytes: int = 0
    epochs: tuple[EpochStart, ...] = ()


def new_log(leader_epoch: int, now: int) -> Log:
    """An empty log whose replica has just become leader."""
    return Log(0, 0, 0, Segment(0, 0, now, modified_ms=now), epochs=(EpochStart(leader_epoch, 0),))


# Refusals of the request: before any log is looked at


@rule("LOG-BATCH-1")
def first_header_is_unreadable(records: SentRecords | None) -> bool:
    """The bytes begin with what cannot be a batch: the whole request is refused with CORRUPT_MESSAGE."""
    return records is not None and not records.batches and records.tail is Tail.CORRUPT


@rule("LOG-BATCH-3")
def holds_no_batch(records: SentRecords | None, _api_version: int) -> bool:
    """Null, empty, or less than one batch."""
    return records is None or not records.batches


@rule("LOG-BATCH-5")
def magic_is_old(records: SentRecords, _api_version: int) -> bool:
    """Only format v2 is taken since 4.0 (KIP-724)."""
    return records.batches[0].magic < 2


@rule("LOG-BATCH-6")
def zstd_is_too_new(records: SentRecords, api_version: int) -> bool:
    """zstd came with Produce v7 (KIP-110)."""
    return api_version < 7 and codec_of(records.batches[0]) == CODEC_ZSTD


@rule("LOG-BATCH-4")
def holds_more_than_one_batch(records: SentRecords, _api_version: int) -> bool:
    """Exactly one batch for each partition."""
    return len(records.batches) > 1


@rule("LOG-BATCH-1")
def begins_unreadably(records: SentRecords | None, _api_version: int) -> bool:
    """The same, behind the first batch of a transaction, where nobody looks for what spoils the whole request."""
    return first_header_is_unreadable(records)


@rule("LOG-BATCH-2")
def next_header_is_unreadable(records: SentRecords, _api_version: int) -> bool:
    """A corrupt header behind a good batch; a partial batch there is trimmed silently."""
    return records.tail is Tail.CORRUPT


#: Arguments: the records of one partition, the version of the Produce request.
REQUEST_CHECK = Ladder(
    "request check",
    [
        rung(begins_unreadably, Error.CORRUPT_MESSAGE),
        rung(holds_no_batch, Error.INVALID_RECORD),
        rung(magic_is_old, Error.INVALID_RECORD),
        rung(zstd_is_too_new, Error.UNSUPPORTED_COMPRESSION_TYPE),
        rung(holds_more_than_one_batch, Error.INVALID_RECORD),
        rung(next_header_is_unreadable, Error.CORRUPT_MESSAGE),
    ],
)


# Refusals of the batch, by the log


def codec_of(batch: SentBatch) -> int:
    """The codec id in the batch's attributes, 0 … 7; 5 and above are no codec."""
    return batch.attributes & ATTRIBUTE_CODEC


def claims_append_time(batch: SentBatch) -> bool:
    """Did the client set the bit that only a broker may set?"""
    return batch.attributes & ATTRIBUTE_LOG_APPEND_TIME != 0


def time_of(record: Record, batch: SentBatch) -> int:
    """A record's timestamp as the format has it: the header's, if the batch claims append time."""
    return batch.max_timestamp if claims_append_time(batch) else record.timestamp


@rule("LOG-BATCH-7")
def base_offset_is_not_zero(batch: SentBatch, _config: LogConfig, _now: int) -> bool:
    """A client numbers its records from 0."""
    return batch.base_offset != 0


@rule("LOG-BATCH-8")
def is_too_large(batch: SentBatch, config: LogConfig, _now: int) -> bool:
    """The whole batch as sent, compressed, its 61 bytes of header included."""
    return batch.size_bytes > config.max_message_bytes


@rule("LOG-BATCH-9")
def checksum_is_wrong(batch: SentBatch, _config: LogConfig, _now: int) -> bool:
    """CRC-32C from the attributes to the end of the batch."""
    return not batch.crc_is_good


@rule("LOG-BATCH-10")
def count_is_wrong(batch: SentBatch, _config: LogConfig, _now: int) -> bool:
    """The header's count and last offset delta must agree, and not be empty."""
    return not count_fits_header(batch.count, batch.last_offset_delta)


@rule("LOG-BATCH-11")
def is_control_batch(batch: SentBatch, _config: LogConfig, _now: int) -> bool:
    """Markers are written by coordinators only."""
    return batch.attributes & ATTRIBUTE_CONTROL != 0


@rule("LOG-BATCH-12")
def lacks_sequence(batch: SentBatch, _config: LogConfig, _now: int) -> bool:
    """A producer id without a sequence."""
    return batch.producer_id > NO_PRODUCER and batch.base_sequence < 0


@rule("LOG-BATCH-25")
def unpacks_too_far(batch: SentBatch, _config: LogConfig, _now: int) -> bool:
    """Packed, it is small enough; unpacked, more than a whole request may be. Kafka has no such limit, since it streams."""
    return batch.unpacks_too_far


@rule("LOG-BATCH-13")
def records_are_unreadable(batch: SentBatch, _config: LogConfig, _now: int) -> bool:
    """An unknown codec, bytes that are not of the codec, a varint that does not end."""
    return batch.records is None


@rule("LOG-BATCH-14")
def count_of_records_is_wrong(batch: SentBatch, _config: LogConfig, _now: int) -> bool:
    """As many records as the header says."""
    assert batch.records is not None
    return len(batch.records) != batch.count


@rule("LOG-BATCH-15")
def key_is_missing(record: Record, config: LogConfig) -> bool:
    """Compaction keeps the last record of each key, so each needs one."""
    return config.compacts and not record.has_key


@rule("LOG-BATCH-16")
def timestamp_is_out_of_range(record: Record, batch: SentBatch, config: LogConfig, now: int) -> bool:
    """On a CreateTime topic, a record's time is near the broker's; no timestamp (-1) always passes."""
    timestamp = time_of(record, batch)
    if config.append_time or timestamp == NO_TIMESTAMP:
        return False
    return timestamp_is_too_early(timestamp, now, config.timestamp_before_max_ms) or timestamp_is_too_late(
        timestamp, now, config.timestamp_after_max_ms
    )


@rule("LOG-BATCH-17")
def append_time_is_forged(record: Record, batch: SentBatch, config: LogConfig) -> bool:
    """The broker's time bit set by a client; overlooked on a CreateTime topic if the record has a timestamp."""
    if not claims_append_time(batch):
        return False
    return config.append_time or batch.max_timestamp == NO_TIMESTAMP


@value
class RecordError:
    """What is wrong with one record of a batch."""

    index: int
    rung: Rung
    message: str


MISSING_KEY = Rung("LOG-BATCH-15", Error.INVALID_RECORD, key_is_missing)
TIMESTAMP_RANGE = Rung("LOG-BATCH-16", Error.INVALID_TIMESTAMP, timestamp_is_out_of_range)
FORGED_TIME = Rung("LOG-BATCH-17", Error.INVALID_TIMESTAMP, append_time_is_forged)


def record_errors(batch: SentBatch, config: LogConfig, now: int) -> tuple[RecordError, ...]:
    """Every record that is refused, in order, with the first reason for each."""
    found: list[RecordError] = []
    for index, record in enumerate(batch.records or ()):
        if key_is_missing(record, config):
            found.append(RecordError(index, MISSING_KEY, "a compacted topic takes no record without a key"))
        elif timestamp_is_out_of_range(record, batch, config, now):
            found.append(RecordError(index, TIMESTAMP_RANGE, f"timestamp {record.timestamp} is out of range at {now}"))
        elif append_time_is_forged(record, batch, config):
            found.append(RecordError(index, FORGED_TIME, "only the broker sets the timestamp type LogAppendTime"))
    return tuple(found)


@rule("LOG-BATCH-18")
def some_record_has_bad_time(batch: SentBatch, config: LogConfig, now: int) -> bool:
    """One bad timestamp refuses the batch, whatever else is wrong with other records."""
    return any(error.rung.error == Error.INVALID_TIMESTAMP for error in record_errors(batch, config, now))


@rule("LOG-BATCH-15")
def some_record_lacks_key(batch: SentBatch, config: LogConfig, _now: int) -> bool:
    """One record without a key refuses the batch."""
    return config.compacts and any(key_is_missing(record, config) for record in batch.records or ())


@rule("LOG-BATCH-19")
def compressed_deltas_are_odd(batch: SentBatch, config: LogConfig, _now: int) -> bool:
    """Inside a compressed batch that stays as it is, offsets must be 0, 1, 2 …: they cannot be mended in place."""
    return codec_of(batch) != CODEC_NONE and keeps_codec(batch, config) and not deltas_are_dense(batch)


@rule("LOG-BATCH-26")
def cannot_be_rebuilt(batch: SentBatch, config: LogConfig, _now: int) -> bool:
    """What is encoded anew must be a batch that a client could have made: with times, and of a producer with epoch and sequence or of none."""
    if keeps_codec(batch, config):
        return False
    if batch.producer_id == NO_PRODUCER:
        names_producer = batch.attributes & ATTRIBUTE_TRANSACTIONAL == 0
    else:
        names_producer = batch.producer_epoch != NO_EPOCH and batch.base_sequence >= 0
    return not names_producer or any(time_of(record, batch) < NO_TIMESTAMP for record in batch.records or ())


#: Arguments: the batch, the log's configuration, now (ms). Behind REQUEST_CHECK.
BATCH_CHECK = Ladder(
    "batch check",
    [
        rung(base_offset_is_not_zero, Error.INVALID_RECORD),
        rung(is_too_large, Error.MESSAGE_TOO_LARGE),
        rung(checksum_is_wrong, Error.CORRUPT_MESSAGE),
        rung(count_is_wrong, Error.INVALID_RECORD),
        rung(is_control_batch, Error.INVALID_RECORD),
        rung(lacks_sequence, Error.INVALID_RECORD),
        rung(unpacks_too_far, Error.MESSAGE_TOO_LARGE, also=(Error.NONE, Error.UNKNOWN_SERVER_ERROR)),
        rung(records_are_unreadable, Error.INVALID_RECORD, also=(Error.UNKNOWN_SERVER_ERROR,)),
        rung(count_of_records_is_wrong, Error.INVALID_RECORD),
        rung(some_record_has_bad_time, Error.INVALID_TIMESTAMP),
        rung(some_record_lacks_key, Error.INVALID_RECORD),
        rung(compressed_deltas_are_odd, Error.INVALID_RECORD, also=(Error.UNKNOWN_SERVER_ERROR,)),
        rung(cannot_be_rebuilt, Error.INVALID_RECORD, also=(Error.UNKNOWN_SERVER_ERROR,)),
    ],
)

#: The refusals whose answer lists the records that are at fault (Produce v8+).
PER_RECORD = frozenset({"LOG-BATCH-15", "LOG-BATCH-18"})


# The plan: what will be stored, but for its offset


@value
class Plan:
    """A batch that passed every check, as it will be stored."""

    payload: Payload
    size_bytes: int
    count: int
    max_timestamp: int
    has_append_time: bool
    records: tuple[Record, ...]
    producer_id: int
    producer_epoch: int
    base_sequence: int
    last_sequence: int


@rule("LOG-APPEND-3")
def target_codec(batch: SentBatch, config: LogConfig) -> int:
    """compression.type names the codec; `producer` keeps the batch's own."""
    return codec_of(batch) if config.compression is None else config.compression


def keeps_codec(batch: SentBatch, config: LogConfig) -> bool:
    """Does the batch stay as it is encoded?"""
    return target_codec(batch, config) == codec_of(batch)


def deltas_are_dense(batch: SentBatch) -> bool:
    """Are the records numbered 0, 1, 2 …?"""
    return all(record.offset_delta == index for index, record in enumerate(batch.records or ()))


@rule("LOG-APPEND-5", "LOG-APPEND-6")
def stored_timestamp(batch: SentBatch, config: LogConfig, now: int) -> int:
    """The header's max timestamp as stored: the broker's time, or the greatest of the records', whatever the client's header said.

    Where all are negative it is -1, none.
    """
    if config.append_time:
        return now
    latest = max((time_of(record, batch) for record in batch.records or ()), default=NO_TIMESTAMP)
    return max(latest, NO_TIMESTAMP)


@rule("LOG-APPEND-2", "LOG-APPEND-4", "LOG-BATCH-23")
def planned(batch: SentBatch, config: LogConfig, now: int) -> Plan:
    """How a checked batch will be stored: in place with its header stamped, or, if its codec changes, rebuilt with offsets 0, 1, 2 …"""
    assert batch.records is not None
    payload, size_bytes, records = batch.payload, batch.size_bytes, batch.records
    if not keeps_codec(batch, config):
        payload, size_bytes = payload.rebuilt(target_codec(batch, config), config.compression_level)
        records = tuple(
            Record(index, time_of(record, batch), record.has_key) for index, record in enumerate(records)
        )
    last_sequence = NO_SEQUENCE
    if batch.producer_id > NO_PRODUCER:
        last_sequence = sequence_after(batch.base_sequence, batch.last_offset_delta)
    return Plan(
        payload,
        size_bytes,
        batch.count,
        stored_timestamp(batch, config, now),
        config.append_time,
        records,
        batch.producer_id,
        batch.producer_epoch,
        batch.base_sequence,
        last_sequence,
    )


@rule("LOG-BATCH-20")
def rebuilt_is_too_large(plan: Plan, config: LogConfig) -> bool:
    """Measured again after the codec changed."""
    return plan.size_bytes > config.max_message_bytes


@rule("LOG-BATCH-21")
def exceeds_segment(plan: Plan, config: LogConfig) -> bool:
    """A batch never spans two segments."""
    return plan.size_bytes > config.segment_bytes


#: Arguments: the plan, the log's configuration. Behind BATCH_CHECK.
SIZE_CHECK = Ladder(
    "size check",
    [rung(rebuilt_is_too_large, Error.MESSAGE_TOO_LARGE), rung(exceeds_segment, Error.RECORD_LIST_TOO_LARGE)],
)


# The roll


@rule("LOG-ROLL-1")
def segment_is_full(segment: Segment, plan: Plan, _last_offset: int, config: LogConfig, _now: int) -> bool:
    """The batch would not fit into segment.bytes."""
    return segment.size_bytes + plan.size_bytes > config.segment_bytes


@rule("LOG-ROLL-2", "LOG-ROLL-5")
def segment_is_old(segment: Segment, plan: Plan, _last_offset: int, config: LogConfig, now: int) -> bool:
    """More than segment.ms between the first batch's time and this one's; the clock counts only if the first has none."""
    if segment.size_bytes == 0:
        return False
    if segment.first_timestamp >= 0:
        waited_ms = plan.max_timestamp - segment.first_timestamp
    else:
        waited_ms = now - segment.created_ms
    return waited_ms > config.segment_ms


@rule("LOG-ROLL-3")
def index_is_full(segment: Segment, _plan: Plan, _last_offset: int, config: LogConfig, _now: int) -> bool:
    """8 bytes an entry of the offset index, 12 of the time index, which counts as full one entry early."""
    return (
        segment.index_entries >= config.segment_index_bytes // 8
        or segment.time_index_entries >= config.segment_index_bytes // 12 - 1
    )


@rule("LOG-ROLL-4")
def span_is_too_wide(segment: Segment, _plan: Plan, last_offset: int, _config: LogConfig, _now: int) -> bool:
    """Offsets in an index are relative to the base offset and have 32 bits."""
    return last_offset - segment.base_offset > SEGMENT_SPAN_MAX


ROLL_WHEN = (segment_is_full, segment_is_old, index_is_full, span_is_too_wide)


@rule("LOG-APPEND-8")
def rolled_for(log: Log, plan: Plan, config: LogConfig, now: int) -> Log:
    """The log with room for the batch: unchanged, or with a new active segment. It stands even if the batch is then refused."""
    last_offset = log.end + plan.count - 1
    if any(guard(log.active, plan, last_offset, config, now) for guard in ROLL_WHEN):
        return rolled(log, now)
    return log


@rule("LOG-ROLL-6")
def rolled(log: Log, now: int) -> Log:
    """The active segment sealed, an empty one begun at the log end. One with nothing in it is begun anew: two cannot have one name."""
    begun = Segment(log.end, log.end_batch, now, modified_ms=now)
    if log.active.size_bytes == 0:
        return changed(log, active=begun)
    return Log(
        log.start,
        log.high_watermark,
        log.end,
        begun,
        log.batches,
        log.first_batch,
        log.end_batch,
        log.sealed.set(log.active_segment, log.active),
        log.first_segment,
        log.active_segment + 1,
        log.size_bytes,
        log.epochs,
    )


# The append


@rule("LOG-APPEND-1", "LOG-APPEND-9")
def appended(log: Log, plan: Plan, config: LogConfig, leader_epoch: int, now: int) -> Log:
    """The log with the planned batch at its end: count offsets, all of them or none, in the leader's epoch."""
    batch = StoredBatch(
        log.end,
        log.end + plan.count - 1,
        log.active_segment,
        log.active.size_bytes,
        plan.size_bytes,
        plan.max_timestamp,
        plan.has_append_time,
        leader_epoch,
        plan.producer_id,
        plan.producer_epoch,
        plan.base_sequence,
        plan.last_sequence,
        plan.records,
    )
    return Log(
        log.start,
        log.high_watermark,
        log.end + plan.count,
        grown(log.active, plan, config, now),
        log.batches.set(log.end_batch, batch),
        log.first_batch,
        log.end_batch + 1,
        log.sealed,
        log.first_segment,
        log.active_segment,
        log.size_bytes + plan.size_bytes,
        log.epochs,
    )


@rule("LOG-ROLL-7")
def grown(segment: Segment, plan: Plan | StoredBatch, config: LogConfig, now: int) -> Segment:
    """The segment after one more batch; an index entry is due when enough bytes have passed since the last."""
    max_timestamp = max(segment.max_timestamp, plan.max_timestamp)
    index_entries, time_index_entries = segment.index_entries, segment.time_index_entries
    indexed_timestamp, since = segment.indexed_timestamp, segment.bytes_since_index_entry
    if since > config.index_interval_bytes:
        index_entries += 1
        if max_timestamp > indexed_timestamp:
            time_index_entries += 1
            indexed_timestamp = max_timestamp
        since = 0
    return Segment(
        segment.base_offset,
        segment.first_batch,
        segment.created_ms,
        segment.size_bytes + plan.size_bytes,
        plan.max_timestamp if segment.size_bytes == 0 else segment.first_timestamp,
        max_timestamp,
        now,
        index_entries,
        time_index_entries,
        indexed_timestamp,
        since + plan.size_bytes,
    )


# Marks: high watermark, last stable offset, log start, epochs


@rule("LOG-HW-1", "LOG-HW-2")
def with_high_watermark(log: Log, candidate: int) -> Log:
    """The high watermark raised to `candidate`, within the log; never lowered."""
    raised = raised_high_watermark(log.high_watermark, candidate, log.end)
    if raised == log.high_watermark:
        return log
    return changed(log, high_watermark=clamped_high_watermark(raised, log.start, log.end))


@rule("LOG-HW-3")
def last_stable_offset(log: Log, first_unstable: int | None) -> int:
    """Where read_committed ends: before the first open transaction, and never beyond the high watermark."""
    if first_unstable is None:
        return log.high_watermark
    return min(first_unstable, log.high_watermark)


@rule("LOG-DELETE-3")
def with_start(log: Log, offset: int) -> Log:
    """The log start raised to `offset`, which is not beyond the high watermark; a lower one changes nothing. Epochs that end below it go."""
    if offset <= log.start:
        return log
    assert offset <= log.high_watermark
    return changed(log, start=offset, epochs=epochs_from(log.epochs, offset))


def epochs_from(epochs: tuple[EpochStart, ...], offset: int) -> tuple[EpochStart, ...]:
    """The epochs at or above `offset`; the one in force there is kept, as if it began at `offset`."""
    below = [entry for entry in epochs if entry.start_offset <= offset]
    above = tuple(entry for entry in epochs if entry.start_offset > offset)
    if not below:
        return above
    return (EpochStart(below[-1].epoch, offset), *above)


@rule("LOG-EPOCH-1")
def end_offset_for_epoch(log: Log, epoch: int) -> tuple[int, int]:
    """(the largest known epoch <= `epoch`, the offset where it ended); (-1, -1) when nothing can be said (KIP-101, KIP-279)."""
    if epoch == -1 or not log.epochs or epoch > log.epochs[-1].epoch:
        return -1, -1
    if epoch == log.epochs[-1].epoch:
        return epoch, log.end
    above = [entry for entry in log.epochs if entry.epoch > epoch]
    known = [entry for entry in log.epochs if entry.epoch <= epoch]
    return (known[-1].epoch if known else epoch), above[0].start_offset


def epoch_at(log: Log, offset: int) -> int:
    """The leader epoch in force at `offset`, -1 if unknown."""
    known = [entry.epoch for entry in log.epochs if entry.start_offset <= offset]
    return known[-1] if known else -1


# Reads


def batch_at(log: Log, offset: int) -> int | None:
    """The ordinal of the first batch that ends at or beyond `offset`, None if there is none. O(log² n)."""
    low, high = log.first_batch, log.end_batch
    while low < high:
        middle = (low + high) // 2
        if log.batches[middle].last_offset < offset:
            low = middle + 1
        else:
            high = middle
    return low if low < log.end_batch else None


def segment_at(log: Log, offset: int) -> int:
    """The ordinal of the segment in which a read at `offset` begins; at the log end, the active one."""
    ordinal = batch_at(log, offset)
    return log.active_segment if ordinal is None else log.batches[ordinal].segment


def segment_numbered(log: Log, ordinal: int) -> Segment:
    """A segment by its ordinal."""
    return log.active if ordinal == log.active_segment else log.sealed[ordinal]


@rule("LOG-READ-1")
def offset_is_out_of_range(log: Log, offset: int) -> bool:
    """Below the log start or beyond the log end; between high watermark and end is not an error."""
    return offset < log.start or offset > log.end


@rule("LOG-READ-2", "LOG-READ-3", "LOG-READ-4", "LOG-READ-5", "LOG-READ-6", "LOG-READ-7")
def readable_bytes(log: Log, offset: int, *, below: int, max_bytes: int, whole_first: bool) -> tuple[int, int]:
    """What a read at `offset` returns, up to `below`: (base offset of its first batch, bytes from there on); (offset, 0) for nothing.

    It begins with the batch that holds the offset, stays within that batch's segment and ends before the batch that holds `below`. The last
    batch may be cut by `max_bytes`; the first never is: if it does not fit it is left out, or returned whole when `whole_first`.
    """
    ordinal = batch_at(log, offset) if offset < below else None
    if ordinal is None:
        return offset, 0
    first = log.batches[ordinal]
    if first.size_bytes > max_bytes and not whole_first:
        return offset, 0
    end = end_position(log, first.segment, below)
    size_bytes = min(end - first.position, max(max_bytes, first.size_bytes))
    if size_bytes < first.size_bytes:
        return offset, 0
    return first.base_offset, size_bytes


def end_position(log: Log, segment: int, below: int) -> int:
    """Where reading in `segment` ends, in bytes: at its own end, or at the batch that holds offset `below`."""
    ordinal = batch_at(log, below)
    if ordinal is not None and log.batches[ordinal].segment == segment:
        return log.batches[ordinal].position
    return segment_numbered(log, segment).size_bytes


# Lookup by time


@value
class Found:
    """A record found by its timestamp; -1, -1 for none."""

    offset: int
    timestamp: int
    leader_epoch: int = -1


NOTHING_FOUND = Found(-1, -1)


def timestamps(batch: StoredBatch) -> tuple[tuple[int, int], ...]:
    """(offset, timestamp) of each record; with append time, each has the header's."""
    return tuple(
        (batch.base_offset + record.offset_delta, batch.max_timestamp if batch.has_append_time else record.timestamp)
        for record in batch.records
    )


def largest_timestamp(segment: Segment) -> int:
    """The greatest record timestamp, or when the segment was last written if no record has one (ms)."""
    return segment.max_timestamp if segment.max_timestamp >= 0 else segment.modified_ms


def batches_of(log: Log, segment: int) -> range:
    """The ordinals of a segment's batches."""
    first = max(segment_numbered(log, segment).first_batch, log.first_batch)
    end = log.end_batch if segment == log.active_segment else segment_numbered(log, segment + 1).first_batch
    return range(first, end)


@rule("LOG-TIME-2")
def first_at_or_after(log: Log, timestamp: int) -> Found:
    """The first record, in log order and not below the log start, whose timestamp is at least `timestamp`.

    Looked for only in the first segment that has such a timestamp at all, as Kafka does.
    """
    for ordinal in range(log.first_segment, log.active_segment + 1):
        if largest_timestamp(segment_numbered(log, ordinal)) < timestamp:
            continue
        for number in batches_of(log, ordinal):
            batch = log.batches[number]
            if batch.max_timestamp < timestamp:
                continue
            for offset, found in timestamps(batch):
                if found >= timestamp and offset >= log.start:
                    return Found(offset, found, batch.leader_epoch)
        return NOTHING_FOUND
    return NOTHING_FOUND


@rule("LOG-TIME-3")
def first_with_max_timestamp(log: Log) -> Found:
    """The first record that has the greatest timestamp of the log (KIP-734)."""
    best: Segment | None = None
    best_ordinal = log.first_segment
    for ordinal in range(log.first_segment, log.active_segment + 1):
        segment = segment_numbered(log, ordinal)
        if segment.size_bytes and (best is None or segment.max_timestamp > best.max_timestamp):
            best, best_ordinal = segment, ordinal
    if best is None:
        return NOTHING_FOUND
    for number in batches_of(log, best_ordinal):
        batch = log.batches[number]
        if batch.max_timestamp == best.max_timestamp:
            offsets = [offset for offset, timestamp in timestamps(batch) if timestamp == batch.max_timestamp]
            return Found(offsets[0], batch.max_timestamp, batch.leader_epoch) if offsets else NOTHING_FOUND
    return NOTHING_FOUND


# Retention


@rule("LOG-RETAIN-1", "LOG-RETAIN-8")
def retained(log: Log, config: LogConfig, now: int) -> Log:
    """The log without the segments that have gone out of retention: always a prefix of them."""
    log = without_segments_below_start(log)
    if not config.deletes:
        return log
    log = without_excess_segments(log, config, now)
    return without_old_segments(log, config, now)


def without_segments_below_start(log: Log) -> Log:
    """Segments wholly below the log start go, whatever the policy."""
    count = 0
    while log.first_segment + count < log.active_segment:
        if segment_numbered(log, log.first_segment + count + 1).base_offset > log.start:
            break
        count += 1
    return without_segments(log, count)


@rule("LOG-RETAIN-6")
def without_excess_segments(log: Log, config: LogConfig, now: int) -> Log:
    """By size: the oldest go while what is left still holds retention.bytes."""
    size_bytes, count = log.size_bytes, 0
    for ordinal in deletable(log):
        segment = segment_numbered(log, ordinal)
        if not is_size_breached(size_bytes, config.retention_bytes, segment.size_bytes):
            break
        size_bytes -= segment.size_bytes
        count += 1
    return without_segments(with_empty_active(log, count, now), count)


@rule("LOG-RETAIN-4", "LOG-RETAIN-5")
def without_old_segments(log: Log, config: LogConfig, now: int) -> Log:
    """By time: the oldest go while their largest timestamp is more than retention.ms ago."""
    count = 0
    for ordinal in deletable(log):
        if not is_time_breached(now, largest_timestamp(segment_numbered(log, ordinal)), config.retention_ms):
            break
        count += 1
    return without_segments(with_empty_active(log, count, now), count)


@rule("LOG-RETAIN-2")
def deletable(log: Log) -> range:
    """The ordinals of the segments that lie wholly below the high watermark and are not the empty active one."""
    end = log.first_segment
    while end <= log.active_segment:
        is_active = end == log.active_segment
        upper = log.end if is_active else segment_numbered(log, end + 1).base_offset
        if upper > log.high_watermark or (is_active and log.active.size_bytes == 0):
            break
        end += 1
    return range(log.first_segment, end)


@rule("LOG-RETAIN-3")
def with_empty_active(log: Log, going: int, now: int) -> Log:
    """The active segment may go too: the log rolls first, so that it always has one."""
    return rolled(log, now) if log.first_segment + going > log.active_segment else log


@rule("LOG-RETAIN-7")
def without_segments(log: Log, count: int) -> Log:
    """The log without its first `count` segments; the log start moves to the first one kept, before any byte goes."""
    if count == 0:
        return log
    first_kept = log.first_segment + count
    kept = segment_numbered(log, first_kept)
    gone_bytes = sum(segment_numbered(log, ordinal).size_bytes for ordinal in range(log.first_segment, first_kept))
    with log.batches.mutate() as batches:
        for ordinal in range(log.first_batch, kept.first_batch):
            del batches[ordinal]
        remaining = batches.finish()
    with log.sealed.mutate() as sealed:
        for ordinal in range(log.first_segment, first_kept):
            del sealed[ordinal]
        still_sealed = sealed.finish()
    return changed(
        log,
        start=max(log.start, kept.base_offset),
        batches=remaining,
        first_batch=kept.first_batch,
        sealed=still_sealed,
        first_segment=first_kept,
        size_bytes=log.size_bytes - gone_bytes,
        epochs=epochs_from(log.epochs, max(log.start, kept.base_offset)),
    )
