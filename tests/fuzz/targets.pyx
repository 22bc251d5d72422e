# distutils: language = c++
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""What the fuzzer drives: an input goes through a parser of the fast path, and what holds of any input is held against it.

    frames      the core: pipelined frames that arrive in two pieces; a second connection sees nothing of it
    batches     a records field: judged, listed, packed anew, stamped, and read as tools read it
    messages    the codec of the control plane: what is read is written, and read again

A finding ends the process: a report of a sanitizer, an exception that nobody promised, or a demand below that does not hold.
"""

import gc
import os
import sys
import traceback

from cpython.buffer cimport PyBUF_WRITE
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport abort, free, malloc
from libc.string cimport memcpy
from libcpp.vector cimport vector
from posix.time cimport CLOCK_THREAD_CPUTIME_ID, clock_gettime, timespec

from fiducial.fastpath.batch cimport (
    CODEC_OF_PRODUCER,
    FAULT_TEXT_BYTES_MAX,
    NOT_REFUSED,
    TAIL_NOTHING,
    Buffer,
    Codecs,
    Fault,
    Limits,
    Refusal,
    Sent,
    batch_refusal,
    codec_of,
    crc_is_good,
    fault_text,
    keeps_codec,
    parse,
    python_codecs,
    read_records,
    rebuild,
    record_faults,
    release,
    request_refusal,
    stamp,
    stored_timestamp,
)
from fiducial.fastpath.bigendian cimport load16, load32

import mutation
from memory_files import MemoryFiles

from fiducial.fastpath import batch, core
from fiducial.models.apis import APIS
from fiducial.models.log import LogConfig
from fiducial.models.settings import parse as parse_settings
from fiducial.models.state import Cluster

cdef extern from *:
    """
    extern "C" int LLVMFuzzerRunDriver(int* argc, char*** argv, int (*take)(const uint8_t* data, size_t size));
    """
    int LLVMFuzzerRunDriver(int* argc, char*** argv, int (*take)(const uint8_t* data, size_t size) noexcept)

cdef enum:
    LENGTH_BYTES = 4

cdef int64_t NOW = 1_700_000_000_000
cdef int64_t INPUT_CPU_NS_MAX = 5_000_000_000  # a second, and what the sanitizers add


cdef int demand(bint holds, str what) except -1:
    if not holds:
        raise AssertionError(what)
    return 0


cdef class Target:
    """Where inputs go."""

    cdef int take(self, const uint8_t* data, int64_t size) except -1:
        raise NotImplementedError


# The core

CONNECTION, NEIGHBOUR = 1, 2
VERDICTS = core.VERDICTS
ENDS = frozenset(VERDICTS[name] for name in ("REFUSED", "MALFORMED"))
SETTINGS = parse_settings({"max.incremental.fetch.session.cache.slots": "4", "socket.request.max.bytes": "100000"})
CLUSTER = Cluster("fiducialfiducialfiduci", 1, "127.0.0.1", 9092)
SMALL = {"segment_index_bytes": 1024, "index_interval_bytes": 1, "max_message_bytes": 4096}
#: A topic for each way that a batch can go; segments are small enough to be rolled.
TOPICS = {
    "a": LogConfig(**SMALL, segment_bytes=600),
    "b": LogConfig(**SMALL, append_time=True, flush_messages=1),
    "c": LogConfig(**SMALL, compression=4, compression_level=3),
    "d": LogConfig(**SMALL, compacts=True, timestamp_before_max_ms=1000),
}
KEPT = [batch.encode([(NOW, b"key", b"value")] * count) for count in (1, 3)]
#: ListOffsets v1, earliest, of a-0: a log that only grows answers it the same for ever.
EARLIEST = bytes.fromhex("0002 0001 0000002a ffff ffffffff 00000001 0001 61 00000001 00000000 fffffffffffffffe")
EARLIEST = len(EARLIEST).to_bytes(4, "big") + EARLIEST


def id_of(str name):
    """Of a topic, whose name is a letter."""
    return name.encode() * 16


cdef class Frames(Target):
    """A core with some topics, as new for each input."""

    cdef object files, core, undisturbed
    cdef int64_t sessions

    def __init__(self):
        mutation.use(2, True)
        self.begin()

    def begin(self):
        """An empty disk, and all that is kept on it."""
        self.files = MemoryFiles()
        self.core = core.Core("", CLUSTER, SETTINGS, self.files)
        self.core.draw_session_id = self.draw_session_id
        self.sessions = 0
        for name in TOPICS:
            self.core.name_topic(id_of(name), name)
            self.create(name)
        self.files.changed()
        self.undisturbed = self.asked()

    def create(self, str name):
        """A topic's only partition; one of them is not empty."""
        self.core.create(id_of(name), 0, name, TOPICS[name], 0, NOW)
        if name == "a":
            for one in KEPT:
                self.core.append(id_of(name), 0, one, NOW)

    def renew(self):
        """What the input before left is no more."""
        if self.sessions:
            self.core.close()
            self.begin()
            return
        for name in sorted({path[1:2].decode() for path in self.files.changed()}):
            self.core.delete(id_of(name), 0)
            self.create(name)
            self.files.changed()

    def draw_session_id(self):
        """They count up."""
        self.sessions += 1
        return self.sessions

    def asked(self):
        """What the neighbour is answered."""
        self.core.handle(NEIGHBOUR, bytearray(EARLIEST), NOW)
        return self.core.answers()

    cdef int take(self, const uint8_t* data, int64_t size) except -1:
        """The first two bytes say where the stream is cut."""
        if size < 3:
            return 0
        cdef int64_t cut = 2 + load16(data) % (size - 2)
        cdef int64_t at = 2
        at = self.receive(data, at, cut)
        if at >= 0:
            at = self.receive(data, at, size)
        self.core.disconnected(CONNECTION)
        if at < 0:
            demand(self.asked() == self.undisturbed, "nonsense on one connection changes what another is answered")
        self.renew()
        return 0

    cdef int64_t receive(self, const uint8_t* data, int64_t at, int64_t end) except -2:
        """So much of the stream is here: where what was not taken begins; -1 if the connection ends."""
        cdef vector[int32_t] asked
        while True:
            asked.clear()
            verdict, taken = self.handled(data + at, end - at)
            demand(0 <= taken <= end - at, "more was taken than came")
            self.ask(data + at, taken, &asked)
            self.answered(&asked, verdict)
            if verdict == VERDICTS["PARKED"]:
                self.wait(asked.back())
            demand(verdict != VERDICTS["FAILED"], "the disk failed")
            if verdict in ENDS:
                return -1
            at += taken
            if verdict == VERDICTS["COLD"]:
                at += self.skipped(data + at, end - at)
            elif taken == 0:
                return at

    cdef tuple handled(self, const uint8_t* data, int64_t size):
        """What the core makes of these bytes, which lie where nothing follows them."""
        cdef uint8_t* room = <uint8_t*>malloc(size)
        memcpy(room, data, size)
        try:
            return self.core.handle(CONNECTION, PyMemoryView_FromMemory(<char*>room, size, PyBUF_WRITE), NOW)
        finally:
            free(room)

    cdef int ask(self, const uint8_t* data, int64_t size, vector[int32_t]* asked) except -1:
        """The correlation ids of the frames that were taken."""
        cdef int64_t at = 0, length
        while at < size:
            demand(size - at >= LENGTH_BYTES, "part of a frame was taken")
            length = <int32_t>load32(data + at)
            demand(0 < length <= size - at - LENGTH_BYTES, "part of a frame was taken")
            asked.push_back(<int32_t>load32(data + at + 8) if length >= 8 else 0)
            at += LENGTH_BYTES + length
        return 0

    cdef int answered(self, vector[int32_t]* asked, int verdict) except -1:
        """Whole frames, for this connection, in the order of what was asked; not every request has one."""
        cdef const uint8_t* at
        cdef const uint8_t* end
        cdef size_t next_asked = 0
        cdef int32_t length
        for connection, data, rest in self.core.answers():
            demand(connection == CONNECTION and data is not None and not rest, "an answer for somebody else, or one that cannot be read")
            at = data
            end = at + len(data)
            while at < end:
                demand(end - at >= LENGTH_BYTES + 4, "part of a frame was answered")
                length = <int32_t>load32(at)
                demand(4 <= length <= end - at - LENGTH_BYTES, "part of a frame was answered")
                while next_asked < asked.size() and asked[0][next_asked] != <int32_t>load32(at + LENGTH_BYTES):
                    next_asked += 1
                demand(next_asked < asked.size(), "nobody asked for this answer")
                next_asked += 1
                at += LENGTH_BYTES + length
        return 0

    cdef int wait(self, int32_t correlation_id) except -1:
        """Time passes until the parked fetch is answered."""
        cdef vector[int32_t] asked
        asked.push_back(correlation_id)
        deadline = self.core.next_deadline()
        demand(deadline >= 0, "a parked fetch has no deadline")
        tickets = self.core.expired(deadline)
        demand(len(tickets) == 1, "one fetch was parked")
        self.core.time_out(tickets[0], deadline)
        demand(len(self.core.answers()) == 1, "a parked fetch was not answered")
        return self.answered(&asked, VERDICTS["REPLIED"])

    cdef int64_t skipped(self, const uint8_t* data, int64_t size) except -1:
        """The size of a frame that the control plane would answer. It reads its header first."""
        cdef int64_t length = <int32_t>load32(data)
        demand(size >= LENGTH_BYTES and 0 < length <= size - LENGTH_BYTES, "a frame that is not whole went to the control plane")
        cdef uint8_t* room = <uint8_t*>malloc(length)
        memcpy(room, data + LENGTH_BYTES, length)
        frame = PyMemoryView_FromMemory(<char*>room, length, PyBUF_WRITE)
        self.core.header(frame, True)
        self.core.header(frame, False)
        free(room)
        return LENGTH_BYTES + length


# Batches

cdef class Batches(Target):
    """One records field, judged under limits that the first two bytes choose; a third has its records packed first."""

    cdef Codecs codecs

    def __init__(self):
        mutation.use(3, False)
        self.codecs = python_codecs()

    cdef int take(self, const uint8_t* data, int64_t size) except -1:
        if size < 3:
            return 0
        cdef Limits limits = Limits(4096, 1000 if data[0] & 8 else 1 << 62, 1000, data[0] & 16, data[0] & 32, data[0] % 8 % 6 - 1, 3)
        records = PyBytes_FromStringAndSize(<const char*>data + 3, size - 3)
        if 0 < data[2] % 8 < 5 and len(records) > 61:
            records = packed(records, data[2] % 8)
        cdef const uint8_t* bytes_of_it = records
        cdef int64_t records_bytes = len(records)
        cdef uint8_t* room = <uint8_t*>malloc(records_bytes)
        cdef Buffer unpacked = Buffer(NULL, 0, 0)
        cdef Sent sent
        memcpy(room, bytes_of_it, records_bytes)
        try:
            parse(room, records_bytes, &sent)
            if request_refusal(&sent, data[1] % 14) == NOT_REFUSED:
                self.judge(&sent, &limits, &unpacked, records)
        finally:
            release(&unpacked)
            free(room)
        read_as_tools_do(records)
        return 0

    cdef int judge(self, Sent* sent, Limits* limits, Buffer* unpacked, bytes records) except -1:
        """As a log does."""
        cdef Refusal refusal = batch_refusal(&sent.first, limits, NOW, &self.codecs, unpacked)
        if refusal != NOT_REFUSED:
            if sent.first.records.are_readable:
                list_faults(sent, limits)
            return 0
        demand(sent.first.count == sent.first.records.count, "a batch was taken that holds another number of records than it says")
        if sent.first.size_bytes == len(records):
            demand(len(batch.EncodedBatch(records).records()) == sent.first.count, "a tool reads other records than the log")
        return self.store(sent, limits)

    cdef int store(self, Sent* sent, Limits* limits) except -1:
        """What would be stored is a batch again, with as many records."""
        cdef Buffer scratch = Buffer(NULL, 0, 0), rebuilt = Buffer(NULL, 0, 0), unpacked = Buffer(NULL, 0, 0)
        cdef uint8_t* stored = <uint8_t*>sent.first.data
        cdef int64_t size = sent.first.size_bytes, timestamp = stored_timestamp(&sent.first, limits, NOW)
        cdef int64_t count = sent.first.count
        cdef Sent again
        try:
            if not keeps_codec(&sent.first, limits):
                demand(rebuild(&sent.first, limits, &self.codecs, &scratch, &rebuilt), "a batch that was taken cannot be packed anew")
                stored, size = rebuilt.data, rebuilt.size
            stamp(stored, size, 7, 1, limits.append_time, timestamp)
            parse(stored, size, &again)
            demand(again.batches == 1 and again.tail == TAIL_NOTHING and crc_is_good(&again.first), "what is stored is not one sound batch")
            demand(again.first.base_offset == 7 and again.first.count == count, "what is stored has another header")
            demand(limits.codec == CODEC_OF_PRODUCER or codec_of(&again.first) == limits.codec, "what is stored is not in the topic's codec")
            read_records(&again.first, &self.codecs, &unpacked)
            demand(again.first.records.are_readable and again.first.records.count == count, "what is stored holds other records")
        finally:
            release(&scratch)
            release(&rebuilt)
            release(&unpacked)
        return 0


cdef int list_faults(Sent* sent, Limits* limits) except -1:
    """In room for exactly as many as there are."""
    cdef int64_t count = record_faults(&sent.first, limits, NOW, NULL, 0), index
    cdef Fault* faults = <Fault*>malloc(count * sizeof(Fault))
    cdef char[FAULT_TEXT_BYTES_MAX] text
    try:
        demand(record_faults(&sent.first, limits, NOW, faults, count) == count, "other faults the second time")
        for index in range(count):
            demand(0 < fault_text(&faults[index], NOW, text) < FAULT_TEXT_BYTES_MAX, "a fault without a text")
    finally:
        free(faults)
    return 0


def packed(bytes records, int codec):
    """The batch with what lies behind its header packed, and signed."""
    body = batch.compressed(memoryview(records)[61:], codec, batch.LEVELS.get(codec, 0))
    head = bytearray(records[:61])
    head[8:12] = (49 + len(body)).to_bytes(4, "big")
    head[22] = head[22] & ~7 | codec
    summed = bytes(head[21:]) + body
    head[17:21] = batch.checksum_of(summed).to_bytes(4, "big")
    return bytes(head[:21]) + summed


def read_as_tools_do(bytes records):
    """As objects and as columns: the same, or no records both times."""
    try:
        found = batch.batches(records)
    except batch.Unreadable:
        return
    for one in found:
        try:
            count = len(one.records())
        except batch.Unreadable:
            count = -1
        try:
            columns = len(one.columns().offsets)
        except batch.Unreadable:
            columns = -1
        demand(count == columns, "records and columns differ")


# Messages

KINDS = ("request", "response")
KEYS = sorted(APIS)


cdef class Messages(Target):
    """One message, of the API, version and kind that the first three bytes choose."""

    cdef object codec

    def __init__(self):
        from fiducial.fastpath import codec_objects  # here, since what is loaded is watched

        mutation.use(3, False)
        self.codec = codec_objects

    cdef int take(self, const uint8_t* data, int64_t size) except -1:
        if size < 3:
            return 0
        api = APIS[KEYS[data[0] % len(KEYS)]]
        version = api.min_version + data[1] % (api.max_version - api.min_version + 1)
        kind = KINDS[data[2] % 2]
        body = PyBytes_FromStringAndSize(<const char*>data + 3, size - 3)
        try:
            message = self.codec.decode(body, api.key, version, kind)
        except self.codec.Malformed:
            return 0
        written = self.codec.encode(message, api.key, version, kind)
        again = self.codec.decode(written, api.key, version, kind)
        demand(self.codec.encode(again, api.key, version, kind) == written, "what is read again is another message")
        return 0


# The driver

TARGETS = {"frames": Frames, "batches": Batches, "messages": Messages}
cdef Target target = None


cdef int64_t cpu_ns() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now)
    return now.tv_sec * 1_000_000_000 + now.tv_nsec


cdef int take(const uint8_t* data, size_t size) noexcept:
    """One input. By its own time a slow one is told from a busy machine."""
    cdef int64_t begun = cpu_ns()
    try:
        target.take(data, size)
        demand(cpu_ns() - begun < INPUT_CPU_NS_MAX, "it takes too long")
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        abort()
    return 0


def main(str name, list arguments):
    """Never returns: libFuzzer ends the process, and where it needs another it runs the first of these arguments."""
    global target
    target = TARGETS[name]()
    gc.freeze()
    words = [os.fsencode(word) for word in arguments]
    cdef vector[char*] argv
    for word in words:
        argv.push_back(word)
    argv.push_back(NULL)
    cdef int argc = len(words)
    cdef char** first = argv.data()
    LLVMFuzzerRunDriver(&argc, &first, take)
