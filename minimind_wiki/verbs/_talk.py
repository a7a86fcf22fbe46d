"""A talk with a model: what was said, how the next prompt is made of it, and what happens then.

The whole chat is rendered anew for every answer, and the engine finds what it has read before in
its cache. When the context is full, the oldest exchange is forgotten: a message of the user's and
all that answered it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from minimind_wiki.data.schemas import check_row, strict_json
from minimind_wiki.errors import WrongCall
from minimind_wiki.infer.engine import Engine
from minimind_wiki.infer.reader import Call, Reader, Said
from minimind_wiki.infer.request import Request, Sampling
from minimind_wiki.tokenizer.chat import control_ids, render
from minimind_wiki.tokenizer.protocol import Tokenizer
from minimind_wiki.train.sandbox import Result, failure

MOST_TURNS = 4  # of calls in one answer
Run = Callable[[str, Mapping[str, Any]], Result]


@dataclass(frozen=True, slots=True)
class Answered:
    """What a tool answered."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Note:
    """What the reader should know about the answer, and the model should not."""

    text: str


Piece = Said | Call | Answered | Note


@dataclass(slots=True)
class Turn:
    """What the model has said since the user or a tool spoke, as a message and as calls."""

    message: dict[str, Any] = field(default_factory=lambda: {"role": "assistant", "content": ""})
    calls: list[Call] = field(default_factory=list)
    drawn: int = 0
    finish: str = ""
    error: str = ""

    def add(self, piece: Said | Call) -> Said | Call:
        """Take a piece in, and give it on."""
        if isinstance(piece, Said):
            self.message[piece.kind] = self.message.get(piece.kind, "") + piece.text
        else:
            made = {"name": piece.name, "arguments": arguments_of(piece)}
            self.message.setdefault("tool_calls", []).append(made)
            self.calls.append(piece)
        return piece


class Talk:
    """`ask` and `retry` give the pieces of an answer as they come; `messages` is what was said.

    `run` runs the tools of `tools`, and no other is ever called.
    """

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        sampling: Sampling,
        most: int,
        stop: Sequence[str] = (),
        thinking: bool = False,
        tools: Sequence[Mapping[str, Any]] = (),
        run: Run | None = None,
    ) -> None:
        self.engine, self.tokenizer, self.sampling, self.most = engine, tokenizer, sampling, most
        self.stop, self.thinking, self.tools, self.run = stop, thinking, tools, run
        self.ends = sorted({control_ids(tokenizer)["<|im_end|>"], tokenizer.eos_id})
        self.system = ""
        self.messages: list[dict[str, Any]] = []
        self.answers = 0
        """Drawn so far: each has a seed of its own, or a second try would be the first again."""

    def ask(self, text: str, stopped: Callable[[], bool]) -> Iterator[Piece]:
        """The answer to a message. `stopped` is asked between tokens whether it shall end.

        WrongCall where the message alone fills the context, or is no text; then it is forgotten.
        """
        self.messages.append({"role": "user", "content": text})
        try:
            prompt, dropped = self._prompt()
        except WrongCall:
            self.messages.pop()
            raise
        yield from dropped
        yield from self._answer(prompt, stopped)

    def retry(self, stopped: Callable[[], bool]) -> Iterator[Piece]:
        """Another answer to the last message. WrongCall if there is none."""
        users = self._users()
        if not users:
            raise WrongCall("there is nothing to answer again; write a message first.")
        del self.messages[users[-1] + 1 :]
        prompt, dropped = self._prompt()
        yield from dropped
        yield from self._answer(prompt, stopped)

    def row(self) -> dict[str, Any]:
        """The talk as a row to train on. WrongCall, with the fault, where it cannot be one."""
        if not any(message["role"] == "assistant" for message in self.messages):
            raise WrongCall("nothing was answered yet, so there is nothing to save.")
        rows = [dict(message) for message in self._all()]
        for row in rows:
            if "tool_calls" in row:  # MiniMind's rows hold them as JSON in a string
                row["tool_calls"] = json.dumps(row["tool_calls"], ensure_ascii=False)
        if self.tools:
            rows[0]["tools"] = json.dumps(list(self.tools), ensure_ascii=False)
        row = {"conversations": rows}
        if faults := check_row(row, "sft"):
            raise WrongCall(f"the talk cannot be trained on ({faults[0]}); use /retry or /reset.")
        return row

    def _all(self) -> list[dict[str, Any]]:
        system = [{"role": "system", "content": self.system}] if self.system else []
        return system + self.messages

    def _users(self) -> list[int]:
        return [at for at, message in enumerate(self.messages) if message["role"] == "user"]

    def _render(self) -> list[int]:
        try:
            return render(self._all(), self.tokenizer, self.tools, True, self.thinking).ids
        except UnicodeEncodeError as error:
            raise WrongCall(f"the message is not Unicode text ({error.reason}).") from error

    def _prompt(self) -> tuple[list[int], list[Note]]:
        """The ids to go on from; the oldest exchanges go where they would leave no room."""
        context, dropped = self.engine.context, 0
        room = min(self.most, context // 4)
        while len(prompt := self._render()) + room > context and len(self._users()) > 1:
            self._drop()
            dropped += 1
        if len(prompt) >= context:
            raise WrongCall(
                f"the message makes a prompt of {len(prompt)} tokens, and the context is "
                f"{context}; shorten it, or the system message."
            )
        return prompt, [forgotten(dropped)] if dropped else []

    def _drop(self) -> None:
        del self.messages[: self._users()[1]]

    def _answer(self, prompt: list[int], stopped: Callable[[], bool]) -> Iterator[Piece]:
        """Turns of the model and of the tools that it calls, until one calls none."""
        for left in reversed(range(MOST_TURNS)):
            turn = Turn()
            self.messages.append(turn.message)
            yield from self._turn(prompt, turn, stopped)
            yield from self._end(turn, len(prompt) + turn.drawn)
            if turn.finish != "stop" or not turn.calls:
                turn.message.pop("tool_calls", None)  # they are not run
                return
            if not left:
                turn.message.pop("tool_calls")
                yield Note(f"(no more than {MOST_TURNS} turns in an answer; calls are left)")
                return
            for call in turn.calls:
                result = self._call(call)
                self.messages.append({"role": "tool", "content": result.text})
                yield Answered(call.name, result.text)
            try:
                prompt, dropped = self._prompt()
            except WrongCall:
                yield Note("(cut: what the tools answered fills the context)")
                return
            yield from dropped

    def _end(self, turn: Turn, length: int) -> Iterator[Note]:
        """What to say of a turn that did not end by itself."""
        if turn.finish == "cancelled":
            yield Note("(stopped)")
        elif turn.finish == "error":
            yield Note(f"({turn.error})")
        elif turn.finish == "length" and length < self.engine.context:
            yield Note(f"(cut after {turn.drawn:,} tokens; --max-tokens allows more)")
        elif turn.finish == "length":
            yield Note(f"(cut: the context of {self.engine.context:,} tokens is full)")
            if len(self._users()) > 1:
                self._drop()
                yield forgotten(1)

    def _turn(
        self, prompt: list[int], turn: Turn, stopped: Callable[[], bool]
    ) -> Iterator[Said | Call]:
        """One request to the engine. Whoever stops listening cancels it."""
        seed = None if self.sampling.seed is None else self.sampling.seed + self.answers
        sampling = replace(self.sampling, seed=seed)
        self.answers += 1
        number = self.engine.add(Request(prompt, self.most, sampling, self.ends, self.stop))
        reader = Reader(self.tokenizer, self.thinking, bool(self.tools))
        try:
            while not turn.finish:
                if stopped():
                    turn.finish = "cancelled"
                    break
                for _, token in self.engine.step():
                    turn.drawn += 1
                    for piece in reader.read(token):
                        yield turn.add(piece)
                    turn.finish, turn.error = token.finish or "", token.error
        finally:
            self.engine.cancel(number)
        for piece in reader.end(turn.finish):
            yield turn.add(piece)

    def _call(self, call: Call) -> Result:
        """What the tool answers; a call that is wrong gets a text that says so."""
        allowed = [tool["function"]["name"] for tool in self.tools]
        if call.name not in allowed or self.run is None:
            return failure(f"there is no tool {call.name!r}, only {', '.join(allowed) or 'none'}")
        arguments = arguments_of(call)
        if not isinstance(arguments, dict):
            return failure("the arguments of a call are an object")
        result = self.run(call.name, arguments)
        text = result.text.encode("utf-8", "replace").decode()  # a lone surrogate has no ids
        return replace(result, text=text)


def arguments_of(call: Call) -> dict[str, Any] | str:
    """The arguments as an object; as they were written where they are none.

    >>> arguments_of(Call("1", "f", '{"a": 1}')), arguments_of(Call("2", "f", "[1"))
    ({'a': 1}, '[1')
    """
    try:
        arguments = strict_json(call.arguments)
    except (ValueError, RecursionError):
        return call.arguments
    return arguments if isinstance(arguments, dict) else call.arguments


def forgotten(exchanges: int) -> Note:
    """What is said of exchanges that had to go."""
    what = "exchange is" if exchanges == 1 else f"{exchanges} exchanges are"
    return Note(f"(the oldest {what} forgotten, to make room)")
