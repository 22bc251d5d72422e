"""A campaign over TCP: a broker with I/O threads, clients that send without waiting, and others that wait for what comes; then all is told to the model.

`python -m threads.sockets SEED REQUESTS`: as `threads.campaign`, with sockets and real time.
"""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from fastpath.folders import Connected, create, delete, delete_records, look_up, talk
from raw_client import RawClient

from fiducial.conformance.codec import answer_body
from fiducial.fastpath import codec_objects
from fiducial.fastpath.loop import Loop
from fiducial.fastpath.node import Node
from fiducial.fastpath.server import BACKLOG, Door, ThreadedServer, now_ms
from fiducial.models import messages as m
from fiducial.models.settings import parse
from fiducial.models.state import Cluster
from threads.telling import tell
from threads.traffic import (
    EVERYTHING,
    FETCH,
    LENGTH,
    LIST_OFFSETS,
    PATIENCE_MS,
    VERSIONS,
    Request,
    Script,
    Topic,
    Traffic,
    framed,
)
from threads.witness import Witness

if TYPE_CHECKING:
    from fiducial.fastpath.core import FileTable

THREADS, PRODUCERS, TAILS = 3, 8, 12
SETTINGS = {"num.network.threads": str(THREADS), "log.retention.check.interval.ms": "20"}
SMALL = {"internal_segment_bytes": "2500", "index_interval_bytes": "300", "max_message_bytes": "2000"}
ZSTD = {"compression_type": "zstd"}
CONFIGS: dict[str, dict[str, str]] = {
    "plain": {"retention_bytes": "8000"},
    "safe": {"flush_messages": "1"},
    "slow": {"flush_messages": "7"},
    "stamped": {"message_timestamp_type": "LogAppendTime", "retention_bytes": "4000"},
    "packed": ZSTD,
    "mixed": {},
    **{f"fleeting-{number}": {"flush_messages": str(1 + number % 2 * 1000)} for number in range(3)},
}
#: What of the topic "mixed" is changed at times; "" is back to the default.
MIXTURE = {"flush.messages": ("1", ""), "message.timestamp.type": ("LogAppendTime", ""), "compression.type": ("zstd", ""), "max.message.bytes": ("120", "2000")}
#: So many requests are under way, at most, on one connection.
AHEAD = 40
#: After so many answers a tail comes again by another connection, and begins a session or goes without.
ANSWERS_PER_CONNECTION = 60
PAUSE_S, LOOK_S = 0.002, 0.2
UNKNOWN_TOPIC_OR_PARTITION = 3
#: So long an answer may take that is due; a broker that lost it never gives it.
PATIENCE_S = 60.0


class Host(threading.Thread):
    """A broker in this process: its control plane in a thread of Python's, its connections in threads of their own."""

    def __init__(self, folder: Path, disk: FileTable | None = None, **more: str) -> None:
        super().__init__()
        settings = parse(SETTINGS | more)
        self.loop = Loop()
        self.node = Node(folder, Cluster("ZmlkdWNpYWxmaWR1Y2lhbA", 1, "127.0.0.1", 9092), settings, seed=1, now=now_ms(), simulation=disk)
        self.node.core.record()
        self.server = ThreadedServer(self.node, settings, self.loop)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        self.host, self.port = self.listener.getsockname()
        self.is_ready = threading.Event()

    def run(self) -> None:
        """Until it is over."""
        with self.loop, self.listener:
            self.listener.setblocking(False)
            self.server.start([Door(0, self.listener)])
            self.server.begin_chores()
            self.is_ready.set()
            self.loop.run_forever()
            self.server.end_chores()
            self.server.stop()

    def end(self) -> None:
        """Stop serving; the core is still there to be looked at."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.join()


class Client(threading.Thread):
    """One who sends and hears: what it heard, and what went wrong."""

    def __init__(self, host: Host) -> None:
        super().__init__(daemon=True)
        self.broker = host
        self.heard: list[tuple[Request, bytes]] = []
        self.fault: BaseException | None = None

    def run(self) -> None:
        try:
            self.act()
        except BaseException as error:
            self.fault = error

    def act(self) -> None:
        """What it does."""
        raise NotImplementedError

    def connected(self) -> RawClient:
        """A new connection."""
        return RawClient(self.broker.host, self.broker.port)


class Producer(Client):
    """Sends its script without waiting for each answer, its frames cut anywhere."""

    def __init__(self, host: Host, script: Script, seed: int) -> None:
        super().__init__(host)
        self.script, self.random = script, Random(seed)

    def act(self) -> None:
        requests, sent = iter(self.script.requests), 0
        with self.connected() as client:
            for chunk in self.script.chunks:
                cut = self.random.randrange(len(chunk))
                client.socket.sendall(chunk[:cut])
                client.socket.sendall(chunk[cut:])
                sent += frames_of(chunk)
                while sent - len(self.heard) > AHEAD:
                    self.hear(client, next(requests))
            for request in requests:
                self.hear(client, request)

    def hear(self, client: RawClient, request: Request) -> None:
        """The next answer."""
        answer = client.answer()
        assert answer is not None, "the connection ended"
        self.heard.append((request, answer))


def frames_of(chunk: bytes) -> int:
    """How many there are."""
    at = count = 0
    while at < len(chunk):
        at += LENGTH.size + LENGTH.unpack_from(chunk, at)[0]
        count += 1
    return count


class Tail(Client):
    """Waits for what comes next of one partition, with a session or without."""

    def __init__(self, host: Host, topic: Topic, index: int, seed: int) -> None:
        super().__init__(host)
        self.topic, self.index, self.random, self.offset = topic, index, Random(seed), 0
        self.session = (0, -1)
        self.all_is_sent = threading.Event()
        self.waits_rightly = False

    def act(self) -> None:
        while not self.waits_rightly:
            self.session = (0, self.random.choice((0, -1)))
            with self.connected() as client:
                self.begin(client)
                for _ in range(self.random.randrange(1, ANSWERS_PER_CONNECTION)):
                    if self.waits_rightly or not self.ask(client):
                        break
                else:
                    self.send(client, PATIENCE_MS)  # and goes before it is answered

    def begin(self, client: RawClient) -> None:
        """At the end of what there is, or a little before. Where there is nothing, nothing comes."""
        body = m.ListOffsetsRequest(-1, 0, (m.ListOffsetsTopic(self.topic.name, (m.ListOffsetsPartition(self.index, timestamp=-1),)),))
        client.socket.sendall(framed(LIST_OFFSETS, 0, body))
        answer = client.answer()
        assert answer is not None, "the connection ended"
        (one,) = decoded(LIST_OFFSETS, answer).topics[0].partitions
        self.offset = max(0, one.offset - self.random.choice((0, 0, 3)))
        self.waits_rightly = one.error_code == UNKNOWN_TOPIC_OR_PARTITION

    def send(self, client: RawClient, wait_ms: int, *, session: tuple[int, int] | None = None) -> Request:
        """Ask for more."""
        wanted = m.FetchPartition(self.index, fetch_offset=self.offset, partition_max_bytes=EVERYTHING)
        session_id, epoch = self.session if session is None else session
        topics = (m.FetchTopic(topic_id=self.topic.topic_id, partitions=(wanted,)),)
        request = Request(FETCH, self.random.randrange(2**31), {})
        client.socket.sendall(framed(FETCH, request.correlation_id, m.FetchRequest(None, -1, max_wait_ms=wait_ms, min_bytes=1, session_id=session_id, session_epoch=epoch, topics=topics)))
        return request

    def ask(self, client: RawClient) -> bool:
        """One answer. False: it was a refusal; or all is quiet, and there is nothing to be told."""
        request = self.send(client, PATIENCE_MS)
        if not self.is_answered(client):
            return False
        answer = client.answer()
        assert answer is not None, "the connection ended"
        return self.take(request, answer)

    def is_answered(self, client: RawClient) -> bool:
        """Wait for the answer; once all is sent, only if it is due: whoever asks then is told of something."""
        due_since = None
        while True:
            client.socket.settimeout(LOOK_S)
            try:
                client.socket.recv(1, socket.MSG_PEEK)
            except TimeoutError:
                if not self.all_is_sent.is_set():
                    continue
                if not self.is_due():
                    self.waits_rightly = True
                    return False
                due_since = due_since or time.monotonic()
                assert time.monotonic() < due_since + PATIENCE_S, f"{self.topic.name}-{self.index}: a fetch at {self.offset} waits in vain"
                continue
            finally:
                client.socket.settimeout(PATIENCE_S)
            return True

    def is_due(self) -> bool:
        """Would somebody else who asked the same be told of anything?"""
        with self.connected() as probe:
            self.send(probe, 0, session=(0, -1))
            answer = probe.answer()
        assert answer is not None
        (topic,) = decoded(FETCH, answer).responses
        return bool(topic.partitions[0].error_code or topic.partitions[0].records)

    def take(self, request: Request, answer: bytes) -> bool:
        """Go on behind what came. False: it was refused."""
        self.heard.append((request, answer))
        body = decoded(FETCH, answer)
        _, epoch = self.session
        self.session = (body.session_id, epoch + 1 if epoch > 0 else 1) if body.session_id else (0, -1)
        is_refused = False
        for topic in body.responses:
            (one,) = topic.partitions
            self.offset = one.high_watermark
            is_refused = one.error_code != 0
        return not is_refused


def decoded(kind: int, answer: bytes) -> Any:
    """An answer."""
    return codec_objects.decode(answer, kind, VERSIONS[kind], "response", position=answer_body(answer, kind, VERSIONS[kind]))


class Campaign:
    """A broker, its clients, and a control plane that is asked to change what they work on."""

    def __init__(self, folder: Path, seed: int, requests: int) -> None:
        self.random = Random(seed)
        self.host = Host(folder)
        self.host.start()
        self.host.is_ready.wait()
        self.admin = Connected(self.host.host, self.host.port)
        self.topics = [Topic(name, create(self.admin, name, 2, **SMALL, **config), 2) for name, config in CONFIGS.items()]
        self.going = [topic.name for topic in self.topics if topic.name.startswith("fleeting")][:2]
        self.witness = Witness(self.host.node.core, folder, self.topics)
        traffic = Traffic(seed, self.topics, now_ms())
        scripts = [traffic.script(requests, 1000 + number) for number in range(PRODUCERS)]
        self.producers = [Producer(self.host, script, seed + number) for number, script in enumerate(scripts)]
        chosen = [self.random.choice(traffic.all_partitions()) for _ in range(TAILS)]
        self.tails = [Tail(self.host, topic, index, seed + number) for number, (topic, index) in enumerate(chosen)]

    def change_something(self) -> None:
        """One thing that somebody asks the control plane for."""
        match self.random.choices(("configure", "start", "look", "go"), (3, 2, 2, 0.05))[0]:
            case "configure":
                name, value = self.random.choice([(name, value) for name, values in MIXTURE.items() for value in values])
                wanted = m.IncrementalAlterConfigsRequestAlterableConfig(name, 0 if value else 1, value or None)
                resource = m.IncrementalAlterConfigsRequestAlterConfigsResource(2, "mixed", (wanted,))
                assert talk(self.admin, m.IncrementalAlterConfigsRequest((resource,), False)).responses[0].error_code == 0
            case "start":
                delete_records(self.admin, self.random.choice(("plain", "safe", "mixed")), -1, self.random.randrange(2))
            case "look":
                look_up(self.admin, "slow", -1)
            case "go" if self.going:
                delete(self.admin, self.going.pop())

    def run(self) -> dict[str, Any]:
        """Until every producer has heard all, and no tail is to be told of anything. AssertionError, with what is wrong."""
        begun = time.monotonic()
        for client in (*self.producers, *self.tails):
            client.start()
        while any(producer.is_alive() for producer in self.producers):
            time.sleep(PAUSE_S)
            self.change_something()
        for tail in self.tails:
            tail.all_is_sent.set()
        for client in (*self.producers, *self.tails):
            client.join()
            if client.fault is not None:
                raise AssertionError(f"{type(client).__name__}: {client.fault!r}") from client.fault
        seconds = time.monotonic() - begun
        self.host.end()
        self.witness.replay()
        for client in (*self.producers, *self.tails):
            for request, answer in client.heard:
                self.witness.judge.hear(request, answer)
        self.witness.check()
        return {"steps": self.witness.kinds.total(), "kinds": self.witness.kinds, "waiting": len(self.tails), "seconds": round(seconds, 1)}

    def close(self) -> None:
        """The broker."""
        if self.host.is_alive():
            self.host.end()
        self.host.node.close()


if __name__ == "__main__":
    tell(Campaign)
