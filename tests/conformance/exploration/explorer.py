"""Exploring a broker: one random history after the other, until so many requests were sent or so much time has passed.

What differs from what the models allow is shrunk to a short story and told once: a history that comes upon the same again ends there. We are a
guest: every history has topics of its own, which go when it is over, and nothing is asked that changes, or depends on, what others have there.
"""

from __future__ import annotations

import itertools
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any

from fiducial.conformance import codec
from fiducial.conformance.abstraction import Difference
from fiducial.conformance.cases import Topic
from fiducial.conformance.client import Entry, Unreachable
from fiducial.conformance.exploration.group_histories import GroupHistories
from fiducial.conformance.exploration.histories import CONFIGS, Histories
from fiducial.conformance.exploration.pairs import Mark, Pair, Story, World, clear, run
from fiducial.conformance.exploration.shrinking import shrunk
from fiducial.conformance.exploration.steps import Step
from fiducial.conformance.exploration.targets import Closed, Models, Remote
from fiducial.conformance.founding import Founded, NotFounded, founded
from fiducial.conformance.running import Judge
from fiducial.conformance.symbols import View
from fiducial.conformance.target import PAUSE_S, SETUP_TIMEOUT_S, SetupFailed, SetupRefused, Target, Voice
from fiducial.models import messages as m
from fiducial.models.apis import APIS
from fiducial.models.config_requests import Operation, Resource
from fiducial.models.errors import Error
from fiducial.models.state import Cluster

#: So many requests make a history, and so many counterexamples are enough.
HISTORY_STEPS, FOUND_MAX = 250, 20
#: So many groups are founded at once: it takes a broker as long as one (GROUP-JOIN-10), and their members do not stay for ever.
FOUNDED_AT_ONCE = 20
#: So long an answer may take.
PATIENCE_S = 5.0
PRODUCE, FETCH, METADATA, CREATE_TOPICS, DELETE_TOPICS, INIT_PRODUCER_ID, DESCRIBE_CONFIGS, ALTER_CONFIGS = 0, 1, 3, 19, 20, 22, 32, 44
FIND_COORDINATOR, JOIN_GROUP, LEAVE_GROUP, SYNC_GROUP, DESCRIBE_GROUPS = 10, 11, 13, 14, 15
#: What no history can do without, and none of groups.
NEEDED_FOR_GROUPS = (FIND_COORDINATOR, JOIN_GROUP, LEAVE_GROUP, SYNC_GROUP, DESCRIBE_GROUPS)
NEEDED = (PRODUCE, FETCH, METADATA, CREATE_TOPICS, DELETE_TOPICS)


@dataclass(frozen=True)
class Counterexample:
    """A short story that ends in what no rule allows; `rules`: those by which the models refused something in its last step."""

    seed: int
    length: int  # of the history that came upon it, in steps
    story: Story
    rules: tuple[str, ...]
    entries: tuple[Entry, ...]  # what was said when it was told for the last time
    asked: tuple[tuple[Step, View], ...]  # each step, and what the broker had given out before it
    later: Mapping[int, int]  # of steps that waited, counted from 1: during which they were answered

    @property
    def differences(self) -> list[Difference]:
        """What was expected, and what came."""
        return self.story.found


class Gone(Unreachable):
    """The broker does not answer any more; `story`: what it was asked last, from the beginning of a history, or of a shorter story."""

    def __init__(self, reason: str, story: Story) -> None:
        super().__init__(reason)
        self.story = story


@dataclass
class Budget:
    """So many requests, or so many seconds."""

    requests: int | None = None
    seconds: float | None = None
    begun: float = field(default_factory=time.monotonic)

    def left(self, asked: int) -> int:
        """How many requests may be sent yet, as far as can be said."""
        if self.seconds is not None:
            return HISTORY_STEPS if time.monotonic() < self.begun + self.seconds else 0
        assert self.requests is not None
        return max(self.requests - asked, 0)

    def done(self, asked: int) -> float:
        """How much of it is used up, of 1."""
        if self.seconds is not None:
            return min((time.monotonic() - self.begun) / self.seconds, 1)
        assert self.requests is not None
        return min(asked / max(self.requests, 1), 1)


@dataclass
class Noted(Pair):
    """A pair that notes what it is asked."""

    noted: list[Step] = field(default_factory=list)

    def ask(self, step: Step) -> list[Difference]:
        """Ask both; where they differ."""
        self.noted.append(step)
        return super().ask(step)


class Host(Remote):
    """The broker at which we are guests. That a change is carried out is seen by a topic of ours that is changed after it."""

    def __init__(self, there: Target, barrier: str, group_names: Iterator[str]) -> None:
        super().__init__(f"{there.host}:{there.port}", there.host, there.port, PATIENCE_S)
        self.there = there
        self.group_names = group_names
        self.founded: list[Founded] = []  # groups that no history has yet
        self.barrier = barrier if there.serves(DESCRIBE_CONFIGS) and there.serves(ALTER_CONFIGS) else ""
        self.changes = itertools.count(1)
        self.view = replace(self.view, node_id=there.node_id, versions=there.versions, is_shared=True)

    def found(self, group: str) -> Founded:
        self.remove_groups(self.view.groups.values())
        if not self.founded:
            with Voice(self.there) as voice:
                self.founded += founded(voice, self.there.coordinated(self.group_names, FOUNDED_AT_ONCE))
        return self.founded.pop()

    def remove_groups(self, group_ids: Iterable[str]) -> None:
        """Groups of ours away, with their members."""
        self.there.remove_groups([*group_ids])

    def has_groups(self) -> bool:
        """Can groups be had here?"""
        if not all(map(self.there.serves, NEEDED_FOR_GROUPS)):
            return False
        try:
            self.founded.append(self.found(""))
        except (NotFounded, SetupFailed, SetupRefused):
            return False
        return True

    def settle(self) -> None:
        """Changes are carried out in order, some of them together; one that shows while one before it has shown is of a later round."""
        if self.barrier:
            self.change()
            self.change()

    def change(self) -> None:
        """Change the barrier, and wait until that shows."""
        text = str(10**9 + next(self.changes))
        change = m.IncrementalAlterConfigsRequestAlterableConfig("retention.ms", Operation.SET, text)
        resource = m.IncrementalAlterConfigsRequestAlterConfigsResource(Resource.TOPIC, self.barrier, (change,))
        (done,) = self.there.ask(m.IncrementalAlterConfigsRequest((resource,), False)).responses
        if done.error_code != Error.NONE:
            raise SetupRefused(f"the configuration of a topic cannot be changed: {done.error_message}")
        asked = m.DescribeConfigsRequest((m.DescribeConfigsResource(Resource.TOPIC, self.barrier, ("retention.ms",)),))
        give_up = time.monotonic() + SETUP_TIMEOUT_S
        while [entry.value for entry in self.there.ask(asked).results[0].configs] != [text]:
            if time.monotonic() > give_up:
                raise SetupFailed("a change of a topic's configuration does not show")
            time.sleep(PAUSE_S / 10)


class Explorer:
    """Asks one broker. `tell` is told what is going on; SetupRefused if the broker cannot be explored."""

    def __init__(self, there: Target, seed: int, tell: Callable[[str], None]) -> None:
        if missing := [APIS[key].name for key in NEEDED if not there.serves(key)]:
            raise SetupRefused(f"exploration needs what is not advertised: {', '.join(missing)}")
        if there.nodes > 1:
            raise SetupRefused(f"exploration is for a broker that stands alone; this one is of {there.nodes}")
        self.there = there
        self.seed = seed
        self.tell = tell
        self.judge = Judge(there, {})
        self.cluster = Cluster("fiducialfiducialfiduci", there.node_id, there.host, there.port)
        self.prefixes = (f"{self.judge.prefix}-{number}" for number in itertools.count(1))
        self.topics = self.to_be_had()
        self.barrier = f"{self.judge.prefix}-barrier"
        self.host = Host(there, self.barrier, self.judge.group_names)
        there.make_topics({self.barrier: Topic()})
        self.kind = GroupHistories if self.host.has_groups() else Histories
        self.known: frozenset[Mark] = frozenset()
        self.reached: Counter[str] = Counter()
        self.asked = self.histories = self.unfinished = 0
        self.last = self.before = Story(World({}), [], [])  # the story that is being told, and the one before it

    def to_be_had(self) -> list[str]:
        """The topics that the broker would make with their configurations."""
        names = {f"{self.judge.prefix}-probe-{name}": name for name in sorted(CONFIGS)}
        wanted = tuple(self.there.creatable(named, Topic(tuple(CONFIGS[name].items()))) for named, name in names.items())
        answer = self.there.ask(m.CreateTopicsRequest(wanted, int(SETUP_TIMEOUT_S * 1000), validate_only=True))
        return sorted(names[topic.name] for topic in answer.topics if topic.error_code == Error.NONE)

    def pair(self, world: World) -> Pair:
        """The models and the broker at the beginning of a story."""
        own = replace(world, prefix=next(self.prefixes), producers=world.producers if self.there.serves(INIT_PRODUCER_ID) else 0)
        models = Models(self.cluster, self.judge.settings)
        models.view.is_shared = True
        self.before = self.last if self.last.steps else self.before
        self.last = Story(own, [], [])
        return Noted(models, self.host, own, is_close=False, noted=self.last.steps)

    def explore(self, budget: Budget) -> Iterator[Counterexample]:
        """The counterexamples, one by one, until the budget is spent or there are enough."""
        found = 0
        while (left := budget.left(self.asked)) and found < FOUND_MAX:
            if (one := self.history(self.seed + self.histories, min(HISTORY_STEPS, left), budget)) is not None:
                found += 1
                yield one

    def history(self, seed: int, steps: int, budget: Budget) -> Counterexample | None:
        """One history, and what it came to. A broker that falls silent while it is set up is asked anew, if it is still there."""
        histories = self.kind(seed, served=self.there.versions, topics=self.topics)
        self.histories += 1
        try:
            pair = self.pair(histories.world)
            pair.known = self.known
            story = run(pair, self.counted(histories.steps(steps), pair, budget))
            self.reached += pair.reached
            return None if story is None else self.counterexample(story, seed)
        except (Closed, TimeoutError, SetupFailed, Unreachable) as reason:
            self.host.close()
            self.unfinished += 1
            if not self.there.is_lively():
                raise Gone(f"{self.host.name} does not answer any more: {reason or type(reason).__name__}", self.last if self.last.steps else self.before) from None
            return None

    def counted(self, steps: Iterator[Step], pair: Pair, budget: Budget) -> Iterator[Step]:
        """The steps, each counted; none, once the time is over."""
        for step in steps:
            if not budget.left(self.asked):
                return
            self.asked += 1
            self.tell(f"{self.asked:,} requests in {self.histories} histories, {budget.done(self.asked):.0%}")
            yield step

    # What was found

    def counterexample(self, story: Story, seed: int) -> Counterexample | None:
        """The story in short, told once more for the record; None if that is known already."""
        self.tell(f"history {seed} differs at step {len(story.steps)}; looking for a short story")
        short = shrunk(story, self.pair)
        is_known = short.marks() <= self.known
        self.known |= story.marks() | short.marks()
        return None if is_known else self.told(short, seed, len(story.steps))

    def told(self, story: Story, seed: int, length: int) -> Counterexample:
        """A story, told; its end is what it comes to now, if it comes to anything."""
        pair = self.pair(story.world)
        asked: list[tuple[Step, View]] = []
        again = run(pair, recorded(story.steps, pair, asked))
        final = replace(story, is_steady=False) if again is None else replace(again, is_steady=story.is_steady)
        return Counterexample(seed, length, final, tuple(dict.fromkeys(pair.rules)), decoded(self.host.transcript.entries), tuple(asked), dict(pair.later))

    def replay(self, world: World, steps: Sequence[Step]) -> Counterexample | None:
        """A story that was told before; None if nothing differs now."""
        story = run(self.pair(world), list(steps))
        return None if story is None else self.told(story, self.seed, len(steps))

    def close(self) -> None:
        """Take away what is ours."""
        with suppress(AssertionError, Closed, TimeoutError, Unreachable):  # the broker does not let us, or is gone
            clear(self.host)
        self.host.begin_anew()
        self.host.remove_groups([*self.host.view.groups.values(), *(one.group_id for one in self.host.founded)])
        self.there.remove_topics([self.barrier])


def recorded(steps: Sequence[Step], pair: Pair, asked: list[tuple[Step, View]]) -> Iterator[Step]:
    """The steps; each is noted with what the broker had given out before it."""
    for step in steps:
        view = pair.theirs.view
        kept: dict[str, Any] = {name: copy(getattr(view, name)) for name in ("topic_ids", "old_ids", "producer_ids", "sessions", "epochs", "members")}
        asked.append((step, replace(view, **kept)))
        yield step


def decoded(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """What was said, each frame with the message in it."""
    found: list[Entry] = []
    asked: dict[int, tuple[int, int]] = {}
    for entry in entries:
        if entry.what == "sent":
            key, version = asked[entry.connection] = struct.unpack_from(">hh", entry.data, 4)
            found.append(replace(entry, **read(key, version, "request", entry.data[4:])))
        elif entry.what == "received" and entry.connection in asked:
            found.append(replace(entry, **read(*asked[entry.connection], "response", entry.data)))
        else:
            found.append(entry)
    return tuple(found)


def read(api_key: int, version: int, kind: codec.Kind, frame: bytes) -> dict[str, Any]:
    """What a frame is called, and the message in it, as far as it can be read."""
    name = f"{APIS[api_key].name if api_key in APIS else f'API {api_key}'} v{version}"
    told = name if kind == "request" else f"answer to {name}"
    try:
        if kind == "request":
            return {"told": told, "message": codec.read_request(frame).message}
        return {"told": told, "message": codec.decode(frame, api_key, version, kind, codec.answer_body(frame, api_key, version))}
    except (codec.Malformed, ValueError) as problem:
        return {"told": told, "message": f"no message: {problem}"}


def seconds_of(text: str) -> float | None:
    """How long `30s` or `5m` is; None if it is nothing like that."""
    unit: dict[str, float] = {"s": 1, "m": 60, "h": 3600}
    number = text[:-1]
    return float(number) * unit[text[-1]] if text[-1:] in unit and number.isascii() and number.isdecimal() else None


def budget_of(text: str) -> Budget | None:
    """What an option allows: a number of requests, or a duration; None if it is neither."""
    if text.isascii() and text.isdecimal():
        return Budget(requests=int(text))
    seconds = seconds_of(text)
    return None if seconds is None else Budget(seconds=seconds)
