# distutils: language = c++
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Mutations that know what frames and batches look like: a change inside one goes with the lengths around it, and as a rule its checksum is mended,
so that what lies behind lengths and checksums is reached. What libFuzzer does by itself it does here too, to the whole input or to a part."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memmove
from libcpp.vector cimport vector

from fiducial.fastpath.batch cimport BATCH_OVERHEAD_BYTES, checksum
from fiducial.fastpath.bigendian cimport load32, store32

cdef extern from *:
    """
    extern "C" {
    size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t size_max);
    extern size_t (*fiducial_mutator)(uint8_t* data, size_t size, size_t size_max, unsigned int seed);
    }
    """
    size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t size_max) noexcept nogil
    size_t (*fiducial_mutator)(uint8_t* data, size_t size, size_t size_max, unsigned int seed) noexcept nogil

cdef enum:
    LENGTH_BYTES = 4
    PREFIX_BYTES = 12  # of a batch: base offset and length
    SUMMED_FROM = 21
    SPREAD = 2654435761  # odd, and its bits well mixed


cdef struct Part:
    int64_t begin
    int64_t end


cdef int64_t head_bytes = 0  # so many at the front of an input are for the harness
cdef bint are_framed = False  # what follows is frames; else one records field


def use(int64_t head, bint framed):
    """From now on inputs are mutated so."""
    global head_bytes, are_framed, fiducial_mutator
    head_bytes, are_framed = head, framed
    fiducial_mutator = mutated


cdef uint32_t drawn(uint32_t* seed, uint32_t below) noexcept nogil:
    seed[0] = seed[0] * 1664525 + 1013904223
    return <uint32_t>((<uint64_t>(seed[0] ^ seed[0] >> 16) * below) >> 32)


cdef size_t mutated(uint8_t* data, size_t size, size_t size_max, unsigned int seed) noexcept nogil:
    """One mutation, then perhaps the lengths and checksums that it broke."""
    cdef uint32_t state = <uint32_t>(seed * <uint32_t>SPREAD)
    cdef vector[Part] batches
    cdef int64_t new_size = size
    find_batches(data, size, &batches)
    if batches.size() > 0 and drawn(&state, 4) > 0:
        new_size = mutate_batch(data, size, size_max, batches[drawn(&state, <uint32_t>batches.size())], &state)
    elif are_framed and drawn(&state, 3) > 0:
        new_size = mutate_frame(data, size, size_max, &state)
    else:
        new_size = LLVMFuzzerMutate(data, size, size_max)
    if drawn(&state, 8) > 0:
        mend(data, new_size)
    return new_size


cdef int64_t mutate_part(uint8_t* data, int64_t size, int64_t size_max, Part part) noexcept nogil:
    """Mutate these bytes alone; by how many there are more."""
    cdef int64_t before = part.end - part.begin, room = before + size_max - size, after
    cdef uint8_t* copy = <uint8_t*>malloc(room + 1)
    memcpy(copy, data + part.begin, before)
    after = LLVMFuzzerMutate(copy, before, room)
    memmove(data + part.begin + after, data + part.end, size - part.end)
    memcpy(data + part.begin, copy, after)
    free(copy)
    return after - before


cdef int64_t mutate_batch(uint8_t* data, int64_t size, int64_t size_max, Part batch, uint32_t* state) noexcept nogil:
    """Somewhere behind its checksum, or in its records alone, and the lengths around it follow."""
    cdef int64_t skipped = SUMMED_FROM if drawn(state, 2) else BATCH_OVERHEAD_BYTES
    cdef Part part = Part(batch.begin + skipped, batch.end)
    if part.begin >= part.end or size >= size_max:
        return LLVMFuzzerMutate(data, size, size_max)
    cdef Part frame = frame_around(data, size, batch.begin)
    cdef int64_t more = mutate_part(data, size, size_max, part), before = batch.end - batch.begin
    store32(data + batch.begin + 8, <uint32_t>(before - PREFIX_BYTES + more))
    if batch.begin >= 4 and load32(data + batch.begin - 4) == before:
        store32(data + batch.begin - 4, <uint32_t>(before + more))
    else:
        lengthen_varint(data, batch.begin, before + 1, more)
    if frame.end > 0:
        store32(data + frame.begin - LENGTH_BYTES, <uint32_t>(frame.end - frame.begin + more))
    return size + more


cdef void lengthen_varint(uint8_t* data, int64_t behind, int64_t number, int64_t more) noexcept nogil:
    """Of two bytes, if there is this one."""
    if behind < 2 or not 0x80 <= number + more < 0x4000:
        return
    if data[behind - 2] == <uint8_t>(number & 0x7F | 0x80) and data[behind - 1] == number >> 7:
        data[behind - 2] = <uint8_t>((number + more) & 0x7F | 0x80)
        data[behind - 1] = <uint8_t>((number + more) >> 7)


cdef int64_t mutate_frame(uint8_t* data, int64_t size, int64_t size_max, uint32_t* state) noexcept nogil:
    """One of the frames, and its length follows."""
    cdef vector[Part] frames
    cdef int64_t at = head_bytes
    cdef Part frame
    while size - at > LENGTH_BYTES:
        frame = frame_at(data, size, at)
        if frame.end == 0:
            break
        frames.push_back(frame)
        at = frame.end
    if frames.empty() or size >= size_max:
        return LLVMFuzzerMutate(data, size, size_max)
    frame = frames[drawn(state, <uint32_t>frames.size())]
    cdef int64_t more = mutate_part(data, size, size_max, frame)
    store32(data + frame.begin - LENGTH_BYTES, <uint32_t>(frame.end - frame.begin + more))
    return size + more


cdef Part frame_at(const uint8_t* data, int64_t size, int64_t at) noexcept nogil:
    """The frame whose length is here, without it; ends at 0 if it is not whole."""
    cdef int64_t length = <int32_t>load32(data + at) if size - at >= LENGTH_BYTES else 0
    if not 0 < length <= size - at - LENGTH_BYTES:
        return Part(0, 0)
    return Part(at + LENGTH_BYTES, at + LENGTH_BYTES + length)


cdef Part frame_around(const uint8_t* data, int64_t size, int64_t place) noexcept nogil:
    """The frame in which something lies."""
    cdef Part frame = Part(0, 0)
    cdef int64_t at = head_bytes
    while are_framed and at < place:
        frame = frame_at(data, size, at)
        if frame.end == 0 or frame.end > place:
            break
        at = frame.end
    return frame


cdef void find_batches(const uint8_t* data, int64_t size, vector[Part]* batches) noexcept nogil:
    """What looks like a whole batch of format 2 with an offset that producers send."""
    cdef int64_t at = head_bytes, length
    while size - at >= BATCH_OVERHEAD_BYTES:
        length = <int32_t>load32(data + at + 8)
        if data[at + 16] == 2 and load32(data + at) == 0 and BATCH_OVERHEAD_BYTES - PREFIX_BYTES <= length <= size - at - PREFIX_BYTES:
            batches.push_back(Part(at, at + PREFIX_BYTES + length))
            at += PREFIX_BYTES + length
        else:
            at += 1


cdef void mend(uint8_t* data, int64_t size) noexcept nogil:
    """Every checksum is that of its batch, and the last frame ends with the input."""
    cdef vector[Part] batches
    cdef Part batch
    cdef int64_t at = head_bytes
    while are_framed and size - at > LENGTH_BYTES:
        if frame_at(data, size, at).end == 0:
            store32(data + at, <uint32_t>(size - at - LENGTH_BYTES))
        at = frame_at(data, size, at).end
    find_batches(data, size, &batches)
    for batch in batches:
        store32(data + batch.begin + 17, checksum(0, data + batch.begin + SUMMED_FROM, batch.end - batch.begin - SUMMED_FROM))
