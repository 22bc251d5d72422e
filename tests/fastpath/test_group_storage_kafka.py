"""Groups and offsets go to Apache Kafka in the folders of `__consumer_offsets`, and come back: each broker says of them what the other said.

One story is told once, and each test looks at a part of it. Two companies have groups of their own, in partitions of their own:

    Kafka, first run      has the one company; is stopped
    ours                  has the other one, and writes a log anew that has become long; its folder is copied while we run; is stopped
    ours                  opens the folders of Kafka's company, which goes on; is stopped
    Kafka, second run     has it back, and the company of ours, which goes on; is killed
    ours                  opens what the killed Kafka left
    Kafka, third run      recovers the company of ours as it was copied while we ran
"""

from __future__ import annotations

import re
import shutil
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from conftest import not_run
from peers.kafka import Kafka, PeerUnavailable
from raw_client import RawClient

from fastpath.folders import (
    Broker,
    Connected,
    await_leaders,
    copied,
    create,
    log_starts,
    moved_in,
    stored,
    with_log_starts,
)
from fastpath.group_folders import (
    OFFSETS,
    PARTITIONS,
    PARTS,
    TOPIC,
    Company,
    Line,
    Lines,
    ask,
    await_coordinators,
    names,
    partitions_of,
    seen,
    started,
)
from fiducial.fastpath.batch import EncodedBatch, batches
from fiducial.fastpath.data import CLEAN
from fiducial.models import messages as m
from fiducial.models.group_requests import partition_of

Said = dict[str, tuple[Any, ...]]
KAFKA_S, OURS = names(), names(odd=True)
NEWER = next(name for number in count() if partition_of(name := f"newer-{number}", PARTITIONS) in partitions_of(KAFKA_S))
COMPLAINT = re.compile(r"\b(WARN|ERROR|FATAL)\b")


def moved(folder: Path, into: Path, indexes: Iterable[int]) -> None:
    """These partitions, from one data folder into another, with their log starts."""
    starts = log_starts(folder)
    for index in indexes:
        moved_in(folder / f"{OFFSETS}-{index}", into / f"{OFFSETS}-{index}")
        with_log_starts(into, {(OFFSETS, index): starts.get((OFFSETS, index), 0)})


def prepared(path: Path, now: int) -> Path:
    """A data folder of ours that knows both topics, for others to put their files into."""
    with started(path, now) as ours:
        create(ours, TOPIC, 2)
        await_coordinators(Lines(ours).open())
    return path


@contextmanager
def running(kafka: Kafka) -> Iterator[Any]:
    """Apache Kafka on its folder as it is, once it coordinates; what opens lines to it. How it is stopped is left to the block."""
    kafka.launch()
    lines: list[RawClient] = []

    def opened() -> RawClient:
        lines.append(RawClient(kafka.host, kafka.port))
        return lines[-1]

    await_coordinators(opened())
    yield opened
    for line in lines:
        line.close()


def come(company: Company) -> Said:
    """All of them come; and what is said of them that is written down."""
    said: Said = {}
    for is_written in company.comes():
        said = seen(company.line, company.groups) if is_written else said
    return said


def joins_newer(line: Line) -> None:
    """A member comes to a group of the newer protocol (KIP-848), the records of which are of other kinds: a ConsumerGroupHeartbeat, version 1."""
    group_id, member_id, topic = (bytes([len(name) + 1]) + name.encode() for name in (NEWER, "m", TOPIC))
    header = struct.pack(">hhihb", 68, 1, 0, -1, 0)
    line.send(header + group_id + member_id + struct.pack(">ibbi", 0, 0, 0, 300_000) + b"\2" + topic + b"\0\0\1\0")
    answer = line.answer()
    assert answer is not None and struct.unpack_from(">h", answer, 9) == (0,), answer


def listed(line: Line) -> dict[str, str]:
    """The groups that there are, and of which type each is."""
    return {one.group_id: one.group_type for one in ask(line, m.ListGroupsRequest(), 5).groups}


def shapes(broker: Broker) -> dict[int, list[tuple[Any, ...]]]:
    """Partition → what its batches hold, but for times and ids, which are each broker's own. Kafka's have a base sequence, 0, though nobody sent them."""
    found = {}
    for index in range(PARTITIONS):
        found[index] = [
            (one.base_offset, one.attributes, one.leader_epoch, one.producer_id, one.producer_epoch, contents(one))
            for one in batches(stored(broker, OFFSETS, index))
        ]
    return found


def contents(batch: EncodedBatch) -> list[tuple[bytes | None, int | None, int]]:
    """Of each record its key, the length of its value, and how many headers it has."""
    return [(one.key, None if one.value is None else len(one.value), len(one.headers)) for one in batch.records()]


@dataclass
class Story:
    """What was said, by stage; which groups were listed; what the same requests wrote; and what Apache Kafka said for itself."""

    said: dict[str, Said] = field(default_factory=dict)
    listed: dict[str, dict[str, str]] = field(default_factory=dict)
    shapes: dict[str, dict[int, list[tuple[Any, ...]]]] = field(default_factory=dict)
    complaints: dict[str, list[str]] = field(default_factory=dict)


def told(kafka: Kafka, path: Path) -> Story:
    """The whole story, as the head of this file has it."""
    now, data, story = time.time_ns() // 1_000_000, kafka.data_path, Story()

    broker = Connected(kafka.host, kafka.port)
    create(broker, TOPIC, 2)
    await_leaders(broker, [(TOPIC, 0), (TOPIC, 1)])
    theirs = Company(lambda: RawClient(kafka.host, kafka.port), KAFKA_S)
    await_coordinators(theirs.line)
    story.said["Kafka's"] = come(theirs)
    story.shapes["Kafka's"] = shapes(broker)
    joins_newer(theirs.other)
    story.listed["Kafka's"] = listed(theirs.other)
    kafka.shut_down()

    with started(path / "same", now) as ours:
        create(ours, TOPIC, 2)
        await_coordinators(Lines(ours).open())
        come(Company(Lines(ours).open, KAFKA_S))
        story.shapes["ours"] = shapes(ours)

    with started(prepared(path / "ours", now), now) as ours:
        own = Company(Lines(ours).open, OURS)
        story.said["ours"] = come(own)
        ours.node.expiry(now)
        copied(path / "ours", path / "running")

    moved(data, prepared(path / "adopted", now), partitions_of(KAFKA_S))
    with started(path / "adopted", now) as ours:
        company = theirs.again(Lines(ours).open)
        story.said["Kafka's, by ours"] = seen(company.line, company.groups)
        story.listed["Kafka's, by ours"] = listed(company.line)
        company.goes_on()
        story.said["Kafka's, gone on"] = seen(company.line, company.groups)

    moved(path / "adopted", data, partitions_of(KAFKA_S))
    assert log_starts(path / "ours"), "a log was written anew"
    moved(path / "ours", data, partitions_of(OURS))
    with running(kafka) as opened:
        line = opened()
        story.said["Kafka's, gone on, by Kafka"] = seen(line, KAFKA_S)
        story.said["ours, by Kafka"] = seen(line, OURS)
        story.listed["both, by Kafka"] = listed(line)
        company = own.again(opened)
        company.goes_on()
        story.said["ours, gone on"] = seen(line, OURS)
        kafka.kill()
    story.complaints["after a clean stop"] = complaints(kafka)

    moved(data, prepared(path / "found", now), partitions_of(OURS))
    (path / "found" / CLEAN).unlink()
    with started(path / "found", now) as ours:
        story.said["ours, gone on, by ours"] = seen(Lines(ours).open(), OURS)

    moved(path / "running", data, partitions_of(OURS))
    with running(kafka) as opened:
        story.said["ours, crashed, by Kafka"] = seen(opened(), OURS)
        kafka.shut_down()
    story.complaints["after a crash"] = complaints(kafka)
    return story


def complaints(kafka: Kafka) -> list[str]:
    """What Apache Kafka said of offsets and groups that is more than information."""
    return [line for line in kafka.log_path.read_text().splitlines() if COMPLAINT.search(line) and ("oordinator" in line or OFFSETS in line)]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """The story. Nothing in it is so old that anybody would forget it."""
    path = tmp_path_factory.mktemp("groups")
    try:
        with Kafka(**{"offsets.topic.num.partitions": str(PARTITIONS)}) as kafka:
            yield told(kafka, path)
    except PeerUnavailable as reason:
        not_run(f"Apache Kafka: {reason}")
    finally:
        shutil.rmtree(path)


SAME = [
    ("Kafka's", "Kafka's, by ours"),
    ("Kafka's, gone on", "Kafka's, gone on, by Kafka"),
    ("ours", "ours, by Kafka"),
    ("ours, gone on", "ours, gone on, by ours"),
    ("ours", "ours, crashed, by Kafka"),
]


@pytest.mark.rule("GROUP-RECORD-2", "GROUP-RECORD-4", "GROUP-RECORD-7", "GROUP-RECORD-8", "GROUP-RECORD-9")
@pytest.mark.parametrize(("written", "read"), SAME)
def test_one_broker_has_the_groups_and_offsets_that_the_other_wrote(story: Story, written: str, read: str) -> None:
    assert story.said[read] == story.said[written]


@pytest.mark.rule("GROUP-RECORD-10")
def test_a_group_of_the_newer_protocol_is_passed_over_and_stays(story: Story) -> None:
    before, here, back = (story.listed[stage] for stage in ("Kafka's", "Kafka's, by ours", "both, by Kafka"))
    assert before.pop(NEWER) == back.pop(NEWER) == "consumer"
    assert here == before and set(back) == set(before) | {OURS[part] for part in PARTS if part != "gone"}


def test_both_companies_did_the_same(story: Story) -> None:
    """All that is said but for the names and ids: so nothing of the above is true because it is empty."""
    described = [[story.said[stage][part][1][:3] for part in PARTS] for stage in ("Kafka's", "ours")]
    offsets = [[story.said[stage][part][2] for part in PARTS] for stage in ("Kafka's", "ours")]
    assert described[0] == described[1] and offsets[0] == offsets[1]
    assert [len(one) for one in offsets[0]] == [2, 1, 1, 1, 0]
    assert story.said["ours"] != story.said["ours, gone on"]


@pytest.mark.rule("GROUP-RECORD-3", "GROUP-RECORD-7")
def test_the_same_requests_write_the_same_batches(story: Story) -> None:
    assert story.shapes["ours"] == story.shapes["Kafka's"]
    assert sum(map(len, story.shapes["ours"].values())) > 270


@pytest.mark.parametrize("stop", ["after a clean stop", "after a crash"])
def test_apache_kafka_loads_our_groups_without_a_word(story: Story, stop: str) -> None:
    assert not story.complaints[stop]


@pytest.mark.rule("GROUP-RECORD-13")
def test_apache_kafka_finds_groups_where_they_lie_since_there_are_more_partitions(tmp_path: Path) -> None:
    now, more = time.time_ns() // 1_000_000, PARTITIONS + 3
    with started(tmp_path / "ours", now) as ours:
        create(ours, TOPIC, 2)
        company = Company(Lines(ours).open, OURS)
        await_coordinators(company.line)
        said = come(company)
        grown = m.CreatePartitionsRequest((m.CreatePartitionsTopic(OFFSETS, more, None),), 60_000)
        assert ask(company.other, grown, 3).results[0].error_code == 0
    try:
        with Kafka(**{"offsets.topic.num.partitions": str(more)}) as kafka:
            create(Connected(kafka.host, kafka.port), TOPIC, 2)
            await_coordinators(RawClient(kafka.host, kafka.port))
            kafka.shut_down()
            moved(tmp_path / "ours", kafka.data_path, range(more))
            with running(kafka) as opened:
                assert seen(opened(), OURS) == said
    except PeerUnavailable as reason:
        not_run(f"Apache Kafka: {reason}")
