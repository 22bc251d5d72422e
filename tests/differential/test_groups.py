"""Apache Kafka as referee of groups: random histories, every answer of which must be the model's, and which must wait where the model's wait.

No time passes in them: sessions are long, and the first rebalance does not wait. FIDUCIAL_LONG=1 asks fifty times as much; FIDUCIAL_SEED=N begins with
history N.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from random import Random
from typing import Any

import pytest
from conftest import not_run
from group_bench import Coordinator, subscription
from peers.kafka import Kafka, PeerUnavailable

from differential.campaign import requests_given, seed_given
from differential.groups import Connection, differences
from fiducial.models import messages as m
from fiducial.models.errors import Error
from fiducial.models.groups import GroupForgotten, State
from fiducial.models.values import ZERO_UUID

REQUESTS = requests_given(2_000, 100_000)
#: So many requests make a history, or fewer, where whoever would ask waits.
LENGTH = 80
SETTINGS = {
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    "offsets.topic.num.partitions": "5",
    "group.coordinator.append.linger.ms": "0",  # what is answered is committed
    "num.network.threads": "1",  # these two: requests on all connections are taken in the order in which they are sent
    "num.io.threads": "1",
}
LONG_MS = 1_700_000
#: So long Kafka is given to be where the model is; and where it cannot be asked.
SETTLES_S, SHORTLY_S = 2.0, 0.01
#: How often each request is drawn.
WEIGHTS = {"join": 7, "sync": 5, "beat": 1, "leave": 2, "commit": 2, "fetch": 1, "describe": 1, "delete_group": 0.5, "delete_offsets": 1}
#: What they are called.
NAMES = frozenset(
    one.__name__
    for one in (
        m.JoinGroupRequest, m.SyncGroupRequest, m.HeartbeatRequest, m.LeaveGroupRequest, m.OffsetCommitRequest,
        m.OffsetFetchRequest, m.DescribeGroupsRequest, m.DeleteGroupsRequest, m.OffsetDeleteRequest,
    )
)  # fmt: skip
PROTOCOLS = (
    *[(("range", subscription("t")), ("sticky", b""))] * 8,
    (("range", subscription("u")), ("sticky", b"")),
    (("range", subscription("t")),),
    (("range", b"\0"), ("sticky", b"")),
    (("x", b""),),
    (),
)


class OtherLeader(Exception):
    """The leader is gone, and Kafka chose another member than the model, as it may: from here on the two go apart."""


class History:
    """One group, asked of Kafka and of the model by five processes that wait for their answers, and one that never has to."""

    def __init__(self, group_id: str, random: Random, address: tuple[str, int], stack: ExitStack) -> None:
        self.group_id, self.random = group_id, random
        self.model = Coordinator()
        self.connections = [stack.enter_context(Connection(*address)) for _ in range(6)]
        self.beside = stack.enter_context(Connection(*address))
        self.waiting: dict[Connection, tuple[int, str | None]] = {}  # → the model's ticket, the instance that asked
        self.names: dict[str, str] = {"": ""}  # Kafka's member ids → the model's
        self.members: list[tuple[str, str | None]] = [("", None)]  # (Kafka's id, instance)
        self.generations: dict[str, int] = {}
        self.is_hidden = False  # perhaps made by a commit that kept nothing: Kafka then writes nothing of it when somebody joins
        self.story: list[str] = []
        self.counts: Counter[str] = Counter()

    def take(self) -> None:
        """One request of a random kind, if whoever asks is not waiting; and what is answered to whom."""
        kind = self.random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        member_id, instance = self.asker(kind)
        idle = [one for one in self.connections[1:] if one not in self.waiting]
        if kind == "describe" and not self.is_described:
            return
        may_wait = kind in ("join", "sync")
        if (may_wait and not idle) or self.waits(self.names.get(member_id, member_id), instance):
            return
        connection = self.random.choice(idle) if may_wait else self.connections[0]
        generation = self.generations.get(member_id, 1) + self.random.choice([0] * 8 + [-1, 1])
        body, version = getattr(self, kind)(member_id, instance, generation)
        self.is_hidden |= kind == "commit" and self.model.group(self.group_id).state is State.DEAD
        self.story.append(f"{type(body).__name__} v{version}, member {member_id[-4:]!r}, instance {instance}, generation {generation}")
        self.counts[type(body).__name__] += 1
        connection.send(body, version)
        named = getattr(body, "group_instance_id", None)
        sent = getattr(body, "generation_id", getattr(body, "generation_id_or_member_epoch", -1))
        ticket = self.model.send(self.translated(body), version, member_id=self.names.get(member_id, member_id), instance_id=named, generation=sent)
        self.model.settles()
        self.waiting[connection] = ticket, named
        self.collect()

    def asker(self, kind: str) -> tuple[str, str | None]:
        """A member, mostly as it was told; sometimes a stranger, or under another instance."""
        member_id, instance = self.random.choice(self.members)
        if kind == "join" and self.random.random() < 0.35:
            return "", self.random.choice([None, None, "i", "j"])
        if self.random.random() < 0.1:
            member_id = self.random.choice(["bogus", ""])
        if self.random.random() < 0.1:
            instance = self.random.choice([None, "i", "j"])
        return member_id, instance

    def waits(self, member_id: str, instance: str | None) -> bool:
        """Does this member wait already? What Kafka never answers is not asked for; nor is what it takes for its own fault."""
        group = self.model.group(self.group_id)
        mine = {member_id} if member_id else {group.statics.get(instance or "", "")}
        return bool(mine & ({*group.joins} | {*group.syncs})) or (member_id in group.pending and instance is not None)

    def translated(self, body: Any) -> Any:
        """The request with the model's member ids."""
        changes = {"member_id": self.names.get(body.member_id, body.member_id)} if hasattr(body, "member_id") else {}
        if isinstance(body, m.LeaveGroupRequest):
            members = tuple(m.MemberIdentity(self.names.get(one.member_id, one.member_id), one.group_instance_id) for one in body.members)
            return m.LeaveGroupRequest(body.group_id, changes["member_id"], members)
        if isinstance(body, m.SyncGroupRequest):
            changes["assignments"] = tuple(m.SyncGroupRequestAssignment(self.names[one.member_id], one.assignment) for one in body.assignments)
        return self.replaced(body, changes)

    @staticmethod
    def replaced(body: Any, changes: dict[str, Any]) -> Any:
        """The message with some fields changed."""
        return type(body)(**{name: changes.get(name, getattr(body, name)) for name in type(body).__match_args__})

    @property
    def is_described(self) -> bool:
        """Kafka may describe a group as Dead that is there and answers, if nothing of it was written down yet."""
        return bool(self.model.records) and not self.is_hidden and not isinstance(self.model.records[-1], GroupForgotten)

    def settle(self) -> None:
        """Until Kafka is where the model is: what comes next, on another connection, must overtake neither a request nor a delay of 0 ms."""
        wanted = self.model.group(self.group_id).state.value
        give_up = time.monotonic() + (SETTLES_S if self.is_described else SHORTLY_S)
        while self.beside.ask(m.DescribeGroupsRequest((self.group_id,)), 5).groups[0].group_state != wanted and time.monotonic() < give_up:
            time.sleep(0.001)

    def collect(self) -> None:
        """Who is answered by the model must be answered by Kafka, and alike; and nobody else."""
        self.settle()
        answered = [(one, ticket, instance) for one, (ticket, instance) in self.waiting.items() if ticket in self.model.replies]
        pairs = []
        for connection, ticket, instance in sorted(answered, key=lambda one: one[1]):
            del self.waiting[connection]
            kafka, model = connection.answer(), self.model.replies[ticket].body
            self.learn(kafka, model, instance)
            pairs.append((kafka, model))
        for kafka, model in pairs:
            if isinstance(model, m.JoinGroupResponse) and self.is_other_leader(kafka, model):
                raise OtherLeader
            found = list(differences(kafka, model, self.names))
            assert not found, self.told(type(model).__name__, *found)
        for connection in self.waiting:
            assert connection.is_silent(0), self.told("Kafka answers where the model lets it wait", str(connection.answer()))

    def learn(self, kafka: Any, model: Any, instance: str | None) -> None:
        """What an answer tells of the member that it is for."""
        if isinstance(model, m.JoinGroupResponse) and kafka.error_code.value == model.error_code and model.error_code in (Error.NONE, Error.MEMBER_ID_REQUIRED):
            if kafka.member_id not in self.names:
                self.names[kafka.member_id] = model.member_id
                self.members.append((kafka.member_id, instance))
            if model.error_code == Error.NONE:
                self.generations[kafka.member_id] = kafka.generation_id

    def is_other_leader(self, kafka: Any, model: m.JoinGroupResponse) -> bool:
        """Do both name a leader that is a member, and not the same?"""
        theirs = self.names.get(kafka.leader)
        return model.error_code == Error.NONE and theirs != model.leader and theirs in self.model.group(self.group_id).members

    def told(self, *lines: str) -> str:
        """What is wrong, and how it came to that."""
        return "\n".join((f"group {self.group_id}:", *lines, "after:", *self.story[-20:]))

    # Requests, with their versions

    def join(self, member_id: str, instance: str | None, _generation: int) -> tuple[Any, int]:
        protocols = tuple(m.JoinGroupRequestProtocol(*one) for one in self.random.choice(PROTOCOLS))
        session = self.random.choice([LONG_MS] * 30 + [10])
        kind = self.random.choice(["consumer"] * 30 + ["", "connect"])
        body = m.JoinGroupRequest(self.group_id, session, LONG_MS, member_id, instance, kind, protocols)
        return body, self.random.choice([5, 6, 7, 8, 9] if instance is not None else [1, 3, 4, 5, 6, 7, 8, 9])

    def sync(self, member_id: str, instance: str | None, generation: int) -> tuple[Any, int]:
        version = self.random.choice([3, 4, 5, 5])
        kind, protocol = self.random.choice([("consumer", "range")] * 12 + [(None, None), ("consumer", "sticky"), ("connect", "range")])
        given = tuple(m.SyncGroupRequestAssignment(one, bytes([at])) for at, one in enumerate(self.generations))
        names = (kind, protocol) if version >= 5 else (None, None)
        return m.SyncGroupRequest(self.group_id, generation, member_id, instance, *names, given), version

    def beat(self, member_id: str, instance: str | None, generation: int) -> tuple[Any, int]:
        return m.HeartbeatRequest(self.group_id, generation, member_id, instance), self.random.choice([3, 4])

    def leave(self, member_id: str, instance: str | None, _generation: int) -> tuple[Any, int]:
        version = self.random.choice([0, 2, 3, 5])
        if version < 3:
            return m.LeaveGroupRequest(self.group_id, member_id), version
        return m.LeaveGroupRequest(self.group_id, "", (m.MemberIdentity(member_id, instance),)), version

    def commit(self, member_id: str, instance: str | None, generation: int) -> tuple[Any, int]:
        named = self.random.choice([("t", 0), ("t", 1), ("u", 0), ("v", 0), ("u", 7)])
        offset, metadata = self.random.randrange(-2, 50), self.random.choice(["", "m", None, "x" * 4097])
        partition = m.OffsetCommitRequestPartition(named[1], offset, -1, metadata)
        topics = (m.OffsetCommitRequestTopic(named[0], ZERO_UUID, (partition,)),)
        body = m.OffsetCommitRequest(self.group_id, self.random.choice([generation] * 5 + [-1]), member_id, instance, topics=topics)
        return body, self.random.choice([7, 8, 9] if instance is not None else [2, 5, 7, 8, 9])

    def fetch(self, _member_id: str, _instance: str | None, _generation: int) -> tuple[Any, int]:
        topics = self.random.choice([None, (m.OffsetFetchRequestTopic("t", (0, 1)), m.OffsetFetchRequestTopic("v", (0,)))])
        version = self.random.choice([2, 5, 7, 8, 9])
        if version < 8:
            return m.OffsetFetchRequest(self.group_id, topics), version
        named = None if topics is None else tuple(m.OffsetFetchRequestTopics(one.name, ZERO_UUID, one.partition_indexes) for one in topics)
        return m.OffsetFetchRequest(groups=(m.OffsetFetchRequestGroup(self.group_id, topics=named),)), version

    def describe(self, _member_id: str, _instance: str | None, _generation: int) -> tuple[Any, int]:
        version = self.random.choice([0, 3, 4, 5, 6])
        return m.DescribeGroupsRequest((self.group_id,), version >= 3), version

    def delete_group(self, _member_id: str, _instance: str | None, _generation: int) -> tuple[Any, int]:
        return m.DeleteGroupsRequest((self.group_id,)), self.random.choice([0, 1, 2])

    def delete_offsets(self, _member_id: str, _instance: str | None, _generation: int) -> tuple[Any, int]:
        name, index = self.random.choice([("t", 0), ("t", 1), ("u", 0), ("v", 0), ("u", 7)])
        return m.OffsetDeleteRequest(self.group_id, (m.OffsetDeleteRequestTopic(name, (m.OffsetDeleteRequestPartition(index),)),)), 0


@pytest.fixture(scope="module")
def coordinator() -> Iterator[tuple[str, int]]:
    """Where Apache Kafka coordinates groups, with topics t and u of two partitions."""
    with ExitStack() as stack:
        try:
            kafka = stack.enter_context(Kafka(**SETTINGS))
        except PeerUnavailable as reason:
            not_run(f"Apache Kafka: {reason}")
        host, _, port = kafka.bootstrap.rpartition(":")
        with Connection(host, int(port)) as connection:
            connection.ask(m.CreateTopicsRequest((m.CreatableTopic("t", 2, 1), m.CreatableTopic("u", 2, 1)), 10_000), 7)
            while connection.ask(m.FindCoordinatorRequest("g", 0), 3).error_code.value != Error.NONE:
                time.sleep(0.1)
            while connection.ask(m.HeartbeatRequest("g", 1, "nobody"), 3).error_code.value != Error.UNKNOWN_MEMBER_ID:
                time.sleep(0.1)
        yield host, int(port)


def test_random_histories_of_a_group_are_answered_as_the_model_answers(coordinator: tuple[str, int]) -> None:
    asked: Counter[str] = Counter()
    first, cut = seed_given(1), 0
    history = first
    while asked.total() < REQUESTS:
        with ExitStack() as stack:
            told = History(f"g{history}", Random(history), coordinator, stack)
            try:
                for _ in range(LENGTH):
                    told.take()
            except OtherLeader:
                cut += 1
        asked += told.counts
        history += 1
    assert cut < (history - first) / 3, f"{cut} of {history - first} histories were cut short"
    assert {name for name in NAMES if asked[name] < 10} == set()
