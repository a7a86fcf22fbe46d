"""Forgets the second sum."""
# expect: one block
# says: around the feed-forward

import minimind_wiki.lite as torch


def decoder(ids: torch.Tensor, embedding: torch.Tensor, blocks, last_norm) -> torch.Tensor:
    x = embedding[ids]
    for norm_1, attention, norm_2, feed_forward in blocks:
        x = x + attention(norm_1(x))
        x = feed_forward(norm_2(x))
    return last_norm(x) @ embedding.T
