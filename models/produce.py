"""Produce: one request, many partitions, each judged alone but for what spoils the whole request (KIP-98, KIP-467).

The ladders, from the request inwards: WHOLE_REQUEST (every partition gets the error), PARTITION_CHECK (is there such a partition),
`log.REQUEST_CHECK`, TRANSACTION_CHECK, ACKS_CHECK, INTERNAL_CHECK, and, for the batch itself, `partition.produce`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fiducial.models import log, partition
from fiducial.models.batches import ATTRIBUTE_TRANSACTIONAL, NO_PRODUCER, SentBatch, SentRecords
from fiducial.models.errors import Error
from fiducial.models.events import Effect, Outcome, Write
from fiducial.models.log import REQUEST_CHECK
from fiducial.models.messages import (
    BatchIndexAndErrorMessage,
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceResponse,
)
from fiducial.models.partition import AdvanceHighWatermark, Appended, Duplicate, Refused
from fiducial.models.rules import Ladder, Rung, rule, rung
from fiducial.models.topics import is_internal
from fiducial.models.values import ZERO_UUID, Uuid, changed, value

if TYPE_CHECKING:
    from fiducial.models.state import Broker

#: A client of this id may write to internal topics, as Kafka's own tools do.
ADMIN_CLIENT_ID = "__admin_client"

#: The refusals by the log whose answer does not tell where the log starts.
WITHOUT_LOG_START = frozenset({Error.CORRUPT_MESSAGE, Error.MESSAGE_TOO_LARGE, Error.RECORD_LIST_TOO_LARGE})


@value
class Target:
    """One partition that a request names, with the records to append: the last ones given, if it is named more than once."""

    name: str
    topic_id: Uuid
    index: int
    records: SentRecords | None


@rule("LOG-PRODUCE-6")
def targets_of(request: ProduceRequest) -> tuple[Target, ...]:
    """Each partition once, in the order of first naming."""
    targets = {
        (topic.name, topic.topic_id, data.index): Target(topic.name, topic.topic_id, data.index, data.records)
        for topic in request.topic_data
        for data in topic.partition_data
    }
    return tuple(targets.values())


# What spoils the whole request


@rule("LOG-PRODUCE-12")
def begins_transactional(records: SentRecords | None) -> bool:
    """Is the first batch part of a transaction?"""
    return (
        records is not None
        and bool(records.batches)
        and records.batches[0].attributes & ATTRIBUTE_TRANSACTIONAL != 0
    )


@rule("LOG-PRODUCE-8")
def lacks_transactional_id(records: SentRecords | None, transactional_id: str | None) -> bool:
    """A batch of a transaction in a request that names none."""
    return transactional_id is None and begins_transactional(records)


@rule("LOG-BATCH-1")
def begins_unreadably(records: SentRecords | None, _transactional_id: str | None) -> bool:
    """The first header cannot be one."""
    return log.first_header_is_unreadable(records)


#: Arguments: the records of one partition, the request's transactional id. The earliest partition that is refused speaks for all.
WHOLE_REQUEST = Ladder(
    "whole request",
    [
        rung(lacks_transactional_id, Error.TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
        rung(begins_unreadably, Error.CORRUPT_MESSAGE),
    ],
)


def refusal_of_all(request: ProduceRequest) -> tuple[Rung, str | None] | None:
    """The rung that refuses every partition, with its message. The search ends at the first batch of a transaction."""
    for topic in request.topic_data:
        for data in topic.partition_data:
            refusal = WHOLE_REQUEST.refusal(data.records, request.transactional_id)
            if refusal is not None:
                return refusal, unreadable_message(data.records) if refusal.error == Error.CORRUPT_MESSAGE else None
            if begins_transactional(data.records):
                return None
    return None


def unreadable_message(records: SentRecords | None) -> str:
    """What to tell of a header that cannot be one."""
    assert records is not None
    if records.tail_magic is None:
        return "the length of a record batch is below the smallest there can be"
    return f"invalid magic found in record: {records.tail_magic}"


# What refuses one partition before its log is asked


@rule("LOG-PRODUCE-3")
def topic_id_is_unknown(_broker: Broker, target: Target, request: ProduceRequest, version: int, _client: str | None) -> bool:
    """From v13 on topics go by id (KIP-516)."""
    return version >= 13 and target.name == ""


@rule("LOG-PRODUCE-2")
def partition_is_unknown(broker: Broker, target: Target, request: ProduceRequest, version: int, _client: str | None) -> bool:
    """No such topic, an invalid name, or no such partition: Produce never creates one."""
    return (target.topic_id, target.index) not in broker.partitions


#: Arguments: the broker, the target with name and id filled in, the request, its version, the client id.
PARTITION_CHECK = Ladder(
    "produce to a partition",
    [
        rung(topic_id_is_unknown, Error.UNKNOWN_TOPIC_ID),
        rung(partition_is_unknown, Error.UNKNOWN_TOPIC_OR_PARTITION),
    ],
)


@rule("LOG-PRODUCE-10")
def transaction_is_unverified(records: SentRecords | None) -> bool:
    """A producer's batch in a transaction, which only a coordinator could confirm (KIP-890); there is none yet."""
    return begins_transactional(records) and records is not None and records.batches[0].producer_id > NO_PRODUCER


@rule("LOG-PRODUCE-4")
def topic_is_internal(target: Target, client_id: str | None) -> bool:
    """Only coordinators, and Kafka's own admin tools, write to internal topics."""
    return is_internal(target.name) and client_id != ADMIN_CLIENT_ID


@rule("LOG-PRODUCE-1")
def acks_are_invalid(request: ProduceRequest) -> bool:
    """-1, 0 or 1."""
    return request.acks not in (-1, 0, 1)


#: What a peer that coordinates transactions may answer.
BY_A_COORDINATOR = (
    Error.INVALID_PRODUCER_EPOCH,
    Error.INVALID_PRODUCER_ID_MAPPING,
    Error.INVALID_REQUEST,
    Error.INVALID_TXN_STATE,
)
#: Arguments: the records of one partition. Behind REQUEST_CHECK.
TRANSACTION_CHECK = Ladder(
    "produce in a transaction",
    [rung(transaction_is_unverified, Error.NOT_ENOUGH_REPLICAS, also=BY_A_COORDINATOR)],
)
#: Arguments: the request. Behind TRANSACTION_CHECK.
ACKS_CHECK = Ladder("acks of a produce request", [rung(acks_are_invalid, Error.INVALID_REQUIRED_ACKS)])
#: Arguments: the target, the client id. Behind ACKS_CHECK.
INTERNAL_CHECK = Ladder("produce to an internal topic", [rung(topic_is_internal, Error.INVALID_TOPIC_EXCEPTION)])


# The request


@rule("LOG-PRODUCE-5", "LOG-PRODUCE-7", "LOG-PRODUCE-11")
def produce(
    broker: Broker, request: ProduceRequest, *, api_version: int, now: int, client_id: str | None
) -> Outcome:
    """Append to each partition that can be appended to; answer each, good ones beside refused ones."""
    targets = tuple(resolved(broker, target, api_version) for target in targets_of(request))
    for_all = refusal_of_all(request)
    rules: list[str] = []
    effects: list[Effect] = []
    answers: list[PartitionProduceResponse] = []
    for target in targets:
        if for_all is not None:
            refusal, message = for_all
            answer = refused(target.index, refusal, message=message)
        else:
            broker, answer, refusal_or_none, written = produce_to(broker, target, request, api_version, now, client_id)
            effects.extend(written)
            if refusal_or_none is None:
                answers.append(answer)
                continue
            refusal = refusal_or_none
        rules.append(refusal.rule)
        answers.append(answer)
    body = None if request.acks == 0 else ProduceResponse(grouped(targets, answers))
    return Outcome(broker, body, tuple(rules), tuple(effects))


def resolved(broker: Broker, target: Target, api_version: int) -> Target:
    """The target with both its topic's name and id, as far as they are known."""
    if api_version >= 13:
        return changed(target, name=broker.topics.by_id.get(target.topic_id, ""))
    topic = broker.topics.by_name.get(target.name)
    return changed(target, topic_id=topic.topic_id if topic else ZERO_UUID)


def produce_to(
    broker: Broker, target: Target, request: ProduceRequest, api_version: int, now: int, client_id: str | None
) -> tuple[Broker, PartitionProduceResponse, Rung | None, tuple[Effect, ...]]:
    """One partition: the broker after it, the answer, the rung that refused if any, and the write."""
    refusal = (
        PARTITION_CHECK.refusal(broker, target, request, api_version, client_id)
        or REQUEST_CHECK.refusal(target.records, api_version)
        or TRANSACTION_CHECK.refusal(target.records)
        or ACKS_CHECK.refusal(request)
        or INTERNAL_CHECK.refusal(target, client_id)
    )
    if refusal is not None:
        message = "there is no transaction coordinator" if refusal in TRANSACTION_CHECK.rungs else None
        return broker, refused(target.index, refusal, message=message), refusal, ()
    assert target.records is not None
    broker, outcome, written = append(broker, (target.topic_id, target.index), target.records.batches[0], now)
    start = broker.partitions[target.topic_id, target.index].log.start
    match outcome:
        case Refused(refusal, errors):
            shown_start = -1 if refusal.error in WITHOUT_LOG_START else start
            return broker, refused(target.index, refusal, log_start=shown_start, errors=errors), refusal, ()
        case Duplicate(before):
            return broker, accepted(target.index, before.base_offset, before.timestamp, start), None, ()
        case Appended(base_offset, plan):
            append_time = plan.max_timestamp if plan.has_append_time else -1
            return broker, accepted(target.index, base_offset, append_time, start), None, written
    raise AssertionError(f"{outcome} is no outcome of an append")


def append(broker: Broker, key: tuple[Uuid, int], batch: SentBatch, now: int) -> tuple[Broker, partition.Outcome, tuple[Write, ...]]:
    """A batch to the log of a partition, a client's or the broker's own; what is in the log is committed."""
    after, outcome = partition.step(broker.partitions[key], partition.Produce(batch), now)
    written: tuple[Write, ...] = ()
    if isinstance(outcome, Appended):
        after, _ = partition.step(after, AdvanceHighWatermark(partition.replicated_end(after)), now)
        plan = outcome.plan
        written = (Write(*key, outcome.base_offset, after.leader_epoch, plan.has_append_time, plan.max_timestamp, plan.payload),)
    return changed(broker, partitions=broker.partitions.set(key, after)), outcome, written


@rule("LOG-APPEND-7", "IDEM-DUP-5")
def accepted(index: int, base_offset: int, append_time: int, log_start: int) -> PartitionProduceResponse:
    """The answer to a batch that is in the log: now, or since it was first sent."""
    return PartitionProduceResponse(index, Error.NONE, base_offset, append_time, log_start)


@rule("LOG-BATCH-22")
def refused(
    index: int,
    refusal: Rung,
    *,
    log_start: int = -1,
    errors: tuple[log.RecordError, ...] = (),
    message: str | None = None,
) -> PartitionProduceResponse:
    """The answer to a batch that was refused; a message only where records are named, for an unreadable header, or for want of a coordinator."""
    record_errors = tuple(BatchIndexAndErrorMessage(error.index, error.message) for error in errors)
    if errors:
        message = f"{len(errors)} of the records refused: {errors[0].message}"
    return PartitionProduceResponse(index, refusal.error, -1, -1, log_start, record_errors, message)


def grouped(
    targets: tuple[Target, ...], answers: list[PartitionProduceResponse]
) -> tuple[TopicProduceResponse, ...]:
    """The answers by topic."""
    by_topic: dict[tuple[str, Uuid], list[PartitionProduceResponse]] = {}
    for target, answer in zip(targets, answers, strict=True):
        by_topic.setdefault((target.name, target.topic_id), []).append(answer)
    return tuple(TopicProduceResponse(name, topic_id, tuple(parts)) for (name, topic_id), parts in by_topic.items())
