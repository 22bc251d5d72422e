"""What two brokers may answer differently and still mean the same, all in one place.

Ids stand for what they are ids of, addresses for "its own", times of the broker for "now", texts for whether there is one; lists whose order
nobody promises are sorted; record batches are compared by header, checksum and what is in them, since compressors differ. What is left must
be equal, but for the answers that a rule allows a peer (`Rung.also`) and for the few deviations in `TOLERATED`, each with its reason.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from typing import Any

import attrs
from crc32c import crc32c

from differential.targets import ApacheKafka, Target, wall_clock_ms
from fiducial.models import messages as m
from fiducial.models.batches import ATTRIBUTE_CODEC, ATTRIBUTE_LOG_APPEND_TIME, BATCH_OVERHEAD_BYTES
from fiducial.models.config_requests import Resource
from fiducial.models.configs import Source
from fiducial.models.rules import LADDERS
from fiducial.models.values import ZERO_UUID
from fiducial.reference.records import HEADER, decompressed

#: A time that is no longer before the beginning of the history, or in the future, is the broker's own.
NOW_BEFORE_MS, NOW_AFTER_MS = 2_000, 2_000

TEXTS = frozenset(
    {"error_message", "batch_index_error_message", "cluster_id", "documentation", "log_dir"}
)
TIMES = frozenset({"log_append_time_ms", "timestamp", "last_timestamp"})
#: Disks differ.
DROPPED = frozenset({"total_bytes", "usable_bytes"})

#: Lists whose order nobody promises.
UNORDERED: frozenset[tuple[type, str]] = frozenset(
    {
        (m.ProduceResponse, "responses"), (m.TopicProduceResponse, "partition_responses"),
        (m.ListOffsetsResponse, "topics"), (m.ListOffsetsTopicResponse, "partitions"),
        (m.MetadataResponse, "topics"), (m.MetadataResponseTopic, "partitions"),
        (m.CreateTopicsResponse, "topics"), (m.DeleteTopicsResponse, "responses"), (m.CreatePartitionsResponse, "results"),
        (m.DeleteRecordsResponse, "topics"), (m.DeleteRecordsTopicResult, "partitions"),
        (m.OffsetForLeaderEpochResponse, "topics"), (m.OffsetForLeaderTopicResult, "partitions"),
        (m.DescribeConfigsResponse, "results"), (m.DescribeConfigsResult, "configs"),
        (m.IncrementalAlterConfigsResponse, "responses"), (m.AlterConfigsResponse, "responses"), (m.ListConfigResourcesResponse, "config_resources"),
        (m.DescribeProducersResponse, "topics"), (m.TopicResponse, "partitions"), (m.PartitionResponse, "active_producers"),
        (m.DescribeLogDirsResult, "topics"), (m.DescribeLogDirsTopic, "partitions"),
    }
)  # fmt: skip
#: What tells the entries of a list apart.
KEYS = (
    "name", "topic", "topic_name", "topic_id", "index", "partition_index", "partition", "resource_type", "resource_name", "producer_id",
)  # fmt: skip


def by_key(entry: Any) -> tuple[str, str]:
    """Entries in the order of what they are about."""
    return repr([entry.get(name) for name in KEYS]), repr(entry)


class Abstraction:
    """How the answers of one target are read. Of `resized` topics, whose batches it may have compressed itself, sizes are not compared; of
    `unsized` ones, of which it may have let go a part meanwhile, the sizes of logs are not."""

    def __init__(self, target: Target, resized: frozenset[str] = frozenset(), unsized: frozenset[str] = frozenset()) -> None:
        self.target = target
        self.view = target.view
        self.resized = resized
        self.unsized = resized | unsized

    def of(self, message: Any, name: str = "") -> Any:
        """A message, or the field `name` of one, as plain data that can be compared."""
        if attrs.has(type(message)):
            return self.of_fields(message)
        if isinstance(message, tuple):
            return [self.of(one, name) for one in message]
        if name in TEXTS:
            return "a text" if message else message
        if name in TIMES:
            return self.time(message)
        if name in ("host", "port"):
            return f"its {name}" if message == getattr(self.target, name) else message
        if name == "session_id":
            ids = [session.id for session in self.view.sessions]
            return f"session {ids.index(message)}" if message in ids else message
        if name == "producer_id":
            known = self.view.producer_ids
            return f"producer {known.index(message)}" if message in known else message
        if name == "topic_id":
            return self.topic_id(message)
        return message

    def of_fields(self, message: Any) -> dict[str, Any]:
        """A message by its fields, and its class."""
        kind = type(message)
        found: dict[str, Any] = {"": kind.__name__}
        for field in attrs.fields(kind):
            if field.name in DROPPED:
                continue
            one = self.of(getattr(message, field.name), field.name)
            found[field.name] = sorted(one, key=by_key) if (kind, field.name) in UNORDERED and one else one
        if kind is m.DescribeLogDirsTopic and message.name in self.unsized:
            found["partitions"] = [without_size(part) for part in found["partitions"]]
        if kind is m.FetchableTopicResponse:
            is_resized = self.name_of(message) in self.resized
            for data, part in zip(message.partitions, found["partitions"], strict=True):
                part["records"] = self.records(data.records, is_resized)
        return by_partition(found) if kind is m.FetchResponse else found

    def name_of(self, topic: m.FetchableTopicResponse) -> str:
        """The topic that is answered, by name or by id."""
        return topic.topic or next((name for name, known in self.view.topic_ids.items() if known == topic.topic_id), "")

    def time(self, at_ms: int) -> Any:
        """A time, or "now"."""
        is_now = self.view.begun_ms - NOW_BEFORE_MS <= at_ms <= wall_clock_ms() + NOW_AFTER_MS
        return "now" if is_now else at_ms

    def topic_id(self, topic_id: bytes) -> str:
        """An id by the name of its topic."""
        if topic_id == ZERO_UUID:
            return "none"
        for name, known in self.view.topic_ids.items():
            if known == topic_id:
                return f"id of {name}"
        return f"old id {self.view.old_ids.index(topic_id)}" if topic_id in self.view.old_ids else "some id"

    def records(self, data: bytes | None, is_resized: bool) -> Any:
        """The batches, and how many bytes of another there are."""
        if data is None:
            return None
        whole = batches(data)
        cut = len(data) - sum(map(len, whole))
        return [*map(self.batch, whole), "" if is_resized else f"{cut} bytes more"]

    def batch(self, data: bytes) -> tuple[Any, ...]:
        """A batch by its header, whether its checksum is right, and a digest of its records."""
        base, _, epoch, magic, checksum, attributes, last, base_time, max_time, producer, p_epoch, sequence, count = (
            HEADER.unpack_from(data)
        )
        by_broker = bool(attributes & ATTRIBUTE_LOG_APPEND_TIME)
        body = decompressed(data[BATCH_OVERHEAD_BYTES:], attributes & ATTRIBUTE_CODEC)
        return (
            base, epoch, magic, crc32c(data[21:]) == checksum, attributes, last, base_time,
            self.time(max_time) if by_broker else max_time,
            self.of(producer, "producer_id"), p_epoch, sequence, count, hashlib.sha256(body).hexdigest()[:12],
        )  # fmt: skip


def by_partition(fetched: dict[str, Any]) -> dict[str, Any]:
    """A Fetch answer by partitions, however they are put together; and in which order those were read that gave something."""
    parts = [part | {"topic": topic["topic"], "topic_id": topic["topic_id"]} for topic in fetched["responses"] for part in topic["partitions"]]
    read = [(part["topic"], part["topic_id"], part["partition_index"]) for part in parts if part["records"] not in NO_RECORDS]
    return fetched | {"responses": sorted(parts, key=by_key), "read": read}


#: Nothing was read.
NO_RECORDS = (None, ["0 bytes more"], [""])


def without_size(part: dict[str, Any]) -> dict[str, Any]:
    """A log whose size is not compared."""
    return part | {"partition_size": "some"}


def batches(data: bytes) -> list[bytes]:
    """The whole batches in a fetch answer; the last may be cut."""
    found, position = [], 0
    while len(data) - position >= BATCH_OVERHEAD_BYTES:
        end = position + 12 + struct.unpack_from(">i", data, position + 8)[0]
        if end > len(data):
            break
        found.append(data[position:end])
        position = end
    return found


# Comparing

#: Where, what we answered, what they answered.
Difference = tuple[str, Any, Any]
#: Pairs of error codes, ours and theirs, that may stand for each other.
Allowed = frozenset[tuple[int, int]]


def differences(ours: Any, theirs: Any, allowed: Allowed = frozenset(), path: str = "") -> list[Difference]:
    """Where two abstracted answers differ, with a path to each place."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        if (ours.get("error_code"), theirs.get("error_code")) in allowed:
            return []
        found: list[Difference] = []
        for key in sorted({*ours, *theirs}):
            found += differences(ours.get(key), theirs.get(key), allowed, f"{path}.{key}")
        return found
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        return [
            one for index, pair in enumerate(zip(ours, theirs, strict=True))
            for one in differences(*pair, allowed, f"{path}[{index}]")
        ]  # fmt: skip
    return [] if ours == theirs else [(path, ours, theirs)]


def allowed_instead(rules: tuple[str, ...]) -> Allowed:
    """What a peer may answer where these rules refused."""
    return frozenset(
        (int(rung.error), int(code))
        for ladder in LADDERS.values()
        for rung in ladder.rungs
        if rung.rule in rules
        for code in rung.also
    )


# What a peer may do otherwise

#: Apache Kafka keeps this setting itself, for the whole cluster (ELR): a value of ours that is a default comes from there.
ELR = "min.insync.replicas"
#: Apache Kafka's coordinators make these when they are asked for; they are nobody's else.
COORDINATORS_TOPICS = frozenset({"__consumer_offsets", "__transaction_state"})


#: Settings that Apache Kafka has from elsewhere (the id of its node), or can change while it runs where we cannot.
OWN = frozenset({"broker.id", "producer.id.expiration.ms"})


def fewer_apis(ours: Any, theirs: Any) -> None:
    """We serve fewer APIs, and no features."""
    served = {entry["api_key"] for entry in ours["api_keys"]}
    theirs["api_keys"] = [entry for entry in theirs["api_keys"] if entry["api_key"] in served]
    for name in ("supported_features", "finalized_features", "finalized_features_epoch"):
        theirs[name] = ours[name]


def other_settings(ours: Any, theirs: Any) -> None:
    """Of the broker's own settings we have some; loggers, client metrics and groups have none here."""
    for mine, other in zip(ours["results"], theirs["results"], strict=False):
        other["configs"] = [entry for entry in other["configs"] if mine["resource_type"] == Resource.TOPIC or entry["name"] in {one["name"] for one in mine["configs"]}]
        elr_is_default(other["configs"])
        for entry, ours_ in zip(other["configs"], mine["configs"], strict=False):
            if entry["name"] in OWN:
                entry |= {name: ours_[name] for name in ("config_source", "synonyms", "read_only")}


def elr_in_created(_ours: Any, theirs: Any) -> None:
    """A topic has one setting from the cluster."""
    for topic in theirs["topics"]:
        elr_is_default(topic["configs"] or [])


def elr_is_default(configs: list[Any]) -> None:
    """Apache Kafka's own hand on a setting, taken off."""
    for entry in configs:
        if entry["name"] == ELR and entry["config_source"] == Source.DYNAMIC_CLUSTER:
            entry["config_source"] = Source.DEFAULT
        if entry["name"] == ELR and "synonyms" in entry:
            entry["synonyms"] = [one for one in entry["synonyms"] if one["source"] != Source.DYNAMIC_CLUSTER]


def coordinators_topics(_ours: Any, theirs: Any) -> None:
    """Groups and transactions are not served yet."""
    theirs["topics"] = [topic for topic in theirs["topics"] if topic["name"] not in COORDINATORS_TOPICS]


def coordinators_logs(_ours: Any, theirs: Any) -> None:
    """The same, by what they take on disk."""
    for folder in theirs["results"]:
        folder["topics"] = [topic for topic in folder["topics"] if topic["name"] not in COORDINATORS_TOPICS]


def own_resources(_ours: Any, theirs: Any) -> None:
    """The coordinators' topics, and the group whose configuration is a barrier."""
    strange = {*COORDINATORS_TOPICS, ApacheKafka.BARRIER}
    theirs["config_resources"] = [one for one in theirs["config_resources"] if one["resource_name"] not in strange]


#: What is taken out of a peer's answer before it is compared, and why (the function's docstring), by the answer's class.
TOLERATED: dict[str, Callable[[Any, Any], None]] = {
    "ApiVersionsResponse": fewer_apis,
    "CreateTopicsResponse": elr_in_created,
    "DescribeConfigsResponse": other_settings,
    "DescribeLogDirsResponse": coordinators_logs,
    "ListConfigResourcesResponse": own_resources,
    "MetadataResponse": coordinators_topics,
}
