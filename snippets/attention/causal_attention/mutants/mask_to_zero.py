"""Sets hidden scores to 0, and e to 0 is 1."""
# expect: nothing leaks
# says: set to 0

import math

import minimind_wiki.lite as torch


def causal_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    places, width = range(q.shape[-2]), q.shape[-1]
    scores = q @ k.transpose(-1, -2) / math.sqrt(width)
    keep = torch.tensor([[float(s <= t) for s in places] for t in places])
    return torch.softmax(scores * keep, -1) @ v
