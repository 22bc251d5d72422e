"""What hangs on each rule: the functions that decide it, the tests, conformance cases, flaws, properties and proofs that cite it.

Found anew by tests/house/matrix.py, from code and checks, and kept in `spec/coverage.json`, one rule a line: so a check that is lost shows in
the review of the change that loses it, and `fiducial explain` can tell of tests where there are none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources

from fiducial.models.values import value


@value
class Coverage:
    """One rule's."""

    functions: tuple[str, ...] = ()  # "module:function"
    tests: tuple[str, ...] = ()  # "file::test", below tests/
    cases: tuple[str, ...] = ()  # of `fiducial conform`, by id
    flaws: tuple[str, ...] = ()  # "id title"
    properties: tuple[str, ...] = ()  # by name
    proofs: tuple[str, ...] = ()  # by name


def recorded() -> dict[str, Coverage]:
    """The coverage as it was last written down."""
    file = resources.files("fiducial").joinpath("spec", "coverage.json")
    return {
        rule: Coverage(**{part: tuple(entries) for part, entries in parts.items()})
        for rule, parts in json.loads(file.read_text(encoding="utf-8")).items()
    }


def as_text(coverage: Mapping[str, Coverage]) -> str:
    """The file: one rule a line, parts that are empty left out."""
    lines = []
    for rule, covered in coverage.items():
        parts = {part: getattr(covered, part) for part in ("functions", "tests", "cases", "flaws", "properties", "proofs")}
        lines.append(f"{json.dumps(rule)}: {json.dumps({part: entries for part, entries in parts.items() if entries})}")
    return "{\n" + ",\n".join(lines) + "\n}\n"
