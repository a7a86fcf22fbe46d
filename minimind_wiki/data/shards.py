"""Token shards: a corpus as ids on disk, mapped into memory, so that a loader only copies.

One file, all numbers little-endian:

    byte 0      JSON header, padded with spaces to 4096 bytes (`head -c 4096 FILE` shows it)
    byte 4096   tokens, uint16 or uint32
    then        padding to a multiple of 8, document offsets: uint64, documents + 1 of them
    then        loss flags, where the shard has them: one byte a token, 1 where it is learned

The header has format, version, dtype, vocab_size, tokenizer (hash), tokens, documents, loss, sha256
of all that follows. Writing streams: memory is one document, whatever the corpus; the file gets its
name when it is whole. Reading checks the sizes at once and the hash when asked.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np

from minimind_wiki.data.workers import ordered_map
from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.tokenizer.protocol import Tokenizer, fingerprint_of, text_ids

FORMAT, VERSION, HEADER = "minimind-shard", 1, 4096
DTYPES: dict[str, np.dtype[Any]] = {"uint16": np.dtype("<u2"), "uint32": np.dtype("<u4")}
SUFFIX, INDEX = ".tokens", "shards.json"


def tokenizer_hash(tokenizer: Tokenizer) -> str:
    """The tokenizer's fingerprint, which shards carry (`tokenizer.protocol.fingerprint_of`).

    Two tokenizers of the same hash may be used for the same shard, whichever library runs them.
    """
    return fingerprint_of(tokenizer)


class ShardWriter:
    """Writes one shard, document by document; a context manager.

    Leaving it normally puts the whole file in its place, leaving it by an error leaves nothing.
    """

    def __init__(self, path: Path, tokenizer: str, vocab_size: int, loss: bool = False) -> None:
        self.path, self.tokenizer, self.vocab_size, self.loss = path, tokenizer, vocab_size, loss
        self.dtype = "uint16" if vocab_size <= 1 << 16 else "uint32"
        self.tokens, self.documents = 0, 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._parts = [path.with_name(f"{path.name}.part{os.getpid()}{x}") for x in ("", "o", "l")]

    def __enter__(self) -> ShardWriter:
        self._files: list[BinaryIO] = [part.open("w+b") for part in self._parts]
        self._files[0].write(b" " * HEADER)
        self._files[1].write(np.array([0], dtype="<u8").tobytes())
        return self

    def add(self, ids: Iterable[int] | np.ndarray, loss: Iterable[int] | None = None) -> None:
        """One document; `loss` has one 0 or 1 for each id. WrongCall for an id out of range."""
        row = np.asarray(ids if isinstance(ids, np.ndarray) else list(ids), dtype=np.int64)
        if len(row) and (row.min() < 0 or row.max() >= self.vocab_size):
            raise WrongCall(
                f"document {self.documents} has an id outside 0..{self.vocab_size - 1}."
            )
        if (loss is not None) != self.loss:
            raise WrongCall("either all documents of a shard have loss flags or none has.")
        if loss is not None:
            flags = np.asarray(loss if isinstance(loss, np.ndarray) else list(loss)) != 0
            if len(flags) != len(row):
                raise WrongCall(f"{len(flags)} loss flags for {len(row)} ids.")
            self._files[2].write(flags.astype(np.uint8).tobytes())
        self._files[0].write(row.astype(DTYPES[self.dtype]).tobytes())
        self.tokens += len(row)
        self.documents += 1
        self._files[1].write(np.array([self.tokens], dtype="<u8").tobytes())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            for file in self._files:
                file.close()
            if kind is None:
                self._parts[0].replace(self.path)
            for part in self._parts:
                part.unlink(missing_ok=True)

    def _finish(self) -> None:
        main = self._files[0]
        main.write(b"\0" * (-main.tell() % 8))
        for extra in self._files[1:]:
            extra.seek(0)
            shutil.copyfileobj(extra, main)
        main.seek(HEADER)
        header = json.dumps({
            "format": FORMAT, "version": VERSION, "dtype": self.dtype,
            "vocab_size": self.vocab_size, "tokenizer": self.tokenizer, "tokens": self.tokens,
            "documents": self.documents, "loss": self.loss, "sha256": _digest(main),
        })  # fmt: skip
        main.seek(0)
        main.write(header.encode().ljust(HEADER - 1) + b"\n")
        main.flush()
        os.fsync(main.fileno())


def _digest(file: BinaryIO) -> str:
    found = hashlib.sha256()
    while block := file.read(1 << 20):
        found.update(block)
    return found.hexdigest()


class Shard:
    """A shard, mapped into memory: `ids` (tokens,), `offsets` (documents + 1,), `flags` or None."""

    def __init__(self, path: Path, tokenizer: str | None = None) -> None:
        self.path = path
        header = self._header(path)
        self.tokens, self.documents = header["tokens"], header["documents"]
        self.vocab_size, self.tokenizer = header["vocab_size"], header["tokenizer"]
        self.sha256: str = header["sha256"]
        kind = DTYPES[header["dtype"]]
        start = HEADER + self.tokens * kind.itemsize
        start += -start % 8
        flags_at = start + 8 * (self.documents + 1)
        expected = flags_at + (self.tokens if header["loss"] else 0)
        found = path.stat().st_size
        if found != expected:
            what = "is cut" if found < expected else "has extra bytes"
            raise self._damaged(f"{what}: {found:,} bytes where its header says {expected:,}")
        if tokenizer is not None and tokenizer != self.tokenizer:
            raise MinimindError(
                f"{path} was written with another tokenizer (hash {self.tokenizer[:12]}…, this one "
                f"is {tokenizer[:12]}…), so its ids mean other texts. Tokenize the corpus again."
            )
        raw = np.memmap(path, dtype=np.uint8, mode="r")
        self.ids: np.ndarray = raw[HEADER : HEADER + self.tokens * kind.itemsize].view(kind)
        self.offsets: np.ndarray = raw[start:flags_at].view("<u8")
        self.flags: np.ndarray | None = raw[flags_at:] if header["loss"] else None
        if self.offsets[0] != 0 or self.offsets[-1] != self.tokens:
            raise self._damaged("document offsets that do not span its tokens")

    def _damaged(self, what: str) -> MinimindError:
        return MinimindError(f"{self.path} {what}. Delete it and tokenize the corpus again.")

    def _header(self, path: Path) -> dict[str, Any]:
        try:
            with path.open("rb") as file:
                raw = file.read(HEADER)
        except OSError as error:
            raise MinimindError(f"{path} cannot be read ({error.strerror}).") from error
        if len(raw) < HEADER:
            raise self._damaged(f"is cut: {len(raw):,} bytes, less than its header")
        try:
            header = json.loads(raw)
        except ValueError as error:
            raise self._damaged("has no shard's header (not JSON)") from error
        if not isinstance(header, dict) or header.get("format") != FORMAT:
            raise MinimindError(f"{path} is not a token shard (no {FORMAT!r} in its header).")
        if header.get("version") != VERSION:
            raise MinimindError(
                f"{path} has version {header.get('version')!r}; this program reads {VERSION}."
            )
        counts: list[Any] = [header.get(name) for name in ("tokens", "documents", "vocab_size")]
        if (
            not all(type(n) is int and n >= 0 for n in counts)
            or type(header.get("loss")) is not bool
        ):
            raise self._damaged("has a header with impossible counts")
        if not all(isinstance(header.get(name), str) for name in ("tokenizer", "sha256")):
            raise self._damaged("has a header without tokenizer or sha256")
        fits = header.get("dtype") in DTYPES
        if not fits or counts[2] > 1 << 8 * DTYPES[header["dtype"]].itemsize:
            raise self._damaged(f"has dtype {header.get('dtype')!r} for {counts[2]} ids")
        return header

    def document(self, number: int) -> np.ndarray:
        """The ids of one document."""
        return self.ids[int(self.offsets[number]) : int(self.offsets[number + 1])]

    def lengths(self) -> np.ndarray:
        """Tokens of each document, (documents,) int64."""
        return np.diff(self.offsets.astype(np.int64))

    def verify(self) -> None:
        """Read everything once: the hash, the offsets' order, each id inside the vocabulary."""
        with self.path.open("rb") as file:
            file.seek(HEADER)
            if _digest(file) != self.sha256:
                raise self._damaged("is damaged: its sha256 is not the one of its header")
        if len(self.offsets) > 1 and self.lengths().min() < 0:
            raise self._damaged("has document offsets out of order")
        if self.tokens and int(self.ids.max()) >= self.vocab_size:
            raise self._damaged("has ids outside its vocabulary")


def read_index(folder: Path) -> dict[str, Any] | None:
    """What `tokenize.py` noted in the folder; None without a note. MinimindError when damaged."""
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise MinimindError(
            f"{folder / INDEX} cannot be read ({error}). Delete the folder and tokenize again."
        ) from error
    if not isinstance(index, dict) or not isinstance(index.get("state"), dict):
        raise MinimindError(f"{folder / INDEX} is damaged. Delete the folder and tokenize again.")
    return index


def shard_paths(folder: Path) -> list[Path]:
    """The shards of a folder, in order. MinimindError when their tokenization was interrupted."""
    index = read_index(folder)
    if index is not None and not index["state"].get("complete"):
        raise MinimindError(
            f"the tokenization into {folder} was interrupted. Run the same 'minimind data shard' "
            "again; it goes on where it stopped."
        )
    return sorted(folder.glob(f"*{SUFFIX}"))


@dataclass(frozen=True, slots=True)
class Encode:
    """A text to its ids, as a worker runs it."""

    tokenizer: Tokenizer

    def __call__(self, text: str) -> np.ndarray:
        return np.array(text_ids(self.tokenizer, text), dtype=np.uint32)


def write_shards(
    texts: Iterable[str],
    folder: Path,
    tokenizer: Tokenizer,
    shard_tokens: int = 50_000_000,
    workers: int = 1,
) -> list[Path]:
    """Tokenize documents into `folder/00000.tokens`, …; each between bos and eos.

    A shard is closed when it has `shard_tokens`. The result does not depend on `workers`. This is
    for texts that a program has; `tokenize.py` is for files, and goes on after an interruption.
    """
    if shard_tokens < 1:
        raise WrongCall(f"a shard needs at least 1 token, not {shard_tokens}.")
    name = tokenizer_hash(tokenizer)
    ids = ordered_map(Encode(tokenizer), texts, workers)
    paths: list[Path] = []
    first = next(ids, None)
    while first is not None:
        path = folder / f"{len(paths):05d}{SUFFIX}"
        with ShardWriter(path, name, tokenizer.vocab_size) as shard:
            while first is not None and shard.tokens < shard_tokens:
                shard.add(first)
                first = next(ids, None)
        paths.append(path)
    if not paths:
        raise MinimindError("there is no document to tokenize.")
    return paths
