"""Threads on one core do to each partition, step for step, what the model does; nobody waits in vain; and each client is told what happened.

How many steps: STEPS, ten times as many with FIDUCIAL_LONG=1, when the threads also hesitate at locks; or as many as FIDUCIAL_STEPS says.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from threads.building import CHAOS, built, campaign, installed

STEPS, REQUESTS = 100_000, 1500
#: So long one campaign may take, which needs some seconds.
PATIENCE_S = 600
#: What happens in every run, at least so often for a thousand batches that are appended. How much the control plane does meanwhile depends on the machine.
FLOORS = {
    "PRODUCE duplicate": 5, "PRODUCE OUT_OF_ORDER_SEQUENCE_NUMBER": 50, "PRODUCE CORRUPT_MESSAGE": 3, "PRODUCE MESSAGE_TOO_LARGE": 3,
    "FETCH": 200, "FETCH OFFSET_OUT_OF_RANGE": 20, "LOOK_UP": 30, "COMMIT": 50, "CONFIGURE": 1, "RAISE_START": 1, "RETAIN": 10, "EXPIRE": 10,
}  # fmt: skip


def is_long() -> bool:
    """Is there time?"""
    return bool(os.environ.get("FIDUCIAL_LONG"))


def test_what_threads_did_to_a_partition_is_what_the_model_does(capsys: pytest.CaptureFixture[str]) -> None:
    wanted, kinds, waited = int(os.environ.get("FIDUCIAL_STEPS", STEPS * (10 if is_long() else 1))), Counter[str](), 0
    environment = built(CHAOS) if is_long() else installed()
    with ThreadPoolExecutor(2) as pool, capsys.disabled():
        for begin in itertools.count(1, 2):
            told = list(pool.map(lambda seed: campaign(environment, seed, REQUESTS, PATIENCE_S), range(begin, begin + 2)))
            for one in told:
                assert "found" not in one, one
                kinds.update(one["kinds"])
                waited += one["waiting"]
            print(f"\r{kinds.total():,} of {wanted:,} steps equal ", end="", flush=True)
            if kinds.total() >= wanted:
                break
        print(f"\r{begin + 1} campaigns, {kinds.total():,} steps: {dict(kinds)}")
    assert waited > 0, "nobody waited to the end"
    rare = {kind: kinds[kind] for kind, floor in FLOORS.items() if kinds[kind] < floor * kinds["PRODUCE"] / 1000}
    assert not rare, f"too rare to show anything: {rare}"
