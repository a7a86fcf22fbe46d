"""Which data sets are known by name, where they come from, and how a file is trusted.

A data set is looked for in the folder that `MINIMIND_DATA` names, then in the user's cache, and is
otherwise fetched into that cache. Wherever it was found, its size and sha256 must be those of the
registry: a model trained on half a file would look well and be wrong.
"""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from minimind_wiki.errors import MinimindError, unknown

Progress = Callable[[int, int], None]  # bytes so far, bytes in all


@dataclass(frozen=True, slots=True)
class Entry:
    """One data set. `places` are the paths, relative to a data folder, where it may lie."""

    name: str
    about: str
    url: str
    bytes: int
    sha256: str
    licence: str
    schema: str  # "text", or a name of `minimind_wiki.data.schemas.SCHEMAS`
    citation: str
    places: tuple[str, ...]


REGISTRY = {
    entry.name: entry
    for entry in (
        Entry(
            name="tinyshakespeare",
            about="40,000 lines from Shakespeare's plays",
            url="https://raw.githubusercontent.com/karpathy/char-rnn/"
            "6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e/data/tinyshakespeare/input.txt",
            bytes=1_115_394,
            sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
            licence="public domain (the repository it comes from is MIT)",
            schema="text",
            citation="Karpathy 2015, The Unreasonable Effectiveness of Recurrent Neural Networks",
            places=("lm/tinyshakespeare.txt", "tinyshakespeare.txt", "tinyshakespeare/input.txt"),
        ),
    )
}


def entry(name: str) -> Entry:
    """The registry's entry of that name; an unknown name raises with the nearest ones."""
    if name not in REGISTRY:
        raise unknown("data set", name, [*REGISTRY, "embedded"])
    return REGISTRY[name]


def cache_folder() -> Path:
    """Where fetched files are kept: `$XDG_CACHE_HOME/minimind/data` or `~/.cache/minimind/data`."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "minimind" / "data"


def data_folders() -> list[Path]:
    """The folders that are searched, in order."""
    folders = [cache_folder()]
    named = os.environ.get("MINIMIND_DATA")
    if named:
        if not Path(named).is_dir():
            raise MinimindError(
                f"MINIMIND_DATA names {named}, which is not a folder. Correct it, or unset it."
            )
        folders.insert(0, Path(named))
    return folders


def find(item: Entry) -> Path | None:
    """The data set's file if it is on this machine (not yet verified), else None."""
    for folder in data_folders():
        for place in item.places:
            if (folder / place).is_file():
                return folder / place
    return None


def verify(path: Path, item: Entry, raw: bytes) -> None:
    """Raise unless `raw`, the content of `path`, is exactly what the registry expects."""
    remedy = f"Delete it and run 'minimind data fetch {item.name}'."
    if not raw:
        raise MinimindError(f"{path} is empty; {item.name} has {item.bytes:,} bytes. {remedy}")
    if len(raw) < item.bytes:
        raise MinimindError(
            f"{path} is cut: {len(raw):,} of {item.bytes:,} bytes of {item.name}. {remedy}"
        )
    found = hashlib.sha256(raw).hexdigest()
    if found != item.sha256:
        raise MinimindError(
            f"{path} is not the {item.name} of the registry: its sha256 is {found[:12]}…, expected "
            f"{item.sha256[:12]}…. {remedy} To train on your own version, give its path to --data."
        )


def fetch(item: Entry, progress: Progress | None = None, timeout: float = 30.0) -> Path:
    """Download into the cache and return the file; an existing good file is returned as it is.

    The bytes go to a temporary name and get the real one only after the hash has matched, so a
    stopped download never looks like a data set.
    """
    target = cache_folder() / item.places[0]
    if target.is_file():
        verify(target, item, target.read_bytes())
        return target
    remedy = (
        f"Put the file at {target}, or set MINIMIND_DATA to a folder that has "
        f"{item.places[0]}, or run without --data to use the embedded corpus."
    )
    part = target.with_name(target.name + f".part{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(item.url, timeout=timeout) as answer, part.open("wb") as out:
            done = 0
            while block := answer.read(1 << 16):
                out.write(block)
                done += len(block)
                if progress:
                    progress(done, item.bytes)
        raw = part.read_bytes()
        if len(raw) != item.bytes or hashlib.sha256(raw).hexdigest() != item.sha256:
            raise MinimindError(
                f"what {item.url} sent is not {item.name} ({len(raw):,} bytes, expected "
                f"{item.bytes:,}; or another sha256). {remedy}"
            )
        part.replace(target)
    except OSError as error:  # URLError, timeouts and a full or read-only disk are all OSErrors
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise MinimindError(
            f"{item.name} is not on this machine and could not be fetched ({reason}). {remedy}"
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return target
