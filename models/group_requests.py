"""All groups of a coordinator: which of them is asked, what is written down, and what is told of them.

    request, alarm, housekeeping ──▶ decide ──▶ records ──▶ evolve, and the log ──▶ answers
                                        ▲                                │
                                        └──── the groups ◀───────────────┘ the same fold, after a restart

Laws of this file
    What is durable (`saved`, `offsets`) changes in `evolve`, or in `evolved`, its fold, and nowhere else. What is live beside it, members and who
    waits, `restored` makes anew.
    An answer stands behind the records in the effects: it leaves when they are committed. If they cannot be written, the groups are still what
    they were, and `not_written` says what is answered instead.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from functools import reduce
from itertools import groupby
from typing import TYPE_CHECKING, Any

from immutables import Map

from fiducial.models import group_events, group_offsets
from fiducial.models.errors import Error
from fiducial.models.events import Persist, Reply
from fiducial.models.group_events import Event, taken
from fiducial.models.group_offsets import OffsetCommitted, OffsetForgotten, Offsets
from fiducial.models.group_phases import by_arrival
from fiducial.models.groups import (
    GROUP_ID_CHECK,
    SESSION_CHECK,
    SYNC_FORM_CHECK,
    Alarm,
    Asked,
    Group,
    GroupConfig,
    GroupForgotten,
    GroupMetadata,
    Joining,
    Kind,
    SetAlarm,
    State,
    Turn,
    join_refusal,
    metadata_for,
    restored,
)
from fiducial.models.messages import (
    Coordinator,
    DeletableGroupResult,
    DeleteGroupsRequest,
    DeleteGroupsResponse,
    DescribedGroup,
    DescribedGroupMember,
    DescribeGroupsRequest,
    DescribeGroupsResponse,
    HeartbeatRequest,
    HeartbeatResponse,
    JoinGroupRequest,
    LeaveGroupRequest,
    LeaveGroupResponse,
    ListedGroup,
    ListGroupsRequest,
    ListGroupsResponse,
    OffsetCommitRequest,
    OffsetDeleteRequest,
    OffsetDeleteResponse,
    OffsetFetchRequest,
    OffsetFetchResponse,
    OffsetFetchResponseGroup,
    OffsetFetchResponsePartition,
    OffsetFetchResponseTopic,
    SyncGroupRequest,
    SyncGroupResponse,
)
from fiducial.models.metadata import operations
from fiducial.models.rules import Ladder, Rung, rule, rung
from fiducial.models.topics import OFFSETS_TOPIC
from fiducial.models.values import EMPTY, Uuid, changed, value

if TYPE_CHECKING:
    from fiducial.models.state import Cluster
    from fiducial.models.topics import Topics

#: What may be done to a group, as bits: READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS.
GROUP_OPERATIONS = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11

# State


@value
class Groups:
    """Durable: saved, offsets. Volatile: live, which holds every group that there is. Of the logs: which partitions have records of others, and
    whether records may lie where their group does not any more."""

    live: Map[str, Group] = EMPTY
    saved: Map[str, GroupMetadata] = EMPTY
    offsets: Map[str, Offsets] = EMPTY
    shared: frozenset[int] = frozenset()
    scattered: bool = False


Effect = Persist | Reply | SetAlarm


def group_of(groups: Groups, group_id: str) -> Group:
    """The group, dead if there is none."""
    return groups.live.get(group_id) or Group(group_id)


def offsets_of(groups: Groups, group_id: str) -> Offsets:
    """What the group has committed."""
    return groups.offsets.get(group_id, group_offsets.NO_OFFSETS)


# Two halves


@rule("GROUP-RECORD-4")
def evolve(groups: Groups, record: Any) -> Groups:
    """What is durable, after one more record: the last one of a key is what counts."""
    match record:
        case GroupMetadata(group_id):
            return changed(groups, saved=groups.saved.set(group_id, record))
        case GroupForgotten(group_id):
            return changed(groups, saved=groups.saved.delete(group_id)) if group_id in groups.saved else groups
        case OffsetCommitted(group_id):
            return with_offsets(groups, group_id, [record])
        case OffsetForgotten(group_id, topic, partition):
            return without_offset(groups, group_id, (topic, partition))
    raise AssertionError(f"{record} is no record of a group")


def with_offsets(groups: Groups, group_id: str, commits: Iterable[OffsetCommitted]) -> Groups:
    """The last commit of each partition."""
    offsets = offsets_of(groups, group_id).update({(one.topic, one.partition): one.committed for one in commits})
    return changed(groups, offsets=groups.offsets.set(group_id, offsets))


def without_offset(groups: Groups, group_id: str, key: tuple[str, int]) -> Groups:
    """One offset less; with the last one, there is no entry for the group."""
    offsets = offsets_of(groups, group_id)
    if key not in offsets:
        return groups
    left = offsets.delete(key)
    return changed(groups, offsets=groups.offsets.set(group_id, left) if left else groups.offsets.delete(group_id))


def evolved(groups: Groups, records: Iterable[Any]) -> Groups:
    """After some more: what a group commits together, which may be hundreds of partitions, goes in together."""
    for group_id, run in groupby(records, committed_by):
        together = tuple(run)
        groups = reduce(evolve, together, groups) if group_id is None else with_offsets(groups, group_id, together)
    return groups


def committed_by(record: Any) -> str | None:
    """The group, if the record is a commit."""
    return record.group_id if isinstance(record, OffsetCommitted) else None


def settled(groups: Groups, turns: Iterable[Turn]) -> tuple[Groups, tuple[Effect, ...]]:
    """The groups after these turns, and their effects: records first, then alarms and answers."""
    effects: list[Effect] = []
    for turn in turns:
        group = turn.group
        live = groups.live
        if group.state is not State.DEAD:
            live = live.set(group.group_id, group)
        elif group.group_id in live:
            live = live.delete(group.group_id)
        groups = changed(groups, live=live)
        groups = evolved(groups, turn.records)
        effects += map(Persist, turn.records)
        effects += turn.alarms
        effects += turn.replies
    return groups, tuple(effects)


@rule("GROUP-RECORD-4", "GROUP-RECORD-13")
def found(logs: Sequence[tuple[Sequence[Any], bool]]) -> Groups:
    """What the logs of all partitions come to: of each its records, in order, and whether there is anything else in it. Records of a group that lie
    elsewhere than it does now are older: there were fewer partitions then."""
    own, older, shared = list[Any](), list[Any](), set[int]()
    for index, (records, has_others) in enumerate(logs):
        here = {name: partition_of(name, len(logs)) == index for name in {record.group_id for record in records}}
        own += (record for record in records if here[record.group_id])
        older += (record for record in records if not here[record.group_id])
        shared |= {index} if has_others else set()
    return changed(evolved(Groups(), [*older, *own]), shared=frozenset(shared), scattered=bool(older))


@rule("GROUP-RECORD-12", "GROUP-RECORD-13")
def written_anew(groups: Groups, indexes: Iterable[int], partitions: int) -> dict[int, list[Any]]:
    """The fewest records that what is durable of the groups in these partitions comes of, by partition."""
    records: dict[int, list[Any]] = {index: [] for index in indexes}
    for group_id in sorted({*groups.saved, *groups.offsets}):
        here = records.get(partition_of(group_id, partitions))
        if here is None:
            continue
        if group_id in groups.saved:
            here.append(groups.saved[group_id])
        here += (OffsetCommitted(group_id, *key, one) for key, one in sorted(offsets_of(groups, group_id).items()))
    return records


@rule("GROUP-RECORD-2")
def restarted(groups: Groups, now: int) -> tuple[Groups, tuple[SetAlarm, ...]]:
    """After a restart: every group that was written down, and every group of offsets alone; each member has a session to be heard of in."""
    live = {group_id: Group(group_id, State.EMPTY, now) for group_id in groups.offsets}
    live |= {group_id: restored(saved, now) for group_id, saved in groups.saved.items()}
    alarms = [
        SetAlarm(Alarm(Kind.SESSION, group_id, member_id), member.deadline_ms)
        for group_id, group in sorted(live.items())
        for member_id, member in sorted(group.members.items())
    ]
    return changed(groups, live=EMPTY.update(live)), tuple(alarms)


# Requests to one group


def handle(groups: Groups, asked: Asked, topics: Topics, config: GroupConfig, now: int) -> tuple[Groups, tuple[Effect, ...]]:
    """One request: the groups after it, and its effects."""
    turn = Turn(group_of(groups, asked.group_id), config, now)
    match asked.body:
        case JoinGroupRequest():
            turn = group_events.join(turn, asked)
        case SyncGroupRequest():
            turn = group_events.sync(turn, asked)
        case HeartbeatRequest():
            turn = group_events.heartbeat(turn, asked)
        case LeaveGroupRequest():
            turn = group_events.leave(turn, asked)
        case OffsetCommitRequest():
            turn = group_offsets.commit(turn, asked, topics)
        case OffsetDeleteRequest():
            turn = group_offsets.offset_delete(turn, asked, topics, offsets_of(groups, asked.group_id))
        case DeleteGroupsRequest():
            return delete_groups(groups, asked, config, now)
        case _:
            body, rules = read(groups, asked, topics)
            return groups, (Reply(asked.ticket, body, rules),)
    return settled(groups, [turn])


def read(groups: Groups, asked: Asked, topics: Topics) -> tuple[Any, tuple[str, ...]]:
    """A request that changes nothing: its answer, and the rules that refuse something."""
    match asked.body:
        case OffsetFetchRequest() as request:
            return group_offsets.offset_fetch(request, asked.api_version, lambda group_id: offsets_of(groups, group_id), topics)
        case DescribeGroupsRequest() as request:
            return describe_groups(groups, request, asked.api_version)
        case ListGroupsRequest() as request:
            return list_groups(groups, request), ()
    raise AssertionError(f"{asked.body} is not asked of groups")


def ring(groups: Groups, alarm: Alarm, config: GroupConfig, now: int) -> tuple[Groups, tuple[Effect, ...]]:
    """An alarm rings."""
    return settled(groups, [group_events.rings(Turn(group_of(groups, alarm.group_id), config, now), alarm)])


def keep_house(groups: Groups, topics: Topics, config: GroupConfig, now: int) -> tuple[Groups, tuple[Effect, ...]]:
    """Expiry looks at every group."""
    turns = [Turn(group, config, now) for _, group in sorted(groups.live.items())]
    return settled(groups, [group_offsets.expired(turn, offsets_of(groups, turn.group.group_id), topics) for turn in turns])


def topic_deleted(groups: Groups, name: str, topic_id: Uuid, config: GroupConfig, now: int) -> tuple[Groups, tuple[Effect, ...]]:
    """A topic is gone, and what was committed for it."""
    turns = [
        Turn(group_of(groups, group_id), config, now, group_offsets.of_deleted_topic(group_id, offsets, name, topic_id))
        for group_id, offsets in sorted(groups.offsets.items())
    ]
    return settled(groups, turns)


# A record that could not be written

#: What a client is told of an error of the log.
TOLD: dict[Error, Error] = {
    Error.UNKNOWN_TOPIC_OR_PARTITION: Error.COORDINATOR_NOT_AVAILABLE,
    Error.NOT_ENOUGH_REPLICAS: Error.COORDINATOR_NOT_AVAILABLE,
    Error.REQUEST_TIMED_OUT: Error.COORDINATOR_NOT_AVAILABLE,
    Error.NOT_LEADER_OR_FOLLOWER: Error.NOT_COORDINATOR,
    Error.KAFKA_STORAGE_ERROR: Error.NOT_COORDINATOR,
    Error.MESSAGE_TOO_LARGE: Error.UNKNOWN_SERVER_ERROR,
    Error.RECORD_LIST_TOO_LARGE: Error.UNKNOWN_SERVER_ERROR,
    Error.INVALID_FETCH_SIZE: Error.UNKNOWN_SERVER_ERROR,
}


@rule("GROUP-RECORD-5")
def told(error: Error) -> Error:
    """As a coordinator says it."""
    return TOLD.get(error, error)


@rule("GROUP-RECORD-6")
def not_written(before: Groups, asked: Asked, error: Error, config: GroupConfig, now: int) -> tuple[Groups, tuple[Effect, ...]]:
    """The groups are what they were before the request, which is answered with the error; a sync that was to assign makes the group rebalance."""
    if isinstance(asked.body, SyncGroupRequest):
        turn = Turn(group_of(before, asked.group_id), config, now)
        return settled(before, [group_events.sync_was_not_written(turn, asked, told(error))])
    return before, (Reply(asked.ticket, FAILED[type(asked.body)](asked, told(error))),)


@rule("GROUP-RECORD-6")
def as_far_as_written(groups: Groups, records: Iterable[Any]) -> Groups:
    """The groups before an event of which no more was written than these records, and all of it only says what is forgotten."""
    live = groups.live
    for record in records:
        groups = evolve(groups, record)
        if isinstance(record, GroupForgotten) and record.group_id in live:
            live = live.delete(record.group_id)
    return changed(groups, live=live)


@rule("GROUP-RECORD-6")
def deleted_as_written(reply: Reply, lacking: Container[int], partitions: int, error: Error) -> Reply:
    """The answer to DeleteGroups, with the error for every group of a log that lacks something."""
    results = tuple(
        changed(one, error_code=told(error)) if partition_of(one.group_id, partitions) in lacking else one for one in reply.body.results
    )
    return changed(reply, body=changed(reply.body, results=results))


def failed_commit(asked: Asked, error: Error) -> Any:
    """Every partition has the error."""
    return group_offsets.commit_answer(asked, iter([error] * sum(len(topic.partitions) for topic in asked.body.topics)))


def failed_fetch(asked: Asked, error: Error) -> OffsetFetchResponse:
    """From v8 on each group has the error; in v2 to v7 the answer has, and in v1 each partition."""
    if asked.api_version >= 8:
        return OffsetFetchResponse(groups=tuple(OffsetFetchResponseGroup(one.group_id, (), error) for one in asked.body.groups))
    if asked.api_version >= 2:
        return OffsetFetchResponse(error_code=error)
    nothing = group_offsets.NOTHING
    topics = tuple(
        OffsetFetchResponseTopic(
            topic.name,
            tuple(OffsetFetchResponsePartition(index, nothing.offset, nothing.leader_epoch, nothing.metadata, error) for index in topic.partition_indexes),
        )
        for topic in asked.body.topics
    )
    return OffsetFetchResponse(topics)


#: How a request is answered with an error, as a whole or group by group.
FAILED: dict[type, Callable[[Asked, Error], Any]] = {
    JoinGroupRequest: lambda asked, error: join_refusal(asked.member_id, error, asked.api_version),
    SyncGroupRequest: lambda asked, error: SyncGroupResponse(error_code=error),
    HeartbeatRequest: lambda asked, error: HeartbeatResponse(error),
    LeaveGroupRequest: lambda asked, error: LeaveGroupResponse(error),
    OffsetCommitRequest: failed_commit,
    OffsetFetchRequest: failed_fetch,
    OffsetDeleteRequest: lambda asked, error: OffsetDeleteResponse(error),
    DeleteGroupsRequest: lambda asked, error: DeleteGroupsResponse(tuple(DeletableGroupResult(one, error) for one in dict.fromkeys(asked.body.groups_names))),
    DescribeGroupsRequest: lambda asked, error: DescribeGroupsResponse(tuple(DescribedGroup(error, None, one) for one in asked.body.groups)),
}


# Where nobody coordinates


@rule("GROUP-FIND-3")
def nobody_coordinates(topics: Topics) -> bool:
    """There is no topic yet to write groups down in; FindCoordinator makes it."""
    return OFFSETS_TOPIC not in topics.by_name


#: Arguments: the topics.
COORDINATOR_CHECK = Ladder("coordinator of a group", [rung(nobody_coordinates, Error.NOT_COORDINATOR)])


def refusal_of_form(asked: Asked, config: GroupConfig) -> Rung | None:
    """What a request is refused for before it is looked who coordinates."""
    group = Group(asked.group_id)
    match asked.body:
        case JoinGroupRequest():
            return GROUP_ID_CHECK.refusal(group, asked) or SESSION_CHECK.refusal(group, Joining(asked, config))
        case SyncGroupRequest():
            return SYNC_FORM_CHECK.refusal(group, asked) or GROUP_ID_CHECK.refusal(group, asked)
        case HeartbeatRequest() | LeaveGroupRequest() | OffsetDeleteRequest():
            return GROUP_ID_CHECK.refusal(group, asked)
    return None


def not_coordinated(asked: Asked, topics: Topics, config: GroupConfig) -> Reply | None:
    """The answer where nobody coordinates; None if somebody does, or it is no matter. Nothing is made of it."""
    refusal = COORDINATOR_CHECK.refusal(topics)
    if refusal is None or isinstance(asked.body, ListGroupsRequest):
        return None
    if isinstance(asked.body, OffsetCommitRequest):
        return group_offsets.not_committed(asked, topics, refusal)
    refusal = refusal_of_form(asked, config) or refusal
    return Reply(asked.ticket, FAILED[type(asked.body)](asked, refusal.error), (refusal.rule,))


@rule("GROUP-FIND-5")
def abandoned(groups: Groups) -> tuple[Reply, ...]:
    """The topic that groups are written down in is gone, and they with it: whoever waits is told to look for another coordinator."""
    told = []
    for _, group in sorted(groups.live.items()):
        for member_id, one in by_arrival(group.joins):
            told.append(Reply(one.ticket, join_refusal(member_id, Error.NOT_COORDINATOR, one.api_version), ("GROUP-FIND-5",)))
        told += [Reply(one.ticket, SyncGroupResponse(error_code=Error.NOT_COORDINATOR), ("GROUP-FIND-5",)) for _, one in by_arrival(group.syncs)]
    return tuple(told)


# DeleteGroups


@rule("GROUP-DELETE-2")
def group_is_not_empty(group: Group) -> bool:
    """It has members."""
    return group.state not in (State.EMPTY, State.DEAD)


#: Arguments: the group.
DELETE_CHECK = Ladder(
    "delete a group",
    [rung(group_offsets.group_is_unknown, Error.GROUP_ID_NOT_FOUND), rung(group_is_not_empty, Error.NON_EMPTY_GROUP)],
)


@rule("GROUP-DELETE-3")
def delete_groups(groups: Groups, asked: Asked, config: GroupConfig, now: int) -> tuple[Groups, tuple[Effect, ...]]:
    """DeleteGroups: each group once, with its offsets and the ids that it gave out."""
    turns, results, rules = [], [], []
    for group_id in dict.fromkeys(asked.body.groups_names):
        turn = Turn(group_of(groups, group_id), config, now)
        refusal = DELETE_CHECK.refusal(turn.group)
        results.append(DeletableGroupResult(group_id, Error.NONE if refusal is None else refusal.error))
        if refusal is not None:
            rules.append(refusal.rule)
            continue
        gone = tuple(OffsetForgotten(group_id, *key) for key in sorted(offsets_of(groups, group_id)))
        turns.append(taken(changed(turn, records=gone), Event.IS_DELETED, asked, ""))
    groups, effects = settled(groups, turns)
    return groups, (*effects, Reply(asked.ticket, DeleteGroupsResponse(tuple(results)), tuple(rules)))


# DescribeGroups and ListGroups


@rule("GROUP-LIST-2")
def described_is_unknown(group: Group, api_version: int) -> bool:
    """From v6 on it is an error (KIP-1043); before, the group is told to be Dead."""
    return api_version >= 6 and group.state is State.DEAD


#: Arguments: the group, the version.
DESCRIBE_CHECK = Ladder("describe a group", [rung(described_is_unknown, Error.GROUP_ID_NOT_FOUND)])


def describe_groups(groups: Groups, request: DescribeGroupsRequest, api_version: int) -> tuple[DescribeGroupsResponse, tuple[str, ...]]:
    """DescribeGroups."""
    described, rules = [], []
    allowed = operations(GROUP_OPERATIONS, request.include_authorized_operations)
    for group_id in request.groups:
        group = group_of(groups, group_id)
        refusal = DESCRIBE_CHECK.refusal(group, api_version)
        if refusal is None:
            described.append(changed(description(group), authorized_operations=allowed))
            continue
        rules.append(refusal.rule)
        described.append(changed(description(group), error_code=refusal.error, error_message=f"Group {group_id} not found."))
    return DescribeGroupsResponse(tuple(described)), tuple(rules)


@rule("GROUP-LIST-1")
def description(group: Group) -> DescribedGroup:
    """The state, and every member with its assignment; protocol and metadata only while the group is stable."""
    protocol = group.protocol or "" if group.state is State.STABLE else ""
    members = tuple(
        DescribedGroupMember(
            member.member_id,
            member.instance_id,
            member.client_id,
            member.client_host,
            metadata_for(member, protocol),
            member.assignment,
        )
        for _, member in sorted(group.members.items())
    )
    return DescribedGroup(Error.NONE, None, group.group_id, group.state.value, group.protocol_type or "", protocol, members)


@rule("GROUP-LIST-3")
def list_groups(groups: Groups, request: ListGroupsRequest) -> ListGroupsResponse:
    """ListGroups: those in one of the states, and of one of the types, that are named; none named is any."""
    states = {state.lower() for state in request.states_filter}
    types = {type_.lower() for type_ in request.types_filter}
    listed = tuple(
        ListedGroup(group_id, group.protocol_type or "", group.state.value, CLASSIC)
        for group_id, group in sorted(groups.live.items())
        if (not states or group.state.value.lower() in states) and (not types or CLASSIC in types)
    )
    return ListGroupsResponse(Error.NONE, listed)


#: The type of all groups here (KIP-848).
CLASSIC = "classic"

# FindCoordinator


@rule("GROUP-FIND-1")
def partition_of(group_id: str, partitions: int) -> int:
    """The partition of __consumer_offsets that a group's records are in: Java's hash of its id, without its sign."""
    units = group_id.encode("utf-16-be")
    hashed = 0
    for at in range(0, len(units), 2):
        hashed = (31 * hashed + int.from_bytes(units[at : at + 2])) & 0xFFFFFFFF
    signed = hashed - (1 << 32) if hashed >= 1 << 31 else hashed
    return 0 if signed == -(1 << 31) else abs(signed) % partitions


@rule("GROUP-FIND-2")
def coordinators(own: Cluster, group_ids: Sequence[str], api_version: int) -> tuple[Coordinator, ...]:
    """Who coordinates each of these groups: the leader of its partition, which is this broker."""
    message = "" if api_version >= 4 else "NONE"
    return tuple(Coordinator(group_id, own.broker_id, own.host, own.port, Error.NONE, message) for group_id in group_ids)
