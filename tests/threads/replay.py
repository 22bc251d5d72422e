"""What the threads did to one partition, told again to the model: the same results, step for step, and the same state in the end.

A broker that records keeps, for each partition and in the order in which they happened under its lock, every transition: what was asked, and what
came of it. That order is the one in which the model is asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fastpath.twins import as_far_as_it_matters, state_of

from fiducial.fastpath.core import Core
from fiducial.models import log, partition
from fiducial.models.errors import Error
from fiducial.models.log import Found, LogConfig
from fiducial.models.partition import Appended, Duplicate, Outcome, Partition, Read, Refused
from fiducial.reference.records import EncodedBatch, parsed_batch


class Transition(NamedTuple):
    """One step of a partition: what was asked (numbers, or a batch as it was sent), and what came of it."""

    kind: str
    now: int
    asked: tuple[int, ...]
    data: bytes
    came: tuple[int, ...]


def told(one: Transition) -> str:
    """A transition in a word or two: its kind, and whether it was refused, or a duplicate."""
    if one.kind not in ("PRODUCE", "FETCH", "LOOK_UP"):
        return one.kind
    error, *rest = one.came
    if error:
        return f"{one.kind} {Error(error).name}"
    return "PRODUCE duplicate" if one.kind == "PRODUCE" and rest[0] else one.kind


class Parted(AssertionError):
    """The model and the broker do not agree."""


class Replay:
    """One partition, as the model has it after the transitions so far."""

    def __init__(self) -> None:
        self.here: Partition | None = None
        self.configs: Sequence[LogConfig] = ()  # by version
        self.kinds: Counter[str] = Counter()
        self.batches: dict[int, bytes] = {}  # by base offset, all that were ever stored
        self.forced_below = 0  # an offset: what lies below it was forced to the disk

    def take(self, transitions: Iterable[Transition], configs: Sequence[LogConfig]) -> None:
        """The next transitions, and the configurations so far. Parted where the model answers otherwise."""
        self.configs = configs
        for one in transitions:
            expected = STEPS[one.kind](self, one)
            if expected != one.came:
                raise Parted(f"step {self.steps}, {one.kind} {one.asked} at {one.now}: the model says {expected}, the broker {one.came}")
            self.kinds[told(one)] += 1

    def step(self, event: partition.Event, now: int) -> Outcome:
        """One event of the model."""
        assert self.here is not None, "the first transition is not the partition's beginning"
        self.here, outcome = partition.step(self.here, event, now)
        return outcome

    @property
    def steps(self) -> int:
        """How many there were so far."""
        return self.kinds.total()

    @property
    def held(self) -> Partition:
        """The partition, once it began."""
        assert self.here is not None
        return self.here

    @property
    def marks(self) -> tuple[int, int, int]:
        """Log start, high watermark, log end."""
        return self.held.log.start, self.held.log.high_watermark, self.held.log.end

    @property
    def is_due(self) -> bool:
        """Does flush.messages ask for the disk, before readers may see what was appended last?"""
        return self.held.log.end - self.forced_below >= self.held.config.flush_messages

    @property
    def kept(self) -> bytes:
        """What the files of the log hold."""
        model = self.held.log
        return b"".join(self.batches[model.batches[ordinal].base_offset] for ordinal in range(model.first_batch, model.end_batch))

    def check_state(self, core: Core, topic_id: bytes, index: int, folder: Path) -> None:
        """Parted if the broker's partition, or what is in its folder, is not as the model has it."""
        mine, theirs = state_of(self.held), state_in(core, topic_id, index)
        unlike = [f"{name}: the model has {mine[name]}, the broker {theirs[name]}" for name in mine if mine[name] != theirs[name]]
        if b"".join(file.read_bytes() for file in sorted(folder.glob("*.log"))) != self.kept:
            unlike.append("the bytes of the log")
        if unlike:
            raise Parted(f"after {self.steps} steps: {'; '.join(unlike)}")


def state_in(core: Core, topic_id: bytes, index: int) -> dict[str, Any]:
    """What the core holds of a partition, in the model's terms."""
    marks, epochs, _, leader_epoch = core.marks(topic_id, index)
    return {
        "marks": marks,
        "epochs": epochs,
        "leader epoch": leader_epoch,
        "producers": sorted(core.producers(topic_id, index)),
        "segments": as_far_as_it_matters(core.segments(topic_id, index)),
    }


# The steps, by kind: what the model says that comes of them


def begin(replay: Replay, one: Transition) -> tuple[int, ...]:
    """An empty partition that this broker leads."""
    leader_epoch, version = one.asked
    replay.here = partition.new_partition(replay.configs[version], one.now, leader_epoch)
    return replay.marks


def configure(replay: Replay, one: Transition) -> tuple[int, ...]:
    """Another configuration, from now on."""
    (version,) = one.asked
    replay.here = partition.with_config(replay.held, replay.configs[version])
    return replay.marks


def produce(replay: Replay, one: Transition) -> tuple[int, ...]:
    """A batch. Readers see it at once, unless it has to be on the disk before."""
    outcome = replay.step(partition.Produce(parsed_batch(one.data)), one.now)
    match outcome:
        case Refused(rung):
            said = (int(rung.error), 0, -1, -1)
        case Duplicate(written):
            said = (0, 1, written.base_offset, written.timestamp)
        case Appended(base_offset, plan):
            assert isinstance(plan.payload, EncodedBatch)
            replay.batches[base_offset] = plan.payload.stamped(base_offset, replay.held.leader_epoch, plan.has_append_time, plan.max_timestamp)
            if not replay.is_due:
                replay.step(partition.AdvanceHighWatermark(replay.held.log.end), one.now)
            said = (0, 0, base_offset, plan.max_timestamp if plan.has_append_time else -1)
        case _:
            raise AssertionError(outcome)
    return said + replay.marks


def commit(replay: Replay, one: Transition) -> tuple[int, ...]:
    """All below an offset was forced to the disk: readers may see it."""
    (end,) = one.asked
    replay.forced_below = max(replay.forced_below, end)
    replay.step(partition.AdvanceHighWatermark(end), one.now)
    return replay.marks


def fetch(replay: Replay, one: Transition) -> tuple[int, ...]:
    """A read. Where nothing is returned, nothing lies anywhere; unless it was deleted, and who waited there counts it."""
    offset, max_bytes, isolation, whole_first, *rest = one.asked
    asked = partition.Fetch(offset, max_bytes, isolation, bool(whole_first), *rest)
    outcome = replay.step(asked, one.now)
    start, high_watermark, _ = replay.marks
    marks = (high_watermark, partition.stable_offset(replay.held), start, replay.held.leader_epoch)
    no_divergence = (0, *one.came[5:7])  # where there is none, nobody looks at its epoch and end
    if isinstance(outcome, Refused):
        there = span(replay.held, asked) if outcome.rung.error is Error.OFFSET_OUT_OF_RANGE else (0, 0, 0)
        return (int(outcome.rung.error), offset, 0, 0, *no_divergence, *marks, *there)
    assert isinstance(outcome, Read)
    found = (0, outcome.base_offset, outcome.size_bytes, int(outcome.has_left_out))
    if outcome.diverging_epoch is not None:
        return (*found, 1, *outcome.diverging_epoch, *marks, 0, 0, 0)
    return (*found, *no_divergence, *marks, *span(replay.held, asked))


def span(here: Partition, asked: partition.Fetch) -> tuple[int, int, int]:
    """What there is for a read, be there room for it or not; and the segments that it begins in, and that what may be read ends in."""
    below = partition.read_bound(here, asked)
    _, lies_bytes = log.readable_bytes(here.log, asked.offset, below=below, max_bytes=here.log.size_bytes, whole_first=True)
    begins, ends = (log.segment_numbered(here.log, log.segment_at(here.log, offset)).base_offset for offset in (asked.offset, below))
    return lies_bytes, begins, ends


def look_up(replay: Replay, one: Transition) -> tuple[int, ...]:
    """A lookup by time: error, offset, timestamp, leader epoch."""
    timestamp, *asked = one.asked
    outcome = replay.step(partition.LookUp(timestamp, 11, *asked), one.now)
    if isinstance(outcome, Refused):
        return int(outcome.rung.error), -1, -1, -1
    assert isinstance(outcome, Found)
    return 0, outcome.offset, outcome.timestamp, outcome.leader_epoch


def retain(replay: Replay, one: Transition) -> tuple[int, ...]:
    """What is out of retention goes."""
    replay.step(partition.Retain(), one.now)
    return replay.marks


def expire(replay: Replay, one: Transition) -> tuple[int, ...]:
    """Producers that were silent for long go."""
    replay.step(partition.Expire(*one.asked), one.now)
    return replay.marks


def raise_start(replay: Replay, one: Transition) -> tuple[int, ...]:
    """The log start is raised."""
    replay.step(partition.DeleteRecords(*one.asked), one.now)
    return replay.marks


STEPS: dict[str, Callable[[Replay, Transition], tuple[int, ...]]] = {
    "BEGIN": begin,
    "CONFIGURE": configure,
    "PRODUCE": produce,
    "COMMIT": commit,
    "FETCH": fetch,
    "LOOK_UP": look_up,
    "RETAIN": retain,
    "EXPIRE": expire,
    "RAISE_START": raise_start,
}
