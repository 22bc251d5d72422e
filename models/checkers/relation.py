"""The transition of one partition, written once more: over integers and an unbounded log, as Z3 can reason about it.

It is seen by one producer, `me`: any producer, so what is proved of it is proved of each. The log is a handful of functions from an offset
to what stands there. The same Python function, `next_facts`, builds the formula when it is given Z3 terms, and computes when it is given
plain integers: an `Algebra` says what "and", "or" and "if" are; comparisons and sums are Python's own operators for both.

`holds_on` ties it to the model: it maps the partition before and after a step to such facts, for every producer concerned, and asks whether
the one is what this transition makes of the other. Every engine asks that on every step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from fiducial.models.idempotence import SEQUENCE_CHECK, UNKNOWN, WINDOW_BATCHES, ProducerEntry
from fiducial.models.kernels import SEQUENCE_MAX
from fiducial.models.log import Log
from fiducial.models.partition import (
    AdvanceHighWatermark,
    Appended,
    DeleteRecords,
    Duplicate,
    Expire,
    Fetch,
    LookUp,
    LookUpEpoch,
    Outcome,
    Partition,
    Produce,
    Refused,
    Retain,
)
from fiducial.models.properties import Step
from fiducial.models.values import changed, value

#: An integer or a truth: Python's, or a Z3 term.
Term = Any
#: What stands at an offset.
At = Callable[[Term], Term]


class Algebra(Protocol):
    """What a formula is made of, beside Python's comparisons and sums."""

    def all_of(self, *facts: Term) -> Term:
        """And."""
        ...

    def any_of(self, *facts: Term) -> Term:
        """Or."""
        ...

    def no(self, fact: Term) -> Term:
        """Not."""
        ...

    def choose(self, condition: Term, then: Term, otherwise: Term) -> Term:
        """If."""
        ...


class Plain:
    """Truths and integers of Python."""

    def all_of(self, *facts: Term) -> Term:
        """And."""
        return all(facts)

    def any_of(self, *facts: Term) -> Term:
        """Or."""
        return any(facts)

    def no(self, fact: Term) -> Term:
        """Not."""
        return not fact

    def choose(self, condition: Term, then: Term, otherwise: Term) -> Term:
        """If."""
        return then if condition else otherwise


PLAIN = Plain()

# The state

UNKNOWN_EPOCH = -1
#: What `previous` says of a batch that had none before it, and of the first of a new epoch.
NO_PREVIOUS, NEW_EPOCH = -1, -2
SLOTS = range(WINDOW_BATCHES)


@value
class Columns:
    """The log: for each offset, what its batch says. Nothing is forgotten when the log start moves: what was written, was written."""

    given: At  # how often the offset was given out
    head: At  # the base offset of its batch
    is_mine: At  # was it written by `me`?
    epoch: At  # the producer epoch of its batch
    first: At  # the first and
    last: At  # last sequence of its batch
    previous: At  # the last sequence of the batch that `me` wrote before, NO_PREVIOUS or NEW_EPOCH


@value
class Facts:
    """A partition, as `me` sees it. Of the window's slots the newest `size` are in use; the last is the newest."""

    start: Term
    high_watermark: Term
    end: Term
    my_epoch: Term
    size: Term
    window_first: tuple[Term, ...]
    window_last: tuple[Term, ...]
    window_base: tuple[Term, ...]
    columns: Columns | StoredColumns
    since: Term = 0  # where `me`'s epoch began: remembered by the proof, not by a partition
    born: Term = 0  # where `me` became known, or known again


def with_mark(facts: Facts, name: str, mark: Term) -> Facts:
    """The facts with one mark moved; the very facts if it stays."""
    return facts if mark is getattr(facts, name) else changed(facts, **{name: mark})


def is_used(slot: int, size: Term) -> Term:
    """Does this slot of the window hold a batch?"""
    return size >= WINDOW_BATCHES - slot


# The events, and what comes of them

APPEND, DUPLICATE, REFUSE_EPOCH, REFUSE_ORDER, REFUSE_FAULT, NOT_A_PRODUCE = range(6)


@value
class ProduceMine:
    """A batch of `me`."""

    is_sound: Term  # by every check that comes before the producer's
    count: Term
    epoch: Term
    first: Term  # sequence


@value
class ProduceOther:
    """A batch of anyone else, which was accepted."""

    count: Term


@value
class Raise:
    """The high watermark is to rise."""

    to: Term


@value
class Delete:
    """DeleteRecords, at an offset."""

    offset: Term


@value
class LetGo:
    """Retention lets go of all below `kept`."""

    kept: Term


@value
class Forget:
    """Expiry: of `me`, or of others only."""

    is_mine: Term


@value
class Other:
    """What changes nothing here: reads, refusals of others, a new leader epoch, a roll."""


Happening = ProduceMine | ProduceOther | Raise | Delete | LetGo | Forget | Other


@value
class Made:
    """The verdict on a batch, the base offset that is answered (-1 for none), and the facts after."""

    verdict: Term
    answer: Term
    after: Facts


#: Guards and effects that can be taken out, each by its name, to show that a proof would notice.
PARTS = frozenset(
    {
        "batch is written behind the end",
        "end moves by the count",
        "end moves at all",
        "duplicates are looked for",
        "sequence must be next",
        "new epoch begins at 0",
        "older epoch is refused",
        "new epoch begins a new window",
        "refusal leaves no trace",
        "batch is written to its end",
        "high watermark only rises",
        "high watermark stays within the log",
        "deletion stays below the high watermark",
        "retention stays below the high watermark",
        "count is at least 1",
        "sequence is within range",
        "sequences wrap",
    }
)


class Transition:
    """The transition in some algebra; `without` takes parts of it out."""

    def __init__(self, algebra: Algebra, without: Iterable[str] = (), sequence_max: int = SEQUENCE_MAX) -> None:
        self.algebra = algebra
        self.sequence_max = sequence_max
        self.without = frozenset(without)
        assert self.without <= PARTS, self.without - PARTS

    def refuses(self, part: str, condition: Term) -> Term:
        """`condition`, unless the guard was taken out."""
        return False if part in self.without else condition

    def demands(self, part: str, condition: Term) -> Term:
        """`condition`, unless it was taken out."""
        return True if part in self.without else condition

    def is_possible(self, facts: Facts, event: Happening) -> Term:
        """What an event must be to be one: what the checks before it have made sure of."""
        every = self.algebra.all_of
        match event:
            case ProduceMine(_, count, _, first):
                return every(
                    self.demands("count is at least 1", count >= 1),
                    count <= self.sequence_max,
                    self.demands("sequence is within range", every(first >= 0, first <= self.sequence_max)),
                )
            case ProduceOther(count):
                return self.demands("count is at least 1", count >= 1)
            case LetGo(kept):
                below = self.demands("retention stays below the high watermark", kept <= facts.high_watermark)
                return every(kept >= facts.start, below)
            case _:
                return True

    def next_facts(self, facts: Facts, event: Happening) -> Made:
        """What the event makes of the facts."""
        match event:
            case ProduceMine():
                return self.produced(facts, event)
            case ProduceOther(count):
                columns = self.written(facts, count, False, -1, -1, -1, NO_PREVIOUS)
                return Made(APPEND, facts.end, changed(facts, end=self.moved(facts.end, count), columns=columns))
            case Raise(to):
                return Made(NOT_A_PRODUCE, -1, with_mark(facts, "high_watermark", self.raised(facts, to)))
            case Delete(offset):
                return Made(NOT_A_PRODUCE, -1, with_mark(facts, "start", self.deleted(facts, offset)))
            case LetGo(kept):
                return Made(NOT_A_PRODUCE, -1, with_mark(facts, "start", kept))
            case Forget(is_mine):
                return Made(NOT_A_PRODUCE, -1, self.forgotten(facts, is_mine))
            case Other():
                return Made(NOT_A_PRODUCE, -1, facts)

    # The idempotent producer

    def produced(self, facts: Facts, event: ProduceMine) -> Made:
        """The verdict on a batch, first match wins: a fault, a duplicate, an old epoch, a new one that begins late, out of order, append."""
        every, some, no, choose = self.algebra.all_of, self.algebra.any_of, self.algebra.no, self.algebra.choose
        last = self.sequence_after(event.first, event.count - 1)
        same_epoch = event.epoch == facts.my_epoch
        is_known = facts.my_epoch != UNKNOWN_EPOCH
        matches = list[tuple[int, Term]]()
        for slot in SLOTS:
            used, is_first = is_used(slot, facts.size), facts.window_first[slot] == event.first
            if used is not False and is_first is not False:  # of plain numbers no more is asked than is needed
                matches.append((slot, every(used, is_first, facts.window_last[slot] == last)))
        is_duplicate = self.refuses("duplicates are looked for", every(same_epoch, some(*[match for _, match in matches])))
        is_old = self.refuses("older epoch is refused", event.epoch < facts.my_epoch)
        is_late = self.refuses("new epoch begins at 0", every(is_known, event.epoch > facts.my_epoch, event.first != 0))
        is_next = event.first == self.sequence_after(facts.window_last[-1], 1)
        is_astray = self.refuses("sequence must be next", every(is_known, same_epoch, no(is_next)))
        refusal = choose(is_old, REFUSE_EPOCH, choose(some(is_late, is_astray), REFUSE_ORDER, APPEND))
        verdict = choose(event.is_sound, choose(is_duplicate, DUPLICATE, refusal), REFUSE_FAULT)
        answer = choose(verdict == APPEND, facts.end, -1)
        for slot, match in matches:
            answer = choose(every(verdict == DUPLICATE, match), facts.window_base[slot], answer)

        def appended() -> Facts:
            return self.appended(facts, event, last, same_epoch, is_known)

        def refused() -> Facts:
            if "refusal leaves no trace" in self.without:
                return changed(appended(), end=facts.end, columns=facts.columns)
            return facts

        return Made(verdict, answer, self.either(verdict == APPEND, appended, refused))

    def appended(self, facts: Facts, event: ProduceMine, last: Term, same_epoch: Term, is_known: Term) -> Facts:
        """The batch written, the window slid, or, in another epoch, begun anew."""
        every, no, choose = self.algebra.all_of, self.algebra.no, self.algebra.choose
        slides = same_epoch if "new epoch begins a new window" not in self.without else True
        goes_on = every(is_known, same_epoch)
        previous = choose(goes_on, facts.window_last[-1], choose(is_known, NEW_EPOCH, NO_PREVIOUS))
        columns = self.written(facts, event.count, True, event.epoch, event.first, last, previous)
        grown = choose(facts.size < WINDOW_BATCHES, facts.size + 1, WINDOW_BATCHES)
        return Facts(
            facts.start,
            facts.high_watermark,
            self.moved(facts.end, event.count),
            event.epoch,
            choose(slides, grown, 1),
            (*facts.window_first[1:], event.first),
            (*facts.window_last[1:], last),
            (*facts.window_base[1:], facts.end),
            columns,
            choose(goes_on, facts.since, facts.end),
            choose(no(is_known), facts.end, facts.born),
        )

    def sequence_after(self, sequence: Term, steps: Term) -> Term:
        """The sequence `steps` on, 0 after 2^31 - 1."""
        wraps = self.refuses("sequences wrap", sequence > self.sequence_max - steps)
        return self.algebra.choose(wraps, steps - (self.sequence_max - sequence) - 1, sequence + steps)

    def forgotten(self, facts: Facts, is_mine: Term) -> Facts:
        """`me` is unknown from here on, if it is `me` that expired."""
        return self.either(is_mine, lambda: changed(facts, my_epoch=UNKNOWN_EPOCH, size=0), lambda: facts)

    # The log

    def written(
        self, facts: Facts, count: Term, is_mine: Term, epoch: Term, first: Term, last: Term, previous: Term
    ) -> Columns:
        """The log with `count` more offsets, from the end on, that all say the same."""
        every, choose = self.algebra.all_of, self.algebra.choose
        end, before = facts.end, facts.columns
        begin = end if "batch is written behind the end" not in self.without else end - 1
        reach = count if "batch is written to its end" not in self.without else 1

        def column(at: At, written: Term) -> At:
            def after(offset: Term) -> Term:
                is_new = every(offset >= begin, offset < end + reach)
                return written if is_new is True else choose(is_new, written, at(offset))

            return after

        def given(offset: Term) -> Term:
            more = choose(every(offset >= end, offset < end + count), 1, 0)
            return before.given(offset) + more

        return Columns(
            given,
            column(before.head, end),
            column(before.is_mine, is_mine),
            column(before.epoch, epoch),
            column(before.first, first),
            column(before.last, last),
            column(before.previous, previous),
        )

    def moved(self, end: Term, count: Term) -> Term:
        """The log end after an append."""
        if "end moves at all" in self.without:
            return end
        return end + count if "end moves by the count" not in self.without else end + count + 1

    def raised(self, facts: Facts, to: Term) -> Term:
        """The high watermark: only up, and within the log."""
        choose = self.algebra.choose
        within = choose(to > facts.end, facts.end, to) if "high watermark stays within the log" not in self.without else to
        if "high watermark only rises" in self.without:
            return within
        return choose(within > facts.high_watermark, within, facts.high_watermark)

    def deleted(self, facts: Facts, offset: Term) -> Term:
        """The log start after DeleteRecords: -1 means the high watermark; what lies beyond that is refused."""
        every, choose = self.algebra.all_of, self.algebra.choose
        beyond = self.refuses("deletion stays below the high watermark", offset > facts.high_watermark)
        wanted = choose(offset == -1, facts.high_watermark, offset)
        accepted = every(self.algebra.no(beyond), wanted > facts.start)
        return choose(accepted, wanted, facts.start)

    def either(self, condition: Term, make_one: Callable[[], Facts], make_other: Callable[[], Facts]) -> Facts:
        """The one where the condition holds, else the other; of plain truths only the one that is wanted is made."""
        if condition is True or condition is False:
            return make_one() if condition else make_other()
        one, other = make_one(), make_other()
        choose = self.algebra.choose

        def each(ones: tuple[Term, ...], others: tuple[Term, ...]) -> tuple[Term, ...]:
            return tuple(choose(condition, a, b) for a, b in zip(ones, others, strict=True))

        def column(name: str) -> At:
            a, b = getattr(one.columns, name), getattr(other.columns, name)
            return a if a is b else lambda offset: choose(condition, a(offset), b(offset))

        return Facts(
            choose(condition, one.start, other.start),
            choose(condition, one.high_watermark, other.high_watermark),
            choose(condition, one.end, other.end),
            choose(condition, one.my_epoch, other.my_epoch),
            choose(condition, one.size, other.size),
            each(one.window_first, other.window_first),
            each(one.window_last, other.window_last),
            each(one.window_base, other.window_base),
            Columns(*(column(name) for name in COLUMN_NAMES)),
            choose(condition, one.since, other.since),
            choose(condition, one.born, other.born),
        )


COLUMN_NAMES = ("given", "head", "is_mine", "epoch", "first", "last", "previous")
#: What a partition's batches say; `previous` is remembered by the proof alone.
STORED_NAMES = ("given", "head", "is_mine", "epoch", "first", "last")
Row = tuple[int, int, bool, int, int, int]


# The tie: a step of the model, as facts

#: What stands in the slots that are not in use, by how many are.
UNUSED = tuple((-1,) * (WINDOW_BATCHES - size) for size in range(WINDOW_BATCHES + 1))
VERDICTS = {rung.rule: REFUSE_EPOCH if rung.error.name == "INVALID_PRODUCER_EPOCH" else REFUSE_ORDER for rung in SEQUENCE_CHECK.rungs}
TRANSITION = Transition(PLAIN)


class StoredColumns:
    """Columns of the batches that are still there; -1 where there is none."""

    def __init__(self, log: Log, me: int) -> None:
        self.log = log
        self.me = me
        self.rows: dict[int, Row] = {}

    def row(self, offset: int) -> Row:
        """All that is said at an offset, in the order of STORED_NAMES."""
        row = self.rows.get(offset)
        if row is None:
            row = self.rows[offset] = self.read(offset)
        return row

    def read(self, offset: int) -> Row:
        """From the batch that holds the offset; in a sound log no other does."""
        batches = self.log.batches
        every = (batches[ordinal] for ordinal in range(self.log.first_batch, self.log.end_batch))
        found = [batch for batch in every if batch.base_offset <= offset <= batch.last_offset]
        if not found:
            return 0, -1, False, -1, -1, -1
        batch = found[0]
        if batch.producer_id != self.me:
            return len(found), batch.base_offset, False, -1, -1, -1
        return len(found), batch.base_offset, True, batch.producer_epoch, batch.base_sequence, batch.last_sequence

    def given(self, offset: int) -> int:
        """How many batches hold the offset."""
        return self.row(offset)[0]

    def head(self, offset: int) -> int:
        """The base offset of its batch."""
        return self.row(offset)[1]

    def is_mine(self, offset: int) -> bool:
        """Was it written by `me`?"""
        return self.row(offset)[2]

    def epoch(self, offset: int) -> int:
        """The producer epoch of its batch."""
        return self.row(offset)[3]

    def first(self, offset: int) -> int:
        """The first sequence of its batch."""
        return self.row(offset)[4]

    def last(self, offset: int) -> int:
        """The last sequence of its batch."""
        return self.row(offset)[5]

    def previous(self, _offset: int) -> int:
        """No partition remembers it."""
        return NO_PREVIOUS


class Memory:
    """The facts of the partitions seen last, by producer: a walk's before is the after of the step before; a search's is the same for many steps."""

    def __init__(self) -> None:
        self.before: dict[int, tuple[Partition, Facts]] = {}
        self.after: dict[int, tuple[Partition, Facts]] = {}

    def facts_before(self, partition: Partition, me: int) -> Facts:
        """Of the partition that a step begins with."""
        kept = self.before.get(me)
        if kept is None or kept[0] is not partition:
            kept = self.after.get(me)
            if kept is None or kept[0] is not partition:
                kept = partition, facts_of(partition, me)
            self.before[me] = kept
        return kept[1]

    def facts_after(self, partition: Partition, me: int) -> Facts:
        """Of the partition that a step ends with."""
        facts = facts_of(partition, me)
        self.after[me] = partition, facts
        return facts


MEMORY = Memory()


def facts_of(partition: Partition, me: int) -> Facts:
    """The partition as producer `me` sees it."""
    log = partition.log
    entry: ProducerEntry = partition.producers.get(me, UNKNOWN)
    window = entry.window
    firsts = lasts = bases = unused = UNUSED[len(window)]
    if window:
        firsts = (*unused, *[written.first_sequence for written in window])
        lasts = (*unused, *[written.last_sequence for written in window])
        bases = (*unused, *[written.base_offset for written in window])
    columns = StoredColumns(log, me)
    return Facts(log.start, log.high_watermark, log.end, entry.epoch, len(window), firsts, lasts, bases, columns)


def happening_of(step: Step, me: int) -> Happening:
    """The event, as it concerns `me`. What the transition leaves open (what retention lets go, who expires) is read from what followed."""
    event, outcome, before, after = step.event, step.outcome, step.before.partition, step.after.partition
    match event:
        case Produce(batch):
            if batch.producer_id != me:
                return ProduceOther(batch.count) if isinstance(outcome, Appended) else Other()
            is_sound = not isinstance(outcome, Refused) or outcome.rung.rule in VERDICTS
            return ProduceMine(is_sound, batch.count, batch.producer_epoch, batch.base_sequence)
        case AdvanceHighWatermark(to):
            return Raise(to)
        case DeleteRecords(offset):
            is_possible = not isinstance(outcome, Refused) or offset > before.log.high_watermark
            return Delete(offset) if is_possible else Other()
        case Retain():
            return LetGo(after.log.start)
        case Expire():
            return Forget(me in before.producers and me not in after.producers)
        case _:
            return Other()


def verdict_of(outcome: Outcome) -> tuple[int, int]:
    """The verdict, and the base offset that is answered."""
    match outcome:
        case Appended(base_offset, _):
            return APPEND, base_offset
        case Duplicate(written):
            return DUPLICATE, written.base_offset
        case Refused(rung, _):
            return VERDICTS.get(rung.rule, REFUSE_FAULT), -1
        case _:
            return NOT_A_PRODUCE, -1


#: A producer that no batch names: through its eyes every batch is another's.
NOBODY = -(1 << 62)


def holds_on(step: Step) -> bool:
    """Is this step of the model one that the transition allows, for each producer that it may concern?"""
    before, after, event = step.before.partition, step.after.partition, step.event
    if isinstance(event, Produce):
        me = event.batch.producer_id
        return is_kept(before, after, me) and agrees(step, me if me >= 0 else NOBODY)
    if before.producers is after.producers:
        return (before is after and isinstance(event, READS)) or agrees(step, NOBODY)
    return all(agrees(step, me) for me in {NOBODY, *before.producers, *after.producers})


READS = Fetch | LookUp | LookUpEpoch


def is_kept(before: Partition, after: Partition, me: int) -> bool:
    """Did a batch of `me` leave alone what is known of every other producer?"""
    if before.producers is after.producers:
        return True
    others = len(before.producers) - (me in before.producers)
    return len(after.producers) - (me in after.producers) == others and all(
        after.producers.get(other) is entry for other, entry in before.producers.items() if other != me
    )


def agrees(step: Step, me: int) -> bool:
    """Is what the model made of the step what the transition makes of it, as `me` sees it?"""
    before, happening = MEMORY.facts_before(step.before.partition, me), happening_of(step, me)
    if not TRANSITION.is_possible(before, happening):
        # a batch that is refused for a fault may be anything
        return isinstance(happening, ProduceMine) and not happening.is_sound and step.after.partition.log.end == before.end
    made = TRANSITION.next_facts(before, happening)
    is_judged = isinstance(step.event, Produce) and not isinstance(happening, Other)
    if is_judged and (made.verdict, made.answer) != verdict_of(step.outcome):
        return False
    if made.after is before and step.after.partition is step.before.partition:
        return True
    after = MEMORY.facts_after(step.after.partition, me)
    return same_scalars(made.after, after) and same_columns(made.after, me, step)


def same_scalars(one: Facts, other: Facts) -> bool:
    """The same marks, and the same window where it is in use?"""
    if (one.start, one.high_watermark, one.end, one.my_epoch, one.size) != (
        other.start,
        other.high_watermark,
        other.end,
        other.my_epoch,
        other.size,
    ):
        return False
    used = WINDOW_BATCHES - one.size
    return (
        one.window_first[used:] == other.window_first[used:]
        and one.window_last[used:] == other.window_last[used:]
        and one.window_base[used:] == other.window_base[used:]
    )


def same_columns(made: Facts, me: int, step: Step) -> bool:
    """The same log? What is still there must be the very batches that were; of a new one, its first and last offset and those beside are read."""
    before_log, after_log = step.before.partition.log, step.after.partition.log
    if before_log.batches is after_log.batches:
        return True
    for ordinal in range(after_log.first_batch, min(before_log.end_batch, after_log.end_batch)):
        if after_log.batches[ordinal] is not before_log.batches[ordinal]:
            return False
    if after_log.end_batch == before_log.end_batch:
        return True
    stored = StoredColumns(after_log, me)
    for offset in {before_log.end - 1, before_log.end, after_log.end - 1, after_log.end}:
        said = tuple([getattr(made.columns, name)(offset) for name in STORED_NAMES])
        if said != stored.row(offset):
            return False
    return True
