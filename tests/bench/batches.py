"""Batches made, read and judged, per record: the fast path beside aiokafka's compiled codec.

CPU time of one core. The sides take turns in one run, so that whatever else the machine does slows both; the best of many turns counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any

from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

from bench.report import Table
from fiducial.fastpath import batch

NOW = 1_700_000_000_000
TURNS = 40
TURN_BYTES = 2_000_000
WAYS = ("table", "x86", "ARM64")
LIMITS = {
    "max_message_bytes": 1_048_588,
    "timestamp_before_max_ms": 2**63 - 1,
    "timestamp_after_max_ms": 3_600_000,
    "append_time": False,
    "compacts": False,
    "codec": -1,
    "level": 0,
}

Sent = tuple[int, bytes | None, bytes]
Contest = dict[str, Callable[[], Any]]


def best_seconds(contest: Contest, calls: int) -> dict[str, float]:
    """Of each side, the CPU time of one call."""
    best = dict.fromkeys(contest, float("inf"))
    for _ in range(TURNS):
        for name, call in contest.items():
            begun = time.process_time()
            for _ in range(calls):
                call()
            best[name] = min(best[name], (time.process_time() - begun) / calls)
    return best


Row = tuple[str, str, float | None, float | None, float, float]
COLUMNS = ("what", "by", "M records/s", "ns/record", "GB/s", "of the first")


def compared(title: str, contest: Contest, size_bytes: int, count: int | None = None) -> list[Row]:
    """A row for each side; the first is what the others are measured by. `count` records have `size_bytes` together."""
    best = best_seconds(contest, max(TURN_BYTES // size_bytes, 1))
    first = next(iter(best.values()))
    return [
        (title, name, count and count / seconds / 1e6, count and seconds / count * 1e9, size_bytes / seconds / 1e9, first / seconds)
        for name, seconds in best.items()
    ]


def aiokafka_encode(records: Sequence[Sent]) -> bytes:
    """A batch of aiokafka's."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 30)
    for index, (timestamp, key, content) in enumerate(records):
        builder.append(index, timestamp, key, content, [])
    return bytes(builder.build())


def aiokafka_decode(data: bytes) -> None:
    """Every value touched."""
    read = DefaultRecordBatch(data)
    assert read.validate_crc()
    for record in read:
        record.value  # noqa: B018


def decode(data: bytes) -> None:
    """Every value touched."""
    read = batch.EncodedBatch(data)
    assert read.crc_is_good
    for record in read.records():
        record.value  # noqa: B018


def columns(data: bytes) -> None:
    """No object for a record."""
    read = batch.EncodedBatch(data)
    assert read.crc_is_good
    read.columns()


def judge(data: bytes) -> None:
    """All that a log checks."""
    assert batch.judge(data, LIMITS, now=NOW, api_version=13)[0] == 0


def records(count: int) -> list[Sent]:
    """Records of 100 bytes that pack to about half."""
    random = Random(0)
    return [(NOW + index, None, random.randbytes(50).hex().encode()) for index in range(count)]


def tables() -> list[Table]:
    """Batches of three sizes, and the checksum alone."""
    rows: list[Row] = []
    for count in (1, 150, 1000):
        sent = records(count)
        data = batch.encode(sent)
        assert data == aiokafka_encode(sent)
        size = f"{count:,} x 100 B"
        rows += compared(f"encode, {size}", {"aiokafka": partial(aiokafka_encode, sent), "ours": partial(batch.encode, sent)}, len(data), count)
        readers: Contest = {"aiokafka": partial(aiokafka_decode, data), "ours, objects": partial(decode, data)}
        rows += compared(f"decode with CRC, {size}", {**readers, "ours, columns": partial(columns, data)}, len(data), count)
        judges: Contest = {"plain": partial(judge, data)}
        for codec, name in ((1, "gzip"), (2, "snappy"), (3, "lz4"), (4, "zstd")):
            judges[name] = partial(judge, batch.encode(sent, codec=codec))
        rows += compared(f"validate, {size}", judges, len(data), count)
    for size_bytes in (128, 1024, 16_384, 110_000, 1 << 20):
        ways = [way for way in range(len(WAYS)) if batch.checksum_of(b"", way=way) is not None]
        sums: Contest = {WAYS[way]: partial(batch.checksum_of, bytes(size_bytes), way=way) for way in ways}
        rows += compared(f"CRC-32C, {size_bytes:,} B a call", sums, size_bytes)
    note = f"CPU time of one core; the best of {TURNS} turns, in which the sides alternate. Validate: all that a log checks of a batch, CRC included."
    return [Table("Record batches", COLUMNS, list(rows), note)]
