"""Forgets the sums."""
# expect: one block
# says: Nothing is added

import minimind_wiki.lite as torch


def residual_stack(x: torch.Tensor, blocks, norm, scale: float) -> torch.Tensor:
    for attention, feed_forward in blocks:
        x = scale * attention(norm(x))
        x = scale * feed_forward(norm(x))
    return x
