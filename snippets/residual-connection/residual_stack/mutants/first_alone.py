"""Forgets the second branch."""
# expect: one block
# says: second branch of each block is missing

import minimind_wiki.lite as torch


def residual_stack(x: torch.Tensor, blocks, norm, scale: float) -> torch.Tensor:
    for attention, _ in blocks:
        x = x + scale * attention(norm(x))
    return x
