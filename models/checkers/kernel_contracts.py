"""What each kernel promises, for CrossHair: a thin function for each promise, and its twin over a kernel that breaks it.

`pre:` and `post:` are read by `crosshair check` (PEP 316). The functions of KEPT must be confirmed over all paths, those of BROKEN refuted, in
one and the same run: a checker that refutes nothing has confirmed nothing.
"""

from __future__ import annotations

from fiducial.models import kernels
from fiducial.models.kernels import SEQUENCE_MAX

# Sequences


def sequence_after_is_addition_modulo_2_31(sequence: int, steps: int) -> int:
    """Sequences are the integers modulo 2^31.

    pre: 0 <= sequence <= SEQUENCE_MAX
    pre: 0 <= steps <= SEQUENCE_MAX
    post: __return__ == (sequence + steps if sequence + steps <= SEQUENCE_MAX else sequence + steps - SEQUENCE_MAX - 1)
    """
    return kernels.sequence_after(sequence, steps)


def broken_sequence_after_that_skips_0(sequence: int, steps: int) -> int:
    """Off by one at the wrap.

    pre: 0 <= sequence <= SEQUENCE_MAX
    pre: 0 <= steps <= SEQUENCE_MAX
    post: __return__ == (sequence + steps if sequence + steps <= SEQUENCE_MAX else sequence + steps - SEQUENCE_MAX - 1)
    """
    if sequence > SEQUENCE_MAX - steps:
        return steps - (SEQUENCE_MAX - sequence)
    return sequence + steps


def sequence_after_stays_a_sequence(sequence: int, steps: int) -> int:
    """It never leaves 0 … 2^31 - 1.

    pre: 0 <= sequence <= SEQUENCE_MAX
    pre: 0 <= steps <= SEQUENCE_MAX
    post: 0 <= __return__ <= SEQUENCE_MAX
    """
    return kernels.sequence_after(sequence, steps)


def broken_sequence_after_that_never_wraps(sequence: int, steps: int) -> int:
    """KAFKA-7692.

    pre: 0 <= sequence <= SEQUENCE_MAX
    pre: 0 <= steps <= SEQUENCE_MAX
    post: 0 <= __return__ <= SEQUENCE_MAX
    """
    return sequence + steps


def one_sequence_follows_another(last_sequence: int, first_sequence: int) -> bool:
    """Exactly the next one follows: 0 after the last.

    pre: 0 <= last_sequence <= SEQUENCE_MAX
    pre: 0 <= first_sequence <= SEQUENCE_MAX
    post: __return__ == (first_sequence == last_sequence + 1 or (first_sequence == 0 and last_sequence == SEQUENCE_MAX))
    """
    return kernels.follows(last_sequence, first_sequence)


def broken_follows_that_ends_at_the_wrap(last_sequence: int, first_sequence: int) -> bool:
    """KAFKA-7693.

    pre: 0 <= last_sequence <= SEQUENCE_MAX
    pre: 0 <= first_sequence <= SEQUENCE_MAX
    post: __return__ == (first_sequence == last_sequence + 1 or (first_sequence == 0 and last_sequence == SEQUENCE_MAX))
    """
    return first_sequence == last_sequence + 1


# Marks


def clamped_high_watermark_is_the_nearest_within(candidate: int, log_start: int, log_end: int) -> int:
    """Within the log; the candidate itself if that is within.

    pre: 0 <= log_start <= log_end
    post: log_start <= __return__ <= log_end and (__return__ == candidate or not log_start <= candidate <= log_end)
    """
    return kernels.clamped_high_watermark(candidate, log_start, log_end)


def broken_clamp_that_forgets_the_start(candidate: int, log_start: int, log_end: int) -> int:
    """KAFKA-3978.

    pre: 0 <= log_start <= log_end
    post: log_start <= __return__ <= log_end and (__return__ == candidate or not log_start <= candidate <= log_end)
    """
    return min(candidate, log_end)


def raised_high_watermark_never_falls(current: int, candidate: int, log_end: int) -> int:
    """At least what it was, at most the log end, and the candidate if that lies between.

    pre: 0 <= current <= log_end
    post: current <= __return__ <= log_end and (__return__ == candidate or candidate < current or candidate > log_end)
    """
    return kernels.raised_high_watermark(current, candidate, log_end)


def broken_raise_that_follows_the_candidate(current: int, candidate: int, log_end: int) -> int:
    """It falls with the candidate.

    pre: 0 <= current <= log_end
    post: current <= __return__ <= log_end and (__return__ == candidate or candidate < current or candidate > log_end)
    """
    return min(candidate, log_end)


# Batches


def count_fits_header_means_dense(count: int, last_offset_delta: int) -> bool:
    """A batch is not empty, and its last record is number count - 1.

    pre: -(2**31) <= count <= SEQUENCE_MAX
    pre: -(2**31) <= last_offset_delta <= SEQUENCE_MAX
    post: __return__ == (count >= 1 and last_offset_delta + 1 == count)
    """
    return kernels.count_fits_header(count, last_offset_delta)


def broken_count_that_may_be_0(count: int, last_offset_delta: int) -> bool:
    """An empty batch passes.

    pre: -(2**31) <= count <= SEQUENCE_MAX
    pre: -(2**31) <= last_offset_delta <= SEQUENCE_MAX
    post: __return__ == (count >= 1 and last_offset_delta + 1 == count)
    """
    return count >= 0 and last_offset_delta == count - 1


# Times


def too_early_is_strict(timestamp: int, now: int, before_max_ms: int) -> bool:
    """Exactly as old as allowed passes.

    pre: before_max_ms >= 0
    post: __return__ == (timestamp + before_max_ms < now)
    """
    return kernels.timestamp_is_too_early(timestamp, now, before_max_ms)


def broken_too_early_that_is_not_strict(timestamp: int, now: int, before_max_ms: int) -> bool:
    """Exactly as old as allowed fails.

    pre: before_max_ms >= 0
    post: __return__ == (timestamp + before_max_ms < now)
    """
    return now - timestamp >= before_max_ms


def too_late_is_strict(timestamp: int, now: int, after_max_ms: int) -> bool:
    """Exactly as far ahead as allowed passes.

    pre: after_max_ms >= 0
    post: __return__ == (timestamp > now + after_max_ms)
    """
    return kernels.timestamp_is_too_late(timestamp, now, after_max_ms)


def broken_too_late_that_looks_back(timestamp: int, now: int, after_max_ms: int) -> bool:
    """The wrong way round.

    pre: after_max_ms >= 0
    post: __return__ == (timestamp > now + after_max_ms)
    """
    return now - timestamp > after_max_ms


# Retention


def size_breach_leaves_enough(log_bytes: int, retention_bytes: int, segment_bytes: int) -> bool:
    """If a segment may go, what is left still holds retention.bytes; without a limit none may.

    pre: 0 <= segment_bytes <= log_bytes
    post: (not __return__) or (retention_bytes >= 0 and log_bytes - segment_bytes >= retention_bytes)
    """
    return kernels.is_size_breached(log_bytes, retention_bytes, segment_bytes)


def broken_size_breach_that_goes_one_too_far(log_bytes: int, retention_bytes: int, segment_bytes: int) -> bool:
    """The segment that crosses the limit goes too.

    pre: 0 <= segment_bytes <= log_bytes
    post: (not __return__) or (retention_bytes >= 0 and log_bytes - segment_bytes >= retention_bytes)
    """
    return retention_bytes >= 0 and log_bytes > retention_bytes


def time_breach_is_strict(now: int, largest_timestamp: int, retention_ms: int) -> bool:
    """Exactly as old as is kept stays; without a limit all does.

    post: __return__ == (retention_ms >= 0 and largest_timestamp + retention_ms < now)
    """
    return kernels.is_time_breached(now, largest_timestamp, retention_ms)


def broken_time_breach_without_limit(now: int, largest_timestamp: int, retention_ms: int) -> bool:
    """-1 is taken for a limit.

    post: __return__ == (retention_ms >= 0 and largest_timestamp + retention_ms < now)
    """
    return now - largest_timestamp > retention_ms


#: The golden list: what must be confirmed over all paths.
KEPT = frozenset(
    {
        "sequence_after_is_addition_modulo_2_31",
        "sequence_after_stays_a_sequence",
        "one_sequence_follows_another",
        "clamped_high_watermark_is_the_nearest_within",
        "raised_high_watermark_never_falls",
        "count_fits_header_means_dense",
        "too_early_is_strict",
        "too_late_is_strict",
        "size_breach_leaves_enough",
        "time_breach_is_strict",
    }
)
#: What the same run must refute.
BROKEN = frozenset(
    {
        "broken_sequence_after_that_skips_0",
        "broken_sequence_after_that_never_wraps",
        "broken_follows_that_ends_at_the_wrap",
        "broken_clamp_that_forgets_the_start",
        "broken_raise_that_follows_the_candidate",
        "broken_count_that_may_be_0",
        "broken_too_early_that_is_not_strict",
        "broken_too_late_that_looks_back",
        "broken_size_breach_that_goes_one_too_far",
        "broken_time_breach_without_limit",
    }
)
