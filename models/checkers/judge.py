"""What an engine asks of each step it takes: those properties that speak of such a step, and the transition relation.

Which properties speak of a step is told by the classes of its event and its outcome, and by whether the world is another after it
(`Property.speaks_of`), so it is worked out once for each such kind of step. Most steps of a search are reads and refusals, of which few
properties speak: this is half of the time of a search. That nothing is lost by it is a test, which asks all of them on every step of a walk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fiducial.models.properties import Property

#: The transition written once more: does it allow this step? None for a universe that has no such relation.
Relation = Callable[[Any], bool]

RELATION = "the transition relation"

#: The class of the event, the class of the outcome, and whether the world is the very one it was.
Kind = tuple[type, type, bool]


class Judge:
    """The properties and the relation, sorted by the kind of step; and which of the properties are still without a witness."""

    def __init__(self, properties: Sequence[Property], relation: Relation | None) -> None:
        self.properties = tuple(properties)
        self.relation = relation
        self.asked: dict[Kind, list[tuple[str, Callable[[Any], bool]]]] = {}
        self.awaited: dict[Kind, list[Property]] = {}
        self.witnessed: set[str] = set()

    def broken_by(self, step: Any) -> str | None:
        """The name of the first property that the step breaks, None if it breaks none."""
        kind = (step.event.__class__, step.outcome.__class__, step.after is step.before)
        asked = self.asked.get(kind)
        if asked is None:
            asked = self.learn(kind)
        for name, check in asked:
            if not check(step):
                return name
        if self.awaited[kind]:
            self.look_for_witnesses(kind, step)
        if self.relation is not None and not self.relation(step):
            return RELATION
        return None

    def learn(self, kind: Kind) -> list[tuple[str, Callable[[Any], bool]]]:
        """The first step of its kind: find out who speaks of it."""
        speaking = [one for one in self.properties if one.speaks_of(*kind)]
        self.awaited[kind] = speaking
        self.asked[kind] = [(one.name, one.check) for one in speaking]
        return self.asked[kind]

    def look_for_witnesses(self, kind: Kind, step: Any) -> None:
        """Note the properties that say something about this step; a witness is looked for once only."""
        waiting = [one for one in self.awaited[kind] if one.name not in self.witnessed]
        self.witnessed.update(one.name for one in waiting if one.witness(step))
        self.awaited[kind] = waiting
