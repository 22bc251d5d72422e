"""What the I/O threads ask of Linux, told to Cython."""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from posix.types cimport off_t

cdef extern from "<sys/epoll.h>" nogil:
    enum:
        EPOLLIN
        EPOLLOUT
        EPOLLERR
        EPOLLHUP
        EPOLL_CLOEXEC
        EPOLL_CTL_ADD
        EPOLL_CTL_MOD
        EPOLL_CTL_DEL
    ctypedef union epoll_data_t:
        uint64_t u64
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int flags)
    int epoll_ctl(int epoll, int operation, int fd, epoll_event* event)
    int epoll_wait(int epoll, epoll_event* events, int count, int timeout_ms)

cdef extern from "<sys/eventfd.h>" nogil:
    enum:
        EFD_CLOEXEC
        EFD_NONBLOCK
        EFD_SEMAPHORE
    int eventfd(unsigned int value, int flags)

cdef extern from "<sys/socket.h>" nogil:
    enum:
        MSG_DONTWAIT
        MSG_MORE
        MSG_NOSIGNAL
        SOCK_CLOEXEC
        SOCK_NONBLOCK
    ctypedef unsigned int socklen_t
    struct sockaddr:
        pass
    int accept4(int fd, sockaddr* address, socklen_t* size, int flags)
    int getpeername(int fd, sockaddr* address, socklen_t* size)
    ssize_t recv(int fd, void* data, size_t size, int flags)
    ssize_t send(int fd, const void* data, size_t size, int flags)
    int setsockopt(int fd, int level, int option, const void* value, socklen_t size)

cdef extern from "<sys/sendfile.h>" nogil:
    ssize_t sendfile(int socket, int fd, off_t* position, size_t size)

cdef extern from "<netinet/in.h>" nogil:
    enum:
        IPPROTO_TCP
    struct sockaddr_in6:  # there is room for an address of version 4
        pass

cdef extern from "<netinet/tcp.h>" nogil:
    enum:
        TCP_NODELAY

cdef extern from "<netdb.h>" nogil:
    enum:
        NI_NUMERICHOST
        NI_NUMERICSERV
    int getnameinfo(
        const sockaddr* address, socklen_t size, char* host, socklen_t host_bytes, char* port, socklen_t port_bytes, int flags
    )

cdef extern from "<pthread.h>" nogil:
    ctypedef unsigned long pthread_t
    int pthread_create(pthread_t* thread, void* attributes, void* (*run)(void*) noexcept nogil, void* argument)
    int pthread_join(pthread_t thread, void** result)

cdef extern from "<signal.h>" nogil:
    enum:
        SIG_SETMASK
    ctypedef struct sigset_t:
        pass
    int sigfillset(sigset_t* signals)
    int pthread_sigmask(int how, const sigset_t* signals, sigset_t* before)

cdef extern from "<time.h>" nogil:
    enum:
        CLOCK_MONOTONIC
        CLOCK_REALTIME
    struct timespec:
        int64_t tv_sec
        int64_t tv_nsec
    int clock_gettime(int clock, timespec* time)
