"""The worlds that the engines go through: small enough to exhaust, rich enough that each rule of a partition can matter.

A `Universe` is all that an engine knows: a first state, the actions of a state (by name, each with its instances), and one step. The
universes of a partition differ in their menus: which batches, which reads, how far the clock goes. `bounds` says so in words, and stands in
every table: "exhausted" means exhausted within them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Protocol

from fiducial.models import partition as partition_model
from fiducial.models.batches import (
    ATTRIBUTE_CONTROL,
    ATTRIBUTE_LOG_APPEND_TIME,
    CODEC_GZIP,
    CODEC_ZSTD,
    NO_PRODUCER,
    NO_SEQUENCE,
    NO_TIMESTAMP,
    Payload,
    Record,
    SentBatch,
)
from fiducial.models.kernels import SEQUENCE_MAX, sequence_after
from fiducial.models.log import Found, LogConfig
from fiducial.models.partition import (
    CONSUMER,
    FUTURE_LOCAL_REPLICA,
    READ_COMMITTED,
    READ_UNCOMMITTED,
    AdvanceHighWatermark,
    Appended,
    BecomeLeader,
    DeleteRecords,
    Done,
    Duplicate,
    EpochEnd,
    Event,
    Expire,
    Fetch,
    LookUp,
    LookUpEpoch,
    Moved,
    Outcome,
    Produce,
    Read,
    Refused,
    Retain,
)
from fiducial.models.properties import History, Step, World, take
from fiducial.models.values import value

#: The actions of a state: name -> its instances, never none.
Menu = Mapping[str, Sequence[Any]]


@value
class Taken:
    """One step of a universe: the state after it, and the step as properties see it (None: nothing that a property could judge).

    What properties see has a world before and after, an event and an outcome, as `properties.Step` has.
    """

    after: Any
    step: Any


class Universe(Protocol):
    """All that an engine knows of what it explores. States are hashable values; a step that changes nothing leaves the very state it began in."""

    name: str
    bounds: str

    def initial(self) -> Any:
        """The state that every story begins with."""
        ...

    def actions(self, state: Any) -> Menu:
        """What may happen next."""
        ...

    def step(self, state: Any, event: Any) -> Taken:
        """Let it happen."""
        ...

    def label(self, taken: Taken) -> tuple[str, str]:
        """What came of a step, for the counts: (rule, error) of a refusal, or (kind of outcome, "NONE")."""
        ...

    def told(self, event: Any, taken: Taken) -> str:
        """One line of a story."""
        ...


# A partition, its observer and a clock


@value
class Moment:
    """A world, and what the broker's clock says (ms)."""

    world: World
    now: int


@value
class Tick:
    """The clock goes on."""

    milliseconds: int


class PartitionUniverse:
    """One partition under one configuration. The menu is data, but for what only the state knows: the next sequence, the next epoch."""

    def __init__(
        self,
        name: str,
        bounds: str,
        *,
        config: LogConfig,
        changes: Mapping[str, Sequence[Event]],
        reads: Mapping[str, Sequence[Event]] | None = None,
        appends_max: int,
        ticks_max: int = 0,
        leader_epoch_max: int = 0,
        producers: Sequence[int] = (),
        producer_epoch_max: int = 0,
    ) -> None:
        self.name = name
        self.bounds = bounds
        self.config = config
        self.appends_max = appends_max
        self.now_max = START_MS + ticks_max * TICK.milliseconds
        self.leader_epoch_max = leader_epoch_max
        self.producers = tuple(producers)
        self.producer_epoch_max = producer_epoch_max
        reads = reads or {}
        self._full: Menu = {action: tuple(events) for action, events in {**changes, **reads}.items()}
        self._quiet: Menu = {action: events for action, events in self._full.items() if not action.startswith("produce")}

    def initial(self) -> Moment:
        """An empty partition; one tick of the clock is behind it, so that a time before the first is possible."""
        return Moment(World(partition_model.new_partition(self.config, START_MS)), START_MS)

    def actions(self, state: Moment) -> Menu:
        """The menu, without what the bounds forbid."""
        here = state.world.partition
        may_append = here.log.end_batch < self.appends_max
        menu: dict[str, Sequence[Any]] = dict(self._full if may_append else self._quiet)
        if self.producers and may_append:
            menu["produce next"] = self.next_batches(state.world.histories)
        if state.now < self.now_max:
            menu["tick"] = (TICK,)
        if here.leader_epoch < self.leader_epoch_max:
            menu["become leader"] = leader_epochs(here.leader_epoch, self.leader_epoch_max)
        return menu

    def next_batches(self, histories: tuple[History, ...]) -> tuple[Produce, ...]:
        """For each producer what it would send next, if it goes on, and if it begins its next epoch."""
        events = []
        unknown = set(self.producers)
        for known in histories:
            unknown.discard(known.producer_id)
            events.append(idempotent(known.producer_id, known.epoch, sequence_after(known.recent[-1].last_sequence, 1)))
            if known.epoch < self.producer_epoch_max:
                events.append(idempotent(known.producer_id, known.epoch + 1, 0))
        events.extend(idempotent(producer_id, 0, 0) for producer_id in unknown)
        return tuple(events)

    def step(self, state: Moment, event: Event | Tick) -> Taken:
        """The one transition of a partition; or the clock goes on, and nothing else."""
        if isinstance(event, Tick):
            return Taken(Moment(state.world, state.now + event.milliseconds), None)
        step = take(state.world, event, state.now)
        if step.after is state.world:
            return Taken(state, step)
        return Taken(Moment(step.after, state.now), step)

    def label(self, taken: Taken) -> tuple[str, str]:
        """The rule and error of a refusal, or the class of the outcome."""
        if taken.step is None:
            return "Tick", "NONE"
        outcome = taken.step.outcome
        if isinstance(outcome, Refused):
            return outcome.rung.rule, outcome.rung.error.name
        return type(outcome).__name__, "NONE"

    def told(self, event: Event | Tick, taken: Taken) -> str:
        """For example: producer 1, epoch 0, sequence 0, 1 record → appended at 0."""
        if isinstance(event, Tick):
            return f"{event.milliseconds} ms pass"
        return f"{named(event)} → {answered(taken.step.outcome)}{marks_after(taken.step)}"


def named(event: Event) -> str:
    """What is asked, in a few words."""
    match event:
        case Produce(batch):
            records = f"{batch.count} record{'s' if batch.count != 1 else ''}"
            if batch.producer_id == NO_PRODUCER:
                return f"produce {records}, max timestamp {batch.max_timestamp}"
            who = f"producer {batch.producer_id}, epoch {batch.producer_epoch}"
            return f"{who}: produce {records} from sequence {batch.base_sequence}"
        case other:
            return str(other)


def answered(outcome: Outcome) -> str:
    """What came of it, in a few words."""
    match outcome:
        case Appended(base_offset, _):
            return f"appended at {base_offset}"
        case Duplicate(written):
            return f"duplicate of the batch at {written.base_offset}"
        case Refused(rung, _):
            return f"{rung.error.name} by {rung.rule}"
        case Read(base_offset, size_bytes, _, _, _, diverging):
            return f"{size_bytes} bytes from {base_offset}{f', diverging at {diverging}' if diverging else ''}"
        case Moved(offset):
            return f"low watermark {offset}"
        case Found() | EpochEnd():
            return str(outcome)
        case Done():
            return "done"


def marks_after(step: Step) -> str:
    """Where the marks stand, if they moved."""
    before, after = step.before.partition.log, step.after.partition.log
    marks = (after.start, after.high_watermark, after.end)
    if marks == (before.start, before.high_watermark, before.end):
        return ""
    return f" (start {after.start}, high watermark {after.high_watermark}, end {after.end})"


# What the menus are made of

START_MS = 1_000
TICK = Tick(60)
BATCH_BYTES = 100
SEGMENT_BYTES = 250
MESSAGE_BYTES_MAX = 300


@value
class Shape:
    """A payload without bytes; encoded anew it has `rebuilt_bytes`."""

    rebuilt_bytes: int = BATCH_BYTES

    def rebuilt(self, codec: int, level: int) -> tuple[Payload, int]:
        """Another codec, at the size that the universe chose."""
        return self, self.rebuilt_bytes


@cache
def sent(
    *timestamps: int,
    producer_id: int = NO_PRODUCER,
    producer_epoch: int = -1,
    base_sequence: int = NO_SEQUENCE,
    size_bytes: int = BATCH_BYTES,
    base_offset: int = 0,
    crc_is_good: bool = True,
    attributes: int = 0,
    count: int | None = None,
    header_count: int | None = None,
    deltas: tuple[int, ...] | None = None,
    is_readable: bool = True,
    unpacks_too_far: bool = False,
    has_key: bool = True,
    rebuilt_bytes: int = BATCH_BYTES,
) -> Produce:
    """One batch with a record for each of `timestamps` (ms)."""
    size = len(timestamps) if count is None else count
    numbers = deltas or tuple(range(len(timestamps)))
    records = tuple(Record(delta, timestamp, has_key) for delta, timestamp in zip(numbers, timestamps, strict=True))
    return Produce(
        SentBatch(
            size_bytes,
            base_offset,
            2,
            crc_is_good,
            attributes,
            size - 1,
            max(timestamps, default=NO_TIMESTAMP),
            producer_id,
            producer_epoch,
            base_sequence,
            size if header_count is None else header_count,
            records if is_readable else None,
            Shape(rebuilt_bytes),
            unpacks_too_far,
        )
    )


@cache
def idempotent(producer_id: int, epoch: int, sequence: int, count: int = 1) -> Produce:
    """A sound batch of an idempotent producer."""
    return sent(*[START_MS] * count, producer_id=producer_id, producer_epoch=epoch, base_sequence=sequence)


@cache
def leader_epochs(current: int, largest: int) -> tuple[BecomeLeader, ...]:
    """The epochs that may begin after `current`."""
    return tuple(BecomeLeader(epoch) for epoch in range(current + 1, largest + 1))


#: One batch for each thing that can be wrong with one, whatever the topic's configuration.
FAULTY_BATCHES = (
    sent(START_MS, base_offset=1),
    sent(START_MS, size_bytes=MESSAGE_BYTES_MAX + 1),
    sent(START_MS, crc_is_good=False),
    sent(START_MS, START_MS, header_count=1),
    sent(START_MS, attributes=ATTRIBUTE_CONTROL),
    sent(START_MS, producer_id=1, producer_epoch=0),
    sent(START_MS, is_readable=False),
    sent(START_MS, is_readable=False, unpacks_too_far=True),
    sent(START_MS, count=2),
    sent(START_MS * 100),
    sent(START_MS, attributes=ATTRIBUTE_LOG_APPEND_TIME),
    sent(START_MS, has_key=False),
    sent(START_MS, START_MS, attributes=CODEC_ZSTD, deltas=(0, 2)),
    sent(START_MS, attributes=CODEC_GZIP, rebuilt_bytes=MESSAGE_BYTES_MAX + 1),
    sent(START_MS, size_bytes=SEGMENT_BYTES + 1),
)

#: Without a producer: alone, two at once, out of order in time, without timestamps, and one that is far ahead of the others.
PLAIN_BATCHES = (
    sent(START_MS),
    sent(START_MS + 40, START_MS + 10),
    sent(START_MS + 100),
    sent(NO_TIMESTAMP),
)

OFFSETS = range(7)


def high_watermarks(largest: int) -> tuple[AdvanceHighWatermark, ...]:
    """Every high watermark up to `largest`; what lies beyond the log end is cut down to it."""
    return tuple(AdvanceHighWatermark(offset) for offset in range(1, largest + 1))


FETCHES = (
    *(Fetch(offset, 1000) for offset in OFFSETS),
    *(Fetch(offset, 1000, READ_COMMITTED) for offset in (0, 2)),
    *(Fetch(offset, BATCH_BYTES + 50, whole_first=False) for offset in (0, 1)),
    *(Fetch(offset, 10) for offset in (0, 1)),
    Fetch(0, 10, whole_first=False),
    Fetch(1, 1000, replica_id=FUTURE_LOCAL_REPLICA),
)
FAULTY_FETCHES = (Fetch(0, 1000, 2), Fetch(0, -1), Fetch(0, 1000, replica_id=3), Fetch(-1, 1000))
TIMES = (START_MS - 1, START_MS, START_MS + 20, START_MS + 100, START_MS + 101)
LOOK_UPS = (
    *(LookUp(timestamp) for timestamp in (-1, -2, -3, -4, -5, *TIMES)),
    LookUp(START_MS, replica_id=FUTURE_LOCAL_REPLICA),
)
EPOCH_FETCHES = tuple(
    Fetch(offset, 1000, READ_UNCOMMITTED, True, CONSUMER, current, last)
    for offset in (0, 1, 3)
    for current in (-1, 0, 1, 2)
    for last in (-1, 0, 1, 2)
)
EPOCH_LOOK_UPS = tuple(LookUpEpoch(epoch, current) for epoch in (-1, 0, 1, 2, 3, 4) for current in (-1, 1))
FENCED_LOOK_UPS = tuple(LookUp(-1, current_leader_epoch=epoch) for epoch in (0, 1, 5))

SMALL = LogConfig(
    max_message_bytes=MESSAGE_BYTES_MAX,
    segment_bytes=SEGMENT_BYTES,
    segment_ms=50,
    retention_ms=90,
    retention_bytes=200,
    timestamp_after_max_ms=500,
)
COMPACTED = LogConfig(
    max_message_bytes=MESSAGE_BYTES_MAX,
    segment_bytes=SEGMENT_BYTES,
    deletes=False,
    compacts=True,
    append_time=True,
    compression=CODEC_ZSTD,
)
PLAIN = LogConfig()
SEQUENCES = (0, 1, 2, SEQUENCE_MAX)


def log_universe(appends_max: int, ticks_max: int) -> PartitionUniverse:
    """Segments, marks, reads, lookups by time and retention; nobody is idempotent."""
    return PartitionUniverse(
        "log",
        f"{appends_max} appends of 4 kinds, 2 batches a segment, {ticks_max} ticks, reads at offsets 0 to 6",
        config=SMALL,
        changes={
            "produce": PLAIN_BATCHES,
            "advance high watermark": (AdvanceHighWatermark(1), AdvanceHighWatermark(3), AdvanceHighWatermark(99)),
            "delete records": (DeleteRecords(-1), DeleteRecords(1), DeleteRecords(2), DeleteRecords(99)),
            "retain": (Retain(),),
        },
        reads={"fetch": FETCHES, "look up": LOOK_UPS},
        appends_max=appends_max,
        ticks_max=ticks_max,
    )


def idempotence_universe(appends_max: int, ticks_max: int) -> PartitionUniverse:
    """Two producers, two epochs, sequences about 0 and about the wrap."""
    return PartitionUniverse(
        "idempotence",
        f"{appends_max} appends, 2 producers, epochs -1 to 1, sequences 0 1 2 and 2^31-1, 1 or 2 records, {ticks_max} ticks",
        config=PLAIN,
        changes={
            "produce": tuple(
                idempotent(producer_id, epoch, sequence, count)
                for producer_id, epoch in ((1, 0), (1, 1), (2, 0))
                for sequence in SEQUENCES
                for count in (1, 2)
            ),
            "produce without epoch": (idempotent(2, -1, 5),),
            "advance high watermark": (AdvanceHighWatermark(99),),
            "delete records": (DeleteRecords(-1),),
            "expire": (Expire(TICK.milliseconds),),
        },
        appends_max=appends_max,
        ticks_max=ticks_max,
    )


def window_universe(appends_max: int) -> PartitionUniverse:
    """One producer, long enough for its window to slide."""
    return PartitionUniverse(
        "window",
        f"{appends_max} appends, 1 producer, epochs 0 and 1, every sequence that it may have sent and those about the wrap",
        config=PLAIN,
        changes={
            "produce": tuple(
                idempotent(1, epoch, sequence)
                for epoch in (0, 1)
                for sequence in (*range(appends_max + 1), SEQUENCE_MAX - 1, SEQUENCE_MAX)
            ),
            "advance high watermark": (AdvanceHighWatermark(99),),
            "delete records": (DeleteRecords(-1),),
        },
        appends_max=appends_max,
        producers=(1,),
        producer_epoch_max=1,
    )


def epochs_universe(appends_max: int, leader_epoch_max: int) -> PartitionUniverse:
    """Leaders come and go; askers know one of them."""
    return PartitionUniverse(
        "epochs",
        f"{appends_max} appends, leader epochs 0 to {leader_epoch_max}, askers of epochs -1 to {leader_epoch_max}",
        config=SMALL,
        changes={
            "produce": (sent(START_MS), sent(START_MS, START_MS)),
            "advance high watermark": (AdvanceHighWatermark(1), AdvanceHighWatermark(99)),
            "delete records": (DeleteRecords(-1), DeleteRecords(1)),
            "retain": (Retain(),),
        },
        reads={"fetch": EPOCH_FETCHES, "look up": FENCED_LOOK_UPS, "look up epoch": EPOCH_LOOK_UPS},
        appends_max=appends_max,
        leader_epoch_max=leader_epoch_max,
    )


EVERYTHING_CHANGES: Mapping[str, Sequence[Event]] = {
    "produce": PLAIN_BATCHES,
    "produce astray": tuple(
        idempotent(producer_id, epoch, sequence, count)
        for producer_id in (1, 2)
        for epoch in (-1, 0, 1, 2)
        for sequence in (0, 1, 2, 3, 4, 5, SEQUENCE_MAX - 1, SEQUENCE_MAX)
        for count in (1, 2)
    ),
    "produce faulty": FAULTY_BATCHES,
    "advance high watermark": high_watermarks(12),
    "delete records": tuple(DeleteRecords(offset) for offset in (-2, -1, *range(1, 12))),
    "retain": (Retain(),),
    "expire": (Expire(TICK.milliseconds), Expire(3 * TICK.milliseconds)),
}
EVERYTHING_READS: Mapping[str, Sequence[Event]] = {
    "fetch": (*FETCHES, *(Fetch(offset, 1000) for offset in range(7, 14)), *EPOCH_FETCHES, *FAULTY_FETCHES),
    "look up": (*LOOK_UPS, *FENCED_LOOK_UPS),
    "look up epoch": EPOCH_LOOK_UPS,
}


def everything(name: str, config: LogConfig) -> PartitionUniverse:
    """All of it at once, for walks and histories: too large to exhaust."""
    return PartitionUniverse(
        name,
        "20 appends of every kind, 20 ticks, leader epochs 0 to 3, 2 producers with epochs -1 to 2",
        config=config,
        changes=EVERYTHING_CHANGES,
        reads=EVERYTHING_READS,
        appends_max=20,
        ticks_max=20,
        leader_epoch_max=3,
        producers=(1, 2),
        producer_epoch_max=2,
    )


def walked_universes() -> tuple[PartitionUniverse, ...]:
    """What walks and histories go through."""
    return everything("everything, small segments", SMALL), everything("everything, compacted", COMPACTED)
