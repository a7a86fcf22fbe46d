"""What costs time in the page: the matrix product and a few functions, by SIMD.

In a browser numpy's float32 matmul is a plain loop and its exp takes one value at a time;
`kernels.c` beside this file, compiled to a 15 KB WebAssembly library, does the same many times
faster. Everywhere else, for other dtypes, and whenever the library cannot be loaded, each function
here is the numpy formula that it stands for: the kernels change the time, never the meaning.

Which functions stand here is decided by a profile: `bench/page_step.py` tells, for the program of
the playground in Chromium, the share that each operation has in a step, and with `--turns` what a
fused one brings. Matrix products and attention take most of a step; softmax and its loss their
part; RMSNorm took six per cent before it came here. AdamW takes less than one: plain numpy.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray

# Below this many multiplications the call itself (10 µs, by ctypes and the checks) costs more than
# numpy's loop. Measured in Pyodide 314.0.4: equal near 28 x 28 x 28.
WORTH_IT = 24_000
SCRATCH = 256 * 512  # DEPTH * WIDTH of kernels.c

_library: Any = None
_scratch: Any = None


def load() -> bool:
    """Load the kernels if this Python runs in WebAssembly; return whether they are in use."""
    global _library, _scratch
    if _library is None and sys.platform == "emscripten":
        try:
            _library = ctypes.CDLL(str(Path(__file__).with_name("_kernels_wasm.so")))
        except OSError:  # an engine without SIMD, or a Pyodide of another ABI: slower, not broken
            return False
        _scratch = np.empty(SCRATCH, np.float32)
    return _library is not None


def unload() -> None:
    """Go back to numpy (to measure what the kernels bring)."""
    global _library
    _library = None


def _fits(*arrays: Array) -> bool:
    return _library is not None and all(a.dtype == np.float32 for a in arrays)


def _address(a: Array) -> int:
    return int(a.__array_interface__["data"][0])


def _call(name: str, *arguments: Any) -> None:
    """Arrays go as the address of their values, floats as float32, None as a null pointer."""
    given = [
        _address(a) if isinstance(a, np.ndarray)
        else ctypes.c_float(a) if isinstance(a, float) else a or 0
        for a in arguments
    ]  # fmt: skip
    getattr(_library, name)(*given)


def _rows(*arrays: Array) -> list[Array]:
    """The arrays as the kernels read them, without gaps, and one like the last for the answer."""
    given = [np.ascontiguousarray(a) for a in arrays]
    return [*given, np.empty(given[-1].shape, np.float32)]


def matmul(a: Array, b: Array) -> Array:
    """`a @ b` over the last two axes; the others broadcast.

    >>> matmul(np.eye(2), np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([[1., 2.], [3., 4.]])
    """
    if not _fits(a, b) or a.size * b.shape[-1] < WORTH_IT:
        return np.asarray(a @ b)
    (m, k), n = a.shape[-2:], b.shape[-1]
    many: tuple[int, ...] = ()
    if a.ndim > 2 or b.ndim > 2:
        many = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        a = np.broadcast_to(a, (*many, m, k))
        b = np.broadcast_to(b, (*many, k, n))
    a, b = a.reshape(-1, m, k), b.reshape(-1, k, n)
    c = np.empty((*many, m, n), np.float32)
    strides = (step // 4 for step in (*a.strides, *b.strides))
    _call("matmul", a, b, c, _scratch, len(a), m, n, k, *strides)
    return c


def softmax(x: Array, axis: int) -> Array:
    """exp(x) / sum(exp(x)) along an axis."""
    if axis in (-1, x.ndim - 1) and _fits(x) and x.size:
        return _softmax(x)[0]
    y = np.exp(x - x.max(axis, keepdims=True))
    return np.asarray(y / y.sum(axis, keepdims=True))


def _softmax(x: Array, period: int = 0) -> tuple[Array, Array]:
    """Softmax over the last axis, and the logarithm of the sum of exp (..., 1), by the kernel."""
    x, y = _rows(x)
    top, total = np.empty((2, *x.shape[:-1], 1), np.float32)
    _call("softmax", x, y, top, total, top.size, x.shape[-1], period)
    return y, top + np.log(total)


def causal_softmax(x: Array) -> Array:
    """Softmax over the last axis of x (..., T, S), where row t sees columns 0 to t."""
    if _fits(x) and x.size:
        return _softmax(x, x.shape[-2])[0]
    return softmax(np.where(np.tri(*x.shape[-2:]) > 0, x, -np.inf), -1)


def softmax_and_log(x: Array) -> tuple[Array, Array]:
    """Softmax over the last axis, and log(sum(exp(x))) (..., 1)."""
    if _fits(x) and x.size:
        return _softmax(x)
    top = x.max(-1, keepdims=True)
    return softmax(x, -1), top + np.log(np.exp(x - top).sum(-1, keepdims=True))


def softmax_vjp(g: Array, y: Array, axis: int) -> Array:
    """The gradient of softmax's input, where y is its output."""
    if axis in (-1, y.ndim - 1) and _fits(g, y) and y.size:
        g, y, out = _rows(g, y)
        _call("softmax_vjp", g, y, out, y.size // y.shape[-1], y.shape[-1])
        return out
    return np.asarray(y * (g - (g * y).sum(axis, keepdims=True)))


def _scale(x: Array, weight: Array, eps: float) -> tuple[Array, tuple[int, ...]]:
    """1 / sqrt(mean(x²) + eps) over the last axes, as many as weight has, and these axes."""
    axes = tuple(range(-weight.ndim, 0))
    return 1 / np.sqrt((x * x).mean(axes, keepdims=True) + eps), axes


def rms_norm(x: Array, weight: Array, eps: float) -> Array:
    """x / sqrt(mean(x²) + eps) * weight over the last axes, as many as weight has."""
    if _fits(x, weight) and x.size:
        w, x, y = _rows(weight, x)
        _call("rms_norm", x, w, y, x.size // w.size, w.size, float(eps))
        return y
    return np.asarray(x * _scale(x, weight, eps)[0] * weight)


def rms_norm_vjp(g: Array, x: Array, weight: Array, eps: float) -> Array:
    """The gradient of rms_norm's x."""
    if _fits(g, x, weight) and x.size:
        w, g, x, out = _rows(weight, g, x)
        _call("rms_norm_vjp", g, x, w, out, x.size // w.size, w.size, float(eps))
        return out
    scale, axes = _scale(x, weight, eps)
    y, g = x * scale, g * weight
    return np.asarray(scale * (g - y * (g * y).mean(axes, keepdims=True)))


def rms_norm_weight_vjp(g: Array, x: Array, weight: Array, eps: float) -> Array:
    """The gradient of rms_norm's weight."""
    if _fits(g, x, weight) and x.size:
        g, x, out = (
            np.ascontiguousarray(g),
            np.ascontiguousarray(x),
            np.zeros(weight.shape, np.float32),
        )
        _call("rms_norm_weight_vjp", g, x, out, x.size // out.size, out.size, float(eps))
        return out
    return np.asarray((g * x * _scale(x, weight, eps)[0]).reshape(-1, *weight.shape).sum(0))


def silu(x: Array) -> Array:
    """x / (1 + exp(-x))."""
    if _fits(x):
        x, y = _rows(x)
        _call("silu", x, None, y, x.size)
        return y
    return np.asarray(x / (1 + np.exp(-x)))


def silu_vjp(g: Array, x: Array) -> Array:
    """The gradient of silu's input."""
    if _fits(g, x):
        g, x, y = _rows(g, x)
        _call("silu", x, g, y, x.size)
        return y
    s = 1 / (1 + np.exp(-x))
    return np.asarray(g * s * (1 + x * (1 - s)))


load()
