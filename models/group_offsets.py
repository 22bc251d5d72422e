"""What a group has read: the offsets it commits, fetches and deletes, and when they are forgotten.

What it promises
    The last commit of a partition is what is fetched, until it is deleted or expires. In a group with members only a member of the present
    generation commits, so that one which was replaced does not move the position of its successor.

Laws of this file
    An offset is a number that the group chose: no log is asked whether it is there. Whether a topic exists is asked of the topics handed in.
    A group of offsets alone (a simple group) has no members and no generation, and is there as long as an offset of it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from immutables import Map

from fiducial.models.errors import Error
from fiducial.models.events import Reply
from fiducial.models.group_events import Event, taken
from fiducial.models.groups import (
    GROUP_ID_CHECK,
    Asked,
    Group,
    GroupConfig,
    State,
    Turn,
    answers,
    generation_is_another,
    instance_is_fenced,
    instance_is_unknown,
    member_is_unknown,
)
from fiducial.models.messages import (
    OffsetCommitRequestPartition,
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
    OffsetDeleteResponse,
    OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
    OffsetFetchResponse,
    OffsetFetchResponseGroup,
    OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
)
from fiducial.models.rules import Ladder, Rung, rule, rung
from fiducial.models.values import EMPTY, ZERO_UUID, Uuid, changed, value

if TYPE_CHECKING:
    from fiducial.models.topics import Topics

NO_OFFSET = -1
#: A commit's own time to live, where it names none.
NO_EXPIRY = -1
#: Of a group that was written down before version 2 of its record.
SINCE_UNKNOWN = -1

# State and records


@value
class CommittedOffset:
    """What a group has committed for a partition."""

    offset: int
    leader_epoch: int = -1
    metadata: str = ""
    commit_ms: int = 0
    expire_ms: int = NO_EXPIRY
    topic_id: Uuid = ZERO_UUID


NOTHING = CommittedOffset(NO_OFFSET)

#: Of one group, by topic and partition.
Offsets = Map[tuple[str, int], CommittedOffset]
NO_OFFSETS: Offsets = EMPTY


@value
class OffsetCommitted:
    """Durable record, keyed by group, topic and partition."""

    group_id: str
    topic: str
    partition: int
    committed: CommittedOffset


@value
class OffsetForgotten:
    """Durable record of the same key: nothing is committed."""

    group_id: str
    topic: str
    partition: int


# OffsetCommit


@value
class Target:
    """One partition that a commit names, with both the name and the id of its topic as far as they are known."""

    name: str
    topic_id: Uuid
    index: int
    partition: OffsetCommitRequestPartition


@rule("GROUP-COMMIT-4")
def topic_id_is_unknown(topics: Topics, target: Target, api_version: int) -> bool:
    """From v10 on topics go by id (KIP-848): one that names nothing."""
    return api_version >= 10 and target.topic_id not in topics.by_id


@rule("GROUP-COMMIT-7")
def partition_is_unknown(topics: Topics, target: Target, _api_version: int) -> bool:
    """No such topic, or no such partition."""
    topic = topics.by_name.get(target.name)
    return topic is None or not 0 <= target.index < topic.partitions


#: Arguments: the topics, the partition that is named, the version. Before the group is asked.
TARGET_CHECK = Ladder(
    "partition of a commit",
    [rung(topic_id_is_unknown, Error.UNKNOWN_TOPIC_ID), rung(partition_is_unknown, Error.UNKNOWN_TOPIC_OR_PARTITION)],
)


@rule("GROUP-COMMIT-2")
def names_a_generation_of_no_group(group: Group, asked: Asked) -> bool:
    """A member of a group that is gone."""
    return group.state is State.DEAD and asked.api_version >= 9


@rule("GROUP-COMMIT-2")
def names_a_generation_of_no_group_early(group: Group, asked: Asked) -> bool:
    """The same, before v9."""
    return group.state is State.DEAD and asked.api_version < 9


@rule("GROUP-COMMIT-5")
def awaits_assignment(group: Group, _asked: Asked) -> bool:
    """The member may have lost the partition already: it has to sync first."""
    return group.state is State.COMPLETING


#: Arguments: the group, what is asked. For a commit that is not free.
COMMIT_CHECK = Ladder(
    "commit",
    [
        rung(names_a_generation_of_no_group, Error.GROUP_ID_NOT_FOUND),
        rung(names_a_generation_of_no_group_early, Error.ILLEGAL_GENERATION),
        rung(instance_is_unknown, Error.UNKNOWN_MEMBER_ID),
        rung(instance_is_fenced, Error.FENCED_INSTANCE_ID),
        rung(member_is_unknown, Error.UNKNOWN_MEMBER_ID),
        rung(generation_is_another, Error.ILLEGAL_GENERATION),
        rung(awaits_assignment, Error.REBALANCE_IN_PROGRESS),
    ],
)


@rule("GROUP-COMMIT-1", "GROUP-COMMIT-3")
def is_free(group: Group, asked: Asked) -> bool:
    """Where nobody is a member, whoever names no generation may commit."""
    return asked.generation < 0 and group.state in (State.EMPTY, State.DEAD)


@rule("GROUP-COMMIT-9")
def metadata_is_too_long(partition: OffsetCommitRequestPartition, config: GroupConfig) -> bool:
    """offset.metadata.max.bytes, which counts characters as Java does."""
    metadata = partition.committed_metadata or ""
    characters = len(metadata) if metadata.isascii() else len(metadata.encode("utf-16-le")) // 2
    return characters > config.offset_metadata_max


#: Arguments: the partition, the settings. Behind everything else.
METADATA_CHECK = Ladder("metadata of a commit", [rung(metadata_is_too_long, Error.OFFSET_METADATA_TOO_LARGE)])


@rule("GROUP-COMMIT-8")
def commit(turn: Turn, asked: Asked, topics: Topics) -> Turn:
    """OffsetCommit: each partition is answered alone; those that are there go to the group, which is not asked if there is none."""
    targets = tuple(targets_of(asked, topics))
    refusals = [TARGET_CHECK.refusal(topics, one, asked.api_version) for one in targets]
    if None in refusals:
        refusal = None if is_free(turn.group, asked) else COMMIT_CHECK.refusal(turn.group, asked)
        if refusal is None:
            turn = taken(turn, Event.COMMITS, asked, asked.member_id)
        refusals = [own or refusal or METADATA_CHECK.refusal(one.partition, turn.config) for own, one in zip(refusals, targets, strict=True)]
    accepted = [one for one, refusal in zip(targets, refusals, strict=True) if refusal is None]
    turn = changed(turn, records=(*turn.records, *(committed(asked, one, turn.now) for one in accepted)))
    return answers(turn, [commit_reply(asked, refusals)])


def not_committed(asked: Asked, topics: Topics, refusal: Rung) -> Reply:
    """The group cannot be asked, for this reason; what is wrong with a partition comes first."""
    return commit_reply(asked, [TARGET_CHECK.refusal(topics, one, asked.api_version) or refusal for one in targets_of(asked, topics)])


def commit_reply(asked: Asked, refusals: list[Rung | None]) -> Reply:
    """What became of each partition."""
    errors = [Error.NONE if refusal is None else refusal.error for refusal in refusals]
    rules = tuple(refusal.rule for refusal in refusals if refusal is not None)
    return Reply(asked.ticket, commit_answer(asked, iter(errors)), rules)


def targets_of(asked: Asked, topics: Topics) -> Iterator[Target]:
    """Every partition named, as often as it is named."""
    for topic in asked.body.topics:
        name, topic_id = topic.name, topic.topic_id
        if asked.api_version >= 10:
            name = topics.by_id.get(topic_id, "")
        elif name in topics.by_name:
            topic_id = topics.by_name[name].topic_id
        for partition in topic.partitions:
            yield Target(name, topic_id, partition.partition_index, partition)


@rule("GROUP-COMMIT-10", "GROUP-COMMIT-11")
def committed(asked: Asked, target: Target, now: int) -> OffsetCommitted:
    """The record: what was given, as it was given. A time to live of its own, v2 to v4, counts from now; there is no room for a topic id beside it."""
    partition, retention_ms = target.partition, asked.body.retention_time_ms
    expire_ms, topic_id = (NO_EXPIRY, target.topic_id) if retention_ms < 0 else (now + retention_ms, ZERO_UUID)
    metadata = partition.committed_metadata or ""
    offset = CommittedOffset(partition.committed_offset, partition.committed_leader_epoch, metadata, now, expire_ms, topic_id)
    return OffsetCommitted(asked.group_id, target.name, target.index, offset)


def commit_answer(asked: Asked, errors: Iterator[Error]) -> OffsetCommitResponse:
    """An error for each partition, in the order of the request."""
    return OffsetCommitResponse(
        tuple(
            OffsetCommitResponseTopic(
                topic.name,
                topic.topic_id,
                tuple(OffsetCommitResponsePartition(one.partition_index, next(errors)) for one in topic.partitions),
            )
            for topic in asked.body.topics
        )
    )


# OffsetFetch


@value
class Wanted:
    """One topic that is fetched, by name and id, with its partitions."""

    name: str
    topic_id: Uuid
    indexes: tuple[int, ...]


@rule("GROUP-OFFSET-3")
def wanted_id_is_unknown(topics: Topics, wanted: Wanted, api_version: int) -> bool:
    """From v10 on topics go by id: one that names nothing. By name an unknown topic is one without offsets."""
    return api_version >= 10 and wanted.topic_id not in topics.by_id


#: Arguments: the topics, what is wanted, the version.
FETCH_CHECK = Ladder("fetch offsets", [rung(wanted_id_is_unknown, Error.UNKNOWN_TOPIC_ID)])


@rule("GROUP-OFFSET-1", "GROUP-OFFSET-4")
def fetched(offsets: Offsets, wanted: Wanted, index: int, api_version: int) -> CommittedOffset:
    """The last commit; nothing, if there is none, or it was for another topic of this name."""
    found = offsets.get((wanted.name, index), NOTHING)
    is_another = api_version >= 10 and found.topic_id not in (ZERO_UUID, wanted.topic_id)
    return NOTHING if is_another else found


@rule("GROUP-OFFSET-2")
def everything(offsets: Offsets, topics: Topics) -> tuple[Wanted, ...]:
    """Where no topics are named: all that the group has committed."""
    indexes: dict[str, list[int]] = {}
    for name, index in sorted(offsets):
        indexes.setdefault(name, []).append(index)
    ids = {name: topics.by_name[name].topic_id if name in topics.by_name else ZERO_UUID for name in indexes}
    return tuple(Wanted(name, ids[name], tuple(found)) for name, found in indexes.items())


@rule("GROUP-OFFSET-9")
def offset_fetch(request: OffsetFetchRequest, api_version: int, offsets_of: Callable[[str], Offsets], topics: Topics) -> tuple[OffsetFetchResponse, tuple[str, ...]]:
    """OffsetFetch: one group up to v7, many from v8 on. Groups that are not there have no offsets."""
    rules: list[str] = []
    if api_version >= 8:
        groups = tuple(
            OffsetFetchResponseGroup(one.group_id, group_offsets(one, api_version, offsets_of(one.group_id), topics, rules)) for one in request.groups
        )
        return OffsetFetchResponse(groups=groups), tuple(rules)
    named = None if request.topics is None else tuple(OffsetFetchRequestTopics(one.name, ZERO_UUID, one.partition_indexes) for one in request.topics)
    alone = group_offsets(OffsetFetchRequestGroup(request.group_id, topics=named), api_version, offsets_of(request.group_id), topics, rules)
    told = tuple(OffsetFetchResponseTopic(topic.name, tuple(as_before_v8(one) for one in topic.partitions)) for topic in alone)
    return OffsetFetchResponse(told), ()


def as_before_v8(one: OffsetFetchResponsePartitions) -> OffsetFetchResponsePartition:
    """The same in the class of older layouts."""
    return OffsetFetchResponsePartition(one.partition_index, one.committed_offset, one.committed_leader_epoch, one.metadata, one.error_code)


def group_offsets(
    asked: OffsetFetchRequestGroup, api_version: int, offsets: Offsets, topics: Topics, rules: list[str]
) -> tuple[OffsetFetchResponseTopics, ...]:
    """The offsets of one group, topic by topic; the rules that refuse a topic go into `rules`."""
    told = []
    for wanted in everything(offsets, topics) if asked.topics is None else wanted_of(asked, api_version, topics):
        refusal = FETCH_CHECK.refusal(topics, wanted, api_version)
        partitions = []
        for index in wanted.indexes:
            found = NOTHING if refusal is not None else fetched(offsets, wanted, index, api_version)
            error = Error.NONE if refusal is None else refusal.error
            partitions.append(OffsetFetchResponsePartitions(index, found.offset, found.leader_epoch, found.metadata, error))
        rules.extend([] if refusal is None else [refusal.rule])
        told.append(OffsetFetchResponseTopics("" if api_version >= 10 else wanted.name, wanted.topic_id, tuple(partitions)))
    return tuple(told)


def wanted_of(asked: OffsetFetchRequestGroup, api_version: int, topics: Topics) -> Iterator[Wanted]:
    """The topics that are named."""
    for topic in asked.topics or ():
        name = topics.by_id.get(topic.topic_id, "") if api_version >= 10 else topic.name
        yield Wanted(name, topic.topic_id, topic.partition_indexes)


# OffsetDelete


@rule("GROUP-DELETE-1")
def group_is_unknown(group: Group) -> bool:
    """No such group."""
    return group.state is State.DEAD


@rule("GROUP-DELETE-4")
def group_is_not_of_consumers(group: Group) -> bool:
    """What members of another type read, nobody here can tell."""
    return group.state is not State.EMPTY and group.protocol_type != "consumer"


#: Arguments: the group. Behind GROUP_ID_CHECK.
OFFSET_DELETE_CHECK = Ladder(
    "delete offsets", [rung(group_is_unknown, Error.GROUP_ID_NOT_FOUND), rung(group_is_not_of_consumers, Error.NON_EMPTY_GROUP)]
)


@rule("GROUP-DELETE-6")
def deleted_partition_is_unknown(topics: Topics, _group: Group, name: str, index: int) -> bool:
    """No such topic, or no such partition."""
    topic = topics.by_name.get(name)
    return topic is None or not 0 <= index < topic.partitions


@rule("GROUP-DELETE-5")
def is_subscribed(_topics: Topics, group: Group, name: str, _index: int) -> bool:
    """A member reads the topic, or might; as of the last join phase, also if it has left since."""
    return group.subscribed is None or name in group.subscribed


#: Arguments: the topics, the group, topic and partition.
OFFSET_CHECK = Ladder(
    "delete an offset",
    [rung(deleted_partition_is_unknown, Error.UNKNOWN_TOPIC_OR_PARTITION), rung(is_subscribed, Error.GROUP_SUBSCRIBED_TO_TOPIC)],
)


@rule("GROUP-DELETE-7")
def offset_delete(turn: Turn, asked: Asked, topics: Topics, offsets: Offsets) -> Turn:
    """OffsetDelete: what is not there is deleted already."""
    refusal = GROUP_ID_CHECK.refusal(turn.group, asked) or OFFSET_DELETE_CHECK.refusal(turn.group)
    if refusal is not None:
        return answers(turn, [Reply(asked.ticket, OffsetDeleteResponse(refusal.error), (refusal.rule,))])
    told: dict[str, list[OffsetDeleteResponsePartition]] = {}
    rules, gone = list[str](), list[OffsetForgotten]()
    for name, index in ((topic.name, one.partition_index) for topic in asked.body.topics for one in topic.partitions):
        refused = OFFSET_CHECK.refusal(topics, turn.group, name, index)
        told.setdefault(name, []).append(OffsetDeleteResponsePartition(index, Error.NONE if refused is None else refused.error))
        if refused is not None:
            rules.append(refused.rule)
        elif (name, index) in offsets:
            gone.append(OffsetForgotten(asked.group_id, name, index))
    turn = changed(turn, records=(*turn.records, *gone))
    answered = tuple(OffsetDeleteResponseTopic(name, tuple(partitions)) for name, partitions in told.items())
    return answers(turn, [Reply(asked.ticket, OffsetDeleteResponse(Error.NONE, answered), tuple(rules))])


# Forgetting


@rule("GROUP-OFFSET-5")
def expired(turn: Turn, offsets: Offsets, topics: Topics) -> Turn:
    """What expiry takes of a group: its offsets that are too old; and the group itself, if it is empty and nothing is left of it."""
    old = sorted(key for key, one in offsets.items() if has_lost_its_topic(topics, one) or is_expired(turn.group, key[0], one, turn.config, turn.now))
    turn = changed(turn, records=(*turn.records, *(OffsetForgotten(turn.group.group_id, *key) for key in old)))
    return taken(turn, Event.LAST_OFFSET_EXPIRES, None, "") if len(old) == len(offsets) else turn


@rule("GROUP-OFFSET-7")
def is_expired(group: Group, topic: str, one: CommittedOffset, config: GroupConfig, now: int) -> bool:
    """By its own time to live if it has one; else offsets.retention.minutes after the commit, or since the group is empty. What is read stays."""
    if group.protocol_type and group.state is not State.EMPTY and not (group.state is State.STABLE and group.protocol_type == "consumer"):
        return False
    if group.subscribed is None or topic in group.subscribed:
        return False
    if one.expire_ms != NO_EXPIRY:
        return now >= one.expire_ms
    is_left = group.protocol_type and group.state is State.EMPTY and group.since_ms != SINCE_UNKNOWN
    return now - (group.since_ms if is_left else one.commit_ms) >= config.offsets_retention_ms


@rule("GROUP-OFFSET-8")
def has_lost_its_topic(topics: Topics, one: CommittedOffset) -> bool:
    """It was committed for a topic that is no more: a crash came between the end of the topic and that of the offset."""
    return one.topic_id != ZERO_UUID and one.topic_id not in topics.by_id


@rule("GROUP-OFFSET-8")
def of_deleted_topic(group_id: str, offsets: Offsets, name: str, topic_id: Uuid) -> tuple[OffsetForgotten, ...]:
    """A topic that is deleted takes the offsets with it that were committed for it, or for nobody knows which topic of its name."""
    gone = sorted(key for key, one in offsets.items() if key[0] == name and one.topic_id in (topic_id, ZERO_UUID))
    return tuple(OffsetForgotten(group_id, *key) for key in gone)
