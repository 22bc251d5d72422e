# distutils: language = c++
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Record batches: read, judged, stamped and packed anew by C functions without the GIL (their contract is `batch.pxd`); and, below these,
the same for Python: `encode` and `batches` for clients and tools, `judge` and `stored` for whoever wants to know what the log would say.

Offsets in a batch header:  0 base offset · 8 length · 12 leader epoch · 16 magic · 17 CRC-32C of all that follows it · 21 attributes ·
23 last offset delta · 27 base timestamp · 35 max timestamp · 43 producer id · 51 producer epoch · 53 base sequence · 57 count · 61 records
"""

cimport cython
from cpython.array cimport array, clone
from cpython.buffer cimport PyBUF_READ
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_Check, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.list cimport PyList_New, PyList_SET_ITEM
from cpython.memoryview cimport PyMemoryView_FromMemory
from cpython.ref cimport Py_INCREF
from libc.stdint cimport INT32_MAX, INT64_MAX, INT64_MIN, int8_t, int16_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy

from fiducial.fastpath.bigendian cimport load16, load32, load64, store16, store32, store64


cdef extern from "crc32c.h" nogil:
    ctypedef uint32_t (*crc32c_function)(uint32_t state, const uint8_t* data, size_t size) noexcept
    uint32_t crc32c(uint32_t before, const uint8_t* data, size_t size) noexcept
    void crc32c_prepare() noexcept
    crc32c_function crc32c_function_of(int way) noexcept


crc32c_prepare()

cdef enum:
    PREFIX_BYTES = 12  # base offset and length, which the length does not count
    LENGTH_MIN = 14
    SMALLEST_HEADER_BYTES = 17  # up to the magic byte, which all formats have in the same place
    SUMMED_FROM = 21
    ATTRIBUTES_KEPT = 0x38  # by a rebuild: without the codec and the two highest bits
    ATTRIBUTES_STAMPED = 0x7F  # those that a header keeps whose time is set anew
    VARINT_BYTES_MAX = 5
    VARLONG_BYTES_MAX = 10
    RECORD_BYTES_MIN = 7
    SPARE_BYTES_MAX = 8 * 1024 * 1024  # more room than this is given back before the next batch is unpacked


cdef uint32_t checksum(uint32_t before, const uint8_t* data, int64_t size) noexcept nogil:
    return crc32c(before, data, size)


# Memory


cdef bint reserve(Buffer* buffer, int64_t capacity) noexcept nogil:
    cdef void* data
    if capacity <= buffer.capacity:
        return True
    capacity = max(capacity, 2 * buffer.capacity)
    data = realloc(buffer.data, capacity)
    if data == NULL:
        return False
    buffer.data = <uint8_t*>data
    buffer.capacity = capacity
    return True


cdef void release(Buffer* buffer) noexcept nogil:
    free(buffer.data)
    buffer.data = NULL
    buffer.size = buffer.capacity = 0


# Numbers


cdef struct Cursor:
    const uint8_t* at
    const uint8_t* end
    bint is_bad  # something was to be read beyond the end, or was no number: what was read since is meaningless


cdef inline int64_t left(const Cursor* cursor) noexcept nogil:
    return cursor.end - cursor.at


cdef inline void skip(Cursor* cursor, int64_t size) noexcept nogil:
    """Go on by `size` bytes; a negative size is that of null, which has none."""
    if size > left(cursor):
        cursor.is_bad = True
        cursor.at = cursor.end
    elif size > 0:
        cursor.at += size


cdef inline uint64_t unsigned_varint(Cursor* cursor, int bytes_max) noexcept nogil:
    cdef uint64_t number = 0
    cdef int shift = 0
    cdef uint8_t byte
    while cursor.at < cursor.end and shift < 7 * bytes_max:
        byte = cursor.at[0]
        cursor.at += 1
        number |= <uint64_t>(byte & 0x7F) << shift
        if byte < 0x80:
            return number
        shift += 7
    cursor.is_bad = True
    return 0


cdef inline int32_t varint(Cursor* cursor) noexcept nogil:
    """A zigzag varint; what does not fit into 32 bits is ignored, as in Kafka."""
    cdef uint32_t number = <uint32_t>unsigned_varint(cursor, VARINT_BYTES_MAX)
    return <int32_t>(number >> 1 ^ (0 - (number & 1)))


cdef inline int64_t varlong(Cursor* cursor) noexcept nogil:
    cdef uint64_t number = unsigned_varint(cursor, VARLONG_BYTES_MAX)
    return <int64_t>(number >> 1 ^ (0 - (number & 1)))


cdef inline uint64_t zigzag(int64_t number) noexcept nogil:
    return <uint64_t>number << 1 ^ <uint64_t>(number >> 63)


cdef inline int varint_bytes(int64_t number) noexcept nogil:
    """How many bytes `put_varint` takes."""
    cdef uint64_t rest = zigzag(number)
    cdef int size = 1
    while rest >= 0x80:
        rest >>= 7
        size += 1
    return size


cdef inline uint8_t* put_varint(uint8_t* at, int64_t number) noexcept nogil:
    """The place behind it."""
    cdef uint64_t rest = zigzag(number)
    while rest >= 0x80:
        at[0] = <uint8_t>(rest & 0x7F | 0x80)
        at += 1
        rest >>= 7
    at[0] = <uint8_t>rest
    return at + 1


# Headers


cdef void read_header(const uint8_t* data, int64_t size, Batch* batch) noexcept nogil:
    batch.data, batch.size_bytes = data, size
    batch.base_offset, batch.magic = <int64_t>load64(data), <int8_t>data[16]
    batch.crc_is_good = batch.records.are_readable = batch.records.unpack_too_far = False
    batch.attributes = <int16_t>load16(data + 21) if batch.magic == 2 else 0
    if batch.magic < 2 or size < BATCH_OVERHEAD_BYTES:
        batch.last_offset_delta = 0
        batch.base_timestamp = batch.max_timestamp = NO_TIMESTAMP
        batch.producer_id, batch.producer_epoch, batch.base_sequence, batch.count = NO_PRODUCER, -1, -1, 1
        return
    batch.last_offset_delta = <int32_t>load32(data + 23)
    batch.base_timestamp, batch.max_timestamp = <int64_t>load64(data + 27), <int64_t>load64(data + 35)
    batch.producer_id, batch.producer_epoch = <int64_t>load64(data + 43), <int16_t>load16(data + 51)
    batch.base_sequence, batch.count = <int32_t>load32(data + 53), <int32_t>load32(data + 57)


cdef void parse(const uint8_t* data, int64_t size, Sent* sent) noexcept nogil:
    cdef int64_t position = 0, length
    sent.batches = 0
    while size - position >= PREFIX_BYTES:
        length = <int32_t>load32(data + position + 8)
        if length < LENGTH_MIN:
            sent.tail = TAIL_CORRUPT_LENGTH
            return
        if size - position < SMALLEST_HEADER_BYTES:
            break
        sent.tail_magic = <int8_t>data[position + 16]
        if not 0 <= sent.tail_magic <= 2:
            sent.tail = TAIL_CORRUPT_MAGIC
            return
        if PREFIX_BYTES + length > size - position:
            break
        if sent.batches == 0:
            read_header(data, PREFIX_BYTES + length, &sent.first)
        sent.batches += 1
        position += PREFIX_BYTES + length
    sent.tail = TAIL_NOTHING if position == size else TAIL_PARTIAL


cdef bint crc_is_good(const Batch* batch) noexcept nogil:
    if batch.magic < 2 or batch.size_bytes < BATCH_OVERHEAD_BYTES:
        return False
    return checksum(0, batch.data + SUMMED_FROM, batch.size_bytes - SUMMED_FROM) == load32(batch.data + 17)


cdef int codec_of(const Batch* batch) noexcept nogil:
    return batch.attributes & ATTRIBUTE_CODEC


cdef inline bint claims_append_time(const Batch* batch) noexcept nogil:
    return batch.attributes & ATTRIBUTE_LOG_APPEND_TIME != 0


cdef bint keeps_codec(const Batch* batch, const Limits* limits) noexcept nogil:
    return limits.codec == CODEC_OF_PRODUCER or limits.codec == codec_of(batch)


# Records


cdef struct Span:  # one record, by the places of its parts
    const uint8_t* content  # behind its length
    int64_t time_delta
    int32_t offset_delta
    const uint8_t* after_deltas
    int32_t key_size  # negative for null
    const uint8_t* key
    int32_t value_size  # negative for null
    const uint8_t* value
    int32_t header_count
    const uint8_t* headers
    const uint8_t* end


cdef inline bint next_record(Cursor* body, Span* span) noexcept nogil:
    """The record at the cursor, which then stands behind it; false if it cannot be read. Its parts must fill it exactly."""
    cdef int32_t size = varint(body)
    cdef Cursor cursor
    if body.is_bad or size < 0 or size > left(body):
        return False
    cursor.at, cursor.end, cursor.is_bad = body.at, body.at + size, False
    body.at += size
    span.content, span.end = cursor.at, cursor.end
    skip(&cursor, 1)  # attributes, which mean nothing
    span.time_delta, span.offset_delta = varlong(&cursor), varint(&cursor)
    span.after_deltas = cursor.at
    span.key_size, span.key = varint(&cursor), cursor.at
    skip(&cursor, span.key_size)
    span.value_size, span.value = varint(&cursor), cursor.at
    skip(&cursor, span.value_size)
    span.header_count, span.headers = varint(&cursor), cursor.at
    if span.header_count != 0 and not skip_headers(&cursor, span.header_count):
        return False
    return not cursor.is_bad and cursor.at == cursor.end


cdef bint skip_headers(Cursor* cursor, int32_t count) noexcept nogil:
    """A header has a key, and perhaps a value."""
    cdef int32_t size
    if count < 0:
        return False
    while count > 0:
        size = varint(cursor)
        if size < 0:
            return False
        skip(cursor, size)
        skip(cursor, varint(cursor))
        if cursor.is_bad:
            return False
        count -= 1
    return True


cdef inline int64_t timestamp_of(const Span* span, const Batch* batch) noexcept nogil:
    """Beyond the last timestamp the first one follows, as in Kafka."""
    return <int64_t>(<uint64_t>batch.base_timestamp + <uint64_t>span.time_delta)


cdef void walk(Batch* batch) noexcept nogil:
    """Find out all there is to know of the records in `batch.records.body`."""
    cdef Records found = batch.records
    cdef Cursor body
    cdef Span span
    cdef int64_t timestamp
    body.at, body.end, body.is_bad = found.body, found.body + found.body_bytes, False
    found.count = 0
    found.are_readable = found.are_dense = found.have_keys = True
    found.earliest, found.latest = INT64_MAX, INT64_MIN
    while body.at < body.end:
        if not next_record(&body, &span):
            found.are_readable = False
            break
        found.are_dense &= span.offset_delta == found.count
        found.have_keys &= span.key_size >= 0
        timestamp = timestamp_of(&span, batch)
        if timestamp != NO_TIMESTAMP:
            found.earliest = min(found.earliest, timestamp)
            found.latest = max(found.latest, timestamp)
        found.count += 1
    batch.records = found


cdef void read_records(Batch* batch, const Codecs* codecs, Buffer* unpacked) noexcept nogil:
    cdef const uint8_t* packed = batch.data + BATCH_OVERHEAD_BYTES
    cdef int64_t size = batch.size_bytes - BATCH_OVERHEAD_BYTES
    batch.records.are_readable = batch.records.unpack_too_far = False
    unpacked.size = 0
    if codec_of(batch) == CODEC_NONE:
        batch.records.body, batch.records.body_bytes = packed, size
        walk(batch)
        return
    if unpacked.capacity > SPARE_BYTES_MAX:
        release(unpacked)
    cdef Unpacked result = codecs.decompress(codecs.context, codec_of(batch), packed, size, unpacked)
    batch.records.unpack_too_far = result == UNPACKS_FURTHER
    if result == UNPACKED:
        batch.records.body, batch.records.body_bytes = unpacked.data, unpacked.size
        walk(batch)


# What is refused


cdef bint first_header_is_unreadable(const Sent* sent) noexcept nogil:
    return sent.batches == 0 and (sent.tail == TAIL_CORRUPT_LENGTH or sent.tail == TAIL_CORRUPT_MAGIC)


cdef Refusal request_refusal(const Sent* sent, int api_version) noexcept nogil:
    if first_header_is_unreadable(sent):
        return FIRST_HEADER_IS_UNREADABLE
    if sent.batches == 0:
        return HOLDS_NO_BATCH
    if sent.first.magic < 2:
        return MAGIC_IS_OLD
    if api_version < 7 and codec_of(&sent.first) == CODEC_ZSTD:
        return ZSTD_IS_TOO_NEW
    if sent.batches > 1:
        return HOLDS_MORE_THAN_ONE_BATCH
    if sent.tail == TAIL_CORRUPT_LENGTH or sent.tail == TAIL_CORRUPT_MAGIC:
        return NEXT_HEADER_IS_UNREADABLE
    return NOT_REFUSED


cdef Refusal batch_refusal(
    Batch* batch, const Limits* limits, int64_t now, const Codecs* codecs, Buffer* unpacked
) noexcept nogil:
    if batch.base_offset != 0:
        return BASE_OFFSET_IS_NOT_ZERO
    if batch.size_bytes > limits.max_message_bytes:
        return IS_TOO_LARGE
    batch.crc_is_good = crc_is_good(batch)
    if not batch.crc_is_good:
        return CHECKSUM_IS_WRONG
    if batch.count <= 0 or batch.last_offset_delta != batch.count - 1:
        return COUNT_IS_WRONG
    if batch.attributes & ATTRIBUTE_CONTROL:
        return IS_CONTROL_BATCH
    if batch.producer_id > NO_PRODUCER and batch.base_sequence < 0:
        return LACKS_SEQUENCE
    read_records(batch, codecs, unpacked)
    return records_refusal(batch, limits, now)


cdef Refusal records_refusal(const Batch* batch, const Limits* limits, int64_t now) noexcept nogil:
    if batch.records.unpack_too_far:
        return UNPACKS_TOO_FAR
    if not batch.records.are_readable:
        return RECORDS_ARE_UNREADABLE
    if batch.records.count != batch.count:
        return COUNT_OF_RECORDS_IS_WRONG
    if some_record_has_bad_time(batch, limits, now):
        return SOME_RECORD_HAS_BAD_TIME
    if limits.compacts and not batch.records.have_keys:
        return KEY_IS_MISSING
    if codec_of(batch) != CODEC_NONE and keeps_codec(batch, limits) and not batch.records.are_dense:
        return COMPRESSED_DELTAS_ARE_ODD
    if not keeps_codec(batch, limits) and cannot_be_rebuilt(batch):
        return CANNOT_BE_REBUILT
    return NOT_REFUSED


cdef bint cannot_be_rebuilt(const Batch* batch) noexcept nogil:
    """Only a batch that a client could have made is made anew: with times, and of a producer with epoch and sequence or of none."""
    cdef int64_t earliest = batch.max_timestamp if batch.attributes & ATTRIBUTE_LOG_APPEND_TIME else batch.records.earliest
    if earliest < NO_TIMESTAMP:
        return True
    if batch.producer_id == NO_PRODUCER:
        return batch.attributes & ATTRIBUTE_TRANSACTIONAL != 0
    return batch.producer_epoch == NO_EPOCH or batch.base_sequence < 0


cdef inline bint exceeds(int64_t later, int64_t earlier, int64_t limit) noexcept nogil:
    """Is `later` more than `limit` after `earlier`? For any two times: their difference may need 65 bits."""
    return later > earlier and <uint64_t>later - <uint64_t>earlier > <uint64_t>limit


cdef inline bint is_out_of_range(int64_t timestamp, const Limits* limits, int64_t now) noexcept nogil:
    if limits.append_time or timestamp == NO_TIMESTAMP:
        return False
    return exceeds(now, timestamp, limits.timestamp_before_max_ms) or exceeds(timestamp, now, limits.timestamp_after_max_ms)


cdef inline bint append_time_is_forged(const Batch* batch, const Limits* limits) noexcept nogil:
    return claims_append_time(batch) and (limits.append_time or batch.max_timestamp == NO_TIMESTAMP)


cdef bint some_record_has_bad_time(const Batch* batch, const Limits* limits, int64_t now) noexcept nogil:
    """For a batch with records. A record that lacks a key it needs is at fault for that alone, so its time does not count."""
    cdef Fault fault
    if claims_append_time(batch):
        if not (append_time_is_forged(batch, limits) or is_out_of_range(batch.max_timestamp, limits, now)):
            return False
    elif batch.records.earliest > batch.records.latest or not (
        is_out_of_range(batch.records.earliest, limits, now) or is_out_of_range(batch.records.latest, limits, now)
    ):
        return False
    if not limits.compacts or batch.records.have_keys:
        return True
    return find_faults(batch, limits, now, &fault, 1, True) > 0


cdef int64_t record_faults(const Batch* batch, const Limits* limits, int64_t now, Fault* faults, int64_t room) noexcept nogil:
    return find_faults(batch, limits, now, faults, room, False)


cdef int64_t find_faults(
    const Batch* batch, const Limits* limits, int64_t now, Fault* faults, int64_t room, bint of_time_only
) noexcept nogil:
    """How many records are at fault, the first reason for each; goes through records that were found readable."""
    cdef Cursor body
    cdef Span span
    cdef int64_t index = 0, found = 0
    cdef Fault fault
    body.at, body.end, body.is_bad = batch.records.body, batch.records.body + batch.records.body_bytes, False
    while body.at < body.end and next_record(&body, &span):
        fault.index, fault.timestamp = <int32_t>index, timestamp_of(&span, batch)
        fault.refusal = record_refusal(&span, batch, limits, now)
        if fault.refusal != NOT_REFUSED and not (of_time_only and fault.refusal == KEY_IS_MISSING):
            if found < room:
                faults[found] = fault
            found += 1
        index += 1
    return found


cdef inline Refusal record_refusal(const Span* span, const Batch* batch, const Limits* limits, int64_t now) noexcept nogil:
    cdef int64_t timestamp = batch.max_timestamp if claims_append_time(batch) else timestamp_of(span, batch)
    if limits.compacts and span.key_size < 0:
        return KEY_IS_MISSING
    if is_out_of_range(timestamp, limits, now):
        return TIMESTAMP_IS_OUT_OF_RANGE
    if append_time_is_forged(batch, limits):
        return APPEND_TIME_IS_FORGED
    return NOT_REFUSED


cdef int fault_text(const Fault* fault, int64_t now, char* text) noexcept nogil:
    if fault.refusal == KEY_IS_MISSING:
        return snprintf(text, FAULT_TEXT_BYTES_MAX, b"a compacted topic takes no record without a key")
    if fault.refusal == TIMESTAMP_IS_OUT_OF_RANGE:
        return snprintf(
            text, FAULT_TEXT_BYTES_MAX, b"timestamp %lld is out of range at %lld", <long long>fault.timestamp, <long long>now
        )
    return snprintf(text, FAULT_TEXT_BYTES_MAX, b"only the broker sets the timestamp type LogAppendTime")


cdef int16_t error_of(Refusal refusal) noexcept nogil:
    if refusal == NOT_REFUSED:
        return 0
    if refusal in (FIRST_HEADER_IS_UNREADABLE, NEXT_HEADER_IS_UNREADABLE, CHECKSUM_IS_WRONG):
        return 2  # CORRUPT_MESSAGE
    if refusal in (IS_TOO_LARGE, UNPACKS_TOO_FAR):
        return 10  # MESSAGE_TOO_LARGE
    if refusal in (TIMESTAMP_IS_OUT_OF_RANGE, APPEND_TIME_IS_FORGED, SOME_RECORD_HAS_BAD_TIME):
        return 32  # INVALID_TIMESTAMP
    if refusal == ZSTD_IS_TOO_NEW:
        return 76  # UNSUPPORTED_COMPRESSION_TYPE
    return 87  # INVALID_RECORD


# What is stored


cdef int64_t stored_timestamp(const Batch* batch, const Limits* limits, int64_t now) noexcept nogil:
    if limits.append_time:
        return now
    return max(<int64_t>NO_TIMESTAMP, batch.max_timestamp if claims_append_time(batch) else batch.records.latest)


cdef void sign(uint8_t* data, int64_t size) noexcept nogil:
    """Put the checksum that the bytes have."""
    store32(data + 17, checksum(0, data + SUMMED_FROM, size - SUMMED_FROM))


cdef void stamp(
    uint8_t* data, int64_t size, int64_t base_offset, int32_t leader_epoch, bint has_append_time, int64_t max_timestamp
) noexcept nogil:
    """Offset and epoch lie outside the checksum; it is made anew only if the timestamps changed."""
    cdef int16_t attributes = <int16_t>load16(data + 21)
    cdef int16_t wanted = attributes & ~ATTRIBUTE_LOG_APPEND_TIME | (ATTRIBUTE_LOG_APPEND_TIME if has_append_time else 0)
    store64(data, base_offset)
    store32(data + 12, leader_epoch)
    if attributes == wanted and <int64_t>load64(data + 35) == max_timestamp:
        return
    store16(data + 21, wanted & ATTRIBUTES_STAMPED)
    store64(data + 35, max_timestamp)
    sign(data, size)


cdef bint rebuild(const Batch* batch, const Limits* limits, const Codecs* codecs, Buffer* scratch, Buffer* out) noexcept nogil:
    cdef const uint8_t* body = batch.records.body
    cdef int64_t body_bytes = batch.records.body_bytes
    if claims_append_time(batch) or not batch.records.are_dense:
        if not rewrite(batch, scratch):
            return False
        body, body_bytes = scratch.data, scratch.size
    if not pack_behind_header(codecs, limits.codec, limits.level, body, body_bytes, out):
        return False
    memcpy(out.data, batch.data, BATCH_OVERHEAD_BYTES)
    store32(out.data + 8, <uint32_t>(out.size - PREFIX_BYTES))
    store16(out.data + 21, <int16_t>(batch.attributes & ATTRIBUTES_KEPT | limits.codec))
    if claims_append_time(batch):
        store64(out.data + 27, batch.max_timestamp)
    sign(out.data, out.size)
    return True


cdef bint rewrite(const Batch* batch, Buffer* out) noexcept nogil:
    """The records numbered 0, 1, 2 …; under the append-time bit each gets the header's time, which becomes their base."""
    cdef Cursor body
    cdef Span span
    cdef int64_t index = 0, time_delta, rest_bytes, content_bytes
    cdef uint8_t* at
    body.at, body.end, body.is_bad = batch.records.body, batch.records.body + batch.records.body_bytes, False
    out.size = 0
    while body.at < body.end and next_record(&body, &span):
        time_delta = 0 if claims_append_time(batch) else span.time_delta
        rest_bytes = span.end - span.after_deltas
        content_bytes = 1 + varint_bytes(time_delta) + varint_bytes(index) + rest_bytes
        if not reserve(out, out.size + VARINT_BYTES_MAX + content_bytes):
            return False
        at = put_varint(out.data + out.size, content_bytes)
        at[0] = span.content[0]
        at = put_varint(put_varint(at + 1, time_delta), index)
        memcpy(at, span.after_deltas, rest_bytes)
        out.size = at + rest_bytes - out.data
        index += 1
    return True


cdef bint pack_behind_header(
    const Codecs* codecs, int codec, int level, const uint8_t* body, int64_t size, Buffer* out
) noexcept nogil:
    """Leaves room for the header in front of what is packed."""
    out.size = BATCH_OVERHEAD_BYTES
    if codec == CODEC_NONE:
        if not reserve(out, out.size + size):
            return False
        memcpy(out.data + out.size, body, size)
        out.size += size
    elif not codecs.compress(codecs.context, codec, level, body, size, out):
        return False
    return out.size - PREFIX_BYTES <= INT32_MAX


# Codecs by the libraries that Python has. What else goes wrong in them, lack of memory too, makes the records unreadable


cdef Codecs python_codecs() noexcept nogil:
    cdef Codecs codecs
    codecs.context, codecs.decompress, codecs.compress = NULL, decompress_in_python, compress_in_python
    return codecs


cdef Unpacked decompress_in_python(void* context, int codec, const uint8_t* packed, int64_t size, Buffer* out) noexcept nogil:
    with gil:
        try:
            return UNPACKED if append(out, decompressed(PyBytes_FromStringAndSize(<const char*>packed, size), codec)) else NOT_UNPACKED
        except UnpacksTooFar:
            return UNPACKS_FURTHER
        except Exception:
            return NOT_UNPACKED


cdef bint compress_in_python(void* context, int codec, int level, const uint8_t* body, int64_t size, Buffer* out) noexcept nogil:
    with gil:
        try:
            return append(out, compressed(PyMemoryView_FromMemory(<char*>body, size, PyBUF_READ), codec, level))
        except Exception:
            return False


cdef bint append(Buffer* out, const uint8_t[::1] made) noexcept:
    cdef int64_t size = made.shape[0]
    if not reserve(out, out.size + size):
        return False
    if size > 0:
        memcpy(out.data + out.size, &made[0], size)
    out.size += size
    return True


class Unreadable(ValueError):
    """The bytes behind a header are not records."""


class UnpacksTooFar(Unreadable):
    """They unpack to more than is taken."""


def compressed(body, codec, level):
    """As `codecs.compressed`, which is imported when the first batch needs it: a broker that sees none has no memory for libraries."""
    from fiducial.fastpath import codecs

    return codecs.compressed(body, codec, level)


def decompressed(packed, codec):
    """As `codecs.decompressed`, likewise."""
    from fiducial.fastpath import codecs

    return codecs.decompressed(packed, codec)


# For Python: making batches

#: The level of each codec that has levels, if the caller names none: Kafka's own.
LEVELS = {CODEC_GZIP: -1, CODEC_LZ4: 9, CODEC_ZSTD: 3}
cdef array INT64S = array("q"), INT32S = array("i")  # what `clone` makes more of


def encode(
    records,
    *,
    int codec=CODEC_NONE,
    level=None,
    int64_t base_offset=0,
    int32_t leader_epoch=-1,
    int64_t producer_id=NO_PRODUCER,
    int16_t producer_epoch=-1,
    int32_t base_sequence=-1,
    int16_t attributes=0,
):
    """One batch of `records`, a sequence of (timestamp in ms, key, value) or (timestamp, key, value, headers).

    Keys and values are bytes or None; headers are a sequence of (bytes, bytes or None). `attributes` are those besides the codec.
    """
    cdef tuple items = tuple(records)
    cdef array sizes = clone(INT32S, len(items), zero=False)
    cdef Batch batch
    if not items:
        raise ValueError("a batch has at least one record")
    batch.base_offset, batch.attributes, batch.count = base_offset, attributes & ~ATTRIBUTE_CODEC | codec, <int32_t>len(items)
    batch.producer_id, batch.producer_epoch, batch.base_sequence = producer_id, producer_epoch, base_sequence
    batch.base_timestamp = batch.max_timestamp = NO_TIMESTAMP
    cdef int64_t body_bytes = measure(items, &batch, sizes.data.as_ints)
    cdef int64_t before_bytes = BATCH_OVERHEAD_BYTES if codec == CODEC_NONE else 0
    cdef bytes data = PyBytes_FromStringAndSize(NULL, before_bytes + body_bytes)
    write_records(
        items, batch.base_timestamp, sizes.data.as_ints, <uint8_t*>PyBytes_AS_STRING(data) + before_bytes, body_bytes
    )
    if codec != CODEC_NONE:
        data = bytes(BATCH_OVERHEAD_BYTES) + compressed(data, codec, LEVELS.get(codec) if level is None else level)
    if len(data) - PREFIX_BYTES > INT32_MAX:
        raise OverflowError(f"a batch of {len(data)} bytes, which its header cannot say")
    write_header(&batch, leader_epoch, <uint8_t*>PyBytes_AS_STRING(data), len(data))
    return data


cdef inline int64_t bytes_of(object part) except -2:
    """How many there are, -1 for None."""
    if part is None:
        return -1
    if not PyBytes_Check(part):
        raise TypeError(f"bytes or None wanted, not {type(part).__name__}")
    return PyBytes_GET_SIZE(part)


cdef inline int64_t sized_bytes(object part) except -1:
    """How many a part of a record takes, with its length in front."""
    cdef int64_t size = bytes_of(part)
    return varint_bytes(size) + max(size, 0)


cdef inline int64_t delta_of(int64_t timestamp, int64_t base_timestamp) noexcept nogil:
    """What `timestamp_of` adds to the base; for any two times."""
    return <int64_t>(<uint64_t>timestamp - <uint64_t>base_timestamp)


cdef int64_t measure(tuple items, Batch* batch, int* sizes) except -1:
    """How many bytes the records take; of each, in `sizes`, without its length in front. Finds the first timestamp and the greatest."""
    cdef int64_t size, total = 0, timestamp
    cdef int index = 0
    cdef tuple item
    for item in items:
        if not 3 <= len(item) <= 4:
            raise ValueError(f"a record of {len(item)} parts")
        timestamp = item[0]
        if index == 0:
            batch.base_timestamp = timestamp
        batch.max_timestamp = max(batch.max_timestamp, timestamp)
        size = 1 + varint_bytes(delta_of(timestamp, batch.base_timestamp)) + varint_bytes(index)
        size += sized_bytes(item[1]) + sized_bytes(item[2]) + (headers_bytes(item[3]) if len(item) > 3 else 1)
        if size > INT32_MAX:
            raise OverflowError(f"a record of {size} bytes, which its length cannot say")
        sizes[index] = <int>size
        total += varint_bytes(size) + size
        index += 1
    return total


cdef int64_t headers_bytes(object headers) except -1:
    cdef int64_t total = varint_bytes(len(headers))
    for key, text in headers:
        if key is None:
            raise TypeError("a header has a key")
        total += sized_bytes(key) + sized_bytes(text)
    return total


cdef struct Room:
    uint8_t* at
    uint8_t* end


cdef int write_records(tuple items, int64_t base_timestamp, const int* sizes, uint8_t* begin, int64_t size) except -1:
    """The records into the room that was measured for them; should they have changed since, an error, and nothing beyond its end."""
    cdef Room room
    cdef int index = 0
    cdef tuple item
    room.at, room.end = begin, begin + size
    for item in items:
        put_checked(&room, sizes[index])
        put_checked(&room, 0)  # attributes: the one byte of this number
        put_checked(&room, delta_of(item[0], base_timestamp))
        put_checked(&room, index)
        put_sized(&room, item[1])
        put_sized(&room, item[2])
        if len(item) == 3:
            put_checked(&room, 0)
        else:
            put_headers(&room, item[3])
        index += 1
    if room.at != room.end:
        raise RuntimeError("records changed while they were encoded")
    return 0


cdef inline int put_checked(Room* room, int64_t number) except -1:
    if varint_bytes(number) > room.end - room.at:
        raise RuntimeError("records changed while they were encoded")
    room.at = put_varint(room.at, number)
    return 0


cdef inline int put_sized(Room* room, object part) except -1:
    cdef int64_t size = bytes_of(part)
    put_checked(room, size)
    if size > room.end - room.at:
        raise RuntimeError("records changed while they were encoded")
    if size > 0:
        memcpy(room.at, PyBytes_AS_STRING(part), size)
        room.at += size
    return 0


cdef int put_headers(Room* room, object headers) except -1:
    put_checked(room, len(headers))
    for key, text in headers:
        put_sized(room, key)
        put_sized(room, text)
    return 0


cdef void write_header(const Batch* batch, int32_t leader_epoch, uint8_t* data, int64_t size) noexcept nogil:
    store64(data, batch.base_offset)
    store32(data + 8, <uint32_t>(size - PREFIX_BYTES))
    store32(data + 12, leader_epoch)
    data[16] = 2
    store16(data + 21, <int16_t>batch.attributes)
    store32(data + 23, <uint32_t>(batch.count - 1))
    store64(data + 27, batch.base_timestamp)
    store64(data + 35, batch.max_timestamp)
    store64(data + 43, batch.producer_id)
    store16(data + 51, batch.producer_epoch)
    store32(data + 53, <uint32_t>batch.base_sequence)
    store32(data + 57, <uint32_t>batch.count)
    sign(data, size)


# For Python: reading batches


@cython.final
@cython.no_gc
cdef class Record:
    """One record of a stored batch: key and value are bytes or None, headers a tuple of (bytes, bytes or None)."""

    cdef readonly int64_t offset
    cdef readonly int64_t timestamp  # ms
    cdef readonly object key
    cdef readonly object value
    cdef readonly tuple headers

    def __repr__(self):
        return f"Record({self.offset}, {self.timestamp}, {self.key!r}, {self.value!r}, {self.headers!r})"


@cython.final
cdef class Columns:
    """The records of a batch as arrays: of key i, the bytes are body[key_begins[i] : key_begins[i] + key_sizes[i]]; a size of -1 is None."""

    cdef readonly bytes body
    cdef readonly array offsets
    cdef readonly array timestamps
    cdef readonly array key_begins
    cdef readonly array key_sizes
    cdef readonly array value_begins
    cdef readonly array value_sizes


@cython.final
cdef class EncodedBatch:
    """A whole batch and what its header says; its records are read when they are asked for."""

    cdef readonly bytes data
    cdef bytes body  # where the records are: `data`, or what was unpacked
    cdef Batch batch

    def __cinit__(self, bytes data not None):
        cdef Sent sent
        parse(<const uint8_t*>PyBytes_AS_STRING(data), len(data), &sent)
        if sent.batches != 1 or sent.tail != TAIL_NOTHING or sent.first.magic < 2 or len(data) < BATCH_OVERHEAD_BYTES:
            raise Unreadable("not one batch of format 2")
        self.data = data
        read_header(<const uint8_t*>PyBytes_AS_STRING(data), len(data), &self.batch)

    @property
    def base_offset(self):
        return self.batch.base_offset

    @property
    def last_offset(self):
        return self.batch.base_offset + self.batch.last_offset_delta

    @property
    def leader_epoch(self):
        return <int32_t>load32(self.batch.data + 12)

    @property
    def attributes(self):
        return self.batch.attributes

    @property
    def max_timestamp(self):
        return self.batch.max_timestamp

    @property
    def producer_id(self):
        return self.batch.producer_id

    @property
    def producer_epoch(self):
        return self.batch.producer_epoch

    @property
    def base_sequence(self):
        return self.batch.base_sequence

    @property
    def count(self):
        return self.batch.count

    @property
    def crc_is_good(self):
        """Is the checksum in the header that of the bytes? Taken anew at each call."""
        return crc_is_good(&self.batch)

    def records(self):
        """All records, as a list. Unreadable if they cannot be read, or are not as many as the header says."""
        cdef Cursor cursor
        cdef Span span
        cdef Record record
        cdef int64_t index
        self.open(&cursor)
        cdef list records = PyList_New(self.batch.count)
        for index in range(self.batch.count):
            read_record(&cursor, &span, index)
            record = Record.__new__(Record)
            record.offset = self.batch.base_offset + span.offset_delta
            record.timestamp = self.time_of(&span)
            record.key = part(span.key, span.key_size)
            record.value = part(span.value, span.value_size)
            record.headers = headers_of(&span) if span.header_count else ()
            Py_INCREF(record)
            PyList_SET_ITEM(records, index, record)
        check_end(&cursor)
        return records

    def columns(self):
        """All records as arrays: without their headers, and without an object for each. Unreadable as `records` is."""
        cdef Cursor cursor
        cdef Span span
        cdef int64_t index, count = self.batch.count
        cdef Columns columns = Columns.__new__(Columns)
        self.open(&cursor)
        columns.body = self.body
        cdef const uint8_t* body = <const uint8_t*>PyBytes_AS_STRING(columns.body)
        columns.offsets, columns.timestamps = clone(INT64S, count, zero=False), clone(INT64S, count, zero=False)
        columns.key_begins, columns.key_sizes = clone(INT32S, count, zero=False), clone(INT32S, count, zero=False)
        columns.value_begins, columns.value_sizes = clone(INT32S, count, zero=False), clone(INT32S, count, zero=False)
        cdef long long* offsets = columns.offsets.data.as_longlongs
        cdef long long* timestamps = columns.timestamps.data.as_longlongs
        cdef int* key_begins = columns.key_begins.data.as_ints
        cdef int* key_sizes = columns.key_sizes.data.as_ints
        cdef int* value_begins = columns.value_begins.data.as_ints
        cdef int* value_sizes = columns.value_sizes.data.as_ints
        for index in range(count):
            read_record(&cursor, &span, index)
            offsets[index], timestamps[index] = self.batch.base_offset + span.offset_delta, self.time_of(&span)
            key_begins[index], key_sizes[index] = <int>(span.key - body), max(span.key_size, -1)
            value_begins[index], value_sizes[index] = <int>(span.value - body), max(span.value_size, -1)
        check_end(&cursor)
        return columns

    cdef int open(self, Cursor* cursor) except -1:
        """Put the cursor before the first record; `self.body` owns the bytes."""
        cdef int codec = codec_of(&self.batch)
        cdef int64_t begin = BATCH_OVERHEAD_BYTES if codec == CODEC_NONE else 0
        if self.body is None:
            self.body = self.data if codec == CODEC_NONE else bytes(decompressed(self.data[BATCH_OVERHEAD_BYTES:], codec))
        cursor.at = <const uint8_t*>PyBytes_AS_STRING(self.body) + begin
        cursor.end, cursor.is_bad = cursor.at + len(self.body) - begin, False
        if not 0 <= self.batch.count <= left(cursor) // RECORD_BYTES_MIN:
            raise Unreadable(f"{self.batch.count} records in {left(cursor)} bytes")
        return 0

    cdef inline int64_t time_of(self, const Span* span) noexcept:
        return self.batch.max_timestamp if claims_append_time(&self.batch) else timestamp_of(span, &self.batch)


def batches(bytes data not None):
    """The whole batches in a records field, or in a log; what follows the last is left out. Unreadable where a header cannot be one."""
    cdef list found = []
    cdef int64_t position = 0, length
    while len(data) - position >= SMALLEST_HEADER_BYTES:
        length = <int32_t>load32(<const uint8_t*>PyBytes_AS_STRING(data) + position + 8)
        if length >= LENGTH_MIN and PREFIX_BYTES + length > len(data) - position:
            break
        found.append(EncodedBatch(data[position : position + PREFIX_BYTES + length]))
        position += PREFIX_BYTES + length
    return found


cdef inline int read_record(Cursor* cursor, Span* span, int64_t index) except -1:
    if cursor.at >= cursor.end or not next_record(cursor, span):
        raise Unreadable(f"record {index} cannot be read")
    return 0


cdef int check_end(const Cursor* cursor) except -1:
    if cursor.at != cursor.end:
        raise Unreadable("there are more records than the header says")
    return 0


cdef inline object part(const uint8_t* at, int64_t size):
    return PyBytes_FromStringAndSize(<const char*>at, size) if size >= 0 else None


cdef tuple headers_of(const Span* span):
    """Of a record that was found readable."""
    cdef Cursor cursor
    cdef list headers = []
    cdef int32_t size
    cdef bytes key
    cursor.at, cursor.end, cursor.is_bad = span.headers, span.end, False
    for _ in range(span.header_count):
        size = varint(&cursor)
        key = part(cursor.at, size)
        skip(&cursor, size)
        size = varint(&cursor)
        headers.append((key, part(cursor.at, size)))
        skip(&cursor, size)
    return tuple(headers)


# For Python: what the log would say, and store


def checksum_of(const uint8_t[::1] data not None, *, uint32_t before=0, int way=-1):
    """CRC-32C of `data` behind what gave `before`. `way`: one of crc32c.h's, None if this machine does not have it; -1 for the best."""
    cdef const uint8_t* begin = &data[0] if data.shape[0] > 0 else NULL
    if way < 0:
        return checksum(before, begin, data.shape[0])
    cdef crc32c_function function = crc32c_function_of(way)
    return None if function == NULL else <uint32_t>~function(~before, begin, data.shape[0])


def facts(bytes records):
    """What is seen of the records field of a Produce request, None for null: no limit, and no order of refusals, comes in."""
    cdef Sent sent
    cdef Codecs codecs = python_codecs()
    cdef Buffer unpacked = [NULL, 0, 0]
    parse_bytes(records, &sent)
    if sent.batches == 0:
        return {**tail_of(&sent), "first": None}
    try:
        sent.first.crc_is_good = crc_is_good(&sent.first)
        if sent.first.crc_is_good:
            read_records(&sent.first, &codecs, &unpacked)
        return {**tail_of(&sent), "first": facts_of(&sent.first)}
    finally:
        release(&unpacked)


def judge(bytes records, dict limits not None, *, int64_t now, int api_version):
    """What a log with these limits (by the names of `Limits`) says of the records field: (n of LOG-BATCH-n or 0, error code, faults).

    A fault is (index, n, text), for each record that is at fault.
    """
    cdef Sent sent
    cdef Limits these = limits
    cdef Codecs codecs = python_codecs()
    cdef Buffer unpacked = [NULL, 0, 0]
    cdef list faults = []
    parse_bytes(records, &sent)
    cdef Refusal refusal = request_refusal(&sent, api_version)
    try:
        if refusal == NOT_REFUSED:
            refusal = batch_refusal(&sent.first, &these, now, &codecs, &unpacked)
        if refusal in (KEY_IS_MISSING, SOME_RECORD_HAS_BAD_TIME):
            faults = faults_in(&sent.first, &these, now)
        return <int>refusal, error_of(refusal), faults
    finally:
        release(&unpacked)


def stored(bytes records not None, dict limits not None, *, int64_t now, int64_t base_offset, int32_t leader_epoch):
    """The bytes that such a log stores of a batch that it takes. ValueError for one that it refuses."""
    cdef Sent sent
    cdef Limits these = limits
    cdef Codecs codecs = python_codecs()
    cdef Buffer unpacked = [NULL, 0, 0], scratch = [NULL, 0, 0], rebuilt = [NULL, 0, 0]
    cdef bytes data
    parse_bytes(records, &sent)
    try:
        if sent.batches == 0 or batch_refusal(&sent.first, &these, now, &codecs, &unpacked) != NOT_REFUSED:
            raise ValueError("a log would refuse it")
        if keeps_codec(&sent.first, &these):
            data = PyBytes_FromStringAndSize(<const char*>sent.first.data, sent.first.size_bytes)
        elif rebuild(&sent.first, &these, &codecs, &scratch, &rebuilt):
            data = PyBytes_FromStringAndSize(<const char*>rebuilt.data, rebuilt.size)
        else:
            raise MemoryError
        stamp(
            <uint8_t*>PyBytes_AS_STRING(data), len(data), base_offset, leader_epoch, these.append_time,
            stored_timestamp(&sent.first, &these, now),
        )
        return data
    finally:
        release(&unpacked)
        release(&scratch)
        release(&rebuilt)


cdef void parse_bytes(bytes records, Sent* sent) noexcept:
    """`records` must live on while `sent` is used."""
    if records is None:
        parse(NULL, 0, sent)
    else:
        parse(<const uint8_t*>PyBytes_AS_STRING(records), PyBytes_GET_SIZE(records), sent)


cdef dict tail_of(const Sent* sent):
    return {
        "batches": sent.batches,
        "tail": <int>sent.tail,
        "tail_magic": sent.tail_magic if sent.tail == TAIL_CORRUPT_MAGIC else None,
    }


cdef dict facts_of(const Batch* batch):
    return {
        "size_bytes": batch.size_bytes,
        "base_offset": batch.base_offset,
        "magic": batch.magic,
        "crc_is_good": batch.crc_is_good,
        "attributes": batch.attributes,
        "last_offset_delta": batch.last_offset_delta,
        "max_timestamp": batch.max_timestamp,
        "producer_id": batch.producer_id,
        "producer_epoch": batch.producer_epoch,
        "base_sequence": batch.base_sequence,
        "count": batch.count,
        "records": {
            "count": batch.records.count,
            "are_dense": batch.records.are_dense,
            "have_keys": batch.records.have_keys,
            "earliest": batch.records.earliest,
            "latest": batch.records.latest,
        } if batch.records.are_readable else None,
        "unpacks_too_far": batch.records.unpack_too_far,
    }


cdef list faults_in(const Batch* batch, const Limits* limits, int64_t now):
    cdef int64_t count = record_faults(batch, limits, now, NULL, 0), index
    cdef Fault* faults = <Fault*>malloc(count * sizeof(Fault))
    cdef char[FAULT_TEXT_BYTES_MAX] text
    cdef int size
    if faults == NULL:
        raise MemoryError
    try:
        record_faults(batch, limits, now, faults, count)
        found = []
        for index in range(count):
            size = fault_text(&faults[index], now, text)
            found.append((faults[index].index, <int>faults[index].refusal, text[:size].decode()))
        return found
    finally:
        free(faults)
