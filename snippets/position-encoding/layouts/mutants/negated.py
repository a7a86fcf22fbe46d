"""Turns the sign of the second half."""
# expect: one head
# says: other numbers

import minimind_wiki.lite as torch


def to_half_split(weight: torch.Tensor, heads: int) -> torch.Tensor:
    pairs = weight.shape[0] // heads // 2
    table = weight.reshape(heads, pairs, 2, -1).transpose(1, 2)
    sign = torch.tensor([1.0, -1.0]).reshape(1, 2, 1, 1)
    return (table * sign).reshape(weight.shape)
