"""What the I/O threads of a broker share, with the flusher and the control plane: where each is written to, and what all count."""

from libc.stdint cimport int64_t
from libcpp.string cimport string
from libcpp.vector cimport vector

from fiducial.fastpath.frames cimport Plane
from fiducial.fastpath.mail cimport Inbox, Jobs, Mailbox
from fiducial.fastpath.sending cimport Piece
from fiducial.fastpath.threads cimport Shared
from fiducial.fastpath.turn cimport Turn

cdef enum:
    THREAD_BITS = 8  # of a connection's id: whose it is
    THREADS_MAX = 1 << 8

cdef struct Door:
    int fd  # of a socket that listens
    int listener  # that it belongs to

cdef cppclass Front:
    Plane* plane
    vector[Inbox*] inboxes  # of the I/O threads
    Jobs jobs  # of the flushers
    Mailbox mailbox  # of the control plane
    vector[Door] doors
    vector[string] ends  # why a verdict ends a connection
    int64_t idle_ms
    int64_t frame_bytes_max
    int64_t held_bytes_max  # -1: no limit
    Shared held_bytes  # of all buffers of connections
    Shared hungry  # so many connections are not read from, for want of room
    Shared connections
    Shared is_stopping

cdef int thread_of(int64_t connection) noexcept nogil
cdef size_t behind_run(Turn* turn, size_t first) noexcept nogil  # where the answers end that go to one connection, and are true at one time
cdef void post_answers(Front* front, Turn* turn) noexcept nogil
cdef void post_pieces(Front* front, int64_t connection, vector[Piece]* pieces) noexcept nogil  # which are lent
cdef bint has_room(Front* front) noexcept nogil  # for more bytes that cannot be handled yet
cdef void give_back(Front* front, int64_t size) noexcept nogil
