"""Lets attention read the stream itself."""
# expect: one block
# says: Attention reads the stream without

import minimind_wiki.lite as torch


def decoder(ids: torch.Tensor, embedding: torch.Tensor, blocks, last_norm) -> torch.Tensor:
    x = embedding[ids]
    for _, attention, norm_2, feed_forward in blocks:
        x = x + attention(x)
        x = x + feed_forward(norm_2(x))
    return last_norm(x) @ embedding.T
