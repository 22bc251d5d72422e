"""What reaches the broker, and what it asks of whoever holds the sockets, the clock and the bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from fiducial.models.batches import Payload
from fiducial.models.values import Uuid, value

if TYPE_CHECKING:
    from fiducial.models.groups import Alarm, SetAlarm
    from fiducial.models.state import Broker

# Events


@value
class Request:
    """A whole, readable request. `ticket` names it in every effect that concerns it."""

    ticket: int
    connection: int
    client_id: str | None
    api_version: int
    body: Any  # one of the *Request classes of models.messages
    client_host: str = ""  # "/" and the client's address
    listener: int = 0  # by which the client came


@value
class Timer:
    """The deadline of a parked request has come."""

    ticket: int


@value
class Ring:
    """An alarm of a group rings."""

    alarm: Alarm


@value
class Housekeeping:
    """Time to look for what retention and expiry have made superfluous."""


@value
class OffsetExpiry:
    """Time to look for committed offsets that are too old, every offsets.retention.check.interval.ms."""


@value
class Disconnected:
    """The connection is gone; nothing more can be said on it."""

    connection: int


Event = Request | Timer | Ring | Housekeeping | OffsetExpiry | Disconnected

# Effects


@value
class Reply:
    """Answer a request. `rules` are the rules that refused something, in order; body None: nothing goes out (acks=0)."""

    ticket: int
    body: Any  # one of the *Response classes of models.messages, or None
    rules: tuple[str, ...] = ()


@value
class Close:
    """End the request's connection without an answer."""

    ticket: int
    rules: tuple[str, ...] = ()


@value
class Write:
    """Append one batch to a partition's bytes, its header stamped with these values."""

    topic_id: Uuid
    partition: int
    base_offset: int
    leader_epoch: int
    has_append_time: bool
    max_timestamp: int  # ms
    payload: Payload


@value
class Append:
    """Append records of the broker's own to a partition, as one batch, before whatever comes behind this effect.

    Whoever has the logs does it, and asks `broker.not_stored` what comes of the event if that is refused.
    """

    topic_id: Uuid
    partition: int
    records: tuple[tuple[bytes, bytes | None], ...]  # key and value; no value: what the key names is no more


@value
class Trim:
    """The log of a partition starts at `start` from here on: what lay below was appended anew, and that is in the log by now. Where one event has
    more of these, all are done together, or none."""

    topic_id: Uuid
    partition: int
    start: int


@value
class Drop:
    """The bytes of all batches that end below offset `below` may go."""

    topic_id: Uuid
    partition: int
    below: int


@value
class Forget:
    """The topic is deleted: its bytes may go."""

    topic_id: Uuid


@value
class Persist:
    """Append one record to the metadata log: what `evolve` is given after a restart.

    Whoever has that log asks `broker.not_persisted` what is answered if nothing can be written any more.
    """

    record: Any


@value
class SetTimer:
    """Send Timer(ticket) at `at_ms`."""

    ticket: int
    at_ms: int


@value
class ClearTimer:
    """The timer of `ticket` is not needed any more."""

    ticket: int


Effect: TypeAlias = "Reply | Close | Write | Append | Trim | Drop | Forget | Persist | SetTimer | ClearTimer | SetAlarm"


@value
class Outcome:
    """What a handler made of a request: the broker after it, the answer, the rules that refused, and effects beside the answer."""

    broker: Broker
    body: Any
    rules: tuple[str, ...] = ()
    effects: tuple[Effect, ...] = ()
