# distutils: language = c++
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The file operations of the operating system, behind the table of `files.pxd`."""

from libc.errno cimport EBADF, EINTR, EIO, EMFILE, EROFS, errno
from libc.stdint cimport int64_t, uint8_t
from libc.stdio cimport rename as c_rename
from libcpp.string cimport string
from posix.fcntl cimport F_DUPFD_CLOEXEC, O_CLOEXEC, O_CREAT, O_DIRECTORY, O_RDONLY, O_RDWR, fcntl
from posix.fcntl cimport open as c_open
from posix.mman cimport MAP_FAILED, MAP_SHARED, PROT_READ, mmap, munmap
from posix.stat cimport fstat, mkdir, struct_stat
from posix.types cimport off_t
from posix.unistd cimport close, fdatasync, fsync, ftruncate, pread, pwrite, unlink

from fiducial.fastpath.threads cimport Lock

cdef extern from "sys/uio.h" nogil:
    ssize_t pwritev(int fd, const Part* parts, int count, off_t position)

cdef enum:
    PARTS_MAX = 1024  # the kernel's limit
    TO_CONNECT = 3  # descriptors that one client takes at most: its socket, and the pair before it where it speaks TLS

# Is held by whoever holds descriptors back from connections: a moment, in which nobody else finds one.
cdef Lock holding_back


cdef int opened(const char* path, int flags) noexcept nogil:
    """A descriptor, or -errno. Who finds none looks again while nobody holds any back: they are for logs."""
    cdef int fd = c_open(path, flags | O_CLOEXEC, 0o644)
    cdef int result = fd if fd >= 0 else -errno
    if result == -EMFILE:
        holding_back.take()
        fd = c_open(path, flags | O_CLOEXEC, 0o644)
        result = fd if fd >= 0 else -errno
        holding_back.give()
    return result


cdef int hold_back(int fd, int* held, int count) noexcept nogil:
    """So many descriptors, or as many as there are: then errno says why. Until they are let go whoever opens a file waits, if there is none beside them."""
    cdef int so_far = 0
    holding_back.take()
    while so_far < count:
        held[so_far] = fcntl(fd, F_DUPFD_CLOEXEC, 0)
        if held[so_far] < 0:
            break
        so_far += 1
    return so_far


cdef void let_go_held(int* held, int count) noexcept nogil:
    """Whoever opens a file finds them."""
    while count > 0:
        count -= 1
        close(held[count])
    holding_back.give()


def are_left(int fd) -> int:
    """May one client more be let in, with as many descriptors left to logs as they need? 0, or the errno that says why not. `fd`: any that is open."""
    cdef int[LEFT_TO_LOGS + TO_CONNECT] held
    cdef int count, reason
    with nogil:
        count = hold_back(fd, held, LEFT_TO_LOGS + TO_CONNECT)
        reason = errno
        let_go_held(held, count)
    return 0 if count == LEFT_TO_LOGS + TO_CONNECT else reason


cdef int real_open(void* context, const char* path, bint create) noexcept nogil:
    """A disk that failed is often read-only from then on, and reads go on: what is there already is opened all the same."""
    cdef int result = opened(path, O_RDWR | (O_CREAT if create else 0))
    return opened(path, O_RDONLY) if result == -EROFS else result


cdef int real_close(void* context, int fd) noexcept nogil:
    return 0 if close(fd) == 0 else -errno


cdef int64_t real_size(void* context, int fd) noexcept nogil:
    cdef struct_stat status
    return status.st_size if fstat(fd, &status) == 0 else -errno


cdef int64_t real_modified_ms(void* context, int fd) noexcept nogil:
    cdef struct_stat status
    return status.st_mtim.tv_sec * 1000 + status.st_mtim.tv_nsec // 1_000_000 if fstat(fd, &status) == 0 else -errno


cdef int write_failed() noexcept nogil:
    """-errno. Of a file that could only be opened for reading (`real_open`) the kernel says that the descriptor is bad."""
    return -EROFS if errno == EBADF else -errno


cdef int real_write_at(void* context, int fd, const uint8_t* data, int64_t size, int64_t position) noexcept nogil:
    cdef ssize_t written
    while size > 0:
        written = pwrite(fd, data, size, position)
        if written < 0 and errno == EINTR:
            continue
        if written <= 0:
            return write_failed() if written < 0 else -EIO
        data += written
        size -= written
        position += written
    return 0


cdef int real_write_parts_at(void* context, int fd, const Part* parts, int count, int64_t position) noexcept nogil:
    cdef ssize_t written
    cdef int result
    while count > 0:
        written = pwritev(fd, parts, min(count, <int>PARTS_MAX), position)
        if written < 0 and errno == EINTR:
            continue
        if written <= 0:
            return write_failed() if written < 0 else -EIO
        position += written
        while count > 0 and written >= <ssize_t>parts.iov_len:
            written -= parts.iov_len
            parts += 1
            count -= 1
        if count > 0 and written > 0:  # the disk took a part of one
            result = real_write_at(context, fd, <const uint8_t*>parts.iov_base + written, parts.iov_len - written, position)
            if result < 0:
                return result
            position += parts.iov_len - written
            parts += 1
            count -= 1
    return 0


cdef int64_t real_read_at(void* context, int fd, uint8_t* data, int64_t size, int64_t position) noexcept nogil:
    cdef int64_t taken = 0
    cdef ssize_t got
    while taken < size:
        got = pread(fd, data + taken, size - taken, position + taken)
        if got < 0 and errno == EINTR:
            continue
        if got < 0:
            return -errno
        if got == 0:
            break
        taken += got
    return taken


cdef int real_truncate(void* context, int fd, int64_t size) noexcept nogil:
    return 0 if ftruncate(fd, size) == 0 else -errno


cdef int real_sync(void* context, int fd) noexcept nogil:
    return 0 if fdatasync(fd) == 0 else -errno


cdef int real_rename(void* context, const char* path, const char* to) noexcept nogil:
    return 0 if c_rename(path, to) == 0 else -errno


cdef int real_remove(void* context, const char* path) noexcept nogil:
    return 0 if unlink(path) == 0 else -errno


cdef int real_make_folder(void* context, const char* path) noexcept nogil:
    return 0 if mkdir(path, 0o755) == 0 else -errno


cdef int real_sync_folder(void* context, const char* path) noexcept nogil:
    cdef int fd = opened(path, O_RDONLY | O_DIRECTORY)
    if fd < 0:
        return fd
    cdef int result = 0 if fsync(fd) == 0 else -errno
    close(fd)
    return result


cdef const uint8_t* real_map(void* context, int fd, int64_t size) noexcept nogil:
    cdef void* base = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0)
    if base == MAP_FAILED:
        return NULL
    return <const uint8_t*>base


cdef int real_unmap(void* context, const uint8_t* base, int64_t size) noexcept nogil:
    return 0 if munmap(<void*>base, size) == 0 else -errno


cdef Files the_real_ones() noexcept nogil:
    cdef Files files
    files.context = NULL
    files.open = real_open
    files.close = real_close
    files.size = real_size
    files.modified_ms = real_modified_ms
    files.write_at = real_write_at
    files.read_at = real_read_at
    files.truncate = real_truncate
    files.sync = real_sync
    files.rename = real_rename
    files.remove = real_remove
    files.make_folder = real_make_folder
    files.sync_folder = real_sync_folder
    files.map = real_map
    files.unmap = real_unmap
    files.write_parts_at = real_write_parts_at
    return files


cdef Files REAL = the_real_ones()

#: Where the table of the real functions is, for who puts a table of its own before it.
ADDRESS = <size_t>&REAL


cdef Files files_at(size_t address) noexcept nogil:
    """The table at this address."""
    return (<Files*>address)[0]


cdef int write_held(Files* files, const string& path, const uint8_t* data, int64_t size) noexcept nogil:
    """The file holds these bytes and nothing else, and stays open: its descriptor; or -errno."""
    cdef int fd = files.open(files.context, path.c_str(), True)
    if fd < 0:
        return fd
    cdef int result = files.truncate(files.context, fd, 0)
    if result == 0:
        result = files.write_at(files.context, fd, data, size, 0)
    if result == 0:
        return fd
    files.close(files.context, fd)
    return result


cdef int write_file(Files* files, const string& path, const uint8_t* data, int64_t size, bint is_synced) noexcept nogil:
    """The file holds these bytes and nothing else; on the disk too, if it is to be synced."""
    cdef int fd = write_held(files, path, data, size)
    if fd < 0:
        return fd
    cdef int result = files.sync(files.context, fd) if is_synced else 0
    files.close(files.context, fd)
    return result


cdef int replace_file(Files* files, const string& path, const uint8_t* data, int64_t size) noexcept nogil:
    """The file holds these bytes and nothing else, whole, or what it held before. That it does so after a power cut, `sync_folder` says."""
    cdef string beside = path
    beside.append(<const char*>b".tmp")
    cdef int result = write_file(files, beside, data, size, True)
    return files.rename(files.context, beside.c_str(), path.c_str()) if result == 0 else result
