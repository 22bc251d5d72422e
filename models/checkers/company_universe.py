"""The world of a group in company that the engines go through: good clients, and so many faults of network, processes and coordinator.

Where `group_universe` lets anybody send anything, so that no client could do worse, here every message is an honest one; so the bounds reach further:
whole generations, with everything that is lost, repeated, late or overtaken on the way. Of every state that is searched it is asked whether all ways
from it lead to rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fiducial.models.checkers.universe import Menu, Taken
from fiducial.models.group_company import (
    COMPANY_PROPERTIES,
    RESTING,
    Arrives,
    Company,
    Deed,
    Does,
    Event,
    Lost,
    Message,
    Passes,
    Rings,
    all_ways_lead_to_rest,
    is_awaited,
    is_lost,
    may_pass,
    next_alarms,
    take,
)
from fiducial.models.group_members import Answer, Phase, Process, Request, may_show_life
from fiducial.models.group_properties import Restart
from fiducial.models.groups import State
from fiducial.models.properties import Property

#: The kinds of processes, by a letter: of a client before KIP-394, of one after it, and two that are started under the same instance id.
KINDS = {"o": "old dynamic", "d": "dynamic", "s": "static"}


#: What a fault may be of.
MESSAGES, PROCESSES, COORDINATOR = "messages", "processes", "the coordinator"
ANYTHING = (MESSAGES, PROCESSES, COORDINATOR)


class CompanyUniverse:
    """Processes of these kinds, in the order in which they begin. The bounds are on faults, and on how far generations go.

    Where time only goes on from alarm to alarm, a session soon ends; if they are to live on, it may also pass between two signs of life. Where it is
    walked, so wide that nobody could look at all ways to rest, rest is not asked for.
    """

    def __init__(
        self,
        name: str,
        *,
        kinds: str,
        faults_max: int,
        generations_max: int,
        failing: Sequence[str] = ANYTHING,
        leaves: bool = False,
        waits: bool = False,
        is_walked: bool = False,
    ) -> None:
        self.name = name
        told = ", ".join(f"{kinds.count(kind)} {called}" for kind, called in KINDS.items() if kind in kinds)
        faults = f"{faults_max} faults of {' or '.join(failing)}" if faults_max else "no faults"
        self.bounds = f"{told}; {faults}; {generations_max} generations{', leaving' if leaves else ''}{', living on' if waits else ''}"
        self.failing = failing
        self.processes = tuple(process_of(kind, name) for kind, name in zip(kinds, "abcdef", strict=False))
        self.faults_max, self.generations_max, self.leaves, self.waits = faults_max, generations_max, leaves, waits
        self.is_walked = is_walked

    @property
    def properties(self) -> dict[str, Property]:
        """What is asked of its steps. Not kept: a universe travels to other processes, and functions of a registry do not."""
        return {name: one for name, one in COMPANY_PROPERTIES.items() if not (self.is_walked and one.check is all_ways_lead_to_rest)}

    def initial(self) -> Company:
        """Nobody is there yet. What is known to come to rest is forgotten: other code may have found it, if a flaw was switched on."""
        RESTING.clear()
        return Company(self.processes, self.faults_max)

    def actions(self, state: Company) -> Menu:
        """What may happen next, within the bounds."""
        if state.group.generation > self.generations_max:
            return {}
        may_fail = state.faults > 0
        may_be_late = may_fail and MESSAGES in self.failing
        awake = [one for one in state.processes if not one.hangs]
        speaking = [one.name for one in awake if may_show_life(one)]
        menu: dict[str, Sequence[Any]] = {
            "begin": tuple(Does(one.name, Deed.JOINS) for one in state.processes if one.phase is Phase.APART)[:1],
            "arrive": tuple(Arrives(one) for one in in_order(state.under_way)),
            "beat": tuple(Does(name, Deed.BEATS) for name in speaking),
            "commit": tuple(Does(name, Deed.COMMITS) for name in speaking if 0 in state.process(name).owned),
            "give up": tuple(one for one in given_up(state) if may_be_late or not one.is_fault),
        }
        if may_be_late or not state.under_way:
            menu["ring"] = tuple(Rings(alarm, bool(state.under_way)) for alarm in next_alarms(state))
        if self.waits and not state.under_way and state.alarms and may_pass(state):
            menu["wait"] = (Passes(),)
        if self.leaves:
            menu["leave"] = tuple(Does(one.name, Deed.LEAVES) for one in awake if one.phase is Phase.SETTLED)
        for of in self.failing if may_fail else ():
            menu |= FAILURES[of](state)
        return {name: events for name, events in menu.items() if events}

    def step(self, state: Company, event: Event) -> Taken:
        """The one transition; a step that changes nothing leaves the very state."""
        step = take(state, event)
        return Taken(step.after, step)

    def label(self, taken: Taken) -> tuple[str, str]:
        """The request and the error of the first answer."""
        if not taken.step.outcome:
            return type(taken.step.event).__name__, "NONE"
        first: Answer = taken.step.outcome[0]
        return first.request.ask.value, first.error.name

    def told(self, event: Event, taken: Taken) -> str:
        """For example: b's JoinGroup arrives → waits (PreparingRebalance, generation 0)."""
        answers = "; ".join(f"{one.request.process}'s {one.request.ask.value}: {one.error.name}" for one in taken.step.outcome)
        group = taken.after.group
        return f"{named(event)} → {answers or 'no answer'} ({group.state.value}, generation {group.generation})"


def process_of(kind: str, name: str) -> Process:
    """A process that has not begun."""
    return Process(name, "i" if kind == "s" else None, 3 if kind == "o" else 9)


def in_order(messages: frozenset[Message]) -> list[Message]:
    """In an order that is the same in every run: a walk is told by its seed."""
    return sorted(messages, key=lambda one: (request_of(one).process, request_of(one).number, isinstance(one, Answer), repr(one)))


def request_of(message: Message) -> Request:
    """The request, of which it is the answer if it is one."""
    return message.request if isinstance(message, Answer) else message


def given_up(state: Company) -> list[Does]:
    """On what is lost a process gives up in the end; on what is only late, by a fault."""
    found = []
    for one in state.processes:
        if one.round_trip is not None and not one.hangs:
            found.append(Does(one.name, Deed.GIVES_UP, not is_lost(state, one, one.round_trip)))
        if one.sign is not None:
            found.append(Does(one.name, Deed.GIVES_UP_SIGN, not is_lost(state, one, one.sign)))
    return found


def failures_of_messages(state: Company) -> Menu:
    """One that is awaited is lost; a request arrives twice. That one is late is told of who does not wait for it."""
    messages = in_order(state.under_way)
    return {
        "lose": tuple(Lost(one) for one in messages if is_awaited(state, request_of(one))),
        "repeat": tuple(Arrives(one, True) for one in messages if isinstance(one, Request)),
    }


def failures_of_processes(state: Company) -> Menu:
    """One crashes, or its application hangs."""
    there = [one for one in state.processes if one.phase not in (Phase.APART, Phase.GONE)]
    return {
        "crash": tuple(Does(one.name, Deed.CRASHES, True) for one in there),
        "hang": tuple(Does(one.name, Deed.HANGS, True) for one in there if not one.hangs),
    }


def failures_of_coordinator(state: Company) -> Menu:
    """It begins anew."""
    return {"restart": (Restart(),) if state.group.state is not State.DEAD else ()}


FAILURES: dict[str, Callable[[Company], Menu]] = {
    MESSAGES: failures_of_messages,
    PROCESSES: failures_of_processes,
    COORDINATOR: failures_of_coordinator,
}


def named(event: Event) -> str:
    """What happens, in a few words."""
    match event:
        case Does(process, deed):
            return f"{process} {deed.value}"
        case Arrives(message, is_repeated):
            what = f"{request_of(message).process}'s {request_of(message).ask.value}"
            if isinstance(message, Answer):
                return f"the answer to {what} arrives"
            return f"{what} arrives, and will again" if is_repeated else f"{what} arrives"
        case Lost(message):
            of = "the answer to " if isinstance(message, Answer) else ""
            return f"{of}{request_of(message).process}'s {request_of(message).ask.value} is lost"
        case Rings():
            return "the next alarm rings"
        case Passes():
            return "time passes"
    return "the coordinator begins anew"


def company_universe(kinds: str, faults_max: int, generations_max: int, *, failing: Sequence[str] = ANYTHING, **more: bool) -> CompanyUniverse:
    """Named by its members, and by what fails."""
    members = " and ".join(f"{kinds.count(kind)} {called}" for kind, called in KINDS.items() if kind in kinds)
    fails = "" if failing is ANYTHING or not faults_max else f", {' and '.join(failing)} failing"
    return CompanyUniverse(f"in company: {members}{fails}", kinds=kinds, faults_max=faults_max, generations_max=generations_max, failing=failing, **more)


def walked_company_universes() -> tuple[CompanyUniverse, ...]:
    """What walks and histories go through."""
    return (CompanyUniverse("in company", kinds="doss", faults_max=5, generations_max=8, leaves=True, waits=True, is_walked=True),)
