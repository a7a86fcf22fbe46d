"""`minimind evaluate`: score a trained model."""

from __future__ import annotations

import argparse
from pathlib import Path

from minimind_wiki.errors import WrongCall, unknown

HELP = "Score a trained model on tasks whose answers a program can check."
EXAMPLE = "minimind evaluate runs/village --tasks world --limit 50"
TASKS = ("world",)


def configure(parser: argparse.ArgumentParser) -> None:
    """The model, the tasks and how many items."""
    parser.add_argument("model", type=Path, help="a model folder, or the folder of a run")
    parser.add_argument("--tasks", default="world", help=f"of {', '.join(TASKS)}; by commas")
    parser.add_argument("--limit", type=int, default=50, metavar="N",
                        help="items of each section (default: 50)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="which items (default: 0)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")


def run(args: argparse.Namespace) -> int:
    """Print a line for each section: accuracy, 95 % interval, chance."""
    for task in args.tasks.split(","):
        if task not in TASKS:
            raise unknown("task", task, TASKS)
    if args.limit < 1:
        raise WrongCall(f"--limit must be at least 1, got {args.limit}.")
    from rich.progress import track

    from minimind_wiki.evaluate.baselines import baselines
    from minimind_wiki.evaluate.shipped import examiner
    from minimind_wiki.evaluate.world_exam import SECTIONS, exam
    from minimind_wiki.train.device import choose
    from minimind_wiki.verbs.generate import find_model

    judge = examiner(find_model(args.model), choose(args.device).device)
    print(f"World exam of {args.model}: the likeliest of the options counts as its answer. A trick "
          "looks only at places and lengths.")  # fmt: skip
    sections = track(SECTIONS, description="exam", transient=True)
    for name in sections:
        score = exam(judge, args.limit, seed=args.seed, sections=(name,))[0]
        tricks = {
            trick: exam(by, args.limit, seed=args.seed, sections=(name,))[0].accuracy
            for trick, by in baselines().items()
        }
        best = max(tricks, key=lambda trick: tricks[trick])
        print(f"{score}  best trick {tricks[best]:.1%} ({best})", flush=True)
    return 0
