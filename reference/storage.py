"""The bytes of all logs, in memory: what the model's effects say is done, nothing else."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from fiducial.models.batches import Slice
from fiducial.models.events import Drop, Forget, Write
from fiducial.models.values import Uuid
from fiducial.reference.records import EncodedBatch


class Storage:
    """For each partition, the base offsets of its batches and the batches, in order."""

    def __init__(self) -> None:
        self.logs: dict[tuple[Uuid, int], tuple[list[int], list[bytes]]] = {}

    def write(self, write: Write) -> None:
        """Append one batch, its header stamped."""
        assert isinstance(write.payload, EncodedBatch)
        bases, batches = self.logs.setdefault((write.topic_id, write.partition), ([], []))
        assert not bases or bases[-1] < write.base_offset
        bases.append(write.base_offset)
        batches.append(
            write.payload.stamped(write.base_offset, write.leader_epoch, write.has_append_time, write.max_timestamp)
        )

    def drop(self, drop: Drop) -> None:
        """Let go of what lies below an offset at which a batch begins, or the log ends."""
        bases, batches = self.logs.get((drop.topic_id, drop.partition), ([], []))
        count = bisect_left(bases, drop.below)
        del bases[:count], batches[:count]

    def forget(self, forget: Forget) -> None:
        """Let go of a topic."""
        for key in [key for key in self.logs if key[0] == forget.topic_id]:
            del self.logs[key]

    def read(self, wanted: Slice | None) -> bytes | None:
        """The bytes that a reply needs."""
        if wanted is None or wanted.size_bytes == 0:
            return None if wanted is None else b""
        bases, batches = self.logs[wanted.topic_id, wanted.partition]
        index = bisect_right(bases, wanted.base_offset) - 1
        assert bases[index] == wanted.base_offset
        taken, missing = [], wanted.size_bytes
        while missing > 0:
            taken.append(batches[index][:missing])
            missing -= len(taken[-1])
            index += 1
        return b"".join(taken)
