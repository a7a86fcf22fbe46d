"""Command-line flags and YAML files from dataclasses: a field written once is settable everywhere.

Each field of a configuration gives a flag of its name, with the text below the field as its help.
Values arrive as text (YAML reads `3e-4` as text, too) and become the field's type here, or a
sentence that names the field.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import inspect
import math
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import yaml

from minimind_wiki.errors import MinimindError, WrongCall, unknown


def field_docs(cls: type) -> dict[str, str]:
    """The string below each field of a dataclass, read from its source."""
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(body, ast.ClassDef)
    docs = {}
    for node, after in zip(body.body, body.body[1:], strict=False):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            docs[node.target.id] = " ".join(str(after.value.value).split()) if is_text else ""  # type: ignore[attr-defined]
    return docs


def field_types(cls: type) -> dict[str, type]:
    """Plain type of each field: str, int, float or bool (`int | None` counts as int)."""
    hints = get_type_hints(cls)
    return {item.name: _plain(hints[item.name]) for item in dataclasses.fields(cls)}


def _plain(hint: Any) -> type:
    if get_origin(hint) is None and isinstance(hint, type):
        return hint
    for part in get_args(hint):
        if part is not type(None):
            return part if isinstance(part, type) else type(part)  # a Literal's first value
    return str


def read_yaml(path: Path, types: dict[str, type]) -> dict[str, Any]:
    """Fields from a flat YAML file, each turned into its field's type or refused by name."""
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MinimindError(f"{path} does not exist. Check the path given to --config.") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise MinimindError(
            f"{path} cannot be read as YAML ({' '.join(str(error).split())})."
        ) from error
    if not isinstance(loaded, dict):
        raise MinimindError(f"{path} must hold one 'field: value' a line, such as 'steps: 500'.")
    return {name: convert(name, value, types, f"{path}: ") for name, value in loaded.items()}


def convert(name: str, value: Any, types: dict[str, type], where: str = "") -> Any:
    """`value` as the field's type. YAML reads 3e-4 as a string, so numbers come here too."""
    name = str(name).replace("-", "_")
    if name not in types:
        raise unknown(f"field in {where.rstrip(': ')}" if where else "field", name, types)
    wanted = types[name]
    if wanted is bool:
        if isinstance(value, bool):
            return value
    elif wanted is str:
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            return str(value)
    elif not isinstance(value, bool):
        try:
            number = float(value)
            if wanted is float:
                return number
            if math.isfinite(number) and number == int(number):
                return int(number)
        except (TypeError, ValueError):
            pass
    kinds = {bool: "true or false", int: "a whole number", float: "a number", str: "a name"}
    raise WrongCall(f"{where}{name} is {value!r}, but it must be {kinds.get(wanted, wanted)}.")


def add_flags(
    parser: argparse.ArgumentParser,
    cls: type,
    title: str,
    skip: Iterable[str] = (),
    default: str | None = None,
) -> None:
    """One flag for each field of `cls` but those in `skip`; what is not given leaves no trace.

    `default` is what the help says of every default, where the class's own is not what counts.
    """
    docs, types, group = field_docs(cls), field_types(cls), parser.add_argument_group(title)
    for item in dataclasses.fields(cls):
        if item.name in skip:
            continue
        flag = "--" + item.name.replace("_", "-")
        usual = item.default if default is None else default
        text = docs[item.name] + (f" (default: {usual})" if usual != "" else "")
        text = text.replace("%", "%%")
        if types[item.name] is bool:
            group.add_argument(flag, action=argparse.BooleanOptionalAction,
                               default=argparse.SUPPRESS, help=text)  # fmt: skip
        else:
            metavar = {int: "N", float: "X"}.get(types[item.name], "NAME")
            group.add_argument(flag, default=argparse.SUPPRESS, metavar=metavar, help=text)
