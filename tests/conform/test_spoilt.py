"""Each case can fail: it notices when its rule is spoilt by machine, in one way at least. And no rule is left without a case, or a reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import pytest
from house.mutants import function_named
from house.mutations import put_in

from conform.spoilt import differ, faults, honest, notices, told, versions
from fiducial.conformance import suite
from fiducial.conformance.cases import Case, case, produce
from fiducial.conformance.suite.unseen import FOLLOWERS, UNSEEN
from fiducial.conformance.symbols import Batch
from fiducial.models import specification
from fiducial.models.flaws import rung_removed
from fiducial.models.partition import Partition
from fiducial.models.rules import IMPLEMENTED_BY, LADDERS, Ladder, Rung
from fiducial.models.topics import TIME_CHECK

PAGES = ("log.md", "idempotence.md", "wire.md", "groups.md")
#: What is about bytes and sockets, rather than messages, is spoilt in test_spoilt_wire.py.
BELOW_MESSAGES = re.compile(r"WIRE-FRAME-([2,5-9]|1[0-2])|WIRE-VERSIONS-2|WIRE-CONFIG-6|GROUP-MEMBER-9")
RULES = [rule.id for rule in specification.rules().values() if rule.page in PAGES and not BELOW_MESSAGES.fullmatch(rule.id)]
CASES = suite.every()


def one_too_many(partition: Partition, _asked: Any) -> int:
    return partition.log.end + 1


def unknown_until_something_is_written(log: Any, epoch: int) -> tuple[int, int]:
    return (-1, -1) if log.end == 0 else (epoch, log.end)


def always_late(timeout_ms: int, _times: Mapping[Any, int]) -> Rung | None:
    return TIME_CHECK.refusal(timeout_ms)


#: Spoilt by hand, where no fault of the machine's can be seen: the function that goes wrong, and how.
BY_HAND: Mapping[str, tuple[str, Callable[..., Any]]] = {
    "LOG-TIME-5": ("fiducial.models.partition:latest_offset", one_too_many),
    "LOG-EPOCH-2": ("fiducial.models.log:end_offset_for_epoch", unknown_until_something_is_written),
    "WIRE-TOPIC-14": ("fiducial.models.topics:late", always_late),
}
#: By rule the functions, and the ladders, whose faults nobody sees from outside; and cases that notice no fault of the machine's.
IN_VAIN: Mapping[str, str] = {
    "LOG-READ-2 partition:read_bound": FOLLOWERS,
    "LOG-TIME-5 partition:latest_offset": FOLLOWERS,
    "LOG-EPOCH-2 partition:become_leader": "a new log is made with its epoch entered: this is for elections",
    "IDEM-ID-5 offsets:asks_for_transactions": "what a broker without the rule answers, one that coordinates transactions may",
    "IDEM-ID-5/no-coordinator": "the same",
    "IDEM-ID-5 init producer id": "the same",
    "GROUP-MEMBER-2 member": "who is in no list of members is refused as anybody else is (GROUP-MEMBER-5)",
    "LOG-FETCH-5 fetch": "a new topic is in its first leader epoch, below which a fetch asks for no check",
    "LOG-FETCH-1/no-time": "to wait for no time, and not to wait, is the same; noticed is who waits for ever",
    "WIRE-META-1/no-name-version-10": "who does not know the rule answers the same for another (WIRE-META-2)",
    "WIRE-META-1/no-name-version-11": "the same",
    **dict.fromkeys(
        (
            "WIRE-CONFIG-24/logger", "WIRE-CONFIG-24/client-metrics", "WIRE-CONFIG-24/group", "WIRE-CONFIG-24 config_requests:resource_has_no_configs",
            "WIRE-CONFIG-24 change a configuration",
        ),
        "what a broker without the rule answers, one that has configurations there may",
    ),
    **dict.fromkeys(
        (
            "WIRE-CONFIG-25/set", "WIRE-CONFIG-25/taken", "WIRE-CONFIG-25/not-of-a-topic", "WIRE-CONFIG-25 config_requests:config_is_unknown",
            "WIRE-CONFIG-25 change a configuration",
        ),
        "no topic accepts an unknown name in any case (WIRE-CONFIG-27), and a peer may take its deletion",
    ),
}  # fmt: skip


def about(rule: str) -> list[Case]:
    """The cases that show a rule."""
    return [one for one in CASES.values() if rule in one.rules]


def by_hand(rule: str) -> Callable[[], AbstractContextManager[None]]:
    """The fault that was made by hand."""
    function, instead = BY_HAND[rule]
    return lambda: put_in(function_named(function), instead.__code__)


def in_vain(rule: str, cases: list[Case]) -> set[str]:
    """The functions of a rule all of whose faults go unnoticed, and the cases named after it that notice none. A fault is tried as long as it may tell."""
    blind = {one.id for one in cases if one.rule == rule}
    if rule in BY_HAND:
        blind -= {one.id for one in cases if notices(one, by_hand(rule))}
    unnoticed = set()
    for function in IMPLEMENTED_BY[rule]:
        if not function.startswith("fiducial.models."):
            continue
        is_noticed = False
        for fault in faults(function):
            for one in cases:
                if (one.id in blind or not is_noticed) and notices(one, fault.switched_on):
                    blind.discard(one.id)
                    is_noticed = True
            if is_noticed and not blind:
                break
        if not is_noticed:
            unnoticed.add(f"{rule} {function.removeprefix('fiducial.models.')}")
    return blind | unnoticed


@pytest.mark.parametrize("rule", [rule for rule in RULES if about(rule)])
def test_each_case_notices_when_its_rule_is_spoilt(rule: str) -> None:
    assert in_vain(rule, about(rule)) == {name for name in IN_VAIN if re.match(rf"{rule}(/| .*:)", name)}


RUNGS = [(ladder, rung) for ladder in LADDERS.values() for rung in ladder.rungs if rung.rule in RULES and about(rung.rule)]


@pytest.mark.parametrize(("ladder", "rung"), [pytest.param(ladder, rung, id=f"{rung.rule} {ladder.name}") for ladder, rung in RUNGS])
def test_a_rung_that_is_taken_out_is_noticed(ladder: Ladder, rung: Rung) -> None:
    is_noticed = any(notices(one, lambda: rung_removed(ladder, rung)) for one in about(rung.rule))
    assert is_noticed != (f"{rung.rule} {ladder.name}" in IN_VAIN)


def test_every_story_has_an_end_and_is_the_same_when_it_is_told_again() -> None:
    for one in CASES.values():
        if one.rule in RULES:
            newest = versions(one)[0]
            assert len(honest(one, newest)) == len(one.story), one.id
            assert not differ(one, honest(one, newest), told(one, newest)), one.id


@pytest.mark.parametrize("page", [*PAGES, "threads.md"])
def test_every_rule_has_a_case_or_a_reason(page: str) -> None:
    rules = {rule.id for rule in specification.rules().values() if rule.page == page}
    shown = {rule for one in CASES.values() for rule in one.rules}
    assert rules - shown == rules & UNSEEN.keys()
    assert UNSEEN.keys() <= specification.rules().keys()


def test_a_case_that_shows_nothing_of_its_rule_is_found() -> None:
    aside = case("LOG-READ-5/aside", produce(Batch()), produce(Batch()))
    assert in_vain("LOG-READ-5", [aside]) == {"LOG-READ-5/aside", "LOG-READ-5 log:readable_bytes"}
