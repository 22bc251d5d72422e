"""A disk that takes as long as the test likes: what has to be on it is neither acknowledged nor read before; nobody else waits; and if it fails, nothing is."""

from __future__ import annotations

import ctypes
import errno
import select
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastpath.folders import Connected, create, look_up
from faults.disk import BY_DESCRIPTOR, Table
from raw_client import RawClient

from fiducial.conformance.batches import Item, build
from fiducial.conformance.exploration.steps import answer_of, request_frame
from fiducial.fastpath import files
from fiducial.fastpath.server import now_ms
from fiducial.models import messages as m
from threads.sockets import Host

SAFE, PLAIN = "safe", "plain"
#: What comes too early comes at once; this is only looked at to see that nothing does (s).
A_WHILE_S = 0.3
PATIENCE_S = 60.0
KAFKA_STORAGE_ERROR = 56


class SlowDisk:
    """The real file operations, but that a sync waits while the disk is held, and then may fail."""

    def __init__(self) -> None:
        self.real = Table.from_address(files.ADDRESS)
        self.table = Table.from_buffer_copy(self.real)
        self.table.sync = BY_DESCRIPTOR(self.on_sync)
        self.is_asked = threading.Event()
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.failures = 0  # so many of the next ones fail

    @property
    def address(self) -> int:
        """Where the table is."""
        return ctypes.addressof(self.table)

    def on_sync(self, context: int, descriptor: int) -> int:
        self.is_asked.set()
        self.may_go_on.wait()
        if self.failures > 0:
            self.failures -= 1
            return -errno.EIO
        return int(self.real.sync(context, descriptor))

    def hold(self) -> None:
        """From now on whoever asks waits."""
        self.is_asked.clear()
        self.may_go_on.clear()


@pytest.fixture
def disk() -> SlowDisk:
    return SlowDisk()


@pytest.fixture
def host(tmp_path: Path, disk: SlowDisk) -> Iterator[Host]:
    """A broker on it, with two topics that hold a record: with the first one goes the file of leader epochs, by the thread that appends. Afterwards the
    disk is let go."""
    made = Host(tmp_path / "data", disk)
    made.start()
    made.is_ready.wait()
    admin = Connected(made.host, made.port)
    create(admin, SAFE, flush_messages="1")
    create(admin, PLAIN)
    assert [told(send(made, SAFE)), told(send(made, PLAIN))] == [(0, 0), (0, 0)]
    yield made
    disk.may_go_on.set()
    made.end()
    made.node.close()


def client(host: Host) -> RawClient:
    """A new connection."""
    return RawClient(host.host, host.port)


def send(host: Host, topic: str, *, sequence: int = -1) -> RawClient:
    """A batch of one record is sent, with a sequence as that of a producer; the answer is yet to come."""
    records: Any = build([Item(now_ms())], producer=(7, 0, sequence) if sequence >= 0 else (-1, -1, -1))
    data = m.TopicProduceData(topic, partition_data=(m.PartitionProduceData(0, records),))
    sender = client(host)
    sender.send(request_frame(0, 12, m.ProduceRequest(None, -1, 10_000, (data,))))
    return sender


def told(sender: RawClient) -> tuple[int, int] | None:
    """(error, base offset) of the batch; None if the connection ends instead."""
    answer = sender.answer()
    if answer is None:
        return None
    (one,) = answer_of(answer, 0, 12).responses[0].partition_responses
    return one.error_code, one.base_offset


def heard_nothing(*senders: RawClient) -> bool:
    """Has none of them been answered, nor lost its connection?"""
    time.sleep(A_WHILE_S)
    return not select.select([one.socket for one in senders], [], [], 0)[0]


def high_watermark(host: Host) -> int:
    """Of the topic that is to be safe."""
    return look_up(Connected(host.host, host.port), SAFE, -1)[1]


def test_what_is_not_on_the_disk_is_neither_acknowledged_nor_read(host: Host, disk: SlowDisk) -> None:
    disk.hold()
    first = send(host, SAFE)
    assert disk.is_asked.wait(PATIENCE_S)
    second = send(host, SAFE)
    assert heard_nothing(first, second)
    assert high_watermark(host) == 1
    disk.may_go_on.set()
    assert [told(first), told(second)] == [(0, 1), (0, 2)]
    assert high_watermark(host) == 3


def test_a_resend_of_what_is_not_on_the_disk_yet_waits_too(host: Host, disk: SlowDisk) -> None:
    disk.hold()
    first = send(host, SAFE, sequence=0)
    assert disk.is_asked.wait(PATIENCE_S)
    again = send(host, SAFE, sequence=0)
    assert heard_nothing(first, again)
    disk.may_go_on.set()
    assert [told(first), told(again)] == [(0, 1), (0, 1)]


def test_other_partitions_do_not_wait_for_the_disk(host: Host, disk: SlowDisk) -> None:
    disk.hold()
    first = send(host, SAFE)
    assert disk.is_asked.wait(PATIENCE_S)
    assert told(send(host, PLAIN)) == (0, 1)
    assert heard_nothing(first)


def test_after_a_sync_that_failed_nothing_is_acknowledged_that_came_before_it(host: Host, disk: SlowDisk) -> None:
    disk.hold()
    first = send(host, SAFE)
    assert disk.is_asked.wait(PATIENCE_S)
    second = send(host, SAFE)
    assert heard_nothing(second)
    disk.failures = 1  # and whoever asks again is told that all is well
    disk.may_go_on.set()
    assert [told(first), told(second)] == [None, None]
    assert told(send(host, SAFE)) == (KAFKA_STORAGE_ERROR, -1)
    assert high_watermark(host) == 1
