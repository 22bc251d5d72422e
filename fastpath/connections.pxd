"""One client of an I/O thread: what it has sent that is not handled, what is due to it, and what it waits for."""

from libc.stdint cimport int64_t, uint8_t, uint32_t
from libcpp.vector cimport vector

from fiducial.fastpath.mail cimport Address
from fiducial.fastpath.sending cimport Piece

cdef enum:
    LENGTH_BYTES = 4
    REFUSED_SIZE = -1

cdef cppclass Connection:
    int64_t id
    int fd
    Address address
    int listener  # by which it came
    uint32_t events  # what epoll is asked to tell of it
    uint8_t* buffer  # NULL while everything that came is handled
    int64_t begin, end, capacity
    vector[Piece] due  # the socket did not take it yet
    size_t due_at  # so many pieces of it are sent
    vector[Piece] unsettled  # due once what it tells of is on the disk
    int64_t parked_ticket, parked_until_ms
    int64_t touched_ms  # when a byte last went either way
    Connection* older  # of all connections of the thread, by when they were touched
    Connection* newer
    bint is_waiting  # a request waits for its answer
    bint is_unsettled  # answers wait for the disk
    bint is_ending  # nothing is read any more
    bint is_ready  # it stands in the row of those that go on
    bint is_hungry  # it waits for room to be read into
    bint is_known  # to the control plane
    bint is_gone

cdef int64_t held_bytes(Connection* connection) noexcept nogil  # that it has sent, and are not handled
cdef bint is_busy(Connection* connection) noexcept nogil  # it has to wait before more of it is handled

# What the frame at the beginning of some bytes takes with its length; 0: not known yet; REFUSED_SIZE
cdef int64_t frame_bytes(const uint8_t* data, int64_t size, int64_t frame_bytes_max) noexcept nogil
cdef bint has_frame(const uint8_t* data, int64_t size, int64_t frame_bytes_max) noexcept nogil  # a whole one, or one that is refused

# The buffer. How many bytes more of memory it takes are given back; -1: there is no memory
cdef int64_t keep(Connection* connection, const uint8_t* data, int64_t size, int64_t frame_bytes_max) noexcept nogil
cdef int64_t make_room(Connection* connection, int64_t capacity) noexcept nogil
cdef int64_t give_up_buffer(Connection* connection) noexcept nogil
