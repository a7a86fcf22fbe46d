"""Returns chances."""
# expect: no blocks
# says: without a softmax

import minimind_wiki.lite as torch


def decoder(ids: torch.Tensor, embedding: torch.Tensor, blocks, last_norm) -> torch.Tensor:
    x = embedding[ids]
    for norm_1, attention, norm_2, feed_forward in blocks:
        x = x + attention(norm_1(x))
        x = x + feed_forward(norm_2(x))
    return (last_norm(x) @ embedding.T).softmax(-1)
