"""Every rule needs a flaw: each function that carries `@rule` is spoilt by machine, and a test that cites the rule must notice.

A rule is caught if of each of its functions at least one mutant fails a test of tests/models or tests/reference that cites the rule; a rung of a
ladder is a mutant too, taken out. `python -m house.mutants` (with tests on the path) tries a few mutants of each function, and more until one is
killed; `--long` tries them all and lists the survivors; with ids of rules, those alone are tried. What came of it is kept in build/mutants.json.

A rule that is not caught makes the run fail, unless its text says `Unmutated: why`. A surviving mutant of a rule that is caught is no fault in
itself: it may mean the same (`<` for `<=` where both agree), or be what another rule's test notices.
"""

from __future__ import annotations

import argparse
import inspect
import json
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from operator import attrgetter
from pathlib import Path
from time import process_time
from types import CodeType, FrameType
from typing import Any

import pytest
from _pytest.runner import runtestprotocol
from house.mutations import mutants_of, put_in

import fiducial.models.broker
import fiducial.models.group_records
import fiducial.models.group_requests
import fiducial.models.restarts
import fiducial.reference.server  # noqa: F401  (rules of frames and sockets are marked there)
from fiducial.models import specification
from fiducial.models.checkers.report import Screen
from fiducial.models.flaws import rung_removed
from fiducial.models.rules import IMPLEMENTED_BY, LADDERS
from fiducial.models.values import value

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "build" / "mutants.json"
#: Where tests are that run what they show in this process; that file starts brokers of its own.
SEARCHED = ("tests/models", "tests/reference", "--ignore=tests/reference/test_server.py")

#: How many mutants of a function an everyday run tries before it is content with those that were killed.
FEW = 5
#: A test is given this much more of the processor than it takes with nothing wrong, for a mutant may never end; and this much of the clock,
#: for it may wait for ever.
PATIENCE, PATIENCE_S, WAIT_S = 10, 0.5, 5.0
#: With nothing wrong it may take this long.
WHOLE_S = 120.0
#: How often it is interrupted then: once may fall where it is swallowed.
AGAIN_S = 1.0


@value
class Tried:
    """What came of the mutants of one function, as the tests of one rule see it."""

    rule: str
    function: str
    tests: int
    mutants: int
    killed: int


@value
class Spoilt:
    """One mutant: what is wrong, and how to have it while a block runs."""

    title: str
    switched_on: Callable[[], AbstractContextManager[None]]


def caught(kept: Path = KEPT) -> dict[str, bool]:
    """Rule id → whether a test of it noticed each of its functions spoilt, as the last whole run found; empty if there was none."""
    if not kept.exists():
        return {}
    said: dict[str, dict[str, list[int]]] = json.loads(kept.read_text(encoding="utf-8"))
    return {rule: all(killed for _, killed in functions.values()) for rule, functions in said.items()}


# What can be spoilt


def function_named(name: str) -> Any:
    """The function that IMPLEMENTED_BY calls "module:function"."""
    module, _, path = name.partition(":")
    return inspect.unwrap(attrgetter(path)(sys.modules[module]))


def spoilt(name: str) -> list[Spoilt]:
    """Every way to spoil a function: its rungs taken out, then its mutants."""
    function = function_named(name)
    found = [
        Spoilt(f"without its rung in “{ladder.name}”", lambda ladder=ladder, rung=rung: rung_removed(ladder, rung))  # type: ignore[misc]
        for ladder in LADDERS.values()
        for rung in ladder.rungs
        if inspect.unwrap(rung.guard) is function
    ]
    changed = [Spoilt(one.title, lambda code=one.code: put_in(function, code)) for one in mutants_of(function)]  # type: ignore[misc]
    return found + changed


def spread(many: Sequence[Spoilt], few: int) -> list[Spoilt]:
    """All of them, but a few from all over the function first."""
    step = max(1, len(many) // few)
    first = list(many[::step][:few])
    return [*first, *(one for one in many if one not in first)]


# The run


class TooLong(BaseException):
    """A test took too long: a mutant that does not end has been noticed."""


@contextmanager
def no_longer_than(seconds: float, waiting_s: float = WAIT_S) -> Iterator[None]:
    """TooLong if the block takes more of the processor, or waits for ever. A busy machine makes nothing too long."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise TooLong

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGALRM, signal.SIGPROF)}
    signal.setitimer(signal.ITIMER_REAL, waiting_s, AGAIN_S)
    signal.setitimer(signal.ITIMER_PROF, seconds, AGAIN_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def forget() -> None:
    """Empty the caches of our functions: what they hold was computed by other code."""
    for name, module in list(sys.modules.items()):
        if name.startswith(("fiducial.", "tests.", "samples")) or "test_" in name:
            for one in list(vars(module).values()):
                clear = getattr(one, "cache_clear", None)
                if callable(clear):
                    clear()


@contextmanager
def noting_calls(codes: set[CodeType]) -> Iterator[set[CodeType]]:
    """Which of these functions are called while the block runs, in whatever thread: no other can make a test fail."""
    called: set[CodeType] = set()

    def note(frame: FrameType, event: str, _argument: Any) -> None:
        if event == "call" and frame.f_code in codes:
            called.add(frame.f_code)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield called
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


#: Brokers in processes of their own, by the fixtures that start them: what is spoilt here is not spoilt there.
ELSEWHERE = frozenset({"fast_broker", "fresh_kafka", "kafka", "reference_broker"})


def citing(items: Sequence[pytest.Item], rules: Sequence[str]) -> dict[str, list[pytest.Item]]:
    """The tests that cite each of the rules, but for those that ask a broker in another process."""
    found: dict[str, list[pytest.Item]] = {rule: [] for rule in rules}
    for item in items:
        chosen = item.callspec.params.values() if hasattr(item, "callspec") else ()
        asked = {*getattr(item, "fixturenames", ()), *(one for one in chosen if isinstance(one, str))}
        if not asked & ELSEWHERE:
            for rule in {rule for mark in item.iter_markers("rule") for rule in mark.args} & found.keys():
                found[rule].append(item)
    return found


class Hunt:
    """A plugin that takes the place of pytest's loop over the tests: each is run once as it is, and then again for each mutant it may notice."""

    def __init__(self, rules: Sequence[str], is_long: bool, screen: Screen) -> None:
        self.rules = tuple(rules)
        self.is_long = is_long
        self.screen = screen
        names = dict.fromkeys(name for rule in rules for name in IMPLEMENTED_BY[rule])
        self.every = {name: spread(spoilt(name), FEW) for name in names}  # now: the sources may be edited while the tests run
        self.tried: list[Tried] = []
        self.survivors: list[tuple[str, str]] = []  # (function, mutant) of those that no rule's test noticed
        self.unfit: list[str] = []
        self.seconds: dict[pytest.Item, float] = {}
        self.calls: dict[pytest.Item, set[CodeType]] = {}
        self.began = process_time()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Find the tests of each rule, then spoil each function."""
        codes = {name: function_named(name).__code__ for name in self.every}
        tests = {rule: self.fit(items, set(codes.values())) for rule, items in citing(session.items, self.rules).items()}
        for at, (name, code) in enumerate(codes.items()):
            self.screen.progress(f"mutants: {at} of {len(codes)} functions, {process_time() - self.began:.0f} s")
            concerned = [rule for rule in self.rules if name in IMPLEMENTED_BY[rule]]
            self.spoil(name, {rule: [item for item in tests[rule] if code in self.calls[item]] for rule in concerned})
        return True

    def fit(self, items: Sequence[pytest.Item], codes: set[CodeType]) -> list[pytest.Item]:
        """The tests that pass when nothing is wrong, quickest first. What they take of the processor is noted, and which of the functions they call."""
        for item in items:
            if item not in self.calls:
                began = process_time()
                with noting_calls(codes) as self.calls[item]:
                    fails = self.fails(item, WHOLE_S, WHOLE_S)
                if fails:
                    self.unfit.append(item.nodeid)
                self.seconds[item] = process_time() - began
        return sorted((item for item in items if item.nodeid not in self.unfit), key=lambda item: self.seconds[item])

    def fails(self, item: pytest.Item, seconds: float, waiting_s: float = WAIT_S) -> bool:
        """Run a test: does it fail, or take too long?"""
        try:
            with no_longer_than(seconds, waiting_s):
                reports = runtestprotocol(item, nextitem=None, log=False)
        except TooLong:
            item.session._setupstate.teardown_exact(None)
            return True
        return any(report.failed for report in reports)

    def spoil(self, name: str, tests: Mapping[str, Sequence[pytest.Item]]) -> None:
        """Try mutants of a function until each rule has killed one of a few, or all of them."""
        tries, kills = Counter[str](), Counter[str]()
        for number, one in enumerate(self.every[name]):
            waiting = [rule for rule in tests if self.is_long or number < FEW or not kills[rule]]
            if not any(tests[rule] for rule in waiting):
                break
            noticed = self.noticing(one, {rule: tests[rule] for rule in waiting})
            for rule in waiting:
                tries[rule] += 1
                kills[rule] += rule in noticed
            if not noticed:
                self.survivors.append((name.removeprefix("fiducial."), one.title))
        for rule, items in tests.items():
            self.tried.append(Tried(rule, name.removeprefix("fiducial."), len(items), tries[rule], kills[rule]))

    def noticing(self, one: Spoilt, tests: Mapping[str, Sequence[pytest.Item]]) -> set[str]:
        """The rules of which a test fails while the mutant is on."""
        noticed, outcomes = set[str](), dict[pytest.Item, bool]()
        forget()
        with one.switched_on():
            for rule, items in tests.items():
                for item in items:
                    if item not in outcomes:
                        outcomes[item] = self.fails(item, PATIENCE_S + PATIENCE * self.seconds[item])
                    if outcomes[item]:
                        noticed.add(rule)
                        break
        forget()
        return noticed


# What is said of it


def show(hunt: Hunt, screen: Screen) -> list[str]:
    """The table; and what is wrong."""
    hunt.tried.sort(key=lambda one: hunt.rules.index(one.rule))
    rows = [(one.rule, one.function, one.tests, one.mutants, one.killed) for one in hunt.tried]
    screen.table("Every rule spoilt by machine", ("rule", "function", "tests", "mutants", "killed"), rows)
    if hunt.is_long:
        screen.table("Survivors: no test of any rule of the function noticed", ("function", "mutant"), hunt.survivors)
    texts = specification.rules()
    complaints, count = [f"fails with nothing wrong: {test}" for test in hunt.unfit], 0
    for rule in hunt.rules:
        tried = [one for one in hunt.tried if one.rule == rule]
        missed = [f"{rule}: no test of it notices a mutant of {one.function} ({one.tests} tests)" for one in tried if not one.killed]
        missed += [] if tried else [f"{rule} was not tried"]
        excuse = texts[rule].noted("Unmutated") if rule in texts else None
        count += not missed
        if not excuse:
            complaints += missed
        elif not missed:
            complaints.append(f"{rule} is caught, so its line `Unmutated:` can go")
    killed, mutants = sum(one.killed for one in hunt.tried), sum(one.mutants for one in hunt.tried)
    screen.say(
        f"\n{len(hunt.rules)} rules, {count} caught; {killed:,} of {mutants:,} mutants killed,"
        f" in {process_time() - hunt.began:.0f} s of the processor"
    )
    return complaints


def numbered(rule: str) -> tuple[str, int]:
    """What rules are sorted by: LOG-SUM-10 comes after LOG-SUM-9."""
    area, _, number = rule.rpartition("-")
    return area, int(number)


def keep(tried: Sequence[Tried]) -> None:
    """For `caught`."""
    said: dict[str, dict[str, tuple[int, int]]] = {}
    for one in tried:
        said.setdefault(one.rule, {})[one.function] = one.mutants, one.killed
    KEPT.parent.mkdir(exist_ok=True)
    KEPT.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")


def main(argv: Sequence[str]) -> int:
    """0 when every rule is caught, or says why not."""
    parser = argparse.ArgumentParser(prog="house.mutants", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--long", action="store_true", help="every mutant, and a list of those that survive")
    parser.add_argument("rules", nargs="*", metavar="RULE", help="these alone (default: all)")
    options = parser.parse_args(argv)
    unknown = [rule for rule in options.rules if rule not in IMPLEMENTED_BY]
    if unknown:
        parser.error(f"no function implements {', '.join(unknown)}")
    screen = Screen()
    hunt = Hunt(options.rules or sorted(IMPLEMENTED_BY, key=numbered), options.long, screen)
    quiet = ["-qq", "--tb=no", "--no-summary", "--no-header", "-p", "no:cacheprovider"]
    status = pytest.main([*quiet, *SEARCHED], plugins=[hunt])
    complaints = show(hunt, screen)
    if status != pytest.ExitCode.OK:
        complaints.append(f"the tests could not be run: pytest says {status!r}")
    if not options.rules:
        keep(hunt.tried)
    for complaint in complaints:
        screen.say(screen.bad(f"  ! {complaint}"))
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
