"""One turn of the core: what the handling of one event needs, and what it leaves behind."""

from libc.stdint cimport int16_t, int32_t, int64_t
from libcpp.vector cimport vector

from fiducial.fastpath.batch cimport Batch
from fiducial.fastpath.files cimport Files
from fiducial.fastpath.keys cimport Key, Places
from fiducial.fastpath.log cimport Forcing, Place
from fiducial.fastpath.partition cimport Coming, Work
from fiducial.fastpath.table cimport Table
from fiducial.fastpath.threads cimport Shared
from fiducial.fastpath.wire cimport Arena, Frame, Span, Writer

cdef enum Verdict:
    REPLIED  # the answer is in the turn's output
    SILENT  # nothing goes out
    PARKED  # the answer comes later
    REFUSED  # end the connection without an answer
    MALFORMED  # the same, since the bytes are no request
    FAILED  # the same, since the disk failed
    COLD  # not decided here: ask the control plane

cdef struct Header:
    int16_t api_key
    int16_t api_version
    int32_t correlation_id
    Span client_id
    bint is_flexible  # the request's header, and so the answer's

cdef struct Answer:  # a frame in the output, for a connection
    int64_t connection
    int64_t begin
    int64_t end
    int32_t gaps_begin
    int32_t gaps_end

cdef struct Appended:
    Key key  # of the partition
    int64_t end  # of its log, then
    bint is_due  # it must be on the disk before anybody hears of it
    bint is_watched  # somebody waits for it

cdef cppclass Due:  # what must be on the disk before the answers that wait for it may go
    Key key  # of the partition
    int64_t end  # an offset: everything below it
    Forcing forcing
    int result  # -errno if that cannot be had

cdef cppclass Turn:
    Table* table
    Files* files
    Shared* tickets  # all requests are numbered in one row, by whoever has read them
    Arena arena
    Work work
    Writer out
    vector[Coming*] coming  # judged, and not appended yet
    bint has_let_go  # of the table, since these were looked up
    vector[Answer] answers
    vector[Place] places  # what the gaps of the output stand for; the files are held until the next turn
    vector[Appended] appended
    size_t settled  # so many of them are as safe as they have to be, and their readers were told
    size_t answers_settled  # so many answers are true whatever the disk does
    bint defers  # somebody else forces to the disk what has to be there, and then tells whoever waits for it
    vector[Due] due  # where it defers
    int64_t parked_ticket  # of the request that waits, if the last one does; 0: it was answered in the same turn
    int64_t parked_until_ms
    int64_t now
    int listener  # by which came whose frames these are

cdef bint begin_places(Turn* turn, Places* places, size_t most) noexcept nogil  # for so many keys, as long as the arena is; false: no memory
cdef void let_table_go(Turn* turn) noexcept nogil  # until its gate is taken again
cdef void read_apart(Turn* turn, Batch* batch) noexcept nogil  # a compressed batch's records, into the work's room
cdef void begin_answer(Turn* turn, int64_t connection, int32_t correlation_id, bint is_flexible, Frame* frame) noexcept nogil
cdef void end_answer(Turn* turn, Frame* frame) noexcept nogil
