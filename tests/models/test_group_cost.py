"""What a heartbeat, a commit and a join cost: as many steps, by key, in a group of a thousand members as in one of ten. Nothing is timed: steps are counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import reduce
from typing import Any

import pytest
from group_bench import TOPICS, Coordinator
from samples import NOW

from fiducial.models import group_phases, group_requests
from fiducial.models.events import Reply
from fiducial.models.group_offsets import CommittedOffset, OffsetCommitted, OffsetForgotten
from fiducial.models.group_requests import Groups
from fiducial.models.groups import Asked, GroupForgotten
from fiducial.models.messages import (
    HeartbeatRequest,
    JoinGroupRequest,
    JoinGroupRequestProtocol,
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from fiducial.models.values import EMPTY, changed

HEARTBEAT = HeartbeatRequest("g", 1)
COMMIT = OffsetCommitRequest("g", 1, topics=(OffsetCommitRequestTopic("t", partitions=(OffsetCommitRequestPartition(0, 5), OffsetCommitRequestPartition(1, 6))),))
MAPS_OF_A_GROUP = ("members", "statics", "supporters", "pending", "joins", "syncs", "unsynced")


class Stepped:
    """A persistent map that counts how often it is asked and changed, a step for each key. It cannot be gone through: that would be as long as it is large."""

    steps = 0

    def __init__(self, held: Any) -> None:
        self.held = held

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"a map that grows with the group was asked for its {name}")

    def __iter__(self) -> Iterator[Any]:
        raise AssertionError("a map that grows with the group was gone through")

    def __len__(self) -> int:
        return len(self.held)

    def __contains__(self, key: Any) -> bool:
        return key in self.count(1)

    def __getitem__(self, key: Any) -> Any:
        return self.count(1)[key]

    def get(self, key: Any, default: Any = None) -> Any:
        return self.count(1).get(key, default)

    def set(self, key: Any, content: Any) -> Stepped:
        return Stepped(self.count(1).set(key, content))

    def delete(self, key: Any) -> Stepped:
        return Stepped(self.count(1).delete(key))

    def update(self, entries: Mapping[Any, Any]) -> Stepped:
        return Stepped(self.count(len(entries)).update(entries))

    def count(self, steps: int) -> Any:
        Stepped.steps += steps
        return self.held


def stepped(groups: Groups, group_id: str) -> Groups:
    """The same with every map counted that grows with groups, members and offsets."""
    group = groups.live[group_id]
    group = changed(group, **{name: Stepped(getattr(group, name)) for name in MAPS_OF_A_GROUP})
    offsets = groups.offsets.set(group_id, Stepped(groups.offsets[group_id]))  # type: ignore[arg-type]
    return Groups(*map(Stepped, (groups.live.set(group_id, group), groups.saved, offsets)))  # type: ignore[arg-type]


def crowd(size: int) -> tuple[Coordinator, str]:
    """A stable group of so many, which has committed ten partitions for each; and one of its members."""
    c = Coordinator(initial_rebalance_delay_ms=1_000)
    members = [c.joined() for _ in range(size)]
    while c.group().generation == 0:
        c.passes(1_000)
    for member_id in members[1:]:
        c.sync(member_id, 1)
    c.sync(members[0], 1, {})
    held = EMPTY.update({("old", partition): CommittedOffset(1) for partition in range(10 * size)})
    c.groups = changed(c.groups, offsets=EMPTY.set("g", held))
    return c, members[-1]


def steps_of(size: int, body: Any, version: int) -> int:
    """How many steps a request of one member takes in a group of so many."""
    c, member_id = crowd(size)
    asked = Asked(1_000_000, version, "g", changed(body, member_id=member_id), member_id, None, 1)
    groups = stepped(c.groups, "g")
    Stepped.steps = 0
    _, effects = group_requests.handle(groups, asked, TOPICS, c.config, NOW + 1)
    assert isinstance(effects[-1], Reply) and not effects[-1].rules
    return Stepped.steps


@pytest.mark.parametrize("body, version", [(HEARTBEAT, 4), (COMMIT, 9)], ids=["heartbeat", "commit"])
def test_a_group_of_a_thousand_costs_no_more_steps_than_one_of_ten(body: Any, version: int) -> None:
    few, many = (steps_of(size, body, version) for size in (10, 1_000))
    assert 0 < few == many


@pytest.mark.rule("GROUP-JOIN-4")
def test_a_join_of_a_phase_that_is_on_costs_no_more_steps_with_a_thousand_members_than_with_ten() -> None:
    steps = []
    for size in (10, 1_000):
        c, member_id = crowd(size)
        c.join(str(c.group().leader))
        protocols = (JoinGroupRequestProtocol("range", b"changed"), JoinGroupRequestProtocol("another", b""))
        asked = Asked(1_000_000, 9, "g", JoinGroupRequest("g", 10_000, 10_000, member_id, None, "consumer", protocols), member_id)
        groups = stepped(c.groups, "g")
        Stepped.steps = 0
        after, effects = group_requests.handle(groups, asked, TOPICS, c.config, NOW + 1)
        steps.append(Stepped.steps)
        assert effects == () and len(after.live["g"].joins) == 2
    assert 0 < steps[0] == steps[1]


@pytest.mark.rule("GROUP-RECORD-4")
def test_what_is_committed_together_is_there_as_if_committed_one_by_one() -> None:
    c, _ = crowd(2)
    commits = [OffsetCommitted(group_id, "t", partition, CommittedOffset(offset)) for group_id in "ghg" for partition in (0, 1, 0) for offset in (1, 2)]
    records = [*commits, OffsetForgotten("g", "t", 0), commits[0], OffsetForgotten("h", "t", 1), GroupForgotten("g"), *commits[-2:]]
    assert group_requests.evolved(c.groups, records) == reduce(group_requests.evolve, records, c.groups) != c.groups


class Listed(tuple[Any, ...]):
    """A member's protocols, which count how often they are gone through."""

    times = 0

    def __iter__(self) -> Iterator[Any]:
        Listed.times += 1
        return super().__iter__()


@pytest.mark.rule("GROUP-JOIN-15")
def test_thousands_of_protocols_are_gone_through_as_often_as_two() -> None:
    times = []
    for size in (2, 5_000):
        c = Coordinator()
        protocols = {f"p{number}": b"" for number in range(size)}
        for _ in range(3):
            c.joined(protocols=protocols)
        members = {member_id: changed(member, protocols=Listed(member.protocols)) for member_id, member in c.group().members.items()}
        Listed.times = 0
        assert group_phases.protocol_choices(changed(c.group(), members=EMPTY.update(members))) == ("p0",)
        times.append(Listed.times)
    assert 0 < times[0] == times[1]
