"""The requests about topics and configurations, with a default for everything that a story is not about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fiducial.conformance.cases import Step, Topic
from fiducial.conformance.symbols import IdOf, Name
from fiducial.models import messages as m
from fiducial.models.config_requests import Operation, Resource

TIMEOUT_MS = 10_000

#: A name that no topic has until the story makes one.
ABSENT = Topic(partitions=0)
NEW = (("a", ABSENT),)
TWO_PARTITIONS = (("a", Topic(partitions=2)),)


def topics(*absent: str, **there: Topic) -> tuple[tuple[str, Topic], ...]:
    """The topics of a story: those that it may make, and those that it finds."""
    return (*((name, ABSENT) for name in absent), *there.items())


def named(topic: Any) -> Any:
    """A topic of the story by its name; a name that is none of the story's is said as it is, and so is what is no text."""
    return Name(topic) if isinstance(topic, str) else topic


# Topics


def new(
    topic: Any = "a", partitions: int = 1, factor: int = 1, assigned: Mapping[int, tuple[Any, ...]] | None = None, **configs: str | None
) -> m.CreatableTopic:
    """A topic in a CreateTopics request; of configurations, the dots are written as underscores."""
    given = tuple(m.CreatableTopicConfig(name.replace("_", "."), text) for name, text in configs.items())
    placed = tuple(m.CreatableReplicaAssignment(index, brokers) for index, brokers in (assigned or {}).items())
    return m.CreatableTopic(named(topic), partitions, factor, placed, given)


def create(*wanted: m.CreatableTopic, timeout_ms: int = TIMEOUT_MS, validate_only: bool = False, **step: Any) -> Step:
    """A CreateTopics request."""
    return Step(m.CreateTopicsRequest(wanted, timeout_ms, validate_only), **step)


def delete(*wanted: Any, timeout_ms: int = TIMEOUT_MS, **step: Any) -> Step:
    """A DeleteTopics request; by name, or by what `by_id` says."""
    states = tuple(one if isinstance(one, m.DeleteTopicState) else m.DeleteTopicState(named(one)) for one in wanted)
    names: Any = tuple(state.name for state in states)
    return Step(m.DeleteTopicsRequest(states, names, timeout_ms), **step)


def by_id(topic: Any, name: Any = None) -> m.DeleteTopicState:
    """A topic by its id in a DeleteTopics request, perhaps by its name too."""
    return m.DeleteTopicState(None if name is None else named(name), id_of(topic))


def id_of(topic: Any) -> Any:
    """The id of a topic of the story; what is no text is said as it is."""
    return IdOf(topic) if isinstance(topic, str) else topic


def grow(*wanted: m.CreatePartitionsTopic, timeout_ms: int = TIMEOUT_MS, validate_only: bool = False, **step: Any) -> Step:
    """A CreatePartitions request."""
    return Step(m.CreatePartitionsRequest(wanted, timeout_ms, validate_only), **step)


def to(count: int, topic: Any = "a", assigned: tuple[tuple[Any, ...], ...] | None = None) -> m.CreatePartitionsTopic:
    """A topic in a CreatePartitions request."""
    placed = None if assigned is None else tuple(m.CreatePartitionsAssignment(brokers) for brokers in assigned)
    return m.CreatePartitionsTopic(named(topic), count, placed)


# What there is


def metadata(*wanted: Any, creates: bool = False, of_cluster: bool = False, of_topics: bool = False, **step: Any) -> Step:
    """A Metadata request about topics by name, or by what `identified` says."""
    told = tuple(one if isinstance(one, m.MetadataRequestTopic) else m.MetadataRequestTopic(name=named(one)) for one in wanted)
    return Step(m.MetadataRequest(told, creates, of_cluster, of_topics), **step)


def metadata_of_all(**step: Any) -> Step:
    """A Metadata request about all topics."""
    return Step(m.MetadataRequest(None, False), **step)


def identified(topic: Any, name: Any = None) -> m.MetadataRequestTopic:
    """A topic by its id in a Metadata request."""
    return m.MetadataRequestTopic(id_of(topic), None if name is None else named(name))


def parts(*wanted: Any, limit: int = 2000, cursor: tuple[Any, int] | None = None, **step: Any) -> Step:
    """A DescribeTopicPartitions request."""
    told = tuple(m.DescribeTopicPartitionsRequestTopicRequest(named(one)) for one in wanted)
    at = None if cursor is None else m.DescribeTopicPartitionsRequestCursor(named(cursor[0]), cursor[1])
    return Step(m.DescribeTopicPartitionsRequest(told, limit, at), **step)


def dirs(*wanted: tuple[Any, tuple[int, ...]], **step: Any) -> Step:
    """A DescribeLogDirs request."""
    return Step(m.DescribeLogDirsRequest(tuple(m.DescribableLogDirTopic(named(topic), indexes) for topic, indexes in wanted)), **step)


# Configurations


def describe(*resources: m.DescribeConfigsResource, synonyms: bool = False, documentation: bool = False, **step: Any) -> Step:
    """A DescribeConfigs request."""
    return Step(m.DescribeConfigsRequest(resources, synonyms, documentation), **step)


def of(name: Any = "a", *configs: str, kind: int = Resource.TOPIC) -> m.DescribeConfigsResource:
    """A resource in a DescribeConfigs request, and the configurations that are asked about: all, if none is named."""
    return m.DescribeConfigsResource(kind, named(name), configs or None)


def alter(*resources: m.IncrementalAlterConfigsRequestAlterConfigsResource, validate_only: bool = False, **step: Any) -> Step:
    """An IncrementalAlterConfigs request."""
    return Step(m.IncrementalAlterConfigsRequest(resources, validate_only), **step)


Alterable = m.IncrementalAlterConfigsRequestAlterableConfig


def change(*changes: Alterable, name: Any = "a", kind: int = Resource.TOPIC) -> m.IncrementalAlterConfigsRequestAlterConfigsResource:
    """A resource in an IncrementalAlterConfigs request."""
    return m.IncrementalAlterConfigsRequestAlterConfigsResource(kind, named(name), changes)


def put(name: str, text: str | None) -> Alterable:
    """A configuration gets a value."""
    return Alterable(name, Operation.SET, text)


def take(name: str) -> Alterable:
    """A configuration loses its value."""
    return Alterable(name, Operation.DELETE, None)


def append(name: str, text: str | None) -> Alterable:
    """A list gets entries."""
    return Alterable(name, Operation.APPEND, text)


def subtract(name: str, text: str | None) -> Alterable:
    """A list loses entries."""
    return Alterable(name, Operation.SUBTRACT, text)


def replace(*resources: m.AlterConfigsRequestResource, validate_only: bool = False, **step: Any) -> Step:
    """An AlterConfigs request."""
    return Step(m.AlterConfigsRequest(resources, validate_only), **step)


def by(name: Any = "a", kind: int = Resource.TOPIC, **configs: str | None) -> m.AlterConfigsRequestResource:
    """A resource in an AlterConfigs request, and all that it is to set."""
    given = tuple(m.AlterConfigsRequestAlterableConfig(one.replace("_", "."), text) for one, text in configs.items())
    return m.AlterConfigsRequestResource(kind, named(name), given)
