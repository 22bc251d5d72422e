"""Data folders for tests: a broker of ours in process, topics that fill a folder with all that it can hold, and what a broker serves of them.

`Ours` and `Connected` (Apache Kafka, by TCP) take the same requests:

    with Ours(path) as broker:
        create(broker, "a")
        produce(broker, "a", build([Item(NOW)]))
        assert seen(broker, "a").end == 1
"""

from __future__ import annotations

import shutil
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Protocol

from raw_client import RawClient

from fiducial.conformance.batches import Item, build
from fiducial.conformance.exploration.steps import answer_of, request_frame
from fiducial.fastpath.batch import EncodedBatch, batches
from fiducial.fastpath.data import CLEAN, IDENTITY, LOG_STARTS
from fiducial.fastpath.node import Node, Send
from fiducial.models import messages as m
from fiducial.models.apis import APIS
from fiducial.models.settings import parse
from fiducial.models.state import Cluster

NOW = 1_700_000_000_000
#: UNKNOWN_TOPIC_OR_PARTITION, LEADER_NOT_AVAILABLE, NOT_LEADER_OR_FOLLOWER: what Apache Kafka answers of a partition until it has carried out what it said.
NOT_YET = (3, 5, 6)
#: So long Apache Kafka is given to carry out what it answered.
PATIENCE_S = 30.0
EVERYTHING = 2**31 - 1
KEYS = {api.request: api.key for api in APIS.values()}
#: Produce, Fetch and others by the topic's name, not by its id.
BY_NAME = {0: 12, 1: 12}


class Broker(Protocol):
    """Whoever answers frames."""

    def ask(self, frame: bytes) -> bytes | None:
        """The answer to one frame, both without their lengths; None if the connection ends instead."""
        ...


class Ours:
    """A broker of ours on a data folder, without sockets; its clock stands still at `now` unless it is moved."""

    def __init__(self, path: Path, *, now: int = NOW, **settings: str) -> None:
        self.path, self.now = path, now
        parsed = parse({name.replace("_", "."): text for name, text in settings.items()})
        self.node = Node(path, Cluster("fiducialfiducialfiduci", 1, "127.0.0.1", 9092), parsed, seed=1, now=now)
        self.is_running = True

    def ask(self, frame: bytes) -> bytes | None:
        (action,) = self.node.frame(1, bytearray(frame), self.now)
        return action.data[4:] if isinstance(action, Send) else None

    def stop(self) -> None:
        """In good order."""
        self.node.stop()
        self.is_running = False

    def crash(self) -> None:
        """As a killed process leaves its folder: what was written is there, and nothing else is done."""
        self.node.close()
        self.is_running = False

    def __enter__(self) -> Ours:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.is_running:
            self.stop()


class Connected:
    """A broker by TCP."""

    def __init__(self, host: str, port: int) -> None:
        self.client = RawClient(host, port)

    def ask(self, frame: bytes) -> bytes | None:
        return self.client.ask(frame)


# Requests


def talk(broker: Broker, message: Any) -> Any:
    """The answer to a request, in the newest version that names topics."""
    key = KEYS[type(message)]
    version = BY_NAME.get(key, APIS[key].max_version)
    answer = broker.ask(request_frame(key, version, message))
    assert answer is not None, "the connection ended"
    return answer_of(answer, key, version)


def create(broker: Broker, name: str, partitions: int = 1, /, **config: str) -> bytes:
    """Create a topic; configuration names with _ for dots. Its id."""
    configs = tuple(m.CreatableTopicConfig(key.replace("_", "."), text) for key, text in config.items())
    (made,) = talk(broker, m.CreateTopicsRequest((m.CreatableTopic(name, partitions, 1, configs=configs),), 60_000, False)).topics
    assert made.error_code == 0, made
    return bytes(made.topic_id)


def delete(broker: Broker, name: str) -> None:
    """Delete a topic."""
    (gone,) = talk(broker, m.DeleteTopicsRequest((m.DeleteTopicState(name),), timeout_ms=60_000)).responses
    assert gone.error_code == 0, gone


def sent(broker: Broker, topic: str, data: bytes, partition: int = 0) -> Any:
    """What is answered to one batch."""
    records: Any = data  # the field holds bytes as well
    entry = m.TopicProduceData(topic, partition_data=(m.PartitionProduceData(partition, records),))
    return talk(broker, m.ProduceRequest(None, -1, 10_000, (entry,))).responses[0].partition_responses[0]


def produce(broker: Broker, topic: str, data: bytes, partition: int = 0) -> int:
    """The offset that a batch got."""
    answer = sent(broker, topic, data, partition)
    assert answer.error_code == 0, answer
    return int(answer.base_offset)


def delete_records(broker: Broker, topic: str, offset: int, partition: int = 0) -> None:
    """Raise the log start."""
    entry = m.DeleteRecordsTopic(topic, (m.DeleteRecordsPartition(partition, offset),))
    (done,) = talk(broker, m.DeleteRecordsRequest((entry,), 10_000)).topics[0].partitions
    assert done.error_code == 0, done


def look_up(broker: Broker, topic: str, timestamp: int, partition: int = 0) -> tuple[int, int, int, int]:
    """ListOffsets: (error, offset, timestamp, leader epoch)."""
    entry = m.ListOffsetsTopic(topic, (m.ListOffsetsPartition(partition, timestamp=timestamp),))
    (found,) = talk(broker, m.ListOffsetsRequest(-1, 0, (entry,), 10_000)).topics[0].partitions
    return found.error_code, found.offset, found.timestamp, found.leader_epoch


def epoch_end(broker: Broker, topic: str, epoch: int, partition: int = 0) -> tuple[int, int]:
    """OffsetForLeaderEpoch: (the largest known epoch up to this one, where it ended)."""
    entry = m.OffsetForLeaderTopic(topic, (m.OffsetForLeaderPartition(partition, leader_epoch=epoch),))
    (found,) = talk(broker, m.OffsetForLeaderEpochRequest(-1, (entry,))).topics[0].partitions
    assert found.error_code == 0, found
    return found.leader_epoch, found.end_offset


def producers(broker: Broker, topic: str, partition: int = 0) -> tuple[tuple[int, int, int, int], ...]:
    """DescribeProducers: (id, epoch, last sequence, last timestamp), by id."""
    entry = m.DescribeProducersRequestTopicRequest(topic, (partition,))
    (found,) = talk(broker, m.DescribeProducersRequest((entry,))).topics[0].partitions
    assert found.error_code == 0, found
    return tuple(sorted((one.producer_id, one.producer_epoch, one.last_sequence, one.last_timestamp) for one in found.active_producers))


def stored(broker: Broker, topic: str, partition: int = 0) -> bytes:
    """Every batch, from the log start to the log end."""
    offset, read = look_up(broker, topic, -2, partition)[1], b""
    while True:
        wanted = m.FetchTopic(topic, partitions=(m.FetchPartition(partition, fetch_offset=offset, partition_max_bytes=EVERYTHING),))
        (found,) = talk(broker, m.FetchRequest(topics=(wanted,))).responses[0].partitions
        assert found.error_code == 0, found
        if not found.records:
            return read
        offset = batches(found.records)[-1].last_offset + 1
        read += found.records


# What a broker serves of a partition


@dataclass(frozen=True)
class Seen:
    """All that can be asked of a partition but for the epoch that it is in."""

    start: int
    end: int
    batches: tuple[bytes, ...]
    times: dict[int, tuple[int, int, int, int]]  # timestamp asked for -> what was found
    epochs: dict[int, tuple[int, int]]  # epoch -> where it ended
    producers: tuple[tuple[int, int, int, int], ...]

    def differs_from(self, other: Seen) -> list[str]:
        """In what the two differ, shortly."""
        unlike = [one.name for one in fields(self) if getattr(self, one.name) != getattr(other, one.name)]
        return [f"{name}: {getattr(self, name)!r:.300} and {getattr(other, name)!r:.300}" for name in unlike]


def seen(broker: Broker, topic: str, partition: int = 0, *, epochs: range = range(1)) -> Seen:
    """Ask for everything; `epochs`: those that are asked for."""
    data = batches(stored(broker, topic, partition))
    return Seen(
        look_up(broker, topic, -2, partition)[1],
        look_up(broker, topic, -1, partition)[1],
        tuple(one.data for one in data),
        {one: look_up(broker, topic, one, partition) for one in telling_times(data)},
        {epoch: epoch_end(broker, topic, epoch, partition) for epoch in epochs},
        producers(broker, topic, partition),
    )


def telling_times(data: list[EncodedBatch]) -> list[int]:
    """Times to look up: before and behind all, the greatest (-3), and some on, before and behind those of the records."""
    there = sorted({record.timestamp for one in data for record in one.records()})
    near = sorted({time + step for time in there for step in (-1, 0, 1) if time + step >= 0})
    return [-3, 0, *Random(1).sample(near, min(len(near), 12)), 2**62]


# Topics with all that a folder can hold


@dataclass(frozen=True)
class Topic:
    """Batches for a topic, by partition, and up to where they are deleted again."""

    name: str
    batches: tuple[tuple[bytes, ...], ...]
    config: dict[str, str] = field(default_factory=dict)
    deleted_to: int | None = None

    @property
    def partitions(self) -> list[tuple[str, int]]:
        """(topic, partition) of each."""
        return [(self.name, index) for index in range(len(self.batches))]


#: Everything is kept; indexes are small, and have many entries.
KEPT = {"retention_ms": "-1", "index_interval_bytes": "300", "segment_index_bytes": "2400"}
SMALL = {"internal_segment_bytes": "3000"}
CODECS = {"plain": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
#: Ids that no broker has given out.
PRODUCERS = (1_000_001, 1_000_002, 1_000_003)


def shelf(begun_ms: int) -> list[Topic]:
    """The topics; records are of about `begun_ms`, which is to be now where a broker has its own clock."""
    odd = [begun_ms - age for age in (5000, 3000, 3000, 9000, 1000, 1000, 7000, 0, 400, 1, 100_000, 2)]
    return [
        *(Topic(name, (tuple(rising(begun_ms, codec)), tuple(rising(begun_ms + 7, codec, 5))), KEPT) for name, codec in CODECS.items()),
        Topic("rolled", (tuple(rising(begun_ms, 0, 60)),), KEPT | SMALL),
        Topic("rolled-by-index", (tuple(rising(begun_ms, 0, 60)),), KEPT | {"segment_index_bytes": "240"}),
        Topic("rolled-by-time", (tuple(rising(begun_ms, 0, 60)),), KEPT | {"segment_ms": "500"}),
        Topic("odd-times", (tuple(batch_of([time, time - 3]) for time in odd * 4),), KEPT | SMALL),
        Topic("timeless", (tuple(batch_of([-1, -1]) for _ in range(40)),), KEPT | SMALL),
        Topic("producers", (tuple(of_producers(begun_ms)),), KEPT | SMALL),
        Topic("deleted-prefix", (tuple(rising(begun_ms, 0, 60)),), KEPT | SMALL, deleted_to=101),
        Topic("deleted", (tuple(rising(begun_ms, 0, 30)),), KEPT | SMALL, deleted_to=-1),
        Topic("empty", ((),), KEPT),
        Topic("stamped", (tuple(rising(begun_ms, 0)),), KEPT | SMALL | {"message_timestamp_type": "LogAppendTime"}),
        Topic("packed", (tuple(rising(begun_ms, 0)),), KEPT | SMALL | {"compression_type": "zstd"}),
    ]


def batch_of(times: list[int], codec: int = 0, size: int = 20, producer: tuple[int, int, int] = (-1, -1, -1)) -> bytes:
    """A batch with a record for each time."""
    items = [Item(time, b"k%d" % time, bytes(size), ((b"h", b"1"),) if size % 3 == 0 else ()) for time in times]
    return build(items, codec=codec, producer=producer)


def rising(begun_ms: int, codec: int, count: int = 40) -> Iterator[bytes]:
    """Batches of one to five records of up to 100 bytes, mostly later than the one before."""
    random, now = Random(codec), begun_ms - 100_000
    for _ in range(count):
        now += random.choice([-20, 0, 1, 5, 200])
        yield batch_of([now + index for index in range(random.randint(1, 5))], codec, random.randrange(100))


def of_producers(begun_ms: int) -> Iterator[bytes]:
    """Three producers in turn: one goes on from 0, one has its sequences wrap, one begins a new epoch in the middle."""
    sequences, epochs = [0, 2**31 - 30, 0], [0, 0, 4]
    for number in range(60):
        which = number % 3
        if number == 32:
            sequences[2], epochs[2] = 0, 5
        yield batch_of([begun_ms + number, begun_ms], producer=(PRODUCERS[which], epochs[which], sequences[which]))
        sequences[which] = (sequences[which] + 2) % 2**31


def resent(topic: Topic, partition: int = 0) -> list[tuple[int, bytes]]:
    """(offset, batch) of the last batch of each producer of a partition, as it was stored and sent."""
    last: dict[int, tuple[int, bytes]] = {}
    offset = 0
    for data in topic.batches[partition]:
        (one,) = batches(data)
        if one.producer_id >= 0:
            last[one.producer_id] = (offset, data)
        offset += one.count
    return list(last.values())


def grown(topic: Topic, begun_ms: int) -> Topic:
    """The topic with more batches in each partition: of each producer that it has the next one, and some of nobody."""
    more = []
    for index, data in enumerate(topic.batches):
        last = [batches(one)[0] for _, one in resent(topic, index)]
        own = [batch_of([begun_ms], producer=(one.producer_id, one.producer_epoch, (one.base_sequence + one.count) % 2**31)) for one in last]
        more.append((*data, *own, *rising(begun_ms, 0, 10)))
    return replace(topic, batches=tuple(more))


def fill(broker: Broker, topic: Topic, prefix: str = "") -> None:
    """Create a topic, and produce what is to be in it; `prefix` comes before its name."""
    name = prefix + topic.name
    create(broker, name, len(topic.batches), **topic.config)
    await_leaders(broker, [(name, index) for _, index in topic.partitions])
    append(broker, topic, prefix)
    if topic.deleted_to is not None:
        for _, index in topic.partitions:
            delete_records(broker, name, topic.deleted_to, index)


def append(broker: Broker, topic: Topic, prefix: str = "", *, after: Topic | None = None) -> None:
    """Produce what is to be in the partitions of a topic; of one that holds what `after` says, only the rest."""
    for index, data in enumerate(topic.batches):
        for one in data[len(after.batches[index]) if after else 0 :]:
            produce(broker, prefix + topic.name, one, index)


def await_leaders(broker: Broker, partitions: list[tuple[str, int]]) -> None:
    """Until each partition can be asked. What Apache Kafka answers, it has not always carried out yet."""
    give_up = time.monotonic() + PATIENCE_S
    for topic, index in partitions:
        while (error := look_up(broker, topic, -1, index)[0]) != 0:
            assert error in NOT_YET and time.monotonic() < give_up, f"{topic}-{index}: error {error}"
            time.sleep(0.05)


# Folders


def copied(folder: Path, to: Path) -> Path:
    """A copy of a data folder as it is at this moment."""
    shutil.copytree(folder, to, ignore=shutil.ignore_patterns(".lock"))
    return to


def moved_in(folder: Path, into: Path) -> None:
    """The files of one partition's folder, into that of another broker: whose topic it is stays."""
    for file in into.iterdir():
        if file.name != IDENTITY:
            file.unlink()
    for file in folder.iterdir():
        if file.name != IDENTITY:
            shutil.copyfile(file, into / file.name)


def log_starts(data: Path) -> dict[tuple[str, int], int]:
    """The log starts that a data folder's checkpoint tells of."""
    lines = (line.rsplit(" ", 2) for line in (data / LOG_STARTS).read_text().splitlines()[2:])
    return {(topic, int(index)): int(start) for topic, index, start in lines}


def with_log_starts(data: Path, starts: dict[tuple[str, int], int]) -> None:
    """Have the checkpoint tell of these too."""
    lines = [f"{topic} {index} {start}\n" for (topic, index), start in (log_starts(data) | starts).items()]
    (data / LOG_STARTS).write_text(f"0\n{len(lines)}\n{''.join(lines)}")


def was_stopped_cleanly(data: Path) -> bool:
    """Does the folder say so?"""
    return (data / CLEAN).exists()


def files_of(folder: Path, *suffixes: str) -> dict[str, bytes]:
    """The files with these endings, by name."""
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir()) if file.suffix in suffixes}


def number(name: str) -> int:
    """The offset that a file is named by."""
    return int(name.split(".")[0])


def base_offsets(folder: Path) -> list[int]:
    """Of the segments in a partition's folder."""
    return sorted(number(name) for name in files_of(folder, ".log"))


def index_entries(data: bytes) -> list[tuple[int, int]]:
    """(relative offset, position) of each entry of an offset index."""
    return list(struct.iter_unpack(">ii", data))
