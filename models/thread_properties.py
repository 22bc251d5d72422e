"""What must hold at every step of the server's threads, as sentences; each with a witness, so that none is true for want of an occasion.

A step is *quiet* if after it nothing more happens of itself: what is left to happen may as well not happen (a client goes, a deadline comes).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fiducial.models.properties import Property
from fiducial.models.threads import BY_CHANCE, At, Fetch, Place, Produce, Server, Status, Step, fetch_of, moves_of

THREAD_PROPERTIES: dict[str, Property] = {}


def states(name: str, *rules: str, witness: Callable[[Any], bool]) -> Callable[[Callable[[Any], bool]], Callable[[Any], bool]]:
    """Register the decorated check under its name; its docstring is the sentence."""

    def register(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
        assert check.__doc__ is not None
        assert name not in THREAD_PROPERTIES, f"two properties called {name}"
        THREAD_PROPERTIES[name] = Property(name, check.__doc__, rules, check, witness)
        return check

    return register


# What an observer sees who sees everything at once


def is_quiet(server: Server) -> bool:
    """Can nothing happen but what happens by chance?"""
    return not any(move.deed not in BY_CHANCE for me in range(len(server.threads)) for move in moves_of(server, me))


def parked(server: Server) -> list[int]:
    """The connections whose fetches wait."""
    return [number for number, one in enumerate(server.connections) if one.status is Status.PARKED]


def would_be_answered(server: Server, connection: int) -> bool:
    """Is there a reason to answer the fetch that waits there?"""
    asked = fetch_of(server, connection)
    here = [(server.partitions[partition], offset) for partition, offset in asked.offsets]
    return not all(one.is_there for one, _ in here) or sum(max(0, one.high_watermark - offset) for one, offset in here) >= asked.least


def places(server: Server) -> list[Place]:
    """Every file of which somebody is about to send something, or sends it, once for each."""
    held = [place for one in server.threads for place in one.places] + [place for one in server.connections for place in one.places]
    answers = [answer for one in server.threads for answer in one.answers] + [item for one in server.inboxes for item in one.items]
    return held + [place for answer in answers for place in answer.places]


def appended(step: Step) -> list[int]:
    """The partitions whose logs are longer after the step."""
    return [number for number, one in enumerate(step.after.partitions) if one.end > step.before.partitions[number].end]


# The sentences


@states("NoLostWakeup", "THREAD-WAIT-1", "THREAD-WAIT-2", "THREAD-WAIT-3", "THREAD-WAIT-6", "THREAD-LOCK-2", witness=lambda step: bool(parked(step.after)) and is_quiet(step.after))
def nobody_waits_for_what_is_there(step: Step) -> bool:
    """In quiet, no fetch waits that would be answered if it came now."""
    found = any(would_be_answered(step.after, one) for one in parked(step.after))
    return not found or not is_quiet(step.after)


@states("AnsweredInOrder", "THREAD-CONN-1", "THREAD-CONN-2", "THREAD-WAIT-5", witness=lambda step: any(len(one.sent) > 1 for one in step.after.connections))
def a_client_is_answered_in_the_order_in_which_it_asked(step: Step) -> bool:
    """A client's answers are those to its first requests, each once, in their order."""
    return all(one.sent == tuple(range(len(one.sent))) and len(one.sent) <= one.begun for one in step.after.connections)


@states("NothingForgotten", "THREAD-INBOX-1", "THREAD-INBOX-2", "THREAD-WAIT-3", witness=lambda step: any(one.begun for one in step.after.connections) and is_quiet(step.after))
def a_request_is_answered_or_waits(step: Step) -> bool:
    """In quiet, every request of a client that is there is answered, but for a fetch that waits."""
    server = step.after
    found = any(len(one.sent) < one.begun and not one.is_gone and one.status is not Status.PARKED for one in server.connections)
    return not found or not is_quiet(server)


@states("WatchersAreCounted", "THREAD-WAIT-4", witness=lambda step: bool(parked(step.after)) and is_quiet(step.after))
def a_partition_counts_who_waits_for_it(step: Step) -> bool:
    """In quiet, each partition counts just the registrations of the fetches that wait."""
    server = step.after
    waited = [partition for one in parked(server) for partition, _ in fetch_of(server, one).offsets]
    return all(one.watchers == waited.count(number) for number, one in enumerate(server.partitions)) or not is_quiet(server)


@states("NoDeadlock", "THREAD-LOCK-1", "THREAD-LOCK-3", witness=lambda step: step.after.writer_waits and bool(step.after.readers))
def somebody_can_always_go_on(step: Step) -> bool:
    """In quiet, no thread has anything in hand, and no lock is held or waited for."""
    server = step.after
    is_at_rest = all(one.at in (At.READY, At.SLEEPS) for one in server.threads)
    is_free = server.fetches_held_by is None and not server.readers and not server.writer_waits
    return (is_at_rest and is_free) or not is_quiet(server)


@states("AppendedToWhatIsThere", "THREAD-LOCK-4", witness=lambda step: any(step.after.partitions[number].is_there for number in appended(step)) and not all(one.is_there for one in step.after.partitions))
def nothing_is_appended_to_what_is_gone(step: Step) -> bool:
    """Nothing is appended to a partition that is not in the table."""
    return all(step.before.partitions[number].is_there for number in appended(step))


@states("AcknowledgedIsOnDisk", "THREAD-COMMIT-2", witness=lambda step: step.before.cast.commits and any(one.is_good for one in step.outcome))
def what_is_acknowledged_is_on_the_disk(step: Step) -> bool:
    """Under the policy commit, a produce is answered well only if what it appended is on the disk."""
    if not step.after.cast.commits:
        return True
    produced = [(answer, step.after.cast.asked[answer.connection][answer.number]) for answer in step.outcome if answer.is_good]
    return all(answer.marks[0] <= step.after.partitions[asked.partition].synced for answer, asked in produced if isinstance(asked, Produce))


@states("CommittedIsOnDisk", "THREAD-COMMIT-1", "THREAD-COMMIT-3", "THREAD-COMMIT-4", witness=lambda step: step.before.cast.commits and any(one.high_watermark < one.end for one in step.after.partitions))
def what_can_be_read_is_on_the_disk(step: Step) -> bool:
    """Under the policy commit, no high watermark is above what is on the disk."""
    return not step.after.cast.commits or all(one.high_watermark <= one.synced for one in step.after.partitions)


@states("AnswersBelowTheMark", "THREAD-WAIT-7", witness=lambda step: any(max(one.marks, default=0) > 0 for one in step.outcome))
def nothing_above_the_high_watermark_is_answered(step: Step) -> bool:
    """What a fetch is answered lies below the high watermarks of its partitions."""
    fetched = [(answer, step.after.cast.asked[answer.connection][answer.number]) for answer in step.outcome]
    return all(
        mark <= step.after.partitions[partition].high_watermark
        for answer, asked in fetched
        if isinstance(asked, Fetch)
        for mark, (partition, _) in zip(answer.marks, asked.offsets, strict=False)
    )


@states("NoClosedReference", "THREAD-FILE-1", "THREAD-FILE-2", witness=lambda step: any(step.after.partitions[number].files[offset].is_dropped for number, offset in places(step.after)))
def nobody_sends_from_a_closed_file(step: Step) -> bool:
    """Every file is open of which somebody is about to send something, or sends it."""
    return all(step.after.partitions[number].files[offset].is_open for number, offset in places(step.after))


@states("NothingLeftOpen", "THREAD-FILE-2", "THREAD-CONN-2", witness=lambda step: any(file.is_dropped for one in step.after.partitions for file in one.files) and is_quiet(step.after))
def what_was_dropped_is_closed(step: Step) -> bool:
    """In quiet, every file that was dropped is closed."""
    found = any(file.is_dropped and file.is_open for one in step.after.partitions for file in one.files)
    return not found or not is_quiet(step.after)


@states("NobodyHungersBesideRoom", "THREAD-ROOM-1", "THREAD-ROOM-2", witness=lambda step: any(one.hungry and one.at is At.SLEEPS for one in step.after.threads))
def nobody_waits_for_room_that_is_there(step: Step) -> bool:
    """In quiet, no client waits for room while there is some."""
    found = any(one.status is Status.HUNGRY for one in step.after.connections) and step.after.kept < step.after.cast.room
    return not found or not is_quiet(step.after)


@states("RoomIsCounted", "THREAD-ROOM-3", witness=lambda step: bool(step.after.cast.room) and is_quiet(step.after))
def room_is_counted(step: Step) -> bool:
    """In quiet, the room that is taken is that of the clients that have sent a part, and as many are counted hungry as there are."""
    server = step.after
    statuses = [one.status for one in server.connections]
    return (server.kept, server.hungry) == (statuses.count(Status.PART), statuses.count(Status.HUNGRY)) or not is_quiet(server)
