"""The checks of this folder can fail: each fault of mutants.toml, planted in a copy of the fast path, is seen by the everyday campaign."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MUTANTS = {mutant["name"]: mutant for mutant in tomllib.loads(Path(__file__).with_name("mutants.toml").read_text())["mutant"]}
IS_LONG = os.environ.get("FIDUCIAL_LONG") == "1"
#: So long a room is compiled, and a fault looked for, at most.
PATIENCE_S = 600


def copied(folder: Path) -> Path:
    """The fast path as it is, compiled, beside all else of this checkout."""
    folder.mkdir()
    for name in ("models", "reference", "spec", "tests"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "src", folder / "src", symlinks=True)
    shutil.copytree(ROOT / "fastpath", folder / "fastpath", ignore=shutil.ignore_patterns("*.cpp", "__pycache__"))
    return folder


def plant(mutant: dict[str, str], tree: Path) -> None:
    """The fault in a copy; a room is compiled anew, quickly rather than well."""
    spoilt = tree / "fastpath" / mutant["file"]
    spoilt.write_text(spoilt.read_text().replace(mutant["old"], mutant["new"]))
    if spoilt.suffix == ".pyx":
        command = [sys.executable, "-m", "Cython.Build.Cythonize", "-3", "-i", "-q", f"src/fiducial/fastpath/{spoilt.name}"]
        flags = "-O0 -g0 -std=c++17 -fwrapv"  # which of the two is asked for C++, depends on the setuptools
        environment = {**os.environ, "CFLAGS": flags, "CXXFLAGS": flags}
        subprocess.run(command, cwd=tree, env=environment, check=True, timeout=PATIENCE_S)


def told(tree: Path, work: Path) -> dict[str, Any]:
    """What the campaign says of a copy."""
    work.mkdir()
    environment = {**os.environ, "PYTHONPATH": f"{tree / 'src'}:{ROOT / 'tests'}"}
    command = [sys.executable, "-m", "faults.campaign", str(work)]
    done = subprocess.run(command, cwd=tree / "src", env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    said: dict[str, Any] = json.loads(done.stdout)
    assert Path(said["core"]).is_relative_to(tree)
    return said


@pytest.mark.parametrize("name", MUTANTS)
def test_a_fault_can_be_planted(name: str) -> None:
    mutant = MUTANTS[name]
    assert (ROOT / "fastpath" / mutant["file"]).read_text().count(mutant["old"]) == 1


@pytest.mark.skipif(not IS_LONG, reason="NOT RUN: compiles a room anew for each fault, minutes in all; FIDUCIAL_LONG=1 does")
@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_fault_is_seen(name: str, work: Path, tell: Callable[[str], None]) -> None:
    tree = copied(work / "tree")
    plant(MUTANTS[name], tree)
    said = told(tree, work / "work")
    assert said["found"] is not None, f"nobody saw that {name}: {said['looked']}"
    tell(f"{name}: {said['found'].splitlines()[0][:150]}")
