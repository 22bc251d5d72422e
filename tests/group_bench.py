"""A coordinator to ask, for the tests of groups: what it answers, what it writes, and a clock with the alarms it set."""

from __future__ import annotations

from typing import Any

from samples import NOW

from fiducial.models import group_requests
from fiducial.models.events import Persist, Reply
from fiducial.models.group_requests import Groups
from fiducial.models.groups import Alarm, Asked, Group, GroupConfig, SetAlarm
from fiducial.models.messages import (
    DeleteGroupsRequest,
    HeartbeatRequest,
    JoinGroupRequest,
    JoinGroupRequestProtocol,
    LeaveGroupRequest,
    MemberIdentity,
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    SyncGroupRequest,
    SyncGroupRequestAssignment,
)
from fiducial.models.topics import Topic, Topics
from fiducial.models.values import EMPTY

T_ID, U_ID = bytes([1]) * 16, bytes([2]) * 16
#: Two topics of two partitions.
TOPICS = Topics(
    EMPTY.update({"t": Topic(T_ID, "t", 2), "u": Topic(U_ID, "u", 2)}),
    EMPTY.update({T_ID: "t", U_ID: "u"}),
)
SESSION_MS, REBALANCE_MS = 10_000, 30_000


def subscription(*topics: str) -> bytes:
    """What a consumer says of itself, without user data."""
    names = b"".join(len(name.encode()).to_bytes(2) + name.encode() for name in topics)
    return b"\0\0" + len(topics).to_bytes(4) + names + b"\xff" * 4


class Coordinator:
    """Groups, a clock, and every record and answer so far. Without a delay of the first rebalance, unless it is told."""

    def __init__(self, **config: int) -> None:
        self.groups, self.now, self.tickets = Groups(), NOW, 0
        self.config = GroupConfig(**{"initial_rebalance_delay_ms": 0, **config})
        self.replies: dict[int, Reply] = {}
        self.records: list[Any] = []
        self.alarms: dict[Alarm, int] = {}
        self.last = Asked(0, 0, "", None)

    def take(self, done: tuple[Groups, tuple[Any, ...]]) -> None:
        """The groups after an event, and its effects."""
        self.groups, effects = done
        for effect in effects:
            match effect:
                case Persist(record):
                    self.records.append(record)
                case Reply(ticket):
                    assert ticket not in self.replies, f"{ticket} is answered twice"
                    self.replies[ticket] = effect
                case SetAlarm(alarm, at_ms):
                    self.alarms[alarm] = at_ms

    def send(self, body: Any, version: int, **who: Any) -> int:
        """A request, by its ticket."""
        self.tickets += 1
        group_id = getattr(body, "group_id", "")
        who = {"client_id": "c", "client_host": "/127.0.0.1", "chance": self.tickets.to_bytes(16), **who}
        self.last = Asked(self.tickets, version, group_id, body, **who)
        self.take(group_requests.handle(self.groups, self.last, TOPICS, self.config, self.now))
        return self.tickets

    def ask(self, body: Any, version: int, **who: Any) -> Any:
        """The answer to a request that does not wait."""
        return self.replies[self.send(body, version, **who)].body

    def passes(self, ms: int) -> None:
        """The clock goes on, and every alarm rings in its time."""
        until = self.now + ms
        while due := [(at_ms, alarm.kind.name, alarm.member_id, alarm) for alarm, at_ms in self.alarms.items() if at_ms <= until]:
            at_ms, *_, alarm = min(due, key=lambda one: one[:3])
            self.now = max(self.now, at_ms)
            del self.alarms[alarm]
            self.take(group_requests.ring(self.groups, alarm, self.config, self.now))
        self.now = until

    def settles(self) -> None:
        """What is due now happens: a first rebalance without delay."""
        self.passes(0)

    def keeps_house(self) -> None:
        """Expiry looks."""
        self.take(group_requests.keep_house(self.groups, TOPICS, self.config, self.now))

    def restarts(self) -> None:
        """Nothing is left but the records."""
        durable = Groups()
        for record in self.records:
            durable = group_requests.evolve(durable, record)
        self.alarms.clear()
        self.take(group_requests.restarted(durable, self.now))

    def group(self, group_id: str = "g") -> Group:
        """One group."""
        return group_requests.group_of(self.groups, group_id)

    # Requests

    def join(self, member_id: str = "", *, version: int = 9, instance: str | None = None, **fields: Any) -> int:
        """A JoinGroup of a consumer, by its ticket; `protocols` are names, with metadata, the best first."""
        protocols = fields.pop("protocols", {"range": subscription("t")})
        who = {key: fields.pop(key) for key in ("client_id", "chance") if key in fields}
        body = JoinGroupRequest(
            fields.pop("group", "g"),
            fields.pop("session", SESSION_MS),
            fields.pop("rebalance", REBALANCE_MS),
            member_id,
            instance,
            fields.pop("kind", "consumer"),
            tuple(JoinGroupRequestProtocol(name, metadata) for name, metadata in protocols.items()),
        )
        assert not fields, fields
        return self.send(body, version, member_id=member_id, instance_id=instance, **who)

    def sync(self, member_id: str, generation: int, assignments: dict[str, bytes] | None = None, *, version: int = 5, **fields: Any) -> int:
        """A SyncGroup, by its ticket; with the group's own protocol, if no other is told."""
        instance, group_id = fields.pop("instance", None), fields.pop("group", "g")
        body = SyncGroupRequest(
            group_id,
            generation,
            member_id,
            instance,
            fields.pop("kind", self.group(group_id).protocol_type or "consumer"),
            fields.pop("protocol", self.group(group_id).protocol or "range"),
            tuple(SyncGroupRequestAssignment(one, assignment) for one, assignment in (assignments or {}).items()),
        )
        assert not fields, fields
        return self.send(body, version, member_id=member_id, instance_id=instance, generation=generation)

    def beat(self, member_id: str, generation: int, *, instance: str | None = None, group: str = "g") -> int:
        """The error of a Heartbeat."""
        body = HeartbeatRequest(group, generation, member_id, instance)
        return int(self.ask(body, 4, member_id=member_id, instance_id=instance, generation=generation).error_code)

    def leave(self, *members: str | tuple[str, str | None], group: str = "g") -> list[int]:
        """The errors of a LeaveGroup, member by member."""
        named = [one if isinstance(one, tuple) else (one, None) for one in members]
        body = LeaveGroupRequest(group, "", tuple(MemberIdentity(*one) for one in named))
        answer = self.ask(body, 5)
        assert answer.error_code == 0
        return [one.error_code for one in answer.members]

    def commit(self, offset: int, member_id: str = "", generation: int = -1, *, version: int = 9, **fields: Any) -> int:
        """The error of an OffsetCommit of partition 0 of t."""
        instance = fields.pop("instance", None)
        partition = OffsetCommitRequestPartition(fields.pop("index", 0), offset, fields.pop("epoch", -1), fields.pop("metadata", ""))
        topics = (OffsetCommitRequestTopic(fields.pop("topic", "t"), fields.pop("topic_id", bytes(16)), (partition,)),)
        body = OffsetCommitRequest(fields.pop("group", "g"), generation, member_id, instance, fields.pop("retention", -1), topics)
        assert not fields, fields
        answer = self.ask(body, version, member_id=member_id, instance_id=instance, generation=generation)
        return int(answer.topics[0].partitions[0].error_code)

    def delete(self, *groups: str) -> list[int]:
        """The errors of a DeleteGroups."""
        return [one.error_code for one in self.ask(DeleteGroupsRequest(groups), 2).results]

    # Stories

    def joined(self, *, instance: str | None = None, **fields: Any) -> str:
        """The id of a member that joins and waits: static, or, as clients do, with the id that it was given."""
        if instance is not None:
            self.join(instance=instance, **fields)
            return self.group(fields.get("group", "g")).statics[instance]
        given: str = self.replies[self.join(**fields)].body.member_id
        self.join(given, **fields)
        return given

    def stable(self, *, others: int = 0, instance: str | None = None, **fields: Any) -> list[str]:
        """The ids of a leader, dynamic, of others like it, and of a static member, in a group that is stable at generation 1."""
        members = [self.joined(**fields) for _ in range(1 + others)]
        members += [self.joined(instance=instance, **fields)] if instance is not None else []
        self.settles()
        assert self.group().generation == 1 and self.group().leader == members[0]
        for member_id in members[1:]:
            self.sync(member_id, 1)
        self.sync(members[0], 1, {member_id: member_id.encode() for member_id in members})
        return members
