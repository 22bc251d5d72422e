"""What stands in the requests of a story for what only one broker can know: names, ids, its clock; and records, described.

So one story can be asked of the oracle and of any broker, at any time, and told in words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import attrs

from fiducial.conformance import batches
from fiducial.conformance.batches import CODECS, Item
from fiducial.models import messages as m
from fiducial.models.apis import APIS
from fiducial.models.errors import Error
from fiducial.models.values import value

#: No topic has this id.
UNKNOWN_ID = b"\x01" * 16
#: Producers that nobody was given are numbered from here.
STRANGE_PRODUCER = 700_000
#: Nobody was given a fetch session of this id: they are drawn by chance from 2^31.
STRANGE_SESSION = 1
#: No member has this id.
STRANGE_MEMBER = "nobody"
HOUR_MS = 3_600_000


@dataclass
class View:
    """What one broker goes by and gave out: the same symbol means the same thing in every broker's view."""

    begun_ms: int
    names: dict[str, str] = field(default_factory=dict)  # what a story calls a topic -> its name
    topic_ids: dict[str, bytes] = field(default_factory=dict)  # what a story calls a topic -> its id
    producer_ids: list[int] = field(default_factory=list)  # in the order in which they were given
    sessions: list[int] = field(default_factory=list)  # of fetches, likewise
    epochs: dict[int, int] = field(default_factory=dict)  # of each session the epoch that its next request must carry
    old_ids: dict[bytes, str] = field(default_factory=dict)  # ids of topics that are gone -> what a story called them
    groups: dict[str, str] = field(default_factory=dict)  # what a story calls a group -> its id
    members: list[str] = field(default_factory=list)  # ids, in the order in which they were given
    generation: int = 0  # the last that was told
    first_generation: int = 0  # the one in which the group of a story is found; 0, if the story makes it
    shortest_session_ms: int = 6_000  # that a member may have
    first_epoch: int = 0  # of the leader, in which the topics of a story begin
    node_id: int = 1  # the broker's own
    host: str = ""
    port: int = -1
    versions: dict[int, Sequence[int]] = field(default_factory=dict)  # of each API, where those that the broker serves are known
    awaited: set[str] = field(default_factory=set)  # topics that may be in the making
    is_shared: bool = False  # others have topics there too
    advertised: Mapping[int, tuple[int, int]] = field(default_factory=dict)  # by API key, the versions that it says it serves
    is_about_versions: bool = False  # whether Produce is said to be served from 0 on is what a story is about

    def newest(self, api_key: int) -> int:
        """The newest version of an API that both know."""
        return self.versions[api_key][-1] if api_key in self.versions else APIS[api_key].max_version

    def has_given(self, message: Any) -> None:
        """Note the id that an answer gives out, if it gives one."""
        match message:
            case m.InitProducerIdResponse(error_code=Error.NONE):
                self.producer_ids.append(message.producer_id)
            case m.FetchResponse(error_code=Error.NONE, session_id=session) if session:
                if session not in self.sessions:
                    self.sessions.append(session)
                self.epochs[session] = self.epochs.get(session, 0) + 1
            case m.JoinGroupResponse(error_code=Error.NONE | Error.MEMBER_ID_REQUIRED):
                if message.member_id not in self.members:
                    self.members.append(message.member_id)
                if message.error_code == Error.NONE:
                    self.generation = message.generation_id
            case _:
                pass

    def has_founded(self, members: Sequence[str], generation: int) -> None:
        """Note the members of a group that a story finds, if there are any, and its generation."""
        self.members += members
        if members:
            self.generation = self.first_generation = generation

    def has_lost(self, topic: str) -> None:
        """Note that a topic is gone; its id is still known."""
        self.old_ids[self.topic_ids.pop(topic)] = topic


class Symbol:
    """Stands in a request for what a broker knows."""

    def spoken(self, view: View) -> Any:
        """What is sent to the broker."""
        raise NotImplementedError


@value
class Name(Symbol):
    """A topic by its name."""

    topic: str

    def spoken(self, view: View) -> str:
        return view.names.get(self.topic, self.topic)

    def __str__(self) -> str:
        return self.topic


@value
class IdOf(Symbol):
    """A topic by its id; one that no topic has, if there is none of this name."""

    topic: str

    def spoken(self, view: View) -> bytes:
        return view.topic_ids.get(self.topic, UNKNOWN_ID)

    def __str__(self) -> str:
        return f"id of {self.topic}"


@value
class OldIdOf(Symbol):
    """The id that a topic had before it went."""

    topic: str

    def spoken(self, view: View) -> bytes:
        return next((known for known, topic in reversed(view.old_ids.items()) if topic == self.topic), UNKNOWN_ID)

    def __str__(self) -> str:
        return f"old id of {self.topic}"


@value
class Node(Symbol):
    """The broker's own id, or another that no broker has."""

    beside: int = 0

    def spoken(self, view: View) -> int:
        return view.node_id + self.beside

    def __str__(self) -> str:
        return f"its id{f' and {self.beside}' if self.beside else ''}"


@value
class NodeName(Symbol):
    """The same, as the name of a resource."""

    beside: int = 0

    def spoken(self, view: View) -> str:
        return str(view.node_id + self.beside)

    def __str__(self) -> str:
        return str(Node(self.beside))


@value
class SessionId(Symbol):
    """A fetch session, by the order in which they were begun, a negative number counted from the newest; a strange one, if there were not so many."""

    number: int = 0

    def spoken(self, view: View) -> int:
        there = len(view.sessions)
        return view.sessions[self.number] if -there <= self.number < there else STRANGE_SESSION

    def __str__(self) -> str:
        return f"session {self.number}"


@value
class SessionEpoch(Symbol):
    """The epoch that a session expects next, or one beside it."""

    number: int = 0
    skew: int = 0

    def spoken(self, view: View) -> int:
        return view.epochs.get(SessionId(self.number).spoken(view), 1) + self.skew

    def __str__(self) -> str:
        return f"next{self.skew:+d}" if self.skew else "next"


@value
class Epoch(Symbol):
    """A leader epoch, counted from the one in which the topics of a story begin."""

    number: int

    def spoken(self, view: View) -> int:
        return view.first_epoch + self.number

    def __str__(self) -> str:
        return str(self.number)


@value
class GroupId(Symbol):
    """A group by what a story calls it."""

    group: str = "g"

    def spoken(self, view: View) -> str:
        return view.groups.get(self.group, self.group)

    def __str__(self) -> str:
        return self.group


@value
class Member(Symbol):
    """A member, by the order in which ids were given; a strange one, if there were not so many."""

    number: int = 0

    def spoken(self, view: View) -> str:
        return view.members[self.number] if self.number < len(view.members) else STRANGE_MEMBER

    def __str__(self) -> str:
        return f"member {self.number}"


@value
class Generation(Symbol):
    """The generation that was told last, or one beside it."""

    skew: int = 0

    def spoken(self, view: View) -> int:
        return view.generation + self.skew

    def __str__(self) -> str:
        return f"the last{self.skew:+d}" if self.skew else "the last"


@value
class Session(Symbol):
    """The shortest session timeout that a member may have, and so much more, in ms."""

    beside_ms: int = 0

    def spoken(self, view: View) -> int:
        return view.shortest_session_ms + self.beside_ms

    def __str__(self) -> str:
        return f"the shortest{self.beside_ms:+d}" if self.beside_ms else "the shortest"


@value
class Subscription(Symbol):
    """What a consumer says of itself: the topics that it reads."""

    topics: tuple[str, ...] = ()
    behind: bytes = b"\xff\xff\xff\xff"  # its user data: none

    def spoken(self, view: View) -> bytes:
        names = [view.names.get(topic, topic).encode() for topic in self.topics]
        return b"".join((b"\0\0", len(names).to_bytes(4), *(len(name).to_bytes(2) + name for name in names), self.behind))

    def __str__(self) -> str:
        return f"reads {', '.join(self.topics) or 'nothing'}{'' if self.behind == Subscription().behind else ', and what is odd behind it'}"


@value
class Ago(Symbol):
    """A time, in ms before the story began. What is within half an hour of now is taken for the broker's own time (see `abstraction`)."""

    ms: int = HOUR_MS

    def spoken(self, view: View) -> int:
        return view.begun_ms - self.ms

    def __str__(self) -> str:
        return f"{self.ms} ms ago" if self.ms >= 0 else f"{-self.ms} ms ahead"


@value
class Record:
    """One record."""

    timestamp: int | Ago = Ago()
    key: bytes | None = b"k"
    content: bytes | None = b"v"
    headers: tuple[tuple[bytes, bytes | None], ...] = ()

    def item(self, view: View) -> Item:
        """With the time of a broker."""
        return Item(spoken(self.timestamp, view), self.key, self.content, self.headers)


@value
class Batch:
    """One batch of records, perhaps with a fault (see `batches`); the producer by the order in which ids were given, or a negative id."""

    records: tuple[Record, ...] = (Record(),)
    codec: int = 0
    producer: int | None = None
    epoch: int = 0
    sequence: int = 0
    fault: str = ""
    repeat: int = 1  # how often the records stand in it

    def data(self, view: View) -> bytes:
        """The bytes for a broker."""
        how: dict[str, Any] = {"codec": self.codec} if self.codec else {}
        if self.producer is not None:
            how["producer"] = self.producer_id(view, self.producer), self.epoch, self.sequence
        return batches.faulty([record.item(view) for record in self.records] * self.repeat, self.fault, **how)

    @staticmethod
    def producer_id(view: View, producer: int) -> int:
        """The id of a producer; of one that was not given any, a strange one."""
        if 0 <= producer < len(view.producer_ids):
            return view.producer_ids[producer]
        return producer if producer < 0 else STRANGE_PRODUCER + producer

    def __str__(self) -> str:
        count = len(self.records) * self.repeat
        parts = [f"{count} record{'s' if count != 1 else ''}", CODECS[self.codec]]
        if self.producer is not None:
            parts.append(f"producer {self.producer} epoch {self.epoch} sequence {self.sequence}")
        return ", ".join(part for part in (*parts, self.fault, *self.oddities()) if part)

    def oddities(self) -> Iterator[str]:
        """What is worth telling of the records."""
        plain = Record()
        if any(record.timestamp != plain.timestamp for record in self.records):
            yield f"of {', '.join(words(record.timestamp) for record in self.records)}"
        if any(record.key is None for record in self.records):
            yield "some without a key"
        if (size := max((len(record.content or b"") for record in self.records), default=0)) > 1:
            yield f"up to {size} bytes each"


@value
class Records(Symbol):
    """The records of one partition: batches, and bytes that follow them."""

    batches: tuple[Batch, ...] = (Batch(),)
    behind: bytes = b""
    cut: int | None = None  # only so many of the bytes

    def spoken(self, view: View) -> bytes:
        return (b"".join(batch.data(view) for batch in self.batches) + self.behind)[: self.cut]

    def __str__(self) -> str:
        told = " and then ".join(map(str, self.batches)) or "no batch"
        told += f", and behind it {words(self.behind)}" if self.behind else ""
        return f"({told})" if self.cut is None else f"({self.cut} bytes of {told})"


def counted(epoch: int) -> Any:
    """A leader epoch in a request; a negative one is none, or no epoch, anywhere."""
    return Epoch(epoch) if epoch >= 0 else epoch


# Speaking, and telling


def spoken(body: Any, view: View) -> Any:
    """A request with every symbol replaced by what it stands for."""
    if isinstance(body, Symbol):
        return body.spoken(view)
    if isinstance(body, tuple):
        return tuple([spoken(one, view) for one in body])
    if attrs.has(type(body)):
        return type(body)(*[spoken(getattr(body, one.name), view) for one in attrs.fields(type(body))])
    return body


LONG_TEXT, LONG_BYTES = 60, 16
ERROR_NAMES = {int(error): error.name for error in Error}


def words(body: Any) -> str:
    """A request or an answer in a line: the fields that have not their default."""
    if isinstance(body, Symbol):
        return str(body)
    if isinstance(body, tuple):
        return "[" + ", ".join(words(one) for one in body) + "]"
    if isinstance(body, bytes):
        return body.hex() if len(body) <= LONG_BYTES else f"{body[:LONG_BYTES].hex()}… ({len(body)} bytes)"
    if attrs.has(type(body)):
        told = [
            f"{one.name} {error_name(getattr(body, one.name)) if one.name == 'error_code' else words(getattr(body, one.name))}"
            for one in attrs.fields(type(body))
            if getattr(body, one.name) != one.default and not is_said(body, one.name)
        ]
        return told[0] if len(told) == 1 else "{" + ", ".join(told) + "}"
    text = str(body)
    return f"{text[:LONG_TEXT]}…" if len(text) > LONG_TEXT else text or "''"


def error_name(code: int) -> str:
    """An error code in words."""
    return ERROR_NAMES.get(code) or f"error {code}"


def is_said(body: Any, name: str) -> bool:
    """Is it the id of the topic that is named beside it?"""
    told = getattr(body, name)
    return isinstance(told, IdOf) and Name(told.topic) in (getattr(body, "name", None), getattr(body, "topic", None))
