"""Kafka's message layouts as a form that code can be generated from: every served message, its structs and fields in order.

A layout says everything but one thing: which class of `models.messages` a struct becomes. That is found by name, field by field, and where
model and layout disagree on a name or a default there is no form, but an error that says so.
"""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import attrs

from fiducial.models.apis import APIS, Api
from fiducial.models.values import ZERO_UUID

#: The fewest bytes of each type, in any version.
BYTES_MIN = {"bool": 1, "int8": 1, "int16": 2, "int32": 4, "int64": 8, "uuid": 16, "string": 1, "bytes": 1, "records": 1}
ZEROS: dict[str, Any] = {"bool": False, "string": "", "uuid": ZERO_UUID, "bytes": b"", "records": None}

#: What a layout may say. What is not here is not understood, and must not be passed over.
MESSAGE_KEYS = {"apiKey", "type", "listeners", "name", "validVersions", "flexibleVersions", "latestVersionUnstable", "fields"}
FIELD_KEYS = {"name", "type", "versions", "nullableVersions", "taggedVersions", "tag", "default", "fields"}
FIELD_KEYS |= {"about", "entityType", "ignorable", "mapKey"}  # these change nothing on the wire

#: The versions in which something holds, all of them served. An empty one is "never".
Versions = range


class Disagreement(ValueError):
    """The layouts and the models do not fit, or a layout has what no code can be generated for yet."""


@dataclass(frozen=True)
class Field:
    """One field of a struct."""

    name: str
    kind: str  # a key of BYTES_MIN, or "struct"
    is_array: bool
    struct: Struct | None
    versions: Versions
    nullable: Versions
    tag: int | None
    default: Any  # None, (), a primitive, or a value of the model's class

    def bytes_min(self, flexible: bool) -> int:
        """The fewest bytes that the field has where it is on the wire."""
        if self.is_array or self.kind in ("bytes", "records"):
            return 1 if flexible else 4
        if self.kind == "string":
            return 1 if flexible else 2
        return 1 if self.nullable else self.item_bytes_min

    @property
    def item_bytes_min(self) -> int:
        """The fewest bytes that it has in any version, or that an item of it has."""
        return self.struct.bytes_min if self.struct else BYTES_MIN[self.kind]


@dataclass(frozen=True)
class Struct:
    """A message, or a struct inside one. The model's class has the same fields in an order of its own."""

    model: type
    fields: tuple[Field, ...]
    versions: Versions
    flexible: Versions  # of those, the ones with tagged fields
    is_request: bool  # or part of one

    @property
    def name(self) -> str:
        """What the model calls it."""
        return self.model.__name__

    @property
    def bytes_min(self) -> int:
        """The fewest bytes in any version."""
        return min(
            sum(field.bytes_min(version in self.flexible) for field in self.fields if field.tag is None and version in field.versions)
            + (version in self.flexible)
            for version in self.versions
        )

    def in_model_order(self) -> list[Field]:
        """The fields as the model's class takes them."""
        by_name = {field.name: field for field in self.fields}
        return [by_name[attribute.name] for attribute in attrs.fields(self.model)]

    def tagged(self) -> list[Field]:
        """The tagged fields, by tag."""
        return sorted((field for field in self.fields if field.tag is not None), key=lambda field: field.tag or 0)

    def untagged(self) -> list[Field]:
        """All others."""
        return [field for field in self.fields if field.tag is None]

    def walk(self) -> Iterator[Struct]:
        """The structs inside, then itself."""
        for field in self.fields:
            if field.struct is not None:
                yield from field.struct.walk()
        yield self


@dataclass(frozen=True)
class Message:
    """A request or a response of one API."""

    api: Api
    is_request: bool
    struct: Struct


def messages(folder: Path) -> list[Message]:
    """Every message of `models.apis`, requests and responses."""
    return [
        message(api, is_request, json.loads(without_comments((folder / f"{api.name}{kind}.json").read_text())))
        for api in APIS.values()
        for is_request, kind in ((True, "Request"), (False, "Response"))
    ]


def without_comments(text: str) -> str:
    """JSON without the lines that are comments."""
    return re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE)


def message(api: Api, is_request: bool, layout: dict[str, Any]) -> Message:
    """One message."""
    expect(layout.keys() <= MESSAGE_KEYS, f"{layout['name']}: {layout.keys() - MESSAGE_KEYS} is not understood")
    served = range(api.min_version, api.max_version + 1)
    expect(versions(layout["validVersions"], served) == served, f"{layout['name']}: has not all versions that are served")
    flexible = versions(layout["flexibleVersions"], served)
    expect(flexible == range(max(api.flexible_from, served.start), served.stop), f"{layout['name']}: is flexible in {flexible}")
    model = api.request if is_request else api.response
    return Message(api, is_request, struct(layout["fields"], model, served, flexible, is_request))


def struct(layouts: list[dict[str, Any]], model: type, within: Versions, flexible: Versions, is_request: bool) -> Struct:
    """A struct that there is in the versions `within`."""
    hints = typing.get_type_hints(model)
    present = [layout for layout in layouts if versions(layout["versions"], within)]
    fields = tuple(field(layout, model.__name__, hints, within, flexible, is_request) for layout in present)
    names = {one.name for one in fields}
    expect(names == set(hints), f"{model.__name__}: the model and the layout differ in {names ^ set(hints)}")
    plain = model()
    for one in fields:
        expect(
            getattr(plain, one.name) == one.default,
            f"{model.__name__}.{one.name}: {getattr(plain, one.name)!r} in the model, {one.default!r} in the layout",
        )
    return Struct(model, fields, within, overlap(flexible, within), is_request)


def field(layout: dict[str, Any], owner: str, hints: dict[str, Any], within: Versions, flexible: Versions, is_request: bool) -> Field:
    """A field of a struct that there is in the versions `within`."""
    name = snake(layout["name"])
    expect(layout.keys() <= FIELD_KEYS, f"{owner}.{name}: {layout.keys() - FIELD_KEYS} is not understood")
    present = versions(layout["versions"], within)
    tagged = versions(layout.get("taggedVersions", "none"), within)
    expect(tagged in (present, range(0)), f"{owner}.{name}: is tagged in {tagged} only")
    is_array = layout["type"].startswith("[]")
    inner = None
    if "fields" in layout:
        inner = struct(layout["fields"], model_class(hints[name]), present, flexible, is_request)
    kind = "struct" if inner else layout["type"].removeprefix("[]")
    expect(inner is not None or kind in BYTES_MIN, f"{owner}.{name}: nothing reads or writes {kind} yet")
    expect(kind != "records" or not tagged, f"{owner}.{name}: records may not be tagged, since a gap may not be (see wire.pxd)")
    default = default_of(kind, is_array, inner, layout.get("default"))
    nullable = versions(layout.get("nullableVersions", "none"), present)
    return Field(name, kind, is_array, inner, present, nullable, layout["tag"] if tagged else None, default)


def default_of(kind: str, is_array: bool, inner: Struct | None, given: Any) -> Any:
    """What the field holds where it is absent."""
    if given == "null":
        return None
    if is_array:
        return ()
    if inner is not None:
        return inner.model()
    if kind == "bool" and given is not None:
        return str(given).lower() == "true"
    if kind.startswith("int"):
        return int(str(given or 0), 0)
    return ZEROS[kind] if given is None else given


def versions(text: str, within: Versions) -> Versions:
    """Such as 3+, 3-5, 3 or none; only those `within`."""
    if text == "none":
        return range(0)
    first, dash, last = text.rstrip("+").partition("-")
    stop = within.stop if text.endswith("+") else int(last if dash else first) + 1
    return overlap(range(int(first), stop), within)


def overlap(one: Versions, other: Versions) -> Versions:
    """The versions in both."""
    return range(max(one.start, other.start), min(one.stop, other.stop)) or range(0)


def snake(name: str) -> str:
    """The model's spelling of a layout's name."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def model_class(hint: Any) -> type:
    """The model's class inside a type such as `tuple[X, ...] | None`."""
    if isinstance(hint, type) and attrs.has(hint):
        return hint
    return next(model_class(part) for part in typing.get_args(hint) if part not in (type(None), Ellipsis))


def expect(fits: bool, otherwise: str) -> None:
    """Raise if it does not."""
    if not fits:
        raise Disagreement(otherwise)
