"""The whole broker as one function: `step(broker, event, now) -> (broker, effects)`.

It only routes: a request goes to the one handler of its API; whoever waits on a partition that changed is looked at again; housekeeping goes
to every partition. What any of them decides stands in the protocol's own file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fiducial.models import (
    apis,
    cluster,
    config_requests,
    fetch,
    idempotence,
    metadata,
    offsets,
    partition,
    produce,
    topics,
)
from fiducial.models.events import (
    ClearTimer,
    Close,
    Disconnected,
    Drop,
    Effect,
    Event,
    Forget,
    Housekeeping,
    Outcome,
    Reply,
    Request,
    SetTimer,
    Timer,
    Write,
)
from fiducial.models.messages import (
    AlterConfigsRequest,
    ApiVersionsRequest,
    CreatePartitionsRequest,
    CreateTopicsRequest,
    DeleteRecordsRequest,
    DeleteTopicsRequest,
    DescribeClusterRequest,
    DescribeConfigsRequest,
    DescribeLogDirsRequest,
    DescribeProducersRequest,
    DescribeTopicPartitionsRequest,
    FetchRequest,
    FindCoordinatorRequest,
    IncrementalAlterConfigsRequest,
    InitProducerIdRequest,
    ListConfigResourcesRequest,
    ListOffsetsRequest,
    MetadataRequest,
    OffsetForLeaderEpochRequest,
    ProduceRequest,
)
from fiducial.models.rules import rule
from fiducial.models.sessions import Sessions
from fiducial.models.settings import Settings
from fiducial.models.state import Broker, Chance, Cluster
from fiducial.models.values import Uuid, changed

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
        case Housekeeping():
            return keep_house(broker, now)
        case Disconnected(connection):
            broker, tickets = fetch.gone(broker, connection)
            return broker, tuple(ClearTimer(ticket) for ticket in tickets)


def handle(broker: Broker, request: Request, now: int) -> tuple[Broker, tuple[Effect, ...]]:
    """Answer a request, or let it wait; then wake those who waited for what it did."""
    if isinstance(request.body, FetchRequest):
        return handle_fetch(broker, request, request.body, now)
    outcome = HANDLERS[type(request.body)](
        broker, request.body, api_version=request.api_version, now=now, client_id=request.client_id
    )
    answer: Effect = Reply(request.ticket, outcome.body, outcome.rules)
    if closes(request, outcome):
        answer = Close(request.ticket, outcome.rules)
    after, woken = wake(outcome.broker, touched_by(outcome.effects))
    return after, (*outcome.effects, answer, *woken)


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
    )
    if isinstance(result, Outcome):
        return result.broker, (Reply(request.ticket, result.body, result.rules),)
    return result, (SetTimer(request.ticket, result.parked.fetches[request.ticket].deadline_ms),)


def touched_by(effects: Iterable[Effect]) -> set[tuple[Uuid, int] | Uuid]:
    """The partitions, and deleted topics, that a request changed for readers."""
    touched: set[tuple[Uuid, int] | Uuid] = set()
    for effect in effects:
        match effect:
            case Write() | Drop():
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
    """Retention and producer expiry, on every partition."""
    effects: list[Effect] = []
    expire = partition.Expire(broker.settings.producer_id_expiration_ms)
    partitions = broker.partitions
    for (topic_id, index), before in sorted(broker.partitions.items(), key=lambda entry: entry[0]):
        after, _ = partition.step(before, partition.Retain(), now)
        after, _ = partition.step(after, expire, now)
        partitions = partitions.set((topic_id, index), after)
        if after.log.first_segment != before.log.first_segment:
            effects.append(Drop(topic_id, index, first_offset_held(after)))
    broker, woken = wake(changed(broker, partitions=partitions), touched_by(effects))
    return broker, (*effects, *woken)


def first_offset_held(here: partition.Partition) -> int:
    """The base offset of the first segment that is left."""
    log = here.log
    first = log.active if log.first_segment == log.active_segment else log.sealed[log.first_segment]
    return first.base_offset
