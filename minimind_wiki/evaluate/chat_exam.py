"""The world exam for a model that has learned to chat.

Fine-tuning moves what a model knows into the assistant's turns. Asked in plain text, as before, it
seems to have forgotten what it has only learned to say elsewhere. So it is asked in the form that
it was trained on: the prompt is a user's turn of the chat template, an option is the assistant's
turn with the token that ends it, and the likeliest turn is the choice. Items, options, chance and
judge are those of `world_exam`; only the form differs.

Two sections need more than that. In `tools` the model is shown the tools, and an option is a call
of one. `grammar` asks nothing: its options continue a text, so it stays plain text for everyone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from minimind_wiki.data.world.shape import say
from minimind_wiki.data.world.tools import SPECS
from minimind_wiki.evaluate.likelihood import log_likelihood
from minimind_wiki.evaluate.tricks import Item
from minimind_wiki.evaluate.world_exam import (
    LogLikelihood,
    Score,
    by_likelihood,
    exam_items,
)
from minimind_wiki.model import Transformer
from minimind_wiki.tokenizer import Tokenizer
from minimind_wiki.tokenizer.chat import from_row, render

TOOLS_SYSTEM = "You may call tools."  # as the rows of the world say it
PLAIN = ("grammar",)  # sections that continue a text


def messages_of(section: str, prompt: str) -> list[dict[str, str]]:
    """The messages that ask an item, in the shape of the rows of the world's chats.

    >>> messages_of("facts", "What is Mila's job?")
    [{'role': 'user', 'content': "What is Mila's job?"}]
    """
    tools = {"tools": json.dumps(list(SPECS.values()))}
    system = [say("system", TOOLS_SYSTEM, **tools)] if section == "tools" else []
    return [*system, say("user", prompt)]


def chat_likelihood(model: Transformer, tokenizer: Tokenizer, section: str = "") -> LogLikelihood:
    """The function (prompt, option) -> nats, where both are turns of a chat.

    What is scored is all that the assistant writes: the empty thought that the template begins with
    (the same for all options), the option, and the end of the turn. So an option is the likeliest
    only as a whole answer, and not as the beginning of one. In the section `tools` an option is a
    JSON list of calls. A prompt that does not fit loses its beginning (`likelihood`).
    """
    score = log_likelihood(model, _Ids())

    def nats(prompt: str, option: str) -> float:
        said: dict[str, Any] = {"role": "assistant", "content": option.strip()}
        if section == "tools":
            said |= {"content": "", "tool_calls": option.strip()}
        messages, tools = from_row([*messages_of(section, prompt), said])
        chat = render(messages, tokenizer, tools)
        begin, end = chat.spans[-1]
        return score(_Ids.text(chat.ids[:begin]), _Ids.text(chat.ids[begin:end]))

    return nats


def chat_examiner(
    model: Transformer, tokenizer: Tokenizer, begin: Sequence[int] = ()
) -> Callable[[Item], bool]:
    """The judge of `world_exam.exam` for a chat model. `begin` stands before plain text."""
    plain = log_likelihood(model, tokenizer, begin)
    talk, call = (chat_likelihood(model, tokenizer, section) for section in ("", "tools"))

    def judge(item: Item) -> bool:
        by = plain if item.section in PLAIN else call if item.section == "tools" else talk
        return by_likelihood(by, item)

    return judge


def section_marks(
    judge: Callable[[Item], bool], section: str, items: int, split: str = "test", seed: int = 0
) -> tuple[Score, list[bool]]:
    """`world_exam.exam` of one section, with the mark of each item, for `intervals`."""
    asked = list(exam_items(section, items, split, seed))
    marks = [judge(item) for item in asked]
    chance = sum(1 / len(item.options) for item in asked) / len(asked)
    return Score(section, sum(marks), len(marks), chance), marks


class _Ids:
    """Ids as text and back, for `log_likelihood`, which asks its tokenizer for the ids."""

    @staticmethod
    def text(ids: Sequence[int]) -> str:
        return " ".join(map(str, ids))

    def encode(self, text: str) -> list[int]:
        return [int(number) for number in text.split()]
