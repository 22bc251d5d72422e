# distutils: language = c++
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""ListOffsets: offsets by time, or by the name of a mark. It decides what `models.offsets.list_offsets` decides."""

from libc.stdint cimport int32_t, int64_t
from libcpp.string_view cimport string_view
from libcpp.vector cimport vector

from fiducial.fastpath.codec_structs cimport (
    ListOffsetsPartition,
    ListOffsetsPartitionResponse,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopicResponse,
    decode_list_offsets_request,
    default_list_offsets_partition_response,
    default_list_offsets_response,
    default_list_offsets_topic_response,
    encode_list_offsets_response,
)
from fiducial.fastpath.keys cimport Key, Places, TopicId
from fiducial.fastpath.partition cimport Ahead, Found, Partition, look_up
from fiducial.fastpath.table cimport id_named, partition_at, text_of
from fiducial.fastpath.turn cimport MALFORMED, REPLIED, begin_answer, begin_places, end_answer, read_apart
from fiducial.fastpath.wire cimport Frame

cdef enum:
    UNKNOWN_TOPIC_OR_PARTITION = 3
    UNSUPPORTED_VERSION = 35
    INVALID_REQUEST = 42
    ANSWERED = 0  # times


cdef int since(int64_t timestamp) noexcept nogil:
    """models.offsets.SPECIAL_TIMESTAMP_SINCE: the version with which a special timestamp came."""
    if timestamp >= -2:
        return 0
    if timestamp == -3:
        return 7
    if timestamp == -4:
        return 8
    if timestamp == -5:
        return 9
    return 11 if timestamp == -6 else 1 << 15


cdef void look_up_one(
    Turn* turn, const ListOffsetsRequest* request, int version, string_view name, const ListOffsetsPartition* asked, int times, ListOffsetsPartitionResponse* answer
) noexcept nogil:
    """LIST_OFFSETS_CHECK, then the partition."""
    default_list_offsets_partition_response(answer)
    answer.partition_index = asked.partition_index
    answer.timestamp = answer.offset = answer.leader_epoch = -1
    if times > 1:
        answer.error_code = INVALID_REQUEST
    elif asked.timestamp < 0 and version < since(asked.timestamp):
        answer.error_code = UNSUPPORTED_VERSION
    else:
        find(turn, request, Key(id_named(turn.table, name), asked.partition_index), asked, answer)


cdef void find(Turn* turn, const ListOffsetsRequest* request, Key key, const ListOffsetsPartition* asked, ListOffsetsPartitionResponse* answer) noexcept nogil:
    """What the partition has, if there is one. When a batch was unpacked that it wants, it is asked anew: it may be gone."""
    cdef Partition* partition = partition_at(turn.table, key)
    cdef Ahead ahead
    cdef Found found
    ahead.is_there = False
    while partition != NULL:
        look_up(partition, asked.timestamp, request.isolation_level, request.replica_id, asked.current_leader_epoch, &turn.work, turn.now, &ahead, &found)
        if not ahead.is_wanted:
            answer.error_code = found.error
            answer.timestamp, answer.offset, answer.leader_epoch = found.timestamp, found.offset, found.leader_epoch
            return
        read_apart(turn, &ahead.batch)
        ahead.is_there = True
        partition = partition_at(turn.table, key)
    answer.error_code = UNKNOWN_TOPIC_OR_PARTITION


cdef Verdict answer_list_offsets(Turn* turn, int64_t connection, const Header* header, Reader* reader) noexcept nogil:
    """Each partition is judged alone; one that is named twice gets one answer."""
    cdef ListOffsetsRequest request
    cdef Places topic_places, places
    cdef vector[int32_t] times
    cdef vector[ListOffsetsTopicResponse] topics
    cdef vector[vector[ListOffsetsPartitionResponse]] grouped
    cdef ListOffsetsTopicResponse topic
    cdef ListOffsetsPartitionResponse answer
    cdef ListOffsetsPartition* asked
    cdef string_view name
    cdef size_t at, place, named = 0
    cdef int32_t t, p
    if not decode_list_offsets_request(&request, reader, &turn.arena, header.api_version):
        return MALFORMED
    turn.tickets.add(1)
    if request.isolation_level < 0 or request.isolation_level > 1:
        spoil(turn, connection, header, &request)
        return REPLIED
    for t in range(request.topics_count):
        named += request.topics[t].partitions_count
    if not begin_places(turn, &topic_places, request.topics_count) or not begin_places(turn, &places, named):
        return MALFORMED
    for t in range(request.topics_count):
        for p in range(request.topics[t].partitions_count):
            place = places.put(Key(TopicId(), text_of(request.topics[t].name), request.topics[t].partitions[p].partition_index))
            times.resize(places.size())
            times[place] += 1
    for t in range(request.topics_count):
        name = text_of(request.topics[t].name)
        for p in range(request.topics[t].partitions_count):
            asked = &request.topics[t].partitions[p]
            at = topic_places.put(Key(TopicId(), name, 0))
            if at == topics.size():
                default_list_offsets_topic_response(&topic)
                topic.name = request.topics[t].name
                topics.push_back(topic)
                grouped.resize(topics.size())
            place = places.find(Key(TopicId(), name, asked.partition_index))
            if times[place] == ANSWERED:
                continue
            look_up_one(turn, &request, header.api_version, name, asked, times[place], &answer)
            times[place] = ANSWERED
            grouped[at].push_back(answer)
    respond(turn, connection, header, &topics, &grouped)
    return REPLIED


cdef void spoil(Turn* turn, int64_t connection, const Header* header, const ListOffsetsRequest* request) noexcept nogil:
    """LOG-TIME-8: one error for every partition, as often as it is named."""
    cdef vector[ListOffsetsTopicResponse] topics
    cdef vector[vector[ListOffsetsPartitionResponse]] grouped
    cdef ListOffsetsPartitionResponse answer
    cdef int32_t t, p
    topics.resize(request.topics_count)
    grouped.resize(request.topics_count)
    for t in range(request.topics_count):
        default_list_offsets_topic_response(&topics[t])
        topics[t].name = request.topics[t].name
        for p in range(request.topics[t].partitions_count):
            default_list_offsets_partition_response(&answer)
            answer.partition_index = request.topics[t].partitions[p].partition_index
            answer.error_code = INVALID_REQUEST
            answer.timestamp = answer.offset = answer.leader_epoch = -1
            grouped[t].push_back(answer)
    respond(turn, connection, header, &topics, &grouped)


cdef void respond(
    Turn* turn, int64_t connection, const Header* header, vector[ListOffsetsTopicResponse]* topics, vector[vector[ListOffsetsPartitionResponse]]* grouped
) noexcept nogil:
    """The answers by topic."""
    cdef ListOffsetsResponse response
    cdef Frame frame
    cdef size_t index
    for index in range(topics.size()):
        topics[0][index].partitions = grouped[0][index].data()
        topics[0][index].partitions_count = <int32_t>grouped[0][index].size()
    default_list_offsets_response(&response)
    response.topics = topics.data()
    response.topics_count = <int32_t>topics.size()
    begin_answer(turn, connection, header.correlation_id, header.is_flexible, &frame)
    encode_list_offsets_response(&response, &turn.out, header.api_version)
    end_answer(turn, &frame)
