"""The import rules of pyproject.toml are kept, and each can fail."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The checkout's code and rules, to spoil."""
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.cpp", "*.so")
    for folder in ("models", "reference", "fastpath", "src", "spec", "tests/conformance"):
        shutil.copytree(ROOT / folder, tmp_path / folder, symlinks=True, ignore=ignore)
    (tmp_path / "tests/house").mkdir(parents=True)
    shutil.copy(ROOT / "tests/house/only.py", tmp_path / "tests/house")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """import-linter on the code in a folder, which comes before the installed one on the path."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
    environment = {"PYTHONPATH": str(folder / "src"), "COLUMNS": "200"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_import_rules_are_kept(copy: Path) -> None:
    done = lint_imports(copy)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("models/offender.py", "import kio", "models import attrs, immutables and the standard library"),
        ("models/log.py", "from z3 import Int", "models import attrs, immutables and the standard library"),
        ("models/offender.py", "import fiducial.reference.core", "models and their checkers import nothing else of ours"),
        ("models/checkers/offender.py", "import fiducial.cli", "models and their checkers import nothing else of ours"),
        ("models/offender.py", "import fiducial.models.checkers.walk", "models import no checker"),
        ("models/offender.py", "from time import monotonic", "models draw no random number, read no clock"),
        ("reference/offender.py", "import fiducial.models.checkers.walk", "models import no checker"),
        ("reference/offender.py", "import fiducial.cli", "the reference broker does not know the command line"),
        ("reference/offender.py", "import fiducial.fastpath.node", "the reference broker does not know the command line"),
        ("fastpath/offender.py", "import fiducial.reference.core", "the fast path does not know the command line"),
        ("models/offender.py", "import fiducial.fastpath.node", "models and their checkers import nothing else of ours"),
        ("models/offender.py", "import fiducial.conformance.codec", "models and their checkers import nothing else of ours"),
        ("reference/offender.py", "import fiducial.conformance.codec", "the reference broker does not know the command line"),
        ("fastpath/offender.py", "import fiducial.conformance.codec", "the fast path does not know the command line"),
        ("tests/conformance/codec.py", "import kio", "the conformance suite imports attrs, codecs and the standard library"),
        ("tests/conformance/batches.py", "import fiducial.reference.records", "the conformance suite knows the models alone"),
        ("tests/conformance/offender.py", "import fiducial.fastpath.codec_objects", "the conformance suite knows the models alone"),
        ("tests/conformance/offender.py", "import fiducial.cli", "the conformance suite knows the models alone"),
        ("tests/conformance/offender.py", "import fiducial.models.checkers.walk", "models import no checker"),
    ],
)
def test_an_offender_is_refused(copy: Path, file: str, line: str, contract: str) -> None:
    with (copy / file).open("a") as module:
        module.write(f"\n{line}\n")
    done = lint_imports(copy)
    assert done.returncode != 0
    (verdict,) = [row for row in done.stdout.splitlines() if row.startswith(contract) and ("KEPT" in row or "BROKEN" in row)]
    assert "BROKEN" in verdict
