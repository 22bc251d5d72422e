"""A step of a history as data: one request, in which symbols stand for what only a broker can know (see `symbols`).

So the same step means the same to every broker and at any time; it can be told in a line, and made simpler one field at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from fiducial.conformance import codec
from fiducial.conformance.oracle import KEYS
from fiducial.conformance.symbols import View, spoken, words
from fiducial.models import messages as m
from fiducial.models.apis import APIS
from fiducial.models.values import changed, value

CLIENT_ID = "history"
#: The correlation id of every request: the same frame is answered the same.
CORRELATION = 7


@value
class Raw:
    """A body that is no message of ours."""

    api_key: int
    data: bytes


@value
class TimePasses:
    """No request: the broker looks for what has gone out of retention."""

    def __str__(self) -> str:
        return "time passes"


@value
class Restarts:
    """No request: the broker stops, in good order or killed, and starts again on what it has left."""

    is_clean: bool

    def __str__(self) -> str:
        return "a clean stop and a start" if self.is_clean else "a kill and a start"


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


#: Requests that change nothing, or only what is remembered of each broker: which topics there are, and which ids it gave out.
ASKING = (
    m.ApiVersionsRequest, m.DescribeClusterRequest, m.DescribeConfigsRequest, m.DescribeLogDirsRequest, m.DescribeProducersRequest,
    m.DescribeTopicPartitionsRequest, m.FindCoordinatorRequest, m.InitProducerIdRequest, m.ListConfigResourcesRequest, m.ListOffsetsRequest, m.MetadataRequest,
    m.OffsetForLeaderEpochRequest, m.DescribeGroupsRequest, m.OffsetFetchRequest,
)  # fmt: skip
#: Requests that groups may let wait until others come.
PATIENT = (m.JoinGroupRequest, m.SyncGroupRequest)
#: Requests that a group is told by.
OF_GROUPS = (
    *PATIENT, m.HeartbeatRequest, m.LeaveGroupRequest, m.OffsetCommitRequest, m.OffsetFetchRequest, m.OffsetDeleteRequest, m.DescribeGroupsRequest,
    m.DeleteGroupsRequest,
)  # fmt: skip


@value
class Step:
    """One request in one version; `waiting`: a fetch that waits on a connection of its own while this is asked."""

    body: Any = TimePasses()
    api_version: int = 0
    client_id: str | bytes | None = CLIENT_ID
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
        return APIS[self.api_key].name if self.api_key >= 0 else str(self.body)

    @property
    def changes(self) -> bool:
        """May what later ones are answered depend on it?"""
        return not isinstance(self.body, ASKING) or self.waiting is not None

    @property
    def may_wait(self) -> bool:
        """Is it asked on a connection of its own, and answered whenever a group has come so far?"""
        return isinstance(self.body, PATIENT)

    @property
    def is_of_groups(self) -> bool:
        """Is it about groups?"""
        return isinstance(self.body, OF_GROUPS)

    @property
    def expects_answer(self) -> bool:
        """A produce without acks gets none."""
        return not (isinstance(self.body, m.ProduceRequest) and self.body.acks == 0)

    def frame(self, view: View) -> bytes:
        """What is sent to a broker, without its length."""
        if isinstance(self.body, Raw):
            return codec.request_frame(self.body.api_key, self.api_version, CORRELATION, self.client_id, self.body.data)
        frame = request_frame(self.api_key, self.api_version, spoken(self.body, view), self.client_id)
        return self.spoilt.done_to(frame) if self.spoilt else frame

    def __str__(self) -> str:
        told = self.action if isinstance(self.body, TimePasses | Restarts) else f"{self.action} v{self.api_version} {words(self.body)}"
        if self.client_id != CLIENT_ID:
            told += f", client id {self.client_id!r:.40}"
        if self.spoilt is not None:
            told += f", spoilt: {words(self.spoilt)}"
        return told if self.waiting is None else f"{told}, while there waits: {self.waiting}"


def request_frame(api_key: int, api_version: int, message: Any, client_id: str | bytes | None = CLIENT_ID) -> bytes:
    """The frame of a message, without its length; records are the bytes that stand in it."""
    return codec.request_frame(api_key, api_version, CORRELATION, client_id, codec.encode(message, api_key, api_version, "request"))


def answer_of(data: bytes, api_key: int, api_version: int) -> Any:
    """The message in the frame of an answer, without its length; records stay bytes. Malformed if it is none."""
    if codec.INT32.unpack_from(data)[0] != CORRELATION:
        raise codec.Malformed("header", 0, "not the correlation id that was asked")
    return codec.decode(data, api_key, api_version, "response", codec.answer_body(data, api_key, api_version))


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
