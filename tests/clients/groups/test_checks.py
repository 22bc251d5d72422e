"""What the checks of `checks.py` find in journals that were spoilt, each by what it is there for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from clients.groups import checks
from clients.groups.checks import Pause, Story, found_wrong
from clients.groups.journal import (
    ASSIGNED,
    CLOSED,
    COMMITTED,
    COMMITTING,
    GENERATION,
    LOST,
    READ,
    REVOKED,
    Entry,
    entry,
)
from clients.groups.scenarios import BROKER, JOIN, KILL, LEAVE, MEMBERS_MAX, PAUSE, drawn

Journal = list[tuple[str, str, dict[str, object]]]


def read(process: str, generation: int, partition: int, *offsets: int) -> Journal:
    """Records that are read."""
    return [(process, READ, {"generation": generation, "partition": partition, "offset": offset}) for offset in offsets]


def commits(process: str, generation: int, **offsets: int) -> Journal:
    """A commit that is taken: `p3=7` is partition 3 up to 7."""
    what = {"generation": generation, "offsets": {name.removeprefix("p"): offset for name, offset in offsets.items()}}
    return [(process, COMMITTING, what), (process, COMMITTED, what)]


def changes(process: str, generation: int, event: str, *partitions: int) -> Journal:
    """Something that happens to a member's partitions."""
    return [(process, event, {"generation": generation, "partitions": list(partitions)})]


#: A member has both partitions; another comes, and both go on where the first was, which had read one record more than it committed.
STORY: Journal = [
    *changes("0.0", 1, ASSIGNED, 0, 1),
    *read("0.0", 1, 0, 0, 1),
    *read("0.0", 1, 1, 0, 1),
    *commits("0.0", 1, p0=2, p1=1),
    *changes("0.0", 1, REVOKED, 0, 1),
    *changes("0.0", 2, ASSIGNED, 0),
    *changes("1.0", 2, ASSIGNED, 1),
    *read("0.0", 2, 0, 2),
    *read("1.0", 2, 1, 1, 2),
    *commits("0.0", 2, p0=3),
    *commits("1.0", 2, p1=3),
    ("0.0", CLOSED, {}),
    ("1.0", CLOSED, {}),
]


def entries_of(journal: Journal) -> list[Entry]:
    """As they would be read; the clock counts them."""
    return [entry(process, {"at": at, "event": event, **what}) for at, (process, event, what) in enumerate(journal)]


def told(journal: Journal) -> Story:
    """The story of a journal of two partitions of three records."""
    return Story(entries_of(journal), (), {0: 3, 1: 3}, {0: 3, 1: 3})


def without(*which: int) -> Story:
    """The story without some of its lines."""
    return told([line for number, line in enumerate(STORY) if number not in which])


def instead(number: int, *lines: tuple[str, str, dict[str, object]]) -> Story:
    """The story with other lines in place of one."""
    return told([*STORY[:number], *lines, *STORY[number + 1 :]])


def test_nothing_is_wrong_in_a_story_as_it_should_be() -> None:
    assert found_wrong(told(STORY)) == []


SPOILT = [
    (checks.every_record_is_read, without(12)),
    (checks.everything_is_committed, replace(told(STORY), committed={0: 3, 1: 2})),
    (checks.no_partition_has_two_owners_in_a_generation, instead(9, *changes("1.0", 2, ASSIGNED, 0, 1))),
    (checks.no_partition_has_two_owners_in_a_generation, instead(12, *read("1.0", 2, 0, 2))),
    (checks.nothing_is_committed_that_was_not_read, without(2)),
    (checks.commits_never_go_back, instead(14, *commits("0.0", 2, p0=1))),
    (checks.whoever_is_assigned_a_partition_goes_on_where_it_was_left, instead(10, *read("0.0", 2, 0, 1, 2))),
    (checks.whoever_is_assigned_a_partition_goes_on_where_it_was_left, without(11)),
    (checks.whoever_is_assigned_a_partition_goes_on_where_it_was_left, instead(2, *read("0.0", 1, 0, 2))),
]


@pytest.mark.parametrize("check, story", SPOILT, ids=lambda one: getattr(one, "__name__", ""))
def test_a_check_finds_what_it_is_there_for(check: Callable[[Story], object], story: Story) -> None:
    assert any(found.startswith(check.__name__.replace("_", " ")) for found in found_wrong(story))


@pytest.mark.parametrize("story", [instead(14, *commits("0.0", 2, p0=1)), instead(10, *read("0.0", 2, 0, 1, 2))])
def test_older_offsets_are_excused_only_of_a_broker_that_may_forget_and_only_from_then_on(story: Story) -> None:
    assert found_wrong(replace(story, forgets_from_ns=9)) == []
    assert found_wrong(replace(story, forgets_from_ns=15)) == found_wrong(story) != []


def cooperative(*lines: tuple[str, str, dict[str, object]]) -> Story:
    """A member has twelve partitions, and a second comes; what happens in between."""
    journal = [*changes("0.0", 1, ASSIGNED, *range(12)), *lines]
    pauses = Pause(0, frozenset({"0.0"})), Pause(100, frozenset({"0.0", "1.0"}))
    return Story(entries_of(journal), pauses, dict.fromkeys(range(12), 0), {}, is_cooperative=True)


GIVES_UP_HALF = (*changes("0.0", 2, REVOKED, *range(6)), *changes("1.0", 3, ASSIGNED, *range(6)))
GIVES_UP_ALL = (*changes("0.0", 2, REVOKED, *range(12)), *changes("0.0", 3, ASSIGNED, *range(6)), *changes("1.0", 3, ASSIGNED, *range(6, 12)))
IS_THROWN_OUT = (*changes("0.0", -1, LOST, *range(12)), *changes("0.0", 3, ASSIGNED, *range(6)), *changes("1.0", 3, ASSIGNED, *range(6, 12)))


@pytest.mark.parametrize("lines, is_right", [(GIVES_UP_HALF, True), (GIVES_UP_ALL, False), (IS_THROWN_OUT, True)])
def test_a_cooperative_member_keeps_its_share(lines: Journal, is_right: bool) -> None:
    assert (found_wrong(cooperative(*lines)) == []) == is_right


def static(*lines: tuple[str, str, dict[str, object]]) -> Story:
    """Two static members, and the second comes back."""
    journal = [*changes("0.0", 1, ASSIGNED, 0), *changes("1.0", 1, ASSIGNED, 1), *lines]
    pauses = Pause(1, frozenset({"0.0", "1.0"}), is_unnoticed=True), Pause(100, frozenset({"0.0", "1.1"}))
    return Story(entries_of(journal), pauses, {0: 0, 1: 0}, {})


@pytest.mark.parametrize(
    "lines, is_right",
    [
        (changes("1.1", 1, ASSIGNED, 1), True),
        (changes("1.1", 2, ASSIGNED, 1), False),
        (changes("1.1", 1, ASSIGNED), False),
        ([*changes("1.1", 1, ASSIGNED, 1), *changes("0.0", 1, REVOKED, 0)], False),
        ([*changes("1.1", 1, ASSIGNED, 1), ("0.0", GENERATION, {"generation": 2})], False),
    ],
)
def test_nobody_may_notice_a_static_member_that_comes_back(lines: Journal, is_right: bool) -> None:
    assert (found_wrong(static(*lines)) == []) == is_right


@pytest.mark.parametrize("is_static", [False, True])
def test_a_drawn_scenario_leaves_somebody_awake_and_has_no_more_members_than_there_may_be(is_static: bool) -> None:
    seen = set()
    for seed in range(100):
        scenario = drawn(seed, is_static=is_static)
        assert scenario == drawn(seed, is_static=is_static)
        count = scenario.first
        for step in scenario.steps:
            seen |= set(step)
            awake = count
            for happening in step:
                awake += {JOIN: 1, LEAVE: -1, KILL: -1, PAUSE: -1}.get(happening, 0)
                count += {JOIN: 1, LEAVE: -1, KILL: -1}.get(happening, 0)
                assert 1 <= awake <= count <= MEMBERS_MAX
    assert BROKER in seen and JOIN in seen
