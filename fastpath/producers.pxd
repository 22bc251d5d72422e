"""What one partition knows of its producers: the twin of `models/idempotence.py`, and its files."""

from libc.stdint cimport int16_t, int32_t, int64_t
from libcpp.string cimport string
from libcpp.unordered_map cimport unordered_map
from libcpp.vector cimport vector

from fiducial.fastpath.files cimport Files
from fiducial.fastpath.threads cimport OpenFile

cdef enum:
    WINDOW_BATCHES = 5
    NO_EPOCH = -1

cdef struct Written:  # one batch; offsets, timestamp in ms as stored
    int32_t first_sequence
    int32_t last_sequence
    int64_t base_offset
    int64_t last_offset
    int64_t timestamp

cdef struct Producer:
    int16_t epoch
    int32_t count
    Written[WINDOW_BATCHES] window  # the oldest first
    int64_t appended_ms

ctypedef unordered_map[int64_t, Producer] Producers

cdef struct Sequenced:  # what of a batch concerns its producer
    int64_t producer_id
    int16_t epoch
    int32_t first_sequence
    int32_t last_sequence
    int64_t timestamp

cdef int32_t sequence_after(int32_t sequence, int32_t steps) noexcept nogil
cdef Producer* known(Producers* producers, int64_t producer_id) noexcept nogil  # NULL: nothing is
cdef Written* duplicate_of(Producers* producers, Sequenced* batch) noexcept nogil
cdef int16_t sequence_error(Producers* producers, Sequenced* batch) noexcept nogil
cdef void remember(Producers* producers, Sequenced* batch, int64_t base_offset, int64_t last_offset, int64_t now) noexcept nogil
cdef bint expire(Producers* producers, int64_t expiration_ms, int64_t now) noexcept nogil
cdef int save(Producers* producers, Files* files, const string& folder, int64_t offset, vector[OpenFile*]* written) noexcept nogil
cdef int force_saved(Files* files, const string& folder, int64_t offset) noexcept nogil
cdef bint is_ours(Files* files, const string& folder, int64_t offset) noexcept nogil
cdef void forget_saved(Files* files, const string& folder, int64_t offset) noexcept nogil
cdef bint load(Producers* producers, Files* files, const string& folder, int64_t offset) noexcept nogil
cdef bint load_kafkas(Producers* producers, Files* files, const string& folder, int64_t offset, int64_t now) noexcept nogil
