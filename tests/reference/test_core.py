"""The reference broker without sockets: every frame is answered, waits, or ends its connection; none makes it fail, or forget a request."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from random_messages import Layout, Messages, layouts

from fiducial.models import messages as m
from fiducial.models.apis import APIS, Api, has_flexible_header
from fiducial.models.settings import parse
from fiducial.models.state import Cluster
from fiducial.reference import codec
from fiducial.reference.codec import Malformed, Reader
from fiducial.reference.core import Core, Hangup, Header, Send, Wake, read_header

NOW = 1_700_000_000_000


def new_core(**settings: str) -> Core:
    """A broker without topics."""
    given = {name.replace("_", "."): text for name, text in settings.items()}
    return Core(Cluster("fiducialfiducialfiduci", 1, "127.0.0.1", 9092), parse(given), seed=1)


def header(api_key: int, api_version: int, correlation_id: int = 7, client_id: bytes | None = b"test") -> bytes:
    """The header of a request, with no tags if it has tags."""
    name = struct.pack(">h", -1) if client_id is None else struct.pack(">h", len(client_id)) + client_id
    return struct.pack(">hhi", api_key, api_version, correlation_id) + name + (b"\x00" if has_flexible_header(api_key, api_version) else b"")


def request(message: Any, layout: Layout) -> bytes:
    """The frame of a request."""
    return header(*layout.where[:2]) + bytes(codec.encode(message, *layout.where))


@pytest.mark.parametrize("api", [pytest.param(api, id=api.name) for api in APIS.values()])
def test_no_request_makes_it_fail(api: Api) -> None:
    core, messages = new_core(), Messages(seed=api.key, for_kio=False)
    create = Layout(APIS[19], 7, "request")
    for name in ("a", "topic-1"):
        core.frame(0, request(m.CreateTopicsRequest((m.CreatableTopic(name, 2, 1),)), create), NOW)
    for connection in range(1, 21):
        for layout in layouts(api, "request"):
            actions = core.frame(connection, request(messages.message(layout), layout), NOW)
            assert len([one for one in actions if isinstance(one, Send | Hangup)]) + len(core.waiting) == 1
            core.disconnected(connection, NOW)
            assert not core.waiting


# Headers


@pytest.mark.rule("WIRE-FRAME-2", "WIRE-FRAME-5")
@pytest.mark.parametrize(
    ("client_id", "read"),
    [
        (struct.pack(">h", -1), None),
        (struct.pack(">h", -32768), None),
        (struct.pack(">h", 0), ""),
        (struct.pack(">h", 4) + b"test", "test"),
        (struct.pack(">h", 2) + b"a\xff", "a\ufffd"),
        (struct.pack(">h", 32767) + b"x" * 32767, "x" * 32767),
    ],
    ids=["null", "the lowest length", "empty", "plain", "not UTF-8", "long"],
)
def test_a_header_is_read_whole_or_not_at_all(client_id: bytes, read: str | None) -> None:
    for version, tags in ((8, b""), (12, b"\x01\x07\x02ab")):
        data = struct.pack(">hhi", 3, version, -5) + client_id + tags
        reader = Reader(data + b"body")
        assert read_header(reader) == Header(3, version, -5, read)
        assert reader.position == len(data)
        for size in {*range(len(data) - 5, len(data)), *range(10)}:
            with pytest.raises(Malformed):
                read_header(Reader(data[:size]))


@pytest.mark.rule("WIRE-FRAME-6")
@pytest.mark.parametrize(
    ("tags", "are_skipped"),
    [
        (b"\x00", True),
        (b"\x03\x07\x00\x03\x00\x07\x01a", True),
        (b"\xff\xff\xff\xff\x0f", True),
        (b"\x01\x07\x04abc", False),
        (b"\x02\x07\x00", False),
    ],
    ids=["none", "twice and unordered", "fewer than none", "a size too large", "too many"],
)
def test_tags_of_a_header_are_skipped(tags: bytes, are_skipped: bool) -> None:
    reader = Reader(struct.pack(">hhih", 3, 12, 7, -1) + tags)
    if are_skipped:
        assert read_header(reader) == Header(3, 12, 7, None)
        assert reader.position == len(reader.buffer)
    else:
        with pytest.raises(Malformed):
            read_header(reader)


@pytest.mark.rule("WIRE-FRAME-7", "WIRE-FRAME-11")
@pytest.mark.parametrize(
    ("api_key", "version", "body", "tags"),
    [(3, 8, bytes(7), b""), (3, 12, b"\x01\x00\x00\x00", b"\x00"), (18, 0, b"", b""), (18, 4, b"\x02a\x02b\x00", b"")],
)
def test_an_answer_begins_with_the_id_of_its_request_whatever_is_behind_that(
    api_key: int, version: int, body: bytes, tags: bytes
) -> None:
    core, answers = new_core(), set()
    for correlation_id, rest in ((0, b""), (-(2**31), b"\xff" * 9), (7, body)):
        (sent,) = core.frame(1, header(api_key, version, correlation_id) + body + rest, NOW)
        assert isinstance(sent, Send)
        assert struct.unpack_from(">ii", sent.data) == (len(sent.data) - 4, correlation_id)
        answers.add(sent.data[8:])
    (answer,) = answers
    message = codec.decode(answer, api_key, version, "response", position=len(tags))
    assert answer == tags + codec.encode(message, api_key, version, "response")


# Waiting


def test_a_lost_connection_takes_only_its_own_requests_along() -> None:
    core, create, fetch = new_core(), Layout(APIS[19], 7, "request"), Layout(APIS[1], 12, "request")
    core.frame(0, request(m.CreateTopicsRequest((m.CreatableTopic("t", 1, 1),)), create), NOW)
    wanted = m.FetchTopic("t", partitions=(m.FetchPartition(),))
    frame = request(m.FetchRequest(max_wait_ms=500, min_bytes=1, topics=(wanted,)), fetch)
    (one,), (two,) = core.frame(1, frame, NOW), core.frame(2, frame, NOW)
    assert isinstance(one, Wake) and isinstance(two, Wake) and one.at_ms == two.at_ms == NOW + 500
    assert core.disconnected(1, NOW) == [Wake(one.ticket, None)]
    (answer,) = core.wake(two.ticket, NOW + 500)
    assert isinstance(answer, Send) and answer.connection == 2
    assert core.wake(one.ticket, NOW + 500) == [] and not core.waiting
