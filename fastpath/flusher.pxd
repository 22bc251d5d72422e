"""Group commit: one thread forces to the disk what all who wait have appended, while the I/O threads go on."""

cdef void* run_flusher(void* front) noexcept nogil
