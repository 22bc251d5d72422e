"""The history machine: seeded random histories of valid, invalid and boundary requests, asked of two targets side by side.

A history is a list of steps; a step makes its request from what the target has given out so far (`View`), so that the same step means the
same on every target. Where the answers differ beyond what `abstraction` allows, the history is cut down to a short story.
"""

from __future__ import annotations

import random
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from differential.abstraction import TOLERATED, Abstraction, Difference, allowed_instead, differences
from differential.encode import Item, encoded
from differential.targets import Closed, Target, View, answer_of, framed, request_frame, talk
from fiducial.models import messages as m
from fiducial.models.apis import APIS
from fiducial.models.values import ZERO_UUID

SEQUENCE_MAX = 2**31 - 1

#: The topics of a history, by what is particular about them.
CONFIGS: dict[str, dict[str, str]] = {
    "plain": {},
    "append-time": {"message.timestamp.type": "LogAppendTime"},
    "compacted": {"cleanup.policy": "compact"},
    "both": {"cleanup.policy": "compact,delete"},
    "small": {"max.message.bytes": "300", "internal.segment.bytes": "1000"},
    "tight": {"message.timestamp.before.max.ms": "600000", "message.timestamp.after.max.ms": "600000"},
    "gzip": {"compression.type": "gzip"},
    "zstd": {"compression.type": "zstd"},
    "snappy": {"compression.type": "snappy"},
    "lz4": {"compression.type": "lz4"},
    "uncompressed": {"compression.type": "uncompressed"},
}
NAMES = (*CONFIGS, "later", "absent", "bad/name", "", ".", "a" * 250)


@dataclass
class Step:
    """One request: what it is called in a story, and how it is made for a target."""

    action: str
    api_key: int
    api_version: int
    make: Callable[[View], Any]  # a message, or the bytes of a body
    client_id: str = "history"
    expects_answer: bool = True
    told: str = ""


@dataclass
class Histories:
    """Makes steps at random. `begun_ms` is the time that record timestamps lie around."""

    seed: int
    begun_ms: int
    chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.makers: list[tuple[int, Callable[[], Step]]] = [
            (30, self.produce),
            (14, self.fetch),
            (8, self.list_offsets),
            (4, self.metadata),
            (3, self.describe_topic_partitions),
            (1, self.api_versions),
            (4, self.create_topics),
            (2, self.delete_topics),
            (2, self.create_partitions),
            (5, self.delete_records),
            (3, self.describe_configs),
            (3, self.incremental_alter_configs),
            (2, self.alter_configs),
            (1, self.list_config_resources),
            (3, self.init_producer_id),
            (2, self.describe_cluster),
            (3, self.describe_producers),
            (3, self.offset_for_leader_epoch),
            (2, self.describe_log_dirs),
            (1, self.bad_frame),
        ]

    def step(self) -> Step:
        """One more step."""
        weights, makers = zip(*self.makers, strict=True)
        return self.chance.choices(makers, weights)[0]()

    # Parts

    def version(self, api_key: int) -> int:
        """A version of an API; the newest half of the time."""
        api = APIS[api_key]
        return api.max_version if self.chance.random() < 0.4 else self.chance.randint(api.min_version, api.max_version)

    def name(self) -> str:
        """A topic's name, mostly of one that exists."""
        return self.chance.choice(tuple(CONFIGS)) if self.chance.random() < 0.9 else self.chance.choice(NAMES)

    def index(self) -> int:
        """A partition, mostly 0."""
        return self.chance.choices((0, 1, 2, -1), (80, 12, 4, 4))[0]

    def offset(self) -> int:
        """An offset, mostly in the log."""
        return self.chance.choices((self.chance.randint(0, 40), 0, -1, -2, 10_000), (80, 8, 5, 3, 4))[0]

    def timestamp(self) -> int:
        """A record's time: around the beginning, a day off, or none."""
        near = self.begun_ms - 10_000 - self.chance.randint(0, 5) * 1000
        return self.chance.choices((near, near - 86_400_000, self.begun_ms + 86_400_000, -1), (88, 5, 3, 4))[0]

    def step_of(self, action: str, api_key: int, make: Callable[[View], Any], **more: Any) -> Step:
        """A step in a random version."""
        version = more.pop("api_version", None)
        return Step(action, api_key, self.version(api_key) if version is None else version, make, **more)

    # Produce

    def batch(self) -> tuple[str, Callable[[View], bytes]]:
        """A batch, in words and as it is made."""
        items = [self.item() for _ in range(self.chance.choice((1, 1, 2, 3)))]
        codec = self.chance.choices((0, 1, 2, 3, 4), (60, 10, 10, 10, 10))[0]
        how: dict[str, Any] = {"codec": codec}
        told = f"{len(items)} records, codec {codec}"
        fault = self.chance.choices(("", *self.faults()), (60, *([2] * len(self.faults()))))[0]
        if fault:
            told += f", {fault}"
            how |= self.faults()[fault](len(items))
        if self.chance.random() < 0.5:
            producer, epoch = self.chance.randint(0, 2), self.chance.choices((0, 1, 2, -1, -2), (70, 15, 5, 5, 5))[0]
            sequence = self.sequence()
            told += f", producer {producer} epoch {epoch} sequence {sequence}"

            def make(view: View) -> bytes:
                known = view.producer_ids
                producer_id = known[producer] if producer < len(known) else 700_000 + producer
                return encoded(items, **(how | {"producer": (producer_id, epoch, sequence)}))

            return told, make
        return told, lambda _view: encoded(items, **how)

    def item(self) -> Item:
        """A record; some have no key, few no value."""
        key = None if self.chance.random() < 0.06 else b"key-%d" % self.chance.randint(0, 3)
        content = None if self.chance.random() < 0.05 else b"x" * self.chance.choice((1, 10, 100))
        return Item(self.timestamp(), key, content)

    def sequence(self) -> int:
        """Small, or near the wrap."""
        return self.chance.choices(
            (self.chance.randint(0, 12), SEQUENCE_MAX - self.chance.randint(0, 2), -1), (90, 8, 2)
        )[0]

    def faults(self) -> dict[str, Callable[[int], dict[str, Any]]]:
        """What can be wrong with a batch of n records."""
        return {
            "base offset 1": lambda n: {"base_offset": 1},
            "wrong checksum": lambda n: {"spoil_checksum": True},
            "count one more": lambda n: {"count": n + 1},
            "count and delta one more": lambda n: {"count": n + 1, "last_offset_delta": n},
            "delta one more": lambda n: {"last_offset_delta": n},
            "count 0": lambda n: {"count": 0, "last_offset_delta": -1},
            "control bit": lambda n: {"attributes": 0x20},
            "append time bit": lambda n: {"attributes": 0x08},
            "unused bits": lambda n: {"attributes": 0xC0},
            "odd deltas": lambda n: {"deltas": [2 * index for index in range(n)]},
            "wrong max timestamp": lambda n: {"max_timestamp": self.begun_ms - 77_777},
            "codec 5": lambda n: {"codec": 5, "garbage": b"\x00" * 20},
            "garbage in gzip": lambda n: {"codec": 1, "garbage": b"not gzip"},
            "garbage": lambda n: {"codec": 0, "garbage": b"\xff" * 30},
            "transactional bit": lambda n: {"attributes": 0x10},
        }

    def records(self) -> tuple[str, Callable[[View], bytes | None]]:
        """The records of one partition."""
        told, make = self.batch()
        shape = self.chance.choices(
            ("one", "none", "two", "partial", "empty", "magic 1", "magic 9", "tail 9"), (90, 0, 2, 2, 2, 2, 1, 1)
        )[0]
        match shape:
            case "two":
                return f"twice {told}", lambda view: make(view) * 2
            case "partial":
                return f"{told} and the beginning of another", lambda view: make(view) + make(view)[:40]
            case "empty":
                return "no bytes", lambda _view: b""
            case "magic 1" | "magic 9":
                number = int(shape[-1])
                return f"{told}, {shape}", lambda view: with_magic(make(view), number)
            case "tail 9":
                return f"{told} and one of magic 9", lambda view: make(view) + with_magic(make(view), 9)
            case _:
                return told, make

    def produce(self) -> Step:
        """Produce to one partition, or two."""
        entries = [(self.name(), self.index(), *self.records()) for _ in range(self.chance.choice((1, 1, 1, 2)))]
        acks = self.chance.choices((-1, 1, 0, 2), (70, 20, 6, 4))[0]
        transactional_id = "t" if self.chance.random() < 0.02 else None
        version = self.version(0)
        unknown_id = self.chance.random() < 0.03

        def make(view: View) -> m.ProduceRequest:
            topics: dict[str, list[m.PartitionProduceData]] = {}
            for name, index, _, records in entries:
                topics.setdefault(name, []).append(m.PartitionProduceData(index, records(view)))  # type: ignore[arg-type]
            data = tuple(
                m.TopicProduceData(
                    name, b"\x01" * 16 if unknown_id else view.topic_ids.get(name, ZERO_UUID), tuple(parts)
                )
                for name, parts in topics.items()
            )
            return m.ProduceRequest(transactional_id, acks, 1000, data)

        told = "; ".join(f"{name[:20]}-{index}: {what}" for name, index, what, _ in entries)
        return self.step_of(
            "Produce", 0, make, api_version=version, expects_answer=acks != 0, told=f"acks={acks} {told}"
        )

    # Reading

    def fetch(self) -> Step:
        """Fetch, in and out of sessions. Waiting is for other tests: nothing here waits."""
        wanted = [
            (self.name(), self.index(), self.offset(), self.chance.choice((1, 150, 5000, 1 << 20)))
            for _ in range(self.chance.choice((1, 1, 2, 3)))
        ]
        session = self.chance.choices(("none", "new", "next"), (60, 15, 25))[0]
        position = self.chance.randint(0, 2)
        epoch = self.chance.choices((1, 2, 3), (70, 20, 10))[0]
        isolation = self.chance.choices((0, 1, 2), (60, 36, 4))[0]
        leader_epoch = self.chance.choices((-1, 0, 1, -5), (85, 9, 4, 2))[0]
        last_epoch = self.chance.choices((-1, 0, 3), (90, 7, 3))[0]
        max_bytes = self.chance.choice((1, 500, 1 << 20))

        def make(view: View) -> m.FetchRequest:
            topics = tuple(
                m.FetchTopic(
                    name,
                    view.topic_ids.get(name, ZERO_UUID),
                    (
                        m.FetchPartition(
                            index,
                            leader_epoch,
                            offset,
                            last_epoch,
                            partition_max_bytes=limit,
                        ),
                    ),
                )
                for name, index, offset, limit in wanted
            )
            session_id, session_epoch = 0, {"none": -1, "new": 0}.get(session, epoch)
            if session == "next":
                session_id = view.sessions[-1 - position] if len(view.sessions) > position else 0
            return m.FetchRequest(
                max_wait_ms=0,
                min_bytes=0,
                max_bytes=max_bytes,
                isolation_level=isolation,
                session_id=session_id,
                session_epoch=session_epoch,
                topics=topics,
            )

        told = f"session {session}, isolation {isolation}, max {max_bytes}, {wanted}"
        return self.step_of("Fetch", 1, make, told=told)

    def list_offsets(self) -> Step:
        """Look up by time or by name of a mark."""
        asked = [
            (
                self.name(),
                self.index(),
                self.chance.choice((-1, -2, -3, -4, -5, -7, self.timestamp(), self.timestamp(), self.timestamp())),
            )
            for _ in range(self.chance.choice((1, 2, 3)))
        ]
        isolation, epoch = self.chance.choice((0, 1)), self.chance.choices((-1, 0, 2), (90, 6, 4))[0]
        topics = tuple(m.ListOffsetsTopic(name, (m.ListOffsetsPartition(index, epoch, at),)) for name, index, at in asked)
        request = m.ListOffsetsRequest(-1, isolation, topics, 1000)
        return self.step_of("ListOffsets", 2, lambda _view: request, told=str(asked))

    def offset_for_leader_epoch(self) -> Step:
        """Where epochs end."""
        asked = [(self.name(), self.index(), self.chance.choice((-1, 0, 1, 5))) for _ in range(2)]
        current = self.chance.choices((-1, 0, 3), (80, 10, 10))[0]
        topics = tuple(
            m.OffsetForLeaderTopic(name, (m.OffsetForLeaderPartition(index, current, epoch),))
            for name, index, epoch in dict.fromkeys(asked)
        )
        return self.step_of(
            "OffsetForLeaderEpoch", 23, lambda _view: m.OffsetForLeaderEpochRequest(-1, topics), told=str(asked)
        )

    # Topics

    def metadata(self) -> Step:
        """By name, by id, all."""
        names = [self.name() for _ in range(self.chance.choice((0, 1, 2, 3)))]
        by_id = self.chance.random() < 0.3
        version = self.version(3)
        everything = self.chance.random() < 0.2 and version > 0

        def make(view: View) -> m.MetadataRequest:
            topics = tuple(
                m.MetadataRequestTopic(view.topic_ids.get(name, b"\x02" * 16), None if version >= 12 else name)
                if by_id and version >= 10
                else m.MetadataRequestTopic(ZERO_UUID, name)
                for name in names
            )
            return m.MetadataRequest(None if everything else topics, False, True, True)

        if version < 4:
            names = [name for name in names if name not in ("absent", "later")]
        return self.step_of("Metadata", 3, make, api_version=version, told=f"{names} by id {by_id} all {everything}")

    def describe_topic_partitions(self) -> Step:
        """Pages of topics."""
        topics = tuple(
            m.DescribeTopicPartitionsRequestTopicRequest(self.name() or "absent") for _ in range(self.chance.choice((1, 2, 4)))
        )
        cursor = None
        if self.chance.random() < 0.4:
            cursor = m.DescribeTopicPartitionsRequestCursor(self.chance.choice(topics).name, self.chance.choice((0, 1, 9, -1)))
        request = m.DescribeTopicPartitionsRequest(topics, self.chance.choice((-1, 1, 2, 3, 100)), cursor)
        return self.step_of("DescribeTopicPartitions", 75, lambda _view: request, told=str(request))

    def api_versions(self) -> Step:
        """Who asks is named well, or not."""
        name = self.chance.choice(("client", "a.b-c", "", "-x", "with space"))
        return self.step_of("ApiVersions", 18, lambda _view: m.ApiVersionsRequest(name, "1.0"), told=name)

    def topic_configs(self) -> dict[str, str | None]:
        """Configurations, some of which are wrong."""
        choices: list[tuple[str, str | None]] = [
            ("retention.ms", "-1"), ("retention.ms", " 5000 "), ("retention.ms", "-2"), ("retention.ms", "soon"),
            ("cleanup.policy", " compact , delete "), ("cleanup.policy", ""), ("cleanup.policy", "Delete"),
            ("compression.type", "none"), ("compression.type", "lz4"), ("segment.bytes", "1000"), ("segment.bytes", "+2000000"),
            ("preallocate", "TRUE"), ("preallocate", "yes"), ("min.cleanable.dirty.ratio", "0.25"), ("min.cleanable.dirty.ratio", "2"),
            ("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5"), ("no.such.config", "1"), ("max.message.bytes", None),
            ("compression.gzip.level", "0"), ("compression.zstd.level", "-7"), ("remote.storage.enable", "true"),
            ("leader.replication.throttled.replicas", "0:1,1:1"), ("leader.replication.throttled.replicas", "x"),
            ("message.timestamp.after.max.ms", "0x10"), ("flush.messages", "0"), ("segment.jitter.ms", "5"),
        ]  # fmt: skip
        return dict(self.chance.sample(choices, self.chance.choices((0, 1, 2), (50, 35, 15))[0]))

    def create_topics(self) -> Step:
        """Mostly what cannot be made, and now and then one that can."""
        names = [self.chance.choice(("later", "later", "plain", "bad/name", "", "app_end-time", "lat.er")) for _ in range(self.chance.choice((1, 1, 2)))]
        topics = tuple(
            m.CreatableTopic(
                name,
                self.chance.choices((1, 2, -1, 0, -2, 10_001), (50, 20, 20, 4, 3, 3))[0],
                self.chance.choices((1, -1, 0, 2), (60, 30, 5, 5))[0],
                (),
                tuple(m.CreatableTopicConfig(key, text) for key, text in self.topic_configs().items()),
            )
            for name in names
        )
        request = m.CreateTopicsRequest(topics, self.chance.choices((30_000, 0), (95, 5))[0], self.chance.random() < 0.3)
        return self.step_of("CreateTopics", 19, lambda _view: request, told=str(topics))

    def delete_topics(self) -> Step:
        """By name or by id; only "later" ever goes."""
        name = self.chance.choice(("later", "later", "absent", "bad/name", ""))
        version = self.version(20)
        by_id, twice = self.chance.random() < 0.4, self.chance.random() < 0.1
        timeout = self.chance.choices((30_000, 0), (95, 5))[0]

        def make(view: View) -> m.DeleteTopicsRequest:
            if version >= 6:
                one = (
                    m.DeleteTopicState(None, view.topic_ids.get(name, b"\x03" * 16)) if by_id else m.DeleteTopicState(name, ZERO_UUID)
                )
                return m.DeleteTopicsRequest((one, one) if twice else (one,), (), timeout)
            return m.DeleteTopicsRequest((), (name, name) if twice else (name,), timeout)

        return self.step_of("DeleteTopics", 20, make, api_version=version, told=f"{name} by id {by_id} twice {twice}")

    def create_partitions(self) -> Step:
        """Grow, mostly by nothing."""
        name = self.chance.choice(("later", "plain", "absent", "bad/name"))
        count = self.chance.choices((0, 1, 2, 3, -1), (10, 30, 30, 20, 10))[0]
        placed = None
        if self.chance.random() < 0.2:
            placed = (m.CreatePartitionsAssignment(self.chance.choice(((1,), (2,), (1, 1)))),)
        topic = m.CreatePartitionsTopic(name, count, placed)
        topics = (topic, topic) if self.chance.random() < 0.1 else (topic,)
        request = m.CreatePartitionsRequest(topics, 30_000, self.chance.random() < 0.3)
        return self.step_of("CreatePartitions", 37, lambda _view: request, told=str(topics))

    def delete_records(self) -> Step:
        """Raise a log start."""
        asked = [(self.name(), self.index(), self.chance.choice((-1, -2, 0, 1, 3, 5, 10, 10_000)))]
        topics = tuple(m.DeleteRecordsTopic(name, (m.DeleteRecordsPartition(index, offset),)) for name, index, offset in asked)
        request = m.DeleteRecordsRequest(topics, 30_000)
        return self.step_of("DeleteRecords", 21, lambda _view: request, told=str(asked))

    # Configurations

    def resource(self) -> tuple[int, str]:
        """A resource; topics "tight" and "later" are those that are changed."""
        return self.chance.choices(
            ((2, self.name()), (4, "1"), (4, "2"), (4, "x"), (2, "absent"), (3, "tight"), (0, "x")), (70, 8, 4, 4, 6, 4, 4)
        )[0]

    def describe_configs(self) -> Step:
        """Of topics and brokers."""
        kind, name = self.resource()
        keys = self.chance.choice((None, (), ("retention.ms", "nonsense"), ("cleanup.policy", "segment.bytes")))
        synonyms = self.chance.random() < 0.5
        request = m.DescribeConfigsRequest((m.DescribeConfigsResource(kind, name, keys),), synonyms, False)
        return self.step_of("DescribeConfigs", 32, lambda _view: request, told=f"{kind} {name} {keys}")

    def changeable(self) -> tuple[int, str]:
        """A resource for a change: topics only."""
        return self.chance.choices(((2, "tight"), (2, "later"), (2, "absent"), (2, ""), (3, "tight")), (60, 20, 8, 6, 6))[0]

    def incremental_alter_configs(self) -> Step:
        """Set, delete, append, subtract."""
        kind, name = self.changeable()
        configs = []
        for key, text in self.topic_configs().items():
            operation = self.chance.choices((0, 1, 2, 3, 9), (60, 20, 8, 8, 4))[0]
            configs.append(m.IncrementalAlterConfigsRequestAlterableConfig(key, operation, None if operation == 1 else text))
        if configs and self.chance.random() < 0.08:
            configs.append(configs[0])
        one = m.IncrementalAlterConfigsRequestAlterConfigsResource(kind, name, tuple(configs))
        resources = (one, one) if self.chance.random() < 0.08 else (one,)
        request = m.IncrementalAlterConfigsRequest(resources, self.chance.random() < 0.3)
        return self.step_of("IncrementalAlterConfigs", 44, lambda _view: request, told=str(resources))

    def alter_configs(self) -> Step:
        """Replace all."""
        kind, name = self.changeable()
        configs = tuple(m.AlterConfigsRequestAlterableConfig(key, text) for key, text in self.topic_configs().items())
        request = m.AlterConfigsRequest((m.AlterConfigsRequestResource(kind, name, configs),), self.chance.random() < 0.3)
        return self.step_of("AlterConfigs", 33, lambda _view: request, told=str(request.resources))

    def list_config_resources(self) -> Step:
        """Topics; or a type that is none."""
        kinds = self.chance.choice(((2,), (2, 2), (64,), (0,)))
        return self.step_of(
            "ListConfigResources", 74, lambda _view: m.ListConfigResourcesRequest(kinds), api_version=1, told=str(kinds)
        )

    # Producers and the cluster

    def init_producer_id(self) -> Step:
        """A new id, or a request for one that is refused."""
        pair = self.chance.choices(((-1, -1), (5, -1), (-1, 3), (5, 0)), (80, 6, 6, 8))[0]
        name = "" if self.chance.random() < 0.05 else None
        request = m.InitProducerIdRequest(name, 60_000, *pair)
        return self.step_of("InitProducerId", 22, lambda _view: request, told=f"{name!r} {pair}")

    def describe_producers(self) -> Step:
        """What partitions know."""
        topics = tuple(m.DescribeProducersRequestTopicRequest(self.name(), (self.index(),)) for _ in range(2))
        return self.step_of("DescribeProducers", 61, lambda _view: m.DescribeProducersRequest(topics), told=str(topics))

    def describe_cluster(self) -> Step:
        """Brokers, controllers, or neither."""
        request = m.DescribeClusterRequest(self.chance.random() < 0.5, self.chance.choice((1, 1, 2, 3)))
        return self.step_of("DescribeCluster", 60, lambda _view: request, told=str(request))

    def describe_log_dirs(self) -> Step:
        """Sizes: of topics that are never rebuilt, since compressors differ."""
        names = self.chance.sample(("plain", "append-time", "compacted", "small", "absent"), 2)
        topics = tuple(m.DescribableLogDirTopic(name, (0, 1)) for name in names)
        return self.step_of("DescribeLogDirs", 35, lambda _view: m.DescribeLogDirsRequest(topics), told=str(names))

    def bad_frame(self) -> Step:
        """What ends a connection, or nearly."""
        kind, body = self.chance.choice(
            (
                ((3, 99), b""),
                ((4, 0), b""),
                ((999, 0), b""),
                ((18, 99), b""),
                ((18, -1), b""),
                ((0, 2), b""),
                ((3, 9), b""),
                ((3, 9), b"\x05\x01"),
                ((2, 1), struct.pack(">ii", -1, 1 << 30)),
                ((60, 0), b"\x01"),
            )
        )
        return Step("bad frame", *kind, lambda _view: body, told=f"{kind} {body!r}")


def with_magic(data: bytes, magic: int) -> bytes:
    """A batch of another format, as far as the magic byte goes."""
    return data[:16] + struct.pack(">b", magic) + data[17:]


# Running


@dataclass
class Story:
    """A step on which two targets differ, and what came before it."""

    steps: list[Step]
    found: list[Difference]

    def __str__(self) -> str:
        lines = [f"{number}. {step.action} v{step.api_version} {step.told}" for number, step in enumerate(self.steps, 1)]
        return "\n".join([*lines, "", *(f"at {path}: ours {ours!r}, theirs {theirs!r}" for path, ours, theirs in self.found)])


class Pair:
    """Two targets that are asked the same."""

    def __init__(self, ours: Target, theirs: Target, begun_ms: int) -> None:
        self.ours, self.theirs = ours, theirs
        self.begun_ms = begun_ms
        self.reached: Counter[str] = Counter()
        for target in (ours, theirs):
            prepare(target)

    def ask(self, step: Step) -> list[Difference]:
        """Ask both; where they differ."""
        ours, theirs = self.answer(self.ours, step), self.answer(self.theirs, step)
        self.count(step, ours)
        known = min(len(target.view.sessions) for target in (self.ours, self.theirs))
        for target in (self.ours, self.theirs):
            del target.view.sessions[known:]  # one of them was given where the other refused, as a rule allows
        if step.api_key in TOLERATED and isinstance(ours, dict) and isinstance(theirs, dict):
            ours, theirs = TOLERATED[step.api_key](ours, theirs)
        return differences(ours, theirs, allowed_instead(self.ours.rules()))

    def answer(self, target: Target, step: Step) -> Any:
        """One target's answer, abstracted; what it gave out is remembered, and what it changed is waited for."""
        body = step.make(target.view)
        if isinstance(body, bytes):
            frame = framed(step.api_key, step.api_version, body, step.client_id)
        else:
            frame = request_frame(step.api_key, step.api_version, body, step.client_id)
        try:
            data = target.ask(frame, step.expects_answer)
        except Closed:
            return "closed"
        if data is None:
            return "nothing"
        if step.api_key == 18 and not 0 <= step.api_version <= 4:
            return data[4:].hex()
        message = answer_of(data, step.api_key, step.api_version)
        remember(target, step, message)
        return Abstraction(target.view, self.begun_ms).of(message)

    def count(self, step: Step, answer: Any) -> None:
        """What was reached."""
        self.reached[f"request {step.action}"] += 1
        for rule in self.ours.rules():
            self.reached[f"rule {rule}"] += 1
        if answer == "closed":
            self.reached["closed"] += 1


def prepare(target: Target) -> None:
    """The topics and producers that histories speak of."""
    wanted = tuple(
        m.CreatableTopic(name, 2, 1, (), tuple(m.CreatableTopicConfig(key, text) for key, text in config.items()))
        for name, config in CONFIGS.items()
    )
    made = talk(target, 19, m.CreateTopicsRequest(wanted, 30_000, False))
    for topic in made.topics:
        assert topic.error_code == 0, topic
        target.view.topic_ids[topic.name] = topic.topic_id
    for name in CONFIGS:
        await_topic(target, name, 2)
    while len(target.view.producer_ids) < 3:
        given = talk(target, 22, m.InitProducerIdRequest(None, 0, -1, -1))
        if given.error_code == 0:
            target.view.producer_ids.append(given.producer_id)


def remember(target: Target, step: Step, message: Any) -> None:
    """Ids that were given out; and patience, where a broker answers before it has done what it says."""
    match message:
        case m.InitProducerIdResponse(error_code=0):
            target.view.producer_ids.append(message.producer_id)
        case m.FetchResponse() if message.session_id and message.session_id not in target.view.sessions:
            target.view.sessions.append(message.session_id)
        case m.CreateTopicsResponse():
            refresh(target)
        case m.DeleteTopicsResponse():
            refresh(target)
        case m.CreatePartitionsResponse():
            refresh(target)
        case m.IncrementalAlterConfigsResponse() | m.AlterConfigsResponse():
            settle(target)
        case _:
            pass


def settle(target: Target) -> None:
    """Kafka's brokers learn of a changed configuration some ms after it is answered."""
    if target.name == "Apache Kafka":
        time.sleep(0.05)


def refresh(target: Target) -> None:
    """What became of "later": wait until the broker knows it, or knows it no more."""
    settle(target)
    answer = talk(target, 3, m.MetadataRequest((m.MetadataRequestTopic(ZERO_UUID, "later"),), False))
    (topic,) = answer.topics
    known = target.view.topic_ids.get("later")
    if known is not None and (topic.error_code != 0 or topic.topic_id != known):
        target.view.old_ids.append(target.view.topic_ids.pop("later"))
    if topic.error_code == 0:
        target.view.topic_ids["later"] = topic.topic_id
        await_topic(target, "later", len(topic.partitions))


def await_topic(target: Target, name: str, partitions: int) -> None:
    """Wait until every partition can be read (rule: a client must try again, WIRE-TOPIC-1)."""
    give_up = time.monotonic() + 20
    topics = (m.ListOffsetsTopic(name, tuple(m.ListOffsetsPartition(index, -1, -1) for index in range(partitions))),)
    while True:
        answer = talk(target, 2, m.ListOffsetsRequest(-1, 0, topics, 1000))
        if all(part.error_code == 0 for part in answer.topics[0].partitions):
            return
        assert time.monotonic() < give_up, f"{name} never came up: {answer}"
        time.sleep(0.01)


def run(pair: Pair, steps: Iterable[Step], kept: list[Step]) -> Story | None:
    """Ask the steps until the targets differ; `kept` collects those asked."""
    for step in steps:
        kept.append(step)
        found = pair.ask(step)
        if found:
            return Story(list(kept), found)
    return None


def shrunk(story: Story, fresh: Callable[[], Pair], tries: int = 60) -> Story:
    """A shorter story that ends the same way: halves, then single steps are left out while the difference stays."""
    steps, size = list(story.steps), max(len(story.steps) // 2, 1)
    best = story
    while size >= 1 and tries > 0:
        begin = 0
        while begin < len(steps) - 1 and tries > 0:
            tries -= 1
            shorter = steps[:begin] + steps[min(begin + size, len(steps) - 1) :]
            again = run(fresh(), shorter, [])
            if again is not None and {path for path, _, _ in again.found} & {path for path, _, _ in story.found}:
                best, steps = again, again.steps
            else:
                begin += size
        size //= 2
    return best
