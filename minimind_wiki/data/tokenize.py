"""Files of rows to token shards: in several processes, and going on where it was stopped.

Rows are read line by line, parsed, checked and tokenized by workers and written in their order, so
the bytes do not depend on the number of workers. After each shard `shards.json` notes how many
lines it took; a run that was killed goes on behind the last whole shard and ends with the same
bytes. Rows that break their schema or have nothing to learn are set aside in
`shards.rejected.jsonl` with file, line and reason, or stop the run when `strict`.

`{"text"}` rows and .txt files (each one document) stand between bos and eos; chats are rendered
with loss flags, and long ones treated by a policy (`sft_rows.py`). If one file has chats, every
shard has flags, and texts are learned whole.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from minimind_wiki.data.clean.pipeline import read_lines
from minimind_wiki.data.corpus import decode, read_bytes
from minimind_wiki.data.schemas import check_rows
from minimind_wiki.data.sft_rows import Example, SftReport, check_policy, fit
from minimind_wiki.data.shards import INDEX, SUFFIX, ShardWriter, read_index
from minimind_wiki.data.workers import ordered_map
from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.tokenizer.protocol import Tokenizer, text_ids

REJECTED = "shards.rejected.jsonl"
CHATS = ("sft", "agent")
Progress = Callable[[int, int | None, int], None]  # bytes read, of all (None: not known), tokens


@dataclass(frozen=True, slots=True)
class Source:
    """A row to tokenize: its place, its schema ("text" for a whole file) and the line itself."""

    file: str
    line: int
    schema: str
    raw: str
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """A tokenized row, or why it is none."""

    source: Source
    example: Example | None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker does with a row."""

    tokenizer: Tokenizer
    max_tokens: int | None
    policy: str

    def __call__(self, source: Source) -> Done:
        fault = source.fault
        if not fault and source.schema != "text":
            _, _, faults = check_rows([source.raw], source.schema)
            fault = str(faults[0]).removeprefix("1: ") if faults else ""
        if fault:
            return Done(source, None, fault)
        if source.schema in CHATS:
            conversations = json.loads(source.raw)["conversations"]
            try:
                return Done(
                    source, fit(conversations, self.tokenizer, self.max_tokens, self.policy)
                )
            except MinimindError as error:
                return Done(source, None, str(error))
        text = source.raw if source.schema == "text" else json.loads(source.raw)["text"]
        ids = np.array(text_ids(self.tokenizer, text), dtype=np.uint32)
        return Done(source, Example(ids, np.ones(len(ids), dtype=np.uint8)))


@dataclass(slots=True)
class State:
    """What `shards.json` holds beside the settings: how far the shards go."""

    lines: int = 0  # of all files, behind the last shard
    documents: int = 0
    tokens: int = 0
    rejected: int = 0
    rejected_bytes: int = 0  # of the file of rejected rows
    chats: dict[str, int] = field(default_factory=lambda: asdict(SftReport()))
    shards: list[dict[str, Any]] = field(default_factory=list)
    complete: bool = False


def schema_of(path: Path) -> str:
    """The word "text" for a .txt file, else the kind of the first good row."""
    if ".jsonl" not in path.name.lower()[-9:]:
        return "text"
    for line in read_lines(path):
        if not line.fault:
            schema, _, faults = check_rows([line.raw])
            if not faults and schema == "preference":
                raise WrongCall(f"{path} has preference rows; shards hold texts and chats.")
            if not faults:
                return schema
    raise MinimindError(f"{path} has no good row. 'minimind data check {path}' lists the faults.")


def _sources(files: Sequence[Path], schemas: Sequence[str]) -> Iterator[Source]:
    for path, schema in zip(files, schemas, strict=True):
        if schema == "text":
            yield Source(path.name, 1, schema, decode(path, read_bytes(path)))
        else:
            for line in read_lines(path):
                yield Source(path.name, line.number, schema, line.raw, line.fault)


def _identity(path: Path) -> list[Any]:
    """Name, size and a hash of both ends: enough to see that it is another file."""
    size, found = path.stat().st_size, hashlib.sha256()
    with path.open("rb") as file:
        found.update(file.read(1 << 20))
        file.seek(max(0, size - (1 << 20)))
        found.update(file.read())
    return [path.name, size, found.hexdigest()]


def tokenize_files(
    files: Sequence[Path],
    out: Path,
    tokenizer: Tokenizer,
    shard_tokens: int = 50_000_000,
    workers: int = 1,
    max_tokens: int | None = None,
    policy: str = "drop",
    strict: bool = False,
    progress: Progress | None = None,
) -> State:
    """Write `out/00000.tokens`, … ; or go on with them; or find that they are complete.

    `max_tokens` and `policy` treat long chats. Errors: WrongCall for a bad number or rows that are
    neither texts nor chats; MinimindError when a file cannot be read, `out` has other shards, or,
    with `strict`, for the first bad row.
    """
    if shard_tokens < 1 or workers < 1:
        raise WrongCall("a shard needs at least 1 token, and the work at least 1 worker.")
    check_policy(policy, max_tokens)
    for path in files:
        if not path.is_file():
            raise MinimindError(f"{path} is not a file. Give .txt or .jsonl files, also .gz.")
    schemas = [schema_of(path) for path in files]
    settings = {
        "files": [_identity(path) for path in files], "schemas": schemas,
        "tokenizer": tokenizer.fingerprint, "vocab_size": tokenizer.vocab_size,
        "shard_tokens": shard_tokens, "max_tokens": max_tokens, "policy": policy,
    }  # fmt: skip
    state = _begin(out, settings)
    if state.complete:
        return state
    loss = any(schema in CHATS for schema in schemas)
    known = sum(path.stat().st_size for path in files)
    total = None if any(path.name.lower().endswith(".gz") for path in files) else known
    sources = islice(_sources(files, schemas), state.lines, None)
    rows = ordered_map(Job(tokenizer, max_tokens, policy), sources, workers)
    writer = _Writer(out, state, settings, strict, progress, total)
    with writer.rejected_file():
        while writer.shard(rows, tokenizer, shard_tokens, loss):
            pass
    if not state.tokens:
        raise MinimindError(f"no row could be tokenized; {out / REJECTED} says why.")
    state.complete = True
    writer.note()
    return state


def _begin(out: Path, settings: dict[str, Any]) -> State:
    """Where to begin in `out`: anew, or behind the last whole shard of the same settings."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MinimindError(
            f"{out} cannot be made a folder ({error.strerror or error}). Give another --out."
        ) from error
    index = read_index(out)
    for part in out.glob(f"*{SUFFIX}.part*"):  # of a run that was killed
        part.unlink()
    if index is None:
        if any(out.glob(f"*{SUFFIX}")):
            raise MinimindError(f"{out} has shards but no {INDEX}. Give another --out.")
        return State()
    found = index.get("settings", {})
    if found != settings:
        names = [name for name in settings if found.get(name) != settings[name]]
        raise MinimindError(
            f"{out} has shards of another run ({', '.join(names)} differ). Give another --out, "
            "or delete it."
        )
    return State(**index["state"])


@dataclass(slots=True)
class _Writer:
    """Writes shards one by one and notes each."""

    out: Path
    state: State
    settings: dict[str, Any]
    strict: bool
    progress: Progress | None
    total: int | None
    read: int = 0
    seen: int = 0
    rejected: Any = None
    next: Done | None = None

    def rejected_file(self) -> Any:
        """Open the file of rejected rows behind those of the noted shards."""
        path = self.out / REJECTED
        self.rejected = path.open("r+b" if path.exists() else "w+b")
        self.rejected.truncate(self.state.rejected_bytes)
        self.rejected.seek(0, os.SEEK_END)
        self.seen = self.state.lines
        return self.rejected

    def good(self, rows: Iterator[Done]) -> Done | None:
        """The next row that can be learned; bad ones are set aside."""
        for done in rows:
            self.seen += 1
            self.read += len(done.source.raw.encode(errors="surrogateescape")) + 1
            if self.progress:
                self.progress(self.read, self.total, self.state.tokens)
            if done.example is not None:
                return done
            source = done.source
            if self.strict:
                raise MinimindError(f"{source.file}:{source.line}: {done.fault}")
            self.state.rejected += 1
            entry: dict[str, Any] = {"file": source.file, "line": source.line, "reason": done.fault}
            raw = source.raw.encode(errors="surrogateescape")
            entry["row"] = raw.decode(errors="replace")
            self.rejected.write(json.dumps(entry).encode() + b"\n")
        return None

    def shard(
        self, rows: Iterator[Done], tokenizer: Tokenizer, shard_tokens: int, loss: bool
    ) -> bool:
        """Write one shard and note it; False when there is no row for it."""
        done = self.good(rows)
        if done is None:
            return False
        state = self.state
        path = self.out / f"{len(state.shards):05d}{SUFFIX}"
        chats = SftReport(**state.chats)
        with ShardWriter(path, tokenizer.fingerprint, tokenizer.vocab_size, loss) as shard:
            while done is not None and done.example is not None:
                shard.add(done.example.ids, done.example.flags if loss else None)
                state.tokens += len(done.example.ids)
                if done.source.schema in CHATS:
                    chats.count(done.example)
                if shard.tokens >= shard_tokens:
                    break
                done = self.good(rows)
        state.lines, state.chats = self.seen, asdict(chats)
        state.documents += shard.documents
        state.shards.append(
            {"name": path.name, "tokens": shard.tokens, "documents": shard.documents}
        )
        self.note()
        return done is not None

    def note(self) -> None:
        """Write `shards.json` in one step, after the rejected rows that it counts."""
        if not self.rejected.closed:
            self.rejected.flush()
        self.state.rejected_bytes = (self.out / REJECTED).stat().st_size
        part = self.out / f"{INDEX}.part"
        text = json.dumps({"settings": self.settings, "state": asdict(self.state)}, indent=1)
        part.write_text(text + "\n", encoding="utf-8")
        part.replace(self.out / INDEX)
