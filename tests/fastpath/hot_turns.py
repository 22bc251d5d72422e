"""Turns of the core that happen all the time, again and again: how often each kind asked for memory once it had run for a while.

    LD_PRELOAD=… python -m fastpath.hot_turns FOLDER     with allocations.cpp, built; tells a JSON object: kind -> allocations in `TURNS` turns
"""

from __future__ import annotations

import ctypes
import json
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastpath.folders import NOW, Ours, create
from fiducial.conformance.batches import Item, build
from fiducial.conformance.exploration.steps import request_frame
from fiducial.models import messages as m

WARM, TURNS = 50, 400
PARTITIONS, PIPELINED = 3, 5
#: Too long to lie in a std::string itself.
TOPIC = "a-topic-with-a-long-name"
PRODUCE, FETCH = 0, 1
BY_NAME, BY_ID = 12, 13

Frames = Callable[[bytes, int], bytes]


def frame(key: int, version: int, message: Any) -> bytes:
    """As it comes from a socket."""
    data = request_frame(key, version, message)
    return struct.pack(">i", len(data)) + data


def produced(topic_id: bytes, version: int, *, sequence: int = -1) -> bytes:
    """One record to every partition; with a sequence, of an idempotent producer."""
    data: Any = build([Item(NOW)], producer=(-1, -1, -1) if sequence < 0 else (7, 0, sequence))
    parts = tuple(m.PartitionProduceData(index, data) for index in range(PARTITIONS))
    topic = m.TopicProduceData(TOPIC, partition_data=parts) if version < BY_ID else m.TopicProduceData(topic_id=topic_id, partition_data=parts)
    return frame(PRODUCE, version, m.ProduceRequest(None, -1, 10_000, (topic,)))


def fetched(topic_id: bytes, version: int, *, session: int = 0, epoch: int = -1) -> bytes:
    """Some bytes of every partition; in a session that goes on, of those that it knows."""
    parts = tuple(m.FetchPartition(index, fetch_offset=index, partition_max_bytes=1000) for index in range(PARTITIONS))
    topic = m.FetchTopic(TOPIC, partitions=parts) if version < BY_ID else m.FetchTopic(topic_id=topic_id, partitions=parts)
    return frame(FETCH, version, m.FetchRequest(min_bytes=1, session_id=session, session_epoch=epoch, topics=() if epoch > 0 else (topic,)))


def in_session(topic_id: bytes, turn: int) -> bytes:
    """The first of them begins it."""
    return fetched(topic_id, BY_ID, session=1 if turn else 0, epoch=turn)


#: What a connection sends in its turn number so and so.
KINDS: dict[str, Frames] = {
    "produce by id": lambda topic_id, _turn: produced(topic_id, BY_ID) * PIPELINED,
    "produce by name": lambda topic_id, _turn: produced(topic_id, BY_NAME) * PIPELINED,
    "produce, idempotent": lambda topic_id, turn: produced(topic_id, BY_ID, sequence=turn),
    "fetch by id": lambda topic_id, _turn: fetched(topic_id, BY_ID) * PIPELINED,
    "fetch by name": lambda topic_id, _turn: fetched(topic_id, BY_NAME) * PIPELINED,
    "fetch in a session": in_session,
}


def counted(folder: Path, frames: Frames) -> int:
    """Of one kind, on a broker of its own."""
    so_far = ctypes.c_long.in_dll(ctypes.CDLL(None), "allocations")
    with Ours(folder) as broker:
        core = broker.node.core
        core.draw_session_id = lambda: 1
        topic_id = create(broker, TOPIC, PARTITIONS)
        core.handle(1, bytearray(produced(topic_id, BY_ID)), NOW)
        turns = [bytearray(frames(topic_id, turn)) for turn in range(WARM + TURNS)]
        for turn, data in enumerate(turns):
            if turn == WARM:
                before = so_far.value
            assert core.handle(1, data, NOW) == (0, len(data))
        return so_far.value - before


if __name__ == "__main__":
    print(json.dumps({kind: counted(Path(sys.argv[1], kind), frames) for kind, frames in KINDS.items()}))
