"""Bytes <-> the version-free messages of `models.messages`, by the layouts that kio brings for every API and version.

kio says which fields a version has, in which order, of which type; a field goes to the model's field of the same name (kio leaves "_ms" out
of times). Primitives are read here rather than by kio, because what a broker forgives is part of the protocol (WIRE-FRAME-8, -9): bad UTF-8
and unknown tags, but no length beyond the bytes there are. Nothing is taken or made on the word of a length alone.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import struct
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any

import attrs
from kio.schema.index import api_key_map

from fiducial.models.apis import APIS
from fiducial.models.rules import rule

#: A string has a length of 16 bits, also where a version writes it as a varint.
STRING_BYTES_MAX = 32767

RecordsIn = Callable[[bytes | None], Any]
RecordsOut = Callable[[Any], bytes | None]


class Malformed(ValueError):
    """The bytes are not a message of the layout."""


def raw(records: Any) -> Any:
    """Records left as the bytes they are."""
    return records


# Reading


class Reader:
    """A position in a buffer. Every read beyond the end raises Malformed."""

    __slots__ = ("buffer", "position", "records")

    def __init__(self, buffer: bytes, records: RecordsIn = raw, position: int = 0) -> None:
        self.buffer = buffer
        self.position = position
        self.records = records

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        begin = self.position
        end = begin + size
        if end > len(self.buffer):
            raise Malformed(f"{size} bytes wanted at {begin}, {len(self.buffer) - begin} are left")
        self.position = end
        return self.buffer[begin:end]

    def number(self, layout: struct.Struct) -> Any:
        """One fixed-size number."""
        begin = self.position
        if begin + layout.size > len(self.buffer):
            raise Malformed(f"a number of {layout.size} bytes wanted at {begin}, {len(self.buffer) - begin} are left")
        self.position = begin + layout.size
        return layout.unpack_from(self.buffer, begin)[0]

    def varint(self) -> int:
        """An unsigned varint of at most 5 bytes; longer than it need be is fine, and bits above 32 fall away."""
        number = 0
        for shift in range(0, 35, 7):
            byte = self.take(1)[0]
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number & 0xFFFFFFFF
        raise Malformed("a varint of more than 5 bytes")

    def tags(self) -> Iterator[tuple[int, int]]:
        """Of each tagged field its tag and the size it claims; whoever is given them reads the value, or skips it."""
        for _ in range(signed(self.varint())):
            yield self.varint(), self.varint()

    @rule("WIRE-FRAME-6")
    def skip_tags(self) -> None:
        """Tagged fields, all unknown."""
        for _, size in self.tags():
            self.take(size)


def signed(number: int) -> int:
    """The number that these 32 bits are to Java."""
    return (number + 2**31) % 2**32 - 2**31


INT8, INT16, INT32, INT64, UINT16, FLOAT64 = (struct.Struct(code) for code in (">b", ">h", ">i", ">q", ">H", ">d"))
FIXED = {
    "int8": INT8,
    "int16": INT16,
    "int32": INT32,
    "int64": INT64,
    "uint16": UINT16,
    "float64": FLOAT64,
    "error_code": INT16,
    "timedelta_i32": INT32,
    "timedelta_i64": INT64,
    "datetime_i64": INT64,
}

Read = Callable[[Reader], Any]
Write = Callable[[bytearray, Any, RecordsOut], None]


@rule("WIRE-FRAME-8")
def read_size(reader: Reader, flexible: bool, is_short: bool) -> int:
    """The length in front of a string, bytes or array; anything negative is null."""
    if flexible:
        return signed(reader.varint() - 1)
    return int(reader.number(INT16 if is_short else INT32))


def sized_reader(kind: str, flexible: bool, nullable: bool) -> Read:
    """A reader of strings, bytes or records."""
    is_string = kind == "string"

    def read(reader: Reader) -> Any:
        size = read_size(reader, flexible, is_string)
        if size < 0:
            if not nullable:
                raise Malformed(f"null where a {kind} must be")
            return reader.records(None) if kind == "records" else None
        taken = reader.take(size)
        if is_string:
            return text_of(taken)
        return reader.records(taken) if kind == "records" else taken

    return read


@rule("WIRE-FRAME-8")
def text_of(taken: bytes) -> str:
    """A string; what is not UTF-8 becomes U+FFFD. Longer than can be said again, it is refused."""
    text = taken.decode("utf-8", "replace")
    if len(text.encode()) > STRING_BYTES_MAX:
        raise Malformed(f"a string of more than {STRING_BYTES_MAX} bytes")
    return text


def primitive_reader(kind: str, flexible: bool, nullable: bool) -> Read:
    """A reader of one value that is not a struct."""
    if kind in FIXED:
        layout = FIXED[kind]
        return lambda reader: reader.number(layout)
    if kind == "bool":
        return lambda reader: reader.take(1) != b"\x00"
    if kind == "uuid":
        return lambda reader: reader.take(16)
    return sized_reader(kind, flexible, nullable)


def array_reader(element: Read, flexible: bool, nullable: bool) -> Read:
    """A reader of arrays."""

    def read(reader: Reader) -> Any:
        size = read_size(reader, flexible, is_short=False)
        if size < 0:
            if not nullable:
                raise Malformed("null where an array must be")
            return None
        if size > len(reader.buffer) - reader.position:  # none of them is read in vain
            raise Malformed(f"an array of {size} where {len(reader.buffer) - reader.position} bytes are left")
        return tuple([element(reader) for _ in range(size)])

    return read


# Writing


def write_varint(out: bytearray, number: int) -> None:
    """An unsigned varint."""
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)


def write_size(out: bytearray, size: int, flexible: bool, is_short: bool) -> None:
    """The length in front of a string, bytes or array; -1 for null."""
    if flexible:
        write_varint(out, size + 1)
    else:
        out += (INT16 if is_short else INT32).pack(size)


def primitive_writer(kind: str, flexible: bool) -> Write:
    """A writer of one value that is not a struct."""
    if kind in FIXED:
        pack = FIXED[kind].pack
        return lambda out, value, _records: out.extend(pack(value))
    if kind == "bool":
        return lambda out, value, _records: out.append(1 if value else 0)
    if kind == "uuid":
        return lambda out, value, _records: out.extend(value)
    is_string = kind == "string"

    def write(out: bytearray, value: Any, records: RecordsOut) -> None:
        encoded = written_text(value) if is_string and value is not None else records(value) if kind == "records" else value
        write_size(out, -1 if encoded is None else len(encoded), flexible, is_string)
        if encoded is not None:
            out += encoded

    return write


def written_text(text: str) -> bytes:
    """A string as UTF-8. One that is too long is cut: names came in as strings, so that it can only be a message for people."""
    encoded = text.encode()
    if len(encoded) > STRING_BYTES_MAX:
        return encoded[:STRING_BYTES_MAX].decode("utf-8", "ignore").encode()
    return encoded


def array_writer(element: Write, flexible: bool) -> Write:
    """A writer of arrays."""

    def write(out: bytearray, value: Any, records: RecordsOut) -> None:
        write_size(out, -1 if value is None else len(value), flexible, is_short=False)
        for one in value or ():
            element(out, one, records)

    return write


# Layouts


def inner(hint: Any, is_struct: Callable[[Any], bool]) -> Any:
    """The struct class inside a type such as `tuple[X, ...] | None`, None if there is none."""
    if isinstance(hint, type) and is_struct(hint):
        return hint
    return next((found for part in typing.get_args(hint) if (found := inner(part, is_struct)) is not None), None)


def is_nullable(hint: Any) -> bool:
    """Does the type admit None, itself rather than in its elements?"""
    return isinstance(hint, types.UnionType) and type(None) in typing.get_args(hint)


def is_array(hint: Any) -> bool:
    """Is it a tuple, or a tuple or None?"""
    return typing.get_origin(hint) is tuple or any(typing.get_origin(part) is tuple for part in typing.get_args(hint))


def model_name(field: dataclasses.Field[Any]) -> str:
    """What the model calls the field."""
    is_time = field.metadata.get("kafka_type", "").startswith(("timedelta", "datetime"))
    return f"{field.name}_ms" if is_time else field.name


class Layout:
    """One struct in one version: how it is read into, and written from, the model's class."""

    def __init__(self, schema: type, model: type) -> None:
        hints = typing.get_type_hints(model)
        self.model = model
        self.flexible: bool = schema.__flexible__  # type: ignore[attr-defined]
        self.fields: list[tuple[str, Read, Write]] = []
        self.tagged: dict[int, tuple[str, Read, Write, Any]] = {}
        default = model()
        for field in dataclasses.fields(schema):
            name = model_name(field)
            read, write = self.access(field, inner(hints[name], attrs.has))
            if "tag" in field.metadata:
                self.tagged[field.metadata["tag"]] = (name, read, write, getattr(default, name))
            else:
                self.fields.append((name, read, write))

    def access(self, field: dataclasses.Field[Any], model: type | None) -> tuple[Read, Write]:
        """How a field is read and written."""
        flexible, nullable, many = self.flexible, is_nullable(field.type), is_array(field.type)
        is_maybe = nullable and not many  # an array that may be null has no nulls in it
        schema = inner(field.type, dataclasses.is_dataclass)
        if schema is not None:
            assert model is not None
            struct_ = layout(schema, model)
            read: Read = struct_.read_nullable if is_maybe else struct_.read
            write: Write = struct_.write_nullable if is_maybe else struct_.write
        else:
            kind = field.metadata["kafka_type"]
            read, write = primitive_reader(kind, flexible, is_maybe), primitive_writer(kind, flexible)
        if many:
            return array_reader(read, flexible, nullable), array_writer(write, flexible)
        return read, write

    @rule("WIRE-FRAME-9")
    def read(self, reader: Reader) -> Any:
        """One struct. Unknown tags are skipped; a known one is read by its type, whatever size it claims, and the last one wins."""
        values = {name: read(reader) for name, read, _ in self.fields}
        if self.flexible:
            for tag, size in reader.tags():
                if tag in self.tagged:
                    name, read, _, _ = self.tagged[tag]
                    values[name] = read(reader)
                else:
                    reader.take(size)
        return self.model(**values)

    def write(self, out: bytearray, value: Any, records: RecordsOut) -> None:
        """One struct; a tagged field that has its default is left out."""
        for name, _, write in self.fields:
            write(out, getattr(value, name), records)
        if not self.flexible:
            return
        present = [
            (tag, write, getattr(value, name))
            for tag, (name, _, write, default) in self.tagged.items()
            if getattr(value, name) != default
        ]
        write_varint(out, len(present))
        for tag, write, one in present:
            encoded = bytearray()
            write(encoded, one, records)
            write_varint(out, tag)
            write_varint(out, len(encoded))
            out += encoded

    def read_nullable(self, reader: Reader) -> Any:
        """A byte that says whether there is one, then the struct."""
        return self.read(reader) if reader.number(INT8) >= 0 else None

    def write_nullable(self, out: bytearray, value: Any, records: RecordsOut) -> None:
        """The same, written."""
        out += INT8.pack(-1 if value is None else 1)
        if value is not None:
            self.write(out, value, records)


@functools.cache
def layout(schema: type, model: type) -> Layout:
    """The layout of kio's class for the model's class."""
    return Layout(schema, model)


@functools.cache
def layout_of(api_key: int, api_version: int, kind: str) -> Layout:
    """The layout of a "request" or "response"."""
    api = APIS[api_key]
    model = api.request if kind == "request" else api.response
    module = importlib.import_module(f"kio.schema.{api_key_map[api_key]}.v{api_version}.{kind}")
    return layout(getattr(module, model.__name__), model)


def decode(buffer: bytes, api_key: int, api_version: int, kind: str, records: RecordsIn = raw, position: int = 0) -> Any:
    """The message in `buffer` from `position` on; bytes behind it are ignored. Malformed if it is none."""
    return layout_of(api_key, api_version, kind).read(Reader(buffer, records, position))


def encode(message: Any, api_key: int, api_version: int, kind: str, records: RecordsOut = raw) -> bytearray:
    """The bytes of a message."""
    out = bytearray()
    layout_of(api_key, api_version, kind).write(out, message, records)
    return out
