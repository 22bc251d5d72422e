"""A case of `fiducial conform`, told in one version, as frames: what is sent, and what may be answered.

The oracle is asked what the case asks, and so is all that a judge does beside the story: making topics, asking for ids, waiting until a change is
seen. spec/vectors.md describes what comes of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from fiducial.conformance import codec
from fiducial.conformance.cases import (
    CLIENT_ID,
    Awaited,
    Bytes,
    Case,
    MadeAnew,
    Removed,
    SideEnds,
    Step,
    StillWaits,
    TimePasses,
    Topic,
)
from fiducial.conformance.client import Asked
from fiducial.conformance.codec import INT32
from fiducial.conformance.oracle import KEYS, Allowed, Expected
from fiducial.conformance.running import CHANGES, QUESTIONS
from fiducial.conformance.script import Script
from fiducial.conformance.symbols import Ago, Batch, spoken
from fiducial.models import idempotence
from fiducial.models import messages as m
from fiducial.models.apis import API_VERSIONS, APIS, has_flexible_answer
from fiducial.models.config_requests import Resource
from fiducial.models.errors import Error
from fiducial.models.partition import LATEST_TIMESTAMP
from fiducial.models.settings import TOPIC, parse
from fiducial.models.specification import Level, RuleText
from fiducial.models.state import Cluster
from fiducial.models.values import Uuid, changed
from vectors.holes import BEGUN_MS, INT64, NODE, PRODUCER, RUN, Holes, Inexpressible, Parts

#: What is done beside the story is asked on this connection, in these versions: the newest, but for CreateTopics, which tells ids since v7.
BEHIND_THE_SCENES = 0
#: A request that is left to wait gets so long to arrive before the next: nothing tells that a busy broker has taken it in.
ARRIVAL_MS = 500
#: The broker's own time is told from the client's by this.
LATER_MS = 1_234_567
HISTORY_BYTES_MAX = 64_000
TOLD_CHARACTERS = 120
CONFIG_CHANGES = frozenset({KEYS[m.IncrementalAlterConfigsRequest], KEYS[m.AlterConfigsRequest]})
#: No story writes to more of a topic that it makes itself.
FEW_PARTITIONS = 4


class History:
    """One telling, while it is written down."""

    def __init__(self, case: Case, version: int | None) -> None:
        self.case, self.version = case, version
        self.holes = Holes()
        self.steps: list[dict[str, Any]] = []
        self.needs: set[tuple[int, int]] = set()
        self.refusals: dict[str, None] = {}  # the rules by which something is refused, in order
        self.correlation_ids: dict[int, int] = {}  # by connection, the last
        self.outstanding: dict[int, list[Asked]] = {}  # by connection
        self.unsaid: dict[str, None] = {}  # why some answers may be any, or why it ends early
        self.is_judged = False  # something that belongs to the story may not be any
        self.has_changed = False
        self.now_ms = BEGUN_MS + LATER_MS
        names = {called: f"vectors-{RUN}-{called}".ljust(topic.characters, "x") for called, topic in case.topics}
        cluster = Cluster("fiducialfiducialfiduci", NODE, "localhost", 9092)
        bare = changed(case, topics=(), producers=0)
        self.script = Script(bare, cluster, parse({}), m.IncrementalAlterConfigsRequest(), names, {}, self.clock)
        self.script.view.begun_ms = BEGUN_MS
        ids = idempotence.ProducerIds(PRODUCER, PRODUCER + idempotence.BLOCK_IDS)
        self.script.oracle.broker = changed(self.script.oracle.broker, producer_ids=ids)

    def clock(self) -> int:
        """The oracle's time, in ms."""
        self.holes.clock.add(self.now_ms)
        return self.now_ms

    def told(self) -> list[dict[str, Any]]:
        """The whole of it, or up to what cannot be said. Inexpressible if nothing of the story is judged then."""
        self.ask(m.MetadataRequest(topics=(), allow_auto_topic_creation=False))
        for called, topic in self.case.topics:
            if topic.partitions:
                self.make(called, topic)
        for _ in range(self.case.producers):
            self.ask(m.InitProducerIdRequest(None), is_repeated=True)
        try:
            for step in self.case.story:
                check_times(step.body)
                self.tell(step)
        except Inexpressible as reason:
            self.unsaid[str(reason)] = None
        if not self.is_judged:
            raise Inexpressible(next(iter(self.unsaid)))
        return self.steps

    # Behind the scenes

    def ask(self, request: Any, *, is_repeated: bool = False) -> Any:
        """Something beside the story, in the newest version; `is_repeated`: until it is answered so."""
        step = Step(request, APIS[KEYS[type(request)]].max_version, CLIENT_ID, BEHIND_THE_SCENES)
        return self.request(step, step.version or 0, is_repeated=is_repeated).message

    def make(self, called: str, topic: Topic) -> None:
        """A topic comes, and can be written to."""
        name = self.script.view.names[called]
        configs = tuple(m.CreatableTopicConfig(*one) for one in topic.config)
        (made,) = self.ask(m.CreateTopicsRequest((m.CreatableTopic(name, topic.partitions, 1, (), configs),))).topics
        assert made.error_code == Error.NONE, made
        for index in range(topic.partitions):
            self.ask_end(name, index)

    def remove(self, called: str) -> None:
        """A topic goes, and nobody knows it any more."""
        name = self.script.view.names[called]
        self.ask(m.DeleteTopicsRequest((m.DeleteTopicState(name),), (name,), 10_000))
        self.await_change()
        self.ask_end(name, 0)

    def look_around(self) -> None:
        """Take note of the topics that have come and gone, and of the ids that were given out."""
        self.script.follow()
        view = self.script.view
        self.holes.known |= {INT32.pack(session): f"session {number}" for number, session in enumerate(view.sessions)}
        self.holes.known |= {INT64.pack(producer): f"producer {number}" for number, producer in enumerate(view.producer_ids)}
        for called, name in self.script.view.names.items():
            topic = self.script.oracle.broker.topics.by_name.get(name)
            if topic is not None and topic.topic_id not in self.holes.known:
                times = sum(one.startswith(f"id of {called}") for one in self.holes.known.values())
                self.holes.known[topic.topic_id] = f"id of {called}{f' ({times + 1})' if times else ''}"

    @property
    def topics(self) -> set[Uuid]:
        """The topics that there are, by id."""
        return {topic.topic_id for topic in self.script.oracle.broker.topics.by_name.values()}

    def await_change(self) -> None:
        """Ask what topics there are, until it is as it should be, and until those that there are can be written to."""
        for name in self.script.view.names.values():
            self.ask(m.MetadataRequest((m.MetadataRequestTopic(name=name),), False), is_repeated=True)
            if (topic := self.script.oracle.broker.topics.by_name.get(name)) is not None:
                for index in range(min(topic.partitions, FEW_PARTITIONS)):
                    self.ask_end(name, index)

    def ask_end(self, name: str, index: int) -> None:
        """Ask where a partition ends, until it is as it should be."""
        end = m.ListOffsetsTopic(name, (m.ListOffsetsPartition(index, timestamp=LATEST_TIMESTAMP),))
        self.ask(m.ListOffsetsRequest(-1, 0, (end,)), is_repeated=True)

    def await_configs(self, resources: tuple[Any, ...]) -> None:
        """Ask for the configurations that were to be changed, until they are as they should be."""
        for one in resources:
            names = tuple(dict.fromkeys(config.name for config in one.configs if config.name in TOPIC))
            if one.resource_type == Resource.TOPIC and one.resource_name in self.script.view.names.values() and names:
                self.ask(m.DescribeConfigsRequest((m.DescribeConfigsResource(Resource.TOPIC, one.resource_name, names),)), is_repeated=True)

    # The story

    def tell(self, step: Step) -> None:
        """One step."""
        match step.body:
            case TimePasses(ms):
                pause_ms = spoken(ms, self.script.view)
                self.now_ms += pause_ms
                self.steps.append({"sleep": pause_ms})
            case Removed(topic):
                self.remove(topic)
            case MadeAnew(topic):
                self.remove(topic)
                self.make(topic, dict(self.case.topics)[topic])
            case SideEnds():
                self.script.expected(step, None)
                self.steps.append({"on": step.connection, "shut": True})
            case Awaited():
                waiting = self.outstanding.get(step.connection)
                asked = waiting.pop(0) if waiting else None
                self.steps.append({"on": step.connection, **self.outcome(step, asked, self.script.expected(step, None))})
            case StillWaits():
                self.script.expected(step, None)
                self.unsaid["that somebody waits still"] = None
            case _:
                self.request(step, self.version_of(step), is_repeated=step.until or (self.has_changed and step.api_key in QUESTIONS))

    def version_of(self, step: Step) -> int:
        """The version that a request is told in."""
        assert step.api_key is not None
        if step.version is not None:
            return step.version
        is_swept = self.case.sweep is not None and step.api_key == KEYS[self.case.sweep]
        return self.version if is_swept and self.version is not None else APIS[step.api_key].max_version

    def request(self, step: Step, version: int, *, is_repeated: bool = False) -> Expected:
        """A request, and its answer where one is awaited at once."""
        assert step.api_key is not None
        asked = Asked(step.numbered(self.next_id(step.connection)), step.api_key, version)
        frame = step.frame(spoken(step.body, self.script.view), version, asked.correlation_id)
        size = len(frame) if step.odd.size is None else step.odd.size
        is_story = step.connection != BEHIND_THE_SCENES
        told = {"told": step.told(version)[:TOLD_CHARACTERS]} if is_story else {}
        sent: dict[str, Any] = {**told, "on": step.connection, "send": self.holes.request(INT32.pack(size) + frame)}
        self.needs |= {(step.api_key, version)} if asked.has_layout else set()
        before = self.topics
        expected = self.script.expected(step, version)
        self.look_around()
        if step.waits or step.is_pipelined:
            self.outstanding.setdefault(step.connection, []).extend([asked] if step.expects_answer else [])
            self.steps += [sent, *([{"sleep": ARRIVAL_MS}] if step.waits else [])]
        elif step.expects_answer:
            self.steps.append(sent | self.outcome(step, asked, expected) | ({"again": True} if is_repeated else {}))
        else:
            self.steps += [sent, self.sign_of_life(step, expected)]
        self.has_changed |= is_story and step.api_key in CHANGES
        if is_story and self.topics != before:
            self.await_change()
        if is_story and step.api_key in CONFIG_CHANGES and not isinstance(step.body, Bytes):
            self.await_configs(spoken(step.body, self.script.view).resources)
        return expected

    def next_id(self, connection: int) -> int:
        """A correlation id that was not used on a connection yet."""
        self.correlation_ids[connection] = self.correlation_ids.get(connection, 0) + 1
        return self.correlation_ids[connection]

    def sign_of_life(self, step: Step, expected: Expected) -> dict[str, Any]:
        """Behind a request without an answer, whether it ends the connection shows in what comes of another."""
        asked = Asked(self.next_id(step.connection), API_VERSIONS, 0)
        frame = codec.request_frame(API_VERSIONS, 0, asked.correlation_id, CLIENT_ID, b"")
        alive = Expected(m.ApiVersionsResponse(api_keys=(m.ApiVersion(),)), closes=expected.closes)
        return {"on": step.connection, "send": self.holes.request(INT32.pack(len(frame)) + frame), **self.outcome(step, asked, alive)}

    def outcome(self, step: Step, asked: Asked | None, expected: Expected) -> dict[str, Any]:
        """The answers that are allowed, or the end."""
        self.refusals |= dict.fromkeys(expected.rules)
        is_story = step.connection != BEHIND_THE_SCENES
        if expected.closes:
            self.is_judged |= is_story
            self.correlation_ids.pop(step.connection, None)
            return {"end": True}
        assert asked is not None and expected.message is not None
        others = list(otherwise(expected.message, expected.allowed))
        return {"answers": [self.answer(asked, message, is_story=is_story) for message in (expected.message, *others)]}

    def answer(self, asked: Asked, message: Any, *, is_story: bool) -> Parts:
        """One of them; if it cannot be written down, any."""
        head = INT32.pack(asked.correlation_id)
        tags = b"\x00" if has_flexible_answer(asked.api_key, asked.api_version) else b""
        key, version = (asked.api_key, asked.api_version) if asked.has_layout else (API_VERSIONS, 0)
        try:
            parts = self.holes.answer(head + tags, message, key, version)
            self.is_judged |= is_story
            return parts
        except Inexpressible as reason:
            self.unsaid[str(reason)] = None
            return [{"hex": head.hex()}, {"rest": True}]


def otherwise(message: Any, allowed: Allowed) -> Iterator[Any]:
    """The message with an error that a peer may answer instead, if it has one that is ours; with what else we tell of it, and without."""
    for ours, theirs in sorted(allowed):
        found = list(dict.fromkeys(replaced(message, ours, theirs, is_bare) for is_bare in (False, True)))
        if message not in found:
            if theirs == Error.NONE:
                raise Inexpressible("a peer may take what we refuse")
            yield from found


def replaced(held: Any, ours: int, theirs: int, is_bare: bool) -> Any:
    """A message with an error in place of another; bare of text and hints, or not."""
    if isinstance(held, tuple):
        return tuple(replaced(one, ours, theirs, is_bare) for one in held)
    if not attrs.has(type(held)):
        return held
    fields = {one.name: replaced(getattr(held, one.name), ours, theirs, is_bare) for one in attrs.fields(type(held))}
    if fields.get("error_code") == ours:
        fields["error_code"] = theirs
        if is_bare and "error_message" in fields:
            fields["error_message"] = None
        if is_bare and "current_leader" in fields:
            fields["current_leader"] = type(fields["current_leader"])()
    return type(held)(**fields)


def check_times(held: Any) -> None:
    """Inexpressible, if a batch has records whose times stand in no header: how far they are from each other then depends on when it is told."""
    if isinstance(held, tuple):
        for one in held:
            check_times(one)
    elif isinstance(held, Batch):
        if len({isinstance(record.timestamp, Ago) for record in held.records}) > 1:
            raise Inexpressible("times of its own beside times that go with the clock")
    elif attrs.has(type(held)):
        check_times(tuple(getattr(held, one.name) for one in attrs.fields(type(held))))


# All of them


def written(case: Case, version: int | None, rules: Mapping[str, RuleText]) -> dict[str, Any]:
    """A case in one version, as data. Inexpressible, with the reason."""
    if reason := left_out(case, rules):
        raise Inexpressible(reason)
    history = History(case, version)
    steps = history.told()
    if sum(bytes_in(step.get("send", [])) for step in steps) > HISTORY_BYTES_MAX:
        raise Inexpressible("too large")
    api = "" if version is None or case.sweep is None else f" {APIS[KEYS[case.sweep]].name} v{version}"
    return {
        "id": f"{case.id}{api}",
        "cases": [case.id],
        "rules": list(case.rules),
        "level": rules[case.rule].level.value,
        "refusals": list(history.refusals),
        "unsaid": list(history.unsaid),
        "needs": sorted(history.needs),
        "steps": steps,
    }


def left_out(case: Case, rules: Mapping[str, RuleText]) -> str:
    """Why a case has no history; empty, if it may have one."""
    if case.is_info or rules[case.rule].level is Level.MAY:
        return "nothing hangs on it"
    if case.settings:
        return "needs a broker with other settings"
    if case.groups:
        return "holes cannot stand for the ids of members"
    return "changes what others see" if case.is_destructive or case.afterwards else ""


def bytes_in(parts: Parts) -> int:
    """How many there are, about."""
    return sum(len(part.get("hex", "")) // 2 + bytes_in(part.get("crc", [])) for part in parts)


def versions(case: Case) -> list[int | None]:
    """Those that a case can be told in, the newest first."""
    if case.sweep is None:
        return [None]
    api = APIS[KEYS[case.sweep]]
    return list(range(api.max_version, api.min_version - 1, -1))
