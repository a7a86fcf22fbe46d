"""The product of blocks of rows with a matrix each: what a layer of experts consists of.

torch's grouped kernel does it on the device for bfloat16, and `torch.compile` knows it for that
format only. For all others the two operators here stand in: one product a block, with the blocks'
ends read on the host (on a GPU that waits for it), and opaque to a compiler, so that a graph stays
whole.

Shapes: A rows of which each is in one of E blocks, I in, O out. `end_E` is where each block ends.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def product(x_AI: Tensor, weight_EOI: list[Tensor], end_E: Tensor) -> Tensor:
    """Each row times the matrix of its block, (A, O): x[a] @ weight[e].T for a in block e.

    >>> product(torch.ones(3, 1), [torch.tensor([[2.0]]), torch.tensor([[5.0]])],
    ...         torch.tensor([1, 3])).T
    tensor([[2., 5., 5.]])
    """
    if x_AI.dtype is torch.bfloat16:
        return F.grouped_mm(x_AI, torch.stack(weight_EOI).mT, offs=end_E)
    return _product(x_AI, weight_EOI, end_E)


@torch.library.custom_op("minimind::block_product", mutates_args=())
def _product(x_AI: Tensor, weight_EOI: list[Tensor], end_E: Tensor) -> Tensor:
    parts = x_AI.tensor_split(end_E[:-1].long().cpu())
    return torch.cat([part @ w.mT for part, w in zip(parts, weight_EOI, strict=True)])


@torch.library.custom_op("minimind::block_outer", mutates_args=())
def _outer(y_AO: Tensor, x_AI: Tensor, end_E: Tensor) -> Tensor:
    """The sum of y ⊗ x over the rows of each block, (E, O, I)."""
    cuts = end_E[:-1].long().cpu()
    pairs = zip(y_AO.tensor_split(cuts), x_AI.tensor_split(cuts), strict=True)
    return torch.stack([y.mT @ x for y, x in pairs])


@_product.register_fake
def _(x_AI: Tensor, weight_EOI: list[Tensor], end_E: Tensor) -> Tensor:
    return x_AI.new_empty(x_AI.shape[0], weight_EOI[0].shape[0])


@_outer.register_fake
def _(y_AO: Tensor, x_AI: Tensor, end_E: Tensor) -> Tensor:
    return x_AI.new_empty(end_E.shape[0], y_AO.shape[1], x_AI.shape[1])


def _keep(ctx: Any, inputs: tuple[Tensor, list[Tensor], Tensor], output: Tensor) -> None:
    x_AI, weight_EOI, end_E = inputs
    ctx.save_for_backward(x_AI, end_E, *weight_EOI)


def _gradients(ctx: Any, gradient_AO: Tensor) -> tuple[Tensor, list[Tensor], None]:
    x_AI, end_E, *weight_EOI = ctx.saved_tensors
    back_AI = _product(gradient_AO, [w.mT for w in weight_EOI], end_E)
    return back_AI, list(_outer(gradient_AO, x_AI, end_E).unbind()), None


_product.register_autograd(_gradients, setup_context=_keep)
