"""From the tokens of a call to OpenAI's answer, in one piece or in chunks.

Both ways go through `take`: a whole answer is a stream whose chunks nobody was sent. So they cannot
differ, and what is tested of one holds for the other.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol
from uuid import uuid4

from minimind_wiki.infer.reader import Call, Reader
from minimind_wiki.infer.request import Token
from minimind_wiki.serve.answers import Chunk, DrawnToken, LikelyToken, Usage
from minimind_wiki.serve.chat import Asked
from minimind_wiki.tokenizer.protocol import Tokenizer


class Reply(Protocol):
    """What both kinds of answers can do."""

    def first(self) -> Iterator[Chunk]:
        """What a stream begins with."""

    def take(self, choice: int, token: Token) -> Iterator[Chunk]:
        """What a token adds."""

    def last(self) -> Chunk:
        """The chunk that tells the usage."""

    def whole(self) -> Mapping[str, Any]:
        """The answer in one piece."""


class _Common:
    """Id, time, counts. With `usage` each chunk has the field, which is null before the last."""

    prefix, kind, chunk_kind = "", "", ""

    def __init__(self, model: str, tokenizer: Tokenizer, prompt_tokens: int, usage: bool) -> None:
        self.tokenizer, self.prompt_tokens, self.new_tokens = tokenizer, prompt_tokens, 0
        self.head = {"id": f"{self.prefix}-{uuid4().hex}", "created": int(time.time()),
                     "model": model}  # fmt: skip
        self.null_usage = {"usage": None} if usage else {}

    def usage(self) -> Usage:
        both = self.prompt_tokens + self.new_tokens
        return {"prompt_tokens": self.prompt_tokens, "completion_tokens": self.new_tokens,
                "total_tokens": both}  # fmt: skip

    def last(self) -> Chunk:
        return {**self.head, "object": self.chunk_kind, "choices": [], "usage": self.usage()}

    def chunk(self, choice: Mapping[str, Any]) -> Chunk:
        return {**self.head, "object": self.chunk_kind, "choices": [choice], **self.null_usage}


class ChatReply(_Common):
    """Answers to a chat. Each choice has a reader of its own."""

    prefix, kind, chunk_kind = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def __init__(
        self, model: str, tokenizer: Tokenizer, asked: Asked, choices: int, usage: bool
    ) -> None:
        super().__init__(model, tokenizer, len(asked.ids), usage)
        self.asked = asked
        how = (asked.thinking, asked.tools, asked.begun)
        self.readers = [Reader(tokenizer, *how) for _ in range(choices)]
        self.messages: list[dict[str, Any]] = [{"content": ""} for _ in range(choices)]
        self.logprobs: list[list[DrawnToken] | None] = [None] * choices
        self.untold: list[list[DrawnToken]] = [[] for _ in range(choices)]
        self.finish: list[str] = [""] * choices

    def first(self) -> Iterator[Chunk]:
        for choice in range(len(self.readers)):
            yield self._chunk(choice, {"role": "assistant", "content": ""})

    def take(self, choice: int, token: Token) -> Iterator[Chunk]:
        self.new_tokens += 1
        if token.logprob is not None and token.id not in self.asked.stop_ids:
            drawn = drawn_token(token, self.tokenizer)
            self.logprobs[choice] = (self.logprobs[choice] or []) + [drawn]
            self.untold[choice].append(drawn)
        reader = self.readers[choice]
        for piece in reader.read(token):
            yield self._chunk(choice, self._add(choice, piece))
        if token.finish is None:
            return
        for piece in reader.end(token.finish):
            yield self._chunk(choice, self._add(choice, piece))
        called = reader.calls > 0 and token.finish == "stop"
        self.finish[choice] = "tool_calls" if called else token.finish
        yield self._chunk(choice, {}, self.finish[choice])

    def _add(self, choice: int, piece: Any) -> dict[str, Any]:
        """Put a piece into the message; the delta that says so."""
        message = self.messages[choice]
        if isinstance(piece, Call):
            calls = message.setdefault("tool_calls", [])
            told = {"id": piece.id, "type": "function",
                    "function": {"name": piece.name, "arguments": piece.arguments}}  # fmt: skip
            calls.append(told)
            return {"tool_calls": [{"index": len(calls) - 1, **told}]}
        message[piece.kind] = message.get(piece.kind, "") + piece.text
        return {piece.kind: piece.text}

    def _chunk(self, choice: int, delta: Mapping[str, Any], finish: str | None = None) -> Chunk:
        """Tokens whose text was held back are told with the next chunk there is."""
        untold, self.untold[choice] = self.untold[choice], []
        return self.chunk({"index": choice, "delta": delta, "finish_reason": finish,
                           "logprobs": {"content": untold} if untold else None})  # fmt: skip

    def whole(self) -> Mapping[str, Any]:
        choices: list[Any] = []
        for index, message in enumerate(self.messages):
            if "tool_calls" in message and not message["content"]:
                message["content"] = None
            logprobs = self.logprobs[index]
            choices.append({"index": index, "message": {"role": "assistant", **message},
                            "logprobs": None if logprobs is None else {"content": logprobs},
                            "finish_reason": self.finish[index]})  # fmt: skip
        return {**self.head, "object": self.kind, "choices": choices, "usage": self.usage()}


class TextReply(_Common):
    """Continuations of texts. `echo` are the texts that each choice begins with."""

    prefix, kind, chunk_kind = "cmpl", "text_completion", "text_completion"

    def __init__(
        self, model: str, tokenizer: Tokenizer, prompt_tokens: int, echo: Sequence[str], usage: bool
    ) -> None:
        super().__init__(model, tokenizer, prompt_tokens, usage)
        self.stop_ids = [tokenizer.eos_id]
        self.echo, self.texts = echo, list(echo)
        self.logprobs: list[dict[str, list[Any]] | None] = [None] * len(echo)
        self.untold: list[dict[str, list[Any]] | None] = [None] * len(echo)
        self.offsets = [len(text) for text in echo]
        self.finish: list[str] = [""] * len(echo)

    def first(self) -> Iterator[Chunk]:
        for choice, text in enumerate(self.echo):
            if text:
                yield self._chunk(choice, text)

    def take(self, choice: int, token: Token) -> Iterator[Chunk]:
        self.new_tokens += 1
        if token.logprob is not None and token.id not in self.stop_ids:
            self._tell(choice, drawn_token(token, self.tokenizer))
        self.texts[choice] += token.text
        if token.finish:
            self.finish[choice] = token.finish
        if token.text or token.finish:
            yield self._chunk(choice, token.text, token.finish)

    def _tell(self, choice: int, drawn: DrawnToken) -> None:
        told = {"tokens": drawn["token"], "token_logprobs": drawn["logprob"],
                "top_logprobs": {t["token"]: t["logprob"] for t in drawn["top_logprobs"]},
                "text_offset": self.offsets[choice]}  # fmt: skip
        self.offsets[choice] += len(drawn["token"])
        for lists in (self.logprobs, self.untold):
            table = lists[choice] = lists[choice] or {name: [] for name in told}
            for name, value in told.items():
                table[name].append(value)

    def _chunk(self, choice: int, text: str, finish: str | None = None) -> Chunk:
        untold, self.untold[choice] = self.untold[choice], None
        return self.chunk(
            {"index": choice, "text": text, "logprobs": untold, "finish_reason": finish}
        )

    def whole(self) -> Mapping[str, Any]:
        rows = zip(self.texts, self.logprobs, self.finish, strict=True)
        choices = [{"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish}
                   for index, (text, logprobs, finish) in enumerate(rows)]  # fmt: skip
        return {**self.head, "object": self.kind, "choices": choices, "usage": self.usage()}


def drawn_token(token: Token, tokenizer: Tokenizer) -> DrawnToken:
    """A drawn token and those that were likely in its place."""
    top = [likely_token(other, logprob, tokenizer) for other, logprob in token.top]
    return {**likely_token(token.id, token.logprob or 0.0, tokenizer), "top_logprobs": top}


def likely_token(token: int, logprob: float, tokenizer: Tokenizer) -> LikelyToken:
    """`bytes` tells what a token holds whose text is U+FFFD, a part of a character."""
    text = tokenizer.decode([token], specials=True)
    raw = tokenizer.token_bytes(token) or text.encode()  # a reserved token: its name
    # JSON has no infinity; OpenAI writes -9999 for what is as good as impossible
    return {"token": text, "logprob": max(logprob, -9999.0), "bytes": list(raw)}
