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
from fiducial.reference.core import Core, Hangup, Send

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
