"""Produce as a request. Requests that follow each other on a connection are one row: each is judged as it comes, then all are appended, those to
one partition in one write, then all are answered, in order."""

from libc.stdint cimport int32_t, int64_t
from libcpp.string cimport string
from libcpp.vector cimport vector

from fiducial.fastpath.batch cimport Sent
from fiducial.fastpath.codec_structs cimport PartitionProduceResponse
from fiducial.fastpath.partition cimport Coming, Partition
from fiducial.fastpath.turn cimport Header, Turn, Verdict
from fiducial.fastpath.wire cimport Reader, Span

cdef cppclass Target:  # one partition that a request names, with the records to append
    string name
    string topic_id
    int32_t index
    Span records
    PartitionProduceResponse answer
    Partition* partition  # NULL: there is nothing to append
    Sent sent
    Coming coming
    bint is_appended

cdef cppclass Asked:  # one request of a row
    Header header
    vector[Target] targets

cdef cppclass Row:
    vector[Asked*] requests
    bint is_full

cdef Verdict take_produce(Turn* turn, Row* row, int64_t connection, const Header* header, Reader* reader) noexcept nogil
cdef void append_row(Turn* turn, Row* row, int64_t connection) noexcept nogil  # and answer; the row is empty then
