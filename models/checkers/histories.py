"""Histories by Hypothesis, over the same universes: fewer than walks, but what breaks a property is shrunk to the story that matters."""

from __future__ import annotations

from collections.abc import Sequence
from time import process_time
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from fiducial.models.checkers.explore import Violation
from fiducial.models.checkers.judge import Judge, Relation
from fiducial.models.checkers.universe import Universe
from fiducial.models.properties import Property
from fiducial.models.values import value


class Broken(AssertionError):
    """A history broke a property."""

    def __init__(self, violation: Violation) -> None:
        super().__init__("\n".join((f"{violation.property} does not hold:", *violation.story)))
        self.violation = violation


@value
class Told:
    """What came of the histories."""

    universe: str
    histories: int
    steps: int
    seconds: float  # of the processor
    violation: Violation | None


def machine_of(
    universe: Universe, properties: Sequence[Property], relation: Relation | None, counts: list[int]
) -> type[RuleBasedStateMachine]:
    """A state machine with one rule: some action of the state, some instance of it. `counts` becomes [histories, steps]."""
    judge = Judge(properties, relation)

    class History(RuleBasedStateMachine):
        """One history."""

        def __init__(self) -> None:
            super().__init__()
            counts[0] += 1
            self.state = universe.initial()
            self.story: list[str] = []

        @rule(data=st.data())
        def act(self, data: Any) -> None:
            """Let something happen, if anything may."""
            menu = universe.actions(self.state)
            if not menu:
                return
            event = data.draw(st.sampled_from(menu[data.draw(st.sampled_from(sorted(menu)))]))
            taken = universe.step(self.state, event)
            counts[1] += 1
            self.story.append(universe.told(event, taken))
            if taken.step is not None:
                broken = judge.broken_by(taken.step)
                if broken is not None:
                    raise Broken(Violation(broken, tuple(self.story)))
            self.state = taken.after

    return History


def tell(
    universe: Universe,
    properties: Sequence[Property],
    *,
    histories: int,
    length: int = 30,
    random_seed: int = 1,
    relation: Relation | None = None,
) -> Told:
    """Run `histories` histories of up to `length` steps; what breaks is shrunk before it is told."""
    began, counts = process_time(), [0, 0]
    machine = machine_of(universe, properties, relation, counts)
    chosen = settings(
        max_examples=histories,
        stateful_step_count=length,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        print_blob=False,
        verbosity=Verbosity.quiet,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    violation: Violation | None = None
    try:
        run_state_machine_as_test(seed(random_seed)(machine), settings=chosen)
    except Broken as broken:
        violation = broken.violation
    return Told(universe.name, counts[0], counts[1], process_time() - began, violation)
