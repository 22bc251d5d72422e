"""The program that loads a broker, `generator.cpp`: given its plan, asked what it found.

It is a process of its own, so that what it costs is not mistaken for what the broker costs, and it has no interpreter that could be the one who waits.
"""

from __future__ import annotations

import json
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.programs import built

#: Of what is measured, as the program prints them.
QUANTILES = ("p50", "p99", "p99.9", "most")


@dataclass(frozen=True)
class Lane:
    """A connection, the requests that it sends again and again, and what their answers are like (bytes; places count from an answer's length on)."""

    requests: Sequence[bytes]
    #: How many are on their way, if there is no rate.
    window: int
    error_at: int
    #: Of every answer, with its length; 0: any.
    answer_bytes: int
    #: What comes behind the error code of an answer stays in the kernel.
    is_bulky: bool = False
    #: Is it what is measured, or only beside it?
    is_counted: bool = True
    #: Reads the batches of another lane, as soon as they are there.
    tail: Tail | None = None


@dataclass(frozen=True)
class Tail:
    """Which lane is read, from which offset on; where that stands in the request, and the size of the records in the answer; how large the batches are."""

    lane: int
    offset: int
    offset_at: int
    records_at: int
    batch_bytes: int
    batch_records: int


@dataclass(frozen=True)
class Load:
    """What was answered, and what that cost."""

    requests: int
    wall_s: float
    broker_cpu_s: float
    load_cpu_s: float


@dataclass(frozen=True)
class Found(Load):
    """And, by quantile, how long answers took from when they were due (µs), and batches until they were read; all that each lane was answered."""

    received_bytes: int
    batches_read: int
    latency_us: tuple[float, ...]
    delay_us: tuple[float, ...]
    answered: tuple[int, ...]


class LoadFailed(Exception):
    """An answer was not as it must be; the text says how."""


def generate(port: int, pid: int, lanes: Sequence[Lane], seconds: float, *, warm_s: float = 0.2, rate: float = 0) -> Found:
    """Load the broker for `seconds` after `warm_s`; with `rate`, so many requests a second together. LoadFailed if an answer is not as expected."""
    plan = struct.pack("=HidddI", port, pid, warm_s, seconds, rate, len(lanes)) + b"".join(map(planned, lanes))
    done = subprocess.run([built("generator")], input=plan, capture_output=True, check=False)
    if done.returncode != 0:
        raise LoadFailed(done.stderr.decode().strip())
    told: Any = {name: tuple(value) if isinstance(value, list) else value for name, value in json.loads(done.stdout).items()}
    return Found(**told)


def planned(lane: Lane) -> bytes:
    """A lane, as the program reads it."""
    tail = lane.tail or Tail(-1, 0, 0, 0, 0, 0)
    head = struct.pack("=IBIIBi", lane.window, lane.is_counted, lane.error_at, lane.answer_bytes, lane.is_bulky, tail.lane)
    read = struct.pack("=IIIIq", tail.offset_at, tail.records_at, tail.batch_bytes, tail.batch_records, tail.offset)
    requests = [struct.pack("=I", len(one)) + one for one in lane.requests]
    return b"".join([head, read, struct.pack("=I", len(requests)), *requests])
