"""The load on a coordinator: members who join and share 10,000 partitions, and the heartbeats and commits of those who have joined.

Its frames are made beforehand. Who joins has a connection for itself, since a JoinGroup waits; what members say afterwards goes over a few, as the
load on a log does. Of an answer the first error code is looked at: a heartbeat has no other, and what refuses a member refuses it for every partition.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from typing import Any

from group_bench import subscription

from bench.brokers import Broker, cpu_seconds
from bench.generator import Lane, Load, generate
from bench.load import Connection, with_length
from fiducial.conformance.exploration.steps import answer_of, request_frame
from fiducial.models import messages as m
from fiducial.models.apis import APIS
from fiducial.models.errors import Error

OFFSET_COMMIT, FIND_COORDINATOR, JOIN_GROUP, HEARTBEAT, LEAVE_GROUP, SYNC_GROUP = 8, 10, 11, 12, 13, 14
#: By name, as most clients have it.
COMMIT_VERSION = 9
#: What is shared: topics whose names are equally long, and the partitions of each.
TOPICS, PARTITIONS = tuple(f"shared-{number}" for number in range(10)), 1_000
#: Nobody is taken for gone.
SESSION_MS, REBALANCE_MS = 1_800_000, 300_000
#: What members say once they have joined goes over so many connections, and of each so many requests are on their way.
CONNECTIONS, WINDOW = 4, 8
#: How long a coordinator may take to be there, behind the making of 10,000 partitions (s).
COORDINATOR_S = 180.0
#: What is answered of a group until its partition of the offsets topic is there.
NOT_YET = (Error.COORDINATOR_NOT_AVAILABLE, Error.COORDINATOR_LOAD_IN_PROGRESS, Error.NOT_COORDINATOR)


@dataclass(frozen=True)
class Members:
    """Members of one generation; the first leads."""

    group_id: str
    generation: int
    ids: tuple[str, ...]


@dataclass(frozen=True)
class Heartbeat:
    """One member after the other is alive."""


@dataclass(frozen=True)
class Commit:
    """One member after the other commits so many partitions; together they go through all."""

    partitions: int


@dataclass(frozen=True)
class Phase:
    """From the first JoinGroup to the last assignment."""

    wall_s: float
    broker_cpu_s: float


# What members say


def version_of(api_key: int) -> int:
    """In which version it is said: the newest, but for commits."""
    return COMMIT_VERSION if api_key == OFFSET_COMMIT else APIS[api_key].max_version


def frame_of(api_key: int, message: Any) -> bytes:
    """As it goes over the wire."""
    return with_length(request_frame(api_key, version_of(api_key), message))


def join_frame(group_id: str, member_id: str) -> bytes:
    """A consumer of all topics."""
    protocols = (m.JoinGroupRequestProtocol("range", subscription(*TOPICS)),)
    return frame_of(JOIN_GROUP, m.JoinGroupRequest(group_id, SESSION_MS, REBALANCE_MS, member_id, None, "consumer", protocols))


def sync_frame(members: Members, member_id: str) -> bytes:
    """The leader gives each as many bytes as its share of the partitions takes."""
    share = bytes(4 * len(TOPICS) * PARTITIONS // len(members.ids))
    given = tuple(m.SyncGroupRequestAssignment(one, share) for one in members.ids) if member_id == members.ids[0] else ()
    return frame_of(SYNC_GROUP, m.SyncGroupRequest(members.group_id, members.generation, member_id, None, "consumer", "range", given))


def heartbeat_frame(members: Members, member_id: str) -> bytes:
    """A member is alive."""
    return frame_of(HEARTBEAT, m.HeartbeatRequest(members.group_id, members.generation, member_id))


def commit_frame(members: Members, member_id: str, first: int, count: int) -> bytes:
    """A member has read `count` partitions of a topic, from the partition `first` of all on."""
    topic, index = divmod(first, PARTITIONS)
    partitions = tuple(m.OffsetCommitRequestPartition(one, first) for one in range(index, index + count))
    topics = (m.OffsetCommitRequestTopic(TOPICS[topic], partitions=partitions),)
    return frame_of(OFFSET_COMMIT, m.OffsetCommitRequest(members.group_id, members.generation, member_id, None, -1, topics))


@cache
def frames_of(members: Members, work: Heartbeat | Commit) -> tuple[bytes, ...]:
    """What is sent again and again: everybody's turn has come, and every partition's."""
    ids, size = members.ids, len(members.ids)
    if isinstance(work, Heartbeat):
        return tuple(heartbeat_frame(members, ids[at % size]) for at in range(max(size, CONNECTIONS)))
    slices = len(TOPICS) * PARTITIONS // work.partitions
    count = max(size, slices)
    return tuple(commit_frame(members, ids[at % size], at % slices * work.partitions, work.partitions) for at in range(count))


def lane(broker: Broker, frames: Sequence[bytes]) -> Lane:
    """A connection with its part of the frames; their answers have the same size."""
    api_key = int.from_bytes(frames[0][4:6])
    connection = Connection(broker)
    with connection.socket:
        answer = connection.ask(frames[0])
    assert error_of(answer_of(answer, api_key, version_of(api_key))) == Error.NONE
    return Lane(frames, WINDOW, error_place(api_key), 4 + len(answer))


def error_of(answer: Any) -> int:
    """The first error code."""
    if isinstance(answer, m.OffsetCommitResponse):
        return answer.topics[0].partitions[0].error_code
    return int(answer.error_code)


def error_place(api_key: int) -> int:
    """Where it stands: behind the length, the header and throttle_time_ms, and in a commit's answer two lengths, the topic's name and the partition."""
    head = 4 + 5 + 4
    return head if api_key == HEARTBEAT else head + 1 + 1 + len(TOPICS[0]) + 1 + 4


def run(broker: Broker, members: Members, work: Heartbeat | Commit, seconds: float) -> Load:
    """Keep the coordinator busy for so long."""
    frames = frames_of(members, work)
    return generate(broker.port, broker.pid, [lane(broker, frames[at::CONNECTIONS]) for at in range(CONNECTIONS)], seconds)


# Members join


class Crowd:
    """Members with a connection each, of a group that nobody else is in."""

    def __init__(self, broker: Broker, group_id: str, size: int) -> None:
        self.broker, self.group_id = broker, group_id
        self.connections = [Connection(broker) for _ in range(size)]
        self.members = Members(group_id, 0, ("",) * size)
        self.find()

    def find(self) -> None:
        """The coordinator is there; the first who asks has its topic made."""
        request = frame_of(FIND_COORDINATOR, m.FindCoordinatorRequest(coordinator_keys=(self.group_id,)))
        give_up = time.monotonic() + COORDINATOR_S
        while True:
            (found,) = self.answer(self.connections[0].ask(request), FIND_COORDINATOR).coordinators
            if found.error_code not in NOT_YET or time.monotonic() > give_up:
                assert found.error_code == Error.NONE, found
                return
            time.sleep(0.1)

    def answer(self, data: bytes, api_key: int) -> Any:
        """The message in an answer."""
        return answer_of(data, api_key, version_of(api_key))

    def all_ask(self, api_key: int, frames: Sequence[bytes]) -> list[Any]:
        """Everybody asks at once; the answers are read when the last one is there."""
        for connection, frame in zip(self.connections, frames, strict=True):
            connection.socket.sendall(frame)
        return [self.answer(data, api_key) for data in [connection.answer() for connection in self.connections]]

    def join(self) -> Phase:
        """Nobody has an id: each is given one, and comes again with it. All join in the first phase, which goes on while somebody comes."""
        newcomer = join_frame(self.group_id, "")
        self.await_group(newcomer)
        return self.timed(lambda: self.take_part([join_frame(self.group_id, one) for one in self.ids_given(newcomer)]))

    def await_group(self, newcomer: bytes) -> None:
        """The coordinator has taken up the group's partition: it gives an id out, which nobody uses, and which is given back."""
        give_up = time.monotonic() + COORDINATOR_S
        while (given := self.answer(self.connections[0].ask(newcomer), JOIN_GROUP)).error_code in NOT_YET and time.monotonic() < give_up:
            time.sleep(0.1)
        assert given.error_code == Error.MEMBER_ID_REQUIRED, given
        self.leave(given.member_id)

    def ids_given(self, newcomer: bytes) -> list[str]:
        """An id for each."""
        given = self.all_ask(JOIN_GROUP, [newcomer] * len(self.connections))
        assert {one.error_code for one in given} == {Error.MEMBER_ID_REQUIRED}
        return [one.member_id for one in given]

    def rebalance(self) -> Phase:
        """The leader joins again, and when another has heard of it, so do all."""
        frames = [join_frame(self.group_id, one) for one in self.members.ids]
        beat = heartbeat_frame(self.members, self.members.ids[1])

        def again() -> None:
            self.connections[0].socket.sendall(frames[0])
            while self.answer(self.connections[1].ask(beat), HEARTBEAT).error_code != Error.REBALANCE_IN_PROGRESS:
                pass
            for connection, frame in zip(self.connections[1:], frames[1:], strict=True):
                connection.socket.sendall(frame)
            self.synced([self.answer(connection.answer(), JOIN_GROUP) for connection in self.connections])

        return self.timed(again)

    def take_part(self, frames: Sequence[bytes]) -> None:
        """Join and sync."""
        self.synced(self.all_ask(JOIN_GROUP, frames))

    def synced(self, joined: Sequence[Any]) -> None:
        """All are of one generation, and the leader gives each its share."""
        assert {(one.error_code, one.generation_id) for one in joined} == {(Error.NONE, joined[0].generation_id)}, "not all are of one generation"
        pairs = sorted(zip(joined, self.connections, strict=True), key=lambda pair: pair[0].member_id != pair[0].leader)
        self.connections = [connection for _, connection in pairs]
        self.members = Members(self.group_id, joined[0].generation_id, tuple(one.member_id for one, _ in pairs))
        given = self.all_ask(SYNC_GROUP, [sync_frame(self.members, one) for one in self.members.ids])
        assert all(one.error_code == Error.NONE and one.assignment for one in given), "not all were given a share"

    def timed(self, phase: Callable[[], None]) -> Phase:
        """What a phase takes."""
        broker_cpu_s, begun = cpu_seconds(self.broker.pid), time.monotonic()
        phase()
        return Phase(time.monotonic() - begun, cpu_seconds(self.broker.pid) - broker_cpu_s)

    def leave(self, *ids: str) -> None:
        """These leave the group."""
        leaving = m.LeaveGroupRequest(self.group_id, members=tuple(m.MemberIdentity(one) for one in ids))
        left = self.answer(self.connections[0].ask(frame_of(LEAVE_GROUP, leaving)), LEAVE_GROUP)
        assert left.error_code == Error.NONE and all(one.error_code == Error.NONE for one in left.members), left

    def close(self) -> None:
        """The connections end; the members stay."""
        for connection in self.connections:
            connection.socket.close()


def joined(broker: Broker, group_id: str, size: int) -> Members:
    """A group of so many that is stable."""
    with ExitStack() as stack:
        crowd = Crowd(broker, group_id, size)
        stack.callback(crowd.close)
        crowd.join()
        return crowd.members


def gathered(broker: Broker, group_id: str, size: int, rebalances: int) -> tuple[Phase, list[Phase]]:
    """So many join, rebalance so often, and leave: what joining took, and each time."""
    with ExitStack() as stack:
        crowd = Crowd(broker, group_id, size)
        stack.callback(crowd.close)
        phases = crowd.join(), [crowd.rebalance() for _ in range(rebalances)]
        crowd.leave(*crowd.members.ids)
        return phases
