"""How fast messages are read and written: kio, the reference codec, and the fast path's objects, in turns; the best of several rounds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from random_messages import Layout, entity_of, read_by_kio, written_by_kio

from bench.report import Table
from fiducial.fastpath import codec_objects
from fiducial.models.apis import APIS
from fiducial.models.messages import (
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
    PartitionProduceData,
    ProduceRequest,
    TopicProduceData,
)
from fiducial.reference import codec as reference

ROUNDS = 7
ROUND_S = 0.05


def produce(size_bytes: int) -> ProduceRequest:
    """A request with one batch."""
    records: Any = bytes(size_bytes)
    return ProduceRequest(None, -1, 30_000, (TopicProduceData("topic-1", partition_data=(PartitionProduceData(3, records),)),))


def metadata(topics: int, partitions: int) -> MetadataResponse:
    """A response with many partitions."""
    each = tuple(MetadataResponsePartition(0, index, 1, 7, (1, 2, 3), (1, 2, 3)) for index in range(partitions))
    every = tuple(MetadataResponseTopic(0, f"topic-{index}", index.to_bytes(16, "big"), partitions=each) for index in range(topics))
    return MetadataResponse(0, (MetadataResponseBroker(1, "127.0.0.1", 9092),), "fiducialfiducialfiduci", 1, every)


CASES: list[tuple[str, Layout, Any]] = [
    ("Produce v12 request, 16 KB", Layout(APIS[0], 12, "request"), produce(16 * 1024)),
    ("Produce v12 request, 110 KB", Layout(APIS[0], 12, "request"), produce(110 * 1024)),
    ("Metadata v12 response, 100 topics of 12 partitions", Layout(APIS[3], 12, "response"), metadata(100, 12)),
]


def seconds(call: Callable[[], Any]) -> float:
    """How long one call takes, by as many as fill a round."""
    calls, begun = 0, time.perf_counter()
    while (passed := time.perf_counter() - begun) < ROUND_S:
        call()
        calls += 1
    return passed / calls


def compared(layout: Layout, message: Any) -> dict[str, list[float]]:
    """Codec -> the best times to write and to read."""
    schema = layout.schema
    data, entity = codec_objects.encode(message, *layout.where), entity_of(schema, message)
    calls: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
        "kio": (lambda: written_by_kio(schema, entity), lambda: read_by_kio(schema, data)),
        "reference": (lambda: reference.encode(message, *layout.where), lambda: reference.decode(data, *layout.where)),
        "fast path": (lambda: codec_objects.encode(message, *layout.where), lambda: codec_objects.decode(data, *layout.where)),
    }
    rounds = [{name: [seconds(call) for call in both] for name, both in calls.items()} for _ in range(ROUNDS)]
    return {name: [min(one[name][way] for one in rounds) for way in (0, 1)] for name in calls}


def tables() -> list[Table]:
    """Every case."""
    rows = [(title, name, *(one * 1e6 for one in times)) for title, layout, message in CASES for name, times in compared(layout, message).items()]
    return [Table("Messages", ("message", "by", "write µs", "read µs"), list(rows), f"Wall time; the best of {ROUNDS} rounds.")]
