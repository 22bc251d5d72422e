"""The oracle: the same model as in the reference broker, so that it must answer the same to everything; and it can say what a peer may answer instead."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from differential.targets import Model

from fiducial.conformance import batches, codec
from fiducial.conformance.batches import Item
from fiducial.conformance.exploration.histories import Histories
from fiducial.conformance.exploration.pairs import prepare, remember
from fiducial.conformance.exploration.steps import Raw, TimePasses
from fiducial.conformance.exploration.targets import Closed
from fiducial.conformance.oracle import THE_END, Expected, Oracle
from fiducial.models import messages as m
from fiducial.models.apis import API_VERSIONS, APIS
from fiducial.models.errors import Error
from fiducial.models.settings import parse
from fiducial.models.state import Cluster

NOW = 1_700_000_000_000
SERVED = range(APIS[API_VERSIONS].min_version, APIS[API_VERSIONS].max_version + 1)


class Echo(Model):
    """The reference broker, each of whose answers is the oracle's too."""

    def __init__(self) -> None:
        super().__init__(clock=lambda: NOW)
        self.oracle = Oracle(self.core.broker.cluster, self.core.broker.settings, seed=1)
        self.asked = 0

    def ask(self, frame: bytes, expects_answer: bool) -> bytes | None:
        """The answer of both."""
        self.oracle.hear(frame, len(frame), now=NOW)
        expected = self.oracle.awaited(1, now=NOW)
        self.asked += 1
        self.core.rules = ()  # what is no request leaves them as they were
        try:
            data = super().ask(frame, expects_answer)
        except Closed:
            assert expected == Expected(None, closes=True, rules=self.refused)
            raise
        key, version = struct.unpack_from(">hh", frame)
        if key == API_VERSIONS and version not in SERVED:
            version = 0
        body = codec.decode(data, key, version, "response", codec.answer_body(data, key, version)) if data is not None else None
        assert expected == Expected(body, rules=self.refused)
        return data


@pytest.mark.parametrize("seed", [3, 4])
def test_the_oracle_answers_as_the_reference_broker_does(seed: int) -> None:
    histories = Histories(seed)
    echo = Echo()
    prepare(echo, histories.world, NOW)
    for step in histories.steps(150):
        if isinstance(step.body, TimePasses):
            continue
        try:
            data = echo.ask(step.frame(echo.view), step.expects_answer)
        except Closed:
            continue
        if data is not None and not isinstance(step.body, Raw):
            begin = codec.answer_body(data, step.api_key, step.api_version)
            remember(echo, step, codec.decode(data, step.api_key, step.api_version, "response", begin))
    assert echo.asked > 150


def oracle() -> Oracle:
    """One with a topic."""
    made = Oracle(Cluster("fiducialfiducialfiduci", 1, "127.0.0.1", 9092), parse({}), seed=1)
    created = made.ask(m.CreateTopicsRequest((m.CreatableTopic("t", 1, 1),)), 7, now=NOW).message
    assert created.topics[0].error_code == Error.NONE
    return made


def produce(data: bytes | None, *, acks: int = -1) -> m.ProduceRequest:
    """Records for the topic."""
    records: Any = data
    return m.ProduceRequest(None, acks, 0, (m.TopicProduceData("t", partition_data=(m.PartitionProduceData(0, records),)),))


def test_requests_on_one_connection_are_answered_in_turn() -> None:
    asked = oracle()
    topics = (m.FetchTopic("t", partitions=(m.FetchPartition(0, partition_max_bytes=1000),)),)
    asked.begin(m.FetchRequest(max_wait_ms=500, min_bytes=1, topics=topics), 12, now=NOW)
    asked.begin(produce(batches.build([Item(NOW)])), 9, now=NOW)
    for api_key in (99, 18):
        asked.hear(codec.request_frame(api_key, 99, 7, None, b""), 20, now=NOW)
    assert asked.awaited(1, now=NOW).message.responses[0].partitions[0].records == b""
    assert asked.awaited(1, now=NOW).message.responses[0].partition_responses[0].base_offset == 0
    assert asked.awaited(1, now=NOW) == THE_END
    assert not asked.asked and not asked.behind


@pytest.mark.parametrize("size", [0, -1, 104_857_601])
def test_a_frame_that_announces_a_size_out_of_range_is_not_looked_at(size: int) -> None:
    asked = oracle()
    asked.hear(codec.request_frame(API_VERSIONS, 0, 7, None, b""), size, now=NOW)
    assert asked.awaited(1, now=NOW) == THE_END


def test_what_was_stored_is_fetched() -> None:
    asked = oracle()
    sound = batches.build([Item(NOW), Item(NOW)])
    for _ in range(2):
        assert asked.ask(produce(sound), 9, now=NOW).rules == ()
    fetch = m.FetchRequest(topics=(m.FetchTopic("t", partitions=(m.FetchPartition(0, fetch_offset=3, partition_max_bytes=1000),)),))
    (topic,) = asked.ask(fetch, 12, now=NOW).message.responses
    (batch,), cut = batches.stored_batches(topic.partitions[0].records)
    assert (batch.header.base_offset, batch.header.record_count, batch.is_sound, cut) == (2, 2, True, 0)


def test_a_refusal_names_its_rule_and_what_a_peer_may_answer() -> None:
    refused = oracle().ask(produce(batches.faulty([Item(NOW)], "garbage")), 9, now=NOW)
    assert refused.rules == ("LOG-BATCH-13",)
    assert refused.allowed == {(Error.INVALID_RECORD, Error.UNKNOWN_SERVER_ERROR)}
    (topic,) = refused.message.responses
    assert topic.partition_responses[0].error_code == Error.INVALID_RECORD


def test_without_acks_there_is_nothing_or_the_end() -> None:
    sound, faulty = batches.build([Item(NOW)]), batches.faulty([Item(NOW)], "count 0")
    assert oracle().ask(produce(sound, acks=0), 9, now=NOW) == Expected(None)
    assert oracle().ask(produce(faulty, acks=0), 9, now=NOW) == Expected(None, closes=True, rules=("LOG-BATCH-10",))


def test_a_fetch_that_finds_nothing_is_answered_as_if_its_time_had_passed() -> None:
    topics = (m.FetchTopic("t", partitions=(m.FetchPartition(0, partition_max_bytes=1000),)),)
    waited = oracle().ask(m.FetchRequest(max_wait_ms=500, min_bytes=1, topics=topics), 12, now=NOW)
    assert waited.message.responses[0].partitions[0].records == b""
