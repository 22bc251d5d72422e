"""One run by hand, or one that failed again: what happens is told as in a test.

    PYTHONPATH=tests python -m clients.groups fast confluent-kafka-range "each in turn"
    PYTHONPATH=tests python -m clients.groups kafka java-cooperative-sticky --seed 7
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from clients.groups.brokers import KINDS
from clients.groups.flavours import FLAVOURS
from clients.groups.outcome import Outcome, outcome_of
from clients.groups.scenarios import SCENARIOS, drawn


def main() -> int:
    """Run it; the exit status is 1 if something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m clients.groups")
    parser.add_argument("broker", choices=KINDS)
    parser.add_argument("flavour", choices=[str(one) for one in FLAVOURS])
    parser.add_argument("scenario", nargs="?", default=SCENARIOS[0].name, choices=[one.name for one in SCENARIOS])
    parser.add_argument("--seed", type=int, help="a scenario drawn from it")
    options = parser.parse_args()
    flavour = next(one for one in FLAVOURS if str(one) == options.flavour)
    scenario = next(one for one in SCENARIOS if one.name == options.scenario)
    if options.seed is not None:
        scenario = drawn(options.seed, is_static=flavour.is_static)
    folder = Path(tempfile.mkdtemp(prefix="fiducial-groups-"))
    outcome: Outcome = outcome_of(KINDS[options.broker], flavour, scenario, folder)
    print(outcome, f"journals: {folder}", sep="\n")
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
