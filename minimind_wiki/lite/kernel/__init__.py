"""The matrix product of the page: a small SIMD kernel where numpy has no BLAS.

In a browser numpy's float32 matmul is a plain loop; `sgemm.c` beside this file, compiled to a 4 KB
WebAssembly library, does the same sum 5 times (64 x 64) to 35 times (512 x 512) faster. Everywhere
else, and whenever the library cannot be loaded, `matmul` is `a @ b`: the kernel changes the time,
never the meaning.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

# Below this many multiplications the call itself (10 µs, by ctypes and the checks) costs more than
# numpy's loop. Measured in Pyodide 314.0.4: equal near 28 x 28 x 28.
WORTH_IT = 24_000

_sgemm: Callable[..., Any] | None = None


def load() -> bool:
    """Load the kernel if this Python runs in WebAssembly; return whether it is in use."""
    global _sgemm
    if _sgemm is None and sys.platform == "emscripten":
        try:
            library = ctypes.CDLL(str(Path(__file__).with_name("_kernels_wasm.so")))
        except OSError:  # an engine without SIMD, or a Pyodide of another ABI: slower, not broken
            return False
        _sgemm = library.sgemm
        _sgemm.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int] * 3  # type: ignore[attr-defined]
        _sgemm.restype = None  # type: ignore[attr-defined]
    return _sgemm is not None


def unload() -> None:
    """Go back to `a @ b` (to measure what the kernel brings)."""
    global _sgemm
    _sgemm = None


def _address(a: np.ndarray) -> int:
    return int(a.__array_interface__["data"][0])


def matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """`a @ b`; by the kernel for float32 matrices large enough to be worth the call.

    >>> matmul(np.eye(2), np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([[1., 2.], [3., 4.]])
    """
    if (
        _sgemm is None
        or a.ndim != 2
        or b.ndim != 2
        or a.dtype != np.float32
        or b.dtype != np.float32
        or a.shape[1] != b.shape[0]
        or a.size * b.shape[1] < WORTH_IT
    ):
        return np.asarray(a @ b)
    (m, k), n = a.shape, b.shape[1]
    a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
    c = np.empty((m, n), np.float32)
    _sgemm(_address(a), _address(b), _address(c), m, n, k)
    return c


load()
