"""ListOffsets, DeleteRecords, OffsetForLeaderEpoch, DescribeProducers and InitProducerId as requests."""

from __future__ import annotations

import pytest
from samples import NOW, Bench, batch, idempotent

from fiducial.models.errors import Error
from fiducial.models.events import Drop, Housekeeping, Persist
from fiducial.models.messages import (
    DeleteRecordsPartition,
    DeleteRecordsPartitionResult,
    DeleteRecordsRequest,
    DeleteRecordsTopic,
    DescribeProducersRequest,
    DescribeProducersRequestTopicRequest,
    InitProducerIdRequest,
    ListOffsetsPartition,
    ListOffsetsPartitionResponse,
    ListOffsetsRequest,
    ListOffsetsTopic,
    OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponseEpochEndOffset,
    OffsetForLeaderPartition,
    OffsetForLeaderTopic,
)


def listed(bench: Bench, *asked: tuple[str, int, int]) -> list[ListOffsetsPartitionResponse]:
    topics = tuple(ListOffsetsTopic(name, (ListOffsetsPartition(index, timestamp=time),)) for name, index, time in asked)
    body = bench.ask(ListOffsetsRequest(-1, 0, topics, 1000), 11)
    return [part for topic in body.topics for part in topic.partitions]


@pytest.mark.rule("LOG-TIME-1")
def test_offsets_are_listed() -> None:
    bench = Bench("a")
    bench.produce("a", batch(2))
    (found,) = listed(bench, ("a", 0, NOW))
    assert (found.error_code, found.offset, found.timestamp, found.leader_epoch) == (0, 0, NOW, 0)


@pytest.mark.rule("LOG-TIME-4")
@pytest.mark.parametrize(("timestamp", "since"), [(-3, 7), (-4, 8), (-5, 9), (-6, 11), (-7, 99)])
def test_special_timestamps_have_a_version(timestamp: int, since: int) -> None:
    """Also of a partition that there is not."""
    bench = Bench("a")
    for name in ("a", "absent"):
        request = ListOffsetsRequest(-1, 0, (ListOffsetsTopic(name, (ListOffsetsPartition(0, -1, timestamp),)),), 0)
        for version in range(1, 12):
            (topic,) = bench.ask(request, version).topics
            assert (topic.partitions[0].error_code == Error.UNSUPPORTED_VERSION) == (version < since)


@pytest.mark.rule("LOG-TIME-8")
@pytest.mark.parametrize("name", ["a", "absent"])
def test_an_unknown_isolation_level_refuses_a_lookup(name: str) -> None:
    bench = Bench("a")
    request = ListOffsetsRequest(-1, 2, (ListOffsetsTopic(name, (ListOffsetsPartition(0, -1, -1),) * 2),), 0)
    assert [part.error_code for part in bench.ask(request, 11).topics[0].partitions] == [Error.INVALID_REQUEST] * 2


@pytest.mark.rule("LOG-FETCH-5")
def test_a_lookup_takes_only_minus_one_for_no_epoch() -> None:
    bench = Bench("a")
    for epoch, error in ((-1, 0), (0, 0), (-5, Error.FENCED_LEADER_EPOCH), (1, Error.UNKNOWN_LEADER_EPOCH)):
        request = ListOffsetsRequest(-1, 0, (ListOffsetsTopic("a", (ListOffsetsPartition(0, epoch, -1),)),), 0)
        assert bench.ask(request, 11).topics[0].partitions[0].error_code == error


@pytest.mark.rule("LOG-TIME-6", "LOG-TIME-7")
def test_a_partition_is_named_once_and_exists() -> None:
    bench = Bench("a")
    assert [part.error_code for part in listed(bench, ("a", 0, -1), ("a", 0, -2))] == [Error.INVALID_REQUEST]
    assert [part.error_code for part in listed(bench, ("a", 1, -1), ("b", 0, -1))] == [Error.UNKNOWN_TOPIC_OR_PARTITION] * 2
    assert [part.error_code for part in listed(bench, ("b", 0, -1), ("b", 0, -1))] == [Error.INVALID_REQUEST]


def deleted(bench: Bench, *wanted: tuple[str, int, int]) -> list[DeleteRecordsPartitionResult]:
    topics = tuple(DeleteRecordsTopic(name, (DeleteRecordsPartition(index, offset),)) for name, index, offset in wanted)
    body = bench.ask(DeleteRecordsRequest(topics, 1000), 2)
    return [part for topic in body.topics for part in topic.partitions]


@pytest.mark.rule("LOG-DELETE-4", "LOG-DELETE-7")
def test_the_last_entry_for_a_partition_counts() -> None:
    bench = Bench("a")
    bench.produce("a", batch(5))
    assert deleted(bench, ("a", 0, 1), ("a", 0, 3)) == [DeleteRecordsPartitionResult(0, 3, 0)]
    assert bench.ask(DeleteRecordsRequest((DeleteRecordsTopic("a", ()),), 1000), 2).topics == ()


@pytest.mark.rule("LOG-DELETE-5", "LOG-DELETE-6")
def test_nothing_to_delete_from() -> None:
    bench = Bench("a", "__consumer_offsets")
    assert deleted(bench, ("b", 0, 0), ("a", 9, 0), ("a/b", 0, 0)) == [
        DeleteRecordsPartitionResult(0, -1, 3),
        DeleteRecordsPartitionResult(9, -1, 3),
        DeleteRecordsPartitionResult(0, -1, 3),
    ]
    assert deleted(bench, ("__consumer_offsets", 0, 0)) == [DeleteRecordsPartitionResult(0, -1, 17)]


@pytest.mark.rule("LOG-EPOCH-3", "LOG-EPOCH-4")
def test_epoch_ends_are_told() -> None:
    bench = Bench("a")
    bench.produce("a", batch(5))
    topics = tuple(OffsetForLeaderTopic(name, (OffsetForLeaderPartition(0, -1, 0),)) for name in ("a", "b"))
    body = bench.ask(OffsetForLeaderEpochRequest(-1, topics), 4)
    assert [part for topic in body.topics for part in topic.partitions] == [
        OffsetForLeaderEpochResponseEpochEndOffset(0, 0, 0, 5),
        OffsetForLeaderEpochResponseEpochEndOffset(3, 0, -1, -1),
    ]


@pytest.mark.rule("IDEM-LIST-1", "IDEM-LIST-2", "IDEM-LIST-3")
def test_producers_are_described() -> None:
    bench = Bench("a")
    bench.produce("a", idempotent(0, 3, epoch=2))
    topics = tuple(DescribeProducersRequestTopicRequest(name, (0, 5)) for name in ("a", "b", "a/b"))
    body = bench.ask(DescribeProducersRequest(topics), 0)
    (known, no_partition), (no_topic, _), (no_name, _) = (topic.partitions for topic in body.topics)
    (producer,) = known.active_producers
    assert (producer.producer_id, producer.producer_epoch, producer.last_sequence, producer.last_timestamp) == (7, 2, 2, NOW)
    assert (producer.coordinator_epoch, producer.current_txn_start_offset) == (-1, -1)
    assert (no_partition.error_code, no_partition.error_message) == (3, None)
    assert no_topic.error_code == 3 and no_topic.error_message
    assert no_name.error_code == 17


def given(bench: Bench, **fields: object) -> tuple[int, int, int]:
    body = bench.ask(InitProducerIdRequest(**({"producer_id": -1, "producer_epoch": -1, "transactional_id": None} | fields)), 5)  # type: ignore[arg-type]
    return body.error_code, body.producer_id, body.producer_epoch


@pytest.mark.rule("IDEM-ID-1")
def test_each_asker_gets_a_new_id_at_epoch_0() -> None:
    bench = Bench()
    assert [given(bench), given(bench), given(bench, producer_id=0, producer_epoch=3)] == [(0, 0, 0), (0, 1, 0), (0, 2, 0)]


@pytest.mark.rule("IDEM-ID-2")
def test_a_block_of_ids_is_made_durable_first() -> None:
    bench = Bench()
    given(bench)
    assert any(isinstance(effect, Persist) for effect in bench.effects)
    given(bench)
    assert not any(isinstance(effect, Persist) for effect in bench.effects)


@pytest.mark.rule("IDEM-ID-3", "IDEM-ID-4", "IDEM-ID-5")
@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"producer_id": 5}, Error.INVALID_REQUEST),
        ({"producer_epoch": 5}, Error.INVALID_REQUEST),
        ({"transactional_id": ""}, Error.INVALID_REQUEST),
        ({"transactional_id": "t"}, Error.NOT_COORDINATOR),
    ],
)
def test_what_is_refused(fields: dict[str, object], error: Error) -> None:
    assert given(Bench(), **fields) == (error, -1, -1)


@pytest.mark.rule("LOG-RETAIN-1", "IDEM-EXPIRE-1")
def test_housekeeping_reaches_every_partition() -> None:
    bench = Bench("a", partitions=2, retention_ms="1000")
    for index in range(2):
        bench.produce("a", idempotent(0), index=index)
    bench.now += 86_400_000
    bench.happens(Housekeeping())
    assert {effect.partition for effect in bench.effects if isinstance(effect, Drop)} == {0, 1}
    assert all(here.log.start == 1 and not here.producers for here in bench.broker.partitions.values())
