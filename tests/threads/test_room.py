"""Whoever waits for room is read from when there is some, whatever the threads were about to do when it came."""

from __future__ import annotations

import os

from threads.building import campaign, installed

ROUNDS = 3000
#: So long they may take, which need a second.
PATIENCE_S = 600


def test_nobody_waits_for_room_that_is_there() -> None:
    environment = installed()
    for seed in range(1, 11 if os.environ.get("FIDUCIAL_LONG") else 2):
        assert campaign(environment, seed, ROUNDS, PATIENCE_S, "threads.room") == {"rounds": ROUNDS}
