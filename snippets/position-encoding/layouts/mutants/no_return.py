"""Forgets the return."""
# expect: one head
# says: returns None

import minimind_wiki.lite as torch


def to_half_split(weight: torch.Tensor, heads: int) -> torch.Tensor:
    pairs = weight.shape[0] // heads // 2
    weight.reshape(heads, pairs, 2, -1).transpose(1, 2).reshape(weight.shape)
