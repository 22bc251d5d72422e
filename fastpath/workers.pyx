# distutils: language = c++
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""An I/O thread: what its sockets have to say, what others write to it, and what is due by the clock, without Python.

    socket ──▶ the thread's room ──▶ every whole frame in it: one turn of the core ──▶ socket, in one send
                    │                        │
                    ▼                        ├──▶ other connections: at once, or by a letter to their thread
      the connection's own buffer,           ├──▶ the control plane: a request that is not hot
      for what cannot be handled yet         └──▶ the flusher: what has to be on the disk first

Nothing is decided here. A connection has one request under way; while that waits, what comes behind it stays in its buffer, then in the kernel,
then in the client. Epoll is level-triggered: what is not read now is told of again.
"""

from cython.operator cimport dereference
from libc.errno cimport EAGAIN, ECONNABORTED, EINTR, EMFILE, ENFILE, ENOBUFS, ENOMEM, errno
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.stdio cimport snprintf
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, strerror
from libcpp.string cimport string
from libcpp.utility cimport pair
from libcpp.vector cimport vector
from posix.unistd cimport close

from fiducial.fastpath.bigendian cimport load32
from fiducial.fastpath.clock cimport now_ms
from fiducial.fastpath.connections cimport (
    LENGTH_BYTES,
    REFUSED_SIZE,
    Connection,
    frame_bytes,
    give_up_buffer,
    has_frame,
    held_bytes,
    is_busy,
    keep,
    make_room,
)
from fiducial.fastpath.files cimport LEFT_TO_LOGS, hold_back, let_go_held
from fiducial.fastpath.frames cimport forget_ticket, free_turn, new_turn, take_frames, time_out
from fiducial.fastpath.front cimport THREAD_BITS, Door, Front, behind_run, give_back, has_room, post_pieces, thread_of
from fiducial.fastpath.mail cimport (
    ADOPT,
    CLOSING,
    COLD_REQUEST,
    DISK_FAILED,
    GONE,
    HANG_UP,
    SETTLED,
    TROUBLE,
    WELCOME,
    Inbox,
    Letter,
    Matter,
    Note,
    close_inbox,
    open_inbox,
    post,
    silence,
    take_letters,
    tell,
    wait_for_disk,
)
from fiducial.fastpath.sending cimport (
    ALL_SENT,
    FILE_IS_SHORT,
    GATHERED_BYTES_MAX,
    SOCKET_IS_FULL,
    Piece,
    Sent,
    release_pieces,
    send_pieces,
    take_copies,
    view_answers,
)
from fiducial.fastpath.system cimport (
    EPOLL_CLOEXEC,
    EPOLL_CTL_ADD,
    EPOLL_CTL_DEL,
    EPOLL_CTL_MOD,
    EPOLLERR,
    EPOLLHUP,
    EPOLLIN,
    EPOLLOUT,
    IPPROTO_TCP,
    NI_NUMERICHOST,
    NI_NUMERICSERV,
    SOCK_CLOEXEC,
    SOCK_NONBLOCK,
    TCP_NODELAY,
    accept4,
    epoll_create1,
    epoll_ctl,
    epoll_event,
    epoll_wait,
    getnameinfo,
    recv,
    setsockopt,
    sockaddr,
    sockaddr_in6,
)
from fiducial.fastpath.turn cimport COLD, PARKED, REPLIED, SILENT, Turn, Verdict

cdef enum:
    READ_BYTES = 1 << 18  # so much is read at once: nobody's requests hold up the others for long
    WHOLE_BYTES_MAX = 1 << 18  # a larger frame is read into the connection's own buffer, without being copied
    HELD_BYTES_MAX = 1 << 20  # so much is held of who waits for an answer
    EVENTS_MAX = 256
    ACCEPTED_MAX = 256  # at once
    BELL = 0  # what epoll tells of, beside connections
    DOOR = 1
    PAUSE_MS = 1000
    TEXT_BYTES = 256
    FOR_EVER = -1


# Beginning and end


cdef Worker* new_worker(Front* front, int number) noexcept with gil:
    """A thread that does not run yet. The first one accepts connections."""
    cdef Worker* here = new Worker()
    here.front, here.number = front, number
    here.oldest = here.newest = NULL
    here.serial = here.now = here.accepts_again_ms = 0
    here.clock.told_ns = here.clock.steady_then_ns = 0
    here.accepts = number == 0
    here.has_said_why = False
    here.turn = new_turn(front.plane)
    here.turn.defers = True
    here.read_room = <uint8_t*>malloc(WHOLE_BYTES_MAX + READ_BYTES)
    here.send_room = <uint8_t*>malloc(GATHERED_BYTES_MAX)
    here.epoll = epoll_create1(EPOLL_CLOEXEC)
    here.inbox = new Inbox()
    is_made = here.epoll >= 0 and open_inbox(here.inbox) and here.read_room != NULL and here.send_room != NULL
    if not is_made or not watch(here, EPOLL_CTL_ADD, here.inbox.bell, EPOLLIN, BELL) or not listen_to(here):
        free_worker(here)
        return NULL
    return here


cdef void free_worker(Worker* here) noexcept nogil:
    """It does not run any more: all connections are closed."""
    while here.oldest != NULL:
        leave(here, here.oldest)
    bury(here)
    free_turn(here.turn)
    close_inbox(here.inbox, &here.front.plane.files)
    del here.inbox
    close(here.epoll)
    free(here.read_room)
    free(here.send_room)
    del here


cdef bint watch(Worker* here, int operation, int fd, uint32_t events, int64_t what) noexcept nogil:
    """Let epoll tell of a descriptor."""
    cdef epoll_event event
    event.events = events
    event.data.u64 = what
    return epoll_ctl(here.epoll, operation, fd, &event) == 0


cdef bint listen_to(Worker* here) noexcept nogil:
    """Who accepts is told of those who connect."""
    cdef size_t index
    for index in range(here.front.doors.size() if here.accepts else 0):
        if not watch(here, EPOLL_CTL_ADD, here.front.doors[index].fd, EPOLLIN, DOOR):
            return False
    return True


# The loop


cdef void* run_worker(void* worker) noexcept nogil:
    """Until the front is stopping."""
    cdef Worker* here = <Worker*>worker
    cdef epoll_event[EVENTS_MAX] events
    cdef int count, index
    while not here.front.is_stopping.get():
        here.now = now_ms(&here.clock)
        here.inbox.is_asleep.set(1)  # THREAD-INBOX-1, THREAD-ROOM-1: before the last look at letters and at room
        count = 0 if take_letters(here.inbox, &here.letters) else patience_ms(here)
        count = epoll_wait(here.epoll, events, EVENTS_MAX, count)
        here.inbox.is_asleep.set(0)
        here.now = now_ms(&here.clock)
        for index in range(count):
            happened(here, &events[index])
        read_letters(here)
        by_the_clock(here)
        go_on_in_turn(here)
        feed(here)
        bury(here)
    return NULL


cdef int patience_ms(Worker* here) noexcept nogil:
    """How long nothing has to be done if nothing happens."""
    cdef int64_t until = here.accepts_again_ms if here.accepts_again_ms else FOR_EVER
    if not here.ready.empty() or (not here.hungry.empty() and has_room(here.front)):
        return 0
    if not here.deadlines.empty():
        until = earlier(until, dereference(here.deadlines.begin()).first)
    if here.oldest != NULL:
        until = earlier(until, here.oldest.touched_ms + here.front.idle_ms)
    return FOR_EVER if until == FOR_EVER else <int>min(max(until - here.now, <int64_t>0), <int64_t>3_600_000)


cdef int64_t earlier(int64_t one, int64_t other) noexcept nogil:
    return other if one == FOR_EVER else min(one, other)


cdef void happened(Worker* here, epoll_event* event) noexcept nogil:
    """What epoll tells."""
    cdef int64_t what = event.data.u64
    cdef Connection* connection
    if what == BELL:
        silence(here.inbox.bell)
        return
    if what == DOOR:
        accept_all(here)
        return
    if here.connections.count(what) == 0:
        return  # it was closed since
    connection = here.connections[what]
    if event.events & EPOLLOUT:
        push(here, connection)
    if event.events & EPOLLIN and not connection.is_gone:
        receive(here, connection)
    elif event.events & (EPOLLERR | EPOLLHUP):
        leave(here, connection)


cdef void by_the_clock(Worker* here) noexcept nogil:
    """Fetches that give up, and connections on which nothing moved."""
    cdef int64_t ticket
    cdef char[TEXT_BYTES] text
    while not here.deadlines.empty() and dereference(here.deadlines.begin()).first <= here.now:
        ticket = dereference(here.deadlines.begin()).second
        here.deadlines.erase(here.deadlines.begin())
        time_out(here.front.plane, here.turn, ticket, here.now)
        hand_out(here, NULL)
    while here.oldest != NULL and here.now - here.oldest.touched_ms >= here.front.idle_ms:
        snprintf(text, TEXT_BYTES, b"idle for %g s", <double>here.front.idle_ms / 1000)
        say_closing(here, here.oldest, text)
        leave(here, here.oldest)
    if here.accepts_again_ms and here.now >= here.accepts_again_ms:
        here.accepts_again_ms = 0
        listen_to(here)


cdef void go_on_in_turn(Worker* here) noexcept nogil:
    """Each connection that has more to do does a part of it."""
    cdef vector[int64_t] ready
    cdef Connection* connection
    cdef size_t index
    ready.swap(here.ready)
    for index in range(ready.size()):
        if here.connections.count(ready[index]):
            connection = here.connections[ready[index]]
            connection.is_ready = False
            go_on(here, connection)


cdef void feed(Worker* here) noexcept nogil:
    """THREAD-ROOM-3: read from those who wait for room, while there is some."""
    cdef int64_t first
    while not here.hungry.empty() and has_room(here.front):
        first = here.hungry.front()
        here.hungry.pop_front()
        if here.connections.count(first) and here.connections[first].is_hungry:
            go_hungry_no_more(here, here.connections[first])
            receive(here, here.connections[first])


# Connections come


cdef void accept_all(Worker* here) noexcept nogil:
    """Who has connected, up to a limit; each thread gets one in turn. No connection gets one of the last descriptors: a log that cannot begin a
    segment for want of one is offline."""
    cdef int[LEFT_TO_LOGS] held
    cdef int count = hold_back(here.epoll, held, LEFT_TO_LOGS)
    cdef size_t index
    cdef int accepted = 0
    if count < LEFT_TO_LOGS:
        accept_later(here)
    for index in range(here.front.doors.size()):
        while accepted < ACCEPTED_MAX and not here.accepts_again_ms and accept_one(here, &here.front.doors[index]):
            accepted += 1
    let_go_held(held, count)


cdef bint accept_one(Worker* here, const Door* door) noexcept nogil:
    """False: nobody is there, or there is nothing to hold the connection with."""
    cdef Letter letter
    cdef int one = 1
    letter.listener = door.listener
    letter.address.size = sizeof(sockaddr_in6)
    letter.fd = accept4(door.fd, <sockaddr*>&letter.address.name, &letter.address.size, SOCK_NONBLOCK | SOCK_CLOEXEC)
    if letter.fd < 0:
        if errno == EMFILE or errno == ENFILE or errno == ENOBUFS or errno == ENOMEM:
            accept_later(here)
        elif errno == EAGAIN:
            here.has_said_why = False  # nobody is left who had to wait
        return errno == ECONNABORTED or errno == EINTR  # the client has left already
    setsockopt(letter.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))
    give_in_turn(here, &letter)
    return True


cdef void give_in_turn(Worker* here, Letter* letter) noexcept nogil:
    """A new connection gets its id, and its thread."""
    cdef size_t index
    here.serial += 1
    index = here.serial % here.front.inboxes.size()
    letter.errand = ADOPT
    letter.connection = (here.serial << THREAD_BITS) | <int64_t>index
    if here.number == <int>index:
        adopt(here, letter)
    else:
        post(here.front.inboxes[index], letter)


cdef void accept_later(Worker* here) noexcept nogil:
    """There is nothing left to hold a connection with: those who connect wait in the kernel for a while. It is said once, until none of them waits."""
    cdef char[TEXT_BYTES] text
    cdef int reason = errno
    cdef size_t index
    if not here.has_said_why:
        here.has_said_why = True
        snprintf(text, TEXT_BYTES, b"cannot accept connections: %s", strerror(reason))
        say(here, TROUBLE, string(), text)
    for index in range(here.front.doors.size()):
        watch(here, EPOLL_CTL_DEL, here.front.doors[index].fd, 0, DOOR)
    here.accepts_again_ms = here.now + PAUSE_MS


cdef void adopt(Worker* here, Letter* letter) noexcept nogil:
    """A new connection."""
    cdef Connection* connection = new Connection()
    connection.id, connection.fd, connection.address, connection.listener = letter.connection, letter.fd, letter.address, letter.listener
    connection.events = EPOLLIN
    connection.buffer = NULL
    connection.begin = connection.end = connection.capacity = 0
    connection.due_at = 0
    connection.parked_ticket = connection.parked_until_ms = 0
    connection.is_waiting = connection.is_unsettled = connection.is_ending = False
    connection.is_ready = connection.is_hungry = connection.is_known = connection.is_gone = False
    connection.older = connection.newer = NULL
    here.connections[connection.id] = connection
    here.front.connections.add(1)
    put_last(here, connection)
    if not watch(here, EPOLL_CTL_ADD, connection.fd, EPOLLIN, connection.id):
        leave(here, connection)


# Reading


cdef void receive(Worker* here, Connection* connection) noexcept nogil:
    """What has come, up to a limit. All that can be handled is handled where it was read; the rest is kept."""
    cdef int64_t held = held_bytes(connection)
    cdef int64_t wanted = frame_bytes(connection.buffer + connection.begin, held, here.front.frame_bytes_max)
    if is_busy(connection) or connection.is_ready:
        receive_behind(here, connection)
    elif wanted > WHOLE_BYTES_MAX:
        receive_large(here, connection, wanted)
    elif held == 0 and not has_room(here.front):
        go_hungry(here, connection)
    else:
        receive_and_handle(here, connection, held)


cdef void receive_and_handle(Worker* here, Connection* connection, int64_t held) noexcept nogil:
    """Part of a frame that came before goes before the rest: one turn for all frames."""
    cdef int64_t size, taken
    if held > 0:
        memcpy(here.read_room, connection.buffer + connection.begin, held)
        give_back(here.front, give_up_buffer(connection))
    size = read_some(here, connection, here.read_room + held)
    if size < 0:
        return
    taken = handle(here, connection, here.read_room, held + size)
    if taken < held + size and not connection.is_gone:
        keep_rest(here, connection, here.read_room + taken, held + size - taken)
    wait_for_more(here, connection)


cdef void receive_large(Worker* here, Connection* connection, int64_t wanted) noexcept nogil:
    """More of a large frame, where it stays until it is whole."""
    cdef int64_t size, more = make_room(connection, wanted)
    if more < 0:
        say_closing(here, connection, b"no memory")
        leave(here, connection)
        return
    here.front.held_bytes.add(more)
    size = read_up_to(here, connection, connection.buffer + connection.end, min(wanted - held_bytes(connection), <int64_t>READ_BYTES))
    if size > 0:
        connection.end += size
    if size >= 0:
        go_on(here, connection)


cdef void receive_behind(Worker* here, Connection* connection) noexcept nogil:
    """What comes behind a request that is under way."""
    cdef int64_t size
    if not has_room(here.front):
        go_hungry(here, connection)
        return
    size = read_some(here, connection, here.read_room)
    if size > 0:
        keep_rest(here, connection, here.read_room, size)
    if size >= 0:
        wait_for_more(here, connection)


cdef int64_t read_some(Worker* here, Connection* connection, uint8_t* room) noexcept nogil:
    return read_up_to(here, connection, room, READ_BYTES)


cdef int64_t read_up_to(Worker* here, Connection* connection, uint8_t* room, int64_t size) noexcept nogil:
    """How many bytes came; 0: none now, or none any more; -1: the connection is gone."""
    cdef ssize_t got = recv(connection.fd, room, size, 0)
    if got > 0:
        here.received_bytes.add(got)
        touch(here, connection)
    elif got == 0:
        connection.is_ending = True  # it has said all; it still hears what is pending
    elif errno == EAGAIN or errno == EINTR:
        got = 0
    else:
        leave(here, connection)
    return got


cdef void keep_rest(Worker* here, Connection* connection, const uint8_t* data, int64_t size) noexcept nogil:
    """What cannot be handled yet."""
    cdef int64_t more = keep(connection, data, size, here.front.frame_bytes_max)
    if more < 0:
        say_closing(here, connection, b"no memory")
        leave(here, connection)
    else:
        here.front.held_bytes.add(more)


# Room for what is kept


cdef void go_hungry(Worker* here, Connection* connection) noexcept nogil:
    """THREAD-ROOM-1: it is not read from until there is room."""
    if not connection.is_hungry:
        connection.is_hungry = True
        here.hungry.push_back(connection.id)
        here.front.hungry.add(1)
    listen_for(here, connection)


cdef void go_hungry_no_more(Worker* here, Connection* connection) noexcept nogil:
    """It is read from again. Its place among those who wait for room is passed over."""
    if connection.is_hungry:
        connection.is_hungry = False
        here.front.hungry.add(-1)


# Handling


cdef void go_on(Worker* here, Connection* connection) noexcept nogil:
    """What was kept, as far as it can be handled now."""
    cdef int64_t held = held_bytes(connection)
    if held > 0 and not is_busy(connection):
        connection.begin += handle(here, connection, connection.buffer + connection.begin, held)
        if connection.begin >= connection.end:
            give_back(here.front, give_up_buffer(connection))
    wait_for_more(here, connection)


cdef int64_t handle(Worker* here, Connection* connection, uint8_t* data, int64_t size) noexcept nogil:
    """One turn over the frames that are whole: how many bytes are done with. A refused size ends the connection once what came before is
    answered."""
    cdef int64_t taken = 0, wanted = frame_bytes(data, size, here.front.frame_bytes_max)
    cdef char[TEXT_BYTES] text
    cdef Verdict verdict
    if wanted == REFUSED_SIZE:
        snprintf(text, TEXT_BYTES, b"a frame of %d bytes", size_said(data))
        end(here, connection, text)
        return size
    if wanted == 0 or wanted > size:
        return 0
    here.now = now_ms(&here.clock)
    verdict = take_frames(here.front.plane, here.turn, connection.id, connection.listener, data, size, here.now, &taken)
    hand_out(here, connection)
    if not here.turn.due.empty():  # readers wait for it, also if nobody asks any more
        connection.is_unsettled = True
        wait_for_disk(&here.front.jobs, connection.id, &here.turn.due)
    if connection.is_gone:
        if verdict == PARKED and here.turn.parked_ticket:
            forget_ticket(here.front.plane, here.turn, here.turn.parked_ticket)
        return size
    if verdict == PARKED:
        if here.turn.parked_ticket:
            park(here, connection)
    elif verdict == COLD:
        if not is_busy(connection):
            taken += ask(here, connection, data + taken)
    elif verdict != REPLIED and verdict != SILENT:
        end(here, connection, here.front.ends[verdict].c_str())
        taken = size
    return taken


cdef int64_t ask(Worker* here, Connection* connection, const uint8_t* frame) noexcept nogil:
    """A request that is not decided here, to the control plane: its size."""
    cdef int64_t size = frame_bytes(frame, LENGTH_BYTES, here.front.frame_bytes_max)
    cdef Note note
    note.matter, note.connection, note.listener = COLD_REQUEST, connection.id, connection.listener
    note.text.assign(<const char*>frame + LENGTH_BYTES, size - LENGTH_BYTES)
    if not connection.is_known:
        note.peer = peer_of(connection)
    connection.is_known = connection.is_waiting = True
    here.front.held_bytes.add(size - LENGTH_BYTES)  # until the control plane has it in hand
    tell(&here.front.mailbox, &note)
    return size


cdef void park(Worker* here, Connection* connection) noexcept nogil:
    """The request waits for data, or for its deadline."""
    connection.is_waiting = True
    connection.parked_ticket, connection.parked_until_ms = here.turn.parked_ticket, here.turn.parked_until_ms
    here.deadlines.insert(pair[int64_t, int64_t](connection.parked_until_ms, connection.parked_ticket))


cdef void wait_for_more(Worker* here, Connection* connection) noexcept nogil:
    """All was done that could be: what has to happen before there is more to do?"""
    if connection.is_gone:
        return
    if not is_busy(connection):
        if has_frame(connection.buffer + connection.begin, held_bytes(connection), here.front.frame_bytes_max):
            stand_in_row(here, connection)
        elif connection.is_ending:
            leave(here, connection)
            return
        elif held_bytes(connection) > 0:
            go_hungry_no_more(here, connection)  # or it waits for room that it takes itself
    listen_for(here, connection)


cdef void stand_in_row(Worker* here, Connection* connection) noexcept nogil:
    """It goes on when the others had their turn."""
    if not connection.is_ready:
        connection.is_ready = True
        here.ready.push_back(connection.id)


cdef void listen_for(Worker* here, Connection* connection) noexcept nogil:
    """What epoll is to tell of it. Who does not read the answers, or is far ahead of them, is not read from."""
    cdef bint is_far_ahead = (is_busy(connection) or connection.is_ready) and held_bytes(connection) > HELD_BYTES_MAX
    cdef uint32_t events = 0
    if not connection.due.empty():
        events = EPOLLOUT
    elif not connection.is_ending and not connection.is_hungry and not is_far_ahead:
        events = EPOLLIN
    if events != connection.events:
        connection.events = events
        watch(here, EPOLL_CTL_MOD, connection.fd, events, connection.id)


# Answers


cdef void hand_out(Worker* here, Connection* asking) noexcept nogil:
    """The answers of the turn. Those to whom it asked that wait for the disk are kept. `asking` may be NULL."""
    cdef Turn* turn = here.turn
    cdef size_t first = 0, behind
    cdef int64_t whose
    while first < turn.answers.size():
        behind = behind_run(turn, first)
        whose = turn.answers[first].connection
        view_answers(turn, first, behind, &here.pieces)
        if asking != NULL and asking.id == whose:
            answer_asking(here, asking, first >= turn.answers_settled)
        elif thread_of(whose) == here.number:
            answer_here(here, whose)
        else:
            post_pieces(here.front, whose, &here.pieces)
        here.pieces.clear()
        first = behind


cdef void answer_asking(Worker* here, Connection* connection, bint is_unsettled) noexcept nogil:
    """Who asked is answered at once, or when the disk has what it was told of; if it is there."""
    if connection.is_gone:
        return
    if is_unsettled:
        keep_pieces(here, connection, 0, &connection.unsettled)
    else:
        offer(here, connection)


cdef void answer_here(Worker* here, int64_t whose) noexcept nogil:
    """Who waited goes on."""
    cdef Connection* connection
    if here.connections.count(whose) == 0:
        return
    connection = here.connections[whose]
    finish_request(here, connection)
    if connection.is_unsettled:
        keep_pieces(here, connection, 0, &connection.unsettled)
    else:
        offer(here, connection)
    stand_in_row(here, connection)


cdef void finish_request(Worker* here, Connection* connection) noexcept nogil:
    """It has its answer."""
    connection.is_waiting = False
    touch(here, connection)
    if connection.parked_ticket:
        here.deadlines.erase(pair[int64_t, int64_t](connection.parked_until_ms, connection.parked_ticket))
        connection.parked_ticket = 0


cdef void keep_pieces(Worker* here, Connection* connection, size_t at, vector[Piece]* into) noexcept nogil:
    """What cannot be sent yet."""
    if not take_copies(&here.pieces, at, into):
        say_closing(here, connection, b"no memory")
        leave(here, connection)


# Sending


cdef void offer(Worker* here, Connection* connection) noexcept nogil:
    """The pieces that are lent, to the socket; what it does not take is kept."""
    cdef size_t at = 0
    cdef Sent sent = send_now(here, connection, &here.pieces, &at) if connection.due.empty() else SOCKET_IS_FULL
    if sent == SOCKET_IS_FULL and at < here.pieces.size():
        keep_pieces(here, connection, at, &connection.due)
    if not connection.is_gone:
        listen_for(here, connection)


cdef void push(Worker* here, Connection* connection) noexcept nogil:
    """What is due, to the socket; once it has taken all, the connection goes on."""
    if send_now(here, connection, &connection.due, &connection.due_at) == ALL_SENT:
        release_pieces(&connection.due, &here.front.plane.files)
        connection.due_at = 0
        go_on(here, connection)
    elif not connection.is_gone:
        listen_for(here, connection)


cdef Sent send_now(Worker* here, Connection* connection, vector[Piece]* pieces, size_t* at) noexcept nogil:
    """As much as the socket takes. Who is gone, or cannot be given what was promised, leaves."""
    cdef int64_t sent_bytes = 0
    cdef Sent sent = send_pieces(connection.fd, pieces, at, here.send_room, &sent_bytes)
    if sent_bytes > 0:
        here.sent_bytes.add(sent_bytes)
        touch(here, connection)
    if sent == FILE_IS_SHORT:
        say_closing(here, connection, b"a segment cannot be read")
    if sent != ALL_SENT and sent != SOCKET_IS_FULL:
        leave(here, connection)
    return sent


# Letters


cdef void read_letters(Worker* here) noexcept nogil:
    """What other threads want of this one."""
    cdef size_t index
    cdef Letter* letter
    if here.letters.empty():
        take_letters(here.inbox, &here.letters)
    for index in range(here.letters.size()):
        letter = &here.letters[index]
        if letter.errand == ADOPT:
            adopt(here, letter)
        elif letter.errand == WELCOME:
            give_in_turn(here, letter)
        elif here.connections.count(letter.connection):  # THREAD-CONN-2: by an id that nobody has again
            obey(here, here.connections[letter.connection], letter)
        release_pieces(&letter.pieces, &here.front.plane.files)
    here.letters.clear()


cdef void obey(Worker* here, Connection* connection, Letter* letter) noexcept nogil:
    """One errand for a connection."""
    if letter.errand == SETTLED:
        connection.is_unsettled = False
        letter.pieces.swap(connection.unsettled)
    elif letter.errand == DISK_FAILED:
        connection.is_unsettled = False
        release_pieces(&connection.unsettled, &here.front.plane.files)
        give_back(here.front, give_up_buffer(connection))
        end(here, connection, b"the disk failed")
    else:
        finish_request(here, connection)
        if letter.errand == HANG_UP:
            give_back(here.front, give_up_buffer(connection))
            end(here, connection, letter.reason.c_str())
    if connection.is_unsettled:
        move_pieces(&letter.pieces, &connection.unsettled)
    else:
        move_pieces(&letter.pieces, &connection.due)
        push(here, connection)


cdef void move_pieces(vector[Piece]* pieces, vector[Piece]* into) noexcept nogil:
    """From one owner to another."""
    cdef size_t index
    for index in range(pieces.size()):
        into.push_back(pieces[0][index])
    pieces.clear()


# Connections go


cdef void end(Worker* here, Connection* connection, const char* reason) noexcept nogil:
    """Nothing that it has sent is handled any more; the answers already given are still sent. An empty reason was told before."""
    if reason[0] != 0:
        say_closing(here, connection, reason)
    connection.is_ending = True
    connection.is_waiting = False


cdef void leave(Worker* here, Connection* connection) noexcept nogil:
    """It is closed, and nothing is left of it; whoever still has it in hand sees that it is gone."""
    cdef Note note
    if connection.is_gone:
        return
    connection.is_gone = True
    close(connection.fd)
    if connection.parked_ticket:
        here.deadlines.erase(pair[int64_t, int64_t](connection.parked_until_ms, connection.parked_ticket))
        forget_ticket(here.front.plane, here.turn, connection.parked_ticket)
    release_pieces(&connection.due, &here.front.plane.files)
    release_pieces(&connection.unsettled, &here.front.plane.files)
    give_back(here.front, give_up_buffer(connection))
    here.front.hungry.add(-<int>connection.is_hungry)
    here.front.connections.add(-1)
    here.connections.erase(connection.id)
    take_out(here, connection)
    here.gone.push_back(connection)
    if connection.is_known:
        note.matter, note.connection, note.listener = GONE, connection.id, connection.listener
        tell(&here.front.mailbox, &note)


cdef void bury(Worker* here) noexcept nogil:
    """Nobody has those in hand any more who are gone."""
    cdef size_t index
    for index in range(here.gone.size()):
        del here.gone[index]
    here.gone.clear()


# Who was touched when


cdef void touch(Worker* here, Connection* connection) noexcept nogil:
    """Something moved."""
    if here.newest != connection:
        take_out(here, connection)
        put_last(here, connection)
    connection.touched_ms = here.now


cdef void put_last(Worker* here, Connection* connection) noexcept nogil:
    connection.touched_ms = here.now
    connection.older = here.newest
    connection.newer = NULL
    if here.newest != NULL:
        here.newest.newer = connection
    else:
        here.oldest = connection
    here.newest = connection


cdef void take_out(Worker* here, Connection* connection) noexcept nogil:
    if connection.older != NULL:
        connection.older.newer = connection.newer
    else:
        here.oldest = connection.newer
    if connection.newer != NULL:
        connection.newer.older = connection.older
    else:
        here.newest = connection.older


# What is said


cdef int size_said(const uint8_t* frame) noexcept nogil:
    """The length before a frame, as it stands there."""
    return <int32_t>load32(frame)


cdef string peer_of(Connection* connection) noexcept nogil:
    """HOST:PORT."""
    cdef char[TEXT_BYTES] host
    cdef char[TEXT_BYTES] port
    cdef string peer
    if getnameinfo(
        <const sockaddr*>&connection.address.name, connection.address.size, host, TEXT_BYTES, port, TEXT_BYTES, NI_NUMERICHOST | NI_NUMERICSERV
    ):
        return string(b"a client:0")
    peer.assign(<const char*>host).append(<const char*>b":").append(<const char*>port)
    return peer


cdef void say_closing(Worker* here, Connection* connection, const char* reason) noexcept nogil:
    say(here, CLOSING, peer_of(connection), reason)


cdef void say(Worker* here, Matter matter, string peer, const char* text) noexcept nogil:
    """A line for the log."""
    cdef Note note
    note.matter, note.connection, note.listener = matter, 0, 0
    note.peer.swap(peer)
    note.text.assign(text)
    tell(&here.front.mailbox, &note)
