"""One connection without a socket: whose turn it is, when it is read from, when it is idle. The clock is in the test's hand."""

from __future__ import annotations

import asyncio
import functools
import struct
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from fiducial.conformance.exploration.steps import request_frame
from fiducial.models import messages as m
from fiducial.models.groups import Alarm, Kind
from fiducial.models.settings import parse
from fiducial.models.state import Cluster
from fiducial.reference import server
from fiducial.reference.core import Action
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


def framed(frame: bytes) -> bytes:
    """A frame behind its length."""
    return struct.pack(">i", len(frame)) + frame


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
    assert len(wire.answers) == 5 and not wire.is_closing()


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


def with_a_fetch_that_waits() -> tuple[Connection, Wire]:
    """A connection whose request is parked."""
    connection, wire = connected()
    topic = m.CreateTopicsRequest((m.CreatableTopic("t", 1, 1),))
    connection.data_received(framed(request_frame(19, 7, topic)))
    wanted = m.FetchTopic("t", partitions=(m.FetchPartition(),))
    connection.data_received(framed(request_frame(1, 12, m.FetchRequest(max_wait_ms=60_000, min_bytes=1, topics=(wanted,)))))
    assert len(wire.answers) == len(connection.server.core.waiting) == len(connection.server.timers) == 1
    return connection, wire


@pytest.mark.rule("WIRE-FRAME-10")
@in_a_loop
async def test_what_comes_while_a_request_is_under_way_waits(clock: Clock) -> None:
    connection, wire = with_a_fetch_that_waits()
    connection.data_received(VERSIONS_0)
    await asyncio.sleep(0)
    assert len(wire.answers) == 1 and wire.is_read
    connection.server.fire(2)
    await asyncio.sleep(0)
    assert len(wire.answers) == 3


@pytest.mark.rule("WIRE-FRAME-12")
@in_a_loop
async def test_who_has_said_all_is_answered_before_the_end(clock: Clock) -> None:
    connection, wire = with_a_fetch_that_waits()
    connection.data_received(VERSIONS_0)
    assert connection.eof_received() is True, "the connection stays open"
    assert not wire.is_closing()
    connection.server.fire(2)
    for _ in range(3):
        await asyncio.sleep(0)
    assert len(wire.answers) == 3 and wire.ended == "closed"


@pytest.mark.rule("WIRE-FRAME-12")
@in_a_loop
async def test_who_has_said_all_and_heard_all_is_let_go(clock: Clock) -> None:
    connection, wire = connected()
    connection.eof_received()
    assert wire.ended == "closed"


@pytest.mark.rule("WIRE-FRAME-1")
@in_a_loop
async def test_nothing_is_read_behind_a_bad_length(clock: Clock) -> None:
    connection, wire = with_a_fetch_that_waits()
    connection.data_received(VERSIONS_0 + bytes(4))
    assert not wire.is_read and not wire.is_closing()
    connection.server.fire(2)
    assert not wire.is_read
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(wire.answers) == 3 and wire.ended == "closed" and not wire.is_read


def join(group: str) -> bytes:
    """A JoinGroup of a new member: it waits."""
    protocols = (m.JoinGroupRequestProtocol("range", b""),)
    return framed(request_frame(11, 3, m.JoinGroupRequest(group, 10_000, 30_000, "", None, "consumer", protocols)))


def coordinating() -> tuple[Connection, Wire]:
    """A connection to a new broker, which has a topic for groups."""
    connection, wire = connected(group_initial_rebalance_delay_ms="0")
    connection.data_received(framed(request_frame(10, 4, m.FindCoordinatorRequest(key_type=0, coordinator_keys=("g",)))))
    assert len(wire.answers) == 1
    return connection, wire


@in_a_loop
async def test_what_comes_behind_a_join_that_waits_is_answered_behind_it(clock: Clock) -> None:
    connection, wire = coordinating()
    await asyncio.sleep(0)
    connection.data_received(join("g") + VERSIONS_0)
    await asyncio.sleep(0)
    assert len(wire.answers) == 1 and connection.busy
    connection.server.fire(Alarm(Kind.JOIN, "g"))
    for _ in range(3):
        await asyncio.sleep(0)
    assert len(wire.answers) == 3 and not connection.busy and not connection.server.core.waiting


@in_a_loop
async def test_who_left_while_its_join_waited_is_sent_nothing_and_its_alarms_ring_on(clock: Clock) -> None:
    connection, wire = coordinating()
    await asyncio.sleep(0)
    here = connection.server
    connection.data_received(join("g"))
    connection.connection_lost(ConnectionResetError())
    assert not here.connections and not here.core.origins and not here.core.waiting
    here.fire(Alarm(Kind.JOIN, "g"))
    (member,) = here.core.broker.groups.live["g"].members
    assert len(wire.answers) == 1 and set(here.timers) == {Alarm(Kind.SESSION, "g", member), Alarm(Kind.SYNC, "g")}
    early = here.timers[Alarm(Kind.SYNC, "g")]
    here.fire(Alarm(Kind.SYNC, "g"))
    assert here.timers[Alarm(Kind.SYNC, "g")] is not early, "it rang early, and is set again"


@in_a_loop
async def test_a_connection_that_is_lost_leaves_nothing(clock: Clock) -> None:
    connection, _ = with_a_fetch_that_waits()
    here = connection.server
    (timer,) = here.timers.values()
    connection.connection_lost(ConnectionResetError())
    assert timer.cancelled()
    assert not here.connections and not here.core.waiting and not here.timers and not here.core.broker.parked.fetches


@in_a_loop
async def test_a_fault_of_ours_costs_that_connection_only(clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    connection, wire = connected()
    other = Connection(connection.server)
    other.connection_made(Wire())

    def fails(connection: int, frame: bytes, now: int) -> list[Action]:
        raise RuntimeError("a fault")

    with monkeypatch.context() as spoilt:
        spoilt.setattr(connection.server.core, "frame", fails)
        connection.data_received(VERSIONS_0 * 2)
    await asyncio.sleep(0)
    assert wire.ended == "closed" and wire.answers == []
    (said,) = caplog.records
    assert (said.levelname, said.getMessage()) == ("ERROR", "closing 127.0.0.1:12345: internal error")
    assert said.exc_info is not None and isinstance(said.exc_info[1], RuntimeError)
    other.data_received(VERSIONS_0)
    assert not other.transport.is_closing()


@in_a_loop
async def test_a_large_frame_grows_in_place(clock: Clock) -> None:
    connection, _ = connected()
    connection.data_received(struct.pack(">i", 8 << 20))
    buffer = connection.buffer
    for _ in range(127):
        connection.data_received(bytes(1 << 16))
        assert connection.buffer is buffer and not connection.frames
    connection.data_received(bytes(1 << 16))
    assert connection.buffer is buffer and not buffer


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
        assert not wire.is_closing()
        connection.data_received(b"\x00")
    clock.now_s = 1797.0 + 600.0
    connection.end_if_idle()
    assert wire.ended == "aborted"


@pytest.mark.rule("WIRE-FRAME-13")
@in_a_loop
async def test_an_answer_puts_off_the_end_and_so_does_each_byte_that_the_client_takes_of_it(clock: Clock) -> None:
    connection, wire = connected(connections_max_idle_ms="600000")
    clock.now_s = 500.0
    connection.finished(bytes(10_000))
    clock.now_s = 1000.0
    connection.end_if_idle()
    assert not wire.is_closing()
    for clock.now_s, wire.unsent_bytes in ((1099.0, 8_000), (1500.0, 7_000), (2000.0, 6_000)):
        connection.end_if_idle()
        assert not wire.is_closing()
    clock.now_s = 2600.0
    connection.end_if_idle()
    assert wire.ended == "aborted"


@pytest.mark.rule("WIRE-FRAME-13")
@in_a_loop
async def test_it_looks_again_when_the_time_could_be_up(clock: Clock) -> None:
    connection, wire = connected(connections_max_idle_ms="20")
    clock.now_s = 0.02
    while not wire.is_closing():
        await asyncio.sleep(0.001)
    assert wire.ended == "aborted"
    connection.connection_lost(None)
    assert connection.watchdog.cancelled() and not connection.server.connections
