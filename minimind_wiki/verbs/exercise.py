"""`minimind exercise`: the exercises of the book, checked on your own machine.

The check is the one that runs in the page: there on `minimind_wiki.lite`, here on torch if it is
installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
from pathlib import Path

from minimind_wiki.errors import MinimindError, WrongCall, unknown
from minimind_wiki.lite import worker
from minimind_wiki.lite.checks import Check

HELP = "List the exercises, start one, or check your solution."
EXAMPLE = "minimind exercise normalization/rms_norm --file my.py"

ROOT = Path(__file__).resolve().parents[2]


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="an exercise, such as normalization/rms_norm, or 'list'")
    parser.add_argument("--file", type=Path, help="the file with your solution")
    parser.add_argument(
        "--start", type=Path, metavar="FILE", help="write the start into a new file"
    )
    parser.add_argument(
        "--lite", action="store_true", help="check on the page's library, not torch"
    )


def run(args: argparse.Namespace) -> int:
    known = exercises()
    if args.name == "list":
        print("\n".join(f"{name:32s}{_title(folder)}" for name, folder in known.items()))
        return 0
    if args.name not in known:
        raise unknown("exercise", args.name, known)
    folder = known[args.name]
    if args.start:
        return _start(folder, args.name, args.start)
    if args.file is None:
        raise WrongCall(f"say which file to check: minimind exercise {args.name} --file my.py")
    library = "minimind_wiki.lite" if args.lite or not _has("torch") else "torch"
    return _check(folder, _read(args.file), library)


def exercises() -> dict[str, Path]:
    """Every exercise of the repository: name to folder."""
    top = ROOT / "snippets"
    if not top.is_dir():
        raise MinimindError(
            "the exercises are part of the repository, not of the installed package: run this in a "
            "clone of it."
        )
    folders = sorted(file.parent for file in top.glob("*/*/exercise.yaml"))
    return {folder.relative_to(top).as_posix(): folder for folder in folders}


def data_of(folder: Path) -> dict[str, bytes] | None:
    """The files that an exercise's check reads, by name; None if it reads none."""
    about = (folder / "exercise.yaml").read_text(encoding="utf-8")
    listed = re.search(r"(?m)^data: \[(.+)\]$", about)
    if listed is None:
        return None
    return {name: (ROOT / name).read_bytes() for name in listed[1].split(", ")}


def with_library(code: str, library: str) -> str:
    """The code with `minimind_wiki.lite` in its imports replaced by `library`, line for line.

    What only lite has (`plot`, `checks`) stays.

    >>> with_library("import minimind_wiki.lite as torch", "torch")
    'import torch as torch'
    """
    if library == "minimind_wiki.lite":
        return code
    pattern = r"(?m)^(\s*(?:import|from)\s+)minimind_wiki\.lite(?!\.(?:plot|checks)\b)"
    return re.sub(pattern, rf"\g<1>{library}", code)


def _has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _title(folder: Path) -> str:
    found = re.search(r"(?m)^title: (.+)$", (folder / "exercise.yaml").read_text(encoding="utf-8"))
    return found[1] if found else ""


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise WrongCall(f"there is no file {file}; --start {file} writes one.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise MinimindError(f"{file} cannot be read as text: {error}") from None


def _start(folder: Path, name: str, target: Path) -> int:
    if target.exists():
        raise WrongCall(f"{target} exists already; choose another name.")
    starter = (folder / "starter.py").read_text(encoding="utf-8")
    library = "torch" if _has("torch") else "minimind_wiki.lite"
    starter = re.sub(r"  # on a laptop.*", "", with_library(starter, library))
    target.write_text(starter.replace("import torch as torch", "import torch"), encoding="utf-8")
    print(f"Wrote {target}. Then: minimind exercise {name} --file {target}")
    return 0


def _check(folder: Path, code: str, library: str) -> int:
    check_code = (folder / "check.py").read_text(encoding="utf-8")
    try:
        checks = worker.check(with_library(code, library), check_code, library, data_of(folder))
    # The reader's code may raise anything; they see their own lines of it.
    except Exception as error:  # noqa: BLE001
        print(worker.describe(error)["traceback"].rstrip())
        raise MinimindError("the file does not run; its error stands above.") from None
    for check in checks:
        print(_line(check))
    passed = sum(check.passed for check in checks)
    print(f"\n{passed} of {len(checks)} checks pass, on {library}.")
    return 0 if passed == len(checks) else 1


def _line(check: Check) -> str:
    return f"  ok      {check.name}" if check.passed else f"  FAILED  {check.name}: {check.message}"
