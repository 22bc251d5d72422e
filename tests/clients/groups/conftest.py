"""Runs of groups, several at a time: each mostly waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from conftest import not_run
from peers.kafka import PeerUnavailable

from clients.groups.brokers import KINDS
from clients.groups.outcome import Outcome, outcome_of
from clients.groups.plan import Planned

AT_ONCE = 4


@pytest.fixture(scope="session")
def outcome_of_plan(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Planned], Outcome]]:
    """What came of a run that a test of this session is about. All of them are begun at the first question."""
    calls = (getattr(item, "callspec", None) for item in request.session.items)
    planned: list[Planned] = [call.params["planned"] for call in calls if call and "planned" in call.params]
    pool = ThreadPoolExecutor(AT_ONCE)

    def begin(one: Planned) -> Future[Outcome]:
        return pool.submit(outcome_of, KINDS[one.broker], one.flavour, one.scenario, tmp_path_factory.mktemp("group"))

    running = {one: begin(one) for one in planned}

    def outcome(one: Planned) -> Outcome:
        try:
            return running[one].result()
        except PeerUnavailable as reason:
            not_run(f"{one.flavour.client} in a group, on {one.broker}: {reason}")

    yield outcome
    pool.shutdown(cancel_futures=True)
