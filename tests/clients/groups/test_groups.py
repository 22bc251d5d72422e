"""Groups of every client, whose members come, go, sleep and die, while the broker is killed: what holds on Apache Kafka holds on both brokers of ours."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from clients.groups.outcome import Outcome
from clients.groups.plan import Planned, planned

pytestmark = pytest.mark.clients


@pytest.mark.parametrize("planned", list(planned()), ids=str)
def test_a_group_reads_everything_and_no_partition_twice_at_once(
    planned: Planned, outcome_of_plan: Callable[[Planned], Outcome]
) -> None:
    outcome = outcome_of_plan(planned)
    assert not outcome.wrong, str(outcome)
