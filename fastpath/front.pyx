# distutils: language = c++
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Letters to the threads of connections, and the room that all buffers share: see `front.pxd`."""

from libc.stdint cimport int64_t
from libcpp.string cimport string
from libcpp.vector cimport vector

from fiducial.fastpath.mail cimport ANSWER, HANG_UP, Letter, post, wake_up
from fiducial.fastpath.sending cimport Piece, release_pieces, take_copies, view_answers
from fiducial.fastpath.turn cimport Turn


cdef int thread_of(int64_t connection) noexcept nogil:
    """The number of the thread that a connection belongs to."""
    return connection & (THREADS_MAX - 1)


# Answers


cdef size_t behind_run(Turn* turn, size_t first) noexcept nogil:
    """Where the answers end that go to one connection, and are true at one time."""
    cdef size_t behind = first + 1
    while behind < turn.answers.size() and behind != turn.answers_settled and turn.answers[behind].connection == turn.answers[first].connection:
        behind += 1
    return behind


cdef void post_answers(Front* front, Turn* turn) noexcept nogil:
    """Each to its connection's thread."""
    cdef vector[Piece] pieces
    cdef size_t first = 0, behind
    while first < turn.answers.size():
        behind = behind_run(turn, first)
        view_answers(turn, first, behind, &pieces)
        post_pieces(front, turn.answers[first].connection, &pieces)
        pieces.clear()
        first = behind


cdef void post_pieces(Front* front, int64_t connection, vector[Piece]* pieces) noexcept nogil:
    """An answer for a connection of another thread."""
    cdef size_t number = thread_of(connection)
    cdef Letter letter
    letter.errand, letter.connection = ANSWER, connection
    if not take_copies(pieces, 0, &letter.pieces):
        release_pieces(&letter.pieces, &front.plane.files)
        letter.errand, letter.reason = HANG_UP, string(b"no memory")
    if number < front.inboxes.size():
        post(front.inboxes[number], &letter)
    else:
        release_pieces(&letter.pieces, &front.plane.files)


# Room for what is kept


cdef bint has_room(Front* front) noexcept nogil:
    """May more be kept? A pool that is not empty gives also more than it has."""
    return front.held_bytes_max <= 0 or front.held_bytes.get() < front.held_bytes_max


cdef void give_back(Front* front, int64_t size) noexcept nogil:
    """THREAD-ROOM-2, THREAD-ROOM-3: so much less is kept; who waits for room is told, in whatever thread."""
    cdef int64_t left = front.held_bytes.add(-size)
    cdef size_t index
    if size > 0 and front.held_bytes_max > 0 and left < front.held_bytes_max and front.hungry.get() > 0:
        for index in range(front.inboxes.size()):
            wake_up(front.inboxes[index])
