"""`minimind distill`: let a student learn a teacher's whole distribution."""

from __future__ import annotations

import argparse

from minimind_wiki.verbs import _tuning

HELP = "Teach a small model what a larger one would say, token by token."
EXAMPLE = (
    "minimind distill --model runs/small --teacher runs/sft --data world/sft --out runs/taught"
)


def _verb() -> _tuning.Verb:
    from minimind_wiki.train.teach import DistillSettings, distillation

    return _tuning.Verb("distill", DistillSettings, "world/sft", {}, distillation)


def configure(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    _tuning.configure(parser, _verb())


def run(args: argparse.Namespace) -> int:
    """Train."""
    return _tuning.run(args, _verb())
