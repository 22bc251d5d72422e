"""A broker that serves with a real bug is found out over TCP, under the rule that the bug breaks; spec/flaws.md says by which cases."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from conftest import serving

from conform import flaw_table
from fiducial.cli import main
from fiducial.models import flaws as of_models
from fiducial.models.rules import LADDERS
from fiducial.reference import flaws
from fiducial.reference.core import Core
from fiducial.reference.flaws import FLAWS, UNSEEN, Flaw


@pytest.mark.parametrize("flaw", FLAWS.values(), ids=FLAWS.keys())
def test_a_flaw_is_found_under_each_rule_that_it_breaks(flaw: Flaw) -> None:
    found = flaw_table.failed(flaw_table.judged(flaw))
    assert {case.id for case in found} >= set(flaw_table.recorded()[flaw.id])
    assert {rule for case in found if case.id in flaw_table.recorded()[flaw.id] for rule in case.rules} >= set(flaw.rules)


def test_the_page_has_every_flaw_and_no_other() -> None:
    assert list(flaw_table.recorded()) == [*FLAWS, *UNSEEN], "make flaws"


def test_there_are_enough_flaws_and_each_of_the_models_is_seen_or_told_why_not() -> None:
    assert len(FLAWS) >= 40
    applicable = {one.id for one in of_models.FLAWS.values() if one.replacement is not None}
    assert applicable <= FLAWS.keys() | UNSEEN.keys() and not FLAWS.keys() & UNSEEN.keys()


def test_switching_flaws_leaves_nothing_behind() -> None:
    rungs, answer = {name: ladder.rungs for name, ladder in LADDERS.items()}, Core.answer
    with flaws.switched_on(["D1", "P30", "P29", "H1"]):
        assert Core.answer is not answer and LADDERS["sequence check"].rungs == rungs["sequence check"]
        assert LADDERS["batch check"].rungs != rungs["batch check"]
    assert rungs == {name: ladder.rungs for name, ladder in LADDERS.items()} and Core.answer is answer


def test_the_command_names_the_rules_that_several_flaws_break(capsys: pytest.CaptureFixture[str]) -> None:
    """P29 and H1 both lie in answers: neither hides the other."""
    with serving("--reference", "--flaw", "P29", "--flaw", "H1", "--flaw", "P30") as address:
        assert main(["conform", address.bootstrap, "--rule", "LOG-PRODUCE-9", "--rule", "LOG-APPEND-7", "--rule", "LOG-BATCH-15"]) == 1
    assert re.search(r"broken: LOG-PRODUCE-9, LOG-BATCH-15, LOG-APPEND-1\b", capsys.readouterr().out)


def test_a_flawed_broker_says_so() -> None:
    command = [sys.executable, "-m", "fiducial", "serve", "--reference", "--listen", "127.0.0.1:0", "--flaw", "D1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline().startswith("listening on ")
        process.terminate()
        assert "FLAWED on purpose: D1: only the last batch of a producer is remembered" in process.stderr.read()


def test_flaws_are_listed_and_others_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--list-flaws"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in listed] == list(FLAWS)
    assert main(["serve", "--reference", "--flaw", "D1000"]) == 2 and "D1000" in capsys.readouterr().err
    assert main(["serve", "--flaw", "D1"]) == 2 and "--reference" in capsys.readouterr().err
