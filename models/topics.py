"""Topics: how they are created, grow, and are deleted.

    absent ──CreateTopics, or Metadata with auto-creation──▶ exists ──CreatePartitions──▶ exists, larger
      ▲                                                        │
      └────────────────────DeleteTopics────────────────────────┘      a topic made anew has another id

Two halves: each handler decides, and returns records; `evolve` folds records into the state, now and after a restart. The partitions
themselves, and what they hold, are made and dropped as the records say.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from immutables import Map

from fiducial.models import configs
from fiducial.models.errors import Error
from fiducial.models.events import Effect, Forget, Outcome, Persist
from fiducial.models.messages import (
    CreatableTopic,
    CreatableTopicConfigs,
    CreatableTopicResult,
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreatePartitionsTopic,
    CreatePartitionsTopicResult,
    CreateTopicsRequest,
    CreateTopicsResponse,
    DeletableTopicResult,
    DeleteTopicsRequest,
    DeleteTopicsResponse,
    DeleteTopicState,
)
from fiducial.models.partition import new_partition, with_config
from fiducial.models.rules import Ladder, Rung, rule, rung
from fiducial.models.values import EMPTY, ZERO_UUID, Uuid, changed, value

if TYPE_CHECKING:
    from fiducial.models.state import Broker

NAME_MAX = 249
LEGAL_NAME = re.compile(r"[a-zA-Z0-9._-]+")
#: Where groups are written down.
OFFSETS_TOPIC = "__consumer_offsets"
INTERNAL = frozenset({OFFSETS_TOPIC, "__transaction_state", "__share_group_state"})
METADATA_TOPIC = "__cluster_metadata"

#: The most partitions that one CreateTopics makes, and one more than the most metadata records that one request makes.
PARTITIONS_MAX = 10_000

# State


@value
class Topic:
    """A topic; its partitions are 0 … partitions - 1, each with one replica, here."""

    topic_id: Uuid
    name: str
    partitions: int
    overrides: Map[str, str] = EMPTY


@value
class Topics:
    """All topics, and the settings of the broker that were changed while it ran, by resource name ("" for the whole cluster)."""

    by_name: Map[str, Topic] = EMPTY
    by_id: Map[Uuid, str] = EMPTY
    broker_configs: Map[str, Map[str, str]] = EMPTY


# Records


@value
class TopicCreated:
    """A topic exists from here on."""

    topic_id: Uuid
    name: str
    partitions: int
    overrides: tuple[tuple[str, str], ...] = ()


@value
class PartitionsAdded:
    """A topic has this many partitions from here on."""

    topic_id: Uuid
    partitions: int


@value
class TopicDeleted:
    """A topic is gone."""

    topic_id: Uuid


@value
class ConfigChanged:
    """A configuration of a topic (by name) or of the broker is set, or unset (None)."""

    is_topic: bool
    resource: str
    name: str
    text: str | None


Record = TopicCreated | PartitionsAdded | TopicDeleted | ConfigChanged


@rule("WIRE-TOPIC-1")
def evolve(topics: Topics, record: Record) -> Topics:
    """The topics after one more record."""
    match record:
        case TopicCreated(topic_id, name, partitions, overrides):
            topic = Topic(topic_id, name, partitions, Map(overrides))
            return Topics(topics.by_name.set(name, topic), topics.by_id.set(topic_id, name), topics.broker_configs)
        case PartitionsAdded(topic_id, partitions):
            name = topics.by_id[topic_id]
            topic = changed(topics.by_name[name], partitions=partitions)
            return changed(topics, by_name=topics.by_name.set(name, topic))
        case TopicDeleted(topic_id):
            name = topics.by_id[topic_id]
            return Topics(topics.by_name.delete(name), topics.by_id.delete(topic_id), topics.broker_configs)
        case ConfigChanged(True, resource, name, text):
            topic = topics.by_name[resource]
            altered = changed(topic, overrides=with_text(topic.overrides, name, text))
            return changed(topics, by_name=topics.by_name.set(resource, altered))
        case ConfigChanged(_, resource, name, text):
            texts = with_text(topics.broker_configs.get(resource, EMPTY), name, text)
            return changed(topics, broker_configs=topics.broker_configs.set(resource, texts))


def with_text(texts: Map[str, str], name: str, text: str | None) -> Map[str, str]:
    """One name set, or unset."""
    if text is not None:
        return texts.set(name, text)
    return texts.delete(name) if name in texts else texts


@rule("WIRE-TOPIC-43")
def applied(broker: Broker, records: tuple[Record, ...], now: int) -> tuple[Broker, tuple[Effect, ...]]:
    """The broker after these records: its topics, and the partitions that begin, end, or have a new configuration."""
    effects: list[Effect] = []
    for record in records:
        effects.append(Persist(record))
        broker = changed(broker, topics=evolve(broker.topics, record))
        match record:
            case TopicCreated(topic_id, name, partitions, _):
                broker = with_partitions(broker, name, range(partitions), now)
            case PartitionsAdded(topic_id, partitions):
                name = broker.topics.by_id[topic_id]
                there = sum(1 for index in range(partitions) if (topic_id, index) in broker.partitions)
                broker = with_partitions(broker, name, range(there, partitions), now)
            case TopicDeleted(topic_id):
                broker = without_partitions(broker, topic_id)
                effects.append(Forget(topic_id))
            case ConfigChanged(True, name, _, _):
                broker = reconfigured(broker, (name,))
            case ConfigChanged():
                broker = reconfigured(broker, tuple(broker.topics.by_name))
    return broker, tuple(effects)


def with_partitions(broker: Broker, name: str, indexes: range, now: int) -> Broker:
    """New, empty partitions of a topic."""
    topic = broker.topics.by_name[name]
    config = configs.log_config(broker, topic)
    partitions = broker.partitions
    for index in indexes:
        partitions = partitions.set((topic.topic_id, index), new_partition(config, now))
    return changed(broker, partitions=partitions)


def without_partitions(broker: Broker, topic_id: Uuid) -> Broker:
    """The broker without the partitions of a topic."""
    partitions = broker.partitions
    for key in broker.partitions:
        if key[0] == topic_id:
            partitions = partitions.delete(key)
    return changed(broker, partitions=partitions)


def reconfigured(broker: Broker, names: tuple[str, ...]) -> Broker:
    """The partitions of these topics under the configuration now in force."""
    partitions = broker.partitions
    for name in names:
        topic = broker.topics.by_name[name]
        config = configs.log_config(broker, topic)
        for index in range(topic.partitions):
            key = (topic.topic_id, index)
            partitions = partitions.set(key, with_config(partitions[key], config))
    return changed(broker, partitions=partitions)


# Names


@rule("WIRE-TOPIC-2")
def is_valid_name(name: str) -> bool:
    """1 to 249 of a-z A-Z 0-9 . _ -, but neither "." nor ".."."""
    return len(name) <= NAME_MAX and name not in (".", "..") and LEGAL_NAME.fullmatch(name) is not None


@rule("WIRE-TOPIC-41")
def is_internal(name: str) -> bool:
    """A topic that coordinators keep their state in."""
    return name in INTERNAL


def confusable(name: str) -> str:
    """What two names must not share: metric names cannot tell "." from "_"."""
    return name.replace(".", "_")


# CreateTopics


@value
class Draft:
    """One topic of a CreateTopics request, with what it shares the request with."""

    topic: CreatableTopic
    times_named: int = 1
    is_shadowed: bool = False  # an earlier one of the same request is created under a name too much like this one


@rule("WIRE-TOPIC-3")
def is_named_twice(_broker: Broker, draft: Draft) -> bool:
    """Answered once, made not at all."""
    return draft.times_named > 1


@rule("WIRE-TOPIC-4")
def is_the_metadata_topic(_broker: Broker, draft: Draft) -> bool:
    """The controllers' own log is no topic."""
    return draft.topic.name == METADATA_TOPIC


@rule("WIRE-TOPIC-5")
def name_is_invalid(_broker: Broker, draft: Draft) -> bool:
    """Not a name that a topic can have."""
    return not is_valid_name(draft.topic.name)


@rule("WIRE-TOPIC-6")
def already_exists(broker: Broker, draft: Draft) -> bool:
    """There is one."""
    return draft.topic.name in broker.topics.by_name


@rule("WIRE-TOPIC-7")
def name_collides(broker: Broker, draft: Draft) -> bool:
    """There is one whose name differs only in "." and "_"."""
    plain = confusable(draft.topic.name)
    return any(confusable(name) == plain for name in broker.topics.by_name)


@rule("WIRE-TOPIC-8")
def config_is_bad(broker: Broker, draft: Draft) -> bool:
    """An unknown name, no value, or a value that is not accepted; of a name given twice the last value counts."""
    given = draft.topic.configs
    return any(entry.value is None for entry in given) or (
        bool(given) and configs.fault_of_topic(broker, {entry.name: entry.value for entry in given}) is not None
    )


@rule("WIRE-TOPIC-9")
def assignment_and_factor(_broker: Broker, draft: Draft) -> bool:
    """With an assignment by hand, neither count is given, the replication factor looked at first."""
    topic = draft.topic
    return bool(topic.assignments) and (topic.replication_factor != -1 or topic.num_partitions != -1)


@rule("WIRE-TOPIC-10")
def assignment_is_bad(broker: Broker, draft: Draft) -> bool:
    """Indexes 0 … n - 1, each once, each with a replica on known brokers, each broker once."""
    placed = draft.topic.assignments
    indexes = sorted(entry.partition_index for entry in placed)
    return indexes != list(range(len(placed))) or any(
        entry.broker_ids != (broker.cluster.broker_id,) for entry in placed
    )


@rule("WIRE-TOPIC-11")
def factor_is_nonsense(_broker: Broker, draft: Draft) -> bool:
    """0, or below -1."""
    return not draft.topic.assignments and (
        draft.topic.replication_factor == 0 or draft.topic.replication_factor < -1
    )


@rule("WIRE-TOPIC-12")
def partitions_are_nonsense(_broker: Broker, draft: Draft) -> bool:
    """0, or below -1."""
    return not draft.topic.assignments and (draft.topic.num_partitions == 0 or draft.topic.num_partitions < -1)


@rule("WIRE-TOPIC-13")
def too_few_brokers(broker: Broker, draft: Draft) -> bool:
    """More replicas than brokers: there is one."""
    return not draft.topic.assignments and factor_of(broker, draft.topic) > 1


@rule("WIRE-TOPIC-19")
def name_collides_within(_broker: Broker, draft: Draft) -> bool:
    """The same request creates one whose name differs only in "." and "_"."""
    return draft.is_shadowed


#: Arguments: the broker, the draft.
CREATE_CHECK = Ladder(
    "create a topic",
    [
        rung(is_named_twice, Error.INVALID_REQUEST),
        rung(is_the_metadata_topic, Error.INVALID_REQUEST),
        rung(name_is_invalid, Error.INVALID_TOPIC_EXCEPTION),
        rung(already_exists, Error.TOPIC_ALREADY_EXISTS),
        rung(name_collides, Error.INVALID_TOPIC_EXCEPTION),
        rung(config_is_bad, Error.INVALID_CONFIG),
        rung(assignment_and_factor, Error.INVALID_REQUEST),
        rung(assignment_is_bad, Error.INVALID_REPLICA_ASSIGNMENT),
        rung(factor_is_nonsense, Error.INVALID_REPLICATION_FACTOR),
        rung(partitions_are_nonsense, Error.INVALID_PARTITIONS),
        rung(too_few_brokers, Error.INVALID_REPLICATION_FACTOR),
        rung(name_collides_within, Error.INVALID_TOPIC_EXCEPTION, also=(Error.NONE,)),
    ],
)


@rule("WIRE-TOPIC-14")
def has_no_time(timeout_ms: int) -> bool:
    """Nothing is done for who does not wait."""
    return timeout_ms <= 0


def draft_names(request: CreateTopicsRequest) -> list[str]:
    """The names that a request could make topics of, as often as they stand there."""
    return [topic.name for topic in request.topics if topic.name != METADATA_TOPIC]


def late(timeout_ms: int, times: Mapping[Any, int]) -> Rung | None:
    """The rung that refuses a request for want of time; if each entry stands more than once, there is nothing to do that would take any."""
    return TIME_CHECK.refusal(timeout_ms) if 1 in times.values() else None


TIME_CHECK = Ladder("time for a change of topics", [rung(has_no_time, Error.REQUEST_TIMED_OUT)])


@rule("WIRE-TOPIC-15")
def is_too_much(partitions: int, records: int) -> bool:
    """More than 10,000 partitions, or metadata records, by one request."""
    return partitions > PARTITIONS_MAX or records > PARTITIONS_MAX


SIZE_CHECK = Ladder("size of a creation", [rung(is_too_much, Error.POLICY_VIOLATION)])


@rule("WIRE-TOPIC-16")
def count_of(broker: Broker, topic: CreatableTopic) -> int:
    """How many partitions: as assigned, as said, or num.partitions."""
    if topic.assignments:
        return len(topic.assignments)
    return broker.settings.num_partitions if topic.num_partitions == -1 else topic.num_partitions


def factor_of(broker: Broker, topic: CreatableTopic) -> int:
    """How many replicas: as said, or default.replication.factor."""
    return broker.settings.default_replication_factor if topic.replication_factor == -1 else topic.replication_factor


def drafts_of(request: CreateTopicsRequest) -> tuple[Draft, ...]:
    """Each name once."""
    times = Counter(topic.name for topic in request.topics)
    return tuple(Draft(topic, times[topic.name]) for topic in {topic.name: topic for topic in request.topics}.values())


@rule("WIRE-TOPIC-42")
def create_topics(
    broker: Broker, request: CreateTopicsRequest, *, api_version: int, now: int, client_id: str | None
) -> Outcome:
    """Each topic is judged alone, but for the time and the size of the whole request."""
    drafts = drafts_of(request)
    whole = late(request.timeout_ms, Counter(draft_names(request))) or too_much(broker, drafts)
    if whole is not None:
        refused = tuple(not_created(topic.name, whole, WHY_NOT[whole.rule]) for topic in request.topics)
        return Outcome(broker, CreateTopicsResponse(topics=refused), (whole.rule,) * len(refused))
    effects: list[Effect] = []
    rules: list[str] = []
    results: list[CreatableTopicResult] = []
    taken: set[str] = set()
    before = broker
    for draft in drafts:
        plain = confusable(draft.topic.name)
        refusal = CREATE_CHECK.refusal(before, changed(draft, is_shadowed=plain in taken))
        if refusal is not None:
            rules.append(refusal.rule)
            results.append(not_created(draft.topic.name, refusal, why_not_created(before, draft.topic, refusal)))
            continue
        taken.add(plain)
        topic_id, chance = broker.chance.uuid()
        broker = changed(broker, chance=chance)
        results.append(created(broker, draft.topic, topic_id))
        if not request.validate_only:
            broker, made = applied(broker, (creation(broker, draft.topic, topic_id),), now)
            effects.extend(made)
    return Outcome(broker, CreateTopicsResponse(topics=tuple(results)), tuple(rules), tuple(effects))


def too_much(broker: Broker, drafts: tuple[Draft, ...]) -> Rung | None:
    """The rung that refuses a request for its size."""
    single = [draft for draft in drafts if draft.times_named == 1 and draft.topic.name != METADATA_TOPIC]
    partitions = sum(max(count_of(broker, draft.topic), 0) for draft in single)
    sound = [draft.topic for draft in single if CREATE_CHECK.refusal(broker, draft) is None]
    records = sum(1 + count_of(broker, topic) + len(topic.configs) for topic in sound)
    return SIZE_CHECK.refusal(partitions, records)


@rule("WIRE-TOPIC-40")
def creation(broker: Broker, topic: CreatableTopic, topic_id: Uuid) -> TopicCreated:
    """The record of a new topic, under an id of its own; of a configuration named twice, the last counts."""
    texts = {entry.name: entry.value for entry in topic.configs if entry.value is not None}
    return TopicCreated(topic_id, topic.name, count_of(broker, topic), tuple(texts.items()))


def as_set(entry: configs.Entry) -> str:
    """The value as somebody wrote it."""
    return entry.origins[0].text if entry.origins else entry.text


def source_of(broker: Broker, entry: configs.Entry) -> configs.Source:
    """Where the value comes from; here, unlike in DescribeConfigs, the file counts even if it says it in another unit."""
    is_in_hours = entry.definition.synonym in broker.settings.in_ms and entry.source is configs.Source.DEFAULT
    return configs.Source.FILE if is_in_hours else entry.source


@rule("WIRE-TOPIC-17")
def created(broker: Broker, topic: CreatableTopic, topic_id: Uuid) -> CreatableTopicResult:
    """The counts in force, and every configuration by name, values as they were sent."""
    overrides = Map({entry.name: entry.value or "" for entry in topic.configs})
    shown = tuple(
        CreatableTopicConfigs(entry.name, overrides.get(entry.name, as_set(entry)), False, source_of(broker, entry), False)
        for entry in configs.entries_of_topic(broker, overrides)
    )
    return CreatableTopicResult(topic.name, topic_id, Error.NONE, None, Error.NONE, count_of(broker, topic), 1, shown)


#: Why a topic is not created, changed or deleted, in words, for people who read what their clients print.
WHY_NOT: Mapping[str, str] = {
    "WIRE-TOPIC-3": "it is named more than once in the request",
    "WIRE-TOPIC-4": "the controllers' own log is no topic",
    "WIRE-TOPIC-5": f"a name has 1 to {NAME_MAX} of the characters a-z, A-Z, 0-9, '.', '_' and '-', and is neither '.' nor '..'",
    "WIRE-TOPIC-6": "it exists already",
    "WIRE-TOPIC-9": "with an assignment of replicas goes neither a number of partitions nor a replication factor",
    "WIRE-TOPIC-10": "partitions are assigned from 0 on, each to this broker alone",
    "WIRE-TOPIC-11": "the replication factor is 1 or more, or -1 for the default",
    "WIRE-TOPIC-12": "the number of partitions is 1 or more, or -1 for the default",
    "WIRE-TOPIC-13": "the replication factor is larger than the number of brokers, which is 1",
    "WIRE-TOPIC-14": "there is no time for it",
    "WIRE-TOPIC-15": f"one request makes at most {PARTITIONS_MAX} partitions",
    "WIRE-TOPIC-19": "its name differs from that of another one in the request only in '.' and '_'",
    "WIRE-TOPIC-20": "delete.topic.enable is false",
    "WIRE-TOPIC-21": "delete.topic.enable is false",
    "WIRE-TOPIC-22": "it is asked for by its name or by its id, and not by both",
    "WIRE-TOPIC-23": "it is asked for more than once in the request",
    "WIRE-TOPIC-24": "no topic has this id",
    "WIRE-TOPIC-25": "no topic has this name",
    "WIRE-TOPIC-26": "it is asked for by its name and by its id",
    "WIRE-TOPIC-30": "it is named more than once in the request",
    "WIRE-TOPIC-33": f"one request makes at most {PARTITIONS_MAX} partitions",
    "WIRE-TOPIC-34": "each new partition is assigned, and to this broker alone",
    "GROUP-RECORD-14": "records of groups are there that cannot be moved",
}


def why_not_created(broker: Broker, topic: CreatableTopic, refusal: Rung) -> str:
    """What is wrong, in words."""
    match refusal.rule:
        case "WIRE-TOPIC-7":
            plain = confusable(topic.name)
            others = [name for name in sorted(broker.topics.by_name) if confusable(name) == plain]
            return f"its name differs from that of {', '.join(map(repr, others))} only in '.' and '_'"
        case "WIRE-TOPIC-8":
            unset = next((entry.name for entry in topic.configs if entry.value is None), None)
            if unset is not None:
                return f"{unset} needs a value"
            return configs.fault_of_topic(broker, {entry.name: entry.value for entry in topic.configs}) or ""
        case _:
            return WHY_NOT[refusal.rule]


@rule("WIRE-TOPIC-18")
def not_created(name: str, refusal: Rung, why: str) -> CreatableTopicResult:
    """No id, no counts, no configurations; a message, but for a timeout."""
    message = None if refusal.error == Error.REQUEST_TIMED_OUT else f"cannot create topic {name!r}: {why}"
    return CreatableTopicResult(name, ZERO_UUID, refusal.error, message, Error.NONE, -1, -1, ())


# DeleteTopics


@rule("WIRE-TOPIC-20")
def deletion_is_off(broker: Broker, api_version: int) -> bool:
    """delete.topic.enable=false."""
    return not broker.settings.delete_topic_enable and api_version >= 3


@rule("WIRE-TOPIC-21")
def deletion_is_off_for_old(broker: Broker, _api_version: int) -> bool:
    """The same, before the error had a code of its own."""
    return not broker.settings.delete_topic_enable


#: Arguments: the broker, the version. For the whole request, before its time is looked at.
DELETION_CHECK = Ladder(
    "delete topics",
    [
        rung(deletion_is_off, Error.TOPIC_DELETION_DISABLED),
        rung(deletion_is_off_for_old, Error.INVALID_REQUEST),
    ],
)


@value
class Doomed:
    """One topic of a DeleteTopics request: as asked for, and what that is."""

    asked: DeleteTopicState
    topic: Topic | None
    times_asked: int = 1
    is_asked_both_ways: bool = False  # by this name, and by the id that it has


def is_clear(asked: DeleteTopicState) -> bool:
    """Name or id, not both and not neither."""
    return (asked.name is None) != (asked.topic_id == ZERO_UUID)


@rule("WIRE-TOPIC-22")
def is_named_and_identified(doomed: Doomed) -> bool:
    """Both name and id, or neither."""
    return not is_clear(doomed.asked)


@rule("WIRE-TOPIC-23")
def is_asked_twice(doomed: Doomed) -> bool:
    """The same name or the same id: answered once, deleted not at all."""
    return doomed.times_asked > 1


@rule("WIRE-TOPIC-26")
def is_asked_both_ways(doomed: Doomed) -> bool:
    """A name, and the id that it has: answered once, deleted not at all."""
    return doomed.is_asked_both_ways


@rule("WIRE-TOPIC-24")
def id_is_unknown(doomed: Doomed) -> bool:
    """No topic has the id."""
    return doomed.topic is None and doomed.asked.name is None


@rule("WIRE-TOPIC-25")
def name_is_unknown(doomed: Doomed) -> bool:
    """No topic has the name; an invalid name is not told apart."""
    return doomed.topic is None


#: Arguments: the doomed topic.
DELETE_CHECK = Ladder(
    "delete a topic",
    [
        rung(is_named_and_identified, Error.INVALID_REQUEST),
        rung(is_asked_twice, Error.INVALID_REQUEST),
        rung(is_asked_both_ways, Error.INVALID_REQUEST),
        rung(id_is_unknown, Error.UNKNOWN_TOPIC_ID),
        rung(name_is_unknown, Error.UNKNOWN_TOPIC_OR_PARTITION),
    ],
)


def topic_asked(broker: Broker, asked: DeleteTopicState) -> Topic | None:
    """The topic of this name or this id."""
    name = asked.name if asked.name is not None else broker.topics.by_id.get(asked.topic_id)
    return broker.topics.by_name.get(name) if name is not None else None


def doomed_of(broker: Broker, wanted: tuple[DeleteTopicState, ...]) -> tuple[Doomed, ...]:
    """Each name and each id once; what both names and identifies, or neither, as often as it is asked."""
    times = Counter(wanted)
    found: dict[object, Doomed] = {}
    for position, asked in enumerate(wanted):
        topic, both_ways = topic_asked(broker, asked), False
        if topic is not None and times[asked] == 1:
            by_name, by_id = DeleteTopicState(topic.name), DeleteTopicState(None, topic.topic_id)
            if asked == by_id and times[by_name] == 1:
                continue  # answered under its name
            both_ways = asked == by_name and by_id in times
        one = Doomed(asked, topic, times[asked], both_ways)
        found.setdefault(position if is_named_and_identified(one) else asked, one)
    return tuple(found.values())


@rule("WIRE-TOPIC-27")
def answered(doomed: Doomed, refusal: Rung | None) -> DeletableTopicResult:
    """Name and id of what is gone, or was asked for both ways; otherwise what was asked for."""
    name, topic_id = doomed.asked.name, doomed.asked.topic_id
    if doomed.topic is not None and (refusal is None or doomed.is_asked_both_ways):
        name, topic_id = doomed.topic.name, doomed.topic.topic_id
    if refusal is None:
        return DeletableTopicResult(name, topic_id, Error.NONE, None)
    return DeletableTopicResult(name, topic_id, refusal.error, f"cannot delete: {WHY_NOT[refusal.rule]}")


def delete_topics(
    broker: Broker, request: DeleteTopicsRequest, *, api_version: int, now: int, client_id: str | None
) -> Outcome:
    """Each topic is judged alone, unless none may be deleted or there is no time."""
    wanted = request.topics if api_version >= 6 else tuple(DeleteTopicState(name) for name in request.topic_names)
    clear = Counter(asked for asked in wanted if is_clear(asked))
    whole = DELETION_CHECK.refusal(broker, api_version) or late(request.timeout_ms, clear)
    if whole is not None:
        refused = tuple(DeletableTopicResult(asked.name, asked.topic_id, whole.error, None) for asked in wanted)
        return Outcome(broker, DeleteTopicsResponse(responses=refused), (whole.rule,) * len(refused))
    effects: list[Effect] = []
    rules: list[str] = []
    results: list[DeletableTopicResult] = []
    for doomed in doomed_of(broker, wanted):
        refusal = DELETE_CHECK.refusal(doomed)
        results.append(answered(doomed, refusal))
        if refusal is not None:
            rules.append(refusal.rule)
            continue
        assert doomed.topic is not None
        broker, gone = applied(broker, (TopicDeleted(doomed.topic.topic_id),), now)
        effects.extend(gone)
    return Outcome(broker, DeleteTopicsResponse(responses=tuple(results)), tuple(rules), tuple(effects))


# CreatePartitions


@value
class Growth:
    """One topic of a CreatePartitions request."""

    wanted: CreatePartitionsTopic
    topic: Topic | None
    times_named: int
    added_before: int  # partitions that the same request adds to other topics


@rule("WIRE-TOPIC-30")
def grows_twice(_broker: Broker, growth: Growth) -> bool:
    """Named twice: answered once, grown not at all."""
    return growth.times_named > 1


@rule("WIRE-TOPIC-31")
def nothing_to_grow(_broker: Broker, growth: Growth) -> bool:
    """No such topic; an invalid name is not told apart."""
    return growth.topic is None


@rule("WIRE-TOPIC-32")
def does_not_grow(_broker: Broker, growth: Growth) -> bool:
    """As many partitions as there are, or fewer."""
    return growth.topic is not None and growth.wanted.count <= growth.topic.partitions


@rule("WIRE-TOPIC-33")
def grows_too_much(_broker: Broker, growth: Growth) -> bool:
    """More than 10,000 new partitions by one request."""
    return growth.topic is not None and growth.added_before + growth.wanted.count - growth.topic.partitions > PARTITIONS_MAX


@rule("WIRE-TOPIC-34")
def new_assignment_is_bad(broker: Broker, growth: Growth) -> bool:
    """One entry for each new partition, each with this broker alone."""
    placed = growth.wanted.assignments
    if placed is None or growth.topic is None:
        return False
    return len(placed) != growth.wanted.count - growth.topic.partitions or any(
        entry.broker_ids != (broker.cluster.broker_id,) for entry in placed
    )


@rule("GROUP-RECORD-14")
def groups_cannot_move(broker: Broker, growth: Growth) -> bool:
    """The topic of offsets, whose logs are not in order yet, or hold what is not ours to move."""
    return growth.wanted.name == OFFSETS_TOPIC and (broker.groups.scattered or bool(broker.groups.shared))


#: Arguments: the broker, the growth.
GROW_CHECK = Ladder(
    "create partitions",
    [
        rung(grows_twice, Error.INVALID_REQUEST),
        rung(nothing_to_grow, Error.UNKNOWN_TOPIC_OR_PARTITION),
        rung(does_not_grow, Error.INVALID_PARTITIONS),
        rung(new_assignment_is_bad, Error.INVALID_REPLICA_ASSIGNMENT),
        rung(grows_too_much, Error.INVALID_PARTITIONS, also=(Error.UNKNOWN_SERVER_ERROR,)),
        rung(groups_cannot_move, Error.INVALID_REQUEST),
    ],
)


@rule("WIRE-TOPIC-42")
def create_partitions(
    broker: Broker, request: CreatePartitionsRequest, *, api_version: int, now: int, client_id: str | None
) -> Outcome:
    """Each topic is judged alone, but for the time and the size of the whole request."""
    times = Counter(wanted.name for wanted in request.topics)
    whole = late(request.timeout_ms, times)
    if whole is not None:
        refused = tuple(CreatePartitionsTopicResult(wanted.name, whole.error, None) for wanted in request.topics)
        return Outcome(broker, CreatePartitionsResponse(results=refused), (whole.rule,) * len(refused))
    effects: list[Effect] = []
    rules: list[str] = []
    results: list[CreatePartitionsTopicResult] = []
    added = 0
    for wanted in {wanted.name: wanted for wanted in request.topics}.values():
        growth = Growth(wanted, broker.topics.by_name.get(wanted.name), times[wanted.name], added)
        refusal = GROW_CHECK.refusal(broker, growth)
        results.append(grown(growth, refusal))
        if refusal is not None:
            rules.append(refusal.rule)
            continue
        assert growth.topic is not None
        added += wanted.count - growth.topic.partitions
        if not request.validate_only:
            broker, made = applied(broker, (PartitionsAdded(growth.topic.topic_id, wanted.count),), now)
            effects.extend(made)
    return Outcome(broker, CreatePartitionsResponse(results=tuple(results)), tuple(rules), tuple(effects))


@rule("WIRE-TOPIC-35")
def grown(growth: Growth, refusal: Rung | None) -> CreatePartitionsTopicResult:
    """The error, if any; a message, but for a topic that is not there."""
    if refusal is None:
        return CreatePartitionsTopicResult(growth.wanted.name, Error.NONE, None)
    message = None
    if refusal.error != Error.UNKNOWN_TOPIC_OR_PARTITION:
        message = f"topic {growth.wanted.name!r} cannot grow to {growth.wanted.count} partitions: {why_not_grown(growth, refusal)}"
    return CreatePartitionsTopicResult(growth.wanted.name, refusal.error, message)


def why_not_grown(growth: Growth, refusal: Rung) -> str:
    """What is wrong, in words."""
    if refusal.rule == "WIRE-TOPIC-32" and growth.topic is not None:
        return f"it has {growth.topic.partitions}"
    return WHY_NOT[refusal.rule]
