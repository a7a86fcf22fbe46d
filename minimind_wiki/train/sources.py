"""Rows for methods that learn from conversations: from the little world, a data set or a file.

Row number n is a function of (source, seed, n), so that a resumed run reads what it would have
read. Held-out rows are of validation worlds, or the end of the file; no method trains on them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from minimind_wiki.data import readers, registry
from minimind_wiki.data.corpus import decode, read_bytes, set_aside
from minimind_wiki.data.manifest import read_manifest
from minimind_wiki.data.schemas import Fault, check_lines, check_row, split_lines, strict_json
from minimind_wiki.data.world.rows import KINDS, make_rows
from minimind_wiki.errors import MinimindError, WrongCall, unknown

Row = dict[str, Any]
Bad = tuple[Fault, str]
MOST_BAD = 0.05  # of a published file; with more it is another file than was meant


@dataclass(frozen=True)
class Source:
    """`row(n)` for any n from 0 on; where the rows come to an end, they are read again, mixed anew.

    `about` goes into run.json: a resumed run must find the same.
    """

    row: Callable[[int], Row]
    held_out: tuple[Row, ...]
    about: dict[str, Any]
    line: str

    @cached_property
    def first(self) -> Row:
        """A row to look at."""
        return self.row(0)

    def rows(self, start: int, many: int) -> Iterator[Row]:
        """Rows start..start+many-1."""
        return (self.row(n) for n in range(start, start + many))


def open_source(spec: str, schema: str, seed: int, held_out: float, most: int) -> Source:
    """The rows that `--data spec` names: world/KIND, a data set of the registry, or a .jsonl file.

    `schema` is what the rows must be (sft, preference, agent); `held_out` the share of a file that
    is held out, and `most` how many of them are measured. A bad row of a file raises, with its
    line: which conversations a model learns is not left to chance. Those of a published data set
    are set aside and told.
    """
    if spec.split("/")[0] == "world":
        return _world(spec, schema, seed, most)
    return _file(spec, schema, seed, held_out, most)


def _world(spec: str, schema: str, seed: int, most: int) -> Source:
    kind = spec.partition("/")[2] or {"agent": "rl"}.get(schema, schema)
    if kind not in KINDS:
        raise unknown("kind of row", kind, KINDS)
    if KINDS[kind][1] != schema:
        fitting = [name for name, (_, other) in KINDS.items() if other == schema]
        raise WrongCall(
            f"rows of world/{kind} are not of schema {schema!r}; take one of {fitting}."
        )

    def row(number: int) -> Row:
        return next(make_rows(kind, 1, seed=_mixed(seed, number)))

    held = tuple(make_rows(kind, most, seed=seed, split="validation"))
    name = f"the little world, generated ({kind})"
    about = {"name": name, "source": f"world/{kind}", "bytes": 0,
             "sha256": hashlib.sha256(f"{kind}.{seed}".encode()).hexdigest()}  # fmt: skip
    return Source(row, held, about, f"Data: {name}; held out: {most:,} rows of validation worlds.")


def _mixed(seed: int, number: int) -> int:
    """One seed for each (seed, number), so that rows can be asked for in any order."""
    digest = hashlib.blake2b(f"{seed}.{number}".encode(), digest_size=7).digest()
    return int.from_bytes(digest, "big")


def _file(spec: str, schema: str, seed: int, held_out: float, most: int) -> Source:
    path, reader = _place(spec)
    rows, bad = published_rows(path, schema, reader) if reader else (own_rows(path, schema), [])
    rows = list(rows)
    cut = len(rows) - max(1, round(len(rows) * held_out))
    if cut < 1:
        raise MinimindError(f"{path} has {len(rows)} rows, too few to train on and to hold out.")

    def row(number: int) -> Row:
        epoch, place = divmod(number, cut)
        return rows[_order(seed, epoch, cut)[place]]

    measured = np.linspace(cut, len(rows) - 1, min(most, len(rows) - cut)).round().astype(int)
    raw = read_bytes(path)
    about = {"name": path.name, "source": spec, "bytes": len(raw),
             "sha256": hashlib.sha256(raw).hexdigest()}  # fmt: skip
    told = ""
    if bad:
        about["left_out"] = len(bad)
        told = (f" Left out: {len(bad):,} bad rows, the first at line {bad[0][0]}; all are in "
                f"{set_aside(path, bad)}.")  # fmt: skip
    return Source(
        row, tuple(rows[i] for i in measured), about,
        f"Data: {cut:,} rows of {path.name}; held out: its last {len(rows) - cut:,}, of which "
        f"{len(measured):,} are measured.{told}",
    )  # fmt: skip


def _place(spec: str) -> tuple[Path, str]:
    """The file that a name means, and the reader of its rows: of the registry, of a data folder
    that describes itself, or a path."""
    if item := registry.REGISTRY.get(spec):
        return registry.find(item) or registry.fetch(item), item.reader
    for folder in registry.data_folders():
        for stored in read_manifest(folder):
            if stored.name == spec:
                if stored.unfit:
                    raise MinimindError(f"{spec} is not for training: {stored.unfit}.")
                stored.verify()
                return stored.path, stored.reader
    if not (path := Path(spec).expanduser()).exists():
        raise MinimindError(
            f"{spec} is neither a file, nor a data set ('minimind data list'), nor world/KIND."
        )
    return path, ""


_ORDERS: dict[tuple[int, int, int], np.ndarray] = {}


def _order(seed: int, epoch: int, count: int) -> np.ndarray:
    """The order of `count` rows in an epoch; that of the last one asked for is kept."""
    key = (seed, epoch, count)
    if key not in _ORDERS:
        _ORDERS.clear()
        rng = np.random.Generator(np.random.Philox(key=[seed, epoch]))
        _ORDERS[key] = rng.permutation(count)
    return _ORDERS[key]


def own_rows(path: Path, schema: str) -> Iterator[Row]:
    """The rows of a .jsonl(.gz) file in our shape. MinimindError with file and line for a bad one:
    whoever wrote the file can repair it."""
    for checked in check_lines(split_lines(decode(path, read_bytes(path))), schema):
        if checked.faults or checked.row is None:
            raise MinimindError(
                f"{path}:{checked.faults[0]}. Repair or remove the row; 'minimind data check "
                f"{path}' lists all."
            )
        yield checked.row


def published_rows(path: Path, schema: str, reader: str) -> tuple[list[Row], list[Bad]]:
    """The rows that a reader (`data/readers.py`) makes of a publisher's, and the bad ones, which
    nobody here can repair. MinimindError where more than MOST_BAD of them are bad."""
    rows: list[Row] = []
    bad: list[Bad] = []
    lines = split_lines(decode(path, read_bytes(path)))
    number = 0
    for number, line in enumerate(lines, start=1):
        try:
            made = readers.read(reader, strict_json(line))
            faults = [fault for row in made for fault in check_row(row, schema, number)]
        except ValueError as error:  # BadRow, or no JSON
            made, faults = [], [Fault(number, "", str(error))]
        if faults:
            bad.append((faults[0], line))
        else:
            rows += made
    if len(bad) > MOST_BAD * number:
        raise MinimindError(
            f"{path}: {len(bad):,} of {number:,} rows are bad, the first: {bad[0][0]}. "
            "That is no file of this kind; look at 'minimind data list'."
        )
    return rows, bad
