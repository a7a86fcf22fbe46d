"""Data sets that are many files on the Hugging Face hub, row by row, without storing them first.

The work is the `datasets` library's (optional: `pip install 'minimind-wiki[data]'`). `HF_ENDPOINT`
names a mirror, `HF_TOKEN` or `hf auth login` opens gated sets; both are read by that library.
Shuffling a stream takes a buffer: each row comes from a random place of the next `buffer` rows, the
same for the same seed, so a small buffer mixes only nearby rows. The buffer is ours and not the
library's, so that the order does not hang on the library's version; the order of the files stays.
"""

from __future__ import annotations

import itertools
import json
import os
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minimind_wiki.data.readers import BadRow, read
from minimind_wiki.data.schemas import check_row
from minimind_wiki.errors import MinimindError, WrongCall

BUILDERS = {".jsonl": "json", ".json": "json", ".parquet": "parquet", ".csv": "csv"}


def library() -> Any:
    """The `datasets` module; MinimindError with the command to install it."""
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise MinimindError(
            "streaming from the hub needs the package 'datasets'. Get it with "
            "pip install 'minimind-wiki[data]'."
        ) from error
    return datasets


def stream(
    source: str,
    rows: int | None = None,
    seed: int | None = None,
    buffer: int = 10_000,
    revision: str | None = None,
) -> Iterator[dict[str, Any]]:
    """Rows of `owner/name:config:split`, or of a local .jsonl, .json, .parquet or .csv file.

    `rows` caps how many come. With `seed` they are shuffled through a buffer of `buffer` rows.
    MinimindError when the set cannot be had, WrongCall for a source or number that makes no sense.

    >>> next(stream("fineweb"))
    Traceback (most recent call last):
    minimind_wiki.errors.WrongCall: 'fineweb' is neither a file nor owner/name:config:split.
    """
    if rows is not None and rows < 1:
        raise WrongCall(f"{rows} rows were asked for; give at least 1.")
    if buffer < 1:
        raise WrongCall(f"a buffer of {buffer} rows cannot shuffle; give at least 1.")
    options: dict[str, Any] = {"streaming": True}
    builder = BUILDERS.get(Path(source.removesuffix(".gz")).suffix)
    name, _, rest = source.partition(":")
    config, _, split = rest.partition(":")
    if builder and Path(source).is_file():
        options |= {"path": builder, "data_files": {"all": source}, "split": "all"}
    elif "/" in name and config and split:
        options |= {"path": name, "name": config, "split": split, "revision": revision}
    else:
        raise WrongCall(f"{source!r} is neither a file nor owner/name:config:split.")
    datasets = library()
    try:
        found = datasets.load_dataset(**options)
        yield from itertools.islice(found if seed is None else mixed(found, seed, buffer), rows)
    except (OSError, ValueError, RuntimeError, LookupError) as error:
        raise MinimindError(_failure(source, name, error)) from error


def mixed(rows: Iterable[Any], seed: int, buffer: int) -> Iterator[Any]:
    """The rows in another order: always a random one of those in a buffer that is kept full.

    >>> list(mixed(range(8), seed=0, buffer=4))
    [3, 4, 0, 2, 7, 5, 6, 1]
    """
    chance = random.Random(seed)
    held: list[Any] = []
    for row in rows:
        held.append(row)
        if len(held) >= buffer:
            place = chance.randrange(buffer)
            held[place], held[-1] = held[-1], held[place]
            yield held.pop()
    chance.shuffle(held)
    yield from held


def _failure(source: str, name: str, error: Exception) -> str:
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    if "gated" in reason.lower():
        return (
            f"{name} is gated: accept its terms at https://huggingface.co/datasets/{name} and log "
            f"in with 'hf auth login' ({reason})."
        )
    return (
        f"{source} cannot be streamed ({reason}). Check the name, the network and, for a mirror, "
        "HF_ENDPOINT."
    )


@dataclass(frozen=True, slots=True)
class Kept:
    """What came of a stream that was written to a file."""

    read: int
    written: int
    bad: int
    first_fault: str


def keep(
    source: Iterator[dict[str, Any]],
    out: Path,
    reader: str,
    schema: str,
    progress: Callable[[int], None] | None = None,
) -> Kept:
    """Write the rows that `reader` makes of a stream to a JSONL file; it appears when it is whole.

    Rows that break the schema go to `….rejected.jsonl` beside it, with the reason.
    """
    aside = out.with_name(out.name.removesuffix(".jsonl") + ".rejected.jsonl")
    part, bad_part = (p.with_name(f"{p.name}.part{os.getpid()}") for p in (out, aside))
    read_rows = written = bad = 0
    first = ""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with (
            part.open("w", encoding="utf-8", newline="\n") as good,
            bad_part.open("w", encoding="utf-8", newline="\n") as rejects,
        ):
            for read_rows, raw in enumerate(source, start=1):
                try:
                    ours = read(reader, raw) if reader else [raw]
                    faults = [str(f) for row in ours for f in check_row(row, schema, read_rows)]
                except BadRow as error:
                    ours, faults = [], [f"{read_rows}: {error}"]
                if faults:
                    bad, first = bad + 1, first or faults[0]
                    line = {"line": read_rows, "reason": faults[0], "row": raw}
                    rejects.write(json.dumps(line, default=str) + "\n")
                else:
                    for row in ours:
                        good.write(json.dumps(row, ensure_ascii=False) + "\n")
                        written += 1
                if progress:
                    progress(read_rows)
        if not written:
            raise MinimindError(f"no row for {out.name} came ({first or 'the stream was empty'}).")
        if bad:
            bad_part.replace(aside)
        part.replace(out)
    except OSError as error:
        raise MinimindError(f"{out} cannot be written ({error.strerror or error}).") from error
    finally:
        part.unlink(missing_ok=True)
        bad_part.unlink(missing_ok=True)
    return Kept(read_rows, written, bad, first)
