"""What README.md says of speed was measured: it is what a kept result has, and so is its drawing."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from bench import goals, profile, readme
from bench.chart import chart, rows_of
from bench.goals import Goal, Judged


def kept() -> str:
    """The result that README names."""
    (name,) = readme.SECTION.findall(readme.README.read_text(encoding="utf-8"))
    return str(name)


def test_the_figures_in_the_readme_are_those_of_a_kept_result() -> None:
    (told,) = (found[0] for found in readme.SECTION.finditer(readme.README.read_text(encoding="utf-8")))
    assert told == readme.section(kept()), "PYTHONPATH=tests python -m bench.readme"


def test_the_drawing_is_of_the_result() -> None:
    file = readme.RESULTS / kept()
    assert file.with_suffix(".svg").read_text(encoding="utf-8") == chart(json.loads(file.read_text(encoding="utf-8")))


def test_no_figure_stands_outside_of_what_is_written_by_machine() -> None:
    text = readme.README.read_text(encoding="utf-8")
    section = text[text.index("## How fast it is") : text.index("## Judge a broker")]
    assert not re.findall(r"\d", readme.SECTION.sub("", section))


def test_another_result_has_other_figures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = json.loads((readme.RESULTS / kept()).read_text(encoding="utf-8"))
    (tmp_path / "same.json").write_text(json.dumps(found))
    load: Any = next(row for row in rows_of(found, "Produce and fetch") if row["work"].startswith(readme.TOLD))
    load["GB/s"] = 123456.0
    (tmp_path / "other.json").write_text(json.dumps(found))
    monkeypatch.setattr(readme, "RESULTS", tmp_path)
    same, other = readme.section("same.json"), readme.section("other.json")
    assert "123,456" in other and "123,456" not in same


@pytest.mark.parametrize("goal, found, said", [
    (Goal("a", 9), 9.0, "≥ 9: met"),
    (Goal("a", 9), 8.99, "≥ 9: missed"),
    (Goal("b", 0.15, is_least=False), 0.15, "≤ 0.15: met"),
    (Goal("b", 0.15, is_least=False), 0.151, "≤ 0.15: missed"),
])  # fmt: skip
def test_a_goal_is_met_or_missed(goal: Goal, found: float, said: str) -> None:
    judged = Judged(goal, found)
    assert str(judged) == said
    assert goals.table([judged]).title == f"Goals: {int(judged.is_met)} of 1 met"


def test_a_report_of_perf_is_read() -> None:
    report = "# Overhead\tCommand\n#\n    18.20%\tpython\t[kernel.kallsyms]\t[k] finish_task_switch\n     1.53%\tpython\tlibstdc++.so.6\t[.] std::_Hash_bytes\n\n"
    assert profile.lines(report) == [
        (18.2, "python", "[kernel.kallsyms]", "finish_task_switch"),
        (1.53, "python", "libstdc++.so.6", "std::_Hash_bytes"),
    ]


def test_the_memory_of_a_process_is_told_by_what_is_mapped() -> None:
    rows = profile.memory(os.getpid()).rows
    assert "[heap]" in {name for _, name in rows}
    assert [size for size, _ in rows] == sorted((size for size, _ in rows), reverse=True)
