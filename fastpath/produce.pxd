"""Produce as a request. The twin of `models/produce.py`."""

from libc.stdint cimport int64_t

from fiducial.fastpath.turn cimport Header, Turn, Verdict
from fiducial.fastpath.wire cimport Reader

cdef Verdict answer_produce(Turn* turn, int64_t connection, const Header* header, Reader* reader) noexcept nogil
