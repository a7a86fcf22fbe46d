"""The layers that the book stacks, initialised as PyTorch initialises them."""

from __future__ import annotations

import math

from minimind_wiki.lite import create
from minimind_wiki.lite.nn import functional, init
from minimind_wiki.lite.nn.module import Module, Parameter
from minimind_wiki.lite.tensor import Tensor, sizes_of


class Linear(Module):
    """x Wᵀ + b. Weight and bias start uniform in ±1/sqrt(in_features).

    PyTorch writes that bound as kaiming_uniform_ with a=sqrt(5). The variance of a weight is then
    1/(3 in_features), a sixth of what He's initialisation gives a layer that a ReLU follows.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        def start(*shape: int) -> Parameter:
            bound = 1 / math.sqrt(in_features)
            return Parameter(init.uniform_(create.zeros(shape), -bound, bound))

        self.weight = start(out_features, in_features)
        self.bias = start(out_features) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight, self.bias)


class Embedding(Module):
    """A row for each index; the rows start as standard normal vectors."""

    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        self.weight = Parameter(create.randn(num_embeddings, embedding_dim))

    def forward(self, x: Tensor) -> Tensor:
        return functional.embedding(x, self.weight)


class LayerNorm(Module):
    """Mean 0 and variance 1 over the last axes, then gain and bias."""

    def __init__(self, normalized_shape: int | tuple[int, ...], eps: float = 1e-5,
                 elementwise_affine: bool = True, bias: bool = True) -> None:  # fmt: skip
        self.normalized_shape, self.eps = sizes_of((normalized_shape,)), eps
        ones, zeros = create.ones(self.normalized_shape), create.zeros(self.normalized_shape)
        self.weight = Parameter(ones) if elementwise_affine else None
        self.bias = Parameter(zeros) if elementwise_affine and bias else None

    def forward(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)


class RMSNorm(Module):
    """Root mean square 1 over the last axes, then gain; eps=None is the dtype's own epsilon."""

    def __init__(self, normalized_shape: int | tuple[int, ...], eps: float | None = None,
                 elementwise_affine: bool = True) -> None:  # fmt: skip
        self.normalized_shape, self.eps = sizes_of((normalized_shape,)), eps
        ones = create.ones(self.normalized_shape)
        self.weight = Parameter(ones) if elementwise_affine else None

    def forward(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x, self.normalized_shape, self.weight, self.eps)


class Dropout(Module):
    """Zeros with probability p while training; nothing in `eval()`."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return functional.dropout(x, self.p, self.training)


class ReLU(Module):
    """max(x, 0)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.relu()


class SiLU(Module):
    """x sigmoid(x)."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.silu(x)


class GELU(Module):
    """x Φ(x)."""

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = approximate

    def forward(self, x: Tensor) -> Tensor:
        return functional.gelu(x, self.approximate)
