"""The data folder: who it belongs to, what is in it, and how far it can be trusted after the last stop.

    .lock                            held while a broker runs on it
    meta.properties                  whose it is, in Kafka's form
    .kafka_cleanshutdown             there after a clean stop only
    recovery-point-offset-checkpoint up to where each log was forced to the disk
    log-start-offset-checkpoint      log starts that lie inside a segment
    metadata/                        the metadata log
    TOPIC-PARTITION/                 a log (log.pyx)
"""

from __future__ import annotations

import base64
import fcntl
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING

from fiducial.fastpath.batch import EncodedBatch

if TYPE_CHECKING:
    from fiducial.fastpath.core import Core

CLEAN = ".kafka_cleanshutdown"
RECOVERY_POINTS = "recovery-point-offset-checkpoint"
LOG_STARTS = "log-start-offset-checkpoint"
SEGMENT = re.compile(r"(\d{20})\.log")
SAVED = re.compile(r"(\d{20})\.(?:snapshot|window)")
PARTITION = re.compile(r".+-\d+")
METADATA = "metadata"
IDENTITY = "partition.metadata"
#: What becomes of a folder that is put aside: it goes, or it waits for somebody to look at it.
DELETE, STRAY = "delete", "stray"
#: The longest name of a file that common file systems take.
NAME_BYTES_MAX = 255
UUID_BYTES = 16
#: Of a batch: where its length and its version stand, what the length does not count, and the least that it takes.
LENGTH_AT, MAGIC_AT, PREFIX_BYTES, SMALLEST_BYTES = 8, 16, 12, 61
MAGIC = 2

Partition = tuple[str, int]  # topic, partition


class DataError(Exception):
    """The folder cannot be used; says why."""


class DataFolder:
    """A data folder that this process owns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            if not path.is_dir():
                path.mkdir(parents=True)
                sync_folder(path.parent)
            self.lock: IO[str] = (path / ".lock").open("w")
        except FileExistsError:
            raise DataError(f"{path} is no folder") from None
        except OSError as error:
            raise DataError(f"{path}: {error.strerror}") from None
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.lockf(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # Apache Kafka's kind of lock, which does not see the other
        except OSError:
            raise DataError(f"{path} belongs to another broker that is running") from None

    def release(self) -> None:
        """Somebody else may have it."""
        self.lock.close()

    # Whose it is

    def check_is_ours(self) -> None:
        """DataError if something here looks like partitions, and no metadata log tells of any. It is somebody's who did not mean it for us, such as
        Apache Kafka's; put aside as a stray it would be lost to them."""
        if not self.has_metadata() and (others := self.folders()):
            more = f" and {len(others) - 1} more" if len(others) > 1 else ""
            raise DataError(f"{self.path} holds {others[0]}{more}, of which no broker of ours knows anything: it needs a folder of its own")

    def has_metadata(self) -> bool:
        """Is there a metadata log?"""
        return (self.path / METADATA).is_dir() and bool(self.log_files(METADATA)[0])

    def check_metadata(self) -> None:
        """DataError if something is wrong in the metadata log that no crash can have done: a batch is on the disk before the next is written, so that a crash
        spoils the last alone. To go on as far as the log is sound would forget topics, and put their partitions aside as strays."""
        bases = self.log_files(METADATA)[0] if self.has_metadata() else []
        for base in bases:
            file = self.path / METADATA / f"{base:020}.log"
            data = file.read_bytes()
            size = sound_bytes(data, base)
            if size < len(data) and (base != bases[-1] or any(batch_at(data, at) for at in range(size + 1, len(data)))):
                raise DataError(f"{file} is damaged at byte {size}, and says more of topics behind it; it has to come back from a copy")

    def cluster_id(self, core: Core, broker_id: int, fresh: bytes) -> str:
        """The cluster's id, from meta.properties; `fresh` (16 bytes) makes one for a new folder. DataError if the folder is another broker's."""
        file = self.path / "meta.properties"
        if not file.exists():
            text = base64.urlsafe_b64encode(fresh).decode().rstrip("=")
            core.write_checkpoint(os.fsencode(file), f"version=1\ncluster.id={text}\nnode.id={broker_id}\n".encode())
            return text
        lines = dict(line.split("=", 1) for line in file.read_text().splitlines() if "=" in line)
        if lines.get("node.id") != str(broker_id):
            raise DataError(f"{self.path} belongs to broker {lines.get('node.id')}, not {broker_id}")
        return lines["cluster.id"]

    # How far it can be trusted

    def was_stopped_cleanly(self, core: Core) -> bool:
        """Was it, and has nothing run on it since? Asked once: from now on something does."""
        marker = self.path / CLEAN
        if not marker.exists():
            return False
        core.remove_file(os.fsencode(marker))
        return True

    def checkpoint(self, name: str) -> dict[Partition, int]:
        """A checkpoint file: (topic, partition) -> offset. Empty if it is not there."""
        try:
            lines = (self.path / name).read_text().splitlines()[2:]
        except FileNotFoundError:
            return {}
        found = {}
        for line in lines:
            topic, index, offset = line.rsplit(" ", 2)
            found[topic, int(index)] = int(offset)
        return found

    def write_checkpoint(self, core: Core, name: str, offsets: Iterable[tuple[Partition, int]]) -> None:
        """A checkpoint file made anew, whole or not at all."""
        lines = [f"{topic} {index} {offset}\n" for (topic, index), offset in offsets]
        core.write_checkpoint(os.fsencode(self.path / name), f"0\n{len(lines)}\n{''.join(lines)}".encode())

    # What is in it

    def partitions(self) -> dict[str, bytes | None]:
        """Every folder of a partition, by name, and the id of the topic whose log it holds: None if it does not say."""
        return {name: self.topic_id(name) for name in self.folders()}

    def folders(self) -> list[str]:
        """What is called as a partition's folder is."""
        return sorted(one.name for one in os.scandir(self.path) if PARTITION.fullmatch(one.name) and one.is_dir())

    def log_files(self, folder: str) -> tuple[list[int], list[int]]:
        """(base offsets of the segments, offsets of saved producers), each rising, in a folder."""
        names = os.listdir(os.path.join(self.path, folder))
        segments = [int(found[1]) for name in names if (found := SEGMENT.fullmatch(name))]
        saved = {int(found[1]) for name in names if (found := SAVED.fullmatch(name))}
        return sorted(segments), sorted(saved)

    def log_bytes(self, folders: Iterable[str]) -> int:
        """How large the segments in these folders are together."""
        return sum(one.stat().st_size for folder in folders for one in os.scandir(os.path.join(self.path, folder)) if SEGMENT.fullmatch(one.name))

    def topic_id(self, folder: str) -> bytes | None:
        """Whose log a folder holds, by its partition.metadata; None if it does not say."""
        try:
            with open(os.path.join(self.path, folder, IDENTITY), encoding="utf-8") as file:  # a Path for each of many folders takes longer than to read it
                lines = dict(line.rstrip("\n").split(": ", 1) for line in file if ": " in line)
            topic_id = base64.urlsafe_b64decode(lines["topic_id"] + "==")
        except (FileNotFoundError, KeyError, ValueError):
            return None
        return topic_id if len(topic_id) == UUID_BYTES else None

    def put_aside(self, core: Core, folder: str, topic_id: bytes | None, why: str) -> str:
        """Rename a folder that is no partition of ours, to be deleted or as a stray: its new name. DataError if that cannot be done."""
        topic, _, index = folder.rpartition("-")
        name = aside_name(topic, int(index), topic_id or bytes(16), why)
        try:
            core.rename(os.fsencode(self.path / folder), os.fsencode(self.path / name))
        except OSError as error:
            raise DataError(f"{self.path / folder} is no partition of this broker, and cannot be put aside as {name}: {error.strerror}") from None
        return name


def aside_name(topic: str, index: int, topic_id: bytes, why: str) -> str:
    """The name of a partition's folder when it is out of use, as Kafka forms it: the topic's name is cut if it would be too long."""
    suffix = f"-{index}.{topic_id.hex()}-{why}"
    return topic[: NAME_BYTES_MAX - len(suffix)] + suffix


def sync_folder(path: Path) -> None:
    """What was made, renamed and removed in a folder is so on the disk too."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sound_bytes(data: bytes, offset: int) -> int:
    """How much of a segment is whole batches, one behind the other from an offset on."""
    at = 0
    while (found := batch_at(data, at)) is not None and found.base_offset == offset:
        at += len(found.data)
        offset = found.last_offset + 1
    return at


def batch_at(data: bytes, at: int) -> EncodedBatch | None:
    """The batch there, if it is whole and its checksum is right."""
    end = at + PREFIX_BYTES + int.from_bytes(data[at + LENGTH_AT : at + PREFIX_BYTES], "big", signed=True)
    if not at + SMALLEST_BYTES <= end <= len(data) or data[at + MAGIC_AT] != MAGIC:
        return None
    found = EncodedBatch(data[at:end])
    return found if found.crc_is_good else None
