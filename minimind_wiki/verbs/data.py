"""`minimind data`: which data sets are known, fetch one, check a file."""

from __future__ import annotations

import argparse
from pathlib import Path

from minimind_wiki.data import registry
from minimind_wiki.data.corpus import decode, read_bytes
from minimind_wiki.data.schemas import SCHEMAS, check_rows, split_lines
from minimind_wiki.errors import MinimindError, unknown

HELP = "List the known data sets, fetch one, or check a file of your own."
EXAMPLE = "minimind data check rows.jsonl --schema sft"


def configure(parser: argparse.ArgumentParser) -> None:
    """Three actions."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="list | fetch | check")
    actions.add_parser("list", help="known data sets, their size, licence and place")
    fetch = actions.add_parser("fetch", help="download a data set into the cache")
    fetch.add_argument("name", help="a name from 'minimind data list'")
    check = actions.add_parser("check", help="report every bad row of a file")
    check.add_argument("file", type=Path, help=".jsonl or .txt, also .gz")
    check.add_argument("--schema", help=f"one of {', '.join(SCHEMAS)} (default: by the first row)")


def run(args: argparse.Namespace) -> int:
    """Dispatch; 1 when `check` found a bad row."""
    if args.action == "list":
        return _list()
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
        registry.verify(path, item, read_bytes(path))
        print(f"{name} is already at {path}.")
    else:
        print(f"{name} is now at {registry.fetch(item, fetch_progress(name))}.")
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
