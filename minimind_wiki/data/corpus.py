"""A corpus: the documents that a model is trained on, read whole and checked, or refused.

`--data` may be a name of the registry, `embedded`, or a path to `.txt`, `.jsonl` with `{"text"}`
rows, or either of them gzipped. A fault is one sentence with file, place and remedy; no row and no
byte is dropped in silence.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path

from minimind_wiki.data import registry
from minimind_wiki.data.embedded import embedded_text
from minimind_wiki.data.schemas import check_text
from minimind_wiki.errors import MinimindError, unknown

KINDS = (".txt", ".jsonl", ".txt.gz", ".jsonl.gz")


@dataclass(frozen=True, slots=True)
class Corpus:
    """Documents with their origin. `why` ends the sentence "Data: …, because …"."""

    name: str
    documents: tuple[str, ...]
    why: str
    source: str

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
        return f"Data: {self.name} ({self.bytes:,} bytes{rows}), because {self.why}."


def load_corpus(spec: str | None = None, progress: registry.Progress | None = None) -> Corpus:
    """The corpus that `--data spec` means; without `spec`, TinyShakespeare if it is here.

    Only a named data set may touch the network. Errors: MinimindError for a file that is missing,
    empty, cut, of the wrong hash, not UTF-8 or with a bad row; WrongCall for an unknown name.
    """
    if not spec:
        item = registry.REGISTRY["tinyshakespeare"]
        if path := registry.find(item):
            return _registered(item, path, f"--data was not given and {path} is there")
        return _embedded(
            "--data was not given and tinyshakespeare is neither in MINIMIND_DATA nor in the cache "
            "('minimind data fetch tinyshakespeare' gets it)"
        )
    if spec == "embedded":
        return _embedded("--data asks for it")
    if spec in registry.REGISTRY:
        item = registry.REGISTRY[spec]
        path = registry.find(item) or registry.fetch(item, progress)
        return _registered(item, path, f"--data asks for it and {path} is there")
    path = Path(spec).expanduser()
    if not path.exists() and not path.suffix and len(path.parts) == 1:
        raise unknown("data set", spec, [*registry.REGISTRY, "embedded"])
    return Corpus(path.name, read_documents(path), "--data names this file", str(path))


def _embedded(why: str) -> Corpus:
    return Corpus("the embedded village corpus", (embedded_text(),), why, "embedded")


def _registered(item: registry.Entry, path: Path, why: str) -> Corpus:
    raw = read_bytes(path)
    registry.verify(path, item, raw)
    return Corpus(item.name, (decode(path, raw),), why, item.name)


def read_documents(path: Path) -> tuple[str, ...]:
    """The documents of a file: one for a text file, one a row for JSONL."""
    name = path.name.lower()
    if not name.endswith(KINDS):
        raise MinimindError(
            f"{path}: data is read from {', '.join(KINDS)}, not from {path.suffix or 'this'}. "
            "Convert the file, or rename it if it is one of these."
        )
    text = decode(path, read_bytes(path))
    if not text.strip():
        raise MinimindError(f"{path} is empty. Give --data a file with text in it.")
    if ".jsonl" not in name[-9:]:
        return (text,)
    documents, faults, rows = check_text(text)
    if faults:
        first = faults[0]
        raise MinimindError(
            f"{path}:{first.line}: {first.reason} ({len(faults):,} of {rows:,} rows are bad). "
            f"Repair or remove them; 'minimind data check {path} --schema pretrain' lists each."
        )
    return tuple(documents)


def read_bytes(path: Path) -> bytes:
    """The file's bytes, gunzipped where its name ends in .gz."""
    if not path.exists():
        raise MinimindError(f"{path} does not exist. Check the path given to --data.")
    if path.is_dir():
        raise MinimindError(f"{path} is a folder. Give --data one file: {', '.join(KINDS)}.")
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
