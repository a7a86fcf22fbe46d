"""Fully sharded data parallel: no process ever keeps the whole model (FSDP2; the idea is stage 3 of
ZeRO, Rajbhandari et al. 2020, arXiv:1910.02054).

Each weight lies in n pieces, a piece in each process, with its gradient and its optimizer state.
Before a block computes, its pieces are gathered; afterwards the whole is thrown away, and gathered
once more for backward. Gradients are summed and dealt out in one go (reduce-scatter). Rows are
dealt as with DDP, and the arithmetic of a block is that of one process.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from minimind_wiki.errors import WrongCall
from minimind_wiki.model import Transformer
from minimind_wiki.train.losses import LossModel
from minimind_wiki.train.parallel import Dealing


def shard(model: Transformer, size: int, device_type: str) -> FSDPModule:
    """Cut every weight of a Transformer in `size` pieces along its first axis, in place.

    Each block is gathered on its own. Embedding, last norm and head are one more unit: a tied head
    needs the embedding's weight at the start and at the end.
    """
    mesh = init_device_mesh(device_type, (size,))
    for unit in (*model.model.layers, model):
        sharded = fully_shard(unit, mesh=mesh)
        # The loss is divided by the tokens of the whole batch, so gradients are added and not
        # averaged. Each unit must be told; and gloo knows no other way of adding than a plain sum.
        sharded.set_gradient_divide_factor(1.0)
        sharded.set_force_sum_reduction_for_comms(True)
    return sharded


class Sharded(Dealing):
    """Rows dealt as with DDP; weights, gradients and optimizer state in pieces."""

    kind = "fsdp"
    apart = True

    def spread(self, loss: LossModel) -> nn.Module:
        if loss.chunk:
            raise WrongCall("fsdp makes all scores at once: give loss_chunk 0 and smaller batches.")
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.sharded = shard(loss.model, self.size, device)
        return loss

    def accumulating(self, last: bool) -> AbstractContextManager[object]:
        self.sharded.set_requires_gradient_sync(last)
        return nullcontext()
