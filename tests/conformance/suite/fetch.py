"""Fetch requests: what is read, how much of it, and when it is answered (LOG-READ, LOG-FETCH, LOG-HW)."""

from __future__ import annotations

from typing import Any

from fiducial.conformance.cases import (
    Case,
    Removed,
    Step,
    Topic,
    awaited,
    case,
    delete_records,
    fetch,
    fetch_from,
    produce,
    still_waits,
    wanted,
)
from fiducial.conformance.suite.batches import LZ4, NOWHERE, SOUND, THREE, TWO_TOPICS, of_bytes
from fiducial.models import messages as m
from fiducial.models.values import ZERO_UUID, changed

#: Longer than any story is told: what waits so long is answered for another reason, or the case fails.
FOR_EVER_MS = 600_000
A_MOMENT_MS = 50
#: Longer than a broker takes for what comes between.
A_WHILE_MS = 1000
READ_COMMITTED = 1
#: What one of them takes in the log.
SOUND_BYTES, THREE_BYTES = (len(one.data(NOWHERE)) for one in (SOUND, THREE))

TWO_PARTITIONS = (("a", Topic(partitions=2)),)
ABSENT = (("a", Topic()), ("absent", Topic(partitions=0)))
#: Offset 0; 1 to 3; 4. The log ends at 5.
WRITTEN = (produce(SOUND), produce(THREE), produce(SOUND))


def fetched(id: str, *story: Step, **more: Any) -> Case:
    """A story about Fetch."""
    return case(id, *story, **{"sweep": m.FetchRequest, **more})


def waiting(*topics: m.FetchTopic, min_bytes: int = 1, **more: Any) -> Step:
    """A fetch on a connection of its own, which waits for so many bytes."""
    return fetch_from(*topics, **{"max_wait_ms": FOR_EVER_MS, "min_bytes": min_bytes, "connection": 2, "waits": True, **more})


def by_zero_id(topic: m.FetchTopic) -> m.FetchTopic:
    """The topic with no id, where it goes by one."""
    return changed(topic, topic_id=ZERO_UUID)


READS = (
    fetched("LOG-READ-1/beyond-the-end", *WRITTEN, fetch(5), fetch(6), fetch(-1), also=("LOG-READ-9",)),
    fetched("LOG-READ-1/below-the-start", *WRITTEN, delete_records(2), fetch(0), fetch(1), fetch(2)),
    fetched("LOG-READ-1/empty-log", fetch(0), fetch(1)),
    fetched(
        "LOG-READ-1/an-epoch-nobody-knows",
        *WRITTEN,
        delete_records(2),
        fetch_from(wanted(3, last_epoch=7)),
        fetch_from(wanted(1, last_epoch=0)),
        fetch_from(wanted(3, last_epoch=0)),
        also=("LOG-FETCH-6",),
    ),
    fetched("LOG-READ-2/both-isolation-levels", *WRITTEN, fetch(), fetch_from(wanted(), isolation_level=READ_COMMITTED), also=("LOG-HW-3",)),
    fetched("LOG-READ-3/inside-a-batch", *WRITTEN, fetch(1), fetch(2), fetch(3), fetch(4)),
    fetched("LOG-READ-3/inside-a-compressed-batch", produce(changed(THREE, codec=LZ4)), produce(SOUND), fetch(1), fetch(2), fetch(3)),
    fetched("LOG-READ-4/at-the-end", fetch(0), *WRITTEN, fetch(5), fetch_from(wanted(5), isolation_level=READ_COMMITTED)),
    fetched(
        "LOG-READ-5/the-first-batch-is-whole",
        *WRITTEN,
        fetch_from(wanted(1, limit=1)),
        fetch_from(wanted(2, limit=0)),
        fetch_from(wanted(1), max_bytes=1),
        fetch_from(wanted(1), max_bytes=0),
    ),
    fetched(
        "LOG-READ-5/no-more-than-is-allowed",
        *WRITTEN,
        fetch_from(wanted(limit=SOUND_BYTES + THREE_BYTES)),
        fetch_from(wanted(limit=SOUND_BYTES + THREE_BYTES - 1)),
        fetch_from(wanted(), max_bytes=SOUND_BYTES + THREE_BYTES + 1),
        fetch_from(wanted(), max_bytes=SOUND_BYTES),
    ),
    fetched(
        "LOG-READ-8/aborted-transactions",
        *WRITTEN,
        fetch(),
        fetch_from(wanted(), isolation_level=READ_COMMITTED),
        fetch_from(wanted(5), isolation_level=READ_COMMITTED),
        fetch_from(wanted(9), isolation_level=READ_COMMITTED),
        fetch_from(wanted(index=7), isolation_level=READ_COMMITTED),
    ),
    fetched(
        "LOG-READ-8/when-its-time-is-over",
        fetch_from(wanted(), max_wait_ms=A_MOMENT_MS, min_bytes=1, isolation_level=READ_COMMITTED),
        also=("LOG-FETCH-2",),
    ),
    fetched(
        "LOG-READ-8/where-nothing-is-read",
        produce(SOUND),
        produce(SOUND, index=1),
        fetch_from(wanted(), wanted(index=1), max_bytes=SOUND_BYTES + 1, isolation_level=READ_COMMITTED),
        fetch_from(wanted(5, last_epoch=0), isolation_level=READ_COMMITTED),
        topics=TWO_PARTITIONS,
    ),
    fetched("LOG-READ-8/for-replicas-that-are-none", *WRITTEN, *(fetch_from(wanted(), isolation_level=READ_COMMITTED, replica_id=one) for one in (-2, -3)), is_info=True),
    fetched("LOG-READ-9/no-marks", *WRITTEN, fetch(9), fetch(index=7), fetch_from(wanted(leader_epoch=1))),
    fetched("LOG-READ-10/unknown-isolation-level", *WRITTEN, *(fetch_from(wanted(), isolation_level=level) for level in (2, -1)), fetch()),
    fetched("LOG-READ-10/of-no-partition-that-exists", fetch_from(wanted(index=7), isolation_level=2)),
    fetched("LOG-READ-11/every-codec-in-every-version", *(produce(changed(THREE, codec=codec)) for codec in range(5)), fetch(), fetch(14)),
    fetched("LOG-READ-11/marks", fetch(), *WRITTEN, fetch(), delete_records(1), fetch(1), also=("LOG-HW-1",)),
    fetched("LOG-READ-12/limit-of-a-partition", *WRITTEN, fetch_from(wanted(limit=-1)), fetch_from(wanted(5, limit=-1))),
    fetched(
        "LOG-READ-12/limit-of-the-request",
        produce(SOUND),
        produce(SOUND, index=1),
        fetch_from(wanted(), wanted(index=1), max_bytes=-1),
        topics=TWO_PARTITIONS,
        also=("LOG-FETCH-3",),
    ),
    fetched("LOG-HW-1/the-log-end", fetch(), produce(THREE), fetch(3), delete_records(3), fetch(3)),
    fetched("LOG-HW-3/no-open-transaction", fetch(), produce(THREE), fetch(), fetch_from(wanted(3), isolation_level=READ_COMMITTED)),
)

ANSWERS = (
    fetched("LOG-FETCH-1/enough", *WRITTEN, fetch_from(wanted(), max_wait_ms=FOR_EVER_MS, min_bytes=SOUND_BYTES)),
    fetched(
        "LOG-FETCH-1/no-room-for-it",
        produce(SOUND),
        produce(SOUND, index=1),
        fetch_from(wanted(), wanted(index=1), max_wait_ms=FOR_EVER_MS, min_bytes=2 * SOUND_BYTES - 1, max_bytes=2 * SOUND_BYTES - 1),
        topics=TWO_PARTITIONS,
    ),
    fetched("LOG-FETCH-1/min-bytes-0", fetch_from(wanted(), max_wait_ms=FOR_EVER_MS, min_bytes=0)),
    fetched("LOG-FETCH-1/no-time", *(fetch_from(wanted(), max_wait_ms=wait, min_bytes=1) for wait in (0, -1))),
    fetched("LOG-FETCH-1/an-error", fetch_from(wanted(), wanted(9, index=1), max_wait_ms=FOR_EVER_MS, min_bytes=1), topics=TWO_PARTITIONS),
    fetched("LOG-FETCH-1/a-divergence", fetch_from(wanted(), wanted(9, index=1, last_epoch=0), max_wait_ms=FOR_EVER_MS, min_bytes=1), topics=TWO_PARTITIONS),
    fetched("LOG-FETCH-1/nothing-is-asked-for", fetch_from(max_wait_ms=FOR_EVER_MS, min_bytes=1)),
    fetched("LOG-FETCH-1/nothing-that-exists", fetch_from(wanted(index=7), max_wait_ms=FOR_EVER_MS, min_bytes=1)),
    fetched("LOG-FETCH-1/what-does-not-exist-is-no-reason", waiting(wanted(), wanted(index=7)), produce(SOUND), awaited(2)),
    fetched("LOG-FETCH-2/an-append", waiting(wanted()), produce(THREE), awaited(2)),
    fetched("LOG-FETCH-2/not-enough-yet", waiting(wanted(), min_bytes=3 * SOUND_BYTES), *[produce(SOUND)] * 3, awaited(2)),
    fetched(
        "LOG-FETCH-2/what-lies-there-counts",
        waiting(wanted(limit=1), min_bytes=SOUND_BYTES, max_wait_ms=A_WHILE_MS),
        produce(SOUND),
        produce(SOUND),
        awaited(2),
        sweep=None,
    ),
    fetched("LOG-FETCH-2/in-two-partitions", waiting(wanted(), wanted(index=1), min_bytes=2 * SOUND_BYTES), produce(SOUND, index=1), produce(SOUND), awaited(2), topics=TWO_PARTITIONS),
    fetched("LOG-FETCH-2/several-wait", waiting(wanted()), waiting(wanted(), connection=3), produce(SOUND), awaited(3), awaited(2)),
    fetched("LOG-FETCH-2/its-time-is-over", produce(SOUND), fetch_from(wanted(), max_wait_ms=A_MOMENT_MS, min_bytes=2 * SOUND_BYTES), fetch_from(wanted(1), max_wait_ms=A_MOMENT_MS, min_bytes=1)),
    fetched("LOG-FETCH-2/marks-of-the-moment", produce(SOUND), waiting(wanted(1)), delete_records(1), produce(SOUND), awaited(2)),
    fetched("LOG-FETCH-2/the-topic-is-deleted", waiting(wanted()), Step(Removed("a")), awaited(2), also=("LOG-FETCH-4",)),
    fetched(
        "LOG-FETCH-3/in-order",
        *(produce(SOUND, index=index) for index in (0, 0, 1, 1)),
        fetch_from(wanted(), wanted(index=1), max_bytes=3 * SOUND_BYTES),
        fetch_from(wanted(index=1), wanted(), max_bytes=3 * SOUND_BYTES),
        fetch_from(wanted(), wanted(index=1), max_bytes=2 * SOUND_BYTES),
        fetch_from(wanted(limit=SOUND_BYTES), wanted(index=1), max_bytes=3 * SOUND_BYTES),
        topics=TWO_PARTITIONS,
    ),
    fetched(
        "LOG-FETCH-3/a-whole-batch-once",
        produce(SOUND, index=1),
        produce(SOUND, index=2),
        fetch_from(wanted(), wanted(index=1), wanted(index=2), max_bytes=1),
        fetch_from(wanted(), wanted(index=1, limit=1), wanted(index=2, limit=SOUND_BYTES - 1)),
        topics=(("a", Topic(partitions=3)),),
    ),
    fetched("LOG-FETCH-4/no-such-partition", produce(SOUND), fetch_from(wanted(index=1), wanted(), wanted(index=-1))),
    fetched("LOG-FETCH-4/no-such-topic", produce(SOUND), fetch_from(wanted(topic="absent"), wanted()), topics=ABSENT, also=("LOG-FETCH-9",)),
    fetched("LOG-FETCH-5/the-epoch-that-is-and-none", *WRITTEN, *(fetch_from(wanted(leader_epoch=epoch)) for epoch in (0, -1, -2))),
    fetched("LOG-FETCH-6/beyond-the-end", *WRITTEN, fetch_from(wanted(6, last_epoch=0)), fetch_from(wanted(9, last_epoch=0)), fetch_from(wanted(5, last_epoch=0))),
    fetched("LOG-FETCH-6/it-agrees", *WRITTEN, fetch_from(wanted(1, last_epoch=0)), fetch_from(wanted(1, last_epoch=-2))),
    fetched("LOG-FETCH-8/ahead", *WRITTEN, fetch_from(wanted(leader_epoch=1)), fetch_from(wanted(9, leader_epoch=1))),
    fetched("LOG-FETCH-9/no-such-id", produce(SOUND), fetch_from(wanted(topic="absent"), wanted(topic="absent", index=1)), topics=ABSENT, also=("LOG-FETCH-4",)),
    fetched("LOG-FETCH-9/zero-id", produce(SOUND), fetch_from(by_zero_id(wanted()))),
    fetched("LOG-FETCH-9/zero-id-twice", produce(SOUND), fetch_from(by_zero_id(wanted()), by_zero_id(wanted(index=1))), topics=TWO_PARTITIONS, is_info=True),
    fetched("LOG-FETCH-10/no-replica-there", *WRITTEN, fetch_from(wanted(), replica_id=99), fetch_from(wanted(leader_epoch=0), replica_id=99)),
    fetched("LOG-FETCH-11/partition-named-twice", *WRITTEN, fetch_from(wanted(), wanted(4)), fetch_from(wanted(9), wanted(1))),
    fetched(
        "LOG-FETCH-11/at-its-first-place",
        produce(SOUND),
        produce(SOUND, index=1),
        fetch_from(wanted(), wanted(index=1), wanted(), max_bytes=SOUND_BYTES),
        topics=TWO_PARTITIONS,
    ),
    fetched(
        "LOG-FETCH-12/more-than-the-ceiling",
        *[produce(of_bytes(40_000))] * 3,
        fetch_from(wanted(limit=1 << 30), max_bytes=1 << 30),
        settings=(("fetch.max.bytes", 100_000),),
    ),
    fetched(
        "LOG-FETCH-13/min-bytes-beyond-max-bytes",
        produce(SOUND),
        produce(SOUND),
        fetch_from(wanted(), max_wait_ms=FOR_EVER_MS, min_bytes=1 << 30, max_bytes=SOUND_BYTES),
    ),
    fetched(
        "LOG-FETCH-13/of-a-partition-it-does-not-count",
        produce(SOUND),
        waiting(wanted(limit=SOUND_BYTES), min_bytes=2 * SOUND_BYTES, max_wait_ms=A_WHILE_MS),
        produce(SOUND),
        awaited(2),
        sweep=None,
    ),
    fetched(
        "LOG-FETCH-14/what-is-deleted-counts-on",
        produce(SOUND),
        waiting(wanted(), min_bytes=3 * SOUND_BYTES),
        delete_records(1),
        still_waits(2),
        produce(SOUND),
        still_waits(2),
        produce(SOUND),
        awaited(2),
    ),
    fetched("LOG-FETCH-11/topic-named-twice", produce(SOUND), produce(SOUND, topic="b"), fetch_from(wanted(), wanted(topic="b"), wanted(1)), topics=TWO_TOPICS),
)

CASES: tuple[Case, ...] = (*READS, *ANSWERS)
