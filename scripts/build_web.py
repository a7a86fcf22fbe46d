"""Build the browser's side into docs/en/assets/build: scripts and styles, models, Python.

Skips each part when nothing that it is made of has changed since the last build, so that `make
serve` is quick the second time.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

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

    models, trained = ROOT / "scripts" / "site_models.py", ROOT / "models"
    format_ = ROOT / "minimind_wiki" / "infer" / "export" / "bundle.py"
    shipped = fingerprint(models, format_, trained)
    if not fresh("models", shipped, OUT / "lm"):
        run("writing the models for the page", sys.executable, str(models), str(OUT / "lm"))
        (STAMPS / "models").write_text(shipped)

    for about in sorted((ROOT / "snippets").glob("*/*/exercise.yaml")):
        for name in yaml.safe_load(about.read_text(encoding="utf-8")).get("data", []):
            target = OUT / "data" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target)

    lite = ROOT / "minimind_wiki" / "lite"
    assets = os.environ.get("MINIMIND_ASSETS", "")
    python = fingerprint(WEB / "python", lite, extra=locked + assets)
    if not fresh("python", python, OUT / "py"):
        run("bundling Python for the page", sys.executable, str(WEB / "python" / "bundle.py"))
        (STAMPS / "python").write_text(python)

    script, package = ROOT / "scripts" / "train_text.py", ROOT / "minimind_wiki"
    sources = fingerprint(
        script, package / "data", package / "tokenizer", ROOT / "models" / "world-nano"
    )
    if not fresh("text", sources, OUT / "train" / "text.bin"):
        run("writing the text to train on in the page", sys.executable, str(script))
        (STAMPS / "text").write_text(sources)


if __name__ == "__main__":
    main()
