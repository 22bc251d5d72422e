"""The golden data is current, and suffices: a reader in another language passes it against each broker, and fails it where something is wrong.

FIDUCIAL_LONG=1 tells the small tier in place of the tiny one.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Address, not_run, serving
from peers.kafka import Kafka

from fiducial.conformance import suite
from fiducial.conformance.cases import Topic, case, fetch, produce
from fiducial.conformance.symbols import Ago, Batch, Record, View
from fiducial.models import specification
from fiducial.models.sessions import Kind
from fiducial.reference.flaws import FLAWS
from vectors import files, tables
from vectors.files import KEPT, ROOT, Writer, lines, tiny, without_repetition
from vectors.histories import written
from vectors.holes import BEGUN_MS, INT64, PRODUCER, Holes, Inexpressible

IS_LONG = os.environ.get("FIDUCIAL_LONG") == "1"
READER = Path(__file__).parent / "reader" / "reader.go"
RULES = specification.rules()
TINY = (KEPT / "tiny.jsonl").read_text(encoding="utf-8")
MEGABYTE = 1_000_000

# What is written


#: Asked in a process of its own: tests have ladders of theirs.
STALE = """
from vectors import files
print(*(name for name, text in files.kept().items() if (files.KEPT / name).read_text(encoding="utf-8") != text))
"""


def test_what_is_kept_is_what_would_be_written() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    done = subprocess.run([sys.executable, "-c", STALE], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [], "make vectors"


def test_a_tier_is_not_larger_than_it_says(small: str) -> None:
    assert len(TINY.encode()) < MEGABYTE
    assert 2 * len(TINY.encode()) < len(small.encode()) < 10 * MEGABYTE


def test_each_case_has_a_history_or_a_reason_why_not(small: str) -> None:
    left_out = [one for entry in json.loads((KEPT / "left_out.json").read_text(encoding="utf-8"))["left_out"] for one in entry["cases"]]
    told = {one for line in small.splitlines() for one in json.loads(line)["cases"]}
    assert sorted([*left_out, *told]) == sorted(suite.every())


def test_of_histories_that_are_the_same_one_is_kept_and_shows_the_rules_of_both() -> None:
    one, same, other = (case(id, *story) for id, story in (("LOG-READ-1/a", [fetch(0)]), ("LOG-READ-4/b", [fetch(0)]), ("LOG-READ-1/c", [fetch(1)])))
    found = list(without_repetition(written(each, None, RULES) for each in (one, same, other)))
    assert [(one["rules"], one["cases"]) for one in found] == [
        (["LOG-READ-1", "LOG-READ-4"], ["LOG-READ-1/a", "LOG-READ-4/b"]),
        (["LOG-READ-1"], ["LOG-READ-1/c"]),
    ]


def test_the_tiny_tier_shows_each_rule_that_any_history_shows_and_by_a_refusal_if_it_refuses() -> None:
    writer = Writer()
    about = [each for each in suite.every().values() if each.rule.startswith("LOG-BATCH")]
    every = [history for each in about for history in writer.newest(each)]
    chosen = tiny(every, room_bytes=0)
    assert {rule for one in chosen for rule in one["rules"]} == {rule for one in every for rule in one["rules"]}
    refusing = {rule for one in every for rule in one["refusals"] if rule in one["rules"]}
    assert "LOG-BATCH-15" in refusing and all(any(rule in one["refusals"] and rule in one["rules"] for one in chosen) for rule in refusing)


def test_every_rule_ladder_and_error_is_there() -> None:
    found = json.loads((KEPT / "rules.json").read_text(encoding="utf-8"))
    assert [one["id"] for one in found["rules"]] == list(RULES)
    (checksum,) = [one for one in found["rules"] if one["id"] == "LOG-BATCH-9"]
    assert checksum["claim"] == RULES["LOG-BATCH-9"].claim and checksum["errors"] == ["CORRUPT_MESSAGE"]
    ladders = {one["name"]: one["rungs"] for one in found["ladders"]}
    for place in checksum["rungs"]:
        assert ladders[place["ladder"]][place["rung"] - 1]["rule"] == "LOG-BATCH-9"
    assert {one["name"]: one["code"] for one in found["errors"]}["CORRUPT_MESSAGE"] == 2


def test_every_cell_of_a_table_is_filled_by_rules_that_there_are() -> None:
    found = json.loads((KEPT / "transitions.json").read_text(encoding="utf-8"))["tables"]
    assert {"producer", "fetch session"} <= {table["name"] for table in found}
    for table in found:
        assert [(cell["state"], cell["event"]) for cell in table["cells"]] == [(state, event) for state in table["states"] for event in table["events"]]
        assert all(cell["outcome"] and cell.get("rule", "LOG-BATCH-9") in RULES and "next" in cell for cell in table["cells"])


def test_a_cell_is_what_the_model_says(monkeypatch: pytest.MonkeyPatch) -> None:
    assert any(cell["outcome"] == "refused" for cell in tables.SESSIONS.cells())
    monkeypatch.setattr("fiducial.models.sessions.kind_of", lambda _: Kind.FULL)
    assert {cell["outcome"] for cell in tables.SESSIONS.cells()} == {Kind.FULL.value}
    assert any(cell["outcome"] == "duplicate" for cell in tables.PRODUCERS.cells())
    monkeypatch.setattr("fiducial.models.idempotence.duplicate_of", lambda *_: None)
    assert not any(cell["outcome"] == "duplicate" for cell in tables.PRODUCERS.cells())


# Bytes with holes


def test_a_batch_keeps_its_checksum_whatever_is_put_into_its_holes() -> None:
    holes = Holes()
    holes.known[INT64.pack(PRODUCER)] = "producer 0"
    holes.caught.add("producer 0")
    view = View(BEGUN_MS, producer_ids=[PRODUCER])
    before, inside = holes.request(Batch(producer=0).data(view))
    assert len(bytes.fromhex(before["hex"])) == 17
    times = [part for part in inside["crc"] if "ago" in part]
    assert times == [{"ago": 3_600_000}] * 2 and {"hole": "producer 0", "bytes": 8} in inside["crc"]
    spoilt = holes.request(Batch(producer=0, fault="wrong checksum").data(view))
    assert not [part for part in spoilt if "crc" in part] and {"hole": "producer 0", "bytes": 8} in spoilt


def test_what_nobody_has_told_the_reader_is_not_asked_for() -> None:
    holes = Holes()
    holes.known[b"i" * 16] = "id of a"
    with pytest.raises(Inexpressible, match="nobody has told the id of a"):
        holes.request(b"i" * 16)


def test_what_is_too_large_or_has_times_of_its_own_is_left_out_with_the_reason() -> None:
    with pytest.raises(Inexpressible, match="too large"):
        written(case("LOG-APPEND-1/x", produce(Batch((Record(content=bytes(70_000)),)))), None, RULES)
    with pytest.raises(Inexpressible, match="times of its own"):
        written(case("LOG-APPEND-1/x", produce(Batch((Record(Ago()), Record(-1))))), None, RULES)


def test_an_answer_that_may_be_other_bytes_may_be_any_and_the_story_goes_on() -> None:
    packed = case("LOG-APPEND-3/x", produce(Batch()), fetch(), produce(Batch()), topics=(("a", Topic((("compression.type", "gzip"),))),))
    history = written(packed, None, RULES)
    first, second, third = [step["answers"] for step in history["steps"] if "told" in step]
    assert history["unsaid"] == ["a batch that the broker packs"]
    assert second == [[{"hex": "00000002"}, {"rest": True}]]
    assert {"rest": True} not in [*first[0], *third[0]]
    as_sent = written(case("LOG-APPEND-2/x", produce(Batch(codec=1)), fetch()), None, RULES)
    assert as_sent["unsaid"] == [] and {"rest": True} not in as_sent["steps"][-1]["answers"][0]


def test_where_a_peer_may_take_what_we_refuse_the_story_ends() -> None:
    history = written(suite.every()["LOG-BATCH-25/packed-by-zstd"], None, RULES)
    assert history["unsaid"] == ["a peer may take what we refuse"]
    assert sum("told" in step for step in history["steps"]) == 1


def test_a_story_of_which_nothing_is_left_is_left_out() -> None:
    with pytest.raises(Inexpressible, match="a peer may take"):
        written(suite.every()["IDEM-ID-5/no-coordinator"], 5, RULES)


# The reader


@pytest.fixture(scope="module")
def small() -> str:
    """The small tier."""
    return files.small()


@pytest.fixture(scope="module")
def told(small: str) -> str:
    """What is told to brokers."""
    return small if IS_LONG else TINY


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reader, compiled."""
    if shutil.which("go") is None:
        not_run("the reader of the golden data: go is not installed")
    program = tmp_path_factory.mktemp("reader") / "reader"
    subprocess.run(["go", "build", "-o", str(program), str(READER)], check=True, timeout=300)
    return program


def read(reader: Path, bootstrap: str, histories: str) -> tuple[int, list[str], str]:
    """Its exit status, the histories that fail by its account, and all that it says."""
    done = subprocess.run([str(reader), bootstrap], input=histories, capture_output=True, text=True, timeout=900, check=False)
    failed = [line.partition(", step ")[0] for line in done.stdout.splitlines() if ", step " in line]
    return done.returncode, failed, done.stdout + done.stderr


def test_the_reference_broker_passes(reader: Path, told: str, reference_broker: Address) -> None:
    status, _, said = read(reader, reference_broker.bootstrap, told)
    assert status == 0 and said == f"{told.count(chr(10))} histories, 0 failed\n", said


def test_the_fast_broker_passes(reader: Path, told: str, fast_broker: Address) -> None:
    status, _, said = read(reader, fast_broker.bootstrap, told)
    assert status == 0 and said == f"{told.count(chr(10))} histories, 0 failed\n", said


def test_apache_kafka_passes(reader: Path, told: str, fresh_kafka: Kafka) -> None:
    status, _, said = read(reader, fresh_kafka.bootstrap, told)
    assert status == 0 and said == f"{told.count(chr(10))} histories, 0 failed\n", said


#: Of answers, of batches, of the producer's window, of sessions, of topics, of connections, of times.
SOME = ("D1", "D7", "X6", "X9", "C7", "P28", "P29", "P30", "P31", "P36a", "A21", "W1")


@pytest.mark.parametrize("name", SOME)
def test_a_flaw_is_found_under_a_rule_that_it_breaks(reader: Path, name: str) -> None:
    with serving("--reference", "--flaw", name) as address:
        status, failed, said = read(reader, address.bootstrap, TINY)
    broken = {rule for line in TINY.splitlines() if (one := json.loads(line))["id"] in failed for rule in one["rules"]}
    assert status == 1 and broken & set(FLAWS[name].rules), said


Part = dict[str, Any]


def parts_of(parts: list[Part]) -> Iterator[Part]:
    """The parts, and those in them."""
    for part in parts:
        yield part
        for inner in (part.get("crc", []), part.get("begins", []), *part.get("order", [])):
            yield from parts_of(inner)


#: How a part of an answer is spoilt.
SPOILT: dict[str, Callable[[Part], Any]] = {
    "hex": lambda part: part.update(hex=f"{int(part['hex'][:2], 16) ^ 1:02x}{part['hex'][2:]}"),
    "ago": lambda part: part.update(ago=part["ago"] + 1),
    "now": lambda part: part.update(now=-1),
    "bytes": lambda part: part.update(bytes=part["bytes"] + 1),
    "crc": lambda part: part.update(crc=[{"hex": "00"}]),
    "sized": lambda part: part.update(sized=4 if part["sized"] == 2 else 2),
    "begins": lambda part: part.update(begins=[{"hex": "ff" * 8}]),
    "most": lambda part: part.update(most=1),
    "order": lambda part: part["order"].append([{"hex": "00"}]),
    "rest": lambda part: part.update(rest=False, hex="00"),
    "hole": lambda part: part.update(hole="run"),
}


def with_spoilt(kind: str, histories: str) -> dict[str, Any]:
    """A history of which the first answer that has such a part is spoilt in it."""
    for line in histories.splitlines():
        history: dict[str, Any] = json.loads(line)
        for step in history["steps"]:
            for part in parts_of([part for answer in step.get("answers", [])[:1] for part in answer]):
                if kind in part and len(step["answers"]) == 1:
                    SPOILT[kind](part)
                    step.pop("again", None)
                    return history
    raise AssertionError(f"no answer has {kind}")


@pytest.mark.parametrize("kind", SPOILT)
def test_the_reader_notices_a_part_that_does_not_fit(reader: Path, reference_broker: Address, small: str, kind: str) -> None:
    history = with_spoilt(kind, small)
    _, failed, said = read(reader, reference_broker.bootstrap, lines([history]))
    assert failed == [history["id"]], said


def test_the_reader_notices_an_end_that_does_not_come_and_one_that_comes(reader: Path, reference_broker: Address) -> None:
    ends = next(one for one in map(json.loads, TINY.splitlines()) if any("end" in step for step in one["steps"]))
    at = next(number for number, step in enumerate(ends["steps"]) if "end" in step)
    answered = copy.deepcopy(ends)
    del answered["steps"][at]["end"]
    answered["steps"][at]["answers"] = [[{"rest": True}]]
    del ends["steps"][0]["answers"]
    ends["steps"][0]["end"] = True
    for history, step in ((answered, at + 1), (ends, 1)):
        _, _, said = read(reader, reference_broker.bootstrap, lines([history]))
        assert said.startswith(f"{history['id']}, step {step}: "), said


def test_no_history_is_no_success(reader: Path, reference_broker: Address) -> None:
    assert read(reader, reference_broker.bootstrap, "")[0] == 1
