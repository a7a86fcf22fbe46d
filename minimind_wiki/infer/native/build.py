"""The kernels as a library: compiled for the processor at hand when first asked for, and kept.

The compiler is clang from the PyPI package `ziglang`, one wheel without dependencies. gcc 12 takes
twice to four times as long a product from the same source, so whatever `cc` is here is not used.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from minimind_wiki.errors import MinimindError

SOURCE = Path(__file__).with_name("kernels.c")
# Sums in any order, so that they can be taken 16 at a time; all else as the standard has it: what
# is no number must stay none, or an engine would not see that a model is broken.
FLAGS = [
    "-mcpu=native",
    "-O3",
    "-shared",
    "-fPIC",
    "-nostdlib",
    "-fassociative-math",
    "-fno-signed-zeros",
    "-fno-trapping-math",
    "-fno-math-errno",
    "-ffp-contract=fast",
]
P, N, F, I = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float, ctypes.c_int
SIGNATURES = {
    "product": [P, P, P, N, N, N, I, I],
    "norm": [P, P, P, P, N, N, F, I],
    "gated": [P, P, N, N, I],
    "store": [P, P, P, P, P, P, P, P, N, N, N, N, F, I],
    "attend": [P, P, P, P, P, P, P, N, N, N, N, N, N, N, I],
}  # as in kernels.c


@cache
def library() -> ctypes.CDLL:
    """The kernels, ready to be called with addresses. MinimindError where they cannot be had."""
    if sys.platform != "linux":
        raise MinimindError("the native kernels are for Linux; leave them out here (no --native).")
    try:
        compiler = version("ziglang")
    except PackageNotFoundError:
        raise MinimindError(
            "the native kernels need a compiler; run 'pip install \"minimind-wiki[native]\"', or "
            "leave them out (no --native)."
        ) from None
    # a folder may be shared by machines with other processors: the name tells them apart
    about = (compiler, FLAGS, platform.machine(), platform.node())
    key = hashlib.sha256(SOURCE.read_bytes() + repr(about).encode()).hexdigest()[:16]
    target = kept() / f"kernels-{key}.so"
    if not target.exists():
        compile_to(target)
    try:
        loaded = ctypes.CDLL(str(target))  # takes the threads' functions from the torch in memory
    except OSError as error:
        raise MinimindError(
            f"the native kernels could not be loaded; leave them out (no --native), or mend this: "
            f"{error}"
        ) from error
    for name, arguments in SIGNATURES.items():
        function = getattr(loaded, name)
        function.argtypes, function.restype = arguments, None
    return loaded


def kept() -> Path:
    """Where libraries are kept."""
    top = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(top) / "minimind-wiki"


def compile_to(target: Path) -> None:
    """Compile, and only then give the library its name: another process may look for it."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MinimindError(
            f"the native kernels cannot be kept in {target.parent} ({error.strerror}); name a "
            "folder by XDG_CACHE_HOME."
        ) from error
    draft = target.with_suffix(f".{os.getpid()}.tmp")
    done = subprocess.run(
        [sys.executable, "-m", "ziglang", "cc", *FLAGS, str(SOURCE), "-o", str(draft)],
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise MinimindError(
            f"the native kernels could not be compiled; leave out --native, or mend this: "
            f"{done.stderr.strip()}"
        )
    draft.replace(target)
