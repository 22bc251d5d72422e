"""Record batches (format v2, KIP-98) as a log meets them: what their headers say, whether their records are sound, and the bytes to store.

In this order: `parse` finds the batches in a request; `request_refusal` and `batch_refusal` climb the ladders of models/log.py, the second
one reading no more of a batch than it needs to refuse it; `record_faults` lists what is wrong inside one; `rebuild` packs a batch anew where
its codec changes; `stamp` writes what the log gave it. What was parsed points into the frame.
"""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint32_t

cdef enum:
    BATCH_OVERHEAD_BYTES = 61  # the header of a batch
    NO_TIMESTAMP = -1
    NO_PRODUCER = -1
    NO_EPOCH = -1
    UNPACKED_BYTES_MAX = 104_857_600
    CODEC_NONE = 0
    CODEC_GZIP = 1
    CODEC_SNAPPY = 2
    CODEC_LZ4 = 3
    CODEC_ZSTD = 4
    CODEC_OF_PRODUCER = -1  # of a topic that keeps what the producer chose
    ATTRIBUTE_CODEC = 0x07
    ATTRIBUTE_LOG_APPEND_TIME = 0x08
    ATTRIBUTE_TRANSACTIONAL = 0x10
    ATTRIBUTE_CONTROL = 0x20
    FAULT_TEXT_BYTES_MAX = 128

cdef uint32_t checksum(uint32_t before, const uint8_t* data, int64_t size) noexcept nogil  # CRC-32C, behind what gave `before` (0: nothing)


# Memory for what is unpacked: grows, and is used again

cdef struct Buffer:
    uint8_t* data
    int64_t size
    int64_t capacity

cdef bint reserve(Buffer* buffer, int64_t capacity) noexcept nogil  # false: no memory
cdef void release(Buffer* buffer) noexcept nogil


# Who packs and unpacks: both put the result behind what is in `out`, and say whether they could

cdef enum Unpacked:
    NOT_UNPACKED  # it is not of that codec, or there is no memory
    UNPACKED
    UNPACKS_FURTHER  # than UNPACKED_BYTES_MAX

cdef struct Codecs:
    void* context
    Unpacked (*decompress)(void* context, int codec, const uint8_t* packed, int64_t size, Buffer* out) noexcept nogil
    bint (*compress)(void* context, int codec, int level, const uint8_t* body, int64_t size, Buffer* out) noexcept nogil

cdef Codecs python_codecs() noexcept nogil  # cramjam and zlib; they take the GIL


# What was sent

cdef struct Records:  # what one walk over the records of a batch found
    bint are_readable
    bint unpack_too_far  # to more than UNPACKED_BYTES_MAX: nobody looked further, and they are not readable
    int64_t count
    bint are_dense  # their offset deltas are 0, 1, 2 …
    bint have_keys  # all of them
    int64_t earliest, latest  # ms, of the timestamps that are not NO_TIMESTAMP; earliest > latest if there is none
    const uint8_t* body  # unpacked
    int64_t body_bytes

cdef struct Batch:
    const uint8_t* data
    int64_t size_bytes
    int64_t base_offset
    int magic
    bint crc_is_good
    int attributes
    int32_t last_offset_delta
    int64_t base_timestamp
    int64_t max_timestamp
    int64_t producer_id
    int16_t producer_epoch
    int32_t base_sequence
    int32_t count
    Records records

cdef enum Tail:  # what follows the last whole batch
    TAIL_NOTHING
    TAIL_PARTIAL  # part of a batch: trimmed silently
    TAIL_CORRUPT_LENGTH  # a header that cannot be one, for its length
    TAIL_CORRUPT_MAGIC  # or for its magic byte, which is in `tail_magic`

cdef struct Sent:  # the records field of one partition of a Produce request
    int64_t batches
    Tail tail
    int tail_magic
    Batch first  # meaningless without batches

cdef void parse(const uint8_t* data, int64_t size, Sent* sent) noexcept nogil  # nothing stands for null
cdef void read_header(const uint8_t* data, int64_t size, Batch* batch) noexcept nogil  # of a whole batch, of 26 bytes at least
cdef bint crc_is_good(const Batch* batch) noexcept nogil
cdef void read_records(Batch* batch, const Codecs* codecs, Buffer* unpacked) noexcept nogil  # of a batch with a whole header


# What is refused. Of each refusal: the number of its rule, LOG-BATCH-n

cdef enum Refusal:
    NOT_REFUSED = 0
    FIRST_HEADER_IS_UNREADABLE = 1
    NEXT_HEADER_IS_UNREADABLE = 2
    HOLDS_NO_BATCH = 3
    HOLDS_MORE_THAN_ONE_BATCH = 4
    MAGIC_IS_OLD = 5
    ZSTD_IS_TOO_NEW = 6
    BASE_OFFSET_IS_NOT_ZERO = 7
    IS_TOO_LARGE = 8
    CHECKSUM_IS_WRONG = 9
    COUNT_IS_WRONG = 10
    IS_CONTROL_BATCH = 11
    LACKS_SEQUENCE = 12
    RECORDS_ARE_UNREADABLE = 13
    COUNT_OF_RECORDS_IS_WRONG = 14
    KEY_IS_MISSING = 15
    TIMESTAMP_IS_OUT_OF_RANGE = 16
    APPEND_TIME_IS_FORGED = 17
    SOME_RECORD_HAS_BAD_TIME = 18
    COMPRESSED_DELTAS_ARE_ODD = 19
    UNPACKS_TOO_FAR = 25
    CANNOT_BE_REBUILT = 26

cdef struct Limits:  # what the configuration of a topic says about its batches
    int64_t max_message_bytes
    int64_t timestamp_before_max_ms  # both 0 or more
    int64_t timestamp_after_max_ms
    bint append_time
    bint compacts
    int codec  # CODEC_OF_PRODUCER: each batch keeps its own
    int level  # of `codec`

cdef struct Fault:  # what is wrong with one record
    int32_t index
    Refusal refusal  # KEY_IS_MISSING, TIMESTAMP_IS_OUT_OF_RANGE or APPEND_TIME_IS_FORGED
    int64_t timestamp  # the record's own

cdef bint first_header_is_unreadable(const Sent* sent) noexcept nogil  # spoils the whole request
cdef Refusal request_refusal(const Sent* sent, int api_version) noexcept nogil
cdef Refusal batch_refusal(
    Batch* batch, const Limits* limits, int64_t now, const Codecs* codecs, Buffer* unpacked
) noexcept nogil  # `unpacked` holds the records afterwards, if they were compressed
cdef int16_t error_of(Refusal refusal) noexcept nogil  # Kafka's error code

# Behind a refusal by KEY_IS_MISSING or SOME_RECORD_HAS_BAD_TIME: how many records are at fault; the first `room` of them are put into `faults`
cdef int64_t record_faults(const Batch* batch, const Limits* limits, int64_t now, Fault* faults, int64_t room) noexcept nogil
cdef int fault_text(const Fault* fault, int64_t now, char* text) noexcept nogil  # its length; `text` has FAULT_TEXT_BYTES_MAX


# What is stored of a batch that passed

cdef int codec_of(const Batch* batch) noexcept nogil
cdef bint keeps_codec(const Batch* batch, const Limits* limits) noexcept nogil
cdef int64_t stored_timestamp(const Batch* batch, const Limits* limits, int64_t now) noexcept nogil

# The same records in the topic's codec, numbered 0, 1, 2 …; false if it could not be done. `scratch` is for what lies between
cdef bint rebuild(const Batch* batch, const Limits* limits, const Codecs* codecs, Buffer* scratch, Buffer* out) noexcept nogil

cdef void stamp(
    uint8_t* data, int64_t size, int64_t base_offset, int32_t leader_epoch, bint has_append_time, int64_t max_timestamp
) noexcept nogil
