"""A broker of ours in a process that can be killed, and started again where it was and on what it left."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from peers.kafka import ending_with_us


class Mortal:
    """The fast path, listening until it is killed; `settings` by Kafka's names."""

    def __init__(self, data: Path, settings: Mapping[str, str] | None = None) -> None:
        self.data = data
        self.options = [option for name, text in (settings or {}).items() for option in ("--set", f"{name}={text}")]
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.process = self.start()

    @property
    def bootstrap(self) -> str:
        """HOST:PORT."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> subprocess.Popen[str]:
        """A process that listens."""
        command = [sys.executable, "-m", "fiducial", "serve", "--listen", self.bootstrap, *self.kept(), *self.options]
        process = subprocess.Popen(ending_with_us(command), stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None and process.stdout.readline().startswith("listening on ")
        return process

    def kept(self) -> list[str]:
        """Where its data is kept."""
        return ["--data", str(self.data)]

    def kill(self) -> None:
        """As `kill -9` does."""
        self.process.kill()
        self.process.wait()

    def launch(self) -> None:
        """Start it again."""
        self.process = self.start()

    def written_bytes(self, topic: str) -> int:
        """What the files of a topic's first partition have."""
        return sum(file.stat().st_size for file in self.data.glob(f"{topic}-0/*.log"))
