"""Random messages of any API and version: as the model's class, and as kio's, which says what fields there are and of which types."""

from __future__ import annotations

import dataclasses
import datetime
import importlib
import io
import random
import typing
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import attrs
from kio.schema.errors import ErrorCode
from kio.schema.index import api_key_map
from kio.serial import entity_reader, entity_writer

from fiducial.models.apis import APIS, Api
from fiducial.models.values import ZERO_UUID
from fiducial.reference.codec import inner, is_array, is_nullable, model_name

Kind = Literal["request", "response"]
KINDS: tuple[Kind, Kind] = ("request", "response")
BITS = {"int8": 8, "int16": 16, "error_code": 16, "int32": 32, "timedelta_i32": 32, "int64": 64, "timedelta_i64": 64, "datetime_i64": 64}
#: Lengths on both sides of where a compact length takes a second byte, and every length of a character in UTF-8.
TEXTS = ("", "a", "topic-1", "a\x00b", "ünï→𝄞", "\ufffd", "x" * 126, "y" * 127, "é" * 64)
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
LAST_DATE_MS = 4102444799999  # the end of 2099; dates and spans of time far beyond it are rounded by kio, or more than Python's


@dataclass(frozen=True)
class Layout:
    """A message in one version."""

    api: Api
    version: int
    kind: Kind

    @property
    def model(self) -> type:
        """The model's class."""
        return self.api.request if self.kind == "request" else self.api.response

    @property
    def schema(self) -> type:
        """kio's class."""
        module = importlib.import_module(f"kio.schema.{api_key_map[self.api.key]}.v{self.version}.{self.kind}")
        return typing.cast(type, getattr(module, self.model.__name__))

    @property
    def where(self) -> tuple[int, int, Kind]:
        """How codecs are told."""
        return self.api.key, self.version, self.kind


def layouts(api: Api, kind: Kind) -> Iterator[Layout]:
    """Every version of a message."""
    return (Layout(api, version, kind) for version in range(api.min_version, api.max_version + 1))


def every_layout() -> Iterator[Layout]:
    """Every version of every message."""
    return (layout for api in APIS.values() for kind in KINDS for layout in layouts(api, kind))


class Messages:
    """Random messages of the model's classes: nulls, empties, extremes, all kinds of text, nested arrays, tagged fields there or not.

    `for_kio`: only what kio can hold, whose error codes are the known ones, and whose times are near.
    """

    def __init__(self, seed: int, *, for_kio: bool) -> None:
        self.random = random.Random(seed)
        self.for_kio = for_kio

    def message(self, layout: Layout) -> Any:
        """One message."""
        return self.struct(layout.schema, layout.model, depth=0)

    def struct(self, schema: type, model: type, depth: int) -> Any:
        """One struct; what the version lacks has its default."""
        hints, plain = typing.get_type_hints(model), model()
        values = {}
        for field in dataclasses.fields(schema):
            name = model_name(field)
            if "tag" in field.metadata and self.random.random() < 0.3:
                values[name] = getattr(plain, name)
            else:
                values[name] = self.field(field, hints[name], depth)
        return model(**values)

    def field(self, field: dataclasses.Field[Any], hint: Any, depth: int) -> Any:
        """One field."""
        kind = field.metadata.get("kafka_type", "")
        if is_nullable(field.type) and kind not in ("uuid", "datetime_i64") and self.random.random() < 0.25:
            return None
        schema = inner(field.type, dataclasses.is_dataclass)
        if not is_array(field.type):
            return self.one(schema, kind, hint, depth)
        lengths = ((0, 1, 2, 3) if depth == 0 else (0, 1, 1, 2)) if schema is not None else (0, 1, 2, 126, 127)
        return tuple(self.one(schema, kind, hint, depth + 1) for _ in range(self.random.choice(lengths)))

    def one(self, schema: Any, kind: str, hint: Any, depth: int) -> Any:
        """One value that is not an array."""
        if schema is not None:
            return self.struct(schema, inner(hint, attrs.has), depth)
        match kind:
            case "string":
                return self.random.choice(TEXTS)
            case "bytes" | "records":
                return self.random.randbytes(self.random.choice((0, 1, 127, 300)))
            case "uuid":
                return self.random.choice((ZERO_UUID, b"\xff" * 16, self.random.randbytes(16)))
            case "bool":
                return self.random.random() < 0.5
            case _:
                return self.integer(kind)

    def integer(self, kind: str) -> int:
        """A number that the type can hold: often a small one, or an extreme."""
        if self.for_kio and kind == "error_code":
            return self.random.choice(list(ErrorCode)).value
        if self.for_kio and kind in ("datetime_i64", "timedelta_i64"):
            return self.random.choice((-1, 0, LAST_DATE_MS, self.random.randrange(LAST_DATE_MS)))
        end = 1 << (BITS[kind] - 1)
        return self.random.choice((-1, 0, 1, -end, end - 1, self.random.randrange(-end, end)))


# kio


def entity_of(schema: type, message: Any) -> Any:
    """The model's message as kio's."""
    return schema(**{field.name: as_kio(field, getattr(message, model_name(field))) for field in dataclasses.fields(schema)})


def as_kio(field: dataclasses.Field[Any], value: Any) -> Any:
    """One field as kio holds it."""
    schema = inner(field.type, dataclasses.is_dataclass)
    if value is None:
        return None
    if is_array(field.type):
        return tuple(entity_of(schema, one) for one in value) if schema is not None else value
    if schema is not None:
        return entity_of(schema, value)
    match field.metadata["kafka_type"]:
        case "error_code":
            return ErrorCode(value)
        case "timedelta_i32" | "timedelta_i64":
            return datetime.timedelta(milliseconds=value)
        case "datetime_i64":
            return EPOCH + datetime.timedelta(milliseconds=value) if value != -1 else None
        case "uuid":
            return uuid.UUID(bytes=value) if value != ZERO_UUID else None
        case _:
            return value


def written_by_kio(schema: Any, entity: Any) -> bytes:
    """The bytes that kio makes."""
    buffer = io.BytesIO()
    entity_writer(schema)(buffer, entity)
    return buffer.getvalue()


def read_by_kio(schema: Any, data: bytes) -> Any:
    """What kio reads from all of the bytes."""
    entity, size = entity_reader(schema)(data, 0)
    assert size == len(data)
    return entity
