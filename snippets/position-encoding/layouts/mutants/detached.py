"""Leaves the graph."""
# expect: gradient
# says: No gradient

import minimind_wiki.lite as torch


def to_half_split(weight: torch.Tensor, heads: int) -> torch.Tensor:
    pairs = weight.shape[0] // heads // 2
    table = weight.detach().reshape(heads, pairs, 2, -1)
    return table.transpose(1, 2).reshape(weight.shape)
