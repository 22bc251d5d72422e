"""What Apache Kafka does with groups where random histories do not look: what may be answered never, what is any member's to be, what takes time.

Each trial has a group of its own. That an answer does not come is seen by waiting a little for it, when everybody else was answered.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from typing import Any

import pytest
from conftest import not_run
from group_bench import subscription
from peers.kafka import Kafka, PeerUnavailable

from differential.groups import Connection
from differential.test_groups import LONG_MS, SETTINGS
from fiducial.fastpath.batch import encode
from fiducial.models import messages as m
from fiducial.models.errors import Error
from fiducial.models.group_offsets import CommittedOffset, OffsetCommitted
from fiducial.models.group_records import encoded
from fiducial.models.group_requests import partition_of
from fiducial.models.values import ZERO_UUID

PARTITIONS = int(SETTINGS["offsets.topic.num.partitions"])
#: A group with an offset of a topic `t` that was another.
OF_ANOTHER = "of-another"
#: How long an answer is awaited that must not come; and a request is given to arrive before the next, on another connection.
SILENCE_S = 0.5
#: An offset's own time to live here.
RETENTION_MS = 500


def names(prefix: str) -> Iterator[str]:
    """Groups that are in no partition of OF_ANOTHER."""
    return (name for number in count() if partition_of(name := f"{prefix}{number}", PARTITIONS) != partition_of(OF_ANOTHER, PARTITIONS))


def await_coordinators(connection: Connection) -> None:
    """Until every partition has one."""
    while connection.ask(m.FindCoordinatorRequest("g", 0), 3).error_code.value != Error.NONE:
        time.sleep(0.1)
    for name in (OF_ANOTHER, *(next(name for name in map(str, count()) if partition_of(name, PARTITIONS) == index) for index in range(PARTITIONS))):
        while connection.ask(m.HeartbeatRequest(name, 1, "nobody"), 3).error_code.value != Error.UNKNOWN_MEMBER_ID:
            time.sleep(0.1)


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    """Where Apache Kafka coordinates groups, with topics t and u; once it was stopped, to be given an offset of another topic t."""
    try:
        with Kafka(**SETTINGS | {"offsets.retention.check.interval.ms": "100"}) as kafka:
            here = kafka.host, kafka.port
            with Connection(*here) as connection:
                connection.ask(m.CreateTopicsRequest((m.CreatableTopic("t", 2, 1), m.CreatableTopic("u", 2, 1)), 10_000), 7)
                await_coordinators(connection)
            kafka.shut_down()
            now = int(time.time() * 1000)
            left = OffsetCommitted(OF_ANOTHER, "t", 0, CommittedOffset(7, 3, "m", now, topic_id=bytes([9]) * 16))
            log = kafka.data_path / f"__consumer_offsets-{partition_of(OF_ANOTHER, PARTITIONS)}" / f"{0:020}.log"
            log.write_bytes(encode([(now, *encoded(left))], leader_epoch=0))
            kafka.launch()
            with Connection(*here) as connection:
                await_coordinators(connection)
            yield here
    except PeerUnavailable as reason:
        not_run(f"Apache Kafka: {reason}")


class Party:
    """A group, and connections to ask on: one for each member, and more."""

    def __init__(self, group_id: str, address: tuple[str, int], stack: ExitStack) -> None:
        self.group_id, self.address, self.stack = group_id, address, stack
        self.ids: list[str] = []
        self.connections: list[Connection] = []

    def connect(self) -> Connection:
        """One more connection."""
        return self.stack.enter_context(Connection(*self.address))

    def join(self, connection: Connection, member_id: str = "", *protocols: str) -> None:
        """A JoinGroup is sent."""
        named = tuple(m.JoinGroupRequestProtocol(name, subscription("t")) for name in protocols or ("range",))
        connection.send(m.JoinGroupRequest(self.group_id, LONG_MS, LONG_MS, member_id, None, "consumer", named), 3)

    def sync(self, connection: Connection, member_id: str, generation: int) -> None:
        """A SyncGroup is sent; as if of the leader, whose id its member is given."""
        given = tuple(m.SyncGroupRequestAssignment(one, one.encode()) for one in self.ids)
        connection.send(m.SyncGroupRequest(self.group_id, generation, member_id, None, None, None, given), 3)

    def leave(self, member_id: str) -> int:
        """The error of a LeaveGroup, on a connection of its own."""
        return int(self.connect().ask(m.LeaveGroupRequest(self.group_id, member_id), 1).error_code.value)

    def state(self) -> str:
        """As it is described."""
        return str(self.connect().ask(m.DescribeGroupsRequest((self.group_id,)), 3).groups[0].group_state)

    def awaits(self, members: int) -> None:
        """Until so many members are in the group: what is sent on other connections may overtake."""
        connection = self.connect()
        while len(connection.ask(m.DescribeGroupsRequest((self.group_id,)), 3).groups[0].members) != members:
            time.sleep(0.01)

    def rounds_up(self, *protocols: tuple[str, ...]) -> list[Any]:
        """As many members as there are lists of protocols: the first one leads, the others come, and all are in generation 2."""
        self.connections = [self.connect() for _ in protocols]
        first, *others = self.connections
        self.join(first, "", *protocols[0])
        self.ids = [first.answer().member_id]
        self.sync(first, self.ids[0], 1)
        assert first.answer().error_code.value == Error.NONE
        for already, (connection, its) in enumerate(zip(others, protocols[1:], strict=True), 1):
            self.join(connection, "", *its)
            self.awaits(already + 1)
        self.join(first, self.ids[0], *protocols[0])
        answers = [one.answer() for one in self.connections]
        self.ids = [one.member_id for one in answers]
        assert {(one.generation_id, one.leader) for one in answers} == {(2, self.ids[0])}
        return answers

    def settles(self) -> None:
        """All members of generation 2 sync."""
        for connection, member_id in zip(self.connections, self.ids, strict=True):
            self.sync(connection, member_id, 2)
        assert [one.answer().assignment.decode() for one in self.connections] == self.ids

    def commits(self, topic: str, member_id: str, generation: int) -> int:
        """The error of an OffsetCommit of 5, which has a time to live of its own."""
        topics = (m.OffsetCommitRequestTopic(topic, ZERO_UUID, (m.OffsetCommitRequestPartition(0, 5),)),)
        answer = self.connect().ask(m.OffsetCommitRequest(self.group_id, generation, member_id, None, RETENTION_MS, topics), 4)
        return int(answer.topics[0].partitions[0].error_code.value)

    def fetches(self, topic: str) -> int:
        """The offset that is committed."""
        answer = self.connect().ask(m.OffsetFetchRequest(self.group_id, (m.OffsetFetchRequestTopic(topic, (0,)),)), 7)
        return int(answer.topics[0].partitions[0].committed_offset)


@pytest.fixture
def parties(address: tuple[str, int], request: pytest.FixtureRequest) -> Iterator[Iterator[Party]]:
    """As many groups as one likes."""
    with ExitStack() as stack:
        yield (Party(name, address, stack) for name in names(f"{request.node.name}-"))


@pytest.mark.rule("GROUP-STATE-4")
def test_a_join_that_is_repeated_leaves_the_earlier_one_without_an_answer(parties: Iterator[Party]) -> None:
    party = next(parties)
    party.rounds_up(("range",), ("range",))
    party.settles()
    (first, second), again = party.connections, party.connect()
    party.join(first, party.ids[0])
    assert first.is_silent(SILENCE_S)
    party.join(again, party.ids[0])
    assert again.is_silent(SILENCE_S)
    party.join(second, party.ids[1])
    assert {one.answer().generation_id for one in (second, again)} == {3}
    assert first.is_silent(SILENCE_S)


@pytest.mark.rule("GROUP-STATE-4")
def test_a_sync_that_is_repeated_leaves_the_earlier_one_without_an_answer(parties: Iterator[Party]) -> None:
    party = next(parties)
    party.rounds_up(("range",), ("range",))
    (first, second), again = party.connections, party.connect()
    party.sync(second, party.ids[1], 2)
    assert second.is_silent(SILENCE_S)
    party.sync(again, party.ids[1], 2)
    assert again.is_silent(SILENCE_S)
    party.sync(first, party.ids[0], 2)
    assert first.answer().error_code.value == Error.NONE and again.answer().assignment == party.ids[1].encode()
    assert second.is_silent(SILENCE_S)


@pytest.mark.rule("GROUP-JOIN-9")
def test_any_of_those_that_joined_may_lead_when_the_leader_has_left(parties: Iterator[Party]) -> None:
    places, tries = set[int](), 0
    while len(places) < 2 and tries < 40:
        party, tries = next(parties), tries + 1
        party.rounds_up(("range",), ("range",), ("range",))
        party.settles()
        assert party.leave(party.ids[0]) == Error.NONE
        left = list(zip(party.connections, party.ids, strict=True))[1:]
        for connection, member_id in left:
            party.join(connection, member_id)
        answers = [connection.answer() for connection, _ in left]
        assert {one.generation_id for one in answers} == {3} and len({one.leader for one in answers}) == 1
        places.add(sorted(party.ids[1:]).index(answers[0].leader))
    assert places == {0, 1}


@pytest.mark.rule("GROUP-MEMBER-10")
def test_a_member_whose_name_is_too_long_is_refused_and_spoils_the_group(parties: Iterator[Party]) -> None:
    party = next(parties)
    protocols = (m.JoinGroupRequestProtocol("range", subscription("t")),)
    refused = party.connect().ask(m.JoinGroupRequest(party.group_id, LONG_MS, LONG_MS, "", "i" * 32_731, "consumer", protocols), 5)
    assert (refused.error_code.value, refused.member_id) == (Error.UNKNOWN_SERVER_ERROR, "")
    (described,) = party.connect().ask(m.DescribeGroupsRequest((party.group_id,)), 5).groups
    assert described.error_code.value == Error.UNKNOWN_SERVER_ERROR


@pytest.mark.rule("GROUP-JOIN-15")
def test_a_protocol_that_a_member_names_twice_is_not_chosen_and_alone_ends_no_join_phase(parties: Iterator[Party]) -> None:
    for protocols, chosen in ((("a", "a", "b"), "b"), (("a", "a"), None)):
        party = next(parties)
        connection = party.connect()
        party.join(connection, "", *protocols)
        if chosen is None:
            assert connection.is_silent(SILENCE_S) and party.state() == "PreparingRebalance"
        else:
            assert connection.answer().protocol_name == chosen


@pytest.mark.rule("GROUP-JOIN-15")
def test_where_votes_are_equal_one_of_the_protocols_is_chosen_whoever_leads(parties: Iterator[Party]) -> None:
    """Kafka's choice is that of a hash table: of these the same, in whatever order the leader has them."""
    chosen = []
    for party, lists in zip(parties, ((("a", "b"), ("b", "a")), (("b", "a"), ("a", "b"))), strict=False):
        answers = party.rounds_up(*lists)
        assert len({one.protocol_name for one in answers}) == 1
        chosen.append(answers[0].protocol_name)
    assert chosen == ["a", "a"]


@pytest.mark.rule("GROUP-LEAVE-3")
def test_a_join_of_a_member_that_leaves_is_answered_and_a_sync_is_not(parties: Iterator[Party]) -> None:
    party = next(parties)
    party.rounds_up(("range",), ("range",), ("range",))
    first, second, third = party.connections
    party.sync(second, party.ids[1], 2)
    assert second.is_silent(SILENCE_S)
    assert party.leave(party.ids[1]) == Error.NONE and party.state() == "PreparingRebalance"
    party.join(third, party.ids[2])
    assert third.is_silent(SILENCE_S)
    assert party.leave(party.ids[2]) == Error.NONE
    assert third.answer().error_code.value == Error.UNKNOWN_MEMBER_ID
    party.join(first, party.ids[0])
    assert first.answer().generation_id == 3
    assert second.is_silent(SILENCE_S)


@pytest.mark.rule("GROUP-OFFSET-7")
def test_no_offset_gets_old_while_an_assignment_is_awaited(parties: Iterator[Party]) -> None:
    """What a group of offsets alone committed later is gone first."""
    party, simple = next(parties), next(parties)
    party.rounds_up(("range",), ("range",))
    party.settles()
    party.join(party.connections[0], party.ids[0])
    assert [party.commits(topic, party.ids[0], 2) for topic in ("t", "u")] == [Error.NONE] * 2
    party.join(party.connections[1], party.ids[1])
    assert {one.answer().generation_id for one in party.connections} == {3}
    assert simple.commits("u", "", -1) == Error.NONE
    while simple.fetches("u") != -1:
        time.sleep(0.05)
    assert party.state() == "CompletingRebalance"
    assert (party.fetches("t"), party.fetches("u")) == (5, 5)
    party.sync(party.connections[0], party.ids[0], 3)
    assert party.connections[0].answer().error_code.value == Error.NONE
    while party.fetches("u") != -1:
        time.sleep(0.05)
    assert party.fetches("t") == 5


@pytest.mark.rule("GROUP-OFFSET-4")
def test_an_offset_of_another_topic_of_the_name_is_told_by_name_and_not_by_id(address: tuple[str, int]) -> None:
    with Connection(*address) as connection:
        topic_id = connection.ask(m.MetadataRequest((m.MetadataRequestTopic(ZERO_UUID, "t"),)), 12).topics[0].topic_id.bytes

        def fetched(version: int) -> tuple[Any, ...]:
            named = m.OffsetFetchRequestTopics("t" if version < 10 else "", topic_id if version >= 10 else ZERO_UUID, (0,))
            body = m.OffsetFetchRequest(groups=(m.OffsetFetchRequestGroup(OF_ANOTHER, topics=(named,)),))
            one = connection.ask(body, version).groups[0].topics[0].partitions[0]
            return one.committed_offset, one.committed_leader_epoch, one.metadata, one.error_code.value

        assert fetched(9) == (7, 3, "m", Error.NONE)
        assert fetched(10) == (-1, -1, "", Error.NONE)
