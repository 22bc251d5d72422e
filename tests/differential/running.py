"""Asking two targets the same, step by step, until they differ.

The first target is the model, which says what is allowed; the second is asked what it answers. Before a history both are brought to the same
beginning, so that one broker serves many histories; after a step that a peer was allowed to take otherwise, the history ends.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from differential.abstraction import (
    COORDINATORS_TOPICS,
    TOLERATED,
    Abstraction,
    Difference,
    allowed_instead,
    differences,
)
from differential.steps import Raw, Step, TimePasses
from differential.targets import (
    ANSWER_TIMEOUT_S,
    WOKEN_S,
    Closed,
    Session,
    Target,
    View,
    answer_of,
    talk,
    wall_clock_ms,
)
from fiducial.models import messages as m
from fiducial.models.apis import API_VERSIONS, APIS
from fiducial.models.config_requests import Operation, Resource
from fiducial.models.errors import Error
from fiducial.models.settings import DYNAMIC
from fiducial.models.values import ZERO_UUID

#: So long a broker is listened to that should go on waiting.
SILENCE_S = 0.05


#: The answers to requests that change what later ones are answered.
CHANGING = frozenset(
    {
        "ProduceResponse", "FetchResponse", "CreateTopicsResponse", "DeleteTopicsResponse", "CreatePartitionsResponse", "DeleteRecordsResponse",
        "IncrementalAlterConfigsResponse", "AlterConfigsResponse",
    }
)  # fmt: skip


@dataclass(frozen=True)
class World:
    """What there is when a history begins: topics with their configurations, of `partitions` each; and producers."""

    topics: dict[str, dict[str, str]]
    partitions: int = 2
    producers: int = 3
    resized: frozenset[str] = frozenset()  # the topics whose batches a broker may compress itself
    unsized: frozenset[str] = frozenset()  # those of whose logs a broker may let go a part at any time

    def of(self, steps: Iterable[Step]) -> World:
        """The same world with only those topics that the steps speak of."""
        told = "\n".join(map(str, steps))
        return replace(self, topics={name: config for name, config in self.topics.items() if name in told})


@dataclass
class Story:
    """Steps in a world, on the last of which two targets differ, and where. One that is not `steady` did not happen again."""

    world: World
    steps: list[Step]
    found: list[Difference]
    is_steady: bool = True

    def __str__(self) -> str:
        topics = [f"there is {name} {config or ''}".rstrip() for name, config in self.world.of(self.steps).topics.items()]
        told = [f"{number}. {step}" for number, step in enumerate(self.steps, 1)]
        places = [f"at {path or 'all'}:\n  ours   {ours!r}\n  theirs {theirs!r}" for path, ours, theirs in self.found]
        doubt = [] if self.is_steady else ["It did not happen again when the same was asked anew."]
        return "\n".join([*topics, *told, "", *places, *doubt])

    def places(self) -> set[tuple[int, str]]:
        """Where the targets differ, without the positions in lists."""
        return {(self.steps[-1].api_key, "".join(c for c in path if not c.isdigit())) for path, _, _ in self.found}


@dataclass
class Pair:
    """Two targets that are asked the same. `is_strict`: what a rule allows a peer is not allowed the second."""

    ours: Target
    theirs: Target
    world: World
    is_strict: bool = False
    has_parted: bool = False  # the second did what the first refused, as a rule allows: their states differ
    rules: tuple[str, ...] = ()  # those by which the first refused something in its last answer
    is_answered: bool = False  # was the last fetch that should have waited answered at once?
    asked: int = 0
    reached: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        begun_ms = wall_clock_ms()
        for target in (self.ours, self.theirs):
            prepare(target, self.world, begun_ms)

    def ask(self, step: Step) -> list[Difference]:
        """Ask both; where they differ."""
        self.asked += 1
        if isinstance(step.body, TimePasses):
            self.ours.pass_time()
            self.theirs.pass_time()
            return []
        ours = self.answers(self.ours, step, patience_s=0)
        theirs = self.answers(self.theirs, step, patience_s=SILENCE_S if ours[0] is None else WOKEN_S)
        self.count(step, ours)
        self.align()
        found = [one for mine, other in zip(ours, theirs, strict=True) for one in self.compared(mine, other)]
        topics = self.await_topics()
        return found if self.has_parted else found + topics

    def compared(self, ours: Any, theirs: Any) -> list[Difference]:
        """Where two answers differ, but for what is allowed."""
        if self.is_strict or not (isinstance(ours, dict) and isinstance(theirs, dict)):
            return differences(ours, theirs)
        if tolerate := TOLERATED.get(ours[""]):
            tolerate(ours, theirs)
        allowed = allowed_instead(self.rules)
        if allowed and not differences(ours, theirs, allowed) and (parted := differences(ours, theirs)):
            self.reached["allowed otherwise"] += 1
            is_done = any(path.endswith("error_code") and other == Error.NONE for path, _, other in parted)
            self.has_parted |= is_done and ours[""] in CHANGING
        return differences(ours, theirs, allowed)

    def answers(self, target: Target, step: Step, patience_s: float) -> tuple[Any, Any]:
        """One target's answers, abstracted: to what waits beside the step (None while it waits, or if nothing does), and to the step."""
        if step.waiting is None:
            return "", self.answer(target, step)
        self.is_answered = target.begin(step.waiting.frame(target.view), is_answered=self.is_answered)
        answer = self.answer(target, step)
        try:
            data = target.end(patience_s)
        except Closed:
            return "closed", answer
        return (None if data is None else self.read(target, step.waiting, data)), answer

    def answer(self, target: Target, step: Step) -> Any:
        """One target's answer to a step, abstracted."""
        try:
            data = target.ask(step.frame(target.view), step.expects_answer)
        except Closed:
            return "closed"
        except TimeoutError:
            target.close()
            return "silence"
        finally:
            if target is self.ours:
                self.rules = target.rules()
        return "nothing" if data is None else self.read(target, step, data)

    def read(self, target: Target, step: Step, data: bytes) -> Any:
        """An answer, abstracted; what it gave out is remembered, and what it changed is waited for."""
        if step.api_key == API_VERSIONS and not 0 <= step.api_version <= APIS[API_VERSIONS].max_version:
            return data[4:].hex()
        message = answer_of(data, step.api_key, step.api_version)
        remember(target, step, message)
        return Abstraction(target, self.world.resized, self.world.unsized).of(message)

    def align(self) -> None:
        """Forget what only one of them gave out, because a rule allows that."""
        views = self.ours.view, self.theirs.view
        for known in ([view.sessions for view in views], [view.producer_ids for view in views]):
            shortest = min(map(len, known))
            for one in known:
                del one[shortest:]

    def await_topics(self) -> list[Difference]:
        """Where the topics there are now differ; those made because somebody asked about them come some time after the answer."""
        ours, theirs = self.ours.view, self.theirs.view
        if ours.awaited or theirs.awaited:
            refresh(self.ours)
            refresh(self.theirs)
        give_up = time.monotonic() + ANSWER_TIMEOUT_S
        while not ours.awaited.intersection(ours.topic_ids) <= set(theirs.topic_ids) and time.monotonic() < give_up:
            refresh(self.theirs)
        ours.awaited, theirs.awaited = set(), set()
        return differences(sorted(ours.topic_ids), sorted(theirs.topic_ids), path="topics")

    def count(self, step: Step, answers: tuple[Any, Any]) -> None:
        """What was reached."""
        name = "frame" if isinstance(step.body, Raw) or step.spoilt else step.action
        self.reached.update([f"request {name}", *(f"rule {rule}" for rule in self.rules)])
        if name != "frame":
            self.reached[f"version {name} v{step.api_version}"] += 1
        if step.waiting is not None:
            self.reached["still waiting" if answers[0] is None else "woken"] += 1
        for answer in answers:
            self.reached.update([answer] if answer in ("closed", "nothing") else error_names(answer))


def error_names(answer: Any) -> set[str]:
    """The error codes anywhere in an answer."""
    if isinstance(answer, list):
        return set().union(*map(error_names, answer))
    if isinstance(answer, dict):
        own = {f"error {Error(answer['error_code']).name}"} if "error_code" in answer else set()
        return own.union(*map(error_names, answer.values()))
    return set()


# The beginning, and what is remembered


def prepare(target: Target, world: World, begun_ms: int) -> None:
    """The target with the topics and producers of a world, and nothing else; what an earlier history left is removed."""
    for session in target.view.sessions:
        talk(target, 1, m.FetchRequest(session_id=session.id, session_epoch=-1))
    target.view = View(begun_ms)
    clear(target)
    wanted = tuple(
        m.CreatableTopic(name, world.partitions, 1, (), tuple(m.CreatableTopicConfig(*one) for one in config.items()))
        for name, config in world.topics.items()
    )
    for topic in talk(target, 19, m.CreateTopicsRequest(wanted, 30_000, False)).topics:
        assert topic.error_code == 0, topic
    refresh(target)
    while len(target.view.producer_ids) < world.producers:
        given = talk(target, 22, m.InitProducerIdRequest(None, 0, -1, -1))
        if given.error_code == 0:  # Apache Kafka may have to wait for a block of ids
            target.view.producer_ids.append(given.producer_id)


def clear(target: Target) -> None:
    """No topics, and no settings changed while the broker ran."""
    names = [topic.name for topic in known_topics(target)]
    gone = tuple(m.DeleteTopicState(name) for name in names if name not in COORDINATORS_TOPICS)
    if gone:
        for topic in talk(target, 20, m.DeleteTopicsRequest(gone, (), 30_000)).responses:
            assert topic.error_code == 0, topic
    unset = tuple(
        m.IncrementalAlterConfigsRequestAlterableConfig(name, Operation.DELETE, None)
        for name in DYNAMIC
        if name != "min.insync.replicas"
    )
    resources = tuple(
        m.IncrementalAlterConfigsRequestAlterConfigsResource(Resource.BROKER, name, unset) for name in ("1", "")
    )
    for resource in talk(target, 44, m.IncrementalAlterConfigsRequest(resources, False)).responses:
        assert resource.error_code == 0, resource


def known_topics(target: Target) -> tuple[m.MetadataResponseTopic, ...]:
    """Every topic that the target knows."""
    topics: tuple[m.MetadataResponseTopic, ...] = talk(target, 3, m.MetadataRequest(None, False)).topics
    return topics


def remember(target: Target, step: Step, message: Any) -> None:
    """Ids that were given out; and patience, where a broker answers before it has done what it says."""
    match message:
        case m.InitProducerIdResponse(error_code=0):
            target.view.producer_ids.append(message.producer_id)
        case m.FetchResponse(error_code=0):
            remember_session(target.view, message.session_id)
        case m.CreateTopicsResponse() | m.DeleteTopicsResponse() | m.CreatePartitionsResponse():
            refresh(target)
        case m.IncrementalAlterConfigsResponse() | m.AlterConfigsResponse():
            target.settle()
        case m.MetadataResponse():
            target.view.awaited |= {topic.name or "" for topic in message.topics if topic.error_code == Error.UNKNOWN_TOPIC_OR_PARTITION}
        case _:
            pass


def remember_session(view: View, session_id: int) -> None:
    """A session goes on, or is new."""
    for session in view.sessions:
        if session.id == session_id:
            session.next_epoch += 1
            return
    if session_id:
        view.sessions.append(Session(session_id))


def refresh(target: Target) -> None:
    """Which topics there are now, and which are gone."""
    target.settle()
    found = {
        topic.name: topic.topic_id
        for topic in known_topics(target)
        if topic.topic_id != ZERO_UUID and topic.name not in COORDINATORS_TOPICS and topic.name is not None
    }
    view = target.view
    view.old_ids += [view.topic_ids[name] for name in sorted(view.topic_ids) if found.get(name) != view.topic_ids[name]]
    view.topic_ids = found


# Running


def run(pair: Pair, steps: Iterable[Step]) -> Story | None:
    """Ask the steps until the targets differ, or until they may."""
    asked: list[Step] = []
    for step in steps:
        asked.append(step)
        found = pair.ask(step)
        if found:
            return Story(pair.world, asked, found)
        if pair.has_parted:
            return None
    return None
