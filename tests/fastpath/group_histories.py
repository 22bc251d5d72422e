"""Random histories of groups, asked of the twins: members that come, go and fall silent, offsets, time, restarts, and the log that holds all of it.

Both brokers draw the same ids, so a step is plain data as soon as it is made; what a history has asked so far stands in `story`.

`python -m fastpath.group_histories STEPS`: what came of so many steps, as JSON. Planted faults are looked for so, each in a process of its own.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from group_bench import subscription

import fiducial.fastpath.core
from fastpath.equality import folders
from fastpath.twins import Different, Twins
from fiducial.conformance.exploration.steps import CLIENT_ID, answer_of, request_frame
from fiducial.conformance.oracle import KEYS
from fiducial.models import messages as m
from fiducial.models.apis import APIS
from fiducial.models.errors import Error
from fiducial.models.groups import Group, State
from fiducial.models.topics import OFFSETS_TOPIC
from fiducial.models.values import ZERO_UUID

GROUPS = ("g", "h")
#: So many steps make a history.
LENGTH = 300
#: Topics of two partitions each; they come and go. One that never was.
TOPICS, ABSENT = ("t", "u"), "v"
PROTOCOLS = (
    *[(("range", subscription("t")), ("sticky", b""))] * 6,
    (("range", subscription("u")), ("sticky", b"")),
    (("sticky", b""), ("range", subscription("t"))),
    (("range", b"\0"), ("sticky", b"")),
    (("x", b""),),
    (),
)
SESSION_MS, SHORT_MS, MINUTE_MS, DAY_MS = 10_000, 6_000, 60_000, 86_400_000
SMALL_BYTES = "2000"  # of a segment: the log of groups is written anew soon
NEWEST_KNOWN = 8  # so many members are spoken of, those that came last


class GroupHistory:
    """Two groups, their members on connections of their own, and whoever else asks."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.twins, self.random = Twins(folder), Random(seed)
        self.waiting: dict[int, tuple[int, int]] = {}  # connection → API key and version of what waits there
        self.members: list[tuple[str, str | None]] = [("", None)]  # ids that were given out, with the instance they were given to
        self.story: list[str] = []
        self.reached: Counter[str] = Counter()
        self.ask(m.CreateTopicsRequest(tuple(m.CreatableTopic(name, 2, 1) for name in TOPICS), 60_000), 7)
        self.ask(m.HeartbeatRequest("g", 1, "nobody"), 4)  # nobody coordinates yet
        self.ask(m.FindCoordinatorRequest("g", 0), 3)
        self.configure("internal.segment.bytes", SMALL_BYTES)
        self.weights: dict[Callable[[], None], float] = {
            self.behave: 6, self.join: 8, self.sync: 5, self.beat: 2, self.leave: 2, self.commit: 4, self.fetch: 2, self.describe: 1, self.list: 0.5,
            self.delete_groups: 0.5, self.delete_offsets: 1, self.time_passes: 3, self.hang_up: 0.5, self.read_log: 1, self.topic_goes: 0.3,
            self.broker_restarts: 0.3, self.house_is_kept: 0.3, self.offsets_topic_goes: 0.04, self.await_log: 0.5, self.log_takes: 0.3,
            self.offsets_topic_grows: 0.2,
        }  # fmt: skip

    def configure(self, config: str, text: str) -> None:
        """The topic that groups are written down in."""
        change = m.IncrementalAlterConfigsRequestAlterableConfig(config, 0, text)
        self.ask(m.IncrementalAlterConfigsRequest((m.IncrementalAlterConfigsRequestAlterConfigsResource(2, OFFSETS_TOPIC, (change,)),)), 1)

    def take(self) -> None:
        """One step of a random kind."""
        self.random.choices(list(self.weights), list(self.weights.values()))[0]()

    # Asking

    def ask(self, body: Any, version: int, *, may_wait: bool = False) -> Any:
        """The answer, None if it waits: then it is heard of later."""
        self.story.append(f"{type(body).__name__} v{version} {body}")
        connection = next(self.twins.connections)
        client_id = CLIENT_ID if self.random.random() < 0.99 else "c" * 32_750
        self.twins.frame(connection, request_frame(KEYS[type(body)], version, body, client_id))
        self.reached.update((type(body).__name__, *self.twins.rules()))
        if connection not in self.twins.answers:
            assert may_wait, self.story[-1]
            self.waiting[connection] = KEYS[type(body)], version
        answer = self.heard(connection, KEYS[type(body)], version)
        self.listen()
        return answer

    def heard(self, connection: int, key: int, version: int) -> Any:
        """The answer on a connection, if there is one; who is told an id is known from then on."""
        data = self.twins.answers.pop(connection, None)
        if data is None:
            return None
        self.waiting.pop(connection, None)
        answer = answer_of(data[4:], key, version)
        self.reached["not written"] += f"error_code={Error.UNKNOWN_SERVER_ERROR.value}" in repr(answer)
        if isinstance(answer, m.JoinGroupResponse) and answer.error_code in (Error.NONE, Error.MEMBER_ID_REQUIRED):
            instance = next((None if one.instance_id is None else one.instance_id for one in self.known() if one.member_id == answer.member_id), None)
            self.members = [*dict.fromkeys((*self.members, (answer.member_id, instance)))][-NEWEST_KNOWN:]
        return answer

    def listen(self) -> None:
        """Whoever was waiting, and is answered."""
        for connection, (key, version) in list(self.waiting.items()):
            if self.heard(connection, key, version) is not None:
                self.reached["read as it was written" if key == KEYS[m.FetchRequest] else "answered later"] += 1

    def known(self) -> list[Any]:
        """Every member there is."""
        return [one for group in self.twins.reference.broker.groups.live.values() for one in group.members.values()]

    # Choices

    def group(self) -> Group:
        """One of the groups, as it is."""
        group_id = self.random.choice(GROUPS)
        return self.twins.reference.broker.groups.live.get(group_id) or Group(group_id)

    def some(self, *choices: Any) -> Any:
        """Any of them."""
        return self.random.choice(choices)

    def version(self, api_key: int, lowest: int = 0) -> int:
        """A version of an API."""
        return self.random.randint(max(APIS[api_key].min_version, lowest), APIS[api_key].max_version)

    def asker(self, group: Group) -> tuple[str, str | None, int]:
        """Mostly a member of the group, in its generation; sometimes one that was, a stranger, or out of step."""
        member_id, instance = self.random.choice([*sorted((one.member_id, one.instance_id) for one in group.members.values()), *self.members, ("nobody", None)])
        if self.random.random() < 0.1:
            instance = self.some(None, "i", "j")
        return member_id, instance, group.generation + self.some(0, 0, 0, 0, 0, 0, -1, 1)

    def partitions(self) -> list[tuple[str, int]]:
        """Some partitions, one of them perhaps none."""
        return [(self.some("t", "t", "u", ABSENT), self.some(0, 0, 1, 2)) for _ in range(self.some(1, 1, 2, 3))]

    # Members

    def behave(self) -> None:
        """Every member of a group does what its state wants of it: joins, syncs, or is alive."""
        group = self.group()
        for member_id, member in sorted(group.members.items(), key=lambda one: (one[0] == group.leader, one[0])):
            if group.state is State.PREPARING and member_id not in group.joins:
                protocols = tuple(m.JoinGroupRequestProtocol(*one) for one in member.protocols)
                body = m.JoinGroupRequest(group.group_id, SESSION_MS, MINUTE_MS, member_id, member.instance_id, "consumer", protocols)
                self.ask(body, 9, may_wait=True)
            elif group.state is State.COMPLETING and member_id in group.unsynced:
                given = tuple(m.SyncGroupRequestAssignment(one, one.encode()) for one in sorted(group.members))
                sync = m.SyncGroupRequest(
                    group.group_id, group.generation, member_id, member.instance_id, group.protocol_type, group.protocol, given
                )
                self.ask(sync, 5, may_wait=True)
            elif group.state is State.STABLE:
                self.ask(m.HeartbeatRequest(group.group_id, group.generation, member_id, member.instance_id), 4)

    def join(self) -> None:
        group = self.group()
        member_id, instance, _ = self.asker(group)
        if self.random.random() < 0.4:
            member_id, instance = "", self.some(None, None, "i", "j")
        kind = "consumer" if self.random.random() < (0.92 if group.members else 0.75) else self.some("", "connect", "connect")
        session_ms = self.some(SESSION_MS, SESSION_MS, SHORT_MS) if self.random.random() < 0.95 else self.some(5, 2**31 - 1)
        protocols = tuple(m.JoinGroupRequestProtocol(*one) for one in self.random.choice(PROTOCOLS))
        body = m.JoinGroupRequest(group.group_id, session_ms, self.some(20_000, MINUTE_MS), member_id, instance, kind, protocols)
        self.ask(body, self.version(11, 5 if instance is not None else 0), may_wait=True)

    def sync(self) -> None:
        group = self.group()
        member_id, instance, generation = self.asker(group)
        if group.leader is not None and self.random.random() < 0.4:
            member_id, instance = group.leader, None
        version = self.version(14, 3 if instance is not None else 0)
        names = ("consumer", group.protocol or "range") if self.random.random() < 0.9 else self.some((None, None), ("consumer", "x"), ("connect", "range"))
        given = tuple(m.SyncGroupRequestAssignment(one, bytes([at])) for at, one in enumerate([*sorted(group.members), "nobody"]))
        kind, protocol = names if version >= 5 else (None, None)
        self.ask(m.SyncGroupRequest(group.group_id, generation, member_id, instance, kind, protocol, given), version, may_wait=True)

    def beat(self) -> None:
        group = self.group()
        member_id, instance, generation = self.asker(group)
        self.ask(m.HeartbeatRequest(group.group_id, generation, member_id, instance), self.version(12, 3))

    def leave(self) -> None:
        group = self.group()
        version = self.version(13)
        named = [self.asker(group)[:2] for _ in range(self.some(1, 1, 1, 2, 0))]
        if version < 3:
            self.ask(m.LeaveGroupRequest(group.group_id, named[0][0] if named else ""), version)
        else:
            self.ask(m.LeaveGroupRequest(group.group_id, "", tuple(m.MemberIdentity(*one) for one in named)), version)

    # Offsets

    def commit(self) -> None:
        group = self.group()
        member_id, instance, generation = self.asker(group)
        version = self.version(8, 7 if instance is not None else 0)
        ids = {name: topic.topic_id for name, topic in self.twins.reference.broker.topics.by_name.items()}
        topics = tuple(
            m.OffsetCommitRequestTopic(
                name if version < 10 else "",
                ZERO_UUID if version < 10 else ids.get(name, bytes([7]) * 16),
                (m.OffsetCommitRequestPartition(index, self.random.randrange(-2, 50), self.some(-1, 0, 3), self.some("", "m", None, "x" * 4_096, "x" * 4_097)),),
            )
            for name, index in self.partitions()
        )
        who = (generation, member_id, instance) if self.random.random() < 0.7 else (-1, "", None)
        retention_ms = self.some(-1, -1, MINUTE_MS) if version < 5 else -1
        self.ask(m.OffsetCommitRequest(group.group_id, *who, retention_ms, topics), version)

    def fetch(self) -> None:
        version = self.version(9)
        wanted = None if self.random.random() < 0.4 and version >= 2 else self.partitions()
        if version < 8:
            named = None if wanted is None else tuple(m.OffsetFetchRequestTopic(name, (index,)) for name, index in wanted)
            self.ask(m.OffsetFetchRequest(self.some(*GROUPS, "z"), named), version)
            return
        ids = {name: topic.topic_id for name, topic in self.twins.reference.broker.topics.by_name.items()}
        topics = None if wanted is None else tuple(
            m.OffsetFetchRequestTopics(name if version < 10 else "", ZERO_UUID if version < 10 else ids.get(name, bytes([7]) * 16), (index,)) for name, index in wanted
        )  # fmt: skip
        groups = tuple(m.OffsetFetchRequestGroup(group_id, topics=topics) for group_id in self.some(("g",), ("h", "g"), ("z",)))
        self.ask(m.OffsetFetchRequest(groups=groups), version)

    def delete_offsets(self) -> None:
        topics = tuple(m.OffsetDeleteRequestTopic(name, (m.OffsetDeleteRequestPartition(index),)) for name, index in self.partitions())
        self.ask(m.OffsetDeleteRequest(self.some(*GROUPS, *GROUPS, "z", ""), topics), 0)

    # Whole groups

    def describe(self) -> None:
        version = self.version(15)
        self.ask(m.DescribeGroupsRequest(self.some(("g", "h", "z"), ("g",), ()), version >= 3 and self.some(True, False)), version)

    def list(self) -> None:
        version = self.version(16)
        states = self.some((), ("Stable", "empty"), ("x",)) if version >= 4 else ()
        self.ask(m.ListGroupsRequest(states, self.some((), ("Classic",), ("share",)) if version >= 5 else ()), version)

    def delete_groups(self) -> None:
        self.ask(m.DeleteGroupsRequest(self.some(("g",), ("h", "g"), ("z", "g"), ("g", "g"))), self.version(42))

    # Time, and what else happens

    def time_passes(self) -> None:
        """A while, in which every alarm rings that is due."""
        passed_ms = self.some(100, 1_000, 3_000, 3_000, 10_000, 20_000)
        self.story.append(f"{passed_ms} ms pass")
        self.twins.pass_ms(passed_ms)
        self.listen()

    def house_is_kept(self) -> None:
        """The broker looks for what is too old, an hour or some days later."""
        self.story.append("the broker looks for what is old")
        self.twins.now += self.some(0, 0, 8 * DAY_MS)
        self.twins.pass_time()
        self.listen()
        self.reached["written anew"] += any(here.log.start for here in self.twins.reference.broker.partitions.values())

    def hang_up(self) -> None:
        """Somebody who waits is gone."""
        if self.waiting:
            connection = self.random.choice(list(self.waiting))
            self.story.append(f"connection {connection} ends")
            del self.waiting[connection]
            self.twins.disconnected(connection)

    def read_log(self) -> None:
        """What the groups' log has, in bytes."""
        wanted = tuple(m.FetchPartition(index, partition_max_bytes=1 << 20) for index in range(50))
        self.ask(m.FetchRequest(max_wait_ms=0, min_bytes=0, topics=(m.FetchTopic(OFFSETS_TOPIC, partitions=wanted),)), 12)

    def await_log(self) -> None:
        """What will be written of some group next; whoever waits for it already is gone."""
        for connection, (key, _) in list(self.waiting.items()):
            if key == KEYS[m.FetchRequest]:
                del self.waiting[connection]
                self.twins.disconnected(connection)
        topic = self.twins.reference.broker.topics.by_name[OFFSETS_TOPIC]
        ends = [self.twins.reference.broker.partitions[topic.topic_id, index].log.end for index in range(topic.partitions)]
        wanted = tuple(m.FetchPartition(index, fetch_offset=end, partition_max_bytes=1 << 20) for index, end in enumerate(ends))
        topics = (m.FetchTopic(OFFSETS_TOPIC, partitions=wanted),)
        self.ask(m.FetchRequest(max_wait_ms=2**31 - 1, min_bytes=1, session_epoch=-1, topics=topics), 12, may_wait=True)

    def log_takes(self) -> None:
        """No large batches, or as usual: what groups cannot write down does not happen."""
        self.configure("max.message.bytes", self.some("1048588", "1048588", "200", "140"))

    def topic_goes(self) -> None:
        """And another of its name comes."""
        name = self.some(*TOPICS)
        self.ask(m.DeleteTopicsRequest((m.DeleteTopicState(name),), timeout_ms=60_000), 6)
        self.ask(m.CreateTopicsRequest((m.CreatableTopic(name, 2, 1),), 60_000), 7)

    def offsets_topic_goes(self) -> None:
        """With every group."""
        self.ask(m.DeleteTopicsRequest((m.DeleteTopicState(OFFSETS_TOPIC),), timeout_ms=60_000), 6)
        self.ask(m.FindCoordinatorRequest("g", 0), 3)
        self.configure("internal.segment.bytes", SMALL_BYTES)

    def offsets_topic_grows(self) -> None:
        """Groups lie elsewhere from then on."""
        count = self.twins.reference.broker.topics.by_name[OFFSETS_TOPIC].partitions + 1
        self.ask(m.CreatePartitionsRequest((m.CreatePartitionsTopic(OFFSETS_TOPIC, count, None),), 60_000, False), 3)

    def broker_restarts(self) -> None:
        """In good order, or killed; nobody waits any more."""
        is_clean = self.some(True, False)
        self.story.append("a clean stop and a start" if is_clean else "a kill and a start")
        self.twins.restart(is_clean)
        self.waiting.clear()

    def states(self) -> set[State]:
        """Those that the groups are in."""
        return {group.state for group in self.twins.reference.broker.groups.live.values()}


def main(steps_max: int) -> None:
    """One history after the other until the two part, or until so many steps were taken. Of the fast path alone, an exception is a parting too."""
    taken, told = 0, None
    with folders() as fresh:
        for seed in itertools.count(1):
            history = GroupHistory(next(fresh), seed)
            try:
                for _ in range(LENGTH):
                    history.take()
            except (Different, AssertionError) as parting:
                told = {"steps": len(history.story), "text": f"{parting}\n{history.story[-1]}"}
            history.twins.close()
            taken += len(history.story)
            if told is not None or taken >= steps_max:
                print(json.dumps({"core": fiducial.fastpath.core.__file__, "seed": seed, "steps": taken, "story": told}))
                return


if __name__ == "__main__":
    main(int(sys.argv[1]))
