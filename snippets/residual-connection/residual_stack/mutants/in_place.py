"""Adds in place."""
# expect: input unchanged
# says: changed in place

import minimind_wiki.lite as torch


def residual_stack(x: torch.Tensor, blocks, norm, scale: float) -> torch.Tensor:
    for attention, feed_forward in blocks:
        x += scale * attention(norm(x))
        x += scale * feed_forward(norm(x))
    return x
