"""Whoever answers frames: the model in process, or a broker over TCP. And what a history needs to know of each: the ids that it gave out."""

from __future__ import annotations

import socket
import struct
import time
from dataclasses import dataclass, field
from typing import Any, Protocol

from fiducial.models.apis import APIS, has_flexible_answer, has_flexible_header
from fiducial.models.settings import parse
from fiducial.models.state import Cluster
from fiducial.reference import codec
from fiducial.reference.core import Core, Hangup, Send, Wake

ANSWER_TIMEOUT_S = 20.0
CORRELATION = 7


@dataclass
class View:
    """What a target gave out, by order of appearance: the same position means the same thing on every target."""

    topic_ids: dict[str, bytes] = field(default_factory=dict)
    old_ids: list[bytes] = field(default_factory=list)
    producer_ids: list[int] = field(default_factory=list)
    sessions: list[int] = field(default_factory=list)


def framed(api_key: int, api_version: int, body: bytes, client_id: str = "history") -> bytes:
    """A request frame, without its length."""
    name = client_id.encode()
    header = struct.pack(">hhih", api_key, api_version, CORRELATION, len(name)) + name
    return header + (b"\x00" if has_flexible_header(api_key, api_version) else b"") + body


def request_frame(api_key: int, api_version: int, message: Any, client_id: str = "history") -> bytes:
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
    view: View

    def ask(self, frame: bytes, expects_answer: bool) -> bytes | None:
        """The answer to one frame, without its length; None if there is none to be had. Closed if the connection ends."""
        ...

    def rules(self) -> tuple[str, ...]:
        """The rules that refused something in the last answer, if the target can say."""
        ...

    def close(self) -> None:
        """No more questions."""
        ...


class Model:
    """The model behind the codec, in process."""

    name = "model"

    def __init__(self, settings: dict[str, str] | None = None, seed: int = 1) -> None:
        self.core = Core(Cluster("A" * 22, 1, "127.0.0.1", 9092), parse(settings or {}), seed)
        self.view = View()
        self.connection = 0
        self.refused: tuple[str, ...] = ()

    def ask(self, frame: bytes, expects_answer: bool) -> bytes | None:
        now = time.time_ns() // 1_000_000
        actions = self.core.frame(self.connection, frame, now)
        self.refused = self.core.rules
        waits = [action.ticket for action in actions if isinstance(action, Wake) and action.at_ms is not None]
        for ticket in waits:  # nobody else asks: the deadline may as well come at once
            actions = self.core.timer(ticket, now)
            self.refused = self.core.rules
        for action in actions:
            if isinstance(action, Hangup):
                self.connection += 1
                raise Closed(action.reason)
            if isinstance(action, Send):
                return action.data[4:] or None
        raise AssertionError(f"no answer in {actions}")

    def rules(self) -> tuple[str, ...]:
        return self.refused

    def close(self) -> None:
        pass


class Remote:
    """A broker over TCP, one connection at a time."""

    def __init__(self, name: str, host: str, port: int) -> None:
        self.name = name
        self.host, self.port = host, port
        self.view = View()
        self.connection: socket.socket | None = None

    def ask(self, frame: bytes, expects_answer: bool) -> bytes | None:
        if self.connection is None:
            self.connection = socket.create_connection((self.host, self.port), timeout=ANSWER_TIMEOUT_S)
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.connection.sendall(struct.pack(">i", len(frame)) + frame)
            if not expects_answer:
                # Whether an error ends the connection shows when the next request is answered, or not.
                probe = framed(18, 0, b"")
                self.connection.sendall(struct.pack(">i", len(probe)) + probe)
                self.receive()
                return None
            return self.receive()
        except (Closed, ConnectionError):
            self.close()
            raise Closed(self.name) from None

    def receive(self) -> bytes:
        """One frame."""
        (size,) = struct.unpack(">i", self.exactly(4))
        return self.exactly(size)

    def exactly(self, size: int) -> bytes:
        """So many bytes."""
        assert self.connection is not None
        taken = bytearray()
        while len(taken) < size:
            chunk = self.connection.recv(size - len(taken))
            if not chunk:
                raise Closed(self.name)
            taken += chunk
        return bytes(taken)

    def rules(self) -> tuple[str, ...]:
        return ()

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None


def talk(target: Target, api_key: int, message: Any, client_id: str = "history") -> Any:
    """Ask in the newest version; the message that is answered."""
    version = APIS[api_key].max_version
    answer = target.ask(request_frame(api_key, version, message, client_id), expects_answer=True)
    assert answer is not None
    return answer_of(answer, api_key, version)
