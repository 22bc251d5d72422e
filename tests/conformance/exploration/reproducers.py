"""A counterexample as a Python program that needs nothing but Python: `standalone`, and the story as data behind it.

Where in a frame an id or a time stands is found by making the frame once more with another id: where the bytes differ, there it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from importlib import resources
from pprint import pformat
from typing import Any

import attrs
from crc32c import crc32c

from fiducial.conformance.batches import CHECKED_FROM, PREFIX_BYTES, header_of, stored_batches
from fiducial.conformance.cases import CLIENT_ID
from fiducial.conformance.client import Entry
from fiducial.conformance.exploration.explorer import (
    CREATE_TOPICS,
    DELETE_TOPICS,
    FETCH,
    INIT_PRODUCER_ID,
    METADATA,
    Counterexample,
)
from fiducial.conformance.exploration.steps import Step, TimePasses, answer_of, request_frame
from fiducial.conformance.exploration.targets import PROBE
from fiducial.conformance.founding import PROTOCOL, TYPE, join
from fiducial.conformance.oracle import KEYS
from fiducial.conformance.symbols import Generation, GroupId, Member, Records, View
from fiducial.models import messages as m
from fiducial.models.apis import has_flexible_answer

JOIN_GROUP = KEYS[m.JoinGroupRequest]
#: Added to a time, this changes each of its bytes.
SHIFT_MS = 0x0101010101010101
#: The same for a generation.
SHIFT = 0x01010101
#: What a broker makes up for a member's id.
UUID = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
#: Where an answer with tagged fields in its header gives out an id: behind the correlation id, these fields, the throttle time and the error.
ID_AT = 4 + 1 + 4 + 2
#: A place in a frame, how many bytes, what they are, and which.
Slot = tuple[int, int, str, Any]

HEAD = '''#!/usr/bin/env python3
"""{title}

{told}

Run it with any Python from 3.11 on: python {name} HOST:PORT. It makes topics of its own there, and deletes them.
"""
'''

TAIL = """
if __name__ == "__main__":
    raise SystemExit(main(STORY))
"""


def written(found: Counterexample, name: str) -> str:
    """The program; `name`: of its file."""
    told = str(found.story).replace("\\", "\\\\").replace('"""', "'''")
    source = resources.files(__package__).joinpath("standalone.py").read_text()
    code = source.partition('"""\n')[2]
    title = " ".join(("What a broker answered that no rule allows.", *found.rules))
    data = pformat(story_of(found), width=150, sort_dicts=False)
    return f"{HEAD.format(title=title, told=told, name=name)}{code}\n\nSTORY: dict[str, Any] = {data}\n{TAIL}"


def story_of(found: Counterexample) -> dict[str, Any]:
    """The story as `standalone` takes it."""
    world, view = found.story.world, found.asked[0][1]
    groups: list[Any] = [GroupId(group) for group in world.of(found.story.steps).groups]
    topics = tuple(
        m.CreatableTopic(view.names[name], world.partitions, 1, (), tuple(m.CreatableTopicConfig(*one) for one in config.items()))
        for name, config in world.of(found.story.steps).topics.items()
    )
    told = [name for name in view.names.values() if any(name in str(frame_of(step, at)) for step, at in found.asked)]
    named = sorted({*told, *(topic.name for topic in topics), *(view.names[name] for _, at in found.asked for name in at.topic_ids)})
    gone = tuple(m.DeleteTopicState(name) for name in named)
    return {
        "prefix": next(iter(view.names.values()))[: len("conform-") + 8],
        "begun_ms": view.begun_ms,
        "create": request(view, CREATE_TOPICS, m.CreateTopicsRequest(topics, 30_000)),
        "delete": request(view, DELETE_TOPICS, m.DeleteTopicsRequest(gone, tuple(named), 30_000)),
        "metadata": {name: request(view, METADATA, m.MetadataRequest((m.MetadataRequestTopic(name=name),), False)) for name in named},
        "topic_ids": {view.names[name]: known.hex() for name, known in view.topic_ids.items()},
        "producers": len(view.producer_ids),
        "init": request(view, INIT_PRODUCER_ID, m.InitProducerIdRequest(None, 0, -1, -1)) if view.producer_ids else "",
        "init_at": ID_AT,
        "found": founding_of(groups[0], view) if groups else [],
        "leave": leaving_of(groups, found.asked[-1][1]) if groups else [],
        "steps": steps_of(found),
        "expected_and_got": [f"at {one.place or 'the answer'}: expected {one.expected}, got {one.got}" for one in found.differences],
    }


def founding_of(group: Any, view: View) -> list[dict[str, Any]]:
    """How the group that is there gets its member: it looks for a coordinator, asks for an id, joins with it, and assigns."""
    first: Any = Member(0)
    generation: Any = Generation()
    find = m.FindCoordinatorRequest(group, 0, (group,))
    return asked_by_us(view, find, join(group), join(group, first), m.SyncGroupRequest(group, generation, first, None, TYPE, PROTOCOL))


def leaving_of(groups: list[Any], view: View) -> list[dict[str, Any]]:
    """How groups are gone: every member leaves each, and each is deleted."""
    members: list[Any] = [Member(number) for number in range(len(view.members))]
    leave = (m.LeaveGroupRequest(group, member, (m.MemberIdentity(member),)) for group in groups for member in members)
    return asked_by_us(view, *leave, m.DeleteGroupsRequest(tuple(groups)))


def asked_by_us(view: View, *bodies: Any) -> list[dict[str, Any]]:
    """Requests around the story, in the newest version."""
    return [step_of(Step(body, view.newest(KEYS[type(body)]), CLIENT_ID), view) for body in bodies]


def request(view: View, api_key: int, message: Any) -> str:
    """A frame in the newest version."""
    return request_frame(api_key, view.newest(api_key), message).hex()


def steps_of(found: Counterexample) -> list[dict[str, Any]]:
    """Each step with what was answered."""
    answers = answers_of(found.entries)
    steps = []
    for number, (step, view) in enumerate(found.asked, 1):
        if isinstance(step.body, TimePasses):
            continue
        beside = None if step.waiting is None else step_of(step.waiting, view)
        steps.append(step_of(step, view) | {"number": number, "waiting": beside, "until": found.later.get(number, 0)})
        for one, asked in ((beside, step.waiting), (steps[-1], step)):
            if one is not None and asked is not None:
                one["then"] = answers[frame_of(asked, view)].pop(0)
                one["own"] = [*own_places(asked, bytes.fromhex(one["then"] or ""))]
    return steps


def step_of(step: Step, view: View) -> dict[str, Any]:
    """One request."""
    frame = step.frame(view)
    batches = [*batches_in(step, view, frame)]
    return {
        "told": str(step),
        "frame": frame.hex(),
        "slots": [*slots_of(step, view, frame, {begin for begin, _, _ in batches})],
        "batches": [(begin, end) for begin, end, is_sound in batches if is_sound],
        "is_answered": step.expects_answer,
        "topics": step.api_key in (CREATE_TOPICS, DELETE_TOPICS),
        "gives": given_by(step),
        "waiting": None,
        "may_wait": step.may_wait,  # on a connection of its own
        "until": 0,  # during which step it was answered then, if it was
        "then": None,  # the answer that came
        "own": [],  # where in it each broker has bytes of its own
    }


def frame_of(step: Step, view: View) -> bytes:
    """What is sent, without its length."""
    return b"" if isinstance(step.body, TimePasses) else step.frame(view)


def given_by(step: Step) -> tuple[str, int, int] | None:
    """Where in its answer an id is given out, and of how many bytes; a member's, in which version it is said where."""
    if step.api_key == JOIN_GROUP:
        return "member", step.api_version, int(has_flexible_answer(JOIN_GROUP, step.api_version))
    if step.api_key not in (FETCH, INIT_PRODUCER_ID) or (step.api_key == FETCH and step.api_version < 7):
        return None
    place = ID_AT - 1 + has_flexible_answer(step.api_key, step.api_version)
    return ("session", place, 4) if step.api_key == FETCH else ("producer", place, 8)


def answers_of(entries: tuple[Entry, ...]) -> dict[bytes, list[str | None]]:
    """By frame what was answered, each time it was sent, as hexadecimal digits: empty for the end of the connection, None for nothing."""
    found: dict[bytes, list[str | None]] = {}
    last: dict[int, tuple[bytes, int]] = {}
    probed: set[int] = set()
    for entry in entries:
        at, frame = entry.connection, entry.data[4:]
        if frame == PROBE:
            probed.add(at)
        elif entry.what == "sent":
            found.setdefault(frame, []).append(None)
            last[at] = frame, len(found[frame]) - 1
        elif entry.what == "received" and at in probed:
            probed.remove(at)
        elif entry.what == "received":
            sent, which = last[at]
            found[sent][which] = entry.data.hex()
        elif at in last and entry.what.startswith("the broker ended"):
            sent, which = last[at]
            found[sent][which] = ""
    return found


# Where ids, times and checksums stand


def batches_in(step: Step, view: View, frame: bytes) -> Iterator[tuple[int, int, bool]]:
    """Of each batch where it begins and ends, and whether its checksum fits."""
    position = 0
    for records in records_in(step.body):
        for batch in records.batches:
            data = batch.data(view)
            begin = frame.find(data, position)
            if begin >= 0:
                position = begin + len(data)
                is_whole = len(data) >= CHECKED_FROM + 40
                yield begin, position, is_whole and header_of(data).checksum == crc32c(data[CHECKED_FROM:])


def records_in(body: Any) -> Iterator[Records]:
    """The records anywhere in a request."""
    if isinstance(body, Records):
        yield body
    elif isinstance(body, tuple):
        for one in body:
            yield from records_in(one)
    elif attrs.has(type(body)):
        for field in attrs.fields(type(body)):
            yield from records_in(getattr(body, field.name))


def own_places(step: Step, answer: bytes) -> Iterator[tuple[int, int]]:
    """Where an answer has a session's id, what was made up for members, and in its batches checksums and producers."""
    if step.is_of_groups:
        yield from (one.span() for one in UUID.finditer(answer))
    given = given_by(step)
    if given is not None and given[0] != "member":
        yield given[1], given[1] + given[2]
    if step.api_key == FETCH and answer:
        for topic in answer_of(answer, FETCH, step.api_version).responses:
            for part in topic.partitions:
                begin = answer.find(part.records) if part.records else 0
                for batch in stored_batches(part.records or b"")[0]:
                    yield begin + 17, begin + 21
                    yield begin + 43, begin + 51
                    begin += PREFIX_BYTES + batch.header.length


def slots_of(step: Step, view: View, frame: bytes, batches: set[int]) -> Iterator[Slot]:
    """The ids and times in a frame, in which batches begin at these places."""
    checksums = {begin + 17 + index for begin in batches for index in range(4)}
    for kind, which, size, other in other_views(view):
        again = step.frame(other)
        if len(again) != len(frame):
            continue  # a time that makes records longer or shorter stays as it is
        end = 0
        for place in range(len(frame)):
            if place >= end and place not in checksums and again[place] != frame[place]:
                yield place, size, kind, which
                end = place + size


def other_views(view: View) -> Iterator[tuple[str, Any, int, View]]:
    """The view with one id changed, or its time: what is changed, and how many bytes it has."""
    for topic, known in view.topic_ids.items():
        yield "topic", view.names.get(topic, topic), 16, replace(view, topic_ids=view.topic_ids | {topic: inverted(known)})
    for known, topic in view.old_ids.items():
        yield "old topic", view.names.get(topic, topic), 16, replace(view, old_ids={inverted(one) if one == known else one: of for one, of in view.old_ids.items()})
    for number, producer in enumerate(view.producer_ids):
        yield "producer", number, 8, replace(view, producer_ids=[~one if one == producer else one for one in view.producer_ids])
    for number, session in enumerate(view.sessions):
        yield "session", number, 4, replace(view, sessions=[~one if one == session else one for one in view.sessions], epochs=view.epochs | {~session: view.epochs[session]})
    for number, member in enumerate(view.members):
        yield "member", number, len(member.encode()), replace(view, members=[spelt_otherwise(one) if one == member else one for one in view.members])
    yield "generation", view.generation, 4, replace(view, generation=view.generation + SHIFT)
    yield "time", 0, 8, replace(view, begun_ms=view.begun_ms + SHIFT_MS)


def spelt_otherwise(text: str) -> str:
    """It begins otherwise, and has as many bytes."""
    return ("y" if text.startswith("x") else "x") * len(text.encode())


def inverted(data: bytes) -> bytes:
    """No byte as it was."""
    return bytes(byte ^ 0xFF for byte in data)


