"""Which groups go through what on which broker: a few for `make verify`, and with FIDUCIAL_LONG=1 every flavour on every broker, and drawn scenarios."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from clients.groups.flavours import FLAVOURS, Flavour
from clients.groups.scenarios import EACH_IN_TURN, MANY_AT_ONCE, STATIC, Scenario, drawn

IS_LONG = bool(os.environ.get("FIDUCIAL_LONG"))
SEEDS = range(20)


@dataclass(frozen=True)
class Planned:
    """One run."""

    broker: str
    flavour: Flavour
    scenario: Scenario

    def __str__(self) -> str:
        return f"{self.broker}-{self.flavour}-{self.scenario.name}".replace(" ", "-")


def first_of_each_client() -> list[Flavour]:
    """A flavour of each client."""
    return list({one.client: one for one in reversed(FLAVOURS)}.values())


def planned() -> Iterator[Planned]:
    """The runs of this session; those on Apache Kafka, which needs most of the machine, are not beside each other."""
    firsts = first_of_each_client()
    for flavour in FLAVOURS:
        is_everywhere = IS_LONG or flavour in firsts
        for broker in ("kafka", "reference", "fast") if is_everywhere else ("fast",):
            yield Planned(broker, flavour, STATIC if flavour.is_static else EACH_IN_TURN)
        if is_everywhere and not flavour.is_static:
            yield Planned("fast", flavour, MANY_AT_ONCE)
    for seed in SEEDS if IS_LONG else ():
        for flavour in FLAVOURS:
            yield Planned("fast", flavour, drawn(seed, is_static=flavour.is_static))
