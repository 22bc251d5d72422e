"""Other brokers: the scripts that obtain them say so when they cannot; what is kept of them is what their pages say."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import Address
from peers import __main__ as judging
from peers import kafka, kafka_python, page, results, roster
from peers.kafka import NOT_RUN, Kafka, PeerUnavailable
from peers.reproductions import DEVIATIONS, Deviation, NotSeen
from peers.results import Result, RunFailed
from peers.roster import Peer, Settings

from fiducial.cli.verify import PEER_UNAVAILABLE
from fiducial.conformance import suite
from fiducial.conformance.reports import HELD, MUST_FAILED, NOTHING_JUDGED, UNREACHABLE


def test_without_java_there_is_no_apache_kafka(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("FIDUCIAL_PEERS_DIR", str(tmp_path))
    (tmp_path / f"kafka-{kafka.VERSION}").mkdir()
    with pytest.raises(PeerUnavailable, match="java is not installed"), Kafka():
        pass
    assert kafka.main(["--check"]) == NOT_RUN == PEER_UNAVAILABLE
    assert "NOT RUN: java is not installed" in capsys.readouterr().err


def test_without_maven_there_are_no_jars(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("FIDUCIAL_PEERS_DIR", str(tmp_path / "empty"))
    with pytest.raises(PeerUnavailable, match="mvn is not installed"):
        kafka.jars()


def test_apache_kafka_answers_while_its_block_runs(kafka: Kafka) -> None:
    assert kafka.answers()
    assert kafka.bootstrap == f"{kafka.host}:{kafka.port}"
    assert kafka.log_path.exists()


def test_without_a_package_index_there_are_no_tests_of_kafka_python(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FIDUCIAL_PEERS_DIR", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(PeerUnavailable, match="pip could not get kafka-python"):
        kafka_python.source()
    assert not list(tmp_path.iterdir())


def test_without_go_there_is_no_kfake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("FIDUCIAL_PEERS_DIR", str(tmp_path))
    with pytest.raises(PeerUnavailable, match="go is not installed"):
        roster.kfake_program()


def test_a_peer_that_is_not_to_be_had_is_not_run_and_loses_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("FIDUCIAL_PEERS_DIR", str(tmp_path))
    monkeypatch.setattr(page, "made", dict)
    before = results.file_of("kfake").read_bytes()
    assert judging.main(["kfake"]) == NOT_RUN
    assert "NOT RUN: kfake (franz-go): go is not installed" in capsys.readouterr().err
    assert results.file_of("kfake").read_bytes() == before


@pytest.mark.parametrize("one", DEVIATIONS, ids=[f"{one.peer}: {one.title}" for one in DEVIATIONS])
def test_the_reference_broker_shows_no_deviation_of_a_peer(one: Deviation, reference_broker: Address) -> None:
    with pytest.raises(NotSeen):
        one.reproduce((reference_broker.host, reference_broker.port))


def test_pages_about_peers_say_what_is_kept() -> None:
    assert [str(path) for path, text in page.made().items() if path.read_text(encoding="utf-8") != text] == [], "make peers ARGS=--pages"


def test_apache_kafka_and_our_brokers_failed_nothing() -> None:
    for name in ("kafka", "fiducial", "reference"):
        kept = results.kept(name)
        assert kept is not None and not [one["case"] for one in kept["results"] if one["verdict"] in ("fail", "inconclusive", "suite-error")]


def test_a_failure_is_confirmed_only_if_all_of_it_is() -> None:
    offset = {"place": "responses[0].base_offset", "expected": "-1", "got": "0"}
    other = {"place": "responses[0].error_code", "expected": "NONE", "got": "UNKNOWN_SERVER_ERROR"}
    known: results.Kept = {"peer": "kfake", "confirmed": {DEVIATIONS[0].title: "seen"}}
    told = {"told": "Produce v9 {}", "differences": [offset]}
    assert page.explained(told, known)
    assert not page.explained({**told, "differences": [offset, other]}, known)
    assert not page.explained({**told, "told": "Fetch v9 {}"}, known)
    assert not page.explained(told, {**known, "confirmed": {}})


class Frail:
    """A peer that does not survive one case, and what was told to each of its brokers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, deadly: str, *, found_out_by: str) -> None:
        self.deadly, self.finder = deadly, found_out_by
        self.told: list[Sequence[str]] = []
        self.peer = Peer("frail", "Frail", lambda: "1", self.serving)
        monkeypatch.setattr(results, "judged", self.judged)

    @contextmanager
    def serving(self, _settings: Settings) -> Iterator[str]:
        yield "127.0.0.1:1"

    def judged(self, _address: str, cases: Sequence[str]) -> list[Result]:
        """Nothing is told any more after the case that finds out that it died; that is the deadly one if it is alone."""
        self.told.append(cases)
        if self.deadly not in cases:
            return [{"case": case, "verdict": "pass"} for case in cases]
        found_by = self.finder if self.finder in cases else self.deadly
        before = cases[: cases.index(found_by)]
        return [*({"case": case, "verdict": "pass"} for case in before), {"case": found_by, "verdict": "inconclusive"}]


def test_a_broker_that_dies_of_a_case_is_judged_by_the_others_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [one.id for one in suite.every().values() if not one.groups][:4]
    frail = Frail(monkeypatch, cases[1], found_out_by=cases[2])
    found = judging.told_to(frail.peer, cases, {})
    assert [(one["case"], one["verdict"]) for one in found] == [(case, "pass") for case in cases]
    assert frail.told == [cases, cases[2:]]


def test_of_stories_that_are_told_at_the_same_time_the_one_is_blamed_that_a_broker_dies_of(monkeypatch: pytest.MonkeyPatch) -> None:
    other, *cases = [*suite.every()][:1] + [one.id for one in suite.every().values() if one.groups][:3]
    frail = Frail(monkeypatch, cases[2], found_out_by=cases[0])
    found = judging.told_to(frail.peer, [*cases, other], {})
    assert [(one["case"], one["verdict"]) for one in found] == [(other, "pass"), (cases[0], "pass"), (cases[1], "pass"), (cases[2], "inconclusive")]
    assert frail.told == [[other], cases, *([case] for case in cases)]


def ends(monkeypatch: pytest.MonkeyPatch, status: int, *lines: dict[str, Any]) -> None:
    """A run of the suite prints this, complains, and ends with this status."""
    said = "\n".join(map(json.dumps, lines))
    monkeypatch.setattr(subprocess, "run", lambda *_args, **_how: subprocess.CompletedProcess([], status, said, "TypeError: oh"))


PASSED = {"case": "one", "rules": ["LOG-SUM-1"], "level": "MUST", "verdict": "pass", "versions": []}


def test_a_run_that_a_fault_of_the_suite_ended_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's status for that is the one of a MUST that failed."""
    ends(monkeypatch, MUST_FAILED, {"target": "127.0.0.1:1"}, PASSED)
    with pytest.raises(RunFailed, match="TypeError: oh"):
        results.judged("127.0.0.1:1", ["one", "two"])


def test_a_run_that_came_to_its_end_is_a_result_whatever_its_status(monkeypatch: pytest.MonkeyPatch) -> None:
    for status in (HELD, MUST_FAILED, NOTHING_JUDGED, UNREACHABLE):
        ends(monkeypatch, status, {"target": "127.0.0.1:1"}, PASSED, {"verdicts": {"pass": 1}, "exit_status": status})
        assert results.judged("127.0.0.1:1", ["one"]) == [PASSED]


def test_what_is_kept_of_a_failure_is_its_end_with_the_bytes_of_the_last_exchange() -> None:
    said = [{"what": what, "told": what, "bytes": "00" * 300} for what in ("sent", "received") * 10]
    failed = {"case": "LOG-SUM-1/one", "rules": ["LOG-SUM-1"], "level": "MUST", "verdict": "fail", "versions": [3], "seconds": 0.1}
    failed |= {"note": "", "step": 2, "told": "x" * 1000, "differences": [{"place": "sum", "expected": "y" * 1000, "got": 3}], "transcript": said}
    kept = results.shortened(failed)
    assert [bool(one["bytes"]) for one in kept["said"]] == [False] * 6 + [True] * 2
    assert kept["said"][-1]["bytes"] == "00" * results.FRAME_BYTES + "…"
    assert kept["differences"] == [{"place": "sum", "expected": "y" * results.TEXT_CHARACTERS + "…", "got": "3"}]
    assert results.shortened({**failed, "verdict": "pass"}).keys() == {"case", "rules", "level", "verdict", "versions"}
