"""RMSNorm as the package has it, eight near misses that run without an error, and inputs to compare
them on. Each is a function of x (..., D) and the gain (D,)."""

import math
from functools import partial

import torch
from torch import Tensor, nn

from minimind_wiki.model.norm import rms_norm

EPS = 1e-6


def exact(x: Tensor, weight: Tensor) -> Tensor:
    return x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + EPS) * weight


def eps_outside_root(x: Tensor, weight: Tensor) -> Tensor:
    wide = x.float()
    return (wide / (torch.sqrt(wide.pow(2).mean(-1, keepdim=True)) + EPS)).to(x.dtype) * weight


def eps_missing(x: Tensor, weight: Tensor) -> Tensor:
    return rms_norm(x, weight, 0.0)


def eps_too_large(x: Tensor, weight: Tensor) -> Tensor:
    return rms_norm(x, weight, 0.1)


def eps_rounds_to_zero(x: Tensor, weight: Tensor) -> Tensor:
    """1e-8 is zero in float16: its smallest number is 6e-8."""
    eps = torch.tensor(1e-8, dtype=x.dtype)
    return x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight


def square_before_cast(x: Tensor, weight: Tensor) -> Tensor:
    """The square is taken in the input's type; only the mean is in float32."""
    mean_square = x.pow(2).float().mean(-1, keepdim=True)
    return (x.float() / torch.sqrt(mean_square + EPS)).to(x.dtype) * weight


def gain_before_cast(x: Tensor, weight: Tensor) -> Tensor:
    """As torch's kernel: not wrong, but a rounding away from Llama's order in half precision."""
    wide = x.float()
    normalized = wide / torch.sqrt(wide.pow(2).mean(-1, keepdim=True) + EPS)
    return (normalized * weight.float()).to(x.dtype)


def sum_for_mean(x: Tensor, weight: Tensor) -> Tensor:
    wide = x.float()
    return (wide / torch.sqrt(wide.pow(2).sum(-1, keepdim=True) + EPS)).to(x.dtype) * weight


def mean_subtracted(x: Tensor, weight: Tensor) -> Tensor:
    wide = x.float()
    return rms_norm(wide - wide.mean(-1, keepdim=True), weight.float(), EPS).to(x.dtype)


VARIANTS = {
    "correct": ("correct", partial(rms_norm, eps=EPS)),
    "eps_outside_root": ("eps outside the root", eps_outside_root),
    "eps_missing": ("eps missing", eps_missing),
    "eps_too_large": ("eps = 0.1", eps_too_large),
    "eps_rounds_to_zero": ("all in input type, eps = 1e-8", eps_rounds_to_zero),
    "square_before_cast": ("squared before the cast", square_before_cast),
    "gain_before_cast": ("gain before the cast back", gain_before_cast),
    "sum_for_mean": ("sum for mean", sum_for_mean),
    "mean_subtracted": ("mean subtracted", mean_subtracted),
}


class Norm(nn.Module):
    """One variant with a learned gain."""

    def __init__(self, width: int, variant: str) -> None:
        super().__init__()
        self.weight, self.variant = nn.Parameter(torch.ones(width)), VARIANTS[variant][1]

    def forward(self, x: Tensor) -> Tensor:
        return self.variant(x, self.weight)


def inputs(rows: Tensor) -> dict[str, Tensor]:
    """Four kinds of rows. Outliers: one entry at 400, as large models have (Sun et al. 2024)."""
    outliers = rows.clone()
    outliers[:, 7] = 400.0
    return {
        "real": rows,
        "outliers": outliers,
        "small": rows * 1e-4,
        "zero": torch.zeros_like(rows),
    }


def errors(variant, x: Tensor, weight: Tensor, dtype: torch.dtype) -> tuple[float, float, float]:
    """Relative error of output and of gradient against float64, and the share of rows not finite.

    Errors are over the finite rows, nan without any; the oracle sees the input as rounded to dtype.
    """
    x, weight = x.to(dtype), weight.to(dtype)
    upstream = torch.randn(x.shape, generator=torch.Generator().manual_seed(5)).to(dtype)
    pair = []
    for function, type_ in ((variant, dtype), (exact, torch.float64)):
        leaf = x.to(type_).requires_grad_()
        out = function(leaf, weight.to(type_))
        (grad,) = torch.autograd.grad(out, leaf, upstream.to(type_))
        pair.append((out.detach().double(), grad.double()))
    (out, grad), (true_out, true_grad) = pair
    finite = out.isfinite().all(-1) & grad.isfinite().all(-1)

    def error(got: Tensor, true: Tensor) -> float:
        return ((got - true)[finite].norm() / true[finite].norm().clamp(min=1e-12)).item()

    bad = 1 - finite.float().mean().item()
    if bad == 1:
        return math.nan, math.nan, bad
    return error(out, true_out), error(grad, true_grad), bad
