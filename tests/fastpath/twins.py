"""The reference broker and the fast path side by side: the same frames, the same clock, the same seed; equal bytes out, and equal state.

After every step the partitions that it touched are compared: the marks, the segments, the producers and the number of waiting fetches that the
core holds with the model's values, and the bytes in the files with those that the reference stores.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

from immutables import Map

from fastpath.restarting import EVERYTHING, are_as_they_were, read_again
from fiducial.conformance.abstraction import Difference
from fiducial.conformance.exploration.pairs import World, prepare, remember
from fiducial.conformance.exploration.steps import Restarts, Step, TimePasses, answer_of
from fiducial.conformance.exploration.targets import Closed
from fiducial.conformance.symbols import View
from fiducial.fastpath.data import RECOVERY_POINTS
from fiducial.fastpath.node import Hangup as FastHangup
from fiducial.fastpath.node import Node
from fiducial.fastpath.node import Send as FastSend
from fiducial.models.apis import APIS
from fiducial.models.fetch import Parked, key_of
from fiducial.models.group_requests import Groups
from fiducial.models.groups import Alarm
from fiducial.models.partition import Partition
from fiducial.models.restarts import known_ids, restarted
from fiducial.models.settings import parse
from fiducial.models.state import Chance, Cluster
from fiducial.models.values import EMPTY, changed
from fiducial.reference.core import Action, Core, Hangup, Send, Wake

NOON_MS = 1_700_000_000_000
Key = tuple[bytes, int]


#: How long a request takes by the twins' clock, and how often the broker looks for what has gone out of retention: at full hours, so that
#: records of some hours ago are exactly so old (ms).
REQUEST_MS, HOUSEKEEPING_MS = 7, 3_600_000
#: Producers are forgotten within a history, sessions make room for one another, and groups are soon full.
SETTINGS = {"producer.id.expiration.ms": "20000000", "max.incremental.fetch.session.cache.slots": "3", "group.max.size": "3"}


class Different(AssertionError):
    """The two do not agree on `what`: the answers, or the state."""

    def __init__(self, what: str, event: str, ours: object, theirs: object) -> None:
        super().__init__(f"{what} after {event}")
        self.what, self.ours, self.theirs = what, ours, theirs


class Twins:
    """Both brokers, as one target of histories (fiducial.conformance.exploration.targets.Target). Different is raised where they do not agree."""

    name = "the reference and the fast path"
    host, port = "127.0.0.1", 9092

    def __init__(self, folder: Path) -> None:
        self.cluster = Cluster("ZmlkdWNpYWxmaWR1Y2lhbA", 1, self.host, self.port)
        self.settings = parse(SETTINGS)
        self.now = NOON_MS
        self.starts = 1  # and the seed
        self.reference = Core(self.cluster, self.settings, self.starts)
        self.node = Node(folder, self.cluster, self.settings, self.starts, self.now)
        self.folder = folder
        self.view = View(self.now)
        self.connections = itertools.count()
        self.connection = next(self.connections)
        self.beside = -1
        self.answers: dict[int, bytes] = {}  # by connection, those not fetched yet
        self.before: dict[Key, Partition] = {}
        self.groups_before = Groups()
        self.parked_before = Parked()
        self.alarms: dict[Alarm, int] = {}
        self.steps = 0

    # As a target

    def ask(self, frame: bytes, expects_answer: bool) -> bytes | None:
        actions = self.frame(self.connection, frame)
        for ticket in [action.ticket for action in actions if isinstance(action, Wake) and action.at_ms is not None]:
            if isinstance(ticket, int):
                self.timer(ticket)  # nobody else asks: the deadline may as well come at once
        while any(waiting.connection == self.connection for waiting in self.reference.waiting.values()):
            self.ring()  # and so may whatever is to happen to groups
        if self.connection not in self.answers:
            self.connection = next(self.connections)
            raise Closed
        return self.answers.pop(self.connection)[4:] or None

    def begin(self, frame: bytes, *, is_answered: bool = False) -> bool:
        self.beside = next(self.connections)
        self.frame(self.beside, frame)
        return self.beside in self.answers

    def end(self, patience_s: float) -> bytes | None:
        self.reference.disconnected(self.beside, self.now)
        self.node.disconnected(self.beside, self.now)
        data = self.answers.pop(self.beside, None)
        return data[4:] if data is not None else None

    def pass_time(self) -> None:
        self.now += HOUSEKEEPING_MS - (self.now - NOON_MS) % HOUSEKEEPING_MS
        self.node.housekeeping(self.now)
        self.compare("housekeeping", self.reference.housekeeping(self.now), [])
        self.pass_ms(0)
        self.compare("expiry", self.reference.expiry(self.now), self.node.expiry(self.now))

    def pass_ms(self, passed_ms: int) -> None:
        """A while, in which every alarm rings in its time."""
        until = self.now + passed_ms
        while self.alarms and min(self.alarms.values()) <= until:
            self.ring()
        self.now = until

    def disconnected(self, connection: int) -> None:
        """A connection is gone, for both."""
        self.reference.disconnected(connection, self.now)
        self.node.disconnected(connection, self.now)
        self.answers.pop(connection, None)

    def ring(self) -> None:
        """The first alarm, for both; its time has come now, if it had not."""
        first = min(self.alarms.values())
        self.now = max(self.now, first)
        alarm = self.node.alarms.due(first)
        if alarm is None or self.alarms.pop(alarm, None) != first:
            raise Different("alarms", "an alarm", first, alarm)
        self.compare(str(alarm), self.reference.ring(alarm, self.now), self.node.ring(alarm, self.now))

    def settle(self) -> None:
        pass

    def restart(self, is_clean: bool) -> None:
        """The fast path stops, in good order or killed, and starts again; the reference becomes what is left of it then."""
        self.starts += 1
        (self.node.stop if is_clean else self.node.close)()
        self.give_times()
        points = self.node.data.checkpoint(RECOVERY_POINTS)
        self.node = Node(self.folder, self.cluster, self.settings, self.starts, self.now)
        partitions = {}
        for key, here in self.reference.broker.partitions.items():
            again = read_again(here, EVERYTHING if is_clean else points.get(self.name_of(key), 0), self.now)
            partitions[key] = again if is_clean else self.with_found(key, again)
        is_scattered = self.reference.broker.groups.scattered and self.node.broker.groups.scattered  # or nothing lies elsewhere by chance
        groups = changed(self.reference.broker.groups, live=EMPTY, scattered=is_scattered)
        broker, alarms = restarted(changed(self.reference.broker, groups=groups), self.now, Map(partitions), known_ids(Map(partitions)))
        self.reference.broker = changed(broker, chance=Chance(self.starts))
        self.alarms = {one.alarm: one.at_ms for one in alarms}
        self.reference.waiting.clear()
        self.reference.tickets = 0
        self.compare(str(Restarts(is_clean)), [], [])

    def give_times(self) -> None:
        """The files of segments were last written by the clock of the twins."""
        for key in self.node.core.partitions():
            for segment in self.node.core.segments(*key):
                written_ns = segment["modified_ms"] * 1_000_000
                os.utime(self.folder_of(key) / f"{segment['base_offset']:020}.log", ns=(written_ns, written_ns))

    def with_found(self, key: Key, here: Partition) -> Partition:
        """The partition with what a start after a kill knows of its producers, which is not the same each time."""
        found = Map(self.node.core.producers(*key))
        if not are_as_they_were(here.producers, found, self.now):
            raise Different("producers", str(Restarts(is_clean=False)), dict(here.producers), dict(found))
        return changed(here, producers=found)

    def rules(self) -> tuple[str, ...]:
        return self.reference.rules

    def close(self) -> None:
        self.node.close()

    # Both

    def frame(self, connection: int, frame: bytes) -> list[Action]:
        """One frame for both."""
        self.now += REQUEST_MS
        ours = self.reference.frame(connection, frame, self.now)
        self.compare(f"frame {frame[:200].hex()}", ours, self.node.frame(connection, bytearray(frame), self.now))
        return ours

    def timer(self, ticket: int) -> None:
        """A deadline, for both."""
        self.compare(f"timer {ticket}", self.reference.timer(ticket, self.now), self.node.timer(ticket, self.now))

    def compare(self, event: str, ours: list[Action], theirs: list[Any]) -> None:
        """Equal answers to the same connections, in the same order; then equal state."""
        mine = [said(action) for action in ours if not isinstance(action, Wake)]
        other = [said(action) for action in theirs]
        if mine != other:
            raise Different("answers", event, mine, other)
        for action in ours:
            if isinstance(action, Send):
                self.answers[action.connection] = action.data
            if isinstance(action, Hangup):
                self.answers.pop(action.connection, None)
            if isinstance(action, Wake) and isinstance(action.ticket, Alarm) and action.at_ms is not None:
                self.alarms[action.ticket] = action.at_ms
        self.steps += 1
        self.compare_state(event)

    def compare_state(self, event: str) -> None:
        """The groups with their alarms, every partition, and who waits for which, that is not the very value that it was."""
        groups = self.reference.broker.groups
        if groups is not self.groups_before and groups != self.node.broker.groups:
            raise Different("groups", event, groups, self.node.broker.groups)
        self.groups_before = groups
        alarms = {alarm: at_ms for alarm, (at_ms, _) in self.node.alarms.set_for.items()}
        if self.alarms != alarms:
            raise Different("alarms", event, self.alarms, alarms)
        here = dict(self.reference.broker.partitions.items())
        if set(here) != set(self.node.core.partitions()):
            raise Different("partitions", event, sorted(here), self.node.core.partitions())
        for key, partition in here.items():
            if self.before.get(key) is not partition:
                mine, other = state_of(partition), self.fast_state(key)
                if mine != other:
                    raise Different("state", event, mine, other)
                stored, read = self.stored(key), self.on_disk(key)
                if stored != read:
                    raise Different("bytes on the disk", event, stored.hex(), read.hex())
        if self.reference.broker.parked is not self.parked_before:
            waited_for = self.waited_for()
            counted = Counter({key: self.node.core.watchers(*key) for key in here})
            if waited_for != counted:
                raise Different("watchers", event, waited_for, counted)
        self.before, self.parked_before = here, self.reference.broker.parked

    # State

    def waited_for(self) -> Counter[Key]:
        """How many fetches wait for each partition that was there when they came."""
        broker = self.reference.broker
        plans = [waiting.plan for waiting in broker.parked.fetches.values()]
        return Counter(key_of(broker, entry.wanted) for plan in plans for entry in plan.partitions if entry.wanted.key not in plan.strays)

    def fast_state(self, key: Key) -> dict[str, Any]:
        """What the core holds of a partition, in the model's terms."""
        marks, epochs, _, leader_epoch = self.node.core.marks(*key)
        producers = self.node.core.producers(*key)
        return {
            "marks": marks,
            "epochs": epochs,
            "leader epoch": leader_epoch,
            "producers": sorted(producers, key=itemgetter(0)),
            "segments": as_far_as_it_matters(self.node.core.segments(*key)),
        }

    def stored(self, key: Key) -> bytes:
        """The bytes that the reference keeps of a partition."""
        return b"".join(self.reference.storage.logs.get(key, ([], []))[1])

    def on_disk(self, key: Key) -> bytes:
        """The bytes in the files of a partition."""
        return b"".join(file.read_bytes() for file in sorted(self.folder_of(key).glob("*.log")))

    def folder_of(self, key: Key) -> Path:
        """The folder of a partition."""
        name, index = self.name_of(key)
        return self.folder / f"{name}-{index}"

    def name_of(self, key: Key) -> tuple[str, int]:
        """A partition by its topic's name."""
        return self.reference.broker.topics.by_id[key[0]], key[1]


@dataclass
class TwinPair:
    """The twins as a pair that histories and the shrinker know (fiducial.conformance.exploration.pairs.Pair)."""

    twins: Twins
    world: World
    has_parted: bool = False
    waiting: Step | None = None  # whose answer nobody has asked for yet

    def __post_init__(self) -> None:
        prepare(self.twins, self.world, self.twins.now)

    def ask(self, step: Step) -> list[Difference]:
        """Ask both; where they differ."""
        try:
            self.do(step)
        except Different as found:
            return [Difference(found.what, found.ours, found.theirs)]
        return []

    def do(self, step: Step) -> None:
        """One step, and what it gave out remembered. Who waits while a step is taken waits on while the next one is, if that says the same."""
        if step.waiting != self.waiting:
            self.wait_for(step.waiting)
        if isinstance(step.body, TimePasses):
            self.twins.pass_time()
        elif isinstance(step.body, Restarts):
            self.twins.restart(step.body.is_clean)
        else:
            self.remember(step, self.answer(step))

    def wait_for(self, waiting: Step | None) -> None:
        """Another fetch waits, or none, instead of the one that did."""
        if self.waiting is not None:
            self.remember(self.waiting, self.twins.end(0))
        if waiting is not None:
            self.twins.begin(waiting.frame(self.twins.view))
        self.waiting = waiting

    def answer(self, step: Step) -> bytes | None:
        """Both's answer, if there is one."""
        try:
            return self.twins.ask(step.frame(self.twins.view), step.expects_answer)
        except Closed:
            return None

    def remember(self, step: Step, data: bytes | None) -> None:
        """What an answer gave out."""
        if data is not None and step.api_key in APIS and step.api_version in range(APIS[step.api_key].min_version, APIS[step.api_key].max_version + 1):
            remember(self.twins, step, answer_of(data, step.api_key, step.api_version))


def said(action: Any) -> tuple[int, bytes | None]:
    """(connection, what is sent); None: it is ended."""
    if isinstance(action, Send | FastSend):
        return action.connection, action.data
    assert isinstance(action, Hangup | FastHangup)
    return action.connection, None


def state_of(partition: Partition) -> dict[str, Any]:
    """The model's value, as far as a running broker must hold it."""
    log = partition.log
    segments = [log.sealed[ordinal] for ordinal in range(log.first_segment, log.active_segment)] + [log.active]
    return {
        "marks": (log.start, log.high_watermark, log.end, log.size_bytes),
        "epochs": [(entry.epoch, entry.start_offset) for entry in log.epochs],
        "leader epoch": partition.leader_epoch,
        "producers": sorted(partition.producers.items()),
        "segments": as_far_as_it_matters([{name: getattr(one, name) for name in SEGMENT_FIELDS} for one in segments]),
    }


SEGMENT_FIELDS = (
    "base_offset",
    "created_ms",
    "size_bytes",
    "first_timestamp",
    "max_timestamp",
    "modified_ms",
    "index_entries",
    "time_index_entries",
    "indexed_timestamp",
    "bytes_since_index_entry",
)


def as_far_as_it_matters(segments: list[dict[str, int]]) -> list[dict[str, int]]:
    """Segments without what nothing is decided by: the last entry of a sealed segment's time index, and when an empty one was written to."""
    for sealed in segments[:-1]:
        del sealed["time_index_entries"], sealed["indexed_timestamp"]
    if segments[-1]["size_bytes"] == 0:
        del segments[-1]["modified_ms"]
    return segments
