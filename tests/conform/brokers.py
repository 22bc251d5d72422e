"""A broker in this process for the judge to judge: the reference broker's core behind real sockets, honest, flawed, or tampered with on the way."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

from fiducial.conformance import codec
from fiducial.conformance.abstraction import wall_clock_ms
from fiducial.models.apis import APIS, Verdict, size_is_refused, verdict
from fiducial.models.groups import Alarm
from fiducial.models.settings import parse
from fiducial.models.state import Cluster
from fiducial.models.topics import is_internal
from fiducial.reference.core import Action, Core, Hangup, Send, Wake

NO_SETTINGS: Mapping[str, str] = {}
FETCH = 1
HANG_UP, SAY_NOTHING = "hang up", "say nothing"
#: A broker that looks after its logs so often does it at each request.
OFTEN_MS = 1000
#: Between two looks at whether a request still waits.
PAUSE_S = 0.005

#: What becomes of an answer on its way: another message, other bytes, HANG_UP or SAY_NOTHING. Given: API key, version, message.
Tamper = Callable[[int, int, Any], Any]


def honest(_api_key: int, _version: int, message: Any) -> Any:
    """The answer as it is."""
    return message


class Broker:
    """Serves connections in threads, one request at a time. `flaw` is switched on while a request is decided, and off while the oracle decides."""

    def __init__(self, tamper: Tamper, flaw: Callable[[], AbstractContextManager[None]], settings: dict[str, str]) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.host, self.port = self.listener.getsockname()
        self.core = Core(Cluster("fiducialfiducialfiduci", 1, self.host, self.port), parse(settings), seed=2)
        self.tamper = tamper
        self.flaw = flaw
        self.lock = threading.Lock()
        self.expires_ms = 0  # when it looks for offsets that are too old
        self.connections: list[socket.socket] = []
        self.asked: dict[int, bytes] = {}  # by connection, the request that is under way
        self.timers: dict[int | Alarm, threading.Timer] = {}  # by ticket

    def accept(self) -> None:
        """Let everybody in."""
        with suppress(OSError):
            while True:
                connection, (address, _) = self.listener.accept()
                self.connections.append(connection)
                self.core.connected(len(self.connections), address)
                threading.Thread(target=self.serve, args=(connection, len(self.connections)), daemon=True).start()

    def serve(self, connection: socket.socket, number: int) -> None:
        """Answer one connection's requests."""
        with connection, suppress(OSError, struct.error):
            while True:
                (size,) = struct.unpack(">i", connection.recv(4, socket.MSG_WAITALL))
                if size_is_refused(size, self.core.broker.settings.socket_request_max_bytes):
                    return
                frame = connection.recv(size, socket.MSG_WAITALL)
                answer = self.answer(number, frame) if len(frame) == size else None
                if answer is None:
                    return
                connection.sendall(answer)
                while self.waits(number):
                    time.sleep(PAUSE_S)

    def waits(self, number: int) -> bool:
        """Is a request of this connection not answered yet?"""
        with self.lock:
            return any(waiting.connection == number for waiting in self.core.waiting.values())

    def answer(self, number: int, frame: bytes) -> bytes | None:
        """What is sent back at once, None for the end of the connection."""
        self.asked[number] = frame
        with self.lock:
            try:
                with self.flaw():
                    actions = self.core.frame(number, frame, wall_clock_ms())
                    if self.core.broker.settings.log_retention_check_interval_ms <= OFTEN_MS:
                        actions += self.core.housekeeping(wall_clock_ms())
                    if wall_clock_ms() >= self.expires_ms:
                        actions += self.core.expiry(wall_clock_ms())
                        self.expires_ms = wall_clock_ms() + self.core.broker.settings.offsets_retention_check_interval_ms
            except Exception:  # as the reference broker's server does: a fault costs the connection
                return None
            at_once: bytes | None = b""
            for action in actions:
                if isinstance(action, Hangup):
                    return None
                if isinstance(action, Send) and action.connection == number:
                    at_once = self.tampered(frame, action.data) if action.data else b""
                else:
                    self.do(action)
        return at_once

    def do(self, action: Action) -> None:
        """What concerns a request that waits."""
        if isinstance(action, Send):
            answer = self.tampered(self.asked[action.connection], action.data)
            with suppress(OSError):
                self.connections[action.connection - 1].sendall(answer or b"")
        elif isinstance(action, Wake) and action.at_ms is not None:
            if action.ticket in self.timers:
                self.timers.pop(action.ticket).cancel()
            self.timers[action.ticket] = threading.Timer((action.at_ms - wall_clock_ms()) / 1000, self.wake, (action.ticket,))
            self.timers[action.ticket].start()
        elif isinstance(action, Wake):
            self.timers.pop(action.ticket).cancel()

    def wake(self, ticket: int | Alarm) -> None:
        """The time of a request that waits is up, or an alarm rings."""
        with self.lock:
            with self.flaw():
                actions = self.core.wake(ticket, wall_clock_ms())
            for action in actions:
                self.do(action)

    def tampered(self, frame: bytes, answer: bytes) -> bytes | None:
        """The answer as it arrives."""
        key, version, correlation_id = struct.unpack_from(">hhi", frame)
        if verdict(key, version) is Verdict.TELL_VERSIONS:
            version = 0
        begin = codec.answer_body(answer[4:], key, version)
        given = self.tamper(key, version, codec.decode(answer[4:], key, version, "response", begin))
        if given in (HANG_UP, SAY_NOTHING):
            return None if given == HANG_UP else b""
        body = given if isinstance(given, bytes) else codec.encode(given, key, version, "response")
        head = answer[8 : 4 + begin]
        return struct.pack(">ii", 4 + len(head) + len(body), correlation_id) + head + body

    @property
    def topics(self) -> set[str]:
        """Those that there are, but for the broker's own, which whoever looks for a coordinator has it make."""
        return {name for name in self.core.broker.topics.by_name if not is_internal(name)}


@contextmanager
def serving(
    tamper: Tamper = honest, *, flaw: Callable[[], AbstractContextManager[None]] = nullcontext, settings: Mapping[str, str] = NO_SETTINGS
) -> Iterator[Broker]:
    """A broker, while the block runs. Of settings, the dots in names may be underscores."""
    broker = Broker(tamper, flaw, {name.replace("_", "."): text for name, text in settings.items()})
    thread = threading.Thread(target=broker.accept, daemon=True)
    thread.start()
    try:
        yield broker
    finally:
        broker.listener.shutdown(socket.SHUT_RDWR)
        broker.listener.close()
        for timer in broker.timers.values():
            timer.cancel()
        for connection in broker.connections:
            connection.close()
        thread.join(10)


def few(versions: Mapping[int, Sequence[int]]) -> dict[int, Sequence[int]]:
    """Of each API's versions the oldest and the newest; and those of Fetch where sessions begin, and where names end and ids begin."""
    kept = {FETCH: {7, 12, 13}}
    return {key: [one for one in served if one in {served[0], served[-1]} | kept.get(key, set())] for key, served in versions.items()}


def without_api(*keys: int) -> Tamper:
    """A broker that does not advertise these."""

    def tamper(api_key: int, version: int, message: Any) -> Any:
        if api_key != 18:
            return message
        kept = tuple(entry for entry in message.api_keys if entry.api_key not in keys)
        return type(message)(message.error_code, kept)

    assert all(key in APIS for key in keys)
    return tamper
