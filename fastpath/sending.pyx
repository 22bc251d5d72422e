# distutils: language = c++
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Pieces of answers, and how they go into a socket: see `sending.pxd`."""

from libc.errno cimport EAGAIN, EINTR, EIO, errno
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy
from libcpp.vector cimport vector
from posix.types cimport off_t
from posix.unistd cimport pread

from fiducial.fastpath.files cimport Files
from fiducial.fastpath.system cimport MSG_MORE, MSG_NOSIGNAL, send, sendfile
from fiducial.fastpath.threads cimport held, let_go_of
from fiducial.fastpath.turn cimport Turn
from fiducial.fastpath.wire cimport Gap

cdef enum:
    SLICE_BYTES_MIN = 1 << 15  # smaller ones are read: of the system calls, fewer
    BYTES_ALONE_MIN = 1 << 14  # so many are not copied to be sent together with others


cdef Piece bytes_of(uint8_t* data, int64_t begin, int64_t end) noexcept nogil:
    return Piece(NULL, data, begin, end)


cdef int64_t size_of(Piece* piece) noexcept nogil:
    return piece.end - piece.begin


# From a turn


cdef void view_answers(Turn* turn, size_t first, size_t behind, vector[Piece]* pieces) noexcept nogil:
    """Bytes of the output and what stands in its gaps, by turns. Answers that stand together are one."""
    cdef Gap* gaps = turn.out.gaps
    cdef int64_t at = turn.answers[first].begin
    cdef int32_t gap
    for gap in range(turn.answers[first].gaps_begin, turn.answers[behind - 1].gaps_end):
        if gaps[gap].position > at:
            pieces.push_back(bytes_of(turn.out.data, at, gaps[gap].position))
        at = gaps[gap].position
        place = &turn.places[gaps[gap].slice]
        pieces.push_back(Piece(place.file, NULL, place.position, place.position + gaps[gap].size_bytes))
    if turn.answers[behind - 1].end > at:
        pieces.push_back(bytes_of(turn.out.data, at, turn.answers[behind - 1].end))


# Of our own


cdef bint take_copies(vector[Piece]* pieces, size_t at, vector[Piece]* into) noexcept nogil:
    """What others have lent, from number `at` on: bytes copied, files held."""
    cdef Piece piece
    while at < pieces.size():
        piece = pieces[0][at]
        if piece.file != NULL:
            held(piece.file)
        elif not copied_piece(piece.data + piece.begin, size_of(&piece), &piece):
            return False
        into.push_back(piece)
        at += 1
    return True


cdef bint copied_piece(const uint8_t* data, int64_t size, Piece* piece) noexcept nogil:
    """Bytes of our own."""
    cdef uint8_t* copy = <uint8_t*>malloc(size)
    if copy == NULL:
        return False
    memcpy(copy, data, size)
    piece[0] = bytes_of(copy, 0, size)
    return True


cdef void release_pieces(vector[Piece]* pieces, Files* files) noexcept nogil:
    """Nobody needs them any more."""
    cdef size_t index
    for index in range(pieces.size()):
        release_piece(&pieces[0][index], files)
    pieces.clear()


cdef void release_piece(Piece* piece, Files* files) noexcept nogil:
    cdef int fd
    if piece.file == NULL:
        free(piece.data)
    elif let_go_of(piece.file, &fd):
        files.close(files.context, fd)


# Into a socket


cdef Sent send_pieces(int fd, vector[Piece]* pieces, size_t* at, uint8_t* room, int64_t* sent_bytes) noexcept nogil:
    cdef Sent sent = ALL_SENT
    cdef int64_t count = 0
    while sent == ALL_SENT and at[0] < pieces.size():
        if is_large(&pieces[0][at[0]]):
            sent = send_slice(fd, &pieces[0][at[0]], &count)
        elif goes_alone(pieces, at[0]):
            sent = send_bytes(fd, &pieces[0][at[0]], at[0] + 1 < pieces.size(), &count)
        else:
            sent = send_together(fd, pieces, at[0], room, &count)
        sent_bytes[0] += count
        go_past(pieces, at, count)
    return sent


cdef void go_past(vector[Piece]* pieces, size_t* at, int64_t count) noexcept nogil:
    """So many bytes were sent."""
    cdef int64_t step
    while at[0] < pieces.size():
        step = min(count, size_of(&pieces[0][at[0]]))
        pieces[0][at[0]].begin += step
        count -= step
        if size_of(&pieces[0][at[0]]) > 0:
            break
        at[0] += 1


cdef bint is_large(Piece* piece) noexcept nogil:
    """Does it go from the file to the socket?"""
    return piece.file != NULL and size_of(piece) >= SLICE_BYTES_MIN


cdef bint goes_alone(vector[Piece]* pieces, size_t at) noexcept nogil:
    """Bytes, and nothing small behind them, or so many that copying them costs more than another call."""
    if pieces[0][at].file != NULL:
        return False
    return size_of(&pieces[0][at]) >= BYTES_ALONE_MIN or at + 1 == pieces.size() or is_large(&pieces[0][at + 1])


cdef Sent outcome(ssize_t sent, int64_t wanted, int64_t* count) noexcept nogil:
    """What became of a send."""
    count[0] = max(sent, <ssize_t>0)
    if sent == wanted:
        return ALL_SENT
    return SOCKET_IS_FULL if sent >= 0 or errno == EAGAIN or errno == EINTR else CLIENT_IS_GONE


cdef Sent send_bytes(int fd, Piece* piece, bint has_more, int64_t* count) noexcept nogil:
    cdef int flags = MSG_NOSIGNAL | (MSG_MORE if has_more else 0)
    return outcome(send(fd, piece.data + piece.begin, size_of(piece), flags), size_of(piece), count)


cdef Sent send_slice(int fd, Piece* piece, int64_t* count) noexcept nogil:
    cdef off_t position = piece.begin
    cdef ssize_t sent = sendfile(fd, piece.file.fd, &position, size_of(piece))
    if sent == 0 or (sent < 0 and errno == EIO):
        count[0] = 0
        return FILE_IS_SHORT
    return outcome(sent, size_of(piece), count)


cdef Sent send_together(int fd, vector[Piece]* pieces, size_t at, uint8_t* room, int64_t* count) noexcept nogil:
    """Small pieces up to the next large slice, read into one place."""
    cdef int64_t size = 0, step
    cdef Piece* piece
    count[0] = 0
    while at < pieces.size() and size < GATHERED_BYTES_MAX and not is_large(&pieces[0][at]):
        piece = &pieces[0][at]
        step = min(size_of(piece), GATHERED_BYTES_MAX - size)
        if piece.file == NULL:
            memcpy(room + size, piece.data + piece.begin, step)
        elif pread(piece.file.fd, room + size, step, piece.begin) != step:
            return FILE_IS_SHORT
        size += step
        at += step == size_of(piece)
    cdef int flags = MSG_NOSIGNAL | (MSG_MORE if at < pieces.size() else 0)
    return outcome(send(fd, room, size, flags), size, count)
