"""Swaps the branches."""
# expect: one block
# says: before attention

import minimind_wiki.lite as torch


def residual_stack(x: torch.Tensor, blocks, norm, scale: float) -> torch.Tensor:
    for attention, feed_forward in blocks:
        x = x + scale * feed_forward(norm(x))
        x = x + scale * attention(norm(x))
    return x
