"""The control plane: every request that is not hot is decided by the models, over a view of the partitions that the core holds.

    request ──▶ model (`models.broker.step`) ──▶ effects ──▶ metadata log, answer
                     │ reads                        │ what it set in the view
                     ▼                              ▼
               PartitionsView ◀────────────────── Core (C structs, files)

The model's `topics` are the truth; the core's partitions are made and changed by what the model put into the view.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from immutables import Map

from fiducial.models.idempotence import ProducerEntry
from fiducial.models.log import EpochStart, Log, LogConfig, Segment
from fiducial.models.partition import Partition
from fiducial.models.values import EMPTY, Uuid

if TYPE_CHECKING:
    from fiducial.fastpath.core import Core

Key = tuple[Uuid, int]


class NotHere:
    """Stands where a model's log has its batches: no request of the control plane may look at them."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the control plane looked at the batches of a log: {name}")


class Producers:
    """The producers of one partition, read only when somebody asks."""

    def __init__(self, core: Core, key: Key) -> None:
        self.core, self.key = core, key

    def items(self) -> list[tuple[int, ProducerEntry]]:
        """(producer id, what is known of it)."""
        return self.core.producers(*self.key)


class PartitionsView:
    """The partitions as the model expects them: a persistent map, over the core's truth, of what was set and deleted since."""

    def __init__(self, core: Core, set_: Map[Key, Partition] = EMPTY, deleted: Map[Key, bool] = EMPTY) -> None:
        self.core, self.set_, self.deleted = core, set_, deleted

    def __contains__(self, key: Key) -> bool:
        return key in self.set_ or (key not in self.deleted and self.core.holds(*key))

    def __getitem__(self, key: Key) -> Partition:
        found = self.get(key)
        if found is None:
            raise KeyError(key)
        return found

    def get(self, key: Key, default: Partition | None = None) -> Partition | None:
        """The partition, or the default."""
        if key in self.set_:
            return self.set_[key]
        if key in self.deleted or not self.core.holds(*key):
            return default
        return seen(self.core, key)

    def __iter__(self) -> Iterator[Key]:
        yield from (key for key in self.core.partitions() if key not in self.set_ and key not in self.deleted)
        yield from self.set_

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def items(self) -> Iterator[tuple[Key, Partition]]:
        """Every key with its partition."""
        return ((key, self[key]) for key in self)

    def set(self, key: Key, partition: Partition) -> PartitionsView:
        """The view with one partition set."""
        deleted = self.deleted.delete(key) if key in self.deleted else self.deleted
        return PartitionsView(self.core, self.set_.set(key, partition), deleted)

    def delete(self, key: Key) -> PartitionsView:
        """The view without one partition."""
        set_ = self.set_.delete(key) if key in self.set_ else self.set_
        return PartitionsView(self.core, set_, self.deleted.set(key, True))


def seen(core: Core, key: Key) -> Partition:
    """One partition of the core as the model's value, without its batches and sealed segments."""
    marks, epochs, config, leader_epoch = core.marks(*key)
    start, high_watermark, end, size_bytes = marks
    batches: Any = NotHere()
    producers: Any = Producers(core, key)
    active = Segment(end, 0, 0)
    held = Log(start, high_watermark, end, active, batches, size_bytes=size_bytes, epochs=tuple(EpochStart(*one) for one in epochs))
    return Partition(held, config, producers, leader_epoch)


def has_changed(view: object) -> bool:
    """Was anything set or deleted in the view?"""
    assert isinstance(view, PartitionsView)
    return bool(view.set_) or bool(view.deleted)


def applied(core: Core, view: PartitionsView, names: Map[Uuid, str], now: int) -> tuple[dict[Key, int], list[bytes]]:
    """Have the core be what the model made of its view: partitions begun, reconfigured, emptied from the front, or gone.

    In order, so that the disk is asked the same whenever the same is asked. Where do logs start of which this was asked; and which folders are of no use any more?
    """
    starts, gone = dict[Key, int](), []
    for key in sorted(view.deleted):
        if key not in view.set_ and core.holds(*key):
            folder = core.delete(*key)
            if folder is not None:
                gone.append(folder)
    for key, wanted in sorted(view.set_.items(), key=itemgetter(0)):
        if not core.holds(*key):
            core.create(*key, names[key[0]], wanted.config, wanted.leader_epoch, now)
            continue
        before = seen(core, key)
        if wanted.config != before.config:
            core.configure(*key, wanted.config, now)
        else:
            starts[key] = wanted.log.start
        if wanted.log.start > before.log.start:
            core.raise_start(*key, wanted.log.start, now)
    return starts, gone


CONFIG_FIELDS = (
    "max_message_bytes",
    "segment_bytes",
    "segment_ms",
    "segment_index_bytes",
    "index_interval_bytes",
    "retention_ms",
    "retention_bytes",
    "timestamp_before_max_ms",
    "timestamp_after_max_ms",
    "flush_messages",
    "flush_ms",
)


def plain(config: LogConfig) -> dict[str, int]:
    """A log's configuration as the core's struct has it."""
    numbers = {name: int(getattr(config, name)) for name in CONFIG_FIELDS}
    return {
        **numbers,
        "compression": -1 if config.compression is None else config.compression,
        "compression_level": config.compression_level,
        "deletes": int(config.deletes),
        "compacts": int(config.compacts),
        "append_time": int(config.append_time),
    }
