"""The I/O threads of a broker: each has its own connections, and its own turn of the core."""

from libc.stdint cimport int64_t, uint8_t
from libcpp.deque cimport deque
from libcpp.set cimport set as ordered_set
from libcpp.unordered_map cimport unordered_map
from libcpp.utility cimport pair
from libcpp.vector cimport vector

from fiducial.fastpath.clock cimport Clock
from fiducial.fastpath.connections cimport Connection
from fiducial.fastpath.front cimport Front
from fiducial.fastpath.mail cimport Inbox, Letter
from fiducial.fastpath.sending cimport Piece
from fiducial.fastpath.system cimport pthread_t
from fiducial.fastpath.threads cimport Tally
from fiducial.fastpath.turn cimport Turn

cdef cppclass Worker:
    Front* front
    int number
    pthread_t thread
    int epoll
    Inbox* inbox
    vector[Letter] letters  # taken from it
    Turn* turn
    Clock clock
    int64_t now
    int64_t serial  # of the last connection accepted here
    unordered_map[int64_t, Connection*] connections
    Connection* oldest
    Connection* newest
    ordered_set[pair[int64_t, int64_t]] deadlines  # (ms, ticket) of requests that wait
    vector[int64_t] ready  # connections that go on when all others had their turn
    deque[int64_t] hungry  # connections that are read from when there is room, in turn
    vector[Connection*] gone
    uint8_t* read_room  # where everybody's bytes are read to
    uint8_t* send_room
    vector[Piece] pieces
    bint accepts
    int64_t accepts_again_ms  # after a pause, for want of descriptors
    bint has_said_why
    Tally received_bytes  # from sockets so far
    Tally sent_bytes  # to them

cdef Worker* new_worker(Front* front, int number) noexcept with gil  # NULL: no memory, or no descriptor
cdef void free_worker(Worker* worker) noexcept nogil
cdef void* run_worker(void* worker) noexcept nogil
