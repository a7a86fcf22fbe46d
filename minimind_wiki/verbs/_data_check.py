"""`minimind data check`: every fault of a file; `--out` parts good rows from bad."""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import tee
from pathlib import Path
from typing import IO, Any

from minimind_wiki.data.clean.pipeline import Line, read_lines
from minimind_wiki.data.corpus import decode, read_bytes
from minimind_wiki.data.readers import READERS, BadRow, read
from minimind_wiki.data.schemas import (
    SCHEMAS,
    Checked,
    Fault,
    check_lines,
    check_row,
    guess_schema,
    strict_json,
)
from minimind_wiki.errors import MinimindError, WrongCall, unknown

HELP = "report every bad row of a file; with --out part the good rows from the bad"
EXAMPLE = "minimind data check rows.jsonl --schema sft --out checked"


def configure(parser: argparse.ArgumentParser) -> None:
    """The flags of `data check`."""
    parser.add_argument("file", type=Path, help=".jsonl or .txt, also .gz")
    parser.add_argument("--schema", help=f"one of {', '.join(SCHEMAS)} (default: by the first row)")
    parser.add_argument("--reader", help="the rows are of a public set: read them as ours first; "
                        f"one of {', '.join(READERS)}")  # fmt: skip
    parser.add_argument("--strict", action="store_true", help="stop at the first bad row")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write good rows there and bad ones, with reasons"
    )


def run(args: argparse.Namespace) -> int:
    """1 when a row is bad, else 0."""
    path: Path = args.file
    if args.schema is not None and args.schema not in SCHEMAS:
        raise unknown("schema", args.schema, SCHEMAS)
    if args.reader is not None and args.reader not in READERS:
        raise unknown("reader", args.reader, READERS)
    stem = path.name.removesuffix(".gz")
    if not stem.lower().endswith(".jsonl") and not (args.reader and stem.endswith(".json")):
        return _check_text(path)
    schema = args.schema or (READERS[args.reader][1] if args.reader else None)
    stem = stem.rpartition(".")[0]
    with ExitStack() as stack:
        good = bad = None
        if args.out:
            good_path, bad_path = args.out / f"{stem}.jsonl", args.out / f"{stem}.rejected.jsonl"
            if good_path.resolve() == path.resolve():
                raise WrongCall(f"--out {args.out} would write over {path}. Name another folder.")
            good, bad = _open(stack, _part(good_path)), _open(stack, _part(bad_path))
        counts, notes = Counter[str](), Counter[str]()
        for line, checked, rows in _checked(path, schema, args.reader):
            counts["rows"] += 1
            notes.update(checked.notes)
            if schema is None and checked.row is not None:
                schema = guess_schema(checked.row)
            for fault in checked.faults:
                print(f"{path}:{fault}")
            if checked.faults:
                counts["bad"] += 1
                if args.strict:
                    print(f"{path}: stopped at the first bad row, line {line.number} (--strict).")
                    return 1
                if bad:
                    fault = checked.faults[0]
                    entry = {"file": path.name, "line": line.number, "field": fault.field,
                             "reason": fault.reason, "raw": line.raw}  # fmt: skip
                    bad.write(json.dumps(entry) + "\n")
            elif good and rows is None:
                good.write(line.raw.removesuffix("\r") + "\n")
            elif good:
                good.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows or ())
        if not counts["rows"]:
            raise MinimindError(f"{path} is empty.")
        if args.out:  # only now: a stopped check leaves no half file
            for whole in (good_path, bad_path):
                _part(whole).replace(whole)
    for note, number in notes.most_common():
        print(f"{path}: note: {note} ({number:,} rows)")
    good_rows = counts["rows"] - counts["bad"]
    print(f"{path}: {counts['rows']:,} rows as {schema or 'pretrain'}, {good_rows:,} good, "
          f"{counts['bad']:,} bad.")  # fmt: skip
    if args.out:
        print(f"The good rows are in {good_path}, the bad ones with their reasons in {bad_path}.")
    elif counts["bad"]:
        print("Nothing was written; with --out DIR the good rows are parted from the bad.")
    return 1 if counts["bad"] else 0


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part{os.getpid()}")


def _open(stack: ExitStack, path: Path) -> IO[str]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stack.callback(path.unlink, missing_ok=True)
        return stack.enter_context(path.open("w", encoding="utf-8", newline="\n"))
    except OSError as error:
        raise MinimindError(f"{path} cannot be written ({error.strerror or error}).") from error


def _lines(path: Path) -> Iterator[Line]:
    """The lines of a JSONL file; of a .json file that holds a list, each element as a line."""
    if not path.name.removesuffix(".gz").endswith(".json"):
        yield from read_lines(path)
        return
    try:
        rows = json.loads(decode(path, read_bytes(path)))
    except ValueError as error:
        raise MinimindError(f"{path} is not JSON ({error}).") from error
    if not isinstance(rows, list):
        raise MinimindError(f"{path} holds no list of rows.")
    for number, row in enumerate(rows, start=1):
        yield Line(path.name, number, json.dumps(row, ensure_ascii=False))


def _checked(
    path: Path, schema: str | None, reader: str | None
) -> Iterator[tuple[Line, Checked, list[dict[str, Any]] | None]]:
    """Each line with what is wrong and, with a reader, the rows of ours that it holds."""
    if reader:
        for line in _lines(path):
            yield line, *_read(reader, line)
        return
    first, second = tee(_lines(path))
    for line, checked in zip(first, check_lines((x.raw for x in second), schema), strict=True):
        yield line, checked, None


def _read(reader: str, line: Line) -> tuple[Checked, list[dict[str, Any]]]:
    try:
        rows = read(reader, strict_json(line.raw))
    except (ValueError, RecursionError) as error:  # BadRow is a ValueError, too
        reason = str(error) if isinstance(error, BadRow) else f"not JSON ({error})"
        return Checked(line.number, None, (Fault(line.number, "", reason),)), []
    faults = [f for row in rows for f in check_row(row, READERS[reader][1], line.number)]
    return Checked(line.number, None, tuple(faults)), rows


def _check_text(path: Path) -> int:
    text = decode(path, read_bytes(path))
    if not text.strip():
        raise MinimindError(f"{path} is empty.")
    print(f"{path}: {len(text.encode()):,} bytes of UTF-8 text, {text.count(chr(10)):,} lines.")
    return 0
