"""Proofs by induction over an unbounded log: each invariant holds at the beginning, and each action keeps it.

One obligation for each invariant and action, given to Z3: all invariants before, the action, and not this invariant after. It must be
unsatisfiable; `unknown` is a failure. The transition is `relation.Transition`, the one that the model is held against on every step.

Three things show that a proof means something. For each invariant a mutant (a part of the transition taken out) must have a counterexample;
each invariant and each action has a witness, a state in which it says or does something; and Z3's own evaluation of the transition must agree
with Python's on steps that the model took. Counterexamples and witnesses are looked for among small logs, where quantifiers can be written
out, and with sequences that wrap early: what is found there is a whole state, with no offset left open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from time import perf_counter

import z3

from fiducial.models.checkers.relation import (
    APPEND,
    COLUMN_NAMES,
    DUPLICATE,
    NEW_EPOCH,
    NO_PREVIOUS,
    NOBODY,
    SLOTS,
    STORED_NAMES,
    UNKNOWN_EPOCH,
    At,
    Columns,
    Delete,
    Facts,
    Forget,
    Happening,
    LetGo,
    Made,
    Other,
    ProduceMine,
    ProduceOther,
    Raise,
    Term,
    Transition,
    facts_of,
    happening_of,
    is_used,
    verdict_of,
)
from fiducial.models.idempotence import WINDOW_BATCHES
from fiducial.models.partition import Produce
from fiducial.models.properties import Step
from fiducial.models.values import value

TIMEOUT_MS = 20_000
#: Small worlds: offsets 0 … BOUND - 1, sequences 0 … SMALL_SEQUENCE_MAX.
BOUND = 7
SMALL_SEQUENCE_MAX = 3


class Symbolic:
    """Truths and integers of Z3. Quantifiers are written out up to `bound`, if there is one."""

    def __init__(self, bound: int | None = None) -> None:
        self.bound = bound

    def all_of(self, *facts: Term) -> Term:
        """And."""
        return z3.And(*facts)

    def any_of(self, *facts: Term) -> Term:
        """Or."""
        return z3.Or(*facts)

    def no(self, fact: Term) -> Term:
        """Not."""
        return z3.Not(fact)

    def choose(self, condition: Term, then: Term, otherwise: Term) -> Term:
        """If."""
        if condition is True or condition is False:
            return then if condition else otherwise
        return z3.If(condition, then, otherwise)

    def every_offset(self, says: Callable[[Term], Term]) -> Term:
        """For all offsets."""
        if self.bound is not None:
            return z3.And(*(says(z3.IntVal(offset)) for offset in range(self.bound)))
        offset = z3.FreshInt("offset")
        return z3.ForAll([offset], says(offset))

    def every_pair(self, says: Callable[[Term, Term], Term]) -> Term:
        """For all pairs of offsets."""
        return self.every_offset(lambda one: self.every_offset(lambda other: says(one, other)))


def any_facts(tag: str = "") -> Facts:
    """A partition of which nothing is known."""
    integers = {name: z3.Int(f"{name}{tag}") for name in ("start", "high_watermark", "end", "my_epoch", "size", "since", "born")}
    windows = {
        name: tuple(z3.Int(f"{name}_{slot}{tag}") for slot in SLOTS) for name in ("window_first", "window_last", "window_base")
    }
    columns = Columns(
        *(
            z3.Function(f"{name}{tag}", z3.IntSort(), z3.BoolSort() if name == "is_mine" else z3.IntSort())
            for name in COLUMN_NAMES
        )
    )
    return Facts(**integers, **windows, columns=columns)


def empty_facts() -> Facts:
    """A partition to which nothing has happened."""

    def nothing(_offset: Term) -> Term:
        return -1

    columns = Columns(lambda _offset: 0, nothing, lambda _offset: False, nothing, nothing, nothing, nothing)
    none = (-1,) * WINDOW_BATCHES
    return Facts(0, 0, 0, UNKNOWN_EPOCH, 0, none, none, none, columns)


#: Every action, with its parameters left open.
ACTIONS: dict[str, Happening] = {
    "produce": ProduceMine(z3.Bool("is_sound"), z3.Int("count"), z3.Int("epoch"), z3.Int("first")),
    "produce by another": ProduceOther(z3.Int("count")),
    "advance high watermark": Raise(z3.Int("to")),
    "delete records": Delete(z3.Int("offset_asked")),
    "retain": LetGo(z3.Int("kept")),
    "expire": Forget(z3.Bool("is_mine_that_expires")),
    "anything else": Other(),
}

# Invariants: true of every state


@value
class Invariant:
    """A sentence about every state: what it says, and where it says something."""

    name: str
    sentence: str
    says: Callable[[Symbolic, Transition, Facts], Term]
    premise: Callable[[Facts], Term]
    mutants: tuple[str, ...]  # parts of the transition that it cannot do without


INVARIANTS: list[Invariant] = []


def invariant(
    name: str, *mutants: str, premise: Callable[[Facts], Term]
) -> Callable[[Callable[[Symbolic, Transition, Facts], Term]], Callable[[Symbolic, Transition, Facts], Term]]:
    """Register the decorated formula; its docstring is the sentence."""

    def register(says: Callable[[Symbolic, Transition, Facts], Term]) -> Callable[[Symbolic, Transition, Facts], Term]:
        INVARIANTS.append(Invariant(name, says.__doc__ or "", says, premise, mutants))
        return says

    return register


def is_known(facts: Facts) -> Term:
    """Does the partition know `me`?"""
    return facts.my_epoch != UNKNOWN_EPOCH


@invariant(
    "MarksInOrder",
    "high watermark stays within the log",
    "deletion stays below the high watermark",
    "retention stays below the high watermark",
    premise=lambda facts: z3.And(facts.start > 0, facts.high_watermark > facts.start, facts.end > facts.high_watermark),
)
def marks_are_in_order(_logic: Symbolic, _transition: Transition, facts: Facts) -> Term:
    """0 <= log start <= high watermark <= log end."""
    return z3.And(facts.start >= 0, facts.start <= facts.high_watermark, facts.high_watermark <= facts.end)


@invariant("OffsetsUnique", "end moves at all", premise=lambda facts: facts.end > 1)
def each_offset_is_given_once(logic: Symbolic, _transition: Transition, facts: Facts) -> Term:
    """No offset was given out twice, and none at or beyond the log end was given out at all."""
    given = facts.columns.given
    return logic.every_offset(lambda at: z3.And(given(at) <= 1, z3.Implies(at >= facts.end, given(at) == 0)))


@invariant("OffsetsDense", "end moves by the count", premise=lambda facts: facts.end > 1)
def no_offset_is_skipped(logic: Symbolic, _transition: Transition, facts: Facts) -> Term:
    """Every offset below the log end was given out."""
    return logic.every_offset(lambda at: z3.Implies(z3.And(at >= 0, at < facts.end), facts.columns.given(at) >= 1))


@invariant("BatchAtomicAppend", "batch is written to its end", premise=lambda facts: facts.columns.head(1) == 0)
def batches_are_whole(logic: Symbolic, _transition: Transition, facts: Facts) -> Term:
    """Every offset lies in a batch that begins at or before it, and all offsets of a batch say the same."""
    columns = facts.columns

    def whole(at: Term) -> Term:
        head = columns.head(at)
        same = [getattr(columns, name)(head) == getattr(columns, name)(at) for name in COLUMN_NAMES[1:]]
        return z3.Implies(z3.And(at >= 0, at < facts.end), z3.And(head >= 0, head <= at, *same))

    return logic.every_offset(whole)


@invariant("SequencesInRange", "sequence is within range", premise=lambda facts: facts.size > 1)
def sequences_are_in_range(_logic: Symbolic, transition: Transition, facts: Facts) -> Term:
    """What the window holds are sequences: 0 to 2^31 - 1; and it holds five batches at most."""
    ranged = [
        z3.Implies(is_used(slot, facts.size), z3.And(sequence[slot] >= 0, sequence[slot] <= transition.sequence_max))
        for slot in SLOTS
        for sequence in (facts.window_first, facts.window_last)
    ]
    return z3.And(facts.size >= 0, facts.size <= WINDOW_BATCHES, *ranged)


@invariant(
    "WindowIsLogTail",
    "new epoch begins a new window",
    premise=lambda facts: z3.And(is_known(facts), facts.size == 2, facts.since > 0),
)
def window_is_the_tail_of_the_log(logic: Symbolic, _transition: Transition, facts: Facts) -> Term:
    """The window holds the last batches, up to five, that the producer wrote in its epoch, as they are in the log."""
    columns = facts.columns
    held = []
    for slot in SLOTS:
        base = facts.window_base[slot]
        in_log = z3.And(
            base >= facts.since,
            base < facts.end,
            columns.is_mine(base),
            columns.epoch(base) == facts.my_epoch,
            columns.head(base) == base,
            columns.first(base) == facts.window_first[slot],
            columns.last(base) == facts.window_last[slot],
        )
        held.append(z3.Implies(is_used(slot, facts.size), in_log))
    for slot, following in pairwise(SLOTS):
        held.append(z3.Implies(is_used(slot, facts.size), facts.window_base[slot] < facts.window_base[following]))

    def is_held(at: Term) -> Term:
        head = columns.head(at)
        within = [z3.And(is_used(slot, facts.size), head == facts.window_base[slot]) for slot in SLOTS]
        is_older = z3.And(facts.size == WINDOW_BATCHES, head < facts.window_base[0])
        mine = z3.And(at >= facts.since, at < facts.end, columns.is_mine(at))
        return z3.Implies(mine, z3.And(columns.epoch(at) == facts.my_epoch, z3.Or(*within, is_older)))

    marks = z3.And(facts.size >= 1, facts.born >= 0, facts.born <= facts.since, facts.since < facts.end)
    return z3.Implies(is_known(facts), z3.And(marks, *held, logic.every_offset(is_held)))


@invariant(
    "NoDuplicateInWindow",
    "duplicates are looked for",
    premise=lambda facts: z3.And(is_known(facts), facts.size >= 3),
)
def no_two_batches_of_the_window_are_alike(_logic: Symbolic, _transition: Transition, facts: Facts) -> Term:
    """No two of the last five batches of a producer's epoch have the same first and last sequence."""
    pairs = [
        z3.Implies(
            is_used(one, facts.size),
            z3.Or(facts.window_first[one] != facts.window_first[other], facts.window_last[one] != facts.window_last[other]),
        )
        for one in SLOTS
        for other in SLOTS
        if one < other
    ]
    return z3.Implies(is_known(facts), z3.And(*pairs))


@invariant(
    "NoGapInEpoch",
    "sequence must be next",
    "new epoch begins at 0",
    premise=lambda facts: z3.And(facts.size >= 2, facts.columns.previous(facts.window_base[-1]) >= 0),
)
def sequences_follow_one_another(logic: Symbolic, transition: Transition, facts: Facts) -> Term:
    """A batch begins one after the producer's batch before it, or, first in a new epoch, at 0; a producer not known begins anywhere."""
    columns = facts.columns

    def follows(at: Term) -> Term:
        previous, first = columns.previous(at), columns.first(at)
        is_next = z3.And(previous >= 0, first == transition.sequence_after(previous, 1))
        begins = z3.And(previous == NEW_EPOCH, first == 0)
        return z3.Implies(
            z3.And(at >= 0, at < facts.end, columns.is_mine(at)), z3.Or(previous == NO_PREVIOUS, begins, is_next)
        )

    neighbours = [
        z3.Implies(is_used(slot, facts.size), columns.previous(facts.window_base[after]) == facts.window_last[slot])
        for slot, after in pairwise(SLOTS)
    ]
    return z3.And(logic.every_offset(follows), z3.Implies(is_known(facts), z3.And(*neighbours)))


@invariant(
    "ProducerEpochMonotone",
    "older epoch is refused",
    premise=lambda facts: z3.And(facts.my_epoch == 2, facts.born < facts.since, facts.columns.is_mine(facts.born)),
)
def epochs_only_rise(logic: Symbolic, _transition: Transition, facts: Facts) -> Term:
    """Along the log the epochs of a producer never fall, as long as the partition knows it; the newest is the one it knows."""
    columns = facts.columns

    def rise(one: Term, other: Term) -> Term:
        in_order = z3.And(facts.born <= one, one <= other, other < facts.end)
        both_mine = z3.And(columns.is_mine(one), columns.is_mine(other))
        return z3.Implies(z3.And(in_order, both_mine), columns.epoch(one) <= columns.epoch(other))

    def at_most_mine(at: Term) -> Term:
        mine = z3.And(facts.born <= at, at < facts.end, columns.is_mine(at))
        return z3.Implies(mine, columns.epoch(at) <= facts.my_epoch)

    claim = z3.And(logic.every_pair(rise), logic.every_offset(at_most_mine))
    return z3.And(facts.my_epoch >= UNKNOWN_EPOCH, z3.Implies(is_known(facts), claim))


# Steps: true of every action


Claim = Callable[[Symbolic, Transition, Facts, Happening, Made], Term]


@value
class StepClaim:
    """A sentence about every step: what it says of the facts before, the event and what was made of them."""

    name: str
    sentence: str
    says: Claim
    premise: Callable[[Facts, Happening, Made], Term]
    actions: tuple[str, ...]
    mutants: tuple[str, ...]


STEP_CLAIMS: list[StepClaim] = []


def step_claim(
    name: str, *mutants: str, actions: Iterable[str], premise: Callable[[Facts, Happening, Made], Term]
) -> Callable[[Claim], Claim]:
    """Register the decorated formula; its docstring is the sentence."""

    def register(says: Claim) -> Claim:
        STEP_CLAIMS.append(StepClaim(name, says.__doc__ or "", says, premise, tuple(actions), mutants))
        return says

    return register


def same_facts(logic: Symbolic, one: Facts, other: Facts) -> Term:
    """Nothing differs, at no offset."""
    scalars = [one.start == other.start, one.high_watermark == other.high_watermark, one.end == other.end]
    scalars += [one.my_epoch == other.my_epoch, one.size == other.size]
    for name in ("window_first", "window_last", "window_base"):
        scalars += [a == b for a, b in zip(getattr(one, name), getattr(other, name), strict=True)]

    def at_offset(at: Term) -> Term:
        return z3.And(*(getattr(one.columns, name)(at) == getattr(other.columns, name)(at) for name in COLUMN_NAMES))

    return z3.And(*scalars, logic.every_offset(at_offset))


@step_claim(
    "FailedAppendLeavesState",
    "refusal leaves no trace",
    actions=("produce",),
    premise=lambda facts, _event, made: z3.And(made.verdict != APPEND, facts.size > 1),
)
def failed_append_changes_nothing(
    logic: Symbolic, _transition: Transition, facts: Facts, _event: Happening, made: Made
) -> Term:
    """A batch that is refused, or recognised as a duplicate, leaves log, marks and window as they were."""
    return z3.Implies(made.verdict != APPEND, same_facts(logic, facts, made.after))


@step_claim(
    "ResendIsAnswered",
    "duplicates are looked for",
    actions=("produce",),
    premise=lambda facts, _event, made: z3.And(made.verdict == DUPLICATE, facts.size == 3),
)
def a_resend_gets_its_first_answer(
    _logic: Symbolic, transition: Transition, facts: Facts, event: Happening, made: Made
) -> Term:
    """A sound batch with the epoch and sequences of one of the window is answered with that one's base offset."""
    assert isinstance(event, ProduceMine)
    last = transition.sequence_after(event.first, event.count - 1)
    answers = []
    for slot in SLOTS:
        is_it = z3.And(
            is_used(slot, facts.size), facts.window_first[slot] == event.first, facts.window_last[slot] == last
        )
        is_resend = z3.And(event.is_sound, event.epoch == facts.my_epoch, is_known(facts), is_it)
        right = z3.And(made.verdict == DUPLICATE, made.answer == facts.window_base[slot])
        answers.append(z3.Implies(is_resend, right))
    return z3.And(*answers)


@step_claim(
    "LogIsAppendOnly",
    "batch is written behind the end",
    actions=ACTIONS,
    premise=lambda facts, _event, made: z3.And(facts.end > 0, made.verdict == APPEND),
)
def what_was_written_stays(
    logic: Symbolic, _transition: Transition, facts: Facts, _event: Happening, made: Made
) -> Term:
    """What stands below the log end stays as it is."""

    def stays(at: Term) -> Term:
        same = [getattr(made.after.columns, name)(at) == getattr(facts.columns, name)(at) for name in COLUMN_NAMES]
        return z3.Implies(z3.And(at >= 0, at < facts.end), z3.And(*same))

    return logic.every_offset(stays)


@step_claim(
    "MarksMonotone",
    "high watermark only rises",
    "count is at least 1",
    actions=ACTIONS,
    premise=lambda facts, _event, made: made.after.high_watermark > facts.high_watermark,
)
def marks_never_go_back(
    _logic: Symbolic, _transition: Transition, facts: Facts, _event: Happening, made: Made
) -> Term:
    """Log start, high watermark and log end never fall."""
    after = made.after
    return z3.And(after.start >= facts.start, after.high_watermark >= facts.high_watermark, after.end >= facts.end)


# Obligations

PROVED, REFUTED, UNKNOWN_ANSWER = "proved", "refuted", "unknown"


@value
class Obligation:
    """One question to Z3, and its answer."""

    name: str
    action: str
    answer: str
    milliseconds: float
    model: str = ""

    @property
    def is_proved(self) -> bool:
        """Unknown is not proved."""
        return self.answer == PROVED


def asked(name: str, action: str, *formulas: Term) -> Obligation:
    """Can the formulas all be true? If not, it is proved that they cannot."""
    began = perf_counter()
    solver = z3.Solver()
    solver.set("timeout", TIMEOUT_MS)
    solver.add(*formulas)
    answer = solver.check()
    milliseconds = (perf_counter() - began) * 1000
    if answer == z3.unsat:
        return Obligation(name, action, PROVED, milliseconds)
    if answer == z3.sat:
        return Obligation(name, action, REFUTED, milliseconds, told(solver.model()))
    return Obligation(name, action, UNKNOWN_ANSWER, milliseconds, solver.reason_unknown())


def told(model: z3.ModelRef) -> str:
    """The integers of a counterexample, in one line."""
    integers = sorted((str(one), str(model[one])) for one in model.decls() if one.arity() == 0 and "!" not in str(one))
    return ", ".join(f"{name} = {number}" for name, number in integers)


def all_invariants(logic: Symbolic, transition: Transition, facts: Facts) -> list[Term]:
    """Every invariant, of these facts."""
    return [one.says(logic, transition, facts) for one in INVARIANTS]


def obligations() -> Iterable[Obligation]:
    """Every proof: each invariant at the beginning and after each action, each step claim, and what follows from the invariants."""
    logic = Symbolic()
    transition, facts = Transition(logic), any_facts()
    before = all_invariants(logic, transition, facts)
    for one in INVARIANTS:
        yield asked(one.name, "initial", z3.Not(one.says(logic, transition, empty_facts())))
        for action, event in ACTIONS.items():
            made = transition.next_facts(facts, event)
            after = one.says(logic, transition, made.after)
            yield asked(one.name, action, *before, transition.is_possible(facts, event), z3.Not(after))
    for claim in STEP_CLAIMS:
        for action in claim.actions:
            event = ACTIONS[action]
            made = transition.next_facts(facts, event)
            says = claim.says(logic, transition, facts, event, made)
            yield asked(claim.name, action, *before, transition.is_possible(facts, event), z3.Not(says))
    yield asked("NoDuplicateInLog", "follows", *before, z3.Not(no_duplicate_in_log(logic, facts)))
    yield asked("SequenceArithmetic", "follows", *sequence_question(transition))


def no_duplicate_in_log(logic: Symbolic, facts: Facts) -> Term:
    """What the window is for, said of the log: two batches of the producer's epoch, as far back as its window reaches, differ."""
    columns = facts.columns
    oldest: Term = facts.end
    for slot in reversed(SLOTS):
        oldest = z3.If(is_used(slot, facts.size), facts.window_base[slot], oldest)

    def differ(one: Term, other: Term) -> Term:
        recent = [z3.And(at >= oldest, columns.head(at) >= oldest, at < facts.end, columns.is_mine(at)) for at in (one, other)]
        alike = z3.And(columns.first(one) == columns.first(other), columns.last(one) == columns.last(other))
        return z3.Implies(z3.And(*recent, columns.head(one) != columns.head(other)), z3.Not(alike))

    return z3.Implies(is_known(facts), logic.every_pair(differ))


def sequence_question(transition: Transition) -> list[Term]:
    """Is there a sequence and a number of steps where the arithmetic is not that of integers modulo 2^31?"""
    sequence, steps = z3.Ints("sequence steps")
    size = transition.sequence_max + 1
    in_range = z3.And(sequence >= 0, sequence < size, steps >= 0, steps < size)
    return [in_range, transition.sequence_after(sequence, steps) != (sequence + steps) % size]


# What shows that the proofs mean something


def small(facts: Facts, event: Happening | None = None) -> Term:
    """The whole log, and what is added to it, lies within the bound: then nothing is left open by writing quantifiers out."""
    count = event.count if isinstance(event, ProduceMine | ProduceOther) else 0
    return z3.And(facts.end >= 0, facts.end + count + 1 <= BOUND, facts.since >= 0, facts.born >= 0)


def mutants() -> Iterable[Obligation]:
    """For each part that an invariant or a claim cannot do without: the counterexample when it is taken out. REFUTED is what is wanted."""
    for one in INVARIANTS:
        for part in one.mutants:
            yield refuted_without(one.name, part, afterwards(one))
    for claim in STEP_CLAIMS:
        for part in claim.mutants:
            yield refuted_without(claim.name, part, claim.says, claim.actions)
    broken = Transition(Symbolic(), ["sequences wrap"])
    yield asked("SequenceArithmetic", "without: sequences wrap", *sequence_question(broken))


def afterwards(one: Invariant) -> Claim:
    """The invariant as a claim about what a step makes."""

    def says(logic: Symbolic, transition: Transition, _facts: Facts, _event: Happening, made: Made) -> Term:
        return one.says(logic, transition, made.after)

    return says


def refuted_without(name: str, part: str, says: Claim, actions: Iterable[str] = tuple(ACTIONS)) -> Obligation:
    """The first counterexample, over all actions, to a claim in a transition without one of its parts.

    It counts only if the whole transition has none in the same small world: then it is the missing part that it shows.
    """
    logic = Symbolic(BOUND)
    whole, broken = Transition(logic, (), SMALL_SEQUENCE_MAX), Transition(logic, [part], SMALL_SEQUENCE_MAX)
    facts, spent, title = any_facts(), 0.0, f"without: {part}"
    before = all_invariants(logic, whole, facts)

    def counterexample(transition: Transition, action: str) -> Obligation:
        event = ACTIONS[action]
        made = transition.next_facts(facts, event)
        claim = says(logic, whole, facts, event, made)
        possible = transition.is_possible(facts, event)
        return asked(name, title, *before, small(facts, event), possible, z3.Not(claim))

    for action in actions:
        found = counterexample(broken, action)
        spent += found.milliseconds
        if not found.is_proved:
            control = counterexample(whole, action)
            answer = found.answer if control.is_proved else UNKNOWN_ANSWER
            return Obligation(name, title, answer, spent + control.milliseconds, f"{action}: {found.model}")
    return Obligation(name, title, PROVED, spent)


def witnesses() -> Iterable[Obligation]:
    """For each invariant, claim and action a state where it says or does something. REFUTED (of "there is none") is what is wanted."""
    logic = Symbolic(BOUND)
    transition, facts = Transition(logic, (), SMALL_SEQUENCE_MAX), any_facts()
    before = all_invariants(logic, transition, facts)
    for one in INVARIANTS:
        yield asked(one.name, "witness", *before, small(facts), one.premise(facts))
    for claim in STEP_CLAIMS:
        found = Obligation(claim.name, "witness", PROVED, 0)
        for action in claim.actions:
            event = ACTIONS[action]
            made = transition.next_facts(facts, event)
            possible = transition.is_possible(facts, event)
            found = asked(claim.name, "witness", *before, small(facts, event), possible, claim.premise(facts, event, made))
            if not found.is_proved:
                break
        yield found
    for action, event in ACTIONS.items():
        if isinstance(event, Other):
            continue
        made = transition.next_facts(facts, event)
        changed = z3.Not(same_facts(logic, facts, made.after))
        yield asked(action, "witness", *before, small(facts, event), transition.is_possible(facts, event), changed)


# Z3 and Python must read the transition alike


def constant(facts: Facts, offsets: Sequence[int]) -> Facts:
    """Plain facts as Z3 terms: integers as literals, columns as a case for each offset."""

    def column(name: str) -> At:
        at_python = getattr(facts.columns, name)
        cases = [(offset, at_python(offset)) for offset in offsets]
        sort = z3.BoolVal if name == "is_mine" else z3.IntVal

        def at(offset: Term) -> Term:
            term: Term = sort(False if name == "is_mine" else -1)
            for known, said in cases:
                term = z3.If(offset == known, sort(said), term)
            return term

        return at

    def integers(numbers: tuple[Term, ...]) -> tuple[Term, ...]:
        return tuple(z3.IntVal(number) for number in numbers)

    return Facts(
        z3.IntVal(facts.start),
        z3.IntVal(facts.high_watermark),
        z3.IntVal(facts.end),
        z3.IntVal(facts.my_epoch),
        z3.IntVal(facts.size),
        integers(facts.window_first),
        integers(facts.window_last),
        integers(facts.window_base),
        Columns(*(column(name) for name in COLUMN_NAMES)),
        z3.IntVal(facts.since),
        z3.IntVal(facts.born),
    )


def constant_event(event: Happening) -> Happening:
    """A plain event as one of Z3 terms."""
    match event:
        case ProduceMine(is_sound, count, epoch, first):
            return ProduceMine(z3.BoolVal(bool(is_sound)), z3.IntVal(count), z3.IntVal(epoch), z3.IntVal(first))
        case ProduceOther(count):
            return ProduceOther(z3.IntVal(count))
        case Raise(to):
            return Raise(z3.IntVal(to))
        case Delete(offset):
            return Delete(z3.IntVal(offset))
        case LetGo(kept):
            return LetGo(z3.IntVal(kept))
        case Forget(is_mine):
            return Forget(z3.BoolVal(bool(is_mine)))
        case Other():
            return event


def z3_agrees_on(step: Step) -> bool:
    """Does Z3, by its own evaluation, make of this step's facts what the model made of them, and nothing else?"""
    me = step.event.batch.producer_id if isinstance(step.event, Produce) and step.event.batch.producer_id >= 0 else NOBODY
    before, after = facts_of(step.before.partition, me), facts_of(step.after.partition, me)
    happening = happening_of(step, me)
    if isinstance(happening, ProduceMine) and not happening.is_sound:
        return True  # a faulty batch need not be a possible event
    log = step.after.partition.log
    live = range(log.batches[log.first_batch].base_offset if log.first_batch < log.end_batch else log.end, log.end + 1)
    offsets = range(max(before.end, after.end) + 1)
    transition = Transition(Symbolic())
    facts, event = constant(before, offsets), constant_event(happening)
    made = transition.next_facts(facts, event)
    same: list[Term] = [transition.is_possible(facts, event)]
    if isinstance(step.event, Produce) and not isinstance(happening, Other):
        verdict, answer = verdict_of(step.outcome)
        same += [made.verdict == verdict, made.answer == answer]
    same += [made.after.start == after.start, made.after.high_watermark == after.high_watermark]
    same += [made.after.end == after.end, made.after.my_epoch == after.my_epoch, made.after.size == after.size]
    for slot in SLOTS:
        if is_used(slot, after.size):
            same += [made.after.window_first[slot] == after.window_first[slot]]
            same += [made.after.window_last[slot] == after.window_last[slot]]
            same += [made.after.window_base[slot] == after.window_base[slot]]
    for name in STORED_NAMES:
        same += [getattr(made.after.columns, name)(z3.IntVal(at)) == getattr(after.columns, name)(at) for at in live]
    return bool(z3.is_true(z3.simplify(z3.And(*same))))
