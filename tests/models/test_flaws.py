"""Every flaw of the registry is noticed, and none is left switched on."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from fiducial.models.checkers.main import NAMES
from fiducial.models.flaws import FLAWS, Flaw, switched_on
from fiducial.models.rules import LADDERS

BY_TEST = [one for one in FLAWS.values() if one.violates.startswith("test_")]


def test_every_flaw_is_refuted_by_name_or_put_off_with_a_reason() -> None:
    for one in FLAWS.values():
        if one.reason_not_applicable:
            assert one.replacement is None and not one.violates
        else:
            assert one.violates in NAMES or one in BY_TEST, one
            assert one.rules, one


def test_the_catalogue_is_whole() -> None:
    """Parts A, C, D and G of the catalogue, whose numbers have gaps."""
    a = {1, 2, 3, 4, 6, 7, 8, 9, 10, 13, 14, 15, 17, 19, 20, 21, 22, 23, 24, 25, 26}
    c, d = {1, 3, 4, 5, 7, 9, 10, 12, 13}, {1, 2, 3, 5, 6, 7, 8, 9, 11, 12, 13}
    g = {1, 2, 5, 6, 7, 8, 9, 10, 11, 13, 14}
    expected = {f"{part}{number}" for part, numbers in (("A", a), ("C", c), ("D", d), ("G", g)) for number in numbers}
    assert expected <= set(FLAWS)


def named(test: str) -> Any:
    """The test function of this name, from the files beside this one."""
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        if f"def {test}(" in path.read_text():
            spec = importlib.util.spec_from_file_location(path.stem, path)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return getattr(module, test)
    raise AssertionError(f"no test is called {test}")


@pytest.mark.parametrize("one", BY_TEST, ids=[one.id for one in BY_TEST])
def test_a_flaw_of_whole_requests_fails_its_test(one: Flaw) -> None:
    test = named(one.violates)
    test()
    with switched_on(one), pytest.raises((AssertionError, LookupError)):
        test()
    test()


def test_switching_leaves_nothing_behind() -> None:
    rungs = {name: ladder.rungs for name, ladder in LADDERS.items()}
    for one in FLAWS.values():
        if one.replacement is not None:
            with switched_on(one):
                pass
    assert rungs == {name: ladder.rungs for name, ladder in LADDERS.items()}
