"""A badge (SVG) that says in four words how a broker did."""

from __future__ import annotations

from html import escape

#: About the width of a letter at this size, in pixels.
LETTER, PADDING, HEIGHT = 6.6, 10, 20
GREEN, RED, GREY = "#2f7d4f", "#b3261e", "#6b7380"


def badge(status: int, must_failed: int, judged: int) -> str:
    """The badge of a run, by its exit status (see `reports`), the number of broken MUST rules, and of cases that were judged."""
    told, colour = {
        0: (f"every MUST held ({judged} cases)", GREEN),
        1: (f"{must_failed} MUST broken" if must_failed else "inconclusive", RED if must_failed else GREY),
        4: ("a SHOULD is broken", RED),
    }.get(status, ("not judged", GREY))
    return drawn("fiducial conform", told, colour)


def drawn(label: str, told: str, colour: str) -> str:
    """A label on the left, what is told on the right."""
    left, right = (round(len(text) * LETTER + 2 * PADDING) for text in (label, told))
    both = escape(f"{label}: {told}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="{HEIGHT}" role="img" aria-label="{both}"><title>{both}</title>'
        f'<clipPath id="round"><rect width="{left + right}" height="{HEIGHT}" rx="4"/></clipPath>'
        f'<g clip-path="url(#round)"><rect width="{left}" height="{HEIGHT}" fill="#3d4450"/>'
        f'<rect x="{left}" width="{right}" height="{HEIGHT}" fill="{colour}"/></g>'
        f'<g fill="#fff" text-anchor="middle" font-family="Verdana, DejaVu Sans, sans-serif" font-size="11">'
        f'<text x="{left / 2}" y="14" textLength="{left - 2 * PADDING}">{escape(label)}</text>'
        f'<text x="{left + right / 2}" y="14" textLength="{right - 2 * PADDING}">{escape(told)}</text></g></svg>\n'
    )
