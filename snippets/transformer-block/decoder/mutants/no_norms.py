"""Uses the last norm only."""
# expect: one block
# says: without their norms

import minimind_wiki.lite as torch


def decoder(ids: torch.Tensor, embedding: torch.Tensor, blocks, last_norm) -> torch.Tensor:
    x = embedding[ids]
    for _, attention, _, feed_forward in blocks:
        x = x + attention(x)
        x = x + feed_forward(x)
    return last_norm(x) @ embedding.T
