"""A disk that remembers every file operation of a broker, in order, with what it wrote; and that can be made to fail.

It stands in the place of the real functions (the table of fastpath/files.pxd): each is carried out on the files of one folder, and written down
if it changes something. What the operations of a run come to, when they are cut short, `images.py` says.

    disk = Disk(folder)
    node = Node(folder, …, simulation=disk)
    disk.operations        [MakeFolder("metadata"), SyncFolder(""), Create("metadata/….log", 1), …]
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from errno import EIO, ENOSPC
from pathlib import Path
from typing import Any

from fiducial.fastpath import files

# Operations; paths are below the folder, "" is the folder itself; a file keeps its number when it is renamed


@dataclass(frozen=True)
class Create:
    """A new, empty file."""

    path: str
    file: int


@dataclass(frozen=True)
class Write:
    """Bytes at a position, all of them: what a write left that failed is a Write too."""

    file: int
    position: int
    data: bytes


@dataclass(frozen=True)
class Truncate:
    """The file ends here."""

    file: int
    size: int


@dataclass(frozen=True)
class Sync:
    """What was written to the file is on the disk."""

    file: int


@dataclass(frozen=True)
class Rename:
    """Another name, in the same folder; what had that name is gone."""

    path: str
    to: str


@dataclass(frozen=True)
class Remove:
    """A file is gone."""

    path: str


@dataclass(frozen=True)
class MakeFolder:
    """A new folder."""

    path: str


@dataclass(frozen=True)
class SyncFolder:
    """The names in the folder are as they are on the disk too; not those in folders below it."""

    path: str


Operation = Create | Write | Truncate | Sync | Rename | Remove | MakeFolder | SyncFolder


@dataclass(frozen=True)
class Failure:
    """How an operation fails: with which errno; of a write, how many bytes get through."""

    errno: int
    written_bytes: int = 0


#: Says of an operation, which would be the n-th, whether it fails. The n-th sync of a file that failed once is asked about like any other.
Fault = Callable[[int, Operation], Failure | None]


# The table


POINTER, INT, LONG = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64
OPEN = ctypes.CFUNCTYPE(INT, POINTER, ctypes.c_char_p, INT)
BY_DESCRIPTOR = ctypes.CFUNCTYPE(INT, POINTER, INT)
WRITE_AT = ctypes.CFUNCTYPE(INT, POINTER, INT, POINTER, LONG, LONG)
WRITE_PARTS_AT = ctypes.CFUNCTYPE(INT, POINTER, INT, POINTER, INT, LONG)
READ_AT = ctypes.CFUNCTYPE(LONG, POINTER, INT, POINTER, LONG, LONG)
TRUNCATE = ctypes.CFUNCTYPE(INT, POINTER, INT, LONG)
BY_PATH = ctypes.CFUNCTYPE(INT, POINTER, ctypes.c_char_p)
RENAME = ctypes.CFUNCTYPE(INT, POINTER, ctypes.c_char_p, ctypes.c_char_p)


class Part(ctypes.Structure):
    """The system's iovec."""

    _fields_ = (("base", POINTER), ("size", ctypes.c_size_t))


class Table(ctypes.Structure):
    """`Files` of fastpath/files.pxd, field by field; what only reads stays what it is, as a bare pointer."""

    _fields_ = (
        ("context", POINTER),
        ("open", OPEN),
        ("close", BY_DESCRIPTOR),
        ("size", POINTER),
        ("modified_ms", POINTER),
        ("write_at", WRITE_AT),
        ("read_at", READ_AT),
        ("truncate", TRUNCATE),
        ("sync", BY_DESCRIPTOR),
        ("rename", RENAME),
        ("remove", BY_PATH),
        ("make_folder", BY_PATH),
        ("sync_folder", BY_PATH),
        ("map", POINTER),
        ("unmap", POINTER),
        ("write_parts_at", WRITE_PARTS_AT),
    )


class Disk:
    """The file operations below one folder, real and remembered. What is there already counts as being on the disk."""

    def __init__(self, folder: Path) -> None:
        self.prefix = os.fsencode(folder) + b"/"
        self.operations: list[Operation] = []
        self.asked = 0  # operations that were asked for, those that failed too
        self.fault: Fault | None = None
        self.reads_fail = False
        self.failed_syncs: list[int] = []  # the files whose sync failed, in order
        self.numbers = 0
        self.files: dict[str, int] = {}  # path -> number
        self.descriptors: dict[int, int] = {}  # descriptor -> file
        self.real = Table.from_address(files.ADDRESS)
        self.table = Table.from_buffer_copy(self.real)
        for name, kind in Table._fields_:
            method = getattr(self, f"on_{name}", None)
            if method is not None:
                setattr(self.table, name, kind(method))
        for path in sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()):
            self.number(path)

    @property
    def address(self) -> int:
        """Where the table is."""
        return ctypes.addressof(self.table)

    def relative(self, path: bytes) -> str:
        """A path below the folder."""
        return os.fsdecode((path + b"/").removeprefix(self.prefix)).rstrip("/")

    def number(self, path: str) -> int:
        """The number of a file that is new at this path."""
        self.numbers += 1
        self.files[path] = self.numbers
        return self.numbers

    def file_of(self, descriptor: int) -> int:
        """The file that a descriptor is open on; one that was made by dup is known by its path."""
        if descriptor not in self.descriptors:
            path = os.fsencode(os.readlink(f"/proc/self/fd/{descriptor}").removesuffix(" (deleted)"))
            return self.files.get(self.relative(path), 0)  # 0: it is gone
        return self.descriptors[descriptor]

    def failure(self, operation: Operation) -> Failure | None:
        """Does this operation fail, which is now asked for?"""
        self.asked += 1
        return self.fault(self.asked - 1, operation) if self.fault is not None else None

    def done(self, operation: Operation, act: Callable[[], int]) -> int:
        """Carry out an operation and write it down, unless it fails, by itself or because it is to."""
        failure = self.failure(operation)
        result = act() if failure is None else -failure.errno
        if result >= 0:
            self.operations.append(operation)
        return result

    # The functions of the table

    def on_open(self, context: int, path: bytes, create: int) -> int:
        name = self.relative(path)
        if not create or name in self.files:
            descriptor: int = self.real.open(context, path, 0)
        else:
            descriptor = self.done(Create(name, self.numbers + 1), lambda: int(self.real.open(context, path, 1)))
            if descriptor >= 0:
                self.number(name)
        if descriptor >= 0:
            self.descriptors[descriptor] = self.files[name]
        return descriptor

    def on_close(self, context: int, descriptor: int) -> int:
        self.descriptors.pop(descriptor, None)
        return int(self.real.close(context, descriptor))

    def on_write_at(self, context: int, descriptor: int, data: int, size: int, position: int) -> int:
        operation = Write(self.file_of(descriptor), position, ctypes.string_at(data, size))
        failure = self.failure(operation)
        count = size if failure is None else min(failure.written_bytes, size)
        result = int(self.real.write_at(context, descriptor, data, count, position))
        if result == 0 and count > 0:
            self.operations.append(Write(operation.file, position, operation.data[:count]))
        return result if failure is None else -failure.errno

    def on_write_parts_at(self, context: int, descriptor: int, parts: int, count: int, position: int) -> int:
        data = b"".join(ctypes.string_at(one.base, one.size) for one in (Part * count).from_address(parts))
        together = ctypes.create_string_buffer(data, len(data))
        return self.on_write_at(context, descriptor, ctypes.addressof(together), len(data), position)

    def on_read_at(self, context: int, descriptor: int, data: int, size: int, position: int) -> int:
        return -EIO if self.reads_fail else int(self.real.read_at(context, descriptor, data, size, position))

    def on_truncate(self, context: int, descriptor: int, size: int) -> int:
        operation = Truncate(self.file_of(descriptor), size)
        return self.done(operation, lambda: int(self.real.truncate(context, descriptor, size)))

    def on_sync(self, _context: int, descriptor: int) -> int:
        operation = Sync(self.file_of(descriptor))
        result = self.done(operation, lambda: 0)
        if result < 0:
            self.failed_syncs.append(operation.file)
        return result

    def on_rename(self, context: int, path: bytes, to: bytes) -> int:
        before, after = self.relative(path), self.relative(to)
        result = self.done(Rename(before, after), lambda: int(self.real.rename(context, path, to)))
        if result == 0:
            for name in [name for name in self.files if name == before or name.startswith(before + "/")]:
                self.files[after + name.removeprefix(before)] = self.files.pop(name)
        return result

    def on_remove(self, context: int, path: bytes) -> int:
        name = self.relative(path)
        if name not in self.files:
            return int(self.real.remove(context, path))
        result = self.done(Remove(name), lambda: int(self.real.remove(context, path)))
        if result == 0:
            del self.files[name]
        return result

    def on_make_folder(self, context: int, path: bytes) -> int:
        return self.done(MakeFolder(self.relative(path)), lambda: int(self.real.make_folder(context, path)))

    def on_sync_folder(self, _context: int, path: bytes) -> int:
        return self.done(SyncFolder(self.relative(path)), lambda: 0)


# Faults


def nth(number: int, failure: Failure) -> Fault:
    """The n-th operation fails, and no other."""
    return lambda asked, _operation: failure if asked == number else None


def full(from_: int = 0) -> Fault:
    """From the n-th operation on there is no room: nothing is made and nothing is written, but what is there can be changed and removed."""

    def fails(asked: int, operation: Operation) -> Failure | None:
        needs_room = isinstance(operation, Create | Write | MakeFolder)
        return Failure(ENOSPC) if asked >= from_ and needs_room else None

    return fails


def is_of(kind: type[Any], failure: Failure) -> Fault:
    """Every operation of a kind fails."""
    return lambda _asked, operation: failure if isinstance(operation, kind) else None
