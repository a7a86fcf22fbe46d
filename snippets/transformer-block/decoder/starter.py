from collections.abc import Callable, Sequence

import minimind_wiki.lite as torch  # on a laptop: import torch

Part = Callable[[torch.Tensor], torch.Tensor]
Block = tuple[Part, Part, Part, Part]  # norm_1, attention, norm_2, feed_forward


def decoder(
    ids: torch.Tensor,
    embedding: torch.Tensor,
    blocks: Sequence[Block],
    last_norm: Part,
) -> torch.Tensor:
    """Scores (T, V) of the token after each of the ids (T); the head is the embedding (V, D)."""
    raise NotImplementedError
