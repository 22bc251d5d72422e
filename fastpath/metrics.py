"""What the broker tells of itself, for Prometheus to scrape (`fiducial serve --metrics`): its groups and their lag, its logs, its traffic, its process.

    a scrape ──▶ the node's state, as it is ──▶ text ──▶ one answer, and the end of the connection

Laws of this file
    Nothing but bytes is counted where requests are served, by each thread for itself: all is looked up when somebody asks.
    Whoever asks costs little: it is reckoned in small steps, between which clients are served, and at most once a second, however many ask; so
    many are answered at a time, and each has so long to ask and to read.
Names are those in use: kafka_consumergroup_* and kafka_topic_* as the common exporters have them, process_* as Prometheus's own clients do.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from fiducial.fastpath import codec_objects
from fiducial.fastpath.batch import Unreadable, batches
from fiducial.fastpath.node import Node, Send
from fiducial.fastpath.server import Traffic
from fiducial.models.groups import State
from fiducial.models.log import Log
from fiducial.models.messages import FetchPartition, FetchRequest, FetchTopic
from fiducial.models.state import Broker

#: A request of ours to ourselves: of no connection, and by a topic's name.
NOBODY, FETCH, FETCH_VERSION = 0, 1, 12
#: Where the body of its answer begins: behind length, correlation id and tags.
BODY_AT = 9
#: So long it is reckoned before others are served.
STEP_S = 0.001
#: What was reckoned is good for so long.
FRESH_S = 1.0
#: So many are answered at a time; each has so long to ask in so many bytes, and so long to read.
SCRAPERS_MAX, ASK_S, ASK_BYTES_MAX, READ_S = 8, 5.0, 8_192, 10.0
#: So much is handed to the kernel at a time.
PIECE_BYTES = 1 << 16
#: Where Linux tells of a process.
STATM = Path("/proc/self/statm")
HEAD = "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n"

#: What it is of, as it is written behind the name; and the number.
Sample = tuple[str, float]


class Extent(NamedTuple):
    """From where to where a log goes, and how large it is."""

    labels: str
    start: int
    high_watermark: int
    size_bytes: int


class Standing(NamedTuple):
    """Where a group stands in one partition: of what is not known None."""

    labels: str
    committed: int
    lag: int | None
    behind_s: float | None


# The text


def exposition(node: Node, traffic: Traffic, now: int) -> Iterator[str]:
    """All that is told, in the text format of Prometheus: in pieces, between which the node may serve others."""
    broker = node.broker
    logs: list[Extent] = []
    for name, index in partitions_of(broker):
        log = log_of(broker, name, index)
        if log is not None:
            logs.append(Extent(written(topic=name, partition=index), log.start, log.high_watermark, log.size_bytes))
        yield ""
    standings = []
    for group_id, topic, index, committed in commits_of(broker):
        standings.append(standing(node, group_id, topic, index, committed, now))
        yield ""
    yield from of_groups(broker, standings)
    yield from of_logs(broker, logs)
    yield from of_traffic(traffic)
    yield from of_process(node)


def partitions_of(broker: Broker) -> Iterator[tuple[str, int]]:
    """Every partition."""
    for name, topic in sorted(broker.topics.by_name.items()):
        for index in range(topic.partitions):
            yield name, index


def commits_of(broker: Broker) -> Iterator[tuple[str, str, int, int]]:
    """Every offset that a group has committed."""
    for group_id, offsets in sorted(broker.groups.offsets.items()):
        for (topic, index), committed in sorted(offsets.items()):
            yield group_id, topic, index, committed.offset


def log_of(broker: Broker, name: str, index: int) -> Log | None:
    """The log of a partition as it is now, None if there is none any more."""
    topic = broker.topics.by_name.get(name)
    partition = broker.partitions.get((topic.topic_id, index)) if topic is not None else None
    return partition.log if partition is not None else None


def standing(node: Node, group_id: str, name: str, index: int, committed: int, now: int) -> Standing:
    """Where a group stands: as `fiducial lag` has it."""
    labels = written(consumergroup=group_id, topic=name, partition=index)
    log = log_of(node.broker, name, index)
    if log is None:
        return Standing(labels, committed, None, None)
    if committed >= log.high_watermark:
        return Standing(labels, committed, 0, 0)
    time_ms = first_time(node, name, index, max(committed, log.start), now)
    return Standing(labels, committed, log.high_watermark - committed, None if time_ms is None else max(now - time_ms, 0) / 1000)


def first_time(node: Node, name: str, index: int, offset: int, now: int) -> int | None:
    """The time of the first record from an offset on, by a fetch of the batch that it is in; None if it has none, or does not say it readably."""
    wanted = FetchPartition(index, fetch_offset=offset, partition_max_bytes=1)
    body = codec_objects.encode(FetchRequest(topics=(FetchTopic(topic=name, partitions=(wanted,)),)), FETCH, FETCH_VERSION, "request")
    for action in node.frame(NOBODY, struct.pack(">hhihx", FETCH, FETCH_VERSION, 0, -1) + body, now):
        if not isinstance(action, Send) or action.connection != NOBODY:
            continue
        data = action.data + b"".join(part if isinstance(part, bytes) else os.pread(part[0], part[2], part[1]) for part in action.rest)
        answer = codec_objects.decode(data, FETCH, FETCH_VERSION, "response", position=BODY_AT)
        return time_in(answer.responses[0].partitions[0].records or b"", offset)
    return None


def time_in(records: bytes, offset: int) -> int | None:
    """The time of the first record from an offset on; if it is not to be found in its batch, the last one there."""
    for batch in batches(records):
        try:
            columns = batch.columns()
            at = bisect_left(columns.offsets, offset)
            found = columns.timestamps[at] if at < len(columns.offsets) else batch.max_timestamp
        except Unreadable:
            found = batch.max_timestamp
        return found if found >= 0 else None
    return None


def of_groups(broker: Broker, standings: list[Standing]) -> Iterator[str]:
    """Who there is, and how far they are behind."""
    groups = [(written(consumergroup=name), group) for name, group in sorted(broker.groups.live.items())]
    states = Counter(group.state for _, group in groups)
    yield from family("kafka_consumergroups", "Groups in each state.", ((written(state=one.value), states[one]) for one in State if one is not State.DEAD))
    yield from family("kafka_consumergroup_members", "Members of a group.", ((labels, len(group.members)) for labels, group in groups))
    yield from family("kafka_consumergroup_generation", "How often a group has rebalanced.", ((labels, group.generation) for labels, group in groups))
    yield from family("kafka_consumergroup_current_offset", "The offset that a group has committed.", ((one.labels, one.committed) for one in standings))
    lags = ((one.labels, one.lag) for one in standings if one.lag is not None)
    yield from family("kafka_consumergroup_lag", "The high watermark less the offset that a group has committed.", lags)
    times = ((one.labels, one.behind_s) for one in standings if one.behind_s is not None)
    yield from family("kafka_consumergroup_lag_seconds", "Now less the time of the first record that a group has not read; 0 if there is none.", times)


def of_logs(broker: Broker, logs: list[Extent]) -> Iterator[str]:
    """From where to where each log goes, and how large it is."""
    topics = sorted(broker.topics.by_name.items())
    yield from family("kafka_topic_partitions", "Partitions of a topic.", ((written(topic=name), topic.partitions) for name, topic in topics))
    yield from family("kafka_topic_partition_current_offset", "The high watermark of a log.", ((log.labels, log.high_watermark) for log in logs))
    yield from family("kafka_topic_partition_oldest_offset", "Where a log begins.", ((log.labels, log.start) for log in logs))
    yield from family("kafka_log_log_size", "The size of a log in bytes.", ((log.labels, log.size_bytes) for log in logs))


def of_traffic(traffic: Traffic) -> Iterator[str]:
    """What goes over the sockets of clients."""
    yield from family("kafka_server_socket_server_metrics_connection_count", "Connections of clients.", [("", traffic.connections)])
    received, sent = (f"kafka_server_socket_server_metrics_{way}_byte_total" for way in ("incoming", "outgoing"))
    yield from family(received, "Bytes that clients have sent.", [("", traffic.received_bytes)], "counter")
    yield from family(sent, "Bytes that clients have been sent.", [("", traffic.sent_bytes)], "counter")


def of_process(node: Node) -> Iterator[str]:
    """The broker as a program."""
    offline = "1 if the disk has failed: then nothing is written until a restart."
    yield from family("kafka_log_logmanager_offlinelogdirectorycount", offline, [("", int(node.core.storage_error != 0))])
    yield from family("process_cpu_seconds_total", "CPU time that the broker has used, of user and system.", [("", time.process_time())], "counter")
    if STATM.exists():
        resident_pages = int(STATM.read_text(encoding="ascii").split()[1])
        yield from family("process_resident_memory_bytes", "Memory that the broker has in use.", [("", resident_pages * os.sysconf("SC_PAGE_SIZE"))])


def family(name: str, about: str, samples: Iterable[Sample], kind: str = "gauge") -> Iterator[str]:
    """One metric with all its samples."""
    yield f"# HELP {name} {about}\n# TYPE {name} {kind}\n"
    for labels, number in samples:
        yield f"{name}{labels} {number}\n"


def written(**labels: str | int) -> str:
    """Labels, as they are written behind the name."""
    return "{" + ",".join(f'{name}="{escaped(str(text))}"' for name, text in labels.items()) + "}"


def escaped(text: str) -> str:
    """The value of a label, as it is written."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


# Answering


class Exporter:
    """Answers GET /metrics. `traffic`: what goes over the sockets of clients; `clock`: the time in ms."""

    def __init__(self, node: Node, traffic: Callable[[], Traffic], clock: Callable[[], int]) -> None:
        self.node, self.traffic, self.clock = node, traffic, clock
        self.scrapers = 0
        self.reckoning = asyncio.Lock()
        self.text, self.reckoned = b"", -FRESH_S

    def begin(self, loop: asyncio.AbstractEventLoop, sockets: list[socket.socket]) -> None:
        """Answer who comes to these, as soon as the loop runs."""
        for one in sockets:
            one.listen()
        self.listening = loop.create_task(self.listen(sockets))

    async def listen(self, sockets: list[socket.socket]) -> None:
        """Answer from now on."""
        for one in sockets:
            await asyncio.start_server(self.serve, sock=one, limit=ASK_BYTES_MAX)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One scraper: one answer."""
        self.scrapers += 1
        try:
            asked = await ask_of(reader) if self.scrapers <= SCRAPERS_MAX else b""
            if asked:
                status, body = await self.answer(asked)
                await send(writer, HEAD.format(status=status, size=len(body)).encode() + body)
        except asyncio.CancelledError:
            pass  # the broker stops
        finally:
            self.scrapers -= 1
            writer.close()

    async def answer(self, asked: bytes) -> tuple[str, bytes]:
        """Status and body."""
        method, _, rest = asked.partition(b" ")
        if method != b"GET":
            return "405 Method Not Allowed", b"only GET\n"
        if rest.split(b" ")[0].split(b"?")[0] != b"/metrics":
            return "404 Not Found", b"it is at /metrics\n"
        async with self.reckoning:
            if time.monotonic() - self.reckoned >= FRESH_S:
                self.text = await self.reckon()
                self.reckoned = time.monotonic()
        return "200 OK", self.text

    async def reckon(self) -> bytes:
        """The text, with others served between."""
        pieces = []
        until = time.monotonic() + STEP_S
        for piece in exposition(self.node, self.traffic(), self.clock()):
            pieces.append(piece)
            if time.monotonic() >= until:
                await asyncio.sleep(0)
                until = time.monotonic() + STEP_S
        return "".join(pieces).encode()


async def ask_of(reader: asyncio.StreamReader) -> bytes:
    """What a scraper asks; nothing, if it does not, or not in time, or in too many words."""
    try:
        async with asyncio.timeout(ASK_S):
            return await reader.readuntil(b"\r\n\r\n")
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return b""


async def send(writer: asyncio.StreamWriter, data: bytes) -> None:
    """All of it, as fast as it is read; if that takes too long, no more of it."""
    writer.transport.set_write_buffer_limits(high=0)
    try:
        async with asyncio.timeout(READ_S):
            for at in range(0, len(data), PIECE_BYTES):
                writer.write(data[at : at + PIECE_BYTES])
                await writer.drain()
    except (OSError, TimeoutError):
        writer.transport.abort()
