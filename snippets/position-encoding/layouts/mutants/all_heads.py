"""Reorders over all heads at once."""
# expect: several heads
# says: all heads at once

import minimind_wiki.lite as torch


def to_half_split(weight: torch.Tensor, heads: int) -> torch.Tensor:
    table = weight.reshape(weight.shape[0] // 2, 2, -1)
    return table.transpose(0, 1).reshape(weight.shape)
