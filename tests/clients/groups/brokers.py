"""The brokers that groups are held against: each can be killed, and started again where it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from peers.kafka import Kafka

from clients.mortal import Mortal

#: Sessions may be short, so that who is gone is missed soon.
SETTINGS = {"group.min.session.timeout.ms": "1000", "group.initial.rebalance.delay.ms": "0"}
#: Nor does Kafka's controller take a killed broker back before its session is over; but a busy machine must not make it miss a living one.
KAFKA_SETTINGS = {**SETTINGS, "broker.session.timeout.ms": "4000", "broker.heartbeat.interval.ms": "400"}


class Broker(Protocol):
    """What a run needs of one."""

    @property
    def bootstrap(self) -> str:
        """HOST:PORT."""
        ...

    def kill(self) -> None:
        """As `kill -9` does."""
        ...

    def launch(self) -> None:
        """Start it again."""
        ...


class Reference(Mortal):
    """`fiducial serve --reference`, which keeps nothing; with flaws, if they are asked for."""

    def __init__(self, folder: Path, flaws: Sequence[str]) -> None:
        self.flaws = flaws
        super().__init__(folder, SETTINGS)

    def kept(self) -> list[str]:
        return ["--reference", *(f"--flaw={name}" for name in self.flaws)]


@contextmanager
def fast_path(folder: Path) -> Iterator[Broker]:
    """`fiducial serve`."""
    broker = Mortal(folder / "data", SETTINGS)
    try:
        yield broker
    finally:
        broker.kill()


@contextmanager
def reference(folder: Path, *flaws: str) -> Iterator[Broker]:
    """The models behind a socket."""
    broker = Reference(folder, flaws)
    try:
        yield broker
    finally:
        broker.kill()


@contextmanager
def apache_kafka(_folder: Path) -> Iterator[Broker]:
    """The referee."""
    with Kafka(**KAFKA_SETTINGS) as broker:
        yield broker


@dataclass(frozen=True)
class Kind:
    """A kind of broker."""

    start: Callable[[Path], AbstractContextManager[Broker]]
    #: Are groups and records still there after a kill?
    keeps: bool = True
    #: Can it be that it answers older offsets, or none, for a while after a kill?
    forgets: bool = False


KINDS: Mapping[str, Kind] = {
    "fast": Kind(fast_path),
    "reference": Kind(reference, keeps=False),
    "kafka": Kind(apache_kafka, forgets=True),  # 4.3.1 on a busy machine, twice in some hundred kills: OffsetFetch answers -1, and no error
}
