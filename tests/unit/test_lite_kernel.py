"""The SIMD kernel's library is what its source says, and its Python side is `a @ b` elsewhere."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from minimind_wiki.book import zig
from minimind_wiki.lite import kernel

ROOT = Path(__file__).resolve().parents[2]


def build_kernel():
    path = ROOT / "web" / "python" / "build_kernel.py"
    spec = importlib.util.spec_from_file_location("build_kernel", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_committed_library_is_rebuilt_to_the_same_bytes(tmp_path):
    builder = build_kernel()
    if zig.installed() is None:
        pytest.skip(f"needs ziglang=={zig.wanted()} to compile: pip install it")
    target = tmp_path / "out.so"
    builder.compile_kernel(target)
    assert target.read_bytes() == builder.LIBRARY.read_bytes(), (
        "kernels.c and _kernels_wasm.so differ: run python web/python/build_kernel.py and commit"
    )
    assert len(target.read_bytes()) < 16_000


def test_outside_a_page_it_is_numpy():
    assert sys.platform != "emscripten" and not kernel.load()
    a, b = np.ones((60, 70), np.float32), np.full((70, 80), 2, np.float32)
    np.testing.assert_array_equal(kernel.matmul(a, b), a @ b)
