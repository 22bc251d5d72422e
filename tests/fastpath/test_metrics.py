"""What is told to Prometheus: the text of a small scene, to the letter; and what a scraper may do without harm."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from fastpath.folders import NOW, Ours, create, delete_records, produce, talk
from fiducial.conformance.batches import CODECS, Item, build
from fiducial.conformance.exploration.steps import request_frame
from fiducial.fastpath import metrics
from fiducial.fastpath.metrics import Exporter, exposition, time_in
from fiducial.fastpath.server import Traffic, bound
from fiducial.models import messages as m

BEGUN, SECOND = NOW - 100_000, 1_000
TIMES = [Item(BEGUN + number * SECOND) for number in range(10)]
TRAFFIC = Traffic(connections=3, received_bytes=1000, sent_bytes=20_000)
#: A name that needs care where labels are quoted.
ODD = 'of\\us"\n'

OF_THE_SCENE = r"""
kafka_consumergroups{state="Empty"} 1
kafka_consumergroups{state="PreparingRebalance"} 0
kafka_consumergroups{state="CompletingRebalance"} 1
kafka_consumergroups{state="Stable"} 0
kafka_consumergroup_members{consumergroup="live"} 1
kafka_consumergroup_members{consumergroup="of\\us\"\n"} 0
kafka_consumergroup_generation{consumergroup="live"} 1
kafka_consumergroup_generation{consumergroup="of\\us\"\n"} 0
kafka_consumergroup_current_offset{consumergroup="of\\us\"\n",topic="deleted from",partition="0"} 2
kafka_consumergroup_current_offset{consumergroup="of\\us\"\n",topic="orders",partition="0"} 4
kafka_consumergroup_current_offset{consumergroup="of\\us\"\n",topic="orders",partition="1"} 0
kafka_consumergroup_current_offset{consumergroup="of\\us\"\n",topic="orders",partition="2"} 7
kafka_consumergroup_lag{consumergroup="of\\us\"\n",topic="deleted from",partition="0"} 8
kafka_consumergroup_lag{consumergroup="of\\us\"\n",topic="orders",partition="0"} 6
kafka_consumergroup_lag{consumergroup="of\\us\"\n",topic="orders",partition="1"} 0
kafka_consumergroup_lag{consumergroup="of\\us\"\n",topic="orders",partition="2"} 0
kafka_consumergroup_lag_seconds{consumergroup="of\\us\"\n",topic="deleted from",partition="0"} 95.0
kafka_consumergroup_lag_seconds{consumergroup="of\\us\"\n",topic="orders",partition="0"} 96.0
kafka_consumergroup_lag_seconds{consumergroup="of\\us\"\n",topic="orders",partition="1"} 0
kafka_consumergroup_lag_seconds{consumergroup="of\\us\"\n",topic="orders",partition="2"} 0
kafka_topic_partitions{topic="__consumer_offsets"} 1
kafka_topic_partitions{topic="deleted from"} 1
kafka_topic_partitions{topic="orders"} 3
""".replace("deleted from", "cut")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Ours]:
    """Two topics; a group of offsets alone, and one in the middle of a rebalance."""
    with Ours(tmp_path, group_initial_rebalance_delay_ms="0", offsets_topic_num_partitions="1") as ours:
        make(ours)
        yield ours


def make(ours: Ours) -> None:
    """The scene."""
    create(ours, "orders", 3)
    create(ours, "cut")
    produce(ours, "orders", build(TIMES, codec=4))
    produce(ours, "cut", build(TIMES))
    delete_records(ours, "cut", 5)
    talk(ours, m.FindCoordinatorRequest(coordinator_keys=(ODD,)))
    commit(ours, ODD, {("orders", 0): 4, ("orders", 1): 0, ("orders", 2): 7, ("cut", 0): 2})
    join = m.JoinGroupRequest("live", 10_000, 10_000, group_instance_id="i", protocol_type="consumer", protocols=(m.JoinGroupRequestProtocol("range", b""),))
    assert not ours.node.frame(1, request_frame(11, 9, join), NOW)  # its answer waits for the end of the join phase
    assert len(ours.node.expire(NOW)) == 1


def commit(ours: Ours, group: str, offsets: dict[tuple[str, int], int]) -> None:
    """A commit by nobody in particular."""
    topic_ids = {name: topic.topic_id for name, topic in ours.node.broker.topics.by_name.items()}
    topics = tuple(m.OffsetCommitRequestTopic(name, topic_ids[name], (m.OffsetCommitRequestPartition(index, offset),)) for (name, index), offset in offsets.items())
    answer = talk(ours, m.OffsetCommitRequest(group, topics=topics))
    assert {one.error_code for topic in answer.topics for one in topic.partitions} == {0}, answer


def text_of(ours: Ours) -> str:
    """All that is told."""
    return "".join(exposition(ours.node, TRAFFIC, NOW))


def values(text: str) -> dict[str, str]:
    """Samples and their values."""
    return dict(line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))


# The text


def test_groups_their_lag_and_topics_are_told(broker: Ours) -> None:
    told = [line for line in text_of(broker).splitlines() if re.match(r"kafka_(consumergroup|topic_partitions)", line)]
    assert told == OF_THE_SCENE.strip().splitlines()


def test_logs_are_told_and_the_broker_as_a_program(broker: Ours) -> None:
    told = values(text_of(broker))
    here = 'topic="cut",partition="0"'
    assert (told[f"kafka_topic_partition_oldest_offset{{{here}}}"], told[f"kafka_topic_partition_current_offset{{{here}}}"]) == ("5", "10")
    assert int(told[f"kafka_log_log_size{{{here}}}"]) == len(build(TIMES))
    for what, number in (("connection_count", "3"), ("incoming_byte_total", "1000"), ("outgoing_byte_total", "20000")):
        assert told[f"kafka_server_socket_server_metrics_{what}"] == number
    assert told["kafka_log_logmanager_offlinelogdirectorycount"] == "0"
    assert float(told["process_cpu_seconds_total"]) > 0 and int(told["process_resident_memory_bytes"]) > 1 << 20


def test_a_disk_that_failed_is_told(broker: Ours) -> None:
    broker.node.core.fail(28)
    assert values(text_of(broker))["kafka_log_logmanager_offlinelogdirectorycount"] == "1"


def test_it_is_the_format_of_prometheus_each_metric_once_and_in_one_piece(broker: Ours) -> None:
    number = r"-?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?"
    label = r'[a-z]+="(?:[^"\\\n]|\\[\\"n])*"'
    family, families = "", []
    for line in text_of(broker).splitlines():
        if line.startswith("# HELP "):
            family = line.split()[2]
            families.append(family)
        elif line.startswith("# TYPE "):
            assert line in (f"# TYPE {family} gauge", f"# TYPE {family} counter")
        else:
            assert re.fullmatch(rf"{family}(?:\{{{label}(?:,{label})*\}})? {number}", line), line
    assert len(families) == len(set(families)) == 16


def test_to_tell_changes_nothing(broker: Ours) -> None:
    before, marks = broker.node.broker.groups, [broker.node.core.marks(*key) for key in broker.node.core.partitions()]
    text_of(broker)
    assert broker.node.broker.groups == before and [broker.node.core.marks(*key) for key in broker.node.core.partitions()] == marks
    assert broker.node.core.next_deadline() == -1


def test_what_is_deleted_while_it_is_told_is_left_out(broker: Ours) -> None:
    pieces = exposition(broker.node, TRAFFIC, NOW)
    assert not next(pieces)
    for name in ("orders", "cut"):
        assert talk(broker, m.DeleteTopicsRequest((m.DeleteTopicState(name),), timeout_ms=60_000)).responses[0].error_code == 0
    assert not any(line.startswith(("kafka_consumergroup_lag", 'kafka_log_log_size{topic="orders"')) for line in "".join(pieces).splitlines())


@pytest.mark.parametrize("codec", range(len(CODECS)), ids=[name or "none" for name in CODECS])
def test_the_time_is_that_of_the_record_however_it_is_packed(codec: int) -> None:
    data = build(TIMES, codec=codec, base_offset=100)
    assert [time_in(data, offset) for offset in (100, 103, 109)] == [BEGUN, BEGUN + 3 * SECOND, BEGUN + 9 * SECOND]


def test_where_the_record_is_not_to_be_had_the_last_time_of_its_batch_counts() -> None:
    assert time_in(build(TIMES, last_offset_delta=20), 15) == BEGUN + 9 * SECOND
    assert time_in(build(TIMES, packed=b"\xff" * 40), 0) == BEGUN + 9 * SECOND
    assert time_in(build([Item(-1)]), 0) is None and time_in(b"", 0) is None


# Whoever asks


async def asked(exporter: Listening, request: bytes) -> bytes:
    """All that comes back, until the end of the connection; nothing, if it is reset."""
    reader, writer = await connected(exporter)
    writer.write(request)
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def connected(exporter: Listening) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection."""
    return await asyncio.open_connection(*exporter.address)


class Listening(Exporter):
    """One that listens, with a clock that stands still."""

    address: tuple[str, int]


async def listening(ours: Ours) -> Listening:
    """It listens."""
    exporter = Listening(ours.node, lambda: TRAFFIC, lambda: NOW)
    (listener,) = bound("127.0.0.1", 0)
    exporter.address = listener.getsockname()
    exporter.begin(asyncio.get_running_loop(), [listener])
    return exporter


#: More than any kernel takes in for who does not read.
SIZE = 64 << 20
GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


def test_a_scrape_is_answered_whole_and_the_connection_ended(broker: Ours) -> None:
    async def story() -> bytes:
        return await asked(await listening(broker), GET)

    head, _, body = asyncio.run(story()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4")
    assert f"Content-Length: {len(body)}\r\n".encode() in head
    assert [line for line in body.decode().splitlines() if "process_" not in line] == [line for line in text_of(broker).splitlines() if "process_" not in line]


@pytest.mark.parametrize(
    ("request_", "status"),
    [(b"GET / HTTP/1.1\r\n\r\n", b"404"), (b"POST /metrics HTTP/1.1\r\n\r\n", b"405"), (b"\r\n\r\n", b"405"), (b"GET /metrics?x HTTP/1.0\r\n\r\n", b"200")],
)
def test_what_else_is_asked_is_refused(request_: bytes, status: bytes, broker: Ours) -> None:
    async def story() -> bytes:
        return await asked(await listening(broker), request_)

    assert asyncio.run(story()).split()[1] == status


def test_it_is_reckoned_once_for_all_who_ask_together(broker: Ours, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []

    def counted(*args: Any) -> Iterator[str]:
        begun.append(1)
        return exposition(*args)

    async def story() -> None:
        exporter = await listening(broker)
        await asyncio.gather(*(asked(exporter, GET) for _ in range(metrics.SCRAPERS_MAX)))
        assert len(begun) == 1
        monkeypatch.setattr(metrics, "FRESH_S", 0.0)
        await asked(exporter, GET)
        assert len(begun) == 2

    monkeypatch.setattr(metrics, "exposition", counted)
    monkeypatch.setattr(metrics, "FRESH_S", 3600.0)
    asyncio.run(story())


def test_others_are_served_while_it_is_reckoned(broker: Ours, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> int:
        turns = 0
        exporter = await listening(broker)
        scrape = asyncio.create_task(exporter.reckon())
        while not scrape.done():
            turns += 1
            await asyncio.sleep(0)
        return turns

    monkeypatch.setattr(metrics, "STEP_S", 0.0)
    assert asyncio.run(story()) > len(text_of(broker).splitlines()) / 2


def test_who_does_not_ask_or_in_too_many_words_is_left(broker: Ours, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        exporter = await listening(broker)
        assert await asked(exporter, b"GET /metrics HTTP/1.1\r\n") == b""  # and no more
        assert await asked(exporter, b"GET /" + b"x" * metrics.ASK_BYTES_MAX * 2) == b""
        assert exporter.scrapers == 0

    monkeypatch.setattr(metrics, "ASK_S", 0.05)
    asyncio.run(story())


def test_who_does_not_read_is_left(broker: Ours, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> int:
        exporter = await listening(broker)
        exporter.text, exporter.reckoned = bytes(SIZE), float("inf")
        reader, writer = await connected(exporter)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(GET)
        while exporter.scrapers == 0:
            await asyncio.sleep(0)
        while exporter.scrapers:
            await asyncio.sleep(0.01)
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        got = 0
        with suppress(ConnectionResetError):
            while piece := await reader.read(1 << 20):
                got += len(piece)
        return got

    monkeypatch.setattr(metrics, "READ_S", 0.05)
    assert asyncio.run(story()) < SIZE


def test_so_many_are_answered_at_a_time_and_others_sent_away(broker: Ours, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        exporter = await listening(broker)
        waiting = [await connected(exporter) for _ in range(metrics.SCRAPERS_MAX)]
        while exporter.scrapers < metrics.SCRAPERS_MAX:
            await asyncio.sleep(0)
        assert await asked(exporter, GET) == b""
        waiting[0][1].write(GET)
        assert (await waiting[0][0].read()).startswith(b"HTTP/1.1 200")
        while exporter.scrapers == metrics.SCRAPERS_MAX:
            await asyncio.sleep(0)
        assert (await asked(exporter, GET)).startswith(b"HTTP/1.1 200")

    asyncio.run(story())  # it ends while some are connected: that is no error either
    assert not caplog.records
