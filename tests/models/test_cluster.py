"""The broker about itself: which cluster it is in, who coordinates, and how large its logs are."""

from __future__ import annotations

from typing import Any

import pytest
from samples import Bench, batch, falls_through

from fiducial.models.broker import step
from fiducial.models.errors import Error
from fiducial.models.events import Reply, Request
from fiducial.models.messages import (
    DeleteRecordsPartition,
    DeleteRecordsRequest,
    DeleteRecordsTopic,
    DescribableLogDirTopic,
    DescribeClusterBroker,
    DescribeClusterRequest,
    DescribeClusterResponse,
    DescribeLogDirsPartition,
    DescribeLogDirsRequest,
    DescribeLogDirsTopic,
    FetchPartition,
    FetchRequest,
    FetchTopic,
    FindCoordinatorRequest,
    MetadataRequest,
)
from fiducial.models.state import Cluster
from fiducial.models.topics import OFFSETS_TOPIC
from fiducial.models.values import changed

NOT_ASKED = -2147483648

# DescribeCluster


@pytest.mark.rule("WIRE-CLUSTER-3")
def test_what_is_told_of_the_cluster() -> None:
    bench = Bench()
    bench.broker = changed(bench.broker, cluster=Cluster("the-cluster", 7, "here", 1234, "rack"))
    brokers = (DescribeClusterBroker(7, "here", 1234, "rack", False),)
    for asks, operations in ((True, 8096), (False, NOT_ASKED)):
        body = bench.ask(DescribeClusterRequest(asks, 1, False), 2)
        assert body == DescribeClusterResponse(0, Error.NONE, None, 1, "the-cluster", 7, brokers, operations)


@pytest.mark.rule("WIRE-CLUSTER-1", "WIRE-CLUSTER-2", "WIRE-CLUSTER-3")
@pytest.mark.parametrize(
    ("endpoint_type", "error"),
    [(2, Error.MISMATCHED_ENDPOINT_TYPE), (0, Error.UNSUPPORTED_ENDPOINT_TYPE), (3, Error.UNSUPPORTED_ENDPOINT_TYPE)],
)
def test_other_endpoints_are_told_nothing(endpoint_type: int, error: Error) -> None:
    body = Bench().ask(DescribeClusterRequest(True, endpoint_type, True), 2)
    assert body.error_message
    assert changed(body, error_message=None) == DescribeClusterResponse(0, error, None, 1, "", -1, (), NOT_ASKED)
    rule = "WIRE-CLUSTER-1" if endpoint_type == 2 else "WIRE-CLUSTER-2"
    assert Bench().refused(DescribeClusterRequest(True, endpoint_type, True), 2) == (rule,)


# Who is told what


@pytest.mark.rule("WIRE-META-16")
@pytest.mark.parametrize(("listener", "endpoint"), [(0, ("inside", 9092)), (1, ("outside", 19092)), (2, ("far", 1))])
def test_who_comes_by_a_listener_is_told_of_its_address(listener: int, endpoint: tuple[str, int]) -> None:
    bench = Bench("a", OFFSETS_TOPIC)
    cluster = Cluster("the-cluster", 1, "inside", 9092, others=(("outside", 19092), ("far", 1)))
    bench.broker = changed(bench.broker, cluster=cluster)

    def told(request: object, version: int) -> Any:
        bench.broker, (reply,) = step(bench.broker, Request(1, 1, "test", version, request, "", listener), bench.now)
        assert isinstance(reply, Reply) and bench.broker.cluster == cluster
        return reply.body

    fenced = FetchTopic(topic_id=bench.id_of("a"), partitions=(FetchPartition(),))
    answers = [
        *told(MetadataRequest(()), 13).brokers,
        *told(DescribeClusterRequest(), 2).brokers,
        *told(FindCoordinatorRequest(coordinator_keys=("a", "b")), 4).coordinators,
        told(FindCoordinatorRequest("a"), 3),
        *told(led_elsewhere(bench, fenced), 16).node_endpoints,
    ]
    assert [(one.host, one.port) for one in answers] == [endpoint] * 6


def led_elsewhere(bench: Bench, topic: FetchTopic) -> FetchRequest:
    """A fetch by an epoch that is over, which tells who leads."""
    key = (topic.topic_id, 0)
    led = changed(bench.broker.partitions[key], leader_epoch=1)
    bench.broker = changed(bench.broker, partitions=bench.broker.partitions.set(key, led))
    asked = changed(topic.partitions[0], current_leader_epoch=0)
    return FetchRequest(topics=(changed(topic, partitions=(asked,)),))


# FindCoordinator


@pytest.mark.rule("WIRE-CLUSTER-4", "WIRE-CLUSTER-5", "WIRE-CLUSTER-7")
@pytest.mark.parametrize("version", range(7))
@pytest.mark.parametrize("key_type", [-1, 0, 1, 2, 3])
def test_a_group_has_a_coordinator_and_nothing_else_yet(version: int, key_type: int) -> None:
    errors = {0: Error.NONE, 1: Error.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, 2: Error.COORDINATOR_NOT_AVAILABLE if version >= 6 else Error.INVALID_REQUEST}
    body = Bench().ask(FindCoordinatorRequest("k", key_type, ("k",)), version)
    assert (body.coordinators[0] if version >= 4 else body).error_code == errors.get(key_type, Error.INVALID_REQUEST)


@pytest.mark.rule("WIRE-CLUSTER-7")
def test_who_asks_for_transactions_is_told_that_there_are_none() -> None:
    body = Bench().ask(FindCoordinatorRequest("k", 1), 3)
    assert (body.error_code, body.error_message) == (Error.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "this broker serves no transactions")


@pytest.mark.rule("WIRE-CLUSTER-4", "WIRE-CLUSTER-5", "WIRE-CLUSTER-7")
def test_a_fault_of_a_coordinators_key_wins_over_its_absence() -> None:
    bench, request = Bench(), FindCoordinatorRequest("k", 3)
    of_transactions = FindCoordinatorRequest("k", 1)
    falls_through(
        lambda: (bench.refused(of_transactions, 3), bench.ask(of_transactions, 3).error_code),
        ("WIRE-CLUSTER-7", Error.TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
        ("WIRE-CLUSTER-5", Error.COORDINATOR_NOT_AVAILABLE),
    )

    def refusal() -> tuple[tuple[str, ...], int]:
        return bench.refused(request, 3), bench.ask(request, 3).error_code

    falls_through(refusal, ("WIRE-CLUSTER-4", Error.INVALID_REQUEST), ("WIRE-CLUSTER-5", Error.COORDINATOR_NOT_AVAILABLE))


@pytest.mark.rule("WIRE-CLUSTER-6")
def test_each_key_is_answered() -> None:
    bench = Bench()
    one = bench.ask(FindCoordinatorRequest("k", 1), 3)
    assert (one.node_id, one.host, one.port, one.coordinators) == (-1, "", -1, ()) and one.error_message
    many = bench.ask(FindCoordinatorRequest("", 1, ("b", "a", "b")), 4)
    assert [coordinator.key for coordinator in many.coordinators] == ["b", "a", "b"]
    assert {(found.node_id, found.host, found.port, found.error_code) for found in many.coordinators} == {(-1, "", -1, 53)}
    assert all(coordinator.error_message for coordinator in many.coordinators)
    assert bench.ask(FindCoordinatorRequest("k", 1, ()), 4).coordinators == ()
    assert bench.refused(FindCoordinatorRequest("", 1, ("b", "a")), 4) == ("WIRE-CLUSTER-7",) * 2
    assert bench.refused(FindCoordinatorRequest("k", 1, ("b", "a")), 3) == ("WIRE-CLUSTER-7",)


@pytest.mark.rule("WIRE-CLUSTER-6", "GROUP-FIND-2")
def test_a_group_is_coordinated_here() -> None:
    bench = Bench()
    one = bench.ask(FindCoordinatorRequest("g", 0), 3)
    assert (one.error_code, one.error_message, one.node_id, one.host, one.port) == (0, "NONE", 1, "127.0.0.1", 9092)
    many = bench.ask(FindCoordinatorRequest("", 0, ("b", "a", "b")), 4)
    assert [(found.key, found.error_code, found.error_message, found.node_id, found.host, found.port) for found in many.coordinators] == [
        (key, 0, "", 1, "127.0.0.1", 9092) for key in ("b", "a", "b")
    ]


# DescribeLogDirs


def dirs(bench: Bench, *wanted: tuple[str, tuple[int, ...]] | None) -> tuple[DescribeLogDirsTopic, ...]:
    """The topics of the one directory; None asks for all."""
    topics = None if None in wanted else tuple(DescribableLogDirTopic(*topic) for topic in wanted if topic)
    body = bench.ask(DescribeLogDirsRequest(topics), 5)
    (found,) = body.results
    assert (body.error_code, found.error_code, found.log_dir, found.is_cordoned) == (0, 0, "memory", False)
    assert (found.total_bytes, found.usable_bytes) == (-1, -1)
    topics_found: tuple[DescribeLogDirsTopic, ...] = found.topics
    return topics_found


@pytest.mark.rule("WIRE-DIRS-1")
def test_how_large_the_logs_are() -> None:
    bench = Bench("a", partitions=2)
    bench.produce("a", batch(size_bytes=100), batch(size_bytes=130), index=1)
    sizes = (DescribeLogDirsPartition(1, 230, 0, False), DescribeLogDirsPartition(0, 0, 0, False))
    assert dirs(bench, ("a", (1, 0, 1, 7)), ("q", (0,))) == (DescribeLogDirsTopic("a", sizes),)
    assert dirs(bench, ("a", (7, -1)), ("q", (0,))) == ()
    bench.ask(DeleteRecordsRequest((DeleteRecordsTopic("a", (DeleteRecordsPartition(1, 2),)),), 1000), 2)
    assert dirs(bench, ("a", (1,)))[0].partitions[0].partition_size == 230


@pytest.mark.rule("WIRE-DIRS-2")
def test_which_logs_are_meant() -> None:
    bench = Bench("a", "b", partitions=2)

    def meant(*wanted: tuple[str, tuple[int, ...]] | None) -> dict[str, list[int]]:
        return {topic.name: [one.partition_index for one in topic.partitions] for topic in dirs(bench, *wanted)}

    assert meant(None) == {"a": [0, 1], "b": [0, 1]}
    assert meant() == {}
    assert meant(("a", ())) == {}
    assert meant(("a", (1,)), ("b", (0,)), ("a", (0, 1))) == {"a": [1, 0], "b": [0]}
