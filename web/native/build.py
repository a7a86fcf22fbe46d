"""Build web/native/engine.wasm from engine.c, to the same bytes every time.

The compiler is the PyPI package `ziglang` at one exact version: clang and wasm-ld. The result is
committed, so building the site needs no compiler; tests/unit/test_page_kernel.py builds it again
where ziglang is installed and compares the bytes with the file and its hash in engine.sha256.

Run: python web/native/build.py
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCE, LIBRARY, DIGEST = HERE / "engine.c", HERE / "engine.wasm", HERE / "engine.sha256"
ZIG = "0.17.0"
FLAGS = ("-O3", "-msimd128", "-ffreestanding", "-fno-builtin", "-Wall", "-Werror")
EXPORTS = (
    *("widen", "linear", "linear_f32", "add_scaled", "rms_norm", "layer_norm", "rope"),
    *("swiglu", "gelu", "attend"),
    "__heap_base",
)


def compile_engine() -> bytes:
    """The bytes of engine.wasm."""
    with tempfile.TemporaryDirectory() as folder:
        # Inside the folder on a bare file name: no path of this machine can get into the bytes.
        (Path(folder) / "engine.c").write_bytes(SOURCE.read_bytes())
        zig = [sys.executable, "-m", "ziglang"]
        exports = [f"--export={name}" for name in EXPORTS]
        link = ["--no-entry", "--stack-first", "-z", "stack-size=16384", "--strip-all"]
        for step in (
            [*zig, "cc", "-target", "wasm32-freestanding", *FLAGS, "-c", "engine.c", "-o", "e.o"],
            [*zig, "wasm-ld", *link, *exports, "-o", "engine.wasm", "e.o"],
        ):
            subprocess.run(step, cwd=folder, check=True)
        return (Path(folder) / "engine.wasm").read_bytes()


def main() -> int:
    """Build the committed file and write its hash."""
    try:
        found = version("ziglang")
    except PackageNotFoundError:
        found = "none"
    if found != ZIG:
        print(f"build: needs ziglang {ZIG} (found: {found}): pip install ziglang=={ZIG}")
        return 1
    built = compile_engine()
    LIBRARY.write_bytes(built)
    digest = hashlib.sha256(built).hexdigest()
    DIGEST.write_text(f"{digest}\n", encoding="utf-8")
    print(f"{LIBRARY.name}: {len(built)} bytes, sha256 {digest}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
