"""The integer arithmetic of the protocols: functions of a few integers, each small enough to be confirmed over all paths (CrossHair) and
proved (Z3). Sequences are 32-bit and wrap from 2^31 - 1 to 0; offsets are 64-bit and never wrap."""

from __future__ import annotations

from fiducial.models.rules import rule

SEQUENCE_MAX = 2**31 - 1
#: The farthest a segment may reach from its base offset: offsets in its index are relative, 32-bit.
SEGMENT_SPAN_MAX = 2**31 - 1


@rule("IDEM-SEQ-3", "IDEM-SEQ-4")
def sequence_after(sequence: int, steps: int) -> int:
    """The sequence `steps` after `sequence`, wrapping from 2^31 - 1 to 0 (KIP-98)."""
    if sequence > SEQUENCE_MAX - steps:
        return steps - (SEQUENCE_MAX - sequence) - 1
    return sequence + steps


def follows(last_sequence: int, first_sequence: int) -> bool:
    """Does a batch that begins at `first_sequence` come right after one that ended at `last_sequence`?"""
    return first_sequence == sequence_after(last_sequence, 1)


def clamped_high_watermark(candidate: int, log_start: int, log_end: int) -> int:
    """`candidate` brought into [log start, log end]."""
    if candidate < log_start:
        return log_start
    if candidate > log_end:
        return log_end
    return candidate


def raised_high_watermark(current: int, candidate: int, log_end: int) -> int:
    """A leader's high watermark only rises, and never beyond the log end."""
    if candidate > log_end:
        candidate = log_end
    if candidate > current:
        return candidate
    return current


def count_fits_header(count: int, last_offset_delta: int) -> bool:
    """A client's batch numbers its records 0 … count - 1."""
    return count > 0 and last_offset_delta == count - 1


def timestamp_is_too_early(timestamp: int, now: int, before_max_ms: int) -> bool:
    """Strict: a record exactly `before_max_ms` old passes."""
    return now - timestamp > before_max_ms


def timestamp_is_too_late(timestamp: int, now: int, after_max_ms: int) -> bool:
    """Strict: a record exactly `after_max_ms` ahead passes."""
    return timestamp - now > after_max_ms


def is_size_breached(log_bytes: int, retention_bytes: int, segment_bytes: int) -> bool:
    """May a segment go by size? Only if the log without it still holds at least `retention_bytes`."""
    return retention_bytes >= 0 and log_bytes - retention_bytes >= segment_bytes


def is_time_breached(now: int, largest_timestamp: int, retention_ms: int) -> bool:
    """May a segment go by time? Strict: exactly `retention_ms` old stays."""
    return retention_ms >= 0 and now - largest_timestamp > retention_ms
