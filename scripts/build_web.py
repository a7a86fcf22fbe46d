"""Build the browser's side into docs/en/assets/build: scripts and styles, then Python for the page.

Skips each half when nothing that it is made of has changed since the last build, so that `make
serve` is quick the second time.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WEB = ROOT / "web"
OUT = ROOT / "docs" / "en" / "assets" / "build"
STAMPS = ROOT / "build" / "stamps"
IGNORED = {"node_modules", "__pycache__"}


def fingerprint(*paths: Path, extra: str = "") -> str:
    """Hash of the files below the given paths and of one more string."""
    digest = hashlib.sha256(extra.encode())
    for top in paths:
        files = [top] if top.is_file() else sorted(top.rglob("*"))
        for file in files:
            if file.is_file() and not IGNORED & set(file.relative_to(ROOT).parts):
                digest.update(str(file.relative_to(ROOT)).encode() + file.read_bytes())
    return digest.hexdigest()


def fresh(name: str, mark: str, product: Path) -> bool:
    """True if the product exists and was built from what is there now."""
    stamp = STAMPS / name
    return product.exists() and stamp.exists() and stamp.read_text() == mark


def run(what: str, *command: str) -> None:
    """Run one build step; on failure say which and stop."""
    print(f"web: {what}", flush=True)
    if subprocess.run(command, cwd=ROOT, check=False).returncode:
        sys.exit(f"web: '{' '.join(command)}' failed; the lines above say why.")


def main() -> None:
    """Build what is out of date."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        sys.exit(
            "web: Node with npm is needed and was not found. Run 'make setup', which gets one."
        )
    STAMPS.mkdir(parents=True, exist_ok=True)

    locked = fingerprint(WEB / "package-lock.json")
    if not fresh("npm", locked, WEB / "node_modules"):
        run("installing the pinned npm packages", npm, "--prefix", str(WEB), "ci", "--silent")
        (STAMPS / "npm").write_text(locked)

    sources = fingerprint(WEB, extra=locked)
    if not fresh("scripts", sources, OUT / "book.js"):
        run("bundling scripts and styles", npm, "--prefix", str(WEB), "run", "--silent", "build")
        (STAMPS / "scripts").write_text(sources)

    lite = ROOT / "minimind_wiki" / "lite"
    assets = os.environ.get("MINIMIND_ASSETS", "")
    python = fingerprint(WEB / "python", lite, extra=locked + assets)
    if not fresh("python", python, OUT / "py"):
        run("bundling Python for the page", sys.executable, str(WEB / "python" / "bundle.py"))
        (STAMPS / "python").write_text(python)


if __name__ == "__main__":
    main()
