"""Fetch: one request, many partitions; it answers at once, or waits until there is enough, or until its time is up.

    request ──▶ session (`sessions`) ──▶ read every partition in turn ──▶ enough, an error, or no time to wait? ──▶ answer
                                                   ▲                                   │ no
                                                   └──── an append, or the deadline ◀── parked

Waiting is state: a parked fetch is an entry with its deadline and the partitions that wake it. Nothing is read into it; it reads anew.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from immutables import Map

from fiducial.models import log, partition, sessions
from fiducial.models.batches import Slice
from fiducial.models.errors import Error
from fiducial.models.events import Outcome
from fiducial.models.messages import (
    FetchableTopicResponse,
    FetchRequest,
    FetchResponse,
    FetchResponseEpochEndOffset,
    FetchResponseLeaderIdAndEpoch,
    FetchResponseNodeEndpoint,
    PartitionData,
)
from fiducial.models.partition import READ_COMMITTED, READ_UNCOMMITTED, Read, Refused
from fiducial.models.rules import Ladder, Rung, rule, rung
from fiducial.models.sessions import Cached, Kind, Session, SessionRequest, Sessions, Wanted
from fiducial.models.values import EMPTY, ZERO_UUID, Uuid, changed, value

if TYPE_CHECKING:
    from fiducial.models.state import Broker

PartitionKey = tuple[Uuid, int]
WantedKey = tuple[str | Uuid, int]


@value
class FetchPlan:
    """A fetch request with its session applied: what to read, and how to answer."""

    kind: Kind
    session_id: int
    partitions: tuple[Cached, ...]
    strays: frozenset[WantedKey]  # those that were not there when the request came
    api_version: int
    isolation: int
    replica_id: int
    min_bytes: int
    max_bytes: int
    began: tuple[int, ...] = ()  # of one that waits: in which segment, by ordinal, each offset lay when the request came
    listener: int = 0  # by which the client came


@value
class ParkedFetch:
    """A fetch that waits."""

    plan: FetchPlan
    connection: int
    deadline_ms: int
    wakes: frozenset[PartitionKey]


@value
class Parked:
    """All fetches that wait, by ticket, and the tickets that each partition wakes."""

    fetches: Map[int, ParkedFetch] = EMPTY
    by_partition: Map[PartitionKey, frozenset[int]] = EMPTY


# What refuses one partition before its log is asked


@rule("LOG-FETCH-9")
def topic_id_never_known(broker: Broker, wanted: Wanted) -> bool:
    """An id that names no topic, zero included, and named none when the session began."""
    return wanted.name is None and wanted.topic_id not in broker.topics.by_id


@rule("LOG-SESSION-7")
def topic_was_made_anew(broker: Broker, wanted: Wanted) -> bool:
    """In a session by id: the topic's name lives again under another id, and the partition with it."""
    topic = broker.topics.by_name.get(wanted.name) if wanted.name is not None else None
    return (
        wanted.topic_id != ZERO_UUID
        and wanted.topic_id not in broker.topics.by_id
        and topic is not None
        and 0 <= wanted.index < topic.partitions
    )


@rule("LOG-FETCH-4")
def partition_is_unknown(broker: Broker, wanted: Wanted) -> bool:
    """No such topic by name, no such partition, or a topic deleted since the session began."""
    return key_of(broker, wanted) not in broker.partitions


@rule("LOG-READ-10")
def isolation_is_unknown(broker: Broker, plan: FetchPlan) -> bool:
    """0 is read_uncommitted, 1 read_committed; asked of a partition that there is, anything else spoils the request."""
    return plan.isolation not in (READ_UNCOMMITTED, READ_COMMITTED) and any(
        WANTED_CHECK.refusal(broker, entry.wanted) is None for entry in plan.partitions
    )


#: Arguments: the broker, the plan.
FETCH_REQUEST_CHECK = Ladder(
    "fetch request", [rung(isolation_is_unknown, Error.INVALID_REQUEST, also=(Error.UNKNOWN_SERVER_ERROR,))]
)

#: Arguments: the broker, what is wanted.
WANTED_CHECK = Ladder(
    "fetch from a partition",
    [
        rung(topic_id_never_known, Error.UNKNOWN_TOPIC_ID, also=(Error.UNKNOWN_SERVER_ERROR,)),
        rung(topic_was_made_anew, Error.INCONSISTENT_TOPIC_ID),
        rung(partition_is_unknown, Error.UNKNOWN_TOPIC_OR_PARTITION),
    ],
)


#: The refusals that say that there is no such partition.
UNKNOWN = frozenset({Error.UNKNOWN_TOPIC_ID, Error.UNKNOWN_TOPIC_OR_PARTITION})


def is_stray(broker: Broker, wanted: Wanted) -> bool:
    """Is there no such partition?"""
    refusal = WANTED_CHECK.refusal(broker, wanted)
    return refusal is not None and refusal.error in UNKNOWN


def key_of(broker: Broker, wanted: Wanted) -> PartitionKey:
    """The partition that is meant, by id or by name."""
    if wanted.topic_id != ZERO_UUID:
        return wanted.topic_id, wanted.index
    topic = broker.topics.by_name.get(wanted.name) if wanted.name is not None else None
    return (topic.topic_id if topic else ZERO_UUID), wanted.index


# The request


def fetch(
    broker: Broker,
    request: FetchRequest,
    *,
    api_version: int,
    now: int,
    ticket: int,
    connection: int,
    listener: int,
) -> Outcome | Broker:
    """Answer, or park: then only the broker comes back, with a parked entry for the ticket."""
    asked = SessionRequest(request.session_id, request.session_epoch, api_version >= 13)
    kind = sessions.kind_of(asked)
    if kind is Kind.INCREMENTAL:
        refusal = sessions.SESSION_CHECK.refusal(broker.sessions, asked)
        if refusal is not None:
            return Outcome(broker, FetchResponse(error_code=refusal.error, session_id=0), (refusal.rule,))
    broker, plan = planned(broker, request, kind, api_version, now, listener)
    refusal = FETCH_REQUEST_CHECK.refusal(broker, plan)
    if refusal is not None:
        return Outcome(broker, spoilt(request, api_version, refusal), (refusal.rule,))
    answers = read_all(broker, plan)
    if request.max_wait_ms <= 0 or is_enough(plan, answers):
        return answered(broker, plan, answers)
    plan = changed(plan, began=tuple(answer.begins for answer in answers))
    wakes = frozenset(key_of(broker, entry.wanted) for entry in plan.partitions)
    parked = ParkedFetch(plan, connection, now + request.max_wait_ms, wakes)
    return changed(broker, parked=with_parked(broker.parked, ticket, parked))


@rule("LOG-FETCH-11")
def wanted_of(broker: Broker, request: FetchRequest, api_version: int) -> tuple[Wanted, ...]:
    """Each partition once, the last entry for it, with the topic's name beside an id that is known."""
    wanted = {}
    for topic in request.topics:
        by_id = api_version >= 13
        name = broker.topics.by_id.get(topic.topic_id) if by_id else topic.topic
        for asked in topic.partitions:
            entry = Wanted(
                name,
                topic.topic_id if by_id else ZERO_UUID,
                asked.partition,
                asked.fetch_offset,
                asked.partition_max_bytes,
                asked.current_leader_epoch,
                asked.last_fetched_epoch,
            )
            wanted[entry.key] = entry
    return tuple(wanted.values())


@rule("LOG-SESSION-1", "LOG-SESSION-11", "LOG-FETCH-12", "LOG-FETCH-13")
def planned(broker: Broker, request: FetchRequest, kind: Kind, api_version: int, now: int, listener: int) -> tuple[Broker, FetchPlan]:
    """The session brought up to date, and what is to be read."""
    wanted = wanted_of(broker, request, api_version)
    if kind is Kind.INCREMENTAL:
        session = broker.sessions.by_id[request.session_id]
        forgotten = frozenset(
            ((topic.topic_id if api_version >= 13 else topic.topic), index)
            for topic in request.forgotten_topics_data
            for index in topic.partitions
        )
        cached = sessions.merged(session.partitions, wanted, forgotten)
        session_id = request.session_id
        if cached:
            session = Session(sessions.epoch_after(session.next_epoch), session.uses_topic_ids, cached, now)
            broker = with_session(broker, session_id, session)
        else:
            broker, kind, session_id = without_session(broker, session_id), Kind.SESSIONLESS, 0
            cached = tuple(Cached(entry) for entry in wanted)
    else:
        broker = without_session(broker, request.session_id)
        cached = tuple(Cached(entry) for entry in wanted)
        session_id = 0
        if kind is Kind.FULL:
            broker, session_id = begun(broker, cached, api_version >= 13, now)
    max_bytes = min(request.max_bytes, broker.settings.fetch_max_bytes)
    plan = FetchPlan(
        kind,
        session_id,
        cached,
        frozenset(entry.wanted.key for entry in cached if is_stray(broker, entry.wanted)),
        api_version,
        request.isolation_level,
        request.replica_state.replica_id if api_version >= 15 else request.replica_id,
        min(request.min_bytes, max_bytes),
        max_bytes,
        listener=listener,
    )
    return broker, plan


def begun(broker: Broker, cached: tuple[Cached, ...], uses_topic_ids: bool, now: int) -> tuple[Broker, int]:
    """A new session if there is room for it, and its id; 0 if there is none."""
    room = sessions.made_room(broker.sessions, broker.settings.max_incremental_fetch_session_cache_slots, now)
    if room is None:
        return broker, sessions.NO_SESSION
    session_id, chance = sessions.NO_SESSION, broker.chance
    while session_id == sessions.NO_SESSION or session_id in room.by_id:
        drawn, chance = chance.uuid()
        session_id = int.from_bytes(drawn[:4], "big") >> 1
    session = Session(1, uses_topic_ids, cached, now)
    return changed(broker, sessions=Sessions(room.by_id.set(session_id, session)), chance=chance), session_id


def with_session(broker: Broker, session_id: int, session: Session) -> Broker:
    """The broker with this session as it now is."""
    return changed(broker, sessions=Sessions(broker.sessions.by_id.set(session_id, session)))


def without_session(broker: Broker, session_id: int) -> Broker:
    """The broker without this session."""
    return changed(broker, sessions=sessions.closed(broker.sessions, session_id))


# Reading


@value
class Answer:
    """What one partition answers, and the rung that refused it, if any."""

    data: PartitionData
    size_bytes: int = 0
    rung: Rung | None = None
    diverges: bool = False
    lies_bytes: int = 0  # what the segment has for it, as far as partition_max_bytes goes, be there room for it or not
    begins: int = 0  # the ordinal of the segment that the offset lies in
    ends: int = 0  # and of the one in which what may be read ends


#: The refusals that send the asker to the leader (KIP-951).
TELLS_LEADER = frozenset({Error.FENCED_LEADER_EPOCH, Error.NOT_LEADER_OR_FOLLOWER})


@rule("LOG-FETCH-3")
def read(broker: Broker, wanted: Wanted, plan: FetchPlan, remaining: int, nothing_yet: bool) -> Answer:
    """Read one partition with what is left of the request's max_bytes; the first that has something gives a whole batch at least."""
    refusal = WANTED_CHECK.refusal(broker, wanted)
    if refusal is not None:
        return Answer(unread(wanted.index, refusal, is_stray=wanted.key in plan.strays), rung=refusal)
    key = key_of(broker, wanted)
    held = broker.partitions[key]
    asked = partition.Fetch(
        wanted.offset,
        min(wanted.max_bytes, remaining),
        plan.isolation,
        nothing_yet,
        plan.replica_id,
        max(wanted.current_leader_epoch, -1),  # in Fetch, every negative epoch asks for no check
        wanted.last_fetched_epoch,
    )
    outcome = partition.fetch(held, asked)
    if isinstance(outcome, Refused):
        leader = FetchResponseLeaderIdAndEpoch()
        if outcome.rung.error in TELLS_LEADER and plan.api_version >= 16:
            leader = FetchResponseLeaderIdAndEpoch(broker.cluster.broker_id, held.leader_epoch)
        data = changed(refused(wanted, outcome.rung, key[0]), current_leader=leader)
        return with_span(Answer(data, rung=outcome.rung), held, asked, wanted.max_bytes)
    assert isinstance(outcome, Read)
    answer = Answer(found(wanted, key[0], outcome, plan), outcome.size_bytes, diverges=outcome.diverging_epoch is not None)
    return with_span(answer, held, asked, wanted.max_bytes)


def with_span(answer: Answer, held: partition.Partition, asked: partition.Fetch, max_bytes: int) -> Answer:
    """The answer with what lies there, below the log start too, and with the segments."""
    bound = partition.read_bound(held, asked)
    _, lies_bytes = log.readable_bytes(held.log, asked.offset, below=bound, max_bytes=held.log.size_bytes, whole_first=True)
    return changed(
        answer,
        lies_bytes=min(lies_bytes, max(max_bytes, 0)),
        begins=log.segment_at(held.log, asked.offset),
        ends=log.segment_at(held.log, bound),
    )


def unread(index: int, refusal: Rung, *, is_stray: bool) -> PartitionData:
    """The answer for a partition that is not there; if it never was, with an empty list where an error has null."""
    aborted = () if is_stray else None
    return PartitionData(index, refusal.error, high_watermark=-1, aborted_transactions=aborted, records=Slice(ZERO_UUID, index, 0, 0))


@rule("LOG-READ-9")
def refused(wanted: Wanted, refusal: Rung, topic_id: Uuid) -> PartitionData:
    """No marks, no records."""
    return PartitionData(
        wanted.index,
        refusal.error,
        high_watermark=-1,
        aborted_transactions=None,
        records=Slice(topic_id, wanted.index, wanted.offset, 0),
    )


def lists_aborted(read_: Read, plan: FetchPlan) -> bool:
    """Was something read, or nothing found, within the bound of open transactions?"""
    reads_on = plan.replica_id == partition.FUTURE_LOCAL_REPLICA
    has_read = read_.diverging_epoch is None and not read_.has_left_out
    return plan.isolation == READ_COMMITTED and not reads_on and has_read


@rule("LOG-READ-8", "LOG-READ-11")
def found(wanted: Wanted, topic_id: Uuid, read_: Read, plan: FetchPlan) -> PartitionData:
    """Bytes as they are stored, and the marks; the list of aborted transactions is for read_committed only."""
    diverging = FetchResponseEpochEndOffset()
    if read_.diverging_epoch is not None:
        diverging = FetchResponseEpochEndOffset(*read_.diverging_epoch)
    return PartitionData(
        wanted.index,
        Error.NONE,
        high_watermark=read_.high_watermark,
        last_stable_offset=read_.last_stable_offset,
        log_start_offset=read_.log_start,
        diverging_epoch=diverging,
        aborted_transactions=() if lists_aborted(read_, plan) else None,
        records=Slice(topic_id, wanted.index, read_.base_offset, read_.size_bytes),
    )


def read_all(broker: Broker, plan: FetchPlan) -> tuple[Answer, ...]:
    """Every partition in turn, each with what those before it have left of max_bytes."""
    answers: list[Answer] = []
    remaining, nothing_yet = plan.max_bytes, True
    for entry in plan.partitions:
        answer = read(broker, entry.wanted, plan, remaining, nothing_yet)
        if entry.wanted.key not in plan.strays:
            remaining, nothing_yet = max(remaining - answer.size_bytes, 0), nothing_yet and not answer.size_bytes
        answers.append(answer)
    return tuple(answers)


@rule("LOG-FETCH-14")
def has_error(plan: FetchPlan, answer: Answer) -> bool:
    """Is there an error that is not waited with? That the records at the offset were deleted since the request came is none."""
    return answer.rung is not None and not (plan.began and answer.rung.error is Error.OFFSET_OUT_OF_RANGE)


@rule("LOG-FETCH-1", "LOG-FETCH-2")
def is_enough(plan: FetchPlan, answers: tuple[Answer, ...]) -> bool:
    """Is there a reason to answer now: nothing there, enough bytes, an error, a divergence, or a segment that will not grow? That a partition was
    unknown from the start is none. What is returned counts only when the request comes."""
    began = plan.began or tuple(answer.begins for answer in answers)
    triples = zip(plan.partitions, answers, began, strict=True)
    awaited = [(answer, first) for entry, answer, first in triples if entry.wanted.key not in plan.strays]
    if not awaited or any(has_error(plan, answer) or answer.diverges or answer.ends != first for answer, first in awaited):
        return True
    returned = 0 if plan.began else sum(answer.size_bytes for answer, _ in awaited)
    return max(returned, sum(answer.lies_bytes for answer, _ in awaited)) >= plan.min_bytes


# Answering


@rule("LOG-SESSION-6")
def is_news(cached: Cached, answer: Answer) -> bool:
    """In an incremental fetch: records, an error, a divergence, or a mark that moved."""
    return (
        answer.size_bytes > 0
        or answer.rung is not None
        or answer.diverges
        or answer.data.high_watermark != cached.high_watermark
        or answer.data.log_start_offset != cached.log_start
    )


def spoilt(request: FetchRequest, api_version: int, refusal: Rung) -> FetchResponse:
    """One error for all; before v13, said of each partition too, as often as it is named."""
    if api_version >= 13:
        return FetchResponse(error_code=refusal.error)
    topics = tuple(
        FetchableTopicResponse(topic.topic, ZERO_UUID, tuple(unread(asked.partition, refusal, is_stray=True) for asked in topic.partitions))
        for topic in request.topics
    )
    return FetchResponse(error_code=refusal.error, responses=topics)


def answered(broker: Broker, plan: FetchPlan, answers: tuple[Answer, ...]) -> Outcome:
    """The reply, and the session with what it now knows to have been answered."""
    rules = tuple(answer.rung.rule for answer in answers if answer.rung is not None)
    pairs = list(zip(plan.partitions, answers, strict=True))
    if plan.session_id in broker.sessions.by_id:
        broker = with_answers(broker, plan, pairs)
    if plan.kind is Kind.INCREMENTAL:
        pairs = [(cached, answer) for cached, answer in pairs if is_news(cached, answer)]
    endpoints: tuple[FetchResponseNodeEndpoint, ...] = ()
    if plan.replica_id < 0 and any(answer.data.current_leader.leader_id >= 0 for _, answer in pairs):
        cluster = broker.cluster
        endpoints = (FetchResponseNodeEndpoint(cluster.broker_id, *cluster.endpoint(plan.listener), cluster.rack),)
    body = FetchResponse(session_id=plan.session_id, responses=grouped(pairs), node_endpoints=endpoints)
    return Outcome(broker, body, rules)


@rule("LOG-SESSION-9")
def with_answers(broker: Broker, plan: FetchPlan, pairs: list[tuple[Cached, Answer]]) -> Broker:
    """Remember what was answered. A new session reads what there is before what there is not; later, partitions that gave records go to the end
    of the line, so that all get their turn."""
    session = broker.sessions.by_id[plan.session_id]
    is_new = plan.kind is Kind.FULL
    answers = {cached.wanted.key: answer for cached, answer in pairs}
    ahead: list[Cached] = []
    behind: list[Cached] = []
    for cached in session.partitions:
        key = cached.wanted.key
        answer = answers.get(key)
        if answer is None:
            ahead.append(cached)
            continue
        updated = Cached(cached.wanted, answer.data.high_watermark, answer.data.log_start_offset)
        goes_behind = key in plan.strays if is_new else answer.size_bytes > 0
        (behind if goes_behind else ahead).append(updated)
    return with_session(broker, plan.session_id, changed(session, partitions=(*ahead, *behind)))


def grouped(pairs: list[tuple[Cached, Answer]]) -> tuple[FetchableTopicResponse, ...]:
    """The answers in order; those of one topic stand together where they follow each other."""
    runs = groupby(pairs, key=lambda pair: (pair[0].wanted.name or "", pair[0].wanted.topic_id))
    return tuple(FetchableTopicResponse(*topic, tuple(answer.data for _, answer in run)) for topic, run in runs)


# Waiting


def with_parked(parked: Parked, ticket: int, entry: ParkedFetch) -> Parked:
    """One more fetch waits."""
    by_partition = parked.by_partition
    for key in entry.wakes:
        by_partition = by_partition.set(key, by_partition.get(key, frozenset()) | {ticket})
    return Parked(parked.fetches.set(ticket, entry), by_partition)


def without_parked(parked: Parked, ticket: int) -> Parked:
    """The fetch of this ticket waits no more."""
    by_partition = parked.by_partition
    for key in parked.fetches[ticket].wakes:
        others = by_partition[key] - {ticket}
        by_partition = by_partition.set(key, others) if others else by_partition.delete(key)
    return Parked(parked.fetches.delete(ticket), by_partition)


@rule("LOG-FETCH-2")
def reconsidered(broker: Broker, ticket: int) -> Outcome | None:
    """A partition that the parked fetch waits for has changed: its answer if there is enough now."""
    plan = broker.parked.fetches[ticket].plan
    answers = read_all(broker, plan)
    if not is_enough(plan, answers):
        return None
    return answered(changed(broker, parked=without_parked(broker.parked, ticket)), plan, answers)


@rule("LOG-FETCH-2")
def timed_out(broker: Broker, ticket: int) -> Outcome | None:
    """The parked fetch has waited max_wait_ms: its answer with what there is. None if it was answered before."""
    if ticket not in broker.parked.fetches:
        return None
    plan = broker.parked.fetches[ticket].plan
    broker = changed(broker, parked=without_parked(broker.parked, ticket))
    return answered(broker, plan, read_all(broker, plan))


def gone(broker: Broker, connection: int) -> tuple[Broker, tuple[int, ...]]:
    """The broker without the fetches that wait on a connection that is gone, and their tickets."""
    tickets = tuple(sorted(ticket for ticket, entry in broker.parked.fetches.items() if entry.connection == connection))
    for ticket in tickets:
        broker = changed(broker, parked=without_parked(broker.parked, ticket))
    return broker, tickets
