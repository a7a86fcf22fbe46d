"""Writes the result into the weight."""
# expect: input unchanged
# says: in place

import minimind_wiki.lite as torch


def to_half_split(weight: torch.Tensor, heads: int) -> torch.Tensor:
    pairs = weight.shape[0] // heads // 2
    table = weight.detach().reshape(heads, pairs, 2, -1).clone()
    moved = table.transpose(1, 2).reshape(weight.shape) + 0 * weight
    weight.detach().copy_(moved.detach())
    return moved
