"""Prompts and answers as rows of a batch: what is cut, what is learned, how rows are padded.

A row that is too long loses the beginning of its prompt, never its answer: the answer is what is
learned, and its end token is what teaches a model to stop. All answers to one prompt keep the same
part of it, or the difference of their log-probabilities would also be one between two prompts.
Rows are padded on the right, where causal attention keeps the padding out of sight by itself.
Shapes: B rows, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from minimind_wiki.data.packing import IGNORE
from minimind_wiki.errors import MinimindError
from minimind_wiki.train.batches import Tokens

Ids = Sequence[int]


@dataclass(frozen=True, slots=True)
class Fitted:
    """A prompt that fits in front of each of its answers, and how many tokens it lost for that."""

    prompt: list[int]
    answers: list[list[int]]
    cut: int


def fit(prompt: Ids, answers: Sequence[Ids], max_tokens: int) -> Fitted:
    """The end of the prompt that leaves room for the longest of the answers.

    At least one token of the prompt stays: an answer's first token is predicted from what stands
    before it. Raises MinimindError for an empty prompt, an empty answer, and an answer that is too
    long even so; the caller knows which row it was and whether to leave it out.

    >>> fit([1, 2, 3, 4], [[5, 6], [7]], max_tokens=5)
    Fitted(prompt=[2, 3, 4], answers=[[5, 6], [7]], cut=1)
    """
    lengths = [len(answer) for answer in answers]
    if not prompt:
        raise MinimindError("the prompt is empty; begin it with at least one token, such as bos.")
    if not lengths or min(lengths) == 0:
        raise MinimindError("an answer has no tokens; end every answer with the end token.")
    room = max_tokens - max(lengths)
    if room < 1:
        raise MinimindError(
            f"an answer of {max(lengths):,} tokens and one token of its prompt do not fit into "
            f"{max_tokens:,}; leave the row out or give a longer context."
        )
    kept = list(prompt[-room:])
    return Fitted(kept, [list(answer) for answer in answers], len(prompt) - len(kept))


def padded(rows: Sequence[Ids], pad_id: int) -> tuple[Tensor, Tensor]:
    """Rows as one tensor (B, T) as long as the longest, and the length of each, (B,); int64.

    >>> padded([[1, 2, 3], [4]], pad_id=0)
    (tensor([[1, 2, 3],
            [4, 0, 0]]), tensor([3, 1]))
    """
    lengths_B = torch.tensor([len(row) for row in rows])
    ids_BT = torch.full((len(rows), int(lengths_B.max())), pad_id)
    for line, row in enumerate(rows):
        ids_BT[line, : len(row)] = torch.tensor(row)
    return ids_BT, lengths_B


def answer_rows(rows: Sequence[tuple[Ids, Ids]], pad_id: int) -> Tokens:
    """(prompt, answer) pairs as inputs and labels; the answers alone are learned, to their end.

    For pairs give chosen, rejected, chosen, rejected …: then an even number of rows is whole pairs,
    also in a micro-batch. `preference.pairs` takes them apart.

    >>> batch = answer_rows([([1, 2], [3, 4]), ([5], [6])], pad_id=0)
    >>> batch.ids_BT.tolist(), batch.labels_BT.tolist()
    ([[1, 2, 3], [5, 6, 0]], [[-100, 3, 4], [6, -100, -100]])
    """
    ids_BT, lengths_B = padded([[*prompt, *answer] for prompt, answer in rows], pad_id)
    begin_B1 = torch.tensor([len(prompt) for prompt, _ in rows])[:, None]
    place_T = torch.arange(ids_BT.shape[1])
    learned_BT = (place_T >= begin_B1) & (place_T < lengths_B[:, None])
    return Tokens(ids_BT[:, :-1], ids_BT.masked_fill(~learned_BT, IGNORE)[:, 1:])
