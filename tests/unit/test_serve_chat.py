"""Reading a reply token by token: the same as reading it whole, whatever the cut into tokens."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")

from minimind_wiki.infer.reader import Call, Reader, Said
from minimind_wiki.infer.request import Token
from minimind_wiki.serve.chat import ask
from minimind_wiki.serve.errors import Refused
from minimind_wiki.serve.schema import Chat
from minimind_wiki.tokenizer import load_tokenizer
from minimind_wiki.tokenizer.bytes import ByteTokenizer
from minimind_wiki.tokenizer.chat import control_ids, render
from minimind_wiki.train.reasoning import read_text

TINY = Path(__file__).resolve().parents[2] / "models" / "world-tiny"
ADD = '<tool_call>\n{"name": "add", "arguments": {"a": [1, "</x>"]}}\n</tool_call>'
REPLIES = [
    ("Hello there.", False),
    ("  Two\n\nlines  \n", False),
    ("thought\n</think>\n\nanswer", True),
    ("a < b </thin </think>\n\n1 </2>", True),
    ("a thought without an end", True),
    (f"I ask.\n{ADD}", False),
    (f"{ADD}\n{ADD}", False),
    (f"deep\n</think>\n\n{ADD}\nand words", True),
    ("", False),
]


def reader_of(
    tokenizer: Any, thinking: bool = False, tools: bool = True, begun: str | None = None
) -> Reader:
    return Reader(tokenizer, thinking, tools, begun)


def read(reader: Reader, tokens: list[Token], finish: str = "stop") -> dict[str, Any]:
    said: dict[str, Any] = {"content": "", "reasoning_content": "", "calls": []}
    for piece in [*(p for token in tokens for p in reader.read(token)), *reader.end(finish)]:
        if isinstance(piece, Call):
            said["calls"].append((piece.name, piece.arguments))
        else:
            assert isinstance(piece, Said) and piece.text
            said[piece.kind] += piece.text
    return said


def cut(text: str, seed: int) -> list[Token]:
    """The text in pieces of one to six characters, as tokens of a vocabulary without marks."""
    draw, tokens = random.Random(seed), []
    while text:
        length = draw.randint(1, 6)
        tokens.append(Token(65, text[:length]))
        text = text[length:]
    return tokens


@pytest.mark.parametrize(("text", "thinking"), REPLIES)
def test_any_cut_of_a_reply_reads_as_its_whole(text: str, thinking: bool) -> None:
    whole = read_text(text, thinking)
    for seed in range(20):
        said = read(reader_of(ByteTokenizer(), thinking), cut(text, seed))
        assert said["reasoning_content"] == whole.thought
        assert "".join(said["content"].split()) == "".join(whole.answer.split())
        assert len(said["calls"]) == len(whole.calls)
        assert all(call == ("add", '{"a": [1, "</x>"]}') for call in said["calls"])


def test_a_thought_that_nobody_asked_for_is_told_apart() -> None:
    tokens = cut("<think>\nunasked\n</think>\n\nanswer <think>", 3)
    said = read(reader_of(ByteTokenizer()), tokens)
    assert said["reasoning_content"] == "unasked" and said["content"] == "answer <think>"


def test_nothing_that_may_begin_a_mark_is_told_early() -> None:
    reader = reader_of(ByteTokenizer(), thinking=True)
    told = [piece for token in cut("thought</thi", 1) for piece in reader.read(token)]
    assert "".join(piece.text for piece in told) == "thought"
    assert [p.text for p in reader.read(Token(65, "ng"))] == ["</thing"]


def test_where_a_mark_is_a_token_its_letters_are_text() -> None:
    tokenizer = load_tokenizer(TINY)
    control = control_ids(tokenizer)
    if "</think>" not in control:
        pytest.skip("this vocabulary reserves no marks")
    close = control["</think>"]
    for told, later in (("</think>", ""), ("", "</think>"), ("</thi", "nk>")):
        # its name may come late: it may hold the beginning of a stop string
        tokens = [Token(300, "I write </think> and\n"), Token(close, told),
                  Token(300, later + "\n\n"), Token(301, "four </think>")]  # fmt: skip
        said = read(reader_of(tokenizer, thinking=True), tokens)
        assert said["reasoning_content"] == "I write </think> and"
        assert said["content"] == "four </think>"


def test_a_call_by_tokens_and_one_that_is_none() -> None:
    tokenizer = load_tokenizer(TINY)
    control = control_ids(tokenizer)
    if "<tool_call>" not in control:
        pytest.skip("this vocabulary reserves no marks")
    start, end = (Token(control[mark], mark) for mark in ("<tool_call>", "</tool_call>"))
    good, bad = Token(300, '\n{"name": "f", "arguments": {}}\n'), Token(300, "\n{oops\n")
    tokens = [Token(301, "So: "), start, good, end, start, bad, end]
    said = read(reader_of(tokenizer), tokens)
    assert said["calls"] == [("f", "{}")]
    assert said["content"] == "So:<tool_call>\n{oops\n</tool_call>"
    plain = read(reader_of(tokenizer, tools=False), tokens)  # nobody offered tools
    assert plain["calls"] == [] and "<tool_call>" in plain["content"]


@pytest.mark.parametrize(
    "body", ["[1]", '"f"', '{"arguments": {}}', '{"name": 1}', '{"name": "f", "arguments": [1]}',
             "[" * 100_000],
)  # fmt: skip
def test_what_is_no_call_comes_back_as_text(body: str) -> None:
    text = f"<tool_call>{body}</tool_call>"
    said = read(reader_of(ByteTokenizer()), [Token(65, text)])
    assert said == {"content": text, "reasoning_content": "", "calls": []}


def test_a_call_without_its_end_counts_only_if_the_turn_ended() -> None:
    tokens = [Token(65, '<tool_call>\n{"name": "f"}')]
    assert read(reader_of(ByteTokenizer()), tokens)["calls"] == [("f", "{}")]
    cut_off = read(reader_of(ByteTokenizer()), tokens, "length")
    assert cut_off["calls"] == [] and cut_off["content"] == '<tool_call>\n{"name": "f"}'


def test_a_call_that_the_prompt_began_is_read_to_its_end() -> None:
    begun = '{"name": "add", "arguments":'
    tokens = [Token(65, ' {"a": 1}}'), Token(65, "\n</tool_call>")]
    said = read(reader_of(ByteTokenizer(), begun=begun), tokens)
    assert said["calls"] == [("add", '{"a": 1}')] and said["content"] == ""


def chat(**fields: Any) -> Chat:
    messages = [{"role": "user", "content": "Hi"}]
    return Chat.model_validate({"model": "m", "messages": messages, **fields})


def test_the_prompt_is_that_of_the_template() -> None:
    tokenizer = load_tokenizer(TINY)
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    rows: list[dict[str, Any]] = [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "<|im_end|>"},
        {"role": "assistant", "content": "", "reasoning_content": "hm",
         "tool_calls": [{"name": "f", "arguments": '{"a": 1}'}]},
        {"role": "tool", "content": "1"},
    ]  # fmt: skip
    sent = [dict(row) for row in rows]
    sent[0]["role"] = "developer"
    sent[1]["content"] = [{"type": "text", "text": "<|im_"}, {"type": "text", "text": "end|>"}]
    call = {"id": "call_1", "type": "function", "function": rows[2]["tool_calls"][0]}
    sent[2] |= {"content": None, "tool_calls": [call]}
    sent[3]["tool_call_id"] = "call_1"
    got = ask(chat(messages=sent, tools=tools, open_thinking=True), tokenizer)
    want = render(rows, tokenizer, tools, add_generation_prompt=True, open_thinking=True)
    assert got.ids == want.ids and got.thinking and got.tools
    assert control_ids(tokenizer)["<|im_end|>"] in got.stop_ids


def test_a_model_without_turns_cannot_chat() -> None:
    class Bare:
        special_ids = ()  # none

    with pytest.raises(Refused) as caught:
        ask(chat(), Bare())  # type: ignore[arg-type]
    assert caught.value.status == 400 and caught.value.code == "no_chat"
