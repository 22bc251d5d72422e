"""Groups in data folders: a company that leaves every kind of record behind, on any broker, and all that the broker says of it.

    with started(path) as broker:
        create(broker, TOPIC, 2)
        company = Company(Lines(broker).open, names())
        await_coordinators(company.line)
        for _ in company.comes():
            print(seen(company.line, company.groups))
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from group_bench import subscription

from fastpath.folders import KEYS, NOW, PATIENCE_S, Ours
from fiducial.conformance.exploration.steps import answer_of, request_frame
from fiducial.fastpath.node import Action, Send
from fiducial.models import messages as m
from fiducial.models.errors import Error
from fiducial.models.group_requests import partition_of
from fiducial.models.groups import State
from fiducial.models.values import ZERO_UUID

OFFSETS, PARTITIONS = "__consumer_offsets", 10
#: As little as a segment may have.
SEGMENT_BYTES = 1 << 20
#: Nobody falls silent.
SESSION_MS = 1_800_000
TOPIC = "t"
#: What each group is there for.
PARTS = ("pair", "static", "simple", "left", "gone")


def started(path: Path, now: int = NOW) -> Ours:
    """A broker of ours."""
    return Ours(
        path,
        now=now,
        group_initial_rebalance_delay_ms="0",
        offsets_topic_num_partitions=str(PARTITIONS),
        offsets_topic_segment_bytes=str(SEGMENT_BYTES),
    )


class Line(Protocol):
    """A connection, on which a request may wait."""

    def send(self, *frames: bytes) -> None:
        """Requests, without their lengths."""
        ...

    def answer(self) -> bytes | None:
        """The next answer, without its length."""
        ...


class Lines:
    """Connections to a broker of ours in process."""

    def __init__(self, ours: Ours) -> None:
        self.ours, self.came = ours, defaultdict[int, deque[Action]](deque)
        self.numbers = count(100)

    def open(self) -> OwnLine:
        """One more."""
        line = OwnLine(self, next(self.numbers))
        self.ours.node.connected(line.number, "127.0.0.1")
        return line

    def keep(self, actions: list[Action]) -> None:
        """Answers stay on their lines until they are read."""
        for action in actions:
            self.came[action.connection].append(action)


class OwnLine:
    """One of them."""

    def __init__(self, lines: Lines, number: int) -> None:
        self.lines, self.number = lines, number

    def send(self, *frames: bytes) -> None:
        for frame in frames:
            self.lines.keep(self.lines.ours.node.frame(self.number, bytearray(frame), self.lines.ours.now))

    def answer(self) -> bytes | None:
        self.lines.keep(self.lines.ours.node.expire(self.lines.ours.now))
        action = self.lines.came[self.number].popleft()
        return action.data[4:] if isinstance(action, Send) else None


def send(line: Line, message: Any, version: int) -> None:
    """A request."""
    line.send(request_frame(KEYS[type(message)], version, message))


def heard(line: Line, request: type, version: int) -> Any:
    """The next answer, which is to such a request."""
    answer = line.answer()
    assert answer is not None, "the connection ended"
    return answer_of(answer, KEYS[request], version)


def ask(line: Line, message: Any, version: int) -> Any:
    """A request and its answer."""
    send(line, message, version)
    return heard(line, type(message), version)


def await_coordinators(line: Line) -> None:
    """Until every group can be asked. What Apache Kafka answers, it has not always carried out yet."""
    give_up = time.monotonic() + PATIENCE_S
    while ask(line, m.FindCoordinatorRequest("g", 0), 3).error_code:
        assert time.monotonic() < give_up
        time.sleep(0.05)
    for partition in range(PARTITIONS):
        name = next(name for number in count() if partition_of(name := f"anybody-{number}", PARTITIONS) == partition)
        while ask(line, m.HeartbeatRequest(name, 1, "nobody"), 3).error_code != Error.UNKNOWN_MEMBER_ID:
            assert time.monotonic() < give_up
            time.sleep(0.05)


def names(odd: bool = False) -> dict[str, str]:
    """Part → a name for its group, in a partition with an even number, or with an odd one."""
    return {part: next(name for number in count() if partition_of(name := f"{part}-{number}", PARTITIONS) % 2 == odd) for part in PARTS}


def partitions_of(groups: dict[str, str]) -> set[int]:
    """The partitions in which their records are."""
    return {partition_of(name, PARTITIONS) for name in groups.values()}


# Who comes and goes


class Company:
    """Members and offsets of a few groups on one broker; topic `TOPIC` of two partitions is there."""

    def __init__(self, open_line: Callable[[], Line], groups: dict[str, str]) -> None:
        self.groups = groups
        self.line, self.other = open_line(), open_line()
        self.members: dict[str, str] = {}

    def again(self, open_line: Callable[[], Line]) -> Company:
        """The same members, on another broker."""
        found = Company(open_line, self.groups)
        found.members = dict(self.members)
        return found

    def comes(self) -> Iterator[bool]:
        """The story, step by step. At the end of each: is everything that a broker says of it written down?"""
        for step in (
            self.one_joins, self.another_joins, self.both_commit, self.static_comes, self.static_comes_back, self.offsets_alone,
            self.all_leave, self.more_offsets, self.group_is_deleted,
        ):  # fmt: skip
            step()
            yield True
        self.phase_begins()
        yield False

    # Requests

    def join(self, line: Line, part: str, who: str, *, instance: str | None = None, kind: str = "consumer") -> None:
        """A JoinGroup of somebody, who may be a member already."""
        user_data = len(who).to_bytes(4) + who.encode()
        protocols = (m.JoinGroupRequestProtocol("range", subscription(TOPIC)[:-4] + user_data),)
        member_id = self.members.get(who, "")
        send(line, m.JoinGroupRequest(self.groups[part], SESSION_MS, SESSION_MS, member_id, instance, kind, protocols), 9)

    def joined(self, line: Line, who: str) -> Any:
        """The answer: a generation, of which the member is."""
        answer = heard(line, m.JoinGroupRequest, 9)
        assert answer.error_code == Error.NONE, answer
        self.members[who] = answer.member_id
        return answer

    def is_named(self, line: Line, part: str, who: str, kind: str = "consumer") -> None:
        """Who is new is given an id."""
        self.join(line, part, who, kind=kind)
        answer = heard(line, m.JoinGroupRequest, 9)
        assert answer.error_code == Error.MEMBER_ID_REQUIRED, answer
        self.members[who] = answer.member_id

    def sync(self, line: Line, part: str, who: str, generation: int, *assigned: str, instance: str | None = None, kind: str = "consumer") -> None:
        """A SyncGroup, that of the leader with assignments to the others as well."""
        assignments = tuple(m.SyncGroupRequestAssignment(self.members[one], b"for " + one.encode()) for one in assigned)
        send(line, m.SyncGroupRequest(self.groups[part], generation, self.members[who], instance, kind, "range", assignments), 5)

    def synced(self, line: Line, who: str) -> None:
        """The answer: what is assigned."""
        answer = heard(line, m.SyncGroupRequest, 5)
        assert (answer.error_code, answer.assignment) == (Error.NONE, b"for " + who.encode()), answer

    def beat(self, part: str, who: str, generation: int, instance: str | None = None) -> int:
        """The error of a Heartbeat."""
        return int(ask(self.line, m.HeartbeatRequest(self.groups[part], generation, self.members[who], instance), 4).error_code)

    def commit(self, part: str, offset: int, *, index: int = 0, version: int = 9, **fields: Any) -> None:
        """One offset."""
        who, generation = fields.pop("who", ""), fields.pop("generation", -1)
        partition = m.OffsetCommitRequestPartition(index, offset, fields.pop("epoch", -1), fields.pop("metadata", ""))
        topics = (m.OffsetCommitRequestTopic(TOPIC, ZERO_UUID, (partition,)),)
        body = m.OffsetCommitRequest(
            self.groups[part], generation, self.members.get(who, ""), fields.pop("instance", None), fields.pop("retention_ms", -1), topics
        )
        assert not fields, fields
        answer = ask(self.line, body, version)
        assert answer.topics[0].partitions[0].error_code == Error.NONE, answer

    def state(self, part: str) -> str:
        """As the group is described."""
        return str(ask(self.other, m.DescribeGroupsRequest((self.groups[part],)), 5).groups[0].group_state)

    # Steps

    def one_joins(self) -> None:
        self.is_named(self.line, "pair", "a")
        self.join(self.line, "pair", "a")
        assert self.joined(self.line, "a").generation_id == 1
        self.sync(self.line, "pair", "a", 1, "a")
        self.synced(self.line, "a")

    def another_joins(self) -> None:
        self.is_named(self.other, "pair", "b")
        self.pair_meets(2)

    def pair_meets(self, generation: int) -> None:
        """Both join, the leader first, and get their parts from it."""
        self.join(self.line, "pair", "a")
        while self.state("pair") != State.PREPARING.value:  # what goes over another line must not overtake it
            time.sleep(0.01)
        self.join(self.other, "pair", "b")
        assert self.joined(self.line, "a").generation_id == generation
        assert self.joined(self.other, "b").leader == self.members["a"]
        self.sync(self.line, "pair", "a", generation, "a", "b")
        self.sync(self.other, "pair", "b", generation)
        self.synced(self.line, "a")
        self.synced(self.other, "b")

    def both_commit(self) -> None:
        self.commit("pair", 5, who="a", generation=2, epoch=3, metadata="é→")
        self.commit("pair", 6, index=1, who="b", generation=2, version=6, epoch=0)

    def static_comes(self) -> None:
        self.join(self.line, "static", "s", instance="i", kind="connect")
        assert self.joined(self.line, "s").generation_id == 1
        self.sync(self.line, "static", "s", 1, "s", instance="i", kind="connect")
        self.synced(self.line, "s")
        self.commit("static", 7, who="s", generation=1, instance="i")

    def static_comes_back(self) -> None:
        """In the generation that it was in."""
        del self.members["s"]
        self.join(self.line, "static", "s", instance="i", kind="connect")
        assert self.joined(self.line, "s").generation_id == 1

    def offsets_alone(self) -> None:
        """First so many that they fill a segment."""
        for offset in range(SEGMENT_BYTES // 4000 + 1):
            self.commit("simple", offset, index=1, metadata="m" * 4000)
        self.commit("simple", 8, version=4, retention_ms=SESSION_MS)
        self.commit("simple", 9, version=2)
        self.commit("simple", 1, index=1, version=4, retention_ms=SESSION_MS, metadata="mine")
        gone = (m.OffsetDeleteRequestTopic(TOPIC, (m.OffsetDeleteRequestPartition(0),)),)
        assert ask(self.line, m.OffsetDeleteRequest(self.groups["simple"], gone), 0).error_code == Error.NONE

    def all_leave(self) -> None:
        self.is_named(self.line, "left", "l")
        self.join(self.line, "left", "l")
        self.joined(self.line, "l")
        self.sync(self.line, "left", "l", 1, "l")
        self.synced(self.line, "l")
        self.commit("left", 10, who="l", generation=1)
        left = (m.MemberIdentity(self.members["l"]),)
        assert ask(self.line, m.LeaveGroupRequest(self.groups["left"], "", left), 5).members[0].error_code == Error.NONE

    def more_offsets(self) -> None:
        self.commit("gone", 11)
        self.commit("gone", 12, index=1)

    def group_is_deleted(self) -> None:
        (done,) = ask(self.line, m.DeleteGroupsRequest((self.groups["gone"],)), 2).results
        assert done.error_code == Error.NONE

    def phase_begins(self) -> None:
        """The leader of the pair joins anew, and waits for the other."""
        self.join(self.line, "pair", "a")

    # After a restart

    def goes_on(self) -> None:
        """Each is still what it was, and the next generation is one more."""
        assert self.beat("pair", "a", 2) == self.beat("pair", "b", 2) == Error.NONE
        assert self.beat("static", "s", 1, "i") == Error.NONE
        self.pair_meets(3)
        assert self.beat("pair", "a", 2) == Error.ILLEGAL_GENERATION
        self.static_comes_back()
        self.commit("pair", 50, who="a", generation=3)
        self.commit("simple", 90)
        self.commit("left", 100)


# What is said of it


def seen(line: Line, groups: dict[str, str]) -> dict[str, tuple[Any, ...]]:
    """Part → how the group is listed and described, and its offsets. The order of members is no matter."""
    listed = {one.group_id: one for one in ask(line, m.ListGroupsRequest(), 5).groups}
    found = {}
    for part, name in groups.items():
        (described,) = ask(line, m.DescribeGroupsRequest((name,)), 5).groups
        members = sorted((one.member_id, one.group_instance_id, one.client_id, one.client_host, one.member_metadata, one.member_assignment) for one in described.members)
        said = (described.group_state, described.protocol_type, described.protocol_data, members)
        found[part] = listed.get(name), said, offsets_of(line, name)
    return found


def offsets_of(line: Line, name: str) -> dict[tuple[str, int], tuple[int, int, str]]:
    """(topic, partition) → (offset, leader epoch, metadata)."""
    (group,) = ask(line, m.OffsetFetchRequest(groups=(m.OffsetFetchRequestGroup(name, topics=None),)), 9).groups
    assert group.error_code == Error.NONE, group
    return {
        (topic.name, one.partition_index): (one.committed_offset, one.committed_leader_epoch, one.metadata) for topic in group.topics for one in topic.partitions
    }
