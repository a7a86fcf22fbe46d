"""Hides a place from itself, so that the first sees nothing: 0 / 0."""
# expect: one place
# says: see itself

import math

import minimind_wiki.lite as torch


def causal_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    places, width = range(q.shape[-2]), q.shape[-1]
    scores = q @ k.transpose(-1, -2) / math.sqrt(width)
    hide = torch.tensor([[0.0 if s < t else -math.inf for s in places] for t in places])
    return torch.softmax(scores + hide, -1) @ v
