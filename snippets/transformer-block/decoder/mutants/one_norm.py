"""Uses one norm for both branches."""
# expect: one block
# says: norm of its own

import minimind_wiki.lite as torch


def decoder(ids: torch.Tensor, embedding: torch.Tensor, blocks, last_norm) -> torch.Tensor:
    x = embedding[ids]
    for norm_1, attention, _, feed_forward in blocks:
        x = x + attention(norm_1(x))
        x = x + feed_forward(norm_1(x))
    return last_norm(x) @ embedding.T
