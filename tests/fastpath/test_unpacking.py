"""Who unpacks a compressed batch may have to wait for the GIL, however long: others do not wait for him, though they want the same partition, or are
about to take it away."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from raw_client import RawClient

from fastpath.folders import create, delete
from fastpath.served import PATIENCE_S, Served
from fiducial.conformance.batches import CODECS, Item, build
from fiducial.conformance.exploration.steps import answer_of, request_frame
from fiducial.models import messages as m
from fiducial.models.errors import Error

codecs = importlib.import_module("fiducial.fastpath.codecs")

PRODUCE, LIST_OFFSETS = 0, 2
TIMES = range(1000, 1010)
#: So long others wait for what they are not to wait for (s).
SHORT_S = 5.0


class Library:
    """What unpacks; while it is `held`, whoever calls it waits, and has `begun`."""

    def __init__(self, unpack: Any) -> None:
        self.unpack = unpack
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()
        self.calls = 0

    def __call__(self, packed: Any, codec: int) -> Any:
        self.calls += 1
        self.begun.set()
        self.go_on.wait(PATIENCE_S)
        return self.unpack(packed, codec)

    def hold(self) -> None:
        """From now on."""
        self.begun.clear()
        self.go_on.clear()


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Iterator[Library]:
    """In place of the real one, which it calls."""
    held = Library(codecs.decompressed)
    monkeypatch.setattr(codecs, "decompressed", held)
    yield held
    held.go_on.set()


@pytest.fixture
def here(tmp_path: Path, library: Library) -> Iterator[Served]:
    """A broker with a topic."""
    with Served(tmp_path / "data") as served:
        with served.connect() as client:
            create(client, "a")
        yield served
        library.go_on.set()


def to_topic(topic: Any, codec: int) -> m.TopicProduceData:
    """A batch for a topic, by its name or by its id."""
    records: Any = build([Item(time) for time in TIMES], codec=codec)
    named = {"topic_id": topic} if isinstance(topic, bytes) else {"name": topic}
    return m.TopicProduceData(partition_data=(m.PartitionProduceData(0, records),), **named)


def produced(codec: int) -> bytes:
    """A request that appends a batch."""
    return sent_to(to_topic("a", codec))


def sent_to(*data: m.TopicProduceData, version: int = 9) -> bytes:
    """A request that appends these."""
    return request_frame(PRODUCE, version, m.ProduceRequest(acks=-1, timeout_ms=1000, topic_data=data))


def outcomes(answer: bytes | None, version: int = 9) -> list[tuple[Error, int]]:
    """What each partition answers: an error, and an offset."""
    assert answer is not None
    parts = [one for topic in answer_of(answer, PRODUCE, version).responses for one in topic.partition_responses]
    return [(Error(one.error_code), one.base_offset) for one in parts]


def append(client: RawClient, codec: int) -> int:
    """Where the batch begins."""
    answer = client.ask(produced(codec))
    assert answer is not None
    (one,) = answer_of(answer, PRODUCE, 9).responses[0].partition_responses
    assert one.error_code == 0
    return int(one.base_offset)


def asked_for(timestamp: int) -> bytes:
    """A request for an offset by time."""
    topic = m.ListOffsetsTopic("a", (m.ListOffsetsPartition(0, timestamp=timestamp),))
    return request_frame(LIST_OFFSETS, 7, m.ListOffsetsRequest(topics=(topic,)))


def found(answer: bytes | None) -> tuple[int, int]:
    """The offset, and its time."""
    assert answer is not None
    (one,) = answer_of(answer, LIST_OFFSETS, 7).topics[0].partitions
    assert one.error_code == 0
    return one.offset, one.timestamp


@pytest.mark.parametrize("codec", range(1, len(CODECS)), ids=CODECS[1:])
def test_who_looks_an_offset_up_in_a_compressed_batch_holds_up_nobody(codec: int, here: Served, library: Library) -> None:
    with here.connect() as one, here.connect() as other:
        other.socket.settimeout(SHORT_S)
        assert append(one, codec) == 0
        library.hold()
        one.send(asked_for(TIMES[4]))
        assert library.begun.wait(PATIENCE_S)
        assert append(other, 0) == len(TIMES)
        library.go_on.set()
        assert found(one.answer()) == (4, TIMES[4])


def test_who_sends_a_compressed_batch_holds_up_nobody(here: Served, library: Library) -> None:
    with here.connect() as one, here.connect() as other:
        other.socket.settimeout(SHORT_S)
        library.hold()
        one.send(produced(4))
        assert library.begun.wait(PATIENCE_S)
        assert append(other, 0) == 0
        library.go_on.set()
        assert one.answer() is not None
        assert found(one.ask(asked_for(TIMES[0]))) == (0, TIMES[0])


def test_what_was_deleted_while_a_batch_was_unpacked_is_not_found(here: Served, library: Library) -> None:
    with here.connect() as one, here.connect() as other:
        assert [append(one, codec) for codec in (4, 4, 0, 4)] == [0, 10, 20, 30]
        for before, offset in ((5, 9), (15, 19), (20, 29), (30, 39)):  # in the same batch, and in those behind it, packed or plain
            library.hold()
            one.send(asked_for(TIMES[9]))
            assert library.begun.wait(PATIENCE_S)
            delete_below(other, before)
            library.go_on.set()
            assert found(one.answer()) == (offset, TIMES[9])


def test_a_batch_is_unpacked_once_for_each_that_is_looked_into(here: Served, library: Library) -> None:
    with here.connect() as one:
        append(one, 4)
        append(one, 4)
        library.calls = 0
        assert found(one.ask(asked_for(TIMES[4]))) == (4, TIMES[4]) and library.calls == 1
        assert found(one.ask(asked_for(-3))) == (9, TIMES[9]) and library.calls == 2
        assert found(one.ask(asked_for(TIMES[9] + 1))) == (-1, -1) and library.calls == 2
        delete_below(one, 5)
        assert found(one.ask(asked_for(TIMES[4]))) == (5, TIMES[5]) and library.calls == 3


def delete_below(client: RawClient, before: int) -> None:
    """The records below an offset."""
    topic = m.DeleteRecordsTopic("a", (m.DeleteRecordsPartition(0, before),))
    assert client.ask(request_frame(21, 2, m.DeleteRecordsRequest((topic,), 1000))) is not None


# Topics come and go meanwhile


@pytest.mark.rule("THREAD-LOCK-4")
@pytest.mark.parametrize("asked", [produced(4), asked_for(TIMES[4])], ids=["produce", "lookup"])
def test_while_a_batch_is_unpacked_topics_are_created_and_written_to(asked: bytes, here: Served, library: Library) -> None:
    with here.connect() as one, here.connect() as other:
        other.socket.settimeout(SHORT_S)
        assert append(one, 4) == 0
        library.hold()
        one.send(asked)
        assert library.begun.wait(PATIENCE_S)
        create(other, "b")
        assert outcomes(other.ask(sent_to(to_topic("a", 0), to_topic("b", 0)))) == [(Error.NONE, 10), (Error.NONE, 0)]
        library.go_on.set()
        assert one.answer() is not None


@pytest.mark.rule("THREAD-LOCK-4")
@pytest.mark.parametrize(("version", "error"), [(9, Error.UNKNOWN_TOPIC_OR_PARTITION), (13, Error.UNKNOWN_TOPIC_ID)])
def test_what_was_deleted_while_a_batch_was_unpacked_is_not_written_to(version: int, error: Error, here: Served, library: Library) -> None:
    with here.connect() as one, here.connect() as other:
        ids = {name: create(other, name) for name in ("gone", "kept")}
        gone, kept = ids.values() if version >= 13 else ids
        library.hold()
        one.send(*[sent_to(to_topic(gone, codec), to_topic(kept, codec), version=version) for codec in (0, 4)])  # both in one turn
        assert library.begun.wait(PATIENCE_S)
        delete(other, "gone")
        create(other, "gone")
        library.go_on.set()
        assert [outcomes(one.answer(), version) for _ in range(2)] == [[(error, -1), (Error.NONE, offset)] for offset in (0, 10)]
        assert outcomes(one.ask(sent_to(to_topic("gone", 0)))) == [(Error.NONE, 0)]


@pytest.mark.rule("THREAD-LOCK-4")
def test_what_was_deleted_while_a_batch_was_packed_anew_is_not_written_to(here: Served, library: Library) -> None:
    with here.connect() as one, here.connect() as other:
        for name in ("gone", "kept"):
            create(other, name, compression_type="gzip")
        library.hold()
        one.send(sent_to(to_topic("kept", 0), to_topic("gone", 4), to_topic("a", 0)))
        assert library.begun.wait(PATIENCE_S)
        delete(other, "gone")
        library.go_on.set()
        assert outcomes(one.answer()) == [(Error.NONE, 0), (Error.UNKNOWN_TOPIC_OR_PARTITION, -1), (Error.NONE, 0)]
        assert library.calls == 1


@pytest.mark.rule("THREAD-LOCK-4")
def test_in_what_was_deleted_while_a_batch_was_unpacked_nothing_is_found(here: Served, library: Library) -> None:
    with here.connect() as one, here.connect() as other:
        append(one, 4)
        library.hold()
        one.send(asked_for(TIMES[4]))
        assert library.begun.wait(PATIENCE_S)
        delete(other, "a")
        library.go_on.set()
        answer = one.answer()
        assert answer is not None
        (found,) = answer_of(answer, LIST_OFFSETS, 7).topics[0].partitions
        assert (Error(found.error_code), found.offset, found.timestamp) == (Error.UNKNOWN_TOPIC_OR_PARTITION, -1, -1)
