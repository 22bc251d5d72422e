"""What there is: topics by name and id, their partitions, and the settings that hot requests ask for."""

from libc.stdint cimport int32_t, int64_t, uint8_t
from libcpp.string cimport string
from libcpp.unordered_map cimport unordered_map

from fiducial.fastpath.partition cimport Partition
from fiducial.fastpath.threads cimport Gate, Shared
from fiducial.fastpath.wire cimport Span

cdef cppclass Table:
    Gate gate  # held while looking; closed while topics or partitions come or go
    Shared storage_error  # -errno of the file operation that took the log directory offline, 0 while it is fine
    unordered_map[string, string] ids  # by name
    unordered_map[string, string] names  # by id
    unordered_map[string, Partition*] partitions  # by key: the topic's id and the index
    int64_t fetch_max_bytes
    int64_t session_slots
    int32_t broker_id
    string host
    int32_t port
    bint has_rack
    string rack

cdef string key_of(const string& topic_id, int32_t index) noexcept nogil
cdef Partition* partition_of(Table* table, const string& topic_id, int32_t index) noexcept nogil  # NULL: there is none
cdef string text_of(Span span) noexcept nogil
cdef string id_from(const uint8_t* topic_id) noexcept nogil
cdef string no_id() noexcept nogil  # 16 zeros
cdef string id_named(Table* table, const string& name) noexcept nogil  # 16 zeros: there is no such topic
cdef bint is_identified(Table* table, const string& topic_id) noexcept nogil
cdef Span span_of(const string& text) noexcept nogil
