"""Fetch as a request: sessions, plans, and fetches that wait. The twin of `models/fetch.py` and `models/sessions.py`."""

from libc.stdint cimport int8_t, int32_t, int64_t
from libcpp.map cimport map as ordered_map
from libcpp.set cimport set as ordered_set
from libcpp.string cimport string
from libcpp.unordered_map cimport unordered_map
from libcpp.utility cimport pair
from libcpp.vector cimport vector

from fiducial.fastpath.codec_structs cimport FetchableTopicResponse, PartitionData
from fiducial.fastpath.keys cimport Key, TopicId
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
    TopicId topic_id  # of nothing, for a partition that is asked for by name
    int32_t index
    int64_t offset
    int32_t max_bytes
    int32_t current_leader_epoch
    int32_t last_fetched_epoch

cdef cppclass Cached:
    Wanted wanted
    int64_t high_watermark
    int64_t log_start
    bint goes_behind  # when it was answered last

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
    int listener  # by which the client came
    vector[int64_t] began  # of one that waits: the base offset of the segment that each offset lay in when the request came

cdef cppclass Parked:
    Plan plan
    int64_t connection
    int64_t deadline_ms
    vector[Key] wakes  # partitions
    vector[Key] watched  # those that count it among their watchers

cdef cppclass Given:  # what one partition answers
    PartitionData data
    int64_t size_bytes
    bint is_refused
    bint diverges
    int64_t lies_bytes  # what the segment has for it, as far as partition_max_bytes goes, be there room for it or not
    int64_t begins  # the base offset of the segment that the offset lies in
    int64_t ends  # and of the one in which what may be read ends

cdef cppclass Desk:  # room for the request that is looked at, used again for the next
    Plan plan
    vector[Cached] wanted
    vector[Given] given
    vector[FetchableTopicResponse] topics
    vector[PartitionData] partitions

cdef cppclass Fetches:
    Lock lock
    Desk* desk
    unordered_map[int32_t, Session*] sessions
    ordered_map[int64_t, Parked*] parked  # by ticket
    ordered_set[pair[int64_t, int64_t]] deadlines  # (ms, ticket)
    unordered_map[Key, vector[int64_t]] waiting  # the tickets that a partition wakes
    void* context
    int32_t (*draw_session_id)(void* context) noexcept nogil

cdef Verdict answer_fetch(Turn* turn, Fetches* fetches, int64_t connection, const Header* header, Reader* reader) noexcept nogil
cdef void wake(Turn* turn, Fetches* fetches, vector[Key]* keys) noexcept nogil
cdef void wake_topic(Turn* turn, Fetches* fetches, const TopicId& topic_id) noexcept nogil
cdef void time_out(Turn* turn, Fetches* fetches, int64_t ticket) noexcept nogil
cdef void forget_connection(Turn* turn, Fetches* fetches, int64_t connection) noexcept nogil
cdef void forget_ticket(Turn* turn, Fetches* fetches, int64_t ticket) noexcept nogil
cdef void expired(Fetches* fetches, int64_t now, vector[int64_t]* tickets) noexcept nogil
cdef int64_t next_deadline(Fetches* fetches) noexcept nogil  # ms, -1: nobody waits
