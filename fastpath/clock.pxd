"""The broker's time, for who reads it without Python: the twin of `models/clock.py`."""

from libc.stdint cimport int64_t

from fiducial.fastpath.system cimport CLOCK_MONOTONIC, CLOCK_REALTIME, clock_gettime, timespec

cdef enum:
    NS_IN_A_MS = 1_000_000
    NS_IN_A_S = 1_000_000_000

cdef struct Clock:
    # All zero is a clock that was never asked.
    int64_t told_ns
    int64_t steady_then_ns


cdef inline int64_t read_ns(int clock) noexcept nogil:
    """One of the system's clocks."""
    cdef timespec time
    clock_gettime(clock, &time)
    return time.tv_sec * NS_IN_A_S + time.tv_nsec


cdef inline int64_t gone_on(int64_t last_ns, int64_t passed_ns, int64_t machine_ns) noexcept nogil:
    """What it is now: `passed_ns` after it was `last_ns`, by a clock that nobody sets, where the machine's says `machine_ns`."""
    return max(machine_ns, last_ns + passed_ns // 2)


cdef inline int64_t now_ms(Clock* clock) noexcept nogil:
    """The time, in ms since 1970."""
    cdef int64_t steady_ns = read_ns(CLOCK_MONOTONIC)
    clock.told_ns = gone_on(clock.told_ns, steady_ns - clock.steady_then_ns if clock.told_ns else 0, read_ns(CLOCK_REALTIME))
    clock.steady_then_ns = steady_ns
    return clock.told_ns // NS_IN_A_MS
