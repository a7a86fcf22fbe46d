"""Bundle Python for the page into docs/en/assets/build/py/: Pyodide, numpy and our lite package.

Everything is served from the site's own origin: the lock file names only files beside it. What is
compiled is kept in build/py/ by the hash of its input, so that building again takes a second.

Run: python web/python/bundle.py   (after npm has installed web/node_modules; `make web` does both)
"""

from __future__ import annotations

import argparse
import base64
import gzip
import hashlib
import json
import re
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

from numpy_wheel import resolve  # a neighbour: this is a script, not a package

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

PYODIDE = ROOT / "web" / "node_modules" / "pyodide"
OUT = ROOT / "docs" / "en" / "assets" / "build" / "py"
WORK = ROOT / "build" / "py"
EPOCH = (1980, 1, 1, 0, 0, 0)
RUNTIME = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm")
# -OO for the standard library: nobody reads its docstrings in a page, and they are 0.7 MB of the
# download. numpy and lite keep theirs, so that help() works on what the book is about.
STDLIB_OPTIMIZE, OPTIMIZE = 2, 0

NOTICE = """Python in this folder, and where its source is:
Pyodide {pyodide} (MPL-2.0, github.com/pyodide/pyodide), with CPython {python} (PSF-2.0).
{numpy}minimind_wiki_lite (MIT) is part of this book.
The .py files of the standard library and of the wheels are replaced by their bytecode.
"""


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def lite_wheel(folder: Path) -> Path:
    """Write the wheel of `minimind_wiki.lite`; the same sources give the same bytes."""
    package = ROOT / "minimind_wiki"
    files = {"minimind_wiki/__init__.py": (package / "__init__.py").read_bytes()}
    for file in sorted((package / "lite").rglob("*")):
        if file.suffix in (".py", ".so"):
            files[file.relative_to(ROOT).as_posix()] = file.read_bytes()
    digest = sha256(b"".join(k.encode() + v for k, v in files.items()))
    # The hash is part of the version and so of the file name: no browser keeps an old one.
    version = f"{_version(files['minimind_wiki/__init__.py'])}.post{int(digest[:8], 16)}"
    info = f"minimind_wiki_lite-{version}.dist-info"
    files[f"{info}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: minimind-wiki-lite\nVersion: {version}\nLicense: MIT\n"
    ).encode()
    files[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: bundle\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    rows = []
    for name, data in files.items():
        mark = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        rows.append(f"{name},sha256={mark},{len(data)}\n")
    files[f"{info}/RECORD"] = "".join([*rows, f"{info}/RECORD,,\n"]).encode()
    path = folder / f"minimind_wiki_lite-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            wheel.writestr(entry, data)
    return path


def _version(init: bytes) -> str:
    found = re.search(rb'__version__ = "([^"]+)"', init)
    return found[1].decode() if found else "0"


def compiled(node: str, archives: list[tuple[Path, int]]) -> tuple[list[Path], bool]:
    """The archives with bytecode instead of source, and whether that worked."""
    tools = [HERE / "compile_archive.py", HERE / "compile.mjs", PYODIDE / "package.json"]
    tool = sha256(b"".join(file.read_bytes() for file in tools))
    jobs, targets = [], []
    for source, optimize in archives:
        key = sha256(f"{tool}{optimize}{sha256(source.read_bytes())}".encode())[:24]
        target = WORK / f"{key}.zip"
        targets.append(target)
        if not target.is_file():
            part = target.with_suffix(".part")
            jobs.append({"source": str(source), "target": str(part), "optimize": optimize})
    if jobs:
        task = WORK / "jobs.json"
        setting = {"pyodide": str(PYODIDE), "script": str(HERE / "compile_archive.py")}
        task.write_text(json.dumps(setting | {"jobs": jobs}))
        done = subprocess.run(
            [node, str(HERE / "compile.mjs"), str(task)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
            why = next((line for line in lines if "Error" in line), lines[-1])
            print(f"bundle: not precompiled, Python will start half as fast: {why.strip()}")
            return [source for source, _ in archives], False
        for job in jobs:  # only a finished file gets its final name
            part = Path(str(job["target"]))
            part.rename(part.with_suffix(".zip"))
    return targets, True


def loader(text: str) -> str:
    """pyodide.mjs without its default address of a CDN and without its source map's name."""
    text = re.sub(r"https://[^`\"']+/v\$\{\w+\}/full/", "./", text)
    return re.sub(r"\n//# sourceMappingURL=\S*", "", text)


def lock_entry(
    name: str, version: str, file: Path, provides: str, needs: list[str]
) -> dict[str, Any]:
    """What Pyodide's loader must know of a wheel."""
    return {
        "name": name, "version": version, "file_name": file.name,
        "sha256": sha256(file.read_bytes()), "install_dir": "site", "package_type": "package",
        "imports": [provides], "depends": needs, "unvendored_tests": False,
    }  # fmt: skip


def build(node: str, out: Path) -> dict[str, Any]:
    """Write the bundle into `out` and return its manifest."""
    lock = json.loads((PYODIDE / "pyodide-lock.json").read_text(encoding="utf-8"))
    version = json.loads((PYODIDE / "package.json").read_text(encoding="utf-8"))["version"]
    WORK.mkdir(parents=True, exist_ok=True)
    numpy = lock["packages"]["numpy"]
    wheel = resolve(numpy, PYODIDE, version)
    lite = lite_wheel(WORK)
    archives = [(PYODIDE / "python_stdlib.zip", STDLIB_OPTIMIZE), (lite, OPTIMIZE)]
    archives += [(wheel, OPTIMIZE)] if wheel else []
    made, is_compiled = compiled(node, archives)

    fresh = out.with_name(f"{out.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name in RUNTIME:
        data = (PYODIDE / name).read_bytes()
        data = loader(data.decode()).encode() if name == "pyodide.mjs" else data
        (fresh / name).write_bytes(data)
    (fresh / "python_stdlib.zip").write_bytes(made[0].read_bytes())
    packages, needs = {}, []
    if wheel:
        file, needs = fresh / wheel.name, ["numpy"]
        file.write_bytes(made[2].read_bytes())
        packages["numpy"] = lock_entry("numpy", numpy["version"], file, "numpy", [])
    file, lite_version = fresh / lite.name, lite.name.split("-")[1]
    file.write_bytes(made[1].read_bytes())
    name = "minimind-wiki-lite"
    packages[name] = lock_entry(name, lite_version, file, "minimind_wiki", needs)
    (fresh / "pyodide-lock.json").write_text(
        json.dumps({"info": lock["info"], "packages": packages}, indent=1, sort_keys=True)
    )
    python = lock["info"]["python"].rpartition(".")[0]  # the lock's patch level is not the real one
    line = f"numpy {numpy['version']} (BSD-3-Clause, licences inside its wheel).\n" if wheel else ""
    (fresh / "THIRD-PARTY.txt").write_text(
        NOTICE.format(pyodide=version, python=python, numpy=line)
    )
    files = sorted(file for file in fresh.iterdir())
    manifest = {
        "pyodide": version, "python": python, "numpy": numpy["version"] if wheel else None,
        "compiled": is_compiled, "bytes": {file.name: file.stat().st_size for file in files},
    }  # fmt: skip
    (fresh / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True))
    shutil.rmtree(out, ignore_errors=True)
    fresh.rename(out)
    for old in WORK.glob("minimind_wiki_lite-*.whl"):
        old.unlink()
    return manifest


def report(out: Path) -> None:
    """Print the size of each file, as it is and as a server that compresses would send it."""
    total = packed = 0
    for file in sorted(out.iterdir(), key=lambda f: -f.stat().st_size):
        data = file.read_bytes()
        small = min(len(data), len(gzip.compress(data, 6)))
        total, packed = total + len(data), packed + small
        print(f"  {len(data) / 1e6:7.2f} MB {small / 1e6:7.2f} MB gzip  {file.name}")
    print(f"  {total / 1e6:7.2f} MB {packed / 1e6:7.2f} MB gzip  together")


def main(argv: list[str] | None = None) -> int:
    """Build the bundle; exit status 1 with one sentence when something needed is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=OUT, help="where to write it")
    out = parser.parse_args(argv).out
    node = shutil.which("node")
    if node is None:
        print("bundle: Node is needed and was not found. Run 'make setup', which gets one, or "
              "install Node 20 or newer from nodejs.org.")  # fmt: skip
        return 1
    if not (PYODIDE / "pyodide.mjs").is_file():
        print("bundle: web/node_modules/pyodide is missing. Run 'npm --prefix web ci' first, or "
              "'make web', which does both.")  # fmt: skip
        return 1
    manifest = build(node, out)
    if manifest["numpy"] is None:
        print(
            "bundle: built WITHOUT numpy, which nobody could provide: labs will show what they "
            "recorded and say so. Put its wheel into a folder and name it in MINIMIND_ASSETS."
        )
    report(out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
