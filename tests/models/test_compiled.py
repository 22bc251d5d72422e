"""What the compiler is given is the module it was made from: a value as an extension type, everything else as it stood."""

from __future__ import annotations

import ast
from pathlib import Path

from fiducial.models.checkers import compiled
from fiducial.models.checkers.compiled import COMPILED, Types, expanded, module_of, sources, values_of

BASE = '''
@value
class Segment:
    """A run of batches."""

    base_offset: int
    size_bytes: int = 0

    @property
    def is_empty(self) -> bool:
        """Nothing in it."""
        return self.size_bytes == 0


class Plain:
    """No value."""
'''

USER = '''"""A module."""

from __future__ import annotations

from sample.base import Plain, Segment

@value
class Log:
    active: Segment
    sealed: tuple[Segment, ...] = ()

@rule("LOG-SUM-1")
def grown(log: Log, by: int) -> Log:
    segment: Segment = log.active
    size: int = segment.size_bytes + by
    return changed(log, active=changed(segment, size_bytes=size))
'''
EVERY = {"sample.base": values_of(ast.parse(BASE))}


def test_values_are_found_with_their_fields() -> None:
    assert {name: compiled.names_of(fields) for name, fields in EVERY["sample.base"].items()} == {"Segment": ["base_offset", "size_bytes"]}


def test_other_modules_are_compiled_against_the_fields() -> None:
    declaration = Types(ast.parse(USER), EVERY).declaration()
    assert declaration.splitlines() == [
        "from sample.base cimport Segment",
        "cdef class Log",
        "cdef class Log:",
        "    cdef readonly Segment active",
        "    cdef readonly object sealed",
        "    pass",
    ]


def test_types_are_kept_and_all_other_annotations_left_out() -> None:
    source = expanded(ast.parse(USER), Types(ast.parse(USER), EVERY))
    for line in (
        "from cython.cimports.sample.base import Segment",
        "from sample.base import Plain",
        "@cython.cclass",
        "    def __init__(self, active, sealed=()):",
        "@rule('LOG-SUM-1')",
        "def grown(log: Log, by):",
        "    segment: Segment = log.active",
        "    size = segment.size_bytes + by",
    ):
        assert line in source.splitlines(), line
    assert source.index("import annotations") < source.index("import cython") < source.index("cimports")


def test_what_is_made_of_a_value_behaves_as_the_value_did() -> None:
    """Read as Python: the methods that are written for it are those that attrs gives it."""
    (segment, *_) = ast.parse(BASE).body
    assert isinstance(segment, ast.ClassDef)
    fields = values_of(ast.parse(BASE))["Segment"]
    made = ast.Module([ast.ClassDef("Segment", [], [], compiled.value_methods("Segment", fields), [])], [])
    names: dict[str, type] = {}
    exec(compile(ast.fix_missing_locations(made), "sample", "exec"), names)
    make = names["Segment"]
    one, same, other = make(5), make(5, size_bytes=0), make(5, 1)
    assert one == same and hash(one) == hash(same) and one != other and one != 5
    assert repr(other) == "Segment(base_offset=5, size_bytes=1)"
    assert other.__reduce__() == (make, (5, 1))
    assert make.__match_args__ == ("base_offset", "size_bytes")  # type: ignore[attr-defined]


def test_everything_is_there_and_what_is_compiled_is_expanded() -> None:
    found = sources()
    for name in COMPILED:
        assert "import cython" in found[f"fiducial/models/{name}.py"], module_of(name)
        assert f"fiducial/models/{name}.pxd" in found
    assert found["fiducial/models/topics.py"] == (compiled.MODELS / "topics.py").read_text(encoding="utf-8")


def test_all_that_is_no_model_is_linked(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    for _ in range(2):  # also where it was built before
        compiled.link_all_else(tmp_path)
    assert not (tmp_path / "models").is_symlink()
    for name in ("cli", "fastpath", "reference", "__main__.py"):
        assert (tmp_path / name).resolve() == (compiled.PACKAGE / name).resolve()
