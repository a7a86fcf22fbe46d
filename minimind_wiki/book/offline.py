"""Reading without a connection: the list of the site, and the service worker that keeps it.

A service worker rules only over addresses below its own, so the built script is moved from the
assets to the root of the pages. It carries the version of the whole site: one changed byte anywhere
makes another script, which browsers notice. What it does is in `web/src/offline/keep.ts`.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

BUILT, WORKER, LIST = "assets/build/sw.js", "sw.js", "offline.json"
MARK = "__VERSION__"
# Nobody reads these offline: source maps, archives, the page of a wrong address (which some hosts
# send with the status 404, and an error is never kept), and search in other languages.
LEFT_OUT = (".map", ".gz", ".inv", "404.html")
LEFT_OUT_FOLDERS = ("assets/javascripts/lunr/",)


def listed(pages: Path) -> dict[str, Any]:
    """Version, bytes and files of the site whose pages begin in this folder.

    A page stands in the list under the address that readers use: its folder, with a slash.
    """
    files = []
    for file in sorted(pages.rglob("*")):
        path = file.relative_to(pages).as_posix()
        if not file.is_file() or path in (WORKER, LIST, BUILT) or path.endswith(LEFT_OUT):
            continue
        if path.startswith(LEFT_OUT_FOLDERS):
            continue
        content = file.read_bytes()
        files.append({
            "path": path.removesuffix("index.html") or "./",
            "bytes": len(content),
            "hash": hashlib.sha256(content).hexdigest()[:16],
        })  # fmt: skip
    text = json.dumps(files, sort_keys=True)
    return {
        "version": hashlib.sha256(text.encode()).hexdigest()[:16],
        "bytes": sum(file["bytes"] for file in files),
        "files": files,
    }


def write(pages: Path) -> bool:
    """Write offline.json and sw.js beside the pages; False where the worker was not built."""
    built = pages / BUILT
    if not built.is_file():
        return False
    script = built.read_text(encoding="utf-8")
    built.unlink()
    content = listed(pages)
    # the list of another worker would be read by this one: both are part of the version
    digest = hashlib.sha256((content["version"] + script).encode()).hexdigest()[:16]
    content["version"] = digest
    (pages / WORKER).write_text(script.replace(MARK, digest), encoding="utf-8")
    (pages / LIST).write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")
    return True
