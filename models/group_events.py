"""What happens to a group, by event and state: the table, and the requests and alarms that it decides.

A request is judged by its ladders first (in `groups`); what passes is one of the table's events. A cell says what is done, what is answered, and
which states may come next; a cell that a ladder refuses says so. `spec/groups.md` prints it.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

from fiducial.models.errors import Error
from fiducial.models.events import Reply
from fiducial.models.group_phases import (
    assigned,
    chosen_protocol,
    completed,
    has_synced,
    prepared,
    progressed,
    protocols_of,
    rebalanced,
    removed,
    renewed,
    unassigned,
    with_new_member,
    with_parked_sync,
    with_rejoined,
    with_session,
    without,
)
from fiducial.models.groups import (
    GROUP_ID_CHECK,
    HEARTBEAT_CHECK,
    ID_CHECK,
    JOIN_CHECK,
    MEMBER_CHECK,
    NO_MEMBER_ID,
    SESSION_CHECK,
    SYNC_CHECK,
    SYNC_FORM_CHECK,
    Alarm,
    Asked,
    Group,
    GroupForgotten,
    Joining,
    Kind,
    State,
    Turn,
    alarmed,
    answers,
    becomes,
    enters,
    join_answer,
    join_refusal,
    metadata_of,
    new_member_id,
    sync_answer,
)
from fiducial.models.messages import (
    HeartbeatResponse,
    LeaveGroupResponse,
    MemberResponse,
    SyncGroupResponse,
)
from fiducial.models.rules import Rung, rule
from fiducial.models.values import changed, value

# The cells of the table: what an event does in a state. Arguments: the turn, what is asked (None for a deadline), the member concerned.


def passes(turn: Turn, _asked: Asked | None, _member_id: str) -> Turn:
    """Nothing."""
    return turn


@rule("GROUP-JOIN-5", "GROUP-JOIN-6")
def gives_an_id(turn: Turn, asked: Asked, member_id: str) -> Turn:
    """The id is out for a session's time; a group that was not there is there now, and empty."""
    turn = founded(turn)
    ends = turn.now + asked.body.session_timeout_ms
    turn = becomes(turn, pending=turn.group.pending.set(member_id, ends))
    refusal = join_refusal(member_id, Error.MEMBER_ID_REQUIRED, asked.api_version)
    return alarmed(answers(turn, [Reply(asked.ticket, refusal, ("GROUP-JOIN-5",))]), Kind.SESSION, ends, member_id)


@rule("GROUP-STATE-2", "GROUP-RECORD-3")
def founded(turn: Turn) -> Turn:
    """A group that was not there is written down before anybody is in it."""
    if turn.group.state is not State.DEAD:
        return turn
    turn = enters(turn, State.EMPTY)
    return changed(turn, records=(*turn.records, metadata_of(turn.group)))


def adds(turn: Turn, asked: Asked, member_id: str) -> Turn:
    """A new member: the group rebalances, or is about to already."""
    return rebalanced(with_new_member(founded(turn), asked, member_id))


def joins_again(turn: Turn, asked: Asked, member_id: str) -> Turn:
    """A member joins the phase, or begins one."""
    return rebalanced(with_rejoined(turn, asked, member_id))


def is_told_again(turn: Turn, asked: Asked, member_id: str) -> Turn:
    """Nothing is new: the answer was lost, and is given again."""
    return answers(turn, [Reply(asked.ticket, join_answer(turn.group, member_id, asked.api_version))])


@rule("GROUP-STATIC-1")
def replaces(turn: Turn, asked: Asked, member_id: str) -> Turn:
    """A static member comes back without its id: it takes its own place, under a new one, and whoever still speaks under the old one is fenced."""
    assert asked.instance_id is not None
    group = turn.group
    old_id = group.statics[asked.instance_id]
    join, sync = group.joins.get(old_id), group.syncs.get(old_id)
    if join is not None:
        refusal = join_refusal(old_id, Error.FENCED_INSTANCE_ID, join.api_version)
        turn = answers(turn, [Reply(join.ticket, refusal, ("GROUP-STATIC-1",))])
    if sync is not None:
        turn = answers(turn, [Reply(sync.ticket, SyncGroupResponse(error_code=Error.FENCED_INSTANCE_ID), ("GROUP-STATIC-1",))])
    turn = becomes(
        turn,
        members=group.members.delete(old_id).set(member_id, changed(group.members[old_id], member_id=member_id, is_new=False)),
        statics=group.statics.set(asked.instance_id, member_id),
        joins=without(group.joins, old_id),
        syncs=without(group.syncs, old_id),
        unsynced=without(group.unsynced, old_id),
        leader=member_id if group.leader == old_id else group.leader,
    )
    turn = with_rejoined(with_session(turn, member_id), asked, member_id)
    if group.state is State.STABLE and chosen_protocol(turn.group) == group.protocol:
        return takes_over(turn, asked, member_id, str(group.leader))
    return rebalanced(turn)


@rule("GROUP-STATIC-2")
def takes_over(turn: Turn, asked: Asked, member_id: str, old_leader: str) -> Turn:
    """No rebalance: the generation stands, and the assignment with it. A leader must not assign anew, and is told so as its version allows."""
    turn = becomes(turn, joins=turn.group.joins.delete(member_id))
    turn = changed(turn, records=(*turn.records, metadata_of(turn.group)))
    is_leader = member_id == turn.group.leader
    answer = join_answer(turn.group, member_id, asked.api_version, skips=is_leader)
    if asked.api_version < 9:
        answer = changed(answer, leader=old_leader, members=(), skip_assignment=False)
    return answers(turn, [Reply(asked.ticket, answer)])


def waits_for_assignment(turn: Turn, asked: Asked, _member_id: str) -> Turn:
    """Until the leader has synced."""
    return with_parked_sync(turn, asked)


def assigns(turn: Turn, asked: Asked, _member_id: str) -> Turn:
    """The leader has synced."""
    return assigned(turn, asked)


def is_told_its_assignment(turn: Turn, asked: Asked, member_id: str) -> Turn:
    """The generation stands; what the leader sends is not looked at any more."""
    turn = with_session(has_synced(turn, member_id), member_id)
    return answers(turn, [Reply(asked.ticket, sync_answer(turn.group, member_id))])


@rule("GROUP-BEAT-1")
def is_alive(turn: Turn, asked: Asked, member_id: str) -> Turn:
    """Also while the others are still awaited."""
    return answers(renewed(turn, member_id), [Reply(asked.ticket, HeartbeatResponse(Error.NONE))])


def closes_ranks(turn: Turn, _asked: Asked | None, _member_id: str) -> Turn:
    """Some have left: the others rebalance, or need not wait for them any more."""
    return rebalanced(turn)


def goes(turn: Turn, _asked: Asked | None, member_id: str) -> Turn:
    """The member is taken for gone."""
    return rebalanced(removed(turn, member_id))


def drops_id(turn: Turn, _asked: Asked | None, member_id: str) -> Turn:
    """An id that was given out is no longer awaited."""
    return progressed(becomes(turn, pending=without(turn.group.pending, member_id)))


@rule("GROUP-JOIN-10")
def ends_join_phase(turn: Turn, _asked: Asked | None, _member_id: str) -> Turn:
    """Its time is up. The first phase of a group goes on while newcomers keep coming, within bounds."""
    group = turn.group
    if group.initial_until_ms is not None and group.grows and turn.now < group.initial_until_ms:
        ends = min(turn.now + turn.config.initial_rebalance_delay_ms, group.initial_until_ms)
        return alarmed(becomes(turn, join_ends_ms=ends, grows=False), Kind.JOIN, ends)
    return completed(turn)


@rule("GROUP-SYNC-6")
def ends_sync_phase(turn: Turn, _asked: Asked | None, _member_id: str) -> Turn:
    """Who joined and did not sync in time is out, static or not, and the others rebalance."""
    for member_id in sorted(turn.group.unsynced):
        turn = removed(turn, member_id)
    return prepared(turn)


def is_deleted(turn: Turn, _asked: Asked | None, _member_id: str) -> Turn:
    """The group is forgotten; ids that were given out with it."""
    turn = changed(turn, group=Group(turn.group.group_id))
    return changed(turn, records=(*turn.records, GroupForgotten(turn.group.group_id)))


def founds_for_offsets(turn: Turn, _asked: Asked | None, _member_id: str) -> Turn:
    """A group of offsets alone is its offsets: there is nothing else to write down."""
    return enters(turn, State.EMPTY)


@rule("GROUP-COMMIT-6")
def is_heard_of(turn: Turn, _asked: Asked | None, member_id: str) -> Turn:
    """Who commits is alive."""
    return renewed(turn, member_id) if member_id in turn.group.members else turn


# The table


class Event(Enum):
    """What happens to a group."""

    ASKS_FOR_ID = "a JoinGroup without an id, of a dynamic member, v4+"
    JOINS = "a JoinGroup of a new member"
    LEADER_REJOINS = "a JoinGroup of the leader, its protocols unchanged"
    FOLLOWER_REJOINS = "a JoinGroup of another member, its protocols unchanged"
    REJOINS_CHANGED = "a JoinGroup of a member, its protocols changed"
    REPLACES = "a JoinGroup without an id, of a known instance"
    LEADER_SYNCS = "a SyncGroup of the leader"
    FOLLOWER_SYNCS = "a SyncGroup of another member"
    BEATS = "a Heartbeat"
    LEAVES = "a member leaves, or gives back an id that it was given"
    SESSION_ENDS = "a member's session ends"
    ID_LAPSES = "an id that was given out lapses"
    JOIN_ENDS = "the time for joining is up"
    SYNC_ENDS = "the time for syncing is up"
    COMMITS = "an OffsetCommit"
    IS_DELETED = "a DeleteGroups"
    LAST_OFFSET_EXPIRES = "expiry leaves no offset"


Act = Callable[[Turn, Any, str], Turn]


@value
class Cell:
    """What an event does in a state: the act (None: it is refused, or cannot be), the reply in words, the states that may come next, the rule."""

    act: Act | None
    reply: str
    next: tuple[State, ...]
    rule: str


_E, _P, _C, _S, _D = State.EMPTY, State.PREPARING, State.COMPLETING, State.STABLE, State.DEAD


def refused(error: Error, state: State, rule_id: str) -> Cell:
    """A ladder answers, and nothing changes."""
    return Cell(None, error.name, (state,), rule_id)


def idle(state: State, rule_id: str) -> Cell:
    """Nothing is there that it could concern, or nothing comes of it."""
    return Cell(passes, "nothing", (state,), rule_id)


def does(act: Act, reply: str, rule_id: str, *states: State) -> Cell:
    """An act, and where it may lead."""
    return Cell(act, reply, states, rule_id)


_UNKNOWN, _REBALANCING = Error.UNKNOWN_MEMBER_ID, Error.REBALANCE_IN_PROGRESS
_AGAIN = does(joins_again, "waits", "GROUP-JOIN-8", _P, _C)
_NOBODY_REJOINS = {_E: refused(_UNKNOWN, _E, "GROUP-MEMBER-2"), _D: refused(_UNKNOWN, _D, "GROUP-JOIN-2")}
_NOBODY = {_E: refused(_UNKNOWN, _E, "GROUP-MEMBER-2"), _D: refused(_UNKNOWN, _D, "GROUP-MEMBER-2")}
_UNHEARD = {state: idle(state, "GROUP-BEAT-3") for state in (_E, _D)}
_AFTER_ONE_LESS = {_P: (_P, _C, _E), _C: (_P, _E), _S: (_P, _E)}

#: Every event in every state.
TABLE: dict[Event, dict[State, Cell]] = {
    Event.ASKS_FOR_ID: {state: does(gives_an_id, "MEMBER_ID_REQUIRED", "GROUP-JOIN-5", _E if state is _D else state) for state in State},
    Event.JOINS: {
        _E: does(adds, "waits", "GROUP-JOIN-10", _P),
        _P: does(adds, "waits", "GROUP-JOIN-7", _P, _C),
        _C: does(adds, "waits", "GROUP-JOIN-7", _P),
        _S: does(adds, "waits", "GROUP-JOIN-7", _P),
        _D: does(adds, "waits", "GROUP-STATE-2", _P),
    },
    Event.LEADER_REJOINS: {
        **_NOBODY_REJOINS,
        _P: _AGAIN,
        _C: does(is_told_again, "the current generation", "GROUP-JOIN-8", _C),
        _S: _AGAIN,
    },
    Event.FOLLOWER_REJOINS: {
        **_NOBODY_REJOINS,
        _P: _AGAIN,
        _C: does(is_told_again, "the current generation", "GROUP-JOIN-8", _C),
        _S: does(is_told_again, "the current generation", "GROUP-JOIN-8", _S),
    },
    Event.REJOINS_CHANGED: {**_NOBODY_REJOINS, _P: _AGAIN, _C: _AGAIN, _S: _AGAIN},
    Event.REPLACES: {
        _E: idle(_E, "GROUP-STATIC-1"),
        _P: does(replaces, "waits; the old: FENCED_INSTANCE_ID", "GROUP-STATIC-1", _P, _C),
        _C: does(replaces, "waits; the old: FENCED_INSTANCE_ID", "GROUP-STATIC-1", _P, _C),
        _S: does(replaces, "the current generation; waits if the protocol changes", "GROUP-STATIC-2", _S, _P, _C),
        _D: idle(_D, "GROUP-STATIC-1"),
    },
    Event.LEADER_SYNCS: {
        **_NOBODY,
        _P: refused(_REBALANCING, _P, "GROUP-MEMBER-7"),
        _C: does(assigns, "its assignment, and theirs to all that wait", "GROUP-SYNC-3", _S),
        _S: does(is_told_its_assignment, "its assignment", "GROUP-SYNC-7", _S),
    },
    Event.FOLLOWER_SYNCS: {
        **_NOBODY,
        _P: refused(_REBALANCING, _P, "GROUP-MEMBER-7"),
        _C: does(waits_for_assignment, "waits", "GROUP-SYNC-4", _C),
        _S: does(is_told_its_assignment, "its assignment", "GROUP-SYNC-7", _S),
    },
    Event.BEATS: {
        **_NOBODY,
        _P: refused(_REBALANCING, _P, "GROUP-MEMBER-7"),
        _C: does(is_alive, "NONE", "GROUP-BEAT-1", _C),
        _S: does(is_alive, "NONE", "GROUP-BEAT-1", _S),
    },
    Event.LEAVES: {
        **_NOBODY,
        _E: does(passes, "NONE, if it gives back an id", "GROUP-LEAVE-4", _E),
        **{state: does(closes_ranks, "NONE", "GROUP-LEAVE-1", *after) for state, after in _AFTER_ONE_LESS.items()},
    },
    Event.SESSION_ENDS: {**_UNHEARD, **{state: does(goes, "what it waits for: UNKNOWN_MEMBER_ID", "GROUP-BEAT-3", *after) for state, after in _AFTER_ONE_LESS.items()}},
    Event.ID_LAPSES: {
        _D: idle(_D, "GROUP-JOIN-6"),
        _E: does(drops_id, "nothing", "GROUP-JOIN-6", _E),
        _P: does(drops_id, "nothing", "GROUP-JOIN-6", _P, _C, _E),
        _C: does(drops_id, "nothing", "GROUP-JOIN-6", _C),
        _S: does(drops_id, "nothing", "GROUP-JOIN-6", _S),
    },
    Event.JOIN_ENDS: {state: idle(state, "GROUP-STATE-3") for state in State}
    | {_P: does(ends_join_phase, "the new generation, to all that wait", "GROUP-JOIN-12", _P, _C, _E)},
    Event.SYNC_ENDS: {state: idle(state, "GROUP-STATE-3") for state in State}
    | {
        _C: does(ends_sync_phase, "what waits: REBALANCE_IN_PROGRESS", "GROUP-SYNC-6", _P, _E),
        _S: does(ends_sync_phase, "nothing", "GROUP-SYNC-6", _P, _E),
    },
    Event.COMMITS: {
        _E: does(passes, "NONE, if it names no generation", "GROUP-COMMIT-3", _E),
        _P: does(is_heard_of, "NONE", "GROUP-COMMIT-6", _P),
        _C: refused(_REBALANCING, _C, "GROUP-COMMIT-5"),
        _S: does(is_heard_of, "NONE", "GROUP-COMMIT-6", _S),
        _D: does(founds_for_offsets, "NONE, if it names no generation", "GROUP-COMMIT-1", _E),
    },
    Event.IS_DELETED: {state: refused(Error.NON_EMPTY_GROUP, state, "GROUP-DELETE-2") for state in (_P, _C, _S)}
    | {_E: does(is_deleted, "NONE", "GROUP-DELETE-3", _D), _D: refused(Error.GROUP_ID_NOT_FOUND, _D, "GROUP-DELETE-1")},
    Event.LAST_OFFSET_EXPIRES: {state: idle(state, "GROUP-OFFSET-5") for state in State} | {_E: does(is_deleted, "nothing", "GROUP-OFFSET-5", _D)},
}


@rule("GROUP-STATE-1")
def taken(turn: Turn, event: Event, asked: Asked | None, member_id: str) -> Turn:
    """The event, by its cell."""
    cell = TABLE[event][turn.group.state]
    assert cell.act is not None, f"{event} in {turn.group.state} is refused by {cell.rule}"
    return cell.act(turn, asked, member_id)


# Requests


def join(turn: Turn, asked: Asked) -> Turn:
    """JoinGroup."""
    group, joining = turn.group, Joining(asked, turn.config)
    has_joined = asked.member_id != NO_MEMBER_ID and (asked.member_id not in group.pending or asked.instance_id is not None)
    refusal = (
        GROUP_ID_CHECK.refusal(group, asked)
        or SESSION_CHECK.refusal(group, joining)
        or JOIN_CHECK.refusal(group, joining)
        or (MEMBER_CHECK.refusal(group, asked) if has_joined else None)
        or ID_CHECK.refusal(group, asked)
    )
    if refusal is None:
        return taken(turn, kind_of_join(group, asked), asked, id_of_joiner(asked))
    if refusal.error == Error.MEMBER_ID_REQUIRED:
        return taken(turn, Event.ASKS_FOR_ID, asked, new_member_id(asked))
    is_full = refusal.error == Error.GROUP_MAX_SIZE_REACHED
    if is_full and asked.member_id in group.members:
        turn = removed(turn, asked.member_id)
    if refusal.error in (Error.INCONSISTENT_GROUP_PROTOCOL, Error.UNKNOWN_SERVER_ERROR):
        turn = founded(turn)
    member_id = NO_MEMBER_ID if is_full else asked.member_id
    return answers(turn, [Reply(asked.ticket, join_refusal(member_id, refusal.error, asked.api_version), (refusal.rule,))])


def id_of_joiner(asked: Asked) -> str:
    """The id that it has, or gets."""
    return asked.member_id or new_member_id(asked)


@rule("GROUP-JOIN-8")
def kind_of_join(group: Group, asked: Asked) -> Event:
    """Which of the table's events this JoinGroup is."""
    if asked.member_id == NO_MEMBER_ID and asked.instance_id in group.statics:
        return Event.REPLACES
    member = group.members.get(asked.member_id)
    if member is None:
        return Event.JOINS
    if member.protocols != protocols_of(asked):
        return Event.REJOINS_CHANGED
    return Event.LEADER_REJOINS if member.member_id == group.leader else Event.FOLLOWER_REJOINS


def sync(turn: Turn, asked: Asked) -> Turn:
    """SyncGroup."""
    group = turn.group
    refusal = (
        SYNC_FORM_CHECK.refusal(group, asked)
        or GROUP_ID_CHECK.refusal(group, asked)
        or MEMBER_CHECK.refusal(group, asked)
        or SYNC_CHECK.refusal(group, asked)
    )
    if refusal is not None:
        return answers(turn, [Reply(asked.ticket, SyncGroupResponse(error_code=refusal.error), (refusal.rule,))])
    return taken(turn, Event.LEADER_SYNCS if asked.member_id == group.leader else Event.FOLLOWER_SYNCS, asked, asked.member_id)


def heartbeat(turn: Turn, asked: Asked) -> Turn:
    """Heartbeat."""
    group = turn.group
    refusal = GROUP_ID_CHECK.refusal(group, asked) or MEMBER_CHECK.refusal(group, asked) or HEARTBEAT_CHECK.refusal(group, asked)
    if refusal is None:
        return taken(turn, Event.BEATS, asked, asked.member_id)
    if refusal.error == Error.REBALANCE_IN_PROGRESS:
        turn = renewed(turn, asked.member_id)
    return answers(turn, [Reply(asked.ticket, HeartbeatResponse(refusal.error), (refusal.rule,))])


@rule("GROUP-LEAVE-1", "GROUP-LEAVE-2")
def leave(turn: Turn, asked: Asked) -> Turn:
    """LeaveGroup: one member up to v2, many from v3 on, each with an answer of its own. All are gone before the group rebalances."""
    group = turn.group
    refusal = GROUP_ID_CHECK.refusal(group, asked)
    if refusal is not None:
        return answers(turn, [Reply(asked.ticket, LeaveGroupResponse(refusal.error), (refusal.rule,))])
    leaving = leavers(asked)
    refusals: list[Rung | None] = []
    for one in leaving:
        refusal, turn = let_go(turn, one)
        refusals.append(refusal)
    if None in refusals:
        turn = taken(turn, Event.LEAVES, asked, NO_MEMBER_ID)
    errors = [Error.NONE if refusal is None else refusal.error for refusal in refusals]
    rules = tuple(refusal.rule for refusal in refusals if refusal is not None)
    if asked.api_version < 3:
        return answers(turn, [Reply(asked.ticket, LeaveGroupResponse(errors[0]), rules)])
    told = tuple(MemberResponse(one.member_id, one.group_instance_id, error) for one, error in zip(asked.body.members, errors, strict=True))
    return answers(turn, [Reply(asked.ticket, LeaveGroupResponse(Error.NONE, told), rules)])


def leavers(asked: Asked) -> tuple[Asked, ...]:
    """Who leaves, one by one."""
    if asked.api_version < 3:
        return (changed(asked, member_id=asked.body.member_id, instance_id=None),)
    return tuple(changed(asked, member_id=one.member_id, instance_id=one.group_instance_id) for one in asked.body.members)


@rule("GROUP-LEAVE-4", "GROUP-STATIC-3")
def let_go(turn: Turn, asked: Asked) -> tuple[Rung | None, Turn]:
    """One member goes, or the refusal. An id that was given out is given back; a static member may be named by its instance alone."""
    group = turn.group
    if asked.member_id in group.pending:
        return None, becomes(turn, pending=group.pending.delete(asked.member_id))
    if asked.member_id == NO_MEMBER_ID and asked.instance_id is not None:
        asked = changed(asked, member_id=group.statics.get(asked.instance_id, NO_MEMBER_ID))
    refusal = MEMBER_CHECK.refusal(group, asked)
    return refusal, turn if refusal is not None else removed(turn, asked.member_id)


# Deadlines


@rule("GROUP-STATE-3")
def rings(turn: Turn, alarm: Alarm) -> Turn:
    """Look at a deadline: it has come, or is later than it was, or there is none any more."""
    due = deadline_of(turn.group, alarm)
    if due is None:
        return turn
    if turn.now < due:
        return alarmed(turn, alarm.kind, due, alarm.member_id)
    return taken(turn, event_of(turn.group, alarm), None, alarm.member_id)


@rule("GROUP-BEAT-3", "GROUP-BEAT-4", "GROUP-JOIN-6")
def deadline_of(group: Group, alarm: Alarm) -> int | None:
    """What the alarm is a reminder of. A member that waits for us is not silent, unless it is new."""
    if alarm.kind is Kind.JOIN:
        return group.join_ends_ms
    if alarm.kind is Kind.SYNC:
        return group.sync_ends_ms
    if alarm.member_id in group.pending:
        return group.pending[alarm.member_id]
    member = group.members.get(alarm.member_id)
    if member is None or (not member.is_new and (alarm.member_id in group.joins or alarm.member_id in group.syncs)):
        return None
    return member.deadline_ms


def event_of(group: Group, alarm: Alarm) -> Event:
    """What has come with the deadline."""
    if alarm.kind is Kind.JOIN:
        return Event.JOIN_ENDS
    if alarm.kind is Kind.SYNC:
        return Event.SYNC_ENDS
    return Event.ID_LAPSES if alarm.member_id in group.pending else Event.SESSION_ENDS


@rule("GROUP-SYNC-8")
def sync_was_not_written(turn: Turn, asked: Asked, error: Error) -> Turn:
    """The record of the assignments could not be appended: all that wait are told, and the group rebalances."""
    turn = unassigned(with_parked_sync(turn, asked), error)
    return prepared(turn)
