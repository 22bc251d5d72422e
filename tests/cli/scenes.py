"""Topics and groups, made at a broker by bare requests, for the command line to look at."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, cast

from group_bench import subscription

from fiducial.cli.cluster import Cluster, Node
from fiducial.conformance.batches import Item, build
from fiducial.conformance.client import Deadline
from fiducial.conformance.oracle import KEYS
from fiducial.models import messages as m
from fiducial.models.batches import CODEC_ZSTD
from fiducial.models.errors import Error

PATIENCE_S, PAUSE_S = 30.0, 0.02
SESSION_MS, REBALANCE_MS = 300_000, 300_000
PROTOCOL = "range"
#: The time of the first record of every partition; each that follows is a second younger.
BEGUN_MS = 1_600_000_000_000
SECOND_MS = 1_000

#: topic → partitions
Assigned = Mapping[str, Sequence[int]]
RETRIED = frozenset({Error.COORDINATOR_NOT_AVAILABLE, Error.COORDINATOR_LOAD_IN_PROGRESS, Error.NOT_COORDINATOR, Error.UNKNOWN_TOPIC_OR_PARTITION})


def assignment(assigned: Assigned) -> bytes:
    """What a leader says to a consumer, without user data."""
    topics = (name.encode() for name in assigned)
    parts = (len(indexes).to_bytes(4) + b"".join(index.to_bytes(4) for index in indexes) for indexes in assigned.values())
    return b"\0\0" + len(assigned).to_bytes(4) + b"".join(len(name).to_bytes(2) + name + part for name, part in zip(topics, parts, strict=True)) + b"\xff" * 4


def asked(node: Node, message: Any, version: int, client_id: str = "scenes") -> Any:
    """The answer to a request in a version."""
    node.connection.deadline = Deadline(PATIENCE_S)
    return node.told(node.connection.ask(KEYS[type(message)], version, message, client_id=client_id))


def patiently(ask: Callable[[], Any], errors_in: Callable[[Any], set[int]]) -> Any:
    """An answer without errors; a coordinator that is just being made is asked again."""
    give_up = time.monotonic() + PATIENCE_S
    while errors := errors_in(answer := ask()) - {Error.NONE}:
        assert time.monotonic() < give_up and errors <= RETRIED, answer
        time.sleep(PAUSE_S)
    return answer


class Scene:
    """A connection to a cluster, and one for each member."""

    def __init__(self, bootstrap: str) -> None:
        self.cluster = Cluster(bootstrap)

    def topic(self, name: str, partitions: int) -> None:
        """A new topic, whose partitions have leaders."""
        keeps = (m.CreatableTopicConfig("retention.ms", "-1"),)
        create = m.CreateTopicsRequest((m.CreatableTopic(name, partitions, 1, configs=keeps),), int(PATIENCE_S * 1000))
        (made,) = asked(self.cluster.first, create, 4).topics
        assert made.error_code == Error.NONE, made
        while not all(len(topic.partitions) == partitions and not any(one.error_code for one in topic.partitions) for topic in self.metadata(name)):
            time.sleep(PAUSE_S)

    def metadata(self, name: str) -> Any:
        """Where the topic is."""
        return asked(self.cluster.first, m.MetadataRequest((m.MetadataRequestTopic(name=name),), False), 4).topics

    def produce(self, topic: str, partition: int, count: int, codec: int = CODEC_ZSTD) -> None:
        """One batch of so many records."""
        batch = build([Item(BEGUN_MS + number * SECOND_MS) for number in range(count)], codec=codec)
        data = (m.PartitionProduceData(partition, cast(Any, batch)),)  # the suite's codec takes bytes
        produce = m.ProduceRequest(acks=-1, timeout_ms=int(PATIENCE_S * 1000), topic_data=(m.TopicProduceData(topic, partition_data=data),))
        (answer,) = asked(self.leader(topic, partition), produce, 9).responses
        assert answer.partition_responses[0].error_code == Error.NONE, answer

    def leader(self, topic: str, partition: int) -> Node:
        """The node that leads a partition."""
        (leader,) = (one.leader_id for found in self.metadata(topic) for one in found.partitions if one.partition_index == partition)
        return self.cluster.node(leader)

    def delete_records(self, topic: str, partition: int, offset: int) -> None:
        """The log begins later."""
        delete = m.DeleteRecordsRequest((m.DeleteRecordsTopic(topic, (m.DeleteRecordsPartition(partition, offset),)),), int(PATIENCE_S * 1000))
        (answer,) = asked(self.leader(topic, partition), delete, 1).topics
        assert answer.partitions[0].error_code == Error.NONE, answer

    def coordinator(self, group: str) -> Node:
        """The node that coordinates a group; a broker's first one takes a while."""
        found = patiently(lambda: asked(self.cluster.first, m.FindCoordinatorRequest(group, 0), 3), lambda answer: {answer.error_code})
        return self.cluster.node(found.node_id)

    def commit(self, group: str, offsets: Mapping[tuple[str, int], int], member_id: str = "", generation: int = -1) -> None:
        """A commit, by a member or by nobody."""
        topics = tuple(m.OffsetCommitRequestTopic(topic, partitions=(m.OffsetCommitRequestPartition(index, offset),)) for (topic, index), offset in offsets.items())
        request = m.OffsetCommitRequest(group, generation, member_id, topics=topics)
        patiently(lambda: asked(self.coordinator(group), request, 7), lambda answer: {one.error_code for topic in answer.topics for one in topic.partitions})

    def join(self, group: str, assigned: Mapping[str, bytes], protocol_type: str = "consumer") -> tuple[list[str], int]:
        """A group of members by their client ids, each with its assignment; their member ids and the generation."""
        coordinator = self.coordinator(group)
        address = (coordinator.connection.socket.getpeername()[0], coordinator.connection.socket.getpeername()[1])
        nodes = {client: self.cluster.connected(*address) for client in assigned}
        (first, *others) = assigned
        member_id = self.joined(nodes[first], first, group, protocol_type, "").member_id
        for count, client in enumerate(others, 2):
            self.send_join(nodes[client], client, group, protocol_type, "")
            while len(self.described(coordinator, group).members) < count:
                time.sleep(PAUSE_S)
        answers = [self.joined(nodes[first], first, group, protocol_type, member_id), *(nodes[client].told(nodes[client].connection.receive()) for client in others)]
        ids = [answer.member_id for answer in answers]
        told = tuple(m.SyncGroupRequestAssignment(one, data) for one, data in zip(ids, assigned.values(), strict=True))
        for answer, node in zip(answers, nodes.values(), strict=True):
            synced = asked(node, m.SyncGroupRequest(group, answer.generation_id, answer.member_id, assignments=told if answer.leader == answer.member_id else ()), 3)
            assert synced.error_code == Error.NONE, synced
        return ids, answers[0].generation_id

    def joined(self, node: Node, client_id: str, group: str, protocol_type: str, member_id: str) -> Any:
        """The answer to a JoinGroup."""

        def ask() -> Any:
            self.send_join(node, client_id, group, protocol_type, member_id)
            return node.told(node.connection.receive())

        return patiently(ask, lambda answer: {answer.error_code})

    def send_join(self, node: Node, client_id: str, group: str, protocol_type: str, member_id: str) -> None:
        """A JoinGroup, of a version in which a new member need not ask for an id first."""
        protocol = m.JoinGroupRequestProtocol(PROTOCOL, subscription("t"))
        request = m.JoinGroupRequest(group, SESSION_MS, REBALANCE_MS, member_id, protocol_type=protocol_type, protocols=(protocol,))
        node.connection.send(KEYS[m.JoinGroupRequest], 3, request, client_id=client_id)

    def described(self, node: Node, group: str) -> Any:
        """The group as its coordinator describes it."""
        (found,) = asked(node, m.DescribeGroupsRequest((group,)), 4).groups
        return found

    def leave(self, group: str, member_id: str) -> None:
        """A member leaves."""
        answer = asked(self.coordinator(group), m.LeaveGroupRequest(group, member_id), 2)
        assert answer.error_code == Error.NONE, answer

    def __enter__(self) -> Scene:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.cluster.__exit__(kind, error, trace)
