"""Group commit: see `flusher.pyx`."""

from fiducial.fastpath.front cimport Front
from fiducial.fastpath.turn cimport Turn

cdef enum:
    FLUSHERS = 16  # they only wait

cdef cppclass Flusher:
    Front* front
    Turn* turn

cdef void* run_flusher(void* flusher) noexcept nogil
