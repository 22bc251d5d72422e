"""The mutants of a function: its source with one thing wrong, as a code object that can be put in the place of its own.

What can be wrong is what people get wrong: a comparison turned round or off at its boundary, `and` for `or`, a condition that is not asked,
a constant off by one, a sum for a difference, a field that is not changed, the answer of another branch. Annotations, defaults, docstrings and
decorators stay as they are.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from types import CodeType, FunctionType
from typing import Any

from fiducial.models.values import value


@value
class Mutant:
    """A function with one thing wrong."""

    title: str  # for example: line 12: `a < b` → `a <= b`
    code: CodeType


COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
OPPOSITES = {"min": "max", "max": "min", "any": "all", "all": "any"}


def mutants_of(function: Callable[..., Any]) -> list[Mutant]:
    """Every mutant that is not the function itself, in the order of its source; no code twice."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(definition, ast.FunctionDef | ast.AsyncFunctionDef)
    first_line = inspect.getsourcelines(function)[1]
    bare = Bare().visit(definition)
    seen, found = {ast.dump(bare)}, list[Mutant]()
    for at, node in enumerate(ast.walk(bare)):
        for other in variants(node, bare):
            tree = replaced(bare, at, other)
            if ast.dump(tree) not in seen:
                seen.add(ast.dump(tree))
                line = first_line + getattr(node, "lineno", 1) - 1
                found.append(Mutant(f"line {line}: `{said(node)}` → `{said(other)}`", compiled(tree)))
    return found


class Bare(ast.NodeTransformer):
    """A function without what does not decide anything when it is called."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Neither decorators, defaults, annotations nor docstring."""
        node.decorator_list, node.returns = [], None
        node.args.defaults, node.args.kw_defaults = [], [None for _ in node.args.kwonlyargs]
        for argument in ast.walk(node.args):
            if isinstance(argument, ast.arg):
                argument.annotation = None
        if ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        return self.generic_visit(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        """Likewise."""
        return self.visit_FunctionDef(node)  # type: ignore[arg-type]

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        """An assignment like any other."""
        if node.value is None:
            return ast.copy_location(ast.Pass(), node)
        return ast.copy_location(ast.Assign([node.target], node.value), node)

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        """What it says is true anyway."""
        return ast.copy_location(ast.Pass(), node)


def said(node: ast.AST) -> str:
    """A node in one line, not too long; of a branch, what it is taken for."""
    text = f"if {ast.unparse(node.test)}" if isinstance(node, ast.If) else ast.unparse(ast.fix_missing_locations(node))
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:57]}..."


def variants(node: ast.AST, function: ast.AST) -> Iterator[ast.AST]:
    """What may stand in the place of a node."""
    match node:
        case ast.Compare(left, ops, comparators):
            for at, op in enumerate(ops):
                for other in COMPARISONS[type(op)]:
                    yield ast.Compare(left, [*ops[:at], other(), *ops[at + 1 :]], comparators)
        case ast.BoolOp(op, values):
            yield ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
            for at in range(len(values)):
                rest = [*values[:at], *values[at + 1 :]]
                yield rest[0] if len(rest) == 1 else ast.BoolOp(op, rest)
        case ast.UnaryOp(ast.Not(), operand):
            yield operand
        case ast.BinOp(left, op, right) if type(op) in OPERATORS:
            yield ast.BinOp(left, OPERATORS[type(op)](), right)
        case ast.Constant(bool(constant)):
            yield ast.Constant(not constant)
        case ast.Constant(int(constant)):
            yield ast.Constant(constant + 1)
            yield ast.Constant(constant - 1)
        case ast.Constant(str(constant) | bytes(constant)) if constant:
            yield ast.Constant(constant[:0])
        case ast.IfExp(_, body, orelse):
            yield body
            yield orelse
        case ast.If(test, body, orelse):
            yield ast.If(ast.UnaryOp(ast.Not(), test), body, orelse)
            yield ast.If(ast.Constant(False), body, orelse)
            yield ast.If(ast.Constant(True), body, orelse)
        case ast.comprehension(target, iterated, [_, *_], is_async):
            yield ast.comprehension(target, iterated, [], is_async)
        case ast.Call(ast.Name(name), arguments, keywords) if name in OPPOSITES:
            yield ast.Call(ast.Name(OPPOSITES[name], ast.Load()), arguments, keywords)
        case ast.Call(ast.Name("changed") as called, arguments, keywords):
            for at in range(len(keywords)):
                yield ast.Call(called, arguments, [*keywords[:at], *keywords[at + 1 :]])
        case ast.Call(called, arguments, keywords):
            for at in range(len(arguments) - 1):
                swapped = [*arguments[:at], arguments[at + 1], arguments[at], *arguments[at + 2 :]]
                yield ast.Call(called, swapped, keywords)
        case ast.Attribute(ast.Name("Error") as errors, name):
            yield ast.Attribute(errors, "NONE" if name != "NONE" else "UNKNOWN_SERVER_ERROR", ast.Load())
        case ast.Tuple([_, _, *_] as parts, ast.Load()):
            yield ast.Tuple([*parts[1:], parts[0]], ast.Load())
        case ast.Expr(ast.Call()) | ast.AugAssign():
            yield ast.Pass()
        case ast.Break() | ast.Continue():
            yield ast.Continue() if isinstance(node, ast.Break) else ast.Break()
        case ast.Match(subject, cases) if len(cases) > 1:
            for at in range(len(cases)):
                yield ast.Match(subject, [*cases[:at], *cases[at + 1 :]])
        case ast.Return(returned) if returned is not None:
            yield from other_returns(returned, function)


def other_returns(returned: ast.expr, function: ast.AST) -> Iterator[ast.AST]:
    """The answers of the other branches; of a function that has one answer only, an argument as it came, or none."""
    others = [node.value for node in ast.walk(function) if isinstance(node, ast.Return) and node.value is not None]
    others = [other for other in others if ast.dump(other) != ast.dump(returned)]
    for other in others:
        yield ast.Return(other)
    if not others:
        assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for argument in function.args.args[:1]:
            yield ast.Return(ast.Name(argument.arg, ast.Load()))
        yield ast.Return(ast.Constant(None))


def replaced(tree: ast.AST, at: int, other: ast.AST) -> ast.AST:
    """A copy of the tree with another node in the place of the one that a walk meets as number `at`."""
    copy = deepcopy(tree)
    target = next(node for number, node in enumerate(ast.walk(copy)) if number == at)

    class Replacing(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> ast.AST:
            return ast.copy_location(deepcopy(other), node) if node is target else self.generic_visit(node)

    changed: ast.AST = Replacing().visit(copy)
    return changed


def compiled(definition: ast.AST) -> CodeType:
    """The code object of a function."""
    module = ast.fix_missing_locations(ast.Module([definition], []))  # type: ignore[list-item]
    constants = compile(module, "mutant", "exec", dont_inherit=True).co_consts
    return next(constant for constant in constants if isinstance(constant, CodeType))


@contextmanager
def put_in(function: FunctionType, code: CodeType) -> Iterator[None]:
    """The function with other code, while the block runs: it is the same object, so every table, ladder and module that holds it has the mutant."""
    original = function.__code__
    function.__code__ = code
    try:
        yield
    finally:
        function.__code__ = original
