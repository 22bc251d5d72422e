"""What the tests ask of a client. One that answers, in a file of its own and in CLIENTS of `roster.py`, is in every test.

Whatever a client cannot do it names in `lacks`, with the reason: the tests leave it out there, and the run ends with a list of what was left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

#: So long a client may wait for what it was promised, before the test fails.
PATIENCE_S = 180

#: The size of batches of lines, where the client's own would be small.
BATCH_BYTES = 1 << 18

#: As every client names them, in the order of their numbers on the wire.
COMPRESSIONS = ("none", "gzip", "snappy", "lz4", "zstd")


@dataclass(frozen=True)
class Delivery:
    """How sure a producer wants to be."""

    acks: str
    is_idempotent: bool = False

    def __str__(self) -> str:
        return "idempotent" if self.is_idempotent else f"acks={self.acks}"


DELIVERIES = (Delivery("0"), Delivery("1"), Delivery("all"), Delivery("all", is_idempotent=True))


@dataclass(frozen=True)
class Record:
    """One record. Text in UTF-8, since kcat writes what it reads as JSON."""

    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True)
class Fetched:
    """A record as a consumer gets it."""

    offset: int
    timestamp_ms: int
    record: Record


class ClientError(Exception):
    """A client did not do what it was asked; what it said."""


class Client:
    """One client, by its own API. What it does is done when the method returns; what it refuses is an exception."""

    name: ClassVar[str]
    #: What it cannot do (a method below, a compression, a delivery, "told offsets"), and why not.
    lacks: ClassVar[Mapping[str, str]] = {}

    def __init__(self, bootstrap: str, security: Mapping[str, Any] | None = None) -> None:
        """`security`: how the broker is spoken to, in the client's own words, if not in plain."""
        self.bootstrap = bootstrap
        self.security = dict(security or {})

    def close(self) -> None:
        """No more questions."""

    def create_topic(self, topic: str, partitions: int, configs: Mapping[str, str]) -> None:
        """Create a topic with these configurations."""
        raise NotImplementedError

    def produce(
        self, topic: str, partition: int, records: Sequence[Record], compression: str, delivery: Delivery
    ) -> list[int]:
        """Send the records, in one batch if it can be; the offsets that it was told, if acks were asked for."""
        raise NotImplementedError

    def fetch(self, topic: str, partition: int, offset: int, count: int) -> list[Fetched]:
        """The next `count` records from `offset` on, of a partition that is assigned and not subscribed to."""
        raise NotImplementedError

    def offset_at(self, topic: str, partition: int, timestamp_ms: int) -> int | None:
        """Where the first record of this time or later stands, None if there is none."""
        raise NotImplementedError

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """The offset of the first record, and that of the next to come."""
        raise NotImplementedError

    def delete_records(self, topic: str, partition: int, below: int) -> int:
        """Delete what is below an offset; where the log begins now."""
        raise NotImplementedError

    def describe(self, topic: str) -> Mapping[str, str | None]:
        """All configurations of a topic."""
        raise NotImplementedError

    def alter(self, topic: str, name: str, value: str) -> None:
        """Set one configuration of a topic."""
        raise NotImplementedError

    def produce_lines(self, topic: str, file: Path, compression: str, *, is_idempotent: bool = False) -> None:
        """Send each line of a file as a record, without its end, to partition 0; what is not acknowledged again, until it is."""
        raise NotImplementedError

    def fetch_lines(self, topic: str, count: int, file: Path) -> None:
        """Write the first `count` records of partition 0 to a file, one a line."""
        raise NotImplementedError
