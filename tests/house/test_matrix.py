"""Every rule has a function and a test, every citation is of a rule, and no change of coverage goes unseen."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys

from house import matrix

from fiducial.models import specification
from fiducial.models.coverage import Coverage, as_text, recorded
from fiducial.models.values import changed


def test_nothing_lacks_what_it_needs() -> None:
    assert matrix.complaints(specification.rules(), matrix.coverage()) == []


#: Asked in a process of its own: tests mark functions of theirs with rules, too.
STALE = """
from fiducial.models import pages
from house import matrix
print(*(name for name, text in matrix.written().items() if (matrix.SPEC / name).read_text(encoding="utf-8") != text), *pages.stale())
"""


def test_what_is_generated_is_up_to_date() -> None:
    environment = {**os.environ, "PYTHONPATH": str(matrix.TESTS)}
    done = subprocess.run([sys.executable, "-c", STALE], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [], "make spec"


def test_every_rule_of_threads_is_cited_where_the_fast_path_keeps_it() -> None:
    rooms = "".join(room.read_text(encoding="utf-8") for room in (matrix.ROOT / "fastpath").glob("*.pyx"))
    assert set(re.findall(r"\bTHREAD-[A-Z]+-\d+", rooms)) == {rule.id for rule in specification.rules().values() if rule.page == "threads.md"}


def test_a_lack_is_complained_of() -> None:
    rules, covered = specification.rules(), matrix.coverage()
    rule = "IDEM-SEQ-2"
    assert any("no test" in one for one in matrix.complaints(rules, {**covered, rule: changed(covered[rule], tests=())}))
    assert any("no function" in one for one in matrix.complaints(rules, {**covered, rule: changed(covered[rule], functions=())}))
    unsaid = {**rules, rule: changed(rules[rule], errors=())}
    assert f"{rule} answers OUT_OF_ORDER_SEQUENCE_NUMBER, which its text does not say" in matrix.complaints(unsaid, covered)
    gone = "IDEM-DUP-1"
    fewer = {name: text for name, text in rules.items() if name != gone}
    assert {f"{who} cites {gone}, which is no rule" for who in ("a function", "a test", "a case", "a flaw", "a property")} <= set(
        matrix.complaints(fewer, covered)
    )


def test_marks_are_found_on_tests_and_on_rows() -> None:
    source = """
@pytest.mark.rule("LOG-SUM-1", "LOG-SUM-2")
@pytest.mark.parametrize("row", [pytest.param(1, marks=pytest.mark.rule("LOG-SUM-3")), 2])
def test_sums(row): ...
"""
    (test,) = ast.parse(source).body
    assert isinstance(test, ast.FunctionDef)
    assert set(matrix.marked(test)) == {"LOG-SUM-1", "LOG-SUM-2", "LOG-SUM-3"}


def test_what_is_written_is_read_back() -> None:
    covered = {"LOG-SUM-1": Coverage(("a:b",), (), ("LOG-SUM-1/two",), ("A1 flaw",), ("Sum",), ("Sum",)), "LOG-SUM-2": Coverage()}
    assert len(as_text(covered).splitlines()) == 4
    assert recorded().keys() == specification.rules().keys()
