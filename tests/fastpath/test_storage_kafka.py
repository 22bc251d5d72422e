"""Folders of partitions go to Apache Kafka and come back: each broker serves what the other wrote, as the other served it.

One story is told once, and each test looks at a part of it:

    Kafka, first run      fills `native-*`; makes `clean-*` and `crashed-*`, which stay empty; is stopped
    ours                  fills the same topics in a folder of its own, copied while we run, and again when we have stopped
    ours                  opens the folders of `native-*`, appends, stops
    Kafka, second run     has them back as `native-*`, and ours as `clean-*`; appends; is killed
    ours                  opens what the killed Kafka left
    Kafka, third run      recovers what it left, and ours as they were copied while we ran: `crashed-*`
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from clients.mortal import Mortal
from conftest import not_run
from crc32c import crc32c
from peers.kafka import Kafka, PeerUnavailable, java_tool

from fastpath.folders import (
    PRODUCERS,
    Broker,
    Connected,
    Ours,
    Seen,
    Topic,
    append,
    await_leaders,
    copied,
    create,
    files_of,
    fill,
    grown,
    log_starts,
    moved_in,
    number,
    resent,
    seen,
    sent,
    shelf,
    stored,
    was_stopped_cleanly,
    with_log_starts,
)
from fiducial.fastpath.batch import batches
from fiducial.fastpath.data import CLEAN, PARTITION

Partition = tuple[str, int]
NATIVE, CLEANLY, CRASHED = "native-", "clean-", "crashed-"
COMPLAINT = re.compile(r"\b(WARN|ERROR|FATAL)\b")
#: Apache Kafka keeps the high watermark in a file, and misses it: on one replica it is the log end, so we write none.
HIGH_WATERMARK = "Non-monotonic update of high watermark"


@dataclass
class Story:
    """What was served, at each stage; what a resend of each producer's last batch was answered there; and the folders as they were."""

    topics: list[Topic]
    served: dict[str, dict[Partition, Seen]] = field(default_factory=dict)
    resent: dict[str, list[tuple[int, int, int]]] = field(default_factory=dict)  # (stored offset, error, answered offset)
    folders: dict[str, Path] = field(default_factory=dict)
    complaints: dict[str, list[str]] = field(default_factory=dict)

    def look(self, stage: str, broker: Broker, topics: list[Topic], prefix: str = "", *, epochs: int) -> None:
        """See all that a broker serves of the topics; `epochs`: how many leader epochs have ended, or are known."""
        named = [one for topic in topics for one in topic.partitions]
        self.served[stage] = {(name, index): seen(broker, prefix + name, index, epochs=range(epochs)) for name, index in named}

    def resend(self, stage: str, broker: Broker, topics: list[Topic], prefix: str = "") -> None:
        """Send the last batch of each producer again."""
        last = [(topic.name, *one) for topic in topics for one in resent(topic)]
        answers = ((offset, sent(broker, prefix + name, data)) for name, offset, data in last)
        self.resent[stage] = [(offset, answer.error_code, answer.base_offset) for offset, answer in answers]


def moved(topics: list[Topic], folder: Path, into: Path, *, prefix: str = "", into_prefix: str = "") -> None:
    """The files of all partitions of these topics from one data folder into another, with their log starts."""
    starts = log_starts(folder)
    for name, index in (one for topic in topics for one in topic.partitions):
        moved_in(folder / f"{prefix}{name}-{index}", into / f"{into_prefix}{name}-{index}")
        if (prefix + name, index) in starts:
            with_log_starts(into, {(into_prefix + name, index): starts[prefix + name, index]})


@contextmanager
def running(kafka: Kafka, topics: list[Topic], *prefixes: str) -> Iterator[Connected]:
    """Apache Kafka on its folder as it is, once it leads all partitions. How it is stopped is left to the block."""
    kafka.launch()
    broker = Connected(kafka.host, kafka.port)
    for prefix in prefixes:
        await_leaders(broker, [(prefix + name, index) for topic in topics for name, index in topic.partitions])
    yield broker


@contextmanager
def holding(path: Path, topics: list[Topic], begun_ms: int) -> Iterator[Path]:
    """A data folder of ours that knows the topics, for others to put their files into."""
    with Ours(path, now=begun_ms) as ours:
        for topic in topics:
            create(ours, topic.name, len(topic.batches), **topic.config)
    yield path


def complaints(kafka: Kafka, prefix: str) -> list[str]:
    """What Apache Kafka said of the topics with this prefix that is more than information."""
    return [line for line in kafka.log_path.read_text().splitlines() if COMPLAINT.search(line) and prefix in line and HIGH_WATERMARK not in line]


def told(kafka: Kafka, path: Path) -> Story:
    """The whole story, as the head of this file has it."""
    begun_ms = time.time_ns() // 1_000_000
    topics = shelf(begun_ms)
    story = Story(topics)
    more = [grown(topic, begun_ms) for topic in topics]
    most = [grown(topic, begun_ms) for topic in more]
    data = kafka.data_path

    broker = Connected(kafka.host, kafka.port)
    for topic in topics:
        fill(broker, topic, NATIVE)
        for prefix in (CLEANLY, CRASHED):
            create(broker, prefix + topic.name, len(topic.batches), **topic.config)
    for prefix in (CLEANLY, CRASHED):
        await_leaders(broker, [(prefix + name, index) for topic in topics for name, index in topic.partitions])
    story.look("native", broker, topics, NATIVE, epochs=1)
    story.folders["native, running"] = copied(data, path / "native-running")
    kafka.shut_down()
    assert was_stopped_cleanly(data), "Apache Kafka did not stop in good order"
    story.folders["native"] = copied(data, path / "native")

    with Ours(path / "ours", now=begun_ms) as ours:
        for topic in topics:
            fill(ours, topic)
        story.look("ours", ours, topics, epochs=1)
        story.folders["running"] = copied(path / "ours", path / "running")
    story.folders["ours"] = path / "ours"

    with holding(path / "adopted", topics, begun_ms) as adopted:
        moved(topics, data, adopted, prefix=NATIVE)
    with Ours(adopted, now=begun_ms) as ours:
        story.look("native, by ours", ours, topics, epochs=1)
        story.resend("native, by ours", ours, topics)
        for topic, longer in zip(topics, more, strict=True):
            append(ours, longer, after=topic)
        story.look("grown by ours", ours, more, epochs=2)
    story.folders["grown by ours"] = adopted

    moved(topics, adopted, data, into_prefix=NATIVE)
    moved(topics, path / "ours", data, into_prefix=CLEANLY)
    with running(kafka, topics, NATIVE, CLEANLY) as broker:
        story.look("ours, by Kafka", broker, topics, CLEANLY, epochs=1)
        story.look("grown by ours, by Kafka", broker, more, NATIVE, epochs=2)
        story.resend("ours, by Kafka", broker, topics, CLEANLY)
        story.resend("grown by ours, by Kafka", broker, more, NATIVE)
        for topic, longer, longest in zip(topics, more, most, strict=True):
            append(broker, longer, CLEANLY, after=topic)
            append(broker, longest, NATIVE, after=longer)
        story.look("grown by Kafka", broker, most, NATIVE, epochs=3)
        kafka.kill()
    story.complaints["after a clean stop"] = complaints(kafka, CLEANLY) + complaints(kafka, NATIVE)

    with holding(path / "found", topics, begun_ms) as found:
        moved(topics, data, found, prefix=NATIVE)
        (found / CLEAN).unlink()
    with Ours(found, now=begun_ms) as ours:
        story.look("grown by Kafka, by ours", ours, most, epochs=3)
        story.resend("grown by Kafka, by ours", ours, most)
    story.folders["found"] = found

    moved(topics, path / "running", data, into_prefix=CRASHED)
    with running(kafka, topics, CRASHED) as broker:
        story.look("crashed, by Kafka", broker, topics, CRASHED, epochs=1)
        story.resend("crashed, by Kafka", broker, topics, CRASHED)
        kafka.shut_down()
    story.complaints["after a crash"] = complaints(kafka, CRASHED)
    story.folders["recovered by Kafka"] = copied(data, path / "recovered")
    return story


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """The story. Its records are too young for any retention, and Apache Kafka does not look either."""
    path = tmp_path_factory.mktemp("folders")
    try:
        with Kafka(**{"log.initial.task.delay.ms": "3600000"}) as kafka:
            yield told(kafka, path)
    except PeerUnavailable as reason:
        not_run(f"Apache Kafka: {reason}")
    finally:
        shutil.rmtree(path)


SAME = [
    ("native", "native, by ours"),
    ("grown by ours", "grown by ours, by Kafka"),
    ("ours", "ours, by Kafka"),
    ("grown by Kafka", "grown by Kafka, by ours"),
    ("ours", "crashed, by Kafka"),
]


@pytest.mark.parametrize(("written", "read"), SAME)
def test_one_broker_serves_what_the_other_wrote(story: Story, written: str, read: str) -> None:
    for partition, before in story.served[written].items():
        assert not before.differs_from(story.served[read][partition]), partition


@pytest.mark.parametrize("stage", ["native, by ours", "ours, by Kafka", "grown by ours, by Kafka", "grown by Kafka, by ours", "crashed, by Kafka"])
def test_a_resend_of_a_producer_s_last_batch_is_known(story: Story, stage: str) -> None:
    answers = story.resent[stage]
    assert len(answers) == len(PRODUCERS)
    assert all((error, answered) == (0, stored_at) for stored_at, error, answered in answers), answers


@pytest.mark.parametrize("stop", ["after a clean stop", "after a crash"])
def test_apache_kafka_loads_our_folders_without_a_word(story: Story, stop: str) -> None:
    assert not story.complaints[stop]


# Kafka's own tool


READS = ["--deep-iteration", "--print-data-log"]
#: Lines of DumpLogSegments that tell what is there. Any other is a complaint.
TELLS = re.compile(
    r"Dumping \S+|Log starting offset: \d+|offset: \d+ position: \d+|timestamp: -?\d+ offset: \d+"
    r"|baseOffset: .* isvalid: true|\| offset: .*|producerId: .*|\S+ passed sanity check\.|\S+ is empty\."
)
#: The tool takes the log to begin at 0, and says so of every other segment of Kafka's own as well.
BEGINS_LATER = re.compile(r"Non-consecutive offsets in (\S+)\n  -1 is followed by (\d+)\n")


def dumped(files: Iterable[Path], *options: str) -> str:
    """What the tool says of the files; it must not complain, but of the segments that begin later."""
    done = java_tool("org.apache.kafka.tools.DumpLogSegments", *options, "--files", ",".join(map(str, files)))
    complaints = BEGINS_LATER.sub(lambda found: "" if number(Path(found[1]).name) == int(found[2]) else found[0], done.stderr)
    assert done.returncode == 0 and not complaints
    return done.stdout


def logs_in(*folders: Path) -> list[Path]:
    """The folders of all partitions."""
    return [one for folder in folders for one in sorted(folder.iterdir()) if PARTITION.fullmatch(one.name)]


@pytest.mark.parametrize("stage", ["ours", "running", "grown by ours", "found"])
def test_kafka_s_own_tool_reads_our_files_without_complaint(story: Story, stage: str) -> None:
    files = [file for folder in logs_in(story.folders[stage]) for file in sorted(folder.iterdir()) if file.suffix in (".log", ".index", ".timeindex", ".snapshot")]
    said = dumped(files, *READS)
    assert not [line for line in said.splitlines() if line and not TELLS.fullmatch(line)]
    assert said.count("Dumping") == len(files)
    for kind in ("| offset: ", "position: ", "timestamp: ", "lastSequence: "):
        assert said.count(kind) > 100


@pytest.mark.parametrize("stage", ["ours", "running"])
@pytest.mark.parametrize("check", ["--index-sanity-check", "--verify-index-only"])
def test_kafka_s_own_tool_finds_our_indexes_sound(story: Story, stage: str, check: str) -> None:
    indexes = [file for folder in logs_in(story.folders[stage]) for file in sorted(folder.iterdir()) if file.suffix in (".index", ".timeindex")]
    said = dumped(indexes, check)
    assert not [line for line in said.splitlines() if line and not TELLS.fullmatch(line)]
    assert said.count("Dumping") == len(indexes)
    if check == "--index-sanity-check":
        assert said.count("passed sanity check") + said.count("is empty") == len(indexes)


# The same files


#: In these each broker has its own time, or its own compressor.
OWN_BYTES = ("stamped", "packed")


def same_topics(topics: Iterable[Path]) -> list[Path]:
    """Folders of topics in which equal requests make equal files."""
    return [one for one in topics if not one.name.removeprefix(NATIVE).startswith(OWN_BYTES)]


def different(ours: dict[str, bytes], theirs: dict[str, bytes]) -> list[str]:
    """The names of files that only one of two folders has, or that are not equal."""
    return sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))


def snapshot_entries(data: bytes) -> tuple[bytes, list[bytes]]:
    """(version and count, entries in order of the producer) of a snapshot whose checksum is right."""
    assert struct.unpack_from(">I", data, 2)[0] == crc32c(data[6:])
    return data[:2] + data[6:10], sorted(data[at : at + 46] for at in range(10, len(data), 46))


def test_the_same_requests_make_the_same_files_as_in_apache_kafka(story: Story) -> None:
    compared = 0
    for ours in same_topics(logs_in(story.folders["ours"])):
        theirs = story.folders["native"] / f"{NATIVE}{ours.name}"
        kinds = (".log", ".index", ".timeindex", "")  # the last one: leader-epoch-checkpoint
        assert not different(files_of(ours, *kinds), files_of(theirs, *kinds)), ours.name
        compared += len(files_of(ours, *kinds))
    assert compared > 100


def test_the_same_requests_make_the_same_snapshots_of_producers(story: Story) -> None:
    for ours in same_topics(logs_in(story.folders["ours"])):
        kept = files_of(ours, ".snapshot")
        theirs = files_of(story.folders["native"] / f"{NATIVE}{ours.name}", ".snapshot")
        assert not [name for name, data in kept.items() if snapshot_entries(data) != snapshot_entries(theirs[name])], ours.name
        assert max(kept, default="") == max(theirs, default=""), "both end with the log"


def test_while_a_broker_runs_its_indexes_hold_what_apache_kafka_s_do(story: Story) -> None:
    """Ours grow with their entries. Kafka's have their full size from the beginning, in zeros, which are no entry."""
    active = 0
    for ours in same_topics(logs_in(story.folders["running"])):
        indexes = files_of(ours, ".index", ".timeindex")
        theirs = files_of(story.folders["native, running"] / f"{NATIVE}{ours.name}", ".index", ".timeindex")
        for name, data in theirs.items():
            held = indexes.get(name, b"")
            assert data.startswith(held) and not any(data[len(held) :]), (ours.name, name)
            active += len(data) > len(held) > 0
    assert active > 20


def test_after_a_crash_the_same_indexes_are_rebuilt_as_by_apache_kafka(story: Story, tmp_path: Path) -> None:
    with Ours(copied(story.folders["running"], tmp_path / "ours"), now=time.time_ns() // 1_000_000) as ours:
        story.resend("crashed, by ours", ours, story.topics)  # even a batch that is not appended may roll the log (LOG-APPEND-8)
    for folder in logs_in(tmp_path / "ours"):
        theirs = story.folders["recovered by Kafka"] / f"{CRASHED}{folder.name}"
        kinds = (".log", ".index", ".timeindex")
        assert not different(files_of(folder, *kinds), files_of(theirs, *kinds)), folder.name


# A process that is killed


@pytest.fixture
def kafka() -> Iterator[Kafka]:
    """Apache Kafka, which does not look for what is out of retention."""
    try:
        with Kafka(**{"log.initial.task.delay.ms": "3600000"}) as broker:
            yield broker
    except PeerUnavailable as reason:
        not_run(f"Apache Kafka: {reason}")


def marks(folder: Path) -> list[str]:
    """The segments that are marked as begun before all that is before them was on the disk."""
    return sorted(file.name for file in folder.glob("*.begun"))


def stands_still_with_marks(broker: Mortal, folder: Path) -> bool:
    """Stop the process where it is; it goes on if it has just forced everything to the disk."""
    broker.process.send_signal(signal.SIGSTOP)
    os.waitpid(broker.process.pid, os.WUNTRACED)
    if not marks(folder):
        broker.process.send_signal(signal.SIGCONT)
    return bool(marks(folder))


def contents(broker: Broker, topic: Topic) -> list[bytes]:
    """The batches of a topic's first partition, without what a broker writes into them."""
    return [one.data[21:] for one in batches(stored(broker, topic.name))]


def test_what_a_kill_leaves_apache_kafka_goes_on_with_and_after_a_kill_we_do(kafka: Kafka, tmp_path: Path) -> None:
    begun_ms = time.time_ns() // 1_000_000
    (topic,) = (one for one in shelf(begun_ms) if one.name == "producers")
    story, name, killed = Story([topic]), "producers-0", Mortal(tmp_path / "killed")
    broker = Connected("127.0.0.1", killed.port)
    fill(broker, topic)
    while not stands_still_with_marks(killed, killed.data / name):
        topic, shorter = grown(topic, begun_ms), topic
        append(broker, topic, after=shorter)
    killed.kill()

    create(Connected(kafka.host, kafka.port), topic.name, **topic.config)
    kafka.shut_down()
    moved([topic], killed.data, kafka.data_path)
    more = grown(topic, begun_ms)
    with running(kafka, [topic], "") as theirs:
        assert contents(theirs, topic) == [data[21:] for data in topic.batches[0]]
        story.resend("by Kafka", theirs, [topic])
        append(theirs, more, after=topic)
        kafka.kill()
    assert marks(kafka.data_path / name) == marks(killed.data / name) != []  # it knows nothing of them

    with holding(tmp_path / "back", [topic], begun_ms) as back:
        moved([topic], kafka.data_path, back)
        (back / CLEAN).unlink()
    with Ours(back, now=begun_ms) as ours:
        assert contents(ours, topic) == [data[21:] for data in more.batches[0]]
        story.resend("by ours", ours, [more])
        assert not marks(back / name)
    for answers in story.resent.values():
        assert len(answers) == len(PRODUCERS) and all((error, answered) == (0, at) for at, error, answered in answers), answers
