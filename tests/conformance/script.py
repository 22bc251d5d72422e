"""What the oracle says to each step of a story: the script that a broker is held against.

It depends on nothing that the broker answers, only on the story, the version, the broker's settings and the time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fiducial.conformance import founding
from fiducial.conformance.cases import (
    CLIENT_ID,
    Awaited,
    Case,
    MadeAnew,
    Removed,
    SideEnds,
    Step,
    StillWaits,
    TimePasses,
    Topic,
)
from fiducial.conformance.oracle import KEYS, THE_END, Expected, Oracle
from fiducial.conformance.others import SOMEBODY_ELSES
from fiducial.conformance.symbols import View, spoken
from fiducial.models import messages as m
from fiducial.models.apis import APIS
from fiducial.models.errors import Error
from fiducial.models.settings import Settings
from fiducial.models.state import Cluster
from fiducial.models.topics import OFFSETS_TOPIC

DESCRIBE_GROUPS, CREATE_TOPICS, DELETE_TOPICS, INIT_PRODUCER_ID, INCREMENTAL_ALTER_CONFIGS = APIS[15], APIS[19], APIS[20], APIS[22], APIS[44]
#: The connection on which what a story needs is asked for.
BEHIND_THE_SCENES = 0
CORRELATION_ID = 1
ADVERTISED = {api.key: (api.advertised_from, api.max_version) for api in APIS.values()}

NOTHING = Expected(None)
#: Of what still waits, or does not.
ANSWERED = Expected("an answer")
#: So long before a story begins the groups that it finds were founded: no time of theirs is over in it.
FOUNDED_MS = 60_000


class Unexpected(Exception):
    """The oracle does not do what a story needs: the suite is wrong."""


class WaitsTooLong(Unexpected):
    """An answer comes only after the time that a case has."""


class Script:
    """The oracle's part in one telling. `changes`: of the settings; `names`: what the topics of the story are called, `groups`: what its groups
    are; `clock`: the time in ms."""

    def __init__(
        self,
        case: Case,
        cluster: Cluster,
        settings: Settings,
        changes: m.IncrementalAlterConfigsRequest,
        names: Mapping[str, str],
        groups: Mapping[str, str],
        clock: Callable[[], int],
    ) -> None:
        self.case = case
        self.clock = clock
        self.view = View(clock(), dict(names), node_id=cluster.broker_id, advertised=ADVERTISED, is_about_versions=case.is_about_versions)
        self.view.groups |= groups
        self.view.shortest_session_ms = settings.groups.min_session_timeout_ms
        self.oracle = Oracle(cluster, settings, seed=1)
        self.ended: set[int] = set()  # the connections whose side of ours has ended
        self.topics = dict(case.topics)
        self.ask(changes, INCREMENTAL_ALTER_CONFIGS.max_version)
        self.ask(m.CreateTopicsRequest((m.CreatableTopic(SOMEBODY_ELSES, 1, 1),)), CREATE_TOPICS.max_version)
        for called, topic in case.topics:
            if topic.partitions:
                self.make(called, topic)
        for _ in range(case.producers):
            self.view.has_given(self.ask(m.InitProducerIdRequest(None), INIT_PRODUCER_ID.max_version))
        if case.groups:
            self.ask(m.CreateTopicsRequest((m.CreatableTopic(OFFSETS_TOPIC, 1, 1),)), CREATE_TOPICS.max_version)
        for called, group in case.groups:
            if not group.is_absent:
                there = found(self.oracle, groups[called], group.others, self.view.begun_ms - FOUNDED_MS)
                self.view.has_founded(there.members, there.generation)

    def ask(self, request: Any, version: int) -> Any:
        """What is answered to a request that is no step."""
        return self.oracle.ask(request, version, now=self.clock(), connection=BEHIND_THE_SCENES).message

    def make(self, called: str, topic: Topic) -> None:
        """A topic of the story."""
        configs = tuple(m.CreatableTopicConfig(*one) for one in topic.config)
        wanted = m.CreatableTopic(self.view.names[called], topic.partitions, 1, (), configs)
        (made,) = self.ask(m.CreateTopicsRequest((wanted,)), CREATE_TOPICS.max_version).topics
        if made.error_code != Error.NONE:
            raise Unexpected(f"the oracle does not make topic {called}: {made.error_message}")
        self.view.topic_ids[called] = made.topic_id

    def remove(self, called: str) -> None:
        """A topic of the story goes."""
        name = self.view.names[called]
        (gone,) = self.ask(m.DeleteTopicsRequest((m.DeleteTopicState(name),), (name,), 1), DELETE_TOPICS.max_version).responses
        if gone.error_code != Error.NONE:
            raise Unexpected(f"the oracle does not delete topic {called}: {gone.error_message}")
        self.view.has_lost(called)

    def expected(self, step: Step, version: int | None) -> Expected:
        """What comes of a step, told in a version."""
        match step.body:
            case TimePasses():
                return NOTHING
            case Removed(topic):
                self.remove(topic)
                return NOTHING
            case MadeAnew(topic):
                self.remove(topic)
                self.make(topic, self.topics[topic])
                return NOTHING
            case SideEnds():
                self.ended.add(step.connection)
                return NOTHING
            case Awaited():
                return self.heard(step)
            case StillWaits():
                return ANSWERED if self.oracle.is_answered(step.connection, now=self.clock()) else NOTHING
            case _:
                return self.answer(step, version)

    def answer(self, step: Step, version: int | None) -> Expected:
        """What a request is answered, as far as anybody listens."""
        assert version is not None
        if step.until:
            self.oracle.keep_house(now=self.clock())
        frame = step.frame(spoken(step.body, self.view), version, CORRELATION_ID)
        self.oracle.hear(frame, len(frame) if step.odd.size is None else step.odd.size, now=self.clock(), connection=step.connection)
        return NOTHING if step.waits or step.is_pipelined else self.heard(step)

    def heard(self, step: Step) -> Expected:
        """The answer that comes on the step's connection, once its time is over if not before."""
        if step.connection in self.ended and step.connection not in self.oracle.asked:
            return THE_END
        now = self.clock()
        if not self.oracle.is_answered(step.connection, now=now, until_ms=now + int(self.case.deadline_s * 1000)):
            raise WaitsTooLong(f"nothing is answered for {self.case.deadline_s:g} s")
        expected = self.oracle.awaited(step.connection, now=now)
        if expected == NOTHING and isinstance(step.body, Awaited):
            return self.heard(step)
        self.view.has_given(expected.message)
        return expected

    def groups(self) -> Any:
        """What is told of the groups of the story."""
        return self.ask(m.DescribeGroupsRequest(tuple(self.view.groups.values())), DESCRIBE_GROUPS.max_version)

    def follow(self) -> None:
        """Take note of the topics of the story that have come and gone."""
        for called, name in self.view.names.items():
            topic = self.oracle.broker.topics.by_name.get(name)
            known = self.view.topic_ids.get(called)
            if known is not None and (topic is None or topic.topic_id != known):
                self.view.has_lost(called)
            if topic is not None:
                self.view.topic_ids[called] = topic.topic_id


class Voice:
    """The oracle, asked by nobody in the story, at a time of its own."""

    gives_ids = True

    def __init__(self, oracle: Oracle, now: int) -> None:
        self.oracle = oracle
        self.now = now

    def begin(self, connection: int, request: Any) -> None:
        """Ask, on a connection that no story has."""
        version = APIS[KEYS[type(request)]].max_version
        self.oracle.begin(request, version, now=self.now, client_id=CLIENT_ID, connection=BEHIND_THE_SCENES - 1 - connection)

    def end(self, connection: int) -> Any:
        """The answer."""
        return self.oracle.awaited(BEHIND_THE_SCENES - 1 - connection, now=self.now).message


def found(oracle: Oracle, group_id: str, instances: Sequence[str | None], now: int) -> founding.Founded:
    """A group at the oracle."""
    voice = Voice(oracle, now)
    (alone,) = founding.founded(voice, [group_id])
    return founding.grown(voice, alone, instances) if instances else alone
