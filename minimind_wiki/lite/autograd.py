"""Reverse-mode automatic differentiation over numpy arrays, the part that is not arithmetic.

Every operation calls `record` with its result and, for each input, a function that turns the
gradient of the result into the gradient of that input (its vector-Jacobian product). `backward`
visits the operations from the youngest to the oldest: a result is always younger than its inputs,
so each gradient is complete before it is passed on. The rules of the details (what is a leaf, when
a graph is freed, which dtype a gradient has) are PyTorch's; `tests/parity/test_lite.py` holds them
equal.
"""

from __future__ import annotations

import copy
import heapq
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np

Array = np.ndarray
Vjp = Callable[[Array], Array]

_births = itertools.count()
_recording = True


@contextmanager
def no_grad() -> Iterator[None]:
    """Within this block nothing is recorded, as in updates of parameters and in evaluation."""
    global _recording
    before, _recording = _recording, False
    try:
        yield
    finally:
        _recording = before


def is_grad_enabled() -> bool:
    """Whether operations are being recorded."""
    return _recording


def wide(x: Array) -> Array:
    """float16 is a storage format: as in PyTorch on a CPU, the arithmetic is done in float32."""
    return x.astype(np.float32) if x.dtype == np.float16 else x


def reduce_to(gradient: Array, shape: tuple[int, ...]) -> Array:
    """Sum a gradient over the axes that broadcasting has added or stretched.

    A value that was used in many places receives the sum of their gradients.

    >>> reduce_to(np.ones((4, 3)), (3,))
    array([4., 4., 4.])
    """
    extra = gradient.ndim - len(shape)
    gradient = gradient.sum(axis=tuple(range(extra))) if extra else gradient
    stretched = tuple(i for i, n in enumerate(shape) if n == 1 and gradient.shape[i] != 1)
    return gradient.sum(axis=stretched, keepdims=True) if stretched else gradient


class Node:
    """An array, its gradient, and how it was made. `Tensor` adds the operations."""

    _kind: ClassVar[Any]  # what results are: Tensor
    __slots__ = ("_birth", "_inputs", "_retains", "data", "grad", "requires_grad")

    def __init__(self, data: Array, requires_grad: bool = False) -> None:
        self.data = data
        self.grad: Any = None
        self.requires_grad_(requires_grad)
        self._inputs: tuple[tuple[Node, Vjp], ...] | None = ()  # None when a backward freed them
        self._birth, self._retains = next(_births), False

    @property
    def is_leaf(self) -> bool:
        """True for what nobody computed: inputs and parameters. Only leaves keep their `.grad`."""
        return self._inputs == ()

    def requires_grad_(self, requires_grad: bool = True) -> Any:
        """Want a gradient, or none; RuntimeError if the dtype can have none."""
        if requires_grad and self.data.dtype.kind != "f":
            raise RuntimeError("only Tensors of floating point dtype can require gradients")
        self.requires_grad = requires_grad
        return self

    def retain_grad(self) -> None:
        """Keep `.grad` although this is the result of an operation."""
        self._retains = True

    def record(self, data: Array, *inputs: tuple[Node, Vjp]) -> Any:
        """A new node holding `data`, which `inputs` explain."""
        out = self._kind(np.asarray(data))
        if _recording and out.data.dtype.kind == "f":
            out._inputs = tuple(pair for pair in inputs if pair[0].requires_grad)
            out.requires_grad = bool(out._inputs)
        return out

    def rewrite(self, out: Node) -> Any:
        """Make this node become `out`, in place: what `x += y` does.

        Without history the same memory is overwritten. With history a copy of the old node keeps
        the old values for the backward pass and this one takes over the new ones, so every name
        bound to it sees the change, as in PyTorch. RuntimeError if shape or kind would change.
        """
        made = np.empty_like(self.data) if out.requires_grad else self.data
        try:
            np.copyto(made, out.data, casting="same_kind")
        except (TypeError, ValueError) as error:
            raise RuntimeError(f"this cannot be done in place: {error}") from None
        if not out.requires_grad:
            return self
        if self.requires_grad and self.is_leaf:
            raise RuntimeError("a leaf that requires grad changes in place only in no_grad()")
        old, inputs = copy.copy(self), out._inputs or ()
        self._inputs = tuple((old if node is self else node, vjp) for node, vjp in inputs)
        self.data, self.requires_grad, self._birth = made, True, out._birth
        return self

    def backward(self, gradient: Node | None = None) -> None:
        """Add d(self)/d(leaf) to `.grad` of every leaf that this node was computed from.

        Raises RuntimeError if nothing requires a gradient, if the graph was used before (its
        memory is freed on the way), or if `self` is not a single number and no `gradient` is given.
        """
        if not self.requires_grad:
            raise RuntimeError("this tensor does not require grad, nor does what it was made of")
        if gradient is None and self.data.size != 1:
            raise RuntimeError("grad can be implicitly created only for scalar outputs")
        start = np.ones_like(self.data) if gradient is None else gradient.data
        waiting: dict[int, tuple[Node, Array]] = {self._birth: (self, start)}
        births = [-self._birth]  # of those that wait: a heap, the youngest on top
        with np.errstate(all="ignore"):
            while births:
                node, g = waiting.pop(-heapq.heappop(births))
                if node.is_leaf or node._retains:
                    total = g if node.grad is None else node.grad.data + g
                    node.grad = self.record(total.astype(node.data.dtype))
                if node._inputs is None:
                    raise RuntimeError("backward a second time needs the loss computed again")
                for parent, vjp in node._inputs:
                    part = reduce_to(vjp(wide(g)), parent.data.shape)
                    if parent._birth in waiting:
                        part = waiting[parent._birth][1] + part
                    else:
                        heapq.heappush(births, -parent._birth)
                    waiting[parent._birth] = parent, part.astype(parent.data.dtype, copy=False)
                node._inputs = node._inputs and None  # freed; a leaf stays one
