"""The messages of the model have what the layouts have: each class and field of any version that is served, by name and with its default, and nothing else."""

from __future__ import annotations

import dataclasses
import importlib
import typing
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import attrs
import pytest
from kio.schema.index import api_key_map

from fiducial.models import messages
from fiducial.models.apis import APIS, Api
from fiducial.models.values import ZERO_UUID

KINDS = ("request", "response")
#: What a layout's field holds when nothing is said of it, by its type on the wire; a nullable string too is empty, not null.
IMPLICIT = {"string": "", "bool": False, "uuid": ZERO_UUID, "records": None, "float64": 0.0, "bytes": b""}


def name_of(field: dataclasses.Field[Any]) -> str:
    """The field's name in the protocol; kio leaves the unit out of times."""
    is_time = field.metadata.get("kafka_type", "").startswith(("timedelta", "datetime"))
    return f"{field.name}_ms" if is_time else field.name


def class_in(hint: Any, is_struct: Any) -> Any:
    """The struct class inside a type such as `tuple[X, ...] | None`, None if there is none."""
    if is_struct(hint):
        return hint
    return next((found for part in typing.get_args(hint) if (found := class_in(part, is_struct))), None)


def structs(schema: type, model: type) -> Iterator[tuple[type, type]]:
    """The layout's class with the model's, and those inside."""
    yield schema, model
    hints = typing.get_type_hints(model)
    for field in dataclasses.fields(schema):
        nested = class_in(field.type, dataclasses.is_dataclass)
        if nested is not None:
            within = class_in(hints[name_of(field)], lambda hint: isinstance(hint, type) and attrs.has(hint))
            assert within is not None, f"{model.__name__}.{name_of(field)} holds no message"
            yield from structs(nested, within)


def layouts(api: Api, kind: str) -> Iterator[tuple[int, type, type]]:
    """(version, the layout's class, the model's) of every struct in every version served."""
    model = api.request if kind == "request" else api.response
    for version in range(api.min_version, api.max_version + 1):
        module = importlib.import_module(f"kio.schema.{api_key_map[api.key]}.v{version}.{kind}")
        for schema, within in structs(getattr(module, model.__name__), model):
            yield version, schema, within


def default_of(field: dataclasses.Field[Any]) -> Any:
    """The layout's default, as the model writes it."""
    if field.default is not dataclasses.MISSING:
        return plain(field.default, field.metadata.get("kafka_type", ""))
    if typing.get_origin(field.type) is tuple or any(typing.get_origin(part) is tuple for part in typing.get_args(field.type)):
        return ()
    nested = class_in(field.type, dataclasses.is_dataclass)
    if nested is not None:
        return {name_of(within): default_of(within) for within in dataclasses.fields(nested)}
    return IMPLICIT.get(field.metadata["kafka_type"], 0)


def plain(value: Any, kafka_type: str) -> Any:
    """A default of kio's without its types: a struct by its fields, times in ms, no id as zeros, no time as -1."""
    if value is None and kafka_type in ("uuid", "datetime_i64"):
        return ZERO_UUID if kafka_type == "uuid" else -1
    if isinstance(value, timedelta):
        return value // timedelta(milliseconds=1)
    if dataclasses.is_dataclass(value):
        return {name_of(field): plain(getattr(value, field.name), field.metadata["kafka_type"]) for field in dataclasses.fields(value)}
    return value


def held(value: Any) -> Any:
    """A default of the model's; a struct by its fields."""
    return attrs.asdict(value) if attrs.has(type(value)) else value


each_message = pytest.mark.parametrize(
    ("api", "kind"), [pytest.param(api, kind, id=f"{api.name}-{kind}") for api in APIS.values() for kind in KINDS]
)


@each_message
def test_every_field_of_every_version_is_in_the_model(api: Api, kind: str) -> None:
    for version, schema, model in layouts(api, kind):
        missing = {name_of(field) for field in dataclasses.fields(schema)} - {field.name for field in attrs.fields(model)}
        assert not missing, f"{model.__name__} in version {version}"


@each_message
def test_the_model_adds_no_field(api: Api, kind: str) -> None:
    known: dict[type, set[str]] = {}
    for _, schema, model in layouts(api, kind):
        known.setdefault(model, set()).update(name_of(field) for field in dataclasses.fields(schema))
    for model, names in known.items():
        assert {field.name for field in attrs.fields(model)} == names, model.__name__


@each_message
def test_defaults_are_those_of_the_layouts(api: Api, kind: str) -> None:
    for version, schema, model in layouts(api, kind):
        defaults = {field.name: held(field.default) for field in attrs.fields(model)}
        for field in dataclasses.fields(schema):
            assert defaults[name_of(field)] == default_of(field), f"{model.__name__}.{name_of(field)} in version {version}"


def test_every_class_is_part_of_a_message() -> None:
    used = {model for api in APIS.values() for kind in KINDS for _, _, model in layouts(api, kind)}
    defined = {one for one in vars(messages).values() if isinstance(one, type) and one.__module__ == messages.__name__}
    assert defined == used
