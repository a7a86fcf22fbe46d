"""The engine's kernel is what its source says."""

import hashlib
import importlib.util
from pathlib import Path

import pytest

from minimind_wiki.book import zig
from minimind_wiki.errors import MinimindError

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
    if zig.installed() is None:
        pytest.skip(f"needs ziglang=={zig.wanted()} to compile: pip install it")
    assert build.compile_engine() == build.LIBRARY.read_bytes(), (
        "engine.c and engine.wasm differ: run python web/native/build.py and commit"
    )


def test_another_compiler_is_refused_with_the_version_that_is_wanted(monkeypatch):
    monkeypatch.setattr(zig, "installed", lambda: "0.1.0")
    with pytest.raises(MinimindError, match=rf"0\.1\.0 is installed: .*=={zig.wanted()}"):
        zig.compiler()
    monkeypatch.setattr(zig, "installed", lambda: None)
    with pytest.raises(MinimindError, match="none is installed"):
        builder().compile_engine()
