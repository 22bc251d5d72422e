"""threads.h, told to Cython."""

from libc.stdint cimport int64_t

cdef extern from "threads.h" nogil:
    cppclass Lock:
        void take()
        void give()

    cppclass Gate:
        void look()
        void change()
        void leave()

    cppclass OpenFile:
        int fd
        Lock syncing
        int failed
        OpenFile(int fd)

    OpenFile* held(OpenFile* file)
    bint let_go_of(OpenFile* file, int* fd)

    cppclass Shared:
        int64_t get()
        void set(int64_t value)
        int64_t add(int64_t more)
        bint begin(int64_t value)

    cppclass Tally:
        int64_t get()
        void add(int64_t more)
