"""The logs of `__consumer_offsets`, read at the start: what the groups and their offsets are."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fiducial.fastpath.batch import batches
from fiducial.models import group_records, group_requests
from fiducial.models.batches import ATTRIBUTE_CONTROL, ATTRIBUTE_TRANSACTIONAL
from fiducial.models.group_requests import Groups
from fiducial.models.topics import OFFSETS_TOPIC, Topics
from fiducial.models.values import Uuid

if TYPE_CHECKING:
    from fiducial.fastpath.core import Core

log = logging.getLogger("fiducial")


def keys_of(topics: Topics) -> list[tuple[Uuid, int]]:
    """Every partition that records of groups are in."""
    topic = topics.by_name.get(OFFSETS_TOPIC)
    return [] if topic is None else [(topic.topic_id, index) for index in range(topic.partitions)]


def size_bytes(core: Core, topics: Topics) -> int:
    """How long these logs are."""
    return sum(segment["size_bytes"] for key in keys_of(topics) for segment in core.segments(*key))


def replayed(core: Core, topics: Topics, on_read: Callable[[int], None]) -> Groups:
    """What the records of all partitions come to; `on_read` is told of the bytes of each segment."""
    return group_requests.found([read(core, *key, on_read) for key in keys_of(topics)])


def read(core: Core, topic_id: Uuid, index: int, on_read: Callable[[int], None]) -> tuple[list[Any], bool]:
    """The records of groups in one partition that count, in order: the last of each key. And is anything else there, which is passed over?"""
    last, has_others = last_of_each_key(core, topic_id, index, on_read)
    records = []
    for key, (offset, value) in last.items():
        try:
            record = group_records.decoded(key, value)
        except ValueError as error:
            log.warning("record %d of %s-%d is none of a group: %s", offset, OFFSETS_TOPIC, index, error)
            record = None
        if record is not None:
            records.append(record)
        else:
            has_others |= value is not None
    return records, has_others


def last_of_each_key(core: Core, topic_id: Uuid, index: int, on_read: Callable[[int], None]) -> tuple[dict[bytes, tuple[int, bytes | None]], bool]:
    """Offset and value of the last record of each key, by offset. And is there anything that has no key, or is part of a transaction?"""
    last: dict[bytes, tuple[int, bytes | None]] = {}
    has_others = False
    (start, *_), *_ = core.marks(topic_id, index)
    for segment in core.segments(topic_id, index):
        for batch in batches(core.read_segment(topic_id, index, segment["base_offset"])):
            if batch.last_offset < start:
                continue
            if batch.attributes & (ATTRIBUTE_CONTROL | ATTRIBUTE_TRANSACTIONAL):
                has_others = True
                continue
            for stored in batch.records():
                if stored.key is None:
                    has_others = True
                elif stored.offset >= start:
                    last.pop(stored.key, None)  # its place is that of the last
                    last[stored.key] = stored.offset, stored.value
        on_read(segment["size_bytes"])
    return last, has_others
