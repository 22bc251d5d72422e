"""What a Cython room cimports it uses: no compiler and no linter tells of a name that is left over."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: What is generated cimports what its messages might need.
GENERATED = {"codec_structs.pyx", "codec_objects.pyx"}
ROOMS = [room for folder in ("fastpath", "tests") for room in sorted((ROOT / folder).rglob("*.p[yx][xd]")) if room.name not in GENERATED]
CIMPORT = re.compile(r"^(?:from [\w.]+ )?cimport (\([^)]*\)|[^\n]*)", re.MULTILINE)
COMMENTS = re.compile(r'""".*?"""|#[^\n]*', re.DOTALL)


def unused(text: str) -> list[str]:
    """The names that are cimported, and not used."""
    code = COMMENTS.sub("", text)
    names = [one.split(" as ")[-1].strip() for found in CIMPORT.findall(code) for one in found.strip("()").split(",")]
    rest = CIMPORT.sub("", code)
    return [name for name in names if name and not re.search(rf"(?<![\w.]){name}\b", rest)]


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: str(room.relative_to(ROOT)))
def test_every_name_that_is_cimported_is_used(room: Path) -> None:
    assert unused(room.read_text(encoding="utf-8")) == []


def test_a_name_that_is_left_over_is_told() -> None:
    text = "from a cimport b, c as d\nfrom e cimport (\n    f,\n    g,\n)\n\n\ndef h():\n    \"\"\"d\"\"\"\n    return b + x.f  # g\n"
    assert unused(text) == ["d", "f", "g"]
