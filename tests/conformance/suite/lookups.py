"""Looking up offsets: by time, by the name of a mark, by leader epoch (LOG-TIME, LOG-EPOCH)."""

from __future__ import annotations

from typing import Any

from fiducial.conformance.cases import Case, Step, case, delete_records, list_offsets, produce
from fiducial.conformance.suite.batches import APPEND_TIME, CODECS, HOUR_MS, SOUND
from fiducial.conformance.suite.fetch import ABSENT, READ_COMMITTED, TWO_PARTITIONS, WRITTEN
from fiducial.conformance.symbols import Ago, Batch, Name, Record, counted
from fiducial.models import messages as m
from fiducial.models.partition import (
    EARLIEST_LOCAL_TIMESTAMP,
    EARLIEST_PENDING_UPLOAD_TIMESTAMP,
    EARLIEST_TIMESTAMP,
    LATEST_TIERED_TIMESTAMP,
    LATEST_TIMESTAMP,
    MAX_TIMESTAMP,
)
from fiducial.models.values import changed

MARKS = (
    LATEST_TIMESTAMP, EARLIEST_TIMESTAMP, MAX_TIMESTAMP, EARLIEST_LOCAL_TIMESTAMP, LATEST_TIERED_TIMESTAMP, EARLIEST_PENDING_UPLOAD_TIMESTAMP,
)  # fmt: skip
EACH_MARK = tuple(map(list_offsets, MARKS))


def found(id: str, *story: Step, **more: Any) -> Case:
    """A story about ListOffsets."""
    return case(id, *story, **{"sweep": m.ListOffsetsRequest, **more})


def looked_up(*topics: m.ListOffsetsTopic, replica_id: int = -1, isolation_level: int = 0) -> Step:
    """A whole ListOffsets request."""
    return Step(m.ListOffsetsRequest(replica_id, isolation_level, topics))


def asked(*timestamps: Any, topic: str = "a", index: int = 0, leader_epoch: int = -1) -> m.ListOffsetsTopic:
    """A partition in a ListOffsets request, once for each timestamp."""
    name: Any = Name(topic)
    return m.ListOffsetsTopic(name, tuple(m.ListOffsetsPartition(index, counted(leader_epoch), timestamp) for timestamp in timestamps))


def ago(*hours: float) -> Batch:
    """A batch of records of so many hours ago."""
    return Batch(tuple(Record(Ago(round(one * HOUR_MS))) for one in hours))


def at_each(*hours: float) -> tuple[Step, ...]:
    """A lookup of each of these times."""
    return tuple(list_offsets(Ago(round(one * HOUR_MS))) for one in hours)


TIMELESS = Batch((Record(-1), Record(-1)))
#: Offsets 0 to 2, and 3 and 4; the latest record is neither the last nor at the end of its batch.
MIXED = (ago(7, 3, 5), ago(6, 4))

LOOKUPS = (
    found("LOG-TIME-1/empty-log", *EACH_MARK, list_offsets(0)),
    found("LOG-TIME-1/marks", *WRITTEN, *EACH_MARK, also=("LOG-TIME-5",)),
    found("LOG-TIME-1/after-a-deletion", *WRITTEN, delete_records(2), *EACH_MARK),
    found("LOG-TIME-1/all-deleted", *WRITTEN, delete_records(5), *(list_offsets(mark) for mark in MARKS if mark != MAX_TIMESTAMP)),
    found("LOG-TIME-2/inside-a-batch", produce(ago(7, 6, 5)), produce(ago(4, 3)), *at_each(8, 7, 6.5, 6, 5, 4.5, 4, 3, 2)),
    *(
        found(f"LOG-TIME-2/inside-a-batch-of-{slug}", produce(changed(ago(7, 6, 5), codec=codec)), *at_each(7, 6.5, 5, 4))
        for slug, codec in CODECS.items()
        if codec
    ),
    found("LOG-TIME-2/out-of-order", *map(produce, MIXED), *at_each(8, 7, 6, 5.5, 5, 4, 3.5, 3, 2)),
    found("LOG-TIME-2/an-old-batch-behind-a-new-one", produce(ago(3)), produce(ago(7)), produce(ago(2)), *at_each(7, 3, 2.5, 2, 1)),
    found("LOG-TIME-2/not-below-the-log-start", produce(ago(7, 6, 5)), produce(ago(4)), delete_records(1), *at_each(8, 7, 6, 4)),
    found("LOG-TIME-2/append-time", produce(ago(7, 6)), *at_each(9, 7, 1, -1), topics=APPEND_TIME),
    found("LOG-TIME-2/no-times", produce(TIMELESS), list_offsets(0), *at_each(7), produce(ago(6)), list_offsets(0), *at_each(7)),
    found("LOG-TIME-3/neither-first-nor-last", *map(produce, MIXED), list_offsets(MAX_TIMESTAMP)),
    *(
        found(f"LOG-TIME-3/in-a-batch-of-{slug}", produce(changed(MIXED[0], codec=codec)), produce(MIXED[1]), list_offsets(MAX_TIMESTAMP))
        for slug, codec in CODECS.items()
        if codec
    ),
    found("LOG-TIME-3/the-first-of-several", produce(ago(7, 3, 3)), produce(ago(3)), list_offsets(MAX_TIMESTAMP)),
    found("LOG-TIME-3/append-time", produce(ago(7, 3, 5)), list_offsets(MAX_TIMESTAMP), topics=APPEND_TIME),
    found("LOG-TIME-3/no-times", produce(TIMELESS), list_offsets(MAX_TIMESTAMP)),
    found("LOG-TIME-4/negative-timestamps", *WRITTEN, *(list_offsets(timestamp) for timestamp in (*MARKS, -7, -1000))),
    found("LOG-TIME-5/isolation-and-replicas", *WRITTEN, looked_up(asked(-1), isolation_level=READ_COMMITTED), *(looked_up(asked(-1), replica_id=one) for one in (-2, -3))),
    found("LOG-TIME-5/no-offset-too-many", list_offsets(LATEST_TIMESTAMP), produce(SOUND), list_offsets(LATEST_TIMESTAMP), produce(SOUND), list_offsets(LATEST_TIMESTAMP)),
    found("LOG-TIME-6/named-twice", *WRITTEN, looked_up(asked(-1, -2), asked(-1, index=1)), looked_up(asked(-1), asked(-1)), topics=TWO_PARTITIONS),
    found("LOG-TIME-7/no-such-partition", looked_up(asked(-1), asked(-1, index=1), asked(-1, index=-1))),
    found("LOG-TIME-7/no-such-topic", looked_up(asked(-1, topic="absent"), asked(-1)), topics=ABSENT),
    found("LOG-TIME-8/unknown-isolation-level", *WRITTEN, *(looked_up(asked(-1), asked(-1, index=7), isolation_level=level) for level in (2, -1))),
    found("LOG-FETCH-5/lookup-by-time", *WRITTEN, *(looked_up(asked(-1, leader_epoch=epoch)) for epoch in (-2, -1, 0))),
    found("LOG-FETCH-8/lookup-by-time", *WRITTEN, looked_up(asked(-1, leader_epoch=1))),
)


def epochs(id: str, *story: Step, **more: Any) -> Case:
    """A story about OffsetForLeaderEpoch."""
    return case(id, *story, **{"sweep": m.OffsetForLeaderEpochRequest, **more})


def end_of(epoch: int, *, leader_epoch: int = -1, topic: str = "a", index: int = 0) -> Step:
    """Where an epoch ended."""
    name: Any = Name(topic)
    wanted = m.OffsetForLeaderPartition(index, counted(leader_epoch), counted(epoch))
    return Step(m.OffsetForLeaderEpochRequest(-2, (m.OffsetForLeaderTopic(name, (wanted,)),)))


EPOCHS = (
    epochs("LOG-EPOCH-1/known-and-unknown", *WRITTEN, *map(end_of, (0, 1, 100, -1, -2))),
    epochs("LOG-EPOCH-1/after-a-deletion", *WRITTEN, delete_records(2), *map(end_of, (0, -2)), also=("LOG-DELETE-3",)),
    epochs("LOG-EPOCH-2/before-anything-is-written", *map(end_of, (0, 1, -2))),
    epochs("LOG-EPOCH-3/without-an-error", *WRITTEN, end_of(5), end_of(0, leader_epoch=0), end_of(5, leader_epoch=0)),
    epochs("LOG-EPOCH-4/no-such-partition", end_of(0, index=1), end_of(0, index=-1), end_of(0, topic="absent"), topics=ABSENT),
    epochs("LOG-FETCH-5/lookup-by-epoch", *WRITTEN, end_of(0, leader_epoch=-2), end_of(0, leader_epoch=-1)),
    epochs("LOG-FETCH-8/lookup-by-epoch", *WRITTEN, end_of(0, leader_epoch=1)),
)

CASES: tuple[Case, ...] = (*LOOKUPS, *EPOCHS)
