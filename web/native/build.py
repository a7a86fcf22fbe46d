"""Build web/native/engine.wasm from engine.c, to the same bytes every time.

The compiler is that of `minimind_wiki.book.zig`. The result is committed, so building the site
needs no compiler; tests/unit/test_page_kernel.py builds it again where ziglang is installed and
compares the bytes with the file and its hash in engine.sha256.

Run: python web/native/build.py
"""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from pathlib import Path

from minimind_wiki.book import zig
from minimind_wiki.errors import MinimindError

HERE = Path(__file__).resolve().parent
SOURCE, LIBRARY, DIGEST = HERE / "engine.c", HERE / "engine.wasm", HERE / "engine.sha256"
FLAGS = ("-O3", "-msimd128", "-ffreestanding", "-fno-builtin", "-Wall", "-Werror")
EXPORTS = (
    *("widen", "linear", "linear_f32", "add_scaled", "rms_norm", "layer_norm", "rope"),
    *("swiglu", "gelu", "attend"),
    "__heap_base",
)


def compile_engine() -> bytes:
    """The bytes of engine.wasm."""
    words = zig.compiler()
    with tempfile.TemporaryDirectory() as folder:
        # Inside the folder on a bare file name: no path of this machine can get into the bytes.
        (Path(folder) / "engine.c").write_bytes(SOURCE.read_bytes())
        exports = [f"--export={name}" for name in EXPORTS]
        link = ["--no-entry", "--stack-first", "-z", "stack-size=16384", "--strip-all"]
        for step in (
            [*words, "cc", "-target", "wasm32-freestanding", *FLAGS, "-c", "engine.c", "-o", "e.o"],
            [*words, "wasm-ld", *link, *exports, "-o", "engine.wasm", "e.o"],
        ):
            subprocess.run(step, cwd=folder, check=True)
        return (Path(folder) / "engine.wasm").read_bytes()


def main() -> int:
    """Build the committed file and write its hash."""
    try:
        built = compile_engine()
    except MinimindError as error:
        print(f"build: {error}")
        return 1
    LIBRARY.write_bytes(built)
    digest = hashlib.sha256(built).hexdigest()
    DIGEST.write_text(f"{digest}\n", encoding="utf-8")
    print(f"{LIBRARY.name}: {len(built)} bytes, sha256 {digest}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
