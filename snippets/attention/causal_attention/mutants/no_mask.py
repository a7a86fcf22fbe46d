"""Hides nothing."""
# expect: nothing leaks
# says: Nothing is hidden

import math

import minimind_wiki.lite as torch


def causal_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    width = q.shape[-1]
    scores = q @ k.transpose(-1, -2) / math.sqrt(width)
    return torch.softmax(scores, -1) @ v
