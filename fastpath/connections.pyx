# distutils: language = c++
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The buffer of a connection. It has one only while it has sent what cannot be handled yet: part of a frame, or frames that wait for their turn."""

from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memmove

from fiducial.fastpath.bigendian cimport load32


cdef int64_t held_bytes(Connection* connection) noexcept nogil:
    return connection.end - connection.begin


cdef bint is_busy(Connection* connection) noexcept nogil:
    """THREAD-CONN-1: one request is under way at a time, and who does not read is not answered further."""
    return connection.is_waiting or connection.is_unsettled or not connection.due.empty()


cdef int64_t frame_bytes(const uint8_t* data, int64_t size, int64_t frame_bytes_max) noexcept nogil:
    """The twin of `models.apis.size_is_refused`, and the length itself."""
    cdef int64_t length
    if size < LENGTH_BYTES:
        return 0
    length = <int32_t>load32(data)
    return REFUSED_SIZE if length <= 0 or length > frame_bytes_max else LENGTH_BYTES + length


cdef bint has_frame(const uint8_t* data, int64_t size, int64_t frame_bytes_max) noexcept nogil:
    """Is there something to do?"""
    cdef int64_t wanted = frame_bytes(data, size, frame_bytes_max)
    return wanted == REFUSED_SIZE or 0 < wanted <= size


cdef int64_t keep(Connection* connection, const uint8_t* data, int64_t size, int64_t frame_bytes_max) noexcept nogil:
    """These bytes, behind what there is. Where nothing is, there is room for the whole frame from the beginning."""
    cdef int64_t held = held_bytes(connection)
    cdef int64_t more = make_room(connection, max(held + size, frame_bytes(data, size, frame_bytes_max) if held == 0 else 0))
    if more >= 0:
        memcpy(connection.buffer + connection.end, data, size)
        connection.end += size
    return more


cdef int64_t make_room(Connection* connection, int64_t capacity) noexcept nogil:
    """So many bytes in all, from what is not handled on. A buffer that has to grow doubles at least."""
    cdef int64_t held = held_bytes(connection), before = connection.capacity
    cdef uint8_t* fresh
    if capacity <= connection.capacity - connection.begin:
        return 0
    if capacity <= connection.capacity:
        memmove(connection.buffer, connection.buffer + connection.begin, held)
    else:
        capacity = max(capacity, 2 * before)
        fresh = <uint8_t*>malloc(capacity)
        if fresh == NULL:
            return -1
        if held > 0:
            memcpy(fresh, connection.buffer + connection.begin, held)
        free(connection.buffer)
        connection.buffer = fresh
        connection.capacity = capacity
    connection.begin = 0
    connection.end = held
    return connection.capacity - before


cdef int64_t give_up_buffer(Connection* connection) noexcept nogil:
    """It is needed no more: how many bytes it had."""
    cdef int64_t before = connection.capacity
    free(connection.buffer)
    connection.buffer = NULL
    connection.begin = connection.end = connection.capacity = 0
    return before
