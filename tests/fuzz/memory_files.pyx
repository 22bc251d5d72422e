# distutils: language = c++
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The file operations of `fastpath/files.pxd` in memory: fast, the same at every run, and strict. Whoever asks for more than a file has room for, or
for a file that nobody has open, ends the process: on a real disk that would be somebody else's file."""

from libc.errno cimport ENOENT
from libc.stdint cimport int64_t, uint8_t
from libc.stdio cimport fprintf, stderr
from libc.stdlib cimport abort, free, realloc
from libc.string cimport memcpy, memset
from libcpp.string cimport string
from libcpp.utility cimport pair
from libcpp.unordered_map cimport unordered_map
from libcpp.vector cimport vector

from fiducial.fastpath.files cimport Files, Part

cdef enum:
    INDEX_BYTES_MAX = 1024  # of the harness's topics: what a mapping has beyond it nobody may look at


cdef struct File:
    uint8_t* data
    int64_t size
    int64_t capacity
    int opened  # so many times, and not closed
    int mapped
    bint is_changed


cdef cppclass Disk:
    vector[File] files  # by descriptor
    unordered_map[string, int] paths


cdef void demand(bint holds, const char* what) noexcept nogil:
    if not holds:
        fprintf(stderr, b"the file operations were told nonsense: %s\n", what)
        abort()


cdef File* opened(void* context, int fd) noexcept nogil:
    cdef Disk* disk = <Disk*>context
    demand(0 <= fd and <size_t>fd < disk.files.size(), b"no such descriptor")
    demand(disk.files[fd].opened > 0, b"the descriptor was closed")
    return &disk.files[fd]


cdef void reserve(File* file, int64_t capacity) noexcept nogil:
    """A file that is mapped must stay where it is."""
    if capacity <= file.capacity:
        return
    demand(file.mapped == 0, b"a mapped file outgrows its mapping")
    capacity = max(capacity, 2 * file.capacity)
    file.data = <uint8_t*>realloc(file.data, capacity)
    memset(file.data + file.capacity, 0, capacity - file.capacity)
    file.capacity = capacity


cdef int memory_open(void* context, const char* path, bint create) noexcept nogil:
    cdef Disk* disk = <Disk*>context
    cdef string name = path
    if disk.paths.count(name) == 0:
        if not create:
            return -ENOENT
        disk.paths[name] = <int>disk.files.size()
        disk.files.push_back(File(NULL, 0, 0, 0, 0, True))
    disk.files[disk.paths[name]].opened += 1
    return disk.paths[name]


cdef int memory_close(void* context, int fd) noexcept nogil:
    opened(context, fd).opened -= 1
    return 0


cdef int64_t memory_size(void* context, int fd) noexcept nogil:
    return opened(context, fd).size


cdef int64_t memory_modified_ms(void* context, int fd) noexcept nogil:
    opened(context, fd)
    return 0


cdef int memory_write_at(void* context, int fd, const uint8_t* data, int64_t size, int64_t position) noexcept nogil:
    cdef File* file = opened(context, fd)
    demand(size >= 0 and 0 <= position <= file.size, b"a write leaves a hole")
    reserve(file, position + size)
    if size > 0:
        memcpy(file.data + position, data, size)
    file.size = max(file.size, position + size)
    file.is_changed = True
    return 0


cdef int memory_write_parts_at(void* context, int fd, const Part* parts, int count, int64_t position) noexcept nogil:
    cdef int index
    for index in range(count):
        memory_write_at(context, fd, <const uint8_t*>parts[index].iov_base, parts[index].iov_len, position)
        position += parts[index].iov_len
    return 0


cdef int64_t memory_read_at(void* context, int fd, uint8_t* data, int64_t size, int64_t position) noexcept nogil:
    cdef File* file = opened(context, fd)
    demand(size >= 0 and position >= 0, b"a read of nothing")
    size = max(<int64_t>0, min(size, file.size - position))
    if size > 0:
        memcpy(data, file.data + position, size)
    return size


cdef int memory_truncate(void* context, int fd, int64_t size) noexcept nogil:
    cdef File* file = opened(context, fd)
    demand(size >= 0, b"a negative size")
    reserve(file, size)
    if size < file.size:
        memset(file.data + size, 0, file.size - size)
    file.size = size
    file.is_changed = True
    return 0


cdef int memory_sync(void* context, int fd) noexcept nogil:
    opened(context, fd)
    return 0


cdef int memory_rename(void* context, const char* path, const char* to) noexcept nogil:
    cdef Disk* disk = <Disk*>context
    cdef string name = path, new_name = to
    if disk.paths.count(name) == 0:
        return 0  # a folder
    disk.paths[new_name] = disk.paths[name]
    disk.paths.erase(name)
    return 0


cdef int memory_remove(void* context, const char* path) noexcept nogil:
    cdef Disk* disk = <Disk*>context
    cdef string name = path
    return 0 if disk.paths.erase(name) else -ENOENT


cdef int memory_make_folder(void* context, const char* path) noexcept nogil:
    return 0


cdef int memory_sync_folder(void* context, const char* path) noexcept nogil:
    return 0


cdef const uint8_t* memory_map(void* context, int fd, int64_t size) noexcept nogil:
    cdef File* file = opened(context, fd)
    reserve(file, min(size, <int64_t>INDEX_BYTES_MAX))
    file.mapped += 1
    return file.data


cdef int memory_unmap(void* context, const uint8_t* base, int64_t size) noexcept nogil:
    cdef Disk* disk = <Disk*>context
    cdef size_t fd
    for fd in range(disk.files.size()):
        if disk.files[fd].data == base and disk.files[fd].mapped > 0:
            disk.files[fd].mapped -= 1
            return 0
    demand(False, b"what was never mapped is unmapped")
    return 0


cdef class MemoryFiles:
    """An empty disk; `address` is that of its table of functions."""

    cdef Files table
    cdef Disk* disk

    def __cinit__(self):
        self.disk = new Disk()
        self.table.context = self.disk
        self.table.open = memory_open
        self.table.close = memory_close
        self.table.size = memory_size
        self.table.modified_ms = memory_modified_ms
        self.table.write_at = memory_write_at
        self.table.write_parts_at = memory_write_parts_at
        self.table.read_at = memory_read_at
        self.table.truncate = memory_truncate
        self.table.sync = memory_sync
        self.table.rename = memory_rename
        self.table.remove = memory_remove
        self.table.make_folder = memory_make_folder
        self.table.sync_folder = memory_sync_folder
        self.table.map = memory_map
        self.table.unmap = memory_unmap

    def __dealloc__(self):
        cdef size_t fd
        for fd in range(self.disk.files.size()):
            free(self.disk.files[fd].data)
        del self.disk

    @property
    def address(self):
        return <size_t>&self.table

    def changed(self):
        """The paths of the files that were made or written to since it was asked last."""
        cdef pair[string, int] named
        found = []
        for named in self.disk.paths:
            if self.disk.files[named.second].is_changed:
                self.disk.files[named.second].is_changed = False
                found.append(named.first)
        return found
