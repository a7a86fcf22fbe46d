"""Cuts attention out of the graph."""
# expect: every gradient
# says: No gradient reaches

import minimind_wiki.lite as torch


def decoder(ids: torch.Tensor, embedding: torch.Tensor, blocks, last_norm) -> torch.Tensor:
    x = embedding[ids]
    for norm_1, attention, norm_2, feed_forward in blocks:
        x = x + attention(norm_1(x)).detach()
        x = x + feed_forward(norm_2(x))
    return last_norm(x) @ embedding.T
