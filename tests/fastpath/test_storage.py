"""What is there after a restart on real files: topics and settings, logs and their marks, producers; and what becomes of folders that do not fit."""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from crc32c import crc32c
from differential.targets import Model

from fastpath.folders import (
    NOW,
    PRODUCERS,
    Broker,
    Ours,
    Topic,
    base_offsets,
    batch_of,
    copied,
    create,
    delete,
    delete_records,
    epoch_end,
    files_of,
    fill,
    index_entries,
    look_up,
    moved_in,
    produce,
    producers,
    resent,
    seen,
    sent,
    shelf,
    stored,
    talk,
)
from fiducial.fastpath.batch import batches
from fiducial.fastpath.data import LOG_STARTS, DataError
from fiducial.models import messages as m
from fiducial.models.config_requests import Operation, Resource
from fiducial.models.errors import Error

Ending = Callable[[Ours], None]
#: In a file: a byte of the first record's value.
VALUE_AT = 90
SMALL = {"internal_segment_bytes": "1000", "index_interval_bytes": "100", "retention_ms": "-1"}


@pytest.fixture(params=["stop", "crash"])
def end(request: pytest.FixtureRequest) -> Ending:
    """How a broker ends: told to, or killed."""
    ending: Ending = getattr(Ours, request.param)
    return ending


def restarted(ours: Ours, end: Ending) -> Ours:
    """The broker on the same folder, after its end; its clock stands where it stood."""
    end(ours)
    return Ours(ours.path, now=ours.now)


def produce_times(ours: Ours, topic: str, times: list[int]) -> None:
    """A batch of one record for each time."""
    for time in times:
        produce(ours, topic, batch_of([time]))


# Topics, settings, ids


def altered(ours: Ours, kind: int, name: str, config: str, text: str) -> None:
    """A configuration set."""
    change = m.IncrementalAlterConfigsRequestAlterableConfig(config, Operation.SET, text)
    resource = m.IncrementalAlterConfigsRequestAlterConfigsResource(kind, name, (change,))
    (done,) = talk(ours, m.IncrementalAlterConfigsRequest((resource,), False)).responses
    assert done.error_code == 0, done


def described(ours: Ours) -> Any:
    """Topics with ids and partitions, and every configuration of two topics and the broker."""
    topics = talk(ours, m.MetadataRequest(None)).topics
    resources = [(Resource.TOPIC, "a"), (Resource.TOPIC, "b"), (Resource.BROKER, "1"), (Resource.BROKER, "")]
    asked = m.DescribeConfigsRequest(tuple(m.DescribeConfigsResource(kind, name, None) for kind, name in resources), True)
    return {(one.name, one.topic_id, len(one.partitions)) for one in topics}, talk(ours, asked).results


@pytest.mark.rule("LOG-RESTART-11")
def test_topics_and_configurations_are_there_after_a_restart(tmp_path: Path, end: Ending) -> None:
    ours = Ours(tmp_path / "ours")
    for name in ("a", "b", "c"):
        create(ours, name, 2, retention_ms="5000")
    delete(ours, "c")
    grown = m.CreatePartitionsRequest((m.CreatePartitionsTopic("b", 4, None),), 1000, False)
    assert talk(ours, grown).results[0].error_code == 0
    altered(ours, Resource.TOPIC, "b", "retention.bytes", "77")
    altered(ours, Resource.BROKER, "", "log.flush.interval.ms", "1234")
    before = described(ours)
    held = {key: ours.node.core.marks(*key)[2] for key in ours.node.core.partitions()}
    assert sorted((one.retention_bytes, one.flush_ms) for one in held.values()) == [(-1, 1234)] * 2 + [(77, 1234)] * 4
    for _ in range(2):
        ours = restarted(ours, end)
        assert described(ours) == before
        assert {key: ours.node.core.marks(*key)[2] for key in ours.node.core.partitions()} == held
    assert sorted(one.name for one in ours.path.glob("*-[0-9]")) == ["a-0", "a-1", "b-0", "b-1", "b-2", "b-3"]


@pytest.mark.rule("LOG-RESTART-11")
def test_no_producer_id_is_given_out_again(tmp_path: Path, end: Ending) -> None:
    ours, given = Ours(tmp_path / "ours"), []
    for _ in range(3):
        for _ in range(3):
            answer = talk(ours, m.InitProducerIdRequest(None, 0))
            assert answer.error_code == 0
            given.append(answer.producer_id)
        ours = restarted(ours, end)
    assert given == sorted(set(given))


@pytest.mark.rule("LOG-RESTART-10")
def test_fetch_sessions_are_forgotten(tmp_path: Path, end: Ending) -> None:
    ours = Ours(tmp_path / "ours")
    create(ours, "a")
    wanted = m.FetchTopic("a", partitions=(m.FetchPartition(0, partition_max_bytes=1000),))
    session = talk(ours, m.FetchRequest(session_epoch=0, topics=(wanted,)))
    assert session.session_id > 0
    ours = restarted(ours, end)
    again = talk(ours, m.FetchRequest(session_id=session.session_id, session_epoch=1))
    assert again.error_code == Error.FETCH_SESSION_ID_NOT_FOUND


# Logs


@pytest.fixture(scope="module")
def topics() -> list[Topic]:
    """Topics with all that a folder can hold."""
    return shelf(NOW)


@pytest.fixture(scope="module")
def filled(topics: list[Topic], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with these topics, of a broker that was killed."""
    ours = Ours(tmp_path_factory.mktemp("filled") / "ours")
    for topic in topics:
        fill(ours, topic)
    ours.crash()
    return ours.path


@pytest.mark.rule("LOG-RESTART-1", "LOG-RESTART-3")
def test_every_log_is_served_as_before(topics: list[Topic], filled: Path, tmp_path: Path, end: Ending) -> None:
    ours = Ours(copied(filled, tmp_path / "ours"))
    partitions = [one for topic in topics for one in topic.partitions]
    before = {one: seen(ours, *one) for one in partitions}
    for _ in range(2):
        ours = restarted(ours, end)
        for one in partitions:
            assert not before[one].differs_from(seen(ours, *one)), one


@pytest.mark.rule("LOG-RESTART-2")
def test_each_start_begins_the_next_leader_epoch(tmp_path: Path, end: Ending) -> None:
    ours = Ours(tmp_path / "ours")
    create(ours, "a")
    for epoch in range(4):
        assert look_up(ours, "a", -1)[3] == epoch
        produce(ours, "a", batch_of([NOW]))
        ours = restarted(ours, end)
    assert [one.leader_epoch for one in batches(stored(ours, "a"))] == [0, 1, 2, 3]
    assert [epoch_end(ours, "a", epoch) for epoch in range(5)] == [(0, 1), (1, 2), (2, 3), (3, 4), (4, 4)]


@pytest.mark.rule("LOG-RESTART-7")
def test_the_last_five_batches_of_a_producer_are_known(tmp_path: Path, end: Ending) -> None:
    ours = Ours(tmp_path / "ours")
    create(ours, "a", **SMALL)
    sequence = [batch_of([NOW] * 2, producer=(PRODUCERS[0], 0, 2 * number)) for number in range(40)]
    for data in sequence[:39]:
        produce(ours, "a", data)
    ours = restarted(ours, end)
    assert len(base_offsets(ours.path / "a-0")) > 3
    assert [produce(ours, "a", data) for data in sequence[34:39]] == [68, 70, 72, 74, 76]
    assert sent(ours, "a", sequence[33]).error_code == Error.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert produce(ours, "a", sequence[39]) == 78


@pytest.mark.rule("LOG-RESTART-8")
def test_deleted_records_stay_deleted(tmp_path: Path, end: Ending) -> None:
    ours = Ours(tmp_path / "ours")
    create(ours, "a", **SMALL)
    produce_times(ours, "a", [NOW] * 40)
    for offset in (5, 33, 40):
        delete_records(ours, "a", offset)
        ours = restarted(ours, end)
        assert look_up(ours, "a", -2)[1] == offset
        ours.node.housekeeping(NOW)
        ours = restarted(ours, end)
        assert look_up(ours, "a", -2)[1] == offset
    assert produce(ours, "a", batch_of([NOW])) == 40


def test_a_topic_made_anew_begins_at_0_whatever_one_of_its_name_came_to(tmp_path: Path, end: Ending) -> None:
    ours = Ours(tmp_path / "ours")
    create(ours, "a")
    produce_times(ours, "a", [NOW] * 10)
    delete_records(ours, "a", 7)
    ours.node.checkpoint()
    delete(ours, "a")
    create(ours, "a")
    produce_times(ours, "a", [NOW] * 9)
    ours = restarted(ours, end)
    assert (look_up(ours, "a", -2)[1], look_up(ours, "a", -1)[1]) == (0, 9)


def test_nor_if_the_crash_came_before_the_checkpoints_forgot_it(tmp_path: Path) -> None:
    ours = Ours(tmp_path / "ours")
    create(ours, "a")
    produce_times(ours, "a", [NOW] * 10)
    delete_records(ours, "a", 7)
    kept = (ours.path / LOG_STARTS).read_bytes()
    delete(ours, "a")
    ours.crash()
    (ours.path / LOG_STARTS).write_bytes(kept)
    ours = Ours(ours.path)
    create(ours, "a")
    produce_times(ours, "a", [NOW] * 9)
    ours = restarted(ours, Ours.crash)
    assert (look_up(ours, "a", -2)[1], look_up(ours, "a", -1)[1]) == (0, 9)


# What is read at a start


def flush(ours: Ours) -> None:
    """What `fiducial serve` does from time to time: sealed segments are forced to the disk, and that is written down."""
    for unforced in ours.node.core.unsynced(ours.now):
        ours.node.synced(unforced, ours.node.core.sync(unforced))
    ours.node.checkpoint()


def spoil(file: Path, position: int) -> None:
    """Change one byte."""
    data = bytearray(file.read_bytes())
    data[position] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("where", ["sealed", "active"])
@pytest.mark.parametrize("is_flushed", [True, False])
def test_what_is_known_to_be_on_the_disk_is_not_read_through_again(tmp_path: Path, end: Ending, where: str, is_flushed: bool) -> None:
    """A byte of a record is changed: who reads through that segment ends the log there."""
    ours = Ours(tmp_path / "ours")
    create(ours, "a", **SMALL)
    produce_times(ours, "a", [NOW] * 40)
    if is_flushed:
        flush(ours)
    end(ours)
    damaged = max(base_offsets(ours.path / "a-0")) if where == "active" else 0
    spoil(ours.path / "a-0" / f"{damaged:020}.log", VALUE_AT)
    ours = Ours(ours.path)
    is_read = end is Ours.crash and (where == "active" or not is_flushed)
    assert look_up(ours, "a", -1)[1] == (damaged if is_read else 40)
    assert base_offsets(ours.path / "a-0")[-1] == (damaged if is_read else max(base_offsets(ours.path / "a-0")))


def test_what_is_recovered_is_read_through_once(tmp_path: Path) -> None:
    """And then known to be on the disk, with indexes that fit."""
    ours = Ours(tmp_path / "ours")
    create(ours, "a", **SMALL)
    produce_times(ours, "a", [NOW + at for at in range(40)])
    ours = restarted(ours, Ours.crash)
    before = seen(ours, "a")
    indexes = files_of(ours.path / "a-0", ".index", ".timeindex")
    spoil(ours.path / "a-0" / f"{0:020}.log", VALUE_AT)
    for ending in (Ours.crash, Ours.stop):
        ours = restarted(ours, ending)
        assert [one.split(":")[0] for one in before.differs_from(seen(ours, "a"))] == ["batches"]
        assert files_of(ours.path / "a-0", ".index", ".timeindex") == indexes


@pytest.mark.parametrize("suffix", ["index", "timeindex"])
@pytest.mark.parametrize("fault", ["missing", "half an entry more", "beyond the log", "of another batch"])
def test_an_index_that_does_not_fit_is_made_anew(tmp_path: Path, suffix: str, fault: str) -> None:
    ours = Ours(tmp_path / "ours")
    create(ours, "a", **SMALL)
    produce_times(ours, "a", [NOW + at for at in range(40)])
    before = seen(ours, "a")
    ours.stop()
    indexes = files_of(ours.path / "a-0", ".index", ".timeindex")
    for base_offset in base_offsets(ours.path / "a-0"):
        file = ours.path / "a-0" / f"{base_offset:020}.{suffix}"
        match fault:
            case "missing":
                file.unlink()
            case "half an entry more":
                file.write_bytes(file.read_bytes() + b"\x00\x00\x00\x01")
            case "beyond the log":
                file.write_bytes(file.read_bytes() + struct.pack(">ii" if suffix == "index" else ">qi", 2**30, 2**30))
            case _:
                data = bytearray(file.read_bytes())
                if data:
                    data[-5 if suffix == "index" else -1] += 1 if suffix == "index" else 100  # the offset of the last entry
                file.write_bytes(data)
    ours = Ours(ours.path)
    assert not before.differs_from(seen(ours, "a"))
    ours.stop()
    assert files_of(ours.path / "a-0", ".index", ".timeindex") == indexes


def test_hundreds_of_partitions_are_there_again_and_hold_no_file_open(tmp_path: Path) -> None:
    ours = Ours(tmp_path / "ours")
    create(ours, "many", 300)
    for index in range(0, 300, 100):
        produce(ours, "many", batch_of([NOW]), index)
    ours.stop()
    open_before = len(os.listdir("/proc/self/fd"))
    ours = Ours(ours.path)
    assert len(ours.node.core.partitions()) == 300
    assert len(os.listdir("/proc/self/fd")) - open_before < 10
    assert [look_up(ours, "many", -1, index)[1] for index in range(300)] == [int(index % 100 == 0) for index in range(300)]


# Producers


def of_one_producer(path: Path) -> list[bytes]:
    """A folder that was left in good order, with two segments or more; the batches of one producer."""
    sequence = [batch_of([NOW], producer=(PRODUCERS[0], 0, at)) for at in range(30)]
    with Ours(path) as ours:
        create(ours, "a", **SMALL)
        for data in sequence:
            produce(ours, "a", data)
    return sequence


@pytest.mark.parametrize("lost", [[".window"], [".snapshot"], [".snapshot", ".window"]])
@pytest.mark.parametrize("how", ["gone", "spoilt", "cut"])
@pytest.mark.parametrize("which", [1, 2])
def test_producers_are_known_though_their_newest_files_are_lost(tmp_path: Path, lost: list[str], how: str, which: int) -> None:
    """From the file before, or, if none is sound, from the log itself."""
    sequence = of_one_producer(tmp_path / "ours")
    for suffix in lost:
        for file in sorted((tmp_path / "ours" / "a-0").glob(f"*{suffix}"))[-which:]:
            match how:
                case "gone":
                    file.unlink()
                case "spoilt":
                    spoil(file, 12)
                case _:
                    file.write_bytes(file.read_bytes()[:-1])
    with Ours(tmp_path / "ours") as ours:
        known = 1 if which == 2 and lost == [".window"] else 5
        assert [produce(ours, "a", data) for data in sequence[-known:]] == list(range(30 - known, 30))
        assert look_up(ours, "a", -1)[1] == 30


@pytest.mark.parametrize("sequence", [0, 1])
def test_a_producer_of_whom_apache_kafka_knows_an_epoch_alone_is_kept_so(tmp_path: Path, sequence: int) -> None:
    """A marker makes such an entry. It takes sequence 0 only, and is written down again as it was read."""
    of_one_producer(tmp_path / "ours")
    folder = tmp_path / "ours" / "a-0"
    for file in [*folder.glob("*.window"), *folder.glob("*.snapshot")]:
        file.unlink()
    rest = struct.pack(">iqhiqiqiq", 1, PRODUCERS[1], 4, -1, -1, 0, NOW, -1, -1)
    (folder / f"{30:020}.snapshot").write_bytes(struct.pack(">hI", 1, crc32c(rest)) + rest)
    with Ours(tmp_path / "ours") as ours:
        assert producers(ours, "a") == ((PRODUCERS[1], 4, -1, -1),)
        produce(ours, "a", batch_of([NOW]))
    assert (folder / f"{31:020}.snapshot").read_bytes()[6:] == rest
    with Ours(tmp_path / "ours") as ours:
        answer = sent(ours, "a", batch_of([NOW], producer=(PRODUCERS[1], 4, sequence)))
        assert answer.error_code == (Error.NONE if sequence == 0 else Error.OUT_OF_ORDER_SEQUENCE_NUMBER)


@pytest.mark.rule("LOG-RESTART-11")
def test_no_producer_id_is_given_out_that_a_log_from_elsewhere_knows_of(tmp_path: Path, end: Ending) -> None:
    """Its first batch would be taken for a resend: answered, and not there."""
    with Ours(tmp_path / "elsewhere") as elsewhere, Ours(tmp_path / "ours") as ours:
        for one in (elsewhere, ours):
            create(one, "a")
        produce(elsewhere, "a", batch_of([NOW], producer=(given_id(elsewhere), 0, 0)))
    moved_in(tmp_path / "elsewhere" / "a-0", tmp_path / "ours" / "a-0")
    with Ours(tmp_path / "ours") as ours:
        assert produce(ours, "a", batch_of([NOW + 1], producer=(given_id(ours), 0, 0))) == 1
        assert look_up(ours, "a", -1)[1] == 2
        ours = restarted(ours, end)
        assert given_id(ours) > 1
        ours.stop()


def given_id(ours: Ours) -> int:
    """A new producer's."""
    return int(talk(ours, m.InitProducerIdRequest(None, 1000)).producer_id)


# What somebody takes away while a broker runs


@pytest.mark.parametrize("is_cut", [False, True])
@pytest.mark.parametrize("suffix", [".index", ".timeindex"])
def test_lookups_and_reads_do_without_an_index_that_was_taken_away(tmp_path: Path, suffix: str, is_cut: bool) -> None:
    with Ours(tmp_path / "ours") as ours:
        create(ours, "a", 1, **SMALL)
        produce_times(ours, "a", list(range(NOW, NOW + 40)))
        expected = seen(ours, "a")
    with Ours(tmp_path / "ours") as ours:
        indexes = sorted((tmp_path / "ours" / "a-0").glob(f"*{suffix}"))
        assert len(indexes) > 2
        for file in indexes:
            os.truncate(file, 0) if is_cut else file.unlink()
        assert [fetched_from(ours, "a", offset) for offset in range(40)] == [batches(one)[0].base_offset for one in expected.batches]
        assert seen(ours, "a").differs_from(expected) == []
        ours.crash()


def fetched_from(ours: Ours, topic: str, offset: int) -> int:
    """The base offset of the first batch that is read there."""
    wanted = m.FetchTopic(topic, partitions=(m.FetchPartition(0, fetch_offset=offset, partition_max_bytes=1),))
    (found,) = talk(ours, m.FetchRequest(topics=(wanted,))).responses[0].partitions
    assert found.error_code == 0, found
    return batches(found.records)[0].base_offset


def test_files_that_were_taken_away_already_are_not_missed_when_they_are_to_go(tmp_path: Path) -> None:
    with Ours(tmp_path / "ours") as ours:
        for name in ("a", "b"):
            create(ours, name, 1, **SMALL)
            produce_times(ours, name, list(range(NOW, NOW + 40)))
        first, *_, last = sorted((tmp_path / "ours" / "a-0").glob("*.log"))
        first.unlink()
        delete_records(ours, "a", 39)
        ours.node.housekeeping(ours.now)
        assert [*(tmp_path / "ours" / "a-0").glob("*.log")] == [last]
        shutil.rmtree(tmp_path / "ours" / "b-0")
        delete(ours, "b")
        assert produce(ours, "a", batch_of([NOW])) == 40
        create(ours, "b")
        assert produce(ours, "b", batch_of([NOW])) == 0


# Retention


@pytest.mark.rule("LOG-RETAIN-4")
def test_a_restart_does_not_make_records_younger(tmp_path: Path, end: Ending) -> None:
    ours = Ours(tmp_path / "ours")
    create(ours, "a", **SMALL | {"retention_ms": "10000"})
    produce_times(ours, "a", [NOW - age for age in (9000, 9500) for _ in range(9)] + [NOW] * 20)
    begins = base_offsets(ours.path / "a-0")
    assert begins[:3] == [0, 9, 18]
    ours = restarted(ours, end)
    ours.node.housekeeping(NOW + 1000)
    assert base_offsets(ours.path / "a-0") == begins, "the greatest timestamp is exactly so old"
    ours = restarted(ours, end)
    ours.node.housekeeping(NOW + 1001)
    kept = base_offsets(ours.path / "a-0")
    assert kept == begins[2:]
    ours = restarted(ours, end)
    assert (look_up(ours, "a", -2)[1], base_offsets(ours.path / "a-0")) == (kept[0], kept)


@pytest.mark.rule("LOG-RETAIN-5")
def test_records_without_a_time_are_as_old_as_their_file(tmp_path: Path, end: Ending) -> None:
    ours = Ours(tmp_path / "ours")
    create(ours, "a", **SMALL | {"retention_ms": "10000"})
    produce_times(ours, "a", [-1] * 40)
    end(ours)
    begins = base_offsets(ours.path / "a-0")
    for age_s, base_offset in zip((100, 50, 5), begins[:3], strict=True):
        os.utime(ours.path / "a-0" / f"{base_offset:020}.log", times=(NOW / 1000 - age_s,) * 2)
    ours = Ours(ours.path)
    ours.node.housekeeping(NOW)
    assert base_offsets(ours.path / "a-0") == begins[2:]


@pytest.mark.rule("LOG-RETAIN-6")
def test_after_a_restart_a_log_is_as_large_as_it_is(tmp_path: Path, end: Ending) -> None:
    ours = Ours(tmp_path / "ours")
    create(ours, "a", **SMALL | {"retention_bytes": "2000"})
    produce_times(ours, "a", [NOW] * 60)
    ours = restarted(ours, end)
    ours.node.housekeeping(NOW)
    sizes = [len(data) for data in files_of(ours.path / "a-0", ".log").values()]
    assert 2000 <= sum(sizes) < 2000 + sizes[0]


# Lookups


class TheModel:
    """The model behind a codec, with a clock that stands still."""

    def __init__(self) -> None:
        self.model = Model(clock=lambda: NOW)

    def ask(self, frame: bytes) -> bytes | None:
        return self.model.ask(frame, expects_answer=True)


def random_times(random: Random) -> list[list[int]]:
    """The timestamps of some batches: rising, falling, jumping, none."""
    now, found = NOW - 1_000_000, []
    for _ in range(random.randint(1, 80)):
        now += random.choice([-1000, -10, 0, 1, 10, 50, 100])
        found.append([random.choice([now, now, now + random.randint(-100, 100), -1]) for _ in range(random.randint(1, 4))])
    return found


@pytest.mark.rule("LOG-TIME-2", "LOG-TIME-3")
@pytest.mark.parametrize("seed", range(12))
def test_lookups_by_time_find_what_the_model_finds(tmp_path: Path, end: Ending, seed: int) -> None:
    """In logs whose times are in no order, through indexes of all densities, before and after a restart."""
    random = Random(seed)
    config = {
        "internal_segment_bytes": random.choice(["300", "1000", "100000"]),
        "index_interval_bytes": random.choice(["0", "100", "500"]),
        "message_timestamp_type": random.choice(["CreateTime"] * 5 + ["LogAppendTime"]),
    }
    ours, model = Ours(tmp_path / "ours"), TheModel()
    times = random_times(random)
    codecs = [random.choice([0, 0, 4]) for _ in times]
    brokers: tuple[Broker, ...] = (ours, model)
    for broker in brokers:
        create(broker, "a", **config)
        for batch, codec in zip(times, codecs, strict=True):
            produce(broker, "a", batch_of(batch, codec))
        delete_records(broker, "a", len(times) // 5)
    asked = [-3, 0, *(time + step for batch in times for time in batch for step in (-1, 0, 1) if time > 0), NOW, NOW + 1]
    for _ in range(3):
        assert [look_up(ours, "a", time) for time in asked] == [look_up(model, "a", time) for time in asked]
        ours = restarted(ours, end)


def test_lookups_and_reads_begin_where_the_indexes_say(tmp_path: Path, end: Ending) -> None:
    """All before that is made unreadable, so that nobody could come by there."""
    ours = Ours(tmp_path / "ours")
    create(ours, "a", index_interval_bytes="300", retention_ms="-1")
    produce_times(ours, "a", [NOW - 1000 + at for at in range(100)])
    ours = restarted(ours, end)
    before = stored(ours, "a")
    file = ours.path / "a-0" / f"{0:020}.log"
    offset, position = index_entries(file.with_suffix(".index").read_bytes())[-2]
    assert offset > 90
    with file.open("r+b") as log:
        log.write(b"\xff" * position)
    assert look_up(ours, "a", NOW - 1000 + offset + 1)[:3] == (0, offset + 1, NOW - 1000 + offset + 1)
    assert look_up(ours, "a", -3)[:3] == (0, 99, NOW - 1000 + 99)
    wanted = m.FetchTopic("a", partitions=(m.FetchPartition(0, fetch_offset=offset, partition_max_bytes=10_000),))
    (found,) = talk(ours, m.FetchRequest(topics=(wanted,))).responses[0].partitions
    assert found.records == before[position:]
    assert look_up(ours, "a", NOW - 1000)[0] == Error.KAFKA_STORAGE_ERROR, "from there on it has to read"


# Folders that do not fit


@pytest.mark.parametrize("is_made_anew", [False, True])
@pytest.mark.parametrize("left", ["the folder", "half of it, put aside"])
def test_a_deletion_that_a_crash_cut_short_is_finished(tmp_path: Path, is_made_anew: bool, left: str) -> None:
    ours = Ours(tmp_path / "ours")
    topic_id = create(ours, "a", 2)
    produce_times(ours, "a", [NOW] * 3)
    kept = copied(ours.path / "a-0", tmp_path / "kept")
    delete(ours, "a")
    if is_made_anew:
        create(ours, "a")
    ours.crash()
    if left == "the folder":
        shutil.rmtree(ours.path / "a-0", ignore_errors=True)
        shutil.copytree(kept, ours.path / "a-0")
    else:
        shutil.copytree(kept, ours.path / f"a-0.{topic_id.hex()}-delete", ignore=shutil.ignore_patterns("partition.metadata", "*.log"))
    ours = Ours(ours.path)
    assert [one.name for one in ours.path.glob("a-*")] == (["a-0"] if is_made_anew else [])
    if is_made_anew:
        assert look_up(ours, "a", -1)[1] == 0


def test_a_folder_of_a_topic_that_nobody_knows_is_put_aside_whole(tmp_path: Path) -> None:
    with Ours(tmp_path / "other") as other:
        create(other, "first")  # ids come in a row
        topic_id = create(other, "a", 2)
        produce_times(other, "a", [NOW] * 3)
    ours = Ours(tmp_path / "ours")
    create(ours, "a")
    ours.stop()
    shutil.rmtree(ours.path / "a-0")
    shutil.copytree(tmp_path / "other" / "a-0", ours.path / "a-0")
    shutil.copytree(tmp_path / "other" / "a-1", ours.path / "b-1")
    (ours.path / "c-7").mkdir()
    ours = Ours(ours.path)
    assert look_up(ours, "a", -1)[1] == 0, "that is another topic, of the same name"
    create(ours, "b", 2)
    create(ours, "c", 8)
    strays = {f"a-0.{topic_id.hex()}-stray", f"b-1.{topic_id.hex()}-stray", f"c-7.{'0' * 32}-stray"}
    assert {one.name for one in ours.path.glob("*-stray")} == strays
    moved = files_of(ours.path / f"a-0.{topic_id.hex()}-stray", ".log", ".metadata")
    assert moved == files_of(tmp_path / "other" / "a-0", ".log", ".metadata")
    ours.stop()
    shutil.copytree(tmp_path / "other" / "a-0", ours.path / "d-0")
    shutil.copytree(tmp_path / "other" / "a-0", ours.path / f"d-0.{topic_id.hex()}-stray")
    with pytest.raises(DataError, match=r"d-0 is no partition of this broker, and cannot be put aside"):
        Ours(ours.path)


@pytest.mark.parametrize("left", ["nothing", "an empty folder", "a folder that does not say whose it is"])
def test_a_topic_whose_making_a_crash_cut_short_is_made(tmp_path: Path, left: str) -> None:
    ours = Ours(tmp_path / "ours")
    create(ours, "a")
    ours.crash()
    whose = (ours.path / "a-0" / "partition.metadata").read_bytes()
    if left != "a folder that does not say whose it is":
        shutil.rmtree(ours.path / "a-0")
    if left == "an empty folder":
        (ours.path / "a-0").mkdir()
    (ours.path / "a-0" / "partition.metadata").unlink(missing_ok=True)
    ours = Ours(ours.path)
    assert produce(ours, "a", batch_of([NOW])) == 0
    assert (ours.path / "a-0" / "partition.metadata").read_bytes() == whose
    ours = restarted(ours, Ours.crash)
    assert look_up(ours, "a", -1)[1] == 1


def test_a_topic_of_the_longest_name_can_be_made_filled_found_again_and_deleted(tmp_path: Path, end: Ending) -> None:
    ours, name = Ours(tmp_path / "ours"), "x" * 249
    create(ours, name, 2)
    produce(ours, name, batch_of([NOW]), 1)
    ours = restarted(ours, end)
    assert look_up(ours, name, -1, 1)[1] == 1
    delete(ours, name)
    assert not list(ours.path.glob("x*"))
    create(ours, name)
    ours.stop()
    (ours.path / f"{name}-7").mkdir()
    ours = Ours(ours.path)
    assert [len(one.name) for one in ours.path.glob("*-stray")] == [255]


def test_resent_batches_of_the_shelf_are_known(topics: list[Topic], filled: Path, tmp_path: Path, end: Ending) -> None:
    ours = restarted(Ours(copied(filled, tmp_path / "ours")), end)
    for topic in topics:
        for offset, data in resent(topic):
            assert produce(ours, topic.name, data) == offset
    assert look_up(ours, "producers", -1)[1] == 120
