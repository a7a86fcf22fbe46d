"""Find a Chromium on this machine, or get one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")
MAC = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
# Without these a headless Chromium as root does not start, or talks to its maker at every start.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def _present() -> str | None:
    named = os.environ.get("CHROMIUM")
    if named:
        return named
    for name in NAMES:
        if found := shutil.which(name):
            return found
    if Path(MAC).exists():
        return MAC
    home = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH", Path.home() / ".cache/ms-playwright"))
    return next((str(p) for p in sorted(home.glob("chromium-*/chrome-linux*/chrome"))), None)


def _install() -> None:
    """Try Playwright's own download, then the system's package manager (as root only)."""
    tries = [[sys.executable, "-m", "playwright", "install", "chromium"]]
    if hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get"):
        tries = [
            ["apt-get", "update", "-qq"],
            ["apt-get", "install", "-y", "-qq", "chromium"],
            *tries,
        ]
    for command in tries:
        if _present():
            return
        print("browser tests:", " ".join(command), flush=True)
        subprocess.run(
            command, check=False, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        )


def executable() -> str:
    """Path of a Chromium; installs one if there is none, or says how to."""
    if not _present():
        _install()
    found = _present()
    if not found:
        raise RuntimeError(
            "no Chromium found and none could be installed. Install one ('sudo apt-get install "
            "chromium', or Google Chrome) or set CHROMIUM to its path, then run 'make browser'."
        )
    return found
