"""Adds the normed input in place of the input."""
# expect: one block
# says: normed input is added

import minimind_wiki.lite as torch


def residual_stack(x: torch.Tensor, blocks, norm, scale: float) -> torch.Tensor:
    for attention, feed_forward in blocks:
        read = norm(x)
        x = read + scale * attention(read)
        read = norm(x)
        x = read + scale * feed_forward(read)
    return x
