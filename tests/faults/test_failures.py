"""The disk fails: nothing that was answered is lost, who writes is told, who reads is served, and a restart ends it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from errno import EIO, ENOSPC
from pathlib import Path
from typing import Any

import pytest

from faults.check import Check, asked, fetched, read_log
from faults.disk import Disk, Failure, Fault, Sync, Write, full, is_of, nth
from faults.histories import SHORT, SMALL
from faults.run import BY_NAME, CLUSTER, KEYS, NOON_MS, Failed, Run, Step, produce_request, says_failed
from fiducial.conformance.batches import Item, build
from fiducial.conformance.exploration.steps import answer_of, request_frame
from fiducial.fastpath.core import StorageFailed
from fiducial.fastpath.node import Hangup, Node, Send
from fiducial.models import messages as m
from fiducial.models.apis import APIS
from fiducial.models.errors import Error
from fiducial.models.groups import State
from fiducial.models.restarts import Stop
from fiducial.models.settings import parse
from fiducial.models.topics import OFFSETS_TOPIC

PRODUCE, CREATE_TOPICS, OFFSET_COMMIT = KEYS[m.ProduceRequest], KEYS[m.CreateTopicsRequest], KEYS[m.OffsetCommitRequest]


# Every operation


def story(run: Run) -> None:
    """Every kind of file operation, in few steps."""
    run.start()
    run.create("safe", 1, **SMALL, flush_messages="1")
    run.create("quick", 1, **SMALL)
    for _ in range(5):
        run.produce("quick", producer=5)
    run.produce("safe", producer=5)
    run.produce("safe", producer=6, count=3)
    run.flush(100)
    run.delete_records("safe", 0, 2)
    run.configure("quick", "retention.bytes", "100")
    run.keep_house()
    run.draw_producer_id()
    run.create(OFFSETS_TOPIC, 1, **SHORT, flush_messages="2")
    run.commit("g", 1, ("safe", 0), ("quick", 0))
    run.commit("h", 2, ("safe", 0))
    run.join("m", "a")
    run.sync("m")
    run.delete("quick")
    run.stop()
    run.start()
    run.produce("safe", producer=5)
    run.commit("g", 3, ("safe", 0))
    run.leave("m", "a")
    run.delete_groups("g", "h")
    run.commit("g", 4, ("safe", 0))
    run.grow(OFFSETS_TOPIC, 2)
    run.expire_offsets()
    run.kill()
    run.start()
    run.stop()


def told(work: Path, fault: Fault) -> Run:
    """The story on a disk that fails; how far it came."""
    run = Run(work)
    run.disk.fault = fault
    try:
        story(run)
    except Failed:
        if run.node is not None:
            stays_offline(run)
            run.node.close()
    return run


def stays_offline(run: Run) -> None:
    """No batch is taken and no topic made, nothing is tried on the disk, and all that could be read can be."""
    assert run.node is not None and run.failed is not None
    so_far = run.disk.asked
    for topic_id, index in run.node.core.partitions():
        name = run.node.broker.topics.by_id[topic_id]
        if name == OFFSETS_TOPIC:
            groups = run.node.broker.groups
            commit = m.OffsetCommitRequest("g", topics=(m.OffsetCommitRequestTopic("safe", partitions=(m.OffsetCommitRequestPartition(0, 9),)),))
            assert asked(run.node, OFFSET_COMMIT, 9, commit, run.now).topics[0].partitions[0].error_code == Error.NOT_COORDINATOR
            assert run.node.broker.groups == groups
            continue
        frame = request_frame(PRODUCE, 12, produce_request(name, index, build([Item(run.now)])))
        (action,) = run.node.frame(1, frame, run.now)
        assert isinstance(action, Send) and says_failed(action, PRODUCE, 12)
        (start, high_watermark, _, _), *_ = run.node.core.marks(topic_id, index)
        read_log(run.node, name, index, start, high_watermark, run.now)
        before = run.failed.before.partitions.get((topic_id, index))
        assert before is None or high_watermark >= before.log.end
    create = m.CreateTopicsRequest((m.CreatableTopic("another", 1, 1),), 60_000, False)
    (made,) = asked(run.node, CREATE_TOPICS, 7, create, run.now).topics
    assert made.error_code == Error.KAFKA_STORAGE_ERROR
    run.node.housekeeping(run.now)
    with pytest.raises(StorageFailed):
        run.node.checkpoint()
    assert run.disk.asked == so_far


def ends_well(run: Run, work: Path) -> None:
    """The disk is sound again: a start finds what the rules allow after a kill in the step that failed."""
    run.disk.fault = None
    check = Check(run, work)
    total = len(run.disk.operations)
    step = run.failed or Step("the end", total, total, run.broker, run.broker, dict(run.moments), dict(run.safe))
    check.judge(check.started(run.folder), step, Stop.KILLED)


KINDS: dict[str, Callable[[int], Fault]] = {
    "EIO": lambda number: nth(number, Failure(EIO)),
    "EIO behind a part of the write": lambda number: nth(number, Failure(EIO, written_bytes=20)),
    "no room for a while": lambda number: nth(number, Failure(ENOSPC)),
    "no room": full,
    "EIO from then on": lambda number: lambda at, _operation: Failure(EIO) if at >= number else None,
}


@pytest.mark.rule("LOG-RESTART-12")
def test_whichever_operation_fails_nothing_that_was_answered_is_lost(work: Path, tell: Callable[[str], None]) -> None:
    where: Counter[str] = Counter()
    number = asked_for = 0
    while number <= asked_for:
        for kind, fault in KINDS.items():
            run = told(work / f"{number}-{kind}", fault(number))
            asked_for = run.disk.asked
            ends_well(run, work)
            where[run.failed.title.split()[0] if run.failed else "nobody noticed"] += 1
        number += 1
    tell(f"{number} operations failed in {len(KINDS)} ways; noticed in: {', '.join(f'{step} {count}' for step, count in where.most_common())}")
    assert number > 300
    assert {"start", "stop", "create", "produce", "delete", "flush", "checkpoint", "housekeeping", "retention.bytes", "a", "commit", "m", "grow"} <= set(where)


# One by one


class Broker:
    """One on a disk that can fail, with a topic that is forced to the disk before every answer, and one that is not."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.disk = Disk(folder)
        self.node = Node(folder, CLUSTER, parse({}), 1, NOON_MS, simulation=self.disk)
        self.create("safe", flush_messages="1")
        self.create("quick")

    def create(self, name: str, partitions: int = 1, **config: str) -> None:
        """A topic; configuration names with _ for dots."""
        configs = tuple(m.CreatableTopicConfig(key.replace("_", "."), text) for key, text in config.items())
        topic = m.CreatableTopic(name, partitions, 1, configs=configs)
        (made,) = asked(self.node, CREATE_TOPICS, 7, m.CreateTopicsRequest((topic,), 60_000, False), NOON_MS).topics
        assert made.error_code == 0

    def produce(self, name: str, *, producer: tuple[int, int, int] = (-1, -1, -1), connection: int = 1) -> Error | None:
        """What one record gets; None if its connection ends."""
        frame = request_frame(PRODUCE, 12, produce_request(name, 0, build([Item(NOON_MS)], producer=producer)))
        (action,) = (one for one in self.node.frame(connection, frame, NOON_MS) if one.connection == connection)
        if isinstance(action, Hangup):
            return None
        answer = answer_of(action.data[4:], PRODUCE, 12)
        return Error(answer.responses[0].partition_responses[0].error_code)

    def marks(self, name: str) -> tuple[int, int]:
        """High watermark and log end."""
        _, high_watermark, end, _ = self.node.core.marks(self.node.broker.topics.by_name[name].topic_id, 0)[0]
        return high_watermark, end

    def ask(self, message: Any, connection: int = 1) -> Any:
        """The answer to a request; None if it waits."""
        key = KEYS[type(message)]
        version = BY_NAME.get(key, APIS[key].max_version)
        for action in self.node.frame(connection, request_frame(key, version, message), NOON_MS):
            assert isinstance(action, Send)
            return answer_of(action.data[4:], key, version)
        return None

    def commit(self, offset: int) -> Error:
        """What a commit gets."""
        partitions = (m.OffsetCommitRequestPartition(0, offset), m.OffsetCommitRequestPartition(1, offset))
        answer = self.ask(m.OffsetCommitRequest("g", topics=(m.OffsetCommitRequestTopic("pair", partitions=partitions),)))
        (error,) = {Error(one.error_code) for one in answer.topics[0].partitions}
        return error

    def committed(self) -> list[int]:
        """The offsets of the group."""
        (answer,) = self.ask(m.OffsetFetchRequest(groups=(m.OffsetFetchRequestGroup("g", topics=None),))).groups
        return [one.committed_offset for topic in answer.topics for one in topic.partitions]

    def restart(self) -> None:
        """A crash, a disk that is sound, a start."""
        self.node.close()
        self.disk.fault, self.disk.reads_fail = None, False
        self.node = Node(self.folder, CLUSTER, parse({}), 1, NOON_MS, simulation=self.disk)


@pytest.fixture
def broker(work: Path) -> Broker:
    return Broker(work / "data")


@pytest.fixture
def coordinator(work: Path) -> Iterator[Broker]:
    """One whose groups are on the disk before it answers, with a commit of two partitions."""
    broker = Broker(work / "data")
    broker.create("pair", 2)
    broker.create(OFFSETS_TOPIC, flush_messages="1", cleanup_policy="compact")
    assert broker.commit(1) == Error.NONE
    yield broker
    broker.node.close()


# Groups


@pytest.mark.rule("LOG-RESTART-5")
def test_what_groups_write_down_is_on_the_disk_before_it_is_answered_where_the_topic_asks_for_it(coordinator: Broker) -> None:
    before = len(coordinator.disk.operations)
    assert coordinator.commit(2) == Error.NONE
    write, sync = coordinator.disk.operations[before:]
    assert isinstance(write, Write) and sync == Sync(write.file)


@pytest.mark.rule("LOG-RESTART-12", "GROUP-RECORD-5", "GROUP-RECORD-6")
@pytest.mark.parametrize("fault", [is_of(Write, Failure(ENOSPC)), is_of(Write, Failure(EIO, written_bytes=80)), is_of(Sync, Failure(EIO))], ids=["full", "torn", "sync"])
def test_a_commit_that_the_disk_does_not_take_did_not_happen(coordinator: Broker, fault: Fault) -> None:
    coordinator.disk.fault = fault
    assert coordinator.commit(2) == Error.NOT_COORDINATOR and coordinator.committed() == [1, 1]
    coordinator.disk.fault = None
    assert coordinator.commit(3) == Error.NOT_COORDINATOR and coordinator.committed() == [1, 1]
    coordinator.restart()
    assert coordinator.committed() in ([1, 1], [2, 2])
    assert coordinator.commit(4) == Error.NONE and coordinator.committed() == [4, 4]


@pytest.mark.rule("LOG-RESTART-5", "LOG-RESTART-12")
def test_what_could_not_be_forced_to_the_disk_of_a_group_is_read_by_nobody(coordinator: Broker) -> None:
    wanted = m.FetchTopic(OFFSETS_TOPIC, partitions=(m.FetchPartition(0, fetch_offset=2, partition_max_bytes=10_000),))
    waiting = m.FetchRequest(max_wait_ms=60_000, min_bytes=1, session_epoch=-1, topics=(wanted,))
    assert coordinator.ask(waiting, connection=2) is None
    coordinator.disk.fault = is_of(Sync, Failure(EIO))
    assert coordinator.commit(2) == Error.NOT_COORDINATOR
    assert coordinator.marks(OFFSETS_TOPIC) == (2, 4)
    (action,) = coordinator.node.expire(NOON_MS + 60_000)
    assert isinstance(action, Send) and not answer_of(action.data[4:], 1, 12).responses[0].partitions[0].records


@pytest.mark.rule("LOG-RESTART-12", "GROUP-RECORD-6", "GROUP-SYNC-8")
def test_members_are_told_that_the_disk_failed_and_alarms_ring_again(coordinator: Broker) -> None:
    protocols = (m.JoinGroupRequestProtocol("range", bytes(10)),)
    join = m.JoinGroupRequest("m", 10_000, 30_000, "", "a", "consumer", protocols)
    assert coordinator.ask(join, connection=2) is None
    (action,) = coordinator.node.expire(NOON_MS + 3_000)
    assert isinstance(action, Send)
    (member_id,) = coordinator.node.broker.groups.live["m"].members
    sync = m.SyncGroupRequest("m", 1, member_id, "a", "consumer", "range", (m.SyncGroupRequestAssignment(member_id, b"all"),))
    assert coordinator.ask(sync).error_code == Error.NONE
    coordinator.disk.fault = full()
    silent_ms = NOON_MS + 13_000
    assert coordinator.node.expire(silent_ms) == []
    assert coordinator.node.broker.groups.live["m"].state is State.STABLE
    assert silent_ms < coordinator.node.deadline() <= silent_ms + 1_000
    assert coordinator.node.expire(silent_ms + 1_000) == []
    assert coordinator.node.broker.groups.live["m"].state is State.STABLE
    coordinator.restart()
    here = coordinator.node.broker.groups.live["m"]
    assert here.state is State.STABLE and here.generation == 1 and set(here.members) == {member_id}


# What is kept beside the logs


@pytest.mark.rule("LOG-RESTART-14")
def test_what_cannot_be_written_down_is_refused_and_connections_stay(broker: Broker) -> None:
    assert broker.produce("quick") == Error.NONE
    broker.disk.fault = full()
    assert broker.produce("quick") == Error.KAFKA_STORAGE_ERROR
    before, so_far = broker.node.broker, broker.disk.asked
    create = broker.ask(m.CreateTopicsRequest((m.CreatableTopic("another", 1, 1), m.CreatableTopic("quick", 1, 1)), 60_000, False))
    assert {one.name: one.error_code for one in create.topics} == {"another": Error.KAFKA_STORAGE_ERROR, "quick": Error.TOPIC_ALREADY_EXISTS}
    (deleted,) = broker.ask(m.DeleteTopicsRequest((m.DeleteTopicState("safe"),), timeout_ms=60_000)).responses
    (trimmed,) = broker.ask(m.DeleteRecordsRequest((m.DeleteRecordsTopic("quick", (m.DeleteRecordsPartition(0, 1),)),), 60_000)).topics
    (drawn, found) = (broker.ask(one) for one in (m.InitProducerIdRequest(None, 1000), m.FindCoordinatorRequest("g", 0, ("g",))))
    assert deleted.error_code == trimmed.partitions[0].error_code == drawn.error_code == Error.KAFKA_STORAGE_ERROR
    assert found.coordinators[0].error_code == Error.COORDINATOR_NOT_AVAILABLE
    wanted = m.MetadataRequest((m.MetadataRequestTopic(name="another"),), allow_auto_topic_creation=True)
    for _ in range(2):
        assert broker.ask(wanted).topics[0].error_code == Error.UNKNOWN_TOPIC_OR_PARTITION
    assert broker.node.broker == before and broker.disk.asked == so_far
    broker.restart()
    assert set(broker.node.broker.topics.by_name) == {"safe", "quick"} and broker.marks("quick") == (1, 1)
    assert broker.ask(wanted).topics[0].error_code == Error.UNKNOWN_TOPIC_OR_PARTITION
    assert broker.ask(wanted).topics[0].error_code == Error.NONE


@pytest.mark.rule("LOG-RESTART-12")
def test_a_request_in_which_the_disk_fails_gets_no_answer(broker: Broker) -> None:
    broker.disk.fault = full()
    create = m.CreateTopicsRequest((m.CreatableTopic("another", 1, 1),), 60_000, False)
    (action,) = broker.node.frame(1, request_frame(CREATE_TOPICS, 7, create), NOON_MS)
    assert isinstance(action, Hangup)


# Partitions


@pytest.mark.rule("LOG-RESTART-12")
def test_after_a_failed_sync_nothing_is_written_and_reads_go_on(broker: Broker) -> None:
    assert broker.produce("safe") == broker.produce("quick") == Error.NONE
    broker.disk.fault = is_of(Sync, Failure(EIO))
    assert broker.produce("safe") is None
    broker.disk.fault = None
    so_far = broker.disk.asked
    assert broker.produce("safe") == broker.produce("quick") == Error.KAFKA_STORAGE_ERROR
    assert broker.disk.asked == so_far and len(broker.disk.failed_syncs) == 1
    assert len(read_log(broker.node, "safe", 0, 0, 1, NOON_MS)) == len(read_log(broker.node, "quick", 0, 0, 1, NOON_MS)) > 0
    broker.restart()
    assert broker.produce("safe") == broker.produce("quick") == Error.NONE
    assert broker.marks("quick") == (2, 2) and broker.marks("safe") in ((2, 2), (3, 3))


@pytest.mark.rule("LOG-RESTART-5", "LOG-RESTART-12")
def test_what_could_not_be_forced_to_the_disk_is_seen_by_nobody(broker: Broker) -> None:
    waiting = m.FetchRequest(
        max_wait_ms=500,
        min_bytes=1,
        max_bytes=10_000,
        session_id=0,
        session_epoch=-1,
        topics=(m.FetchTopic("safe", partitions=(m.FetchPartition(0, fetch_offset=1, partition_max_bytes=10_000),)),),
    )
    assert broker.produce("safe") == Error.NONE
    assert broker.node.frame(2, request_frame(1, 12, waiting), NOON_MS) == []
    broker.disk.fault = is_of(Sync, Failure(EIO))
    assert broker.produce("safe") is None
    assert broker.marks("safe") == (1, 2)
    assert not fetched(broker.node, "safe", 0, 1, 10_000, NOON_MS).records
    (answer,) = broker.node.expire(NOON_MS + 500)
    assert isinstance(answer, Send) and not answer_of(answer.data[4:], 1, 12).responses[0].partitions[0].records


@pytest.fixture
def several(broker: Broker) -> Broker:
    """One whose topic of two partitions is forced to the disk before every answer; each has a batch."""
    broker.create("several", 2, flush_messages="1")
    assert produce_to_both(broker) == [Error.NONE] * 2
    return broker


def produce_to_both(broker: Broker) -> list[Error] | None:
    """What a record for each partition gets, in one request; None if its connection ends."""
    records: Any = build([Item(NOON_MS)])  # the field holds bytes as well
    both = tuple(m.PartitionProduceData(index, records) for index in range(2))
    request = m.ProduceRequest(None, -1, 1000, (m.TopicProduceData("several", partition_data=both),))
    (action,) = broker.node.frame(1, request_frame(PRODUCE, 12, request), NOON_MS)
    if isinstance(action, Hangup):
        return None
    return [Error(one.error_code) for one in answer_of(action.data[4:], PRODUCE, 12).responses[0].partition_responses]


@pytest.mark.rule("LOG-RESTART-5")
def test_what_one_request_appends_to_several_logs_is_on_the_disk_in_each_before_it_is_answered(several: Broker) -> None:
    before = len(several.disk.operations)
    assert produce_to_both(several) == [Error.NONE] * 2
    *written, first, second = several.disk.operations[before:]
    assert [Sync(one.file) for one in written if isinstance(one, Write)] == [first, second] and len(written) == 2


@pytest.mark.rule("LOG-RESTART-12")
def test_after_a_failed_sync_no_other_is_tried_also_of_the_same_request(several: Broker) -> None:
    topic_id = several.node.broker.topics.by_name["several"].topic_id
    several.disk.fault = is_of(Sync, Failure(EIO))
    assert produce_to_both(several) is None
    assert len(several.disk.failed_syncs) == 1
    assert [several.node.core.marks(topic_id, index)[0][:3] for index in range(2)] == [(0, 1, 2)] * 2


@pytest.mark.rule("LOG-RESTART-12")
def test_a_failed_flush_takes_the_log_directory_offline_and_is_not_tried_again(broker: Broker) -> None:
    broker.create("often", flush_ms="0")
    assert broker.produce("often") == Error.NONE
    (unforced,) = broker.node.core.unsynced(NOON_MS)
    broker.disk.fault = is_of(Sync, Failure(EIO))
    with pytest.raises(StorageFailed):
        broker.node.synced(unforced, broker.node.core.sync(unforced))
    assert broker.produce("often") == broker.produce("safe") == Error.KAFKA_STORAGE_ERROR
    assert len(read_log(broker.node, "often", 0, 0, 1, NOON_MS)) > 0
    broker.node.stop()
    assert len(broker.disk.failed_syncs) == 1
    assert not (broker.folder / ".kafka_cleanshutdown").exists()


@pytest.mark.rule("LOG-RESTART-12")
def test_a_row_that_cannot_be_written_leaves_its_producers_as_they_were(broker: Broker) -> None:
    assert broker.produce("quick", producer=(5, 0, 0)) == Error.NONE
    topic_id = broker.node.broker.topics.by_name["quick"].topic_id
    before = broker.node.core.producers(topic_id, 0)
    broker.disk.fault = is_of(Write, Failure(EIO))
    batches = [build([Item(NOON_MS)], producer=producer) for producer in ((5, 0, 1), (5, 0, 2), (6, 0, 0))]
    frames = [request_frame(PRODUCE, 12, produce_request("quick", 0, one)) for one in batches]
    row = bytearray(b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames))
    _, _, (answers,) = broker.node.frames(1, row, NOON_MS)
    assert isinstance(answers, Send)
    size = len(answers.data) // len(frames)
    assert all(says_failed(Send(1, answers.data[at : at + size]), PRODUCE, 12) for at in range(0, len(answers.data), size))
    assert broker.node.core.producers(topic_id, 0) == before and broker.marks("quick") == (1, 1)


@pytest.mark.rule("LOG-RESTART-12")
def test_a_resend_is_not_taken_for_safe_while_the_disk_is_not(broker: Broker) -> None:
    assert broker.produce("safe", producer=(5, 0, 0)) == Error.NONE
    broker.disk.fault = is_of(Sync, Failure(EIO))
    assert broker.produce("safe", producer=(5, 0, 1)) is None
    assert broker.produce("safe", producer=(5, 0, 0)) == broker.produce("safe", producer=(5, 0, 1)) == Error.KAFKA_STORAGE_ERROR


@pytest.mark.rule("LOG-RESTART-12")
def test_a_segment_that_cannot_be_read_costs_only_who_reads_it(broker: Broker) -> None:
    assert broker.produce("safe") == Error.NONE
    broker.disk.reads_fail = True
    wanted = m.FetchTopic("safe", partitions=(m.FetchPartition(0, fetch_offset=0, partition_max_bytes=10_000),))
    fetch = m.FetchRequest(max_wait_ms=0, min_bytes=1, max_bytes=10_000, session_id=0, session_epoch=-1, topics=(wanted,))
    (action,) = broker.node.frame(1, request_frame(1, 12, fetch), NOON_MS)
    if isinstance(action, Send):
        assert answer_of(action.data[4:], 1, 12).responses[0].partitions[0].error_code == Error.KAFKA_STORAGE_ERROR
    assert broker.produce("safe") == Error.NONE
    broker.disk.reads_fail = False
    assert len(read_log(broker.node, "safe", 0, 0, 2, NOON_MS)) > 0


@pytest.mark.rule("LOG-RESTART-12")
def test_a_start_on_a_disk_that_fails_says_so_and_lets_go_of_the_folder(broker: Broker) -> None:
    broker.node.close()
    broker.disk.fault = full()
    with pytest.raises(StorageFailed, match="the log directory is offline: No space left on device"):
        Node(broker.folder, CLUSTER, parse({}), 1, NOON_MS, simulation=broker.disk)
    broker.disk.fault = None
    Node(broker.folder, CLUSTER, parse({}), 1, NOON_MS, simulation=broker.disk).stop()
