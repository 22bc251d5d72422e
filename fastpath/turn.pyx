# distutils: language = c++
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Frames of answers in the output of a turn."""

from libc.stdint cimport int32_t, int64_t

from fiducial.fastpath.wire cimport begin_frame, end_frame, write_int8, write_int32


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
