"""A process may open so many files and no more. Where none is left, the broker goes on with what it has; nothing that it acknowledged is lost."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import trustme
from raw_client import RawClient

from fastpath.folders import NOW, Ours, batch_of, create, produce, sent, stored
from fastpath.served import Served, SlowDisk, until
from fastpath.test_epoll import VERSIONS, is_answered, lowest_free_descriptor
from fastpath.test_tls import TRUSTING
from fiducial.fastpath import data, files, server
from fiducial.models.errors import Error

DRIVERS = ("epoll", "asyncio")
#: So many are left for connections, and so many more clients come than that.
LEFT, MORE = 3, 5
#: So many more a driver leaves to logs. Asyncio accepts by itself.
LEFT_TO_LOGS = {"epoll": 16, "asyncio": 0}
A_WHILE_S = 1.5
#: A client that speaks TLS takes so many: its socket, and the two of a pair.
OF_TLS = 3
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
#: So many files are opened to see that something never happens.
MANY = 50
#: A segment holds few batches.
SMALL = {"internal_segment_bytes": "300"}
OPEN_AT = 1  # its place in the table of fastpath/files.pxd
OPEN = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int)


class Broker:
    """`fiducial serve` in a process of its own."""

    def __init__(self, folder: Path, driver: str, told: Path, *options: str) -> None:
        command = [sys.executable, "-m", "fiducial", "serve", "--listen", "127.0.0.1:0", "--data", str(folder), "--driver", driver, *options]
        self.told = told
        with told.open("w") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline().rpartition(":")[2])
        if "SSL://127.0.0.1:0" in options:
            self.process.stdout.readline()
            self.secret_port = int(self.process.stdout.readline().rpartition(":")[2])

    def connect(self) -> RawClient:
        """A client, whose connection may still have to be accepted."""
        return RawClient("127.0.0.1", self.port)

    def leave(self, count: int | None) -> None:
        """So many files may be opened beside those that are open; None: as many as before."""
        _, most = resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE)
        is_open = len(os.listdir(f"/proc/{self.process.pid}/fd"))
        resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, (most if count is None else is_open + count, most))

    def cpu_s(self) -> float:
        """What it has used of the processors."""
        user, system = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / TICKS_PER_S

    def said(self, text: str) -> int:
        """In how many lines of its log this stands."""
        return sum(text in line for line in self.told.read_text().splitlines())

    def await_said(self, text: str, times: int) -> None:
        """Until so many lines of its log have this."""
        until(lambda: self.said(text) == times)


@contextmanager
def serving(folder: Path, driver: str = "epoll", *options: str) -> Iterator[Broker]:
    """One that is killed in the end."""
    broker = Broker(folder / "data", driver, folder / "log", *options)
    try:
        yield broker
    finally:
        broker.process.send_signal(signal.SIGKILL)
        broker.process.communicate()


@pytest.mark.parametrize("driver", DRIVERS)
def test_where_no_descriptor_is_left_those_who_come_wait_and_the_others_are_served(driver: str, tmp_path: Path) -> None:
    with serving(tmp_path, driver) as broker, ExitStack() as stack:
        first = stack.enter_context(broker.connect())
        create(first, "a")
        produce(first, "a", batch_of([NOW]))
        broker.leave(LEFT_TO_LOGS[driver] + LEFT)
        clients = [stack.enter_context(broker.connect()) for _ in range(LEFT + MORE)]
        for client in clients:
            client.send(VERSIONS)
        assert all(client.answer() for client in clients[:LEFT])
        cpu_s, began = broker.cpu_s(), time.monotonic()
        time.sleep(A_WHILE_S)
        assert not any(is_answered(client) for client in clients[LEFT:])
        assert broker.cpu_s() - cpu_s < (time.monotonic() - began) / 2, "it tries again and again"
        assert produce(first, "a", batch_of([NOW])) == 1
        for client in clients[:LEFT]:
            client.close()
        assert all(client.answer() for client in clients[LEFT : 2 * LEFT])
        broker.leave(None)
        assert all(client.answer() for client in clients[2 * LEFT :])
        if driver == "epoll":  # asyncio says it each time
            assert broker.said("cannot accept connections: Too many open files") == 1


@pytest.mark.parametrize("driver", DRIVERS)
def test_those_who_speak_tls_wait_too_and_those_who_do_not_are_served(driver: str, tmp_path: Path) -> None:
    papers = tmp_path / "papers.pem"
    trustme.CA().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(papers)
    with serving(tmp_path, driver, "--listen", "SSL://127.0.0.1:0", "--set", f"ssl.keystore.location={papers}") as broker, ExitStack() as stack:
        plain = stack.enter_context(broker.connect())
        assert plain.ask(VERSIONS)
        broker.leave(LEFT_TO_LOGS["epoll"] + OF_TLS)
        clients = [stack.enter_context(RawClient("127.0.0.1", broker.secret_port)) for _ in range(MORE)]
        assert agreed(clients[0]).ask(VERSIONS)
        broker.await_said("cannot accept connections: Too many open files", 1)
        cpu_s, began = broker.cpu_s(), time.monotonic()
        time.sleep(A_WHILE_S)
        assert plain.ask(VERSIONS)
        assert broker.cpu_s() - cpu_s < (time.monotonic() - began) / 2, "it tries again and again"
        clients[0].close()
        assert agreed(clients[1]).ask(VERSIONS)
        broker.leave(None)
        assert all(agreed(client).ask(VERSIONS) for client in clients[2:])
        assert broker.said("cannot accept connections") == 1


def agreed(client: RawClient) -> RawClient:
    """It has agreed on TLS."""
    client.socket = TRUSTING.wrap_socket(client.socket)
    return client


def test_connections_leave_some_descriptors_to_logs(tmp_path: Path) -> None:
    with serving(tmp_path) as broker, ExitStack() as stack:
        first = stack.enter_context(broker.connect())
        create(first, "a", **SMALL)
        broker.leave(LEFT_TO_LOGS["epoll"] + LEFT)
        clients = [stack.enter_context(broker.connect()) for _ in range(LEFT + MORE)]
        for client in clients:
            client.send(VERSIONS)
        broker.await_said("cannot accept connections", 1)
        assert [produce(first, "a", batch_of([NOW] * 2)) for _ in range(5)] == [0, 2, 4, 6, 8]
        assert len(list((tmp_path / "data").glob("a-0/*.log"))) > 2


def test_those_who_speak_tls_leave_some_to_logs_too(tmp_path: Path) -> None:
    papers = tmp_path / "papers.pem"
    trustme.CA().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(papers)
    with serving(tmp_path, "epoll", "--listen", "SSL://127.0.0.1:0", "--set", f"ssl.keystore.location={papers}") as broker, ExitStack() as stack:
        first = stack.enter_context(broker.connect())
        create(first, "a", **SMALL)
        broker.leave(LEFT_TO_LOGS["epoll"] + LEFT * OF_TLS)
        for _ in range(LEFT + MORE):  # they need not even agree on anything
            stack.enter_context(RawClient("127.0.0.1", broker.secret_port))
        broker.await_said("cannot accept connections", 1)
        assert [produce(first, "a", batch_of([NOW] * 2)) for _ in range(5)] == [0, 2, 4, 6, 8]


def test_who_looks_what_is_left_takes_it_from_nobody(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    found: set[int] = set()
    with Ours(tmp_path / "data") as broker, ThreadPoolExecutor() as pool, open(os.devnull, "rb") as any_file:
        is_over = threading.Event()
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free_descriptor() + LEFT_TO_LOGS["epoll"], limits[1]))
            looking = pool.submit(look, any_file.fileno(), found, is_over)
            until(lambda: errno.EMFILE in found or looking.done())
            for _ in range(MANY):
                broker.node.core.write_checkpoint(os.fsencode(tmp_path / "data" / "checkpoint"), b"")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            is_over.set()
        looking.result()
        assert errno.EMFILE in found


def look(fd: int, found: set[int], is_over: threading.Event) -> None:
    """Look what is left, again and again, as long as that is too little."""
    while not is_over.is_set():
        found.add(files.are_left(fd))


def test_it_is_said_anew_when_nobody_had_to_wait_meanwhile(tmp_path: Path) -> None:
    with serving(tmp_path) as broker:
        for times in (1, 2):
            broker.leave(0)
            with broker.connect() as client:
                client.send(VERSIONS)
                broker.await_said("cannot accept connections", times)
                broker.leave(None)
                assert client.answer()
            with broker.connect() as client:
                assert client.ask(VERSIONS)


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("policy", [{}, {"flush_messages": "1"}], ids=["none", "commit"])
def test_what_cannot_be_written_for_want_of_a_descriptor_is_refused_and_nothing_acknowledged_is_lost(
    driver: str, policy: dict[str, str], tmp_path: Path
) -> None:
    batches = [batch_of([NOW + number] * 2) for number in range(9)]
    with serving(tmp_path, driver) as broker, broker.connect() as client:
        create(client, "a", **SMALL, **policy)
        produce(client, "a", batches[0])
        broker.leave(0)
        answers = [sent(client, "a", batch) for batch in batches[1:]]
        good = [answer.base_offset for answer in answers if answer.error_code == Error.NONE]
        assert {answer.error_code for answer in answers} == {Error.NONE, Error.KAFKA_STORAGE_ERROR}
        assert good == [2 * number for number in range(1, 1 + len(good))]
    with serving(tmp_path, driver) as broker, broker.connect() as client:
        assert len(stored(client, "a")) == (1 + len(good)) * len(batches[0])


class FewFiles(SlowDisk):
    """The real file operations, but that while `are_left` is false no file can be opened."""

    def __init__(self) -> None:
        super().__init__()
        self.are_left, self.refused = True, 0
        self.really_open = OPEN(self.table[OPEN_AT] or 0)
        self.open = OPEN(self.opened)
        self.table[OPEN_AT] = ctypes.cast(self.open, ctypes.c_void_p)

    def opened(self, context: int, path: bytes, create: int) -> int:
        """The descriptor, if there is one left."""
        self.refused += not self.are_left
        return int(self.really_open(context, path, create)) if self.are_left else -errno.EMFILE


def test_a_checkpoint_that_finds_no_descriptor_waits_for_the_next_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CHECKPOINT_S", 0.0)
    disk, file = FewFiles(), tmp_path / "data" / data.RECOVERY_POINTS
    with Served(tmp_path / "data", disk=disk) as served, served.connect() as client:
        create(client, "a")
        assert produce(client, "a", batch_of([NOW])) == 0
        disk.are_left = False
        served.loop.call_soon_threadsafe(served.server.begin_chores)
        until(lambda: disk.refused > 1)
        assert produce(client, "a", batch_of([NOW])) == 1
        assert "a 0" not in file.read_text()
        disk.are_left = True
        until(lambda: "a 0" in file.read_text())
        create(client, "b")
