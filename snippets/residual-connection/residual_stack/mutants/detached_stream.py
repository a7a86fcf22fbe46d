"""Cuts the stream out of the graph."""
# expect: every gradient
# says: gradient of x is not

import minimind_wiki.lite as torch


def residual_stack(x: torch.Tensor, blocks, norm, scale: float) -> torch.Tensor:
    for attention, feed_forward in blocks:
        x = x.detach() + scale * attention(norm(x))
        x = x.detach() + scale * feed_forward(norm(x))
    return x
