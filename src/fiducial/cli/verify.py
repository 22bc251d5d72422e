"""`fiducial verify`: every check, one after another, with a table of the parts; the tests come last, so that their summary ends the output."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

NEEDED = ("crosshair", "hypothesis", "importlinter", "mypy", "pytest", "ruff", "z3")


def root() -> Path:
    """The checkout. The checks are of its files, so an installed wheel has none."""
    return Path(__file__).resolve().parents[3]


def colour(text: str, code: int) -> str:
    """`text` in colour, where colours are wanted."""
    is_wanted = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    return f"\x1b[{code}m{text}\x1b[0m" if is_wanted else text


def run(command: Sequence[str], **environment: str) -> bool:
    """Run a command in the checkout; did it succeed?"""
    print(f"\n$ {' '.join(command)}", flush=True)
    return subprocess.run(command, cwd=root(), env={**os.environ, **environment}, check=False).returncode == 0


def tool(name: str) -> str:
    """A tool of the environment that this runs in."""
    return str(Path(sys.executable).with_name(name))


def lint(_long: bool) -> bool:
    """ruff, mypy --strict, import rules."""
    checks = (
        [tool("ruff"), "check", "models", "reference", "src", "tests"],
        [tool("mypy"), "-p", "fiducial"],
        [tool("lint-imports")],
    )
    return all([run(check) for check in checks])


def models(long: bool) -> bool:
    """Explored, walked, proved, confirmed."""
    command = [sys.executable, "-m", "fiducial.models.checkers.main", *(["--long"] if long else [])]
    return run(command)


def tests(long: bool) -> bool:
    """The tests, Apache Kafka among them."""
    environment = {"FIDUCIAL_LONG": "1"} if long else {}
    return run([sys.executable, "-m", "pytest", "-q"], **environment)


def frozen(_long: bool) -> bool:
    """The models' tests with values that are really frozen."""
    return run([sys.executable, "-m", "pytest", "-q", "tests/models", "-p", "no:cacheprovider"], FIDUCIAL_FROZEN="1")


def has_referee() -> str:
    """Why Apache Kafka cannot be had here; empty if it can."""
    missing = [name for name in ("java", "mvn") if shutil.which(name) is None]
    return f"{' and '.join(missing)} not installed" if missing else ""


def verify(*, long: bool, only: str | None) -> int:
    """Run the parts; 0 if all passed, 2 if the tools for it are not installed."""
    from importlib.util import find_spec

    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        print(f"fiducial verify needs {', '.join(missing)}: pip install 'fiducial[verify]'", file=sys.stderr)
        return 2
    if not (root() / "models").is_dir():
        print("fiducial verify checks a checkout, and this is not one", file=sys.stderr)
        return 2
    parts: dict[str, Callable[[bool], bool]] = {"lint": lint, "models": models, "frozen": frozen, "tests": tests}
    chosen = {name: part for name, part in parts.items() if only in (None, name)}
    results: list[tuple[str, bool, float]] = []
    for name, part in chosen.items():
        if name == "tests":
            summary(results)
        begun = time.monotonic()
        results.append((name, part(long), time.monotonic() - begun))
    return 0 if all(passed for _, passed, _ in results) else 1


def summary(results: list[tuple[str, bool, float]]) -> None:
    """What came of each part so far."""
    print("\npart        result    seconds")
    for name, passed, seconds in results:
        print(f"{name:<10}  {colour('passed', 32) if passed else colour('FAILED', 31)}  {seconds:>8.1f}")
    reason = has_referee()
    if reason:
        print(f"referee     {colour('NOT RUN', 31)}: {reason}")
    print("tests follow", flush=True)
