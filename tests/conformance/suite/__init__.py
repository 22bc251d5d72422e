"""The cases, by what they are about."""

from __future__ import annotations

from fiducial.conformance.cases import Case
from fiducial.conformance.suite import batches, deletion, fetch, idempotence, lookups, produce, segments, sessions


def every() -> dict[str, Case]:
    """All cases by id, in the order in which they are listed."""
    cases = [*produce.CASES, *batches.CASES, *fetch.CASES, *sessions.CASES, *lookups.CASES, *deletion.CASES, *segments.CASES, *idempotence.CASES]
    found = {case.id: case for case in cases}
    assert len(found) == len(cases), "two cases of one id"
    return found
