"""A disk that takes as long as the test likes: what has to be on it is neither acknowledged nor read before; nobody else waits, for a sync of a file or of
a folder, whatever it is for; and if it fails, nothing is."""

from __future__ import annotations

import ctypes
import errno
import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastpath.folders import Connected, create, look_up, talk
from faults.disk import BY_DESCRIPTOR, BY_PATH, Table
from raw_client import RawClient

from fiducial.conformance.batches import Item, build
from fiducial.conformance.exploration.steps import answer_of, request_frame
from fiducial.fastpath import files
from fiducial.fastpath.batch import batches
from fiducial.fastpath.server import now_ms
from fiducial.models import messages as m
from fiducial.models.apis import APIS
from threads.sockets import THREADS, Host

SAFE, PLAIN = "safe", "plain"
#: What comes too early comes at once; this is only looked at to see that nothing does (s).
A_WHILE_S = 0.3
PATIENCE_S, A_MOMENT_S = 60.0, 0.01
EARLIEST, LATEST = -2, -1
TOPIC, SET = 2, 0
KEYS = {api.request: api.key for api in APIS.values()}
KAFKA_STORAGE_ERROR = 56


class SlowDisk:
    """The real file operations, but that a sync below a folder waits while that is held, and then may fail."""

    def __init__(self) -> None:
        self.real = Table.from_address(files.ADDRESS)
        self.table = Table.from_buffer_copy(self.real)
        self.table.sync = BY_DESCRIPTOR(self.on_sync)
        self.table.sync_folder = BY_PATH(self.on_sync_folder)
        self.held = ""  # a folder's name
        self.is_asked = threading.Event()
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.failures = 0  # so many of the next ones fail

    @property
    def address(self) -> int:
        """Where the table is."""
        return ctypes.addressof(self.table)

    def on_sync(self, context: int, descriptor: int) -> int:
        fails = self.is_held(os.readlink(f"/proc/self/fd/{descriptor}"))
        return -errno.EIO if fails else int(self.real.sync(context, descriptor))

    def on_sync_folder(self, context: int, path: bytes) -> int:
        fails = self.is_held(os.fsdecode(path) + "/")
        return -errno.EIO if fails else int(self.real.sync_folder(context, path))

    def is_held(self, path: str) -> bool:
        """Wait as long as the disk is held there. Does the sync fail then?"""
        if f"/{self.held}/" not in path:
            return False
        self.is_asked.set()
        self.may_go_on.wait()
        fails = self.failures > 0
        self.failures -= fails
        return fails

    def hold(self, topic: str) -> None:
        """From now on whoever has something of the topic's partition forced to the disk waits."""
        self.held = f"{topic}-0"
        self.is_asked.clear()
        self.may_go_on.clear()

    def let_go(self) -> None:
        """Nobody waits any more."""
        self.may_go_on.set()


@pytest.fixture
def disk() -> SlowDisk:
    return SlowDisk()


@pytest.fixture
def host(tmp_path: Path, disk: SlowDisk) -> Iterator[Host]:
    """A broker on it, with two topics that nobody has written to, but that every log there is is on the disk. Afterwards the disk is let go."""
    made = Host(tmp_path / "data", disk)
    made.start()
    made.is_ready.wait()
    admin = Connected(made.host, made.port)
    create(admin, SAFE, flush_messages="1")
    create(admin, PLAIN, internal_segment_bytes="200")
    yield made
    disk.let_go()
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


def ask(host: Host, message: Any) -> RawClient:
    """A request is sent; the answer is yet to come."""
    key = KEYS[type(message)]
    sender = client(host)
    sender.send(request_frame(key, APIS[key].max_version, message))
    return sender


def change(host: Host, name: str, text: str) -> None:
    """Another configuration of the topic that is not to be safe."""
    one = m.IncrementalAlterConfigsRequestAlterableConfig(name, SET, text)
    resource = m.IncrementalAlterConfigsRequestAlterConfigsResource(TOPIC, PLAIN, (one,))
    (done,) = talk(Connected(host.host, host.port), m.IncrementalAlterConfigsRequest((resource,), False)).responses
    assert done.error_code == 0


def segments(host: Host) -> list[int]:
    """Where those of the same topic begin."""
    topic_id = host.node.broker.topics.by_name[PLAIN].topic_id
    return [one["base_offset"] for one in host.node.core.segments(topic_id, 0)]


def read(host: Host, topic: str, offset: int) -> list[Any]:
    """The batches from an offset on. An answer ends where a segment does."""
    found: list[Any] = []
    while True:
        wanted = m.FetchPartition(0, fetch_offset=offset, partition_max_bytes=1 << 20)
        topics = (m.FetchTopic(topic, host.node.broker.topics.by_name[topic].topic_id, (wanted,)),)
        request = m.FetchRequest(max_wait_ms=0, min_bytes=0, max_bytes=1 << 20, session_id=0, session_epoch=-1, topics=topics)
        (answer,) = talk(Connected(host.host, host.port), request).responses[0].partitions
        assert answer.error_code == 0
        if not answer.records:
            return found
        found += batches(bytes(answer.records))
        offset = found[-1].last_offset + 1


def heard_nothing(*senders: RawClient) -> bool:
    """Has none of them been answered, nor lost its connection?"""
    time.sleep(A_WHILE_S)
    return not select.select([one.socket for one in senders], [], [], 0)[0]


def log_end(host: Host, topic: str) -> int:
    """As a consumer is told."""
    return look_up(Connected(host.host, host.port), topic, LATEST)[1]


def test_what_is_not_on_the_disk_is_neither_acknowledged_nor_read(host: Host, disk: SlowDisk) -> None:
    assert told(send(host, SAFE)) == (0, 0)
    disk.hold(SAFE)
    first = send(host, SAFE)
    assert disk.is_asked.wait(PATIENCE_S)
    second = send(host, SAFE)
    assert heard_nothing(first, second)
    assert log_end(host, SAFE) == 1
    disk.let_go()
    assert [told(first), told(second)] == [(0, 1), (0, 2)]
    assert log_end(host, SAFE) == 3


def test_a_resend_of_what_is_not_on_the_disk_yet_waits_too(host: Host, disk: SlowDisk) -> None:
    disk.hold(SAFE)
    first = send(host, SAFE, sequence=0)
    assert disk.is_asked.wait(PATIENCE_S)
    again = send(host, SAFE, sequence=0)
    assert heard_nothing(first, again)
    disk.let_go()
    assert [told(first), told(again)] == [(0, 0), (0, 0)]


def test_after_a_sync_that_failed_nothing_is_acknowledged_that_came_before_it(host: Host, disk: SlowDisk) -> None:
    assert told(send(host, SAFE)) == (0, 0)
    disk.hold(SAFE)
    first = send(host, SAFE)
    assert disk.is_asked.wait(PATIENCE_S)
    second = send(host, SAFE)
    assert heard_nothing(second)
    disk.failures = 1  # and whoever asks again is told that all is well
    disk.let_go()
    assert [told(first), told(second)] == [None, None]
    assert told(send(host, SAFE)) == (KAFKA_STORAGE_ERROR, -1)
    assert log_end(host, SAFE) == 1


# Nobody else waits


def nothing(_host: Host) -> None:
    """The topic is as it was made."""


def some_records(host: Host) -> None:
    """They are there before the disk hangs."""
    assert [told(send(host, PLAIN)) for _ in range(2)] == [(0, 0), (0, 1)]


def first_append(host: Host) -> RawClient | None:
    """With it goes the name of the folder."""
    assert told(send(host, PLAIN)) == (0, 0)
    return None


def first_safe_append(host: Host) -> RawClient | None:
    """The same, by whoever has to wait for that."""
    return send(host, SAFE)


def rolls(host: Host) -> RawClient | None:
    """With them go new files, sealed indexes, and producers."""
    assert [told(send(host, PLAIN)) for _ in range(6)] == [(0, offset) for offset in range(2, 8)]
    assert len(segments(host)) > 2
    return None


def records_are_deleted(host: Host) -> RawClient | None:
    """What is below the log start has to be on the disk."""
    return ask(host, m.DeleteRecordsRequest((m.DeleteRecordsTopic(PLAIN, (m.DeleteRecordsPartition(0, 1),)),), 10_000))


def all_is_too_old(host: Host) -> RawClient | None:
    """The log rolls, and lets go of what is before."""
    change(host, "retention.ms", "1")
    while segments(host)[0] == 0:
        time.sleep(A_MOMENT_S)
    return None


def the_policy_changes(host: Host) -> RawClient | None:
    """What is appended from now on has to be on the disk."""
    change(host, "flush.messages", "1")
    return send(host, PLAIN)


def the_log_is_to_be_compacted(host: Host) -> RawClient | None:
    """No crash may leave a gap in it, from now on."""
    change(host, "cleanup.policy", "compact")
    return None


#: What is done to a partition whose disk hangs, what before that, and from where to where readers see it meanwhile.
DEEDS: dict[Callable[[Host], RawClient | None], tuple[Callable[[Host], None], str, int, int]] = {
    first_append: (nothing, PLAIN, 0, 1),
    first_safe_append: (nothing, SAFE, 0, 0),
    rolls: (some_records, PLAIN, 0, 8),
    records_are_deleted: (some_records, PLAIN, 1, 2),
    all_is_too_old: (some_records, PLAIN, 2, 2),
    the_policy_changes: (some_records, PLAIN, 0, 2),
    the_log_is_to_be_compacted: (some_records, PLAIN, 0, 2),
}


@pytest.mark.rule("THREAD-LOCK-3")
@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: str(deed.__name__))
def test_a_partition_whose_disk_hangs_holds_up_nobody_but_who_waits_for_it(host: Host, disk: SlowDisk, deed: Callable[[Host], RawClient | None]) -> None:
    before, topic, start, end = DEEDS[deed]
    before(host)
    disk.hold(topic)
    who_waits = deed(host)
    if deed is not the_log_is_to_be_compacted:
        assert disk.is_asked.wait(PATIENCE_S)
    for number in range(2 * THREADS):  # each connection is given to the next thread
        create(Connected(host.host, host.port), f"another-{number}")
        assert told(send(host, f"another-{number}")) == (0, 0)
        assert [look_up(Connected(host.host, host.port), topic, time)[1] for time in (EARLIEST, LATEST)] == [start, end]
        assert len(read(host, topic, start)) == end - start
    assert who_waits is None or heard_nothing(who_waits)
    disk.let_go()
    assert who_waits is None or who_waits.answer() is not None


@pytest.mark.rule("THREAD-COMMIT-3", "LOG-RESTART-8")
def test_after_a_sync_that_failed_a_log_start_is_not_acknowledged(host: Host, disk: SlowDisk) -> None:
    some_records(host)
    disk.hold(PLAIN)
    disk.failures = 1
    sender = records_are_deleted(host)
    assert sender is not None and heard_nothing(sender)
    disk.let_go()
    assert sender.answer() is None
    assert told(send(host, PLAIN)) == (KAFKA_STORAGE_ERROR, -1)
