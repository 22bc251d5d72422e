"""Fetch as a request: limits over partitions, waiting, sessions."""

from __future__ import annotations

from typing import Any

import pytest
from samples import Bench, batch, fetch_request

from fiducial.models import sessions
from fiducial.models.batches import Slice
from fiducial.models.errors import Error
from fiducial.models.events import ClearTimer, Disconnected, Drop, Forget, Housekeeping, Reply, SetTimer, Timer
from fiducial.models.messages import (
    DeleteRecordsPartition,
    DeleteRecordsRequest,
    DeleteRecordsTopic,
    DeleteTopicsRequest,
    FetchPartition,
    FetchRequest,
    FetchResponseLeaderIdAndEpoch,
    FetchTopic,
    ForgottenTopic,
    PartitionData,
    ReplicaState,
)
from fiducial.models.values import changed

V = 12


def parts(body: Any) -> dict[tuple[str, int], PartitionData]:
    return {(topic.topic, data.partition_index): data for topic in body.responses for data in topic.partitions}


def sizes(body: Any) -> list[int]:
    return [data.records.size_bytes for topic in body.responses for data in topic.partitions]


@pytest.mark.rule("LOG-READ-8", "LOG-READ-11")
def test_what_a_partition_answers() -> None:
    bench = Bench("a")
    bench.produce("a", batch(3))
    data = parts(bench.ask(fetch_request([("a", 0, 1)]), V))["a", 0]
    assert data.records == Slice(bench.id_of("a"), 0, 0, 100)
    assert (data.error_code, data.high_watermark, data.last_stable_offset, data.log_start_offset) == (0, 3, 3, 0)
    assert data.aborted_transactions is None
    committed = parts(bench.ask(fetch_request([("a", 0, 1)], isolation_level=1), V))["a", 0]
    assert committed.aborted_transactions == ()
    to_the_end = parts(bench.ask(fetch_request([("a", 0, 1)], isolation_level=1, replica_id=-3), V))["a", 0]
    assert to_the_end.aborted_transactions is None
    bench.create("b")
    bench.produce("b", batch(1))
    without_room = fetch_request([("a", 0, 1), ("b", 0, 0)], isolation_level=1, max_bytes=150)
    left_out = parts(bench.ask(without_room, V))["b", 0]
    assert left_out.records is not None and left_out.records.size_bytes == 0 and left_out.aborted_transactions is None


@pytest.mark.rule("LOG-READ-9")
def test_an_error_carries_no_marks() -> None:
    bench = Bench("a")
    data = parts(bench.ask(fetch_request([("a", 0, 9)]), V))["a", 0]
    assert (data.error_code, data.high_watermark, data.last_stable_offset, data.log_start_offset) == (1, -1, -1, -1)
    assert data.records is not None and data.records.size_bytes == 0


@pytest.mark.rule("LOG-FETCH-4", "LOG-FETCH-9")
def test_unknown_partitions_and_ids() -> None:
    bench = Bench("a")
    assert parts(bench.ask(fetch_request([("b", 0, 0)]), V))["b", 0].error_code == Error.UNKNOWN_TOPIC_OR_PARTITION
    assert parts(bench.ask(fetch_request([("a", 7, 0)]), V))["a", 7].error_code == Error.UNKNOWN_TOPIC_OR_PARTITION
    for topic_id in (bytes(16), b"x" * 16):
        topic = FetchTopic(topic_id=topic_id, partitions=(FetchPartition(0, partition_max_bytes=100),))
        body = bench.ask(FetchRequest(max_bytes=1000, session_epoch=-1, topics=(topic,)), 13)
        assert body.responses[0].partitions[0].error_code == Error.UNKNOWN_TOPIC_ID


@pytest.mark.rule("LOG-READ-10")
def test_an_unknown_isolation_level_spoils_the_request() -> None:
    bench = Bench("a")
    by_name = bench.ask(fetch_request([("a", 0, 0)], isolation_level=2), V)
    assert (by_name.error_code, parts(by_name)["a", 0].error_code) == (Error.INVALID_REQUEST, Error.INVALID_REQUEST)
    assert bench.ask(fetch_request([("b", 0, 0)], isolation_level=2), V).error_code == Error.NONE


@pytest.mark.rule("LOG-FETCH-3")
def test_max_bytes_is_shared_and_the_first_gets_a_whole_batch() -> None:
    bench = Bench("a", partitions=3)
    for index in range(3):
        bench.produce("a", batch(), batch(), index=index)
    wanted = [("a", 0, 0), ("a", 1, 0), ("a", 2, 0)]
    assert sizes(bench.ask(fetch_request(wanted, max_bytes=1), V)) == [100, 0, 0]
    assert sizes(bench.ask(fetch_request(wanted, max_bytes=300), V)) == [200, 100, 0]
    assert sizes(bench.ask(fetch_request([("a", 0, 2), *wanted[1:]], max_bytes=1), V)) == [0, 100, 0]
    assert sizes(bench.ask(fetch_request(wanted, partition_max_bytes=150), V)) == [150, 150, 150]


@pytest.mark.rule("LOG-FETCH-11")
def test_the_last_entry_for_a_partition_counts_in_the_place_of_the_first() -> None:
    bench = Bench("a", partitions=2)
    bench.produce("a", batch())
    wanted = [("a", 0, 99), ("a", 1, 0), ("a", 0, 0)]
    answered = parts(bench.ask(fetch_request(wanted), V))
    assert list(answered) == [("a", 0), ("a", 1)]
    assert answered["a", 0].error_code == Error.NONE


@pytest.mark.rule("LOG-FETCH-12")
def test_the_broker_has_a_ceiling_of_its_own() -> None:
    bench = Bench("a", settings={"fetch.max.bytes": "1024"})
    bench.produce("a", *[batch(size_bytes=500)] * 3)
    assert sizes(bench.ask(fetch_request([("a", 0, 0)]), V)) == [1024]
    assert sizes(bench.ask(fetch_request([("a", 0, 0)], max_bytes=600), V)) == [600]


@pytest.mark.rule("LOG-FETCH-13")
def test_nobody_waits_for_more_than_may_be_returned() -> None:
    bench = Bench("a")
    bench.produce("a", batch())
    greedy = fetch_request([("a", 0, 0)], max_wait_ms=500, min_bytes=150, max_bytes=100)
    assert isinstance(bench.send(greedy, V), Reply)
    assert bench.send(changed(greedy, max_bytes=101), V) is None


@pytest.mark.rule("LOG-FETCH-1")
@pytest.mark.parametrize(
    "request_", [fetch_request([], max_wait_ms=500), fetch_request([("a", 0, 0)]), fetch_request([("a", 0, 99)], max_wait_ms=500)]
)
def test_reasons_to_answer_at_once(request_: FetchRequest) -> None:
    assert isinstance(Bench("a").send(request_, V), Reply)


@pytest.mark.rule("LOG-FETCH-1")
def test_a_segment_that_will_not_grow_is_not_waited_with() -> None:
    bench = Bench()
    bench.create("s", internal_segment_bytes="150")
    bench.produce("s", batch(), batch())
    older = bench.send(fetch_request([("s", 0, 0)], max_wait_ms=500, min_bytes=150), V)
    assert isinstance(older, Reply) and sizes(older.body) == [100]
    assert bench.send(fetch_request([("s", 0, 1)], max_wait_ms=500, min_bytes=150), V) is None


@pytest.mark.rule("LOG-FETCH-1")
@pytest.mark.parametrize(
    ("wanted", "min_bytes", "max_bytes", "partition_max_bytes", "given"),
    [
        ([("a", 0, 0), ("b", 0, 0)], 150, 150, 1000, [100, 0]),  # the other is left out, but there
        ([("a", 0, 0), ("b", 0, 0)], 200, 200, 1000, [100, 100]),
        ([("a", 0, 0), ("b", 0, 0)], 201, 400, 1000, None),
        ([("a", 0, 0), ("b", 0, 0)], 150, 150, 40, None),
        ([("a", 0, 0)], 50, 1000, 10, [100]),  # a whole first batch is returned
        ([("a", 0, 1)], 1, 1000, -1, None),
    ],
)
def test_what_lies_there_is_enough_or_what_is_returned(
    wanted: list[tuple[str, int, int]], min_bytes: int, max_bytes: int, partition_max_bytes: int, given: list[int] | None
) -> None:
    bench = Bench("a")
    bench.create("b")
    bench.produce("a", batch())
    bench.produce("b", batch())
    asked = fetch_request(wanted, max_wait_ms=500, min_bytes=min_bytes, max_bytes=max_bytes, partition_max_bytes=partition_max_bytes)
    reply = bench.send(asked, V)
    assert (sizes(reply.body) if isinstance(reply, Reply) else reply) == given


@pytest.mark.rule("LOG-FETCH-2")
@pytest.mark.parametrize("offset", [1, 2])  # in the segment, and at the log end: what it waits for comes into the next one
def test_who_waits_is_answered_when_another_segment_begins(offset: int) -> None:
    bench = Bench()
    bench.create("s", internal_segment_bytes="250")
    for _ in range(2):
        bench.produce("s", batch())
    assert bench.send(fetch_request([("s", 0, offset)], max_wait_ms=500, min_bytes=1000), V) is None
    ticket = bench.tickets
    bench.produce("s", batch())
    reply = bench.reply_to(ticket)
    assert isinstance(reply, Reply) and sizes(reply.body) == [100]


@pytest.mark.rule("LOG-FETCH-2")
def test_for_who_waits_what_would_be_returned_does_not_count() -> None:
    bench = Bench("a")
    assert bench.send(fetch_request([("a", 0, 0)], max_wait_ms=500, min_bytes=50, partition_max_bytes=30), V) is None
    ticket = bench.tickets
    bench.produce("a", batch())
    assert bench.reply_to(ticket) is None
    bench.happens(Timer(ticket))
    reply = bench.reply_to(ticket)
    assert isinstance(reply, Reply) and sizes(reply.body) == [100]


@pytest.mark.rule("LOG-FETCH-2")
def test_a_fetch_waits_for_bytes() -> None:
    bench = Bench("a")
    assert bench.send(fetch_request([("a", 0, 0)], max_wait_ms=500, min_bytes=150), V) is None
    ticket = bench.tickets
    assert list(bench.effects) == [SetTimer(ticket, bench.now + 500)]
    bench.produce("a", batch())
    assert bench.reply_to(ticket) is None
    bench.produce("a", batch())
    assert ClearTimer(ticket) in bench.effects
    reply = bench.reply_to(ticket)
    assert isinstance(reply, Reply) and sizes(reply.body) == [200]
    bench.happens(Timer(ticket))
    assert not bench.effects


@pytest.mark.rule("LOG-FETCH-2")
def test_a_fetch_gives_up_waiting() -> None:
    bench = Bench("a")
    bench.send(fetch_request([("a", 0, 0)], max_wait_ms=500, isolation_level=1), V)
    bench.now += 500
    bench.happens(Timer(bench.tickets))
    reply = bench.reply_to(bench.tickets)
    assert isinstance(reply, Reply) and sizes(reply.body) == [0]
    assert parts(reply.body)["a", 0].aborted_transactions == ()
    assert not bench.broker.parked.fetches and not bench.broker.parked.by_partition


@pytest.mark.rule("LOG-FETCH-2")
def test_deleting_a_topic_wakes_who_waits_for_it() -> None:
    bench = Bench("a")
    bench.send(fetch_request([("a", 0, 0)], max_wait_ms=500), V)
    ticket = bench.tickets
    bench.ask(DeleteTopicsRequest(topic_names=("a",), timeout_ms=1000), 5)
    assert any(isinstance(effect, Forget) for effect in bench.effects)
    reply = bench.reply_to(ticket)
    assert isinstance(reply, Reply) and parts(reply.body)["a", 0].error_code == Error.UNKNOWN_TOPIC_OR_PARTITION


@pytest.mark.rule("LOG-FETCH-14")
@pytest.mark.parametrize("appends", [1, 2])
def test_what_is_deleted_while_a_fetch_waits_counts_on(appends: int) -> None:
    bench = Bench("a")
    bench.produce("a", batch())
    bench.send(fetch_request([("a", 0, 0)], max_wait_ms=500, min_bytes=300), V)
    ticket = bench.tickets
    bench.ask(DeleteRecordsRequest((DeleteRecordsTopic("a", (DeleteRecordsPartition(0, 1),)),), 1000), 2)
    assert bench.reply_to(ticket) is None
    for _ in range(appends):
        bench.produce("a", batch())
    assert (bench.reply_to(ticket) is None) == (appends == 1)
    bench.happens(Timer(ticket))
    assert (bench.reply_to(ticket) is None) == (appends == 2)


@pytest.mark.rule("LOG-FETCH-14")
def test_who_waits_at_what_retention_drops_is_told_with_the_next_append() -> None:
    bench = Bench()
    bench.create("a", retention_ms="1000")
    bench.produce("a", batch())
    bench.send(fetch_request([("a", 0, 0)], max_wait_ms=5000, min_bytes=1000), V)
    ticket = bench.tickets
    bench.now += 2000
    bench.happens(Housekeeping())
    assert [type(effect) for effect in bench.effects] == [Drop]
    bench.produce("a", batch())
    reply = bench.reply_to(ticket)
    assert isinstance(reply, Reply) and parts(reply.body)["a", 0].error_code == Error.OFFSET_OUT_OF_RANGE


def test_who_hangs_up_waits_no_more() -> None:
    bench = Bench("a")
    bench.send(fetch_request([("a", 0, 0)], max_wait_ms=500), V, connection=4)
    bench.happens(Disconnected(4))
    assert bench.effects == (ClearTimer(bench.tickets),)
    assert not bench.broker.parked.fetches


# Sessions


def begun(bench: Bench, wanted: list[tuple[str, int, int]]) -> int:
    """The id of a new session."""
    session_id = bench.ask(fetch_request(wanted, session=(0, 0)), V).session_id
    assert session_id > 0
    return int(session_id)


@pytest.mark.rule("LOG-SESSION-1")
def test_a_session_begins_with_epoch_0_and_ends_with_minus_1() -> None:
    bench = Bench("a")
    first = begun(bench, [("a", 0, 0)])
    second = bench.ask(fetch_request([("a", 0, 0)], session=(first, 0)), V).session_id
    assert set(bench.broker.sessions.by_id) == {second} and second != first
    assert bench.ask(fetch_request([("a", 0, 0)], session=(second, -1)), V).session_id == 0
    assert not bench.broker.sessions.by_id


@pytest.mark.rule("LOG-SESSION-2", "LOG-SESSION-3", "LOG-SESSION-4")
def test_a_session_is_asked_for_rightly() -> None:
    bench = Bench("a")
    session_id = begun(bench, [("a", 0, 0)])
    assert bench.ask(fetch_request([], session=(session_id + 1, 1)), V).error_code == Error.FETCH_SESSION_ID_NOT_FOUND
    assert bench.ask(fetch_request([], session=(session_id, 2)), V).error_code == Error.INVALID_FETCH_SESSION_EPOCH
    assert bench.ask(fetch_request([], session=(session_id, 1)), 13).error_code == Error.FETCH_SESSION_TOPIC_ID_ERROR
    assert bench.ask(fetch_request([], session=(session_id, 1)), V).error_code == Error.NONE


@pytest.mark.rule("LOG-SESSION-5")
def test_session_epochs_wrap_to_1() -> None:
    assert [sessions.epoch_after(epoch) for epoch in (0, 1, 2**31 - 1)] == [1, 2, 1]
    bench = Bench("a")
    session_id = begun(bench, [("a", 0, 0)])
    for epoch in (1, 2, 3):
        assert bench.ask(fetch_request([], session=(session_id, epoch)), V).error_code == Error.NONE


@pytest.mark.rule("LOG-SESSION-6")
def test_an_incremental_answer_holds_what_is_news() -> None:
    bench = Bench("a", partitions=2)
    bench.produce("a", batch())
    session_id = begun(bench, [("a", 0, 1), ("a", 1, 0)])
    assert parts(bench.ask(fetch_request([], session=(session_id, 1)), V)) == {}
    bench.produce("a", batch(), index=1)
    assert list(parts(bench.ask(fetch_request([], session=(session_id, 2)), V))) == [("a", 1)]
    moved = fetch_request([("a", 1, 1)], session=(session_id, 3))
    assert parts(bench.ask(moved, V)) == {}
    wrong = bench.ask(fetch_request([("a", 1, 77)], session=(session_id, 4)), V)
    assert parts(wrong)["a", 1].error_code == Error.OFFSET_OUT_OF_RANGE
    again = bench.ask(fetch_request([], session=(session_id, 5)), V)
    assert parts(again)["a", 1].error_code == Error.OFFSET_OUT_OF_RANGE


@pytest.mark.rule("LOG-SESSION-6", "LOG-FETCH-6")
def test_the_end_of_a_divergence_is_no_news() -> None:
    bench = Bench("a")
    bench.produce("a", batch())
    session_id = begun(bench, [("a", 0, 1)])
    for epoch, last_fetched_epoch, answered in ((1, 0, [("a", 0)]), (2, -1, [])):
        asked = FetchPartition(0, fetch_offset=2 if answered else 1, last_fetched_epoch=last_fetched_epoch)
        request = FetchRequest(session_id=session_id, session_epoch=epoch, topics=(FetchTopic("a", partitions=(asked,)),))
        assert list(parts(bench.ask(request, V))) == answered


@pytest.mark.rule("LOG-SESSION-10", "LOG-SESSION-11")
def test_forgotten_partitions_are_fetched_no_more() -> None:
    bench = Bench("a", partitions=2)
    session_id = begun(bench, [("a", 0, 0), ("a", 1, 0)])
    bench.produce("a", batch())
    forget = fetch_request([], session=(session_id, 1), forgotten_topics_data=(ForgottenTopic("a", partitions=(0,)),))
    assert parts(bench.ask(forget, V)) == {}
    rest = fetch_request([("a", 1, 0)], session=(session_id, 2), forgotten_topics_data=(ForgottenTopic("a", partitions=(1,)),))
    last = bench.ask(rest, V)
    assert (last.session_id, list(parts(last))) == (0, [("a", 1)])
    assert not bench.broker.sessions.by_id


@pytest.mark.rule("LOG-SESSION-10")
def test_a_session_grows_and_what_is_asked_for_and_forgotten_at_once_is_forgotten() -> None:
    bench = Bench("a", partitions=3)
    session_id = begun(bench, [("a", 0, 0)])
    for index in range(3):
        bench.produce("a", batch(), index=index)
    forget = (ForgottenTopic("a", partitions=(0, 2)),)
    wanted = [("a", 0, 0), ("a", 1, 0), ("a", 2, 0)]
    both = bench.ask(fetch_request(wanted, session=(session_id, 1), forgotten_topics_data=forget), V)
    assert list(parts(both)) == [("a", 1)]
    assert list(parts(bench.ask(fetch_request([], session=(session_id, 2)), V))) == [("a", 1)]


@pytest.mark.rule("LOG-SESSION-10", "LOG-FETCH-4")
def test_a_session_knows_a_topic_by_name_that_is_no_more() -> None:
    bench = Bench("a")
    wanted = (FetchTopic(topic_id=bench.id_of("a"), partitions=(FetchPartition(0),)),)
    session_id = bench.ask(FetchRequest(max_bytes=1000, session_epoch=0, topics=wanted), 13).session_id
    bench.ask(DeleteTopicsRequest(topic_names=("a",), timeout_ms=1000), 5)
    again = bench.ask(FetchRequest(max_bytes=1000, session_id=session_id, session_epoch=1, topics=wanted), 13)
    assert again.responses[0].partitions[0].error_code == Error.UNKNOWN_TOPIC_OR_PARTITION


@pytest.mark.rule("LOG-SESSION-7")
def test_a_topic_made_anew_is_not_the_one_of_the_session() -> None:
    bench = Bench("a")
    bench.create("b", partitions=2)
    topics = tuple(FetchTopic(topic_id=bench.id_of(name), partitions=(FetchPartition(index),)) for name, index in (("a", 0), ("b", 1)))
    session_id = bench.ask(FetchRequest(max_bytes=1000, session_epoch=0, topics=topics), 13).session_id
    bench.ask(DeleteTopicsRequest(topic_names=("a", "b"), timeout_ms=1000), 5)
    gone = bench.ask(FetchRequest(max_bytes=1000, session_id=session_id, session_epoch=1), 13)
    assert gone.responses[0].partitions[0].error_code == Error.UNKNOWN_TOPIC_OR_PARTITION
    bench.create("a")
    bench.create("b")  # without partition 1
    anew = bench.ask(FetchRequest(max_bytes=1000, session_id=session_id, session_epoch=2), 13)
    assert [topic.partitions[0].error_code for topic in anew.responses] == [Error.INCONSISTENT_TOPIC_ID, Error.UNKNOWN_TOPIC_OR_PARTITION]
    assert [topic.partitions[0].aborted_transactions for topic in anew.responses] == [None, ()]


@pytest.mark.rule("LOG-SESSION-8")
def test_only_a_rested_session_makes_room() -> None:
    bench = Bench("a", settings={"max.incremental.fetch.session.cache.slots": "1"})
    first = begun(bench, [("a", 0, 0)])
    assert bench.ask(fetch_request([("a", 0, 0)], session=(0, 0)), V).session_id == 0
    bench.now += sessions.EVICTION_MS + 1
    second = begun(bench, [("a", 0, 0)])
    assert set(bench.broker.sessions.by_id) == {second} and first != second


@pytest.mark.rule("LOG-SESSION-9")
def test_a_served_partition_goes_to_the_end_of_the_line() -> None:
    bench = Bench("a", partitions=2)
    for index in range(2):
        bench.produce("a", batch(), batch(), index=index)
    wanted = [("a", 0, 0), ("a", 1, 0)]
    session_id = bench.ask(fetch_request(wanted, session=(0, 0), max_bytes=100), V).session_id
    for epoch, served in ((1, 0), (2, 1), (3, 0)):  # a new session keeps the order of its request
        following = bench.ask(fetch_request([], session=(session_id, epoch), max_bytes=100), V)
        assert list(parts(following)) == [("a", served)]


@pytest.mark.rule("LOG-SESSION-9")
def test_a_new_session_reads_what_there_is_first() -> None:
    bench = Bench("a", partitions=2)
    wanted = [("b", 0, 0), ("a", 0, 0), ("a", 1, 0)]
    session_id = bench.ask(fetch_request(wanted, session=(0, 0)), V).session_id
    order = [entry.wanted.name for entry in bench.broker.sessions.by_id[session_id].partitions]
    assert order == ["a", "a", "b"]


@pytest.mark.rule("LOG-FETCH-1", "LOG-FETCH-4")
def test_an_unknown_partition_is_no_reason_to_answer() -> None:
    bench = Bench("a")
    assert bench.send(fetch_request([("b", 0, 0), ("a", 0, 0)], max_wait_ms=10), V) is None
    ticket = bench.tickets
    bench.produce("a", batch())
    reply = bench.reply_to(ticket)
    assert isinstance(reply, Reply)
    assert [data.error_code for data in parts(reply.body).values()] == [Error.UNKNOWN_TOPIC_OR_PARTITION, Error.NONE]
    assert isinstance(bench.send(fetch_request([("b", 0, 0)], max_wait_ms=10), V), Reply)


@pytest.mark.rule("LOG-READ-12", "LOG-FETCH-3")
def test_a_negative_budget_is_refused_once() -> None:
    bench = Bench("a", partitions=2)
    for index in range(2):
        bench.produce("a", batch(), index=index)
    body = bench.ask(fetch_request([("a", 0, 0), ("a", 1, 0)], max_bytes=-1), V)
    assert [data.error_code for data in parts(body).values()] == [Error.INVALID_REQUEST, Error.NONE]
    assert sizes(body) == [0, 100]
    at_the_end = bench.ask(fetch_request([("a", 0, 1)], partition_max_bytes=-1), V)
    assert [data.error_code for data in parts(at_the_end).values()] == [Error.NONE]


@pytest.mark.rule("LOG-FETCH-3")
def test_answers_stand_in_the_order_of_reading() -> None:
    bench = Bench("a", "b", partitions=2)
    body = bench.ask(fetch_request([("a", 0, 0), ("a", 1, 0), ("b", 0, 0), ("a", 1, 0)]), V)
    assert [(topic.topic, len(topic.partitions)) for topic in body.responses] == [("a", 2), ("b", 1)]
    body = bench.ask(fetch_request([("a", 0, 0), ("b", 0, 0), ("a", 1, 0)]), V)
    assert [(topic.topic, len(topic.partitions)) for topic in body.responses] == [("a", 1), ("b", 1), ("a", 1)]


@pytest.mark.rule("LOG-FETCH-10")
def test_who_is_no_replica_is_sent_to_the_leader() -> None:
    bench = Bench("a")
    topic = FetchTopic(topic_id=bench.id_of("a"), partitions=(FetchPartition(),))
    body = bench.ask(FetchRequest(replica_state=ReplicaState(5), topics=(topic,)), 16)
    assert body.responses[0].partitions[0].current_leader == FetchResponseLeaderIdAndEpoch(1, 0)
    assert body.node_endpoints == ()  # a broker knows where the others are


@pytest.mark.rule("LOG-FETCH-5")
def test_a_session_remembers_the_leader_epoch_that_was_named() -> None:
    """KAFKA-9338: an incremental fetch is fenced as the full one was."""
    bench = Bench("a")
    stale = FetchTopic("a", partitions=(FetchPartition(0, current_leader_epoch=0, partition_max_bytes=100),))
    session_id = bench.ask(FetchRequest(max_bytes=1000, session_epoch=0, topics=(stale,)), V).session_id
    key = (bench.id_of("a"), 0)
    led = changed(bench.broker.partitions[key], leader_epoch=1)
    bench.broker = changed(bench.broker, partitions=bench.broker.partitions.set(key, led))
    body = bench.ask(fetch_request([], session=(session_id, 1)), V)
    assert parts(body)["a", 0].error_code == Error.FENCED_LEADER_EPOCH
