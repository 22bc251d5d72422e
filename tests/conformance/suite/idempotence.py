"""The idempotent producer: sequences, duplicates, epochs, ids (IDEM)."""

from __future__ import annotations

from typing import Any

from fiducial.conformance.cases import (
    Case,
    MadeAnew,
    Step,
    TimePasses,
    Topic,
    case,
    delete_records,
    describe_producers,
    fetch,
    init_producer_id,
    list_offsets,
    produce,
)
from fiducial.conformance.symbols import HOUR_MS, Ago, Batch, Record
from fiducial.models import messages as m
from fiducial.models.kernels import SEQUENCE_MAX
from fiducial.models.partition import LATEST_TIMESTAMP

TWO_PARTITIONS = (("a", Topic(partitions=2)),)
APPEND_TIME = (("a", Topic((("message.timestamp.type", "LogAppendTime"),))),)


def batch(sequence: int, count: int = 1, *, epoch: int = 0, producer: int = 0, **more: Any) -> Batch:
    """Records of a producer."""
    return Batch((Record(),) * count, producer=producer, epoch=epoch, sequence=sequence, **more)


def sent(sequence: int, count: int = 1, *, epoch: int = 0, producer: int = 0, fault: str = "", **step: Any) -> Step:
    """One batch of a producer, sent."""
    return produce(batch(sequence, count, epoch=epoch, producer=producer, fault=fault), **step)


def idempotent(id: str, *story: Step, **more: Any) -> Case:
    """A story about one producer, to whom an id was given; and what is in the log in the end."""
    return case(id, *story, fetch(), **{"producers": 1, **more})


SIX = tuple(sent(sequence) for sequence in range(6))

SEQUENCES = (
    idempotent("IDEM-SEQ-1/begins-at-1000", sent(1000), sent(1001)),
    idempotent("IDEM-SEQ-2/gap", sent(0), sent(2), sent(1), sent(2)),
    idempotent("IDEM-SEQ-2/overlap", sent(0, 3), sent(2, 2), sent(3)),
    idempotent("IDEM-SEQ-3/wraps", sent(SEQUENCE_MAX), sent(0), sent(1)),
    idempotent("IDEM-SEQ-3/nothing-beyond", sent(SEQUENCE_MAX), sent(1), sent(0)),
    idempotent("IDEM-SEQ-4/straddles", sent(SEQUENCE_MAX - 1, 3), sent(SEQUENCE_MAX - 1, 3), sent(1)),
    idempotent("IDEM-SEQ-5/negative-id", sent(5, producer=-2), sent(5, producer=-2), sent(3, producer=-2), describe_producers(), producers=0),
    idempotent("IDEM-SEQ-6/refused-for-its-sequence", sent(0), sent(5), sent(1)),
    idempotent("IDEM-SEQ-6/refused-for-its-checksum", sent(0), sent(1, fault="wrong checksum"), sent(1)),
    idempotent("IDEM-SEQ-6/refused-at-first", sent(7, fault="wrong checksum"), sent(3), sent(4)),
    idempotent("IDEM-SEQ-7/two-partitions", sent(0), sent(5, index=1), sent(0, index=1), sent(1), sent(6, index=1), topics=TWO_PARTITIONS),
    idempotent("IDEM-SEQ-8/acks-1", sent(0, acks=1), sent(0), sent(2, acks=1), sent(1, acks=1)),
    idempotent("IDEM-SEQ-8/acks-0", sent(0, acks=0), sent(0), sent(1, acks=0), sent(2), also=("IDEM-DUP-7",)),
)

DUPLICATES = (
    idempotent("IDEM-DUP-1/last-five", *SIX, *(sent(sequence) for sequence in (5, 1, 3, 2, 4)), sent(6)),
    idempotent("IDEM-DUP-1/sixth", *SIX, sent(0), sent(6), also=("IDEM-SEQ-2",)),
    idempotent("IDEM-DUP-1/another-connection", *SIX, *(sent(sequence, connection=2) for sequence in range(1, 6)), sent(6, connection=2)),
    idempotent("IDEM-DUP-2/unsound", sent(0), sent(0, fault="wrong checksum"), sent(0, fault="base offset 1"), sent(0), sent(1)),
    idempotent("IDEM-DUP-3/joined", sent(0), sent(1), sent(0, 2), sent(2)),
    idempotent("IDEM-DUP-3/split", sent(0, 2), sent(0), sent(1), sent(2)),
    idempotent("IDEM-DUP-3/another-epoch", sent(0, 2), sent(2), sent(2, epoch=1), sent(0, 2, epoch=1)),
    idempotent(
        "IDEM-DUP-4/other-records",
        sent(0, 2),
        produce(Batch((Record(content=b"other"), Record(key=None)), codec=1, producer=0)),
        produce(Batch((Record(Ago(7_200_000)),) * 2, producer=0, fault="delete horizon bit")),
        sent(2),
    ),
    idempotent("IDEM-DUP-5/create-time", sent(0, 2), sent(0, 2)),
    idempotent("IDEM-DUP-5/append-time", sent(0, 2), sent(0, 2), topics=APPEND_TIME),
    idempotent(
        "IDEM-DUP-5/no-time",
        produce(Batch((Record(-1),), producer=0)),
        produce(Batch((Record(-1),), producer=0)),
        is_info=True,  # Kafka forgets such a producer as soon as it looks (IDEM-EXPIRE-1)
    ),
    idempotent("IDEM-DUP-5/log-start-has-moved", sent(0, 2), sent(2), delete_records(2), sent(0, 2)),
    idempotent("IDEM-DUP-6/no-trace", sent(0, 2), sent(2), sent(0, 2), describe_producers(), list_offsets(LATEST_TIMESTAMP), sent(3)),
    idempotent("IDEM-DUP-7/acks-0", sent(0), sent(0, acks=0), sent(1)),
)

EPOCHS = (
    idempotent("IDEM-EPOCH-1/older", sent(0, epoch=3), sent(1, epoch=2), sent(0, epoch=2), sent(1, epoch=3)),
    idempotent("IDEM-EPOCH-1/below-none", sent(0, epoch=-2), sent(0)),
    idempotent("IDEM-EPOCH-2/begins-at-1", sent(0), sent(1, epoch=1), sent(0, epoch=1), sent(1, epoch=1)),
    idempotent("IDEM-EPOCH-3/window", sent(0), sent(1), sent(0, epoch=1), sent(1), sent(0, epoch=1), sent(1, epoch=1)),
    idempotent("IDEM-EPOCH-4/no-epoch", sent(5, epoch=-1), sent(9, epoch=-1), sent(5, epoch=-1), sent(7), sent(8)),
)

#: Producers are forgotten within the time of a story.
SOON = (("producer.id.expiration.ms", 1000),)

KNOWN = (
    idempotent("IDEM-SEQ-7/made-anew", sent(0), sent(1), Step(MadeAnew("a")), sent(0), sent(2), sent(1)),
    idempotent(
        "IDEM-EXPIRE-1/silent",
        sent(0),
        sent(1),
        Step(TimePasses(1_200)),
        describe_producers(until=True),
        sent(7),
        sent(8),
        settings=SOON,
        sweep=None,
    ),
    idempotent(
        "IDEM-EXPIRE-1/old-timestamps",
        produce(Batch((Record(Ago(48 * HOUR_MS)),), producer=0)),
        Step(TimePasses(300)),
        describe_producers(until=True),
        produce(Batch((Record(Ago(48 * HOUR_MS)),), producer=0)),
        sweep=None,
        is_info=True,
        deadline_s=2.0,
    ),
    idempotent("IDEM-EXPIRE-2/delete-records", sent(0), sent(1), delete_records(-1), sent(1), sent(3), sent(2)),
    case("IDEM-ID-1/each-asker", *[init_producer_id()] * 3, topics=(), sweep=m.InitProducerIdRequest),
    case("IDEM-ID-1/asks-with-an-id", init_producer_id(), init_producer_id(producer_id=1, epoch=0), topics=(), sweep=m.InitProducerIdRequest),
    case("IDEM-ID-3/no-epoch", init_producer_id(producer_id=1), topics=(), sweep=m.InitProducerIdRequest),
    case("IDEM-ID-3/no-id", init_producer_id(epoch=1), topics=(), sweep=m.InitProducerIdRequest),
    case("IDEM-ID-5/no-coordinator", init_producer_id("fiducial-conform"), topics=(), sweep=m.InitProducerIdRequest),
    case("IDEM-ID-4/empty", init_producer_id(""), topics=(), sweep=m.InitProducerIdRequest),
    idempotent("IDEM-ID-6/never-given", sent(0, producer=1), sent(1, producer=1), sent(1, producer=1), sent(3, producer=1), producers=0),
    idempotent("IDEM-LIST-1/what-is-known", sent(0, 3), sent(9, producer=1), sent(3, acks=1), describe_producers(), producers=2),
    case("IDEM-LIST-2/invalid-name", Step(m.DescribeProducersRequest((m.DescribeProducersRequestTopicRequest("bad/name", (0,)),))), topics=(), sweep=None),
    case("IDEM-LIST-3/no-such-partition", describe_producers(index=1), sweep=None),
    case("IDEM-LIST-3/no-such-topic", describe_producers(topic="absent"), topics=(("absent", Topic(partitions=0)),), sweep=None),
    idempotent("IDEM-LIST-1/without-an-epoch", sent(5, epoch=-1), describe_producers(), sweep=None),
    idempotent("IDEM-LIST-1/of-this-partition-and-epoch", sent(0), sent(5, index=1), sent(0, 2, epoch=3), describe_producers(), describe_producers(index=1), topics=TWO_PARTITIONS, sweep=None),
)

CASES: tuple[Case, ...] = (*SEQUENCES, *DUPLICATES, *EPOCHS, *KNOWN)
