"""A case told to the oracle alone, without sockets: once as it is, and once with a function spoilt. What a broker with that fault would answer
must be told apart, or the case cannot fail for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

from house.mutants import FEW, Spoilt, TooLong, no_longer_than, spoilt, spread

from fiducial.conformance.abstraction import differences, wall_clock_ms
from fiducial.conformance.cases import Case, Step, TimePasses
from fiducial.conformance.oracle import KEYS, Allowed
from fiducial.conformance.running import CHANGE_TOPICS, SILENCE, abstract
from fiducial.conformance.script import Script, Unexpected, WaitsTooLong
from fiducial.conformance.symbols import spoken
from fiducial.models import messages as m
from fiducial.models.apis import APIS
from fiducial.models.settings import parse
from fiducial.models.state import Cluster

CLUSTER = Cluster("fiducialfiducialfiduci", 1, "127.0.0.1", 9092)
HUNG_UP = "hung up"
#: A fault may never end; a story takes a few milliseconds.
PATIENCE_S = 5.0

#: What is answered at a step, as it is compared, and what a peer may answer instead.
Told = tuple[Any, Allowed]
Fault = Callable[[], AbstractContextManager[None]]


class Clock:
    """The time in ms, which passes only where a story says so."""

    def __init__(self) -> None:
        self.ms = BEGUN_MS

    def __call__(self) -> int:
        return self.ms


BEGUN_MS = wall_clock_ms()


def versions(case: Case) -> Sequence[int | None]:
    """Those that a case is told in, the newest first."""
    if case.sweep is None:
        return [None]
    api = APIS[KEYS[case.sweep]]
    return range(api.max_version, max(api.min_version, case.sweep_from) - 1, -1)


def version_of(case: Case, step: Step, version: int | None) -> int | None:
    """The version that a step is asked in."""
    if step.version is not None or step.api_key is None:
        return step.version
    is_swept = case.sweep is not None and step.api_key == KEYS[case.sweep]
    return version if is_swept else APIS[step.api_key].max_version


def told(case: Case, version: int | None, fault: Fault = nullcontext) -> list[Told]:
    """What comes of each step if the oracle has a fault once the stage is set. What has no answer is the end."""
    clock = Clock()
    names = {called: f"case-{called}".ljust(topic.characters, "x") for called, topic in case.topics}
    settings = parse({name: str(most) for name, most in case.settings})
    groups = {called: f"case-{called}" for called, _ in case.groups}
    script = Script(case, CLUSTER, settings, m.IncrementalAlterConfigsRequest(), names, groups, clock)
    answers: list[Told] = []
    for step in case.story:
        try:
            with fault(), no_longer_than(PATIENCE_S, PATIENCE_S):
                expected = script.expected(step, version_of(case, step, version))
                if step.api_key in CHANGE_TOPICS:
                    script.follow()
        except WaitsTooLong:
            return [*answers, (SILENCE, frozenset())]
        except Unexpected:
            return answers
        except (Exception, TooLong):  # a fault costs the connection
            return [*answers, (HUNG_UP, frozenset())]
        if isinstance(step.body, TimePasses):
            clock.ms += spoken(step.body.ms, script.view)
        answers.append((abstract(expected, script.view), expected.allowed))
    return answers


@cache
def honest(case: Case, version: int | None) -> list[Told]:
    """What comes of each step if nothing is wrong."""
    return told(case, version)


def notices(case: Case, fault: Fault) -> bool:
    """Is a broker with this fault told apart from an honest one, in any version?"""
    return any(differ(case, honest(case, version), told(case, version, fault)) for version in versions(case))


def differ(case: Case, wanted: list[Told], got: list[Told]) -> bool:
    """Is there a step whose answer is another, and not one that a peer may give instead?"""
    pairs = zip(wanted, got, strict=False)
    return any(True for (ours, allowed), (theirs, _) in pairs for _ in differences(ours, theirs, allowed, rule=case.rule))


@cache
def faults(function: str) -> list[Spoilt]:
    """The ways to spoil a function, those from all over it first."""
    return spread(spoilt(function), FEW)

