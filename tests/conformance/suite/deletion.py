"""Letting go of records on request (LOG-DELETE)."""

from __future__ import annotations

from typing import Any

from fiducial.conformance.cases import Case, Step, case, delete_records, fetch, list_offsets, produce
from fiducial.conformance.suite.batches import COMPACTED, SOUND, configured
from fiducial.conformance.suite.fetch import ABSENT, TWO_PARTITIONS, WRITTEN
from fiducial.conformance.symbols import Name
from fiducial.models import messages as m
from fiducial.models.partition import LATEST_TIMESTAMP

#: The log start, the log end, and what is read from the start on.
MARKS = (list_offsets(), list_offsets(LATEST_TIMESTAMP))


def deleted(id: str, *story: Step, **more: Any) -> Case:
    """A story about DeleteRecords, and where the log then begins and ends."""
    return case(id, *story, *MARKS, **{"sweep": m.DeleteRecordsRequest, **more})


def deleting(*topics: m.DeleteRecordsTopic) -> Step:
    """A whole DeleteRecords request."""
    return Step(m.DeleteRecordsRequest(topics, 10_000))


def below(*offsets: int, topic: str = "a", index: int = 0) -> m.DeleteRecordsTopic:
    """A partition in a DeleteRecords request, once for each offset."""
    name: Any = Name(topic)
    return m.DeleteRecordsTopic(name, tuple(m.DeleteRecordsPartition(index, offset) for offset in offsets))


CASES: tuple[Case, ...] = (
    deleted("LOG-DELETE-1/compact", *WRITTEN, *map(delete_records, (1, -1, 0, 99)), topics=COMPACTED),
    deleted("LOG-DELETE-1/compact-and-delete", *WRITTEN, delete_records(1), topics=configured(cleanup_policy="compact,delete")),
    deleted("LOG-DELETE-1/no-policy", *WRITTEN, delete_records(1), topics=configured(cleanup_policy="")),
    deleted("LOG-DELETE-2/beyond-the-high-watermark", delete_records(1), *WRITTEN, *map(delete_records, (6, 100, -2, -100))),
    deleted("LOG-DELETE-3/rises", *WRITTEN, *map(delete_records, (1, 4)), fetch(3), fetch(4)),
    deleted("LOG-DELETE-3/never-falls", *WRITTEN, *map(delete_records, (4, 4, 3, 0)), fetch(3)),
    deleted("LOG-DELETE-3/inside-a-batch", *WRITTEN, delete_records(2), fetch(1), fetch(2)),
    deleted("LOG-DELETE-3/all", *WRITTEN, delete_records(5), fetch(4), fetch(5), produce(SOUND), fetch(5)),
    deleted("LOG-DELETE-4/the-high-watermark", delete_records(-1), *WRITTEN, delete_records(-1), delete_records(-1), also=("LOG-DELETE-3",)),
    deleted("LOG-DELETE-4/the-low-watermark", *WRITTEN, *map(delete_records, (3, 1, 9, 0))),
    deleted("LOG-DELETE-5/no-such-partition", *WRITTEN, deleting(below(1, index=1), below(1), below(1, index=-1))),
    deleted("LOG-DELETE-5/no-such-topic", *WRITTEN, deleting(below(1, topic="absent"), below(1)), topics=ABSENT),
    deleted("LOG-DELETE-7/named-twice", *WRITTEN, deleting(below(3, 1)), deleting(below(4), below(2)), topics=TWO_PARTITIONS),
    deleted("LOG-DELETE-7/a-refusal-is-overruled", *WRITTEN, deleting(below(99, 1)), deleting(below(2, 99))),
    deleted("LOG-DELETE-7/without-partitions", *WRITTEN, deleting(below(), below(1, index=1)), topics=TWO_PARTITIONS),
)
