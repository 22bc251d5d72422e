"""The rules as they stand in `spec/*.md`: read from the pages, so that the text of a rule lives once.

    ### LOG-BATCH-9 · A wrong checksum is refused
    MUST · since 0.11 · KIP-98 · CORRUPT_MESSAGE · tried

    The claim: one paragraph.

    Why: one line, like each of the labelled notes. All of them are optional.

A page that is not of this form is refused with the place of the fault: a specification that half of a program can read is worse than none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from importlib import resources

from fiducial.models.errors import Error
from fiducial.models.values import value

HEADING = re.compile(r"### (?P<id>[A-Z]+-[A-Z]+-[0-9]+) · (?P<title>.+)")
SINCE = re.compile(r"since [0-9]+\.[0-9]+")
KIPS = re.compile(r"KIP-[0-9]+(, KIP-[0-9]+)*")
LABELS = ("Why", "Kafka", "Note", "Elsewhere", "Unmutated")
NOTE = re.compile(rf"(?P<label>{'|'.join(LABELS)}): (?P<text>.+)")


class Level(Enum):
    """How binding a rule is (BCP 14)."""

    MUST = "MUST"
    SHOULD = "SHOULD"
    MAY = "MAY"


class Tried(Enum):
    """Whether the rule was seen on Apache Kafka 4.3.1."""

    TRIED = "tried"
    IN_PART = "tried in part"
    NOT = "not tried"
    OURS = "ours"


class SpecificationError(ValueError):
    """A page is not of the form; says where."""


@value
class RuleText:
    """One rule as it is written."""

    id: str
    title: str
    level: Level
    since: str  # the version of Kafka in which the behaviour came
    kips: tuple[str, ...]
    errors: tuple[Error, ...]
    tried: Tried
    claim: str
    notes: tuple[tuple[str, str], ...]  # (label, text), in the order of the page
    page: str  # the file's name
    line: int
    section: str

    def noted(self, label: str) -> str | None:
        """The note of this label, None if there is none."""
        return next((text for name, text in self.notes if name == label), None)

    @property
    def key(self) -> tuple[str, int]:
        """What rules are sorted by."""
        area, _, number = self.id.rpartition("-")
        return area, int(number)


def pages() -> dict[str, str]:
    """The text of every page that holds rules, by file name."""
    folder = resources.files("fiducial").joinpath("spec")
    found = {entry.name: entry.read_text(encoding="utf-8") for entry in folder.iterdir() if entry.name.endswith(".md")}
    return {name: text for name, text in sorted(found.items()) if "\n### " in text}


def rules(found: Mapping[str, str] | None = None) -> dict[str, RuleText]:
    """Every rule by id, in the order of the pages. SpecificationError for a page that is not of the form, or an id that stands twice."""
    read: dict[str, RuleText] = {}
    for name, text in (pages() if found is None else found).items():
        for rule in rules_of(name, text):
            if rule.id in read:
                first = read[rule.id]
                raise SpecificationError(f"{name}:{rule.line}: {rule.id} stands at {first.page}:{first.line} already")
            read[rule.id] = rule
    return read


def rules_of(page: str, text: str) -> Iterator[RuleText]:
    """The rules of one page."""
    lines = text.splitlines()
    section = ""
    for number, line in enumerate(lines, 1):
        if line.startswith("## "):
            section = line.removeprefix("## ").strip()
        elif line.startswith("### "):
            yield rule_at(page, number, lines, section)


def rule_at(page: str, number: int, lines: list[str], section: str) -> RuleText:
    """The rule whose heading is line `number`."""

    def fault(about: str, at: int = number) -> SpecificationError:
        return SpecificationError(f"{page}:{at}: {about}")

    heading = HEADING.fullmatch(lines[number - 1].rstrip())
    if heading is None:
        raise fault(f"not a rule's heading: {lines[number - 1]!r}")
    body = list(body_below(lines, number))
    if not body or len(body[0][1].splitlines()) != 1:
        raise fault(f"{heading['id']} needs one line of facts below its heading")
    level, since, kips, errors, tried = facts_of(body[0][1], lambda about: fault(about, body[0][0]))
    if len(body) < 2 or NOTE.fullmatch(body[1][1]):
        raise fault(f"{heading['id']} claims nothing")
    notes: list[tuple[str, str]] = []
    for at, paragraph in body[2:]:
        for offset, line in enumerate(paragraph.splitlines()):
            note = NOTE.fullmatch(line.rstrip())
            if note is None:
                raise fault(f"{heading['id']}: not a note ({', '.join(LABELS)}): {line!r}", at + offset)
            notes.append((note["label"], note["text"]))
    claim = " ".join(body[1][1].split())
    return RuleText(
        heading["id"], heading["title"].strip(), level, since, kips, errors, tried, claim, tuple(notes), page, number, section
    )


def body_below(lines: list[str], number: int) -> Iterator[tuple[int, str]]:
    """The paragraphs under a heading, each with the number of its first line, up to the next heading or generated block."""
    begun, paragraph = 0, list[str]()
    for at, line in enumerate(lines[number:], number + 1):
        if line.startswith(("#", "<!--")):
            break
        if line.strip():
            begun = begun or at
            paragraph.append(line)
        if not line.strip() and paragraph:
            yield begun, "\n".join(paragraph)
            begun, paragraph = 0, []
        if at == number + 1 and paragraph:  # the line of facts ends with the line
            yield begun, "\n".join(paragraph)
            begun, paragraph = 0, []
    if paragraph:
        yield begun, "\n".join(paragraph)


Facts = tuple[Level, str, tuple[str, ...], tuple[Error, ...], Tried]


def facts_of(line: str, fault: Callable[[str], SpecificationError]) -> Facts:
    """Level, since, KIPs, errors, tried: the line of facts, in this order."""
    fields = [field.strip() for field in line.split("·")]
    if fields[0] not in Level.__members__:
        raise fault(f"a rule is MUST, SHOULD or MAY, not {fields[0]!r}")
    if len(fields) < 3 or not SINCE.fullmatch(fields[1]):
        raise fault(f"since which version? {line!r}")
    if fields[-1] not in {tried.value for tried in Tried}:
        raise fault(f"tried, tried in part, not tried or ours, not {fields[-1]!r}")
    middle = fields[2:-1]
    kips: tuple[str, ...] = ()
    if middle and KIPS.fullmatch(middle[0]):
        kips = tuple(middle.pop(0).split(", "))
    errors: tuple[Error, ...] = ()
    if middle:
        names = middle.pop(0).split(", ")
        unknown = [name for name in names if name not in Error.__members__]
        if unknown:
            raise fault(f"no error is called {unknown[0]}")
        errors = tuple(Error[name] for name in names)
    if middle:
        raise fault(f"too many facts: {line!r}")
    return Level[fields[0]], fields[1].removeprefix("since "), kips, errors, Tried(fields[-1])
