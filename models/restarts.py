"""What is there after a restart: of a partition, whose log lies in files, and of the broker, whose records do.

What it promises
    A clean stop loses nothing. A process that is killed loses nothing that it answered. A power cut takes back what was not forced to the disk:
    from the end of a log, in whole batches, so that what is left is what was there at some earlier moment.

Laws of this file
    Nothing else can come of a crash than `allowed_after_crash` lists: no gap, no half of a batch, no batch that was never sent, no order of its own.
    How a disk keeps its promises is not decided here, nor how recovery finds the end of a log: a model knows no files.

    stop        what must be there
    clean       all of it
    killed      what was answered: the operating system has the rest of it
    power cut   what was forced to the disk (`forces_before_answer`, `forces_by_now`)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum

from immutables import Map

from fiducial.models import group_requests, partition
from fiducial.models.fetch import Parked
from fiducial.models.groups import SetAlarm
from fiducial.models.idempotence import ProducerIds
from fiducial.models.log import Log, LogConfig, Segment, epochs_from, with_high_watermark, with_start
from fiducial.models.partition import Partition
from fiducial.models.rules import rule
from fiducial.models.sessions import Sessions
from fiducial.models.state import Broker
from fiducial.models.topics import PartitionsAdded, TopicCreated, TopicDeleted
from fiducial.models.values import EMPTY, Uuid, changed, value


class Stop(Enum):
    """How a broker came to its end."""

    CLEAN = "clean"
    KILLED = "killed"
    POWER_CUT = "power cut"


@value
class Kept:
    """Marks of one partition that cannot be lost any more: every record below `end`, and a log start of at least `start`."""

    start: int
    end: int


# When a log is forced to the disk


@rule("LOG-RESTART-5")
def forces_before_answer(config: LogConfig, unforced_records: int) -> bool:
    """Is this batch the one with which so many records wait for the disk that they must be there before it is answered?"""
    return unforced_records >= config.flush_messages


@rule("LOG-RESTART-6")
def forces_by_now(config: LogConfig, waited_ms: int) -> bool:
    """Have the oldest records that wait for the disk waited long enough?"""
    return waited_ms >= config.flush_ms


# One partition


@rule("LOG-RESTART-3", "LOG-RESTART-4")
def must_be_kept(stop: Stop, latest: Partition, answered: Kept, forced: Kept) -> Kept:
    """What of a partition is there whatever happens, by how the broker came to its end."""
    match stop:
        case Stop.CLEAN:
            return Kept(latest.log.start, latest.log.end)
        case Stop.KILLED:
            return answered
        case Stop.POWER_CUT:
            return forced


@rule("LOG-RESTART-1", "LOG-RESTART-2", "LOG-RESTART-7")
def reopened(here: Partition, leader_epoch: int) -> Partition:
    """The partition opened again: its log and its producers as they are, all of it committed, in a leader epoch that begins at the log end."""
    assert leader_epoch > here.leader_epoch
    committed = with_high_watermark(here.log, partition.replicated_end(here))
    return partition.become_leader(changed(here, log=committed), leader_epoch)


@rule("LOG-RESTART-8", "LOG-RESTART-9")
def under_start(here: Partition, start: int, now: int) -> Partition:
    """The partition with the log start that was written down; if that is beyond what is left of the log, it goes on there, empty."""
    if start <= here.log.end:
        committed = with_high_watermark(here.log, here.log.end)
        return changed(here, log=with_start(committed, start))
    begun = Segment(start, 0, now, modified_ms=now)
    return changed(here, log=Log(start, start, start, begun, epochs=epochs_from(here.log.epochs, start)))


def with_all_let_go(moments: Sequence[Partition]) -> list[Partition]:
    """The moments as if nothing had been let go of since the first: files that were removed may be there again."""
    first = moments[0].log
    batches, sealed = first.batches, first.sealed
    found = []
    for moment in moments:
        batches, sealed = batches.update(moment.log.batches), sealed.update(moment.log.sealed)
        whole = changed(
            moment.log,
            start=first.start,
            batches=batches,
            first_batch=first.first_batch,
            sealed=sealed,
            first_segment=first.first_segment,
            size_bytes=sum(batch.size_bytes for batch in batches.values()),
            epochs=first.epochs,
        )
        found.append(changed(moment, log=whole))
    return found


@rule("LOG-RESTART-3", "LOG-RESTART-4")
def allowed_after_crash(moments: Sequence[Partition], kept: Kept, leader_epoch: int, now: int) -> tuple[Partition, ...]:
    """Everything that a partition may be when it is opened again.

    `moments` are what it was since it was opened, in order, and what it was about to become. Its log ends where it ended at one of them, and
    starts where it started at one of them or where a segment does; both no lower than what must be kept.
    """
    whole = with_all_let_go(moments)
    ends = {moment.log.end: moment for moment in whole if moment.log.end >= kept.end}
    segments = [*whole[-1].log.sealed.values(), *(moment.log.active for moment in moments)]
    known = {moment.log.start for moment in moments} | {segment.base_offset for segment in segments}
    starts = sorted(start for start in known if kept.start <= start <= moments[-1].log.start)
    return tuple(
        reopened(under_start(moment, start, now), leader_epoch) for end, moment in ends.items() for start in starts if start <= end
    )


# The broker


@value
class BrokerStarted:
    """A record of the broker: it was started, and every partition that there is begins a leader epoch."""


@rule("LOG-RESTART-2")
def leader_epochs(records: Iterable[object]) -> dict[Uuid, tuple[int, ...]]:
    """The leader epoch of each partition by the broker's records, those of topics and of its starts: how often it was started since the partition
    was made. The partition's own log may know of a later one."""
    started, before = 0, dict[Uuid, tuple[int, ...]]()
    for record in records:
        match record:
            case BrokerStarted():
                started += 1
            case TopicCreated(topic_id, _, partitions):
                before[topic_id] = (started,) * partitions
            case PartitionsAdded(topic_id, partitions):
                before[topic_id] += (started,) * (partitions - len(before[topic_id]))
            case TopicDeleted(topic_id):
                del before[topic_id]
    return {topic_id: tuple(started - one for one in made) for topic_id, made in before.items()}


#: No broker comes to give out an id so large: whoever sends one has made it up.
MADE_UP_ID = 2**62


@rule("LOG-RESTART-11")
def fresh_ids(reserved: int, known: Iterable[int]) -> ProducerIds:
    """Ids that nobody has: beyond each block that was begun, and beyond all that a log knows of, whoever gave them out. If these go further, that is written
    down as a block that was begun."""
    first = max(reserved, 1 + max((one for one in known if one < MADE_UP_ID), default=-1))
    return ProducerIds(first, first)


def known_ids(partitions: Map[tuple[Uuid, int], Partition]) -> set[int]:
    """Of every producer that one of these knows of."""
    return {producer for here in partitions.values() for producer in here.producers}


@rule("LOG-RESTART-10", "LOG-RESTART-11")
def restarted(
    broker: Broker, now: int, partitions: Map[tuple[Uuid, int], Partition] = EMPTY, known: Iterable[int] = ()
) -> tuple[Broker, tuple[SetAlarm, ...]]:
    """The broker opened again, with these partitions, which know of these producers: topics, configurations, producer ids and groups as its records say;
    nobody waits, no fetch session is known. The alarms are those of the members of its groups."""
    ids = fresh_ids(broker.producer_ids.reserved, known)
    groups, alarms = group_requests.restarted(broker.groups, now)
    after = changed(
        broker, producer_ids=ids, sessions=Sessions(), parked=Parked(), partitions=partitions, groups=groups
    )
    return after, alarms
