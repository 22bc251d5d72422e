# distutils: language = c++
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The threads that force files to the disk for all who wait. One has the whole of a partition in hand: who comes for it meanwhile is in the next
group; others have others, since the disk takes what many ask for at once together."""

from libcpp.unordered_map cimport unordered_map
from libcpp.vector cimport vector

from fiducial.fastpath.clock cimport Clock, now_ms
from fiducial.fastpath.frames cimport begin_turn, force, forced, note_due
from fiducial.fastpath.front cimport post_answers, thread_of
from fiducial.fastpath.keys cimport Key
from fiducial.fastpath.mail cimport DISK_FAILED, SETTLED, Errand, Job, Letter, finish_jobs, post, silence, take_jobs
from fiducial.fastpath.turn cimport Due


cdef void* run_flusher(void* flusher_) noexcept nogil:
    """Until the front is stopping."""
    cdef Flusher* here = <Flusher*>flusher_
    cdef Front* front = here.front
    cdef vector[Job] jobs
    cdef vector[Due] dues
    cdef Clock clock = Clock(0, 0)
    cdef int result
    while True:
        silence(front.jobs.bell)
        if front.is_stopping.get():
            return NULL
        take_jobs(&front.jobs, &jobs)  # THREAD-COMMIT-2: who comes from here on is answered after another flush
        if jobs.empty():
            continue
        put_together(&jobs, &dues)
        note_due(front.plane, &dues)
        result = force(front.plane, &dues)
        forced(front.plane, here.turn, &dues, result, now_ms(&clock))
        post_answers(front, here.turn)
        begin_turn(here.turn, 0)
        tell_all(front, &jobs, SETTLED if result == 0 else DISK_FAILED)
        finish_jobs(&front.jobs, &dues)
        jobs.clear()
        dues.clear()


cdef void put_together(vector[Job]* jobs, vector[Due]* dues) noexcept nogil:
    """Each partition once."""
    cdef unordered_map[Key, size_t] places
    cdef Due* due
    cdef size_t index, at
    for index in range(jobs.size()):
        for at in range(jobs[0][index].dues.size()):
            due = &jobs[0][index].dues[at]
            if places.count(due.key):
                dues[0][places[due.key]].end = max(dues[0][places[due.key]].end, due.end)
            else:
                places[due.key] = dues.size()
                dues.push_back(due[0])


cdef void tell_all(Front* front, vector[Job]* jobs, Errand errand) noexcept nogil:
    """Those who waited go on, or are hung up on."""
    cdef Letter letter
    cdef size_t index
    letter.errand = errand
    for index in range(jobs.size()):
        letter.connection = jobs[0][index].connection
        post(front.inboxes[thread_of(letter.connection)], &letter)
