"""The files of a data folder, byte for byte: Apache Kafka's layouts, spelled out here once more, and the few things that are ours alone."""

from __future__ import annotations

import re
import struct
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from crc32c import crc32c

from fastpath.folders import (
    NOW,
    PRODUCERS,
    Ours,
    Topic,
    base_offsets,
    batch_of,
    copied,
    create,
    delete,
    delete_records,
    files_of,
    fill,
    number,
    produce,
    shelf,
)
from fiducial.fastpath.batch import EncodedBatch, batches
from fiducial.fastpath.core import identity


@dataclass
class Shelf:
    """The topics, in a folder as it was while the broker ran, and as it was left."""

    topics: list[Topic]
    running: Path
    stopped: Path

    def partitions(self, stage: Path) -> Iterator[tuple[Topic, tuple[bytes, ...], Path]]:
        """Each partition: its topic, what was produced to it, its folder."""
        for topic in self.topics:
            for name, index in topic.partitions:
                yield topic, topic.batches[index], stage / f"{name}-{index}"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """A folder with everything."""
    path, topics = tmp_path_factory.mktemp("files"), shelf(NOW)
    with Ours(path / "ours") as ours:
        for topic in topics:
            fill(ours, topic)
        running = copied(path / "ours", path / "running")
    return Shelf(topics, running, path / "ours")


# Segments


def due(data: list[EncodedBatch], interval_bytes: int) -> Iterator[tuple[int, int, list[EncodedBatch]]]:
    """(which batch, its position, all batches up to it) for each that gets an entry in the indexes of its segment (LOG-ROLL-7)."""
    position = since = 0
    for which, one in enumerate(data):
        if since > interval_bytes:
            yield which, position, data[: which + 1]
            since = 0
        position += len(one.data)
        since += len(one.data)


def offset_index(base_offset: int, data: list[EncodedBatch], interval_bytes: int) -> bytes:
    """An int32 last offset of a batch, from the base on, and an int32 position of the batch, for each that is due."""
    return b"".join(struct.pack(">ii", data[which].last_offset - base_offset, position) for which, position, _ in due(data, interval_bytes))


def time_index(base_offset: int, data: list[EncodedBatch], interval_bytes: int, *, is_closed: bool) -> bytes:
    """An int64 greatest timestamp so far, and an int32 last offset of the batch that had it first, wherever it has risen; once more at the end."""
    entries: list[tuple[int, int]] = [(-1, 0)]
    for so_far in [*(all_so_far for _, _, all_so_far in due(data, interval_bytes)), *([data] if is_closed and data else [])]:
        latest = max(one.max_timestamp for one in so_far)
        first = next(one for one in so_far if one.max_timestamp == latest)
        if latest > entries[-1][0]:
            entries.append((latest, first.last_offset - base_offset))
    return b"".join(struct.pack(">qi", *entry) for entry in entries[1:])


def test_a_segment_is_batches_one_behind_the_other_from_the_offset_that_names_it(filled: Shelf) -> None:
    for _, produced, folder in filled.partitions(filled.stopped):
        end = 0
        for name, data in files_of(folder, ".log").items():
            assert re.fullmatch(r"\d{20}\.log", name)
            assert number(name) == end
            for one in batches(data):
                assert one.base_offset == end and one.crc_is_good and one.leader_epoch == 0
                end = one.last_offset + 1
        assert end == sum(EncodedBatch(one).count for one in produced)


@pytest.mark.parametrize("stage", ["running", "stopped"])
@pytest.mark.rule("LOG-ROLL-7")
def test_indexes_have_their_entries_where_they_are_due(filled: Shelf, stage: str) -> None:
    entries = 0
    for topic, _, folder in filled.partitions(getattr(filled, stage)):
        interval_bytes, indexes = int(topic.config["index_interval_bytes"]), files_of(folder, ".index", ".timeindex")
        for base_offset in base_offsets(folder):
            data = batches((folder / f"{base_offset:020}.log").read_bytes())
            is_closed = stage == "stopped" or base_offset != max(base_offsets(folder))
            offsets = offset_index(base_offset, data, interval_bytes)
            assert indexes.get(f"{base_offset:020}.index", b"") == offsets
            assert indexes.get(f"{base_offset:020}.timeindex", b"") == time_index(base_offset, data, interval_bytes, is_closed=is_closed)
            entries += len(offsets) // 8
    assert entries > 200


def test_the_last_entry_of_a_time_index_is_the_greatest_timestamp(filled: Shelf) -> None:
    folder = filled.stopped / "odd-times-0"
    for name, data in files_of(folder, ".timeindex").items():
        latest = max(one.max_timestamp for one in batches((folder / name.replace("timeindex", "log")).read_bytes()))
        assert struct.unpack(">qi", data[-12:])[0] == latest
    assert all(data == b"" for data in files_of(filled.stopped / "timeless-0", ".timeindex").values()), "none is no timestamp"


# Producers


def saved(entries: list[bytes]) -> bytes:
    """Version, checksum of the rest, count, entries."""
    rest = struct.pack(">i", len(entries)) + b"".join(entries)
    return struct.pack(">hI", 1, crc32c(rest)) + rest


def test_a_snapshot_has_the_last_batch_of_each_producer(tmp_path: Path) -> None:
    with Ours(tmp_path / "ours") as ours:
        create(ours, "a")
        for sequence in (2**31 - 2, 1):  # the first one wraps: 2^31 - 2, 2^31 - 1, 0
            produce(ours, "a", batch_of([NOW, NOW + sequence % 9, NOW], producer=(PRODUCERS[0], 3, sequence)))
    entry = struct.pack(">qhiqiqiq", PRODUCERS[0], 3, 3, 5, 2, NOW + 1, -1, -1)
    assert files_of(tmp_path / "ours" / "a-0", ".snapshot") == {f"{6:020}.snapshot": saved([entry])}


def test_beside_it_lies_our_own_file_with_the_whole_window(tmp_path: Path) -> None:
    with Ours(tmp_path / "ours") as ours:
        create(ours, "a")
        for sequence in range(7):
            produce(ours, "a", batch_of([NOW + sequence], producer=(PRODUCERS[0], 3, sequence)))
            ours.now += 1
    window = b"".join(struct.pack(">iiqqq", at, at, at, at, NOW + at) for at in range(2, 7))
    entry = struct.pack(">qhqi", PRODUCERS[0], 3, NOW + 6, 5) + window
    assert files_of(tmp_path / "ours" / "a-0", ".window") == {f"{7:020}.window": saved([entry])}


def test_producers_are_saved_at_a_roll_and_at_the_end_and_the_two_newest_are_kept_once_the_log_is_on_the_disk(filled: Shelf) -> None:
    for stage, is_stopped in ((filled.running, False), (filled.stopped, True)):
        for topic, produced, folder in filled.partitions(stage):
            end = sum(EncodedBatch(one).count for one in produced)
            is_forced = is_stopped or topic.name.startswith("deleted")  # DeleteRecords waits for the disk
            due_at = sorted({*base_offsets(folder)[1:], *([end] if is_stopped and end else [])})
            for suffix in (".snapshot", ".window"):
                assert [number(name) for name in files_of(folder, suffix)] == (due_at[-2:] if is_forced else due_at), topic.name


# Leader epochs, identity


def test_each_start_adds_an_epoch_at_the_log_end(tmp_path: Path) -> None:
    file = tmp_path / "ours" / "a-0" / "leader-epoch-checkpoint"
    with Ours(tmp_path / "ours") as ours:
        create(ours, "a")
        assert file.read_bytes() == b"0\n1\n0 0\n"
        produce(ours, "a", batch_of([NOW] * 5))
    with Ours(tmp_path / "ours") as ours:
        assert file.read_bytes() == b"0\n2\n0 0\n1 5\n"
        produce(ours, "a", batch_of([NOW] * 3))
    with Ours(tmp_path / "ours") as ours:
        assert file.read_bytes() == b"0\n3\n0 0\n1 5\n2 8\n"
        delete_records(ours, "a", 6)
    assert file.read_bytes() == b"0\n2\n1 6\n2 8\n"
    with Ours(tmp_path / "ours") as ours:
        assert file.read_bytes() == b"0\n2\n1 6\n3 8\n", "an epoch in which nothing was written is replaced"


def test_a_folder_says_whose_it_is(tmp_path: Path) -> None:
    topic_id = bytes(range(240, 256))
    assert identity(topic_id) == b"version: 0\ntopic_id: 8PHy8_T19vf4-fr7_P3-_w"
    with Ours(tmp_path / "ours") as ours:
        topic_id = create(ours, "a", 2)
    for folder in ("a-0", "a-1"):
        text = (tmp_path / "ours" / folder / "partition.metadata").read_bytes()
        assert text == b"version: 0\ntopic_id: " + urlsafe_b64encode(topic_id).rstrip(b"=")


# The data folder


def test_the_checkpoints_tell_how_far_each_log_is_on_the_disk_and_where_it_begins(tmp_path: Path) -> None:
    folder = tmp_path / "ours"
    with Ours(folder) as ours:
        create(ours, "a")
        create(ours, "b", 2)
        for topic in ("a", "b"):
            produce(ours, topic, batch_of([NOW] * 5))
        delete_records(ours, "b", 3)
        assert (folder / "log-start-offset-checkpoint").read_bytes() == b"0\n1\nb 0 3\n", "before it is answered"
        assert not (folder / ".kafka_cleanshutdown").exists()
    head, *lines = (folder / "recovery-point-offset-checkpoint").read_bytes().split(b"\n", 2)
    assert (head, lines[0], sorted(lines[1].splitlines())) == (b"0", b"3", [b"a 0 5", b"b 0 5", b"b 1 0"])
    assert (folder / ".kafka_cleanshutdown").read_bytes() == b'{"version":0,"brokerEpoch":-1}'
    assert dict(line.split("=") for line in (folder / "meta.properties").read_text().splitlines()) == {
        "version": "1",
        "cluster.id": "fiducialfiducialfiducg",
        "node.id": "1",
    }


def test_only_logs_that_begin_inside_a_segment_have_their_start_written_down(filled: Shelf) -> None:
    told = sorted((filled.stopped / "log-start-offset-checkpoint").read_text().splitlines()[2:])
    assert told == ["deleted 0 103", "deleted-prefix 0 101"]


def test_what_apache_kafka_has_not(filled: Shelf) -> None:
    """Where we differ on purpose. `.window`: five batches of a producer are known after a restart, not one. `metadata`: one node is no quorum."""
    own = {one.name for one in filled.stopped.iterdir() if not re.fullmatch(r".+-\d+", one.name)}
    kafkas = {"meta.properties", ".lock", ".kafka_cleanshutdown", "recovery-point-offset-checkpoint", "log-start-offset-checkpoint"}
    assert own - kafkas == {"metadata"}
    kinds = {re.sub(r"\d{20}", "N", file.name) for *_, folder in filled.partitions(filled.stopped) for file in folder.iterdir()}
    assert kinds - {"N.log", "N.index", "N.timeindex", "N.snapshot", "leader-epoch-checkpoint", "partition.metadata"} == {"N.window"}


def test_what_we_have_not_of_apache_kafka_s(filled: Shelf, tmp_path: Path) -> None:
    """On one replica the high watermark is the log end, so it has no checkpoint; nothing is cleaned yet; what is let go of is gone at once."""
    assert not [one for one in ("replication-offset-checkpoint", "cleaner-offset-checkpoint") if (filled.stopped / one).exists()]
    folder = tmp_path / "ours"
    with Ours(folder) as ours:
        create(ours, "a", retention_bytes="0", internal_segment_bytes="200")
        create(ours, "b")
        for _ in range(5):
            produce(ours, "a", batch_of([NOW]))
        assert len(base_offsets(folder / "a-0")) > 1
        ours.node.housekeeping(ours.now)
        assert base_offsets(folder / "a-0") == [5], "an empty one, at the log end"
        assert {number(one.name) for one in (folder / "a-0").iterdir() if one.name[0] == "0"} <= {4, 5}, "producers outlive their records"
        delete(ours, "b")
        assert not list(folder.glob("b-*"))
