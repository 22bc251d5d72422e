"""Fetch as a request: sessions, plans, and fetches that wait. The twin of `models/fetch.py` and `models/sessions.py`."""

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t
from libcpp.map cimport map as ordered_map
from libcpp.set cimport set as ordered_set
from libcpp.string cimport string
from libcpp.unordered_map cimport unordered_map
from libcpp.utility cimport pair
from libcpp.vector cimport vector

from fiducial.fastpath.threads cimport Lock
from fiducial.fastpath.turn cimport Header, Turn, Verdict
from fiducial.fastpath.wire cimport Reader

cdef enum Kind:
    SESSIONLESS
    FULL
    INCREMENTAL

cdef cppclass Wanted:
    bint has_name  # false for an id that named nothing when it was first asked for
    string name
    string topic_id  # zeros for a partition that is asked for by name
    int32_t index
    int64_t offset
    int32_t max_bytes
    int32_t current_leader_epoch
    int32_t last_fetched_epoch
    string key  # what makes two entries of one request the same partition

cdef cppclass Cached:
    Wanted wanted
    int64_t high_watermark
    int64_t log_start

cdef cppclass Session:
    int32_t next_epoch
    bint uses_topic_ids
    vector[Cached] partitions  # in the order in which they are read next
    int64_t used_ms

cdef cppclass Plan:
    Kind kind
    int32_t session_id
    vector[Cached] partitions
    vector[char] strays  # 1 for a partition that was not there when the request came
    Header header
    int8_t isolation
    int32_t replica_id
    int64_t min_bytes
    int64_t max_bytes
    vector[int64_t] began  # of one that waits: the base offset of the segment that each offset lay in when the request came

cdef cppclass Parked:
    Plan plan
    int64_t connection
    int64_t deadline_ms
    vector[string] wakes  # keys of partitions
    vector[string] watched  # of those that count it among their watchers

cdef cppclass Fetches:
    Lock lock
    unordered_map[int32_t, Session*] sessions
    ordered_map[int64_t, Parked*] parked  # by ticket
    ordered_set[pair[int64_t, int64_t]] deadlines  # (ms, ticket)
    unordered_map[string, vector[int64_t]] waiting  # the tickets that a partition wakes
    void* context
    int32_t (*draw_session_id)(void* context) noexcept nogil

cdef Verdict answer_fetch(Turn* turn, Fetches* fetches, int64_t connection, const Header* header, Reader* reader) noexcept nogil
cdef void wake(Turn* turn, Fetches* fetches, vector[string]* keys) noexcept nogil
cdef void wake_topic(Turn* turn, Fetches* fetches, const string& topic_id) noexcept nogil
cdef void time_out(Turn* turn, Fetches* fetches, int64_t ticket) noexcept nogil
cdef void forget_connection(Turn* turn, Fetches* fetches, int64_t connection) noexcept nogil
cdef void forget_ticket(Turn* turn, Fetches* fetches, int64_t ticket) noexcept nogil
cdef void expired(Fetches* fetches, int64_t now, vector[int64_t]* tickets) noexcept nogil
cdef int64_t next_deadline(Fetches* fetches) noexcept nogil  # ms, -1: nobody waits
