"""Produce as a request. Requests that follow each other on a connection are one row: each is judged as it comes, then all are appended, those to
one partition in one write, then all are answered, in order. What is known of them lies in the arena until then."""

from libc.stdint cimport int64_t

from fiducial.fastpath.codec_structs cimport PartitionProduceResponse, ProduceResponse
from fiducial.fastpath.keys cimport Key
from fiducial.fastpath.partition cimport Coming
from fiducial.fastpath.turn cimport Header, Turn, Verdict
from fiducial.fastpath.wire cimport Reader, Span

cdef struct Target:  # one partition that a request names, with the records to append
    size_t topic  # its place in the response
    Key key  # of the partition
    Span records
    PartitionProduceResponse* answer
    Coming* coming  # NULL: there is nothing to append

cdef struct Asked:  # one request of a row
    Header header
    Target* targets
    size_t count
    ProduceResponse response
    Asked* next

cdef struct Row:  # all NULL and zero is an empty one
    Asked* first
    Asked* last
    size_t count

cdef Verdict take_produce(Turn* turn, Row* row, int64_t connection, const Header* header, Reader* reader) noexcept nogil
cdef void append_row(Turn* turn, Row* row, int64_t connection) noexcept nogil  # and answer; the row is empty then
cdef bint is_full(const Row* row) noexcept nogil
