"""A broker run on a disk that remembers, step by step beside its model: what it is, and what of it must outlive the step.

    run = Run(folder)
    run.start()
    run.create("a", flush_messages="1")
    run.produce("a", 0, producer=7, count=2)
    run.kill()
    run.start()

Both are asked the same and must answer the same. A step that the model takes while the broker carries out file operations is what a crash may cut.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from immutables import Map

from faults.disk import Disk
from faults.images import Image, read
from fiducial.conformance.batches import Item, build
from fiducial.conformance.exploration.steps import answer_of, request_frame
from fiducial.fastpath.core import StorageFailed
from fiducial.fastpath.node import Action, Hangup, Node, Send
from fiducial.models import messages as m
from fiducial.models.apis import APIS
from fiducial.models.batches import StoredBatch
from fiducial.models.broker import new_broker
from fiducial.models.errors import Error
from fiducial.models.events import Append, Effect
from fiducial.models.group_records import decoded
from fiducial.models.groups import Alarm, State
from fiducial.models.idempotence import WINDOW_BATCHES, Written
from fiducial.models.kernels import sequence_after
from fiducial.models.partition import Partition
from fiducial.models.restarts import forces_before_answer, forces_by_now, known_ids, reopened, restarted
from fiducial.models.settings import Settings, parse
from fiducial.models.state import Broker, Chance, Cluster
from fiducial.models.topics import OFFSETS_TOPIC
from fiducial.models.values import EMPTY, Uuid, changed
from fiducial.reference.core import Action as ModelAction
from fiducial.reference.core import Core
from fiducial.reference.core import Send as ModelSend

NOON_MS = 1_700_000_000_000
REQUEST_MS = 7
CLUSTER = Cluster("ZmlkdWNpYWxmaWR1Y2lhbA", 1, "127.0.0.1", 9092)
KEYS = {api.request: api.key for api in APIS.values()}
#: The newest versions by the topic's name.
BY_NAME = {0: 12, 1: 12, 8: 9}
RESOURCE_TOPIC, SET = 2, 0
#: Groups are soon written down anew, and soon forgotten; nobody waits long for others to join.
SETTINGS = {"offsets.topic.num.partitions": "2", "offsets.retention.minutes": "60", "group.initial.rebalance.delay.ms": "0"}
SESSION_MS, REBALANCE_MS = 10_000, 5_000

Key = tuple[Uuid, int]
#: (epoch, window) of a producer.
Known = tuple[int, tuple[Written, ...]]


@dataclass(frozen=True)
class Safe:
    """What of a partition outlives a power cut: a log start that was answered, and every record below `end`; and what waits to be forced."""

    start: int
    end: int
    unforced_records: int = 0
    since_ms: int = 0


@dataclass(frozen=True)
class Begun:
    """Of a log of groups that was begun anew: where it started before and starts since then, and up to where it must be there if that is so."""

    started: int
    start: int
    end: int


@dataclass(frozen=True)
class Step:
    """Something that was asked of the broker: the operations that it took, and all that was so before and is so after it."""

    title: str
    begin: int
    end: int
    before: Broker
    after: Broker
    moments: Mapping[Key, tuple[Partition, ...]]  # of each partition, what it was since it was opened, up to this step
    safe: Mapping[Key, Safe]
    coming: Mapping[Key, tuple[Partition, ...]] = field(default_factory=dict)  # what it was in this step, one after the other
    is_start: bool = False


class Refused(AssertionError):
    """A request of the script got an error."""


class Failed(Exception):
    """The disk failed, and the broker said so: by KAFKA_STORAGE_ERROR, by the end of the connection, or by ending itself."""


def forced(safe: Safe, was: Partition, here: Partition, now: int) -> Safe:
    """What is safe of a partition that has become this one, by its policy, of which every batch is under that of its own time. What is behind a roll
    waits from then on."""
    unforced, since = safe.unforced_records + here.log.end - was.log.end, safe.since_ms if safe.unforced_records else now
    if here.log.active_segment > was.log.active_segment:
        since = now
    if here.log.end > was.log.end and forces_before_answer(here.config, unforced):
        return Safe(safe.start, here.log.end)
    return Safe(safe.start, safe.end, unforced, since)


class Watched(Core):
    """The reference, which tells of every broker that it becomes: one request may append more than once; and of every append of its own."""

    def __init__(self, settings: Settings, on_change: Callable[[Broker], None], on_append: Callable[[Append, int], None]) -> None:
        self.on_change, self.on_append = on_change, on_append
        super().__init__(CLUSTER, settings, 1)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "broker":
            self.on_change(value)

    def stored(self, before: Broker, append: Append, now: int) -> tuple[Broker, Error, tuple[Effect, ...]]:
        """The broker with records of its own in a log, before it does more, and without them: what it has just made may be cut short too."""
        self.on_change(before)
        after, error, effects = super().stored(before, append, now)
        self.on_append(append, before.partitions[append.topic_id, append.partition].log.end)
        self.on_change(after)
        return after, error, effects


@dataclass
class Run:
    """One broker, on an empty folder, or on what a crash has left: then `broker` is what it will find."""

    folder: Path
    settings: Settings = field(default_factory=lambda: parse(SETTINGS))
    broker: Broker = field(default_factory=lambda: new_broker(CLUSTER, parse(SETTINGS), 1))
    now: int = NOON_MS
    starts: int = 0
    stored: dict[tuple[Key, int], bytes] = field(default_factory=dict)  # by base offset: the batches, from their attributes on
    sent: dict[tuple[Key, int, int, int], bytes] = field(default_factory=dict)  # by producer, epoch, first sequence: as they were sent
    ever: dict[tuple[Key, int], list[Known]] = field(default_factory=lambda: defaultdict(list))  # by producer: all that it was known by
    groups: dict[Key, dict[int, Any]] = field(default_factory=lambda: defaultdict(dict))  # by offset: the records of groups in a log

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.image: Image = read(self.folder)
        self.disk = Disk(self.folder)
        self.node: Node | None = None
        self.coming: dict[Key, tuple[Partition, ...]] = {}
        self.seen = self.broker
        self.core = Watched(self.settings, self.learn_of, self.keep_records)
        self.core.broker = self.broker
        self.steps: list[Step] = []
        self.begun: list[dict[Key, Begun]] = []  # the logs of groups that began anew together
        self.failed: Step | None = None  # the step in which the disk failed
        self.moments: dict[Key, tuple[Partition, ...]] = {key: (here,) for key, here in self.broker.partitions.items()}
        self.safe: dict[Key, Safe] = {key: Safe(here.log.start, here.log.end) for key, here in self.broker.partitions.items()}
        self.sequences: dict[tuple[Key, int, int], int] = {}  # by producer and epoch: the next one
        for key, here in self.broker.partitions.items():
            for producer, entry in here.producers.items():
                self.sequences[key, producer, entry.epoch] = sequence_after(entry.last_sequence, 1)

    # Steps

    @contextmanager
    def step(self, title: str, *, flushes: bool = False, deletes: Key | None = None, shortens: bool = False) -> Iterator[None]:
        """One step: the block asks the broker, and brings the model to where it then is. It may answer a log start, or make logs of groups short."""
        before, begin = self.broker, len(self.disk.operations)
        moments, safe, was_running = dict(self.moments), dict(self.safe), self.node is not None
        self.coming = {}
        try:
            yield
        except (Failed, StorageFailed):
            end = len(self.disk.operations)
            self.keep_batches()
            self.failed = Step(title, begin, end, before, self.core.broker, moments, safe, dict(self.coming), is_start=not was_running)
            self.broker = self.core.broker = before
            raise Failed from None
        self.keep_batches()
        if self.node is not None and was_running:
            self.broker = self.core.broker
            self.learn(before, flushes=flushes, deletes=deletes, shortens=shortens)
        else:  # it has started or stopped: all that is there is on the disk
            self.moments = {key: (here,) for key, here in self.broker.partitions.items()}
            self.safe = {key: Safe(here.log.start, here.log.end) for key, here in self.broker.partitions.items()}
        end = len(self.disk.operations)
        self.steps.append(Step(title, begin, end, before, self.broker, moments, safe, self.coming, is_start=not was_running))

    def learn_of(self, broker: Broker) -> None:
        """A broker that the model has become: what its partitions came to be."""
        for key, here in broker.partitions.items():
            was = self.seen.partitions.get(key)
            if here is not was:
                self.coming[key] = (*self.coming.get(key, ()), here)
        self.seen = broker

    def keep_records(self, append: Append, offset: int) -> None:
        """What the model writes down of groups."""
        for number, record in enumerate(append.records):
            self.groups[append.topic_id, append.partition][offset + number] = decoded(*record)

    def keep_batches(self) -> None:
        """What the broker has written of its own."""
        for key in self.coming:
            for offset, data in zip(*self.core.storage.logs.get(key, ([], [])), strict=True):
                self.stored[key, offset] = data[21:]

    def learn(self, before: Broker, *, flushes: bool, deletes: Key | None, shortens: bool) -> None:
        """What of each partition is safe after a step, by the rules alone."""
        self.learn_what_began(before)
        for key in [key for key in self.moments if key not in self.broker.partitions]:
            del self.moments[key], self.safe[key]
        for key, here in self.broker.partitions.items():
            was = before.partitions.get(key)
            if was is None:
                self.moments[key], self.safe[key] = (here,), Safe(here.log.start, here.log.end)
                continue
            if here is not was:
                self.moments[key] = (*self.moments[key], *self.coming[key])
                self.remember(key, here)
            safe = self.safe[key]
            for earlier, later in pairwise((was, *self.coming.get(key, ()))):
                safe = forced(safe, earlier, later, self.now)
            waits = safe.unforced_records > 0
            is_forced = waits and flushes and forces_by_now(here.config, self.now - safe.since_ms)
            stands = key == deletes or (shortens and here.log.start > was.log.start)
            start = here.log.start if stands else safe.start
            end = here.log.end if is_forced else max(safe.end, start)
            self.safe[key] = Safe(start, end, 0 if is_forced else safe.unforced_records, safe.since_ms)

    def learn_what_began(self, before: Broker) -> None:
        """Logs of groups that start later since a step; all of them, if groups have moved."""
        logs = {key: here.log for key, here in self.broker.partitions.items() if self.broker.topics.by_id[key[0]] == OFFSETS_TOPIC}
        starts = {key: before.partitions[key].log.start for key in logs if key in before.partitions}
        has_moved = before.groups.scattered or (bool(starts) and len(starts) < len(logs))
        begun = {key: Begun(starts.get(key, 0), log.start, log.end) for key, log in logs.items() if has_moved or log.start > starts.get(key, log.start)}
        self.begun += [begun] if begun else []

    def remember(self, key: Key, here: Partition) -> None:
        """What the partition knows of its producers may come back after it was forgotten."""
        for producer, entry in here.producers.items():
            if (known := (entry.epoch, entry.window)) not in self.ever[key, producer]:
                self.ever[key, producer].append(known)

    def start(self) -> None:
        """Start the broker on its folder."""
        assert self.node is None
        self.starts += 1
        with self.step("start"):
            self.node = Node(self.folder, CLUSTER, self.settings, self.starts, self.now, simulation=self.disk)
            partitions = EMPTY
            for key, here in self.broker.partitions.items():
                partitions = partitions.set(key, self.with_found(key, reopened(here, here.leader_epoch + 1)))
            again, alarms = restarted(self.broker, self.now, partitions, known_ids(partitions))
            assert self.node.broker.groups == again.groups, f"{self.node.broker.groups}, not {again.groups}"
            assert [(one.alarm, one.at_ms) for one in alarms] == alarms_of(self.node)
            self.broker = changed(again, chance=Chance(self.starts))
            self.core.broker = self.broker

    def with_found(self, key: Key, here: Partition) -> Partition:
        """The partition as the broker has found it after a start: recovery does not know when a producer wrote last, nor whom silence had made
        forgotten."""
        assert self.node is not None
        found = dict(self.node.core.producers(*key))
        for producer, entry in found.items():
            known = here.producers.get(producer)
            ever = self.ever[key, producer]
            may_be = known_again((known.epoch, known.window), ever) if known is not None else ever
            assert (entry.epoch, entry.window) in may_be, f"producer {producer} of {key} is {entry}, not {may_be}"
        assert set(here.producers) <= set(found), f"of the producers {set(here.producers)} of {key} only {set(found)} are known"
        return changed(here, producers=Map(found))

    def stop(self) -> None:
        """Stop it cleanly."""
        assert self.node is not None
        with self.step("stop"):
            node, self.node = self.node, None
            node.stop()
            if node.core.storage_error:
                raise Failed

    def kill(self) -> None:
        """Leave everything as it is."""
        assert self.node is not None
        self.node.close()
        self.node = None

    # What is asked

    def ask(self, message: Any) -> Any:
        """The answer of both to a request."""
        assert self.node is not None
        key = KEYS[type(message)]
        version = BY_NAME.get(key, APIS[key].max_version)
        frame = request_frame(key, version, message)
        self.now += REQUEST_MS
        expected, actions = self.core.frame(1, frame, self.now), self.node.frame(1, frame, self.now)
        while not actions:
            expected, actions = self.ring()
        (action,) = actions
        if self.disk.fault is not None and says_failed(action, key, version):
            raise Failed
        answers = [one.data for one in expected if isinstance(one, ModelSend)]
        assert isinstance(action, Send) and [action.data] == answers, f"{message}: {action!r}, not {answers!r}"
        return answer_of(action.data[4:], key, version)

    def ring(self) -> tuple[list[ModelAction], list[Action]]:
        """The first alarm of a group, in its time; both's answers. Somebody waits for it."""
        assert self.node is not None
        self.now = max(self.now, self.node.alarms.first_ms())
        alarm = self.node.alarms.due(self.now)
        assert alarm is not None, "nothing will ever answer"
        return self.core.ring(alarm, self.now), self.node.ring(alarm, self.now)

    def create(self, name: str, partitions: int = 1, **config: str) -> None:
        """Create a topic; configuration names with _ for dots."""
        configs = tuple(m.CreatableTopicConfig(key.replace("_", "."), text) for key, text in config.items())
        with self.step(f"create {name}"):
            accepted(self.ask(m.CreateTopicsRequest((m.CreatableTopic(name, partitions, 1, configs=configs),), 60_000, False)).topics)

    def delete(self, name: str) -> None:
        """Delete a topic."""
        with self.step(f"delete {name}"):
            accepted(self.ask(m.DeleteTopicsRequest((m.DeleteTopicState(name),), timeout_ms=60_000)).responses)

    def grow(self, name: str, partitions: int) -> None:
        """More partitions."""
        with self.step(f"grow {name}", shortens=name == OFFSETS_TOPIC):
            accepted(self.ask(m.CreatePartitionsRequest((m.CreatePartitionsTopic(name, partitions, None),), 60_000, False)).results)

    def configure(self, name: str, config: str, text: str) -> None:
        """Change one configuration of a topic."""
        change = m.IncrementalAlterConfigsRequestAlterableConfig(config, SET, text)
        resource = m.IncrementalAlterConfigsRequestAlterConfigsResource(RESOURCE_TOPIC, name, (change,))
        with self.step(f"{config} of {name} = {text}"):
            accepted(self.ask(m.IncrementalAlterConfigsRequest((resource,), False)).responses)

    def key(self, name: str, index: int = 0) -> Key:
        """A partition's."""
        return self.broker.topics.by_name[name].topic_id, index

    def produce(self, name: str, index: int = 0, *, producer: int = -1, epoch: int = 1, count: int = 1, size: int = 10) -> None:
        """Append a batch of `count` records of `size` bytes, the next one of an idempotent producer."""
        key = self.key(name, index)
        sequence = self.sequences.get((key, producer, epoch), 0) if producer >= 0 else -1
        items = [Item(self.now, b"%d" % number, bytes([65 + self.now % 26]) * size) for number in range(count)]
        data = build(items, producer=(producer, epoch if producer >= 0 else -1, sequence))
        offset = self.broker.partitions[key].log.end
        self.stored[key, offset] = data[21:]
        if producer >= 0:
            self.sent[key, producer, epoch, sequence] = data
        with self.step(f"produce {count} to {name}-{index} at {offset}"):
            (answer,) = accepted(self.ask(produce_request(name, index, data)).responses[0].partition_responses)
            assert answer.base_offset == offset
        if producer >= 0:
            self.sequences[key, producer, epoch] = sequence_after(sequence, count)

    def resend(self, name: str, index: int, producer: int, epoch: int, sequence: int) -> None:
        """A batch again; that of a producer's window is a duplicate."""
        key = self.key(name, index)
        data = self.sent[key, producer, epoch, sequence]
        with self.step(f"resend {sequence} of {producer} to {name}-{index}"):
            (answer,) = accepted(self.ask(produce_request(name, index, data)).responses[0].partition_responses)
        here, safe = self.broker.partitions[key], self.safe[key]
        if answer.base_offset >= safe.end and forces_before_answer(here.config, safe.unforced_records):
            self.safe[key] = Safe(safe.start, here.log.end)

    def delete_records(self, name: str, index: int, offset: int) -> None:
        """Raise the log start."""
        entry = m.DeleteRecordsTopic(name, (m.DeleteRecordsPartition(index, offset),))
        with self.step(f"delete {name}-{index} below {offset}", deletes=self.key(name, index)):
            accepted(self.ask(m.DeleteRecordsRequest((entry,), 10_000)).topics[0].partitions)

    def draw_producer_id(self) -> int:
        """A new one."""
        with self.step("a producer id"):
            answer = self.ask(m.InitProducerIdRequest(None, 1000))
            accepted([answer])
        return int(answer.producer_id)

    # Groups

    def commit(self, group: str, offset: int, *partitions: tuple[str, int]) -> None:
        """The offset of these partitions, together, by nobody in particular."""
        topics = tuple(m.OffsetCommitRequestTopic(name, partitions=(m.OffsetCommitRequestPartition(index, offset),)) for name, index in partitions)
        with self.step(f"commit {offset} of {group}"):
            for topic in self.ask(m.OffsetCommitRequest(group, topics=topics)).topics:
                accepted(topic.partitions)

    def join(self, group: str, instance: str) -> None:
        """A static member joins, and is what the group then waits for, with those that it had."""
        protocols = (m.JoinGroupRequestProtocol("range", b"\0\0" + bytes(8)),)
        with self.step(f"{instance} joins {group}"):
            accepted([self.ask(m.JoinGroupRequest(group, SESSION_MS, REBALANCE_MS, "", instance, "consumer", protocols))])

    def sync(self, group: str) -> None:
        """Its leader assigns to every member."""
        here = self.broker.groups.live[group]
        assert here.state is State.COMPLETING and here.leader is not None
        given = tuple(m.SyncGroupRequestAssignment(one, b"all of %d" % here.generation) for one in here.members)
        who = group, here.generation, here.leader, here.members[here.leader].instance_id
        with self.step(f"{group} is assigned to"):
            accepted([self.ask(m.SyncGroupRequest(*who, "consumer", here.protocol, given))])

    def leave(self, group: str, instance: str) -> None:
        """A static member goes."""
        with self.step(f"{instance} leaves {group}"):
            accepted(self.ask(m.LeaveGroupRequest(group, members=(m.MemberIdentity("", instance),))).members)

    def delete_groups(self, *groups: str) -> None:
        """Groups that are empty, all at once."""
        with self.step(f"delete groups {groups}"):
            accepted(self.ask(m.DeleteGroupsRequest(groups)).results)

    def expire_offsets(self, later_ms: int = 0) -> None:
        """Old offsets go, some time later, and logs of groups are made short."""
        assert self.node is not None
        self.now += REQUEST_MS + later_ms
        with self.step("offset expiry", shortens=True):
            self.core.expiry(self.now)
            self.node.expiry(self.now)
            self.node.core.check_storage()

    def keep_house(self, later_ms: int = 0) -> None:
        """Retention and expiry look, some time later."""
        assert self.node is not None
        self.now += later_ms
        with self.step("housekeeping"):
            self.core.housekeeping(self.now)
            self.node.housekeeping(self.now)
            self.node.core.check_storage()

    def flush(self, later_ms: int = 0) -> None:
        """What the driver does from time to time: force what has waited for flush.ms, and write down how far the logs are on the disk."""
        assert self.node is not None
        self.now += later_ms
        with self.step("flush", flushes=True):
            for unforced in self.node.core.unsynced(self.now):
                self.node.synced(unforced, self.node.core.sync(unforced))
        self.checkpoint()

    def checkpoint(self) -> None:
        """How far the logs are on the disk is written down."""
        assert self.node is not None
        with self.step("checkpoint"):
            self.node.checkpoint()


def known_again(known: Known, ever: Iterable[Known]) -> list[Known]:
    """What a producer may be known by after a start: if it was forgotten and then wrote again, by what it was ever known by before, too."""
    epoch, window = known
    older = (before for its_epoch, before in ever if its_epoch == epoch and before[-1].last_offset < window[0].base_offset)
    return [known, *((epoch, (*before, *window)[-WINDOW_BATCHES:]) for before in older)]


def alarms_of(node: Node) -> list[tuple[Alarm, int]]:
    """The alarms of a broker that has just started, in the order in which they were set."""
    return [(alarm, at_ms) for alarm, (at_ms, _) in node.alarms.set_for.items()]


def produce_request(name: str, index: int, data: bytes) -> m.ProduceRequest:
    """One batch for one partition."""
    records: Any = data  # the field holds bytes as well
    return m.ProduceRequest(None, -1, 1000, (m.TopicProduceData(name, partition_data=(m.PartitionProduceData(index, records),)),))


def says_failed(action: Action, key: int, version: int) -> bool:
    """Does the broker say that the disk failed?"""
    if isinstance(action, Hangup):
        return action.reason.startswith("the disk failed")
    answer = answer_of(action.data[4:], key, version)
    match answer:
        case m.ProduceResponse():
            return bool(answer.responses[0].partition_responses[0].error_code == Error.KAFKA_STORAGE_ERROR)
        case m.OffsetCommitResponse():
            return bool(answer.topics[0].partitions[0].error_code == Error.NOT_COORDINATOR)
        case m.DeleteGroupsResponse():
            return any(one.error_code == Error.NOT_COORDINATOR for one in answer.results)
        case m.JoinGroupResponse() | m.SyncGroupResponse() | m.LeaveGroupResponse():
            return bool(answer.error_code == Error.NOT_COORDINATOR)
    return False


def sent(actions: list[Action]) -> bytes:
    """What was answered to the request, which is all that was to be done."""
    (action,) = actions
    assert isinstance(action, Send), action
    return action.data


def accepted(answers: Any) -> Any:
    """None of these is an error."""
    for answer in answers:
        if answer.error_code != 0:
            raise Refused(str(answer))
    return answers


def batches_of(here: Partition) -> list[StoredBatch]:
    """The batches of a log that can be read, in order."""
    stored = (here.log.batches[ordinal] for ordinal in range(here.log.first_batch, here.log.end_batch))
    return [batch for batch in stored if batch.last_offset >= here.log.start]
