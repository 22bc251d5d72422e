"""The same models compiled by Cython, an optional build: `make compiled` puts them into build/compiled and holds them against pure Python.

All else of the package is there too, by links, so that a broker runs on them: `PYTHONPATH=build/compiled fiducial serve`. `--build` only builds.

On one core of the machine this was written on, compiled searches take 2.6 to 2.9 times as many states a second, walks 2.2 times as many steps:
13,000 states/s (460,000 steps/s) against 4,900 (170,000) in the universe of the log. Not ten times: what is left is spent in Python's own calls,
attribute look-ups and integers. Calls in C would be quicker, but no flaw could be switched on behind them; integers in C would wrap.

There is no second source. A value is what `@value` makes of a class: attrs at run time; here, before the compiler sees the module, an extension
type with the same fields, equality, hash and text (`expanded`). That is needed: Cython alone speeds up none of attrs' forms, for what attrs
generates stays interpreted. All else is left as it is written, but for annotations, of which only those that name such a type are kept.

Functions stay Python functions, looked up by name in their module at each call: so flaws are switched on here by the same means.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import fiducial
import fiducial.models.log
from fiducial.models.checkers.explore import explore
from fiducial.models.checkers.main import (
    REGISTRIES,
    every_walked,
    everyday,
    properties_of,
    refute,
    relation_of,
)
from fiducial.models.checkers.report import Screen
from fiducial.models.checkers.walk import Choice, walk
from fiducial.models.flaws import FLAWS
from fiducial.models.values import changed

#: What a step of a search goes through, and a request to a group. All other modules are there too, as they are.
COMPILED = (
    "values",
    "rules",
    "batches",
    "kernels",
    "log",
    "idempotence",
    "partition",
    "events",
    "state",
    "groups",
    "group_phases",
    "group_events",
    "group_offsets",
    "group_records",
    "group_requests",
    "broker",
    "properties",
    "checkers/universe",
    "checkers/judge",
    "checkers/explore",
    "checkers/walk",
    "checkers/relation",
)
PACKAGE = Path(fiducial.__file__).parent
MODELS = Path(__file__).resolve().parents[1]
FOLDER = MODELS.parent / "build" / "compiled"

# From a module to what the compiler is given


def fields_of(node: ast.stmt) -> list[ast.AnnAssign] | None:
    """The fields of a class that is made a value, None of anything else."""
    if not isinstance(node, ast.ClassDef):
        return None
    if "value" not in [decorator.id for decorator in node.decorator_list if isinstance(decorator, ast.Name)]:
        return None
    return [part for part in node.body if isinstance(part, ast.AnnAssign)]


def names_of(fields: list[ast.AnnAssign]) -> list[str]:
    """What the fields are called."""
    return [ast.unparse(field.target) for field in fields]


def values_of(module: ast.Module) -> dict[str, list[ast.AnnAssign]]:
    """The values that a module defines, with their fields."""
    found = ((node, fields_of(node)) for node in module.body)
    return {node.name: fields for node, fields in found if isinstance(node, ast.ClassDef) and fields is not None}


class Types:
    """The extension types that a module knows by name: its own, and those that it imports."""

    def __init__(self, module: ast.Module, every: Mapping[str, Mapping[str, list[ast.AnnAssign]]]) -> None:
        self.own = values_of(module)
        self.imported = {
            node.module: [name.name for name in node.names if name.name in every[node.module]]
            for node in module.body
            if isinstance(node, ast.ImportFrom) and node.module is not None and node.module in every
        }
        self.names = {*self.own, *(name for names in self.imported.values() for name in names)}

    def named(self, annotation: ast.expr | None) -> str | None:
        """The one that an annotation names; None for anything else, a union too."""
        return annotation.id if isinstance(annotation, ast.Name) and annotation.id in self.names else None

    def declaration(self) -> str:
        """What other modules are compiled against (.pxd)."""
        lines = [f"from {module} cimport {', '.join(names)}" for module, names in self.imported.items() if names]
        lines += [f"cdef class {name}" for name in self.own]
        for name, fields in self.own.items():
            lines.append(f"cdef class {name}:")
            lines += [f"    cdef readonly {self.named(field.annotation) or 'object'} {ast.unparse(field.target)}" for field in fields]
            lines += ["    pass"]
        return "\n".join(lines) + "\n"


VALUE_METHODS = """
def __init__({signature}):
    {assignments}

def __eq__(self, other):
    if self is other:
        return True
    if type(other) is not {name}:
        return NotImplemented
    that: {name} = other
    return {equalities}

def __hash__(self):
    return hash(({fields}))

def __repr__(self):
    return f"{name}({texts})"

def __reduce__(self):
    return {name}, ({fields})
"""


def value_methods(name: str, fields: list[ast.AnnAssign]) -> list[ast.stmt]:
    """What attrs gives a value."""
    names = names_of(fields)
    signature = ["self", *(f"{one}={ast.unparse(field.value)}" if field.value else one for one, field in zip(names, fields, strict=True))]
    source = VALUE_METHODS.format(
        name=name,
        signature=", ".join(signature),
        assignments="; ".join(f"self.{one} = {one}" for one in names) or "pass",
        equalities=" and ".join(f"(self.{one} is that.{one} or self.{one} == that.{one})" for one in names) or "True",
        fields="".join(f"self.{one}, " for one in names),
        texts=", ".join(f"{one}={{self.{one}!r}}" for one in names),
    )
    return ast.parse(f"__match_args__ = {tuple(names)!r}\n{source}").body


class Expander(ast.NodeTransformer):
    """A module with its values made extension types, and annotations that name no such type left out."""

    def __init__(self, types: Types) -> None:
        self.types = types

    def visit_Module(self, node: ast.Module) -> ast.AST:
        """The compiler's own module is imported first."""
        place = next(at for at, part in enumerate(node.body) if not isinstance(part, ast.Expr)) + 1
        node.body.insert(place, ast.Import([ast.alias("cython")]))
        return self.generic_visit(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> list[ast.stmt]:
        """Types are imported from their declarations, all else from the module itself."""
        typed = [name for name in node.names if name.name in self.types.imported.get(node.module or "", ())]
        rest = [name for name in node.names if name not in typed]
        parts: list[ast.stmt] = [ast.ImportFrom(f"cython.cimports.{node.module}", typed, 0)] if typed else []
        return [*parts, ast.ImportFrom(node.module, rest, 0)] if rest else parts

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        """A value; other classes as they are."""
        fields = fields_of(node)
        if fields is None:
            return self.generic_visit(node)
        rest = [self.visit(part) for part in node.body if part not in fields]
        extension_type = ast.parse("cython.cclass", mode="eval").body
        body = [*value_methods(node.name, fields), *rest]
        return ast.ClassDef(name=node.name, bases=[], keywords=[], body=body, decorator_list=[extension_type])

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """What it returns is anything."""
        node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        """An argument, of an extension type or of any."""
        if self.types.named(node.annotation) is None:
            node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        """A variable, likewise."""
        if self.types.named(node.annotation) is not None:
            return self.generic_visit(node)
        return None if node.value is None else self.generic_visit(ast.Assign(targets=[node.target], value=node.value))


def expanded(module: ast.Module, types: Types) -> str:
    """The source of a module for the compiler."""
    return ast.unparse(ast.fix_missing_locations(Expander(types).visit(module))) + "\n"


# The build


def module_of(name: str) -> str:
    """The dotted name of one of COMPILED."""
    return f"fiducial.models.{name.replace('/', '.')}"


def sources() -> dict[str, str]:
    """What goes into the folder: every module of the models, those that are compiled in the form that the compiler is given."""
    found = {"fiducial/__init__.py": (PACKAGE / "__init__.py").read_text(encoding="utf-8")}
    for path in sorted(MODELS.rglob("*.py")):
        found[f"fiducial/models/{path.relative_to(MODELS)}"] = path.read_text(encoding="utf-8")
    modules = {name: ast.parse(found[f"fiducial/models/{name}.py"]) for name in COMPILED}
    every = {module_of(name): values_of(module) for name, module in modules.items()}
    for name, module in modules.items():
        types = Types(module, every)
        found[f"fiducial/models/{name}.pxd"] = types.declaration()
        found[f"fiducial/models/{name}.py"] = expanded(module, types)
    return found


def build(folder: Path) -> None:
    """Make `folder` a place to import everything from, the models compiled; what has not changed is not compiled again."""
    for name, text in sources().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    files = [f"fiducial/models/{name}.py" for name in COMPILED]
    command = [sys.executable, "-m", "Cython.Build.Cythonize", "-3", "-X", "auto_pickle=False", "--inplace"]
    done = subprocess.run([*command, f"--parallel={os.cpu_count()}", *files], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"cython: {done.stdout}{done.stderr}")
    link_all_else(folder / "fiducial")


def link_all_else(package: Path) -> None:
    """What is no model is found where it is."""
    for path in PACKAGE.iterdir():
        link = package / path.name
        if path.name not in (MODELS.name, "__init__.py", "__pycache__"):
            link.unlink(missing_ok=True)
            link.symlink_to(path.resolve())


# The comparison


def found() -> dict[str, Any]:
    """What the engines find in this process: of each run everything but the time, and the seconds and the count that make its speed."""
    small = changed(everyday(), flaw_states_max=3_000, flaw_walk_steps=3_000)
    runs = {}
    for universe in small.searched_for_flaws:
        seen = explore(universe, tuple(properties_of(universe).values()), relation=relation_of(universe))
        same = [seen.claim, seen.states, seen.steps, seen.depth, sorted(seen.witnessed), seen.violation]
        runs[f"search: {universe.name}"] = {"same": same, "states": seen.states, "steps": seen.steps, "seconds": seen.seconds}
    for universe in every_walked():
        for choice in Choice:
            properties = tuple(properties_of(universe).values())
            walked = walk(universe, properties, seed=1, steps_max=30_000, choice=choice, relation=relation_of(universe))
            reached = sorted((str(key), count) for key, count in (walked.actions + walked.outcomes).items())
            same = [walked.walks, walked.steps, reached, sorted(walked.witnessed), walked.violation]
            runs[f"walk: {universe.name}, {choice.value}"] = {"same": same, "states": None, "steps": walked.steps, "seconds": walked.seconds}
    began, refuted = process_time(), list[Any]()
    for one in FLAWS.values():
        if any(one.violates in registry for registry in REGISTRIES):
            rows = refute(one.id, small.searched_for_flaws, small)
            refuted.append([[one.id, row.engine, row.universe, row.depth, row.states, row.story] for row in rows])
    runs["flaws"] = {"same": refuted, "states": None, "steps": None, "seconds": process_time() - began}
    return {"compiled": not str(fiducial.models.log.__file__).endswith(".py"), "runs": runs}


def found_in(folder: Path | None) -> dict[str, Any]:
    """The same of a process that imports the models from `folder`."""
    path = [str(folder)] if folder else []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    command = [sys.executable, "-m", "fiducial.models.checkers.compiled", "--found"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    said = json.loads(done.stdout)
    assert said["compiled"] == (folder is not None), f"the models were imported from the wrong place: {path}"
    runs: dict[str, Any] = said["runs"]
    return runs


def compare(folder: Path, screen: Screen) -> list[str]:
    """Build, run the same engines over both, show the speed of each; where they did not find the same."""
    began = perf_counter()
    build(folder)
    built = perf_counter() - began
    pure, compiled = found_in(None), found_in(folder)
    rows, complaints = list[tuple[object, ...]](), list[str]()
    for name, run in pure.items():
        other = compiled[name]
        speeds = [int(one["states"] / one["seconds"]) if one["states"] else None for one in (run, other)]
        speeds += [int(one["steps"] / one["seconds"]) if one["steps"] else None for one in (run, other)]
        is_same = run["same"] == other["same"]
        rows.append((name, *speeds, run["seconds"] / other["seconds"], "the same" if is_same else "DIFFERENT"))
        if not is_same:
            complaints.append(f"compiled models find something else: {name}")
    heads = ("run", "states/s pure", "compiled", "steps/s pure", "compiled", "times as fast", "found")
    screen.table(f"The models compiled by Cython (built in {built:.0f} s)", heads, rows)
    return complaints


def main(argv: Sequence[str]) -> int:
    """Build and compare; `--build` does not compare, and `--found` is what the two processes are started with."""
    if list(argv) == ["--found"]:
        print(json.dumps(found()))
        return 0
    if list(argv) == ["--build"]:
        build(FOLDER)
        return 0
    screen = Screen()
    complaints = compare(FOLDER, screen)
    for complaint in complaints:
        screen.say(screen.bad(complaint))
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
