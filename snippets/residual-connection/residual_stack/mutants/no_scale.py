"""Ignores the scale."""
# expect: one block
# says: not used

import minimind_wiki.lite as torch


def residual_stack(x: torch.Tensor, blocks, norm, scale: float) -> torch.Tensor:
    for attention, feed_forward in blocks:
        x = x + attention(norm(x))
        x = x + feed_forward(norm(x))
    return x
