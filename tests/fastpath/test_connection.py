"""One connection of the fast path without a socket: what is read and written when, and what a fault of ours costs. What it shares with the
reference broker's is tested over TCP (tests/reference/test_server.py, test_frames.py)."""

from __future__ import annotations

import asyncio
import functools
import struct
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from fiducial.conformance.exploration.steps import request_frame
from fiducial.fastpath.asyncio_server import BUFFER_BYTES, HELD_BYTES_MAX, READ_BYTES, AsyncioServer, Connection
from fiducial.fastpath.node import Action, Node
from fiducial.fastpath.outbox import TOGETHER_BYTES
from fiducial.models import messages as m
from fiducial.models.settings import parse
from fiducial.models.state import Cluster

IDLE_S = 600


class Wire(asyncio.Transport):
    """What a connection does to its socket; `is_slow`: what is written stays unread."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 12345)})
        self.written: list[bytes] = []
        self.is_read = True
        self.is_slow = False
        self.ended = ""
        self.connection: Connection

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))
        if self.is_slow:
            self.connection.pause_writing()

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high == 0

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return bool(self.ended)

    def close(self) -> None:
        self.ended = self.ended or "closed"

    def abort(self) -> None:
        self.ended = "aborted"

    def answers(self) -> list[int]:
        """The correlation ids of what was written."""
        data, found = b"".join(self.written), []
        while data:
            size, correlation_id = struct.unpack_from(">ii", data)
            found.append(correlation_id)
            data = data[4 + size :]
        return found


@pytest.fixture
def here(tmp_path: Path) -> Iterator[AsyncioServer]:
    """A broker on a new folder."""
    settings = parse({"connections.max.idle.ms": str(IDLE_S * 1000), "group.initial.rebalance.delay.ms": "0"})
    node = Node(tmp_path / "data", Cluster("ZmlkdWNpYWxmaWR1Y2lhbA", 1, "127.0.0.1", 9092), settings, 1, 0)
    loop = asyncio.new_event_loop()
    yield AsyncioServer(node, settings, loop)
    node.close()
    loop.close()


def in_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test inside the broker's loop."""

    @functools.wraps(test)
    def run(here: AsyncioServer, **fixtures: Any) -> None:
        here.loop.run_until_complete(test(here=here, **fixtures))

    return run


def connected(here: AsyncioServer) -> tuple[Connection, Wire]:
    """A connection to the broker."""
    connection, wire = Connection(here), Wire()
    wire.connection = connection
    connection.connection_made(wire)
    return connection, wire


def received(connection: Connection, data: bytes) -> None:
    """Bytes arrive, as many at a time as the connection takes."""
    while data:
        room = connection.get_buffer(-1)
        size = min(len(room), len(data))
        room[:size] = data[:size]
        data = data[size:]
        connection.buffer_updated(size)


def framed(frame: bytes) -> bytes:
    """A frame behind its length."""
    return struct.pack(">i", len(frame)) + frame


def versions(correlation_id: int) -> bytes:
    """A small request."""
    return framed(struct.pack(">hhih", 18, 0, correlation_id, -1))


def join(group: str) -> bytes:
    """A JoinGroup of a new member: it waits."""
    protocols = (m.JoinGroupRequestProtocol("range", b""),)
    return framed(request_frame(11, 3, m.JoinGroupRequest(group, 10_000, 30_000, "", None, "consumer", protocols)))


def coordinating(here: AsyncioServer) -> tuple[Connection, Wire]:
    """A connection to the broker, which has a topic for groups."""
    connection, wire = connected(here)
    received(connection, framed(request_frame(10, 4, m.FindCoordinatorRequest(key_type=0, coordinator_keys=("g",)))))
    assert len(wire.written) == 1
    return connection, wire


def with_a_fetch_that_waits(here: AsyncioServer) -> tuple[Connection, Wire]:
    """A connection whose request is parked."""
    connection, wire = connected(here)
    received(connection, framed(request_frame(19, 7, m.CreateTopicsRequest((m.CreatableTopic("t", 1, 1),)))))
    wanted = m.FetchTopic("t", partitions=(m.FetchPartition(),))
    received(connection, framed(request_frame(1, 12, m.FetchRequest(max_wait_ms=60_000, min_bytes=1, topics=(wanted,)))))
    assert connection.is_busy and len(wire.written) == 1
    return connection, wire


@pytest.mark.parametrize("size", [1, 3, 4, 5, 14, 100, 10_000])
@in_a_loop
async def test_frames_may_come_in_pieces_of_any_size(here: AsyncioServer, size: int) -> None:
    connection, wire = connected(here)
    data = b"".join(versions(number) for number in range(100))
    for begin in range(0, len(data), size):
        received(connection, data[begin : begin + size])
    assert wire.answers() == list(range(100))


@in_a_loop
async def test_a_large_frame_takes_room_as_it_comes_and_gives_it_back(here: AsyncioServer) -> None:
    connection, wire = connected(here)
    frame = versions(7)[4:].ljust(8 << 20, b"\x00")
    received(connection, framed(frame)[:1000])
    assert len(connection.buffer) == BUFFER_BYTES
    while connection.begin < connection.end:
        received(connection, framed(frame)[connection.end : connection.end + 50_000])
        assert len(connection.buffer) <= max(2 * connection.end, BUFFER_BYTES)
    assert wire.answers() == [7]
    assert len(connection.get_buffer(-1)) == BUFFER_BYTES == len(connection.buffer)


@in_a_loop
async def test_answers_that_come_together_are_written_together_up_to_a_size(here: AsyncioServer) -> None:
    connection, wire = connected(here)
    received(connection, b"".join(versions(number) for number in range(1000)))
    assert wire.answers() == list(range(1000))
    size = max(map(len, wire.written))
    assert len(wire.written) > 1 and TOGETHER_BYTES < size < TOGETHER_BYTES + 1000


@pytest.mark.rule("WIRE-FRAME-14")
@in_a_loop
async def test_who_does_not_read_is_answered_no_further_and_not_read_from(here: AsyncioServer) -> None:
    connection, wire = connected(here)
    wire.is_slow = True
    received(connection, b"".join(versions(number) for number in range(1000)))
    answered = len(wire.answers())
    assert len(wire.written) == 1 and answered < 1000 and not wire.is_read
    wire.is_slow = False
    connection.resume_writing()
    assert wire.answers() == list(range(1000)) and wire.is_read


@pytest.mark.rule("WIRE-FRAME-14")
@in_a_loop
async def test_who_waits_is_read_from_until_much_is_held(here: AsyncioServer) -> None:
    connection, wire = with_a_fetch_that_waits(here)
    while wire.is_read:
        received(connection, versions(7) * 100)
    held = connection.end - connection.begin
    assert HELD_BYTES_MAX < held <= HELD_BYTES_MAX + READ_BYTES and len(wire.written) == 1
    for action in here.node.expire(2**62):
        here.perform(action)
    await asyncio.sleep(0)
    assert wire.is_read and connection.begin == connection.end
    assert len(wire.answers()) == 2 + held // len(versions(7))


@pytest.mark.rule("WIRE-FRAME-13")
@in_a_loop
async def test_who_sends_while_a_request_waits_is_not_idle(here: AsyncioServer, monkeypatch: pytest.MonkeyPatch) -> None:
    connection, wire = with_a_fetch_that_waits(here)
    begun_s = connection.touched
    monkeypatch.setattr("time.monotonic", lambda: begun_s + IDLE_S - 1)
    received(connection, b"\x00")
    monkeypatch.setattr("time.monotonic", lambda: begun_s + IDLE_S + 1)
    connection.end_if_idle()
    assert not wire.is_closing()
    monkeypatch.setattr("time.monotonic", lambda: begun_s + 2 * IDLE_S)
    connection.end_if_idle()
    assert wire.ended == "aborted"


@in_a_loop
async def test_a_fault_of_ours_costs_that_connection_only_and_not_what_was_answered(
    here: AsyncioServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    connection, wire = connected(here)
    bystander, its_wire = connected(here)
    frames = here.node.frames

    def fails(connection: int, data: bytearray | memoryview, now: int) -> tuple[int, bool, list[Action]]:
        if data[11] == 3:
            raise RuntimeError("a fault")
        return frames(connection, data, now)

    with monkeypatch.context() as spoilt:
        spoilt.setattr(here.node, "frames", fails)
        received(connection, b"".join(versions(number) for number in range(1, 6)))
    assert wire.answers() == [1, 2] and wire.ended == "closed"
    (said,) = caplog.records
    assert (said.levelname, said.getMessage()) == ("ERROR", "closing 127.0.0.1:12345: internal error")
    received(bystander, versions(9))
    assert its_wire.answers() == [9]


@in_a_loop
async def test_what_comes_behind_a_join_that_waits_is_answered_behind_it(here: AsyncioServer) -> None:
    (connection, wire), (other, its_wire) = coordinating(here), connected(here)
    received(connection, join("g") + versions(1) + versions(2))
    received(other, struct.pack(">ihhih", 11, 18, 99, 9, -1) + b"\0" + join("g") + versions(3))
    assert connection.is_busy and other.is_busy and len(wire.written) == 1 and its_wire.answers() == [9]
    assert here.alarm is not None, "an alarm is to end the phase"
    here.wake()
    await asyncio.sleep(0)
    assert wire.answers()[-2:] == [1, 2] and its_wire.answers()[-1:] == [3]
    assert not connection.is_busy and not other.is_busy and not here.node.waiting


@in_a_loop
async def test_who_left_while_its_join_waited_is_sent_nothing_and_the_others_go_on(here: AsyncioServer) -> None:
    (connection, _), (other, its_wire) = coordinating(here), connected(here)
    received(connection, join("g") + versions(1))
    received(other, join("g") + versions(2))
    connection.connection_lost(ConnectionResetError())
    assert set(here.connections) == {other.id} and set(here.node.origins) == {other.id} and len(here.node.waiting) == 1
    here.wake()
    await asyncio.sleep(0)
    assert its_wire.answers()[-1:] == [2] and not here.node.waiting


@in_a_loop
async def test_a_leave_answers_who_waits_on_another_connection(here: AsyncioServer) -> None:
    (connection, wire), (other, its_wire) = coordinating(here), connected(here)
    received(connection, join("g") + versions(1))
    (member,) = here.node.broker.groups.live["g"].members
    received(other, framed(request_frame(13, 5, m.LeaveGroupRequest("g", members=(m.MemberIdentity(member),)))))
    assert len(its_wire.written) == 1
    await asyncio.sleep(0)
    assert wire.answers()[-1:] == [1] and not connection.is_busy


def test_old_offsets_are_looked_for_at_their_own_interval_and_not_at_the_start(here: AsyncioServer, monkeypatch: pytest.MonkeyPatch) -> None:
    looked, waiting = list[int](), list[tuple[float, Callable[[], None]]]()

    def looks(now: int) -> list[Action]:
        looked.append(now)
        return []

    monkeypatch.setattr(here.node, "expiry", looks)
    monkeypatch.setattr(here.loop, "call_later", lambda *of: waiting.append(of))
    here.begin_chores()
    for times in range(3):
        assert len(looked) == times
        (after_s,) = (seconds for seconds, chore in waiting if chore == here.expire_offsets)
        assert after_s == 600
        waiting.clear()
        here.expire_offsets()


@in_a_loop
async def test_a_connection_that_is_lost_leaves_nothing(here: AsyncioServer) -> None:
    connection, _ = with_a_fetch_that_waits(here)
    connection.connection_lost(ConnectionResetError())
    assert not here.connections and here.node.deadline() == -1 and connection.watchdog.cancelled()
