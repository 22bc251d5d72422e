"""Groups of every client, whose members come, go, sleep and die, while the broker is killed: what holds on Apache Kafka holds on both brokers of ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from clients.groups.brokers import Kind, reference
from clients.groups.flavours import FLAVOURS
from clients.groups.outcome import Outcome, outcome_of
from clients.groups.plan import Planned, planned
from clients.groups.scenarios import Scenario

pytestmark = pytest.mark.clients


@pytest.mark.parametrize("planned", list(planned()), ids=str)
def test_a_group_reads_everything_and_no_partition_twice_at_once(
    planned: Planned, outcome_of_plan: Callable[[Planned], Outcome]
) -> None:
    outcome = outcome_of_plan(planned)
    assert not outcome.wrong, str(outcome)


def test_a_broker_whose_generations_begin_anew_is_found_out(tmp_path: Path) -> None:
    """The flaw X13 of the models: two members that never met own the same partitions in generation 1."""
    flawed = Kind(lambda folder: reference(folder, "X13"), keeps=False)
    outcome = outcome_of(flawed, FLAVOURS[0], Scenario("one after the other", 1, 1, ()), tmp_path)
    assert any(one.startswith("no partition has two owners in a generation") for one in outcome.wrong), str(outcome)
