"""A group in company: processes that live as members, a network that loses, repeats and reorders, and the coordinator; and what must hold of it.

`group_properties` judges the coordinator by its answers, whoever may ask. Here nobody asks but good clients (`group_members`), and what is judged is
what they believe: an answer that is lost is believed by nobody, one that comes late is believed late.

Laws of this file
    The network is a set of messages under way, each of which may be the next to arrive. It loses or repeats one, or lets a process give up on one
    that is under way, as long as there are faults left; a process that crashes or hangs, and a coordinator that begins anew, are faults too.
    Every time is told from now on, so that two groups at different hours are one state. A message takes no time, unless it is late, which is a fault.
    A member id or number that nobody remembers is free to be given again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any

from immutables import Map

from fiducial.models import group_members, group_requests
from fiducial.models.errors import Error
from fiducial.models.events import Persist, Reply
from fiducial.models.group_members import Answer, Ask, Phase, Process, Request
from fiducial.models.group_properties import CONFIG, GROUP, REBALANCE_MS, SESSION_MS, TOPICS, Restart
from fiducial.models.group_requests import Groups
from fiducial.models.groups import Alarm, Asked, Group, Kind, SetAlarm, State
from fiducial.models.messages import (
    HeartbeatRequest,
    JoinGroupRequest,
    JoinGroupRequestProtocol,
    JoinGroupResponse,
    LeaveGroupRequest,
    MemberIdentity,
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    SyncGroupRequest,
    SyncGroupRequestAssignment,
)
from fiducial.models.properties import Property
from fiducial.models.values import EMPTY, ZERO_UUID, changed, value

Message = Request | Answer
#: How often a member shows a sign of life, at least.
BEAT_MS = SESSION_MS // 2


@value
class Company:
    """All of it, at an instant."""

    processes: tuple[Process, ...]
    faults: int  # that may still happen
    groups: Groups = Groups()
    alarms: Map[Alarm, int] = EMPTY  # → in how many ms it rings
    waiting: Map[int, Request] = EMPTY  # ticket → the request that the coordinator lets wait
    under_way: frozenset[Message] = frozenset()
    let_in: Map[str, str] = EMPTY  # instance → the member that was let in last, as the coordinator answered

    @property
    def group(self) -> Group:
        """The group."""
        return group_requests.group_of(self.groups, GROUP)

    def process(self, name: str) -> Process:
        """One of the processes."""
        return next(one for one in self.processes if one.name == name)


# Events


class Deed(Enum):
    """What a process does, or what becomes of it."""

    JOINS = "joins"
    BEATS = "sends a Heartbeat"
    COMMITS = "commits"
    LEAVES = "leaves"
    GIVES_UP = "gives up on its JoinGroup or SyncGroup"
    GIVES_UP_SIGN = "gives up on its Heartbeat or OffsetCommit"
    CRASHES = "crashes"
    HANGS = "hangs"


@value
class Does:
    """A process does something."""

    process: str
    deed: Deed
    is_fault: bool = False


@value
class Arrives:
    """A message arrives; if it is repeated, it is under way still."""

    message: Message
    is_repeated: bool = False


@value
class Lost:
    """A message will never arrive."""

    message: Message


@value
class Rings:
    """The clock goes on to this alarm; it is a fault if a message is so slow that it is under way still."""

    alarm: Alarm
    is_fault: bool = False


@value
class Passes:
    """Time passes, as much as lies between two signs of life; no alarm is due yet."""


Event = Does | Arrives | Lost | Rings | Passes | Restart


@value
class Step:
    """One event, and what came of it: the coordinator's answers, each with its request."""

    before: Company
    event: Event
    after: Company
    outcome: tuple[Answer, ...]


def take(company: Company, event: Event) -> Step:
    """Let it happen."""
    before, outcome = company, tuple[Answer, ...]()
    match event:
        case Does(name, deed, is_fault):
            company = after_deed(spent(company, is_fault), company.process(name), deed)
        case Arrives(Request() as request, is_repeated):
            company = spent(company if is_repeated else without(company, request), is_repeated)
            company, outcome = asked_of_coordinator(company, request)
        case Arrives(Answer() as answer):
            process = company.process(answer.request.process)
            done = group_members.hears(process, answer, free_number(company, process))
            company = after_done(without(company, answer), done)
        case Lost(message):
            company = spent(without(company, message), True)
        case Rings(alarm, is_fault):
            company = nearer(spent(company, is_fault), company.alarms[alarm])
            company = changed(company, alarms=company.alarms.delete(alarm))
            company, outcome = after_effects(company, group_requests.ring(company.groups, alarm, CONFIG, 0))
        case Passes():
            company = nearer(company, BEAT_MS)
        case Restart():
            durable = Groups(EMPTY, company.groups.saved, company.groups.offsets)
            company = spent(changed(company, alarms=EMPTY, waiting=EMPTY), True)
            company, outcome = after_effects(company, group_requests.restarted(durable, 0))
    after = heeded(company)
    return Step(before, event, before if after == before else after, outcome)


def spent(company: Company, is_fault: bool) -> Company:
    """With one fault less."""
    return changed(company, faults=company.faults - 1) if is_fault else company


def without(company: Company, message: Message) -> Company:
    """The message is not under way any more."""
    return changed(company, under_way=company.under_way - {message})


def heeded(company: Company) -> Company:
    """Without what would change nothing: answers that nobody awaits, alarms for members that are not there."""
    group = company.group
    unheeded = {one for one in company.under_way if isinstance(one, Answer) and not is_awaited(company, one.request)}
    idle = [one for one in company.alarms if one.kind is Kind.SESSION and one.member_id not in group.members and one.member_id not in group.pending]
    if not unheeded and not idle:
        return company
    alarms = EMPTY.update({alarm: in_ms for alarm, in_ms in company.alarms.items() if alarm not in idle})
    return changed(company, under_way=company.under_way - unheeded, alarms=alarms)


def is_awaited(company: Company, request: Request) -> bool:
    """Does its process still wait for the answer?"""
    process = company.process(request.process)
    return request.number in (process.round_trip, process.sign)


# Processes


def after_deed(company: Company, process: Process, deed: Deed) -> Company:
    """The company after a process did something of itself."""
    number = free_number(company, process)
    match deed:
        case Deed.GIVES_UP | Deed.GIVES_UP_SIGN:
            awaited = process.round_trip if deed is Deed.GIVES_UP else process.sign
            assert awaited is not None
            return after_done(company, group_members.gives_up(process, number, awaited))
        case Deed.CRASHES:
            return after_done(company, (group_members.gone(process), None))
        case Deed.HANGS:
            return after_done(company, (changed(process, hangs=True), None))
    return after_done(company, DOES[deed](process, number))


DOES: dict[Deed, Callable[[Process, int], group_members.Done]] = {
    Deed.JOINS: lambda process, number: group_members.joins(process, number),
    Deed.BEATS: lambda process, number: group_members.beats(process, number),
    Deed.COMMITS: lambda process, number: group_members.commits(process, number),
    Deed.LEAVES: lambda process, number: group_members.leaves(process, number),
}


def after_done(company: Company, done: group_members.Done) -> Company:
    """The process is another, and what it asks is under way."""
    process, request = done
    processes = tuple(process if one.name == process.name else one for one in company.processes)
    return changed(company, processes=processes, under_way=company.under_way if request is None else company.under_way | {request})


def free_number(company: Company, process: Process) -> int:
    """The smallest number that no message of the process has."""
    asked = [one.request if isinstance(one, Answer) else one for one in company.under_way] + list(company.waiting.values())
    used = {one.number for one in asked if one.process == process.name} | {process.round_trip, process.sign}
    return next(number for number in range(len(used) + 1) if number not in used)


# The coordinator


def asked_of_coordinator(company: Company, request: Request) -> tuple[Company, tuple[Answer, ...]]:
    """A request arrives."""
    ticket = next(number for number in range(len(company.waiting) + 1) if number not in company.waiting)
    process = company.process(request.process)
    version, body = body_of(request, process)
    chance = free_chance(company).to_bytes(16)
    asked = Asked(ticket, version, GROUP, body, request.member_id, process.instance_id, request.generation, process.name, "", chance)
    company = changed(company, waiting=company.waiting.set(ticket, request))
    return after_effects(company, group_requests.handle(company.groups, asked, TOPICS, CONFIG, 0))


def body_of(request: Request, process: Process) -> tuple[int, Any]:
    """The request as it stands on the wire: its version and body."""
    member_id, instance, generation = request.member_id, process.instance_id, request.generation
    match request.ask:
        case Ask.JOIN:
            protocols = (JoinGroupRequestProtocol("range", b"\0" * 10),)
            return process.join_version, JoinGroupRequest(GROUP, SESSION_MS, REBALANCE_MS, member_id, instance, "consumer", protocols)
        case Ask.SYNC:
            given = tuple(SyncGroupRequestAssignment(*one) for one in request.assignments)
            return 5, SyncGroupRequest(GROUP, generation, member_id, instance, "consumer", "range", given)
        case Ask.BEAT:
            return 4, HeartbeatRequest(GROUP, generation, member_id, instance)
        case Ask.COMMIT:
            topics = (OffsetCommitRequestTopic("t", ZERO_UUID, (OffsetCommitRequestPartition(0, generation),)),)
            return 9, OffsetCommitRequest(GROUP, generation, member_id, instance, -1, topics)
        case Ask.LEAVE:
            return 5, LeaveGroupRequest(GROUP, "", (MemberIdentity(member_id, instance),))


def free_chance(company: Company) -> int:
    """The smallest number of which no member id is made that anybody remembers."""
    used = {int(one[-2:], 16) for one in known_ids(company) if one}
    return next(number for number in range(1, len(used) + 2) if number not in used)


def known_ids(company: Company) -> Iterator[str]:
    """The ids that the coordinator, its records, a process or a message under way has."""
    yield from company.group.members
    yield from company.group.pending
    yield from (one.member_id for saved in company.groups.saved.values() for one in saved.members)
    yield from company.let_in.values()
    for process in company.processes:
        yield process.member_id
        yield from process.to_assign
    for message in company.under_way:
        yield from ids_in(message)
    for request in company.waiting.values():
        yield from ids_in(request)


def ids_in(message: Message) -> Iterator[str]:
    """The ids that a message tells."""
    request = message.request if isinstance(message, Answer) else message
    yield request.member_id
    yield from (member_id for member_id, _ in request.assignments)
    if isinstance(message, Answer) and isinstance(message.body, JoinGroupResponse):
        yield message.body.member_id
        yield from (one.member_id for one in message.body.members)


def after_effects(company: Company, done: tuple[Groups, tuple[Any, ...]]) -> tuple[Company, tuple[Answer, ...]]:
    """Alarms are set; answers are under way."""
    groups, effects = done
    alarms, waiting, let_in, answers = company.alarms, company.waiting, company.let_in, list[Answer]()
    for effect in effects:
        match effect:
            case SetAlarm(alarm, in_ms):
                alarms = alarms.set(alarm, in_ms)
            case Reply(ticket, body):
                answer = Answer(waiting[ticket], body)
                waiting = waiting.delete(ticket)
                answers.append(answer)
                instance = company.process(answer.request.process).instance_id
                if answer.request.ask is Ask.JOIN and instance is not None and answer.error is Error.NONE:
                    let_in = let_in.set(instance, body.member_id)
            case Persist():
                pass  # `groups` has it already
    under_way = company.under_way.union(answers)
    return changed(company, groups=groups, alarms=alarms, waiting=waiting, under_way=under_way, let_in=let_in), tuple(answers)


def nearer(company: Company, ms: int) -> Company:
    """The clock went on: all that is to come is nearer; what is past stays due."""
    alarms = EMPTY.update({alarm: in_ms - ms for alarm, in_ms in company.alarms.items()})
    live = EMPTY.update({group_id: group_nearer(group, ms) for group_id, group in company.groups.live.items()})
    return changed(company, alarms=alarms, groups=changed(company.groups, live=live))


def group_nearer(group: Group, ms: int) -> Group:
    """The group, with every deadline so much nearer."""

    def left(at_ms: int | None) -> int | None:
        return None if at_ms is None else max(at_ms - ms, 0)

    members = {member_id: changed(member, deadline_ms=left(member.deadline_ms)) for member_id, member in group.members.items()}
    return changed(
        group,
        members=EMPTY.update(members),
        pending=EMPTY.update({member_id: left(at_ms) for member_id, at_ms in group.pending.items()}),
        join_ends_ms=left(group.join_ends_ms),
        initial_until_ms=left(group.initial_until_ms),
        sync_ends_ms=left(group.sync_ends_ms),
    )


def next_alarms(company: Company) -> list[Alarm]:
    """Those that ring first."""
    first = min(company.alarms.values(), default=0)
    return sorted((alarm for alarm, in_ms in company.alarms.items() if in_ms == first), key=lambda one: (one.kind.name, one.member_id))


def may_pass(company: Company) -> bool:
    """Is no alarm due so soon?"""
    return all(in_ms > BEAT_MS for in_ms in company.alarms.values())


def is_lost(company: Company, process: Process, number: int | None) -> bool:
    """Is what the process waits for neither under way nor waiting, so that it will never come?"""
    if number is None:
        return False
    asked = [one.request if isinstance(one, Answer) else one for one in company.under_way] + list(company.waiting.values())
    return not any(one.process == process.name and one.number == number for one in asked)


# The registry

#: By name; what the coordinator's answers must keep has the same name in `group_properties`.
COMPANY_PROPERTIES: dict[str, Property] = {}


def states(name: str, *rules: str, witness: Callable[[Any], bool]) -> Callable[[Callable[[Any], bool]], Callable[[Any], bool]]:
    """Register the decorated check under its name; its docstring is the sentence."""

    def register(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
        assert check.__doc__ is not None
        assert name not in COMPANY_PROPERTIES, f"two properties called {name}"
        COMPANY_PROPERTIES[name] = Property(name, check.__doc__, rules, check, witness)
        return check

    return register


def owners(company: Company) -> list[Process]:
    """Who believes to own something."""
    return [one for one in company.processes if one.owned]


def slot(process: Process) -> str:
    """Whom a partition is given to: a process, or an instance, whichever process is behind it."""
    return process.instance_id or process.name


def own_one_generation(company: Company) -> bool:
    """Do two of different slots own something in one generation?"""
    return any(one.owned_in == other.owned_in and slot(one) != slot(other) for one in owners(company) for other in owners(company))


def accepted_commits(step: Step) -> list[Request]:
    """The commits that the coordinator accepted."""
    return [one.request for one in step.outcome if one.request.ask is Ask.COMMIT and one.error is Error.NONE]


def position(company: Company) -> int | None:
    """What is stored for partition 0."""
    stored = group_requests.offsets_of(company.groups, GROUP).get(("t", 0))
    return None if stored is None else stored.offset


# The sentences


@states("NoDoubleOwnership", "GROUP-SYNC-3", "GROUP-SYNC-7", "GROUP-MEMBER-6", witness=lambda step: own_one_generation(step.after))
def no_two_believe_to_own_a_partition(step: Step) -> bool:
    """No two members believe that they own the same partition in the same generation, but that an instance's old process may not know of the new one."""
    own = owners(step.after)
    return not any(
        one.owned_in == other.owned_in and one.owned & other.owned and slot(one) != slot(other) for one in own for other in own
    )


@states("StaleCommitFenced", "GROUP-COMMIT-2", "GROUP-MEMBER-5", "GROUP-MEMBER-6", witness=lambda step: any(one.owned_in > 1 for one in step.after.processes) and bool(accepted_commits(step)))
def nobody_commits_for_what_is_over(step: Step) -> bool:
    """A commit is accepted of nobody whose generation is before one in which any member was assigned something, or whose place was taken."""
    latest = max(one.owned_in for one in step.before.processes)
    return all(one.generation >= latest and is_let_in(step.before, one) for one in accepted_commits(step))


def is_let_in(company: Company, request: Request) -> bool:
    """Was nobody let in under the same instance since?"""
    instance = company.process(request.process).instance_id
    return instance is None or company.let_in.get(instance, request.member_id) == request.member_id


@states("StaticIdHasOneMember", "GROUP-STATIC-1", "GROUP-MEMBER-4", "GROUP-MEMBER-8", witness=lambda step: any(one.error is Error.FENCED_INSTANCE_ID for one in step.outcome))
def an_instance_is_one_process(step: Step) -> bool:
    """No two processes believe that they are the same member, and of those that share an instance only the one that was let in last is served."""
    believed = [one.member_id for one in step.after.processes if one.member_id]
    served = [one.request for one in step.outcome if one.error is Error.NONE and one.request.member_id]
    return len(believed) == len(set(believed)) and all(is_let_in(step.before, one) for one in served)


@states("GenerationMonotone", "GROUP-JOIN-13", "GROUP-RECORD-2", witness=lambda step: any(one.owned_in > 1 for one in step.after.processes))
def nobody_is_assigned_in_an_earlier_generation(step: Step) -> bool:
    """The generations in which a process is assigned something rise, also when it came back under another id, and over restarts."""
    return all(one.owned_in <= other.owned_in for one, other in zip(step.before.processes, step.after.processes, strict=True))


@states("CommittedOffsetNeverRegressesWithoutCommit", "GROUP-COMMIT-10", "GROUP-RECORD-4", witness=lambda step: position(step.before) not in (None, position(step.after)))
def what_is_stored_was_committed_now(step: Step) -> bool:
    """What is stored changes when a commit of just that is accepted, and at no other time."""
    commits = accepted_commits(step)
    return position(step.after) == (commits[-1].generation if commits else position(step.before))


@states("OldAnswersChangeNothing", "GROUP-MEMBER-6", witness=lambda step: refused_too_late(step) is not None)
def an_old_answer_takes_nothing(step: Step) -> bool:
    """What is answered to a sign of life of an earlier generation takes nothing from a member that is in a later one."""
    name = refused_too_late(step)
    return name is None or changed(step.before.process(name), sign=None) == step.after.process(name)


def refused_too_late(step: Step) -> str | None:
    """The process that is told that it is out, or has to rejoin, of a generation that it has left behind; None if that is not what happens."""
    match step.event:
        case Arrives(Answer(request) as answer) if answer.error is not Error.NONE:
            process = step.before.process(request.process)
            is_late = request.number == process.sign and process.generation > request.generation and not process.hangs
            return process.name if is_late else None
    return None


@states("EventuallyStable", "GROUP-BEAT-3", "GROUP-JOIN-11", "GROUP-JOIN-12", "GROUP-SYNC-6", witness=lambda step: not is_at_rest(step.after))
def all_ways_lead_to_rest(step: Step) -> bool:
    """If from here on nothing fails, the group comes to rest, in whatever order messages arrive: Stable, with just those that are there, each of which
    knows what it was assigned; or Empty, if nobody is there."""
    return comes_to_rest(step.after)


# Rest


def is_at_rest(company: Company) -> bool:
    """Nothing is under way, and the group is what its members believe."""
    group = company.group
    if company.under_way or company.waiting or group.unsynced:
        return False
    there = [one for one in company.processes if one.phase not in (Phase.APART, Phase.GONE)]
    awake = [one for one in there if not one.hangs]
    if group.state is State.STABLE:
        return set(group.members) <= {one.member_id for one in there} and all(agrees(group, one) for one in awake)
    return group.state in (State.EMPTY, State.DEAD) and not awake


def agrees(group: Group, process: Process) -> bool:
    """Does the process own what the group has assigned to it?"""
    member = group.members.get(process.member_id)
    if member is None or process.phase is not Phase.SETTLED or process.generation != group.generation:
        return False
    return process.owned == frozenset(member.assignment)


@value
class Calm:
    """A company in which nothing fails any more, and who has shown a sign of life since the clock went on."""

    company: Company
    alive: frozenset[str] = frozenset()


#: No way to rest is longer: so many events.
PATIENCE = 200
#: What is known to come to rest, whatever happens next.
RESTING: set[Calm] = set()


def comes_to_rest(company: Company) -> bool:
    """Does every way lead to rest?"""
    return rests(Calm(changed(company, faults=0), frozenset(one.name for one in company.processes)), set())


def rests(calm: Calm, passed: set[Calm]) -> bool:
    """The same, of one that was come to by others: a way that comes back to one of them leads round and round."""
    if calm in RESTING or is_at_rest(calm.company):
        return True
    if calm in passed or len(passed) > PATIENCE:
        return False
    passed.add(calm)
    if not all(rests(one, passed) for one in successors(calm)):
        return False
    passed.remove(calm)
    RESTING.add(calm)
    return True


def successors(calm: Calm) -> list[Calm]:
    """What may come next. Processes are quick to do what is due, messages come before the clock goes on; which of them comes first is anybody's guess."""
    company = calm.company
    for process in company.processes:
        deed = due(company, process, process.name in calm.alive)
        if deed is not None:
            alive = calm.alive | {process.name} if deed is Deed.BEATS else calm.alive
            return [Calm(take(company, Does(process.name, deed)).after, alive)]
    if company.under_way:
        alone = next((one for one in company.under_way if is_alone(company, one)), None)
        arriving = company.under_way if alone is None else [alone]
        return [Calm(take(company, Arrives(message)).after, calm.alive) for message in arriving]
    events: list[Event] = [Passes()] if may_pass(company) else [Rings(alarm) for alarm in next_alarms(company)]
    return [Calm(take(company, event).after) for event in events]


def is_alone(company: Company, message: Message) -> bool:
    """Is it an answer to a process that awaits no other? Nothing that happens before it arrives makes a difference."""
    if not isinstance(message, Answer):
        return False
    process = company.process(message.request.process)
    return process.round_trip is None or process.sign is None


def due(company: Company, process: Process, is_alive: bool) -> Deed | None:
    """What a good client does now: ask again what was lost, and show that it is there."""
    if is_lost(company, process, process.sign):
        return Deed.GIVES_UP_SIGN
    if is_lost(company, process, process.round_trip) and not process.hangs:
        return Deed.GIVES_UP
    return Deed.BEATS if group_members.may_show_life(process) and not is_alive else None
