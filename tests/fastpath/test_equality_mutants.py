"""The check of equality can fail: each fault below mutants/equality, and mutants/groups, planted in a copy of the fast path, ends a history of the
twins in a difference.

A patch says in its first line what is wrong. To make one: spoil a room, `git diff fastpath/ROOM.pyx` into a file there, and mend the room.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: Whose histories show the faults of a folder.
MACHINES = {"equality": "fastpath.equality", "groups": "fastpath.group_histories"}
PATCHES = [patch for folder in MACHINES for patch in sorted(Path(__file__).with_name("mutants").joinpath(folder).glob("*.patch"))]
#: Those that are looked for in an everyday run: of each kind some that compile fast and are soon seen. All of them with FIDUCIAL_LONG=1.
EVERYDAY = frozenset(
    {
        "a-deleted-record-is-found-by-time", "a-duplicate-tells-no-time", "a-fetch-at-the-log-end-is-out-of-range",
        "a-refused-batch-is-remembered", "an-unknown-producer-must-begin-at-zero", "forgotten-partitions-stay",
        "producer-ids-of-a-block-are-given-out-again", "sequences-wrap-to-one", "strays-are-awaited", "the-active-segment-goes-without-a-roll",
        "the-append-time-is-not-told", "the-epoch-is-judged-after-the-sequence", "the-high-watermark-trails-by-one",
        "the-leader-epoch-is-not-stamped", "the-log-start-is-not-read", "the-range-is-judged-before-the-replica", "the-session-epoch-stays",
        "the-window-holds-four-batches", "when-a-producer-wrote-last-is-not-read",
        "an-alarm-keeps-its-first-time", "who-is-gone-is-answered", "who-waits-for-records-is-answered-last", "what-was-not-written-is-told-as-done",
    }
)  # fmt: skip
CHOSEN = [patch for patch in PATCHES if os.environ.get("FIDUCIAL_LONG") or patch.stem in EVERYDAY]
#: A fault that so many steps do not show is not seen.
STEPS_MAX = 80_000
#: So long a room is compiled, and a fault looked for, at most.
PATIENCE_S = 600


@dataclass(frozen=True)
class Seen:
    """A fault that was seen: after how many steps, and how many of them tell it."""

    steps: int
    story_steps: int


class Unfit(Exception):
    """The fault cannot be looked for; says why."""


def copied(folder: Path) -> Path:
    """The fast path as it is, compiled, beside all else of this checkout."""
    for name in ("models", "reference", "spec", "tests"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "src", folder / "src", symlinks=True)
    shutil.copytree(ROOT / "fastpath", folder / "fastpath", ignore=shutil.ignore_patterns("*.cpp", "__pycache__"))
    return folder


def plant(patch: Path, tree: Path) -> None:
    """The fault in a copy, and the rooms that it is in compiled anew: quickly rather than well."""
    before = {room: room.read_bytes() for room in tree.glob("fastpath/*.p*")}
    applied = subprocess.run(["git", "apply", str(patch)], cwd=tree, capture_output=True, text=True, check=False)
    spoilt = [str(room.relative_to(tree)) for room, text in before.items() if room.read_bytes() != text]
    if applied.returncode != 0 or not spoilt:
        raise Unfit(f"the patch does not apply to the fast path any more: {applied.stderr.strip()}")
    if any(room.endswith(".pxd") for room in spoilt):
        raise Unfit(f"more than rooms would have to be compiled: {', '.join(spoilt)}")
    rooms = [f"src/fiducial/{room}" for room in spoilt if room.endswith(".pyx")]
    if not rooms:
        return
    command = [sys.executable, "-m", "Cython.Build.Cythonize", "-3", "-i", "-q", *rooms]
    flags = "-O0 -g0 -std=c++17 -fwrapv"  # which of the two is asked for C++, depends on the setuptools
    environment = {**os.environ, "CFLAGS": flags, "CXXFLAGS": flags}
    built = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    if built.returncode != 0:
        raise Unfit(f"it does not compile: {built.stdout[-500:]}{built.stderr[-500:]}")


def looked_for(tree: Path, steps_max: int, machine: str = MACHINES["equality"]) -> Seen | None:
    """Histories asked of the reference and the fast path of this copy."""
    environment = {**os.environ, "PYTHONPATH": f"{tree / 'src'}:{ROOT / 'tests'}"}
    command = [sys.executable, "-m", machine, str(steps_max)]
    done = subprocess.run(command, cwd=tree / "src", env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    if done.returncode != 0:
        raise Unfit(f"the histories ended otherwise: {done.returncode}, {done.stderr[-1000:]}")
    told = json.loads(done.stdout)
    assert Path(told["core"]).is_relative_to(tree)
    return None if told["story"] is None else Seen(told["steps"], told["story"]["steps"])


def hunted(patch: Path, folder: Path) -> Seen | str:
    """Plant the fault and look for it; if it is not seen, why not."""
    folder.mkdir()
    try:
        tree = copied(folder)
        plant(patch, tree)
        return looked_for(tree, STEPS_MAX, MACHINES[patch.parent.name]) or f"not seen in {STEPS_MAX:,} steps"
    except (Unfit, subprocess.TimeoutExpired) as error:
        return str(error)
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_every_patch_applies_also_those_that_only_a_long_run_looks_for(patch: Path) -> None:
    done = subprocess.run(["git", "apply", "--check", str(patch)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_planted_fault_is_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missed = []
    with ThreadPoolExecutor(os.cpu_count()) as pool, capsys.disabled():
        found = pool.map(hunted, CHOSEN, (tmp_path / patch.stem for patch in CHOSEN))
        print(f"\n{'planted in the fast path':<50} {'steps until seen':>16} {'steps of the story':>18}")
        for patch, seen in zip(CHOSEN, found, strict=True):
            if isinstance(seen, Seen):
                print(f"{patch.stem:<50} {seen.steps:>16,} {seen.story_steps:>18}", flush=True)
            else:
                missed.append(f"{patch.stem} ({patch.read_text().splitlines()[0]}) {seen}")
    assert {patch.stem for patch in PATCHES} >= EVERYDAY
    assert not missed, "\n".join(missed)


@pytest.mark.parametrize("machine", MACHINES.values(), ids=list(MACHINES))
def test_a_copy_without_a_fault_shows_none(tmp_path: Path, machine: str) -> None:
    assert looked_for(copied(tmp_path), 2_000, machine) is None


def test_a_patch_that_no_longer_applies_is_told(tmp_path: Path) -> None:
    patch = tmp_path / "old.patch"
    patch.write_text(PATCHES[0].read_text().replace("\n-    ", "\n-    no such text"))
    assert "does not apply to the fast path any more: error: " in str(hunted(patch, tmp_path / "tree"))
