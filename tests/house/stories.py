"""What happens where a rule of spec/threads.md is not kept: each flaw of the threads, with the shortest story that the search finds of it.

Part of `make spec`: fills the block of that page, which is then compared with what is found by tests/house/test_matrix.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from fiducial.models import specification
from fiducial.models.checkers.explore import Explored, explore
from fiducial.models.checkers.main import small_threads_universes
from fiducial.models.checkers.threads_universe import ThreadsUniverse
from fiducial.models.flaws import FLAWS, Flaw, switched_on
from fiducial.models.thread_properties import THREAD_PROPERTIES

PAGE = "threads.md"
BLOCK = re.compile(r"<!-- stories -->\n.*?<!-- end -->", re.DOTALL)


def flaws() -> list[Flaw]:
    """Those of the threads."""
    return [one for one in FLAWS.values() if one.violates in THREAD_PROPERTIES]


def refuted(one: Flaw) -> tuple[ThreadsUniverse, Explored]:
    """The first of the small universes that refutes the flaw, and what was seen there."""
    with switched_on(one):
        for universe in small_threads_universes():
            seen = explore(universe, (THREAD_PROPERTIES[one.violates],))
            if seen.violation is not None:
                return universe, seen
    raise AssertionError(f"flaw {one.id} survives: {one.title}")


def told(one: Flaw) -> Iterator[str]:
    """A flaw and its story."""
    universe, seen = refuted(one)
    assert seen.violation is not None
    sentence = THREAD_PROPERTIES[one.violates].sentence.rstrip(".")
    yield f"**{one.id}** ({', '.join(one.rules)}): {one.title}. Broken is: *{sentence}*; after {len(seen.violation.story)} steps, {universe.bounds}:"
    yield ""
    yield from (f"{number}. {line}" for number, line in enumerate(seen.violation.story, 1))
    yield ""


def filled(text: str) -> str:
    """The page with its stories told anew."""
    stories = "\n".join(line for one in flaws() for line in told(one))
    return BLOCK.sub(lambda _: f"<!-- stories -->\n{stories}<!-- end -->", text)


def written() -> dict[str, str]:
    """The page as it should be."""
    return {PAGE: filled(specification.pages()[PAGE])}
