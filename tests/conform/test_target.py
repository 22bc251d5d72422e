"""Getting ready for a story at any broker: one of several nodes, defaults that are not told, ids that take a moment."""

from __future__ import annotations

from typing import Any

import pytest

from conform.brokers import Broker, serving, without_api
from fiducial.conformance import codec
from fiducial.conformance.cases import Topic
from fiducial.conformance.target import SetupFailed, SetupRefused, Target
from fiducial.models import messages as m
from fiducial.models.errors import Error
from fiducial.models.settings import parse
from fiducial.models.values import changed

METADATA, INIT_PRODUCER_ID, DESCRIBE_CONFIGS = 3, 22, 32


def target_of(broker: Broker) -> Target:
    """A broker to be judged."""
    return Target(broker.host, broker.port)


def test_only_versions_that_both_know_are_used() -> None:
    def advertises(api_key: int, version: int, message: Any) -> Any:
        if api_key != 18:
            return message
        return m.ApiVersionsResponse(0, (m.ApiVersion(0, 0, 5), m.ApiVersion(1, 17, 99), m.ApiVersion(2, 50, 60), m.ApiVersion(3, 0, 13), m.ApiVersion(999, 0, 0)))

    with serving(advertises) as broker:
        found = target_of(broker)
    assert found.versions == {0: range(3, 6), 1: range(17, 19), 3: range(14)}
    assert found.newest(0) == 5 and not found.serves(2)


def test_of_several_nodes_the_one_at_the_address_gets_all_partitions() -> None:
    def has_a_neighbour(api_key: int, version: int, message: Any) -> Any:
        neighbour = m.MetadataResponseBroker(2, "elsewhere", 1)
        return changed(message, brokers=(neighbour, *message.brokers)) if api_key == METADATA else message

    with serving(has_a_neighbour) as broker:
        found = target_of(broker)
        assert (found.node_id, found.nodes) == (1, 2)
        assert found.creatable("t", Topic(partitions=2)).assignments == (m.CreatableReplicaAssignment(0, (1,)), m.CreatableReplicaAssignment(1, (1,)))
        assert len(found.make_topics({"t": Topic(partitions=2)})["t"]) == 16


def test_if_none_is_at_the_address_the_first_is_judged_where_it_says_that_it_is() -> None:
    with serving() as there:

        def is_a_door(api_key: int, version: int, message: Any) -> Any:
            nodes = m.MetadataResponseBroker(7, there.host, there.port), m.MetadataResponseBroker(8, "elsewhere", 1)
            return changed(message, brokers=nodes) if api_key == METADATA else message

        with serving(is_a_door) as door:
            found = target_of(door)
            assert (found.node_id, found.port) == (7, there.port)


def test_topics_have_there_the_defaults_that_the_broker_tells() -> None:
    with serving(settings={"message_max_bytes": "300", "log_retention_bytes": "99"}) as broker:
        found = target_of(broker)
        found.make_topics({"t": Topic()})
        assert found.topic_defaults("t") == parse({"message.max.bytes": "300", "log.retention.bytes": "99"})


def test_defaults_that_are_not_told_or_not_known_are_ours() -> None:
    with serving(without_api(DESCRIBE_CONFIGS)) as broker:
        assert target_of(broker).topic_defaults("t") == parse({})

    def tells_nonsense(api_key: int, version: int, message: Any) -> Any:
        if api_key != DESCRIBE_CONFIGS:
            return message
        told = tuple(m.DescribeConfigsResourceResult(name, text) for name, text in {"max.message.bytes": "many", "no.such": "1", "retention.ms": None}.items())
        return m.DescribeConfigsResponse(results=(m.DescribeConfigsResult(configs=told),))

    with serving(tells_nonsense) as broker:
        assert target_of(broker).topic_defaults("t") == parse({})


def test_hours_are_told_as_hours_and_what_was_changed_as_changed() -> None:
    with serving(settings={"log_retention_hours": "5", "auto_create_topics_enable": "false"}) as broker:
        found = target_of(broker)
        found.make_topics({"t": Topic()})
        changes = tuple(
            m.IncrementalAlterConfigsRequestAlterConfigsResource(4, whose, (m.IncrementalAlterConfigsRequestAlterableConfig(name, 0, text),))
            for whose, name, text in (("", "log.retention.bytes", "7"), ("1", "log.segment.bytes", "2000000"))
        )
        found.ask(m.IncrementalAlterConfigsRequest(changes))
        assert found.topic_defaults("t") == parse({"log.retention.hours": "5", "auto.create.topics.enable": "false"})
        assert found.changed_defaults("t").resources == changes


def test_an_id_is_asked_for_until_it_is_there() -> None:
    asked: list[int] = []

    def is_loading(api_key: int, version: int, message: Any) -> Any:
        if api_key != INIT_PRODUCER_ID:
            return message
        asked.append(version)
        return message if len(asked) > 2 else changed(message, error_code=Error.COORDINATOR_LOAD_IN_PROGRESS)

    with serving(is_loading) as broker:
        assert target_of(broker).new_producer_id() == 2
        assert len(asked) == 3


def test_an_id_that_is_refused_is_not_asked_for_again() -> None:
    def refuses(api_key: int, version: int, message: Any) -> Any:
        return changed(message, error_code=Error.CLUSTER_AUTHORIZATION_FAILED) if api_key == INIT_PRODUCER_ID else message

    with serving(refuses) as broker, pytest.raises(SetupRefused, match="InitProducerId answers CLUSTER_AUTHORIZATION_FAILED"):
        target_of(broker).new_producer_id()


def test_an_answer_that_cannot_be_read_is_asked_for_in_an_older_version() -> None:
    asked: list[int] = []

    def writes_too_much(api_key: int, version: int, message: Any) -> Any:
        if api_key != METADATA:
            return message
        asked.append(version)
        return codec.encode(message, api_key, version, "response") + b"\x00" if version >= 9 else message

    with serving(writes_too_much) as broker:
        target_of(broker)
    assert asked == [13, 12, 11, 10, 9, 8]


def test_what_cannot_be_read_in_any_version_is_no_setup() -> None:
    with serving(lambda api_key, _version, message: b"" if api_key == METADATA else message) as broker, pytest.raises(SetupFailed, match="Metadata v0 while setting up"):
        target_of(broker)
