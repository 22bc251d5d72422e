"""What a broker should answer: the models, asked.

The oracle holds one value, the broker of `models.broker`, and the batches that it stored; it is asked messages and answers messages, each as its
version has it. A request that has to wait does so while others are asked; once its answer is wanted, the time passes until it is there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fiducial.conformance import batches, codec
from fiducial.conformance.batches import Item, Sent
from fiducial.conformance.codec import Malformed
from fiducial.models import apis, broker, events
from fiducial.models import messages as m
from fiducial.models.apis import API_VERSIONS, APIS, Verdict
from fiducial.models.batches import SentBatch, Slice
from fiducial.models.groups import Alarm, SetAlarm
from fiducial.models.rules import LADDERS
from fiducial.models.settings import Settings
from fiducial.models.state import Cluster
from fiducial.models.values import Uuid, changed, value

KEYS = {api.request: api.key for api in APIS.values()}
#: Where the suite speaks from, as the oracle has it.
CLIENT_HOST = "/127.0.0.1"
FOR_EVER = 1 << 62

#: A pair of error codes: what the model answers, and what a peer may answer in its place.
Allowed = frozenset[tuple[int, int]]


@value
class Expected:
    """What is to be answered: a message, in which records are bytes; nothing (`message` is None); or the end of the connection."""

    message: Any
    closes: bool = False
    rules: tuple[str, ...] = ()  # those that refused something, in order

    @property
    def allowed(self) -> Allowed:
        """What a peer may answer instead, by the rules that refused (`Rung.also`)."""
        return allowed_instead(self.rules)


def allowed_instead(rules: tuple[str, ...]) -> Allowed:
    """What a peer may answer where these rules refused."""
    rungs = (rung for ladder in LADDERS.values() for rung in ladder.rungs if rung.rule in rules)
    return frozenset((int(rung.error), int(code)) for rung in rungs for code in rung.also)


THE_END = Expected(None, closes=True)


@value
class Asked:
    """A request whose answer nobody has heard yet."""

    ticket: int
    api_key: int
    api_version: int


class Oracle:
    """One broker that answers as the models do."""

    def __init__(self, cluster: Cluster, settings: Settings, seed: int) -> None:
        self.broker = broker.new_broker(cluster, settings, seed)
        self.logs: dict[tuple[Uuid, int], list[tuple[int, bytes]]] = {}  # of each partition the batches, by base offset
        self.tickets = 0
        self.asked: dict[int, Asked] = {}  # by connection
        self.behind: dict[int, list[codec.Request | Expected]] = {}  # by connection, what stands behind that
        self.answers: dict[int, Expected] = {}  # by ticket, those that nobody has heard yet
        self.timers: dict[int, int] = {}  # by ticket: when (ms) it is answered in any case
        self.alarms: dict[Alarm, int] = {}  # of groups: when (ms) they ring

    def ask(self, request: Any, api_version: int, *, now: int, client_id: str | None = None, connection: int = 1) -> Expected:
        """The answer to a request, whose records are bytes, at `now` (ms)."""
        self.begin(request, api_version, now=now, client_id=client_id, connection=connection)
        return self.awaited(connection, now=now)

    def begin(self, request: Any, api_version: int, *, now: int, client_id: str | None = None, connection: int = 1) -> None:
        """Take in a request; if another waits on its connection, it stands behind that."""
        key = KEYS[type(request)]
        self.take_in(codec.Request(key, api_version, client_id, codec.as_seen(request, key, api_version, "request")), connection, now)

    def hear(self, frame: bytes, size_bytes: int, *, now: int, connection: int = 1) -> None:
        """Take in a frame that announces a size, whatever it holds."""
        is_refused = apis.size_is_refused(size_bytes, self.broker.settings.socket_request_max_bytes)
        self.take_in(THE_END if is_refused else arrived(frame), connection, now)

    def take_in(self, arrived: codec.Request | Expected, connection: int, now: int) -> None:
        """Let the model decide a request, unless it has to stand behind another; what is none of the model's business comes with its outcome."""
        if connection in self.asked:
            self.behind.setdefault(connection, []).append(arrived)
            return
        self.time_passes(now)
        self.tickets += 1
        if isinstance(arrived, Expected):
            self.asked[connection] = Asked(self.tickets, API_VERSIONS, 0)
            self.answers[self.tickets] = arrived
        else:
            self.asked[connection] = Asked(self.tickets, arrived.api_key, arrived.api_version)
            body = with_records(arrived.message)
            self.step(events.Request(self.tickets, connection, arrived.client_id, arrived.api_version, body, CLIENT_HOST), now)

    def is_answered(self, connection: int, *, now: int, until_ms: int | None = None) -> bool:
        """Is the request on a connection answered, now, or by then if nothing else happens?"""
        ticket = self.asked[connection].ticket
        self.time_passes(now)
        while ticket not in self.answers and until_ms is not None:
            at_ms = min([self.timers.get(ticket, FOR_EVER), *self.alarms.values()])
            if at_ms > until_ms:
                return False
            self.time_passes(at_ms)
            if ticket not in self.answers and self.timers.get(ticket) == at_ms:
                self.step(events.Timer(ticket), max(now, at_ms))
        return ticket in self.answers

    def time_passes(self, now: int) -> None:
        """Let the alarms ring whose time has come, the earliest first."""
        while due := [(at_ms, one.kind.value, one.group_id, one.member_id, one) for one, at_ms in self.alarms.items() if at_ms <= now]:
            at_ms, *_, alarm = min(due, key=lambda one: one[:-1])
            del self.alarms[alarm]
            self.step(events.Ring(alarm), at_ms)

    def awaited(self, connection: int, *, now: int) -> Expected:
        """The answer to the request on a connection; if there is none yet, time passes until it comes."""
        is_answered = self.is_answered(connection, now=now, until_ms=FOR_EVER - 1)
        assert is_answered, "nothing ever answers this"
        asked = self.asked.pop(connection)
        self.timers.pop(asked.ticket, None)
        expected = self.answers.pop(asked.ticket)
        behind = self.behind.pop(connection, [])
        if not expected.closes:
            for one in behind:
                self.take_in(one, connection, now)
        if expected.message is None:
            return expected
        return changed(expected, message=codec.as_seen(expected.message, asked.api_key, asked.api_version, "response"))

    def keep_house(self, *, now: int) -> None:
        """Look for what has gone out of retention."""
        self.time_passes(now)
        self.step(events.Housekeeping(), now)
        self.step(events.OffsetExpiry(), now)

    def step(self, event: events.Event, now: int) -> None:
        """Let the model decide, store what it writes down, and do what it says."""
        self.broker, effects = broker.step_in_memory(
            self.broker, event, now, lambda before, append: broker.stored(before, append, as_batch(append, now), now)
        )
        self.perform(effects)

    def perform(self, effects: Iterable[events.Effect]) -> None:
        """Do what the model says."""
        for effect in effects:
            match effect:
                case events.Reply(ticket, body, rules):
                    self.answers[ticket] = Expected(self.with_bytes(body), rules=rules)
                case events.Close(ticket, rules):
                    self.answers[ticket] = Expected(None, closes=True, rules=rules)
                case events.SetTimer(ticket, at_ms):
                    self.timers[ticket] = at_ms
                case SetAlarm(alarm, at_ms):
                    self.alarms[alarm] = at_ms
                case events.Write():
                    self.write(effect)
                case events.Drop(topic_id, index, below):
                    log = self.logs.get((topic_id, index), [])
                    log[:] = [entry for entry in log if entry[0] >= below]
                case events.Forget(topic_id):
                    self.logs = {key: log for key, log in self.logs.items() if key[0] != topic_id}
                case _:
                    pass

    def write(self, write: events.Write) -> None:
        """Append one batch, as it is stored."""
        assert isinstance(write.payload, Sent)
        data = write.payload.stamped(write.base_offset, write.leader_epoch, write.has_append_time, write.max_timestamp)
        self.logs.setdefault((write.topic_id, write.partition), []).append((write.base_offset, data))

    def with_bytes(self, body: Any) -> Any:
        """The answer with the bytes that its slices stand for."""
        if not isinstance(body, m.FetchResponse):
            return body
        topics = [
            changed(topic, partitions=tuple(changed(part, records=self.read(part.records)) for part in topic.partitions))
            for topic in body.responses
        ]
        return changed(body, responses=tuple(topics))

    def read(self, wanted: Slice | None) -> bytes | None:
        """The bytes from the batch at an offset on."""
        if wanted is None:
            return None
        log = self.logs.get((wanted.topic_id, wanted.partition), [])
        return b"".join(data for base_offset, data in log if base_offset >= wanted.base_offset)[: wanted.size_bytes]


def as_batch(append: events.Append, now: int) -> SentBatch:
    """Records of the broker's own, as a batch."""
    return batches.sent_batch(batches.build([Item(now, *record) for record in append.records]))


def arrived(frame: bytes) -> codec.Request | Expected:
    """The request in a frame; if there is none that is served, what becomes of it."""
    try:
        request = codec.read_request(frame)
    except Malformed:
        return THE_END
    match apis.verdict(request.api_key, request.api_version):
        case Verdict.SERVE:
            return request
        case Verdict.TELL_VERSIONS:
            return Expected(apis.unsupported())
        case Verdict.CLOSE:
            return THE_END


def with_records(request: Any) -> Any:
    """The request as the model takes it: of records, what is in them."""
    if not isinstance(request, m.ProduceRequest):
        return request
    topics = [
        changed(
            topic,
            partition_data=tuple(changed(data, records=batches.sent_records(data.records)) for data in topic.partition_data),  # type: ignore[arg-type]
        )
        for topic in request.topic_data
    ]
    return changed(request, topic_data=tuple(topics))

