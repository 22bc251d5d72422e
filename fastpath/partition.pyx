# distutils: language = c++
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""One partition: what an append, a read and a lookup come to. It decides what `models/partition.py` decides, in the same order."""

from libc.errno cimport EIO, ENOMEM
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint64_t
from libcpp.vector cimport vector

from fiducial.fastpath.batch cimport (
    ATTRIBUTE_CONTROL,
    ATTRIBUTE_LOG_APPEND_TIME,
    CODEC_NONE,
    NO_PRODUCER,
    NOT_REFUSED,
    Batch,
    Limits,
    batch_refusal,
    codec_of,
    error_of,
    keeps_codec,
    read_header,
    read_records,
    rebuild,
    reserve,
    stamp,
    stored_timestamp,
)
from fiducial.fastpath.bigendian cimport load16, load32, load64
from fiducial.fastpath.files cimport Files
from fiducial.fastpath cimport log as log_room
from fiducial.fastpath.log cimport PRODUCERS, Forcing, Loading, Log, LogConfig, Stored, Unsynced
from fiducial.fastpath cimport producers as producers_room
from fiducial.fastpath.producers cimport Producer, Sequenced, Written, sequence_after
from fiducial.fastpath.threads cimport OpenFile, held

cdef enum:
    OFFSET_OUT_OF_RANGE = 1
    NOT_LEADER_OR_FOLLOWER = 6
    MESSAGE_TOO_LARGE = 10
    RECORD_LIST_TOO_LARGE = 18
    INVALID_REQUEST = 42
    KAFKA_STORAGE_ERROR = 56
    FENCED_LEADER_EPOCH = 74
    UNKNOWN_LEADER_EPOCH = 75
    INVALID_RECORD = 87

    CONSUMER = -1
    FUTURE_LOCAL_REPLICA = -3

    SAVED_MAX = 2
    NOT_SAVED = -1


# Produce


cdef Limits limits_of(LogConfig* config) noexcept nogil:
    """What the topic's configuration says about batches."""
    cdef Limits limits
    limits.max_message_bytes = config.max_message_bytes
    limits.timestamp_before_max_ms = config.timestamp_before_max_ms
    limits.timestamp_after_max_ms = config.timestamp_after_max_ms
    limits.append_time = config.append_time
    limits.compacts = config.compacts
    limits.codec = config.compression
    limits.level = config.compression_level
    return limits


cdef int64_t copied_config(Partition* partition, LogConfig* config) noexcept nogil:
    """The configuration in force, and its version."""
    cdef int64_t version
    partition.lock.take()
    config[0] = partition.config
    version = partition.config_version
    partition.lock.give()
    return version


cdef void take_config(Partition* partition, Coming* coming) noexcept nogil:
    """What it is judged by."""
    coming.config_version = copied_config(partition, &coming.config)


cdef bint changes_codec(Coming* coming) noexcept nogil:
    """Is it to be stored with another codec than it was sent with?"""
    cdef Limits limits = limits_of(&coming.config)
    return not keeps_codec(&coming.batch, &limits)


cdef void judge(Coming* coming, Work* work, int64_t now) noexcept nogil:
    """LOG-BATCH-24: batch check and size check. Others may append meanwhile, the configuration may change, and the partition may go: it is not
    looked at."""
    cdef Batch* batch = &coming.batch
    cdef Produced* produced = &coming.produced
    cdef Limits limits = limits_of(&coming.config)
    coming.data, coming.size_bytes = <uint8_t*>batch.data, batch.size_bytes
    coming.max_timestamp = -1
    produced.error = 0
    coming.is_remembered = produced.is_duplicate = produced.is_due = False
    produced.base_offset = produced.append_time_ms = -1
    produced.file_error = 0
    produced.refusal = batch_refusal(batch, &limits, now, &work.codecs, &work.unpacked)
    if produced.refusal != NOT_REFUSED:
        produced.error = error_of(produced.refusal)
        return
    if not keeps_codec(batch, &limits):
        if not rebuild(batch, &limits, &work.codecs, &work.scratch, &work.rebuilt):
            produced.error = INVALID_RECORD
            return
        coming.data, coming.size_bytes = work.rebuilt.data, work.rebuilt.size
    coming.max_timestamp = stored_timestamp(batch, &limits, now)
    if coming.size_bytes > coming.config.max_message_bytes:
        produced.error = MESSAGE_TOO_LARGE
    elif coming.size_bytes > coming.config.segment_bytes:
        produced.error = RECORD_LIST_TOO_LARGE


cdef void produce(Partition* partition, Coming** row, size_t count, Work* work, int64_t now) noexcept nogil:
    """Batches that were judged, one after the other: roll, duplicate, sequence check, append; then all are written at once."""
    cdef size_t index, first = 0
    if not lock_as_judged(partition, row, count, work, now):
        for index in range(count):
            take_config(partition, row[index])
            judge(row[index], work, now)
            produce_alone(partition, row[index], work, now)
        return
    for index in range(count):
        if partition.transitions != NULL:
            note_sent(partition, row[index], now)
        if row[index].produced.error == 0:
            store(partition, row, index, &first, work, now)
        row[index].produced.log_start, row[index].produced.end = partition.log.start, partition.log.end
    write_row(partition, row, count, &first, work)
    for index in range(count):
        settle(partition, &row[index].produced)
        if partition.transitions != NULL:
            note_produced(partition, count - index, &row[index].produced)
    partition.lock.give()


cdef void produce_alone(Partition* partition, Coming* coming, Work* work, int64_t now) noexcept nogil:
    """A row of one."""
    produce(partition, &coming, 1, work, now)


cdef bint lock_as_judged(Partition* partition, Coming** row, size_t count, Work* work, int64_t now) noexcept nogil:
    """Take the lock while the configuration is the one under which all were judged; if it has changed, they are judged again. False, without the
    lock: they are given another codec now, and there is room for one at a time."""
    cdef size_t index = 0
    partition.lock.take()
    while index < count:
        if row[index].config_version == partition.config_version:
            index += 1
            continue
        partition.lock.give()
        take_config(partition, row[index])
        if changes_codec(row[index]) and count > 1:
            return False
        judge(row[index], work, now)
        partition.lock.take()
        index = 0
    return True


cdef void settle(Partition* partition, Produced* produced) noexcept nogil:
    """Readers may see what was appended, unless it must be on the disk before. So must a duplicate that is not there yet, by the rule of now."""
    cdef Log* log = &partition.log
    if produced.error == 0 and produced.is_duplicate:
        produced.is_due = produced.base_offset >= log.high_watermark or (
            produced.base_offset >= log.forced_below and log_room.unflushed(log) >= partition.config.flush_messages
        )
    elif produced.error == 0:
        produced.is_due = produced.end - partition.log.forced_below >= partition.config.flush_messages
        if not produced.is_due:
            log_room.raise_high_watermark(&partition.log, min(produced.end, replicated_end(partition)))
    produced.high_watermark = partition.log.high_watermark
    produced.is_watched = partition.watchers > 0  # THREAD-WAIT-2: behind the append, and the mark


cdef void store(Partition* partition, Coming** row, size_t index, size_t* first, Work* work, int64_t now) noexcept nogil:
    """Roll if need be, ask what is known of the producer, put, and remember. A disk that failed once is not tried again."""
    cdef Coming* coming = row[index]
    cdef Batch* batch = &coming.batch
    cdef Produced* produced = &coming.produced
    cdef Sequenced sequenced
    cdef Written* written
    cdef int64_t base_offset = partition.log.end
    cdef bint is_idempotent = batch.producer_id > NO_PRODUCER
    produced.file_error = <int>work.storage_error.get()
    if produced.file_error == 0 and log_room.must_roll(&partition.log, coming.size_bytes, coming.max_timestamp, batch.count, &partition.config, now):
        produced.file_error = write_row(partition, row, index, first, work)
        if produced.file_error == 0:
            produced.file_error = roll(partition, now)
    if is_idempotent and produced.file_error == 0:
        sequenced = Sequenced(
            batch.producer_id, batch.producer_epoch, batch.base_sequence, sequence_after(batch.base_sequence, batch.last_offset_delta), coming.max_timestamp
        )
        written = producers_room.duplicate_of(&partition.producers, &sequenced)
        if written != NULL:
            produced.is_duplicate = True
            produced.base_offset = written.base_offset
            produced.append_time_ms = written.timestamp
            return
        produced.error = producers_room.sequence_error(&partition.producers, &sequenced)
        if produced.error != 0:
            return
    if produced.file_error == 0:
        stamp(coming.data, coming.size_bytes, base_offset, partition.leader_epoch, partition.config.append_time, coming.max_timestamp)
        produced.file_error = log_room.put(&partition.log, coming.data, coming.size_bytes, batch.count, coming.max_timestamp, &partition.config, now)
    if produced.file_error != 0:
        work.storage_error.begin(produced.file_error)
        produced.error = KAFKA_STORAGE_ERROR
        return
    if is_idempotent:
        note_known(partition, coming)
        producers_room.remember(&partition.producers, &sequenced, base_offset, partition.log.end - 1, now)
        partition.are_saved = False
    produced.base_offset = base_offset
    produced.append_time_ms = coming.max_timestamp if partition.config.append_time else -1


cdef void note_known(Partition* partition, Coming* coming) noexcept nogil:
    """What is known of a producer before its batch, which is not written yet."""
    cdef Producer* known = producers_room.known(&partition.producers, coming.batch.producer_id)
    coming.is_remembered = True
    coming.was_known = known != NULL
    if known != NULL:
        coming.known = known[0]


cdef int write_row(Partition* partition, Coming** row, size_t behind, size_t* first, Work* work) noexcept nogil:
    """Write what was put since the `first` of the row. If that fails, none of it happened: they are refused, those that they made duplicates too."""
    cdef int result = log_room.write_out(&partition.log)
    cdef size_t index = behind
    if result < 0:
        work.storage_error.begin(result)
        while index > first[0]:  # the last one first: who has more than one of them is known as before the first
            index -= 1
            forget(partition, row[index])
            if row[index].produced.error == 0:
                row[index].produced.error, row[index].produced.file_error = KAFKA_STORAGE_ERROR, result
            row[index].produced.base_offset = row[index].produced.append_time_ms = -1
            row[index].produced.is_duplicate = False
            row[index].produced.end = partition.log.end
    first[0] = behind
    return result


cdef void forget(Partition* partition, const Coming* coming) noexcept nogil:
    """Its producer is as it was before it."""
    if not coming.is_remembered:
        return
    if coming.was_known:
        partition.producers[coming.batch.producer_id] = coming.known
    else:
        partition.producers.erase(coming.batch.producer_id)


cdef int roll(Partition* partition, int64_t now) noexcept nogil:
    """A new segment, and the producers as they were at its beginning."""
    cdef size_t before = partition.log.segments.size()
    cdef int result = log_room.roll(&partition.log, now)
    return result if result < 0 or partition.log.segments.size() == before else write_producers(partition)


cdef int write_producers(Partition* partition) noexcept nogil:
    """The producers as they are, in files that are yet to be forced to the disk. If there are files of this offset, they know whom silence has made
    forgotten since, and no less."""
    cdef int64_t offset = partition.log.end
    cdef vector[OpenFile*] written
    cdef size_t index
    if not partition.saved.empty() and partition.saved.back() == offset:
        return 0
    cdef int result = producers_room.save(&partition.producers, partition.log.files, partition.log.folder, offset, &written)
    for index in range(written.size()):
        partition.unsaved.push_back(Unsynced(written[index], PRODUCERS, offset, 0))
    partition.are_saved = result == 0
    return result


cdef void note_saved(Partition* partition, const Forcing* forcing) noexcept nogil:
    """The files of producers among these are on the disk; and those before them, which were forced with them, or earlier."""
    cdef int64_t newest = NOT_SAVED, offset
    cdef size_t index
    for index in range(forcing.files.size()):
        if forcing.files[index].what == PRODUCERS:
            newest = forcing.files[index].base_offset
    while not partition.unsaved.empty() and partition.unsaved.front().base_offset <= newest:
        offset = partition.unsaved.front().base_offset
        log_room.let_go_file(partition.log.files, partition.unsaved.front().file)
        partition.unsaved.erase(partition.unsaved.begin())
        if partition.saved.empty() or partition.saved.back() != offset:
            partition.saved.push_back(offset)


cdef int save_producers(Partition* partition) noexcept nogil:
    """The producers as they are, on the disk."""
    cdef int64_t offset = partition.log.end
    cdef int result = producers_room.save(&partition.producers, partition.log.files, partition.log.folder, offset, NULL)
    if result == 0 and (partition.saved.empty() or partition.saved.back() != offset):
        partition.saved.push_back(offset)
    partition.are_saved = result == 0
    return result


cdef void forget_older(Partition* partition) noexcept nogil:
    """Without the files of producers that are older than the two newest. None of these is beyond where a power cut may let the log end: what was
    sealed was forced to the disk with them, also what was dropped since."""
    while partition.saved.size() > SAVED_MAX:
        producers_room.forget_saved(partition.log.files, partition.log.folder, partition.saved.front())
        partition.saved.erase(partition.saved.begin())


# Retention


cdef int retain(Partition* partition, int64_t now) noexcept nogil:
    """LOG-RETAIN-1: what is wholly below the log start, then what is too much, then what is too old."""
    cdef int result
    partition.lock.take()
    result = 0
    log_room.drop(&partition.log, log_room.below_start(&partition.log))
    if partition.config.deletes:
        result = let_go(partition, log_room.too_much(&partition.log, &partition.config), now)
    if result == 0 and partition.config.deletes:
        result = let_go(partition, log_room.too_old(&partition.log, &partition.config, now), now)
    if result == 0:
        result = clear_away(partition)
    note_change(partition, RETAIN, partition.log.segments.front().base_offset, now)
    partition.lock.give()
    return result


cdef int let_go(Partition* partition, size_t count, int64_t now) noexcept nogil:
    """Without the first `count` segments. LOG-RETAIN-3: if the active segment is to go too, the log rolls first."""
    cdef int result = roll(partition, now) if count == partition.log.segments.size() else 0
    if result == 0:
        log_room.drop(&partition.log, count)
    return result


cdef int clear_away(Partition* partition) noexcept nogil:
    """Without the files that nobody needs: those of segments that were dropped are needed until the producers are on the disk who wrote them."""
    cdef int result = log_room.remove_dropped(&partition.log) if partition.unsaved.empty() else 0
    forget_older(partition)
    return result


cdef bint lingers(Partition* partition) noexcept nogil:
    """Are there files yet of segments that were dropped?"""
    cdef bint found
    partition.lock.take()
    found = not partition.log.dropped.empty()
    partition.lock.give()
    return found


cdef void expire(Partition* partition, int64_t expiration_ms, int64_t now) noexcept nogil:
    """Forget producers that have been silent for so long."""
    partition.lock.take()
    if producers_room.expire(&partition.producers, expiration_ms, now):
        partition.are_saved = False
    note_change(partition, EXPIRE, expiration_ms, now)
    partition.lock.give()


# Marks


cdef int64_t replicated_end(Partition* partition) noexcept nogil:
    """Below it, every in-sync replica has everything: on one replica, the log end."""
    return partition.log.end


cdef int64_t stable_offset(Partition* partition) noexcept nogil:
    """The last stable offset: without transactions, the high watermark."""
    return partition.log.high_watermark


cdef int note_due(Partition* partition, Forcing* forcing, int64_t* end) noexcept nogil:
    """THREAD-COMMIT-1: what must be forced to the disk so that all that is in the log now is there, and up to where that is; or -errno."""
    cdef int result
    partition.lock.take()
    end[0] = partition.log.end
    result = log_room.note_unforced(&partition.log, True, 0, 0, forcing)
    hold_unsaved(partition, forcing)
    partition.lock.give()
    return result


cdef int note_old(Partition* partition, int64_t now, Forcing* forcing) noexcept nogil:
    """What must be forced to the disk though nobody asks for it: all but the active segment, and that if it has waited for flush.ms; or -errno."""
    cdef int result
    partition.lock.take()
    result = log_room.note_unforced(&partition.log, False, partition.config.flush_ms, now, forcing)
    hold_unsaved(partition, forcing)
    partition.lock.give()
    return result


cdef void hold_unsaved(Partition* partition, Forcing* forcing) noexcept nogil:
    """The files of producers too."""
    cdef size_t index
    for index in range(partition.unsaved.size()):
        held(partition.unsaved[index].file)
        forcing.files.push_back(partition.unsaved[index])


cdef int forced_old(Partition* partition, const Forcing* forcing) noexcept nogil:
    """It is on the disk, and nobody has waited for it; what then can go, goes, or -errno."""
    cdef int result
    partition.lock.take()
    result = note_forced(partition, forcing)
    partition.lock.give()
    return result


cdef int note_forced(Partition* partition, const Forcing* forcing) noexcept nogil:
    """The same, for who holds the lock."""
    log_room.note_forced(&partition.log, forcing)
    note_saved(partition, forcing)
    return clear_away(partition)


cdef bint forced(Partition* partition, const Forcing* forcing, int64_t end, int64_t now) noexcept nogil:
    """THREAD-COMMIT-1, THREAD-WAIT-2: it is on the disk, and so everything below `end`: readers may see it. Does somebody wait for that?"""
    cdef bint is_watched
    partition.lock.take()
    note_forced(partition, forcing)  # what could not be removed, retention comes upon again
    log_room.forced_to(&partition.log, end)
    log_room.raise_high_watermark(&partition.log, min(end, replicated_end(partition)))
    is_watched = partition.watchers > 0
    note_change(partition, COMMIT, end, now)
    partition.lock.give()
    return is_watched


cdef void raise_start(Partition* partition, int64_t offset, int64_t now) noexcept nogil:
    """The log start up to `offset`."""
    partition.lock.take()
    log_room.raise_start(&partition.log, offset)
    note_change(partition, RAISE_START, offset, now)
    partition.lock.give()


cdef void configure(Partition* partition, const LogConfig& config, int64_t now) noexcept nogil:
    """Another configuration. What is answered from now on is answered under the new rule, a duplicate too."""
    partition.lock.take()
    partition.config = config
    partition.config_version += 1
    note_change(partition, CONFIGURE, partition.config_version, now)
    partition.lock.give()


# Fetch


cdef int16_t epoch_error(Partition* partition, int32_t current_leader_epoch) noexcept nogil:
    """LOG-FETCH-5, LOG-FETCH-8."""
    if current_leader_epoch != -1 and current_leader_epoch < partition.leader_epoch:
        return FENCED_LEADER_EPOCH
    return UNKNOWN_LEADER_EPOCH if current_leader_epoch > partition.leader_epoch else 0


cdef bint is_out_of_range(Partition* partition, Asked* asked) noexcept nogil:
    """LOG-READ-1."""
    cdef int32_t epoch = -1
    cdef int64_t end_offset = -1
    if asked.offset < partition.log.start:
        return True
    if asked.last_fetched_epoch >= 0:
        log_room.end_offset_for_epoch(&partition.log, asked.last_fetched_epoch, &epoch, &end_offset)
        return epoch == -1 and end_offset == -1
    return asked.offset > partition.log.end


cdef void fetch(Partition* partition, Asked* asked, bint will_wait, int64_t now, Read* read) noexcept nogil:
    """THREAD-WAIT-1, THREAD-WAIT-7: a refusal, a divergence, or a place in a segment (perhaps of no bytes), and the marks. Who will wait for more
    is counted in the same breath: whatever comes after this, finds the partition watched."""
    partition.lock.take()
    read_place(partition, asked, read)
    read.high_watermark = partition.log.high_watermark
    read.stable_offset = stable_offset(partition)
    read.log_start = partition.log.start
    read.leader_epoch = partition.leader_epoch
    if will_wait:
        partition.watchers += 1
    if partition.transitions != NULL:
        note_read(partition, asked, now, read)
    partition.lock.give()


cdef void watched_no_more(Partition* partition) noexcept nogil:
    """THREAD-WAIT-4: one who waited does so no more."""
    partition.lock.take()
    partition.watchers -= 1
    partition.lock.give()


cdef void read_place(Partition* partition, Asked* asked, Read* read) noexcept nogil:
    """What may be read, and where it lies."""
    cdef int64_t below = read_bound(partition, asked)
    cdef int result
    read.error = epoch_error(partition, asked.current_leader_epoch)
    read.diverges = read.has_left_out = False
    read.diverging_epoch = -1
    read.diverging_end = -1
    read.file_error = 0
    read.place.file = NULL
    read.place.position = read.place.size_bytes = 0
    read.place.base_offset = asked.offset
    read.span.lies_bytes = read.span.begins = read.span.ends = 0
    if read.error != 0:
        return
    if asked.replica_id >= 0:
        read.error = NOT_LEADER_OR_FOLLOWER
    elif is_out_of_range(partition, asked):
        read.error = OFFSET_OUT_OF_RANGE
        log_room.readable(&partition.log, asked.offset, below, 0, False, &read.place, &read.span)  # LOG-FETCH-14: who waited there counts it
    if read.error != 0 or diverges(partition, asked, read):
        return
    if asked.max_bytes < 0 and asked.offset < below:
        read.error = INVALID_REQUEST
        return
    result = log_room.readable(&partition.log, asked.offset, below, asked.max_bytes, asked.whole_first, &read.place, &read.span)
    read.has_left_out = read.place.size_bytes == 0 and asked.max_bytes > 0 and asked.offset < below
    if result < 0:
        read.error = KAFKA_STORAGE_ERROR
        read.file_error = result


cdef int64_t read_bound(Partition* partition, Asked* asked) noexcept nogil:
    """LOG-READ-2: the offset that a read stays below."""
    if asked.replica_id == FUTURE_LOCAL_REPLICA:
        return partition.log.end
    return stable_offset(partition) if asked.isolation == 1 else partition.log.high_watermark


cdef bint diverges(Partition* partition, Asked* asked, Read* read) noexcept nogil:
    """LOG-FETCH-6: where the asker's log parts from this one."""
    if asked.last_fetched_epoch < 0:
        return False
    log_room.end_offset_for_epoch(&partition.log, asked.last_fetched_epoch, &read.diverging_epoch, &read.diverging_end)
    read.diverges = read.diverging_epoch < asked.last_fetched_epoch or read.diverging_end < asked.offset
    return read.diverges


# ListOffsets


cdef int64_t latest_offset(Partition* partition, int isolation, int32_t replica_id) noexcept nogil:
    """LOG-TIME-5."""
    if replica_id != CONSUMER:
        return partition.log.end
    return stable_offset(partition) if isolation == 1 else partition.log.high_watermark


cdef void look_up(
    Partition* partition, int64_t timestamp, int isolation, int32_t replica_id, int32_t current_leader_epoch, Work* work, int64_t now, Ahead* ahead, Found* found
) noexcept nogil:
    """LOG-TIME-1. Offset -1, timestamp -1, leader epoch -1: there is none."""
    ahead.is_wanted = False
    partition.lock.take()
    find_offset(partition, timestamp, isolation, replica_id, current_leader_epoch, work, ahead, found)
    if partition.transitions != NULL and not ahead.is_wanted:
        note_lookup(partition, timestamp, isolation, replica_id, current_leader_epoch, now, found)
    partition.lock.give()


cdef void find_offset(
    Partition* partition, int64_t timestamp, int isolation, int32_t replica_id, int32_t current_leader_epoch, Work* work, Ahead* ahead, Found* found
) noexcept nogil:
    """The offset that a timestamp asks for, or that its name stands for."""
    cdef int64_t latest = latest_offset(partition, isolation, replica_id)
    found.offset = found.timestamp = found.leader_epoch = -1
    found.file_error = 0
    found.error = epoch_error(partition, current_leader_epoch)
    if found.error != 0 or timestamp == -5 or timestamp == -6:
        return
    if timestamp == -1:
        found.offset, found.leader_epoch = latest, partition.leader_epoch
        return
    if timestamp == -2 or timestamp == -4:
        found.offset, found.leader_epoch = partition.log.start, log_room.epoch_at(&partition.log, partition.log.start)
        return
    found.file_error = first_with_max(partition, work, ahead, found) if timestamp == -3 else first_at_or_after(partition, timestamp, work, ahead, found)
    if found.file_error != 0:
        found.error = KAFKA_STORAGE_ERROR
    if found.offset >= latest or found.file_error != 0:
        found.offset = found.timestamp = found.leader_epoch = -1


cdef int first_at_or_after(Partition* partition, int64_t timestamp, Work* work, Ahead* ahead, Found* found) noexcept nogil:
    """LOG-TIME-2: in the first segment that has such a timestamp at all."""
    cdef Log* log = &partition.log
    cdef size_t segment = 0
    cdef int64_t position
    cdef Stored batch
    cdef int result = 0
    while segment < log.segments.size() and log_room.largest_timestamp(&log.segments[segment]) < timestamp:
        segment += 1
    if segment == log.segments.size():
        return 0
    position = log_room.position_before_time(log, segment, timestamp)
    while result >= 0:
        result = log_room.next_batch(log, segment, position, &batch)
        if result <= 0:
            break
        if batch.max_timestamp >= timestamp:
            result = record_of(partition, segment, &batch, timestamp, False, log.start, work, ahead, found)
            if result != 0:
                break
        position += batch.size_bytes
    return result if result < 0 else 0


cdef int first_with_max(Partition* partition, Work* work, Ahead* ahead, Found* found) noexcept nogil:
    """LOG-TIME-3: in the first segment that has the greatest timestamp, the first batch that has it."""
    cdef Log* log = &partition.log
    cdef size_t best = log.segments.size(), index, where = 0
    cdef Stored batch
    cdef int result
    for index in range(log.segments.size()):
        if log.segments[index].size_bytes > 0 and (
            best == log.segments.size() or log.segments[index].max_timestamp > log.segments[best].max_timestamp
        ):
            best = index
    if best == log.segments.size():
        return 0
    result = log_room.find(log, log.segments[best].max_timestamp_offset, &where, &batch)
    if result <= 0:
        return result
    result = record_of(partition, where, &batch, batch.max_timestamp, True, 0, work, ahead, found)
    return result if result < 0 else 0


cdef int record_of(
    Partition* partition, size_t segment, Stored* stored, int64_t timestamp, bint exactly, int64_t from_offset, Work* work, Ahead* ahead, Found* found
) noexcept nogil:
    """The first record of a stored batch at or after `timestamp` (or exactly at it) and `from_offset`: 1 if there is one, or the batch is wanted
    unpacked; else 0; -errno."""
    cdef Batch batch
    cdef int result
    cdef bint by_broker = stored.attributes & ATTRIBUTE_LOG_APPEND_TIME != 0
    cdef const uint8_t* at
    cdef const uint8_t* end
    cdef const uint8_t* next_record
    cdef int64_t time, offset
    if ahead.is_there and stored.base_offset < ahead.base_offset:
        return 0  # it was looked into before, and has none: the log start only rises
    if ahead.is_there and stored.base_offset == ahead.base_offset:
        batch = ahead.batch
    else:
        result = read_stored(&partition.log, segment, stored, work, &batch)
        if result < 0:
            return result
        if codec_of(&batch) != CODEC_NONE:
            ahead.base_offset, ahead.is_wanted, ahead.batch = stored.base_offset, True, batch
            return 1
        read_records(&batch, &work.codecs, &work.unpacked)
    if not batch.records.are_readable:
        return -EIO
    at = batch.records.body
    end = at + batch.records.body_bytes
    while at < end:
        offset = varint(&at)
        next_record = at + offset
        at += 1  # the record's attributes
        time = <int64_t>(<uint64_t>batch.base_timestamp + <uint64_t>varint(&at))
        offset = stored.base_offset + varint(&at)
        if by_broker:
            time = stored.max_timestamp
        if offset >= from_offset and (time == timestamp if exactly else time >= timestamp):
            found.offset, found.timestamp, found.leader_epoch = offset, time, stored.leader_epoch
            return 1
        at = next_record
    return 0


cdef int read_stored(Log* log, size_t segment, Stored* stored, Work* work, Batch* batch) noexcept nogil:
    """A batch of the log, into the room for scratch; -errno."""
    if not reserve(&work.scratch, stored.size_bytes):
        return -ENOMEM
    if log.files.read_at(log.files.context, log.segments[segment].fd, work.scratch.data, stored.size_bytes, stored.position) != stored.size_bytes:
        return -EIO
    read_header(work.scratch.data, stored.size_bytes, batch)
    return 0


cdef inline int64_t varint(const uint8_t** at) noexcept nogil:
    """A zigzag number in records that were found sound."""
    cdef uint64_t number = 0
    cdef uint8_t byte = 0x80
    cdef int shift = 0
    while byte >= 0x80:
        byte = at[0][0]
        at[0] += 1
        number |= <uint64_t>(byte & 0x7F) << shift
        shift += 7
    return <int64_t>(number >> 1) ^ -<int64_t>(number & 1)


# Loading and closing


cdef struct Rebuilding:
    Partition* partition
    bint knows_epochs  # from their file; what stands in a header has no checksum
    int64_t saved  # an offset: the producers of what is below it are known
    int64_t now


cdef void learn(void* context, const uint8_t* header) noexcept nogil:
    """A stored batch tells of its leader's epoch and of its producer; a marker, which a coordinator wrote, has no sequence to tell."""
    cdef Rebuilding* here = <Rebuilding*>context
    cdef Partition* partition = here.partition
    cdef int64_t base_offset = <int64_t>load64(header)
    cdef int32_t delta = <int32_t>load32(header + 23)
    cdef Sequenced batch
    if not here.knows_epochs:
        log_room.learn_epoch(&partition.log, <int32_t>load32(header + 12), base_offset)
    batch.producer_id = <int64_t>load64(header + 43)
    if batch.producer_id <= NO_PRODUCER or load16(header + 21) & ATTRIBUTE_CONTROL or base_offset + delta < here.saved:
        return
    batch.epoch = <int16_t>load16(header + 51)
    batch.first_sequence = <int32_t>load32(header + 53)
    batch.last_sequence = sequence_after(batch.first_sequence, delta)
    batch.timestamp = <int64_t>load64(header + 35)
    producers_room.remember(&partition.producers, &batch, base_offset, base_offset + delta, here.now)
    partition.are_saved = False


cdef void begin(Partition* partition, const char* folder, Files* files, int32_t leader_epoch, int64_t now) noexcept nogil:
    """An empty partition that this broker leads; no file is made yet."""
    log_room.begin(&partition.log, folder, files, 0, now)
    log_room.begin_epoch(&partition.log, leader_epoch)
    partition.leader_epoch = leader_epoch
    partition.are_saved = True


cdef int load(
    Partition* partition, const char* folder, Files* files, const vector[int64_t]& bases, const vector[int64_t]& snapshots, Loading* loading
) noexcept nogil:
    """The partition of a folder: its log; its producers, from the newest sound file of them and from what was written behind that. A new leader
    epoch begins."""
    cdef int result = log_room.load(&partition.log, folder, files, bases, &partition.config, loading)
    cdef Rebuilding rebuilding
    cdef int64_t offset = 0
    if result == 0:
        result = log_room.load_epochs(&partition.log, loading.leader_epoch)
    if result == 0:
        result = load_producers(partition, snapshots, loading, &offset)
    if result < 0:
        return result
    rebuilding = Rebuilding(partition, not partition.log.epochs.empty(), offset, loading.now)
    if not rebuilding.knows_epochs:
        offset = partition.log.segments.front().base_offset
    result = log_room.each_header(&partition.log, offset, learn, &rebuilding)
    log_room.let_go(&partition.log)  # there may be many logs that nobody asks for
    if result < 0:
        return result
    partition.leader_epoch = loading.leader_epoch
    if not partition.log.epochs.empty():
        partition.leader_epoch = max(partition.leader_epoch, partition.log.epochs.back().epoch + 1)
    log_room.begin_epoch(&partition.log, partition.leader_epoch)
    return log_room.save_epochs(&partition.log)


cdef int load_producers(Partition* partition, const vector[int64_t]& snapshots, Loading* loading, int64_t* found) noexcept nogil:
    """The producers from the newest sound file, and of which offset it is; where the log begins, if there is none. No other file is kept: one beyond the
    log end would tell lies when the log comes there again, and is gone for good before it does."""
    cdef int64_t offset
    cdef size_t index
    cdef bint would_lie = False
    cdef int result = 0
    partition.producers.clear()
    partition.saved.clear()
    offset = take_newest(partition, snapshots, False, loading.now)
    if offset == NOT_SAVED:
        offset = take_newest(partition, snapshots, True, loading.now)
    if offset != NOT_SAVED and loading.trusted_below != log_room.EVERYTHING:
        result = producers_room.force_saved(partition.log.files, partition.log.folder, offset)
    if result < 0:
        return result
    for index in range(snapshots.size()):
        if snapshots[index] != offset:
            producers_room.forget_saved(partition.log.files, partition.log.folder, snapshots[index])
            would_lie = would_lie or snapshots[index] > partition.log.end
    if would_lie:
        result = partition.log.files.sync_folder(partition.log.files.context, partition.log.folder.c_str())
    if result < 0:
        return result
    if offset != NOT_SAVED:
        partition.saved.push_back(offset)
    partition.are_saved = True
    found[0] = offset if offset != NOT_SAVED else partition.log.segments.front().base_offset
    return 0


cdef int64_t take_newest(Partition* partition, const vector[int64_t]& snapshots, bint are_kafkas, int64_t now) noexcept nogil:
    """The producers from the newest sound file that is not beyond the log end, and, if it is ours, not below its first segment; of which offset
    it is, or NOT_SAVED. Kafka leaves our files where they are when it goes on with the log and lets go of segments. And a power cut may leave only
    Kafka's file of ours: all that it lacks is in a log that begins at 0; no other has let go of segments before ours was on the disk."""
    cdef Log* log = &partition.log
    cdef size_t index = snapshots.size()
    cdef bint is_sound
    while index > 0:
        index -= 1
        if snapshots[index] > log.end or (not are_kafkas and snapshots[index] < log.segments.front().base_offset):
            continue
        if are_kafkas and log.segments.front().base_offset == 0 and producers_room.is_ours(log.files, log.folder, snapshots[index]):
            continue
        if are_kafkas:
            is_sound = producers_room.load_kafkas(&partition.producers, log.files, log.folder, snapshots[index], now)
        else:
            is_sound = producers_room.load(&partition.producers, log.files, log.folder, snapshots[index])
        if is_sound:
            return snapshots[index]
    return NOT_SAVED


cdef int finish(Partition* partition) noexcept nogil:
    """Before a clean stop: the log on the disk, and the producers as they are; of a log that was never written to, nothing."""
    cdef Log* log = &partition.log
    cdef int64_t newest
    cdef Forcing forcing
    cdef int result = note_due(partition, &forcing, &newest)
    if result < 0:
        log_room.let_go_unforced(log.files, &forcing)
        return result
    result = log_room.force(log.files, &forcing)
    if result == 0:
        result = forced_old(partition, &forcing)
    if result == 0:
        result = log_room.finish(log)
    newest = NOT_SAVED if partition.saved.empty() else partition.saved.back()
    if result == 0 and not (partition.are_saved and (newest == log.end or log.end == 0)):
        result = save_producers(partition)
        forget_older(partition)
    return result


cdef void close(Partition* partition) noexcept nogil:
    """Let go of every file."""
    cdef size_t index
    log_room.let_go(&partition.log)
    for index in range(partition.unsaved.size()):
        log_room.let_go_file(partition.log.files, partition.unsaved[index].file)
    partition.unsaved.clear()


# What happened, for whoever asks the model the same


cdef void note(Partition* partition, Kind kind, const int64_t* asked, size_t asked_count, const int64_t* came, size_t came_count, int64_t now) noexcept nogil:
    """A transition: what was asked, and what came of it."""
    partition.transitions.resize(partition.transitions.size() + 1)
    cdef Transition* transition = &partition.transitions.back()
    transition.kind = kind
    transition.now = now
    transition.asked.assign(asked, asked + asked_count)
    transition.came.assign(came, came + came_count)


cdef void note_begin(Partition* partition) noexcept nogil:
    """From here on transitions are kept: of a log that is empty."""
    cdef int64_t[2] asked
    cdef int64_t[3] came
    asked[0], asked[1] = partition.leader_epoch, partition.config_version
    came[0], came[1], came[2] = partition.log.start, partition.log.high_watermark, partition.log.end
    note(partition, BEGIN, asked, 2, came, 3, partition.log.segments.back().created_ms)


cdef void note_change(Partition* partition, Kind kind, int64_t asked, int64_t now) noexcept nogil:
    """A change that came from the broker itself, and the marks that it left behind."""
    cdef int64_t[3] came
    if partition.transitions == NULL:
        return
    came[0], came[1], came[2] = partition.log.start, partition.log.high_watermark, partition.log.end
    note(partition, kind, &asked, 1, came, 3, now)


cdef void note_sent(Partition* partition, const Coming* coming, int64_t now) noexcept nogil:
    """A batch, before it is stamped."""
    note(partition, PRODUCE, NULL, 0, NULL, 0, now)
    partition.transitions.back().data.assign(<const char*>coming.batch.data, coming.batch.size_bytes)


cdef void note_produced(Partition* partition, size_t from_the_end, const Produced* produced) noexcept nogil:
    """What came of it."""
    cdef int64_t[7] came
    came[0], came[1], came[2] = produced.error, produced.is_duplicate, produced.base_offset
    came[3], came[4], came[5] = produced.append_time_ms, produced.log_start, produced.high_watermark
    came[6] = produced.end
    partition.transitions[0][partition.transitions.size() - from_the_end].came.assign(came, came + 7)


cdef void note_read(Partition* partition, const Asked* asked, int64_t now, const Read* read) noexcept nogil:
    """A read, and what came of it."""
    cdef int64_t[7] wanted
    cdef int64_t[14] came
    wanted[0], wanted[1], wanted[2], wanted[3] = asked.offset, asked.max_bytes, asked.isolation, asked.whole_first
    wanted[4], wanted[5], wanted[6] = asked.replica_id, asked.current_leader_epoch, asked.last_fetched_epoch
    came[0], came[1], came[2], came[3] = read.error, read.place.base_offset, read.place.size_bytes, read.has_left_out
    came[4], came[5], came[6] = read.diverges, read.diverging_epoch, read.diverging_end
    came[7], came[8], came[9], came[10] = read.high_watermark, read.stable_offset, read.log_start, read.leader_epoch
    came[11], came[12], came[13] = read.span.lies_bytes, read.span.begins, read.span.ends
    note(partition, FETCH, wanted, 7, came, 14, now)


cdef void note_lookup(Partition* partition, int64_t timestamp, int isolation, int32_t replica_id, int32_t leader_epoch, int64_t now, const Found* found) noexcept nogil:
    """A lookup, and what came of it."""
    cdef int64_t[4] asked, came
    asked[0], asked[1], asked[2], asked[3] = timestamp, isolation, replica_id, leader_epoch
    came[0], came[1], came[2], came[3] = found.error, found.offset, found.timestamp, found.leader_epoch
    note(partition, LOOK_UP, asked, 4, came, 4, now)
