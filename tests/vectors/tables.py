"""The rules, and the tables of states and events, as JSON: rules.json and transitions.json (spec/vectors.md).

A cell is never typed in: the model is put into the state, given the event, and says what comes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import fiducial.models.broker
import fiducial.models.restarts
import fiducial.reference.server  # noqa: F401  (the rules of frames and sockets are marked there)
from fiducial.conformance import suite
from fiducial.models import apis, partition, sessions, specification
from fiducial.models.errors import RETRIABLE, Error
from fiducial.models.log import Found, LogConfig
from fiducial.models.partition import (
    AdvanceHighWatermark,
    Appended,
    DeleteRecords,
    Duplicate,
    Event,
    Fetch,
    LookUp,
    Moved,
    Outcome,
    Partition,
    Produce,
    Read,
    Refused,
)
from fiducial.models.rules import LADDERS, Ladder
from fiducial.models.sessions import Cached, Kind, Session, SessionRequest, Sessions, Wanted
from fiducial.models.specification import RuleText
from fiducial.models.traces import NOON_MS, batch
from fiducial.models.values import EMPTY, value

# Rules


def rules() -> dict[str, Any]:
    """Every rule, every ladder of errors, every error."""
    return {
        "rules": [rule_as_data(rule) for rule in specification.rules().values()],
        "ladders": [ladder_as_data(ladder) for ladder in LADDERS.values()],
        "errors": [{"code": int(error), "name": error.name, "is_retriable": error in RETRIABLE} for error in Error],
    }


def rule_as_data(rule: RuleText) -> dict[str, Any]:
    """A rule, and where it stands among those that answer errors."""
    return {
        "id": rule.id,
        "level": rule.level.value,
        "title": rule.title,
        "claim": rule.claim,
        "notes": {label: [text for one, text in rule.notes if one == label] for label, _ in rule.notes},
        "since": rule.since,
        "kips": list(rule.kips),
        "errors": [error.name for error in rule.errors],
        "on_apache_kafka": rule.tried.value,
        "page": rule.page,
        "section": rule.section,
        "rungs": [{"ladder": ladder.name, "rung": number} for ladder in LADDERS.values() for number, rung in enumerate(ladder.rungs, 1) if rung.rule == rule.id],
        "cases": [case.id for case in suite.every().values() if rule.id in case.rules],
    }


def ladder_as_data(ladder: Ladder) -> dict[str, Any]:
    """Refusals, of which the first that holds wins."""
    rungs = [{"rule": rung.rule, "error": rung.error.name, "also": [error.name for error in rung.also]} for rung in ladder.rungs]
    return {"name": ladder.name, "rungs": rungs}


# Tables


@value
class Table:
    """States, events, and what becomes of one by the other. `cell`: (state, event) -> the cell as data."""

    name: str
    about: str
    states: Mapping[str, Any]
    events: Mapping[str, Any]
    cell: Callable[[Any, Any], dict[str, Any]]
    shown: Callable[[Any], dict[str, Any]]

    def as_data(self) -> dict[str, Any]:
        """The whole of it: every cell is filled."""
        return {
            "name": self.name,
            "about": self.about,
            "states": {name: self.shown(state) for name, state in self.states.items()},
            "events": list(self.events),
            "cells": list(self.cells()),
        }

    def cells(self) -> Iterator[dict[str, Any]]:
        """Row by row."""
        for state_name, state in self.states.items():
            for event_name, event in self.events.items():
                yield {"state": state_name, "event": event_name, **self.cell(state, event)}


def transitions() -> dict[str, Any]:
    """All tables."""
    return {"tables": [table.as_data() for table in (PRODUCERS, READS, SESSIONS, FRAMES)]}


# A partition


def after(*happened: Event) -> Partition:
    """An empty partition, and what it is after this."""
    here = partition.new_partition(LogConfig(), NOON_MS)
    for event in happened:
        here, _ = partition.step(here, event, NOON_MS)
    return here


def of_partition(here: Partition, event: Event) -> dict[str, Any]:
    """A cell about a partition."""
    there, outcome = partition.step(here, event, NOON_MS)
    return {**as_data(outcome), "next": {} if there == here else marks(there)}


def as_data(outcome: Outcome) -> dict[str, Any]:
    """What is answered."""
    match outcome:
        case Refused(rung):
            return {"outcome": "refused", "error": rung.error.name, "rule": rung.rule}
        case Appended(base_offset, _):
            return {"outcome": "appended", "base_offset": base_offset}
        case Duplicate(written):
            return {"outcome": "duplicate", "base_offset": written.base_offset}
        case Read(base_offset, size_bytes):
            return {"outcome": "read", "base_offset": base_offset, "bytes": size_bytes}
        case Found(offset):
            return {"outcome": "found", "offset": offset}
        case Moved(offset):
            return {"outcome": "deleted", "low_watermark": offset}
    raise AssertionError(f"no table has {outcome}")


def marks(here: Partition) -> dict[str, Any]:
    """Where a log begins and ends, and what is known of producer 7."""
    shown: dict[str, Any] = {"log_start": here.log.start, "high_watermark": here.log.high_watermark, "log_end": here.log.end}
    if (entry := here.producers.get(7)) is not None:
        window = [{"first_sequence": one.first_sequence, "last_sequence": one.last_sequence, "base_offset": one.base_offset} for one in entry.window]
        shown["producer"] = {"epoch": entry.epoch, "window": window}
    return shown


def sent(first: int, last: int | None = None, *, epoch: int = 3, producer: int = 7) -> Produce:
    """A batch with these sequences."""
    return Produce(batch(1 + (first if last is None else last) - first, producer=(producer, epoch, first)))


SEVEN = tuple(sent(sequence) for sequence in range(7))

PRODUCERS = Table(
    "producer",
    "A partition, by what it knows of producer 7, and a batch of that producer. A window has the last five batches of the epoch.",
    {
        "unknown": after(),
        "one batch, sequences 0 to 1": after(sent(0, 1)),
        "seven batches, sequences 0 to 6": after(*SEVEN),
        "epoch 4 begun, sequence 0": after(*SEVEN, sent(0, epoch=4)),
        "at the end of the sequences": after(sent(2**31 - 1)),
    },
    {
        "no producer": sent(5, producer=-1, epoch=-1),
        "epoch 3, sequence 0": sent(0),
        "epoch 3, sequences 0 to 1": sent(0, 1),
        "epoch 3, sequence 2": sent(2),
        "epoch 3, sequence 6": sent(6),
        "epoch 3, sequence 7": sent(7),
        "epoch 3, sequence 9": sent(9),
        "epoch 3, sequence 2147483647": sent(2**31 - 1),
        "epoch 2, sequence 0": sent(0, epoch=2),
        "epoch 4, sequence 0": sent(0, epoch=4),
        "epoch 4, sequence 1": sent(1, epoch=4),
        "epoch 4, sequence 7": sent(7, epoch=4),
        "epoch -1, sequence 7": sent(7, epoch=-1),
    },
    of_partition,
    marks,
)

THREE = (Produce(batch(3)), Produce(batch(2)))

READS = Table(
    "reading and deletion",
    "A partition, by where its log begins, is committed to, and ends, and a request for an offset. Of two batches, the first has offsets 0 to 2, the second 3 to 4.",
    {
        "empty": after(),
        "written, nothing committed": after(*THREE),
        "written, committed to 3": after(*THREE, AdvanceHighWatermark(3)),
        "written, committed": after(*THREE, AdvanceHighWatermark(5)),
        "committed, deleted below 1": after(*THREE, AdvanceHighWatermark(5), DeleteRecords(1)),
        "committed, deleted": after(*THREE, AdvanceHighWatermark(5), DeleteRecords(5)),
    },
    {
        **{f"fetch at {offset}": Fetch(offset, 1000) for offset in (-1, 0, 1, 3, 4, 5, 6)},
        "earliest offset": LookUp(partition.EARLIEST_TIMESTAMP),
        "latest offset": LookUp(partition.LATEST_TIMESTAMP),
        **{f"delete below {offset}": DeleteRecords(offset) for offset in (-2, -1, 0, 2, 5, 6)},
    },
    of_partition,
    marks,
)

# Fetch sessions


def a_session(next_epoch: int, *, uses_topic_ids: bool = True) -> Sessions:
    """Session 9 and no other."""
    wanted = Wanted("a", bytes(15) + b"\x01" if uses_topic_ids else bytes(16), 0, 0, 1000)
    return Sessions(EMPTY.set(9, Session(next_epoch, uses_topic_ids, (Cached(wanted),), NOON_MS)))


def of_session(here: Sessions, asked: SessionRequest) -> dict[str, Any]:
    """A cell about sessions: how a fetch is answered, and which epoch the next one of the session must have."""
    kind = sessions.kind_of(asked)
    refusal = sessions.SESSION_CHECK.refusal(here, asked) if kind is Kind.INCREMENTAL else None
    if refusal is not None:
        return {"outcome": "refused", "error": refusal.error.name, "rule": refusal.rule, "next": {}}
    if kind is Kind.INCREMENTAL:
        return {"outcome": kind.value, "rule": "LOG-SESSION-1", "next": {"session 9": {"next_epoch": sessions.epoch_after(asked.epoch)}}}
    is_closed = sessions.closed(here, asked.session_id) != here
    return {"outcome": kind.value, "rule": "LOG-SESSION-1", "next": {"session 9": None} if is_closed else {}}


def shown_sessions(here: Sessions) -> dict[str, Any]:
    """What there is of session 9."""
    return {f"session {number}": {"next_epoch": one.next_epoch, "uses_topic_ids": one.uses_topic_ids} for number, one in here.by_id.items()}


def asks(session_id: int, epoch: int, *, by_id: bool = True) -> SessionRequest:
    """A fetch."""
    return SessionRequest(session_id, epoch, by_id)


SESSIONS = Table(
    "fetch session",
    "A broker, by whether it has fetch session 9, and a fetch with a session id and epoch. A new session, where one is begun, gets an id of its own.",
    {
        "no session": Sessions(),
        "session 9, next epoch 2": a_session(2),
        "session 9, next epoch 2, by names": a_session(2, uses_topic_ids=False),
        "session 9, at the last epoch": a_session(sessions.EPOCH_MAX),
    },
    {
        "no session, epoch -1": asks(0, -1),
        "no session, epoch 0": asks(0, 0),
        "session 9, epoch -1": asks(9, -1),
        "session 9, epoch 0": asks(9, 0),
        "session 9, epoch 1": asks(9, 1),
        "session 9, epoch 2": asks(9, 2),
        "session 9, epoch 2, by names": asks(9, 2, by_id=False),
        "session 9, epoch 2147483647": asks(9, sessions.EPOCH_MAX),
        "session 8, epoch 2": asks(8, 2),
    },
    of_session,
    shown_sessions,
)

# Requests, by key and version


def of_frame(key: int, which: Callable[[int], int]) -> dict[str, Any]:
    """A cell about a request: what becomes of it by its key and version alone."""
    found = apis.verdict(key, which(key))
    return {"outcome": found.value, "rule": "WIRE-VERSIONS-1" if key == apis.API_VERSIONS else "WIRE-FRAME-3", "next": {"connection": "ended"} if found is apis.Verdict.CLOSE else {}}


FRAMES = Table(
    "request",
    "A request, by its API and its version.",
    {**{row.name: row.key for row in apis.APIS.values()}, "no API (-1)": -1, "no API (32767)": 32_767},
    {
        "version -1": lambda _key: -1,
        "below the lowest version": lambda key: apis.APIS[key].min_version - 1 if key in apis.APIS else 0,
        "lowest version": lambda key: apis.APIS[key].min_version if key in apis.APIS else 0,
        "highest version": lambda key: apis.APIS[key].max_version if key in apis.APIS else 0,
        "above the highest version": lambda key: apis.APIS[key].max_version + 1 if key in apis.APIS else 0,
    },
    of_frame,
    lambda key: {"api_key": key, "versions": [apis.APIS[key].min_version, apis.APIS[key].max_version] if key in apis.APIS else []},
)
