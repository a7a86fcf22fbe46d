"""Comparisons as rows of a batch: two answers to one prompt, or single answers with a verdict.

A pair is two chats that differ in their last turn alone. A verdict is a chat with `"label": true`
where its last turn was liked and `false` where it was not; a pair is two verdicts at once. Only the
last turn is learned, and all answers to a prompt keep the same part of it (see `answers.fit`).
Shapes: B rows, T tokens in each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from minimind_wiki.errors import MinimindError
from minimind_wiki.tokenizer import Tokenizer
from minimind_wiki.tokenizer.chat import from_row, render
from minimind_wiki.train.answers import answer_rows, fit
from minimind_wiki.train.batches import Tokens
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.feeds import Feed
from minimind_wiki.train.sources import Row, Source


class Verdict(NamedTuple):
    """Ids of a prompt, of answers to it that fit a row with it, and which of them are good."""

    prompt: list[int]
    answers: list[list[int]]
    good: list[bool]
    cut: int  # tokens that the prompt lost at its beginning


def verdict(row: Row, tokenizer: Tokenizer, length: int) -> Verdict:
    """What a row says, in at most `length` tokens.

    MinimindError, with how the prompt begins, for a row that cannot be judged or does not fit.
    """
    if "chosen" in row:
        (prompt, good), (other, bad) = (
            last_turn(row[k], tokenizer) for k in ("chosen", "rejected")
        )
        found, labels, what = [good, bad], [True, False], "pair whose chosen chat"
    else:
        prompt, answer = last_turn(row["conversations"], tokenizer)
        other, found, what = prompt, [answer], "chat that"
        labels = [row["label"]] if isinstance(row.get("label"), bool) else []
    try:
        if prompt != other:
            raise MinimindError("its two chats differ before their last turn.")
        if not labels:
            raise MinimindError('it has no verdict; give it "label": true or "label": false.')
        fitted = fit(prompt, found, length)
    except MinimindError as error:
        told = tokenizer.decode(prompt)[:60]
        raise MinimindError(f"the {what} begins with {told!r}: {error}") from error
    return Verdict(fitted.prompt, fitted.answers, labels, fitted.cut)


def last_turn(messages: Sequence[Any], tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """Ids of all before the last assistant's turn, and of what it said with its end token."""
    said, tools = from_row(messages)
    rendered = render(said, tokenizer, tools)
    if not rendered.spans:
        raise MinimindError("a chat has no assistant's turn; give it an answer.")
    begin, end = rendered.spans[-1]
    return rendered.ids[:begin], rendered.ids[begin:end]


def pair_rows(rows: Sequence[Row], tokenizer: Tokenizer, length: int) -> tuple[Tokens, int]:
    """Pairs as a batch, two rows of tokens each; and how many lost the beginning of their prompt.

    MinimindError for a pair that cannot be compared or does not fit.
    """
    found = [verdict(row, tokenizer, length) for row in rows]
    answers = [(one.prompt, answer) for one in found for answer in one.answers]
    batch = answer_rows(answers, tokenizer.pad_id)
    tokens = Tokens(batch.ids_BT, batch.labels_BT, together=2, units=len(rows))
    return tokens, sum(one.cut > 0 for one in found)


def pair_feed(source: Source, config: TrainConfig, tokenizer: Tokenizer) -> Feed:
    """Batches of `batch_size` pairs. A pair that does not fit loses the beginning of its prompt."""
    many, length = config.batch_size, config.context_length
    held, cut = [], 0
    for at in range(0, len(source.held_out), many):
        batch, short = pair_rows(source.held_out[at : at + many], tokenizer, length)
        held.append(batch)
        cut += short
    return Feed(
        lambda step: pair_rows(list(source.rows(step * many, many)), tokenizer, length)[0],
        tuple(held), np.empty(0, np.int64), (), source.about, source.line,
        f"Held out: {len(source.held_out):,} pairs, of which {cut:,} lose the beginning of their "
        f"prompt to fit {length} tokens; training pairs likewise.",
    )  # fmt: skip


def verdict_rows(
    found: Sequence[Verdict], others: Sequence[Verdict], tokenizer: Tokenizer, length: int
) -> Tokens:
    """Answers as a batch, with `good_B`, and each prompt with the answers to another one.

    `others[i]` lends its answers to the prompt of `found[i]`; these rows are `other_ids_BT` and
    `other_labels_BT`. Answers of a pair stand together.
    """
    own = [(one.prompt, answer) for one in found for answer in one.answers]
    lent = []
    for one, other in zip(found, others, strict=True):
        fitted = fit(one.prompt, other.answers, length)
        lent += [(fitted.prompt, answer) for answer in fitted.answers]
    batch, mixed = (answer_rows(rows, tokenizer.pad_id) for rows in (own, lent))
    more = {"good_B": torch.tensor([good for one in found for good in one.good]),
            "other_ids_BT": mixed.ids_BT, "other_labels_BT": mixed.labels_BT}  # fmt: skip
    together = len(found[0].answers)
    return Tokens(batch.ids_BT, batch.labels_BT, more=more, together=together, units=len(own))


def verdict_feed(source: Source, config: TrainConfig, tokenizer: Tokenizer) -> Feed:
    """Batches of `batch_size` pairs or single answers. Each prompt is lent the answers to the one
    before it, the first those to the last. MinimindError where fewer than 2 rows are held out."""
    many, length = config.batch_size, config.context_length
    if len(source.held_out) < 2:
        raise MinimindError(
            "kto needs at least 2 rows held out, to give a prompt another's answer; give a larger "
            "--held-out or --eval-windows, or more rows."
        )

    def read(row: Row) -> Verdict:
        return verdict(row, tokenizer, length)

    def at(step: int) -> Tokens:
        found = [read(row) for row in source.rows(step * many, many)]
        return verdict_rows(found, found[-1:] + found[:-1], tokenizer, length)

    all_held = [read(row) for row in source.held_out]
    lent = all_held[-1:] + all_held[:-1]
    held = tuple(
        verdict_rows(all_held[i : i + many], lent[i : i + many], tokenizer, length)
        for i in range(0, len(all_held), many)
    )
    good = sum(sum(one.good) for one in all_held)
    return Feed(
        at, held, np.empty(0, np.int64), (), source.about, source.line,
        f"Held out: {sum(part.units for part in held):,} answers, {good:,} of them good; "
        f"{sum(one.cut > 0 for one in all_held):,} prompts lose their beginning to fit {length} "
        "tokens.",
    )  # fmt: skip
