"""Whenever a broker is killed, or its power cut, what it finds at its next start is what the rules allow: FIDUCIAL_LONG=1 for many more histories."""

from __future__ import annotations

import fnmatch
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from faults.campaign import EVERYDAY, LONG, Campaign
from faults.check import Check, Violation
from faults.disk import Create, MakeFolder, Rename, Sync, SyncFolder, Truncate, Write
from faults.histories import SMALL
from faults.images import File, Image, Shadow, Variant, after_power_cut, applied, variants
from faults.run import Run
from fiducial.models.restarts import Stop

IS_LONG = os.environ.get("FIDUCIAL_LONG") == "1"
ACTIONS = (
    "produce", "resend", "flush", "delete_records", "keep_house", "let_all_go", "expire", "configure", "create", "delete", "grow",
    "draw_producer_id", "restart", "crash", "rolls", "second acts", "commit", "join", "sync", "leave", "delete_groups", "expire_offsets",
    "logs made short", "grow_groups",
)  # fmt: skip


@pytest.mark.rule(
    "LOG-RESTART-1", "LOG-RESTART-2", "LOG-RESTART-3", "LOG-RESTART-4", "LOG-RESTART-5", "LOG-RESTART-6", "LOG-RESTART-7", "LOG-RESTART-8", "LOG-RESTART-11",
    "GROUP-RECORD-2", "GROUP-RECORD-4", "GROUP-RECORD-12", "GROUP-RECORD-13",
)  # fmt: skip
def test_what_is_found_after_any_crash_is_allowed(work: Path, tell: Callable[[str], None]) -> None:
    campaign = Campaign(LONG if IS_LONG else EVERYDAY, work)
    campaign.run()
    tell(str(campaign.report))
    assert [action for action in ACTIONS if not campaign.did[action]] == []
    report = campaign.report
    assert min(*report.images.values(), report.states, report.shorter, report.resends) > 500


HISTORY = """
import sys
from pathlib import Path
from faults.histories import POLICIES, History
from faults.run import Run
run = History(Run(Path(sys.argv[1])), tuple(POLICIES), 1204).happen(36)
print(*[step.title for step in run.steps], *run.disk.operations, sep="\\n")
"""


def test_a_history_is_the_same_whatever_texts_are_hashed_to(work: Path) -> None:
    said = []
    for number in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": number, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        command = [sys.executable, "-c", HISTORY, str(work / number)]
        said.append(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert said[0] == said[1] and said[0].count("Write(") > 100


# The check can fail


def small_run(work: Path, **config: str) -> Run:
    """One topic, three batches of a producer, and the broker is gone."""
    run = Run(work / "run")
    run.start()
    run.create("a", 1, **SMALL, **config)
    for _ in range(3):
        run.produce("a", producer=5)
    run.kill()
    return run


def at_the_end(run: Run, work: Path, stop: Stop, *, without: str) -> None:
    """Judge a crash at the end of the run that has left everything but what was written to these files."""
    check = Check(run, work)
    shadow = Shadow({})
    for operation in run.disk.operations:
        shadow.do(operation)
    image = shadow.image({}, {})
    lost = fnmatch.filter(image, without)
    assert lost
    image.update(dict.fromkeys(lost, b""))
    check.one(image, run.steps[-1], stop)


def test_a_lost_log_is_noticed_after_a_kill(work: Path) -> None:
    with pytest.raises(Violation, match=r"killed in step .produce 1 to a-0 at 2.*'end': 0"):
        at_the_end(small_run(work), work, Stop.KILLED, without="a-0/00000000000000000000.log")


def test_a_lost_log_is_noticed_after_a_power_cut_only_if_it_was_forced_to_the_disk(work: Path) -> None:
    (work / "safe").mkdir()
    at_the_end(small_run(work), work, Stop.POWER_CUT, without="a-0/00000000000000000000.log")
    with pytest.raises(Violation, match=r"power cut in step"):
        at_the_end(small_run(work / "safe", flush_messages="1"), work / "safe", Stop.POWER_CUT, without="a-0/00000000000000000000.log")


@pytest.mark.rule("LOG-RESTART-4", "LOG-RESTART-7")
def test_producers_are_known_though_the_log_ends_before_their_newest_files(work: Path) -> None:
    run = Run(work / "run")
    run.start()
    run.create("a", 1, **{**SMALL, "retention_bytes": "500"})
    for number in range(10):
        run.produce("a", producer=5 if number == 0 else 6)
    run.flush()
    run.keep_house()
    for _ in range(3):
        run.produce("a", producer=6)
    run.kill()
    (here,) = run.broker.partitions.values()
    assert here.log.start == 3 and set(here.producers) == {5, 6}
    assert [int(path.stem) for path in sorted((run.folder / "a-0").glob("*.log"))] == [3, 6, 9, 12]
    assert [int(path.stem) for path in sorted((run.folder / "a-0").glob("*.window"))] == [6, 9, 12]
    at_the_end(run, work, Stop.POWER_CUT, without="a-0/*[92].log")


def test_lost_topics_are_noticed(work: Path) -> None:
    with pytest.raises(Violation, match=r"topics Topics\(by_name=immutables.Map\(\{\}\)"):
        at_the_end(small_run(work), work, Stop.KILLED, without="metadata/00000000000000000000.log")


# What a crash may leave


def test_of_a_file_there_may_be_any_part_of_what_is_pending() -> None:
    file = File(b"ab", [Write(1, 2, b"cd"), Truncate(1, 3), Write(1, 3, b"ef")])
    contents = {one.content(file) for one in variants(file)}
    assert {b"ab", b"ab\0\0", b"abc", b"abce", b"abce\0", b"ab\0ef", b"abcef"} <= contents
    assert file.content() == variants(file)[-1].content(file) == b"abcef"
    assert Variant(0).content(file) == variants(file)[0].content(file) == b"ab"


def test_what_was_synced_is_there_and_names_are_not_without_a_sync_of_their_folder() -> None:
    shadow = Shadow({})
    for operation in (MakeFolder("d"), Create("d/a.tmp", 1), Write(1, 0, b"x"), Sync(1), Rename("d/a.tmp", "d/a")):
        shadow.do(operation)
    assert [sorted(image) for image in images_of(shadow)] == [[], ["d"], ["d", "d/a"], ["d", "d/a.tmp"]]
    shadow.do(SyncFolder("d"))
    assert [sorted(image) for image in images_of(shadow)] == [[], ["d", "d/a"]]
    shadow.do(SyncFolder(""))
    assert images_of(shadow) == [{"d": None, "d/a": b"x"}]


def images_of(shadow: Shadow) -> list[Image]:
    """All images, each once, in the order of their names."""
    found: list[Image] = []
    for image in after_power_cut(shadow, 1000, Random(1)):
        if image not in found:
            found.append(image)
    return sorted(found, key=sorted)


def test_a_write_behind_the_end_leaves_zeros() -> None:
    assert applied(b"a", [Write(1, 3, b"b")]) == b"a\0\0b"
