"""What every message has, as Python objects: strings, ids, arrays. `codec_objects` is made of these and of `wire`.

A length that is not there, or that is refused, leaves the reader failed and some value in its place; who began to read throws that away.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int32_t, int64_t, uint8_t

from fiducial.fastpath.wire cimport (
    REPLACEMENT_BYTES,
    STRING_BYTES_MAX,
    UUID_BYTES,
    Reader,
    Span,
    Writer,
    fail,
    read_count,
    read_int8,
    read_int32,
    read_span,
    take,
    write_bytes,
    write_int8,
    write_int32,
    write_size,
    write_utf8,
)

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL

# How one value of an array is read and written. `convert` is what becomes of records: None, or a function.
ctypedef object (*ReadValue)(Reader* reader, int version, bint flexible, object convert)
ctypedef int (*WriteValue)(Writer* writer, object value, int version, bint flexible, object convert) except -1


# Reading


cdef inline object read_string(Reader* reader, bint flexible, bint nullable):
    """A str or None; bytes that are not UTF-8 are replaced by U+FFFD. Too long with these, it is refused."""
    cdef Span span = read_span(reader, flexible, True, nullable)
    cdef Py_ssize_t size = 0
    cdef object text
    if span.size < 0:
        return None
    text = PyUnicode_DecodeUTF8(<const char*>span.data, span.size, "replace")
    if span.size > STRING_BYTES_MAX // REPLACEMENT_BYTES:
        PyUnicode_AsUTF8AndSize(text, &size)
        if size > STRING_BYTES_MAX:
            fail(reader)
    return text


cdef inline object read_uuid(Reader* reader):
    """The 16 bytes of an id."""
    cdef const uint8_t* begin = take(reader, UUID_BYTES)
    return PyBytes_FromStringAndSize(<const char*>begin, UUID_BYTES) if begin != NULL else None


cdef inline object read_data(Reader* reader, bint flexible, bint nullable):
    """Bytes or None."""
    cdef Span span = read_span(reader, flexible, False, nullable)
    return PyBytes_FromStringAndSize(<const char*>span.data, span.size) if span.size >= 0 else None


cdef inline object read_records(Reader* reader, bint flexible, bint nullable, object convert):
    """Bytes or None, or what `convert` makes of them."""
    cdef object taken = read_data(reader, flexible, nullable)
    return taken if convert is None or reader.failed else convert(taken)


cdef inline object read_array(
    Reader* reader, bint flexible, bint nullable, int64_t item_bytes_min, ReadValue read_item, int version, object convert
):
    """A tuple or None."""
    cdef int32_t count = read_count(reader, flexible, nullable, item_bytes_min)
    cdef list items = []
    if count < 0:
        return None
    while count > 0 and not reader.failed:
        items.append(read_item(reader, version, flexible, convert))
        count -= 1
    return tuple(items)


cdef inline object read_maybe(Reader* reader, ReadValue read_struct, int version, bint flexible, object convert):
    """A byte that says whether there is a struct, then the struct."""
    return read_struct(reader, version, flexible, convert) if read_int8(reader) >= 0 else None


cdef inline object read_int8_item(Reader* reader, int version, bint flexible, object convert):
    return read_int8(reader)


cdef inline object read_int32_item(Reader* reader, int version, bint flexible, object convert):
    return read_int32(reader)


cdef inline object read_string_item(Reader* reader, int version, bint flexible, object convert):
    return read_string(reader, flexible, False)


# Writing


cdef inline int write_string(Writer* writer, object text, bint flexible) except -1:
    """A str or None."""
    cdef Py_ssize_t size = -1
    cdef const char* data = NULL
    if text is not None:
        data = PyUnicode_AsUTF8AndSize(text, &size)
    write_utf8(writer, data, size, flexible)
    return 0


cdef inline int write_uuid(Writer* writer, bytes id) except -1:
    """The 16 bytes of an id."""
    if id is None or PyBytes_GET_SIZE(id) != UUID_BYTES:
        raise ValueError(f"an id has {UUID_BYTES} bytes, not {id!r}")
    write_bytes(writer, PyBytes_AS_STRING(id), UUID_BYTES)
    return 0


cdef inline int write_data(Writer* writer, bytes data, bint flexible) except -1:
    """Bytes or None."""
    write_size(writer, -1 if data is None else PyBytes_GET_SIZE(data), flexible, False)
    if data is not None:
        write_bytes(writer, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
    return 0


cdef inline int write_records(Writer* writer, object value, bint flexible, object convert) except -1:
    """Bytes or None, or what `convert` makes such of."""
    return write_data(writer, value if convert is None else convert(value), flexible)


cdef inline int write_array(
    Writer* writer, object items, bint flexible, WriteValue write_item, int version, object convert
) except -1:
    """A tuple or None."""
    write_size(writer, -1 if items is None else len(items), flexible, False)
    if items is not None:
        for item in items:
            write_item(writer, item, version, flexible, convert)
    return 0


cdef inline int write_maybe(
    Writer* writer, object value, WriteValue write_struct, int version, bint flexible, object convert
) except -1:
    """A byte that says whether there is a struct, then the struct."""
    write_int8(writer, -1 if value is None else 1)
    if value is not None:
        write_struct(writer, value, version, flexible, convert)
    return 0


cdef inline int write_int8_item(Writer* writer, object item, int version, bint flexible, object convert) except -1:
    write_int8(writer, item)
    return 0


cdef inline int write_int32_item(Writer* writer, object item, int version, bint flexible, object convert) except -1:
    write_int32(writer, item)
    return 0


cdef inline int write_string_item(Writer* writer, object item, int version, bint flexible, object convert) except -1:
    return write_string(writer, item, flexible)
