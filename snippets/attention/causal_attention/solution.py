import math

import minimind_wiki.lite as torch


def causal_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
) -> torch.Tensor:
    """What each place gathers from itself and those before it.

    q and k (..., T, D), v (..., T, E); returns (..., T, E).
    """
    places, width = range(q.shape[-2]), q.shape[-1]
    scores = q @ k.transpose(-1, -2) / math.sqrt(width)  # (..., T, T): row asks, column is asked
    # e to -1e9 is 0: a later place gets no weight, and the others share all of it
    hide = torch.tensor([[0.0 if s <= t else -1e9 for s in places] for t in places])
    return torch.softmax(scores + hide, -1) @ v
