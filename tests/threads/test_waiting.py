"""Fetches that wait, in virtual time: whatever happens, in any order, nobody waits who would be answered if they asked now, and everybody is answered once.

One thread, one broker, many connections. Whether somebody waits in vain is seen by asking the same again: whoever asks now must wait too.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
from pathlib import Path
from typing import Any

from fastpath.folders import NOW
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fiducial.conformance.batches import Item, build
from fiducial.conformance.exploration.steps import answer_of, request_frame
from fiducial.fastpath.node import Action, Node, Send
from fiducial.models import messages as m
from fiducial.models.settings import parse
from fiducial.models.state import Cluster

PRODUCE, FETCH, CREATE, DELETE_TOPICS, DELETE_RECORDS = 0, 1, 19, 20, 21
VERSIONS = {PRODUCE: 12, FETCH: 12, CREATE: 7, DELETE_TOPICS: 5, DELETE_RECORDS: 2}
#: Readers of "safe" see what is on the disk; segments of "small" hold a few batches, and few of them are kept.
TOPICS = {"plain": {}, "safe": {"flush.messages": "1"}, "small": {"internal.segment.bytes": "400", "retention.bytes": "500"}}
PARTITIONS = 2
SHARED_MEMORY = Path("/dev/shm")
LONG_MS = 1 << 30
OFFSET_OUT_OF_RANGE = 1
names, indexes = st.sampled_from(sorted(TOPICS)), st.integers(0, PARTITIONS - 1)


class Waiting(RuleBasedStateMachine):
    """A broker, and those who wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None))
        cluster = Cluster("ZmlkdWNpYWxmaWR1Y2lhbA", 1, "127.0.0.1", 9092)
        self.node = Node(self.folder / "data", cluster, parse({}), seed=1, now=NOW)
        self.now = NOW
        self.connections = itertools.count(1)
        self.parked: dict[int, tuple[m.FetchRequest, int]] = {}  # by connection: what it asked for, and until when it waits
        self.ends: dict[tuple[str, int], int] = {}

    def teardown(self) -> None:
        self.node.close()
        shutil.rmtree(self.folder)

    # Asking

    def ask(self, connection: int, kind: int, body: Any) -> Any:
        """The answer, None if it is yet to come; others may be answered too."""
        frame = request_frame(kind, VERSIONS[kind], body)
        told = self.take(self.node.frame(connection, frame, self.now))
        return answer_of(told[connection], kind, VERSIONS[kind]) if connection in told else None

    def take(self, actions: list[Action]) -> dict[int, bytes]:
        """What was answered, by connection: once each. Who waited does so no more."""
        told: dict[int, bytes] = {}
        for action in actions:
            assert isinstance(action, Send), action
            assert action.connection not in told, "answered twice"
            told[action.connection] = action.data[4:]
            self.parked.pop(action.connection, None)
        return told

    @initialize()
    def topics(self) -> None:
        """All of them."""
        for name in TOPICS:
            self.make(name)

    def make(self, name: str) -> None:
        """A topic begins."""
        configs = tuple(m.CreatableTopicConfig(key, text) for key, text in TOPICS[name].items())
        answer = self.ask(0, CREATE, m.CreateTopicsRequest((m.CreatableTopic(name, PARTITIONS, 1, configs=configs),), 60_000, False))
        assert answer.topics[0].error_code == 0, answer
        self.ends |= {(name, index): 0 for index in range(PARTITIONS)}

    # What happens

    @rule(wanted=st.lists(st.tuples(names, indexes), min_size=1, max_size=3, unique=True), count=st.integers(1, 3))
    def appends(self, wanted: list[tuple[str, int]], count: int) -> None:
        """One request, some partitions."""
        records: Any = build([Item(self.now)] * count)
        data = tuple(m.TopicProduceData(name, partition_data=(m.PartitionProduceData(index, records),)) for name, index in wanted)
        answer = self.ask(next(self.connections), PRODUCE, m.ProduceRequest(None, -1, 10_000, data))
        assert all(one.error_code == 0 for topic in answer.responses for one in topic.partition_responses)
        self.ends |= {key: self.ends[key] + count for key in wanted}

    @rule(
        wanted=st.lists(st.tuples(names, indexes, st.integers(-1, 2)), min_size=1, max_size=4, unique_by=lambda one: one[:2]),
        min_bytes=st.sampled_from((0, 1, 1, 1, 100, 300)),
        wait_ms=st.sampled_from((0, 5, 50, LONG_MS)),
    )
    def asks_for_more(self, wanted: list[tuple[str, int, int]], min_bytes: int, wait_ms: int) -> None:
        """A fetch at the end of each of some partitions, or just before, or behind."""
        topics = tuple(
            m.FetchTopic(name, partitions=(m.FetchPartition(index, fetch_offset=max(0, self.ends[name, index] + ahead), partition_max_bytes=1 << 20),))
            for name, index, ahead in wanted
        )
        connection, body = next(self.connections), m.FetchRequest(max_wait_ms=wait_ms, min_bytes=min_bytes, topics=topics)
        if self.ask(connection, FETCH, body) is None:
            assert wait_ms > 0
            self.parked[connection] = body, self.now + wait_ms

    @rule(passed_ms=st.sampled_from((1, 5, 60)))
    def time_passes(self, passed_ms: int) -> None:
        """Whose time is up, is answered; nobody else is."""
        self.now += passed_ms
        due = {connection for connection, (_, until_ms) in self.parked.items() if until_ms <= self.now}
        assert self.take(self.node.expire(self.now)).keys() == due

    @rule(data=st.data())
    def hangs_up(self, data: st.DataObject) -> None:
        """One who waits does so no more."""
        if self.parked:
            connection = data.draw(st.sampled_from(sorted(self.parked)))
            del self.parked[connection]
            assert self.node.disconnected(connection, self.now) == []

    @rule()
    def segments_go(self) -> None:
        """Retention."""
        self.node.housekeeping(self.now)

    @rule(name=names, index=indexes)
    def records_are_deleted(self, name: str, index: int) -> None:
        """All of a partition."""
        wanted = m.DeleteRecordsTopic(name, (m.DeleteRecordsPartition(index, -1),))
        assert self.ask(0, DELETE_RECORDS, m.DeleteRecordsRequest((wanted,), 10_000)).topics[0].partitions[0].error_code == 0

    @rule(name=names)
    def a_topic_is_made_anew(self, name: str) -> None:
        """The topic ends, and another one of its name begins."""
        answer = self.ask(0, DELETE_TOPICS, m.DeleteTopicsRequest(topic_names=(name,), timeout_ms=60_000))
        assert answer.responses[0].error_code == 0, answer
        self.make(name)

    @invariant()
    def nobody_waits_in_vain(self) -> None:
        """Whoever asks for what somebody waits for, must wait too; unless it was deleted since, which is no reason to answer who waits (LOG-FETCH-14)."""
        for waiting, (body, _) in list(self.parked.items()):
            connection = next(self.connections)
            answer = self.ask(connection, FETCH, body)
            errors = {one.error_code for topic in answer.responses for one in topic.partitions} if answer else set()
            assert answer is None or OFFSET_OUT_OF_RANGE in errors, f"connection {waiting} waits, and would be answered {answer}"
            self.node.disconnected(connection, self.now)


TestWaiting = Waiting.TestCase
TestWaiting.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
