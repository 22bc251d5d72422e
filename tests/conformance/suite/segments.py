"""Where segments end, and when the oldest go (LOG-ROLL, LOG-RETAIN, LOG-READ-6 and -7).

That a segment ends shows only by where a read ends, which is each broker's own (LOG-READ-6): what comes of those cases is told, and no more.
That retention looks shows within the time of a story only where it looks often.
"""

from __future__ import annotations

from typing import Any

from fiducial.conformance.cases import (
    Case,
    Step,
    TimePasses,
    Topic,
    awaited,
    case,
    delete_records,
    fetch,
    fetch_from,
    list_offsets,
    produce,
    wanted,
)
from fiducial.conformance.suite.batches import HOUR_MS, NOWHERE, SOUND, THREE, configured, of_bytes
from fiducial.conformance.suite.fetch import FOR_EVER_MS, fetched, waiting
from fiducial.conformance.suite.idempotence import batch
from fiducial.conformance.suite.lookups import TIMELESS, ago, at_each, end_of, found
from fiducial.conformance.symbols import Ago, Batch, Name
from fiducial.models import messages as m
from fiducial.models.config_requests import Operation, Resource
from fiducial.models.partition import LATEST_TIMESTAMP
from fiducial.models.values import changed

MIB = 1 << 20
#: Two of them, and no third, lie in a segment of MIB.
HALF = of_bytes(MIB // 2)
HOURLY = configured(segment_ms=str(HOUR_MS))
OF_A_MIB = configured(segment_bytes=str(MIB), max_message_bytes=str(MIB))


def everything(offset: int = 0) -> Step:
    """A read that nothing limits but the segment."""
    return fetch_from(wanted(offset, limit=8 * MIB), max_bytes=8 * MIB)


def only(offset: int) -> Step:
    """A read of one batch, whoever would read on."""
    return fetch_from(wanted(offset, limit=1))


def rolled(id: str, *story: Step, **more: Any) -> Case:
    """A story about where a segment ends: each of its batches is read from."""
    return fetched(id, *story, **{"sweep": None, "is_info": True, **more})


def of_time(batch: Batch, hours: float) -> Batch:
    """The batch, its records of so many hours ago."""
    return changed(batch, records=tuple(changed(record, timestamp=Ago(round(hours * HOUR_MS))) for record in batch.records))


ROLLS = (
    rolled("LOG-ROLL-1/exactly-full", *[produce(HALF)] * 5, *map(everything, range(5)), topics=OF_A_MIB),
    rolled("LOG-ROLL-1/does-not-fit", produce(HALF), produce(of_bytes(MIB // 2 + 1)), everything(), topics=OF_A_MIB),
    rolled("LOG-ROLL-2/more-than-an-hour", *map(produce, (ago(10), ago(9), ago(8.9), ago(8))), *map(fetch, range(4)), topics=HOURLY),
    rolled("LOG-ROLL-2/older-than-the-first", *map(produce, (ago(5), ago(10), ago(4.5))), fetch(), topics=HOURLY),
    rolled("LOG-ROLL-2/the-latest-record-counts", *map(produce, (ago(10), ago(12, 8))), fetch(), topics=HOURLY),
    rolled("LOG-ROLL-3/time-index", *[produce(SOUND)] * 4, *map(fetch, range(4)), topics=configured(segment_index_bytes="24", index_interval_bytes="0"), also=("LOG-ROLL-7",)),
    rolled("LOG-ROLL-3/offset-index", *map(produce, (ago(5), *[ago(6)] * 6)), *map(fetch, range(7)), topics=configured(segment_index_bytes="36", index_interval_bytes="0"), also=("LOG-ROLL-7",)),
    rolled(
        "LOG-ROLL-5/no-time",
        produce(TIMELESS),
        Step(TimePasses(400)),
        produce(TIMELESS),
        fetch(),
        topics=configured(segment_ms="200"),
    ),
    rolled("LOG-ROLL-5/the-clock-plays-no-part", produce(SOUND), Step(TimePasses(400)), produce(SOUND), fetch(), topics=configured(segment_ms="200")),
    rolled("LOG-ROLL-6/at-the-log-end", produce(of_time(THREE, 9)), produce(of_time(THREE, 5)), *map(fetch, range(6)), topics=HOURLY),
    rolled(
        "LOG-ROLL-7/not-the-first-batch",
        *[produce(SOUND)] * 6,
        *map(fetch, range(6)),
        topics=configured(segment_index_bytes="24", index_interval_bytes=str(2 * len(SOUND.data(NOWHERE)) - 1)),
    ),
    rolled(
        "LOG-APPEND-8/for-a-duplicate",
        produce(of_time(batch(0), 10)),
        produce(of_time(batch(0), 5)),
        produce(of_time(batch(1), 10)),
        fetch(),
        topics=HOURLY,
        producers=1,
    ),
    rolled(
        "LOG-APPEND-8/for-a-refused-batch",
        produce(of_time(batch(0), 10)),
        produce(of_time(batch(7), 5)),
        produce(of_time(batch(1), 10)),
        fetch(),
        topics=HOURLY,
        producers=1,
    ),
    fetched("LOG-FETCH-1/a-segment-that-will-not-grow", *map(produce, (ago(9), ago(5))), fetch_from(wanted(), max_wait_ms=FOR_EVER_MS, min_bytes=MIB), topics=HOURLY, is_info=True),
    fetched("LOG-FETCH-2/a-segment-ends", produce(ago(9)), waiting(wanted(1), min_bytes=MIB), produce(ago(5)), awaited(2), topics=HOURLY, is_info=True),
    rolled("LOG-READ-6/to-the-end-of-its-segment", *map(produce, (ago(9), ago(8.5), ago(5))), *map(fetch, range(3)), topics=HOURLY, is_info=False),
    fetched("LOG-READ-7/the-next-segment", *map(produce, (ago(9), ago(5), ago(2))), only(1), only(2), delete_records(1), only(1), topics=HOURLY),
    found("LOG-TIME-2/in-several-segments", *map(produce, (ago(9, 10), ago(5, 6), ago(2))), *at_each(11, 10, 9, 8, 6, 5, 3, 2, 1), topics=HOURLY),
    found("LOG-TIME-3/in-several-segments", *map(produce, (ago(9), ago(5, 2), ago(4))), list_offsets(-3), topics=HOURLY),
)

#: Retention looks at least this often.
OFTEN = (("log.retention.check.interval.ms", 1000),)


def retained(id: str, *story: Step, retention: dict[str, str], then: tuple[Step, ...], config: tuple[tuple[str, Topic], ...] = HOURLY, **more: Any) -> Case:
    """A log that is written while it keeps everything; then what it keeps."""
    ((_, topic),) = config
    keeping = ("a", Topic((*topic.config, ("retention.ms", "-1"))))
    changes = tuple(configuring(name.replace("_", "."), text) for name, text in retention.items())
    return case(id, *story, *changes, *then, *MARKS, topics=(keeping, CANARY), sweep=None, settings=OFTEN, **more)


def configuring(name: str, text: str) -> Step:
    """A setting of the topic is changed."""
    called: Any = Name("a")
    change = m.IncrementalAlterConfigsRequestAlterableConfig(name, Operation.SET, text)
    return Step(m.IncrementalAlterConfigsRequest((m.IncrementalAlterConfigsRequestAlterConfigsResource(Resource.TOPIC, called, (change,)),)))


#: Where the log begins, once that is where it should; and at last where it begins and ends, where its first epoch begins, and what is in it.
BEGINS = list_offsets(until=True)
MARKS = (list_offsets(), list_offsets(LATEST_TIMESTAMP), end_of(-2), fetch())
#: A log whose records go each time that retention looks.
CANARY = ("canary", Topic((("retention.ms", "1"),)))
#: What is written to it goes; and once more, for the look before may have begun too early.
HAS_LOOKED = (produce(ago(1), topic="canary"), list_offsets(topic="canary", until=True)) * 2
OLD_GO = {"retention_ms": str(4 * HOUR_MS)}
COMPACTED_HOURLY = configured(cleanup_policy="compact", segment_ms=str(HOUR_MS))

RETENTION = (
    retained("LOG-RETAIN-1/stops-at-what-it-keeps", *(produce(of_time(HALF, hours)) for hours in (2, 10, 10, 10)), retention=OLD_GO, then=HAS_LOOKED, config=OF_A_MIB),
    retained("LOG-RETAIN-3/the-active-segment", *map(produce, (ago(10), ago(8))), retention=OLD_GO, then=(BEGINS,)),
    retained("LOG-RETAIN-4/older-than-retention-ms", *map(produce, (ago(10), ago(8), ago(2))), retention=OLD_GO, then=(BEGINS,), also=("LOG-RETAIN-7",)),
    retained("LOG-RETAIN-4/for-ever", produce(ago(10)), retention={"retention_ms": "-1"}, then=HAS_LOOKED),
    retained("LOG-RETAIN-5/no-times", produce(TIMELESS), retention={"retention_ms": "200"}, then=(Step(TimePasses(400)), BEGINS)),
    retained("LOG-RETAIN-6/at-least-so-much-is-left", *[produce(HALF)] * 7, retention={"retention_bytes": str(3 * MIB // 2)}, then=(BEGINS,), config=OF_A_MIB),
    retained("LOG-RETAIN-7/inside-the-log", *map(produce, (ago(10, 10), ago(8), ago(2))), retention=OLD_GO, then=(BEGINS,)),
    retained("LOG-RETAIN-8/compact", *map(produce, (ago(10), ago(9.5))), retention=OLD_GO, then=HAS_LOOKED, config=COMPACTED_HOURLY),
)

CASES: tuple[Case, ...] = (*ROLLS, *RETENTION)
