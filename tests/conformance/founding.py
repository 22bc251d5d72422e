"""The groups that a story finds: founded and grown by the same requests at the oracle and at a broker.

The first join phase of a group takes its time (GROUP-JOIN-10), so many are founded at once, each by one member, and wait for a story to need them.
Every other phase ends when all are there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from fiducial.conformance.symbols import Subscription, View, error_name, spoken
from fiducial.models import messages as m
from fiducial.models.errors import Error
from fiducial.models.values import value

#: Longer than any story: nobody is out, and nothing ends, for want of time.
SESSION_MS = REBALANCE_MS = 300_000
TYPE, PROTOCOL = "consumer", "range"
#: What each member says of itself.
PROTOCOLS: Any = (m.JoinGroupRequestProtocol(PROTOCOL, spoken(Subscription(), View(0))), m.JoinGroupRequestProtocol("sticky"))
#: How often the leader joins until all are with it: a static member has no id to be awaited by, and may come a moment later.
PATIENCE = 50


class NotFounded(Exception):
    """There is no such group to be had; the text says why."""


class NobodyLetIn(NotFounded):
    """Whoever was given an id is unknown when it comes with it."""


class Voice(Protocol):
    """A way to ask whoever coordinates groups, on connections that are numbered."""

    @property
    def gives_ids(self) -> bool:
        """Is the version asked one in which a dynamic member asks for its id first?"""

    def begin(self, connection: int, request: Any) -> None:
        """Ask."""

    def end(self, connection: int) -> Any:
        """The answer."""


@value
class Founded:
    """A group that is there and stable: its id, those of its members, the leader's first, and its generation."""

    group_id: str
    members: tuple[str, ...]
    generation: int


def join(group_id: str, member_id: str = "", instance: str | None = None) -> m.JoinGroupRequest:
    """A member joins, or joins again."""
    return m.JoinGroupRequest(group_id, SESSION_MS, REBALANCE_MS, member_id, instance, TYPE, PROTOCOLS)


def founded(voice: Voice, group_ids: Sequence[str]) -> list[Founded]:
    """Groups of one member, all at the same time. An empty group that only gave an id away may be forgotten meanwhile, and is then none of them."""
    for number, group_id in enumerate(group_ids):
        voice.begin(number, join(group_id, given_id(voice, number, group_id)))
    answers = [voice.end(number) for number in range(len(group_ids))]
    if all(one.error_code == Error.UNKNOWN_MEMBER_ID for one in answers):
        raise NobodyLetIn("nobody is let into a new group")
    return [
        assigned(voice, group_id, (sound(one).member_id,), one.generation_id, number)
        for number, (group_id, one) in enumerate(zip(group_ids, answers, strict=True))
        if one.error_code != Error.UNKNOWN_MEMBER_ID
    ]


def grown(voice: Voice, group: Founded, instances: Sequence[str | None]) -> Founded:
    """The group with more members: dynamic ones, or these instances."""
    new = dict(enumerate(instances, 1))
    ids = {number: given_id(voice, number, group.group_id) if instance is None else "" for number, instance in new.items()}
    for number, instance in new.items():
        voice.begin(number, join(group.group_id, ids[number], instance))
    for _ in range(PATIENCE):
        voice.begin(0, join(group.group_id, group.members[0]))
        led = sound(voice.end(0))
        if led.leader != led.member_id:
            raise NotFounded("the member that was there first does not lead its group")
        if len(led.members) > len(instances):
            break
    joined = [sound(voice.end(number)) for number in new]
    return assigned(voice, group.group_id, (led.member_id, *(one.member_id for one in joined)), led.generation_id)


def given_id(voice: Voice, connection: int, group_id: str) -> str:
    """An id for a dynamic member to join with; none, if it needs none."""
    if not voice.gives_ids:
        return ""
    voice.begin(connection, join(group_id))
    answer = voice.end(connection)
    if answer.error_code != Error.MEMBER_ID_REQUIRED:
        raise NotFounded(f"JoinGroup without a member id answers {error_name(answer.error_code)}")
    return str(answer.member_id)


def assigned(voice: Voice, group_id: str, members: tuple[str, ...], generation: int, connection: int = 0) -> Founded:
    """The group once all its members have synced; what each is assigned is its number."""
    given = tuple(m.SyncGroupRequestAssignment(one, str(number).encode()) for number, one in enumerate(members))
    for number, member_id in enumerate(members):
        voice.begin(connection + number, m.SyncGroupRequest(group_id, generation, member_id, None, TYPE, PROTOCOL, () if number else given))
    for number in range(len(members)):
        sound(voice.end(connection + number))
    return Founded(group_id, members, generation)


def sound(answer: Any) -> Any:
    """An answer without an error; NotFounded if it has one."""
    if answer.error_code != Error.NONE:
        raise NotFounded(f"{type(answer).__name__.removesuffix('Response')} answers {error_name(answer.error_code)}")
    return answer
