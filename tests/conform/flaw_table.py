"""Which cases find which flaw: the reference broker serves with each in turn, in a process of its own, and is judged over TCP.

`python -m conform.flaw_table` (with tests on the path; `make flaws`) writes spec/flaws.md; tests/conform/test_flaws.py fails where a flaw is
missing there, or a case does not find any more what it found. Told are the cases of the rules that a flaw breaks, in the oldest and the newest version of the request that they sweep.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from conftest import serving

from fiducial.conformance import suite
from fiducial.conformance.cases import Case, Verdict
from fiducial.conformance.running import Judge, Result
from fiducial.conformance.target import Target
from fiducial.models import pages, specification
from fiducial.reference.flaws import FLAWS, UNSEEN, Flaw

PAGE = Path(__file__).parents[2] / "spec" / "flaws.md"
LEVELS = {rule.id: rule.level for rule in specification.rules().values()}


def about(flaw: Flaw) -> Iterator[Case]:
    """The cases that show a rule that the flaw breaks."""
    return (case for case in suite.every().values() if not set(flaw.rules).isdisjoint(case.rules))


def judged(flaw: Flaw) -> list[Result]:
    """What comes of these at a broker that has the flaw."""
    with serving("--reference", "--flaw", flaw.id, "--set", "group.initial.rebalance.delay.ms=0") as address:
        target = Target(address.host, address.port)
        target.versions = {key: served[:: max(len(served) - 1, 1)] for key, served in target.versions.items()}
        with closing(Judge(target, LEVELS, patience_s=0)) as judge:
            judge.begin(about(flaw))
            return [judge.judge(case) for case in about(flaw)]


def failed(results: list[Result]) -> list[Case]:
    """The cases that found something."""
    unjudged = {one.case.id: one.worst.finding for one in results if one.verdict in (Verdict.SUITE_ERROR, Verdict.INCONCLUSIVE)}
    assert not unjudged, unjudged
    return [one.case for one in results if one.verdict is Verdict.FAIL]


# The page


def row(flaw: Flaw, found: list[Case]) -> tuple[str, ...]:
    """A flaw, and the cases that found it."""
    return flaw.id, flaw.title, flaw.whose, ", ".join(flaw.rules), ", ".join(f"`{case.id}`" for case in found)


def recorded() -> dict[str, tuple[str, ...]]:
    """Flaw → the cases that found it when the page was written; of those that are out of sight, none."""
    rows = re.findall(r"^\| ([A-Z][0-9]+[a-z]?) \|(.*)\|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return {name: tuple(re.findall(r"`([^`]+)`", cells)) for name, cells in rows}


def page(rows: list[tuple[str, ...]]) -> str:
    """The whole page."""
    unseen = [(name, why) for name, why in UNSEEN.items()]
    seen = pages.table(("flaw", "what is wrong", "whose it was", "rules", "found by"), rows)
    return f"# Flaws\n\n{INTRODUCTION}\n{seen}\n{OUT_OF_SIGHT}\n{pages.table(('flaw', 'why'), unseen)}"


INTRODUCTION = """\
Made by `make flaws`; do not edit. Bugs that brokers of this kind had, and some that they might have. `fiducial serve --reference --flaw NAME` serves
with one of them, and `fiducial conform` finds it: the last column has the cases that fail then, of those that show the rules which the flaw breaks, told
in the oldest and the newest version of the request that they sweep. The tests find each of them again.
"""
OUT_OF_SIGHT = """\
The flaws of the models that no client of one healthy broker can see are found by searches, walks and tests of the models alone:
"""


def main() -> int:
    """Write the page; 1 if a flaw was not found."""
    rows, missed = [], 0
    for flaw in FLAWS.values():
        found = failed(judged(flaw))
        rows.append(row(flaw, found))
        lost = [rule for rule in flaw.rules if not any(rule in case.rules for case in found)]
        if lost:
            print(f"{flaw.id} is not found under {', '.join(lost)}", file=sys.stderr)
            missed += 1
    PAGE.write_text(page(rows), encoding="utf-8")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
