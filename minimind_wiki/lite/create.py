"""Ways to make tensors. Numbers become float32, as in PyTorch; arrays keep their dtype."""

from __future__ import annotations

from typing import Any

import numpy as np

from minimind_wiki.lite.autograd import Array
from minimind_wiki.lite.tensor import Tensor

float16, float32, float64 = np.dtype("float16"), np.dtype("float32"), np.dtype("float64")
int64 = np.dtype("int64")

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


def _shape(shape: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else shape


def full(shape: tuple[int, ...], value: Any, dtype: Any = None) -> Tensor:
    return tensor(np.full(shape, value), dtype or (float32 if isinstance(value, float) else None))


def zeros(*shape: Any, dtype: Any = float32, requires_grad: bool = False) -> Tensor:
    return Tensor(np.zeros(_shape(shape), dtype), requires_grad)


def ones(*shape: Any, dtype: Any = float32, requires_grad: bool = False) -> Tensor:
    return Tensor(np.ones(_shape(shape), dtype), requires_grad)


def zeros_like(x: Tensor) -> Tensor:
    return Tensor(np.zeros_like(x.data))


def ones_like(x: Tensor) -> Tensor:
    return Tensor(np.ones_like(x.data))


def randn(*shape: Any, dtype: Any = float32, requires_grad: bool = False) -> Tensor:
    """Independent values from the standard normal distribution."""
    return Tensor(
        _generator.standard_normal(_shape(shape), np.float32).astype(dtype), requires_grad
    )


def rand(*shape: Any, dtype: Any = float32, requires_grad: bool = False) -> Tensor:
    """Independent values, uniform in [0, 1)."""
    return Tensor(_generator.random(_shape(shape), np.float32).astype(dtype), requires_grad)
