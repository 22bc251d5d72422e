"""The fast path on sockets: `fiducial serve`, and what happens by the clock. Nothing is decided here.

By asyncio, where there is nothing better: bytes into frames, frames to the node, answers out, in order, with bounded memory.

    socket ──▶ buffer ──▶ every whole frame in it ──▶ node ──▶ outbox, in one write

A connection has one request under way; while that waits, what comes behind it stays in the buffer, then in the kernel, then in the client.

On Linux by threads of their own (`epoll.pyx`), which do the same without Python, and give here what they do not answer themselves.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import gc
import logging
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from fiducial.fastpath.core import StorageFailed
from fiducial.fastpath.data import DataError
from fiducial.fastpath.metrics import Exporter
from fiducial.fastpath.node import ENDS, Action, Node, Progress, Send
from fiducial.fastpath.outbox import Outbox
from fiducial.models import apis
from fiducial.models.clock import Clock
from fiducial.models.settings import Settings, advertised, parse
from fiducial.models.state import Cluster

if sys.platform == "linux":
    from fiducial.fastpath import epoll

log = logging.getLogger("fiducial")

#: Who moves the bytes.
EPOLL, ASYNCIO = "epoll", "asyncio"
DRIVER = EPOLL if sys.platform == "linux" else ASYNCIO
#: I/O threads, at most, where nobody says how many.
THREADS_MAX = 4

LENGTH_BYTES = 4
#: A buffer begins with this size, and doubles when a read has filled it: beyond what may be kept only for a frame that does not fit. Once it is
#: empty it is given back, if what was in it last would have fitted into a small one, or if it is larger than may be kept.
BUFFER_BYTES, BUFFER_BYTES_KEPT = 1 << 16, 1 << 20
#: So much is read at once, or so many frames as large as the last one: nobody's small requests hold up the others for long.
READ_BYTES, READ_FRAMES = 1 << 18, 8
#: So much is held of who waits for an answer.
HELD_BYTES_MAX = 1 << 20
#: The kernel's buffer for what is sent: more than a large answer needs makes sending dearer, not faster. It may double it.
SEND_BUFFER_BYTES = 1 << 18
#: A slice of a file goes from the file to the socket without being read if it is at least so large.
SLICE_BYTES_MIN = 1 << 15
#: Values refer to no value that refers to them, and go when nothing needs them: the collector, which goes through all that there are, looks for
#: cycles when so many more were made than have gone, not after every 700.
COLLECTED_AFTER = 50_000
#: Connections that the kernel holds until they are accepted.
BACKLOG = 1024
#: How often is looked for segments that are to be forced to the disk, and how often the recovery points are written down (s).
FLUSH_S, CHECKPOINT_S = 0.1, 60.0
#: A start that takes longer than this is told of, as often (s).
PATIENCE_S = 1.0

now_ms = Clock(time.time_ns, time.monotonic_ns).now_ms


class Connection(asyncio.BufferedProtocol):
    """One client."""

    def __init__(self, server: Server) -> None:
        self.server = server
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
        self.server.node.connected(self.id, self.transport.get_extra_info("peername")[0])
        self.end_if_idle()

    def connection_lost(self, exc: Exception | None) -> None:
        self.watchdog.cancel()
        self.outbox.close()
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
        address = self.transport.get_extra_info("peername")
        return f"{address[0]}:{address[1]}" if address else "a client"


class Server:
    """The node, its connections by asyncio, and what happens by the clock."""

    def __init__(self, node: Node, settings: Settings) -> None:
        self.node, self.settings = node, settings
        self.connections: dict[int, Connection] = {}
        self.ids = 0
        self.alarm: asyncio.TimerHandle | None = None
        self.alarm_ms = -1

    async def start(self, listener: asyncio.Server) -> None:
        """Let clients come."""
        self.node.core.slice_bytes_min = SLICE_BYTES_MIN
        await listener.start_serving()

    async def stop(self) -> None:
        """Close every connection."""
        for connection in list(self.connections.values()):
            connection.transport.abort()
        await asyncio.sleep(0)

    def count(self) -> int:
        """How many clients there are."""
        return len(self.connections)

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
            asyncio.get_running_loop().call_soon(connection.go_on)
        else:
            connection.hang_up(action.reason)

    def set_alarm(self) -> None:
        """Be woken when something is to happen by the clock."""
        deadline_ms = self.deadline()
        if deadline_ms == self.alarm_ms and self.alarm is not None:
            return
        if self.alarm is not None:
            self.alarm.cancel()
            self.alarm = None
        self.alarm_ms = deadline_ms
        if deadline_ms >= 0:
            self.alarm = asyncio.get_running_loop().call_later(max(deadline_ms - now_ms(), 0) / 1000, self.wake)

    def wake(self) -> None:
        """The time has come that was waited for."""
        self.alarm = None
        for action in self.expire(now_ms()):
            self.perform(action)
        self.set_alarm()

    def deadline(self) -> int:
        """When the first waiting fetch gives up, or something is to happen to a group (ms); -1: nobody waits."""
        return self.node.deadline()

    def expire(self, now: int) -> list[Action]:
        """What comes of it."""
        return self.node.expire(now)

    async def keep_house(self) -> None:
        """Retention and expiry, for ever."""
        while True:
            await asyncio.sleep(self.settings.log_retention_check_interval_ms / 1000)
            for action in self.node.housekeeping(now_ms()):
                self.perform(action)

    async def expire_offsets(self) -> None:
        """Old offsets, for ever; not at the start: whoever reads on from them is given time to come back."""
        while True:
            await asyncio.sleep(self.settings.offsets_retention_check_interval_ms / 1000)
            for action in self.node.expiry(now_ms()):
                self.perform(action)

    async def flush(self) -> None:
        """Sealed segments, and active ones whose flush.ms has come, to the disk; in a thread, since it may take long."""
        written = time.monotonic()
        core = self.node.core
        try:
            while True:
                await asyncio.sleep(FLUSH_S)
                core.check_storage()
                segments = core.unsynced(now_ms())
                if segments:
                    failed = await asyncio.get_running_loop().run_in_executor(None, core.sync, [segment[4] for segment in segments])
                    self.node.synced(segments, failed)
                if time.monotonic() - written > CHECKPOINT_S:
                    written = time.monotonic()
                    self.node.checkpoint()
        except OSError as error:
            log.critical("the log directory is offline for writing, until a restart: %s", error)
            core.fail(error.errno or errno.EIO)


class ThreadedServer(Server):
    """The same, where I/O threads have the connections. Fetches that wait are theirs too."""

    def __init__(self, node: Node, settings: Settings) -> None:
        super().__init__(node, settings)
        self.peers: dict[int, str] = {}  # of the connections that asked something here
        self.listening: list[socket.socket] = []
        self.driver: epoll.Driver

    async def start(self, listener: asyncio.Server) -> None:
        """Let clients come."""
        self.listening = [one.dup() for one in listener.sockets]
        for one in self.listening:
            one.listen(BACKLOG)
        threads = self.settings.num_network_threads or min(os.cpu_count() or 1, THREADS_MAX)
        self.driver = epoll.Driver(self.node.core, [one.fileno() for one in self.listening], threads, self.settings, ENDS)
        asyncio.get_running_loop().add_reader(self.driver.fileno(), self.hear)
        self.driver.start()

    async def stop(self) -> None:
        """Close every connection."""
        self.driver.stop()
        asyncio.get_running_loop().remove_reader(self.driver.fileno())
        self.hear()
        for one in self.listening:
            one.close()

    def count(self) -> int:
        """How many clients there are."""
        return self.driver.connections

    def hear(self) -> None:
        """What the threads have to say."""
        for matter, connection, peer, text in self.driver.notes():
            match matter:
                case epoll.COLD_REQUEST:
                    self.ask(connection, peer, text)
                case epoll.GONE:
                    del self.peers[connection]
                    self.node.disconnected(connection, now_ms())
                case epoll.CLOSING:
                    log.warning("closing %s: %s", peer, text.decode())
                case _:
                    log.warning("%s", text.decode())
        self.set_alarm()

    def ask(self, connection: int, peer: str, frame: bytes) -> None:
        """A request that is not hot. A fault of ours costs its connection only."""
        if peer:
            self.peers[connection] = peer
            self.node.connected(connection, peer.rpartition(":")[0])
        try:
            actions = self.node.cold(connection, frame, now_ms())
        except Exception:
            log.exception("closing %s: internal error", self.peers[connection])
            self.driver.hang_up(connection, "")
            return
        for action in actions:
            self.perform(action)

    def perform(self, action: Action) -> None:
        """An answer, or the end, of some connection."""
        if isinstance(action, Send):
            self.driver.answer(action.connection, action.data)
        else:
            self.driver.hang_up(action.connection, action.reason)

    def deadline(self) -> int:
        """When something is to happen to a group (ms); -1: nothing."""
        return self.node.alarms.first_ms()

    def expire(self, now: int) -> list[Action]:
        """What comes of it."""
        return self.node.ring_due(now)


class Teller:
    """Tells of a start that takes long, once a second."""

    def __init__(self) -> None:
        self.due = time.monotonic() + PATIENCE_S
        self.has_told = False

    def __call__(self, progress: Progress) -> None:
        is_done = progress.partitions == progress.partitions_all and progress.group_bytes in (0, progress.group_bytes_all)
        if time.monotonic() < self.due and not (is_done and self.has_told):
            return
        self.due = time.monotonic() + PATIENCE_S
        self.has_told = not is_done
        said = f"loading: {progress.partitions} of {progress.partitions_all} partitions, {progress.read_bytes >> 20} of {progress.read_bytes_all >> 20} MiB"
        if progress.group_bytes:
            said = f"reading groups: {progress.group_bytes >> 20} of {progress.group_bytes_all >> 20} MiB"
        print(f"\r{said}", end="\n" if is_done else "", file=sys.stderr, flush=True)


async def serve(host: str, port: int, data: Path, settings: Settings, metrics: tuple[str, int] | None, driver: str) -> int:
    """Serve until SIGINT or SIGTERM; then everything is on the disk. The exit status."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    holder: list[Server] = []
    try:
        listener = await loop.create_server(lambda: Connection(holder[0]), host, port, start_serving=False, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        print(f"fiducial: cannot listen on {host}:{port}: {error}", file=sys.stderr)
        return 1
    for one in listener.sockets:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)  # as every connection then has it
    port = listener.sockets[0].getsockname()[1]
    cluster_id = base64.urlsafe_b64encode(os.urandom(16)).decode().rstrip("=")
    cluster = Cluster(cluster_id, settings.broker_id, *advertised(settings, host, port))
    gc.set_threshold(COLLECTED_AFTER)
    node = Node(data, cluster, settings, int.from_bytes(os.urandom(8), "big"), now_ms(), progress=Teller())
    gc.freeze()  # what was loaded is not gone through again
    server = (ThreadedServer if driver == EPOLL else Server)(node, settings)
    holder.append(server)
    exporter = Exporter(node, server.count, now_ms)
    if metrics is not None:
        try:
            await exporter.listen(*metrics)
        except (OSError, UnicodeError) as error:
            print(f"fiducial: cannot listen on {metrics[0]}:{metrics[1]}: {error}", file=sys.stderr)
            node.stop()
            return 1
    await server.start(listener)
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    print(f"listening on {address}\ntry: kcat -b {address} -L", flush=True)
    if exporter.url:
        print(f"metrics on {exporter.url}", flush=True)
    server.set_alarm()
    tasks = [asyncio.create_task(one) for one in (server.keep_house(), server.expire_offsets(), server.flush())]
    await stop.wait()
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError):
            await task
    listener.close()
    await server.stop()
    node.stop()
    return 0


def run(host: str, port: int, data: Path, settings: Mapping[str, str], metrics: tuple[str, int] | None = None, driver: str = DRIVER) -> int:
    """Serve from a data folder until told to stop, and tell Prometheus at `metrics`; the exit status. SettingError for a setting that is not accepted."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    parsed = parse(settings)
    advertised(parsed, host, port)
    _, files_max = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files_max, files_max))  # each log in use needs some, each connection one
    try:
        return asyncio.run(serve(host, port, data, parsed, metrics, driver))
    except DataError as error:
        print(f"fiducial: {error}", file=sys.stderr)
    except StorageFailed as error:
        print(f"fiducial: {data} cannot be used: {error}", file=sys.stderr)
    return 1
