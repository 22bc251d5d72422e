# distutils: language = c++
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""One turn: as many frames of a connection as can be answered at once. What they come to is decided in the rooms of their APIs."""

from libc.errno cimport ENOENT
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t
from libc.string cimport memset
from libcpp.vector cimport vector

from fiducial.fastpath.batch cimport python_codecs, release
from fiducial.fastpath.bigendian cimport load16, load32
from fiducial.fastpath cimport fetch as fetch_room
from fiducial.fastpath.fetch cimport answer_fetch
from fiducial.fastpath.keys cimport Key
from fiducial.fastpath cimport log as log_room
from fiducial.fastpath.lookups cimport answer_list_offsets
from fiducial.fastpath.partition cimport Partition
from fiducial.fastpath cimport partition as partition_room
from fiducial.fastpath.produce cimport Row, append_row, is_full, take_produce
from fiducial.fastpath.table cimport partition_at
from fiducial.fastpath.turn cimport COLD, FAILED, MALFORMED, REPLIED, SILENT, Appended, Header
from fiducial.fastpath.wire cimport Reader, free_arena, free_writer, read_int16, read_int32, reader_of, reset_arena, reset_writer, skip_tags, take

cdef enum:
    TURN_BYTES_MAX = 1 << 18  # a connection that was answered so much lets others have their turn


# Turns


cdef Turn* new_turn(Plane* plane) noexcept with gil:
    """What a thread needs for itself."""
    cdef Turn* turn = new Turn()
    memset(&turn.arena, 0, sizeof(turn.arena))
    memset(&turn.out, 0, sizeof(turn.out))
    memset(&turn.work, 0, sizeof(turn.work))
    turn.table = &plane.table
    turn.files = &plane.files
    turn.tickets = &plane.tickets
    turn.work.codecs = python_codecs()
    turn.work.storage_error = &plane.table.storage_error
    turn.defers = False
    turn.settled = turn.answers_settled = 0
    turn.listener = 0
    return turn


cdef void free_turn(Turn* turn) noexcept nogil:
    """The thread needs it no more."""
    begin_turn(turn, 0)
    free_arena(&turn.arena)
    free_writer(&turn.out)
    release(&turn.work.unpacked)
    release(&turn.work.scratch)
    release(&turn.work.rebuilt)
    del turn


cdef void begin_turn(Turn* turn, int64_t now) noexcept nogil:
    """Nothing is left of the turn before."""
    cdef size_t index
    for index in range(turn.places.size()):
        log_room.let_go_file(turn.files, turn.places[index].file)
    reset_arena(&turn.arena)
    reset_writer(&turn.out)
    turn.answers.clear()
    turn.places.clear()
    turn.appended.clear()
    turn.due.clear()
    turn.has_let_go = False
    turn.settled = turn.answers_settled = 0
    turn.now = now


cdef Verdict take_frames(
    Plane* plane, Turn* turn, int64_t connection, int listener, uint8_t* frames, int64_t size, int64_t now, int64_t* taken
) noexcept nogil:
    """One after the other, until one has to wait. What Produce requests in a row append is written together, and forced to the disk together."""
    cdef const uint8_t* at = frames
    cdef const uint8_t* end = at + size
    cdef Verdict verdict = REPLIED
    cdef int64_t frame_bytes
    cdef Row row = Row(NULL, NULL, 0)
    begin_turn(turn, now)
    turn.listener = listener
    plane.table.gate.look()  # THREAD-LOCK-1, THREAD-LOCK-2: before every other lock, and until all is answered or parked, but for THREAD-LOCK-4
    while (verdict == REPLIED or verdict == SILENT) and turn.due.empty() and turn.out.size + turn.out.gaps_bytes < TURN_BYTES_MAX:
        frame_bytes = whole_frame(plane, at, end)
        if frame_bytes < 0:
            break
        verdict = decide(plane, turn, &row, connection, at + LENGTH_BYTES, frame_bytes)
        if verdict != COLD:
            at += LENGTH_BYTES + frame_bytes
        if is_full(&row) or row.count == 0 or not is_produce(plane, at, end):
            append_row(turn, &row, connection)
            verdict = settled(plane, turn, verdict)
            reset_arena(&turn.arena)
    append_row(turn, &row, connection)
    verdict = settled(plane, turn, verdict)
    plane.table.gate.leave()
    taken[0] = at - frames
    return verdict


cdef int64_t whole_frame(Plane* plane, const uint8_t* at, const uint8_t* end) noexcept nogil:
    """The size of the frame that begins here, without its length; -1 if it is not whole, or its size is refused: whoever reads the socket
    sees to that."""
    if end - at < LENGTH_BYTES:
        return -1
    cdef int64_t size = <int32_t>load32(at)
    return size if 0 < size <= plane.frame_bytes_max and size <= end - at - LENGTH_BYTES else -1


cdef bint is_produce(Plane* plane, const uint8_t* at, const uint8_t* end) noexcept nogil:
    """Is the next frame a Produce request? Then it stands in a row with the one before."""
    return whole_frame(plane, at, end) >= 2 and load16(at + LENGTH_BYTES) == 0


cdef Verdict decide(Plane* plane, Turn* turn, Row* row, int64_t connection, const uint8_t* data, int64_t size) noexcept nogil:
    """Read the header of a hot request, and let its room answer it."""
    cdef Reader reader = reader_of(data, size)
    cdef Header header
    cdef int16_t client_id_bytes
    header.api_key = read_int16(&reader)
    header.api_version = read_int16(&reader)
    header.correlation_id = read_int32(&reader)
    if not reader.failed and not is_hot(plane, &header):
        return COLD
    client_id_bytes = read_int16(&reader)
    header.client_id.size = client_id_bytes if client_id_bytes > 0 else 0
    header.client_id.data = take(&reader, header.client_id.size)
    header.is_flexible = header.api_version >= plane.hot[header.api_key].flexible_from if not reader.failed else False
    skip_tags(&reader, header.is_flexible)
    if reader.failed:
        return MALFORMED
    if header.api_key == 0:
        return take_produce(turn, row, connection, &header, &reader)
    if header.api_key == 1:
        return answer_fetch(turn, &plane.fetches, connection, &header, &reader)
    return answer_list_offsets(turn, connection, &header, &reader)


cdef bint is_hot(Plane* plane, const Header* header) noexcept nogil:
    """Is the request one of those that are decided here, in a version that is served?"""
    if header.api_key < 0 or header.api_key >= HOT_KEYS:
        return False
    return plane.hot[header.api_key].min_version <= header.api_version <= plane.hot[header.api_key].max_version


# Other events of a turn


cdef void time_out(Plane* plane, Turn* turn, int64_t ticket, int64_t now) noexcept nogil:
    """The deadline of a parked fetch."""
    begin_turn(turn, now)
    plane.table.gate.look()
    fetch_room.time_out(turn, &plane.fetches, ticket)
    plane.table.gate.leave()


cdef void forget_connection(Plane* plane, Turn* turn, int64_t connection) noexcept nogil:
    """The connection is gone."""
    plane.table.gate.look()
    fetch_room.forget_connection(turn, &plane.fetches, connection)
    plane.table.gate.leave()


cdef void forget_ticket(Plane* plane, Turn* turn, int64_t ticket) noexcept nogil:
    """The connection of this request is gone."""
    plane.table.gate.look()
    fetch_room.forget_ticket(turn, &plane.fetches, ticket)
    plane.table.gate.leave()


# When answers are true


cdef Verdict settled(Plane* plane, Turn* turn, Verdict verdict) noexcept nogil:
    """What was appended goes to the disk where flush.messages asks for it (`commit` is 1), then readers may see it, and who waits for it is
    answered. If that fails it is not tried again: FAILED, and nobody hears of what was answered since it last went well."""
    cdef vector[Due] due
    cdef int result = 0
    if turn.settled == turn.appended.size():
        if turn.due.empty():
            turn.answers_settled = turn.answers.size()
        return verdict
    wake_readers(plane, turn)
    due_of(turn, &due)
    turn.settled = turn.appended.size()
    if turn.defers and not due.empty():
        turn.due.swap(due)
        return verdict
    if not due.empty():
        note_due_here(plane, &due)
        result = force(plane, &due)
        publish(plane, turn, &due, result)
    if result < 0:
        turn.answers.resize(turn.answers_settled)
        return FAILED
    turn.answers_settled = turn.answers.size()
    return verdict


cdef void due_of(Turn* turn, vector[Due]* due) noexcept nogil:
    """What of the appended must be on the disk: each partition once."""
    cdef Appended* appended
    cdef Due one
    cdef size_t index, at
    for index in range(turn.settled, turn.appended.size()):
        appended = &turn.appended[index]
        if not appended.is_due:
            continue
        one.key = appended.key
        one.end, one.result = appended.end, 0
        at = 0
        while at < due.size() and due[0][at].key != one.key:
            at += 1
        if at == due.size():
            due.push_back(one)
        due[0][at].end = appended.end


cdef void wake_readers(Plane* plane, Turn* turn) noexcept nogil:
    """Look again at the fetches that wait for what may be read now."""
    cdef vector[Key] keys
    cdef Appended* appended
    cdef size_t index
    for index in range(turn.settled, turn.appended.size()):
        appended = &turn.appended[index]
        if appended.is_watched and not appended.is_due:
            keys.push_back(appended.key)
    if not keys.empty():
        fetch_room.wake(turn, &plane.fetches, &keys)


cdef void note_due(Plane* plane, vector[Due]* dues) noexcept nogil:
    """THREAD-LOCK-3: the files of these partitions; one that is gone has none. The gate is let go before anybody waits for the disk."""
    plane.table.gate.look()
    note_due_here(plane, dues)
    plane.table.gate.leave()


cdef void note_due_here(Plane* plane, vector[Due]* dues) noexcept nogil:
    """The same, for who holds the gate."""
    cdef Partition* partition
    cdef size_t index
    for index in range(dues.size()):
        dues[0][index].result = 0
        partition = partition_at(&plane.table, dues[0][index].key)
        if partition != NULL:
            dues[0][index].result = partition_room.note_due(partition, &dues[0][index].forcing, &dues[0][index].end)


cdef int force(Plane* plane, vector[Due]* dues) noexcept nogil:
    """Each file once; after the first that fails, none: a sync that is tried again would succeed, and lie."""
    cdef int result = <int>plane.table.storage_error.get()
    cdef size_t index
    for index in range(dues.size()):
        if result == 0:
            result = dues[0][index].result
        if result == 0:
            result = log_room.force(&plane.files, &dues[0][index].forcing)
        else:
            log_room.let_go_unforced(&plane.files, &dues[0][index].forcing)
        if result == -ENOENT and not is_there(plane, dues[0][index].key):
            result = 0  # the folder is gone, with its partition
    return result


cdef bint is_there(Plane* plane, const Key& key) noexcept nogil:
    """Is there such a partition now?"""
    cdef bint found
    plane.table.gate.look()
    found = partition_at(&plane.table, key) != NULL
    plane.table.gate.leave()
    return found


cdef void forced(Plane* plane, Turn* turn, vector[Due]* dues, int result, int64_t now) noexcept nogil:
    """A turn of its own."""
    begin_turn(turn, now)
    plane.table.gate.look()
    publish(plane, turn, dues, result)
    plane.table.gate.leave()


cdef void publish(Plane* plane, Turn* turn, vector[Due]* dues, int result) noexcept nogil:
    """THREAD-COMMIT-3: readers may see what is on the disk; if it could not be forced there, the log directory is offline."""
    cdef vector[Key] keys
    cdef Partition* partition
    cdef Due* due
    cdef size_t index
    if result < 0:
        plane.table.storage_error.begin(result)
        return
    for index in range(dues.size()):
        due = &dues[0][index]
        partition = partition_at(&plane.table, due.key)
        if partition != NULL and partition_room.forced(partition, &due.forcing, due.end, turn.now):
            keys.push_back(due.key)
    if not keys.empty():
        fetch_room.wake(turn, &plane.fetches, &keys)
