"""How members come and go, and how a join phase and a sync phase begin and end.

    prepared ──▶ everybody joins, or time is up ──▶ completed ──▶ begun: a generation ──▶ the leader syncs ──▶ assigned
       ▲                                                └──▶ emptied: nobody is left          │
       └──────── somebody comes, goes, changes, or does not sync in time ◀────────────────────┘

Every function takes a turn and gives it back with what it changed, answered and wrote. Which event leads to which stands in `group_events`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from immutables import Map

from fiducial.models.errors import Error
from fiducial.models.events import Reply
from fiducial.models.groups import (
    NEW_MEMBER_MS,
    NO_MEMBER_ID,
    Asked,
    Group,
    Kind,
    Member,
    Protocols,
    State,
    Turn,
    Waiting,
    alarmed,
    answers,
    becomes,
    enters,
    join_answer,
    join_refusal,
    metadata_of,
    subscribed_topics,
    supported_by_all,
    supporters_with,
    sync_answer,
)
from fiducial.models.messages import (
    SyncGroupResponse,
)
from fiducial.models.rules import rule
from fiducial.models.values import EMPTY, changed

# Members come, are heard of, and go


@rule("GROUP-JOIN-14")
def rebalance_timeout(asked: Asked) -> int:
    """v0 has none: the session timeout stands in for it."""
    return int(asked.body.session_timeout_ms if asked.api_version == 0 else asked.body.rebalance_timeout_ms)


def protocols_of(asked: Asked) -> Protocols:
    """What it can do, the best first."""
    return tuple((protocol.name, protocol.metadata) for protocol in asked.body.protocols)


@rule("GROUP-JOIN-7", "GROUP-DELETE-5")
def with_new_member(turn: Turn, asked: Asked, member_id: str) -> Turn:
    """One more, whose JoinGroup waits. The first of an empty group leads it, and says what type it is of. Before the first join phase has ended
    nobody can tell what is read."""
    group, deadline = turn.group, turn.now + NEW_MEMBER_MS
    member = Member(
        member_id,
        asked.instance_id,
        asked.client_id,
        asked.client_host,
        asked.body.session_timeout_ms,
        rebalance_timeout(asked),
        protocols_of(asked),
        deadline,
    )
    turn = becomes(
        turn,
        leader=group.leader if group.members else member_id,
        protocol_type=group.protocol_type if group.members else asked.body.protocol_type,
        members=group.members.set(member_id, member),
        statics=group.statics if asked.instance_id is None else group.statics.set(asked.instance_id, member_id),
        supporters=supporters_with(group, member_id, member.protocols),
        pending=without(group.pending, member_id),
        joins=group.joins.set(member_id, Waiting(asked.ticket, asked.api_version)),
        grows=group.initial_until_ms is not None,
        subscribed=None if group.generation == 0 else group.subscribed,
    )
    return alarmed(turn, Kind.SESSION, deadline, member_id)


def without(entries: Map[str, Any], key: str) -> Map[str, Any]:
    """The entries without this one, whether it was there or not."""
    return entries.delete(key) if key in entries else entries


def by_arrival(waiting: Map[str, Waiting]) -> list[tuple[str, Waiting]]:
    """Who waits, the longest waiting first: a map has an order of its own, which differs from run to run."""
    return sorted(waiting.items(), key=lambda one: one[1].ticket)


@rule("GROUP-JOIN-8")
def with_rejoined(turn: Turn, asked: Asked, member_id: str) -> Turn:
    """A member says anew what it can do, and waits. A JoinGroup of it that waits already is over: it has been repeated."""
    turn = repeated(turn, turn.group.joins.get(member_id), lambda version: join_refusal(member_id, Error.REBALANCE_IN_PROGRESS, version))
    group = turn.group
    member = changed(
        group.members[member_id],
        protocols=protocols_of(asked),
        session_timeout_ms=asked.body.session_timeout_ms,
        rebalance_timeout_ms=rebalance_timeout(asked),
    )
    return becomes(
        turn,
        members=group.members.set(member_id, member),
        supporters=supporters_with(group, member_id, member.protocols),
        joins=group.joins.set(member_id, Waiting(asked.ticket, asked.api_version)),
    )


@rule("GROUP-STATE-4")
def repeated(turn: Turn, earlier: Waiting | None, body: Callable[[int], Any]) -> Turn:
    """A member waits once: its earlier request is answered, for nobody else will."""
    return turn if earlier is None else answers(turn, [Reply(earlier.ticket, body(earlier.api_version), ("GROUP-STATE-4",))])


@rule("GROUP-BEAT-2")
def renewed(turn: Turn, member_id: str) -> Turn:
    """The member is alive: its session begins anew. The alarm that is set will ring early, and be set again; only if sessions have become shorter it
    would ring late."""
    due = turn.group.members[member_id].deadline_ms
    turn = with_deadline(turn, member_id)
    sooner = turn.group.members[member_id].deadline_ms
    return alarmed(turn, Kind.SESSION, sooner, member_id) if sooner < due else turn


def with_deadline(turn: Turn, member_id: str) -> Turn:
    """The member has to be heard of within its session timeout."""
    member = turn.group.members[member_id]
    return becomes(turn, members=turn.group.members.set(member_id, changed(member, deadline_ms=turn.now + member.session_timeout_ms)))


def with_session(turn: Turn, member_id: str) -> Turn:
    """The member was answered and will be heard of: its session begins, with an alarm."""
    turn = with_deadline(turn, member_id)
    return alarmed(turn, Kind.SESSION, turn.group.members[member_id].deadline_ms, member_id)


@rule("GROUP-LEAVE-3", "GROUP-JOIN-9")
def removed(turn: Turn, member_id: str) -> Turn:
    """The group without a member; what it waits for is answered, for nobody else will. If it led, another member leads."""
    group = turn.group
    member, join, sync = group.members[member_id], group.joins.get(member_id), group.syncs.get(member_id)
    if join is not None:
        turn = answers(turn, [Reply(join.ticket, join_refusal(NO_MEMBER_ID, Error.UNKNOWN_MEMBER_ID, join.api_version), ("GROUP-LEAVE-3",))])
    if sync is not None:
        turn = answers(turn, [Reply(sync.ticket, SyncGroupResponse(error_code=Error.UNKNOWN_MEMBER_ID), ("GROUP-LEAVE-3",))])
    members = group.members.delete(member_id)
    return becomes(
        turn,
        members=members,
        statics=group.statics if member.instance_id is None else without(group.statics, member.instance_id),
        supporters=supporters_with(group, member_id, ()),
        joins=without(group.joins, member_id),
        syncs=without(group.syncs, member_id),
        unsynced=without(group.unsynced, member_id),
        leader=min(members, default=None) if group.leader == member_id else group.leader,
    )


# The join phase


def rebalance_timeout_of(group: Group) -> int:
    """As long as its most patient member gives the others to come back."""
    return max((member.rebalance_timeout_ms for member in group.members.values()), default=0)


@rule("GROUP-JOIN-10", "GROUP-SYNC-5")
def prepared(turn: Turn) -> Turn:
    """A join phase begins. Who waits for an assignment is told to join; an empty group gives newcomers time, any other ends when all are there."""
    if turn.group.state is State.COMPLETING:
        turn = unassigned(turn, Error.REBALANCE_IN_PROGRESS)
    is_initial = turn.group.state is State.EMPTY
    turn = enters(turn, State.PREPARING, unsynced=EMPTY, sync_ends_ms=None)
    if not is_initial:
        return completed_or_awaited(turn)
    delay = turn.config.initial_rebalance_delay_ms
    until = turn.now + max(delay, rebalance_timeout_of(turn.group))
    turn = becomes(turn, join_ends_ms=turn.now + delay, initial_until_ms=until, grows=False)
    return alarmed(turn, Kind.JOIN, turn.now + delay)


def unassigned(turn: Turn, error: Error) -> Turn:
    """Every SyncGroup that waits is answered with `error`, and no assignment stands any more."""
    group = turn.group
    turn = answers(turn, [Reply(one.ticket, SyncGroupResponse(error_code=error)) for _, one in by_arrival(group.syncs)])
    members = EMPTY.update({member_id: changed(member, assignment=b"") for member_id, member in group.members.items()})
    turn = becomes(turn, syncs=EMPTY, members=members)
    for member_id in sorted(group.syncs):
        turn = with_session(turn, member_id)
    return turn


@rule("GROUP-JOIN-11")
def all_have_joined(group: Group) -> bool:
    """Every member waits, and no id is out whose owner might still come."""
    return len(group.joins) == len(group.members) and not group.pending


def completed_or_awaited(turn: Turn) -> Turn:
    """The phase ends at once if all are there, and else when the most patient member's time is up."""
    return completed(turn) if all_have_joined(turn.group) else awaited(turn)


def awaited(turn: Turn) -> Turn:
    """The join phase lasts as long as the most patient member gives the others."""
    ends = turn.now + rebalance_timeout_of(turn.group)
    return alarmed(becomes(turn, join_ends_ms=ends, initial_until_ms=None), Kind.JOIN, ends)


def rebalanced(turn: Turn) -> Turn:
    """Somebody came, changed or went: the join phase may be over with it, or one begins."""
    return progressed(turn) if turn.group.state is State.PREPARING else prepared(turn)


def progressed(turn: Turn) -> Turn:
    """Somebody joined or is gone: if a later join phase has all it waits for, it ends. The first one waits for its time."""
    group = turn.group
    if group.state is State.PREPARING and group.initial_until_ms is None and all_have_joined(group):
        return completed(turn)
    return turn


@rule("GROUP-JOIN-12")
def completed(turn: Turn) -> Turn:
    """The phase is over: who did not come back is out, unless it is static, and the next generation begins with the others."""
    for member_id in sorted(turn.group.members):
        if member_id not in turn.group.joins and turn.group.members[member_id].instance_id is None:
            turn = removed(turn, member_id)
    if turn.group.members and not turn.group.joins:
        return awaited(turn)
    turn = becomes(turn, generation=turn.group.generation + 1, join_ends_ms=None, initial_until_ms=None, grows=False)
    return begun(turn) if turn.group.members else emptied(turn)


def emptied(turn: Turn) -> Turn:
    """Nobody is left: the generation is written down, so that none is ever given twice to members that synced."""
    turn = enters(turn, State.EMPTY, protocol=None, leader=None, subscribed=frozenset())
    return changed(turn, records=(*turn.records, metadata_of(turn.group)))


@rule("GROUP-JOIN-13", "GROUP-SYNC-6")
def begun(turn: Turn) -> Turn:
    """The new generation, of those that joined: a leader among them, a protocol that all have. Everybody has to sync in time."""
    group = turn.group
    leader = group.leader if group.leader in group.joins else min(group.joins)
    group = changed(group, leader=leader)
    protocol = chosen_protocol(group)
    ends = turn.now + rebalance_timeout_of(group)
    members = EMPTY.update({member_id: changed(member, is_new=False) for member_id, member in group.members.items()})
    turn = enters(
        changed(turn, group=group),
        State.COMPLETING,
        protocol=protocol,
        subscribed=subscribed_topics(group, protocol),
        members=members,
        unsynced=EMPTY.update(dict.fromkeys(members, True)),
        sync_ends_ms=ends,
        joins=EMPTY,
    )
    turn = answers(turn, [Reply(one.ticket, join_answer(turn.group, member_id, one.api_version)) for member_id, one in by_arrival(group.joins)])
    for member_id in sorted(members):
        turn = with_session(turn, member_id)
    return alarmed(turn, Kind.SYNC, ends)


@rule("GROUP-JOIN-15")
def protocol_choices(group: Group) -> tuple[str, ...]:
    """The protocols that all members have, of those with most votes: each votes for the first of them in its own order."""
    own = [name for name, _ in group.members[str(group.leader)].protocols]
    common = supported_by_all(group, own)
    candidates = [name for name in own if name in common]
    votes = dict.fromkeys(candidates, 0)
    for member in group.members.values():
        favourite = next(name for name, _ in member.protocols if name in votes)
        votes[favourite] += 1
    most = max(votes.values())
    return tuple(name for name in candidates if votes[name] == most)


def chosen_protocol(group: Group) -> str:
    """Where votes are equal, what the leader likes best."""
    return protocol_choices(group)[0]


# The sync phase


@rule("GROUP-SYNC-3")
def assigned(turn: Turn, asked: Asked) -> Turn:
    """The leader's assignments are written down; then everybody who waits gets theirs. Who was left out gets none, who is no member is passed over."""
    given = {one.member_id: one.assignment for one in asked.body.assignments}
    group = turn.group
    members = EMPTY.update({member_id: changed(member, assignment=given.get(member_id, b"")) for member_id, member in group.members.items()})
    turn = with_parked_sync(turn, asked)
    waiting = turn.group.syncs
    turn = enters(turn, State.STABLE, members=members, syncs=EMPTY)
    turn = changed(turn, records=(*turn.records, metadata_of(turn.group)))
    turn = answers(turn, [Reply(one.ticket, sync_answer(turn.group, member_id)) for member_id, one in by_arrival(waiting)])
    for member_id in sorted(waiting):
        turn = with_session(turn, member_id)
    return turn


@rule("GROUP-SYNC-4")
def with_parked_sync(turn: Turn, asked: Asked) -> Turn:
    """A member waits for its assignment."""
    turn = repeated(turn, turn.group.syncs.get(asked.member_id), lambda _: SyncGroupResponse(error_code=Error.REBALANCE_IN_PROGRESS))
    turn = has_synced(turn, asked.member_id)
    return becomes(turn, syncs=turn.group.syncs.set(asked.member_id, Waiting(asked.ticket, asked.api_version)))


def has_synced(turn: Turn, member_id: str) -> Turn:
    """It is not waited for any more."""
    unsynced = without(turn.group.unsynced, member_id)
    return becomes(turn, unsynced=unsynced, sync_ends_ms=turn.group.sync_ends_ms if unsynced else None)
