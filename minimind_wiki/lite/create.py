"""Ways to make tensors, and what takes several of them. Numbers become float32, as in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minimind_wiki.lite.autograd import Array
from minimind_wiki.lite.tensor import Tensor, sizes_of

float16, float32, float64 = np.dtype("float16"), np.dtype("float32"), np.dtype("float64")
int64, bool_ = np.dtype("int64"), np.dtype("bool")

_generator = np.random.default_rng(0)


def manual_seed(seed: int) -> None:
    """Start the random numbers anew. The stream is numpy's (PCG64), not PyTorch's: the same
    distributions, other numbers."""
    global _generator
    _generator = np.random.default_rng(seed)


def tensor(data: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A new tensor with a copy of the data.

    >>> tensor([1.0, 2.0]).dtype, tensor([1, 2]).dtype
    (dtype('float32'), dtype('int64'))
    """
    array = np.array(data.data if isinstance(data, Tensor) else data)
    if dtype is None and array.dtype == float64 and not isinstance(data, np.ndarray | np.generic):
        dtype = float32
    return Tensor(array if dtype is None else array.astype(dtype), requires_grad)


def from_numpy(array: Array) -> Tensor:
    """A tensor on the same memory."""
    return Tensor(array)


def full(shape: tuple[int, ...], value: Any, dtype: Any = None) -> Tensor:
    return tensor(np.full(shape, value), dtype or (float32 if isinstance(value, float) else None))


def zeros(*shape: Any, dtype: Any = float32, requires_grad: bool = False) -> Tensor:
    return Tensor(np.zeros(sizes_of(shape), dtype), requires_grad)


def ones(*shape: Any, dtype: Any = float32, requires_grad: bool = False) -> Tensor:
    return Tensor(np.ones(sizes_of(shape), dtype), requires_grad)


empty = zeros


def eye(n: int, dtype: Any = float32) -> Tensor:
    return Tensor(np.eye(n, dtype=dtype))


def zeros_like(x: Tensor) -> Tensor:
    return Tensor(np.zeros_like(x.data))


def ones_like(x: Tensor) -> Tensor:
    return Tensor(np.ones_like(x.data))


def arange(*limits: float, dtype: Any = None) -> Tensor:
    return tensor(np.arange(*limits).tolist(), dtype)


def randn(*shape: Any, dtype: Any = float32, requires_grad: bool = False) -> Tensor:
    """Independent values from the standard normal distribution."""
    values = _generator.standard_normal(sizes_of(shape), np.float32)
    return Tensor(values.astype(dtype), requires_grad)


def rand(*shape: Any, dtype: Any = float32, requires_grad: bool = False) -> Tensor:
    """Independent values, uniform in [0, 1)."""
    return Tensor(_generator.random(sizes_of(shape), np.float32).astype(dtype), requires_grad)


def randint(low: int, high: int, size: tuple[int, ...]) -> Tensor:
    """Integers from low to high - 1."""
    return Tensor(_generator.integers(low, high, size))


def randperm(n: int) -> Tensor:
    return Tensor(_generator.permutation(n))


def multinomial(weights: Tensor, num_samples: int, replacement: bool = False) -> Tensor:
    """Indices drawn with probabilities in proportion to the weights in the last axis.

    The k largest of weight/Exp(1) are a draw without replacement (Efraimidis & Spirakis 2006).
    """
    w = weights.data.astype(float64)
    if replacement and num_samples > 1:
        rows = weights.unsqueeze(-2).expand(*w.shape[:-1], num_samples, -1)
        return multinomial(rows, 1).squeeze(-1)
    if num_samples > np.count_nonzero(w, axis=-1).min():
        raise RuntimeError("cannot sample more than there are weights above zero")
    keys = w / _generator.standard_exponential(w.shape)
    return Tensor(np.argsort(-keys, axis=-1)[..., :num_samples])


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Join along an axis; each part gets its part of the gradient."""
    ends = np.cumsum([t.shape[dim] for t in tensors])

    def part(i: int) -> Any:
        return lambda g: np.split(g, ends[:-1], axis=dim)[i]

    joined = np.concatenate([t.data for t in tensors], axis=dim)
    return tensors[0].record(joined, *((t, part(i)) for i, t in enumerate(tensors)))


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Join along a new axis."""
    return cat([t.unsqueeze(dim) for t in tensors], dim)


def where(condition: Tensor, x: Any, y: Any) -> Tensor:
    """x where the condition is true, y elsewhere."""
    return (x if isinstance(x, Tensor) else tensor(x)).where(condition, y)
