"""Bytes in and out: a reader that cannot read too far, a writer that grows, an arena for what lives as long as one request.

None needs a check at its call sites. A reader that failed has nothing left: it reads zeros, empties and nulls from then on. A writer that
failed takes no more. Who decodes or encodes asks for `failed` once, at the end. All numbers are big-endian.
"""

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint32_t
from libc.string cimport memcpy

from fiducial.fastpath.bigendian cimport load16, load32, load64, store16, store32, store64

cdef enum:
    UUID_BYTES = 16
    STRING_BYTES_MAX = 0x7FFF  # of any string: what 16 bits can say, also where a version writes the length as a varint
    REPLACEMENT_BYTES = 3  # U+FFFD, for what is not UTF-8
    INT32_MAX = 0x7FFFFFFF
    VARINT_BITS_MAX = 35  # five bytes of seven


cdef struct Span:
    # Bytes that lie elsewhere: in a frame or an arena. A null has size -1.
    const uint8_t* data
    int32_t size


# Reading


cdef struct Reader:
    const uint8_t* at
    const uint8_t* end
    bint failed


cdef inline Reader reader_of(const uint8_t* data, int64_t size) noexcept nogil:
    """A reader at the first of `size` bytes."""
    return Reader(data, data + size, False)


cdef inline void fail(Reader* reader) noexcept nogil:
    """What was read is no message: nothing is left, and `at` says where that came out."""
    reader.failed = True
    reader.end = reader.at


cdef inline const uint8_t* take(Reader* reader, int64_t size) noexcept nogil:
    """The next `size` bytes; NULL if there are not as many."""
    cdef const uint8_t* begin = reader.at
    if size < 0 or size > reader.end - begin:
        fail(reader)
        return NULL
    reader.at = begin + size
    return begin


cdef inline void read_into(Reader* reader, uint8_t* into, int64_t size) noexcept nogil:
    """Copy the next `size` bytes."""
    cdef const uint8_t* begin = take(reader, size)
    if begin != NULL:
        memcpy(into, begin, size)


cdef inline bint read_bool(Reader* reader) noexcept nogil:
    """Any byte but zero is true."""
    cdef const uint8_t* begin = take(reader, 1)
    return begin != NULL and begin[0] != 0


cdef inline int8_t read_int8(Reader* reader) noexcept nogil:
    cdef const uint8_t* begin = take(reader, 1)
    return <int8_t>begin[0] if begin != NULL else 0


cdef inline int16_t read_int16(Reader* reader) noexcept nogil:
    cdef const uint8_t* begin = take(reader, 2)
    return <int16_t>load16(begin) if begin != NULL else 0


cdef inline int32_t read_int32(Reader* reader) noexcept nogil:
    cdef const uint8_t* begin = take(reader, 4)
    return <int32_t>load32(begin) if begin != NULL else 0


cdef inline int64_t read_int64(Reader* reader) noexcept nogil:
    cdef const uint8_t* begin = take(reader, 8)
    return <int64_t>load64(begin) if begin != NULL else 0


cdef inline uint32_t read_varint(Reader* reader) noexcept nogil:
    """An unsigned varint of at most 5 bytes; longer than it need be is fine, bits beyond the 32nd are dropped."""
    cdef uint32_t number = 0
    cdef uint8_t byte
    cdef int shift = 0
    while shift < VARINT_BITS_MAX:
        if reader.at == reader.end:
            break
        byte = reader.at[0]
        reader.at += 1
        number |= <uint32_t>(byte & 0x7F) << shift
        if byte < 0x80:
            return number
        shift += 7
    fail(reader)
    return 0


cdef inline int32_t read_size(Reader* reader, bint flexible, bint is_short) noexcept nogil:
    """The length in front of a string, bytes or an array; anything negative is null."""
    if flexible:
        return <int32_t>(read_varint(reader) - 1)
    return read_int16(reader) if is_short else read_int32(reader)


cdef inline Span read_span(Reader* reader, bint flexible, bint is_short, bint nullable) noexcept nogil:
    """A string (whose length is short) or bytes, where they lie."""
    cdef int32_t size = read_size(reader, flexible, is_short)
    cdef const uint8_t* begin
    if size < 0:
        if not nullable:
            fail(reader)
        return Span(NULL, -1)
    if is_short and size > STRING_BYTES_MAX:
        fail(reader)
    begin = take(reader, size)
    return Span(begin, size if begin != NULL else 0)


cdef inline int32_t read_count(Reader* reader, bint flexible, bint nullable, int64_t item_bytes_min) noexcept nogil:
    """The length of an array, -1 for null. One for whose items there are too few bytes is refused before room is made for it."""
    cdef int32_t count = read_size(reader, flexible, False)
    if count < 0:
        if not nullable:
            fail(reader)
        return -1
    if count * item_bytes_min > reader.end - reader.at:
        fail(reader)
        return 0
    return count


cdef inline int32_t read_tags(Reader* reader, bint flexible) noexcept nogil:
    """How many tagged fields follow; a negative number is none."""
    return <int32_t>read_varint(reader) if flexible else 0


cdef inline void skip_tags(Reader* reader, bint flexible) noexcept nogil:
    """Tagged fields, all unknown."""
    cdef int32_t left = read_tags(reader, flexible)
    while left > 0 and not reader.failed:
        read_varint(reader)
        take(reader, read_varint(reader))
        left -= 1


# A string whose bytes are UTF-8: where it lies if they are, else with U+FFFD for what is not, in the arena. Too long with these, it is refused.
cdef Span read_utf8(Reader* reader, Arena* arena, bint flexible, bint nullable) noexcept nogil


# Writing


cdef struct Gap:
    # A place in the output that is not in its bytes: a slice of a file goes there.
    int64_t position    # in the bytes; gaps before it do not count
    int64_t size_bytes  # of the slice
    int32_t slice       # whatever number the slices have for who fills the gaps


cdef struct Writer:
    uint8_t* data
    int64_t size
    int64_t capacity
    Gap* gaps
    int32_t gaps_count
    int32_t gaps_capacity
    int64_t gaps_bytes  # of all slices together
    bint failed         # no memory, or something too long for its length field


# All zero is an empty writer. Resetting keeps the memory, unless it is much.
cdef void reset_writer(Writer* writer) noexcept nogil
cdef void free_writer(Writer* writer) noexcept nogil
cdef bint grow(Writer* writer, int64_t size) noexcept nogil  # room for `size` more bytes, False if there is none
cdef void write_gap(Writer* writer, int32_t slice, int64_t size_bytes) noexcept nogil

# How many of the first `size` bytes of a longer text are whole characters.
cdef int64_t whole_characters(const uint8_t* text, int64_t size) noexcept nogil

# A frame: its length (4 bytes, gaps included), then what is written until its end. `begin_frame` gives what `end_frame` needs.
cdef struct Frame:
    int64_t begin
    int64_t gaps_bytes_before

cdef Frame begin_frame(Writer* writer) noexcept nogil
cdef void end_frame(Writer* writer, Frame frame) noexcept nogil

# A tagged field: tag, size, then what is written until its end. No gap may be in it: `end_tag` moves its bytes.
cdef int64_t begin_tag(Writer* writer, uint32_t tag) noexcept nogil
cdef void end_tag(Writer* writer, int64_t begin) noexcept nogil


cdef inline uint8_t* room(Writer* writer, int64_t size) noexcept nogil:
    """Where the next `size` bytes go, NULL if nowhere."""
    if size > writer.capacity - writer.size or writer.failed:
        if not grow(writer, size):
            return NULL
    writer.size += size
    return writer.data + writer.size - size


cdef inline void write_bytes(Writer* writer, const void* data, int64_t size) noexcept nogil:
    cdef uint8_t* into = room(writer, size)
    if into != NULL and size > 0:
        memcpy(into, data, size)


cdef inline void write_int8(Writer* writer, int8_t number) noexcept nogil:
    cdef uint8_t* into = room(writer, 1)
    if into != NULL:
        into[0] = <uint8_t>number


cdef inline void write_bool(Writer* writer, bint flag) noexcept nogil:
    write_int8(writer, 1 if flag else 0)


cdef inline void write_int16(Writer* writer, int16_t number) noexcept nogil:
    cdef uint8_t* into = room(writer, 2)
    if into != NULL:
        store16(into, number)


cdef inline void write_int32(Writer* writer, int32_t number) noexcept nogil:
    cdef uint8_t* into = room(writer, 4)
    if into != NULL:
        store32(into, number)


cdef inline void write_int64(Writer* writer, int64_t number) noexcept nogil:
    cdef uint8_t* into = room(writer, 8)
    if into != NULL:
        store64(into, number)


cdef inline int put_varint(uint8_t* into, uint32_t number) noexcept nogil:
    """An unsigned varint, the shortest; how many bytes it has."""
    cdef int size = 0
    while number >= 0x80:
        into[size] = <uint8_t>(number | 0x80)
        number >>= 7
        size += 1
    into[size] = <uint8_t>number
    return size + 1


cdef inline void write_varint(Writer* writer, uint32_t number) noexcept nogil:
    cdef uint8_t[5] encoded
    cdef int size = put_varint(encoded, number)
    write_bytes(writer, encoded, size)


cdef inline void write_size(Writer* writer, int64_t size, bint flexible, bint is_short) noexcept nogil:
    """The length in front of a string, bytes or an array; -1 for null."""
    if size > INT32_MAX:
        writer.failed = True
    elif flexible:
        write_varint(writer, <uint32_t>(size + 1))
    elif is_short:
        write_int16(writer, <int16_t>size)
    else:
        write_int32(writer, <int32_t>size)


cdef inline void write_utf8(Writer* writer, const void* text, int64_t size, bint flexible) noexcept nogil:
    """A string; size -1 for null. One that is too long is cut: names came in as strings, so that it can only be a message for people."""
    if size > STRING_BYTES_MAX:
        size = whole_characters(<const uint8_t*>text, STRING_BYTES_MAX)
    write_size(writer, size, flexible, True)
    if size > 0:
        write_bytes(writer, text, size)


# Memory of one request


cdef struct Chunk:
    Chunk* older
    int64_t size  # of what follows


cdef struct Arena:
    # All zero is an empty arena.
    Chunk* newest
    uint8_t* at
    uint8_t* end


cdef void* add_chunk(Arena* arena, int64_t size) noexcept nogil
cdef void reset_arena(Arena* arena) noexcept nogil  # all that was allocated is gone; one chunk is kept
cdef void free_arena(Arena* arena) noexcept nogil


cdef inline void* allocate(Arena* arena, int64_t size) noexcept nogil:
    """`size` bytes, aligned for any struct, not cleared; they last until the arena is reset. NULL only if there is no memory."""
    cdef uint8_t* begin = arena.at
    size = (max(size, <int64_t>1) + 7) & ~7
    if size > arena.end - begin:
        return add_chunk(arena, size)
    arena.at = begin + size
    return begin


cdef inline void* allocate_items(Arena* arena, Reader* reader, int32_t* count, int64_t item_bytes) noexcept nogil:
    """Room for the items of an array. A reader for which there is no memory fails."""
    cdef void* items = NULL
    if count[0] > 0:
        items = allocate(arena, count[0] * item_bytes)
        if items == NULL:
            fail(reader)
            count[0] = 0
    return items
