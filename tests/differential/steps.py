"""A step of a history as data: one request, in which symbols stand for what only a target can know (ids, sessions, its clock).

So the same step means the same on every target and at any time; it can be told in a line, and made simpler one field at a time.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

import attrs

from differential.encode import Item, encoded, with_magic
from differential.targets import View, framed, request_frame
from fiducial.models import messages as m
from fiducial.models.apis import APIS
from fiducial.models.values import changed, value

KEYS = {api.request: api.key for api in APIS.values()}
#: No topic has this id.
UNKNOWN_ID = b"\x01" * 16
#: Producers that no target has given out are numbered from here.
STRANGE_PRODUCER = 700_000


class Symbol:
    """Stands in a request for what a target knows."""

    def spoken(self, view: View) -> Any:
        """What is sent to the target."""
        raise NotImplementedError


@value
class IdOf(Symbol):
    """The id of a topic; `ago` > 0: one that a topic deleted earlier had."""

    name: str
    ago: int = 0

    def spoken(self, view: View) -> bytes:
        if self.ago:
            return view.old_ids[-self.ago] if self.ago <= len(view.old_ids) else UNKNOWN_ID
        return view.topic_ids.get(self.name, UNKNOWN_ID)

    def __str__(self) -> str:
        return f"the {self.ago}. last old id" if self.ago else f"id of {self.name}"


@value
class SessionId(Symbol):
    """A session by its age, 0 for the newest."""

    age: int = 0

    def spoken(self, view: View) -> int:
        return view.sessions[-1 - self.age].id if self.age < len(view.sessions) else 0

    def __str__(self) -> str:
        return f"session {self.age} back"


@value
class SessionEpoch(Symbol):
    """The epoch that the session expects, or one beside it."""

    age: int = 0
    skew: int = 0

    def spoken(self, view: View) -> int:
        return self.skew + (view.sessions[-1 - self.age].next_epoch if self.age < len(view.sessions) else 1)

    def __str__(self) -> str:
        return f"next{self.skew:+d}" if self.skew else "next"


@value
class Ago(Symbol):
    """A time, in ms before the history began."""

    ms: int

    def spoken(self, view: View) -> int:
        return view.begun_ms - self.ms

    def __str__(self) -> str:
        return f"{self.ms} ms ago"


# Records

Fault = Callable[[int], dict[str, Any]]

#: What can be wrong with a batch of n records, or odd about it: arguments of `encoded`.
FAULTS: dict[str, Fault] = {
    "base offset 1": lambda n: {"base_offset": 1},
    "wrong checksum": lambda n: {"spoil_checksum": True},
    "count one more": lambda n: {"count": n + 1},
    "count and delta one more": lambda n: {"count": n + 1, "last_offset_delta": n},
    "count and delta one less": lambda n: {"count": n - 1, "last_offset_delta": n - 2},
    "delta one more": lambda n: {"last_offset_delta": n},
    "count 0": lambda n: {"count": 0, "last_offset_delta": -1},
    "count below 0": lambda n: {"count": -5, "last_offset_delta": -6},
    "control bit": lambda n: {"attributes": 0x20},
    "append time bit": lambda n: {"attributes": 0x08},
    "transactional bit": lambda n: {"attributes": 0x10},
    "delete horizon bit": lambda n: {"attributes": 0x40},
    "unused bits": lambda n: {"attributes": 0x80},
    "attributes of the second byte": lambda n: {"attributes": 0x0100},
    "odd deltas": lambda n: {"deltas": [2 * index for index in range(n)]},
    "deltas from 1": lambda n: {"deltas": [index + 1 for index in range(n)]},
    "deltas backward": lambda n: {"deltas": list(reversed(range(n)))},
    "small max timestamp": lambda n: {"max_timestamp": 1},
    "large max timestamp": lambda n: {"max_timestamp": 2**62},
    "no max timestamp": lambda n: {"max_timestamp": -1},
    "append time bit, no max timestamp": lambda n: {"attributes": 0x08, "max_timestamp": -1},
    "append time bit, late": lambda n: {"attributes": 0x08, "max_timestamp": 1_500_000_000_000},
    "codec 5": lambda n: {"codec": 5, "garbage": b"\x00" * 20},
    "garbage": lambda n: {"garbage": b"\xff" * 30},
    "no records at all": lambda n: {"garbage": b""},
    "gzip of garbage": lambda n: {"codec": 1, "garbage": b"not gzip"},
    "snappy of garbage": lambda n: {"codec": 2, "garbage": b"not snappy"},
    "lz4 of garbage": lambda n: {"codec": 3, "garbage": b"not lz4"},
    "zstd of garbage": lambda n: {"codec": 4, "garbage": b"not zstd"},
    "bytes behind the records": lambda n: {"extra": b"\x00\x00\x00"},
}
#: What becomes of a batch that was encoded.
DISGUISES: dict[str, Callable[[bytes], bytes]] = {
    "magic 0": lambda data: with_magic(data, 0),
    "magic 1": lambda data: with_magic(data, 1),
    "magic 9": lambda data: with_magic(data, 9),
    "magic -1": lambda data: with_magic(data, -1),
    "length 13": lambda data: data[:8] + struct.pack(">i", 13) + data[12:],
    "length below 0": lambda data: data[:8] + struct.pack(">i", -1) + data[12:],
    "length one more": lambda data: data[:8] + struct.pack(">i", len(data) - 11) + data[12:],
    "header only": lambda data: data[:8] + struct.pack(">i", 40) + data[12:52],
    "leader epoch 3": lambda data: data[:12] + struct.pack(">i", 3) + data[16:],
}
CODECS = ("", "gzip", "snappy", "lz4", "zstd")


@value
class Record:
    """One record."""

    timestamp: int | Ago = Ago(10_000)
    key: bytes | None = b"k"
    content: bytes | None = b"v"
    headers: tuple[tuple[bytes, bytes | None], ...] = ()

    def packed(self, view: View) -> Item:
        """With the time of a target."""
        return Item(spoken(self.timestamp, view), self.key, self.content, self.headers)


@value
class Batch:
    """One batch of records; `producer` by order of appearance."""

    items: tuple[Record, ...] = (Record(),)
    codec: int = 0
    producer: int | None = None
    epoch: int = 0
    sequence: int = 0
    fault: str = ""
    repeat: int = 1  # how often the items stand in it

    def encoded(self, view: View) -> bytes:
        """The bytes for a target."""
        items = [item.packed(view) for item in self.items] * self.repeat
        how: dict[str, Any] = {"codec": self.codec}
        if self.fault in FAULTS:
            how |= FAULTS[self.fault](len(items))
        if self.producer is not None:
            known = view.producer_ids
            producer_id = known[self.producer] if 0 <= self.producer < len(known) else self.strange()
            how["producer"] = producer_id, self.epoch, self.sequence
        data = encoded(items, **how)
        return DISGUISES[self.fault](data) if self.fault in DISGUISES else data

    def strange(self) -> int:
        """A producer id that was not given out, or is none."""
        assert self.producer is not None
        return self.producer if self.producer < 0 else STRANGE_PRODUCER + self.producer

    def __str__(self) -> str:
        parts = [f"{len(self.items) * self.repeat} records", CODECS[self.codec]]
        if self.producer is not None:
            parts.append(f"producer {self.producer} epoch {self.epoch} sequence {self.sequence}")
        return ", ".join(part for part in (*parts, self.fault, *self.oddities()) if part)

    def oddities(self) -> Iterator[str]:
        """What is worth telling of the records."""
        plain = Record()
        if times := [words(item.timestamp) for item in self.items if item.timestamp != plain.timestamp]:
            yield f"of {', '.join(times)}"
        if any(item.key is None for item in self.items):
            yield "some without a key"
        size = max((len(item.content or b"") for item in self.items), default=0)
        if size > 1:
            yield f"up to {size} bytes each"


@value
class Records(Symbol):
    """The records of one partition: batches, and what follows them."""

    batches: tuple[Batch, ...] = (Batch(),)
    tail: str = ""

    def spoken(self, view: View) -> bytes:
        return b"".join(batch.encoded(view) for batch in self.batches) + TAILS[self.tail](view)

    def __str__(self) -> str:
        return "(" + " and then ".join([*map(str, self.batches), *([self.tail] if self.tail else [])]) + ")"


TAILS: dict[str, Callable[[View], bytes]] = {
    "": lambda view: b"",
    "the beginning of a batch": lambda view: Batch().encoded(view)[:40],
    "16 bytes of a batch": lambda view: Batch().encoded(view)[:16],
    "a batch of magic 9": lambda view: with_magic(Batch().encoded(view), 9),
    "zeros": lambda view: bytes(30),
}


# Steps


@value
class Raw:
    """A body that is no message of ours."""

    api_key: int
    data: bytes


@value
class TimePasses:
    """No request: the broker looks for what has gone out of retention."""


@value
class Spoilt:
    """A frame that is changed on its way: `cut` to so many bytes, one `byte` put in at `at`, or bytes added behind it."""

    cut: int | None = None
    at: int | None = None
    byte: int = 0
    behind: bytes = b""

    def done_to(self, frame: bytes) -> bytes:
        """The frame as it arrives. The first 8 bytes, which say what it is, stay."""
        if self.cut is not None:
            frame = frame[: 8 + self.cut % max(len(frame) - 8, 1)]
        if self.at is not None:
            at = 8 + self.at % max(len(frame) - 8, 1)
            frame = frame[:at] + bytes([self.byte]) + frame[at + 1 :]
        return frame + self.behind


@value
class Step:
    """One request in one version; `waiting`: a fetch that waits on a connection of its own while this is asked."""

    body: Any = TimePasses()
    api_version: int = 0
    client_id: str | bytes | None = "history"
    spoilt: Spoilt | None = None
    waiting: Step | None = None

    @property
    def api_key(self) -> int:
        """The request's key; -1 for what is none."""
        return self.body.api_key if isinstance(self.body, Raw) else KEYS.get(type(self.body), -1)

    @property
    def action(self) -> str:
        """What it is called in a story."""
        if isinstance(self.body, Raw):
            return "frame"
        return APIS[self.api_key].name if self.api_key >= 0 else "time passes"

    @property
    def expects_answer(self) -> bool:
        """A produce without acks gets none."""
        return not (isinstance(self.body, m.ProduceRequest) and self.body.acks == 0)

    def frame(self, view: View) -> bytes:
        """What is sent to a target."""
        if isinstance(self.body, Raw):
            return framed(self.body.api_key, self.api_version, self.body.data, self.client_id)
        frame = request_frame(self.api_key, self.api_version, spoken(self.body, view), self.client_id)
        return self.spoilt.done_to(frame) if self.spoilt else frame

    def __str__(self) -> str:
        told = self.action if isinstance(self.body, TimePasses) else f"{self.action} v{self.api_version} {words(self.body)}"
        if self.client_id != "history":
            told += f", client id {self.client_id!r:.40}"
        if self.spoilt is not None:
            told += f", spoilt: {words(self.spoilt)}"
        return told if self.waiting is None else f"{told}, while there waits: {self.waiting}"


def spoken(body: Any, view: View) -> Any:
    """A request with every symbol replaced by what it stands for."""
    if isinstance(body, Symbol):
        return body.spoken(view)
    if isinstance(body, tuple):
        return tuple([spoken(one, view) for one in body])
    if attrs.has(type(body)):
        names = [field.name for field in attrs.fields(type(body))]
        return type(body)(*[spoken(getattr(body, name), view) for name in names])
    return body


def words(body: Any) -> str:
    """A request in a line: the fields that have not their default."""
    if isinstance(body, Symbol):
        return str(body)
    if isinstance(body, tuple):
        return "[" + ", ".join(words(one) for one in body) + "]"
    if attrs.has(type(body)):
        told = [
            f"{field.name} {words(getattr(body, field.name))}"
            for field in attrs.fields(type(body))
            if getattr(body, field.name) != field.default and not is_said(body, field.name)
        ]
        return told[0] if len(told) == 1 else "{" + ", ".join(told) + "}"
    return f"{body[:20]}…" if isinstance(body, str) and len(body) > 40 else str(body) or "''"


def is_said(body: Any, name: str) -> bool:
    """Is it the id of the topic that is named beside it?"""
    of = getattr(body, name)
    return isinstance(of, IdOf) and not of.ago and of.name in (getattr(body, "name", None), getattr(body, "topic", None))


# Simpler steps, for shrinking


def simpler(body: Any) -> Iterator[Any]:
    """The same, each time with one thing less: an element left out, or a field at its default."""
    if isinstance(body, tuple):
        for index in range(len(body)):
            yield body[:index] + body[index + 1 :]
        for index, one in enumerate(body):
            for less in simpler(one):
                yield (*body[:index], less, *body[index + 1 :])
    elif attrs.has(type(body)):
        for field in attrs.fields(type(body)):
            held = getattr(body, field.name)
            if held != field.default and field.default is not attrs.NOTHING and field.name not in FIXED:
                yield changed(body, **{field.name: field.default})
            for less in simpler(held):
                yield changed(body, **{field.name: less})


#: Fields that say what a step is; and one whose default is null, which Apache Kafka never answers.
FIXED = frozenset({"body", "api_version", "records"})
