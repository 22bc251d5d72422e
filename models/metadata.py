"""What there is, and where: Metadata and DescribeTopicPartitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fiducial.models import topics
from fiducial.models.errors import Error
from fiducial.models.events import Effect, Outcome
from fiducial.models.messages import (
    CreatableTopic,
    CreatableTopicConfig,
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsRequestCursor,
    DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponseCursor,
    DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
    MetadataRequest,
    MetadataRequestTopic,
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)
from fiducial.models.rules import Ladder, Rung, rule, rung
from fiducial.models.topics import Draft, Topic
from fiducial.models.values import ZERO_UUID, Uuid, changed, value

if TYPE_CHECKING:
    from fiducial.models.state import Broker

#: Which operations an asker may do, as a set of bits; nobody is forbidden anything here.
TOPIC_OPERATIONS = 3576
CLUSTER_OPERATIONS = 8096
NOT_ASKED = -(2**31)

#: The partitions of an internal topic that is created because somebody asked for it.
INTERNAL_PARTITIONS = 50


@rule("WIRE-META-14")
def operations(allowed: int, is_asked: bool) -> int:
    """The operations, if they are asked for."""
    return allowed if is_asked else NOT_ASKED


# Metadata


@value
class Asked:
    """One topic of a Metadata request, and what there is of it."""

    name: str | None
    topic_id: Uuid
    topic: Topic | None


@rule("WIRE-META-1")
def ids_came_early(wanted: tuple[MetadataRequestTopic, ...], api_version: int) -> bool:
    """Versions 10 and 11 have ids in the layout, but are not asked by id."""
    return api_version < 12 and any(entry.topic_id != ZERO_UUID or entry.name is None for entry in wanted)


@rule("WIRE-META-2")
def nothing_is_named(wanted: tuple[MetadataRequestTopic, ...], api_version: int) -> bool:
    """Neither a name nor an id, where nothing goes by id."""
    return not goes_by_id(wanted, api_version) and any(entry.name is None for entry in wanted)


def goes_by_id(wanted: tuple[MetadataRequestTopic, ...], api_version: int) -> bool:
    """One topic that is asked for by id is enough."""
    return api_version >= 12 and any(entry.topic_id != ZERO_UUID for entry in wanted)


@rule("WIRE-META-3")
def id_is_unknown(asked: Asked) -> bool:
    """No topic has the id."""
    return asked.topic_id != ZERO_UUID and asked.topic is None


@rule("WIRE-META-4")
def name_is_invalid(asked: Asked) -> bool:
    """A name that no topic can have."""
    return asked.topic is None and not topics.is_valid_name(asked.name or "")


@rule("WIRE-META-5")
def name_is_unknown(asked: Asked) -> bool:
    """No topic has the name; it may be in the making."""
    return asked.topic is None


#: Arguments: the topics of the request, the version. One topic that is asked for wrongly spoils the others.
METADATA_REQUEST_CHECK = Ladder(
    "metadata request",
    [
        rung(ids_came_early, Error.INVALID_REQUEST),
        rung(nothing_is_named, Error.INVALID_REQUEST, also=(Error.UNKNOWN_SERVER_ERROR,)),
    ],
)
#: Arguments: what is asked.
METADATA_CHECK = Ladder(
    "metadata of a topic",
    [
        rung(id_is_unknown, Error.UNKNOWN_TOPIC_ID),
        rung(name_is_invalid, Error.INVALID_TOPIC_EXCEPTION),
        rung(name_is_unknown, Error.UNKNOWN_TOPIC_OR_PARTITION),
    ],
)


@rule("WIRE-META-6")
def asked_of(broker: Broker, wanted: tuple[MetadataRequestTopic, ...], api_version: int) -> tuple[Asked, ...]:
    """Each topic once; as soon as one goes by id, those that do not are left out."""
    by_id = goes_by_id(wanted, api_version)
    found: dict[object, Asked] = {}
    for entry in wanted:
        if by_id and entry.topic_id != ZERO_UUID:
            name = broker.topics.by_id.get(entry.topic_id)
            topic = broker.topics.by_name.get(name) if name is not None else None
            found[entry.topic_id] = Asked(name, entry.topic_id, topic)
        elif not by_id and entry.name is not None:
            found[entry.name] = Asked(entry.name, ZERO_UUID, broker.topics.by_name.get(entry.name))
    return tuple(found.values())


@rule("WIRE-META-7")
def means_all(request: MetadataRequest, api_version: int) -> bool:
    """Null means all topics; in version 0 the empty list does."""
    return request.topics is None or (api_version == 0 and not request.topics)


@rule("WIRE-META-8")
def creates(broker: Broker, request: MetadataRequest, api_version: int) -> bool:
    """Are topics made that are asked for? The broker must allow it and, from v4 on, the asker want it."""
    return broker.settings.auto_create_topics and (api_version < 4 or request.allow_auto_topic_creation)


@rule("WIRE-META-12")
def metadata(broker: Broker, request: MetadataRequest, *, api_version: int, now: int, client_id: str | None) -> Outcome:
    """The brokers, and the topics asked for; those that exist come first."""
    found: list[MetadataResponseTopic] = []
    missing: list[MetadataResponseTopic] = []
    rules: list[str] = []
    effects: tuple[Effect, ...] = ()
    with_operations = request.include_topic_authorized_operations
    if means_all(request, api_version):
        found = [described(broker, topic, with_operations) for _, topic in sorted(broker.topics.by_name.items())]
    else:
        assert request.topics is not None
        spoilt = METADATA_REQUEST_CHECK.refusal(request.topics, api_version)
        if spoilt is not None:
            return Outcome(broker, not_answered(request.topics, spoilt), (spoilt.rule,))
        for one in asked_of(broker, request.topics, api_version):
            refusal = METADATA_CHECK.refusal(one)
            if refusal is None:
                assert one.topic is not None
                found.append(described(broker, one.topic, with_operations))
                continue
            rules.append(refusal.rule)
            missing.append(not_described(one, refusal, with_operations))
            if refusal.error == Error.UNKNOWN_TOPIC_OR_PARTITION and creates(broker, request, api_version):
                broker, made = created(broker, one.name or "", now)
                effects += made
    body = MetadataResponse(
        0,
        brokers_of(broker),
        broker.cluster.cluster_id,
        broker.cluster.broker_id,
        (*found, *missing),
        operations(CLUSTER_OPERATIONS, request.include_cluster_authorized_operations),
        Error.NONE,
    )
    return Outcome(broker, body, tuple(rules), effects)


def not_answered(wanted: tuple[MetadataRequestTopic, ...], spoilt: Rung) -> MetadataResponse:
    """The error for every topic, as it was asked for, and nothing else."""
    refused = tuple(MetadataResponseTopic(spoilt.error, entry.name or "", entry.topic_id) for entry in wanted)
    return MetadataResponse(topics=refused, error_code=spoilt.error)


@rule("WIRE-META-13")
def brokers_of(broker: Broker) -> tuple[MetadataResponseBroker, ...]:
    """The brokers of the cluster: this one."""
    cluster = broker.cluster
    return (MetadataResponseBroker(cluster.broker_id, cluster.host, cluster.port, cluster.rack),)


@rule("WIRE-META-9")
def described(broker: Broker, topic: Topic, with_operations: bool) -> MetadataResponseTopic:
    """A topic and its partitions, each led here by its one replica."""
    own = broker.cluster.broker_id
    partitions = tuple(
        MetadataResponsePartition(
            Error.NONE, index, own, broker.partitions[topic.topic_id, index].leader_epoch, (own,), (own,), ()
        )
        for index in range(topic.partitions)
    )
    return MetadataResponseTopic(
        Error.NONE,
        topic.name,
        topic.topic_id,
        topics.is_internal(topic.name),
        partitions,
        operations(TOPIC_OPERATIONS, with_operations),
    )


@rule("WIRE-META-10")
def not_described(asked: Asked, refusal: Rung, with_operations: bool) -> MetadataResponseTopic:
    """The error, under the name or the id that was asked for; of an unknown id nothing else is known."""
    is_internal = asked.name is not None and topics.is_internal(asked.name)
    allowed = operations(TOPIC_OPERATIONS, with_operations and asked.name is not None)
    return MetadataResponseTopic(refusal.error, asked.name, asked.topic_id, is_internal, (), allowed)


@rule("WIRE-META-11")
def created(broker: Broker, name: str, now: int) -> tuple[Broker, tuple[Effect, ...]]:
    """A topic made because it was asked for, with the broker's defaults; none if its name is too much like another's."""
    count = INTERNAL_PARTITIONS if topics.is_internal(name) else -1
    wanted = offsets_topic(broker) if name == topics.OFFSETS_TOPIC else CreatableTopic(name, count, -1)
    if topics.CREATE_CHECK.refusal(broker, Draft(wanted)) is not None:
        return broker, ()
    topic_id, chance = broker.chance.uuid()
    record = topics.creation(broker, wanted, topic_id)
    return topics.applied(changed(broker, chance=chance), (record,), now)


@rule("GROUP-FIND-4")
def offsets_topic(broker: Broker) -> CreatableTopic:
    """Where groups are written down: of a key only the last record is needed."""
    settings = broker.settings
    texts = {"cleanup.policy": "compact", "compression.type": "producer", "segment.bytes": str(settings.offsets_topic_segment_bytes)}
    entries = tuple(CreatableTopicConfig(name, text) for name, text in texts.items())
    return CreatableTopic(topics.OFFSETS_TOPIC, settings.offsets_topic_num_partitions, -1, configs=entries)


# DescribeTopicPartitions


@rule("WIRE-PARTS-1")
def cursor_is_elsewhere(names: tuple[str, ...], asks_for_all: bool, cursor: DescribeTopicPartitionsRequestCursor | None) -> bool:
    """The cursor names a topic that is not asked for."""
    return cursor is not None and not asks_for_all and cursor.topic_name not in names


@rule("WIRE-PARTS-2")
def cursor_is_negative(_names: tuple[str, ...], _all: bool, cursor: DescribeTopicPartitionsRequestCursor | None) -> bool:
    """The cursor names a partition below 0."""
    return cursor is not None and cursor.partition_index < 0


#: Arguments: the names asked for, sorted; whether that means all; the cursor.
CURSOR_CHECK = Ladder(
    "cursor of topic partitions",
    [rung(cursor_is_elsewhere, Error.INVALID_REQUEST), rung(cursor_is_negative, Error.INVALID_REQUEST)],
)


@rule("WIRE-PARTS-3")
def part_name_is_invalid(_broker: Broker, name: str) -> bool:
    """A name that no topic can have."""
    return not topics.is_valid_name(name)


@rule("WIRE-PARTS-4")
def part_is_unknown(broker: Broker, name: str) -> bool:
    """No topic has the name."""
    return name not in broker.topics.by_name


#: Arguments: the broker, the name.
PARTS_CHECK = Ladder(
    "partitions of a topic",
    [rung(part_name_is_invalid, Error.INVALID_TOPIC_EXCEPTION), rung(part_is_unknown, Error.UNKNOWN_TOPIC_OR_PARTITION)],
)


@rule("WIRE-PARTS-5")
def describe_topic_partitions(
    broker: Broker, request: DescribeTopicPartitionsRequest, *, api_version: int, now: int, client_id: str | None
) -> Outcome:
    """Topics by name, from the cursor on, until the limit of partitions is reached (KIP-966)."""
    asks_for_all = not request.topics
    names = tuple(sorted(broker.topics.by_name if asks_for_all else {topic.name for topic in request.topics}))
    refusal = CURSOR_CHECK.refusal(names, asks_for_all, request.cursor)
    if refusal is not None:
        spoilt = tuple(
            DescribeTopicPartitionsResponseTopic(refusal.error, topic.name, topic_authorized_operations=NOT_ASKED)
            for topic in request.topics
        )
        return Outcome(broker, DescribeTopicPartitionsResponse(topics=spoilt), (refusal.rule,))
    limit = limit_of(broker, request.response_partition_limit)
    given, cursor, rules = page(broker, names, request.cursor, limit)
    return Outcome(broker, DescribeTopicPartitionsResponse(0, given, cursor), rules)


@rule("WIRE-PARTS-7")
def limit_of(broker: Broker, asked: int) -> int:
    """How many partitions are given at most: what is asked, between 1 and max.request.partition.size.limit."""
    return min(max(asked, 1), broker.settings.max_request_partition_size_limit)


@rule("WIRE-PARTS-6")
def page(
    broker: Broker, names: tuple[str, ...], cursor: DescribeTopicPartitionsRequestCursor | None, limit: int
) -> tuple[tuple[DescribeTopicPartitionsResponseTopic, ...], DescribeTopicPartitionsResponseCursor | None, tuple[str, ...]]:
    """At most `limit` partitions from the cursor on, and where to go on; a topic in error costs nothing."""
    given: list[DescribeTopicPartitionsResponseTopic] = []
    rules: list[str] = []
    left = limit
    for name in names:
        if cursor is not None and name < cursor.topic_name:
            continue
        first = cursor.partition_index if cursor is not None and name == cursor.topic_name else 0
        refusal = PARTS_CHECK.refusal(broker, name)
        if left == 0:
            return tuple(given), DescribeTopicPartitionsResponseCursor(name, 0), tuple(rules)
        if refusal is not None:
            rules.append(refusal.rule)
            given.append(part_of(broker, name, refusal, range(0)))
            continue
        count = broker.topics.by_name[name].partitions
        shown = range(min(first, count), min(first + left, count))
        given.append(part_of(broker, name, None, shown))
        left -= len(shown)
        if shown.stop < count:
            return tuple(given), DescribeTopicPartitionsResponseCursor(name, shown.stop), tuple(rules)
    return tuple(given), None, tuple(rules)


@rule("WIRE-PARTS-8")
def part_of(broker: Broker, name: str, refusal: Rung | None, shown: range) -> DescribeTopicPartitionsResponseTopic:
    """One topic of the answer."""
    topic = broker.topics.by_name.get(name) if refusal is None else None
    if topic is None:
        error = refusal.error if refusal is not None else Error.NONE
        return DescribeTopicPartitionsResponseTopic(
            error, name, ZERO_UUID, topics.is_internal(name), (), TOPIC_OPERATIONS
        )
    own = broker.cluster.broker_id
    partitions = tuple(
        DescribeTopicPartitionsResponsePartition(
            Error.NONE, index, own, broker.partitions[topic.topic_id, index].leader_epoch, (own,), (own,), (), (), ()
        )
        for index in shown
    )
    return DescribeTopicPartitionsResponseTopic(
        Error.NONE, name, topic.topic_id, topics.is_internal(name), partitions, TOPIC_OPERATIONS
    )
