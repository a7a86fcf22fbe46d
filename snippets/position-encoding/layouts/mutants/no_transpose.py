"""Two reshapes without the transpose between them."""
# expect: one head
# says: still in the order of neighbours

import minimind_wiki.lite as torch


def to_half_split(weight: torch.Tensor, heads: int) -> torch.Tensor:
    pairs = weight.shape[0] // heads // 2
    return weight.reshape(heads, 2, pairs, -1).reshape(weight.shape)
