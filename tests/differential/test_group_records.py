"""Apache Kafka as referee of what is durable of groups: what it writes down in random histories, and what it finds of that after a restart.

One story: random histories, each of a group of its own; Kafka is stopped; partitions of `__consumer_offsets` that no group used are given records that
nobody writes; Kafka is started again, and is asked for everything. What it wrote must be the model's records, in the same order, but for what is each
one's own to say; and what it answers must be what comes of its records when they are read as here.
"""

from __future__ import annotations

import base64
import json
import re
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count, groupby
from pathlib import Path
from random import Random
from typing import Any

import pytest
from conftest import not_run
from fastpath.folders import NOW, Connected, stored
from group_bench import Coordinator
from peers.kafka import Kafka, PeerUnavailable, java_tool

from differential.campaign import requests_given, seed_given
from differential.groups import Connection, differences
from differential.test_groups import LONG_MS, SETTINGS, History, OtherLeader
from fiducial.fastpath.batch import batches, encode
from fiducial.models import group_requests
from fiducial.models import messages as m
from fiducial.models.errors import Error
from fiducial.models.group_offsets import NO_EXPIRY, CommittedOffset, OffsetCommitted, OffsetForgotten
from fiducial.models.group_records import decoded, encoded
from fiducial.models.group_requests import Groups, partition_of
from fiducial.models.groups import Asked, GroupForgotten, GroupMetadata, State
from fiducial.models.topics import Topics
from fiducial.models.values import ZERO_UUID, changed

REQUESTS = requests_given(1_000, 30_000)
#: Short ones: in long ones most members wait.
LENGTH = 30
PARTITIONS, OF_HISTORIES = 50, 10  # the others are for odd records
RANGE = "0005" + b"range".hex()
#: Kind of key and value of records that nobody writes, or that nobody can read; behind each stands an offset as it is written.
ODD: dict[str, tuple[int, str | None]] = {
    "an offset of the first kind": (0, "0000" + "0000000000000005" + "00016d" + "0000018bcfe56800"),
    "an offset of the first kind, version 1": (0, "0001" + "0000000000000005" + "00016d" + "0000018bcfe56800" * 2),
    "a tombstone of the first kind": (0, None),
    **{f"an offset of version {version}": (1, f"{version:04x}" + "00" * 8 + ("00000007" if version == 3 else "") + "00016d" + "0000018bcfe56800" * 2) for version in range(4)},
    "an offset of version 5": (1, "0005" + "00" * 12 + "01" + "00" * 8 + "00"),
    "an offset of version -1": (1, "ffff" + "00" * 18),
    "an offset cut short": (1, "0000" + "0000000000000005" + "00016d" + "0000018bcfe568"),
    "an offset with null metadata": (1, "0003" + "00" * 12 + "ffff" + "00" * 8),
    "an offset whose metadata is no UTF-8": (1, "0003" + "00" * 12 + "0001ff" + "00" * 8),
    "an offset with a tag twice": (1, "0004" + "00" * 12 + "01" + "00" * 8 + "02" + "0701ff" + "0702ffff"),
    "an offset with a short topic id": (1, "0004" + "00" * 12 + "01" + "00" * 8 + "01000f" + "00" * 15),
    "an offset with long metadata": (1, "0004" + "00" * 12 + "818002" + "61" * 33000),
    "an offset with an endless varint": (1, "0004" + "00" * 12 + "808080808001"),
    "an offset of nothing": (1, ""),
    **{f"a kind of key to come, {kind}": (kind, "0000") for kind in (-1, 9, 18, 99)},
    **{f"an empty group of version {version}": (2, f"{version:04x}" + "0001" + b"x".hex() + "00000003" + "ffff" * 2 + "00" * 8 * (version > 1) + "00" * 4) for version in range(4)},
    "an empty group of version 4": (2, "0004" + "02" + b"x".hex() + "00000003" + "0000" + "00" * 8 + "01" + "00"),
    "a group without the last tags": (2, "0004" + "02" + b"x".hex() + "00000003" + "0000" + "00" * 8 + "01"),
    "a group of version 5": (2, "0005" + "02" + b"x".hex() + "00000003" + "0000" + "00" * 8 + "01" + "00"),
    "a group with members null": (2, "0003" + "0000" + "00000000" + "ffff" * 2 + "00" * 8 + "ffffffff"),
    "a member of version 0": (2, "0000" + "0001" + b"x".hex() + "00000003" + RANGE + "0000" + "00000001" + "0001" + b"a".hex() + "0000" * 2 + "000dbba0" + "00" * 8),
}  # fmt: skip


@dataclass
class Story:
    """Histories; what Kafka wrote of them; and the answers after its second start."""

    histories: list[History] = field(default_factory=list)
    written: list[tuple[bytes | None, bytes | None]] = field(default_factory=list)
    cut: int = 0
    odd: dict[str, str] = field(default_factory=dict)  # what is odd → a group of the partition that has it
    answers: dict[str, tuple[Any, Any]] = field(default_factory=dict)  # group → what is said of its offsets, and of itself
    listed: Any = None

    def records(self) -> Iterator[Any]:
        """What Kafka wrote."""
        for key, value in self.written:
            yield decoded(key, value)


class Writing(History):
    """A history that commits what is mostly accepted, in every version, and tells the model which time to live it named."""

    def commit(self, member_id: str, instance: str | None, generation: int) -> tuple[Any, int]:
        name, index = self.random.choice([("t", 0), ("t", 1), ("u", 0)])
        version = self.random.choice([7, 8, 9] if instance is not None else [2, 3, 4, 5, 6, 7, 8, 9])
        retention_ms = LONG_MS if version <= 4 and self.random.random() < 0.7 else -1
        epoch = self.random.choice([-1, 0, 3]) if version >= 6 else -1
        partition = m.OffsetCommitRequestPartition(index, self.random.randrange(50), epoch, self.random.choice(["", "m", None, "é" * 100]))
        topics = (m.OffsetCommitRequestTopic(name, ZERO_UUID, (partition,)),)
        generation = -1 if self.model.group(self.group_id).state in (State.EMPTY, State.DEAD) else generation
        return m.OffsetCommitRequest(self.group_id, generation, member_id, instance, retention_ms, topics), version


def named(partition: int) -> str:
    """A group of a partition."""
    return next(name for number in count() if partition_of(name := f"odd{number}", PARTITIONS) == partition)


def history_told(number: int, address: tuple[str, int]) -> tuple[History, bool]:
    """A history, and whether it was told to the end."""
    group_id = next(name for part in count() if partition_of(name := f"g{number}-{part}", PARTITIONS) < OF_HISTORIES)
    with ExitStack() as stack:
        told = Writing(group_id, Random(number), address, stack)
        try:
            for _ in range(LENGTH):
                told.take()
        except OtherLeader:
            return told, False
    return told, True


def odd_batch(group_id: str, kind: int, value: str | None) -> bytes:
    """A record of this kind of key, and an offset."""
    last = OffsetCommitted(group_id, "u", 1, CommittedOffset(99, 3, "last", NOW))
    key = struct.pack(">hh", kind, len(group_id)) + group_id.encode() + (b"\0\1t\0\0\0\0" if kind < 2 else b"")
    odd = key, None if value is None else bytes.fromhex(value)
    return encode([(NOW, *odd), (NOW, *encoded(last))], leader_epoch=0)


def asked(connection: Connection, group_id: str) -> tuple[Any, Any]:
    """Everything of a group."""
    everything = m.OffsetFetchRequest(groups=(m.OffsetFetchRequestGroup(group_id, topics=None),))
    while (offsets := connection.ask(everything, 9).groups[0]).error_code.value == Error.COORDINATOR_LOAD_IN_PROGRESS:
        time.sleep(0.1)
    return offsets, connection.ask(m.DescribeGroupsRequest((group_id,)), 5).groups[0]


def await_coordinators(connection: Connection) -> None:
    """Until every partition that is whole has one."""
    while connection.ask(m.FindCoordinatorRequest("g", 0), 3).error_code.value != Error.NONE:
        time.sleep(0.1)
    for partition in range(OF_HISTORIES):
        while connection.ask(m.HeartbeatRequest(named(partition), 1, "nobody"), 3).error_code.value != Error.UNKNOWN_MEMBER_ID:
            time.sleep(0.1)


def told(kafka: Kafka) -> Story:
    """The whole story."""
    story, address = Story(), (kafka.host, kafka.port)
    with Connection(*address) as connection:
        connection.ask(m.CreateTopicsRequest((m.CreatableTopic("t", 2, 1), m.CreatableTopic("u", 2, 1)), 10_000), 7)
        await_coordinators(connection)
    for number in count(seed_given(1)):
        history, is_whole = history_told(number, address)
        story.histories.append(history)
        story.cut += not is_whole
        if sum(one.counts.total() for one in story.histories) >= REQUESTS:
            break
    broker = Connected(*address)
    for partition in range(OF_HISTORIES):
        story.written += [(record.key, record.value) for batch in batches(stored(broker, "__consumer_offsets", partition)) for record in batch.records()]
    kafka.shut_down()
    for partition, (what, odd) in enumerate(ODD.items(), OF_HISTORIES):
        story.odd[what] = named(partition)
        (kafka.data_path / f"__consumer_offsets-{partition}" / f"{0:020}.log").write_bytes(odd_batch(story.odd[what], *odd))
    kafka.launch()
    with Connection(*address) as connection:
        await_coordinators(connection)
        for group_id in (*(one.group_id for one in story.histories), *story.odd.values()):
            story.answers[group_id] = asked(connection, group_id)
        story.listed = connection.ask(m.ListGroupsRequest(), 5)
    return story


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    """The story."""
    try:
        with Kafka(**SETTINGS | {"offsets.topic.num.partitions": str(PARTITIONS)}) as kafka:
            yield told(kafka)
    except PeerUnavailable as reason:
        not_run(f"Apache Kafka: {reason}")


# What it writes


def test_what_apache_kafka_writes_is_written_here_in_the_same_bytes(story: Story) -> None:
    assert [encoded(decoded(key, value)) for key, value in story.written] == story.written
    kinds = [type(record).__name__ for record in story.records()]
    assert {kind: kinds.count(kind) > 2 for kind in set(kinds)} == dict.fromkeys(("GroupForgotten", "GroupMetadata", "OffsetCommitted", "OffsetForgotten"), True)


def without_own(record: Any, names: dict[str, str]) -> Any:
    """A record without times and ids of topics, and with the model's member ids. The order of members is no matter."""
    match record:
        case OffsetCommitted(_, _, _, committed):
            expires_in = committed.expire_ms - committed.commit_ms if committed.expire_ms != NO_EXPIRY else NO_EXPIRY
            return changed(record, committed=changed(committed, commit_ms=0, expire_ms=expires_in, topic_id=ZERO_UUID))
        case GroupMetadata(leader=leader, members=members):
            renamed = [changed(one, member_id=names.get(one.member_id, one.member_id)) for one in members]
            leader = leader and names.get(leader, leader)
            return changed(record, since_ms=0, leader=leader, members=tuple(sorted(renamed, key=lambda one: one.member_id)))
    return record


def in_order(records: Iterable[Any]) -> list[Any]:
    """The records; in which order the offsets of a deleted group are forgotten is no matter."""
    runs = groupby(records, type)
    return [one for kind, run in runs for one in (sorted(run, key=lambda one: (one.topic, one.partition)) if kind is OffsetForgotten else run)]


@pytest.mark.rule("GROUP-RECORD-1", "GROUP-RECORD-3")
def test_apache_kafka_writes_the_records_of_the_model(story: Story) -> None:
    compared = 0
    theirs = list(story.records())
    for history in story.histories:
        kafka = in_order(without_own(one, history.names) for one in theirs if one.group_id == history.group_id)
        model = in_order(without_own(one, {}) for one in history.model.records)
        assert kafka == model, history.told()
        compared += len(kafka)
    assert compared == len(theirs) > 80


# What it finds after a restart

#: Kafka makes a group of each offset that it reads, also of one that is forgotten further on, and keeps it.
HAD_OFFSETS = ".group_state: Kafka says 'Empty', the model 'Dead'"


def found_here(group_id: str, records: Iterator[Any]) -> tuple[Any, Any]:
    """What the model says of a group after a restart on these records."""
    groups = Groups()
    for record in records:
        groups = group_requests.evolve(groups, record) if record is not None else groups
    groups, _ = group_requests.restarted(groups, NOW)
    named_all = m.OffsetFetchRequest(groups=(m.OffsetFetchRequestGroup(group_id, topics=None),))
    offsets, _ = group_requests.read(groups, Asked(1, 9, group_id, named_all), Topics())
    described, _ = group_requests.read(groups, Asked(1, 5, group_id, m.DescribeGroupsRequest((group_id,))), Topics())
    return offsets.groups[0], described.groups[0]


@pytest.mark.rule("GROUP-RECORD-2", "GROUP-RECORD-4", "GROUP-STATIC-1")
def test_after_a_restart_apache_kafka_finds_what_the_model_finds_in_its_records(story: Story) -> None:
    states = set()
    for history in story.histories:
        records = [one for one in story.records() if one.group_id == history.group_id]
        here = found_here(history.group_id, iter(records))
        names = dict(zip(history.names, history.names, strict=True))
        offsets, described = (list(differences(*both, names)) for both in zip(story.answers[history.group_id], here, strict=True))
        if here[1].group_state == "Dead" and any(isinstance(one, OffsetCommitted) for one in records):
            described = [one for one in described if one != HAD_OFFSETS]
        assert not offsets + described, history.told()
        states.add(here[1].group_state)
    assert states >= {"Stable", "Empty"}


@pytest.mark.rule("GROUP-RECORD-10", "GROUP-RECORD-11")
@pytest.mark.parametrize("what", ODD)
def test_a_record_that_nobody_writes_is_read_as_apache_kafka_reads_it(story: Story, what: str) -> None:
    group_id = story.odd[what]
    answers = story.answers[group_id]
    try:
        records = [decoded(record.key, record.value) for batch in batches(odd_batch(group_id, *ODD[what])) for record in batch.records()]
    except ValueError:
        assert [one.error_code.value for one in answers] == [Error.NOT_COORDINATOR] * 2
        return
    for kafka, model in zip(answers, found_here(group_id, iter(records)), strict=True):
        assert not list(differences(kafka, model, {}))


# Kafka's own tool


def as_the_tool_says(record: Any) -> tuple[Any, Any]:
    """Key and value, in the names of Apache Kafka."""
    match record:
        case OffsetCommitted(group_id, topic, partition, one):
            told = {"offset": one.offset, "metadata": one.metadata, "commitTimestamp": one.commit_ms}
            if one.expire_ms != NO_EXPIRY:
                told |= {"expireTimestamp": one.expire_ms}
            else:
                told |= {"leaderEpoch": one.leader_epoch}
                told |= {"topicId": base64.urlsafe_b64encode(one.topic_id).decode().rstrip("=")} if one.topic_id != ZERO_UUID else {}
            return {"type": "1", "data": {"group": group_id, "topic": topic, "partition": partition}}, {"version": "1" if "expireTimestamp" in told else "4", "data": told}
        case OffsetForgotten(group_id, topic, partition):
            return {"type": "1", "data": {"group": group_id, "topic": topic, "partition": partition}}, None
        case GroupForgotten(group_id):
            return {"type": "2", "data": {"group": group_id}}, None
    members = [
        {
            "memberId": one.member_id,
            "groupInstanceId": one.instance_id,
            "clientId": one.client_id,
            "clientHost": one.client_host,
            "rebalanceTimeout": one.rebalance_timeout_ms,
            "sessionTimeout": one.session_timeout_ms,
            "subscription": base64.b64encode(one.subscription).decode(),
            "assignment": base64.b64encode(one.assignment).decode(),
        }
        for one in record.members
    ]
    group = {
        "protocolType": record.protocol_type or "",
        "generation": record.generation,
        "protocol": record.protocol,
        "leader": record.leader,
        "currentStateTimestamp": record.since_ms,
        "members": members,
    }
    return {"type": "2", "data": {"group": record.group_id}}, {"version": "3", "data": group}


def recorded() -> list[Any]:
    """The records of a group that comes and goes, and of one of offsets alone. What consumers subscribe, the tool would show in parts."""
    c = Coordinator()
    members = c.stable(others=1, instance="i", kind="connect")
    assert c.commit(5, members[0], 1, epoch=3, metadata="m") == 0
    c.leave(*members)
    assert c.commit(7, group="simple", version=4, retention=1000) == 0
    assert c.commit(8, group="simple", topic="u", metadata='"\\') == 0
    c.records.append(OffsetCommitted("simple", "no-id", 0, CommittedOffset(9)))
    assert c.delete("g", "simple") == [0, 0]
    return c.records


@pytest.mark.rule("GROUP-RECORD-7", "GROUP-RECORD-8", "GROUP-RECORD-9")
def test_apache_kafka_s_own_tool_reads_what_is_written_here(tmp_path: Path) -> None:
    records = recorded()
    assert len(records) > 8
    folder = tmp_path / "__consumer_offsets-0"
    folder.mkdir()
    (folder / f"{0:020}.log").write_bytes(encode([(NOW, *encoded(one)) for one in records], leader_epoch=0))
    try:
        done = java_tool("org.apache.kafka.tools.DumpLogSegments", "--offsets-decoder", "--files", str(folder / f"{0:020}.log"))
    except PeerUnavailable as reason:
        not_run(f"Apache Kafka: {reason}")
    assert done.returncode == 0 and not done.stderr
    said = re.findall(r"^\| offset: .* key: (\{.*\}) payload: (.*)$", done.stdout, re.MULTILINE)
    found = [(json.loads(key), None if payload == "<DELETE>" else json.loads(payload)) for key, payload in said]
    assert found == [as_the_tool_says(one) for one in records]
