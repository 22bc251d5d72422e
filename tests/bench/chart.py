"""A drawing of results that are kept: how much cheaper a record is, with the goals, and how long an acknowledgement takes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from bench.report import three_digits

WIDTH, LABEL, RIGHT = 860, 290, 60
ROW, BAR, HEAD, GAP, FOOT = 26, 14, 62, 60, 30
OURS, KAFKA = "Fiducial", "Apache Kafka"
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-size: 16px; font-weight: 600 }
.small { font-size: 11px; fill: #57606a }
.bar, .ours { fill: #2f6f9f }
.kafka { fill: #b35900 }
.range { stroke-width: 3; stroke-opacity: .35 }
.range.ours { stroke: #2f6f9f }
.range.kafka { stroke: #b35900 }
.spread { stroke: #24292f; stroke-width: 1.5 }
.grid { stroke: #d0d7de }
.one { stroke: #b35900; stroke-width: 1.5 }
.goal { stroke: #1a7f37; stroke-width: 3 }
.floor { stroke: #8c959f; stroke-width: 3 }
.paper { fill: #ffffff }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .small { fill: #9198a1 } .bar, .ours { fill: #58a6d6 } .kafka { fill: #f0883e } .spread { stroke: #e6edf3 } .grid { stroke: #3d444d }
  .one { stroke: #f0883e } .range.ours { stroke: #58a6d6 } .range.kafka { stroke: #f0883e } .goal { stroke: #3fb950 } .paper { fill: #0d1117 }
}"""


@dataclass(frozen=True)
class Bar:
    """How much cheaper one kind of work is."""

    name: str
    median: float
    least: float
    most: float
    goal: float | None
    floor: float | None


@dataclass(frozen=True)
class Wait:
    """How long one broker takes in one case: p50, p99, p99.9 (µs)."""

    case: str
    by: str
    quantiles: tuple[float, float, float]


def chart(found: Mapping[str, Any]) -> str:
    """An SVG of the results as they are kept; empty if there is nothing to draw."""
    bars, waits = bars_of(found), waits_of(found)
    panels = [panel for panel in (bars and cheaper(bars), waits and slower(waits)) if panel]
    if not panels:
        return ""
    height = HEAD + sum(rows for rows, _ in panels) + GAP * len(panels)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">',
        f"<style>{STYLE}\n</style>",
        f'<rect class="paper" width="{WIDTH}" height="{height}"/>',
        f'<text class="small" x="16" y="22">{escape(said(found))}</text>',
    ]
    top: float = HEAD
    for rows, draw in panels:
        lines += draw(top)
        top += rows + GAP
    return "\n".join([*lines, "</svg>\n"])


def said(found: Mapping[str, Any]) -> str:
    """What it was measured on, in a line."""
    return ", ".join(found[name] for name in ("machine", "date")) + f", Kafka {found['kafka']}, load average {found['load']}"


# What is drawn, of the tables


def rows_of(found: Mapping[str, Any], title: str) -> Iterator[Mapping[str, Any]]:
    """Of the tables whose title begins so."""
    for table in found["tables"]:
        if table["title"].startswith(title):
            yield from table["rows"]


def bars_of(found: Mapping[str, Any]) -> list[Bar]:
    """Work under load, and of real clients, where Kafka was there too."""
    rows = [*rows_of(found, "Produce and fetch under load"), *rows_of(found, "Real clients")]
    floors = [(row.get("kernel alone, by") or {}).get("median") for row in rows]
    return [
        Bar(row.get("work") or row["client"], **row["cheaper by"], goal=row.get("cheaper by, goal"), floor=floor)
        for row, floor in zip(rows, floors, strict=True)
        if row["cheaper by"]
    ]


def waits_of(found: Mapping[str, Any]) -> list[Wait]:
    """Acknowledgements."""
    rows = rows_of(found, "Acknowledgements")
    return [Wait(row["case"], row["by"], (row["p50 µs"], row["p99 µs"]["median"], row["p99.9 µs"])) for row in rows]


# How


def text(x: float, y: float, content: str, kind: str = "", anchor: str = "start") -> str:
    """A line of text."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(content)}</text>'


def line(kind: str, begin: float, end: float, y: float, to_y: float | None = None) -> str:
    """From the left to the right, or down."""
    return f'<line class="{kind}" x1="{begin:.1f}" x2="{end:.1f}" y1="{y:.1f}" y2="{y if to_y is None else to_y:.1f}"/>'


def cheaper(bars: Sequence[Bar]) -> tuple[float, Any]:
    """A bar ends at the median, the line through its end goes from the least to the most; 1 is Apache Kafka. Lines across: the goal, and the kernel alone."""
    most = max(max(bar.most, bar.goal or 0, bar.floor or 0) for bar in bars)
    step = next(step for step in (1, 2, 5, 10, 20, 50) if most / step <= 10)
    scale = (WIDTH - LABEL - RIGHT) / most

    def draw(top: float) -> Iterator[str]:
        bottom = top + ROW * len(bars)
        yield text(16, top - 14, "Records per CPU-second of the server, Apache Kafka = 1", "title")
        yield text(WIDTH - 16, top - 14, "green: the goal; grey: what the kernel alone would leave", "small", "end")
        for tick in range(0, int(most) + 1, step):
            yield line("grid", LABEL + tick * scale, LABEL + tick * scale, top - 4, bottom)
            yield text(LABEL + tick * scale, bottom + 14, str(tick), "small", "middle")
        for number, bar in enumerate(bars):
            yield from drawn(bar, top + ROW * (number + 0.5), scale)
        yield line("one", LABEL + scale, LABEL + scale, top - 4, bottom)

    return ROW * len(bars), draw


def drawn(bar: Bar, y: float, scale: float) -> Iterator[str]:
    """One kind of work."""
    least, median, most = (LABEL + value * scale for value in (bar.least, bar.median, bar.most))
    yield text(LABEL - 10, y + 4, bar.name, "", "end")
    yield f'<rect class="bar" x="{LABEL}" y="{y - BAR / 2}" width="{median - LABEL:.1f}" height="{BAR}" rx="2"/>'
    yield line("spread", least, most, y)
    for x in (least, most):
        yield line("spread", x, x, y - 3, y + 3)
    for kind, bound in (("floor", bar.floor), ("goal", bar.goal)):
        if bound is not None:
            yield line(kind, LABEL + bound * scale, LABEL + bound * scale, y - BAR / 2 - 3, y + BAR / 2 + 3)
    yield text(most + 8, y + 4, three_digits(bar.median))


def slower(waits: Sequence[Wait]) -> tuple[float, Any]:
    """A row for each case and broker: dots at p50, p99 and p99.9, on a scale on which each step is ten times as long."""
    first = math.floor(math.log10(min(wait.quantiles[0] for wait in waits)))
    last = math.ceil(math.log10(max(wait.quantiles[2] for wait in waits)))
    scale = (WIDTH - LABEL - RIGHT) / (last - first)

    def at(microseconds: float) -> float:
        return LABEL + (math.log10(microseconds) - first) * scale

    def draw(top: float) -> Iterator[str]:
        bottom = top + ROW * len(waits)
        yield text(16, top - 14, "Until an acknowledgement: p50, p99, p99.9", "title")
        for tick in range(first, last + 1):
            yield line("grid", at(10**tick), at(10**tick), top - 4, bottom)
            yield text(at(10**tick), bottom + 14, f"{10**tick:,} µs" if tick < 3 else f"{10 ** (tick - 3):,} ms", "small", "middle")
        for number, wait in enumerate(waits):
            y, kind = top + ROW * (number + 0.5), "kafka" if wait.by == KAFKA else "ours"
            yield text(LABEL - 10, y + 4, f"{wait.case}: {'Kafka' if wait.by == KAFKA else OURS}", "", "end")
            yield line(f"range {kind}", at(wait.quantiles[0]), at(wait.quantiles[2]), y)
            for radius, quantile in zip((5, 4, 3), wait.quantiles, strict=True):
                yield f'<circle class="{kind}" cx="{at(quantile):.1f}" cy="{y:.1f}" r="{radius}"/>'

    return ROW * len(waits), draw
