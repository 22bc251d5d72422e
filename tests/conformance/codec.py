"""Bytes <-> the messages of `models.messages`, by the tables of `layouts`.

Reading is strict: what a lenient client would overlook (bytes left over, a tag of the wrong size, a null where none may be) is Malformed, with
the field that it was found at; tags that nobody knows are no fault, since a newer broker may have them. A `Forgiving` reader overlooks what a
broker must (WIRE-FRAME-6 to -9). Writing is not strict at all: it can say what no sound client would.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

from fiducial.conformance.layouts import STRUCTS, Field
from fiducial.models import messages
from fiducial.models.apis import APIS, Verdict, has_flexible_answer, has_flexible_header, verdict
from fiducial.models.values import value

Kind = Literal["request", "response"]

NUMBERS = {"int8": struct.Struct(">b"), "int16": struct.Struct(">h"), "int32": struct.Struct(">i"), "int64": struct.Struct(">q")}
INT8, INT16, INT32 = NUMBERS["int8"], NUMBERS["int16"], NUMBERS["int32"]
UUID_BYTES = 16
VARINT_BYTES_MAX = 5
#: A string has a length of 16 bits, also where a version writes it as a varint.
STRING_BYTES_MAX = 32_767


class Malformed(ValueError):
    """The bytes are no message of the layout."""

    def __init__(self, place: str, position: int, problem: str) -> None:
        super().__init__(f"{place or 'the message'}, byte {position}: {problem}")
        self.place = place
        self.position = position
        self.problem = problem


@value
class Raw:
    """In place of a field: these bytes, whatever its type."""

    data: bytes


@value
class Tagged:
    """In place of a struct: the struct, and tagged fields that its layout does not have."""

    struct: Any
    tags: tuple[tuple[int, bytes], ...]


@value
class Version:
    """The version that a message is in."""

    number: int
    is_flexible: bool


def version_of(api_key: int, api_version: int) -> Version:
    """A version of an API's messages. ValueError for one that the tables do not have."""
    api = APIS.get(api_key)
    if api is None or not api.min_version <= api_version <= api.max_version:
        raise ValueError(f"no layout of API {api_key} in version {api_version}")
    return Version(api_version, api_version >= api.flexible_from)


def message_class(api_key: int, kind: Kind) -> type:
    """The class of an API's messages."""
    return APIS[api_key].request if kind == "request" else APIS[api_key].response


@cache
def fields_of(name: str, version: Version) -> list[Field]:
    """The fields that a struct has in a version."""
    return [field for field in STRUCTS[name] if version.number in field.versions]


# Reading


class Reader:
    """A position in a buffer, and which field is being read there."""

    def __init__(self, data: bytes, position: int = 0) -> None:
        self.data = data
        self.position = position
        self.path: list[str] = []

    def malformed(self, problem: str) -> Malformed:
        """What is wrong here."""
        return Malformed("".join(self.path).removeprefix("."), self.position, problem)

    def take(self, size: int) -> bytes:
        """The next bytes."""
        end = self.position + size
        if end > len(self.data):
            raise self.malformed(f"{size} bytes wanted, {len(self.data) - self.position} are left")
        taken = self.data[self.position : end]
        self.position = end
        return taken

    def number(self, layout: struct.Struct) -> int:
        """A number of fixed size."""
        return int(layout.unpack(self.take(layout.size))[0])

    def varint(self) -> int:
        """An unsigned varint of 32 bits."""
        number = 0
        for index in range(VARINT_BYTES_MAX):
            (byte,) = self.take(1)
            number |= (byte & 0x7F) << 7 * index
            if byte < 0x80:
                break
        else:
            raise self.malformed(f"a varint of more than {VARINT_BYTES_MAX} bytes")
        if number >= 1 << 32:
            raise self.malformed("a varint of more than 32 bits")
        return number

    def size(self, layout: struct.Struct, version: Version) -> int:
        """The length of what follows, -1 for null."""
        size = self.varint() - 1 if version.is_flexible else self.number(layout)
        if size < -1:
            raise self.malformed(f"a length of {size}")
        return size

    def boolean(self) -> bool:
        """A byte that is 0 or 1."""
        byte = self.number(INT8)
        if byte not in (0, 1):
            raise self.malformed(f"{byte} is neither false nor true")
        return byte == 1

    def text(self, taken: bytes) -> str:
        """The string that some bytes are."""
        try:
            return taken.decode()
        except UnicodeDecodeError as error:
            raise self.malformed(f"not UTF-8: {error.reason}") from None

    def count_of_tags(self) -> int:
        """How many tagged fields follow."""
        return self.varint()

    def check_order(self, tag: int, last: int) -> None:
        """Tags ascend."""
        if tag <= last:
            raise self.malformed(f"tag {tag} behind tag {last}")

    def check_end(self, field: Field, end: int) -> None:
        """A tagged field ends where it says."""
        if self.position != end:
            raise self.malformed(f"tag {field.tag} ({field.name}) says it ends at byte {end}")


class Forgiving(Reader):
    """What a broker makes of a request's bytes: it overlooks oddities that leave no doubt about what follows."""

    def varint(self) -> int:
        """Bits above the 32nd fall away."""
        number = 0
        for index in range(VARINT_BYTES_MAX):
            (byte,) = self.take(1)
            number |= (byte & 0x7F) << 7 * index
            if byte < 0x80:
                return number & 0xFFFF_FFFF
        raise self.malformed(f"a varint of more than {VARINT_BYTES_MAX} bytes")

    def size(self, layout: struct.Struct, version: Version) -> int:
        """Anything negative is null."""
        size = signed(self.varint() - 1) if version.is_flexible else self.number(layout)
        return max(size, -1)

    def boolean(self) -> bool:
        """Any byte but 0 is true."""
        return self.number(INT8) != 0

    def text(self, taken: bytes) -> str:
        """What is not UTF-8 is replaced; longer than can be said again, it is refused."""
        text = taken.decode("utf-8", "replace")
        if len(text.encode()) > STRING_BYTES_MAX:
            raise self.malformed(f"a string of more than {STRING_BYTES_MAX} bytes")
        return text

    def count_of_tags(self) -> int:
        """None, if negative."""
        return signed(self.varint())

    def check_order(self, tag: int, last: int) -> None:
        """Any order will do; the last counts."""

    def check_end(self, field: Field, end: int) -> None:
        """It ends where its type says."""


def signed(number: int) -> int:
    """The number that these 32 bits are with a sign."""
    return (number + 2**31) % 2**32 - 2**31


def decode(data: bytes, api_key: int, api_version: int, kind: Kind, position: int = 0) -> Any:
    """The message that the bytes from `position` on are, to the last of them. Malformed if they are none."""
    reader = Reader(data, position)
    message = read_struct(reader, message_class(api_key, kind).__name__, version_of(api_key, api_version))
    if reader.position < len(data):
        raise reader.malformed(f"{len(data) - reader.position} bytes left over")
    return message


def read_struct(reader: Reader, name: str, version: Version) -> Any:
    """One struct."""
    fields = fields_of(name, version)
    held = {field.name: read_field(reader, field, version) for field in fields if field.tag is None}
    if version.is_flexible:
        held |= read_tags(reader, {field.tag: field for field in fields if field.tag is not None}, version)
    return getattr(messages, name)(**held)


def read_tags(reader: Reader, known: Mapping[int, Field], version: Version) -> dict[str, Any]:
    """The tagged fields, those that are known by name: in ascending order, none of them twice, each as long as it says."""
    held: dict[str, Any] = {}
    last = -1
    for _ in range(reader.count_of_tags()):
        tag, size = reader.varint(), reader.varint()
        reader.check_order(tag, last)
        last, end = tag, reader.position + size
        if tag not in known:
            reader.take(size)
            continue
        held[known[tag].name] = read_field(reader, known[tag], version)
        reader.check_end(known[tag], end)
    return held


def read_field(reader: Reader, field: Field, version: Version) -> Any:
    """One field."""
    reader.path.append(f".{field.name}")
    is_nullable = version.number in field.nullable
    kind = field.kind.removeprefix("[]")
    if field.kind != kind:
        found = read_array(reader, kind, is_nullable, version)
    elif kind in STRUCTS and is_nullable:
        found = read_struct(reader, kind, version) if is_present(reader) else None
    else:
        found = read_one(reader, kind, is_nullable, version)
    reader.path.pop()
    return found


def is_present(reader: Reader) -> bool:
    """The byte before a struct that may be null."""
    sign = reader.number(INT8)
    if sign not in (-1, 1) and not isinstance(reader, Forgiving):
        raise reader.malformed(f"{sign} where 1 says that there is a struct, and -1 that there is none")
    return sign >= 0


def read_array(reader: Reader, kind: str, is_nullable: bool, version: Version) -> tuple[Any, ...] | None:
    """An array; there are no nulls in it."""
    size = reader.size(INT32, version)
    if size < 0:
        expect_null(reader, is_nullable)
        return None
    if size > len(reader.data) - reader.position:
        raise reader.malformed(f"an array of {size} in {len(reader.data) - reader.position} bytes")
    found = []
    for index in range(size):
        reader.path.append(f"[{index}]")
        found.append(read_one(reader, kind, False, version))
        reader.path.pop()
    return tuple(found)


def read_one(reader: Reader, kind: str, is_nullable: bool, version: Version) -> Any:
    """A value that is no array."""
    if kind in STRUCTS:
        return read_struct(reader, kind, version)
    if kind in NUMBERS:
        return reader.number(NUMBERS[kind])
    match kind:
        case "bool":
            return reader.boolean()
        case "uuid":
            return reader.take(UUID_BYTES)
        case "string":
            data = read_bytes(reader, INT16, is_nullable, version)
            return reader.text(data) if data is not None else None
        case "bytes" | "records":
            return read_bytes(reader, INT32, is_nullable, version)
    raise AssertionError(f"nothing reads {kind}")


def read_bytes(reader: Reader, layout: struct.Struct, is_nullable: bool, version: Version) -> bytes | None:
    """Bytes behind their length."""
    size = reader.size(layout, version)
    if size < 0:
        expect_null(reader, is_nullable)
        return None
    return reader.take(size)


def expect_null(reader: Reader, is_nullable: bool) -> None:
    """A null is here; it is malformed where there may be none."""
    if not is_nullable:
        raise reader.malformed("null where none may be")


# Writing


def encode(message: Any, api_key: int, api_version: int, kind: Kind) -> bytes:
    """The bytes of a message. Nulls are written wherever they stand, and Raw and Tagged say what no layout allows."""
    out = bytearray()
    write_struct(out, message_class(api_key, kind).__name__, message, version_of(api_key, api_version))
    return bytes(out)


def write_struct(out: bytearray, name: str, held: Any, version: Version) -> None:
    """One struct."""
    if isinstance(held, Raw):
        out += held.data
        return
    more: tuple[tuple[int, bytes], ...] = ()
    if isinstance(held, Tagged):
        held, more = held.struct, held.tags
    fields = fields_of(name, version)
    for field in fields:
        if field.tag is None:
            write_field(out, field, getattr(held, field.name), version)
    if version.is_flexible:
        plain = getattr(messages, name)()
        tagged = [field for field in fields if field.tag is not None and getattr(held, field.name) != getattr(plain, field.name)]
        write_tags(out, [*((field.tag or 0, written(field, getattr(held, field.name), version)) for field in tagged), *more])


def write_tags(out: bytearray, tags: list[tuple[int, bytes]]) -> None:
    """Tagged fields, in the order in which they are given."""
    write_varint(out, len(tags))
    for tag, data in tags:
        write_varint(out, tag)
        write_varint(out, len(data))
        out += data


def written(field: Field, held: Any, version: Version) -> bytes:
    """The bytes of one field."""
    out = bytearray()
    write_field(out, field, held, version)
    return bytes(out)


def write_field(out: bytearray, field: Field, held: Any, version: Version) -> None:
    """One field."""
    kind = field.kind.removeprefix("[]")
    if isinstance(held, Raw):
        out += held.data
    elif field.kind != kind:
        write_size(out, None if held is None else len(held), INT32, version)
        for one in held or ():
            write_one(out, kind, one, version)
    elif kind in STRUCTS and version.number in field.nullable:
        out += INT8.pack(-1 if held is None else 1)
        if held is not None:
            write_struct(out, kind, held, version)
    else:
        write_one(out, kind, held, version)


def write_one(out: bytearray, kind: str, held: Any, version: Version) -> None:
    """A value that is no array."""
    if kind in STRUCTS:
        write_struct(out, kind, held, version)
    elif kind in NUMBERS:
        out += NUMBERS[kind].pack(held)
    elif kind == "bool":
        out.append(held)
    elif kind == "uuid":
        out += held
    else:
        data = held.encode() if isinstance(held, str) else held
        write_size(out, None if data is None else len(data), INT16 if kind == "string" else INT32, version)
        out += data or b""


def write_size(out: bytearray, size: int | None, layout: struct.Struct, version: Version) -> None:
    """The length of what follows; None for null."""
    size = -1 if size is None else size
    if version.is_flexible:
        write_varint(out, size + 1)
    else:
        out += layout.pack(size)


def write_varint(out: bytearray, number: int) -> None:
    """An unsigned varint."""
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)


# Frames, without their length


ClientId = str | bytes | Raw | None


def request_frame(
    api_key: int, api_version: int, correlation_id: int, client_id: ClientId, body: bytes, tags: bytes | None = None
) -> bytes:
    """A request: its header, and a body. `tags`: what stands in place of the tagged fields of the header, or their absence."""
    header = struct.pack(">hhi", api_key, api_version, correlation_id) + sized_name(client_id)
    own = b"\x00" if has_flexible_header(api_key, api_version) else b""
    return header + (own if tags is None else tags) + body


def sized_name(client_id: ClientId) -> bytes:
    """A client id behind its length, which is of the classic kind in every version."""
    if isinstance(client_id, Raw):
        return client_id.data
    name = client_id.encode() if isinstance(client_id, str) else client_id
    return INT16.pack(-1 if name is None else len(name)) + (name or b"")


@value
class Request:
    """A request as a broker reads it."""

    api_key: int
    api_version: int
    client_id: str | None
    message: Any  # None: of a key, or in a version, that nobody knows


def read_request(frame: bytes) -> Request:
    """The request in a frame, as a broker reads it. Malformed if it is none."""
    reader = Forgiving(frame)
    reader.path.append("header")
    api_key, api_version, _ = reader.number(INT16), reader.number(INT16), reader.number(INT32)
    size = reader.number(INT16)
    client_id = reader.take(size).decode("utf-8", "replace") if size >= 0 else None
    if has_flexible_header(api_key, api_version):
        read_tags(reader, {}, Version(api_version, is_flexible=True))
    if verdict(api_key, api_version) is not Verdict.SERVE:
        return Request(api_key, api_version, client_id, None)
    reader.path.clear()
    message = read_struct(reader, message_class(api_key, "request").__name__, version_of(api_key, api_version))
    return Request(api_key, api_version, client_id, message)


def answer_body(frame: bytes, api_key: int, api_version: int) -> int:
    """Where the body of an answer begins, behind its correlation id and the tags of its header."""
    reader = Reader(frame, INT32.size)
    reader.path.append("header")
    if has_flexible_answer(api_key, api_version):
        read_tags(reader, {}, Version(api_version, is_flexible=True))
    return reader.position


def as_seen(message: Any, api_key: int, api_version: int, kind: Kind) -> Any:
    """The message as whoever reads it in a version sees it: what the version lacks has its default."""
    return decode(encode(message, api_key, api_version, kind), api_key, api_version, kind)
