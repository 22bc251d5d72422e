"""Fetch sessions: a client that fetches the same partitions again and again sends, and is sent, only what changed (KIP-227).

State of a session: the epoch that the next request must carry, and for each partition what was last asked and last answered.

| request (session id, epoch) | session is there, epoch fits | session is there, epoch does not fit | no such session |
|---|---|---|---|
| (any, 0)  | it is closed; a full fetch, in a new session | the same | a full fetch, in a new session |
| (any, -1) | it is closed; a full fetch, without a session | the same | a full fetch, without a session |
| (id, else) | an incremental fetch; the epoch goes on | INVALID_FETCH_SESSION_EPOCH, the session lives on | FETCH_SESSION_ID_NOT_FOUND |
"""

from __future__ import annotations

from enum import Enum

from immutables import Map

from fiducial.models.errors import Error
from fiducial.models.rules import Ladder, rule, rung
from fiducial.models.values import EMPTY, ZERO_UUID, Uuid, changed, value

INITIAL_EPOCH, FINAL_EPOCH = 0, -1
NO_SESSION = 0
EPOCH_MAX = 2**31 - 1
#: A session that was used within this time is not evicted for a new one (min.incremental.fetch.session.eviction.ms).
EVICTION_MS = 120_000


@value
class Wanted:
    """One partition that is asked for."""

    name: str | None  # None for an id that named nothing when it was first asked for
    topic_id: Uuid  # zero for a partition that is asked for by name
    index: int
    offset: int
    max_bytes: int
    current_leader_epoch: int = -1
    last_fetched_epoch: int = -1

    @property
    def key(self) -> tuple[str | Uuid, int]:
        """What makes two entries of one request the same partition."""
        return (self.name if self.name is not None and self.topic_id == ZERO_UUID else self.topic_id), self.index


@value
class Cached:
    """A partition of a session: what was asked last, and the marks that were answered last (-1: none, or an error)."""

    wanted: Wanted
    high_watermark: int = -1
    log_start: int = -1


@value
class Session:
    """`partitions` in the order in which they are read next."""

    next_epoch: int
    uses_topic_ids: bool
    partitions: tuple[Cached, ...]
    used_ms: int


@value
class Sessions:
    """All sessions by id."""

    by_id: Map[int, Session] = EMPTY


class Kind(Enum):
    """How a fetch is answered."""

    SESSIONLESS = "every partition, no session"
    FULL = "every partition, in a new session"
    INCREMENTAL = "what changed"


@value
class SessionRequest:
    """What of a Fetch request concerns its session."""

    session_id: int
    epoch: int
    uses_topic_ids: bool


@rule("LOG-SESSION-2")
def session_is_unknown(sessions: Sessions, asked: SessionRequest) -> bool:
    """Never made, closed, or evicted."""
    return asked.session_id not in sessions.by_id


@rule("LOG-SESSION-3")
def session_epoch_is_wrong(sessions: Sessions, asked: SessionRequest) -> bool:
    """A request was lost or repeated; the session lives on."""
    return sessions.by_id[asked.session_id].next_epoch != asked.epoch


@rule("LOG-SESSION-4")
def topic_ids_changed(sessions: Sessions, asked: SessionRequest) -> bool:
    """A session is by topic ids (Fetch v13+) or by names, from beginning to end."""
    return sessions.by_id[asked.session_id].uses_topic_ids != asked.uses_topic_ids


#: Arguments: the sessions, what is asked. For incremental fetches only.
SESSION_CHECK = Ladder(
    "fetch session",
    [
        rung(session_is_unknown, Error.FETCH_SESSION_ID_NOT_FOUND),
        rung(session_epoch_is_wrong, Error.INVALID_FETCH_SESSION_EPOCH),
        rung(topic_ids_changed, Error.FETCH_SESSION_TOPIC_ID_ERROR),
    ],
)


@rule("LOG-SESSION-1")
def kind_of(asked: SessionRequest) -> Kind:
    """Epoch 0 begins a session, -1 ends or avoids one, anything else goes on with one."""
    if asked.epoch == INITIAL_EPOCH:
        return Kind.FULL
    return Kind.SESSIONLESS if asked.epoch == FINAL_EPOCH else Kind.INCREMENTAL


@rule("LOG-SESSION-5")
def epoch_after(epoch: int) -> int:
    """1 … 2^31 - 1, then 1 again."""
    return 1 if epoch == EPOCH_MAX else epoch + 1


def closed(sessions: Sessions, session_id: int) -> Sessions:
    """The sessions without this one."""
    if session_id not in sessions.by_id:
        return sessions
    return Sessions(sessions.by_id.delete(session_id))


@rule("LOG-SESSION-10")
def merged(
    cached: tuple[Cached, ...], wanted: tuple[Wanted, ...], forgotten: frozenset[tuple[str | Uuid, int]]
) -> tuple[Cached, ...]:
    """The partitions of a session after an incremental request: changed ones in place, new ones at the end, forgotten ones gone, asked for or not.
    One that was known by name stays so when its topic is no more."""
    asked = {entry.key: entry for entry in wanted if entry.key not in forgotten}
    kept = []
    for entry in cached:
        if entry.wanted.key not in forgotten:
            newest = asked.pop(entry.wanted.key, entry.wanted)
            kept.append(changed(entry, wanted=changed(newest, name=entry.wanted.name if newest.name is None else newest.name)))
    return (*kept, *(Cached(entry) for entry in asked.values()))


@rule("LOG-SESSION-8")
def made_room(sessions: Sessions, slots: int, now: int) -> Sessions | None:
    """The sessions with room for one more: the longest unused goes if it has rested long enough; None if there is no room."""
    if len(sessions.by_id) < slots:
        return sessions
    if not sessions.by_id:
        return None
    oldest = min(sessions.by_id, key=lambda session_id: (sessions.by_id[session_id].used_ms, session_id))
    if now - sessions.by_id[oldest].used_ms <= EVICTION_MS:
        return None
    return closed(sessions, oldest)
