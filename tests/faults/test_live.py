"""A real process, a real client: `kill -9` in the middle of the load, and a disk that is really full."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from raw_client import RawClient

from fiducial.conformance.exploration.steps import answer_of, request_frame
from fiducial.models import messages as m

pytestmark = pytest.mark.clients

IS_LONG = os.environ.get("FIDUCIAL_LONG") == "1"
ROUNDS = 100 if IS_LONG else 20
PARTITIONS = 3
#: So many records are acknowledged before each kill, while so many wait in the producer.
ACKNOWLEDGED, QUEUED_MAX = 500, 10_000
#: How long anything may take (s).
PATIENCE_S = 60
TOPIC = "load"
#: Before each kill so many commits are acknowledged, while so many are under way.
COMMITTED, UNDER_WAY = 200, 20
GROUPS = [f"group-{number}" for number in range(5)]
FIND_COORDINATOR, JOIN_GROUP, OFFSET_COMMIT, OFFSET_FETCH = 10, 11, 8, 9


class Served:
    """`fiducial serve` on a data folder, at the same port each time it is started."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.port = 0
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "fiducial", "serve", "--listen", f"127.0.0.1:{self.port}", "--data", str(self.data)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("listening on"), line
        self.port = int(line.rpartition(":")[2])

    def end(self, number: int) -> int:
        """Send a signal; the exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        status = self.process.wait(PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process = None
        return status

    @property
    def address(self) -> dict[str, Any]:
        """Where clients find it."""
        return {"bootstrap.servers": f"127.0.0.1:{self.port}"}


@contextmanager
def served(data: Path) -> Iterator[Served]:
    """A broker that is running; whatever becomes of it, none is left."""
    broker = Served(data)
    broker.start()
    try:
        yield broker
    finally:
        if broker.process is not None:
            broker.end(signal.SIGKILL)


def create(broker: Served, **config: str) -> None:
    """The topic; configuration names with _ for dots."""
    admin = AdminClient(broker.address)
    configs = {name.replace("_", "."): text for name, text in config.items()}
    admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1, config=configs)])[TOPIC].result(PATIENCE_S)


def consumed(broker: Served) -> list[bytes]:
    """Every record's value, partition by partition."""
    consumer = Consumer({**broker.address, "group.id": "nobody", "enable.auto.commit": False, "auto.offset.reset": "earliest"})
    values: list[bytes] = []
    for partition in range(PARTITIONS):
        _, end = consumer.get_watermark_offsets(TopicPartition(TOPIC, partition), timeout=PATIENCE_S)
        consumer.assign([TopicPartition(TOPIC, partition, 0)])
        position = 0
        give_up = time.monotonic() + PATIENCE_S
        while position < end:
            assert time.monotonic() < give_up, f"{TOPIC}-{partition} is read to {position} of {end}"
            for message in consumer.consume(min(end - position, 10_000), timeout=1):
                assert message.error() is None, message.error()
                assert message.offset() == position
                position += 1
                values.append(message.value() or b"")
    consumer.close()
    return values


@pytest.mark.rule("LOG-RESTART-3", "LOG-RESTART-7")
def test_a_broker_that_is_killed_again_and_again_loses_and_repeats_nothing(tmp_path: Path, tell: Callable[[str], None]) -> None:
    acknowledged: set[bytes] = set()
    failed: list[KafkaError] = []

    def on_delivery(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            failed.append(error)
        else:
            acknowledged.add(message.value() or b"")

    with served(tmp_path / "data") as broker:
        create(broker, segment_ms="200")
        settings = {"enable.idempotence": True, "linger.ms": 1, "retry.backoff.ms": 20, "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 100}
        producer = Producer({**broker.address, **settings})
        sent = 0
        for _ in range(ROUNDS):
            goal, give_up = len(acknowledged) + ACKNOWLEDGED, time.monotonic() + PATIENCE_S
            while len(acknowledged) < goal:
                assert time.monotonic() < give_up, "nothing is acknowledged any more"
                while len(producer) < QUEUED_MAX:
                    producer.produce(TOPIC, b"%d" % sent, partition=sent % PARTITIONS, on_delivery=on_delivery)
                    sent += 1
                producer.poll(0.01)
            assert broker.end(signal.SIGKILL) == -signal.SIGKILL
            broker.start()
        assert producer.flush(PATIENCE_S) == 0
        assert not failed
        values = consumed(broker)
        assert broker.end(signal.SIGTERM) == 0
    tell(f"{ROUNDS} kills: {len(acknowledged):,} of {sent:,} records acknowledged, {len(values):,} read back")
    repeated = {value: times for value, times in Counter(values).items() if times > 1}
    assert not repeated
    assert not acknowledged - set(values)
    assert len(acknowledged) == sent > ROUNDS * ACKNOWLEDGED


# Groups


def asked(client: RawClient, key: int, version: int, message: Any) -> Any:
    """The answer to a request."""
    data = client.ask(request_frame(key, version, message))
    assert data is not None, "the connection ended"
    return answer_of(data, key, version)


def committing(group: str, offset: int) -> bytes:
    """A commit of the same offset for every partition."""
    partitions = tuple(m.OffsetCommitRequestPartition(index, offset) for index in range(PARTITIONS))
    topics = (m.OffsetCommitRequestTopic(TOPIC, partitions=partitions),)
    return request_frame(OFFSET_COMMIT, 9, m.OffsetCommitRequest(group, topics=topics))


def committed(client: RawClient, group: str) -> set[int]:
    """The offsets of a group's partitions."""
    wanted = m.OffsetFetchRequest(groups=(m.OffsetFetchRequestGroup(group, topics=None),))
    (answer,) = asked(client, OFFSET_FETCH, 9, wanted).groups
    assert answer.error_code == 0
    return {one.committed_offset for topic in answer.topics for one in topic.partitions}


def generation_of(client: RawClient, group: str) -> int:
    """The generation that a member joins, a static one, the only one of its group."""
    protocols = (m.JoinGroupRequestProtocol("range", bytes(10)),)
    joined = asked(client, JOIN_GROUP, 9, m.JoinGroupRequest(group, 60_000, 60_000, "", "one", "consumer", protocols))
    assert joined.error_code == 0
    given = (m.SyncGroupRequestAssignment(joined.member_id, b"all of it"),)
    who = group, joined.generation_id, joined.member_id, "one"
    synced = asked(client, 14, 5, m.SyncGroupRequest(*who, "consumer", "range", given))
    assert synced.error_code == 0 and synced.assignment == b"all of it"
    left = asked(client, 13, 5, m.LeaveGroupRequest(group, members=(m.MemberIdentity(joined.member_id, "one"),)))
    assert left.members[0].error_code == 0
    return int(joined.generation_id)


@pytest.mark.rule("GROUP-RECORD-2", "GROUP-RECORD-4", "LOG-RESTART-3")
def test_a_broker_that_is_killed_again_and_again_takes_no_commit_back_and_gives_no_generation_twice(
    tmp_path: Path, tell: Callable[[str], None]
) -> None:
    sent, known, generation = 0, dict.fromkeys(GROUPS, -1), 0
    with served(tmp_path / "data") as broker:
        create(broker)
        for _ in range(ROUNDS):
            with RawClient("127.0.0.1", broker.port) as client:
                assert asked(client, FIND_COORDINATOR, 4, m.FindCoordinatorRequest(key_type=0, coordinator_keys=("g",))).coordinators[0].error_code == 0
                for group in GROUPS:
                    offsets = committed(client, group) or {-1}
                    assert len(offsets) == 1, f"of a commit of {group} there is a part: {offsets}"
                    assert known[group] <= min(offsets) <= sent, f"{group} is at {offsets}, {known[group]} was acknowledged"
                given = generation_of(client, GROUPS[0])
                assert given > generation
                generation = given
                goal = sent + COMMITTED
                acknowledged = sent
                while acknowledged < goal:
                    while sent < acknowledged + UNDER_WAY:
                        sent += 1
                        client.send(committing(GROUPS[sent % len(GROUPS)], sent))
                    answer = answer_of(client.answer() or b"", OFFSET_COMMIT, 9)
                    assert {one.error_code for one in answer.topics[0].partitions} == {0}
                    acknowledged += 1
                    known[GROUPS[acknowledged % len(GROUPS)]] = acknowledged
                assert broker.end(signal.SIGKILL) == -signal.SIGKILL
            broker.start()
        assert broker.end(signal.SIGTERM) == 0
    tell(f"{ROUNDS} kills: {sent:,} commits of {PARTITIONS} partitions sent, {generation} generations")


# A full disk


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[Path]:
    """A file system of this size, if this user may mount one."""
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder)], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"NOT RUN: a small file system cannot be mounted here ({mounted.stderr.decode().strip()}); test_failures.py has simulated ones")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """The folder can only be read, as after an error that has the kernel take no more writes; if this user may have it so."""
    mounted = subprocess.run(["mount", "--bind", str(folder), str(folder)], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"NOT RUN: nothing can be mounted here ({mounted.stderr.decode().strip()})")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.rule("LOG-RESTART-12")
def test_a_disk_that_turns_read_only_is_told_to_producers_and_reads_go_on(tmp_path: Path) -> None:
    failed: list[int] = []

    def on_delivery(error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            failed.append(error.code())

    with served(tmp_path / "data") as broker:
        create(broker, index_interval_bytes="0", segment_bytes="1048576")
        producer = Producer({**broker.address, "retries": 0, "message.timeout.ms": 10_000})
        for number in range(300):
            producer.produce(TOPIC, b"%d " % number + os.urandom(20_000), partition=number % PARTITIONS, on_delivery=on_delivery)
        producer.flush(PATIENCE_S)
        assert failed == []
        everything = consumed(broker)
        broker.end(signal.SIGTERM)
        broker.start()
        with read_only(tmp_path / "data"):
            assert len(everything) == 300 and consumed(broker) == everything
            producer.produce(TOPIC, b"another", partition=0, on_delivery=on_delivery)
            producer.flush(PATIENCE_S)
            assert failed == [KafkaError.KAFKA_STORAGE_ERROR]
            assert consumed(broker) == everything
        broker.end(signal.SIGTERM)


@pytest.mark.rule("LOG-RESTART-12")
def test_a_full_disk_is_told_to_producers_and_reads_go_on(tmp_path: Path) -> None:
    acknowledged: list[bytes] = []
    failed: Counter[int] = Counter()

    def on_delivery(error: KafkaError | None, message: Message) -> None:
        if error is None:
            acknowledged.append(message.value() or b"")
        else:
            failed[error.code()] += 1

    with small_disk(tmp_path / "disk", 8 << 20) as disk:
        (disk / "ballast").write_bytes(bytes(4 << 20))
        with served(disk / "data") as broker:
            create(broker, index_interval_bytes="0", segment_bytes="1048576")
            producer = Producer({**broker.address, "retries": 0, "message.timeout.ms": 10_000, "linger.ms": 0})
            for number in range(400):
                producer.produce(TOPIC, b"%d " % number + os.urandom(20_000), partition=number % PARTITIONS, on_delivery=on_delivery)
                producer.flush(PATIENCE_S)
                if failed:
                    break
            assert set(failed) == {KafkaError.KAFKA_STORAGE_ERROR}
            producer.produce(TOPIC, b"another", on_delivery=on_delivery)
            producer.flush(PATIENCE_S)
            assert set(failed) == {KafkaError.KAFKA_STORAGE_ERROR} and failed.total() == 2
            assert set(acknowledged) <= set(consumed(broker))
            assert len(acknowledged) > 100
            broker.end(signal.SIGTERM)
            (disk / "ballast").unlink()
            broker.start()
            assert set(acknowledged) <= set(consumed(broker))
            producer = Producer(broker.address)
            producer.produce(TOPIC, b"another", on_delivery=on_delivery)
            assert producer.flush(PATIENCE_S) == 0
            assert acknowledged[-1] == b"another"
            assert broker.end(signal.SIGTERM) == 0
        shutil.rmtree(disk / "data")
