"""`fiducial explain`: a rule with all that hangs on it, or an error with every rule that answers it."""

from __future__ import annotations

import inspect
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator
from importlib import import_module
from operator import attrgetter

import fiducial.models.broker
import fiducial.models.restarts
import fiducial.reference.server  # noqa: F401  (the rules of frames and sockets are marked there)
from fiducial.cli import USAGE
from fiducial.models import specification
from fiducial.models.coverage import Coverage, recorded
from fiducial.models.errors import RETRIABLE, Error
from fiducial.models.rules import LADDERS, Ladder
from fiducial.models.specification import RuleText, SpecificationError

WIDTH_MAX = 110


def explain(what: str) -> int:
    """Print what there is to say; 2 for what is neither a rule nor an error."""
    try:
        rules = specification.rules()
    except SpecificationError as error:
        print(f"fiducial explain: {error}", file=sys.stderr)
        return 1
    wanted = what.strip().upper()
    if wanted in rules:
        lines = rule_lines(rules[wanted], rules)
    elif (error_code := error_named(wanted)) is not None:
        lines = error_lines(error_code, rules)
    else:
        print(f"fiducial explain: {what!r} is neither a rule nor an error{hint(wanted, rules)}", file=sys.stderr)
        return USAGE
    print("\n".join(lines))
    return 0


def error_named(wanted: str) -> Error | None:
    """An error by its name or number."""
    if wanted in Error.__members__:
        return Error[wanted]
    try:
        return Error(int(wanted))
    except ValueError:
        return None


def hint(wanted: str, rules: dict[str, RuleText]) -> str:
    """What else might be meant: everything that begins, or holds, the same."""
    alike = [name for name in (*rules, *Error.__members__) if wanted in name]
    return f"; perhaps {', '.join(alike[:12])}{' …' if len(alike) > 12 else ''}" if alike else ""


# How it looks


def bold(text: str) -> str:
    """A heading, where it is looked at."""
    is_wanted = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return f"\x1b[1m{text}\x1b[0m" if is_wanted else text


def wrapped(text: str, indent: str = "  ", first: str | None = None) -> list[str]:
    """A paragraph in lines of the terminal's width."""
    width = min(shutil.get_terminal_size((100, 24)).columns, WIDTH_MAX)
    return textwrap.wrap(text, width, initial_indent=indent if first is None else first, subsequent_indent=indent, break_on_hyphens=False)


def listed(label: str, entries: tuple[str, ...]) -> list[str]:
    """A label, and its entries below one another."""
    return [f"  {label if number == 0 else '':<12}{entry}" for number, entry in enumerate(entries)]


# A rule


def rule_lines(rule: RuleText, rules: dict[str, RuleText]) -> list[str]:
    """The rule, why it is so, where it is decided, which error wins, and what checks it."""
    kips = f" ({', '.join(rule.kips)})" if rule.kips else ""
    errors = ", ".join(f"{error.name} ({error.value})" for error in rule.errors)
    lines = [
        bold(f"{rule.id} · {rule.title}"),
        f"  {rule.level.value}, since Kafka {rule.since}{kips}{'; answers ' + errors if errors else ''}",
        f"  {tried_in_words(rule)}; spec/{rule.page}, “{rule.section}”",
        "",
        *wrapped(rule.claim),
    ]
    for label, text in rule.notes:
        lines += ["", *wrapped(text, " " * (len(label) + 4), f"  {label}: ")]
    lines.append("")
    covered = recorded().get(rule.id, Coverage())
    lines += listed("decided by", tuple(located(function) for function in covered.functions))
    for ladder in LADDERS.values():
        if any(rung.rule == rule.id for rung in ladder.rungs):
            lines += listed("which wins", tuple(precedence(ladder, rule, rules)))
    lines += listed("tests", covered.tests)
    lines += listed("cases", covered.cases)
    lines += listed("flaws", covered.flaws)
    lines += listed("properties", covered.properties)
    return lines + listed("proved", covered.proofs)


def tried_in_words(rule: RuleText) -> str:
    """Whether Apache Kafka was seen to keep it."""
    return {
        "tried": "seen on Apache Kafka 4.3.1",
        "tried in part": "seen in part on Apache Kafka 4.3.1",
        "not tried": "not tried on Apache Kafka",
        "ours": "a rule of this broker, not of Apache Kafka",
    }[rule.tried.value]


def located(function: str) -> str:
    """A function with its place in the code."""
    module_name, _, name = function.partition(":")
    module = import_module(module_name)
    _, line = inspect.getsourcelines(attrgetter(name)(module))
    return f"{name} ({module_name.removeprefix('fiducial.').replace('.', '/')}.py:{line})"


def precedence(ladder: Ladder, rule: RuleText, rules: dict[str, RuleText]) -> Iterator[str]:
    """The rungs of a ladder down to the rule's own: those above it win over it."""
    yield f"{ladder.name}: the first that holds"
    for number, rung in enumerate(ladder.rungs, 1):
        title = rules[rung.rule].title if rung.rule in rules else ""
        mark = "►" if rung.rule == rule.id else " "
        also = f" (of a peer also {', '.join(error.name for error in rung.also)})" if rung.also else ""
        yield f"{mark}{number:>2}  {rung.rule:<15} {rung.error.name:<30} {title}{also}"


# An error


def error_lines(error: Error, rules: dict[str, RuleText]) -> list[str]:
    """The error, whether trying again may help, and each rule that answers it."""
    retriable = "may succeed when it is tried again" if error in RETRIABLE else "will not succeed by being tried again"
    lines = [bold(f"{error.name} ({error.value})"), f"  The request {retriable}.", ""]
    if error == Error.NONE:
        lines[1] = "  No error."
    answering = {rule.id for rule in rules.values() if error in rule.errors}
    for ladder in LADDERS.values():
        answering |= {rung.rule for rung in ladder.rungs if rung.error == error}
    for rule_id in sorted(answering & set(rules), key=lambda rule_id: rules[rule_id].key):
        lines += wrapped(f"{rule_id:<16}{rules[rule_id].title}", " " * 18, "  ")
    if not answering:
        lines.append("  No rule answers it yet.")
    return lines

