"""A broker under judgement: which versions it serves, what its topics are by default; topics and producer ids for a story, and their removal.

Nothing here is judged. What cannot be had is SetupRefused, and no story is told.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from threading import RLock
from typing import Any

from fiducial.conformance.cases import CLIENT_ID, Topic
from fiducial.conformance.client import Answer, Broken, Connection, Deadline, Heard, Unreachable
from fiducial.conformance.oracle import KEYS
from fiducial.conformance.symbols import error_name
from fiducial.models import messages as m
from fiducial.models.apis import API_VERSIONS, APIS
from fiducial.models.config_requests import Operation, Resource
from fiducial.models.configs import Source
from fiducial.models.errors import RETRIABLE, Error
from fiducial.models.partition import LATEST_TIMESTAMP
from fiducial.models.sessions import FINAL_EPOCH
from fiducial.models.settings import BROKER, BROKER_ONLY, TOPIC, SettingError, Settings, parse
from fiducial.models.values import ZERO_UUID

SETUP_TIMEOUT_S = 30.0
REMOVAL_TIMEOUT_S = 5.0
#: What a broker answers that is about to coordinate a group.
NOT_YET = frozenset({Error.COORDINATOR_LOAD_IN_PROGRESS, Error.COORDINATOR_NOT_AVAILABLE, Error.NOT_COORDINATOR})
FIND_COORDINATOR, JOIN_GROUP, LEAVE_GROUP = KEYS[m.FindCoordinatorRequest], KEYS[m.JoinGroupRequest], KEYS[m.LeaveGroupRequest]
#: From these versions on a request asks for many coordinators; a dynamic member asks for its id; many members leave at once.
FIND_MANY, GIVES_IDS, LEAVE_MANY = 4, 4, 3
#: A broker that answers nobody within this time is gone.
LIVELY_S = 3.0
#: Between two looks at whether a topic is there.
PAUSE_S = 0.01

NUMBER = re.compile(r"-?[0-9]+")
#: Of the broker's own settings, those that decide what it answers.
DECIDING = frozenset(BROKER_ONLY) - {
    "broker.id", "connections.max.idle.ms", "log.retention.check.interval.ms", "num.network.threads", "queued.max.request.bytes",
}  # fmt: skip
#: Of these, those that are about groups.
ABOUT_GROUPS = tuple(sorted(name for name in DECIDING if name.startswith(("group.", "offset.", "offsets."))))
#: What topics have of a setting of the broker that is not set.
DEFAULTS = {row.synonym: row.default for row in TOPIC.values() if row.synonym}
#: Where a value comes from that was changed while the broker ran.
CHANGED = (Source.DYNAMIC_BROKER, Source.DYNAMIC_CLUSTER)


class SetupRefused(Exception):
    """What a story needs is not to be had of this broker; the text says what."""


class SetupFailed(Exception):
    """The broker did not answer, or not in time; the text says how."""


class Target:
    """A broker, by the address at which it was found. Unreachable if there is none that answers ApiVersions."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.connection: Connection | None = None
        self.turn = RLock()  # of whoever asks on it
        self.advertised = self.said_to_be_served()
        self.versions = self.both_know()
        self.node_id, self.nodes = self.settle_on_a_node()

    def said_to_be_served(self) -> dict[int, tuple[int, int]]:
        """The lowest and the highest version of each API that the broker says it serves."""
        heard = self.asked_for_versions(SETUP_TIMEOUT_S)
        if not isinstance(heard, Answer):
            raise Unreachable(f"{self.host}:{self.port} does not answer ApiVersions: {heard}")
        return {entry.api_key: (entry.min_version, entry.max_version) for entry in heard.message.api_keys}

    def both_know(self) -> dict[int, Sequence[int]]:
        """The versions of each API that are said to be served and that have a layout here."""
        found: dict[int, Sequence[int]] = {}
        for key, (lowest, highest) in self.advertised.items():
            if key in APIS:
                versions = range(max(lowest, APIS[key].min_version), min(highest, APIS[key].max_version) + 1)
                if versions:
                    found[key] = versions
        return found

    def asked_for_versions(self, patience_s: float) -> Heard:
        """What comes back if a new connection asks what everybody asks first."""
        with Connection(self.host, self.port, Deadline(patience_s)) as connection:
            return connection.ask(API_VERSIONS, 0, m.ApiVersionsRequest())

    def is_lively(self) -> bool:
        """Does the broker answer, on a new connection?"""
        try:
            return isinstance(self.asked_for_versions(LIVELY_S), Answer)
        except Unreachable:
            return False

    def serves(self, api_key: int) -> bool:
        """Is there a version of an API that both know?"""
        return api_key in self.versions

    def newest(self, api_key: int) -> int:
        """The newest version that both know."""
        return self.versions[api_key][-1]

    def settle_on_a_node(self) -> tuple[int, int]:
        """The id of the node that is judged, and how many nodes there are: of several, the one at this address, or else the first, where it says that it is."""
        brokers = self.ask(m.MetadataRequest(topics=())).brokers
        if len(brokers) <= 1:
            return (brokers[0].node_id if brokers else 0), 1
        here = next((one for one in brokers if (one.host, one.port) == (self.host, self.port)), brokers[0])
        self.host, self.port = here.host, here.port
        self.close()
        return here.node_id, len(brokers)

    # Asking, where every answer but one is in the way

    def ask(self, message: Any, patience_s: float = SETUP_TIMEOUT_S) -> Any:
        """The answer to a request, in the newest version that it can be read in: one that is spoilt is for a case to find, and no reason to judge nothing."""
        key = KEYS[type(message)]
        if not self.serves(key):
            raise SetupRefused(f"{APIS[key].name} is not served")
        for version in reversed(self.versions[key]):
            heard = self.heard(key, version, message, patience_s)
            if not isinstance(heard, Broken):
                break
        if not isinstance(heard, Answer):
            raise SetupFailed(f"{APIS[key].name} v{version} while setting up: {heard}")
        return heard.message

    def heard(self, api_key: int, version: int, message: Any, patience_s: float) -> Heard:
        """What comes back on the connection for such questions, which ends with anything but an answer."""
        with self.turn:
            if self.connection is None:
                self.connection = Connection(self.host, self.port, Deadline(patience_s))
            self.connection.deadline = Deadline(patience_s)
            heard = self.connection.ask(api_key, version, message, client_id=CLIENT_ID)
            self.connection.transcript.entries.clear()
            if not isinstance(heard, Answer):
                self.close()
        return heard

    def close(self) -> None:
        """No more questions, for now."""
        with self.turn:
            if self.connection is not None:
                self.connection.close()
                self.connection = None

    # Topics

    def make_topics(self, wanted: Mapping[str, Topic]) -> dict[str, bytes]:
        """Topics by name, there and ready to be written to; their ids."""
        if not wanted:
            return {}
        made = self.ask(m.CreateTopicsRequest(tuple(self.creatable(name, topic) for name, topic in wanted.items()), int(SETUP_TIMEOUT_S * 1000)))
        for topic in made.topics:
            if topic.error_code != Error.NONE:
                raise SetupRefused(f"CreateTopics answers {error_name(topic.error_code)}: {topic.error_message or topic.name}")
        give_up = Deadline(SETUP_TIMEOUT_S)
        while not self.are_ready(wanted):
            if give_up.has_passed:
                raise SetupFailed(f"the topics {', '.join(wanted)} are not ready {SETUP_TIMEOUT_S:g} s after they were created")
            time.sleep(PAUSE_S)
        names = tuple(m.MetadataRequestTopic(name=name) for name in wanted)
        found = self.ask(m.MetadataRequest(names, allow_auto_topic_creation=False)).topics
        return {topic.name: topic.topic_id for topic in found if topic.topic_id != ZERO_UUID}

    def creatable(self, name: str, topic: Topic) -> m.CreatableTopic:
        """A topic whose partitions are all on this node."""
        configs = tuple(m.CreatableTopicConfig(*one) for one in topic.config)
        if self.nodes == 1:
            return m.CreatableTopic(name, topic.partitions, 1, (), configs)
        here = tuple(m.CreatableReplicaAssignment(index, (self.node_id,)) for index in range(topic.partitions))
        return m.CreatableTopic(name, -1, -1, here, configs)

    def are_ready(self, wanted: Mapping[str, Topic]) -> bool:
        """Does each partition tell where it ends?"""
        topics = tuple(
            m.ListOffsetsTopic(name, tuple(m.ListOffsetsPartition(index, timestamp=LATEST_TIMESTAMP) for index in range(topic.partitions)))
            for name, topic in wanted.items()
        )
        answer = self.ask(m.ListOffsetsRequest(-1, 0, topics, int(SETUP_TIMEOUT_S * 1000)))
        return all(part.error_code == Error.NONE for topic in answer.topics for part in topic.partitions)

    def delete_topic(self, name: str) -> None:
        """A topic away, and nobody knows of it any more."""
        (gone,) = self.ask(m.DeleteTopicsRequest((m.DeleteTopicState(name),), (name,), int(SETUP_TIMEOUT_S * 1000))).responses
        if gone.error_code != Error.NONE:
            raise SetupRefused(f"DeleteTopics answers {error_name(gone.error_code)}: {gone.error_message or name}")
        give_up = Deadline(SETUP_TIMEOUT_S)
        while not self.is_unknown(name):
            if give_up.has_passed:
                raise SetupFailed(f"topic {name} is still there {SETUP_TIMEOUT_S:g} s after it was deleted")
            time.sleep(PAUSE_S)

    def is_unknown(self, name: str) -> bool:
        """Is there no such topic, neither in the metadata nor as a log?"""
        wanted = (m.ListOffsetsTopic(name, (m.ListOffsetsPartition(0, timestamp=LATEST_TIMESTAMP),)),)
        (topic,) = self.ask(m.ListOffsetsRequest(-1, 0, wanted, int(SETUP_TIMEOUT_S * 1000))).topics
        (known,) = self.ask(m.MetadataRequest((m.MetadataRequestTopic(name=name),), allow_auto_topic_creation=False)).topics
        return Error.NONE not in (topic.partitions[0].error_code, known.error_code)

    def topic_ids(self, names: Mapping[str, str]) -> dict[str, bytes]:
        """Of these topics, by what a story calls them, those that there are, and their ids."""
        asked = tuple(m.MetadataRequestTopic(name=name) for name in names.values())
        if not asked:
            return {}
        there = {topic.name: topic.topic_id for topic in self.ask(m.MetadataRequest(asked, False)).topics if topic.error_code == Error.NONE}
        return {called: there[name] for called, name in names.items() if name in there}

    def remove_topics(self, names: Iterable[str]) -> None:
        """Topics away, if the broker lets us: no story depends on it."""
        named = tuple(names)
        try:
            if named:
                states = tuple(m.DeleteTopicState(name) for name in named)
                self.ask(m.DeleteTopicsRequest(states, named, int(REMOVAL_TIMEOUT_S * 1000)), REMOVAL_TIMEOUT_S)
        except (SetupFailed, SetupRefused, Unreachable):
            self.close()

    def first_epoch(self, name: str) -> int:
        """The leader epoch in which a new topic begins: Kafka's is 0, that of a broker whose logs elect their own leaders may be later."""
        (found,) = self.ask(m.MetadataRequest((m.MetadataRequestTopic(name=name),), allow_auto_topic_creation=False)).topics
        return max(0, *(int(part.leader_epoch) for part in found.partitions))

    def end_sessions(self, sessions: Iterable[int]) -> None:
        """Fetch sessions away, if the broker lets us: it has room for so many, and others want some."""
        try:
            for session in sessions:
                self.ask(m.FetchRequest(session_id=session, session_epoch=FINAL_EPOCH), REMOVAL_TIMEOUT_S)
        except (SetupFailed, SetupRefused, Unreachable):
            self.close()

    def topic_defaults(self, name: str) -> Settings:
        """The settings that make the oracle answer as this broker should, its topics with the defaults that this topic has; ours, where it does not tell."""
        told = {name: text for name, text in self.settings.items() if name in DECIDING and text != BROKER[name].default and accepts(name, text)}
        given = {
            setting: text
            for setting, text, source in self.defaults(name)
            if text not in (DEFAULTS[setting], parse(told).in_ms.get(setting)) and source not in CHANGED
        }
        return parse(told | given)

    def changed_defaults(self, name: str) -> m.IncrementalAlterConfigsRequest:
        """The changes, made while the broker ran, that this topic's defaults come from; the oracle is to make them too."""
        found = [
            (str(self.node_id) if source == Source.DYNAMIC_BROKER else "", setting, text)
            for setting, text, source in self.defaults(name)
            if source in CHANGED
        ]
        return m.IncrementalAlterConfigsRequest(
            tuple(
                m.IncrementalAlterConfigsRequestAlterConfigsResource(
                    Resource.BROKER,
                    whose,
                    tuple(
                        m.IncrementalAlterConfigsRequestAlterableConfig(setting, Operation.SET, text)
                        for where, setting, text in found
                        if where == whose
                    ),
                )
                for whose in sorted({whose for whose, _, _ in found})
            )
        )

    def defaults(self, name: str) -> list[tuple[str, str, int]]:
        """What this topic does not set itself: the broker's setting that it comes from, if the model knows it, the value, and its source."""
        return [
            (TOPIC[entry.name].synonym, entry.value, entry.config_source)
            for entry in self.configs(Resource.TOPIC, name)
            if entry.name in TOPIC and entry.value is not None and accepts(TOPIC[entry.name].synonym, entry.value)
        ]

    def configs(self, kind: Resource, name: str) -> tuple[m.DescribeConfigsResourceResult, ...]:
        """The configurations of a resource; none, if the broker does not tell."""
        try:
            (found,) = self.ask(m.DescribeConfigsRequest((m.DescribeConfigsResource(kind, name, None),))).results
        except SetupRefused:
            return ()
        return tuple(found.configs)

    # Groups

    def coordinated(self, names: Iterator[str], count: int) -> list[str]:
        """So many of these names whose groups this node coordinates, and is ready to; it may have to make itself ready first."""
        found: list[str] = []
        give_up = Deadline(SETUP_TIMEOUT_S)
        while len(found) < count:
            asked = list(itertools.islice(names, count - len(found)))
            answers = self.coordinators(asked)
            while any(one.error_code in NOT_YET for one in answers) and not give_up.has_passed:
                time.sleep(PAUSE_S)
                answers = self.coordinators(asked)
            for one in answers:
                if one.error_code != Error.NONE:
                    raise SetupRefused(f"FindCoordinator answers {error_name(one.error_code)}")
            found += [name for name, one in zip(asked, answers, strict=True) if one.node_id == self.node_id]
        while not self.are_coordinated(found):
            if give_up.has_passed:
                raise SetupFailed(f"groups are not coordinated {SETUP_TIMEOUT_S:g} s after FindCoordinator said that they are")
            time.sleep(PAUSE_S)
        return found

    def coordinators(self, names: Sequence[str]) -> list[Any]:
        """What FindCoordinator answers for each of these groups."""
        if not self.serves(FIND_COORDINATOR):
            raise SetupRefused("FindCoordinator is not served")
        if self.newest(FIND_COORDINATOR) < FIND_MANY:
            return [self.ask(m.FindCoordinatorRequest(name)) for name in names]
        answers = {one.key: one for one in self.ask(m.FindCoordinatorRequest("", 0, tuple(names))).coordinators}
        return [answers[name] for name in names]

    def are_coordinated(self, names: Sequence[str]) -> bool:
        """Does this node answer for each of these groups?"""
        described = self.ask(m.DescribeGroupsRequest(tuple(names))).groups
        return not any(one.error_code in NOT_YET for one in described)

    def remove_groups(self, names: Sequence[str]) -> None:
        """Groups away, with their members, if the broker lets us: no story depends on it."""
        try:
            for one in self.ask(m.DescribeGroupsRequest(tuple(names)), REMOVAL_TIMEOUT_S).groups if names else ():
                self.remove_members(one.group_id, [member.member_id for member in one.members])
            if names:
                self.ask(m.DeleteGroupsRequest(tuple(names)), REMOVAL_TIMEOUT_S)
        except (SetupFailed, SetupRefused, Unreachable):
            self.close()

    def remove_members(self, group_id: str, members: Sequence[str]) -> None:
        """Members out of a group."""
        if members and self.newest(LEAVE_GROUP) >= LEAVE_MANY:
            self.ask(m.LeaveGroupRequest(group_id, "", tuple(map(m.MemberIdentity, members))), REMOVAL_TIMEOUT_S)
        elif members:
            for one in members:
                self.ask(m.LeaveGroupRequest(group_id, one), REMOVAL_TIMEOUT_S)

    # Settings

    def setting(self, name: str) -> int | None:
        """A number among the broker's own settings, None if it does not tell."""
        text = self.settings.get(name)
        return int(text) if text is not None and NUMBER.fullmatch(text) else None

    @cached_property
    def settings(self) -> dict[str, str]:
        """The broker's own settings, as far as it tells."""
        return {entry.name: entry.value for entry in self.configs(Resource.BROKER, str(self.node_id)) if entry.value is not None}

    @property
    def assumed(self) -> dict[str, str]:
        """What is assumed of the settings about groups that the broker does not tell: Kafka's defaults."""
        return {name: BROKER[name].default for name in ABOUT_GROUPS if name not in self.settings}

    # Producers

    def new_producer_id(self) -> int:
        """An id; brokers may have to fetch a block of them first."""
        give_up = Deadline(SETUP_TIMEOUT_S)
        while True:
            given = self.ask(m.InitProducerIdRequest(None, 0, -1, -1))
            if given.error_code == Error.NONE:
                return int(given.producer_id)
            if given.error_code not in RETRIABLE or give_up.has_passed:
                raise SetupRefused(f"InitProducerId answers {error_name(given.error_code)}")
            time.sleep(PAUSE_S)


def accepts(name: str, text: str) -> bool:
    """Does the model know the setting with this value?"""
    try:
        parse({name: text})
    except SettingError:
        return False
    return True


class Voice:
    """A broker, asked on connections of our own."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.connections: dict[int, Connection] = {}
        for request in (m.JoinGroupRequest, m.SyncGroupRequest):
            if not target.serves(KEYS[request]):
                raise SetupRefused(f"{APIS[KEYS[request]].name} is not served")

    @property
    def gives_ids(self) -> bool:
        """Is JoinGroup asked in a version in which a dynamic member asks for its id first?"""
        return self.target.newest(JOIN_GROUP) >= GIVES_IDS

    def begin(self, connection: int, request: Any) -> None:
        """Ask, in the newest version."""
        if connection not in self.connections:
            self.connections[connection] = Connection(self.target.host, self.target.port, Deadline(SETUP_TIMEOUT_S))
        key = KEYS[type(request)]
        self.connections[connection].send(key, self.target.newest(key), request, client_id=CLIENT_ID)

    def end(self, connection: int) -> Any:
        """The answer."""
        heard = self.connections[connection].receive()
        if not isinstance(heard, Answer):
            raise SetupFailed(f"while a group is founded: {heard}")
        return heard.message

    def __enter__(self) -> Voice:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self.connections.values():
            connection.close()
