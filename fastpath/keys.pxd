"""keys.h, told to Cython."""

from libc.stdint cimport int32_t
from libcpp.string_view cimport string_view

cdef extern from "keys.h" nogil:
    cppclass TopicId:
        TopicId()
        TopicId(const void* bytes)
        const char* bytes()
        bint is_none()
        bint operator==(const TopicId&)
        bint operator!=(const TopicId&)
        bint operator<(const TopicId&)

    cppclass Key:
        TopicId topic
        int32_t index
        Key()
        Key(const TopicId& topic, int32_t index)
        Key(const TopicId& topic, string_view name, int32_t index)
        bint operator==(const Key&)
        bint operator!=(const Key&)

    cppclass Places:
        size_t room_for(size_t most)
        bint begin(void* room, size_t most)
        size_t size()
        size_t put(const Key& key)
        size_t find(const Key& key)

    size_t NOWHERE
