# distutils: language = c++
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The core: frames and the time in, answers out. It opens no socket, reads no clock and draws no random number.

    frame ──▶ Produce, Fetch, ListOffsets: decided here, without Python
          └─▶ anything else: COLD, for the control plane (`control.py`), which sees the partitions by the methods below

What is answered is on the disk as far as its topic asks for that: `handle` forces it there before it lets the answers out. Once a file
operation has failed the log directory is offline: nothing is written any more, since nobody knows what is there; reads go on.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.errno cimport EEXIST, EIO
from libc.stdint cimport INT64_MAX, int16_t, int32_t, int64_t, uint8_t
from libc.string cimport memcpy, memset
from libcpp.string cimport string
from libcpp.utility cimport pair
from libcpp.vector cimport vector

from fiducial.fastpath.batch cimport Sent, parse, python_codecs, release, stamp
from fiducial.fastpath cimport fetch as fetch_room
from fiducial.fastpath.fetch cimport Fetches, Parked, Session, answer_fetch
from fiducial.fastpath.bigendian cimport load16, load32
from fiducial.fastpath.files cimport Files, files_at, replace_file, the_real_ones, write_file
from fiducial.fastpath cimport log as log_room
from fiducial.fastpath.log cimport EVERYTHING as ALL_OF_IT
from fiducial.fastpath.log cimport Loading, Log, Place, Segment
from fiducial.fastpath.lookups cimport answer_list_offsets
from fiducial.fastpath cimport partition as partition_room
from fiducial.fastpath.partition cimport Partition, Produced
from fiducial.fastpath.produce cimport answer_produce
from fiducial.fastpath.producers cimport Producer
from fiducial.fastpath.table cimport Table, key_of, partition_of
from fiducial.fastpath.turn cimport COLD, FAILED, MALFORMED, PARKED, REFUSED, REPLIED, SILENT, Answer, Header, Turn, Verdict
from fiducial.fastpath.wire cimport (
    Gap,
    Reader,
    Writer,
    free_arena,
    free_writer,
    read_int16,
    read_int32,
    reader_of,
    reset_arena,
    reset_writer,
    skip_tags,
    take,
)

import os
from base64 import urlsafe_b64encode

from fiducial.fastpath.control import plain
from fiducial.fastpath.data import DELETE, IDENTITY, aside_name
from fiducial.models.apis import APIS
from fiducial.models.idempotence import ProducerEntry
from fiducial.models.idempotence import Written as WrittenValue

cdef enum:
    KAFKA_STORAGE_ERROR = 56
    HOT_KEYS = 3  # Produce, Fetch and ListOffsets have the keys 0, 1 and 2
    UUID_BYTES = 16
    LENGTH_BYTES = 4
    TURN_BYTES_MAX = 1 << 18  # a connection that was answered so much lets others have their turn


#: Stands for an offset beyond all: a log that was stopped cleanly is trusted below it.
EVERYTHING = ALL_OF_IT


class StorageFailed(OSError):
    """A file operation failed: the log directory is offline for writing, until a restart."""


cdef struct HotApi:
    int16_t min_version
    int16_t max_version
    int16_t flexible_from


cdef int32_t draw(void* core) noexcept with gil:
    """A new session's id, from the control plane's source of chance."""
    return (<Core>core).draw_session_id()


cdef void tell(void* core, int64_t size_bytes) noexcept with gil:
    """So much more of a log was read."""
    (<Core>core).on_read(size_bytes)


cdef bint is_due(Partition* partition) noexcept nogil:
    """Does flush.messages ask for the disk now?"""
    return partition.log.unflushed_messages >= partition.config.flush_messages


cdef class Core:
    """Partitions, sessions and waiting fetches of one broker."""

    cdef Table* table
    cdef Fetches* fetches
    cdef Turn* turn
    cdef Files files
    cdef HotApi[HOT_KEYS] hot
    cdef int64_t ticket
    cdef object configs  # key -> models.log.LogConfig
    cdef Partition* metadata  # the log of what topics there are; not one of them
    cdef readonly bytes folder
    cdef int64_t frame_bytes_max
    cdef public int64_t slice_bytes_min  # smaller slices of files are read into the answers: of the system calls, fewer
    cdef public object draw_session_id  # () -> int
    cdef public object on_read  # (bytes) -> None, while logs are loaded
    cdef object simulation  # keeps the functions alive that stand in the place of the real file operations

    def __cinit__(self) -> None:
        self.table = new Table()
        self.fetches = new Fetches()
        self.turn = new Turn()
        memset(&self.turn.arena, 0, sizeof(self.turn.arena))
        memset(&self.turn.out, 0, sizeof(self.turn.out))
        memset(&self.turn.work, 0, sizeof(self.turn.work))

    def __init__(self, folder: str, cluster: object, settings: object, simulation: object = None) -> None:
        self.folder = folder.encode()
        self.simulation = simulation
        self.files = the_real_ones() if simulation is None else files_at(simulation.address)
        self.on_read = lambda _size_bytes: None
        self.configs = {}
        self.ticket = 0
        self.frame_bytes_max = settings.socket_request_max_bytes
        self.slice_bytes_min = INT64_MAX
        self.turn.table = self.table
        self.turn.work.codecs = python_codecs()
        self.fetches.context = <void*>self
        self.fetches.draw_session_id = draw
        self.table.fetch_max_bytes = settings.fetch_max_bytes
        self.table.session_slots = settings.max_incremental_fetch_session_cache_slots
        self.table.broker_id = cluster.broker_id
        self.table.host = cluster.host.encode()
        self.table.port = cluster.port
        self.table.has_rack = cluster.rack is not None
        self.table.rack = (cluster.rack or "").encode()
        for key in range(HOT_KEYS):
            self.hot[key] = HotApi(APIS[key].min_version, APIS[key].max_version, APIS[key].flexible_from)

    def close(self) -> None:
        """Close every file."""
        cdef pair[string, Partition*] held
        for held in self.table.partitions:
            log_room.let_go(&held.second.log)
        if self.metadata != NULL:
            log_room.let_go(&self.metadata.log)

    def __del__(self) -> None:
        self.close()  # while the file operations are there: in `__dealloc__` a simulation's may be gone

    def __dealloc__(self) -> None:
        cdef pair[string, Partition*] held
        cdef pair[int32_t, Session*] session
        cdef pair[int64_t, Parked*] parked
        for held in self.table.partitions:
            del held.second
        if self.metadata != NULL:
            del self.metadata
        for session in self.fetches.sessions:
            del session.second
        for parked in self.fetches.parked:
            del parked.second
        free_arena(&self.turn.arena)
        free_writer(&self.turn.out)
        release(&self.turn.work.unpacked)
        release(&self.turn.work.scratch)
        release(&self.turn.work.rebuilt)
        del self.turn
        del self.fetches
        del self.table

    # Events

    def handle(self, int64_t connection, uint8_t[::1] frames not None, int64_t now) -> tuple[int, int]:
        """Whole frames, each behind its length, one behind the other: what became of the last one that was looked at, as a Verdict, and how many
        bytes were taken. Not taken is what is not whole, or COLD, or behind one that has to wait, or too much for one turn. The frames may be
        written to; the answers are in `answers`."""
        cdef const uint8_t* data = <const uint8_t*>&frames[0] if frames.shape[0] > 0 else NULL
        cdef const uint8_t* end = data + frames.shape[0]
        cdef const uint8_t* at = data
        cdef Verdict verdict = REPLIED
        cdef int64_t frame_bytes
        with nogil:
            self.begin_turn(now)
            while (verdict == REPLIED or verdict == SILENT) and self.turn.out.size + self.turn.out.gaps_bytes < TURN_BYTES_MAX:
                frame_bytes = self.whole_frame(at, end)
                if frame_bytes < 0:
                    break
                verdict = self.decide(connection, at + LENGTH_BYTES, frame_bytes)
                if verdict != COLD:
                    at += LENGTH_BYTES + frame_bytes
                if not (self.must_force() and self.is_produce(at, end)):
                    verdict = self.settled(verdict)
                reset_arena(&self.turn.arena)
            verdict = self.settled(verdict)
        return verdict, at - data

    cdef int64_t whole_frame(self, const uint8_t* at, const uint8_t* end) noexcept nogil:
        """The size of the frame that begins here, without its length; -1 if it is not whole, or its size is refused: whoever reads the socket
        sees to that."""
        if end - at < LENGTH_BYTES:
            return -1
        cdef int64_t size = <int32_t>load32(at)
        return size if 0 < size <= self.frame_bytes_max and size <= end - at - LENGTH_BYTES else -1

    cdef bint is_produce(self, const uint8_t* at, const uint8_t* end) noexcept nogil:
        """Is the next frame a Produce request? What was appended before may then be forced to the disk together with what it appends."""
        return self.whole_frame(at, end) >= 2 and load16(at + LENGTH_BYTES) == 0

    cdef Verdict decide(self, int64_t connection, const uint8_t* data, int64_t size) noexcept nogil:
        """Read the header of a hot request, and let its room answer it."""
        cdef Reader reader = reader_of(data, size)
        cdef Header header
        cdef int16_t client_id_bytes
        header.api_key = read_int16(&reader)
        header.api_version = read_int16(&reader)
        header.correlation_id = read_int32(&reader)
        if not reader.failed and not self.is_hot(&header):
            return COLD
        client_id_bytes = read_int16(&reader)
        header.client_id.size = client_id_bytes if client_id_bytes > 0 else 0
        header.client_id.data = take(&reader, header.client_id.size)
        header.is_flexible = header.api_version >= self.hot[header.api_key].flexible_from if not reader.failed else False
        skip_tags(&reader, header.is_flexible)
        if reader.failed:
            return MALFORMED
        cdef Verdict verdict = self.answer(connection, self.ticket + 1, &header, &reader)
        if verdict != MALFORMED:
            self.ticket += 1
        return verdict

    cdef Verdict answer(self, int64_t connection, int64_t ticket, const Header* header, Reader* reader) noexcept nogil:
        """The room that decides this request."""
        if header.api_key == 0:
            return answer_produce(self.turn, connection, header, reader)
        if header.api_key == 1:
            return answer_fetch(self.turn, self.fetches, connection, ticket, header, reader)
        return answer_list_offsets(self.turn, connection, header, reader)

    cdef bint is_hot(self, const Header* header) noexcept nogil:
        """Is the request one of those that are decided here, in a version that is served?"""
        if header.api_key < 0 or header.api_key >= HOT_KEYS:
            return False
        return self.hot[header.api_key].min_version <= header.api_version <= self.hot[header.api_key].max_version

    def header(self, const uint8_t[::1] frame not None, bint is_flexible) -> tuple | None:
        """(correlation id, client id as bytes or None, where the body begins) of a cold request; None if the frame ends in the header."""
        cdef Reader reader = reader_of(&frame[0] if frame.shape[0] > 0 else NULL, frame.shape[0])
        cdef int32_t correlation_id
        cdef int16_t client_id_bytes
        cdef const uint8_t* client_id
        take(&reader, 4)
        correlation_id = read_int32(&reader)
        client_id_bytes = read_int16(&reader)
        client_id = take(&reader, client_id_bytes if client_id_bytes > 0 else 0)
        name = (<const char*>client_id)[:client_id_bytes] if client_id_bytes >= 0 and client_id != NULL else None
        skip_tags(&reader, is_flexible)
        return None if reader.failed else (correlation_id, name, reader.at - &frame[0])

    def cold_ticket(self) -> int:
        """The number of a request that the control plane answers: all requests are numbered in one row."""
        self.ticket += 1
        return self.ticket

    def last_ticket(self) -> int:
        """The number of the last request."""
        return self.ticket

    def time_out(self, int64_t ticket, int64_t now) -> None:
        """The deadline of a parked fetch."""
        with nogil:
            self.begin_turn(now)
            fetch_room.time_out(self.turn, self.fetches, ticket)

    def expired(self, int64_t now) -> list[int]:
        """The tickets whose deadline has come, the earliest first."""
        cdef pair[int64_t, int64_t] entry
        found = []
        for entry in self.fetches.deadlines:
            if entry.first > now:
                break
            found.append(entry.second)
        return found

    def next_deadline(self) -> int:
        """When the first parked fetch gives up (ms); -1: none waits."""
        return fetch_room.next_deadline(self.fetches)

    def disconnected(self, int64_t connection) -> None:
        """The connection is gone."""
        fetch_room.forget_connection(self.fetches, connection)

    def keep_house(self, int64_t expiration_ms, int64_t now) -> None:
        """Retention and producer expiry, on every partition; who waits for what went is answered."""
        cdef pair[string, Partition*] held
        cdef vector[string] changed
        cdef int64_t first
        cdef int result = self.turn.work.storage_error
        with nogil:
            self.begin_turn(now)
            for held in self.table.partitions:
                partition_room.expire(held.second, expiration_ms, now)
                if result < 0:
                    continue
                first = held.second.log.segments.front().base_offset
                result = partition_room.retain(held.second, now)
                if held.second.log.segments.front().base_offset != first:
                    changed.push_back(held.first)
            fetch_room.wake(self.turn, self.fetches, &changed)
        self.take_in(result)

    cdef void begin_turn(self, int64_t now) noexcept nogil:
        """Nothing is left of the turn before."""
        reset_arena(&self.turn.arena)
        reset_writer(&self.turn.out)
        self.turn.answers.clear()
        self.turn.places.clear()
        self.turn.appended.clear()
        self.turn.settled = self.turn.answers_settled = 0
        self.turn.now = now

    cdef bint must_force(self) noexcept nogil:
        """Does something of what was appended go to the disk before it is acknowledged?"""
        cdef size_t index
        for index in range(self.turn.settled, self.turn.appended.size()):
            if is_due(self.turn.appended[index]):
                return True
        return False

    cdef Verdict settled(self, Verdict verdict) noexcept nogil:
        """What was appended goes to the disk where flush.messages asks for it (`commit` is 1), then readers may see it, and who waits for it is
        answered. If that fails it is not tried again: FAILED, and nobody hears of what was answered since it last went well."""
        cdef size_t index
        cdef int result = 0
        for index in range(self.turn.settled, self.turn.appended.size()):
            if is_due(self.turn.appended[index]):
                result = log_room.sync(&self.turn.appended[index].log)
            if result < 0:
                self.take_in(result)
                self.turn.answers.resize(self.turn.answers_settled)
                verdict = FAILED
                break
            partition_room.commit(self.turn.appended[index])
        if result == 0:
            self.wake_readers()
        self.turn.settled = self.turn.appended.size()
        self.turn.answers_settled = self.turn.answers.size()
        return verdict

    cdef void wake_readers(self) noexcept nogil:
        """Look again at the fetches that wait for what was appended."""
        cdef vector[string] keys
        cdef size_t index
        if self.fetches.parked.empty():
            return
        for index in range(self.turn.settled, self.turn.appended.size()):
            keys.push_back(key_of(self.turn.appended[index].topic_id, self.turn.appended[index].index))
        fetch_room.wake(self.turn, self.fetches, &keys)

    # When the disk fails

    cdef void take_in(self, int result) noexcept nogil:
        """The log directory is offline from the first failure on."""
        if result < 0 and self.turn.work.storage_error == 0:
            self.turn.work.storage_error = result

    cdef int made(self, int result) except -1:
        """What must be done before anybody hears of it was done; or StorageFailed."""
        self.take_in(result)
        if result < 0:
            raise StorageFailed(-result, "the log directory is offline")
        return 0

    def check_storage(self) -> None:
        """StorageFailed if the log directory is offline."""
        self.made(self.turn.work.storage_error)

    def fail(self, int errno) -> None:
        """The disk failed outside of a turn: nothing is written any more."""
        self.take_in(-errno)

    @property
    def storage_error(self) -> int:
        """The errno that took the log directory offline; 0: it is fine."""
        return -self.turn.work.storage_error

    # Answers

    def answers(self) -> list[tuple[int, bytes | None, list[bytes | tuple[int, int, int]]]]:
        """(connection, bytes, what comes behind them) of the last turn, in order. Slices of files (descriptor, position, size) are left in what
        comes behind, good until the next turn, where they have at least `slice_bytes_min`. Instead of the bytes None if a segment cannot be read."""
        cdef vector[Answer]* answers = &self.turn.answers
        cdef size_t first = 0, behind
        found = []
        while first < answers.size():
            behind = first + 1
            while behind < answers.size() and answers[0][behind].connection == answers[0][first].connection:
                behind += 1
            pieces = self.pieces(&answers[0][first], &answers[0][behind - 1])
            found.append((answers[0][first].connection, pieces[0], pieces[1:]))
            first = behind
        return found

    cdef list pieces(self, Answer* first, Answer* last):
        """The frames from one answer to another, bytes and slices; begins with None if a segment cannot be read."""
        cdef Gap* gaps = self.turn.out.gaps
        cdef int64_t at = first.begin
        cdef int32_t filled = first.gaps_begin, gap
        cdef Place place
        found = []
        for gap in range(first.gaps_begin, last.gaps_end + 1):
            if gap < last.gaps_end and gaps[gap].size_bytes < self.slice_bytes_min:
                continue
            piece = self.whole(at, gaps[gap].position if gap < last.gaps_end else last.end, filled, gap)
            if piece is None:
                return [None]
            found.append(piece)
            if gap < last.gaps_end:
                place = self.turn.places[gaps[gap].slice]
                found.append((place.fd, place.position, gaps[gap].size_bytes))
                at, filled = gaps[gap].position, gap + 1
        return found

    cdef bytes whole(self, int64_t at, int64_t end, int32_t first, int32_t behind):
        """Bytes of the output with these gaps filled; None if a segment cannot be read."""
        cdef Writer* out = &self.turn.out
        cdef int64_t size = end - at, got
        cdef int32_t gap
        cdef Place place
        for gap in range(first, behind):
            size += out.gaps[gap].size_bytes
        piece = PyBytes_FromStringAndSize(NULL, size)
        cdef uint8_t* into = <uint8_t*>PyBytes_AS_STRING(piece)
        for gap in range(first, behind):
            memcpy(into, out.data + at, out.gaps[gap].position - at)
            into += out.gaps[gap].position - at
            at = out.gaps[gap].position
            place = self.turn.places[out.gaps[gap].slice]
            got = self.files.read_at(self.files.context, place.fd, into, out.gaps[gap].size_bytes, place.position)
            if got != out.gaps[gap].size_bytes:
                return None
            into += got
        memcpy(into, out.data + at, end - at)
        return piece

    # The control plane's view

    cdef Partition* held(self, topic_id: bytes, index: int) except? NULL:
        return partition_of(self.table, topic_id, index)

    def holds(self, bytes topic_id, int index) -> bool:
        """Is there such a partition?"""
        return partition_of(self.table, topic_id, index) != NULL

    def partitions(self) -> list[tuple[bytes, int]]:
        """Every (topic id, partition)."""
        cdef pair[string, Partition*] entry
        return sorted([(bytes(entry.second.topic_id), entry.second.index) for entry in self.table.partitions])

    def marks(self, bytes topic_id, int index) -> tuple:
        """((log start, high watermark, log end, size in bytes), epochs as (epoch, start offset), config, leader epoch)."""
        cdef Partition* here = self.held(topic_id, index)
        cdef size_t at
        epochs = [(here.log.epochs[at].epoch, here.log.epochs[at].start_offset) for at in range(here.log.epochs.size())]
        marks = (here.log.start, here.log.high_watermark, here.log.end, here.log.size_bytes)
        return marks, epochs, self.configs[topic_id, index], here.leader_epoch

    def producers(self, bytes topic_id, int index) -> list[tuple[int, ProducerEntry]]:
        """(producer id, what is known of it)."""
        cdef Partition* here = self.held(topic_id, index)
        cdef pair[int64_t, Producer] entry
        cdef int at
        found = []
        for entry in here.producers:
            window = tuple(
                [
                    WrittenValue(
                        entry.second.window[at].first_sequence,
                        entry.second.window[at].last_sequence,
                        entry.second.window[at].base_offset,
                        entry.second.window[at].last_offset,
                        entry.second.window[at].timestamp,
                    )
                    for at in range(entry.second.count)
                ]
            )
            found.append((entry.first, ProducerEntry(entry.second.epoch, window, entry.second.appended_ms)))
        return found

    def segments(self, bytes topic_id, int index) -> list[dict]:
        """What is known of each segment, for whoever compares."""
        cdef Partition* here = self.held(topic_id, index)
        cdef size_t at
        return [
            {
                "base_offset": here.log.segments[at].base_offset,
                "created_ms": here.log.segments[at].created_ms,
                "size_bytes": here.log.segments[at].size_bytes,
                "first_timestamp": here.log.segments[at].first_timestamp,
                "max_timestamp": here.log.segments[at].max_timestamp,
                "modified_ms": here.log.segments[at].modified_ms,
                "index_entries": here.log.segments[at].offsets.entries,
                "time_index_entries": here.log.segments[at].times.entries,
                "indexed_timestamp": here.log.segments[at].indexed_timestamp,
                "bytes_since_index_entry": here.log.segments[at].bytes_since_index_entry,
            }
            for at in range(here.log.segments.size())
        ]

    def path(self, str topic, int index) -> bytes:
        """The folder of a partition."""
        return self.folder + f"/{topic}-{index}".encode()

    def name_topic(self, bytes topic_id, str name) -> None:
        """There is a topic of this name and id."""
        self.table.ids[<string>name.encode()] = topic_id
        self.table.names[<string>topic_id] = name.encode()

    def forget_topic(self, bytes topic_id, int64_t now) -> None:
        """The topic is no more; who waits for it is answered."""
        cdef string id_ = topic_id
        if self.table.names.count(id_):
            self.table.ids.erase(self.table.names[id_])
            self.table.names.erase(id_)
        with nogil:
            self.begin_turn(now)
            fetch_room.wake_topic(self.turn, self.fetches, id_)

    def create(self, bytes topic_id, int index, str topic, config: object, int leader_epoch, int64_t now) -> None:
        """An empty partition, in a folder that is made now. If it cannot be made the partition is there all the same: it was decided on."""
        cdef Partition* here = self.new_partition(topic_id, index, topic, config)
        folder = self.path(topic, index)
        partition_room.begin(here, folder, &self.files, leader_epoch, now)
        if self.turn.work.storage_error == 0:
            self.take_in(self.make(here, folder, identity(topic_id)))

    cdef int make(self, Partition* here, bytes folder, bytes text) except? 1:
        """The folder of a partition, with its first files. It may be there, from an attempt that a crash cut short; it need not be on the disk
        before anything in it has to be."""
        cdef int result = self.files.make_folder(self.files.context, folder)
        if result == 0 or result == -EEXIST:
            result = write_file(&self.files, folder + b"/" + IDENTITY.encode(), <const uint8_t*>PyBytes_AS_STRING(text), len(text), False)
        if result == 0:
            result = log_room.make_first_segment(&here.log)
        return result if result < 0 else log_room.save_epochs(&here.log)

    def load(
        self,
        bytes topic_id,
        int index,
        str topic,
        config: object,
        list bases,
        list snapshots,
        int64_t start,
        int64_t trusted_below,
        int leader_epoch,
        int64_t now,
    ) -> None:
        """The partition as its folder has it, in a new leader epoch: this one, or a later one if the log knows of it."""
        cdef Partition* here = self.new_partition(topic_id, index, topic, config)
        cdef vector[int64_t] segments = bases, saved = snapshots
        cdef bytes folder = self.path(topic, index)
        cdef const char* path = folder
        cdef Loading loading = Loading(start, trusted_below, leader_epoch, tell, <void*>self, now)
        cdef int result
        with nogil:
            result = partition_room.load(here, path, &self.files, segments, saved, &loading)
        self.made(result)

    cdef Partition* new_partition(self, topic_id: bytes, index: int, topic: str, config: object) except NULL:
        cdef Partition* here = new Partition()
        here.topic_id = topic_id
        here.topic = topic.encode()
        here.index = index
        here.leader_epoch = 0
        self.table.partitions[key_of(here.topic_id, index)] = here
        self.configure(topic_id, index, config)
        return here

    def configure(self, bytes topic_id, int index, config: object) -> None:
        """The configuration in force from the next event on."""
        cdef Partition* here = self.held(topic_id, index)
        self.configs[topic_id, index] = config
        here.config = plain(config)
        if (here.config.compacts or here.log.unflushed_messages >= here.config.flush_messages) and self.turn.work.storage_error == 0:
            self.take_in(log_room.sync(&here.log))  # what is answered from now on is answered under the new rule, a duplicate too; and see `roll`

    def raise_start(self, bytes topic_id, int index, int64_t offset) -> None:
        """The log start up to `offset`, and what is below it on the disk, or its offsets might be given out again. That the log start is there
        too, before anybody is told, the control plane sees to by its checkpoint; the epochs follow from it when the log is opened."""
        cdef Partition* here = self.held(topic_id, index)
        if self.turn.work.storage_error == 0:
            self.take_in(log_room.sync(&here.log))
        log_room.raise_start(&here.log, offset)

    def delete(self, bytes topic_id, int index) -> bytes | None:
        """The partition is no more; its folder is put out of the way, under the name that is given back, to be emptied by whoever has time. None:
        it cannot be; the next start does it."""
        cdef Partition* here = self.held(topic_id, index)
        topic = (<bytes>here.topic).decode()
        folder = self.path(topic, index)
        aside = self.folder + b"/" + aside_name(topic, index, topic_id, DELETE).encode()
        log_room.let_go(&here.log)
        self.table.partitions.erase(key_of(here.topic_id, index))
        del here
        del self.configs[topic_id, index]
        if self.turn.work.storage_error == 0:
            self.take_in(self.files.rename(self.files.context, folder, aside))
        return aside if self.turn.work.storage_error == 0 else None

    # The broker's own records

    def append(self, bytes topic_id, int index, bytes batch, int64_t now) -> int:
        """One whole batch to a partition, as if a client had sent it: the error that refuses it; 0: it is in the log, and on the disk where
        flush.messages asks for that. Who waited for it is answered: see `answers`."""
        cdef uint8_t[::1] data = bytearray(batch)  # its header is stamped
        cdef Partition* here = self.held(topic_id, index)
        cdef Sent sent
        cdef Produced produced
        with nogil:
            self.begin_turn(now)
            parse(&data[0], data.shape[0], &sent)
            partition_room.produce(here, &sent.first, &self.turn.work, now, &produced)
            if produced.error == 0:
                self.turn.appended.push_back(here)
                if self.settled(REPLIED) == FAILED:
                    produced.error = KAFKA_STORAGE_ERROR
        return produced.error

    def read_segment(self, bytes topic_id, int index, int64_t base_offset) -> bytes:
        """Every batch of one segment."""
        cdef Log* log = &self.held(topic_id, index).log
        cdef size_t at
        for at in range(log.segments.size()):
            if log.segments[at].base_offset == base_offset:
                return self.content(log, at)
        raise KeyError(base_offset)

    cdef bytes content(self, Log* log, size_t at):
        """The bytes of a segment; StorageFailed if it cannot be read."""
        cdef Segment* segment = &log.segments[at]
        cdef int64_t size = segment.size_bytes
        cdef bint was_closed = segment.fd < 0
        data = PyBytes_FromStringAndSize(NULL, size)
        if size == 0:
            return data
        self.made(log_room.opened(log, segment))
        if self.files.read_at(self.files.context, segment.fd, <uint8_t*>PyBytes_AS_STRING(data), size, 0) != size:
            self.made(-EIO)
        if was_closed:
            log_room.close_segment(log, segment)
        return data

    # The metadata log

    def open_metadata(self, bytes folder, config: object, list bases, int64_t now) -> None:
        """The log of a folder that exists, as far as it is whole."""
        cdef vector[int64_t] segments = bases
        cdef Loading loading = Loading(0, 0, 0, tell, <void*>self, now)
        self.metadata = new Partition()
        self.metadata.config = plain(config)
        self.made(log_room.load(&self.metadata.log, folder, &self.files, segments, &self.metadata.config, &loading))
        self.made(self.files.sync_folder(self.files.context, folder))
        self.metadata.log.are_epochs_saved = True  # it has none

    def append_metadata(self, bytes batch, int64_t now) -> None:
        """One batch of one record at the end of the log, and on the disk."""
        cdef bytearray stamped = bytearray(batch)
        cdef uint8_t[::1] data = stamped
        cdef Partition* here = self.metadata
        self.check_storage()
        stamp(&data[0], data.shape[0], here.log.end, 0, False, now)
        self.made(log_room.append(&here.log, &data[0], data.shape[0], 1, now, &here.config, now))
        self.made(log_room.sync(&here.log))

    def read_metadata(self) -> bytes:
        """Every batch of the log."""
        return b"".join([self.content(&self.metadata.log, at) for at in range(self.metadata.log.segments.size())])

    # Durability

    cdef int replace(self, bytes path, bytes text) except? 1:
        """A file with this text and nothing else, whole or as it was before."""
        return replace_file(&self.files, path, <const uint8_t*>PyBytes_AS_STRING(text), len(text))

    def write_checkpoint(self, bytes path, bytes text) -> None:
        """A file of the data folder with this text and nothing else, on the disk."""
        self.check_storage()
        self.made(self.replace(path, text))
        self.made(self.files.sync_folder(self.files.context, path.rpartition(b"/")[0]))

    def remove_file(self, bytes path) -> None:
        """Without a file of the data folder, on the disk too."""
        self.made(self.files.remove(self.files.context, path))
        self.made(self.files.sync_folder(self.files.context, path.rpartition(b"/")[0]))

    def make_folder(self, bytes path) -> None:
        """A folder in the data folder, on the disk too; it may be there."""
        cdef int result = self.files.make_folder(self.files.context, path)
        self.made(0 if result == -EEXIST else result)
        self.made(self.files.sync_folder(self.files.context, path.rpartition(b"/")[0]))

    def rename(self, bytes path, bytes to) -> None:
        """Another name for a folder of the data folder, on the disk too."""
        self.made(self.files.rename(self.files.context, path, to))
        self.made(self.files.sync_folder(self.files.context, path.rpartition(b"/")[0]))

    def unsynced(self, int64_t now) -> list[tuple[bytes, int, int, int, int]]:
        """(topic id, partition, base offset, size in bytes, a descriptor to sync and close) of each segment whose time has come: a sealed one at
        once, an active one `flush.ms` after its first unsynced batch. Another thread may do it; then `synced` is told."""
        cdef pair[string, Partition*] entry
        cdef Segment* segment
        cdef size_t at
        found = []
        for entry in self.table.partitions:
            for at in range(entry.second.log.segments.size()):
                segment = &entry.second.log.segments[at]
                is_sealed = at + 1 < entry.second.log.segments.size()
                if segment.is_unsynced and (is_sealed or now - segment.unsynced_ms >= entry.second.config.flush_ms):
                    found.append((bytes(entry.second.topic_id), entry.second.index, segment.base_offset, segment.size_bytes, os.dup(segment.fd)))
        return found

    def sync(self, list descriptors) -> int:
        """Force files to the disk and close them, in any thread: the errno if one could not be, else 0."""
        cdef int fd, result, failed = 0
        for fd in descriptors:
            with nogil:
                result = self.files.sync(self.files.context, fd)
            failed = failed or -result
            os.close(fd)
        return failed

    def synced(self, bytes topic_id, int index, int64_t base_offset, int64_t size_bytes) -> None:
        """A segment was forced to the disk as it was when it had `size_bytes`."""
        cdef Partition* here = partition_of(self.table, topic_id, index)
        cdef size_t at
        if here == NULL:
            return
        for at in range(here.log.segments.size()):
            if here.log.segments[at].base_offset == base_offset and here.log.segments[at].size_bytes == size_bytes:
                here.log.segments[at].is_unsynced = False

    def recovery_point(self, bytes topic_id, int index) -> int:
        """Below this offset everything is on the disk."""
        return log_room.synced_below(&self.held(topic_id, index).log)

    def finish(self, bytes topic_id, int index) -> None:
        """Before a clean stop: log, indexes and producers of one partition on the disk."""
        cdef Partition* here = self.held(topic_id, index)
        cdef int result
        with nogil:
            result = partition_room.finish(here)
        self.made(result)


def identity(bytes topic_id) -> bytes:
    """Kafka's partition.metadata: which topic the folder belongs to."""
    return b"version: 0\ntopic_id: " + urlsafe_b64encode(topic_id).rstrip(b"=")


VERDICTS = {name: int(number) for name, number in (("REPLIED", REPLIED), ("SILENT", SILENT), ("PARKED", PARKED), ("REFUSED", REFUSED), ("MALFORMED", MALFORMED), ("FAILED", FAILED), ("COLD", COLD))}
