"""Norms what the branch returns."""
# expect: one block
# says: branch's result is normed

import minimind_wiki.lite as torch


def residual_stack(x: torch.Tensor, blocks, norm, scale: float) -> torch.Tensor:
    for attention, feed_forward in blocks:
        x = x + scale * norm(attention(x))
        x = x + scale * norm(feed_forward(x))
    return x
