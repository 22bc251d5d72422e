"""The worlds of the server's threads that are searched: a few clients with a few requests each, and every order in which the steps of the threads can fall.

They are small enough to be exhausted, so nobody walks them. Each has what it is about, and leaves out what the others are about: one where threads
sleep, one with a flusher, one where partitions are deleted. What they have in common is the one transition of `threads`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from fiducial.models.checkers.universe import Menu, Taken
from fiducial.models.threads import (
    Ask,
    At,
    Cast,
    Deed,
    Fetch,
    Kind,
    Long,
    Move,
    Partition,
    Produce,
    Request,
    Server,
    Status,
    Step,
    moves,
    new_server,
    take,
)

#: What a client asks, one after the other.
Script = Sequence[Request]
#: What requests are for.
CALLED: dict[type, str] = {Fetch: "fetch", Produce: "produce", Ask: "ask the control plane", Long: "come in two parts"}


class ThreadsUniverse:
    """Clients with these scripts, each served by a thread of its own or, with `threads`, by one of so many in turn."""

    def __init__(self, name: str, *scripts: Script, threads: int = 0, partitions: int = 1, flushers: int = 1, **more: Any) -> None:
        self.name = f"threads: {name}"
        threads = threads or len(scripts)
        kinds = [Kind.IO] * threads
        if more.get("commits"):
            kinds += [Kind.FLUSHER] * flushers
        if more.get("deleted") or more.get("dropped") or any(isinstance(one, Ask) for script in scripts for one in script):
            kinds.append(Kind.CONTROL)
        owners = tuple(number % threads for number in range(len(scripts)))
        self.cast = Cast(tuple(kinds), owners, tuple(tuple(script) for script in scripts), partitions, **more)
        self.bounds = bounds_of(self.cast)

    def initial(self) -> Server:
        """Nobody has asked anything."""
        return new_server(self.cast)

    def actions(self, state: Server) -> Menu:
        """The steps of all threads, by what they do."""
        menu: dict[str, list[Move]] = {}
        for move in moves(state):
            menu.setdefault(deed(state, move), []).append(move)
        return menu

    def step(self, state: Server, event: Move) -> Taken:
        """The one transition."""
        step = take(state, event)
        return Taken(step.after, step)

    def label(self, taken: Taken) -> tuple[str, str]:
        """What the thread does."""
        step: Step = taken.step
        return deed(step.before, step.event), "NONE"

    def told(self, event: Move, taken: Taken) -> str:
        """For example: thread 2, for c, appends → partition 0: end 1, high watermark 1, 0 watching; c is answered."""
        after = "; ".join(consequences(taken.step))
        return f"{who(taken.step, event)} {deed(taken.step.before, event)}{f' → {after}' if after else ''}"


FLUSHERS = ("no flusher", "a flusher", "two flushers")


def bounds_of(cast: Cast) -> str:
    """Who takes part, and what may happen by chance."""
    asked = Counter(CALLED[type(one)] for script in cast.asked for one in script)
    requests = ", ".join(f"{count} to {name}" for name, count in sorted(asked.items()))
    may = {
        f"{FLUSHERS[cast.threads.count(Kind.FLUSHER)]}{' that may fail' if cast.may_fail else ''}": cast.commits,
        f"{len(cast.deleted)} deleted": cast.deleted,
        f"{cast.dropped} segments dropped": cast.dropped,
        f"room for {cast.room}": cast.room,
        "sleep": cast.sleeps,
        "deadlines": cast.has_deadlines,
        f"clients that leave{' and others that follow' if cast.may_follow else ''}": cast.may_leave,
    }
    told = "".join(f", {what}" for what, is_so in may.items() if is_so)
    return f"{cast.threads.count(Kind.IO)} I/O threads, {len(cast.owners)} clients, requests {requests}, {cast.partitions} partition{'s' if cast.partitions > 1 else ''}{told}"


def deed(server: Server, move: Move) -> str:
    """What a thread does."""
    if move.deed is not Deed.GOES_ON:
        return str(move.deed.value)
    thread, kind = server.threads[move.thread], server.cast.threads[move.thread]
    if thread.at is not At.READY:
        return str(thread.at.value)
    if kind is Kind.FLUSHER:
        return "takes all jobs from its queue"
    if kind is Kind.CONTROL and thread.done < len(server.cast.deleted):
        return "wants the table for writing"
    return "says that it sleeps" if server.cast.sleeps else "empties its inbox"


def who(step: Step, move: Move) -> str:
    """The thread, and whom it serves."""
    kind, thread = step.before.cast.threads[move.thread], step.before.threads[move.thread]
    serves = thread.waiting[0] if thread.waiting else move.connection if move.connection >= 0 else thread.connection
    is_one = step.before.cast.threads.count(kind) == 1 and kind is not Kind.IO
    name = kind.value if is_one else f"thread {move.thread}"
    return f"{name}, for {client(serves)}," if serves >= 0 else name


def client(connection: int) -> str:
    """The clients are called a, b, c."""
    return "abcdefgh"[connection]


def consequences(step: Step) -> list[str]:
    """What others can see of a step."""
    before, after = step.before, step.after
    found = [f"partition {number}: {marks(one)}" for number, one in enumerate(after.partitions) if one != before.partitions[number]]
    statuses = zip(before.connections, after.connections, strict=True)
    found += [f"{client(number)} waits" for number, (one, now) in enumerate(statuses) if now.status is Status.PARKED is not one.status]
    found += [f"{client(one.connection)} is answered{'' if one.is_good else ' with an error'}" for one in step.outcome]
    return found


def marks(here: Partition) -> str:
    """A partition, in a few words."""
    if not here.is_there:
        return "deleted"
    closed = sum(not file.is_open for file in here.files)
    return f"end {here.end}, high watermark {here.high_watermark}, {here.watchers} watching{f', {closed} closed' if closed else ''}"


# What is searched


def fetch(*offsets: tuple[int, int], least: int = 1) -> Fetch:
    """Of these (partition, offset), `least` records in all."""
    return Fetch(offsets, least)


P, Q = Produce(0), Produce(1)


def waiting_universe(**more: Any) -> ThreadsUniverse:
    """One fetches, and two would produce to the partitions that it waits for, if they stay."""
    return ThreadsUniverse("waiting", (fetch((0, 0), (1, 0)),), (P,), (Q,), partitions=2, has_deadlines=True, may_leave=True, **more)


def crowded_universe(produces: int, **more: Any) -> ThreadsUniverse:
    """Two fetch, and two produce to the partitions that both wait for."""
    clients = (fetch((0, 0), (1, 0), least=2),), (fetch((0, 1), (1, 1)),), (P, Q)[:produces], (Q, P)[:produces]
    return ThreadsUniverse("crowded", *clients, partitions=2, has_deadlines=True, **more)


def sharing_universe(threads: int = 2, **more: Any) -> ThreadsUniverse:
    """The same crowd, on so few threads that each has somebody who fetches and somebody who produces, and sleeps when there is nothing to do."""
    clients = (fetch((0, 0), (1, 0), least=2),), (fetch((0, 1), (1, 1)),), (P, Q), (Q, P)
    return ThreadsUniverse("sharing", *clients, threads=threads, partitions=2, has_deadlines=True, sleeps=True, **more)


def sleeping_universe(produces: int, **more: Any) -> ThreadsUniverse:
    """One thread waits for what the other produces; the other also asks the control plane."""
    return ThreadsUniverse("sleeping", (fetch((0, 0)),), (P,) * produces, (Ask(),), threads=2, sleeps=True, has_deadlines=True, **more)


def commit_universe(produces: int, **more: Any) -> ThreadsUniverse:
    """Two produce to one or two partitions, and a flusher forces it to the disk, for one who fetches."""
    clients = (fetch(*((0, 0), (1, 0))[:produces]), fetch((0, 1))), (P, Q)[:produces], (P, Q)[:produces]
    return ThreadsUniverse("commit", *clients, partitions=produces, commits=True, may_fail=True, has_deadlines=True, **more)


def deletion_universe(produces: int, **more: Any) -> ThreadsUniverse:
    """A partition goes while one waits for it and another produces to it; whoever waits for the other partition, waits."""
    clients = (fetch((0, 0), (1, 0)), fetch((1, 1))), (P, Q)[:produces]
    return ThreadsUniverse("deletion under commit" if more.get("commits") else "deletion", *clients, partitions=2, deleted=(0,), has_deadlines=True, **more)


def unpacking_universe(**more: Any) -> ThreadsUniverse:
    """A partition goes while one waits for it and another unpacks a batch for it; a plain one comes after that."""
    clients = (fetch((0, 0), (1, 0)),), (Produce(0, is_packed=True), Q)
    return ThreadsUniverse("unpacking", *clients, partitions=2, deleted=(0,), has_deadlines=True, **more)


def retention_universe(produces: int, **more: Any) -> ThreadsUniverse:
    """Segments are dropped while they are read, sent, and waited for."""
    clients = (fetch((0, 0)), fetch((0, 1))), (fetch((0, 0), least=2),), (P,) * produces
    return ThreadsUniverse("retention", *clients, dropped=2, may_leave=True, has_deadlines=True, **more)


def order_universe(**more: Any) -> ThreadsUniverse:
    """Clients that do not wait for an answer before they ask again, whoever answers it."""
    return ThreadsUniverse("order", (fetch((0, 0)), Ask(), P), (P, Ask()), has_deadlines=True, **more)


def following_universe(*others: Script, **more: Any) -> ThreadsUniverse:
    """Clients leave while others answer them, and new ones have their place."""
    return ThreadsUniverse("following", (P, P), *others, commits=True, may_leave=True, may_follow=True, **more)


def room_universe(clients: int, *others: Script, **more: Any) -> ThreadsUniverse:
    """So many send a part of a request first, on two threads; there is room for one."""
    return ThreadsUniverse("room", *[(Long(),)] * clients, *others, threads=2, room=1, sleeps=True, **more)
