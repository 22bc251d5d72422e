"""The layouts as data, for the codec of the conformance suite: an independent reading of bytes must not share our code, only the facts."""

from __future__ import annotations

from fiducial.fastpath.codec_generator.cython import HEADER, file, structs_of
from fiducial.fastpath.codec_generator.layouts import Field, Message, Struct, Versions

START = '''\
"""Kafka's message layouts as data: of every message that `models.apis` names, the fields in the order of the wire.

A struct is called as its class in `models.messages`, whose defaults are the layout's. `codec` reads and writes by these tables.
"""

from __future__ import annotations

from typing import NamedTuple


def span(first: int, last: int) -> range:
    """The versions from `first` to `last`, both included."""
    return range(first, last + 1)
'''

FIELD = '''\
class Field(NamedTuple):
    """A field, the versions that have it, those in which it may be null, and its tag if it is a tagged one."""

    name: str
    kind: str  # a primitive or a struct; with [] before it, an array of them
    versions: range
    nullable: range = range(0)
    tag: int | None = None
'''


def source(messages: list[Message]) -> str:
    """All of tests/conformance/layouts.py."""
    entries = [line for struct in structs_of(messages) for line in table(struct)]
    structs = "\n".join(["STRUCTS: dict[str, tuple[Field, ...]] = {", *entries, "}  # fmt: skip"])
    return file(HEADER + START, FIELD, structs)


def table(struct: Struct) -> list[str]:
    """The entry of a struct."""
    fields = [f"        {row(field)}," for field in (*struct.untagged(), *struct.tagged())]
    return [f'    "{struct.name}": (', *fields, "    ),"] if fields else [f'    "{struct.name}": (),']


def row(field: Field) -> str:
    """A field as the table has it."""
    kind = ("[]" if field.is_array else "") + (field.struct.name if field.struct else field.kind)
    more = [f"nullable={span(field.nullable)}"] if field.nullable else []
    more += [f"tag={field.tag}"] if field.tag is not None else []
    return f"Field({', '.join([quoted(field.name), quoted(kind), span(field.versions), *more])})"


def span(versions: Versions) -> str:
    """Versions, both ends included."""
    return f"span({versions.start}, {versions.stop - 1})"


def quoted(text: str) -> str:
    """A string as Python is written here."""
    return f'"{text}"'
