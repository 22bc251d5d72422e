"""The codec for Python: every message, to and from the classes of `models.messages`."""

from __future__ import annotations

from fiducial.fastpath.codec_generator.cython import (
    DIRECTIVES,
    HEADER,
    call,
    condition,
    file,
    function,
    function_name,
    imported,
    in_order,
    indented,
    structs_of,
    tag_variables,
    tags_reader,
    tags_writer,
)
from fiducial.fastpath.codec_generator.layouts import Field, Message, Struct, snake
from fiducial.models.values import ZERO_UUID

DOC = '''\
"""Bytes <-> the classes of `models.messages`, for every API and version that is served.

`decode` and `encode` are for Python; `decode_from` and `encode_into` for who has a reader or a writer. What is forgiven and what is refused is
WIRE-FRAME-8 and 9. A records field is bytes or None, or what a function given as `records` makes of them.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
'''

WIRE = """Reader Writer begin_tag end_tag free_writer read_bool read_int8 read_int16 read_int32 read_int64 read_tags read_varint reader_of
skip_tags take write_bool write_int8 write_int16 write_int32 write_int64 write_varint"""
VALUES = """ReadValue WriteValue read_array read_data read_int8_item read_int32_item read_maybe read_records read_string read_string_item read_uuid
write_array write_data write_int8_item write_int32_item write_maybe write_records write_string write_string_item write_uuid"""

LAYOUT = """\
cdef struct Layout:
    int min_version
    int max_version
    int flexible_from
    ReadValue read_request
    ReadValue read_response
    WriteValue write_request
    WriteValue write_response
"""

END = '''\
class Malformed(ValueError):
    """The bytes are not a message of the layout."""


cdef Layout served_layout(int api_key, int version) except *:
    """The layout of an API that has the version."""
    cdef Layout layout = layout_of(api_key)
    if not layout.min_version <= version <= layout.max_version:
        raise ValueError(f"API {api_key} is not served in version {version}")
    return layout


cdef object decode_from(Reader* reader, int api_key, int version, bint is_request, object records):
    """A message; Malformed if there is none."""
    cdef Layout layout = served_layout(api_key, version)
    cdef ReadValue read = layout.read_request if is_request else layout.read_response
    cdef const uint8_t* begin = reader.at
    message = read(reader, version, version >= layout.flexible_from, records)
    if reader.failed:
        kind = "request" if is_request else "response"
        raise Malformed(f"no {kind} of API {api_key} version {version}: byte {reader.at - begin} and what follows do not fit")
    return message


cdef int encode_into(Writer* writer, object message, int api_key, int version, bint is_request, object records) except -1:
    """Write a message; ValueError if it is larger than messages can be."""
    cdef Layout layout = served_layout(api_key, version)
    cdef WriteValue write = layout.write_request if is_request else layout.write_response
    write(writer, message, version, version >= layout.flexible_from, records)
    if writer.failed:
        raise ValueError(f"{type(message).__name__}: larger than a message can be, or than memory")
    return 0


def decode(bytes buffer not None, int api_key, int api_version, str kind not None, records=None, Py_ssize_t position=0):
    """The "request" or "response" in `buffer` from `position` on; bytes behind it are ignored. Malformed if there is none."""
    if not 0 <= position <= len(buffer):
        raise ValueError(f"position {position} in {len(buffer)} bytes")
    cdef Reader reader = reader_of(<const uint8_t*>PyBytes_AS_STRING(buffer) + position, len(buffer) - position)
    return decode_from(&reader, api_key, api_version, kind == "request", records)


def encode(message, int api_key, int api_version, str kind not None, records=None):
    """The bytes of a "request" or "response"."""
    cdef Writer writer = Writer(NULL, 0, 0, NULL, 0, 0, 0, False)
    try:
        encode_into(&writer, message, api_key, api_version, kind == "request", records)
        return PyBytes_FromStringAndSize(<const char*>writer.data, writer.size)
    finally:
        free_writer(&writer)
'''


def source(messages: list[Message]) -> str:
    """All of codec_objects.pyx."""
    structs = structs_of(messages)
    imports = [
        imported("fiducial.fastpath.codec_values", VALUES.split(), "cimport"),
        imported("fiducial.fastpath.wire", WIRE.split(), "cimport"),
        "",
        imported("fiducial.models.messages", (struct.name for struct in structs)),
        "from fiducial.models.values import ZERO_UUID",
    ]
    return file(
        HEADER + DIRECTIVES + DOC + "\n" + "\n".join(imports),
        "\n".join(constants(structs)),
        *(text for struct in structs for text in (reader(struct), writer(struct))),
        LAYOUT,
        table(messages),
        END,
    )


def constants(structs: list[Struct]) -> list[str]:
    """Structs as they are where a version lacks them."""
    lines = ["# What a message holds where its version has no such struct."]
    for struct in {one.struct.name: one.struct for owner in structs for one in owner.fields if one.struct and has_struct_default(one)}.values():
        lines += call(f"cdef object {constant(struct)} = {struct.name}", [default(field) for field in struct.in_model_order()])
    return lines


def has_struct_default(field: Field) -> bool:
    """Is the default a struct?"""
    return field.struct is not None and not field.is_array and field.default is not None


def constant(struct: Struct) -> str:
    """The name of the struct that has its defaults."""
    return f"DEFAULT_{snake(struct.name).upper()}"


def default(field: Field) -> str:
    """The default as an expression."""
    if field.struct and has_struct_default(field):
        return constant(field.struct)
    return "ZERO_UUID" if field.default == ZERO_UUID else repr(field.default)


# Reading


def reader(struct: Struct) -> str:
    """The function that reads a struct."""
    body = tag_variables(struct, "int32_t tags", "uint32_t tag, size")
    for field in struct.fields:
        present = "False" if field.tag is not None else condition(field.versions, struct.versions)
        either = {"True": read(field), "False": default(field)}
        body.append(f"cdef object {field.name} = {either.get(present) or f'{read(field)} if {present} else {default(field)}'}")
    body += tags_reader(struct, lambda field: [f"{field.name} = {read(field)}"])
    body += call(f"return {struct.name}", [field.name for field in struct.in_model_order()])
    return function(f"cdef object {function_name('read', struct)}(Reader* reader, int version, bint flexible, object convert)", body)


def read(field: Field) -> str:
    """The expression that reads a field."""
    nullable = condition(field.nullable, field.versions)
    if field.is_array:
        item = function_name("read", field.struct) if field.struct else f"read_{field.kind}_item"
        return f"read_array(reader, flexible, {nullable}, {field.item_bytes_min}, {item}, version, convert)"
    if field.struct:
        name = function_name("read", field.struct)
        return f"read_maybe(reader, {name}, version, flexible, convert)" if field.nullable else f"{name}(reader, version, flexible, convert)"
    match field.kind:
        case "string":
            return f"read_string(reader, flexible, {nullable})"
        case "bytes":
            return f"read_data(reader, flexible, {nullable})"
        case "records":
            return f"read_records(reader, flexible, {nullable}, convert)"
        case kind:
            return f"read_{kind}(reader)"


# Writing


def writer(struct: Struct) -> str:
    """The function that writes a struct."""
    body = tag_variables(struct, "int64_t begin")
    body += in_order(struct, lambda field: [write(field)])
    body += tags_writer(struct, lambda field: differs(field, "value"), lambda field: [write(field)])
    signature = f"cdef int {function_name('write', struct)}(Writer* writer, object value, int version, bint flexible, object convert) except -1"
    return function(signature, [*body, "return 0"])


def write(field: Field) -> str:
    """The line that writes a field."""
    value = f"value.{field.name}"
    if field.is_array:
        item = function_name("write", field.struct) if field.struct else f"write_{field.kind}_item"
        return f"write_array(writer, {value}, flexible, {item}, version, convert)"
    if field.struct:
        name = function_name("write", field.struct)
        arguments = f"{value}, {name}" if field.nullable else value
        return f"{'write_maybe' if field.nullable else name}(writer, {arguments}, version, flexible, convert)"
    match field.kind:
        case "string":
            return f"write_string(writer, {value}, flexible)"
        case "bytes":
            return f"write_data(writer, {value}, flexible)"
        case "records":
            return f"write_records(writer, {value}, flexible, convert)"
        case kind:
            return f"write_{kind}(writer, {value})"


def differs(field: Field, owner: str) -> str:
    """The expression that tells whether a field has another value than its default."""
    value = f"{owner}.{field.name}"
    if field.default is None:
        return f"{value} is not None"
    if field.struct and not field.is_array:
        return " or ".join(differs(one, value) for one in field.struct.fields)
    return f"{value} != {default(field)}"


# Finding


def table(messages: list[Message]) -> str:
    """The function that finds what belongs to an API."""
    lines: list[str] = []
    for api in (message.api for message in messages if message.is_request):
        names = [f"{verb}_{snake(api.name)}_{kind}" for verb in ("read", "write") for kind in ("request", "response")]
        lines.append(f"{'elif' if lines else 'if'} api_key == {api.key}:")
        lines += indented(call("return Layout", [str(api.min_version), str(api.max_version), str(api.flexible_from), *names]))
    lines.append("return Layout(0, -1, 0, NULL, NULL, NULL, NULL)")
    return function("cdef Layout layout_of(int api_key) noexcept", lines, "How an API is read and written; one that is not served has no version.")
