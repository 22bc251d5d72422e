"""What two brokers may answer differently and still mean the same, all in one place.

Ids stand for what they are ids of, times of the broker for "now", texts for whether there is one; how long a client should hold back is the
broker's own affair; lists whose order nobody promises are sorted; record batches are compared by header, checksum and what is in them, since
compressors differ; of a batch that is cut, how much is there is nobody's promise. What is left must be equal, but for the errors that a rule allows a peer.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address
from typing import Any

import attrs

from fiducial.conformance.batches import Stored, stored_batches
from fiducial.conformance.oracle import Allowed
from fiducial.conformance.symbols import STRANGE_MEMBER, View, error_name
from fiducial.models import messages as m
from fiducial.models.batches import ATTRIBUTE_LOG_APPEND_TIME
from fiducial.models.errors import Error
from fiducial.models.values import ZERO_UUID, value

PRODUCE = 0
#: A time so near to the judge's clock is the broker's own "now": the clocks of two machines differ.
NOW_MS = 1_800_000

TEXTS = frozenset({"error_message", "batch_index_error_message", "cluster_id", "documentation", "log_dir", "host"})
TIMES = frozenset({"log_append_time_ms", "timestamp", "last_timestamp"})
#: Disks and places differ, and so do the protocols beside ours that a broker announces.
DROPPED = frozenset(
    {
        "throttle_time_ms", "node_endpoints", "total_bytes", "usable_bytes", "rack", "supported_features", "finalized_features",
        "finalized_features_epoch", "zk_migration_ready",
    }
)  # fmt: skip
#: Fields that hold a leader epoch.
EPOCHS = frozenset({"leader_epoch", "epoch"})
#: Fields that hold the name of a topic, where it is one.
NAMES = frozenset({"name", "topic", "topic_name", "resource_name"})
#: Fields that hold the id of a group, or of a member.
GROUPS, MEMBERS = frozenset({"group_id", "key"}), frozenset({"member_id", "leader"})
#: An id that a broker makes up for a member.
MADE_UP = re.compile(r"(.*)-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.DOTALL)

#: What a refusal is told with.
REFUSED_BATCH = ("base_offset", "log_append_time_ms", "log_start_offset", "record_errors", "error_message")
REFUSED_JOIN = ("generation_id", "protocol_type", "protocol_name", "leader", "member_id", "members")
REFUSED_FETCH = ("high_watermark", "last_stable_offset", "log_start_offset", "records")

#: Lists whose order nobody promises.
UNORDERED: frozenset[tuple[type, str]] = frozenset(
    {
        (m.ProduceResponse, "responses"), (m.TopicProduceResponse, "partition_responses"),
        (m.FetchResponse, "responses"), (m.FetchableTopicResponse, "partitions"),
        (m.ListOffsetsResponse, "topics"), (m.ListOffsetsTopicResponse, "partitions"),
        (m.DeleteRecordsResponse, "topics"), (m.DeleteRecordsTopicResult, "partitions"),
        (m.OffsetForLeaderEpochResponse, "topics"), (m.OffsetForLeaderTopicResult, "partitions"),
        (m.MetadataResponse, "brokers"), (m.MetadataResponseTopic, "partitions"), (m.DescribeClusterResponse, "brokers"),
        (m.CreateTopicsResponse, "topics"), (m.DeleteTopicsResponse, "responses"), (m.CreatePartitionsResponse, "results"),
        (m.DescribeConfigsResponse, "results"), (m.DescribeConfigsResult, "configs"),
        (m.IncrementalAlterConfigsResponse, "responses"), (m.AlterConfigsResponse, "responses"), (m.ListConfigResourcesResponse, "config_resources"),
        (m.DescribeLogDirsResult, "topics"), (m.DescribeLogDirsTopic, "partitions"),
        (m.DescribeProducersResponse, "topics"), (m.TopicResponse, "partitions"), (m.PartitionResponse, "active_producers"),
        (m.FindCoordinatorResponse, "coordinators"), (m.JoinGroupResponse, "members"), (m.LeaveGroupResponse, "members"),
        (m.OffsetCommitResponse, "topics"), (m.OffsetCommitResponseTopic, "partitions"),
        (m.OffsetFetchResponse, "topics"), (m.OffsetFetchResponseTopic, "partitions"), (m.OffsetFetchResponse, "groups"),
        (m.OffsetFetchResponseGroup, "topics"), (m.OffsetFetchResponseTopics, "partitions"),
        (m.DescribeGroupsResponse, "groups"), (m.DescribedGroup, "members"), (m.ListGroupsResponse, "groups"),
        (m.DeleteGroupsResponse, "results"), (m.OffsetDeleteResponse, "topics"), (m.OffsetDeleteResponseTopic, "partitions"),
    }
)  # fmt: skip
#: What tells the entries of a list apart.
KEYS = (
    "name", "topic", "topic_name", "topic_id", "index", "partition_index", "partition", "resource_type", "resource_name", "producer_id",
    "node_id", "broker_id", "key", "group_id", "member_id", "group_instance_id",
)  # fmt: skip


def wall_clock_ms() -> int:
    """The time."""
    return time.time_ns() // 1_000_000


def by_topic(fetched: dict[str, Any]) -> dict[str, Any]:
    """A Fetch answer with the partitions of a topic in one entry, into however many they were put."""
    entries: dict[tuple[str, str], dict[str, Any]] = {}
    for topic in fetched["responses"]:
        entry = entries.setdefault((topic["topic"], topic["topic_id"]), topic | {"partitions": []})
        entry["partitions"] = sorted([*entry["partitions"], *topic["partitions"]], key=by_key)
    return fetched | {"responses": list(entries.values())}


def in_any_folder(described: dict[str, Any]) -> dict[str, Any]:
    """A DescribeLogDirs answer with the logs of all folders in one."""
    first, *others = described["results"] or [{"topics": []}]
    entries: dict[str, dict[str, Any]] = {}
    for topic in (topic for folder in (first, *others) for topic in folder["topics"]):
        entry = entries.setdefault(topic["name"], topic | {"partitions": []})
        entry["partitions"] = sorted([*entry["partitions"], *topic["partitions"]], key=by_key)
    return described | {"results": [first | {"topics": sorted(entries.values(), key=by_key)}] if described["results"] else []}


def errors_last(metadata: dict[str, Any]) -> dict[str, Any]:
    """A Metadata answer without the order of its topics, but for one thing."""
    failed = [topic["error_code"] not in (Error.NONE.name, Error.UNKNOWN_TOPIC_ID.name) for topic in metadata["topics"]]
    return metadata | {"topics": sorted(metadata["topics"], key=by_key), "topics in error": "last" if failed == sorted(failed) else "in between"}


def keys_ascend(versions: dict[str, Any]) -> dict[str, Any]:
    """An ApiVersions answer, and whether it is in order."""
    keys = [entry["api_key"] for entry in versions["api_keys"]]
    return versions | {"keys": "ascend" if keys == sorted(set(keys)) else "do not ascend"}


def without_text(found: dict[str, Any]) -> dict[str, Any]:
    """No rule says when there is a text about a coordinator."""
    return {name: one for name, one in found.items() if name != "error_message"}


#: What is made of answers of a class.
SHAPES: Mapping[type, Callable[[dict[str, Any]], dict[str, Any]]] = {
    m.FetchResponse: by_topic, m.DescribeLogDirsResponse: in_any_folder, m.MetadataResponse: errors_last, m.ApiVersionsResponse: keys_ascend,
    m.FindCoordinatorResponse: without_text, m.Coordinator: without_text,
}  # fmt: skip


def made_of(member_id: str) -> str:
    """An id that a broker made up, without its UUID."""
    found = MADE_UP.fullmatch(member_id)
    return member_id if found is None else f"{found[1]} and a UUID"


def address(host: str) -> str:
    """A client's host: which address it has is for its network to say."""
    try:
        ip_address(host.removeprefix("/"))
    except ValueError:
        return host
    return "/ and an address" if host.startswith("/") else "an address"


def by_key(entry: Any) -> tuple[str, str]:
    """Entries in the order of what they are about."""
    return repr([entry.get(name) for name in KEYS]), repr(entry)


class Abstraction:
    """How the answers of one broker are read."""

    near_ms = NOW_MS

    def __init__(self, view: View) -> None:
        self.view = view
        self.topics = {name: topic for topic, name in view.names.items()}
        self.groups = {group_id: group for group, group_id in view.groups.items()}

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
        if name == "error_code":
            return error_name(message)
        if name in NAMES:
            return self.topics.get(message, message)
        if name == "port":
            return "a port" if message > 0 else message
        if name in EPOCHS:
            return self.epoch(message)
        if name == "topic_id":
            return self.topic_id(message)
        if name == "producer_id":
            return self.producer_id(message)
        if name == "session_id":
            return self.session(message)
        if name in GROUPS:
            return self.groups.get(message, message)
        if name in MEMBERS:
            return self.member(message)
        if name == "generation_id":
            return self.generation(message)
        if name == "client_host":
            return address(message)
        if name == "records" and message is not None:
            return self.records(message)
        return message.hex() if isinstance(message, bytes) else message

    def of_fields(self, message: Any) -> dict[str, Any]:
        """A message by its fields, and its class."""
        kind = type(message)
        found: dict[str, Any] = {"": kind.__name__}
        for one in attrs.fields(kind):
            if one.name not in DROPPED:
                held = self.of(getattr(message, one.name), one.name)
                found[one.name] = sorted(held, key=by_key) if (kind, one.name) in UNORDERED and held else held
        if kind is m.JoinGroupResponse:
            found["made of"] = made_of(message.member_id)
        if kind is m.ApiVersion and (message.min_version, message.max_version) == self.view.advertised.get(message.api_key):
            found["max_version"] = "as it says elsewhere"
            if message.api_key != PRODUCE or not self.view.is_about_versions:
                found["min_version"] = "as it says elsewhere"
        return SHAPES[kind](found) if kind in SHAPES else found

    def time(self, at_ms: int) -> Any:
        """A time, before the story or ahead of it; or "now"."""
        is_now = self.view.begun_ms - self.near_ms <= at_ms <= wall_clock_ms() + self.near_ms
        return "now" if is_now else at_ms

    def epoch(self, epoch: int) -> int:
        """A leader epoch, counted from the one in which the topics began; negative for none."""
        return epoch if epoch < 0 else epoch - self.view.first_epoch

    def topic_id(self, topic_id: bytes) -> str:
        """An id by its topic."""
        if topic_id == ZERO_UUID:
            return "none"
        if topic_id in self.view.old_ids:
            return f"old id of {self.view.old_ids[topic_id]}"
        return next((f"id of {topic}" for topic, known in self.view.topic_ids.items() if known == topic_id), "some id")

    def producer_id(self, producer_id: int) -> Any:
        """A producer by the order in which ids were given."""
        known = self.view.producer_ids
        return f"producer {known.index(producer_id)}" if producer_id in known else producer_id

    def session(self, session_id: int) -> Any:
        """A fetch session by the order in which they were begun."""
        known = self.view.sessions
        return f"session {known.index(session_id)}" if session_id in known else session_id

    def member(self, member_id: str) -> str:
        """A member by the order in which ids were given."""
        if member_id in ("", STRANGE_MEMBER):
            return member_id
        known = self.view.members
        return f"member {known.index(member_id)}" if member_id in known else "some member"

    def generation(self, generation: int) -> Any:
        """A generation, counted from the one in which the story begins."""
        return f"the first{generation - self.view.first_generation:+d}" if generation >= 0 else generation

    def records(self, data: bytes) -> Any:
        """The whole batches. How much of another follows is each broker's own."""
        whole, _ = stored_batches(data)
        return [self.batch(one) for one in whole]

    def batch(self, batch: Stored) -> dict[str, Any]:
        """A batch by its header, whether its checksum is right, and a digest of its records."""
        header = batch.header._asdict()
        del header["checksum"], header["length"]
        if batch.header.attributes & ATTRIBUTE_LOG_APPEND_TIME:
            header["max_timestamp"] = self.time(batch.header.max_timestamp)
        header["producer_id"] = self.producer_id(batch.header.producer_id)
        header["leader_epoch"] = self.epoch(batch.header.leader_epoch)
        digest = hashlib.sha256(batch.body).hexdigest()[:12] if batch.body is not None else f"unreadable: {batch.problem}"
        return {"checksum": "right" if batch.is_sound else "wrong", **header, "records": digest}


# Comparing


@value
class Difference:
    """Where two abstracted answers differ."""

    place: str
    expected: Any
    got: Any

    def __str__(self) -> str:
        return f"at {self.place or 'the answer'}: expected {self.expected!r}, got {self.got!r}"


Concerned = Mapping[tuple[str, str], frozenset[str]]
#: What entries tell beside what most stories are about: by class and field, the rules whose cases alone look at it, so that one fault of a broker
#: does not show in all. Beside an error; and beside anything.
BESIDE_AN_ERROR: Concerned = {
    **dict.fromkeys((("PartitionProduceResponse", one) for one in REFUSED_BATCH), frozenset({"LOG-BATCH-22"})),
    **dict.fromkeys((("PartitionData", one) for one in REFUSED_FETCH), frozenset({"LOG-READ-9"})),
    ("DeleteRecordsPartitionResult", "low_watermark"): frozenset({"LOG-DELETE-4"}),
    **dict.fromkeys((("JoinGroupResponse", one) for one in REFUSED_JOIN), frozenset({"GROUP-JOIN-17"})),
}
ASIDE: Concerned = {
    ("PartitionProduceResponse", "log_append_time_ms"): frozenset({"LOG-APPEND-5", "LOG-APPEND-7", "LOG-BATCH-22", "IDEM-DUP-5"}),
    ("PartitionProduceResponse", "log_start_offset"): frozenset({"LOG-APPEND-7", "LOG-BATCH-22", "IDEM-DUP-5"}),
    ("PartitionData", "aborted_transactions"): frozenset({"LOG-READ-8"}),
    ("JoinGroupResponse", "made of"): frozenset({"GROUP-MEMBER-8"}),
    ("DescribedGroup", "authorized_operations"): frozenset({"GROUP-LIST-1"}),
    ("DescribedGroup", "error_message"): frozenset({"GROUP-LIST-2"}),
    ("DescribedGroupMember", "client_host"): frozenset({"GROUP-MEMBER-9"}),
    ("DescribedGroupMember", "member_assignment"): frozenset({"GROUP-LIST-1", "GROUP-SYNC-3"}),
    ("DescribedGroupMember", "member_metadata"): frozenset({"GROUP-LIST-1"}),
    ("OffsetFetchResponsePartition", "metadata"): frozenset({"GROUP-OFFSET-1", "GROUP-COMMIT-10"}),
    ("OffsetFetchResponsePartitions", "metadata"): frozenset({"GROUP-OFFSET-1", "GROUP-COMMIT-10"}),
}


def differences(expected: Any, got: Any, allowed: Allowed = frozenset(), place: str = "", rule: str = "") -> Iterator[Difference]:
    """Each place where two abstracted answers differ. An entry whose error a peer may answer instead is not looked into; what is told aside is
    only by whom it concerns: the cases about a `rule`, or who is about none."""
    if isinstance(expected, dict) and isinstance(got, dict) and expected.keys() == got.keys():
        if not is_allowed(expected, got, allowed):
            for key in expected:
                if is_looked_at(expected, got, key, rule):
                    yield from differences(expected[key], got[key], allowed, f"{place}.{key}".removeprefix("."), rule)
    elif isinstance(expected, list) and isinstance(got, list) and len(expected) == len(got):
        for index, (one, other) in enumerate(zip(expected, got, strict=True)):
            yield from differences(one, other, allowed, f"{place}[{index}]", rule)
    elif expected != got:
        yield Difference(place, expected, got)


def is_looked_at(expected: dict[str, Any], got: dict[str, Any], field: str, rule: str) -> bool:
    """Does a field of an entry concern those who are about a rule?"""
    kind = expected.get("", ""), field
    is_error = {expected.get("error_code"), got.get("error_code")} - {None, Error.NONE.name}
    concerned = ASIDE.get(kind) or (BESIDE_AN_ERROR.get(kind) if is_error else None)
    return rule == "" or concerned is None or rule in concerned


def is_allowed(expected: dict[str, Any], got: dict[str, Any], allowed: Allowed) -> bool:
    """Is the error one that a peer may answer in place of ours?"""
    pair = expected.get("error_code"), got.get("error_code")
    return any(pair == (error_name(ours), error_name(theirs)) for ours, theirs in allowed)
