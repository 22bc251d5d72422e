"""One connection without a socket: whose turn it is, when it is read from, when it is idle. The clock is in the test's hand."""

from __future__ import annotations

import asyncio
import functools
import struct
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from fiducial.models.settings import parse
from fiducial.models.state import Cluster
from fiducial.reference import server
from fiducial.reference.server import QUEUED_BYTES_MAX, Connection, Server

VERSIONS_0 = struct.pack(">ihhih", 10, 18, 0, 7, -1)


class Clock:
    """What stands in the place of the module `time`."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        """Seconds."""
        return self.now_s

    def time_ns(self) -> int:
        """The wall clock."""
        return 1_700_000_000_000_000_000


class Wire(asyncio.Transport):
    """What a connection does to its socket."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 12345)})
        self.answers: list[bytes] = []
        self.unsent_bytes = 0
        self.is_read = True
        self.ended = ""

    def write(self, data: Any) -> None:
        self.answers.append(bytes(data))

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True

    def get_write_buffer_size(self) -> int:
        return self.unsent_bytes

    def is_closing(self) -> bool:
        return bool(self.ended)

    def close(self) -> None:
        self.ended = self.ended or "closed"

    def abort(self) -> None:
        self.ended = "aborted"


def connected(**settings: str) -> tuple[Connection, Wire]:
    """A connection to a new broker."""
    given = parse({name.replace("_", "."): text for name, text in settings.items()})
    connection = Connection(Server(Cluster("fiducialfiducialfiduci", 1, "127.0.0.1", 9092), given, seed=1))
    wire = Wire()
    connection.connection_made(wire)
    return connection, wire


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time of the server."""
    made = Clock()
    monkeypatch.setattr(server, "time", made)
    return made


def in_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test inside an event loop."""

    @functools.wraps(test)
    def run(**fixtures: Any) -> None:
        asyncio.run(test(**fixtures))

    return run


@pytest.mark.rule("WIRE-FRAME-10")
@in_a_loop
async def test_a_connection_has_one_request_answered_in_each_turn(clock: Clock) -> None:
    connection, wire = connected()
    connection.data_received(VERSIONS_0 * 5)
    for answered in range(1, 6):
        assert len(wire.answers) == answered
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(wire.answers) == 5 and not wire.ended


@pytest.mark.parametrize("size", [1, 3, 4, 5, 14, 100])
@in_a_loop
async def test_frames_may_come_in_pieces_of_any_size(clock: Clock, size: int) -> None:
    connection, wire = connected()
    data = b"".join(VERSIONS_0[:8] + struct.pack(">ih", number, -1) for number in range(20))
    for begin in range(0, len(data), size):
        connection.data_received(data[begin : begin + size])
    while connection.frames:
        await asyncio.sleep(0)
    assert [struct.unpack_from(">i", one, 4)[0] for one in wire.answers] == list(range(20))
    assert connection.buffer == b""


@pytest.mark.rule("WIRE-FRAME-14")
@in_a_loop
async def test_who_does_not_read_is_not_read_from_and_not_answered(clock: Clock) -> None:
    connection, wire = connected()
    connection.pause_writing()
    assert not wire.is_read
    connection.data_received(VERSIONS_0 * 2)
    await asyncio.sleep(0)
    assert wire.answers == [] and not wire.is_read
    connection.resume_writing()
    await asyncio.sleep(0)
    assert len(wire.answers) == 2 and wire.is_read


@pytest.mark.rule("WIRE-FRAME-14")
@in_a_loop
async def test_who_is_far_ahead_is_not_read_from_until_answered(clock: Clock) -> None:
    connection, wire = connected()
    connection.data_received(VERSIONS_0 * (QUEUED_BYTES_MAX // 10 + 3))
    assert not wire.is_read and len(connection.frames) == QUEUED_BYTES_MAX // 10 + 2
    await asyncio.sleep(0)
    assert not wire.is_read
    await asyncio.sleep(0)
    assert wire.is_read and connection.frames


@pytest.mark.rule("WIRE-FRAME-13")
@in_a_loop
async def test_a_single_byte_puts_off_the_end(clock: Clock) -> None:
    connection, wire = connected(connections_max_idle_ms="600000")
    for clock.now_s in (599.0, 1198.0, 1797.0):
        connection.end_if_idle()
        assert not wire.ended
        connection.data_received(b"\x00")
    clock.now_s = 1797.0 + 600.0
    connection.end_if_idle()
    assert wire.ended == "aborted"


@pytest.mark.rule("WIRE-FRAME-13")
@in_a_loop
async def test_an_answer_puts_off_the_end_and_so_does_each_byte_that_the_client_takes_of_it(clock: Clock) -> None:
    connection, wire = connected(connections_max_idle_ms="600000")
    clock.now_s, wire.unsent_bytes = 500.0, 9_000
    connection.finished(bytes(10_000))
    for clock.now_s, wire.unsent_bytes in ((1000.0, 8_000), (1500.0, 7_000), (2000.0, 6_000)):
        connection.end_if_idle()
        assert not wire.ended
    clock.now_s = 2600.0
    connection.end_if_idle()
    assert wire.ended == "aborted"


@pytest.mark.rule("WIRE-FRAME-13")
@in_a_loop
async def test_it_looks_again_when_the_time_could_be_up(clock: Clock) -> None:
    connection, wire = connected(connections_max_idle_ms="20")
    clock.now_s = 0.02
    while not wire.ended:
        await asyncio.sleep(0.001)
    assert wire.ended == "aborted"
    connection.connection_lost(None)
    assert connection.watchdog.cancelled() and not connection.server.connections
