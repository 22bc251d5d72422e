# distutils: language = c++
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Fetch: one request, many partitions; it answers at once, or waits. It decides what `models/fetch.py` and `models/sessions.py` decide."""

from libc.stdint cimport int16_t, int32_t, int64_t
from cython.operator cimport dereference
from libc.string cimport memcpy
from libcpp.algorithm cimport sort, swap
from libcpp.string cimport string
from libcpp.string_view cimport string_view
from libcpp.utility cimport pair
from libcpp.vector cimport vector

from fiducial.fastpath.codec_structs cimport (
    FetchableTopicResponse,
    FetchPartition,
    FetchRequest,
    FetchResponse,
    FetchResponseNodeEndpoint,
    FetchTopic,
    ForgottenTopic,
    PartitionData,
    decode_fetch_request,
    default_fetch_response,
    default_fetch_response_node_endpoint,
    default_fetchable_topic_response,
    default_partition_data,
    encode_fetch_response,
)
from fiducial.fastpath.keys cimport NOWHERE, Key, Places, TopicId
from fiducial.fastpath.partition cimport Asked, Partition, Read
from fiducial.fastpath cimport partition as partition_room
from fiducial.fastpath cimport table as table_room
from fiducial.fastpath.table cimport id_named, name_of, partition_at, partition_of, span_of, text_of
from fiducial.fastpath.turn cimport MALFORMED, PARKED, REPLIED, begin_answer, begin_places, end_answer
from fiducial.fastpath.wire cimport UUID_BYTES, Frame, allocate

cdef enum:
    OFFSET_OUT_OF_RANGE = 1
    UNKNOWN_TOPIC_OR_PARTITION = 3
    NOT_LEADER_OR_FOLLOWER = 6
    INVALID_REQUEST = 42
    FETCH_SESSION_ID_NOT_FOUND = 70
    INVALID_FETCH_SESSION_EPOCH = 71
    FENCED_LEADER_EPOCH = 74
    UNKNOWN_TOPIC_ID = 100
    INCONSISTENT_TOPIC_ID = 103
    FETCH_SESSION_TOPIC_ID_ERROR = 106

    INITIAL_EPOCH = 0
    FINAL_EPOCH = -1
    BY_ID_FROM = 13  # the version from which topics go by id
    REPLICA_STATE_FROM = 15
    LEADER_TOLD_FROM = 16
    EVICTION_MS = 120000
    READ_COMMITTED = 1
    FUTURE_LOCAL_REPLICA = -3
    KEPT_MAX = 1 << 12  # partitions: for a request with more, room is made anew

cdef int32_t EPOCH_MAX = 2147483647


# What is wanted


cdef Key key_of(const Wanted* wanted) noexcept nogil:
    """What makes two entries of one request, or of a session, the same partition."""
    return Key(wanted.topic_id, string_view(wanted.name), wanted.index)


cdef bint take_wanted(Turn* turn, const FetchRequest* request, int version, vector[Cached]* found) noexcept nogil:
    """LOG-FETCH-11: each partition once, the last entry for it, with the topic's name beside an id that is known. False: there is no memory."""
    cdef FetchTopic* topic
    cdef Places places
    cdef TopicId topic_id
    cdef string_view name
    cdef size_t named = 0
    cdef int32_t t, p
    cdef bint by_id = version >= BY_ID_FROM
    for t in range(request.topics_count):
        named += request.topics[t].partitions_count
    if not begin_places(turn, &places, named):
        return False
    found.resize(named)
    for t in range(request.topics_count):
        topic = &request.topics[t]
        topic_id = TopicId(topic.topic_id) if by_id else TopicId()
        name = name_of(turn.table, topic_id) if by_id else text_of(topic.topic)
        for p in range(topic.partitions_count):
            take_partition(&found[0][places.put(Key(topic_id, name, topic.partitions[p].partition))], topic_id, name, by_id, &topic.partitions[p])
    found.resize(places.size())
    return True


cdef void take_partition(Cached* entry, const TopicId& topic_id, string_view name, bint by_id, const FetchPartition* asked) noexcept nogil:
    """One partition of a topic, of which nothing was told yet."""
    cdef Wanted* wanted = &entry.wanted
    entry.high_watermark = entry.log_start = -1
    wanted.topic_id = topic_id
    wanted.name.assign(name.data(), name.size())
    wanted.has_name = not by_id or not name.empty()
    wanted.index = asked.partition
    wanted.offset = asked.fetch_offset
    wanted.max_bytes = asked.partition_max_bytes
    wanted.current_leader_epoch = asked.current_leader_epoch
    wanted.last_fetched_epoch = asked.last_fetched_epoch


cdef Key place_of(Turn* turn, const Wanted* wanted) noexcept nogil:
    """The partition that is meant, by its topic's id, whether it was asked for by id or by name."""
    if wanted.topic_id.is_none() and wanted.has_name:
        return Key(id_named(turn.table, string_view(wanted.name)), wanted.index)
    return Key(wanted.topic_id, wanted.index)


cdef int16_t wanted_error(Turn* turn, const Wanted* wanted) noexcept nogil:
    """WANTED_CHECK: LOG-FETCH-9, LOG-SESSION-7, LOG-FETCH-4, in this order; 0 if nothing is wrong."""
    cdef bint is_known = not name_of(turn.table, wanted.topic_id).empty()
    if not wanted.has_name and not is_known:
        return UNKNOWN_TOPIC_ID
    if not wanted.topic_id.is_none() and not is_known and partition_of(turn.table, id_named(turn.table, string_view(wanted.name)), wanted.index) != NULL:
        return INCONSISTENT_TOPIC_ID
    return UNKNOWN_TOPIC_OR_PARTITION if partition_at(turn.table, place_of(turn, wanted)) == NULL else 0


# Sessions


cdef int16_t session_error(Fetches* fetches, const FetchRequest* request, int version) noexcept nogil:
    """SESSION_CHECK: LOG-SESSION-2, -3, -4, in this order."""
    if fetches.sessions.count(request.session_id) == 0:
        return FETCH_SESSION_ID_NOT_FOUND
    cdef Session* session = fetches.sessions[request.session_id]
    if session.next_epoch != request.session_epoch:
        return INVALID_FETCH_SESSION_EPOCH
    return FETCH_SESSION_TOPIC_ID_ERROR if session.uses_topic_ids != (version >= BY_ID_FROM) else 0


cdef void close_session(Fetches* fetches, int32_t session_id) noexcept nogil:
    """The session is no more."""
    if fetches.sessions.count(session_id):
        del fetches.sessions[session_id]
        fetches.sessions.erase(session_id)


cdef bint make_room(Turn* turn, Fetches* fetches) noexcept nogil:
    """LOG-SESSION-8: room for one more; the longest unused goes if it has rested long enough."""
    cdef pair[int32_t, Session*] entry
    cdef int32_t oldest = 0
    cdef int64_t used_ms = 0
    cdef bint is_first = True
    if <int64_t>fetches.sessions.size() < turn.table.session_slots:
        return True
    for entry in fetches.sessions:
        if is_first or entry.second.used_ms < used_ms or (entry.second.used_ms == used_ms and entry.first < oldest):
            oldest, used_ms, is_first = entry.first, entry.second.used_ms, False
    if is_first or turn.now - used_ms <= EVICTION_MS:
        return False
    close_session(fetches, oldest)
    return True


cdef int32_t begin_session(Turn* turn, Fetches* fetches, Plan* plan) noexcept nogil:
    """A new session if there is room for it, and its id; 0 if there is none."""
    cdef int32_t session_id = 0
    cdef Session* session
    if not make_room(turn, fetches):
        return 0
    while session_id == 0 or fetches.sessions.count(session_id):
        session_id = fetches.draw_session_id(fetches.context)
    session = new Session()
    session.next_epoch = 1
    session.uses_topic_ids = plan.header.api_version >= BY_ID_FROM
    session.partitions = plan.partitions
    session.used_ms = turn.now
    fetches.sessions[session_id] = session
    return session_id


cdef bint merge(Turn* turn, const vector[Cached]& cached, const vector[Cached]& wanted, const FetchRequest* request, Plan* plan) noexcept nogil:
    """LOG-SESSION-10: changed ones in place, new ones at the end, forgotten ones gone, asked for or not. False: there is no memory."""
    cdef vector[Cached]* kept = &plan.partitions
    cdef Places forgotten, asked, before
    cdef Cached* entry
    cdef size_t index, at, count = 0
    if not take_forgotten(turn, request, plan.header.api_version, &forgotten):
        return False
    if not begin_places(turn, &asked, wanted.size()) or not begin_places(turn, &before, cached.size()):
        return False
    for index in range(wanted.size()):
        asked.put(key_of(&wanted[index].wanted))
    kept.resize(cached.size() + wanted.size())
    for index in range(cached.size()):
        before.put(key_of(&cached[index].wanted))
        if forgotten.find(key_of(&cached[index].wanted)) != NOWHERE:
            continue
        entry = &kept[0][count]
        entry[0] = cached[index]
        count += 1
        at = asked.find(key_of(&cached[index].wanted))
        if at != NOWHERE:
            change(&entry.wanted, &wanted[at].wanted)
    for index in range(wanted.size()):
        if before.find(key_of(&wanted[index].wanted)) == NOWHERE and forgotten.find(key_of(&wanted[index].wanted)) == NOWHERE:
            kept[0][count] = wanted[index]
            count += 1
    kept.resize(count)
    return True


cdef void change(Wanted* entry, const Wanted* asked) noexcept nogil:
    """It is asked for otherwise now. A topic that is no more, but was known by name, keeps that."""
    cdef string name
    cdef bint keeps_name = not asked.has_name and entry.has_name
    if keeps_name:
        name.swap(entry.name)
    entry[0] = asked[0]
    if keeps_name:
        entry.has_name = True
        entry.name.swap(name)


cdef bint take_forgotten(Turn* turn, const FetchRequest* request, int version, Places* keys) noexcept nogil:
    """The partitions that the session shall forget. False: there is no memory."""
    cdef ForgottenTopic* topic
    cdef TopicId topic_id
    cdef size_t named = 0
    cdef int32_t t, p
    for t in range(request.forgotten_topics_data_count):
        named += request.forgotten_topics_data[t].partitions_count
    if not begin_places(turn, keys, named):
        return False
    for t in range(request.forgotten_topics_data_count):
        topic = &request.forgotten_topics_data[t]
        topic_id = TopicId(topic.topic_id) if version >= BY_ID_FROM else TopicId()
        for p in range(topic.partitions_count):
            keys.put(Key(topic_id, text_of(topic.topic), topic.partitions[p]))
    return True


# The plan


cdef bint plan_fetch(Turn* turn, Fetches* fetches, const FetchRequest* request, Plan* plan) noexcept nogil:
    """LOG-SESSION-1: the session brought up to date, and what is to be read. False: there is no memory."""
    cdef int version = plan.header.api_version
    cdef int64_t min_bytes = request.min_bytes, max_bytes = request.max_bytes
    cdef vector[Cached]* wanted = &fetches.desk.wanted
    cdef Session* session
    cdef int16_t error
    cdef bint is_stray
    cdef size_t index
    if not take_wanted(turn, request, version, wanted):
        return False
    plan.session_id = 0
    if plan.kind == INCREMENTAL:
        session = fetches.sessions[request.session_id]
        if not merge(turn, session.partitions, wanted[0], request, plan):
            return False
        if plan.partitions.empty():
            close_session(fetches, request.session_id)
            plan.kind = SESSIONLESS
            plan.partitions = wanted[0]
        else:
            plan.session_id = request.session_id
            session.next_epoch = 1 if session.next_epoch == EPOCH_MAX else session.next_epoch + 1
            session.partitions.assign(plan.partitions.begin(), plan.partitions.end())
            session.used_ms = turn.now
    else:
        close_session(fetches, request.session_id)
        plan.partitions.swap(wanted[0])
        if plan.kind == FULL:
            plan.session_id = begin_session(turn, fetches, plan)
    plan.strays.clear()
    plan.began.clear()
    for index in range(plan.partitions.size()):
        error = wanted_error(turn, &plan.partitions[index].wanted)
        is_stray = error == UNKNOWN_TOPIC_ID or error == UNKNOWN_TOPIC_OR_PARTITION
        plan.strays.push_back(<char>is_stray)
    plan.listener = turn.listener
    plan.isolation = request.isolation_level
    plan.replica_id = request.replica_state.replica_id if version >= REPLICA_STATE_FROM else request.replica_id
    plan.max_bytes = min(max_bytes, turn.table.fetch_max_bytes)
    plan.min_bytes = min(min_bytes, plan.max_bytes)
    return True


cdef bint isolation_is_unknown(Turn* turn, const Plan* plan) noexcept nogil:
    """LOG-READ-10."""
    cdef size_t index
    if plan.isolation == 0 or plan.isolation == READ_COMMITTED:
        return False
    for index in range(plan.partitions.size()):
        if wanted_error(turn, &plan.partitions[index].wanted) == 0:
            return True
    return False


# Reading


cdef void refuse(PartitionData* data, int32_t index, int16_t error) noexcept nogil:
    """LOG-READ-9: no marks, no records."""
    default_partition_data(data)
    data.partition_index = index
    data.error_code = error
    data.high_watermark = -1
    data.aborted_transactions_count = -1
    data.records.size = 0
    data.records.slice = -1


cdef void begin_given(Given* given, int32_t index, int16_t error) noexcept nogil:
    """What a partition answers as long as nothing else is known of it."""
    refuse(&given.data, index, error)
    given.size_bytes = given.lies_bytes = given.begins = given.ends = 0
    given.is_refused = error != 0
    given.diverges = False


cdef void read_one(
    Turn* turn, const Plan* plan, const Wanted* wanted, int64_t remaining, bint nothing_yet, bint is_stray, vector[Key]* watched, Given* given
) noexcept nogil:
    """LOG-FETCH-3: one partition, with what is left of the request's max_bytes. Whoever will wait for it is watching from then on: `watched`."""
    cdef int16_t error = wanted_error(turn, wanted)
    cdef Partition* partition
    cdef Asked asked
    cdef Read read
    begin_given(given, wanted.index, error)
    if error != 0:
        if is_stray:
            given.data.aborted_transactions_count = 0
        return
    partition = partition_at(turn.table, place_of(turn, wanted))
    asked.offset = wanted.offset
    asked.max_bytes = remaining if remaining < wanted.max_bytes else wanted.max_bytes
    asked.isolation = plan.isolation
    asked.whole_first = nothing_yet
    asked.replica_id = plan.replica_id
    asked.current_leader_epoch = wanted.current_leader_epoch if wanted.current_leader_epoch > -1 else -1
    asked.last_fetched_epoch = wanted.last_fetched_epoch
    partition_room.fetch(partition, &asked, watched != NULL, turn.now, &read)
    if watched != NULL:
        watched.push_back(table_room.key_of(partition))
    given.lies_bytes = min(read.span.lies_bytes, max(<int64_t>wanted.max_bytes, <int64_t>0))
    given.begins, given.ends = read.span.begins, read.span.ends
    if read.error != 0:
        given.data.error_code = read.error
        given.is_refused = True
        if plan.header.api_version >= LEADER_TOLD_FROM and (read.error == FENCED_LEADER_EPOCH or read.error == NOT_LEADER_OR_FOLLOWER):
            given.data.current_leader.leader_id = turn.table.broker_id
            given.data.current_leader.leader_epoch = read.leader_epoch
        return
    found(turn, plan, &read, given)


cdef void found(Turn* turn, const Plan* plan, const Read* read, Given* given) noexcept nogil:
    """LOG-READ-8, LOG-READ-11: where the bytes lie, and the marks."""
    given.data.high_watermark = read.high_watermark
    given.data.last_stable_offset = read.stable_offset
    given.data.log_start_offset = read.log_start
    if read.diverges:
        given.diverges = True
        given.data.diverging_epoch.epoch = read.diverging_epoch
        given.data.diverging_epoch.end_offset = read.diverging_end
    elif plan.isolation == READ_COMMITTED and plan.replica_id != FUTURE_LOCAL_REPLICA and not read.has_left_out:
        given.data.aborted_transactions_count = 0
    given.size_bytes = read.place.size_bytes
    if given.size_bytes > 0:
        given.data.records.size = <int32_t>given.size_bytes
        given.data.records.slice = <int32_t>turn.places.size()
        turn.places.push_back(read.place)


cdef void read_all(Turn* turn, const Plan* plan, vector[Key]* watched, vector[Given]* given) noexcept nogil:
    """Every partition in turn, each with what those before it have left of max_bytes. `watched`: NULL, or the keys of those that are watched now."""
    cdef int64_t remaining = plan.max_bytes
    cdef bint nothing_yet = True
    cdef size_t index
    given.resize(plan.partitions.size())
    for index in range(plan.partitions.size()):
        read_one(turn, plan, &plan.partitions[index].wanted, remaining, nothing_yet, plan.strays[index] != 0, watched, &given[0][index])
        if not plan.strays[index]:
            remaining = max(remaining - given[0][index].size_bytes, <int64_t>0)
            nothing_yet = nothing_yet and given[0][index].size_bytes == 0


cdef bint has_error(const Plan* plan, const Given* given) noexcept nogil:
    """LOG-FETCH-14: that the records at its offset were deleted since the request came is none."""
    return given.is_refused and (plan.began.empty() or given.data.error_code != OFFSET_OUT_OF_RANGE)


cdef bint is_enough(const Plan* plan, const vector[Given]& given) noexcept nogil:
    """LOG-FETCH-1: nothing there, enough bytes, an error, a divergence, or a segment that will not grow."""
    cdef int64_t returned = 0, lies_bytes = 0
    cdef bint is_awaited = False, has_waited = not plan.began.empty()
    cdef size_t index
    for index in range(given.size()):
        if plan.strays[index]:
            continue
        is_awaited = True
        if has_error(plan, &given[index]) or given[index].diverges:
            return True
        if given[index].ends != (plan.began[index] if has_waited else given[index].begins):
            return True
        returned += 0 if has_waited else given[index].size_bytes
        lies_bytes += given[index].lies_bytes
    return not is_awaited or max(returned, lies_bytes) >= plan.min_bytes


# Answering


cdef bint is_news(const Cached* cached, const Given* given) noexcept nogil:
    """LOG-SESSION-6."""
    return (
        given.size_bytes > 0
        or given.is_refused
        or given.diverges
        or given.data.high_watermark != cached.high_watermark
        or given.data.log_start_offset != cached.log_start
    )


cdef void remember_answers(Turn* turn, Fetches* fetches, const Plan* plan, const vector[Given]& given) noexcept nogil:
    """LOG-SESSION-9: what was answered, and the order in which partitions are read next."""
    cdef vector[Cached]* partitions = &fetches.sessions[plan.session_id].partitions
    cdef Places places
    cdef Cached* entry
    cdef size_t index, at
    cdef bint is_new = plan.kind == FULL
    if not begin_places(turn, &places, plan.partitions.size()):
        return
    for index in range(plan.partitions.size()):
        places.put(key_of(&plan.partitions[index].wanted))
    for index in range(partitions.size()):
        entry = &partitions[0][index]
        entry.goes_behind = False
        at = places.find(key_of(&entry.wanted))
        if at != NOWHERE:
            entry.high_watermark = given[at].data.high_watermark
            entry.log_start = given[at].data.log_start_offset
            entry.goes_behind = plan.strays[at] != 0 if is_new else given[at].size_bytes > 0
    put_in_order(partitions, &fetches.desk.wanted)


cdef void put_in_order(vector[Cached]* partitions, vector[Cached]* room) noexcept nogil:
    """Those that go behind, behind the others."""
    cdef size_t index, ahead = 0, behind = 0
    room.resize(partitions.size())
    for index in range(partitions.size()):
        behind += not partitions[0][index].goes_behind
    for index in range(partitions.size()):
        if partitions[0][index].goes_behind:
            swap[Cached](room[0][behind], partitions[0][index])
            behind += 1
        else:
            swap[Cached](room[0][ahead], partitions[0][index])
            ahead += 1
    partitions.swap(room[0])


cdef void respond(Turn* turn, Desk* desk, int64_t connection, const Plan* plan, int16_t error, int32_t session_id) noexcept nogil:
    """The answers in order, those of one topic together where they follow each other; of an incremental fetch, the news only."""
    cdef FetchResponse response
    cdef FetchResponseNodeEndpoint endpoint
    cdef FetchableTopicResponse topic
    cdef FetchableTopicResponse* last
    cdef const Wanted* wanted
    cdef const Wanted* before = NULL
    cdef PartitionData* partitions
    cdef Frame frame
    cdef size_t index
    default_fetch_response(&response)
    response.error_code = error
    response.session_id = session_id
    desk.topics.clear()
    desk.partitions.clear()
    for index in range(desk.given.size()):
        if plan.kind == INCREMENTAL and error == 0 and not is_news(&plan.partitions[index], &desk.given[index]):
            continue
        wanted = &plan.partitions[index].wanted
        if before == NULL or wanted.topic_id != before.topic_id or wanted.name != before.name:
            default_fetchable_topic_response(&topic)
            topic.topic = span_of(string_view(wanted.name))
            memcpy(topic.topic_id, wanted.topic_id.bytes(), UUID_BYTES)
            desk.topics.push_back(topic)
        before = wanted
        last = &desk.topics.back()
        last.partitions_count += 1
        desk.partitions.push_back(desk.given[index].data)
        if desk.given[index].data.current_leader.leader_id >= 0:
            response.node_endpoints = &endpoint
            response.node_endpoints_count = 1
    partitions = desk.partitions.data()
    for index in range(desk.topics.size()):
        desk.topics[index].partitions = partitions
        partitions += desk.topics[index].partitions_count
    response.responses = desk.topics.data()
    response.responses_count = <int32_t>desk.topics.size()
    if plan.replica_id >= 0:
        response.node_endpoints_count = 0
    if response.node_endpoints_count > 0:
        default_fetch_response_node_endpoint(&endpoint)
        endpoint.node_id = turn.table.broker_id
        endpoint.host = span_of(string_view(turn.table.endpoints[plan.listener].host))
        endpoint.port = turn.table.endpoints[plan.listener].port
        endpoint.rack = span_of(string_view(turn.table.rack))
        if not turn.table.has_rack:
            endpoint.rack.size = -1
    begin_answer(turn, connection, plan.header.correlation_id, plan.header.is_flexible, &frame)
    encode_fetch_response(&response, &turn.out, plan.header.api_version)
    end_answer(turn, &frame)


cdef void answer(Turn* turn, Fetches* fetches, int64_t connection, const Plan* plan) noexcept nogil:
    """The reply, and the session with what it now knows to have been answered."""
    if fetches.sessions.count(plan.session_id):
        remember_answers(turn, fetches, plan, fetches.desk.given)
    respond(turn, fetches.desk, connection, plan, 0, plan.session_id)


cdef void spoil(Turn* turn, int64_t connection, const Header* header, const FetchRequest* request, int16_t error) noexcept nogil:
    """One error for all; before v13, said of each partition too, as often as it is named."""
    cdef FetchResponse response
    cdef FetchableTopicResponse* topics
    cdef PartitionData* given
    cdef Frame frame
    cdef int32_t t, p, count
    default_fetch_response(&response)
    response.error_code = error
    topics = <FetchableTopicResponse*>allocate(&turn.arena, request.topics_count * sizeof(FetchableTopicResponse))
    if header.api_version < BY_ID_FROM and topics != NULL:
        for t in range(request.topics_count):
            count = request.topics[t].partitions_count
            given = <PartitionData*>allocate(&turn.arena, count * sizeof(PartitionData))
            default_fetchable_topic_response(&topics[t])
            topics[t].topic = request.topics[t].topic
            topics[t].partitions = given
            topics[t].partitions_count = count if given != NULL else 0
            for p in range(topics[t].partitions_count):
                refuse(&given[p], request.topics[t].partitions[p].partition, error)
                given[p].aborted_transactions_count = 0
        response.responses = topics
        response.responses_count = request.topics_count
    begin_answer(turn, connection, header.correlation_id, header.is_flexible, &frame)
    encode_fetch_response(&response, &turn.out, header.api_version)
    end_answer(turn, &frame)


cdef Verdict answer_fetch(Turn* turn, Fetches* fetches, int64_t connection, const Header* header, Reader* reader) noexcept nogil:
    """Answer, or park."""
    cdef FetchRequest request
    cdef Verdict verdict
    cdef int64_t ticket
    if not decode_fetch_request(&request, reader, &turn.arena, header.api_version):
        return MALFORMED
    ticket = turn.tickets.add(1)
    fetches.lock.take()
    verdict = answer_or_park(turn, fetches, connection, ticket, header, &request)
    clear(fetches)
    fetches.lock.give()
    return verdict


cdef Verdict answer_or_park(Turn* turn, Fetches* fetches, int64_t connection, int64_t ticket, const Header* header, const FetchRequest* request) noexcept nogil:
    """Check the session, plan, read."""
    cdef Plan* plan = &fetches.desk.plan
    cdef vector[Given]* given = &fetches.desk.given
    cdef int16_t error
    plan.header = header[0]
    plan.kind = FULL if request.session_epoch == INITIAL_EPOCH else SESSIONLESS if request.session_epoch == FINAL_EPOCH else INCREMENTAL
    if plan.kind == INCREMENTAL:
        error = session_error(fetches, request, header.api_version)
        if error != 0:
            given.clear()
            respond(turn, fetches.desk, connection, plan, error, 0)
            return REPLIED
    if not plan_fetch(turn, fetches, request, plan):
        return MALFORMED
    if isolation_is_unknown(turn, plan):
        spoil(turn, connection, header, request, INVALID_REQUEST)
        return REPLIED
    read_all(turn, plan, NULL, given)
    if request.max_wait_ms <= 0 or is_enough(plan, given[0]):
        answer(turn, fetches, connection, plan)
        return REPLIED
    return park(turn, fetches, connection, ticket, request.max_wait_ms)


cdef void clear(Fetches* fetches) noexcept nogil:
    """A large request leaves no room behind that nobody may need again."""
    if fetches.desk.given.capacity() > KEPT_MAX or fetches.desk.wanted.capacity() > KEPT_MAX:
        del fetches.desk
        fetches.desk = new Desk()


# Waiting


cdef Verdict park(Turn* turn, Fetches* fetches, int64_t connection, int64_t ticket, int32_t wait_ms) noexcept nogil:
    """THREAD-WAIT-1: the fetch waits for any of its partitions, and for its deadline; unless there is enough by the time that they all know of it."""
    cdef Plan* plan = &fetches.desk.plan
    cdef vector[Given]* given = &fetches.desk.given
    cdef Parked* parked
    cdef Places keys
    cdef Key key
    cdef size_t index
    if not begin_places(turn, &keys, plan.partitions.size()):
        return MALFORMED
    parked = new Parked()
    for index in range(given.size()):
        plan.began.push_back(given[0][index].begins)
    read_all(turn, plan, &parked.watched, given)
    if is_enough(plan, given[0]):
        answer(turn, fetches, connection, plan)
        watch_no_more(turn, parked)
        del parked
        return REPLIED
    parked.plan = plan[0]
    parked.connection = connection
    parked.deadline_ms = turn.now + wait_ms
    for index in range(plan.partitions.size()):
        key = place_of(turn, &plan.partitions[index].wanted)
        if keys.put(key) == parked.wakes.size():
            parked.wakes.push_back(key)
            fetches.waiting[key].push_back(ticket)
    fetches.parked[ticket] = parked
    fetches.deadlines.insert(pair[int64_t, int64_t](parked.deadline_ms, ticket))
    turn.parked_ticket, turn.parked_until_ms = ticket, parked.deadline_ms
    return PARKED


cdef void watch_no_more(Turn* turn, Parked* parked) noexcept nogil:
    """THREAD-WAIT-4: its partitions, as far as they are still there, have one watcher less."""
    cdef Partition* partition
    cdef size_t index
    for index in range(parked.watched.size()):
        partition = partition_at(turn.table, parked.watched[index])
        if partition != NULL:
            partition_room.watched_no_more(partition)


cdef void unpark(Turn* turn, Fetches* fetches, int64_t ticket) noexcept nogil:
    """The fetch of this ticket waits no more."""
    cdef Parked* parked = fetches.parked[ticket]
    cdef vector[int64_t]* tickets
    cdef size_t index, at
    for index in range(parked.wakes.size()):
        tickets = &fetches.waiting[parked.wakes[index]]
        for at in range(tickets.size()):
            if tickets[0][at] == ticket:
                tickets.erase(tickets.begin() + at)
                break
        if tickets.empty():
            fetches.waiting.erase(parked.wakes[index])
    watch_no_more(turn, parked)
    fetches.deadlines.erase(pair[int64_t, int64_t](parked.deadline_ms, ticket))
    fetches.parked.erase(ticket)
    del parked
    if ticket == turn.parked_ticket:
        turn.parked_ticket = 0


cdef void reconsider(Turn* turn, Fetches* fetches, int64_t ticket) noexcept nogil:
    """LOG-FETCH-2: something that the parked fetch waits for has changed; it is answered if there is enough now."""
    cdef Parked* parked = fetches.parked[ticket]
    read_all(turn, &parked.plan, NULL, &fetches.desk.given)
    if is_enough(&parked.plan, fetches.desk.given):
        answer(turn, fetches, parked.connection, &parked.plan)
        unpark(turn, fetches, ticket)


cdef void reconsider_all(Turn* turn, Fetches* fetches, vector[int64_t]* tickets) noexcept nogil:
    """The longest waiting first, each once."""
    cdef size_t index
    sort(tickets.begin(), tickets.end())
    for index in range(tickets.size()):
        if index > 0 and tickets[0][index] == tickets[0][index - 1]:
            continue
        reconsider(turn, fetches, tickets[0][index])


cdef void wake(Turn* turn, Fetches* fetches, vector[Key]* keys) noexcept nogil:
    """THREAD-WAIT-3: these partitions changed."""
    cdef vector[int64_t] tickets
    cdef vector[int64_t]* waiting
    cdef size_t index
    fetches.lock.take()
    for index in range(keys.size()):
        if fetches.waiting.count(keys[0][index]):
            waiting = &fetches.waiting[keys[0][index]]
            tickets.insert(tickets.end(), waiting.begin(), waiting.end())
    reconsider_all(turn, fetches, &tickets)
    fetches.lock.give()


cdef void wake_topic(Turn* turn, Fetches* fetches, const TopicId& topic_id) noexcept nogil:
    """THREAD-WAIT-6: the topic of this id is gone."""
    cdef pair[Key, vector[int64_t]] entry
    cdef vector[int64_t] tickets
    fetches.lock.take()
    for entry in fetches.waiting:
        if entry.first.topic == topic_id:
            tickets.insert(tickets.end(), entry.second.begin(), entry.second.end())
    reconsider_all(turn, fetches, &tickets)
    fetches.lock.give()


cdef void time_out(Turn* turn, Fetches* fetches, int64_t ticket) noexcept nogil:
    """THREAD-WAIT-5: the parked fetch has waited long enough: its answer with what there is. Nothing if it was answered before."""
    cdef Parked* parked
    fetches.lock.take()
    if fetches.parked.count(ticket):
        parked = fetches.parked[ticket]
        read_all(turn, &parked.plan, NULL, &fetches.desk.given)
        answer(turn, fetches, parked.connection, &parked.plan)
        unpark(turn, fetches, ticket)
    fetches.lock.give()


cdef void forget_connection(Turn* turn, Fetches* fetches, int64_t connection) noexcept nogil:
    """Who hangs up waits no more."""
    cdef vector[int64_t] tickets
    cdef pair[int64_t, Parked*] entry
    cdef size_t index
    fetches.lock.take()
    for entry in fetches.parked:
        if entry.second.connection == connection:
            tickets.push_back(entry.first)
    for index in range(tickets.size()):
        unpark(turn, fetches, tickets[index])
    fetches.lock.give()


cdef void forget_ticket(Turn* turn, Fetches* fetches, int64_t ticket) noexcept nogil:
    """THREAD-WAIT-5: the same, for whoever knows what it waits for."""
    fetches.lock.take()
    if fetches.parked.count(ticket):
        unpark(turn, fetches, ticket)
    fetches.lock.give()


cdef int64_t next_deadline(Fetches* fetches) noexcept nogil:
    """When the first of those that wait gives up; -1 if nobody waits."""
    cdef int64_t deadline_ms
    fetches.lock.take()
    deadline_ms = -1 if fetches.deadlines.empty() else dereference(fetches.deadlines.begin()).first
    fetches.lock.give()
    return deadline_ms


cdef void expired(Fetches* fetches, int64_t now, vector[int64_t]* tickets) noexcept nogil:
    """The tickets whose deadline has come, the earliest first."""
    cdef pair[int64_t, int64_t] entry
    fetches.lock.take()
    for entry in fetches.deadlines:
        if entry.first > now:
            break
        tickets.push_back(entry.second)
    fetches.lock.give()
