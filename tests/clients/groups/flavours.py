"""Who is in the groups: each client with each of its strategies; and how a member of it is started."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock

from peers import kafkajs
from peers.kafka import PeerUnavailable, jars, java, last_lines, need

HERE = Path(__file__).parent
#: A member lives for seconds: no time to compile well, or for threads that collect garbage.
SHORT_LIVED = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xms16m")

#: Runs in several threads want it at once.
COMPILING = Lock()

Command = tuple[list[str], dict[str, str]]


@dataclass(frozen=True)
class Flavour:
    """A client with a strategy."""

    client: str
    strategy: str
    is_static: bool = False

    def __str__(self) -> str:
        return f"{self.client}-{self.strategy}{'-static' if self.is_static else ''}"

    @property
    def is_cooperative(self) -> bool:
        """Do its members keep what they have while they join anew?"""
        return self.strategy.startswith("cooperative")

    @property
    def is_misled_by_sleepers(self) -> bool:
        """Does its assignor believe a member that slept past its session, and names what it had, that it has it still?

        kafka-python 3.0.12 does not tell the generation in which a member had its partitions. With Apache Kafka, too, partitions then move that need
        not, or are nobody's.
        """
        return (self.client, self.strategy) == ("kafka-python", "cooperative-sticky")

    @property
    def session_ms(self) -> int:
        """So soon is who is gone missed. A static member must be able to come back before, and no session may end of itself that should not, however
        busy the machine: nobody waits for the end of a static member's."""
        if self.is_static:
            return 120_000
        return 10_000 if self.is_misled_by_sleepers else 3_000


FLAVOURS = (
    Flavour("confluent-kafka", "range"),
    Flavour("confluent-kafka", "roundrobin"),
    Flavour("confluent-kafka", "cooperative-sticky"),
    Flavour("confluent-kafka", "range", is_static=True),
    Flavour("kafka-python", "range"),
    Flavour("kafka-python", "cooperative-sticky"),
    Flavour("aiokafka", "roundrobin"),
    Flavour("aiokafka", "sticky"),
    Flavour("java", "range"),
    Flavour("java", "cooperative-sticky"),
    Flavour("java", "range", is_static=True),
    Flavour("kafkajs", "roundrobin"),
)


def in_python() -> Command:
    """confluent-kafka, kafka-python and aiokafka."""
    return [sys.executable, str(HERE / "member.py")], {}


@cache
def compiled() -> Path:
    """The folder of the compiled `Member.java`."""
    source, classes = HERE / "Member.java", HERE.parents[2] / "build" / "member"
    command = [need("javac"), "-cp", f"{jars()}/*", "-d", str(classes), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PeerUnavailable(f"javac: {last_lines(done.stdout + done.stderr)}")
    return classes


def in_java() -> Command:
    """The Java client."""
    *command, main_class = java("Member", jvm=SHORT_LIVED)
    with COMPILING:
        command[command.index("-cp") + 1] += f":{compiled()}"
    return [*command, main_class], {}


def in_node() -> Command:
    """KafkaJS."""
    return [need("node"), str(HERE / "kafkajs" / "member.js")], {"NODE_PATH": str(kafkajs.modules())}


STARTERS: Mapping[str, Callable[[], Command]] = {
    "confluent-kafka": in_python,
    "kafka-python": in_python,
    "aiokafka": in_python,
    "java": in_java,
    "kafkajs": in_node,
}


def command(client: str, settings: str) -> Command:
    """What starts a member, and what it needs in its environment; PeerUnavailable where the client is not to be had."""
    words, environment = STARTERS[client]()
    return [*words, settings], {**os.environ, **environment}
