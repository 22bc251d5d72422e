"""How an answer in a history is read: as in a case, but what a broker may have done by itself meanwhile is left out; and more closely, where that can be.

A topic that says how its batches are to be compressed has sizes of each broker's own; of one whose segments are small a part may go at any time.
"""

from __future__ import annotations

from typing import Any

from fiducial.conformance.abstraction import Abstraction, by_key
from fiducial.conformance.batches import stored_batches
from fiducial.conformance.symbols import View
from fiducial.models import messages as m

#: A time so near to ours is the broker's own "now", if it goes by our clock.
NEAR_MS = 2_000


def by_topic(topics: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What became of offsets, with the partitions of a topic in one entry, into however many they were put; none, if it has none."""
    entries: dict[tuple[str, str], dict[str, Any]] = {}
    for topic in topics:
        entry = entries.setdefault((topic["name"], topic.get("topic_id", "")), topic | {"partitions": []})
        entry["partitions"] = sorted([*entry["partitions"], *topic["partitions"]], key=by_key)
    return sorted((entry for entry in entries.values() if entry["partitions"]), key=by_key)


class Reading(Abstraction):
    """Of `resized` topics, whose batches a broker may have compressed itself, sizes are not compared; of `unsized` ones those of logs are not."""

    def __init__(self, view: View, resized: frozenset[str], unsized: frozenset[str]) -> None:
        super().__init__(view)
        self.resized = resized
        self.unsized = resized | unsized

    def of_fields(self, message: Any) -> dict[str, Any]:
        """A message by its fields; sizes where they can be compared."""
        found = super().of_fields(message)
        if isinstance(message, m.DescribeLogDirsTopic) and found["name"] in self.unsized:
            found["partitions"] = [part | {"partition_size": "some"} for part in found["partitions"]]
        if isinstance(message, m.MetadataResponse):
            del found["topics in error"]  # of ids that nobody has Apache Kafka tells first, of names last
        if isinstance(message, m.OffsetCommitResponse | m.OffsetDeleteResponse):
            found["topics"] = by_topic(found["topics"])
        return found


class CloseReading(Reading):
    """The same for a broker that goes by our clock, tells its own address, reads partitions in an order, and cuts batches where Apache Kafka does."""

    near_ms = NEAR_MS

    def of(self, message: Any, name: str = "") -> Any:
        """A message or a field; an address is its own, or another."""
        if name in ("host", "port"):
            return f"its {name}" if message == getattr(self.view, name) else message
        return super().of(message, name)

    def of_fields(self, message: Any) -> dict[str, Any]:
        """A message by its fields, the bytes of a batch that is cut, and in which order partitions were read."""
        found = super().of_fields(message)
        if isinstance(message, m.FetchResponse):
            found["read"] = [(topic.topic, self.topic_id(topic.topic_id), part.partition_index) for topic in message.responses for part in topic.partitions if part.records]
            found["cut"] = sorted((self.topic_of(topic), part.partition_index, self.cut(topic, part)) for topic in message.responses for part in topic.partitions)
        return found

    def topic_of(self, topic: m.FetchableTopicResponse) -> str:
        """The topic that is answered, by name or by id."""
        return topic.topic or next((name for name, known in self.view.topic_ids.items() if known == topic.topic_id), "")

    def cut(self, topic: m.FetchableTopicResponse, part: m.PartitionData) -> int:
        """How many bytes there are of a batch that is cut."""
        data: Any = part.records
        return 0 if self.topic_of(topic) in self.resized or not data else stored_batches(data)[1]
