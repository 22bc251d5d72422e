"""Many histories, one after another, against one broker: what they reached, and the first difference, told."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from fiducial.conformance.exploration.histories import Histories
from fiducial.conformance.exploration.pairs import Pair, Story, World, run
from fiducial.conformance.exploration.shrinking import shrunk
from fiducial.conformance.exploration.targets import Models, Patient
from fiducial.models.settings import parse
from fiducial.models.topics import INTERNAL, METADATA_TOPIC

#: So many requests make a history: later ones meet logs that have rolled and producers that have moved on.
HISTORY_STEPS = 250
#: How often a long campaign says how far it is.
PROGRESS_REQUESTS = 5_000
#: These are called as they are called.
RESERVED = INTERNAL | {METADATA_TOPIC}

IS_LONG = os.environ.get("FIDUCIAL_LONG") == "1"


def seed_given(default: int) -> int:
    """The seed of the first history."""
    return int(os.environ.get("FIDUCIAL_SEED") or default)


def requests_given(everyday: int, long: int) -> int:
    """How many requests to send."""
    return int(os.environ.get("FIDUCIAL_REQUESTS") or (long if IS_LONG else everyday))


@dataclass
class Campaign:
    """Histories against one target; `tell` shows a line of progress, `again` is the command that asks the same."""

    theirs: Patient
    again: str
    tell: Callable[[str], None]
    is_strict: bool = False
    keeps_house: bool = False
    is_for_one_history: bool = False  # the target cannot be brought back to the beginning: no shorter story can be tried
    settings: dict[str, str] = field(default_factory=dict)
    reached: Counter[str] = field(default_factory=Counter)
    asked: int = 0

    def pair(self, world: World) -> Pair:
        """The models and a target at the beginning of a history."""
        return Pair(Models(settings=parse(self.settings)), self.theirs, world, self.is_strict)

    def run(self, seed: int, requests: int, steps: int = HISTORY_STEPS) -> None:
        """So many requests. AssertionError, with a short story, at the first difference."""
        begun, told, histories = time.monotonic(), 0, 0
        while self.asked < requests:
            self.history(seed + histories, min(steps, requests - self.asked))
            histories += 1
            if self.asked - told >= PROGRESS_REQUESTS:
                told = self.asked
                rate = self.asked / (time.monotonic() - begun)
                self.tell(f"{self.asked:>7,} requests in {histories} histories against {self.theirs.name}, {rate:,.0f}/s")

    def history(self, seed: int, steps: int) -> None:
        """One history."""
        histories = Histories(seed, keeps_house=self.keeps_house)
        # Names of its own: a topic whose creation Apache Kafka once gave up, for a Metadata request, it does not try to create again.
        mentioned = tuple(name for name in histories.world.mentioned if name not in RESERVED)
        pair = self.pair(replace(histories.world, prefix=f"h{seed}", mentioned=mentioned))
        story = run(pair, histories.steps(steps))
        self.reached += pair.reached
        self.asked += pair.asked
        if story is not None:
            raise AssertionError(self.report(story, seed))

    def report(self, story: Story, seed: int) -> str:
        """The difference, and how to see it again."""
        self.tell(f"history {seed} differs at step {len(story.steps)}; looking for a short story")
        short = story if self.is_for_one_history else shrunk(story, self.pair)
        return (
            f"\n{self.theirs.name} answers what {'the model does not' if self.is_strict else 'no rule allows'}. "
            f"History {seed}, step {len(story.steps)}, in short:\n\n{short}\n\nagain: FIDUCIAL_SEED={seed} {self.again}"
        )


def missing(reached: Counter[str], floors: dict[str, int]) -> dict[str, str]:
    """What was reached less often than it should have been."""
    return {what: f"{reached[what]} < {floor}" for what, floor in floors.items() if reached[what] < floor}
