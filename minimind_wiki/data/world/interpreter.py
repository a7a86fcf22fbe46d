"""A small interpreter for the programs of the world: a few statements of Python, and nothing else.

It walks the syntax tree with a budget of steps, so a program that comes from a model can be run
without trust: there are no attributes, no imports, no names but its own, and it always ends.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

STEPS = 2000
_BIGGEST, _LONGEST = 10**9, 10_000
_OPERATORS: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Lt: operator.lt,
    ast.Gt: operator.gt, ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.LtE: operator.le,
    ast.GtE: operator.ge,
}  # fmt: skip
_BUILTINS: dict[str, Callable[..., Any]] = {
    "len": len, "max": max, "min": min, "sum": sum, "sorted": sorted,
}  # fmt: skip


class CannotRun(ValueError):
    """The program uses something that is not known here, fails, or does not end in time."""


class _Return(Exception):
    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value


def _small(value: Any) -> Any:
    """The value, unless it is so big that a few steps more would fill the memory."""
    if abs(value) > _BIGGEST if isinstance(value, int) else len(value) > _LONGEST:
        raise CannotRun("a value became too big")
    return value


class _Run:
    """One call of a function: its names and the steps that are left."""

    def __init__(self, names: dict[str, Any]) -> None:
        self.names, self.left = names, STEPS

    def step(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise CannotRun(f"the program does not end within {STEPS} steps")

    def block(self, body: list[ast.stmt]) -> None:
        for statement in body:
            self.statement(statement)

    def statement(self, node: ast.stmt) -> None:
        self.step()
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                self.names[name] = self.value(value)
            case ast.AugAssign(target=ast.Name(id=name), op=op, value=value):
                self.names[name] = self.binary(op, self.name(name), self.value(value))
            case ast.Return(value=ast.expr() as value):
                raise _Return(self.value(value))
            case ast.If(test=test, body=body, orelse=orelse):
                self.block(body if self.value(test) else orelse)
            case ast.For(target=ast.Name(id=name), iter=over, body=body, orelse=[]):
                for item in self.value(over):
                    self.step()
                    self.names[name] = item
                    self.block(body)
            case ast.Expr(value=ast.Constant(value=str())):
                pass  # the doc line
            case _:
                raise CannotRun(f"{type(node).__name__} is not known here")

    def name(self, name: str) -> Any:
        if name not in self.names:
            raise CannotRun(f"{name!r} has no value")
        return self.names[name]

    def binary(self, op: ast.AST, left: Any, right: Any) -> Any:
        if type(op) not in _OPERATORS:
            raise CannotRun(f"the operator {type(op).__name__} is not known here")
        if isinstance(op, ast.Mult) and not (type(left) is int and type(right) is int):
            raise CannotRun("only whole numbers can be multiplied")
        try:
            result = _OPERATORS[type(op)](left, right)
        except (TypeError, ZeroDivisionError) as error:
            raise CannotRun(str(error)) from error
        return _small(result)

    def value(self, node: ast.expr) -> Any:
        self.step()
        match node:
            case ast.Constant(value=int() | str() as value):
                return _small(value)
            case ast.Name(id=name):
                return self.name(name)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self.binary(ast.Sub(), 0, self.value(operand))
            case ast.BinOp(left=left, op=op, right=right):
                return self.binary(op, self.value(left), self.value(right))
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return self.binary(op, self.value(left), self.value(right))
            case ast.List(elts=items):
                return [self.value(item) for item in items]
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _BUILTINS:
                try:
                    return _BUILTINS[name](*[self.value(a) for a in args])
                except (TypeError, ValueError) as error:
                    raise CannotRun(str(error)) from error
            case ast.ListComp(
                elt=elt,
                generators=[ast.comprehension(ast.Name(id=name), over, tests, is_async=0)],
            ):
                made, before = [], dict(self.names)
                for item in self.value(over):
                    self.names[name] = item
                    if all(self.value(test) for test in tests):
                        made.append(self.value(elt))
                self.names = before
                return made
            case _:
                raise CannotRun(f"{type(node).__name__} is not known here")


def run(source: str, call: str) -> Any:
    """The value of `call`, which calls one of the functions that `source` defines with literals.

    CannotRun, a ValueError, names what is not known, fails or takes too long.

    >>> run("def f(x):\\n    return x * 2 + 1", "f(20)")
    41
    """
    if len(source) + len(call) > _LONGEST:
        raise CannotRun(f"the program is longer than {_LONGEST} characters")
    try:
        made, asked = ast.parse(source).body, ast.parse(call, mode="eval").body
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise CannotRun(f"this is no program ({error})") from error
    functions = {f.name: f for f in made if isinstance(f, ast.FunctionDef)}
    match asked:
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in functions:
            wanted = [a.arg for a in functions[name].args.args]
        case _:
            raise CannotRun(f"{call!r} calls no function of the program")
    if len(wanted) != len(args):
        raise CannotRun(f"{name} takes {len(wanted)} arguments")
    try:
        given = _Run({})
        inside = _Run(dict(zip(wanted, [given.value(a) for a in args], strict=True)))
        inside.block(functions[name].body)
    except _Return as result:
        return result.value
    except (TypeError, RecursionError) as error:
        raise CannotRun(str(error)) from error
    return None
