"""`Tensor`: an array with PyTorch's names; here its shapes, parts, dtypes and ways in and out."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from minimind_wiki.lite.autograd import Array, Node
from minimind_wiki.lite.reductions import Reductions


def unknown(what: str, name: str, names: Iterable[str]) -> AttributeError:
    """The error for a name that is not there, with those that are near to it."""
    close = [] if name.startswith("__") else difflib.get_close_matches(name, names)
    hint = f"; near it: {', '.join(close)}" if close else ""
    return AttributeError(f"{what} has no '{name}'{hint}. PyTorch may have it.")


def sizes_of(shape: tuple[Any, ...]) -> tuple[int, ...]:
    """Sizes or axes, given one by one or as one sequence."""
    return tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], Sequence) else shape


def _plain(index: Any) -> Any:
    """An index without tensors in it, as numpy wants it."""
    if isinstance(index, tuple):
        return tuple(_plain(part) for part in index)
    return index.data if isinstance(index, Node) else index


def _cast(dtype: Any) -> Any:
    return lambda self: self.to(dtype)


def _linear(fn: Any, back: Any) -> Any:
    """A method that moves or copies values; `back` moves their gradients the other way."""
    return lambda self, *args: self.record(fn(self.data, *args), (self, lambda g: back(g, *args)))


def _triangle(fn: Any) -> Any:
    return lambda self, diagonal=0: self.record(
        fn(self.data, diagonal), (self, lambda g: fn(g, diagonal))
    )


def _basic(index: Any) -> bool:
    """Whether an index can hit no place twice: numbers, slices, None and dots."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(p is None or p is ... or isinstance(p, int | slice | np.integer) for p in parts)


class Tensor(Reductions):
    """An n-dimensional array that remembers how it was computed.

    >>> x = Tensor(np.array([3.0, 4.0]), requires_grad=True)
    >>> x.square().sum().backward()
    >>> x.grad.tolist()
    [6.0, 8.0]
    """

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        raise unknown("lite's Tensor", name, dir(Tensor))

    # What it is
    shape = property(lambda self: self.data.shape)
    ndim = property(lambda self: self.data.ndim)
    dtype = property(lambda self: self.data.dtype)

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
        return self.record(
            self.data.reshape(sizes_of(shape)), (self, lambda g: g.reshape(self.shape))
        )

    view = reshape

    transpose = _linear(np.swapaxes, np.swapaxes)
    movedim = _linear(np.moveaxis, lambda g, source, to: np.moveaxis(g, to, source))
    clone = _linear(np.copy, lambda g: g)

    def permute(self, *dims: Any) -> Tensor:
        back = np.argsort([d % self.ndim for d in sizes_of(dims)])
        return self.record(self.data.transpose(sizes_of(dims)), (self, lambda g: g.transpose(back)))

    T = property(lambda self: self.permute(*reversed(range(self.ndim))))
    mT = property(lambda self: self.transpose(-2, -1))

    def unsqueeze(self, dim: int) -> Tensor:
        return self.reshape(np.expand_dims(self.data, dim).shape)

    def squeeze(self, dim: int | None = None) -> Tensor:
        """Without the axis, or without all axes, of length 1."""
        if dim is not None and self.shape[dim] != 1:
            return self
        return self.reshape(np.squeeze(self.data, dim).shape)

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        first, last = start_dim % max(1, self.ndim), end_dim % max(1, self.ndim)
        return self.reshape(*self.shape[:first], -1, *self.shape[last + 1 :])

    def unflatten(self, dim: int, sizes: Sequence[int]) -> Tensor:
        dim = dim % self.ndim
        return self.reshape(*self.shape[:dim], *sizes, *self.shape[dim + 1 :])

    def expand(self, *shape: Any) -> Tensor:
        """Broadcast to a shape; -1 keeps a size."""
        sizes = sizes_of(shape)
        own = (1,) * (len(sizes) - self.ndim) + self.shape
        sizes = tuple(o if s == -1 else s for o, s in zip(own, sizes, strict=True))
        return self.record(np.broadcast_to(self.data, sizes), (self, lambda g: g))

    def roll(self, shifts: int, dims: int) -> Tensor:
        y = np.roll(self.data, shifts, dims)
        return self.record(y, (self, lambda g: np.roll(g, -shifts, dims)))

    def flip(self, *dims: Any) -> Tensor:
        axes = sizes_of(dims)
        return self.record(np.flip(self.data, axes), (self, lambda g: np.flip(g, axes)))

    def repeat_interleave(self, repeats: int, dim: int) -> Tensor:
        """Each slice along an axis `repeats` times, one after the other."""
        dim = dim % self.ndim
        shape = (*self.shape[: dim + 1], repeats, *self.shape[dim + 1 :])
        return self.unsqueeze(dim + 1).expand(shape).flatten(dim, dim + 1)

    # Parts
    def __getitem__(self, index: Any) -> Tensor:
        index = _plain(index)

        def vjp(g: Array) -> Array:
            whole = np.zeros(self.shape, g.dtype)
            if _basic(index):
                whole[index] = g
            else:
                np.add.at(whole, index, g)  # not whole[index] += g: an index may occur twice
            return whole

        return self.record(self.data[index], (self, vjp))

    def __setitem__(self, index: Any, value: Any) -> None:
        index, given = _plain(index), value if isinstance(value, Node) else Node(np.asarray(value))
        whole, hole = self.data.copy(), np.ones(self.shape, bool)
        whole[index], hole[index] = given.data, False
        self.rewrite(self.record(whole, (self, lambda g: g * hole), (given, lambda g: g[index])))

    def narrow(self, dim: int, start: int, length: int) -> Tensor:
        before = (slice(None),) * (dim % self.ndim)
        return self[(*before, slice(start, start + length))]

    def split(self, split_size: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
        """Pieces along an axis: of one size (the last may be shorter), or of the given sizes."""
        n = self.shape[dim]
        sizes = split_size
        if isinstance(sizes, int):
            sizes = [min(sizes, n - start) for start in range(0, n, sizes)]
        if sum(sizes) != n:
            raise RuntimeError(f"split sizes {list(sizes)} do not sum to {n} (dim {dim})")
        starts = itertools.accumulate(sizes, initial=0)
        return tuple(self.narrow(dim, at, size) for at, size in zip(starts, sizes, strict=False))

    def chunk(self, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
        return self.split(-(-self.shape[dim] // chunks), dim)

    def unbind(self, dim: int = 0) -> tuple[Tensor, ...]:
        return tuple(part.squeeze(dim) for part in self.split(1, dim))

    def gather(self, dim: int, index: Tensor) -> Tensor:
        """One index for each place along an axis; `index` may be shorter along the others."""
        places: list[Any] = list(np.indices(index.shape, sparse=True))
        places[dim] = index
        return self[tuple(places)]

    def take_along_dim(self, indices: Tensor, dim: int) -> Tensor:
        """As gather, where `indices` broadcast to the shape of this."""
        sizes = list(self.shape)
        sizes[dim] = indices.shape[dim]
        return self.gather(dim, indices.expand(sizes))

    tril, triu = _triangle(np.tril), _triangle(np.triu)

    def outer(self, other: Tensor) -> Tensor:
        return self[:, None] * other[None, :]

    # Types
    def to(self, dtype: Any) -> Tensor:
        if np.dtype(dtype) == self.dtype:
            return self
        with np.errstate(all="ignore"):
            return self.record(self.data.astype(dtype), (self, lambda g: g))

    def type_as(self, other: Tensor) -> Tensor:
        return self.to(other.dtype)

    # In and out
    def detach(self) -> Any:
        """The same memory without history."""
        return Tensor(self.data)

    def contiguous(self) -> Any:
        return self

    def numpy(self) -> Array:
        """The array itself; a tensor in a graph must be detached first, so that none is lost."""
        if self.requires_grad:
            raise RuntimeError("Can't call numpy() on a tensor that requires grad: detach() it")
        return self.data

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def item(self) -> Any:
        return self.data.item()

    def tolist(self) -> Any:
        return self.data.tolist()

    def __bool__(self) -> Any:
        return bool(self.data)

    def __float__(self) -> Any:
        return self.data.item() + 0.0

    def __int__(self) -> int:
        return int(self.data.item())

    __index__ = __int__

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self.ndim == 0 else repr(self)

    def __repr__(self) -> str:
        body = np.array2string(self.data, precision=4, separator=", ", prefix="tensor(")
        kind = "" if self.dtype in (np.float32, np.int64, np.bool_) else f", dtype={self.dtype}"
        grad = ", requires_grad=True" if self.requires_grad else ""
        return f"tensor({body}{kind}{grad})"

    # In place
    def copy_(self, other: Tensor) -> Tensor:
        """Overwrite the values (within `no_grad()` for a parameter)."""
        return self.rewrite(other)

    def fill_(self, value: Any) -> Tensor:
        self.data[...] = value
        return self

    def zero_(self) -> Tensor:
        return self.fill_(0)

    float, half, double = _cast(np.float32), _cast(np.float16), _cast(np.float64)
    long, int, bool = _cast(np.int64), _cast(np.int32), _cast(np.bool_)


Node._kind = Tensor
