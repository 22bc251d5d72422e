"""`fiducial lag`: how far groups are behind, by partition, by topic and in all, in offsets and in time.

    committed   where the group goes on: the offset of the first record that it has not read
    lag         the end of the log less what is committed; the end is the high watermark
    behind      now, by this machine's clock, less the time that the first unread record bears; 0 where nothing is unread

What is unread and was deleted meanwhile counts in the lag, as with Kafka's own tools, but not in the time: that is of the first record that
is still there. Of a topic, and in all, the lag is the sum and the time the longest; partitions of which one is unknown are counted apart.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter, itemgetter
from typing import Any, TypeVar

from fiducial.cli.cluster import Cluster
from fiducial.cli.groups import Group, Member
from fiducial.cli.groups import seen as seen_groups
from fiducial.cli.screen import columns, counted, duration, printable, show
from fiducial.conformance.batches import Stored, Unreadable, held_in, stored_batches
from fiducial.conformance.symbols import error_name
from fiducial.models import messages as m
from fiducial.models.batches import ATTRIBUTE_LOG_APPEND_TIME
from fiducial.models.errors import Error
from fiducial.models.partition import EARLIEST_TIMESTAMP, LATEST_TIMESTAMP

#: Nothing is committed.
NO_OFFSET = -1
#: Enough for one batch, since a broker gives out the first one whole.
FETCH_BYTES = 1
MAGIC = 2

Key = tuple[str, int]  # (topic, partition)
T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class Log:
    """From where to where a partition's log goes; `problem`: why nobody says."""

    start: int = -1
    end: int = -1
    problem: str = ""


@dataclass(frozen=True)
class PartitionLag:
    """Where a group stands in one partition. None is what nobody knows; `note`: why, or what is odd."""

    topic: str
    partition: int
    committed: int | None
    log_start: int | None
    log_end: int | None
    lag: int | None
    behind_ms: int | None
    owner: Member | None
    note: str


@dataclass(frozen=True)
class GroupLag:
    """A group, and where it stands; `problem`: why nothing is known of its offsets."""

    group: Group
    partitions: tuple[PartitionLag, ...]
    problem: str | None


@dataclass(frozen=True)
class Total:
    """Of several partitions: the sum of the lags, the longest time, and of how many partitions the lag is unknown."""

    lag: int | None
    behind_ms: int | None
    unknown: int


def lag(options: argparse.Namespace) -> int:
    """Show how far the groups are behind; the exit status."""
    return show(
        options,
        lambda cluster: seen(cluster, options.group),
        lambda found: {"bootstrap": options.bootstrap, "groups": [group_data(one) for one in found], **total_data(total_of(everything(found)))},
        text,
    )


# Asking


def seen(cluster: Cluster, wanted: Sequence[str]) -> list[GroupLag]:
    """The groups that are named, or all, and where each stands."""
    found = seen_groups(cluster, wanted)
    commits = committed(cluster, found)
    owners = {group.group_id: owners_in(group) for group in found}
    keys = {key for offsets, _ in commits.values() for key in offsets} | {key for owned in owners.values() for key in owned}
    leaders, logs = leaders_of(cluster, keys)
    logs |= ends(cluster, leaders)
    unread = {(key, max(offset, logs[key].start)) for offsets, _ in commits.values() for key, offset in offsets.items() if offset < logs[key].end}
    times = first_times(cluster, leaders, unread)
    now = time.time_ns() // 1_000_000
    behind = {place: None if told is None else max(now - told, 0) for place, told in times.items()}
    return [group_lag(group, *commits[group.group_id], owners[group.group_id], logs, behind) for group in found]


def committed(cluster: Cluster, groups: Iterable[Group]) -> dict[str, tuple[dict[Key, int], str | None]]:
    """What each group has committed, as its coordinator says; and why it does not, if it does not."""
    told: dict[str, tuple[dict[Key, int], str | None]] = {}
    for node_id, some in grouped(groups, lambda group: group.coordinator):
        answers = cluster.node(node_id).ask_all(m.OffsetFetchRequest(group.group_id, None) for group in some)
        told |= {group.group_id: offsets_in(answer) for group, answer in zip(some, answers, strict=True)}
    return told


def offsets_in(answer: m.OffsetFetchResponse) -> tuple[dict[Key, int], str | None]:
    """What is committed; and why it is not told, if it is not."""
    partitions = ((topic.name, one) for topic in answer.topics for one in topic.partitions if one.committed_offset != NO_OFFSET)
    problem = error_name(answer.error_code) if answer.error_code != Error.NONE else None
    return {(name, one.partition_index): one.committed_offset for name, one in partitions}, problem


def owners_in(group: Group) -> dict[Key, Member]:
    """Who reads what."""
    return {key: member for member in group.members or () for key in member.assigned or ()}


def leaders_of(cluster: Cluster, keys: Iterable[Key]) -> tuple[dict[Key, int], dict[Key, Log]]:
    """The node that leads each partition; or why nobody does."""
    wanted = set(keys)
    asked = tuple(m.MetadataRequestTopic(name=name) for name in sorted({name for name, _ in wanted}))
    topics = cluster.first.ask(m.MetadataRequest(asked, allow_auto_topic_creation=False)).topics if asked else ()
    partitions = {(topic.name, one.partition_index): one for topic in topics for one in topic.partitions}
    errors = {topic.name: topic.error_code for topic in topics}
    leaders: dict[Key, int] = {}
    lost: dict[Key, Log] = {}
    for key in wanted:
        if key in partitions and partitions[key].leader_id >= 0:
            leaders[key] = partitions[key].leader_id
        else:
            error = partitions[key].error_code if key in partitions else errors[key[0]] or Error.UNKNOWN_TOPIC_OR_PARTITION
            lost[key] = Log(problem=error_name(error))
    return leaders, lost


def ends(cluster: Cluster, leaders: Mapping[Key, int]) -> dict[Key, Log]:
    """From where to where each log goes, as its leader says."""
    logs: dict[Key, Log] = {}
    for leader, keys in grouped(leaders, leaders.__getitem__):
        answers = cluster.node(leader).ask_all(positions(keys, timestamp) for timestamp in (EARLIEST_TIMESTAMP, LATEST_TIMESTAMP))
        first, last = ({(topic.name, one.partition_index): one for topic in answer.topics for one in topic.partitions} for answer in answers)
        logs |= {key: log_between(first[key], last[key]) if key in first and key in last else Log(problem="not told") for key in keys}
    return logs


def log_between(first: m.ListOffsetsPartitionResponse, last: m.ListOffsetsPartitionResponse) -> Log:
    """What two answers come to."""
    error = first.error_code or last.error_code
    return Log(problem=error_name(error)) if error else Log(first.offset, last.offset)


def positions(keys: Iterable[Key], timestamp: int) -> m.ListOffsetsRequest:
    """Where logs begin, or end."""
    topics = ((topic, [m.ListOffsetsPartition(index, timestamp=timestamp) for _, index in some]) for topic, some in grouped(keys, itemgetter(0)))
    return m.ListOffsetsRequest(replica_id=-1, topics=tuple(m.ListOffsetsTopic(topic, tuple(some)) for topic, some in topics))


def first_times(cluster: Cluster, leaders: Mapping[Key, int], places: Iterable[tuple[Key, int]]) -> dict[tuple[Key, int], int | None]:
    """The time of the first record from each of these offsets on, None if it has none, or does not say it readably."""
    times: dict[tuple[Key, int], int | None] = {}
    for leader, some in grouped(places, lambda place: leaders[place[0]]):
        answers = cluster.node(leader).ask_all(one_batch(*place) for place in some)
        for place, answer in zip(some, answers, strict=True):
            records = b"".join(one.records or b"" for topic in answer.responses for one in topic.partitions)
            times[place] = first_time(stored_batches(records)[0], place[1])
    return times


def grouped(items: Iterable[T], key: Callable[[T], K]) -> Iterator[tuple[K, list[T]]]:
    """Items by what they have in common, such as the node that is to be asked of them."""
    by_key: defaultdict[K, list[T]] = defaultdict(list)
    for item in items:
        by_key[key(item)].append(item)
    yield from by_key.items()


def one_batch(key: Key, offset: int) -> m.FetchRequest:
    """The batch that a record is in."""
    topic, index = key
    wanted = m.FetchPartition(index, fetch_offset=offset, partition_max_bytes=FETCH_BYTES)
    return m.FetchRequest(topics=(m.FetchTopic(topic=topic, partitions=(wanted,)),))


def first_time(batches: Iterable[Stored], offset: int) -> int | None:
    """The time of the first record from an offset on; if it is not to be found in its batch, the last one there."""
    for batch in batches:
        header = batch.header
        if header.magic != MAGIC or header.base_offset + header.last_offset_delta < offset:
            continue
        found = header.max_timestamp
        if not header.attributes & ATTRIBUTE_LOG_APPEND_TIME:
            found = next(times_from(batch, offset), found)
        return found if found >= 0 else None
    return None


def times_from(batch: Stored, offset: int) -> Iterator[int]:
    """The times of the records from an offset on, as far as they can be read."""
    try:
        for one in held_in(batch.body or b""):
            if batch.header.base_offset + one.offset_delta >= offset:
                yield batch.header.base_timestamp + one.time_delta
    except Unreadable:
        return


# Reckoning


def group_lag(
    group: Group, offsets: Mapping[Key, int], problem: str | None, owners: Mapping[Key, Member], logs: Mapping[Key, Log], behind: Mapping[tuple[Key, int], int | None]
) -> GroupLag:
    """Where a group stands in all partitions that it has committed, or is to read."""
    keys = sorted({*offsets, *owners})
    return GroupLag(group, tuple(partition_lag(key, offsets.get(key), owners.get(key), logs[key], behind) for key in keys), problem)


def partition_lag(key: Key, offset: int | None, owner: Member | None, log: Log, behind: Mapping[tuple[Key, int], int | None]) -> PartitionLag:
    """Where a group stands in one partition."""
    if log.problem:
        return PartitionLag(*key, offset, None, None, None, None, owner, log.problem)
    if offset is None:
        return PartitionLag(*key, None, log.start, log.end, None, None, owner, "nothing is committed")
    note = ""
    if offset < log.start:
        note = f"the log begins at {log.start}"
    elif offset > log.end:
        note = "beyond the end of the log"
    behind_ms = behind[key, max(offset, log.start)] if offset < log.end else 0
    return PartitionLag(*key, offset, log.start, log.end, max(log.end - offset, 0), behind_ms, owner, note)


def total_of(partitions: Iterable[PartitionLag]) -> Total:
    """What several partitions come to; None if nothing of any is known."""
    held = list(partitions)
    lags = [one.lag for one in held if one.lag is not None]
    times = [one.behind_ms for one in held if one.behind_ms is not None]
    return Total(sum(lags) if lags else None, max(times, default=None), len(held) - len(lags))


def by_topic(partitions: Iterable[PartitionLag]) -> Iterator[tuple[str, list[PartitionLag]]]:
    """Each topic and its partitions."""
    return grouped(partitions, attrgetter("topic"))


def everything(found: Iterable[GroupLag]) -> Iterator[PartitionLag]:
    """The partitions of all groups."""
    for one in found:
        yield from one.partitions


# Showing


def group_data(one: GroupLag) -> dict[str, Any]:
    """A group as JSON has it."""
    topics = [
        {"topic": topic, **total_data(total_of(some)), "partitions": [partition_data(partition) for partition in some]} for topic, some in by_topic(one.partitions)
    ]
    group = one.group
    return {"group": group.group_id, "type": group.kind, "state": group.state, **total_data(total_of(one.partitions)), "topics": topics, "error": one.problem}


def total_data(total: Total) -> dict[str, Any]:
    """A total as JSON has it."""
    return {"lag": total.lag, "behind_ms": total.behind_ms, "unknown_partitions": total.unknown}


def partition_data(one: PartitionLag) -> dict[str, Any]:
    """A partition as JSON has it."""
    owner = one.owner
    return {
        "partition": one.partition,
        "committed": one.committed,
        "log_start": one.log_start,
        "log_end": one.log_end,
        "lag": one.lag,
        "behind_ms": one.behind_ms,
        "member_id": owner and owner.member_id,
        "client_id": owner and owner.client_id,
        "host": owner and owner.host,
        "note": one.note,
    }


#: Those with a blank stand to the right.
HEADS = ("TOPIC", " PARTITION", " COMMITTED", " LOG END", " LAG", " BEHIND", "CLIENT", "HOST", "NOTE")


def text(found: Sequence[GroupLag]) -> list[str]:
    """Each group with its partitions and topics; then all together."""
    lines: list[str] = []
    for one in found:
        lines += ["", title(one)] if lines else [title(one)]
        if one.partitions:
            lines += columns(HEADS, [row for topic, some in by_topic(one.partitions) for row in rows_of(topic, some)], "  ")
    if not found:
        return ["no groups"]
    return [*lines, "", f"{counted(len(found), 'group')}: {told(total_of(everything(found)))}"] if len(found) > 1 else lines


def title(one: GroupLag) -> str:
    """A group in one line."""
    if one.problem is not None:
        return printable(f"{one.group.label}: its offsets are not told ({one.problem})")
    standing = told(total_of(one.partitions)) if one.partitions else "no committed offsets"
    return printable(f"{one.group.label}: {one.group.state}, {one.group.kind}, {standing}")


def told(total: Total) -> str:
    """A total in words."""
    unknown = f", {counted(total.unknown, 'partition')} unknown" if total.unknown else ""
    behind = f", {duration(total.behind_ms)} behind" if total.behind_ms else ""
    return f"lag {'unknown' if total.lag is None else total.lag}{behind}{unknown}"


def rows_of(topic: str, partitions: Sequence[PartitionLag]) -> Iterator[tuple[Any, ...]]:
    """A row for each partition of a topic, and one for all, if there are several."""
    for one in partitions:
        client, host = (one.owner.client_id, one.owner.host) if one.owner else (None, None)
        yield topic, one.partition, one.committed, one.log_end, one.lag, duration(one.behind_ms), client, host, one.note
    if len(partitions) > 1:
        total = total_of(partitions)
        yield topic, "all", "", "", total.lag, duration(total.behind_ms), "", "", ""
