"""Sums, means, largest values and probabilities along axes, by PyTorch's names.

`dim` is an axis, several axes, or None for all of them; `keepdim` keeps them with length 1, so that
the result broadcasts against the input. numpy's names `axis` and `keepdims` are understood too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from minimind_wiki.lite import kernel
from minimind_wiki.lite.autograd import Array
from minimind_wiki.lite.ops import Operations, compute, floating

Dim = int | tuple[int, ...] | None


class Found(NamedTuple):
    """What `max(dim)`, `topk` and `sort` return."""

    values: Any
    indices: Any


def _numpy_names(method: Callable[..., Any]) -> Callable[..., Any]:
    """Also take `axis` for `dim` and `keepdims` for `keepdim`, as PyTorch does."""

    @functools.wraps(method)
    def renamed(self: Any, *args: Any, **kwargs: Any) -> Any:
        for theirs, ours in (("axis", "dim"), ("keepdims", "keepdim")):
            if theirs in kwargs:
                kwargs[ours] = kwargs.pop(theirs)
        return method(self, *args, **kwargs)

    return renamed


def _wide(x: Array) -> Array:
    return x.astype(np.promote_types(x.dtype, np.float32), copy=False)


def _counted(fn: Any) -> Any:
    """A reduction whose result is no number that could have a gradient."""
    return lambda self, dim=None, keepdim=False: self.record(
        fn(self.data, axis=dim, keepdims=keepdim)
    )


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
        ddof, wide = correction if unbiased else 0, _wide(self.data)

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
            lengths = length(_wide(self.data), dim, True)
            return _wide(self.data) / np.where(lengths == 0, 1, lengths)

        return self._reduce(length, dim, keepdim, slope)

    # The largest and the smallest
    def _extreme(self, fn: Any, arg: Any, dim: int | None, keepdim: bool) -> Any:
        if dim is None:  # equal values share the gradient
            y = fn(self.data)
            hit = self.data == y
            return self.record(y, (self, lambda g: g * hit / hit.sum()))
        where = np.expand_dims(arg(self.data, axis=dim), dim)
        found = self.take_along_dim(self.record(where), dim)
        pair = Found(found, self.record(where))
        return pair if keepdim else Found(*(part.squeeze(dim) for part in pair))

    def max(self, dim: int | None = None, keepdim: bool = False) -> Any:
        """The largest value; with `dim` a pair (values, indices)."""
        return self._extreme(np.max, np.argmax, dim, keepdim)

    def min(self, dim: int | None = None, keepdim: bool = False) -> Any:
        """The smallest value; with `dim` a pair (values, indices)."""
        return self._extreme(np.min, np.argmin, dim, keepdim)

    def argsort(self, dim: int = -1, descending: bool = False) -> Any:
        data = -self.data if descending else self.data
        return self.record(np.argsort(data, axis=dim, kind="stable"))

    def sort(self, dim: int = -1, descending: bool = False) -> Found:
        indices = self.argsort(dim, descending)
        return Found(self.take_along_dim(indices, dim), indices)

    def topk(self, k: int, dim: int = -1, largest: bool = True) -> Found:
        """The k largest along an axis, the largest first."""
        indices = self.argsort(dim, largest).narrow(dim, 0, k)
        return Found(self.take_along_dim(indices, dim), indices)

    any, all = _counted(np.any), _counted(np.all)
    argmax, argmin = _counted(np.argmax), _counted(np.argmin)

    # Along an axis
    def cumsum(self, dim: int) -> Any:
        """Running sums; the gradient runs the other way."""
        dtype = self.data.dtype if self.data.dtype.kind == "f" else np.dtype("int64")
        y = compute(dtype, lambda x: np.cumsum(x, axis=dim), self.data)
        return self.record(y, (self, lambda g: np.flip(np.cumsum(np.flip(g, dim), axis=dim), dim)))

    def softmax(self, dim: int) -> Any:
        """exp(x) / sum(exp(x)) along an axis, computed as if the largest value were 0."""
        y = compute(floating(self.data.dtype), lambda x: kernel.softmax(x, dim), self.data)
        return self.record(y, (self, lambda g: kernel.softmax_vjp(g, y, dim)))

    def logsumexp(self, dim: int, keepdim: bool = False) -> Any:
        top = self.detach().max(dim, keepdim=True).values
        top = top.masked_fill(~top.isfinite(), 0.0)
        y = (self - top).exp().sum(dim, keepdim=True).log() + top
        return y if keepdim else y.squeeze(dim)

    def log_softmax(self, dim: int) -> Any:
        return self - self.logsumexp(dim, keepdim=True)
