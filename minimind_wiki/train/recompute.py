"""Activation checkpointing: keep each block's input only, and compute the block again for backward.

Memory for activations falls from all tensors of all blocks to one tensor a block and those of a
single block; time grows by about one forward pass, a third of a step (Chen et al. 2016,
arXiv:1604.06174). The gradients are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from minimind_wiki.model import Transformer


def recompute_blocks(model: Transformer) -> None:
    """From now on every block of the model is computed again in the backward pass.

    The form that is not reentrant: gradients reach everything inside a block, also what it hands
    out beside its result, and `torch.compile` sees through it. Names in the state dict stay.
    """
    # Compiled experts would break the graph in every block: they leave their scores for the
    # balancing losses, and the second forward may not. Once is enough.
    settings = torch._dynamo.config
    if hasattr(settings, "skip_fwd_side_effects_in_bwd_under_checkpoint"):  # not in every torch
        settings.skip_fwd_side_effects_in_bwd_under_checkpoint = True
    for block in model.model.layers:
        block.forward = partial(_twice, block.forward)


def _twice(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    return checkpoint(forward, *args, use_reentrant=False, **kwargs)
