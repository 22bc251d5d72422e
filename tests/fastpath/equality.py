"""Histories of the history machine asked of the twins, until one ends in a difference; that is shrunk to a short story.

`python -m fastpath.equality STEPS`: what came of so many steps, as JSON. Planted faults are looked for so, each in a process of its own.
"""

from __future__ import annotations

import itertools
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fiducial.fastpath.core
from fastpath.twins import HOUSEKEEPING_MS, NOON_MS, REQUEST_MS, TwinPair, Twins
from fiducial.conformance.exploration import shrinking
from fiducial.conformance.exploration.histories import AGES, EPHEMERAL, HOUR_MS, Histories, named
from fiducial.conformance.exploration.pairs import Story, World, run
from fiducial.conformance.exploration.steps import Restarts, Step, TimePasses
from fiducial.conformance.symbols import Ago, IdOf, Record, Records
from fiducial.models import messages as m
from fiducial.models.config_requests import Operation
from fiducial.models.values import changed

STEPS_PER_HISTORY = 500
#: So often a shorter story is tried.
TRIES = 100
#: What a fetch may be content with, in bytes.
LIMITS = (2000, 500, 150, 1, 0, -1)
#: Memory, where there is a file system in it: the files of a history are many and small.
SHARED_MEMORY = Path("/dev/shm")


@contextmanager
def folders() -> Iterator[Iterator[Path]]:
    """New data folders, one after another; gone in the end."""
    root = Path(tempfile.mkdtemp(dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None))
    try:
        yield (root / str(number) for number in itertools.count())
    finally:
        shutil.rmtree(root)


class TwinHistories(Histories):
    """Histories with what Apache Kafka is spared; and that see, where others guess, up to where the logs of the twins reach."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, keeps_house=True)
        self.passed_ms = 0  # since the history began, by the twins' clock; a guess
        self.twins: Twins | None = None  # that are asked the steps, once there are some

    def next_step(self) -> Step:
        """Made when the one before it has been asked."""
        self.look()
        return super().next_step()

    def look(self) -> None:
        """Where the logs begin and end: whoever guesses counts what was refused too, and then hardly a fetch waits, since its offset is out of range."""
        assert self.twins is not None
        told = {name: topic for topic, name in self.twins.view.names.items()}
        broker = self.twins.reference.broker
        logs = {(told.get(broker.topics.by_id[key[0]], broker.topics.by_id[key[0]]), key[1]): here.log for key, here in broker.partitions.items()}
        self.starts, self.ends = {where: log.start for where, log in logs.items()}, {where: log.high_watermark for where, log in logs.items()}

    def steps(self, count: int) -> Iterator[Step]:
        """The broker stops and starts again, now and then; somebody may be waiting. Who waits where records are deleted still waits when others come."""
        for step in super().steps(count):
            if self.happens(0.01):
                waiting = self.patient(self.some(tuple(self.world.topics)), 0, 100_000) if self.happens(0.2) else None
                yield Step(Restarts(self.happens(0.5)), waiting=waiting)
            yield step
            if step.waiting is not None and isinstance(step.body, m.DeleteRecordsRequest):
                deleted = [(str(topic.name), part.partition_index) for topic in step.body.topics for part in topic.partitions]
                yield changed(self.appending(deleted), waiting=step.waiting)
            self.passed_ms += HOUSEKEEPING_MS - self.passed_ms % HOUSEKEEPING_MS if isinstance(step.body, TimePasses) else REQUEST_MS

    def item(self, name: str) -> Record:
        """Some records are as old or as new as they may be, or would begin a segment if they were one ms later."""
        record, now = super().item(name), self.passed_ms + REQUEST_MS
        edges = {"tight": (600_000 - now, -600_000 - now), "hourly": (AGES[0], AGES[0] - HOUR_MS)}.get(name, ())
        return changed(record, timestamp=Ago(self.some(edges))) if edges and self.happens(0.3) else record

    def records(self, name: str, index: int, is_plain: bool) -> Records:
        """Of a partition named twice, too, they are what they are."""
        return super().records(name, index, is_plain=False)

    def waiting(self) -> Step:
        """A topic that goes may be waited for, and so may records that go, or come."""
        kind = self.pick({"": 40, "topic": 15, "deletion": 20, "append": 25})
        name, index = self.some(tuple(self.ends) or (("plain", 0),))
        match kind:
            case "topic":
                name = self.some(EPHEMERAL)
                gone = m.DeleteTopicsRequest((m.DeleteTopicState(named(name)),), timeout_ms=30_000)
                return changed(self.step(gone, 6), waiting=self.patient(name, 0, 1))
            case "deletion":
                below = m.DeleteRecordsTopic(named(name), (m.DeleteRecordsPartition(index, -1),))
                first = self.patient(name, index, 100_000, self.starts.get((name, index)))
                return changed(self.step(m.DeleteRecordsRequest((below,), 30_000)), waiting=first)
            case "append":
                return changed(self.appending([(name, index)]), waiting=self.patient(name, index, self.some((1, 200))))
            case _:
                return super().waiting()

    def appending(self, partitions: list[tuple[str, int]]) -> Step:
        """Records for each of these."""
        entries: list[tuple[str, int, Any]] = [(name, index, self.records(name, index, is_plain=False)) for name, index in partitions]
        grouped = self.grouped([(name, m.PartitionProduceData(index, records)) for name, index, records in entries])
        data = tuple(m.TopicProduceData(named(name), self.id_of(name), those) for name, those in grouped)
        return self.step(m.ProduceRequest(None, -1, 1000, data))

    def retention(self) -> Iterator[Step]:
        """Somebody may wait for more than there is where something goes."""
        for step in super().retention():
            if isinstance(step.body, m.IncrementalAlterConfigsRequest):
                name = step.body.resources[0].resource_name
            is_waited_for = isinstance(step.body, TimePasses) and self.happens(0.5)
            yield changed(step, waiting=self.patient(str(name), self.index(), 100_000)) if is_waited_for else step

    def retaining(self, name: str, key: str, what: Operation, text: str) -> Step:
        """Where retention is to look at hours, the oldest segment is exactly as old as it may be."""
        return super().retaining(name, key, what, str(self.oldest_ms(name)) if (key, text) == ("retention.ms", str(HOUR_MS)) else text)

    def oldest_ms(self, name: str) -> int:
        """How old the first segment of a topic's first partition will be when retention looks next; an hour, if there is none, or it is of the future."""
        assert self.twins is not None
        looks_ms = self.twins.now + HOUSEKEEPING_MS - (self.twins.now - NOON_MS) % HOUSEKEEPING_MS
        for key in self.twins.node.core.partitions():
            if self.twins.name_of(key) == (self.twins.view.names.get(name, name), 0):
                oldest = self.twins.node.core.segments(*key)[0]
                age_ms = looks_ms - (oldest["max_timestamp"] if oldest["max_timestamp"] >= 0 else oldest["modified_ms"])
                return age_ms if age_ms >= 0 else HOUR_MS
        return HOUR_MS

    def patient(self, name: str, index: int, min_bytes: int, offset: int | None = None) -> Step:
        """A fetch that waits, often at the end of the log."""
        offset = self.some((self.ends.get((name, index), 0), self.offset((name, index)))) if offset is None else offset
        wanted = m.FetchPartition(index, fetch_offset=offset, partition_max_bytes=1 << 20)
        topic_id: Any = IdOf(name)
        return self.step(m.FetchRequest(max_wait_ms=60_000, min_bytes=min_bytes, topics=(m.FetchTopic(named(name), topic_id, (wanted,)),)))

    def fetch_of(self, *what: Any) -> m.FetchRequest:
        """Any limit may cut what is compressed too."""
        body = super().fetch_of(*what)
        return changed(body, max_bytes=self.some(LIMITS)) if self.happens(0.15) else body

    def wanted(self, *what: Any) -> m.FetchPartition:
        """The same for one partition."""
        asked = super().wanted(*what)
        return changed(asked, partition_max_bytes=self.some(LIMITS)) if self.happens(0.15) else asked


def history(seed: int) -> tuple[int, Story | None]:
    """One history, from its seed: the steps that were taken, and the story of the first difference."""
    machine = TwinHistories(seed)
    with folders() as fresh:
        pair = TwinPair(Twins(next(fresh)), machine.world)
        machine.twins = pair.twins
        story = run(pair, machine.steps(STEPS_PER_HISTORY))
        pair.twins.close()
        return pair.twins.steps, story


def shrunk(story: Story, tries: int = TRIES) -> Story:
    """The shortest story that ends in the same difference, or the shortest found in so many tries."""
    with folders() as fresh:

        def again(world: World) -> Any:
            return TwinPair(Twins(next(fresh)), world)

        return shrinking.shrunk(story, again, tries)


def main(steps_max: int) -> None:
    """One history after the other until one ends in a difference, or until so many steps were taken."""
    taken = 0
    for seed in itertools.count(1):
        steps, story = history(seed)
        taken += steps
        if story is not None:
            story = shrunk(story)
        if story is not None or taken >= steps_max:
            told = None if story is None else {"steps": len(story.steps), "text": str(story)}
            print(json.dumps({"core": fiducial.fastpath.core.__file__, "seed": seed, "steps": taken, "story": told}))
            return


if __name__ == "__main__":
    main(int(sys.argv[1]))
