"""Is what a broker finds after a crash one of the things that the rules allow?

For every operation of a run, the folders that a crash there may leave are made (`images`), the broker is started on each, and what it then is,
and does, is held against `models/restarts.py`:
    each log            is what it was at some moment, no earlier than must be kept; its bytes are those that were sent
    each producer       is known with the window of that moment; resends are duplicates, the next sequence is taken, an older epoch is refused
    topics, ids         as they were before the step that was cut, or as after it
    groups              as their logs say, and after a kill as they were before the step or after it: members go on, offsets are told; of the logs
                        of groups that began anew together all do, and are there so far, or none does
    a second start      finds the same
"""

from __future__ import annotations

import hashlib
import itertools
import shutil
from collections import Counter, defaultdict
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from random import Random
from typing import Any

from immutables import Map

from faults import images
from faults.disk import Operation
from faults.images import Image, Shadow
from faults.run import CLUSTER, Begun, Key, Known, Run, Step, alarms_of, batches_of, known_again, produce_request, sent
from fiducial.conformance.exploration.steps import answer_of, request_frame
from fiducial.fastpath.batch import batches
from fiducial.fastpath.node import Node
from fiducial.models import group_requests
from fiducial.models import messages as m
from fiducial.models.errors import Error
from fiducial.models.group_requests import Groups, evolve, partition_of
from fiducial.models.idempotence import ProducerIds
from fiducial.models.kernels import sequence_after
from fiducial.models.partition import Partition
from fiducial.models.restarts import Kept, Stop, allowed_after_crash, fresh_ids, must_be_kept
from fiducial.models.state import Broker
from fiducial.models.topics import OFFSETS_TOPIC, Topics
from fiducial.models.values import EMPTY, changed
from fiducial.reference.records import with_checksum

PRODUCE, FETCH, LIST_OFFSETS, OFFSET_FETCH, HEARTBEAT, INIT_PRODUCER_ID = 0, 1, 2, 9, 12, 22
SIZE_MAX = 2**31 - 1


class Violation(AssertionError):
    """A broker that started after a crash is, or does, what no rule allows."""


@dataclass(frozen=True)
class Seen:
    """What a started broker is, of one partition."""

    start: int
    end: int
    epochs: tuple[tuple[int, int], ...]
    leader_epoch: int
    producers: dict[int, Known]  # when they wrote last is not compared: recovery does not know it
    batches: tuple[tuple[int, int, int, bytes], ...]  # base offset, last offset, leader epoch, digest of all from the attributes on


@dataclass(frozen=True)
class Found:
    """What a started broker is."""

    topics: Topics
    next_producer_id: int
    partitions: dict[Key, Seen]
    groups: Groups


@dataclass(frozen=True)
class Lossy:
    """An image on which logs were shorter than they had been, what came of it, and where those logs had ended."""

    image: Image
    broker: Broker
    ends: dict[Key, int]


@dataclass
class Report:
    """How much was looked at."""

    crashes: int = 0  # points in runs
    images: Counter[Stop] = field(default_factory=Counter)
    states: int = 0  # images that are not the same
    shorter: int = 0  # logs that were found shorter than they had been
    resends: int = 0

    def __str__(self) -> str:
        kills, cuts = self.images[Stop.KILLED], self.images[Stop.POWER_CUT]
        return (
            f"{self.crashes:,} crash points: {kills:,} images of kills, {cuts:,} of power cuts, {self.states:,} different; "
            f"{self.shorter:,} logs shorter than they had been, {self.resends:,} resends recognised"
        )


# Looking at a broker


def asked(node: Node, key: int, version: int, message: Any, now: int) -> Any:
    """The answer of a broker to a request."""
    data = sent(node.frame(1, request_frame(key, version, message), now))
    return answer_of(data[4:], key, version)


def fetched(node: Node, name: str, index: int, offset: int, max_bytes: int, now: int) -> Any:
    """What a fetch at an offset returns, of one partition."""
    wanted = m.FetchTopic(name, partitions=(m.FetchPartition(index, fetch_offset=offset, partition_max_bytes=max_bytes),))
    request = m.FetchRequest(max_wait_ms=0, min_bytes=0, max_bytes=SIZE_MAX, session_id=0, session_epoch=-1, topics=(wanted,))
    (answer,) = asked(node, FETCH, 12, request, now).responses[0].partitions
    return answer


def looked_up(node: Node, name: str, index: int, timestamp: int, now: int) -> int:
    """The offset of the first record of a time or later, of one partition."""
    wanted = m.ListOffsetsTopic(name, (m.ListOffsetsPartition(index, timestamp=timestamp),))
    (answer,) = asked(node, LIST_OFFSETS, 10, m.ListOffsetsRequest(-1, 0, (wanted,), 1000), now).topics[0].partitions
    return int(answer.offset)


def read_log(node: Node, name: str, index: int, start: int, end: int, now: int) -> bytes:
    """Every byte from log start to log end, as a consumer reads it; then each batch alone, as the indexes find it by its offset and by its time."""
    read, offset = b"", start
    while offset < end:
        answer = fetched(node, name, index, offset, SIZE_MAX, now)
        if answer.error_code != 0 or answer.high_watermark != end or answer.log_start_offset != start or not answer.records:
            raise Violation(f"{name}-{index}, {start} to {end}, cannot be read at {offset}: {answer}")
        read += bytes(answer.records)
        offset = batches(bytes(answer.records))[-1].last_offset + 1
    latest = batches(read)[0].max_timestamp if start > 0 and read else -1  # a batch below the log start may be of the same time
    for batch in batches(read):
        answer = fetched(node, name, index, batch.last_offset, 1, now)
        if bytes(answer.records) != batch.data:
            raise Violation(f"{name}-{index} at {batch.last_offset}: {answer}, not the batch at {batch.base_offset}")
        if batch.max_timestamp > latest:
            latest = batch.max_timestamp
            first = looked_up(node, name, index, latest, now)
            if first != max(batch.base_offset, start):
                raise Violation(f"{name}-{index} at the time {latest}: {first}, not the batch at {batch.base_offset}")
    return read


def seen(node: Node, key: Key, now: int) -> Seen:
    """One partition of a broker."""
    (start, high_watermark, end, _), epochs, _, leader_epoch = node.core.marks(*key)
    if high_watermark != end:
        raise Violation(f"{key}: high watermark {high_watermark}, log end {end}")
    read = batches(read_log(node, node.broker.topics.by_id[key[0]], key[1], start, end, now))
    for batch in read:
        if not batch.crc_is_good:
            raise Violation(f"{key}: the batch at {batch.base_offset} is not sound")
    known = {producer: (entry.epoch, entry.window) for producer, entry in node.core.producers(*key)}
    shown = tuple((one.base_offset, one.last_offset, one.leader_epoch, summed(one.data[21:])) for one in read)
    return Seen(start, end, tuple(epochs), leader_epoch, known, shown)


def summed(data: bytes) -> bytes:
    """What two equal batches have in common."""
    return hashlib.blake2b(data, digest_size=8).digest()


def found(node: Node, now: int) -> Found:
    """All of a broker."""
    partitions = {key: seen(node, key, now) for key in node.core.partitions()}
    groups, alarms = group_requests.restarted(changed(node.broker.groups, live=EMPTY), now)
    if groups != node.broker.groups or [(one.alarm, one.at_ms) for one in alarms] != alarms_of(node):
        raise Violation(f"groups {node.broker.groups}, alarms {alarms_of(node)}, not {groups} and {alarms}")
    return Found(node.broker.topics, node.broker.producer_ids.next_id, partitions, groups)


def entries(groups: Groups) -> dict[tuple[Any, ...], Any]:
    """What is durable of groups, one by one."""
    offsets = {(group_id, *key): one for group_id, committed in groups.offsets.items() for key, one in committed.items()}
    return {(group_id,): saved for group_id, saved in groups.saved.items()} | offsets


def differs(first: Found, second: Found) -> str | None:
    """What a second start found otherwise than the first: only leader epochs may be."""
    if (first.topics, first.next_producer_id, first.partitions.keys()) != (second.topics, second.next_producer_id, second.partitions.keys()):
        return "topics or producer ids"
    if first.groups != second.groups:
        return f"groups: {first.groups}, then {second.groups}"
    for key, one in first.partitions.items():
        other = second.partitions[key]
        if (one.start, one.end, one.producers, one.batches) != (other.start, other.end, other.producers, other.batches):
            return f"{key}: {one}, then {other}"
        kept = tuple(entry for entry in one.epochs if entry[1] < one.end)
        if other.leader_epoch <= one.leader_epoch or other.epochs != (*kept, (other.leader_epoch, other.end)):
            return f"{key}: epochs {one.epochs}, then {other.epochs}"
    return None


# The check


class Check:
    """Of every crash of one run."""

    def __init__(self, run: Run, work: Path, report: Report | None = None) -> None:
        self.run, self.work = run, work
        self.report = report if report is not None else Report()
        self.known: dict[bytes, Found] = {}  # by digest of the image
        self.allowed: dict[tuple[int, Key, Stop, int], dict[tuple[int, int], list[tuple[Seen, Partition]]]] = {}
        self.lossy: list[Lossy] = []
        self.folders = itertools.count()

    def every_crash(self, *, cuts: int, random: Random) -> None:
        """A kill and power cuts before each operation, and after the last: `cuts` images of these at most."""
        run = self.run
        shadow, total = Shadow(run.image), len(run.disk.operations)
        operations: Sequence[Operation | None] = [*run.disk.operations, None]
        steps = [*run.steps, Step("the end", total, total + 1, run.broker, run.broker, dict(run.moments), dict(run.safe))]
        for number, operation in enumerate(operations):
            step = next(step for step in steps if step.begin <= number < step.end)
            self.report.crashes += 1
            for image in images.after_kill(shadow, operation):
                self.one(image, step, Stop.KILLED)
            for image in images.after_power_cut(shadow, cuts, random):
                self.one(image, step, Stop.POWER_CUT)
            if operation is not None:
                shadow.do(operation)

    def one(self, image: Image, step: Step, stop: Stop) -> None:
        """One image of a crash."""
        self.report.images[stop] += 1
        shorter = self.report.shorter
        try:
            broker = self.judge(self.found_on(image), step, stop)
        except Exception as error:
            raise Violation(f"{stop.value} in step “{step.title}” ({step.begin} to {step.end}): {error}") from error
        if self.report.shorter > shorter:
            were = {key: here.log.end for key, here in step.before.partitions.items() if key in broker.partitions}
            ends = {key: end for key, end in were.items() if broker.partitions[key].log.end < end}
            self.lossy.append(Lossy(image, broker, ends))

    def act_after(self, lossy: Lossy) -> Run:
        """A run on what a crash of this run has left."""
        folder = self.work / f"second-{next(self.folders)}"  # whoever looks at it counts its own folders beside it
        images.write(lossy.image, folder)
        run = self.run
        found = lossy.broker.partitions.items()
        ends = {key: here.log.end for key, here in found}
        not_opened: Map[Key, Partition] = Map({key: changed(here, leader_epoch=here.leader_epoch - 1) for key, here in found})
        broker = changed(lossy.broker, partitions=not_opened)
        groups = {key: {offset: record for offset, record in records.items() if offset < ends[key]} for key, records in run.groups.items() if key in ends}
        known = dict(run.stored), dict(run.sent), deepcopy(run.ever), defaultdict(dict, groups)
        return Run(folder, run.settings, broker, run.now + 1, run.starts + 10, *known)

    def found_on(self, image: Image) -> Found:
        """What a broker finds on an image, at its first start and at its second, and that it then does what it must."""
        digest = images.digest(image)
        if digest not in self.known:
            folder = self.work / str(next(self.folders))
            images.write(image, folder)
            self.known[digest] = self.started(folder)
            self.report.states += 1
            shutil.rmtree(folder)
        return self.known[digest]

    def started(self, folder: Path) -> Found:
        """Start, look, crash, start, look, and ask."""
        now = self.run.now + 1
        node = Node(folder, CLUSTER, self.run.settings, 77, now)
        first = found(node, now)
        node.close()
        node = Node(folder, CLUSTER, self.run.settings, 78, now)
        second = found(node, now)
        difference = differs(first, second)
        if difference is not None:
            raise Violation(f"a second start differs in {difference}")
        self.ask(node, second, now)
        node.close()
        return first

    # What it is

    def judge(self, found: Found, step: Step, stop: Stop) -> Broker:
        """Every part of what was found is allowed; the model of it."""
        if found.topics not in (step.before.topics, step.after.topics):
            raise Violation(f"topics {found.topics}, not {step.before.topics}")
        known = {producer for one in found.partitions.values() for producer in one.producers}
        if found.next_producer_id not in [fresh_ids(one.producer_ids.reserved, known).next_id for one in (step.before, step.after)]:
            raise Violation(f"the next producer id is {found.next_producer_id}")
        expected = {(topic.topic_id, index) for topic in found.topics.by_name.values() for index in range(topic.partitions)}
        if expected != found.partitions.keys():
            raise Violation(f"partitions {found.partitions.keys()}, not {expected}")
        partitions = {key: self.judge_partition(key, one, step, stop) for key, one in found.partitions.items()}
        self.judge_groups(found, step, stop)
        ids = ProducerIds(found.next_producer_id, found.next_producer_id)
        return changed(step.before, topics=found.topics, producer_ids=ids, partitions=Map(partitions), groups=found.groups)

    def judge_groups(self, found: Found, step: Step, stop: Stop) -> None:
        """What is durable of groups is what the records in their logs come to, those of groups that lie elsewhere by now first."""
        topic = found.topics.by_name.get(OFFSETS_TOPIC)
        own, older = list[Any](), list[Any]()
        for index in range(topic.partitions if topic is not None else 0):
            assert topic is not None
            log = found.partitions[topic.topic_id, index]
            for offset, record in sorted(self.run.groups[topic.topic_id, index].items()):
                if log.start <= offset < log.end:
                    (own if partition_of(record.group_id, topic.partitions) == index else older).append(record)
        expected = reduce(evolve, [*older, *own], Groups())
        groups = found.groups.saved, found.groups.offsets, found.groups.scattered
        if groups != (expected.saved, expected.offsets, bool(older)):
            raise Violation(f"groups {groups}, not {expected}")
        if stop is Stop.KILLED:
            self.judge_answered(found.groups, step)
        for begun in self.run.begun:
            self.judge_begun({key: (found.partitions.get(key), one) for key, one in begun.items()})

    def judge_answered(self, groups: Groups, step: Step) -> None:
        """Nothing of a group is lost by a kill, and nothing comes back."""
        here, before, after = entries(groups), entries(step.before.groups), entries(step.after.groups)
        for key in here.keys() | before.keys() | after.keys():
            if here.get(key) not in (before.get(key), after.get(key)):
                raise Violation(f"of groups, {key} is {here.get(key)}, not {before.get(key)} or {after.get(key)}")

    def judge_begun(self, logs: dict[Key, tuple[Seen | None, Begun]]) -> None:
        """If one of these logs starts anew, all do, and none is shorter than it was then."""
        has_begun = any(here is not None and here.start >= one.start > one.started for here, one in logs.values())
        if has_begun and any(here is None or here.start < one.start or here.end < one.end for here, one in logs.values()):
            raise Violation(f"of the logs of groups that began anew, some have and some have not: {logs}")

    def judge_partition(self, key: Key, one: Seen, step: Step, stop: Stop) -> Partition:
        """One partition is one of those that are allowed; which one."""
        allowed = self.allowed_here(key, step, stop, one.leader_epoch)
        before = step.before.partitions.get(key)
        if before is not None and one.end < before.log.end:
            self.report.shorter += 1
        for other, value in allowed.get((one.start, one.end), []):
            if self.agrees(key, one, other):
                return value
        there = {marks: [vars(other) for other, _ in others] for marks, others in allowed.items() if marks[1] == one.end}
        raise Violation(f"{key[1]} of {step.after.topics.by_id.get(key[0])} is {vars(one)}; allowed are {sorted(allowed)}, and there {there}")

    def allowed_here(self, key: Key, step: Step, stop: Stop, leader_epoch: int) -> dict[tuple[int, int], list[tuple[Seen, Partition]]]:
        """What a partition may be after a crash in this step, by log start and end."""
        place = (step.begin, key, stop, leader_epoch)
        if place not in self.allowed:
            before, after = step.before.partitions.get(key), step.after.partitions.get(key)
            coming = () if after is None or step.is_start else (*step.coming.get(key, ()), after)
            kept = Kept(0, 0)
            moments: tuple[Partition, ...] = coming
            if before is not None:
                answered = Kept(before.log.start, before.log.end)
                kept = must_be_kept(stop, before, answered, Kept(step.safe[key].start, step.safe[key].end))
                moments = (*step.moments[key], *coming)
            may_be_new = before is None and after is not None and leader_epoch == after.leader_epoch  # its folder was not made yet
            values: tuple[Partition, ...] = coming if may_be_new else ()
            if leader_epoch > max(moment.leader_epoch for moment in moments):
                values = allowed_after_crash(moments, kept, leader_epoch, self.run.now)
            self.allowed[place] = {}
            for value in values:
                self.allowed[place].setdefault((value.log.start, value.log.end), []).append((self.shown(key, value), value))
        return self.allowed[place]

    def shown(self, key: Key, here: Partition) -> Seen:
        """A partition of the model, as a broker's is seen."""
        known = {producer: (entry.epoch, entry.window) for producer, entry in here.producers.items()}
        stored = tuple(
            (one.base_offset, one.last_offset, one.leader_epoch, summed(self.run.stored[key, one.base_offset])) for one in batches_of(here)
        )
        epochs = tuple((entry.epoch, entry.start_offset) for entry in here.log.epochs)
        return Seen(here.log.start, here.log.end, epochs, here.leader_epoch, known, stored)

    def agrees(self, key: Key, one: Seen, other: Seen) -> bool:
        """Is what is seen what is allowed? Producers that had been forgotten may be back, as they were."""
        if replace(one, producers=other.producers) != other or not other.producers.keys() <= one.producers.keys():
            return False
        for producer, known in one.producers.items():
            ever = self.run.ever[key, producer]
            if known not in (known_again(other.producers[producer], ever) if producer in other.producers else ever):
                return False
        return True

    # What it does

    def ask(self, node: Node, found: Found, now: int) -> None:
        """Members and producers go on where they were; ids are new ones."""
        self.ask_groups(node, found.groups, now)
        given = asked(node, INIT_PRODUCER_ID, 4, m.InitProducerIdRequest(None, 1000), now).producer_id
        if given != found.next_producer_id:
            raise Violation(f"producer id {given} is given out, not {found.next_producer_id}")
        for key, one in found.partitions.items():
            end = one.end
            for producer, (epoch, window) in sorted(one.producers.items()):
                for written in window:
                    data = self.run.sent[key, producer, epoch, written.first_sequence]
                    self.expect(node, key, data, Error.NONE, written.base_offset, now)
                    self.report.resends += 1
                data = self.run.sent[key, producer, epoch, window[-1].first_sequence]
                older = with_sequence(data, epoch - 1, sequence_after(window[-1].last_sequence, 1))
                self.expect(node, key, older, Error.INVALID_PRODUCER_EPOCH, -1, now)
                following = with_sequence(data, epoch, sequence_after(window[-1].last_sequence, 1))
                self.expect(node, key, following, Error.NONE, end, now)
                end = node.core.marks(*key)[0][2]

    def ask_groups(self, node: Node, groups: Groups, now: int) -> None:
        """Offsets are told, and members may go on in their generation."""
        for group_id, offsets in groups.offsets.items():
            wanted = m.OffsetFetchRequest(groups=(m.OffsetFetchRequestGroup(group_id, topics=None),))
            (answer,) = asked(node, OFFSET_FETCH, 9, wanted, now).groups
            told = {(topic.name, one.partition_index): one.committed_offset for topic in answer.topics for one in topic.partitions}
            if told != {key: one.offset for key, one in offsets.items()}:
                raise Violation(f"the offsets of {group_id} are told as {told}, not {offsets}")
        for group_id, saved in groups.saved.items():
            for member in saved.members:
                beat = m.HeartbeatRequest(group_id, saved.generation, member.member_id, member.instance_id)
                answer = asked(node, HEARTBEAT, 4, beat, now)
                if answer.error_code != 0:
                    raise Violation(f"{member} of {group_id} gets {answer}")

    def expect(self, node: Node, key: Key, data: bytes, error: Error, offset: int, now: int) -> None:
        """A batch gets this answer."""
        name = node.broker.topics.by_id[key[0]]
        answer = asked(node, PRODUCE, 12, produce_request(name, key[1], data), now).responses[0].partition_responses[0]
        if (answer.error_code, answer.base_offset) != (error, offset):
            raise Violation(f"{name}-{key[1]}: a batch gets {answer}, not {error.name} and {offset}")


def with_sequence(data: bytes, epoch: int, sequence: int) -> bytes:
    """The batch of the same producer under another epoch and sequence."""
    return with_checksum(data[:51] + epoch.to_bytes(2, "big", signed=True) + sequence.to_bytes(4, "big", signed=True) + data[57:])
