"""`fiducial serve` as a process, with what it says of itself: the reference broker and the fast path by each of its drivers."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from raw_client import RawClient

STOP_TIMEOUT_S = LOG_TIMEOUT_S = 10
REFERENCE, FAST, LOOP = "the reference", "the fast path", "the fast path by asyncio"
#: How each is started.
OPTIONS = {REFERENCE: ["--reference"], FAST: [], LOOP: ["--driver", "asyncio"]}


class Instance:
    """A running broker of our own."""

    def __init__(self, process: subprocess.Popen[str], log: Path, host: str, ports: list[int]) -> None:
        self.process, self.log_path = process, log
        self.host, self.ports = host, ports
        self.port = ports[0]

    def connect(self, **options: int) -> RawClient:
        """A connection."""
        return RawClient(self.host, self.port, **options)

    def log(self) -> list[str]:
        """The lines of its log."""
        return self.log_path.read_text().splitlines()

    def logged(self, before: int, count: int) -> list[str]:
        """The lines of its log from one on, once there are so many: a client may see the end of its connection before them."""
        until = time.monotonic() + LOG_TIMEOUT_S
        while len(self.log()) < before + count and time.monotonic() < until:
            time.sleep(0.01)
        return self.log()[before:]

    def resident_bytes(self) -> int:
        """The memory that the process has."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024

    def stop(self, number: signal.Signals = signal.SIGTERM) -> str:
        """Stop it; what its log says in the end."""
        self.process.send_signal(number)
        assert self.process.wait(STOP_TIMEOUT_S) == 0
        return self.log_path.read_text()


def command_of(kind: str, folder: Path) -> list[str]:
    """How a broker is started; one that keeps data keeps it in the folder."""
    data = [] if kind == REFERENCE else ["--data", str(folder / "data")]
    return [sys.executable, "-m", "fiducial", "serve", *OPTIONS[kind], *data]


@contextmanager
def running(kind: str, folder: Path, listen: str = "127.0.0.1:0", **settings: str) -> Iterator[Instance]:
    """A broker with these settings (_ for dots), which listens in one place, or more with commas between; ended with the block if it was not before."""
    command = [*command_of(kind, folder), "--listen", listen]
    for name, text in settings.items():
        command += ["--set", f"{name.replace('_', '.')}={text}"]
    log = folder / "stderr"
    with log.open("w") as stderr, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True) as process:
        try:
            assert process.stdout is not None
            ports = []
            for _ in listen.split(","):
                host, _, port = process.stdout.readline().removeprefix("listening on ").strip().rpartition(":")
                process.stdout.readline()  # how kcat is told
                ports.append(int(port))
            yield Instance(process, log, host, ports)
        finally:
            process.kill()
