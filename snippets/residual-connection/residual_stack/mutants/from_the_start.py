"""Adds every branch to the first input."""
# expect: one block
# says: starts from the first x

import minimind_wiki.lite as torch


def residual_stack(x: torch.Tensor, blocks, norm, scale: float) -> torch.Tensor:
    start = x
    for attention, feed_forward in blocks:
        x = start + scale * attention(norm(x))
        x = start + scale * feed_forward(norm(x))
    return x
