"""Records fields of Produce requests as nobody sends them: sound ones, and ones with any fault that bytes can have, from a seed.

`fiducial.conformance.batches` makes batches that are faulty as a whole; here the bytes of each number, part and record may be odd as well.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from random import Random

from fiducial.models.log import LogConfig
from fiducial.reference.records import HEADER, compressed, with_checksum

NOW = 1_700_000_000_000
HOUR_MS = 3_600_000
LEVELS = {1: (1, 6, 9, -1), 2: (0,), 3: (1, 9, 17), 4: (-5, 1, 3, 19)}
#: Of a record, against `now`: fine ones, and both sides of every limit that `config` draws.
AGES_MS = (0, 1, -1, 1000, HOUR_MS, HOUR_MS + 1, -HOUR_MS, -HOUR_MS - 1)
TIMES = (-1, -1, -2, -5, 0, 1, 2**63 - 1, -(2**63), -(2**63) + 1)
INTEGERS = (0, 1, -1, 2, 5, 100, -100, 2**31 - 1, -(2**31))


def varint(number: int, bits: int = 32, width: int = 1, excess: int = 0) -> bytes:
    """A zigzag varint of at least `width` bytes; `excess` goes into the bits of its last byte that the number cannot have."""
    rest, out = (number << 1 ^ number >> (bits - 1)) & 2**bits - 1, bytearray()
    while rest >= 0x80 or len(out) + 1 < width:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest | excess)
    return bytes(out)


@dataclass
class Maker:
    """Draws from `random`; each fault comes once in `rarity` times where it could be."""

    random: Random
    rarity: int = 60

    def happens(self) -> bool:
        """Is it now that something goes wrong?"""
        return self.random.randrange(self.rarity) == 0

    def number(self, number: int, bits: int = 32) -> bytes:
        """A varint: minimal as a rule, else longer than it need be, with bits that do not count, or too long."""
        if not self.happens():
            return varint(number, bits)
        longest, last = (5, 0x70) if bits == 32 else (10, 0x7E)
        return self.random.choice(
            [
                varint(number, bits, self.random.randint(1, longest)),
                varint(number, bits, longest, self.random.randrange(0x80) & last),
                varint(number, bits, longest + 1),
            ]
        )

    def part(self, nullable: bool = True) -> bytes:
        """A key or a value, behind its size."""
        if self.random.randrange(4) == 0 and (nullable or self.happens()):
            return self.number(self.random.choice([-1, -1, -1, -2, -(2**31)]))
        content = self.random.choice([b"", b"k", b"key", b"v" * 63, b"w" * 64, b"x" * 130, self.random.randbytes(20)])
        size = len(content) + (self.random.choice([-1, 1, 2**31 - 1 - len(content)]) if self.happens() else 0)
        return self.number(size) + content

    def headers(self) -> bytes:
        """The headers of a record, behind their number."""
        count = self.random.choice([0, 0, 0, 1, 3])
        claimed = self.random.choice([-1, count + 1, 2**31 - 1, max(count - 1, 0)]) if self.happens() else count
        return self.number(claimed) + b"".join(self.part(nullable=False) + self.part() for _ in range(count))

    def record(self, offset_delta: int, time_delta: int) -> bytes:
        """One record."""
        content = self.random.choice([b"\x00", b"\x00", b"\xff"]) + self.number(time_delta, 64) + self.number(offset_delta)
        content += self.part() + self.part() + self.headers()
        size = len(content) + (self.random.choice([1, -1, -len(content), 1000]) if self.happens() else 0)
        return self.number(size) + content

    def time(self) -> int:
        """A timestamp."""
        return self.random.choice(TIMES) if self.happens() else NOW - self.random.choice(AGES_MS[: 4 if self.happens() else 8])

    def batch(self) -> bytes:
        """One batch with a good checksum, as a rule."""
        count = self.random.choice([1, 1, 2, 3, 7])
        times = [self.time() for _ in range(count)]
        deltas = [self.random.choice(INTEGERS) if self.happens() else index for index in range(count)]
        base = times[0] if not self.happens() else self.random.choice(TIMES)
        wraps = [(time - base + 2**63) % 2**64 - 2**63 for time in times]
        body = b"".join(self.record(delta, wrap) for delta, wrap in zip(deltas, wraps, strict=True))
        codec = self.random.choice([0, 0, 0, 1, 2, 3, 4])
        packed = compressed(body, codec, self.random.choice(LEVELS.get(codec, (0,))))
        if self.happens():
            packed = self.spoiled(packed)
        claimed = count + self.random.choice([1, -1]) if self.happens() else count
        attributes = codec | sum(bit for bit in (0x08, 0x10, 0x20, 0x40, 0x80, -0x8000, 0x05) if self.happens())
        header = [
            self.random.choice(INTEGERS) if self.happens() else 0,
            HEADER.size - 12 + len(packed),
            -1,
            2,
            0,
            attributes,
            self.random.choice(INTEGERS) if self.happens() else claimed - 1,
            base,
            self.time(),
            *self.producer(),
            self.random.choice(INTEGERS) if self.happens() else claimed,
        ]
        data = with_checksum(HEADER.pack(*header) + packed)
        return self.spoiled(data) if self.happens() else data

    def producer(self) -> tuple[int, int, int]:
        """Producer id, epoch and base sequence."""
        if self.happens():
            return self.random.choice(INTEGERS), self.random.choice([-1, 0, -2]), self.random.choice(INTEGERS)
        return self.random.choice([(-1, -1, -1), (7, 0, 0), (7, 3, 2**31 - 1)])

    def spoiled(self, data: bytes) -> bytes:
        """The bytes with some of them changed, lost or added."""
        at = self.random.randrange(len(data) + 1)
        return self.random.choice(
            [
                data[:at],
                data[:at] + self.random.randbytes(1) + data[at + 1 :],
                data[:at] + self.random.randbytes(3) + data[at:],
                data + self.random.randbytes(self.random.randint(1, 70)),
                self.random.randbytes(len(data)),
            ]
        )

    def records(self) -> bytes | None:
        """A records field: mostly one batch; else none, more, or something behind it."""
        batch = self.batch()
        if not self.happens():
            return batch
        header_only = with_checksum(batch[:8] + struct.pack(">i", HEADER.size - 12) + batch[12 : HEADER.size])
        return self.random.choice(
            [
                None,
                b"",
                batch + self.batch(),
                batch + bytes(self.random.randint(1, 20)),
                batch + self.batch()[: self.random.randint(0, 61)],
                batch[:8] + struct.pack(">i", self.random.choice([13, 14, 48, 0, -1])) + batch[12:],
                batch[:16] + struct.pack(">b", self.random.choice([0, 1, 3, -1])) + batch[17:],
                batch + batch[:16] + struct.pack(">b", self.random.choice([0, 1, 3, -1])) + batch[17:],
                header_only,
            ]
        )

    def config(self) -> LogConfig:
        """The configuration of a topic, as far as batches care."""
        codec = self.random.choice([None, None, 0, 1, 2, 3, 4])
        return LogConfig(
            max_message_bytes=120 if self.happens() else 1_048_588,
            compacts=self.random.randrange(4) == 0,
            append_time=self.random.randrange(5) == 0,
            timestamp_before_max_ms=self.random.choice([2**63 - 1, HOUR_MS]),
            timestamp_after_max_ms=self.random.choice([2**63 - 1, HOUR_MS]),
            compression=codec,
            compression_level=self.random.choice(LEVELS.get(codec or 0, (0,))),
        )
