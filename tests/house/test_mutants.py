"""What is wrong in a mutant is one thing, it is wrong everywhere at once, and what nobody notices is told."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from house import mutants
from house.mutants import Hunt, TooLong, Tried
from house.mutations import mutants_of, put_in

from fiducial.models import kernels, specification
from fiducial.models.checkers.report import Screen
from fiducial.models.rules import LADDERS

ROOT = Path(__file__).parents[2]

# Functions to be spoilt


def compared(here: int, there: int) -> bool:
    """Not a word of this is looked at: 1 < 2."""
    return here < there and here != 7


def counted(numbers: list[int], least: int = 3) -> int:
    found: int = 0
    for number in numbers:
        if not number:
            continue
        found += number - 1
    return max(found, least)


def chosen(name: str) -> str:
    match name:
        case "a":
            return "first"
        case _:
            return "other"


def same(number: int) -> int:
    return number


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (
            compared,
            {
                "`here < there` → `here <= there`",
                "`here < there` → `here >= there`",
                "`here != 7` → `here == 7`",
                "`7` → `8`",
                "`7` → `6`",
                "`here < there and here != 7` → `here < there or here != 7`",
                "`here < there and here != 7` → `here != 7`",
                "`here < there and here != 7` → `here < there`",
                "`return here < there and here != 7` → `return here`",
                "`return here < there and here != 7` → `return None`",
            },
        ),
        (
            counted,
            {
                "`0` → `1`",
                "`if not number` → `if not not number`",
                "`if not number` → `if False`",
                "`if not number` → `if True`",
                "`not number` → `number`",
                "`continue` → `break`",
                "`found += number - 1` → `pass`",
                "`number - 1` → `number + 1`",
                "`1` → `2`",
                "`max(found, least)` → `min(found, least)`",
                "`return max(found, least)` → `return numbers`",
            },
        ),
        (chosen, {"`return 'first'` → `return 'other'`", "`return 'other'` → `return 'first'`", "`'first'` → `''`"}),
        (same, {"`return number` → `return None`"}),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_a_function_is_spoilt_in_every_way_that_people_spoil_it(function: Callable[..., object], expected: set[str]) -> None:
    titles = [one.title.partition(": ")[2] for one in mutants_of(function)]
    assert expected <= set(titles), titles
    assert "`1 < 2`" not in " ".join(titles) and "`3` → `4`" not in titles


def test_no_mutant_is_the_function_itself_or_comes_twice() -> None:
    assert [one.title for one in mutants_of(same)] == [f"line {same.__code__.co_firstlineno + 1}: `return number` → `return None`"]


def test_a_mutant_is_wherever_the_function_is() -> None:
    held = kernels.follows
    (boundary,) = [one for one in mutants_of(kernels.follows) if "!=" in one.title]
    with put_in(kernels.follows, boundary.code):  # type: ignore[arg-type]
        assert held is kernels.follows and not held(1, 2)
    assert held(1, 2)


def test_a_rung_is_taken_out_like_any_mutant() -> None:
    ladder = LADDERS["sequence check"]
    rungs = ladder.rungs
    removed, *_ = mutants.spoilt("fiducial.models.idempotence:epoch_is_old")
    with removed.switched_on():
        assert ladder.rungs == rungs[1:]
    assert ladder.rungs == rungs


def test_a_few_are_tried_first_from_all_over_the_function() -> None:
    every = mutants.spoilt("fiducial.models.log:readable_bytes")
    order = mutants.spread(every, 3)
    assert order[:3] == [every[0], every[len(every) // 3], every[len(every) // 3 * 2]]
    assert sorted(one.title for one in order) == sorted(one.title for one in every)


def test_what_does_not_end_has_been_noticed() -> None:
    def never_ends() -> None:
        while True:
            pass

    with mutants.no_longer_than(0.01), pytest.raises(TooLong):
        never_ends()


def shown(*tried: Tried) -> list[str]:
    """The complaints about these."""
    hunt = Hunt([], False, Screen())
    hunt.rules = tuple(dict.fromkeys(one.rule for one in tried))
    hunt.tried.extend(tried)
    return mutants.show(hunt, Screen())


def test_a_rule_is_caught_only_if_each_of_its_functions_is() -> None:
    assert shown(Tried("IDEM-SEQ-3", "models.kernels:sequence_after", 2, 3, 1)) == []
    complaints = shown(Tried("IDEM-SEQ-3", "kernels:sequence_after", 2, 3, 1), Tried("IDEM-SEQ-3", "kernels:follows", 2, 3, 0))
    assert complaints == ["IDEM-SEQ-3: no test of it notices a mutant of kernels:follows (2 tests)"]


def test_a_rule_that_was_not_tried_is_not_caught() -> None:
    assert mutants.show(Hunt(["IDEM-SEQ-3"], False, Screen()), Screen()) == ["IDEM-SEQ-3 was not tried"]


PAGE = """\
### LOG-SUM-1 · Sums
MUST · since 0.8 · tried

A claim.

Unmutated: it is only said.
"""


def test_a_rule_may_say_why_it_is_not_caught_and_not_when_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = specification.rules({"sums.md": PAGE})
    monkeypatch.setattr(specification, "rules", lambda: rules)
    assert shown(Tried("LOG-SUM-1", "log:sum", 1, 3, 0)) == []
    assert shown(Tried("LOG-SUM-1", "log:sum", 1, 3, 1)) == ["LOG-SUM-1 is caught, so its line `Unmutated:` can go"]


def test_what_was_found_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "build" / "mutants.json"
    monkeypatch.setattr(mutants, "KEPT", kept)
    assert mutants.caught(kept) == {}
    mutants.keep([Tried("A", "f", 1, 3, 1), Tried("A", "g", 1, 3, 0), Tried("B", "g", 1, 3, 2)])
    assert mutants.caught(kept) == {"A": False, "B": True}


def test_a_hunt_from_the_command_line() -> None:
    command = [sys.executable, "-m", "house.mutants", "IDEM-EPOCH-1"]
    done = subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": "tests"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "IDEM-EPOCH-1 | models.idempotence:epoch_is_old |" in done.stdout
    assert "1 rules, 1 caught; 5 of 5 mutants killed" in done.stdout


def test_a_rule_that_nothing_implements_is_not_hunted_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        mutants.main(["LOG-SUM-1"])
    assert "no function implements LOG-SUM-1" in capsys.readouterr().err
