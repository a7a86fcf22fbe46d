"""Multiplies the embedding by the root of D, as the first transformer did."""
# expect: one block
# says: root of D

import minimind_wiki.lite as torch


def decoder(ids: torch.Tensor, embedding: torch.Tensor, blocks, last_norm) -> torch.Tensor:
    x = embedding[ids] * embedding.shape[1] ** 0.5
    for norm_1, attention, norm_2, feed_forward in blocks:
        x = x + attention(norm_1(x))
        x = x + feed_forward(norm_2(x))
    return last_norm(x) @ embedding.T
