"""All that a broker's partitions did, told to the model, and all that its clients were told, held against it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from fiducial.fastpath.core import Core
from threads.replay import Parted, Replay, Transition
from threads.traffic import Judge, Key, Topic


class Witness:
    """Of the partitions of some topics."""

    def __init__(self, core: Core, folder: Path, topics: list[Topic]) -> None:
        self.core, self.folder, self.topics = core, folder, topics
        self.replays: dict[Key, Replay] = {}
        self.judge = Judge()

    @property
    def kinds(self) -> Counter[str]:
        """What happened, how often."""
        return sum((replay.kinds for replay in self.replays.values()), Counter[str]())

    def replay(self) -> None:
        """What happened since the last time is told to the model. Parted if it would have come otherwise."""
        for topic in self.topics:
            for index in range(topic.partitions):
                key = topic.topic_id, index
                transitions = [Transition(*one) for one in self.core.recorded(*key)]
                if not transitions:
                    continue
                self.judge.take(key, transitions)
                replay = self.replays.setdefault(key, Replay())
                try:
                    replay.take(transitions, self.core.configurations(*key))
                except Parted as parted:
                    raise Parted(f"{topic.name}-{index}: {parted}") from None

    def check(self) -> None:
        """What clients were told is what happened, and what is there now is what the model has."""
        self.judge.check(self.replays)
        here = set(self.core.partitions())
        for topic in self.topics:
            for index in range(topic.partitions):
                key = topic.topic_id, index
                if key in here:
                    self.replays[key].check_state(self.core, *key, self.folder / f"{topic.name}-{index}")
