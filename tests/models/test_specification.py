"""The pages of the specification are read whole or refused with the place of the fault; what they have the code say is what it says."""

from __future__ import annotations

import pytest

from fiducial.models import pages, specification, traces
from fiducial.models.errors import Error
from fiducial.models.rules import LADDERS
from fiducial.models.specification import Level, SpecificationError, Tried

PAGE = """\
# Samples

## Sums

Words before the first rule.

### LOG-SUM-1 · Two and two make four
MUST · since 0.8 · KIP-1, KIP-2 · CORRUPT_MESSAGE, NONE · tried in part

Whoever adds two to two
gets four.

Why: it is so.
Note: five is refused.

<!-- ladder: sequence check -->
<!-- end -->

### LOG-SUM-2 · Nothing is added
SHOULD · since 4.0 · ours

Zero changes nothing.
"""


def test_a_rule_is_read_whole() -> None:
    read = specification.rules({"sums.md": PAGE})
    assert list(read) == ["LOG-SUM-1", "LOG-SUM-2"]
    one, two = read.values()
    assert (one.title, one.level, one.since, one.section) == ("Two and two make four", Level.MUST, "0.8", "Sums")
    assert (one.kips, one.errors, one.tried) == (("KIP-1", "KIP-2"), (Error.CORRUPT_MESSAGE, Error.NONE), Tried.IN_PART)
    assert one.claim == "Whoever adds two to two gets four."
    assert (one.noted("Why"), one.noted("Note"), one.noted("Kafka")) == ("it is so.", "five is refused.", None)
    assert (one.page, one.line) == ("sums.md", 7)
    assert (two.level, two.kips, two.errors, two.tried, two.notes) == (Level.SHOULD, (), (), Tried.OURS, ())


@pytest.mark.parametrize(
    ("sound", "spoilt", "said"),
    [
        ("### LOG-SUM-1 · Two", "### LOG-SUM · Two", "sums.md:7: not a rule's heading"),
        ("MUST · since", "SHALL · since", "sums.md:8: a rule is MUST, SHOULD or MAY, not 'SHALL'"),
        ("since 0.8", "for ever", "sums.md:8: since which version?"),
        ("CORRUPT_MESSAGE, NONE", "CORRUPT_MESSAGE, NOTHING", "no error is called NOTHING"),
        ("tried in part", "half tried", "tried, tried in part, not tried or ours, not 'half tried'"),
        ("NONE · tried", "NONE · NONE · tried", "too many facts"),
        ("Note: five", "Remark: five", "sums.md:14: LOG-SUM-1: not a note"),
        ("Zero changes nothing.\n", "", "LOG-SUM-2 claims nothing"),
        ("SHOULD · since 4.0 · ours\n", "", "a rule is MUST, SHOULD or MAY, not 'Zero changes nothing.'"),
        ("### LOG-SUM-2 ·", "### LOG-SUM-1 ·", "LOG-SUM-1 stands at sums.md:7 already"),
    ],
)
def test_a_page_that_is_not_of_the_form_is_refused(sound: str, spoilt: str, said: str) -> None:
    assert sound in PAGE
    with pytest.raises(SpecificationError) as refused:
        specification.rules({"sums.md": PAGE.replace(sound, spoilt, 1)})
    assert said in str(refused.value)


def test_a_ladder_stands_on_its_page_as_it_decides() -> None:
    page = pages.filled(PAGE)
    assert pages.filled(page) == page
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    rungs = LADDERS["sequence check"].rungs
    assert len(rows) == 2 + len(rungs)
    for row, rung in zip(rows[2:], rungs, strict=True):
        assert rung.rule in row and rung.error.name in row


def test_a_page_asks_for_what_there_is() -> None:
    with pytest.raises(KeyError):
        pages.filled(PAGE.replace("sequence check", "no such ladder"))


def test_every_ladder_and_every_trace_stands_on_a_page() -> None:
    text = "".join(specification.pages().values())
    for name in LADDERS:
        assert f"<!-- ladder: {name} -->" in text, name
    for name in traces.TRACES:
        assert f"<!-- trace: {name} -->" in text, name


def test_a_trace_tells_what_the_model_does() -> None:
    told = {one.step: one for one in traces.TRACES["a-lost-answer"]()}
    assert told["sequences 3–4 again"].outcome == "duplicate of the batch at offset 3"
    assert all(one.outcome or one.state for story in traces.TRACES.values() for one in story())
