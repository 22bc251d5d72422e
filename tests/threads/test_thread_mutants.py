"""The checks of threads can fail: each fault below mutants/, planted in a copy of the fast path whose threads hesitate at locks, is found.

A patch says in its first line what is wrong. All are held against the code in each run, and looked for with FIDUCIAL_LONG=1.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sanitized.rooms import ADDRESS, ROOT

from threads.building import CHAOS, built, campaign

MUTANTS = Path(__file__).with_name("mutants")
PATCHES = sorted(MUTANTS.glob("*.patch"))
#: What only ThreadSanitizer finds: everything comes to the same on this processor.
UNSEEN = {"the-configuration-is-read-without-the-lock"}
#: Which check finds a fault: a campaign without sockets, unless another is named.
OVER_TCP = {"who-waits-for-the-disk-is-not-paused", "a-buffer-is-used-again-before-it-is-sent"}
IN_LITTLE_ROOM = {"who-waits-for-room-does-not-look-again", "who-gives-room-back-tells-nobody"}
BY_TESTS = {
    "an-answer-is-given-before-the-sync": "threads/test_slow_disk.py",
    "readers-are-told-before-the-sync": "threads/test_slow_disk.py",
    "a-checkpoint-does-not-wait-for-a-descriptor": "fastpath/test_descriptors.py",
    "connections-take-every-descriptor": "fastpath/test_descriptors.py",
    "who-cannot-accept-never-does-again": "fastpath/test_epoll.py",
    "who-has-unpacked-does-not-look-again": "fastpath/test_unpacking.py",
    "who-unpacks-keeps-the-table": "fastpath/test_unpacking.py",
}
BY_STRANGERS = {
    "a-fault-ends-another-too", "a-fetch-of-who-is-gone-waits-on", "an-answer-is-for-whoever-has-the-place", "what-was-sent-in-part-is-sent-again",
    "who-breaks-off-keeps-files", "who-breaks-off-keeps-room", "who-is-far-ahead-is-read-from", "who-is-gone-is-buried-at-once", "who-is-silent-stays",
    "who-said-no-more-stays", "who-says-no-more-hears-no-more", "who-waits-for-room-is-not-fed", "whose-frame-has-begun-goes-hungry",
}  # fmt: skip
#: What is seen only where AddressSanitizer watches the memory: it comes to the same otherwise.
WATCHED = {"who-is-gone-is-buried-at-once"}
#: So many campaigns are tried, of so many requests of each producer, or stories of each client.
CAMPAIGNS, REQUESTS, STORIES = 40, 1500, 40
#: A campaign that takes so much longer than any other will never end: somebody waits for a lock, or for an answer.
PATIENCE_S = 300


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_every_patch_applies(patch: Path) -> None:
    done = subprocess.run(["git", "apply", "--check", str(patch)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def planted(patch: Path, folder: Path) -> Path:
    """A checkout in which the fault is."""
    tree = folder / "tree"
    shutil.copytree(ROOT / "src", tree / "src", symlinks=True)
    shutil.copytree(ROOT / "fastpath", tree / "fastpath", ignore=shutil.ignore_patterns("*.cpp", "*.so", "__pycache__"))
    for name in ("models", "reference", "spec", "tests"):
        (tree / name).symlink_to(ROOT / name)
    subprocess.run(["git", "apply", str(patch)], cwd=tree, check=True)
    return tree


def found(patch: Path, environment: dict[str, str], rooms: Path) -> str:
    """What the check that is for this fault says of it; nothing, if it does not see it."""
    if patch.stem in BY_TESTS:
        test = ROOT / "tests" / BY_TESTS[patch.stem]
        command = [sys.executable, "-P", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-o", f"pythonpath={rooms} tests", str(test)]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE_S * 5, check=False)
        *_, last = done.stdout.splitlines()
        return last if " failed" in last else ""  # a fixture that cannot be had says nothing
    by = (("threads.strangers", BY_STRANGERS), ("threads.sockets", OVER_TCP), ("threads.room", IN_LITTLE_ROOM))
    module = next((name for name, faults in by if patch.stem in faults), "threads.campaign")
    for seed in range(1, CAMPAIGNS + 1):
        told = campaign(environment, seed, STORIES if patch.stem in BY_STRANGERS else REQUESTS, PATIENCE_S, module)
        if "found" in told:
            return f"campaign {seed}: {told['found'][:200]}"
    return ""


@pytest.mark.skipif(not os.environ.get("FIDUCIAL_LONG"), reason="each fault is compiled, and looked for in up to forty campaigns: FIDUCIAL_LONG=1")
@pytest.mark.parametrize("patch", [patch for patch in PATCHES if patch.stem not in UNSEEN], ids=lambda patch: patch.stem)
def test_every_planted_fault_is_found(patch: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    way = ADDRESS if patch.stem in WATCHED else CHAOS
    built(way)
    rooms = shutil.copytree(ROOT / "build" / "sanitized" / way.name, tmp_path / "rooms", symlinks=True)
    told = found(patch, built(way, planted(patch, tmp_path), rooms), rooms)
    with capsys.disabled():
        print(f"\n{patch.stem}: {told or 'not found'}")
    assert told, f"not found: {patch.read_text().splitlines()[0]}"
