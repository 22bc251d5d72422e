"""What there is: topics by name and id, their partitions, and the settings that hot requests ask for."""

from libc.stdint cimport int32_t, int64_t
from libcpp.string cimport string
from libcpp.string_view cimport string_view
from libcpp.unordered_map cimport unordered_map
from libcpp.vector cimport vector

from fiducial.fastpath.keys cimport Key, TopicId
from fiducial.fastpath.partition cimport Partition
from fiducial.fastpath.threads cimport Gate, Shared
from fiducial.fastpath.wire cimport Span

cdef cppclass Endpoint:  # where clients find this broker that come by one of its listeners
    string host
    int32_t port

cdef cppclass Table:
    Gate gate  # held while looking; closed while topics or partitions come or go
    Shared storage_error  # -errno of the file operation that took the log directory offline, 0 while it is fine
    unordered_map[TopicId, string] names
    unordered_map[string_view, TopicId] ids  # by the names above, where they lie
    unordered_map[Key, Partition*] partitions  # by their topics' ids
    int64_t fetch_max_bytes
    int64_t session_slots
    int32_t broker_id
    vector[Endpoint] endpoints  # by listener
    bint has_rack
    string rack

cdef Key key_of(const Partition* partition) noexcept nogil
cdef Partition* partition_at(Table* table, const Key& key) noexcept nogil  # NULL: there is none
cdef Partition* partition_of(Table* table, const TopicId& topic_id, int32_t index) noexcept nogil  # NULL: there is none
cdef TopicId id_named(Table* table, string_view name) noexcept nogil  # of nothing: there is no such topic
cdef string_view name_of(Table* table, const TopicId& topic_id) noexcept nogil  # empty: no topic has this id
cdef void name_topic(Table* table, const TopicId& topic_id, const string& name) noexcept nogil  # for who has closed the gate
cdef void forget_topic(Table* table, const TopicId& topic_id) noexcept nogil  # the same
cdef string_view text_of(Span span) noexcept nogil  # a null is as good as empty
cdef Span span_of(string_view text) noexcept nogil
