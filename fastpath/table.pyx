# distutils: language = c++
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Looking up topics and partitions. The models' topics are the truth; this is what the hot path knows of them."""

from cython.operator cimport dereference
from libc.stdint cimport int32_t, uint8_t
from libcpp.string cimport string
from libcpp.string_view cimport string_view
from libcpp.unordered_map cimport unordered_map

from fiducial.fastpath.wire cimport Span


cdef Key key_of(const Partition* partition) noexcept nogil:
    """What it is looked up by."""
    return Key(partition.topic_id, partition.index)


cdef Partition* partition_at(Table* table, const Key& key) noexcept nogil:
    """The partition, or NULL."""
    cdef unordered_map[Key, Partition*].iterator found = table.partitions.find(key)
    return dereference(found).second if found != table.partitions.end() else NULL


cdef Partition* partition_of(Table* table, const TopicId& topic_id, int32_t index) noexcept nogil:
    """The same, by its parts."""
    return partition_at(table, Key(topic_id, index))


cdef TopicId id_named(Table* table, string_view name) noexcept nogil:
    """The id of the topic of this name."""
    cdef unordered_map[string_view, TopicId].iterator found = table.ids.find(name)
    return dereference(found).second if found != table.ids.end() else TopicId()


cdef string_view name_of(Table* table, const TopicId& topic_id) noexcept nogil:
    """The name of the topic of this id, where it stays as long as the gate is held."""
    cdef unordered_map[TopicId, string].iterator found = table.names.find(topic_id)
    return string_view(dereference(found).second) if found != table.names.end() else string_view()


cdef void name_topic(Table* table, const TopicId& topic_id, const string& name) noexcept nogil:
    """There is a topic of this name and id."""
    forget_topic(table, topic_id)
    table.names[topic_id] = name
    table.ids[string_view(table.names[topic_id])] = topic_id


cdef void forget_topic(Table* table, const TopicId& topic_id) noexcept nogil:
    """The topic is no more."""
    table.ids.erase(name_of(table, topic_id))
    table.names.erase(topic_id)


cdef string_view text_of(Span span) noexcept nogil:
    """The text of a span."""
    return string_view(<const char*>span.data, span.size) if span.size > 0 else string_view()


cdef Span span_of(string_view text) noexcept nogil:
    """A text as a span, while the text stays where it is."""
    cdef Span span
    span.data = <const uint8_t*>text.data()
    span.size = <int32_t>text.size()
    return span
