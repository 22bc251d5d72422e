# distutils: language = c++
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Many threads on one core, without sockets: each has its own turn and its own connections, and sends what their scripts say.

A connection sends its next frames when the ones before are answered. Answers of connections of other threads go to those threads' inboxes; what must be
on the disk first goes to a flusher. A tail goes on for its rounds, each from the high watermark that it was told last.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libcpp cimport bool as boolean
from libcpp.string cimport string
from libcpp.utility cimport pair
from libcpp.vector cimport vector
from posix.unistd cimport pread, usleep

from fiducial.fastpath.bigendian cimport load32, load64, store64
from fiducial.fastpath.core cimport Core
from fiducial.fastpath.frames cimport LENGTH_BYTES, Plane, force, forced, forget_connection, free_turn, new_turn, note_due, take_frames, time_out
from fiducial.fastpath.keys cimport Key
from fiducial.fastpath.partition cimport Partition
from fiducial.fastpath.threads cimport Lock, Shared
from fiducial.fastpath.turn cimport PARKED, REPLIED, SILENT, Answer, Due, Turn, Verdict
from fiducial.fastpath.wire cimport Gap

cdef extern from "<pthread.h>" nogil:
    ctypedef unsigned long pthread_t
    int pthread_create(pthread_t* thread, const void* attributes, void* (*begin)(void*) noexcept nogil, void* argument)
    int pthread_join(pthread_t thread, void** result)

cdef enum:
    IDLE_US = 50
    BEYOND = 100  # offsets
    REFUSALS_MAX = 1000
    RECENT = 64  # tickets
    TIME_OUT_EVERY = 40  # turns
    HANG_UP_EVERY = 4000
    SPREAD = 2654435761  # of seeds: odd, and no other reason
    UNREAD = -1  # a segment could not be read, in the place of a verdict


cdef cppclass Script:  # of one connection
    int64_t connection
    vector[string] chunks
    size_t next
    string rest  # of a chunk, not taken yet
    string received
    bint waits
    bint is_over
    int ended  # the verdict that ended it
    int64_t rounds  # of a tail, still to go; its request is its only chunk
    int64_t offset
    int64_t top  # the highest mark that it was told
    int64_t refusals  # in a row
    int64_t offset_at
    int64_t mark_at


cdef cppclass Message:  # for a connection: what it receives, after which it goes on
    int64_t connection
    string data
    boolean has_failed


cdef cppclass Job:  # answers that wait for the disk
    int64_t connection
    string data
    vector[Due] due


cdef cppclass Worker:
    Field* field
    pthread_t thread
    vector[Script*] scripts
    Turn* turn
    Lock lock
    vector[Message] inbox
    uint64_t chance


cdef cppclass Field:
    Plane* plane
    vector[Worker*] workers
    Shared busy  # scripts that can go on, or will be able to without anybody's help; and those who may still help
    Shared clock
    Shared is_over
    Lock lock
    vector[Job*] jobs
    Turn* turn  # the flusher's
    pthread_t flusher


# What a connection receives


cdef bint copy_answer(Turn* turn, const Answer* answer, string* into) noexcept nogil:
    """A frame, and what its gaps stand for. False: a segment cannot be read."""
    cdef int64_t at = answer.begin
    cdef size_t filled
    cdef Gap* gap
    cdef int index
    for index in range(answer.gaps_begin, answer.gaps_end):
        gap = &turn.out.gaps[index]
        into.append(<const char*>turn.out.data + at, gap.position - at)
        at = gap.position
        filled = into.size()
        into.resize(filled + gap.size_bytes)
        if pread(turn.places[gap.slice].file.fd, &into[0][filled], gap.size_bytes, turn.places[gap.slice].position) != gap.size_bytes:
            return False
    into.append(<const char*>turn.out.data + at, answer.end - at)
    return True


cdef void post(Field* field, int64_t connection, const string& data, bint has_failed) noexcept nogil:
    """A message for a connection, which is not busy now and will be."""
    cdef Worker* worker = field.workers[connection % field.workers.size()]
    cdef Message message
    message.connection, message.data, message.has_failed = connection, data, has_failed
    field.busy.add(1)
    worker.lock.take()
    worker.inbox.push_back(message)
    worker.lock.give()


cdef void post_others(Field* field, Turn* turn, int64_t connection) noexcept nogil:
    """The answers of a turn that are not this connection's."""
    cdef string data
    cdef bint is_read
    cdef size_t index
    for index in range(turn.answers.size()):
        if turn.answers[index].connection != connection:
            data.clear()
            is_read = copy_answer(turn, &turn.answers[index], &data)
            post(field, turn.answers[index].connection, data, not is_read)


# One thread


cdef void* work(void* argument) noexcept nogil:
    """Until no script can go on, or all is over."""
    cdef Worker* worker = <Worker*>argument
    cdef Script* script
    while worker.field.busy.get() > 0 and not worker.field.is_over.get():
        take_inbox(worker)
        script = ready(worker)
        if script == NULL:
            usleep(IDLE_US)
            continue
        if drawn(worker) % TIME_OUT_EVERY == 0:
            time_out(worker.field.plane, worker.turn, worker.field.plane.tickets.get() - drawn(worker) % RECENT, worker.field.clock.add(1))
            post_others(worker.field, worker.turn, -1)
        if drawn(worker) % HANG_UP_EVERY == 0:
            hang_up_one(worker)
        go_on(worker, script)
    return NULL


cdef uint64_t drawn(Worker* worker) noexcept nogil:
    """A random number."""
    worker.chance ^= worker.chance << 13
    worker.chance ^= worker.chance >> 7
    worker.chance ^= worker.chance << 17
    return worker.chance >> 8


cdef Script* ready(Worker* worker) noexcept nogil:
    """A script that can go on, NULL if none can."""
    cdef size_t count = worker.scripts.size(), begin = drawn(worker) % count, index
    for index in range(count):
        if not worker.scripts[(begin + index) % count].waits and not worker.scripts[(begin + index) % count].is_over:
            return worker.scripts[(begin + index) % count]
    return NULL


cdef void take_inbox(Worker* worker) noexcept nogil:
    """Who was answered goes on; who hung up is not busy."""
    cdef vector[Message] messages
    cdef Script* script
    cdef size_t index
    worker.lock.take()
    messages.swap(worker.inbox)
    worker.lock.give()
    for index in range(messages.size()):
        script = worker.scripts[messages[index].connection // <int64_t>worker.field.workers.size()]
        script.received.append(messages[index].data)
        script.waits = False
        if messages[index].has_failed:
            script.is_over, script.ended = True, UNREAD
        if script.is_over:
            worker.field.busy.add(-1)


cdef void hang_up_one(Worker* worker) noexcept nogil:
    """A tail that waits does so no more: its connection ends."""
    cdef Script* script = worker.scripts[drawn(worker) % worker.scripts.size()]
    if script.waits and script.rounds > 0:
        forget_connection(worker.field.plane, worker.turn, script.connection)
        script.is_over = True


cdef void go_on(Worker* worker, Script* script) noexcept nogil:
    """One turn of a connection."""
    cdef Field* field = worker.field
    cdef Turn* turn = worker.turn
    cdef int64_t taken = 0, correlation
    cdef bint waits_for_disk
    cdef Verdict verdict
    if script.rest.empty() and not take_chunk(worker, script):
        script.is_over = True
        field.busy.add(-1)
        return
    verdict = take_frames(field.plane, turn, script.connection, 0, <uint8_t*>&script.rest[0], script.rest.size(), field.clock.add(1), &taken)
    correlation = last_correlation(script.rest, taken)
    script.rest.erase(0, taken)
    script.waits = verdict == PARKED
    waits_for_disk = receive(worker, script, correlation)
    if verdict != REPLIED and verdict != SILENT and verdict != PARKED:
        script.is_over, script.ended = True, verdict
    if (script.waits or script.is_over) and not waits_for_disk:
        field.busy.add(-1)
    if waits_for_disk:
        script.waits = True


cdef bint take_chunk(Worker* worker, Script* script) noexcept nogil:
    """The next frames of a script; of a tail, from where it is, or, where it was refused, from anywhere. Who is only refused gives up."""
    cdef size_t size = script.received.size()
    cdef int64_t mark
    if script.offset_at == 0:
        if script.next == script.chunks.size():
            return False
        script.rest = script.chunks[script.next]
        script.next += 1
        return True
    if script.rounds == 0:
        return False
    script.rounds -= 1
    script.rest = script.chunks[0]
    if script.next > 0:
        mark = <int64_t>load64(<const uint8_t*>script.received.data() + script.next - 1 + script.mark_at)
        script.refusals = 0 if mark >= 0 else script.refusals + 1
        if script.refusals > REFUSALS_MAX:
            return False
        script.top = max(script.top, mark)
        script.offset = mark if mark >= 0 else <int64_t>(drawn(worker) % <uint64_t>(script.top + BEYOND))
        store64(<uint8_t*>&script.rest[script.offset_at], script.offset)
    script.next = size + 1  # where its answer will begin, and one
    return True


cdef int64_t last_correlation(const string& frames, int64_t taken) noexcept nogil:
    """The correlation id of the last of the frames that were taken."""
    cdef const uint8_t* data = <const uint8_t*>frames.data()
    cdef int64_t at = 0, last = 0
    while at < taken:
        last = at
        at += LENGTH_BYTES + <int64_t>load32(data + at)
    return load32(data + last + LENGTH_BYTES + 4)


cdef bint receive(Worker* worker, Script* script, int64_t correlation) noexcept nogil:
    """The connection's own answers. Those that are not true yet wait for the flusher, who is busy in its stead: are there any? A request that waits may
    be answered already."""
    cdef Turn* turn = worker.turn
    cdef Job* job = NULL
    cdef string* into = &script.received
    cdef const Answer* answer
    cdef size_t index
    post_others(worker.field, turn, script.connection)
    if not turn.due.empty():
        job = new Job()
        job.connection = script.connection
        job.due.swap(turn.due)
    for index in range(turn.answers.size()):
        answer = &turn.answers[index]
        if answer.connection != script.connection:
            continue
        if job != NULL and index >= turn.answers_settled:
            into = &job.data
        if script.waits and load32(turn.out.data + answer.begin + LENGTH_BYTES) == correlation:
            script.waits = False
        if not copy_answer(turn, answer, into):
            script.is_over, script.ended = True, UNREAD
    if job != NULL:
        worker.field.lock.take()
        worker.field.jobs.push_back(job)
        worker.field.lock.give()
    return job != NULL


# The flusher


cdef void* flush(void* argument) noexcept nogil:
    """Whatever waits for the disk, together; until all is over."""
    cdef Field* field = <Field*>argument
    cdef vector[Job*] jobs
    while True:
        field.lock.take()
        jobs.swap(field.jobs)
        field.lock.give()
        if jobs.empty():
            if field.is_over.get():
                return NULL
            usleep(IDLE_US)
            continue
        flush_together(field, &jobs)
        jobs.clear()


cdef void flush_together(Field* field, vector[Job*]* jobs) noexcept nogil:
    """One sync for each file; then readers, then those whose batches it was. They were busy all the while."""
    cdef vector[Due] due
    cdef size_t index
    cdef int result
    for index in range(jobs.size()):
        due.insert(due.end(), jobs[0][index].due.begin(), jobs[0][index].due.end())
    note_due(field.plane, &due)
    result = force(field.plane, &due)
    forced(field.plane, field.turn, &due, result, field.clock.add(1))
    post_others(field, field.turn, -1)
    for index in range(jobs.size()):
        post(field, jobs[0][index].connection, jobs[0][index].data, result < 0)
        field.busy.add(-1)
        del jobs[0][index]


# For Python


cdef class Hammer:
    """So many threads on a core. Scripts are added, then `start`; `join` comes back when none can go on any more; then there may be `more`."""

    cdef Field* field
    cdef object core
    cdef int64_t connections

    def __cinit__(self, Core core not None, int threads, uint64_t seed, int64_t now) -> None:
        cdef Worker* worker
        self.core = core
        self.field = new Field()
        self.field.plane = core.plane
        self.field.clock.set(now)
        self.field.turn = new_turn(core.plane)
        for number in range(threads):
            worker = new Worker()
            worker.field = self.field
            worker.chance = (seed * <uint64_t>SPREAD + <uint64_t>number + 1) * <uint64_t>SPREAD
            worker.turn = new_turn(core.plane)
            worker.turn.defers = True
            self.field.workers.push_back(worker)

    def __dealloc__(self) -> None:
        cdef size_t index, at
        for index in range(self.field.workers.size()):
            for at in range(self.field.workers[index].scripts.size()):
                del self.field.workers[index].scripts[at]
            free_turn(self.field.workers[index].turn)
            del self.field.workers[index]
        free_turn(self.field.turn)
        del self.field

    def add(self, list chunks, int64_t rounds=0, int64_t offset_at=0, int64_t mark_at=0) -> int:
        """A connection that sends these chunks of frames, or, with `rounds`, goes on with one: its number."""
        cdef Script* script = new Script()
        script.connection = self.connections
        script.chunks = chunks
        script.next = script.offset = script.top = script.refusals = 0
        script.waits = script.is_over = False
        script.ended, script.rounds, script.offset_at, script.mark_at = 0, rounds, offset_at, mark_at
        self.field.workers[self.connections % self.field.workers.size()].scripts.push_back(script)
        self.connections += 1
        return script.connection

    def more(self, int64_t connection, list chunks) -> None:
        """What a connection sends next, which has sent all it had."""
        cdef Script* script = self.script(connection)
        cdef string chunk
        for chunk in chunks:
            script.chunks.push_back(chunk)
        script.is_over = script.ended != 0

    cdef Script* script(self, int64_t connection):
        return self.field.workers[connection % self.field.workers.size()].scripts[connection // self.field.workers.size()]

    def start(self) -> None:
        """Let them loose. Whoever started them counts as one who may help, until `join`."""
        cdef Script* script
        cdef size_t index
        cdef int64_t number, ready = 0
        for number in range(self.connections):
            script = self.script(number)
            ready += not script.waits and not script.is_over
        self.field.busy.set(ready + 1)
        self.field.is_over.set(0)
        pthread_create(&self.field.flusher, NULL, flush, self.field)
        for index in range(self.field.workers.size()):
            pthread_create(&self.field.workers[index].thread, NULL, work, self.field.workers[index])

    @property
    def busy(self) -> int:
        """How many scripts can go on."""
        return self.field.busy.get() - 1

    @property
    def watchers(self) -> int:
        """How many fetches the partitions believe to wait for them, all together."""
        cdef pair[Key, Partition*] entry
        cdef int64_t found = 0
        for entry in self.field.plane.table.partitions:
            found += entry.second.watchers
        return found

    @property
    def now(self) -> int:
        """The time, which passes with each turn (ms)."""
        return self.field.clock.add(1)

    def post(self, int64_t connection, bytes data) -> None:
        """What the control plane answers a connection that waits; None: it is ended."""
        cdef string said = data
        with nogil:
            post(self.field, connection, said, False)

    def stop(self) -> None:
        """Whatever there is still to do: `join` comes back soon."""
        self.field.is_over.set(1)

    def join(self) -> None:
        """Wait until no script can go on."""
        cdef size_t index
        with nogil:
            self.field.busy.add(-1)
            for index in range(self.field.workers.size()):
                pthread_join(self.field.workers[index].thread, NULL)
                take_inbox(self.field.workers[index])
            self.field.is_over.set(1)
            pthread_join(self.field.flusher, NULL)

    def time_out_all(self) -> int:
        """Everybody who waits is answered with what there is: how many did. Nobody else may be at work."""
        cdef int64_t ticket, waited = 0
        cdef size_t index
        with nogil:
            for ticket in range(1, self.field.plane.tickets.get() + 1):
                time_out(self.field.plane, self.field.turn, ticket, self.field.clock.add(1))
                waited += self.field.turn.answers.size()
                post_others(self.field, self.field.turn, -1)
            for index in range(self.field.workers.size()):
                take_inbox(self.field.workers[index])
        return waited

    def received(self, int64_t connection) -> tuple:
        """What a connection received, whether it still waits for an answer, and the verdict that ended it (-1: a segment could not be read)."""
        cdef Script* script = self.script(connection)
        return PyBytes_FromStringAndSize(script.received.data(), script.received.size()), bool(script.waits and not script.is_over), script.ended
