"""Cuts the branches out of the graph."""
# expect: every gradient
# says: No gradient reaches attention

import minimind_wiki.lite as torch


def residual_stack(x: torch.Tensor, blocks, norm, scale: float) -> torch.Tensor:
    for attention, feed_forward in blocks:
        x = x + scale * attention(norm(x)).detach()
        x = x + scale * feed_forward(norm(x)).detach()
    return x
