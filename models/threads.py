"""The threads of the server: what each does in one critical section and in which order, so that no client waits for what is there.

Clients are served by I/O threads, each with its own connections. A fetch that finds too little is *parked*; whoever raises a high watermark looks
whether somebody waits for it. Beside them are a flusher, which forces to the disk what is acknowledged only then, and the control plane, which
answers what is rare, deletes partitions, and drops segments. `thread_properties` says what must hold, however their steps fall.

Laws of this file
    A step is one critical section: what a thread does to what others see, under one lock or by one atomic access. Between two steps anybody may come.
    A lock that is held over several steps stands in the state. Where a partition's mutex is taken and let go within a step, nobody sees it held.
    Locks are taken in one order: table, fetches, a partition's, those of queues. What waits for one while it holds a later one is a deadlock to find.
    What of a request cannot be handled yet takes room, where that is limited: then nobody is read from who has not sent a part already.
    What a thread does that no other sees (to parse, judge, encode) is no step. There is no clock: a deadline may come at any moment.
"""

from __future__ import annotations

from enum import Enum
from typing import TypeVar

import attrs

from fiducial.models.rules import rule
from fiducial.models.values import changed, value

T = TypeVar("T")

# What is asked


@value
class Fetch:
    """Wait for `least` records at these offsets, in all."""

    offsets: tuple[tuple[int, int], ...]  # (partition, offset)
    least: int = 1


@value
class Produce:
    """Append one record."""

    partition: int
    is_packed: bool = False  # it has to be unpacked first, by who waits for Python's lock, however long


@value
class Ask:
    """Ask what only the control plane answers."""


@value
class Long:
    """What comes in two parts: the first takes room until the other is there."""


Request = Fetch | Produce | Ask | Long


class Kind(Enum):
    """The kinds of threads."""

    IO = "I/O thread"
    FLUSHER = "the flusher"
    CONTROL = "the control plane"


@value
class Cast:
    """Who takes part, and what may happen; nothing of it changes."""

    threads: tuple[Kind, ...]
    owners: tuple[int, ...]  # connection → its thread
    asked: tuple[tuple[Request, ...], ...]  # connection → what its client asks, one after the other, without waiting for answers
    partitions: int = 1
    commits: bool = False  # the policy: acknowledged after the flush
    deleted: tuple[int, ...] = ()  # the partitions that the control plane deletes, in this order
    dropped: int = 0  # how many segments retention drops of partition 0; a segment holds one record
    room: int = 0  # so many parts of requests may be kept before others are not read; 0: no limit
    sleeps: bool = False  # threads sleep when there is nothing to do; otherwise they look again and again
    has_deadlines: bool = False
    may_leave: bool = False  # clients end their connections
    may_follow: bool = False  # another client gets the place of one that is gone
    may_fail: bool = False  # a flush fails


# State


@value
class File:
    """The file of a segment."""

    references: int = 0
    is_dropped: bool = False
    is_open: bool = True


@value
class Partition:
    """A partition, of which all but `synced` is guarded by its mutex."""

    end: int = 0
    high_watermark: int = 0
    synced: int = 0  # what is on the disk, as only an observer knows
    watchers: int = 0  # how many registrations of fetches there are
    is_there: bool = True  # in the table
    files: tuple[File, ...] = ()  # by base offset; told only where retention drops some


class Status(Enum):
    """What becomes of a connection's first request that is not answered."""

    READING = "reads"  # there is none
    HUNGRY = "is not read, for want of room"
    PART = "has sent a part"
    BUSY = "is served"
    PARKED = "waits"
    AWAITED = "is answered by another thread"
    SENDING = "is sent"


#: A segment's file, of which a turn holds a reference: (partition, base offset).
Place = tuple[int, int]


@value
class Connection:
    """One client's. Its thread's own, but for the step to and from PARKED, which is guarded by the mutex of fetches."""

    life: int = 0  # so many clients had it before
    begun: int = 0  # so many requests were read
    sent: tuple[int, ...] = ()  # those that were answered, by number, in this order
    status: Status = Status.READING
    is_gone: bool = False
    places: tuple[Place, ...] = ()  # what is being sent


@value
class Answer:
    """What a request is answered; in the inbox of its connection's thread until that takes it out. To the control plane: what it is asked."""

    connection: int
    life: int
    number: int  # of the request
    is_good: bool = True
    marks: tuple[int, ...] = ()  # up to where: of a produce the end of its batch, of a fetch the high watermarks that were read
    places: tuple[Place, ...] = ()


@value
class Inbox:
    """What others leave for a thread, and how they wake it."""

    items: tuple[Answer, ...] = ()  # guarded by a mutex
    is_asleep: bool = False  # atomic
    is_rung: bool = False  # its eventfd is readable


@value
class Job:
    """An append that is acknowledged when it is on the disk."""

    answer: Answer
    partition: int


class At(Enum):
    """Where a thread is: what it does next."""

    READY = "has nothing in hand"
    TABLE = "takes the table for reading"
    FETCHES = "takes the mutex of fetches"
    READS = "reads the marks of a partition"
    REGISTERS = "registers with a partition and reads its marks again"
    UNPACKS = "lets the table go, and unpacks a batch"
    APPENDS = "appends"
    QUEUES = "queues a job for the flusher"
    ASKS = "puts a request into the inbox of the control plane"
    WAKES = "takes the mutex of fetches, to look who waits"
    LOOKS = "reads the marks of a partition for one that waits"
    UNREGISTERS = "takes a registration back"
    PUTS = "puts an answer into an inbox"
    RINGS = "looks whether a thread is asleep"
    STIRS = "says that the other does not sleep"
    WRITES = "writes an eventfd"
    EXPIRES = "takes the mutex of fetches, to answer whose time is over"
    ENTERS = "looks whether there is room"
    KEEPS = "keeps a part of a request"
    HUNGERS = "says that somebody waits for room"
    GIVES = "gives room back"
    CALLS = "looks whether anybody waits for room"
    LOOKS_AGAIN = "looks into its inbox again"
    HOPES = "looks again whether there is room"
    FEEDS = "says that one less waits for room"
    SLEEPS = "sleeps"
    EMPTIES = "empties its inbox"
    NOTES = "notes the end of a log"
    SYNCS = "forces files to the disk"
    RAISES = "raises a high watermark"
    DELETES = "takes the table for writing"


@value
class Thread:
    """A thread between two steps."""

    at: At = At.READY
    then: At = At.READY  # what the table is taken for
    connection: int = -1  # of its own: whose request it serves
    seen: tuple[int, ...] = ()  # the marks read of a fetch's partitions, in its order; GONE for one that is not to be read
    places: tuple[Place, ...] = ()  # what it holds references of
    missing: frozenset[int] = frozenset()  # the partitions that were not in the table when it was looked at
    about: frozenset[int] = frozenset()  # the partitions for which others may have waited
    waiting: tuple[int, ...] = ()  # the connections of parked fetches that it still has to look at
    undone: int = 0  # so many registrations of the first of them were taken back
    answers: tuple[Answer, ...] = ()  # what it has for connections of others
    rings: tuple[int, ...] = ()  # the threads that it left something for
    hungry: tuple[int, ...] = ()  # its connections that are not read, in turn
    left: int = 0  # so much was kept when it had given room back
    jobs: tuple[Job, ...] = ()
    noted: tuple[tuple[int, int], ...] = ()  # (partition, its log end)
    has_failed: bool = False  # to flush them
    done: int = 0  # of the control plane: so many partitions are deleted
    dropped: int = 0  # so many segments


@value
class Server:
    """All of it, between two steps."""

    partitions: tuple[Partition, ...]
    connections: tuple[Connection, ...]
    threads: tuple[Thread, ...]
    inboxes: tuple[Inbox, ...]  # by thread
    cast: Cast = attrs.field(eq=False, repr=False)
    fetches_held_by: int | None = None
    readers: frozenset[int] = frozenset()  # the threads that hold the table for reading
    writer_waits: bool = False
    queue: tuple[Job, ...] = ()  # of the flusher; guarded by its mutex
    is_offline: bool = False  # the log directory: a flush failed
    kept: int = 0  # so many parts of requests; atomic
    hungry: int = 0  # so many connections are not read; atomic


#: The mark of a partition that was deleted, or whose segment at the offset was dropped: a fetch that is looked at is answered.
GONE = -1


def new_server(cast: Cast) -> Server:
    """Nobody has asked anything."""
    return Server(
        (Partition(),) * cast.partitions,
        (Connection(),) * len(cast.owners),
        (Thread(),) * len(cast.threads),
        (Inbox(),) * len(cast.threads),
        cast,
    )


# Events


class Deed(Enum):
    """What happens to a thread."""

    GOES_ON = "goes on"
    BEGINS = "begins a request"
    SENT = "has sent an answer"
    COMPLETES = "has the other part of a request"
    FAILS = "fails to force files to the disk"
    DROPS = "drops a segment"
    TIMES_OUT = "is told that a fetch's time is over"
    LEAVES = "is told that a client is gone"
    FOLLOWS = "is given another client in its place"


#: What need not happen.
BY_CHANCE = (Deed.TIMES_OUT, Deed.LEAVES, Deed.FOLLOWS, Deed.FAILS, Deed.DROPS)


@value
class Move:
    """One step of one thread."""

    thread: int
    deed: Deed = Deed.GOES_ON
    connection: int = -1


@value
class Step:
    """One move, and the answers that were given in it."""

    before: Server
    event: Move
    after: Server
    outcome: tuple[Answer, ...]


# What may happen


def moves(server: Server) -> list[Move]:
    """Every step that some thread may take now."""
    return [move for me in range(len(server.threads)) for move in moves_of(server, me)]


def moves_of(server: Server, me: int) -> list[Move]:
    """Every step that this thread may take now."""
    cast, thread = server.cast, server.threads[me]
    found: list[Move] = []
    if may_go_on(server, me):
        found.append(Move(me))
    if thread.at is At.SYNCS and cast.may_fail and not server.is_offline:
        found.append(Move(me, Deed.FAILS))
    if thread.at not in (At.READY, At.SLEEPS):
        return found
    if cast.threads[me] is Kind.CONTROL and thread.dropped < cast.dropped and may_drop(server):
        found.append(Move(me, Deed.DROPS))
    for number, connection in enumerate(server.connections):
        if cast.owners[number] == me:
            found += moves_for(server, me, number, connection)
    return found


def moves_for(server: Server, me: int, number: int, connection: Connection) -> list[Move]:
    """What a thread with nothing in hand may do for one of its connections."""
    cast, is_awake = server.cast, server.threads[me].at is At.READY
    if connection.is_gone:
        may_follow = cast.may_follow and is_awake and connection.life == 0
        return [Move(me, Deed.FOLLOWS, number)] if may_follow else []
    found: list[Move] = []
    if may_begin(server, number) and is_awake:
        found.append(Move(me, Deed.BEGINS, number))
    if connection.status is Status.SENDING and is_awake:
        found.append(Move(me, Deed.SENT, number))
    if connection.status is Status.PART and is_awake:
        found.append(Move(me, Deed.COMPLETES, number))
    if connection.status is Status.PARKED and cast.has_deadlines:
        found.append(Move(me, Deed.TIMES_OUT, number))
    if cast.may_leave:
        found.append(Move(me, Deed.LEAVES, number))
    return found


def may_begin(server: Server, connection: int) -> bool:
    """Is there a request that the connection's thread may begin?"""
    here = server.connections[connection]
    return not is_paused(here) and here.begun < len(server.cast.asked[connection]) and not here.is_gone


@rule("THREAD-CONN-1")
def is_paused(connection: Connection) -> bool:
    """Is nothing more read of a connection? While one of its requests is not answered."""
    return connection.status is not Status.READING


def may_go_on(server: Server, me: int) -> bool:
    """Does nothing hold up what this thread does next?"""
    match server.threads[me].at:
        case At.READY:
            return may_do_something(server, me)
        case At.TABLE:
            return not server.writer_waits
        case At.FETCHES | At.WAKES | At.EXPIRES:
            return fetches_are_free(server, me)
        case At.DELETES:
            return not server.readers
        case At.SLEEPS:
            return server.inboxes[me].is_rung or has_news(server, me)
    return True


def fetches_are_free(server: Server, _me: int) -> bool:
    """May the mutex of fetches be taken?"""
    return server.fetches_held_by is None


def has_news(server: Server, me: int) -> bool:
    """Is a socket of the thread ready for it?"""
    mine = (number for number, owner in enumerate(server.cast.owners) if owner == me)
    return any(may_begin(server, one) or server.connections[one].status in (Status.SENDING, Status.PART) for one in mine)


def may_do_something(server: Server, me: int) -> bool:
    """Is there something to do, of itself, for a thread that has nothing in hand?"""
    cast, thread, inbox = server.cast, server.threads[me], server.inboxes[me]
    if cast.threads[me] is Kind.FLUSHER:
        return bool(server.queue)
    if cast.threads[me] is Kind.CONTROL and thread.done < len(cast.deleted):
        return True
    return cast.sleeps or bool(inbox.items)


def request_of(server: Server, connection: int) -> Request:
    """The last request that was begun."""
    return server.cast.asked[connection][server.connections[connection].begun - 1]


def fetch_of(server: Server, connection: int) -> Fetch:
    """The same, where it is a fetch."""
    asked = request_of(server, connection)
    assert isinstance(asked, Fetch)
    return asked


# Steps

Done = tuple[Server, tuple[Answer, ...]]


def take(server: Server, move: Move) -> Step:
    """Let it happen."""
    after, answers = done(server, move)
    return Step(server, move, after, answers)


def done(server: Server, move: Move) -> Done:
    """The server after a step, and what was answered in it."""
    me = move.thread
    match move.deed:
        case Deed.BEGINS:
            return begins(server, me, move.connection), ()
        case Deed.SENT:
            return has_sent(server, move.connection), ()
        case Deed.COMPLETES:
            return with_thread(server, me, at=At.GIVES, connection=move.connection), ()
        case Deed.TIMES_OUT:
            return with_thread(awake(server, me), me, at=At.EXPIRES, connection=move.connection), ()
        case Deed.LEAVES:
            return leaves(awake(server, me), me, move.connection), ()
        case Deed.FAILS:
            return fails(server, me), ()
        case Deed.DROPS:
            return drops(server, me), ()
        case Deed.FOLLOWS:
            return follows(server, move.connection), ()
    match server.threads[me].at:
        case At.READY:
            return goes_to_work(server, me)
        case At.TABLE:
            return after_table(holding_table(server, me), me), ()
        case At.FETCHES:
            return with_thread(changed(server, fetches_held_by=me), me, at=At.READS), ()
        case At.READS:
            return reads(server, me)
        case At.REGISTERS:
            return registers(server, me), ()
        case At.UNPACKS:
            return unpacks(server, me), ()
        case At.APPENDS:
            return appends(server, me)
        case At.QUEUES:
            return queues(server, me), ()
        case At.ASKS:
            return asks(server, me), ()
        case At.WAKES:
            return looks_who_waits(server, me), ()
        case At.LOOKS:
            return looks(server, me), ()
        case At.UNREGISTERS:
            return unregisters(server, me)
        case At.PUTS:
            return puts(server, me), ()
        case At.RINGS:
            return rings(server, me), ()
        case At.STIRS:
            return stirs(server, me), ()
        case At.WRITES:
            return writes(server, me), ()
        case At.EXPIRES:
            return expires(server, me), ()
        case At.ENTERS:
            return enters(server, me), ()
        case At.KEEPS:
            return keeps(server, me), ()
        case At.HUNGERS:
            return hungers(server, me), ()
        case At.GIVES:
            return gives(server, me), ()
        case At.CALLS:
            return calls(server, me)
        case At.LOOKS_AGAIN:
            return looks_again(server, me), ()
        case At.HOPES:
            return hopes(server, me), ()
        case At.FEEDS:
            return feeds(server, me), ()
        case At.SLEEPS:
            return wakes_up(server, me), ()
        case At.EMPTIES:
            return empties(server, me)
        case At.NOTES:
            return notes(server, me), ()
        case At.SYNCS:
            return syncs(server, me), ()
        case At.RAISES:
            return raises(server, me), ()
        case At.DELETES:
            return deletes(server, me), ()


def with_thread(server: Server, me: int, **changes: object) -> Server:
    """The thread is another."""
    return changed(server, threads=put(server.threads, me, changed(server.threads[me], **changes)))


def with_partition(server: Server, number: int, **changes: object) -> Server:
    """The partition is another."""
    return changed(server, partitions=put(server.partitions, number, changed(server.partitions[number], **changes)))


def with_connection(server: Server, number: int, **changes: object) -> Server:
    """The connection is another."""
    return changed(server, connections=put(server.connections, number, changed(server.connections[number], **changes)))


def with_inbox(server: Server, me: int, **changes: object) -> Server:
    """The inbox is another."""
    return changed(server, inboxes=put(server.inboxes, me, changed(server.inboxes[me], **changes)))


def put(many: tuple[T, ...], at: int, one: T) -> tuple[T, ...]:
    """The tuple with one element replaced."""
    return (*many[:at], one, *many[at + 1 :])


# Requests


def begins(server: Server, me: int, connection: int) -> Server:
    """The next request of a connection, if there is room for more than what can be done at once."""
    server = with_thread(server, me, connection=connection)
    return with_thread(server, me, at=At.ENTERS) if server.cast.room else reads_frame(server, me)


def reads_frame(server: Server, me: int) -> Server:
    """The frame is read, or the first part of it."""
    connection = server.threads[me].connection
    server = with_connection(server, connection, begun=server.connections[connection].begun + 1, status=Status.BUSY)
    match request_of(server, connection):
        case Fetch():
            return takes_table(server, me, At.FETCHES)
        case Produce(is_packed=is_packed):
            return takes_table(server, me, At.UNPACKS if is_packed else At.APPENDS)
        case Ask():
            return with_thread(server, me, at=At.ASKS)
        case Long():
            return with_thread(server, me, at=At.KEEPS)


@rule("THREAD-LOCK-1")
def takes_table(server: Server, me: int, then: At) -> Server:
    """The table comes before every other lock. Where nobody writes it, its lock holds up nobody, and is not told of."""
    server = with_thread(server, me, at=At.TABLE, then=then)
    return server if server.cast.deleted else after_table(server, me)


@rule("THREAD-LOCK-2")
def after_table(server: Server, me: int) -> Server:
    """The partitions are looked up; as long as the table is held, none is taken out of it."""
    missing = frozenset(number for number, one in enumerate(server.partitions) if not one.is_there)
    return with_thread(server, me, at=server.threads[me].then, missing=missing)


def holding_table(server: Server, me: int) -> Server:
    """The table is taken for reading."""
    return changed(server, readers=server.readers | {me})


def without_table(server: Server, me: int) -> Server:
    """It is let go."""
    return changed(server, readers=server.readers - {me})


def rests(server: Server, me: int) -> Server:
    """Nothing is in hand any more: the table is let go, and whoever was left something is rung for."""
    thread = server.threads[me]
    at = At.RINGS if thread.rings else At.READY
    left = Thread(at, rings=thread.rings, hungry=thread.hungry, done=thread.done, dropped=thread.dropped)
    return without_table(changed(server, threads=put(server.threads, me, left)), me)


def answer_of(server: Server, connection: int) -> Answer:
    """An answer to the last request that was begun."""
    here = server.connections[connection]
    return Answer(connection, here.life, here.begun - 1)


@rule("THREAD-CONN-2")
def delivered(server: Server, answer: Answer) -> Done:
    """The thread of a connection has an answer for it in hand. If that client is gone, it is for nobody, whoever has its place now."""
    here = server.connections[answer.connection]
    if here.is_gone or here.life != answer.life:
        return let_go(server, answer.places), ()
    status = Status.SENDING if answer.places else Status.READING
    sent = (*here.sent, answer.number)
    return with_connection(server, answer.connection, sent=sent, status=status, places=answer.places), (answer,)


def has_sent(server: Server, connection: int) -> Server:
    """All of an answer is on its way to the client."""
    server = let_go(server, server.connections[connection].places)
    return with_connection(server, connection, status=Status.READING, places=())


def leaves(server: Server, me: int, connection: int) -> Server:
    """A client is gone: what it waits for is taken back, what it was sent is let go. An answer that is on its way will find nobody."""
    server = with_connection(server, connection, is_gone=True)
    here = server.connections[connection]
    if here.status is Status.PARKED:
        return with_thread(server, me, at=At.EXPIRES, connection=connection)
    if here.status is Status.PART:
        return with_thread(server, me, at=At.GIVES, connection=connection)
    if here.status is Status.HUNGRY:
        return with_thread(server, me, at=At.FEEDS, connection=connection)
    server = with_connection(let_go(server, here.places), connection, places=(), status=Status.READING)
    return with_thread(server, me, at=At.READY)


def follows(server: Server, connection: int) -> Server:
    """Another client has the place of one that is gone."""
    return changed(server, connections=put(server.connections, connection, Connection(server.connections[connection].life + 1)))


# Files


def referenced(server: Server, place: Place) -> Server:
    """One more holds the file."""
    number, offset = place
    files = server.partitions[number].files
    return with_partition(server, number, files=put(files, offset, changed(files[offset], references=files[offset].references + 1)))


@rule("THREAD-FILE-2")
def let_go(server: Server, places: tuple[Place, ...]) -> Server:
    """The files are not needed any more. Who lets go of a dropped one last closes it."""
    for number, offset in places:
        files = server.partitions[number].files
        left = files[offset].references - 1
        file = changed(files[offset], references=left, is_open=left > 0 or not files[offset].is_dropped)
        server = with_partition(server, number, files=put(files, offset, file))
    return server


def without_file(files: tuple[File, ...], offset: int) -> tuple[File, ...]:
    """A file is taken out of the log, and closed if nobody holds it."""
    return put(files, offset, changed(files[offset], is_dropped=True, is_open=files[offset].references > 0))


def may_drop(server: Server) -> bool:
    """Is there a segment that retention may drop?"""
    here = server.partitions[0]
    return here.is_there and any(not file.is_dropped for file in here.files[: here.high_watermark])


def drops(server: Server, me: int) -> Server:
    """Under the partition's mutex: retention drops the oldest segment. Who waits is not told (LOG-FETCH-14)."""
    here = server.partitions[0]
    oldest = next(offset for offset, file in enumerate(here.files) if not file.is_dropped)
    server = with_partition(server, 0, files=without_file(here.files, oldest))
    return with_thread(server, me, dropped=server.threads[me].dropped + 1)


# A fetch


@rule("THREAD-FILE-1", "THREAD-WAIT-7")
def read(server: Server, me: int, partition: int, offset: int) -> Server:
    """Under the partition's mutex: the high watermark, and a reference of the file that holds the offset."""
    here, thread = server.partitions[partition], server.threads[me]
    is_dropped = offset < len(here.files) and here.files[offset].is_dropped
    mark = GONE if partition in thread.missing or is_dropped else here.high_watermark
    server = with_thread(server, me, seen=(*thread.seen, mark))
    if not here.files or mark <= offset:
        return server
    return with_thread(referenced(server, (partition, offset)), me, places=(*thread.places, (partition, offset)))


def is_satisfied(fetch: Fetch, seen: tuple[int, ...]) -> bool:
    """Is it answered now? There is enough, or something to be told."""
    return GONE in seen or sum(max(0, mark - offset) for mark, (_, offset) in zip(seen, fetch.offsets, strict=True)) >= fetch.least


def reads(server: Server, me: int) -> Done:
    """The marks of one partition; behind the last, the fetch is answered, or has to wait."""
    thread = server.threads[me]
    fetch = fetch_of(server, thread.connection)
    server = read(server, me, *fetch.offsets[len(thread.seen)])
    thread = server.threads[me]
    if len(thread.seen) < len(fetch.offsets):
        return server, ()
    if is_satisfied(fetch, thread.seen):
        server, answers = delivered(server, changed(answer_of(server, thread.connection), marks=thread.seen, places=thread.places))
        return rests(changed(server, fetches_held_by=None), me), answers
    return with_thread(let_go(server, thread.places), me, seen=(), places=(), at=At.REGISTERS), ()


@rule("THREAD-WAIT-1")
def registers(server: Server, me: int) -> Server:
    """Under the partition's mutex: it is told that somebody waits, and read again. Who raises its mark from now on, sees that."""
    thread = server.threads[me]
    fetch = fetch_of(server, thread.connection)
    partition, offset = fetch.offsets[len(thread.seen)]
    return registered(read(watched(server, partition, 1), me, partition, offset), me)


def registered(server: Server, me: int) -> Server:
    """One partition more is told; behind the last, the fetch is parked, unless there is enough by now."""
    thread = server.threads[me]
    fetch = fetch_of(server, thread.connection)
    if len(thread.seen) < len(fetch.offsets):
        return server
    if is_satisfied(fetch, thread.seen):
        return with_thread(server, me, at=At.UNREGISTERS, waiting=(thread.connection,))
    server = with_connection(let_go(server, thread.places), thread.connection, status=Status.PARKED)
    return rests(changed(server, fetches_held_by=None), me)


def watched(server: Server, partition: int, by: int) -> Server:
    """Under the partition's mutex: so many more wait for it."""
    return with_partition(server, partition, watchers=server.partitions[partition].watchers + by)


@rule("THREAD-WAIT-4")
def unregisters(server: Server, me: int) -> Done:
    """One partition is told that the first of those in hand does not wait any more; behind the last, that one is answered."""
    thread = server.threads[me]
    connection = thread.waiting[0]
    fetch = fetch_of(server, connection)
    server = watched(server, fetch.offsets[thread.undone][0], -1)
    if thread.undone + 1 < len(fetch.offsets):
        return with_thread(server, me, undone=thread.undone + 1), ()
    answer = changed(answer_of(server, connection), marks=thread.seen, places=thread.places)
    server = with_connection(server, connection, status=Status.AWAITED)
    if server.cast.owners[connection] != me:
        return with_thread(server, me, at=At.PUTS, answers=(answer,)), ()
    server, answers = delivered(server, answer)
    return looks_at_next(server, me), answers


@rule("THREAD-WAIT-5")
def expires(server: Server, me: int) -> Server:
    """With the mutex of fetches taken: if the fetch still waits, it is answered as it is. If not, somebody answers it already."""
    connection = server.threads[me].connection
    if server.connections[connection].status is not Status.PARKED:
        return rests(server, me)
    return with_thread(changed(server, fetches_held_by=me), me, at=At.UNREGISTERS, waiting=(connection,))


# Who waits


@rule("THREAD-WAIT-3")
def looks_who_waits(server: Server, me: int) -> Server:
    """With the mutex of fetches taken: all that wait for one of the partitions are looked at."""
    thread = server.threads[me]
    waiting = tuple(number for number, here in enumerate(server.connections) if here.status is Status.PARKED and waits_for(server, number, thread.about))
    server = with_thread(changed(server, fetches_held_by=me), me, then=At.LOOKS, waiting=waiting)
    return after_table(server, me) if waiting else lets_fetches_go(server, me)


def waits_for(server: Server, connection: int, partitions: frozenset[int]) -> bool:
    """Does the fetch that is parked there ask for one of these?"""
    return any(partition in partitions for partition, _ in fetch_of(server, connection).offsets)


def looks(server: Server, me: int) -> Server:
    """The marks of one partition, for the first of those in hand."""
    thread = server.threads[me]
    fetch = fetch_of(server, thread.waiting[0])
    server = read(server, me, *fetch.offsets[len(thread.seen)])
    thread = server.threads[me]
    if len(thread.seen) < len(fetch.offsets):
        return server
    if is_satisfied(fetch, thread.seen):
        return with_thread(server, me, at=At.UNREGISTERS)
    return looks_at_next(let_go(server, thread.places), me)


def looks_at_next(server: Server, me: int) -> Server:
    """With the first of those in hand it is done."""
    waiting = server.threads[me].waiting[1:]
    server = with_thread(server, me, at=At.LOOKS, waiting=waiting, seen=(), places=(), undone=0)
    return server if waiting else lets_fetches_go(server, me)


def lets_fetches_go(server: Server, me: int) -> Server:
    """The mutex of fetches is let go; what it was taken for is done."""
    server = changed(server, fetches_held_by=None)
    return answers_jobs(server, me) if server.cast.threads[me] is Kind.FLUSHER else rests(server, me)


def puts(server: Server, me: int) -> Server:
    """Under the inbox's mutex: one answer, for the thread of its connection."""
    thread = server.threads[me]
    answer, *others = thread.answers
    server = left_for(server, me, server.cast.owners[answer.connection], answer)
    server = with_thread(server, me, answers=tuple(others))
    if others:
        return server
    return looks_at_next(server, me) if server.fetches_held_by == me else rests(server, me)


# A produce


@rule("THREAD-LOCK-4")
def unpacks(server: Server, me: int) -> Server:
    """Without any lock. Then the table is taken, and the partition looked up again, which may be gone."""
    return takes_table(without_table(server, me), me, At.APPENDS)


@rule("THREAD-WAIT-2")
def appends(server: Server, me: int) -> Done:
    """Under the partition's mutex: append, raise the high watermark if the policy lets, and see whether anybody waits."""
    connection = server.threads[me].connection
    asked = request_of(server, connection)
    assert isinstance(asked, Produce)
    number, here, answer = asked.partition, server.partitions[asked.partition], answer_of(server, connection)
    if number in server.threads[me].missing or server.is_offline:
        server, answers = delivered(server, changed(answer, is_good=False))
        return rests(server, me), answers
    answer = changed(answer, marks=(here.end + 1,))
    server = with_partition(server, number, end=here.end + 1, files=(*here.files, File()) if server.cast.dropped else ())
    if server.cast.commits:
        return with_thread(server, me, at=At.QUEUES, jobs=(Job(answer, number),)), ()
    server, answers = delivered(with_partition(server, number, high_watermark=here.end + 1), answer)
    if not here.watchers:
        return rests(server, me), answers
    return with_thread(server, me, at=At.WAKES, about=frozenset((number,))), answers


def queues(server: Server, me: int) -> Server:
    """Under the queue's mutex: the flusher answers when it is on the disk."""
    thread = server.threads[me]
    server = with_connection(server, thread.connection, status=Status.AWAITED)
    return rests(changed(server, queue=(*server.queue, *thread.jobs)), me)


# The flusher


def dirty(thread: Thread) -> list[int]:
    """The partitions of the jobs in hand, each once."""
    return sorted({job.partition for job in thread.jobs})


def takes_jobs(server: Server, me: int) -> Server:
    """Under the queue's mutex: all that there are."""
    return takes_table(with_thread(changed(server, queue=()), me, jobs=server.queue), me, At.NOTES)


@rule("THREAD-LOCK-3")
def notes(server: Server, me: int) -> Server:
    """Under the partition's mutex: how far its log goes, and which files are not on the disk. Behind the last, no lock is held any more."""
    thread = server.threads[me]
    partition = dirty(thread)[len(thread.noted)]
    end = GONE if partition in thread.missing else server.partitions[partition].end
    noted = (*thread.noted, (partition, end))
    if len(noted) < len(dirty(thread)):
        return with_thread(server, me, noted=noted)
    return with_thread(without_table(server, me), me, noted=noted, at=At.SYNCS)


@rule("THREAD-COMMIT-4")
def syncs(server: Server, me: int) -> Server:
    """Under the disk's mutex: what was noted is on the disk then; unless a flush has failed: then it is not tried."""
    return fails(server, me) if server.is_offline else takes_table(flushed(server, me), me, At.RAISES)


def flushed(server: Server, me: int) -> Server:
    """What the system makes of it. What was appended since may lie in another file; where a flush has failed, nothing more gets to the disk."""
    for partition, end in server.threads[me].noted:
        if not server.is_offline:
            server = with_partition(server, partition, synced=max(server.partitions[partition].synced, end))
    return server


@rule("THREAD-COMMIT-3")
def fails(server: Server, me: int) -> Server:
    """Under the disk's mutex: the log directory is offline, before anybody is told that the flush failed."""
    return answers_jobs(with_thread(changed(server, is_offline=True), me, has_failed=True), me)


@rule("THREAD-COMMIT-1", "THREAD-WAIT-2")
def raises(server: Server, me: int) -> Server:
    """Under the partition's mutex: the high watermark rises to the end that was noted before the flush, and whether anybody waits is seen."""
    thread = server.threads[me]
    partition, end = thread.noted[thread.undone]
    here, about = server.partitions[partition], thread.about
    if partition not in thread.missing:
        server = with_partition(server, partition, high_watermark=max(here.high_watermark, end))
        about = about | {partition} if here.watchers else about
    server = with_thread(server, me, undone=thread.undone + 1, about=about)
    if thread.undone + 1 < len(thread.noted):
        return server
    return with_thread(server, me, at=At.WAKES, undone=0) if about else answers_jobs(server, me)


@rule("THREAD-COMMIT-2")
def answers_jobs(server: Server, me: int) -> Server:
    """The jobs that were taken before the flush are answered: well, unless it failed, or their partition was gone before."""
    thread = server.threads[me]
    ends = dict(thread.noted)
    answers = tuple(changed(job.answer, is_good=not thread.has_failed and ends[job.partition] != GONE) for job in thread.jobs)
    return with_thread(server, me, at=At.PUTS, answers=answers)


# Room


def has_room(server: Server) -> bool:
    """Atomic: may more be kept? Several may find the last room, and all take it."""
    return server.kept < server.cast.room


def enters(server: Server, me: int) -> Server:
    """Where there is no room nobody is read, who might have sent but a part."""
    return reads_frame(server, me) if has_room(server) else with_thread(server, me, at=At.HUNGERS)


def keeps(server: Server, me: int) -> Server:
    """Atomic: so much more is kept."""
    server = with_connection(server, server.threads[me].connection, status=Status.PART)
    return rests(changed(server, kept=server.kept + 1), me)


@rule("THREAD-ROOM-1")
def hungers(server: Server, me: int) -> Server:
    """Atomic: one more waits for room. From now on whoever gives some back rings for all that sleep."""
    thread = server.threads[me]
    server = with_connection(changed(server, hungry=server.hungry + 1), thread.connection, status=Status.HUNGRY)
    return rests(with_thread(server, me, hungry=(*thread.hungry, thread.connection)), me)


@rule("THREAD-ROOM-3")
def gives(server: Server, me: int) -> Server:
    """Atomic: what a request took is given back, when all of it is there, or its client is gone."""
    return with_thread(changed(server, kept=server.kept - 1), me, at=At.CALLS, left=server.kept - 1)


@rule("THREAD-ROOM-2")
def calls(server: Server, me: int) -> Done:
    """Atomic, after it was given back: does anybody wait for room, if there is some now? Then all I/O threads are rung for, as far as they sleep."""
    thread = server.threads[me]
    server, answers = delivered(with_connection(server, thread.connection, status=Status.READING), answer_of(server, thread.connection))
    if server.hungry and thread.left < server.cast.room:
        server = with_thread(server, me, rings=tuple(number for number, kind in enumerate(server.cast.threads) if kind is Kind.IO))
    return rests(server, me), answers


@rule("THREAD-ROOM-1")
def hopes(server: Server, me: int) -> Server:
    """Atomic, having said that it sleeps: is there room for the first of those that wait for it?"""
    if not has_room(server):
        return with_thread(server, me, at=At.SLEEPS)
    return with_thread(awake(server, me), me, at=At.FEEDS, connection=server.threads[me].hungry[0])


@rule("THREAD-ROOM-3")
def feeds(server: Server, me: int) -> Server:
    """Atomic: one less waits for room. It is read, if there is some still, and if it is still there."""
    thread = server.threads[me]
    hungry = tuple(number for number in thread.hungry if number != thread.connection)
    server = with_connection(changed(server, hungry=server.hungry - 1), thread.connection, status=Status.READING)
    server = with_thread(server, me, hungry=hungry)
    return rests(server, me) if server.connections[thread.connection].is_gone else with_thread(server, me, at=At.ENTERS)


# The control plane


def asks(server: Server, me: int) -> Server:
    """Under the mutex of the control plane's inbox: a request for it."""
    connection = server.threads[me].connection
    server = with_connection(server, connection, status=Status.AWAITED)
    return rests(left_for(server, me, server.cast.threads.index(Kind.CONTROL), answer_of(server, connection)), me)


@rule("THREAD-WAIT-6")
def deletes(server: Server, me: int) -> Server:
    """With the table taken for writing: the partition is taken out. When it is let go, those that wait for it are looked at."""
    thread = server.threads[me]
    partition = server.cast.deleted[thread.done]
    files = server.partitions[partition].files
    for offset in range(len(files)):
        files = without_file(files, offset)
    server = with_partition(changed(server, writer_waits=False), partition, is_there=False, files=files)
    return with_thread(server, me, at=At.WAKES, about=frozenset((partition,)), done=thread.done + 1)


# Sleep


def goes_to_work(server: Server, me: int) -> Done:
    """A thread with nothing in hand looks for something."""
    cast, thread = server.cast, server.threads[me]
    if cast.threads[me] is Kind.FLUSHER:
        return takes_jobs(server, me), ()
    if cast.threads[me] is Kind.CONTROL and thread.done < len(cast.deleted):
        return with_thread(changed(server, writer_waits=True), me, at=At.DELETES), ()
    if not cast.sleeps:
        return empties(server, me)
    return with_thread(with_inbox(server, me, is_asleep=True), me, at=At.LOOKS_AGAIN), ()


@rule("THREAD-INBOX-1")
def looks_again(server: Server, me: int) -> Server:
    """Under the inbox's mutex, having said that it sleeps: is it empty still?"""
    if server.inboxes[me].items:
        return with_thread(awake(server, me), me, at=At.EMPTIES)
    return with_thread(server, me, at=At.HOPES if server.threads[me].hungry else At.SLEEPS)


def awake(server: Server, me: int) -> Server:
    """It does not sleep, as far as others see."""
    return with_inbox(server, me, is_asleep=False)


def wakes_up(server: Server, me: int) -> Server:
    """Something is there to be read; the eventfd is emptied."""
    return with_thread(with_inbox(server, me, is_asleep=False, is_rung=False), me, at=At.EMPTIES)


def empties(server: Server, me: int) -> Done:
    """Under the inbox's mutex: all that others have left. The control plane answers it, an I/O thread sends it."""
    items = server.inboxes[me].items
    server = with_thread(with_inbox(server, me, items=()), me, at=At.READY)
    if server.cast.threads[me] is Kind.CONTROL:
        return (with_thread(server, me, at=At.PUTS, answers=items) if items else server), ()
    given: list[Answer] = []
    for item in items:
        server, answers = delivered(server, item)
        given += answers
    return server, tuple(given)


def left_for(server: Server, me: int, other: int, item: Answer) -> Server:
    """Under the inbox's mutex: something for another thread, which has to be rung for then, if threads sleep."""
    known = server.threads[me].rings
    server = with_inbox(server, other, items=(*server.inboxes[other].items, item))
    return with_thread(server, me, rings=(*known, other)) if server.cast.sleeps and other not in known else server


@rule("THREAD-INBOX-2")
def rings(server: Server, me: int) -> Server:
    """Atomic, after its inbox was filled: does the other say that it sleeps?"""
    first = server.threads[me].rings[0]
    return with_thread(server, me, at=At.STIRS) if server.inboxes[first].is_asleep else rings_next(server, me)


def stirs(server: Server, me: int) -> Server:
    """Atomic: the others need not ring too."""
    return with_thread(awake(server, server.threads[me].rings[0]), me, at=At.WRITES)


def writes(server: Server, me: int) -> Server:
    """The eventfd of a thread that said that it sleeps."""
    return rings_next(with_inbox(server, server.threads[me].rings[0], is_rung=True), me)


def rings_next(server: Server, me: int) -> Server:
    """With the first it is done."""
    left = server.threads[me].rings[1:]
    return with_thread(server, me, rings=left, at=At.RINGS if left else At.READY)
