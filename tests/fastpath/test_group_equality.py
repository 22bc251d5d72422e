"""Groups on both brokers: random histories, whose every answer, state, alarm and byte is the same on the fast path as in the reference.

FIDUCIAL_LONG=1 asks fifty times as much; FIDUCIAL_SEED=N begins with history N.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from differential.campaign import requests_given, seed_given

from fastpath.equality import folders
from fastpath.group_histories import LENGTH, GroupHistory
from fastpath.twins import Different
from fiducial.fastpath import group_log
from fiducial.fastpath.alarms import Alarms
from fiducial.fastpath.node import Node
from fiducial.models.groups import Alarm, State
from fiducial.models.rules import LADDERS

STEPS = requests_given(12_000, 400_000)
#: The ladders that judge requests to groups, by what their rules are called.
REFUSALS = {rung.rule for ladder in LADDERS.values() for rung in ladder.rungs if rung.rule.startswith("GROUP-")}


def told(history: GroupHistory, different: Different) -> str:
    """Where the two parted, and how it came to that."""
    return "\n".join((f"{different}:", f"the reference: {different.ours}", f"the fast path: {different.theirs}", "after:", *history.story[-30:]))


def asked_of_both(steps: int, first: int) -> tuple[Counter[str], Counter[State]]:
    """What so many steps reached, and how often groups were found in which state."""
    reached, states, taken = Counter[str](), Counter[State](), 0
    with folders() as fresh:
        while taken < steps:
            history = GroupHistory(next(fresh), first)
            try:
                for _ in range(LENGTH):
                    history.take()
                    states.update(history.states())
            except Different as different:
                pytest.fail(f"history {first}: {told(history, different)}")
            finally:
                history.twins.close()
            reached += history.reached
            taken, first = taken + LENGTH, first + 1
    return reached, states


def test_groups_are_the_same_on_both_brokers() -> None:
    reached, states = asked_of_both(STEPS, seed_given(1))
    assert {rule for rule in REFUSALS if not reached[rule]} == set()
    assert set(states) == {*State} - {State.DEAD} and min(states.values()) > 50
    assert min(reached["answered later"], reached["read as it was written"], reached["written anew"], reached["not written"]) > 0


# A difference is noticed


def parted(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, spoilt: Callable[..., Any]) -> bool:
    """Do the two part where one function of the fast path is spoilt?"""
    monkeypatch.setattr(owner, name, spoilt)
    with folders() as fresh:
        for seed in range(1, 30):
            history = GroupHistory(next(fresh), seed)
            try:
                for _ in range(LENGTH):
                    history.take()
            except (Different, AssertionError):
                return True
            finally:
                history.twins.close()
    return False


def late(self: Alarms, alarm: Alarm, at_ms: int, set_: Any = Alarms.set) -> None:
    set_(self, alarm, at_ms + 1)


def read_but_the_last(*where: Any, read: Any = group_log.read) -> Any:
    records, has_others = read(*where)
    return records[:-1], has_others


def unanswered(self: Node, ticket: int, body: Any, *, has_changed: bool, answer: Any = Node.answer) -> Any:
    return [] if len(self.waiting) > 2 else answer(self, ticket, body, has_changed=has_changed)


@pytest.mark.parametrize(
    ("owner", "name", "spoilt"),
    [
        pytest.param(Alarms, "set", late, id="an alarm that is set too late"),
        pytest.param(group_log, "read", read_but_the_last, id="a start that does not read the last record"),
        pytest.param(Node, "answer", unanswered, id="answers that are forgotten where many wait"),
    ],
)
def test_what_one_of_them_does_otherwise_is_noticed(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, spoilt: Callable[..., Any]) -> None:
    assert parted(monkeypatch, owner, name, spoilt)
