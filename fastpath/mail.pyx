# distutils: language = c++
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Inboxes, the mailbox and their bells: see `mail.pxd`."""

from libc.stdint cimport int64_t, uint64_t
from libcpp.unordered_set cimport unordered_set
from libcpp.vector cimport vector
from posix.unistd cimport close, read, write

from fiducial.fastpath.files cimport Files
from fiducial.fastpath.keys cimport Key
from fiducial.fastpath.sending cimport release_pieces
from fiducial.fastpath.system cimport EFD_CLOEXEC, EFD_NONBLOCK, EFD_SEMAPHORE, eventfd

cdef enum:
    LINES_MAX = 1000  # so many for the log wait at most


cdef bint open_inbox(Inbox* inbox) noexcept nogil:
    """Empty, with a bell."""
    inbox.bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
    return inbox.bell >= 0


cdef void close_inbox(Inbox* inbox, Files* files) noexcept nogil:
    """Nobody reads it any more: what is in it is given back."""
    cdef size_t index
    for index in range(inbox.letters.size()):
        release_pieces(&inbox.letters[index].pieces, files)
        if inbox.letters[index].errand == ADOPT or inbox.letters[index].errand == WELCOME:
            close(inbox.letters[index].fd)
    inbox.letters.clear()
    close(inbox.bell)


cdef void post(Inbox* inbox, Letter* letter) noexcept nogil:
    """THREAD-INBOX-2: a letter, read after those before."""
    inbox.lock.take()
    inbox.letters.resize(inbox.letters.size() + 1)
    inbox.letters.back().errand = letter.errand
    inbox.letters.back().connection = letter.connection
    inbox.letters.back().fd = letter.fd
    inbox.letters.back().address = letter.address
    inbox.letters.back().listener = letter.listener
    inbox.letters.back().reason = letter.reason
    inbox.letters.back().pieces.swap(letter.pieces)
    inbox.lock.give()
    wake_up(inbox)


cdef void wake_up(Inbox* inbox) noexcept nogil:
    """If it sleeps."""
    if inbox.is_asleep.get():
        inbox.is_asleep.set(0)
        ring(inbox.bell)


cdef bint take_letters(Inbox* inbox, vector[Letter]* letters) noexcept nogil:
    """All of them, in order."""
    letters.clear()
    inbox.lock.take()
    letters.swap(inbox.letters)
    inbox.lock.give()
    return not letters.empty()


cdef bint open_mailbox(Mailbox* mailbox) noexcept nogil:
    """Empty, with a bell."""
    mailbox.lines = mailbox.unsaid = 0
    mailbox.bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
    return mailbox.bell >= 0


cdef void tell(Mailbox* mailbox, Note* note) noexcept nogil:
    """A note, read after those before. Of lines for the log not more than so many wait: nobody's bad requests fill the memory."""
    cdef bint is_line = note.matter == CLOSING or note.matter == TROUBLE
    cdef bint was_empty
    mailbox.lock.take()
    was_empty = mailbox.notes.empty()
    if is_line and mailbox.lines == LINES_MAX:
        mailbox.unsaid += 1
    else:
        mailbox.lines += is_line
        mailbox.notes.resize(mailbox.notes.size() + 1)
        mailbox.notes.back().matter = note.matter
        mailbox.notes.back().connection = note.connection
        mailbox.notes.back().listener = note.listener
        mailbox.notes.back().peer.swap(note.peer)
        mailbox.notes.back().text.swap(note.text)
    mailbox.lock.give()
    if was_empty:
        ring(mailbox.bell)


cdef int64_t take_notes(Mailbox* mailbox, vector[Note]* notes) noexcept nogil:
    """All of them, in order."""
    cdef int64_t unsaid
    silence(mailbox.bell)
    mailbox.lock.take()
    notes.swap(mailbox.notes)
    unsaid = mailbox.unsaid
    mailbox.lines = mailbox.unsaid = 0
    mailbox.lock.give()
    return unsaid


cdef bint open_jobs(Jobs* jobs) noexcept nogil:
    """Nobody waits."""
    jobs.bell = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE)
    return jobs.bell >= 0


cdef void close_jobs(Jobs* jobs) noexcept nogil:
    """Nobody will wait any more."""
    close(jobs.bell)


cdef void wait_for_disk(Jobs* jobs, int64_t connection, vector[Due]* dues) noexcept nogil:
    """The connection is told once they are on the disk."""
    jobs.lock.take()
    jobs.waiting.resize(jobs.waiting.size() + 1)
    jobs.waiting.back().connection = connection
    jobs.waiting.back().dues.swap(dues[0])
    jobs.lock.give()
    ring(jobs.bell)


cdef void take_jobs(Jobs* jobs, vector[Job]* taken) noexcept nogil:
    """The first whose partitions nobody has in hand, nor waited for before, and all others that wait for no more than those. Who waits for several is
    not passed for ever by those who wait for one of them."""
    cdef unordered_set[Key] none, own, others
    cdef size_t index, kept = 0
    cdef bint is_free, has_more = False
    jobs.lock.take()
    others = jobs.busy
    for index in range(jobs.waiting.size()):
        is_free = are_within(&jobs.waiting[index].dues, &others, &none)
        if is_free and own.empty():
            insert_keys(&jobs.waiting[index].dues, &own)
            insert_keys(&jobs.waiting[index].dues, &jobs.busy)
            insert_keys(&jobs.waiting[index].dues, &others)
        if not own.empty() and are_within(&jobs.waiting[index].dues, &none, &own):
            taken.push_back(jobs.waiting[index])
            continue
        has_more = has_more or is_free
        insert_keys(&jobs.waiting[index].dues, &others)
        jobs.waiting[kept] = jobs.waiting[index]
        kept += 1
    jobs.waiting.resize(kept)
    jobs.lock.give()
    if has_more:
        ring(jobs.bell)  # another flusher can take it now


cdef void insert_keys(vector[Due]* dues, unordered_set[Key]* keys) noexcept nogil:
    """These partitions too."""
    cdef size_t index
    for index in range(dues.size()):
        keys.insert(dues[0][index].key)


cdef bint are_within(vector[Due]* dues, unordered_set[Key]* others, unordered_set[Key]* own) noexcept nogil:
    """Is none of them among the `others`, and each among the `own`, if there are any?"""
    cdef size_t index
    for index in range(dues.size()):
        if others.count(dues[0][index].key) or (not own.empty() and own.count(dues[0][index].key) == 0):
            return False
    return True


cdef void finish_jobs(Jobs* jobs, vector[Due]* dues) noexcept nogil:
    """Who waited for one of these may be taken now."""
    cdef size_t index
    cdef bint has_more
    jobs.lock.take()
    for index in range(dues.size()):
        jobs.busy.erase(dues[0][index].key)
    has_more = not jobs.waiting.empty()
    jobs.lock.give()
    if has_more:
        ring(jobs.bell)


cdef void ring(int bell) noexcept nogil:
    """Whoever waits for it wakes up."""
    cdef uint64_t one = 1
    write(bell, &one, sizeof(one))


cdef void silence(int bell) noexcept nogil:
    """It was heard."""
    cdef uint64_t count
    read(bell, &count, sizeof(count))
