"""Forgets that a bias has one axis."""
# expect: bias
# says: IndexError

import minimind_wiki.lite as torch


def to_half_split(weight: torch.Tensor, heads: int) -> torch.Tensor:
    pairs = weight.shape[0] // heads // 2
    table = weight.reshape(heads, pairs, 2, weight.shape[1])
    return table.transpose(1, 2).reshape(weight.shape)
