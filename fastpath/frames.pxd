"""Frames of connections in, answers out: which room answers each, and when its answer is true.

What a thread needs for itself is its `Turn`; all else is the `Plane`, which the threads share. Locks, in the order in which they are taken:
    table.gate          held for looking during a turn; for changing by the control plane alone, while topics or partitions come or go
    fetches.lock        sessions, fetches that wait, and who waits for what
    partition.lock      one partition
"""

from libc.stdint cimport int16_t, int64_t, uint8_t
from libcpp.vector cimport vector

from fiducial.fastpath.fetch cimport Fetches
from fiducial.fastpath.files cimport Files
from fiducial.fastpath.table cimport Table
from fiducial.fastpath.threads cimport Shared
from fiducial.fastpath.turn cimport Due, Turn, Verdict

cdef enum:
    HOT_KEYS = 3  # Produce, Fetch and ListOffsets have the keys 0, 1 and 2
    LENGTH_BYTES = 4

cdef struct HotApi:
    int16_t min_version
    int16_t max_version
    int16_t flexible_from

cdef cppclass Plane:
    Table table
    Fetches fetches
    Files files
    HotApi[HOT_KEYS] hot
    Shared tickets  # how many requests there were
    int64_t frame_bytes_max

cdef Turn* new_turn(Plane* plane) noexcept with gil
cdef void free_turn(Turn* turn) noexcept nogil
cdef void begin_turn(Turn* turn, int64_t now) noexcept nogil

# Whole frames of a connection, each behind its length, one behind the other; they may be written to. What became of the last one that was
# looked at, and how many bytes were taken: not taken is what is not whole, or COLD, or behind one that has to wait, or too much for one turn.
# The answers are in the turn, those of other connections among them; `turn.answers_settled` of them are true. The rest, all of this connection,
# are true once `turn.due` is on the disk, which is empty but where `turn.defers`.
cdef Verdict take_frames(
    Plane* plane, Turn* turn, int64_t connection, int listener, uint8_t* frames, int64_t size, int64_t now, int64_t* taken
) noexcept nogil
cdef void time_out(Plane* plane, Turn* turn, int64_t ticket, int64_t now) noexcept nogil  # nothing, if it was answered before
cdef void forget_connection(Plane* plane, Turn* turn, int64_t connection) noexcept nogil
cdef void forget_ticket(Plane* plane, Turn* turn, int64_t ticket) noexcept nogil  # its connection is gone; nothing, if it was answered before

# Of a flusher: what files to force to the disk for these partitions (each with an offset up to which somebody waits); it forces them, without
# a lock; then readers may see what was forced, and those who wait are answered in the turn. `result`: -errno of a sync, or 0.
cdef void note_due(Plane* plane, vector[Due]* dues) noexcept nogil
cdef int force(Plane* plane, vector[Due]* dues) noexcept nogil  # and lets go of the files
cdef void forced(Plane* plane, Turn* turn, vector[Due]* dues, int result, int64_t now) noexcept nogil
cdef Verdict settled(Plane* plane, Turn* turn, Verdict verdict) noexcept nogil
