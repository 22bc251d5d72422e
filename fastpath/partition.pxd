"""One partition that this broker leads: its log, its producers, and how many wait for it. The twin of `models/partition.py`.

What stands under "transitions" takes the partition's lock for itself; the rest is for who holds it, or for who is alone with the partition.
"""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t
from libcpp.string cimport string
from libcpp.vector cimport vector

from fiducial.fastpath.batch cimport Batch, Buffer, Codecs, Limits, Refusal
from fiducial.fastpath.files cimport Files
from fiducial.fastpath.keys cimport Key, TopicId
from fiducial.fastpath.log cimport Forcing, Loading, Log, LogConfig, Place, Span, Unsynced
from fiducial.fastpath.producers cimport Producer, Producers
from fiducial.fastpath.threads cimport Lock, Shared

cdef enum Kind:  # of transitions
    BEGIN
    PRODUCE
    FETCH
    LOOK_UP
    COMMIT
    RETAIN
    EXPIRE
    RAISE_START
    CONFIGURE

cdef cppclass Transition:  # one that happened, for whoever asks the model the same
    Kind kind
    int64_t now
    string data  # a batch, as it was sent
    vector[int64_t] asked
    vector[int64_t] came  # what came of it

cdef cppclass Partition:
    Lock lock
    TopicId topic_id
    string topic
    int32_t index
    int32_t leader_epoch
    Log log
    LogConfig config
    int64_t config_version  # how often it was set
    int64_t watchers  # how many fetches wait for it
    vector[Transition]* transitions  # NULL: nobody wants to know
    Producers producers
    vector[int64_t] saved  # the offsets of which there are files of the producers on the disk, rising
    vector[Unsynced] unsaved  # such files that were written since, in order
    bint are_saved  # the newest of all these holds the producers as they are

cdef struct Work:  # what appends share: who packs and unpacks, room to do it in, and whether the disk still takes anything
    Shared* storage_error  # -errno of the file operation that took the log directory offline, 0 while it is fine
    Codecs codecs
    Buffer unpacked
    Buffer scratch
    Buffer rebuilt

cdef struct Produced:
    int16_t error
    Refusal refusal  # by the batch's own ladder; NOT_REFUSED for any other refusal
    bint is_duplicate
    int64_t base_offset
    int64_t append_time_ms  # -1: the producer's own times stand
    int64_t log_start
    int64_t high_watermark
    int64_t end  # of the log
    bint is_due  # readers may not see it, nor may anybody be told, before it was forced to the disk
    bint is_watched  # somebody waits for it
    int file_error  # -errno of the file operation that failed

cdef cppclass Coming:  # a batch on its way into a partition, and what comes of it
    Key key
    Partition* partition  # NULL: it is gone
    size_t number  # of those that wait to be appended with it
    Batch batch
    uint8_t* data  # what is stored: its bytes, or those of another codec, which are good until the next is judged
    int64_t size_bytes
    int64_t max_timestamp
    LogConfig config  # under which it is judged
    int64_t config_version
    bint is_remembered  # by its producer, of whom this was known before
    bint was_known
    Producer known
    Produced produced

cdef struct Read:
    int16_t error
    bint diverges
    bint has_left_out  # the first batch, since it does not fit
    int32_t diverging_epoch
    int64_t diverging_end
    int file_error
    int64_t high_watermark
    int64_t stable_offset
    int64_t log_start
    int32_t leader_epoch
    Place place
    Span span

cdef struct Asked:  # models.partition.Fetch
    int64_t offset
    int64_t max_bytes
    int isolation
    bint whole_first
    int32_t replica_id
    int32_t current_leader_epoch
    int32_t last_fetched_epoch

cdef struct Ahead:  # a batch whose records are unpacked in the work's room, or that is wanted there: then what was found says nothing
    bint is_there
    bint is_wanted
    int64_t base_offset
    Batch batch

cdef struct Found:
    int16_t error
    int64_t offset
    int64_t timestamp
    int32_t leader_epoch
    int file_error

# Transitions
cdef void take_config(Partition* partition, Coming* coming) noexcept nogil
cdef bint changes_codec(Coming* coming) noexcept nogil
cdef void judge(Coming* coming, Work* work, int64_t now) noexcept nogil
cdef void produce_alone(Partition* partition, Coming* coming, Work* work, int64_t now) noexcept nogil
cdef void produce(Partition* partition, Coming** row, size_t count, Work* work, int64_t now) noexcept nogil  # what was judged, in one write
cdef void fetch(Partition* partition, Asked* asked, bint will_wait, int64_t now, Read* read) noexcept nogil
cdef void watched_no_more(Partition* partition) noexcept nogil
cdef void look_up(
    Partition* partition, int64_t timestamp, int isolation, int32_t replica_id, int32_t current_leader_epoch, Work* work, int64_t now, Ahead* ahead, Found* found
) noexcept nogil
cdef int note_due(Partition* partition, Forcing* forcing, int64_t* end) noexcept nogil
cdef int note_old(Partition* partition, int64_t now, Forcing* forcing) noexcept nogil
cdef bint forced(Partition* partition, const Forcing* forcing, int64_t end, int64_t now) noexcept nogil
cdef int forced_old(Partition* partition, const Forcing* forcing) noexcept nogil
cdef int retain(Partition* partition, int64_t now) noexcept nogil
cdef bint lingers(Partition* partition) noexcept nogil
cdef void expire(Partition* partition, int64_t expiration_ms, int64_t now) noexcept nogil
cdef void raise_start(Partition* partition, int64_t offset, int64_t now) noexcept nogil
cdef void configure(Partition* partition, const LogConfig& config, int64_t now) noexcept nogil
cdef void note_begin(Partition* partition) noexcept nogil  # for who holds the lock
cdef int64_t copied_config(Partition* partition, LogConfig* config) noexcept nogil

# Alone
cdef void begin(Partition* partition, const char* folder, Files* files, int32_t leader_epoch, int64_t now) noexcept nogil
cdef int load(
    Partition* partition, const char* folder, Files* files, const vector[int64_t]& bases, const vector[int64_t]& snapshots, Loading* loading
) noexcept nogil
cdef int finish(Partition* partition) noexcept nogil
cdef void close(Partition* partition) noexcept nogil
cdef Limits limits_of(LogConfig* config) noexcept nogil
