"""`fiducial verify`: every check, one part after another. The tests come last and print the table of all parts, so that the
test runner's own summary ends the output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from fiducial.cli import PARTS, USAGE

NEEDED = ("Cython", "confluent_kafka", "crosshair", "hypothesis", "importlinter", "mypy", "pytest", "ruff", "z3")
#: How the results of the parts before reach the tests, whose run ends with the table.
RESULTS = "FIDUCIAL_RESULTS"
PASSED, FAILED, NOT_RUN = "passed", "FAILED", "NOT RUN"
GREEN, RED = 32, 31
#: The exit status of `python -m peers.kafka` when there is no Apache Kafka to be had.
PEER_UNAVAILABLE = 3


@dataclass(frozen=True)
class Result:
    """What came of a part."""

    part: str
    outcome: str
    seconds: float
    note: str = ""


def root() -> Path:
    """The checkout. The checks are of its files, so an installed wheel has none."""
    return Path(__file__).parents[3]


def coloured(text: str, colour: int) -> str:
    """`text` in colour, where colours are wanted."""
    is_wanted = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return f"\x1b[{colour}m{text}\x1b[0m" if is_wanted else text


def table(results: Sequence[Result]) -> str:
    """The parts and what came of them."""
    rows = [
        f"{one.part:<8}  {coloured(f'{one.outcome:<7}', GREEN if one.outcome == PASSED else RED)}  {one.seconds:>7.1f}  {one.note}"
        for one in results
    ]
    return "\n".join(["part      result   seconds", *(row.rstrip() for row in rows)])


def results_so_far() -> list[Result]:
    """The parts that ran before the tests, if these are run by `fiducial verify`."""
    return [Result(**fields) for fields in json.loads(os.environ.get(RESULTS, "[]"))]


def run(command: Sequence[str], **environment: str) -> int:
    """Run a command in the checkout; its exit status."""
    print(f"\n$ {' '.join(command)}", flush=True)
    return subprocess.run(command, cwd=root(), env={**os.environ, **environment}, check=False).returncode


def tool(name: str) -> str:
    """A tool of the environment that this runs in."""
    return str(Path(sys.executable).with_name(name))


def passed(status: int) -> tuple[str, str]:
    """The outcome that an exit status stands for."""
    return (FAILED if status else PASSED), ""


class Verification:
    """One run of the parts: a method for each of PARTS, which gives its outcome and a note."""

    def __init__(self, is_long: bool) -> None:
        self.is_long = is_long
        self.results: list[Result] = []

    def check(self, part: str) -> None:
        """Run a part."""
        begun = time.monotonic()
        outcome, note = getattr(self, part)()
        self.results.append(Result(part, outcome, time.monotonic() - begun, note))

    def lint(self) -> tuple[str, str]:
        """Style, types, and who may import whom."""
        commands = {"ruff": [tool("ruff"), "check"], "mypy": [tool("mypy")], "imports": [tool("lint-imports"), "--no-logo"]}
        failed = [name for name, command in commands.items() if run(command)]
        return (FAILED, ", ".join(failed)) if failed else (PASSED, "")

    def models(self) -> tuple[str, str]:
        """Explored, walked, proved, confirmed."""
        long_option = ["--long"] if self.is_long else []
        return passed(run([sys.executable, "-m", "fiducial.models.checkers.main", *long_option]))

    def mutants(self) -> tuple[str, str]:
        """Every rule spoilt by machine: does a test that cites it notice?"""
        long_option = ["--long"] if self.is_long else []
        return passed(run([sys.executable, "-m", "house.mutants", *long_option], PYTHONPATH="tests"))

    def frozen(self) -> tuple[str, str]:
        """The models' tests with values that really are frozen (models/values.py)."""
        return passed(run([sys.executable, "-m", "pytest", "-q", "tests/models"], FIDUCIAL_FROZEN="1"))

    def referee(self) -> tuple[str, str]:
        """Can Apache Kafka be had here? What is asked of it is among the tests."""
        status = run([sys.executable, "-m", "peers.kafka", "--check"], PYTHONPATH="tests")
        if status == PEER_UNAVAILABLE:
            return NOT_RUN, "nothing was held against Apache Kafka; the reason is above"
        return passed(status)

    def tests(self) -> tuple[str, str]:
        """All tests, those against Apache Kafka and with real clients among them."""
        before = json.dumps([asdict(one) for one in self.results])
        is_long = {"FIDUCIAL_LONG": "1"} if self.is_long else {}
        parallel = ["-n", str(os.cpu_count() or 1), "--dist", "loadfile"]  # the tests of a file share brokers
        return passed(run([sys.executable, "-m", "pytest", "-q", *parallel], **{RESULTS: before}, **is_long))


def why_not_here() -> str:
    """Why nothing can be verified here; empty if it can."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        return f"{', '.join(missing)} not installed: pip install -e '.[verify,clients]', or make verify"
    if not (root() / "models").is_dir():
        return "the checks are of a checkout, which this is not"
    return ""


def verify(is_long: bool, only: str | None) -> int:
    """Run the parts; 0 if all passed, 1 if not, 2 if they cannot run here."""
    reason = why_not_here()
    if reason:
        print(f"fiducial verify: {reason}", file=sys.stderr)
        return USAGE
    verification = Verification(is_long)
    for part in [only] if only else PARTS:
        verification.check(part)
    if only and only != "tests":
        print(f"\n{table(verification.results)}")
    return 0 if all(is_accepted(one) for one in verification.results) else 1


def is_accepted(one: Result) -> bool:
    """Passed; or not run, where nobody has promised that it would."""
    return one.outcome == PASSED or (one.outcome == NOT_RUN and os.environ.get("CI") != "true")
