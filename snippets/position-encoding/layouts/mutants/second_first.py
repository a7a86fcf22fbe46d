"""Takes the second of each pair first."""
# expect: one head
# says: halves are exchanged

import minimind_wiki.lite as torch


def to_half_split(weight: torch.Tensor, heads: int) -> torch.Tensor:
    dim = weight.shape[0] // heads
    rows = [*range(1, dim, 2), *range(0, dim, 2)]
    return weight.reshape(heads, dim, -1)[:, rows].reshape(weight.shape)
