"""What must hold at every step of a group, as sentences; each with a witness, so that none is true for want of an occasion.

A property looks at one step: the world before, the event, the world after, the answers. The world is the coordinator with its alarms and its clock,
and what an observer has seen: the answers that left, never the coordinator's own memory. What clients do is not modelled: anybody may send anything
under any id that was ever given out, at any time and any number of times. So every loss, repetition and reordering of honest requests is among it.
What good clients believe, of whom answers are lost too, stands in `group_company`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from immutables import Map

from fiducial.models import group_requests
from fiducial.models.errors import Error
from fiducial.models.events import Persist, Reply
from fiducial.models.group_offsets import OffsetCommitted, OffsetForgotten
from fiducial.models.group_requests import Groups
from fiducial.models.groups import Alarm, Asked, Group, GroupConfig, GroupMetadata, SetAlarm, State
from fiducial.models.messages import (
    DeleteGroupsRequest,
    DeleteGroupsResponse,
    HeartbeatRequest,
    JoinGroupRequest,
    JoinGroupRequestProtocol,
    JoinGroupResponse,
    LeaveGroupResponse,
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
    SyncGroupRequest,
    SyncGroupRequestAssignment,
    SyncGroupResponse,
)
from fiducial.models.properties import Property
from fiducial.models.topics import Topic, Topics
from fiducial.models.values import EMPTY, ZERO_UUID, changed, value

#: One group, and one topic of two partitions; times short, so that stories are.
GROUP = "g"
TOPICS = Topics(EMPTY.set("t", Topic(bytes([1]) * 16, "t", 2)), EMPTY.set(bytes([1]) * 16, "t"))
SESSION_MS, REBALANCE_MS = 20, 30
CONFIG = GroupConfig(min_session_timeout_ms=1, initial_rebalance_delay_ms=10)

# The observer


@value
class Places:
    """Who was let in under each instance last, and whose place was taken."""

    instances: Map[str, str] = EMPTY  # instance → member
    out: frozenset[str] = frozenset()


@value
class Seen:
    """What was answered since the group began. A slot is whom an assignment belongs to: a member, or an instance, whoever is behind it."""

    rounds: Map[int, tuple[str, str]] = EMPTY  # generation → leader and protocol, as members were told
    told: Map[str, int] = EMPTY  # member → the generation it was told last
    owners: Map[tuple[int, int], str] = EMPTY  # (generation, partition) → the slot that was told that it has it
    synced: int = 0  # the last generation in which anybody was assigned anything
    places: Places = Places()
    kept: Places = Places()  # as a restart must find them: as of when the group was stable
    position: int | None = None  # what was committed last


@value
class World:
    """A coordinator, its alarms and clock, the ids that were given out, who waits, and the observer."""

    groups: Groups = Groups()
    alarms: Map[Alarm, int] = EMPTY
    now: int = 0
    issued: int = 0  # how many came without an id
    given: tuple[tuple[str, str | None], ...] = ()  # (member id, instance), as they were told
    waiting: Map[int, Asked] = EMPTY  # ticket → the request
    seen: Seen = Seen()

    @property
    def group(self) -> Group:
        """The group."""
        return group_requests.group_of(self.groups, GROUP)


@value
class Send:
    """A request arrives."""

    body: Any
    api_version: int
    member_id: str = ""
    instance_id: str | None = None
    generation: int = -1


@value
class Ring:
    """The clock goes on to the next alarm."""


@value
class Restart:
    """The coordinator begins anew, from its records."""


Event = Send | Ring | Restart


@value
class Answers:
    """What left the coordinator: each answer with its request, and the records behind which they left."""

    replies: tuple[tuple[Asked, Any], ...]
    records: tuple[Any, ...]


@value
class Step:
    """One event, and what came of it."""

    before: World
    event: Event
    now: int
    after: World
    outcome: Answers


def take(world: World, event: Event) -> Step:
    """Let the coordinator step, and the observer watch."""
    now, alarms, waiting = world.now, world.alarms, world.waiting
    match event:
        case Send():
            asked = asked_of(world, event)
            waiting = waiting.set(asked.ticket, asked)
            groups, effects = group_requests.handle(world.groups, asked, TOPICS, CONFIG, now)
        case Ring():
            due, _, _, alarm = min((at_ms, one.kind.name, one.member_id, one) for one, at_ms in alarms.items())
            now, alarms = max(now, due), alarms.delete(alarm)
            groups, effects = group_requests.ring(world.groups, alarm, CONFIG, now)
        case Restart():
            alarms, waiting = EMPTY, EMPTY
            groups, effects = group_requests.restarted(Groups(EMPTY, world.groups.saved, world.groups.offsets), now)
    replies = []
    for effect in effects:
        match effect:
            case SetAlarm(alarm, at_ms):
                alarms = alarms.set(alarm, at_ms)
            case Reply(ticket, body):
                replies.append((waiting[ticket], body))
                waiting = waiting.delete(ticket)
    outcome = Answers(tuple(replies), tuple(effect.record for effect in effects if isinstance(effect, Persist)))
    given = world.given + tuple(fresh_ids(world, outcome))
    seen = restarted_view(world.seen) if isinstance(event, Restart) else world.seen
    for asked, body in outcome.replies:
        seen = noted(seen, asked, body)
    issued = world.issued + (isinstance(event, Send) and isinstance(event.body, JoinGroupRequest) and event.member_id == "")
    after = World(groups, alarms, now, issued, given, waiting, seen)
    return Step(world, event, now, world if after == world else after, outcome)


def asked_of(world: World, event: Send) -> Asked:
    """The request with the smallest ticket that is free; an id that it may be given is told by how many there were."""
    ticket = next(number for number in range(len(world.waiting) + 1) if number not in world.waiting)
    chance = world.issued.to_bytes(16)
    return Asked(ticket, event.api_version, GROUP, event.body, event.member_id, event.instance_id, event.generation, "c", "", chance)


def fresh_ids(world: World, outcome: Answers) -> list[tuple[str, str | None]]:
    """The ids that newcomers are told, if they were never given before."""
    known = {member_id for member_id, _ in world.given}
    told = [
        (body.member_id, asked.instance_id)
        for asked, body in outcome.replies
        if isinstance(body, JoinGroupResponse) and asked.member_id == "" and body.error_code in (Error.NONE, Error.MEMBER_ID_REQUIRED)
    ]
    return [one for one in dict.fromkeys(told) if one[0] not in known]


def restarted_view(seen: Seen) -> Seen:
    """A generation in which nobody was assigned anything is not remembered, and may be given again; nor is who took whose place in it."""
    rounds = EMPTY.update({generation: told for generation, told in seen.rounds.items() if generation <= seen.synced})
    return changed(seen, rounds=rounds, places=seen.kept)


def noted(seen: Seen, asked: Asked, body: Any) -> Seen:
    """The observer's notes with one answer more."""
    match body:
        case JoinGroupResponse(error_code=Error.NONE):
            return joined(seen, asked, body)
        case SyncGroupResponse(error_code=Error.NONE):
            mine = slot(asked.member_id, asked.instance_id)
            owners = seen.owners.update({(asked.generation, partition): mine for partition in body.assignment})
            return changed(seen, owners=owners, synced=max(seen.synced, asked.generation), kept=seen.places)
        case OffsetCommitResponse() if error_of(body) is Error.NONE:
            return changed(seen, position=offset_of(asked))
    if isinstance(asked.body, DeleteGroupsRequest) and error_of(body) is Error.NONE:
        gone = Places(out=seen.places.out | set(seen.told))
        return Seen(told=seen.told, places=gone, kept=gone)
    return seen


def joined(seen: Seen, asked: Asked, body: JoinGroupResponse) -> Seen:
    """A member is in a generation. In the older way of taking over, its leader goes by the id that it had before."""
    places = seen.places
    before = places.instances.get(asked.instance_id) if asked.instance_id is not None else None
    is_told_old_leader = body.leader in places.out or (body.leader == before != body.member_id)
    rounds = seen.rounds
    if body.generation_id not in rounds and not is_told_old_leader:
        rounds = rounds.set(body.generation_id, (body.leader, body.protocol_name or ""))
    seen = changed(seen, rounds=rounds, told=seen.told.set(body.member_id, body.generation_id))
    if asked.instance_id is None:
        return seen
    out = places.out if before in (None, body.member_id) else places.out | {str(before)}
    places = Places(places.instances.set(asked.instance_id, body.member_id), out)
    return changed(seen, places=places, kept=places if body.generation_id <= seen.synced else seen.kept)


def slot(member_id: str, instance_id: str | None) -> str:
    """Whom an assignment belongs to."""
    return instance_id or member_id


def error_of(body: Any) -> Error:
    """The error of an answer, or of the first part of it that has one."""
    match body:
        case OffsetCommitResponse():
            return Error(body.topics[0].partitions[0].error_code)
        case DeleteGroupsResponse():
            return Error(body.results[0].error_code)
        case LeaveGroupResponse():
            return Error(body.members[0].error_code)
    return Error(body.error_code)


def offset_of(asked: Asked) -> int:
    """What is committed."""
    return int(asked.body.topics[0].partitions[0].committed_offset)


# The registry

#: All there are: what is said of answers is asked of every step, also of one after which the world is the same.
ANY = (Send, Ring, Restart)

#: By name, as in `properties`.
GROUP_PROPERTIES: dict[str, Property] = {}


def states(
    name: str, *rules: str, witness: Callable[[Any], bool], events: tuple[type, ...] = ()
) -> Callable[[Callable[[Any], bool]], Callable[[Any], bool]]:
    """Register the decorated check under its name; its docstring is the sentence."""

    def register(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
        assert check.__doc__ is not None
        assert name not in GROUP_PROPERTIES, f"two properties called {name}"
        GROUP_PROPERTIES[name] = Property(name, check.__doc__, rules, check, witness, events)
        return check

    return register


def successes(step: Step, kind: type[Any]) -> list[tuple[Asked, Any]]:
    """The answers of this class that refuse nothing."""
    return [(asked, body) for asked, body in step.outcome.replies if isinstance(body, kind) and body.error_code == Error.NONE]


def accepted_commits(step: Step) -> list[Asked]:
    """The commits that were accepted."""
    return [asked for asked, body in step.outcome.replies if isinstance(body, OffsetCommitResponse) and error_of(body) is Error.NONE]


# The sentences


@states("NoDoubleOwnership", "GROUP-SYNC-3", "GROUP-SYNC-7", "GROUP-MEMBER-6", events=ANY, witness=lambda step: len(set(step.after.seen.owners.values())) > 1)
def no_partition_is_given_to_two(step: Step) -> bool:
    """In one generation no two members are told that they have the same partition, however often anybody syncs."""
    owners = dict(step.before.seen.owners)
    for asked, body in successes(step, SyncGroupResponse):
        mine = slot(asked.member_id, asked.instance_id)
        if any(owners.setdefault((asked.generation, partition), mine) != mine for partition in body.assignment):
            return False
    return True


@states("GenerationMonotone", "GROUP-JOIN-13", "GROUP-RECORD-2", witness=lambda step: step.after.group.generation > step.before.group.generation > 0)
def generations_only_rise(step: Step) -> bool:
    """The generation never falls while the group is there; over a restart, not below one in which anybody was assigned anything."""
    before, after = step.before.group, step.after.group
    if State.DEAD in (before.state, after.state):
        return True
    least = step.before.seen.synced if isinstance(step.event, Restart) else before.generation
    return after.generation >= least


@states("OneLeaderPerGeneration", "GROUP-JOIN-13", "GROUP-JOIN-16", events=ANY, witness=lambda step: len(successes(step, JoinGroupResponse)) > 1)
def a_generation_has_one_leader(step: Step) -> bool:
    """All that are told a generation are told the same leader and protocol, but that a leader's place may be taken."""
    rounds = dict(step.before.seen.rounds)
    for _, body in successes(step, JoinGroupResponse):
        leader, protocol = rounds.setdefault(body.generation_id, (body.leader, body.protocol_name or ""))
        is_taken_place = leader in step.after.seen.places.out or body.leader in step.after.seen.places.out
        if protocol != body.protocol_name or (leader != body.leader and not is_taken_place):
            return False
    return True


@states("StaleCommitFenced", "GROUP-COMMIT-2", "GROUP-MEMBER-5", "GROUP-MEMBER-6", events=(Send,), witness=lambda step: any(asked.generation >= 0 for asked in accepted_commits(step)))
def only_the_present_generation_commits(step: Step) -> bool:
    """A commit that names a generation is accepted only of a member that has been told it or a later one, whose place nobody has taken, and if it is the
    last that anybody was told."""
    seen = step.before.seen
    return all(
        asked.generation < 0
        or (seen.told.get(asked.member_id, -1) >= asked.generation == max(seen.rounds, default=-1) and asked.member_id not in seen.places.out)
        for asked in accepted_commits(step)
    )


@states("StaticIdHasOneMember", "GROUP-STATIC-1", "GROUP-STATIC-2", "GROUP-MEMBER-4", "GROUP-MEMBER-8", events=ANY, witness=lambda step: bool(step.after.seen.places.out))
def an_instance_is_one_member(step: Step) -> bool:
    """Who comes under an instance id gets an id that nobody had, and from then on whoever speaks under the id before it is refused, even if it waited."""
    known = {member_id for member_id, _ in step.before.given}
    for asked, body in step.outcome.replies:
        if asked.instance_id is None or error_of(body) is not Error.NONE:
            continue
        if asked.member_id != "" and asked.member_id in step.before.seen.places.out:
            return False
        if asked.member_id == "" and isinstance(body, JoinGroupResponse) and body.member_id in known:
            return False
    instances = [member.instance_id for member in step.after.group.members.values() if member.instance_id is not None]
    return len(instances) == len(set(instances))


@states("CommittedOffsetNeverRegressesWithoutCommit", "GROUP-COMMIT-10", "GROUP-RECORD-4", witness=lambda step: step.before.seen.position is not None)
def the_last_commit_stands(step: Step) -> bool:
    """What is stored is what was accepted last, after every event and every restart."""
    stored = group_requests.offsets_of(step.after.groups, GROUP).get(("t", 0))
    return (None if stored is None else stored.offset) == step.after.seen.position


@states("NoRequestForgotten", "GROUP-LEAVE-3", "GROUP-STATE-4", "GROUP-SYNC-5", "GROUP-STATIC-1", witness=lambda step: len(step.after.waiting) > 1)
def who_is_not_answered_waits(step: Step) -> bool:
    """Every request was answered, once, or waits in the group."""
    group = step.after.group
    return sorted(step.after.waiting) == sorted(one.ticket for one in (*group.joins.values(), *group.syncs.values()))


@states("TypeOk", "GROUP-STATE-1", witness=lambda step: step.after.group.state is State.STABLE)
def the_parts_of_a_group_agree(step: Step) -> bool:
    """Only members wait, for a phase that is on; an instance is one member's; of each protocol it is counted who has it; a group with a generation under
    way has a leader among its members."""
    group = step.after.group
    members = set(group.members)
    if not set(group.joins) | set(group.syncs) | set(group.unsynced) <= members:
        return False
    if (group.joins and group.state is not State.PREPARING) or (group.syncs and group.state is not State.COMPLETING):
        return False
    static = {(member.instance_id, member_id) for member_id, member in group.members.items() if member.instance_id is not None}
    if static != set(group.statics.items()):
        return False
    if Counter(name for member in group.members.values() for name in {name for name, _ in member.protocols}) != dict(group.supporters):
        return False
    if group.state in (State.COMPLETING, State.STABLE):
        return group.leader in members and all(any(name == group.protocol for name, _ in one.protocols) for one in group.members.values())
    return group.state is State.PREPARING or not members


@states("ReplayEqualsLive", "GROUP-RECORD-1", "GROUP-RECORD-2", "GROUP-RECORD-3", witness=lambda step: step.after.group.state is State.STABLE)
def a_restart_would_find_the_group(step: Step) -> bool:
    """A stable group is in its last record with its generation, leader, protocol and every member's assignment; an empty one with its generation."""
    group, saved = step.after.group, step.after.groups.saved.get(GROUP)
    if group.state is State.EMPTY:
        return (saved.generation if saved is not None else 0) == group.generation and not (saved and saved.members)
    if group.state is not State.STABLE:
        return True
    if saved is None or (saved.generation, saved.leader, saved.protocol) != (group.generation, group.leader, group.protocol):
        return False
    return {(one.member_id, one.instance_id, one.assignment) for one in saved.members} == {
        (one.member_id, one.instance_id, one.assignment) for one in group.members.values()
    }


@states("CompactedReplayEqualsLive", "GROUP-RECORD-4", "GROUP-DELETE-3", witness=lambda step: any(key_of(one) in kept(step.before.groups) for one in step.outcome.records))
def the_last_record_of_each_key_is_all_that_counts(step: Step) -> bool:
    """What is durable is the last record of each key, and no record touches another key: so a log without what later records supersede says the same."""
    log = kept(step.before.groups)
    for record in step.outcome.records:
        log.pop(key_of(record), None)
        if isinstance(record, GroupMetadata | OffsetCommitted):
            log[key_of(record)] = record
    return kept(step.after.groups) == log


def key_of(record: Any) -> tuple[Any, ...]:
    """What a later record supersedes it by."""
    return (record.topic, record.partition) if isinstance(record, OffsetCommitted | OffsetForgotten) else (record.group_id,)


def kept(groups: Groups) -> dict[tuple[Any, ...], Any]:
    """What is durable of the group, as the records that it comes of."""
    offsets = group_requests.offsets_of(groups, GROUP)
    records = [OffsetCommitted(GROUP, *key, committed) for key, committed in offsets.items()]
    return {key_of(one): one for one in (*records, *groups.saved.values())}


@states("EventuallyStable", "GROUP-SYNC-6", "GROUP-JOIN-11", "GROUP-JOIN-12", "GROUP-BEAT-3", witness=lambda step: step.after.group.state is State.COMPLETING)
def the_group_comes_to_rest(step: Step) -> bool:
    """If time goes on and all but one do what they are told, while that one only sends heartbeats, the group becomes stable or empty and nobody waits."""
    return comes_to_rest(step.after.groups, step.after.alarms, step.after.now)


#: So many alarms may ring until then.
PATIENCE = 60


@lru_cache(maxsize=1 << 16)
def comes_to_rest(groups: Groups, alarms: Map[Alarm, int], now: int) -> bool:
    """Whether it does, from here."""
    world = World(groups, alarms, now, waiting=EMPTY.update({one.ticket: None for one in waiting_in(groups)}))
    lazy = min(world.group.members, default="")
    for _ in range(PATIENCE):
        for member_id, member in sorted(world.group.members.items()):
            world = cooperated(world, member_id, member.instance_id, only_beats=member_id == lazy)
        group = world.group
        if group.state in (State.EMPTY, State.DEAD) or (group.state is State.STABLE and not group.unsynced):
            return not group.joins and not group.syncs
        if not world.alarms:
            return False
        world = take_quietly(world, Ring())
    return False


def waiting_in(groups: Groups) -> list[Any]:
    """Who waits, as the group itself knows."""
    group = group_requests.group_of(groups, GROUP)
    return [*group.joins.values(), *group.syncs.values()]


def take_quietly(world: World, event: Event) -> World:
    """The world after an event, without an observer."""
    groups, alarms, now = world.groups, world.alarms, world.now
    if isinstance(event, Send):
        groups, effects = group_requests.handle(groups, asked_of(world, event), TOPICS, CONFIG, now)
    else:
        due, _, _, alarm = min((at_ms, one.kind.name, one.member_id, one) for one, at_ms in alarms.items())
        now, alarms = max(now, due), alarms.delete(alarm)
        groups, effects = group_requests.ring(groups, alarm, CONFIG, now)
    for effect in effects:
        if isinstance(effect, SetAlarm):
            alarms = alarms.set(effect.alarm, effect.at_ms)
    waiting = EMPTY.update({one.ticket: None for one in waiting_in(groups)})
    return World(groups, alarms, now, waiting=waiting)


def cooperated(world: World, member_id: str, instance_id: str | None, *, only_beats: bool) -> World:
    """The world after a member did what it has to do now: join, sync, or show that it is alive."""
    group = world.group
    if member_id not in group.members or member_id in group.joins or member_id in group.syncs:
        return world
    if group.state is State.PREPARING and not only_beats:
        return take_quietly(world, join(member_id, instance_id, version=9))
    if member_id in group.unsynced and not only_beats:
        return take_quietly(world, sync(group, member_id, instance_id, group.generation, 0))
    return take_quietly(world, beat(member_id, instance_id, group.generation))


# Requests, as they are sent here


def join(member_id: str, instance_id: str | None, *, version: int) -> Send:
    """A JoinGroup of somebody who knows one protocol."""
    protocols = (JoinGroupRequestProtocol("range", b"\0" * 10),)
    return Send(JoinGroupRequest(GROUP, SESSION_MS, REBALANCE_MS, member_id, instance_id, "consumer", protocols), version, member_id, instance_id)


def sync(group: Group, member_id: str, instance_id: str | None, generation: int, turn: int) -> Send:
    """A SyncGroup; the leader's gives the partitions to the members by turns."""
    members = sorted(group.members)
    given = tuple(SyncGroupRequestAssignment(one, bytes([(at + turn) % 2]) if at < 2 else b"") for at, one in enumerate(members))
    body = SyncGroupRequest(GROUP, generation, member_id, instance_id, "consumer", "range", given if member_id == group.leader else ())
    return Send(body, 5, member_id, instance_id, generation)


def beat(member_id: str, instance_id: str | None, generation: int) -> Send:
    """A Heartbeat."""
    return Send(HeartbeatRequest(GROUP, generation, member_id, instance_id), 4, member_id, instance_id, generation)


def commit(member_id: str, instance_id: str | None, generation: int, offset: int) -> Send:
    """An OffsetCommit of partition 0."""
    topics = (OffsetCommitRequestTopic("t", ZERO_UUID, (OffsetCommitRequestPartition(0, offset),)),)
    return Send(OffsetCommitRequest(GROUP, generation, member_id, instance_id, -1, topics), 9, member_id, instance_id, generation)
