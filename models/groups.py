"""One consumer group: who is in it, which generation it has reached, and what its leader assigned to each member (the classic protocol).

What it promises
    Members agree by generations. All that join a phase get the same generation, the same protocol and the same leader; what the leader assigns
    goes to the members of that generation and to nobody else; whoever speaks for another generation is told so. A member that falls silent goes.

Laws of these files
    A group is decided alone, from what it is asked and from the clock that is handed in: a `Turn` is the group so far, with records to write,
    answers, and alarms. What is durable is in the records and nowhere else: `evolve`, in `group_requests`, folds them.
    A request may wait: then it is an entry in `joins` or `syncs`, and the event that ends the phase answers it.
    A deadline is a number in the state. An alarm is a reminder to look: it may ring early, late or twice, and only the deadline counts.

How it reads
    groups          state, records, what is asked; who is refused, by ladders; what is answered
    group_phases    how members come and go, and how a join phase and a sync phase begin and end
    group_events    the table, event × state, and the requests and alarms that it decides
    group_offsets   what the group has read
    group_requests  all groups together, and what is told of them
    group_records   what is durable, in Apache Kafka's bytes
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Any

from immutables import Map

from fiducial.models.errors import Error
from fiducial.models.events import Reply
from fiducial.models.messages import (
    JoinGroupResponse,
    JoinGroupResponseMember,
    SyncGroupResponse,
)
from fiducial.models.rules import Ladder, rule, rung
from fiducial.models.values import EMPTY, Uuid, changed, value

NO_MEMBER_ID = ""
#: How long a member that is new waits for the end of the join phase: it has no id to send heartbeats with, and may be gone.
NEW_MEMBER_MS = 300_000
#: A string has a length of 16 bits, in messages and in records, also where a version writes it as a varint.
STRING_BYTES_MAX = 32_767

# State


class State(Enum):
    """What a group is about; the names are those of the protocol."""

    EMPTY = "Empty"
    PREPARING = "PreparingRebalance"
    COMPLETING = "CompletingRebalance"
    STABLE = "Stable"
    DEAD = "Dead"  # there is no such group, not yet or not any more


@value
class GroupConfig:
    """What the broker's settings say about groups; times in ms."""

    min_session_timeout_ms: int = 6_000
    max_session_timeout_ms: int = 1_800_000
    max_size: int = 2**31 - 1
    initial_rebalance_delay_ms: int = 3_000
    offset_metadata_max: int = 4_096  # characters, as Java counts them
    offsets_retention_ms: int = 604_800_000


Protocols = tuple[tuple[str, bytes], ...]  # (name, metadata), in the member's order of preference


@value
class Member:
    """One member."""

    member_id: str
    instance_id: str | None  # of a static member (KIP-345)
    client_id: str
    client_host: str
    session_timeout_ms: int
    rebalance_timeout_ms: int
    protocols: Protocols
    deadline_ms: int  # when it is taken for gone, unless it is heard of, or waits for us
    is_new: bool = True  # until its first join phase ends
    assignment: bytes = b""


@value
class Waiting:
    """A request that waits for its answer."""

    ticket: int
    api_version: int


@value
class Group:
    """Durable parts are those that a `GroupMetadata` holds; all else is lost on a restart, and clients come again."""

    group_id: str
    state: State = State.DEAD
    since_ms: int = 0  # when the state began
    generation: int = 0
    protocol_type: str | None = None  # None: nobody ever joined, a simple group
    protocol: str | None = None
    leader: str | None = None
    members: Map[str, Member] = EMPTY
    statics: Map[str, str] = EMPTY  # instance id → member id
    supporters: Map[str, int] = EMPTY  # protocol → how many members have it; none is no entry
    pending: Map[str, int] = EMPTY  # ids that were given out and did not join yet → when they are forgotten
    joins: Map[str, Waiting] = EMPTY
    syncs: Map[str, Waiting] = EMPTY
    unsynced: Map[str, bool] = EMPTY  # members that have not synced since the last join phase
    join_ends_ms: int | None = None
    initial_until_ms: int | None = None  # in the first join phase of an empty group: it is not extended beyond
    grows: bool = False  # did somebody new come since it was extended last?
    sync_ends_ms: int | None = None
    subscribed: frozenset[str] | None = frozenset()  # topics that members of type "consumer" read; None: nobody can tell


# Records: what is durable


@value
class SavedMember:
    """A member as a record holds it; `subscription` is its metadata for the protocol that was chosen."""

    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    rebalance_timeout_ms: int
    session_timeout_ms: int
    subscription: bytes
    assignment: bytes


@value
class GroupMetadata:
    """Durable record, keyed by the group: the group is this, from here on."""

    group_id: str
    protocol_type: str | None
    generation: int
    protocol: str | None
    leader: str | None
    since_ms: int
    members: tuple[SavedMember, ...]


@value
class GroupForgotten:
    """Durable record, keyed by the group: there is no such group."""

    group_id: str


# What is asked, and what comes of it


class Kind(Enum):
    """What an alarm is for."""

    SESSION = "a session, or the time that a given id or a new member has"
    JOIN = "the join phase"
    SYNC = "the members that have not synced"


@value
class Alarm:
    """A reminder to look at a deadline."""

    kind: Kind
    group_id: str
    member_id: str = NO_MEMBER_ID


@value
class SetAlarm:
    """Effect: let `alarm` ring at `at_ms`, and not at the time it was set for before."""

    alarm: Alarm
    at_ms: int


@value
class Asked:
    """A request to a group, with who asks: by the names that all these requests share."""

    ticket: int
    api_version: int
    group_id: str
    body: Any  # a request class of models.messages
    member_id: str = NO_MEMBER_ID
    instance_id: str | None = None
    generation: int = -1
    client_id: str = ""
    client_host: str = ""
    chance: Uuid = bytes(16)  # what a new member's id is made of


@value
class Turn:
    """One event in the making: the group so far, what to write, what to answer, and when to look again."""

    group: Group
    config: GroupConfig
    now: int
    records: tuple[Any, ...] = ()
    replies: tuple[Reply, ...] = ()
    alarms: tuple[SetAlarm, ...] = ()


def becomes(turn: Turn, **changes: Any) -> Turn:
    """The group with some fields changed."""
    return changed(turn, group=changed(turn.group, **changes))


def enters(turn: Turn, state: State, **changes: Any) -> Turn:
    """The group in a state that begins now."""
    return becomes(turn, state=state, since_ms=turn.now, **changes)


def alarmed(turn: Turn, kind: Kind, at_ms: int, member_id: str = NO_MEMBER_ID) -> Turn:
    """With one more alarm."""
    return changed(turn, alarms=(*turn.alarms, SetAlarm(Alarm(kind, turn.group.group_id, member_id), at_ms)))


def answers(turn: Turn, replies: Iterable[Reply]) -> Turn:
    """With more answers."""
    return changed(turn, replies=(*turn.replies, *replies))


# Who asks


@rule("GROUP-MEMBER-1")
def group_id_is_empty(_group: Group, asked: Asked) -> bool:
    """Members need a group with a name; offsets alone do not."""
    return not asked.group_id


@rule("GROUP-MEMBER-2")
def group_has_no_members(group: Group, _asked: Asked) -> bool:
    """No such group, or nobody in it: whoever asks is no member."""
    return not group.members


@rule("GROUP-MEMBER-3")
def instance_is_unknown(group: Group, asked: Asked) -> bool:
    """A static member of a name that the group does not know."""
    return asked.instance_id is not None and asked.instance_id not in group.statics


@rule("GROUP-MEMBER-4")
def instance_is_fenced(group: Group, asked: Asked) -> bool:
    """Another member took this one's place."""
    return asked.instance_id is not None and group.statics.get(asked.instance_id) != asked.member_id


@rule("GROUP-MEMBER-5")
def member_is_unknown(group: Group, asked: Asked) -> bool:
    """Never joined, left, or was taken for gone; and an id that was only given out is no member yet."""
    return asked.member_id not in group.members


@rule("GROUP-MEMBER-6")
def generation_is_another(group: Group, asked: Asked) -> bool:
    """Older or newer, it is not what the group has agreed on."""
    return asked.generation != group.generation


@rule("GROUP-MEMBER-7")
def is_rebalancing(group: Group, _asked: Asked) -> bool:
    """The generation is over; the member has to join the next."""
    return group.state is State.PREPARING


#: Arguments of all ladders here: the group, what is asked.
GROUP_ID_CHECK = Ladder("group id", [rung(group_id_is_empty, Error.INVALID_GROUP_ID)])
MEMBER_CHECK = Ladder(
    "member",
    [
        rung(group_has_no_members, Error.UNKNOWN_MEMBER_ID),
        rung(instance_is_unknown, Error.UNKNOWN_MEMBER_ID),
        rung(instance_is_fenced, Error.FENCED_INSTANCE_ID),
        rung(member_is_unknown, Error.UNKNOWN_MEMBER_ID),
    ],
)
HEARTBEAT_CHECK = Ladder(
    "heartbeat",
    [rung(generation_is_another, Error.ILLEGAL_GENERATION), rung(is_rebalancing, Error.REBALANCE_IN_PROGRESS)],
)


# What refuses a JoinGroup


@value
class Joining:
    """A JoinGroup with the settings it is judged by."""

    asked: Asked
    config: GroupConfig


@rule("GROUP-JOIN-1")
def session_timeout_is_out_of_range(_group: Group, joining: Joining) -> bool:
    """group.min.session.timeout.ms to group.max.session.timeout.ms."""
    config = joining.config
    return not config.min_session_timeout_ms <= joining.asked.body.session_timeout_ms <= config.max_session_timeout_ms


@rule("GROUP-JOIN-2")
def comes_back_to_no_group(group: Group, joining: Joining) -> bool:
    """Only a member without an id founds a group."""
    return group.state is State.DEAD and joining.asked.member_id != NO_MEMBER_ID


@rule("GROUP-JOIN-3")
def group_is_full(group: Group, joining: Joining) -> bool:
    """group.max.size counts members, and in a join phase those that wait: so the last to come back are dropped."""
    member_id, size = joining.asked.member_id, joining.config.max_size
    if group.state is State.PREPARING:
        return member_id not in group.joins and len(group.joins) >= size
    if group.state in (State.COMPLETING, State.STABLE):
        return member_id not in group.members and len(group.members) >= size
    return False


@rule("GROUP-JOIN-4")
def protocols_do_not_fit(group: Group, joining: Joining) -> bool:
    """Of another type, none at all, or none that all members have, the one that joins with its old ones among them."""
    body = joining.asked.body
    names = [protocol.name for protocol in body.protocols]
    if not body.protocol_type or not names:
        return True
    if group.state in (State.EMPTY, State.DEAD):
        return False
    return body.protocol_type != group.protocol_type or not supported_by_all(group, names)


def supported_by_all(group: Group, names: Iterable[str]) -> set[str]:
    """Which of these protocols every member has. Members are not gone through: there may be thousands, and each of them joins."""
    return {name for name in names if group.supporters.get(name, 0) == len(group.members)}


def supporters_with(group: Group, member_id: str, protocols: Protocols) -> Map[str, int]:
    """How many members have each protocol, once this one has these."""
    supporters, member = group.supporters, group.members.get(member_id)
    before, after = ({name for name, _ in one} for one in (member.protocols if member is not None else (), protocols))
    for name in before - after:
        others = supporters[name] - 1
        supporters = supporters.set(name, others) if others else supporters.delete(name)
    return supporters.update({name: supporters.get(name, 0) + 1 for name in after - before})


#: Arguments of both: the group, the JoinGroup with the settings. Behind GROUP_ID_CHECK, in this order, and before MEMBER_CHECK for one that has
#: joined before.
SESSION_CHECK = Ladder("session timeout", [rung(session_timeout_is_out_of_range, Error.INVALID_SESSION_TIMEOUT)])
JOIN_CHECK = Ladder(
    "join a group",
    [
        rung(comes_back_to_no_group, Error.UNKNOWN_MEMBER_ID),
        rung(group_is_full, Error.GROUP_MAX_SIZE_REACHED),
        rung(protocols_do_not_fit, Error.INCONSISTENT_GROUP_PROTOCOL),
    ],
)


@rule("GROUP-JOIN-5")
def needs_an_id_first(_group: Group, asked: Asked) -> bool:
    """From v4 on a dynamic member is given an id and asked to come again with it: an answer that is lost leaves no member behind (KIP-394)."""
    return asked.member_id == NO_MEMBER_ID and asked.instance_id is None and asked.api_version >= 4


@rule("GROUP-MEMBER-8")
def new_member_id(asked: Asked) -> str:
    """The client's id, or the instance's, and a UUID."""
    digits = asked.chance.hex()
    uuid = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    return f"{asked.client_id if asked.instance_id is None else asked.instance_id}-{uuid}"


@rule("GROUP-MEMBER-10")
def new_id_is_too_long(_group: Group, asked: Asked) -> bool:
    """No message and no record could name the member."""
    return asked.member_id == NO_MEMBER_ID and len(new_member_id(asked).encode()) > STRING_BYTES_MAX


#: Behind all other refusals of a JoinGroup.
ID_CHECK = Ladder(
    "join without an id",
    [rung(new_id_is_too_long, Error.UNKNOWN_SERVER_ERROR), rung(needs_an_id_first, Error.MEMBER_ID_REQUIRED)],
)


# What refuses a SyncGroup


@rule("GROUP-SYNC-1")
def protocol_is_unnamed(_group: Group, asked: Asked) -> bool:
    """From v5 on both its type and its name are mandatory (KIP-559)."""
    return asked.api_version >= 5 and (asked.body.protocol_type is None or asked.body.protocol_name is None)


@rule("GROUP-SYNC-2")
def protocol_is_another(group: Group, asked: Asked) -> bool:
    """Not the one that the join phase chose; told from v5 on."""
    return asked.api_version >= 5 and (asked.body.protocol_type, asked.body.protocol_name) != (group.protocol_type, group.protocol)


#: The first of all checks.
SYNC_FORM_CHECK = Ladder("form of a sync", [rung(protocol_is_unnamed, Error.INCONSISTENT_GROUP_PROTOCOL)])
#: Behind MEMBER_CHECK.
SYNC_CHECK = Ladder(
    "sync",
    [
        rung(generation_is_another, Error.ILLEGAL_GENERATION),
        rung(protocol_is_another, Error.INCONSISTENT_GROUP_PROTOCOL),
        rung(is_rebalancing, Error.REBALANCE_IN_PROGRESS),
    ],
)


# What members read


def subscribed_topics(group: Group, protocol: str) -> frozenset[str] | None:
    """What the members of a group of consumers subscribe; None if one of them does not say it readably, or says something else."""
    if group.protocol_type != "consumer":
        return None
    topics: set[str] = set()
    for member in group.members.values():
        named = topics_in(dict(member.protocols)[protocol])
        if named is None:
            return None
        topics |= named
    return frozenset(topics)


@rule("GROUP-OFFSET-6")
def topics_in(subscription: bytes) -> frozenset[str] | None:
    """The topics of a ConsumerProtocolSubscription: version, names, user data, and what later versions add. None if the bytes are too short."""
    topics, at = set[str](), 6
    for _ in range(int.from_bytes(subscription[2:at])):
        size = int.from_bytes(subscription[at : at + 2])
        at += 2 + size
        if at > len(subscription):
            return None
        topics.add(subscription[at - size : at].decode(errors="replace"))
    user_bytes = max(int.from_bytes(subscription[at : at + 4], signed=True), 0)
    return frozenset(topics) if at + 4 + user_bytes <= len(subscription) else None


# Answers


@rule("GROUP-JOIN-16")
def join_answer(group: Group, member_id: str, api_version: int, *, skips: bool = False) -> JoinGroupResponse:
    """The generation, for one member; the leader is told who the others are and what they can do."""
    is_leader = member_id == group.leader
    return JoinGroupResponse(
        Error.NONE,
        group.generation,
        group.protocol_type,
        group.protocol,
        group.leader or "",
        skips,
        member_id,
        members_for_leader(group) if is_leader else (),
    )


def members_for_leader(group: Group) -> tuple[JoinGroupResponseMember, ...]:
    """All members, with their metadata of the chosen protocol."""
    return tuple(
        JoinGroupResponseMember(member.member_id, member.instance_id, metadata_for(member, group.protocol)) for _, member in sorted(group.members.items())
    )


def metadata_for(member: Member, protocol: str | None) -> bytes:
    """What a member says of itself in this protocol; nothing if it does not have it."""
    return next((metadata for name, metadata in member.protocols if name == protocol), b"")


@rule("GROUP-JOIN-17")
def join_refusal(member_id: str, error: Error, api_version: int) -> JoinGroupResponse:
    """No generation; no protocol, which is null from v7 on."""
    return JoinGroupResponse(error, -1, None, None if api_version >= 7 else "", "", False, member_id)


@rule("GROUP-SYNC-7")
def sync_answer(group: Group, member_id: str) -> SyncGroupResponse:
    """What the leader assigned to this member."""
    return SyncGroupResponse(Error.NONE, group.protocol_type, group.protocol, group.members[member_id].assignment)


# Records


@rule("GROUP-RECORD-1")
def metadata_of(group: Group) -> GroupMetadata:
    """The group as a restart will find it."""
    members = tuple(
        SavedMember(
            member.member_id,
            member.instance_id,
            member.client_id,
            member.client_host,
            member.rebalance_timeout_ms,
            member.session_timeout_ms,
            metadata_for(member, group.protocol),
            member.assignment,
        )
        for _, member in sorted(group.members.items())
    )
    return GroupMetadata(group.group_id, group.protocol_type, group.generation, group.protocol, group.leader, group.since_ms, members)


@rule("GROUP-RECORD-2")
def restored(saved: GroupMetadata, now: int) -> Group:
    """The group after a restart: empty, or stable with every session begun anew. Who waited was not answered, and comes again."""
    members = {
        one.member_id: Member(
            one.member_id,
            one.instance_id,
            one.client_id,
            one.client_host,
            one.session_timeout_ms,
            one.rebalance_timeout_ms,
            ((saved.protocol or "", one.subscription),),
            now + one.session_timeout_ms,
            False,
            one.assignment,
        )
        for one in saved.members
    }
    group = Group(
        saved.group_id,
        State.STABLE if members else State.EMPTY,
        saved.since_ms,
        saved.generation,
        saved.protocol_type,
        saved.protocol,
        saved.leader,
        EMPTY.update(members),
        EMPTY.update({one.instance_id: one.member_id for one in saved.members if one.instance_id is not None}),
        EMPTY.set(saved.protocol or "", len(members)) if members else EMPTY,
    )
    return changed(group, subscribed=subscribed_topics(group, saved.protocol or "")) if members else group
