"""What there is, and where: Metadata and DescribeTopicPartitions, by name and by id, page by page."""

from __future__ import annotations

from typing import Any

import pytest
from samples import Bench, batch, falls_through

from fiducial.models.errors import Error
from fiducial.models.events import Persist
from fiducial.models.messages import (
    CreatePartitionsRequest,
    CreatePartitionsTopic,
    DeleteTopicsRequest,
    DeleteTopicState,
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsRequestCursor,
    DescribeTopicPartitionsRequestTopicRequest,
    DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponseCursor,
    DescribeTopicPartitionsResponsePartition,
    MetadataRequest,
    MetadataRequestTopic,
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)
from fiducial.models.partition import become_leader
from fiducial.models.state import Cluster
from fiducial.models.values import ZERO_UUID, changed

NO_ID = b"x" * 16
NOT_ASKED = -2147483648
INTERNAL = ("__consumer_offsets", "__transaction_state", "__share_group_state")


def led_in_epoch(bench: Bench, name: str, index: int, epoch: int) -> None:
    """Make a partition one that is led in a later epoch."""
    key = (bench.id_of(name), index)
    here = become_leader(bench.broker.partitions[key], epoch)
    bench.broker = changed(bench.broker, partitions=bench.broker.partitions.set(key, here))


# Metadata

Named = str | bytes | tuple[str | None, bytes]


def metadata(*wanted: Named, creates: bool = False, operations: bool = False) -> MetadataRequest:
    """A request for these names, ids, and pairs of both."""

    def entry(one: Named) -> MetadataRequestTopic:
        if isinstance(one, tuple):
            return MetadataRequestTopic(one[1], one[0])
        return MetadataRequestTopic(ZERO_UUID, one) if isinstance(one, str) else MetadataRequestTopic(one, None)

    return MetadataRequest(tuple(entry(one) for one in wanted), creates, operations, operations)


def told(bench: Bench, *wanted: Named, version: int = 13, **how: bool) -> dict[str | bytes, int]:
    """The error of each topic in the answer, by name or, without one, by id."""
    body: MetadataResponse = bench.ask(metadata(*wanted, **how), version)
    return {topic.name or topic.topic_id: topic.error_code for topic in body.topics}


@pytest.mark.rule("WIRE-META-1")
@pytest.mark.parametrize("version", [10, 11])
def test_ids_are_not_asked_before_version_12(version: int) -> None:
    bench = Bench("a")
    a, bad = bench.id_of("a"), Error.INVALID_REQUEST
    for spoilt in ((None, a), ("a", a), (None, ZERO_UUID)):
        body = bench.ask(metadata(spoilt, "q", "q"), version)
        assert [(one.error_code, one.name, one.topic_id) for one in body.topics] == [
            (bad, spoilt[0] or "", spoilt[1]),
            (bad, "q", ZERO_UUID),
            (bad, "q", ZERO_UUID),
        ]
        assert (body.brokers, body.controller_id) == ((), -1)
        assert bench.refused(metadata(spoilt, "q"), version) == ("WIRE-META-1",)
    assert told(bench, "a", version=version) == told(bench, (None, a), version=12) == {"a": 0}


@pytest.mark.rule("WIRE-META-2")
@pytest.mark.parametrize("version", [12, 13])
def test_a_topic_without_name_and_id_spoils_the_request(version: int) -> None:
    bench = Bench("a")
    nothing, bad = (None, ZERO_UUID), Error.INVALID_REQUEST
    body = bench.ask(metadata(nothing, "a", nothing), version)
    assert [(one.error_code, one.name) for one in body.topics] == [(bad, ""), (bad, "a"), (bad, "")]
    assert (body.error_code, body.brokers) == (bad, ())
    assert told(bench, nothing, bench.id_of("a")) == told(bench, "a") == {"a": 0}


@pytest.mark.rule("WIRE-META-1", "WIRE-META-2")
def test_what_spoils_a_metadata_request_in_order() -> None:
    bench = Bench()
    nothing = metadata((None, ZERO_UUID))

    def refusal() -> tuple[tuple[str, ...], int]:
        return bench.refused(nothing, 11), bench.ask(nothing, 11).topics[0].error_code

    falls_through(refusal, ("WIRE-META-1", Error.INVALID_REQUEST), ("WIRE-META-2", Error.INVALID_REQUEST))


@pytest.mark.rule("WIRE-META-3", "WIRE-META-5")
def test_a_deleted_topic_is_unknown_by_its_name_and_by_its_id() -> None:
    bench = Bench("a")
    old = bench.id_of("a")
    assert told(bench, old) == {"a": 0}
    bench.ask(DeleteTopicsRequest((DeleteTopicState("a"),), (), 1000), 6)
    assert told(bench, old) == {old: Error.UNKNOWN_TOPIC_ID}
    assert told(bench, "a") == {"a": Error.UNKNOWN_TOPIC_OR_PARTITION}
    bench.create("a")
    assert told(bench, old) == {old: Error.UNKNOWN_TOPIC_ID}
    assert told(bench, "a") == {"a": 0}


@pytest.mark.rule("WIRE-META-3", "WIRE-META-4", "WIRE-META-5")
def test_a_fault_of_a_topic_that_is_asked_for_wins_over_those_below_it() -> None:
    bench = Bench()
    for wanted, *expected in (
        (NO_ID, (3, Error.UNKNOWN_TOPIC_ID), (4, Error.INVALID_TOPIC_EXCEPTION), (5, Error.UNKNOWN_TOPIC_OR_PARTITION)),
        ("bad/name", (4, Error.INVALID_TOPIC_EXCEPTION), (5, Error.UNKNOWN_TOPIC_OR_PARTITION)),
    ):

        def refusal(asked: Any = wanted) -> tuple[tuple[str, ...], int]:
            return bench.refused(metadata(asked), 13), bench.ask(metadata(asked), 13).topics[0].error_code

        falls_through(refusal, *((f"WIRE-META-{number}", error) for number, error in expected))


@pytest.mark.rule("WIRE-META-4", "WIRE-META-8")
def test_an_invalid_name_creates_nothing() -> None:
    bench = Bench()
    names = ("", ".", "..", "a" * 250, "a/b")
    body = bench.ask(metadata(*names, creates=True), 12)
    assert [(topic.name, topic.error_code) for topic in body.topics] == [(name, Error.INVALID_TOPIC_EXCEPTION) for name in names]
    assert not bench.broker.topics.by_name
    assert told(bench, "a" * 249) == {"a" * 249: Error.UNKNOWN_TOPIC_OR_PARTITION}


@pytest.mark.rule("WIRE-META-6")
def test_by_name_or_by_id_each_once() -> None:
    bench = Bench("a", "b", "c")
    a, b = bench.id_of("a"), bench.id_of("b")
    by_name = bench.ask(metadata("a", "q", "a", "q"), 12).topics
    assert [topic.name for topic in by_name] == ["a", "q"]
    by_id = bench.ask(metadata("c", ("c", a), ("q", b), a, NO_ID, "q", ("a", NO_ID)), 12).topics
    assert [(topic.name, topic.topic_id) for topic in by_id] == [("a", a), ("b", b), (None, NO_ID)]


@pytest.mark.rule("WIRE-META-7")
@pytest.mark.parametrize("version", range(14))
def test_how_to_ask_for_all_topics(version: int) -> None:
    bench = Bench("a", "__consumer_offsets")
    everything = {"a", "__consumer_offsets"}
    none = bench.ask(MetadataRequest((), False), version).topics
    assert {topic.name for topic in none} == (everything if version == 0 else set())
    if version > 0:
        assert {topic.name for topic in bench.ask(MetadataRequest(None, False), version).topics} == everything
    assert {topic.name for topic in bench.ask(metadata("a"), version).topics} == {"a"}


@pytest.mark.rule("WIRE-META-8", "WIRE-META-5")
@pytest.mark.parametrize("version", [0, 3, 4, 13])
@pytest.mark.parametrize("allowed", [True, False])
@pytest.mark.parametrize("wanted", [True, False])
def test_asking_creates_where_both_sides_want_it(version: int, allowed: bool, wanted: bool) -> None:
    bench = Bench(settings={"auto.create.topics.enable": str(allowed)})
    assert told(bench, "a", "a", version=version, creates=wanted) == {"a": Error.UNKNOWN_TOPIC_OR_PARTITION}
    is_created = allowed and (wanted or version < 4)
    assert ("a" in bench.broker.topics.by_name) == is_created
    assert any(isinstance(effect, Persist) for effect in bench.effects) == is_created
    assert told(bench, "a") == {"a": 0 if is_created else Error.UNKNOWN_TOPIC_OR_PARTITION}


@pytest.mark.rule("WIRE-META-9")
def test_what_is_told_of_a_topic() -> None:
    bench = Bench("a", partitions=2)
    led_in_epoch(bench, "a", 1, 3)
    (topic,) = bench.ask(metadata("a"), 13).topics
    partitions = tuple(MetadataResponsePartition(0, index, 1, epoch, (1,), (1,), ()) for index, epoch in ((0, 0), (1, 3)))
    assert topic == MetadataResponseTopic(0, "a", bench.id_of("a"), False, partitions, NOT_ASKED)
    bench.create("__consumer_offsets")
    assert bench.ask(metadata("__consumer_offsets"), 13).topics[0].is_internal


@pytest.mark.rule("WIRE-META-10", "WIRE-META-14")
def test_what_is_told_of_a_topic_that_is_unknown() -> None:
    bench, unknown = Bench(), Error.UNKNOWN_TOPIC_OR_PARTITION
    by_name = bench.ask(metadata("a", "a/b", INTERNAL[0], operations=True), 10).topics
    assert by_name == (
        MetadataResponseTopic(unknown, "a", ZERO_UUID, False, (), 3576),
        MetadataResponseTopic(Error.INVALID_TOPIC_EXCEPTION, "a/b", ZERO_UUID, False, (), 3576),
        MetadataResponseTopic(unknown, INTERNAL[0], ZERO_UUID, True, (), 3576),
    )
    assert bench.ask(metadata("a"), 10).topics == (MetadataResponseTopic(unknown, "a", ZERO_UUID, False, (), NOT_ASKED),)
    by_id = bench.ask(metadata(NO_ID, operations=True), 12).topics
    assert by_id == (MetadataResponseTopic(Error.UNKNOWN_TOPIC_ID, None, NO_ID, False, (), NOT_ASKED),)


@pytest.mark.rule("WIRE-META-11")
def test_what_asking_creates() -> None:
    bench = Bench("a_b", settings={"num.partitions": "3"})
    names = ("c", *INTERNAL, "__cluster_metadata", "a.b", "x.y", "x_y")
    assert set(told(bench, *names, creates=True).values()) == {Error.UNKNOWN_TOPIC_OR_PARTITION}
    found = {name: topic.partitions for name, topic in bench.broker.topics.by_name.items()}
    assert found == {"a_b": 1, "c": 3, "x.y": 3, **dict.fromkeys(INTERNAL, 50)}
    assert not bench.broker.topics.by_name["c"].overrides
    assert len({topic.topic_id for topic in bench.broker.topics.by_name.values()}) == len(found)
    bench.produce("c", batch(), index=2)


@pytest.mark.rule("WIRE-META-12")
def test_topics_that_exist_come_first() -> None:
    bench = Bench("a", "b")
    assert list(told(bench, "q", "b", "a/b", "a")) == ["b", "a", "q", "a/b"]


@pytest.mark.rule("WIRE-META-13")
def test_who_the_brokers_are() -> None:
    bench = Bench()
    bench.broker = changed(bench.broker, cluster=Cluster("the-cluster", 7, "here", 1234, "rack"))
    body = bench.ask(metadata(), 13)
    assert body.brokers == (MetadataResponseBroker(7, "here", 1234, "rack"),)
    assert (body.controller_id, body.cluster_id, body.error_code, body.throttle_time_ms) == (7, "the-cluster", 0, 0)


@pytest.mark.rule("WIRE-META-14")
def test_operations_are_told_if_they_are_asked_for() -> None:
    bench = Bench("a")
    for request, topic, cluster in (
        (metadata("a", operations=True), 3576, 8096),
        (metadata("a"), NOT_ASKED, NOT_ASKED),
        (MetadataRequest(None, False, True, False), NOT_ASKED, 8096),
        (MetadataRequest(None, False, False, True), 3576, NOT_ASKED),
    ):
        body = bench.ask(request, 10)
        assert (body.topics[0].topic_authorized_operations, body.cluster_authorized_operations) == (topic, cluster)


# DescribeTopicPartitions


def pages(*names: str, limit: int = 100, cursor: tuple[str, int] | None = None) -> DescribeTopicPartitionsRequest:
    topics = tuple(DescribeTopicPartitionsRequestTopicRequest(name) for name in names)
    return DescribeTopicPartitionsRequest(topics, limit, DescribeTopicPartitionsRequestCursor(*cursor) if cursor else None)


def page(bench: Bench, *names: str, **how: Any) -> tuple[list[tuple[str | None, list[int]]], tuple[str, int] | None]:
    """Each topic with its partitions, and where the next page begins."""
    body: DescribeTopicPartitionsResponse = bench.ask(pages(*names, **how), 0)
    given = [(topic.name, [partition.partition_index for partition in topic.partitions]) for topic in body.topics]
    return given, (body.next_cursor.topic_name, body.next_cursor.partition_index) if body.next_cursor else None


@pytest.mark.rule("WIRE-PARTS-1", "WIRE-PARTS-2")
def test_a_cursor_stands_among_the_topics_at_a_partition() -> None:
    bench = Bench("a", "b")
    bad = Error.INVALID_REQUEST
    for cursor in (("c", 0), ("a", -1)):
        body = bench.ask(pages("b", "q", "a", "b", cursor=cursor), 0)
        assert [(topic.name, topic.error_code) for topic in body.topics] == [("b", bad), ("q", bad), ("a", bad), ("b", bad)]
        assert body.next_cursor is None
        assert {topic.topic_authorized_operations for topic in body.topics} == {NOT_ASKED}
    assert page(bench, "a", "b", cursor=("a", 0)) == ([("a", [0]), ("b", [0])], None)
    assert page(bench, cursor=("aa", 5)) == ([("b", [0])], None)
    assert page(bench, cursor=("c", 0)) == ([], None)
    assert page(bench, cursor=("a", -1)) == ([], None)
    assert bench.refused(pages(cursor=("a", -1)), 0) == ("WIRE-PARTS-2",)


@pytest.mark.rule("WIRE-PARTS-1", "WIRE-PARTS-2", "WIRE-PARTS-3", "WIRE-PARTS-4")
def test_a_fault_of_a_page_wins_over_those_below_it() -> None:
    bench = Bench("a")
    for request, *expected in (
        (pages("a", cursor=("c", -1)), (1, Error.INVALID_REQUEST), (2, Error.INVALID_REQUEST)),
        (pages("a/b"), (3, Error.INVALID_TOPIC_EXCEPTION), (4, Error.UNKNOWN_TOPIC_OR_PARTITION)),
    ):

        def refusal(asked: Any = request) -> tuple[tuple[str, ...], int]:
            return bench.refused(asked, 0), bench.ask(asked, 0).topics[0].error_code

        falls_through(refusal, *((f"WIRE-PARTS-{number}", error) for number, error in expected))


@pytest.mark.rule("WIRE-PARTS-3", "WIRE-PARTS-4", "WIRE-PARTS-8")
def test_what_is_told_of_a_topic_on_a_page() -> None:
    bench = Bench("a", partitions=2)
    led_in_epoch(bench, "a", 1, 3)
    internal, known, bad, unknown = bench.ask(pages("q", "a", "a/b", INTERNAL[0]), 0).topics
    assert [(topic.name, topic.error_code, topic.is_internal) for topic in (internal, known, bad, unknown)] == [
        (INTERNAL[0], Error.UNKNOWN_TOPIC_OR_PARTITION, True),
        ("a", Error.NONE, False),
        ("a/b", Error.INVALID_TOPIC_EXCEPTION, False),
        ("q", Error.UNKNOWN_TOPIC_OR_PARTITION, False),
    ]
    assert {topic.topic_authorized_operations for topic in (internal, known, bad, unknown)} == {3576}
    assert (known.topic_id, unknown.topic_id, unknown.partitions) == (bench.id_of("a"), ZERO_UUID, ())
    assert known.partitions == tuple(
        DescribeTopicPartitionsResponsePartition(0, index, 1, epoch, (1,), (1,), (), (), ()) for index, epoch in ((0, 0), (1, 3))
    )
    assert set(bench.broker.topics.by_name) == {"a"}


@pytest.mark.rule("WIRE-PARTS-5")
def test_topics_come_by_name() -> None:
    bench = Bench("b", "a", INTERNAL[0], "c")
    assert page(bench, "c", "q", "a", "c") == ([("a", [0]), ("c", [0]), ("q", [])], None)
    assert page(bench) == ([(INTERNAL[0], [0]), ("a", [0]), ("b", [0]), ("c", [0])], None)


@pytest.mark.rule("WIRE-PARTS-6")
def test_a_page_ends_when_it_is_full() -> None:
    bench = Bench("a", "c", partitions=3)
    assert page(bench, "a", "c", limit=2) == ([("a", [0, 1])], ("a", 2))
    assert page(bench, "a", "c", limit=2, cursor=("a", 2)) == ([("a", [2]), ("c", [0])], ("c", 1))
    assert page(bench, "a", "c", limit=2, cursor=("c", 1)) == ([("c", [1, 2])], None)
    assert page(bench, "a", "bb", "c", limit=3) == ([("a", [0, 1, 2])], ("bb", 0))
    assert page(bench, "bb", "c", "c/", limit=3, cursor=("bb", 7)) == ([("bb", []), ("c", [0, 1, 2])], ("c/", 0))
    assert page(bench, "a", "c", limit=3, cursor=("a", 3)) == ([("a", []), ("c", [0, 1, 2])], None)
    assert page(bench, "a", "c", limit=3, cursor=("a", 9)) == ([("a", []), ("c", [0, 1, 2])], None)
    assert bench.ask(pages(limit=1), 0).next_cursor == DescribeTopicPartitionsResponseCursor("a", 1)


@pytest.mark.rule("WIRE-PARTS-7")
@pytest.mark.parametrize(("limit", "given"), [(-1, 1), (0, 1), (1, 1), (4, 4), (5, 5), (6, 5), (100, 5)])
def test_a_page_has_a_limit(limit: int, given: int) -> None:
    bench = Bench("a", partitions=9, settings={"max.request.partition.size.limit": "5"})
    assert page(bench, "a", limit=limit) == ([("a", list(range(given)))], ("a", given))


@pytest.mark.rule("WIRE-PARTS-6")
def test_pages_put_together_are_the_whole() -> None:
    bench = Bench("a", "b", "c", partitions=3)
    bench.ask(CreatePartitionsRequest((CreatePartitionsTopic("b", 5, None),), 1000, False), 3)
    for limit in range(1, 12):
        found: dict[str | None, list[int]] = {}
        cursor: tuple[str, int] | None = None
        for _ in range(20):
            given, cursor = page(bench, limit=limit, cursor=cursor)
            assert sum(len(indexes) for _, indexes in given) <= limit
            for name, indexes in given:
                found.setdefault(name, []).extend(indexes)
            if cursor is None:
                break
        assert found == {"a": [0, 1, 2], "b": [0, 1, 2, 3, 4], "c": [0, 1, 2]}
