"""Hides a place from itself by a low score: the first gives everyone the same weight."""
# expect: nothing leaks
# says: No place sees itself

import math

import minimind_wiki.lite as torch


def causal_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    places, width = range(q.shape[-2]), q.shape[-1]
    scores = q @ k.transpose(-1, -2) / math.sqrt(width)
    hide = torch.tensor([[0.0 if s < t else -1e9 for s in places] for t in places])
    return torch.softmax(scores + hide, -1) @ v
