"""The server's threads: each rule as a short story, and the search of every order in which their steps can fall finds what is there to be found."""

from __future__ import annotations

import ast
import inspect
import pickle
from typing import Any

import pytest

from fiducial.models import thread_properties
from fiducial.models.checkers import main
from fiducial.models.checkers.explore import explore
from fiducial.models.checkers.threads_universe import ThreadsUniverse, fetch, waiting_universe
from fiducial.models.flaws import FLAWS
from fiducial.models.thread_properties import THREAD_PROPERTIES
from fiducial.models.threads import (
    GONE,
    Ask,
    At,
    Connection,
    Deed,
    File,
    Inbox,
    Long,
    Move,
    Partition,
    Produce,
    Status,
    Step,
    Thread,
    may_go_on,
    moves,
    take,
)
from fiducial.models.values import changed

EVERY: tuple[Any, ...] = tuple(THREAD_PROPERTIES.values())
FLAWED = [one.id for one in FLAWS.values() if one.violates in THREAD_PROPERTIES]
P, Q = Produce(0), Produce(1)
#: Connections, each with a thread of its own.
A, B, C = range(3)


class Story:
    """Clients with these scripts, told one step after another; every step keeps every property."""

    def __init__(self, *scripts: Any, **more: Any) -> None:
        self.universe = ThreadsUniverse("told", *scripts, **more)
        self.server = self.universe.initial()
        kinds = len(self.universe.cast.threads)
        #: The last threads are not clients': the flusher, if there is one, and the control plane.
        self.flusher, self.control = len(scripts), kinds - 1

    def take(self, move: Move) -> Step:
        """One step, which must be possible."""
        assert move in moves(self.server), (move, moves(self.server))
        step = take(self.server, move)
        assert [one.name for one in EVERY if not one.check(step)] == []
        self.server = step.after
        return step

    def goes_on(self, thread: int, *ats: At) -> Step:
        """A thread takes these steps."""
        for at in ats:
            assert self.server.threads[thread].at is at
            step = self.take(Move(thread))
        return step

    def begins(self, client: int, *ats: At) -> Step:
        """A client's next request is begun, and so many steps are taken for it."""
        step = self.take(Move(client, Deed.BEGINS, client))
        return self.goes_on(client, *ats) if ats else step

    def befalls(self, client: int, deed: Deed) -> Step:
        """Something comes to pass for a client."""
        return self.take(Move(client, deed, client))

    def waits(self, client: int, partitions: int = 1) -> None:
        """A client's fetch is begun, finds too little, and is parked."""
        self.begins(client, At.FETCHES, *[At.READS] * partitions, *[At.REGISTERS] * partitions)
        assert self.server.connections[client].status is Status.PARKED

    def at(self, thread: int) -> At:
        """Where a thread is."""
        return self.server.threads[thread].at

    def holder(self) -> int | None:
        """The thread that holds the mutex of fetches."""
        return self.server.fetches_held_by

    def watchers(self) -> list[int]:
        """Of each partition."""
        return [one.watchers for one in self.server.partitions]

    def sent(self) -> list[tuple[int, ...]]:
        """What each client was sent."""
        return [one.sent for one in self.server.connections]


# Waiting


@pytest.mark.rule("THREAD-WAIT-1")
def test_what_came_between_two_looks_is_seen_by_the_second() -> None:
    story = Story((fetch((0, 0), (1, 0)),), (P,), partitions=2)
    story.begins(A, At.FETCHES, At.READS, At.READS)
    assert story.begins(B, At.APPENDS).after.threads[B].at is At.READY
    story.goes_on(A, At.REGISTERS)
    assert story.server.threads[A].seen == (1,) and story.watchers() == [1, 0]
    story.goes_on(A, At.REGISTERS)
    assert story.watchers() == [1, 1] and story.sent()[A] == ()
    answer = story.goes_on(A, At.UNREGISTERS, At.UNREGISTERS).outcome
    assert [one.marks for one in answer] == [(1, 0)]
    assert (story.watchers(), story.at(A), story.holder()) == ([0, 0], At.READY, None)


@pytest.mark.rule("THREAD-WAIT-1")
def test_a_fetch_that_finds_too_little_twice_is_parked() -> None:
    story = Story((fetch((0, 0), (1, 0), least=2),), (P,), partitions=2)
    story.begins(B, At.APPENDS)
    story.begins(A, At.FETCHES, At.READS, At.READS, At.REGISTERS)
    assert story.holder() == A and story.server.connections[A].status is Status.BUSY
    story.goes_on(A, At.REGISTERS)
    assert story.server.connections[A].status is Status.PARKED
    assert (story.watchers(), story.server.threads[A], story.holder()) == ([1, 1], Thread(), None)


@pytest.mark.rule("THREAD-WAIT-2")
def test_who_appends_sees_who_waits() -> None:
    story = Story((fetch((1, 0)),), (P, Q), partitions=2)
    story.waits(A)
    assert story.begins(B, At.APPENDS).outcome[0].marks == (1,)
    assert story.server.partitions == (Partition(end=1, high_watermark=1), Partition(watchers=1))
    assert story.at(B) is At.READY
    story.begins(B, At.APPENDS)
    assert story.server.partitions[1] == Partition(end=1, high_watermark=1, watchers=1)
    assert (story.at(B), story.server.threads[B].about, story.sent()[B]) == (At.WAKES, frozenset((1,)), (0, 1))


@pytest.mark.rule("THREAD-WAIT-2", "THREAD-COMMIT-1")
def test_the_flusher_sees_who_waits_for_what_it_raises() -> None:
    story = Story((fetch((1, 0)),), (P,), (Q,), partitions=2, commits=True)
    story.waits(A)
    for client in (B, C):
        story.begins(client, At.APPENDS, At.QUEUES)
    assert [one.high_watermark for one in story.server.partitions] == [0, 0]
    story.goes_on(story.flusher, At.READY, At.NOTES, At.NOTES, At.SYNCS, At.RAISES)
    assert [one.high_watermark for one in story.server.partitions] == [1, 0] and story.server.threads[story.flusher].about == set()
    story.goes_on(story.flusher, At.RAISES)
    assert [one.high_watermark for one in story.server.partitions] == [1, 1]
    assert (story.at(story.flusher), story.server.threads[story.flusher].about) == (At.WAKES, frozenset((1,)))


@pytest.mark.rule("THREAD-WAIT-3")
def test_all_that_wait_for_a_partition_are_looked_at_and_no_others() -> None:
    story = Story((fetch((0, 0)),), (fetch((1, 0)),), (fetch((1, 0), (0, 5)),), (fetch((0, 0)),), (P,), partitions=2)
    for client, partitions in ((A, 1), (B, 1), (C, 2)):
        story.waits(client, partitions)
    story.begins(4, At.APPENDS)
    story.begins(3, At.FETCHES)
    assert not may_go_on(story.server, 4)
    story.goes_on(3, At.READS)
    story.goes_on(4, At.WAKES)
    assert (story.holder(), story.server.threads[4].waiting, story.at(4)) == (4, (A, C), At.LOOKS)
    story.goes_on(4, At.LOOKS, At.UNREGISTERS, At.PUTS, At.LOOKS, At.LOOKS)
    assert story.server.connections[C].status is Status.PARKED
    assert (story.at(4), story.holder(), story.watchers()) == (At.READY, None, [1, 2])
    assert story.goes_on(A, At.READY).outcome[0].marks == (1,)


@pytest.mark.rule("THREAD-WAIT-3")
def test_where_nobody_waits_any_more_the_mutex_is_let_go() -> None:
    story = Story((fetch((0, 0)),), (P,), may_leave=True)
    story.waits(A)
    story.begins(B, At.APPENDS)
    story.befalls(A, Deed.LEAVES)
    story.goes_on(A, At.EXPIRES, At.UNREGISTERS)
    story.goes_on(B, At.WAKES)
    assert (story.at(B), story.holder()) == (At.READY, None)


@pytest.mark.rule("THREAD-WAIT-4")
def test_each_registration_is_taken_back_before_the_answer() -> None:
    story = Story((fetch((0, 0), (1, 0)),), (P,), partitions=2)
    story.waits(A, 2)
    story.begins(B, At.APPENDS, At.WAKES, At.LOOKS, At.LOOKS, At.UNREGISTERS)
    assert story.watchers() == [0, 1] and story.server.connections[A].status is Status.PARKED
    story.goes_on(B, At.UNREGISTERS)
    assert story.watchers() == [0, 0] and story.server.connections[A].status is Status.AWAITED
    assert story.sent()[A] == () and story.server.inboxes[A] == Inbox()
    assert story.goes_on(B, At.PUTS).after.inboxes[A].items[0].marks == (1, 0)
    story.goes_on(A, At.READY)
    assert story.sent()[A] == (0,)


@pytest.mark.rule("THREAD-WAIT-4")
def test_a_thread_answers_its_own_connections_itself() -> None:
    story = Story((fetch((0, 0)),), (P,), threads=1)
    story.waits(A)
    story.take(Move(0, Deed.BEGINS, B))
    answer = story.goes_on(0, At.APPENDS, At.WAKES, At.LOOKS, At.UNREGISTERS).outcome
    assert [(one.connection, one.number, one.marks) for one in answer] == [(A, 0, (1,))]
    assert (story.watchers(), story.at(0), story.holder()) == ([0], At.READY, None)


@pytest.mark.rule("THREAD-WAIT-5")
def test_whose_deadline_comes_is_answered_as_it_is() -> None:
    story = Story((fetch((0, 0), (1, 0)),), (P,), partitions=2, has_deadlines=True)
    story.waits(A, 2)
    story.befalls(A, Deed.TIMES_OUT)
    story.goes_on(A, At.EXPIRES)
    assert (story.holder(), story.at(A)) == (A, At.UNREGISTERS)
    answer = story.goes_on(A, At.UNREGISTERS, At.UNREGISTERS).outcome
    assert [one.marks for one in answer] == [()] and story.watchers() == [0, 0]
    assert story.holder() is None


@pytest.mark.rule("THREAD-WAIT-5")
def test_a_deadline_that_comes_too_late_changes_nothing() -> None:
    story = Story((fetch((0, 0)),), (P,), has_deadlines=True)
    story.waits(A)
    story.begins(B, At.APPENDS, At.WAKES)
    story.befalls(A, Deed.TIMES_OUT)
    assert not may_go_on(story.server, A)
    story.goes_on(B, At.LOOKS, At.UNREGISTERS, At.PUTS)
    assert story.goes_on(A, At.EXPIRES).outcome == ()
    assert (story.at(A), story.holder(), story.watchers()) == (At.READY, None, [0])
    story.goes_on(A, At.READY)
    assert story.sent()[A] == (0,)


@pytest.mark.rule("THREAD-WAIT-6")
def test_who_waits_for_a_partition_that_is_deleted_is_told() -> None:
    story = Story((fetch((0, 0)),), (fetch((1, 0)),), partitions=2, deleted=(0, 1))
    for client in (A, B):
        story.begins(client, At.TABLE, At.FETCHES, At.READS, At.REGISTERS)
    for client in (A, B):
        story.goes_on(story.control, At.READY, At.DELETES)
        assert [one.is_there for one in story.server.partitions] == [False, client == A]
        assert (story.at(story.control), story.server.threads[story.control].about) == (At.WAKES, frozenset((client,)))
        assert not story.server.writer_waits
        story.goes_on(story.control, At.WAKES, At.LOOKS, At.UNREGISTERS, At.PUTS)
        assert [one.marks for one in story.goes_on(client, At.READY).outcome] == [(GONE,)]
    assert not may_go_on(story.server, story.control)


@pytest.mark.rule("THREAD-WAIT-6")
def test_who_waits_at_an_offset_that_is_dropped_is_told_with_the_next_append() -> None:
    story = Story((fetch((0, 0), least=3),), (P, P), dropped=2)
    drop = Move(story.control, Deed.DROPS)
    assert drop not in moves(story.server)
    story.waits(A)
    story.begins(B, At.APPENDS, At.WAKES, At.LOOKS)
    story.take(drop)
    assert story.at(story.control) is At.READY and story.server.partitions[0].files == (File(is_dropped=True, is_open=False),)
    assert drop not in moves(story.server)
    story.begins(B, At.APPENDS, At.WAKES, At.LOOKS, At.UNREGISTERS, At.PUTS)
    assert [one.marks for one in story.goes_on(A, At.READY).outcome] == [(GONE,)]
    story.take(drop)
    assert [one.is_open for one in story.server.partitions[0].files] == [False, False]


@pytest.mark.rule("THREAD-WAIT-7")
def test_what_is_above_the_high_watermark_is_not_answered() -> None:
    story = Story((fetch((0, 0)),), (P, P), commits=True)
    story.begins(B, At.APPENDS, At.QUEUES)
    story.begins(A, At.FETCHES, At.READS)
    assert story.at(A) is At.REGISTERS and story.server.partitions[0].end == 1
    story.goes_on(A, At.REGISTERS)
    story.goes_on(story.flusher, At.READY, At.NOTES, At.SYNCS, At.RAISES, At.WAKES, At.LOOKS, At.UNREGISTERS, At.PUTS, At.PUTS)
    assert [one.marks for one in story.goes_on(A, At.READY).outcome] == [(1,)]


@pytest.mark.rule("THREAD-WAIT-7")
def test_what_is_not_to_be_read_is_answered_at_once() -> None:
    story = Story((fetch((0, 0), (1, 0)),), partitions=2, deleted=(1,))
    story.goes_on(story.control, At.READY, At.DELETES, At.WAKES)
    answer = story.begins(A, At.TABLE, At.FETCHES, At.READS, At.READS).outcome
    assert [one.marks for one in answer] == [(0, GONE)]


# Locks


@pytest.mark.rule("THREAD-LOCK-1")
def test_the_table_is_taken_before_the_mutex_of_fetches() -> None:
    story = Story((fetch((0, 0)),), (P,), deleted=(0,))
    story.begins(A)
    assert story.at(A) is At.TABLE and story.holder() is None
    story.goes_on(A, At.TABLE)
    assert story.at(A) is At.FETCHES and story.server.readers == {A}
    story.begins(B, At.TABLE)
    assert story.at(B) is At.APPENDS and story.server.readers == {A, B}
    story = Story((fetch((0, 0)),), (P,))
    story.begins(A)
    story.begins(B)
    assert (story.at(A), story.at(B)) == (At.FETCHES, At.APPENDS)


@pytest.mark.rule("THREAD-LOCK-1")
def test_a_writer_comes_before_new_readers_and_behind_old_ones() -> None:
    story = Story((fetch((0, 0)),), (P,), deleted=(0,))
    story.begins(A, At.TABLE)
    story.begins(B)
    story.goes_on(story.control, At.READY)
    assert not may_go_on(story.server, story.control) and not may_go_on(story.server, B)
    story.goes_on(A, At.FETCHES, At.READS, At.REGISTERS)
    story.goes_on(story.control, At.DELETES)
    assert story.goes_on(B, At.TABLE, At.APPENDS).outcome[0].is_good is False


@pytest.mark.rule("THREAD-LOCK-2")
def test_a_fetch_holds_the_table_until_it_is_parked() -> None:
    story = Story((fetch((0, 0), (1, 0)),), partitions=2, deleted=(1, 0))
    story.goes_on(story.control, At.READY, At.DELETES, At.WAKES)
    story.begins(A, At.TABLE)
    assert story.server.threads[A].missing == {1}
    story = Story((fetch((0, 0)),), deleted=(0,))
    story.begins(A, At.TABLE, At.FETCHES, At.READS)
    story.goes_on(story.control, At.READY)
    assert story.server.readers == {A} and not may_go_on(story.server, story.control)
    story.goes_on(A, At.REGISTERS)
    assert story.server.readers == frozenset() and may_go_on(story.server, story.control)


@pytest.mark.rule("THREAD-LOCK-3")
def test_the_flusher_holds_nothing_while_it_flushes() -> None:
    story = Story((P,), (Q,), partitions=2, commits=True, deleted=(1,))
    for client in (A, B):
        story.begins(client, At.TABLE, At.APPENDS, At.QUEUES)
    story.goes_on(story.flusher, At.READY, At.TABLE, At.NOTES)
    assert story.server.readers == {story.flusher}
    story.goes_on(story.flusher, At.NOTES)
    assert story.at(story.flusher) is At.SYNCS and story.server.readers == frozenset()
    assert story.server.threads[story.flusher].noted == ((0, 1), (1, 1))
    story.goes_on(story.control, At.READY, At.DELETES, At.WAKES)
    story.goes_on(story.flusher, At.SYNCS, At.TABLE, At.RAISES, At.RAISES)
    assert [one.high_watermark for one in story.server.partitions] == [1, 0]


@pytest.mark.rule("THREAD-LOCK-4")
def test_who_unpacks_holds_nothing_and_looks_again() -> None:
    story = Story((Produce(0, is_packed=True), Produce(1, is_packed=True)), partitions=2, deleted=(0,))
    story.begins(A, At.TABLE)
    assert story.server.readers == {A}
    story.goes_on(A, At.UNPACKS)
    assert (story.at(A), story.server.readers) == (At.TABLE, frozenset())
    story.goes_on(story.control, At.READY, At.DELETES, At.WAKES)
    assert story.goes_on(A, At.TABLE, At.APPENDS).outcome[0].is_good is False
    assert story.begins(A, At.TABLE, At.UNPACKS, At.TABLE, At.APPENDS).outcome[0].is_good
    assert [one.end for one in story.server.partitions] == [0, 1]


# Forcing to the disk


@pytest.mark.rule("THREAD-COMMIT-1")
def test_the_mark_rises_to_what_was_noted_and_no_further() -> None:
    story = Story((P, P), (P,), commits=True)
    story.begins(A, At.APPENDS, At.QUEUES)
    story.goes_on(story.flusher, At.READY, At.NOTES)
    story.begins(B, At.APPENDS, At.QUEUES)
    story.goes_on(story.flusher, At.SYNCS, At.RAISES)
    assert story.server.partitions[0] == Partition(end=2, high_watermark=1, synced=1)
    story.goes_on(story.flusher, At.PUTS, At.READY, At.NOTES, At.SYNCS, At.RAISES)
    assert story.server.partitions[0] == Partition(end=2, high_watermark=2, synced=2)


@pytest.mark.rule("THREAD-COMMIT-1")
def test_a_mark_never_falls() -> None:
    """Not that a flusher could: there is one. But nobody else need think of it."""
    story = Story((P,), commits=True)
    story.begins(A, At.APPENDS, At.QUEUES)
    story.goes_on(story.flusher, At.READY, At.NOTES, At.SYNCS)
    ahead = changed(story.server.partitions[0], end=5, high_watermark=5, synced=5)
    story.server = changed(story.server, partitions=(ahead,))
    assert story.goes_on(story.flusher, At.RAISES).after.partitions == (ahead,)


@pytest.mark.rule("THREAD-COMMIT-2")
def test_only_what_was_taken_before_the_flush_is_acknowledged() -> None:
    story = Story((P,), (P,), commits=True)
    story.begins(A, At.APPENDS, At.QUEUES)
    story.goes_on(story.flusher, At.READY, At.NOTES)
    story.begins(B, At.APPENDS, At.QUEUES)
    story.goes_on(story.flusher, At.SYNCS, At.RAISES, At.PUTS)
    assert [one.is_good for one in story.goes_on(A, At.READY).outcome] == [True]
    assert len(story.server.queue) == 1 and story.server.inboxes[B] == Inbox()


@pytest.mark.rule("THREAD-COMMIT-2")
def test_what_was_deleted_before_the_flush_is_answered_with_an_error() -> None:
    story = Story((P,), (Q,), partitions=2, commits=True, deleted=(0,))
    for client in (A, B):
        story.begins(client, At.TABLE, At.APPENDS, At.QUEUES)
    story.goes_on(story.control, At.READY, At.DELETES, At.WAKES)
    story.goes_on(story.flusher, At.READY, At.TABLE, At.NOTES, At.NOTES, At.SYNCS, At.TABLE, At.RAISES, At.RAISES, At.PUTS, At.PUTS)
    assert [[one.is_good for one in story.goes_on(client, At.READY).outcome] for client in (A, B)] == [[False], [True]]


@pytest.mark.rule("THREAD-COMMIT-2", "THREAD-COMMIT-3")
def test_a_flush_that_fails_takes_the_log_directory_offline() -> None:
    """Reads go on: who fetches waits still."""
    story = Story((fetch((1, 0)),), (P,), (Q, Q), partitions=2, commits=True, may_fail=True)
    story.waits(A)
    story.begins(B, At.APPENDS, At.QUEUES)
    story.goes_on(story.flusher, At.READY, At.NOTES)
    story.take(Move(story.flusher, Deed.FAILS))
    assert story.server.is_offline and story.server.partitions[0] == Partition(end=1)
    assert [one.is_good for one in story.begins(C, At.APPENDS).outcome] == [False]
    story.goes_on(story.flusher, At.PUTS)
    assert story.server.connections[A].status is Status.PARKED
    assert [one.is_good for one in story.goes_on(B, At.READY).outcome] == [False]
    assert [one.is_good for one in story.begins(C, At.APPENDS).outcome] == [False]


@pytest.mark.rule("THREAD-COMMIT-4")
def test_a_flush_that_failed_is_not_tried_again() -> None:
    story = Story((P,), (P,), commits=True, may_fail=True)
    for client in (A, B):
        story.begins(client, At.APPENDS)
    story.goes_on(A, At.QUEUES)
    assert story.goes_on(story.flusher, At.READY).after.queue == () and story.at(story.flusher) is At.NOTES
    story.goes_on(story.flusher, At.NOTES)
    story.take(Move(story.flusher, Deed.FAILS))
    story.goes_on(B, At.QUEUES)
    story.goes_on(story.flusher, At.PUTS, At.READY, At.NOTES)
    assert Move(story.flusher, Deed.FAILS) not in moves(story.server)
    story.goes_on(story.flusher, At.SYNCS, At.PUTS)
    assert [[one.is_good for one in story.goes_on(client, At.READY).outcome] for client in (A, B)] == [[False], [False]]
    assert story.server.partitions[0] == Partition(end=2)


# Files


@pytest.mark.rule("THREAD-FILE-1", "THREAD-FILE-2")
def test_a_file_that_is_sent_from_is_closed_when_it_was_sent() -> None:
    story = Story((fetch((0, 0)),), (P, P), dropped=1)
    story.begins(B, At.APPENDS)
    story.begins(A, At.FETCHES, At.READS)
    assert story.server.connections[A].places == ((0, 0),) and story.server.partitions[0].files == (File(1),)
    story.take(Move(story.control, Deed.DROPS))
    assert story.server.partitions[0].files == (File(1, is_dropped=True),)
    story.befalls(A, Deed.SENT)
    assert story.server.partitions[0].files == (File(0, is_dropped=True, is_open=False),)


@pytest.mark.rule("THREAD-FILE-1")
def test_a_fetch_that_finds_nothing_at_its_offset_holds_no_file() -> None:
    story = Story((fetch((0, 1)),), (fetch((0, 0), least=2),), (P,), dropped=1)
    story.begins(C, At.APPENDS)
    story.begins(A, At.FETCHES, At.READS, At.REGISTERS)
    assert story.server.partitions[0].files == (File(),)
    story.begins(B, At.FETCHES, At.READS)
    assert (story.server.threads[B].places, story.server.partitions[0].files) == ((), (File(),))


@pytest.mark.rule("THREAD-FILE-2")
def test_a_file_that_two_send_from_is_closed_by_the_last() -> None:
    story = Story((fetch((0, 0)),), (fetch((0, 0)),), (P,), dropped=1)
    story.begins(C, At.APPENDS)
    for client in (A, B):
        story.begins(client, At.FETCHES, At.READS)
    story.take(Move(story.control, Deed.DROPS))
    story.befalls(A, Deed.SENT)
    assert story.server.partitions[0].files == (File(1, is_dropped=True),)
    story.befalls(B, Deed.SENT)
    assert story.server.partitions[0].files == (File(0, is_dropped=True, is_open=False),)


@pytest.mark.rule("THREAD-FILE-2")
def test_a_file_that_was_not_dropped_stays_open() -> None:
    story = Story((fetch((0, 0)),), (P,), dropped=1)
    story.begins(B, At.APPENDS)
    story.begins(A, At.FETCHES, At.READS)
    story.befalls(A, Deed.SENT)
    assert story.server.partitions[0].files == (File(),)


# Sleep


@pytest.mark.rule("THREAD-INBOX-1")
def test_who_sleeps_says_so_and_looks_again() -> None:
    story = Story((fetch((0, 0)),), (P,), sleeps=True)
    story.waits(A)
    story.begins(B, At.APPENDS, At.WAKES, At.LOOKS, At.UNREGISTERS)
    story.goes_on(A, At.READY)
    assert story.server.inboxes[A].is_asleep and story.at(A) is At.LOOKS_AGAIN
    story.goes_on(B, At.PUTS)
    story.goes_on(A, At.LOOKS_AGAIN)
    assert not story.server.inboxes[A].is_asleep and story.at(A) is At.EMPTIES
    assert len(story.goes_on(A, At.EMPTIES).outcome) == 1
    story.goes_on(A, At.READY, At.LOOKS_AGAIN)
    assert story.server.inboxes[A].is_asleep and story.at(A) is At.SLEEPS and not may_go_on(story.server, A)


@pytest.mark.rule("THREAD-INBOX-2")
def test_who_sleeps_is_rung_for() -> None:
    story = Story((fetch((0, 0)),), (P,), sleeps=True)
    story.waits(A)
    story.goes_on(A, At.READY, At.LOOKS_AGAIN)
    story.begins(B, At.APPENDS, At.WAKES, At.LOOKS, At.UNREGISTERS, At.PUTS, At.RINGS)
    assert story.at(B) is At.STIRS and not may_go_on(story.server, A)
    story.goes_on(B, At.STIRS, At.WRITES)
    assert story.server.inboxes[A].is_rung and story.at(B) is At.READY
    story.goes_on(A, At.SLEEPS)
    assert story.server.inboxes[A] == changed(Inbox(), items=story.server.inboxes[A].items)
    assert len(story.goes_on(A, At.EMPTIES).outcome) == 1


@pytest.mark.rule("THREAD-INBOX-2")
def test_each_of_several_is_rung_for_if_it_sleeps() -> None:
    """The control plane has answers for three: one is awake, two sleep."""
    story = Story((Ask(),), (Ask(),), (Ask(),), sleeps=True)
    for client in (A, B, C):
        story.begins(client, At.ASKS, At.RINGS)
    for client in (B, C):
        story.goes_on(client, At.READY, At.LOOKS_AGAIN)
    story.goes_on(story.control, At.READY, At.LOOKS_AGAIN, At.EMPTIES, At.PUTS, At.PUTS, At.PUTS)
    assert story.server.threads[story.control].rings == (A, B, C)
    story.goes_on(story.control, At.RINGS, At.RINGS, At.STIRS, At.WRITES, At.RINGS, At.STIRS, At.WRITES)
    assert [one.is_rung for one in story.server.inboxes] == [False, True, True, False]
    assert story.server.threads[story.control] == Thread()


# Connections


@pytest.mark.rule("THREAD-CONN-1")
def test_nothing_is_begun_before_the_answer_whoever_gives_it() -> None:
    story = Story((fetch((0, 0)), P), (P, Ask(), P), commits=True)
    begun = [Move(client, Deed.BEGINS, client) for client in (A, B)]
    story.waits(A)
    story.begins(B, At.APPENDS, At.QUEUES)
    assert not set(begun) & set(moves(story.server))
    story.goes_on(story.flusher, At.READY, At.NOTES, At.SYNCS, At.RAISES, At.WAKES, At.LOOKS, At.UNREGISTERS, At.PUTS, At.PUTS)
    assert not set(begun) & set(moves(story.server))
    story.goes_on(A, At.READY)
    story.goes_on(B, At.READY)
    assert set(begun) <= set(moves(story.server))
    story.begins(B, At.ASKS)
    assert begun[B] not in moves(story.server)
    story.goes_on(story.control, At.READY, At.PUTS)
    story.goes_on(B, At.READY)
    assert begun[B] in moves(story.server) and story.sent() == [(0,), (0, 1)]


@pytest.mark.rule("THREAD-CONN-1")
def test_nothing_is_begun_while_an_answer_is_sent() -> None:
    story = Story((fetch((0, 0)), P), (P,), dropped=1)
    story.begins(B, At.APPENDS)
    story.begins(A, At.FETCHES, At.READS)
    assert story.sent()[A] == (0,) and Move(A, Deed.BEGINS, A) not in moves(story.server)
    story.befalls(A, Deed.SENT)
    assert Move(A, Deed.BEGINS, A) in moves(story.server)


@pytest.mark.rule("THREAD-CONN-2")
def test_an_answer_is_not_for_who_came_after() -> None:
    story = Story((P,), commits=True, may_leave=True, may_follow=True)
    story.begins(A, At.APPENDS, At.QUEUES)
    story.befalls(A, Deed.LEAVES)
    story.befalls(A, Deed.FOLLOWS)
    assert story.server.connections[A] == Connection(life=1)
    story.begins(A, At.APPENDS, At.QUEUES)
    story.goes_on(story.flusher, At.READY, At.NOTES, At.SYNCS, At.RAISES, At.PUTS)
    assert story.goes_on(A, At.READY).outcome == () and story.sent() == [()]
    story.goes_on(story.flusher, At.PUTS)
    assert [one.life for one in story.goes_on(A, At.READY).outcome] == [1] and story.sent() == [(0,)]


@pytest.mark.rule("THREAD-CONN-2")
def test_an_answer_that_finds_nobody_lets_its_files_go() -> None:
    story = Story((fetch((0, 0)),), (P,), dropped=1, may_leave=True)
    story.waits(A)
    story.begins(B, At.APPENDS, At.WAKES, At.LOOKS, At.UNREGISTERS, At.PUTS)
    story.befalls(A, Deed.LEAVES)
    assert story.server.partitions[0].files == (File(1),)
    assert story.goes_on(A, At.READY).outcome == () and story.sent()[A] == ()
    assert story.server.partitions[0].files == (File(),)


# Room


LONG = Long()


def crowded() -> Story:
    """Three send a part of a request, and there is room for one: the second and the third wait for it, and the second's thread sleeps."""
    story = Story((LONG,), (LONG,), (LONG, P), room=1, sleeps=True, may_leave=True)
    story.begins(A, At.ENTERS, At.KEEPS)
    for client in (B, C):
        story.begins(client, At.ENTERS, At.HUNGERS)
    story.goes_on(B, At.READY, At.LOOKS_AGAIN, At.HOPES)
    assert (story.server.kept, story.server.hungry, story.at(B), story.at(C)) == (1, 2, At.SLEEPS, At.READY)
    assert not may_go_on(story.server, B) and Move(C, Deed.BEGINS, C) not in moves(story.server)
    return story


@pytest.mark.rule("THREAD-ROOM-1", "THREAD-ROOM-2")
def test_who_gives_room_back_rings_for_those_that_sleep_and_the_others_look_again() -> None:
    story = crowded()
    assert story.befalls(A, Deed.COMPLETES).after.threads[A].at is At.GIVES
    assert story.goes_on(A, At.GIVES).after.kept == 0
    assert [one.number for one in story.goes_on(A, At.CALLS).outcome] == [0]
    assert story.server.threads[A].rings == (A, B, C)
    story.goes_on(C, At.READY, At.LOOKS_AGAIN, At.HOPES)
    assert (story.at(C), story.server.threads[C].connection, story.server.inboxes[C].is_asleep) == (At.FEEDS, C, False)
    story.goes_on(A, At.RINGS, At.RINGS, At.STIRS, At.WRITES, At.RINGS)
    assert [one.is_rung for one in story.server.inboxes] == [False, True, False]
    story.goes_on(C, At.FEEDS, At.ENTERS, At.KEEPS)
    story.goes_on(B, At.SLEEPS, At.EMPTIES, At.READY, At.LOOKS_AGAIN, At.HOPES)
    assert (story.server.kept, story.server.hungry, story.at(B)) == (1, 1, At.SLEEPS)


@pytest.mark.rule("THREAD-ROOM-1")
def test_where_there_is_no_room_whole_requests_are_not_read_either() -> None:
    story = Story((LONG,), (P,), room=1)
    story.begins(A, At.ENTERS, At.KEEPS)
    story.begins(B, At.ENTERS, At.HUNGERS)
    assert story.server.partitions == (Partition(),) and story.server.connections[B].begun == 0


@pytest.mark.rule("THREAD-ROOM-2")
def test_who_gives_back_what_was_too_much_rings_for_nobody() -> None:
    story = Story((LONG,), (LONG,), (P,), room=1, sleeps=True)
    for client in (A, B):
        story.begins(client, At.ENTERS)
    for client in (A, B):
        story.goes_on(client, At.KEEPS)
    story.begins(C, At.ENTERS, At.HUNGERS)
    assert story.server.kept == 2
    for client, rings in ((A, ()), (B, (A, B, C))):
        story.befalls(client, Deed.COMPLETES)
        assert story.goes_on(client, At.GIVES, At.CALLS).after.threads[client].rings == rings


@pytest.mark.rule("THREAD-ROOM-2")
def test_where_nobody_waits_for_room_nobody_is_rung_for() -> None:
    story = Story((LONG,), (LONG,), room=1, sleeps=True)
    story.begins(A, At.ENTERS, At.KEEPS)
    story.befalls(A, Deed.COMPLETES)
    assert story.goes_on(A, At.GIVES, At.CALLS).after.threads[A] == Thread()


@pytest.mark.rule("THREAD-ROOM-3")
def test_who_leaves_gives_its_room_back_and_waits_for_none() -> None:
    story = crowded()
    story.befalls(B, Deed.LEAVES)
    story.goes_on(B, At.FEEDS)
    assert (story.server.kept, story.server.hungry, story.server.threads[B]) == (1, 1, Thread())
    story.befalls(A, Deed.LEAVES)
    assert story.goes_on(A, At.GIVES, At.CALLS).outcome == ()
    assert (story.server.kept, story.server.threads[A].rings) == (0, (A, B, C))


@pytest.mark.rule("THREAD-ROOM-3")
def test_who_is_fed_may_find_that_the_room_is_gone() -> None:
    story = crowded()
    story.befalls(A, Deed.COMPLETES)
    story.goes_on(A, At.GIVES, At.CALLS)
    story.goes_on(A, At.RINGS, At.RINGS, At.STIRS, At.WRITES, At.RINGS)
    for client in (B, C):
        story.goes_on(client, *((At.SLEEPS, At.EMPTIES) if client == B else ()), At.READY, At.LOOKS_AGAIN, At.HOPES, At.FEEDS)
    assert story.server.hungry == 0
    story.goes_on(B, At.ENTERS, At.KEEPS)
    story.goes_on(C, At.ENTERS, At.HUNGERS)
    assert (story.server.kept, story.server.hungry, story.server.threads[C].hungry) == (1, 1, (C,))


# The search


@pytest.mark.parametrize("universe", main.small_threads_universes(), ids=lambda one: f"{one.name}: {one.bounds}")
def test_every_order_of_steps_is_searched_without_complaint(universe: ThreadsUniverse) -> None:
    seen = explore(universe, EVERY)
    assert seen.violation is None, seen.violation
    assert seen.is_exhausted and seen.states > 100


def test_every_property_of_threads_has_a_witness_where_flaws_are_looked_for() -> None:
    seen = [explore(universe, EVERY) for universe in main.small_threads_universes()]
    assert frozenset().union(*(one.witnessed for one in seen)) == set(THREAD_PROPERTIES)


@pytest.mark.parametrize("flaw", FLAWED)
def test_every_flaw_of_threads_is_refuted_by_the_property_it_names(flaw: str) -> None:
    found = main.refute(flaw, main.small_threads_universes(), main.everyday())
    assert [row.engine for row in found] == ["exhaustive"] and found[0].depth is not None


def test_every_property_has_a_flaw_and_every_rule_of_threads_a_property() -> None:
    assert {one.violates for one in FLAWS.values()} >= set(THREAD_PROPERTIES)
    rules = {rule for one in FLAWS.values() if one.id in FLAWED for rule in one.rules}
    assert rules == {rule for one in THREAD_PROPERTIES.values() for rule in one.rules}


def test_properties_of_threads_use_nothing_that_a_flaw_replaces() -> None:
    replaced = {one.target.rpartition(":")[2] for one in FLAWS.values() if one.id in FLAWED}
    named = {node.id for node in ast.walk(ast.parse(inspect.getsource(thread_properties))) if isinstance(node, ast.Name)}
    assert replaced and not replaced & named


def test_worlds_of_threads_travel_to_other_processes() -> None:
    effort = main.everyday()
    for universe in (*effort.searched, *main.long().searched):
        if isinstance(universe, ThreadsUniverse):
            assert pickle.loads(pickle.dumps(universe)).bounds == universe.bounds


def test_the_story_of_a_lost_wake_up() -> None:
    found = main.refute("T2", [waiting_universe()], main.everyday())
    assert found[0].story == (
        "thread 0, for a, begins a request",
        "thread 0, for a, takes the mutex of fetches",
        "thread 0, for a, reads the marks of a partition",
        "thread 0, for a, reads the marks of a partition",
        "thread 0, for a, registers with a partition and reads its marks again → partition 0: end 0, high watermark 0, 1 watching",
        "thread 2, for c, begins a request",
        "thread 1, for b, is told that a client is gone",
        "thread 2, for c, appends → partition 1: end 1, high watermark 1, 0 watching; c is answered",
        "thread 0, for a, registers with a partition and reads its marks again → partition 1: end 1, high watermark 1, 1 watching; a waits",
    )
