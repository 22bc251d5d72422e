"""What came of a run: for people, for programs (JSON lines), for CI (JUnit XML); and the exit status, which all three agree on."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from fiducial.conformance.badge import badge
from fiducial.conformance.cases import Case, Verdict
from fiducial.conformance.client import Entry
from fiducial.conformance.running import Finding, Result, Telling
from fiducial.conformance.symbols import words
from fiducial.models.apis import APIS
from fiducial.models.specification import Level, RuleText

HELD, MUST_FAILED, NOTHING_JUDGED, UNREACHABLE, ONLY_SHOULD_FAILED = 0, 1, 2, 3, 4

#: The story was not told to its end, and says nothing about the broker.
UNTOLD = frozenset({Verdict.NOT_APPLICABLE, Verdict.UNSUPPORTED_SETUP})
#: Nobody knows whether the rule holds, though somebody should.
UNKNOWN = frozenset({Verdict.INCONCLUSIVE, Verdict.SUITE_ERROR})

WIDTH = 110
HEX_BYTES = 48
#: Of what was expected and got, so much is shown.
SHOWN_CHARACTERS = 400
RED, GREEN, YELLOW = 31, 32, 33
COLOURS = {Verdict.PASS: GREEN, Verdict.FAIL: RED, Verdict.SUITE_ERROR: RED, Verdict.INCONCLUSIVE: RED, Verdict.NONSTRICT: YELLOW, Verdict.INFO: YELLOW}

Rules = Mapping[str, RuleText]


def level_of(case: Case, rules: Rules) -> str:
    """How binding a case is; INFO, if nothing hangs on it."""
    return "INFO" if case.is_info else rules[case.rule].level.value


def exit_status(results: Sequence[Result], rules: Rules, *, is_strict: bool) -> int:
    """0 every MUST held, 1 a MUST failed or nobody knows, 2 nothing was judged, 4 only SHOULD failed and that counts."""
    if all(one.verdict in UNTOLD for one in results):
        return NOTHING_JUDGED
    failed = {rules[one.case.rule].level for one in results if counts(one)}
    if Level.MUST in failed or any(one.verdict in UNKNOWN for one in results):
        return MUST_FAILED
    return ONLY_SHOULD_FAILED if failed and is_strict else HELD


def counts(result: Result) -> bool:
    """Did it fail, and was that not known?"""
    return result.verdict is Verdict.FAIL and not result.known


def badge_of(results: Sequence[Result], rules: Rules, status: int) -> str:
    """The badge of a run that ended with this exit status."""
    broken = {one.case.rule for one in results if counts(one) and rules[one.case.rule].level is Level.MUST}
    return badge(status, len(broken), sum(one.verdict not in UNTOLD for one in results))


# For people


class Text:
    """Lines for a terminal, coloured or not."""

    def __init__(self, rules: Rules, *, is_coloured: bool) -> None:
        self.rules = rules
        self.is_coloured = is_coloured

    def painted(self, text: str, colour: int) -> str:
        """Text in a colour, where colours are wanted."""
        return f"\x1b[{colour}m{text}\x1b[0m" if self.is_coloured else text

    def heading(self, result: Result) -> str:
        """What came of a case, in a line."""
        where = in_versions(result)
        verdict = self.painted(result.verdict.value, COLOURS.get(result.verdict, 0))
        known = f"  ({result.known})" if result.known else ""
        return f"{verdict}  {result.case.id}{f'  ({where})' if where else ''}{known}"

    def listed(self, case: Case) -> str:
        """A case in the list of all."""
        apis = ", ".join(sorted(case.api_names))
        return f"{case.id:<48} {level_of(case, self.rules):<6} {self.rules[case.rule].title} [{apis}]"

    def brief(self, result: Result) -> Iterator[str]:
        """A case that neither passed nor failed."""
        finding = result.worst.finding
        yield self.heading(result)
        yield from (f"    {line}" for line in (*filter(None, [finding.note]), *map(told_shortly, finding.differences[:1])))

    def failure(self, result: Result) -> Iterator[str]:
        """A case that failed: the rule, the story, what was expected and got, and what was said about it."""
        rule, telling = self.rules[result.case.rule], result.worst
        finding = telling.finding
        yield self.heading(result)
        yield f"    {rule.id} · {rule.title} ({level_of(result.case, self.rules)}, spec/{rule.page})"
        yield from textwrap.wrap(rule.claim, WIDTH, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)
        yield from (f"    {line}" for line in story_lines(result.case, telling))
        yield from (f"    {line}" for line in finding_lines(finding))
        yield "    what was said last (all of it is in the JSON):"
        yield from (f"      {line}" for entry in last_said(telling.transcript.entries) for line in entry_lines(entry))

    def report(self, results: Sequence[Result]) -> Iterator[str]:
        """All that is worth telling, the worst last."""
        brief = [one for one in results if one.verdict in (Verdict.NONSTRICT, Verdict.INFO, Verdict.UNSUPPORTED_SETUP) or one.known]
        at_length = [*(one for one in results if one.verdict in UNKNOWN), *filter(counts, results)]
        for told, some in ((self.brief, brief), (self.failure, at_length)):
            for result in some:
                yield from (*told(result), "")
        yield self.summary(results)

    def summary(self, results: Sequence[Result]) -> str:
        """How many of each."""
        many = Counter(one.verdict for one in results)
        told = [self.painted(f"{many[one]} {one.value}", COLOURS.get(one, 0)) for one in Verdict if many[one]]
        seconds = elapsed_s(results)
        known = sum(bool(one.known) for one in results)
        broken = f", of which {known} known" if known else ""
        if failed := dict.fromkeys(one.case.rule for one in filter(counts, results)):
            broken += f"; broken: {', '.join(failed)}"
        return f"{len(results)} case{'s' if len(results) != 1 else ''} in {seconds:.1f} s: {', '.join(told) or 'none'}{broken}"


def in_versions(result: Result) -> str:
    """The versions in which it came out so, if that was not all of them or it did not pass."""
    if result.case.sweep is None or not result.versions or result.verdict is Verdict.PASS:
        return ""
    api = next(one.name for one in APIS.values() if one.request is result.case.sweep)
    numbers = result.versions
    is_run = numbers == list(range(numbers[0], numbers[-1] + 1)) and len(numbers) > 2
    return f"{api} v{numbers[0]} to v{numbers[-1]}" if is_run else f"{api} {', '.join(f'v{one}' for one in numbers)}"


def story_lines(case: Case, telling: Telling) -> Iterator[str]:
    """The story up to the step that decided it."""
    for number, step in enumerate(case.story[: telling.finding.step], 1):
        is_last = number == telling.finding.step
        yield f"{'►' if is_last else ' '} {number}. {telling.finding.told if is_last else step.told()}"


def finding_lines(finding: Finding) -> Iterator[str]:
    """What is wrong."""
    if finding.note:
        yield finding.note
    for one in finding.differences:
        yield f"  at {one.place or 'the answer'}:"
        yield f"    expected {shown(one.expected)}"
        yield f"    got      {shown(one.got)}"


def shown(held: Any) -> str:
    """A value, cut where it gets too long."""
    text = str(held)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


def told_shortly(difference: Any) -> str:
    """A difference in a line."""
    place = difference.place.rpartition(".")[2] or "the answer"
    return f"{place}: {textwrap.shorten(str(difference.got), 60)} where {textwrap.shorten(str(difference.expected), 60)} is expected"


def last_said(entries: Sequence[Entry]) -> Sequence[Entry]:
    """The last that we sent, and all that followed."""
    return entries[max((number for number, entry in enumerate(entries) if entry.what == "sent"), default=0) :]


def entry_lines(entry: Entry) -> Iterator[str]:
    """One thing that was said, decoded, and its bytes."""
    sign = {"sent": "→", "received": "←"}.get(entry.what, "·")
    told = f"{entry.told}: {entry.message if isinstance(entry.message, str) else words(entry.message)}" if entry.told else entry.what
    yield f"{entry.at_s * 1000:9.1f} ms  #{entry.connection} {sign} {told}"
    if entry.data:
        cut = "…" if len(entry.data) > HEX_BYTES else ""
        yield f"{'':17}{entry.data[:HEX_BYTES].hex(' ', 4)}{cut} ({len(entry.data)} bytes)"


# For programs


def as_data(result: Result, rules: Rules) -> dict[str, Any]:
    """A result as JSON has it; what was said, where it did not pass."""
    telling = result.worst
    finding = telling.finding
    found: dict[str, Any] = {
        "case": result.case.id,
        "rules": list(result.case.rules),
        "level": level_of(result.case, rules),
        "verdict": result.verdict.value,
        "versions": result.versions,
        "seconds": round(result.seconds, 3),
    }
    if result.verdict is not Verdict.PASS:
        found |= {"note": finding.note, "step": finding.step, "told": finding.told}
        found |= {"known": result.known} if result.known else {}
        found["differences"] = [{"place": one.place, "expected": one.expected, "got": one.got} for one in finding.differences]
        found["transcript"] = [entry_as_data(entry) for entry in telling.transcript.entries]
    return found


def entry_as_data(entry: Entry) -> dict[str, Any]:
    """One thing that was said."""
    told = entry.message if isinstance(entry.message, str) else words(entry.message) if entry.message is not None else ""
    return {"ms": round(entry.at_s * 1000, 1), "connection": entry.connection, "what": entry.what, "told": f"{entry.told}: {told}".strip(": "), "bytes": entry.data.hex()}


# For CI

#: What XML 1.0 cannot hold, not even escaped.
NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def elapsed_s(results: Sequence[Result]) -> float:
    """How long it took from the first beginning to the last end: some are told beside others."""
    return max((one.ended_s for one in results), default=0.0) - min((one.ended_s - one.seconds for one in results), default=0.0)


def junit(results: Sequence[Result], rules: Rules, target: str, *, is_strict: bool) -> bytes:
    """JUnit XML. What does not count for the exit status is no failure here either."""
    text = Text(rules, is_coloured=False)
    suite = ElementTree.Element("testsuite", name=f"fiducial conform {target}")
    kinds: Counter[str] = Counter()
    for result in results:
        made = ElementTree.SubElement(suite, "testcase", classname=result.case.rule, name=result.case.id, time=f"{result.seconds:.3f}")
        kind = junit_kind(result, rules, is_strict)
        lines = text.failure(result) if result.verdict in UNKNOWN | {Verdict.FAIL} else text.brief(result)
        if kind:
            kinds[kind] += 1
            message = result.known or result.worst.finding.note or "; ".join(map(told_shortly, result.worst.finding.differences[:1]))
            ElementTree.SubElement(made, kind, message=xml_text([message]), type=result.verdict.value).text = xml_text(lines)
        elif result.verdict is not Verdict.PASS:
            ElementTree.SubElement(made, "system-out").text = xml_text(lines)
    seconds = f"{elapsed_s(results):.3f}"
    suite.attrib |= {"tests": str(len(results)), "failures": str(kinds["failure"]), "errors": str(kinds["error"]), "skipped": str(kinds["skipped"]), "time": seconds}
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    written: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return written + b"\n"


def junit_kind(result: Result, rules: Rules, is_strict: bool) -> str:
    """The element that says what came of a case; empty, if it passed."""
    if result.verdict in UNKNOWN:
        return "error"
    if result.verdict in UNTOLD:
        return "skipped"
    if result.verdict is Verdict.FAIL:
        return "failure" if counts(result) and (is_strict or rules[result.case.rule].level is Level.MUST) else "skipped"
    return ""


def xml_text(lines: Iterable[str]) -> str:
    """Lines that XML can hold."""
    return NOT_XML.sub("\ufffd", "\n".join(lines))
