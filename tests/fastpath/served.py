"""The epoll driver in this process: a broker whose clients are real sockets, and whose threads can be looked into."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType

from raw_client import RawClient

from fiducial.fastpath import files
from fiducial.fastpath.loop import Loop
from fiducial.fastpath.node import Node
from fiducial.fastpath.server import Door, ThreadedServer, bound, now_ms
from fiducial.models.settings import parse
from fiducial.models.state import Cluster

#: So long is waited for what must come.
PATIENCE_S = 20.0
SYNC_AT = 8  # its place in the table of fastpath/files.pxd
SYNC = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)


def until(happened: Callable[[], object]) -> None:
    """Wait for it."""
    end = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.001)


class SlowDisk:
    """The real file operations, but that a sync waits while the disk is `stuck`, and then comes to `result`."""

    def __init__(self) -> None:
        count = SYNC_AT + 8
        self.table = (ctypes.c_void_p * count).from_buffer_copy((ctypes.c_void_p * count).from_address(files.ADDRESS))
        self.go_on = threading.Event()
        self.go_on.set()
        self.result = 0
        self.syncs = 0  # begun
        self.function = SYNC(self.sync)
        self.table[SYNC_AT] = ctypes.cast(self.function, ctypes.c_void_p)

    @property
    def address(self) -> int:
        """Where the table is."""
        return ctypes.addressof(self.table)

    def sync(self, _context: int, _descriptor: int) -> int:
        """Wait, and say how it went."""
        self.syncs += 1
        self.go_on.wait(PATIENCE_S)
        return self.result


class Served:
    """A broker on I/O threads, the control plane in a thread of Python's; to be entered, and stopped with the block."""

    def __init__(self, folder: Path, *, disk: SlowDisk | None = None, threads: int = 2, **settings: str) -> None:
        given = {name.replace("_", "."): text for name, text in settings.items()}
        self.settings = parse({"num.network.threads": str(threads), "group.initial.rebalance.delay.ms": "0", **given})
        self.node = Node(folder, Cluster("fiducialfiducialfiduci", 1, "127.0.0.1", 9092, others=(("outside.example", 9093),)), self.settings, 1, now_ms(), simulation=disk)
        self.loop = Loop()
        self.server = ThreadedServer(self.node, self.settings, self.loop)
        self.started: Future[int] = Future()
        self.thread = threading.Thread(target=self.run)

    def run(self) -> None:
        """Serve until told to stop."""
        (listener,) = bound("127.0.0.1", 0)
        with listener:
            listener.listen()
            self.server.start([Door(0, listener)])
            self.started.set_result(listener.getsockname()[1])
            self.loop.run_forever()
            self.server.stop()

    def __enter__(self) -> Served:
        self.thread.start()
        self.port = self.started.result(PATIENCE_S)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self.loop:  # closed when nobody wakes it any more
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join()
        self.node.close()

    def connect(self, **options: int) -> RawClient:
        """A client; of two in a row each is another thread's."""
        return RawClient("127.0.0.1", self.port, **options)

    def has_received(self, size: int) -> None:
        """Wait until so many bytes were read from clients in all."""
        until(lambda: self.server.driver.received_bytes >= size)
