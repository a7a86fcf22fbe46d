"""Rotary position embedding (Su et al. 2021, arXiv:2104.09864), in the layout of Llama and Qwen.

Each pair of a query's or key's coordinates is turned by position · frequency. A dot product of two
turned vectors depends on the difference of their positions only, so position enters attention
without a learned table. The pair of coordinate i is i + D/2 ("rotate half"), not i + 1 as in the
paper: weights of the two layouts differ by a permutation. `rope_scaling` stretches the waves for
texts longer than the trained ones, and keeps the tables.

Shapes: B batch, H heads, T time, P all positions, D head_dim.
"""

from __future__ import annotations

import torch
from torch import Tensor


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
    return turns(length, rope_frequencies(head_dim, theta, device))


def turns(length: int, frequency_D: Tensor, factor: float = 1.0) -> tuple[Tensor, Tensor]:
    """cos and sin of position · frequency, times a factor; each (P=length, D/2) float32."""
    position_P = torch.arange(length, dtype=torch.float32, device=frequency_D.device)
    angle_PD = torch.outer(position_P, frequency_D)
    return angle_PD.cos() * factor, angle_PD.sin() * factor


def apply_rope(x_BHTD: Tensor, cos_TD: Tensor, sin_TD: Tensor) -> Tensor:
    """Turn each pair (x[i], x[i + D/2]) by its angle; cos and sin are (T, D/2). Keeps x's dtype.

    >>> quarter = torch.tensor([[torch.pi / 2]])
    >>> apply_rope(torch.tensor([[[[1.0, 0.0]]]]), quarter.cos(), quarter.sin()).round()
    tensor([[[[-0., 1.]]]])
    """
    cos, sin = cos_TD.to(x_BHTD.dtype), sin_TD.to(x_BHTD.dtype)
    first, second = x_BHTD.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
