"""Ways to fill parameters, by PyTorch's names (He et al. 2015, arXiv:1502.01852, for kaiming)."""

from __future__ import annotations

import math

from minimind_wiki.lite import create
from minimind_wiki.lite.tensor import Tensor


def normal_(x: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    return x.fill_(create.randn(x.shape).data * std + mean)


def uniform_(x: Tensor, a: float = 0.0, b: float = 1.0) -> Tensor:
    return x.fill_(create.rand(x.shape).data * (b - a) + a)


def zeros_(x: Tensor) -> Tensor:
    return x.fill_(0.0)


def ones_(x: Tensor) -> Tensor:
    return x.fill_(1.0)


def _gain(nonlinearity: str, a: float) -> float:
    if nonlinearity == "linear":
        return 1.0
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "leaky_relu":
        return math.sqrt(2.0 / (1 + a * a))
    raise ValueError(f"Unsupported nonlinearity {nonlinearity}")


def _fan(x: Tensor, mode: str) -> int:
    return x.shape[1] if mode == "fan_in" else x.shape[0]


def kaiming_normal_(
    x: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Tensor:
    """Normal with std = gain / sqrt(fan), which keeps the scale through a ReLU network."""
    return normal_(x, std=_gain(nonlinearity, a) / math.sqrt(_fan(x, mode)))


def kaiming_uniform_(
    x: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Tensor:
    """Uniform with the same standard deviation as `kaiming_normal_`."""
    bound = math.sqrt(3.0) * _gain(nonlinearity, a) / math.sqrt(_fan(x, mode))
    return uniform_(x, -bound, bound)
