"""Counts axes from the front, so batch and heads break it."""
# expect: shape
# says: count axes from the end

import math

import minimind_wiki.lite as torch


def causal_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    places, width = range(q.shape[0]), q.shape[1]
    scores = q @ k.transpose(0, 1) / math.sqrt(width)
    hide = torch.tensor([[0.0 if s <= t else -1e9 for s in places] for t in places])
    return torch.softmax(scores + hide, -1) @ v
