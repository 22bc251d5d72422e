"""CrossHair on the kernels: every promise confirmed over all paths, every broken twin refuted, in one run.

CrossHair's exit code 0 does not mean "confirmed", so its lines are read: the set of functions reported "Confirmed over all paths" must be the
golden list, the set reported with an error its twins, and no line may be left over.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from time import perf_counter

from fiducial.models.checkers import kernel_contracts
from fiducial.models.checkers.kernel_contracts import BROKEN, KEPT
from fiducial.models.values import value

LINE = re.compile(r"^(?P<path>.*?):(?P<line>\d+): (?P<level>\w+): (?P<text>.*)$")
SECONDS_PER_CONDITION = 20
CONFIRMED = "Confirmed over all paths."


@value
class Checked:
    """What CrossHair said of one function."""

    function: str
    line: int
    text: str

    @property
    def is_confirmed(self) -> bool:
        """Over all paths; "not able to confirm" and silence are not that."""
        return self.text == CONFIRMED


@value
class Contracts:
    """What one run said."""

    reports: tuple[Checked, ...]
    seconds: float

    @property
    def confirmed(self) -> frozenset[str]:
        """The functions of which every report is a confirmation."""
        unconfirmed = {report.function for report in self.reports if not report.is_confirmed}
        return frozenset(report.function for report in self.reports) - unconfirmed

    @property
    def refuted(self) -> frozenset[str]:
        """The functions with a counterexample."""
        return frozenset(report.function for report in self.reports if report.text.startswith("false when calling"))

    @property
    def complaints(self) -> tuple[str, ...]:
        """In what the run differs from the golden list."""
        return (
            *(f"not confirmed: {name}" for name in sorted(KEPT - self.confirmed)),
            *(f"confirmed, but not in the golden list: {name}" for name in sorted(self.confirmed - KEPT)),
            *(f"not refuted: {name}" for name in sorted(BROKEN - self.refuted)),
            *(f"refuted: {name}" for name in sorted(self.refuted - BROKEN)),
        )


def check() -> Contracts:
    """Run CrossHair over the contracts, in a process of its own."""
    began = perf_counter()
    path = Path(kernel_contracts.__file__)
    command = [
        sys.executable,
        "-m",
        "crosshair",
        "check",
        "--report_all",
        "--analysis_kind=PEP316",
        f"--per_condition_timeout={SECONDS_PER_CONDITION}",
        str(path),
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    reports = read(done.stdout, path.read_text())
    if not reports:
        raise RuntimeError(f"crosshair said nothing that can be read: {done.stdout}{done.stderr}")
    return Contracts(reports, perf_counter() - began)


def read(output: str, source: str) -> tuple[Checked, ...]:
    """The lines of a run, each with the function that it is about."""
    functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    reports = []
    for line in output.splitlines():
        match = LINE.match(line)
        if match is None:
            continue
        number = int(match["line"])
        about = [node.name for node in functions if node.lineno <= number <= (node.end_lineno or node.lineno)]
        reports.append(Checked(about[0] if about else "?", number, match["text"]))
    return tuple(reports)
