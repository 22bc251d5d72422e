"""Histories, and every crash of them: what `test_crashes.py` runs, and what must see each fault that `test_mutants.py` plants.

`python -m faults.campaign FOLDER` (with src and tests on the path) runs the everyday one in a folder, and says as JSON what it looked at and what
it found; the folder had better be in memory.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from faults.check import Check, Report
from faults.histories import POLICIES, History
from faults.run import Run
from faults.stories import Stories
from fiducial.fastpath import core


@dataclass(frozen=True)
class Plan:
    """How much is looked at."""

    seeds: range  # of histories, for each policy alone and for all side by side
    actions: int  # of a history
    cuts: int  # images of power cuts at each operation
    second_acts: int  # that begin on what a crash of a history has left, let its logs grow again, and crash again


EVERYDAY = Plan(range(12, 13), actions=36, cuts=3, second_acts=3)
LONG = Plan(range(8, 13), actions=60, cuts=6, second_acts=8)


@dataclass
class Campaign:
    """Runs a plan in a folder."""

    plan: Plan
    work: Path
    report: Report = field(default_factory=Report)
    did: Counter[str] = field(default_factory=Counter)

    def run(self) -> None:
        """Every story, every history, and every crash of these; Violation at the first that is not allowed."""
        Stories(self.work, self.report, self.plan.cuts).tell()
        for seed in self.plan.seeds:
            for number, policies in enumerate([*((policy,) for policy in POLICIES), tuple(POLICIES)]):
                self.history(policies, 100 * seed + number)

    def history(self, policies: tuple[str, ...], seed: int) -> None:
        """One history, its crashes, and the crashes of what goes on after some of these."""
        folder = self.work / f"{'-'.join(policies)}-{seed}"
        folder.mkdir()
        history = History(Run(folder / "run"), policies, seed)
        check = Check(history.happen(self.plan.actions), folder, self.report)
        random = Random(seed)
        check.every_crash(cuts=self.plan.cuts, random=random)
        for lossy in random.sample(check.lossy, min(self.plan.second_acts, len(check.lossy))):
            second = History(check.act_after(lossy), policies, seed + 1).go_on(lossy.ends)
            Check(second, folder, self.report).every_crash(cuts=self.plan.cuts, random=random)
            self.did["second acts"] += 1
        self.did += history.did
        shutil.rmtree(folder)


def main(folder: str) -> int:
    """Run the everyday campaign. Whatever is found is an AssertionError: of the check, or of the run itself, if the broker answers wrongly."""
    campaign, found = Campaign(EVERYDAY, Path(folder)), None
    try:
        campaign.run()
    except AssertionError as error:
        found = f"{type(error).__name__}: {error}"
    print(json.dumps({"core": core.__file__, "found": found, "looked": str(campaign.report), "did": campaign.did}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
