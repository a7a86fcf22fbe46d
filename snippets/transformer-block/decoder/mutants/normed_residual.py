"""Adds to the normed stream in place of the stream."""
# expect: one block
# says: normed stream is added

import minimind_wiki.lite as torch


def decoder(ids: torch.Tensor, embedding: torch.Tensor, blocks, last_norm) -> torch.Tensor:
    x = embedding[ids]
    for norm_1, attention, norm_2, feed_forward in blocks:
        x = norm_1(x)
        x = x + attention(x)
        x = norm_2(x)
        x = x + feed_forward(x)
    return last_norm(x) @ embedding.T
