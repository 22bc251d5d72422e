"""What others have in a cluster makes no difference, but only where an answer is to tell of all that there is."""

from __future__ import annotations

from typing import Any

import pytest

from fiducial.conformance.abstraction import Abstraction, Difference, differences
from fiducial.conformance.others import SOMEBODY_ELSES, without_others
from fiducial.conformance.symbols import View
from fiducial.models import messages as m
from fiducial.models.config_requests import Resource
from fiducial.models.settings import TOPIC

VIEW = View(0, {"a": "conform-a", "b": "conform-b"})
UNKNOWN = 3


def apart(ours: Any, theirs: Any) -> list[Difference]:
    """Where two answers differ that is the story's business."""
    abstract = Abstraction(VIEW)
    return list(differences(*without_others(abstract.of(ours), abstract.of(theirs), VIEW.names)))


def metadata(*topics: str, nodes: tuple[int, ...] = (1,), controller: int = 1) -> m.MetadataResponse:
    """An answer about these topics."""
    brokers = tuple(m.MetadataResponseBroker(node, "here", 9092) for node in nodes)
    return m.MetadataResponse(0, brokers, "it", controller, tuple(m.MetadataResponseTopic(name=name) for name in topics))


def pages(*topics: str) -> m.DescribeTopicPartitionsResponse:
    """The same of DescribeTopicPartitions."""
    return m.DescribeTopicPartitionsResponse(0, tuple(m.DescribeTopicPartitionsResponseTopic(name=name) for name in topics))


def folders(*topics: str) -> m.DescribeLogDirsResponse:
    """The same of DescribeLogDirs, each topic in a folder of its own."""
    parts = (m.DescribeLogDirsPartition(0),)
    return m.DescribeLogDirsResponse(0, 0, tuple(m.DescribeLogDirsResult(0, "a folder", (m.DescribeLogDirsTopic(name, parts),)) for name in topics))


def resources(*names: str, kind: int = Resource.TOPIC) -> m.ListConfigResourcesResponse:
    """The same of ListConfigResources."""
    return m.ListConfigResourcesResponse(0, 0, tuple(m.ConfigResource(name, kind) for name in names))


@pytest.mark.parametrize("answer", [metadata, pages, folders, resources])
def test_topics_of_others_do_not_count_where_all_are_told(answer: Any) -> None:
    assert not apart(answer("conform-a", SOMEBODY_ELSES), answer("theirs", "conform-a", "more"))
    assert apart(answer("conform-a", SOMEBODY_ELSES), answer("theirs"))
    assert apart(answer("conform-a", SOMEBODY_ELSES), answer("conform-a", "conform-b")), "a topic of the story that should be gone"
    assert apart(answer("conform-a"), answer("conform-a", "theirs")), "these alone were asked about"


def test_one_broker_is_judged_and_any_may_be_the_controller() -> None:
    assert not apart(metadata(), metadata(nodes=(1, 2, 3), controller=3))
    assert [one.place for one in apart(metadata(), metadata(nodes=(1, 2), controller=9))] == ["controller_id"]
    assert [one.place for one in apart(metadata(nodes=()), metadata(nodes=(1,)))] == ["brokers"]
    ours, theirs = (m.DescribeClusterResponse(brokers=tuple(map(m.DescribeClusterBroker, nodes)), controller_id=nodes[-1]) for nodes in ((1,), (1, 2)))
    assert not apart(ours, theirs)


def test_the_order_of_topics_is_free_but_for_errors() -> None:
    def answered(*topics: tuple[str, int]) -> m.MetadataResponse:
        return m.MetadataResponse(topics=tuple(m.MetadataResponseTopic(error, name) for name, error in topics))

    ours = answered(("a", 0), ("b", 0), ("c", UNKNOWN), ("d", UNKNOWN))
    assert not apart(ours, answered(("b", 0), ("a", 0), ("d", UNKNOWN), ("c", UNKNOWN)))
    assert apart(ours, answered(("a", 0), ("c", UNKNOWN), ("b", 0), ("d", UNKNOWN))) == [Difference("topics in error", "last", "in between")]


def versions(*entries: tuple[int, int, int], error: int = 0) -> m.ApiVersionsResponse:
    """An ApiVersions answer."""
    return m.ApiVersionsResponse(error, tuple(m.ApiVersion(*entry) for entry in entries))


def test_a_broker_may_serve_fewer_apis_and_more_but_says_the_same_again() -> None:
    ours, theirs = View(0, advertised={0: (0, 13), 1: (4, 18), 18: (0, 4)}), View(0, advertised={0: (0, 7), 18: (0, 3), 99: (0, 0)})

    def apart_then(served: m.ApiVersionsResponse, said: m.ApiVersionsResponse) -> list[str]:
        pair = without_others(Abstraction(ours).of(served), Abstraction(theirs).of(said), ())
        return [one.place for one in differences(*pair)]

    served = versions((0, 0, 13), (1, 4, 18), (18, 0, 4))
    assert not apart_then(served, versions((0, 0, 7), (18, 0, 3), (99, 0, 0)))
    assert "api_keys[0].max_version" in apart_then(served, versions((0, 0, 8), (18, 0, 3)))
    assert "keys" in apart_then(served, versions((18, 0, 3), (0, 0, 7)))
    assert apart_then(versions((18, 0, 4), error=35), versions((0, 0, 7), (18, 0, 3), error=35)) == ["api_keys"]


def described(*names: str, kind: int = Resource.TOPIC) -> m.DescribeConfigsResponse:
    """A DescribeConfigs answer."""
    return m.DescribeConfigsResponse(results=(m.DescribeConfigsResult(resource_type=kind, configs=tuple(m.DescribeConfigsResourceResult(name) for name in names)),))


def test_a_broker_may_have_more_configurations_but_tells_of_those_it_is_asked_about() -> None:
    assert not apart(described(*TOPIC), described(*TOPIC, "of.its.own"))
    assert apart(described(*TOPIC), described(*list(TOPIC)[1:]))
    assert apart(described("retention.ms"), described("retention.ms", "of.its.own"))
    assert not apart(described(kind=Resource.BROKER_LOGGER), described("root", kind=Resource.BROKER_LOGGER))


def test_client_metrics_groups_and_other_brokers_do_not_count() -> None:
    one = resources("1", kind=Resource.BROKER)
    assert not apart(one, m.ListConfigResourcesResponse(0, 0, (*one.config_resources, m.ConfigResource("2", Resource.BROKER), m.ConfigResource("g", Resource.GROUP))))
    assert apart(resources("conform-a"), m.ListConfigResourcesResponse(0, 0, (m.ConfigResource("conform-a", Resource.TOPIC), m.ConfigResource("1", Resource.BROKER))))


def placed(leader: int, replicas: tuple[int, ...], in_sync: tuple[int, ...] | None = None, nodes: tuple[int, ...] = (1, 2)) -> m.MetadataResponse:
    """A Metadata answer about one partition."""
    partition = m.MetadataResponsePartition(0, 0, leader, 0, replicas, replicas if in_sync is None else in_sync)
    return m.MetadataResponse(brokers=tuple(map(m.MetadataResponseBroker, nodes)), topics=(m.MetadataResponseTopic(name="conform-a", partitions=(partition,)),))


@pytest.mark.parametrize(
    ("theirs", "is_the_same"),
    [
        pytest.param(placed(2, (2,)), True, id="on the other broker"),
        pytest.param(placed(2, (2,), nodes=(1,)), False, id="on a broker that there is not"),
        pytest.param(placed(1, (2,)), False, id="led from where it does not lie"),
        pytest.param(placed(2, (2, 1)), False, id="on one broker more"),
        pytest.param(placed(2, (2,), ()), False, id="not in sync"),
    ],
)
def test_in_a_cluster_of_several_a_topic_may_lie_on_any(theirs: m.MetadataResponse, is_the_same: bool) -> None:
    assert bool(apart(placed(1, (1,), nodes=(1,)), theirs)) is not is_the_same
