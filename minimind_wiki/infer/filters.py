"""What changes the scores of the next token, besides temperature, top-k and top-p (`sampling`).

Each filter is a pure function of scores (B, V) and, where it needs them, of the tokens so far. The
first four look at a request's own tokens, the last two at the shape of the distribution. `draw`
applies them in the order of transformers' `generate`: bias, repetition, presence and frequency,
repeated n-grams; then temperature, top-k, top-p, min-p, typical.

Shapes: B batch, T tokens so far, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def add_bias(logits_BV: Tensor, bias: Mapping[int, float]) -> Tensor:
    """Add a number to the scores of some tokens; -100 forbids a token, +100 all but forces it.

    >>> add_bias(torch.zeros(1, 3), {2: 5.0})
    tensor([[0., 0., 5.]])
    """
    ids = torch.tensor(list(bias), dtype=torch.int64, device=logits_BV.device)
    values = torch.tensor(list(bias.values()), dtype=logits_BV.dtype, device=logits_BV.device)
    return logits_BV.index_add(1, ids, values.expand(len(logits_BV), -1))


def penalize_repetition(logits_BV: Tensor, seen_BV: Tensor, penalty: float) -> Tensor:
    """Make tokens that were seen (bool, the prompt's too) less likely (after Keskar et al. 2019,
    arXiv:1909.05858).

    A positive score is divided by the penalty and a negative one multiplied with it, so that both
    fall. Scores have no natural zero, so the effect depends on where the model puts it: adding 10
    to all scores changes no probability, but changes this. The penalties below do not have that.

    >>> seen = torch.tensor([[True, True, False]])
    >>> penalize_repetition(torch.tensor([[2.0, -2.0, 2.0]]), seen, penalty=2.0)
    tensor([[ 1., -4.,  2.]])
    """
    lower_BV = torch.where(logits_BV < 0, logits_BV * penalty, logits_BV / penalty)
    return torch.where(seen_BV, lower_BV, logits_BV)


def penalize_counts(
    logits_BV: Tensor, counts_BV: Tensor, presence: float, frequency: float
) -> Tensor:
    """OpenAI's penalties: logit - frequency · count - presence · (count > 0).

    `counts_BV` says how often each token was drawn; the prompt does not count, as in OpenAI's
    definition ("sampled prior to the current position") and in vLLM.

    >>> penalize_counts(torch.zeros(1, 3), torch.tensor([[0, 1, 2]]), presence=1.0, frequency=0.5)
    tensor([[ 0.0000, -1.5000, -2.0000]])
    """
    return logits_BV - frequency * counts_BV - presence * (counts_BV > 0)


def refuse_repeats(logits_BV: Tensor, ids_BT: Tensor, size: int) -> Tensor:
    """Refuse every token that would complete a run of `size` tokens that stands in the text already
    (Paulus et al. 2017, arXiv:1705.04304, for size 3).

    The last size - 1 tokens are the beginning of such a run. Wherever the same tokens stand
    before, the one that followed them is refused.

    >>> refuse_repeats(torch.zeros(1, 4), torch.tensor([[1, 2, 3, 1]]), size=2)  # after 1 came 2
    tensor([[0., 0., -inf, 0.]])
    """
    if ids_BT.shape[1] < size:
        return logits_BV
    begun_BN = ids_BT[:, ids_BT.shape[1] + 1 - size :]
    runs_BWS = ids_BT.unfold(1, size, 1)
    again_BW = (runs_BWS[..., :-1] == begun_BN[:, None]).all(dim=-1)
    # A run that does not match writes to a column of its own, so that it cannot allow a token that
    # another run refuses.
    spare = logits_BV.shape[1]
    last_BW = runs_BWS[..., -1].masked_fill(~again_BW, spare)
    refused_BV = torch.zeros(len(logits_BV), spare + 1, dtype=torch.bool, device=logits_BV.device)
    refused_BV.scatter_(1, last_BW, True)
    return logits_BV.masked_fill(refused_BV[:, :spare], float("-inf"))


def keep_min_p(logits_BV: Tensor, p: float) -> Tensor:
    """Refuse tokens less likely than p times the likeliest (Nguyen et al. 2024, arXiv:2407.01082).

    The bar follows the model: where it is sure few tokens pass, where it is not many do.

    >>> keep_min_p(torch.tensor([[0.6, 0.3, 0.1]]).log(), p=0.4).exp()
    tensor([[0.6000, 0.3000, 0.0000]])
    """
    probability_BV = torch.softmax(logits_BV, dim=-1)
    best_B1 = probability_BV.amax(dim=-1, keepdim=True)
    return logits_BV.masked_fill(probability_BV < p * best_B1, float("-inf"))


def keep_typical(logits_BV: Tensor, mass: float) -> Tensor:
    """Keep the tokens whose surprise is nearest to the expected one, until their probabilities
    reach `mass` together (Meister et al. 2022, arXiv:2202.00666).

    Surprise is -log p, and what is expected of it is the entropy. The likeliest token may be
    refused: in a sentence that says something, not every word is the obvious one.

    >>> keep_typical(torch.tensor([[0.5, 0.2, 0.2, 0.1]]).log(), mass=0.3).exp()
    tensor([[0.0000, 0.2000, 0.2000, 0.0000]])
    """
    logp_BV = torch.log_softmax(logits_BV, dim=-1)
    entropy_B1 = -(logp_BV * logp_BV.exp()).nansum(dim=-1, keepdim=True)  # refused: -inf · 0
    distance_BV, order_BV = (-logp_BV - entropy_B1).abs().sort(dim=-1)
    together_BV = torch.softmax(logits_BV.gather(-1, order_BV), dim=-1).cumsum(dim=-1)
    last_B1 = (together_BV < mass).sum(dim=-1, keepdim=True).clamp(max=logits_BV.shape[-1] - 1)
    too_far_BV = distance_BV > distance_BV.gather(-1, last_B1)
    refused_BV = torch.zeros_like(too_far_BV).scatter(-1, order_BV, too_far_BV)
    return logits_BV.masked_fill(refused_BV, float("-inf"))
