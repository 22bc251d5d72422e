"""kcat: librdkafka on the command line, a process for each thing asked."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

from peers.kafka import need

from clients.client import PATIENCE_S, Client, ClientError, Delivery, Fetched, Record

NO_ADMIN = "it has no administrative requests"
#: Between key and value, and between records: bytes that are in neither.
KEY_END, RECORD_END = b"\x1f", b"\x1e"


class Kcat(Client):
    """Raises PeerUnavailable where kcat is not installed."""

    name = "kcat"
    lacks: ClassVar[Mapping[str, str]] = {
        "create_topic": NO_ADMIN,
        "delete_records": NO_ADMIN,
        "describe": NO_ADMIN,
        "alter": NO_ADMIN,
        "told offsets": "it does not say where its records went",
        "produce_lines": "it skips empty lines",
    }

    def __init__(self, bootstrap: str, security: Mapping[str, Any] | None = None) -> None:
        super().__init__(bootstrap, security)
        secure = [word for name, text in self.security.items() for word in ("-X", f"{name}={text}")]
        self.command = [need("kcat"), "-b", bootstrap, *secure, "-q"]

    def run(self, *options: str, stdin: bytes = b"") -> bytes:
        """Run kcat to its end; what it printed."""
        command = [*self.command, *options]
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=PATIENCE_S, check=False)
        if done.returncode != 0:
            raise ClientError(done.stderr.decode())
        return done.stdout

    def produce(
        self, topic: str, partition: int, records: Sequence[Record], compression: str, delivery: Delivery
    ) -> list[int]:
        settings = {
            "acks": delivery.acks,
            "enable.idempotence": str(delivery.is_idempotent).lower(),
            "compression.codec": compression,
            "linger.ms": "50",
        }
        options = ["-P", "-t", topic, "-p", str(partition), "-Z", "-K", r"\x1f", "-D", r"\x1e"]
        options += [option for name, text in settings.items() for option in ("-X", f"{name}={text}")]
        for headers, alike in groupby(records, key=lambda record: record.headers):  # headers are those of a whole run
            named = [option for name, content in headers for option in ("-H", f"{name}={content.decode()}")]
            self.run(*options, *named, stdin=RECORD_END.join(map(line_of, alike)))
        return []

    def fetch(self, topic: str, partition: int, offset: int, count: int) -> list[Fetched]:
        printed = self.run("-C", "-t", topic, "-p", str(partition), "-o", str(offset), "-c", str(count), "-J")
        return [fetched(line) for line in printed.splitlines()]

    def offset_at(self, topic: str, partition: int, timestamp_ms: int) -> int | None:
        printed = self.run("-Q", "-t", f"{topic}:{partition}:{timestamp_ms}")  # "NAME [PARTITION] offset OFFSET"
        offset = int(printed.rpartition(b" ")[2])
        return offset if offset >= 0 else None

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        first, end = (self.offset_at(topic, partition, special) for special in (-2, -1))
        if first is None or end is None:
            raise ClientError("no offset")
        return first, end

    def fetch_lines(self, topic: str, count: int, file: Path) -> None:
        file.write_bytes(self.run("-C", "-t", topic, "-p", "0", "-o", "beginning", "-c", str(count)))


def line_of(record: Record) -> bytes:
    """A record as kcat reads it; what is empty is null, with -Z."""
    value = record.value or b""
    return value if record.key is None else record.key + KEY_END + value


def fetched(line: bytes) -> Fetched:
    """A record as kcat prints it, as JSON."""
    envelope = json.loads(line)
    names_and_contents = envelope.get("headers", [])
    headers = tuple(
        (name, content.encode()) for name, content in zip(names_and_contents[::2], names_and_contents[1::2], strict=True)
    )
    value, key = (None if text is None else text.encode() for text in (envelope["payload"], envelope["key"]))
    return Fetched(envelope["offset"], envelope["ts"], Record(value, key, headers))
