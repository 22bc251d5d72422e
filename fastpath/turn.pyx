# distutils: language = c++
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Frames of answers in the output of a turn; and the table, let go in the middle of it."""

from libc.stdint cimport int32_t, int64_t

from fiducial.fastpath.batch cimport read_records
from fiducial.fastpath.wire cimport allocate, begin_frame, end_frame, write_int8, write_int32


cdef bint begin_places(Turn* turn, Places* places, size_t most) noexcept nogil:
    """In the arena."""
    return places.begin(allocate(&turn.arena, places.room_for(most)), most)


cdef void read_apart(Turn* turn, Batch* batch) noexcept nogil:
    """Without the table, since it has to wait for Python's lock."""
    let_table_go(turn)
    read_records(batch, &turn.work.codecs, &turn.work.unpacked)
    turn.table.gate.look()


cdef void let_table_go(Turn* turn) noexcept nogil:
    """THREAD-LOCK-4: before Python's lock is waited for. From now on no partition is used that was looked up before."""
    turn.has_let_go = True
    turn.table.gate.leave()


cdef void begin_answer(Turn* turn, int64_t connection, int32_t correlation_id, bint is_flexible, Frame* frame) noexcept nogil:
    """Length to come, correlation id, tags if the header has them."""
    cdef Answer answer
    answer.connection = connection
    answer.begin = turn.out.size
    answer.gaps_begin = turn.out.gaps_count
    turn.answers.push_back(answer)
    frame[0] = begin_frame(&turn.out)
    write_int32(&turn.out, correlation_id)
    if is_flexible:
        write_int8(&turn.out, 0)


cdef void end_answer(Turn* turn, Frame* frame) noexcept nogil:
    """The length is known now."""
    end_frame(&turn.out, frame[0])
    turn.answers.back().end = turn.out.size
    turn.answers.back().gaps_end = turn.out.gaps_count
