"""The logs of `__consumer_offsets`, read at the start: what the groups and their offsets are."""

from __future__ import annotations

import logging
from collections.abc import Iterator
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


def replayed(core: Core, topics: Topics) -> Groups:
    """What the records of all partitions come to."""
    groups = Groups()
    topic = topics.by_name.get(OFFSETS_TOPIC)
    for index in range(topic.partitions if topic is not None else 0):
        assert topic is not None
        groups = group_requests.evolved(groups, read(core, topic.topic_id, index))
    return groups


def read(core: Core, topic_id: Uuid, index: int) -> Iterator[Any]:
    """The records of groups in one partition that count, in order: the last of each key. What is none is passed over."""
    for key, (offset, value) in last_of_each_key(core, topic_id, index).items():
        try:
            record = group_records.decoded(key, value)
        except ValueError as error:
            log.warning("record %d of %s-%d is none of a group: %s", offset, OFFSETS_TOPIC, index, error)
            continue
        if record is not None:
            yield record


def last_of_each_key(core: Core, topic_id: Uuid, index: int) -> dict[bytes, tuple[int, bytes | None]]:
    """Offset and value of the last record of each key, by offset. What has no key, and what is part of a transaction, is passed over."""
    last: dict[bytes, tuple[int, bytes | None]] = {}
    (start, *_), *_ = core.marks(topic_id, index)
    for segment in core.segments(topic_id, index):
        for batch in batches(core.read_segment(topic_id, index, segment["base_offset"])):
            if batch.attributes & (ATTRIBUTE_CONTROL | ATTRIBUTE_TRANSACTIONAL):
                continue
            for stored in batch.records():
                if stored.offset >= start and stored.key is not None:
                    last.pop(stored.key, None)  # its place is that of the last
                    last[stored.key] = stored.offset, stored.value
    return last
