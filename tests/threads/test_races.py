"""ThreadSanitizer watches campaigns, without sockets and over TCP, and of strangers, and has nothing to report; of the faults that it alone can see it reports each.

The rooms are built for it first, which takes a minute or two: with FIDUCIAL_LONG=1, or by `make races`.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from sanitized.rooms import FOUND, ROOT, THREAD, CompilerMissing

from threads.building import built, campaign
from threads.test_thread_mutants import MUTANTS, UNSEEN, planted

pytestmark = pytest.mark.skipif(not os.environ.get("FIDUCIAL_LONG"), reason="the rooms are built with ThreadSanitizer: FIDUCIAL_LONG=1, or make races")

SEEDS, REQUESTS, STORIES = range(1, 6), 1500, 40
#: Threads are ten times as slow here.
PATIENCE_S = 900


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    """With the rooms as they are."""
    try:
        return built(THREAD)
    except CompilerMissing as reason:
        pytest.skip(f"NOT RUN: {reason}")


@pytest.mark.parametrize("module, amount", [("threads.campaign", REQUESTS), ("threads.sockets", REQUESTS), ("threads.strangers", STORIES)])
def test_threads_do_not_race(environment: dict[str, str], module: str, amount: int) -> None:
    for seed in SEEDS:
        told = campaign(environment, seed, amount, PATIENCE_S, module)
        assert "found" not in told, told["found"]


@pytest.mark.parametrize("name", [*sorted(UNSEEN), "a-batch-is-stored-without-the-lock"])
def test_a_missing_lock_is_reported(environment: dict[str, str], name: str, tmp_path: Path) -> None:
    rooms = shutil.copytree(ROOT / "build" / "sanitized" / THREAD.name, tmp_path / "rooms", symlinks=True)
    told = campaign(built(THREAD, planted(MUTANTS / f"{name}.patch", tmp_path), rooms), 1, REQUESTS, PATIENCE_S)
    assert f"the process ended with {FOUND}: " in told["found"]
    assert "WARNING: ThreadSanitizer: data race" in told["found"]
