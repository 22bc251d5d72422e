"""Which batches are taken, and how they are stored (LOG-BATCH, LOG-APPEND)."""

from __future__ import annotations

from typing import Any

from fiducial.conformance.cases import (
    PLAIN,
    Case,
    Step,
    Topic,
    case,
    data,
    delete_records,
    fetch,
    produce,
    produce_records,
    produce_to,
)
from fiducial.conformance.symbols import Ago, Batch, Record, Records, View
from fiducial.models.batches import UNPACKED_BYTES_MAX
from fiducial.models.values import changed

HOUR_MS = 3_600_000
SOUND = Batch()
#: What no size of a batch depends on.
NOWHERE = View(begun_ms=HOUR_MS)
THREE = Batch((Record(), Record(), Record()))
KEYLESS = Record(key=None)
GZIP, SNAPPY, LZ4, ZSTD = range(1, 5)

TWO_TOPICS = (("a", Topic()), ("b", Topic()))
COMPACTED = (("a", Topic((("cleanup.policy", "compact"),))),)
APPEND_TIME = (("a", Topic((("message.timestamp.type", "LogAppendTime"),))),)


def configured(**config: str) -> tuple[tuple[str, Topic], ...]:
    """One topic with these settings, dots written as underscores."""
    return (("a", Topic(tuple((name.replace("_", "."), text) for name, text in config.items()))),)


def between(*steps: Step) -> tuple[Step, ...]:
    """The steps between two sound batches, and what is in the log then."""
    return produce(SOUND), *steps, produce(SOUND), fetch()


def refused(id: str, batch: Batch, **more: Any) -> Case:
    """A batch that is refused leaves nothing behind: neither in the log nor in the offsets."""
    return case(id, *between(produce(batch)), **{"topics": PLAIN, **more})


def taken(id: str, *batches: Batch, **more: Any) -> Case:
    """Batches that are taken, and how they lie in the log."""
    return case(id, *map(produce, batches), fetch(), **more)


def of_bytes(size: int) -> Batch:
    """A batch of one record that is exactly so large as a whole."""
    content = size - len(SOUND.data(NOWHERE)) - 8  # lengths grow with what they count
    while (missing := size - len(holding(content).data(NOWHERE))) > 0:
        content += missing
    assert missing == 0, f"no batch of one record has {size} bytes"
    return holding(content)


def holding(content_bytes: int) -> Batch:
    """A batch of one record with so many bytes of content."""
    return Batch((Record(content=bytes(content_bytes)),))


UNREADABLE = {"length-13": "length 13", "negative-length": "length below 0", "magic-9": "magic 9", "negative-magic": "magic -1"}
#: The first bytes of a header that cannot be one: those that its length, or its magic byte, lies in.
NO_LENGTH, NO_MAGIC = bytes(8) + b"\x00\x00\x00\x0d", bytes(8) + b"\x00\x00\x00\x40" + bytes(4) + b"\x09"
NO_RECORDS = {
    "garbage": "garbage", "no-bytes": "no records at all", "unknown-codec": "codec 5", "no-gzip": "gzip of garbage", "no-snappy": "snappy of garbage",
    "no-lz4": "lz4 of garbage", "no-zstd": "zstd of garbage", "bytes-behind": "bytes behind the records",
}  # fmt: skip
CODECS = {"plain": 0, "gzip": GZIP, "snappy": SNAPPY, "lz4": LZ4, "zstd": ZSTD}

HEADERS = (
    *(
        case(
            f"LOG-BATCH-1/{slug}",
            produce_to(data(Records(), "b"), data(Records((Batch(fault=fault),)))),
            *between(produce(Batch(fault=fault))),
            fetch(topic="b"),
            topics=TWO_TOPICS,
        )
        for slug, fault in UNREADABLE.items()
    ),
    case(
        "LOG-BATCH-1/behind-a-transaction",
        produce_to(
            data(Records((Batch(fault="transactional bit"),))),
            data(Records((Batch(fault="magic 9"),)), "b"),
            transactional_id="fiducial-conform",
        ),
        fetch(),
        fetch(topic="b"),
        topics=TWO_TOPICS,
        also=("LOG-PRODUCE-12",),
    ),
    *(
        case(
            f"LOG-BATCH-2/{slug}",
            produce_to(data(Records(), "b"), data(Records((SOUND,), behind=behind))),
            produce(SOUND),
            fetch(),
            fetch(topic="b"),
            topics=TWO_TOPICS,
        )
        for slug, behind in {"length-13": NO_LENGTH, "magic-9": NO_MAGIC}.items()
    ),
    case("LOG-BATCH-2/part-of-a-batch-behind-it", *between(produce_records(Records((SOUND,), behind=NO_MAGIC[:16])))),
    case("LOG-BATCH-3/empty", *between(produce_records(b""))),
    case("LOG-BATCH-3/11-bytes", *between(produce_records(Records(cut=11)))),
    case("LOG-BATCH-3/all-but-one-byte", *between(produce_records(Records(cut=67)))),
    case("LOG-BATCH-3/null", produce_records(None), sweep=None, is_info=True, deadline_s=2.0),
    case("LOG-BATCH-4/two-batches", *between(produce(SOUND, SOUND))),
    refused("LOG-BATCH-5/magic-0", Batch(fault="magic 0")),
    refused("LOG-BATCH-5/magic-1", Batch(fault="magic 1")),
    refused("LOG-BATCH-6/zstd", Batch(codec=ZSTD)),
    refused("LOG-BATCH-7/base-offset-1", Batch(fault="base offset 1")),
    case(
        "LOG-BATCH-8/max-message-bytes",
        produce(of_bytes(200)),
        *between(produce(of_bytes(201))),
        topics=configured(max_message_bytes="200"),
    ),
    refused("LOG-BATCH-8/as-it-was-sent", holding(500), topics=configured(max_message_bytes="300", compression_type="gzip")),
    refused("LOG-BATCH-9/wrong-checksum", changed(THREE, fault="wrong checksum")),
    refused("LOG-BATCH-10/count-one-more", changed(THREE, fault="count one more")),
    refused("LOG-BATCH-10/delta-one-more", changed(THREE, fault="delta one more")),
    refused("LOG-BATCH-10/count-0", Batch(fault="count 0")),
    refused("LOG-BATCH-10/negative-count", Batch(fault="count below 0")),
    refused("LOG-BATCH-11/control-bit", Batch(fault="control bit")),
    refused("LOG-BATCH-12/no-sequence", Batch(producer=0, sequence=-1)),
    refused("LOG-BATCH-12/no-sequence-and-no-epoch", Batch(producer=0, epoch=-1, sequence=-1)),
)

RECORDS = (
    *(refused(f"LOG-BATCH-13/{slug}", Batch(fault=fault)) for slug, fault in NO_RECORDS.items()),
    refused("LOG-BATCH-14/one-more", changed(THREE, fault="count and delta one more")),
    refused("LOG-BATCH-14/one-less", changed(THREE, fault="count and delta one less")),
    refused("LOG-BATCH-15/compact", Batch((Record(), KEYLESS, KEYLESS)), topics=COMPACTED),
    refused("LOG-BATCH-15/compact-and-delete", Batch((KEYLESS,)), topics=configured(cleanup_policy="compact,delete")),
    taken("LOG-BATCH-15/delete", Batch((KEYLESS,))),
    refused(
        "LOG-BATCH-16/too-old",
        Batch((Record(), Record(Ago(3 * HOUR_MS)))),
        topics=configured(message_timestamp_before_max_ms=str(2 * HOUR_MS)),
    ),
    refused(
        "LOG-BATCH-16/too-new",
        Batch((Record(Ago(-3 * HOUR_MS)),)),
        topics=configured(message_timestamp_after_max_ms=str(2 * HOUR_MS)),
    ),
    taken(
        "LOG-BATCH-16/within-the-limits",
        Batch((Record(Ago(HOUR_MS)), Record(Ago(-HOUR_MS)), Record(-1))),
        topics=configured(message_timestamp_before_max_ms=str(2 * HOUR_MS), message_timestamp_after_max_ms=str(2 * HOUR_MS)),
    ),
    taken(
        "LOG-BATCH-16/append-time",
        Batch((Record(Ago(3 * HOUR_MS)),)),
        topics=configured(message_timestamp_type="LogAppendTime", message_timestamp_before_max_ms=str(2 * HOUR_MS)),
    ),
    refused("LOG-BATCH-17/append-time", Batch(fault="append time bit"), topics=APPEND_TIME),
    refused("LOG-BATCH-17/create-time-without-a-time", Batch(fault="append time bit, no max timestamp")),
    taken("LOG-BATCH-17/create-time", Batch(fault="append time bit"), also=("LOG-APPEND-6",)),
    refused(
        "LOG-BATCH-18/beside-a-missing-key",
        Batch((KEYLESS, Record(Ago(-3 * HOUR_MS)), Record())),
        topics=configured(cleanup_policy="compact", message_timestamp_after_max_ms=str(2 * HOUR_MS)),
    ),
    *(refused(f"LOG-BATCH-19/{slug}", changed(THREE, codec=codec, fault="odd deltas")) for slug, codec in CODECS.items() if codec in (GZIP, LZ4)),
    refused(
        "LOG-BATCH-20/uncompressed",
        Batch((Record(content=bytes(1_000)),), GZIP),
        topics=configured(compression_type="uncompressed", max_message_bytes="300"),
    ),
    case(
        "LOG-BATCH-21/segment-bytes",
        *between(produce(of_bytes((1 << 20) + 1))),
        topics=configured(segment_bytes=str(1 << 20), max_message_bytes=str(2 << 20)),
        sweep=None,
    ),
    case(
        "LOG-BATCH-22/by-the-log",
        produce(SOUND),
        delete_records(1),
        *(produce(changed(SOUND, fault=fault)) for fault in ("base offset 1", "wrong checksum", "count 0", "control bit", "count and delta one more")),
        produce(of_bytes(301)),
        topics=configured(max_message_bytes="300"),
    ),
    case(
        "LOG-BATCH-22/of-a-producer",
        produce(Batch(producer=0, epoch=1)),
        delete_records(1),
        produce(Batch(producer=0, epoch=1, sequence=7)),
        produce(Batch(producer=0, epoch=0)),
        producers=1,
    ),
    case(
        "LOG-BATCH-22/before-the-log-was-asked",
        produce(SOUND),
        delete_records(1),
        *(produce_records(records) for records in (b"", Records((SOUND, SOUND)), Records((Batch(fault="magic 1"),)), Records((SOUND,), behind=NO_LENGTH))),
        produce(SOUND, index=7),
        produce(SOUND, acks=2),
    ),
    case("LOG-BATCH-22/an-unreadable-header", *(produce(Batch(fault=fault)) for fault in UNREADABLE.values())),
    case("LOG-BATCH-22/records-without-a-key", produce(Batch((Record(), KEYLESS, Record(), KEYLESS))), produce(Batch((KEYLESS,))), topics=COMPACTED),
    case(
        "LOG-BATCH-22/records-of-another-time",
        produce(Batch((Record(), Record(Ago(3 * HOUR_MS)), Record(Ago(-3 * HOUR_MS)), KEYLESS))),
        topics=configured(message_timestamp_before_max_ms=str(2 * HOUR_MS), message_timestamp_after_max_ms=str(2 * HOUR_MS), cleanup_policy="compact"),
    ),
    *(taken(f"LOG-BATCH-23/{fault.replace(' ', '-')}", Batch(fault=fault)) for fault in ("delete horizon bit", "unused bits", "attributes of the second byte")),
    refused("LOG-BATCH-24/checksum-before-sequence", Batch(producer=0, sequence=-1, fault="wrong checksum")),
    case("LOG-BATCH-24/second-batch-before-its-checksum", *between(produce(SOUND, Batch(fault="wrong checksum")))),
    refused("LOG-BATCH-25/packed-by-zstd", Batch((Record(content=bytes(UNPACKED_BYTES_MAX)),), ZSTD), sweep=None),
    refused("LOG-BATCH-26/no-time", Batch((Record(-2),)), topics=configured(compression_type="gzip")),
    refused("LOG-BATCH-26/no-epoch", Batch(producer=0, epoch=-1), topics=configured(compression_type="gzip")),
)

APPENDS = (
    taken("LOG-APPEND-1/offsets", SOUND, THREE, SOUND, also=("LOG-APPEND-7", "LOG-APPEND-9")),
    *(taken(f"LOG-APPEND-2/{slug}", changed(THREE, codec=codec), SOUND, sweep=None) for slug, codec in CODECS.items()),
    *(
        taken(f"LOG-APPEND-3/{slug}", THREE, changed(THREE, codec=SNAPPY), topics=configured(compression_type=name), sweep=None)
        for slug, name in {"plain": "uncompressed", "gzip": "gzip", "snappy": "snappy", "lz4": "lz4", "zstd": "zstd"}.items()
    ),
    taken("LOG-APPEND-4/numbered-anew", changed(THREE, fault="odd deltas"), SOUND, topics=configured(compression_type="gzip")),
    taken("LOG-APPEND-4/plain", changed(THREE, fault="odd deltas"), SOUND),
    taken("LOG-APPEND-5/append-time", THREE, Batch((Record(-1),)), topics=APPEND_TIME, also=("LOG-APPEND-7",)),
    *(
        case(f"LOG-APPEND-7/{slug}", produce(SOUND), produce(THREE), delete_records(2), produce(SOUND), topics=topics)
        for slug, topics in {"create-time": PLAIN, "append-time": APPEND_TIME}.items()
    ),
    taken("LOG-APPEND-6/small-max-timestamp", changed(THREE, fault="small max timestamp")),
    taken("LOG-APPEND-6/large-max-timestamp", changed(THREE, fault="large max timestamp")),
    taken("LOG-APPEND-6/the-greatest-counts", Batch((Record(Ago(2 * HOUR_MS)), Record(Ago(HOUR_MS)), Record(Ago(3 * HOUR_MS))), fault="no max timestamp")),
    taken("LOG-APPEND-6/no-time", Batch((Record(-1), Record(-1)))),
)

CASES: tuple[Case, ...] = (*HEADERS, *RECORDS, *APPENDS)
