"""TLS before the I/O threads: what comes out of a tunnel is as if the client had come without one, and nothing is left of who is gone.

What real clients make of it is tested in tests/clients/test_tls.py, and that of the other driver.
"""

from __future__ import annotations

import _ssl
import ctypes
import logging
import os
import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
from raw_client import RawClient

from fastpath.served import PATIENCE_S, Served, until
from fastpath.test_epoll import FETCH, LONG_MS, MEGABYTE, PRODUCE, VERSIONS, error_of, framed, records_of, topics
from fastpath.test_turns import PLAIN, described, fetched, produced
from fiducial.conformance.batches import Item, build
from fiducial.conformance.exploration.steps import request_frame
from fiducial.fastpath import tls
from fiducial.fastpath.server import Door, bound
from fiducial.fastpath.tls import Terminator, context_of
from fiducial.models import messages as m
from fiducial.models.settings import Tls

#: By which listener of the broker they come that speak TLS.
BY_TLS = 1
#: So much may be on the way to who does not read: in the kernel's buffers, on both sides of the tunnel, and in the tunnel.
ON_THE_WAY_BYTES_MAX = 20 * MEGABYTE
#: What OpenSSL calls a change of keys that the other side is to answer; and where Python's object has the session.
UPDATE_REQUESTED, SSL_AT = 1, 24
#: So much goes over the wire for it.
CHANGED_BYTES = 22
#: A client's, who does not ask who the broker is.
TRUSTING = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
TRUSTING.check_hostname, TRUSTING.verify_mode = False, ssl.CERT_NONE


class Secret:
    """A broker on I/O threads, and the thread before them to which clients speak TLS."""

    def __init__(self, served: Served, papers: str) -> None:
        self.served = served
        (self.listener,) = bound("127.0.0.1", 0)
        self.listener.listen()
        self.terminator = Terminator([Door(BY_TLS, self.listener)], context_of(Tls(papers)), served.server.welcome, served.settings.connections_max_idle_ms)

    @property
    def driver(self) -> Any:
        """Who has the connections."""
        return self.served.server.driver

    def connect(self, **options: int) -> RawClient:
        """One that has agreed on TLS."""
        client = self.plain(**options)
        client.socket = TRUSTING.wrap_socket(client.socket)
        return client

    def plain(self, **options: int) -> RawClient:
        """One that has not yet."""
        return RawClient("127.0.0.1", self.listener.getsockname()[1], **options)

    def is_empty(self) -> bool:
        """Is nothing left of any client?"""
        return not self.terminator.tunnels and self.driver.connections == 0 and self.driver.held_bytes == 0


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Key and certificate of the broker."""
    file = tmp_path_factory.mktemp("papers") / "broker.pem"
    trustme.CA().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(file)
    return str(file)


@contextmanager
def secret(folder: Path, papers: str, idle_ms: int = 600_000) -> Iterator[Secret]:
    """It serves, and has two topics."""
    with Served(folder / "data", connections_max_idle_ms=str(idle_ms)) as served:
        topics(served)
        made = Secret(served, papers)
        with made.listener:
            made.terminator.start()
            try:
                until(made.is_empty)
                yield made
            finally:
                made.terminator.stop()


@pytest.fixture
def here(tmp_path: Path, papers: str) -> Iterator[Secret]:
    """A broker as it mostly is."""
    with secret(tmp_path, papers) as made:
        yield made


def test_the_broker_knows_a_client_by_its_own_address_and_by_which_listener_it_came(here: Secret) -> None:
    with here.connect() as client:
        assert client.ask(described()) is not None
        assert set(here.served.server.peers.values()) == {client.name}
        assert list(here.served.node.origins.values()) == [("/127.0.0.1", BY_TLS)]


def test_frames_may_be_split_anywhere(here: Secret) -> None:
    data = framed(VERSIONS, produced(PLAIN), VERSIONS)
    with here.connect() as client:
        for position in range(len(data)):
            client.socket.sendall(data[position : position + 1])
        assert client.answer() and error_of(client.answer()) == 0 and client.answer()


def say_no_more_by_tls(client: RawClient) -> None:
    """As TLS has it."""
    client.socket.setblocking(False)
    with suppress(ssl.SSLWantReadError):
        client.socket.unwrap()  # type: ignore[attr-defined]
    client.socket.settimeout(PATIENCE_S)


def say_no_more_without_a_word(client: RawClient) -> None:
    """As whoever knows nothing of TLS."""
    with socket.socket(fileno=os.dup(client.socket.fileno())) as beside:
        beside.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("say_no_more", [say_no_more_by_tls, say_no_more_without_a_word])
def test_who_says_no_more_still_hears_what_is_pending(say_no_more: Any, here: Secret) -> None:
    with here.connect() as client, here.served.connect() as writer:
        client.send(fetched(PLAIN, 0, LONG_MS), VERSIONS)
        say_no_more(client)
        until(lambda: here.served.node.core.next_deadline() >= 0)
        assert error_of(writer.ask(produced(PLAIN))) == 0
        assert len(records_of(client.answer())[0]) > 61 and client.answer() is not None
        with suppress(ssl.SSLZeroReturnError):  # so it is told the end, who has said it itself
            assert client.answer() is None
    until(here.is_empty)


def test_who_is_hung_up_on_hears_what_came_before_and_the_end(here: Secret) -> None:
    with here.connect() as client:
        client.socket.sendall(framed(VERSIONS) + struct.pack(">i", -1))
        assert client.answer() is not None and client.answer() is None
        until(here.is_empty)


PARKED = framed(fetched(PLAIN, 0, LONG_MS))


@pytest.mark.parametrize("sent", [b"", framed(VERSIONS)[:9], PARKED, PARKED + framed(VERSIONS)[:9]])
def test_nothing_is_left_of_who_breaks_off(here: Secret, sent: bytes) -> None:
    client = here.connect()
    before = here.driver.received_bytes
    client.socket.sendall(sent)
    here.served.has_received(before + len(sent))
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    until(lambda: here.is_empty() and here.served.node.core.next_deadline() == -1)


@pytest.mark.parametrize("bytes_each", [0, 1])
def test_a_handshake_that_never_ends_is_ended(bytes_each: int, here: Secret, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(tls, "HANDSHAKE_S", 0.2)
    monkeypatch.setattr(tls, "LOOK_S", 0.05)
    begun = struct.pack(">BHH", 22, 0x0301, 16_000)  # a record of the handshake, which never comes whole
    with here.connect() as other, here.plain() as client, caplog.at_level(logging.WARNING):
        client.socket.sendall(begun)
        until(lambda: has_ended(client, bytes_each))
        until(lambda: len(here.terminator.tunnels) == 1)
        assert f"closing {client.name}: no TLS: not agreed within 0.2 s" in caplog.text
        assert other.ask(VERSIONS) is not None


def has_ended(client: RawClient, bytes_each: int) -> bool:
    """After so many bytes more, and a moment."""
    client.socket.settimeout(0.01)
    try:
        client.socket.sendall(bytes(bytes_each))
        return client.socket.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def fill(here: Secret) -> bytes:
    """Four large records; how all of them are asked for."""
    batch: Any = build([Item(1_700_000_000_000, content=bytes(900_000))])
    data = m.TopicProduceData(PLAIN, partition_data=(m.PartitionProduceData(0, batch),))
    with here.connect() as filler:
        for _ in range(4):
            assert error_of(filler.ask(request_frame(PRODUCE, 12, m.ProduceRequest(None, -1, 10_000, (data,))))) == 0
    wanted = m.FetchTopic(PLAIN, partitions=(m.FetchPartition(partition_max_bytes=100 * MEGABYTE),))
    return request_frame(FETCH, 12, m.FetchRequest(min_bytes=1, session_epoch=-1, topics=(wanted,)))


@pytest.mark.rule("WIRE-FRAME-14")
def test_who_does_not_read_is_answered_no_further_and_then_gets_every_byte(here: Secret) -> None:
    frame = fill(here)
    with here.served.connect() as client:
        whole = client.ask(frame)
    with here.connect(receive_buffer_bytes=65_536) as client, here.connect() as other:
        before = here.driver.sent_bytes
        client.send(*[frame] * 30)
        until(lambda: here.driver.sent_bytes > before)
        for _ in range(100):
            assert other.ask(VERSIONS) is not None
        assert here.driver.sent_bytes - before < ON_THE_WAY_BYTES_MAX, "30 answers have 108 MB"
        assert all(client.answer() == whole for _ in range(30))


def test_who_changes_keys_and_does_not_read_is_read_from_no_further(here: Secret) -> None:
    """TLS itself answers each change: also that is sent before more is heard."""
    with here.connect(receive_buffer_bytes=65_536) as client, here.connect() as other:
        assert client.socket.version() == "TLSv1.3"  # type: ignore[attr-defined]
        with suppress(TimeoutError):
            client.socket.settimeout(0.5)
            for _ in range(3 * tls.READ_BYTES // CHANGED_BYTES):
                change_keys(client)
        assert all(tunnel.outgoing.pending <= tls.READ_BYTES for tunnel in here.terminator.tunnels)
        assert other.ask(VERSIONS) is not None


def change_keys(client: RawClient) -> None:
    """Ask the broker to change its keys, too. Python has no name for it."""
    openssl = ctypes.CDLL(_ssl.__file__)
    session = ctypes.c_void_p.from_address(id(client.socket._sslobj) + SSL_AT)  # type: ignore[attr-defined]
    assert openssl.SSL_key_update(session, UPDATE_REQUESTED) == 1
    client.socket.do_handshake()  # type: ignore[attr-defined]


def answers(client: RawClient) -> list[bytes]:
    """All that come."""
    return list(iter(client.answer, None))


@pytest.mark.rule("WIRE-FRAME-13")
def test_who_neither_reads_nor_leaves_is_left_in_the_end(tmp_path: Path, papers: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "LOOK_S", 0.05)
    with secret(tmp_path, papers, idle_ms=500) as here:
        frame = fill(here)
        with here.connect(receive_buffer_bytes=65_536) as client:
            client.send(*[frame] * 30)
            until(here.is_empty)
            with pytest.raises((ConnectionError, AssertionError)):  # inside an answer
                answers(client)


def test_what_goes_wrong_with_one_client_costs_that_one_only(here: Secret, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def fails(_end: socket.socket, _client: socket.socket, _listener: int) -> None:
        raise RuntimeError("a fault")

    with here.connect() as other:
        assert other.ask(VERSIONS)
        with monkeypatch.context() as patch, here.plain() as client:
            patch.setattr(here.terminator, "welcome", fails)
            with suppress(OSError):
                client.socket = TRUSTING.wrap_socket(client.socket)
                assert client.ask(VERSIONS) is None
        assert other.ask(VERSIONS) and "internal error" in caplog.text
        until(lambda: len(here.terminator.tunnels) == 1)
