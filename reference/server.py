"""The reference broker on a socket: one asyncio loop, frames in, answers out, in order, with bounded memory.

    bytes ──▶ buffer ──cut──▶ frames ──one at a time──▶ core ──▶ answer ──▶ the client

A connection has one request under way; what comes behind it waits in `frames`, then in the kernel, then in the client.
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
from collections.abc import Mapping, Sequence
from functools import partial
from typing import cast

from fiducial.models import apis
from fiducial.models.clock import Clock
from fiducial.models.groups import Alarm
from fiducial.models.rules import rule
from fiducial.models.settings import SSL, Listener, SettingError, Settings, advertised, listeners_of, parse
from fiducial.models.state import SEED_BYTES, Chance, Cluster
from fiducial.reference.core import Action, Core, Hangup, Send, Wake

log = logging.getLogger("fiducial")

#: A connection with this much waiting in `frames` is not read from.
QUEUED_BYTES_MAX = 1 << 20
#: Connections that the kernel holds until they are accepted.
BACKLOG = 1024

now_ms = Clock(time.time_ns, time.monotonic_ns).now_ms


class Connection(asyncio.Protocol):
    """One client: bytes into frames, frames to the core one at a time, answers back."""

    def __init__(self, server: Server, listener: int = 0) -> None:
        self.server, self.listener = server, listener
        self.id = server.next_id()
        self.buffer = bytearray()  # less than one frame, as far as it has come
        self.frames: deque[bytes] = deque()
        self.queued_bytes = 0
        self.busy = False  # a request is under way
        self.is_blocked = False  # the client does not read its answers
        self.is_ending = False  # the client has said all it has to say
        self.touched = time.monotonic()
        self.unsent_bytes = 0  # when it was last looked whether the connection is idle
        self.transport: asyncio.Transport
        self.watchdog: asyncio.TimerHandle

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.server.connections[self.id] = self
        self.server.core.connected(self.id, self.transport.get_extra_info("peername")[0], self.listener)
        self.end_if_idle()

    def connection_lost(self, exc: Exception | None) -> None:
        self.watchdog.cancel()
        del self.server.connections[self.id]
        self.server.perform(self.server.core.disconnected(self.id, now_ms()))

    # Reading

    def data_received(self, data: bytes) -> None:
        self.touched = time.monotonic()
        self.buffer += data
        self.cut()
        self.go_on()

    @rule("WIRE-FRAME-12")
    def eof_received(self) -> bool:
        """The client has said all; it still hears what is pending."""
        self.is_ending = True
        self.end_if_done()
        return True

    def cut(self) -> None:
        """Whole frames out of the buffer; a refused size ends the connection once what came before is answered."""
        position = 0
        with memoryview(self.buffer) as view:
            while len(view) - position >= 4:
                size = int.from_bytes(view[position : position + 4], "big", signed=True)
                if apis.size_is_refused(size, self.server.settings.socket_request_max_bytes):
                    log.warning("closing %s: a frame of %d bytes", self.peer(), size)
                    self.is_ending = True
                    self.transport.pause_reading()
                    break
                if len(view) - position - 4 < size:
                    break
                self.frames.append(bytes(view[position + 4 : position + 4 + size]))
                self.queued_bytes += size
                position += 4 + size
        del self.buffer[:position]

    @rule("WIRE-FRAME-14")
    def read_or_not(self) -> None:
        """Who does not read the answers, or is far ahead of them, is not read from."""
        if self.is_blocked or self.queued_bytes > QUEUED_BYTES_MAX:
            self.transport.pause_reading()
        elif not self.is_ending:
            self.transport.resume_reading()

    # Answering

    @rule("WIRE-FRAME-10")
    def go_on(self) -> None:
        """Hand over the next frame once the one before is answered and the client reads; other connections get their turn between."""
        if self.transport.is_closing():
            return
        if self.frames and not self.busy and not self.is_blocked:
            frame = self.frames.popleft()
            self.queued_bytes -= len(frame)
            self.busy = True
            self.server.handle(self, frame)
        self.read_or_not()
        self.end_if_done()

    def finished(self, data: bytes) -> None:
        """The request under way has its answer."""
        self.touched = time.monotonic()
        self.busy = False
        if data:
            self.transport.write(data)
        asyncio.get_running_loop().call_soon(self.go_on)

    def pause_writing(self) -> None:
        self.is_blocked = True
        self.read_or_not()

    def resume_writing(self) -> None:
        self.is_blocked = False
        self.go_on()

    # Ending

    def end_if_done(self) -> None:
        """Close once the client has said all and heard all."""
        if self.is_ending and not self.busy and not self.frames:
            self.transport.close()

    def hang_up(self, reason: str, *, is_our_fault: bool = False) -> None:
        """End the connection; only the answers already given are still sent."""
        log.log(logging.ERROR if is_our_fault else logging.WARNING, "closing %s: %s", self.peer(), reason, exc_info=is_our_fault)
        self.transport.close()

    @rule("WIRE-FRAME-13")
    def end_if_idle(self) -> None:
        """End once no byte went either way for connections.max.idle.ms, also while a request is under way; else look again later."""
        limit_s = self.server.settings.connections_max_idle_ms / 1000
        unsent_bytes = self.transport.get_write_buffer_size()
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
        address = self.transport.get_extra_info("peername")
        return f"{address[0]}:{address[1]}" if address else "a client"


class Server:
    """The core, its connections and its timers."""

    def __init__(self, cluster: Cluster, settings: Settings, seed: int) -> None:
        self.settings = settings
        self.core = Core(cluster, settings, seed)
        self.connections: dict[int, Connection] = {}
        self.timers: dict[int | Alarm, asyncio.TimerHandle] = {}
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
            connection.hang_up("internal error", is_our_fault=True)
            return
        self.perform(actions)

    def perform(self, actions: list[Action]) -> None:
        """Do what the core says; a connection that is gone needs nothing any more."""
        for action in actions:
            match action:
                case Send(connection_id, data):
                    if connection_id in self.connections:
                        self.connections[connection_id].finished(data)
                case Hangup(connection_id, reason):
                    if connection_id in self.connections:
                        self.connections[connection_id].hang_up(reason)
                case Wake(ticket, at_ms):
                    self.set_timer(ticket, at_ms)

    def set_timer(self, ticket: int | Alarm, at_ms: int | None) -> None:
        """Set or clear the timer of a ticket, or an alarm."""
        previous = self.timers.pop(ticket, None)
        if previous is not None:
            previous.cancel()
        if at_ms is not None:
            delay_s = max(at_ms - now_ms(), 0) / 1000
            self.timers[ticket] = asyncio.get_running_loop().call_later(delay_s, self.fire, ticket)

    def fire(self, ticket: int | Alarm) -> None:
        """A timer's time has come."""
        self.timers.pop(ticket, None)
        self.perform(self.core.wake(ticket, now_ms()))

    def keep_house(self) -> None:
        """Retention and expiry, now and every log.retention.check.interval.ms."""
        interval_s = self.settings.log_retention_check_interval_ms / 1000
        asyncio.get_running_loop().call_later(interval_s, self.keep_house)
        self.perform(self.core.housekeeping(now_ms()))

    def expire_offsets(self) -> None:
        """Old offsets, now and every offsets.retention.check.interval.ms."""
        interval_s = self.settings.offsets_retention_check_interval_ms / 1000
        asyncio.get_running_loop().call_later(interval_s, self.expire_offsets)
        self.perform(self.core.expiry(now_ms()))


def begun(settings: Settings, addresses: Sequence[tuple[str, int]]) -> Server:
    """A broker that holds nothing, where clients find it by each listener."""
    drawn, _ = Chance(int.from_bytes(os.urandom(SEED_BYTES))).uuid()
    cluster_id = base64.urlsafe_b64encode(drawn).decode().rstrip("=")
    first, *others = addresses
    cluster = Cluster(cluster_id, settings.broker_id, *first, others=tuple(others))
    return Server(cluster, settings, int.from_bytes(os.urandom(SEED_BYTES)))


async def serve(listeners: Sequence[Listener], settings: Settings) -> int:
    """Serve until SIGINT or SIGTERM; the exit status."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    server: Server  # made when the ports are known, before anybody is let in

    def connection_of(listener: int) -> Connection:
        return Connection(server, listener)

    opened, there = list[asyncio.Server](), list[Listener]()
    for index, one in enumerate(listeners):
        try:
            opened.append(await loop.create_server(partial(connection_of, index), one.host, one.port, backlog=BACKLOG, start_serving=False))
        except (OSError, UnicodeError) as error:
            print(f"fiducial: cannot listen on {one.host}:{one.port}: {error}", file=sys.stderr)
            return 1
        there.append(one.bound(*opened[-1].sockets[0].getsockname()[:2]))
    server = begun(settings, advertised(settings, there))
    server.keep_house()
    server.expire_offsets()
    for listener, one in zip(opened, there, strict=True):
        await listener.start_serving()
        address = f"[{one.host}]:{one.port}" if ":" in one.host else f"{one.host}:{one.port}"
        print(f"listening on {address}\ntry: kcat -b {address} -L", flush=True)
    await stop.wait()
    return 0  # the process ends, and every connection with it


def run(places: Sequence[tuple[str, str, int]], settings: Mapping[str, str]) -> int:
    """Serve from memory until told to stop, by a listener at each of these places (name, host, port); the exit status. SettingError for a setting
    that is not accepted."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    parsed = parse(settings)
    listeners = listeners_of(parsed, places)
    if any(one.protocol == SSL for one in listeners):
        raise SettingError("--listen: the reference broker does not speak TLS")
    advertised(parsed, listeners)
    return asyncio.run(serve(listeners, parsed))
