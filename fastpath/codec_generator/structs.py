"""The codec without the interpreter: requests into C structs, and responses out of them."""

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
from fiducial.fastpath.codec_generator.layouts import Disagreement, Field, Message, Struct, snake

CONTRACT = '''\
"""Produce, Fetch and ListOffsets as C structs: what a request holds, and what a response is made of.

Strings and records of a request lie in its frame, arrays in the arena; a count or size of -1 is a null. A field that the version lacks has the
layout's default: a reader sees to that, and who makes a response begins with `default_...`. Only versions that are served may be asked for.
"""

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t

from fiducial.fastpath.wire cimport UUID_BYTES, Arena, Reader, Span, Writer


cdef struct Records:
    # Of a response: `size` bytes that are at `data`, or that slice number `slice` will be. A null has size -1.
    const uint8_t* data
    int32_t size
    int32_t slice  # -1: the bytes are at `data`
'''

DOC = '''\
"""Produce, Fetch and ListOffsets as C structs; `codec_structs.pxd` is the contract.

The end is for tests: it makes models of requests and responses of models.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint32_t
from libc.string cimport memcmp, memcpy, memset
'''

WIRE = """UUID_BYTES Arena Frame Reader Span Writer allocate allocate_items begin_frame begin_tag end_frame end_tag read_count read_int8
read_int16 read_int32 read_int64 read_into read_span read_tags read_utf8 read_varint reader_of reset_arena reset_writer skip_tags take write_bytes
write_gap write_int16 write_int32 write_int64 write_size write_utf8 write_varint"""

RECORDS = '''\
cdef uint8_t[UUID_BYTES] ZERO_UUID  # C sets it to zeros


cdef void write_records(Writer* writer, Records records, bint flexible) noexcept nogil:
    """Bytes, or a gap where a slice will be."""
    write_size(writer, records.size, flexible, False)
    if records.size > 0 and records.slice >= 0:
        write_gap(writer, records.slice, records.size)
    elif records.size > 0:
        write_bytes(writer, records.data, records.size)
'''


def contract(messages: list[Message]) -> str:
    """All of codec_structs.pxd."""
    declared = [declaration(struct) for message in messages for struct in message.struct.walk()]
    functions = ["# Whether there is such a request; its struct and what that points to last as long as the frame and the arena."]
    functions += [f"cdef bint {decoding(message)} noexcept nogil" for message in messages if message.is_request]
    functions += ["", "# Whether it could be written is in the writer."]
    functions += [f"cdef void {encoding(message)} noexcept nogil" for message in messages if not message.is_request]
    functions += ["", "# What each part of a response holds where nothing else is said."]
    functions += [f"cdef void {defaulting(struct)} noexcept nogil" for struct in structs_of(response for response in messages if not response.is_request)]
    return file(HEADER + CONTRACT, *declared, "\n".join(functions))


def source(messages: list[Message]) -> str:
    """All of codec_structs.pyx."""
    requests, responses = ([one for one in messages if one.is_request is is_request] for is_request in (True, False))
    imports = [imported("fiducial.fastpath.wire", WIRE.split(), "cimport"), "", "from fiducial.models import messages"]
    inside, outside = structs_of(requests), structs_of(responses)
    return file(
        HEADER + DIRECTIVES + DOC + "\n" + "\n".join(imports),
        RECORDS,
        *(defaults(struct) for struct in (*inside, *outside)),
        *array_readers(inside),
        *(reader(struct) for struct in inside),
        *(decoder(message) for message in requests),
        *(writer(struct) for struct in outside),
        *(encoder(message) for message in responses),
        FOR_TESTS,
        *(to_model(struct) for struct in inside),
        *(from_model(struct) for struct in outside),
        test_decoder(requests),
        test_encoder(responses),
    )


# Declarations


def declaration(struct: Struct) -> str:
    """The C struct."""
    members = []
    for field in struct.fields:
        if field.struct and field.nullable and not field.is_array:
            raise Disagreement(f"{struct.name}.{field.name}: nothing makes a nullable struct in C yet")
        kind = c_type(field, struct)
        members += [f"{kind}* {field.name}", f"int32_t {field.name}_count"] if field.is_array else [f"{kind} {field.name}"]
    return "\n".join([f"cdef struct {struct.name}:", *indented(members)])


def c_type(field: Field, owner: Struct) -> str:
    """The C type of a field, or of its items."""
    if field.struct:
        return field.struct.name
    records = "Span" if owner.is_request else "Records"
    return {"bool": "bint", "string": "Span", "records": records, "uuid": "uint8_t[UUID_BYTES]"}.get(field.kind, f"{field.kind}_t")


def decoding(message: Message) -> str:
    """The signature of what reads a request."""
    return f"{function_name('decode', message.struct)}({message.struct.name}* request, Reader* reader, Arena* arena, int version)"


def encoding(message: Message) -> str:
    """The signature of what writes a response."""
    return f"{function_name('encode', message.struct)}(const {message.struct.name}* response, Writer* writer, int version)"


def defaulting(struct: Struct) -> str:
    """The signature of what sets the defaults."""
    return f"{function_name('default', struct)}({struct.name}* into)"


# Defaults


def defaults(struct: Struct) -> str:
    """The function that sets what a version may lack."""
    body = [f"memset(into, 0, sizeof({struct.name}))"]
    for field in struct.fields:
        into = f"into.{field.name}"
        if field.is_array:
            body += [f"{into}_count = -1"] if field.default is None else []
        elif field.struct:
            body.append(f"{function_name('default', field.struct)}(&{into})")
        elif field.default is None:
            body += [f"{into}.size = -1"]
            body += [f"{into}.slice = -1"] if c_type(field, struct) == "Records" else []
        elif field.kind != "uuid" and field.default:
            body.append(f"{into} = {field.default!r}")
    return function(f"cdef void {defaulting(struct)} noexcept nogil", body)


def differs(field: Field, owner: str) -> str:
    """The expression that tells whether a field has another value than its default."""
    value = f"{owner}.{field.name}"
    if field.is_array:
        return f"{value}_count != {-1 if field.default is None else 0}"
    if field.struct:
        return " or ".join(differs(one, value) for one in field.struct.fields)
    if field.kind == "uuid":
        return f"memcmp({value}, ZERO_UUID, UUID_BYTES) != 0"
    if field.kind == "string":
        return f"{value}.size != {-1 if field.default is None else 0}"
    return f"{value} != {field.default!r}"


# Reading


def decoder(message: Message) -> str:
    """The function that reads a request."""
    read = function_name("read", message.struct)
    body = [f"{read}(request, reader, arena, version, version >= {message.api.flexible_from})", "return not reader.failed"]
    return function(f"cdef bint {decoding(message)} noexcept nogil", body)


def reader(struct: Struct) -> str:
    """The function that reads a struct."""
    body = [*tag_variables(struct, "int32_t tags", "uint32_t tag, size"), f"{function_name('default', struct)}(into)"]
    body += [*in_order(struct, read), *tags_reader(struct, read)]
    return function(
        f"cdef void {function_name('read', struct)}({struct.name}* into, Reader* reader, Arena* arena, int version, bint flexible) noexcept nogil",
        body,
    )


def read(field: Field) -> list[str]:
    """The line that reads a field."""
    into, nullable = f"into.{field.name}", condition(field.nullable, field.versions)
    if field.is_array:
        return [f"{into} = {array_reader_name(field)}(&{into}_count, reader, arena, version, flexible, {nullable})"]
    if field.struct:
        return [f"{function_name('read', field.struct)}(&{into}, reader, arena, version, flexible)"]
    match field.kind:
        case "string":
            return [f"{into} = read_utf8(reader, arena, flexible, {nullable})"]
        case "records":
            return [f"{into} = read_span(reader, flexible, False, {nullable})"]
        case "uuid":
            return [f"read_into(reader, {into}, UUID_BYTES)"]
        case kind:
            return [f"{into} = read_{kind}(reader)"]


def array_reader_name(field: Field) -> str:
    """The name of what reads an array."""
    return f"read_{snake(field.struct.name) if field.struct else field.kind}_items"


def array_readers(structs: list[Struct]) -> list[str]:
    """A function for each type of array."""
    arrays = {array_reader_name(field): array_reader(field, struct) for struct in structs for field in struct.fields if field.is_array}
    return list(arrays.values())


def array_reader(field: Field, owner: Struct) -> str:
    """The function that reads an array, up to where the reader fails."""
    kind = c_type(field, owner)
    item = f"{function_name('read', field.struct)}(&items[index], reader, arena, version, flexible)" if field.struct else ""
    body = [
        "cdef int32_t index",
        f"cdef {kind}* items",
        f"count[0] = read_count(reader, flexible, nullable, {field.item_bytes_min})",
        f"items = <{kind}*>allocate_items(arena, reader, count, sizeof({kind}))",
        "for index in range(count[0]):",
        f"    {item or f'items[index] = read_{field.kind}(reader)'}",
        "    if reader.failed:",
        "        break",
        "return items",
    ]
    signature = f"cdef {kind}* {array_reader_name(field)}("
    return function(
        f"{signature}\n    int32_t* count, Reader* reader, Arena* arena, int version, bint flexible, bint nullable\n) noexcept nogil", body
    )


# Writing


def encoder(message: Message) -> str:
    """The function that writes a response."""
    write = function_name("write", message.struct)
    return function(
        f"cdef void {encoding(message)} noexcept nogil", [f"{write}(response, writer, version, version >= {message.api.flexible_from})"]
    )


def writer(struct: Struct) -> str:
    """The function that writes a struct."""
    has_arrays = any(field.is_array for field in struct.fields)
    body = ["cdef int32_t index"] if has_arrays else []
    body += tag_variables(struct, "int64_t begin")
    body += in_order(struct, write)
    body += tags_writer(struct, lambda field: differs(field, "value"), write)
    return function(
        f"cdef void {function_name('write', struct)}(const {struct.name}* value, Writer* writer, int version, bint flexible) noexcept nogil", body
    )


def write(field: Field) -> list[str]:
    """The lines that write a field."""
    value = f"value.{field.name}"
    if field.is_array:
        return [
            f"write_size(writer, {value}_count, flexible, False)",
            f"for index in range({value}_count):",
            *indented(write_one(field, f"{value}[index]")),
        ]
    return write_one(field, value)


def write_one(field: Field, value: str) -> list[str]:
    """The line that writes a value."""
    if field.struct:
        return [f"{function_name('write', field.struct)}(&{value}, writer, version, flexible)"]
    match field.kind:
        case "string":
            return [f"write_utf8(writer, {value}.data, {value}.size, flexible)"]
        case "records":
            return [f"write_records(writer, {value}, flexible)"]
        case "uuid":
            return [f"write_bytes(writer, {value}, UUID_BYTES)"]
        case kind:
            return [f"write_{kind}(writer, {value})"]


# For tests

FOR_TESTS = '''\
# For tests: models of requests, and responses of models. What a model points to must live until its response is written.

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL

cdef Arena arena  # C sets these to zeros, which is empty
cdef Writer writer


cdef object string_of(Span text):
    return PyBytes_FromStringAndSize(<const char*>text.data, text.size).decode() if text.size >= 0 else None


cdef object records_of(Span data):
    return PyBytes_FromStringAndSize(<const char*>data.data, data.size) if data.size >= 0 else None


cdef object uuid_of(const uint8_t* begin):
    return PyBytes_FromStringAndSize(<const char*>begin, UUID_BYTES)


cdef int put_string(Span* into, object text) except -1:
    cdef Py_ssize_t size = -1
    into.data = <const uint8_t*>PyUnicode_AsUTF8AndSize(text, &size) if text is not None else NULL
    into.size = <int32_t>size
    return 0


cdef int put_records(Records* into, object records) except -1:
    """Bytes, None, or (slice number, size)."""
    into[0] = Records(NULL, -1, -1)
    if isinstance(records, tuple):
        into.slice, into.size = records
    elif records is not None:
        into.data = <const uint8_t*>PyBytes_AS_STRING(records)
        into.size = <int32_t>PyBytes_GET_SIZE(records)
    return 0


cdef int put_uuid(uint8_t* into, bytes id) except -1:
    memcpy(into, PyBytes_AS_STRING(id), UUID_BYTES)
    return 0
'''

TEST_DECODER = '''\
def decode_request(bytes buffer not None, int api_key, int version):
    """The model of a request, None if it is malformed."""
    cdef Reader reader = reader_of(<const uint8_t*>PyBytes_AS_STRING(buffer), len(buffer))
    reset_arena(&arena)
'''

TEST_ENCODER = '''\
def encode_response(object message, int api_key, int version):
    """(A frame with the response, its gaps as (position, slice number, size)). None in place of a struct is one with its defaults."""
    cdef int32_t index
    reset_arena(&arena)
    reset_writer(&writer)
    cdef Frame frame = begin_frame(&writer)
'''

TEST_ENCODER_END = '''\
    end_frame(&writer, frame)
    if writer.failed:
        raise ValueError("larger than a frame can be, or than memory")
    gaps = [(writer.gaps[index].position, writer.gaps[index].slice, writer.gaps[index].size_bytes) for index in range(writer.gaps_count)]
    return PyBytes_FromStringAndSize(<const char*>writer.data, writer.size), gaps
'''


def to_model(struct: Struct) -> str:
    """The function that makes a model of a struct."""
    body = ["cdef int32_t index"] if any(field.is_array for field in struct.fields) else []
    body += call(f"return messages.{struct.name}", [model_of(field) for field in struct.in_model_order()])
    return function(f"cdef object {snake(struct.name)}_of(const {struct.name}* value)", body)


def model_of(field: Field) -> str:
    """The expression for a field of the model."""
    value = f"value.{field.name}"
    if not field.is_array:
        return model_of_one(field, value)
    items = f"tuple([{model_of_one(field, f'{value}[index]')} for index in range({value}_count)])"
    return f"{items} if {value}_count >= 0 else None" if field.nullable else items


def model_of_one(field: Field, value: str) -> str:
    """The expression for one value of the model."""
    if field.struct:
        return f"{snake(field.struct.name)}_of(&{value})"
    return f"{field.kind}_of({value})" if field.kind in ("string", "records", "uuid") else value


def from_model(struct: Struct) -> str:
    """The function that makes a struct of a model."""
    body = ["cdef int32_t index"] if any(field.is_array for field in struct.fields) else []
    body += [f"{function_name('default', struct)}(into)", "if value is None:", "    return 0"]
    for field in struct.fields:
        into, value = f"into.{field.name}", f"value.{field.name}"
        if field.is_array:
            kind = c_type(field, struct)
            body += [
                f"{into}_count = len({value}) if {value} is not None else -1",
                f"{into} = <{kind}*>allocate(&arena, max({into}_count, 0) * <int64_t>sizeof({kind}))",
                f"for index in range({into}_count):",
                f"    {put(field, f'{into}[index]', f'{value}[index]')}",
            ]
        else:
            body.append(put(field, into, value))
    return function(f"cdef int {function_name('put', struct)}({struct.name}* into, object value) except -1", [*body, "return 0"])


def put(field: Field, into: str, value: str) -> str:
    """The line that sets one value of a struct."""
    if field.struct:
        return f"{function_name('put', field.struct)}(&{into}, {value})"
    if field.kind in ("string", "records"):
        return f"put_{field.kind}(&{into}, {value})"
    return f"put_uuid({into}, {value})" if field.kind == "uuid" else f"{into} = {value}"


def test_decoder(requests: list[Message]) -> str:
    """The function that makes the model of a request."""
    lines = [TEST_DECODER.rstrip()]
    lines += [f"    cdef {message.struct.name} {snake(message.struct.name)}" for message in requests]
    for message in requests:
        name = snake(message.struct.name)
        lines += [
            f"    if api_key == {message.api.key}:",
            f"        is_sound = {function_name('decode', message.struct)}(&{name}, &reader, &arena, version)",
            f"        return {name}_of(&{name}) if is_sound else None",
        ]
    return "\n".join([*lines, '    raise ValueError(f"API {api_key} has no struct")'])


def test_encoder(responses: list[Message]) -> str:
    """The function that writes the model of a response."""
    lines = [TEST_ENCODER.rstrip()]
    lines += [f"    cdef {message.struct.name} {snake(message.struct.name)}" for message in responses]
    for message in responses:
        name = snake(message.struct.name)
        lines += [
            f"    if api_key == {message.api.key}:",
            f"        {function_name('put', message.struct)}(&{name}, message)",
            f"        {function_name('encode', message.struct)}(&{name}, &writer, version)",
        ]
    return "\n".join([*lines, TEST_ENCODER_END.rstrip()])
