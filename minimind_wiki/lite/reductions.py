"""Sums, means, largest values and probabilities along axes, by PyTorch's names.

`dim` is an axis, several axes, or None for all of them; `keepdim` keeps them with length 1, so that
the result broadcasts against the input. As in PyTorch, numpy's names `axis` and `keepdims` will do.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minimind_wiki.lite import kernel
from minimind_wiki.lite.autograd import Array, wide
from minimind_wiki.lite.ops import Operations, compute, floating

Dim = int | tuple[int, ...] | None


class Found(NamedTuple):
    """What `max(dim)`, `topk` and `sort` return."""

    values: Any
    indices: Any


def _counted(fn: Any) -> Any:
    """A reduction whose result is no number that could have a gradient."""
    return lambda self, dim=None, keepdim=False: self.record(
        fn(self.data, axis=dim, keepdims=keepdim)
    )


def _extreme(name: str) -> Any:
    def method(self: Any, dim: int | None = None, keepdim: bool = False) -> Any:
        if dim is None:  # equal values share the gradient
            y = getattr(np, name)(self.data)
            hit = self.data == y
            return self.record(y, (self, lambda g: g * hit / hit.sum()))
        where = getattr(self, "arg" + name)(dim, keepdim=True)
        found = Found(self.take_along_dim(where, dim), where)
        return found if keepdim else Found(*(part.squeeze(dim) for part in found))

    return method


class Reductions(Operations):
    """What makes one number of many."""

    __slots__ = ()

    def sum(self, dim: Dim = None, keepdim: bool = False, axis: Dim = None,
            keepdims: bool = False) -> Any:  # fmt: skip
        """The sum; of integers an integer, of float16 accumulated in float32."""
        dim, keepdim = dim if axis is None else axis, keepdim or keepdims

        def vjp(g: Array) -> Array:
            g = g if dim is None or keepdim else np.expand_dims(g, dim)
            return np.broadcast_to(g, self.data.shape)

        dtype = floating(self.data.dtype, "int64")
        y = compute(dtype, lambda x: np.sum(x, axis=dim, keepdims=keepdim), self.data)
        return self.record(y, (self, vjp))

    def _wide(self: Any) -> Any:
        if self.dtype.kind != "f":
            raise RuntimeError(f"a mean or a norm needs a floating point dtype, not {self.dtype}")
        return self.to(wide(self.data).dtype)

    def mean(self, *dim: Any, **keepdim: Any) -> Any:
        """The mean. RuntimeError for integers, whose mean has no integer dtype."""
        total = self._wide().sum(*dim, **keepdim)
        return (total / (self.data.size // total.data.size)).to(self.data.dtype)

    def var(self, dim: Dim = None, unbiased: bool = True, keepdim: bool = False, *,
            correction: int = 1, axis: Dim = None, keepdims: bool = False) -> Any:  # fmt: skip
        """Variance; as in PyTorch it divides by n - 1 unless `unbiased=False`."""
        x, dim = self._wide(), dim if axis is None else axis
        total = (x - x.mean(dim, keepdim=True)).square().sum(dim, keepdim or keepdims)
        less = correction if unbiased else 0
        return (total / (self.data.size // total.data.size - less)).to(self.data.dtype)

    def std(self, *dim: Any, **settings: Any) -> Any:
        """The root of `var`, with the same arguments."""
        return self.var(*dim, **settings).sqrt()

    def norm(self, p: float = 2, dim: Dim = None, keepdim: bool = False) -> Any:
        """Euclidean length (p=2, the only one here); its gradient at the zero vector is zero."""
        if p != 2:
            raise ValueError("lite knows the norm with p=2 only")
        total = self._wide().square().sum(dim, keepdim)
        root = total.masked_fill(total == 0, 1).sqrt()
        return root.masked_fill(total == 0, 0).to(self.data.dtype)

    # The largest and the smallest value; with `dim` a pair (values, indices)
    max, min = _extreme("max"), _extreme("min")

    def argsort(self, dim: int = -1, descending: bool = False) -> Any:
        data = -self.data if descending else self.data
        return self.record(np.argsort(data, axis=dim, kind="stable"))

    def sort(self: Any, dim: int = -1, descending: bool = False) -> Found:
        indices = self.argsort(dim, descending)
        return Found(self.take_along_dim(indices, dim), indices)

    def topk(self: Any, k: int, dim: int = -1, largest: bool = True) -> Found:
        """The k largest along an axis, the largest first."""
        indices = self.argsort(dim, largest).narrow(dim, 0, k)
        return Found(self.take_along_dim(indices, dim), indices)

    any, all = _counted(np.any), _counted(np.all)
    argmax, argmin = _counted(np.argmax), _counted(np.argmin)

    # Along an axis
    def cumsum(self, dim: int) -> Any:
        """Running sums; the gradient runs the other way."""
        y = compute(floating(self.data.dtype, "int64"), lambda x: x.cumsum(dim), self.data)
        return self.record(y, (self, lambda g: np.flip(np.cumsum(np.flip(g, dim), axis=dim), dim)))

    def softmax(self, dim: int) -> Any:
        """exp(x) / sum(exp(x)) along an axis: positive, with sum 1 (Bridle 1990).

        The largest value is subtracted first. That changes nothing in the quotient, exp cannot
        overflow, and no accuracy is lost (Blanchard, Higham & Higham 2021). The gradient of the
        input is y (g - sum(g y)), where y is the result and g its gradient.

        >>> import minimind_wiki.lite as torch
        >>> torch.tensor([[1000.0, 1000.0], [0.0, -2000.0]]).softmax(-1).tolist()
        [[0.5, 0.5], [1.0, 0.0]]
        """
        y = compute(floating(self.data.dtype), lambda x: kernel.softmax(x, dim), self.data)
        return self.record(y, (self, lambda g: kernel.softmax_vjp(g, y, dim)))

    def logsumexp(self: Any, dim: int, keepdim: bool = False) -> Any:
        """log(sum(exp(x))) along an axis, with the largest value taken out as in softmax."""
        top = self.detach().max(dim, keepdim=True).values
        top = top.masked_fill(~top.isfinite(), 0.0)
        y = (self - top).exp().sum(dim, keepdim=True).log() + top
        return y if keepdim else y.squeeze(dim)

    def log_softmax(self: Any, dim: int) -> Any:
        """x - logsumexp(x) along an axis: finite where the logarithm of softmax's 0 is not."""
        return self - self.logsumexp(dim, keepdim=True)
