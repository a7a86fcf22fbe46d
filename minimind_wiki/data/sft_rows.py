"""Chats as ids with loss flags, and what happens to those that are longer than a row.

The ids and the spans to learn come from `tokenizer.chat.render`, by construction, so a packed row
learns exactly what assistants said. A chat that is too long is treated by a policy, and each case
is counted: nothing is shortened in silence.

- `drop`: whole exchanges (a user's message and all up to the next) are dropped, the oldest first;
  the system message with its tools stays. If the last exchange alone is too long, its end is cut.
- `cut`: the first `max_tokens` tokens stay. This is MiniMind's and most trainers' truncation.
- `reject`: the chat is set aside.

A text among the chats is learned whole, as in pretraining: mixed in, it keeps what the model knew.
A chat whose verdict is bad (`"label": false`) is no model to imitate and is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from minimind_wiki.errors import MinimindError, WrongCall, unknown
from minimind_wiki.tokenizer import Tokenizer
from minimind_wiki.tokenizer.chat import Encoder, Message, from_row, render
from minimind_wiki.tokenizer.protocol import text_ids

POLICIES = ("drop", "cut", "reject")


@dataclass(frozen=True, slots=True)
class Example:
    """One chat: ids (T,), flags (T,) uint8, 1 where the id is learned; what the policy took."""

    ids: np.ndarray
    flags: np.ndarray
    dropped: int = 0  # messages
    cut: int = 0  # tokens


@dataclass(slots=True)
class SftReport:
    """What became of the chats."""

    rows: int = 0
    shortened: int = 0  # lost their oldest exchanges
    messages_dropped: int = 0
    cut: int = 0  # lost their end
    tokens_cut: int = 0
    rejected: int = 0
    disliked: int = 0  # had a bad verdict

    def count(self, example: Example) -> None:
        """One more chat that can be learned from."""
        self.rows += 1
        self.shortened += example.dropped > 0
        self.messages_dropped += example.dropped
        self.cut += example.cut > 0
        self.tokens_cut += example.cut

    def add(self, other: SftReport) -> None:
        """The sum of two reports, in this one."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    def line(self) -> str:
        """For people."""
        return (
            f"{self.rows:,} chats; {self.shortened:,} lost their oldest exchanges "
            f"({self.messages_dropped:,} messages), {self.cut:,} their end ({self.tokens_cut:,} "
            f"tokens), {self.rejected:,} were rejected"
            + (f", {self.disliked:,} disliked." if self.disliked else ".")
        )


def check_policy(policy: str, max_tokens: int | None) -> None:
    """WrongCall for an unknown policy or a length that no chat can have."""
    if policy not in POLICIES:
        raise unknown("policy for long chats", policy, POLICIES)
    if max_tokens is not None and max_tokens < 8:
        raise WrongCall(f"{max_tokens} tokens hold no chat; give max_tokens of at least 8.")


def fit(
    conversations: Sequence[Message],
    tokenizer: Encoder,
    max_tokens: int | None = None,
    policy: str = "drop",
) -> Example:
    """The example of one of MiniMind's chats, at most `max_tokens` long.

    MinimindError, whose text is the reason, when it cannot be rendered, is too long for `reject`,
    or has nothing to learn (left).
    """
    check_policy(policy, max_tokens)
    messages, tools = from_row(conversations)
    rendered = render(messages, tokenizer, tools)
    dropped = 0
    if max_tokens is not None and len(rendered.ids) > max_tokens:
        if policy == "reject":
            raise MinimindError(
                f"the chat has {len(rendered.ids):,} tokens, more than {max_tokens:,}"
            )
        head = 1 if messages[0].get("role") == "system" else 0
        starts = _exchanges(messages, head) if policy == "drop" else []
        for start in starts[1:]:
            rendered = render(messages[:head] + messages[start:], tokenizer, tools)
            dropped = start - head
            if len(rendered.ids) <= max_tokens:
                break
    ids = np.array(rendered.ids, dtype=np.uint32)
    flags = np.zeros(len(ids), dtype=np.uint8)
    for start, end in rendered.spans:
        flags[start:end] = 1
    cut = 0 if max_tokens is None else max(0, len(ids) - max_tokens)
    if cut:
        ids, flags = ids[:max_tokens], flags[:max_tokens]
    if not flags.any():
        where = f"its first {max_tokens:,} tokens" if cut else "the chat"
        raise MinimindError(f"no assistant says anything in {where}, so nothing can be learned")
    return Example(ids, flags, dropped, cut)


def whole_text(
    text: str, tokenizer: Tokenizer, max_tokens: int | None = None, policy: str = "drop"
) -> Example:
    """The example of a plain text between bos and eos, at most `max_tokens` long; all is learned.

    MinimindError, whose text is the reason, when it is too long for `reject`.
    """
    check_policy(policy, max_tokens)
    ids = np.array(text_ids(tokenizer, text), dtype=np.uint32)
    cut = 0 if max_tokens is None else max(0, len(ids) - max_tokens)
    if cut and policy == "reject":
        raise MinimindError(f"the text has {len(ids):,} tokens, more than {max_tokens:,}")
    flags = np.ones(len(ids), dtype=np.uint8)
    flags[0] = 0  # nothing stands before it, from which it could be told
    return Example(ids[:max_tokens], flags[:max_tokens], 0, cut)


def _exchanges(messages: Sequence[Mapping[str, Any]], head: int) -> list[int]:
    """Where exchanges begin: at the first message after the head and at each user's.

    >>> roles = ["system", "user", "assistant", "tool", "assistant", "user", "assistant"]
    >>> _exchanges([{"role": role} for role in roles], head=1)
    [1, 5]
    """
    users = [i for i, m in enumerate(messages) if i > head and m.get("role") == "user"]
    return [head, *users]


def examples(
    rows: Iterable[Mapping[str, Any]],
    tokenizer: Tokenizer,
    max_tokens: int | None = None,
    policy: str = "drop",
    report: SftReport | None = None,
) -> Iterator[Example]:
    """`fit` for the `conversations` of each row, or `whole_text` for its `text`; those that do not
    fit, or were disliked, are counted in `report`.

    Without a report such a row raises, as nothing may be lost unseen.
    """
    for row in rows:
        if row.get("label") is False:
            if report is None:
                raise MinimindError("the chat was disliked, and is not to be imitated")
            report.disliked += 1
            continue
        try:
            if "text" in row:
                example = whole_text(row["text"], tokenizer, max_tokens, policy)
            else:
                example = fit(row["conversations"], tokenizer, max_tokens, policy)
        except MinimindError:
            if report is None:
                raise
            report.rejected += 1
            continue
        if report is not None:
            report.count(example)
        yield example
