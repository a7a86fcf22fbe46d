"""Scales what the branch reads."""
# expect: one block
# says: inside the branch

import minimind_wiki.lite as torch


def residual_stack(x: torch.Tensor, blocks, norm, scale: float) -> torch.Tensor:
    for attention, feed_forward in blocks:
        x = x + attention(scale * norm(x))
        x = x + feed_forward(scale * norm(x))
    return x
