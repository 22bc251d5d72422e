"""Room for next to nothing, over TCP: somebody sends half of a request, others wait for room meanwhile, and all are answered once the other half is there.

`python -m threads.room SEED ROUNDS`: tells "found" if somebody is not answered.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

from raw_client import RawClient

from threads.sockets import PATIENCE_S, THREADS, Host
from threads.telling import tell

#: An ApiVersions request, whose version nobody serves: answered at once, however long it is.
VERSIONS = struct.pack(">hhih", 18, 0, 7, -1)
LONG = VERSIONS.ljust(5_000, b"\x00")
HALF = len(LONG) // 2
ROOM_BYTES = 100
PAUSE_MAX_S = 0.0001


class Campaign:
    """A broker, one who sends halves, and on each thread one whose request is read only where there is room."""

    def __init__(self, folder: Path, seed: int, rounds: int) -> None:
        self.random, self.rounds = Random(seed), rounds
        self.host = Host(folder, None, **{"queued.max.request.bytes": str(ROOM_BYTES)})
        self.host.start()
        self.host.is_ready.wait()

    def run(self) -> dict[str, Any]:
        """So many rounds. AssertionError if somebody is not answered."""
        with ExitStack() as stack:
            slow, *others = (stack.enter_context(RawClient(self.host.host, self.host.port)) for _ in range(1 + THREADS))
            for client in (slow, *others):
                client.socket.settimeout(PATIENCE_S)
            for number in range(self.rounds):
                self.round(number, slow, others)
        return {"rounds": self.rounds}

    def round(self, number: int, slow: RawClient, others: list[RawClient]) -> None:
        """Half of a request; requests of others, of which some come just as the other half does; and all answers."""
        driver = self.host.server.driver
        frame = struct.pack(">i", len(LONG)) + LONG
        slow.socket.sendall(frame[:HALF])
        self.until(lambda: driver.held_bytes > ROOM_BYTES)
        for client in others:
            client.send(VERSIONS)
        time.sleep(self.random.uniform(0, PAUSE_MAX_S))
        slow.socket.sendall(frame[HALF:])
        for client in (slow, *others):
            try:
                assert client.answer() is not None, "the connection ended"
            except TimeoutError:
                raise AssertionError(f"round {number}: {driver.held_bytes} bytes are kept, and somebody waits for room") from None

    def until(self, is_so: Callable[[], bool]) -> None:
        """Look until it is."""
        give_up = time.monotonic() + PATIENCE_S
        while not is_so():
            assert time.monotonic() < give_up, "half of a request is not kept"

    def close(self) -> None:
        """The broker."""
        self.host.end()
        self.host.node.close()


if __name__ == "__main__":
    tell(Campaign)
