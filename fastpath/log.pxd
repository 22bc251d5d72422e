"""One log on disk, in Kafka's format: segments with their indexes, the marks, the leader epochs. Offsets, bytes and ms throughout.

Where a function returns int it is 0, or -errno of the file operation that failed; a failed append leaves the log as it was.
"""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t
from libcpp.string cimport string
from libcpp.vector cimport vector

from fiducial.fastpath.files cimport Files, Part
from fiducial.fastpath.threads cimport OpenFile

cdef struct LogConfig:  # models.log.LogConfig; compression -1: as it was sent
    int64_t max_message_bytes
    int64_t segment_bytes
    int64_t segment_ms
    int64_t segment_index_bytes
    int64_t index_interval_bytes
    int64_t retention_ms
    int64_t retention_bytes
    int64_t timestamp_before_max_ms
    int64_t timestamp_after_max_ms
    int64_t flush_messages
    int64_t flush_ms
    int compression
    int compression_level
    bint deletes
    bint compacts
    bint append_time

cdef struct Index:  # a file of fixed-size entries, mapped when somebody looks something up
    int fd  # -1 until it is needed
    OpenFile* file
    const uint8_t* base
    int64_t mapped_bytes
    int64_t entries
    bint is_settled  # the file holds the entries and nothing else, on the disk
    bint is_rebuilt  # the file is made anew, under another name until it is settled: nobody shall trust a part of it

cdef struct Segment:
    int64_t base_offset
    int64_t created_ms
    int64_t size_bytes
    int64_t first_timestamp  # of its first batch
    int64_t max_timestamp
    int64_t max_timestamp_offset  # the last offset of the first batch that has it
    int64_t modified_ms
    int64_t indexed_timestamp
    int64_t bytes_since_index_entry
    Index offsets
    Index times
    int fd  # -1 until it is needed
    OpenFile* file  # NULL until then: others may hold it longer than the segment is there
    bint is_unsynced
    int64_t unsynced_ms  # since when
    int64_t named  # with which change of names in the folder it began
    bint is_marked  # by a file: it was begun before all that is before it was on the disk

cdef struct EpochStart:
    int32_t epoch
    int64_t start_offset

cdef struct Stored:  # what is read of a batch in the log
    int64_t base_offset
    int64_t last_offset
    int64_t position
    int64_t size_bytes
    int64_t max_timestamp
    int32_t leader_epoch
    int16_t attributes

cdef enum What:  # a file holds
    RECORDS
    OFFSETS
    TIMES
    EPOCHS
    PRODUCERS

cdef struct Unsynced:  # a file that is to be forced to the disk
    OpenFile* file  # held
    What what
    int64_t base_offset  # of its segment; of producers, the offset
    int64_t size_bytes  # of records: as many as there were then

cdef cppclass Forcing:  # what of one log is to be forced to the disk, as it was at one moment
    vector[Unsynced] files
    string folder
    int64_t names  # so many changes of names in the folder are to be there; 0: they are
    bint places  # the name of the folder too
    int64_t kept_from  # where the oldest segment begins then

cdef struct Place:  # bytes of a segment
    OpenFile* file  # held, if there are any
    int64_t position
    int64_t size_bytes
    int64_t base_offset

cdef struct Span:  # of a read: what there is, whatever of it is returned
    int64_t lies_bytes  # from its first batch to the end of the segment, or of what may be read
    int64_t begins  # the base offset of the segment that the offset lies in
    int64_t ends  # and of the one in which what may be read ends

cdef cppclass Log:
    string folder
    Files* files
    int64_t start
    int64_t high_watermark
    int64_t end
    int64_t size_bytes
    int64_t forced_below  # an offset: no sync was asked for of what lies behind it
    vector[Segment] segments  # the last one is active; never empty
    vector[EpochStart] epochs
    bint are_epochs_saved  # as they are, in their file
    bint is_placed  # the folder's name is on the disk, and the epochs that the first batch found
    int64_t names  # so many times the names in the folder have changed
    int64_t names_forced  # so many of these changes are on the disk
    int64_t kept_from  # an offset: where the oldest segment begins that a power cut may leave
    vector[Unsynced] dropped  # segments that are no more, but for their files; one whose records are not on the disk yet is held open
    vector[Part] parts  # that were put behind the active segment, and are written out before anybody else may look
    Segment written  # the active segment, and the marks, as far as it is written
    int64_t written_end
    int64_t written_bytes
    Stored newest  # the first batch of those that were put last: who reads at the log end wants it. Meaningless beyond the log end

ctypedef void (*OnHeader)(void* context, const uint8_t* header) noexcept nogil
ctypedef void (*OnRead)(void* context, int64_t size_bytes) noexcept nogil

cdef struct Loading:  # how a log that is there is taken up
    int64_t start  # as it was last written down
    int64_t trusted_below  # an offset: what lies below was forced to the disk, with its indexes; EVERYTHING after a clean stop
    int32_t leader_epoch  # that begins now, if the log knows of none so late
    OnRead on_read  # told of the bytes that were read through, from time to time
    void* context
    int64_t now

cdef int64_t EVERYTHING

cdef void begin(Log* log, const char* folder, Files* files, int64_t offset, int64_t now) noexcept nogil
cdef int opened(Log* log, Segment* segment) noexcept nogil
cdef int make_first_segment(Log* log) noexcept nogil
cdef bint must_roll(Log* log, int64_t size_bytes, int64_t max_timestamp, int64_t count, LogConfig* config, int64_t now) noexcept nogil
cdef int roll(Log* log, int64_t now) noexcept nogil
cdef int append(Log* log, const uint8_t* batch, int64_t size_bytes, int64_t count, int64_t max_timestamp, LogConfig* config, int64_t now) noexcept nogil
cdef int put(Log* log, const uint8_t* batch, int64_t size_bytes, int64_t count, int64_t max_timestamp, LogConfig* config, int64_t now) noexcept nogil
cdef int write_out(Log* log) noexcept nogil
cdef void raise_high_watermark(Log* log, int64_t candidate) noexcept nogil
cdef void raise_start(Log* log, int64_t offset) noexcept nogil
cdef void begin_epoch(Log* log, int32_t epoch) noexcept nogil
cdef int32_t epoch_at(Log* log, int64_t offset) noexcept nogil
cdef void end_offset_for_epoch(Log* log, int32_t epoch, int32_t* known, int64_t* end_offset) noexcept nogil
cdef int find(Log* log, int64_t offset, size_t* segment, Stored* found) noexcept nogil  # 1: found, 0: there is none
cdef int readable(Log* log, int64_t offset, int64_t below, int64_t max_bytes, bint whole_first, Place* place, Span* span) noexcept nogil
cdef int64_t largest_timestamp(Segment* segment) noexcept nogil
cdef int next_batch(Log* log, size_t segment, int64_t position, Stored* found) noexcept nogil  # 1: found, 0: the segment's end
cdef int64_t position_before_time(Log* log, size_t segment, int64_t timestamp) noexcept nogil
cdef size_t below_start(Log* log) noexcept nogil
cdef size_t too_much(Log* log, LogConfig* config) noexcept nogil
cdef size_t too_old(Log* log, LogConfig* config, int64_t now) noexcept nogil
cdef void drop(Log* log, size_t count) noexcept nogil
cdef int remove_dropped(Log* log) noexcept nogil
cdef int sync(Log* log) noexcept nogil
cdef int64_t unflushed(Log* log) noexcept nogil
cdef int note_unforced(Log* log, bint all_of_it, int64_t flush_ms, int64_t now, Forcing* forcing) noexcept nogil
cdef bint has_something(const Forcing* forcing) noexcept nogil
cdef int force(Files* files, Forcing* forcing) noexcept nogil
cdef void let_go_unforced(Files* files, Forcing* forcing) noexcept nogil
cdef void note_forced(Log* log, const Forcing* forcing) noexcept nogil
cdef void forced_to(Log* log, int64_t offset) noexcept nogil
cdef int sync_file(Files* files, OpenFile* file) noexcept nogil
cdef void let_go_file(Files* files, OpenFile* file) noexcept nogil
cdef int64_t synced_below(Log* log) noexcept nogil
cdef int finish(Log* log) noexcept nogil
cdef void close_segment(Log* log, Segment* segment) noexcept nogil
cdef void let_go(Log* log) noexcept nogil
cdef int load(Log* log, const char* folder, Files* files, const vector[int64_t]& bases, LogConfig* config, Loading* loading) noexcept nogil
cdef int each_header(Log* log, int64_t offset, OnHeader on_header, void* context) noexcept nogil
cdef void learn_epoch(Log* log, int32_t epoch, int64_t offset) noexcept nogil
cdef int save_epochs(Log* log) noexcept nogil
cdef int load_epochs(Log* log, int32_t leader_epoch) noexcept nogil
