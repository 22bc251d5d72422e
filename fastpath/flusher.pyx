# distutils: language = c++
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The thread that forces files to the disk for all who wait: those who come while it does are the next group."""

from libc.stdint cimport int64_t
from libcpp.string cimport string
from libcpp.unordered_map cimport unordered_map
from libcpp.vector cimport vector

from fiducial.fastpath.clock cimport Clock, now_ms
from fiducial.fastpath.frames cimport begin_turn, force, forced, note_due
from fiducial.fastpath.front cimport Front, post_answers, thread_of
from fiducial.fastpath.mail cimport DISK_FAILED, SETTLED, Errand, Letter, post, silence
from fiducial.fastpath.turn cimport Due


cdef void* run_flusher(void* front_) noexcept nogil:
    """Until the front is stopping."""
    cdef Front* front = <Front*>front_
    cdef vector[int64_t] connections
    cdef vector[Due] dues
    cdef Clock clock = Clock(0, 0)
    cdef int result
    while True:
        silence(front.jobs.bell)
        if front.is_stopping.get():
            return NULL
        front.jobs.lock.take()
        connections.swap(front.jobs.connections)
        dues.swap(front.jobs.dues)
        front.jobs.lock.give()
        put_together(&dues)
        note_due(front.plane, &dues)
        result = force(front.plane, &dues)
        forced(front.plane, front.flushing, &dues, result, now_ms(&clock))
        post_answers(front, front.flushing)
        begin_turn(front.flushing, 0)
        tell_all(front, &connections, SETTLED if result == 0 else DISK_FAILED)
        connections.clear()
        dues.clear()


cdef void put_together(vector[Due]* dues) noexcept nogil:
    """Each partition once."""
    cdef unordered_map[string, size_t] places
    cdef size_t index, count = 0
    for index in range(dues.size()):
        if places.count(dues[0][index].key):
            dues[0][places[dues[0][index].key]].end = max(dues[0][places[dues[0][index].key]].end, dues[0][index].end)
        else:
            places[dues[0][index].key] = count
            dues[0][count] = dues[0][index]
            count += 1
    dues.resize(count)


cdef void tell_all(Front* front, vector[int64_t]* connections, Errand errand) noexcept nogil:
    """Those who waited go on, or are hung up on."""
    cdef Letter letter
    cdef size_t index
    letter.errand = errand
    for index in range(connections.size()):
        letter.connection = connections[0][index]
        post(front.inboxes[thread_of(letter.connection)], &letter)
