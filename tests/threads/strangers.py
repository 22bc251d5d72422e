"""A campaign of strangers: connections that come and go in every way that there is, over TCP, and in the end nothing is left of them.

`python -m threads.strangers SEED STORIES`: so many stories of each client, one after the other; what came of it, as JSON.

A story is what one connection sends, cut anywhere, and how it ends. Whatever others do, it is answered just what it asked for, in order, or hung up on
for a fault of its own. At last some send and never read: what is held of them has a bound.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import select
import shutil
import socket
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from fastpath.folders import NOW, create, delete, stored
from fastpath.served import Served
from fastpath.test_epoll import FETCH, LONG_MS, MEGABYTE, PRODUCE, VERSIONS, framed, renumbered
from fastpath.test_turns import described, fetched, latest
from raw_client import RawClient

from fiducial.conformance.batches import Item, build
from fiducial.conformance.exploration.steps import CORRELATION, answer_of, request_frame
from fiducial.fastpath.batch import batches
from fiducial.models import messages as m

CLIENTS = 6
#: What is never changed, a partition for each size of its only batch; where nobody writes; what comes and goes; and where all write.
TOPICS = KEPT, QUIET, FLEETING, PLAIN, SAFE = "kept", "quiet", "fleeting", "plain", "safe"
SIZES = (100, 5_000, 40_000, 900_000)
#: Larger than what is copied when it is read.
LARGE_BYTES, REQUEST_BYTES_MAX = 300_000, MEGABYTE
IDLE_MS = 1500
UNKNOWN_TOPIC_OR_PARTITION = 3
CRC_AT = 17  # what the broker does not stamp begins here
A_WHILE_S, PATIENCE_S = 0.005, 60.0
SHARED_MEMORY = Path("/dev/shm")
#: How many send and never read, how much each would, and what may be held of one: what was read when enough was held, in a buffer that doubles.
GREEDY, GREED_BYTES, HELD_BYTES_MAX = 6, 64 * MEGABYTE, 4 * MEGABYTE

#: How a story ends: with its last answer; with an end of our side, also inside a frame; with what the broker hangs up on, also with more behind it; when it
#: breaks off, with a reset or without; or when it was silent for long.
ENDINGS = {"stays": 4, "says no more": 3, "is cut": 2, "is at fault": 4, "is at fault and goes on": 2, "resets": 5, "leaves": 3}
#: What a broker may have to say about it.
REASONS = re.compile(r"closing 127\.0\.0\.1:\d+: (malformed request|refused without acks|a frame of |request -?\d+ version -?\d+ is not served)")
IDLE = re.compile(r"closing 127\.0\.0\.1:\d+: idle for ")


class Question(NamedTuple):
    """A request, and what is made of its answer; None: nobody answers it."""

    frame: bytes
    hear: Callable[[bytes], None] | None


class Journal(logging.Handler):
    """What the broker says."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


class Campaign:
    """A broker, and what its clients ask for and are answered."""

    def __init__(self, folder: Path, seed: int) -> None:
        random = Random(seed)
        self.folder, self.seed = folder, seed
        self.is_impatient = seed % 3 == 0
        self.journal = Journal()
        logging.getLogger("fiducial").addHandler(self.journal)
        self.threads = random.choice((1, 2, 3))
        self.served = Served(
            folder / "data",
            threads=self.threads,
            socket_request_max_bytes=str(REQUEST_BYTES_MAX),
            queued_max_request_bytes=str(random.choice((-1, 50_000))),
            connections_max_idle_ms=str(IDLE_MS if self.is_impatient else 600_000),
        )
        self.known: dict[str, tuple[bytes, bytes]] = {}  # requests that are always answered the same
        self.written: dict[tuple[str, int], bytes] = {}  # by topic and offset, as it was acknowledged
        self.told: Counter[str] = Counter()

    def begin(self) -> None:
        """Topics, and the answers that are known."""
        with self.served.connect() as client:
            create(client, KEPT, len(SIZES))
            create(client, SAFE, flush_messages="1")
            for topic in (QUIET, PLAIN):
                create(client, topic)
            for index, size in enumerate(SIZES):
                client.ask(produced(KEPT, build([Item(NOW, content=bytes([65 + index]) * size)]), index))
            self.make_anew(client, is_there=False)
            asked = {
                "versions": VERSIONS,
                "much of nothing": VERSIONS.ljust(LARGE_BYTES, b"\x00"),
                "topic": described(),
                "latest": latest(KEPT),
                "nothing": fetched(QUIET, 0, 5),
                "all": everything(*range(len(SIZES))),
                "fleeting": fetched(FLEETING, 0),
                **{f"{size} bytes": everything(index) for index, size in enumerate(SIZES)},
            }
            for name, frame in asked.items():
                answer = client.ask(frame)
                assert answer is not None, name
                self.known[name] = frame, answer[4:]

    def make_anew(self, client: RawClient, *, is_there: bool = True) -> None:
        """The topic that comes and goes, while others read it."""
        if is_there:
            delete(client, FLEETING)
        create(client, FLEETING)
        client.ask(produced(FLEETING, build([Item(NOW, content=bytes(SIZES[-1]))])))

    # What is asked

    def question(self, random: Random, number: int) -> Question:
        """A request of this number."""
        match random.choices(("known", "produce", "without acks", "large", "wait"), (12, 6, 1, 1, 3))[0]:
            case "known":
                name = random.choice(list(self.known))
                frame, rest = self.known[name]
                return Question(renumbered(frame, number), lambda answer: self.hear_known(name, rest, answer))
            case "wait":
                offset = max((offset for topic, offset in list(self.written) if topic == PLAIN), default=-1) + 1
                return Question(renumbered(fetched(PLAIN, offset, random.randrange(1, 50)), number), hear_fetched)
            case kind:
                topic, size = random.choice((PLAIN, SAFE)), LARGE_BYTES if kind == "large" else random.randrange(2000)
                batch = build([Item(NOW, random.randbytes(16), bytes(size))])
                if kind == "without acks":
                    return Question(renumbered(produced(topic, batch, acks=0), number), None)
                return Question(renumbered(produced(topic, batch), number), lambda answer: self.hear_produced(topic, batch, answer))

    def hear_known(self, name: str, rest: bytes, answer: bytes) -> None:
        """It is the answer of before; unless the topic is just made anew."""
        if answer[4:] != rest:
            assert name == "fleeting", f"another answer to {name}: {answer[:100]!r}"
            (one,) = answer_of(answer, FETCH, 12).responses[0].partitions
            assert one.error_code == UNKNOWN_TOPIC_OR_PARTITION or not one.records, f"other records of {name}"

    def hear_produced(self, topic: str, batch: bytes, answer: bytes) -> None:
        """Each has an offset of its own."""
        (one,) = answer_of(answer, PRODUCE, 12).responses[0].partition_responses
        assert one.error_code == 0, f"a batch is refused with {one.error_code}"
        assert self.written.setdefault((topic, one.base_offset), batch) is batch, f"{topic}: offset {one.base_offset} is given twice"

    # The run

    def run(self, stories: int) -> dict[str, Any]:
        """Until all stories are told. AssertionError, with what is wrong."""
        begun = time.monotonic()
        self.sockets = sockets_opened()
        self.begin()
        with ThreadPoolExecutor(CLIENTS) as pool:
            clients = [pool.submit(self.live, Random(self.seed * CLIENTS + number), stories) for number in range(CLIENTS)]
            self.disturb(clients)
        for client in clients:
            client.result()
        self.check_nothing_is_left()
        grown_bytes = self.feed_the_greedy()
        self.check_nothing_is_left()
        self.check_written()
        self.check_files_are_closed()
        self.check_journal()
        return {"stories": self.told, "written": len(self.written), "grown_bytes": grown_bytes, "seconds": round(time.monotonic() - begun, 1)}

    def live(self, random: Random, stories: int) -> None:
        """One client: its stories, one after the other."""
        for _ in range(stories):
            story = Story(self, random)
            with self.served.connect(**story.options) as client:
                story.tell(client.socket)
            self.told[story.ending] += 1

    def disturb(self, clients: list[Future[None]]) -> None:
        """A topic goes and comes while they are there."""
        while not all(client.done() for client in clients):
            if not self.is_impatient:
                with self.served.connect() as client:
                    self.make_anew(client)
            time.sleep(0.02)

    def feed_the_greedy(self) -> int:
        """Some send as much as is taken of them, and never read; then they are gone. How much memory that took (bytes)."""
        request = framed(*[frame for frame, _ in (self.known[name] for name in ("latest", "latest", "5000 bytes", "versions", "40000 bytes"))])
        before = resident_bytes()
        with ExitStack() as stack:
            greedy = [stack.enter_context(self.served.connect(receive_buffer_bytes=4096)).socket for _ in range(GREEDY)]
            left = dict.fromkeys(greedy, GREED_BYTES)
            for one in greedy:
                one.setblocking(False)
            while writable := select.select([], [one for one in greedy if left[one] > 0], [], 0.3)[1]:
                for one in writable:
                    left[one] -= sent_of(one, request * (MEGABYTE // len(request)))
            held = self.served.server.driver.held_bytes
            assert held <= GREEDY * HELD_BYTES_MAX, f"{held} bytes are held of {GREEDY} clients"
            grown = resident_bytes() - before
            assert grown <= GREEDY * HELD_BYTES_MAX or "LD_PRELOAD" in os.environ, f"{GREEDY} clients cost {grown} bytes"  # a sanitizer has its own
            for one in greedy:
                reset(one)
        return grown

    # In the end

    def check_nothing_is_left(self) -> None:
        """Of those who are gone."""
        end = time.monotonic() + PATIENCE_S
        while left := {name: count for name, count in self.left().items() if count}:
            assert time.monotonic() < end, f"of those who are gone there is left: {left}"
            time.sleep(0.005)

    def left(self) -> dict[str, int]:
        """What there is, and should not be."""
        server, node = self.served.server, self.served.node
        return {
            "connections": server.driver.connections,
            "bytes that are held": server.driver.held_bytes,
            "deadlines": node.core.next_deadline() + 1,
            "watchers": sum(node.core.watchers(*key) for key in node.core.partitions()),
            "clients that the control plane knows": len(server.peers) + len(node.origins),
            "sockets": sockets_opened() - self.sockets,
        }

    def files(self) -> set[str]:
        """Those of topics that this process has open."""
        return {path for path in opened() for topic in TOPICS if path.startswith(str(self.folder / "data" / f"{topic}-"))}

    def check_written(self) -> None:
        """What was acknowledged is there."""
        with self.served.connect() as client:
            for topic in (PLAIN, SAFE):
                there = {one.base_offset: one.data for one in batches(stored(client, topic))}
                for offset in (offset for name, offset in self.written if name == topic):
                    assert there[offset][CRC_AT:] == self.written[topic, offset][CRC_AT:], f"{topic}: another batch is at {offset}"

    def check_files_are_closed(self) -> None:
        """When the topics are gone, and every thread had another turn, nobody holds a file of theirs."""
        assert self.files()
        with ExitStack() as stack:
            clients = [stack.enter_context(self.served.connect()) for _ in range(self.threads)]
            for topic in TOPICS:
                delete(clients[0], topic)
            for client in clients:
                assert client.ask(latest(KEPT)) is not None
        assert not self.files(), f"of topics that are gone there is open: {self.files()}"

    def check_journal(self) -> None:
        """Nobody was hung up on but for a fault of its own, or silence."""
        allowed = (REASONS, IDLE) if self.is_impatient else (REASONS,)
        others = [line for line in self.journal.lines if not any(reason.match(line) for reason in allowed)]
        assert not others, others[:3]


class Story:
    """One connection: what it sends, how it hears, and its end."""

    def __init__(self, campaign: Campaign, random: Random) -> None:
        self.campaign, self.random = campaign, random
        endings = {**ENDINGS, "is silent": 1} if campaign.is_impatient else ENDINGS
        self.ending = random.choices(list(endings), list(endings.values()))[0]
        self.is_slow = random.random() < 0.2
        self.options = {"receive_buffer_bytes": 4096} if self.is_slow else {}
        asked = [campaign.question(random, number) for number in range(random.choice((1, 1, 2, 3, 8, 30)))]
        self.expected = [(number, one.hear) for number, one in enumerate(asked) if one.hear is not None]
        self.unsent = framed(*(one.frame for one in asked)) + self.behind(len(asked))
        self.breaks_off_at = random.randrange(len(self.unsent) + 1) if self.ending in ("resets", "leaves") else -1
        self.lingers = random.randrange(4)  # so often it looks for answers before it breaks off
        self.sent_bytes = 0
        self.heard = bytearray()
        self.is_over = False

    def behind(self, number: int) -> bytes:
        """What comes after the requests, by the ending."""
        match self.ending:
            case "is cut":
                frame = framed(renumbered(self.random.choice((VERSIONS, latest(KEPT))), number))
                return frame[: self.random.randrange(1, len(frame))]
            case "is at fault":
                return fault(self.random)
            case "is at fault and goes on":
                return fault(self.random) + framed(VERSIONS, latest(KEPT)) * self.random.randrange(1, 100)
            case "resets":
                return framed(fetched(QUIET, 0, LONG_MS), VERSIONS) if self.random.random() < 0.5 else b""
        return b""

    def tell(self, line: socket.socket) -> None:
        """Until it is over."""
        line.setblocking(False)
        end = time.monotonic() + PATIENCE_S
        while not self.is_over:
            assert time.monotonic() < end, f"who {self.ending} waits in vain: for {len(self.expected)} answers, and to send {len(self.unsent)} bytes"
            sends = bool(self.unsent) and self.sent_bytes != self.breaks_off_at
            readable, writable, _ = select.select([line], [line] if sends else [], [], A_WHILE_S)
            if writable:
                self.send_some(line)
            if readable:
                self.hear_some(line)
            if self.sent_bytes == self.breaks_off_at:
                self.break_off(line)
            if self.ending == "stays" and not self.unsent and not self.expected:
                self.is_over = True

    def send_some(self, line: socket.socket) -> None:
        """A part of what is left, of any size."""
        size = min(self.random.choice((1, 3, 17, 300, 5_000, len(self.unsent), len(self.unsent))), len(self.unsent))
        if self.breaks_off_at >= 0:
            size = min(size, self.breaks_off_at - self.sent_bytes)
        try:
            count = line.send(self.unsent[:size])
        except (ConnectionResetError, BrokenPipeError):
            return self.has_ended()
        self.unsent = self.unsent[count:]
        self.sent_bytes += count
        if self.random.random() < 0.1:
            time.sleep(self.random.random() * 0.003)
        if not self.unsent and self.ending in ("says no more", "is cut"):
            line.shutdown(socket.SHUT_WR)
        return None

    def hear_some(self, line: socket.socket) -> None:
        """A part of what has come; every answer that is whole."""
        try:
            data = line.recv(3_000 if self.is_slow and self.random.random() < 0.1 else MEGABYTE)
        except ConnectionResetError:
            data = b""
        if not data:
            return self.has_ended()
        self.heard += data
        while len(self.heard) >= 4 and len(self.heard) >= (size := 4 + struct.unpack_from(">i", self.heard)[0]):
            self.hear(bytes(self.heard[4:size]))
            del self.heard[:size]
        return None

    def hear(self, answer: bytes) -> None:
        """The next answer."""
        assert self.expected, f"who {self.ending} is given an answer that nobody asked for: {answer[:100]!r}"
        number, hear = self.expected.pop(0)
        assert struct.unpack_from(">i", answer)[0] == number, f"the answer to {struct.unpack_from('>i', answer)[0]} comes instead of that to {number}"
        assert hear is not None
        hear(renumbered_answer(answer))

    def has_ended(self) -> None:
        """By the broker: rightly so? Who is at fault and has sent more than was read may lose answers on the way."""
        self.is_over = True
        if self.campaign.is_impatient:
            return
        assert self.ending in ("says no more", "is cut", "is at fault", "is at fault and goes on"), f"who {self.ending} is hung up on"
        if self.ending != "is at fault and goes on":
            assert not self.expected and not self.heard, f"who {self.ending} lacks {len(self.expected)} answers"

    def break_off(self, line: socket.socket) -> None:
        """Now, or soon."""
        self.is_over = self.is_over or self.lingers == 0
        self.lingers -= 1
        if self.is_over and self.ending == "resets":
            reset(line)


# Requests


def produced(topic: str, batch: bytes, index: int = 0, *, acks: int = -1) -> bytes:
    """A Produce request."""
    records: Any = batch
    data = m.TopicProduceData(topic, partition_data=(m.PartitionProduceData(index, records),))
    return request_frame(PRODUCE, 12, m.ProduceRequest(None, acks, 10_000, (data,)))


def everything(*indexes: int) -> bytes:
    """A Fetch request for what is kept."""
    wanted = m.FetchTopic(KEPT, partitions=tuple(m.FetchPartition(index, partition_max_bytes=MEGABYTE) for index in indexes))
    return request_frame(FETCH, 12, m.FetchRequest(max_bytes=4 * MEGABYTE, min_bytes=1, session_epoch=-1, topics=(wanted,)))


def renumbered_answer(answer: bytes) -> bytes:
    """As if all requests had the same number."""
    return struct.pack(">i", CORRELATION) + answer[4:]


def hear_fetched(answer: bytes) -> None:
    """There is something, or there is nothing yet."""
    (one,) = answer_of(answer, FETCH, 12).responses[0].partitions
    assert one.error_code == 0, f"a fetch is answered with {one.error_code}"


def fault(random: Random) -> bytes:
    """What the broker hangs up on: a size that it refuses, or a frame that is whole and no request."""
    if random.random() < 0.4:
        return struct.pack(">i", random.choice((0, -1, -(2**31), REQUEST_BYTES_MAX + 1, 2**31 - 1)))
    sound = random.choice((fetched(KEPT, 0), latest(KEPT), produced(PLAIN, build([Item(NOW)])), described()))
    return framed(
        random.choice(
            (
                sound[: random.randrange(1, 20)],
                sound[:2] + struct.pack(">h", 99) + sound[4:],
                struct.pack(">h", 999) + sound[2:],
                b"\xff" * random.randrange(1, 1000),
                produced("absent", build([Item(NOW)]), acks=0),
            )
        )
    )


# Descriptors and memory


def opened() -> list[str]:
    """What this process has open."""
    paths = []
    for entry in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed since
            paths.append(os.readlink(f"/proc/self/fd/{entry}"))
    return paths


def sockets_opened() -> int:
    """How many of them are sockets."""
    return sum(path.startswith("socket:") for path in opened())


def sent_of(line: socket.socket, data: bytes) -> int:
    """How much of it is taken now."""
    try:
        return line.send(data)
    except BlockingIOError:
        return 0


def reset(line: socket.socket) -> None:
    """The other side hears of it as of a client that crashed."""
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    line.close()


def resident_bytes() -> int:
    """The memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main(seed: int, stories: int) -> None:
    """One run."""
    folder = Path(tempfile.mkdtemp(dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None))
    campaign = Campaign(folder, seed)
    try:
        with campaign.served:
            told = campaign.run(stories)
    except (AssertionError, TimeoutError) as found:
        told = {"seed": seed, "found": f"{type(found).__name__}: {found}"}
    finally:
        shutil.rmtree(folder)
    print(json.dumps(told))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
