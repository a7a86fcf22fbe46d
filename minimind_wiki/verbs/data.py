"""`minimind data`: list, fetch, check, clean and shard data sets, write the little world."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path

from minimind_wiki.cli import help_texts
from minimind_wiki.data import registry
from minimind_wiki.data.clean.pipeline import writing
from minimind_wiki.data.manifest import read_manifest
from minimind_wiki.data.world.rows import KINDS, OPTIONS, make_rows
from minimind_wiki.data.world.words import SPLITS
from minimind_wiki.errors import WrongCall
from minimind_wiki.verbs import _data_check, _data_clean, _data_shard

HELP = "List, fetch, check, clean and tokenize data sets; write the little world."
EXAMPLE = "minimind data check rows.jsonl --schema sft"
FLAGS = {"label_noise": "noise", "length_bias": "length_bias"}  # flag -> option of the world


def configure(parser: argparse.ArgumentParser) -> None:
    """Six actions."""
    names = "list | fetch | check | clean | shard | world"
    actions = parser.add_subparsers(dest="action", required=True, metavar=names)

    def action(name: str, about: str, example: str, more: str = "") -> argparse.ArgumentParser:
        return actions.add_parser(name, help=about, **help_texts(more or f"{about}.", example))

    listing = action("list", "known data sets, their size, licence and place",
                     "minimind data list --long")  # fmt: skip
    listing.add_argument("--long", action="store_true", help="also citation, address and notes")
    fetch = action("fetch", "download data sets into the cache",
                   "minimind data fetch tinyshakespeare")  # fmt: skip
    fetch.add_argument("names", nargs="+", metavar="NAME", help="names from 'minimind data list'")
    fetch.add_argument("--rows", type=int, help="of a streamed set only so many rows")
    fetch.add_argument("--seed", type=int, help="shuffle a streamed set")
    fetch.add_argument("--buffer", type=int, default=10_000, help="rows to shuffle among (10000)")
    _data_check.configure(action("check", _data_check.HELP, _data_check.EXAMPLE))
    _data_clean.configure(action("clean", _data_clean.HELP, _data_clean.EXAMPLE, _data_clean.ABOUT))
    _data_shard.configure(action("shard", _data_shard.HELP, _data_shard.EXAMPLE))
    world = action("world", "write rows of the little world",
                   "minimind data world --kind sft --rows 5 --out -")  # fmt: skip
    world.add_argument("--kind", default="pretrain", help=f"one of {', '.join(KINDS)}")
    world.add_argument("--rows", type=int, default=1000, help="how many (default 1000)")
    world.add_argument("--seed", type=int, default=0, help="the same seed gives the same rows")
    world.add_argument("--split", default="train", help=f"one of {', '.join(SPLITS)}")
    for flag, option in FLAGS.items():
        takers = ", ".join(kind for kind, known in OPTIONS.items() if option in known)
        world.add_argument(f"--{flag.replace('_', '-')}", type=float, metavar="SHARE",
                           help=f"0 to 1, for the kinds: {takers}")  # fmt: skip
    world.add_argument("--out", required=True, help="the .jsonl file to write, - for the screen")


def run(args: argparse.Namespace) -> int:
    """Dispatch; 1 when `check` found a bad row."""
    if args.action == "list":
        return _list(args.long)
    if args.action == "world":
        return _world(args)
    if args.action == "shard":
        return _data_shard.run(args)
    if args.action == "clean":
        return _data_clean.run(args)
    return _fetch(args) if args.action == "fetch" else _data_check.run(args)


def _table(rows: Iterable[tuple[str, ...]]) -> None:
    """Columns as wide as their longest cell; the last one is free."""
    lines = list(rows)
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]) - 1)]
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=False)]
        print("  ".join([*cells, line[-1]]).rstrip())


def _list(long: bool) -> int:
    rows = [("NAME", "SIZE", "SCHEMA", "LICENCE", "PLACE"),
            ("embedded", "part of the package", "text", "MIT", "always here")]  # fmt: skip
    for item in registry.REGISTRY.values():
        path = registry.find(item)
        place = str(path or f"not here; 'minimind data fetch {item.name}' gets it")
        if item.refused:
            place = "not to be fetched; --long says why"
        if long:
            print("\n".join(registry.terms(item)))
            print(f"  schema:   {item.schema}\n  from:     {item.link or item.hub or 'nowhere'}")
            sha256 = registry.expected(item)[1]
            known = "stated by the publisher" if item.sha256 else "of the first download"
            print(f"  sha256:   {f'{sha256} ({known})' if sha256 else 'not known yet'}")
            if item.refused:
                print(f"  status:   {item.refused}")
            print(f"  place:    {place}\n")
        licence = item.licence if len(item.licence) <= 40 else item.licence[:39] + "…"
        rows.append((item.name, item.size_text, item.schema, licence, place))
    if not long:
        _table(rows)
    for folder in registry.data_folders():
        stored = [s for s in read_manifest(folder) if s.schema]
        if stored:
            print(f"\nFiles that lie in {folder}:")
            _table(
                (s.name, f"{s.rows:,} rows", s.schema, "not for training" if s.unfit else "",
                 s.licence if long or len(s.licence) <= 50 else s.licence[:49] + "…")
                for s in stored
            )  # fmt: skip
    return 0


def _fetch(args: argparse.Namespace) -> int:
    for name in args.names:  # a wrong name must not cost a download first
        if name != "embedded":
            registry.entry(name)
    for name in args.names:
        if name == "embedded":
            print("embedded is part of the package; there is nothing to fetch.")
            continue
        item = registry.entry(name)
        path = registry.find(item)
        if path:
            print(f"{name} is already at {path}; {registry.verify(path, item)}.")
            continue
        print("\n".join(registry.terms(item)), flush=True)
        path = _stream(item, args) if item.hub and not item.refused else _download(item)
        print(f"{name} is now at {path}.")
    return 0


def _download(item: registry.Entry) -> Path:
    from minimind_wiki.verbs.pretrain import fetch_progress

    return registry.fetch(item, fetch_progress(item.name))


def _stream(item: registry.Entry, args: argparse.Namespace) -> Path:
    from minimind_wiki.data import hub

    out = registry.cache_folder() / item.places[0]
    source = hub.stream(item.hub, args.rows, args.seed, args.buffer)
    kept = hub.keep(source, out, item.reader, item.schema)
    aside = f", {kept.bad:,} bad ones beside it ({kept.first_fault})" if kept.bad else ""
    part = "" if args.rows is None else f" (the first {args.rows:,} that came)"
    print(f"  {kept.read:,} rows read{part}, {kept.written:,} written{aside}")
    return out


def _world(args: argparse.Namespace) -> int:
    options = {}
    for flag, option in FLAGS.items():
        share = getattr(args, flag)
        if share is None:
            continue
        name = f"--{flag.replace('_', '-')}"
        if not 0 <= share <= 1:
            raise WrongCall(f"{name} is a share from 0 to 1, not {share}.")
        if args.kind in KINDS and option not in OPTIONS.get(args.kind, ()):
            takers = ", ".join(kind for kind, known in OPTIONS.items() if option in known)
            raise WrongCall(f"{name} is for the kinds {takers}, not for {args.kind}.")
        options[option] = share
    rows = make_rows(args.kind, args.rows, args.seed, args.split, **options)
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    first = next(lines)  # a wrong call must not leave a file
    if args.out == "-":
        sys.stdout.write(first)
        sys.stdout.writelines(lines)
        return 0
    target = Path(args.out)
    with writing(target):
        part = target.with_name(target.name + ".part")
        try:
            with part.open("w", encoding="utf-8", newline="\n") as out:
                out.write(first)
                out.writelines(lines)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    size = target.stat().st_size
    print(f"{target}: {args.rows:,} rows, {size:,} bytes, as {KINDS[args.kind][1]}.")
    return 0
