"""The transition of one group, written once more: of any two slots and any one partition, in integers and truths, as Z3 can reason about it.

What is proved of any two is proved of all, however many members and generations there are. `allows` is a formula when it is given Z3 terms and a
truth when it is given Python's: an `Algebra` says what "and", "or" and "not" are. It says less than the model: which steps there may be, not which
requests lead to them. What it takes from the clients is one thing: a leader assigns no partition to two members of one generation.

`holds_on` ties it to the model: it maps the world before and after a step to such facts, for every two slots and every partition concerned.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from itertools import combinations
from typing import Any

from fiducial.models.checkers.relation import PLAIN, Algebra, Term
from fiducial.models.errors import Error
from fiducial.models.group_properties import GROUP, Restart, Step, World, accepted_commits, slot, successes
from fiducial.models.groups import GroupMetadata, State
from fiducial.models.messages import DeleteGroupsResponse, SyncGroupResponse
from fiducial.models.values import value

EMPTY_STATE, PREPARING, COMPLETING, STABLE = range(4)
#: No group is as an empty one: nothing was told in it.
NUMBER_OF = {State.DEAD: EMPTY_STATE, State.EMPTY: EMPTY_STATE, State.PREPARING: PREPARING, State.COMPLETING: COMPLETING, State.STABLE: STABLE}
NEVER = -1


@value
class Facts:
    """A group, as two slots a and b see one partition. `told` and `top` are the observer's, `saved` is what a restart finds."""

    state: Term
    generation: Term
    has_a: Term  # is the partition in what is assigned to a, by the last assignment that there is?
    has_b: Term
    told_a: Term  # the last generation in which a was told that it has the partition
    told_b: Term
    saved: Term  # the generation of the record
    saved_a: Term
    saved_b: Term
    top: Term  # the last generation that anybody was told


NOTHING = Facts(EMPTY_STATE, 0, False, False, NEVER, NEVER, 0, False, False, 0)

Says = Callable[[Facts, Facts], Term]


class Relation:
    """The steps that there may be. `without` names the parts that are taken out, to see which proof needs them."""

    def __init__(self, algebra: Algebra, without: Collection[str] = ()) -> None:
        self.algebra = algebra
        self.without = frozenset(without)
        self.steps: dict[str, Says] = {
            "assign": self.assigns,
            "tell": self.tells,
            "rebalance": self.rebalances,
            "begin anew": self.begins_anew,
            "delete": self.is_deleted,
            "anything else": self.same,
        }

    def part(self, name: str, fact: Term) -> Term:
        """A part of the transition, unless it is taken out."""
        assert name in PARTS
        return True if name in self.without else fact

    def implies(self, premise: Term, fact: Term) -> Term:
        """If."""
        return self.algebra.any_of(self.algebra.no(premise), fact)

    def told_stay(self, before: Facts, after: Facts) -> Term:
        """Nobody is told anything of the partition."""
        return self.algebra.all_of(after.told_a == before.told_a, after.told_b == before.told_b)

    def saved_stays(self, before: Facts, after: Facts) -> Term:
        """Nothing is written."""
        return self.algebra.all_of(after.saved == before.saved, after.saved_a == before.saved_a, after.saved_b == before.saved_b)

    def same(self, before: Facts, after: Facts) -> Term:
        """Nothing of this changes."""
        stays = [after.state == before.state, after.generation == before.generation, after.top == before.top]
        stays += [after.has_a == before.has_a, after.has_b == before.has_b, self.saved_stays(before, after), self.told_stay(before, after)]
        return self.algebra.all_of(*stays)

    def told_now(self, generation: Term, has: Term, before: Term, after: Term) -> Term:
        """A slot is told its assignment, or is not asked for."""
        is_told = self.algebra.all_of(has, after == generation)
        return self.algebra.any_of(after == before, is_told)

    def assigns(self, before: Facts, after: Facts) -> Term:
        """The leader syncs: its assignment is written, and told to those who wait."""
        both = self.algebra.all_of(after.has_a, after.has_b)
        return self.algebra.all_of(
            self.part("the leader assigns once", before.state == COMPLETING),
            after.state == STABLE,
            after.generation == before.generation,
            after.top == before.top,
            self.part("no partition is assigned to two", self.algebra.no(both)),
            self.part("an assignment is written", self.algebra.all_of(after.saved == after.generation, after.saved_a == after.has_a, after.saved_b == after.has_b)),
            self.told_now(after.generation, after.has_a, before.told_a, after.told_a),
            self.told_now(after.generation, after.has_b, before.told_b, after.told_b),
        )

    def tells(self, before: Facts, after: Facts) -> Term:
        """In a stable group a member is told its assignment again."""
        return self.algebra.all_of(
            self.part("assignments are told in a stable group", before.state == STABLE),
            after.state == before.state,
            after.generation == before.generation,
            after.top == before.top,
            after.has_a == before.has_a,
            after.has_b == before.has_b,
            self.saved_stays(before, after),
            self.told_now(after.generation, after.has_a, before.told_a, after.told_a),
            self.told_now(after.generation, after.has_b, before.told_b, after.told_b),
        )

    def rebalances(self, before: Facts, after: Facts) -> Term:
        """Members come and go, a join phase begins or ends or both; with nobody left the generation is written down."""
        any_of, all_of = self.algebra.any_of, self.algebra.all_of
        ends = all_of(
            self.part("the generation rises", after.generation == before.generation + 1), any_of(after.state == COMPLETING, after.state == EMPTY_STATE)
        )
        goes_on = all_of(after.generation == before.generation, any_of(after.state == PREPARING, all_of(after.state == before.state, after.state != STABLE)))
        empties = all_of(after.saved == after.generation, self.algebra.no(after.saved_a), self.algebra.no(after.saved_b))
        is_left = all_of(after.state == EMPTY_STATE, after.generation != before.generation)
        return all_of(
            any_of(ends, goes_on),
            self.algebra.choose(is_left, empties, self.saved_stays(before, after)),
            self.implies(after.has_a, before.has_a),
            self.implies(after.has_b, before.has_b),
            any_of(after.top == before.top, after.top == after.generation),
            self.told_stay(before, after),
        )

    def begins_anew(self, before: Facts, after: Facts) -> Term:
        """A restart: the group is as its record says, and what nobody was assigned anything in is forgotten."""
        return self.algebra.all_of(
            self.algebra.any_of(after.state == STABLE, self.algebra.all_of(after.state == EMPTY_STATE, self.algebra.no(after.has_a), self.algebra.no(after.has_b))),
            self.part("a restart finds the generation", after.generation == before.saved),
            self.part("a restart finds the assignment", self.algebra.all_of(after.has_a == before.saved_a, after.has_b == before.saved_b)),
            self.saved_stays(before, after),
            self.told_stay(before, after),
            after.top <= before.top,
            after.top <= before.saved,
        )

    def is_deleted(self, _before: Facts, after: Facts) -> Term:
        """There is nothing."""
        nothing = [after.state == EMPTY_STATE, after.generation == 0, after.told_a == NEVER, after.told_b == NEVER, after.saved == 0, after.top == 0]
        return self.algebra.all_of(*nothing, *(self.algebra.no(has) for has in (after.has_a, after.has_b, after.saved_a, after.saved_b)))

    def takes_commit(self, before: Facts, generation: Term) -> Term:
        """A commit that names a generation is accepted of the present one, and not before the sync."""
        return self.algebra.all_of(
            self.part("a commit is of the generation", generation == before.generation),
            self.algebra.any_of(before.state == PREPARING, before.state == STABLE),
        )


#: What can be taken out.
PARTS = frozenset(
    {
        "the leader assigns once",
        "no partition is assigned to two",
        "an assignment is written",
        "assignments are told in a stable group",
        "the generation rises",
        "a restart finds the generation",
        "a restart finds the assignment",
        "a commit is of the generation",
    }
)

# From the model to facts


def facts_of(world: World, a: str, b: str, partition: int) -> Facts:
    """The group as two slots see a partition."""
    group, saved, seen = world.group, world.groups.saved.get(GROUP), world.seen
    live = {slot(one.member_id, one.instance_id): one.assignment for one in group.members.values()}
    kept = held(saved)
    told = {mine: max((at for (at, of), owner in seen.owners.items() if of == partition and owner == mine), default=NEVER) for mine in (a, b)}
    return Facts(
        NUMBER_OF[group.state],
        group.generation,
        partition in live.get(a, b""),
        partition in live.get(b, b""),
        told[a],
        told[b],
        0 if saved is None else saved.generation,
        partition in kept.get(a, b""),
        partition in kept.get(b, b""),
        max(seen.rounds, default=0),
    )


def held(saved: GroupMetadata | None) -> dict[str, bytes]:
    """What a record assigns, slot by slot."""
    return {} if saved is None else {slot(one.member_id, one.instance_id): one.assignment for one in saved.members}


def steps_of(step: Step) -> tuple[str, ...]:
    """Which of the relation's steps this one may be."""
    if isinstance(step.event, Restart):
        return ("begin anew",)
    if any(isinstance(body, DeleteGroupsResponse) and body.results[0].error_code == Error.NONE for _, body in step.outcome.replies):
        return ("delete",)
    if successes(step, SyncGroupResponse):
        return ("tell",) if step.before.group.state is State.STABLE else ("assign",)
    return ("rebalance", "anything else")


RELATION = Relation(PLAIN)


def holds_on(step: Any) -> bool:
    """Is the step one of the relation's, for every two slots and each partition? And every commit that was accepted one that it takes?"""
    for asked in accepted_commits(step):
        before = facts_of(step.before, "", "", 0)
        if asked.generation >= 0 and not RELATION.takes_commit(before, asked.generation):
            return False
    if step.after is step.before:
        return True
    slots = dict.fromkeys(slot(*who) for who in step.after.given) | dict.fromkeys(("", "nobody"))
    names = steps_of(step)
    for a, b in combinations(slots, 2):
        for partition in (0, 1):
            before, after = facts_of(step.before, a, b, partition), facts_of(step.after, a, b, partition)
            if not any(RELATION.steps[name](before, after) for name in names):
                return False
    return True
