"""What a model says, read token by token: thought, answer and calls of tools.

A reply is read by the marks that the model learned. A mark is a token where the vocabulary reserves
one, and there only the token counts; with a vocabulary that has none, as bytes, the letters are the
mark, and text that could be its beginning waits until it is decided.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from uuid import uuid4

from minimind_wiki.infer.request import Token
from minimind_wiki.tokenizer.chat import control_ids
from minimind_wiki.tokenizer.protocol import Tokenizer

OPEN, CLOSE, CALL, CALLED = MARKS = ("<think>", "</think>", "<tool_call>", "</tool_call>")


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

    `thinking`: the prompt ends within a thought. `tools`: calls are read as calls, not as text.
    `begun`: the beginning of a call that the prompt ends with.

    >>> from minimind_wiki.tokenizer import ByteTokenizer
    >>> reader = Reader(ByteTokenizer(), thinking=True)
    >>> list(reader.read(Token(72, "Hm.</think>Yes")))  # doctest: +NORMALIZE_WHITESPACE
    [Said(kind='reasoning_content', text='Hm.'), Said(kind='content', text='Yes')]
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        thinking: bool = False,
        tools: bool = False,
        begun: str | None = None,
    ) -> None:
        control = control_ids(tokenizer)
        self._ids = {control[mark]: mark for mark in MARKS if mark in control}
        # MiniMind's vocabulary reserves marks that show their names, so these come as text, too
        self._named = {mark for token, mark in self._ids.items() if tokenizer.decode([token])}
        self._letters = [mark for mark in MARKS if mark not in control]
        self._awaited: list[str] = []  # marks that were drawn and whose names have not come yet
        self._tools = tools
        self._state: Literal["reasoning_content", "content", "call"] = (
            "reasoning_content" if thinking else "content"
        )
        self._held = ""  # letters that may be the beginning of a mark
        self._blank = ""  # blanks that are told only if something follows
        self._body = ""  # of the call that is open
        self._spoke: set[str] = set()
        self.calls = 0
        if begun is not None:
            self._state, self._body = "call", begun

    def read(self, token: Token) -> Iterator[Said | Call]:
        """What one token adds; its text comes before the mark that it may be."""
        mark = self._ids.get(token.id)
        if mark is not None and mark in self._named:
            self._awaited.append(mark)
            mark = None
        yield from self._spell(token.text)
        if mark is not None:
            yield from self._flush()
            yield from self._mark(mark)

    def end(self, finish: str) -> Iterator[Said | Call]:
        """What was held back. A call whose closing mark is missing counts if its JSON is whole."""
        yield from self._flush()
        if self._state == "call":
            call = self._call() if finish == "stop" else None
            yield from [call] if call else self._say(f"{CALL}{self._body}", "content")

    def _spell(self, text: str) -> Iterator[Said | Call]:
        text = self._held + text
        while found := [(text.find(mark), mark) for mark in self._marks() if mark in text]:
            at, mark = min(found)
            yield from self._text(text[:at])
            yield from self._mark(mark)
            text = text[at + len(mark) :]
            if mark in self._awaited:
                self._awaited.remove(mark)
        marks = self._marks()
        lengths = range(min(len(text), max(map(len, marks), default=0)), 0, -1)
        keep = next((n for n in lengths if any(m.startswith(text[-n:]) for m in marks)), 0)
        self._held = text[len(text) - keep :]
        yield from self._text(text[: len(text) - keep])

    def _marks(self) -> list[str]:
        """The marks whose letters count now."""
        return [*self._letters, *self._awaited[:1]]

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
