"""A corpus: the documents that a model is trained on, read whole and checked, or refused.

`--data` may be a name of the registry, `embedded`, or a path to `.txt`, `.jsonl` with `{"text"}`
rows, or either of them gzipped. A fault is one sentence with file, place and remedy; no row and no
byte is dropped in silence: bad rows stop the run, or (`strict=False`) are set aside in the cache,
counted and warned of.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

from minimind_wiki.data import registry
from minimind_wiki.data.embedded import embedded_text
from minimind_wiki.data.schemas import Fault, check_lines, split_lines
from minimind_wiki.errors import MinimindError, unknown

KINDS = (".txt", ".jsonl", ".txt.gz", ".jsonl.gz")


@dataclass(frozen=True, slots=True)
class Corpus:
    """Documents with their origin. `why` ends the sentence "Data: …, because …"."""

    name: str
    documents: tuple[str, ...]
    why: str
    source: str
    rejected: int = 0  # bad rows that were set aside (only with `strict=False`)
    rejects: Path | None = None  # the file that they are in

    @property
    def bytes(self) -> int:
        """UTF-8 bytes of all documents."""
        return sum(len(document.encode()) for document in self.documents)

    @property
    def sha256(self) -> str:
        """Hash of the text; a resumed run must find the same.

        One document: the sha256 of its bytes, which is the file's own where the file is plain text.
        Several: each is followed by a zero byte, so that it is known where they end.
        """
        end = b"\0" if len(self.documents) > 1 else b""
        return hashlib.sha256(b"".join(d.encode() + end for d in self.documents)).hexdigest()

    def describe(self) -> str:
        """The line that says which corpus is used and why."""
        rows = f", {len(self.documents):,} documents" if len(self.documents) > 1 else ""
        aside = f" {self.rejected:,} bad rows are in {self.rejects}." if self.rejected else ""
        return f"Data: {self.name} ({self.bytes:,} bytes{rows}), because {self.why}.{aside}"


def load_corpus(
    spec: str | None = None, progress: registry.Progress | None = None, strict: bool = True
) -> Corpus:
    """The corpus that `--data spec` means; without `spec`, TinyShakespeare if it is here.

    Only a named data set may touch the network. With `strict=False` the good rows of a file are
    used; the bad ones are written to the cache with their reasons, and a warning names the file.
    Errors: MinimindError for a file that is missing, empty, cut, of the wrong hash, not UTF-8, with
    a bad row or (not strict) without a good one; WrongCall for an unknown name.
    """
    if not spec:
        item = registry.REGISTRY["tinyshakespeare"]
        if path := registry.find(item):
            why = f"--data was not given and {path} is there"
            return _registered(item, path, why, strict)
        return _embedded(
            "--data was not given and tinyshakespeare is neither in MINIMIND_DATA nor in the cache "
            "('minimind data fetch tinyshakespeare' gets it)"
        )
    if spec == "embedded":
        return _embedded("--data asks for it")
    if spec in registry.REGISTRY:
        item = registry.entry(spec)
        if item.schema not in ("text", "pretrain"):
            raise MinimindError(
                f"{spec} has rows of the schema {item.schema}, and this job reads plain text. Give "
                "--data one of 'minimind data list' with the schema text or pretrain."
            )
        path = registry.find(item) or registry.fetch(item, progress)
        return _registered(item, path, f"--data asks for it and {path} is there", strict)
    path = Path(spec).expanduser()
    if not path.exists() and not path.suffix and len(path.parts) == 1:
        raise unknown("data set", spec, [*registry.REGISTRY, "embedded"])
    return _read(path.name, path, "--data names this file", str(path), strict)


def _embedded(why: str) -> Corpus:
    return Corpus("the embedded village corpus", (embedded_text(),), why, "embedded")


def _registered(item: registry.Entry, path: Path, why: str, strict: bool) -> Corpus:
    known = registry.verify(path, item)
    if "not be verified" in known:
        why = f"{why} ({known})"
    if item.schema == "text" and not item.split_on:
        return Corpus(item.name, (decode(path, read_bytes(path)),), why, item.name)
    if item.schema == "text":
        texts = decode(path, read_bytes(path)).split(item.split_on)
        documents = tuple(text.strip() for text in texts if text.strip())
        return Corpus(item.name, documents, why, item.name)
    return _read(item.name, path, why, item.name, strict)


def _read(name: str, path: Path, why: str, source: str, strict: bool) -> Corpus:
    documents, bad = _documents(path)
    if not bad:
        return Corpus(name, documents, why, source)
    faults = [fault for fault, _ in bad]
    rows = len(documents) + len(bad)
    said = f"{path}:{faults[0].line}: {faults[0].reason} ({len(bad):,} of {rows:,} rows are bad)"
    if strict:
        raise MinimindError(
            f"{said}. Repair or remove them; 'minimind data check {path} --schema pretrain' lists "
            "each, and with --out DIR it parts the good rows from the bad."
        )
    if not documents:
        raise MinimindError(f"{said}. No row is left to read.")
    rejects = set_aside(path, bad)
    warnings.warn(
        f"{len(bad):,} of {rows:,} rows of {path} are bad and not used; they are in {rejects} "
        f"with their reasons. The first: line {faults[0].line}, {faults[0].reason}.",
        stacklevel=3,
    )
    return Corpus(name, documents, why, source, len(bad), rejects)


def set_aside(path: Path, bad: list[tuple[Fault, str]], folder: Path | None = None) -> Path:
    """Write bad rows, each with its place and reason, into the cache (or `folder`); the file."""
    folder = folder or registry.cache_folder() / "rejected"
    folder.mkdir(parents=True, exist_ok=True)
    name = path.name.removesuffix(".gz").removesuffix(".jsonl")
    mark = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]
    out = folder / f"{name}.{mark}.rejected.jsonl"
    part = out.with_name(f"{out.name}.part{os.getpid()}")
    with part.open("w", encoding="utf-8", newline="\n") as file:
        for fault, raw in bad:
            row = {"file": path.name, "line": fault.line, "field": fault.field,
                   "reason": fault.reason, "raw": raw}  # fmt: skip
            file.write(json.dumps(row) + "\n")
    part.replace(out)
    return out


def read_documents(path: Path) -> tuple[str, ...]:
    """The documents of a file: one for a text file, one a row for JSONL. A bad row raises."""
    return _read(path.name, path, "", str(path), strict=True).documents


def _documents(path: Path) -> tuple[tuple[str, ...], list[tuple[Fault, str]]]:
    """Documents, and for each bad row its first fault and the line."""
    name = path.name.lower()
    if not name.endswith(KINDS):
        raise MinimindError(
            f"{path}: data is read from {', '.join(KINDS)}, not from {path.suffix or 'this'}. "
            "Convert the file, or rename it if it is one of these."
        )
    raw = read_bytes(path)
    if not raw.removeprefix(b"\xef\xbb\xbf").strip():
        raise MinimindError(f"{path} is empty. Give a file with text in it.")
    if not name.removesuffix(".gz").endswith(".jsonl"):
        return (decode(path, raw),), []
    # A byte that is not UTF-8 spoils its row, not the file; the checker names it.
    lines = split_lines(raw.decode("utf-8", "surrogateescape").removeprefix("\ufeff"))
    good, bad = [], []
    for line, checked in zip(lines, check_lines(lines, "pretrain"), strict=True):
        if checked.faults or checked.row is None:
            bad.append((checked.faults[0], line))
        else:
            good.append(checked.row["text"])
    return tuple(good), bad


def read_bytes(path: Path) -> bytes:
    """The file's bytes, gunzipped where its name ends in .gz."""
    if not path.exists():
        raise MinimindError(f"{path} does not exist. Check the path.")
    if path.is_dir():
        raise MinimindError(f"{path} is a folder. Give one file: {', '.join(KINDS)}.")
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if path.name.lower().endswith(".gz") else raw
    except (EOFError, zlib.error) as error:
        raise MinimindError(f"{path} is cut or damaged ({error}). Get the file again.") from error
    except gzip.BadGzipFile as error:
        raise MinimindError(
            f"{path} ends in .gz but is not gzip ({error}). Get it again, or rename it."
        ) from error
    except OSError as error:
        raise MinimindError(f"{path} cannot be read ({error.strerror or error}).") from error


def decode(path: Path, raw: bytes) -> str:
    """UTF-8, with a byte order mark taken off; any other byte is reported with its place."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        at = error.start + (3 if raw.startswith(b"\xef\xbb\xbf") else 0)
        line = raw.count(b"\n", 0, at) + 1
        raise MinimindError(
            f"{path} is not UTF-8: byte 0x{raw[at]:02x} at offset {at:,} (line {line:,}). "
            "Convert it, for example with 'iconv -f latin1 -t utf-8'."
        ) from error
