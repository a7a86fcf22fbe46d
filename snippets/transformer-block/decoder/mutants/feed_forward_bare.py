"""Lets the feed-forward read the stream itself."""
# expect: one block
# says: feed-forward reads the stream without

import minimind_wiki.lite as torch


def decoder(ids: torch.Tensor, embedding: torch.Tensor, blocks, last_norm) -> torch.Tensor:
    x = embedding[ids]
    for norm_1, attention, _, feed_forward in blocks:
        x = x + attention(norm_1(x))
        x = x + feed_forward(x)
    return last_norm(x) @ embedding.T
