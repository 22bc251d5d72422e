"""The broker and its groups: who coordinates, where groups are written down, and what comes of records that cannot be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from group_bench import subscription
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import NOW, Bench, batch, falls_through

from fiducial.models import broker, group_records, group_requests
from fiducial.models import messages as m
from fiducial.models.errors import Error
from fiducial.models.events import Append, Effect, Event, OffsetExpiry, Reply, Request, Ring, Trim
from fiducial.models.group_offsets import CommittedOffset, OffsetCommitted
from fiducial.models.group_requests import Groups, partition_of
from fiducial.models.groups import Alarm, GroupConfig, Kind, SetAlarm, State
from fiducial.models.restarts import restarted
from fiducial.models.settings import parse
from fiducial.models.topics import OFFSETS_TOPIC
from fiducial.models.values import EMPTY, changed

NOTHING_DELAYS = {"group.initial.rebalance.delay.ms": "0"}
GROUP = m.OffsetFetchRequestGroup("g", topics=(m.OffsetFetchRequestTopics("t", partition_indexes=(0,)),))
#: One request of each kind that names a group, with the versions in which its answer has another form.
REQUESTS: list[tuple[Any, int]] = [
    (m.OffsetCommitRequest("g", topics=(m.OffsetCommitRequestTopic("t", partitions=(m.OffsetCommitRequestPartition(0, 5),)),)), 9),
    (m.OffsetFetchRequest(groups=(GROUP,)), 9),
    (m.OffsetFetchRequest("g", (m.OffsetFetchRequestTopic("t", (0,)),)), 7),
    (m.OffsetFetchRequest("g", (m.OffsetFetchRequestTopic("t", (0,)),)), 1),
    (m.JoinGroupRequest("g", 10_000, 10_000, "", None, "consumer", (m.JoinGroupRequestProtocol("range", b""),)), 9),
    (m.HeartbeatRequest("g", 1, "a"), 4),
    (m.LeaveGroupRequest("g", "", (m.MemberIdentity("a"),)), 5),
    (m.SyncGroupRequest("g", 1, "a", None, "consumer", "range"), 5),
    (m.DescribeGroupsRequest(("g",)), 6),
    (m.DeleteGroupsRequest(("g",)), 2),
    (m.OffsetDeleteRequest("g"), 0),
]


def errors_in(answer: Any) -> set[int]:
    """Every error code of an answer that is one."""
    found = {getattr(answer, "error_code", 0)}
    for name in getattr(type(answer), "__match_args__", ()):
        content = getattr(answer, name)
        for part in content if isinstance(content, tuple) else ():
            found |= errors_in(part)
    return found - {0}


def led(*topics: str, **settings: str) -> Bench:
    """A broker that coordinates."""
    bench = Bench(*topics, settings={**NOTHING_DELAYS, **{name.replace("_", "."): text for name, text in settings.items()}})
    assert bench.ask(m.FindCoordinatorRequest("g", 0), 3).error_code == 0
    return bench


def commit(topic: str = "t", index: int = 0, offset: int = 5, *, group: str = "g") -> m.OffsetCommitRequest:
    """One partition's offset, by nobody in particular."""
    return m.OffsetCommitRequest(group, topics=(m.OffsetCommitRequestTopic(topic, partitions=(m.OffsetCommitRequestPartition(index, offset),)),))


def gone(topic: str) -> m.DeleteTopicsRequest:
    """A topic is deleted."""
    return m.DeleteTopicsRequest((m.DeleteTopicState(topic),), timeout_ms=60_000)


def appends(effects: tuple[Effect, ...]) -> list[Append]:
    """What is to be appended."""
    return [effect for effect in effects if isinstance(effect, Append)]


def committed(bench: Bench, group: str = "g") -> int:
    """The offset of partition 0 of t."""
    answer = bench.ask(m.OffsetFetchRequest(group, (m.OffsetFetchRequestTopic("t", (0,)),)), 7)
    return int(answer.topics[0].partitions[0].committed_offset)


# Where nobody coordinates


@pytest.mark.rule("GROUP-FIND-3")
@pytest.mark.parametrize(("body", "version"), REQUESTS, ids=lambda one: f"{type(one).__name__}" if not isinstance(one, int) else f"v{one}")
def test_where_nobody_coordinates_groups_are_not_asked(body: Any, version: int) -> None:
    bench = Bench("t")
    assert errors_in(bench.ask(body, version)) == {Error.NOT_COORDINATOR}
    assert bench.refused(body, version) == ("GROUP-FIND-3",)
    assert bench.broker.groups == Groups() and OFFSETS_TOPIC not in bench.broker.topics.by_name
    assert errors_in(led("t").ask(body, version)) != {Error.NOT_COORDINATOR}


@pytest.mark.rule("GROUP-FIND-3")
def test_a_list_of_groups_is_empty_where_nobody_coordinates() -> None:
    assert Bench().ask(m.ListGroupsRequest(), 5) == m.ListGroupsResponse(Error.NONE, ())


@pytest.mark.rule("GROUP-FIND-3")
@pytest.mark.parametrize(
    ("body", "version", "error"),
    [
        (m.JoinGroupRequest("", 10_000), 9, Error.INVALID_GROUP_ID),
        (m.JoinGroupRequest("", 1), 9, Error.INVALID_GROUP_ID),
        (m.JoinGroupRequest("g", 1), 9, Error.INVALID_SESSION_TIMEOUT),
        (m.SyncGroupRequest("g", 1, "a"), 5, Error.INCONSISTENT_GROUP_PROTOCOL),
        (m.SyncGroupRequest("", 1, "a"), 4, Error.INVALID_GROUP_ID),
        (m.HeartbeatRequest(""), 4, Error.INVALID_GROUP_ID),
        (m.LeaveGroupRequest("", "a"), 2, Error.INVALID_GROUP_ID),
        (m.OffsetDeleteRequest(""), 0, Error.INVALID_GROUP_ID),
        (commit("u"), 9, Error.UNKNOWN_TOPIC_OR_PARTITION),
    ],
)
def test_what_is_wrong_with_the_request_itself_comes_first(body: Any, version: int, error: Error) -> None:
    assert errors_in(Bench("t").ask(body, version)) == {error}


@pytest.mark.rule("GROUP-FIND-3")
def test_a_commit_is_refused_partition_by_partition_where_nobody_coordinates() -> None:
    topics = tuple(m.OffsetCommitRequestTopic(name, partitions=(m.OffsetCommitRequestPartition(0, 5),)) for name in ("t", "u"))
    answer = Bench("t").ask(m.OffsetCommitRequest("g", topics=topics), 9)
    assert [topic.partitions[0].error_code for topic in answer.topics] == [Error.NOT_COORDINATOR, Error.UNKNOWN_TOPIC_OR_PARTITION]


@pytest.mark.rule("GROUP-FIND-4", "WIRE-META-11")
@pytest.mark.parametrize("by_metadata", [False, True])
def test_who_asks_for_a_coordinator_makes_the_topic_of_offsets(by_metadata: bool) -> None:
    bench = Bench(settings={"offsets.topic.num.partitions": "7", "offsets.topic.segment.bytes": "2000000"})
    if by_metadata:
        bench.ask(m.MetadataRequest((m.MetadataRequestTopic(name=OFFSETS_TOPIC),)), 12)
    else:
        assert bench.ask(m.FindCoordinatorRequest("g", 0), 3).error_code == 0
    topic = bench.broker.topics.by_name[OFFSETS_TOPIC]
    assert topic.partitions == 7
    assert dict(topic.overrides) == {"cleanup.policy": "compact", "compression.type": "producer", "segment.bytes": "2000000"}
    before = bench.broker
    bench.ask(m.FindCoordinatorRequest("g", 0), 3)
    assert bench.broker.topics == before.topics


@pytest.mark.rule("GROUP-FIND-4")
def test_the_topic_of_offsets_has_fifty_partitions() -> None:
    assert led().broker.topics.by_name[OFFSETS_TOPIC].partitions == 50


@pytest.mark.rule("GROUP-FIND-4", "WIRE-CLUSTER-5")
def test_no_topic_is_made_for_what_is_no_group() -> None:
    bench = Bench()
    assert bench.ask(m.FindCoordinatorRequest("x", 1), 3).error_code == Error.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
    assert bench.ask(m.FindCoordinatorRequest("x", 0, ()), 4).coordinators == ()
    assert OFFSETS_TOPIC not in bench.broker.topics.by_name


@pytest.mark.rule("WIRE-CLUSTER-5")
def test_a_topic_of_nearly_the_same_name_keeps_groups_from_being_coordinated() -> None:
    bench = Bench("__consumer.offsets")
    assert bench.ask(m.FindCoordinatorRequest("g", 0), 3).error_code == Error.COORDINATOR_NOT_AVAILABLE
    assert bench.refused(m.FindCoordinatorRequest("g", 0), 3) == ("WIRE-CLUSTER-5",)


# Where groups are written down


@pytest.mark.rule("GROUP-FIND-1", "GROUP-RECORD-7")
def test_what_a_request_does_is_one_batch_in_its_groups_partition() -> None:
    bench = led("t")
    assert errors_in(bench.ask(commit(), 9)) == set()
    (append,) = appends(bench.effects)
    topic = bench.broker.topics.by_name[OFFSETS_TOPIC]
    assert (append.topic_id, append.partition) == (topic.topic_id, partition_of("g", topic.partitions))
    (record,) = append.records
    assert group_requests.evolve(Groups(), group_records.decoded(*record)).offsets == bench.broker.groups.offsets
    assert bench.effects.index(append) < len(bench.effects) - 1 and isinstance(bench.effects[-1], Reply)
    bench.ask(m.DeleteGroupsRequest(tuple("gh")), 2)
    assert [one.partition for one in appends(bench.effects)] == [append.partition]


@pytest.mark.rule("GROUP-OFFSET-5", "GROUP-OFFSET-8")
def test_what_expires_is_written_in_batches_that_fit() -> None:
    bench = led()
    bench.create("t", 8_000)
    partitions = tuple(m.OffsetCommitRequestPartition(index, 1) for index in range(8_000))
    bench.ask(m.OffsetCommitRequest("g", topics=(m.OffsetCommitRequestTopic("t", partitions=partitions),)), 9)
    assert [len(append.records) for append in appends(bench.effects)] == [8_000]
    before = bench.broker
    bench.now += 604_800_000
    bench.happens(OffsetExpiry())
    assert [len(append.records) for append in appends(bench.effects)] == [7_575, 426]  # of 12 bytes and 21 beside; the group goes with them
    bench.broker = before
    bench.ask(gone("t"), 6)
    assert [len(append.records) for append in appends(bench.effects)] == [7_575, 425]
    assert bench.broker.groups.offsets == EMPTY


@pytest.mark.rule("GROUP-OFFSET-8")
def test_a_topic_that_goes_takes_its_offsets_out_of_every_group() -> None:
    bench = led("t", "u")
    for group in "gh":
        bench.ask(commit("t", group=group), 9)
        bench.ask(commit("u", group=group), 9)
    bench.ask(gone("t"), 6)
    assert {tuple(offsets) for offsets in bench.broker.groups.offsets.values()} == {(("u", 0),)}
    assert len(appends(bench.effects)) == 2


@pytest.mark.rule("GROUP-OFFSET-8")
def test_what_a_crash_left_of_a_topics_offsets_goes_when_expiry_looks() -> None:
    bench = led("t", "u")
    bench.ask(commit("t"), 9)
    bench.ask(commit("u"), 9)
    before = bench.broker.groups
    bench.ask(gone("t"), 6)
    bench.create("t")
    bench.broker = changed(bench.broker, groups=before)  # as if the records of the deletion had not been written
    assert committed(bench) == 5
    bench.happens(OffsetExpiry())
    assert committed(bench) == -1 and tuple(bench.broker.groups.offsets["g"]) == (("u", 0),)


@pytest.mark.rule("GROUP-FIND-5")
def test_without_the_topic_of_offsets_there_are_no_groups_and_nobody_waits() -> None:
    bench = led("t")
    bench.ask(commit(), 9)
    join = m.JoinGroupRequest("h", 10_000, 10_000, "", None, "consumer", (m.JoinGroupRequestProtocol("range", subscription("t")),))
    assert bench.send(join, 3) is None
    waiting = bench.tickets
    bench.ask(gone(OFFSETS_TOPIC), 6)
    reply = bench.reply_to(waiting)
    assert isinstance(reply, Reply) and reply.body.error_code == Error.NOT_COORDINATOR and reply.rules == ("GROUP-FIND-5",)
    assert bench.broker.groups == Groups() and not appends(bench.effects)
    assert bench.ask(m.FindCoordinatorRequest("g", 0), 3).error_code == 0 and committed(bench) == -1


@pytest.mark.rule("GROUP-FIND-5")
def test_who_waits_for_an_assignment_when_the_topic_goes_is_told_too() -> None:
    bench = led("t")
    ids = joined(bench, 2)
    sync = m.SyncGroupRequest("g", 1, ids[1], None, "consumer", "range")
    assert bench.send(sync, 5) is None
    waiting = bench.tickets
    bench.ask(gone(OFFSETS_TOPIC), 6)
    reply = bench.reply_to(waiting)
    assert isinstance(reply, Reply) and reply.body.error_code == Error.NOT_COORDINATOR


def joined(bench: Bench, count: int) -> list[str]:
    """The ids of so many members of a new group g that is to be assigned to, the leader first."""
    protocols = (m.JoinGroupRequestProtocol("range", subscription("t")),)
    ids = [bench.ask(m.JoinGroupRequest("g", 10_000, 10_000, "", None, "consumer", protocols), 9).member_id for _ in range(count)]
    for one in ids:
        assert bench.send(m.JoinGroupRequest("g", 10_000, 10_000, one, None, "consumer", protocols), 9) is None
    while bench.broker.groups.live["g"].state is not State.COMPLETING:
        bench.happens(Ring(Alarm(Kind.JOIN, "g")))
    return sorted(ids, key=lambda one: one != bench.broker.groups.live["g"].leader)


# Who asks


@pytest.mark.rule("GROUP-MEMBER-8")
def test_only_a_member_without_an_id_draws_by_chance() -> None:
    bench = led("t")
    before = bench.broker.chance
    bench.ask(commit(), 9)
    bench.ask(m.JoinGroupRequest("g", 10_000, 10_000, "x", None, "consumer"), 9)
    assert bench.broker.chance == before
    protocols = (m.JoinGroupRequestProtocol("range", b""),)
    first, second = (bench.ask(m.JoinGroupRequest("g", 10_000, 10_000, "", None, "consumer", protocols), 9).member_id for _ in range(2))
    assert first != second and first.startswith("test-") and bench.broker.chance.draws == before.draws + 2


@pytest.mark.rule("GROUP-MEMBER-9")
def test_a_member_is_told_of_with_the_host_of_its_request() -> None:
    bench = led("t")
    protocols = (m.JoinGroupRequestProtocol("range", b""),)
    join = Request(99, 1, "test", 3, m.JoinGroupRequest("g", 10_000, 10_000, "", None, "consumer", protocols), broker.client_host("192.0.2.7"))
    bench.happens(join)
    (described,) = bench.ask(m.DescribeGroupsRequest(("g",)), 5).groups
    assert [member.client_host for member in described.members] == ["/192.0.2.7"]


@pytest.mark.rule("GROUP-MEMBER-9")
@pytest.mark.parametrize(("address", "host"), [("::1", "/0:0:0:0:0:0:0:1"), ("fe80::a0:ff%eth0", "/fe80:0:0:0:0:0:a0:ff%eth0")])
def test_an_address_is_written_as_java_writes_it(address: str, host: str) -> None:
    assert broker.client_host(address) == host


# Records that cannot be written


def not_stored(bench: Bench, event: Event, error: Error) -> tuple[Effect, ...]:
    """The effects of an event, whose records are not stored; the broker is the one after it."""
    after, effects = broker.step(bench.broker, event, bench.now)
    assert appends(effects)
    bench.broker, left = broker.not_stored(bench.broker, after, effects, appends(effects), event, error, bench.now)
    assert not appends(left)
    return left


@pytest.mark.rule("GROUP-RECORD-5", "GROUP-RECORD-6")
def test_a_request_that_cannot_be_written_did_not_happen() -> None:
    bench = led("t")
    bench.ask(commit(offset=5), 9)
    (reply,) = not_stored(bench, Request(99, 1, "test", 9, commit(offset=6)), Error.KAFKA_STORAGE_ERROR)
    assert isinstance(reply, Reply) and errors_in(reply.body) == {Error.NOT_COORDINATOR}
    assert committed(bench) == 5


@pytest.mark.rule("GROUP-RECORD-5", "GROUP-RECORD-6")
def test_groups_that_are_deleted_together_are_answered_for_partition_by_partition() -> None:
    bench = led("t", offsets_topic_num_partitions="2")
    for group in "gh":
        bench.ask(commit(group=group), 9)
    assert {name: partition_of(name, 2) for name in "ghi"} == {"g": 1, "h": 0, "i": 1}
    before, event = bench.broker, Request(99, 1, "test", 2, m.DeleteGroupsRequest(tuple("ghi")))
    after, effects = broker.step(before, event, bench.now)
    failed = [append for append in appends(effects) if append.partition == 1]
    bench.broker, (reply,) = broker.not_stored(before, after, effects, failed, event, Error.MESSAGE_TOO_LARGE, bench.now)
    assert isinstance(reply, Reply) and {one.group_id: one.error_code for one in reply.body.results} == {
        "g": Error.UNKNOWN_SERVER_ERROR,
        "h": Error.NONE,
        "i": Error.UNKNOWN_SERVER_ERROR,
    }
    assert set(bench.broker.groups.live) == {"g"} and set(bench.broker.groups.offsets) == {"g"}


@pytest.mark.rule("GROUP-RECORD-6")
def test_an_alarm_whose_records_cannot_be_written_rings_again() -> None:
    bench = led("t")
    (one,) = joined(bench, 1)
    assignment = (m.SyncGroupRequestAssignment(one, b"all"),)
    bench.ask(m.SyncGroupRequest("g", 1, one, None, "consumer", "range", assignment), 5)
    bench.now += 10_000
    before, alarm = bench.broker.groups, Alarm(Kind.SESSION, "g", one)
    assert not_stored(bench, Ring(alarm), Error.MESSAGE_TOO_LARGE) == (SetAlarm(alarm, bench.now + 500),)
    assert bench.broker.groups == before
    bench.happens(Ring(alarm))
    assert bench.broker.groups.live["g"].state is State.EMPTY


@pytest.mark.rule("GROUP-RECORD-6")
def test_a_topic_is_deleted_also_if_its_offsets_cannot_be_forgotten() -> None:
    bench = led("t")
    bench.ask(commit(), 9)
    before = bench.broker.groups
    effects = not_stored(bench, Request(99, 1, "test", 6, gone("t")), Error.MESSAGE_TOO_LARGE)
    assert "t" not in bench.broker.topics.by_name and bench.broker.groups == before
    assert [effect.body.responses[0].error_code for effect in effects if isinstance(effect, Reply)] == [0]


@pytest.mark.rule("LOG-APPEND-1")
def test_the_brokers_own_records_are_in_the_log_and_readers_are_woken() -> None:
    bench = led("t")
    topic_id = bench.id_of(OFFSETS_TOPIC)
    wanted = (m.FetchTopic(OFFSETS_TOPIC, topic_id, (m.FetchPartition(3, partition_max_bytes=1 << 20),)),)
    assert bench.send(m.FetchRequest(max_wait_ms=60_000, min_bytes=1, topics=wanted), 13) is None
    waiting = bench.tickets
    append = Append(topic_id, 3, ((b"key", None),))
    bench.broker, error, bench.effects = broker.stored(bench.broker, append, batch(), NOW)
    assert error is Error.NONE and bench.partition(OFFSETS_TOPIC, 3).log.high_watermark == 1
    assert bench.reply_to(waiting) is not None
    _, error, effects = broker.stored(bench.broker, append, batch(size_bytes=1 << 30), NOW)
    assert (error, effects) == (Error.MESSAGE_TOO_LARGE, ())


# The log of groups


@pytest.mark.rule("GROUP-RECORD-12")
def test_a_long_log_of_groups_is_written_anew_and_starts_there() -> None:
    bench = led("t", offsets_topic_segment_bytes="1048576")
    bench.ask(commit(offset=5), 9)
    bench.ask(commit(offset=6), 9)
    joined(bench, 1)
    bench.ask(commit(group="other"), 9)
    topic = bench.broker.topics.by_name[OFFSETS_TOPIC]
    index = partition_of("g", topic.partitions)
    for size_bytes in (1_000_000, 48_576):
        filled(bench, topic.topic_id, index, size_bytes)
        bench.happens(OffsetExpiry())
        assert bench.effects == ()
    filled(bench, topic.topic_id, index, 1)
    bench.happens(OffsetExpiry())
    append, trim = bench.effects
    assert isinstance(append, Append) and trim == Trim(topic.topic_id, index, 3)
    durable = Groups()
    for key, content in append.records:
        durable = group_requests.evolve(durable, group_records.decoded(key, content))
    assert durable.offsets == bench.broker.groups.offsets.delete("other")
    after, _, _ = broker.stored(bench.broker, append, batch(len(append.records)), NOW)
    assert broker.trimmed(after, trim).partitions[topic.topic_id, index].log.start == 3


def filled(bench: Bench, topic_id: bytes, index: int, size_bytes: int) -> None:
    """The log of a partition with one more batch of this size."""
    bench.broker, error, _ = broker.stored(bench.broker, Append(topic_id, index, ()), batch(size_bytes=size_bytes), NOW)
    assert error is Error.NONE


@pytest.mark.rule("GROUP-RECORD-12")
def test_a_log_with_records_of_others_is_left_as_it_is() -> None:
    bench = led("t", offsets_topic_segment_bytes="1048576")
    bench.ask(commit(), 9)
    index = partition_of("g", 50)
    for size_bytes in (1_000_000, 100_000):
        filled(bench, bench.id_of(OFFSETS_TOPIC), index, size_bytes)
    kept = bench.broker
    bench.broker = changed(kept, groups=changed(kept.groups, shared=frozenset({index})))
    bench.happens(OffsetExpiry())
    assert bench.effects == ()
    bench.broker = changed(kept, groups=changed(kept.groups, shared=frozenset({index + 1})))
    bench.happens(OffsetExpiry())
    assert list(map(type, bench.effects)) == [Append, Trim]


@pytest.mark.rule("GROUP-RECORD-12")
def test_a_log_of_groups_is_not_written_anew_for_little() -> None:
    bench = led("t", offsets_topic_segment_bytes="1048576", offset_metadata_max_bytes="1000000")
    topic_id = bench.broker.topics.by_name[OFFSETS_TOPIC].topic_id
    partitions = (m.OffsetCommitRequestPartition(0, 1, -1, "x" * 600_000),)
    bench.ask(m.OffsetCommitRequest("g", topics=(m.OffsetCommitRequestTopic("t", partitions=partitions),)), 9)
    filled(bench, topic_id, partition_of("g", 50), 1_000_000)
    filled(bench, topic_id, partition_of("g", 50), 200_000)
    bench.happens(OffsetExpiry())
    assert bench.effects == ()
    filled(bench, topic_id, partition_of("g", 50), 1_000)
    bench.happens(OffsetExpiry())
    assert list(map(type, bench.effects)) == [Append, Trim]


@pytest.mark.rule("GROUP-RECORD-6", "GROUP-RECORD-12")
def test_a_log_of_groups_that_cannot_be_written_anew_is_not_shortened() -> None:
    bench = led("t", offsets_topic_segment_bytes="1048576")
    bench.ask(commit(), 9)
    filled(bench, bench.id_of(OFFSETS_TOPIC), partition_of("g", 50), 1_000_000)
    filled(bench, bench.id_of(OFFSETS_TOPIC), partition_of("g", 50), 100_000)
    assert not_stored(bench, OffsetExpiry(), Error.KAFKA_STORAGE_ERROR) == ()


@pytest.mark.rule("GROUP-RECORD-4", "GROUP-RECORD-13")
def test_records_of_a_group_that_lies_elsewhere_by_now_are_older() -> None:
    at = {partition_of("g", 3): 6, (partition_of("g", 3) + 1) % 3: 5}  # where it lies, and where it lay
    of = {index: [OffsetCommitted("g", "t", 0, CommittedOffset(offset))] for index, offset in at.items()}
    found = group_requests.found([(of.get(index, []), False) for index in range(3)])
    assert found.offsets["g"]["t", 0].offset == 6 and found.scattered
    assert not group_requests.found([(of[index] if index == partition_of("g", 3) else [], False) for index in range(3)]).scattered
    assert group_requests.found([([], True), ([], False)]).shared == {0}


# A topic of offsets that grows


class Logs:
    """What the logs of the topic of offsets hold, as a start reads them."""

    def __init__(self) -> None:
        self.records: dict[int, list[Any]] = {}

    def take(self, effects: Sequence[Effect]) -> None:
        """What is appended; then logs start behind what they had."""
        lengths = {index: len(records) for index, records in self.records.items()}
        for append in appends(tuple(effects)):
            self.records.setdefault(append.partition, []).extend(group_records.decoded(*record) for record in append.records)
        for trim in [effect for effect in effects if isinstance(effect, Trim)]:
            del self.records.get(trim.partition, [])[: lengths.get(trim.partition, 0)]

    def found(self, partitions: int, others: frozenset[int] = frozenset()) -> Groups:
        """What a start finds, of so many partitions; these have something else too."""
        return group_requests.found([(self.records.get(index, []), index in others) for index in range(partitions)])


def grow(count: int) -> m.CreatePartitionsRequest:
    """The topic of offsets gets more partitions."""
    return m.CreatePartitionsRequest((m.CreatePartitionsTopic(OFFSETS_TOPIC, count, None),), 60_000, False)


def moving(group: str, partitions: int) -> int:
    """With how many partitions the group lies in another one, of those that there are."""
    return next(count for count in range(partitions + 1, 1_000) if partition_of(group, count) not in (partition_of(group, partitions), *range(partitions, count)))


@pytest.mark.rule("GROUP-RECORD-13")
def test_groups_are_written_where_they_lie_once_there_are_more_partitions() -> None:
    bench, logs = led("t"), Logs()
    for group in "gh":
        bench.ask(commit(group=group), 9)
        logs.take(bench.effects)
    bench.ask(m.DeleteGroupsRequest(("h",)), 2)
    logs.take(bench.effects)
    count = moving("g", 50)
    assert bench.ask(grow(count), 3).results[0].error_code == 0
    logs.take(bench.effects)
    assert {index: len(records) for index, records in logs.records.items() if records} == {partition_of("g", count): 1}
    assert {effect.partition for effect in bench.effects if isinstance(effect, Trim)} == set(range(count))
    assert isinstance(bench.effects[-1], Reply)
    assert logs.found(count).offsets == bench.broker.groups.offsets and not logs.found(count).scattered and not bench.broker.groups.scattered
    bench.ask(m.CreatePartitionsRequest((m.CreatePartitionsTopic("t", 5, None),), 60_000, False), 3)
    assert not appends(bench.effects) and not [effect for effect in bench.effects if isinstance(effect, Trim)]


@pytest.mark.rule("GROUP-RECORD-6", "GROUP-RECORD-13")
def test_groups_that_cannot_be_written_where_they_lie_are_so_at_the_next_look_at_all_logs() -> None:
    bench = led("t")
    bench.ask(commit(), 9)
    before = bench.broker.groups
    left = not_stored(bench, Request(99, 1, "test", 3, grow(moving("g", 50))), Error.KAFKA_STORAGE_ERROR)
    assert [effect.body.results[0].error_code for effect in left if isinstance(effect, Reply)] == [0]
    assert not [effect for effect in left if isinstance(effect, Trim)]
    assert bench.broker.groups == changed(before, scattered=True)
    assert not [effect for effect in not_stored(bench, OffsetExpiry(), Error.KAFKA_STORAGE_ERROR) if isinstance(effect, Trim)]
    assert bench.broker.groups.scattered
    bench.happens(OffsetExpiry())
    assert len(appends(bench.effects)) == 1 and bench.broker.groups == before
    bench.happens(OffsetExpiry())
    assert bench.effects == ()


@pytest.mark.rule("GROUP-RECORD-13", "GROUP-RECORD-14")
def test_where_a_log_has_records_of_others_none_is_made_short_while_groups_are_scattered() -> None:
    bench = led("t", offsets_topic_segment_bytes="1048576")
    bench.ask(commit(), 9)
    bench.broker = changed(bench.broker, groups=changed(bench.broker.groups, shared=frozenset({7}), scattered=True))
    for size_bytes in (1_048_576, 1):
        filled(bench, bench.id_of(OFFSETS_TOPIC), partition_of("g", 50), size_bytes)
    bench.happens(OffsetExpiry())
    assert bench.effects == () and bench.broker.groups.scattered


@pytest.mark.rule("GROUP-RECORD-13")
def test_what_was_forgotten_after_a_move_that_a_crash_cut_short_stays_so() -> None:
    bench, logs = led("t", offsets_topic_segment_bytes="1048576"), Logs()
    bench.ask(commit(), 9)
    logs.take(bench.effects)
    count = moving("g", 50)
    bench.ask(grow(count), 3)
    bench.broker, _ = restarted(changed(bench.broker, groups=logs.found(count)), NOW, bench.broker.partitions)
    bench.ask(m.DeleteGroupsRequest(("g",)), 2)
    logs.take(bench.effects)
    for size_bytes in (1_048_576, 1):
        filled(bench, bench.id_of(OFFSETS_TOPIC), partition_of("g", count), size_bytes)
    bench.happens(OffsetExpiry())
    logs.take(bench.effects)
    assert logs.found(count) == Groups()


@pytest.mark.rule("GROUP-RECORD-14")
@pytest.mark.parametrize("why", [{"scattered": True}, {"shared": frozenset({7})}])
def test_the_topic_of_offsets_does_not_grow_where_groups_cannot_move(why: dict[str, Any]) -> None:
    bench = led("t")
    bench.broker = changed(bench.broker, groups=changed(bench.broker.groups, **why))
    falls_through(lambda: (bench.refused(grow(51), 3), bench.ask(grow(51), 3).results[0].error_code), ("GROUP-RECORD-14", Error.INVALID_REQUEST))
    assert bench.ask(m.CreatePartitionsRequest((m.CreatePartitionsTopic("t", 2, None),), 60_000, False), 3).results[0].error_code == 0


#: Each lies in one partition or another, by how many there are.
GROUPS = "abc"
#: What happens to a group: a commit, its end, more partitions, expiry's look at its log, which is long; and how a mishap cuts that short.
HAPPENINGS = st.tuples(
    st.sampled_from(["commit", "delete", "grow", "look"]),
    st.sampled_from(GROUPS),
    st.sampled_from([None, None, None, ("cut", 0), ("cut", 1), ("fails", 0), ("fails", 1)]),
)


@pytest.mark.rule("GROUP-RECORD-4", "GROUP-RECORD-12", "GROUP-RECORD-13", "GROUP-RECORD-14")
@given(st.lists(HAPPENINGS, max_size=10), st.sampled_from([frozenset[int](), frozenset({1})]))
@settings(max_examples=400, deadline=None)
def test_wherever_groups_lie_by_now_a_start_finds_what_counts(happenings: list[tuple[str, str, tuple[str, int] | None]], others: frozenset[int]) -> None:
    bench, logs = led("t", offsets_topic_num_partitions="2", offsets_topic_segment_bytes="1048576"), Logs()
    bench.broker = changed(bench.broker, groups=changed(bench.broker.groups, shared=others))
    for number, (what, group, mishap) in enumerate(happenings):
        partitions = bench.broker.topics.by_name[OFFSETS_TOPIC].partitions
        event: Event = OffsetExpiry()
        match what:
            case "commit":
                event = Request(number, 1, "test", 9, commit(offset=number, group=group))
            case "delete":
                event = Request(number, 1, "test", 2, m.DeleteGroupsRequest(tuple(GROUPS) if group == "c" else (group,)))
            case "grow":
                event = Request(number, 1, "test", 3, grow(partitions + 1 + number % 3))
            case "look":
                for size_bytes in (1_048_576, 1):
                    filled(bench, bench.id_of(OFFSETS_TOPIC), partition_of(group, partitions), size_bytes)
        happens(bench, logs, event, mishap)
        again = logs.found(bench.broker.topics.by_name[OFFSETS_TOPIC].partitions, others)
        if mishap is not None and mishap[0] == "cut":
            bench.broker, _ = restarted(changed(bench.broker, groups=again), NOW, bench.broker.partitions)
        assert (again.saved, again.offsets) == (bench.broker.groups.saved, bench.broker.groups.offsets)


def happens(bench: Bench, logs: Logs, event: Event, mishap: tuple[str, int] | None) -> None:
    """An event. A crash after some of its appends cuts it short, or one of these cannot be written."""
    before = bench.broker
    bench.happens(event)
    own = appends(bench.effects)
    match mishap:
        case ("cut", after) if after < len(own):
            logs.take(own[:after])
        case ("fails", at) if at < len(own):
            bench.broker, left = broker.not_stored(before, bench.broker, bench.effects, [own[at]], event, Error.MESSAGE_TOO_LARGE, bench.now)
            logs.take([*own[:at], *own[at + 1 :], *left])
        case _:
            logs.take(bench.effects)


# Settings and restarts


@pytest.mark.rule("WIRE-CONFIG-7")
def test_settings_of_groups_have_kafkas_names() -> None:
    assert parse({}).groups == GroupConfig()
    given = {
        "group.min.session.timeout.ms": "1",
        "group.max.session.timeout.ms": "2",
        "group.max.size": "3",
        "group.initial.rebalance.delay.ms": "4",
        "offset.metadata.max.bytes": "5",
        "offsets.retention.minutes": "6",
    }
    assert parse(given).groups == GroupConfig(1, 2, 3, 4, 5, 360_000)
    rest = parse({"offsets.retention.check.interval.ms": "7", "offsets.topic.num.partitions": "8", "offsets.topic.segment.bytes": "9000000"})
    assert (rest.offsets_retention_check_interval_ms, rest.offsets_topic_num_partitions, rest.offsets_topic_segment_bytes) == (7, 8, 9_000_000)
    assert parse({}).offsets_retention_check_interval_ms == 600_000


@pytest.mark.rule("GROUP-RECORD-2", "LOG-RESTART-10")
def test_groups_are_there_again_after_a_restart_with_an_alarm_for_each_member() -> None:
    bench = led("t")
    (one,) = joined(bench, 1)
    bench.ask(m.SyncGroupRequest("g", 1, one, None, "consumer", "range", (m.SyncGroupRequestAssignment(one, b"all"),)), 5)
    kept = changed(bench.broker, groups=changed(bench.broker.groups, live=EMPTY))
    again, alarms = restarted(kept, NOW + 5, bench.broker.partitions)
    assert again.groups.live["g"].state is State.STABLE
    assert alarms == (SetAlarm(Alarm(Kind.SESSION, "g", one), NOW + 10_005),)
