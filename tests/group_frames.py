"""Both brokers as coordinators of groups, asked in frames by several connections, their alarms in the test's hand."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from group_bench import subscription
from samples import NOW

from fiducial.conformance.exploration.steps import answer_of, request_frame
from fiducial.fastpath.node import Node
from fiducial.models import messages as m
from fiducial.models.apis import APIS
from fiducial.models.groups import Alarm
from fiducial.models.settings import parse
from fiducial.models.state import Broker, Cluster
from fiducial.reference.core import Core, Wake

CLUSTER = Cluster("ZmlkdWNpYWxmaWR1Y2lhbA", 1, "127.0.0.1", 9092)
KEYS = {api.request: api.key for api in APIS.values()}
#: The newest versions by the topic's name.
BY_NAME = {0: 12, 1: 12, 8: 9}
NOTHING_DELAYS = {"group.initial.rebalance.delay.ms": "0", "offsets.topic.num.partitions": "4"}
SESSION_MS, REBALANCE_MS = 10_000, 30_000


class Coordinator(Protocol):
    """A broker without sockets: what is sent, to whom, and None to whom it hangs up."""

    broker: Broker

    def frame(self, connection: int, frame: bytes, now: int) -> list[tuple[int, bytes | None]]: ...

    def expire(self, now: int) -> list[tuple[int, bytes | None]]:
        """The alarms ring that are due."""
        ...

    def expiry(self, now: int) -> list[tuple[int, bytes | None]]: ...

    def connected(self, connection: int, address: str) -> None: ...

    def disconnected(self, connection: int, now: int) -> object: ...

    def next_alarm_ms(self) -> int:
        """When the first one rings; -1: none is set."""
        ...

    def held(self) -> int:
        """Of how many requests and connections something is kept."""
        ...

    def close(self) -> None: ...


def sent(actions: Iterable[Any]) -> list[tuple[int, bytes | None]]:
    """To whom what is sent; wakes are not."""
    return [(one.connection, getattr(one, "data", None)) for one in actions if not isinstance(one, Wake)]


class Reference(Core):
    """The reference, and its alarms."""

    def __init__(self, **settings: str) -> None:
        super().__init__(CLUSTER, parse({**NOTHING_DELAYS, **settings}), 1)
        self.alarms: dict[Alarm, int] = {}

    def kept(self, actions: list[Any]) -> list[Any]:
        """The actions, alarms taken in."""
        for one in actions:
            if isinstance(one, Wake) and isinstance(one.ticket, Alarm):
                assert one.at_ms is not None
                self.alarms.pop(one.ticket, None)
                self.alarms[one.ticket] = one.at_ms
        return actions

    def frame(self, connection: int, frame: bytes, now: int) -> Any:
        return sent(self.kept(super().frame(connection, frame, now)))

    def expire(self, now: int) -> list[tuple[int, bytes | None]]:
        actions: list[Any] = []
        while 0 <= self.next_alarm_ms() <= now:
            alarm = min(self.alarms, key=lambda one: self.alarms[one])
            del self.alarms[alarm]
            actions += self.kept(self.ring(alarm, now))
        return sent(actions)

    def expiry(self, now: int) -> Any:
        return sent(self.kept(super().expiry(now)))

    def next_alarm_ms(self) -> int:
        return min(self.alarms.values(), default=-1)

    def held(self) -> int:
        return len(self.waiting) + len(self.origins)

    def close(self) -> None:
        pass


class FastPath(Node):
    """The fast path."""

    def __init__(self, path: Path, **settings: str) -> None:
        super().__init__(path, CLUSTER, parse({**NOTHING_DELAYS, **settings}), 1, NOW)

    def frame(self, connection: int, frame: bytes | bytearray | memoryview, now: int) -> Any:
        return sent(super().frame(connection, frame, now))

    def expire(self, now: int) -> Any:
        return sent(super().expire(now))

    def expiry(self, now: int) -> Any:
        return sent(super().expiry(now))

    def next_alarm_ms(self) -> int:
        return self.alarms.first_ms()

    def held(self) -> int:
        return len(self.waiting) + len(self.origins)


class Talk:
    """Connections that talk with a coordinator: each has one request under way. What is answered waits to be read, by connection."""

    def __init__(self, coordinator: Coordinator) -> None:
        self.coordinator, self.now = coordinator, NOW
        self.asked: dict[int, tuple[int, int]] = {}  # by connection: key and version of the request that is under way
        self.heard: dict[int, list[Any]] = {}  # by connection: answers; None is the end
        self.order: list[int] = []  # whom the last event answered
        answer = self.ask(m.FindCoordinatorRequest("g", 0, ("g",)))
        assert answer.coordinators[0].error_code == 0

    def take(self, said: list[tuple[int, bytes | None]]) -> None:
        """What comes of an event."""
        self.order = [connection for connection, _ in said]
        for connection, data in said:
            key, version = self.asked.pop(connection)
            self.heard.setdefault(connection, []).append(None if data is None else answer_of(data[4:], key, version))

    def say(self, connection: int, message: Any, version: int | None = None) -> None:
        """A request."""
        key = KEYS[type(message)]
        version = BY_NAME.get(key, APIS[key].max_version) if version is None else version
        assert connection not in self.asked, "one request of a connection is under way at a time"
        self.asked[connection] = key, version
        self.take(self.coordinator.frame(connection, request_frame(key, version, message), self.now))

    def answer(self, connection: int) -> Any:
        """The one answer that the connection has not read yet."""
        (answer,) = self.heard.pop(connection)
        return answer

    def ask(self, message: Any, version: int | None = None, *, connection: int = 0) -> Any:
        """The answer to a request that does not wait."""
        self.say(connection, message, version)
        return self.answer(connection)

    def passes(self, ms: int = 0) -> None:
        """Time, and what is due then."""
        self.now += ms
        self.take(self.coordinator.expire(self.now))

    # Stories

    def create(self, name: str, partitions: int = 2) -> None:
        """A topic."""
        (made,) = self.ask(m.CreateTopicsRequest((m.CreatableTopic(name, partitions, 1),), 60_000, False)).topics
        assert made.error_code == 0

    def configure(self, name: str, config: str, text: str) -> None:
        """A topic's configuration."""
        change = m.IncrementalAlterConfigsRequestAlterableConfig(config, 0, text)
        resource = m.IncrementalAlterConfigsRequestAlterConfigsResource(2, name, (change,))
        (done,) = self.ask(m.IncrementalAlterConfigsRequest((resource,), False)).responses
        assert done.error_code == 0, done

    def join(self, connection: int, group: str = "g", member_id: str = "") -> None:
        """A JoinGroup of a version that asks nobody to come again."""
        protocols = (m.JoinGroupRequestProtocol("range", subscription("t")),)
        self.say(connection, m.JoinGroupRequest(group, SESSION_MS, REBALANCE_MS, member_id, None, "consumer", protocols), 3)

    def sync(self, connection: int, member_id: str, generation: int = 1, *assigned: str, group: str = "g") -> None:
        """A SyncGroup; that of the leader assigns."""
        given = tuple(m.SyncGroupRequestAssignment(one, one.encode()) for one in assigned)
        self.say(connection, m.SyncGroupRequest(group, generation, member_id, None, "consumer", "range", given), 5)

    def members(self, *connections: int, group: str = "g") -> list[str]:
        """These join a new group, one after the other, and are in its first generation; their ids, that of the leader first."""
        for connection in connections:
            self.join(connection, group)
        self.passes()
        answers = [self.answer(connection) for connection in connections]
        assert {(one.error_code, one.generation_id) for one in answers} == {(0, 1)}
        return [one.member_id for one in answers]

    def commit(self, offset: int, *indexes: int, group: str = "g", connection: int = 0, topic: str = "t") -> set[int]:
        """The errors of a commit by nobody in particular."""
        partitions = tuple(m.OffsetCommitRequestPartition(index, offset) for index in indexes or (0,))
        answer = self.ask(m.OffsetCommitRequest(group, topics=(m.OffsetCommitRequestTopic(topic, partitions=partitions),)), connection=connection)
        return {one.error_code for one in answer.topics[0].partitions}

    def committed(self, group: str = "g") -> dict[tuple[str, int], int]:
        """Every offset of a group."""
        (answer,) = self.ask(m.OffsetFetchRequest(groups=(m.OffsetFetchRequestGroup(group, topics=None),)), 9).groups
        return {(topic.name, one.partition_index): one.committed_offset for topic in answer.topics for one in topic.partitions}
