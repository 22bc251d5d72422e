"""Java's properties format, which Kafka's server.properties is written in."""

from __future__ import annotations

import re
from collections.abc import Iterator

BLANKS = " \t\f"
ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)")
LETTERS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
#: The name ends at the first blank, = or : that no backslash stands before; one = or : with blanks around it is dropped.
PAIR = re.compile(r"(?P<name>(?:\\.|[^\\ \t\f=:])*)[ \t\f]*[=:]?[ \t\f]*(?P<text>.*)", re.DOTALL)


def parse(text: str) -> dict[str, str]:
    """The pairs in a file; of a name that stands twice, the last."""
    pairs = (PAIR.fullmatch(line) for line in logical_lines(text))
    return {unescaped(pair["name"]): unescaped(pair["text"]).rstrip() for pair in pairs if pair}


def logical_lines(text: str) -> Iterator[str]:
    """Lines without comments and blank ones; a line that ends in an odd number of backslashes goes on in the next."""
    whole = ""
    for line in re.split(r"\r\n|\r|\n", text):
        piece = line.lstrip(BLANKS)
        if not whole and (not piece or piece[0] in "#!"):
            continue
        whole += piece
        if (len(piece) - len(piece.rstrip("\\"))) % 2:
            whole = whole[:-1]
            continue
        yield whole
        whole = ""
    if whole:
        yield whole


def unescaped(text: str) -> str:
    """With what the backslashes stand for."""
    return ESCAPE.sub(lambda found: character(found[1]), text)


def character(escape: str) -> str:
    """What a backslash and this stand for."""
    if len(escape) == 5:
        return chr(int(escape[1:], 16))
    return LETTERS.get(escape, escape)
