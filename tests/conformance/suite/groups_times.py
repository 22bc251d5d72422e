"""What comes of groups as time passes: sessions and phases that end, and the first join phase, which takes its time (GROUP-STATE-3, GROUP-JOIN,
GROUP-SYNC-6, GROUP-BEAT).

Each of these stories mostly waits; they are told beside each other. A session is as short as the broker allows, and moments that are compared are a second
apart at least.
"""

from __future__ import annotations

from typing import Any

from fiducial.conformance.cases import PLAIN, Case, Step, TimePasses, awaited, still_waits
from fiducial.conformance.suite.group_requests import (
    ALONE,
    AT_ONCE,
    LED_BY_STATIC,
    NEW,
    RANGE,
    STATIC,
    TAKES_ITS_TIME,
    about,
    beat,
    commit_of,
    completed,
    describe,
    join,
    leave,
    rejoined,
    sync,
)
from fiducial.conformance.symbols import Session

#: Members that give each other so much time.
SHORTLY: dict[str, Any] = {"rebalance_ms": 1500}


def slow(id: str, *story: Step, **more: Any) -> Case:
    """A story that mostly waits, and what the group then is."""
    return about(id, *story, describe(), **{"sweep": None, "deadline_s": 30.0, **more})


def passes(ms: Any) -> Step:
    """Nobody asks anything for so long."""
    return Step(TimePasses(ms))


#: Most of a session passes, and it is over.
NEARLY, OVER = passes(Session(-2500)), passes(Session(1500))
SHORT: dict[str, Any] = {"session": Session()}
#: Each of two members is in a stable group, and member 1, or 0, has to be heard of soon.
FOLLOWER_IS_SHORT = (
    join(0, waits=True),
    join(1, waits=True, in_any_order=True, **SHORT),
    awaited(1),
    awaited(2),
    sync(1, waits=True, in_any_order=True),
    sync(0, (0, b"x"), (1, b"y")),
    awaited(2),
)
LEADER_IS_SHORT = (
    join(0, waits=True, **SHORT),
    join(1, waits=True, in_any_order=True),
    awaited(1),
    awaited(2),
    sync(0, (0, b"x"), (1, b"y")),
    sync(1),
)
#: Member 1, who has to be heard of soon, waits for its assignment until that time is over.
FOLLOWER_SYNCS_LATE = (
    join(0, waits=True),
    join(1, waits=True, in_any_order=True, **SHORT),
    awaited(1),
    awaited(2),
    sync(1, waits=True),
    OVER,
    still_waits(2),
    sync(0, (1, b"y")),
    awaited(2),
)

FIRST_PHASE = (
    slow(
        "GROUP-JOIN-7/the-first-leads",
        join(version=AT_ONCE, kind="connect", waits=True), still_waits(9), awaited(9), sync(0, (0, b"all"), named=("connect", "range")),
        groups=NEW, also=("GROUP-JOIN-13", "GROUP-JOIN-16"),
    ),
    slow(
        "GROUP-JOIN-10/another-comes",
        join(version=AT_ONCE, waits=True), passes(1000), join(version=AT_ONCE, connection=8, waits=True), passes(3000), still_waits(9), awaited(9), awaited(8),
        groups=NEW, at_least=TAKES_ITS_TIME,
    ),
    slow(
        "GROUP-JOIN-10/no-longer-than-the-first-gives",
        join(version=AT_ONCE, rebalance_ms=4000, waits=True), passes(1000), join(version=AT_ONCE, connection=8, waits=True), passes(4000), describe(),
        awaited(9), awaited(8),
        groups=NEW, at_least=TAKES_ITS_TIME,
    ),
    slow("GROUP-JOIN-13/also-if-nobody-is-left", leave(0), join(version=AT_ONCE), groups=ALONE),
)  # fmt: skip

PHASES = (
    slow(
        "GROUP-JOIN-9/it-does-not-come",
        *LED_BY_STATIC, *completed(1, 2, **SHORTLY), join(2, RANGE, waits=True, **SHORTLY), still_waits(3), awaited(3),
        groups=STATIC,
    ),
    slow("GROUP-JOIN-12/a-dynamic-member", *completed(0, 1, **SHORTLY), join(0, waits=True, **SHORTLY), still_waits(1), awaited(1), beat(1)),
    slow("GROUP-JOIN-12/a-static-member", *completed(0, 1, **SHORTLY), join(0, waits=True, **SHORTLY), awaited(1), beat(1), groups=STATIC),
    slow(
        "GROUP-JOIN-12/only-static-ones-are-left",
        *completed(0, 1, **SHORTLY), join(0, waits=True, **SHORTLY), leave(0), awaited(1), passes(2500), describe(), join(1),
        groups=STATIC,
    ),
    slow(
        "GROUP-JOIN-12/the-longest-counts",
        *rejoined(0, 1, **SHORTLY), join(1, RANGE, rebalance_ms=4000, waits=True), passes(2500), still_waits(2), join(0, waits=True), awaited(1),
        awaited(2),
    ),
    slow(
        "GROUP-JOIN-14/v0",
        *completed(0, 1, version=0, **SHORT), join(0, version=0, waits=True, **SHORT), passes(3000), beat(1), awaited(1), beat(1),
    ),
    slow("GROUP-SYNC-6/a-dynamic-member", *rejoined(0, 1, **SHORTLY), sync(0, (1, b"y")), beat(1), passes(2500), beat(1), beat(0)),
    slow("GROUP-SYNC-6/a-static-member", *rejoined(0, 1, **SHORTLY), sync(0, (1, b"y")), beat(1), passes(2500), beat(1), beat(0), groups=STATIC),
    slow("GROUP-SYNC-6/the-leader", *rejoined(0, 1, **SHORTLY), sync(1, waits=True), still_waits(2), awaited(2), beat(1), beat(0)),
    slow("GROUP-SYNC-6/all-have-synced", *completed(0, 1, **SHORTLY), passes(2500), beat(1), beat(0)),
)  # fmt: skip

SESSIONS = (
    slow("GROUP-STATE-3/moved-by-heartbeats", join(0, **SHORT), sync(0), NEARLY, beat(0), NEARLY, beat(0), groups=ALONE, also=("GROUP-BEAT-2",)),
    slow(
        "GROUP-JOIN-6/an-id-that-has-joined",
        join(**SHORT), join(1, waits=True), join(0, waits=True), awaited(1), awaited(2), OVER, beat(1),
        groups=ALONE,
    ),
    slow("GROUP-JOIN-6/nobody-joins-with-it", join(**SHORT), OVER, join(2), beat(0)),
    slow("GROUP-JOIN-6/is-not-awaited-any-more", join(**SHORT), join(0, waits=True), join(1, waits=True), still_waits(1), awaited(1), awaited(2)),
    slow("GROUP-STATIC-2/brings-its-timeouts", join(instance="i", **SHORT), beat(2), OVER, beat(2), beat(0), groups=STATIC, also=("GROUP-JOIN-8",)),
    slow("GROUP-BEAT-2/while-preparing", *FOLLOWER_IS_SHORT, join(0, waits=True), NEARLY, beat(1), NEARLY, beat(1)),
    slow("GROUP-BEAT-2/an-answer-that-was-awaited", *FOLLOWER_SYNCS_LATE, NEARLY, beat(1)),
    slow("GROUP-BEAT-3/stable", *FOLLOWER_IS_SHORT, OVER, beat(1), beat(0)),
    slow("GROUP-BEAT-3/while-preparing", *FOLLOWER_IS_SHORT, join(0, waits=True), still_waits(1), awaited(1)),
    slow("GROUP-BEAT-3/nobody-is-left", join(0, **SHORT), OVER, beat(0), groups=ALONE),
    slow(
        "GROUP-BEAT-4/to-join",
        *LEADER_IS_SHORT, join(0, waits=True, **SHORT), OVER, still_waits(1), join(1, waits=True), awaited(1), awaited(2), beat(0),
    ),
    slow("GROUP-COMMIT-6/stable", *FOLLOWER_IS_SHORT, NEARLY, commit_of(1), NEARLY, beat(1), topics=PLAIN),
    slow("GROUP-COMMIT-6/while-preparing", *FOLLOWER_IS_SHORT, join(0, waits=True), NEARLY, commit_of(1), NEARLY, beat(1), topics=PLAIN),
    slow("GROUP-BEAT-4/to-sync", *FOLLOWER_SYNCS_LATE, beat(1)),
)  # fmt: skip

CASES: tuple[Case, ...] = (*FIRST_PHASE, *PHASES, *SESSIONS)
