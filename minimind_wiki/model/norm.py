"""Normalization: LayerNorm (Ba et al. 2016, arXiv:1607.06450) and RMSNorm (Zhang & Sennrich 2019,
arXiv:1910.07467).

Both rescale every vector of the last axis by a statistic of that vector alone: no batch statistics,
nothing to remember between training and use. RMSNorm leaves out the mean and the bias.
First the formula as it is written, then torch's fused kernel for the same formula, then the module
that owns the gain. `tests/parity/test_norm.py` holds them equal to torch and to transformers.

Shapes: `...` any leading axes (usually B batch, T time), D the axis that is normalized.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def at_least_float32(x: Tensor) -> Tensor:
    """Widen float16 and bfloat16 to float32; leave float32 and float64 as they are.

    A sum of D squares needs it: float16 ends at 65,504, which one activation of 256 squared passes.

    >>> at_least_float32(torch.ones(2, dtype=torch.bfloat16)).dtype
    torch.float32
    """
    return x.to(torch.promote_types(x.dtype, torch.float32))


def rms_norm(x: Tensor, weight_D: Tensor, eps: float) -> Tensor:
    """x / sqrt(mean(x²) + eps) · weight, over the last axis; returns x's dtype.

    - eps stands inside the root. Outside, a small vector would be scaled differently; the parity
      tests use eps=0.1 so that the two cannot be confused.
    - The statistic and the division are in float32. The quotient is cast back to x's dtype *before*
      it meets the gain, as Llama and Qwen do; torch's kernel casts last, which in half precision
      can differ by a rounding. In float32 the two are the same.

    >>> rms_norm(torch.tensor([3.0, 4.0]), torch.ones(2), eps=0.0)   # rms = sqrt((9 + 16) / 2)
    tensor([0.8485, 1.1314])
    >>> rms_norm(torch.tensor([30.0, 40.0]), torch.ones(2), eps=0.0)  # the scale is gone
    tensor([0.8485, 1.1314])
    >>> rms_norm(torch.zeros(2), torch.ones(2), eps=1e-6)             # eps keeps 0/0 away
    tensor([0., 0.])
    """
    x_wide = at_least_float32(x)
    mean_square = x_wide.pow(2).mean(dim=-1, keepdim=True)  # (..., 1)
    normalized = x_wide / torch.sqrt(mean_square + eps)  # (..., D)
    return normalized.to(x.dtype) * weight_D.to(x.dtype)


def layer_norm(x: Tensor, weight_D: Tensor, bias_D: Tensor | None, eps: float) -> Tensor:
    """(x - mean(x)) / sqrt(var(x) + eps) · weight + bias, over the last axis; returns x's dtype.

    The variance is the mean of the squared deviations (divided by D, not by D - 1). All of it is in
    float32, gain and bias too; the cast comes last, as in torch and GPT-2.

    >>> layer_norm(torch.tensor([3.0, 4.0]), torch.ones(2), torch.zeros(2), eps=0.0)
    tensor([-1.,  1.])
    >>> layer_norm(torch.tensor([13.0, 14.0]), torch.ones(2), None, eps=0.0)  # the shift is gone
    tensor([-1.,  1.])
    """
    x_wide = at_least_float32(x)
    centered = x_wide - x_wide.mean(dim=-1, keepdim=True)  # (..., D)
    variance = centered.pow(2).mean(dim=-1, keepdim=True)  # (..., 1)
    scaled = centered / torch.sqrt(variance + eps) * weight_D
    return (scaled if bias_D is None else scaled + bias_D).to(x.dtype)


def fused_rms_norm(x: Tensor, weight_D: Tensor, eps: float) -> Tensor:
    """`rms_norm` in one kernel of torch (2.4 or newer); it casts after the gain, not before."""
    return F.rms_norm(x, weight_D.shape, weight_D.to(x.dtype), eps)


def fused_layer_norm(x: Tensor, weight_D: Tensor, bias_D: Tensor | None, eps: float) -> Tensor:
    """`layer_norm` in one kernel of torch."""
    bias_D = None if bias_D is None else bias_D.to(x.dtype)
    return F.layer_norm(x, weight_D.shape, weight_D.to(x.dtype), bias_D, eps)


class RMSNorm(nn.Module):
    """`rms_norm` with a learned gain that starts at one. Input and output (..., size)."""

    def __init__(self, size: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.weight.numel()}, eps={self.eps}"


class LayerNorm(nn.Module):
    """`layer_norm` with a learned gain (from one) and bias (from zero). In and out (..., size)."""

    def __init__(self, size: int, eps: float = 1e-5, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.bias = nn.Parameter(torch.zeros(size)) if bias else None
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return layer_norm(x, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.weight.numel()}, eps={self.eps}, bias={self.bias is not None}"
