"""What happens all the time asks for no memory: each kind of hot turn finds the room that the turns before it have left."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fastpath.hot_turns import KINDS, TURNS

SOURCE = Path(__file__).with_name("allocations.cpp")
PATIENCE_S = 120


@pytest.fixture(scope="module")
def allocations(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """Of each kind, in a process where they are counted."""
    if "LD_PRELOAD" in os.environ:
        pytest.skip("NOT RUN: a sanitizer has malloc for itself")
    folder = tmp_path_factory.mktemp("counted")
    library = folder / "allocations.so"
    compiler = os.environ.get("CXX") or shutil.which("c++") or "g++"
    subprocess.run([compiler, "-O1", "-fno-builtin", "-shared", "-fPIC", "-o", str(library), str(SOURCE)], check=True)
    command = [sys.executable, "-P", "-m", "fastpath.hot_turns", str(folder)]
    environment = {**os.environ, "LD_PRELOAD": str(library), "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, int] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_hot_turn_makes_no_memory(kind: str, allocations: dict[str, int]) -> None:
    # Room that grows, and what Python does beside it, are no part of every turn.
    assert allocations[kind] < TURNS // 10
