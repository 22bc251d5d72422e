"""Run every engine over the models and say what was found: `main([])` in a few minutes, `main(["--long"])` as long as it takes.

Exit code 1 for any of: a flaw that survives, a property that fails on the clean model or has no witness, a step that the transition relation
does not allow, a proof that is not one (`unknown` included), a mutant without a counterexample, a contract that differs from the golden list,
an action, guard or error code reached less often than its floor.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from multiprocessing.pool import AsyncResult, Pool
from time import perf_counter
from typing import Any

from fiducial.models import idempotence, log, partition
from fiducial.models.checkers import contracts, group_proofs, group_relation, prove
from fiducial.models.checkers.company_universe import (
    MESSAGES,
    PROCESSES,
    CompanyUniverse,
    company_universe,
    walked_company_universes,
)
from fiducial.models.checkers.contracts import Contracts
from fiducial.models.checkers.explore import Explored, explore
from fiducial.models.checkers.group_universe import (
    GroupUniverse,
    dynamic_universe,
    ending_universe,
    static_universe,
    walked_group_universes,
)
from fiducial.models.checkers.histories import Told, tell
from fiducial.models.checkers.judge import Relation
from fiducial.models.checkers.prove import Obligation
from fiducial.models.checkers.relation import holds_on
from fiducial.models.checkers.report import Screen
from fiducial.models.checkers.threads_universe import (
    ThreadsUniverse,
    commit_universe,
    crowded_universe,
    deletion_universe,
    fetch,
    following_universe,
    order_universe,
    retention_universe,
    room_universe,
    sharing_universe,
    sleeping_universe,
    unpacking_universe,
    waiting_universe,
)
from fiducial.models.checkers.universe import (
    Universe,
    epochs_universe,
    idempotence_universe,
    log_universe,
    walked_universes,
    window_universe,
)
from fiducial.models.checkers.walk import Choice, Walked, walk
from fiducial.models.flaws import FLAWS, switched_on
from fiducial.models.group_company import COMPANY_PROPERTIES
from fiducial.models.group_properties import GROUP_PROPERTIES
from fiducial.models.properties import PROPERTIES, Property
from fiducial.models.rules import Ladder
from fiducial.models.thread_properties import THREAD_PROPERTIES
from fiducial.models.threads import Produce
from fiducial.models.values import value

#: The properties of every protocol. What members believe has the names of what the coordinator answers.
REGISTRIES: tuple[Mapping[str, Property], ...] = (PROPERTIES, GROUP_PROPERTIES, COMPANY_PROPERTIES, THREAD_PROPERTIES)
NAMES = tuple(dict.fromkeys(name for registry in REGISTRIES for name in registry))


def properties_of(universe: Universe) -> Mapping[str, Property]:
    """Those that speak of the steps of this universe."""
    if isinstance(universe, CompanyUniverse):
        return universe.properties
    if isinstance(universe, ThreadsUniverse):
        return THREAD_PROPERTIES
    return GROUP_PROPERTIES if isinstance(universe, GroupUniverse) else PROPERTIES


def relation_of(universe: Universe) -> Relation | None:
    """The transition written once more. What members make of answers is written once: there the coordinator is not watched but used. So are threads."""
    if isinstance(universe, CompanyUniverse | ThreadsUniverse):
        return None
    return group_relation.holds_on if isinstance(universe, GroupUniverse) else holds_on


@value
class Effort:
    """How much to do."""

    searched: tuple[Universe, ...]
    searched_for_flaws: tuple[Universe, ...]
    states_max: int
    flaw_states_max: int
    walk_steps: int
    seeds: int
    flaw_walk_steps: int
    histories: int
    flaw_histories: int  # 0: flaws are not looked for by histories
    z3_samples: int
    floor: int  # how often each action, guard and error code must be reached


def everyday() -> Effort:
    """A few minutes on one core."""
    return Effort(
        searched=(
            log_universe(4, 1),
            idempotence_universe(3, 0),
            idempotence_universe(2, 2),
            window_universe(8),
            epochs_universe(4, 2),
            dynamic_universe(3, 2, 20),
            static_universe(2, 2, 30),
            ending_universe(2, 1, 30),
            company_universe("oo", 0, 2),
            company_universe("oo", 0, 1, waits=True),
            company_universe("oo", 1, 1, failing=(MESSAGES,)),
            company_universe("oo", 1, 1, failing=(PROCESSES,)),
            company_universe("ss", 1, 1),
            waiting_universe(),
            crowded_universe(2),
            sharing_universe(),
            sleeping_universe(1),
            commit_universe(2),
            commit_universe(1, flushers=2),
            deletion_universe(1),
            deletion_universe(1, commits=True, may_fail=True, may_leave=True),
            unpacking_universe(may_leave=True),
            retention_universe(2),
            order_universe(commits=True),
            following_universe((fetch((0, 0)),)),
            room_universe(3),
        ),
        searched_for_flaws=(
            log_universe(3, 1),
            idempotence_universe(3, 0),
            window_universe(6),
            epochs_universe(3, 2),
            dynamic_universe(2, 2, 30),
            static_universe(2, 2, 10),
            ending_universe(2, 1, 30),
            company_universe("oo", 0, 2),
            company_universe("oo", 1, 1, failing=(PROCESSES,)),
            *small_threads_universes(),
        ),
        states_max=200_000,
        flaw_states_max=30_000,
        walk_steps=150_000,
        seeds=2,
        flaw_walk_steps=60_000,
        histories=300,
        flaw_histories=0,
        z3_samples=200,
        floor=100,
    )


def long() -> Effort:
    """An hour or so."""
    return Effort(
        searched=(
            log_universe(5, 2),
            idempotence_universe(3, 2),
            window_universe(12),
            epochs_universe(5, 3),
            dynamic_universe(3, 2, 40),
            static_universe(3, 2, 20),
            ending_universe(2, 2, 40),
            company_universe("oo", 1, 1),
            company_universe("os", 1, 1),
            company_universe("ss", 2, 1),
            waiting_universe(sleeps=True),
            crowded_universe(2, may_leave=True),
            sharing_universe(threads=4),
            sleeping_universe(3, may_leave=True),
            commit_universe(1, sleeps=True),
            commit_universe(2, may_leave=True),
            deletion_universe(2, commits=True, may_fail=True, sleeps=True),
            unpacking_universe(commits=True, may_fail=True, sleeps=True),
            retention_universe(3),
            order_universe(commits=True, sleeps=True),
            order_universe(commits=True, may_leave=True),
            following_universe((fetch((0, 0)), Produce(0))),
            room_universe(3, (Produce(0),), may_leave=True),
        ),
        searched_for_flaws=(
            log_universe(4, 1),
            idempotence_universe(3, 1),
            window_universe(8),
            epochs_universe(4, 3),
            dynamic_universe(3, 2, 20),
            static_universe(2, 2, 30),
            ending_universe(2, 2, 30),
            company_universe("oo", 0, 2),
            company_universe("oo", 1, 1, failing=(PROCESSES,)),
            company_universe("ss", 1, 1),
            *small_threads_universes(),
        ),
        states_max=1_000_000,
        flaw_states_max=200_000,
        walk_steps=2_000_000,
        seeds=5,
        flaw_walk_steps=1_000_000,
        histories=10_000,
        flaw_histories=2_000,
        z3_samples=5_000,
        floor=1_000,
    )


# Jobs: what runs in a process of its own


@value
class Refutation:
    """What one engine made of one flaw."""

    flaw: str
    property: str
    engine: str
    universe: str
    depth: int | None  # None: not refuted
    states: int
    seconds: float
    story: tuple[str, ...] = ()


@value
class Proofs:
    """What Z3 said."""

    obligations: tuple[Obligation, ...]
    mutants: tuple[Obligation, ...]
    witnesses: tuple[Obligation, ...]
    seconds: float


@value
class Agreement:
    """On how many steps Z3 and Python read the transition alike."""

    steps: int
    disagreements: tuple[str, ...]
    seconds: float


def search(universe: Universe, states_max: int) -> Explored:
    """The clean model, every property, the relation on every step."""
    properties = tuple(properties_of(universe).values())
    return explore(universe, properties, states_max=states_max, relation=relation_of(universe))


def stroll(universe: Universe, choice: Choice, seed: int, steps_max: int) -> Walked:
    """The clean model, every property, the relation on every step."""
    properties = tuple(properties_of(universe).values())
    return walk(universe, properties, seed=seed, steps_max=steps_max, choice=choice, relation=relation_of(universe))


def narrate(universe: Universe, histories: int) -> Told:
    """The clean model, every property, the relation on every step."""
    return tell(universe, tuple(properties_of(universe).values()), histories=histories, relation=relation_of(universe))


def refute(flaw_id: str, universes: Sequence[Universe], effort: Effort) -> list[Refutation]:
    """Look with every engine for a step that breaks the property the flaw names. Exhaustive search stops at the first universe that has one.

    The flaw comes by its id: this runs in another process, and functions of a registry do not travel.
    """
    one = FLAWS[flaw_id]
    found: list[Refutation] = []
    with switched_on(one):
        for universe in universes:
            if one.violates not in properties_of(universe):
                continue
            seen = explore(universe, (properties_of(universe)[one.violates],), states_max=effort.flaw_states_max)
            story = seen.violation.story if seen.violation else ()
            depth = len(story) if seen.violation else None
            row = Refutation(one.id, one.violates, "exhaustive", universe.name, depth, seen.states, seen.seconds, story)
            if depth is not None:
                found.append(row)
                break
        else:
            found.extend([row] if universes else [])
        able = [walked for walked in every_walked() if one.violates in properties_of(walked)]
        if not able:  # nobody walks where this is asked: all of it can be searched
            return found
        universe = able[0]
        wanted = (properties_of(universe)[one.violates],)
        for choice in Choice:
            walked = walk(universe, wanted, seed=1, steps_max=effort.flaw_walk_steps, choice=choice)
            depth = len(walked.violation.story) if walked.violation else None
            found.append(
                Refutation(one.id, one.violates, choice.value, universe.name, depth, walked.steps, walked.seconds)
            )
        if effort.flaw_histories:
            told = tell(universe, wanted, histories=effort.flaw_histories)
            depth = len(told.violation.story) if told.violation else None
            found.append(Refutation(one.id, one.violates, "histories", universe.name, depth, told.steps, told.seconds))
    return found


def small_threads_universes() -> tuple[ThreadsUniverse, ...]:
    """Threads with so little to do that a flaw is found in a moment."""
    return (
        waiting_universe(),
        deletion_universe(1),
        deletion_universe(1, commits=True),
        unpacking_universe(),
        order_universe(),
        commit_universe(1),
        sleeping_universe(1),
        following_universe(),
        retention_universe(2),
        room_universe(2, may_leave=True),
    )


def every_walked() -> tuple[Universe, ...]:
    """What walks and histories go through."""
    return (*walked_universes(), *walked_group_universes(), *walked_company_universes())


def proofs() -> Proofs:
    """Every obligation, mutant and witness."""
    began = perf_counter()
    obligations = *prove.obligations(), *group_proofs.obligations()
    mutants, witnesses = (*prove.mutants(), *group_proofs.mutants()), (*prove.witnesses(), *group_proofs.witnesses())
    return Proofs(obligations, mutants, witnesses, perf_counter() - began)


def agreement(samples: int) -> Agreement:
    """Walk, and ask Z3 itself about steps taken here and there."""
    began, disagreements, asked = perf_counter(), list[str](), 0
    for universe in walked_universes():
        seen = 0

        def sampled(step: Any) -> bool:
            nonlocal seen, asked
            seen += 1
            if seen % 7 == 0:
                asked += 1
                if not prove.z3_agrees_on(step):
                    disagreements.append(f"{step.event} → {step.outcome}")
            return True

        walk(universe, (), seed=7, steps_max=samples * 7 // 2, relation=sampled)
    return Agreement(asked, tuple(disagreements), perf_counter() - began)


# The run


class Run:
    """Jobs in processes of their own, what they found, and what is wrong with it."""

    def __init__(self, effort: Effort, pool: Pool, screen: Screen) -> None:
        self.effort = effort
        self.pool = pool
        self.screen = screen
        self.complaints: list[str] = []
        self.began = perf_counter()

    def complain(self, about: str) -> None:
        """Something that makes the run fail."""
        self.complaints.append(about)

    def results(self, what: str, jobs: Iterable[tuple[Callable[..., Any], tuple[Any, ...]]]) -> Iterator[Any]:
        """The results of the jobs, in their order, with progress while they are awaited."""
        pending: list[AsyncResult[Any]] = [self.pool.apply_async(job, arguments) for job, arguments in jobs]
        for job in pending:
            while True:
                done = sum(one.ready() for one in pending)
                self.screen.progress(f"{what}: {done} of {len(pending)} done, {perf_counter() - self.began:.0f} s")
                job.wait(0.2 if self.screen.is_live else None)
                if job.ready():
                    break
            yield job.get()

    def prove(self) -> list[tuple[str, str, str]]:
        """Contracts of the kernels, and proofs by induction."""
        jobs: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
            (contracts.check, ()),
            (proofs, ()),
            (agreement, (self.effort.z3_samples,)),
        ]
        checked, proved, agreed = self.results("contracts and proofs", jobs)
        self.show_contracts(checked)
        self.show_proofs(proved)
        self.screen.say(f"\nZ3 and Python read the transition alike on {agreed.steps:,} steps of walks ({agreed.seconds:.1f} s).")
        for step in agreed.disagreements:
            self.complain(f"Z3 and Python disagree about {step}")
        if not agreed.steps:
            self.complain("Z3 was asked about no step")
        return [
            ("CrossHair", f"{len(checked.confirmed)} contracts confirmed over all paths", f"{checked.seconds:.1f} s"),
            ("Z3", f"{len(proved.obligations)} obligations proved by induction", f"{proved.seconds:.1f} s"),
        ]

    def show_contracts(self, checked: Contracts) -> None:
        """`kernel promise | said`."""
        rows = [(report.function, report.text.split(" (which")[0]) for report in checked.reports]
        self.screen.table("Kernels, by CrossHair", ("function", "said"), rows)
        for complaint in checked.complaints:
            self.complain(f"contracts: {complaint}")

    def show_proofs(self, proved: Proofs) -> None:
        """`invariant × action | ms`, the mutants and the witnesses."""
        kinds = (
            ("Proofs by induction over an unbounded log, and unboundedly many members and generations, by Z3", ("invariant", "action", "answer", "ms"), proved.obligations),
            ("Their mutants: each must be refuted", ("invariant", "mutant", "answer", "ms"), proved.mutants),
            ("Their witnesses: 'none' must be refuted", ("invariant or action", "question", "answer", "ms"), proved.witnesses),
        )
        for title, heads, asked in kinds:
            rows = [(one.name, one.action, one.answer, one.milliseconds) for one in asked]
            self.screen.table(title, heads, rows)
        for one in proved.obligations:
            if not one.is_proved:
                self.complain(f"{one.name} × {one.action}: {one.answer} {one.model}")
        for one in (*proved.mutants, *proved.witnesses):
            if one.answer != prove.REFUTED:
                self.complain(f"{one.name}: no counterexample or witness for '{one.action}' ({one.answer})")

    def search(self) -> tuple[list[tuple[str, str, str]], dict[str, list[str]]]:
        """The clean model, exhausted and walked; and where each property has a witness."""
        effort, walked = self.effort, every_walked()
        searches = [(search, (universe, effort.states_max)) for universe in effort.searched]
        smaller = [(search, (universe, effort.states_max)) for universe in effort.searched_for_flaws]
        strolls = [
            (stroll, (universe, choice, seed, effort.walk_steps))
            for universe in walked
            for choice in Choice
            for seed in range(1, effort.seeds + 1)
        ]
        tales = [(narrate, (universe, effort.histories)) for universe in walked]
        jobs: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [*searches, *smaller, *strolls, *tales]
        every = list(self.results("the clean model", jobs))
        explored = [one for one in every if isinstance(one, Explored)]
        walks = [one for one in every if isinstance(one, Walked)]
        stories = [one for one in every if isinstance(one, Told)]
        main_searches = explored[: len(searches)]
        self.show_searches(main_searches)
        self.show_walks(walks, stories)
        self.show_reached(walks)
        self.show_witnesses(explored, walks)
        where = {name: [one.universe for one in explored[len(searches) :] if name in one.witnessed] for name in NAMES}
        return [
            rate("exhaustive search", sum(one.states for one in main_searches), "states", main_searches),
            rate("exhaustive search", sum(one.steps for one in main_searches), "steps", main_searches),
            rate("walks", sum(one.steps for one in walks), "steps", walks),
            rate("histories", sum(one.steps for one in stories), "steps", stories),
        ], where

    def show_searches(self, explored: Sequence[Explored]) -> None:
        """`universe | claim | states | steps | seconds`."""
        rows = [
            (one.universe, one.claim, one.states, one.steps, one.depth, one.seconds, int(one.states / one.seconds), int(one.steps / one.seconds))
            for one in explored
        ]
        heads = ("universe", "clean model", "states", "steps", "depth", "seconds", "states/s", "steps/s")
        self.screen.table("Exhaustive search", heads, rows)
        for one in explored:
            self.judge(one.universe, one.violation)

    def show_walks(self, walks: Sequence[Walked], stories: Sequence[Told]) -> None:
        """`universe | choice | walks | steps | seconds`."""
        rows: list[tuple[object, ...]] = [
            (one.universe, one.choice.value, one.seed, one.walks, one.steps, one.seconds, int(one.steps / one.seconds))
            for one in walks
        ]
        rows += [
            (one.universe, "Hypothesis", 1, one.histories, one.steps, one.seconds, int(one.steps / one.seconds))
            for one in stories
        ]
        heads = ("universe", "engine", "seed", "histories", "steps", "seconds", "steps/s")
        self.screen.table("Walks and histories of the clean model", heads, rows)
        for walked in walks:
            self.judge(walked.universe, walked.violation)
        for told in stories:
            self.judge(told.universe, told.violation)

    def judge(self, universe: str, violation: Any) -> None:
        """The clean model must break nothing."""
        if violation is not None:
            self.complain("\n      ".join((f"the clean model breaks {violation.property} in '{universe}':", *violation.story)))

    def show_reached(self, walks: Sequence[Walked]) -> None:
        """How often each action, guard and error code was reached, with its floor."""
        actions: Counter[str] = Counter()
        outcomes: Counter[tuple[str, str]] = Counter()
        for one in walks:
            actions.update(one.actions)
            outcomes.update(one.outcomes)
        errors: Counter[str] = Counter()
        for (_, error), count in outcomes.items():
            errors[error] += count
        floor = self.effort.floor
        reached = [("action", name, actions[name], floor) for name in sorted(action_names())]
        reached += [
            ("guard", f"{rung.rule} {rung.guard.__name__}", outcomes[rung.rule, rung.error.name], floor)
            for ladder in ladders_of_partitions()
            for rung in ladder.rungs
        ]
        reached += [("error", name, errors[name], floor) for name in sorted(errors_of_partitions())]
        reached += [("outcome", name, outcomes[name, "NONE"], floor) for name in OUTCOMES]
        unique = list(dict.fromkeys(reached))
        self.screen.table("Reached by walks", ("kind", "name", "times", "floor"), unique)
        for kind, name, times, least in unique:
            if times < least:
                self.complain(f"{kind} {name} was reached {times} times, its floor is {least}")

    def show_witnesses(self, explored: Sequence[Explored], walks: Sequence[Walked]) -> None:
        """Where each property says something; one that is asked of the coordinator and of its members has to in both."""
        rows = []
        asked = {one.name: properties_of(one) for one in (*self.effort.searched, *self.effort.searched_for_flaws, *every_walked())}
        witnessed = [(run.universe, run.witnessed) for run in explored] + [(run.universe, run.witnessed) for run in walks]
        for one in (one for registry in REGISTRIES for one in registry.values()):
            seen = sorted({name for name, names in witnessed if one.name in names and asked[name].get(one.name) is one})
            rows.append((one.name, len(seen), "; ".join(seen)))
            if not seen:
                self.complain(f"{one.name} is vacuous: no step made its premise true")
        self.screen.table("Witnesses of the properties", ("property", "universes", "where its premise was true"), rows)

    def refute(self, where: dict[str, list[str]]) -> tuple[str, str, str]:
        """Every flaw, switched on in turn."""
        flaws = [one for one in FLAWS.values() if one.replacement is not None and one.violates in NAMES]
        jobs = []
        for one in flaws:
            able = [universe for universe in self.effort.searched_for_flaws if universe.name in where[one.violates]]
            jobs.append((refute, (one.id, able, self.effort)))
        rows: list[tuple[object, ...]] = []
        for one, found in zip(flaws, self.results("flaws", jobs), strict=True):
            for row in found:
                verdict = "not refuted" if row.depth is None else row.depth
                rows.append((row.flaw, row.property, row.engine, row.universe, verdict, row.states, row.seconds))
            if all(row.depth is None for row in found):
                self.complain(f"flaw {one.id} survives: {one.title} ({one.violates} never fails)")
        heads = ("flaw", "property", "engine", "universe", "depth", "states", "seconds")
        self.screen.table("Flaws, switched on one at a time", heads, rows)
        by_test = [one for one in FLAWS.values() if one.replacement is not None and one.violates not in NAMES]
        self.screen.table("Flaws of whole requests: refuted by tests", ("flaw", "test"), [(one.id, one.violates) for one in by_test])
        apart = [(one.id, one.issue, one.reason_not_applicable) for one in FLAWS.values() if one.reason_not_applicable]
        self.screen.table("Flaws that do not apply yet", ("flaw", "issue", "why"), apart)
        return "flaws", f"{len(flaws)} switched on, {len({row[0] for row in rows if row[4] != 'not refuted'})} refuted", ""


def rate(engine: str, count: int, unit: str, runs: Sequence[Any]) -> tuple[str, str, str]:
    """A line of the summary; per second of one core."""
    seconds = sum(one.seconds for one in runs)
    return engine, f"{count:,} {unit}", f"{count / seconds:,.0f} {unit}/s" if seconds else ""


#: The kinds of answer that are not refusals.
OUTCOMES = ("Appended", "Duplicate", "Read", "Found", "Moved", "EpochEnd", "Done")


def ladders_of_partitions() -> tuple[Ladder, ...]:
    """The ladders that a partition climbs; those of whole requests are the tests' and the referee's."""
    return (
        log.BATCH_CHECK,
        log.SIZE_CHECK,
        idempotence.SEQUENCE_CHECK,
        partition.DELETE_CHECK,
        partition.FETCH_CHECK,
        partition.EPOCH_CHECK,
    )


def errors_of_partitions() -> frozenset[str]:
    """The error codes that those ladders answer."""
    return frozenset(rung.error.name for ladder in ladders_of_partitions() for rung in ladder.rungs)


def action_names() -> frozenset[str]:
    """Every action of the walked universes, at the beginning of a story."""
    return frozenset(name for universe in walked_universes() for name in universe.actions(universe.initial()))


def main(argv: Sequence[str]) -> int:
    """Run everything; 0 when all is as it must be."""
    parser = argparse.ArgumentParser(prog="fiducial verify models", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--long", action="store_true", help="larger bounds, longer walks, and the models compiled: an hour or so")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="processes (default: %(default)s)")
    options = parser.parse_args(argv)
    screen = Screen()
    effort = long() if options.long else everyday()
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        run = Run(effort, pool, screen)
        summary = run.prove()
        lines, where = run.search()
        summary += [*lines, run.refute(where)]
    if options.long:
        from fiducial.models.checkers import compiled  # which runs the engines of this module

        run.complaints += compiled.compare(compiled.FOLDER, screen)
    screen.table("Summary", ("engine", "what", "speed"), summary)
    screen.say()
    for complaint in run.complaints:
        screen.say(screen.bad(f"  ! {complaint}"))
    seconds = perf_counter() - run.began
    if run.complaints:
        screen.say(screen.bad(f"{len(run.complaints)} complaints in {seconds:.0f} s"))
        return 1
    screen.say(screen.good(f"nothing to complain of, in {seconds:.0f} s"))
    return 0


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))
