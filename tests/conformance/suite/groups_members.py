"""Who is in a group, and what becomes of it: joining, syncing, staying and leaving (GROUP-STATE, GROUP-MEMBER, GROUP-JOIN, GROUP-STATIC, GROUP-SYNC,
GROUP-BEAT, GROUP-LEAVE).

Members are numbers: 0 leads the group that the story finds. What takes time is told in `groups_times`.
"""

from __future__ import annotations

from typing import Any

from fiducial.conformance.cases import PLAIN, Case, Step, awaited, still_waits
from fiducial.conformance.suite.group_requests import (
    ALONE,
    ASIDE,
    AT_ONCE,
    ID_FIRST,
    LED_BY_STATIC,
    NAMED,
    NEW,
    RANGE,
    STATIC,
    STICKY,
    THREE,
    about,
    beat,
    commit_of,
    delete_groups,
    delete_offsets,
    describe,
    join,
    leave,
    protocol,
    reading,
    rejoined,
    sync,
)
from fiducial.conformance.symbols import Generation, Session
from fiducial.models import messages as m

INT32_MAX = 2**31 - 1
STRANGER = "nobody"

#: Other protocols than a member had, of which the same will be chosen.
OTHERWISE = (RANGE,)


def joining(id: str, *story: Step, **more: Any) -> Case:
    """A story about JoinGroup, and what the group then is."""
    return about(id, *story, describe(), **{"sweep": m.JoinGroupRequest, **more})


def syncing(id: str, *story: Step, **more: Any) -> Case:
    """A story about SyncGroup, and what the group then is."""
    return about(id, *story, describe(), **{"sweep": m.SyncGroupRequest, **more})


def beating(id: str, *story: Step, **more: Any) -> Case:
    """A story about Heartbeat."""
    return about(id, *story, **{"sweep": m.HeartbeatRequest, **more})


def leaving(id: str, *story: Step, **more: Any) -> Case:
    """A story about LeaveGroup, and what the group then is."""
    return about(id, *story, describe(), **{"sweep": m.LeaveGroupRequest, **more})


#: Each of these takes the group that a story finds to another state.
PREPARING = (join(0, waits=True),)
COMPLETING = rejoined(0, 1)
EMPTY = (leave(0, 1),)

STATES = (
    about(
        "GROUP-STATE-1/once-around",
        describe(),
        *PREPARING,
        describe(),
        join(1, waits=True, in_any_order=True),
        awaited(1),
        awaited(2),
        describe(),
        sync(1, waits=True, in_any_order=True),
        sync(0, (0, b"x"), (1, b"y")),
        awaited(2),
        describe(),
        leave(0),
        describe(),
        leave(1),
        describe(),
        delete_groups(),
        describe(),
        sweep=m.DescribeGroupsRequest,
    ),
    joining("GROUP-STATE-2/refused-for-its-protocols", join("", protocol("")), join(protocols=()), groups=NEW),
    joining("GROUP-STATE-2/an-id-is-given", join(), groups=NEW, sweep_from=ID_FIRST),
    joining("GROUP-STATE-4/joins-twice", *PREPARING, join(0, waits=True, connection=8), awaited(1), sweep=None, is_info=True, deadline_s=2.0),
)  # fmt: skip

STRANGERS = (
    joining("GROUP-MEMBER-1/join", join(group=""), join(0, group=""), groups=ALONE),
    syncing("GROUP-MEMBER-1/sync", sync(0, group=""), groups=ALONE),
    beating("GROUP-MEMBER-1/heartbeat", beat(0, group=""), beat(0), groups=ALONE),
    leaving("GROUP-MEMBER-1/leave", leave(0, group=""), groups=ALONE),
    about("GROUP-MEMBER-1/delete-offsets", delete_offsets(group=""), topics=PLAIN, groups=(), sweep=m.OffsetDeleteRequest),
    beating("GROUP-MEMBER-2/heartbeat", leave(0), beat(0), delete_groups(), beat(0), beat(STRANGER, generation=0), groups=ALONE),
    syncing("GROUP-MEMBER-2/sync", leave(0), sync(0, (0, b"x")), delete_groups(), sync(0, (0, b"x")), groups=ALONE),
    leaving("GROUP-MEMBER-2/leave", leave(0), leave(0), delete_groups(), leave(0), groups=ALONE),
    joining("GROUP-MEMBER-2/join", leave(0), join(0), groups=ALONE),
    *(
        case
        for rule, instance in (("GROUP-MEMBER-3", "x"), ("GROUP-MEMBER-4", "i"))
        for case in (
            joining(f"{rule}/join", join(0, instance=instance), join(STRANGER, instance=instance), beat(0), groups=STATIC, sweep_from=NAMED),
            syncing(f"{rule}/sync", sync(0, instance=instance), sync(STRANGER, instance=instance), groups=STATIC),
            beating(f"{rule}/heartbeat", beat(0, instance=instance), beat(STRANGER, instance=instance, generation=0), beat(0), groups=STATIC),
            leaving(f"{rule}/leave", leave((STRANGER, instance), (0, instance)), groups=STATIC, sweep_from=3),
            about(
                f"{rule}/commit",
                commit_of(0, instance=instance),
                commit_of(STRANGER, instance=instance, generation=Generation(1)),
                groups=STATIC,
                topics=PLAIN,
                sweep=m.OffsetCommitRequest,
            ),
        )
    ),
    joining("GROUP-MEMBER-5/join", join(STRANGER), join(STRANGER, protocol("none of theirs"))),
    syncing("GROUP-MEMBER-5/sync", sync(STRANGER), sync(STRANGER, generation=Generation(-1)), sync("")),
    beating("GROUP-MEMBER-5/heartbeat", beat(STRANGER), beat(STRANGER, generation=Generation(-1)), beat("")),
    leaving("GROUP-MEMBER-5/leave", leave(STRANGER)),
    about("GROUP-MEMBER-5/commit", commit_of(STRANGER), commit_of(""), commit_of(0), topics=PLAIN, sweep=m.OffsetCommitRequest),
    beating("GROUP-MEMBER-5/an-id-is-pending", join(), beat(2), sync(2), beat(0)),
    syncing("GROUP-MEMBER-6/sync", *(sync(member, (0, b"x"), generation=Generation(skew)) for member in (0, 1) for skew in (-1, 1))),
    syncing("GROUP-MEMBER-6/sync-while-completing", *COMPLETING, *(sync(0, (0, b"x"), generation=Generation(skew)) for skew in (-1, 1))),
    beating("GROUP-MEMBER-6/heartbeat", *(beat(0, generation=Generation(skew)) for skew in (-1, 1, 0))),
    beating("GROUP-MEMBER-6/heartbeat-while-preparing", *PREPARING, *(beat(1, generation=Generation(skew)) for skew in (-1, 1, 0))),
    about(
        "GROUP-MEMBER-6/commit",
        *(commit_of(0, generation=Generation(skew)) for skew in (-1, 1)),
        commit_of(0, generation=-1),
        topics=PLAIN,
        sweep=m.OffsetCommitRequest,
    ),
    beating("GROUP-MEMBER-7/heartbeat", beat(1), *PREPARING, beat(1), beat(0)),
    syncing("GROUP-MEMBER-7/sync", *PREPARING, sync(1), sync(0, (0, b"x"), connection=ASIDE)),
    joining("GROUP-MEMBER-8/given-first", join(), join(), join(client_id="a-b"), join(client_id=""), join(client_id=None), sweep_from=ID_FIRST),
    joining("GROUP-MEMBER-8/of-an-instance", join(instance="i"), groups=STATIC, sweep_from=NAMED),
    joining("GROUP-MEMBER-10/of-a-client", join(client_id="c" * 32_731), join(client_id="c" * 32_730), sweep_from=ID_FIRST),
    about("GROUP-MEMBER-9/described", describe(), sweep=m.DescribeGroupsRequest),
)  # fmt: skip

JOINS = (
    joining("GROUP-JOIN-1/too-short", *(join(0, session=session) for session in (Session(-1), 0, -1)), groups=ALONE),
    joining("GROUP-JOIN-1/too-long", join(0, session=INT32_MAX), join(session=INT32_MAX), groups=ALONE),
    joining("GROUP-JOIN-1/the-shortest", join(0, session=Session()), groups=ALONE),
    joining("GROUP-JOIN-1/before-the-group", join(STRANGER, session=0), join(STRANGER, session=0, kind=""), join(session=0), groups=NEW),
    joining("GROUP-JOIN-2/no-group", join(STRANGER), join(STRANGER, protocols=()), groups=NEW),
    joining("GROUP-JOIN-2/an-instance", join(STRANGER, instance="i"), join(STRANGER, instance="i", kind=""), groups=NEW),
    joining(
        "GROUP-JOIN-3/stable",
        join(), join(version=AT_ONCE), join(instance="j", version=NAMED), join(0, waits=True), still_waits(1),
        settings=(("group.max.size", 2),),
    ),
    joining("GROUP-JOIN-3/completing", *COMPLETING, join(), join(version=AT_ONCE), settings=(("group.max.size", 2),)),
    joining(
        "GROUP-JOIN-3/those-count-that-wait",
        *PREPARING,
        join(instance="j", version=NAMED, waits=True),
        join(1),
        beat(1),
        still_waits(1),
        settings=(("group.max.size", 2),),
    ),
    joining(
        "GROUP-JOIN-3/with-an-id",
        join(version=NAMED), join(version=NAMED), join(1, waits=True), join(0, waits=True), join(2), still_waits(1),
        groups=ALONE, settings=(("group.max.size", 2),),
    ),
    joining("GROUP-JOIN-4/no-type", join(0, kind=""), join(kind="")),
    joining("GROUP-JOIN-4/no-protocols", join(0, protocols=()), join(protocols=())),
    joining("GROUP-JOIN-4/another-type", join(0, kind="connect"), join(kind="connect")),
    joining("GROUP-JOIN-4/none-in-common", join(0, protocol("x")), join("", protocol("x")), join(STRANGER, protocol("x"))),
    joining("GROUP-JOIN-4/not-even-its-own", join(0, protocol("x")), join(0, protocol("x"), STICKY), groups=ALONE),
    joining("GROUP-JOIN-5/no-group", join(), join(), groups=NEW, sweep_from=ID_FIRST),
    joining(
        "GROUP-JOIN-5/in-each-state",
        join(), *PREPARING, join(), leave(2, 3), join(1, waits=True, in_any_order=True), awaited(1), awaited(2), join(), leave(0, 1, 4), join(),
        sweep_from=ID_FIRST,
    ),
    joining(
        "GROUP-JOIN-5/before-v4-and-instances",
        *PREPARING, join(version=AT_ONCE, waits=True), still_waits(9), join(instance="j", version=NAMED, waits=True, connection=8), still_waits(8),
        sweep=None,
    ),
    joining(
        "GROUP-JOIN-7/with-an-id",
        join(version=NAMED), join(2, waits=True), still_waits(3), beat(0), join(0, waits=True, in_any_order=True),
        join(1, waits=True, in_any_order=True), awaited(3), awaited(1), awaited(2),
    ),
    joining(
        "GROUP-JOIN-7/while-preparing",
        join(version=NAMED), *PREPARING, join(2, waits=True), join(1, waits=True, in_any_order=True), awaited(1), awaited(2), awaited(3),
    ),
    joining(
        "GROUP-JOIN-7/while-completing",
        *COMPLETING, join(version=NAMED), join(2, waits=True), beat(0), join(0, waits=True, in_any_order=True),
        join(1, waits=True, in_any_order=True), awaited(1), awaited(2), awaited(3),
        also=("GROUP-MEMBER-7",),
    ),
    joining(
        "GROUP-JOIN-7/without-an-id",
        join(version=AT_ONCE, waits=True), beat(1), join(0, waits=True), join(1, waits=True), awaited(9), awaited(1), awaited(2),
        sweep=None,
    ),
    joining("GROUP-JOIN-8/a-follower-of-a-stable-group", join(1), beat(0)),
    joining("GROUP-JOIN-8/the-leader-of-a-stable-group", join(0, waits=True), still_waits(1), beat(1), join(1, waits=True), awaited(1), awaited(2)),
    joining("GROUP-JOIN-8/a-follower-changes", join(1, *OTHERWISE, waits=True), still_waits(2), beat(0), join(0, waits=True), awaited(1), awaited(2)),
    joining(
        "GROUP-JOIN-8/its-metadata-changes",
        join(1, *reading("x"), waits=True), still_waits(2), beat(0), join(0, waits=True), awaited(1), awaited(2),
    ),
    joining("GROUP-JOIN-8/both-while-completing", *COMPLETING, join(1), join(0), beat(0)),
    joining("GROUP-JOIN-8/a-change-while-completing", *COMPLETING, join(0, *OTHERWISE, waits=True), still_waits(1), beat(1)),
    joining("GROUP-JOIN-9/it-leaves", leave(0), beat(1), join(1), sync(1, (1, b"all")), beat(1), also=("GROUP-JOIN-11",)),
    joining("GROUP-JOIN-11/a-member-is-missing", join(0, waits=True), still_waits(1), join(1, waits=True), awaited(1), awaited(2)),
    joining("GROUP-JOIN-11/it-leaves", join(0, waits=True), still_waits(1), leave(1), awaited(1)),
    joining(
        "GROUP-JOIN-11/an-id-is-pending",
        join(version=NAMED), join(0, waits=True), join(1, waits=True), still_waits(1), leave(2), awaited(1), awaited(2),
        also=("GROUP-LEAVE-4",),
    ),
    joining("GROUP-JOIN-13/one-more-each-time", join(0), join(0), join(0), groups=ALONE),
    joining(
        "GROUP-JOIN-15/most-votes",
        join(0, RANGE, STICKY, waits=True),
        join(1, STICKY, RANGE, waits=True),
        join(2, STICKY, RANGE, waits=True),
        awaited(1),
        awaited(2),
        awaited(3),
        groups=THREE,
    ),
    joining(
        "GROUP-JOIN-15/only-what-all-have",
        join(0, protocol("own"), RANGE, STICKY, waits=True),
        join(1, protocol("other"), STICKY, RANGE, waits=True),
        join(2, protocol("other"), STICKY, RANGE, waits=True),
        awaited(1),
        awaited(2),
        awaited(3),
        groups=THREE,
    ),
    joining("GROUP-JOIN-16/leader-and-follower", *rejoined(0, 1, protocols=(protocol("range", b"r"), protocol("sticky", b"s")))),
    joining("GROUP-JOIN-16/instances", *rejoined(0, 1), join(1), groups=STATIC),
    joining("GROUP-JOIN-17/refused", join(0, protocols=()), join(STRANGER), join(session=0), join(STRANGER, session=0)),
    joining(
        "GROUP-JOIN-17/too-many",
        *PREPARING, join(instance="j", version=NAMED, waits=True), join(1), join(STRANGER, connection=ASIDE),
        settings=(("group.max.size", 2),),
    ),
    joining("GROUP-JOIN-17/given-an-id", join(), sweep_from=ID_FIRST),
)  # fmt: skip

STATICS = (
    joining(
        "GROUP-STATIC-1/while-preparing",
        *PREPARING, join(instance="i", waits=True), awaited(1), awaited(9), beat(1, instance="i"), beat(1),
        groups=STATIC, sweep_from=NAMED,
    ),
    joining(
        "GROUP-STATIC-1/while-completing",
        *COMPLETING, join(instance="i", waits=True), still_waits(9), beat(0), join(0, waits=True), awaited(1), awaited(9),
        groups=STATIC, sweep_from=NAMED,
    ),
    joining(
        "GROUP-STATIC-1/who-joins-is-fenced",
        join(1, *OTHERWISE, waits=True), join(instance="i", waits=True), awaited(2), still_waits(9), join(0, waits=True), awaited(9), awaited(1),
        groups=STATIC, sweep_from=NAMED,
    ),
    joining(
        "GROUP-STATIC-1/who-syncs-is-fenced",
        *COMPLETING, sync(1, waits=True), join(instance="i", waits=True), awaited(2), join(0, waits=True), awaited(1), awaited(9),
        groups=STATIC, sweep_from=NAMED,
    ),
    joining(
        "GROUP-STATIC-1/the-leader",
        *LED_BY_STATIC, *rejoined(1, 2), join(instance="i", waits=True), join(2, waits=True), awaited(3), awaited(9),
        groups=STATIC, sweep_from=NAMED,
    ),
    joining(
        "GROUP-STATIC-2/a-follower",
        join(instance="i"), sync(2), beat(0), beat(2, instance="i"), beat(1, instance="i"),
        groups=STATIC, sweep_from=NAMED, also=("GROUP-MEMBER-4",),
    ),
    joining(
        "GROUP-STATIC-2/the-leader",
        *LED_BY_STATIC, join(instance="i"), sync(3, (3, b"all")), sync(2), beat(3, instance="i"),
        groups=STATIC, sweep_from=NAMED,
    ),
    joining("GROUP-STATIC-2/its-metadata-changes", join("", *reading("x"), instance="i"), beat(0), groups=STATIC, sweep_from=NAMED),
    joining(
        "GROUP-STATIC-1/another-protocol",
        join("", STICKY, instance="i", waits=True), still_waits(9), beat(0), join(0, waits=True), awaited(9), awaited(1),
        groups=STATIC, sweep_from=NAMED,
    ),
    leaving("GROUP-STATIC-3/by-its-name", leave(("", "i")), beat(0), groups=STATIC, sweep_from=3),
    leaving("GROUP-STATIC-3/another-name", leave(("", "j"), ("", None)), beat(0), groups=STATIC, sweep_from=3),
)  # fmt: skip

SYNCS = (
    syncing("GROUP-SYNC-1/unnamed", *(sync(0, named=named) for named in ((None, None), ("consumer", None), (None, "range")))),
    syncing("GROUP-SYNC-1/before-everything", sync(STRANGER, named=(None, None)), sync(STRANGER, group="", named=(None, None))),
    syncing(
        "GROUP-SYNC-2/another",
        *COMPLETING, *(sync(1, named=named, version=None, generation=Generation(0)) for named in (("consumer", "sticky"), ("connect", "range"))),
        sweep_from=5,
    ),
    syncing(
        "GROUP-SYNC-2/of-a-stable-group",
        *(sync(1, named=named) for named in (("consumer", "sticky"), ("connect", "range"), ("consumer", "range"))),
    ),
    syncing("GROUP-MEMBER-6/sync-of-another-protocol", *(sync(1, named=("consumer", "sticky"), generation=Generation(skew)) for skew in (-1, 1))),
    syncing("GROUP-SYNC-3/to-each-its-own", *COMPLETING, sync(1, waits=True), sync(0, (0, b"x"), (1, b"y")), awaited(2), sync(0), beat(1)),
    syncing("GROUP-SYNC-3/left-out", *COMPLETING, sync(1, waits=True), sync(0, (0, b"x"), (STRANGER, b"z")), awaited(2)),
    syncing("GROUP-SYNC-3/the-last-word", *COMPLETING, sync(0, (0, b"x"), (1, b"y"), (1, b"z")), sync(1)),
    syncing("GROUP-SYNC-4/until-the-leader-has-synced", *COMPLETING, sync(1, waits=True), still_waits(2), beat(1), sync(0, (1, b"y")), awaited(2)),
    syncing(
        "GROUP-SYNC-5/a-join-phase-begins",
        *COMPLETING, sync(1, waits=True), join(0, *OTHERWISE, waits=True), awaited(2), still_waits(1), beat(1),
    ),
    syncing("GROUP-SYNC-7/tells-again", sync(0), sync(1), sync(0, (0, b"x"), (1, b"y")), sync(1), sync(0)),
)  # fmt: skip

BEATS = (
    beating(
        "GROUP-BEAT-1/before-and-after-the-sync",
        *COMPLETING, beat(0), beat(1), sync(1, waits=True), beat(1), sync(0, (1, b"y")), awaited(2), beat(0), beat(1),
    ),
    beating("GROUP-BEAT-1/of-an-instance", beat(1, instance="i"), beat(1), groups=STATIC),
)  # fmt: skip

LEAVES = (
    leaving("GROUP-LEAVE-1/stable", leave(1), beat(1), beat(0)),
    leaving("GROUP-LEAVE-1/completing", *COMPLETING, leave(1), beat(0), beat(1)),
    leaving("GROUP-LEAVE-1/preparing", *PREPARING, leave(1), awaited(1)),
    leaving("GROUP-LEAVE-1/the-last", leave(0), beat(0), groups=ALONE),
    leaving("GROUP-LEAVE-2/many", leave(1, STRANGER, 0), sweep_from=3),
    leaving("GROUP-LEAVE-2/none", leave(), sweep_from=3),
    leaving("GROUP-LEAVE-2/one-twice", leave(1, 1), sweep_from=3),
    leaving("GROUP-LEAVE-2/all-at-once", leave(1, 2), beat(0), join(0), groups=THREE, sweep_from=3),
    leaving("GROUP-LEAVE-3/it-waits-to-join", *PREPARING, leave(0), awaited(1), beat(1)),
    leaving("GROUP-LEAVE-3/it-waits-to-sync", *COMPLETING, sync(1, waits=True), leave(1), awaited(2), is_info=True, deadline_s=2.0),
    leaving("GROUP-LEAVE-4/stable", join(), leave(2), beat(0), join(2)),
    leaving("GROUP-LEAVE-4/preparing", join(), *PREPARING, join(1, waits=True), still_waits(1), leave(2), awaited(1), awaited(2)),
)  # fmt: skip

CASES: tuple[Case, ...] = (*STATES, *STRANGERS, *JOINS, *STATICS, *SYNCS, *BEATS, *LEAVES)
