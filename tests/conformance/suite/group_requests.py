"""The requests about groups, with a default for everything that a story is not about; and what happens in most stories before they begin in earnest.

Members are called by numbers, in the order in which they were given ids: 0 leads the group that a story finds. Each has a connection of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fiducial.conformance.cases import Case, Group, Step, awaited, case
from fiducial.conformance.founding import PROTOCOLS, REBALANCE_MS, SESSION_MS
from fiducial.conformance.symbols import Generation, GroupId, IdOf, Member, Name, Subscription
from fiducial.models import messages as m

#: JoinGroup in which a new member waits at once; in which it asks for its id first, and static members have names.
AT_ONCE, ID_FIRST, NAMED = 3, 4, 5

#: A name that no group has until the story makes one; and groups that the story finds.
NEW = (("g", Group(is_absent=True)),)
ALONE = (("g", Group()),)
TWO = (("g", Group((None,))),)
THREE = (("g", Group((None, None))),)
STATIC = (("g", Group(("i",))),)

RANGE, STICKY = PROTOCOLS
#: Where the first join phase ends at once, nobody comes in it, and nothing can be asked meanwhile.
TAKES_ITS_TIME = (("group.initial.rebalance.delay.ms", 3000),)
#: The connection of a member without an id; and the one on which nobody waits.
NEWCOMER, ASIDE = 9, 10
#: The group of a story, and its generation.
G, LAST = GroupId(), Generation()


def protocol(name: str, metadata: Any = b"") -> m.JoinGroupRequestProtocol:
    """A protocol, and what a member says of itself for it."""
    return m.JoinGroupRequestProtocol(name, metadata)


def reading(*topics: str) -> tuple[m.JoinGroupRequestProtocol, ...]:
    """The protocols of a consumer that reads these topics."""
    return (protocol("range", Subscription(topics)), STICKY)


def known(member: Any) -> Any:
    """A member by its number; an id that is none of the story's is said as it is."""
    return Member(member) if isinstance(member, int) else member


def join(
    member: Any = "",
    *supported: m.JoinGroupRequestProtocol,
    protocols: tuple[m.JoinGroupRequestProtocol, ...] = PROTOCOLS,
    instance: str | None = None,
    group: Any = G,
    kind: str = "consumer",
    session: Any = SESSION_MS,
    rebalance_ms: int = REBALANCE_MS,
    **step: Any,
) -> Step:
    """A member joins; without an id, a new one."""
    request = m.JoinGroupRequest(group, session, rebalance_ms, known(member), instance, kind, supported or protocols)
    return Step(request, **on_its_own(member, step))


def sync(
    member: Any,
    *assignments: tuple[Any, bytes],
    instance: str | None = None,
    group: Any = G,
    generation: Any = LAST,
    named: tuple[str | None, str | None] = ("consumer", "range"),
    **step: Any,
) -> Step:
    """A member syncs; the leader assigns."""
    given = tuple(m.SyncGroupRequestAssignment(known(one), assigned) for one, assigned in assignments)
    return Step(m.SyncGroupRequest(group, generation, known(member), instance, *named, given), **on_its_own(member, step))


def beat(member: Any, *, instance: str | None = None, group: Any = G, generation: Any = LAST, **step: Any) -> Step:
    """A member is alive."""
    return aside(m.HeartbeatRequest(group, generation, known(member), instance), step)


def leave(*members: Any, group: Any = G, **step: Any) -> Step:
    """Members leave; up to v2, the first of them. One that is named as a pair has its id and its instance."""
    pairs = [one if isinstance(one, tuple) else (one, None) for one in members]
    leaving = tuple(m.MemberIdentity(known(member), instance) for member, instance in pairs)
    first: Any = leaving[0].member_id if leaving else ""
    return aside(m.LeaveGroupRequest(group, first, leaving), step)


def describe(*groups: Any, operations: bool = False, **step: Any) -> Step:
    """What is told of groups."""
    return aside(m.DescribeGroupsRequest(groups or (G,), operations), step)


def listed(states: tuple[str, ...] = (), types: tuple[str, ...] = (), **step: Any) -> Step:
    """Which groups there are."""
    return aside(m.ListGroupsRequest(states, types), step)


def delete_groups(*groups: Any, **step: Any) -> Step:
    """Groups are forgotten."""
    return aside(m.DeleteGroupsRequest(groups or (G,)), step)


def find(*groups: Any, **step: Any) -> Step:
    """Who coordinates groups; up to v3, the first of them."""
    return aside(m.FindCoordinatorRequest(groups[0], 0, groups), step)


# Offsets


def offset(offset: int = 7, *, index: int = 0, leader_epoch: int = -1, metadata: str | None = "") -> m.OffsetCommitRequestPartition:
    """What is committed for a partition."""
    return m.OffsetCommitRequestPartition(index, offset, leader_epoch, metadata)


def of_topic(topic: str, *offsets: m.OffsetCommitRequestPartition) -> m.OffsetCommitRequestTopic:
    """What is committed for a topic."""
    name: Any = Name(topic)
    topic_id: Any = IdOf(topic)
    return m.OffsetCommitRequestTopic(name, topic_id, offsets)


def commit(
    *topics: m.OffsetCommitRequestTopic | m.OffsetCommitRequestPartition,
    member: Any = "",
    instance: str | None = None,
    group: Any = G,
    generation: Any = -1,
    retention_ms: int = -1,
    **step: Any,
) -> Step:
    """Offsets are committed, of topic a where none is named; by nobody, where no member is."""
    alone = tuple(one for one in topics if isinstance(one, m.OffsetCommitRequestPartition))
    named = tuple(one for one in topics if isinstance(one, m.OffsetCommitRequestTopic)) or (of_topic("a", *alone or (offset(),)),)
    return aside(m.OffsetCommitRequest(group, generation, known(member), instance, retention_ms, named), step)


def commit_nothing(**step: Any) -> Step:
    """A commit that names no partition."""
    group: Any = G
    return aside(m.OffsetCommitRequest(group), step)


def commit_of(member: Any, *topics: Any, generation: Any = LAST, **more: Any) -> Step:
    """A member commits."""
    return commit(*topics, member=member, generation=generation, **more)


def committed(*indexes: int, topic: str = "a", group: Any = G, **step: Any) -> Step:
    """What is committed for partitions of a topic."""
    return committed_of((topic, *(indexes or (0,))), group=group, **step)


def committed_of(*topics: tuple[Any, ...], group: Any = G, **step: Any) -> Step:
    """What is committed for these topics, each with its partitions, in either form of the request."""
    return aside(m.OffsetFetchRequest(group, names_of(topics), (wanted_of(group, *topics),)), step)


def all_committed(group: Any = G, **step: Any) -> Step:
    """All that is committed."""
    return aside(m.OffsetFetchRequest(group, None, (m.OffsetFetchRequestGroup(group, topics=None),)), step)


def names_of(topics: Iterable[tuple[Any, ...]]) -> tuple[m.OffsetFetchRequestTopic, ...]:
    """The topics as they stand in OffsetFetch up to v7."""
    return tuple(m.OffsetFetchRequestTopic(named(topic), tuple(indexes)) for topic, *indexes in topics)


def wanted_of(group: Any, *topics: tuple[Any, ...]) -> m.OffsetFetchRequestGroup:
    """A group in OffsetFetch from v8 on."""
    wanted = tuple(m.OffsetFetchRequestTopics(named(topic), id_of(topic), tuple(indexes)) for topic, *indexes in topics)
    return m.OffsetFetchRequestGroup(group, topics=wanted)


def named(topic: Any) -> Any:
    """A topic of the story by its name."""
    return Name(topic) if isinstance(topic, str) else topic


def id_of(topic: Any) -> Any:
    """A topic of the story by its id."""
    return IdOf(topic) if isinstance(topic, str) else topic


def delete_offsets(*topics: tuple[str, *tuple[int, ...]], group: Any = G, **step: Any) -> Step:
    """What is committed for these partitions is forgotten."""
    wanted = tuple(
        m.OffsetDeleteRequestTopic(named(topic), tuple(m.OffsetDeleteRequestPartition(index) for index in indexes)) for topic, *indexes in topics or (("a", 0),)
    )
    return aside(m.OffsetDeleteRequest(group, wanted), step)


def aside(request: Any, step: dict[str, Any]) -> Step:
    """A request that does not wait."""
    return Step(request, **{"connection": ASIDE, **step})


# What happens in many stories


def on_its_own(member: Any, step: dict[str, Any]) -> dict[str, Any]:
    """How a step is told that may wait: each member has a connection of its own, and whoever has no id yet."""
    return {"connection": member + 1 if isinstance(member, int) else NEWCOMER, **step}


def rejoined(*members: int, **more: Any) -> tuple[Step, ...]:
    """All these join again, the leader first; the phase ends when all are there."""
    return (
        *(join(member, waits=True, in_any_order=index > 0, **more) for index, member in enumerate(members)),
        *(awaited(member + 1) for member in members),
    )


def completed(*members: int, **more: Any) -> tuple[Step, ...]:
    """The same, and what is assigned is told."""
    leader, *others = members
    return (
        *rejoined(*members, **more),
        *(sync(member, waits=True, in_any_order=True) for member in others),
        sync(leader, *((member, b"again") for member in members)),
        *(awaited(member + 1) for member in others),
    )


#: From STATIC on: the dynamic member goes, the instance leads, and another, 2, comes.
LED_BY_STATIC = (
    leave(0),
    join(1),
    sync(1, (1, b"all")),
    join(version=NAMED),
    join(2, waits=True, in_any_order=True),
    join(1, waits=True, in_any_order=True),
    awaited(3),
    awaited(2),
    sync(2, waits=True, in_any_order=True),
    sync(1, (1, b"x"), (2, b"y")),
    awaited(3),
)


def about(id: str, *story: Step, **more: Any) -> Case:
    """A story about a group without topics."""
    return case(id, *story, **{"topics": (), "groups": TWO, **more})
