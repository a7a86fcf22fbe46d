"""Adds once around both branches."""
# expect: one block
# says: first sum is missing

import minimind_wiki.lite as torch


def residual_stack(x: torch.Tensor, blocks, norm, scale: float) -> torch.Tensor:
    for attention, feed_forward in blocks:
        branch = scale * attention(norm(x))
        x = x + scale * feed_forward(norm(branch))
    return x
