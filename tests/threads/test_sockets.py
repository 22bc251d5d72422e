"""The same with real sockets and I/O threads: several clients that send without waiting, others that wait for what comes, and a control plane that is busy."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from threads.building import campaign, installed

CAMPAIGNS, REQUESTS = 3, 1000
#: So long one may take, which needs some seconds.
PATIENCE_S = 600


def test_what_clients_are_told_and_what_threads_did_is_what_the_model_does(capsys: pytest.CaptureFixture[str]) -> None:
    environment, kinds = installed(), Counter[str]()
    for seed in range(1, 1 + CAMPAIGNS * (20 if os.environ.get("FIDUCIAL_LONG") else 1)):
        told = campaign(environment, seed, REQUESTS, PATIENCE_S, "threads.sockets")
        assert "found" not in told, told
        kinds.update(told["kinds"])
        with capsys.disabled():
            print(f"\r{kinds.total():,} steps equal over TCP ", end="", flush=True)
    assert {"PRODUCE", "PRODUCE duplicate", "FETCH", "LOOK_UP", "COMMIT", "CONFIGURE", "RAISE_START", "RETAIN"} <= kinds.keys()
