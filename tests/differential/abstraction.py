"""What two brokers may answer differently and still mean the same, all in one place.

Ids and addresses stand for their order of appearance, times of the broker for "now", texts for whether there is one; lists whose order nobody
promises are sorted; record batches are compared by what is in them, since compressors differ. What is left must be equal, but for the answers
that a rule allows a peer (`Rung.also`) and for the few deviations in `TOLERATED`, each with its reason.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from typing import Any

import attrs

from differential.targets import View
from fiducial.models.batches import ATTRIBUTE_CODEC, ATTRIBUTE_LOG_APPEND_TIME, BATCH_OVERHEAD_BYTES
from fiducial.models.rules import LADDERS
from fiducial.reference.records import HEADER, decompressed

#: A time between these bounds, in ms around the start of the history, is the broker's own.
NOW_BEFORE_MS, NOW_AFTER_MS = 2_000, 3_000_000

TEXTS = frozenset({"error_message", "batch_index_error_message", "topic_config_error_message"})
DROPPED = frozenset(
    {"throttle_time_ms", "cluster_id", "host", "port", "documentation", "log_dir", "total_bytes", "usable_bytes"}
)
TIMES = frozenset({"log_append_time_ms", "timestamp", "last_timestamp"})
IDS = frozenset({"topic_id"})


class Abstraction:
    """How the answers of one target are read; `begun_ms` is when the history began."""

    def __init__(self, view: View, begun_ms: int) -> None:
        self.view = view
        self.begun_ms = begun_ms

    def of(self, message: Any, name: str = "") -> Any:
        """A message as plain data that can be compared."""
        if attrs.has(type(message)):
            fields = attrs.asdict(message, recurse=False)
            return {
                "": type(message).__name__,
                **{key: self.of(one, key) for key, one in fields.items() if key not in DROPPED},
            }
        if isinstance(message, tuple | list):
            return sorted((self.of(one, name) for one in message), key=repr)
        if name in TEXTS:
            return "a text" if message else ""
        if name in TIMES:
            return self.time(message)
        if name == "session_id":
            return "a session" if message else 0
        if name == "producer_id" and message in self.view.producer_ids:
            return f"producer {self.view.producer_ids.index(message)}"
        if name in IDS:
            return self.topic_id(message)
        if name == "records" and message is not None:
            return [self.batch(one) for one in batches(message)]
        return message

    def time(self, at_ms: int) -> Any:
        """A time, or "now"."""
        is_now = self.begun_ms - NOW_BEFORE_MS <= at_ms <= self.begun_ms + NOW_AFTER_MS
        return "now" if is_now else at_ms

    def topic_id(self, topic_id: bytes) -> str:
        """An id by the name of its topic."""
        if not any(topic_id):
            return "none"
        for name, known in self.view.topic_ids.items():
            if known == topic_id:
                return f"id of {name}"
        return "an old id" if topic_id in self.view.old_ids else "some id"

    def batch(self, data: bytes) -> tuple[Any, ...]:
        """A batch by its header and a digest of its records."""
        base, _, epoch, magic, _, attributes, last, base_time, max_time, producer, p_epoch, sequence, count = (
            HEADER.unpack_from(data)
        )
        by_broker = bool(attributes & ATTRIBUTE_LOG_APPEND_TIME)
        body = decompressed(data[BATCH_OVERHEAD_BYTES:], attributes & ATTRIBUTE_CODEC)
        return (
            base, epoch, magic, attributes, last, base_time, "now" if by_broker else max_time,
            self.of(producer, "producer_id"), p_epoch, sequence, count, hashlib.sha256(body).hexdigest()[:12],
        )  # fmt: skip


def batches(data: bytes) -> list[bytes]:
    """The whole batches in a fetch answer; the last may be cut."""
    found, position = [], 0
    while len(data) - position >= 17:
        end = position + 12 + struct.unpack_from(">i", data, position + 8)[0]
        if end > len(data):
            break
        found.append(data[position:end])
        position = end
    return found


# Comparing

Difference = tuple[str, Any, Any]


def differences(ours: Any, theirs: Any, also: frozenset[int], path: str = "") -> list[Difference]:
    """Where two abstracted answers differ, with a path to each place."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        if ours.get("error_code") != theirs.get("error_code") and theirs.get("error_code") in also:
            return []
        found: list[Difference] = []
        for key in sorted({*ours, *theirs}):
            found += differences(ours.get(key), theirs.get(key), also, f"{path}.{key}")
        return found
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        return [
            one for index, pair in enumerate(zip(ours, theirs, strict=True))
            for one in differences(*pair, also, f"{path}[{index}]")
        ]  # fmt: skip
    return [] if ours == theirs else [(path, ours, theirs)]


def allowed_instead(rules: tuple[str, ...]) -> frozenset[int]:
    """The error codes that a peer may answer where these rules refused."""
    return frozenset(
        int(code) for ladder in LADDERS.values() for rung in ladder.rungs if rung.rule in rules for code in rung.also
    )


def known_names_only(ours: Any, theirs: Any) -> tuple[Any, Any]:
    """Of two lists of entries with names or keys, those that are in ours."""

    def key(entry: Any) -> Any:
        return entry.get("name", entry.get("api_key"))

    names = {key(entry) for entry in ours}
    return ours, [entry for entry in theirs if key(entry) in names]


def fewer_apis(ours: Any, theirs: Any) -> tuple[Any, Any]:
    """We serve fewer APIs, and no features."""
    if len(theirs["api_keys"]) > 1:
        ours["api_keys"], theirs["api_keys"] = known_names_only(ours["api_keys"], theirs["api_keys"])
    for name in ("supported_features", "finalized_features", "finalized_features_epoch"):
        ours.pop(name, None)
        theirs.pop(name, None)
    return ours, theirs


def other_settings(ours: Any, theirs: Any) -> tuple[Any, Any]:
    """Of the broker's own settings we have some; ELR sets min.insync.replicas for the cluster in Kafka (WIRE-CONFIG-2)."""
    for mine, other in zip(ours["results"], theirs["results"], strict=False):
        if mine["resource_type"] != 2 and mine["error_code"] == other["error_code"] == 0:
            mine["configs"], other["configs"] = [], []
        for result in (mine, other):
            result["configs"] = [entry for entry in result["configs"] if entry["name"] != "min.insync.replicas"]
    return ours, theirs


def elr_in_created(ours: Any, theirs: Any) -> tuple[Any, Any]:
    """The same in the answer of CreateTopics."""
    for answer in (ours, theirs):
        for topic in answer["topics"]:
            topic["configs"] = [entry for entry in topic["configs"] or [] if entry["name"] != "min.insync.replicas"]
            if topic["topic_id"] != "none":
                topic["topic_id"] = "some id"
    return ours, theirs


def no_groups(ours: Any, theirs: Any) -> tuple[Any, Any]:
    """Groups and transactions are not served yet; Kafka makes their topics when asked."""
    return {}, {}


def fewer_resources(ours: Any, theirs: Any) -> tuple[Any, Any]:
    """Kafka lists its brokers' loggers and the resources of groups and metrics too."""
    return ours, theirs


#: API key -> what is taken out of both answers before they are compared, and why (the function's docstring).
TOLERATED: dict[int, Callable[[Any, Any], tuple[Any, Any]]] = {
    10: no_groups,
    18: fewer_apis,
    19: elr_in_created,
    32: other_settings,
    74: fewer_resources,
}
