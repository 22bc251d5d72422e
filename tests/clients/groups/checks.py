"""What must hold of a group, whatever its members went through: each check reads their journals and says what it finds wrong.

What a member tells of itself may be late: one that slept past its session believes in its old generation, and goes on with it until it hears better.
So nothing here compares clocks where a generation says it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from clients.groups.journal import (
    ASSIGNED,
    COMMITTED,
    COMMITTING,
    GENERATION,
    LOST,
    READ,
    REVOKED,
    Entry,
    last_generation,
    owned,
)

#: What a member may say of its partitions.
CHANGES = (ASSIGNED, REVOKED, LOST)


@dataclass(frozen=True)
class Pause:
    """A moment in which the group was stable, and the step that the runner took next."""

    at_ns: int
    #: The processes that were members then.
    members: frozenset[str]
    #: Is the next step one by which nobody else should notice anything: a static member that comes back?
    is_unnoticed: bool = False


@dataclass(frozen=True)
class Story:
    """All that is known of a run."""

    entries: Sequence[Entry]  # in the order of time
    pauses: Sequence[Pause]
    #: Where each partition ends, and what the broker says is committed, both after the end.
    ends: Mapping[int, int]
    committed: Mapping[int, int]
    is_cooperative: bool = False
    #: From then on the broker may answer older offsets than were committed.
    forgets_from_ns: int | None = None

    def is_excused(self, one: Entry) -> bool:
        """May what the member does come of an older offset that it was answered?"""
        return self.forgets_from_ns is not None and one.at_ns > self.forgets_from_ns

    def of(self, process: str, *, until_ns: int | None = None, after_ns: int = -1) -> list[Entry]:
        """What one process wrote, in a stretch of time."""
        return [
            one
            for one in self.entries
            if one.process == process and after_ns < one.at_ns and (until_ns is None or one.at_ns <= until_ns)
        ]


def every_record_is_read(story: Story) -> Iterator[str]:
    """At least once, by somebody."""
    read = {(one.partitions[0], one.offset) for one in story.entries if one.event == READ}
    for partition, end in story.ends.items():
        missing = [offset for offset in range(end) if (partition, offset) not in read]
        if missing:
            yield f"partition {partition}: nobody read {missing[:10]}, {len(missing)} of {end} records"


def everything_is_committed(story: Story) -> Iterator[str]:
    """In the end the broker has the ends of the partitions as the group's offsets."""
    for partition, end in story.ends.items():
        if (found := story.committed.get(partition, 0)) != end:
            yield f"partition {partition}: {found} is committed, it ends at {end}"


def no_partition_has_two_owners_in_a_generation(story: Story) -> Iterator[str]:
    """Whoever is assigned a partition in a generation, or reads it, is the only one."""
    users: dict[tuple[int, int], set[str]] = defaultdict(set)
    for one in story.entries:
        if one.event in (ASSIGNED, READ) and one.generation > 0:
            for partition in one.partitions:
                users[one.generation, partition].add(member_of(one.process))
    for (generation, partition), members in users.items():
        if len(members) > 1:
            yield f"partition {partition} in generation {generation}: owned by {sorted(members)}"


def nothing_is_committed_that_was_not_read(story: Story) -> Iterator[str]:
    """An offset is committed only when every record below it was read by somebody: what a crash then hides was seen."""
    reached: dict[int, int] = defaultdict(int)
    read: dict[int, set[int]] = defaultdict(set)
    for one in story.entries:
        if one.event == READ:
            (partition,) = one.partitions
            read[partition].add(one.offset)
            while reached[partition] in read[partition]:
                reached[partition] += 1
        elif one.event == COMMITTING:
            for partition, offset in one.offsets.items():
                if offset > reached[partition]:
                    yield f"partition {partition}: {one.process} commits {offset}, and {reached[partition]} was not read yet"


def commits_never_go_back(story: Story) -> Iterator[str]:
    """From generation to generation, and within each, what the broker took for a partition only grows."""
    reached: dict[int, int] = defaultdict(int)
    for one in sorted((one for one in story.entries if one.event == COMMITTED), key=lambda one: one.generation):
        for partition, offset in one.offsets.items():
            if offset < reached[partition] and not story.is_excused(one):
                yield f"partition {partition}: {one.process} committed {offset} in generation {one.generation}, after {reached[partition]}"
            reached[partition] = max(reached[partition], offset)


def whoever_is_assigned_a_partition_goes_on_where_it_was_left(story: Story) -> Iterator[str]:
    """The first record read is not below what was committed before, nor above what anybody tried to commit; the others follow it one by one.

    A client that had the partition before may go on where it was itself, first: kafka-python keeps its positions when it joins anew, and librdkafka may
    still hand out what it had fetched.
    """
    taken: dict[int, int] = defaultdict(int)
    tried: dict[int, int] = defaultdict(int)
    at_least: dict[tuple[str, int], int] = {}
    following: dict[tuple[str, int], int] = {}
    left: dict[tuple[str, int], int] = {}
    for one in story.entries:
        for partition, offset in one.offsets.items():
            into = {COMMITTING: tried, COMMITTED: taken}.get(one.event, {})
            into[partition] = max(into.get(partition, 0), offset)
        for partition in one.partitions:
            tenure = one.process, partition
            if one.event == ASSIGNED:
                at_least[tenure] = taken[partition]
            elif one.event in (REVOKED, LOST) and tenure in at_least:
                left[tenure] = following.pop(tenure, left.get(tenure, at_least[tenure]))
            elif one.event == READ and tenure in following:
                if one.offset != following[tenure]:
                    yield f"partition {partition}: {one.process} read {one.offset} where {following[tenure]} follows"
                following[tenure] = one.offset + 1
            elif one.event == READ and one.offset == left.get(tenure):
                left[tenure] += 1
            elif one.event == READ:
                least, most = 0 if story.is_excused(one) else at_least.get(tenure, 0), tried[partition]
                if not least <= one.offset <= most:
                    yield f"partition {partition}: {one.process} begins at {one.offset}, where anything from {least} to {most} was left"
                following[tenure] = one.offset + 1


def cooperative_members_keep_what_need_not_move(story: Story) -> Iterator[str]:
    """Whenever a member that stays gives partitions up, it keeps its share: what everybody gets at least, or what it had if that was less."""
    if not story.is_cooperative:
        return
    for before, after in zip(story.pauses, story.pauses[1:], strict=False):
        meanwhile = [one for one in story.entries if before.at_ns < one.at_ns <= after.at_ns]
        share = len(story.ends) // len({one.process for one in meanwhile} | before.members | after.members)
        for process in sorted(before.members & after.members):
            had = set(owned(story.of(process, until_ns=before.at_ns)))
            for one in meanwhile:
                if one.process != process or one.event not in CHANGES:
                    continue
                left = owned([one], had)
                if one.event == REVOKED and len(left) < min(len(had), share):
                    yield f"{process} had {sorted(had)}, gave up {list(one.partitions)} in generation {one.generation}, and its share is {share}"
                had = set(left)


def nobody_notices_a_static_member_that_comes_back(story: Story) -> Iterator[str]:
    """It has what it had, in the generation that was; nobody else hears of anything."""
    for before, after in zip(story.pauses, story.pauses[1:], strict=False):
        if not before.is_unnoticed:
            continue
        for process in sorted(before.members & after.members):
            for one in story.of(process, after_ns=before.at_ns, until_ns=after.at_ns):
                if one.event in (*CHANGES, GENERATION):
                    yield f"{process} noticed: {one.event} {list(one.partitions)} in generation {one.generation}"
        for process in sorted(after.members - before.members):
            predecessor = next(one for one in before.members if member_of(one) == member_of(process))
            was, now = (story.of(one, until_ns=until.at_ns) for one, until in ((predecessor, before), (process, after)))
            if (owned(was), last_generation(was)) != (owned(now), last_generation(now)):
                yield (
                    f"{process} has {sorted(owned(now))} in generation {last_generation(now)}, "
                    f"{predecessor} had {sorted(owned(was))} in {last_generation(was)}"
                )


CHECKS = (
    every_record_is_read,
    everything_is_committed,
    no_partition_has_two_owners_in_a_generation,
    nothing_is_committed_that_was_not_read,
    commits_never_go_back,
    whoever_is_assigned_a_partition_goes_on_where_it_was_left,
    cooperative_members_keep_what_need_not_move,
    nobody_notices_a_static_member_that_comes_back,
)


def found_wrong(story: Story) -> list[str]:
    """What every check finds, with its name as the sentence that does not hold."""
    return [f"{check.__name__.replace('_', ' ')}: {found}" for check in CHECKS for found in check(story)]


def member_of(process: str) -> str:
    """Whose process it is: a member that comes back has another process, "2.1" after "2.0"."""
    return process.partition(".")[0]
