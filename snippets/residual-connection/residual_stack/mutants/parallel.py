"""Gives both branches the same input."""
# expect: one block
# says: Both branches read

import minimind_wiki.lite as torch


def residual_stack(x: torch.Tensor, blocks, norm, scale: float) -> torch.Tensor:
    for attention, feed_forward in blocks:
        read = norm(x)
        x = x + scale * attention(read) + scale * feed_forward(read)
    return x
