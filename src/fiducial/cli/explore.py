"""`fiducial conform --explore` and `--replay`: random histories against any broker, and what they found, again."""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import textwrap
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fiducial.cli.arguments import Refused, address
from fiducial.cli.progress import ProgressLine
from fiducial.conformance import diagrams, page
from fiducial.conformance.cases import Verdict
from fiducial.conformance.client import Unreachable
from fiducial.conformance.exploration import reproducers, traces
from fiducial.conformance.exploration.explorer import FOUND_MAX, Budget, Counterexample, Explorer, Gone, budget_of
from fiducial.conformance.exploration.traces import NoTrace
from fiducial.conformance.page import Card
from fiducial.conformance.reports import HELD, MUST_FAILED, ONLY_SHOULD_FAILED, UNREACHABLE, WIDTH, Rules, Text
from fiducial.conformance.target import SetupFailed, SetupRefused, Target
from fiducial.models.apis import APIS
from fiducial.models.specification import Level

#: A seed that nobody gave is below this.
SEEDS = 10**6


def explored(options: argparse.Namespace, rules: Rules, text: Text) -> int:
    """Explore a broker, or replay a trace at it; the exit status."""
    host, port = address(options.target)
    for name in ("junit", "badge", "baseline", "rule", "api", "level"):
        if getattr(options, name):
            raise Refused(f"--{name} is about cases, and --explore and --replay tell none")
    trace = None if options.replay is None else read_trace(options.replay)
    budget = Budget(requests=0) if options.explore is None else budget_of(options.explore)
    if budget is None:
        raise Refused(f"--explore takes a number of requests, or a duration such as 30s or 5m, not {options.explore!r}")
    seed = secrets.randbelow(SEEDS) if options.seed is None else options.seed
    is_json = options.output == "json"
    progress = ProgressLine(is_report_there=is_json)
    found: list[Counterexample] = []
    explorer: Explorer | None = None
    try:
        explorer = Explorer(Target(host, port), seed, progress.show)
        if is_json:
            print(json.dumps({"target": options.target, "explore": options.explore, "replay": str(options.replay or ""), "seed": seed}), flush=True)
        counterexamples = explorer.explore(budget) if trace is None else filter(None, [explorer.replay(*trace)])
        for number, one in enumerate(counterexamples, 1):
            found.append(one)
            progress.clear()
            files = [] if trace is not None else written(one, number, options)
            print(json.dumps(as_data(one, rules, files)) if is_json else "\n".join((*told(one, rules, text, files), "")), flush=True)
    except (Unreachable, SetupFailed, SetupRefused) as reason:
        progress.clear()
        print(f"fiducial conform: {reason}", file=sys.stderr)
        if isinstance(reason, Gone) and explorer is not None:
            print(f"fiducial conform: what it was asked last is in {written_last(reason, seed, options)}", file=sys.stderr)
            ended(options, rules, explorer, found, seed, UNREACHABLE)
        return UNREACHABLE
    finally:
        if explorer is not None:
            explorer.close()
    progress.clear()
    return ended(options, rules, explorer, found, seed, exit_status(found, rules, is_strict=options.strict))


def ended(options: argparse.Namespace, rules: Rules, explorer: Explorer, found: Sequence[Counterexample], seed: int, status: int) -> int:
    """Say what it came to; the exit status."""
    summary = summary_of(options, explorer, found, seed)
    if options.output == "json":
        print(json.dumps({"requests": explorer.asked, "histories": explorer.histories, "unfinished": explorer.unfinished, "found": len(found), "exit_status": status}))
    else:
        print(summary)
    if options.html is not None:
        traced = [options.replay or options.found / f"{one.seed}-{number}.json" for number, one in enumerate(found, 1)]
        cards = [card_of(one, rules, f"fiducial conform {options.target} --replay {file}") for one, file in zip(found, traced, strict=True)]
        options.html.write_text(page.page(cards, target=options.target, told=summary, at=f"{datetime.now(UTC):%d %B %Y, %H:%M} UTC"))
    return status


def read_trace(file: Path) -> tuple[Any, Any]:
    """The world and the steps of a trace. Refused if the file holds none."""
    try:
        return traces.read(file.read_text())
    except (OSError, UnicodeError, NoTrace) as error:
        raise Refused(f"cannot replay {file}: {error}") from None


def written(found: Counterexample, number: int, options: argparse.Namespace) -> list[Path]:
    """The files of a counterexample: the trace, the program, the diagram."""
    options.found.mkdir(parents=True, exist_ok=True)
    stem = f"{found.seed}-{number}"
    texts = {
        f"{stem}.json": traces.written(found.story, found.seed, found.rules, options.target),
        f"{stem}.py": reproducers.written(found, f"{stem}.py"),
        f"{stem}.mmd": diagrams.mermaid(found.entries, found.differences),
    }
    for name, content in texts.items():
        (options.found / name).write_text(content)
    return [options.found / name for name in texts]


def written_last(gone: Gone, seed: int, options: argparse.Namespace) -> Path:
    """The file of what a broker was asked before it was gone: a trace, for when it is there again."""
    options.found.mkdir(parents=True, exist_ok=True)
    file: Path = options.found / f"{seed}-gone.json"
    file.write_text(traces.written(gone.story, seed, (), options.target))
    return file


# What is said


def level_of(found: Counterexample, rules: Rules) -> Level:
    """How binding what is broken is; where no rule refused anything, something that must be right is not."""
    return rules[found.rules[-1]].level if found.rules else Level.MUST


def verdict_of(found: Counterexample, rules: Rules) -> Verdict:
    """What is to be said of it."""
    if not found.story.is_steady:
        return Verdict.INCONCLUSIVE
    return Verdict.INFO if level_of(found, rules) is Level.MAY else Verdict.FAIL


def exit_status(found: Sequence[Counterexample], rules: Rules, *, is_strict: bool) -> int:
    """0 nothing differs, 1 a MUST is broken, or nobody knows, 4 only a SHOULD is and that counts."""
    verdicts = {(verdict_of(one, rules), level_of(one, rules)) for one in found}
    if any(verdict is Verdict.INCONCLUSIVE or (verdict is Verdict.FAIL and level is Level.MUST) for verdict, level in verdicts):
        return MUST_FAILED
    return ONLY_SHOULD_FAILED if is_strict and any(verdict is Verdict.FAIL for verdict, _ in verdicts) else HELD


def summary_of(options: argparse.Namespace, explorer: Explorer, found: Sequence[Counterexample], seed: int) -> str:
    """What it came to, in a line."""
    if options.replay is not None:
        return "what differed then differs" if found else "nothing differs"
    unfinished = f", {explorer.unfinished} of them unfinished" if explorer.unfinished else ""
    differs = f"{len(found)} counterexample{'s' if len(found) != 1 else ''}" if found else "nothing differs"
    differs += ", and no more were looked for" if len(found) == FOUND_MAX else ""
    return f"{explorer.asked:,} requests in {explorer.histories} histories{unfinished}, seed {seed}: {differs}"


def told(found: Counterexample, rules: Rules, text: Text, files: Sequence[Path]) -> Iterator[str]:
    """A counterexample: the rules that may be broken, the story, what is wrong, and where more is."""
    verdict = verdict_of(found, rules)
    yield f"{text.painted(verdict.value, 31)}  history {found.seed}, step {found.length}, in short:"
    for name in found.rules:
        yield f"    {name} · {rules[name].title} ({rules[name].level.value}, spec/{rules[name].page})"
        yield from textwrap.wrap(rules[name].claim, WIDTH, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)
    yield from (f"    {line}" for line in str(found.story).splitlines())
    if files:
        yield f"    written: {', '.join(map(str, files))}"


def as_data(found: Counterexample, rules: Rules, files: Sequence[Path]) -> dict[str, Any]:
    """A counterexample as JSON has it."""
    return {
        "history": found.seed,
        "verdict": verdict_of(found, rules).value,
        "level": level_of(found, rules).value,
        "rules": list(found.rules),
        "told": str(found.story).splitlines(),
        "differences": [{"place": one.place, "expected": one.expected, "got": one.got} for one in found.differences],
        "files": [str(file) for file in files],
    }


def card_of(found: Counterexample, rules: Rules, again: str) -> Card:
    """A counterexample as a card of the page; `again`: the command that shows it again."""
    apis = tuple(sorted({APIS[step.api_key].name for step in found.story.steps if step.api_key in APIS}))
    rule = rules[found.rules[-1]] if found.rules else None
    return Card(
        f"history-{found.seed}", verdict_of(found, rules), level_of(found, rules).value, rule.title if rule else f"{found.story.steps[-1].action} answers what no rule allows", apis,
        rule=f"{rule.id} · {rule.title}" if rule else "", claim=rule.claim if rule else "", notes=rule.notes if rule else (),
        story=tuple(f"{'►' if number == len(found.story.steps) else ' '} {number}. {step}" for number, step in enumerate(found.story.steps, 1)),
        note="" if found.story.is_steady else "It did not happen again when the same was asked anew.",
        differences=tuple(found.differences), entries=found.entries, again=again,
    )  # fmt: skip

