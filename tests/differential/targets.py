"""Targets of the history machine that only tests have: the reference broker in this process, and Apache Kafka."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

from fiducial.conformance.abstraction import wall_clock_ms
from fiducial.conformance.cases import CLIENT_ID
from fiducial.conformance.exploration.steps import answer_of, request_frame
from fiducial.conformance.exploration.targets import ANSWER_TIMEOUT_S, Closed, Remote, talk
from fiducial.conformance.exploration.tolerance import BARRIER
from fiducial.conformance.founding import Founded, founded
from fiducial.conformance.oracle import KEYS
from fiducial.conformance.symbols import View
from fiducial.models import messages as m
from fiducial.models.apis import APIS
from fiducial.models.config_requests import Operation, Resource
from fiducial.models.groups import Alarm
from fiducial.models.settings import parse
from fiducial.models.state import Cluster
from fiducial.reference.core import Action, Core, Hangup, Send, Wake


class Model:
    """The reference broker without sockets, in process."""

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
        self.alarms: dict[Alarm, int] = {}

    def ask(self, frame: bytes, expects_answer: bool) -> bytes | None:
        self.ring()
        actions = self.core.frame(self.connection, frame, self.clock())
        self.refused = (*(self.refused if self.has_begun else ()), *self.core.rules)
        waits = [action.ticket for action in actions if isinstance(action, Wake) and action.at_ms is not None and isinstance(action.ticket, int)]
        for ticket in waits:  # nobody else asks: the deadline may as well come at once
            actions += self.core.wake(ticket, self.clock())
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

    def found(self, group: str) -> Founded:
        (there,) = founded(Voice(self), [group])
        return there

    def start(self, frame: bytes) -> int:
        number = next(self.connections)
        self.core.connected(number, self.host)
        self.ring()
        self.take(self.core.frame(number, frame, self.clock()))
        return number

    def heard(self, number: int, patience_s: float) -> bytes | None:
        self.ring()
        if any(waiting.connection == number for waiting in self.core.waiting.values()):
            return None
        if number not in self.answers:
            raise Closed
        return self.answers.pop(number)[4:]

    def ring(self) -> None:
        """Every alarm whose time has come, the earliest first."""
        while due := [(at_ms, str(alarm), alarm) for alarm, at_ms in self.alarms.items() if at_ms <= self.clock()]:
            at_ms, _, alarm = min(due)
            del self.alarms[alarm]
            self.take(self.core.ring(alarm, at_ms))

    def take(self, actions: list[Action]) -> None:
        """Keep what is sent, until it is asked for."""
        for action in actions:
            if isinstance(action, Wake) and isinstance(action.ticket, Alarm):
                self.alarms.pop(action.ticket, None)
                self.alarms |= {} if action.at_ms is None else {action.ticket: action.at_ms}
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


class Voice:
    """The reference broker, asked by whoever founds a group there."""

    gives_ids = True

    def __init__(self, model: Model) -> None:
        self.model = model
        self.begun: dict[int, tuple[int, int]] = {}  # by whoever asks: the connection, and the API

    def begin(self, connection: int, request: Any) -> None:
        """Ask, in the newest version."""
        key = KEYS[type(request)]
        self.begun[connection] = self.model.start(request_frame(key, APIS[key].max_version, request, CLIENT_ID)), key

    def end(self, connection: int) -> Any:
        """The answer, which is there."""
        number, key = self.begun.pop(connection)
        data = self.model.heard(number, 0)
        assert data is not None
        return answer_of(data, key, APIS[key].max_version)


class ApacheKafka(Remote):
    """Apache Kafka, which answers a change of its metadata before it has carried it out."""

    #: A configuration of the group that is the barrier.
    CONFIG, LEAST = "consumer.session.timeout.ms", 45_000

    def __init__(self, host: str, port: int) -> None:
        super().__init__("Apache Kafka", host, port)
        self.changes = itertools.count()

    def settle(self) -> None:
        """Changes are carried out in order, some of them together; one that shows while one before it has shown is of a later round."""
        for _ in range(2):
            text = str(self.LEAST + next(self.changes) % 10_000)
            change = m.IncrementalAlterConfigsRequestAlterableConfig(self.CONFIG, Operation.SET, text)
            resource = m.IncrementalAlterConfigsRequestAlterConfigsResource(Resource.GROUP, BARRIER, (change,))
            (done,) = talk(self, 44, m.IncrementalAlterConfigsRequest((resource,), False)).responses
            assert done.error_code == 0, done
            self.await_change(text)

    def await_change(self, text: str) -> None:
        """Ask for the barrier's configuration until it is `text`."""
        asked = m.DescribeConfigsRequest((m.DescribeConfigsResource(Resource.GROUP, BARRIER, (self.CONFIG,)),))
        give_up = time.monotonic() + ANSWER_TIMEOUT_S
        while talk(self, 32, asked).results[0].configs[0].value != text:
            assert time.monotonic() < give_up, "Apache Kafka does not carry out what it answered"
