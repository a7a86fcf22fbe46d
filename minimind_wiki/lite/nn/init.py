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
    return x.fill_(0)


def ones_(x: Tensor) -> Tensor:
    return x.fill_(1)


def _std(x: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    """gain / sqrt(fan): x is (out, in), and the gain makes up for what the nonlinearity takes."""
    gains = {"linear": 1.0, "relu": math.sqrt(2), "leaky_relu": math.sqrt(2 / (1 + a * a))}
    if nonlinearity not in gains:
        raise ValueError(f"Unsupported nonlinearity {nonlinearity}; known: {', '.join(gains)}")
    return gains[nonlinearity] / math.sqrt(x.shape[1 if mode == "fan_in" else 0])


def kaiming_normal_(
    x: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Tensor:
    """Normal with std = gain / sqrt(fan), which keeps the scale through a ReLU network."""
    return normal_(x, std=_std(x, a, mode, nonlinearity))


def kaiming_uniform_(
    x: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Tensor:
    """Uniform with the same standard deviation as `kaiming_normal_`."""
    bound = math.sqrt(3) * _std(x, a, mode, nonlinearity)
    return uniform_(x, -bound, bound)
