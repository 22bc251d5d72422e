"""The whole broker as one function: `step(broker, event, now) -> (broker, effects)`.

It only routes: a request goes to the one handler of its API; whoever waits on a partition that changed is looked at again; housekeeping goes
to every partition. What any of them decides stands in the protocol's own file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv6Address, ip_address

from fiducial.models import (
    apis,
    cluster,
    config_requests,
    fetch,
    group_records,
    group_requests,
    idempotence,
    metadata,
    offsets,
    partition,
    produce,
    topics,
)
from fiducial.models.batches import SentBatch
from fiducial.models.errors import Error
from fiducial.models.events import (
    Append,
    ClearTimer,
    Close,
    Disconnected,
    Drop,
    Effect,
    Event,
    Forget,
    Housekeeping,
    OffsetExpiry,
    Outcome,
    Persist,
    Reply,
    Request,
    Ring,
    SetTimer,
    Timer,
    Trim,
    Write,
)
from fiducial.models.group_requests import Groups
from fiducial.models.groups import Asked, SetAlarm
from fiducial.models.log import with_start
from fiducial.models.messages import (
    AlterConfigsRequest,
    ApiVersionsRequest,
    CreatePartitionsRequest,
    CreateTopicsRequest,
    DeleteGroupsRequest,
    DeleteRecordsRequest,
    DeleteTopicsRequest,
    DescribeClusterRequest,
    DescribeConfigsRequest,
    DescribeGroupsRequest,
    DescribeLogDirsRequest,
    DescribeProducersRequest,
    DescribeTopicPartitionsRequest,
    FetchRequest,
    FindCoordinatorRequest,
    HeartbeatRequest,
    IncrementalAlterConfigsRequest,
    InitProducerIdRequest,
    JoinGroupRequest,
    LeaveGroupRequest,
    ListConfigResourcesRequest,
    ListGroupsRequest,
    ListOffsetsRequest,
    MetadataRequest,
    OffsetCommitRequest,
    OffsetDeleteRequest,
    OffsetFetchRequest,
    OffsetForLeaderEpochRequest,
    ProduceRequest,
    SyncGroupRequest,
)
from fiducial.models.not_kept import not_kept
from fiducial.models.rules import rule
from fiducial.models.sessions import Sessions
from fiducial.models.settings import Settings
from fiducial.models.state import Broker, Chance, Cluster
from fiducial.models.topics import OFFSETS_TOPIC
from fiducial.models.values import ZERO_UUID, Uuid, changed

#: Which function answers which request; Fetch alone may wait, and is answered by `handle_fetch`.
HANDLERS: dict[type, Callable[..., Outcome]] = {
    ProduceRequest: produce.produce,
    ListOffsetsRequest: offsets.list_offsets,
    MetadataRequest: metadata.metadata,
    DescribeTopicPartitionsRequest: metadata.describe_topic_partitions,
    ApiVersionsRequest: apis.api_versions,
    CreateTopicsRequest: topics.create_topics,
    DeleteTopicsRequest: topics.delete_topics,
    CreatePartitionsRequest: topics.create_partitions,
    DeleteRecordsRequest: offsets.delete_records,
    DescribeConfigsRequest: config_requests.describe_configs,
    IncrementalAlterConfigsRequest: config_requests.incremental_alter_configs,
    AlterConfigsRequest: config_requests.alter_configs,
    ListConfigResourcesRequest: config_requests.list_config_resources,
    InitProducerIdRequest: offsets.init_producer_id,
    DescribeClusterRequest: cluster.describe_cluster,
    FindCoordinatorRequest: cluster.find_coordinator,
    DescribeProducersRequest: offsets.describe_producers,
    OffsetForLeaderEpochRequest: offsets.offset_for_leader_epoch,
    DescribeLogDirsRequest: cluster.describe_log_dirs,
}


#: The requests that are decided by `group_requests`.
GROUP_REQUESTS = (
    HeartbeatRequest,
    OffsetCommitRequest,
    OffsetFetchRequest,
    JoinGroupRequest,
    SyncGroupRequest,
    LeaveGroupRequest,
    DescribeGroupsRequest,
    ListGroupsRequest,
    DeleteGroupsRequest,
    OffsetDeleteRequest,
)

#: What expiry and the end of a topic take of groups is written down in batches of so many bytes; what a request does is in one.
BATCH_BYTES_MAX, UNLIMITED = 250_000, 2**63
#: What a record takes beside key and value, at most: lengths, deltas and attributes; and a batch beside its records.
RECORD_OVERHEAD_BYTES, BATCH_OVERHEAD_BYTES = 21, 61
#: An alarm whose records could not be written rings again after so long.
RETRY_MS = 500


def new_broker(cluster_: Cluster, settings: Settings, seed: int) -> Broker:
    """A broker without topics. The same seed and the same events give the same replies."""
    return Broker(
        cluster=cluster_,
        settings=settings,
        topics=topics.Topics(),
        producer_ids=idempotence.ProducerIds(),
        sessions=Sessions(),
        parked=fetch.Parked(),
        chance=Chance(seed),
    )


def step(broker: Broker, event: Event, now: int) -> tuple[Broker, tuple[Effect, ...]]:
    """The one transition of the broker. `now` in ms."""
    match event:
        case Request():
            return handle(broker, event, now)
        case Timer(ticket):
            outcome = fetch.timed_out(broker, ticket)
            if outcome is None:
                return broker, ()
            return outcome.broker, (Reply(ticket, outcome.body, outcome.rules),)
        case Ring(alarm):
            return coordinated(broker, *group_requests.ring(broker.groups, alarm, broker.settings.groups, now))
        case Housekeeping():
            return keep_house(broker, now)
        case OffsetExpiry():
            after = group_requests.keep_house(broker.groups, broker.topics, broker.settings.groups, now)
            return with_short_logs(*coordinated(broker, *after, bytes_max=BATCH_BYTES_MAX))
        case Disconnected(connection):
            broker, tickets = fetch.gone(broker, connection)
            return broker, tuple(ClearTimer(ticket) for ticket in tickets)


def handle(broker: Broker, request: Request, now: int) -> tuple[Broker, tuple[Effect, ...]]:
    """Answer a request, or let it wait; then wake those who waited for what it did."""
    if isinstance(request.body, FetchRequest):
        return handle_fetch(broker, request, request.body, now)
    if isinstance(request.body, GROUP_REQUESTS):
        return handle_group(broker, request, now)
    outcome = HANDLERS[type(request.body)](
        seen_by(broker, request.listener), request.body, api_version=request.api_version, now=now, client_id=request.client_id
    )
    outcome = changed(outcome, broker=changed(outcome.broker, cluster=broker.cluster))
    answer: Effect = Reply(request.ticket, outcome.body, outcome.rules)
    if closes(request, outcome):
        answer = Close(request.ticket, outcome.rules)
    after, of_groups = with_groups_moved(broker, *without_offsets(broker, outcome, now))
    after, woken = wake(after, touched_by(outcome.effects))
    return after, (*outcome.effects, *of_groups, answer, *woken)


@rule("WIRE-META-16")
def seen_by(broker: Broker, listener: int) -> Broker:
    """The broker as a client sees it that came by this listener."""
    host, port = broker.cluster.endpoint(listener)
    return changed(broker, cluster=changed(broker.cluster, host=host, port=port))


@rule("LOG-PRODUCE-9", "IDEM-DUP-7")
def closes(request: Request, outcome: Outcome) -> bool:
    """With acks=0 nobody listens for an error: the end of the connection is the only way to tell."""
    return isinstance(request.body, ProduceRequest) and request.body.acks == 0 and bool(outcome.rules)


def handle_fetch(broker: Broker, request: Request, body: FetchRequest, now: int) -> tuple[Broker, tuple[Effect, ...]]:
    """Answer a fetch, or park it and set its timer."""
    result = fetch.fetch(
        broker,
        body,
        api_version=request.api_version,
        now=now,
        ticket=request.ticket,
        connection=request.connection,
        listener=request.listener,
    )
    if isinstance(result, Outcome):
        return result.broker, (Reply(request.ticket, result.body, result.rules),)
    return result, (SetTimer(request.ticket, result.parked.fetches[request.ticket].deadline_ms),)


# Groups


@rule("GROUP-MEMBER-9")
def client_host(address: str) -> str:
    """A client's address as members are told of by it: behind a slash, and as Java writes it, an IPv6 address with all of its zeros."""
    host, *zone = address.split("%")
    read = ip_address(host)
    if isinstance(read, IPv6Address):
        host = ":".join(f"{int(group, 16):x}" for group in read.exploded.split(":"))
    return "%".join((f"/{host}", *zone))


def asked_of(broker: Broker, request: Request) -> tuple[Asked, Chance]:
    """A request to groups by the names that all of them share, and the source of chance after it: a new member's id is made of chance."""
    body, chance, drawn = request.body, broker.chance, ZERO_UUID
    member_id = getattr(body, "member_id", "")
    if isinstance(body, JoinGroupRequest) and member_id == "":
        drawn, chance = chance.uuid()
    generation = body.generation_id_or_member_epoch if isinstance(body, OffsetCommitRequest) else getattr(body, "generation_id", -1)
    asked = Asked(
        request.ticket,
        request.api_version,
        getattr(body, "group_id", ""),
        body,
        member_id,
        getattr(body, "group_instance_id", None),
        generation,
        request.client_id or "",
        request.client_host,
        drawn,
    )
    return asked, chance


def handle_group(broker: Broker, request: Request, now: int) -> tuple[Broker, tuple[Effect, ...]]:
    """A request to groups, and what comes of it."""
    asked, chance = asked_of(broker, request)
    config = broker.settings.groups
    refusal = group_requests.not_coordinated(asked, broker.topics, config)
    if refusal is not None:
        return broker, (refusal,)
    groups, effects = group_requests.handle(broker.groups, asked, broker.topics, config, now)
    return coordinated(broker if chance is broker.chance else changed(broker, chance=chance), groups, effects)


def coordinated(
    broker: Broker, groups: Groups, effects: Iterable[group_requests.Effect], bytes_max: int = UNLIMITED
) -> tuple[Broker, tuple[Effect, ...]]:
    """The broker with its groups after an event. What they write down goes to the topic of offsets, a batch for each of its partitions, or more
    where one would have so many bytes; then alarms are set, and answers leave."""
    written: dict[int, list[tuple[bytes, bytes | None]]] = {}
    others: list[Effect] = []
    topic = broker.topics.by_name.get(OFFSETS_TOPIC)
    index, group_id = -1, None
    for effect in effects:
        if not isinstance(effect, Persist):
            others.append(effect)
            continue
        if effect.record.group_id != group_id:
            assert topic is not None
            group_id = effect.record.group_id
            index = group_requests.partition_of(group_id, topic.partitions)
        written.setdefault(index, []).append(group_records.encoded(effect.record))
    appends = [append for index, records in sorted(written.items()) if topic for append in appends_of(broker, (topic.topic_id, index), records, bytes_max)]
    return changed(broker, groups=groups), (*appends, *others)


@rule("GROUP-RECORD-13")
def has_moved_groups(before: Broker, after: Broker) -> bool:
    """Have partitions been added to the topic of offsets? Then groups lie elsewhere."""
    was, topic = before.topics.by_name.get(OFFSETS_TOPIC), after.topics.by_name.get(OFFSETS_TOPIC)
    return was is not None and topic is not None and topic.partitions > was.partitions


def with_groups_moved(before: Broker, after: Broker, effects: tuple[Effect, ...]) -> tuple[Broker, tuple[Effect, ...]]:
    """Groups that lie elsewhere since a request are written down there before it is answered."""
    if not has_moved_groups(before, after):
        return after, effects
    return with_short_logs(changed(after, groups=changed(after.groups, scattered=True)), effects)


@rule("GROUP-RECORD-12", "GROUP-RECORD-13")
def with_short_logs(broker: Broker, effects: tuple[Effect, ...]) -> tuple[Broker, tuple[Effect, ...]]:
    """Where the log of a partition is longer than a segment, and more than twice as long as it need be, what counts is appended anew behind the
    effects so far, and the log starts there. Where records are scattered no log can do without another: all start anew together, or none does."""
    topic, groups = broker.topics.by_name.get(OFFSETS_TOPIC), broker.groups
    if topic is None or (groups.scattered and groups.shared):
        return broker, effects
    logs = {index: broker.partitions[topic.topic_id, index] for index in range(topic.partitions)}
    due = [index for index, here in logs.items() if groups.scattered or (here.log.size_bytes > here.config.segment_bytes and index not in groups.shared)]
    found = list(effects)
    for index, counting in group_requests.written_anew(groups, due, topic.partitions).items():
        records = [group_records.encoded(one) for one in counting]
        if groups.scattered or logs[index].log.size_bytes > 2 * sum(map(bytes_of, records)):
            found += appends_of(broker, (topic.topic_id, index), records, BATCH_BYTES_MAX)
            found.append(Trim(topic.topic_id, index, logs[index].log.end))
    return changed(broker, groups=changed(groups, scattered=False)) if groups.scattered else broker, tuple(found)


def appends_of(broker: Broker, key: tuple[Uuid, int], records: list[tuple[bytes, bytes | None]], bytes_max: int) -> list[Append]:
    """The records in batches: each has one at least, and no more than make so many bytes, nor than the log takes."""
    if bytes_max == UNLIMITED:
        return [Append(*key, tuple(records))]
    config = broker.partitions[key].config
    bytes_max = min(bytes_max, config.max_message_bytes - BATCH_OVERHEAD_BYTES, config.segment_bytes - BATCH_OVERHEAD_BYTES)
    batches: list[list[tuple[bytes, bytes | None]]] = []
    room_bytes = 0
    for record in records:
        size_bytes = bytes_of(record)
        if not batches or size_bytes > room_bytes:
            batches.append([])
            room_bytes = bytes_max
        batches[-1].append(record)
        room_bytes -= size_bytes
    return [Append(*key, tuple(batch)) for batch in batches]


def bytes_of(record: tuple[bytes, bytes | None]) -> int:
    """What a record takes in a log, or a little more."""
    key, content = record
    return len(key) + len(content or b"") + RECORD_OVERHEAD_BYTES


def trimmed(broker: Broker, trim: Trim) -> Broker:
    """The broker with one log shortened from the front."""
    key = trim.topic_id, trim.partition
    here = broker.partitions[key]
    return changed(broker, partitions=broker.partitions.set(key, changed(here, log=with_start(here.log, trim.start))))


@rule("GROUP-OFFSET-8", "GROUP-FIND-5")
def without_offsets(before: Broker, outcome: Outcome, now: int) -> tuple[Broker, tuple[Effect, ...]]:
    """The broker after a request, its groups without the offsets of topics that it deleted; without groups, if it deleted the topic that they are in."""
    broker, effects = outcome.broker, list[Effect]()
    gone = [effect.topic_id for effect in outcome.effects if isinstance(effect, Forget)]
    names = {topic_id: before.topics.by_id[topic_id] for topic_id in gone}
    if OFFSETS_TOPIC in names.values():
        return changed(broker, groups=Groups()), group_requests.abandoned(broker.groups)
    for topic_id, name in names.items():
        after = group_requests.topic_deleted(broker.groups, name, topic_id, broker.settings.groups, now)
        broker, found = coordinated(broker, *after, bytes_max=BATCH_BYTES_MAX)
        effects += found
    return broker, tuple(effects)


def step_in_memory(
    broker: Broker, event: Event, now: int, store: Callable[[Broker, Append], tuple[Broker, Error, tuple[Effect, ...]]]
) -> tuple[Broker, tuple[Effect, ...]]:
    """`step` for whoever's logs are the model's: the broker's own records are in them, by `store`, which is `stored` with the batch that they are
    made into, before the other effects are done."""
    after, effects = step(broker, event, now)
    done, failed, reason = list[Effect](), list[Append](), Error.NONE
    for append in [effect for effect in effects if isinstance(effect, Append)]:
        following, error, found = store(after, append)
        if error is Error.NONE:
            after = following
            done += found
        else:
            failed.append(append)
            reason = error
    if failed:
        after, effects = not_stored(broker, after, effects, failed, event, reason, now)
    return after, (*done, *effects)


def stored(broker: Broker, append: Append, batch: SentBatch, now: int) -> tuple[Broker, Error, tuple[Effect, ...]]:
    """The broker with records of its own in a log, by the batch that they were made into; who waited for more to read is answered. Or the error."""
    after, outcome, written = produce.append(broker, (append.topic_id, append.partition), batch, now)
    if isinstance(outcome, partition.Refused):
        return after, outcome.rung.error, ()
    after, woken = wake(after, touched_by(written))
    return after, Error.NONE, (*written, *woken)


@rule("GROUP-RECORD-6")
def not_stored(
    before: Broker, after: Broker, effects: tuple[Effect, ...], failed: Sequence[Append], event: Event, error: Error, now: int
) -> tuple[Broker, tuple[Effect, ...]]:
    """What comes of an event, and its effects, if some of its records could not be appended: a request to groups is answered with the error, an
    alarm rings again later; for groups it is as if no more had happened than is in their logs, and a log that lacks something is not made short."""
    written = [record for append in effects if isinstance(append, Append) and append not in failed for record in append.records]
    groups = group_requests.as_far_as_written(before.groups, (group_records.decoded(*record) for record in written))
    is_scattered = groups.scattered or has_moved_groups(before, after)
    kept = changed(after, groups=changed(groups, scattered=is_scattered))
    lacking = {append.partition for append in failed}
    match event:
        case Request() if isinstance(event.body, DeleteGroupsRequest):
            partitions = before.topics.by_name[OFFSETS_TOPIC].partitions
            replies = [effect for effect in effects if isinstance(effect, Reply)]
            return kept, tuple(group_requests.deleted_as_written(reply, lacking, partitions, error) for reply in replies)
        case Request() if isinstance(event.body, GROUP_REQUESTS):
            asked, _ = asked_of(before, event)
            return coordinated(kept, *group_requests.not_written(kept.groups, asked, error, before.settings.groups, now))
        case Ring(alarm):
            return kept, (SetAlarm(alarm, now + RETRY_MS),)
        case _:
            left = (one for one in effects if not isinstance(one, Append))
            return kept, tuple(one for one in left if not isinstance(one, Trim) or not (is_scattered or one.partition in lacking))


def not_persisted(effects: tuple[Effect, ...]) -> tuple[Effect, ...]:
    """What is left of a request, with the broker before it, where nothing can be written down: its answer."""
    return tuple(changed(effect, body=not_kept(effect.body)) for effect in effects if isinstance(effect, Reply))


# Those who wait


def touched_by(effects: Iterable[Effect]) -> set[tuple[Uuid, int] | Uuid]:
    """The partitions, and deleted topics, that a request changed for readers."""
    touched: set[tuple[Uuid, int] | Uuid] = set()
    for effect in effects:
        match effect:
            case Write():
                touched.add((effect.topic_id, effect.partition))
            case Forget(topic_id):
                touched.add(topic_id)
            case _:
                pass
    return touched


def wake(broker: Broker, touched: set[tuple[Uuid, int] | Uuid]) -> tuple[Broker, tuple[Effect, ...]]:
    """Look again at the fetches that wait for what changed, the longest waiting first."""
    if not touched or not broker.parked.fetches:
        return broker, ()
    tickets: set[int] = set()
    for what in touched:
        if isinstance(what, tuple):
            tickets |= broker.parked.by_partition.get(what, frozenset())
        else:
            tickets |= {t for key, waiting in broker.parked.by_partition.items() if key[0] == what for t in waiting}
    effects: list[Effect] = []
    for ticket in sorted(tickets):
        outcome = fetch.reconsidered(broker, ticket)
        if outcome is not None:
            broker = outcome.broker
            effects += (ClearTimer(ticket), Reply(ticket, outcome.body, outcome.rules))
    return broker, tuple(effects)


def keep_house(broker: Broker, now: int) -> tuple[Broker, tuple[Effect, ...]]:
    """Retention and producer expiry, on every partition; who waits there waits on (LOG-FETCH-14)."""
    effects: list[Effect] = []
    expire = partition.Expire(broker.settings.producer_id_expiration_ms)
    partitions = broker.partitions
    for (topic_id, index), before in sorted(broker.partitions.items(), key=lambda entry: entry[0]):
        after, _ = partition.step(before, partition.Retain(), now)
        after, _ = partition.step(after, expire, now)
        partitions = partitions.set((topic_id, index), after)
        if after.log.first_segment != before.log.first_segment:
            effects.append(Drop(topic_id, index, first_offset_held(after)))
    return changed(broker, partitions=partitions), tuple(effects)


def first_offset_held(here: partition.Partition) -> int:
    """The base offset of the first segment that is left."""
    log = here.log
    first = log.active if log.first_segment == log.active_segment else log.sealed[log.first_segment]
    return first.base_offset
