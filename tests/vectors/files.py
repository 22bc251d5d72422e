"""`python -m vectors.files` (with tests on the path; `make vectors`) writes the golden data that spec/vectors.md describes.

The tables and the tiny tier are kept in spec/vectors/; the small tier is made into build/vectors/.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from fiducial.conformance import suite
from fiducial.conformance.cases import Case
from fiducial.models import messages as m
from fiducial.models import specification
from vectors import tables
from vectors.histories import versions, written
from vectors.holes import Inexpressible

ROOT = Path(__file__).parents[2]
KEPT, MADE = ROOT / "spec" / "vectors", ROOT / "build" / "vectors"
RULES = specification.rules()
#: Versions in which Fetch changes: sessions, the last that goes by names, the first that goes by ids.
FETCH_CHANGES = frozenset({7, 12, 13})
#: What stays in the repository is not larger.
TINY_BYTES_MAX = 950_000

History = dict[str, Any]


class Writer:
    """Writes cases down, and notes of which none of the versions could be."""

    def __init__(self) -> None:
        self.left_out: dict[str, list[str]] = {}  # by the reason

    def newest(self, case: Case) -> Iterator[History]:
        """A case in the newest version that can be written down."""
        reasons = []
        for version in versions(case):
            try:
                yield written(case, version, RULES)
            except Inexpressible as reason:
                reasons.append(str(reason))
            else:
                return
        self.left_out.setdefault(reasons[0], []).append(case.id)

    def several(self, case: Case) -> list[History]:
        """A case in its newest and its oldest version, and those in which Fetch changes."""
        every = versions(case)
        wanted = {every[0], every[-1], *(FETCH_CHANGES if case.sweep is m.FetchRequest else ())}
        found = []
        for version in every:
            if version in wanted:
                with suppress(Inexpressible):
                    found.append(written(case, version, RULES))
        return found or list(self.newest(case))


def without_repetition(found: Iterable[History]) -> Iterator[History]:
    """Of histories that are the same to the byte, the first; it is of all their cases, and shows all their rules."""
    first: dict[str, History] = {}
    for history in found:
        same = first.setdefault(line({"steps": history["steps"]}), history)
        for what in ("cases", "rules"):
            same[what] = list(dict.fromkeys([*same[what], *history[what]]))
    yield from first.values()


def tiny(found: Iterable[History], room_bytes: int = TINY_BYTES_MAX) -> list[History]:
    """For each rule a history that shows it; then for each rule another, while there is room."""
    every = list(without_repetition(found))
    shelves = {rule: sorted((one for one in every if rule in one["rules"]), key=partial(preferred, rule)) for rule in RULES}
    chosen: dict[str, History] = {}
    for number in range(max(map(len, shelves.values()))):
        for one in (shelf[number] for shelf in shelves.values() if number < len(shelf)):
            size = len(lines([one]).encode())
            if one["id"] not in chosen and (number == 0 or size <= room_bytes):
                chosen[one["id"]] = one
                room_bytes -= size
    return list(chosen.values())


def preferred(rule: str, history: History) -> tuple[bool, bool, int]:
    """Of those that show a rule, first what is refused by it, what is judged in all its answers, and what is short."""
    return rule not in history["refusals"], bool(history["unsaid"]), len(line(history))


def line(held: Any) -> str:
    """JSON in one line."""
    return json.dumps(held, ensure_ascii=False, separators=(",", ":"))


def lines(held: Iterable[Any]) -> str:
    """JSON lines."""
    return "".join(f"{line(one)}\n" for one in held)


def by_lines(held: dict[str, list[Any]]) -> str:
    """An object of lists, an entry a line: what changes shows in a review."""
    entries = {name: ",\n".join(map(line, entries)) for name, entries in held.items()}
    lists = ",\n".join(f"{line(name)}: [\n{text}\n]" for name, text in entries.items())
    return f"{{\n{lists}\n}}\n"


def kept() -> dict[str, str]:
    """The files under version control, as they should be."""
    writer = Writer()
    chosen = tiny(history for case in suite.every().values() for history in writer.newest(case))
    left_out = [{"reason": reason, "cases": cases} for reason, cases in sorted(writer.left_out.items())]
    return {
        "rules.json": by_lines(tables.rules()),
        "transitions.json": by_lines(tables.transitions()),
        "tiny.jsonl": lines(chosen),
        "left_out.json": by_lines({"left_out": left_out}),
    }


def small() -> str:
    """The small tier."""
    writer = Writer()
    return lines(without_repetition(history for case in suite.every().values() for history in writer.several(case)))


def main() -> None:
    """Write them all."""
    for folder, files in ((KEPT, kept()), (MADE, {"small.jsonl": small()})):
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
            print(f"{(folder / name).relative_to(ROOT)}: {len(text.encode()):,} bytes, {text.count(chr(10)):,} lines")


if __name__ == "__main__":
    main()
