"""Tools that a model may call, and that really run: a calculator, an inventory, a calendar."""

from __future__ import annotations

import ast
import json
import operator
from collections.abc import Callable, Mapping
from typing import Any

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv, ast.Div: operator.truediv, ast.Mod: operator.mod,
}  # fmt: skip


def calculate(expression: str) -> float:
    """The value of an arithmetic expression, by walking its syntax tree; nothing else can run.

    ValueError for anything but numbers, + - * / // %, signs and brackets.

    >>> calculate("3 * (4 + 5) - 1")
    26
    """
    if len(expression) > 200:
        raise ValueError("the expression is longer than 200 characters")
    try:
        tree = ast.parse(expression, mode="eval")
        return _value(tree.body)
    except (SyntaxError, ZeroDivisionError, RecursionError) as error:
        raise ValueError(f"{expression!r} cannot be calculated ({error})") from error


def _value(node: ast.expr) -> float:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return node.value  # type: ignore[return-value]
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        return _BINARY[type(node.op)](_value(node.left), _value(node.right))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = _value(node.operand)
        return -value if isinstance(node.op, ast.USub) else value
    raise ValueError("only numbers, + - * / // %, signs and brackets are known")


def _spec(name: str, about: str, **fields: str) -> dict[str, Any]:
    parameters = {
        "type": "object",
        "properties": {key: {"type": kind} for key, kind in fields.items()},
        "required": list(fields),
    }
    function = {"name": name, "description": about, "parameters": parameters}
    return {"type": "function", "function": function}


SPECS = {
    "calculator": _spec("calculator", "Calculates an arithmetic expression.", expression="string"),
    "inventory": _spec("inventory", "How many of an item a shop has.", shop="string",
                       item="string"),
    "calendar": _spec("calendar", "The day of the week some days later.", day="string",
                      days="integer"),
}  # fmt: skip


def call(name: str, arguments: Mapping[str, Any], stock: Mapping[str, Mapping[str, int]]) -> str:
    """Run a tool and return its answer as JSON. ValueError for a tool or argument that is unknown.

    `stock` is what each shop has.

    >>> call("calendar", {"day": "Sunday", "days": 2}, {})
    '{"day": "Tuesday"}'
    """
    try:
        if name == "calculator":
            return json.dumps({"result": calculate(str(arguments["expression"]))})
        if name == "inventory":
            shop = stock[str(arguments["shop"])]
            return json.dumps({"count": shop.get(str(arguments["item"]), 0)})
        if name == "calendar":
            later = DAYS.index(str(arguments["day"])) + int(arguments["days"])
            return json.dumps({"day": DAYS[later % 7]})
    except KeyError as error:
        raise ValueError(f"{name} does not know {error}") from error
    raise ValueError(f"{name!r} is none of {', '.join(SPECS)}")
