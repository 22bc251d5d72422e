"""The idempotent producer, on one partition: a batch that is sent again is not written again (KIP-98).

What it promises
    Within one producer epoch, batches are written in the order of their sequences, without gap and without repetition. A resend of any of
    the last five batches is answered with the offsets it got the first time. An older epoch can write no more.

Laws of this file
    The state is per partition and per producer id; partitions know nothing of one another. A batch that is refused, or answered as a
    duplicate, leaves no trace. Nothing here reads the log: retention does not make a producer unknown, only expiry and deletion do.

The verdict on a batch, first match wins
    it has no producer id (< 0)                    → append, nothing remembered
    its epoch and exact sequences are in the window → duplicate: the original answer
    then SEQUENCE_CHECK:
    its epoch is older than the producer's         → INVALID_PRODUCER_EPOCH
    the producer is unknown (epoch -1)             → append, whatever the sequence
    its epoch is newer, its sequence is not 0      → OUT_OF_ORDER_SEQUENCE_NUMBER
    its sequence is not the next                   → OUT_OF_ORDER_SEQUENCE_NUMBER
    else                                           → append, and remember it
"""

from __future__ import annotations

from immutables import Map

from fiducial.models.batches import NO_EPOCH, NO_PRODUCER, NO_SEQUENCE
from fiducial.models.errors import Error
from fiducial.models.kernels import follows
from fiducial.models.log import Plan
from fiducial.models.rules import Ladder, rule, rung
from fiducial.models.values import EMPTY, value

#: How many batches back a resend is recognised; what makes max.in.flight.requests.per.connection <= 5 safe.
WINDOW_BATCHES = 5

# State


@value
class Written:
    """One batch that a producer wrote: what a resend of it is answered with."""

    first_sequence: int
    last_sequence: int
    base_offset: int
    last_offset: int
    timestamp: int  # ms, the batch's max timestamp as stored


@value
class ProducerEntry:
    """What a partition knows of one producer."""

    epoch: int
    window: tuple[Written, ...]  # oldest first, at most WINDOW_BATCHES
    appended_ms: int  # broker time of its last append

    @property
    def last_sequence(self) -> int:
        """The sequence its last batch ended at, NO_SEQUENCE if its epoch has none."""
        return self.window[-1].last_sequence if self.window else NO_SEQUENCE


UNKNOWN = ProducerEntry(NO_EPOCH, (), 0)

Producers = Map[int, ProducerEntry]
NO_PRODUCERS: Producers = EMPTY

# The verdict


@rule("IDEM-SEQ-5", "IDEM-SEQ-8")
def is_idempotent(plan: Plan) -> bool:
    """A negative producer id, not only -1, is no producer: nothing is checked and nothing remembered. Acks play no part."""
    return plan.producer_id > NO_PRODUCER


@rule("IDEM-SEQ-7", "IDEM-ID-6")
def entry_of(producers: Producers, plan: Plan) -> ProducerEntry:
    """What this partition knows of the batch's producer; whether its id was ever given out, nobody asks."""
    return producers.get(plan.producer_id, UNKNOWN)


@rule("IDEM-DUP-1", "IDEM-DUP-3", "IDEM-DUP-4")
def duplicate_of(entry: ProducerEntry, plan: Plan) -> Written | None:
    """The batch of the window that this is a resend of: same epoch, same first and same last sequence; nothing else plays a part."""
    if plan.producer_epoch != entry.epoch:
        return None
    for written in entry.window:
        if written.first_sequence == plan.base_sequence and written.last_sequence == plan.last_sequence:
            return written
    return None


@rule("IDEM-EPOCH-1")
def epoch_is_old(entry: ProducerEntry, plan: Plan) -> bool:
    """A producer that was replaced by a newer one of the same id."""
    return plan.producer_epoch < entry.epoch


@rule("IDEM-EPOCH-2")
def new_epoch_begins_late(entry: ProducerEntry, plan: Plan) -> bool:
    """A new epoch numbers its batches from 0 again."""
    return is_known(entry) and plan.producer_epoch > entry.epoch and plan.base_sequence != 0


@rule("IDEM-SEQ-2")
def sequence_is_out_of_order(entry: ProducerEntry, plan: Plan) -> bool:
    """Within an epoch each batch begins one after the last one ended, 0 after 2^31 - 1."""
    return is_known(entry) and plan.producer_epoch == entry.epoch and not follows(entry.last_sequence, plan.base_sequence)


@rule("IDEM-SEQ-1", "IDEM-EPOCH-4")
def is_known(entry: ProducerEntry) -> bool:
    """An unknown producer may begin anywhere: its state may have expired. Epoch -1 never makes it known."""
    return entry.epoch != NO_EPOCH


#: Arguments: the producer's entry, the plan. Behind the search for a duplicate.
SEQUENCE_CHECK = Ladder(
    "sequence check",
    [
        rung(epoch_is_old, Error.INVALID_PRODUCER_EPOCH),
        rung(new_epoch_begins_late, Error.OUT_OF_ORDER_SEQUENCE_NUMBER),
        rung(sequence_is_out_of_order, Error.OUT_OF_ORDER_SEQUENCE_NUMBER),
    ],
)


@rule("IDEM-EPOCH-3")
def remembered(producers: Producers, plan: Plan, base_offset: int, now: int) -> Producers:
    """The producers after the batch was appended: its window slides, or, in a new epoch, begins anew."""
    entry = entry_of(producers, plan)
    written = Written(
        plan.base_sequence, plan.last_sequence, base_offset, base_offset + plan.count - 1, plan.max_timestamp
    )
    window = (*entry.window[-(WINDOW_BATCHES - 1) :], written) if plan.producer_epoch == entry.epoch else (written,)
    return producers.set(plan.producer_id, ProducerEntry(plan.producer_epoch, window, now))


@rule("IDEM-EXPIRE-1")
def unexpired(producers: Producers, expiration_ms: int, now: int) -> Producers:
    """The producers that have written within `expiration_ms`, by the broker's clock."""
    expired = [producer_id for producer_id, entry in producers.items() if now - entry.appended_ms >= expiration_ms]
    if not expired:
        return producers
    for producer_id in expired:
        producers = producers.delete(producer_id)
    return producers


# Producer ids


@value
class ProducerIds:
    """Ids are handed out in order and never twice; a block is reserved, durably, before the first id of it is given."""

    next_id: int = 0
    reserved: int = 0  # the first id beyond the block


BLOCK_IDS = 1000


@value
class ProducerIdsReserved:
    """Durable record: every id below `reserved` may have been given."""

    reserved: int


@rule("IDEM-ID-2")
def reserve(ids: ProducerIds) -> ProducerIdsReserved | None:
    """The record to write before the next id can be given, None when the block has one left."""
    return ProducerIdsReserved(ids.reserved + BLOCK_IDS) if ids.next_id == ids.reserved else None


def evolve(ids: ProducerIds, record: ProducerIdsReserved) -> ProducerIds:
    """A new block begins; after a restart, so does a new one: ids may be skipped, never repeated."""
    return ProducerIds(ids.reserved, record.reserved)
