# distutils: language = c++
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Bytes in and out: the parts of `wire.pxd` that are seldom run, or long."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memmove

from fiducial.fastpath.bigendian cimport store32

cdef enum:
    WRITER_BYTES_MIN = 512
    WRITER_BYTES_KEPT_MAX = 1 << 20
    GAPS_MIN = 16
    CHUNK_BYTES = 1 << 16
    LENGTH_BYTES = 4

cdef const char* REPLACEMENT = "\xEF\xBF\xBD"  # U+FFFD


# Reading


cdef int64_t sequence_bytes(const uint8_t* at, int64_t left, bint* is_sound) noexcept nogil:
    """The bytes of the character at `at`; of one that is not sound, those that one U+FFFD stands for: its longest sound beginning."""
    cdef uint8_t lead = at[0], low = 0x80, high = 0xBF
    cdef int64_t index, more
    is_sound[0] = lead < 0x80
    if lead < 0xC2 or lead > 0xF4:
        return 1
    more = 1 if lead < 0xE0 else 2 if lead < 0xF0 else 3
    if lead == 0xE0:
        low = 0xA0
    elif lead == 0xED:
        high = 0x9F
    elif lead == 0xF0:
        low = 0x90
    elif lead == 0xF4:
        high = 0x8F
    for index in range(1, more + 1):
        if index >= left or at[index] < low or at[index] > high:
            return index
        low = 0x80
        high = 0xBF
    is_sound[0] = True
    return more + 1


cdef int64_t sound_bytes(Span text) noexcept nogil:
    """How far the text is sound UTF-8."""
    cdef int64_t position = 0, step
    cdef bint is_sound
    while position < text.size:
        step = sequence_bytes(text.data + position, text.size - position, &is_sound)
        if not is_sound:
            break
        position += step
    return position


cdef Span repaired(Span text, Reader* reader, Arena* arena) noexcept nogil:
    """The text with U+FFFD for what is not sound. A reader for which there is no memory fails."""
    cdef int64_t position = 0, size = 0, step
    cdef bint is_sound
    cdef uint8_t* into = <uint8_t*>allocate(arena, <int64_t>text.size * REPLACEMENT_BYTES)
    if into == NULL:
        fail(reader)
        return Span(NULL, 0)
    while position < text.size:
        step = sequence_bytes(text.data + position, text.size - position, &is_sound)
        if is_sound:
            memcpy(into + size, text.data + position, step)
            size += step
        else:
            memcpy(into + size, REPLACEMENT, REPLACEMENT_BYTES)
            size += REPLACEMENT_BYTES
        position += step
    if size > STRING_BYTES_MAX:
        fail(reader)
    return Span(into, <int32_t>size)


cdef Span read_utf8(Reader* reader, Arena* arena, bint flexible, bint nullable) noexcept nogil:
    cdef Span text = read_span(reader, flexible, True, nullable)
    if text.size <= 0 or sound_bytes(text) == text.size:
        return text
    return repaired(text, reader, arena)


# Writing


cdef void reset_writer(Writer* writer) noexcept nogil:
    writer.size = 0
    writer.gaps_count = 0
    writer.gaps_bytes = 0
    writer.failed = False
    if writer.capacity > WRITER_BYTES_KEPT_MAX:
        free_writer(writer)


cdef void free_writer(Writer* writer) noexcept nogil:
    free(writer.data)
    free(writer.gaps)
    writer[0] = Writer(NULL, 0, 0, NULL, 0, 0, 0, False)


cdef bint grow(Writer* writer, int64_t size) noexcept nogil:
    cdef int64_t capacity = max(2 * writer.capacity, writer.size + size, <int64_t>WRITER_BYTES_MIN)
    cdef void* data = NULL
    if not writer.failed:
        data = realloc(writer.data, capacity)
    if data == NULL:
        writer.failed = True
        return False
    writer.data = <uint8_t*>data
    writer.capacity = capacity
    return True


cdef void write_gap(Writer* writer, int32_t slice, int64_t size_bytes) noexcept nogil:
    cdef int32_t capacity
    cdef void* gaps
    if writer.gaps_count == writer.gaps_capacity:
        capacity = max(2 * writer.gaps_capacity, <int32_t>GAPS_MIN)
        gaps = realloc(writer.gaps, capacity * sizeof(Gap))
        if gaps == NULL:
            writer.failed = True
            return
        writer.gaps = <Gap*>gaps
        writer.gaps_capacity = capacity
    writer.gaps[writer.gaps_count] = Gap(writer.size, size_bytes, slice)
    writer.gaps_count += 1
    writer.gaps_bytes += size_bytes


cdef int64_t whole_characters(const uint8_t* text, int64_t size) noexcept nogil:
    while size > 0 and text[size] & 0xC0 == 0x80:  # the character at `size` began before it
        size -= 1
    return size


cdef Frame begin_frame(Writer* writer) noexcept nogil:
    write_int32(writer, 0)
    return Frame(writer.size, writer.gaps_bytes)


cdef void end_frame(Writer* writer, Frame frame) noexcept nogil:
    cdef int64_t size = writer.size - frame.begin + writer.gaps_bytes - frame.gaps_bytes_before
    if size > INT32_MAX:
        writer.failed = True
    if not writer.failed:
        store32(writer.data + frame.begin - LENGTH_BYTES, <uint32_t>size)


cdef int64_t begin_tag(Writer* writer, uint32_t tag) noexcept nogil:
    write_varint(writer, tag)
    return writer.size


cdef void end_tag(Writer* writer, int64_t begin) noexcept nogil:
    cdef uint8_t[5] encoded
    cdef int64_t size = writer.size - begin
    cdef int prefix_bytes = put_varint(encoded, <uint32_t>size)
    if room(writer, prefix_bytes) != NULL:
        memmove(writer.data + begin + prefix_bytes, writer.data + begin, size)
        memcpy(writer.data + begin, encoded, prefix_bytes)


# Memory of one request


cdef void* add_chunk(Arena* arena, int64_t size) noexcept nogil:
    """Room for `size` bytes in a new chunk; what was left of the one before is given up."""
    cdef int64_t chunk_bytes = max(size, <int64_t>CHUNK_BYTES)
    cdef Chunk* chunk = <Chunk*>malloc(sizeof(Chunk) + chunk_bytes)
    if chunk == NULL:
        return NULL
    chunk.older = arena.newest
    chunk.size = chunk_bytes
    arena.newest = chunk
    arena.at = <uint8_t*>(chunk + 1) + size
    arena.end = <uint8_t*>(chunk + 1) + chunk_bytes
    return chunk + 1


cdef void reset_arena(Arena* arena) noexcept nogil:
    cdef Chunk* chunk = arena.newest
    while chunk != NULL and (chunk.older != NULL or chunk.size > CHUNK_BYTES):
        arena.newest = chunk.older
        free(chunk)
        chunk = arena.newest
    arena.at = <uint8_t*>(chunk + 1) if chunk != NULL else NULL
    arena.end = arena.at + chunk.size if chunk != NULL else NULL


cdef void free_arena(Arena* arena) noexcept nogil:
    reset_arena(arena)
    free(arena.newest)
    arena[0] = Arena(NULL, NULL, NULL)
