"""Rotary position embedding (Su et al. 2021, arXiv:2104.09864), in the layout of Llama and Qwen.

Each pair of a query's or key's coordinates is turned by position · frequency. A dot product of two
turned vectors depends on the difference of their positions only, so position enters attention
without a learned table. The pair of coordinate i is i + D/2 ("rotate half"), not i + 1 as in the
paper: weights of the two layouts differ by a permutation.

Shapes: B batch, H heads, T time, P all positions, D head_dim.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def rope_frequencies(head_dim: int, theta: float, device: torch.device | None = None) -> Tensor:
    """Radians per position of each pair: theta^(-2i/D) for i < D/2; (D/2) float32.

    >>> rope_frequencies(4, theta=100.0)
    tensor([1.0000, 0.1000])
    """
    even = torch.arange(0, head_dim, 2, dtype=torch.float32, device=device)
    return 1.0 / theta ** (even / head_dim)


def rope_tables(
    length: int, head_dim: int, theta: float, device: torch.device | None = None
) -> tuple[Tensor, Tensor]:
    """cos and sin of every angle, each (P=length, D/2) float32."""
    position_P = torch.arange(length, dtype=torch.float32, device=device)
    angle_PD = torch.outer(position_P, rope_frequencies(head_dim, theta, device))
    return angle_PD.cos(), angle_PD.sin()


def apply_rope(x_BHTD: Tensor, cos_TD: Tensor, sin_TD: Tensor) -> Tensor:
    """Turn each pair (x[i], x[i + D/2]) by its angle; cos and sin are (T, D/2). Keeps x's dtype.

    >>> quarter = torch.tensor([[torch.pi / 2]])
    >>> apply_rope(torch.tensor([[[[1.0, 0.0]]]]), quarter.cos(), quarter.sin()).round()
    tensor([[[[-0., 1.]]]])
    """
    cos, sin = cos_TD.to(x_BHTD.dtype), sin_TD.to(x_BHTD.dtype)
    first, second = x_BHTD.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


class RotaryTables(nn.Module):
    """The tables for all positions, computed once and shared by every block.

    They are no weights: they are not saved, and a cast of the model (`model.bfloat16()`) must not
    round them for good. So they are written afresh, in float32, after every move or cast;
    `apply_rope` rounds a copy where queries and keys are in half precision.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, length: int, head_dim: int, theta: float) -> None:
        super().__init__()
        self.shape = (length, head_dim, theta)
        cos, sin = rope_tables(*self.shape)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def forward(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """cos and sin of positions start..stop-1, each (T, D/2): a view, without a device sync."""
        return self.cos[start:stop], self.sin[start:stop]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        super()._apply(fn, recurse)
        self.cos, self.sin = rope_tables(*self.shape, device=self.cos.device)
        return self
