"""`minimind experiment`: list, run, confirm, render and check the experiments of the book."""

from __future__ import annotations

import argparse
import ast
import sys
import tempfile
from pathlib import Path

from minimind_wiki.book.hashing import stale
from minimind_wiki.book.record import (
    Record,
    experiment_names,
    load,
    read,
    record_path,
    repo_root,
    svg_path,
)
from minimind_wiki.errors import MinimindError, WrongCall, unknown

HELP = "list, run, confirm, render and check the experiments of the book"
EXAMPLE = "minimind experiment run normalization/depth --quick"
ACTIONS = ("list", "run", "confirm", "render", "check")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action", help="list: names and states · run: measure · confirm: after a change of the "
        "package, measure a declared part again and keep the record where every number comes out "
        "again · render: verdicts and figures again from the record · check: is any record older "
        "than its code?",
    )  # fmt: skip
    parser.add_argument(
        "name", nargs="?", help="module/name, as 'list' shows it; 'render' takes all"
    )
    parser.add_argument("--quick", action="store_true", help="a small run of seconds, for tests")
    parser.add_argument("--seed", type=int, default=None, help="first seed (the others follow it)")
    parser.add_argument("--out", type=Path, default=None, help="folder for the record and pictures")


def run(args: argparse.Namespace) -> int:
    if args.action not in ACTIONS:
        raise unknown("action", args.action, ACTIONS)
    root = repo_root()
    known = experiment_names(root)
    if args.name is not None and args.name not in known:
        raise unknown("experiment", args.name, known)
    if args.action == "list":
        return _list(root, known)
    if args.action == "check":
        return _check(root, [args.name] if args.name else known)
    if args.action == "render":
        return _render(root, [args.name] if args.name else known)
    if args.name is None:
        raise WrongCall(f"{args.action} which experiment? Known: {', '.join(known)}")
    return _confirm(root, args) if args.action == "confirm" else _run(root, args)


def _state(root: Path, name: str) -> tuple[str, str | None]:
    """The duration of the record of `name`, and what is wrong with it."""
    path = record_path(name, root)
    if not path.is_file():
        return "-", f"the record {name} is missing: run 'minimind experiment run {name}'"
    record = read(path)
    problem = stale(record, root)
    for figure in record.data["figures"]:
        if not svg_path(name, figure, root).is_file():
            problem = problem or (
                f"the picture {figure} of {name} is missing: "
                f"run 'minimind experiment render {name}'"
            )
    return f"{record.data['seconds']:.0f} s", problem


def _list(root: Path, names: list[str]) -> int:
    for name in names:
        seconds, problem = _state(root, name)
        state = "fresh" if problem is None else ("no record" if "missing" in problem else "stale")
        if problem is None and load(name, root).confirmation():
            state = "confirmed"  # as fresh, from a part of its runs
        source = (root / "experiments" / f"{name}.py").read_text(encoding="utf-8")
        question = (ast.get_docstring(ast.parse(source)) or "").split("\n\n")[0]
        print(f"{name:38s}{state:10s}{seconds:>7s}  {' '.join(question.split())}")
    return 0


def _check(root: Path, names: list[str]) -> int:
    problems = [p for p in (_state(root, name)[1] for name in names) if p]
    for problem in problems:
        print(problem, file=sys.stderr)
    fresh = len(names) - len(problems)
    print(f"{fresh} of {len(names)} records are as new as their code")
    return 1 if problems else 0


def _render(root: Path, names: list[str]) -> int:
    from minimind_wiki.book.experiment import load_experiment
    from minimind_wiki.book.runner import judge, write

    for name in names:
        record = load(name, root)
        problem = stale(record, root)
        if problem and "experiment render" not in problem:
            raise MinimindError(problem)
        experiment = load_experiment(name, root)
        path = write(experiment, judge(experiment, record))
        print(f"{path.relative_to(root)}: {_verdict_line(record)}")
    return 0


def _confirm(root: Path, args: argparse.Namespace) -> int:
    from minimind_wiki.book.confirm import confirm
    from minimind_wiki.book.experiment import load_experiment
    from minimind_wiki.book.hashing import code_hash
    from minimind_wiki.book.runner import judge, write

    if args.quick or args.seed is not None or args.out is not None:
        raise WrongCall(
            "confirm repeats the record's own runs: leave --quick, --seed and --out out"
        )
    record = load(args.name, root)
    experiment = load_experiment(args.name, root)
    if record.data["code_hash"] == code_hash(root / "experiments" / f"{args.name}.py", root):
        problem = stale(record, root)
        print(problem or f"the record {args.name} is as new as its code: nothing to confirm")
        return 1 if problem else 0
    found = confirm(experiment, record)
    path = write(experiment, judge(experiment, found))
    print(f"{path.relative_to(root)}: {found.confirmation()}")
    return 0


def _run(root: Path, args: argparse.Namespace) -> int:
    from minimind_wiki.book.experiment import load_experiment
    from minimind_wiki.book.runner import write

    experiment = load_experiment(args.name, root)
    seeds = None
    if args.seed is not None:
        usual = experiment.quick_seeds if args.quick else experiment.seeds
        seeds = tuple(args.seed + seed for seed in usual)
    record = experiment.run(quick=args.quick, seeds=seeds)
    folder = args.out
    if folder is None and (args.quick or args.seed is not None):
        # Only a full run with the declared seeds may replace the committed record.
        folder = Path(tempfile.gettempdir()) / "minimind-experiments" / args.name.split("/")[0]
    path = write(experiment, record, folder)
    print(_table(record))
    print(f"record: {path}")
    return 0


def _verdict_line(record: Record) -> str:
    verdicts = [claim["verdict"] for claim in record.data["claims"].values()]
    return ", ".join(f"{verdicts.count(v)} {v}" for v in sorted(set(verdicts))) or "no claims"


def _table(record: Record) -> str:
    """Arms with their primary metric, then claims with verdict and evidence."""
    primary = record.data["primary"]
    lines = [f"{record.name}: {record.data['question']}", ""]
    for arm, cells in record.data["values"].items():
        cell = cells.get(primary)
        if cell is None:
            continue
        mean = "diverged" if cell["mean"] is None else f"{cell['mean']:.4g} ± {cell['std']:.2g}"
        lost = (
            f"  ({cell['diverged']} of {len(cell['seeds'])} diverged)" if cell["diverged"] else ""
        )
        lines.append(f"  {arm:34s}{primary} {mean}{lost}")
    lines.append("")
    for claim in sorted(record.data["claims"].values(), key=lambda claim: claim["order"]):
        evidence = f" ({claim['evidence']})" if claim["evidence"] else ""
        lines.append(f"  [{claim['verdict']}] {claim['text']}{evidence}")
    lines.append(f"\n  {record.data['seconds']:.0f} s on {record.data['device']}")
    return "\n".join(lines)
