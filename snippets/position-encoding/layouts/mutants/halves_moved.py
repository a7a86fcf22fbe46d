"""Exchanges the halves of each head."""
# expect: one head
# says: whole halves

import minimind_wiki.lite as torch


def to_half_split(weight: torch.Tensor, heads: int) -> torch.Tensor:
    dim = weight.shape[0] // heads
    rows = [*range(dim // 2, dim), *range(dim // 2)]
    return weight.reshape(heads, dim, -1)[:, rows].reshape(weight.shape)
