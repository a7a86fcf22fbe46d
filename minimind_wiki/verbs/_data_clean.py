"""`minimind data clean`: rows through cleaning steps, and back. `data.py` hooks it in.

`configure(actions.add_parser("clean", help=HELP))` and `run(args)` are all that it takes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

from minimind_wiki.data.clean.decontaminate import Decontaminate, load_benchmarks
from minimind_wiki.data.clean.filters import LANGUAGES, Rules, language_fault, quality_fault
from minimind_wiki.data.clean.normalize import extract_html, join_lines, unicode_text
from minimind_wiki.data.clean.pii import mask_pii
from minimind_wiki.data.clean.pipeline import Pipeline, side_file, undo
from minimind_wiki.data.clean.scan import repair_scan
from minimind_wiki.data.clean.step import Edit, Filter, Step
from minimind_wiki.data.clean.steps import Chunk, ExactDuplicates, NearDuplicates, Sample
from minimind_wiki.errors import WrongCall, unknown

HELP = "drop and repair rows, with a reason for each; or undo that"
EXAMPLE = (
    "minimind data clean pages.jsonl --out clean.jsonl --steps unicode,html,quality,exact,near"
)
ABOUT = """\
Drop and repair rows, with a reason for each; or undo that.

The rules of the step quality are those of the model Gopher, made for web pages in English: they
drop poems with a refrain, tables of numbers and notices of fewer than 50 words. For such rows, and
for conversations, leave the step out (for short rows alone, lower --min-words). The record of the
experiment pretraining-data/filters tells what the rules find and what they cost."""

BUILD: dict[str, Callable[[argparse.Namespace], Step]] = {
    "mix": lambda args: Sample(_rates(args.mix), args.seed),
    "unicode": lambda args: Edit("unicode", unicode_text),
    "mojibake": lambda args: Edit("mojibake", partial(unicode_text, repair=True)),
    "html": lambda args: Edit("html", extract_html),
    "scan": lambda args: Edit("scan", repair_scan),
    "lines": lambda args: Edit("lines", join_lines),
    "language": lambda args: Filter(
        "language", partial(language_fault, keep=tuple(args.language.split(",")))
    ),
    "quality": lambda args: Filter(
        "quality", partial(quality_fault, rules=Rules(min_words=args.min_words))
    ),
    "pii": lambda args: Edit("pii", mask_pii),
    "exact": lambda args: ExactDuplicates(),
    "near": lambda args: NearDuplicates(args.threshold, seed=args.seed),
    "decontaminate": lambda args: Decontaminate(load_benchmarks(args.against)),
    "chunk": lambda args: Chunk(args.chunk),
}
DEFAULT = "unicode,html,language,quality,pii,exact,near"


def configure(parser: argparse.ArgumentParser) -> None:
    """The flags of `data clean`."""
    parser.add_argument("files", type=Path, nargs="+", help=".jsonl or .jsonl.gz; with --undo one")
    parser.add_argument("--out", type=Path, required=True, help="the file to write")
    parser.add_argument(
        "--steps",
        help=f"in their order, of {', '.join(BUILD)}; 'none' checks the rows alone "
        f"(default {DEFAULT}; with --undo: bring back what these dropped, default everything)",
    )
    parser.add_argument("--undo", action="store_true", help="restore the rows of a cleaned file")
    parser.add_argument("--strict", action="store_true", help="stop at the first bad row")
    parser.add_argument("--schema", help="what the rows are (default: by each file's first row)")
    parser.add_argument(
        "--language", default="en", help=f"codes to keep, of {', '.join(LANGUAGES)} (default en)"
    )
    parser.add_argument(
        "--min-words", type=int, default=Rules().min_words, help="of the step quality (default 50)"
    )
    parser.add_argument("--threshold", type=float, default=0.75, help="likeness (default 0.75)")
    parser.add_argument("--against", type=Path, nargs="+", default=[], help="benchmark files")
    parser.add_argument(
        "--mix",
        nargs="+",
        default=[],
        help="FILE=RATE, for the step mix; FILE is a name or a pattern such as 'a*'",
    )
    parser.add_argument("--chunk", type=int, default=4000, help="characters (default 4000)")
    parser.add_argument("--seed", type=int, default=0)


def _check_flags(args: argparse.Namespace, chosen: Sequence[str]) -> None:
    """Refuse flags that would be without effect."""
    for step, value in (("mix", args.mix), ("decontaminate", args.against)):
        flag = {"mix": "--mix FILE=RATE", "decontaminate": "--against FILE"}[step]
        if step in chosen and not value:
            raise WrongCall(f"the step {step} needs {flag}.")
        if value and step not in chosen:
            raise WrongCall(f"{flag} is for the step {step}; name it in --steps.")
    files = [path.name for path in args.files]
    for name in _rates(args.mix):
        if not any(fnmatch(file, name) for file in files):
            raise unknown("file of --mix", name, files)
    for code in args.language.split(","):
        if code not in LANGUAGES:
            raise unknown("language", code, LANGUAGES)


def _rates(pairs: list[str]) -> dict[str, float]:
    rates = {}
    for pair in pairs:
        name, _, rate = pair.rpartition("=")
        try:
            rates[name] = float(rate)
        except ValueError as error:
            raise WrongCall(f"--mix wants FILE=RATE, not {pair!r}.") from error
    return rates


def run(args: argparse.Namespace) -> int:
    """Clean or undo; 1 when rows broke their schema."""
    if any(path.resolve() == args.out.resolve() for path in args.files):
        raise WrongCall("--out names a file that is read; give it another name.")
    names = [name for name in (args.steps or "").split(",") if name and name != "none"]
    for name in names:
        if name not in BUILD and not (args.undo and name == "schema"):
            raise unknown("step", name, BUILD)
    if args.undo:
        if len(args.files) != 1:
            raise WrongCall("--undo takes one cleaned file.")
        back = undo(args.files[0], args.out, names or None)
        print(f"{back:,} rows are as they were, in {args.out}.")
        return 0
    chosen = names if args.steps else DEFAULT.split(",")
    _check_flags(args, chosen)
    steps = [BUILD[name](args) for name in chosen]
    report = Pipeline(steps, args.schema, args.strict).run(args.files, args.out)
    print("\n".join(report.lines()))
    print(f"Rows in {args.out}, what changed in {side_file(args.out)}.")
    if not report.written:
        print(f"WARNING: no row is left, {args.out} is empty; the reasons are above. Leave out the "
              "step that drops most, with --steps.", file=sys.stderr)  # fmt: skip
    return 1 if report.rejected else 0
