"""Scales the stream."""
# expect: one block
# says: scale is on the stream

import minimind_wiki.lite as torch


def residual_stack(x: torch.Tensor, blocks, norm, scale: float) -> torch.Tensor:
    for attention, feed_forward in blocks:
        x = scale * x + attention(norm(x))
        x = scale * x + feed_forward(norm(x))
    return x
