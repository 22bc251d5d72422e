"""What happens to a broker before it crashes: seeded histories of producers, rolls, deletions, retention, topics and groups that come and go, and
restarts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

from faults.run import Key, Run
from fiducial.models.groups import State
from fiducial.models.topics import OFFSETS_TOPIC

#: What a topic's configuration says about the disk.
POLICIES: dict[str, dict[str, str]] = {
    "none": {},
    "interval": {"flush_ms": "100"},
    "commit": {"flush_messages": "1"},
    "every-third": {"flush_messages": "3"},
}
#: Few batches fit into a segment, and each has an entry in the indexes.
SMALL = {"internal_segment_bytes": "300", "index_interval_bytes": "0", "segment_ms": "3600000", "retention_bytes": "1000", "retention_ms": "36000000"}
#: Of the topic of groups; retention takes nothing of it, but it is made short.
SHORT = {"internal_segment_bytes": "500", "index_interval_bytes": "0", "cleanup_policy": "compact"}
PRODUCERS = range(5, 8)
#: Groups that only commit, groups that have members, and these.
READERS, TEAMS, INSTANCES = ("g", "h", "i"), ("m", "n"), ("a", "b")
#: So often is tried to have a log grow by chance.
TRIES = 200
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
        self.commits = 0
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
            self.commit: 12,
            self.join: 4,
            self.sync: 8,
            self.leave: 2,
            self.delete_groups: 1,
            self.expire_offsets: 4,
            self.grow_groups: 2,
        }

    def happen(self, actions: int) -> Run:
        """The history; then the broker is gone."""
        self.run.start()
        for policy in self.policies:
            if policy not in self.names():
                self.run.create(policy, 1, **SMALL, **POLICIES[policy])
        self.run.create(OFFSETS_TOPIC, 2, **SHORT, **POLICIES[self.random.choice(self.policies)])
        for action in self.random.choices(list(self.actions), list(self.actions.values()), k=actions):
            with suppress(NothingToDo):
                action()
                self.did[action.__name__] += 1
        self.run.kill()
        self.did["rolls"] = self.rolls()
        self.did["logs made short"] = self.made_short()
        return self.run

    def go_on(self, ends: Mapping[Key, int]) -> Run:
        """After a crash: every log grows beyond where it ended before, unless nobody writes there any more; then the broker is gone again."""
        self.run.start()
        for (topic_id, index), end in sorted(ends.items()):
            name = self.run.broker.topics.by_id[topic_id]
            for _ in range(TRIES):
                if self.run.broker.partitions[topic_id, index].log.end > end:
                    break
                if name == OFFSETS_TOPIC:
                    with suppress(NothingToDo):
                        self.random.choice((self.commit, self.join, self.sync))()
                else:
                    self.run.produce(name, index, producer=self.random.choice(PRODUCERS))
        self.run.kill()
        return self.run

    def rolls(self) -> int:
        """How many segments were sealed."""
        return sum(here.log.active_segment for here in self.run.broker.partitions.values())

    def made_short(self) -> int:
        """How many logs of groups were written anew."""
        topic_id = self.run.broker.topics.by_name[OFFSETS_TOPIC].topic_id
        return sum(key[0] == topic_id and here.log.start > 0 for key, here in self.run.broker.partitions.items())

    # Where

    def names(self) -> list[str]:
        """The topics there are for everybody."""
        return sorted(set(self.run.broker.topics.by_name) - {OFFSETS_TOPIC})

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
        self.run.grow(name, self.run.broker.topics.by_name[name].partitions + 1)

    def draw_producer_id(self) -> None:
        self.run.draw_producer_id()

    def commit(self) -> None:
        """Of one partition or two, at once."""
        self.commits += 1
        self.run.commit(self.random.choice(READERS), self.commits, *dict.fromkeys(self.some() for _ in range(2)))

    def team(self, *states: State) -> str:
        """A group with members that is in one of these states."""
        teams = [team for team in TEAMS if team in self.run.broker.groups.live and self.run.broker.groups.live[team].state in states]
        if not teams:
            raise NothingToDo
        return self.random.choice(teams)

    def join(self) -> None:
        self.run.join(self.random.choice(TEAMS), self.random.choice(INSTANCES))

    def sync(self) -> None:
        self.run.sync(self.team(State.COMPLETING))

    def leave(self) -> None:
        team = self.team(State.COMPLETING, State.STABLE)
        self.run.leave(team, self.random.choice(sorted(self.run.broker.groups.live[team].statics)))

    def delete_groups(self) -> None:
        """All that can be: their records are in more than one partition."""
        empty = sorted(group.group_id for group in self.run.broker.groups.live.values() if group.state is State.EMPTY)
        if not empty:
            raise NothingToDo
        self.run.delete_groups(*empty)

    def grow_groups(self) -> None:
        """Some of them lie elsewhere from then on."""
        if self.run.broker.groups.scattered:
            raise NothingToDo
        self.run.grow(OFFSETS_TOPIC, self.run.broker.topics.by_name[OFFSETS_TOPIC].partitions + 1)

    def expire_offsets(self) -> None:
        """What is old goes, sometimes; and what is written twice."""
        self.run.expire_offsets(self.random.choice((0, 0, 2 * HOUR_MS)))

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
