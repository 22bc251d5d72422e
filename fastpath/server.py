"""The fast path on sockets: `fiducial serve`, and what happens by the clock. Nothing is decided here.

On Linux clients are served by threads of their own (`epoll.pyx`), without Python, which give here what they do not answer themselves; where
there is nothing better, by asyncio (`asyncio_server.py`). To either those who speak TLS come through one thread more (`tls.py`). Neither asyncio,
nor OpenSSL, which both bring with them, is imported unless something needs it.
"""

from __future__ import annotations

import base64
import errno
import gc
import logging
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from fiducial.fastpath.core import NoDescriptor, StorageFailed
from fiducial.fastpath.data import DataError
from fiducial.fastpath.node import ENDS, Action, Key, Node, Progress, Send
from fiducial.models.clock import Clock
from fiducial.models.settings import SSL, Listener, Settings, advertised, listeners_of, parse
from fiducial.models.state import SEED_BYTES, Chance, Cluster

if TYPE_CHECKING:
    from fiducial.fastpath.core import Unforced
    from fiducial.fastpath.tls import Terminator

if sys.platform == "linux":
    from fiducial.fastpath import epoll
if TYPE_CHECKING:
    import asyncio
    import ssl

log = logging.getLogger("fiducial")

#: Who moves the bytes.
EPOLL, ASYNCIO = "epoll", "asyncio"
DRIVER = EPOLL if sys.platform == "linux" else ASYNCIO
STOPPED_BY = (signal.SIGINT, signal.SIGTERM)
#: I/O threads, at most, where nobody says how many.
THREADS_MAX = 4

#: The kernel's buffer for what is sent: more than a large answer needs makes sending dearer, not faster. It may double it.
SEND_BUFFER_BYTES = 1 << 18
#: Values refer to no value that refers to them, and go when nothing needs them: the collector, which goes through all that there are, looks for
#: cycles when so many more were made than have gone, not after every 700.
COLLECTED_AFTER = 50_000
#: So soon the control plane, busy with something large, lets an I/O thread have the GIL that needs it to unpack a batch (s); usual are 5 ms.
SWITCHED_AFTER_S = 0.0005
#: Connections that the kernel holds until they are accepted.
BACKLOG = 1024
#: How often is looked for segments that are to be forced to the disk, and how often the recovery points are written down (s).
FLUSH_S, CHECKPOINT_S = 0.1, 60.0
#: So many logs are forced to the disk at once, of those for which no produced batch waits; their threads only wait.
FORCERS = 16
#: The process, or the system, has as many files open as it may.
NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)
#: A start that takes longer than this is told of, as often (s).
PATIENCE_S = 1.0

now_ms = Clock(time.time_ns, time.monotonic_ns).now_ms


class Timer(Protocol):
    """What is to be called at some time."""

    def cancel(self) -> None:
        """It is not to be called."""
        ...


class Loop(Protocol):
    """What is needed of a loop: that of `loop.py`, or asyncio's."""

    def call_later(self, delay: float, callback: Callable[..., object], /, *args: Any) -> Timer:
        """Call it after so many seconds."""
        ...

    def call_soon_threadsafe(self, callback: Callable[..., object], /, *args: Any) -> object:
        """Call it from the loop; for other threads."""
        ...

    def add_reader(self, fd: int, callback: Callable[..., object], /) -> None:
        """Call it whenever the descriptor can be read."""
        ...

    def remove_reader(self, fd: int, /) -> bool:
        """Look at the descriptor no more."""
        ...

    def add_signal_handler(self, sig: int, callback: Callable[..., object], /) -> None:
        """Call it when the signal comes."""
        ...

    def run_forever(self) -> None:
        """Until stopped."""
        ...

    def stop(self) -> None:
        """Run no more."""
        ...


class Traffic(NamedTuple):
    """How many clients there are, and what they have sent and were sent so far, those included that are gone."""

    connections: int
    received_bytes: int
    sent_bytes: int


class Door(NamedTuple):
    """A socket that listens, and the number of the listener that it belongs to."""

    listener: int
    socket: socket.socket


class Server:
    """The node, whose connections somebody has, and what happens by the clock."""

    def __init__(self, node: Node, settings: Settings, loop: Loop) -> None:
        self.node, self.settings, self.loop = node, settings, loop
        self.alarm: Timer | None = None
        self.alarm_ms = -1
        self.node.elsewhere = self.force
        self.forcers = ThreadPoolExecutor(FORCERS)
        self.in_hand: set[tuple[bytes, int]] = set()  # the partitions whose logs are being forced
        self.written = time.monotonic()

    # What a driver does

    def start(self, doors: list[Door]) -> None:
        """Let clients come by these."""
        raise NotImplementedError

    def welcome(self, end: socket.socket, client: socket.socket, listener: int) -> None:
        """Take a connection, by our end of it, which stands for this client, that came by this listener. Any thread may call it."""
        raise NotImplementedError

    def stop(self) -> None:
        """Close every connection; the loop does not run any more."""
        raise NotImplementedError

    def traffic(self) -> Traffic:
        """What goes over the sockets."""
        raise NotImplementedError

    def perform(self, action: Action) -> None:
        """An answer, or the end, of some connection."""
        raise NotImplementedError

    def deadline(self) -> int:
        """When something is to happen by the clock (ms); -1: nothing."""
        raise NotImplementedError

    def expire(self, now: int) -> list[Action]:
        """What comes of it."""
        raise NotImplementedError

    # By the clock

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
            self.alarm = self.loop.call_later(max(deadline_ms - now_ms(), 0) / 1000, self.wake)

    def wake(self) -> None:
        """The time has come that was waited for."""
        self.alarm = None
        for action in self.expire(now_ms()):
            self.perform(action)
        self.set_alarm()

    def begin_chores(self) -> None:
        """From now on, for ever: retention and expiry, and what is to be on the disk."""
        self.set_alarm()
        self.after_ms(self.settings.log_retention_check_interval_ms, self.keep_house)
        self.after_ms(self.settings.offsets_retention_check_interval_ms, self.expire_offsets)
        self.loop.call_later(FLUSH_S, self.flush)

    def after_ms(self, interval_ms: int, chore: Callable[[], None]) -> None:
        """Do it when so much time has passed."""
        self.loop.call_later(interval_ms / 1000, chore)

    def keep_house(self) -> None:
        """Retention and expiry."""
        self.after_ms(self.settings.log_retention_check_interval_ms, self.keep_house)
        self.node.housekeeping(now_ms())

    def expire_offsets(self) -> None:
        """Old offsets; not at the start: whoever reads on from them is given time to come back."""
        self.after_ms(self.settings.offsets_retention_check_interval_ms, self.expire_offsets)
        for action in self.node.expiry(now_ms()):
            self.perform(action)

    def flush(self) -> None:
        """What is sealed, and active segments whose flush.ms has come, to the disk; each log for itself, since it may take long. Now and then it is
        written down up to where each log is there."""
        try:
            self.node.core.check_storage()
            for unforced in self.node.core.unsynced(now_ms()):
                if not self.in_hand.intersection(unforced.keys()):
                    self.force(unforced, list)
            if time.monotonic() - self.written > CHECKPOINT_S:
                self.checkpoint()
        except OSError as error:
            self.go_offline(error)
        else:
            self.loop.call_later(FLUSH_S, self.flush)

    def checkpoint(self) -> None:
        """Written down; for want of a descriptor, next time: what was written down before is less, but so."""
        with suppress(NoDescriptor):
            self.node.checkpoint()
            self.written = time.monotonic()

    def force(self, unforced: Unforced, then: Callable[[], list[Action]]) -> None:
        """Have it on the disk by another thread, then do what is to be done."""
        self.in_hand.update(unforced.keys())
        self.forcers.submit(self.sync, unforced, then)

    def sync(self, unforced: Unforced, then: Callable[[], list[Action]]) -> None:
        """What the thread does."""
        self.loop.call_soon_threadsafe(self.synced, unforced, self.node.core.sync(unforced), then)

    def synced(self, unforced: Unforced, failed: int, then: Callable[[], list[Action]]) -> None:
        """It was forced to the disk, or failed to be (the errno): who needs it next tells of that. For want of a descriptor nothing was tried yet."""
        if failed in NO_DESCRIPTOR:
            self.loop.call_later(FLUSH_S, self.force_again, unforced.keys(), then)
            return
        self.in_hand.difference_update(unforced.keys())
        with suppress(StorageFailed):
            self.node.synced(unforced, failed)
        for action in then():
            self.perform(action)

    def force_again(self, partitions: list[Key], then: Callable[[], list[Action]]) -> None:
        """All that these partitions hold by now."""
        self.force(self.node.core.unsynced_of(partitions), then)

    def go_offline(self, error: OSError) -> None:
        """Nothing is forced to the disk any more."""
        log.critical("the log directory is offline for writing, until a restart: %s", error)
        self.node.core.fail(error.errno or errno.EIO)

    def end_chores(self) -> None:
        """Nothing is under way, and nobody asks for more; the loop does not run any more."""
        self.forcers.shutdown()


class ThreadedServer(Server):
    """I/O threads have the connections, and the fetches that wait."""

    def __init__(self, node: Node, settings: Settings, loop: Loop) -> None:
        super().__init__(node, settings, loop)
        self.peers: dict[int, str] = {}  # of the connections that asked something here
        self.driver: epoll.Driver

    def start(self, doors: list[Door]) -> None:
        threads = self.settings.num_network_threads or min(os.cpu_count() or 1, THREADS_MAX)
        self.driver = epoll.Driver(self.node.core, [(one.fileno(), listener) for listener, one in doors], threads, self.settings, ENDS)
        self.loop.add_reader(self.driver.fileno(), self.hear)
        self.driver.start()

    def welcome(self, end: socket.socket, client: socket.socket, listener: int) -> None:
        self.driver.welcome(end.detach(), client.fileno(), listener)

    def stop(self) -> None:
        self.driver.stop()
        self.loop.remove_reader(self.driver.fileno())
        self.hear()

    def traffic(self) -> Traffic:
        return Traffic(self.driver.connections, self.driver.received_bytes, self.driver.sent_bytes)

    def hear(self) -> None:
        """What the threads have to say."""
        self.take_notes()
        self.set_alarm()

    def take_notes(self) -> None:
        """Do what they say."""
        for matter, connection, listener, peer, text in self.driver.notes():
            match matter:
                case epoll.COLD_REQUEST:
                    self.ask(connection, listener, peer, text)
                case epoll.GONE:
                    del self.peers[connection]
                    self.node.disconnected(connection, now_ms())
                case epoll.CLOSING:
                    log.warning("closing %s: %s", peer, text.decode())
                case _:
                    log.warning("%s", text.decode())

    def ask(self, connection: int, listener: int, peer: str, frame: bytes) -> None:
        """A request that is not hot. A fault of ours costs its connection only."""
        if peer:
            self.peers[connection] = peer
            self.node.connected(connection, peer.rpartition(":")[0], listener)
        try:
            actions = self.node.cold(connection, frame, now_ms())
        except Exception:
            log.exception("closing %s: internal error", self.peers[connection])
            self.driver.hang_up(connection, "")
            return
        for action in actions:
            self.perform(action)

    def perform(self, action: Action) -> None:
        if isinstance(action, Send):
            self.driver.answer(action.connection, action.data)
        else:
            self.driver.hang_up(action.connection, action.reason)

    def deadline(self) -> int:
        """When something is to happen to a group (ms); -1: nothing."""
        return self.node.alarms.first_ms()

    def expire(self, now: int) -> list[Action]:
        self.take_notes()  # nobody is late who has said in time that it is there, and was not heard for what else there was to do
        return self.node.ring_due(now, now_ms())


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


class CannotListen(Exception):
    """An address is not to be had."""


def bound(host: str, port: int) -> list[socket.socket]:
    """A socket for each address of the host, which does not listen yet; port 0 picks one. CannotListen if they cannot be had."""
    name = host.encode() if host.isascii() else host  # what is written in full needs no codec for names
    with ExitStack() as stack:
        try:
            found = []
            for family, kind, protocol, _, address in dict.fromkeys(socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)):
                one = stack.enter_context(socket.socket(family, kind, protocol))
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                one.bind(address)
                one.setblocking(False)
                found.append(one)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise CannotListen(f"cannot listen on {host}:{port}: {reason.lower()}") from None
        stack.pop_all()
    return found


def written(host: str, sockets: list[socket.socket]) -> str:
    """HOST:PORT of what was bound."""
    port = sockets[0].getsockname()[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@contextmanager
def looping(by_asyncio: bool) -> Iterator[Any]:
    """A loop: asyncio's, if that is needed."""
    if by_asyncio:
        import asyncio

        with asyncio.Runner() as runner:
            yield runner.get_loop()
    else:
        from fiducial.fastpath.loop import Loop

        with Loop() as loop:
            yield loop


#: What listens: each listener with its sockets.
Open = Sequence[tuple[Listener, list[socket.socket]]]


def serve(server: Server, terminator: Terminator | None, opened: Open, metrics: tuple[str, list[socket.socket]] | None) -> None:
    """Serve until SIGINT or SIGTERM."""
    for one in (one for _, sockets in opened for one in sockets):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)  # as every connection then has it
        one.listen(BACKLOG)
    server.start(doors_of(opened, lambda listener: listener.protocol != SSL))
    if terminator is not None:
        terminator.start()
    for listener, sockets in opened:
        address = written(listener.host, sockets)
        print(f"listening on {address}\ntry: kcat -b {address} {'-X security.protocol=ssl ' if listener.protocol == SSL else ''}-L", flush=True)
    if metrics is not None:
        from fiducial.fastpath.metrics import Exporter

        Exporter(server.node, server.traffic, now_ms).begin(cast("asyncio.AbstractEventLoop", server.loop), metrics[1])
        print(f"metrics on http://{written(*metrics)}/metrics", flush=True)
    server.begin_chores()
    server.loop.run_forever()
    for number in STOPPED_BY:
        server.loop.add_signal_handler(number, lambda: None)  # it stops already
    if terminator is not None:
        terminator.stop()
    server.stop()
    server.end_chores()  # what was heard last may have had something forced to the disk


def doors_of(opened: Open, are_meant: Callable[[Listener], bool]) -> list[Door]:
    """The sockets of some listeners."""
    return [Door(number, one) for number, (listener, sockets) in enumerate(opened) if are_meant(listener) for one in sockets]


def run(
    places: Sequence[tuple[str, str, int]], data: Path, settings: Mapping[str, str], metrics: tuple[str, int] | None = None, driver: str = DRIVER
) -> int:
    """Serve from a data folder until told to stop, by a listener at each of these places (name, host, port), and tell Prometheus at `metrics`; the
    exit status. SettingError for a setting that is not accepted."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    parsed = parse(settings)
    listeners = listeners_of(parsed, places)
    advertised(parsed, listeners)
    tls = tls_of(parsed) if any(listener.protocol == SSL for listener in listeners) else None
    _, files_max = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files_max, files_max))  # each log in use needs some, each connection one
    gc.set_threshold(COLLECTED_AFTER)
    sys.setswitchinterval(SWITCHED_AFTER_S)
    try:
        opened = [(listener, bound(listener.host, listener.port)) for listener in listeners]
        scrapers = None if metrics is None else (metrics[0], bound(*metrics))
        with looping(by_asyncio=driver == ASYNCIO or metrics is not None) as loop:
            for number in STOPPED_BY:
                loop.add_signal_handler(number, loop.stop)
            there = [listener.bound(*sockets[0].getsockname()[:2]) for listener, sockets in opened]
            node = begun(data.absolute(), parsed, advertised(parsed, there))
            server = server_of(driver, node, parsed, loop)
            serve(server, terminator_of(server, tls, opened), opened, scrapers)
            node.stop()
        return 0
    except (CannotListen, DataError) as error:
        print(f"fiducial: {error}", file=sys.stderr)
    except StorageFailed as error:
        print(f"fiducial: {data} cannot be used: {error}", file=sys.stderr)
    return 1


def tls_of(settings: Settings) -> ssl.SSLContext:
    """What clients agree on with us. SettingError where a file does not hold what it has to."""
    from fiducial.fastpath.tls import context_of

    return context_of(settings.tls)


def terminator_of(server: Server, tls: ssl.SSLContext | None, opened: Open) -> Terminator | None:
    """Who lets those in that speak TLS, if anybody does."""
    if tls is None:
        return None
    from fiducial.fastpath.tls import Terminator

    return Terminator(doors_of(opened, lambda listener: listener.protocol == SSL), tls, server.welcome, server.settings.connections_max_idle_ms)


def begun(data: Path, settings: Settings, addresses: Sequence[tuple[str, int]]) -> Node:
    """The node, with all that is in the data folder, where clients find it by each listener."""
    drawn, _ = Chance(int.from_bytes(os.urandom(SEED_BYTES))).uuid()
    cluster_id = base64.urlsafe_b64encode(drawn).decode().rstrip("=")
    first, *others = addresses
    cluster = Cluster(cluster_id, settings.broker_id, *first, others=tuple(others), log_dir=str(data))
    node = Node(data, cluster, settings, int.from_bytes(os.urandom(SEED_BYTES)), now_ms(), progress=Teller())
    gc.freeze()  # what was loaded is not gone through again
    return node


def server_of(driver: str, node: Node, settings: Settings, loop: Any) -> Server:
    """Who has the connections."""
    if driver == EPOLL:
        return ThreadedServer(node, settings, loop)
    from fiducial.fastpath.asyncio_server import AsyncioServer

    return AsyncioServer(node, settings, loop)
