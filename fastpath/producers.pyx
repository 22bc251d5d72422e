# distutils: language = c++
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The producers of one partition: duplicates, sequences, epochs; and how they outlive the process.

It decides what `models/idempotence.py` decides. Two files hold the producers as they were when the log ended at an offset:
    %020d.window     ours: the last five batches of each producer, and the broker's time of the last append
    %020d.snapshot   Kafka's own, with room for the last batch only; for Kafka's tools, and to take up a log that Kafka has written
Both begin with a version and a CRC-32C of what follows it, so that half a file is none.
"""

from cython.operator cimport dereference
from libc.errno cimport ENOENT, ENOMEM
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport free, malloc
from libcpp.string cimport string
from libcpp.unordered_map cimport unordered_map
from libcpp.utility cimport pair
from libcpp.vector cimport vector

from fiducial.fastpath.batch cimport checksum
from fiducial.fastpath.bigendian cimport load16, load32, load64, store16, store32, store64
from fiducial.fastpath.files cimport replace_file, write_held

cdef enum:
    INVALID_PRODUCER_EPOCH = 47
    OUT_OF_ORDER_SEQUENCE_NUMBER = 45
    SNAPSHOT_VERSION = 1
    HEAD_BYTES = 10  # version, checksum, count
    SNAPSHOT_ENTRY_BYTES = 46
    WINDOW_ENTRY_BYTES = 22 + WINDOW_BATCHES * 32

cdef int32_t SEQUENCE_MAX = 2147483647


cdef int32_t sequence_after(int32_t sequence, int32_t steps) noexcept nogil:
    """IDEM-SEQ-3: it wraps from 2^31 - 1 to 0."""
    if sequence > SEQUENCE_MAX - steps:
        return steps - (SEQUENCE_MAX - sequence) - 1
    return sequence + steps


cdef Producer* known(Producers* producers, int64_t producer_id) noexcept nogil:
    """What is known of a producer; NULL for nothing."""
    cdef unordered_map[int64_t, Producer].iterator at = producers.find(producer_id)
    if at == producers.end():
        return NULL
    return &dereference(at).second


cdef Written* duplicate_of(Producers* producers, Sequenced* batch) noexcept nogil:
    """IDEM-DUP-1: the batch of the window that this is a resend of, or NULL."""
    cdef Producer* producer = known(producers, batch.producer_id)
    cdef int index
    if producer == NULL or producer.epoch != batch.epoch:
        return NULL
    for index in range(producer.count):
        if producer.window[index].first_sequence == batch.first_sequence and producer.window[index].last_sequence == batch.last_sequence:
            return &producer.window[index]
    return NULL


cdef int16_t sequence_error(Producers* producers, Sequenced* batch) noexcept nogil:
    """The sequence check: IDEM-EPOCH-1, IDEM-EPOCH-2, IDEM-SEQ-2, in this order; 0 if nothing is wrong."""
    cdef Producer* producer = known(producers, batch.producer_id)
    cdef int16_t epoch = producer.epoch if producer != NULL else NO_EPOCH
    if batch.epoch < epoch:
        return INVALID_PRODUCER_EPOCH
    if epoch == NO_EPOCH:
        return 0
    if batch.epoch > epoch:
        return 0 if batch.first_sequence == 0 else OUT_OF_ORDER_SEQUENCE_NUMBER
    cdef int32_t last = producer.window[producer.count - 1].last_sequence if producer.count > 0 else -1
    return 0 if batch.first_sequence == sequence_after(last, 1) else OUT_OF_ORDER_SEQUENCE_NUMBER


cdef void remember(Producers* producers, Sequenced* batch, int64_t base_offset, int64_t last_offset, int64_t now) noexcept nogil:
    """IDEM-EPOCH-3: the window slides, or, in a new epoch, begins anew."""
    cdef Producer* producer = known(producers, batch.producer_id)
    cdef Producer fresh
    cdef int index
    if producer == NULL:
        fresh.epoch = NO_EPOCH
        fresh.count = 0
        producers[0][batch.producer_id] = fresh
        producer = known(producers, batch.producer_id)
    if producer.epoch != batch.epoch:
        producer.count = 0
    if producer.count == WINDOW_BATCHES:
        for index in range(1, WINDOW_BATCHES):
            producer.window[index - 1] = producer.window[index]
        producer.count -= 1
    producer.window[producer.count] = Written(batch.first_sequence, batch.last_sequence, base_offset, last_offset, batch.timestamp)
    producer.count += 1
    producer.epoch = batch.epoch
    producer.appended_ms = now


cdef bint expire(Producers* producers, int64_t expiration_ms, int64_t now) noexcept nogil:
    """IDEM-EXPIRE-1. Was anybody forgotten?"""
    cdef vector[int64_t] expired
    cdef pair[int64_t, Producer] entry
    cdef size_t index
    for entry in producers[0]:
        if now - entry.second.appended_ms >= expiration_ms:
            expired.push_back(entry.first)
    for index in range(expired.size()):
        producers.erase(expired[index])
    return not expired.empty()


# Files


cdef string path_of(const string& folder, int64_t offset, const char* suffix) noexcept nogil:
    cdef char name[64]
    cdef string path = folder
    snprintf(name, sizeof(name), b"/%020lld%s", <long long>offset, suffix)
    path.append(<const char*>name)
    return path


cdef int save(Producers* producers, Files* files, const string& folder, int64_t offset, vector[OpenFile*]* written) noexcept nogil:
    """Both files of the producers as they are, the log ending at `offset`; -errno if one could not be written. They are put on the disk in place of
    those that are there; or, if there are none, only written and left open, for others to force them."""
    cdef int64_t count = producers.size()
    cdef uint8_t* data = <uint8_t*>malloc(HEAD_BYTES + count * WINDOW_ENTRY_BYTES)
    if data == NULL:
        return -ENOMEM
    cdef uint8_t* at = data + HEAD_BYTES
    cdef pair[int64_t, Producer] entry
    for entry in producers[0]:
        at = put_window(at, entry.first, &entry.second)
    cdef int result = save_whole(files, path_of(folder, offset, b".window"), data, at - data, <int32_t>count, written)
    if result == 0:
        at = data + HEAD_BYTES
        for entry in producers[0]:
            at = put_last_batch(at, entry.first, &entry.second)
        result = save_whole(files, path_of(folder, offset, b".snapshot"), data, at - data, <int32_t>count, written)
    free(data)
    return result if result < 0 or written != NULL else files.sync_folder(files.context, folder.c_str())


cdef uint8_t* put_last_batch(uint8_t* at, int64_t producer_id, Producer* producer) noexcept nogil:
    """An entry of Kafka's snapshot; where the next one goes."""
    cdef Written none = Written(-1, -1, -1, -1, producer.appended_ms)  # all that is known is the epoch
    cdef Written* last = &producer.window[producer.count - 1] if producer.count > 0 else &none
    store64(at, <uint64_t>producer_id)
    store16(at + 8, <uint16_t>producer.epoch)
    store32(at + 10, <uint32_t>last.last_sequence)
    store64(at + 14, <uint64_t>last.last_offset)
    store32(at + 22, <uint32_t>(last.last_offset - last.base_offset))
    store64(at + 26, <uint64_t>last.timestamp)
    store32(at + 34, <uint32_t>-1)  # no coordinator
    store64(at + 38, <uint64_t>-1)  # no transaction
    return at + SNAPSHOT_ENTRY_BYTES


cdef uint8_t* put_window(uint8_t* at, int64_t producer_id, Producer* producer) noexcept nogil:
    """An entry of our own file: all batches of the window, places that are free zeroed."""
    cdef int index
    cdef Written none = Written(0, 0, 0, 0, 0)
    cdef Written* written
    store64(at, <uint64_t>producer_id)
    store16(at + 8, <uint16_t>producer.epoch)
    store64(at + 10, <uint64_t>producer.appended_ms)
    store32(at + 18, <uint32_t>producer.count)
    at += 22
    for index in range(WINDOW_BATCHES):
        written = &producer.window[index] if index < producer.count else &none
        store32(at, <uint32_t>written.first_sequence)
        store32(at + 4, <uint32_t>written.last_sequence)
        store64(at + 8, <uint64_t>written.base_offset)
        store64(at + 16, <uint64_t>written.last_offset)
        store64(at + 24, <uint64_t>written.timestamp)
        at += 32
    return at


cdef int save_whole(Files* files, const string& path, uint8_t* data, int64_t size_bytes, int32_t count, vector[OpenFile*]* written) noexcept nogil:
    """A file of this form: version, checksum of the rest, count, entries."""
    store16(data, SNAPSHOT_VERSION)
    store32(data + 6, <uint32_t>count)
    store32(data + 2, checksum(0, data + 6, size_bytes - 6))
    if written == NULL:
        return replace_file(files, path, data, size_bytes)
    cdef int fd = write_held(files, path, data, size_bytes)
    if fd >= 0:
        written.push_back(new OpenFile(fd))
    return min(fd, 0)


cdef int force_saved(Files* files, const string& folder, int64_t offset) noexcept nogil:
    """Both files of an offset, as far as they are there, are on the disk; not their names."""
    cdef int result = force_file(files, path_of(folder, offset, b".window"))
    return result if result < 0 else force_file(files, path_of(folder, offset, b".snapshot"))


cdef int force_file(Files* files, const string& path) noexcept nogil:
    cdef int fd = files.open(files.context, path.c_str(), False)
    if fd < 0:
        return 0 if fd == -ENOENT else fd
    cdef int result = files.sync(files.context, fd)
    files.close(files.context, fd)
    return result


cdef bint is_ours(Files* files, const string& folder, int64_t offset) noexcept nogil:
    """Did we write the files of an offset, sound or not?"""
    cdef int fd = files.open(files.context, path_of(folder, offset, b".window").c_str(), False)
    if fd >= 0:
        files.close(files.context, fd)
    return fd >= 0


cdef void forget_saved(Files* files, const string& folder, int64_t offset) noexcept nogil:
    """Both files of an offset, if they are there."""
    files.remove(files.context, path_of(folder, offset, b".snapshot").c_str())
    files.remove(files.context, path_of(folder, offset, b".window").c_str())


cdef bint load(Producers* producers, Files* files, const string& folder, int64_t offset) noexcept nogil:
    """The producers as they were at `offset`; False if there is no sound file of ours."""
    cdef int64_t size_bytes = 0, at = HEAD_BYTES
    cdef uint8_t* data = read_whole(files, path_of(folder, offset, b".window"), WINDOW_ENTRY_BYTES, &size_bytes)
    if data == NULL:
        return False
    while at < size_bytes:
        take_window(producers, data + at)
        at += WINDOW_ENTRY_BYTES
    free(data)
    return True


cdef bint load_kafkas(Producers* producers, Files* files, const string& folder, int64_t offset, int64_t now) noexcept nogil:
    """The producers as they were at `offset`, each with its last batch; False if there is no sound file of Kafka's."""
    cdef int64_t size_bytes = 0, at = HEAD_BYTES
    cdef uint8_t* data = read_whole(files, path_of(folder, offset, b".snapshot"), SNAPSHOT_ENTRY_BYTES, &size_bytes)
    if data == NULL:
        return False
    while at < size_bytes:
        take_last_batch(producers, data + at, now)
        at += SNAPSHOT_ENTRY_BYTES
    free(data)
    return True


cdef uint8_t* read_whole(Files* files, const string& path, int64_t entry_bytes, int64_t* size_bytes) noexcept nogil:
    """The file's bytes, to be freed; NULL if it is not there, not of this form, or its checksum is wrong."""
    cdef int fd = files.open(files.context, path.c_str(), False)
    if fd < 0:
        return NULL
    cdef int64_t size = files.size(files.context, fd)
    cdef uint8_t* data = <uint8_t*>malloc(size) if size >= HEAD_BYTES else NULL
    if data != NULL and (files.read_at(files.context, fd, data, size, 0) != size or not is_sound(data, size, entry_bytes)):
        free(data)
        data = NULL
    files.close(files.context, fd)
    size_bytes[0] = size
    return data


cdef bint is_sound(const uint8_t* data, int64_t size_bytes, int64_t entry_bytes) noexcept nogil:
    return (
        load16(data) == SNAPSHOT_VERSION
        and load32(data + 2) == checksum(0, data + 6, size_bytes - 6)
        and size_bytes == HEAD_BYTES + <int64_t>load32(data + 6) * entry_bytes
    )


cdef void take_window(Producers* producers, const uint8_t* at) noexcept nogil:
    """A producer from an entry of our own file."""
    cdef Producer producer
    cdef int index
    cdef const uint8_t* written
    producer.epoch = <int16_t>load16(at + 8)
    producer.appended_ms = <int64_t>load64(at + 10)
    producer.count = <int32_t>load32(at + 18)
    for index in range(WINDOW_BATCHES):
        written = at + 22 + index * 32
        producer.window[index] = Written(
            <int32_t>load32(written),
            <int32_t>load32(written + 4),
            <int64_t>load64(written + 8),
            <int64_t>load64(written + 16),
            <int64_t>load64(written + 24),
        )
    producers[0][<int64_t>load64(at)] = producer


cdef void take_last_batch(Producers* producers, const uint8_t* at, int64_t now) noexcept nogil:
    """A producer from an entry of Kafka's snapshot. Whoever has written nothing (last offset -1) has an empty window."""
    cdef Producer producer
    cdef int32_t last_sequence = <int32_t>load32(at + 10), delta = <int32_t>load32(at + 22)
    cdef int64_t last_offset = <int64_t>load64(at + 14)
    producer.epoch = <int16_t>load16(at + 8)
    producer.appended_ms = now
    producer.count = 0
    if last_sequence >= 0:
        producer.count = 1
        producer.window[0] = Written(
            sequence_before(last_sequence, delta), last_sequence, last_offset - delta, last_offset, <int64_t>load64(at + 26)
        )
    producers[0][<int64_t>load64(at)] = producer


cdef int32_t sequence_before(int32_t sequence, int32_t steps) noexcept nogil:
    """The sequence `steps` before, wrapping from 0 to 2^31 - 1."""
    return sequence - steps if sequence >= steps else SEQUENCE_MAX - (steps - sequence) + 1
