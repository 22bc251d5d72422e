"""The epoll driver, by real sockets: what is read, when it is answered and in which order, how much is held, and how it ends.

What it shares with the reference broker's is tested in tests/reference/test_server.py and test_frames.py; groups, in tests/clients/.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from raw_client import RawClient

from fastpath.folders import create
from fastpath.served import PATIENCE_S, Served, SlowDisk, until
from fastpath.test_turns import PLAIN, SAFE, STORIES, described, fetched, latest, produced
from fiducial.conformance.batches import Item, build
from fiducial.conformance.exploration.steps import answer_of, request_frame
from fiducial.fastpath.node import Action
from fiducial.models import messages as m

PRODUCE, FETCH, FIND_COORDINATOR, JOIN_GROUP, HEARTBEAT, SYNC_GROUP, CREATE_TOPICS = 0, 1, 10, 11, 12, 14, 19
MEGABYTE = 1 << 20
RECORDS = 3  # in a batch of `produced`
VERSIONS = struct.pack(">hhih", 18, 0, 7, -1)
#: What a Produce request has in it that is not answered: no acks, and its timeout.
WITHOUT_ACKS = struct.pack(">hi", 0, 10_000)
#: How long a member may be silent.
SESSION_MS = 500
#: How long a fetch waits that is to be answered by something else (ms).
LONG_MS = 60_000


def framed(*frames: bytes) -> bytes:
    """Frames behind their lengths."""
    return b"".join(struct.pack(">i", len(frame)) + frame for frame in frames)


def topics(here: Served) -> None:
    """One that is at once safe, and one that is to be safe before anybody hears of it."""
    with here.connect() as client:
        create(client, PLAIN)
        create(client, SAFE, flush_messages="1")


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Served]:
    """A broker with two topics."""
    with Served(tmp_path / "data") as served:
        topics(served)
        yield served


def error_of(answer: bytes | None) -> int:
    """Of a Produce request."""
    assert answer is not None
    return int(answer_of(answer, PRODUCE, 12).responses[0].partition_responses[0].error_code)


def records_of(answer: bytes | None) -> list[bytes]:
    """What a Fetch request got, of each partition."""
    assert answer is not None
    return [bytes(one.records or b"") for topic in answer_of(answer, FETCH, 12).responses for one in topic.partitions]


@contextmanager
def busy(served: Served) -> Iterator[None]:
    """Its control plane has something large in hand, until the block ends."""
    is_begun, go_on = threading.Event(), threading.Event()

    def work() -> None:
        is_begun.set()
        go_on.wait(PATIENCE_S)

    served.loop.call_soon_threadsafe(work)
    assert is_begun.wait(PATIENCE_S)
    try:
        yield
    finally:
        go_on.set()


def is_answered(client: RawClient, patience_s: float = 0) -> bool:
    """Has something come for it?"""
    return bool(select.select([client.socket], [], [], patience_s)[0])


# Frames


def test_frames_may_be_split_anywhere(here: Served) -> None:
    stream = framed(produced(PLAIN), VERSIONS, latest(PLAIN))
    for position in range(1, len(stream)):
        with here.connect() as client:
            before = here.server.driver.received_bytes
            client.socket.sendall(stream[:position])
            here.has_received(before + position)
            client.socket.sendall(stream[position:])
            assert error_of(client.answer()) == 0 and client.answer() is not None and client.answer() is not None
    until(lambda: here.server.driver.held_bytes == 0)


@pytest.mark.parametrize("size", [300_000, 8 * MEGABYTE])
def test_a_large_frame_takes_room_while_it_comes_and_gives_it_back(here: Served, size: int) -> None:
    stream = framed(VERSIONS.ljust(size, b"\x00"), VERSIONS)
    driver = here.server.driver
    with here.connect() as client:
        before = driver.received_bytes
        client.socket.sendall(stream[: size // 2])
        here.has_received(before + size // 2)
        until(lambda: driver.held_bytes == size + 4)
        client.socket.sendall(stream[size // 2 :])
        assert client.answer() == client.answer() != b""
        until(lambda: driver.held_bytes == 0)


def test_many_frames_at_once_are_all_answered_in_order(here: Served) -> None:
    frames = [struct.pack(">hhih", 18, 0, number, -1) if number % 10 == 0 else renumbered(latest(PLAIN), number) for number in range(5_000)]
    with here.connect() as client:
        client.send(*frames)
        for number in range(len(frames)):
            answer = client.answer()
            assert answer is not None and struct.unpack_from(">i", answer)[0] == number


def renumbered(frame: bytes, number: int) -> bytes:
    """With another correlation id."""
    return frame[:4] + struct.pack(">i", number) + frame[8:]


def test_what_came_before_a_size_that_is_refused_is_answered(here: Served) -> None:
    with here.connect() as client:
        client.socket.sendall(framed(latest(PLAIN), VERSIONS) + struct.pack(">i", 1 << 30))
        assert client.answer() is not None and client.answer() is not None and client.answer() is None


# Coming


def test_who_comes_when_no_descriptor_is_left_is_served_once_there_is_one(here: Served, caplog: pytest.LogCaptureFixture) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with here.connect() as before, socket.socket() as one:
        assert before.ask(VERSIONS) is not None
        one.settimeout(PATIENCE_S)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free_descriptor(), limits[1]))
        try:
            one.connect(("127.0.0.1", here.port))
            until(lambda: "cannot accept connections: Too many open files" in caplog.messages)
            assert before.ask(VERSIONS) is not None
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        one.sendall(framed(VERSIONS))
        assert one.recv(MEGABYTE)


def lowest_free_descriptor() -> int:
    """The next one to be given out."""
    descriptor = os.open(os.devnull, os.O_RDONLY)
    os.close(descriptor)
    return descriptor


# Order


@pytest.mark.rule("WIRE-FRAME-10")
@pytest.mark.parametrize("story", STORIES)
def test_a_story_at_once_comes_to_the_same_as_one_by_one(tmp_path: Path, story: str) -> None:
    told = []
    for is_at_once in (True, False):
        with Served(tmp_path / str(is_at_once)) as served:
            topics(served)
            with served.connect() as client:
                told.append(at_once(client, STORIES[story]) if is_at_once else one_by_one(client, STORIES[story]))
    assert told[0] == told[1]


def at_once(client: RawClient, frames: list[bytes]) -> list[bytes]:
    """Every answer until the connection ends."""
    client.send(*frames)
    client.say_no_more()
    return list(iter(client.answer, None))


def one_by_one(client: RawClient, frames: list[bytes]) -> list[bytes]:
    """The same; who is not answered has asked without acks, or is hung up on."""
    answers = []
    for frame in frames:
        if frame[:2] == struct.pack(">h", PRODUCE) and WITHOUT_ACKS in frame:
            client.send(frame)
        elif (answer := client.ask(frame)) is not None:
            answers.append(answer)
        else:
            break
    return answers


def test_a_fetch_that_waits_is_woken_by_who_produces_on_another_thread(here: Served) -> None:
    with here.connect() as reader, here.connect() as writer, here.connect() as neighbour:
        for client in (reader, neighbour):  # of one thread, since there are two
            client.send(fetched(PLAIN, 0, LONG_MS), VERSIONS)
        until(lambda: here.node.core.next_deadline() >= 0)
        assert error_of(writer.ask(produced(PLAIN))) == 0
        for client in (reader, neighbour):
            (records,) = records_of(client.answer())
            assert len(records) > 61 and client.answer() is not None
    assert here.node.core.next_deadline() == -1


def test_a_session_begins_without_the_control_plane(here: Served) -> None:
    """Which would otherwise be changed by a thread of clients, under its own feet."""
    wanted = m.FetchTopic(PLAIN, partitions=(m.FetchPartition(0, fetch_offset=0, partition_max_bytes=MEGABYTE),))
    request = request_frame(FETCH, 12, m.FetchRequest(max_wait_ms=0, min_bytes=0, max_bytes=MEGABYTE, session_epoch=0, topics=(wanted,)))
    before = here.node.broker
    with here.connect() as client, here.connect() as other:
        ids = set()
        for one in (client, other):
            answer = one.ask(request)
            assert answer is not None
            ids.add(answer_of(answer, FETCH, 12).session_id)
    assert len(ids) == 2 and min(ids) > 0
    assert here.node.broker is before


def test_a_fetch_that_waits_gives_up_at_its_time(here: Served) -> None:
    with here.connect() as client:
        assert records_of(client.ask(fetched(PLAIN, 0, 50))) == [b""]
        assert client.ask(VERSIONS) is not None


@pytest.mark.rule("WIRE-FRAME-14")
def test_who_waits_is_read_from_until_much_is_held_and_then_answered_in_order(here: Served) -> None:
    with here.connect() as client, here.connect() as writer:
        count = 3 * MEGABYTE // len(framed(latest(PLAIN)))
        client.send(fetched(PLAIN, 0, LONG_MS))
        client.socket.setblocking(False)
        sent = client.socket.send(framed(latest(PLAIN)) * count)
        until(lambda: here.server.driver.held_bytes > 0)
        assert here.server.driver.held_bytes <= 4 * MEGABYTE
        client.socket.settimeout(20)
        assert error_of(writer.ask(produced(PLAIN))) == 0
        assert len(records_of(client.answer())[0]) > 61
        for _ in range(sent // len(framed(latest(PLAIN)))):
            assert client.answer() is not None
    until(lambda: here.server.driver.held_bytes == 0)


# What is sent


def test_slices_of_every_size_arrive_whole(here: Served) -> None:
    sizes = [100, 5_000, 40_000, 300_000, 900_000]
    with here.connect() as client:
        assert client.ask(request_frame(CREATE_TOPICS, 7, m.CreateTopicsRequest((m.CreatableTopic("many", len(sizes), 1),)))) is not None
        batches: list[Any] = [build([Item(1_700_000_000_000, content=bytes([65 + index]) * size)]) for index, size in enumerate(sizes)]
        data: Any = tuple(m.PartitionProduceData(index, batch) for index, batch in enumerate(batches))
        answer = client.ask(request_frame(PRODUCE, 12, m.ProduceRequest(None, -1, 10_000, (m.TopicProduceData("many", partition_data=data),))))
        assert answer is not None
        orders = [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [0, 4, 1, 3, 2], [2, 3], [0, 1], [4]]
        for order in orders:
            wanted = m.FetchTopic("many", partitions=tuple(m.FetchPartition(index, partition_max_bytes=MEGABYTE) for index in order))
            frame = request_frame(FETCH, 12, m.FetchRequest(min_bytes=1, session_epoch=-1, topics=(wanted,)))
            client.send(frame, frame)
            for _ in range(2):
                assert [len(records) for records in records_of(client.answer())] == [len(batches[index]) for index in order]


@pytest.mark.rule("WIRE-FRAME-14")
def test_who_does_not_read_is_answered_no_further(here: Served) -> None:
    with here.connect() as filler:
        batch: Any = build([Item(1_700_000_000_000, content=bytes(900_000))])
        data = m.TopicProduceData(PLAIN, partition_data=(m.PartitionProduceData(0, batch),))
        for _ in range(4):
            assert error_of(filler.ask(request_frame(PRODUCE, 12, m.ProduceRequest(None, -1, 10_000, (data,))))) == 0
    wanted = m.FetchTopic(PLAIN, partitions=(m.FetchPartition(partition_max_bytes=100 * MEGABYTE),))
    frame = request_frame(FETCH, 12, m.FetchRequest(min_bytes=1, session_epoch=-1, topics=(wanted,)))
    with here.connect(receive_buffer_bytes=65_536) as client, here.connect() as other:
        before = here.server.driver.sent_bytes
        client.send(*[frame] * 30)
        until(lambda: here.server.driver.sent_bytes > before)
        for _ in range(100):
            assert other.ask(VERSIONS) is not None
        assert here.server.driver.sent_bytes - before < 30 * MEGABYTE, "30 answers have 108 MB"
        assert {len(client.answer() or b"") for _ in range(30)} == {len(filler_answer(here, frame))}


def filler_answer(here: Served, frame: bytes) -> bytes:
    """The answer to somebody else."""
    with here.connect() as client:
        return client.ask(frame) or b""


# The disk


def note_epochs(here: Served) -> None:
    """The first append to a partition has its epoch on the disk, before anything else is; it is made here."""
    with here.connect() as client:
        assert error_of(client.ask(produced(PLAIN))) == error_of(client.ask(produced(SAFE))) == 0


def test_who_waits_for_the_disk_holds_up_nobody_and_shares_the_next_sync(tmp_path: Path) -> None:
    disk = SlowDisk()
    with Served(tmp_path / "data", disk=disk) as served, ExitStack() as stack:
        topics(served)
        note_epochs(served)
        clients = [stack.enter_context(served.connect()) for _ in range(8)]
        other = stack.enter_context(served.connect())
        disk.go_on.clear()
        before = disk.syncs
        clients[0].send(produced(SAFE), fetched(SAFE, RECORDS))
        until(lambda: disk.syncs == before + 1)
        received = served.server.driver.received_bytes
        for client in clients[1:]:
            client.send(produced(SAFE), fetched(SAFE, RECORDS))
        served.has_received(received + 7 * len(framed(produced(SAFE), fetched(SAFE, RECORDS))))
        assert error_of(other.ask(produced(PLAIN))) == 0 and records_of(other.ask(fetched(SAFE, RECORDS))) == [b""]
        assert not any(map(is_answered, clients))
        disk.go_on.set()
        for client in clients:
            assert error_of(client.answer()) == 0
            assert len(records_of(client.answer())[0]) > 61
        assert disk.syncs <= before + 4, "one sync of a group at a time, each of one file"


def test_a_reader_is_woken_once_the_disk_has_what_it_waits_for(tmp_path: Path) -> None:
    disk = SlowDisk()
    with Served(tmp_path / "data", disk=disk) as served:
        topics(served)
        note_epochs(served)
        with served.connect() as reader, served.connect() as writer:
            reader.send(fetched(SAFE, RECORDS, LONG_MS))
            until(lambda: served.node.core.next_deadline() >= 0)
            disk.go_on.clear()
            before = disk.syncs
            writer.send(produced(SAFE))
            until(lambda: disk.syncs == before + 1)
            assert not is_answered(reader)
            disk.go_on.set()
            assert error_of(writer.answer()) == 0 and len(records_of(reader.answer())[0]) > 61


def test_if_the_disk_fails_nobody_is_told_that_it_is_safe(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    disk = SlowDisk()
    with Served(tmp_path / "data", disk=disk) as served:
        topics(served)
        note_epochs(served)
        with served.connect() as client, served.connect() as other:
            disk.result = -5
            client.send(latest(PLAIN), produced(SAFE), latest(PLAIN))
            assert client.answer() is not None and client.answer() is None
            until(lambda: caplog.records)
            assert caplog.records[0].getMessage() == f"closing {client.name}: the disk failed"
            assert error_of(other.ask(produced(PLAIN))) == 56 and other.ask(latest(PLAIN)) is not None


class DiskInSteps(SlowDisk):
    """The real file operations, but that each sync of a partition waits until it may go on, from when that is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []  # the partitions of the syncs that wait or have waited, in order
        self.may: dict[str, threading.Semaphore] = {}

    def sync(self, _context: int, descriptor: int) -> int:
        partition = Path(os.readlink(f"/proc/self/fd/{descriptor}")).parent.name
        if partition in self.may:
            self.asked.append(partition)
            self.may[partition].acquire()
        return 0

    def hold(self, *partitions: int) -> None:
        """From now on."""
        self.may = {f"{SAFE}-{partition}": threading.Semaphore(0) for partition in partitions}

    def let(self, *partitions: int) -> None:
        """A sync of each go on."""
        for partition in partitions:
            self.may[f"{SAFE}-{partition}"].release()

    def let_all(self) -> None:
        """All of them."""
        for one in self.may.values():
            one.release(1000)


@contextmanager
def in_steps(folder: Path) -> Iterator[tuple[Served, DiskInSteps]]:
    """A broker on such a disk, with a topic of two partitions whose epochs are on it."""
    disk = DiskInSteps()
    with Served(folder / "data", disk=disk) as served:
        try:
            with served.connect() as client:
                create(client, SAFE, 2, flush_messages="1")
                client.ask(to_partitions(0, 1))
            disk.hold(0, 1)
            yield served, disk
        finally:
            disk.let_all()


def to_partitions(*indexes: int) -> bytes:
    """A Produce request of a batch for each."""
    batch: Any = build([Item(1_700_000_000_000)])
    data = m.TopicProduceData(SAFE, partition_data=tuple(m.PartitionProduceData(index, batch) for index in indexes))
    return request_frame(PRODUCE, 12, m.ProduceRequest(None, -1, 10_000, (data,)))


def asks(stack: ExitStack, served: Served, *indexes: int) -> RawClient:
    """A client more, which has been read from, and waits for the disk."""
    client = stack.enter_context(served.connect())
    received = served.server.driver.received_bytes
    client.send(to_partitions(*indexes))
    served.has_received(received + len(framed(to_partitions(*indexes))))
    assert not is_answered(client, 0.05)
    return client


def test_who_waits_for_two_partitions_is_not_passed_by_those_who_come_later_for_one(tmp_path: Path) -> None:
    with in_steps(tmp_path) as (served, disk), ExitStack() as stack:
        first, second, both = (asks(stack, served, *indexes) for indexes in ([0], [1], [0, 1]))
        later = [asks(stack, served, index) for index in (0, 1)]
        disk.let(0)
        assert error_of(first.answer()) == 0
        time.sleep(0.2)
        assert disk.asked == [f"{SAFE}-0", f"{SAFE}-1"], "the next group for the first partition waits for the second"
        disk.let(1)
        assert error_of(second.answer()) == 0
        disk.let(0, 1)
        assert [error_of(client.answer()) for client in (both, *later)] == [0, 0, 0], "they are in one group"


def test_all_that_need_not_wait_for_each_other_go_on_when_two_partitions_are_free_again(tmp_path: Path) -> None:
    with in_steps(tmp_path) as (served, disk), ExitStack() as stack:
        both = asks(stack, served, 0, 1)
        first, second = asks(stack, served, 0), asks(stack, served, 1)
        disk.let(0, 1)
        assert error_of(both.answer()) == 0
        until(lambda: disk.asked[2:] in ([f"{SAFE}-0", f"{SAFE}-1"], [f"{SAFE}-1", f"{SAFE}-0"]))
        disk.let(0, 1)
        assert [error_of(client.answer()) for client in (first, second)] == [0, 0]


@pytest.mark.skipif("LD_PRELOAD" in os.environ, reason="NOT RUN: a sanitizer keeps what is given back")
def test_nothing_is_kept_for_who_is_gone_before_the_disk_has_what_it_sent(tmp_path: Path) -> None:
    """An answer before is sent at once, and finds nobody; that of the batch is large here, for it tells of many partitions that are not there."""
    batch: Any = build([Item(1_700_000_000_000)])
    partitions = (m.PartitionProduceData(0, batch), *(m.PartitionProduceData(index) for index in range(1, 20_000)))
    frame = request_frame(PRODUCE, 12, m.ProduceRequest(None, -1, 10_000, (m.TopicProduceData(SAFE, partition_data=partitions),)))
    with Served(tmp_path / "data") as served:
        topics(served)
        for number in range(130):
            if number == 30:
                before = resident_bytes()
            with served.connect() as client:
                client.socket.sendall(framed(latest(PLAIN), frame))
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            until(lambda: served.server.driver.connections == 0)
        assert resident_bytes() - before < 20 * MEGABYTE


def resident_bytes() -> int:
    """The memory that this process has in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# Room


def test_who_finds_no_room_is_read_from_when_there_is_some(tmp_path: Path) -> None:
    with Served(tmp_path / "data", queued_max_request_bytes="1000") as served:
        driver = served.server.driver
        with served.connect() as first, served.connect() as second, served.connect() as third:
            frame = framed(VERSIONS.ljust(5_000, b"\x00"))
            first.socket.sendall(frame[:3_000])
            until(lambda: driver.held_bytes == len(frame))
            received = driver.received_bytes
            for client in (second, third):  # of another thread, and of the same
                client.send(VERSIONS)
                assert not is_answered(client, 0.1)
            assert driver.received_bytes == received
            first.socket.sendall(frame[3_000:])
            assert first.answer() == second.answer() == third.answer() is not None
        until(lambda: driver.held_bytes == 0)


def test_whose_frame_has_begun_does_not_wait_for_the_room_that_it_takes_itself(tmp_path: Path) -> None:
    with Served(tmp_path / "data", queued_max_request_bytes="1000") as served:
        topics(served)
        frame = framed(VERSIONS.ljust(5_000, b"\x00"))
        with served.connect() as client, served.connect() as other:
            before = served.server.driver.received_bytes
            client.socket.sendall(framed(fetched(PLAIN, 0, 500)) + frame[:3_000])
            served.has_received(before + len(framed(fetched(PLAIN, 0, 500))) + 3_000)
            client.socket.sendall(frame[3_000:4_000])  # which finds no room, while the fetch waits
            other.send(VERSIONS)
            assert records_of(client.answer()) == [b""]
            client.socket.sendall(frame[4_000:])
            assert client.answer() == other.answer() is not None
        until(lambda: served.server.driver.held_bytes == 0)


def test_what_waits_for_the_control_plane_takes_room_too(tmp_path: Path) -> None:
    with Served(tmp_path / "data", queued_max_request_bytes=str(MEGABYTE)) as served, ExitStack() as stack:
        driver = served.server.driver
        frame = VERSIONS.ljust(MEGABYTE // 2, b"\x00")
        with busy(served):
            clients = [stack.enter_context(served.connect()) for _ in range(10)]
            senders = [threading.Thread(target=client.send, args=(frame,)) for client in clients]
            for sender in senders:
                sender.start()
            until(lambda: driver.held_bytes >= MEGABYTE)
            time.sleep(0.3)
            assert driver.held_bytes <= 4 * MEGABYTE, "as many as are read at once may find the last room"
        assert all(client.answer() is not None for client in clients)
        for sender in senders:
            sender.join()
        until(lambda: driver.held_bytes == 0)


def test_who_waits_for_room_when_the_broker_stops_is_let_go(tmp_path: Path) -> None:
    """Seen where AddressSanitizer watches: who gives room back then rings for nobody who is no more."""
    with ExitStack() as stack:
        with Served(tmp_path / "data", queued_max_request_bytes="1000") as served:
            driver = served.server.driver
            stack.enter_context(served.connect()).socket.sendall(framed(VERSIONS.ljust(5_000, b"\x00"))[:900])
            until(lambda: driver.held_bytes > 5_000)
            received = driver.received_bytes
            for _ in range(5):
                stack.enter_context(served.connect()).send(VERSIONS)
            until(lambda: driver.connections == 6)
            time.sleep(0.1)
            assert driver.received_bytes == received
        assert driver.connections == driver.held_bytes == 0


# The end


def test_where_who_is_silent_may_stay_for_ever_a_fetch_still_gives_up_at_its_time(tmp_path: Path) -> None:
    with Served(tmp_path / "data", threads=1, connections_max_idle_ms=str(2**63 - 1)) as served:
        topics(served)
        with served.connect() as client:
            client.socket.settimeout(5)
            assert records_of(client.ask(fetched(PLAIN, 0, 50))) == [b""]


def test_who_says_no_more_still_hears_what_is_pending(here: Served) -> None:
    with here.connect() as client, here.connect() as writer:
        client.send(fetched(PLAIN, 0, LONG_MS), VERSIONS)
        client.say_no_more()
        until(lambda: here.node.core.next_deadline() >= 0)
        assert error_of(writer.ask(produced(PLAIN))) == 0
        assert len(records_of(client.answer())[0]) > 61 and client.answer() is not None and client.answer() is None


@pytest.mark.parametrize("sent", [framed(VERSIONS)[:9], framed(fetched(PLAIN, 0, LONG_MS)), framed(fetched(PLAIN, 0, LONG_MS)) + framed(VERSIONS)[:9]])
def test_nothing_is_left_of_who_breaks_off(here: Served, sent: bytes) -> None:
    driver = here.server.driver
    until(lambda: driver.connections == 0)
    client = here.connect()
    before = driver.received_bytes
    client.socket.sendall(sent)
    here.has_received(before + len(sent))
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    until(lambda: driver.connections == 0 and driver.held_bytes == 0 and here.node.core.next_deadline() == -1)


def test_the_control_plane_forgets_who_is_gone(here: Served) -> None:
    until(lambda: not here.server.peers and not here.node.origins)  # those of the test before
    with here.connect() as client:
        assert client.ask(described()) is not None
        assert set(here.server.peers.values()) == {client.name} and len(here.node.origins) == 1
    until(lambda: not here.server.peers and not here.node.origins)


def test_a_member_is_not_late_whose_heartbeat_was_not_heard_in_time(tmp_path: Path) -> None:
    with Served(tmp_path / "data", group_min_session_timeout_ms="1") as served, served.connect() as client:
        frame = request_frame(HEARTBEAT, 4, joined(client))
        with busy(served):
            received = served.server.driver.received_bytes
            client.send(frame)
            served.has_received(received + len(framed(frame)))
            time.sleep(2 * SESSION_MS / 1000)
        answer = client.answer()
        assert answer is not None and answer_of(answer, HEARTBEAT, 4).error_code == 0


def joined(client: RawClient) -> m.HeartbeatRequest:
    """The only member of a group: what it says now and then."""

    def asked(key: int, version: int, message: Any) -> Any:
        answer = client.ask(request_frame(key, version, message))
        assert answer is not None
        return answer_of(answer, key, version)

    until(lambda: asked(FIND_COORDINATOR, 4, m.FindCoordinatorRequest("g", 0, ("g",))).coordinators[0].error_code == 0)
    protocols = (m.JoinGroupRequestProtocol("range", b""),)
    made = asked(JOIN_GROUP, 3, m.JoinGroupRequest("g", SESSION_MS, 60_000, "", None, "consumer", protocols))
    assert made.error_code == 0
    assert asked(SYNC_GROUP, 3, m.SyncGroupRequest("g", made.generation_id, made.member_id)).error_code == 0
    return m.HeartbeatRequest("g", made.generation_id, made.member_id)


def test_a_fault_of_ours_costs_that_connection_only_and_not_what_was_answered(
    here: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cold = here.node.cold

    def fails(connection: int, frame: bytes, now: int) -> list[Action]:
        if frame[:2] == VERSIONS[:2]:
            raise RuntimeError("a fault")
        return cold(connection, frame, now)

    with here.connect() as client, here.connect() as bystander:
        with monkeypatch.context() as spoilt:
            spoilt.setattr(here.node, "cold", fails)
            client.send(latest(PLAIN), described(), VERSIONS, latest(PLAIN))
            assert client.answer() is not None and client.answer() is not None and client.answer() is None
        assert bystander.ask(VERSIONS) is not None
        (said,) = caplog.records
        assert (said.levelname, said.getMessage()) == ("ERROR", f"closing {client.name}: internal error")


def test_what_a_process_forks_off_does_not_disturb_it(here: Served) -> None:
    with here.connect() as client:
        assert client.ask(VERSIONS) is not None
        child = os.fork()
        if child == 0:
            here.server.driver.stop()  # there are no threads to wait for
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert client.ask(latest(PLAIN)) is not None


def test_signals_come_to_pythons_threads_alone(tmp_path: Path) -> None:
    before = set(os.listdir("/proc/self/task"))
    with Served(tmp_path / "data"):
        own = set(os.listdir("/proc/self/task")) - before - {str(thread.native_id) for thread in threading.enumerate()}
        assert len(own) >= 3, "two threads, and who flushes"
        for task in own:
            (mask,) = [line.split()[1] for line in Path(f"/proc/self/task/{task}/status").read_text().splitlines() if line.startswith("SigBlk:")]
            assert all(int(mask, 16) >> (number - 1) & 1 for number in (signal.SIGINT, signal.SIGTERM))
