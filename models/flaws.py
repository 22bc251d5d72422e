"""Real bugs, as data: each puts one guard or function of the model back to what a Kafka-like broker once had wrong.

With a flaw switched on, the property it names must fail; with it off, everything passes. The numbers are those of the catalogue the flaws
were collected in; a bug that one replica without transactions cannot have stands here too, with the reason, so that none is forgotten.
Beside these, every rung of every ladder can be taken out (`rung_removed`): a rule that is a rung has its flaw of its own accord.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fiducial.models import (
    fetch,
    group_events,
    group_members,
    group_offsets,
    group_phases,
    group_requests,
    groups,
    idempotence,
    kernels,
    log,
    partition,
    restarts,
    sessions,
    threads,
)
from fiducial.models.errors import Error
from fiducial.models.events import Outcome, Reply
from fiducial.models.group_members import Process, Request
from fiducial.models.group_requests import Groups
from fiducial.models.groups import Alarm, Asked, Group, GroupMetadata, Kind, State, Turn, Waiting
from fiducial.models.idempotence import NO_PRODUCERS, UNKNOWN, ProducerEntry, Producers, Written
from fiducial.models.log import EpochStart, Log, LogConfig, Plan
from fiducial.models.partition import READ_UNCOMMITTED, Fetch, Partition, Refused
from fiducial.models.rules import LADDERS, Ladder, Rung
from fiducial.models.sessions import Cached, Wanted
from fiducial.models.threads import At, Server, Status
from fiducial.models.values import EMPTY, Uuid, changed, value

if TYPE_CHECKING:
    from fiducial.models.state import Broker


@value
class Flaw:
    """One bug. `target` is the function that it replaces, as "module:function" below fiducial.models."""

    id: str
    issue: str
    title: str  # what is wrong while it is switched on
    rules: tuple[str, ...] = ()
    violates: str = ""  # the property that must fail; for what a partition alone cannot show, a test of tests/models
    target: str = ""
    replacement: Callable[..., Any] | None = None
    reason_not_applicable: str = ""


FLAWS: dict[str, Flaw] = {}


def flaw(id_: str, issue: str, title: str, *, rules: tuple[str, ...], violates: str, target: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the decorated function as what the flaw puts in the place of `target`."""

    def register(replacement: Callable[..., Any]) -> Callable[..., Any]:
        where = f"{target.__module__}:{target.__qualname__}"
        assert id_ not in FLAWS, f"two flaws called {id_}"
        FLAWS[id_] = Flaw(id_, issue, title, rules, violates, where, replacement)
        return replacement

    return register


def not_yet(reason: str, **issues: str) -> None:
    """Register bugs that nothing here can have, and why."""
    for id_, issue in issues.items():
        FLAWS[id_] = Flaw(id_, issue, "", reason_not_applicable=reason)


# Switching


@contextmanager
def replaced(target: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Iterator[None]:
    """What `make` makes of the function "module:function", in its place while the block runs: in every module that holds it, or in its class, in
    every ladder that guards with it, and in every cell of the table of groups that acts by it."""
    module_name, _, path = target.partition(":")
    owner_name, _, name = path.rpartition(".")
    owner = getattr(sys.modules[module_name], owner_name) if owner_name else sys.modules[module_name]
    original = getattr(owner, name)
    replacement = make(original)
    ours = [module for called, module in list(sys.modules.items()) if called.startswith("fiducial.")]
    holders = [owner] if owner_name else [module for module in ours if getattr(module, name, None) is original]
    ladders = {ladder: ladder.rungs for ladder in LADDERS.values()}
    cells = [(row, state, cell) for row in group_events.TABLE.values() for state, cell in row.items() if cell.act is original]
    for holder in holders:
        setattr(holder, name, replacement)
    for row, state, cell in cells:
        row[state] = changed(cell, act=replacement)
    for ladder, rungs in ladders.items():
        ladder.rungs = tuple(changed(rung, guard=replacement) if rung.guard is original else rung for rung in rungs)
    try:
        yield
    finally:
        for holder in holders:
            setattr(holder, name, original)
        for ladder, rungs in ladders.items():
            ladder.rungs = rungs
        for row, state, cell in cells:
            row[state] = cell


@contextmanager
def switched_on(one: Flaw) -> Iterator[None]:
    """The flaw, while the block runs."""
    replacement = one.replacement
    assert replacement is not None, f"{one.id} does not apply: {one.reason_not_applicable}"
    with replaced(one.target, lambda _: replacement):
        yield


@contextmanager
def rung_removed(ladder: Ladder, rung: Rung) -> Iterator[None]:
    """The ladder without one of its rungs, while the block runs."""
    rungs = ladder.rungs
    assert rung in rungs
    ladder.rungs = tuple(other for other in rungs if other is not rung)
    try:
        yield
    finally:
        ladder.rungs = rungs


# A. Epochs and truncation


@flaw(
    "A2",
    "KAFKA-6361 (KIP-279)",
    "the end of an epoch nobody led in is answered under that epoch's own name",
    rules=("LOG-EPOCH-1",),
    violates="EpochEndIsTrue",
    target=log.end_offset_for_epoch,
)
def answers_with_the_epoch_asked_for(here: Log, epoch: int) -> tuple[int, int]:
    if epoch < 0 or not here.epochs or epoch > here.epochs[-1].epoch:
        return -1, -1
    later = [entry.start_offset for entry in here.epochs if entry.epoch > epoch]
    return epoch, later[0] if later else here.end


@flaw(
    "A3",
    "KAFKA-6880, KAFKA-7395 (KIP-320)",
    "a fetch is served whatever leader epoch it names",
    rules=("LOG-FETCH-5",),
    violates="StaleAskersAreFenced",
    target=partition.epoch_is_fenced,
)
def fences_nobody(_partition: Partition, _asked: Fetch) -> bool:
    return False


@flaw(
    "A6",
    "KAFKA-7415",
    "a new leader enters its epoch only with its first batch",
    rules=("LOG-EPOCH-2",),
    violates="EpochCacheMatchesLog",
    target=partition.become_leader,
)
def enters_no_epoch(here: Partition, epoch: int) -> Partition:
    return changed(here, leader_epoch=epoch)


@flaw(
    "A9",
    "KAFKA-6857",
    "asked for no epoch, the leader answers its log end",
    rules=("LOG-EPOCH-1",),
    violates="EpochEndIsTrue",
    target=log.end_offset_for_epoch,
)
def answers_the_end_for_no_epoch(here: Log, epoch: int) -> tuple[int, int]:
    if epoch < 0:
        return -1, here.end
    later = [entry.start_offset for entry in here.epochs if entry.epoch > epoch]
    known = [entry.epoch for entry in here.epochs if entry.epoch <= epoch]
    if not here.epochs or epoch > here.epochs[-1].epoch:
        return -1, -1
    return (known[-1] if known else epoch), later[0] if later else here.end


@flaw(
    "A7",
    "KAFKA-10706",
    "entries of the epoch cache that a new leader contradicts stay",
    rules=("LOG-EPOCH-2",),
    violates="EpochCacheMonotone",
    target=partition.become_leader,
)
def keeps_contradicted_epochs(here: Partition, epoch: int) -> Partition:
    epochs = (*here.log.epochs, EpochStart(epoch, here.log.end))
    return changed(here, log=changed(here.log, epochs=epochs), leader_epoch=epoch)


@flaw(
    "A13",
    "KAFKA-12996",
    "a fetch below the log start with a diverging epoch is answered without an error",
    rules=("LOG-READ-1",),
    violates="BelowStartIsOutOfRange",
    target=partition.fetch_is_out_of_range,
)
def looks_at_epochs_first(here: Partition, asked: Fetch) -> bool:
    if asked.last_fetched_epoch >= 0:
        return False
    return log.offset_is_out_of_range(here.log, asked.offset)


@flaw(
    "A21",
    "KAFKA-9338",
    "a fetch session forgets the leader epoch that the partition was asked for with",
    rules=("LOG-FETCH-5", "LOG-SESSION-1"),
    violates="test_a_session_remembers_the_leader_epoch_that_was_named",
    target=sessions.merged,
)
def forgets_epochs(
    cached: tuple[Cached, ...], wanted: tuple[Wanted, ...], forgotten: frozenset[tuple[str | Uuid, int]]
) -> tuple[Cached, ...]:
    asked = {entry.key for entry in wanted}
    return tuple(
        entry
        if entry.wanted.key in asked
        else changed(entry, wanted=changed(entry.wanted, current_leader_epoch=-1))
        for entry in MERGED(cached, wanted, forgotten)
    )


MERGED = sessions.merged


@flaw(
    "A19",
    "KAFKA-3978",
    "the high watermark is not kept within the log",
    rules=("LOG-HW-1",),
    violates="MarksInOrder",
    target=log.with_high_watermark,
)
def takes_any_high_watermark(here: Log, candidate: int) -> Log:
    return changed(here, high_watermark=candidate)


@flaw(
    "A26",
    "KAFKA-8306",
    "a log that ends below its log start is opened as it is",
    rules=("LOG-RESTART-9",),
    violates="test_a_log_that_ends_below_its_start_goes_on_there",
    target=restarts.under_start,
)
def opens_below_the_start(here: Partition, start: int, _now: int) -> Partition:
    return changed(here, log=changed(here.log, start=start))


# C. What readers see


@flaw(
    "C1",
    "KAFKA-727",
    "consumers read up to the log end",
    rules=("LOG-READ-2",),
    violates="ReadsBelowHighWatermark",
    target=partition.read_bound,
)
def shows_everything(here: Partition, _asked: Fetch) -> int:
    return here.log.end


@flaw(
    "C3",
    "KAFKA-9807",
    "the bound is checked against one high watermark and the read is cut at a later one",
    rules=("LOG-READ-2", "LOG-READ-4"),
    violates="ReadsBelowHighWatermark",
    target=log.end_position,
)
def cuts_at_a_later_bound(here: Log, segment: int, _below: int) -> int:
    return log.segment_numbered(here, segment).size_bytes


@flaw(
    "C4",
    "KAFKA-9835",
    "where a read ends is computed from a size that has grown meanwhile",
    rules=("LOG-READ-2",),
    violates="ReadsBelowHighWatermark",
    target=log.end_position,
)
def cuts_one_batch_late(here: Log, segment: int, below: int) -> int:
    ordinal = log.batch_at(here, below)
    if ordinal is not None and here.batches[ordinal].segment == segment:
        return here.batches[ordinal].position + here.batches[ordinal].size_bytes
    return log.segment_numbered(here, segment).size_bytes


@flaw(
    "C5",
    "KAFKA-9196",
    "after a roll, the position of the high watermark still belongs to the segment before",
    rules=("LOG-READ-2", "LOG-ROLL-6"),
    violates="ReadsBelowHighWatermark",
    target=log.end_position,
)
def forgets_position_on_roll(here: Log, segment: int, below: int) -> int:
    ordinal = log.batch_at(here, below)
    is_sealed = segment < here.active_segment
    if ordinal is not None and here.batches[ordinal].segment == segment and not is_sealed:
        return here.batches[ordinal].position
    return log.segment_numbered(here, segment).size_bytes


@flaw(
    "C7",
    "KAFKA-5376",
    "a fetch that waited is answered without its list of aborted transactions",
    rules=("LOG-READ-8", "LOG-FETCH-2"),
    violates="test_a_fetch_gives_up_waiting",
    target=fetch.timed_out,
)
def drops_aborted_list(broker: Broker, ticket: int) -> Outcome | None:
    entry = broker.parked.fetches.get(ticket)
    if entry is None:
        return None
    plain = changed(entry, plan=changed(entry.plan, isolation=READ_UNCOMMITTED))
    fetches = broker.parked.fetches.set(ticket, plain)
    return TIMED_OUT(changed(broker, parked=changed(broker.parked, fetches=fetches)), ticket)


TIMED_OUT = fetch.timed_out


# D. The idempotent producer


@flaw(
    "D1",
    "KAFKA-5494",
    "only the last batch of a producer is remembered",
    rules=("IDEM-DUP-1",),
    violates="ResendIsAnswered",
    target=idempotence.duplicate_of,
)
def remembers_one_batch(entry: ProducerEntry, plan: Plan) -> Written | None:
    if plan.producer_epoch != entry.epoch:
        return None
    for written in entry.window[-1:]:
        if (written.first_sequence, written.last_sequence) == (plan.base_sequence, plan.last_sequence):
            return written
    return None


@flaw(
    "D2",
    "KAFKA-5793",
    "an unknown producer that does not begin at 0 is taken for one whose data was lost",
    rules=("IDEM-SEQ-1",),
    violates="NextIsAccepted",
    target=idempotence.sequence_is_out_of_order,
)
def takes_unknown_for_lost(entry: ProducerEntry, plan: Plan) -> bool:
    if entry is UNKNOWN:
        return plan.base_sequence != 0
    return (
        idempotence.is_known(entry)
        and plan.producer_epoch == entry.epoch
        and not kernels.follows(entry.last_sequence, plan.base_sequence)
    )


@flaw(
    "D5",
    "KAFKA-7190, KAFKA-8710 (KIP-360)",
    "a producer is forgotten with the last of its records",
    rules=("IDEM-EXPIRE-2",),
    violates="RetentionKeepsProducers",
    target=partition.delete_records,
)
def forgets_with_records(here: Partition, offset: int) -> tuple[Partition, partition.Outcome]:
    refusal = partition.DELETE_CHECK.refusal(here, offset)
    if refusal is not None:
        return here, Refused(refusal)
    start = here.log.high_watermark if offset == -1 else offset
    moved = log.with_start(here.log, start)
    left = NO_PRODUCERS
    for producer_id, entry in here.producers.items():
        if not entry.window or entry.window[-1].last_offset >= moved.start:
            left = left.set(producer_id, entry)
    return changed(here, log=moved, producers=left), partition.Moved(moved.start)


@flaw(
    "D7",
    "KAFKA-7692, KAFKA-7693",
    "sequences do not wrap after 2^31 - 1",
    rules=("IDEM-SEQ-3",),
    violates="NextIsAccepted",
    target=kernels.follows,
)
def never_wraps(last_sequence: int, first_sequence: int) -> bool:
    return first_sequence == last_sequence + 1


@flaw(
    "D9",
    "KAFKA-12152",
    "a new epoch may go on with the sequences of the old one",
    rules=("IDEM-EPOCH-2",),
    violates="NoGapInEpoch",
    target=idempotence.new_epoch_begins_late,
)
def begins_anywhere(_entry: ProducerEntry, _plan: Plan) -> bool:
    return False


@flaw(
    "D11",
    "KAFKA-7866",
    "the log end moves only after what comes behind the write, and that fails",
    rules=("LOG-APPEND-1", "LOG-APPEND-9"),
    violates="OffsetsDense",
    target=log.appended,
)
def leaves_the_end_behind(here: Log, plan: Plan, config: LogConfig, leader_epoch: int, now: int) -> Log:
    return changed(APPENDED(here, plan, config, leader_epoch, now), end=here.end)


APPENDED = log.appended


@flaw(
    "X9",
    "ours",
    "an epoch change leaves the old epoch's window in place",
    rules=("IDEM-EPOCH-3",),
    violates="DuplicateWasPromised",
    target=idempotence.remembered,
)
def keeps_the_old_window(producers: Producers, plan: Plan, base_offset: int, now: int) -> Producers:
    entry = idempotence.entry_of(producers, plan)
    written = Written(plan.base_sequence, plan.last_sequence, base_offset, base_offset + plan.count - 1, plan.max_timestamp)
    return producers.set(plan.producer_id, ProducerEntry(plan.producer_epoch, (*entry.window, written)[-5:], now))


# Mutants of our own, for rules that no catalogued bug touches


@flaw(
    "X1",
    "ours",
    "an older producer epoch is served",
    rules=("IDEM-EPOCH-1",),
    violates="ProducerEpochMonotone",
    target=idempotence.epoch_is_old,
)
def serves_old_epochs(_entry: ProducerEntry, _plan: Plan) -> bool:
    return False


@flaw(
    "X2",
    "ours",
    "a segment grows beyond segment.bytes",
    rules=("LOG-ROLL-1",),
    violates="SegmentsMatchBatches",
    target=log.rolled_for,
)
def never_rolls(here: Log, _plan: Plan, _config: LogConfig, _now: int) -> Log:
    return here


@flaw(
    "X3",
    "ours",
    "retention deletes what is not committed yet",
    rules=("LOG-RETAIN-2",),
    violates="MarksInOrder",
    target=log.deletable,
)
def deletes_the_uncommitted(here: Log) -> range:
    return range(here.first_segment, here.active_segment + (1 if here.active.size_bytes else 0))


@flaw(
    "X4",
    "ours",
    "a lookup by time finds what is not committed",
    rules=("LOG-TIME-2",),
    violates="LookUpByTime",
    target=partition.latest_offset,
)
def finds_beyond_the_bound(here: Partition, _asked: Any) -> int:
    return here.log.end


@flaw(
    "X5",
    "ours",
    "DeleteRecords may go beyond the high watermark",
    rules=("LOG-DELETE-2",),
    violates="MarksInOrder",
    target=log.with_start,
)
def starts_one_too_far(here: Log, offset: int) -> Log:
    return changed(here, start=max(here.start, offset + 1))


@flaw(
    "X6",
    "ours",
    "a read begins behind the batch that holds the offset",
    rules=("LOG-READ-3",),
    violates="ReadersProgress",
    target=log.batch_at,
)
def skips_the_batch_inside(here: Log, offset: int) -> int | None:
    for ordinal in range(here.first_batch, here.end_batch):
        if here.batches[ordinal].base_offset >= offset:
            return ordinal
    return None


@flaw(
    "X7",
    "ours",
    "a duplicate is answered with the log end",
    rules=("IDEM-DUP-5",),
    violates="ResendIsAnswered",
    target=idempotence.duplicate_of,
)
def invents_an_answer(entry: ProducerEntry, plan: Plan) -> Written | None:
    for written in entry.window:
        if (written.first_sequence, written.last_sequence) == (plan.base_sequence, plan.last_sequence):
            return changed(written, base_offset=written.base_offset + 1)
    return None


@flaw(
    "X8",
    "ours",
    "a segment spans more than segment.ms",
    rules=("LOG-ROLL-2", "LOG-ROLL-5"),
    violates="SegmentsSpanTime",
    target=log.rolled_for,
)
def rolls_by_size_only(here: Log, plan: Plan, config: LogConfig, now: int) -> Log:
    return log.rolled(here, now) if log.segment_is_full(here.active, plan, 0, config, now) else here


# What cannot happen here yet

# G. Groups


@flaw(
    "G1",
    "KAFKA-2596",
    "a commit that names a generation of a group that is gone is accepted",
    rules=("GROUP-COMMIT-2",),
    violates="StaleCommitFenced",
    target=group_offsets.is_free,
)
def takes_commits_to_no_group(group: Group, asked: Asked) -> bool:
    return group.state is State.DEAD or (asked.generation < 0 and group.state is State.EMPTY)


@flaw(
    "G2",
    "KAFKA-8500",
    "a static member that comes anew takes its place in a stable group only, and in any other stands beside itself",
    rules=("GROUP-STATIC-1",),
    violates="StaticIdHasOneMember",
    target=group_events.kind_of_join,
)
def stands_beside_itself(group: Group, asked: Asked) -> group_events.Event:
    if asked.member_id == "" and asked.instance_id in group.statics and group.state is State.STABLE:
        return group_events.Event.REPLACES
    member = group.members.get(asked.member_id)
    if member is None:
        return group_events.Event.JOINS
    if member.protocols != group_phases.protocols_of(asked):
        return group_events.Event.REJOINS_CHANGED
    return group_events.Event.LEADER_REJOINS if member.member_id == group.leader else group_events.Event.FOLLOWER_REJOINS


@flaw(
    "G5",
    "KAFKA-8715",
    "the ids that a static member is given are all the same, so that none fences another",
    rules=("GROUP-MEMBER-8",),
    violates="StaticIdHasOneMember",
    target=groups.new_member_id,
)
def gives_an_id_twice(asked: Asked) -> str:
    return f"{asked.client_id}-{asked.chance.hex()}" if asked.instance_id is None else f"{asked.instance_id}-0"


@flaw(
    "G6",
    "KAFKA-9752, KAFKA-12890",
    "a member that never syncs is waited for without end",
    rules=("GROUP-SYNC-6",),
    violates="EventuallyStable",
    target=group_events.deadline_of,
)
def awaits_syncs_for_ever(group: Group, alarm: Alarm) -> int | None:
    if alarm.kind is Kind.JOIN:
        return group.join_ends_ms
    if alarm.kind is Kind.SYNC:
        return None
    if alarm.member_id in group.pending:
        return group.pending[alarm.member_id]
    member = group.members.get(alarm.member_id)
    if member is None or (not member.is_new and (alarm.member_id in group.joins or alarm.member_id in group.syncs)):
        return None
    return member.deadline_ms


@flaw(
    "G7",
    "KAFKA-9823, KAFKA-9140",
    "what is answered to an earlier generation's Heartbeat resets the member that is in a later one",
    rules=("GROUP-MEMBER-6",),
    violates="OldAnswersChangeNothing",
    target=group_members.is_about,
)
def takes_old_answers(_process: Process, _request: Request) -> bool:
    return True


@flaw(
    "G14",
    "KAFKA-14009",
    "a member that joins again keeps its old timeouts",
    rules=("GROUP-JOIN-8", "GROUP-STATIC-2"),
    violates="test_a_member_that_joins_again_brings_its_timeouts",
    target=group_phases.with_rejoined,
)
def keeps_old_timeouts(turn: Turn, asked: Asked, member_id: str) -> Turn:
    group = turn.group
    member = changed(group.members[member_id], protocols=group_phases.protocols_of(asked))
    return groups.becomes(
        turn,
        members=group.members.set(member_id, member),
        supporters=groups.supporters_with(group, member_id, member.protocols),
        joins=group.joins.set(member_id, Waiting(asked.ticket, asked.api_version)),
    )


@flaw(
    "X10",
    "ours",
    "what a member that is out has waiting is never answered",
    rules=("GROUP-LEAVE-3",),
    violates="NoRequestForgotten",
    target=group_phases.removed,
)
def forgets_who_waits(turn: Turn, member_id: str) -> Turn:
    group, gone = turn.group, group_phases.without
    members = group.members.delete(member_id)
    instance = group.members[member_id].instance_id
    return groups.becomes(
        turn,
        members=members,
        statics=group.statics if instance is None else gone(group.statics, instance),
        supporters=groups.supporters_with(group, member_id, ()),
        joins=gone(group.joins, member_id),
        syncs=gone(group.syncs, member_id),
        unsynced=gone(group.unsynced, member_id),
        leader=min(members, default=None) if group.leader == member_id else group.leader,
    )


@flaw(
    "X11",
    "ours",
    "a member of another generation is served",
    rules=("GROUP-MEMBER-6",),
    violates="StaleCommitFenced",
    target=groups.generation_is_another,
)
def serves_other_generations(_group: Group, _asked: Asked) -> bool:
    return False


@flaw(
    "X12",
    "ours",
    "the leader of a stable group assigns anew",
    rules=("GROUP-SYNC-7",),
    violates="NoDoubleOwnership",
    target=group_events.is_told_its_assignment,
)
def assigns_again(turn: Turn, asked: Asked, _member_id: str) -> Turn:
    return group_phases.assigned(turn, asked)


@flaw(
    "X13",
    "ours",
    "generations begin anew when nobody is left",
    rules=("GROUP-JOIN-13",),
    violates="OneLeaderPerGeneration",
    target=group_phases.emptied,
)
def begins_anew_when_empty(turn: Turn) -> Turn:
    turn = groups.enters(turn, State.EMPTY, generation=0, protocol=None, leader=None, subscribed=frozenset())
    return changed(turn, records=(*turn.records, groups.metadata_of(turn.group)))


@flaw(
    "X14",
    "ours",
    "generations begin anew after a restart",
    rules=("GROUP-RECORD-2",),
    violates="GenerationMonotone",
    target=groups.restored,
)
def begins_generations_anew(saved: GroupMetadata, now: int) -> Group:
    return Group(saved.group_id, State.EMPTY, now)


@flaw(
    "X15",
    "ours",
    "who waits for an assignment is not told of a rebalance",
    rules=("GROUP-SYNC-5",),
    violates="NoRequestForgotten",
    target=group_phases.unassigned,
)
def tells_nobody(turn: Turn, _error: Error) -> Turn:
    return groups.becomes(turn, syncs=EMPTY)


@flaw(
    "X16",
    "ours",
    "a static member that has taken its place is not written down",
    rules=("GROUP-STATIC-2", "GROUP-RECORD-3"),
    violates="ReplayEqualsLive",
    target=group_events.takes_over,
)
def takes_over_unwritten(turn: Turn, asked: Asked, member_id: str, _old_leader: str) -> Turn:
    turn = groups.becomes(turn, joins=turn.group.joins.delete(member_id))
    return groups.answers(turn, [Reply(asked.ticket, groups.join_answer(turn.group, member_id, asked.api_version))])


@flaw(
    "X17",
    "ours",
    "a group that is written down anew loses its offsets",
    rules=("GROUP-RECORD-4",),
    violates="CommittedOffsetNeverRegressesWithoutCommit",
    target=group_requests.evolve,
)
def loses_offsets(all_groups: Groups, record: Any) -> Groups:
    match record:
        case GroupMetadata(group_id):
            return changed(all_groups, saved=all_groups.saved.set(group_id, record), offsets=group_phases.without(all_groups.offsets, group_id))
        case group_offsets.OffsetCommitted(group_id, topic, partition, committed):
            offsets = group_requests.offsets_of(all_groups, group_id).set((topic, partition), committed)
            return changed(all_groups, offsets=all_groups.offsets.set(group_id, offsets))
    return all_groups


@flaw(
    "X18",
    "ours",
    "an instance is not taken from the member that had it",
    rules=("GROUP-STATIC-1",),
    violates="TypeOk",
    target=group_events.replaces,
)
def leaves_the_old_member(turn: Turn, asked: Asked, member_id: str) -> Turn:
    return group_events.adds(turn, asked, member_id)


@flaw(
    "X19",
    "ours",
    "a member that is silent stays",
    rules=("GROUP-BEAT-3",),
    violates="EventuallyStable",
    target=group_events.goes,
)
def stays(turn: Turn, _asked: Asked | None, _member_id: str) -> Turn:
    return turn


@flaw(
    "X20",
    "ours",
    "a join phase waits without end for who does not come back",
    rules=("GROUP-JOIN-12",),
    violates="EventuallyStable",
    target=group_phases.completed_or_awaited,
)
def awaits_joins_for_ever(turn: Turn) -> Turn:
    return group_phases.completed(turn) if group_phases.all_have_joined(turn.group) else groups.becomes(turn, initial_until_ms=None)


@flaw(
    "X21",
    "ours",
    "an offset that was forgotten is there again after a restart",
    rules=("GROUP-RECORD-4", "GROUP-DELETE-3"),
    violates="CompactedReplayEqualsLive",
    target=group_requests.without_offset,
)
def forgets_no_offset(all_groups: Groups, _group_id: str, _key: tuple[str, int]) -> Groups:
    return all_groups


# T. The threads of the server


@flaw(
    "T1",
    "ours",
    "who fetches tells the partitions that it waits only when it has read all of them again",
    rules=("THREAD-WAIT-1",),
    violates="NoLostWakeup",
    target=threads.registers,
)
def registers_behind_the_reads(server: Server, me: int) -> Server:
    offsets = threads.fetch_of(server, server.threads[me].connection).offsets
    server = threads.read(server, me, *offsets[len(server.threads[me].seen)])
    if len(server.threads[me].seen) == len(offsets):
        for partition_, _ in offsets:
            server = threads.watched(server, partition_, 1)
    return threads.registered(server, me)


@flaw(
    "T2",
    "ours",
    "who fetches does not read again when it has told that it waits",
    rules=("THREAD-WAIT-1",),
    violates="NoLostWakeup",
    target=threads.registers,
)
def reads_but_once(server: Server, me: int) -> Server:
    thread = server.threads[me]
    partition_, offset = threads.fetch_of(server, thread.connection).offsets[len(thread.seen)]
    server = threads.with_thread(threads.watched(server, partition_, 1), me, seen=(*thread.seen, offset))
    return threads.registered(server, me)


@flaw(
    "T3",
    "ours",
    "who produces looks whether anybody waits before it takes the partition's mutex",
    rules=("THREAD-WAIT-2",),
    violates="NoLostWakeup",
    target=threads.appends,
)
def looks_before_it_appends(server: Server, me: int) -> threads.Done:
    thread = server.threads[me]
    asked = threads.request_of(server, thread.connection)
    assert isinstance(asked, threads.Produce)
    if not thread.noted:
        return threads.with_thread(server, me, noted=((asked.partition, server.partitions[asked.partition].watchers),)), ()
    server, answers = APPENDS(server, me)
    is_blind = server.threads[me].at is At.WAKES and thread.noted[0][1] == 0
    return (threads.rests(server, me) if is_blind else server), answers


APPENDS = threads.appends


@flaw(
    "T4",
    "ours",
    "the high watermark rises to where the log ends after the flush",
    rules=("THREAD-COMMIT-1",),
    violates="CommittedIsOnDisk",
    target=threads.raises,
)
def raises_to_the_end(server: Server, me: int) -> Server:
    thread = server.threads[me]
    partition_, _ = thread.noted[thread.undone]
    noted = threads.put(thread.noted, thread.undone, (partition_, server.partitions[partition_].end))
    return RAISES(threads.with_thread(server, me, noted=noted), me)


RAISES = threads.raises


@flaw(
    "T5",
    "ours",
    "what came to the queue during a flush is acknowledged with what it was for",
    rules=("THREAD-COMMIT-2",),
    violates="AcknowledgedIsOnDisk",
    target=threads.answers_jobs,
)
def answers_who_came_later(server: Server, me: int) -> Server:
    thread = server.threads[me]
    noted = {partition_ for partition_, _ in thread.noted}
    later = tuple(job for job in server.queue if job.partition in noted)
    server = changed(server, queue=tuple(job for job in server.queue if job.partition not in noted))
    return ANSWERS_JOBS(threads.with_thread(server, me, jobs=(*thread.jobs, *later)), me)


ANSWERS_JOBS = threads.answers_jobs


@flaw(
    "T6",
    "ours",
    "who raised a mark looks who waits without the mutex of fetches",
    rules=("THREAD-WAIT-3",),
    violates="NoLostWakeup",
    target=threads.fetches_are_free,
)
def needs_no_mutex(server: Server, me: int) -> bool:
    return server.fetches_held_by is None or server.threads[me].at is At.WAKES


@flaw(
    "T7",
    "ours",
    "a registration is never taken back",
    rules=("THREAD-WAIT-4",),
    violates="WatchersAreCounted",
    target=threads.watched,
)
def keeps_registrations(server: Server, number: int, by: int) -> Server:
    return WATCHED(server, number, max(by, 0))


WATCHED = threads.watched


@flaw(
    "T8",
    "ours",
    "a segment that is dropped is closed, whoever reads it",
    rules=("THREAD-FILE-2",),
    violates="NoClosedReference",
    target=threads.without_file,
)
def closes_what_is_read(files: tuple[threads.File, ...], offset: int) -> tuple[threads.File, ...]:
    return threads.put(files, offset, changed(files[offset], is_dropped=True, is_open=False))


@flaw(
    "T9",
    "ours",
    "a thread says that it sleeps after it has looked into its inbox, and does not look again",
    rules=("THREAD-INBOX-1",),
    violates="NothingForgotten",
    target=threads.looks_again,
)
def looks_no_more(server: Server, me: int) -> Server:
    return threads.with_thread(server, me, at=At.SLEEPS)


@flaw(
    "T10",
    "ours",
    "a connection is read on while another thread answers it",
    rules=("THREAD-CONN-1",),
    violates="AnsweredInOrder",
    target=threads.is_paused,
)
def reads_on(connection: threads.Connection) -> bool:
    return connection.status not in (Status.READING, Status.AWAITED)


@flaw(
    "T11",
    "ours",
    "who fetches lets the table go when it has looked its partitions up",
    rules=("THREAD-LOCK-2",),
    violates="NoLostWakeup",
    target=threads.after_table,
)
def lets_the_table_go(server: Server, me: int) -> Server:
    return threads.without_table(AFTER_TABLE(server, me), me)


AFTER_TABLE = threads.after_table


@flaw(
    "T12",
    "ours",
    "who looks who waits takes the table again, behind the mutex of fetches",
    rules=("THREAD-LOCK-1",),
    violates="NoDeadlock",
    target=threads.looks_who_waits,
)
def takes_the_table_last(server: Server, me: int) -> Server:
    server = LOOKS_WHO_WAITS(server, me)
    return threads.takes_table(server, me, At.LOOKS) if server.threads[me].waiting else server


LOOKS_WHO_WAITS = threads.looks_who_waits


@flaw(
    "T13",
    "ours",
    "the flusher keeps the table while it flushes",
    rules=("THREAD-LOCK-3",),
    violates="NoDeadlock",
    target=threads.notes,
)
def keeps_the_table(server: Server, me: int) -> Server:
    return changed(NOTES(server, me), readers=server.readers)


NOTES = threads.notes


@flaw(
    "T14",
    "PostgreSQL to 11 (fsyncgate)",
    "after a flush that failed another is tried, and believed",
    rules=("THREAD-COMMIT-4",),
    violates="CommittedIsOnDisk",
    target=threads.syncs,
)
def flushes_again(server: Server, me: int) -> Server:
    return threads.takes_table(threads.flushed(server, me), me, At.RAISES)


@flaw(
    "T15",
    "ours",
    "a flush that failed is taken for one that went well",
    rules=("THREAD-COMMIT-3",),
    violates="CommittedIsOnDisk",
    target=threads.fails,
)
def fails_in_silence(server: Server, me: int) -> Server:
    return threads.takes_table(changed(server, is_offline=True), me, At.RAISES)


@flaw(
    "T16",
    "ours",
    "who waits for a partition that is deleted is not told",
    rules=("THREAD-WAIT-6",),
    violates="NoLostWakeup",
    target=threads.deletes,
)
def deletes_in_silence(server: Server, me: int) -> Server:
    return threads.rests(DELETES(server, me), me)


DELETES = threads.deletes


@flaw(
    "T18",
    "ours",
    "whose time is over is answered, though another thread has just answered it",
    rules=("THREAD-WAIT-5",),
    violates="AnsweredInOrder",
    target=threads.expires,
)
def answers_twice(server: Server, me: int) -> Server:
    waiting = (server.threads[me].connection,)
    return threads.with_thread(changed(server, fetches_held_by=me), me, at=At.UNREGISTERS, waiting=waiting)


@flaw(
    "T19",
    "ours",
    "an answer goes to whoever has the place of the client that asked",
    rules=("THREAD-CONN-2",),
    violates="AnsweredInOrder",
    target=threads.delivered,
)
def answers_a_stranger(server: Server, answer: threads.Answer) -> threads.Done:
    return DELIVERED(server, changed(answer, life=server.connections[answer.connection].life))


DELIVERED = threads.delivered


@flaw(
    "T20",
    "ours",
    "an answer that finds nobody keeps its files",
    rules=("THREAD-CONN-2",),
    violates="NothingLeftOpen",
    target=threads.delivered,
)
def keeps_files(server: Server, answer: threads.Answer) -> threads.Done:
    here = server.connections[answer.connection]
    return (server, ()) if here.is_gone or here.life != answer.life else DELIVERED(server, answer)


@flaw(
    "T21",
    "ours",
    "a file is read without a reference of it",
    rules=("THREAD-FILE-1",),
    violates="NoClosedReference",
    target=threads.referenced,
)
def takes_no_reference(server: Server, _place: threads.Place) -> Server:
    return server


@flaw(
    "T22",
    "ours",
    "of those that wait for a partition only one is looked at",
    rules=("THREAD-WAIT-3",),
    violates="NoLostWakeup",
    target=threads.looks_at_next,
)
def looks_at_one(server: Server, me: int) -> Server:
    return LOOKS_AT_NEXT(threads.with_thread(server, me, waiting=()), me)


LOOKS_AT_NEXT = threads.looks_at_next


@flaw(
    "T23",
    "ours",
    "whether a thread sleeps is looked at before its inbox is filled",
    rules=("THREAD-INBOX-2",),
    violates="NothingForgotten",
    target=threads.puts,
)
def looks_before_it_puts(server: Server, me: int) -> Server:
    thread = server.threads[me]
    owner = server.cast.owners[thread.answers[0].connection]
    if server.cast.sleeps and not thread.noted:
        return threads.with_thread(server, me, noted=((owner, server.inboxes[owner].is_asleep),))
    server = PUTS(server, me)
    is_rung = server.threads[me].at is At.RINGS and thread.noted[0][1]
    return server if is_rung or not server.threads[me].rings else threads.with_thread(server, me, at=At.READY, rings=())


PUTS = threads.puts


@flaw(
    "T24",
    "ours",
    "what is not on the disk yet is answered to who fetches",
    rules=("THREAD-WAIT-7",),
    violates="AnswersBelowTheMark",
    target=threads.read,
)
def reads_to_the_end(server: Server, me: int, number: int, offset: int) -> Server:
    server, end = READ(server, me, number, offset), server.partitions[number].end
    *seen, last = server.threads[me].seen
    return threads.with_thread(server, me, seen=(*seen, last if last == threads.GONE else end))


READ = threads.read


@flaw(
    "T25",
    "ours",
    "who waits for room does not look for it again when it has said that it sleeps",
    rules=("THREAD-ROOM-1",),
    violates="NobodyHungersBesideRoom",
    target=threads.hopes,
)
def hopes_no_more(server: Server, me: int) -> Server:
    return threads.with_thread(server, me, at=At.SLEEPS)


@flaw(
    "T26",
    "ours",
    "who finds no room does not say that it waits for some",
    rules=("THREAD-ROOM-1",),
    violates="NobodyHungersBesideRoom",
    target=threads.hungers,
)
def hungers_in_silence(server: Server, me: int) -> Server:
    return changed(HUNGERS(server, me), hungry=server.hungry)


HUNGERS = threads.hungers


@flaw(
    "T27",
    "ours",
    "who gives room back looks before whether anybody waits for it",
    rules=("THREAD-ROOM-2",),
    violates="NobodyHungersBesideRoom",
    target=threads.gives,
)
def calls_before_it_gives(server: Server, me: int) -> Server:
    thread = server.threads[me]
    if not thread.noted:
        return threads.with_thread(server, me, noted=((thread.connection, server.hungry),))
    server = GIVES(server, me)
    return server if thread.noted[0][1] else threads.with_thread(server, me, left=server.cast.room)


GIVES = threads.gives


@flaw(
    "T28",
    "ours",
    "who leaves keeps the room that it took",
    rules=("THREAD-ROOM-3",),
    violates="RoomIsCounted",
    target=threads.gives,
)
def leaves_its_part(server: Server, me: int) -> Server:
    gone = server.connections[server.threads[me].connection].is_gone
    return changed(GIVES(server, me), kept=server.kept - (not gone))


@flaw(
    "T29",
    "ours",
    "who has unpacked a batch appends to the partition that was looked up before",
    rules=("THREAD-LOCK-4",),
    violates="AppendedToWhatIsThere",
    target=threads.unpacks,
)
def appends_where_it_looked(server: Server, me: int) -> Server:
    return threads.with_thread(threads.without_table(server, me), me, at=At.APPENDS)


not_yet(
    "needs a follower: there is one replica",
    A1="KIP-101 (KAFKA-1211, 3919)", A4="KIP-320 first design", A14="KAFKA-13207", A15="KAFKA-18991", A17="KAFKA-7786", A20="KAFKA-7414, KAFKA-2143",
    A25="KAFKA-6975", C9="KAFKA-8542", C10="KAFKA-13778", C12="KAFKA-14255", D3="KAFKA-6003",
)
not_yet("needs a log whose epochs are found in its batches again: here, they are part of its value", A10="KAFKA-10432")
not_yet("needs records of the formats before v2, which no log here takes", A8="KAFKA-7897, KAFKA-7601")
not_yet("needs a second log of the same partition, in another directory", A23="KAFKA-15608, KAFKA-20961")
not_yet("needs snapshots of the producers on disk: here, they are part of the partition's value", D13="KAFKA-9105")
not_yet("needs truncation, which only followers and recovery do", D12="KAFKA-12153", A24="KAFKA-12460")
not_yet("needs a controller", A22="KAFKA-9212")
not_yet("needs transaction markers: without them, a known producer always has a last batch", D6="KAFKA-7298")
not_yet(
    "a fault of one client, not of a broker",
    C13="KAFKA-12980", D8="KAFKA-8483, KAFKA-8484",
)  # fmt: skip
not_yet(
    "a fault of a client that keeps its partitions while it joins again: the members of the models give them up first",
    G8="KAFKA-12984, KAFKA-14639", G9="KAFKA-13419, KAFKA-13406, KAFKA-13891",
)  # fmt: skip
not_yet("a fault of how a client reads: the members of the models commit, and read no records", G10="KAFKA-14024", G11="KAFKA-2342")
not_yet("needs groups in which the broker assigns", G13="KAFKA-19449, KAFKA-19335")
