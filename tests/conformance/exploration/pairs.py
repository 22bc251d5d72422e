"""Asking two targets the same, step by step, until they differ.

The first target is the model, which says what is allowed; the second is asked what it answers. Before a history both are brought to the same
beginning, so that one broker serves many histories; after a step that a peer was allowed to take otherwise, the history ends.
"""

from __future__ import annotations

import copy
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from fiducial.conformance.abstraction import Difference, differences, wall_clock_ms
from fiducial.conformance.codec import Malformed
from fiducial.conformance.exploration.reading import CloseReading, Reading
from fiducial.conformance.exploration.steps import Raw, Step, TimePasses, answer_of
from fiducial.conformance.exploration.targets import (
    ANSWER_TIMEOUT_S,
    ARRIVAL_S,
    WOKEN_S,
    Closed,
    Models,
    Patient,
    Remote,
    Target,
    talk,
)
from fiducial.conformance.exploration.tolerance import (
    COORDINATORS_TOPICS,
    TOLERATED,
    UNANSWERED,
    coordinators_logs,
    is_other_leader,
)
from fiducial.conformance.oracle import allowed_instead
from fiducial.models import events
from fiducial.models import messages as m
from fiducial.models.apis import API_VERSIONS, APIS
from fiducial.models.config_requests import Operation, Resource
from fiducial.models.errors import Error
from fiducial.models.settings import DYNAMIC
from fiducial.models.topics import is_valid_name
from fiducial.models.values import changed

#: So long a broker is listened to that should go on waiting.
SILENCE_S = 0.05
#: So near to the time at which something happens to a group by itself, before and behind it, nothing is asked: no two clocks are one.
RING_MS = 300
#: So long a broker is given until what it tells of groups is what was answered; between two times that it is asked.
CATCH_UP_S, PAUSE_S = 2.0, 0.005

#: A topic's name has so many characters at most.
NAME_MAX = 249
FIND_COORDINATOR, DESCRIBE_GROUPS = 10, 15


@dataclass(frozen=True)
class World:
    """What there is when a history begins: topics with their configurations, of `partitions` each; and producers."""

    topics: dict[str, dict[str, str]]
    partitions: int = 2
    producers: int = 3
    resized: frozenset[str] = frozenset()  # the topics whose batches a broker may compress itself
    unsized: frozenset[str] = frozenset()  # those of whose logs a broker may let go a part at any time
    mentioned: tuple[str, ...] = ()  # every name that steps may speak of
    groups: tuple[str, ...] = ()  # those that steps may speak of; the first has one member
    prefix: str = ""  # of the names of topics where others are too; empty: the broker is ours alone

    @property
    def names(self) -> dict[str, str]:
        """What the topics are called there, where they cannot be called as in the story; an invalid name stays what it is."""
        if not self.prefix:
            return {}
        return {name: f"{self.prefix}-{name}"[:NAME_MAX] for name in (*self.topics, *self.mentioned) if is_valid_name(name)}

    def of(self, steps: Iterable[Step]) -> World:
        """The same world with only those topics that the steps speak of, and groups only if they speak of any."""
        kept = tuple(steps)
        told = "\n".join(map(str, kept))
        groups = self.groups if any(step.is_of_groups for step in kept) else ()
        return replace(self, topics={name: config for name, config in self.topics.items() if name in told}, groups=groups)


@dataclass
class Story:
    """Steps in a world, on the last of which two targets differ, and where. One that is not `steady` did not happen again."""

    world: World
    steps: list[Step]
    found: list[Difference]
    is_steady: bool = True

    def __str__(self) -> str:
        world = self.world.of(self.steps)
        topics = [f"there is {name} {config or ''}".rstrip() for name, config in world.topics.items()]
        topics += [f"there is group {group} of one member" for group in world.groups[:1]]
        told = [f"{number}. {step}" for number, step in enumerate(self.steps, 1)]
        places = [f"at {one.place or 'the answer'}:\n  expected {one.expected!r}\n  got      {one.got!r}" for one in self.found]
        doubt = [] if self.is_steady else ["It did not happen again when the same was asked anew."]
        return "\n".join([*topics, *told, "", *places, *doubt])

    def marks(self) -> frozenset[Mark]:
        """What is peculiar to it, so that the same is known when it comes again."""
        return marks_of(self.steps[-1], self.found)

    def places(self) -> set[tuple[int, str]]:
        """Where the targets differ, without the positions in lists."""
        return {(self.steps[-1].api_key, without_positions(one.place)) for one in self.found}


def without_positions(place: str) -> str:
    """A place in an answer, wherever in its lists."""
    return "".join(c for c in place if not c.isdigit())


#: The API, a place in its answer, and which word should stand there and which does.
Mark = tuple[int, str, str, str]


def marks_of(step: Step, found: Iterable[Difference]) -> frozenset[Mark]:
    """What is peculiar to the differences at a step; of values that are no words, only where they are."""
    return frozenset((step.api_key, without_positions(one.place), word(one.expected), word(one.got)) for one in found)


def tells_of_state(difference: Difference) -> bool:
    """Does it say that something was done that should not have been, or not done? Not so a number beside the same verdict."""
    return difference.place.endswith("error_code") or not difference.place or isinstance(difference.expected, list | dict)


def word(held: Any) -> str:
    """A value, if it is a word."""
    return held if isinstance(held, str) else ""


class Asker(Protocol):
    """Whoever asks two targets the same."""

    world: World
    has_parted: bool

    def ask(self, step: Step) -> list[Difference]:
        """Ask both; where they differ."""
        ...


@dataclass(frozen=True)
class Waiting:
    """A step that waits, since it was asked as so many-th, on these connections."""

    number: int
    step: Step
    ours: int
    theirs: int


@dataclass
class Pair:
    """Two targets that are asked the same. `is_strict`: what a rule allows a peer is not allowed the second. `is_close`: how
    the answers are read (see `reading`)."""

    ours: Models
    theirs: Patient
    world: World
    is_strict: bool = False
    is_close: bool = True
    known: frozenset[Mark] = frozenset()  # differences that are told already
    has_parted: bool = False  # the second did what the first refused, as a rule allows, or something known: their states differ
    rules: tuple[str, ...] = ()  # those by which the first refused something in its last answer
    is_answered: bool = False  # was the last fetch that should have waited answered at once?
    asked: int = 0
    reached: Counter[str] = field(default_factory=Counter)
    waiting: list[Waiting] = field(default_factory=list)
    later: dict[int, int] = field(default_factory=dict)  # which step waited -> during which it was answered
    behind: set[str] = field(default_factory=set)  # groups of which the second does not tell as the first does

    def __post_init__(self) -> None:
        begun_ms = wall_clock_ms()
        for target in (self.ours, self.theirs):
            prepare(target, self.world, begun_ms)
            found_groups(target, self.world)

    def ask(self, step: Step) -> list[Difference]:
        """Ask both; where they differ."""
        self.asked += 1
        if isinstance(step.body, TimePasses):
            self.ours.pass_time()
            self.theirs.pass_time()
            return []
        self.let_ring()
        if step.may_wait:
            self.rules = ()
            self.count(step, ())
            self.waiting.append(Waiting(self.asked, step, self.ours.start(step.frame(self.ours.view)), self.theirs.start(step.frame(self.theirs.view))))
            return self.news(step, self.heard())
        ours = self.answers(self.ours, step, patience_s=0)
        theirs = self.answers(self.theirs, step, patience_s=SILENCE_S if ours[0] is None else WOKEN_S)
        self.count(step, ours)
        self.align()
        found = [one for mine, other in zip(ours, theirs, strict=True) for one in self.compared(step, mine, other)]
        if found and not step.changes and self.has_kept_house(step, theirs[1]):
            found = []
        if step.is_of_groups:
            found += self.heard()
        topics = self.await_topics()
        return self.news(step, found if self.has_parted else found + topics)

    def news(self, step: Step, found: list[Difference]) -> list[Difference]:
        """The differences that are not known yet; none, if a known one says that the states differ: the others may come of that."""
        old = [one for one in found if not self.known.isdisjoint(marks_of(step, [one]))]
        if step.changes and any(map(tells_of_state, old)):
            self.has_parted = True
            return []
        return [one for one in found if one not in old]

    def compared(self, step: Step, ours: Any, theirs: Any) -> list[Difference]:
        """Where two answers differ, but for what is allowed."""
        if is_other_leader(ours, theirs):  # two of ours too: of ids that each has drawn they take the smallest
            self.has_parted = True
            return []
        if isinstance(ours, dict) and isinstance(theirs, dict) and ours[""] == theirs[""] == "DescribeLogDirsResponse":
            coordinators_logs(ours, theirs)
        if self.is_strict or not (isinstance(ours, dict) and isinstance(theirs, dict)):
            return [*differences(ours, theirs)]
        if tolerate := TOLERATED.get(ours[""]):
            tolerate(ours, theirs)
        allowed = allowed_instead(self.rules)
        found = [*differences(ours, theirs, allowed)]
        if allowed and not found and (parted := [*differences(ours, theirs)]):
            self.reached["allowed otherwise"] += 1
            is_done = any(one.place.endswith("error_code") and one.got == Error.NONE.name for one in parted)
            self.has_parted |= is_done and step.changes
        return found

    def has_kept_house(self, step: Step, theirs: Any) -> bool:
        """Is it what the models answer, too, once they have looked for what is past its time? A broker does that now and then; if so, they have done it as well."""
        before = self.ours
        for look in (events.Housekeeping(), events.OffsetExpiry()) if not self.is_strict else ():
            self.ours = copy.deepcopy(before)
            self.ours.oracle.step(look, self.ours.clock())
            if not self.compared(step, self.answer(self.ours, step), theirs):
                self.reached["has kept house"] += 1
                return True
        self.ours = before
        return False

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
        try:
            message = answer_of(data, step.api_key, step.api_version)
        except (Malformed, ValueError) as problem:
            return f"what is no answer: {problem}"
        remember(target, step, message)
        reading = CloseReading if self.is_close else Reading
        return reading(target.view, self.world.resized, self.world.unsized).of(message)

    def let_ring(self) -> None:
        """What is about to happen to groups by itself has happened on both sides before anything is asked."""
        while (due_ms := self.ours.due_ms()) is not None and due_ms - RING_MS < (now := wall_clock_ms()):
            time.sleep((due_ms + RING_MS - now) / 1000)

    def heard(self) -> list[Difference]:
        """Where the answers to those who waited differ; nobody is answered by one of the two only."""
        found: list[Difference] = []
        for one in tuple(self.waiting):
            ours = self.answer_of(self.ours, one.step, one.ours, 0)
            rules = self.ours.rules() if ours is not None else ()
            self.rules += rules
            is_new = one.number == self.asked
            may_be_silent = not self.is_strict and not UNANSWERED.isdisjoint(rules)
            patience_s = ARRIVAL_S if is_new or may_be_silent else 0
            theirs = self.answer_of(self.theirs, one.step, one.theirs, patience_s if ours is None or may_be_silent else WOKEN_S)
            if may_be_silent and theirs is None:
                self.waiting.remove(one)
            elif ours is not None or theirs is not None:
                self.waiting.remove(one)
                self.later[one.number] = self.asked
                self.reached.update([*error_names(ours), *(f"rule {rule}" for rule in rules), *([] if is_new else ["answered later"])])
                place = "" if is_new else f"step {one.number}"
                found += [replaced(different, place) for different in self.compared(one.step, ours, theirs)]
        self.catch_up()
        return found

    def answer_of(self, target: Patient, step: Step, number: int, patience_s: float) -> Any:
        """One target's answer to a step that may wait, abstracted; None while it waits."""
        try:
            data = target.heard(number, patience_s)
        except Closed:
            return "closed"
        return None if data is None else self.read(target, step, data)

    def catch_up(self) -> None:
        """Wait until the second tells of groups as the first does: what it answers may show in what others are answered only a moment later."""
        give_up = time.monotonic() + CATCH_UP_S
        while groups := [one for one in self.world.groups if one not in self.behind]:
            ours, theirs = (self.described(target, groups) for target in (self.ours, self.theirs))
            if not [*differences(ours, theirs)]:
                return
            if time.monotonic() > give_up:
                self.behind |= {group for group, mine, other in zip(groups, ours, theirs, strict=True) if [*differences(mine, other)]}
            time.sleep(PAUSE_S)

    def described(self, target: Target, groups: list[str]) -> list[Any]:
        """What a target tells of these groups, abstracted, in this order."""
        told = talk(target, DESCRIBE_GROUPS, m.DescribeGroupsRequest(tuple(target.view.groups[group] for group in groups)))
        reading = Reading(target.view, self.world.resized, self.world.unsized)
        return [reading.of(one) for one in told.groups]

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
        return [*differences(sorted(ours.topic_ids), sorted(theirs.topic_ids), place="topics")]

    def count(self, step: Step, answers: tuple[Any, ...]) -> None:
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
        own = {f"error {answer['error_code']}"} if "error_code" in answer else set()
        return own.union(*map(error_names, answer.values()))
    return set()


def replaced(found: Difference, place: str) -> Difference:
    """The difference in an answer that somebody waited for."""
    return changed(found, place=f"{place}.{found.place}".strip("."))


# The beginning, and what is remembered


def prepare(target: Target, world: World, begun_ms: int) -> None:
    """The target with the topics and producers of a world; what an earlier history left is removed, and where nobody else is, everything."""
    assert world.prefix or not target.view.is_shared, "among others, topics need names of their own"
    for session in target.view.sessions:
        talk(target, 1, m.FetchRequest(session_id=session, session_epoch=-1))
    clear(target)
    await_coordinator(target)
    target.view = replace(
        target.view, host=target.host, port=target.port, begun_ms=begun_ms, names=world.names, topic_ids={}, old_ids={}, producer_ids=[], sessions=[], epochs={}, awaited=set(),
    )  # fmt: skip
    wanted = tuple(
        m.CreatableTopic(target.view.names.get(name, name), world.partitions, 1, (), tuple(m.CreatableTopicConfig(*one) for one in config.items()))
        for name, config in world.topics.items()
    )
    for topic in talk(target, 19, m.CreateTopicsRequest(wanted, 30_000, False)).topics:
        assert topic.error_code == 0, topic
    refresh(target)
    while len(target.view.producer_ids) < world.producers:
        given = talk(target, 22, m.InitProducerIdRequest(None, 0, -1, -1))
        if given.error_code == 0:  # Apache Kafka may have to wait for a block of ids
            target.view.producer_ids.append(given.producer_id)
    if isinstance(target, Remote):
        target.begin_anew()


def found_groups(target: Patient, world: World) -> None:
    """The groups of a world: the first is there, of the others only the names are known."""
    view = target.view
    view.groups, view.members, view.generation = {}, [], 0
    for group in world.groups[:1]:
        there = target.found(group)
        view.groups[group] = there.group_id
        view.has_founded(there.members, there.generation)
    view.groups |= {group: f"{view.groups[world.groups[0]]}-{group}" for group in world.groups[1:]}


def await_coordinator(target: Target) -> None:
    """The topic of groups is made when a coordinator is first looked for: at once, or in the background (GROUP-FIND-4)."""
    if target.view.versions and FIND_COORDINATOR not in target.view.versions:
        return
    give_up = time.monotonic() + ANSWER_TIMEOUT_S
    while time.monotonic() < give_up:
        found = talk(target, FIND_COORDINATOR, m.FindCoordinatorRequest("g", coordinator_keys=("g",)))
        if Error.COORDINATOR_NOT_AVAILABLE not in {found.error_code, *(one.error_code for one in found.coordinators)}:
            return


def clear(target: Target) -> None:
    """No topics of ours; where nobody else is, no others either, and no settings changed while the broker ran."""
    names = tuple(name for name in known_topics(target) if name not in COORDINATORS_TOPICS)
    if names:
        for topic in talk(target, 20, m.DeleteTopicsRequest(tuple(m.DeleteTopicState(name) for name in names), names, 30_000)).responses:
            assert topic.error_code == 0, topic
    if not target.view.is_shared:
        unset = tuple(m.IncrementalAlterConfigsRequestAlterableConfig(name, Operation.DELETE, None) for name in DYNAMIC if name != "min.insync.replicas")
        resources = tuple(m.IncrementalAlterConfigsRequestAlterConfigsResource(Resource.BROKER, name, unset) for name in ("1", ""))
        for resource in talk(target, 44, m.IncrementalAlterConfigsRequest(resources, False)).responses:
            assert resource.error_code == 0, resource


def known_topics(target: Target) -> dict[str, bytes]:
    """Every topic that the target knows, by name, with its id; where others are too, of ours."""
    ours = tuple(m.MetadataRequestTopic(name=name) for name in target.view.names.values())
    if target.view.is_shared and not ours:
        return {}
    topics = talk(target, 3, m.MetadataRequest(ours if target.view.is_shared else None, False)).topics
    return {topic.name: topic.topic_id for topic in topics if topic.error_code == Error.NONE}


def remember(target: Target, step: Step, message: Any) -> None:
    """Ids that were given out; and patience, where a broker answers before it has done what it says."""
    target.view.has_given(message)
    match message:
        case m.CreateTopicsResponse() | m.DeleteTopicsResponse() | m.CreatePartitionsResponse():
            refresh(target)
        case m.IncrementalAlterConfigsResponse() | m.AlterConfigsResponse():
            target.settle()
        case m.MetadataResponse():
            target.view.awaited |= {topic.name or "" for topic in message.topics if topic.error_code == Error.UNKNOWN_TOPIC_OR_PARTITION}
        case _:
            pass


def refresh(target: Target) -> None:
    """Which topics there are now, and which are gone."""
    target.settle()
    view = target.view
    called = {name: topic for topic, name in view.names.items()}
    found = {called.get(name, name): topic_id for name, topic_id in known_topics(target).items() if name not in COORDINATORS_TOPICS}
    for topic in sorted(view.topic_ids):
        if found.get(topic) != view.topic_ids[topic]:
            view.has_lost(topic)
    view.topic_ids = found


# Running


def run(pair: Asker, steps: Iterable[Step]) -> Story | None:
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
