"""Known failures: those that a run need not fail for, each with a reason and a day from which on it counts again.

    [[known]]
    case = "LOG-BATCH-9/*"          # a case; or a rule, which is all its cases; or a pattern of either
    reason = "broken since 2.1, see issue 77"
    expires = 2027-01-31

A list that nobody looks at hides more than it tells, so what has expired, and what does not fail any more, is said.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from fnmatch import fnmatchcase
from typing import Any

from fiducial.conformance.cases import Verdict
from fiducial.conformance.running import Result
from fiducial.models.values import value


class BaselineError(ValueError):
    """The file is not of the form; the text says where."""


@value
class Known:
    """One entry of the file."""

    case: str
    reason: str
    expires: date

    def is_about(self, result: Result) -> bool:
        """Does it speak of this case?"""
        return any(fnmatchcase(name, self.case) for name in (result.case.id, *result.case.rules))

    def has_expired(self, today: date) -> bool:
        """Does it count no more?"""
        return today >= self.expires

    def __str__(self) -> str:
        return f"known until {self.expires}: {self.reason}"


def read(text: str) -> tuple[Known, ...]:
    """The entries of a file. BaselineError if it is none."""
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BaselineError(str(error)) from None
    entries = found.pop("known", [])
    if found or not isinstance(entries, list):
        raise BaselineError(f"nothing but [[known]] may stand there, not {', '.join(found) or 'known'}")
    return tuple(entry(number, one) for number, one in enumerate(entries, 1))


def entry(number: int, held: Any) -> Known:
    """One entry."""
    wanted = {"case": str, "reason": str, "expires": date}
    if not isinstance(held, dict) or held.keys() != wanted.keys():
        raise BaselineError(f"entry {number} must have {', '.join(wanted)}, and nothing else")
    for name, kind in wanted.items():
        if type(held[name]) is not kind or held[name] == "":
            raise BaselineError(f"entry {number}: {name} must be {'a date such as 2027-01-31' if kind is date else 'a text'}, not {held[name]!r}")
    return Known(**held)


def weighed(result: Result, known: Sequence[Known], today: date) -> Result:
    """The result, with why its failure is known, if it is."""
    if result.verdict is not Verdict.FAIL:
        return result
    return replace(result, known=next((str(one) for one in known if one.is_about(result) and not one.has_expired(today)), ""))


def remarks(results: Sequence[Result], known: Sequence[Known], today: date) -> Iterator[str]:
    """What is to be said of the file itself, in the light of a run."""
    for one in known:
        about = [result for result in results if one.is_about(result)]
        if not about:
            continue  # not asked for in this run
        if not any(result.verdict is Verdict.FAIL for result in about):
            yield f"{one.case} does not fail any more: take it out of the baseline ({one.reason})"
        elif one.has_expired(today):
            yield f"{one.case} still fails, and its entry expired on {one.expires} ({one.reason})"
