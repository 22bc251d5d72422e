"""What drivers and the control plane hold of a broker's data."""

from libc.stdint cimport int32_t, int64_t
from libcpp.vector cimport vector

from fiducial.fastpath.frames cimport Plane
from fiducial.fastpath.partition cimport Partition
from fiducial.fastpath.threads cimport OpenFile
from fiducial.fastpath.turn cimport Answer, Due, Turn

cdef class Unforced:  # what of some logs is to be forced to the disk
    cdef Core core
    cdef vector[Due] dues
    cdef bint is_held  # still

    cdef void add(self, Partition* here) noexcept


cdef class Core:
    cdef Plane* plane  # what threads share
    cdef Turn* turn  # of the thread that has the control plane
    cdef object configs  # key -> models.log.LogConfig
    cdef object recorded_configs  # key -> every configuration since transitions are kept; None: they are not
    cdef object recorded_before  # key -> the transitions of a partition that is no more
    cdef Partition* metadata  # the log of what topics there are; not one of them
    cdef readonly bytes folder
    cdef public int64_t slice_bytes_min  # smaller slices of files are read into the answers: of the system calls, fewer
    cdef public object draw_session_id  # () -> int
    cdef public object on_read  # (bytes) -> None, while logs are loaded
    cdef object simulation  # keeps the functions alive that stand in the place of the real file operations

    cdef void take_in(self, int result) noexcept nogil
    cdef bint is_offline(self) noexcept nogil
    cdef int made(self, int result) except -1
    cdef list pieces(self, Answer* first, Answer* last)
    cdef bytes whole(self, int64_t at, int64_t end, int32_t first, int32_t behind)
    cdef Partition* held(self, bytes topic_id, int index) except? NULL
    cdef int make(self, Partition* here, bytes folder, bytes text) except? 1
    cdef Partition* new_partition(self, bytes topic_id, int index, str topic, object config) except NULL
    cdef void take_up(self, Partition* here) noexcept
    cdef bytes content(self, OpenFile* file, int64_t size)
    cdef int replace(self, bytes path, bytes text) except? 1
    cdef void begin_recording(self, Partition* here) noexcept
    cdef Unforced nothing(self)
    cdef list taken(self, Partition* here)
