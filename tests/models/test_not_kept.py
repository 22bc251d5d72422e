"""When nothing can be written down: what was to be done gets the error, what is refused anyway its own."""

from __future__ import annotations

from typing import Any

import pytest
from samples import Bench, alter_request, batch

from fiducial.models import messages as m
from fiducial.models.config_requests import Operation, Resource
from fiducial.models.errors import Error
from fiducial.models.not_kept import not_kept

pytestmark = pytest.mark.rule("LOG-RESTART-14")

FAILED, SET = Error.KAFKA_STORAGE_ERROR, Operation.SET


@pytest.fixture
def bench() -> Bench:
    """A broker that has the topic "a", with three records."""
    bench = Bench("a")
    bench.produce("a", batch(3))
    return bench


def told(bench: Bench, request: Any, version: int) -> Any:
    """The answer to a request of which nothing can be kept."""
    return not_kept(bench.ask(request, version))


def errors(results: Any) -> list[tuple[str, int, bool]]:
    """Of each result whose it is, its error, and whether it says more."""
    return [(one.name, one.error_code, bool(one.error_message)) for one in results]


def test_topics_are_not_created(bench: Bench) -> None:
    wanted = tuple(m.CreatableTopic(name, 1, 1) for name in ("a", "b"))
    answer = told(bench, m.CreateTopicsRequest(wanted, 60_000, False), 7)
    assert sorted(errors(answer.topics)) == [("a", Error.TOPIC_ALREADY_EXISTS, True), ("b", FAILED, True)]
    (refused,) = (one for one in answer.topics if one.name == "b")
    assert (refused.num_partitions, refused.replication_factor, refused.topic_id, refused.configs) == (-1, -1, bytes(16), ())


def test_topics_are_not_deleted(bench: Bench) -> None:
    answer = told(bench, m.DeleteTopicsRequest(tuple(m.DeleteTopicState(name) for name in ("a", "b")), timeout_ms=60_000), 6)
    assert sorted(errors(answer.responses)) == [("a", FAILED, True), ("b", Error.UNKNOWN_TOPIC_OR_PARTITION, True)]


def test_partitions_are_not_added(bench: Bench) -> None:
    wanted = tuple(m.CreatePartitionsTopic(name, 2, None) for name in ("a", "b"))
    answer = told(bench, m.CreatePartitionsRequest(wanted, 60_000, False), 3)
    assert sorted(errors(answer.results)) == [("a", FAILED, True), ("b", Error.UNKNOWN_TOPIC_OR_PARTITION, False)]


def test_configurations_are_not_changed(bench: Bench) -> None:
    wanted = alter_request(Resource.TOPIC, "a", ("retention.ms", SET, "1000"))
    (altered,) = told(bench, wanted, 1).responses
    config = m.AlterConfigsRequestAlterableConfig("retention.ms", "2000")
    replaced = m.AlterConfigsRequest((m.AlterConfigsRequestResource(Resource.TOPIC, "a", (config,)),), False)
    (put,) = told(bench, replaced, 2).responses
    for one in (altered, put):
        assert (one.resource_type, one.resource_name, one.error_code, bool(one.error_message)) == (Resource.TOPIC, "a", FAILED, True)
    (refused,) = told(bench, alter_request(Resource.TOPIC, "a", ("retention.ms", SET, "soon")), 1).responses
    assert refused.error_code == Error.INVALID_CONFIG


def test_logs_do_not_start_later(bench: Bench) -> None:
    wanted = (m.DeleteRecordsPartition(0, 2), m.DeleteRecordsPartition(1, 2))
    (topic,) = told(bench, m.DeleteRecordsRequest((m.DeleteRecordsTopic("a", wanted),), 60_000), 2).topics
    assert topic.name == "a"
    assert [(one.partition_index, one.low_watermark, one.error_code) for one in topic.partitions] == [
        (0, -1, FAILED),
        (1, -1, Error.UNKNOWN_TOPIC_OR_PARTITION),
    ]


def test_no_producer_id_is_given(bench: Bench) -> None:
    answer = told(bench, m.InitProducerIdRequest(None, 1000), 4)
    assert (answer.error_code, answer.producer_id, answer.producer_epoch) == (FAILED, -1, -1)


@pytest.mark.parametrize("version", [3, 4])
def test_a_coordinator_whose_topic_cannot_be_made_is_not_available(bench: Bench, version: int) -> None:
    answer = told(bench, m.FindCoordinatorRequest("g", 0, ("g",)), version)
    (one,) = answer.coordinators if version >= 4 else (answer,)
    assert (one.error_code, one.node_id, one.host, one.port) == (Error.COORDINATOR_NOT_AVAILABLE, -1, "", -1)
    assert one.error_message and (version < 4 or one.key == "g")


def test_a_topic_that_metadata_would_make_is_not_there(bench: Bench) -> None:
    request = m.MetadataRequest((m.MetadataRequestTopic(name="a"), m.MetadataRequestTopic(name="b")), allow_auto_topic_creation=True)
    answer = bench.ask(request, 12)
    assert [(one.name, one.error_code) for one in answer.topics] == [("a", 0), ("b", Error.UNKNOWN_TOPIC_OR_PARTITION)]
    assert not_kept(answer) == answer


def test_what_changes_nothing_is_not_asked_about(bench: Bench) -> None:
    with pytest.raises(AssertionError, match="ListGroupsResponse"):
        told(bench, m.ListGroupsRequest(), 5)
