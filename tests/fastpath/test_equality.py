"""The fast path is the reference broker: the same frames, clock and seed give the same bytes, and the same state, step by step.

Histories of the history machine are asked of both at once (`twins`); one that ends in a difference is shrunk to a short story. How many steps:
STEPS, times ten with FIDUCIAL_LONG=1, or as many as FIDUCIAL_STEPS says.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from differential.histories import Histories
from differential.running import Story, World, run
from differential.shrinking import Shrinker

from fastpath.twins import TwinPair, Twins

STEPS = 100_000
STEPS_PER_HISTORY = 500
#: Memory, where there is a file system in it: the files of a history are many and small.
SHARED_MEMORY = Path("/dev/shm")


def steps_wanted() -> int:
    """How many steps this run is to take."""
    is_long = bool(os.environ.get("FIDUCIAL_LONG"))
    return int(os.environ.get("FIDUCIAL_STEPS", STEPS * (10 if is_long else 1)))


@contextmanager
def folders() -> Iterator[Iterator[Path]]:
    """New data folders, one after another; gone in the end."""
    root = Path(tempfile.mkdtemp(dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None))
    try:
        yield (root / str(number) for number in itertools.count())
    finally:
        shutil.rmtree(root)


def history(seed: int) -> tuple[int, Story | None]:
    """One history, from its seed: the steps that were taken, and the story of the first difference."""
    machine = Histories(seed, keeps_house=True)
    with folders() as fresh:
        pair = TwinPair(Twins(next(fresh)), machine.world)
        story = run(pair, machine.steps(STEPS_PER_HISTORY))  # type: ignore[arg-type]  # all that it asks of a pair is `ask`
        pair.twins.close()
        return pair.twins.steps, story


def shrunk(story: Story, world: World) -> Story:
    """The shortest story that ends in the same difference."""
    with folders() as fresh:

        def again() -> TwinPair:
            return TwinPair(Twins(next(fresh)), world)

        shrinker = Shrinker(story, again, tries=300)  # type: ignore[arg-type]
        shrinker.without_runs()
        while shrinker.with_less():
            pass
        return shrinker.best


def test_the_fast_path_answers_as_the_reference_does(capsys: pytest.CaptureFixture[str]) -> None:
    wanted, taken = steps_wanted(), 0
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        for number, (steps, story) in enumerate(pool.imap(history, itertools.count(1))):
            if story is not None:
                seed = number + 1
                pool.terminate()
                pytest.fail(f"history {seed}:\n{shrunk(story, Histories(seed, keeps_house=True).world)}", pytrace=False)
            taken += steps
            if number % 20 == 0:
                with capsys.disabled():
                    print(f"\r{taken:,} of {wanted:,} steps equal ", end="", flush=True)
            if taken >= wanted:
                pool.terminate()
                break
    with capsys.disabled():
        print(f"\r{number + 1} histories, {taken:,} steps: equal bytes, equal state")
