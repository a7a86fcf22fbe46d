"""Norms the sum, as the first transformer did."""
# expect: one block
# says: post-norm

import minimind_wiki.lite as torch


def residual_stack(x: torch.Tensor, blocks, norm, scale: float) -> torch.Tensor:
    for attention, feed_forward in blocks:
        x = norm(x + scale * attention(x))
        x = norm(x + scale * feed_forward(x))
    return x
