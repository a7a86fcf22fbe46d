"""Reorders the columns."""
# expect: one head
# says: reorder columns

import minimind_wiki.lite as torch


def to_half_split(weight: torch.Tensor, heads: int) -> torch.Tensor:
    dim = weight.shape[-1]
    return weight[..., [*range(0, dim, 2), *range(1, dim, 2)]]
