"""The engine's kernel is what its source says."""

import hashlib
import importlib.metadata
import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def builder():
    spec = importlib.util.spec_from_file_location("build", ROOT / "web" / "native" / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_committed_kernel_has_the_hash_that_stands_beside_it():
    build = builder()
    digest = hashlib.sha256(build.LIBRARY.read_bytes()).hexdigest()
    assert build.DIGEST.read_text() == f"{digest}\n"


def test_the_committed_kernel_is_rebuilt_to_the_same_bytes():
    build = builder()
    try:
        found = importlib.metadata.version("ziglang")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"needs ziglang=={build.ZIG} to compile: pip install it")
    assert found == build.ZIG
    assert build.compile_engine() == build.LIBRARY.read_bytes(), (
        "engine.c and engine.wasm differ: run python web/native/build.py and commit"
    )
