"""The compiler of the committed WebAssembly: clang and wasm-ld, from the PyPI package `ziglang`.

Both kernels of the pages (web/native/engine.c, lite/kernel/kernels.c) are built to the same bytes
every time, which only one exact version does: that of constraints.txt.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from minimind_wiki.errors import MinimindError

CONSTRAINTS = Path(__file__).resolve().parents[2] / "constraints.txt"


def wanted() -> str:
    """The version that constraints.txt names."""
    found = re.search(r"^ziglang==(\S+)$", CONSTRAINTS.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise MinimindError("constraints.txt names no version of ziglang; add 'ziglang==VERSION'.")
    return found[1]


def installed() -> str | None:
    """The version that is installed; None without one."""
    try:
        return version("ziglang")
    except PackageNotFoundError:
        return None


def compiler() -> list[str]:
    """The command that `cc` and `wasm-ld` are words of; raises MinimindError on another version."""
    if installed() != wanted():
        raise MinimindError(
            f"the kernels are built by ziglang {wanted()}, and {installed() or 'none'} is "
            f"installed: pip install ziglang=={wanted()}"
        )
    return [sys.executable, "-m", "ziglang"]
