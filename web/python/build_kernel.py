"""Build minimind_wiki/lite/kernel/_kernels_wasm.so from kernels.c, to the same bytes every time.

The compiler is that of `minimind_wiki.book.zig`, without emscripten. The result is committed, so a
reader needs no compiler; tests/unit/test_lite_kernel.py builds it again where ziglang is installed
and compares the bytes.

Run: python web/python/build_kernel.py
"""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from pathlib import Path

from minimind_wiki.book import zig
from minimind_wiki.errors import MinimindError

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "minimind_wiki" / "lite" / "kernel" / "kernels.c"
LIBRARY = SOURCE.with_name("_kernels_wasm.so")
FLAGS = (
    *("-fPIC", "-O2", "-fvisibility=hidden", "-msimd128", "-ffreestanding", "-fno-builtin"),
    *("-Wall", "-Werror"),
)


def compile_kernel(target: Path) -> str:
    """Compile and link the kernel into `target`; return its sha256."""
    words = zig.compiler()
    with tempfile.TemporaryDirectory() as folder:
        # The compiler runs inside the folder on a bare file name, so that no path of this machine
        # can get into the bytes.
        (Path(folder) / "kernels.c").write_bytes(SOURCE.read_bytes())
        compile_ = ["cc", "-target", "wasm32-emscripten", *FLAGS, "-c", "kernels.c"]
        link = ["--experimental-pic", "-shared", "--no-entry", "-Bsymbolic", "--strip-debug"]
        steps = (
            [*words, *compile_, "-o", "kernels.o"],
            [*words, "wasm-ld", *link, "-o", "out.so", "kernels.o"],
        )
        for step in steps:
            subprocess.run(step, cwd=folder, check=True)
        built = (Path(folder) / "out.so").read_bytes()
    target.write_bytes(built)
    return hashlib.sha256(built).hexdigest()


def main() -> int:
    """Build the committed library."""
    try:
        digest = compile_kernel(LIBRARY)
    except MinimindError as error:
        print(f"build_kernel: {error}")
        return 1
    print(f"{LIBRARY.relative_to(ROOT)}: {LIBRARY.stat().st_size} bytes, sha256 {digest}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
