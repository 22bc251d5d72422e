"""The requests about offsets and producers of many partitions: ListOffsets, DeleteRecords, OffsetForLeaderEpoch, DescribeProducers, InitProducerId.

Each names its partitions by topic name; each partition is judged alone.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from fiducial.models import idempotence, partition
from fiducial.models.errors import Error
from fiducial.models.events import Effect, Outcome, Persist
from fiducial.models.log import Found
from fiducial.models.messages import (
    DeleteRecordsPartitionResult,
    DeleteRecordsRequest,
    DeleteRecordsResponse,
    DeleteRecordsTopicResult,
    DescribeProducersRequest,
    DescribeProducersResponse,
    InitProducerIdRequest,
    InitProducerIdResponse,
    ListOffsetsPartition,
    ListOffsetsPartitionResponse,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopicResponse,
    OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
    OffsetForLeaderEpochResponseEpochEndOffset,
    OffsetForLeaderTopicResult,
    PartitionResponse,
    ProducerState,
    TopicResponse,
)
from fiducial.models.partition import EpochEnd, LookUp, Moved, Partition, Refused
from fiducial.models.rules import Ladder, Rung, rule, rung
from fiducial.models.topics import is_internal, is_valid_name
from fiducial.models.values import ZERO_UUID, Uuid, changed

if TYPE_CHECKING:
    from fiducial.models.state import Broker


def key_of(broker: Broker, name: str, index: int) -> tuple[Uuid, int]:
    """The partition that is named; its id is zero if there is no such topic."""
    topic = broker.topics.by_name.get(name)
    return (topic.topic_id if topic else ZERO_UUID), index


def held(broker: Broker, name: str, index: int) -> Partition | None:
    """The partition that is named, None if there is none."""
    return broker.partitions.get(key_of(broker, name, index))


# ListOffsets


@rule("LOG-TIME-8")
def isolation_is_unknown(request: ListOffsetsRequest) -> bool:
    """0 is read_uncommitted, 1 read_committed; anything else spoils the request."""
    return request.isolation_level not in (partition.READ_UNCOMMITTED, partition.READ_COMMITTED)


#: Arguments: the request.
LOOK_UP_CHECK = Ladder(
    "list offsets request", [rung(isolation_is_unknown, Error.INVALID_REQUEST, also=(Error.UNKNOWN_SERVER_ERROR,))]
)


@rule("LOG-TIME-6")
def is_named_twice(times_named: int, _held: Partition | None, _asked: LookUp) -> bool:
    """One answer, an error, for a partition that is asked about twice."""
    return times_named > 1


#: The version of ListOffsets with which each special timestamp came.
SPECIAL_TIMESTAMP_SINCE = {
    partition.LATEST_TIMESTAMP: 0,
    partition.EARLIEST_TIMESTAMP: 0,
    partition.MAX_TIMESTAMP: 7,
    partition.EARLIEST_LOCAL_TIMESTAMP: 8,
    partition.LATEST_TIERED_TIMESTAMP: 9,
    partition.EARLIEST_PENDING_UPLOAD_TIMESTAMP: 11,
}


@rule("LOG-TIME-4")
def timestamp_is_not_of_version(_times_named: int, _held: Partition | None, asked: LookUp) -> bool:
    """A special timestamp newer than the request, or any other negative one."""
    return asked.timestamp < 0 and asked.api_version < SPECIAL_TIMESTAMP_SINCE.get(asked.timestamp, 1 << 15)


@rule("LOG-TIME-7")
def partition_is_unknown(_times_named: int, found: Partition | None, _asked: LookUp) -> bool:
    """No such topic or partition."""
    return found is None


#: Arguments: how often the request names the partition, the partition, what is asked of it.
LIST_OFFSETS_CHECK = Ladder(
    "list offsets of a partition",
    [
        rung(is_named_twice, Error.INVALID_REQUEST),
        rung(timestamp_is_not_of_version, Error.UNSUPPORTED_VERSION),
        rung(partition_is_unknown, Error.UNKNOWN_TOPIC_OR_PARTITION),
    ],
)


def list_offsets(
    broker: Broker, request: ListOffsetsRequest, *, api_version: int, now: int, client_id: str | None
) -> Outcome:
    """Offsets by time, or by name of a mark."""
    spoilt = LOOK_UP_CHECK.refusal(request)
    if spoilt is not None:
        refused = tuple(ListOffsetsTopicResponse(topic.name, tuple(not_found(asked, spoilt) for asked in topic.partitions)) for topic in request.topics)
        return Outcome(broker, ListOffsetsResponse(topics=refused), (spoilt.rule,))
    named = Counter((topic.name, asked.partition_index) for topic in request.topics for asked in topic.partitions)
    rules: list[str] = []
    answers: dict[str, dict[int, ListOffsetsPartitionResponse]] = {}
    for topic in request.topics:
        for asked in topic.partitions:
            times = named[topic.name, asked.partition_index]
            answer, refused_by = looked_up(broker, request, topic.name, asked, times, api_version)
            rules.extend(refused_by)
            answers.setdefault(topic.name, {})[asked.partition_index] = answer
    topics = tuple(ListOffsetsTopicResponse(name, tuple(parts.values())) for name, parts in answers.items())
    return Outcome(broker, ListOffsetsResponse(topics=topics), tuple(rules))


def looked_up(
    broker: Broker, request: ListOffsetsRequest, name: str, asked: ListOffsetsPartition, times: int, api_version: int
) -> tuple[ListOffsetsPartitionResponse, tuple[str, ...]]:
    """The answer for one partition, and the rule that refused it, if any."""
    here = held(broker, name, asked.partition_index)
    look_up = LookUp(
        asked.timestamp, api_version, request.isolation_level, request.replica_id, asked.current_leader_epoch
    )
    refusal = LIST_OFFSETS_CHECK.refusal(times, here, look_up)
    if refusal is None:
        assert here is not None
        outcome = partition.look_up(here, look_up)
        if isinstance(outcome, Found):
            answer = ListOffsetsPartitionResponse(
                asked.partition_index, Error.NONE, outcome.timestamp, outcome.offset, outcome.leader_epoch
            )
            return answer, ()
        assert isinstance(outcome, Refused)
        refusal = outcome.rung
    return not_found(asked, refusal), (refusal.rule,)


def not_found(asked: ListOffsetsPartition, refusal: Rung) -> ListOffsetsPartitionResponse:
    """The error, and nothing else."""
    return ListOffsetsPartitionResponse(asked.partition_index, refusal.error, -1, -1, -1)


# DeleteRecords


@rule("LOG-DELETE-5")
def nothing_to_delete_from(_name: str, found: Partition | None) -> bool:
    """No such topic or partition; invalid names too."""
    return found is None


@rule("LOG-DELETE-6")
def belongs_to_the_broker(name: str, _held: Partition | None) -> bool:
    """Internal topics are not for clients to empty."""
    return is_internal(name)


#: Arguments: the topic's name, the partition.
DELETE_RECORDS_CHECK = Ladder(
    "delete records from a partition",
    [
        rung(nothing_to_delete_from, Error.UNKNOWN_TOPIC_OR_PARTITION),
        rung(belongs_to_the_broker, Error.INVALID_TOPIC_EXCEPTION),
    ],
)


@rule("LOG-DELETE-7")
def delete_records(
    broker: Broker, request: DeleteRecordsRequest, *, api_version: int, now: int, client_id: str | None
) -> Outcome:
    """Raise log starts. Of a partition named twice the last entry counts; a topic without partitions gets no answer."""
    wanted = {
        (topic.name, asked.partition_index): asked.offset for topic in request.topics for asked in topic.partitions
    }
    rules: list[str] = []
    answers: dict[str, list[DeleteRecordsPartitionResult]] = {}
    for (name, index), offset in wanted.items():
        here = held(broker, name, index)
        refusal = DELETE_RECORDS_CHECK.refusal(name, here)
        if refusal is None:
            assert here is not None
            after, outcome = partition.step(here, partition.DeleteRecords(offset), now)
            if isinstance(outcome, Moved):
                broker = changed(broker, partitions=broker.partitions.set(key_of(broker, name, index), after))
                answers.setdefault(name, []).append(DeleteRecordsPartitionResult(index, outcome.offset, Error.NONE))
                continue
            assert isinstance(outcome, Refused)
            refusal = outcome.rung
        rules.append(refusal.rule)
        answers.setdefault(name, []).append(DeleteRecordsPartitionResult(index, -1, refusal.error))
    topics = tuple(DeleteRecordsTopicResult(name, tuple(parts)) for name, parts in answers.items())
    return Outcome(broker, DeleteRecordsResponse(topics=topics), tuple(rules))


# OffsetForLeaderEpoch


@rule("LOG-EPOCH-4")
def has_no_epochs(found: Partition | None) -> bool:
    """No such topic or partition."""
    return found is None


EPOCH_LOOK_UP_CHECK = Ladder(
    "offset for leader epoch of a partition", [rung(has_no_epochs, Error.UNKNOWN_TOPIC_OR_PARTITION)]
)


def offset_for_leader_epoch(
    broker: Broker, request: OffsetForLeaderEpochRequest, *, api_version: int, now: int, client_id: str | None
) -> Outcome:
    """Where leader epochs ended."""
    rules: list[str] = []
    topics: list[OffsetForLeaderTopicResult] = []
    for topic in request.topics:
        answers: list[OffsetForLeaderEpochResponseEpochEndOffset] = []
        for asked in topic.partitions:
            here = held(broker, topic.topic, asked.partition)
            refusal = EPOCH_LOOK_UP_CHECK.refusal(here)
            if refusal is None:
                assert here is not None
                outcome = partition.look_up_epoch(
                    here, partition.LookUpEpoch(asked.leader_epoch, asked.current_leader_epoch)
                )
                if isinstance(outcome, EpochEnd):
                    answers.append(
                        OffsetForLeaderEpochResponseEpochEndOffset(
                            Error.NONE, asked.partition, outcome.epoch, outcome.end_offset
                        )
                    )
                    continue
                assert isinstance(outcome, Refused)
                refusal = outcome.rung
            rules.append(refusal.rule)
            answers.append(OffsetForLeaderEpochResponseEpochEndOffset(refusal.error, asked.partition, -1, -1))
        topics.append(OffsetForLeaderTopicResult(topic.topic, tuple(answers)))
    return Outcome(broker, OffsetForLeaderEpochResponse(topics=tuple(topics)), tuple(rules))


# DescribeProducers


@rule("IDEM-LIST-2")
def name_is_invalid(name: str, _held: Partition | None) -> bool:
    """A name that no topic can have."""
    return not is_valid_name(name)


@rule("IDEM-LIST-3")
def has_no_producers(_name: str, found: Partition | None) -> bool:
    """No such topic or partition."""
    return found is None


#: Arguments: the topic's name, the partition.
DESCRIBE_PRODUCERS_CHECK = Ladder(
    "describe producers of a partition",
    [rung(name_is_invalid, Error.INVALID_TOPIC_EXCEPTION), rung(has_no_producers, Error.UNKNOWN_TOPIC_OR_PARTITION)],
)


def describe_producers(
    broker: Broker, request: DescribeProducersRequest, *, api_version: int, now: int, client_id: str | None
) -> Outcome:
    """The producers that partitions know."""
    rules: list[str] = []
    topics: list[TopicResponse] = []
    for topic in request.topics:
        answers: list[PartitionResponse] = []
        for index in topic.partition_indexes:
            here = held(broker, topic.name, index)
            refusal = DESCRIBE_PRODUCERS_CHECK.refusal(topic.name, here)
            if refusal is None:
                assert here is not None
                answers.append(PartitionResponse(index, Error.NONE, None, active_producers(here)))
            else:
                rules.append(refusal.rule)
                message = None if topic.name in broker.topics.by_name else f"no topic is called {topic.name!r}"
                answers.append(PartitionResponse(index, refusal.error, message))
        topics.append(TopicResponse(topic.name, tuple(answers)))
    return Outcome(broker, DescribeProducersResponse(topics=tuple(topics)), tuple(rules))


@rule("IDEM-LIST-1")
def active_producers(here: Partition) -> tuple[ProducerState, ...]:
    """Id, epoch, last sequence and timestamp of each producer; outside transactions, no coordinator epoch and no start offset."""
    return tuple(
        ProducerState(
            producer_id=producer_id,
            producer_epoch=entry.epoch,
            last_sequence=entry.last_sequence,
            last_timestamp=entry.window[-1].timestamp if entry.window else -1,
            coordinator_epoch=-1,
            current_txn_start_offset=-1,
        )
        for producer_id, entry in sorted(here.producers.items())
    )


# InitProducerId


@rule("IDEM-ID-3")
def half_of_the_pair_is_missing(request: InitProducerIdRequest) -> bool:
    """Producer id and epoch come both or not at all (KIP-360)."""
    return (request.producer_id == -1) != (request.producer_epoch == -1)


@rule("IDEM-ID-4")
def transactional_id_is_empty(request: InitProducerIdRequest) -> bool:
    """An empty transactional id is not the same as none."""
    return request.transactional_id == ""


@rule("IDEM-ID-5")
def asks_for_transactions(request: InitProducerIdRequest) -> bool:
    """There is no transaction coordinator here yet."""
    return request.transactional_id is not None


#: What a peer that coordinates transactions may answer.
BY_A_COORDINATOR = (
    Error.NONE,
    Error.COORDINATOR_LOAD_IN_PROGRESS,
    Error.COORDINATOR_NOT_AVAILABLE,
    Error.INVALID_PRODUCER_EPOCH,
    Error.INVALID_PRODUCER_ID_MAPPING,
    Error.INVALID_TRANSACTION_TIMEOUT,
    Error.CONCURRENT_TRANSACTIONS,
    Error.PRODUCER_FENCED,
)
INIT_PRODUCER_ID_CHECK = Ladder(
    "init producer id",
    [
        rung(transactional_id_is_empty, Error.INVALID_REQUEST),
        rung(half_of_the_pair_is_missing, Error.INVALID_REQUEST),
        rung(asks_for_transactions, Error.NOT_COORDINATOR, also=BY_A_COORDINATOR),
    ],
)


@rule("IDEM-ID-1")
def init_producer_id(
    broker: Broker, request: InitProducerIdRequest, *, api_version: int, now: int, client_id: str | None
) -> Outcome:
    """A new producer id at epoch 0, each time; an id and epoch that the request carries count only with a transactional id."""
    refusal = INIT_PRODUCER_ID_CHECK.refusal(request)
    if refusal is not None:
        return Outcome(broker, InitProducerIdResponse(0, refusal.error, -1, -1), (refusal.rule,))
    ids, effects = broker.producer_ids, list[Effect]()
    record = idempotence.reserve(ids)
    if record is not None:
        ids = idempotence.evolve(ids, record)
        effects.append(Persist(record))
    given = InitProducerIdResponse(0, Error.NONE, ids.next_id, 0)
    broker = changed(broker, producer_ids=changed(ids, next_id=ids.next_id + 1))
    return Outcome(broker, given, (), tuple(effects))
