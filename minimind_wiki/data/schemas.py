"""The shapes of MiniMind's JSONL rows, and a checker that names each fault.

Pretraining rows are `{"text"}`, chats `{"conversations": [{role, content, …}]}`, preferences
`{"chosen": […], "rejected": […]}`, agent rows are chats with `"gt"`. The checker reports file line,
field and reason, and goes on, so that one pass over a file finds every bad row.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from minimind_wiki.errors import unknown

ROLES = ("system", "user", "assistant", "tool")
OPTIONAL_STRINGS = ("reasoning_content", "tools", "tool_calls")


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong in one row. `line` counts from 1; `field` is empty for the row as a whole."""

    line: int
    field: str
    reason: str

    def __str__(self) -> str:
        return f"{self.line}: {self.field + ': ' if self.field else ''}{self.reason}"


class _Bad(Exception):
    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field, self.reason = field, reason


def _string(row: dict[str, Any], key: str, where: str = "", empty: bool = False) -> str:
    field = where + key
    if key not in row:
        raise _Bad(field, f'the key "{key}" is missing')
    value = row[key]
    if not isinstance(value, str):
        raise _Bad(field, f"{_kind(value)} where a string must stand")
    if not empty and not value.strip():
        raise _Bad(field, "the string is empty")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise _Bad(field, f"a lone surrogate at character {error.start}, not a text") from error
    return value


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}
    return "null" if value is None else names.get(type(value), "a number")


def _json_list(text: str, field: str) -> None:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise _Bad(field, f"a string that must hold JSON does not ({error})") from error
    if not isinstance(value, list):
        raise _Bad(field, f"{_kind(value)} inside the string where a list must stand")


def _messages(row: dict[str, Any], key: str) -> list[dict[str, Any]]:
    if key not in row:
        raise _Bad(key, f'the key "{key}" is missing')
    if not isinstance(row[key], list) or not row[key]:
        raise _Bad(key, "a list of at least one message must stand here")
    for index, message in enumerate(row[key]):
        where = f"{key}[{index}]."
        if not isinstance(message, dict):
            raise _Bad(where[:-1], f"{_kind(message)} where a message object must stand")
        role = _string(message, "role", where)
        if role not in ROLES:
            raise _Bad(f"{where}role", f"{role!r} is none of {', '.join(ROLES)}")
        calls = bool(message.get("tool_calls") or message.get("reasoning_content"))
        _string(message, "content", where, empty=calls or role == "system" or role == "tool")
        for name in OPTIONAL_STRINGS:
            if message.get(name) is not None:
                text = _string(message, name, where, empty=True)
                if name != "reasoning_content" and text:
                    _json_list(text, where + name)
    return row[key]


def _pretrain(row: dict[str, Any]) -> None:
    _string(row, "text")


def _chat(row: dict[str, Any]) -> None:
    messages = _messages(row, "conversations")
    if all(message["role"] != "assistant" for message in messages):
        raise _Bad("conversations", "no assistant message, so there is nothing to learn from")


def _preference(row: dict[str, Any]) -> None:
    chosen, rejected = _messages(row, "chosen"), _messages(row, "rejected")
    for key, messages in (("chosen", chosen), ("rejected", rejected)):
        if messages[-1]["role"] != "assistant":
            raise _Bad(
                f"{key}[{len(messages) - 1}].role", "the last message must be the assistant's"
            )
    if chosen == rejected:
        raise _Bad("rejected", "equal to chosen, so there is nothing to prefer")


def _agent(row: dict[str, Any]) -> None:
    _messages(row, "conversations")
    if not isinstance(row.get("gt"), list) or not row["gt"]:
        raise _Bad("gt", "a list of the values that the answer must contain must stand here")


SCHEMAS: dict[str, Callable[[dict[str, Any]], None]] = {
    "pretrain": _pretrain,
    "sft": _chat,
    "preference": _preference,
    "agent": _agent,
}


def guess_schema(row: object) -> str:
    """The schema whose keys this row has; `pretrain` when it has none of them."""
    keys = set(row) if isinstance(row, dict) else set()
    if keys & {"chosen", "rejected"}:
        return "preference"
    if "conversations" in keys:
        return "agent" if "gt" in keys else "sft"
    return "pretrain"


def check_rows(lines: Iterable[str], schema: str | None = None) -> tuple[str, int, list[Fault]]:
    """Check every line; returns the schema used, the number of rows and the faults in order.

    Without `schema` the first row that is an object decides which one the file has.
    """
    if schema is not None and schema not in SCHEMAS:
        raise unknown("schema", schema, SCHEMAS)
    rows, faults = 0, []
    for rows, line in enumerate(lines, start=1):
        try:
            row = _object(line)
            schema = schema or guess_schema(row)
            SCHEMAS[schema](row)
        except _Bad as bad:
            faults.append(Fault(rows, bad.field, bad.reason))
    return schema or "pretrain", rows, faults


def _object(line: str) -> dict[str, Any]:
    if not line.strip():
        raise _Bad("", "the line is empty")
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _Bad("", f"not JSON ({error})") from error
    if not isinstance(row, dict):
        raise _Bad("", f"{_kind(row)} where a JSON object must stand")
    return row


def split_lines(text: str) -> list[str]:
    """Lines as editors count them. `str.splitlines` would also break at U+2028 inside a string."""
    lines = text.split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def check_text(text: str) -> tuple[list[str], list[Fault], int]:
    """Texts of a `{"text"}` JSONL file, its faults and its number of rows."""
    lines = split_lines(text)
    _, rows, faults = check_rows(lines, "pretrain")
    return ([] if faults else [json.loads(line)["text"] for line in lines]), faults, rows
