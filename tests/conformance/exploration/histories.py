"""Random histories: steps of valid, invalid and boundary requests, made from a seed and nothing else.

Why not Hypothesis: a history is hundreds of requests long and a campaign hundreds of thousands, sent to a broker that takes a while to be made
new; Hypothesis draws, stores and shrinks choices, not requests, and gives up on examples of that size. Steps that are data (`steps`) are drawn
here by plain seeded chance and shrunk by delta debugging to a story from which nothing can be left out (`shrinking`).

Chance alone would hardly ever hit the next sequence of a producer or the end of a log, so what a well-behaved client would know is kept
beside: what it wrote, and where logs probably end. It is a guess, and may be wrong: that only makes another kind of request.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fiducial.conformance.batches import DISGUISES, FAULTS
from fiducial.conformance.exploration.pairs import World
from fiducial.conformance.exploration.steps import CLIENT_ID, Raw, Spoilt, Step, TimePasses
from fiducial.conformance.symbols import Ago, Batch, IdOf, Name, OldIdOf, Record, Records, SessionEpoch, SessionId, View
from fiducial.models import messages as m
from fiducial.models.apis import APIS
from fiducial.models.config_requests import Operation, Resource
from fiducial.models.kernels import SEQUENCE_MAX, sequence_after
from fiducial.models.settings import TOPIC
from fiducial.models.values import ZERO_UUID, changed

T = TypeVar("T")

#: The topics that a history may begin with, by what is particular about them. None of them rolls and is compacted: Apache Kafka would do that
#: some seconds later, and the model not at all.
CONFIGS: dict[str, dict[str, str]] = {
    "plain": {},
    "append-time": {"message.timestamp.type": "LogAppendTime"},
    "compacted": {"cleanup.policy": "compact"},
    "both": {"cleanup.policy": "compact,delete"},
    "neither": {"cleanup.policy": ""},
    "small": {"max.message.bytes": "300", "internal.segment.bytes": "1000"},
    "tiny": {"internal.segment.bytes": "249"},  # which batches that are often made fill to the last byte
    "hourly": {"segment.ms": "3600000"},
    "indexed": {"segment.index.bytes": "40", "index.interval.bytes": "100"},
    "tight": {"message.timestamp.before.max.ms": "600000", "message.timestamp.after.max.ms": "600000"},
    "ancient": {"retention.ms": "-1", "message.timestamp.after.max.ms": str(2**63 - 1)},
    "gzip": {"compression.type": "gzip", "compression.gzip.level": "1"},
    "zstd": {"compression.type": "zstd"},
    "snappy": {"compression.type": "snappy"},
    "lz4": {"compression.type": "lz4"},
    "uncompressed": {"compression.type": "uncompressed"},
    "inflated": {"compression.type": "uncompressed", "max.message.bytes": "300"},
    "__share_group_state": {},
}
#: Topics that come and go; two of them cannot live together.
EPHEMERAL = ("later", "auto", "a.b", "a_b")
#: Those whose batches a broker may compress itself, some because their configuration is changed.
RESIZED = frozenset({"gzip", "zstd", "snappy", "lz4", "uncompressed", "inflated", "tight", "plain", *EPHEMERAL})
#: Those with small segments: what lies below the log start goes when retention next looks, whenever that is.
ROLLING = frozenset({"small", "tiny", "hourly", "indexed"})
TOPICS = 5
ODD_NAMES = ("absent", "bad/name", "", ".", "..", "a" * 249, "a" * 250, "Plain")
#: All names that a history may speak of.
NAMES = (*CONFIGS, *EPHEMERAL, *ODD_NAMES, "elsewhere", "__cluster_metadata", "app.end-time")
#: More partitions nobody makes who is a guest.
PARTITIONS_MAX = 10

HOUR_MS = 3_600_000
#: Ages of records, in ms. None is near a limit: Apache Kafka's clock is its own.
AGES = (10_000, 11_000, 12_000, 13_000, 14_000)
FAR_AGES = (590_000, 610_000, -590_000, -610_000, HOUR_MS, 2 * HOUR_MS, 5 * HOUR_MS, 20 * HOUR_MS, -2 * HOUR_MS)
ODD_TIMES = (-1, -2, 0, 1, 2**62)

#: What may stand behind the batches of a partition: parts of a batch, a whole one of another format, nothing that could be one.
BEHIND = Batch((Record(AGES[0]),)).data(View(0))
TAILS = (b"", BEHIND[:40], BEHIND[:16], DISGUISES["magic 9"](BEHIND), bytes(30))

#: Values for configurations, right and wrong, of topics (under the topic's name) and of the broker (under its synonym's).
TEXTS: tuple[tuple[str, str | None], ...] = (
    ("retention.ms", "-1"), ("retention.ms", " 700000000 "), ("retention.ms", "-2"), ("retention.ms", "soon"), ("retention.bytes", "-5"),
    ("cleanup.policy", " compact , delete "), ("cleanup.policy", ""), ("cleanup.policy", "Delete"), ("cleanup.policy", "delete,delete"),
    ("compression.type", "none"), ("compression.type", "lz4"), ("compression.type", "producer"), ("compression.type", ""),
    ("segment.bytes", "1000"), ("segment.bytes", "+2000000"), ("segment.bytes", "2147483648"),
    ("preallocate", "TRUE"), ("preallocate", "yes"), ("preallocate", " false "),
    ("min.cleanable.dirty.ratio", "0.25"), ("min.cleanable.dirty.ratio", "2"), ("min.cleanable.dirty.ratio", "NaN"), ("min.cleanable.dirty.ratio", "x"),
    ("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5"), ("max.compaction.lag.ms", "0"), ("no.such.config", "1"),
    ("max.message.bytes", None), ("max.message.bytes", "200"), ("max.message.bytes", "5.0"), ("max.message.bytes", ""),
    ("message.timestamp.type", "LogAppendTime"), ("message.timestamp.type", "CreateTime"), ("message.timestamp.type", "logappendtime"),
    ("compression.gzip.level", "0"), ("compression.gzip.level", "-1"), ("compression.zstd.level", "-7"), ("compression.lz4.level", "18"),
    ("remote.storage.enable", "true"), ("remote.storage.enable", "false"), ("remote.log.copy.disable", "true"),
    ("leader.replication.throttled.replicas", "0:1,1:1"), ("leader.replication.throttled.replicas", "x"), ("follower.replication.throttled.replicas", "*"),
    ("message.timestamp.after.max.ms", "0x10"), ("message.timestamp.before.max.ms", "86400000"), ("flush.messages", "0"), ("flush.ms", "1000000"),
    ("segment.jitter.ms", "5"), ("delete.retention.ms", "007"), ("file.delete.delay.ms", "60 000"), ("index.interval.bytes", "-1"),
    ("local.retention.ms", "-2"), ("local.retention.bytes", "-3"), ("unclean.leader.election.enable", "true"), ("min.insync.replicas", "2"),
)  # fmt: skip
#: Of the broker's settings, those in DYNAMIC may be changed, these may not, or do not exist.
FIXED_SETTINGS = ("broker.id", "auto.create.topics.enable")
#: Changed at the broker, these would roll, delete or compact some time later; Apache Kafka keeps its own hand on the last.
UNTOUCHED = frozenset({"cleanup.policy", "min.insync.replicas", "retention.ms", "unclean.leader.election.enable"})


def named(topic: str) -> Any:
    """A topic by its name, whatever it is called where it is."""
    return Name(topic)


def resourced(kind: int, name: str) -> tuple[int, Any]:
    """The type and the name of a resource."""
    return kind, named(name) if kind == Resource.TOPIC else name


@dataclass
class Writer:
    """What a producer believes to have written to one partition."""

    epoch: int = 0
    next_sequence: int = 0
    batches: list[Batch] = field(default_factory=list)


class Histories:
    """Makes steps at random. With `keeps_house`, time passes wherever retention may have something to do.

    `served`: the versions of each API that a broker serves at which we are guests; we leave alone there what is not our own. `topics`: those of
    CONFIGS that can be had there.
    """

    def __init__(self, seed: int, *, keeps_house: bool = False, served: Mapping[int, Sequence[int]] | None = None, topics: Sequence[str] = tuple(sorted(CONFIGS))) -> None:
        self.chance = random.Random(seed)
        self.keeps_house = keeps_house
        self.served = served
        names = self.chance.sample(topics, min(TOPICS, len(topics)))
        self.world = World({name: CONFIGS[name] for name in names}, resized=RESIZED, unsized=frozenset() if keeps_house else ROLLING, mentioned=NAMES)
        self.sessions: list[bool] = []  # those that were asked for, the newest last: by topic ids?
        self.ends: dict[tuple[str, int], int] = {}
        self.starts: dict[tuple[str, int], int] = {}
        self.writers: dict[tuple[int, str, int], Writer] = {}
        self.makers: dict[Callable[[], Step], int] = {
            self.produce: 34, self.fetch: 18, self.waiting: 2, self.list_offsets: 8, self.metadata: 5, self.describe_topic_partitions: 3,
            self.api_versions: 1, self.create_topics: 4, self.delete_topics: 3, self.create_partitions: 2, self.delete_records: 4,
            self.describe_configs: 3, self.incremental_alter_configs: 4, self.alter_configs: 2, self.list_config_resources: 1,
            self.init_producer_id: 2, self.describe_cluster: 1, self.find_coordinator: 1, self.describe_producers: 3,
            self.offset_for_leader_epoch: 3, self.describe_log_dirs: 2, self.frame: 1, self.spoilt: 2,
        }  # fmt: skip

    def steps(self, count: int) -> Iterator[Step]:
        """So many steps, and some in between to let time pass."""
        for _ in range(count):
            step = self.next_step()
            yield step
            if self.keeps_house and isinstance(step.body, m.DeleteRecordsRequest):
                yield Step(TimePasses())
            if self.keeps_house and self.happens(0.06):
                yield from self.retention()

    def next_step(self) -> Step:
        """Any step; of a guest, one that is served and touches nothing of others."""
        while True:
            step = self.pick(self.makers)()
            if self.served is None or is_for_guests(step, self.served):
                return step

    # Chance

    def pick(self, weights: dict[T, int]) -> T:
        """One of the keys, as often as its weight says."""
        return self.chance.choices(tuple(weights), tuple(weights.values()))[0]

    def happens(self, probability: float) -> bool:
        """Yes, with this probability."""
        return self.chance.random() < probability

    def some(self, choices: Sequence[T]) -> T:
        """Any of them."""
        return self.chance.choice(choices)

    def several(self, make: Callable[[], T], weights: dict[int, int] | None = None) -> tuple[T, ...]:
        """A few of a kind, sometimes one of them twice."""
        made = [make() for _ in range(self.pick(weights or {1: 55, 2: 25, 3: 15, 0: 5}))]
        if made and self.happens(0.04):
            made.append(self.some(made))
        return tuple(made)

    # Parts

    def step(self, body: Any, version: int | None = None, **more: Any) -> Step:
        """A step, in some version, of some client."""
        step = Step(body, 0, self.pick({CLIENT_ID: 94, None: 2, "": 2, b"\xff\xfe": 1, "c" * 3000: 1}))
        return changed(step, api_version=self.version(step.api_key) if version is None else version, **more)

    def version(self, api_key: int) -> int:
        """A version of an API, the newest often."""
        api = APIS[api_key]
        there = range(api.min_version, api.max_version + 1) if self.served is None else self.served.get(api_key, (0,))
        return there[-1] if self.happens(0.4) else self.some(there)

    def name(self) -> str:
        """A topic's name, mostly of one that exists."""
        kind = self.pick({"world": 90, "ephemeral": 6, "odd": 4})
        return self.some({"world": tuple(self.world.topics), "ephemeral": EPHEMERAL, "odd": ODD_NAMES}[kind])

    def index(self) -> int:
        """A partition, mostly 0."""
        return self.pick({0: 75, 1: 17, 2: 4, -1: 4})

    def partition(self) -> tuple[str, int]:
        """A topic and a partition of it."""
        return self.name(), self.index()

    def grouped(self, parts: Sequence[tuple[str, T]]) -> list[tuple[str, tuple[T, ...]]]:
        """Parts by topic; sometimes each by itself, so that a topic may be named twice."""
        if self.happens(0.1):
            return [(name, (one,)) for name, one in parts]
        by_name: dict[str, list[T]] = {}
        for name, one in parts:
            by_name.setdefault(name, []).append(one)
        return [(name, tuple(some)) for name, some in by_name.items()]

    def id_of(self, name: str, *, is_zero_allowed: bool = True) -> Any:
        """A topic's id, rarely one that is none of its. Two partitions of the zero id spoil a fetch in Apache Kafka."""
        kind = self.pick({"": 95, "old": 2, "zero": int(is_zero_allowed), "unknown": 2})
        return {"": IdOf(name), "old": OldIdOf(self.some(EPHEMERAL)), "zero": ZERO_UUID, "unknown": IdOf("nowhere")}[kind]

    def offset(self, partition: tuple[str, int]) -> int:
        """An offset, mostly in the log or at one of its ends."""
        start, end = self.starts.get(partition, 0), self.ends.get(partition, 0)
        inside = self.chance.randint(min(start, end), end)
        return self.pick({inside: 50, end: 18, end - 1: 8, start: 8, end + 1: 3, start - 1: 3, 0: 4, -1: 2, -2: 1, 10_000: 2, 2**62: 1})

    def timestamp(self, *, for_record: bool = True) -> Any:
        """A record's time, or one to look for."""
        kind = self.pick({"near": 84, "far": 10, "odd": 6})
        if kind == "near":
            return Ago(self.some(AGES))
        if kind == "far":
            return Ago(self.some(FAR_AGES))
        return self.some(ODD_TIMES) if for_record else self.some((0, 1, 2**62, 2**63 - 1))

    # Produce

    def item(self, name: str) -> Record:
        """A record; some have no key, few no value."""
        key = None if self.happens(0.06) else b"key-%d" % self.chance.randint(0, 3)
        content = None if self.happens(0.05) else b"x" * self.pick({1: 40, 10: 30, 100: 25, 400: 5})
        headers = ((b"h", b"1"), (b"h", None)) if self.happens(0.1) else ()
        time = self.timestamp()
        if time == 0 or time == 1:
            time = time if name == "ancient" else Ago(AGES[0])  # elsewhere retention would come upon it
        return Record(time, key, content, headers)

    def batch(self, name: str, index: int) -> Batch:
        """A batch, sound or not, of a producer or of none."""
        items = tuple(self.item(name) for _ in range(self.pick({1: 58, 2: 20, 3: 14, 5: 8})))
        batch = Batch(items, self.pick({0: 60, 1: 10, 2: 10, 3: 10, 4: 10}), repeat=self.pick({1: 92, 3: 4, 20: 4}))
        if self.happens(0.2):
            batch = changed(batch, fault=self.some((*FAULTS, *DISGUISES)))
        # Apache Kafka fails on an unknown codec before it looks at the producer.
        return self.idempotent(batch, name, index) if self.happens(0.6) and batch.fault != "codec 5" else batch

    def idempotent(self, batch: Batch, name: str, index: int) -> Batch:
        """The batch of a producer: the next one, one sent again, or one that does not fit."""
        # A peer that coordinates transactions remembers where one was begun: who does that does nothing else.
        transacts = batch.fault == "transactional bit"
        producer = self.pick({8: 94, -1: 3, -7: 3} if transacts else {0: 52, 1: 22, 2: 14, 9: 6, -1: 3, -7: 3})
        writer = self.writers.setdefault((producer, name, index), Writer(next_sequence=self.pick({0: 70, 5: 15, SEQUENCE_MAX - 2: 15})))
        kind = self.pick({"next": 58, "again": 15, "gap": 5, "new epoch": 8, "new epoch, late": 3, "old epoch": 5, "near the end": 2, "odd": 4})
        if kind == "again" and writer.batches and not transacts:
            return self.some(writer.batches[-7:])
        epoch, sequence = writer.epoch, writer.next_sequence
        match kind:
            case "gap":
                sequence += self.some((1, -1, 7))
            case "new epoch":
                epoch, sequence = epoch + self.some((1, 1, 3)), 0
            case "new epoch, late":
                epoch, sequence = epoch + 1, sequence + self.some((0, 1))
            case "old epoch":
                epoch -= 1
            case "near the end":
                sequence = SEQUENCE_MAX - self.chance.randint(0, 2)
            case "odd":
                epoch, sequence = self.some(((-1, sequence), (-2, sequence), (epoch, -1), (32767, 0), (epoch, -(2**31))))
            case _:
                pass
        sequence = max(min(sequence, SEQUENCE_MAX), -(2**31))
        made = changed(batch, producer=producer, epoch=max(min(epoch, 32767), -2), sequence=sequence)
        if kind in ("next", "again", "new epoch", "near the end") and not batch.fault:
            self.wrote(writer, made)
        return made

    def wrote(self, writer: Writer, batch: Batch) -> None:
        """The producer believes that this batch was taken."""
        if batch.epoch != writer.epoch:
            writer.batches.clear()
        writer.epoch = batch.epoch
        writer.next_sequence = sequence_after(batch.sequence, len(batch.records) * batch.repeat)
        writer.batches.append(batch)

    def records(self, name: str, index: int, is_plain: bool) -> Records:
        """The records of one partition: mostly one batch. Of a partition named twice Apache Kafka writes what it says it has refused, so there all is plain."""
        if is_plain:
            return Records((Batch((Record(Ago(AGES[0])),)),))
        count = self.pick({1: 96, 2: 3, 0: 1})
        return Records(tuple(self.batch(name, index) for _ in range(count)), self.some(TAILS) if self.happens(0.04) else b"")

    def produce(self) -> Step:
        """Produce to one partition, or a few."""
        partitions = self.several(self.partition, {1: 60, 2: 22, 3: 16, 0: 2})
        entries: list[tuple[str, int, Any]] = [(*partition, self.records(*partition, is_plain=partitions.count(partition) > 1)) for partition in partitions]
        for name, index, records in entries:
            if len(records.batches) == 1 and not records.batches[0].fault:
                batch = records.batches[0]
                self.ends[name, index] = self.ends.get((name, index), 0) + len(batch.records) * batch.repeat
        data = tuple(
            m.TopicProduceData(named(name), self.id_of(name), parts)
            for name, parts in self.grouped([(name, m.PartitionProduceData(index, records)) for name, index, records in entries])
        )
        version = self.version(0)
        faults = {batch.fault for _, _, records in entries for batch in records.batches}
        if version < 7 and "codec 5" in faults:
            version = 7  # in Apache Kafka an unknown codec spoils an older request
        acks = self.pick({-1: 76, 1: 14, 0: 6, 2: 2, -2: 2})
        transactional_id = self.pick({None: 95, "t": 4, "": 1})
        step = self.step(m.ProduceRequest(transactional_id, acks, self.some((1000, 0, -1)), data), version)
        return changed(step, client_id="__admin_client") if self.happens(0.03) else step

    # Reading

    def fetch(self) -> Step:
        """Fetch, in and out of sessions; what it waits for, at most some ms, does not come."""
        session = self.pick({"none": 48, "new": 12, "next": 40})
        age = self.pick({0: 80, 1: 14, 2: 6})
        version = self.fetch_version(session, age)
        if session == "new" and version >= 7:
            self.sessions.append(version >= 13)
        body = self.fetch_of(self.several(self.partition, {1: 50, 2: 25, 3: 15, 0: 10}), session, version, age)
        return self.step(changed(body, max_wait_ms=self.pick({0: 82, -1: 5, 3: 13}), min_bytes=self.some((0, 1, 500))), version)

    def fetch_version(self, session: str, age: int) -> int:
        """A version; to go on with a session, mostly one that names topics as it does."""
        if session != "next" or age >= len(self.sessions) or self.happens(0.08):
            return self.version(1)
        return self.chance.randint(*((13, 18) if self.sessions[-1 - age] else (7, 12)))

    def fetch_of(self, partitions: Sequence[tuple[str, int]], session: str, version: int, age: int = 0) -> m.FetchRequest:
        """Fetch these partitions. A session remembers an epoch that was fetched last, and an older version could not tell of a divergence."""
        tells_divergence = session == "none" or version >= 13
        grouped = self.grouped([(name, self.wanted((name, index), tells_divergence)) for name, index in partitions])
        is_sized = session == "none" and RESIZED.isdisjoint(name for name, _ in partitions)
        is_zero_allowed = len(partitions) == 1 and session == "none"
        topics = tuple(m.FetchTopic(named(name), self.id_of(name, is_zero_allowed=is_zero_allowed), parts) for name, parts in grouped)
        forgotten: tuple[m.ForgottenTopic, ...] = ()
        if session == "next" and self.happens(0.25):
            names = self.several(self.name, {1: 80, 2: 20})
            forgotten = tuple(m.ForgottenTopic(named(name), self.id_of(name), self.several(self.index)) for name in names)
        epochs: dict[str, Any] = {
            "none": -1, "new": 0, "next": SessionEpoch(-1 - age, self.pick({0: 88, 1: 4, -1: 4, 5: 2, -9: 2})),
        }  # fmt: skip
        replica_id = self.pick({-1: 94, -2: 2, -3: 1, 0: 1, 5: 2})
        session_id: Any = SessionId(-1 - age) if session == "next" or self.happens(0.05) else self.pick({0: 98, 77: 2})
        return m.FetchRequest(
            replica_id=replica_id,
            replica_state=m.ReplicaState(replica_id),
            max_bytes=self.pick({2**31 - 1: 60, 1 << 20: 15, 500: 12 * int(is_sized), 1: 8, 0: 3, -1: 2}),
            isolation_level=self.pick({0: 66, 1: 32, 2: 2}),
            session_id=session_id,
            session_epoch=epochs[session],
            topics=topics,
            forgotten_topics_data=forgotten,
            rack_id=self.some(("", "rack")),
        )

    def wanted(self, partition: tuple[str, int], tells_divergence: bool) -> m.FetchPartition:
        """The entry of one partition. Where sizes may differ, so would what a limit cuts."""
        limits = {1 << 20: 60, 1: 10, 150: 15, 2000: 10, 0: 3, -1: 2}
        return m.FetchPartition(
            partition[1],
            current_leader_epoch=self.pick({-1: 84, 0: 9, 1: 5, -5: 2}),
            fetch_offset=self.offset(partition),
            last_fetched_epoch=self.pick({-1: 90, 0: 7, 3: 2, -2: 1}) if tells_divergence else -1,
            partition_max_bytes=self.pick({1 << 20: 97, 1: 3} if partition[0] in RESIZED else limits),
        )

    def waiting(self) -> Step:
        """A fetch that waits at the end of a log, and what may wake it, or not."""
        step = self.some((self.produce, self.produce, self.delete_records, self.delete_topics))()
        named = [part for part in self.ends if part[0] in self.world.topics] or [("plain", 0)]
        wanted = tuple(self.some(named) for _ in range(self.pick({1: 60, 2: 40})))
        if isinstance(step.body, m.ProduceRequest):
            wanted += tuple((str(topic.name), data.index) for topic in step.body.topic_data for data in topic.partition_data)
        session = self.pick({"none": 75, "next": 25})
        version = self.fetch_version(session, age=0)
        body = changed(self.fetch_of(wanted, session, version), max_wait_ms=60_000, min_bytes=self.pick({1: 60, 200: 30, 100_000: 10}))
        return changed(step, waiting=self.step(body, version))

    def list_offsets(self) -> Step:
        """Look up by time or by name of a mark."""
        topics = tuple(m.ListOffsetsTopic(named(name), parts) for name, parts in self.grouped(self.several(self.look_up)))
        replica_id = self.pick({-1: 88, -2: 5, -3: 2, 0: 3, 5: 2})
        return self.step(m.ListOffsetsRequest(replica_id, self.pick({0: 55, 1: 44, 2: 1}), topics, self.some((1000, 0))))

    def look_up(self) -> tuple[str, m.ListOffsetsPartition]:
        """The entry of one partition."""
        at = self.timestamp(for_record=False)
        if isinstance(at, Ago) and self.happens(0.2):
            at = Ago(at.ms + self.some((1, -1)))
        at = self.some((-1, -2, -3, -4, -5, -6, -7, at, at, at, at, at))
        return self.name(), m.ListOffsetsPartition(self.index(), self.pick({-1: 90, 0: 5, 2: 3, -5: 2}), at)

    def offset_for_leader_epoch(self) -> Step:
        """Where epochs end."""
        topics = tuple(m.OffsetForLeaderTopic(named(name), parts) for name, parts in self.grouped(self.several(self.epoch_look_up)))
        return self.step(m.OffsetForLeaderEpochRequest(self.pick({-1: 50, -2: 50}), topics))

    def epoch_look_up(self) -> tuple[str, m.OffsetForLeaderPartition]:
        """The entry of one partition."""
        return self.name(), m.OffsetForLeaderPartition(self.index(), self.pick({-1: 80, 0: 10, 3: 6, -5: 4}), self.some((-1, 0, 1, 5, -2)))

    def delete_records(self) -> Step:
        """Raise log starts."""
        partitions = self.several(self.partition)
        asked = [(name, m.DeleteRecordsPartition(index, self.offset((name, index)))) for name, index in partitions]
        for name, part in asked:
            key = (name, part.partition_index)
            self.starts[key] = max(self.starts.get(key, 0), min(part.offset, self.ends.get(key, 0)))
        topics = tuple(m.DeleteRecordsTopic(named(name), parts) for name, parts in self.grouped(asked))
        return self.step(m.DeleteRecordsRequest(topics, self.some((30_000, 0))))

    # Topics

    def metadata(self) -> Step:
        """By name, by id, all."""
        version = self.version(3)
        creates = self.happens(0.2)
        topics = self.several(lambda: self.asked(version, creates or version < 4), {0: 15, 1: 40, 2: 25, 3: 20})
        everything = version > 0 and self.happens(0.15)
        flags = self.happens(0.5), self.happens(0.5)
        return self.step(m.MetadataRequest(None if everything else topics, creates, *flags), version)

    def asked(self, version: int, creates: bool) -> m.MetadataRequestTopic:
        """One topic that is asked about. What is made because of it must be one that comes and goes."""
        name = self.name()
        if creates and name in ("absent", "Plain", "a" * 249, "a_b"):  # of a.b and a_b Apache Kafka makes both
            name = "auto"
        kind = self.pick({"name": 70, "id": 22, "both": 5, "neither": 3}) if version >= 10 else "name"
        of: Any = self.id_of(name)
        return {
            "name": m.MetadataRequestTopic(ZERO_UUID, named(name)),
            "id": m.MetadataRequestTopic(of, None if version >= 12 else named(name)),
            "both": m.MetadataRequestTopic(of, named(name)),
            "neither": m.MetadataRequestTopic(ZERO_UUID, None),
        }[kind]

    def describe_topic_partitions(self) -> Step:
        """Pages of topics. Of all topics, those with two underscores in front are skipped: some may be the coordinators'."""
        names = self.several(self.name, {1: 30, 2: 30, 4: 30, 0: 10})
        topics = tuple(m.DescribeTopicPartitionsRequestTopicRequest(named(name or "absent")) for name in names)  # "" spoils all in Apache Kafka
        cursor = None
        if not names:
            cursor = m.DescribeTopicPartitionsRequestCursor(self.some(("a", "later", "plain", "zzz")), self.pick({0: 60, 1: 30, 9: 10}))
        elif self.happens(0.4):
            name = self.some(names) if self.happens(0.85) else "elsewhere"
            cursor = m.DescribeTopicPartitionsRequestCursor(named(name), self.pick({0: 50, 1: 30, 9: 10, -1: 10}))
        return self.step(m.DescribeTopicPartitionsRequest(topics, self.some((-1, 0, 1, 2, 3, 5, 100, 5000)), cursor))

    def api_versions(self) -> Step:
        """Who asks is named well, or not."""
        name, version = self.some(("client", "a.b-c", "", "-x", "with space", "a_b")), self.some(("1.0", "", "1.0-"))
        return self.step(m.ApiVersionsRequest(name, version))

    def topic_texts(self) -> dict[str, str | None]:
        """Configurations of a topic, some of which are wrong."""
        return dict(self.chance.sample(TEXTS, self.pick({0: 40, 1: 40, 2: 15, 3: 5})))

    def create_topics(self) -> Step:
        """What can be made, and what cannot."""
        topics = self.several(self.draft, {1: 65, 2: 25, 3: 8, 0: 2})
        return self.step(m.CreateTopicsRequest(topics, self.pick({30_000: 94, 0: 3, -1: 3}), self.happens(0.25)))

    def draft(self) -> m.CreatableTopic:
        """One topic to be made."""
        name = self.pick({"later": 40, "auto": 12, "a.b": 10, "a_b": 10, self.name(): 24, "__cluster_metadata": 2, "app.end-time": 2})
        configs = tuple(m.CreatableTopicConfig(key, text) for key, text in self.topic_texts().items())
        if configs and self.happens(0.05):
            configs += (m.CreatableTopicConfig(configs[0].name, "1"),)
        count, factor = self.pick({1: 45, 2: 25, -1: 20, 0: 3, -2: 3, 10_001: 2, 9_999: 2}), self.pick({1: 60, -1: 30, 0: 4, 2: 4, -2: 2})
        placed: tuple[m.CreatableReplicaAssignment, ...] = ()
        if self.happens(0.15):
            count, factor = self.pick({-1: 80, 1: 20}), self.pick({-1: 80, 1: 20})
            indexes = self.some(((0,), (0, 1), (1, 0), (1,), (0, 0), (-1,)))
            placed = tuple(m.CreatableReplicaAssignment(index, self.pick({(1,): 80, (2,): 8, (1, 1): 6, (): 6})) for index in indexes)
        if count == 9_999 and not configs and factor in (1, -1):
            count = 2  # it would be made
        return m.CreatableTopic(named(name), count, factor, placed, configs)

    def delete_topics(self) -> Step:
        """By name or by id; the topics of the world stay."""
        version = self.version(20)
        timeout_ms = self.pick({30_000: 94, 0: 3, -1: 3})
        if version < 6:
            return self.step(m.DeleteTopicsRequest((), self.several(lambda: named(self.doomed_name())), timeout_ms), version)
        return self.step(m.DeleteTopicsRequest(self.several(self.doomed), (), timeout_ms), version)

    def doomed_name(self) -> str:
        """A topic that may go, or is none."""
        return self.pick({"later": 45, "auto": 20, "a.b": 10, "a_b": 10, self.some(ODD_NAMES): 15})

    def doomed(self) -> m.DeleteTopicState:
        """The same, by name, by id, by both or by neither."""
        name, kind = self.doomed_name(), self.pick({"name": 50, "id": 35, "both": 5, "neither": 3, "old": 7})
        of: dict[str, Any] = {"name": ZERO_UUID, "id": IdOf(name), "both": IdOf(name), "neither": ZERO_UUID, "old": OldIdOf(name)}
        return m.DeleteTopicState(named(name) if kind in ("name", "both") else None, of[kind])

    def create_partitions(self) -> Step:
        """Grow, mostly by little or nothing."""
        return self.step(m.CreatePartitionsRequest(self.several(self.growth), self.pick({30_000: 94, 0: 6}), self.happens(0.3)))

    def growth(self) -> m.CreatePartitionsTopic:
        """One topic that shall grow. Not by more than 10,000: that Apache Kafka refuses, and does in part all the same."""
        name = self.pick({"later": 40, "auto": 20, "a.b": 10, self.name(): 30})
        count = self.pick({0: 5, 1: 20, 2: 30, 3: 25, 4: 8, -1: 6})
        placed = None
        if self.happens(0.25):
            placed = self.several(lambda: m.CreatePartitionsAssignment(self.pick({(1,): 75, (2,): 10, (1, 1): 10, (): 5})))
        return m.CreatePartitionsTopic(named(name), count, placed)

    # Configurations

    def resource(self) -> tuple[int, str]:
        """A resource, and what is none."""
        kind = self.pick({Resource.TOPIC: 60, Resource.BROKER: 20, Resource.BROKER_LOGGER: 4, Resource.CLIENT_METRICS: 4, Resource.GROUP: 4, 3: 4, 0: 2, -1: 2})
        if kind == Resource.TOPIC:
            return kind, self.name()
        return kind, self.pick({"1": 60, "": 20, "2": 8, "x": 8, "-1": 4})

    def describe_configs(self) -> Step:
        """Of topics and brokers."""
        keys = (None, (), ("retention.ms", "nonsense"), ("cleanup.policy", "segment.bytes", "cleanup.policy"), ("message.max.bytes", "log.roll.ms"))
        resources = self.several(lambda: m.DescribeConfigsResource(*resourced(*self.resource()), self.some(keys)))
        return self.step(m.DescribeConfigsRequest(resources, self.happens(0.5), self.happens(0.3)))

    def changeable(self) -> tuple[int, str]:
        """A resource for a change. Not one of the topics that roll: they might be compacted."""
        kind = self.pick({"topic": 74, "broker": 14, "any": 8, "odd": 4})
        if kind == "topic":
            return Resource.TOPIC, self.pick({"tight": 30, "plain": 20, "later": 30, "auto": 10, "a.b": 10})
        if kind == "broker":
            return Resource.BROKER, self.pick({"1": 50, "": 50})
        if kind == "any":
            return self.some((Resource.BROKER_LOGGER, Resource.CLIENT_METRICS, Resource.GROUP, 3, 0)), self.some(("1", "", "x"))
        return self.some(((Resource.TOPIC, self.some(ODD_NAMES)), (Resource.BROKER, "2"), (Resource.BROKER, "x")))

    def texts_for(self, kind: int) -> dict[str, str | None]:
        """Configurations for a kind of resource; a broker has those of topics under other names."""
        if kind == Resource.TOPIC:
            return self.topic_texts()
        if kind != Resource.BROKER:
            return {"no.such.config": "1"} if self.happens(0.7) else {}
        from_topics = {BROKER_NAMES[name]: text for name, text in self.topic_texts().items() if name in BROKER_NAMES and name not in UNTOUCHED}
        return from_topics | ({self.some(FIXED_SETTINGS): "1"} if self.happens(0.1) else {})

    def incremental_alter_configs(self) -> Step:
        """Set, delete, append, subtract."""
        if self.happens(0.04):
            return self.step(m.IncrementalAlterConfigsRequest((self.odd_alteration(),), self.happens(0.25)))
        return self.step(m.IncrementalAlterConfigsRequest(self.several(self.alteration, {1: 85, 2: 15}), self.happens(0.25)))

    def odd_alteration(self) -> m.IncrementalAlterConfigsRequestAlterConfigsResource:
        """An operation that there is not; by itself, since in Apache Kafka it spoils what stands beside it."""
        kind, name = self.changeable()
        change = m.IncrementalAlterConfigsRequestAlterableConfig("retention.ms", self.some((4, 9, -1)), "-1")
        return m.IncrementalAlterConfigsRequestAlterConfigsResource(*resourced(kind, name), (change,))

    def alteration(self) -> m.IncrementalAlterConfigsRequestAlterConfigsResource:
        """The operations on one resource."""
        kind, name = self.changeable()
        changes = [self.operation(key, text) for key, text in self.texts_for(kind).items()]
        if changes and self.happens(0.06):
            changes.append(self.some(changes))
        return m.IncrementalAlterConfigsRequestAlterConfigsResource(*resourced(kind, name), tuple(changes))

    def operation(self, key: str, text: str | None) -> m.IncrementalAlterConfigsRequestAlterableConfig:
        """One operation."""
        what = self.pick({Operation.SET: 58, Operation.DELETE: 18, Operation.APPEND: 12, Operation.SUBTRACT: 12})
        given = text if what != Operation.DELETE or self.happens(0.3) else None
        return m.IncrementalAlterConfigsRequestAlterableConfig(key, what, given)

    def alter_configs(self) -> Step:
        """Replace all. No resource is named twice, which Apache Kafka never answers; nor the whole cluster, where it keeps one setting itself."""
        by_name: dict[tuple[int, str], m.AlterConfigsRequestResource] = {}
        for _ in range(self.pick({1: 85, 2: 15})):
            kind, name = self.changeable()
            configs = [m.AlterConfigsRequestAlterableConfig(*one) for one in self.texts_for(kind).items()]
            if configs and self.happens(0.06):
                configs.append(self.some(configs))
            if (kind, name) != (Resource.BROKER, ""):
                by_name[kind, name] = m.AlterConfigsRequestResource(*resourced(kind, name), tuple(configs))
        return self.step(m.AlterConfigsRequest(tuple(by_name.values()), self.happens(0.25)))

    def list_config_resources(self) -> Step:
        """Of all types, of some, of one that is none."""
        kinds = self.some(((), (2,), (2, 2), (4,), (8, 4), (16,), (32,), (64,), (0, 2)))
        return self.step(m.ListConfigResourcesRequest(kinds))

    # Producers and the cluster

    def init_producer_id(self) -> Step:
        """A new id, or a request for one that is refused."""
        pair = self.pick({(-1, -1): 76, (5, -1): 6, (-1, 3): 6, (5, 0): 8, (-2, -2): 4})
        return self.step(m.InitProducerIdRequest(self.pick({None: 90, "": 5, "t": 5}), self.some((60_000, 0, -1)), *pair))

    def describe_producers(self) -> Step:
        """What partitions know."""
        topics = tuple(m.DescribeProducersRequestTopicRequest(named(name), parts) for name, parts in self.grouped(self.several(self.partition)))
        return self.step(m.DescribeProducersRequest(topics))

    def describe_cluster(self) -> Step:
        """Brokers, controllers, or neither."""
        return self.step(m.DescribeClusterRequest(self.happens(0.5), self.some((1, 1, 2, 3, 0)), self.happens(0.5)))

    def find_coordinator(self) -> Step:
        """Of a kind that there is, or is not."""
        keys = self.several(lambda: self.some(("g", "t", "")))
        return self.step(m.FindCoordinatorRequest(self.some(("g", "")), self.pick({0: 20, 1: 20, 9: 30, -1: 30}), keys))

    def describe_log_dirs(self) -> Step:
        """Sizes."""
        topics = tuple(m.DescribableLogDirTopic(named(name), parts) for name, parts in self.grouped(self.several(self.partition)))
        return self.step(m.DescribeLogDirsRequest(None if self.happens(0.2) else topics))

    # Frames

    def frame(self) -> Step:
        """A key or a version that is not served, or a body that is none."""
        kind, version, body = self.some(
            (
                (3, 99, b""), (4, 0, b""), (999, 0, b""), (-1, 0, b""), (67, 0, b""), (18, 99, b""), (18, -1, b""), (18, 5, b""), (0, 2, b""), (1, 3, b""),
                (3, 14, b""), (3, 9, b""), (3, 9, b"\x05\x01"), (2, 1, struct.pack(">ii", -1, 1 << 30)), (60, 0, b"\x01"), (75, 0, b"\x00"),
                (3, 0, struct.pack(">i", -1)), (3, 1, struct.pack(">i", -2)), (18, 3, b""), (61, 0, b"\xff\xff\xff\xff\xff\x0f"),
            )
        )  # fmt: skip
        return self.step(Raw(kind, body), version)

    def spoilt(self) -> Step:
        """A request of which only a part arrives, or more than it, or with a byte that was not sent so."""
        kind = self.pick({"cut": 50, "behind": 20, "byte": 30})
        if kind == "byte":
            step = self.some((self.list_offsets, self.describe_producers, self.offset_for_leader_epoch, self.describe_configs, self.describe_cluster))()
            return changed(step, spoilt=Spoilt(at=self.chance.randrange(2000), byte=self.pick({0: 30, 1: 20, 255: 20, 127: 10, 128: 10, 2: 10})))
        step = self.pick(self.makers)()
        while isinstance(step.body, Raw) or step.spoilt or step.waiting:
            step = self.pick(self.makers)()
        spoil = Spoilt(cut=self.chance.randrange(2000)) if kind == "cut" else Spoilt(behind=self.some((b"\x00", b"more", bytes(100))))
        return changed(step, spoilt=spoil)

    # Time

    def retention(self) -> Iterator[Step]:
        """A topic goes out of retention for a moment."""
        name = self.some(tuple(self.world.topics))
        key, text = self.some((("retention.ms", "0"), ("retention.ms", str(HOUR_MS)), ("retention.bytes", "0"), ("retention.bytes", "1500")))
        yield self.retaining(name, key, Operation.SET, text)
        yield Step(TimePasses())
        yield self.retaining(name, key, Operation.SET, "-1")

    def retaining(self, name: str, key: str, what: Operation, text: str) -> Step:
        """One setting of retention changed."""
        change = m.IncrementalAlterConfigsRequestAlterableConfig(key, what, text)
        resource = m.IncrementalAlterConfigsRequestAlterConfigsResource(Resource.TOPIC, named(name), (change,))
        return Step(m.IncrementalAlterConfigsRequest((resource,), False), APIS[44].max_version)


#: A topic's configuration -> the broker's setting of the same meaning.
BROKER_NAMES = {definition.name: definition.synonym for definition in TOPIC.values() if definition.synonym}


# Guests


def is_for_guests(step: Step, served: Mapping[int, Sequence[int]]) -> bool:
    """May a guest ask this: is it served, and only about topics of its own?"""
    asked = (step, step.waiting) if step.waiting is not None else (step,)
    return all(one.api_version in served.get(one.api_key, ()) and touches_only_its_own(one) for one in asked)


def touches_only_its_own(step: Step) -> bool:
    """Nothing is changed or told but topics that are named; how many partitions a topic has, and which topics there are, is not left to the broker."""
    match step.body:
        case m.MetadataRequest():
            return step.body.topics is not None and step.api_version >= 4 and not step.body.allow_auto_topic_creation
        case m.DescribeTopicPartitionsRequest():
            return bool(step.body.topics)
        case m.DescribeConfigsRequest() | m.IncrementalAlterConfigsRequest() | m.AlterConfigsRequest():
            return all(resource.resource_type == Resource.TOPIC for resource in step.body.resources)
        case m.CreateTopicsRequest():
            return all(topic.num_partitions in range(PARTITIONS_MAX) or topic.assignments for topic in step.body.topics)
        case m.CreatePartitionsRequest():
            return all(topic.count <= PARTITIONS_MAX for topic in step.body.topics)
        case _:
            return not isinstance(step.body, (Raw, *TELLING_OF_ALL))


#: Requests that tell of more than some topics, or make a broker begin something of its own.
TELLING_OF_ALL = (m.ApiVersionsRequest, m.DescribeClusterRequest, m.DescribeLogDirsRequest, m.FindCoordinatorRequest, m.ListConfigResourcesRequest)
