"""Apache Kafka 4.3.1, the referee: its jars from Maven Central, one KRaft node on loopback, stopped when the block ends.

    with Kafka(**{"auto.create.topics.enable": "false"}) as kafka:
        print(kafka.bootstrap)

`python -m peers.kafka` starts one and waits for Ctrl-C; with `--check` it only says how long the start took.
"""

from __future__ import annotations

import argparse
import base64
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType, TracebackType

VERSION = "4.3.1"
START_TIMEOUT_S = 60.0
#: The URL-safe base64 of 16 bytes. Not random: one in 64 would begin with a dash, which StorageTool takes for an option.
CLUSTER_ID = base64.urlsafe_b64encode(b"fiducial-referee").decode().rstrip("=")
#: An ApiVersions request, version 0, with a null client id.
API_VERSIONS = bytes.fromhex("0000000a 0012 0000 00000001 ffff")
#: The exit status of `python -m peers.kafka` when there is no Apache Kafka to be had.
NOT_RUN = 3


class PeerUnavailable(Exception):
    """The peer cannot be had on this machine; the text says why."""


def cache() -> Path:
    """Where the jars are kept between runs."""
    return Path(os.environ.get("FIDUCIAL_PEERS_DIR") or Path(__file__).parents[2] / ".peers")


def need(tool: str) -> str:
    """The path of a tool of the machine's."""
    found = shutil.which(tool)
    if found is None:
        raise PeerUnavailable(f"{tool} is not installed")
    return found


def jars() -> Path:
    """The folder of jars, filled by Maven the first time; it appears whole or not at all, whoever else fills it meanwhile."""
    folder = cache() / f"kafka-{VERSION}"
    if folder.exists():
        return folder
    maven = need("mvn")
    cache().mkdir(parents=True, exist_ok=True)
    print(f"obtaining Apache Kafka {VERSION} from Maven Central", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(dir=cache()) as parts:
        filled = Path(parts, "jars")
        pom = str(Path(__file__).with_name("pom.xml"))
        command = [maven, "-B", "-q", "-f", pom, "dependency:copy-dependencies", f"-DoutputDirectory={filled}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise PeerUnavailable(f"Maven could not get the jars: {last_lines(done.stdout + done.stderr)}")
        try:
            filled.rename(folder)
        except OSError:
            if not folder.exists():
                raise
    return folder


def last_lines(text: str) -> str:
    """The end of what a program printed, where it says what went wrong."""
    return text.strip()[-1000:]


def java(main_class: str, *args: str, jvm: Sequence[str] = ()) -> list[str]:
    """The command that runs a class of Kafka's, or a source file that uses them; `jvm`: more options of the virtual machine."""
    log_level = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    return [need("java"), "-Xms256m", "-Xmx512m", *jvm, log_level, "-cp", f"{jars()}/*", main_class, *args]


def java_tool(
    main_class: str, *args: str, stdin: str | None = None, timeout_s: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run one of Kafka's own command-line tools to its end."""
    return subprocess.run(
        java(main_class, *args), input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False
    )


def ending_with_us(command: list[str]) -> list[str]:
    """The command, killed by the kernel when this process is: a broker must not outlive a run that was killed hard."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", *command] if setpriv else command


def free_ports(count: int) -> list[int]:
    """Ports of loopback that were free just now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Kafka:
    """One broker, which is its own controller; `config` adds to its configuration or overrides it."""

    #: More options of the virtual machine.
    jvm: tuple[str, ...] = ()

    def __init__(self, **config: str) -> None:
        self.host = "127.0.0.1"
        self.port, self.controller_port = free_ports(2)
        self.config = config
        self.folder = Path(tempfile.mkdtemp(prefix="fiducial-kafka-"))
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """HOST:PORT."""
        return f"{self.host}:{self.port}"

    @property
    def log_path(self) -> Path:
        """What the broker printed."""
        return self.folder / "broker.log"

    def properties(self) -> dict[str, str]:
        """The broker's configuration."""
        address = f"PLAINTEXT://{self.host}:{self.port}"
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{self.host}:{self.controller_port}",
            "listeners": f"{address},CONTROLLER://{self.host}:{self.controller_port}",
            "advertised.listeners": address,
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": str(self.data_path),
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "controller.quorum.append.linger.ms": "0",  # else every change of the metadata takes 25 ms
            **self.config,
        }

    @property
    def data_path(self) -> Path:
        """The data folder."""
        return self.folder / "data"

    def start(self) -> None:
        """Format the data folder, and launch."""
        file = self.folder / "server.properties"
        file.write_text("".join(f"{name}={text}\n" for name, text in self.properties().items()))
        made = java_tool("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(file))
        if "UnsupportedClassVersionError" in made.stderr:
            raise PeerUnavailable("java is older than 17")
        if made.returncode != 0:
            raise RuntimeError(f"StorageTool: {last_lines(made.stdout + made.stderr)}")
        self.launch()

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start on the data folder as it is."""
        command = java("kafka.Kafka", str(self.folder / "server.properties"), jvm=self.jvm)
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(ending_with_us(command), stdout=log, stderr=log)
        return self.process

    def launch(self) -> None:
        """Start on the data folder as it is, and wait until the port answers."""
        process = self.spawn()
        give_up = time.monotonic() + START_TIMEOUT_S
        while not self.answers():
            if process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"Apache Kafka did not start: {last_lines(self.log_path.read_text())}")
            time.sleep(0.05)

    def answers(self) -> bool:
        """Does it answer an ApiVersions request?"""
        try:
            with socket.create_connection((self.host, self.port), timeout=2) as connection:
                connection.sendall(API_VERSIONS)
                return len(connection.recv(4)) == 4
        except OSError:
            return False

    def kill(self) -> None:
        """SIGKILL: as if the power had gone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def shut_down(self) -> None:
        """Stop it in good order; its data stays."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.kill()

    def stop(self) -> None:
        """Stop it in good order, and remove its data."""
        self.shut_down()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Kafka:
        try:
            self.start()
        except BaseException:
            self.kill()
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def interrupted(_signal: int, _frame: FrameType | None) -> None:
    """SIGTERM ends like Ctrl-C: through the blocks that stop the broker."""
    raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> int:
    """Obtain and start Apache Kafka."""
    parser = argparse.ArgumentParser(prog="make kafka", description=f"Apache Kafka {VERSION} on loopback")
    parser.add_argument("--check", action="store_true", help="start it, say how long that took, and stop")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, interrupted)
    try:
        jars()
        begun = time.monotonic()
        with Kafka() as kafka:
            print(f"Apache Kafka {VERSION} on {kafka.bootstrap} after {time.monotonic() - begun:.1f} s", flush=True)
            if not options.check:
                print(f"its log is {kafka.log_path}; Ctrl-C stops it", flush=True)
                signal.pause()
    except PeerUnavailable as reason:
        print(f"NOT RUN: {reason}", file=sys.stderr)
        return NOT_RUN
    except KeyboardInterrupt:
        print(file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
