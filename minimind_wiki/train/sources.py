"""Rows for methods that learn from conversations: from the little world, a data set or a file.

Row number n is a function of (source, seed, n), so that a resumed run reads what it would have
read. Held-out rows are of validation worlds, or the end of the file; no method trains on them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
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
SORTS = ("question", "sum", "instruction", "tool")  # of rows of world/rl
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
    """The rows that `--data spec` names: world/KIND, a data set of the registry, or a .jsonl file;
    world/rl/SORT for prompts of one sort. Several with a comma between them are mixed (`mixture`).

    `schema` is what the rows must be (sft, preference, agent); where chats are learned, texts may
    be mixed in (world/pretrain, or a file of texts). `held_out` is the share of a file that is held
    out, and `most` how many of them are measured. A bad row of a file raises, with its line: which
    conversations a model learns is not left to chance. Those of a published data set are set aside
    and told.
    """
    if "," in spec:
        return mixture(spec, schema, seed, held_out, most)
    if spec.split("/")[0] == "world":
        return _world(spec, schema, seed, most)
    return _file(spec, schema, seed, held_out, most)


def _world(spec: str, schema: str, seed: int, most: int) -> Source:
    _, kind, sort = (*spec.split("/"), "", "")[:3]
    kind = kind or {"agent": "rl"}.get(schema, schema)
    if kind not in KINDS:
        raise unknown("kind of row", kind, KINDS)
    if KINDS[kind][1] not in (schema, *(["pretrain"] if schema == "sft" else [])):
        fitting = [name for name, (_, other) in KINDS.items() if other == schema]
        raise WrongCall(
            f"rows of world/{kind} are not of schema {schema!r}; take one of {fitting}."
        )

    if sort and (kind != "rl" or sort not in SORTS):
        raise unknown("sort of rows of world/rl", sort, SORTS)

    def row(number: int) -> Row:
        rows = make_rows(kind, None, seed=_mixed(seed, number))
        return next(row for row in rows if sort in ("", row.get("sort")))

    rows = make_rows(kind, None, seed=seed, split="validation")
    held = tuple(islice((row for row in rows if sort in ("", row.get("sort"))), most))
    name = f"the little world, generated ({kind}{f', {sort}' if sort else ''})"
    about = {"name": name, "source": f"world/{kind}{f'/{sort}' if sort else ''}", "bytes": 0,
             "sha256": hashlib.sha256(f"{kind}{sort}.{seed}".encode()).hexdigest()}  # fmt: skip
    return Source(row, held, about, f"Data: {name}; held out: {most:,} rows of validation worlds.")


def mixture(spec: str, schema: str, seed: int, held_out: float, most: int) -> Source:
    """Rows of several sources in fixed shares: `world/arithmetic=3,world/instructions=1`.

    Each block of rows holds as many of each source as its number says (1 without one), in an order
    of its own; so do the held-out rows, as far as they go. WrongCall for a number below 1.
    """
    parts: list[tuple[Source, int]] = []
    names = [item.partition("=") for item in spec.split(",")]
    shares = [_share(spec, number) for _, _, number in names]
    for (name, _, _), share in zip(names, shares, strict=True):
        many = max(1, round(most * share / sum(shares)))
        parts.append((open_source(name.strip(), schema, seed, held_out, many), share))
    block = np.repeat(np.arange(len(parts)), shares)

    def row(number: int) -> Row:
        turn, place = divmod(number, len(block))
        rng = np.random.Generator(np.random.Philox(key=[seed, turn]))
        order = rng.permutation(block)
        mine = int(order[place])
        before = int((order[:place] == mine).sum())
        return parts[mine][0].row(turn * shares[mine] + before)

    abouts = [source.about for source, _ in parts]
    whole = " ".join(f"{a['sha256']} {s}" for a, s in zip(abouts, shares, strict=True))
    about = {"name": " + ".join(a["name"] for a in abouts), "source": spec,
             "bytes": sum(a["bytes"] for a in abouts),
             "sha256": hashlib.sha256(whole.encode()).hexdigest()}  # fmt: skip
    line = f"Data, in parts of {':'.join(map(str, shares))}:\n  " + "\n  ".join(
        source.line for source, _ in parts
    )
    held = tuple(row for source, _ in parts for row in source.held_out)
    return Source(row, held, about, line)


def _share(spec: str, number: str) -> int:
    if not (number or "1").isdecimal() or int(number or 1) < 1:
        raise WrongCall(
            f"{spec}: {number!r} is no share. Give whole numbers from 1 on: "
            "world/arithmetic=3,world/instructions=1."
        )
    return int(number or 1)


def _mixed(seed: int, number: int) -> int:
    """One seed for each (seed, number), so that rows can be asked for in any order."""
    digest = hashlib.blake2b(f"{seed}.{number}".encode(), digest_size=7).digest()
    return int.from_bytes(digest, "big")


def _file(spec: str, schema: str, seed: int, held_out: float, most: int) -> Source:
    path, reader = _place(spec)
    if schema == "sft" and not reader and _holds_texts(path):
        schema = "pretrain"
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


def _holds_texts(path: Path) -> bool:
    """Whether the first row of a file is a text, and no chat."""
    first = split_lines(decode(path, read_bytes(path)))[:1]
    try:
        row = strict_json(first[0]) if first else None
    except ValueError:
        return False  # the reader of rows tells it with its line
    return isinstance(row, dict) and "text" in row and "conversations" not in row


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
