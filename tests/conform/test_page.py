"""The page, the diagrams, the badge and the baseline: what is there is told, what is not ours cannot break out, and known failures stay known."""

from __future__ import annotations

import re
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from conform.brokers import serving
from conform.test_reports import CASE, FAILED, PASSED, RULES, SHOULD, WRONG, result, run, takes_anything
from fiducial.cli import main
from fiducial.conformance import baseline, diagrams, page
from fiducial.conformance.badge import badge
from fiducial.conformance.baseline import BaselineError
from fiducial.conformance.cases import Verdict
from fiducial.conformance.client import Transcript
from fiducial.conformance.page import Card, card_of
from fiducial.conformance.reports import badge_of, exit_status
from fiducial.models import messages as m
from fiducial.models.values import changed

EVIL = "<script>alert('&')</script>"
#: Elements of HTML that have no end.
VOID = frozenset({"meta", "input", "rect", "line", "path", "circle", "br"})


class Balanced(HTMLParser):
    """Reads a page; every element must end, in order, and none may ask for anything from elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.cards: list[dict[str, str | None]] = []
        self.scripts = 0
        self.feed(text)
        assert self.open == [] and self.scripts == 1, "nothing but the page's own script"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        names = dict(attrs)
        assert not {"src", "href", "srcset", "data"} & names.keys(), (tag, attrs)
        self.scripts += tag == "script"
        if tag not in VOID:
            self.open.append(tag)
        if names.get("class") == "card":
            self.cards.append(names)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element without an end."""

    def handle_endtag(self, tag: str) -> None:
        """An element ends: the last that began and has not ended."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Text."""
        self.texts.append(data)


def written(*cards: Card) -> Balanced:
    """The page of some cards, read."""
    return Balanced(page.page(cards, target="host:1", told="1 case", at="today"))


def test_the_page_stands_alone_and_has_the_worst_first() -> None:
    found = written(*(card_of(one, RULES, "host:1") for one in (PASSED, FAILED, result(Verdict.INFO))))
    assert [card["data-verdict"] for card in found.cards] == ["fail", "info", "pass"]
    assert ["open" in card for card in found.cards] == [True, False, False]
    assert found.cards[0]["data-level"] == "MUST" and found.cards[0]["data-apis"] == "Fetch Produce"


def test_a_failure_on_the_page_has_its_rule_its_story_what_was_wrong_and_what_was_said() -> None:
    told = "\n".join(written(card_of(FAILED, RULES, "host:1")).texts)
    assert RULES["LOG-BATCH-9"].claim in told and "CORRUPT_MESSAGE" in told and "Produce v9 {acks -1}" in told
    assert "000040  40 41 42 43 44 45" in told and "70 bytes" in told
    assert "fiducial conform host:1 --rule LOG-BATCH-9/wrong-checksum" in told
    assert "sequenceDiagram" in told and "connection 1" in told


def test_what_a_broker_says_cannot_break_out_of_the_page() -> None:
    transcript = Transcript()
    transcript.add(1, EVIL)
    transcript.add(1, "received", b"<b>", EVIL, EVIL)
    bad = changed(WRONG, expected=EVIL, got=EVIL, place=EVIL)
    card = Card(EVIL, Verdict.FAIL, "MUST", EVIL, (), EVIL, EVIL, EVIL, (("Why", EVIL),), (f"1. {EVIL}",), EVIL, (bad,), tuple(transcript.entries), EVIL)
    found = written(card)
    assert found.texts.count(EVIL) >= 8 and sum("alert" in text for text in found.texts) >= 12


def test_bytes_are_shown_up_to_a_limit() -> None:
    assert page.dumped(b"A" * 17) == f"000000  {'41 ' * 16} {'A' * 16}\n000010  41{' ' * 46} A"
    assert page.dumped(bytes(3000)).endswith("… 952 bytes more; all of them are in the JSON")


# Diagrams


def said() -> Transcript:
    """Two connections, one of which is ended."""
    found = Transcript()
    found.add(1, "connected to host:1")
    found.add(1, "sent", b"12", "Produce v9", m.ProduceRequest(transactional_id="t#1; x", acks=-1))
    failed = m.ProduceResponse((m.TopicProduceResponse("a", partition_responses=(m.PartitionProduceResponse(0, 2),)),))
    found.add(1, "received", b"1", "answer to Produce v9", failed)
    found.add(2, "sent", b"123")
    found.add(2, "the broker ended the connection")
    return found


def test_a_diagram_is_mermaid_text() -> None:
    assert diagrams.mermaid(said().entries, [WRONG], "a note").splitlines() == [
        "sequenceDiagram",
        "    participant c1 as connection 1",
        "    participant c2 as connection 2",
        "    participant b as broker",
        "    Note over c1: connected to host:1",
        "    c1->>b: Produce v9 {transactional_id t#35;1#59; x, acks -1}",
        "    b-->>c1: CORRUPT_MESSAGE responses [{name a, partition_responses [error_code …",
        "    c2->>b: bytes: 3 bytes",
        "    Note over c2: the broker ended the connection",
        "    Note over c1,b: a note",
        "    Note over c1,b: responses[0].error_code: expected CORRUPT_MESSAGE, got NONE",
    ]


def test_a_diagram_is_drawn_from_the_top_down_and_within_its_frame() -> None:
    drawing = ElementTree.fromstring(diagrams.svg(said().entries, [WRONG]))
    width, height = (float(drawing.attrib[name]) for name in ("width", "height"))
    rows = [float(line.attrib["y1"]) for line in drawing.iter("line") if line.attrib["class"].startswith("arrow")]
    assert rows == sorted(rows) and len(rows) == 3
    for element in drawing.iter():
        assert all(0 <= float(element.attrib[name]) <= width for name in ("x", "x1", "x2", "cx") if name in element.attrib)
        assert all(0 <= float(element.attrib[name]) <= height for name in ("y", "y1", "y2", "cy") if name in element.attrib)
    assert "".join(drawing.itertext()).endswith("responses[0].error_code: expected CORRUPT_MESSAGE, got NONE")


def test_a_diagram_of_nothing_is_a_diagram() -> None:
    assert diagrams.mermaid([]) == "sequenceDiagram\n    participant b as broker\n"
    assert ElementTree.fromstring(diagrams.svg([])).tag == "svg"


# The badge


@pytest.mark.parametrize(
    ("arguments", "told"),
    [((0, 0, 7), "every MUST held (7 cases)"), ((1, 2, 7), "2 MUST broken"), ((1, 0, 7), "inconclusive"), ((4, 0, 7), "a SHOULD is broken"), ((3, 0, 0), "not judged")],
)
def test_a_badge_says_how_a_broker_did(arguments: tuple[int, int, int], told: str) -> None:
    drawing = ElementTree.fromstring(badge(*arguments))
    assert drawing.attrib["aria-label"] == f"fiducial conform: {told}"
    assert [text.text for text in drawing.iter("{http://www.w3.org/2000/svg}text")] == ["fiducial conform", told]


def test_a_badge_counts_rules_and_not_cases() -> None:
    results = [FAILED, FAILED, result(Verdict.FAIL, SHOULD), PASSED, result(Verdict.NOT_APPLICABLE)]
    assert "1 MUST broken" in badge_of(results, RULES, 1)
    assert "(2 cases)" in badge_of([PASSED, PASSED, result(Verdict.NOT_APPLICABLE)], RULES, 0)


# The baseline

TODAY, LATER = date(2026, 11, 26), "2026-11-27"
KNOWN = f'[[known]]\ncase = "LOG-BATCH-9"\nreason = "issue 7"\nexpires = {LATER}\n'


def test_a_known_failure_does_not_count_until_it_expires() -> None:
    entries = baseline.read(KNOWN)
    known = baseline.weighed(FAILED, entries, TODAY)
    assert known.known == f"known until {LATER}: issue 7"
    assert exit_status([known], RULES, is_strict=True) == 0
    assert exit_status([baseline.weighed(FAILED, entries, date(2026, 11, 27))], RULES, is_strict=False) == 1
    assert not baseline.weighed(PASSED, entries, TODAY).known and not baseline.weighed(FAILED, [], TODAY).known


@pytest.mark.parametrize("case", ["LOG-BATCH-9", "LOG-BATCH-9/wrong-checksum", "LOG-*", "LOG-BATCH-9/*"])
def test_an_entry_is_a_case_a_rule_or_a_pattern(case: str) -> None:
    (entry,) = baseline.read(KNOWN.replace("LOG-BATCH-9", case))
    assert entry.is_about(FAILED) and not entry.is_about(result(Verdict.FAIL, changed(CASE, id="IDEM-SEQ-1/x", rules=("IDEM-SEQ-1",))))


def test_what_expired_and_what_does_not_fail_any_more_is_said() -> None:
    entries = baseline.read(KNOWN)
    assert list(baseline.remarks([FAILED], entries, TODAY)) == []
    assert list(baseline.remarks([FAILED], entries, date(2027, 1, 1))) == [f"LOG-BATCH-9 still fails, and its entry expired on {LATER} (issue 7)"]
    assert list(baseline.remarks([PASSED], entries, TODAY)) == ["LOG-BATCH-9 does not fail any more: take it out of the baseline (issue 7)"]
    assert list(baseline.remarks([], entries, date(2027, 1, 1))) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("known = 1", "nothing but [[known]]"),
        ("other = 1", "not other"),
        ("[[known", "at the end of an array declaration"),
        ('[[known]]\ncase = "x"', "entry 1 must have case, reason, expires"),
        (KNOWN + "more = 1\n", "and nothing else"),
        (KNOWN.replace(LATER, '"soon"'), "entry 1: expires must be a date such as 2027-01-31, not 'soon'"),
        (KNOWN.replace(LATER, "2026-11-27T00:00:00"), "must be a date"),
        (KNOWN.replace("issue 7", ""), "entry 1: reason must be a text, not ''"),
    ],
)
def test_a_file_that_is_no_baseline_is_refused(text: str, problem: str) -> None:
    with pytest.raises(BaselineError, match=re.escape(problem)):
        baseline.read(text)


# The command line


def test_a_run_with_a_baseline_holds_and_says_what_is_known(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file, junit = tmp_path / "known.toml", tmp_path / "out.xml"
    file.write_text(KNOWN.replace(LATER, "9999-12-31"))
    status, _ = run("--rule", "LOG-BATCH-9", "--baseline", str(file), "--junit", str(junit), tamper=takes_anything)
    said = capsys.readouterr().out
    assert status == 0 and "1 fail, of which 1 known\n" in said and "(known until 9999-12-31: issue 7)" in said and "broken" not in said
    (case,) = ElementTree.parse(junit).getroot()[0]
    assert case[0].tag == "skipped" and case[0].attrib["message"] == "known until 9999-12-31: issue 7"
    assert run("--rule", "LOG-BATCH-9", "--baseline", str(file))[0] == 0
    assert "does not fail any more" in capsys.readouterr().err


def test_page_and_badge_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    html, svg = tmp_path / "conform.html", tmp_path / "conform.svg"
    assert run("--rule", "LOG-BATCH-9", "--rule", "IDEM-ID-4", "--html", str(html), "--badge", str(svg), tamper=takes_anything)[0] == 1
    found = Balanced(html.read_text())
    assert [card["data-verdict"] for card in found.cards] == ["fail", "pass"]
    assert any(text.startswith("2 cases in ") for text in found.texts)
    assert "1 MUST broken" in svg.read_text()


def test_a_baseline_that_cannot_be_read_is_refused_at_the_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving() as broker:
        assert main(["conform", f"{broker.host}:{broker.port}", "--baseline", str(tmp_path / "none.toml")]) == 2
    assert "none.toml" in capsys.readouterr().err
