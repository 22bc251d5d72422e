"""Whoever answers the frames of a history: the models, or a broker over TCP."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any, Protocol

from fiducial.conformance import codec
from fiducial.conformance.abstraction import wall_clock_ms
from fiducial.conformance.client import Closed as Ended
from fiducial.conformance.client import Connection, Deadline, Silence, Transcript
from fiducial.conformance.exploration.steps import answer_of, request_frame
from fiducial.conformance.founding import Founded
from fiducial.conformance.oracle import Expected, Oracle
from fiducial.conformance.script import FOUNDED_MS, found
from fiducial.conformance.symbols import View
from fiducial.models import events
from fiducial.models.apis import API_VERSIONS, APIS, has_flexible_answer
from fiducial.models.settings import Settings, parse
from fiducial.models.state import Cluster

ANSWER_TIMEOUT_S = 20.0
#: So long a fetch may take that should be answered, since there is enough.
WOKEN_S = 5.0
#: So long a broker is given to take in a request whose answer is not awaited.
ARRIVAL_S = 0.05
#: So long a broker with a short log.retention.check.interval.ms is given to look at every log.
HOUSEKEEPING_S = 0.25
#: Asked behind what has no answer, to see whether the connection still stands.
PROBE = codec.request_frame(API_VERSIONS, 0, 0, None, b"")


class Closed(Exception):
    """The connection was ended without an answer."""


class Target(Protocol):
    """Somebody who answers."""

    name: str
    host: str
    port: int
    view: View

    def ask(self, frame: bytes, expects_answer: bool) -> bytes | None:
        """The answer to one frame, without its length; None if there is none to be had. Closed if the connection ends, TimeoutError if nothing comes."""
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


class Patient(Target, Protocol):
    """Somebody who also answers members of groups, each of whom may wait on a connection of its own."""

    def found(self, group: str) -> Founded:
        """A group of one member that is there and stable; `group`: what a story calls it."""
        ...

    def start(self, frame: bytes) -> int:
        """Ask on a new connection; its number."""
        ...

    def heard(self, number: int, patience_s: float) -> bytes | None:
        """The answer there, None if it still waits after `patience_s`. With an answer the connection ends; Closed if it ended without one."""
        ...


class Models:
    """The oracle, asked in frames."""

    name = "the models"

    def __init__(self, cluster: Cluster | None = None, settings: Settings | None = None, seed: int = 1, clock: Callable[[], int] = wall_clock_ms) -> None:
        cluster = cluster or Cluster("fiducialfiducialfiduci", 1, "127.0.0.1", 9092)
        self.oracle = Oracle(cluster, settings or parse({}), seed)
        self.host, self.port = cluster.host, cluster.port
        self.clock = clock
        self.view = View(clock(), node_id=cluster.broker_id)
        self.connections = itertools.count()
        self.connection = next(self.connections)
        self.beside: int | None = None
        self.started: dict[int, bytes] = {}  # by connection, what waits there
        self.refused: tuple[str, ...] = ()

    def ask(self, frame: bytes, expects_answer: bool) -> bytes | None:
        now = self.clock()
        self.oracle.hear(frame, len(frame), now=now, connection=self.connection)
        answer = self.oracle.awaited(self.connection, now=now)
        self.refused = (*self.refused_beside(), *answer.rules)
        if answer.closes:
            self.hang_up(self.connection)
            self.connection = next(self.connections)
            raise Closed
        return framed(answer, frame)

    def begin(self, frame: bytes, *, is_answered: bool) -> bool:
        self.beside, self.frame_beside = next(self.connections), frame
        self.oracle.hear(frame, len(frame), now=self.clock(), connection=self.beside)
        return self.is_answered_beside

    @property
    def is_answered_beside(self) -> bool:
        """Has what was begun an answer by now?"""
        return self.beside is not None and self.oracle.asked[self.beside].ticket in self.oracle.answers

    def refused_beside(self) -> tuple[str, ...]:
        """The rules by which something was refused there."""
        if self.beside is None or not self.is_answered_beside:
            return ()
        return self.oracle.answers[self.oracle.asked[self.beside].ticket].rules

    def end(self, patience_s: float) -> bytes | None:
        assert self.beside is not None
        answer = self.oracle.awaited(self.beside, now=self.clock()) if self.is_answered_beside else None
        self.hang_up(self.beside)
        self.beside = None
        if answer is not None and answer.closes:
            raise Closed
        return None if answer is None else framed(answer, self.frame_beside)

    def found(self, group: str) -> Founded:
        return found(self.oracle, group, (), self.clock() - FOUNDED_MS)

    def start(self, frame: bytes) -> int:
        number = next(self.connections)
        self.started[number] = frame
        self.oracle.hear(frame, len(frame), now=self.clock(), connection=number)
        return number

    def heard(self, number: int, patience_s: float) -> bytes | None:
        now = self.clock()
        if not self.oracle.is_answered(number, now=now):
            return None
        answer, frame = self.oracle.awaited(number, now=now), self.started.pop(number)
        self.refused = answer.rules
        self.hang_up(number)
        if answer.closes:
            raise Closed
        return framed(answer, frame)

    def due_ms(self) -> int | None:
        """When something happens to a group by itself, if something will; what should have happened by now has."""
        self.oracle.time_passes(self.clock())
        return min(self.oracle.alarms.values(), default=None)

    def hang_up(self, connection: int) -> None:
        """The connection is gone, and with it whatever waits on it."""
        self.oracle.asked.pop(connection, None)
        self.oracle.step(events.Disconnected(connection), self.clock())

    def settle(self) -> None:
        pass

    def pass_time(self) -> None:
        self.oracle.keep_house(now=self.clock())

    def rules(self) -> tuple[str, ...]:
        return self.refused

    def close(self) -> None:
        pass


def framed(answer: Expected, request: bytes) -> bytes | None:
    """The answer to a request as a frame, without its length."""
    if answer.message is None:
        return None
    key, version = codec.INT16.unpack_from(request)[0], codec.INT16.unpack_from(request, 2)[0]
    if key == API_VERSIONS and not 0 <= version <= APIS[key].max_version:
        version = 0
    tags = b"\x00" if has_flexible_answer(key, version) else b""
    return request[4:8] + tags + codec.encode(answer.message, key, version, "response")


class Remote:
    """A broker over TCP, one connection at a time, and one beside it for what waits. All that is said stands in `transcript`."""

    def __init__(self, name: str, host: str, port: int, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        self.name = name
        self.host, self.port = host, port
        self.timeout_s = timeout_s
        self.view = View(wall_clock_ms())
        self.transcript = Transcript()
        self.connection: Connection | None = None
        self.beside: Connection | None = None
        self.early: bytes | None = None  # the answer to what was begun, if it came at once
        self.started: dict[int, Connection] = {}  # those on which somebody waits

    def begin_anew(self) -> None:
        """Nothing was said yet, and nobody waits."""
        self.close()
        for connection in self.started.values():
            connection.close()
        self.started.clear()
        self.transcript = Transcript()

    def connected(self) -> Connection:
        """A new connection."""
        return Connection(self.host, self.port, Deadline(self.timeout_s), self.transcript)

    def ask(self, frame: bytes, expects_answer: bool) -> bytes | None:
        if self.connection is None:
            self.connection = self.connected()
        try:
            send(self.connection, frame)
            if expects_answer:
                return received(self.connection, self.timeout_s)
            # Whether an error ends the connection shows when the next request is answered, or not.
            send(self.connection, PROBE)
            received(self.connection, self.timeout_s)
            return None
        except (Closed, TimeoutError):
            self.close()
            raise

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
        try:
            data, self.early = self.early or self.answer_beside(patience_s), None
        finally:
            self.beside.close()
        return data

    def answer_beside(self, patience_s: float) -> bytes | None:
        """The answer to what was begun, None if there is none yet."""
        assert self.beside is not None
        try:
            return received(self.beside, patience_s)
        except TimeoutError:
            return None

    def found(self, group: str) -> Founded:
        raise NotImplementedError("only the host of an exploration has groups")

    def start(self, frame: bytes) -> int:
        connection = self.connected()
        send(connection, frame)
        self.started[connection.number] = connection
        return connection.number

    def heard(self, number: int, patience_s: float) -> bytes | None:
        connection = self.started[number]
        connection.deadline = Deadline(self.timeout_s)
        if connection.is_silent(patience_s):
            return None
        try:
            return received(connection, self.timeout_s)
        finally:
            self.started.pop(number).close()

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


def send(connection: Connection, frame: bytes) -> None:
    """One frame, with its length."""
    connection.deadline = Deadline(ANSWER_TIMEOUT_S)
    connection.send_bytes(codec.INT32.pack(len(frame)) + frame)


def received(connection: Connection, patience_s: float) -> bytes:
    """One frame, without its length. Closed if the connection ends before it is whole, TimeoutError if it does not come."""
    heard = connection.frame(Deadline(patience_s))
    match heard:
        case Ended(how):
            connection.note(f"the broker ended the connection: {how}")
            raise Closed
        case Silence(waited_s):
            connection.note(f"nothing for {waited_s:g} s")
            raise TimeoutError
        case _:
            connection.note("received", heard)
            return heard


def talk(target: Target, api_key: int, message: Any) -> Any:
    """Ask in the newest version; the message that is answered. It is no part of the history, and not in its transcript."""
    version = target.view.newest(api_key)
    said = target.transcript.entries if isinstance(target, Remote) else []
    before = len(said)
    answer = target.ask(request_frame(api_key, version, message), expects_answer=True)
    del said[before:]
    assert answer is not None
    return answer_of(answer, api_key, version)
