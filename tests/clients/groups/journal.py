"""What the members of a group wrote down, read again: one entry a line, of all members together in the order of time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ASSIGNED, REVOKED, LOST = "assigned", "revoked", "lost"
READ, COMMITTING, COMMITTED, REFUSED = "read", "committing", "committed", "refused"
GENERATION, CLOSED = "generation", "closed"


@dataclass(frozen=True)
class Entry:
    """Something that happened to a member.

    `at_ns` is the machine's clock, the same for all of them. `generation` is what the member believed itself in, -1 if in none.
    """

    process: str
    at_ns: int
    event: str
    generation: int = -1
    #: What was assigned, revoked or lost; of a record that was read, its partition.
    partitions: tuple[int, ...] = ()
    #: Of a record that was read.
    offset: int = -1
    #: What was committed: partition → the offset of the next record.
    offsets: Mapping[int, int] = field(default_factory=dict)
    #: Why a commit was refused.
    why: str = ""


def entry(process: str, line: Mapping[str, Any]) -> Entry:
    """One line."""
    return Entry(
        process,
        line["at"],
        line["event"],
        line.get("generation", -1),
        (line["partition"],) if "partition" in line else tuple(line.get("partitions", ())),
        line.get("offset", -1),
        {int(partition): offset for partition, offset in line.get("offsets", {}).items()},
        line.get("why", ""),
    )


class Journal:
    """The file that a process writes, read as it grows."""

    def __init__(self, process: str, path: Path) -> None:
        self.process, self.path = process, path
        self.entries: list[Entry] = []
        self.read_bytes = 0

    def read(self) -> list[Entry]:
        """All entries so far."""
        if self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self.read_bytes)
                for line in file:
                    if not line.endswith(b"\n"):
                        break  # it is being written
                    self.entries.append(entry(self.process, json.loads(line)))
                    self.read_bytes += len(line)
        return self.entries


def in_order(journals: Iterable[Journal]) -> list[Entry]:
    """The entries of all, by time."""
    return sorted((one for journal in journals for one in journal.read()), key=lambda one: one.at_ns)


def owned(entries: Iterable[Entry], before: Iterable[int] = ()) -> frozenset[int]:
    """What a process owns after its entries, with what it owned before them."""
    found = set(before)
    for one in entries:
        if one.event == ASSIGNED:
            found |= set(one.partitions)
        elif one.event in (REVOKED, LOST):
            found -= set(one.partitions)
        elif one.event == CLOSED:
            found.clear()
    return frozenset(found)


def last_generation(entries: Iterable[Entry]) -> int:
    """The last generation that a process told, -1 if none."""
    return next((one.generation for one in reversed(list(entries)) if one.event in (ASSIGNED, GENERATION)), -1)
