"""One connection to a broker, in bytes: frames as nobody should send them, and whether an answer, silence, or the end comes back."""

from __future__ import annotations

import socket
import struct
from types import TracebackType

PATIENCE_S = 30.0


class RawClient:
    """A TCP connection. What does not come within `PATIENCE_S` is a TimeoutError."""

    def __init__(self, host: str, port: int, *, receive_buffer_bytes: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect((host, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def name(self) -> str:
        """What the other side calls it: HOST:PORT."""
        host, port = self.socket.getsockname()
        return f"{host}:{port}"

    def send(self, *frames: bytes) -> None:
        """Frames, each behind its length."""
        self.socket.sendall(b"".join(struct.pack(">i", len(frame)) + frame for frame in frames))

    def answer(self) -> bytes | None:
        """The next answer without its length; None if the connection ends instead."""
        length = self.exactly(4)
        return None if length is None else self.exactly(struct.unpack(">i", length)[0])

    def exactly(self, size: int) -> bytes | None:
        """So many bytes; None if the connection ends at a frame's beginning."""
        taken = bytearray()
        while len(taken) < size:
            try:
                chunk = self.socket.recv(min(size - len(taken), 1 << 20))
            except ConnectionResetError:
                chunk = b""
            if not chunk:
                assert not taken, "the connection ends inside an answer"
                return None
            taken += chunk
        return bytes(taken)

    def ask(self, frame: bytes) -> bytes | None:
        """The answer to one frame; None if the connection ends instead."""
        self.send(frame)
        return self.answer()

    def say_no_more(self) -> None:
        """End our side of the connection."""
        self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """End the connection."""
        self.socket.close()

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
