"""Clients by asyncio, where there are no I/O threads: bytes into frames, frames to the node, answers out, in order, with bounded memory.

    socket ──▶ buffer ──▶ every whole frame in it ──▶ node ──▶ outbox, in one write

A connection has one request under way; while that waits, what comes behind it stays in the buffer, then in the kernel, then in the client.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from fiducial.fastpath.node import Action, Node, Send
from fiducial.fastpath.outbox import Outbox
from fiducial.fastpath.server import BACKLOG, Door, Server, Traffic, now_ms
from fiducial.models import apis
from fiducial.models.settings import Settings

log = logging.getLogger("fiducial")

LENGTH_BYTES = 4
#: A buffer begins with this size, and doubles when a read has filled it: beyond what may be kept only for a frame that does not fit. Once it is
#: empty it is given back, if what was in it last would have fitted into a small one, or if it is larger than may be kept.
BUFFER_BYTES, BUFFER_BYTES_KEPT = 1 << 16, 1 << 20
#: So much is read at once, or so many frames as large as the last one: nobody's small requests hold up the others for long.
READ_BYTES, READ_FRAMES = 1 << 18, 8
#: So much is held of who waits for an answer.
HELD_BYTES_MAX = 1 << 20
#: A slice of a file goes from the file to the socket without being read if it is at least so large.
SLICE_BYTES_MIN = 1 << 15


class Connection(asyncio.BufferedProtocol):
    """One client."""

    def __init__(self, server: AsyncioServer, listener: int = 0, address: tuple[str, int] | None = None) -> None:
        """`listener`: by which the client came; `address`: its own, if the socket does not know it."""
        self.server, self.listener, self.address = server, listener, address
        self.id = server.next_id()
        self.buffer = bytearray(BUFFER_BYTES)
        self.begin = self.end = 0  # what of the buffer is not yet handled
        self.frame_bytes = 0  # of the last one
        self.is_busy = False  # a request waits for its answer
        self.is_ending = False  # the client has said all it has to say
        self.touched = time.monotonic()
        self.unsent_bytes = 0  # when it was last looked whether the connection is idle
        self.transport: asyncio.Transport
        self.outbox: Outbox
        self.watchdog: asyncio.TimerHandle

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.outbox = Outbox(self.transport)
        self.server.connections[self.id] = self
        self.address = self.address or self.transport.get_extra_info("peername")[:2]
        self.server.node.connected(self.id, self.address[0], self.listener)
        self.end_if_idle()

    def connection_lost(self, exc: Exception | None) -> None:
        self.watchdog.cancel()
        self.outbox.close()
        self.server.sent_bytes += self.outbox.sent_bytes
        del self.server.connections[self.id]
        self.server.node.disconnected(self.id, now_ms())

    # Reading

    def get_buffer(self, sizehint: int) -> memoryview:
        """Room behind what is not yet handled."""
        held, size = self.end - self.begin, len(self.buffer)
        is_full = self.end == size
        if is_full and (size < BUFFER_BYTES_KEPT or held > size // 2):
            size *= 2
        elif held == 0 and (size > BUFFER_BYTES_KEPT or self.end <= BUFFER_BYTES):
            size = BUFFER_BYTES
        if is_full or held == 0:
            fresh = self.buffer if size == len(self.buffer) else bytearray(size)
            memoryview(fresh)[:held] = memoryview(self.buffer)[self.begin : self.end]
            self.buffer, self.begin, self.end = fresh, 0, held
        return memoryview(self.buffer)[self.end : self.end + max(READ_BYTES, READ_FRAMES * self.frame_bytes)]

    def buffer_updated(self, nbytes: int) -> None:
        self.touched = time.monotonic()
        self.server.received_bytes += nbytes
        self.end += nbytes
        self.go_on()

    def eof_received(self) -> bool:
        """The client has said all; it still hears what is pending."""
        self.is_ending = True
        self.go_on()
        return True

    def has_frame(self) -> bool:
        """Is there a whole frame? A refused size ends the connection once what came before is answered."""
        held = self.end - self.begin
        if held < LENGTH_BYTES:
            return False
        size = int.from_bytes(self.buffer[self.begin : self.begin + LENGTH_BYTES], "big", signed=True)
        if apis.size_is_refused(size, self.server.settings.socket_request_max_bytes):
            log.warning("closing %s: a frame of %d bytes", self.peer(), size)
            self.is_ending = True
            self.begin = self.end
            self.transport.pause_reading()
            return False
        self.frame_bytes = size
        return held - LENGTH_BYTES >= size

    # Answering

    def go_on(self) -> None:
        """Hand over every whole frame until one has to wait or the client does not read; its answers go together."""
        while not self.is_busy and not self.outbox.is_full and not self.transport.is_closing() and self.has_frame():
            self.server.handle(self)
        self.outbox.push()
        if self.is_ending and not self.is_busy and not self.outbox.is_full:
            self.transport.close()
        self.read_or_not()

    def finished(self, answer: Send) -> None:
        """The requests so far have their answers."""
        self.touched = time.monotonic()
        self.is_busy = False
        self.outbox.put(answer)

    def read_or_not(self) -> None:
        """Who does not read the answers, or is far ahead of them, is not read from."""
        if self.outbox.is_full or (self.is_busy and self.end - self.begin > HELD_BYTES_MAX):
            self.transport.pause_reading()
        elif not self.is_ending and not self.transport.is_closing():
            self.transport.resume_reading()

    def pause_writing(self) -> None:
        self.outbox.is_full = True
        self.read_or_not()

    def resume_writing(self) -> None:
        self.outbox.is_full = False
        self.go_on()

    # Ending

    def hang_up(self, reason: str, *, is_our_fault: bool = False) -> None:
        """End the connection; only the answers already given are still sent."""
        log.log(logging.ERROR if is_our_fault else logging.WARNING, "closing %s: %s", self.peer(), reason, exc_info=is_our_fault)
        self.begin = self.end
        self.is_ending, self.is_busy = True, False
        self.go_on()

    def end_if_idle(self) -> None:
        """End once no byte went either way for connections.max.idle.ms, also while a request is under way; else look again later."""
        limit_s = self.server.settings.connections_max_idle_ms / 1000
        unsent_bytes = self.outbox.unsent_bytes()
        if unsent_bytes != self.unsent_bytes:
            self.unsent_bytes, self.touched = unsent_bytes, time.monotonic()
        left_s = self.touched + limit_s - time.monotonic()
        if left_s <= 0:
            log.warning("closing %s: idle for %g s", self.peer(), limit_s)
            self.transport.abort()
        else:
            self.watchdog = asyncio.get_running_loop().call_later(left_s, self.end_if_idle)

    def peer(self) -> str:
        """Who it is, for the log."""
        return "{}:{}".format(*self.address) if self.address else "a client"


class AsyncioServer(Server):
    """The node, and its connections by asyncio."""

    loop: asyncio.AbstractEventLoop

    def __init__(self, node: Node, settings: Settings, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(node, settings, loop)
        self.connections: dict[int, Connection] = {}
        self.ids = 0
        self.received_bytes = 0  # of all clients so far
        self.sent_bytes = 0  # to those that are gone
        self.listeners: list[asyncio.Server] = []
        self.welcoming: set[asyncio.Task[Any]] = set()  # the loop's own references are weak

    def start(self, doors: list[Door]) -> None:
        self.node.core.slice_bytes_min = SLICE_BYTES_MIN  # what is fetched is not read, but sent from where it lies
        self.accepting = self.loop.create_task(self.accept(doors))

    async def accept(self, doors: list[Door]) -> None:
        """Let them come."""
        for listener, one in doors:
            self.listeners.append(await self.loop.create_server(partial(Connection, self, listener), sock=one, backlog=BACKLOG))

    def welcome(self, end: socket.socket, client: socket.socket, listener: int) -> None:
        made = partial(Connection, self, listener, client.getpeername()[:2])
        self.loop.call_soon_threadsafe(self.take_in, made, socket.socket(fileno=end.detach()))

    def take_in(self, made: Callable[[], Connection], end: socket.socket) -> None:
        """A connection more."""
        self.welcoming.add(task := self.loop.create_task(self.loop.connect_accepted_socket(made, end)))
        task.add_done_callback(self.welcoming.discard)

    def stop(self) -> None:
        for listener in self.listeners:
            listener.close()
        for connection in list(self.connections.values()):
            connection.transport.abort()
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()  # until they have heard of it

    def traffic(self) -> Traffic:
        sent_bytes = self.sent_bytes + sum(connection.outbox.sent_bytes for connection in self.connections.values())
        return Traffic(len(self.connections), self.received_bytes, sent_bytes)

    def next_id(self) -> int:
        """A number for a new connection."""
        self.ids += 1
        return self.ids

    def handle(self, connection: Connection) -> None:
        """The next frames of a connection, as many as go into one turn. A fault of ours costs this connection only."""
        frames = memoryview(connection.buffer)[connection.begin : connection.end]
        try:
            taken, waits, actions = self.node.frames(connection.id, frames, now_ms())
        except Exception:
            connection.hang_up("internal error", is_our_fault=True)
            return
        connection.begin += taken
        for action in actions:
            if isinstance(action, Send) and action.connection == connection.id:
                connection.finished(action)
            else:
                self.perform(action)
        connection.is_busy = waits
        self.set_alarm()

    def perform(self, action: Action) -> None:
        """An answer, or the end, of some connection."""
        connection = self.connections.get(action.connection)
        if connection is None:
            return
        if isinstance(action, Send):
            connection.finished(action)
            self.loop.call_soon(self.go_on, action.connection)
        else:
            connection.hang_up(action.reason)

    def go_on(self, number: int) -> None:
        """A connection goes on, if it is still there."""
        if number in self.connections:
            self.connections[number].go_on()

    def deadline(self) -> int:
        """When the first waiting fetch gives up, or something is to happen to a group (ms); -1: nobody waits."""
        return self.node.deadline()

    def expire(self, now: int) -> list[Action]:
        return self.node.expire(now)
