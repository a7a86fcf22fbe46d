"""Returns the weight as it is."""
# expect: one head
# says: still in the order of neighbours

import minimind_wiki.lite as torch


def to_half_split(weight: torch.Tensor, heads: int) -> torch.Tensor:
    return weight.reshape(weight.shape)
