"""What people do with a log, by each client that can: create, write, read, look up by time, delete, configure."""

from __future__ import annotations

import time

import pytest
from conftest import Address

from clients.client import COMPRESSIONS, DELIVERIES, Client, Delivery, Record
from clients.conftest import ClientOf, of_the_fast_path
from clients.roster import CLIENTS, can, ways_to_produce, who_can
from clients.wire import Wire
from fiducial.models.batches import ATTRIBUTE_CODEC, NO_PRODUCER
from fiducial.models.errors import Error

pytestmark = pytest.mark.clients

#: Long enough that every codec makes them smaller: some clients send them plain otherwise.
VERSE = "Nel mezzo del cammin di nostra vita mi ritrovai per una selva oscura, ché la diritta via era smarrita. " * 5
RECORDS = [
    Record(VERSE.encode()),
    Record(b"the value of a key", key=b"a key"),
    Record(None, key=b"a key with no value"),
    Record(VERSE.encode(), key=b"a key", headers=(("language", b"it"), ("meter", b"terza rima"))),
]


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_says_what_it_lacks(client: type[Client]) -> None:
    methods = {name for name, found in vars(Client).items() if callable(found) and name not in ("__init__", "close")}
    assert {name for name in methods if getattr(client, name) is getattr(Client, name)} == methods & set(client.lacks)
    assert set(client.lacks) <= {*methods, *COMPRESSIONS, *map(str, DELIVERIES), "told offsets"}


@pytest.mark.parametrize("client", who_can("create_topic"), indirect=True)
def test_a_topic_is_created_as_asked(client: Client, new_name: str, wire: Wire) -> None:
    client.create_topic(new_name, 3, {"retention.ms": "86400000"})
    assert [one.partition_index for one in wire.topic(new_name).partitions] == [0, 1, 2]
    assert wire.config(new_name, "retention.ms") == "86400000"


@pytest.mark.parametrize("client", who_can("produce"), indirect=True)
def test_a_topic_is_created_by_writing_to_it(client: Client, new_name: str, wire: Wire) -> None:
    assert wire.topic(new_name).error_code == Error.UNKNOWN_TOPIC_OR_PARTITION
    client.produce(new_name, 0, RECORDS, "none", Delivery("all"))
    assert [one.record for one in client.fetch(new_name, 0, 0, len(RECORDS))] == RECORDS


@of_the_fast_path
@pytest.mark.parametrize(("client", "compression", "delivery"), ways_to_produce(), indirect=["client"])
def test_what_was_written_is_read(
    client: Client, compression: str, delivery: Delivery, topic: str, wire: Wire
) -> None:
    client.produce(topic, 0, RECORDS, compression, delivery)
    read = client.fetch(topic, 0, 0, len(RECORDS))
    assert [one.record for one in read] == RECORDS
    assert [one.offset for one in read] == list(range(len(RECORDS)))
    batches = wire.batches(topic)
    assert all((batch.producer_id != NO_PRODUCER) == delivery.is_idempotent for batch in batches)
    codecs = {COMPRESSIONS[batch.attributes & ATTRIBUTE_CODEC] for batch in batches}
    assert compression in codecs <= {compression, "none"}  # clients send a batch as it is where packing would not make it smaller


@pytest.mark.parametrize("delivery", [one for one in DELIVERIES if one.acks != "0"], ids=str)
@pytest.mark.parametrize("client", who_can("told offsets"), indirect=True)
def test_a_producer_that_wants_acks_learns_where_its_records_went(
    client: Client, delivery: Delivery, topic: str, wire: Wire
) -> None:
    wire.write(topic, [now_ms()] * 5)
    assert client.produce(topic, 0, RECORDS, "none", delivery) == [5, 6, 7, 8]


@pytest.fixture(scope="module")
def works(broker: Address) -> dict[type[Client], list[Record]]:
    """What each client has written to the topic of its works on this broker."""
    return {}


@pytest.mark.parametrize("client", who_can("fetch"), indirect=True)
@pytest.mark.parametrize("writer", who_can("produce"))
def test_each_client_reads_what_another_wrote(
    client: Client, writer: type[Client], works: dict[type[Client], list[Record]], client_of: ClientOf, wire: Wire
) -> None:
    topic = f"works-of-{writer.name}"
    if writer not in works:
        wire.create_topic(topic)
        compressions = [one for one in COMPRESSIONS if can(writer, one)]
        for compression in compressions:
            client_of(writer).produce(topic, 0, RECORDS, compression, Delivery("all"))
        works[writer] = RECORDS * len(compressions)
    read = client.fetch(topic, 0, 0, len(works[writer]))
    assert [one.record for one in read] == works[writer]


@pytest.mark.parametrize("client", who_can("fetch"), indirect=True)
def test_reading_begins_at_an_offset_inside_a_batch(client: Client, topic: str, wire: Wire) -> None:
    times = [now_ms() - 1000 + index for index in range(10)]
    wire.write(topic, times)
    read = client.fetch(topic, 0, 7, 3)
    assert [(one.offset, one.timestamp_ms) for one in read] == list(enumerate(times))[7:]


@pytest.mark.parametrize("client", who_can("offset_at"), indirect=True)
def test_offsets_are_found_by_time(client: Client, topic: str, wire: Wire) -> None:
    base = now_ms() - 60_000
    for seconds in ([1, 3], [2, 5]):
        wire.write(topic, [base + 1000 * one for one in seconds])
    asked = {0: 0, 1: 0, 2: 1, 3: 1, 4: 3, 5: 3, 6: None}  # second -> the first record of that time or later
    assert {second: client.offset_at(topic, 0, base + 1000 * second) for second in asked} == asked


@pytest.mark.parametrize("client", who_can("bounds"), indirect=True)
def test_the_bounds_of_a_log_are_told(client: Client, topic: str, wire: Wire) -> None:
    assert client.bounds(topic, 0) == (0, 0)
    wire.write(topic, [now_ms()] * 3)
    assert client.bounds(topic, 0) == (0, 3)


@pytest.mark.parametrize("client", who_can("delete_records"), indirect=True)
def test_records_below_an_offset_are_deleted(client: Client, topic: str, wire: Wire) -> None:
    wire.write(topic, [now_ms()] * 10)
    assert client.delete_records(topic, 0, 4) == 4
    assert client.bounds(topic, 0) == (4, 10)
    assert [one.offset for one in client.fetch(topic, 0, 4, 6)] == [4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize("client", who_can("describe", "alter"), indirect=True)
def test_configurations_are_described_and_altered(client: Client, topic: str, wire: Wire) -> None:
    before = client.describe(topic)
    assert before["max.message.bytes"] == "1048588"
    client.alter(topic, "max.message.bytes", "2000000")
    assert client.describe(topic) == {**before, "max.message.bytes": "2000000"}
    assert wire.config(topic, "max.message.bytes") == "2000000"


def now_ms() -> int:
    """The time."""
    return time.time_ns() // 1_000_000
