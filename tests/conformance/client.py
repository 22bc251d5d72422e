"""One connection to a broker, in bytes: every wait has an end, and what came back is told from why nothing did.

An answer, an answer that is none, the end of the connection, silence, a connection that was refused: five things that a lesser client calls
"error", and of which a broker's author needs to know which it was. All that is said either way is kept in a `Transcript`.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from fiducial.conformance import codec
from fiducial.conformance.codec import INT32, ClientId, Malformed
from fiducial.models.apis import API_VERSIONS, APIS
from fiducial.models.values import value

CONNECT_TIMEOUT_S = 5.0
#: More than any broker should answer.
ANSWER_BYTES_MAX = 1 << 28
CHUNK_BYTES = 1 << 20
#: Between two pieces of a frame: so long, that they mostly arrive one by one.
PIECE_PAUSE_S = 0.001


class Unreachable(Exception):
    """There is no connection to be had; the text says why."""


class Deadline:
    """A moment that no wait goes beyond."""

    def __init__(self, after_s: float) -> None:
        self.at = time.monotonic() + after_s

    def left_s(self, at_most_s: float | None = None) -> float:
        """The time until then, perhaps cut; a thousandth of a second at least, since a socket takes 0 for another mode."""
        left_s = self.at - time.monotonic()
        return max(left_s if at_most_s is None else min(left_s, at_most_s), 0.001)

    @property
    def has_passed(self) -> bool:
        """Is it over?"""
        return time.monotonic() >= self.at


# What comes back


@value
class Answer:
    """A whole frame, without its length; the message in it, None if nobody knows its layout."""

    data: bytes
    message: Any


@value
class Broken:
    """A frame that is no answer to what was asked: bytes that do not fit the layout, or a wrong correlation id."""

    data: bytes
    problem: str


@value
class Closed:
    """The broker ended the connection."""

    how: str


@value
class Silence:
    """Nothing, or not all of an answer, within the time."""

    waited_s: float
    had_bytes: int = 0


Heard = Answer | Broken | Closed | Silence


# What was said


@dataclass(frozen=True)
class Entry:
    """One thing that was said, or that happened, on a connection."""

    at_s: float
    connection: int
    what: str  # "sent", "received", or what happened
    data: bytes = b""
    told: str = ""  # which request it is, or answers
    message: Any = None


@dataclass
class Transcript:
    """All that was said, in the order of time; times count from its beginning."""

    begun: float = field(default_factory=time.monotonic)
    entries: list[Entry] = field(default_factory=list)
    connections: int = 0

    def add(self, connection: int, what: str, data: bytes = b"", told: str = "", message: Any = None) -> None:
        """Note it down."""
        self.entries.append(Entry(time.monotonic() - self.begun, connection, what, data, told, message))


# The connection


@value
class Asked:
    """A request whose answer is outstanding: what its layout is, if it has one."""

    correlation_id: int
    api_key: int
    api_version: int

    def __str__(self) -> str:
        name = APIS[self.api_key].name if self.api_key in APIS else f"API {self.api_key}"
        return f"{name} v{self.api_version}"

    @property
    def has_layout(self) -> bool:
        """Can its messages be read?"""
        return self.api_key in APIS and APIS[self.api_key].min_version <= self.api_version <= APIS[self.api_key].max_version


class Connection:
    """A TCP connection. Unreachable if there is none; nothing takes longer than the deadline."""

    def __init__(self, host: str, port: int, deadline: Deadline, transcript: Transcript | None = None) -> None:
        self.deadline = deadline
        self.transcript = Transcript() if transcript is None else transcript
        self.transcript.connections += 1
        self.number = self.transcript.connections
        self.outstanding: deque[Asked] = deque()
        self.held = b""
        self.correlation_id = 0
        try:
            self.socket = socket.create_connection((host, port), timeout=deadline.left_s(CONNECT_TIMEOUT_S))
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            self.note(f"no connection to {host}:{port}: {reason}")
            raise Unreachable(f"{host}:{port} cannot be reached: {reason}") from None
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.note(f"connected to {host}:{port}")

    def note(self, what: str, data: bytes = b"", told: str = "", message: Any = None) -> None:
        """Write into the transcript."""
        self.transcript.add(self.number, what, data, told, message)

    # Saying

    def send_bytes(self, data: bytes, told: str = "", message: Any = None) -> None:
        """Bytes as they are. Whether they arrive shows in what is heard afterwards."""
        self.note("sent", data, told, message)
        self.held += data
        self.flush()

    def next_id(self) -> int:
        """A correlation id that was not used here yet."""
        self.correlation_id += 1
        return self.correlation_id

    def send_frame(self, api_key: int, api_version: int, body: bytes, *, client_id: ClientId = None, message: Any = None) -> None:
        """A request; its answer is outstanding from now on."""
        asked = Asked(self.next_id(), api_key, api_version)
        frame = codec.request_frame(api_key, api_version, asked.correlation_id, client_id, body)
        self.hold(asked, INT32.pack(len(frame)) + frame, message)
        self.flush()

    def hold(self, asked: Asked, data: bytes, message: Any = None) -> None:
        """A request in bytes, which goes out with the next `flush`; its answer is outstanding from now on."""
        self.outstanding.append(asked)
        self.held += data
        self.note("sent", data, str(asked), message)

    def flush(self, piece: int = 0) -> None:
        """Send what is held; `piece`: so many bytes at a time, each time a little later."""
        data, self.held = self.held, b""
        try:
            for begin in range(0, len(data), piece or len(data) or 1):
                time.sleep(PIECE_PAUSE_S if piece else 0)
                self.socket.settimeout(self.deadline.left_s())
                self.socket.sendall(data[begin : begin + piece] if piece else data)
        except OSError as error:  # the end of the connection, or of the time: listening tells which
            self.note(f"could not send it all: {error}")

    def send(self, api_key: int, api_version: int, message: Any, *, client_id: ClientId = None) -> None:
        """A request by its message."""
        self.send_frame(api_key, api_version, codec.encode(message, api_key, api_version, "request"), client_id=client_id, message=message)

    def expect_nothing(self) -> None:
        """The request that was just sent has no answer."""
        self.outstanding.pop()

    def say_no_more(self) -> None:
        """End our side of the connection."""
        self.note("we say no more")
        with suppress(OSError):  # the broker said so before us
            self.socket.shutdown(socket.SHUT_WR)

    # Listening

    def receive(self, patience_s: float | None = None) -> Heard:
        """The answer to the oldest request that is outstanding, or what came instead."""
        heard = self.frame(Deadline(self.deadline.left_s(patience_s)))
        if not isinstance(heard, bytes):
            self.note("the broker ended the connection" if isinstance(heard, Closed) else "silence")
            return heard
        asked = self.outstanding.popleft() if self.outstanding else None
        answer = self.answer(heard, asked)
        told = f"answer to {asked}" if asked else "an answer to nothing"
        self.note("received", heard, told, answer.message if isinstance(answer, Answer) else answer.problem)
        return answer

    def is_silent(self, patience_s: float) -> bool:
        """Does nothing come within this time?"""
        return not select.select([self.socket], [], [], self.deadline.left_s(patience_s))[0]

    def frame(self, until: Deadline) -> bytes | Closed | Silence:
        """One frame, without its length."""
        begun = time.monotonic()
        taken = bytearray()
        wanted = INT32.size
        while len(taken) < wanted:
            self.socket.settimeout(until.left_s())
            try:
                chunk = self.socket.recv(min(wanted - len(taken), CHUNK_BYTES))
            except TimeoutError:
                return Silence(round(time.monotonic() - begun, 3), len(taken))
            except OSError as error:
                return Closed(f"{error.strerror}, {len(taken)} bytes into an answer" if taken else str(error.strerror))
            if not chunk:
                return Closed(f"it ended {len(taken)} bytes into an answer" if taken else "it ended")
            taken += chunk
            if len(taken) == wanted == INT32.size:
                (size,) = INT32.unpack(taken)
                wanted += min(max(size, 0), ANSWER_BYTES_MAX)
        return bytes(taken[INT32.size :])

    def answer(self, data: bytes, asked: Asked | None) -> Answer | Broken:
        """The message in a frame."""
        if asked is None:
            return Broken(data, "nothing was asked")
        if len(data) < INT32.size:
            return Broken(data, f"a frame of {len(data)} bytes has no correlation id")
        (correlation_id,) = struct.unpack_from(">i", data)
        if correlation_id != asked.correlation_id:
            return Broken(data, f"correlation id {correlation_id} where {asked.correlation_id} was asked")
        key, version = asked.api_key, asked.api_version
        if not asked.has_layout:
            if key != API_VERSIONS:
                return Answer(data, None)
            version = 0  # the one that every client can read
        try:
            return Answer(data, codec.decode(data, key, version, "response", codec.answer_body(data, key, version)))
        except Malformed as error:
            return Broken(data, str(error))

    def ask(self, api_key: int, api_version: int, message: Any, *, client_id: ClientId = None) -> Heard:
        """Send a request, and listen for its answer."""
        self.send(api_key, api_version, message, client_id=client_id)
        return self.receive()

    def close(self) -> None:
        """End the connection."""
        self.socket.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
