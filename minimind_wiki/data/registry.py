"""Which data sets are known by name, where they come from, and how a file is trusted.

The facts stand in `catalogue.yaml`. A data set is looked for in the folder that `MINIMIND_DATA`
names, then in the user's cache, and is otherwise fetched into that cache. Wherever it was found,
its size and sha256 must be those of the catalogue: a model trained on half a file would look well
and be wrong. Where the publisher states no hash, that of the first download is pinned in the cache.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from minimind_wiki.data.download import Progress, download, file_sha256
from minimind_wiki.errors import MinimindError, unknown

HUB = "https://huggingface.co"


@dataclass(frozen=True, slots=True)
class Entry:
    """One data set. `places` are the paths, relative to a data folder, where it may lie.

    `bytes` and `sha256` are None where nobody states them; `size` then says what is known.
    """

    name: str
    about: str
    licence: str
    schema: str  # "text", "code", or a name of `minimind_wiki.data.schemas.SCHEMAS`
    citation: str
    places: tuple[str, ...]
    url: str = ""
    hub: str = ""  # owner/name:config:split
    bytes: int | None = None
    sha256: str | None = None
    size: str = ""
    reader: str = (
        ""  # a name of `minimind_wiki.data.readers.READERS`; "" where rows are ours already
    )
    split_on: str = ""  # what stands between the documents of a text file
    benchmark: bool = False  # never to be trained on
    note: str = ""
    refused: str = ""  # why it is listed and yet not fetched
    gated: str = ""  # which terms are to be accepted, and where

    @property
    def size_text(self) -> str:
        """For people: exact bytes, else the words of the catalogue.

        >>> REGISTRY["tinyshakespeare"].size_text
        '1,115,394 bytes'
        """
        return f"{self.bytes:,} bytes" if self.bytes is not None else self.size or "size unknown"

    @property
    def link(self) -> str:
        """Its address; `HF_ENDPOINT` names a mirror of the hub, as for Hugging Face's libraries."""
        mirror = os.environ.get("HF_ENDPOINT", "").rstrip("/")
        if mirror and self.url.startswith(HUB + "/"):
            return mirror + self.url.removeprefix(HUB)
        return self.url


def read_catalogue(text: str) -> dict[str, Entry]:
    """Entries of a catalogue by name; TypeError or ValueError for one that is no entry."""
    entries: dict[str, Entry] = {}
    for row in yaml.safe_load(text):
        item = Entry(**{**row, "places": tuple(row["places"])})
        if item.name in entries:
            raise ValueError(f"two entries are called {item.name}")
        entries[item.name] = item
    return entries


REGISTRY = read_catalogue(Path(__file__).with_name("catalogue.yaml").read_text(encoding="utf-8"))


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


def lock_file() -> Path:
    """The hashes of files for which the catalogue has none, as they were when first fetched."""
    return cache_folder() / "catalogue.lock.json"


def pinned() -> dict[str, Any]:
    """What the lock file says: name -> {sha256, bytes, url, etag}."""
    path = lock_file()
    if not path.is_file():
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict):
            raise ValueError("not an object")
    except ValueError as error:
        raise MinimindError(f"{path} is damaged ({error}). Delete it.") from error
    return data


def _pin(item: Entry, path: Path, sha256: str, size: int, etag: str) -> None:
    lock = lock_file()
    data = {**pinned(), item.name: {"sha256": sha256, "bytes": size, "url": item.link,
                                    "etag": etag, "place": path.name}}  # fmt: skip
    part = lock.with_name(f"{lock.name}.part{os.getpid()}")
    part.write_text(json.dumps(data, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    part.replace(lock)


def expected(item: Entry) -> tuple[int | None, str | None]:
    """Size and sha256 that the file must have: the catalogue's, else the pinned, else None."""
    if item.sha256:
        return item.bytes, item.sha256
    pin = pinned().get(item.name, {})
    return pin.get("bytes", item.bytes), pin.get("sha256")


def verify(path: Path, item: Entry) -> str:
    """Raise unless the file is what it must be. Returns how that is known, for people."""
    remedy = f"Delete it and run 'minimind data fetch {item.name}'."
    size, sha256 = expected(item)
    found_size = path.stat().st_size
    if not found_size:
        what = f"{size:,} bytes" if size else item.size_text
        raise MinimindError(f"{path} is empty; {item.name} has {what}. {remedy}")
    if size is not None and found_size < size:
        raise MinimindError(
            f"{path} is cut: {found_size:,} of {size:,} bytes of {item.name}. {remedy}"
        )
    if sha256 is None:
        return "its hash is not known, so it could not be verified"
    found = file_sha256(path)
    if found != sha256:
        origin = "the registry" if item.sha256 else "the first download"
        raise MinimindError(
            f"{path} is not the {item.name} of {origin}: its sha256 is {found[:12]}…, expected "
            f"{sha256[:12]}…. {remedy} To train on your own version, give its path to --data."
        )
    return "its sha256 is right" if item.sha256 else "its sha256 is that of the first download"


def terms(item: Entry) -> list[str]:
    """What a reader should know before the first byte comes: licence, citation, terms."""
    lines = [f"{item.name}: {item.about} ({item.size_text})", f"  licence:  {item.licence}",
             f"  cite:     {item.citation}"]  # fmt: skip
    if "NC" in item.licence:
        lines.append("  note:     non-commercial use only")
    if item.benchmark:
        lines.append("  note:     a benchmark; do not train on it")
    if item.gated:
        lines.append(f"  terms:    {item.gated}")
    if item.note:
        lines.append(f"  note:     {item.note}")
    return lines


def fetch(item: Entry, progress: Progress | None = None, timeout: float = 30.0) -> Path:
    """Download into the cache and return the file; an existing good file is returned as it is.

    A stopped download goes on where it stopped (see `download`). MinimindError says what else one
    can do.
    """
    if item.refused:
        raise MinimindError(item.refused)
    if not item.url:
        raise MinimindError(
            f"{item.name} is not one file: it is streamed from the hub ({item.hub}). "
            f"'minimind data fetch {item.name} --rows N' keeps N of its rows."
        )
    target = cache_folder() / item.places[0]
    if target.is_file():
        verify(target, item)
        return target
    size, sha256 = expected(item)
    try:
        done = download(
            item.link, target, bytes=size, sha256=sha256, progress=progress, timeout=timeout
        )
    except MinimindError as error:
        place = item.gated or f"Put the file at {target}"
        instead = ", or run without --data to use the embedded corpus" * (item.schema == "text")
        raise MinimindError(
            f"{item.name} is not on this machine and could not be had: {error}. {place}, or set "
            f"MINIMIND_DATA to a folder that has {item.places[0]}{instead}."
        ) from error
    if sha256 is None:
        _pin(item, target, done.sha256, done.bytes, done.etag)
    return target
