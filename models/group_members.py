"""A member of a group, as a good client runs it: what it believes, what it asks, and what it makes of the answers.

    apart ──▶ joining ──▶ syncing ──▶ settled ──▶ gone: it left, crashed, or was fenced
                 ▲            │           │
                 └────────────┴───────────┘ the group rebalances, or a request is lost

Nothing here is served. The checkers put such members around the coordinator, so that properties can speak of what members believe, and not of what
the coordinator remembers. What a member owns it gives up before it joins again (the eager protocol).

Laws of this file
    A member has at most one JoinGroup or SyncGroup under way, and beside it one Heartbeat or OffsetCommit. Each has a number, by which its answer is
    known; an answer that is awaited no more is dropped. A number comes in with the event, as all chance does.
    It shows signs of life while it has a generation. If its application hangs it does that and nothing else.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from fiducial.models.errors import Error
from fiducial.models.messages import JoinGroupResponse, LeaveGroupResponse, OffsetCommitResponse, SyncGroupResponse
from fiducial.models.values import changed, value

NO_GENERATION = -1
#: Of the topic that the group reads.
PARTITIONS = (0, 1)

# State


class Phase(Enum):
    """What a member is about."""

    APART = "apart"
    JOINING = "joining"
    SYNCING = "syncing"
    SETTLED = "settled"
    GONE = "gone"


@value
class Process:
    """A process that is, or was, or will be a member."""

    name: str
    instance_id: str | None = None
    join_version: int = 9
    phase: Phase = Phase.APART
    member_id: str = ""
    generation: int = NO_GENERATION  # what it was told last
    to_assign: tuple[str, ...] = ()  # the members, if it has to say who gets what
    owned: frozenset[int] = frozenset()
    owned_in: int = NO_GENERATION  # the generation in which it was assigned anything last
    round_trip: int | None = None  # the number of its JoinGroup or SyncGroup under way
    sign: int | None = None  # the number of its Heartbeat or OffsetCommit under way
    hangs: bool = False


class Ask(Enum):
    """What a request is; the names are those of the protocol."""

    JOIN = "JoinGroup"
    SYNC = "SyncGroup"
    BEAT = "Heartbeat"
    COMMIT = "OffsetCommit"
    LEAVE = "LeaveGroup"


@value
class Request:
    """What a process asks. An OffsetCommit commits its generation, so that what is stored tells whose it is."""

    process: str
    number: int
    ask: Ask
    member_id: str
    generation: int = NO_GENERATION
    assignments: tuple[tuple[str, bytes], ...] = ()


@value
class Answer:
    """What is answered to it."""

    request: Request
    body: Any  # a response class of models.messages

    @property
    def error(self) -> Error:
        """Its error; that of its only part, where parts have their own."""
        body = self.body
        if isinstance(body, OffsetCommitResponse):
            return Error(body.topics[0].partitions[0].error_code)
        return Error((body.members[0] if isinstance(body, LeaveGroupResponse) else body).error_code)


#: A process after an event, and what it asks then.
Done = tuple[Process, Request | None]

# What a process does of itself


def joins(process: Process, number: int) -> Done:
    """It joins, or joins again: what it owns it gives up first."""
    process = changed(process, phase=Phase.JOINING, to_assign=(), owned=frozenset(), round_trip=number)
    return process, Request(process.name, number, Ask.JOIN, process.member_id)


def joins_as_new(process: Process, number: int) -> Done:
    """It is no member any more."""
    return joins(changed(process, member_id="", generation=NO_GENERATION), number)


def syncs(process: Process, number: int) -> Done:
    """It asks what it gets; if it leads, it says who gets what."""
    process = changed(process, phase=Phase.SYNCING, round_trip=number)
    return process, Request(process.name, number, Ask.SYNC, process.member_id, process.generation, assignments(process.member_id, process.to_assign))


def assignments(leader: str, members: tuple[str, ...]) -> tuple[tuple[str, bytes], ...]:
    """Every partition to one of the members, by turns; a leader begins with itself, so that two leaders would differ."""
    if not members:
        return ()
    first = members.index(leader)
    turns = members[first:] + members[:first]
    return tuple((member, bytes(one for one in PARTITIONS if turns[one % len(turns)] == member)) for member in members)


def may_show_life(process: Process) -> bool:
    """Has it a generation to speak of, and is nothing of the kind under way?"""
    return process.phase in (Phase.SYNCING, Phase.SETTLED) and process.sign is None


def beats(process: Process, number: int) -> Done:
    """It says that it is there."""
    return changed(process, sign=number), Request(process.name, number, Ask.BEAT, process.member_id, process.generation)


def commits(process: Process, number: int) -> Done:
    """It says how far it has read."""
    return changed(process, sign=number), Request(process.name, number, Ask.COMMIT, process.member_id, process.generation)


def leaves(process: Process, number: int) -> Done:
    """It says that it goes, and goes."""
    return gone(process), Request(process.name, number, Ask.LEAVE, process.member_id)


def gone(process: Process) -> Process:
    """It does nothing any more, and believes nothing."""
    return Process(process.name, process.instance_id, process.join_version, Phase.GONE, owned_in=process.owned_in)


def gives_up(process: Process, number: int, awaited: int) -> Done:
    """What it asked is not answered in time: a round begins again; a sign of life is due again anyway."""
    if awaited == process.sign:
        return changed(process, sign=None), None
    return joins(process, number)


# What it makes of an answer


def hears(process: Process, answer: Answer, number: int) -> Done:
    """An answer that it awaits, or one that it does not await any more."""
    awaited = answer.request.number
    if process.hangs:
        return hears_nothing(process, answer), None
    if awaited == process.round_trip:
        return hears_of_round(changed(process, round_trip=None), answer, number)
    if awaited == process.sign:
        return hears_of_sign(changed(process, sign=None), answer, number)
    return process, None


def hears_of_round(process: Process, answer: Answer, number: int) -> Done:
    """Of its JoinGroup: it is in the generation, or gets an id to come with. Of its SyncGroup: this is what it owns now."""
    match answer.body:
        case JoinGroupResponse(error_code=Error.NONE) as body:
            is_leader = body.leader == body.member_id and not body.skip_assignment
            members = tuple(one.member_id for one in body.members) if is_leader else ()
            return syncs(changed(process, member_id=body.member_id, generation=body.generation_id, to_assign=members), number)
        case JoinGroupResponse(error_code=Error.MEMBER_ID_REQUIRED) as body:
            return joins(changed(process, member_id=body.member_id), number)
        case SyncGroupResponse(error_code=Error.NONE) as body:
            owned = frozenset(body.assignment)
            return changed(process, phase=Phase.SETTLED, to_assign=(), owned=owned, owned_in=process.generation), None
    return is_refused(process, answer.error, number)


def hears_of_sign(process: Process, answer: Answer, number: int) -> Done:
    """Of a Heartbeat or OffsetCommit. In between it may have come further: then the answer is not about what it is now."""
    error = answer.error
    if error is Error.NONE or not is_about(process, answer.request):
        return process, None
    if error is Error.REBALANCE_IN_PROGRESS and process.phase is not Phase.SETTLED:
        return process, None
    return is_refused(process, error, number)


def is_about(process: Process, request: Request) -> bool:
    """Was it asked by the member and in the generation that the process is in now?"""
    return (request.member_id, request.generation) == (process.member_id, process.generation)


def is_refused(process: Process, error: Error, number: int) -> Done:
    """A member that is fenced ends, one that is unknown begins anew; any other joins again."""
    if error is Error.FENCED_INSTANCE_ID:
        return gone(process), None
    return joins_as_new(process, number) if error is Error.UNKNOWN_MEMBER_ID else joins(process, number)


def hears_nothing(process: Process, answer: Answer) -> Process:
    """The application hangs: signs of life are all there is, and end with the membership."""
    if answer.request.number != process.sign:
        return process
    is_out = answer.error not in (Error.NONE, Error.REBALANCE_IN_PROGRESS)
    return gone(process) if is_out else changed(process, sign=None)
