"""What a group has read, and what is told of groups: committing, fetching and deleting offsets, deleting, describing and listing groups, finding who
coordinates them (GROUP-COMMIT, GROUP-OFFSET, GROUP-DELETE, GROUP-LIST, GROUP-FIND).

Members are numbers: 0 leads the group that the story finds.
"""

from __future__ import annotations

from typing import Any

from fiducial.conformance.cases import PLAIN, Case, MadeAnew, Removed, Step, TimePasses, Topic, awaited, case
from fiducial.conformance.suite.group_requests import (
    ALONE,
    AT_ONCE,
    NEW,
    STATIC,
    TAKES_ITS_TIME,
    TWO,
    all_committed,
    beat,
    commit,
    commit_nothing,
    commit_of,
    committed,
    committed_of,
    completed,
    delete_groups,
    delete_offsets,
    describe,
    find,
    join,
    leave,
    listed,
    of_topic,
    offset,
    protocol,
    reading,
    rejoined,
    sync,
    wanted_of,
)
from fiducial.conformance.suite.wire_requests import TWO_PARTITIONS, topics
from fiducial.conformance.symbols import UNKNOWN_ID, GroupId, Subscription
from fiducial.models import messages as m

INT64_MAX = 2**63 - 1
STRANGER = "nobody"
#: From these versions on an error tells that there is no such group; topics go by id; commits have a time to live no more; many groups are asked of.
TELLS_NO_GROUP, BY_ID, MANY = 9, 10, 8
LIVES = (2, 3, 4)
#: A group that the story makes, and others that it may make.
SEVERAL = (*NEW, ("h", NEW[0][1]), ("i", NEW[0][1]))
#: What is too much for the metadata of a commit, and what is just not: UTF-16 units count.
LONG, WIDE = "x" * 4096, "\U0001f600" * 2048


def committing(id: str, *story: Step, **more: Any) -> Case:
    """A story about OffsetCommit, and what is committed then."""
    return case(id, *story, committed(), **{"groups": NEW, "topics": PLAIN, "sweep": m.OffsetCommitRequest, **more})


def fetching(id: str, *story: Step, **more: Any) -> Case:
    """A story about OffsetFetch."""
    return case(id, *story, **{"groups": NEW, "topics": PLAIN, "sweep": m.OffsetFetchRequest, **more})


def forgetting(id: str, *story: Step, **more: Any) -> Case:
    """A story about OffsetDelete, and what is committed then."""
    return case(id, *story, committed(), **{"groups": TWO, "topics": PLAIN, "sweep": m.OffsetDeleteRequest, **more})


def deleting(id: str, *story: Step, **more: Any) -> Case:
    """A story about DeleteGroups, and what there is then."""
    return case(id, *story, committed(), describe(), **{"groups": NEW, "topics": PLAIN, "sweep": m.DeleteGroupsRequest, **more})


def describing(id: str, *story: Step, **more: Any) -> Case:
    """A story about DescribeGroups."""
    return case(id, *story, **{"groups": TWO, "topics": PLAIN, "sweep": m.DescribeGroupsRequest, **more})


def listing(id: str, *story: Step, **more: Any) -> Case:
    """A story about ListGroups."""
    return case(id, *story, **{"groups": NEW, "topics": PLAIN, "sweep": m.ListGroupsRequest, **more})

def forgets_what_it_may_read(metadata: Any) -> tuple[Step, ...]:
    """A member says this of itself, and what is committed of topic a is to be forgotten."""
    return join(0, protocol("range", metadata)), sync(0), commit_of(0), delete_offsets(), committed()


#: Expiry shows in time only where the broker looks for it often.
OFTEN = (("offsets.retention.check.interval.ms", 1000),)
OFTEN_MS = 1500
EMPTIED = (leave(0),)

#: The member of a group reads topic a, and nobody waits.
READS_A = (join(0, *reading("a")), sync(0, (0, b"all")))

COMMITS = (
    committing("GROUP-COMMIT-1/makes-a-group", describe(), commit(), describe(), also=("GROUP-COMMIT-3",)),
    committing("GROUP-COMMIT-1/whoever-it-is", commit(member=STRANGER, instance="i"), describe()),
    committing("GROUP-COMMIT-2/no-group", commit(generation=0), commit(member=STRANGER, generation=3), describe()),
    committing(
        "GROUP-COMMIT-3/an-empty-group",
        *EMPTIED, commit(), commit(offset(8), member=STRANGER), commit(offset(9), member=STRANGER, instance="x"),
        groups=ALONE,
    ),
    committing("GROUP-COMMIT-3/but-with-a-generation", commit(), *(commit(offset(8), generation=generation) for generation in (0, 1)), describe()),
    committing(
        "GROUP-COMMIT-4/an-unknown-id",
        commit(m.OffsetCommitRequestTopic("", UNKNOWN_ID, (offset(),)), of_topic("a", offset(8))),
        sweep_from=BY_ID,
    ),
    committing("GROUP-COMMIT-5/between-join-and-sync", *rejoined(0, 1), commit_of(0), commit_of(1), groups=TWO),
    committing("GROUP-COMMIT-5/before-the-join-and-after-the-sync", join(0, waits=True), commit_of(0), commit_of(1, offset(8)), groups=TWO),
    committing(
        "GROUP-COMMIT-7/unknown-partition",
        commit(offset(index=1), offset(8), offset(index=-1)), commit(of_topic("b", offset()), of_topic("a", offset(9))),
        topics=topics("b", a=Topic()),
    ),
    committing("GROUP-COMMIT-8/nothing-is-left", commit(offset(index=1)), commit_of(STRANGER, offset(index=1), generation=5), describe()),
    committing("GROUP-COMMIT-8/nothing-is-named", commit_nothing(), describe()),
    committing("GROUP-COMMIT-8/both-errors", commit_of(STRANGER, offset(index=1), offset()), groups=ALONE),
    committing("GROUP-COMMIT-9/too-long", commit(offset(metadata=f"{LONG}x"), offset(8, index=1)), committed(1), topics=TWO_PARTITIONS),
    committing("GROUP-COMMIT-9/as-long-as-may-be", commit(offset(metadata=LONG))),
    committing("GROUP-COMMIT-9/units-of-utf-16", commit(offset(metadata=WIDE)), commit(offset(metadata=f"{WIDE}x"))),
    committing("GROUP-COMMIT-10/as-it-was-given", commit(offset(INT64_MAX, leader_epoch=7, metadata="m"))),
    *(committing(f"GROUP-COMMIT-10/{slug}", commit(offset(8)), commit(one)) for slug, one in {
        "backwards": offset(3), "negative": offset(-2), "no-epoch": offset(9, leader_epoch=-1), "null-metadata": offset(9, metadata=None),
    }.items()),
    committing("GROUP-COMMIT-10/no-epoch-behind-one", commit(offset(8, leader_epoch=5)), commit(offset(9))),
    committing("GROUP-COMMIT-10/the-last-of-several", commit(offset(8), offset(9))),
    committing("GROUP-COMMIT-10/through-a-rebalance", commit_of(1, offset(9)), *completed(0, 1), groups=TWO),
    committing("GROUP-COMMIT-10/by-a-member", commit_of(1, offset(9, leader_epoch=3, metadata="m")), groups=TWO),
    *(
        committing(
            f"GROUP-COMMIT-11/version-{version}",
            commit(offset(8), retention_ms=1, version=version),
            Step(TimePasses(OFTEN_MS)),
            committed(until=True),
            describe(),
            sweep=None,
            settings=OFTEN,
        )
        for version in LIVES
    ),
)  # fmt: skip

FETCHES = (
    fetching("GROUP-OFFSET-1/no-group", committed(0, 1), describe()),
    fetching("GROUP-OFFSET-1/another-partition", commit(), committed(0, 1, 7, -1), topics=TWO_PARTITIONS),
    fetching("GROUP-OFFSET-1/an-unknown-topic", commit(), committed_of(("b", 0), ("a", 0)), topics=topics("b", a=Topic())),
    fetching("GROUP-OFFSET-1/a-group-of-members", committed(), groups=TWO),
    fetching(
        "GROUP-OFFSET-2/everything",
        all_committed(), commit(offset(8, leader_epoch=3, metadata="m"), offset(9, index=1)), all_committed(),
        topics=TWO_PARTITIONS, sweep_from=2,
    ),
    fetching(
        "GROUP-OFFSET-2/of-two-topics",
        commit(of_topic("a", offset()), of_topic("b", offset(8))), all_committed(),
        topics=topics(a=Topic(), b=Topic()), sweep_from=2,
    ),
    fetching("GROUP-OFFSET-3/an-unknown-id", commit(), committed_of((UNKNOWN_ID, 0, 1), ("a", 0)), sweep_from=BY_ID),
    *(
        fetching(f"GROUP-OFFSET-6/{slug}", *forgets_what_it_may_read(metadata), groups=ALONE)
        for slug, metadata in {
            "another-topic": Subscription(("b",)), "among-others": Subscription(("b", "a", "c")), "no-bytes": b"",
            "no-length-of-a-name": b"\0\0\0\0\0\1\0", "no-user-data": Subscription(("b",), b""), "half-a-length": Subscription(("b",), b"\0\0"),
            "more-behind-it": Subscription(("b",), b"\0\0\0\1x" + b"more"),
        }.items()
    ),
    *(
        fetching(f"GROUP-OFFSET-6/{slug}", *forgets_what_it_may_read(metadata), groups=ALONE, is_info=True)
        for slug, metadata in {
            "too-large-a-count": b"\0\0\0\0\0\1", "too-long-a-name": b"\0\0\0\0\0\1\0\5ab", "too-much-user-data": Subscription(("b",), b"\0\0\0\7xyz"),
        }.items()
    ),
    fetching(
        "GROUP-OFFSET-5/the-group-goes-with-its-last",
        commit(retention_ms=1, version=2), Step(TimePasses(OFTEN_MS)), committed(until=True), describe(), commit(generation=1),
        groups=NEW, settings=OFTEN,
    ),
    fetching("GROUP-OFFSET-5/a-group-without-offsets", *EMPTIED, join(), describe(until=True), join(1), groups=ALONE, settings=OFTEN),
    fetching(
        "GROUP-OFFSET-5/not-while-there-are-members",
        commit_of(0), Step(TimePasses(OFTEN_MS)), describe(until=True), committed(),
        groups=ALONE, settings=OFTEN,
    ),
    fetching(
        "GROUP-OFFSET-7/what-is-read-stays",
        *READS_A, commit_of(0, retention_ms=1, version=4), Step(TimePasses(OFTEN_MS)), committed(until=True), beat(0),
        groups=ALONE, settings=OFTEN,
    ),
    fetching(
        "GROUP-OFFSET-7/what-is-not-read-goes",
        commit_of(0, retention_ms=1, version=4), Step(TimePasses(OFTEN_MS)), committed(until=True), beat(0),
        groups=ALONE, settings=OFTEN,
    ),
    fetching("GROUP-OFFSET-7/not-yet", commit(retention_ms=3_600_000, version=2), Step(TimePasses(OFTEN_MS)), committed(until=True), settings=OFTEN),
    fetching(
        "GROUP-OFFSET-8/deleted",
        commit(of_topic("a", offset()), of_topic("b", offset(8))), Step(Removed("a")), all_committed(until=True),
        topics=topics(a=Topic(), b=Topic()), sweep_from=2,
    ),
    fetching("GROUP-OFFSET-8/made-anew", commit(), Step(MadeAnew("a")), committed(), commit(offset(8)), committed()),
    fetching(
        "GROUP-OFFSET-9/many-groups",
        commit(),
        commit(offset(8), group=GroupId("h")),
        Step(m.OffsetFetchRequest(groups=tuple(wanted_of(GroupId(name), ("a", 0)) for name in "ghi"))),
        groups=SEVERAL,
        sweep_from=MANY,
    ),
    fetching("GROUP-OFFSET-9/no-topics", commit(), committed_of()),
    fetching("GROUP-OFFSET-9/no-group", commit(), Step(m.OffsetFetchRequest(groups=())), sweep_from=MANY),
)  # fmt: skip

FORGETTING = (
    forgetting("GROUP-DELETE-1/offsets", delete_offsets(), describe(), groups=NEW),
    forgetting("GROUP-DELETE-4/of-another-type", *EMPTIED, join(kind="connect", waits=True, version=3), awaited(9), delete_offsets(), groups=ALONE),
    forgetting("GROUP-DELETE-5/what-is-read", *READS_A, commit_of(0), delete_offsets(), groups=ALONE),
    forgetting("GROUP-DELETE-5/nothing-is-committed", *READS_A, delete_offsets(), groups=ALONE),
    forgetting("GROUP-DELETE-5/among-others", *READS_A, delete_offsets(("b", 0), ("a", 0)), groups=ALONE, topics=topics(a=Topic(), b=Topic())),
    forgetting(
        "GROUP-DELETE-5/who-read-it-is-gone",
        join(0, *reading("a"), waits=True), join(1, waits=True), awaited(1), awaited(2), leave(0), delete_offsets(),
    ),
    forgetting("GROUP-DELETE-5/nobody-is-left", *READS_A, commit_of(0), leave(0), delete_offsets(), groups=ALONE),
    forgetting(
        "GROUP-DELETE-5/before-the-first-generation",
        join(version=AT_ONCE, waits=True), delete_offsets(), awaited(9), delete_offsets(),
        groups=NEW, at_least=TAKES_ITS_TIME,
    ),
    forgetting("GROUP-DELETE-6/unknown-partitions", commit_of(0), delete_offsets(("a", 1, 0, -1), ("b", 0)), topics=topics("b", a=Topic())),
    forgetting("GROUP-DELETE-6/before-what-is-read", *READS_A, delete_offsets(("a", 1)), groups=ALONE),
    forgetting(
        "GROUP-DELETE-7/one-of-two",
        commit(offset(), offset(8, index=1)), delete_offsets(("a", 0)), committed(1), describe(),
        groups=NEW, topics=TWO_PARTITIONS,
    ),
    forgetting("GROUP-DELETE-7/the-last", commit(), delete_offsets(), describe(), delete_offsets(), groups=NEW),
    forgetting("GROUP-DELETE-7/of-a-group-with-members", commit_of(0), delete_offsets(), delete_offsets(), beat(0)),
)  # fmt: skip

DELETIONS = (
    deleting("GROUP-DELETE-1/no-group", delete_groups(), groups=NEW),
    deleting("GROUP-DELETE-2/stable", commit_of(0), delete_groups(), beat(0), groups=TWO),
    deleting("GROUP-DELETE-2/preparing", join(0, waits=True), delete_groups(), groups=TWO),
    deleting("GROUP-DELETE-2/completing", *rejoined(0, 1), delete_groups(), beat(0), groups=TWO),
    deleting("GROUP-DELETE-3/with-its-offsets", commit(), delete_groups(), delete_groups()),
    deleting("GROUP-DELETE-3/once-there-were-members", commit_of(0), *EMPTIED, delete_groups(), groups=ALONE),
    deleting("GROUP-DELETE-3/with-the-ids-that-it-gave-out", *EMPTIED, join(), delete_groups(), join(1), groups=ALONE),
    deleting("GROUP-DELETE-3/named-twice", commit(), delete_groups(GroupId(), GroupId())),
    deleting(
        "GROUP-DELETE-3/among-others",
        commit(), commit(group=GroupId("i")), delete_groups(*map(GroupId, "ghi")),
        groups=SEVERAL, also=("GROUP-DELETE-1",),
    ),
)  # fmt: skip

LOOKS = (
    describing("GROUP-LIST-1/stable", describe(), also=("GROUP-MEMBER-9",)),
    describing("GROUP-LIST-1/what-may-be-done", describe(operations=True)),
    describing("GROUP-LIST-1/of-an-instance", describe(), groups=STATIC),
    describing(
        "GROUP-LIST-1/a-client-of-another-name",
        join(client_id="somebody-else"), join(2, client_id="somebody-else", waits=True), *rejoined(0, 1), awaited(3), describe(),
    ),
    describing("GROUP-LIST-1/preparing", join(0, *reading("a"), waits=True), describe()),
    describing("GROUP-LIST-1/completing", *completed(0, 1), *rejoined(0, 1), describe()),
    describing("GROUP-LIST-1/of-offsets-alone", commit(), describe(), groups=NEW),
    describing("GROUP-LIST-1/emptied", leave(0, 1), describe()),
    describing("GROUP-LIST-2/no-group", describe(), groups=NEW),
    describing("GROUP-LIST-2/among-others", commit(), describe(*map(GroupId, "ghi")), groups=SEVERAL),
    describing("GROUP-LIST-2/deleted", leave(0, 1), delete_groups(), describe()),
    listing("GROUP-LIST-3/all", listed(), commit(), listed(), delete_groups(), listed()),
    listing("GROUP-LIST-3/with-members", listed(), *rejoined(0, 1), listed(), leave(0), listed(), groups=TWO),
    listing(
        "GROUP-LIST-3/by-state",
        *(listed(states) for states in (("Stable",), ("sTABLE",), ("Empty",), ("Empty", "Stable"), ("no such state",), ("",))),
        groups=TWO, sweep_from=4,
    ),
    listing(
        "GROUP-LIST-3/by-type",
        *(listed((), types) for types in (("classic",), ("CLASSIC",), ("consumer",), ("share", "classic"), ("no such type",))), commit(),
        sweep_from=5,
    ),
    listing(
        "GROUP-LIST-3/by-both",
        commit(), *(listed((state,), (kind,)) for state in ("Empty", "Stable") for kind in ("classic", "consumer")),
        sweep_from=5,
    ),
)  # fmt: skip

FINDING = (
    case("GROUP-FIND-2/one", find(GroupId()), topics=(), groups=NEW, sweep=m.FindCoordinatorRequest),
    case("GROUP-FIND-2/many", find(*map(GroupId, "ghi")), topics=(), groups=SEVERAL, sweep=m.FindCoordinatorRequest, sweep_from=4),
    case("GROUP-FIND-2/twice", find(GroupId(), GroupId()), topics=(), groups=NEW, sweep=m.FindCoordinatorRequest, sweep_from=4),
)  # fmt: skip

CASES: tuple[Case, ...] = (*COMMITS, *FETCHES, *FORGETTING, *DELETIONS, *LOOKS, *FINDING)
