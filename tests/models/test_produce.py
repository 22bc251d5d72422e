"""Produce as a request: what spoils all of it, what one partition, and what the answers hold."""

from __future__ import annotations

from typing import Any

import pytest
from samples import Bench, batch, idempotent, produce_request, sent

from fiducial.models.batches import SentRecords, Tail
from fiducial.models.errors import Error
from fiducial.models.events import Close, Reply, Write
from fiducial.models.messages import PartitionProduceData, PartitionProduceResponse, ProduceRequest, TopicProduceData
from fiducial.models.values import changed

TRANSACTIONAL = 0x10
UNREADABLE = SentRecords((), Tail.CORRUPT, tail_magic=9)


def answers(bench: Bench, request: ProduceRequest, version: int = 12, client_id: str = "test") -> dict[tuple[str, int], PartitionProduceResponse]:
    body = bench.ask(request, version, client_id=client_id)
    return {(topic.name, part.index): part for topic in body.responses for part in topic.partition_responses}


def errors(bench: Bench, request: ProduceRequest, **how: Any) -> dict[tuple[str, int], int]:
    return {where: part.error_code for where, part in answers(bench, request, **how).items()}


@pytest.mark.rule("LOG-BATCH-1")
def test_an_unreadable_first_header_spoils_the_request() -> None:
    bench = Bench("a", partitions=2)
    request = produce_request({("a", 0): sent(batch()), ("a", 1): UNREADABLE})
    given = answers(bench, request)
    assert {part.error_code for part in given.values()} == {Error.CORRUPT_MESSAGE}
    assert all(part.error_message for part in given.values())
    assert bench.partition("a").log.end == 0


@pytest.mark.rule("LOG-BATCH-1")
def test_behind_a_transaction_an_unreadable_header_spoils_its_own_partition() -> None:
    bench = Bench("a", partitions=3)
    records = {("a", 0): sent(batch(attributes=TRANSACTIONAL)), ("a", 1): UNREADABLE, ("a", 2): sent(batch())}
    given = answers(bench, produce_request(records, transactional_id="t"))
    assert [part.error_code for part in given.values()] == [Error.NONE, Error.CORRUPT_MESSAGE, Error.NONE]
    assert not any(part.error_message for part in given.values())


@pytest.mark.rule("LOG-PRODUCE-8")
def test_a_transaction_needs_a_name_and_the_earlier_fault_wins() -> None:
    bench = Bench("a", partitions=2)
    transactional = sent(batch(attributes=TRANSACTIONAL))
    both = {("a", 0): transactional, ("a", 1): UNREADABLE}
    assert set(errors(bench, produce_request(both)).values()) == {Error.TRANSACTIONAL_ID_AUTHORIZATION_FAILED}
    other = dict(reversed(both.items()))
    assert set(errors(bench, produce_request(other)).values()) == {Error.CORRUPT_MESSAGE}
    assert bench.partition("a").log.end == 0


@pytest.mark.rule("LOG-PRODUCE-2")
def test_no_such_partition() -> None:
    bench = Bench("a")
    wanted = {("b", 0): sent(batch()), ("a", 1): sent(batch()), ("", 0): sent(batch()), ("a", -1): sent(batch())}
    assert set(errors(bench, produce_request(wanted)).values()) == {Error.UNKNOWN_TOPIC_OR_PARTITION}
    assert "b" not in bench.broker.topics.by_name


@pytest.mark.rule("LOG-PRODUCE-3")
def test_topics_by_id() -> None:
    bench = Bench("a")
    for topic_id, expected in [(bench.id_of("a"), Error.NONE), (bytes(16), Error.UNKNOWN_TOPIC_ID), (b"x" * 16, Error.UNKNOWN_TOPIC_ID)]:
        topic = TopicProduceData(topic_id=topic_id, partition_data=(PartitionProduceData(0, sent(batch())),))
        body = bench.ask(ProduceRequest(None, -1, 100, (topic,)), 13)
        assert body.responses[0].partition_responses[0].error_code == expected
        assert body.responses[0].topic_id == topic_id


@pytest.mark.rule("LOG-PRODUCE-1")
def test_acks_are_judged_behind_the_topic_and_before_the_batch() -> None:
    bench = Bench("a")
    wanted = {("a", 0): sent(batch(crc_is_good=False)), ("b", 0): sent(batch())}
    assert errors(bench, produce_request(wanted, acks=2)) == {
        ("a", 0): Error.INVALID_REQUIRED_ACKS,
        ("b", 0): Error.UNKNOWN_TOPIC_OR_PARTITION,
    }


@pytest.mark.rule("LOG-PRODUCE-4")
def test_internal_topics_are_for_coordinators_and_admin_tools() -> None:
    bench = Bench("__consumer_offsets")
    request = produce_request({("__consumer_offsets", 0): sent(batch())})
    assert set(errors(bench, request).values()) == {Error.INVALID_TOPIC_EXCEPTION}
    assert set(errors(bench, request, client_id="__admin_client").values()) == {Error.NONE}


@pytest.mark.rule("LOG-PRODUCE-5")
def test_each_partition_is_judged_alone() -> None:
    bench = Bench("a", partitions=2)
    given = errors(bench, produce_request({("a", 0): sent(batch(base_offset=1)), ("a", 1): sent(batch())}))
    assert given == {("a", 0): Error.INVALID_RECORD, ("a", 1): Error.NONE}
    assert bench.partition("a", 1).log.end == 1


@pytest.mark.rule("LOG-PRODUCE-6")
def test_of_a_partition_named_twice_the_last_counts() -> None:
    bench = Bench("a")
    data = (PartitionProduceData(0, sent(batch(5))), PartitionProduceData(0, sent(batch(2))))
    body = bench.ask(ProduceRequest(None, -1, 100, (TopicProduceData("a", partition_data=data),)), 12)
    assert len(body.responses) == 1 and len(body.responses[0].partition_responses) == 1
    assert bench.partition("a").log.end == 2


@pytest.mark.rule("LOG-PRODUCE-7")
def test_a_topic_named_twice_is_answered_once() -> None:
    bench = Bench("a", partitions=2)
    body = bench.ask(produce_request({("a", 0): sent(batch()), ("a", 1): sent(batch())}), 12)
    assert [[part.index for part in topic.partition_responses] for topic in body.responses] == [[0, 1]]


@pytest.mark.rule("LOG-PRODUCE-9")
def test_without_acks_an_error_ends_the_connection() -> None:
    bench = Bench("a")
    good = bench.send(produce_request({("a", 0): sent(batch())}, acks=0), 12)
    assert isinstance(good, Reply) and good.body is None
    bad = bench.send(produce_request({("a", 0): sent(batch()), ("b", 0): sent(batch())}, acks=0), 12)
    assert isinstance(bad, Close)
    assert bench.partition("a").log.end == 2


@pytest.mark.rule("IDEM-DUP-7", "IDEM-SEQ-8")
def test_without_acks_a_duplicate_is_silent_and_a_gap_ends_the_connection() -> None:
    bench = Bench("a")
    for acks, kind in ((1, idempotent(0)), (0, idempotent(0)), (0, idempotent(1)), (1, idempotent(1))):
        reply = bench.send(produce_request({("a", 0): sent(kind)}, acks=acks), 12)
        assert isinstance(reply, Reply)
        assert (reply.body is None) == (acks == 0)
    assert bench.partition("a").log.end == 2
    assert isinstance(bench.send(produce_request({("a", 0): sent(idempotent(9))}, acks=0), 12), Close)


@pytest.mark.rule("LOG-PRODUCE-10")
def test_a_transaction_waits_for_a_coordinator() -> None:
    bench = Bench("a", partitions=3)
    begun = idempotent(0, attributes=TRANSACTIONAL)
    wanted = {("a", 0): sent(changed(begun, crc_is_good=False)), ("a", 1): sent(begun, begun), ("b", 0): sent(begun), ("a", 2): sent(batch())}
    given = answers(bench, produce_request(wanted, transactional_id="t"))
    assert {where: part.error_code for where, part in given.items()} == {
        ("a", 0): Error.NOT_ENOUGH_REPLICAS,
        ("a", 1): Error.INVALID_RECORD,
        ("b", 0): Error.UNKNOWN_TOPIC_OR_PARTITION,
        ("a", 2): Error.NONE,
    }
    assert [bool(part.error_message) for part in given.values()] == [True, False, False, False]
    assert (given["a", 0].base_offset, given["a", 0].log_start_offset) == (-1, -1)
    of_acks = errors(bench, produce_request({("a", 0): sent(begun), ("a", 1): sent(batch())}, transactional_id="t", acks=2))
    assert of_acks == {("a", 0): Error.NOT_ENOUGH_REPLICAS, ("a", 1): Error.INVALID_REQUIRED_ACKS}


@pytest.mark.rule("LOG-PRODUCE-11")
@pytest.mark.parametrize("timeout_ms", [1, 0, -1, -(2**31)])
def test_the_timeout_is_not_looked_at(timeout_ms: int) -> None:
    bench = Bench("a")
    request = changed(produce_request({("a", 0): sent(batch())}), timeout_ms=timeout_ms)
    assert errors(bench, request) == {("a", 0): Error.NONE}


@pytest.mark.rule("LOG-PRODUCE-12")
def test_only_a_batch_of_a_producer_can_be_part_of_a_transaction() -> None:
    bench = Bench("a", partitions=2)
    wanted = {("a", 0): sent(idempotent(0)), ("a", 1): sent(batch(attributes=TRANSACTIONAL))}
    assert set(errors(bench, produce_request(wanted, transactional_id="t")).values()) == {Error.NONE}
    again = answers(bench, produce_request({("a", 0): sent(idempotent(0))}, transactional_id="t"))["a", 0]
    assert (again.error_code, again.base_offset) == (Error.NONE, 0)


@pytest.mark.rule("LOG-APPEND-7", "LOG-BATCH-22", "IDEM-DUP-5")
def test_what_the_answers_hold() -> None:
    bench = Bench("a", max_message_bytes="1000", cleanup_policy="compact")
    bench.produce("a", idempotent(0, 3))
    ok = answers(bench, produce_request({("a", 0): sent(idempotent(0, 3))}))["a", 0]
    assert (ok.base_offset, ok.log_append_time_ms, ok.log_start_offset) == (0, 1_000_000, 0)
    gap = answers(bench, produce_request({("a", 0): sent(idempotent(9))}))["a", 0]
    assert (gap.error_code, gap.base_offset, gap.log_append_time_ms, gap.log_start_offset) == (45, -1, -1, 0)
    large = answers(bench, produce_request({("a", 0): sent(batch(size_bytes=1001))}))["a", 0]
    assert (large.error_code, large.log_start_offset, large.error_message) == (10, -1, None)
    record = batch().records
    assert record is not None
    keyless = batch(records=(changed(record[0], has_key=False),))
    bad = answers(bench, produce_request({("a", 0): sent(keyless)}))["a", 0]
    assert [error.batch_index for error in bad.record_errors] == [0] and bad.error_message and bad.log_start_offset == 0


def test_a_write_carries_what_is_stamped_on_the_batch() -> None:
    bench = Bench("a", message_timestamp_type="LogAppendTime")
    bench.produce("a", batch(2))
    (write,) = [effect for effect in bench.effects if isinstance(effect, Write)]
    assert (write.base_offset, write.has_append_time, write.max_timestamp) == (0, True, bench.now)
