"""The inverse: from halves to neighbours."""
# expect: one head
# says: way back

import minimind_wiki.lite as torch


def to_half_split(weight: torch.Tensor, heads: int) -> torch.Tensor:
    table = weight.reshape(heads, 2, weight.shape[0] // heads // 2, -1)
    return table.transpose(1, 2).reshape(weight.shape)
