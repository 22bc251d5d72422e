"""From a long history that ends in a difference to a short story that ends in the same: nothing can be left out of it.

Delta debugging: first runs of steps are left out, the longest first, then single steps, then parts of what is left in each step, until no
single thing can go. Every try is asked of both targets anew, from the beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from fiducial.conformance.exploration.pairs import Asker, Story, World, run
from fiducial.conformance.exploration.steps import Step, simpler
from fiducial.conformance.oracle import KEYS
from fiducial.models.apis import APIS
from fiducial.models.values import changed

#: So often a shorter story is tried at most: each try asks two brokers for a whole story.
TRIES = 2000


class Shrinker:
    """Looks for the shortest story that ends as `story` does."""

    def __init__(self, story: Story, fresh: Callable[[World], Asker], tries: int) -> None:
        self.best = story
        self.world = story.world
        self.fresh = fresh
        self.tries = tries
        self.places = story.places()

    def holds(self, steps: Sequence[Step]) -> bool:
        """Do these steps end in the same difference? If so, they are the best so far, up to where they first differ."""
        if self.tries == 0:
            return False
        self.tries -= 1
        story = run(self.fresh(self.world.of(steps)), steps)
        if story is None or not story.places() & self.places:
            return False
        self.best = story
        return True

    def without_runs(self) -> None:
        """Leave out runs of steps, each time half as long, but never the last step; single ones until none can go."""
        size = max(len(self.best.steps) // 2, 1)
        while size:
            before = len(self.best.steps)
            self.without_runs_of(size)
            if size > 1 or len(self.best.steps) == before:
                size //= 2

    def without_runs_of(self, size: int) -> None:
        """Leave out what can be left out of runs of this length, from the first on."""
        begin = 0
        while begin < len(self.best.steps) - 1:
            steps = self.best.steps
            if not self.holds(steps[:begin] + steps[min(begin + size, len(steps) - 1) :]):
                begin += size

    def with_less(self) -> bool:
        """Make one step simpler, wherever that can be done; has anything become simpler?"""
        before = self.best.steps
        for index in range(len(before) - 1, -1, -1):
            while self.one_step_less(index):
                pass
        return self.best.steps != before

    def one_step_less(self, index: int) -> bool:
        """Make this step simpler by one thing, if there is a way."""
        steps = self.best.steps
        if index >= len(steps):
            return False
        return any(self.holds([*steps[:index], less, *steps[index + 1 :]]) for less in less_than(steps[index]))


def less_than(step: Step) -> Iterator[Step]:
    """The step with one thing less, so that it is shorter to tell, or in the newest version."""
    newest = APIS[step.api_key].max_version if type(step.body) in KEYS else step.api_version
    if step.api_version != newest:
        yield changed(step, api_version=newest)
    length = len(str(step))
    yield from (less for less in simpler(step) if len(str(less)) < length)


def shrunk(story: Story, fresh: Callable[[World], Asker], tries: int = TRIES) -> Story:
    """A story that ends the same way, from which no step and no part of a step can be left out; or the shortest found in so many tries."""
    shrinker = Shrinker(story, fresh, tries)
    if not shrinker.holds(story.steps):
        return replace(story, is_steady=False)
    shrinker.without_runs()
    while shrinker.with_less():
        shrinker.without_runs()
    return shrinker.best
