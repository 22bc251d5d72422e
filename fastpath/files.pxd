"""What the log asks of a file system, as a table of functions: so that a simulator can stand in its place, under the code that ships.

Each returns -errno where it fails. Paths are NUL-terminated; positions and sizes are bytes.
"""

from libc.stdint cimport int64_t, uint8_t
from libcpp.string cimport string

cdef extern from "sys/uio.h" nogil:
    cppclass Part "iovec":
        void* iov_base
        size_t iov_len

cdef struct Files:
    void* context
    int (*open)(void* context, const char* path, bint create) noexcept nogil  # for reading and writing: a descriptor
    int (*close)(void* context, int fd) noexcept nogil
    int64_t (*size)(void* context, int fd) noexcept nogil
    int64_t (*modified_ms)(void* context, int fd) noexcept nogil
    int (*write_at)(void* context, int fd, const uint8_t* data, int64_t size, int64_t position) noexcept nogil  # all of it, or -errno
    int64_t (*read_at)(void* context, int fd, uint8_t* data, int64_t size, int64_t position) noexcept nogil  # fewer at the end of the file
    int (*truncate)(void* context, int fd, int64_t size) noexcept nogil
    int (*sync)(void* context, int fd) noexcept nogil  # fdatasync
    int (*rename)(void* context, const char* path, const char* to) noexcept nogil
    int (*remove)(void* context, const char* path) noexcept nogil
    int (*make_folder)(void* context, const char* path) noexcept nogil
    int (*sync_folder)(void* context, const char* path) noexcept nogil
    const uint8_t* (*map)(void* context, int fd, int64_t size) noexcept nogil  # for reading, beyond the end too; NULL if it fails
    int (*unmap)(void* context, const uint8_t* base, int64_t size) noexcept nogil
    int (*write_parts_at)(void* context, int fd, const Part* parts, int count, int64_t position) noexcept nogil  # one behind the other, all of them

cdef enum:
    LEFT_TO_LOGS = 16  # descriptors that no connection gets: a log that cannot begin a segment for want of one is offline

# What is left to logs, held back while clients are let in. `fd`: any that is open, of which copies are held.
cdef int hold_back(int fd, int* held, int count) noexcept nogil
cdef void let_go_held(int* held, int count) noexcept nogil

cdef Files the_real_ones() noexcept nogil
cdef Files files_at(size_t address) noexcept nogil  # a table that somebody else made
cdef int write_held(Files* files, const string& path, const uint8_t* data, int64_t size) noexcept nogil  # a descriptor
cdef int write_file(Files* files, const string& path, const uint8_t* data, int64_t size, bint is_synced) noexcept nogil
cdef int replace_file(Files* files, const string& path, const uint8_t* data, int64_t size) noexcept nogil
