"""The reference broker on a socket: one asyncio loop, frames in, answers out, in order, with bounded memory.

A connection that sends faster than it is answered, or does not read its answers, is not read from until it does.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Mapping
from typing import cast

from fiducial.models import apis
from fiducial.models.settings import Settings, parse
from fiducial.models.state import Cluster
from fiducial.reference.core import Action, Core, Hangup, Send, Wake

log = logging.getLogger("fiducial")

#: A connection with this much unread in its queue is not read from.
QUEUED_BYTES_MAX = 1 << 20


def now_ms() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000


class Connection(asyncio.Protocol):
    """One client: bytes into frames, frames to the core one at a time, answers back."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.id = server.next_id()
        self.buffer = bytearray()
        self.frames: deque[bytes] = deque()
        self.queued_bytes = 0
        self.busy = False
        self.is_blocked = False  # the client does not read its answers
        self.is_ending = False  # the client has said all it has to say
        self.touched = time.monotonic()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.server.connections[self.id] = self

    def connection_lost(self, exc: Exception | None) -> None:
        del self.server.connections[self.id]
        self.frames.clear()
        self.server.perform(self.server.core.disconnected(self.id, now_ms()))

    def data_received(self, data: bytes) -> None:
        self.touched = time.monotonic()
        self.buffer += data
        self.cut()
        self.go_on()

    def eof_received(self) -> bool:
        self.is_ending = True
        self.end_if_done()
        return True  # pending answers are still sent

    def pause_writing(self) -> None:
        self.is_blocked = True

    def resume_writing(self) -> None:
        self.is_blocked = False
        self.go_on()

    def cut(self) -> None:
        """Whole frames out of the buffer; a refused size ends the connection once what came before is answered."""
        position = 0
        while len(self.buffer) - position >= 4:
            size = int.from_bytes(self.buffer[position : position + 4], "big", signed=True)
            if apis.size_is_refused(size, self.server.settings.socket_request_max_bytes):
                self.refuse(f"a frame of {size} bytes")
                return
            if len(self.buffer) - position - 4 < size:
                break
            self.frames.append(bytes(self.buffer[position + 4 : position + 4 + size]))
            self.queued_bytes += size
            position += 4 + size
        del self.buffer[:position]

    def refuse(self, reason: str) -> None:
        """Read no more; end when the frames before are answered."""
        self.buffer.clear()
        self.is_ending = True
        self.transport.pause_reading()
        log.warning("closing %s: %s", self.peer(), reason)
        self.end_if_done()

    def go_on(self) -> None:
        """Hand over the next frames, while the client reads its answers."""
        while self.frames and not self.busy and not self.is_blocked and not self.transport.is_closing():
            frame = self.frames.popleft()
            self.queued_bytes -= len(frame)
            self.busy = True
            self.server.handle(self, frame)
        if self.transport.is_closing():
            return
        if self.queued_bytes > QUEUED_BYTES_MAX or self.is_blocked:
            self.transport.pause_reading()
        elif not self.is_ending:
            self.transport.resume_reading()
        self.end_if_done()

    def finished(self, data: bytes) -> None:
        """The request under way has its answer."""
        self.touched = time.monotonic()
        self.busy = False
        if data:
            self.transport.write(data)

    def end_if_done(self) -> None:
        """Close once the client has said all and heard all."""
        if self.is_ending and not self.busy and not self.frames:
            self.transport.close()

    def hang_up(self, reason: str) -> None:
        """End the connection now."""
        log.warning("closing %s: %s", self.peer(), reason)
        self.frames.clear()
        self.transport.close()

    def peer(self) -> str:
        """Who it is, for the log."""
        address = self.transport.get_extra_info("peername")
        return f"{address[0]}:{address[1]}" if address else "a client"


class Server:
    """The core, its connections and its timers."""

    def __init__(self, cluster: Cluster, settings: Settings, seed: int) -> None:
        self.settings = settings
        self.core = Core(cluster, settings, seed)
        self.connections: dict[int, Connection] = {}
        self.timers: dict[int, asyncio.TimerHandle] = {}
        self.ids = 0

    def next_id(self) -> int:
        """A number for a new connection."""
        self.ids += 1
        return self.ids

    def handle(self, connection: Connection, frame: bytes) -> None:
        """One request; a fault of ours costs this connection only."""
        try:
            actions = self.core.frame(connection.id, frame, now_ms())
        except Exception:
            log.exception("internal error on a request of %s", connection.peer())
            connection.hang_up("internal error")
            return
        self.perform(actions)

    def perform(self, actions: list[Action]) -> None:
        """Do what the core says, and let the connections that were answered go on."""
        answered: list[Connection] = []
        for action in actions:
            match action:
                case Send(connection_id, data):
                    if connection_id in self.connections:
                        self.connections[connection_id].finished(data)
                        answered.append(self.connections[connection_id])
                case Hangup(connection_id, reason):
                    if connection_id in self.connections:
                        self.connections[connection_id].hang_up(reason)
                case Wake(ticket, at_ms):
                    self.set_timer(ticket, at_ms)
        for connection in answered:
            asyncio.get_running_loop().call_soon(connection.go_on)

    def set_timer(self, ticket: int, at_ms: int | None) -> None:
        """Set or clear the timer of a ticket."""
        previous = self.timers.pop(ticket, None)
        if previous is not None:
            previous.cancel()
        if at_ms is not None:
            delay_s = max(at_ms - now_ms(), 0) / 1000
            self.timers[ticket] = asyncio.get_running_loop().call_later(delay_s, self.fire, ticket)

    def fire(self, ticket: int) -> None:
        """A timer's time has come."""
        self.timers.pop(ticket, None)
        self.perform(self.core.timer(ticket, now_ms()))

    async def keep_house(self) -> None:
        """Retention and expiry, for ever."""
        while True:
            await asyncio.sleep(self.settings.log_retention_check_interval_ms / 1000)
            self.perform(self.core.housekeeping(now_ms()))

    async def close_idle(self) -> None:
        """Connections on which nothing was read or written for connections.max.idle.ms, also in the middle of a request."""
        limit_s = self.settings.connections_max_idle_ms / 1000
        while True:
            await asyncio.sleep(min(limit_s / 4, 10.0))
            for connection in list(self.connections.values()):
                if time.monotonic() - connection.touched > limit_s:
                    connection.hang_up(f"idle for {limit_s:g} s")


async def serve(host: str, port: int, settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    holder: list[Server] = []
    listener = await loop.create_server(lambda: Connection(holder[0]), host, port, start_serving=False)
    port = listener.sockets[0].getsockname()[1]
    cluster_id = base64.urlsafe_b64encode(os.urandom(16)).decode().rstrip("=")
    server = Server(Cluster(cluster_id, settings.broker_id, host, port), settings, int.from_bytes(os.urandom(8), "big"))
    holder.append(server)
    await listener.start_serving()
    print(f"listening on {host}:{port}", flush=True)
    print(f"try: kcat -b {host}:{port} -L", flush=True)
    tasks = [asyncio.create_task(server.keep_house()), asyncio.create_task(server.close_idle())]
    await stop.wait()
    for task in tasks:
        task.cancel()
    listener.close()
    for connection in list(server.connections.values()):
        connection.transport.abort()


def run(host: str, port: int, settings: Mapping[str, str]) -> int:
    """Serve from memory until told to stop; the exit status. SettingError for a setting that is not accepted."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    parsed = parse(settings)
    try:
        asyncio.run(serve(host, port, parsed))
    except OSError as error:
        print(f"fiducial: cannot listen on {host}:{port}: {error}", file=sys.stderr)
        return 1
    return 0
