"""Many requests in one turn come to the same as one by one."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fastpath.folders import NOW, Ours, create, produce, talk
from fiducial.conformance.batches import Item, build
from fiducial.conformance.exploration.steps import answer_of, request_frame
from fiducial.fastpath.core import Core
from fiducial.fastpath.node import Action, Hangup, Send
from fiducial.models import messages as m
from fiducial.models.log import LogConfig
from fiducial.models.settings import parse
from fiducial.models.state import Cluster

PRODUCE, FETCH, LIST_OFFSETS, METADATA = 0, 1, 2, 3
#: Produced to, at once safe, and to be safe before anybody hears of it.
PLAIN, SAFE = "plain", "safe"


def behind_its_length(frame: bytes) -> bytes:
    """As it comes from a socket."""
    return struct.pack(">i", len(frame)) + frame


def produced(topic: str, *, acks: int = -1, sequence: int = -1) -> bytes:
    """A Produce request of three records; with a sequence, of an idempotent producer."""
    data: Any = build([Item(NOW)] * 3, producer=(-1, -1, -1) if sequence < 0 else (7, 0, sequence))
    return request_frame(PRODUCE, 12, m.ProduceRequest(None, acks, 10_000, (m.TopicProduceData(topic, partition_data=(m.PartitionProduceData(0, data),)),)))


def fetched(topic: str, offset: int, max_wait_ms: int = 0) -> bytes:
    """A Fetch request."""
    wanted = m.FetchTopic(topic, partitions=(m.FetchPartition(0, fetch_offset=offset, partition_max_bytes=1 << 20),))
    return request_frame(FETCH, 12, m.FetchRequest(max_wait_ms=max_wait_ms, min_bytes=1, session_epoch=-1, topics=(wanted,)))


def latest(topic: str) -> bytes:
    """A ListOffsets request."""
    wanted = m.ListOffsetsTopic(topic, (m.ListOffsetsPartition(0, timestamp=-1),))
    return request_frame(LIST_OFFSETS, 7, m.ListOffsetsRequest(-1, 0, (wanted,)))


def described() -> bytes:
    """A request that the control plane answers."""
    return request_frame(METADATA, 12, m.MetadataRequest((m.MetadataRequestTopic(name=PLAIN),), allow_auto_topic_creation=False))


STORIES = {
    "appends to one partition": [produced(PLAIN)] * 5,
    "appends that are to be safe": [produced(SAFE)] * 5,
    "what was appended is read": [produced(SAFE), produced(SAFE), fetched(SAFE, 0), produced(SAFE), latest(SAFE), latest(PLAIN)],
    "a resend": [produced(SAFE, sequence=0), produced(SAFE, sequence=0), produced(SAFE, sequence=9), produced(SAFE, sequence=3)],
    "no answer between others": [produced(SAFE), produced(SAFE, acks=0), produced(PLAIN, acks=0), latest(SAFE), produced(PLAIN, acks=0)],
    "the control plane between": [produced(SAFE), produced(SAFE), described(), described(), produced(SAFE), latest(SAFE)],
    "a fetch that waits for the last append": [produced(PLAIN), produced(SAFE), fetched(PLAIN, 3, max_wait_ms=1000)],
    "a refusal without acks ends it": [produced(SAFE), produced(PLAIN), produced("absent", acks=0), latest(SAFE)],
    "what is malformed ends it": [produced(PLAIN), produced(SAFE), produced(PLAIN)[:30], latest(SAFE)],
}


class Client:
    """What one connection gets."""

    def __init__(self, path: Path) -> None:
        self.broker = Ours(path)
        create(self.broker, PLAIN)
        create(self.broker, SAFE, flush_messages="1")
        self.answers = b""
        self.is_waiting = self.has_ended = False

    def take(self, taken: int, waits: bool, actions: Sequence[Action]) -> int:
        """What came of some frames."""
        self.is_waiting = waits
        for action in actions:
            assert action.connection == 1 and not self.has_ended
            if isinstance(action, Send):
                self.answers += action.data
                assert not action.rest
            else:
                self.has_ended = True
        return taken

    def marks(self, topic: str) -> object:
        """Log start, high watermark, log end, size, epochs."""
        return self.broker.node.core.marks(self.broker.node.broker.topics.by_name[topic].topic_id, 0)

    def one_by_one(self, frames: Sequence[bytes]) -> None:
        """Each frame by itself, until one waits or the connection ends."""
        for frame in frames:
            if not self.is_waiting and not self.has_ended:
                self.take(*self.broker.node.frames(1, bytearray(behind_its_length(frame)), NOW))

    def at_once(self, frames: Sequence[bytes]) -> int:
        """All of them as they lie in a buffer; in how many turns."""
        left, turns = bytearray(b"".join(map(behind_its_length, frames))), 0
        while left and not self.is_waiting and not self.has_ended:
            del left[: self.take(*self.broker.node.frames(1, left, NOW))]
            turns += 1
        return turns


@pytest.mark.parametrize("frames", STORIES.values(), ids=list(STORIES))
def test_frames_at_once_are_answered_as_one_by_one(frames: Sequence[bytes], tmp_path: Path) -> None:
    slow, quick = Client(tmp_path / "slow"), Client(tmp_path / "quick")
    with slow.broker, quick.broker:
        slow.one_by_one(frames)
        assert quick.at_once(frames) < len(frames)
        assert quick.answers == slow.answers
        assert (quick.is_waiting, quick.has_ended) == (slow.is_waiting, slow.has_ended)
        for topic in (PLAIN, SAFE):
            assert quick.marks(topic) == slow.marks(topic)


@pytest.mark.parametrize("topic", [PLAIN, SAFE])
def test_who_waits_sees_what_was_appended_in_a_row_together(topic: str, tmp_path: Path) -> None:
    client = Client(tmp_path)
    with client.broker as broker:
        broker.node.frames(2, bytearray(behind_its_length(fetched(topic, 0, max_wait_ms=1000))), NOW)
        frames = b"".join(map(behind_its_length, [produced(topic), produced(topic), latest(topic)]))
        (woken,) = [action for action in broker.node.frames(1, bytearray(frames), NOW)[2] if action.connection == 2]
        assert isinstance(woken, Send)
        ((found,),) = (one.partitions for one in answer_of(woken.data[4:], FETCH, 12).responses)
        assert found.high_watermark == 6


@pytest.mark.rule("LOG-PRODUCE-7")
def test_a_topic_that_is_named_again_is_answered_where_it_was_first_named(tmp_path: Path) -> None:
    data: Any = build([Item(NOW)])
    named = ((PLAIN, 5), (SAFE, 6), (PLAIN, 0), (PLAIN, 5))
    topics = tuple(m.TopicProduceData(topic, partition_data=(m.PartitionProduceData(index, data),)) for topic, index in named)
    client = Client(tmp_path)
    with client.broker as broker:
        answer = talk(broker, m.ProduceRequest(None, -1, 10_000, topics))
    assert [(topic.name, [one.index for one in topic.partition_responses]) for topic in answer.responses] == [(PLAIN, [5, 0]), (SAFE, [6])]


def test_a_turn_ends_when_much_is_answered(tmp_path: Path) -> None:
    client = Client(tmp_path)
    with client.broker as broker:
        produce(broker, PLAIN, build([Item(NOW, content=bytes(200_000))]))
        frame = behind_its_length(fetched(PLAIN, 0))
        taken, waits, actions = broker.node.frames(1, bytearray(frame * 8), NOW)
        assert (taken, waits) == (2 * len(frame), False)
        assert sum(len(action.data) for action in actions if isinstance(action, Send)) > 400_000


def test_a_frame_whose_size_is_refused_is_left(tmp_path: Path) -> None:
    client = Client(tmp_path)
    with client.broker as broker:
        good = behind_its_length(latest(PLAIN))
        for bad in (struct.pack(">i", 0), struct.pack(">i", -1), struct.pack(">i", 2**31 - 1) + bytes(100)):
            taken, _, actions = broker.node.frames(1, bytearray(good + bad), NOW)
            assert taken == len(good)
            assert not any(isinstance(action, Hangup) for action in actions)


@pytest.mark.rule("WIRE-META-16")
def test_who_fetches_is_told_the_address_of_the_listener_by_which_it_came(tmp_path: Path) -> None:
    cluster = Cluster("fiducialfiducialfiduci", 1, "inside", 9092, others=(("outside.example", 19092), ("far", 1)))
    core = Core(str(tmp_path), cluster, parse({}))
    topic_id = bytes(range(16))
    core.name_topic(topic_id, PLAIN)
    core.create(topic_id, 0, PLAIN, LogConfig(), 1, NOW)
    wanted = m.FetchTopic(topic_id=topic_id, partitions=(m.FetchPartition(0, current_leader_epoch=0),))  # an epoch that is over
    frame = request_frame(FETCH, 16, m.FetchRequest(session_epoch=-1, topics=(wanted,)))
    for listener, endpoint in ((0, ("inside", 9092)), (2, ("far", 1)), (1, ("outside.example", 19092))):
        core.handle(1, bytearray(behind_its_length(frame)), NOW, listener)
        ((_, data, _),) = core.answers()
        (told,) = answer_of((data or b"")[4:], FETCH, 16).node_endpoints
        assert (told.host, told.port) == endpoint
    core.close()
