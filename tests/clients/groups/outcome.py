"""What came of a run: its story, in lines, and what the checks found wrong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clients.groups.brokers import Kind
from clients.groups.checks import found_wrong
from clients.groups.flavours import Flavour
from clients.groups.running import Unsettled, run
from clients.groups.scenarios import Scenario


@dataclass(frozen=True)
class Outcome:
    """Of one run."""

    told: list[str]
    wrong: list[str]

    def __str__(self) -> str:
        return "\n".join([*self.told, *(f"WRONG: {one}" for one in self.wrong)])


def outcome_of(kind: Kind, flavour: Flavour, scenario: Scenario, folder: Path) -> Outcome:
    """Run it on a broker of its own."""
    with kind.start(folder) as broker, run(broker, flavour, scenario, folder, kind) as made:
        try:
            wrong = found_wrong(made.go())
        except Unsettled as why:
            wrong = [f"the group becomes stable: {why}"]
        return Outcome(made.told, wrong)
