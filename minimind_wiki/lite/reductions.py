"""Sums, means and lengths over some axes, by PyTorch's names.

`dim` is an axis, several axes, or None for all of them; `keepdim` keeps them with length 1, so that
the result broadcasts against the input. numpy's names `axis` and `keepdims` are understood too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from minimind_wiki.lite.autograd import Array
from minimind_wiki.lite.ops import Operations, compute

Dim = int | tuple[int, ...] | None


def _numpy_names(method: Callable[..., Any]) -> Callable[..., Any]:
    """Also take `axis` for `dim` and `keepdims` for `keepdim`, as PyTorch does."""

    @functools.wraps(method)
    def renamed(self: Any, *args: Any, **kwargs: Any) -> Any:
        for theirs, ours in (("axis", "dim"), ("keepdims", "keepdim")):
            if theirs in kwargs:
                kwargs[ours] = kwargs.pop(theirs)
        return method(self, *args, **kwargs)

    return renamed


class Reductions(Operations):
    """What makes one number of many."""

    __slots__ = ()

    def _reduce(self, fn: Any, dim: Dim, keepdim: bool, slope: Callable[[], Any]) -> Any:
        def vjp(g: Array) -> Array:
            if dim is not None and not keepdim:
                g = np.expand_dims(g, dim)
            return np.broadcast_to(g, self.data.shape) * slope()

        if self.data.dtype.kind != "f" and fn is not np.sum:
            raise RuntimeError(
                f"could not infer output dtype. Input dtype must be either a floating point or "
                f"complex dtype. Got: {self.data.dtype}"
            )
        dtype = self.data.dtype if self.data.dtype.kind == "f" else np.dtype("int64")
        y = compute(dtype, lambda x: fn(x, axis=dim, keepdims=keepdim), self.data)
        return self.record(y, (self, vjp))

    def _count(self, dim: Dim) -> int:
        axes = range(self.data.ndim) if dim is None else (dim if isinstance(dim, tuple) else (dim,))
        return int(np.prod([self.data.shape[i] for i in axes]))

    @_numpy_names
    def sum(self, dim: Dim = None, keepdim: bool = False) -> Any:
        """The sum; of integers an integer, of float16 accumulated in float32."""
        return self._reduce(np.sum, dim, keepdim, lambda: 1)

    @_numpy_names
    def mean(self, dim: Dim = None, keepdim: bool = False) -> Any:
        """The mean. RuntimeError for integers, whose mean has no integer dtype."""
        return self._reduce(np.mean, dim, keepdim, lambda: 1 / self._count(dim))

    @_numpy_names
    def var(
        self, dim: Dim = None, unbiased: bool = True, keepdim: bool = False, *, correction: int = 1
    ) -> Any:
        """Variance; as in PyTorch it divides by n - 1 unless `unbiased=False`."""
        ddof = correction if unbiased else 0
        wide = self.data.astype(np.promote_types(self.data.dtype, np.float32), copy=False)

        def slope() -> Array:
            return 2 / (self._count(dim) - ddof) * (wide - wide.mean(axis=dim, keepdims=True))

        return self._reduce(lambda x, **where: np.var(x, ddof=ddof, **where), dim, keepdim, slope)

    @_numpy_names
    def std(
        self, dim: Dim = None, unbiased: bool = True, keepdim: bool = False, *, correction: int = 1
    ) -> Any:
        """The root of `var`, with the same arguments."""
        return self.var(dim, unbiased, keepdim, correction=correction).sqrt()

    def norm(self, p: float = 2, dim: Dim = None, keepdim: bool = False) -> Any:
        """Euclidean length (p=2, the only one here); its gradient at the zero vector is zero."""
        if p != 2:
            raise ValueError("lite knows the norm with p=2 only")

        def length(x: Array, axis: Dim, keepdims: bool) -> Array:
            return np.sqrt(np.sum(x * x, axis=axis, keepdims=keepdims))

        def slope() -> Array:
            wide = self.data.astype(np.promote_types(self.data.dtype, np.float32), copy=False)
            lengths = length(wide, dim, True)
            return wide / np.where(lengths == 0, 1, lengths)

        return self._reduce(length, dim, keepdim, slope)
