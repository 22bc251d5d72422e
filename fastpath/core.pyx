# distutils: language = c++
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The core: frames and the time in, answers out. It opens no socket, reads no clock and draws no random number.

    frame ──▶ Produce, Fetch, ListOffsets: decided in `frames.pyx` and its rooms, without Python, by as many threads as there are
          └─▶ anything else: COLD, for the control plane (`control.py`), which sees the partitions by the methods below

What is answered is on the disk as far as its topic asks for that: it is forced there before the answers go out. Once a file operation has failed
the log directory is offline: nothing is written any more, since nobody knows what is there; reads go on.

The methods are the control plane's, in one thread. It alone changes what topics and partitions there are, so it may look without the gate; no
lock is waited for while Python's own is held.
"""

cimport cython
import os

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.errno cimport EEXIST, EIO, EMFILE, ENFILE, ENOENT
from libc.stdint cimport INT64_MAX, int16_t, int32_t, int64_t, uint8_t
from libc.string cimport memcpy
from libcpp.string cimport string
from libcpp.utility cimport pair
from libcpp.vector cimport vector

from fiducial.fastpath.batch cimport Sent, parse, stamp
from fiducial.fastpath cimport fetch as fetch_room
from fiducial.fastpath.fetch cimport Desk, Parked, Session
from fiducial.fastpath.files cimport files_at, replace_file, the_real_ones, write_file
from fiducial.fastpath cimport frames as frames_room
from fiducial.fastpath.frames cimport HOT_KEYS, HotApi, Plane, begin_turn, free_turn, new_turn, settled, take_frames
from fiducial.fastpath.keys cimport Key, TopicId
from fiducial.fastpath cimport log as log_room
from fiducial.fastpath.log cimport EVERYTHING as ALL_OF_IT
from fiducial.fastpath.log cimport EpochStart, Loading, Log, LogConfig, Place, Segment
from fiducial.fastpath cimport partition as partition_room
from fiducial.fastpath.partition cimport Coming, Partition, Produced, Transition
from fiducial.fastpath.producers cimport Producer, Producers
from fiducial.fastpath cimport table as table_room
from fiducial.fastpath.table cimport Endpoint, key_of, partition_of
from fiducial.fastpath.threads cimport OpenFile, held
from fiducial.fastpath.turn cimport COLD, FAILED, MALFORMED, PARKED, REFUSED, REPLIED, SILENT, Answer, Appended, Verdict
from fiducial.fastpath.wire cimport UUID_BYTES, Gap, Reader, Writer, read_int16, read_int32, reader_of, skip_tags, take

from base64 import urlsafe_b64encode

from fiducial.fastpath.control import plain
from fiducial.fastpath.data import DELETE, IDENTITY, aside_name
from fiducial.models.apis import APIS
from fiducial.models.idempotence import ProducerEntry
from fiducial.models.idempotence import Written as WrittenValue

cdef enum:
    KAFKA_STORAGE_ERROR = 56


#: Stands for an offset beyond all: a log that was stopped cleanly is trusted below it.
EVERYTHING = ALL_OF_IT


class StorageFailed(OSError):
    """A file operation failed: the log directory is offline for writing, until a restart."""


class NoDescriptor(OSError):
    """As many files are open as may be: what was to be written is not, or not on the disk yet, and the log directory is as it was."""


cdef extern from "sys/random.h" nogil:
    ssize_t getrandom(void* buffer, size_t size, unsigned int flags)


cdef int32_t draw(void* core) noexcept with gil:
    """A new session's id, from the control plane's source of chance."""
    return (<Core>core).draw_session_id()


cdef int32_t draw_here(void* core) noexcept nogil:
    """The same, from the kernel's: for threads that the control plane must not wait for."""
    cdef int32_t drawn = 0
    while getrandom(&drawn, sizeof(drawn), 0) != sizeof(drawn):
        pass
    return drawn & 0x7FFFFFFF


cdef void tell(void* core, int64_t size_bytes) noexcept with gil:
    """So much more of a log was read."""
    (<Core>core).on_read(size_bytes)


@cython.no_gc_clear  # what it gives back needs the core
cdef class Unforced:
    """What of some logs is to be forced to the disk, its files held open."""

    cdef void add(self, Partition* here) noexcept:
        self.dues.resize(self.dues.size() + 1)
        self.dues.back().key = key_of(here)
        self.dues.back().end = self.dues.back().result = 0

    def keys(self) -> list[tuple[bytes, int]]:
        """Of which partitions: (topic id, partition)."""
        cdef size_t index
        return [named_by(self.dues[index].key) for index in range(self.dues.size())]

    def __dealloc__(self) -> None:
        cdef size_t index
        if self.is_held:
            for index in range(self.dues.size()):
                log_room.let_go_unforced(&self.core.plane.files, &self.dues[index].forcing)


cdef class Core:
    """Partitions, sessions and waiting fetches of one broker."""

    def __cinit__(self) -> None:
        self.plane = new Plane()
        self.plane.fetches.desk = new Desk()
        self.turn = new_turn(self.plane)

    def __init__(self, folder: str, cluster: object, settings: object, simulation: object = None) -> None:
        cdef Endpoint endpoint
        self.folder = folder.encode()
        self.simulation = simulation
        self.plane.files = the_real_ones() if simulation is None else files_at(simulation.address)
        self.on_read = lambda _size_bytes: None
        self.configs, self.recorded_before = {}, {}
        self.plane.frame_bytes_max = settings.socket_request_max_bytes
        self.slice_bytes_min = INT64_MAX
        self.plane.fetches.context = <void*>self
        self.plane.fetches.draw_session_id = draw
        table = &self.plane.table
        table.fetch_max_bytes = settings.fetch_max_bytes
        table.session_slots = settings.max_incremental_fetch_session_cache_slots
        table.broker_id = cluster.broker_id
        for host, port in ((cluster.host, cluster.port), *cluster.others):
            endpoint.host, endpoint.port = host.encode(), port
            table.endpoints.push_back(endpoint)
        table.has_rack = cluster.rack is not None
        table.rack = (cluster.rack or "").encode()
        for key in range(HOT_KEYS):
            self.plane.hot[key] = HotApi(APIS[key].min_version, APIS[key].max_version, APIS[key].flexible_from)

    def close(self) -> None:
        """Close every file."""
        cdef pair[Key, Partition*] held
        begin_turn(self.turn, 0)
        for held in self.plane.table.partitions:
            partition_room.close(held.second)
        if self.metadata != NULL:
            log_room.let_go(&self.metadata.log)

    def __del__(self) -> None:
        self.close()  # while the file operations are there: in `__dealloc__` a simulation's may be gone

    def __dealloc__(self) -> None:
        cdef pair[Key, Partition*] held
        cdef pair[int32_t, Session*] session
        cdef pair[int64_t, Parked*] parked
        for held in self.plane.table.partitions:
            free_partition(held.second)
        if self.metadata != NULL:
            free_partition(self.metadata)
        for session in self.plane.fetches.sessions:
            del session.second
        for parked in self.plane.fetches.parked:
            del parked.second
        free_turn(self.turn)
        del self.plane.fetches.desk
        del self.plane

    def draw_session_ids_here(self) -> None:
        """From now on the ids of sessions are drawn without the control plane."""
        self.plane.fetches.draw_session_id = draw_here

    # Events

    def handle(self, int64_t connection, uint8_t[::1] frames not None, int64_t now, int listener=0) -> tuple[int, int]:
        """Whole frames, each behind its length, one behind the other: what became of the last one that was looked at, as a Verdict, and how many
        bytes were taken. Not taken is what is not whole, or COLD, or behind one that has to wait, or too much for one turn. The frames may be
        written to; the answers are in `answers`."""
        cdef uint8_t* data = &frames[0] if frames.shape[0] > 0 else NULL
        cdef int64_t taken = 0
        cdef Verdict verdict
        with nogil:
            verdict = take_frames(self.plane, self.turn, connection, listener, data, frames.shape[0], now, &taken)
        return verdict, taken

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
        return self.plane.tickets.add(1)

    def last_ticket(self) -> int:
        """The number of the last request."""
        return self.plane.tickets.get()

    def time_out(self, int64_t ticket, int64_t now) -> None:
        """The deadline of a parked fetch."""
        with nogil:
            frames_room.time_out(self.plane, self.turn, ticket, now)

    def expired(self, int64_t now) -> list[int]:
        """The tickets whose deadline has come, the earliest first."""
        cdef vector[int64_t] tickets
        with nogil:
            fetch_room.expired(&self.plane.fetches, now, &tickets)
        return tickets

    def next_deadline(self) -> int:
        """When the first parked fetch gives up (ms); -1: none waits."""
        cdef int64_t deadline_ms
        with nogil:
            deadline_ms = fetch_room.next_deadline(&self.plane.fetches)
        return deadline_ms

    def disconnected(self, int64_t connection) -> None:
        """The connection is gone."""
        with nogil:
            frames_room.forget_connection(self.plane, self.turn, connection)

    def keep_house(self, int64_t expiration_ms, int64_t now) -> list[tuple[bytes, int]]:
        """Retention and producer expiry, on every partition; who waits there waits on (LOG-FETCH-14). The partitions whose files wait to go until what
        follows them is on the disk."""
        cdef pair[Key, Partition*] held
        cdef vector[Key] lingering
        cdef size_t at
        cdef int result = <int>self.plane.table.storage_error.get()
        with nogil:
            for held in self.plane.table.partitions:
                partition_room.expire(held.second, expiration_ms, now)
                if result == 0:
                    result = partition_room.retain(held.second, now)
                if partition_room.lingers(held.second):
                    lingering.push_back(held.first)
        self.take_in(result)
        return [named_by(lingering[at]) for at in range(lingering.size())]

    # When the disk fails

    cdef void take_in(self, int result) noexcept nogil:
        """The log directory is offline from the first failure on."""
        if result < 0:
            self.plane.table.storage_error.begin(result)

    cdef bint is_offline(self) noexcept nogil:
        """Has the disk failed?"""
        return self.plane.table.storage_error.get() != 0

    cdef int made(self, int result) except -1:
        """What must be done before anybody hears of it was done; or StorageFailed."""
        self.take_in(result)
        if result < 0:
            raise StorageFailed(-result, f"the log directory is offline: {os.strerror(-result)}")
        return 0

    def check_storage(self) -> None:
        """StorageFailed if the log directory is offline."""
        self.made(<int>self.plane.table.storage_error.get())

    def fail(self, int errno) -> None:
        """The disk failed outside of a turn: nothing is written any more."""
        self.take_in(-errno)

    @property
    def storage_error(self) -> int:
        """The errno that took the log directory offline; 0: it is fine."""
        return -self.plane.table.storage_error.get()

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
                found.append((place.file.fd, place.position, gaps[gap].size_bytes))
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
            got = self.plane.files.read_at(self.plane.files.context, place.file.fd, into, out.gaps[gap].size_bytes, place.position)
            if got != out.gaps[gap].size_bytes:
                return None
            into += got
        memcpy(into, out.data + at, end - at)
        return piece

    # The control plane's view

    cdef Partition* held(self, bytes topic_id, int index) except? NULL:
        return partition_of(&self.plane.table, id_from(topic_id), index)

    def holds(self, bytes topic_id, int index) -> bool:
        """Is there such a partition?"""
        return partition_of(&self.plane.table, id_from(topic_id), index) != NULL

    def partitions(self) -> list[tuple[bytes, int]]:
        """Every (topic id, partition)."""
        cdef pair[Key, Partition*] entry
        return sorted([(bytes_of(entry.second.topic_id), entry.second.index) for entry in self.plane.table.partitions])

    def marks(self, bytes topic_id, int index) -> tuple:
        """((log start, high watermark, log end, size in bytes), epochs as (epoch, start offset), config, leader epoch)."""
        cdef Partition* here = self.held(topic_id, index)
        cdef vector[EpochStart] known
        cdef int64_t start, high_watermark, end, size_bytes
        cdef int32_t leader_epoch
        cdef size_t at
        with nogil:
            here.lock.take()
            start, high_watermark, end = here.log.start, here.log.high_watermark, here.log.end
            size_bytes, leader_epoch = here.log.size_bytes, here.leader_epoch
            known = here.log.epochs
            here.lock.give()
        epochs = [(known[at].epoch, known[at].start_offset) for at in range(known.size())]
        return (start, high_watermark, end, size_bytes), epochs, self.configs[topic_id, index], leader_epoch

    def producers(self, bytes topic_id, int index) -> list[tuple[int, ProducerEntry]]:
        """(producer id, what is known of it)."""
        cdef Partition* here = self.held(topic_id, index)
        cdef Producers known
        cdef pair[int64_t, Producer] entry
        cdef int at
        with nogil:
            here.lock.take()
            known = here.producers
            here.lock.give()
        found = []
        for entry in known:
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

    def greatest_producer_id(self, int64_t below) -> int:
        """Of all that any partition knows of, but for those from `below` on; -1: there is none."""
        cdef pair[Key, Partition*] held
        cdef pair[int64_t, Producer] entry
        cdef int64_t greatest = -1
        with nogil:
            for held in self.plane.table.partitions:
                held.second.lock.take()
                for entry in held.second.producers:
                    if greatest < entry.first < below:
                        greatest = entry.first
                held.second.lock.give()
        return greatest

    def segments(self, bytes topic_id, int index) -> list[dict]:
        """What is known of each segment, for whoever compares."""
        cdef Partition* here = self.held(topic_id, index)
        cdef vector[Segment] segments
        cdef size_t at
        with nogil:
            here.lock.take()
            segments = here.log.segments
            here.lock.give()
        return [
            {
                "base_offset": segments[at].base_offset,
                "created_ms": segments[at].created_ms,
                "size_bytes": segments[at].size_bytes,
                "first_timestamp": segments[at].first_timestamp,
                "max_timestamp": segments[at].max_timestamp,
                "modified_ms": segments[at].modified_ms,
                "index_entries": segments[at].offsets.entries,
                "time_index_entries": segments[at].times.entries,
                "indexed_timestamp": segments[at].indexed_timestamp,
                "bytes_since_index_entry": segments[at].bytes_since_index_entry,
            }
            for at in range(segments.size())
        ]

    def watchers(self, bytes topic_id, int index) -> int:
        """How many fetches wait for a partition, for whoever compares."""
        cdef Partition* here = self.held(topic_id, index)
        cdef int64_t count
        with nogil:
            here.lock.take()
            count = here.watchers
            here.lock.give()
        return count

    def path(self, str topic, int index) -> bytes:
        """The folder of a partition."""
        return self.folder + f"/{topic}-{index}".encode()

    def name_topic(self, bytes topic_id, str name) -> None:
        """There is a topic of this name and id."""
        cdef string text = name.encode()
        cdef TopicId id_ = id_from(topic_id)
        with nogil:
            self.plane.table.gate.change()
            table_room.name_topic(&self.plane.table, id_, text)
            self.plane.table.gate.leave()

    def forget_topic(self, bytes topic_id, int64_t now) -> None:
        """The topic is no more; who waits for it is answered."""
        cdef TopicId id_ = id_from(topic_id)
        with nogil:
            self.plane.table.gate.change()
            table_room.forget_topic(&self.plane.table, id_)
            self.plane.table.gate.leave()
            begin_turn(self.turn, now)
            fetch_room.wake_topic(self.turn, &self.plane.fetches, id_)

    def create(self, bytes topic_id, int index, str topic, config: object, int leader_epoch, int64_t now) -> None:
        """An empty partition, in a folder that is made now. If it cannot be made the partition is there all the same: it was decided on."""
        cdef Partition* here = self.new_partition(topic_id, index, topic, config)
        folder = self.path(topic, index)
        partition_room.begin(here, folder, &self.plane.files, leader_epoch, now)
        if not self.is_offline():
            self.take_in(self.make(here, folder, identity(topic_id)))
        self.take_up(here)

    cdef int make(self, Partition* here, bytes folder, bytes text) except? 1:
        """The folder of a partition, with its first files. It may be there, from an attempt that a crash cut short; it need not be on the disk
        before anything in it has to be."""
        cdef int result = self.plane.files.make_folder(self.plane.files.context, folder)
        if result == 0 or result == -EEXIST:
            result = write_file(&self.plane.files, folder + b"/" + IDENTITY.encode(), <const uint8_t*>PyBytes_AS_STRING(text), len(text), False)
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
            result = partition_room.load(here, path, &self.plane.files, segments, saved, &loading)
        self.take_up(here)
        self.made(result)

    cdef Partition* new_partition(self, bytes topic_id, int index, str topic, object config) except NULL:
        """One that nobody knows of yet."""
        cdef Partition* here = new Partition()
        here.topic_id = id_from(topic_id)
        here.topic = topic.encode()
        here.index = index
        here.leader_epoch = 0
        here.config = plain(config)
        here.config_version = here.watchers = 0
        here.transitions = NULL
        self.configs[topic_id, index] = config
        return here

    cdef void take_up(self, Partition* here) noexcept:
        """From now on there is this partition."""
        cdef Key key = key_of(here)
        if self.recorded_configs is not None:
            self.begin_recording(here)
        with nogil:
            self.plane.table.gate.change()
            self.plane.table.partitions[key] = here
            self.plane.table.gate.leave()

    def configure(self, bytes topic_id, int index, config: object, int64_t now) -> None:
        """The configuration in force from the next event on."""
        cdef Partition* here = self.held(topic_id, index)
        cdef LogConfig numbers = plain(config)
        self.configs[topic_id, index] = config
        if self.recorded_configs is not None:
            self.recorded_configs[topic_id, index].append(config)
        with nogil:
            partition_room.configure(here, numbers, now)

    def raise_start(self, bytes topic_id, int index, int64_t offset, int64_t now) -> None:
        """The log start up to `offset`. That what is below it is on the disk, and then the log start, before anybody is told, the control plane sees
        to; the epochs follow from it when the log is opened."""
        cdef Partition* here = self.held(topic_id, index)
        with nogil:
            partition_room.raise_start(here, offset, now)

    def delete(self, bytes topic_id, int index) -> bytes | None:
        """The partition is no more; its folder is put out of the way, under the name that is given back, to be emptied by whoever has time. None:
        it cannot be; the next start does it."""
        cdef Partition* here = self.held(topic_id, index)
        cdef Key key = key_of(here)
        topic = (<bytes>here.topic).decode()
        folder = self.path(topic, index)
        aside = self.folder + b"/" + aside_name(topic, index, topic_id, DELETE).encode()
        cdef int result
        with nogil:
            self.plane.table.gate.change()
            self.plane.table.partitions.erase(key)
            self.plane.table.gate.leave()
        partition_room.close(here)
        if here.transitions != NULL:
            self.recorded_before[topic_id, index] = self.taken(here)
        free_partition(here)
        del self.configs[topic_id, index]
        if not self.is_offline():
            result = self.plane.files.rename(self.plane.files.context, folder, aside)
            self.take_in(0 if result == -ENOENT else result)  # somebody else was quicker
        return None if self.is_offline() else aside

    # The broker's own records

    def append(self, bytes topic_id, int index, bytes batch, int64_t now) -> int:
        """One whole batch to a partition, as if a client had sent it: the error that refuses it; 0: it is in the log, and on the disk where
        flush.messages asks for that. Who waited for it is answered: see `answers`."""
        cdef uint8_t[::1] data = bytearray(batch)  # its header is stamped
        cdef Partition* here = self.held(topic_id, index)
        cdef Sent sent
        cdef Coming coming
        cdef Produced* produced = &coming.produced
        with nogil:
            begin_turn(self.turn, now)
            parse(&data[0], data.shape[0], &sent)
            coming.batch = sent.first
            partition_room.take_config(here, &coming)
            partition_room.judge(&coming, &self.turn.work, now)
            partition_room.produce_alone(here, &coming, &self.turn.work, now)
            if produced.error == 0:
                self.turn.appended.push_back(Appended(key_of(here), produced.end, produced.is_due, produced.is_watched))
                if settled(self.plane, self.turn, REPLIED) == FAILED:
                    produced.error = KAFKA_STORAGE_ERROR
        return produced.error

    def read_segment(self, bytes topic_id, int index, int64_t base_offset) -> bytes:
        """Every batch of one segment, or as much as there was of it a moment ago."""
        cdef Partition* here = self.held(topic_id, index)
        cdef Log* log = &here.log
        cdef Segment* segment = NULL
        cdef OpenFile* file = NULL
        cdef bint was_closed = False
        cdef int64_t size = 0
        cdef int result = 0
        cdef size_t at
        with nogil:
            here.lock.take()
            for at in range(log.segments.size()):
                if log.segments[at].base_offset == base_offset:
                    segment = &log.segments[at]
            if segment != NULL:
                was_closed = segment.fd < 0
                size = segment.size_bytes
                result = log_room.opened(log, segment)
                if result >= 0:
                    file = held(segment.file)
                if was_closed:
                    log_room.close_segment(log, segment)
            here.lock.give()
        if segment == NULL:
            raise KeyError(base_offset)
        self.made(min(result, 0))
        try:
            return self.content(file, size)
        finally:
            log_room.let_go_file(&self.plane.files, file)

    cdef bytes content(self, OpenFile* file, int64_t size):
        """The first bytes of a file; StorageFailed if they cannot be read."""
        cdef int64_t got
        data = PyBytes_FromStringAndSize(NULL, size)
        cdef uint8_t* into = <uint8_t*>PyBytes_AS_STRING(data)
        with nogil:
            got = self.plane.files.read_at(self.plane.files.context, file.fd, into, size, 0) if size > 0 else 0
        if got != size:
            self.made(-EIO)
        return data

    # The metadata log

    def open_metadata(self, bytes folder, config: object, list bases, int64_t now) -> None:
        """The log of a folder that exists, as far as it is whole."""
        cdef vector[int64_t] segments = bases
        cdef Loading loading = Loading(0, 0, 0, tell, <void*>self, now)
        self.metadata = new Partition()
        self.metadata.config = plain(config)
        self.made(log_room.load(&self.metadata.log, folder, &self.plane.files, segments, &self.metadata.config, &loading))
        self.made(self.plane.files.sync_folder(self.plane.files.context, folder))
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
        cdef Log* log = &self.metadata.log
        cdef size_t at
        found = []
        for at in range(log.segments.size()):
            self.made(min(log_room.opened(log, &log.segments[at]), 0))
            found.append(self.content(log.segments[at].file, log.segments[at].size_bytes))
        return b"".join(found)

    # Durability

    cdef int replace(self, bytes path, bytes text) except? 1:
        """A file with this text and nothing else, whole or as it was before."""
        return replace_file(&self.plane.files, path, <const uint8_t*>PyBytes_AS_STRING(text), len(text))

    def write_checkpoint(self, bytes path, bytes text) -> None:
        """A file of the data folder with this text and nothing else, on the disk. For want of a descriptor NoDescriptor."""
        cdef int result
        self.check_storage()
        result = self.replace(path, text)
        if result == 0:
            result = self.plane.files.sync_folder(self.plane.files.context, path.rpartition(b"/")[0])
        if -result in (EMFILE, ENFILE):
            raise NoDescriptor(-result, "no checkpoint is written")
        self.made(result)

    def remove_file(self, bytes path) -> None:
        """Without a file of the data folder, on the disk too."""
        self.made(self.plane.files.remove(self.plane.files.context, path))
        self.made(self.plane.files.sync_folder(self.plane.files.context, path.rpartition(b"/")[0]))

    def make_folder(self, bytes path) -> None:
        """A folder in the data folder, on the disk too; it may be there."""
        cdef int result = self.plane.files.make_folder(self.plane.files.context, path)
        self.made(0 if result == -EEXIST else result)
        self.made(self.plane.files.sync_folder(self.plane.files.context, path.rpartition(b"/")[0]))

    def rename(self, bytes path, bytes to) -> None:
        """Another name for a folder of the data folder, on the disk too."""
        self.made(self.plane.files.rename(self.plane.files.context, path, to))
        self.made(self.plane.files.sync_folder(self.plane.files.context, path.rpartition(b"/")[0]))

    def unsynced(self, int64_t now) -> list[Unforced]:
        """What is to be forced to the disk though nobody asks for it, one for each partition that has any: all that is sealed, at once, and an active
        segment `flush.ms` after its first unsynced batch. `sync` does it, in any thread; then `synced` is told."""
        cdef pair[Key, Partition*] entry
        cdef Unforced one
        found = []
        for entry in self.plane.table.partitions:
            one = self.nothing()
            one.add(entry.second)
            with nogil:
                one.dues[0].result = partition_room.note_old(entry.second, now, &one.dues[0].forcing)
            if one.dues[0].result < 0 or log_room.has_something(&one.dues[0].forcing):
                found.append(one)
        return found

    def unsynced_of(self, list keys) -> Unforced:
        """All that is to be forced so that everything that these partitions hold is on the disk; of those that there are."""
        cdef Unforced found = self.nothing()
        cdef Partition* here
        cdef size_t last
        for topic_id, index in keys:
            here = self.held(topic_id, index)
            if here == NULL:
                continue
            found.add(here)
            last = found.dues.size() - 1
            with nogil:
                found.dues[last].result = partition_room.note_due(here, &found.dues[last].forcing, &found.dues[last].end)
        return found

    cdef Unforced nothing(self):
        cdef Unforced found = Unforced()
        found.core = self
        found.is_held = True
        return found

    def sync(self, Unforced unforced not None) -> int:
        """Force it to the disk, in any thread: the errno if that could not be done, else 0."""
        cdef int result
        unforced.is_held = False
        with nogil:
            result = frames_room.force(self.plane, &unforced.dues)
        return -result

    def synced(self, Unforced unforced not None) -> None:
        """It is on the disk."""
        cdef Partition* here
        cdef size_t index
        cdef int result
        for index in range(unforced.dues.size()):
            here = table_room.partition_at(&self.plane.table, unforced.dues[index].key)
            if here == NULL:
                continue
            with nogil:
                result = partition_room.forced_old(here, &unforced.dues[index].forcing)
            self.take_in(result)

    def kept_from(self, bytes topic_id, int index) -> int:
        """Where the oldest segment begins that a power cut may leave."""
        cdef Partition* here = self.held(topic_id, index)
        cdef int64_t offset
        with nogil:
            here.lock.take()
            offset = here.log.kept_from
            here.lock.give()
        return offset

    def recovery_point(self, bytes topic_id, int index) -> int:
        """Below this offset everything is on the disk, with its indexes."""
        cdef Partition* here = self.held(topic_id, index)
        cdef int64_t offset
        with nogil:
            here.lock.take()
            offset = log_room.synced_below(&here.log)
            here.lock.give()
        return offset

    def finish(self, bytes topic_id, int index) -> None:
        """Before a clean stop: log, indexes and producers of one partition on the disk."""
        cdef Partition* here = self.held(topic_id, index)
        cdef int result
        with nogil:
            result = partition_room.finish(here)
        self.made(result)

    # What happened, for whoever asks the model the same

    def record(self) -> None:
        """From now on every partition keeps its transitions, also one that is made later; what was kept before is forgotten."""
        cdef pair[Key, Partition*] entry
        self.recorded_configs, self.recorded_before = {}, {}
        for entry in self.plane.table.partitions:
            self.begin_recording(entry.second)

    cdef void begin_recording(self, Partition* here) noexcept:
        cdef vector[Transition]* kept = new vector[Transition]()
        cdef vector[Transition]* before
        key = bytes_of(here.topic_id), here.index
        self.recorded_configs[key] = [self.configs[key]]
        with nogil:
            here.lock.take()
            before, here.transitions = here.transitions, kept
            here.config_version = 0
            partition_room.note_begin(here)
            here.lock.give()
            del before

    def recorded(self, bytes topic_id, int index) -> list[tuple]:
        """(kind, now, what was asked, data, what came of it) of each transition since the last time, in the order in which they happened; also of a
        partition that is no more. The configurations that CONFIGURE tells of by number are in `configurations`. Nothing, if none are kept."""
        cdef Partition* here = self.held(topic_id, index)
        kept = self.recorded_before.pop((topic_id, index), [])
        return kept + self.taken(here) if here != NULL and here.transitions != NULL else kept

    cdef list taken(self, Partition* here):
        """The transitions of a partition, which keeps them no longer."""
        cdef vector[Transition] taken
        cdef size_t at
        with nogil:
            here.lock.take()
            taken.swap(here.transitions[0])
            here.lock.give()
        return [(KINDS[<int>taken[at].kind], taken[at].now, tuple(taken[at].asked), bytes(taken[at].data), tuple(taken[at].came)) for at in range(taken.size())]

    def configurations(self, bytes topic_id, int index) -> list:
        """The configurations that a partition had since transitions are kept: number 0 at the beginning."""
        return list(self.recorded_configs.get((topic_id, index), ())) if self.recorded_configs is not None else []


cdef TopicId id_from(bytes topic_id):
    """16 bytes."""
    assert len(topic_id) == UUID_BYTES
    return TopicId(PyBytes_AS_STRING(topic_id))


cdef bytes bytes_of(const TopicId& topic_id):
    """The same, for Python."""
    return PyBytes_FromStringAndSize(topic_id.bytes(), UUID_BYTES)


cdef tuple named_by(const Key& key):
    """(topic id, partition) of a partition's key."""
    return bytes_of(key.topic), key.index


cdef void free_partition(Partition* here) noexcept:
    del here.transitions
    del here


def identity(bytes topic_id) -> bytes:
    """Kafka's partition.metadata: which topic the folder belongs to."""
    return b"version: 0\ntopic_id: " + urlsafe_b64encode(topic_id).rstrip(b"=")


#: The kinds of transitions, by number.
KINDS = ("BEGIN", "PRODUCE", "FETCH", "LOOK_UP", "COMMIT", "RETAIN", "EXPIRE", "RAISE_START", "CONFIGURE")

VERDICTS = {name: int(number) for name, number in (("REPLIED", REPLIED), ("SILENT", SILENT), ("PARKED", PARKED), ("REFUSED", REFUSED), ("MALFORMED", MALFORMED), ("FAILED", FAILED), ("COLD", COLD))}
