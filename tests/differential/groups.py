"""What random histories of groups are made of: a connection that speaks the group APIs to Apache Kafka, and a comparison of its answers with the model's.

kio's layouts are used, and the model is asked as it is: neither a broker of ours nor its codec stands between the two.
"""

from __future__ import annotations

import dataclasses
import importlib
import io
import re
import select
import socket
import struct
import typing
from collections.abc import Iterator, Mapping
from datetime import timedelta
from enum import Enum
from types import TracebackType
from typing import Any
from uuid import UUID

from kio.schema.index import api_key_map
from kio.serial import entity_reader, entity_writer

from fiducial.models.apis import APIS, Api
from fiducial.models.values import ZERO_UUID

BY_REQUEST: Mapping[type, Api] = {api.request: api for api in APIS.values()}
CLIENT_ID = b"c"
#: How long an answer is awaited that the model gives at once, and one that it does not give.
ANSWER_S, SILENCE_S = 10.0, 0.02
#: What is each broker's own to say.
OWN = frozenset({"throttle_time_ms", "error_message", "client_host"})
#: What tells the parts of an answer from one another.
KEYS = ("member_id", "name", "group_id", "partition_index")
MADE_UP = re.compile(r"(.*)-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def name_of(field: dataclasses.Field[Any]) -> str:
    """The field's name in the protocol; kio leaves the unit out of times."""
    is_time = field.metadata.get("kafka_type", "").startswith("timedelta")
    return f"{field.name}_ms" if is_time else field.name


def struct_in(hint: Any) -> Any:
    """kio's class inside a type such as `tuple[X, ...] | None`, None if there is none."""
    if dataclasses.is_dataclass(hint):
        return hint
    return next((found for part in typing.get_args(hint) if (found := struct_in(part)) is not None), None)


def in_kio(layout: Any, message: Any) -> Any:
    """A message of the models in kio's class for one version of it."""
    fields = {}
    for field in dataclasses.fields(layout):
        content, nested = getattr(message, name_of(field)), struct_in(field.type)
        if isinstance(content, tuple) and nested is not None:
            content = tuple(in_kio(nested, one) for one in content)
        elif name_of(field) != field.name:
            content = timedelta(milliseconds=content)
        elif field.metadata.get("kafka_type") == "uuid":
            content = None if content == ZERO_UUID else UUID(bytes=content)
        fields[field.name] = content
    return layout(**fields)


class Connection:
    """One connection to Apache Kafka, on which one request is under way at most."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port), ANSWER_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent: tuple[Api, int] | None = None

    def send(self, body: Any, version: int) -> None:
        """A request."""
        assert self.sent is None
        api = BY_REQUEST[type(body)]
        self.sent = api, version
        module = importlib.import_module(f"kio.schema.{api_key_map[api.key]}.v{version}.request")
        layout, frame = getattr(module, api.request.__name__), io.BytesIO()
        frame.write(struct.pack(">hhih", api.key, version, 0, len(CLIENT_ID)) + CLIENT_ID + bytes(version >= api.flexible_from))
        entity_writer(layout)(frame, in_kio(layout, body))
        self.socket.sendall(struct.pack(">i", len(frame.getvalue())) + frame.getvalue())

    def is_silent(self, seconds: float = SILENCE_S) -> bool:
        """Does nothing come?"""
        return not select.select([self.socket], [], [], seconds)[0]

    def answer(self) -> Any:
        """The answer, in kio's class."""
        assert self.sent is not None
        (api, version), self.sent = self.sent, None
        frame = self.exactly(struct.unpack(">i", self.exactly(4))[0])
        module = importlib.import_module(f"kio.schema.{api_key_map[api.key]}.v{version}.response")
        body, _ = entity_reader(getattr(module, api.response.__name__))(frame, 4 + (version >= api.flexible_from))
        return body

    def exactly(self, size: int) -> bytes:
        """So many bytes."""
        taken = b""
        while len(taken) < size:
            chunk = self.socket.recv(size - len(taken))
            assert chunk, "the connection ended"
            taken += chunk
        return taken

    def ask(self, body: Any, version: int) -> Any:
        """A request and its answer."""
        self.send(body, version)
        return self.answer()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.socket.close()


# Comparing


def differences(kafka: Any, model: Any, names: Mapping[str, str], where: str = "") -> Iterator[str]:
    """Where two answers differ, as far as the version says it; `names` are Kafka's member ids as the model calls them."""
    for field in dataclasses.fields(kafka):
        name = name_of(field)
        if name not in OWN:
            yield from difference(getattr(kafka, field.name), getattr(model, name), names, f"{where}.{name}")


def difference(kafka: Any, model: Any, names: Mapping[str, str], where: str) -> Iterator[str]:
    """Where two values differ. The order of a list is no matter."""
    if isinstance(kafka, tuple) and isinstance(model, tuple):
        if len(kafka) != len(model):
            yield f"{where}: Kafka has {len(kafka)}, the model {len(model)}"
        known = {told: told for told in names.values()}
        ours = sorted(model, key=lambda one: key_of(one, known))
        for at, one in enumerate(sorted(kafka, key=lambda one: key_of(one, names))[: len(ours)]):
            yield from differences(one, ours[at], names, f"{where}[{at}]")
    elif not is_same(kafka.value if isinstance(kafka, Enum) else kafka, model, names):
        yield f"{where}: Kafka says {kafka!r}, the model {model!r}"


def key_of(one: Any, names: Mapping[str, str]) -> tuple[Any, ...]:
    """What a part of an answer is called, by the model's names; an id that nobody was told yet by what it is made of."""
    found = (getattr(one, name, None) for name in KEYS)
    return tuple((names[part] if part in names else kind_of(part)) if isinstance(part, str) else part or 0 for part in found)


def kind_of(text: str) -> str:
    """A made-up id without its UUID."""
    found = MADE_UP.fullmatch(text)
    return text if found is None else found[1]


def is_same(kafka: Any, model: Any, names: Mapping[str, str]) -> bool:
    """Equal, or ids of the same member, or of two that nobody was told of yet."""
    if not isinstance(kafka, str) or kafka in names:
        return bool(names.get(kafka, kafka) == model) if isinstance(kafka, str) else bool(kafka == model)
    return kafka == model or (MADE_UP.fullmatch(kafka) is not None and kind_of(kafka) == kind_of(model) and model not in names.values())
