# distutils: language = c++
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The epoll driver, as the control plane has it: I/O threads and flushers, which it starts, hears, answers and stops.

    clients ◀──▶ I/O threads ──▶ notes ──▶ the control plane
                     ▲                          │
                     └──────── letters ◀────────┘

The threads run no Python. They take no signal, and do not live on in a process that is forked off.
"""

from libc.errno cimport errno
from libc.stdint cimport int64_t
from libcpp.vector cimport vector
from posix.unistd cimport close, getpid

from fiducial.fastpath.core cimport Core
from fiducial.fastpath.flusher cimport FLUSHERS, Flusher, run_flusher
from fiducial.fastpath.frames cimport free_turn, new_turn
from fiducial.fastpath.front cimport THREADS_MAX, Door, Front, give_back, thread_of
from fiducial.fastpath.mail cimport ANSWER, HANG_UP, WELCOME, Letter, Note, close_jobs, open_jobs, open_mailbox, post, ring, take_notes
from fiducial.fastpath.mail cimport CLOSING as CLOSING_
from fiducial.fastpath.mail cimport COLD_REQUEST as COLD_REQUEST_
from fiducial.fastpath.mail cimport GONE as GONE_
from fiducial.fastpath.mail cimport TROUBLE as TROUBLE_
from fiducial.fastpath.sending cimport Piece, copied_piece
from fiducial.fastpath.system cimport SIG_SETMASK, getpeername, pthread_create, pthread_join, pthread_sigmask, pthread_t, sigfillset, sigset_t, sockaddr, sockaddr_in6
from fiducial.fastpath.workers cimport Worker, free_worker, new_worker, run_worker

import os

cdef int64_t IDLE_MS_MAX = 1 << 60  # for ever; a time and this are a time

#: What a note is about: a request that the control plane has to answer, a connection that it knows and that is no more, and two kinds of lines
#: for the log: that a connection is closed, and whatever else went wrong.
COLD_REQUEST, GONE, CLOSING, TROUBLE = COLD_REQUEST_, GONE_, CLOSING_, TROUBLE_


cdef class Driver:
    """Threads that serve the clients of one core, for as long as it is there. OSError if they cannot be had."""

    cdef Front* front
    cdef vector[Worker*] workers
    cdef vector[Flusher*] flushers
    cdef vector[pthread_t] threads
    cdef Core core
    cdef int owner  # the process that they run in

    def __cinit__(self) -> None:
        self.front = new Front()
        self.front.mailbox.bell = self.front.jobs.bell = -1
        self.owner = getpid()

    def __init__(self, core: Core, doors: list[tuple[int, int]], threads: int, settings: object, ends: dict[int, str]) -> None:
        """`doors`: descriptors of sockets that listen, and do not block, each with the number of its listener; `ends`: why a verdict ends a
        connection."""
        cdef int number
        cdef Worker* worker
        self.core = core
        self.front.plane = core.plane
        core.draw_session_ids_here()  # nobody but the control plane's own thread may change it
        for fd, listener in doors:
            self.front.doors.push_back(Door(fd, listener))
        self.front.idle_ms = min(settings.connections_max_idle_ms, IDLE_MS_MAX)
        self.front.frame_bytes_max = settings.socket_request_max_bytes
        self.front.held_bytes_max = settings.queued_max_request_bytes
        self.front.ends.resize(max(ends) + 1)
        for verdict, reason in ends.items():
            self.front.ends[<int>verdict] = reason.encode()
        if not open_mailbox(&self.front.mailbox) or not open_jobs(&self.front.jobs):
            raise OSError(errno, os.strerror(errno))
        for number in range(min(threads, THREADS_MAX)):
            worker = new_worker(self.front, number)
            if worker == NULL:
                raise OSError(errno, os.strerror(errno))
            self.workers.push_back(worker)
            self.front.inboxes.push_back(worker.inbox)

    def start(self) -> None:
        """Serve from now on."""
        cdef sigset_t every, before
        cdef size_t index
        cdef int result
        sigfillset(&every)
        pthread_sigmask(SIG_SETMASK, &every, &before)  # what a thread is born with
        result = 0
        for index in range(<size_t>FLUSHERS):
            self.flushers.push_back(new Flusher())
            self.flushers.back().front, self.flushers.back().turn = self.front, new_turn(self.front.plane)
            result = result or self.run(run_flusher, self.flushers.back())
        for index in range(self.workers.size()):
            result = result or self.run(run_worker, self.workers[index])
        pthread_sigmask(SIG_SETMASK, &before, NULL)
        if result:
            self.stop()
            raise OSError(result, os.strerror(result))

    cdef int run(self, void* (*work)(void*) noexcept nogil, void* argument):
        """One thread more; or the errno."""
        cdef pthread_t thread
        cdef int result = pthread_create(&thread, NULL, work, argument)
        if result == 0:
            self.threads.push_back(thread)
        return result

    def stop(self) -> None:
        """Serve no more: every connection is closed, and what was not answered will not be."""
        cdef size_t index
        if getpid() != self.owner:
            return
        self.front.is_stopping.set(1)
        for index in range(self.front.inboxes.size()):
            ring(self.front.inboxes[index].bell)
        for index in range(self.flushers.size()):
            ring(self.front.jobs.bell)
        with nogil:
            for index in range(self.threads.size()):
                pthread_join(self.threads[index], NULL)
            self.threads.clear()
            self.front.inboxes.clear()  # nobody rings for a thread that is no more: who is closed gives room back
            for index in range(self.workers.size()):
                free_worker(self.workers[index])
            self.workers.clear()
            for index in range(self.flushers.size()):
                free_turn(self.flushers[index].turn)
                del self.flushers[index]
            self.flushers.clear()

    def __dealloc__(self) -> None:
        if getpid() != self.owner:
            return
        self.stop()
        close_jobs(&self.front.jobs)
        close(self.front.mailbox.bell)
        del self.front

    # What the threads say

    def fileno(self) -> int:
        """Readable when there are notes."""
        return self.front.mailbox.bell

    def notes(self) -> list[tuple[int, int, int, str, bytes]]:
        """(what it is about, connection, its listener, HOST:PORT, text), in order. Of a cold request the text is its frame, without the length; from where it
        comes is said with the first of its connection."""
        cdef vector[Note] taken
        cdef int64_t unsaid, asked_bytes = 0
        cdef size_t index
        with nogil:
            unsaid = take_notes(&self.front.mailbox, &taken)
            for index in range(taken.size()):
                asked_bytes += taken[index].text.size() if taken[index].matter == COLD_REQUEST_ else 0
            give_back(self.front, asked_bytes)
        found = []
        for index in range(taken.size()):
            note = &taken[index]
            found.append((<int>note.matter, note.connection, note.listener, (<bytes>note.peer).decode(), <bytes>note.text))
        if unsaid:
            found.append((TROUBLE, 0, 0, "", b"%d lines more were left out here" % unsaid))
        return found

    # What they are told

    def welcome(self, int fd, int client, int listener) -> None:
        """A connection more: this descriptor, ours from now on, as if the client of the other had connected. OSError if that is gone."""
        cdef Letter letter
        letter.errand, letter.connection, letter.fd, letter.listener = WELCOME, 0, fd, listener
        letter.address.size = sizeof(sockaddr_in6)
        if getpeername(client, <sockaddr*>&letter.address.name, &letter.address.size) < 0:
            close(fd)
            raise OSError(errno, os.strerror(errno))
        self.send(&letter)  # to the thread of connection 0, which accepts them all

    def answer(self, int64_t connection, bytes data not None) -> None:
        """Send this, if anything: the connection's requests so far are finished. Nothing, if it is gone."""
        cdef Letter letter
        cdef Piece piece
        letter.errand, letter.connection = ANSWER, connection
        if data:
            if not copied_piece(data, len(data), &piece):
                raise MemoryError
            letter.pieces.push_back(piece)
        self.send(&letter)

    def hang_up(self, int64_t connection, str reason) -> None:
        """End the connection; only the answers already given are still sent. The reason is told for the log, if there is one."""
        cdef Letter letter
        letter.errand, letter.connection, letter.reason = HANG_UP, connection, reason.encode()
        self.send(&letter)

    cdef void send(self, Letter* letter) noexcept:
        cdef size_t number = thread_of(letter.connection)
        if number < self.front.inboxes.size():
            with nogil:
                post(self.front.inboxes[number], letter)

    # What they have done

    @property
    def connections(self) -> int:
        """How many clients there are."""
        return self.front.connections.get()

    @property
    def received_bytes(self) -> int:
        """Of all clients so far."""
        cdef size_t index
        cdef int64_t found = 0
        for index in range(self.workers.size()):
            found += self.workers[index].received_bytes.get()
        return found

    @property
    def sent_bytes(self) -> int:
        """To all clients so far."""
        cdef size_t index
        cdef int64_t found = 0
        for index in range(self.workers.size()):
            found += self.workers[index].sent_bytes.get()
        return found

    @property
    def held_bytes(self) -> int:
        """The memory that holds what clients have sent, and cannot be handled yet."""
        return self.front.held_bytes.get()
