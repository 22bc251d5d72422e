"""What is due to one client: bytes, and slices of files, which go from the file to the socket without being read, but for TLS, which reads them anyway.

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

#: Answers are written together up to this size.
TOGETHER_BYTES = 1 << 16
#: So much of a slice is read into memory when the socket is full; and at a time where TLS reads it.
STEP_BYTES, TLS_STEP_BYTES = 1 << 12, 1 << 16
#: Has the kernel put the bytes before a slice into one packet with it. Not every system has that.
CORK = getattr(socket, "TCP_CORK", None)


class Outbox:
    """The sending side of a connection. Nothing need be put into it while it is full."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.transport.set_write_buffer_limits(0)  # full with the first byte that the socket does not take
        self.socket = transport.get_extra_info("socket")
        self.is_for_tls = getattr(self.socket, "family", None) == socket.AF_UNIX  # one of a pair (`tls.py`)
        self.due: deque[bytes | Slice] = deque()
        self.due_bytes = 0
        self.sent_bytes = 0  # or given to the transport
        self.held: set[int] = set()  # descriptors of our own
        self.is_full = False  # the transport has enough: the client has to read

    def put(self, answer: Send) -> None:
        """An answer goes out together with those behind it, unless that is much. A slice is good only now."""
        self.add(answer.data)
        for piece in answer.rest:
            self.add(piece)
        if answer.rest or self.due_bytes > TOGETHER_BYTES:
            self.push()
            self.due = deque(one if isinstance(one, bytes) else self.hold(one) for one in self.due)

    def add(self, piece: bytes | Slice) -> None:
        """So much more is due."""
        self.due.append(piece)
        self.due_bytes += size_of(piece)

    def push(self) -> None:
        """Send what is due, until the transport has enough."""
        has_slices = any(not isinstance(one, bytes) for one in self.due)
        if has_slices:
            self.cork(True)
        while self.due and not self.is_full and not self.transport.is_closing():
            if isinstance(self.due[0], bytes):
                self.push_bytes()
            else:
                self.push_slice(*self.due.popleft())
        if has_slices:
            self.cork(False)
        if not self.due:
            self.let_go()

    def push_bytes(self) -> None:
        """What there is up to the next slice, in one write."""
        together: list[bytes] = []
        while self.due and isinstance(piece := self.due[0], bytes):
            together.append(piece)
            self.due.popleft()
        data = b"".join(together)
        self.due_bytes -= len(data)
        self.sent_bytes += len(data)
        self.transport.write(data)

    def push_slice(self, fd: int, position: int, size_bytes: int) -> None:
        """As much of a slice as the socket has room for."""
        try:
            sent = 0 if self.is_for_tls or self.transport.get_write_buffer_size() else os.sendfile(self.socket.fileno(), fd, position, size_bytes)
        except BlockingIOError:
            sent = 0
        except OSError:  # the client is gone
            self.transport.abort()
            return
        self.due_bytes -= sent
        self.sent_bytes += sent
        if sent < size_bytes:
            self.push_step(fd, position + sent, size_bytes - sent)

    def push_step(self, fd: int, position: int, size_bytes: int) -> None:
        """A little of the rest, by way of the transport: it says when the socket has room again."""
        step = os.pread(fd, min(TLS_STEP_BYTES if self.is_for_tls else STEP_BYTES, size_bytes), position)
        if not step:  # the file is shorter than it was
            self.transport.abort()
            return
        self.transport.write(step)
        self.due_bytes -= len(step)
        self.sent_bytes += len(step)
        if len(step) < size_bytes:
            self.due.appendleft((fd, position + len(step), size_bytes - len(step)))

    def hold(self, slice_: Slice) -> Slice:
        """The slice, by a descriptor of our own."""
        fd, position, size_bytes = slice_
        if fd not in self.held:
            fd = os.dup(fd)
            self.held.add(fd)
        return fd, position, size_bytes

    def let_go(self) -> None:
        """No slice is due any more."""
        for fd in self.held:
            os.close(fd)
        self.held.clear()

    def close(self) -> None:
        """The connection is gone."""
        self.due.clear()
        self.let_go()

    def unsent_bytes(self) -> int:
        """How much the client has not taken."""
        return self.transport.get_write_buffer_size() + self.due_bytes

    def cork(self, is_on: bool) -> None:
        """Hold back packets that are not full, or let them go."""
        if CORK is not None and not self.is_for_tls and not self.transport.is_closing():
            self.socket.setsockopt(socket.IPPROTO_TCP, CORK, is_on)


def size_of(piece: bytes | Slice) -> int:
    """How many bytes are sent of it."""
    return len(piece) if isinstance(piece, bytes) else piece[2]
