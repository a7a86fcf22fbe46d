from collections.abc import Callable, Sequence

import minimind_wiki.lite as torch

Part = Callable[[torch.Tensor], torch.Tensor]
Block = tuple[Part, Part, Part, Part]  # norm_1, attention, norm_2, feed_forward


def decoder(
    ids: torch.Tensor,
    embedding: torch.Tensor,
    blocks: Sequence[Block],
    last_norm: Part,
) -> torch.Tensor:
    """Scores (T, V) of the token after each of the ids (T); the head is the embedding (V, D)."""
    x = embedding[ids]
    for norm_1, attention, norm_2, feed_forward in blocks:
        x = x + attention(norm_1(x))
        x = x + feed_forward(norm_2(x))
    return last_norm(x) @ embedding.T
