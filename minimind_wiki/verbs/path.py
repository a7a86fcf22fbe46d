"""`minimind path`: what a learning path asks for at its end, held against what you made."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from minimind_wiki.errors import MinimindError, WrongCall, unknown
from minimind_wiki.verbs.generate import device_flag

if TYPE_CHECKING:
    from minimind_wiki.book.asked import Finding
    from minimind_wiki.book.own_model import Stage

HELP = (
    "Check what the mastery path asks for: a model of your own, from text to a server. Says what "
    "is missing and what to do. Without --model it lists the parts."
)
FEWEST = 20  # questions of a kind
EXAMPLE = "minimind path mastery --model runs/own/grpo --quantized runs/own-int8 --out mastery.json"


def configure(parser: argparse.ArgumentParser) -> None:
    """The model, what was made of it, how much is asked, and where the result goes."""
    add = parser.add_argument
    add("name", help="mastery; the other paths are checked in their pages")
    add("--model", type=Path, metavar="DIR", help="the last model of your chain")
    add("--quantized", type=Path, metavar="DIR", help="the folder that minimind quantize wrote")
    add("--served", metavar="URL", help="where it answers, such as http://127.0.0.1:8000/v1")
    add("--exported", type=Path, metavar="F", help="instead: what minimind export wrote for hf "
        "(a folder) or llama.cpp (a .gguf file)")  # fmt: skip
    add("--limit", type=int, default=50, metavar="N",
        help="instructions, and word problems, that are asked (default: 50)")  # fmt: skip
    add("--out", type=Path, metavar="F", help="write the result as a small file; the page of the "
        "path opens it")  # fmt: skip
    device_flag(parser)


def run(args: argparse.Namespace) -> int:
    """A line for each part; status 0 when all of them are there."""
    from minimind_wiki.book.asked import PARTS, PATH, result, write

    if args.name != PATH:
        raise unknown("path with a check", args.name, [PATH])
    if args.limit < FEWEST:
        raise WrongCall(f"--limit must be at least {FEWEST}, got {args.limit}: fewer tell nothing.")
    if args.model is None:
        for number, part in enumerate(PARTS, 1):
            print(f"{number}. {part.title}\n     {part.how}")
        print("\nThen show it: minimind path mastery --model … --quantized … --served …")
        return 0
    if not args.model.is_dir():
        raise MinimindError(f"there is no folder {args.model}; give the --out of your training.")
    from minimind_wiki.book import own_model

    titles = {part.name: part.title for part in PARTS}
    stages, broken = own_model.lineage(args.model)
    found: list[Finding] = []
    for finding in _each(args, stages, broken):
        found.append(finding)
        mark = "ok     " if finding.passed else "missing"
        print(f"  {mark}  {titles[finding.name]}", flush=True)
        for line in (finding.found, finding.todo):
            for row in textwrap.wrap(line, 88, break_long_words=False, break_on_hyphens=False):
                print(f"           {row}")
    done = sum(finding.passed for finding in found)
    print(f"\n{done} of {len(PARTS)} parts are there.")
    if args.out:
        seconds = sum(float(stage.run.get("seconds", 0)) for stage in stages)
        last = stages[-1].run if stages else {}
        model = {"parameters": int(last.get("parameters", 0)), "seconds": round(seconds, 1),
                 "stages": [stage.method for stage in stages]}  # fmt: skip
        write(args.out, result(found, model))
        print(f"Wrote {args.out}; open it on the page of the mastery path.")
    return 0 if done == len(PARTS) else 1


def _each(args: argparse.Namespace, stages: list[Stage], broken: str) -> Iterator[Finding]:
    """The findings, one after another, so that each is told when it is there."""
    from minimind_wiki.book import own_model
    from minimind_wiki.train.device import choose

    device = str(choose(args.device).device)
    yield own_model.text(stages, broken)
    yield own_model.taught(stages, broken)
    yield own_model.exam([] if broken else stages, args.limit, device)
    yield own_model.small(args.model, args.quantized, 8, device)
    yield own_model.served(args.model, args.quantized, args.served, args.exported, device)
