"""What a page of `spec/` does not say itself but has the code say: ladders of refusals, tables of states, and worked traces.

    <!-- ladder: batch check -->     the table of a ladder, between this line
    <!-- end -->                     and this one

`python -m fiducial.models.pages` fills these blocks anew; with `--check` it only says which of them are stale, and fails if any is.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path

from fiducial.models import group_events, specification
from fiducial.models.groups import State
from fiducial.models.rules import LADDERS, Ladder
from fiducial.models.specification import RuleText
from fiducial.models.traces import TRACES

BLOCK = re.compile(r"<!-- (?P<kind>ladder|states|trace): (?P<name>[^>]+) -->\n(?P<text>.*?)<!-- end -->", re.DOTALL)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = (heads, ["---"] * len(heads), *rows)
    return "".join(f"| {' | '.join(row)} |\n" for row in lines)


def ladder_table(ladder: Ladder, rules: dict[str, RuleText]) -> str:
    """The rungs from the top: the first that holds wins."""
    rows = []
    for number, rung in enumerate(ladder.rungs, 1):
        said = rules[rung.rule].title if rung.rule in rules else ""
        also = ", ".join(error.name for error in rung.also)
        rows.append((str(number), said, rung.error.name, rung.rule, also))
    return table(("", f"{ladder.name}: the first that holds wins", "answer", "rule", "also allowed of a peer"), rows)


def states_table() -> str:
    """What each event does to a group, state by state: what is answered, by which rule, and where it may lead."""
    rows = [(event.value, *(cell_text(state, cells[state]) for state in State)) for event, cells in group_events.TABLE.items()]
    return table(("", *(state.value for state in State)), rows)


def cell_text(state: State, cell: group_events.Cell) -> str:
    """One cell."""
    after = f" → {', '.join(one.value for one in cell.next)}" if cell.next != (state,) else ""
    return f"{cell.reply} ({cell.rule}){after}"


def trace_table(name: str) -> str:
    """The steps of a trace and what came of them."""
    story = TRACES[name]
    return f"{story.__doc__}\n\n" + table(("step", "outcome", "state after it"), [(one.step, one.outcome, one.state) for one in story()])


#: Kind of block -> what fills it, given its name and the rules.
MADE: dict[str, Callable[[str, dict[str, RuleText]], str]] = {
    "ladder": lambda name, rules: ladder_table(LADDERS[name], rules),
    "states": lambda _name, _rules: states_table(),
    "trace": lambda name, _rules: trace_table(name),
}


def filled(text: str) -> str:
    """The page with every block made anew. KeyError for a ladder or trace that there is not."""
    rules = specification.rules()

    def block(found: re.Match[str]) -> str:
        kind, name = found["kind"], found["name"]
        made = MADE[kind](name, rules)
        return f"<!-- {kind}: {name} -->\n{made}<!-- end -->"

    return BLOCK.sub(block, text)


def stale() -> dict[str, str]:
    """The pages whose blocks are not what the code says, as they should be."""
    return {name: new for name, text in specification.pages().items() if (new := filled(text)) != text}


def main(arguments: Sequence[str]) -> int:
    """Write, or with --check only say, what is stale."""
    found = stale()
    for name, text in found.items():
        print(f"spec/{name} is stale" if arguments else f"spec/{name} written")
        if not arguments:
            Path(str(resources.files("fiducial").joinpath("spec", name))).write_text(text, encoding="utf-8")
    return 1 if found and arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
