"""The shapes of rows, and a checker that names each fault.

MiniMind's: pretraining rows are `{"text"}`, chats `{"conversations": [{role, content, …}]}`,
preferences `{"chosen": […], "rejected": […]}`, agent rows are chats with `"gt"`. A chat may have a
verdict, `"label": true`, and a preference its `"margin"`. Benchmark items
are `{"question", "choices", "answer": index}` and `{"question", "answers": […]}`. The checker
reports line, field and reason, and goes on, so that one pass over a file finds every fault. What is
odd but does no harm (an unknown key, CRLF) is a note. Text in a row is data, whatever it contains:
`<|im_start|>` is no fault, because `minimind_wiki.tokenizer.chat` never reads it as control.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from minimind_wiki.errors import unknown

ROLES = ("system", "user", "assistant", "tool")
MESSAGE_KEYS = {"role", "content", "reasoning_content", "tools", "tool_calls"}
MAX_LINE = 1 << 26  # characters; a longer line is a file that lost its line breaks
_ESCAPED = re.compile("[\udc80-\udcff]")  # a byte that is not UTF-8, read with surrogateescape

Found = Iterator[tuple[str, str]]  # field, reason
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong in one row. `line` counts from 1; `field` is empty for the row as a whole."""

    line: int
    field: str
    reason: str

    def __str__(self) -> str:
        return f"{self.line}: {self.field + ': ' if self.field else ''}{self.reason}"


@dataclass(frozen=True, slots=True)
class Checked:
    """One line: its row (None when it is no JSON object), its faults, and what is merely odd."""

    line: int
    row: Row | None
    faults: tuple[Fault, ...]
    notes: tuple[str, ...] = ()


class _Bad(Exception):
    """The line holds no JSON object."""


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}
    return "null" if value is None else names.get(type(value), "a number")


def _string(row: Row, key: str, where: str = "", empty: bool = False) -> Found:
    field, value = where + key, row.get(key)
    if key not in row:
        yield field, f'the key "{key}" is missing'
    elif not isinstance(value, str):
        yield field, f"{_kind(value)} where a string must stand"
    elif not empty and not value.strip():
        yield field, "the string is empty"
    else:
        yield from _encodable(value, field)


def _encodable(value: str, field: str) -> Found:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        yield field, f"a lone surrogate at character {error.start}, not a text"


def _strings(row: Row, key: str, least: int) -> Found:
    value = row.get(key)
    if not isinstance(value, list) or len(value) < least:
        yield key, f"a list of at least {least} string{'s' * (least > 1)} must stand here"
        return
    for index, text in enumerate(value):
        if not isinstance(text, str):
            yield f"{key}[{index}]", f"{_kind(text)} where a string must stand"
        else:
            yield from _encodable(text, f"{key}[{index}]")


def _json_list(message: Row, key: str, where: str) -> tuple[list[Any], list[tuple[str, str]]]:
    """The list that the string `message[key]` holds ([] for none), and what is wrong with it."""
    text, field = message.get(key), where + key
    if text is None or text == "":
        return [], []
    if not isinstance(text, str):
        return [], [(field, f"{_kind(text)} where a string must stand")]
    try:
        value = strict_json(text)
    except (ValueError, RecursionError) as error:
        return [], [(field, f"a string that must hold JSON does not ({error})")]
    if not isinstance(value, list):
        return [], [(field, f"{_kind(value)} inside the string where a list must stand")]
    return value, []


def _function(value: Any) -> Row:
    """A call or a tool without the shell `{"type": "function", "function": {…}}`."""
    inner = value.get("function") if isinstance(value, dict) else None
    return inner if isinstance(inner, dict) else value


def _calls(calls: list[Any], field: str) -> Found:
    for index, shell in enumerate(calls):
        where, call = f"{field}[{index}]", _function(shell)
        if not isinstance(call, dict):
            yield where, f"{_kind(call)} where a call object must stand"
            continue
        if not isinstance(call.get("name"), str) or not call["name"].strip():
            yield f"{where}.name", "the name of the tool is missing"
        given = call.get("arguments")
        if isinstance(given, str):
            try:
                given = strict_json(given)
            except (ValueError, RecursionError) as error:
                yield f"{where}.arguments", f"a string that must hold JSON does not ({error})"
                continue
        if not isinstance(given, dict):
            yield f"{where}.arguments", f"{_kind(given)} where an object must stand"


def _messages(row: Row, key: str) -> Found:
    """Each message alone, then their order."""
    value = row.get(key)
    if key not in row:
        yield key, f'the key "{key}" is missing'
        return
    if not isinstance(value, list) or not value:
        yield key, "a list of at least one message must stand here"
        return
    before, open_calls = "", False  # the role before; whether a tool may answer now
    for index, message in enumerate(value):
        where = f"{key}[{index}]."
        if not isinstance(message, dict):
            yield where[:-1], f"{_kind(message)} where a message object must stand"
            before, open_calls = "", True
            continue
        role = message.get("role")
        if faults := list(_string(message, "role", where)):
            yield from faults
        elif role not in ROLES:
            yield f"{where}role", f"{role!r} is none of {', '.join(ROLES)}"
        calls, wrong = _json_list(message, "tool_calls", where)
        yield from wrong
        yield from _calls(calls, f"{where}tool_calls")
        tools, wrong = _json_list(message, "tools", where)
        yield from wrong
        for number, tool in enumerate(tools):
            known = _function(tool)
            if not isinstance(known, dict) or not isinstance(known.get("name"), str):
                yield f"{where}tools[{number}]", "a tool without a name"
        if message.get("reasoning_content") is not None:
            yield from _string(message, "reasoning_content", where, empty=True)
        may_be_empty = bool(message.get("tool_calls") or message.get("reasoning_content"))
        yield from _string(message, "content", where, may_be_empty or role in ("system", "tool"))
        if role in ROLES:
            yield from _order(before, role, open_calls, where)
        if calls and role != "assistant":
            yield f"{where}tool_calls", f"a call by the role {role}; only the assistant calls tools"
        if role != "system" or not index:  # a stray system message is one fault, not two
            before = role if role in ROLES else ""
        open_calls = bool(message.get("tool_calls")) or (role == "tool" and open_calls)


def _order(before: str, role: str, open_calls: bool, where: str) -> Found:
    first = where.endswith("[0].")
    if role == "system" and not first:
        yield f"{where}role", "a system message that is not the first"
    elif role == "tool" and not open_calls:
        yield f"{where}role", "a tool's answer to no call"
    elif role == "assistant" and (first or before == "system"):
        yield f"{where}role", "the assistant speaks before the user"
    elif role == before and role in ("user", "assistant"):
        yield f"{where}role", f"two messages of the {role} in a row"
    elif role == "user" and open_calls and before == "assistant":
        yield f"{where}role", "the user speaks where a tool must answer the call"


def _roles(row: Row, key: str) -> list[Any]:
    messages = row.get(key)
    if not isinstance(messages, list):
        return []
    return [m.get("role") if isinstance(m, dict) else None for m in messages]


def _pretrain(row: Row) -> Found:
    yield from _string(row, "text")


def _chat(row: Row) -> Found:
    yield from _messages(row, "conversations")
    roles = _roles(row, "conversations")
    if roles and set(roles) <= set(ROLES) - {"assistant"}:
        yield "conversations", "no assistant message, so there is nothing to learn from"
    if "label" in row and not isinstance(row["label"], bool):
        yield "label", f"{_kind(row['label'])} where true (liked) or false must stand"


def _preference(row: Row) -> Found:
    for key in ("chosen", "rejected"):
        yield from _messages(row, key)
        if (roles := _roles(row, key)) and roles[-1] in set(ROLES) - {"assistant"}:
            yield f"{key}[{len(roles) - 1}].role", "the last message must be the assistant's"
    if row.get("chosen") == row.get("rejected") and "rejected" in row:
        yield "rejected", "equal to chosen, so there is nothing to prefer"
    margin = row.get("margin", 0)
    if isinstance(margin, bool) or not isinstance(margin, int | float) or not margin >= 0:
        yield "margin", "a number of at least 0 must stand here, or nothing"


def _agent(row: Row) -> Found:
    yield from _messages(row, "conversations")
    gt = row.get("gt")
    if not isinstance(gt, list) or not gt:
        yield "gt", "a list of the values that the answer must contain must stand here"
        return
    for index, value in enumerate(gt):
        if isinstance(value, str):
            if not value.strip():
                yield f"gt[{index}]", "the string is empty, and every answer contains that"
            yield from _encodable(value, f"gt[{index}]")
        elif not isinstance(value, int | float) or isinstance(value, bool):
            yield f"gt[{index}]", f"{_kind(value)} where a string or a number must stand"


def _choice(row: Row) -> Found:
    yield from _string(row, "question", empty=True)
    yield from _strings(row, "choices", 2)
    answer, choices = row.get("answer"), row.get("choices")
    if not isinstance(answer, int) or isinstance(answer, bool):
        yield "answer", f"{_kind(answer)} where the index of a choice must stand"
    elif isinstance(choices, list) and not 0 <= answer < len(choices):
        yield "answer", f"{answer} is the index of none of {len(choices)} choices"


def _answer(row: Row) -> Found:
    yield from _string(row, "question")
    yield from _strings(row, "answers", 1)


SCHEMAS: dict[str, Callable[[Row], Found]] = {
    "pretrain": _pretrain,
    "sft": _chat,
    "preference": _preference,
    "agent": _agent,
    "choice": _choice,
    "answer": _answer,
}
KEYS = {
    "pretrain": {"text"},
    "sft": {"conversations", "label"},
    "preference": {"chosen", "rejected", "margin"},
    "agent": {"conversations", "gt", "sort", "stock"},
    "choice": {"question", "choices", "answer", "task"},
    "answer": {"question", "answers", "task"},
}


def _notes(row: Row, schema: str) -> Iterator[str]:
    if unknown_keys := sorted(set(row) - KEYS[schema]):
        yield f"unknown keys, ignored: {', '.join(unknown_keys)}"
    for key in ("conversations", "chosen", "rejected"):
        messages = [m for m in row.get(key) or [] if isinstance(m, dict)]
        odd = sorted({k for m in messages for k in m} - MESSAGE_KEYS)
        if odd:
            yield f"unknown keys in messages, ignored: {', '.join(odd)}"
        if any(m.get("tools") and m.get("role") != "system" for m in messages):
            yield "tools outside of the system message"
    if schema == "sft" and _roles(row, "conversations")[-1:] == ["user"]:
        yield "the last message of the user is never answered"


def guess_schema(row: object) -> str:
    """The schema whose keys this row has; `pretrain` when it has none of them."""
    keys = set(row) if isinstance(row, dict) else set()
    if keys & {"chosen", "rejected"}:
        return "preference"
    if "conversations" in keys:
        return "agent" if "gt" in keys else "sft"
    if "question" in keys and keys & {"choices", "answers"}:
        return "choice" if "choices" in keys else "answer"
    return "pretrain"


def check_row(row: Row, schema: str, line: int = 1) -> tuple[Fault, ...]:
    """The faults of one row that is JSON already; WrongCall for an unknown schema.

    >>> [str(fault) for fault in check_row({"text": ""}, "pretrain")]
    ['1: text: the string is empty']
    """
    if schema not in SCHEMAS:
        raise unknown("schema", schema, SCHEMAS)
    return tuple(Fault(line, field, reason) for field, reason in SCHEMAS[schema](row))


def check_lines(lines: Iterable[str], schema: str | None = None) -> Iterator[Checked]:
    """Check line by line. Without `schema` the first row that is an object decides for the file."""
    if schema is not None and schema not in SCHEMAS:
        raise unknown("schema", schema, SCHEMAS)
    for number, line in enumerate(lines, start=1):
        notes = ("the line ends in CR LF",) if line.endswith("\r") else ()
        try:
            row = _object(line)
        except _Bad as bad:
            yield Checked(number, None, (Fault(number, "", str(bad)),), notes)
            continue
        schema = schema or guess_schema(row)
        faults = check_row(row, schema, number)
        if not faults and "\\u" in line:  # also in keys and in fields that no schema looks at
            text = json.dumps(row, ensure_ascii=False)
            if any(_encodable(text, "")):
                faults = (Fault(number, "", "a lone surrogate in a key or a field not read"),)
        yield Checked(number, row, faults, (*notes, *_notes(row, schema)))


def check_rows(lines: Iterable[str], schema: str | None = None) -> tuple[str, int, list[Fault]]:
    """Check every line; returns the schema used, the number of rows and the faults in order.

    Without `schema` the first row that is an object decides which one the file has.
    """
    rows, guessed = 0, schema
    faults: list[Fault] = []
    for checked in check_lines(lines, schema):
        rows += 1
        faults += checked.faults
        if guessed is None and checked.row is not None:
            guessed = guess_schema(checked.row)
    return guessed or "pretrain", rows, faults


def strict_json(text: str) -> Any:
    """`json.loads` that refuses what JSON (RFC 8259) does not allow or leaves open.

    ValueError for NaN, infinities, numbers that overflow to them, and a key that stands twice.

    >>> strict_json('{"a": 1, "a": 2}')
    Traceback (most recent call last):
    ValueError: the key "a" stands twice in one object
    """
    return json.loads(
        text, object_pairs_hook=_unique, parse_constant=_constant, parse_float=_finite
    )


def _unique(pairs: list[tuple[str, Any]]) -> Row:
    row = dict(pairs)
    if len(row) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f'the key "{twice}" stands twice in one object')
    return row


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {text[:20]} is too large")
    return value


def _object(line: str) -> Row:
    if len(line) > MAX_LINE:
        raise _Bad(f"the line has {len(line):,} characters; more than {MAX_LINE:,} are no row")
    if not line.strip():
        raise _Bad("the line is empty")
    if not line.isascii() and (byte := _ESCAPED.search(line)):
        raise _Bad(f"not UTF-8: byte 0x{ord(byte[0]) - 0xDC00:02x} at character {byte.start()}")
    if line.startswith("\ufeff"):
        raise _Bad("a byte order mark in the middle of the file")
    try:
        row = strict_json(line)
    except (ValueError, RecursionError) as error:
        raise _Bad(f"not JSON ({error})") from error
    if not isinstance(row, dict):
        raise _Bad(f"{_kind(row)} where a JSON object must stand")
    return row


def split_lines(text: str) -> list[str]:
    """Lines as editors count them. `str.splitlines` would also break at U+2028 inside a string."""
    lines = text.split("\n")
    return lines[:-1] if lines[-1] == "" else lines
