from collections.abc import Callable, Sequence

import minimind_wiki.lite as torch  # on a laptop: import torch

Branch = Callable[[torch.Tensor], torch.Tensor]


def residual_stack(
    x: torch.Tensor,
    blocks: Sequence[tuple[Branch, Branch]],
    norm: Branch,
    scale: float,
) -> torch.Tensor:
    """The stream x (..., D) after all blocks; each block is a pair (attention, feed_forward)."""
    raise NotImplementedError
