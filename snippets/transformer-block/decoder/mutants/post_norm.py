"""Norms the sums, as the first transformer did."""
# expect: one block
# says: post-norm

import minimind_wiki.lite as torch


def decoder(ids: torch.Tensor, embedding: torch.Tensor, blocks, last_norm) -> torch.Tensor:
    x = embedding[ids]
    for norm_1, attention, norm_2, feed_forward in blocks:
        x = norm_1(x + attention(x))
        x = norm_2(x + feed_forward(x))
    return last_norm(x) @ embedding.T
