# distutils: language = c++
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Looking up topics and partitions. The models' topics are the truth; this is what the hot path knows of them."""

from libc.stdint cimport int32_t, uint8_t, uint32_t
from libcpp.string cimport string
from libcpp.unordered_map cimport unordered_map

from fiducial.fastpath.bigendian cimport store32
from fiducial.fastpath.wire cimport UUID_BYTES, Span


cdef string key_of(const string& topic_id, int32_t index) noexcept nogil:
    """The key of a partition."""
    cdef char[4] number
    cdef string key = topic_id
    store32(<uint8_t*>number, <uint32_t>index)
    key.append(<const char*>number, 4)
    return key


cdef Partition* partition_of(Table* table, const string& topic_id, int32_t index) noexcept nogil:
    """The partition, or NULL."""
    cdef string key = key_of(topic_id, index)
    if table.partitions.count(key) == 0:
        return NULL
    return table.partitions[key]


cdef string text_of(Span span) noexcept nogil:
    """The text of a span; a null is as good as empty."""
    cdef string text
    if span.size > 0:
        text.assign(<const char*>span.data, span.size)
    return text


cdef string id_from(const uint8_t* topic_id) noexcept nogil:
    """16 bytes."""
    cdef string text
    text.assign(<const char*>topic_id, UUID_BYTES)
    return text


cdef string no_id() noexcept nogil:
    """The id of nothing."""
    cdef string text
    text.assign(UUID_BYTES, 0)
    return text


cdef string id_named(Table* table, const string& name) noexcept nogil:
    """The id of the topic of this name."""
    return table.ids[name] if table.ids.count(name) else no_id()


cdef bint is_identified(Table* table, const string& topic_id) noexcept nogil:
    """Has a topic this id?"""
    return table.names.count(topic_id) > 0


cdef Span span_of(const string& text) noexcept nogil:
    """A text as a span, while the text stays where it is."""
    cdef Span span
    span.data = <const uint8_t*>text.data()
    span.size = <int32_t>text.size()
    return span
