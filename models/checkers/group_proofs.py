"""Proofs by induction over unboundedly many members and generations: each invariant of a group holds at the beginning, and each step keeps it.

The steps are those of `group_relation`, to which the model is held on every step that an engine takes. For each part of them that can be taken out
some proof must then fail, and each sentence has a witness, a state in which it says something.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import z3

from fiducial.models.checkers.group_relation import (
    COMPLETING,
    NEVER,
    NOTHING,
    PARTS,
    PREPARING,
    STABLE,
    Facts,
    Relation,
)
from fiducial.models.checkers.prove import REFUTED, Obligation, Symbolic, asked
from fiducial.models.checkers.relation import Term
from fiducial.models.values import value


@value
class Invariant:
    """A sentence about every state: what it says, and where it says something."""

    name: str
    sentence: str
    says: Callable[[Facts], Term]
    premise: Callable[[Facts], Term]


GROUP_INVARIANTS: list[Invariant] = []


def invariant(name: str, premise: Callable[[Facts], Term]) -> Callable[[Callable[[Facts], Term]], Callable[[Facts], Term]]:
    """Register the decorated formula; its docstring is the sentence."""

    def register(says: Callable[[Facts], Term]) -> Callable[[Facts], Term]:
        GROUP_INVARIANTS.append(Invariant(name, says.__doc__ or "", says, premise))
        return says

    return register


@invariant("NoDoubleOwnership", lambda facts: z3.And(facts.told_a == facts.told_b - 1, facts.told_a > 3))
def no_two_are_told(facts: Facts) -> Term:
    """Two members are never told in the same generation that they have the same partition."""
    return z3.Or(facts.told_a == NEVER, facts.told_a != facts.told_b)


@invariant("GenerationsInOrder", lambda facts: z3.And(facts.told_a > 0, facts.told_a < facts.saved, facts.saved < facts.generation))
def generations_are_in_order(facts: Facts) -> Term:
    """What was told was written, and what was written has begun; a generation whose assignment is awaited is not written yet."""
    told = z3.And(*(z3.And(one >= NEVER, one <= facts.saved) for one in (facts.told_a, facts.told_b)))
    begun = z3.And(facts.saved >= 0, facts.saved <= facts.generation)
    return z3.And(told, begun, z3.Implies(facts.state == COMPLETING, facts.saved < facts.generation))


@invariant("SavedIsLive", lambda facts: z3.And(facts.state == STABLE, facts.has_a))
def a_stable_group_is_written(facts: Facts) -> Term:
    """The record of a stable group has its generation and its assignment."""
    same = [facts.saved == facts.generation, facts.saved_a == facts.has_a, facts.saved_b == facts.has_b]
    return z3.Implies(facts.state == STABLE, z3.And(*same))


@invariant("SavedIsDisjoint", lambda facts: facts.saved_a)
def no_record_assigns_twice(facts: Facts) -> Term:
    """No record assigns a partition to two; and who was told a partition in the generation of the record has it there."""
    told = [z3.Implies(one == facts.saved, has) for one, has in ((facts.told_a, facts.saved_a), (facts.told_b, facts.saved_b))]
    return z3.And(z3.Not(z3.And(facts.saved_a, facts.saved_b)), *told)


@invariant("TopIsReached", lambda facts: z3.And(facts.top == facts.generation, facts.top > 2))
def nobody_is_told_the_future(facts: Facts) -> Term:
    """Nobody was told a generation that the group has not reached."""
    return facts.top <= facts.generation


def any_facts(tag: str) -> Facts:
    """A group of which nothing is known."""
    truths = ("has_a", "has_b", "saved_a", "saved_b")
    return Facts(*(z3.Bool(f"{name}{tag}") if name in truths else z3.Int(f"{name}{tag}") for name in Facts.__match_args__))


BEFORE, AFTER = any_facts(" before"), any_facts(" after")
COMMITTED = z3.Int("generation of a commit")


def constant(facts: Facts) -> Facts:
    """Plain facts as Z3 terms."""
    values = (getattr(facts, name) for name in Facts.__match_args__)
    return Facts(*(z3.BoolVal(one) if isinstance(one, bool) else z3.IntVal(one) for one in values))


def is_fenced(before: Facts) -> Term:
    """A commit that is accepted names the last generation that anybody was told, or a later one, and no assignment is awaited."""
    return z3.And(before.top <= COMMITTED, before.state != COMPLETING)


def obligations(without: Iterable[str] = ()) -> Iterable[Obligation]:
    """Every proof: each invariant at the beginning and after each step; generations rise; and commits are fenced."""
    relation = Relation(Symbolic(), tuple(without))
    before = [one.says(BEFORE) for one in GROUP_INVARIANTS]
    for one in GROUP_INVARIANTS:
        yield asked(one.name, "initial", z3.Not(one.says(constant(NOTHING))))
        for name, says in relation.steps.items():
            yield asked(one.name, name, *before, says(BEFORE, AFTER), z3.Not(one.says(AFTER)))
    for name, says in relation.steps.items():
        if name != "delete":
            least = BEFORE.saved if name == "begin anew" else BEFORE.generation
            yield asked("GenerationMonotone", name, *before, says(BEFORE, AFTER), z3.Not(AFTER.generation >= least))
    yield asked("StaleCommitFenced", "commit", *before, relation.takes_commit(BEFORE, COMMITTED), z3.Not(is_fenced(BEFORE)))


#: The properties of groups that are proved, by the name that they have elsewhere.
PROVED_OF_GROUPS = frozenset({"NoDoubleOwnership", "GenerationMonotone", "StaleCommitFenced"})


def mutants() -> Iterable[Obligation]:
    """For each part of the steps that can be taken out: a proof that then fails. REFUTED is what is wanted."""
    for part in sorted(PARTS):
        found = [one for one in obligations([part]) if one.answer == REFUTED]
        spent = sum(one.milliseconds for one in found)
        name = found[0].name if found else "none"
        yield Obligation(name, f"without: {part}", found[0].answer if found else "none fails", spent)


def witnesses() -> Iterable[Obligation]:
    """For each sentence and each step a state where it says or does something. REFUTED (of "there is none") is what is wanted."""
    relation = Relation(Symbolic())
    before = [one.says(BEFORE) for one in GROUP_INVARIANTS]
    for one in GROUP_INVARIANTS:
        yield asked(one.name, "witness", *before, one.premise(BEFORE))
    for name, says in relation.steps.items():
        moves = z3.BoolVal(True) if name == "anything else" else z3.Or(AFTER.generation != BEFORE.generation, AFTER.told_a != BEFORE.told_a)
        yield asked(name, "witness", *before, says(BEFORE, AFTER), BEFORE.generation > 3, moves)
    yield asked("StaleCommitFenced", "witness", *before, relation.takes_commit(BEFORE, COMMITTED), BEFORE.state == PREPARING, BEFORE.top > 3)
