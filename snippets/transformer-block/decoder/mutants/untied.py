"""Draws a head of its own."""
# expect: no blocks
# says: is the head that table

import minimind_wiki.lite as torch


def decoder(ids: torch.Tensor, embedding: torch.Tensor, blocks, last_norm) -> torch.Tensor:
    x = embedding[ids]
    for norm_1, attention, norm_2, feed_forward in blocks:
        x = x + attention(norm_1(x))
        x = x + feed_forward(norm_2(x))
    head = torch.randn(embedding.shape[1], embedding.shape[0])
    return last_norm(x) @ head
