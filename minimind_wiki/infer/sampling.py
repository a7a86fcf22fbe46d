"""From scores to one token: temperature, top-k, top-p (Holtzman et al. 2019, arXiv:1904.09751).

Each filter is a pure function that sets refused scores to -inf; `sample_next` applies them in
transformers' order (temperature, top-k, top-p) and draws.

Shapes: B batch, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

from minimind_wiki.errors import WrongCall


def keep_top_k(logits_BV: Tensor, k: int) -> Tensor:
    """Refuse every score below the k-th largest of its row.

    >>> keep_top_k(torch.tensor([[1.0, 3.0, 2.0]]), k=2)
    tensor([[-inf, 3., 2.]])
    """
    kth = logits_BV.topk(min(k, logits_BV.shape[-1]), dim=-1).values[:, -1:]
    return logits_BV.masked_fill(logits_BV < kth, float("-inf"))


def keep_top_p(logits_BV: Tensor, p: float) -> Tensor:
    """Keep the fewest most probable tokens whose probabilities reach p together; always the first.

    >>> keep_top_p(torch.tensor([[0.5, 0.3, 0.2]]).log(), p=0.6).exp()
    tensor([[0.5000, 0.3000, 0.0000]])
    """
    ordered, order = logits_BV.sort(dim=-1, descending=True)
    probability = torch.softmax(ordered, dim=-1)
    before = probability.cumsum(dim=-1) - probability  # mass of the tokens that rank higher
    refused = torch.zeros_like(order, dtype=torch.bool).scatter(-1, order, before >= p)
    return logits_BV.masked_fill(refused, float("-inf"))


def check_sampling(temperature: float, top_k: int | None, top_p: float | None) -> None:
    """Raise WrongCall for values that have no meaning."""
    if not temperature >= 0:
        raise WrongCall(f"temperature is {temperature}; give 0 (always the best token) or more.")
    if top_k is not None and top_k < 1:
        raise WrongCall(f"top_k is {top_k}; give 1 or more, or leave it out.")
    if top_p is not None and not 0 < top_p <= 1:
        raise WrongCall(f"top_p is {top_p}; give a probability above 0 and up to 1.")


def sample_next(
    logits_BV: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw one token id a row, (B) int64. Temperature 0 takes the best and draws nothing.

    The generator must live on the logits' device. Raises WrongCall for a negative temperature,
    top_k < 1 or top_p outside (0, 1].

    >>> sample_next(torch.tensor([[1.0, 3.0, 2.0]]), temperature=0)
    tensor([1])
    """
    check_sampling(temperature, top_k, top_p)
    if temperature == 0:
        return logits_BV.argmax(dim=-1)
    logits_BV = logits_BV.float() / temperature
    if top_k is not None:
        logits_BV = keep_top_k(logits_BV, top_k)
    if top_p is not None and top_p < 1:
        logits_BV = keep_top_p(logits_BV, top_p)
    probability_BV = torch.softmax(logits_BV, dim=-1)
    return torch.multinomial(probability_BV, 1, generator=generator).squeeze(-1)
