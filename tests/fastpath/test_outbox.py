"""What is sent to a client: bytes and slices of files, in order, also to one that reads slowly; without much memory, and no descriptor is left open."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from fiducial.fastpath.node import Send
from fiducial.fastpath.outbox import STEP_BYTES, Outbox

FILE = Random(1).randbytes(12_000_000)
Story = Callable[[Outbox, socket.socket], Any]


class Sender(asyncio.Protocol):
    """A connection that only sends."""

    outbox: Outbox

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.outbox = Outbox(transport)

    def pause_writing(self) -> None:
        self.outbox.is_full = True

    def resume_writing(self) -> None:
        self.outbox.is_full = False
        self.outbox.push()

    def connection_lost(self, exc: Exception | None) -> None:
        self.outbox.close()


def descriptors() -> int:
    """How many this process has open."""
    return len(os.listdir("/proc/self/fd"))


def told(story: Story) -> Any:
    """What comes of a story with an outbox and the client's socket; every descriptor is closed in the end."""

    async def whole() -> Any:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
            accepted, _ = listener.accept()
            client.setblocking(False)
            before = descriptors()
            transport, sender = await loop.connect_accepted_socket(Sender, accepted)
            found = await story(sender.outbox, client)
            transport.abort()
            await asyncio.sleep(0.01)
            assert descriptors() == before - 1  # that of the connection
            return found

    return asyncio.run(whole())


async def read(client: socket.socket, size_bytes: int) -> bytes:
    """So many bytes; fewer if the connection ends."""
    taken = bytearray()
    while len(taken) < size_bytes:
        chunk = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 300_000), 30)
        if not chunk:
            break
        taken += chunk
    return bytes(taken)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """What slices are of."""
    path = tmp_path / "segment"
    path.write_bytes(FILE)
    return path


def test_slices_come_between_bytes_though_the_file_is_gone(file: Path) -> None:
    async def story(outbox: Outbox, client: socket.socket) -> bytes:
        fd = os.open(file, os.O_RDONLY)
        outbox.put(Send(1, b"first", [(fd, 5, 100_000), b"second", (fd, 1_000_000, 9_000_000), (fd, 0, 50_000), b"last"]))
        os.close(fd)  # as a segment's is when it is deleted
        file.unlink()
        assert outbox.is_full
        assert outbox.transport.get_write_buffer_size() <= STEP_BYTES
        found = await read(client, 9_150_015)
        assert not outbox.is_full and not outbox.unsent_bytes()
        outbox.put(Send(1, b"next"))
        outbox.push()
        return found + await read(client, 4)

    assert told(story) == b"first" + FILE[5:100_005] + b"second" + FILE[1_000_000:10_000_000] + FILE[:50_000] + b"last" + b"next"


def test_what_is_not_taken_is_counted(file: Path) -> None:
    async def story(outbox: Outbox, client: socket.socket) -> None:
        with file.open("rb") as segment:
            outbox.put(Send(1, b"", [(segment.fileno(), 0, len(FILE))]))
        before = outbox.unsent_bytes()
        assert 0 < before < len(FILE)
        await read(client, 4_000_000)
        assert outbox.unsent_bytes() < before

    told(story)


def test_a_file_that_ends_too_early_ends_the_connection(file: Path) -> None:
    async def story(outbox: Outbox, client: socket.socket) -> bytes:
        with file.open("rb") as segment:
            outbox.put(Send(1, b"head", [(segment.fileno(), len(FILE) - 10, 11), b"tail"]))
        try:
            return await read(client, 100)
        except ConnectionResetError:
            return b""

    assert not told(story).endswith(b"tail")
