"""`minimind data`: list, fetch and check data sets, clean rows, write the little world."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from minimind_wiki.data import registry
from minimind_wiki.data.corpus import decode, read_bytes
from minimind_wiki.data.schemas import SCHEMAS, check_rows, split_lines
from minimind_wiki.data.world.rows import KINDS, make_rows
from minimind_wiki.data.world.words import SPLITS
from minimind_wiki.errors import MinimindError, unknown
from minimind_wiki.verbs import _data_clean

HELP = "List the known data sets, fetch one, check or clean a file, write the little world."
EXAMPLE = "minimind data check rows.jsonl --schema sft"


def configure(parser: argparse.ArgumentParser) -> None:
    """Five actions."""
    names = "list | fetch | check | clean | world"
    actions = parser.add_subparsers(dest="action", required=True, metavar=names)
    actions.add_parser("list", help="known data sets, their size, licence and place")
    fetch = actions.add_parser("fetch", help="download a data set into the cache")
    fetch.add_argument("name", help="a name from 'minimind data list'")
    check = actions.add_parser("check", help="report every bad row of a file")
    check.add_argument("file", type=Path, help=".jsonl or .txt, also .gz")
    check.add_argument("--schema", help=f"one of {', '.join(SCHEMAS)} (default: by the first row)")
    _data_clean.configure(actions.add_parser("clean", help=_data_clean.HELP))
    world = actions.add_parser("world", help="write rows of the little world")
    world.add_argument("--kind", default="pretrain", help=f"one of {', '.join(KINDS)}")
    world.add_argument("--rows", type=int, default=1000, help="how many (default 1000)")
    world.add_argument("--seed", type=int, default=0, help="the same seed gives the same rows")
    world.add_argument("--split", default="train", help=f"one of {', '.join(SPLITS)}")
    world.add_argument("--out", type=Path, required=True, help="the .jsonl file to write")


def run(args: argparse.Namespace) -> int:
    """Dispatch; 1 when `check` found a bad row."""
    if args.action == "list":
        return _list()
    if args.action == "world":
        return _world(args)
    if args.action == "clean":
        return _data_clean.run(args)
    return _fetch(args.name) if args.action == "fetch" else _check(args.file, args.schema)


def _list() -> int:
    for item in registry.REGISTRY.values():
        path = registry.find(item)
        place = str(path) if path else f"not here; 'minimind data fetch {item.name}' gets it"
        print(f"{item.name}\n  {item.about}\n  {item.bytes:,} bytes, {item.schema}, {item.licence}"
              f"\n  {item.citation}\n  from {item.url}\n  at {place}")  # fmt: skip
    print("embedded\n  a village in simple English, written by a seeded grammar of this package\n"
          "  text, MIT licence\n  always here")  # fmt: skip
    return 0


def _fetch(name: str) -> int:
    from minimind_wiki.verbs.pretrain import fetch_progress

    if name == "embedded":
        print("embedded is part of the package; there is nothing to fetch.")
        return 0
    item = registry.entry(name)
    path = registry.find(item)
    if path:
        registry.verify(path, item)
        print(f"{name} is already at {path}.")
    else:
        print(f"{name} is now at {registry.fetch(item, fetch_progress(name))}.")
    return 0


def _world(args: argparse.Namespace) -> int:
    rows = make_rows(args.kind, args.rows, args.seed, args.split)
    part = args.out.with_name(args.out.name + ".part")
    try:
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        first = next(lines)  # a wrong call must not leave a file
        with part.open("w", encoding="utf-8", newline="\n") as out:
            out.write(first)
            out.writelines(lines)
        part.replace(args.out)
    except OSError as error:
        reason = error.strerror or error
        raise MinimindError(f"{args.out} cannot be written ({reason}). Choose another.") from error
    finally:
        part.unlink(missing_ok=True)
    size = args.out.stat().st_size
    print(f"{args.out}: {args.rows:,} rows, {size:,} bytes, as {KINDS[args.kind][1]}.")
    return 0


def _check(path: Path, schema: str | None) -> int:
    if schema is not None and schema not in SCHEMAS:
        raise unknown("schema", schema, SCHEMAS)
    text = decode(path, read_bytes(path))
    if not text.strip():
        raise MinimindError(f"{path} is empty.")
    if ".jsonl" not in path.name.lower():
        print(f"{path}: {len(text.encode()):,} bytes of UTF-8 text, {text.count(chr(10)):,} lines.")
        return 0
    schema, rows, faults = check_rows(split_lines(text), schema)
    for fault in faults:
        print(f"{path}:{fault}")
    print(f"{path}: {rows:,} rows as {schema}, {rows - len(faults):,} good, {len(faults):,} bad.")
    return 1 if faults else 0
