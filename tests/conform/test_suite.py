"""The cases: well formed, and passed by an honest broker. That each can fail is shown in test_spoilt.py and test_flaws.py."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext

import pytest

from conform.brokers import NO_SETTINGS, few, serving
from fiducial.conformance import suite
from fiducial.conformance.cases import Case, Verdict
from fiducial.conformance.running import ARRIVAL_S, Judge, Result
from fiducial.conformance.target import Target
from fiducial.models import log, specification
from fiducial.models.flaws import Flaw, switched_on
from fiducial.models.log import LogConfig
from fiducial.models.partition import Partition
from fiducial.reference.core import Core

RULES = specification.rules()
LEVELS = {rule.id: rule.level for rule in RULES.values()}
CASES = suite.every()
#: Under these every story can be told.
SETTINGS = {
    "log.retention.check.interval.ms": "50", "fetch.max.bytes": "100000", "producer.id.expiration.ms": "1000", "group.max.size": "2",
    "offsets.retention.check.interval.ms": "50",
}  # fmt: skip


def results(
    cases: Sequence[Case], settings: Mapping[str, str] = NO_SETTINGS, oddity: Callable[[], AbstractContextManager[None]] = nullcontext
) -> list[Result]:
    """What comes of cases at a broker, in few versions of each request."""
    with serving(settings=settings, flaw=oddity) as broker:
        target = Target(broker.host, broker.port)
        target.versions = few(target.versions)
        judge = Judge(target, LEVELS, is_allowed_all=True)
        with closing(judge):
            if oddity is nullcontext:  # or an oracle that is asked meanwhile has it too
                judge.begin(cases)
            return [judge.judge(case) for case in cases]


def test_a_case_is_named_after_its_rule_and_cites_rules_that_there_are() -> None:
    for case in CASES.values():
        assert re.fullmatch(r"[A-Z]+-[A-Z]+-[0-9]+/[a-z0-9]+(-[a-z0-9]+)*", case.id), case.id
        assert set(case.rules) <= set(RULES), case.id
        assert len(f"conform-00000000-{case.id}-99-x") < 249


def test_an_honest_broker_passes_every_case() -> None:
    special = [case for case in CASES.values() if case.settings]
    found = results([case for case in CASES.values() if not case.settings]) + results(special, SETTINGS)
    assert not {one.case.id: one.worst.finding for one in found if one.verdict is not Verdict.PASS}


def test_a_broker_that_is_slow_to_let_anybody_in_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one is on a busy machine; what waits must have come before the story goes on."""
    let_in = Core.connected

    def let_in_slowly(core: Core, number: int, address: str) -> None:
        time.sleep(3 * ARRIVAL_S)
        let_in(core, number, address)

    monkeypatch.setattr(Core, "connected", let_in_slowly)
    waiting = [case for case in CASES.values() if case.id.startswith("LOG-FETCH-14/")]
    assert waiting and {one.verdict for one in results(waiting)} == {Verdict.PASS}


def in_epoch_5(config: LogConfig, now: int) -> Partition:
    return Partition(log.new_log(5, now), config, leader_epoch=5)


#: As it may be where logs elect their leaders themselves.
BEGINS_LATER = Flaw("", "no flaw", "topics begin in leader epoch 5", target="fiducial.models.partition:new_partition", replacement=in_epoch_5)


def test_a_broker_whose_topics_begin_in_a_later_leader_epoch_passes() -> None:
    concerned = [case for case in CASES.values() if re.match("LOG-(APPEND|READ|FETCH|SESSION|TIME|EPOCH)-", case.id) and not case.settings]
    found = results(concerned, oddity=lambda: switched_on(BEGINS_LATER))
    assert not {one.case.id: one.worst.finding for one in found if one.verdict is not Verdict.PASS}
