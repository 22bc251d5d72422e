"""The Java client: Kafka's console tools, and a program of ours (`Client.java`) for what they cannot do: several deliveries in one
process, offsets and timestamps told exactly."""

from __future__ import annotations

import base64
import json
import re
import select
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from peers.kafka import java

from clients.client import BATCH_BYTES, PATIENCE_S, Client, ClientError, Delivery, Fetched, Record

TOOLS = "org.apache.kafka.tools"
#: A console tool lives for a second: no time to compile well, or for threads that collect garbage.
SHORT_LIVED = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")


class Java(Client):
    """Raises PeerUnavailable where there is no Java, or no jars are to be had."""

    name = "java"

    def __init__(self, bootstrap: str, security: Mapping[str, Any] | None = None) -> None:
        super().__init__(bootstrap, security)
        command = java(str(Path(__file__).with_name("Client.java")), jvm=SHORT_LIVED)
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def close(self) -> None:
        with self.process as process:
            process.kill()

    def ask(self, what: str, config: Mapping[str, str], **arguments: Any) -> Any:
        """What our program answers."""
        assert self.process.stdin is not None and self.process.stdout is not None
        command = {"do": what, "config": {"bootstrap.servers": self.bootstrap, **self.security, **config}, **arguments}
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        if not select.select([self.process.stdout], [], [], 2 * PATIENCE_S)[0]:
            raise ClientError(f"no answer to {what}")
        answer = json.loads(self.process.stdout.readline())
        if isinstance(answer, dict):
            raise ClientError(answer["error"])
        return answer

    def tool(self, name: str, *options: str, **streams: Any) -> str:
        """Run a console tool to its end; what it printed."""
        command = java(name, "--bootstrap-server", self.bootstrap, *options, jvm=SHORT_LIVED)
        streams = {"stdout": subprocess.PIPE, **streams}
        done = subprocess.run(command, stderr=subprocess.PIPE, timeout=PATIENCE_S, check=False, **streams)
        if done.returncode != 0:
            raise ClientError((done.stdout or b"").decode() + done.stderr.decode())
        return (done.stdout or b"").decode()

    def create_topic(self, topic: str, partitions: int, configs: Mapping[str, str]) -> None:
        options = [option for name, text in configs.items() for option in ("--config", f"{name}={text}")]
        self.tool(f"{TOOLS}.TopicCommand", "--create", "--topic", topic, "--partitions", str(partitions), *options)

    def produce(
        self, topic: str, partition: int, records: Sequence[Record], compression: str, delivery: Delivery
    ) -> list[int]:
        config = {
            "acks": delivery.acks,
            "enable.idempotence": str(delivery.is_idempotent).lower(),
            "compression.type": compression,
            "linger.ms": "50",
        }
        encoded = [
            {
                "key": encode(one.key),
                "value": encode(one.value),
                "headers": [(name, encode(content)) for name, content in one.headers],
            }
            for one in records
        ]
        told: list[int] = self.ask("produce", config, topic=topic, partition=partition, records=encoded)
        return told

    def fetch(self, topic: str, partition: int, offset: int, count: int) -> list[Fetched]:
        config = {"auto.offset.reset": "none", "max.poll.records": str(count)}
        what = {"topic": topic, "partition": partition, "offset": offset, "count": count, "patience_ms": 1000 * PATIENCE_S}
        fetched = self.ask("fetch", config, **what)
        return [
            Fetched(
                one["offset"],
                one["timestamp"],
                Record(
                    decode(one["value"]),
                    decode(one["key"]),
                    tuple((name, base64.b64decode(content)) for name, content in one["headers"]),
                ),
            )
            for one in fetched
        ]

    def offset_at(self, topic: str, partition: int, timestamp_ms: int) -> int | None:
        return self.offset(topic, partition, str(timestamp_ms))

    def offset(self, topic: str, partition: int, time: str) -> int | None:
        """What GetOffsetShell prints as "NAME:PARTITION:OFFSET", or not at all."""
        options = ("--topic", topic, "--partitions", str(partition), "--time", time)
        printed = self.tool(f"{TOOLS}.GetOffsetShell", *options)
        return int(printed.rpartition(":")[2]) if printed else None

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        first, end = (self.offset(topic, partition, special) for special in ("earliest", "latest"))
        if first is None or end is None:
            raise ClientError("no offset")
        return first, end

    def delete_records(self, topic: str, partition: int, below: int) -> int:
        wanted = {"partitions": [{"topic": topic, "partition": partition, "offset": below}], "version": 1}
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(wanted, file)
            file.flush()
            printed = self.tool(f"{TOOLS}.DeleteRecordsCommand", "--offset-json-file", file.name)
        return int(found(r"low_watermark: (\d+)", printed))

    def describe(self, topic: str) -> Mapping[str, str | None]:
        options = ("--entity-type", "topics", "--entity-name", topic, "--describe", "--all")
        printed = self.tool("kafka.admin.ConfigCommand", *options)
        return dict(re.findall(r"^  (\S+?)=(.*) sensitive=", printed, re.MULTILINE))

    def alter(self, topic: str, name: str, value: str) -> None:
        options = ("--entity-type", "topics", "--entity-name", topic, "--alter", "--add-config", f"{name}={value}")
        self.tool("kafka.admin.ConfigCommand", *options)

    def produce_lines(self, topic: str, file: Path, compression: str, *, is_idempotent: bool = False) -> None:
        options = ("--topic", topic, "--compression-codec", compression, "--batch-size", str(BATCH_BYTES))
        delivery = f"enable.idempotence={str(is_idempotent).lower()}"
        with file.open("rb") as lines:
            self.tool(f"{TOOLS}.ConsoleProducer", *options, "--command-property", delivery, stdin=lines)

    def fetch_lines(self, topic: str, count: int, file: Path) -> None:
        options = ("--topic", topic, "--partition", "0", "--offset", "earliest", "--max-messages", str(count))
        with file.open("wb") as lines:
            self.tool(f"{TOOLS}.consumer.ConsoleConsumer", *options, stdout=lines)


def encode(content: bytes | None) -> str | None:
    """Bytes for JSON."""
    return None if content is None else base64.b64encode(content).decode()


def decode(text: str | None) -> bytes | None:
    """Bytes from JSON."""
    return None if text is None else base64.b64decode(text)


def found(pattern: str, printed: str) -> str:
    """What a tool's output says."""
    match = re.search(pattern, printed)
    if match is None:
        raise ClientError(printed)
    return match[1]
