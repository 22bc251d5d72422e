"""`fiducial conform`: any broker, held against the rules."""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, date, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from fiducial.cli import INTERRUPTED, USAGE
from fiducial.cli.arguments import Refused, address, check_writable
from fiducial.cli.progress import ProgressLine
from fiducial.conformance import baseline, page, reports, suite
from fiducial.conformance.baseline import BaselineError, Known
from fiducial.conformance.cases import Case, Verdict
from fiducial.conformance.client import Unreachable
from fiducial.conformance.reports import NOTHING_JUDGED, UNREACHABLE, Rules, Text
from fiducial.conformance.running import Judge, Result
from fiducial.conformance.target import SetupFailed, SetupRefused, Target
from fiducial.models import specification
from fiducial.models.specification import Level

#: From the most binding on.
LEVELS = tuple(Level)


def conform(options: argparse.Namespace) -> int:
    """Judge a broker, or list what it would be judged by; the exit status."""
    rules = specification.rules()
    text = Text(rules, is_coloured=sys.stdout.isatty() and not os.environ.get("NO_COLOR"))
    try:
        chosen = selected(list(suite.every().values()), rules, options)
        if options.list:
            print("\n".join(json.dumps(listed(case, rules)) if options.output == "json" else text.listed(case) for case in chosen))
            return 0
        for file in (options.junit, options.html, options.badge):
            check_writable(file)
        if options.explore or options.replay:
            from fiducial.cli.explore import explored

            return explored(options, rules, text)
        return judged(options, chosen, rules, text)
    except Refused as reason:
        print(f"fiducial conform: {reason}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("\nfiducial conform: interrupted", file=sys.stderr)
        return INTERRUPTED


def known_failures(file: Path | None) -> tuple[Known, ...]:
    """What the baseline lists. Refused if there is none in the file."""
    try:
        return () if file is None else baseline.read(file.read_text())
    except (OSError, UnicodeError, BaselineError) as error:
        raise Refused(f"cannot read {file}: {error}") from None


def selected(cases: list[Case], rules: Rules, options: argparse.Namespace) -> list[Case]:
    """The cases that are asked for, in the order in which they are told. Refused if there is none."""
    found = [case for case in cases if is_wanted(case, rules, options)]
    if not found:
        raise Refused("no case is of these rules, this API and this level; --list shows all")
    if options.seed is not None:
        random.Random(options.seed).shuffle(found)
    return found


def is_wanted(case: Case, rules: Rules, options: argparse.Namespace) -> bool:
    """Is the case among those that are asked for?"""
    names = (case.id, *case.rules)
    by_rule = not options.rule or any(fnmatchcase(name, pattern) for name in names for pattern in options.rule)
    by_api = options.api is None or options.api.lower() in {name.lower() for name in case.api_names}
    by_level = options.level is None or LEVELS.index(rules[case.rule].level) <= LEVELS.index(Level[options.level])
    return by_rule and by_api and by_level


def listed(case: Case, rules: Rules) -> dict[str, Any]:
    """A case as JSON has it."""
    return {"case": case.id, "rules": list(case.rules), "level": reports.level_of(case, rules), "apis": sorted(case.api_names)}


def judged(options: argparse.Namespace, cases: Sequence[Case], rules: Rules, text: Text) -> int:
    """Tell the cases to the broker, and report."""
    host, port = address(options.target)
    known, today = known_failures(options.baseline), date.today()
    try:
        target = Target(host, port)
        judge = Judge(target, {name: rule.level for name, rule in rules.items()}, is_allowed_all=options.allow_destructive)
    except (Unreachable, SetupFailed, SetupRefused) as reason:
        print(f"fiducial conform: {reason}", file=sys.stderr)
        return UNREACHABLE
    results: list[Result] = []
    assumed = target.assumed if any(case.groups for case in cases) else {}
    is_json = options.output == "json"
    progress = Progress(len(cases), ProgressLine(is_report_there=is_json))
    if is_json:
        print(json.dumps({"target": options.target, "cases": len(cases), "seed": options.seed, "assumed": assumed}), flush=True)
    for found in told(judge, cases, progress):
        result = baseline.weighed(found, known, today)
        results.append(result)
        if is_json:
            print(json.dumps(reports.as_data(result, rules)), flush=True)
    status = UNREACHABLE if len(results) < len(cases) else reports.exit_status(results, rules, is_strict=options.strict)
    if is_json:
        counts = Counter(one.verdict.value for one in results)
        print(json.dumps({"verdicts": counts, "exit_status": status}))
    else:
        print("\n".join(text.report(results)))
    write_files(options, results, rules, status)
    if assumed:
        told_so = ", ".join(f"{name}={text}" for name, text in assumed.items())
        print(f"fiducial conform: {options.target} does not tell these settings, which are assumed: {told_so}", file=sys.stderr)
    for remark in baseline.remarks(results, known, today):
        print(f"fiducial conform: {remark}", file=sys.stderr)
    if status == UNREACHABLE:
        print(f"fiducial conform: {options.target} does not answer any more; {len(cases) - len(results)} cases were not told", file=sys.stderr)
    if status == NOTHING_JUDGED:
        print("fiducial conform: nothing was judged: what the cases need is not to be had of this broker", file=sys.stderr)
    return status


def write_files(options: argparse.Namespace, results: Sequence[Result], rules: Rules, status: int) -> None:
    """The reports that were asked for as files."""
    if options.junit is not None:
        options.junit.write_bytes(reports.junit(results, rules, options.target, is_strict=options.strict))
    if options.badge is not None:
        options.badge.write_text(reports.badge_of(results, rules, status))
    if options.html is not None:
        summary = Text(rules, is_coloured=False).summary(results)
        cards = [page.card_of(result, rules, options.target) for result in results]
        options.html.write_text(page.page(cards, target=options.target, told=summary, at=f"{datetime.now(UTC):%d %B %Y, %H:%M} UTC"))


def told(judge: Judge, cases: Sequence[Case], progress: Progress) -> Iterator[Result]:
    """The results one by one; they end early if the broker does not answer any more."""
    with closing(judge):
        judge.begin(cases)
        for case in cases:
            progress.show(case)
            result = judge.judge(case)
            progress.count(result)
            yield result
            if result.verdict is Verdict.INCONCLUSIVE and not judge.target.is_lively():
                break
    progress.line.clear()


class Progress:
    """How far the telling of the cases is."""

    def __init__(self, total: int, line: ProgressLine) -> None:
        self.total = total
        self.line = line
        self.done = 0
        self.failed = 0
        self.begun = time.monotonic()

    def show(self, case: Case) -> None:
        """What is being told, how many were, how many failed, and how long it may take yet."""
        left_s = (time.monotonic() - self.begun) / self.done * (self.total - self.done) if self.done else 0
        failed = f", {self.failed} failed" if self.failed else ""
        left = f", about {left_s:.0f} s left" if left_s >= 1 else ""
        self.line.show(f"{self.done + 1}/{self.total}{failed}{left}  {case.id}")

    def count(self, result: Result) -> None:
        """One more."""
        self.done += 1
        self.failed += result.verdict is Verdict.FAIL

