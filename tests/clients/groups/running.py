"""One group on one broker, through one scenario: every member a process, records coming all the while. What comes of it is a `Story` for the checks."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from peers.kafka import ending_with_us

from clients.groups import flavours, scenarios
from clients.groups.brokers import Broker, Kind
from clients.groups.checks import Pause, Story, member_of
from clients.groups.flavours import Flavour
from clients.groups.journal import COMMITTED, Journal, in_order, last_generation, owned
from clients.groups.scenarios import Happening, Scenario

GROUP, TOPIC, PARTITIONS = "group", "topic", 12
RECORDS_PER_S = 60
#: So long the group may take to become stable.
PATIENCE_S = 90.0
LOOK_S = 0.05
#: So soon does a member hear that it is to join anew.
HEARTBEAT_MS = 300
#: The broker is away no longer.
DOWN_S_MAX = 1.0


class Unsettled(Exception):
    """The group did not become stable, or a member ended of itself."""


class Source:
    """Records, all the time, on partitions drawn from a seed; none is lost or sent twice."""

    def __init__(self, bootstrap: str, random: Random) -> None:
        self.random = random
        self.ends: dict[int, int] = defaultdict(int)  # of what is acknowledged
        settings = {"bootstrap.servers": bootstrap, "enable.idempotence": True, "reconnect.backoff.max.ms": 200, "log_level": 0}
        self.producer = Producer(settings)
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.produce)

    def delivered(self, error: object, message: Message) -> None:
        """One more is acknowledged; where it went is not always known, if it was sent again."""
        partition = message.partition()
        assert error is None and partition is not None, error
        self.ends[partition] += 1

    def produce(self) -> None:
        """Until the end."""
        while not self.ending.wait(1 / RECORDS_PER_S):
            self.producer.produce(TOPIC, b"record", partition=self.random.randrange(PARTITIONS), on_delivery=self.delivered)
            self.producer.poll(0)

    def start(self) -> None:
        """Begin with one record on every partition."""
        for partition in range(PARTITIONS):
            self.producer.produce(TOPIC, b"record", partition=partition, on_delivery=self.delivered)
        self.thread.start()

    def stop(self) -> None:
        """No more records; those that were sent are acknowledged."""
        self.ending.set()
        self.thread.join()
        if self.producer.flush(PATIENCE_S):
            raise Unsettled("records were not acknowledged")


class Process:
    """A member's process, "NUMBER.TIMES": how often the same static member was started before."""

    def __init__(self, name: str, flavour: Flavour, bootstrap: str, folder: Path) -> None:
        self.name, self.is_asleep = name, False
        self.journal = Journal(name, folder / f"member-{name}.jsonl")
        self.complaints = folder / f"member-{name}.stderr"
        settings = {
            "client": flavour.client,
            "bootstrap": bootstrap,
            "group": GROUP,
            "topic": TOPIC,
            "strategy": flavour.strategy,
            "instance": f"instance-{member_of(name)}" if flavour.is_static else None,
            "session_ms": flavour.session_ms,
            "heartbeat_ms": HEARTBEAT_MS,
            "journal": str(self.journal.path),
        }
        command, environment = flavours.command(flavour.client, json.dumps(settings))
        with self.complaints.open("wb") as complaints:
            self.popen = subprocess.Popen(
                ending_with_us(command), env=environment, stdin=subprocess.PIPE, stdout=complaints, stderr=complaints
            )

    def kill(self) -> None:
        """As `kill -9` does."""
        self.popen.kill()
        self.popen.wait()

    def sleep(self) -> None:
        """It does nothing until it is woken."""
        self.popen.send_signal(signal.SIGSTOP)
        self.is_asleep = True

    def wake(self) -> None:
        """It goes on, and does not know that it slept."""
        self.popen.send_signal(signal.SIGCONT)
        self.is_asleep = False

    def leave(self) -> None:
        """It is told to leave."""
        assert self.popen.stdin is not None
        self.popen.stdin.close()

    def has_left(self) -> None:
        """Wait until it has."""
        if status := self.popen.wait(PATIENCE_S):
            raise Unsettled(f"member {self.name} ended with status {status}: {self.complained()}")

    def complained(self) -> str:
        """The end of what it printed."""
        return self.complaints.read_text(errors="replace")[-2000:]


class Run:
    """A scenario under way."""

    def __init__(self, broker: Broker, flavour: Flavour, scenario: Scenario, folder: Path, kind: Kind) -> None:
        self.broker, self.flavour, self.scenario, self.folder, self.kind = broker, flavour, scenario, folder, kind
        self.random = Random(scenario.seed)
        self.begun = time.monotonic()
        self.told: list[str] = []
        self.living: list[Process] = []
        self.started: list[Process] = []
        self.pauses: list[Pause] = []
        self.killed_at_ns: int | None = None
        self.source = Source(broker.bootstrap, Random(scenario.seed))

    def tell(self, what: str) -> None:
        """A line of what the run is told by, when it fails."""
        self.told.append(f"{time.monotonic() - self.begun:6.1f} s  {what}")

    def go(self) -> Story:
        """The whole scenario; and in the end everybody leaves, the broker is killed, and the group comes back."""
        self.tell(f"{self.flavour}, {self.scenario}")
        self.create_topic()
        self.source.start()
        for _ in range(self.scenario.first):
            self.join()
        self.settle()
        for step in self.scenario.steps:
            self.take(step)
        self.everybody_leaves()
        self.kill_the_broker()
        self.come_back()
        self.source.stop()
        self.settle()
        self.everybody_leaves()
        journals = [one.journal for one in self.started]
        forgets_from_ns = self.killed_at_ns if self.kind.forgets else None
        ends, committed = dict(self.source.ends), self.committed()
        return Story(in_order(journals), self.pauses, ends, committed, self.flavour.is_cooperative, forgets_from_ns)

    def take(self, step: tuple[Happening, ...]) -> None:
        """One step, and the group is stable again."""
        self.tell(f"step: {' + '.join(one.name for one in step)}")
        if set(step) == {scenarios.RETURN}:
            self.pauses[-1] = replace(self.pauses[-1], is_unnoticed=True)
        does = {
            scenarios.JOIN: self.join,
            scenarios.LEAVE: self.leave,
            scenarios.KILL: self.kill,
            scenarios.PAUSE: self.pause,
            scenarios.RETURN: self.return_,
            scenarios.BROKER: self.kill_the_broker,
        }
        for happening in step:
            does[happening]()
        self.settle()
        for process in self.living:
            if process.is_asleep:
                self.tell(f"{process.name} wakes")
                process.wake()
                self.settle()

    # What happens

    def start(self, name: str) -> None:
        """A process of a member."""
        process = Process(name, self.flavour, self.broker.bootstrap, self.folder)
        self.living.append(process)
        self.started.append(process)

    def join(self) -> None:
        """A new member."""
        number = len({member_of(one.name) for one in self.started})
        self.tell(f"{number}.0 joins")
        self.start(f"{number}.0")

    def any_awake(self, what: str) -> Process:
        """The one that it happens to."""
        process = self.random.choice([one for one in self.living if not one.is_asleep])
        self.tell(f"{process.name} {what}")
        return process

    def leave(self) -> None:
        """A member leaves in good order."""
        process = self.any_awake("leaves")
        self.living.remove(process)
        process.leave()
        process.has_left()

    def kill(self) -> None:
        """A member is gone without a word."""
        process = self.any_awake("is killed")
        self.living.remove(process)
        process.kill()

    def pause(self) -> None:
        """A member sleeps; `take` wakes it."""
        if self.flavour.is_misled_by_sleepers:
            self.tell("nobody sleeps, since the client's assignor is misled by it")
            return
        self.any_awake("sleeps").sleep()

    def return_(self) -> None:
        """A static member is killed, and comes back."""
        process = self.any_awake("is killed, and comes back")
        self.living.remove(process)
        process.kill()
        number, times = process.name.split(".")
        self.start(f"{number}.{int(times) + 1}")

    def kill_the_broker(self) -> None:
        """For a moment there is none."""
        if not self.kind.keeps:
            self.tell("the broker is not killed, since it keeps nothing")
            return
        down_s = self.random.uniform(0, DOWN_S_MAX)
        self.tell(f"the broker is killed, for {down_s:.1f} s")
        self.broker.kill()
        self.killed_at_ns = self.killed_at_ns or time.monotonic_ns()
        time.sleep(down_s)
        self.broker.launch()

    def everybody_leaves(self) -> None:
        """All at once."""
        self.tell("everybody leaves")
        leaving, self.living = self.living, []
        for process in leaving:
            process.leave()
        for process in leaving:
            process.has_left()

    def come_back(self) -> None:
        """One member, which has it all; or, since those are members still, the static ones that were there."""
        names = sorted(self.pauses[-1].members)
        if not self.flavour.is_static:
            self.join()
        for name in names if self.flavour.is_static else ():
            number, times = name.split(".")
            self.tell(f"{name} comes back")
            self.start(f"{number}.{int(times) + 1}")
        self.settle()

    # What is seen

    def settle(self) -> None:
        """Wait until all partitions are shared by all who are awake, in one generation, and what was written by now is committed."""
        wanted, give_up = dict(self.source.ends), time.monotonic() + PATIENCE_S
        awake = [one for one in self.living if not one.is_asleep]
        while why := self.unsettled(awake, wanted):
            for process in awake:
                if process.popen.poll() is not None:
                    raise Unsettled(f"member {process.name} ended with status {process.popen.returncode}: {process.complained()}")
            if time.monotonic() > give_up:
                raise Unsettled(f"{why}\n{self.last_words(awake)}")
            time.sleep(LOOK_S)
        self.pauses.append(Pause(time.monotonic_ns(), frozenset(one.name for one in awake)))
        self.tell("stable: " + ", ".join(f"{one.name} has {sorted(owned(one.journal.entries))}" for one in awake))

    def unsettled(self, awake: list[Process], wanted: Mapping[int, int]) -> str:
        """Why the group is not stable yet, "" if it is."""
        entries = {one.name: one.journal.read() for one in awake}
        generations = {name: last_generation(of_one) for name, of_one in entries.items()}
        shares = {name: sorted(owned(of_one)) for name, of_one in entries.items()}
        if len(set(generations.values())) > 1 or -1 in generations.values():
            return f"the generations are {generations}"
        if sorted(one for share in shares.values() for one in share) != list(range(PARTITIONS)):
            return f"the shares are {shares}"
        reached: dict[int, int] = defaultdict(int)
        for process in self.started:
            for one in process.journal.read():
                for partition, offset in one.offsets.items() if one.event == COMMITTED else ():
                    reached[partition] = max(reached[partition], offset)
        behind = {partition: (reached[partition], end) for partition, end in wanted.items() if reached[partition] < end}
        return f"committed, and to be committed: {behind}" if behind else ""

    def last_words(self, awake: list[Process]) -> str:
        """The ends of the journals of those who are awake, and of what they printed."""
        words = []
        for process in awake:
            words += [f"member {process.name}:", *(f"    {one}" for one in process.journal.entries[-5:]), process.complained()]
        return "\n".join(words)

    def create_topic(self) -> None:
        """The topic that is read."""
        admin = AdminClient({"bootstrap.servers": self.broker.bootstrap})
        (created,) = admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)]).values()
        created.result(PATIENCE_S)

    def committed(self) -> dict[int, int]:
        """The group's offsets, as the broker tells them."""
        consumer = Consumer({"bootstrap.servers": self.broker.bootstrap, "group.id": GROUP})
        try:
            told = consumer.committed([TopicPartition(TOPIC, partition) for partition in range(PARTITIONS)], PATIENCE_S)
        finally:
            consumer.close()
        if errors := [one.error for one in told if one.error]:
            raise KafkaException(errors[0])
        return {one.partition: max(one.offset, 0) for one in told}


@contextmanager
def run(broker: Broker, flavour: Flavour, scenario: Scenario, folder: Path, kind: Kind) -> Iterator[Run]:
    """A run, none of whose processes outlives it."""
    made = Run(broker, flavour, scenario, folder, kind)
    try:
        yield made
    finally:
        for process in made.started:
            process.kill()
        made.source.ending.set()
