"""Who reads at the log end finds what was appended last without looking for it in files."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import pytest
from raw_client import RawClient

from fastpath.folders import NOW, batch_of, create, delete_records, produce, talk
from fastpath.served import Served, SlowDisk
from fiducial.models import messages as m

READ_AT = 6  # its place in the table of fastpath/files.pxd
READ = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
TOPIC = "a"


class ReadDisk(SlowDisk):
    """The real file operations, but that reads are counted."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.really_read = READ(self.table[READ_AT] or 0)
        self.read_function = READ(self.read)
        self.table[READ_AT] = ctypes.cast(self.read_function, ctypes.c_void_p)

    def read(self, context: int, fd: int, data: int, size: int, position: int) -> int:
        """As it is."""
        self.reads += 1
        return int(self.really_read(context, fd, data, size, position))


def fetched(client: RawClient, offset: int) -> bytes:
    """What is there from an offset on."""
    topic = m.FetchTopic(TOPIC, partitions=(m.FetchPartition(0, fetch_offset=offset, partition_max_bytes=1 << 20),))
    (found,) = talk(client, m.FetchRequest(min_bytes=1, topics=(topic,))).responses[0].partitions
    assert found.error_code == 0
    data: Any = found.records
    return bytes(data)


def offset_of(data: bytes) -> int:
    """Where the first batch begins."""
    return int.from_bytes(data[:8], "big")


@pytest.mark.parametrize("small", [{}, {"internal_segment_bytes": "200"}], ids=["in one segment", "in small segments"])
def test_what_was_appended_last_is_not_looked_for(small: dict[str, str], tmp_path: Path) -> None:
    disk = ReadDisk()
    with Served(tmp_path / "data", disk=disk) as served, served.connect() as client:
        create(client, TOPIC, **small)
        for number in range(9):
            offset = produce(client, TOPIC, batch_of([NOW + number] * 2))
            before = disk.reads
            assert offset_of(fetched(client, offset)) == offset_of(fetched(client, offset + 1)) == offset == 2 * number
            assert disk.reads == before
        assert offset_of(fetched(client, 4)) == 4
        assert disk.reads > before
        delete_records(client, TOPIC, 17)
        assert offset_of(fetched(client, 17)) == 16
