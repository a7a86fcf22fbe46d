"""`minimind run`: the stages of a recipe, one after the other."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.train.recipe import Stage, read_recipe

HELP = "Run a recipe: stages of training in a row, each a model folder. Finished ones are kept."
EXAMPLE = "minimind run recipes/world-nano.yaml --out runs/world-nano"


def configure(parser: argparse.ArgumentParser) -> None:
    """The recipe, and which part of it."""
    parser.add_argument("recipe", type=Path, metavar="F.yaml", help="the recipe")
    parser.add_argument("--out", type=Path, metavar="DIR",
                        help="folder of the stages' folders (default: runs/NAME)")  # fmt: skip
    parser.add_argument("--only", metavar="STAGE", help="run this stage alone")
    parser.add_argument("--until", metavar="STAGE", help="stop after this stage")
    parser.add_argument("--set", dest="changes", action="append", default=[],
                        metavar="STAGE.FIELD=VALUE", help="a field's other value; may be given "
                        "several times")  # fmt: skip
    parser.add_argument("--seed", type=int, metavar="N", help="of every stage that trains")
    parser.add_argument("--dry-run", action="store_true",
                        help="check everything, show the calls, run nothing")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Run what is not finished; 1 when a stage was stopped or failed."""
    from minimind_wiki.train import ledger
    from minimind_wiki.train.parallel import processes
    from minimind_wiki.verbs import _stages
    from minimind_wiki.verbs._book import Book

    if processes() > 1:
        raise WrongCall(
            "a recipe is run by one process. Start its stages with torchrun one by one: --dry-run "
            "prints their calls."
        )
    read = read_recipe(args.recipe, _stages.fields, args.changes, _stages.TAKEN)
    if args.seed is not None:
        seeds = [f"{s.name}.seed={args.seed}" for s in read.stages if _stages.trains(s)]
        changes = [*seeds, *args.changes]
        read = read_recipe(args.recipe, _stages.fields, changes, _stages.TAKEN)
    out = args.out or Path("runs") / args.recipe.stem
    places = _stages.check(read, out)
    done = ledger.read_ledger(out)
    names = [stage.name for stage in read.stages]
    last = names.index(read.stage(args.until).name) if args.until else len(names) - 1
    chosen = read.stages[: last + 1]
    if args.only:
        chosen = (read.stage(args.only),)
    found = {stage.name: ledger.standing(stage, _stages.product(stage, out), _stages.trains(stage),
                                         done, out) for stage in chosen}  # fmt: skip
    book = Book(args.recipe, read.about, out, done)
    if args.dry_run:
        for number, stage in enumerate(chosen, start=1):
            print(f"{number}. {stage.name}: {PLAN[found[stage.name]]}")
            print(f"   {book.call(stage)}")
            if places[stage.name]:
                print(f"   {places[stage.name]}")
        return 0
    for stage in chosen:  # known now, and not after the hours of the stages before
        if found[stage.name] != "finished" and _stages.MISSING in places[stage.name]:
            raise MinimindError(f"{stage.at('data')}: {places[stage.name]}.")
    for number, stage in enumerate(chosen, start=1):
        print(f"== {number}/{len(chosen)} {stage.name}: {PLAN[found[stage.name]]}", flush=True)
        resume, finished = (found[stage.name] == what for what in ("begun", "finished"))
        if not finished and (status := book.run(stage, resume)):
            print(f"The recipe stopped in stage {stage.name!r}. What is finished stays; go on "
                  f"with: {_again(args)}", flush=True)  # fmt: skip
            return status
        book.finish(stage)
    print(table(book.stages, chosen))
    return 0


PLAN = {"absent": "to do", "begun": "to be resumed", "finished": "finished, kept as it is"}


def _again(args: argparse.Namespace) -> str:
    words = ["minimind", "run", str(args.recipe)]
    for name in ("out", "only", "until", "seed"):
        if getattr(args, name) is not None:
            words += [f"--{name}", str(getattr(args, name))]
    for change in args.changes:
        words += ["--set", change]
    return shlex.join(words)


def table(stages: dict[str, Any], chosen: Sequence[Stage]) -> str:
    """One line a stage."""
    lines = [f"{'stage':12} {'steps':>7} {'seconds':>8}  held out"]
    for stage in chosen:
        entry = stages[stage.name]
        values = entry.get("held_out", {}) | ({"exam": entry["exam"]} if "exam" in entry else {})
        told = "  ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in values.items())
        steps = f"{entry['steps']:,}" if "steps" in entry else "-"
        lines.append(f"{stage.name:12} {steps:>7} {entry['seconds']:>8,.1f}  {told}".rstrip())
    return "\n".join(lines)
