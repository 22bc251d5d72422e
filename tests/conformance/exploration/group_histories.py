"""Random histories with groups in them: members that join, sync, leave and are strangers, and offsets, in the company of everything else.

What members mean to do is kept beside, as what producers believe to have written: now and then all of them join again and sync, one step
after the other, while others ask what they like. How many ids were given is a guess.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fiducial.conformance.exploration.histories import CONFIGS, ODD_NAMES, Histories, is_for_guests, named
from fiducial.conformance.exploration.steps import Step
from fiducial.conformance.founding import PROTOCOL, REBALANCE_MS, SESSION_MS, TYPE
from fiducial.conformance.symbols import STRANGE_MEMBER, Generation, GroupId, IdOf, Member, Subscription
from fiducial.models import messages as m
from fiducial.models.values import ZERO_UUID, changed

#: The first is there when a history begins, with one member; nobody knows the second yet, and the third nobody ever makes.
GROUPS = ("g", "h", "absent")
INSTANCES = ("i", "j")
#: From these versions on: a member has an instance, several leave at once, a protocol is told of with the assignments, several groups are asked of.
JOIN_STATIC, SYNC_STATIC, BEAT_STATIC, LEAVE_MANY, SYNC_NAMES, COMMIT_STATIC, FETCH_MANY = 5, 3, 3, 3, 5, 7, 8
#: From these on, a new member is given its id at once; offsets are kept by topic id.
GIVES_IDS, BY_ID = 4, 10
METADATA_MAX = 4096
#: The group that is there, the one that may be there or not, and the generation that it is.
THERE: Any = GroupId(GROUPS[0])
PERHAPS: Any = GroupId(GROUPS[1])
NOW: Any = Generation()


class GroupHistories(Histories):
    """Makes steps at random, some of them about groups."""

    def __init__(self, seed: int, *, served: Mapping[int, Sequence[int]] | None = None, topics: Sequence[str] = tuple(sorted(CONFIGS))) -> None:
        super().__init__(seed, served=served, topics=topics)
        self.world = replace(self.world, groups=GROUPS)
        self.given = 1  # so many ids, probably
        self.planned: list[Step] = []
        self.deleted: set[str] = set()  # groups that may be gone, or there anew
        self.makers |= {
            self.rebalance: 5, self.join: 10, self.sync: 8, self.heartbeat: 4, self.leave: 5, self.offset_commit: 12, self.offset_fetch: 8,
            self.offset_delete: 3, self.describe_groups: 4, self.delete_groups: 2,
        }  # fmt: skip

    def next_step(self) -> Step:
        """What a member means to do, mostly, if one does."""
        while self.planned and self.happens(0.7):
            step = self.planned.pop(0)
            if self.served is None or is_for_guests(step, self.served):
                return step
        return super().next_step()

    # Who asks

    def group(self) -> Any:
        """A group of ours, mostly the one that is there."""
        return self.pick({THERE: 88, PERHAPS: 12})

    def group_or_none(self) -> Any:
        """The same, or no group at all."""
        return self.group() if self.happens(0.97) else ""

    def member(self) -> Any:
        """A member, mostly one that was given an id."""
        kind = self.pick({"given": 88, "stranger": 6, "nobody": 6})
        return {"given": Member(self.chance.randrange(self.given)), "stranger": STRANGE_MEMBER, "nobody": ""}[kind]

    def instance(self, version: int, since: int) -> str | None:
        """The instance of a member, where a version can tell it; mostly none."""
        return self.some(INSTANCES) if version >= since and self.happens(0.12) else None

    def generation(self) -> Any:
        """A generation, mostly the one that it is."""
        return Generation(self.pick({0: 86, -1: 6, 1: 6, 7: 2}))

    # Members

    def rebalance(self) -> Step:
        """Every member joins, the first of them with something new, and then all sync."""
        members: list[Any] = [Member(number) for number in range(self.given)]
        self.chance.shuffle(members)
        joins = [self.joining(THERE, member, None) for member in members]
        news = (m.JoinGroupRequestProtocol(PROTOCOL, self.subscription()), m.JoinGroupRequestProtocol("sticky", b"%d" % self.chance.randrange(100)))
        joins[0] = changed(joins[0], body=changed(joins[0].body, protocols=news))
        self.planned += [*joins[1:], *(self.syncing(member) for member in members)]
        return joins[0]

    def joining(self, group: Any, member_id: Any, instance: str | None) -> Step:
        """A sound JoinGroup."""
        version = self.version(11) if instance is None else max(self.version(11), JOIN_STATIC)
        protocols = (m.JoinGroupRequestProtocol(PROTOCOL, self.subscription()), m.JoinGroupRequestProtocol("sticky"))
        return self.step(m.JoinGroupRequest(group, SESSION_MS, REBALANCE_MS, member_id, instance, TYPE, protocols), version)

    def subscription(self) -> Any:
        """What a consumer reads."""
        return self.pick({Subscription(): 60, Subscription(tuple(self.chance.sample(sorted(self.world.topics), 1))): 40})

    def syncing(self, member_id: Any) -> Step:
        """A sound SyncGroup, with assignments: whoever leads assigns."""
        version = self.version(14)
        kind, protocol = (TYPE, PROTOCOL) if version >= SYNC_NAMES else (None, None)
        given = tuple(m.SyncGroupRequestAssignment(self.numbered(number), b"%d" % number) for number in range(self.given))
        return self.step(m.SyncGroupRequest(THERE, NOW, member_id, None, kind, protocol, given), version)

    @staticmethod
    def numbered(number: int) -> Any:
        """The id of a member."""
        return Member(number)

    def join(self) -> Step:
        """A new member, mostly; or one that joins again; some of them as they should not."""
        kind = self.pick({"new": 45, "static": 15, "again": 40})
        instance = self.some(INSTANCES) if kind == "static" else None
        step = self.joining(self.group_or_none(), self.member() if kind == "again" else "", instance)
        if step.body.group_id == THERE and kind != "again":
            self.given += 1
        if kind == "new" and step.api_version >= GIVES_IDS:
            self.planned.append(self.joining(step.body.group_id, self.numbered(self.given - 1), None))
        return self.spoilt_join(step) if self.happens(0.2) else step

    def spoilt_join(self, step: Step) -> Step:
        """The same with something that does not fit."""
        odd: dict[str, Any] = self.some(
            (
                {"session_timeout_ms": 10}, {"session_timeout_ms": 2**31 - 1}, {"protocol_type": "connect"}, {"protocol_type": ""}, {"protocols": ()},
                {"protocols": (m.JoinGroupRequestProtocol("x"),)}, {"protocols": step.body.protocols[::-1]}, {"member_id": STRANGE_MEMBER},
                {"reason": "because"},
            )
        )  # fmt: skip
        return changed(step, body=changed(step.body, **odd))

    def sync(self) -> Step:
        """A member, in its generation or not, with a protocol that was chosen or not."""
        step = self.syncing(self.member())
        names = self.pick({(TYPE, PROTOCOL): 80, (None, None): 6, (TYPE, "sticky"): 7, ("connect", PROTOCOL): 7})
        if step.api_version < SYNC_NAMES:
            names = (None, None)
        return changed(
            step,
            body=changed(
                step.body, group_id=self.group_or_none(), generation_id=self.generation(), group_instance_id=self.instance(step.api_version, SYNC_STATIC),
                protocol_type=names[0], protocol_name=names[1], assignments=step.body.assignments if self.happens(0.8) else (),
            ),
        )  # fmt: skip

    def heartbeat(self) -> Step:
        """A sign of life."""
        version = self.version(12)
        return self.step(m.HeartbeatRequest(self.group_or_none(), self.generation(), self.member(), self.instance(version, BEAT_STATIC)), version)

    def leave(self) -> Step:
        """One member, or several."""
        version = self.version(13)
        if version < LEAVE_MANY:
            return self.step(m.LeaveGroupRequest(self.group_or_none(), self.member()), version)
        members = self.several(lambda: m.MemberIdentity(self.member(), self.instance(version, LEAVE_MANY)), {1: 70, 2: 20, 0: 10})
        return self.step(m.LeaveGroupRequest(self.group_or_none(), "", members), version)

    # Offsets

    def kept(self) -> str:
        """A topic that offsets are of: one that stays, or none. Of one that goes, Apache Kafka forgets them some time later."""
        return self.some(tuple(self.world.topics)) if self.happens(0.9) else self.some(ODD_NAMES)

    def offset_commit(self) -> Step:
        """By a member, or by nobody."""
        version, group = self.version(8), self.group()
        is_member = self.happens(0.6)
        if not is_member and (group != THERE or GROUPS[0] in self.deleted):
            return self.founding_commit()
        topics = tuple(
            m.OffsetCommitRequestTopic(*self.named_or_known(name, version), parts)
            for name, parts in self.grouped(self.several(lambda: (self.kept(), self.committed())))
        )
        generation, member, instance = (self.generation(), self.member(), self.instance(version, COMMIT_STATIC)) if is_member else (-1, "", None)
        retention_ms = self.some((-1, 60_000)) if version < 5 else -1
        return self.step(m.OffsetCommitRequest(group, generation, member, instance, retention_ms, topics), version)

    def founding_commit(self) -> Step:
        """A commit by nobody to a group that may not be there: a sound one, since Apache Kafka makes the group though it may then refuse the commit."""
        version = self.version(8)
        topic = m.OffsetCommitRequestTopic(*self.named_or_known(self.some(tuple(self.world.topics)), version), (m.OffsetCommitRequestPartition(0, 5),))
        return self.step(m.OffsetCommitRequest(PERHAPS, topics=(topic,)), version)

    def committed(self) -> m.OffsetCommitRequestPartition:
        """What is committed of one partition."""
        metadata = self.some(("", "m", None, "x" * METADATA_MAX, "x" * (METADATA_MAX + 1)))
        return m.OffsetCommitRequestPartition(self.index(), self.pick({5: 40, 0: 30, -1: 10, -2: 10, 2**62: 10}), self.pick({-1: 70, 0: 20, 3: 10}), metadata)

    def named_or_known(self, name: str, version: int) -> tuple[Any, Any]:
        """A topic by its name or by its id."""
        known: Any = IdOf(name)
        return ("", known) if version >= BY_ID else (named(name), ZERO_UUID)

    def offset_fetch(self) -> Step:
        """Of some partitions, or of all; of one group, or of several."""
        version = self.version(9)
        asked = None if version >= 2 and self.happens(0.35) else self.grouped(self.several(lambda: (self.kept(), self.index())))
        if version < FETCH_MANY:
            topics = None if asked is None else tuple(m.OffsetFetchRequestTopic(named(name), parts) for name, parts in asked)
            return self.step(m.OffsetFetchRequest(self.group(), topics), version)
        wanted = None if asked is None else tuple(m.OffsetFetchRequestTopics(*self.named_or_known(name, version), parts) for name, parts in asked)
        group_ids = self.pick({(self.group(),): 70, tuple(map(GroupId, GROUPS)): 25, (): 5})
        groups = tuple(m.OffsetFetchRequestGroup(one, topics=wanted) for one in group_ids)
        return self.step(m.OffsetFetchRequest(groups=groups, require_stable=self.happens(0.2)), version)

    def offset_delete(self) -> Step:
        """Offsets away, unless a member may read the topic."""
        parts = self.grouped(self.several(lambda: (self.kept(), m.OffsetDeleteRequestPartition(self.index()))))
        return self.step(m.OffsetDeleteRequest(self.group(), tuple(m.OffsetDeleteRequestTopic(named(name), some) for name, some in parts)))

    # Whole groups

    def describe_groups(self) -> Step:
        """Not the second, nor one that was deleted: Apache Kafka makes groups of which it does not tell until something is written about them."""
        groups: tuple[Any, ...] = tuple(GroupId(group) for group in GROUPS if group not in (GROUPS[1], *self.deleted) and self.happens(0.7))
        return self.step(m.DescribeGroupsRequest(groups, self.happens(0.3)), self.version(15))

    def delete_groups(self) -> Step:
        """One that has members, mostly; one that has not, mostly; or one that is unknown."""
        group = self.pick({GROUPS[0]: 30, GROUPS[1]: 60, GROUPS[2]: 10})
        some: Any = GroupId(group)
        step = self.step(m.DeleteGroupsRequest((some,)))
        if group != GROUPS[1]:
            self.deleted.add(group)
            return step
        self.planned.insert(0, step)
        return self.founding_commit()
