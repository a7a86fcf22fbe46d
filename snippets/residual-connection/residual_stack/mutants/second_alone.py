"""Forgets the first branch."""
# expect: one block
# says: first branch of each block is missing

import minimind_wiki.lite as torch


def residual_stack(x: torch.Tensor, blocks, norm, scale: float) -> torch.Tensor:
    for _, feed_forward in blocks:
        x = x + scale * feed_forward(norm(x))
    return x
