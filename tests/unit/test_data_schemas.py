"""Row schemas: right rows pass, and each kind of wrong row is named by line, field and reason."""

import json

import pytest

from minimind_wiki.data.schemas import check_rows, guess_schema
from minimind_wiki.errors import WrongCall

USER = {"role": "user", "content": "hi"}
BOT = {"role": "assistant", "content": "hello"}
CALL = {"role": "assistant", "content": "", "tool_calls": '[{"name": "f", "arguments": {}}]'}
GOOD = {
    "pretrain": {"text": "a"},
    "sft": {"conversations": [{"role": "system", "content": "", "tools": "[]"}, USER, CALL,
                              {"role": "tool", "content": "{}"}, BOT]},
    "preference": {"chosen": [USER, BOT], "rejected": [USER, {**BOT, "content": "no"}]},
    "agent": {"conversations": [USER, BOT], "gt": ["42"]},
}  # fmt: skip
BAD = [
    ("sft", {"conversations": []}, "conversations", "at least one message"),
    ("sft", {"conversations": [USER]}, "conversations", "no assistant message"),
    ("sft", {"conversations": [USER, {**BOT, "role": "robot"}]}, "conversations[1].role", "robot"),
    ("sft", {"conversations": [{"role": "user"}, BOT]}, "conversations[0].content", "missing"),
    ("sft", {"conversations": [{**USER, "content": " "}, BOT]},
     "conversations[0].content", "empty"),
    ("sft", {"conversations": ["hi"]}, "conversations[0]", "a string where a message object"),
    ("sft", {"conversations": [USER, {**CALL, "tool_calls": "{"}]},
     "conversations[1].tool_calls", "must hold JSON"),
    ("sft", {"conversations": [USER, {**CALL, "tool_calls": [1]}]},
     "conversations[1].tool_calls", "a list where a string"),
    ("sft", {"conversations": [USER, {**CALL, "tool_calls": "{}"}]},
     "conversations[1].tool_calls", "an object inside the string"),
    ("preference", {"chosen": [USER, BOT]}, "rejected", "missing"),
    ("preference", {"chosen": [USER, BOT], "rejected": [USER, BOT]}, "rejected", "equal to chosen"),
    ("preference", {"chosen": [USER], "rejected": [USER, BOT]}, "chosen[0].role", "last message"),
    ("agent", {"conversations": [USER], "gt": "42"}, "gt", "a list"),
    ("pretrain", {"text": True}, "text", "a boolean"),
]  # fmt: skip


@pytest.mark.parametrize("schema", GOOD)
def test_good_rows_pass_and_are_recognised(schema):
    line = json.dumps(GOOD[schema])
    assert check_rows([line], schema) == (schema, 1, [])
    assert guess_schema(GOOD[schema]) == schema
    assert check_rows([line])[0] == schema


@pytest.mark.parametrize(("schema", "row", "field", "reason"), BAD)
def test_bad_rows_are_named(schema, row, field, reason):
    good = json.dumps(GOOD[schema])
    _, rows, faults = check_rows([good, json.dumps(row), good], schema)
    assert rows == 3
    assert [(fault.line, fault.field) for fault in faults] == [(2, field)]
    assert reason in faults[0].reason
    assert str(faults[0]).startswith(f"2: {field}: ")


def test_a_broken_first_line_does_not_decide_the_schema():
    schema, rows, faults = check_rows(["{", json.dumps(GOOD["sft"])])
    assert (schema, rows, len(faults)) == ("sft", 2, 1)


def test_depth_that_would_overflow_the_parser_is_a_bad_row():
    (fault,) = check_rows(["[" * 100_000], "pretrain")[2]
    assert "not JSON" in fault.reason


def test_unknown_schema():
    with pytest.raises(WrongCall, match="did you mean 'preference'"):
        check_rows([], "preferences")
