"""Sealed folders: every file is known by its length and hash, so that damage is seen before use.

    manifest.json   {"format": 1, "step": 120, "files": {"rng.safetensors": {"bytes", "sha256"}, …}}

A program that is killed loses nothing that it has handed to the system. A machine that loses its
power does: the system keeps writes in memory for up to half a minute and may put a rename on the
disk before the bytes of the file (Pillai et al., OSDI 2014, "All File Systems Are Not Created
Equal"). Hence the order: files, their fsync, manifest, its fsync, folder's fsync; only then may the
caller rename the folder. What a disk loses or flips later, the hashes tell.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from minimind_wiki.data.download import file_sha256
from minimind_wiki.errors import MinimindError

MANIFEST = "manifest.json"
FORMAT = 1


class Damaged(MinimindError):
    """Files of a sealed folder are not what was written; the message names the first of them."""


def seal(folder: Path, step: int) -> None:
    """Flush all files of `folder` to the disk and write its manifest, last. OSError if it fails."""
    files = {}
    for path in _files(folder):
        sync(path)
        files[path.relative_to(folder).as_posix()] = {
            "bytes": path.stat().st_size,
            "sha256": file_sha256(path),
        }
    content = json.dumps({"format": FORMAT, "step": step, "files": files}, indent=1)
    manifest = folder / MANIFEST
    manifest.write_text(content + "\n", encoding="utf-8")
    sync(manifest)
    for inner in sorted({path.parent for path in _files(folder)}):
        sync(inner)


def check(folder: Path, step: int, only: str = "") -> list[str]:
    """Compare the files with the manifest; the names of those that it does not know.

    `only` names one file to check instead of all. `Damaged` when a file is missing, cut short or
    altered; MinimindError when the manifest is of another version or may not be read.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if (found := manifest["format"]) != FORMAT:
            raise MinimindError(
                f"{folder} has format {found}, but this version of minimind_wiki reads {FORMAT}. "
                "Resume with the version that wrote it (its run.json says which)."
            )
        if manifest["step"] != step:
            raise Damaged(f"{folder}: {MANIFEST} is of step {manifest['step']}")
        known = {str(name): (entry["bytes"], entry["sha256"])
                 for name, entry in manifest["files"].items()}  # fmt: skip
        for name in [only] if only else sorted(known):
            _check_file(folder, name, *known[name])
        return sorted({p.relative_to(folder).as_posix() for p in _files(folder)}
                      - known.keys() - {MANIFEST})  # fmt: skip
    except FileNotFoundError as error:
        raise Damaged(f"{folder}: {Path(error.filename).name} is missing") from error
    except PermissionError as error:
        raise MinimindError(
            f"{error.filename} may not be read; give yourself the right."
        ) from error
    except OSError as error:
        raise Damaged(f"{folder} cannot be read ({error.strerror or error})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"{folder}: {MANIFEST} is damaged ({error})") from error


def _check_file(folder: Path, name: str, size: int, digest: str) -> None:
    found = (folder / name).stat().st_size
    if found != size:
        raise Damaged(f"{folder}: {name} has {found:,} bytes, but {size:,} were written")
    if (now := file_sha256(folder / name)) != digest:
        raise Damaged(f"{folder}: {name} is not what was written (sha256 {now[:12]}…, not "
                      f"{digest[:12]}…)")  # fmt: skip


def sync(path: Path) -> None:
    """Wait until a file's bytes, or a folder's list of names, are on the disk."""
    if os.name != "posix":  # Windows cannot open folders, and closes files flushed enough
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
