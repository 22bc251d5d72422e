"""The cases, by what they are about."""

from __future__ import annotations

from fiducial.conformance.cases import Case
from fiducial.conformance.suite import (
    batches,
    deletion,
    fetch,
    groups_members,
    groups_offsets,
    groups_times,
    idempotence,
    lookups,
    produce,
    segments,
    sessions,
    wire_configs,
    wire_frames,
    wire_metadata,
    wire_topics,
)

ROOMS = (produce, batches, fetch, sessions, lookups, deletion, segments, idempotence, wire_frames, wire_topics, wire_metadata, wire_configs, groups_times, groups_members, groups_offsets)


def every() -> dict[str, Case]:
    """All cases by id, in the order in which they are listed."""
    cases = [case for room in ROOMS for case in room.CASES]
    found = {case.id: case for case in cases}
    assert len(found) == len(cases), "two cases of one id"
    return found
