"""Offsets of a group, and what is told of groups: rule by rule; who may commit when is in the table of `test_groups`."""

from __future__ import annotations

from typing import Any

import pytest
from group_bench import SESSION_MS, T_ID, U_ID, Coordinator, subscription
from samples import NOW

from fiducial.models import group_requests
from fiducial.models.errors import Error
from fiducial.models.group_offsets import CommittedOffset, OffsetCommitted, OffsetForgotten
from fiducial.models.group_requests import Groups, coordinators, partition_of
from fiducial.models.groups import Asked, GroupForgotten, GroupMetadata, State, topics_in
from fiducial.models.messages import (
    DeleteGroupsRequest,
    DescribeGroupsRequest,
    LeaveGroupRequest,
    ListGroupsRequest,
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetDeleteRequest,
    OffsetDeleteRequestPartition,
    OffsetDeleteRequestTopic,
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopic,
    OffsetFetchRequestTopics,
)
from fiducial.models.state import Cluster
from fiducial.models.values import EMPTY, ZERO_UUID

DAY_MS = 86_400_000
WEEK_MS = 7 * DAY_MS
NO_TOPIC, NO_ID, TOO_LONG, REBALANCING = 3, 100, 12, 27
NOTHING = (-1, -1, "", 0)


def fetch(c: Coordinator, *wanted: tuple[str, int], version: int = 7, group: str = "g") -> list[tuple[Any, ...]]:
    """(offset, leader epoch, metadata, error) of partitions by name; of all that is committed, with topic and partition before it, if none is named."""
    topics = tuple(OffsetFetchRequestTopic(name, (index,)) for name, index in wanted) or None
    answer = c.ask(OffsetFetchRequest(group, topics), version)
    assert answer.error_code == 0
    found = [(topic.name, one) for topic in answer.topics for one in topic.partitions]
    told = [(name, one.partition_index, one.committed_offset, one.committed_leader_epoch, one.metadata, one.error_code) for name, one in found]
    return told if topics is None else [one[2:] for one in told]


def delete(c: Coordinator, *wanted: tuple[str, int], group: str = "g") -> Any:
    """The answer to an OffsetDelete."""
    topics = tuple(OffsetDeleteRequestTopic(name, (OffsetDeleteRequestPartition(index),)) for name, index in wanted)
    return c.ask(OffsetDeleteRequest(group, topics), 0)


def commit_request(*partitions: tuple[str, int, str], generation: int = -1, member_id: str = "") -> OffsetCommitRequest:
    """Offset 1, with metadata, for each (topic, partition, metadata)."""
    topics = tuple(OffsetCommitRequestTopic(name, ZERO_UUID, (OffsetCommitRequestPartition(index, 1, -1, metadata),)) for name, index, metadata in partitions)
    return OffsetCommitRequest("g", generation, member_id, topics=topics)


def errors_of(answer: Any) -> list[int]:
    """Partition by partition."""
    return [one.error_code for topic in answer.topics for one in topic.partitions]


# OffsetCommit


@pytest.mark.rule("GROUP-COMMIT-1", "GROUP-COMMIT-3", "GROUP-OFFSET-1")
def test_offsets_alone_make_a_group() -> None:
    c = Coordinator()
    assert c.commit(5, "anybody", instance="any") == 0
    assert (c.group().state, c.group().protocol_type, c.group().generation) == (State.EMPTY, None, 0)
    assert fetch(c, ("t", 0), ("t", 1)) == [(5, -1, "", 0), NOTHING]
    assert c.commit(4, "another") == 0 and c.commit(6, "another", 0) == 25
    assert fetch(c, ("t", 0)) == [(4, -1, "", 0)]
    assert c.records == [OffsetCommitted("g", "t", 0, CommittedOffset(offset, -1, "", NOW, -1, T_ID)) for offset in (5, 4)]


@pytest.mark.rule("GROUP-COMMIT-2")
@pytest.mark.parametrize(("version", "error"), [(8, 22), (9, 69)])
def test_a_generation_of_no_group_is_refused(version: int, error: int) -> None:
    c = Coordinator()
    assert c.commit(5, "X", 0, version=version) == error
    assert c.replies[c.tickets].rules == ("GROUP-COMMIT-2",) and c.groups == Groups()


@pytest.mark.rule("GROUP-COMMIT-4", "GROUP-COMMIT-7")
def test_a_partition_is_named_by_topic_id_from_v10_on() -> None:
    c = Coordinator()
    assert c.commit(5, version=10, topic="", topic_id=U_ID) == 0
    assert fetch(c, ("u", 0)) == [(5, -1, "", 0)]
    assert c.commit(5, version=10, topic="", topic_id=bytes([9]) * 16) == NO_ID
    assert c.commit(5, version=10, topic="t", topic_id=ZERO_UUID) == NO_ID
    assert c.replies[c.tickets].rules == ("GROUP-COMMIT-4",)
    assert c.commit(5, version=10, topic="", topic_id=U_ID, index=2) == NO_TOPIC
    assert c.records[0].committed.topic_id == U_ID


@pytest.mark.rule("GROUP-COMMIT-7", "GROUP-COMMIT-8")
@pytest.mark.parametrize(("topic", "index"), [("v", 0), ("t", 2), ("t", -1), ("", 0)])
def test_what_does_not_exist_is_refused_and_makes_no_group(topic: str, index: int) -> None:
    c = Coordinator()
    assert c.commit(5, topic=topic, index=index) == NO_TOPIC
    assert c.groups == Groups()


@pytest.mark.rule("GROUP-COMMIT-8")
def test_the_partitions_are_looked_at_before_the_group() -> None:
    c = Coordinator()
    (a,) = c.stable()
    body = commit_request(("v", 0, ""), ("t", 0, ""), ("t", 7, ""), ("t", 1, ""), generation=9, member_id=a)
    assert errors_of(c.ask(body, 9, member_id=a, generation=9)) == [NO_TOPIC, 22, NO_TOPIC, 22]
    assert c.replies[c.tickets].rules == ("GROUP-COMMIT-7", "GROUP-MEMBER-6", "GROUP-COMMIT-7", "GROUP-MEMBER-6")
    assert c.ask(OffsetCommitRequest("other"), 9).topics == () and "other" not in c.groups.live
    assert not c.groups.offsets
    many = commit_request(("t", 0, ""), ("v", 0, ""), ("t", 1, ""), generation=1, member_id=a)
    assert errors_of(c.ask(many, 9, member_id=a, generation=1)) == [0, NO_TOPIC, 0]
    assert fetch(c) == [("t", 0, 1, -1, "", 0), ("t", 1, 1, -1, "", 0)]


@pytest.mark.rule("GROUP-COMMIT-5")
def test_between_join_and_sync_nobody_commits() -> None:
    c = Coordinator()
    a = c.joined()
    c.settles()
    assert c.commit(5, a, 1) == REBALANCING and c.commit(5, a, 0) == 22
    c.sync(a, 1, {})
    assert c.commit(5, a, 1) == 0


@pytest.mark.rule("GROUP-COMMIT-6")
def test_a_commit_is_a_sign_of_life() -> None:
    c = Coordinator()
    a, b, d = c.stable(others=2)
    c.passes(SESSION_MS - 1)
    assert (c.commit(5, a, 1), c.commit(5, b, 0), c.beat(d, 1)) == (0, 22, 0)
    c.passes(1)
    assert set(c.group().members) == {a, d} and c.group().state is State.PREPARING
    c.passes(SESSION_MS - 2)
    assert c.commit(6, a, 1) == 0
    c.passes(1)
    assert set(c.group().members) == {a}


@pytest.mark.rule("GROUP-COMMIT-9")
def test_metadata_has_a_limit_in_utf16_units() -> None:
    c = Coordinator(offset_metadata_max=4)
    body = commit_request(("t", 0, "1234"), ("t", 1, "12345"), ("u", 0, "\U0001f600\U0001f600"), ("u", 1, "\U0001f600\U0001f600."))
    assert errors_of(c.ask(body, 9)) == [0, TOO_LONG, 0, TOO_LONG]
    assert [key for key, _ in sorted(c.groups.offsets["g"].items())] == [("t", 0), ("u", 0)]
    assert c.replies[c.tickets].rules == ("GROUP-COMMIT-9",) * 2


@pytest.mark.rule("GROUP-COMMIT-10")
def test_what_is_committed_is_taken_as_it_is() -> None:
    c = Coordinator()
    for offset, epoch, metadata in ((10, 5, "m"), (-7, -9, ""), (2**62, 0, "x"), (3, -1, None)):
        assert c.commit(offset, epoch=epoch, metadata=metadata) == 0
        assert fetch(c, ("t", 0)) == [(offset, epoch, metadata or "", 0)]
    twice = OffsetCommitRequest("g", topics=(OffsetCommitRequestTopic("t", ZERO_UUID, (OffsetCommitRequestPartition(0, 8), OffsetCommitRequestPartition(0, 9))),))
    assert errors_of(c.ask(twice, 9)) == [0, 0] and fetch(c, ("t", 0)) == [(9, -1, "", 0)]


@pytest.mark.rule("GROUP-COMMIT-11", "GROUP-OFFSET-7")
@pytest.mark.parametrize(("retention", "expires"), [(-1, WEEK_MS), (0, 0), (5_000, 5_000)])
def test_a_commit_may_have_a_time_to_live(retention: int, expires: int) -> None:
    c = Coordinator()
    c.commit(5, version=4, retention=retention)
    if expires:
        c.now += expires - 1
        c.keeps_house()
        assert fetch(c, ("t", 0))[0][0] == 5
        c.now += 1
    c.keeps_house()
    assert fetch(c, ("t", 0)) == [NOTHING]


# OffsetFetch


@pytest.mark.rule("GROUP-OFFSET-2", "GROUP-OFFSET-1")
def test_null_is_everything_and_an_unknown_group_has_nothing() -> None:
    c = Coordinator()
    assert fetch(c) == [] and fetch(c, ("t", 0), ("v", 9)) == [NOTHING, NOTHING]
    for topic, index in (("u", 0), ("t", 1), ("t", 0)):
        c.commit(index, topic=topic, index=index)
    assert [one[:3] for one in fetch(c)] == [("t", 0, 0), ("t", 1, 1), ("u", 0, 0)]
    answer = c.ask(OffsetFetchRequest(groups=(OffsetFetchRequestGroup("g"),)), 10).groups[0]
    assert answer.topics == () and set(c.groups.live) == {"g"}
    asked = OffsetFetchRequestGroup("g", topics=None)
    answer = c.ask(OffsetFetchRequest(groups=(asked,)), 10).groups[0]
    assert [(topic.name, topic.topic_id, len(topic.partitions)) for topic in answer.topics] == [("", T_ID, 2), ("", U_ID, 1)]


@pytest.mark.rule("GROUP-OFFSET-3", "GROUP-OFFSET-4", "GROUP-OFFSET-9")
def test_from_v10_on_topics_go_by_id() -> None:
    c = Coordinator()
    c.commit(5)
    unknown = bytes([9]) * 16
    topics = (OffsetFetchRequestTopics("", T_ID, (0, 1)), OffsetFetchRequestTopics("", unknown, (0, 1)))
    group = c.ask(OffsetFetchRequest(groups=(OffsetFetchRequestGroup("g", topics=topics),)), 10).groups[0]
    told = [(one.committed_offset, one.committed_leader_epoch, one.metadata, one.error_code) for topic in group.topics for one in topic.partitions]
    assert told == [(5, -1, "", 0), NOTHING, (-1, -1, "", NO_ID), (-1, -1, "", NO_ID)]
    assert [topic.topic_id for topic in group.topics] == [T_ID, unknown]
    assert c.replies[c.tickets].rules == ("GROUP-OFFSET-3",)


@pytest.mark.rule("GROUP-OFFSET-4")
@pytest.mark.parametrize(("stored", "offset"), [(T_ID, 5), (ZERO_UUID, 5), (U_ID, -1)])
def test_a_topic_made_anew_has_no_commits(stored: bytes, offset: int) -> None:
    c = Coordinator()
    c.groups = group_requests.evolve(c.groups, OffsetCommitted("g", "t", 0, CommittedOffset(5, topic_id=stored)))
    asked = OffsetFetchRequestGroup("g", topics=(OffsetFetchRequestTopics("t", T_ID, (0,)),))
    for version, expected in ((10, offset), (9, 5)):
        answer = c.ask(OffsetFetchRequest(groups=(asked,)), version).groups[0]
        assert answer.topics[0].partitions[0].committed_offset == expected


@pytest.mark.rule("GROUP-OFFSET-9")
def test_many_groups_are_asked_in_one_request_from_v8_on() -> None:
    c = Coordinator()
    c.commit(5)
    c.commit(6, group="h")
    topics = (OffsetFetchRequestTopics("t", ZERO_UUID, (0,)),)
    asked = OffsetFetchRequest(groups=tuple(OffsetFetchRequestGroup(one, topics=topics) for one in ("h", "g", "nobody")))
    answer = c.ask(asked, 8)
    assert [(one.group_id, one.topics[0].name, one.topics[0].partitions[0].committed_offset) for one in answer.groups] == [("h", "t", 6), ("g", "t", 5), ("nobody", "t", -1)]
    assert answer.topics == () and c.ask(OffsetFetchRequest("g", (OffsetFetchRequestTopic("t", (0,)),)), 7).groups == ()


# Expiry


@pytest.mark.rule("GROUP-OFFSET-5", "GROUP-OFFSET-7")
def test_an_empty_group_goes_with_its_last_offset() -> None:
    c = Coordinator()
    (a,) = c.stable()
    c.commit(5, a, 1)
    c.now += DAY_MS
    c.leave(a)
    left_ms = c.now
    c.commit(6, index=1)
    c.now = left_ms + WEEK_MS - 1
    c.keeps_house()
    assert len(fetch(c)) == 2 and c.group().state is State.EMPTY
    c.now += 1
    c.keeps_house()
    assert fetch(c) == [] and c.groups == Groups()
    assert c.records[-3:] == [OffsetForgotten("g", "t", 0), OffsetForgotten("g", "t", 1), GroupForgotten("g")]


@pytest.mark.rule("GROUP-OFFSET-7")
def test_where_nobody_knows_since_when_a_group_is_empty_the_commit_counts() -> None:
    """As in a group that was written down before Kafka 2.1."""
    c = Coordinator()
    c.records = [GroupMetadata("g", "consumer", 3, None, None, -1, ()), OffsetCommitted("g", "t", 0, CommittedOffset(5, commit_ms=NOW))]
    c.restarts()
    c.now += WEEK_MS - 1
    c.keeps_house()
    assert fetch(c, ("t", 0))[0][0] == 5
    c.now += 1
    c.keeps_house()
    assert c.groups == Groups()


@pytest.mark.rule("GROUP-OFFSET-5")
def test_a_group_of_pending_ids_alone_goes_when_expiry_looks_and_one_with_members_does_not() -> None:
    c = Coordinator()
    pending = c.replies[c.join()].body.member_id
    c.keeps_house()
    assert c.groups == Groups() and c.replies[c.join(pending)].body.error_code == 25
    c.stable()
    c.keeps_house()
    assert c.group().state is State.STABLE


@pytest.mark.rule("GROUP-OFFSET-7")
def test_in_a_simple_group_each_offset_has_its_own_time() -> None:
    c = Coordinator()
    c.commit(5)
    c.now += DAY_MS
    c.commit(6, index=1)
    c.now = NOW + WEEK_MS
    c.keeps_house()
    assert [one[:3] for one in fetch(c)] == [("t", 1, 6)]


@pytest.mark.rule("GROUP-OFFSET-7", "GROUP-OFFSET-6")
@pytest.mark.parametrize(
    ("kind", "metadata", "left"),
    [
        ("consumer", subscription("t"), ["t"]),
        ("consumer", subscription("t", "u"), ["t", "u"]),
        ("consumer", subscription(), []),
        ("consumer", b"\0", ["t", "u"]),
        ("connect", subscription(), ["t", "u"]),
    ],
)
def test_in_a_stable_group_what_nobody_reads_gets_old(kind: str, metadata: bytes, left: list[str]) -> None:
    c = Coordinator()
    (a,) = c.stable(kind=kind, protocols={"range": metadata}, session=1_800_000)
    for topic in ("t", "u"):
        assert c.commit(5, a, 1, topic=topic) == 0
    c.now += WEEK_MS - 1
    c.keeps_house()
    assert len(fetch(c)) == 2
    c.now += 1
    c.keeps_house()
    assert [one[0] for one in fetch(c)] == left


@pytest.mark.rule("GROUP-OFFSET-7")
def test_in_a_rebalance_nothing_gets_old() -> None:
    c = Coordinator()
    (a,) = c.stable(protocols={"range": subscription()})
    c.commit(5, a, 1)
    c.join(version=3)
    c.now += WEEK_MS
    c.keeps_house()
    assert len(fetch(c)) == 1
    c.join(a)
    assert c.group().state is State.COMPLETING
    c.keeps_house()
    assert len(fetch(c)) == 1


@pytest.mark.rule("GROUP-OFFSET-6")
@pytest.mark.parametrize(
    ("metadata", "topics"),
    [
        (subscription("t", "longer"), {"t", "longer"}),
        (subscription("t") + b"and what later versions say", {"t"}),
        (subscription("t")[:-4] + b"\0\0\0\2ab", {"t"}),
        (subscription("t")[:-4] + b"\0\0\0\2a", None),
        (subscription("t")[:-4], None),
        (subscription(), set()),
        (b"", None),
        (b"\0\0\0\0\0", None),
        (b"garbage", None),
        (subscription("t")[:-1], None),
        (b"\0\0\xff\xff\xff\xff", None),
    ],
)
def test_the_topics_of_a_consumer_are_read_or_unknown(metadata: bytes, topics: set[str] | None) -> None:
    assert topics_in(metadata) == topics


@pytest.mark.rule("GROUP-OFFSET-6", "GROUP-DELETE-5")
def test_a_group_reads_what_any_of_its_members_reads_as_of_the_last_join_phase() -> None:
    c = Coordinator()
    assert c.commit(1) == 0 and errors_of(delete(c, ("t", 0), ("u", 0))) == [0, 0]
    a, b = c.joined(protocols={"range": subscription("t")}), c.joined(protocols={"range": subscription("u")})
    assert errors_of(delete(c, ("t", 0), ("u", 1))) == [86, 86]
    c.settles()
    assert errors_of(delete(c, ("t", 0), ("u", 0))) == [86, 86]
    c.join(a, protocols={"range": subscription()})
    assert errors_of(delete(c, ("t", 0), ("u", 0))) == [86, 86]
    c.join(b, protocols={"range": subscription("u")})
    assert c.group().generation == 2 and errors_of(delete(c, ("t", 0), ("u", 0))) == [0, 86]
    c.join(b, protocols={"range": b""})
    c.join(a, protocols={"range": subscription()})
    assert errors_of(delete(c, ("t", 0), ("u", 0))) == [86, 86]
    pending = c.replies[c.join()].body.member_id
    c.leave(a, b)
    assert c.group().state is State.PREPARING and not c.group().members
    assert errors_of(delete(c, ("t", 0), ("u", 0))) == [86, 86]
    c.leave(pending)
    assert c.group().state is State.EMPTY and errors_of(delete(c, ("t", 0), ("u", 0))) == [0, 0]


@pytest.mark.rule("GROUP-DELETE-5")
def test_until_the_first_join_phase_has_ended_everything_counts_as_read() -> None:
    c = Coordinator(initial_rebalance_delay_ms=3_000)
    a = c.joined(protocols={"range": subscription("t")})
    assert errors_of(delete(c, ("t", 0), ("u", 0))) == [86, 86]
    c.leave(a)
    assert c.group().state is State.PREPARING and errors_of(delete(c, ("t", 0), ("u", 0))) == [86, 86]
    c.passes(3_000)
    assert c.group().state is State.EMPTY and errors_of(delete(c, ("t", 0), ("u", 0))) == [0, 0]
    c.joined(protocols={"range": subscription("t")})
    assert c.group().state is State.PREPARING and errors_of(delete(c, ("t", 0), ("u", 0))) == [0, 0]


@pytest.mark.rule("GROUP-OFFSET-8")
def test_a_deleted_topic_takes_its_offsets_along() -> None:
    c = Coordinator()
    for stored, index in ((T_ID, 0), (ZERO_UUID, 1), (U_ID, 2)):
        c.groups = group_requests.evolve(c.groups, OffsetCommitted("g", "t", index, CommittedOffset(5, topic_id=stored)))
    c.groups = group_requests.evolve(c.groups, OffsetCommitted("h", "u", 0, CommittedOffset(5, topic_id=U_ID)))
    c.take(group_requests.topic_deleted(c.groups, "t", T_ID, c.config, c.now))
    assert [one[1] for one in fetch(c)] == [2] and len(fetch(c, group="h")) == 1
    assert c.records == [OffsetForgotten("g", "t", 0), OffsetForgotten("g", "t", 1)]


# Deleting


@pytest.mark.rule("GROUP-DELETE-1", "GROUP-DELETE-2", "GROUP-DELETE-3")
def test_a_deleted_group_leaves_nothing() -> None:
    c = Coordinator()
    (a,) = c.stable()
    c.commit(5, a, 1)
    assert c.delete("g", "nobody") == [68, 69]
    assert c.replies[c.tickets].rules == ("GROUP-DELETE-2", "GROUP-DELETE-1")
    c.leave(a)
    pending = c.replies[c.join()].body.member_id
    c.commit(6, group="simple")
    names = ("g", "simple", "g")
    results = c.ask(DeleteGroupsRequest(names), 2).results
    assert [(one.group_id, one.error_code) for one in results] == [("g", 0), ("simple", 0)]
    assert c.groups == Groups() and c.replies[c.join(pending)].body.error_code == 25
    c.restarts()
    assert c.groups == Groups()
    c.joined()
    c.settles()
    assert c.group().generation == 1


@pytest.mark.rule("GROUP-DELETE-4", "GROUP-DELETE-1")
def test_offsets_of_what_is_no_consumer_are_kept() -> None:
    c = Coordinator()
    assert (delete(c, ("t", 0)).error_code, delete(c, ("t", 0)).topics) == (69, ())
    (a,) = c.stable(kind="connect")
    c.commit(5, a, 1)
    assert delete(c, ("t", 0)).error_code == 68 and c.replies[c.tickets].rules == ("GROUP-DELETE-4",)
    c.leave(a)
    assert errors_of(delete(c, ("t", 0))) == [0] and fetch(c, ("t", 0)) == [NOTHING]


@pytest.mark.rule("GROUP-DELETE-5", "GROUP-DELETE-6", "GROUP-DELETE-7")
def test_an_offset_is_deleted_unless_its_topic_is_read_or_not_there() -> None:
    c = Coordinator()
    (a,) = c.stable()
    for topic in ("t", "u"):
        c.commit(5, a, 1, topic=topic)
    answer = delete(c, ("t", 0), ("u", 0), ("u", 1), ("v", 0), ("u", 2), ("t", -1))
    assert answer.error_code == 0 and errors_of(answer) == [86, NO_TOPIC, 0, 0, NO_TOPIC, NO_TOPIC]
    assert [(topic.name, len(topic.partitions)) for topic in answer.topics] == [("t", 2), ("u", 3), ("v", 1)]
    assert [one[:3] for one in fetch(c)] == [("t", 0, 5)]
    assert c.records[-1] == OffsetForgotten("g", "u", 0) and c.records[-2] != OffsetForgotten("g", "u", 1)


# Looking


@pytest.mark.rule("GROUP-LIST-1")
def test_a_group_is_described() -> None:
    c = Coordinator()
    a, b = c.stable(instance="ib")
    (group,) = c.ask(DescribeGroupsRequest(("g",), True), 6).groups
    assert (group.error_code, group.group_state, group.protocol_type, group.protocol_data, group.authorized_operations) == (0, "Stable", "consumer", "range", 3400)
    assert {(one.member_id, one.group_instance_id, one.client_id, one.client_host, one.member_metadata, one.member_assignment) for one in group.members} == {
        (a, None, "c", "/127.0.0.1", subscription("t"), a.encode()),
        (b, "ib", "c", "/127.0.0.1", subscription("t"), b.encode()),
    }
    c.join(a)
    (group,) = c.ask(DescribeGroupsRequest(("g",)), 6).groups
    assert (group.group_state, group.protocol_type, group.protocol_data, group.authorized_operations) == ("PreparingRebalance", "consumer", "", -(2**31))
    assert [(one.member_metadata, one.member_assignment) for one in group.members] == [(b"", a.encode()), (b"", b.encode())]


@pytest.mark.rule("GROUP-LIST-2")
@pytest.mark.parametrize(("version", "error", "message"), [(5, 0, None), (6, 69, "Group nobody not found.")])
def test_an_unknown_group_is_dead(version: int, error: int, message: str | None) -> None:
    c = Coordinator()
    c.join()
    first, second = c.ask(DescribeGroupsRequest(("nobody", "g")), version).groups
    assert (first.group_id, first.error_code, first.error_message, first.group_state, first.members) == ("nobody", error, message, "Dead", ())
    assert (second.group_id, second.error_code, second.group_state, second.protocol_type) == ("g", 0, "Empty", "")


@pytest.mark.rule("GROUP-LIST-3")
@pytest.mark.parametrize(
    ("states", "types", "groups"),
    [
        ((), (), ["g", "h", "simple"]),
        (("stable",), (), ["g"]),
        (("EMPTY", "Stable"), (), ["g", "simple"]),
        (("PreparingRebalance",), ("Classic",), ["h"]),
        ((), ("consumer",), []),
        (("nonsense",), (), []),
    ],
)
def test_groups_are_listed_by_state_and_type(states: tuple[str, ...], types: tuple[str, ...], groups: list[str]) -> None:
    c = Coordinator()
    c.joined(group="h")
    c.commit(5, group="simple")
    c.stable()
    c.join(group="h", version=3)
    listed = c.ask(ListGroupsRequest(states, types), 5).groups
    assert [one.group_id for one in listed] == groups
    told = {one.group_id: (one.protocol_type, one.group_state, one.group_type) for one in listed}
    every = {"g": ("consumer", "Stable", "classic"), "h": ("consumer", "PreparingRebalance", "classic"), "simple": ("", "Empty", "classic")}
    assert told == {group_id: every[group_id] for group_id in groups}


@pytest.mark.rule("GROUP-FIND-1")
@pytest.mark.parametrize(
    ("group_id", "partition"),
    [("", 0), ("a", 97 % 50), ("ab", (97 * 31 + 98) % 50), ("polygenelubricants", 0), ("zzzzzzzz", 1_910_022_912 % 50), ("my-group", 1_906_497_762 % 50), ("\U0001f600", 1_772_899 % 50)],
)
def test_a_group_lives_in_the_partition_that_javas_hash_says(group_id: str, partition: int) -> None:
    assert partition_of(group_id, 50) == partition


@pytest.mark.rule("GROUP-FIND-2")
@pytest.mark.parametrize(("version", "message"), [(3, "NONE"), (4, "")])
def test_the_one_broker_coordinates_every_group(version: int, message: str) -> None:
    own = Cluster("x" * 22, 7, "localhost", 9092)
    found = coordinators(own, ("g", "h"), version)
    assert [(one.key, one.node_id, one.host, one.port, one.error_code, one.error_message) for one in found] == [
        (group_id, 7, "localhost", 9092, 0, message) for group_id in ("g", "h")
    ]


# Records that cannot be written


@pytest.mark.rule("GROUP-RECORD-5")
@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Error.UNKNOWN_TOPIC_OR_PARTITION, Error.COORDINATOR_NOT_AVAILABLE),
        (Error.NOT_ENOUGH_REPLICAS, Error.COORDINATOR_NOT_AVAILABLE),
        (Error.REQUEST_TIMED_OUT, Error.COORDINATOR_NOT_AVAILABLE),
        (Error.NOT_LEADER_OR_FOLLOWER, Error.NOT_COORDINATOR),
        (Error.KAFKA_STORAGE_ERROR, Error.NOT_COORDINATOR),
        (Error.MESSAGE_TOO_LARGE, Error.UNKNOWN_SERVER_ERROR),
        (Error.RECORD_LIST_TOO_LARGE, Error.UNKNOWN_SERVER_ERROR),
        (Error.INVALID_FETCH_SIZE, Error.UNKNOWN_SERVER_ERROR),
        (Error.INVALID_RECORD, Error.INVALID_RECORD),
    ],
)
def test_errors_of_the_log_are_told_as_a_coordinators(error: Error, told: Error) -> None:
    assert group_requests.told(error) == told


@pytest.mark.rule("GROUP-RECORD-6")
@pytest.mark.parametrize(
    "body",
    [
        commit_request(("t", 0, ""), ("t", 1, "")),
        DeleteGroupsRequest(("g", "h")),
        LeaveGroupRequest("g"),
        OffsetDeleteRequest("g"),
    ],
    ids=lambda body: type(body).__name__,
)
def test_every_request_that_writes_is_answered_with_the_error(body: Any) -> None:
    c = Coordinator()
    c.commit(5)
    after, effects = group_requests.not_written(c.groups, Asked(9, 9, "g", body), Error.KAFKA_STORAGE_ERROR, c.config, c.now)
    assert after is c.groups and len(effects) == 1
    (reply,) = effects
    told = reply.body  # type: ignore[union-attr]
    codes = errors_of(told) if isinstance(body, OffsetCommitRequest) else [one.error_code for one in getattr(told, "results", (told,))]
    assert codes == [Error.NOT_COORDINATOR] * (2 if len(codes) == 2 else 1) and codes


@pytest.mark.rule("GROUP-RECORD-4")
def test_offsets_come_back_from_their_records_also_when_superseded_ones_are_left_out() -> None:
    c = Coordinator()
    for offset in (5, 6):
        c.commit(offset)
        c.commit(offset, group="h")
    c.delete("h")
    compacted = [record for at, record in enumerate(c.records) if not any(key_of(later) == key_of(record) for later in c.records[at + 1 :])]
    assert len(compacted) < len(c.records)
    for records in (c.records, compacted):
        durable = Groups()
        for record in records:
            durable = group_requests.evolve(durable, record)
        assert (durable.saved, durable.offsets) == (c.groups.saved, c.groups.offsets)
    assert c.groups.offsets == EMPTY.set("g", EMPTY.set(("t", 0), CommittedOffset(6, commit_ms=NOW, topic_id=T_ID)))


def key_of(record: Any) -> tuple[Any, ...]:
    """What a record supersedes by."""
    return record.group_id, getattr(record, "topic", None), getattr(record, "partition", None)
