"""What the reference broker is to be when the fast path has stopped and started again beside it.

What is kept of a partition, and of the broker, `models/restarts.py` says. Here is what else its files tell, or do not:
    when a segment was begun    is written nowhere: it is as old as the start
    indexes                     beyond what was written down as forced to the disk they are made anew, by the configuration in force; the time index
                                of the active segment has the entry that closes it, and grows on
    producers                   after a kill, who wrote since the newest file of them has written now; whom silence had made forgotten may be back
"""

from __future__ import annotations

from immutables import Map

from fiducial.models.idempotence import ProducerEntry
from fiducial.models.log import Log, LogConfig, Segment, grown
from fiducial.models.partition import Partition
from fiducial.models.restarts import reopened
from fiducial.models.values import changed

#: An offset beyond all: a log that was stopped cleanly is trusted below it.
EVERYTHING = 2**63 - 1


def read_again(here: Partition, trusted_below: int, now: int) -> Partition:
    """The partition as it is taken up from its files; indexes are trusted below an offset."""
    log = here.log
    segments = {**log.sealed, log.active_segment: log.active}
    ends = {ordinal - 1: segment.base_offset for ordinal, segment in segments.items()}
    for ordinal, segment in segments.items():
        if ends.get(ordinal, EVERYTHING) > trusted_below:
            segments[ordinal] = indexed_anew(log, ordinal, segment, here.config)
        segments[ordinal] = changed(segments[ordinal], created_ms=now)
    active = closed(segments.pop(log.active_segment))
    return reopened(changed(here, log=changed(log, sealed=Map(segments), active=active)), here.leader_epoch + 1)


def indexed_anew(log: Log, ordinal: int, segment: Segment, config: LogConfig) -> Segment:
    """The segment with its indexes made from its batches."""
    made = Segment(segment.base_offset, segment.first_batch, segment.created_ms, modified_ms=segment.modified_ms)
    for number in range(segment.first_batch, log.end_batch):
        if log.batches[number].segment == ordinal:
            made = grown(made, log.batches[number], config, segment.modified_ms)
    return made


def closed(segment: Segment) -> Segment:
    """The segment with the entry that closes its time index."""
    if segment.max_timestamp <= segment.indexed_timestamp:
        return segment
    return changed(segment, time_index_entries=segment.time_index_entries + 1, indexed_timestamp=segment.max_timestamp)


def are_as_they_were(before: Map[int, ProducerEntry], found: Map[int, ProducerEntry], now: int) -> bool:
    """Are the producers that a start after a kill has found those that there were? What had been forgotten may be there before it."""
    return all(
        producer in found
        and found[producer].epoch == known.epoch
        and found[producer].window[-len(known.window) :] == known.window
        and found[producer].appended_ms in (known.appended_ms, now)
        for producer, known in before.items()
    )
