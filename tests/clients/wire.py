"""The broker asked in bytes, with no client in between: what it holds, and a way to put it there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fiducial.conformance.batches import Item, build
from fiducial.conformance.exploration.targets import Remote, talk
from fiducial.models import messages as m
from fiducial.models.batches import SentBatch
from fiducial.models.config_requests import Resource
from fiducial.models.errors import Error
from fiducial.models.values import Uuid
from fiducial.reference.records import parsed

PRODUCE, FETCH, METADATA, CREATE_TOPICS, DESCRIBE_CONFIGS = 0, 1, 3, 19, 32
TIMEOUT_MS = 10_000
FETCHED_BYTES_MAX = 1 << 20


class Wire:
    """One connection."""

    def __init__(self, host: str, port: int) -> None:
        self.remote = Remote("the broker", host, port)

    def close(self) -> None:
        """No more questions."""
        self.remote.close()

    def create_topic(self, name: str) -> None:
        """A topic of one partition."""
        request = m.CreateTopicsRequest((m.CreatableTopic(name, 1, 1),), TIMEOUT_MS)
        (created,) = talk(self.remote, CREATE_TOPICS, request).topics
        assert created.error_code == Error.NONE, created

    def topic(self, name: str) -> m.MetadataResponseTopic:
        """What there is to know of a topic."""
        request = m.MetadataRequest((m.MetadataRequestTopic(name=name),), allow_auto_topic_creation=False)
        (topic,) = talk(self.remote, METADATA, request).topics
        assert isinstance(topic, m.MetadataResponseTopic)
        return topic

    def id_of(self, name: str) -> Uuid:
        """The id of a topic, which there must be."""
        topic = self.topic(name)
        assert topic.error_code == Error.NONE, topic
        return topic.topic_id

    def config(self, topic: str, name: str) -> str | None:
        """One configuration of a topic."""
        resource = m.DescribeConfigsResource(Resource.TOPIC, topic, (name,))
        (described,) = talk(self.remote, DESCRIBE_CONFIGS, m.DescribeConfigsRequest((resource,))).results
        (config,) = described.configs
        assert config.name == name and isinstance(config.value, str | None)
        return config.value

    def write(self, topic: str, timestamps: Sequence[int]) -> None:
        """Records of these times, one batch, on partition 0."""
        records: Any = build([Item(timestamp) for timestamp in timestamps])
        partition = m.PartitionProduceData(0, records)
        request = m.ProduceRequest(None, -1, TIMEOUT_MS, (m.TopicProduceData("", self.id_of(topic), (partition,)),))
        ((produced,),) = (one.partition_responses for one in talk(self.remote, PRODUCE, request).responses)
        assert produced.error_code == Error.NONE, produced

    def batches(self, topic: str) -> tuple[SentBatch, ...]:
        """The batches that partition 0 holds."""
        partition = m.FetchPartition(0, partition_max_bytes=FETCHED_BYTES_MAX)
        request = m.FetchRequest(topics=(m.FetchTopic("", self.id_of(topic), (partition,)),))
        ((fetched,),) = (one.partitions for one in talk(self.remote, FETCH, request).responses)
        assert fetched.error_code == Error.NONE, fetched
        records = parsed(fetched.records)
        assert records is not None
        return records.batches
