"""The coverage matrix: rule × function × test × conformance case × flaw × property × proof, found in code and checks; and what is wrong with it.

`python -m house.matrix` (with tests on the path; `make spec`) writes spec/coverage.json and spec/matrix.md; tests/house/test_matrix.py fails
where they are not what would be written, where a rule lacks something without a reason, and where a citation is of no rule.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from house import stories

import fiducial.models.broker
import fiducial.models.group_records
import fiducial.models.group_requests
import fiducial.models.restarts
import fiducial.reference.server  # noqa: F401  (rules of frames and sockets are marked there)
from fiducial.conformance import suite
from fiducial.conformance.suite.unseen import UNSEEN
from fiducial.models import pages, specification
from fiducial.models.checkers.group_proofs import PROVED_OF_GROUPS
from fiducial.models.checkers.main import REGISTRIES
from fiducial.models.checkers.prove import INVARIANTS, STEP_CLAIMS
from fiducial.models.coverage import Coverage, as_text
from fiducial.models.flaws import FLAWS
from fiducial.models.rules import IMPLEMENTED_BY, LADDERS
from fiducial.models.specification import RuleText

ROOT = Path(__file__).parents[2]
SPEC = ROOT / "spec"
TESTS = ROOT / "tests"


def cited_by_tests() -> dict[str, list[str]]:
    """Rule id -> the tests that carry it in a `rule` mark, by reading their source."""
    cited: dict[str, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for rule in marked(node):
                    cited.setdefault(rule, []).append(f"{path.relative_to(TESTS)}::{node.name}")
    return cited


def marked(test: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    """The rules of `@pytest.mark.rule(...)` on a test, and of marks on the rows of its table."""
    for decorator in test.decorator_list:
        for call in ast.walk(decorator):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "rule":
                yield from (one.value for one in call.args if isinstance(one, ast.Constant) and isinstance(one.value, str))


def cases_of(rule: str) -> list[str]:
    """The cases that show a rule to whoever judges a broker from outside."""
    return [case.id for case in suite.every().values() if rule in case.rules]


def flaws_of(rule: str) -> list[str]:
    """The flaws that break a rule: those of the registry, and its rungs taken out."""
    named = [f"{one.id} {one.title}" for one in FLAWS.values() if rule in one.rules]
    removed = [f"without its rung in “{ladder.name}”" for ladder in LADDERS.values() for rung in ladder.rungs if rung.rule == rule]
    return [*named, *removed]


def properties_of(rule: str) -> list[str]:
    """The properties that cite a rule."""
    cited = (name for registry in REGISTRIES for name, one in registry.items() if rule in one.rules)
    return list(dict.fromkeys(cited))


def coverage() -> dict[str, Coverage]:
    """Everything that hangs on each rule of the specification, in the order of the pages."""
    tests = cited_by_tests()
    proved = {one.name for one in INVARIANTS} | {one.name for one in STEP_CLAIMS} | PROVED_OF_GROUPS
    found = {}
    for rule in specification.rules():
        properties = properties_of(rule)
        found[rule] = Coverage(
            tuple(IMPLEMENTED_BY.get(rule, ())),
            tuple(dict.fromkeys(tests.get(rule, ()))),
            tuple(cases_of(rule)),
            tuple(flaws_of(rule)),
            tuple(properties),
            tuple(name for name in properties if name in proved),
        )
    return found


# What is wrong


def complaints(rules: Mapping[str, RuleText], covered: Mapping[str, Coverage]) -> list[str]:
    """Rules that lack something without a reason, and citations of no rule."""
    found: list[str] = []
    for rule, text in rules.items():
        if not covered[rule].functions and text.noted("Elsewhere") is None:
            found.append(f"{rule} has no function, and no line `Elsewhere:` says where it is implemented")
        if not covered[rule].tests:
            found.append(f"{rule} has no test")
    answered = {rung.rule: rung.error for ladder in LADDERS.values() for rung in ladder.rungs}
    for rule, error in answered.items():
        if rule in rules and error not in rules[rule].errors:
            found.append(f"{rule} answers {error.name}, which its text does not say")
    cited = {
        "a function": set(IMPLEMENTED_BY),
        "a test": set(cited_by_tests()),
        "a case": {rule for case in suite.every().values() for rule in case.rules} | set(UNSEEN),
        "a flaw": {rule for one in FLAWS.values() for rule in one.rules},
        "a property": {rule for registry in REGISTRIES for one in registry.values() for rule in one.rules},
    }
    return found + [f"{who} cites {rule}, which is no rule" for who, ids in cited.items() for rule in sorted(ids - set(rules))]


# Writing


def matrix(rules: Mapping[str, RuleText], covered: Mapping[str, Coverage]) -> str:
    """The page: one row a rule, counts where names would be too long."""
    rows = []
    for rule, text in rules.items():
        one = covered[rule]
        functions = ", ".join(f"`{name.rpartition('.')[2]}`" for name in one.functions)
        proofs = ", ".join(one.proofs)
        properties = ", ".join(name for name in one.properties if name not in one.proofs)
        deviation = "Kafka" if text.noted("Kafka") else ""
        cases = "out of sight" if rule in UNSEEN else str(len(one.cases))
        cells = (f"[{rule}]({text.page})", text.title, functions, str(len(one.tests)), cases, str(len(one.flaws)), properties, proofs)
        rows.append((*cells, text.tried.value, deviation))
    heads = ("rule", "", "decided by", "tests", "cases", "flaws", "properties", "proved", "on Kafka 4.3.1", "deviates")
    return f"# Coverage\n\n{INTRODUCTION.format(count=len(rules))}\n\n{pages.table(heads, rows)}"


INTRODUCTION = """\
Made by `make spec` from the code and its checks; do not edit. Each of the {count} rules, with the functions that decide it, how many tests
cite it, how many cases of `fiducial conform` show it to whoever judges a broker from outside (or that it is out of their sight; why, stands in
tests/conformance/suite/unseen.py), how many flaws of the registry (a rung taken out of its ladder among them) break it, the properties that state it for every step of
the searches and walks, and those of them that are also proved by induction. Beside these, every function is mutated by machine, and a test that cites the rule must notice
(tests/house/mutants.py). Names are in [coverage.json](coverage.json)."""


def written() -> dict[str, str]:
    """The files of spec/ that are made, as they should be."""
    rules, covered = specification.rules(), coverage()
    return {"coverage.json": as_text(covered), "matrix.md": matrix(rules, covered), **stories.written()}


def main() -> int:
    """Write what is made, in pages too."""
    for name, text in {**pages.stale(), **written()}.items():
        (SPEC / name).write_text(text, encoding="utf-8")
    for complaint in complaints(specification.rules(), coverage()):
        print(complaint, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
