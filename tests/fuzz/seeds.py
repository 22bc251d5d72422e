"""What the corpus began with: real requests in every version, the suites' batches sound and odd, and messages of every layout. From a seed."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from odd_batches import NOW, Maker
from random_messages import Messages, every_layout

from fiducial.conformance import codec
from fiducial.conformance.batches import Item, build
from fiducial.fastpath import codec_objects
from fiducial.models import messages as m
from fiducial.models.apis import APIS

#: The topics of the harness; each has its id, 16 times its name.
NAMES = ("a", "b", "c", "d", "unknown")
BY_ID_FROM = {0: 13, 1: 13}
STREAMS, FIELDS = 3_000, 3_000
KINDS = ("request", "response")


class Streams:
    """Frames of hot requests, some of them pipelined, behind the two bytes that say where the stream is cut."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.maker = Maker(random, rarity=100)
        self.sequence = 0

    def stream(self) -> bytes:
        """One connection's."""
        self.sequence = 0
        frames = [self.frame(correlation) for correlation in range(self.random.choice([1, 1, 2, 3, 4]))]
        return self.random.randbytes(2) + b"".join(struct.pack(">i", len(frame)) + frame for frame in frames)

    def frame(self, correlation: int) -> bytes:
        """One request; now and then one that the control plane answers."""
        key = self.random.choice([0, 0, 0, 1, 1, 2, 18])
        version = self.random.randint(APIS[key].min_version, APIS[key].max_version)
        body = codec.encode(self.message(key, version), key, version, "request")
        return codec.request_frame(key, version, correlation, self.random.choice(["seed", None, ""]), body)

    def message(self, key: int, version: int) -> Any:
        """Of this API."""
        if key == 0:
            return self.produce(version)
        if key == 1:
            return self.fetch(version)
        return self.list_offsets() if key == 2 else m.ApiVersionsRequest()

    def records(self) -> Any:
        """Bytes or null: mostly a batch that is taken, and its successor; else an odd one."""
        if self.random.randrange(3) == 0:
            return self.maker.records()
        count = self.random.randint(1, 3)
        producer = (7, 0, self.sequence) if self.random.randrange(2) else (-1, -1, -1)
        self.sequence += count if producer[0] == 7 and self.random.randrange(4) else 0
        return build([Item(NOW - index) for index in range(count)], producer=producer, codec=self.random.choice([0, 0, 0, 1, 2, 3, 4]))

    def produce(self, version: int) -> m.ProduceRequest:
        """To one or two partitions."""
        topics = tuple(
            m.TopicProduceData(**self.named(0, version), partition_data=(m.PartitionProduceData(index=0, records=self.records()),))
            for _ in range(self.random.choice([1, 1, 2]))
        )
        return m.ProduceRequest(acks=self.random.choice([-1, -1, 1, 0, 2]), timeout_ms=1000, topic_data=topics)

    def fetch(self, version: int) -> m.FetchRequest:
        """Alone or in a session, from anywhere; some wait."""
        topics = tuple(
            m.FetchTopic(
                **self.named(1, version),
                partitions=(m.FetchPartition(partition=0, fetch_offset=self.random.choice([0, 1, 3, 4, 9]), partition_max_bytes=1000),),
            )
            for _ in range(self.random.randrange(3))
        )
        session = self.random.choice([(0, -1), (0, 0), (1, 1), (1, 2)]) if version >= 7 else (0, -1)
        waits = self.random.choice([(0, 0), (500, 1_000_000), (500, 1)])
        return m.FetchRequest(max_wait_ms=waits[0], min_bytes=waits[1], session_id=session[0], session_epoch=session[1], topics=topics)

    def list_offsets(self) -> m.ListOffsetsRequest:
        """By each special time, and by a real one."""
        times = self.random.choice([-1, -2, -3, NOW, NOW + 1, 0])
        partitions = (m.ListOffsetsPartition(partition_index=0, timestamp=times),)
        return m.ListOffsetsRequest(replica_id=-1, topics=(m.ListOffsetsTopic(name=self.random.choice(NAMES), partitions=partitions),))

    def named(self, key: int, version: int) -> dict[str, Any]:
        """A topic by its name or by its id, as the version has it."""
        name = self.random.choice(NAMES)
        if version >= BY_ID_FROM[key]:
            return {"topic_id": name[0].encode() * 16}
        return {"name": name} if key == 0 else {"topic": name}


def streams(random: Random) -> Iterator[bytes]:
    """For `frames`."""
    return (Streams(random).stream() for _ in range(STREAMS))


def fields(random: Random) -> Iterator[bytes]:
    """For `batches`; three bytes choose the limits, the version, and how the records are packed."""
    maker = Maker(random, rarity=30)
    return (bytes([random.randrange(256), random.randrange(256), random.choice([0, 0, 1, 2, 3, 4])]) + (maker.records() or b"") for _ in range(FIELDS))


def messages(random: Random) -> Iterator[bytes]:
    """For `messages`: each in its first version and its last, behind the API, the version and the kind."""
    keys = sorted(APIS)
    for layout in every_layout():
        if layout.version not in (layout.api.min_version, layout.api.max_version):
            continue
        message = Messages(random.randrange(1 << 30), for_kio=False).message(layout)
        head = bytes([keys.index(layout.api.key), layout.version - layout.api.min_version, KINDS.index(layout.kind)])
        yield head + codec_objects.encode(message, *layout.where)


SEEDS = {"frames": streams, "batches": fields, "messages": messages}


def write(target: str, folder: Path) -> None:
    """Every seed of a target in a file."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(SEEDS[target](Random(1))):
        (folder / f"{number:05}").write_bytes(data)
