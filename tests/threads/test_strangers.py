"""Strangers come and go, over TCP, in every way that there is: whoever asks rightly is answered rightly, and nothing is left of those who are gone.

With FIDUCIAL_LONG=1 many more of them, also where threads hesitate at locks, and where AddressSanitizer and UndefinedBehaviorSanitizer watch.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable

import pytest
from conftest import not_run
from sanitized.rooms import ADDRESS, CompilerMissing

from threads.building import CHAOS, built, campaign, installed
from threads.strangers import ENDINGS

IS_LONG = bool(os.environ.get("FIDUCIAL_LONG"))
#: Every third campaign has clients that fall silent, and a broker that does not wait long for them.
CAMPAIGNS, STORIES = 60 if IS_LONG else 3, 40
#: So long one may take, which needs some seconds.
PATIENCE_S = 600
WAYS: dict[str, Callable[[], dict[str, str]]] = {"as installed": installed}
if IS_LONG:
    WAYS |= {"threads that hesitate": lambda: built(CHAOS), "sanitizers": lambda: built(ADDRESS)}


@pytest.mark.parametrize("way", WAYS)
def test_strangers_are_answered_what_they_ask_for_and_leave_nothing(way: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        environment = WAYS[way]()
    except CompilerMissing as reason:
        not_run(str(reason))
    told = Counter[str]()
    for seed in range(1, CAMPAIGNS + 1):
        one = campaign(environment, seed, STORIES, PATIENCE_S, "threads.strangers")
        assert "found" not in one, one
        told.update(one["stories"])
        with capsys.disabled():
            print(f"\r{told.total():,} strangers ", end="", flush=True)
    assert told.keys() == {*ENDINGS, "is silent"}
