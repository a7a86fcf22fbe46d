"""`Tensor`: an array with PyTorch's names; here its shapes, dtypes and ways in and out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minimind_wiki.lite.autograd import Array
from minimind_wiki.lite.reductions import Reductions


class Tensor(Reductions):
    """An n-dimensional array that remembers how it was computed.

    >>> x = Tensor(np.array([3.0, 4.0]), requires_grad=True)
    >>> x.norm().backward()
    >>> x.grad.tolist()
    [0.6, 0.8]
    """

    __slots__ = ()

    def _blank(self) -> Tensor:
        return Tensor.__new__(Tensor)

    # What it is
    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.data.dtype

    def dim(self) -> int:
        return self.data.ndim

    def numel(self) -> int:
        return self.data.size

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    # Shapes
    def reshape(self, *shape: Any) -> Tensor:
        new = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
        return self.record(self.data.reshape(new), (self, lambda g: g.reshape(self.shape)))

    view = reshape

    def permute(self, *dims: int) -> Tensor:
        back = np.argsort([d % self.ndim for d in dims])
        return self.record(self.data.transpose(dims), (self, lambda g: g.transpose(back)))

    def transpose(self, dim0: int, dim1: int) -> Tensor:
        return self.record(self.data.swapaxes(dim0, dim1), (self, lambda g: g.swapaxes(dim0, dim1)))

    @property
    def T(self) -> Tensor:
        return self.permute(*reversed(range(self.ndim)))

    def unsqueeze(self, dim: int) -> Tensor:
        return self.reshape(np.expand_dims(self.data, dim).shape)

    def squeeze(self, dim: int) -> Tensor:
        return self.reshape(np.squeeze(self.data, dim).shape) if self.shape[dim] == 1 else self

    def flatten(self) -> Tensor:
        return self.reshape(-1)

    def __getitem__(self, index: Any) -> Tensor:
        index = index.data if isinstance(index, Tensor) else index

        def vjp(g: Array) -> Array:
            whole = np.zeros(self.shape, g.dtype)
            np.add.at(whole, index, g)  # not whole[index] += g: an index may occur twice
            return whole

        return self.record(self.data[index], (self, vjp))

    # Types
    def to(self, dtype: Any) -> Tensor:
        if np.dtype(dtype) == self.dtype:
            return self
        with np.errstate(all="ignore"):
            return self.record(self.data.astype(dtype), (self, lambda g: g))

    def float(self) -> Tensor:
        return self.to(np.float32)

    def half(self) -> Tensor:
        return self.to(np.float16)

    def double(self) -> Tensor:
        return self.to(np.float64)

    def type_as(self, other: Tensor) -> Tensor:
        return self.to(other.dtype)

    # In and out
    def detach(self) -> Tensor:
        """The same memory without history."""
        return Tensor(self.data)

    def clone(self) -> Tensor:
        return self.record(self.data.copy(), (self, lambda g: g))

    def numpy(self) -> Array:
        """The array itself; a tensor in a graph must be detached first, so that none is lost."""
        if self.requires_grad:
            raise RuntimeError(
                "Can't call numpy() on Tensor that requires grad. "
                "Use tensor.detach().numpy() instead."
            )
        return self.data

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def item(self) -> Any:
        return self.data.item()

    def tolist(self) -> Any:
        return self.data.tolist()

    def __bool__(self) -> bool:
        return bool(self.data)

    def __float__(self) -> Any:
        return self.data.item() + 0.0

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self.ndim == 0 else repr(self)

    def __repr__(self) -> str:
        body = np.array2string(self.data, precision=4, separator=", ", prefix="tensor(")
        kind = "" if self.dtype in (np.float32, np.int64, np.bool_) else f", dtype={self.dtype}"
        grad = ", requires_grad=True" if self.requires_grad else ""
        return f"tensor({body}{kind}{grad})"

    # In place
    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        if requires_grad and self.dtype.kind != "f":
            raise RuntimeError("only Tensors of floating point dtype can require gradients")
        self.requires_grad = requires_grad
        return self

    def copy_(self, other: Tensor) -> Tensor:
        """Overwrite the values (within `no_grad()` for a parameter)."""
        return self.rewrite(Tensor(np.broadcast_to(other.data, self.shape)))

    def fill_(self, value: Any) -> Tensor:
        self.data[...] = value
        return self

    def zero_(self) -> Tensor:
        return self.fill_(0)
