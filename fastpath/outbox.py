"""What is due to one client: bytes, and slices of files, which go from the file to the socket without being read.

What the socket does not take at once stays due: of bytes in the transport's buffer, of a slice only where it lies, by a descriptor of its own,
since its segment may be deleted meanwhile. So a client that does not read costs little memory.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from typing import TYPE_CHECKING

from fiducial.fastpath.node import Send

if TYPE_CHECKING:
    from fiducial.fastpath.core import Slice

#: More than a transport's high-water mark: it is called again when the socket has taken so much.
STEP_BYTES = 1 << 17
#: Not everywhere; what it does is to put the bytes before a slice into one packet with it.
CORK = getattr(socket, "TCP_CORK", None)


class Outbox:
    """The sending side of a connection. Once it is full nothing may be put into it."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.socket = transport.get_extra_info("socket")
        self.due: deque[bytes | Slice] = deque()
        self.held: list[int] = []  # descriptors of our own
        self.is_paused = False  # the transport has enough

    @property
    def is_full(self) -> bool:
        """Does the client have to read first?"""
        return self.is_paused or bool(self.due)

    def put(self, answer: Send) -> None:
        """Send an answer, as far as the socket takes it now."""
        if not answer.rest:
            self.transport.write(answer.data)
            return
        self.cork(True)
        self.transport.write(answer.data)
        self.due.extend(answer.rest)
        self.push()
        self.due = deque(one if isinstance(one, bytes) else self.hold(one) for one in self.due)

    def push(self) -> None:
        """Send more of what is due, until the transport has enough."""
        while self.due and not self.is_paused and not self.transport.is_closing():
            piece = self.due.popleft()
            if isinstance(piece, bytes):
                self.transport.write(piece)
            else:
                self.push_slice(*piece)
        if not self.due:
            self.let_go()
            self.cork(False)

    def push_slice(self, fd: int, position: int, size_bytes: int) -> None:
        """The socket takes of a slice what it has room for; a step more, read into memory, has the transport tell us when it has room again."""
        try:
            sent = 0 if self.transport.get_write_buffer_size() else os.sendfile(self.socket.fileno(), fd, position, size_bytes)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.transport.abort()
            return
        if sent == size_bytes:
            return
        step = os.pread(fd, min(STEP_BYTES, size_bytes - sent), position + sent)
        if not step:
            self.transport.abort()
            return
        self.transport.write(step)
        sent += len(step)
        if sent < size_bytes:
            self.due.appendleft((fd, position + sent, size_bytes - sent))

    def hold(self, piece: Slice) -> Slice:
        """The slice, by a descriptor of our own."""
        fd, position, size_bytes = piece
        self.held.append(os.dup(fd))
        return self.held[-1], position, size_bytes

    def let_go(self) -> None:
        """Nothing is due any more."""
        for fd in self.held:
            os.close(fd)
        self.held.clear()

    def close(self) -> None:
        """The connection is gone."""
        self.due.clear()
        self.let_go()

    def unsent_bytes(self) -> int:
        """How much the client has not taken."""
        return self.transport.get_write_buffer_size() + sum(len(one) if isinstance(one, bytes) else one[2] for one in self.due)

    def cork(self, is_on: bool) -> None:
        """Hold back packets that are not full, or let them go."""
        if CORK is not None:
            self.socket.setsockopt(socket.IPPROTO_TCP, CORK, is_on)
