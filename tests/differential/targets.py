"""Whoever answers frames: the model in process, or a broker over TCP. And what a history needs to know of each: the ids that it gave out."""

from __future__ import annotations

import itertools
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from fiducial.models import messages as m
from fiducial.models.apis import APIS, has_flexible_answer, has_flexible_header
from fiducial.models.config_requests import Operation, Resource
from fiducial.models.settings import parse
from fiducial.models.state import Cluster
from fiducial.reference import codec
from fiducial.reference.core import Action, Core, Hangup, Send, Wake

ANSWER_TIMEOUT_S = 20.0
#: So long a fetch may take that should be answered, since there is enough.
WOKEN_S = 5.0
#: So long a broker is given to take in a request whose answer is not awaited.
ARRIVAL_S = 0.05
#: So long a broker with a short log.retention.check.interval.ms is given to look at every log.
HOUSEKEEPING_S = 0.25
CORRELATION = 7


@dataclass
class Session:
    """A fetch session: its id, and the epoch that its next request must carry."""

    id: int
    next_epoch: int = 1


@dataclass
class View:
    """What a target gave out, by order of appearance: the same position means the same thing on every target."""

    begun_ms: int
    topic_ids: dict[str, bytes] = field(default_factory=dict)
    old_ids: list[bytes] = field(default_factory=list)
    producer_ids: list[int] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    awaited: set[str] = field(default_factory=set)  # topics that may be in the making


def framed(api_key: int, api_version: int, body: bytes, client_id: str | bytes | None = "history") -> bytes:
    """A request frame, without its length."""
    name = client_id.encode() if isinstance(client_id, str) else client_id
    header = struct.pack(">hhih", api_key, api_version, CORRELATION, -1 if name is None else len(name)) + (name or b"")
    return header + (b"\x00" if has_flexible_header(api_key, api_version) else b"") + body


def request_frame(api_key: int, api_version: int, message: Any, client_id: str | bytes | None = "history") -> bytes:
    """The frame of a message; records are the bytes that stand in it."""
    return framed(api_key, api_version, bytes(codec.encode(message, api_key, api_version, "request")), client_id)


def answer_of(data: bytes, api_key: int, api_version: int) -> Any:
    """The message in a response frame, without its length; records stay bytes."""
    assert struct.unpack_from(">i", data)[0] == CORRELATION
    position = 4 + (1 if has_flexible_answer(api_key, api_version) else 0)
    return codec.decode(data, api_key, api_version, "response", position=position)


class Closed(Exception):
    """The connection was ended without an answer."""


class Target(Protocol):
    """Somebody who answers."""

    name: str
    host: str
    port: int
    view: View

    def ask(self, frame: bytes, expects_answer: bool) -> bytes | None:
        """The answer to one frame, without its length; None if there is none to be had. Closed if the connection ends."""
        ...

    def begin(self, frame: bytes, *, is_answered: bool) -> bool:
        """Ask on a connection of its own. Is it answered at once? If it should be, that is waited for."""
        ...

    def end(self, patience_s: float) -> bytes | None:
        """The answer to what was begun, None if it still waits after `patience_s`; its connection ends."""
        ...

    def settle(self) -> None:
        """Wait until what was answered is done everywhere."""
        ...

    def pass_time(self) -> None:
        """Let the broker look for what has gone out of retention."""
        ...

    def rules(self) -> tuple[str, ...]:
        """The rules that refused something in the last answer, if the target can say."""
        ...

    def close(self) -> None:
        """No more questions."""
        ...


def wall_clock_ms() -> int:
    """The time."""
    return time.time_ns() // 1_000_000


class Model:
    """The model behind the codec, in process."""

    name = "the model"
    host, port = "127.0.0.1", 9092

    def __init__(
        self, settings: dict[str, str] | None = None, seed: int = 1, clock: Callable[[], int] = wall_clock_ms
    ) -> None:
        cluster = Cluster("fiducialfiducialfiduci", 1, self.host, self.port)
        self.core = Core(cluster, parse(settings or {}), seed)
        self.clock = clock
        self.view = View(clock())
        self.connections = itertools.count()
        self.connection = next(self.connections)
        self.beside, self.has_begun = -1, False
        self.answers: dict[int, bytes] = {}  # by connection, those not fetched yet
        self.refused: tuple[str, ...] = ()

    def ask(self, frame: bytes, expects_answer: bool) -> bytes | None:
        actions = self.core.frame(self.connection, frame, self.clock())
        self.refused = (*(self.refused if self.has_begun else ()), *self.core.rules)
        waits = [action.ticket for action in actions if isinstance(action, Wake) and action.at_ms is not None]
        for ticket in waits:  # nobody else asks: the deadline may as well come at once
            actions += self.core.timer(ticket, self.clock())
            self.refused += self.core.rules
        self.take(actions)
        if self.connection not in self.answers:
            self.connection = next(self.connections)
            raise Closed
        return self.answers.pop(self.connection)[4:] or None

    def begin(self, frame: bytes, *, is_answered: bool) -> bool:
        self.beside = next(self.connections)
        self.take(self.core.frame(self.beside, frame, self.clock()))
        self.refused, self.has_begun = self.core.rules, True
        return self.beside in self.answers

    def end(self, patience_s: float) -> bytes | None:
        self.take(self.core.disconnected(self.beside, self.clock()))
        self.has_begun = False
        data = self.answers.pop(self.beside, None)
        return data[4:] if data is not None else None

    def take(self, actions: list[Action]) -> None:
        """Keep what is sent, until it is asked for."""
        for action in actions:
            if isinstance(action, Send):
                self.answers[action.connection] = action.data
            if isinstance(action, Hangup):
                self.answers.pop(action.connection, None)

    def settle(self) -> None:
        pass

    def pass_time(self) -> None:
        self.take(self.core.housekeeping(self.clock()))

    def rules(self) -> tuple[str, ...]:
        return self.refused

    def close(self) -> None:
        pass


class Remote:
    """A broker over TCP, one connection at a time, and one beside it for what waits."""

    def __init__(self, name: str, host: str, port: int) -> None:
        self.name = name
        self.host, self.port = host, port
        self.view = View(wall_clock_ms())
        self.connection: socket.socket | None = None
        self.beside: socket.socket | None = None
        self.early: bytes | None = None  # the answer to what was begun, if it came at once

    def connected(self) -> socket.socket:
        """A new connection."""
        made = socket.create_connection((self.host, self.port), timeout=ANSWER_TIMEOUT_S)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def ask(self, frame: bytes, expects_answer: bool) -> bytes | None:
        if self.connection is None:
            self.connection = self.connected()
        try:
            send(self.connection, frame)
            if expects_answer:
                return receive(self.connection)
            # Whether an error ends the connection shows when the next request is answered, or not.
            send(self.connection, framed(18, 0, b""))
            receive(self.connection)
            return None
        except (Closed, ConnectionError):
            self.close()
            raise Closed from None

    def begin(self, frame: bytes, *, is_answered: bool) -> bool:
        self.beside = self.connected()
        send(self.beside, frame)
        if is_answered:
            self.early = self.answer_beside(WOKEN_S)
        else:
            time.sleep(ARRIVAL_S)
        return self.early is not None

    def end(self, patience_s: float) -> bytes | None:
        assert self.beside is not None
        data, self.early = self.early or self.answer_beside(patience_s), None
        self.beside.close()
        return data

    def answer_beside(self, patience_s: float) -> bytes | None:
        """The answer to what was begun, None if there is none yet."""
        assert self.beside is not None
        self.beside.settimeout(patience_s)
        try:
            return receive(self.beside)
        except TimeoutError:
            return None

    def settle(self) -> None:
        pass

    def pass_time(self) -> None:
        time.sleep(HOUSEKEEPING_S)

    def rules(self) -> tuple[str, ...]:
        return ()

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None


class ApacheKafka(Remote):
    """Apache Kafka, which answers a change of its metadata before it has carried it out."""

    #: A group that nobody is in: its configuration is changed to see how far the broker has come.
    BARRIER, CONFIG, LEAST = "settled", "consumer.session.timeout.ms", 45_000

    def __init__(self, host: str, port: int) -> None:
        super().__init__("Apache Kafka", host, port)
        self.changes = itertools.count()

    def settle(self) -> None:
        """Changes are carried out in order, some of them together; one that shows while one before it has shown is of a later round."""
        for _ in range(2):
            text = str(self.LEAST + next(self.changes) % 10_000)
            change = m.IncrementalAlterConfigsRequestAlterableConfig(self.CONFIG, Operation.SET, text)
            resource = m.IncrementalAlterConfigsRequestAlterConfigsResource(Resource.GROUP, self.BARRIER, (change,))
            (done,) = talk(self, 44, m.IncrementalAlterConfigsRequest((resource,), False)).responses
            assert done.error_code == 0, done
            self.await_change(text)

    def await_change(self, text: str) -> None:
        """Ask for the barrier's configuration until it is `text`."""
        asked = m.DescribeConfigsRequest((m.DescribeConfigsResource(Resource.GROUP, self.BARRIER, (self.CONFIG,)),))
        give_up = time.monotonic() + ANSWER_TIMEOUT_S
        while talk(self, 32, asked).results[0].configs[0].value != text:
            assert time.monotonic() < give_up, "Apache Kafka does not carry out what it answered"


def send(connection: socket.socket, frame: bytes) -> None:
    """One frame, with its length."""
    connection.sendall(struct.pack(">i", len(frame)) + frame)


def receive(connection: socket.socket) -> bytes:
    """One frame, without its length. Closed if the connection ends before it is whole."""
    (size,) = struct.unpack(">i", exactly(connection, 4))
    return exactly(connection, size)


def exactly(connection: socket.socket, size: int) -> bytes:
    """So many bytes."""
    taken = bytearray()
    while len(taken) < size:
        chunk = connection.recv(size - len(taken))
        if not chunk:
            raise Closed
        taken += chunk
    return bytes(taken)


def talk(target: Target, api_key: int, message: Any) -> Any:
    """Ask in the newest version; the message that is answered."""
    version = APIS[api_key].max_version
    answer = target.ask(request_frame(api_key, version, message), expects_answer=True)
    assert answer is not None
    return answer_of(answer, api_key, version)
