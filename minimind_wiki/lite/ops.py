"""What tensors can do element by element, and the matrix product.

Each operation is its value and, for each input, one line that passes the gradient back. float16 is
a storage format: as in PyTorch on a CPU, the arithmetic is done in float32 and rounded once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np

from minimind_wiki.lite.autograd import Array, Node
from minimind_wiki.lite.kernel import matmul as matmul_arrays

_CATEGORY = {"b": 0, "i": 1, "u": 1, "f": 2}


def compute(dtype: Any, fn: Callable[..., Any], *arrays: Array) -> Array:
    """`fn` of the arrays in `dtype`; float16 is computed in float32 and rounded at the end."""
    wide = np.float32 if dtype == np.float16 else dtype
    with np.errstate(all="ignore"):  # inf and nan are answers here, not accidents
        return np.asarray(fn(*(a.astype(wide, copy=False) for a in arrays))).astype(dtype)


def result_type(a: Array, b: Array, b_is_number: bool = False) -> Any:
    """PyTorch's promotion: category first, then arrays before 0-d tensors before Python numbers."""
    ours, theirs = _CATEGORY[a.dtype.kind], _CATEGORY[b.dtype.kind]
    if ours != theirs:
        higher = a.dtype if ours > theirs else b.dtype
        return np.dtype("float32") if b_is_number and higher is b.dtype and theirs == 2 else higher
    if b_is_number or (b.ndim == 0) != (a.ndim == 0):
        return b.dtype if a.ndim == 0 and not b_is_number else a.dtype
    return np.promote_types(a.dtype, b.dtype)


def _floating(dtype: Any) -> Any:
    return dtype if np.dtype(dtype).kind == "f" else np.dtype("float32")


def _unary(fn: Callable[[Array], Array], slope: Callable[[Array, Array], Array]) -> Any:
    """An elementwise method; `slope(x, y)` is its derivative."""

    def method(self: Any) -> Any:
        y = compute(_floating(self.data.dtype), fn, self.data)
        return self.record(y, (self, lambda g: g * slope(self.data, y)))

    return method


def _binary(fn: Any, to_a: Any, to_b: Any, dtype_of: Any = lambda t: t, swap: bool = False) -> Any:
    """An elementwise operator; `to_a(g, a, b, y)` and `to_b` pass the gradient back."""

    def method(self: Any, other: Any) -> Any:
        number = not isinstance(other, Node)
        if number and not isinstance(other, int | float | np.number):
            raise TypeError(f"a Tensor and a {type(other).__name__} cannot be combined")
        them = Node(np.asarray(other)) if number else other
        dtype = dtype_of(result_type(self.data, them.data, number))
        left, right = (them, self) if swap else (self, them)
        a, b = left.data, right.data
        try:
            y = compute(dtype, fn, a, b)
        except ValueError:
            raise RuntimeError(f"shapes {a.shape} and {b.shape} do not broadcast") from None
        return self.record(
            y, (left, lambda g: to_a(g, a, b, y)), (right, lambda g: to_b(g, a, b, y))
        )

    return method


def _compare(fn: Any) -> Any:
    def method(self: Any, other: Any) -> Any:
        return self.record(fn(self.data, other.data if isinstance(other, Node) else other))

    return method


def _in_place(name: str) -> Any:
    return lambda self, other: self.rewrite(getattr(self, name)(other))


_add = (np.add, lambda g, a, b, y: g, lambda g, a, b, y: g)
_sub = (np.subtract, lambda g, a, b, y: g, lambda g, a, b, y: -g)
_mul = (np.multiply, lambda g, a, b, y: g * b, lambda g, a, b, y: g * a)
_div = (np.divide, lambda g, a, b, y: g / b, lambda g, a, b, y: -g * y / b, _floating)
_pow = (
    np.power,
    lambda g, a, b, y: np.where(b == 0, 0, g * b * a ** (b - 1.0)),
    lambda g, a, b, y: np.where((a == 0) & (b >= 0), 0, g * y * np.log(a)),
)


class Operations(Node):
    """Arithmetic; `Reductions` adds sums and means, `Tensor` shapes, types and conversions."""

    __slots__ = ()
    __array_priority__ = 1000  # numpy scalars and arrays leave mixed arithmetic to this class

    # Elementwise
    __add__ = __radd__ = add = _binary(*_add)
    __mul__ = __rmul__ = mul = _binary(*_mul)
    __sub__, __rsub__ = _binary(*_sub), _binary(*_sub, swap=True)
    __truediv__, __rtruediv__ = _binary(*_div), _binary(*_div, swap=True)
    __pow__, __rpow__ = _binary(*_pow), _binary(*_pow, swap=True)
    sub, div, pow = __sub__, __truediv__, __pow__
    __iadd__, __isub__ = _in_place("__add__"), _in_place("__sub__")
    __imul__, __itruediv__ = _in_place("__mul__"), _in_place("__truediv__")
    __gt__, __lt__ = _compare(np.greater), _compare(np.less)
    __ge__, __le__ = _compare(np.greater_equal), _compare(np.less_equal)
    __eq__, __ne__ = _compare(np.equal), _compare(np.not_equal)
    __hash__ = object.__hash__

    relu = _unary(lambda x: np.maximum(x, 0), lambda x, y: x > 0)
    exp = _unary(np.exp, lambda x, y: y)
    log = _unary(np.log, lambda x, y: 1 / x)
    tanh = _unary(np.tanh, lambda x, y: 1 - y * y)
    sqrt = _unary(np.sqrt, lambda x, y: 0.5 / y)
    rsqrt = _unary(lambda x: 1 / np.sqrt(x), lambda x, y: -0.5 * y * y * y)

    def __neg__(self) -> Any:
        return self.record(-self.data, (self, lambda g: -g))

    def abs(self) -> Any:
        """|x|, with gradient 0 at 0."""
        return self.record(np.abs(self.data), (self, lambda g: g * np.sign(self.data)))

    def square(self) -> Any:
        """x times x."""
        return self * self

    def __matmul__(self, other: Any) -> Any:
        """The matrix product over the last two axes; the others broadcast.

        RuntimeError if the dtypes differ or the inner sizes do not match.
        """
        a, b = self.data, other.data
        if a.dtype != b.dtype:
            raise RuntimeError(
                f"expected m1 and m2 to have the same dtype, but got: {a.dtype} != {b.dtype}"
            )
        if a.ndim == 1:
            return (cast(Any, self).reshape(1, -1) @ other).squeeze(-2 if b.ndim > 1 else 0)
        if b.ndim == 1:
            return (self @ other.reshape(-1, 1)).squeeze(-1)
        if a.shape[-1] != b.shape[-2]:
            one, two = ("x".join(map(str, array.shape)) for array in (a, b))
            raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({one} and {two})")
        return self.record(
            compute(a.dtype, matmul_arrays, a, b),
            (self, lambda g: matmul_arrays(g, b.swapaxes(-1, -2).astype(g.dtype, copy=False))),
            (other, lambda g: matmul_arrays(a.swapaxes(-1, -2).astype(g.dtype, copy=False), g)),
        )

    matmul = __matmul__
