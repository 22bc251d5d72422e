"""Groups and their offsets outlive the broker: a start finds what was written down, whenever it was stopped and wherever the last write was torn."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import pytest

from fastpath.folders import NOW, copied, create, files_of, log_starts
from fastpath.group_folders import (
    OFFSETS,
    PARTITIONS,
    TOPIC,
    Company,
    Line,
    Lines,
    ask,
    await_coordinators,
    names,
    seen,
    started,
)
from fiducial.fastpath.batch import batches, encode
from fiducial.fastpath.node import Node, Progress
from fiducial.models import group_records
from fiducial.models import messages as m
from fiducial.models.errors import Error
from fiducial.models.group_records import decoded
from fiducial.models.group_requests import Groups, evolve, partition_of
from fiducial.models.settings import parse
from fiducial.models.state import Cluster


@dataclass
class Moment:
    """The folder of a running broker, and what it says that is written down."""

    folder: Path
    said: dict[str, tuple[Any, ...]]


@dataclass
class Story:
    """A company, moment by moment, and the folder as it is when the broker has stopped."""

    company: Company
    stopped: Path
    moments: list[Moment] = field(default_factory=list)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """The story."""
    path = tmp_path_factory.mktemp("groups")
    with started(path / "data") as ours:
        create(ours, TOPIC, 2)
        company = Company(Lines(ours).open, names())
        await_coordinators(company.line)
        found = Story(company, path / "data")
        for number, is_written in enumerate(company.comes()):
            said = seen(company.line, company.groups) if is_written else found.moments[-1].said
            found.moments.append(Moment(copied(path / "data", path / f"moment-{number}"), said))
    yield found
    shutil.rmtree(path)


@pytest.mark.rule("GROUP-RECORD-2", "GROUP-RECORD-3", "GROUP-RECORD-4")
def test_a_killed_broker_finds_its_groups_and_offsets_at_any_moment(story: Story, tmp_path: Path) -> None:
    for number, moment in enumerate(story.moments):
        with started(copied(moment.folder, tmp_path / str(number))) as ours:
            assert seen(Lines(ours).open(), story.company.groups) == moment.said, f"moment {number}"
    assert all(one.said != following.said for one, following in pairwise(story.moments[:-1]))


@pytest.mark.rule("GROUP-RECORD-2")
@pytest.mark.parametrize("stop", ["stopped", "killed"])
def test_after_a_restart_members_go_on(story: Story, tmp_path: Path, stop: str) -> None:
    folder = story.stopped if stop == "stopped" else story.moments[-1].folder
    with started(copied(folder, tmp_path / "data")) as ours:
        company = story.company.again(Lines(ours).open)
        company.goes_on()
        after = seen(company.line, company.groups)
        ours.crash()
    with started(tmp_path / "data") as ours:
        assert seen(Lines(ours).open(), company.groups) == after


def cuts(data: bytes) -> list[int]:
    """Lengths of a log at and around the ends of its last batches."""
    ends = [0, *accumulate(len(one.data) for one in batches(data))]
    return sorted({end + step for end in ends[-4:] for step in (-1, 0, 1, 40)} & {*range(len(data) + 1)})


@pytest.mark.rule("GROUP-RECORD-4")
@pytest.mark.parametrize("part", ["pair", "simple", "gone"])
def test_a_torn_last_write_is_as_if_it_had_not_been(story: Story, tmp_path: Path, part: str) -> None:
    name = story.company.groups[part]
    partition = f"{OFFSETS}-{partition_of(name, PARTITIONS)}"
    *sealed, (log, data) = files_of(story.moments[-1].folder / partition, ".log").items()
    before = b"".join(segment for _, segment in sealed)
    there = set()
    for cut in cuts(data):
        folder = copied(story.moments[-1].folder, tmp_path / str(cut))
        os.truncate(folder / partition / log, cut)
        with started(folder) as ours:
            found = ours.node.broker.groups
            ours.crash()
        expected = Groups()
        for record in (one for whole in batches(before + data[:cut]) for one in whole.records()):
            expected = evolve(expected, decoded(record.key, record.value))
        assert found.saved.get(name) == expected.saved.get(name), f"{cut} of {len(data)} bytes"
        assert found.offsets.get(name) == expected.offsets.get(name), f"{cut} of {len(data)} bytes"
        assert (name in found.live) == (name in expected.saved or name in expected.offsets)
        there.add((found.saved.get(name), found.offsets.get(name)))
    assert len(there) > 2


@pytest.mark.rule("GROUP-RECORD-12")
@pytest.mark.parametrize("stop", ["stopped", "killed"])
def test_a_log_that_was_written_anew_has_all_that_counts(story: Story, tmp_path: Path, stop: str) -> None:
    with started(copied(story.stopped, tmp_path / "data")) as ours:
        company = story.company.again(Lines(ours).open)
        before = seen(company.line, company.groups)
        assert ours.node.expiry(ours.now) == []
        assert seen(company.line, company.groups) == before
        (ours.stop if stop == "stopped" else ours.crash)()
    assert [start > 250 for start in log_starts(tmp_path / "data").values()] == [True]
    with started(tmp_path / "data") as ours:
        assert seen(Lines(ours).open(), company.groups) == before


def test_a_start_tells_how_much_of_the_groups_it_has_read(story: Story, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []

    def note(progress: Progress) -> None:
        told.append((progress.group_bytes, progress.group_bytes_all))

    folder = copied(story.stopped, tmp_path / "data")
    size = sum(len(data) for path in folder.glob(f"{OFFSETS}-*") for data in files_of(path, ".log").values())
    Node(folder, Cluster("fiducialfiducialfiduci", 1, "127.0.0.1", 9092), parse({}), 1, NOW, progress=note).close()
    assert told == sorted(told) and told[0] == (0, 0) and told[-1] == (size, size) and len(set(told)) > 3


NEWER_GROUP = b"\0\3\0\1n"  # the key of a group of KIP-848


@pytest.mark.rule("GROUP-RECORD-12")
@pytest.mark.parametrize(
    ("others", "is_left"),
    [
        pytest.param(encode([(0, NEWER_GROUP, b"\0\0")]), True, id="a record of another kind"),
        pytest.param(encode([(0, NEWER_GROUP, None)]), False, id="what was one"),
        pytest.param(encode([(0, b"\0\2\0\1n", b"unreadable")]), True, id="what cannot be read"),
        pytest.param(encode([(0, NEWER_GROUP, b"\0\0")], producer_id=5, producer_epoch=0, base_sequence=0, attributes=16), True, id="part of a transaction"),
    ],
)
def test_a_log_with_records_of_others_is_not_written_anew(story: Story, tmp_path: Path, others: bytes, is_left: bool) -> None:
    with started(copied(story.stopped, tmp_path / "data")) as ours:
        topic_id = ours.node.broker.topics.by_name[OFFSETS].topic_id
        longest = max(range(PARTITIONS), key=lambda index: ours.node.core.marks(topic_id, index)[0][3])
        assert ours.node.core.append(topic_id, longest, others, ours.now) == 0
        ours.stop()
    with started(tmp_path / "data") as ours:
        assert ours.node.broker.groups.shared == (frozenset({longest}) if is_left else frozenset())
        ours.node.expiry(ours.now)
        ours.stop()
    assert bool(log_starts(tmp_path / "data")) is not is_left


# Partitions are added to the topic of offsets


def moving(group: str) -> int:
    """With how many partitions the group lies in one of those that there are, but in another."""
    before = partition_of(group, PARTITIONS)
    return next(count for count in range(PARTITIONS + 1, 100) if partition_of(group, count) not in (before, *range(PARTITIONS, count)))


def grow(line: Line, partitions: int) -> int:
    """The error of adding partitions to the topic of offsets."""
    grown = m.CreatePartitionsRequest((m.CreatePartitionsTopic(OFFSETS, partitions, None),), 60_000)
    return int(ask(line, grown, 3).results[0].error_code)


@pytest.mark.rule("GROUP-RECORD-13")
@pytest.mark.parametrize("stop", ["stopped", "killed"])
def test_groups_are_found_where_they_lie_since_there_are_more_partitions(story: Story, tmp_path: Path, stop: str) -> None:
    with started(copied(story.stopped, tmp_path / "data")) as ours:
        company = story.company.again(Lines(ours).open)
        before = seen(company.line, company.groups)
        assert grow(company.line, PARTITIONS + 3) == 0
        assert seen(company.line, company.groups) == before
        (ours.stop if stop == "stopped" else ours.crash)()
    with started(tmp_path / "data") as ours:
        assert not ours.node.broker.groups.scattered
        assert seen(Lines(ours).open(), company.groups) == before
        ours.node.expiry(ours.now)
        ours.crash()
    with started(tmp_path / "data") as ours:
        assert seen(Lines(ours).open(), company.groups) == before


@pytest.mark.rule("GROUP-RECORD-4", "GROUP-RECORD-13", "GROUP-RECORD-14")
def test_after_a_kill_before_groups_have_moved_what_they_wrote_is_older(tmp_path: Path) -> None:
    count = moving("g")
    with started(tmp_path / "data") as ours:
        line = Lines(ours).open()
        create(ours, "t")
        await_coordinators(line)
        ask(line, commit(5), 9)
        copied(tmp_path / "data", tmp_path / "cut")
        assert grow(line, count) == 0
        shutil.copytree(tmp_path / "data" / "metadata", tmp_path / "cut" / "metadata", dirs_exist_ok=True)
    with started(tmp_path / "cut") as ours:
        line = Lines(ours).open()
        assert ours.node.broker.groups.scattered and grow(line, count + 1) == Error.INVALID_REQUEST
        ask(line, commit(6), 9)
        ours.crash()
    with started(tmp_path / "cut") as ours:
        assert ours.node.broker.groups.offsets["g"]["t", 0].offset == 6
        ours.node.expiry(ours.now)
        ours.crash()
    with started(tmp_path / "cut") as ours:
        groups = ours.node.broker.groups
        assert groups.offsets["g"]["t", 0].offset == 6 and not groups.scattered
        assert grow(Lines(ours).open(), count + 1) == 0


def commit(offset: int) -> m.OffsetCommitRequest:
    """By nobody in particular."""
    return m.OffsetCommitRequest("g", topics=(m.OffsetCommitRequestTopic("t", partitions=(m.OffsetCommitRequestPartition(0, offset),)),))


@pytest.mark.rule("GROUP-RECORD-4")
def test_a_start_reads_the_last_record_of_each_key_alone(story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, read = copied(story.stopped, tmp_path / "data"), list[bytes]()

    def reads(key: bytes, value: bytes | None) -> Any:
        read.append(key)
        return decoded(key, value)

    logs = (data for path in folder.glob(f"{OFFSETS}-*") for data in files_of(path, ".log").values())
    written = [one.key for data in logs for whole in batches(data) for one in whole.records() if one.key is not None]
    monkeypatch.setattr(group_records, "decoded", reads)
    with started(folder) as ours:
        ours.crash()
    assert sorted(read) == sorted(set(written))
    assert len(read) < len(written)
