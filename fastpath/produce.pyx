# distutils: language = c++
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Produce: one request, many partitions, each judged alone but for what spoils the whole request. It decides what `models/produce.py` decides.

Who unpacks or packs a batch waits for Python's lock, and lets the table go meanwhile (THREAD-LOCK-4). So what is kept of a partition that was looked
up is its key: it is looked up to be judged, and again to be appended to, if the table was let go since.
"""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t
from libc.stdio cimport snprintf
from libc.string cimport memcpy
from libcpp.algorithm cimport sort
from libcpp.string_view cimport string_view

from fiducial.fastpath.batch cimport (
    ATTRIBUTE_TRANSACTIONAL,
    CODEC_NONE,
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
    codec_of,
    error_of,
    fault_text,
    first_header_is_unreadable,
    parse,
    record_faults,
    request_refusal,
)
from fiducial.fastpath.codec_structs cimport (
    BatchIndexAndErrorMessage,
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
from fiducial.fastpath.keys cimport Key, Places, TopicId
from fiducial.fastpath.partition cimport Partition, Produced, limits_of
from fiducial.fastpath cimport partition as partition_room
from fiducial.fastpath.table cimport Table, id_named, name_of, partition_at, text_of
from fiducial.fastpath.turn cimport MALFORMED, REFUSED, REPLIED, SILENT, Appended, begin_answer, begin_places, end_answer, let_table_go, read_apart
from fiducial.fastpath.wire cimport UUID_BYTES, Frame, Span, allocate

cdef enum:
    UNKNOWN_SERVER_ERROR = -1
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


cdef bint take_targets(Turn* turn, const ProduceRequest* request, Asked* asked) noexcept nogil:
    """LOG-PRODUCE-6: each partition once, in the order of first naming, with the last records; and the place of its answer. False: there is no
    memory."""
    cdef ProduceResponse* response = &asked.response
    cdef PartitionProduceResponse* answers
    cdef Places topics, partitions
    cdef size_t named = 0
    cdef int32_t t
    for t in range(request.topic_data_count):
        named += request.topic_data[t].partition_data_count
    default_produce_response(response)
    asked.count = 0
    asked.targets = <Target*>allocate(&turn.arena, named * sizeof(Target))
    answers = <PartitionProduceResponse*>allocate(&turn.arena, named * sizeof(PartitionProduceResponse))
    response.responses = <TopicProduceResponse*>allocate(&turn.arena, request.topic_data_count * sizeof(TopicProduceResponse))
    if asked.targets == NULL or answers == NULL or response.responses == NULL:
        return False
    if not begin_places(turn, &topics, request.topic_data_count) or not begin_places(turn, &partitions, named):
        return False
    for t in range(request.topic_data_count):
        if request.topic_data[t].partition_data_count > 0:
            take_topic(turn.table, &request.topic_data[t], asked, &topics, &partitions)
    place_answers(asked, answers)
    return True


cdef void take_topic(Table* table, const TopicProduceData* topic, Asked* asked, Places* topics, Places* partitions) noexcept nogil:
    """Name and id as far as they are known; and the partitions."""
    cdef bint by_id = asked.header.api_version >= BY_ID_FROM
    cdef string_view name = text_of(topic.name)
    cdef TopicId topic_id = TopicId(topic.topic_id) if by_id else id_named(table, name)
    cdef size_t at = topics.put(Key(topic_id, name, 0)), place
    cdef TopicProduceResponse* answered = &asked.response.responses[at]
    cdef Target* target
    cdef int32_t p
    if <int32_t>at == asked.response.responses_count:
        asked.response.responses_count += 1
        default_topic_produce_response(answered)
        answered.name = topic.name
        memcpy(answered.topic_id, topic_id.bytes(), UUID_BYTES)
    for p in range(topic.partition_data_count):
        place = partitions.put(Key(topic_id, name, topic.partition_data[p].index))
        target = &asked.targets[place]
        if place == asked.count:
            asked.count += 1
            answered.partition_responses_count += 1
            target.topic, target.key = at, Key(topic_id, topic.partition_data[p].index)
            target.coming = NULL
        target.records = topic.partition_data[p].records


cdef void place_answers(Asked* asked, PartitionProduceResponse* answers) noexcept nogil:
    """Those of a topic together."""
    cdef TopicProduceResponse* topic
    cdef Target* target
    cdef size_t index
    cdef int32_t t
    for t in range(asked.response.responses_count):
        topic = &asked.response.responses[t]
        topic.partition_responses = answers
        answers += topic.partition_responses_count
        topic.partition_responses_count = 0
    for index in range(asked.count):
        target = &asked.targets[index]
        topic = &asked.response.responses[target.topic]
        target.answer = &topic.partition_responses[topic.partition_responses_count]
        topic.partition_responses_count += 1
        default_partition_produce_response(target.answer)
        target.answer.index = target.key.index


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


cdef bint is_internal(string_view name) noexcept nogil:
    """models.topics.INTERNAL."""
    return name == string_view(b"__consumer_offsets") or name == string_view(b"__transaction_state") or name == string_view(b"__share_group_state")


cdef bint is_admin(const Span* client_id) noexcept nogil:
    """Kafka's own tools may write to internal topics."""
    return text_of(client_id[0]) == string_view(b"__admin_client")


cdef void set_message(Turn* turn, PartitionProduceResponse* answer, const char* text, int size) noexcept nogil:
    """A message that lasts as long as the turn."""
    cdef uint8_t* kept = <uint8_t*>allocate(&turn.arena, size)
    if kept != NULL:
        memcpy(kept, text, size)
        answer.error_message.data = kept
        answer.error_message.size = size


cdef string_view name_asked(Table* table, const Asked* asked, const Target* target) noexcept nogil:
    """The topic's. None: there is no topic of this id."""
    return name_of(table, target.key.topic) if asked.header.api_version >= BY_ID_FROM else text_of(asked.response.responses[target.topic].name)


cdef int16_t partition_refusal(const Asked* asked, string_view name, const Partition* partition) noexcept nogil:
    """PARTITION_CHECK."""
    if asked.header.api_version >= BY_ID_FROM and name.empty():
        return UNKNOWN_TOPIC_ID
    return UNKNOWN_TOPIC_OR_PARTITION if partition == NULL else 0


cdef int16_t refusal_before_log(
    const Asked* asked, string_view name, const Partition* partition, const ProduceRequest* request, const Sent* sent
) noexcept nogil:
    """PARTITION_CHECK, REQUEST_CHECK, TRANSACTION_CHECK, ACKS_CHECK, INTERNAL_CHECK, in this order."""
    cdef Refusal refusal
    cdef int16_t error = partition_refusal(asked, name, partition)
    if error != 0:
        return error
    refusal = request_refusal(sent, asked.header.api_version)
    if refusal != NOT_REFUSED:
        return error_of(refusal)
    if begins_transactional(sent) and sent.first.producer_id > NO_PRODUCER:
        return NOT_ENOUGH_REPLICAS
    if request.acks < -1 or request.acks > 1:
        return INVALID_REQUIRED_ACKS
    if is_internal(name) and not is_admin(&asked.header.client_id):
        return INVALID_TOPIC_EXCEPTION
    return 0


cdef void take_outcome(Turn* turn, const Asked* asked, Target* target) noexcept nogil:
    """What came of the append, as its answer."""
    cdef Produced* produced = &target.coming.produced
    cdef PartitionProduceResponse* answer = target.answer
    if target.coming.partition == NULL:
        answer.error_code = partition_refusal(asked, name_asked(turn.table, asked, target), NULL)
        return
    answer.error_code = produced.error
    if produced.error != 0:
        if produced.error not in (CORRUPT_MESSAGE, MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE):
            answer.log_start_offset = produced.log_start
        if produced.refusal == KEY_IS_MISSING or produced.refusal == SOME_RECORD_HAS_BAD_TIME:
            tell_faults(turn, target.coming, answer)
        return
    answer.base_offset = produced.base_offset
    answer.log_append_time_ms = produced.append_time_ms
    answer.log_start_offset = produced.log_start
    if produced.is_due or not produced.is_duplicate:
        turn.appended.push_back(Appended(target.key, produced.end, produced.is_due, produced.is_watched))


cdef void tell_faults(Turn* turn, Coming* coming, PartitionProduceResponse* answer) noexcept nogil:
    """LOG-BATCH-22: every record that is at fault, with its text, and a summary. Packed ones are unpacked again: others were in the room since."""
    cdef Limits limits = limits_of(&coming.config)
    cdef Batch* batch = &coming.batch
    if codec_of(batch) != CODEC_NONE:
        read_apart(turn, batch)
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
    cdef bint has_refused
    cdef Asked* asked = <Asked*>allocate(&turn.arena, sizeof(Asked))
    if asked == NULL or not decode_produce_request(&request, reader, &turn.arena, header.api_version):
        return MALFORMED
    asked.header = header[0]
    if not take_targets(turn, &request, asked):
        return MALFORMED
    turn.tickets.add(1)
    if request.acks == 0:
        append_row(turn, row, connection)
    judge_request(turn, asked, &request)
    if request.acks == 0:
        append_all(turn)
        has_refused = take_outcomes(turn, asked)
        return REFUSED if has_refused else SILENT
    stand_in_row(row, asked)
    return REPLIED


cdef void judge_request(Turn* turn, Asked* asked, const ProduceRequest* request) noexcept nogil:
    """Each of its partitions."""
    cdef Message message
    cdef int16_t for_all = refusal_of_all(request, &message)
    cdef PartitionProduceResponse* answer
    cdef size_t index
    for index in range(asked.count):
        answer = asked.targets[index].answer
        answer.base_offset = answer.log_append_time_ms = answer.log_start_offset = -1
        answer.error_code = for_all if for_all != 0 else judge_target(turn, asked, &asked.targets[index], request)
        if for_all != 0 and message.size >= 0:
            set_message(turn, answer, message.text, message.size)


cdef int16_t judge_target(Turn* turn, const Asked* asked, Target* target, const ProduceRequest* request) noexcept nogil:
    """Is it to be appended, or why not? What is stored with another codec is appended now, behind what came before: there is room for one."""
    cdef Partition* partition = partition_at(turn.table, target.key)
    cdef Coming* coming
    cdef bint is_alone
    cdef Sent sent
    cdef int16_t error
    parse_span(target.records, &sent)
    error = refusal_before_log(asked, name_asked(turn.table, asked, target), partition, request, &sent)
    if error == NOT_ENOUGH_REPLICAS:
        set_message(turn, target.answer, b"there is no transaction coordinator", 35)
    if error != 0:
        return error
    target.coming = coming = <Coming*>allocate(&turn.arena, sizeof(Coming))
    if coming == NULL:
        return UNKNOWN_SERVER_ERROR
    coming.key, coming.partition, coming.batch = target.key, partition, sent.first
    partition_room.take_config(partition, coming)
    is_alone = partition_room.changes_codec(coming)
    if is_alone:
        append_all(turn)
    if is_alone or codec_of(&coming.batch) != CODEC_NONE:
        judge_apart(turn, coming)
    else:
        partition_room.judge(coming, &turn.work, turn.now)
    coming.number = turn.coming.size()
    turn.coming.push_back(coming)
    if is_alone:
        append_all(turn)
    return 0


cdef void judge_apart(Turn* turn, Coming* coming) noexcept nogil:
    """Without the table, since Python's lock is waited for to unpack or to pack."""
    let_table_go(turn)
    partition_room.judge(coming, &turn.work, turn.now)
    turn.table.gate.look()


# The row


cdef void stand_in_row(Row* row, Asked* asked) noexcept nogil:
    """Behind those before."""
    asked.next = NULL
    if row.first == NULL:
        row.first = asked
    else:
        row.last.next = asked
    row.last = asked
    row.count += 1


cdef bint is_full(const Row* row) noexcept nogil:
    """Is it to be appended, whatever follows?"""
    return row.count >= ROW_MAX


cdef void append_row(Turn* turn, Row* row, int64_t connection) noexcept nogil:
    """What was judged is appended, and each request answered. The next request begins another row."""
    cdef Asked* asked = row.first
    append_all(turn)
    while asked != NULL:
        take_outcomes(turn, asked)
        respond(turn, connection, asked)
        asked = asked.next
    row[0] = Row(NULL, NULL, 0)


cdef void append_all(Turn* turn) noexcept nogil:
    """What was judged and is not appended yet, to each partition in one write."""
    cdef size_t first = 0, behind = 0, count = turn.coming.size()
    cdef Coming** coming = turn.coming.data()
    if turn.has_let_go:
        look_up_again(turn)
    sort(coming, coming + count, comes_before)
    while first < count:
        while behind < count and coming[behind].partition == coming[first].partition:
            behind += 1
        if coming[first].partition != NULL:
            partition_room.produce(coming[first].partition, coming + first, behind - first, &turn.work, turn.now)
        first = behind
    turn.coming.clear()


cdef void look_up_again(Turn* turn) noexcept nogil:
    """The partitions that are to be appended to: some may be gone."""
    cdef size_t index
    for index in range(turn.coming.size()):
        turn.coming[index].partition = partition_at(turn.table, turn.coming[index].key)
    turn.has_let_go = False


cdef bint comes_before(const Coming* one, const Coming* other) noexcept nogil:
    """Those of a partition together, in the order in which they came."""
    if one.key == other.key:
        return one.number < other.number
    if one.key.topic == other.key.topic:
        return one.key.index < other.key.index
    return one.key.topic < other.key.topic


cdef bint take_outcomes(Turn* turn, Asked* asked) noexcept nogil:
    """What came of all that was appended of a request. Was something refused, then or before?"""
    cdef bint has_refused = False
    cdef size_t index
    for index in range(asked.count):
        if asked.targets[index].coming != NULL:
            take_outcome(turn, asked, &asked.targets[index])
        has_refused = has_refused or asked.targets[index].answer.error_code != 0
    return has_refused


cdef void respond(Turn* turn, int64_t connection, const Asked* asked) noexcept nogil:
    """The answers by topic, in the order in which topics were first named."""
    cdef Frame frame
    begin_answer(turn, connection, asked.header.correlation_id, asked.header.is_flexible, &frame)
    encode_produce_response(&asked.response, &turn.out, asked.header.api_version)
    end_answer(turn, &frame)
