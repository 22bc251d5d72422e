"""What may differ between two brokers, and what may not; and symbols, which mean the same to both."""

from __future__ import annotations

from typing import Any

import pytest

from fiducial.conformance import batches
from fiducial.conformance.abstraction import Abstraction, Difference, differences, wall_clock_ms
from fiducial.conformance.batches import Item
from fiducial.conformance.symbols import (
    STRANGE_PRODUCER,
    UNKNOWN_ID,
    Ago,
    Batch,
    IdOf,
    Name,
    Record,
    Records,
    View,
    spoken,
    words,
)
from fiducial.models import messages as m
from fiducial.models.errors import Error

BEGUN_MS = wall_clock_ms()
HOUR_MS = 3_600_000
ONE = View(BEGUN_MS, {"a": "x-a"}, {"a": b"1" * 16}, [5])
OTHER = View(BEGUN_MS, {"a": "y-a"}, {"a": b"2" * 16}, [900])


def answer(part: m.PartitionProduceResponse, name: str = "", topic_id: bytes = bytes(16), throttle_ms: int = 0) -> m.ProduceResponse:
    """A Produce answer about one partition."""
    return m.ProduceResponse((m.TopicProduceResponse(name, topic_id, (part,)),), throttle_ms)


def told_apart(one: Any, other: Any) -> list[Difference]:
    """Where the answers of the two brokers differ."""
    return list(differences(Abstraction(ONE).of(one), Abstraction(OTHER).of(other)))


def test_names_ids_texts_times_and_throttling_may_differ() -> None:
    ours = m.PartitionProduceResponse(0, 87, -1, BEGUN_MS, error_message="why")
    theirs = m.PartitionProduceResponse(0, 87, -1, BEGUN_MS + 900_000, error_message="because")
    assert not told_apart(answer(ours, "x-a"), answer(theirs, "y-a", throttle_ms=40))
    assert not told_apart(answer(ours, topic_id=b"1" * 16), answer(theirs, topic_id=b"2" * 16))
    assert not told_apart(m.InitProducerIdResponse(producer_id=5), m.InitProducerIdResponse(producer_id=900))


@pytest.mark.parametrize(
    ("theirs", "place", "expected", "got"),
    [
        (answer(m.PartitionProduceResponse(0, 2), "y-a"), "responses[0].partition_responses[0].error_code", "NONE", "CORRUPT_MESSAGE"),
        (answer(m.PartitionProduceResponse(0, 999), "y-a"), "responses[0].partition_responses[0].error_code", "NONE", "error 999"),
        (answer(m.PartitionProduceResponse(0, error_message=""), "y-a"), "responses[0].partition_responses[0].error_message", None, ""),
        (answer(m.PartitionProduceResponse(0, log_append_time_ms=1), "y-a"), "responses[0].partition_responses[0].log_append_time_ms", -1, 1),
        (answer(m.PartitionProduceResponse(0), "x-a"), "responses[0].name", "a", "x-a"),
        (answer(m.PartitionProduceResponse(0), "y-a", b"1" * 16), "responses[0].topic_id", "none", "some id"),
    ],
)
def test_nothing_else_may(theirs: m.ProduceResponse, place: str, expected: Any, got: Any) -> None:
    assert told_apart(answer(m.PartitionProduceResponse(0), "x-a"), theirs) == [Difference(place, expected, got)]


def test_an_hour_ago_is_not_now() -> None:
    long_ago, now = m.PartitionProduceResponse(log_append_time_ms=BEGUN_MS - HOUR_MS), m.PartitionProduceResponse(log_append_time_ms=BEGUN_MS)
    (found,) = told_apart(answer(long_ago), answer(now))
    assert (found.expected, found.got) == (BEGUN_MS - HOUR_MS, "now")


def test_lists_whose_order_nobody_promises_are_sorted_and_others_are_not() -> None:
    parts = m.PartitionProduceResponse(0), m.PartitionProduceResponse(1, 3)
    assert not told_apart(
        m.ProduceResponse((m.TopicProduceResponse("x-a", partition_responses=parts),)),
        m.ProduceResponse((m.TopicProduceResponse("y-a", partition_responses=parts[::-1]),)),
    )
    errors = m.BatchIndexAndErrorMessage(0), m.BatchIndexAndErrorMessage(1)
    ours, theirs = (m.PartitionProduceResponse(record_errors=some) for some in (errors, errors[::-1]))
    assert len(told_apart(answer(ours), answer(theirs))) == 2


def test_bytes_are_told_in_digits_as_json_has_them() -> None:
    differing = told_apart(m.SyncGroupResponse(assignment=b"again"), m.SyncGroupResponse(assignment=b""))
    assert differing == [Difference("assignment", "616761696e", "")]


def test_a_list_of_another_length_differs_as_a_whole() -> None:
    (found,) = told_apart(m.ProduceResponse(), answer(m.PartitionProduceResponse()))
    assert (found.place, found.expected) == ("responses", [])


def fetched(data: bytes) -> m.FetchResponse:
    """A Fetch answer with records."""
    records: Any = data
    return m.FetchResponse(responses=(m.FetchableTopicResponse(partitions=(m.PartitionData(records=records),)),))


ITEMS = [Item(1000), Item(1300)]


def test_batches_may_be_packed_otherwise_but_not_hold_other_records() -> None:
    gzip = batches.build(ITEMS, codec=1, producer=(5, 0, 0))
    repacked = batches.build(ITEMS, codec=1, producer=(900, 0, 0), packed=batches.compressed(batches.decompressed(gzip[61:], 1), 1, 1))
    assert gzip[61:] != repacked[61:]
    assert not told_apart(fetched(gzip), fetched(repacked))
    other = batches.build([Item(1000), Item(1300, b"l")], codec=1, producer=(900, 0, 0))
    assert [one.place.rpartition(".")[2] for one in told_apart(fetched(gzip), fetched(other))] == ["records"]


@pytest.mark.parametrize(
    ("data", "place"),
    [
        pytest.param(batches.build(ITEMS, spoil_checksum=True), "checksum", id="checksum"),
        pytest.param(batches.build(ITEMS, base_offset=1), "base_offset", id="offset"),
        pytest.param(batches.build(ITEMS, leader_epoch=3), "leader_epoch", id="epoch"),
        pytest.param(batches.build(ITEMS, attributes=0x40), "attributes", id="attributes"),
        pytest.param(batches.build(ITEMS, attributes=0x08), "attributes", id="append time"),
        pytest.param(batches.build(ITEMS, packed=b"\xff"), "records", id="other records"),
        pytest.param(batches.build(ITEMS)[:70], "records", id="a part of a batch"),
        pytest.param(batches.build(ITEMS) * 2, "records", id="two batches"),
    ],
)
def test_headers_checksums_and_how_many_batches_there_are_are_compared(data: bytes, place: str) -> None:
    assert {one.place.rpartition(".")[2] for one in told_apart(fetched(batches.build(ITEMS)), fetched(data))} == {place}


def test_an_error_that_a_rule_allows_a_peer_is_not_looked_into() -> None:
    ours = Abstraction(ONE).of(answer(m.PartitionProduceResponse(0, Error.INVALID_RECORD, -1)))
    theirs = Abstraction(ONE).of(answer(m.PartitionProduceResponse(0, Error.UNKNOWN_SERVER_ERROR, -1, error_message="oh")))
    assert len(list(differences(ours, theirs))) == 2
    assert not list(differences(ours, theirs, frozenset({(87, -1)})))
    assert list(differences(ours, theirs, frozenset({(87, 0), (2, -1)})))


def test_a_symbol_means_the_same_to_every_broker() -> None:
    request = (Name("a"), IdOf("a"), Ago(7), "plain")
    assert spoken(request, ONE) == ("x-a", b"1" * 16, BEGUN_MS - 7, "plain")
    assert spoken(request, OTHER) == ("y-a", b"2" * 16, BEGUN_MS - 7, "plain")
    assert spoken(IdOf("b"), ONE) == UNKNOWN_ID and spoken(Name("b"), ONE) == "b"


@pytest.mark.parametrize(("producer", "wanted"), [(0, 5), (1, STRANGE_PRODUCER + 1), (-2, -2)])
def test_a_producer_that_was_given_no_id_has_a_strange_one(producer: int, wanted: int) -> None:
    sent = batches.sent_records(spoken(Records((Batch(producer=producer, epoch=1, sequence=2),)), ONE))
    assert sent is not None
    assert (sent.batches[0].producer_id, sent.batches[0].producer_epoch, sent.batches[0].base_sequence) == (wanted, 1, 2)


def test_records_are_batches_and_what_follows_them_or_a_part_of_that() -> None:
    whole = spoken(Records((Batch(), Batch()), behind=b"more"), ONE)
    assert whole == 2 * Batch().data(ONE) + b"more"
    assert spoken(Records(cut=11), ONE) == Batch().data(ONE)[:11]


def test_a_request_is_told_in_words() -> None:
    records: Any = Records((Batch((Record(Ago(-5), key=None, content=bytes(20)),), codec=4, producer=0, fault="garbage"),), behind=b"\x01", cut=50)
    name: Any = Name("a")
    topic_id: Any = IdOf("a")
    told = words(m.ProduceRequest(None, -1, 0, (m.TopicProduceData(name, topic_id, (m.PartitionProduceData(3, records),)),)))
    assert told == (
        "{acks -1, topic_data [{name a, partition_data [{index 3, records (50 bytes of 1 record, zstd, producer 0 epoch 0 sequence 0, garbage, "
        "of 5 ms ahead, some without a key, up to 20 bytes each, and behind it 01)}]}]}"
    )
    assert words(m.FetchRequest(cluster_id="c" * 80, rack_id="")) == f"cluster_id {'c' * 60}…"
    assert words(m.InitProducerIdResponse(error_code=51)) == "error_code CONCURRENT_TRANSACTIONS"
    assert words(bytes(20)) == f"{'00' * 16}… (20 bytes)"


def test_what_is_told_beside_an_error_concerns_the_cases_about_that() -> None:
    ours = Abstraction(ONE).of(answer(m.PartitionProduceResponse(0, Error.CORRUPT_MESSAGE, -1)))
    theirs = Abstraction(ONE).of(answer(m.PartitionProduceResponse(0, Error.CORRUPT_MESSAGE, 0, error_message="oh")))
    assert not list(differences(ours, theirs, rule="LOG-BATCH-9"))
    assert len(list(differences(ours, theirs, rule="LOG-BATCH-22"))) == len(list(differences(ours, theirs))) == 2
    other = Abstraction(ONE).of(answer(m.PartitionProduceResponse(0, Error.INVALID_RECORD, 0)))
    assert [one.place.rpartition(".")[2] for one in differences(ours, other, rule="LOG-BATCH-9")] == ["error_code"]


def test_what_a_success_is_told_with_concerns_all() -> None:
    ours, theirs = (Abstraction(ONE).of(answer(m.PartitionProduceResponse(0, base_offset=offset))) for offset in (4, 5))
    assert list(differences(ours, theirs, rule="LOG-BATCH-9"))
