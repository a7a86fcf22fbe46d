"""Find numpy's wheel for Pyodide. It must be the file that npm's pyodide names, to the byte.

No package index carries numpy for WebAssembly, so several places are asked, in order. Whatever they
answer counts only if its sha256 is the one in the lock file of the installed npm package.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

# A pure-Python package on the index that carries a whole Pyodide distribution (BSD-3-Clause numpy
# among it) in its front end. 106 MB, from which one file of 3 MB is taken.
CARRIER, INSIDE = "open-webui==0.12.4", "open_webui/frontend/pyodide"


def cache_folder() -> Path:
    """Where downloads stay: `$XDG_CACHE_HOME/minimind/pyodide` or `~/.cache/minimind/pyodide`."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "minimind" / "pyodide"


def resolve(entry: dict[str, Any], pyodide: Path, version: str) -> Path | None:
    """The path of the wheel that `entry` of the lock file names, or None if nobody has it."""
    name, sha256 = entry["file_name"], entry["sha256"]
    kept = cache_folder() / name
    assets = os.environ.get("MINIMIND_ASSETS")
    places: list[tuple[str, Callable[[], bytes]]] = [("the cache", kept.read_bytes)]
    if assets:
        places.append(("MINIMIND_ASSETS", (Path(assets) / name).read_bytes))
    places.append(("the Pyodide release", lambda: _from_release(pyodide, version, name)))
    places.append((CARRIER, lambda: _from_carrier(name)))
    for place, read in places:
        try:
            data = read()
        # Offline, not found, no pip, a broken archive: all mean "not here", the next one is asked.
        except Exception as error:  # noqa: BLE001
            if not isinstance(error, FileNotFoundError):
                print(f"bundle: numpy is not to be had from {place}: {error}")
            continue
        if hashlib.sha256(data).hexdigest() != sha256:
            print(f"bundle: numpy from {place} is not the file that pyodide's lock names; ignored")
            continue
        print(f"bundle: numpy from {place}")
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(data)
        except OSError:  # a read-only home: use a temporary file, fetch again next time
            kept = Path(tempfile.mkdtemp()) / name
            kept.write_bytes(data)
        return kept
    return None


def _from_release(pyodide: Path, version: str, name: str) -> bytes:
    """From where pyodide itself would load it: the address in its own loader."""
    loader = (pyodide / "pyodide.mjs").read_text(encoding="utf-8")
    found = re.search(r"(https://[^`\"']+/v)\$\{\w+\}(/full/)", loader)
    if not found:
        raise FileNotFoundError("no address in pyodide.mjs")
    with urllib.request.urlopen(f"{found[1]}{version}{found[2]}{name}", timeout=20) as answer:
        return bytes(answer.read())


def _from_carrier(name: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        print(f"bundle: fetching numpy inside {CARRIER} (106 MB, once) …", flush=True)
        command = [sys.executable, "-m", "pip", "download", CARRIER, "--no-deps", "--quiet"]
        done = subprocess.run(
            [*command, "--dest", folder], capture_output=True, text=True, check=False
        )
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["pip failed"]
            raise RuntimeError(lines[-1])
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(f"{INSIDE}/{name}")
