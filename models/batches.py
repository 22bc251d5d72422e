"""Record batches as the model sees them: parsed headers and verdicts, never bytes.

The edge parses; the model decides. What the edge could not read is a fact like any other (`records is None`, `crc_is_good` false), so that
the model, not the parser, says which error wins. `payload` stands for the bytes: an opaque value with one pure operation.
"""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from fiducial.models.values import Uuid, value

NO_TIMESTAMP = -1
NO_PRODUCER = -1
NO_EPOCH = -1
NO_SEQUENCE = -1

CODEC_NONE, CODEC_GZIP, CODEC_SNAPPY, CODEC_LZ4, CODEC_ZSTD = range(5)

ATTRIBUTE_CODEC = 0x07
ATTRIBUTE_LOG_APPEND_TIME = 0x08
ATTRIBUTE_TRANSACTIONAL = 0x10
ATTRIBUTE_CONTROL = 0x20

#: What a batch may unpack to: as much as the default of socket.request.max.bytes lets anybody send plain.
UNPACKED_BYTES_MAX = 104_857_600

#: The header of a v2 batch, in bytes; the 12 bytes of base offset and length are part of it.
BATCH_OVERHEAD_BYTES = 61


class Payload(Protocol):
    """The encoded batch, opaque to the model."""

    def rebuilt(self, codec: int, level: int) -> tuple[Payload, int]:
        """The same records encoded anew with `codec` at `level` and offsets 0, 1, 2 …: the new payload and its size in bytes."""
        ...


@value
class Record:
    """What a rule may ask of one record."""

    offset_delta: int
    timestamp: int  # ms, base timestamp plus delta, whatever the timestamp type; NO_TIMESTAMP for none
    has_key: bool = True


@value
class SentBatch:
    """One whole record batch as a client sent it."""

    size_bytes: int
    base_offset: int
    magic: int
    crc_is_good: bool
    attributes: int
    last_offset_delta: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    count: int
    records: tuple[Record, ...] | None  # None: the bytes behind the header cannot be read as records
    payload: Payload
    unpacks_too_far: bool = False  # to more than UNPACKED_BYTES_MAX: nobody looked further, and `records` is None


class Tail(Enum):
    """What follows the last whole batch in the records of a Produce request."""

    NOTHING = "nothing"
    PARTIAL = "part of a batch"  # trimmed silently
    CORRUPT = "a header that cannot be one"  # length below 14, or magic below 0 or above 2


@value
class SentRecords:
    """The records field of one partition of a Produce request."""

    batches: tuple[SentBatch, ...]
    tail: Tail = Tail.NOTHING
    #: The magic byte of a corrupt tail, which its error message names; None where the length was at fault.
    tail_magic: int | None = None


@value
class StoredBatch:
    """One batch in a log."""

    base_offset: int
    last_offset: int
    segment: int  # ordinal of its segment
    position: int  # bytes from the start of its segment
    size_bytes: int
    max_timestamp: int  # ms
    has_append_time: bool  # every record's timestamp is then max_timestamp
    leader_epoch: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    last_sequence: int
    records: tuple[Record, ...]


@value
class Slice:
    """Bytes of one segment, for whoever has them to put into a reply: `size_bytes` from the start of the batch at `base_offset`."""

    topic_id: Uuid
    partition: int
    base_offset: int
    size_bytes: int
