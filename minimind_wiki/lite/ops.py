"""What tensors can do element by element, and the matrix product.

Each operation is its value and, for each input, one line that passes the gradient back.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minimind_wiki.lite import kernel
from minimind_wiki.lite.autograd import Array, Node

_CATEGORY = {"b": 0, "i": 1, "u": 1, "f": 2}


def compute(dtype: Any, fn: Callable[..., Any], *arrays: Array) -> Array:
    """`fn` of the arrays in `dtype`; float16 is computed in float32 and rounded at the end."""
    within = np.float32 if dtype == np.float16 else dtype
    with np.errstate(all="ignore"):  # inf and nan are answers here, not accidents
        made = np.asarray(fn(*(a.astype(within, copy=False) for a in arrays)))
        return made.astype(dtype, copy=False)


def result_type(a: Array, b: Array, b_is_number: bool = False) -> Any:
    """PyTorch's promotion: category first, then arrays before 0-d tensors before Python numbers."""
    ours, theirs = _CATEGORY[a.dtype.kind], _CATEGORY[b.dtype.kind]
    if ours != theirs:
        higher = a.dtype if ours > theirs else b.dtype
        return np.dtype("float32") if b_is_number and higher is b.dtype and theirs == 2 else higher
    if b_is_number or (b.ndim == 0) != (a.ndim == 0):
        return b.dtype if a.ndim == 0 and not b_is_number else a.dtype
    return np.promote_types(a.dtype, b.dtype)


def floating(dtype: Any, otherwise: str = "float32") -> Any:
    """The dtype itself if it is a floating one."""
    return dtype if dtype.kind == "f" else np.dtype(otherwise)


def _unary(fn: Any, slope: Callable[[Array, Array], Any], dtype_of: Any = floating) -> Any:
    """An elementwise method; `slope(x, y)` is its derivative."""

    def method(self: Any) -> Any:
        y = compute(dtype_of(self.data.dtype), fn, self.data)
        return self.record(y, (self, lambda g: g * slope(self.data, y)))

    return method


def _binary(fn: Any, to_a: Any, to_b: Any, dtype_of: Any = np.dtype, swap: bool = False) -> Any:
    """An elementwise operator; `to_a(g, a, b, y)` and `to_b` pass the gradient back."""

    def method(self: Any, other: Any) -> Any:
        number = not isinstance(other, Node)
        if number and not isinstance(other, int | float | np.number | np.bool_):
            raise TypeError(f"a Tensor and a {type(other).__name__} cannot be combined")
        them = Node(np.asarray(other)) if number else other
        dtype = dtype_of(result_type(self.data, them.data, number))
        one, two = (them, self) if swap else (self, them)
        a, b = one.data, two.data
        try:
            y = compute(dtype, fn, a, b)
        except ValueError:
            raise RuntimeError(f"shapes {a.shape} and {b.shape} do not broadcast") from None
        return self.record(y, (one, lambda g: to_a(g, a, b, y)), (two, lambda g: to_b(g, a, b, y)))

    return method


def _flat(fn: Any) -> Any:
    """A test, a comparison or a logical operator: what it returns has no gradient."""
    return lambda self, *other: self.record(
        fn(self.data, *(x.data if isinstance(x, Node) else x for x in other))
    )


def _stepped(fn: Any) -> Any:
    """A function made of steps: its gradient is zero."""
    return lambda self: self.record(fn(self.data), (self, np.zeros_like))


def _in_place(name: str) -> Any:
    return lambda self, other: self.rewrite(getattr(self, name)(other))


def _half(wins: Any) -> Any:
    """The gradient of a maximum: to the winner, and half to each where both are equal."""
    return lambda g, a, b, y: g * np.where(a == b, 0.5, wins(a, b))


_add = (np.add, lambda g, a, b, y: g, lambda g, a, b, y: g)
_sub = (np.subtract, lambda g, a, b, y: g, lambda g, a, b, y: -g)
_mul = (np.multiply, lambda g, a, b, y: g * b, lambda g, a, b, y: g * a)
_div = (np.divide, lambda g, a, b, y: g / b, lambda g, a, b, y: -g * y / b, floating)
_pow = (
    np.power,
    lambda g, a, b, y: np.where(b == 0, 0, g * b * a ** (b - 1.0)),
    lambda g, a, b, y: np.where((a == 0) & (b >= 0), 0, g * y * np.log(a)),
)
_erf = np.vectorize(math.erf, otypes=[float])


class Operations(Node):
    """Arithmetic; `Reductions` adds sums and means, `Tensor` shapes, types and conversions."""

    __slots__ = ()
    __array_priority__ = 1000  # numpy scalars and arrays leave mixed arithmetic to this class

    __add__ = __radd__ = add = _binary(*_add)
    __mul__ = __rmul__ = mul = _binary(*_mul)
    __sub__, __rsub__ = _binary(*_sub), _binary(*_sub, swap=True)
    __truediv__, __rtruediv__ = _binary(*_div), _binary(*_div, swap=True)
    __pow__, __rpow__ = _binary(*_pow), _binary(*_pow, swap=True)
    __mod__ = _binary(np.mod, lambda g, a, b, y: g, lambda g, a, b, y: -g * np.floor(a / b))
    sub, div, pow = __sub__, __truediv__, __pow__
    maximum = _binary(np.maximum, _half(np.greater), _half(np.less))
    minimum = _binary(np.minimum, _half(np.less), _half(np.greater))
    __iadd__ = add_ = _in_place("__add__")
    __isub__ = sub_ = _in_place("__sub__")
    __imul__ = mul_ = _in_place("__mul__")
    __itruediv__ = div_ = _in_place("__truediv__")
    __gt__, __lt__ = _flat(np.greater), _flat(np.less)
    __ge__, __le__ = _flat(np.greater_equal), _flat(np.less_equal)
    __eq__, __ne__ = _flat(np.equal), _flat(np.not_equal)
    floor, round, sign = _stepped(np.floor), _stepped(np.round), _stepped(np.sign)
    isnan, isfinite, __invert__ = _flat(np.isnan), _flat(np.isfinite), _flat(np.invert)
    __and__, __or__, __xor__ = _flat(np.bitwise_and), _flat(np.bitwise_or), _flat(np.bitwise_xor)
    __floordiv__, __hash__ = _flat(np.floor_divide), object.__hash__

    relu = _unary(lambda x: np.maximum(x, 0), lambda x, y: x > 0, np.dtype)
    abs = _unary(np.abs, lambda x, y: np.sign(x), np.dtype)
    __neg__ = _unary(np.negative, lambda x, y: -1, np.dtype)
    exp = _unary(np.exp, lambda x, y: y)
    log = _unary(np.log, lambda x, y: 1 / x)
    log2 = _unary(np.log2, lambda x, y: 1 / (x * math.log(2)))
    sin = _unary(np.sin, lambda x, y: np.cos(x))
    cos = _unary(np.cos, lambda x, y: -np.sin(x))
    tanh = _unary(np.tanh, lambda x, y: 1 - y * y)
    sigmoid = _unary(lambda x: 1 / (1 + np.exp(-x)), lambda x, y: y * (1 - y))
    erf = _unary(_erf, lambda x, y: 2 / math.sqrt(math.pi) * np.exp(-x * x))
    square = _unary(np.square, lambda x, y: 2 * x, np.dtype)
    sqrt = _unary(np.sqrt, lambda x, y: 0.5 / y)
    rsqrt = _unary(lambda x: 1 / np.sqrt(x), lambda x, y: -0.5 * y * y * y)

    def clamp(self, min: Any = None, max: Any = None) -> Any:
        """Between two numbers; the gradient passes where the value was not changed."""
        y = np.clip(self.data, min, max)
        return self.record(y, (self, lambda g: g * (y == self.data)))

    def masked_fill(self, mask: Any, value: float) -> Any:
        """`value` where the mask is true, in the dtype of this."""
        return self.where(~mask, self.data.dtype.type(value))

    def where(self, condition: Node, other: Any) -> Any:
        """This where the condition is true, else `other`."""
        c = condition.data
        to_self, to_other = lambda g, *_: np.where(c, g, 0), lambda g, *_: np.where(c, 0, g)
        return _binary(lambda a, b: np.where(c, a, b), to_self, to_other)(self, other)

    def __matmul__(self: Any, other: Any) -> Any:
        """The matrix product over the last two axes; the others broadcast.

        RuntimeError if the dtypes differ or the inner sizes do not match.
        """
        a, b = self.data, other.data
        if a.dtype != b.dtype:
            raise RuntimeError(f"@ needs the same dtype twice, and got {a.dtype} and {b.dtype}")
        if a.ndim == 1:
            return (self.reshape(1, -1) @ other).squeeze(-min(2, b.ndim))
        if b.ndim == 1:
            return (self @ other.reshape(-1, 1)).squeeze(-1)
        if a.shape[-1] != b.shape[-2]:
            one, two = ("x".join(map(str, array.shape)) for array in (a, b))
            raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({one} and {two})")
        if a.ndim > 2 and b.ndim == 2:  # one product of tall matrices, not many of small ones
            return (self.reshape(-1, a.shape[-1]) @ other).reshape(*a.shape[:-1], b.shape[-1])

        return self.record(
            compute(a.dtype, kernel.matmul, a, b),
            (self, lambda g: kernel.matmul(g, b.swapaxes(-1, -2))),
            (other, lambda g: kernel.matmul(a.swapaxes(-1, -2), g)),
        )

    matmul = __matmul__
