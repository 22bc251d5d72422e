"""What happens to a broker before it crashes: seeded histories of producers, rolls, deletions, retention, topics that come and go, and restarts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

from faults.run import Key, Refused, Run

#: What a topic's configuration says about the disk.
POLICIES: dict[str, dict[str, str]] = {
    "none": {},
    "interval": {"flush_ms": "100"},
    "commit": {"flush_messages": "1"},
    "every-third": {"flush_messages": "3"},
}
#: Few batches fit into a segment, and each has an entry in the indexes.
SMALL = {"internal_segment_bytes": "300", "index_interval_bytes": "0", "segment_ms": "3600000", "retention_bytes": "1000", "retention_ms": "36000000"}
PRODUCERS = range(5, 8)
HOUR_MS, DAY_MS = 3_600_000, 86_400_000


@dataclass
class History:
    """One history: so many actions of these policies, chosen by the seed. `did` counts them."""

    run: Run
    policies: tuple[str, ...]
    seed: int
    did: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        #: Action -> how often, against the others.
        self.actions: dict[Callable[[], None], int] = {
            self.produce: 24,
            self.resend: 3,
            self.flush: 4,
            self.delete_records: 3,
            self.keep_house: 3,
            self.let_time_pass: 1,
            self.let_all_go: 1,
            self.expire: 1,
            self.configure: 1,
            self.create: 3,
            self.delete: 2,
            self.grow: 1,
            self.draw_producer_id: 2,
            self.restart: 2,
            self.crash: 2,
        }

    def happen(self, actions: int) -> Run:
        """The history; then the broker is gone."""
        self.run.start()
        for policy in self.policies:
            if policy not in self.names():
                self.run.create(policy, 1, **SMALL, **POLICIES[policy])
        for action in self.random.choices(list(self.actions), list(self.actions.values()), k=actions):
            with suppress(NothingToDo):
                action()
                self.did[action.__name__] += 1
        self.run.kill()
        self.did["rolls"] = self.rolls()
        return self.run

    def go_on(self, ends: Mapping[Key, int]) -> Run:
        """After a crash: every log grows beyond where it ended before; then the broker is gone again."""
        self.run.start()
        for (topic_id, index), end in ends.items():
            name = self.run.broker.topics.by_id[topic_id]
            while self.run.broker.partitions[topic_id, index].log.end <= end:
                self.run.produce(name, index, producer=self.random.choice(PRODUCERS))
        self.run.kill()
        return self.run

    def rolls(self) -> int:
        """How many segments were sealed."""
        return sum(here.log.active_segment for here in self.run.broker.partitions.values())

    # Where

    def names(self) -> list[str]:
        """The topics there are."""
        return sorted(self.run.broker.topics.by_name)

    def some(self) -> tuple[str, int]:
        """A partition of some topic."""
        if not self.names():
            raise NothingToDo
        name = self.random.choice(self.names())
        return name, self.random.randrange(self.run.broker.topics.by_name[name].partitions)

    # Actions

    def produce(self) -> None:
        name, index = self.some()
        producer = self.random.choice([-1, *PRODUCERS])
        self.run.produce(name, index, producer=producer, count=self.random.choice((1, 1, 1, 2)))

    def resend(self) -> None:
        name, index = self.some()
        producers = self.run.broker.partitions[self.run.key(name, index)].producers
        if not producers:
            raise NothingToDo
        producer = self.random.choice(sorted(producers))
        written = self.random.choice(producers[producer].window)
        self.run.resend(name, index, producer, producers[producer].epoch, written.first_sequence)

    def flush(self) -> None:
        self.run.flush(self.random.choice((1, 100, 200)))

    def delete_records(self) -> None:
        name, index = self.some()
        log = self.run.broker.partitions[self.run.key(name, index)].log
        self.run.delete_records(name, index, self.random.randint(log.start, log.high_watermark))

    def keep_house(self) -> None:
        self.run.keep_house()

    def let_time_pass(self) -> None:
        """The next batches begin new segments."""
        self.run.now += 2 * HOUR_MS

    def let_all_go(self) -> None:
        """Every record is too old, but nobody is forgotten."""
        self.run.keep_house(11 * HOUR_MS)

    def expire(self) -> None:
        """Producers are forgotten."""
        self.run.keep_house(DAY_MS)

    def configure(self) -> None:
        name, _ = self.some()
        config, text = self.random.choice((("retention.bytes", "500"), ("flush.messages", "1"), ("flush.messages", "2"), ("max.message.bytes", "5000")))
        self.run.configure(name, config, text)

    def create(self) -> None:
        policy = self.random.choice(self.policies)
        for name in (policy, f"{policy}-2", f"{policy}-3"):
            if name not in self.names():
                self.run.create(name, self.random.choice((1, 2)), **SMALL, **POLICIES[policy])
                return
        raise NothingToDo

    def delete(self) -> None:
        name, _ = self.some()
        self.run.delete(name)

    def grow(self) -> None:
        name, _ = self.some()
        with suppress(Refused):
            self.run.grow(name, self.run.broker.topics.by_name[name].partitions + 1)

    def draw_producer_id(self) -> None:
        self.run.draw_producer_id()

    def restart(self) -> None:
        """In good order."""
        self.run.stop()
        self.run.start()

    def crash(self) -> None:
        """A kill that loses nothing."""
        self.run.kill()
        self.run.start()


class NothingToDo(Exception):
    """There is nothing that the action could be done to."""
