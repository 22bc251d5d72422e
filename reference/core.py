"""The reference broker without sockets: whole frames and the time in, bytes to send and timers out.

One request of a connection is under way at a time; who holds the sockets gives the next frame once the one before is finished (WIRE-FRAME-10).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fiducial.models import apis, broker, events
from fiducial.models.apis import Verdict
from fiducial.models.errors import Error
from fiducial.models.groups import Alarm, SetAlarm
from fiducial.models.rules import rule
from fiducial.models.settings import Settings
from fiducial.models.state import Broker, Cluster
from fiducial.reference import codec, records
from fiducial.reference.codec import INT16, INT32, Malformed, Reader
from fiducial.reference.storage import Storage


@dataclass(frozen=True)
class Send:
    """Send these bytes, if any: the connection's request is finished."""

    connection: int
    data: bytes


@dataclass(frozen=True)
class Hangup:
    """End the connection; `reason` is for the log."""

    connection: int
    reason: str


@dataclass(frozen=True)
class Wake:
    """Call `timer(ticket)` at `at_ms`, or `ring(alarm)`, and not when it was asked for before; at_ms None: no more."""

    ticket: int | Alarm
    at_ms: int | None


Action = Send | Hangup | Wake


@dataclass(frozen=True)
class Header:
    """The header of a request."""

    api_key: int
    api_version: int
    correlation_id: int
    client_id: str | None


@dataclass(frozen=True)
class Waiting:
    """A request that was handed to the model: where its answer goes."""

    connection: int
    header: Header


@rule("WIRE-FRAME-2")
def read_header(reader: Reader) -> Header:
    """The header; Malformed if the frame ends in it."""
    api_key, api_version, correlation_id = reader.number(INT16), reader.number(INT16), reader.number(INT32)
    client_id = read_client_id(reader)
    if apis.has_flexible_header(api_key, api_version):
        reader.skip_tags()
    return Header(api_key, api_version, correlation_id, client_id)


@rule("WIRE-FRAME-5")
def read_client_id(reader: Reader) -> str | None:
    """Whatever a client calls itself; a negative length is none. Unlike other strings its length is 16 bits in every version."""
    size = reader.number(INT16)
    return reader.take(size).decode("utf-8", "replace") if size >= 0 else None


@rule("WIRE-FRAME-7")
def read_body(header: Header, reader: Reader) -> Any:
    """The request; bytes behind it are ignored."""
    return codec.layout_of(header.api_key, header.api_version, "request").read(reader)


class Core:
    """The model, the bytes it asked to be kept, and the requests it has not answered yet."""

    def __init__(self, cluster: Cluster, settings: Settings, seed: int) -> None:
        self.broker = broker.new_broker(cluster, settings, seed)
        self.storage = Storage()
        self.waiting: dict[int, Waiting] = {}
        self.origins: dict[int, tuple[str, int]] = {}  # of a connection: the client's address, and by which listener it came
        self.tickets = 0
        #: The rules that refused something in the last event, for whoever compares.
        self.rules: tuple[str, ...] = ()

    def connected(self, connection: int, address: str, listener: int = 0) -> None:
        """A connection begins, from this address, by this listener."""
        self.origins[connection] = broker.client_host(address), listener

    def frame(self, connection: int, frame: bytes, now: int) -> list[Action]:
        """One frame, without its length."""
        reader = Reader(frame, records.parsed)
        try:
            header = read_header(reader)
            verdict = apis.verdict(header.api_key, header.api_version)
            if verdict is Verdict.CLOSE:
                return [Hangup(connection, f"request {header.api_key} version {header.api_version} is not served")]
            if verdict is Verdict.TELL_VERSIONS:
                body = codec.encode(apis.unsupported(), header.api_key, 0, "response")
                return [Send(connection, framed(header, body, is_flexible=False))]
            request = read_body(header, reader)
        except Malformed as error:
            return [Hangup(connection, f"malformed request: {error}")]
        self.tickets += 1
        self.waiting[self.tickets] = Waiting(connection, header)
        origin = self.origins.get(connection, ("", 0))
        return self.step(events.Request(self.tickets, connection, header.client_id, header.api_version, request, *origin), now)

    def timer(self, ticket: int, now: int) -> list[Action]:
        """The time that a Wake named has come."""
        return self.step(events.Timer(ticket), now)

    def ring(self, alarm: Alarm, now: int) -> list[Action]:
        """The same for an alarm."""
        return self.step(events.Ring(alarm), now)

    def wake(self, what: int | Alarm, now: int) -> list[Action]:
        """One or the other."""
        return self.timer(what, now) if isinstance(what, int) else self.ring(what, now)

    def expiry(self, now: int) -> list[Action]:
        """Every offsets.retention.check.interval.ms."""
        return self.step(events.OffsetExpiry(), now)

    def housekeeping(self, now: int) -> list[Action]:
        """Every log.retention.check.interval.ms."""
        return self.step(events.Housekeeping(), now)

    def disconnected(self, connection: int, now: int) -> list[Action]:
        """The connection is gone."""
        self.origins.pop(connection, None)
        actions = self.step(events.Disconnected(connection), now)
        for ticket in [ticket for ticket, waiting in self.waiting.items() if waiting.connection == connection]:
            del self.waiting[ticket]
        return actions

    def step(self, event: events.Event, now: int) -> list[Action]:
        """Let the model decide, store what it writes down, and do what it says."""
        self.broker, effects = broker.step_in_memory(self.broker, event, now, lambda before, append: self.stored(before, append, now))
        actions: list[Action] = []
        self.rules = ()
        self.perform(effects, actions)
        return actions

    def stored(self, before: Broker, append: events.Append, now: int) -> tuple[Broker, Error, tuple[events.Effect, ...]]:
        """The broker with records of its own in a log."""
        return broker.stored(before, append, records.parsed_batch(records.encoded(append.records, now)), now)

    def perform(self, effects: Iterable[events.Effect], actions: list[Action]) -> None:
        """Do what the model says, and put down what others have to do."""
        for effect in effects:
            match effect:
                case events.Write():
                    self.storage.write(effect)
                case events.Drop():
                    self.storage.drop(effect)
                case events.Forget():
                    self.storage.forget(effect)
                case events.Trim():
                    self.broker = broker.trimmed(self.broker, effect)
                case events.Persist() | events.Append():
                    pass  # nothing outlives this broker, and what is appended is
                case events.SetTimer(ticket, at_ms):
                    actions.append(Wake(ticket, at_ms))
                case events.ClearTimer(ticket):
                    actions.append(Wake(ticket, None))
                case SetAlarm(alarm, at_ms):
                    actions.append(Wake(alarm, at_ms))
                case events.Reply(ticket):
                    self.rules += effect.rules
                    if ticket in self.waiting:  # or its connection is gone, and nobody listens
                        actions.append(self.answer(effect))
                case events.Close(ticket, rules):
                    self.rules += rules
                    actions.append(Hangup(self.waiting.pop(ticket).connection, f"refused without acks: {', '.join(rules)}"))

    def answer(self, reply: events.Reply) -> Send:
        """The reply as bytes; slices become the bytes they stand for now."""
        waiting = self.waiting.pop(reply.ticket)
        if reply.body is None:
            return Send(waiting.connection, b"")
        header = waiting.header
        body = codec.encode(reply.body, header.api_key, header.api_version, "response", self.storage.read)
        is_flexible = apis.has_flexible_answer(header.api_key, header.api_version)
        return Send(waiting.connection, framed(header, body, is_flexible))


@rule("WIRE-FRAME-11")
def framed(header: Header, body: bytearray, is_flexible: bool) -> bytes:
    """Length, the request's correlation id, tags if the header has them, body."""
    tags = b"\x00" if is_flexible else b""
    return INT32.pack(4 + len(tags) + len(body)) + INT32.pack(header.correlation_id) + tags + bytes(body)
