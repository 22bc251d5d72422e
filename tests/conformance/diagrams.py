"""What was said, as a sequence diagram: Mermaid text, and a drawing (SVG) that needs nothing from elsewhere.

Each connection has a line of its own, the broker is the last; below what was said stands what should have been.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import attrs

from fiducial.conformance.abstraction import Difference
from fiducial.conformance.client import Entry
from fiducial.conformance.symbols import error_name, words
from fiducial.models.values import value

#: Of what is said so much stands on an arrow; the rest is in the transcript.
LABEL_CHARACTERS = 84
NOTE_CHARACTERS = 100
#: A drawing shows the last that was said: so many lines.
LINES_MAX = 40

# In pixels.
GAP, LANE, SPAN, HEAD, ROW, MARGIN = 150, 90, 560, 46, 40, 20


@value
class Line:
    """An arrow to the broker or from it, or something that happened (`to_broker` None)."""

    connection: int
    to_broker: bool | None
    told: str

    @property
    def label(self) -> str:
        """As much of it as has room."""
        return textwrap.shorten(self.told, LABEL_CHARACTERS, placeholder=" …")


def lines_of(entries: Sequence[Entry]) -> list[Line]:
    """What is drawn of a transcript."""
    found = [Line(entry.connection, {"sent": True, "received": False}.get(entry.what), told(entry)) for entry in entries]
    return found[-LINES_MAX:]


def told(entry: Entry) -> str:
    """One thing that was said, in words."""
    if not entry.data:
        return entry.what
    if entry.message is None or isinstance(entry.message, str):
        return f"{entry.told or 'bytes'}: {entry.message or f'{len(entry.data)} bytes'}"
    if entry.what == "sent":
        return f"{entry.told} {words(entry.message)}"
    return " ".join((", ".join(dict.fromkeys(errors_in(entry.message))), words(entry.message))).strip()


def errors_in(message: Any) -> Iterator[str]:
    """The error codes of an answer, which matter most, by name."""
    if isinstance(message, tuple):
        for one in message:
            yield from errors_in(one)
    elif attrs.has(type(message)):
        for field in attrs.fields(type(message)):
            held = getattr(message, field.name)
            yield from [error_name(held)] if field.name == "error_code" else errors_in(held)


def notes_of(differences: Sequence[Difference], note: str) -> Iterator[str]:
    """What should have been said instead, in lines."""
    if note:
        yield note
    for one in differences:
        yield f"{one.place or 'the answer'}: expected {one.expected}, got {one.got}"


def mermaid(entries: Sequence[Entry], differences: Sequence[Difference] = (), note: str = "") -> str:
    """The diagram as Mermaid text."""
    lines = lines_of(entries)
    connections = connections_of(lines)
    made = ["sequenceDiagram", *(f"    participant c{one} as connection {one}" for one in connections), "    participant b as broker"]
    for line in lines:
        arrow = {True: f"c{line.connection}->>b", False: f"b-->>c{line.connection}", None: f"Note over c{line.connection}"}[line.to_broker]
        made.append(f"    {arrow}: {plain(line.label)}")
    across = f"c{connections[0]},b" if connections else "b"
    made += [f"    Note over {across}: {plain(textwrap.shorten(one, NOTE_CHARACTERS, placeholder=' …'))}" for one in notes_of(differences, note)]
    return "\n".join(made) + "\n"


def plain(text: str) -> str:
    """Text without what Mermaid takes for its own."""
    return text.replace("#", "#35;").replace(";", "#59;").replace("#35#59;", "#35;").replace("\n", " ")


def connections_of(lines: Sequence[Line]) -> list[int]:
    """The connections that something was said on, in order."""
    return sorted({line.connection for line in lines})


def svg(entries: Sequence[Entry], differences: Sequence[Difference] = (), note: str = "") -> str:
    """The diagram drawn; its colours are the page's (CSS classes)."""
    lines, notes = lines_of(entries), [*notes_of(differences, note)]
    connections = connections_of(lines)
    width = LANE * 2 + GAP * max(len(connections) - 1, 0) + SPAN
    lanes = {connection: LANE + GAP * number for number, connection in enumerate(connections)}
    broker = width - LANE
    end = HEAD + ROW * len(lines) + MARGIN
    wrapped = [part for one in notes for part in textwrap.wrap(one, NOTE_CHARACTERS)]
    height = end + 20 * len(wrapped) + (2 * MARGIN if wrapped else MARGIN)
    names = {**{x: f"connection {one}" for one, x in lanes.items()}, broker: "broker"}
    made = [f'<svg class="diagram" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-label="what was said, in order">']
    for x, name in names.items():
        made.append(f'<rect class="head" x="{x - 62}" y="8" width="124" height="26" rx="6"/><text class="name" x="{x}" y="26">{name}</text>')
        made.append(f'<line class="life" x1="{x}" y1="34" x2="{x}" y2="{end}"/>')
    for number, line in enumerate(lines):
        made.append(drawn(line, lanes[line.connection], broker, HEAD + ROW * number + 28))
    if wrapped:
        made.append(f'<rect class="wrong" x="{MARGIN}" y="{end}" width="{width - 2 * MARGIN}" height="{20 * len(wrapped) + 16}" rx="6"/>')
        made += [f'<text class="note" x="{MARGIN + 14}" y="{end + 23 + 20 * number}">{escape(one)}</text>' for number, one in enumerate(wrapped)]
    return "".join(made) + "</svg>"


def drawn(line: Line, x: int, broker: int, y: int) -> str:
    """One line of the drawing."""
    told_whole = f"<title>{escape(line.told[:1000])}</title>"
    if line.to_broker is None:
        return f'<g>{told_whole}<circle class="dot" cx="{x}" cy="{y - 4}" r="4"/><text class="event" x="{x + 12}" y="{y}">{escape(line.label)}</text></g>'
    begin, tip, kind = (x, broker, "there") if line.to_broker else (broker, x, "back")
    turn = -8 if line.to_broker else 8
    head = f'<path class="tip" d="M{tip},{y}l{turn},-4v8z"/>'
    middle = (x + broker) // 2
    return f'<g>{told_whole}<line class="arrow {kind}" x1="{begin}" y1="{y}" x2="{tip}" y2="{y}"/>{head}<text class="said" x="{middle}" y="{y - 6}">{escape(line.label)}</text></g>'
