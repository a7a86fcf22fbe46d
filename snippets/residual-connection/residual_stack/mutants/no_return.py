"""Returns nothing."""
# expect: one block
# says: returns None

import minimind_wiki.lite as torch


def residual_stack(x: torch.Tensor, blocks, norm, scale: float) -> torch.Tensor:
    for attention, feed_forward in blocks:
        x = x + scale * attention(norm(x))
        x = x + scale * feed_forward(norm(x))
