"""`minimind models`: the small trained models that ship with the repository."""

from __future__ import annotations

import argparse
from pathlib import Path

from minimind_wiki.errors import MinimindError, WrongCall, unknown

HELP = "List, verify and add the small trained models that ship with the repository."
EXAMPLE = "minimind models list"


def configure(parser: argparse.ArgumentParser) -> None:
    """One action each: list, verify, add."""
    from minimind_wiki.cli import help_texts

    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    about = "Each model: parameters, size, loss, and its mean in the world exam."
    listing = actions.add_parser("list", help=about, **help_texts(about, EXAMPLE))
    listing.set_defaults(act=_list)
    about = "Compare every file with its hash, load the weights; --exam also asks every question."
    check = actions.add_parser("verify", help=about,
                               **help_texts(about, "minimind models verify"))  # fmt: skip
    check.add_argument("names", nargs="*", metavar="NAME", help="which (default: all)")
    check.add_argument("--exam", action="store_true", help="score the world exam again")
    check.set_defaults(act=_verify)
    about = "Put the model of a finished run among them, in bfloat16, with its exam."
    call = "minimind models add runs/village --name village"
    add = actions.add_parser("add", help=about, **help_texts(about, call))
    add.add_argument("run", type=Path, help="the folder of a finished run")
    add.add_argument("--name", required=True, help="the model's name from now on")
    add.add_argument("--limit", type=int, default=100, metavar="N",
                     help="exam items of each section (default: 100)")  # fmt: skip
    add.set_defaults(act=_add)
    for action in (listing, check, add):
        action.add_argument("--folder", type=Path, metavar="DIR",
                            help="where they lie (default: models/ of this clone)")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Hand over to the action."""
    return args.act(args)


def _root(args: argparse.Namespace) -> Path:
    from minimind_wiki.book.record import repo_root

    return args.folder or repo_root() / "models"


def _list(args: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.table import Table

    from minimind_wiki.evaluate.shipped import shipped

    root = _root(args)
    table = Table("model", "parameters", "MB", "bits/byte", "floor", "exam", box=None)
    found = shipped(root)
    for name, entry in found.items():
        size = sum(file.stat().st_size for file in (root / name).iterdir()) / 1e6
        right, items = entry["exam"]["right"], entry["exam"]["items"]
        floor = entry["floor_bits_per_byte"]
        bits = entry["held_out"].get("bits_per_byte")  # reinforcement learning reads no text
        table.add_row(
            name, f"{entry['parameters']:,}", f"{size:.1f}",
            f"{bits:.3f}" if bits else "none", f"{floor:.3f}" if floor else "unknown",
            f"{sum(right.values()) / (items * len(right)):.1%}",
        )  # fmt: skip
    console = Console(soft_wrap=True)
    console.print(table)
    for name, entry in found.items():
        console.print(f"\n{name} was made by\n  {entry['command']}", markup=False, highlight=False)
    return 0


def _verify(args: argparse.Namespace) -> int:
    from minimind_wiki.evaluate.shipped import exam_faults, faults, shipped
    from minimind_wiki.infer import load_model_folder

    root = _root(args)
    found = shipped(root)
    for name in args.names:
        if name not in found:
            raise unknown("model", name, found)
    if not found:
        raise MinimindError(f"{root} holds no model that ships; give --folder, or clone again.")
    wrong = []
    for name in args.names or found:
        bad = faults(root / name, found[name])
        if not bad:
            if args.exam:
                bad = exam_faults(root / name, found[name], print)
            else:
                load_model_folder(root / name)
        print(f"{name}: {'as it was shipped' if not bad else 'NOT as it was shipped'}")
        wrong += bad
    if wrong:
        raise MinimindError("; ".join(wrong) + ". Take the folder from the repository again.")
    return 0


def _add(args: argparse.Namespace) -> int:
    from minimind_wiki.evaluate.shipped import ship

    if args.limit < 1:
        raise WrongCall(f"--limit must be at least 1, got {args.limit}.")
    if not args.name.replace("-", "").isalnum():
        raise WrongCall(f"--name {args.name!r} must be of letters, digits and hyphens.")
    print(f"{ship(args.run, args.name, _root(args), args.limit)} is whole.")
    return 0
