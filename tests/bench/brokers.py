"""The two that are compared, each a process with a data folder of its own; and what is asked of both beside the load."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Protocol

from peers.kafka import Kafka, ending_with_us, free_ports
from raw_client import RawClient

from fiducial.conformance.exploration.steps import answer_of, request_frame
from fiducial.models import messages as m
from fiducial.models.apis import APIS
from fiducial.models.errors import Error

CREATE_TOPICS, DELETE_TOPICS = 19, 20
#: Some requests make thousands of folders.
PATIENCE_S = 600.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
#: Where `make compiled` builds.
COMPILED = Path(__file__).parents[2] / "build" / "compiled"


class Broker(Protocol):
    """A broker that can be started and stopped again and again; its data stay until it is removed."""

    name: str
    host: str
    port: int

    def begin(self) -> None:
        """Make the data folder, and start."""
        ...

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start on the data folder as it is; do not wait until it serves."""
        ...

    def shut_down(self) -> None:
        """Stop in good order."""
        ...

    def remove(self) -> None:
        """Stop, and remove the data."""
        ...

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        ...

    @property
    def data_path(self) -> Path:
        """The data folder."""
        ...


class Fiducial:
    """`fiducial serve`."""

    name = "Fiducial"
    host = "127.0.0.1"
    #: Where more is imported from.
    imports: Path | None = None
    #: What is run.
    module = "fiducial"

    def __init__(self, **settings: str) -> None:
        (self.port,) = free_ports(1)
        self.settings = settings
        self.folder = Path(tempfile.mkdtemp(prefix="fiducial-bench-"))
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def data_path(self) -> Path:
        return self.folder / "data"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def begin(self) -> None:
        process = self.spawn()
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"listening on "), "the broker did not start; what it says is on stderr"

    def spawn(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", self.module, "serve", "--listen", f"{self.host}:{self.port}", "--data", str(self.data_path)]
        for name, text in self.settings.items():
            command += ["--set", f"{name}={text}"]
        environment = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}  # installed, it is compiled too
        if self.imports is not None:
            environment["PYTHONPATH"] = str(self.imports)
        self.process = subprocess.Popen(ending_with_us(command), stdout=subprocess.PIPE, env=environment)
        return self.process

    def shut_down(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(PATIENCE_S)

    def remove(self) -> None:
        self.shut_down()
        shutil.rmtree(self.folder, ignore_errors=True)


class CompiledFiducial(Fiducial):
    """The same, its models compiled by Cython."""

    name = "Fiducial, compiled"
    imports = COMPILED

    def __init__(self, **settings: str) -> None:
        super().__init__(**settings)
        subprocess.run([sys.executable, "-m", "fiducial.models.checkers.compiled", "--build"], check=True)


class HoggedFiducial(Fiducial):
    """The same, beside a thread that holds the GIL."""

    name = "Fiducial, hogged"
    imports = Path(__file__).parents[1]
    module = "bench.hogged"


class ApacheKafka(Kafka):
    """The release's own settings of memory, but for the heap, which is as large as its data need here; what is deleted goes at once."""

    name = "Apache Kafka"
    jvm = ("-Xms256m", "-Xmx1g")

    def __init__(self, **settings: str) -> None:
        super().__init__(**{"log.segment.delete.delay.ms": "0", "auto.create.topics.enable": "false", **settings})

    @property
    def pid(self) -> int:
        """Of the virtual machine."""
        assert self.process is not None
        return self.process.pid

    def begin(self) -> None:
        """Make the data folder, and start."""
        self.start()

    def remove(self) -> None:
        """Stop, and remove the data."""
        self.stop()


def ask(broker: Broker, api_key: int, message: Any) -> Any:
    """The answer to one request in the newest version."""
    version = APIS[api_key].max_version
    with RawClient(broker.host, broker.port) as connection:
        connection.socket.settimeout(PATIENCE_S)
        connection.send(request_frame(api_key, version, message))
        answer = connection.answer()
    assert answer is not None, f"{broker.name} ended the connection"
    return answer_of(answer, api_key, version)


def create_topic(broker: Broker, name: str, partitions: int, **config: str) -> bytes:
    """A topic's id; configuration names with _ for dots."""
    configs = tuple(m.CreatableTopicConfig(key.replace("_", "."), text) for key, text in config.items())
    topic = m.CreatableTopic(name, partitions, 1, configs=configs)
    (made,) = ask(broker, CREATE_TOPICS, m.CreateTopicsRequest((topic,), int(PATIENCE_S * 1000))).topics
    assert made.error_code == Error.NONE, made
    return bytes(made.topic_id)


def delete_topic(broker: Broker, topic_id: bytes) -> None:
    """The topic is gone, though perhaps not yet its files."""
    asked = m.DeleteTopicsRequest((m.DeleteTopicState(None, topic_id),), timeout_ms=int(PATIENCE_S * 1000))
    (gone,) = ask(broker, DELETE_TOPICS, asked).responses
    assert gone.error_code == Error.NONE, gone


# What a process costs


def cpu_seconds(pid: int) -> float:
    """What it has used so far, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def memory_bytes(pid: int, what: str) -> int:
    """VmRSS: what it has now; VmHWM: what it had at most; Pss: what it has now, of what it shares with others its part."""
    file = "smaps_rollup" if what == "Pss" else "status"
    lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    (size_kib,) = (line.split()[1] for line in lines if line.startswith(f"{what}:"))
    return int(size_kib) * 1024
