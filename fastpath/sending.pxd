"""What is due to a client: bytes, and slices of files, which go from the file to the socket without being read if they are large.

What the socket does not take at once stays due: bytes as a copy of our own, a slice only as where it lies, in a file that stays open as long.
So a client that does not read costs little memory.
"""

from libc.stdint cimport int64_t, uint8_t
from libcpp.vector cimport vector

from fiducial.fastpath.files cimport Files
from fiducial.fastpath.threads cimport OpenFile
from fiducial.fastpath.turn cimport Turn

cdef enum:
    GATHERED_BYTES_MAX = 1 << 18  # small slices, and bytes between them, are sent together up to this size

cdef struct Piece:
    OpenFile* file  # NULL: bytes
    uint8_t* data  # of bytes
    int64_t begin  # in the data, or in the file: what is not sent yet
    int64_t end

cdef enum Sent:
    ALL_SENT
    SOCKET_IS_FULL
    CLIENT_IS_GONE
    FILE_IS_SHORT  # or cannot be read

# The answers of a turn from one to before another, as pieces that are good until the next turn.
cdef void view_answers(Turn* turn, size_t first, size_t behind, vector[Piece]* pieces) noexcept nogil
cdef bint take_copies(vector[Piece]* pieces, size_t at, vector[Piece]* into) noexcept nogil  # false: no memory
cdef bint copied_piece(const uint8_t* data, int64_t size, Piece* piece) noexcept nogil  # false: no memory
cdef void release_pieces(vector[Piece]* pieces, Files* files) noexcept nogil  # of our own, sent or not

# As many pieces as the socket has room for, from number `at` on; it goes on, and what of that piece was sent is not in it any more. `room`
# has GATHERED_BYTES_MAX; `sent_bytes` grows.
cdef Sent send_pieces(int fd, vector[Piece]* pieces, size_t* at, uint8_t* room, int64_t* sent_bytes) noexcept nogil
