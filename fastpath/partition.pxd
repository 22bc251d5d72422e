"""One partition that this broker leads: its log, its producers, and who waits for it. The twin of `models/partition.py`."""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t
from libcpp.string cimport string
from libcpp.vector cimport vector

from fiducial.fastpath.batch cimport Batch, Buffer, Codecs, Limits, Refusal
from fiducial.fastpath.files cimport Files
from fiducial.fastpath.log cimport Loading, Log, LogConfig, Place, Span
from fiducial.fastpath.producers cimport Producers

cdef cppclass Partition:
    string topic_id  # 16 bytes
    string topic
    int32_t index
    int32_t leader_epoch
    Log log
    LogConfig config
    Producers producers
    vector[int64_t] saved  # the offsets of which there are files of the producers, rising
    bint are_saved  # the newest of them holds the producers as they are

cdef struct Work:  # what appends share: who packs and unpacks, room to do it in, and whether the disk still takes anything
    int storage_error  # -errno of the file operation that took the log directory offline, 0 while it is fine
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
    int file_error  # -errno of the file operation that failed

cdef struct Read:
    int16_t error
    bint diverges
    bint has_left_out  # the first batch, since it does not fit
    int32_t diverging_epoch
    int64_t diverging_end
    int file_error
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

cdef struct Found:
    int16_t error
    int64_t offset
    int64_t timestamp
    int32_t leader_epoch
    int file_error

cdef void produce(Partition* partition, Batch* batch, Work* work, int64_t now, Produced* produced) noexcept nogil
cdef void fetch(Partition* partition, Asked* asked, Read* read) noexcept nogil
cdef void look_up(
    Partition* partition, int64_t timestamp, int isolation, int32_t replica_id, int32_t current_leader_epoch, Work* work, Found* found
) noexcept nogil
cdef void commit(Partition* partition) noexcept nogil
cdef int retain(Partition* partition, int64_t now) noexcept nogil
cdef void expire(Partition* partition, int64_t expiration_ms, int64_t now) noexcept nogil
cdef void begin(Partition* partition, const char* folder, Files* files, int32_t leader_epoch, int64_t now) noexcept nogil
cdef int load(
    Partition* partition, const char* folder, Files* files, const vector[int64_t]& bases, const vector[int64_t]& snapshots, Loading* loading
) noexcept nogil
cdef int finish(Partition* partition) noexcept nogil
cdef int64_t stable_offset(Partition* partition) noexcept nogil
cdef Limits limits_of(LogConfig* config) noexcept nogil
