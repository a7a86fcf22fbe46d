"""What was said on the page, and what is asked of the server next. Nothing here draws.

An answer may be several turns: the model calls tools, reads what they say, and goes on. When the
context is full the oldest exchange is still shown and no longer sent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Literal

from minimind_wiki.webui.client import Answer, Declined, Server

MOST_TURNS = 4  # of calls in one answer
STOPPED = "Stopped."
Run = Callable[[str, Any], str]
"""Runs a tool by name with its arguments; gives what it says."""


@dataclass(slots=True)
class Turn:
    """A message, and what the page shows of it besides."""

    role: Literal["user", "assistant", "tool"]
    content: str = ""
    reasoning_content: str = ""
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    call_id: str = ""
    """Which call a tool answers."""
    tokens: list[dict[str, Any]] = field(default_factory=list)
    """Every token drawn with its log-probability and the likeliest others, as the API has them."""
    finish: str = ""
    note: str = ""
    """What the reader should know of it and the model should not."""

    def message(self) -> dict[str, Any]:
        """The turn as the API takes it. A thought is not sent: templates leave old ones out."""
        if self.role == "tool":
            return {"role": "tool", "tool_call_id": self.call_id, "content": self.content}
        calls = {"tool_calls": self.tool_calls} if self.tool_calls else {}
        return {"role": self.role, "content": self.content, **calls}

    def add(self, choice: Mapping[str, Any]) -> None:
        """Take in what one chunk of a stream tells."""
        delta = choice["delta"]
        self.content += delta.get("content") or ""
        self.reasoning_content += delta.get("reasoning_content") or ""
        for part in delta.get("tool_calls") or ():
            self._call(part)
        self.tokens += (choice.get("logprobs") or {}).get("content") or ()
        self.finish = choice.get("finish_reason") or self.finish

    def _call(self, part: Mapping[str, Any]) -> None:
        """Other servers than ours send a call in pieces: the name first, then the arguments."""
        while len(self.tool_calls) <= part["index"]:
            empty = {"name": "", "arguments": ""}
            self.tool_calls.append({"id": "", "type": "function", "function": empty})
        call = self.tool_calls[part["index"]]
        call["id"] += part.get("id") or ""
        for name, text in (part.get("function") or {}).items():
            call["function"][name] += text or ""


class Talk:
    """`ask` or `retry`, then `answer`; `stop` ends an answer from another thread."""

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self.unsent = 0
        """So many of the first turns are no longer sent."""
        self.due = False
        """An answer is awaited and nobody has begun it."""
        self.problem = ""
        """Why there is no answer to the last message."""
        self._answer: Answer | None = None
        self._stopped = False

    def ask(self, text: str) -> None:
        """Say something; the answer is due."""
        self.turns.append(Turn("user", text))
        self.problem, self.due = "", True

    def retry(self) -> None:
        """Forget the answer to the last message; another is due."""
        while self.turns and self.turns[-1].role != "user":
            self.turns.pop()
        self.problem, self.due = "", bool(self.turns)

    def stop(self) -> None:
        """End the answer that is being given; what was said of it stays."""
        self._stopped, self.due = True, False
        answer = self._answer  # the thread that reads it may end it meanwhile
        if answer is not None:
            answer.stop()
            self.turns[-1].note = STOPPED

    def answer(
        self,
        server: Server,
        fields: Mapping[str, Any],
        context: int,
        system: str = "",
        tools: Sequence[Mapping[str, Any]] = (),
        run: Run | None = None,
    ) -> Generator[Turn]:
        """Give the turn that grows each time it has grown, until the answer is whole.

        `fields` go into the request as they are, `context` is what the model can read. An error
        ends the answer and is told by `problem`.
        """
        self.due = self._stopped = False
        for left in reversed(range(MOST_TURNS)):
            turn = Turn("assistant")
            body = {**fields, "tools": list(tools)} if tools else fields
            try:
                yield from self._turn(turn, server, body, context, system)
            except Declined as declined:
                self.problem = str(declined)
                if not (turn.content or turn.reasoning_content):
                    self.turns.remove(turn)
            if turn.finish != "tool_calls" or self._stopped or not left or run is None:
                if turn.tool_calls and not left:
                    turn.note = f"No more than {MOST_TURNS} turns in an answer: no call is run."
                turn.tool_calls.clear()  # they are not run
                return
            for call in turn.tool_calls:
                told = run(call["function"]["name"], arguments_of(call))
                self.turns.append(Turn("tool", told, call_id=call["id"]))
                yield self.turns[-1]
            if self._stopped:
                return

    def _turn(
        self, turn: Turn, server: Server, fields: Mapping[str, Any], context: int, system: str
    ) -> Generator[Turn]:
        """One request. Where the chat is too long, again without its oldest exchange."""
        self.turns.append(turn)
        used = 0
        while True:
            self._answer = Answer(server, {**fields, "messages": self._messages(system)})
            try:
                with closing(iter(self._answer)) as stream:  # a reader may leave in the middle
                    for chunk in stream:
                        used = (chunk.get("usage") or {}).get("total_tokens") or used
                        for choice in chunk["choices"]:
                            turn.add(choice)
                            yield turn
                break
            except GeneratorExit:  # who draws it left first, so `stop` finds nothing to end
                turn.note = STOPPED
                raise
            except Declined as declined:
                if declined.code != "context_length_exceeded" or not self._forget():
                    raise
            finally:
                self._answer = None
        if turn.finish == "length" and used >= context > 0:
            turn.note = f"Cut: the context of {context:,} tokens is full."
            if self._forget():
                turn.note += " The oldest exchange is no longer sent."
        elif turn.finish == "length":
            turn.note = "Cut: the answer may have no more tokens; “Most tokens” allows more."

    def _messages(self, system: str) -> list[dict[str, Any]]:
        """What is sent. An answer that was stopped before its first word is none."""
        said = [{"role": "system", "content": system}] if system else []
        for turn in self.turns[self.unsent : -1]:
            if turn.role != "assistant" or turn.content or turn.tool_calls:
                said.append(turn.message())
        return said

    def _forget(self) -> bool:
        """Send one exchange less from now on; False where only one is left."""
        starts = [n for n, t in enumerate(self.turns) if t.role == "user" and n > self.unsent]
        if not starts:
            return False
        self.unsent = starts[0]
        return True


def arguments_of(call: Mapping[str, Any]) -> Any:
    """The arguments of a call as an object; as they were written where they are no JSON.

    >>> arguments_of({"function": {"arguments": '{"a": 1}'}})
    {'a': 1}
    """
    written = call["function"]["arguments"]
    try:
        return json.loads(written)
    except (ValueError, RecursionError):
        return written
