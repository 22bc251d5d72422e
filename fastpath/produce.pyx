# distutils: language = c++
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Produce: one request, many partitions, each judged alone but for what spoils the whole request. It decides what `models/produce.py` decides."""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t
from libc.stdio cimport snprintf
from libc.string cimport memcpy, memset
from libcpp.string cimport string
from libcpp.unordered_map cimport unordered_map
from libcpp.vector cimport vector

from fiducial.fastpath.batch cimport (
    ATTRIBUTE_TRANSACTIONAL,
    Batch,
    FAULT_TEXT_BYTES_MAX,
    KEY_IS_MISSING,
    NO_PRODUCER,
    NOT_REFUSED,
    SOME_RECORD_HAS_BAD_TIME,
    TAIL_CORRUPT_MAGIC,
    Batch,
    Fault,
    Limits,
    Refusal,
    Sent,
    error_of,
    fault_text,
    first_header_is_unreadable,
    parse,
    read_records,
    record_faults,
    request_refusal,
)
from fiducial.fastpath.codec_structs cimport (
    BatchIndexAndErrorMessage,
    PartitionProduceData,
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
    TopicProduceResponse,
    decode_produce_request,
    default_batch_index_and_error_message,
    default_partition_produce_response,
    default_produce_response,
    default_topic_produce_response,
    encode_produce_response,
)
from fiducial.fastpath.log cimport LogConfig
from fiducial.fastpath.partition cimport Coming, Partition, Produced, copied_config, limits_of
from fiducial.fastpath cimport partition as partition_room
from fiducial.fastpath.table cimport Table, id_from, id_named, is_identified, key_of, partition_of, span_of, text_of
from fiducial.fastpath.turn cimport MALFORMED, REFUSED, REPLIED, SILENT, Appended, begin_answer, end_answer
from fiducial.fastpath.wire cimport UUID_BYTES, Frame, Span, allocate

cdef enum:
    CORRUPT_MESSAGE = 2
    UNKNOWN_TOPIC_OR_PARTITION = 3
    MESSAGE_TOO_LARGE = 10
    INVALID_TOPIC_EXCEPTION = 17
    RECORD_LIST_TOO_LARGE = 18
    NOT_ENOUGH_REPLICAS = 19
    INVALID_REQUIRED_ACKS = 21
    TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 53
    UNKNOWN_TOPIC_ID = 100
    BY_ID_FROM = 13  # the version from which topics go by id
    ROW_MAX = 1024  # requests


cdef struct Message:  # an error message, and where it is built
    int size
    char[FAULT_TEXT_BYTES_MAX + 64] text


# What the request names


cdef void targets_of(Turn* turn, const ProduceRequest* request, int version, vector[Target]* targets) noexcept nogil:
    """LOG-PRODUCE-6: each partition once, in the order of first naming, with the last records; name and id as far as they are known."""
    cdef unordered_map[string, size_t] seen
    cdef TopicProduceData* topic
    cdef Target target
    cdef string key
    cdef int32_t t, p
    for t in range(request.topic_data_count):
        topic = &request.topic_data[t]
        if version >= BY_ID_FROM:
            target.topic_id = id_from(topic.topic_id)
            target.name = turn.table.names[target.topic_id] if is_identified(turn.table, target.topic_id) else string()
            key = target.topic_id
        else:
            target.name = text_of(topic.name)
            target.topic_id = id_named(turn.table, target.name)
            key = target.name
        for p in range(topic.partition_data_count):
            target.partition = NULL
            target.is_appended = False
            target.index = topic.partition_data[p].index
            target.records = topic.partition_data[p].records
            default_partition_produce_response(&target.answer)
            target.answer.index = target.index
            if seen.count(key_of(key, target.index)):
                targets[0][seen[key_of(key, target.index)]].records = target.records
            else:
                seen[key_of(key, target.index)] = targets.size()
                targets.push_back(target)


# What spoils the whole request


cdef void parse_span(Span records, Sent* sent) noexcept nogil:
    """The batches of one partition; null is as good as none."""
    parse(records.data, records.size if records.size > 0 else 0, sent)


cdef bint begins_transactional(const Sent* sent) noexcept nogil:
    """LOG-PRODUCE-12."""
    return sent.batches > 0 and sent.first.attributes & ATTRIBUTE_TRANSACTIONAL != 0


cdef int16_t refusal_of_all(const ProduceRequest* request, Message* message) noexcept nogil:
    """The error of every partition, 0 for none: the earliest partition that is refused speaks; the search ends at the first batch of a transaction."""
    cdef Sent sent
    cdef int32_t t, p
    message.size = -1
    for t in range(request.topic_data_count):
        for p in range(request.topic_data[t].partition_data_count):
            parse_span(request.topic_data[t].partition_data[p].records, &sent)
            if request.transactional_id.size < 0 and begins_transactional(&sent):
                return TRANSACTIONAL_ID_AUTHORIZATION_FAILED
            if first_header_is_unreadable(&sent):
                tell_unreadable(&sent, message)
                return CORRUPT_MESSAGE
            if begins_transactional(&sent):
                return 0
    return 0


cdef void tell_unreadable(const Sent* sent, Message* message) noexcept nogil:
    """models.produce.unreadable_message."""
    if sent.tail == TAIL_CORRUPT_MAGIC:
        message.size = snprintf(message.text, sizeof(message.text), b"invalid magic found in record: %d", sent.tail_magic)
    else:
        message.size = snprintf(message.text, sizeof(message.text), b"the length of a record batch is below the smallest there can be")


# One partition


cdef bint is_internal(const string& name) noexcept nogil:
    """models.topics.INTERNAL."""
    return name == b"__consumer_offsets" or name == b"__transaction_state" or name == b"__share_group_state"


cdef bint is_admin(const Span* client_id) noexcept nogil:
    """Kafka's own tools may write to internal topics."""
    return text_of(client_id[0]) == b"__admin_client"


cdef void set_message(Turn* turn, PartitionProduceResponse* answer, const char* text, int size) noexcept nogil:
    """A message that lasts as long as the turn."""
    cdef uint8_t* kept = <uint8_t*>allocate(&turn.arena, size)
    if kept != NULL:
        memcpy(kept, text, size)
        answer.error_message.data = kept
        answer.error_message.size = size


cdef int16_t refusal_before_log(
    Turn* turn, const Target* target, const Partition* partition, const ProduceRequest* request, const Header* header, const Sent* sent
) noexcept nogil:
    """PARTITION_CHECK, REQUEST_CHECK, TRANSACTION_CHECK, ACKS_CHECK, INTERNAL_CHECK, in this order."""
    cdef Refusal refusal
    if header.api_version >= BY_ID_FROM and target.name.empty():
        return UNKNOWN_TOPIC_ID
    if partition == NULL:
        return UNKNOWN_TOPIC_OR_PARTITION
    refusal = request_refusal(sent, header.api_version)
    if refusal != NOT_REFUSED:
        return error_of(refusal)
    if begins_transactional(sent) and sent.first.producer_id > NO_PRODUCER:
        return NOT_ENOUGH_REPLICAS
    if request.acks < -1 or request.acks > 1:
        return INVALID_REQUIRED_ACKS
    if is_internal(target.name) and not is_admin(&header.client_id):
        return INVALID_TOPIC_EXCEPTION
    return 0


cdef void take_outcome(Turn* turn, Target* target) noexcept nogil:
    """What came of the append, as its answer."""
    cdef Produced* produced = &target.coming.produced
    cdef PartitionProduceResponse* answer = &target.answer
    answer.error_code = produced.error
    if produced.error != 0:
        if produced.error not in (CORRUPT_MESSAGE, MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE):
            answer.log_start_offset = produced.log_start
        if produced.refusal == KEY_IS_MISSING or produced.refusal == SOME_RECORD_HAS_BAD_TIME:
            tell_faults(turn, target.partition, &target.coming.batch, answer)
        return
    answer.base_offset = produced.base_offset
    answer.log_append_time_ms = produced.append_time_ms
    answer.log_start_offset = produced.log_start
    if produced.is_due or not produced.is_duplicate:
        turn.appended.push_back(Appended(target.partition, produced.end, produced.is_due, produced.is_watched))


cdef void tell_faults(Turn* turn, Partition* partition, Batch* batch, PartitionProduceResponse* answer) noexcept nogil:
    """LOG-BATCH-22: every record that is at fault, with its text, and a summary. The records are read again: others were unpacked in the same room."""
    cdef LogConfig config
    copied_config(partition, &config)
    cdef Limits limits = limits_of(&config)
    read_records(batch, &turn.work.codecs, &turn.work.unpacked)
    cdef int64_t count = record_faults(batch, &limits, turn.now, NULL, 0), index
    cdef Fault* faults = <Fault*>allocate(&turn.arena, count * sizeof(Fault))
    cdef BatchIndexAndErrorMessage* errors = <BatchIndexAndErrorMessage*>allocate(&turn.arena, count * sizeof(BatchIndexAndErrorMessage))
    cdef char* text
    cdef Message message
    if faults == NULL or errors == NULL or count == 0:
        return
    record_faults(batch, &limits, turn.now, faults, count)
    for index in range(count):
        text = <char*>allocate(&turn.arena, FAULT_TEXT_BYTES_MAX)
        if text == NULL:
            return
        default_batch_index_and_error_message(&errors[index])
        errors[index].batch_index = faults[index].index
        errors[index].batch_index_error_message.data = <const uint8_t*>text
        errors[index].batch_index_error_message.size = fault_text(&faults[index], turn.now, text)
    answer.record_errors = errors
    answer.record_errors_count = <int32_t>count
    message.size = snprintf(
        message.text, sizeof(message.text), b"%lld of the records refused: %.*s", <long long>count,
        errors[0].batch_index_error_message.size, <const char*>errors[0].batch_index_error_message.data,
    )
    set_message(turn, answer, message.text, message.size)


# The request, and the row that it stands in


cdef Verdict take_produce(Turn* turn, Row* row, int64_t connection, const Header* header, Reader* reader) noexcept nogil:
    """LOG-PRODUCE-5, LOG-PRODUCE-7: judge each partition alone, good ones beside refused ones. One without acks is a row of its own: whether
    something was refused decides what becomes of the connection."""
    cdef ProduceRequest request
    cdef Asked* asked
    cdef bint is_refused = False
    cdef size_t index
    if not decode_produce_request(&request, reader, &turn.arena, header.api_version):
        return MALFORMED
    turn.tickets.add(1)
    if request.acks == 0:
        append_row(turn, row, connection)
    asked = new Asked()
    row.requests.push_back(asked)
    asked.header = header[0]
    judge_request(turn, row, asked, &request)
    if request.acks != 0:
        row.is_full = row.requests.size() >= ROW_MAX
        return REPLIED
    append_all(turn, row)
    for index in range(asked.targets.size()):
        is_refused = is_refused or asked.targets[index].answer.error_code != 0
    empty_row(row)
    return REFUSED if is_refused else SILENT


cdef void judge_request(Turn* turn, Row* row, Asked* asked, const ProduceRequest* request) noexcept nogil:
    """Each of its partitions."""
    cdef Message message
    cdef int16_t for_all
    cdef Target* target
    cdef size_t index
    targets_of(turn, request, asked.header.api_version, &asked.targets)
    for_all = refusal_of_all(request, &message)
    for index in range(asked.targets.size()):
        target = &asked.targets[index]
        if for_all == 0:
            judge_target(turn, row, target, request, &asked.header)
            continue
        target.answer.error_code = for_all
        target.answer.base_offset = target.answer.log_append_time_ms = target.answer.log_start_offset = -1
        if message.size >= 0:
            set_message(turn, &target.answer, message.text, message.size)


cdef void judge_target(Turn* turn, Row* row, Target* target, const ProduceRequest* request, const Header* header) noexcept nogil:
    """Is it to be appended, or why not? What is stored with another codec is appended now, behind what came before: there is room for one."""
    cdef Partition* partition = partition_of(turn.table, target.topic_id, target.index)
    cdef PartitionProduceResponse* answer = &target.answer
    parse_span(target.records, &target.sent)
    answer.base_offset = answer.log_append_time_ms = answer.log_start_offset = -1
    answer.error_code = refusal_before_log(turn, target, partition, request, header, &target.sent)
    if answer.error_code == NOT_ENOUGH_REPLICAS:
        set_message(turn, answer, b"there is no transaction coordinator", 35)
    if answer.error_code != 0:
        return
    target.coming.batch = target.sent.first
    partition_room.judge(partition, &target.coming, &turn.work, turn.now)
    if partition_room.is_rebuilt(&target.coming):
        append_all(turn, row)
        partition_room.judge(partition, &target.coming, &turn.work, turn.now)
        target.partition = partition
        append_all(turn, row)
    target.partition = partition


cdef void append_row(Turn* turn, Row* row, int64_t connection) noexcept nogil:
    """What was judged is appended, and each request answered."""
    cdef size_t index
    append_all(turn, row)
    for index in range(row.requests.size()):
        respond(turn, connection, &row.requests[index].header, &row.requests[index].targets)
    empty_row(row)


cdef void empty_row(Row* row) noexcept nogil:
    """The next request begins another."""
    cdef size_t index
    for index in range(row.requests.size()):
        del row.requests[index]
    row.requests.clear()
    row.is_full = False


cdef void append_all(Turn* turn, Row* row) noexcept nogil:
    """What was judged and is not appended yet, to each partition in one write."""
    cdef vector[Target*] targets
    cdef vector[vector[Coming*]] rows
    cdef unordered_map[size_t, size_t] places
    cdef Target* target
    cdef size_t at, index
    for at in range(row.requests.size()):
        for index in range(row.requests[at].targets.size()):
            target = &row.requests[at].targets[index]
            if target.partition == NULL or target.is_appended:
                continue
            if places.count(<size_t>target.partition) == 0:
                places[<size_t>target.partition] = rows.size()
                rows.resize(rows.size() + 1)
            rows[places[<size_t>target.partition]].push_back(&target.coming)
            target.is_appended = True
            targets.push_back(target)
    for index in range(targets.size()):
        at = places[<size_t>targets[index].partition]
        if not rows[at].empty():
            partition_room.produce(targets[index].partition, rows[at], &turn.work, turn.now)
            rows[at].clear()
    for index in range(targets.size()):
        take_outcome(turn, targets[index])


cdef void respond(Turn* turn, int64_t connection, const Header* header, vector[Target]* targets) noexcept nogil:
    """The answers by topic, in the order in which topics were first named."""
    cdef ProduceResponse response
    cdef unordered_map[string, size_t] places
    cdef vector[vector[PartitionProduceResponse]] grouped
    cdef vector[TopicProduceResponse] topics
    cdef TopicProduceResponse topic
    cdef Frame frame
    cdef string key
    cdef size_t index
    for index in range(targets.size()):
        key = targets[0][index].topic_id
        key.append(targets[0][index].name)
        if places.count(key) == 0:
            places[key] = topics.size()
            default_topic_produce_response(&topic)
            topic.name = span_of(targets[0][index].name)
            memcpy(topic.topic_id, targets[0][index].topic_id.data(), UUID_BYTES)
            topics.push_back(topic)
            grouped.resize(topics.size())
        grouped[places[key]].push_back(targets[0][index].answer)
    for index in range(topics.size()):
        topics[index].partition_responses = grouped[index].data()
        topics[index].partition_responses_count = <int32_t>grouped[index].size()
    default_produce_response(&response)
    response.responses = topics.data()
    response.responses_count = <int32_t>topics.size()
    begin_answer(turn, connection, header.correlation_id, header.is_flexible, &frame)
    encode_produce_response(&response, &turn.out, header.api_version)
    end_answer(turn, &frame)
