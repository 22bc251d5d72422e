"""One HTML page of a run: it stands alone, is read from top to bottom, and can be searched by outcome, level, API and text.

Nothing is loaded from elsewhere. Without JavaScript all of it is there, but for the filter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from html import escape
from importlib import resources
from typing import Any

from fiducial.conformance import diagrams
from fiducial.conformance.abstraction import Difference
from fiducial.conformance.cases import SEVERITY, Verdict
from fiducial.conformance.client import Entry
from fiducial.conformance.reports import Rules, in_versions, level_of, shown, story_lines
from fiducial.conformance.running import Result
from fiducial.conformance.symbols import words
from fiducial.models.values import value

#: Of each thing that was said so many bytes are shown; all of them are in the JSON.
BYTES_MAX = 2048
ROW_BYTES = 16
#: Of a message in words so many characters.
WORDS_MAX = 4000


@value
class Card:
    """What is told of one case, or of one thing that was found."""

    id: str
    verdict: Verdict
    level: str
    title: str
    apis: tuple[str, ...]
    where: str = ""
    rule: str = ""
    claim: str = ""
    notes: tuple[tuple[str, str], ...] = ()  # (label, text) of the rule
    story: tuple[str, ...] = ()
    note: str = ""
    differences: tuple[Difference, ...] = ()
    entries: tuple[Entry, ...] = ()
    again: str = ""  # the command that shows it again


def card_of(result: Result, rules: Rules, target: str) -> Card:
    """A case as a card; one that passed is told in short."""
    case, telling = result.case, result.worst
    rule = rules[case.rule]
    short: dict[str, Any] = {"rule": f"{rule.id} · {rule.title}", "claim": rule.claim, "where": in_versions(result)}
    if result.verdict is not Verdict.PASS:
        finding = telling.finding
        short |= {"story": tuple(story_lines(case, telling)), "note": finding.note, "differences": finding.differences}
        short |= {"entries": tuple(telling.transcript.entries), "again": f"fiducial conform {target} --rule {case.id}", "notes": rule.notes}
        short["note"] = "; ".join(filter(None, [finding.note, result.known]))
    return Card(case.id, result.verdict, level_of(case, rules), rule.title, tuple(sorted(case.api_names)), **short)


def page(cards: Sequence[Card], *, target: str, told: str, at: str) -> str:
    """The page; `told`: what the run came to, in a line; `at`: when it was."""
    ordered = sorted(cards, key=lambda card: -SEVERITY.index(card.verdict))
    folder = resources.files(__package__)
    return PAGE.format(
        target=escape(target),
        told=escape(told),
        at=escape(at),
        style=(folder / "page.css").read_text(),
        script=(folder / "page.js").read_text(),
        bar="".join(bar_of(cards)),
        verdicts="".join(options_of([one.value for one in SEVERITY[::-1]], Counter(card.verdict.value for card in cards))),
        levels="".join(options_of(["MUST", "SHOULD", "MAY", "INFO"], Counter(card.level for card in cards))),
        apis="".join(options_of(sorted({api for card in cards for api in card.apis}), Counter(api for card in cards for api in card.apis))),
        cards="\n".join(told_card(card, is_open=index == 0 and card.verdict is not Verdict.PASS) for index, card in enumerate(ordered)),
        count=len(cards),
    )


def bar_of(cards: Sequence[Card]) -> Iterator[str]:
    """How many of each, as a bar and its legend."""
    counts = Counter(card.verdict for card in cards)
    there = [one for one in SEVERITY[::-1] if counts[one]]
    yield '<div class="bar" aria-hidden="true">'
    yield from (f'<i class="{one.value}" style="flex-grow:{counts[one]}"></i>' for one in there)
    yield '</div><ul class="counts">'
    yield from (f'<li><button type="button" data-verdict="{one.value}"><i class="{one.value}"></i><b>{counts[one]}</b> {one.value}</button></li>' for one in there)
    yield "</ul>"


def options_of(names: Sequence[str], counts: Counter[str]) -> Iterator[str]:
    """The choices of a filter: those that there are."""
    yield from (f'<option value="{escape(name)}">{escape(name)} ({counts[name]})</option>' for name in names if counts[name])


def told_card(card: Card, *, is_open: bool) -> str:
    """One card: a line that opens."""
    data = f'data-verdict="{card.verdict.value}" data-level="{card.level}" data-apis="{escape(" ".join(card.apis))}"'
    where = f'<span class="where">{escape(card.where)}</span>' if card.where else ""
    head = f'<b class="verdict {card.verdict.value}">{card.verdict.value}</b><code>{escape(card.id)}</code><span class="title">{escape(card.title)}</span>{where}'
    return f'<details class="card" {data}{" open" if is_open else ""}><summary>{head}<span class="level">{card.level}</span></summary>{"".join(body_of(card))}</details>'


def body_of(card: Card) -> Iterator[str]:
    """What is in a card: the rule, the story, what is wrong, and what was said."""
    yield '<div class="body">'
    if card.rule:
        notes = "".join(f"<p><b>{label}:</b> {escape(text)}</p>" for label, text in card.notes if label in ("Why", "Kafka", "Note"))
        yield f'<blockquote><h3>{escape(card.rule)}</h3><p>{escape(card.claim)}</p>{notes}</blockquote>'
    if card.note:
        yield f'<p class="remark">{escape(card.note)}</p>'
    yield from differences_of(card.differences)
    if card.story:
        lines = (f'<li{" class=last" if line.startswith("►") else ""}>{escape(line.lstrip("► ").partition(". ")[2])}</li>' for line in card.story)
        yield f"<h4>The story</h4><ol>{''.join(lines)}</ol>"
    if card.entries:
        yield f'<h4>What was said</h4><div class="wide">{diagrams.svg(card.entries, card.differences, card.note)}</div>'
        yield from transcript_of(card)
    if card.again:
        yield f"<p>Again: <code>{escape(card.again)}</code></p>"
    yield "</div>"


def differences_of(differences: Sequence[Difference]) -> Iterator[str]:
    """What was expected, and what came."""
    if differences:
        yield '<div class="wide"><table class="differences"><tr><th>at</th><th>expected</th><th>got</th></tr>'
        for one in differences:
            yield f"<tr><td><code>{escape(one.place or 'the answer')}</code></td><td class=expected>{escape(shown(one.expected))}</td><td class=got>{escape(shown(one.got))}</td></tr>"
        yield "</table></div>"


def transcript_of(card: Card) -> Iterator[str]:
    """Everything that was said, decoded; its bytes fold out. And the diagram as text."""
    yield f"<details><summary>Transcript, decoded ({len(card.entries)})</summary><ol class=transcript>"
    for entry in card.entries:
        sign = {"sent": "→", "received": "←"}.get(entry.what, "·")
        said = entry.message if isinstance(entry.message, str) else words(entry.message) if entry.message is not None else ""
        told = escape(f"{entry.told}: {said[:WORDS_MAX]}".strip(": ") if entry.data else entry.what)
        yield f'<li><span class="time">{entry.at_s * 1000:.1f} ms #{entry.connection} {sign}</span> {told}'
        if entry.data:
            yield f"<details><summary>{len(entry.data)} bytes</summary><pre>{escape(dumped(entry.data))}</pre></details>"
        yield "</li>"
    yield f"</ol></details><details><summary>The diagram as Mermaid text</summary><pre>{escape(diagrams.mermaid(card.entries, card.differences, card.note))}</pre></details>"


def dumped(data: bytes) -> str:
    """Bytes as `hexdump -C` shows them."""
    lines = []
    for begin in range(0, min(len(data), BYTES_MAX), ROW_BYTES):
        row = data[begin : begin + ROW_BYTES]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{begin:06x}  {row.hex(' '):<{3 * ROW_BYTES}} {text}")
    if len(data) > BYTES_MAX:
        lines.append(f"… {len(data) - BYTES_MAX} bytes more; all of them are in the JSON")
    return "\n".join(lines)


PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{target} · fiducial conform</title>
<style>{style}</style>
</head>
<body>
<header>
<p class="kind">fiducial conform</p>
<h1>{target}</h1>
<p class="told">{told}</p>
<p class="at">{at}</p>
{bar}
</header>
<form id="filter" hidden>
<label>text <input name="text" type="search" placeholder="rule, error, words"></label>
<label>outcome <select name="verdict"><option value="">any</option>{verdicts}</select></label>
<label>level <select name="level"><option value="">any</option>{levels}</select></label>
<label>API <select name="api"><option value="">any</option>{apis}</select></label>
<output id="seen">{count} of {count}</output>
</form>
<main>
{cards}
<p id="none" hidden>Nothing is like that.</p>
</main>
<footer>A rule is a numbered sentence of the specification: <code>fiducial explain RULE</code>. The words of the outcomes: <code>fiducial conform --help</code>.</footer>
<script>{script}</script>
</body>
</html>
"""
