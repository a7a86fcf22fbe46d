"""Leaves the heads an axis of their own."""
# expect: one head
# says: has shape

import minimind_wiki.lite as torch


def to_half_split(weight: torch.Tensor, heads: int) -> torch.Tensor:
    table = weight.reshape(heads, weight.shape[0] // heads // 2, 2, -1)
    return table.transpose(1, 2)
