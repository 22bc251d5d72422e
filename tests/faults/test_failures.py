"""The disk fails: nothing that was answered is lost, who writes is told, who reads is served, and a restart ends it."""

from __future__ import annotations

from collections.abc import Iterator
from errno import EIO
from pathlib import Path
from typing import Any

import pytest
from differential.encode import Item, encoded
from differential.targets import answer_of, request_frame

from faults.check import asked, read_log
from faults.disk import Disk, Failure, Sync, is_of
from faults.run import CLUSTER, NOON_MS, produce_request
from fiducial.fastpath.node import Hangup, Node, Send
from fiducial.models import messages as m
from fiducial.models.errors import Error
from fiducial.models.settings import parse

PRODUCE, CREATE_TOPICS = 0, 19


class Broker:
    """One on a disk that can fail, with topics that are forced to the disk before every answer, and one that is not."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.disk = Disk(folder)
        self.node = Node(folder, CLUSTER, parse({}), 1, NOON_MS, simulation=self.disk)

    def create(self, name: str, **config: str) -> None:
        """A topic of one partition; configuration names with _ for dots."""
        configs = tuple(m.CreatableTopicConfig(key.replace("_", "."), text) for key, text in config.items())
        answer = asked(self.node, CREATE_TOPICS, 7, m.CreateTopicsRequest((m.CreatableTopic(name, 1, 1, configs=configs),), 60_000, False), NOON_MS)
        assert answer.topics[0].error_code == 0

    def produce(self, name: str, *, producer: tuple[int, int, int] = (-1, -1, -1)) -> Error | None:
        """What one record gets; None if its connection ends."""
        frame = request_frame(PRODUCE, 12, produce_request(name, 0, encoded([Item(NOON_MS)], producer=producer)))
        (action,) = self.node.frame(1, bytearray(frame), NOON_MS)
        if isinstance(action, Hangup):
            return None
        assert isinstance(action, Send)
        answer: Any = answer_of(action.data[4:], PRODUCE, 12)
        return Error(answer.responses[0].partition_responses[0].error_code)

    def end(self, name: str) -> int:
        """The log end."""
        return self.node.core.marks(self.node.broker.topics.by_name[name].topic_id, 0)[0][2]

    def restart(self) -> None:
        """A crash, a disk that is sound, a start."""
        self.node.close()
        self.disk.fault = None
        self.node = Node(self.folder, CLUSTER, parse({}), 1, NOON_MS, simulation=self.disk)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    made = Broker(tmp_path / "data")
    made.create("safe", flush_messages="1")
    made.create("quick")
    yield made
    made.node.close()


@pytest.mark.rule("LOG-RESTART-12")
def test_after_a_failed_sync_nothing_is_written_and_reads_go_on(broker: Broker) -> None:
    assert broker.produce("safe") == broker.produce("quick") == Error.NONE
    broker.disk.fault = is_of(Sync, Failure(EIO))
    assert broker.produce("safe") is None
    broker.disk.fault = None
    done = list(broker.disk.operations)
    assert broker.produce("safe") == broker.produce("quick") == Error.KAFKA_STORAGE_ERROR
    assert broker.disk.operations == done
    assert len(read_log(broker.node, "safe", 0, 0, 1, NOON_MS)) == len(read_log(broker.node, "quick", 0, 0, 1, NOON_MS)) > 0
    broker.restart()
    assert broker.produce("safe") == broker.produce("quick") == Error.NONE
    assert broker.end("quick") == 2 and broker.end("safe") in (2, 3)
