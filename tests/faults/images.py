"""What a crash may leave of a data folder, by the operations that led up to it.

A killed process leaves exactly what it did: `after_kill`. A power cut leaves what was synced, and of the rest whatever the file system had
already brought to the disk: `after_power_cut`. What it may have brought there:
    names       of each folder, its changes up to some point (creations, renames, removals), each folder for itself; at least up to its last sync
    sizes       of each file, its changes up to some point (writes, truncations); at least up to its last sync
    bytes       of each write up to that point, all of them, or none: then there are zeros, or what was there before; of the last, any first part,
                with the size that it would have whole, or without
This is more than ext4 or XFS does: their journals keep the order between files and folders as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field
from itertools import product
from math import prod
from pathlib import Path
from random import Random

from faults.disk import Create, MakeFolder, Operation, Remove, Rename, Sync, SyncFolder, Truncate, Write

#: path -> bytes of a file, None for a folder
Image = dict[str, bytes | None]
ROOT = ""

#: A power cut may tear a write at any byte; these parts of it are tried.
TORN_BYTES = (1, 12, 61)


@dataclass
class File:
    """What is on the disk, and what is on its way there."""

    durable: bytes = b""
    pending: list[Write | Truncate] = field(default_factory=list)

    def content(self) -> bytes:
        """All of it."""
        return applied(self.durable, self.pending)


@dataclass
class Folder:
    """Names, and what they stand for: the number of a file, or a folder. What is on the disk, then each change since, with what it made."""

    durable: dict[str, int | Folder] = field(default_factory=dict)
    pending: list[tuple[Create | MakeFolder | Rename | Remove, Folder | None]] = field(default_factory=list)

    def names(self, count: int | None = None) -> dict[str, int | Folder]:
        """The names after the first `count` changes; after all of them."""
        found = dict(self.durable)
        for operation, made in self.pending[:count]:
            match operation:
                case Create(path, file):
                    found[leaf(path)] = file
                case MakeFolder(path):
                    assert made is not None
                    found[leaf(path)] = made
                case Rename(path, to):
                    found[leaf(to)] = found.pop(leaf(path))
                case Remove(path):
                    del found[leaf(path)]
        return found


def leaf(path: str) -> str:
    """The last part of a path."""
    return path.rpartition("/")[2]


def parent(path: str) -> str:
    """The folder that a path lies in."""
    return path.rpartition("/")[0]


def applied(content: bytes, operations: Iterable[Write | Truncate], missing: frozenset[int] = frozenset()) -> bytes:
    """The content after these operations; of writes whose position is in `missing` only the size has come through."""
    made = bytearray(content)
    for number, operation in enumerate(operations):
        match operation:
            case Truncate(_, size):
                made = made[:size].ljust(size, b"\0")
            case Write(_, position, data):
                if len(made) < position + len(data):
                    made = made.ljust(position + len(data), b"\0")
                if number not in missing:
                    made[position : position + len(data)] = data
    return bytes(made)


class Shadow:
    """The folder as a run's operations make it: what is certain, and what is on its way."""

    def __init__(self, image: Mapping[str, bytes | None]) -> None:
        self.files: dict[int, File] = {}
        self.folders: dict[str, Folder] = {ROOT: Folder()}
        for path in sorted(path for path, content in image.items() if content is None):
            self.folders[path] = Folder()
            self.folders[parent(path)].durable[leaf(path)] = self.folders[path]
        for number, path in enumerate(sorted(path for path, content in image.items() if content is not None), 1):
            self.files[number] = File(image[path] or b"")
            self.folders[parent(path)].durable[leaf(path)] = number

    def do(self, operation: Operation) -> None:
        """One more operation."""
        match operation:
            case Write(file) | Truncate(file):
                self.files.setdefault(file, File()).pending.append(operation)
            case Sync(file):
                if file in self.files:
                    self.files[file] = File(self.files[file].content())
            case SyncFolder(path):
                folder = self.folders[path]
                folder.durable, folder.pending = folder.names(), []
            case Create(path, file):
                self.files[file] = File()
                self.folders[parent(path)].pending.append((operation, None))
            case MakeFolder(path):
                self.folders[path] = Folder()
                self.folders[parent(path)].pending.append((operation, self.folders[path]))
            case Rename(path, to):
                self.folders[parent(path)].pending.append((operation, None))
                if path in self.folders:
                    self.folders[to] = self.folders.pop(path)
            case Remove(path):
                self.folders[parent(path)].pending.append((operation, None))

    def image(self, names: Mapping[int, int], contents: Mapping[int, bytes]) -> Image:
        """The image in which a folder (by id()) has so many of its pending changes, and a file this content; all of what is not named."""
        image: Image = {}
        beyond = [(ROOT, self.folders[ROOT])]
        while beyond:
            path, folder = beyond.pop()
            for name, what in folder.names(names.get(id(folder))).items():
                below = f"{path}/{name}" if path else name
                if isinstance(what, Folder):
                    image[below] = None
                    beyond.append((below, what))
                else:
                    image[below] = contents[what] if what in contents else self.files[what].content()
        return image


# Kills


def after_kill(shadow: Shadow, under_way: Operation | None) -> Iterator[Image]:
    """What a killed process leaves: what it did, and any first part of the write that was under way."""
    yield shadow.image({}, {})
    if isinstance(under_way, Write):
        for size in sorted({size for size in (*TORN_BYTES, len(under_way.data) // 2, len(under_way.data) - 1) if 0 < size < len(under_way.data)}):
            file = copy(shadow.files[under_way.file])
            torn = Write(under_way.file, under_way.position, under_way.data[:size])
            yield shadow.image({}, {under_way.file: applied(file.durable, [*file.pending, torn])})


# Power cuts


@dataclass(frozen=True)
class Variant:
    """How much of what is pending of a file is there: so many operations; of these writes, given by number, only the size; so much of the last."""

    count: int
    missing: frozenset[int] = frozenset()
    torn_bytes: int | None = None
    has_size: bool = False

    def content(self, file: File) -> bytes:
        """The file then."""
        operations = file.pending[: self.count]
        if self.torn_bytes is None:
            return applied(file.durable, operations, self.missing)
        *before, last = operations
        assert isinstance(last, Write)
        part = Write(last.file, last.position, last.data[: self.torn_bytes])
        whole = applied(file.durable, operations, frozenset({len(before)}))
        return applied(whole if self.has_size else applied(file.durable, before), [part])


def variants(file: File) -> list[Variant]:
    """What may be there of one file: nothing that is pending first, all of it last."""
    found = [Variant(0)]
    for count in range(1, len(file.pending) + 1):
        last = file.pending[count - 1]
        writes = [number for number, operation in enumerate(file.pending[:count]) if isinstance(operation, Write)]
        losses = {frozenset(writes), *(frozenset({number}) for number in writes)} - {frozenset()}
        found += [Variant(count, missing) for missing in losses]
        if isinstance(last, Write):
            sizes = [size for size in (*TORN_BYTES, len(last.data) - 1) if 0 < size < len(last.data)]
            found += [Variant(count, torn_bytes=size, has_size=has_size) for size in sizes for has_size in (False, True)]
        found.append(Variant(count))
    return found


def after_power_cut(shadow: Shadow, limit: int, random: Random) -> Iterator[Image]:
    """What a power cut may leave: every combination, if there are at most `limit`; else nothing and all of what is pending, and then by chance
    those in which one thing is as early or as late as it can be and all others are the other way, and any."""
    folders = [folder for folder in shadow.folders.values() if folder.pending]
    files = {number: variants(file) for number, file in shadow.files.items() if file.pending}
    sizes = [*(len(folder.pending) + 1 for folder in folders), *map(len, files.values())]

    def image(choice: tuple[int, ...]) -> Image:
        names = {id(folder): count for folder, count in zip(folders, choice, strict=False)}
        chosen = zip(files, choice[len(folders) :], strict=True)
        contents = {number: files[number][which].content(shadow.files[number]) for number, which in chosen}
        return shadow.image(names, contents)

    if prod(sizes) <= limit:
        yield from map(image, product(*map(range, sizes)))
        return
    earliest, latest = tuple(0 for _ in sizes), tuple(size - 1 for size in sizes)
    yield from map(image, (earliest, latest))
    for _ in range(limit - 2):
        at = random.randrange(len(sizes))
        apart = (*latest[:at], 0, *latest[at + 1 :]), (*earliest[:at], latest[at], *earliest[at + 1 :])
        yield image(random.choice(apart) if random.random() < 0.5 else tuple(map(random.randrange, sizes)))


# Images as folders


def digest(image: Image) -> bytes:
    """What two images have in common that are the same."""
    summed = hashlib.blake2b(digest_size=16)
    for path in sorted(image):
        content = image[path]
        summed.update(f"{path}\0{-1 if content is None else len(content)}\0".encode())
        summed.update(content or b"")
    return summed.digest()


def write(image: Image, folder: Path) -> None:
    """Make the image a folder."""
    folder.mkdir()
    for path in sorted(path for path, content in image.items() if content is None):
        (folder / path).mkdir()
    for path, content in image.items():
        if content is not None:
            (folder / path).write_bytes(content)


def read(folder: Path) -> Image:
    """The image that a folder is; without the lock, which means nothing once its owner is gone."""
    found: Image = {}
    for path in folder.rglob("*"):
        if path.name != ".lock":
            found[str(path.relative_to(folder))] = None if path.is_dir() else path.read_bytes()
    return found
