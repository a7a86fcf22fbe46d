"""Forgets the norm."""
# expect: one block
# says: without the norm

import minimind_wiki.lite as torch


def residual_stack(x: torch.Tensor, blocks, norm, scale: float) -> torch.Tensor:
    for attention, feed_forward in blocks:
        x = x + scale * attention(x)
        x = x + scale * feed_forward(x)
    return x
