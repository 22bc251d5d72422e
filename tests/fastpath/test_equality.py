"""The fast path is the reference broker: the same frames, clock and seed give the same bytes, and the same state, step by step.

Histories of the history machine are asked of both at once (`twins`); one that ends in a difference is shrunk to a short story. How many steps:
STEPS, times ten with FIDUCIAL_LONG=1, or as many as FIDUCIAL_STEPS says.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
from collections.abc import Callable

import pytest

from fastpath.equality import history, shrunk

STEPS = 100_000


def steps_wanted() -> int:
    """How many steps this run is to take."""
    is_long = bool(os.environ.get("FIDUCIAL_LONG"))
    return int(os.environ.get("FIDUCIAL_STEPS", STEPS * (10 if is_long else 1)))


def test_the_fast_path_answers_as_the_reference_does(tell: Callable[[str], None], capsys: pytest.CaptureFixture[str]) -> None:
    wanted, taken = steps_wanted(), 0
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        for number, (steps, story) in enumerate(pool.imap(history, itertools.count(1))):
            if story is not None:
                seed = number + 1
                pool.terminate()
                pytest.fail(f"history {seed}:\n{shrunk(story)}", pytrace=False)
            taken += steps
            if number % 20 == 0:
                with capsys.disabled():
                    print(f"\r{taken:,} of {wanted:,} steps equal ", end="", flush=True)
            if taken >= wanted:
                pool.terminate()
                break
    tell(f"{number + 1} histories, {taken:,} steps: equal bytes, equal state")
