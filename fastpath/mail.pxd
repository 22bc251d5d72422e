"""What threads tell each other: I/O threads by inboxes, the control plane by its mailbox, the flushers by their jobs. Who writes rings, if the reader may be asleep.

Who reads an inbox says that it goes to sleep before it looks into it for the last time; who writes looks whether the other sleeps after it has
written. The lock between makes one of the two see what the other did.
"""

from libc.stdint cimport int64_t
from libcpp.string cimport string
from libcpp.unordered_set cimport unordered_set
from libcpp.vector cimport vector

from fiducial.fastpath.files cimport Files
from fiducial.fastpath.keys cimport Key
from fiducial.fastpath.sending cimport Piece
from fiducial.fastpath.system cimport sockaddr_in6, socklen_t
from fiducial.fastpath.threads cimport Lock, Shared
from fiducial.fastpath.turn cimport Due

cdef struct Address:
    sockaddr_in6 name
    socklen_t size


# To an I/O thread

cdef enum Errand:
    ADOPT  # here is a connection
    WELCOME  # the same, from the control plane: give it to a thread in its turn
    ANSWER  # its requests so far are finished: `pieces`
    HANG_UP  # end it, for this reason; nothing is answered any more
    SETTLED  # what its answers waited for is on the disk
    DISK_FAILED  # it will never be: end the connection without them

cdef cppclass Letter:
    Errand errand
    int64_t connection
    vector[Piece] pieces  # of the reader's own
    string reason  # for the log, if it is not there yet
    int fd  # of a connection to adopt
    Address address
    int listener

cdef cppclass Inbox:
    Lock lock
    vector[Letter] letters
    Shared is_asleep
    int bell

cdef bint open_inbox(Inbox* inbox) noexcept nogil  # false: there is no descriptor
cdef void close_inbox(Inbox* inbox, Files* files) noexcept nogil
cdef void post(Inbox* inbox, Letter* letter) noexcept nogil  # whose pieces are gone then
cdef void wake_up(Inbox* inbox) noexcept nogil
cdef bint take_letters(Inbox* inbox, vector[Letter]* letters) noexcept nogil  # false: there are none


# To the control plane

cdef enum Matter:
    COLD_REQUEST  # `text` is a frame, without its length
    GONE  # a connection that it knows is no more
    CLOSING  # for the log: `peer` is hung up on, `text` says why
    TROUBLE  # for the log: `text`

cdef cppclass Note:
    Matter matter
    int64_t connection
    int listener  # by which it came
    string peer  # HOST:PORT, where it is not known yet
    string text

cdef cppclass Mailbox:
    Lock lock
    vector[Note] notes
    int64_t lines  # so many of them are for the log
    int64_t unsaid  # so many more would be
    int bell

cdef bint open_mailbox(Mailbox* mailbox) noexcept nogil  # false: there is no descriptor
cdef void tell(Mailbox* mailbox, Note* note) noexcept nogil  # whose text is gone then
cdef int64_t take_notes(Mailbox* mailbox, vector[Note]* notes) noexcept nogil  # how many lines for the log are not among them


# To the flushers

cdef cppclass Job:
    int64_t connection  # that waits
    vector[Due] dues  # for what

cdef cppclass Jobs:
    Lock lock
    vector[Job] waiting  # in order
    unordered_set[Key] busy  # the partitions that a flusher has in hand
    int bell  # is rung once for each who is to look

cdef bint open_jobs(Jobs* jobs) noexcept nogil  # false: there is no descriptor
cdef void close_jobs(Jobs* jobs) noexcept nogil
cdef void wait_for_disk(Jobs* jobs, int64_t connection, vector[Due]* dues) noexcept nogil  # which are gone then
cdef void take_jobs(Jobs* jobs, vector[Job]* taken) noexcept nogil  # none, if all that wait are for partitions that somebody has in hand
cdef void finish_jobs(Jobs* jobs, vector[Due]* dues) noexcept nogil  # nobody has these in hand any more


# Bells

cdef void ring(int bell) noexcept nogil
cdef void silence(int bell) noexcept nogil
