"""Lets both branches read the same normed stream."""
# expect: one block
# says: same normed x

import minimind_wiki.lite as torch


def decoder(ids: torch.Tensor, embedding: torch.Tensor, blocks, last_norm) -> torch.Tensor:
    x = embedding[ids]
    for norm_1, attention, _, feed_forward in blocks:
        read = norm_1(x)
        x = x + attention(read) + feed_forward(read)
    return last_norm(x) @ embedding.T
