"""The cases: well formed, passed by an honest broker, and each able to fail: a rung that is taken out, or a real bug, is found under its own rule."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

import pytest

from conform.brokers import serving
from fiducial.conformance import suite
from fiducial.conformance.cases import Case, Verdict
from fiducial.conformance.running import Judge, Result
from fiducial.conformance.target import Target
from fiducial.models import specification
from fiducial.models.flaws import FLAWS, rung_removed, switched_on
from fiducial.models.rules import LADDERS, Ladder, Rung

RULES = specification.rules()
LEVELS = {rule.id: rule.level for rule in RULES.values()}
CASES = suite.every()
SHOWN = {rule for case in CASES.values() for rule in case.rules}
PRODUCE = 0


def about(*rules: str) -> list[Case]:
    """The cases that show a rule."""
    return [case for case in CASES.values() if not set(rules).isdisjoint(case.rules)]


def results(cases: Sequence[Case], flaw: Callable[[], AbstractContextManager[None]] = nullcontext, versions: range = range(13, 14)) -> list[Result]:
    """What comes of cases at a broker with a flaw, in few versions of Produce."""
    with serving(flaw=flaw) as broker:
        target = Target(broker.host, broker.port)
        target.versions[PRODUCE] = versions
        judge = Judge(target, LEVELS)
        return [judge.judge(case) for case in cases]


def failed(found: Sequence[Result]) -> list[str]:
    """Those that failed."""
    assert not [one.worst.finding for one in found if one.verdict in (Verdict.SUITE_ERROR, Verdict.INCONCLUSIVE)]
    return [one.case.id for one in found if one.verdict is Verdict.FAIL]


def test_a_case_is_named_after_its_rule_and_cites_rules_that_there_are() -> None:
    for case in CASES.values():
        assert re.fullmatch(r"[A-Z]+-[A-Z]+-[0-9]+/[a-z0-9]+(-[a-z0-9]+)*", case.id), case.id
        assert set(case.rules) <= set(RULES), case.id
        assert len(f"conform-00000000-{case.id}-99-x") < 249


def test_an_honest_broker_passes_every_case() -> None:
    found = results(list(CASES.values()))
    assert {one.verdict for one in found} == {Verdict.PASS}, failed(found)


def rungs() -> Iterator[tuple[Ladder, Rung]]:
    """Those whose rule some case is about."""
    return ((ladder, rung) for ladder in LADDERS.values() for rung in ladder.rungs if rung.rule in SHOWN)


@pytest.mark.parametrize(("ladder", "rung"), [pytest.param(*pair, id=pair[1].rule) for pair in rungs()])
def test_a_rung_that_is_taken_out_is_found_under_its_rule(ladder: Ladder, rung: Rung) -> None:
    versions = range(6, 8) if rung.rule == "LOG-BATCH-6" else range(12, 14)
    found = failed(results(about(rung.rule), lambda: rung_removed(ladder, rung), versions))
    assert found, f"no case about {rung.rule} notices that it is gone"


@pytest.mark.parametrize("name", [one.id for one in FLAWS.values() if one.replacement and not SHOWN.isdisjoint(one.rules)])
def test_a_real_bug_is_found_under_its_rule(name: str) -> None:
    found = failed(results(about(*FLAWS[name].rules), lambda: switched_on(FLAWS[name])))
    assert found, f"{name}: {FLAWS[name].title}"
