"""The pages about peers, made of what is kept of them: spec/peers.md, rules × brokers; and for each broker one with the history of all that failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fiducial.models import pages, specification
from fiducial.models.specification import RuleText
from peers import results
from peers.reproductions import Deviation, deviations_of
from peers.results import Kept, Result
from peers.roster import PEERS

#: From the worst on: what stands for a rule is the worst of its cases.
SIGNS = {
    "suite-error": "!", "inconclusive": "?", "fail": "✗", "nonstrict": "≈", "info": "i", "unsupported-setup": "–", "not-applicable": "–", "pass": "✓",
}  # fmt: skip
#: What has a history on the page of its broker.
TOLD = ("suite-error", "inconclusive", "fail", "nonstrict", "info")

MADE = "Made by `make peers`; do not edit."
INTRODUCTION = f"""\
{MADE} `fiducial conform` was told to each of these brokers; all that they answered otherwise than the rules say has its history on the page of the broker:
what was sent, what was expected, what came. A broker whose results are old was not to be had when the others were judged again.
"""
SIGNS_TOLD = """\
✓ all cases of the rule passed · ✗ a case failed · ≈ otherwise, as the rule allows a peer · i otherwise, and nothing hangs on it · – not judged: the broker
does not advertise what is asked, or its topics and settings are not to be had · ? no answer to judge by. A number counts the cases that came out so.
"""


def all_kept() -> dict[str, Kept]:
    """What is kept, of each peer of which something is."""
    return {peer.name: found for peer in PEERS if (found := results.kept(peer.name)) is not None}


# Rules × brokers


def peers_page(kept: Mapping[str, Kept], rules: Mapping[str, RuleText]) -> str:
    """spec/peers.md."""
    heads = ("broker", "version", "judged on", "cases", *("passed", "nonstrict", "info", "failed", "not judged"), "deviations confirmed by hand")
    brokers = pages.table(heads, [broker_row(one) for one in kept.values()])
    shown = [rule for rule in rules if any(result["rules"][0] == rule for one in kept.values() for result in one["results"])]
    rows = [(f"[{rule}]({rules[rule].page})", rules[rule].title, rules[rule].level.value, *(cell(one, rule) for one in kept.values())) for rule in shown]
    table = pages.table(("rule", "", "", *(one["title"] for one in kept.values())), rows)
    return f"# Peers\n\n{INTRODUCTION}\n{brokers}\n{SIGNS_TOLD}\n{table}"


def broker_row(one: Kept) -> tuple[str, ...]:
    """A broker, and how many of its cases came out how."""
    counts = Counter(result["verdict"] for result in one["results"])
    judged = [str(counts[verdict]) for verdict in ("pass", "nonstrict", "info", "fail")]
    others = sum(counts.values()) - sum(map(int, judged))
    link = f"[{one['title']}](peers/{one['peer']}.md)"
    return link, one["version"], one["date"], str(sum(counts.values())), *judged, str(others), str(len(one["confirmed"]) or "")


def cell(one: Kept, rule: str) -> str:
    """What came of the cases of a rule: the worst, how often, and a link to its history."""
    found = Counter(result["verdict"] for result in one["results"] if result["rules"][0] == rule)
    if not found:
        return ""
    worst = next(verdict for verdict in SIGNS if found[verdict])
    return f"[{SIGNS[worst]} {found[worst]}](peers/{one['peer']}.md#{rule.lower()})" if worst in TOLD else SIGNS[worst]


# One broker


def broker_page(one: Kept, rules: Mapping[str, RuleText]) -> str:
    """spec/peers/NAME.md."""
    told = [result for result in one["results"] if result["verdict"] in TOLD]
    parts = [f"# {one['title']} {one['version']}", f"{MADE} Judged on {one['date']}. [All brokers](../peers.md)", *confirmed_part(one, told)]
    for rule in dict.fromkeys(result["rules"][0] for result in told):
        parts.append(f"## {rule}\n\n[{rules[rule].title}](../{rules[rule].page}) ({rules[rule].level.value})")
        parts += ["\n".join(history(result, one)) for result in told if result["rules"][0] == rule]
    if not told:
        parts.append("Nothing that was judged came out otherwise than the rules say.")
    return "\n\n".join(parts) + "\n"


def confirmed_part(one: Kept, told: Sequence[Result]) -> Iterator[str]:
    """The deviations that were seen a second time, by hand, and the failures that nobody has looked into so."""
    failed = [result for result in told if result["verdict"] == "fail"]
    if one["confirmed"]:
        yield "## Deviations\n\nEach was seen a second time, by a reproduction written by hand (tests/peers/reproductions.py), which the reference broker does not show."
        rows = []
        for deviation in confirmed(one):
            count = sum(any(deviation.explains(result["told"], difference) for difference in result["differences"]) for result in failed)
            rows.append((deviation.title, one["confirmed"][deviation.title], str(count)))
        yield pages.table(("deviation", "seen", "cases in which it shows"), rows).strip()
    open_ = [f"`{result['case']}`" for result in failed if not explained(result, one)]
    if open_:
        yield f"## Not confirmed\n\nIn these {len(open_)} cases something else failed, which was not reproduced by hand: {', '.join(open_)}"


def confirmed(one: Kept) -> list[Deviation]:
    """The deviations of a broker whose reproduction saw them."""
    return [deviation for deviation in deviations_of(one["peer"]) if deviation.title in one["confirmed"]]


def explained(result: Result, one: Kept) -> bool:
    """Is each difference one that was confirmed?"""
    known = confirmed(one)
    return bool(result["differences"]) and all(any(deviation.explains(result["told"], difference) for deviation in known) for difference in result["differences"])


def history(result: Result, one: Kept) -> Iterator[str]:
    """What was sent last and came, and what was expected in its place; of the last exchange, the bytes."""
    versions = f", in versions {', '.join(map(str, result['versions']))}" if result["versions"] else ""
    mark = "" if result["verdict"] != "fail" else ", confirmed" if explained(result, one) else ", not confirmed"
    yield f"**{result['case']}**: {result['verdict']}{versions}{mark}\n\n```"
    for entry in result["said"]:
        sign = {"sent": "→", "received": "←"}.get(entry["what"], "·")
        yield f"{sign} {entry['told'] or entry['what']}"
        if entry["bytes"]:
            yield f"  {entry['bytes']}"
    if result["note"]:
        yield result["note"]
    for difference in result["differences"]:
        yield f"at {difference['place'] or 'the answer'}: expected {difference['expected']}, got {difference['got']}"
    yield "```"


# Writing


def made() -> dict[Path, str]:
    """Every page, as what is kept makes it."""
    kept, rules = all_kept(), specification.rules()
    broker_pages: dict[Path, Any] = {results.FOLDER / f"{name}.md": broker_page(one, rules) for name, one in kept.items()}
    return {results.FOLDER.with_suffix(".md"): peers_page(kept, rules), **broker_pages}
