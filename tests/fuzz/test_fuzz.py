"""A minute of nonsense finds nothing, and would find what is wrong: each fault below mutants/, planted in a copy of the rooms, ends its target's run.

A patch says in its first line what is wrong, and lies in the folder of the target that sees it. To make one: spoil a room, `git diff` into a file
there, and mend the room.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import not_run
from sanitized.rooms import ROOT, SOURCES, CompilerMissing

from fuzz.engine import CORPUS, TARGETS, Bounds, Outcome, built, reproduced, run

IS_LONG = os.environ.get("FIDUCIAL_LONG") == "1"
#: A minute in all, shared as the targets need it.
SECONDS = {"frames": 30, "batches": 20, "messages": 10}
PATCHES = sorted(Path(__file__).with_name("mutants").rglob("*.patch"))
#: Looked for in an everyday run, since only one room is compiled for it. All of them with FIDUCIAL_LONG=1.
EVERYDAY = "a-record-may-be-longer-than-its-batch"
CHOSEN = PATCHES if IS_LONG else [patch for patch in PATCHES if patch.stem == EVERYDAY]
#: A fault that so many inputs do not show is not seen: not so many seconds, of which a busy machine makes little.
SEEN_WITHIN = 300_000


@pytest.fixture(scope="module")
def folder() -> Path:
    """The rooms, watched."""
    try:
        return built()
    except CompilerMissing as reason:
        not_run(str(reason))


def spoilt(patch: Path, folder: Path, room: Path) -> Outcome:
    """Its target over a copy of the rooms with the fault in them."""
    tree, copy = room / "tree", room / "built"
    tree.mkdir()
    for name in ("models", "reference", "spec", "tests"):
        (tree / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "src", tree / "src", symlinks=True)
    shutil.copytree(ROOT / "fastpath", tree / "fastpath", ignore=lambda _, names: [one for one in names if Path(one).suffix not in (*SOURCES, ".py")])
    subprocess.run(["git", "apply", str(patch)], cwd=tree, check=True)
    shutil.copytree(folder, copy, symlinks=True)
    return run(built(tree, copy), patch.parent.name, Bounds(runs=SEEN_WITHIN, seed=1), room / "grown", room)


@pytest.mark.parametrize("target", TARGETS)
def test_nonsense_finds_nothing(folder: Path, tmp_path: Path, target: str) -> None:
    outcome = run(folder, target, Bounds(seconds=SECONDS[target], seed=1), tmp_path)
    assert not outcome.report, outcome.report
    assert outcome.inputs > sum(1 for _ in (CORPUS / target).iterdir()), "it did not get beyond the corpus"


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_every_patch_applies_also_those_that_only_a_long_run_looks_for(patch: Path) -> None:
    done = subprocess.run(["git", "apply", "--check", str(patch)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("patch", CHOSEN, ids=lambda patch: patch.stem)
def test_a_planted_fault_is_found_and_what_shows_it_is_kept(folder: Path, tmp_path: Path, patch: Path, tell: Callable[[str], None]) -> None:
    outcome = spoilt(patch, folder, tmp_path)
    tell(f"{patch.stem}: {outcome.inputs:,} inputs")
    assert outcome.report, f"not found in {outcome.inputs:,} inputs: {patch.read_text().splitlines()[0]}"
    kept = list(tmp_path.glob(f"{patch.parent.name}-*"))
    assert kept, outcome.report
    assert reproduced(tmp_path / "built", patch.parent.name, kept[:1]).report
    assert not reproduced(folder, patch.parent.name, kept[:1]).report
