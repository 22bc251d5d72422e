"""The world of one group that the engines go through: everybody may send everything, under every id that was ever given out.

Requests that an honest client sends may be lost, repeated, or overtaken by others; here each may come at any time, any number of times, or never.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fiducial.models.checkers.universe import Menu, Taken
from fiducial.models.group_properties import (
    GROUP,
    Answers,
    Event,
    Restart,
    Ring,
    Send,
    World,
    beat,
    comes_to_rest,
    commit,
    error_of,
    join,
    sync,
    take,
)
from fiducial.models.groups import State
from fiducial.models.messages import DeleteGroupsRequest, LeaveGroupRequest, MemberIdentity

#: The one instance id that static members come under.
INSTANCE = "i"


class GroupUniverse:
    """One group. The bounds are on how many ids are given, how far generations and alarms go, and how often the coordinator begins anew."""

    def __init__(
        self, name: str, *, ids_max: int, generations_max: int, now_max: int, newcomers: Sequence[Send], restarts: bool = False, deletes: bool = False
    ) -> None:
        self.name = name
        kinds = ", ".join(sorted({"static" if one.instance_id else f"dynamic v{one.api_version}" for one in newcomers}))
        more = "".join((", restarts" if restarts else "", ", deletion" if deletes else ""))
        self.bounds = f"{ids_max} ids ({kinds}), {generations_max} generations, {now_max} ms; any request at any time{more}"
        self.ids_max, self.generations_max, self.now_max = ids_max, generations_max, now_max
        self.newcomers, self.restarts, self.deletes = tuple(newcomers), restarts, deletes

    def initial(self) -> World:
        """No group. What is known of groups that came to rest is forgotten: other code may have found it, if a flaw was switched on."""
        comes_to_rest.cache_clear()
        return World()

    def actions(self, state: World) -> Menu:
        """What may happen next, within the bounds."""
        menu: dict[str, Sequence[Any]] = {}
        group = state.group
        named = [(*who, generation) for who in state.given for generation in generations_of(state, who[0])]
        if state.issued < self.ids_max:
            menu["join anew"] = self.newcomers
        if group.generation < self.generations_max and state.given:
            menu["join"] = tuple(join(member_id, instance, version=9) for member_id, instance in state.given)
        if named:
            menu["sync"] = tuple(
                sync(group, member_id, instance, generation, turn)
                for member_id, instance, generation in named
                for turn in ((0, 1) if member_id == group.leader else (0,))
            )
            menu["beat"] = tuple(beat(*one) for one in named)
            menu["commit"] = tuple(commit(*one, offset=at + 1) for at, one in enumerate(named))
        if state.given:
            menu["leave"] = tuple(leave(member_id, instance) for member_id, instance in state.given)
        if state.alarms and min(state.alarms.values()) <= self.now_max:
            menu["ring"] = (Ring(),)
        if self.restarts and group.state is not State.DEAD:
            menu["restart"] = (Restart(),)
        if self.deletes:
            menu["delete"] = (DELETE,)
        return menu

    def step(self, state: World, event: Event) -> Taken:
        """The one transition; a step that changes nothing leaves the very state."""
        step = take(state, event)
        return Taken(step.after, step)

    def label(self, taken: Taken) -> tuple[str, str]:
        """The class and the error of the first answer."""
        outcome: Answers = taken.step.outcome
        if not outcome.replies:
            return type(taken.step.event).__name__, "NONE"
        return type(outcome.replies[0][1]).__name__, error_of(outcome.replies[0][1]).name

    def told(self, event: Event, taken: Taken) -> str:
        """For example: c-…1 sends JoinGroup → waits (PreparingRebalance, generation 0)."""
        answers = "; ".join(f"{short(asked.member_id)}{type(body).__name__.removesuffix('Response')}: {error_of(body).name}" for asked, body in taken.step.outcome.replies)
        group = taken.after.group
        return f"{named(event)} → {answers or 'no answer'} ({group.state.value}, generation {group.generation})"


def generations_of(state: World, member_id: str) -> tuple[int, ...]:
    """What a member may still speak of: the generation that it was told last, and the one before."""
    told = state.seen.told.get(member_id)
    return () if told is None else tuple(one for one in (told - 1, told) if one > 0)


def leave(member_id: str, instance_id: str | None) -> Send:
    """A LeaveGroup."""
    return Send(LeaveGroupRequest(GROUP, "", (MemberIdentity(member_id, instance_id),)), 5, member_id, instance_id)


DELETE = Send(DeleteGroupsRequest((GROUP,)), 2)
DYNAMIC, DYNAMIC_V3, STATIC = join("", None, version=9), join("", None, version=3), join("", INSTANCE, version=9)


def named(event: Event) -> str:
    """What happens, in a few words."""
    if isinstance(event, Send):
        asked = type(event.body).__name__.removesuffix("Request")
        generation = f" of generation {event.generation}" if event.generation >= 0 else ""
        return f"{short(event.member_id) or (event.instance_id or 'somebody') + ' '}sends {asked}{generation}"
    return "the next alarm rings" if isinstance(event, Ring) else "the coordinator begins anew"


def short(member_id: str) -> str:
    """The client's part of an id, and the end of its number."""
    return f"{member_id.partition('-')[0]}-{member_id[-1]} " if member_id else ""


def dynamic_universe(ids_max: int, generations_max: int, now_max: int) -> GroupUniverse:
    """Members without instance ids."""
    return GroupUniverse("dynamic members", ids_max=ids_max, generations_max=generations_max, now_max=now_max, newcomers=(DYNAMIC_V3,))


def static_universe(ids_max: int, generations_max: int, now_max: int) -> GroupUniverse:
    """Some that come under the same instance id, beside others."""
    return GroupUniverse("static members", ids_max=ids_max, generations_max=generations_max, now_max=now_max, newcomers=(DYNAMIC_V3, STATIC))


def ending_universe(ids_max: int, generations_max: int, now_max: int) -> GroupUniverse:
    """The coordinator begins anew, and the group is deleted."""
    return GroupUniverse(
        "restarts and deletion", ids_max=ids_max, generations_max=generations_max, now_max=now_max, newcomers=(DYNAMIC,), restarts=True, deletes=True
    )


def walked_group_universes() -> tuple[GroupUniverse, ...]:
    """What walks and histories go through."""
    newcomers = (DYNAMIC, DYNAMIC_V3, STATIC)
    return (
        GroupUniverse("groups", ids_max=6, generations_max=8, now_max=1_000, newcomers=newcomers),
        GroupUniverse("groups, restarts and deletion", ids_max=6, generations_max=8, now_max=1_000, newcomers=newcomers, restarts=True, deletes=True),
    )
