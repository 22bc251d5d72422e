"""What the commands make of answers: the time of a record, assignments that are odd, totals, and how it is written. No broker is asked."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cli.scenes import BEGUN_MS, SECOND_MS, assignment
from fiducial.cli import groups as viewer
from fiducial.cli import main
from fiducial.cli.groups import Group, Member, details, partitions_of, ranges, table
from fiducial.cli.lag import GroupLag, Log, PartitionLag, first_time, offsets_in, partition_lag, text, total_of
from fiducial.cli.screen import columns, duration
from fiducial.conformance.batches import CODECS, Item, build, stored_batches
from fiducial.models import messages as m
from fiducial.models.batches import ATTRIBUTE_LOG_APPEND_TIME

TIMES = [Item(BEGUN_MS + number * SECOND_MS) for number in range(5)]


def time_from(data: bytes, offset: int) -> int | None:
    """The time of the first record from an offset on, in seconds after the first of the batch."""
    found = first_time(stored_batches(data)[0], offset)
    return found if found is None else (found - BEGUN_MS) // SECOND_MS


@pytest.mark.parametrize("codec", range(len(CODECS)), ids=[name or "none" for name in CODECS])
def test_the_time_is_that_of_the_record_however_it_is_packed(codec: int) -> None:
    data = build(TIMES, codec=codec, base_offset=100)
    assert [time_from(data, offset) for offset in (0, 100, 103, 104, 105)] == [0, 0, 3, 4, None]


def test_a_batch_before_the_offset_is_passed_over() -> None:
    data = build(TIMES[:2]) + build([Item(BEGUN_MS + 50 * SECOND_MS)], base_offset=2)
    assert time_from(data, 2) == 50


def test_where_the_broker_stamped_the_batch_its_time_counts() -> None:
    assert time_from(build(TIMES, attributes=ATTRIBUTE_LOG_APPEND_TIME, max_timestamp=BEGUN_MS + 70 * SECOND_MS), 1) == 70


def test_of_records_that_were_compacted_away_or_cannot_be_read_the_last_time_of_the_batch_counts() -> None:
    assert time_from(build(TIMES[:3], last_offset_delta=9, max_timestamp=BEGUN_MS + 9 * SECOND_MS), 7) == 9
    assert time_from(build(TIMES, packed=b"\xff" * 40, max_timestamp=BEGUN_MS + 9 * SECOND_MS), 0) == 9
    assert time_from(build(TIMES, codec=2, packed=b"no snappy"), 0) == 4


def test_a_time_that_is_none_and_a_format_that_is_older_tell_nothing() -> None:
    assert time_from(build([Item(-1)]), 0) is None
    assert time_from(build(TIMES, magic=1), 0) is None


def test_an_assignment_is_read_whatever_its_version_and_whatever_follows() -> None:
    plain = assignment({"b": [1, 0], "a": [7]})
    assert viewer.assignment(plain) == (("a", 7), ("b", 0), ("b", 1))
    assert viewer.assignment(b"\0\7" + plain[2:] + b"from the future") == viewer.assignment(plain)
    assert viewer.assignment(plain[:-4]) == viewer.assignment(plain), "there may be no user data"
    assert viewer.assignment(b"") == ()


@pytest.mark.parametrize(
    "data", [b"\0", b"\0\0\0\0\0\2\0\1a", b"\0\0\0\0\0\1\xff\xff", b"\0\0\x7f\xff\xff\xff" + b"\xff\xfa\0\0\0\0" * 9, b"\0\0\0\0\0\1\0\1a\x7f\xff\xff\xff"]
)
def test_what_is_no_assignment_is_told_to_be_unreadable(data: bytes) -> None:
    assert viewer.assignment(data) is None
    assert partitions_of(Member("m", None, "c", "h", None)) == "not readable"


def test_partitions_are_written_as_ranges() -> None:
    assert ranges([0, 1, 2, 5, 7, 8]) == "0-2, 5, 7-8"
    assert partitions_of(Member("m", None, "c", "h", (("a", 3), ("b", 0), ("b", 1)))) == "a 3; b 0-1"
    assert partitions_of(Member("m", None, "c", "h", ())) == "-"


def test_no_offset_is_no_commit_and_an_error_is_told() -> None:
    partitions = (m.OffsetFetchResponsePartition(0, 7), m.OffsetFetchResponsePartition(1, -1))
    assert offsets_in(m.OffsetFetchResponse((m.OffsetFetchResponseTopic("t", partitions),))) == ({("t", 0): 7}, None)
    assert offsets_in(m.OffsetFetchResponse(error_code=30)) == ({}, "GROUP_AUTHORIZATION_FAILED")


def lag_at(offset: int | None, log: Log) -> PartitionLag:
    """Where a group stands that has committed this offset, if the first record that is there is ten seconds old."""
    return partition_lag(("t", 0), offset, None, log, {(("t", 0), place): 10 * SECOND_MS for place in range(5, 9)})


def test_unread_records_that_were_deleted_count_in_the_lag_and_are_told_of() -> None:
    one = lag_at(2, Log(5, 9))
    assert (one.lag, one.behind_ms, one.note) == (7, 10 * SECOND_MS, "the log begins at 5")


def test_a_partition_without_a_leader_is_told_with_the_error() -> None:
    one = lag_at(2, Log(problem="LEADER_NOT_AVAILABLE"))
    assert (one.committed, one.log_end, one.lag, one.behind_ms, one.note) == (2, None, None, None, "LEADER_NOT_AVAILABLE")


def test_a_total_is_the_sum_of_the_lags_and_the_longest_time() -> None:
    read, unread, unknown = lag_at(9, Log(5, 9)), lag_at(7, Log(5, 9)), lag_at(None, Log(5, 9))
    total = total_of([read, unread, unread, unknown])
    assert (total.lag, total.behind_ms, total.unknown) == (4, 10 * SECOND_MS, 1)
    nothing = total_of([unknown])
    assert (nothing.lag, nothing.behind_ms, nothing.unknown) == (None, None, 1)


@pytest.mark.parametrize(
    ("time_ms", "told"),
    [(None, None), (0, "0s"), (70, "0.1s"), (59_949, "59.9s"), (60_000, "1m 0s"), (3_599_999, "59m 59s"), (3_600_000, "1h 0m"), (90_061_000, "1d 1h")],
)
def test_a_time_is_told_in_its_two_largest_units(time_ms: int | None, told: str | None) -> None:
    assert duration(time_ms) == told


def test_columns_are_as_wide_as_they_must_be() -> None:
    assert columns(("A", " B", "C"), [("long", 5, "x"), (None, 123, "")], "  ") == ["  A       B  C", "  long    5  x", "  -     123"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [(["groups", "9092"], "HOST:PORT"), (["lag", "a:1,b"], "HOST:PORT"), (["lag", "127.0.0.1:1", "--watch", "-1"], "--watch"), (["lag", "a:1", "--watch", "nan"], "--watch")],
)
def test_what_is_not_accepted_is_a_usage_error(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert complaint in said.err and said.err.count("\n") == 1 and not said.out


ALONE = """\
import sys
for name in ("cython", "kio", "setuptools", "fiducial.fastpath", "fiducial.reference"):
    sys.modules[name] = None
from fiducial.cli import main
sys.exit(main(["lag", "127.0.0.1:1"]))
"""


def test_looking_needs_no_server_and_no_build() -> None:
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1 and done.stderr == "fiducial lag: 127.0.0.1:1 cannot be reached: Connection refused\n"


def test_a_cluster_that_cannot_be_reached_is_a_clear_error(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("groups", "lag"):
        assert main([command, "127.0.0.1:1"]) == 1
        assert capsys.readouterr().err == f"fiducial {command}: 127.0.0.1:1 cannot be reached: Connection refused\n"


def test_names_that_clients_choose_do_nothing_to_a_terminal() -> None:
    odd = "a\n\x1b[31m\u202eb\x9b"
    member = Member(odd, odd, odd, "127.0.0.1", ((odd, 0),))
    found = [Group(odd, "classic", "Stable", odd, odd, 1, (member,)), Group("", "classic", "Empty", "", "", 1, ())]
    lags = [GroupLag(found[0], (PartitionLag(odd, 0, 1, 0, 2, 1, 0, member, ""),), None), GroupLag(found[0], (), odd)]
    for lines in (table(found), details(found), text(lags)):
        assert all(line.isprintable() for line in lines), lines
        assert r"a\n\x1b[31m\u202eb\x9b" in lines[1] + lines[0]
    assert table(found)[-1].startswith('""') and details(found)[-1].startswith('"": Empty')
