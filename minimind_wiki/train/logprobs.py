"""How probable a model finds the tokens of a text: what preferences, policies and teachers need.

log p(y_t | y_<t) is the score of the label minus the logarithm of the sum of all exponentials. All
scores at once are (tokens, V), far more than the answer, which is one number a token. So a chunk of
tokens is scored at a time and its scores are thrown away; where a gradient is wanted, they are made
again in the backward pass (gradient checkpointing, Chen et al. 2016, arXiv:1604.06174). That costs
one more product with the head. `losses` needs none, because there the gradient of every token's
loss is known in the forward pass; here it depends on the whole row, or on the other row of a pair.
Prompts and padding, whose label is IGNORE, are not scored at all.
Shapes: B rows, T tokens, K tokens that have a label, C tokens of a chunk, D hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from minimind_wiki.data.packing import IGNORE
from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.model import Transformer

Head = Callable[[Tensor], Tensor]  # hidden (…, D) to scores (…, V)


class Scored(NamedTuple):
    """Log-probabilities of the labels in nats, float32, and which places have one."""

    logp_BT: Tensor  # 0 where there is no label
    mask_BT: Tensor  # bool
    entropy_BT: Tensor | None  # of the whole distribution at each label, 0 where there is none


def in_chunks(score: Callable[..., Tensor], chunk: int, *inputs: Tensor) -> Tensor:
    """`score(*inputs)`, which maps their N rows to N rows of its result, `chunk` rows at a time.

    Between forward and backward pass only inputs and results are kept. A chunk of 0 means all.
    """
    if not chunk or len(inputs[0]) <= chunk:
        return score(*inputs)
    parts = zip(*(rows.split(chunk) for rows in inputs), strict=True)
    return torch.cat([checkpoint(score, *part, use_reentrant=False) for part in parts])


def label_logprobs(
    head: Head,
    hidden_BTD: Tensor,
    labels_BT: Tensor,
    chunk: int = 0,
    temperature: float = 1.0,
    entropy: bool = False,
) -> Scored:
    """Log-probabilities of the labels after hidden states, under softmax(scores / temperature).

    The temperature is that of the sampler whose tokens are scored. Equal to log_softmax and gather
    over all scores, also in its gradient (`tests/parity/test_preference.py`).

    >>> scored = label_logprobs(lambda x: x, torch.zeros(1, 2, 4), torch.tensor([[3, IGNORE]]))
    >>> scored.logp_BT, scored.mask_BT  # log 1/4
    (tensor([[-1.3863,  0.0000]]), tensor([[ True, False]]))
    """
    if temperature <= 0:
        raise WrongCall(f"temperature is {temperature}; give one above 0 (1 leaves the model's).")
    mask_BT = labels_BT != IGNORE
    place_K = mask_BT.flatten().nonzero()[:, 0]

    def score(hidden_CD: Tensor, labels_C: Tensor) -> Tensor:
        scores_CV = head(hidden_CD).float() / temperature
        normalizer_C = scores_CV.logsumexp(-1)
        found = [scores_CV.gather(1, labels_C[:, None])[:, 0] - normalizer_C]
        if entropy:  # -Σ p log p = log Σ exp(x) - Σ p x
            found.append(normalizer_C - (scores_CV.softmax(-1) * scores_CV).sum(-1))
        return torch.stack(found, -1)

    inputs = hidden_BTD.flatten(0, 1)[place_K], labels_BT.flatten()[place_K]
    found_K2 = in_chunks(score, chunk, *inputs)
    found_N2 = found_K2.new_zeros(mask_BT.numel(), found_K2.shape[1])
    found_N2 = found_N2.index_copy(0, place_K, found_K2)
    columns = [column_N.view_as(labels_BT) for column_N in found_N2.unbind(1)]
    return Scored(columns[0], mask_BT, columns[1] if entropy else None)


def logprobs(
    model: Transformer,
    ids_BT: Tensor,
    labels_BT: Tensor,
    documents_BT: Tensor | None = None,
    chunk: int = 0,
    temperature: float = 1.0,
    entropy: bool = False,
) -> Scored:
    """`label_logprobs` of a batch under a model (`losses.chunk_tokens` suggests a chunk)."""
    hidden_BTD = model.model(ids_BT, documents_BT=documents_BT)
    return label_logprobs(model.lm_head, hidden_BTD, labels_BT, chunk, temperature, entropy)


def row_sums(logp_BT: Tensor, mask_BT: Tensor, first: int = 0) -> tuple[Tensor, Tensor]:
    """log p(answer | prompt) of each row and its number of tokens, both (B,).

    Raises MinimindError, with the number of the row, for one without any label: its sum would be 0,
    the best there is, and its mean 0/0. `first` is the number of the first row, for that message.

    >>> row_sums(torch.tensor([[-1.0, -2.0, 0.0]]), torch.tensor([[True, True, False]]))
    (tensor([-3.]), tensor([2]))
    """
    tokens_B = mask_BT.sum(1)
    empty = (tokens_B == 0).nonzero()[:, 0].tolist()
    if empty:
        raise MinimindError(
            f"row {first + empty[0]} has nothing to learn: no token of it has a label. Its answer "
            "is empty, or was cut off; leave the row out or keep its answer (`answers.fit`)."
        )
    return logp_BT.masked_fill(~mask_BT, 0.0).sum(1), tokens_B
