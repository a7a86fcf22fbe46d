"""A chat as ids, and which of them are to be learned: known by construction, not found afterwards.

MiniMind renders a chat to one string, encodes it and then scans the ids for the marks of an
assistant's turn. A user who types `<|im_start|>assistant` into a message is then trained on, and
one who types `<|im_end|>` ends the turn. Here each part of the chat keeps its origin until it is
encoded: only what the template itself writes may become a control token, and only what the
assistant said, with the token that ends the turn, is learned. For chats without such marks in them
the ids are those of transformers' `apply_chat_template` (tests/parity/test_tokenizer_chat.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol

from minimind_wiki.errors import MinimindError, WrongCall, unknown
from minimind_wiki.tokenizer.bytes import SPECIALS, ByteTokenizer
from minimind_wiki.tokenizer.template import TOOLS_AFTER, TOOLS_BEFORE

Message = Mapping[str, Any]
ROLES = ("system", "user", "assistant", "tool")
IGNORED = -100  # the label that torch's cross entropy leaves out


class Encoder(Protocol):
    """What the renderer needs of a tokenizer; reserved tokens in `text` must stay data."""

    def encode(self, text: str, specials: bool = False) -> Sequence[int]:
        """The ids of `text`."""


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of the chat. `data`: from a message, so never control. `learn`: has a loss."""

    text: str
    data: bool = False
    learn: bool = False


@dataclass(frozen=True, slots=True)
class Rendered:
    """`ids` of a chat; `spans` are the half-open ranges of ids that are to be learned."""

    ids: list[int]
    spans: list[tuple[int, int]]

    @property
    def labels(self) -> list[int]:
        """`ids` inside the spans, IGNORED elsewhere; not shifted."""
        labels = [IGNORED] * len(self.ids)
        for start, end in self.spans:
            labels[start:end] = self.ids[start:end]
        return labels


def from_row(conversations: Sequence[Message]) -> tuple[list[dict[str, Any]], list[Any]]:
    """Messages and tools of one of MiniMind's rows, whose tools and calls are JSON in strings.

    MinimindError when such a string is not a JSON list.
    """
    messages, tools = [], []
    for index, row in enumerate(conversations):
        message = {key: value for key, value in row.items() if value is not None}
        for key in ("tools", "tool_calls"):
            value = message.pop(key, None)
            if isinstance(value, str) and value:
                try:
                    value = json.loads(value)
                except ValueError as error:
                    raise MinimindError(f"message {index}: {key} is not JSON ({error}).") from error
            if value and not isinstance(value, list):
                raise MinimindError(f"message {index}: {key} must be a list.")
            if value and key == "tools":
                tools = value
            elif value:
                message[key] = value
        messages.append(message)
    return messages, tools


def parts(
    messages: Sequence[Message],
    tools: Sequence[Any] = (),
    add_generation_prompt: bool = False,
    open_thinking: bool = False,
) -> Iterator[Part]:
    """The chat part by part; their texts joined are what the template (`template.py`) writes.

    WrongCall for no message, an unknown role or content that is no text.
    """
    if not messages:
        raise WrongCall("there is no message to render. Give at least one.")
    first = messages[0]
    if tools:
        yield Part("<|im_start|>system\n")
        if first.get("role") == "system":
            yield Part(_text(first) + "\n\n", data=True)
        yield Part(TOOLS_BEFORE)
        for tool in tools:
            yield Part("\n" + _json(tool), data=True)
        yield Part(TOOLS_AFTER + "<|im_end|>\n")
    for index, message in enumerate(messages):
        role, text = message.get("role"), _text(message)
        if role == "assistant":
            yield from _assistant(message, text)
        elif role == "tool":
            before = index and messages[index - 1].get("role") == "tool"
            after = index + 1 < len(messages) and messages[index + 1].get("role") == "tool"
            yield Part(("" if before else "<|im_start|>user") + "\n<tool_response>\n")
            yield Part(text, data=True)
            yield Part("\n</tool_response>" + ("" if after else "<|im_end|>\n"))
        elif role not in ROLES:
            raise unknown("role", str(role), ROLES)
        elif not (role == "system" and index == 0 and tools):
            yield Part(f"<|im_start|>{role}\n")
            yield Part(text, data=True)
            yield Part("<|im_end|>\n")
    if add_generation_prompt:
        yield Part("<|im_start|>assistant\n<think>\n" + ("" if open_thinking else "\n</think>\n\n"))


def _assistant(message: Message, text: str) -> Iterator[Part]:
    """The turn that is learned: thoughts (also an empty block), content, calls, end token."""
    thought = message.get("reasoning_content")
    if not isinstance(thought, str):
        thought = ""
        if "</think>" in text:
            thought = text.split("</think>")[0].split("<think>")[-1]
            text = text.split("</think>")[-1].lstrip("\n")
    yield Part("<|im_start|>assistant\n")
    yield Part("<think>\n", learn=True)
    yield Part(thought.strip("\n"), data=True, learn=True)
    yield Part("\n</think>\n\n", learn=True)
    yield Part(text.lstrip("\n"), data=True, learn=True)
    for index, call in enumerate(message.get("tool_calls") or []):
        call = call.get("function") or call
        given = call.get("arguments")
        yield Part(("\n" if text or index else "") + "<tool_call>\n", learn=True)
        body = f'{{"name": "{call.get("name")}", "arguments": '
        body += (given if isinstance(given, str) else _json(given)) + "}"
        yield Part(body, data=True, learn=True)
        yield Part("\n</tool_call>", learn=True)
    yield Part("<|im_end|>", learn=True)
    yield Part("\n")


def _text(message: Message) -> str:
    content = message.get("content")
    if content is not None and not isinstance(content, str):
        raise WrongCall(f"content is {type(content).__name__}, and only text can be rendered.")
    return content or ""


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def control_ids(tokenizer: Encoder) -> dict[str, int]:
    """The reserved tokens of a tokenizer. MinimindError when it has none to mark a turn with."""
    if isinstance(tokenizer, ByteTokenizer):
        return {token: 256 + index for index, token in enumerate(SPECIALS)}
    ids: dict[str, int] = dict(getattr(tokenizer, "special_ids", {}))
    if not {"<|im_start|>", "<|im_end|>"} <= set(ids):
        raise MinimindError(
            "the tokenizer has no <|im_start|> and <|im_end|> among its reserved tokens, so it "
            "cannot mark a turn. Train one with 'minimind tokenizer train'."
        )
    return ids


def render(
    messages: Sequence[Message],
    tokenizer: Encoder,
    tools: Sequence[Any] = (),
    add_generation_prompt: bool = False,
    open_thinking: bool = False,
) -> Rendered:
    """Ids of a chat and the spans to learn. Errors as in `parts` and `control_ids`.

    Text is encoded in stretches that are as long as they can be, from one control token or edge
    of a span to the next, because the cut into pieces looks at neighbours. A span begins with
    `<think>`, before which the cut separates also where the vocabulary has no such token.
    """
    control = control_ids(tokenizer)
    marks = re.compile("(" + "|".join(map(re.escape, sorted(control, key=len, reverse=True))) + ")")
    stretches: list[tuple[str, int | None, bool]] = []  # text, id of a control token, learn
    for part in parts(messages, tools, add_generation_prompt, open_thinking):
        for text in [part.text] if part.data else marks.split(part.text):
            known = None if part.data else control.get(text)
            stretches.append((text, known, part.learn))
    ids: list[int] = []
    spans: list[tuple[int, int]] = []
    for learn, turn in groupby(stretches, key=lambda s: s[2]):
        start = len(ids)
        for known, run in groupby(turn, key=lambda s: s[1]):
            if known is None:
                ids += tokenizer.encode("".join(text for text, _, _ in run))
            else:
                ids += [known for _ in run]
        if learn:
            spans.append((start, len(ids)))
    return Rendered(ids, spans)
