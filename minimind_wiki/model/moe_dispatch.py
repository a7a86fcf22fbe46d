"""Sorted visits: the rows that an expert answers, side by side, in three ways.

| way | where | limit |
|---|---|---|
| `in_turn` | a CPU: one product an expert | none |
| `at_once` | a GPU, a compiled graph: grouped products, no wait for the device | none |
| `in_boxes` | training with a capacity: one batched product of fixed shape | C rows an expert |

Shapes: N tokens, D hidden, F intermediate, E experts, A = k · N visits, C visits that an expert
takes at most.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minimind_wiki.model.moe_product import product


class Visits(NamedTuple):
    """All visits sorted by expert; visit j · N + n is the j-th choice of token n before that."""

    expert_A: Tensor  # whom each sorted visit is to
    order_A: Tensor  # sorted place -> visit
    back_A: Tensor  # visit -> sorted place
    end_E: Tensor  # where the rows of each expert end, int32

    @classmethod
    def of(cls, expert_Nk: Tensor, experts: int) -> Visits:
        """Sort, stably: an expert sees all first choices, in the tokens' order, then all second.

        >>> Visits.of(torch.tensor([[1, 0], [0, 1]]), 2).order_A  # token 1's first choice leads
        tensor([1, 2, 0, 3])
        """
        expert_A, order_A = expert_Nk.T.flatten().sort(stable=True)
        place_A = torch.arange(len(order_A), device=order_A.device)
        back_A = torch.empty_like(order_A).index_copy(0, order_A, place_A)
        end_E = torch.searchsorted(
            expert_A, torch.arange(experts, device=expert_A.device), right=True, out_int32=True
        )
        return cls(expert_A, order_A, back_A, end_E)


class Rows(torch.autograd.Function):
    """x[index], where every row of x is read k times, and `back` says where.

    Plain indexing adds gradients up row by row: slow on a CPU, and on a GPU in an order that
    differs from run to run. Knowing `back` (k copies of x's rows, one after the other), the
    gradient is a reading as well.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, index_A: Tensor, back_A: Tensor, k: int) -> Tensor:
        ctx.save_for_backward(back_A)
        ctx.k = k
        return x.index_select(0, index_A)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (back_A,) = ctx.saved_tensors
        gradient = gradients[0].index_select(0, back_A)
        if ctx.k > 1:
            gradient = gradient.unflatten(0, (ctx.k, -1)).sum(0)
        return gradient, None, None, None


def working_dtype(x: Tensor) -> torch.dtype:
    """The dtype of products with x: autocast's, where it is on. Grouped products do not ask it."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def in_turn(experts: nn.ModuleList, x_AD: Tensor, visits: Visits) -> Tensor:
    """Sorted visits through their experts, one expert after the other. Reads `end_E` on the host.

    An expert without visits answers nothing; while training it is asked all the same, so that its
    gradient is zero and not missing.
    """
    parts = x_AD.tensor_split(visits.end_E[:-1].long().cpu())
    ask = torch.is_grad_enabled()
    return torch.cat([e(part) for e, part in zip(experts, parts, strict=True) if ask or len(part)])


def at_once(experts: nn.ModuleList, x_AD: Tensor, visits: Visits) -> Tensor:
    """The same by grouped products, which read `end_E` on the device: nothing waits for it."""
    gate, up, down = weights(experts, x_AD.dtype)
    wide = F.silu(product(x_AD, gate, visits.end_E)) * product(x_AD, up, visits.end_E)
    return product(wide, down, visits.end_E)


def in_boxes(
    experts: nn.ModuleList, x_AD: Tensor, visits: Visits, capacity: int
) -> tuple[Tensor, Tensor]:
    """Sorted visits through experts that take `capacity` each; also which visits were dropped (A).

    Every expert has a box of C rows, empty ones zero, and all boxes are one batched product: shapes
    depend on no token (GShard, arXiv:2006.16668). A dropped visit is answered by zero: its token
    passes in the residual stream alone.
    """
    count = len(experts)
    place_A = torch.arange(len(x_AD), device=x_AD.device)
    first_E = F.pad(visits.end_E[:-1], (1, 0))
    rank_A = place_A - first_E[visits.expert_A]
    dropped_A = rank_A >= capacity
    box_A = torch.where(dropped_A, count * capacity, visits.expert_A * capacity + rank_A)
    boxes = x_AD.new_zeros(count * capacity + 1, x_AD.shape[1]).index_copy(0, box_A, x_AD)
    x_ECD = boxes[:-1].unflatten(0, (count, capacity))
    gate, up, down = (torch.stack(matrices) for matrices in weights(experts, x_AD.dtype))
    wide = F.silu(torch.bmm(x_ECD, gate.mT)) * torch.bmm(x_ECD, up.mT)
    answer = torch.bmm(wide, down.mT).flatten(0, 1)
    return F.pad(answer, (0, 0, 0, 1)).index_select(0, box_A), dropped_A[visits.back_A]


def weights(experts: Iterable[nn.Module], dtype: torch.dtype) -> list[list[Tensor]]:
    """gate, up (F, D) and down (D, F) of every expert."""
    names = ("gate_proj", "up_proj", "down_proj")
    return [[getattr(expert, name).weight.to(dtype) for expert in experts] for name in names]
