"""Both brokers as coordinators, in frames: who waits is answered by whatever ends the wait, nobody else is disturbed, and nothing is left of who is gone."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from group_frames import SESSION_MS, Coordinator, FastPath, Reference, Talk
from samples import NOW

from fiducial.models import group_requests
from fiducial.models import messages as m
from fiducial.models.errors import Error
from fiducial.models.group_requests import Groups, partition_of
from fiducial.models.groups import Alarm, Group, GroupConfig, State
from fiducial.models.topics import OFFSETS_TOPIC


@pytest.fixture(params=["reference", "fast path"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Coordinator]:
    made: Coordinator = Reference() if request.param == "reference" else FastPath(tmp_path / "data")
    yield made
    made.close()


@pytest.fixture
def talk(broker: Coordinator) -> Talk:
    """A coordinator that has one topic of two partitions, and connections to it."""
    talk = Talk(broker)
    talk.create("t")
    return talk


def group(talk: Talk, name: str = "g") -> Group:
    """A group as it is."""
    return talk.coordinator.broker.groups.live[name]


# Waiting


def test_who_joins_waits_until_the_alarm_ends_the_phase(talk: Talk) -> None:
    talk.join(1)
    talk.join(2)
    assert not talk.heard
    talk.passes()
    first, second = talk.answer(1), talk.answer(2)
    assert talk.order == [1, 2] and first.leader == second.leader == first.member_id
    assert [one.member_id for one in first.members] == sorted((first.member_id, second.member_id))


def test_who_syncs_waits_until_another_connection_assigns(talk: Talk) -> None:
    leader, follower = talk.members(1, 2)
    talk.sync(2, follower)
    assert not talk.heard
    talk.sync(1, leader, 1, leader, follower)
    assert (talk.answer(1).assignment, talk.answer(2).assignment) == (leader.encode(), follower.encode())


def test_who_left_is_answered_on_the_connection_on_which_it_waits(talk: Talk) -> None:
    leader, follower = talk.members(1, 2)
    talk.sync(2, follower)
    left = talk.ask(m.LeaveGroupRequest("g", members=(m.MemberIdentity(follower),)), connection=3)
    assert left.members[0].error_code == 0
    assert talk.answer(2).error_code == Error.UNKNOWN_MEMBER_ID
    talk.join(1, member_id=leader)
    assert talk.answer(1).generation_id == 2


def test_nothing_is_said_to_who_is_gone_and_nothing_is_kept_of_it(talk: Talk) -> None:
    for connection in (1, 2):
        talk.coordinator.connected(connection, "127.0.0.1")
        talk.join(connection)
    talk.coordinator.disconnected(1, talk.now)
    talk.passes()
    assert talk.order == [2] and talk.coordinator.held() == 1
    talk.coordinator.disconnected(2, talk.now)
    assert talk.coordinator.held() == 0 and len(group(talk).members) == 2
    while (at_ms := talk.coordinator.next_alarm_ms()) >= 0:
        assert at_ms <= talk.now + 300_000, "an alarm rings for ever"
        talk.passes(at_ms - talk.now)
        assert talk.order == []
    assert group(talk).state is State.EMPTY and group(talk).generation == 2


def test_who_is_answered_without_the_model_does_not_wait_though_another_does(talk: Talk) -> None:
    talk.join(1)
    unknown = struct.pack(">hhih", 18, 99, 7, -1) + b"\0"
    (answer,) = talk.coordinator.frame(2, unknown, talk.now)
    assert answer[0] == 2 and answer[1] is not None
    if isinstance(talk.coordinator, FastPath):
        frame = bytearray(struct.pack(">i", len(unknown)) + unknown)
        assert talk.coordinator.frames(2, frame, talk.now)[1] is False
        short = bytearray(struct.pack(">i", 2) + b"\0\0")
        assert talk.coordinator.frames(3, short, talk.now)[1] is False


def test_a_fault_of_ours_is_told_by_nobody_else(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    talk.join(1)
    held = talk.coordinator.held()
    with monkeypatch.context() as spoilt:
        spoilt.setattr(group_requests, "handle", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            talk.join(2)
    talk.coordinator.disconnected(2, talk.now)
    assert talk.coordinator.held() == held
    talk.passes()
    assert talk.order == [1] and len(group(talk).members) == 1


# Where members come from


@pytest.mark.rule("GROUP-MEMBER-9")
@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("192.0.2.7", "/192.0.2.7"),
        ("::1", "/0:0:0:0:0:0:0:1"),
        ("2001:db8::a0:ff", "/2001:db8:0:0:0:0:a0:ff"),
        ("fe80::1%eth0", "/fe80:0:0:0:0:0:0:1%eth0"),
    ],
)
def test_a_member_is_told_of_by_its_address_as_java_writes_it(talk: Talk, address: str, host: str) -> None:
    talk.coordinator.connected(1, address)
    talk.members(1)
    (described,) = talk.ask(m.DescribeGroupsRequest(("g",))).groups
    assert [member.client_host for member in described.members] == [host]


# The topic of offsets is a topic


def waiting_fetch(group_id: str) -> m.FetchRequest:
    """A fetch that waits where a group is written down."""
    wanted = m.FetchPartition(partition_of(group_id, 4), partition_max_bytes=1 << 20)
    return m.FetchRequest(max_wait_ms=60_000, min_bytes=1, session_epoch=-1, topics=(m.FetchTopic(OFFSETS_TOPIC, partitions=(wanted,)),))


def test_who_waits_for_the_records_of_a_group_is_answered_by_a_commit_and_first(talk: Talk) -> None:
    talk.say(1, waiting_fetch("g"))
    assert talk.commit(5, connection=2) == {0} and talk.order == [1, 2]
    assert talk.answer(1).responses[0].partitions[0].records


@pytest.mark.rule("GROUP-RECORD-5", "GROUP-RECORD-6")
def test_a_commit_that_is_too_large_is_told_so_and_did_not_happen(talk: Talk) -> None:
    assert talk.commit(5, 0, 1) == {0}
    talk.configure(OFFSETS_TOPIC, "max.message.bytes", "150")
    assert talk.commit(6, 0, 1) == {Error.UNKNOWN_SERVER_ERROR} and talk.committed() == {("t", 0): 5, ("t", 1): 5}
    assert talk.commit(7, 1) == {0} and talk.committed() == {("t", 0): 5, ("t", 1): 7}


@pytest.mark.rule("GROUP-RECORD-5", "GROUP-SYNC-8")
def test_assignments_that_are_too_large_are_told_to_all_that_wait_and_members_join_again(talk: Talk) -> None:
    leader, follower = talk.members(1, 2)
    talk.sync(2, follower)
    talk.configure(OFFSETS_TOPIC, "max.message.bytes", "150")
    talk.sync(1, leader, 1, leader, follower)
    assert {talk.answer(1).error_code, talk.answer(2).error_code} == {Error.UNKNOWN_SERVER_ERROR}
    assert group(talk).state is State.PREPARING
    talk.configure(OFFSETS_TOPIC, "max.message.bytes", "1500")
    talk.join(1, member_id=leader)
    talk.join(2, member_id=follower)
    assert {talk.answer(1).generation_id, talk.answer(2).generation_id} == {2}
    talk.sync(1, leader, 2, leader)
    assert talk.answer(1).assignment == leader.encode()


@pytest.mark.rule("GROUP-RECORD-5", "GROUP-RECORD-6")
def test_of_groups_that_are_deleted_together_those_are_gone_that_could_be_written(talk: Talk) -> None:
    talk.create("many", 20)
    small, large, beside = "g", "h", "l"
    assert partition_of(small, 4) != partition_of(large, 4) == partition_of(beside, 4)
    assert talk.commit(5, group=small) == talk.commit(5, group=beside) == talk.commit(5, *range(20), group=large, topic="many") == {0}
    talk.configure(OFFSETS_TOPIC, "max.message.bytes", "300")
    results = talk.ask(m.DeleteGroupsRequest((large, small, beside))).results
    assert {one.group_id: one.error_code for one in results} == {large: Error.UNKNOWN_SERVER_ERROR, small: 0, beside: Error.UNKNOWN_SERVER_ERROR}
    assert set(talk.coordinator.broker.groups.live) == {large, beside} and len(talk.committed(large)) == 20
    assert talk.commit(6, group=small) == {0} and talk.committed(small) == {("t", 0): 6}


@pytest.mark.rule("GROUP-RECORD-6", "GROUP-OFFSET-5")
def test_offsets_expire_in_each_partition_for_itself_and_in_batches_that_fit(talk: Talk) -> None:
    talk.create("many", 40)
    for name in "gh":
        assert talk.commit(5, *range(40), group=name, topic="many") == {0}
    talk.configure(OFFSETS_TOPIC, "max.message.bytes", "300")
    talk.now += 604_800_000
    talk.take(talk.coordinator.expiry(talk.now))
    assert not talk.coordinator.broker.groups.live and talk.committed("g") == talk.committed("h") == {}


@pytest.mark.rule("GROUP-FIND-5", "GROUP-OFFSET-8")
@pytest.mark.parametrize("names", [("t", OFFSETS_TOPIC), (OFFSETS_TOPIC, "t")])
def test_a_topic_and_the_topic_of_its_offsets_may_go_together(talk: Talk, names: tuple[str, str]) -> None:
    assert talk.commit(5) == {0}
    talk.join(1, "h")
    gone = talk.ask(m.DeleteTopicsRequest(tuple(m.DeleteTopicState(name) for name in names), timeout_ms=1000))
    assert [one.error_code for one in gone.responses] == [0, 0]
    assert talk.answer(1).error_code == Error.NOT_COORDINATOR and not talk.coordinator.broker.groups.live


# The fast path alone


@pytest.fixture
def fast(tmp_path: Path) -> Iterator[FastPath]:
    made = FastPath(tmp_path / "data")
    yield made
    made.close()


def test_a_fault_in_an_alarm_keeps_no_other_from_ringing(fast: FastPath, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    talk = Talk(fast)
    talk.join(1, "g")
    talk.join(2, "h")
    ring = group_requests.ring

    def fails(groups: Groups, alarm: Alarm, config: GroupConfig, now: int) -> object:
        return 1 / 0 if alarm.group_id == "g" else ring(groups, alarm, config, now)

    monkeypatch.setattr(group_requests, "ring", fails)
    talk.passes()
    assert talk.order == [2]
    (said,) = caplog.records
    assert said.levelname == "ERROR" and "came to nothing: internal error" in said.getMessage()


def test_a_start_gives_every_member_a_session_and_lets_go_of_those_that_stay_silent(tmp_path: Path) -> None:
    talk = Talk(FastPath(tmp_path / "data"))
    names = [f"group-{number}" for number in range(20)]
    members = {name: talk.members(1, 2, group=name) for name in names}
    for name, (leader, follower) in members.items():
        talk.sync(1, leader, 1, leader, follower, group=name)
        assert talk.answer(1).error_code == 0
    talk.coordinator.close()
    again = Talk(FastPath(tmp_path / "data"))
    again.passes(SESSION_MS - 1)
    for name in names[:5]:
        assert again.ask(m.HeartbeatRequest(name, 1, members[name][0])).error_code == 0
    again.passes(1)
    for name in names:
        assert set(group(again, name).members) == ({members[name][0]} if name in names[:5] else set())
    again.coordinator.close()
    kept = FastPath(tmp_path / "data")
    assert {name: len(kept.broker.groups.live[name].members) for name in names} == {name: 2 if name in names[:5] else 0 for name in names}
    assert kept.next_alarm_ms() == NOW + SESSION_MS
    kept.close()
