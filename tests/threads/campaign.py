"""One run of the hammer: threads let loose on a core, beside a control plane that changes what they work on; then all they did is told to the model.

`python -m threads.campaign SEED REQUESTS`: so many requests of each producer; what came of it, as JSON.
"""

from __future__ import annotations

import importlib
import shutil
import sys
import time
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from fiducial.fastpath.core import Core
from fiducial.models.log import LogConfig
from fiducial.models.settings import parse
from fiducial.models.state import Cluster
from threads.telling import tell
from threads.traffic import FETCH, NOON, Judge, Request, Topic, Traffic, frames_in
from threads.witness import Witness

if TYPE_CHECKING:
    from fiducial.fastpath.core import Unforced

THREADS, PRODUCERS, TAILS, ROUNDS = 4, 12, 20, 1_000_000
#: Of the chunks of each script, so many are sent until all is quiet again, and nobody may wait in vain: the last append is the one that nobody repairs.
BURST = 10
#: By the clock of the hammer, which passes by one with each turn.
EXPIRATION_MS = 20_000
PAUSE_S = 0.0002
SMALL: dict[str, Any] = {"segment_bytes": 2500, "index_interval_bytes": 300, "max_message_bytes": 2000}
ZSTD = {"compression": 4, "compression_level": 3}
#: What each topic is for; of those that come and go, the last two are not there from the beginning.
CONFIGS: dict[str, dict[str, Any]] = {
    "plain": {"retention_bytes": 8000},
    "safe": {"flush_messages": 1},
    "slow": {"flush_messages": 7},
    "stamped": {"append_time": True, "retention_bytes": 4000},
    "packed": ZSTD,
    "mixed": {},
    **{f"fleeting-{number}": {"flush_messages": 1 + number % 2 * 1000} for number in range(5)},
}
#: What the topic "mixed" is at times.
MIXTURE: tuple[dict[str, Any], ...] = (
    {}, {"flush_messages": 1}, {"append_time": True}, ZSTD, {"max_message_bytes": 120}, {"segment_bytes": 400}, {"retention_bytes": 1000},
)  # fmt: skip


class Campaign:
    """A core, the threads on it, and what is known of its partitions."""

    def __init__(self, folder: Path, seed: int, requests: int) -> None:
        self.folder, self.random = folder, Random(seed)
        self.core = Core(str(folder), Cluster("ZmlkdWNpYWxmaWR1Y2lhbA", 1, "127.0.0.1", 9092), parse({}))
        self.core.draw_session_id = lambda: self.random.randrange(1, 2**31)
        self.core.record()
        self.hammer = importlib.import_module("hammer").Hammer(self.core, THREADS, seed, NOON)
        self.topics = [Topic(name, b"%016d" % at, 2, SMALL | config) for at, (name, config) in enumerate(CONFIGS.items())]
        self.coming = self.topics[-2:]
        self.going = self.topics[-5:-2]
        for topic in self.topics[:-2]:
            self.create(topic)
        traffic = Traffic(seed, self.topics)
        self.scripts = [traffic.script(requests, 1000 + number) for number in range(PRODUCERS)]
        self.tails = [traffic.tail(*self.random.choice(traffic.all_partitions())) for _ in range(TAILS)]
        self.witness = Witness(self.core, folder, self.topics)

    # The control plane

    def create(self, topic: Topic) -> None:
        """A topic begins."""
        for index in range(topic.partitions):
            self.core.create(topic.topic_id, index, topic.name, LogConfig(**topic.config), 0, self.hammer.now)
        self.core.name_topic(topic.topic_id, topic.name)

    def remove(self, topic: Topic) -> None:
        """A topic ends, and who waits for it is answered."""
        for index in range(topic.partitions):
            gone = self.core.delete(topic.topic_id, index)
            assert gone is not None
            shutil.rmtree(gone)
        self.core.forget_topic(topic.topic_id, self.hammer.now)
        self.tell()

    def tell(self) -> None:
        """What the control plane's last turn answered, to those who waited for it."""
        for connection, data, rest in self.core.answers():
            assert data is not None and not rest
            self.hammer.post(connection, data)

    def change_something(self) -> None:
        """One thing that a control plane does."""
        key = self.random.choice(self.core.partitions())
        match self.random.choices(("house", "configure", "start", "sync", "look", "come", "go"), (2, 3, 2, 2, 3, 0.1, 0.1))[0]:
            case "house":
                self.force(self.core.unsynced_of(self.core.keep_house(EXPIRATION_MS, self.hammer.now)))
            case "configure":
                mixed = next(topic for topic in self.topics if topic.name == "mixed")
                config = LogConfig(**{**mixed.config, **self.random.choice(MIXTURE)})
                self.core.configure(mixed.topic_id, self.random.randrange(mixed.partitions), config, self.hammer.now)
            case "start":
                start, high_watermark, *_ = self.core.marks(*key)[0]
                self.core.raise_start(*key, self.random.choice((high_watermark, start + (high_watermark - start) // 3)), self.hammer.now)
            case "sync":
                for unforced in self.core.unsynced(self.hammer.now):
                    self.force(unforced)
            case "look":
                self.core.producers(*key)
                self.core.segments(*key)
                self.core.recovery_point(*key)
            case "come" if self.coming:
                self.create(self.coming.pop())
            case "go" if self.going:
                self.remove(self.going.pop())

    def force(self, unforced: Unforced) -> None:
        """What is to be on the disk."""
        assert self.core.sync(unforced) == 0
        self.core.synced(unforced)

    # The run

    def run(self) -> dict[str, Any]:
        """Let the threads loose, again and again until all is sent; look at everything. AssertionError, with what is wrong."""
        begun, waiting = time.monotonic(), 0
        for _ in self.scripts:
            self.hammer.add([])
        for tail in self.tails:
            self.hammer.add([tail.frame], ROUNDS, tail.offset_at, tail.mark_at)
        for begin in range(0, max(len(script.chunks) for script in self.scripts), BURST):
            for number, script in enumerate(self.scripts):
                self.hammer.more(number, script.chunks[begin : begin + BURST])
            self.let_loose()
            waiting += self.check_nobody_waits_in_vain()
        seconds = time.monotonic() - begun
        self.witness.replay()
        self.hear_answers()
        self.witness.check()
        return {
            "core": sys.modules[Core.__module__].__file__,
            "steps": self.witness.kinds.total(),
            "kinds": self.witness.kinds,
            "waiting": waiting,
            "seconds": round(seconds, 1),
        }

    def let_loose(self) -> None:
        """The threads at work until none can go on, and the control plane beside them."""
        self.hammer.start()
        try:
            while self.hammer.busy > 0:
                time.sleep(PAUSE_S)
                self.change_something()
        except BaseException:
            self.hammer.stop()
            raise
        finally:
            self.hammer.join()

    def check_nobody_waits_in_vain(self) -> int:
        """Now that all is quiet, whoever still waits is answered with nothing, since there is nothing: how many there are."""
        before = {number: len(self.hammer.received(number)[0]) for number in self.waiting()}
        answered = self.hammer.time_out_all()
        assert answered == len(before), f"{len(before)} connections wait, and {answered} fetches do"
        assert not self.waiting(), "a connection waits for a fetch that is no more"
        for number, size in before.items():
            (answer,) = frames_in(self.hammer.received(number)[0][size:])
            judge = Judge()
            judge.hear(self.request_of(number), answer)
            assert not judge.read, f"connection {number} was not told of {len(judge.read[0][1])} bytes that it waits for"
        assert self.hammer.watchers == 0, f"{self.hammer.watchers} are still counted as waiting"
        return len(before)

    def waiting(self) -> list[int]:
        """The connections that wait for an answer."""
        return [number for number in range(PRODUCERS + TAILS) if self.hammer.received(number)[1]]

    def request_of(self, number: int) -> Request:
        """What a tail asks for, all the time."""
        return Request(FETCH, self.tails[number - PRODUCERS].correlation_id, {})

    def hear_answers(self) -> None:
        """What each connection was told: one answer for each request, in their order."""
        for number in range(PRODUCERS + TAILS):
            received, _, ended = self.hammer.received(number)
            assert ended == 0, f"connection {number} ended with verdict {ended}"
            answers = list(frames_in(received))
            if number < PRODUCERS:
                requests = self.scripts[number].requests
                assert len(answers) == len(requests), f"connection {number}: {len(answers)} answers to {len(requests)} requests"
            else:
                requests = [self.request_of(number)] * len(answers)
            for request, answer in zip(requests, answers, strict=True):
                self.witness.judge.hear(request, answer)

    def close(self) -> None:
        """Of the core."""
        self.core.close()


if __name__ == "__main__":
    tell(Campaign)
