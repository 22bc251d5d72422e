"""What disks and people do to files: recovery goes on with what is sound, says how far it has come, and believes nothing that it can check."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from faults.check import Found, found
from faults.histories import SMALL
from faults.run import CLUSTER, Run
from fiducial.fastpath import server
from fiducial.fastpath.batch import batches
from fiducial.fastpath.data import DataError
from fiducial.fastpath.node import Node, Progress

PRODUCER = 5
FIRST = "00000000000000000000"
#: Where the leader epoch stands in a batch: no checksum covers it.
EPOCH_BYTES = range(12, 16)
MIB = 1 << 20


def made(work: Path, *, batches: int = 8, stops: bool = False, **config: str) -> Run:
    """A topic with batches of one producer, one record each, in some segments; then the broker is gone."""
    run = Run(work / "run")
    run.start()
    run.create("a", 1, **{**SMALL, "retention_bytes": "-1", **config})
    for _ in range(batches):
        run.produce("a", producer=PRODUCER)
    if stops:
        run.stop()
    else:
        run.kill()
    return run


def opened(run: Run) -> Found:
    """What a broker finds; then it is killed."""
    node = Node(run.folder, CLUSTER, run.settings, 9, run.now)
    seen = found(node, run.now)
    node.close()
    return seen


def end_of(run: Run) -> int:
    """The log end that a broker finds."""
    (one,) = opened(run).partitions.values()
    return one.end


def folder(run: Run) -> Path:
    """The partition's."""
    return run.folder / "a-0"


def logs(run: Run) -> list[Path]:
    """The files of the segments, in order."""
    return sorted(folder(run).glob("*.log"))


@pytest.fixture
def run(work: Path) -> Run:
    """Eight batches in three segments, of a broker that was killed."""
    here = made(work)
    assert len(logs(here)) == 3
    return here


# The log


def test_a_torn_tail_is_cut_at_the_last_whole_batch(run: Run) -> None:
    last = logs(run)[-1]
    sound = last.read_bytes()
    first, second = sound[: len(sound) // 2], sound[len(sound) // 2 :]
    for left in range(len(second)):
        last.write_bytes(first + second[:left])
        assert end_of(run) == 7
        assert last.read_bytes() == first


@pytest.mark.parametrize("size", [1, 12, 61, 4096, 100_000])
def test_zeros_behind_the_last_batch_are_cut(run: Run, size: int) -> None:
    last = logs(run)[-1]
    sound = last.read_bytes()
    last.write_bytes(sound + bytes(size))
    assert end_of(run) == 8
    assert last.read_bytes() == sound


def test_a_flipped_byte_anywhere_cuts_the_log_before_its_batch(run: Run) -> None:
    last = logs(run)[-1]
    sound = last.read_bytes()
    batch = len(sound) // 2
    image = {path: path.read_bytes() for path in folder(run).iterdir()}
    for position in range(len(sound)):
        for path, content in image.items():
            path.write_bytes(content)
        last.write_bytes(sound[:position] + bytes([sound[position] ^ 0x40]) + sound[position + 1 :])
        expected = 8 if position % batch in EPOCH_BYTES else 6 + position // batch
        assert end_of(run) == expected, position


def test_a_flipped_byte_in_a_segment_takes_along_those_behind_it(run: Run) -> None:
    first = logs(run)[0]
    sound = first.read_bytes()
    first.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    assert end_of(run) == 2
    assert logs(run) == [first]


def test_a_missing_segment_takes_along_those_behind_it(run: Run) -> None:
    logs(run)[1].unlink()
    assert end_of(run) == 3
    assert len(logs(run)) == 1


@pytest.mark.rule("LOG-RESTART-9")
def test_a_log_that_lost_all_above_its_start_goes_on_there(work: Path) -> None:
    run = Run(work / "run")
    run.start()
    run.create("a")
    for _ in range(4):
        run.produce("a", producer=PRODUCER)
    run.delete_records("a", 0, 3)
    run.kill()
    os.truncate(logs(run)[0], logs(run)[0].stat().st_size // 2)
    (one,) = opened(run).partitions.values()
    assert (one.start, one.end, one.batches) == (3, 3, ())
    assert [path.name for path in logs(run)] == ["00000000000000000003.log"]


# The metadata log


@pytest.mark.rule("LOG-RESTART-11")
def test_a_metadata_log_that_no_crash_has_spoilt_so_is_refused_and_nothing_is_put_aside(run: Run) -> None:
    """Else the topics behind the damage would be forgotten, and their partitions be strays."""
    (file,) = (run.folder / "metadata").glob("*.log")
    sound = file.read_bytes()
    first, last = (len(one.data) for one in batches(sound))
    for position in range(first):
        file.write_bytes(sound[:position] + bytes([sound[position] ^ 0x40]) + sound[position + 1 :])
        if position not in EPOCH_BYTES:
            with pytest.raises(DataError, match=rf"{file.name} is damaged at byte 0, and says more of topics behind it"):
                opened(run)
    file.write_bytes(sound)
    assert end_of(run) == 8
    file.write_bytes(sound[: first + last // 2])  # as a crash leaves it before the topic was there
    assert not opened(run).partitions


# What is beside it


@pytest.mark.parametrize("stops", [True, False])
@pytest.mark.parametrize("suffix", ["index", "timeindex"])
def test_indexes_that_are_missing_are_made_anew(work: Path, suffix: str, stops: bool) -> None:
    run = made(work, stops=stops)
    copy = Path(shutil.copytree(run.folder, work / "copy"))
    expected = opened(run)
    run.folder = copy
    for path in folder(run).glob(f"*.{suffix}"):
        path.unlink()
    assert opened(run) == expected
    assert all(log.with_suffix(f".{suffix}").exists() for log in logs(run))


@pytest.mark.parametrize("content", [b"", b"\0" * 8, b"\0" * 12, b"\xff" * 24, b"\0" * 24_000, b"odd"])
@pytest.mark.parametrize("suffix", ["index", "timeindex"])
def test_indexes_that_say_something_else_are_made_anew(work: Path, suffix: str, content: bytes) -> None:
    run = made(work, stops=True)
    copy = Path(shutil.copytree(run.folder, work / "copy"))
    expected = opened(run)
    run.folder = copy
    for path in folder(run).glob(f"*.{suffix}"):
        path.write_bytes(content)
    assert opened(run) == expected


@pytest.mark.rule("LOG-RESTART-7")
def test_producers_files_that_were_cut_are_not_believed(run: Run) -> None:
    image = {path: path.read_bytes() for path in folder(run).iterdir()}
    expected = opened(run).partitions
    saved = [path for path in image if path.suffix in (".window", ".snapshot")]
    assert {path.suffix for path in saved} == {".window", ".snapshot"}
    for keep in (0, 5, 20, -1):
        for path in folder(run).iterdir():
            path.unlink()
        for path, content in image.items():
            path.write_bytes(content[:keep] if path in saved else content)
        found_now = opened(run).partitions
        assert [one.producers for one in found_now.values()] == [one.producers for one in expected.values()]


@pytest.mark.rule("LOG-RESTART-2")
@pytest.mark.parametrize("content", [b"", b"0", b"0\n1\n", b"0\n2\n0 0\n", b"nonsense", b"0\n99999999999\n0 0\n"])
def test_leader_epochs_are_found_in_the_batches_if_their_file_is_no_use(work: Path, content: bytes) -> None:
    run = Run(work / "run")
    run.start()
    run.create("a", 1, **SMALL)
    run.produce("a")
    run.kill()
    run.start()
    run.produce("a")
    run.kill()
    (folder(run) / "leader-epoch-checkpoint").write_bytes(content)
    (one,) = opened(run).partitions.values()
    assert one.epochs == ((0, 0), (1, 1), (2, 2)) and one.leader_epoch == 2


# A start that takes long


def test_a_start_tells_how_much_of_a_large_log_it_has_read(work: Path) -> None:
    run = made(work, batches=0, internal_segment_bytes="100000000", index_interval_bytes="4096")
    run.start()
    for _ in range(40):
        run.produce("a", size=MIB - 10_000)
    run.kill()
    size = sum(path.stat().st_size for path in logs(run))
    told: list[tuple[int, int]] = []

    def note(progress: Progress) -> None:
        assert progress.partitions_all == 1 and progress.read_bytes_all == size
        told.append((progress.partitions, progress.read_bytes))

    Node(run.folder, CLUSTER, run.settings, 9, run.now, progress=note).close()
    assert told[-1] == (1, size)
    assert len(told) >= 4 and told == sorted(told) and told[0][1] < size // 2


def test_a_start_that_takes_long_says_so_once_a_second(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = 100.0
    monkeypatch.setattr("fiducial.fastpath.server.time.monotonic", lambda: now)
    teller = server.Teller()
    progress = Progress(0, 2, 0, 300 * MIB)
    for second in (0.5, 0.9, 1.1, 1.5, 2.2):
        now = 100.0 + second
        progress.read_bytes = int(second * 100 * MIB)
        teller(progress)
    progress.partitions, progress.read_bytes = 2, 300 * MIB
    teller(progress)
    assert capsys.readouterr().err == (
        "\rloading: 0 of 2 partitions, 110 of 300 MiB\rloading: 0 of 2 partitions, 220 of 300 MiB\rloading: 2 of 2 partitions, 300 of 300 MiB\n"
    )
    progress.group_bytes_all = 30 * MIB
    for second in (2.5, 3.5, 5):
        now = 100.0 + second
        progress.group_bytes = int(second * 6 * MIB)
        teller(progress)
    assert capsys.readouterr().err == "\rreading groups: 21 of 30 MiB\rreading groups: 30 of 30 MiB\n"


def test_a_quick_start_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    teller = server.Teller()
    for partitions in range(3):
        teller(Progress(partitions, 2, 0, 0))
    assert capsys.readouterr().err == ""
