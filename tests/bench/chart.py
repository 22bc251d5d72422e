"""A drawing of how much cheaper a record is, for the results that are kept: one bar for each kind of work, with the spread of the rounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from bench.report import Spread, three_digits

WIDTH, LABEL, RIGHT = 720, 190, 60
ROW, BAR, TOP, BOTTOM = 30, 16, 66, 34
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-size: 16px; font-weight: 600 }
.small { font-size: 11px; fill: #57606a }
.bar { fill: #2f6f9f }
.spread { stroke: #24292f; stroke-width: 1.5 }
.grid { stroke: #d0d7de }
.one { stroke: #b35900; stroke-width: 1.5 }
.paper { fill: #ffffff }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .small { fill: #9198a1 } .bar { fill: #58a6d6 } .spread { stroke: #e6edf3 } .grid { stroke: #3d444d } .one { stroke: #f0883e } .paper { fill: #0d1117 }
}"""


def chart(cheaper_by: Sequence[tuple[str, Spread]], circumstances: Mapping[str, str]) -> str:
    """An SVG. A bar ends at the median, the line through its end goes from the least to the most; 1 is Apache Kafka."""
    most = max(spread.most for _, spread in cheaper_by)
    step = next(step for step in (1, 2, 5, 10, 20, 50) if most / step <= 8)
    scale = (WIDTH - LABEL - RIGHT) / most
    bottom = TOP + ROW * len(cheaper_by)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + BOTTOM}" width="{WIDTH}" height="{bottom + BOTTOM}">',
        f"<style>{STYLE}\n</style>",
        f'<rect class="paper" width="{WIDTH}" height="{bottom + BOTTOM}"/>',
        '<text class="title" x="16" y="26">Records per CPU-second of the server, Apache Kafka = 1</text>',
        f'<text class="small" x="16" y="44">{escape(said(circumstances))}</text>',
    ]
    for tick in range(0, int(most) + 1, step):
        x = LABEL + tick * scale
        lines.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 6}" y2="{bottom}"/>')
        lines.append(f'<text class="small" x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{tick}</text>')
    for number, (name, spread) in enumerate(cheaper_by):
        lines += bar(name, spread, TOP + ROW * number + ROW / 2, scale)
    lines.append(f'<line class="one" x1="{LABEL + scale:.1f}" x2="{LABEL + scale:.1f}" y1="{TOP - 6}" y2="{bottom}"/>')
    return "\n".join([*lines, "</svg>\n"])


def bar(name: str, spread: Spread, y: float, scale: float) -> list[str]:
    """One kind of work."""
    least, median, most = (LABEL + value * scale for value in (spread.least, spread.median, spread.most))
    return [
        f'<text x="{LABEL - 10}" y="{y + 4}" text-anchor="end">{escape(name)}</text>',
        f'<rect class="bar" x="{LABEL}" y="{y - BAR / 2}" width="{median - LABEL:.1f}" height="{BAR}" rx="2"/>',
        f'<line class="spread" x1="{least:.1f}" x2="{most:.1f}" y1="{y}" y2="{y}"/>',
        *(f'<line class="spread" x1="{x:.1f}" x2="{x:.1f}" y1="{y - 4}" y2="{y + 4}"/>' for x in (least, most)),
        f'<text x="{most + 8:.1f}" y="{y + 4}">{three_digits(spread.median)}</text>',
    ]


def said(circumstances: Mapping[str, str]) -> str:
    """What it was measured on, in a line."""
    return ", ".join(circumstances[name] for name in ("machine", "date")) + f", Kafka {circumstances['kafka']}, load {circumstances['load']}"
