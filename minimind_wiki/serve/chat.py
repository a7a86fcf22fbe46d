"""A chat becomes a prompt; what is drawn becomes thought, answer and calls, token by token.

The prompt is rendered by `tokenizer.chat`, which knows what came from a message: a user who types
`<|im_end|>` has typed ten characters. The reply is read by the same marks that the model learned.
A mark is a token where the vocabulary reserves one, and there only the token counts; with a
vocabulary that has none, as bytes, the letters are the mark, and text that could be its beginning
waits until it is decided.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from uuid import uuid4

from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.infer.request import Token
from minimind_wiki.serve.errors import Refused
from minimind_wiki.serve.schema import Chat, NamedTool
from minimind_wiki.tokenizer.chat import control_ids, render
from minimind_wiki.tokenizer.protocol import Tokenizer

OPEN, CLOSE, CALL, CALLED = MARKS = ("<think>", "</think>", "<tool_call>", "</tool_call>")
END = "<|im_end|>"


@dataclass(frozen=True, slots=True)
class Asked:
    """A chat as the engine and the reader take it."""

    ids: list[int]
    stop_ids: list[int]
    thinking: bool
    """The prompt ends within a thought."""
    tools: bool
    """Calls are read as calls; without tools they are text."""
    begun: str | None = None
    """The beginning of a call that the prompt ends with, because a call was required."""


def ask(body: Chat, tokenizer: Tokenizer) -> Asked:
    """Render the chat. `Refused` (400) for a model that cannot chat or tools that do not fit.

    A call that `tool_choice` requires is begun in the prompt: the model can only go on with it.
    It cannot think before it then, so the thought is closed.
    """
    try:
        control = control_ids(tokenizer)
    except MinimindError:
        raise Refused(
            400, "This model has no tokens that mark a turn; use /v1/completions.", "no_chat"
        ) from None
    choice = body.tool_choice or "auto"
    tools = [] if choice == "none" else [t.model_dump(exclude_none=True) for t in body.tools or ()]
    begun = None
    if isinstance(choice, NamedTool):
        name = choice.function.name
        if name not in [tool["function"]["name"] for tool in tools]:
            raise Refused(400, "tool_choice names no tool of tools.", param="tool_choice")
        begun = f'{{"name": {json.dumps(name)}, "arguments":'
    elif choice == "required":
        if not tools:
            raise Refused(400, "tool_choice requires a call and there are no tools.", param="tools")
        begun = '{"name": "'
    thinking = body.thinking and begun is None
    try:
        ids = render([message.as_row() for message in body.messages], tokenizer, tools,
                     add_generation_prompt=True, open_thinking=thinking).ids  # fmt: skip
    except UnicodeEncodeError:
        raise Refused(400, "A message is not Unicode text.", param="messages") from None
    except WrongCall as wrong:
        raise Refused(400, str(wrong), param="messages") from None
    if begun is not None:
        ids = ids + ([control[CALL]] if CALL in control else tokenizer.encode(CALL))
        ids = ids + tokenizer.encode("\n" + begun)
    stop_ids = sorted({control[END], tokenizer.eos_id})
    return Asked(ids, stop_ids, thinking, bool(tools), begun)


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call: what OpenAI's API tells of one. `arguments` is JSON in a string."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Said:
    """A piece of the answer, or of the thought before it."""

    kind: Literal["content", "reasoning_content"]
    text: str


class Reader:
    """Reads one reply. What `read` and `end` yield, joined, is the reply without outer blanks.

    A call is told when it is whole: one that is no JSON with a name is given back as text, and
    half of it could not be called back.
    """

    def __init__(self, tokenizer: Tokenizer, asked: Asked) -> None:
        control = control_ids(tokenizer)
        self._ids = {control[mark]: mark for mark in MARKS if mark in control}
        letters = [mark for mark in MARKS if mark not in control]
        self._letters = re.compile("|".join(map(re.escape, letters))) if letters else None
        self._beginnings = {mark[:n] for mark in letters for n in range(1, len(mark))}
        self._longest = max(map(len, self._beginnings), default=0)
        self._tools = asked.tools
        self._state: Literal["reasoning_content", "content", "call"] = (
            "reasoning_content" if asked.thinking else "content"
        )
        self._held = ""  # letters that may be the beginning of a mark
        self._blank = ""  # blanks that are told only if something follows
        self._body = ""  # of the call that is open
        self._spoke: set[str] = set()
        self.calls = 0
        if asked.begun is not None:
            self._state, self._body = "call", asked.begun

    def read(self, token: Token) -> Iterator[Said | Call]:
        """What one token adds; its text comes before the mark that it may be."""
        yield from self._spell(token.text)
        if token.id in self._ids:
            yield from self._flush()
            yield from self._mark(self._ids[token.id])

    def end(self, finish: str) -> Iterator[Said | Call]:
        """What was held back. A call whose closing mark is missing counts if its JSON is whole."""
        yield from self._flush()
        if self._state == "call":
            call = self._call() if finish == "stop" else None
            yield from [call] if call else self._say(f"{CALL}{self._body}", "content")

    def _spell(self, text: str) -> Iterator[Said | Call]:
        text = self._held + text
        if self._letters is None:
            yield from self._text(text)
            return
        at = 0
        for found in self._letters.finditer(text):
            yield from self._text(text[at : found.start()])
            yield from self._mark(found.group())
            at = found.end()
        rest = text[at:]
        lengths = range(min(self._longest, len(rest)), 0, -1)
        keep = next((n for n in lengths if rest[-n:] in self._beginnings), 0)
        self._held = rest[len(rest) - keep :]
        yield from self._text(rest[: len(rest) - keep])

    def _flush(self) -> Iterator[Said | Call]:
        held, self._held = self._held, ""
        yield from self._text(held)

    def _mark(self, mark: str) -> Iterator[Said | Call]:
        state = self._state
        if mark == CLOSE and state == "reasoning_content":
            self._enter("content")
        elif mark == OPEN and state == "content" and not self._spoke and not self.calls:
            self._enter("reasoning_content")  # it thinks, though it was not asked to
        elif mark == CALL and state == "content" and self._tools:
            self._enter("call")
            self._body = ""
        elif mark == CALLED and state == "call":
            call = self._call()
            self._enter("content")
            yield from [call] if call else self._say(f"{CALL}{self._body}{CALLED}", "content")
        else:
            yield from self._text(mark)

    def _enter(self, state: Literal["reasoning_content", "content", "call"]) -> None:
        self._state, self._blank = state, ""

    def _text(self, text: str) -> Iterator[Said]:
        if self._state == "call":
            self._body += text
        elif text:
            yield from self._say(text, self._state)

    def _say(self, text: str, kind: Literal["content", "reasoning_content"]) -> Iterator[Said]:
        text = self._blank + text
        if kind not in self._spoke:
            text = text.lstrip()
        told = text.rstrip()
        self._blank = text[len(told) :]
        if told:
            self._spoke.add(kind)
            yield Said(kind, told)

    def _call(self) -> Call | None:
        """The call whose body was read, if it is one."""
        try:
            call = json.loads(self._body)
            name, arguments = call["name"], call.get("arguments", {})
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        if not isinstance(name, str) or not isinstance(arguments, dict | str):
            return None
        self.calls += 1
        if isinstance(arguments, dict):
            arguments = json.dumps(arguments, ensure_ascii=False)
        return Call(f"call_{uuid4().hex}", name, arguments)
