"""Norms the sums and leaves out the last norm, as the first transformer did."""
# expect: no blocks
# says: last norm is missing

import minimind_wiki.lite as torch


def decoder(ids: torch.Tensor, embedding: torch.Tensor, blocks, last_norm) -> torch.Tensor:
    x = embedding[ids]
    for norm_1, attention, norm_2, feed_forward in blocks:
        x = norm_1(x + attention(x))
        x = norm_2(x + feed_forward(x))
    return x @ embedding.T
