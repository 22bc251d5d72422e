"""Files are open as long as somebody reads from them, and no longer."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from faults.test_mutants import PATIENCE_S, copied, plant

from fastpath.folders import NOW, Ours, batch_of, create, delete, delete_records, look_up, produce, stored
from fiducial.conformance.exploration.steps import request_frame
from fiducial.fastpath.core import EVERYTHING
from fiducial.fastpath.node import Send
from fiducial.models import messages as m

if TYPE_CHECKING:
    from fiducial.fastpath.core import Slice

ROOT = Path(__file__).parents[2]
IS_LONG = os.environ.get("FIDUCIAL_LONG") == "1"
MUTANTS = {mutant["name"]: mutant for mutant in tomllib.loads(Path(__file__).with_name("mutants").joinpath("files.toml").read_text())["mutant"]}
FETCH = 1
TOPIC = "a"
#: A segment holds few batches, and each has an entry in the indexes.
SMALL = {"internal_segment_bytes": "300", "index_interval_bytes": "0", "retention_ms": "-1"}


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[Ours]:
    """A broker that leaves every slice of a file to whoever sends it."""
    with Ours(tmp_path) as broker:
        broker.node.core.slice_bytes_min = 1
        yield broker


def fill(ours: Ours, **config: str) -> None:
    """A topic of some segments."""
    create(ours, TOPIC, **SMALL, **config)
    for number in range(9):
        produce(ours, TOPIC, batch_of([NOW + number] * 2))


def fetch(ours: Ours, offset: int, *, connection: int = 1, max_wait_ms: int = 0) -> list[Slice]:
    """The slices of files that are answered to a fetch; none, if it waits."""
    wanted = m.FetchTopic(TOPIC, partitions=(m.FetchPartition(0, fetch_offset=offset, partition_max_bytes=1 << 20),))
    body = m.FetchRequest(max_wait_ms=max_wait_ms, min_bytes=1 << 20, session_epoch=-1, topics=(wanted,))
    answers = [one for one in ours.node.frame(connection, request_frame(FETCH, 12, body), ours.now) if isinstance(one, Send)]
    return [piece for answer in answers for piece in answer.rest if not isinstance(piece, bytes)]


def drop(ours: Ours) -> None:
    """The core lets go of the partition, without a turn."""
    ((topic_id, index),) = ours.node.core.partitions()
    ours.node.core.delete(topic_id, index)


# What an answer is read from


def test_a_slice_can_be_read_until_the_next_turn_also_when_its_partition_is_gone(ours: Ours) -> None:
    fill(ours)
    ours.node.core.slice_bytes_min = EVERYTHING
    data = stored(ours, TOPIC)
    ours.node.core.slice_bytes_min = 1
    ((fd, position, size_bytes),) = fetch(ours, 0)
    drop(ours)
    assert os.pread(fd, size_bytes, position) == data[:size_bytes] != b""


def test_with_the_next_turn_its_file_is_closed(ours: Ours) -> None:
    fill(ours)
    ((fd, _, _),) = fetch(ours, 0)
    drop(ours)
    ours.node.expire(ours.now)
    os.fstat(fd)
    look_up(ours, TOPIC, NOW)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_what_is_to_be_forced_to_the_disk_stays_open_when_its_partition_is_gone(ours: Ours) -> None:
    fill(ours)
    held = ours.node.core.unsynced(ours.now)
    assert held
    drop(ours)
    assert [ours.node.core.sync(unforced) for unforced in held] == [0]


# As many as before


def descriptors() -> int:
    """How many this process has open."""
    return len(os.listdir("/proc/self/fd"))


def test_what_is_to_be_forced_to_the_disk_and_is_not_is_closed_by_whoever_lets_go_of_it(ours: Ours) -> None:
    before = descriptors()
    fill(ours)
    held = ours.node.core.unsynced(ours.now)
    assert held
    drop(ours)
    assert descriptors() > before
    del held
    assert descriptors() == before


def everything(ours: Ours, **config: str) -> Iterator[str]:
    """All that opens files, in a topic that comes and goes."""
    fill(ours, **config)
    yield "rolls"
    assert len({fetch(ours, offset)[0][0] for offset in range(18)}) > 3
    yield "reads of every segment"
    for timestamp in (-3, NOW, NOW + 4):
        look_up(ours, TOPIC, timestamp)
    yield "lookups"
    for connection in (2, 3):
        assert not fetch(ours, 17, connection=connection, max_wait_ms=500)
    ours.node.disconnected(2, ours.now)
    produce(ours, TOPIC, batch_of([NOW] * 2))
    (late,) = ours.node.expire(ours.now + 500)
    assert isinstance(late, Send) and late.connection == 3 and late.rest
    yield "fetches that wait, are looked at again, and end"
    ((topic_id, index),) = ours.node.core.partitions()
    for segment in ours.node.core.segments(topic_id, index):
        ours.node.core.read_segment(topic_id, index, segment["base_offset"])
    yield "whole segments"
    for unforced in ours.node.core.unsynced(ours.now + EVERYTHING // 2):
        ours.node.synced(unforced, ours.node.core.sync(unforced))
    yield "syncs"
    delete_records(ours, TOPIC, 9)
    fetch(ours, 10)
    ours.node.housekeeping(ours.now)
    yield "retention"
    fetch(ours, 10)
    delete(ours, TOPIC)
    yield "a deletion"


@pytest.mark.parametrize("config", [{}, {"flush_messages": "1"}], ids=["none", "commit"])
def test_whatever_was_opened_is_closed_when_the_topic_is_gone(ours: Ours, config: dict[str, str]) -> None:
    before = descriptors()
    open_after = {what: descriptors() for what in everything(ours, **config)}
    assert open_after["reads of every segment"] > before + 3
    assert open_after["fetches that wait, are looked at again, and end"] == open_after["whole segments"]
    waited = 0 if config else 4 * 4  # until a sync, of four rolls: two indexes, two files of producers
    assert open_after["syncs"] == open_after["whole segments"] - waited
    assert open_after["retention"] < open_after["syncs"]
    assert open_after["a deletion"] == before


def test_reads_leave_nothing_open_that_was_not(ours: Ours) -> None:
    fill(ours)
    fetch(ours, 0)
    before = descriptors()
    for _ in range(100):
        fetch(ours, 0)
        fetch(ours, 17, max_wait_ms=1)
        assert ours.node.expire(ours.now + 1)
    assert descriptors() == before


# That the tests above can fail


@pytest.mark.parametrize("name", MUTANTS)
def test_a_fault_can_be_planted(name: str) -> None:
    mutant = MUTANTS[name]
    assert (ROOT / "fastpath" / mutant["file"]).read_text().count(mutant["old"]) == 1


def asked(tree: Path) -> tuple[int, str]:
    """The tests above asked of a copy: pytest's exit code, and what it says."""
    paths = f"pythonpath={tree / 'src'} {ROOT / 'tests'}"
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-o", paths, "-k", "not planted", __file__]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    return done.returncode, done.stdout[-2000:]


def test_where_no_fault_is_planted_none_is_seen(tmp_path: Path) -> None:
    code, told = asked(copied(tmp_path / "tree"))
    assert code == pytest.ExitCode.OK, told


@pytest.mark.skipif(not IS_LONG, reason="NOT RUN: compiles a room anew for each fault, minutes in all; FIDUCIAL_LONG=1 does")
@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_fault_is_seen(name: str, tmp_path: Path) -> None:
    tree = copied(tmp_path / "tree")
    plant(MUTANTS[name], tree)
    code, told = asked(tree)
    assert code == pytest.ExitCode.TESTS_FAILED, f"nobody saw that {name}: {told}"
