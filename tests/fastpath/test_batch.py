"""The room of record batches against the models and the reference broker: the same facts, the same verdicts, the same bytes to store."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tomllib
import zlib
from collections import Counter
from collections.abc import Iterator
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import cramjam
import pytest
from crc32c import crc32c
from odd_batches import NOW, Maker

from fiducial.conformance.batches import Item, build
from fiducial.fastpath import batch
from fiducial.models.batches import UNPACKED_BYTES_MAX, SentBatch, Tail
from fiducial.models.log import (
    BATCH_CHECK,
    PER_RECORD,
    REQUEST_CHECK,
    LogConfig,
    deltas_are_dense,
    first_header_is_unreadable,
    planned,
    record_errors,
)
from fiducial.reference.records import EncodedBatch, compressed, decompressed, parsed, with_checksum

IS_LONG = os.environ.get("FIDUCIAL_LONG") == "1"
ROUNDS = 500_000 if IS_LONG else 20_000
CODECS = range(5)
LEVELS = {1: 6, 3: 9, 4: 3}
TABLE, X86 = 0, 1
WAYS = [way for way in range(3) if batch.checksum_of(b"", way=way) is not None]
TAILS = {0: Tail.NOTHING, 1: Tail.PARTIAL, 2: Tail.CORRUPT, 3: Tail.CORRUPT}
#: How often the random batches must have met each verdict, 0 being none.
FLOORS = dict.fromkeys((*range(1, 16), 18, 19, 26), 10) | {0: 5000, 13: 1000, 15: 500, 18: 1000}


# The checksum


def test_the_best_way_is_taken_that_the_machine_has() -> None:
    assert TABLE in WAYS
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    if platform.machine() == "x86_64" and "sse4_2" in flags and "pclmulqdq" in flags:
        assert X86 in WAYS


@pytest.mark.parametrize("way", [*WAYS, -1])
def test_a_checksum_is_that_of_the_bytes_for_every_length(way: int) -> None:
    data = Random(way).randbytes(4096)
    for size in range(len(data) + 1):
        assert batch.checksum_of(data[:size], way=way) == crc32c(data[:size])


@pytest.mark.parametrize("way", [*WAYS, -1])
def test_a_checksum_is_that_of_the_bytes_wherever_they_lie_and_however_many(way: int) -> None:
    data = memoryview(Random(way).randbytes(3_000_000))
    for begin in range(16):
        for end in (begin + 7, 400, 1000, 16_384, 100_001, len(data) - begin):
            assert batch.checksum_of(data[begin:end], way=way) == crc32c(data[begin:end])


@pytest.mark.parametrize("way", [*WAYS, -1])
def test_a_checksum_goes_on_from_another(way: int) -> None:
    data = Random(way).randbytes(10_000)
    for cut in (0, 1, 8, 383, 384, 5000, 10_000):
        before = batch.checksum_of(data[:cut], way=way)
        assert before is not None
        assert batch.checksum_of(data[cut:], before=before, way=way) == crc32c(data)


# What is seen


def expected_facts(records: bytes | None) -> dict[str, Any]:
    """What the reference sees, in the form of `batch.facts`."""
    sent = parsed(records)
    if sent is None:
        return {"batches": 0, "tail": Tail.NOTHING, "tail_magic": None, "first": None}
    first = expected_batch(sent.batches[0]) if sent.batches else None
    return {"batches": len(sent.batches), "tail": sent.tail, "tail_magic": sent.tail_magic, "first": first}


def expected_batch(sent: SentBatch) -> dict[str, Any]:
    names = "size_bytes base_offset magic crc_is_good attributes last_offset_delta max_timestamp producer_id producer_epoch base_sequence count"
    facts: dict[str, Any] = {name: getattr(sent, name) for name in names.split()}
    times = [record.timestamp for record in sent.records or () if record.timestamp != -1]
    facts["unpacks_too_far"] = sent.unpacks_too_far
    facts["records"] = None
    if sent.records is not None:
        facts["records"] = {
            "count": len(sent.records),
            "are_dense": deltas_are_dense(sent),
            "have_keys": all(record.has_key for record in sent.records),
            "earliest": min(times, default=2**63 - 1),
            "latest": max(times, default=-(2**63)),
        }
    return facts


def seen_facts(records: bytes | None) -> dict[str, Any]:
    facts = batch.facts(records)
    return {**facts, "tail": TAILS[facts["tail"]]}


def signed(data: bytes, body: bytes) -> bytes:
    """The batch with another body, and length and checksum to fit."""
    return with_checksum(data[:8] + (49 + len(body)).to_bytes(4, "big") + data[12:61] + body)


ITEMS = [Item(NOW, b"a", b"1", ((b"h", b"2"), (b"i", None))), Item(NOW - 5, None, b"x" * 70), Item(-1, b"k", None)]


@pytest.mark.parametrize("codec", CODECS)
def test_records_cut_short_at_any_byte_are_seen_alike(codec: int) -> None:
    data = build(ITEMS, codec=codec)
    whole = data + data
    for cut in range(len(whole) + 1):
        assert seen_facts(whole[:cut]) == expected_facts(whole[:cut])


@pytest.mark.parametrize("magic", [0, 1, 2])
@pytest.mark.parametrize("codec", CODECS)
def test_a_batch_shorter_than_its_header_is_seen_alike(codec: int, magic: int) -> None:
    data = build(ITEMS, codec=codec, magic=magic)
    for length in range(60):
        records = data[:8] + length.to_bytes(4, "big") + data[12:]
        assert seen_facts(records) == expected_facts(records)
        assert compare(records[: 12 + length], LogConfig(), api_version=6) != 0


@pytest.mark.parametrize("codec", CODECS)
def test_a_body_cut_short_at_any_byte_is_seen_alike(codec: int) -> None:
    data = build(ITEMS, codec=codec)
    for cut in range(61, len(data) + 1):
        shorter = signed(data, data[61:cut])
        assert seen_facts(shorter) == expected_facts(shorter)


@pytest.mark.parametrize("codec", CODECS)
def test_records_unpacked_and_cut_short_at_any_byte_are_seen_alike(codec: int) -> None:
    data = build(ITEMS, codec=codec)
    body = decompressed(data[61:], codec)
    readable = []
    for cut in range(len(body) + 1):
        shorter = signed(data, compressed(body[:cut], codec, LEVELS.get(codec, 0)))
        assert seen_facts(shorter) == expected_facts(shorter)
        if seen_facts(shorter)["first"]["records"] is not None:
            readable.append(seen_facts(shorter)["first"]["records"]["count"])
    assert readable == [0, 1, 2, 3]


@pytest.mark.parametrize("codec", [1, 2, 3, 4])
def test_any_byte_of_a_packed_body_may_be_wrong(codec: int) -> None:
    data = build(ITEMS * 3, codec=codec)
    for position in range(61, len(data)):
        for wrong in (0x00, 0xFF, data[position] ^ 0x01, data[position] ^ 0x80):
            changed = signed(data, data[61:position] + bytes([wrong]) + data[position + 1 :])
            assert seen_facts(changed) == expected_facts(changed)


def lz4_frame(body: bytes, content_checksum: bool, block_linked: bool) -> bytes:
    """A frame as another library makes it."""
    packer = cramjam.lz4.Compressor(content_checksum=content_checksum, block_linked=block_linked)
    packer.compress(body)
    return bytes(packer.finish())


def packings(body: bytes) -> Iterator[tuple[int, bytes]]:
    """(codec, a body packed otherwise than the reference packs it), and what is not quite that."""
    half = len(body) // 2
    for codec in (1, 2, 3, 4):
        parts = [compressed(part, codec, LEVELS.get(codec, 0)) for part in (body[:half], body[half:], b"")]
        for packed in (parts[0] + parts[1], parts[2] + parts[0] + parts[1], parts[0] + parts[1] + parts[2]):
            yield from ((codec, packed + behind) for behind in (b"", b"\x1f\x8b", b"\x1f\x8b\x08", b"junk", bytes(4)))
    yield 1, zlib.compress(body)
    yield 2, bytes(cramjam.snappy.compress_raw(body))
    yield 2, bytes(cramjam.snappy.compress_raw(body)) + bytes(2)
    yield 2, bytes(cramjam.snappy.compress(body))
    for content_checksum in (False, True):
        for block_linked in (False, True):
            yield 3, lz4_frame(body, content_checksum, block_linked)
            yield 3, lz4_frame(body, content_checksum, block_linked)[:-1]
            yield 3, lz4_frame(body * 3000, content_checksum, block_linked)
    skippable = bytes.fromhex("502a4d18 03000000 616263")
    yield from ((codec, skippable + compressed(body, codec, LEVELS[codec])) for codec in (3, 4))


def test_packed_as_others_pack_them_records_are_seen_alike() -> None:
    data = build(ITEMS)
    outcomes = Counter[tuple[int, bool]]()
    for codec, packed in packings(data[61:]):
        records = signed(data[:22] + bytes([codec]) + data[23:], packed)
        assert seen_facts(records) == expected_facts(records)
        outcomes[codec, seen_facts(records)["first"]["records"] is not None] += 1
    assert set(outcomes) == {(codec, readable) for codec in (1, 2, 3, 4) for readable in (False, True)}


@pytest.mark.rule("LOG-BATCH-25")
@pytest.mark.parametrize("codec", [1, 2, 3, 4])
@pytest.mark.parametrize("size_bytes", [UNPACKED_BYTES_MAX, UNPACKED_BYTES_MAX + 1])
def test_a_batch_unpacks_as_far_as_the_model_says(codec: int, size_bytes: int) -> None:
    data = signed(build(ITEMS, codec=codec), compressed(bytes(size_bytes), codec, 1))
    seen = seen_facts(data)
    assert seen == expected_facts(data)
    assert seen["first"]["unpacks_too_far"] is (size_bytes > UNPACKED_BYTES_MAX)


# What is refused, and what is stored


def limits(config: LogConfig) -> dict[str, int]:
    """A topic's configuration, as the fast path has it."""
    return {
        "max_message_bytes": config.max_message_bytes,
        "timestamp_before_max_ms": config.timestamp_before_max_ms,
        "timestamp_after_max_ms": config.timestamp_after_max_ms,
        "append_time": config.append_time,
        "compacts": config.compacts,
        "codec": -1 if config.compression is None else config.compression,
        "level": config.compression_level,
    }


def expected_verdict(records: bytes | None, config: LogConfig, now: int, api_version: int) -> tuple[int, int, list[Any]]:
    """What the models say, in the form of `batch.judge`."""
    sent = parsed(records)
    if first_header_is_unreadable(sent):
        return 1, 2, []
    rung = REQUEST_CHECK.refusal(sent, api_version)
    if rung is None:
        assert sent is not None
        rung = BATCH_CHECK.refusal(sent.batches[0], config, now)
    if rung is None:
        return 0, 0, []
    faults = record_errors(sent.batches[0], config, now) if sent and rung.rule in PER_RECORD else ()
    return number(rung.rule), int(rung.error), [(fault.index, number(fault.rung.rule), fault.message) for fault in faults]


def number(rule: str) -> int:
    return int(rule.removeprefix("LOG-BATCH-"))


def expected_bytes(records: bytes, config: LogConfig, now: int, base_offset: int, leader_epoch: int) -> bytes:
    """What the reference stores."""
    sent = parsed(records)
    assert sent is not None
    plan = planned(sent.batches[0], config, now)
    assert isinstance(plan.payload, EncodedBatch)
    return plan.payload.stamped(base_offset, leader_epoch, plan.has_append_time, plan.max_timestamp)


def compare(records: bytes | None, config: LogConfig, now: int = NOW, api_version: int = 13) -> int:
    """Hold the fast path against models and reference; returns the verdict's number."""
    assert seen_facts(records) == expected_facts(records)
    verdict = batch.judge(records, limits(config), now=now, api_version=api_version)
    assert verdict == expected_verdict(records, config, now, api_version)
    if records is not None and verdict[0] == 0:
        stored = batch.stored(records, limits(config), now=now, base_offset=2**40 + 1, leader_epoch=7)
        assert stored == expected_bytes(records, config, now, 2**40 + 1, 7)
    return verdict[0]


def test_random_batches_are_judged_and_stored_alike() -> None:
    seen = Counter[int]()
    for seed in range(ROUNDS):
        maker = Maker(Random(seed), rarity=40 if seed % 2 else 150)
        records, config = maker.records(), maker.config()
        try:
            seen[compare(records, config, api_version=6 if maker.happens() else 13)] += 1
        except AssertionError:
            print(f"seed {seed}: {records.hex() if records else records} on {config}")
            raise
    assert {verdict: seen[verdict] for verdict, floor in FLOORS.items() if seen[verdict] < floor} == {}


@pytest.mark.parametrize("append_time", [0, 0x08])
@pytest.mark.parametrize("deltas", [(0, 1, 2), (0, 2, 1)])
@pytest.mark.parametrize("target", CODECS)
@pytest.mark.parametrize("codec", CODECS)
def test_a_batch_is_packed_anew_as_the_reference_does_it(
    codec: int, target: int, deltas: tuple[int, ...], append_time: int
) -> None:
    records = build(ITEMS, codec=codec, deltas=deltas, attributes=append_time | 0xC0)
    verdict = compare(records, LogConfig(compression=target, compression_level=LEVELS.get(target, 0)))
    assert verdict == (19 if codec == target != 0 and deltas != (0, 1, 2) else 0)


def test_a_batch_that_would_be_refused_is_not_stored() -> None:
    refused = build(ITEMS, spoil_checksum=True)
    with pytest.raises(ValueError, match="refuse"):
        batch.stored(refused, limits(LogConfig()), now=NOW, base_offset=0, leader_epoch=0)


def test_large_bodies_are_packed_anew_in_as_many_blocks_as_it_takes() -> None:
    items = [Item(NOW, None, Random(0).randbytes(90_000)), *[Item(NOW, b"k" * 300, b"v" * 70_000)] * 5]
    for target in CODECS:
        config = LogConfig(compression=target, compression_level=LEVELS.get(target, 0))
        for codec in CODECS:
            assert compare(build(items, codec=codec), config) == 0


# For Python: making and reading batches

Made = tuple[int, bytes | None, bytes | None, tuple[tuple[bytes, bytes | None], ...]]


def made(items: list[Item]) -> list[Made]:
    """The same records for `batch.encode`."""
    return [(item.timestamp, item.key, item.content, item.headers) for item in items]


def seen(records: list[batch.Record]) -> list[Made]:
    """The same records, without their offsets."""
    return [(record.timestamp, record.key, record.value, record.headers) for record in records]


def random_items(random: Random) -> list[Item]:
    """Records with parts of sizes on both sides of where a length takes another byte."""
    parts = [None, b"", b"k", b"x" * 63, b"y" * 64, b"z" * 8191, b"z" * 8192]
    times = [NOW, NOW + 1, NOW - 70_000, -1, 0, 2**62]
    headers = [(), (), ((b"", None),), ((b"h" * 63, b""), (b"h", b"x" * 64))]
    count = random.choice([1, 2, 63, 64, 65, 300])
    return [Item(random.choice(times), random.choice(parts), random.choice(parts[:5]), random.choice(headers)) for _ in range(count)]


@pytest.mark.parametrize("codec", CODECS)
def test_batches_are_made_as_the_reference_makes_them_and_read_again(codec: int) -> None:
    for seed in range(40):
        items = random_items(Random(seed))
        data = batch.encode(made(items), codec=codec, level=LEVELS.get(codec))
        assert data == build(items, codec=codec)
        read = batch.EncodedBatch(data)
        assert read.crc_is_good
        assert seen(read.records()) == made(items)
        assert [record.offset for record in read.records()] == list(range(len(items)))


def test_times_of_a_batch_may_lie_any_distance_apart() -> None:
    times = [-(2**63), 2**63 - 1, -1, 0]
    read = batch.EncodedBatch(batch.encode([(time, None, None) for time in times]))
    assert [record.timestamp for record in read.records()] == times
    assert read.max_timestamp == 2**63 - 1


def test_what_a_header_says_is_as_it_was_given() -> None:
    data = batch.encode(
        [(NOW, b"k", b"v"), (NOW - 1, None, None)],
        base_offset=2**40,
        leader_epoch=3,
        producer_id=2**33,
        producer_epoch=4,
        base_sequence=5,
        attributes=0x10,
    )
    read = batch.EncodedBatch(data)
    assert (read.base_offset, read.last_offset, read.leader_epoch, read.count) == (2**40, 2**40 + 1, 3, 2)
    assert (read.producer_id, read.producer_epoch, read.base_sequence) == (2**33, 4, 5)
    assert (read.attributes, read.max_timestamp, read.data) == (0x10, NOW, data)
    assert expected_facts(data)["first"] == batch.facts(data)["first"]


def test_with_append_time_each_record_has_the_time_of_the_header() -> None:
    data = build(ITEMS, attributes=0x08, max_timestamp=NOW + 7)
    assert [record.timestamp for record in batch.EncodedBatch(data).records()] == [NOW + 7] * 3
    assert list(batch.EncodedBatch(data).columns().timestamps) == [NOW + 7] * 3


@pytest.mark.parametrize("codec", CODECS)
def test_columns_hold_what_the_records_hold(codec: int) -> None:
    read = batch.EncodedBatch(batch.encode(made(random_items(Random(1))), codec=codec, base_offset=100))
    columns = read.columns()
    for index, record in enumerate(read.records()):
        assert (columns.offsets[index], columns.timestamps[index]) == (record.offset, record.timestamp)
        assert part(columns.body, columns.key_begins[index], columns.key_sizes[index]) == record.key
        assert part(columns.body, columns.value_begins[index], columns.value_sizes[index]) == record.value


def part(body: bytes, begin: int, size: int) -> bytes | None:
    return None if size < 0 else body[begin : begin + size]


def test_odd_batches_are_read_for_python_if_the_reference_can_read_them() -> None:
    outcomes = Counter[bool]()
    for seed in range(3000):
        records = Maker(Random(seed)).batch()
        sent = parsed(records)
        if sent is None or len(sent.batches) != 1 or sent.tail is not Tail.NOTHING or not sent.batches[0].crc_is_good:
            continue
        (first,) = sent.batches
        readable = first.records is not None and len(first.records) == first.count
        outcomes[readable] += 1
        read = batch.EncodedBatch(records)
        if not readable:
            for reading in (read.records, read.columns):
                with pytest.raises(batch.Unreadable):
                    reading()
            continue
        deltas = [record.offset - read.base_offset for record in read.records()]
        times = [first.max_timestamp if first.attributes & 0x08 else record.timestamp for record in first.records or ()]
        assert deltas == [record.offset_delta for record in first.records or ()]
        assert times == [record.timestamp for record in read.records()] == list(read.columns().timestamps)
        assert [record.key is not None for record in read.records()] == [record.has_key for record in first.records or ()]
    assert outcomes[True] > 500 and outcomes[False] > 200


@pytest.mark.parametrize("data", [b"", bytes(61), build(ITEMS)[:-1], build(ITEMS) * 2, build(ITEMS, magic=1)])
def test_what_is_not_one_batch_is_none(data: bytes) -> None:
    with pytest.raises(batch.Unreadable):
        batch.EncodedBatch(data)
    with pytest.raises(TypeError):
        batch.EncodedBatch.__new__(batch.EncodedBatch)


def test_whole_batches_are_found_one_behind_the_other() -> None:
    one, two = build(ITEMS), build(ITEMS[:1], codec=4)
    for cut in range(len(two)):
        assert [found.data for found in batch.batches(one + two[:cut])] == [one]
    assert [found.data for found in batch.batches(one + two)] == [one, two]
    for bad in (bytes(61), one[:16] + b"\x01" + one[17:], one[:16] + b"\x03" + one[17:]):
        with pytest.raises(batch.Unreadable):
            batch.batches(one + bad)


class Fickle(tuple[Any, ...]):
    """Headers that are others each time somebody looks."""

    def __iter__(self) -> Iterator[Any]:
        self.looks = getattr(self, "looks", 0) + 1
        return iter([(b"k" * self.looks ** 5, b"v")])


class Backwards(Fickle):
    """Headers that become fewer bytes."""

    def __iter__(self) -> Iterator[Any]:
        self.looks = getattr(self, "looks", 200) // 2
        return iter([(b"k" * self.looks, b"v")])


@pytest.mark.parametrize("headers", [Fickle([0]), Backwards([0])])
def test_records_that_change_while_they_are_encoded_do_no_harm(headers: Any) -> None:
    with pytest.raises(RuntimeError, match="changed"):
        batch.encode([(NOW, b"k", b"v", headers)])


@pytest.mark.parametrize(
    "records, error",
    [
        ([], ValueError),
        ([(NOW, "k", None)], TypeError),
        ([(NOW, None, bytearray())], TypeError),
        ([(NOW, None, None, [(None, b"v")])], TypeError),
        ([(NOW, None)], ValueError),
        ([()], ValueError),
        ([(2**63, None, None)], OverflowError),
        ([(NOW, None, None), [NOW, None, None]], TypeError),
    ],
)
def test_what_is_no_record_makes_no_batch(records: list[Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        batch.encode(records)


# That the tests above can fail

FOLDER = Path(__file__).parents[2] / "fastpath"
MUTANTS = {mutant.pop("name"): mutant for mutant in tomllib.loads(Path(__file__).with_name("mutants").joinpath("batch.toml").read_text())["mutant"]}
BUILD = """
from Cython.Build import cythonize
from setuptools import Extension, setup
extensions = [Extension(f"fiducial.fastpath.{name}", [f"fiducial/fastpath/{name}.pyx"], extra_compile_args=["-O1", "-std=c++17"]) for name in ("batch", "codecs")]
setup(name="mutant", packages=[], script_args=["-q", "build_ext", "--inplace"], ext_modules=cythonize(extensions, quiet=True))
"""


def built(mutant: dict[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The room with one fault in it, or with one in the room that it unpacks by, which is in place of the real one."""
    package = folder / "fiducial" / "fastpath"
    package.mkdir(parents=True)
    for init in (package, package.parent):
        init.joinpath("__init__.py").touch()
    for name in ("batch.pyx", "batch.pxd", "bigendian.pxd", "codecs.pyx", "crc32c.h"):
        text = FOLDER.joinpath(name).read_text()
        if name == mutant["file"]:
            assert text.count(mutant["old"]) == 1
            text = text.replace(mutant["old"], mutant["new"])
        package.joinpath(name).write_text(text)
    subprocess.run([sys.executable, "-c", BUILD], cwd=folder, check=True, timeout=300)
    for name in ("batch", "codecs"):
        (library,) = package.glob(f"{name}.*.so")
        loader = ExtensionFileLoader(f"fiducial.fastpath.{name}", str(library))
        spec = spec_from_loader(loader.name, loader)
        assert spec is not None
        found = module_from_spec(spec)
        loader.exec_module(found)
        monkeypatch.setitem(sys.modules, loader.name, found)
        monkeypatch.setattr(f"fiducial.fastpath.{name}", found, raising=False)
    return sys.modules["fiducial.fastpath.batch"]


def checks() -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Tests of this file with their arguments, the longest last."""
    for way in WAYS:
        yield test_a_checksum_is_that_of_the_bytes_for_every_length, (way,)
    for codec in CODECS:
        yield test_records_cut_short_at_any_byte_are_seen_alike, (codec,)
    yield test_packed_as_others_pack_them_records_are_seen_alike, ()
    yield test_a_batch_unpacks_as_far_as_the_model_says, (4, UNPACKED_BYTES_MAX + 1)
    yield test_random_batches_are_judged_and_stored_alike, ()


@pytest.mark.skipif(not IS_LONG, reason="NOT RUN: builds the room anew for each mutant, minutes in all; FIDUCIAL_LONG=1 does")
@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_fault_is_seen(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "batch", built(MUTANTS[name], tmp_path, monkeypatch))
    for check, arguments in checks():
        try:
            check(*arguments)
        except AssertionError:
            return
    pytest.fail(f"nobody saw that {name}")
