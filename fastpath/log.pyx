# distutils: language = c++
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The log of one partition, on disk: where batches go, how they are found again, and when they go.

It decides what `models/log.py` decides, and in the same order; what is said there is not said again here. Layout of a folder:
    %020d.log         batches, one behind the other; named, as the others, by the segment's base offset
    %020d.index       8 bytes an entry: last offset of a batch - base offset, position of the batch
    %020d.timeindex   12 bytes an entry: greatest timestamp so far, last offset of its batch - base offset
    %020d.begun       nothing: the segment was begun before all that is before it was on the disk
    leader-epoch-checkpoint
Indexes are written as files are, not through their mapping: where the disk is full, a mapping answers with a signal. An index is made with
its first entry.

Whoever appends, rolls or drops forces nothing to the disk. What has to be there in the end is noted by `note_unforced` while the log's lock is held,
forced by `force` with no lock, and taken for forced by `note_forced`. Until then:
    a segment           is read through by the next start, whatever its indexes say, and ends where it is not sound
    what is behind it   is not there, if it does not follow: also in a log that is compacted, as long as it is marked
    epochs              of the first batch are learnt from it
"""

from libc.errno cimport EIO, ENOENT, ENOMEM
from libc.stdint cimport INT64_MAX, int16_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport free, malloc, realloc, strtoll
from libcpp.string cimport string
from libcpp.vector cimport vector

from fiducial.fastpath.batch cimport checksum
from fiducial.fastpath.bigendian cimport load16, load32, load64, store32, store64
from fiducial.fastpath.files cimport replace_file, write_file
from fiducial.fastpath.threads cimport OpenFile, held, let_go_of

cdef enum:
    NO_TIMESTAMP = -1
    PREFIX_BYTES = 12  # base offset and length, which the length does not count
    HEADER_BYTES = 61
    OFFSET_ENTRY_BYTES = 8
    TIME_ENTRY_BYTES = 12
    MAGIC_AT = 16
    MAGIC = 2
    READ_BYTES = 1 << 16  # for a batch that is checked; more if the batch is larger
    CHUNK_BYTES = 4096  # read at once when headers are looked for
    MAPPED_BYTES = 1 << 20  # an index is mapped in steps of this size
    TOLD_BYTES = 1 << 24  # how much is read through before somebody is told

cdef int64_t SEGMENT_SPAN_MAX = 2147483647
cdef int64_t EVERYTHING = INT64_MAX


# Names of files


cdef string path_of(Log* log, int64_t base_offset, const char* suffix) noexcept nogil:
    cdef char name[64]
    cdef string path = log.folder
    snprintf(name, sizeof(name), b"/%020lld%s", <long long>base_offset, suffix)
    path.append(<const char*>name)
    return path


cdef string rebuilt_path_of(Log* log, int64_t base_offset, const char* suffix) noexcept nogil:
    """Of an index that is made anew, until it is whole."""
    cdef string path = path_of(log, base_offset, suffix)
    path.append(<const char*>b".tmp")
    return path


# Segments


cdef Index no_index() noexcept nogil:
    cdef Index index
    index.fd = -1
    index.file = NULL
    index.base = NULL
    index.mapped_bytes = 0
    index.entries = 0
    index.is_settled = False
    index.is_rebuilt = False
    return index


cdef Segment new_segment(int64_t base_offset, int64_t now) noexcept nogil:
    cdef Segment segment
    segment.base_offset = base_offset
    segment.created_ms = now
    segment.size_bytes = 0
    segment.first_timestamp = NO_TIMESTAMP
    segment.max_timestamp = NO_TIMESTAMP
    segment.max_timestamp_offset = base_offset
    segment.modified_ms = now
    segment.indexed_timestamp = NO_TIMESTAMP
    segment.bytes_since_index_entry = 0
    segment.offsets = no_index()
    segment.times = no_index()
    segment.fd = -1
    segment.file = NULL
    segment.is_unsynced = False
    segment.unsynced_ms = now
    segment.named = 0
    segment.is_marked = False
    return segment


cdef int made(Log* log, Segment* segment) noexcept nogil:
    """The segment's file, empty; its descriptor, or -errno."""
    return took(log, segment, True)


cdef int opened(Log* log, Segment* segment) noexcept nogil:
    """The descriptor of the segment's file, opened if it was not; or -errno."""
    return segment.fd if segment.fd >= 0 else took(log, segment, False)


cdef int took(Log* log, Segment* segment, bint create) noexcept nogil:
    """Open the segment's file: its descriptor, or -errno."""
    segment.fd = log.files.open(log.files.context, path_of(log, segment.base_offset, b".log").c_str(), create)
    if segment.fd >= 0:
        segment.file = new OpenFile(segment.fd)
    return segment.fd


cdef void begin(Log* log, const char* folder, Files* files, int64_t offset, int64_t now) noexcept nogil:
    """An empty log at `offset`; no file is made yet."""
    log.folder = string(folder)
    log.files = files
    log.start = log.high_watermark = log.end = offset
    log.forced_below = offset
    log.size_bytes = 0
    log.are_epochs_saved = log.is_placed = False
    log.names = log.names_forced = 0
    log.kept_from = offset
    log.newest.base_offset = EVERYTHING
    log.dropped.clear()
    log.segments.clear()
    log.epochs.clear()
    log.segments.push_back(new_segment(offset, now))


cdef int make_first_segment(Log* log) noexcept nogil:
    """The files of an empty log, in a folder that exists. None is held open: there may be many logs that nobody writes to."""
    cdef Segment* first = &log.segments.front()
    cdef int result = made(log, first)
    if result >= 0:
        result = opened_index(log, first, &first.offsets, b".index", True)
    if result >= 0:
        result = opened_index(log, first, &first.times, b".timeindex", True)
    close_segment(log, first)
    return result if result < 0 else 0


# The roll


cdef bint must_roll(
    Log* log, int64_t size_bytes, int64_t max_timestamp, int64_t count, LogConfig* config, int64_t now
) noexcept nogil:
    """LOG-ROLL-1 to 5: would the next batch not fit, or not belong, into the active segment?"""
    cdef Segment* active = &log.segments.back()
    cdef int64_t waited_ms
    if active.size_bytes + size_bytes > config.segment_bytes:
        return True
    if active.size_bytes > 0:
        waited_ms = max_timestamp - active.first_timestamp if active.first_timestamp >= 0 else now - active.created_ms
        if waited_ms > config.segment_ms:
            return True
    if active.offsets.entries >= config.segment_index_bytes // OFFSET_ENTRY_BYTES:
        return True
    if active.times.entries >= config.segment_index_bytes // TIME_ENTRY_BYTES - 1:
        return True
    return log.end + count - 1 - active.base_offset > SEGMENT_SPAN_MAX


cdef int roll(Log* log, int64_t now) noexcept nogil:
    """LOG-ROLL-6: seal the active segment, begin an empty one at the log end. Its file is made now: it tells where the log ends, when all else is gone."""
    cdef Segment* active = &log.segments.back()
    if active.size_bytes == 0:
        active.created_ms = active.modified_ms = now
        return 0
    cdef int result = seal(log, active)
    if result < 0:
        return result
    cdef Segment begun = new_segment(log.end, now)
    log.names += 1
    begun.named = log.names
    result = mark(log, &begun)
    if result == 0:
        result = made(log, &begun)
    if result < 0:
        return result
    log.segments.push_back(begun)
    return 0


cdef int seal(Log* log, Segment* segment) noexcept nogil:
    """Close the time index with the greatest timestamp; the files of both indexes end with their entries."""
    cdef int result
    if segment.max_timestamp > segment.indexed_timestamp:
        result = add_time_entry(log, segment)
        if result < 0:
            return result
    result = end_index(log, segment, &segment.offsets, b".index", OFFSET_ENTRY_BYTES)
    return result if result < 0 else end_index(log, segment, &segment.times, b".timeindex", TIME_ENTRY_BYTES)


cdef int settle(Log* log, Segment* segment) noexcept nogil:
    """Seal the segment, and have both indexes on the disk: who trusts the segment will trust them."""
    cdef int result = seal(log, segment)
    if result == 0:
        result = settle_index(log, segment, &segment.offsets, b".index")
    return result if result < 0 else settle_index(log, segment, &segment.times, b".timeindex")


# Marks of segments


cdef int mark(Log* log, Segment* segment) noexcept nogil:
    """Before the segment's file is made: so no power cut leaves that without the mark."""
    cdef int fd = log.files.open(log.files.context, path_of(log, segment.base_offset, b".begun").c_str(), True)
    if fd < 0:
        return fd
    segment.is_marked = True
    return log.files.close(log.files.context, fd)


cdef bint is_marked(Log* log, int64_t base_offset) noexcept nogil:
    """Is there a mark, of a segment that is found?"""
    cdef int fd = log.files.open(log.files.context, path_of(log, base_offset, b".begun").c_str(), False)
    if fd >= 0:
        log.files.close(log.files.context, fd)
    return fd >= 0


cdef void unmark(Log* log, int64_t base_offset) noexcept nogil:
    log.files.remove(log.files.context, path_of(log, base_offset, b".begun").c_str())


cdef void unmark_forced(Log* log) noexcept nogil:
    """All that is before these segments is on the disk."""
    cdef size_t index
    for index in range(log.segments.size()):
        if log.segments[index].is_marked:
            unmark(log, log.segments[index].base_offset)
            log.segments[index].is_marked = False
        if log.segments[index].is_unsynced:
            break


# Indexes


cdef int opened_index(Log* log, Segment* segment, Index* index, const char* suffix, bint create) noexcept nogil:
    """The descriptor of the index's file, opened if it was not, or made; or -errno."""
    cdef string path
    if index.fd < 0:
        path = rebuilt_path_of(log, segment.base_offset, suffix) if index.is_rebuilt else path_of(log, segment.base_offset, suffix)
        index.fd = log.files.open(log.files.context, path.c_str(), create)
        if index.fd >= 0:
            index.file = new OpenFile(index.fd)
    return index.fd


cdef int put_entry(Log* log, Segment* segment, Index* index, const char* suffix, const uint8_t* entry, int64_t entry_bytes) noexcept nogil:
    """One more entry at the end of the index."""
    cdef int fd = opened_index(log, segment, index, suffix, True)
    if fd < 0:
        return fd
    index.is_settled = False
    cdef int result = log.files.write_at(log.files.context, fd, entry, entry_bytes, index.entries * entry_bytes)
    if result == 0:
        index.entries += 1
    return result


cdef int add_offset_entry(Log* log, Segment* segment, int64_t last_offset, int64_t position) noexcept nogil:
    """One more entry of the offset index."""
    cdef uint8_t[OFFSET_ENTRY_BYTES] entry
    store32(entry, <uint32_t>(last_offset - segment.base_offset))
    store32(entry + 4, <uint32_t>position)
    return put_entry(log, segment, &segment.offsets, b".index", entry, OFFSET_ENTRY_BYTES)


cdef int add_time_entry(Log* log, Segment* segment) noexcept nogil:
    """One more entry of the time index: the greatest timestamp so far."""
    cdef uint8_t[TIME_ENTRY_BYTES] entry
    store64(entry, <uint64_t>segment.max_timestamp)
    store32(entry + 8, <uint32_t>(segment.max_timestamp_offset - segment.base_offset))
    cdef int result = put_entry(log, segment, &segment.times, b".timeindex", entry, TIME_ENTRY_BYTES)
    if result == 0:
        segment.indexed_timestamp = segment.max_timestamp
    return result


cdef int end_index(Log* log, Segment* segment, Index* index, const char* suffix, int64_t entry_bytes) noexcept nogil:
    """The index's file, which stays open, holds its entries and nothing else."""
    if index.is_settled:
        return 0
    cdef int fd = opened_index(log, segment, index, suffix, True)
    return fd if fd < 0 else log.files.truncate(log.files.context, fd, index.entries * entry_bytes)


cdef int settle_index(Log* log, Segment* segment, Index* index, const char* suffix) noexcept nogil:
    """It does so on the disk, and has its name."""
    cdef int result = 0 if index.is_settled else sync_file(log.files, index.file)
    if result == 0 and index.is_rebuilt:
        result = log.files.rename(
            log.files.context, rebuilt_path_of(log, segment.base_offset, suffix).c_str(), path_of(log, segment.base_offset, suffix).c_str()
        )
        index.is_rebuilt = result < 0
    if result == 0:
        settled(log, index)
    return result


cdef void settled(Log* log, Index* index) noexcept nogil:
    """It does; the file need not stay open."""
    index.is_settled = True
    close_index_file(log, index)


cdef bint is_mapped(Log* log, Segment* segment, Index* index, const char* suffix, int64_t size_bytes) noexcept nogil:
    """Have at least the first `size_bytes` of the index mapped; what is mapped beyond the file's end comes with what is written there. False: it cannot be
    had, and whoever looks something up does without."""
    if index.mapped_bytes >= size_bytes:
        return True
    cdef int fd = opened_index(log, segment, index, suffix, False)
    if fd < 0 or log.files.size(log.files.context, fd) < size_bytes:  # somebody took it away, or cut it: to read what is not there would end the process
        return False
    unmap_index(log, index)
    cdef int64_t wanted = (size_bytes + MAPPED_BYTES - 1) // MAPPED_BYTES * MAPPED_BYTES
    index.base = log.files.map(log.files.context, fd, wanted)
    if index.base == NULL:
        return False
    index.mapped_bytes = wanted
    return True


cdef void unmap_index(Log* log, Index* index) noexcept nogil:
    if index.base != NULL:
        log.files.unmap(log.files.context, index.base, index.mapped_bytes)
        index.base = NULL
        index.mapped_bytes = 0


# The append


cdef int append(
    Log* log, const uint8_t* batch, int64_t size_bytes, int64_t count, int64_t max_timestamp, LogConfig* config, int64_t now
) noexcept nogil:
    """LOG-APPEND-1: the stamped batch at the end of the active segment. If it cannot be written whole, it is not there at all."""
    cdef int result = put(log, batch, size_bytes, count, max_timestamp, config, now)
    return result if result < 0 else write_out(log)


cdef int put(
    Log* log, const uint8_t* batch, int64_t size_bytes, int64_t count, int64_t max_timestamp, LogConfig* config, int64_t now
) noexcept nogil:
    """The same, but for the writing: what several requests append in a row is written at once. The batch stays where it is until then."""
    cdef Segment* active = &log.segments.back()
    cdef int64_t position = active.size_bytes
    cdef int fd = opened(log, active)
    if fd < 0:
        return fd
    if log.parts.empty():
        log.written, log.written_end, log.written_bytes = active[0], log.end, log.size_bytes
        take_header(batch, position, &log.newest)
    log.parts.resize(log.parts.size() + 1)
    log.parts.back().iov_base, log.parts.back().iov_len = <void*>batch, size_bytes
    grow(log, active, position, size_bytes, log.end + count - 1, max_timestamp, config, now)
    log.end += count
    log.size_bytes += size_bytes
    if not active.is_unsynced:
        active.is_unsynced = True
        active.unsynced_ms = now
        active.offsets.is_settled = active.times.is_settled = False  # sealing adds an entry
    return 0


cdef int write_out(Log* log) noexcept nogil:
    """What was put, into the file. If it cannot be written whole, nothing of it is there."""
    cdef Segment* active = &log.segments.back()
    cdef int result = 0
    if log.parts.size() == 1:
        result = log.files.write_at(
            log.files.context, active.fd, <const uint8_t*>log.parts[0].iov_base, log.parts[0].iov_len, log.written.size_bytes
        )
    elif log.parts.size() > 1:
        result = log.files.write_parts_at(log.files.context, active.fd, log.parts.data(), <int>log.parts.size(), log.written.size_bytes)
    if result < 0:
        log.files.truncate(log.files.context, active.fd, log.written.size_bytes)
        shrink(active, &log.written)
        log.end, log.size_bytes = log.written_end, log.written_bytes
    log.parts.clear()
    return result


cdef void shrink(Segment* segment, const Segment* written) noexcept nogil:
    """As it was when it was written; its files stay open."""
    segment.size_bytes = written.size_bytes
    segment.first_timestamp = written.first_timestamp
    segment.max_timestamp, segment.max_timestamp_offset = written.max_timestamp, written.max_timestamp_offset
    segment.modified_ms = written.modified_ms
    segment.indexed_timestamp, segment.bytes_since_index_entry = written.indexed_timestamp, written.bytes_since_index_entry
    segment.offsets.entries, segment.times.entries = written.offsets.entries, written.times.entries
    segment.is_unsynced, segment.unsynced_ms = written.is_unsynced, written.unsynced_ms


cdef void grow(
    Log* log, Segment* segment, int64_t position, int64_t size_bytes, int64_t last_offset, int64_t max_timestamp, LogConfig* config, int64_t now
) noexcept nogil:
    """models.log.grown. An index entry that cannot be written is left out: lookups begin earlier, and find the same."""
    if segment.size_bytes == 0:
        segment.first_timestamp = max_timestamp
    if max_timestamp > segment.max_timestamp:
        segment.max_timestamp = max_timestamp
        segment.max_timestamp_offset = last_offset
    if segment.bytes_since_index_entry > config.index_interval_bytes:
        add_offset_entry(log, segment, last_offset, position)
        if segment.max_timestamp > segment.indexed_timestamp:
            add_time_entry(log, segment)
        segment.bytes_since_index_entry = 0
    segment.size_bytes += size_bytes
    segment.modified_ms = now
    segment.bytes_since_index_entry += size_bytes


# Marks


cdef void raise_high_watermark(Log* log, int64_t candidate) noexcept nogil:
    """LOG-HW-1, LOG-HW-2."""
    if candidate > log.end:
        candidate = log.end
    if candidate > log.high_watermark:
        log.high_watermark = max(candidate, log.start)


cdef void raise_start(Log* log, int64_t offset) noexcept nogil:
    """LOG-DELETE-3: the log start up to `offset`, and the epochs that end below it gone."""
    if offset <= log.start:
        return
    log.start = offset
    trim_epochs(log, offset)


cdef void trim_epochs(Log* log, int64_t offset) noexcept nogil:
    """models.log.epochs_from: the epoch in force at `offset` is kept, as if it began there."""
    cdef size_t below = 0
    while below < log.epochs.size() and log.epochs[below].start_offset <= offset:
        below += 1
    if below == 0:
        return
    log.epochs[below - 1].start_offset = offset
    log.epochs.erase(log.epochs.begin(), log.epochs.begin() + (below - 1))
    log.are_epochs_saved = False


cdef void begin_epoch(Log* log, int32_t epoch) noexcept nogil:
    """LOG-EPOCH-2: a leader epoch begins at the log end; entries that it contradicts go."""
    cdef size_t kept = 0, index
    for index in range(log.epochs.size()):
        if log.epochs[index].epoch < epoch and log.epochs[index].start_offset < log.end:
            log.epochs[kept] = log.epochs[index]
            kept += 1
    log.epochs.resize(kept)
    cdef EpochStart entry
    entry.epoch = epoch
    entry.start_offset = log.end
    log.epochs.push_back(entry)
    log.are_epochs_saved = False


cdef int32_t epoch_at(Log* log, int64_t offset) noexcept nogil:
    """The leader epoch in force at `offset`, -1 if unknown."""
    cdef int32_t known = -1
    cdef size_t index
    for index in range(log.epochs.size()):
        if log.epochs[index].start_offset <= offset:
            known = log.epochs[index].epoch
    return known


cdef void end_offset_for_epoch(Log* log, int32_t epoch, int32_t* known, int64_t* end_offset) noexcept nogil:
    """LOG-EPOCH-1."""
    known[0] = -1
    end_offset[0] = -1
    cdef size_t count = log.epochs.size(), index
    if epoch < 0 or count == 0 or epoch > log.epochs[count - 1].epoch:
        return
    known[0] = epoch
    if epoch == log.epochs[count - 1].epoch:
        end_offset[0] = log.end
        return
    for index in range(count):
        if log.epochs[index].epoch <= epoch:
            known[0] = log.epochs[index].epoch
        else:
            end_offset[0] = log.epochs[index].start_offset
            return


# Reads


cdef size_t segment_of(Log* log, int64_t offset) noexcept nogil:
    """The last segment that begins at or below `offset`; the first one if none does."""
    cdef size_t low = 0, high = log.segments.size(), middle
    while high - low > 1:
        middle = (low + high) // 2
        if log.segments[middle].base_offset <= offset:
            low = middle
        else:
            high = middle
    return low


cdef int64_t floor_position(Log* log, Segment* segment, int64_t offset) noexcept nogil:
    """From where to look for the batch that holds `offset`: the greatest index entry that is not beyond it."""
    cdef int64_t low = 0, high = segment.offsets.entries, middle
    if high == 0 or not is_mapped(log, segment, &segment.offsets, b".index", high * OFFSET_ENTRY_BYTES):
        return 0
    while low < high:
        middle = (low + high) // 2
        if segment.base_offset + <int64_t>load32(segment.offsets.base + middle * OFFSET_ENTRY_BYTES) <= offset:
            low = middle + 1
        else:
            high = middle
    return load32(segment.offsets.base + (low - 1) * OFFSET_ENTRY_BYTES + 4) if low > 0 else 0


cdef void take_header(const uint8_t* header, int64_t position, Stored* found) noexcept nogil:
    """A stored batch by its header."""
    found.base_offset = <int64_t>load64(header)
    found.size_bytes = PREFIX_BYTES + <int32_t>load32(header + 8)
    found.leader_epoch = <int32_t>load32(header + 12)
    found.attributes = <int16_t>load16(header + 21)
    found.last_offset = found.base_offset + <int32_t>load32(header + 23)
    found.max_timestamp = <int64_t>load64(header + 35)
    found.position = position


cdef int header_at(Log* log, Segment* segment, int64_t position, Stored* found) noexcept nogil:
    """The batch at `position`: 1, or -errno."""
    cdef uint8_t[HEADER_BYTES] header
    cdef int fd = opened(log, segment)
    if fd < 0:
        return fd
    cdef int64_t got = log.files.read_at(log.files.context, fd, header, HEADER_BYTES, position)
    if got != HEADER_BYTES:
        return <int>got if got < 0 else -EIO
    take_header(header, position, found)
    return 1


cdef int next_batch(Log* log, size_t segment, int64_t position, Stored* found) noexcept nogil:
    """The batch at `position`: 1; 0 at the segment's end; -errno."""
    if position >= log.segments[segment].size_bytes:
        return 0
    return header_at(log, &log.segments[segment], position, found)


cdef int find(Log* log, int64_t offset, size_t* segment, Stored* found) noexcept nogil:
    """The first batch that ends at or beyond `offset`: 1; 0 if there is none; -errno. Headers are read in chunks from the index entry on, but for
    the newest."""
    if offset >= log.end:
        return 0
    cdef size_t at = segment_of(log, offset)
    if log.segments[at].base_offset <= log.newest.base_offset <= offset <= log.newest.last_offset:
        segment[0], found[0] = at, log.newest
        return 1
    cdef Segment* where
    cdef uint8_t chunk[CHUNK_BYTES]
    cdef int64_t position, got, inside
    cdef int fd
    while at < log.segments.size():
        where = &log.segments[at]
        fd = opened(log, where)
        if fd < 0:
            return fd
        position = floor_position(log, where, offset)
        while position < where.size_bytes:
            got = log.files.read_at(log.files.context, fd, chunk, CHUNK_BYTES, position)
            if got < HEADER_BYTES:
                return <int>got if got < 0 else -EIO
            inside = 0
            while inside + HEADER_BYTES <= got and position + inside < where.size_bytes:
                take_header(chunk + inside, position + inside, found)
                if found.last_offset >= offset:
                    segment[0] = at
                    return 1
                inside += found.size_bytes
            position += inside
        at += 1
    return 0


cdef int readable(Log* log, int64_t offset, int64_t below, int64_t max_bytes, bint whole_first, Place* place, Span* span) noexcept nogil:
    """models.log.readable_bytes: 1 with a place (its size may be 0) and a span, or -errno."""
    cdef size_t segment = log.segments.size() - 1, end_segment = segment
    cdef Stored first, last
    cdef int result, has_first
    place.file = NULL
    place.position = place.size_bytes = span.lies_bytes = 0
    place.base_offset = offset
    has_first = find(log, offset, &segment, &first)
    result = find(log, below, &end_segment, &last)
    if has_first < 0 or result < 0:
        return has_first if has_first < 0 else result
    span.begins, span.ends = log.segments[segment].base_offset, log.segments[end_segment].base_offset
    if has_first == 0 or offset >= below:
        return 1
    cdef int64_t end_position = last.position if result == 1 and end_segment == segment else log.segments[segment].size_bytes
    span.lies_bytes = end_position - first.position
    if first.size_bytes > max_bytes and not whole_first:
        return 1
    cdef int64_t size_bytes = min(span.lies_bytes, max(max_bytes, first.size_bytes))
    if size_bytes < first.size_bytes:
        return 1
    place.file = held(log.segments[segment].file)  # THREAD-FILE-1
    place.position = first.position
    place.size_bytes = size_bytes
    place.base_offset = first.base_offset
    return 1


# Times


cdef int64_t largest_timestamp(Segment* segment) noexcept nogil:
    """The greatest record timestamp, or when the segment was last written if no record has one."""
    return segment.max_timestamp if segment.max_timestamp >= 0 else segment.modified_ms


cdef int64_t position_before_time(Log* log, size_t segment, int64_t timestamp) noexcept nogil:
    """A batch in the segment before which every timestamp is below `timestamp`, by the time index."""
    cdef Segment* where = &log.segments[segment]
    cdef int64_t low = 0, high = where.times.entries, middle
    cdef const uint8_t* entry
    if high == 0 or not is_mapped(log, where, &where.times, b".timeindex", high * TIME_ENTRY_BYTES):
        return 0
    while low < high:
        middle = (low + high) // 2
        if <int64_t>load64(where.times.base + middle * TIME_ENTRY_BYTES) < timestamp:
            low = middle + 1
        else:
            high = middle
    if low == 0:
        return 0
    entry = where.times.base + (low - 1) * TIME_ENTRY_BYTES
    return floor_position(log, where, where.base_offset + <int64_t>load32(entry + 8))


# Retention


cdef size_t deletable(Log* log) noexcept nogil:
    """LOG-RETAIN-2: how many segments, from the first, lie wholly below the high watermark and are not the empty active one."""
    cdef size_t count = 0, last = log.segments.size() - 1
    cdef int64_t upper
    while count <= last:
        upper = log.end if count == last else log.segments[count + 1].base_offset
        if upper > log.high_watermark or (count == last and log.segments[count].size_bytes == 0):
            break
        count += 1
    return count


cdef size_t below_start(Log* log) noexcept nogil:
    """LOG-RETAIN-8: how many segments, from the first, lie wholly below the log start; the active one never."""
    cdef size_t count = 0
    while count + 1 < log.segments.size() and log.segments[count + 1].base_offset <= log.start:
        count += 1
    return count


cdef size_t too_much(Log* log, LogConfig* config) noexcept nogil:
    """LOG-RETAIN-6: how many segments go for their size."""
    cdef size_t count = 0, limit = deletable(log)
    cdef int64_t size_bytes = log.size_bytes
    while config.retention_bytes >= 0 and count < limit and size_bytes - config.retention_bytes >= log.segments[count].size_bytes:
        size_bytes -= log.segments[count].size_bytes
        count += 1
    return count


cdef size_t too_old(Log* log, LogConfig* config, int64_t now) noexcept nogil:
    """LOG-RETAIN-4: how many segments go for their age."""
    cdef size_t count = 0, limit = deletable(log)
    while config.retention_ms >= 0 and count < limit and now - largest_timestamp(&log.segments[count]) > config.retention_ms:
        count += 1
    return count


cdef void drop(Log* log, size_t count) noexcept nogil:
    """LOG-RETAIN-7: without the first `count` segments; their files go with `remove_dropped`. What of them is not on the disk is forced there with what
    follows: a power cut may bring a file back, and behind one that is cut nothing counts."""
    cdef Segment* segment
    cdef size_t index
    if count == 0:
        return
    cdef int64_t kept = log.segments[count].base_offset
    if kept > log.start:
        log.start = kept
    trim_epochs(log, log.start)
    for index in range(count):
        segment = &log.segments[index]
        log.dropped.push_back(Unsynced(NULL, RECORDS, segment.base_offset, segment.size_bytes))
        if segment.is_unsynced:
            log.dropped.back().file = held(segment.file)
        log.size_bytes -= segment.size_bytes
        close_segment(log, segment)
    log.segments.erase(log.segments.begin(), log.segments.begin() + count)


cdef int remove_dropped(Log* log) noexcept nogil:
    """The files of segments that are no more go, from the front, so that a crash leaves a suffix; or -errno."""
    cdef int result = 0
    while result == 0 and not log.dropped.empty():
        log.names += 1
        result = remove_segment(log, log.dropped.front().base_offset)
        if result == 0:
            let_go_dropped(log, &log.dropped.front())
            log.dropped.erase(log.dropped.begin())
    return result


cdef void let_go_dropped(Log* log, Unsynced* one) noexcept nogil:
    """Its records are on the disk, or need not be any more."""
    if one.file != NULL:
        let_go_file(log.files, one.file)
        one.file = NULL


# Syncing and closing


cdef int sync(Log* log) noexcept nogil:
    """What was appended is on the disk when this returns 0."""
    cdef size_t index
    cdef int result
    for index in range(log.segments.size()):
        if log.segments[index].is_unsynced:
            result = opened(log, &log.segments[index])
            if result >= 0:
                result = sync_file(log.files, log.segments[index].file)
            if result < 0:
                return result
            log.segments[index].is_unsynced = False
    log.forced_below = log.end
    return 0


cdef int64_t unflushed(Log* log) noexcept nogil:
    """How many records no sync was asked for."""
    return log.end - log.forced_below


cdef int note_unforced(Log* log, bint all_of_it, int64_t flush_ms, int64_t now, Forcing* forcing) noexcept nogil:
    """What must be forced to the disk so that all of the log is there, or, of the active segment, what has waited for flush.ms; held open. Or -errno."""
    cdef Segment* segment
    cdef size_t index
    cdef bint is_active
    cdef int result = 0
    forcing.folder = log.folder
    forcing.names = log.names if log.names > log.names_forced else 0
    forcing.places = log.end > 0 and not log.is_placed
    forcing.kept_from = log.segments.front().base_offset if log.dropped.empty() else log.dropped.front().base_offset
    for index in range(log.dropped.size()):
        if log.dropped[index].file != NULL:
            held(log.dropped[index].file)
            forcing.files.push_back(log.dropped[index])
    for index in range(log.segments.size()):
        segment = &log.segments[index]
        is_active = index + 1 == log.segments.size()
        if result >= 0 and segment.is_unsynced and (all_of_it or not is_active or now - segment.unsynced_ms >= flush_ms):
            result = opened(log, segment)
            hold(forcing, segment.file, RECORDS, segment, result)
        if result >= 0 and not is_active and not segment.offsets.is_settled:
            result = opened_index(log, segment, &segment.offsets, b".index", True)
            hold(forcing, segment.offsets.file, OFFSETS, segment, result)
        if result >= 0 and not is_active and not segment.times.is_settled:
            result = opened_index(log, segment, &segment.times, b".timeindex", True)
            hold(forcing, segment.times.file, TIMES, segment, result)
    return note_epochs(log, forcing) if result >= 0 and forcing.places else min(result, 0)


cdef void hold(Forcing* forcing, OpenFile* file, What what, Segment* segment, int fd) noexcept nogil:
    """A file of a segment more, if it could be opened."""
    if fd >= 0:
        forcing.files.push_back(Unsynced(held(file), what, segment.base_offset, segment.size_bytes))


cdef int note_epochs(Log* log, Forcing* forcing) noexcept nogil:
    """The file of epochs too, as it was written when the log was empty; or -errno."""
    cdef int fd = log.files.open(log.files.context, epochs_path(log).c_str(), False)
    if fd < 0:
        return fd
    forcing.files.push_back(Unsynced(new OpenFile(fd), EPOCHS, 0, 0))
    return 0


cdef bint has_something(const Forcing* forcing) noexcept nogil:
    """Is anything to be forced?"""
    return not forcing.files.empty() or forcing.names > 0 or forcing.places


cdef int force(Files* files, Forcing* forcing) noexcept nogil:
    """Have it on the disk, and let go of the files; or -errno, and after the first that fails none is tried. For who holds no lock."""
    cdef string above = forcing.folder.substr(0, forcing.folder.rfind(<char>b"/"))
    cdef int result = 0
    cdef size_t index
    for index in range(forcing.files.size()):
        if result == 0:
            result = sync_file(files, forcing.files[index].file)
        let_go_file(files, forcing.files[index].file)
    if result == 0 and (forcing.names > 0 or forcing.places):
        result = files.sync_folder(files.context, forcing.folder.c_str())
    if result == 0 and forcing.places:
        result = files.sync_folder(files.context, above.c_str())
    return result


cdef void let_go_unforced(Files* files, Forcing* forcing) noexcept nogil:
    """It is not forced."""
    cdef size_t index
    for index in range(forcing.files.size()):
        let_go_file(files, forcing.files[index].file)


cdef void note_forced(Log* log, const Forcing* forcing) noexcept nogil:
    """All of it is on the disk."""
    cdef size_t index
    for index in range(forcing.files.size()):
        synced(log, &forcing.files[index])
    log.names_forced = max(log.names_forced, forcing.names)
    log.kept_from = max(log.kept_from, forcing.kept_from)
    log.is_placed = log.is_placed or forcing.places
    unmark_forced(log)


cdef void synced(Log* log, const Unsynced* one) noexcept nogil:
    """A file of a segment was forced to the disk: of records, as many as there were then."""
    cdef Segment* segment
    cdef size_t index
    for index in range(log.segments.size()):
        segment = &log.segments[index]
        if segment.base_offset != one.base_offset:
            continue
        if one.what == RECORDS and segment.size_bytes == one.size_bytes:
            segment.is_unsynced = False
        elif one.what == OFFSETS:
            settled(log, &segment.offsets)
        elif one.what == TIMES:
            settled(log, &segment.times)
    for index in range(log.dropped.size()):
        if one.what == RECORDS and log.dropped[index].base_offset == one.base_offset and log.dropped[index].size_bytes == one.size_bytes:
            let_go_dropped(log, &log.dropped[index])


cdef void forced_to(Log* log, int64_t offset) noexcept nogil:
    """Everything below `offset` was forced to the disk."""
    log.forced_below = max(log.forced_below, min(offset, log.end))


cdef int64_t synced_below(Log* log) noexcept nogil:
    """Below this offset everything is on the disk, by its name and with its indexes, which are settled when a segment is sealed, and at a start and a stop.
    What was dropped may be back after a power cut, and its indexes not."""
    cdef Segment* segment
    cdef size_t index
    if log.kept_from < log.segments.front().base_offset:
        return log.kept_from
    for index in range(log.segments.size()):
        segment = &log.segments[index]
        if segment.is_unsynced or segment.named > log.names_forced or not log.is_placed:
            return segment.base_offset
        if not (segment.offsets.is_settled and segment.times.is_settled):
            return segment.base_offset
    return log.end


cdef void close_index(Log* log, Index* index) noexcept nogil:
    unmap_index(log, index)
    close_index_file(log, index)


cdef void close_index_file(Log* log, Index* index) noexcept nogil:
    if index.fd >= 0:
        let_go_file(log.files, index.file)
        index.fd = -1


cdef void close_segment(Log* log, Segment* segment) noexcept nogil:
    close_index(log, &segment.offsets)
    close_index(log, &segment.times)
    if segment.fd >= 0:
        let_go_file(log.files, segment.file)
        segment.fd = -1


cdef int sync_file(Files* files, OpenFile* file) noexcept nogil:
    """THREAD-COMMIT-4: what was written to the file so far is on the disk; or -errno, from the first failure on."""
    cdef int result
    file.syncing.take()
    if file.failed == 0:
        file.failed = files.sync(files.context, file.fd)
    result = file.failed
    file.syncing.give()
    return result


cdef void let_go_file(Files* files, OpenFile* file) noexcept nogil:
    """THREAD-FILE-2: one who held an open file does so no more; the last one closes it."""
    cdef int fd
    if let_go_of(file, &fd):
        files.close(files.context, fd)


cdef int finish(Log* log) noexcept nogil:
    """Before a clean stop, when all else is on the disk: the active segment's indexes, the epochs, and what is removed. The files of a log that was
    never written to are as they were made."""
    cdef int result = settle(log, &log.segments.back()) if log.end > 0 else 0
    if result == 0 and log.names > log.names_forced:
        result = log.files.sync_folder(log.files.context, log.folder.c_str())
    return result if result < 0 or log.are_epochs_saved or log.end == 0 else save_epochs(log)


cdef void let_go(Log* log) noexcept nogil:
    """Close every file."""
    cdef size_t index
    for index in range(log.segments.size()):
        close_segment(log, &log.segments[index])
    for index in range(log.dropped.size()):
        let_go_dropped(log, &log.dropped[index])


# Loading


cdef int load(Log* log, const char* folder, Files* files, const vector[int64_t]& bases, LogConfig* config, Loading* loading) noexcept nogil:
    """The log of a folder that holds segments with these base offsets, in order. A segment that is trusted is taken for what its indexes say. Any
    other is read through; the log ends before the first batch that is not whole or does not follow, and is on the disk so far."""
    cdef size_t count = 0, index
    cdef int result = 1
    cdef bint is_trusted = True, is_whole = True
    begin(log, folder, files, loading.start, loading.now)
    log.segments.clear()
    while is_whole and count < bases.size():
        if count > 0 and not follows(log, bases[count], is_trusted or (config.compacts and not is_marked(log, bases[count]))):
            break
        is_trusted = (bases[count + 1] if count + 1 < bases.size() else EVERYTHING) <= loading.trusted_below
        result = load_segment(log, bases[count], is_trusted, config, loading)
        if result < 0:
            return result
        is_whole = result == 1
        count += 1
    if log.segments.empty() or log.end < loading.start:  # what was lost is not numbered again
        let_go(log)
        result = discard(log, bases, 0)
        begin(log, folder, files, loading.start, loading.now)
        return result if result < 0 else make_first_segment(log)
    result = discard(log, bases, count)
    if result == 0 and not is_whole:
        result = log.files.truncate(log.files.context, log.segments.back().fd, log.segments.back().size_bytes)
    if result == 0:
        result = sync(log)
    for index in range(log.segments.size()):  # the active one too, as Kafka does it; it grows again
        if result == 0 and log.end > 0:
            result = settle(log, &log.segments[index])
            unmark(log, log.segments[index].base_offset)
    log.high_watermark = log.end
    log.kept_from = log.segments.front().base_offset
    log.start = max(log.kept_from, loading.start)
    log.is_placed = log.end > 0  # who loads forces the folder above, for all logs at once
    return result


cdef bint follows(Log* log, int64_t offset, bint may_skip) noexcept nogil:
    """May a batch, or a segment, begin at `offset`? Only compaction leaves gaps."""
    return offset == log.end or (may_skip and offset > log.end)


cdef int discard(Log* log, const vector[int64_t]& bases, size_t kept) noexcept nogil:
    """Without the segments behind the first `kept`. From the back, so that a crash leaves a prefix; for good, before others take their place."""
    cdef size_t index = bases.size()
    if index == kept:
        return 0
    while index > kept:
        index -= 1
        remove_segment(log, bases[index])
    return log.files.sync_folder(log.files.context, log.folder.c_str())


cdef int load_segment(Log* log, int64_t base_offset, bint is_trusted, LogConfig* config, Loading* loading) noexcept nogil:
    """One more segment: 1 if it is whole, 0 if there is more in its file than belongs to it; -errno. log.end is where it ends."""
    log.segments.push_back(new_segment(base_offset, loading.now))
    cdef Segment* segment = &log.segments.back()
    cdef int fd = opened(log, segment)
    if fd < 0:
        return fd
    cdef int64_t size_bytes = log.files.size(log.files.context, fd)
    if size_bytes < 0:
        return <int>size_bytes
    log.end = base_offset
    cdef int result = 1
    if is_trusted and take_indexes(log, segment, size_bytes):
        loading.on_read(loading.context, size_bytes)
    else:
        result = read_through(log, segment, size_bytes, config, loading)
    log.size_bytes += segment.size_bytes
    return result


cdef bint take_indexes(Log* log, Segment* segment, int64_t size_bytes) noexcept nogil:
    """Take the segment for what its indexes say, if they are there, of whole entries, and the last one of each fits the batches."""
    cdef Stored batch
    cdef int64_t position = 0
    cdef uint8_t[OFFSET_ENTRY_BYTES] last_batch
    cdef uint8_t[TIME_ENTRY_BYTES] last_time
    segment.size_bytes = size_bytes
    if not take_entries(log, segment, &segment.offsets, b".index", OFFSET_ENTRY_BYTES, last_batch):
        return False
    if not take_entries(log, segment, &segment.times, b".timeindex", TIME_ENTRY_BYTES, last_time):
        return False
    if size_bytes == 0:
        return segment.offsets.entries == 0 and segment.times.entries == 0
    if header_at(log, segment, 0, &batch) != 1:
        return False
    segment.first_timestamp = batch.max_timestamp
    if segment.offsets.entries > 0:
        position = load32(last_batch + 4)
        if header_at(log, segment, position, &batch) != 1 or batch.last_offset != segment.base_offset + <int64_t>load32(last_batch):
            return False
    segment.bytes_since_index_entry = size_bytes - position
    while position < size_bytes:
        if header_at(log, segment, position, &batch) != 1 or batch.size_bytes < HEADER_BYTES or position + batch.size_bytes > size_bytes:
            return False
        position += batch.size_bytes
    if segment.times.entries > 0:
        segment.max_timestamp = segment.indexed_timestamp = <int64_t>load64(last_time)
        segment.max_timestamp_offset = segment.base_offset + <int64_t>load32(last_time + 8)
        if segment.max_timestamp_offset > batch.last_offset:
            return False
    if segment.max_timestamp < segment.first_timestamp:
        return False
    log.end = batch.last_offset + 1
    segment.modified_ms = log.files.modified_ms(log.files.context, segment.fd)
    return True


cdef bint take_entries(Log* log, Segment* segment, Index* index, const char* suffix, int64_t entry_bytes, uint8_t* last) noexcept nogil:
    """Take the index's file for the index, the last entry copied; False if it is not there, or is not of whole entries."""
    index.fd = log.files.open(log.files.context, path_of(log, segment.base_offset, suffix).c_str(), False)
    if index.fd < 0:
        return False
    cdef int64_t size_bytes = log.files.size(log.files.context, index.fd)
    index.entries = size_bytes // entry_bytes
    index.is_settled = size_bytes >= 0 and size_bytes % entry_bytes == 0
    if index.is_settled and size_bytes > 0:
        index.is_settled = log.files.read_at(log.files.context, index.fd, last, entry_bytes, size_bytes - entry_bytes) == entry_bytes
    log.files.close(log.files.context, index.fd)
    index.fd = -1
    return index.is_settled


cdef int read_through(Log* log, Segment* segment, int64_t size_bytes, LogConfig* config, Loading* loading) noexcept nogil:
    """Take batches as long as they are sound and make the indexes anew, which `settle` puts in their place: 1 if that is all there is, 0 if something is
    behind them, -errno."""
    cdef int64_t position = 0, capacity = READ_BYTES, told_bytes = 0
    cdef uint8_t* data = <uint8_t*>malloc(capacity)
    cdef Stored batch
    cdef int result = -ENOMEM if data == NULL else 1
    batch.size_bytes = batch.last_offset = batch.max_timestamp = 0  # the compiler does not see that they are read first
    segment.size_bytes = segment.bytes_since_index_entry = 0
    close_index(log, &segment.offsets)
    close_index(log, &segment.times)
    segment.offsets, segment.times = no_index(), no_index()
    segment.offsets.is_rebuilt = segment.times.is_rebuilt = True
    segment.max_timestamp = segment.indexed_timestamp = segment.first_timestamp = NO_TIMESTAMP
    segment.max_timestamp_offset = segment.base_offset
    segment.modified_ms = log.files.modified_ms(log.files.context, segment.fd)
    segment.is_unsynced = True
    while result == 1 and position < size_bytes:
        result = sound_batch(log, segment, position, size_bytes, config.compacts, &data, &capacity, &batch)
        if result == 1:
            grow(log, segment, position, batch.size_bytes, batch.last_offset, batch.max_timestamp, config, segment.modified_ms)
            log.end = batch.last_offset + 1
            position += batch.size_bytes
        if position - told_bytes >= TOLD_BYTES:
            loading.on_read(loading.context, position - told_bytes)
            told_bytes = position
    free(data)
    if segment.size_bytes == 0:  # there is nothing to settle
        segment.offsets.is_rebuilt = segment.times.is_rebuilt = False
    loading.on_read(loading.context, size_bytes - told_bytes)
    return result


cdef int sound_batch(
    Log* log, Segment* segment, int64_t position, int64_t size_bytes, bint may_skip, uint8_t** data, int64_t* capacity, Stored* batch
) noexcept nogil:
    """Is there a whole batch at `position`, that may follow what is before it: 1, or 0; -errno. It is read into `data`, which grows."""
    cdef uint8_t* larger
    cdef int64_t got
    if size_bytes - position < HEADER_BYTES:
        return 0
    got = log.files.read_at(log.files.context, segment.fd, data[0], HEADER_BYTES, position)
    if got != HEADER_BYTES:
        return <int>got if got < 0 else -EIO
    take_header(data[0], position, batch)
    if data[0][MAGIC_AT] != MAGIC or batch.size_bytes < HEADER_BYTES or position + batch.size_bytes > size_bytes:
        return 0
    if not follows(log, batch.base_offset, may_skip) or batch.last_offset < batch.base_offset:
        return 0
    if batch.size_bytes > capacity[0]:
        larger = <uint8_t*>realloc(data[0], batch.size_bytes)
        if larger == NULL:
            return -ENOMEM
        data[0], capacity[0] = larger, batch.size_bytes
    got = log.files.read_at(log.files.context, segment.fd, data[0], batch.size_bytes, position)
    if got != batch.size_bytes:
        return <int>got if got < 0 else -EIO
    return load32(data[0] + 17) == checksum(0, data[0] + 21, batch.size_bytes - 21)


cdef int remove_segment(Log* log, int64_t base_offset) noexcept nogil:
    """The files of a segment go; the log last, so that no index is left without one; or -errno."""
    cdef int result
    log.files.remove(log.files.context, path_of(log, base_offset, b".index").c_str())
    log.files.remove(log.files.context, path_of(log, base_offset, b".timeindex").c_str())
    result = log.files.remove(log.files.context, path_of(log, base_offset, b".log").c_str())
    unmark(log, base_offset)
    return 0 if result == -ENOENT else result  # somebody else was quicker


cdef int each_header(Log* log, int64_t offset, OnHeader on_header, void* context) noexcept nogil:
    """Call with the header of every batch that ends at or beyond `offset`, in order."""
    cdef size_t segment = 0
    cdef Stored batch
    cdef uint8_t[HEADER_BYTES] header
    cdef int result = find(log, offset, &segment, &batch)
    cdef int64_t position = batch.position if result == 1 else 0
    if result <= 0:
        return result
    while segment < log.segments.size():
        while position < log.segments[segment].size_bytes:
            if log.files.read_at(log.files.context, opened(log, &log.segments[segment]), header, HEADER_BYTES, position) != HEADER_BYTES:
                return -EIO
            take_header(header, position, &batch)
            on_header(context, header)
            position += batch.size_bytes
        segment += 1
        position = 0
    return 0


# Leader epochs on the disk


cdef string epochs_path(Log* log) noexcept nogil:
    cdef string path = log.folder
    path.append(<const char*>b"/leader-epoch-checkpoint")
    return path


cdef int save_epochs(Log* log) noexcept nogil:
    """The epochs in their file, on the disk, with whatever else was made or removed in the folder. Those of a log that holds nothing are only written:
    most of many logs are never written to, and the metadata log has all that they are."""
    cdef string text = epochs_text(log)
    cdef const uint8_t* data = <const uint8_t*>text.data()
    cdef int result
    if log.end == 0:
        result = write_file(log.files, epochs_path(log), data, text.size(), False)
    else:
        result = replace_file(log.files, epochs_path(log), data, text.size())
        if result == 0:
            result = log.files.sync_folder(log.files.context, log.folder.c_str())
    log.are_epochs_saved = result == 0
    return result


cdef string epochs_text(Log* log) noexcept nogil:
    """Kafka's file: version, count, and a line for each epoch."""
    cdef char[64] line
    cdef string text
    cdef size_t index
    snprintf(line, sizeof(line), b"0\n%zu\n", log.epochs.size())
    text.append(<const char*>line)
    for index in range(log.epochs.size()):
        snprintf(line, sizeof(line), b"%d %lld\n", log.epochs[index].epoch, <long long>log.epochs[index].start_offset)
        text.append(<const char*>line)
    return text


cdef int load_epochs(Log* log, int32_t leader_epoch) noexcept nogil:
    """The epochs from their file, as far as they lie between log start and end; none if there is no such file, or if it is of no use. -errno if it cannot be
    read. `leader_epoch`: that begins now."""
    cdef int fd = log.files.open(log.files.context, epochs_path(log).c_str(), False)
    cdef int64_t size_bytes, got
    cdef vector[char] text
    log.epochs.clear()
    if fd < 0:
        return 0 if fd == -ENOENT else fd
    size_bytes = max(<int64_t>0, log.files.size(log.files.context, fd))
    text.resize(size_bytes + 1)
    got = log.files.read_at(log.files.context, fd, <uint8_t*>text.data(), size_bytes, 0)
    log.files.close(log.files.context, fd)
    if got != size_bytes:
        return <int>got if got < 0 else -EIO
    text[size_bytes] = 0
    if not take_epochs(log, text.data()) or is_older_than_batches(log, leader_epoch):
        log.epochs.clear()
    trim_epochs(log, log.start)
    return 0


cdef bint is_older_than_batches(Log* log, int32_t leader_epoch) noexcept nogil:
    """Was the file written by a start before the one that appended the first batch? A power cut can have left it so."""
    cdef Stored batch
    if log.segments.front().base_offset != 0 or log.segments.front().size_bytes == 0 or log.epochs.empty():
        return False
    if log.epochs.back().start_offset > 0 or header_at(log, &log.segments.front(), 0, &batch) != 1:
        return False
    return log.epochs.back().epoch < batch.leader_epoch < leader_epoch


cdef bint take_epochs(Log* log, char* at) noexcept nogil:
    """The entries of a file's text that do not begin beyond the log end; False if it is not of the form."""
    cdef EpochStart entry
    cdef int64_t version = 0, count = 0, epoch = 0, offset = 0
    if not take_number(&at, &version) or not take_number(&at, &count):
        return False
    while count > 0:
        if not take_number(&at, &epoch) or not take_number(&at, &offset):
            return False
        entry.epoch = <int32_t>epoch
        entry.start_offset = offset
        if offset <= log.end:
            log.epochs.push_back(entry)
        count -= 1
    return True


cdef bint take_number(char** at, int64_t* number) noexcept nogil:
    """The next number of a text, if there is one."""
    cdef char* end = at[0]
    number[0] = strtoll(at[0], &end, 10)
    if end == at[0]:
        return False
    at[0] = end
    return True


cdef void learn_epoch(Log* log, int32_t epoch, int64_t offset) noexcept nogil:
    """A batch of this epoch lies at `offset`: if the epoch is newer than all that are known, it began there."""
    cdef EpochStart entry
    if log.epochs.empty() or epoch > log.epochs.back().epoch:
        entry.epoch = epoch
        entry.start_offset = max(offset, log.start)
        log.epochs.push_back(entry)
